//! The log: one file per operation, chained by hash, created by link(2).
//!
//! `log/0000000042.json` holds operation 42. It is written to a temporary file, synced, and
//! linked to its number; `link` fails if somebody else took the number, and that is the
//! compare-and-swap on which everything rests (it is atomic on every file system, NFS included).
//! An operation carries the id of the one before, so a file that is changed or removed breaks
//! the chain. A power cut leaves the file or leaves nothing: what is linked is synced.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fault::{self, CrashPoint};
use crate::fs::Dir;
use crate::id::{OperationId, PackId, SnapshotId};
use crate::path::plain_json;
use crate::refs::RefName;

/// One ref's move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefEdit {
    /// The ref.
    pub name: RefName,
    /// What it named before; nothing when it is new.
    pub old: Option<SnapshotId>,
    /// What it names now; nothing when it is removed.
    pub new: Option<SnapshotId>,
}

/// One logged mutation of refs. The fields' order is the file's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// The format version of this document: 1.
    pub version: u32,
    /// The operation's number, from 1.
    pub number: u64,
    /// The operation before it; nothing for the first.
    pub parent: Option<OperationId>,
    /// When it was committed, RFC 3339 UTC. Order comes from the number, never from this.
    pub time: jiff::Timestamp,
    /// The machine it was made on.
    pub host: String,
    /// Who made it: the user, and in brackets who became it through sudo.
    pub user: String,
    /// The verb: `ingest`, `promote`, `rollback`…
    pub verb: String,
    /// The command line.
    pub command: Vec<String>,
    /// What `-m` said.
    pub reason: Option<String>,
    /// The refs that moved.
    pub edits: Vec<RefEdit>,
    /// The packs that hold what the new snapshots need and the store did not have.
    pub packs: Vec<PackId>,
    /// What a collection of garbage took out of the store; nothing for every other verb.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collected: Option<Collected>,
    /// What else the verb wants remembered; the store does not interpret it.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub details: serde_json::Value,
}

/// What a collection of garbage took out of the store (docs/format.md §6). The log itself stays
/// whole: earlier operations go on naming these snapshots and packs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// Snapshots that the store does not have any more.
    pub snapshots: Vec<SnapshotId>,
    /// Packs that are not read any more; what is still needed of them is in this operation's.
    pub packs: Vec<PackId>,
    /// How many objects were chosen to go to the trash, all pools together.
    pub objects: u64,
}

/// An operation's number and id: a position in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The operation's number.
    pub number: u64,
    /// Its id.
    pub id: OperationId,
}

/// The store's directory of operations.
pub struct Log {
    dir: Dir,
}

/// What came of an attempt to append.
pub enum Append {
    /// The operation is in the log.
    Done(Head),
    /// Somebody else took the number.
    Taken,
}

impl Operation {
    /// Returns the bytes of its file.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_string_pretty(self).expect("keys are strings");
        text.push('\n');
        // It is read with `cat` when nothing else works, and reasons come from anybody.
        plain_json(text).into_bytes()
    }
}

impl Log {
    /// The version that this code writes.
    pub const VERSION: u32 = 1;

    /// Opens the directory.
    pub fn new(dir: Dir) -> Self {
        Self { dir }
    }

    /// Returns the directory.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Reads one operation, or nothing if there is none with this number.
    pub fn read(&self, number: u64) -> Result<Option<(OperationId, Operation)>> {
        let name = file_name(number);
        let Some(bytes) = self.dir.try_read(name.as_bytes())? else { return Ok(None) };
        Self::decode(number, &bytes).map(Some)
    }

    /// Reads the bytes of the operation with this number.
    ///
    /// # Errors
    /// Bytes that are no operation, of another version, or of another number.
    pub fn decode(number: u64, bytes: &[u8]) -> Result<(OperationId, Operation)> {
        let fail = |reason: String| Error::corrupt(format!("log/{}", file_name(number)), reason);
        let operation: Operation =
            serde_json::from_slice(bytes).map_err(|error| fail(error.to_string()))?;
        if operation.version != Self::VERSION {
            return Err(fail(format!("version {} is not known here", operation.version)));
        }
        if operation.number != number {
            return Err(fail(format!("it says that it is number {}", operation.number)));
        }
        Ok((OperationId::of(bytes), operation))
    }

    /// Reads the operation after `head` and checks that it continues the chain.
    pub fn next(&self, head: Option<Head>) -> Result<Option<(OperationId, Operation)>> {
        let number = head.map_or(1, |head| head.number + 1);
        let Some((id, operation)) = self.read(number)? else { return Ok(None) };
        if operation.parent != head.map(|head| head.id) {
            return Err(Error::corrupt(
                format!("log/{}", file_name(number)),
                "it does not continue the operation before it",
            ));
        }
        Ok(Some((id, operation)))
    }

    /// Appends an operation at its number if that is free, and if at the last moment `still` says
    /// that it may.
    pub fn append(&self, operation: &Operation, still: &dyn Fn() -> Result<()>) -> Result<Append> {
        let bytes = operation.encode();
        let (temp, mut file) = self.dir.create_temp()?;
        let result = file
            .write_all(&bytes)
            .and_then(|()| file.set_mode(0o440))
            .and_then(|()| file.sync())
            .and_then(|()| {
                fault::hit(CrashPoint::OperationWritten);
                still()?;
                self.link(&temp, operation.number)
            });
        self.dir.remove_if_there(&temp)?;
        if !result? {
            return Ok(Append::Taken);
        }
        self.dir.sync()?;
        fault::hit(CrashPoint::OperationLogged);
        Ok(Append::Done(Head { number: operation.number, id: OperationId::of(&bytes) }))
    }

    /// Gives an operation its name; false where the number has another.
    fn link(&self, temp: &[u8], number: u64) -> Result<bool> {
        match self.dir.link(temp, &self.dir, file_name(number).as_bytes()) {
            Ok(()) => {
                fault::hit(CrashPoint::OperationLinked);
                Ok(true)
            }
            Err(error) if error.is(rustix::io::Errno::EXIST) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Returns an operation's file name: ten digits, so that a listing is in order.
pub fn file_name(number: u64) -> String {
    format!("{number:010}.json")
}
