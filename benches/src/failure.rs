//! What can go wrong in a comparison.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// A failure, told so that the reader knows which step of which tool it was.
#[derive(Debug)]
pub enum Failure {
    /// A system call on a path.
    Io { op: &'static str, path: PathBuf, source: io::Error },
    /// A tool that ended with anything but success.
    Tool { command: String, status: String, said: String },
    /// A tool that ended with success and did the wrong thing.
    Wrong { what: String },
    /// A request that cannot be met.
    Usage { what: String },
}

impl Failure {
    /// Returns an adapter for `map_err` that adds what was done and to which path.
    pub fn io(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { op, path, source }
    }

    /// Returns a failure of the kind "ended well, did wrong".
    pub fn wrong(what: impl Into<String>) -> Self {
        Self::Wrong { what: what.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { op, path, source } => write!(f, "{}: {op}: {source}", path.display()),
            Self::Tool { command, status, said } => {
                write!(f, "{command}: {status}")?;
                if said.is_empty() { Ok(()) } else { write!(f, ": {said}") }
            }
            Self::Wrong { what } => write!(f, "wrong result: {what}"),
            Self::Usage { what } => f.write_str(what),
        }
    }
}

/// The result of a step.
pub type Result<T, E = Failure> = std::result::Result<T, E>;
