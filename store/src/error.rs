//! What can go wrong in the store, with the path or the id that it went wrong with.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::id::{ObjectId, SnapshotId};
use crate::lock::Holder;
use crate::path::{Escaped, RelPath, display};

/// The result of a store function.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a mount cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MountFault {
    /// It is not there, or is not the one that was initialised; as a sentence without its subject.
    #[error("{0}")]
    Wrong(String),
    /// Its file system cannot do what is needed; in the same way.
    #[error("{0}")]
    Unable(String),
    /// Its file system has not answered for so long.
    #[error("it has not answered for {} s", .0.as_secs_f32())]
    Silent(Duration),
}

/// An error of the store. Messages name the subject first; hints belong to the command line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("{}: {op} failed", display(path))]
    Io {
        /// What was being done, as a verb: `open`, `rename`.
        op: &'static str,
        /// The path it was done to.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// There is no store at this path.
    #[error("{}: no store here", display(.0))]
    NoStore(PathBuf),
    /// The store was written by a version that this one must not touch.
    #[error("{}: {reason}", display(path))]
    Unsupported {
        /// The superblock.
        path: PathBuf,
        /// Which feature or version.
        reason: String,
    },
    /// Something the store wrote is damaged.
    #[error("{subject}: {reason}")]
    Corrupt {
        /// The file, tree, snapshot or object.
        subject: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An object that a snapshot names is not in a pool.
    #[error("object {id} is not in the pool at {} (wanted for {path})", display(pool))]
    MissingObject {
        /// The object.
        id: ObjectId,
        /// The pool's directory.
        pool: PathBuf,
        /// The path whose content it is.
        path: RelPath,
    },
    /// No ref has this name.
    #[error("there is no ref {0}")]
    UnknownRef(String),
    /// A revision names nothing.
    #[error("{rev}: {reason}")]
    UnknownRev {
        /// The revision as it was given.
        rev: String,
        /// Why it names nothing.
        reason: String,
    },
    /// A name that cannot be a ref or a revision.
    #[error("{name:?} is not a ref name: {reason}")]
    BadRefName {
        /// The name as it was given.
        name: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// A snapshot that was there once.
    #[error("snapshot {id} was collected by operation {operation}")]
    Collected {
        /// The snapshot.
        id: SnapshotId,
        /// The operation that took it out of the store.
        operation: u64,
    },
    /// A path does not exist in a snapshot.
    #[error("{path}: not in snapshot {snapshot}")]
    NoSuchPath {
        /// The path.
        path: RelPath,
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// Somebody else holds the lock.
    #[error("{what} is busy: {holder}")]
    Busy {
        /// What is locked: a ref or the store.
        what: String,
        /// Who holds it since when.
        holder: Holder,
    },
    /// A lock that was held is not ours any more.
    #[error("the lock of {what} was lost: {reason}")]
    LockLost {
        /// What was locked: a ref or the store.
        what: String,
        /// How that was noticed, and who has it if that is known.
        reason: String,
    },
    /// A ref moved between planning and committing.
    #[error("{name} moved while this command ran: expected {expected}, found {found}")]
    Stale {
        /// The ref.
        name: String,
        /// What the plan was made for, or "nothing".
        expected: String,
        /// What is there now.
        found: String,
    },
    /// A mount cannot be used.
    #[error("mount {name} at {}: {fault}", display(path))]
    Mount {
        /// The mount's name in the configuration.
        name: String,
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        fault: MountFault,
    },
    /// A path that a view should take is used by something else.
    #[error("{}: {reason}", display(path))]
    ViewOccupied {
        /// The path on the mount.
        path: PathBuf,
        /// What is there.
        reason: String,
    },
    /// A kind of file that a release cannot contain.
    #[error("{}: a {kind} cannot be part of a release", display(path))]
    UnsupportedKind {
        /// The path.
        path: PathBuf,
        /// device, fifo, socket…
        kind: &'static str,
    },
    /// A file or directory that breaks a limit or a rule.
    #[error("{}: {reason}", display(path))]
    Refused {
        /// The path.
        path: PathBuf,
        /// The rule.
        reason: String,
    },
    /// A file that changed while it was read.
    #[error("{}: changed while it was read ({what})", display(.path))]
    Changed {
        /// The path.
        path: PathBuf,
        /// Which attribute moved.
        what: &'static str,
    },
    /// Bytes that crossed a filesystem did not arrive as they left.
    #[error("object {id}: expected {expected} bytes with this hash, {found}")]
    Mismatch {
        /// The object that was wanted.
        id: ObjectId,
        /// Its size in bytes.
        expected: u64,
        /// What was found.
        found: String,
    },
    /// The command was interrupted by a signal and cleaned up.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Makes a corruption error.
    pub fn corrupt(subject: impl Into<String>, reason: impl Into<String>) -> Self {
        Error::Corrupt { subject: subject.into(), reason: reason.into() }
    }

    /// Returns whether the error is the system's answer `errno`.
    pub fn is(&self, errno: rustix::io::Errno) -> bool {
        matches!(self, Error::Io { source, .. } if source.raw_os_error() == Some(errno.raw_os_error()))
    }

    /// Returns whether a file or directory was not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Returns whether a directory could not be removed because something is in it: on NFS and
    /// FUSE that is what remains of a file which somebody still has open.
    pub fn is_not_empty(&self) -> bool {
        matches!(self, Error::Io { source, .. }
            if source.kind() == io::ErrorKind::DirectoryNotEmpty)
    }
}

/// Shows a name in a message.
pub(crate) fn shown(name: &[u8]) -> String {
    Escaped(name).to_string()
}
