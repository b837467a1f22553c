//! What is known of a view's trees: `trees.json` in the view's directory of the pool.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fs::Dir;
use crate::id::{SnapshotId, TreeId};
use crate::path::display;
use crate::snapshot::Root;

const FILE: &[u8] = b"trees.json";

/// The trees of one view, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Records {
    pub version: u32,
    pub trees: Vec<TreeRecord>,
}

impl Default for Records {
    fn default() -> Self {
        Self { version: 1, trees: Vec::new() }
    }
}

/// One tree, known by the inode of its directory wherever a swap has put it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeRecord {
    pub ino: u64,
    /// What it holds, or shall hold when it is built.
    pub content: Content,
    /// Whether it is between two contents; then nobody knows what it holds.
    pub building: bool,
    /// Whether it was found to differ from what it should hold. Such a tree counts as unfinished
    /// too, so nobody takes it; it is set aside and not removed, because somebody may want to see it.
    /// One that is live counts as whole until another has taken its place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drifted: bool,
    /// When it became live, if it ever did.
    pub published: Option<jiff::Timestamp>,
    /// When another tree took its place.
    pub retired: Option<jiff::Timestamp>,
}

/// What a tree holds: a snapshot laid over what was removed a short time before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub snapshot: SnapshotId,
    /// The snapshot's root.
    pub root: Root,
    /// What stays reachable below it.
    pub leftovers: Vec<Leftover>,
    /// The tree that results.
    pub tree: TreeId,
}

/// What going from one tree to another removed, and until when it stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    pub from: Root,
    pub to: Root,
    pub until: jiff::Timestamp,
}

impl TreeRecord {
    /// Returns whether the tree may be changed: it is whole, and nobody can be reading it.
    pub fn is_free(&self, now: jiff::Timestamp, keep: Duration) -> bool {
        !self.building
            && match (self.published, self.retired) {
                (None, _) => true,
                (Some(_), Some(retired)) => {
                    retired.saturating_add(keep).is_ok_and(|until| until <= now)
                }
                (Some(_), None) => false,
            }
    }
}

impl Records {
    /// Reads the record; a missing one is empty.
    pub fn read(dir: &Dir) -> Result<Self> {
        let Some(text) = dir.try_read(FILE)? else { return Ok(Self::default()) };
        Self::decode(&text)
            .map_err(|reason| Error::corrupt(display(&dir.path_of(FILE)).to_string(), reason))
    }

    /// Reads the file's bytes, or says why they are none.
    pub fn decode(text: &[u8]) -> std::result::Result<Self, String> {
        let records: Records = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        match records.version {
            1 => Ok(records),
            version => Err(format!("version {version} is not known here")),
        }
    }

    /// Returns the file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a record is plain data")
    }

    /// Writes the record durably.
    pub fn write(&self, dir: &Dir) -> Result<()> {
        dir.replace(FILE, &self.encode(), 0o600)
    }

    /// Returns the tree with this inode.
    pub fn get(&self, ino: u64) -> Option<&TreeRecord> {
        self.trees.iter().find(|tree| tree.ino == ino)
    }

    /// Returns the tree with this inode, to change it.
    pub fn get_mut(&mut self, ino: u64) -> Option<&mut TreeRecord> {
        self.trees.iter_mut().find(|tree| tree.ino == ino)
    }

    /// Makes the record agree with what is live after a crash beside a swap: the live tree is
    /// published, and a tree that was and is not any more has retired.
    pub fn settle(&mut self, live: Option<u64>, now: jiff::Timestamp) {
        for tree in &mut self.trees {
            if Some(tree.ino) == live {
                tree.published.get_or_insert(now);
                tree.retired = None;
            } else if tree.published.is_some() {
                tree.retired.get_or_insert(now);
            }
            tree.building |= tree.drifted && Some(tree.ino) != live;
        }
    }
}
