//! What can go wrong while a sample is made.

use std::io;
use std::path::PathBuf;

/// Why a sample compose could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call on `path` failed.
    #[error("{}: {op}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        op: &'static str,
        /// The path that it was tried on.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A package, advisory or module was given before the first `repo`.
    #[error("{what}: no repo was named before it")]
    NoRepo {
        /// What was given.
        what: String,
    },
    /// A package's `[epoch:]version-release` does not read.
    #[error("package {name}: {evr:?} is not [epoch:]version-release")]
    Evr {
        /// The package's name.
        name: String,
        /// What was given for its version.
        evr: String,
    },
    /// A compose's date does not read as `YYYYMMDD.N`.
    #[error("compose date {date:?} is not YYYYMMDD.N")]
    Date {
        /// What was given.
        date: String,
    },
    /// The RPM builder refused a package.
    #[error("package {nevra}: {source}")]
    Rpm {
        /// The package.
        nevra: String,
        /// What the builder says.
        source: Box<rpm::Error>,
    },
    /// Repodata could not be made of a repo's packages.
    #[error("{repo}/repodata: {source}")]
    Repodata {
        /// The repo's path in the compose.
        repo: String,
        /// What its writer says.
        source: Box<cairn_repodata::Error>,
    },
}
