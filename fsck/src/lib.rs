//! Checks of a store and of what it published, and their repair.
//!
//! It stands beside the store and not behind its door: superblock, log, packs, index, pools and
//! views are read here, each as far as it can be read, so that a store that refuses to open is
//! still told what is wrong with it. Findings are data: a kebab-case code that never changes, a
//! severity, a subject and a sentence.
//!
//! A check changes nothing but its own state, by which an interrupted full check is gone on with;
//! its caller may [`remember`] when it ended and how.
//! A [repair](repair()) is a plan made of what a check found. It verifies before it replaces, keeps
//! what it replaces in a quarantine, and is followed by another check.

mod check;
mod finding;
mod index;
mod last;
mod limit;
mod links;
mod live;
mod log;
mod objects;
mod packs;
mod repair;
mod resume;

use std::path::Path;

use cairn_store::link::LinkSpec;
use cairn_store::mount::MountSpec;
use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::publish::ViewSpec;

pub use finding::{Code, Finding, Report, Severity};
pub use last::{Last, LastChecks, last_checks, remember};
pub use repair::{Mode, Outcome, Repair, Repaired, repair};

/// How much is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// The log, the packs, the index, and of every object and every path of a tree its size, mode,
    /// time and inode.
    #[default]
    Quick,
    /// Also the content of every object, and of every path that has an inode of its own.
    Full,
}

/// How a check is done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// How much is checked.
    pub level: Level,
    /// How many bytes a second a full check reads at most; nothing for as fast as it can.
    pub limit: Option<u64>,
    /// Whether a full check begins anew where an interrupted one could be gone on with.
    pub restart: bool,
}

/// What shall be checked.
pub struct Subject<'a> {
    /// The store's directory.
    pub store: &'a Path,
    /// The configured mounts.
    pub mounts: &'a [MountSpec],
    /// Translates a ref to where it is published.
    pub view: &'a (dyn Fn(&cairn_store::refs::RefName) -> Option<ViewSpec> + Sync),
    /// Translates a ref to the link beside views that it stands for.
    pub link: &'a (dyn Fn(&cairn_store::refs::RefName) -> Option<LinkOf> + Sync),
    /// Says whether a target leads from a link to a release, so that the link may be replaced.
    pub is_release: &'a (dyn Fn(&LinkSpec, &str) -> bool + Sync),
    /// Says which files have inodes of their own because people edit them in place.
    pub never_link: &'a (dyn Fn(&RelPath) -> bool + Sync),
}

/// A link beside views.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkOf {
    /// Where it is.
    pub spec: LinkSpec,
    /// Whether the configuration asks for it.
    pub wanted: bool,
}

/// Checks a store.
///
/// # Errors
/// Only what keeps it from looking at all: no such directory, no permission. Damage is a finding.
pub fn check(
    subject: &Subject<'_>,
    options: &Options,
    observer: &dyn Observer,
) -> cairn_store::Result<Report> {
    check::run(subject, options, observer).map(|(report, _)| report)
}
