//! Locks: kernel locks on files of the store, held for as long as the process lives.
//!
//! A lock is a flock(2), never a pid or an old file, so a killed holder leaves nothing behind.
//! The file's text says who took it and serves messages only. Order: the store, then refs in
//! ascending order, so no two commands can wait for each other.

use std::fmt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fs::{self, Dir, LockKind, OpenFile};

/// How long to sleep between two tries at a lock.
const RETRY: Duration = Duration::from_millis(50);

/// Who holds a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// Since when.
    pub since: Option<jiff::Timestamp>,
    /// What it runs.
    pub command: String,
}

impl Holder {
    /// Returns this process as a holder.
    pub fn this(command: &str) -> Self {
        Self {
            host: fs::host(),
            pid: std::process::id(),
            since: Some(jiff::Timestamp::now()),
            command: command.to_owned(),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.since {
            Some(since) => write!(
                f,
                "held since {since:.0} by process {} on {} ({})",
                self.pid, self.host, self.command
            ),
            None => f.write_str("held by a process that has not said its name"),
        }
    }
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct Lock {
    _file: OpenFile,
}

impl Lock {
    /// Takes the lock `name` in `dir`, waiting up to `wait`.
    ///
    /// # Errors
    /// [`Error::Busy`] with the holder when the time is over.
    pub fn take(
        dir: &Dir,
        name: &str,
        what: &str,
        kind: LockKind,
        wait: Duration,
        command: &str,
    ) -> Result<Self> {
        let until = Instant::now() + wait;
        let mut file = dir.lock_file(name.as_bytes())?;
        while !file.try_lock(kind)? {
            if Instant::now() >= until {
                let holder = dir.read(name.as_bytes()).ok();
                let holder = holder.and_then(|text| serde_json::from_slice(&text).ok());
                return Err(Error::Busy {
                    what: what.to_owned(),
                    holder: holder.unwrap_or_default(),
                });
            }
            std::thread::sleep(RETRY);
        }
        let text = serde_json::to_vec(&Holder::this(command)).expect("a holder is plain data");
        let written = file.set_len(0).and_then(|()| file.write_all(&text));
        match kind {
            LockKind::Exclusive => written?,
            // Of those who share a lock the last one's name stands there, if it can.
            LockKind::Shared => drop(written),
        }
        Ok(Self { _file: file })
    }
}
