//! What cairn's tests stand on: composes, filesystems, clients, readers and hostile input.
//!
//! * [`sample`]: composes with real packages and repodata, made by ourselves.
//! * [`World`]: a configuration with its four places, and the `cairn` program run in it.
//! * [`filesystem`]: loop-mounted ext4, XFS and btrfs, tmpfs and bindfs.
//! * [`treecmp`]: whether two directories are equal, and where they are not.
//! * [`readers`]: a thread that reads a published tree and notices gaps and mixtures.
//! * [`clients`]: rpm, dnf, rsync, createrepo_c, and an HTTP server for them.
//! * [`terminal`]: programs in a terminal, and what a person sees there.
//! * [`browser`]: Chromium without a screen, for pages.
//! * [`Keys`]: a gpg home with signing keys, and scripts that sign.
//! * [`metadata`]: what repodata on disk says, and whether it is true.
//! * [`schema`]: the schemas of every JSON document; what [`World::json`] and [`Run::json`] read is
//!   checked against them.
//! * [`decoders`]: everything that reads bytes of others, for property tests and fuzzers.
//! * [`hostile`]: names, links and files that a compose should not have.
//!
//! A tool or a privilege that is missing is an [`Unavailable`]; [`available`] says so plainly,
//! past the test harness's capture, and the test goes on without. Set `CAIRN_TESTS=strict` to
//! make it a failure instead. `CAIRN_TEST_FS` puts every world on another filesystem: the name of
//! a kind, which is then mounted once for the process, or the absolute path of a directory.
//! `CAIRN_TEST_SLOWER=10` has programs and their stops waited for ten times as long ([`patience`]).

pub mod browser;
pub mod clients;
pub mod decoders;
pub mod filesystem;
mod ground;
pub mod hostile;
mod keys;
pub mod metadata;
pub mod readers;
mod run;
pub mod schema;
pub mod terminal;
pub mod treecmp;
mod unavailable;
mod world;

pub use cairn_releng::sample;
pub use cairn_store::fault::CrashPoint;
pub use filesystem::FsKind;
pub use ground::{Ground, exchanges, not_on, replaces_what_is_open, settle, swaps};
pub use keys::Keys;
pub use run::{Run, Running, patience};
/// What [`Running::signal`] takes.
pub use rustix::process::Signal;
pub use unavailable::{Unavailable, available, tool};
pub use world::World;

/// Returns the file names of the scripts that `cairn toolkit` knows.
pub fn toolkit_scripts() -> impl Iterator<Item = &'static str> {
    cairn_releng::toolkit::SCRIPTS.iter().map(|script| script.name)
}
