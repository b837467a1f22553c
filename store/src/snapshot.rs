//! Snapshots: a root tree and where it came from.
//!
//! The canonical bytes are JSON with the fields in the order below and no white space
//! (docs/format.md §4). Two snapshots of one tree differ by their provenance, so "nothing
//! changed" is decided on the root tree and not on the snapshot's id.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fs::Time;
use crate::id::{SnapshotId, TreeId};
use crate::path::plain_json;
use crate::tree::DirEntry;

/// A snapshot of a whole tree with its provenance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The format version of this document: 1.
    pub version: u32,
    /// The root directory.
    pub root: Root,
    /// When it was made, RFC 3339 UTC.
    pub time: jiff::Timestamp,
    /// Where its content came from.
    pub origin: Origin,
    /// The snapshots it was made from: the one before under the same ref first, if there was one.
    pub parents: Vec<SnapshotId>,
}

/// The root directory of a snapshot: a [`DirEntry`] in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The tree.
    pub tree: TreeId,
    /// Permission bits of the directory.
    pub mode: u32,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
    /// Nanoseconds of the modification time.
    pub mtime_nanos: u32,
    /// Files and symbolic links below.
    pub files: u64,
    /// The sum of their sizes in bytes.
    pub bytes: u64,
}

impl From<DirEntry> for Root {
    fn from(dir: DirEntry) -> Self {
        Self {
            tree: dir.tree,
            mode: dir.mode,
            mtime: dir.mtime.secs,
            mtime_nanos: dir.mtime.nanos,
            files: dir.files,
            bytes: dir.bytes,
        }
    }
}

impl From<Root> for DirEntry {
    fn from(root: Root) -> Self {
        Self {
            tree: root.tree,
            mode: root.mode,
            mtime: Time { secs: root.mtime, nanos: root.mtime_nanos },
            files: root.files,
            bytes: root.bytes,
        }
    }
}

/// Where a snapshot's content came from. The store does not interpret it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// What made it: `ingest`, `stage`, `promote`…
    pub verb: String,
    /// Facts by name in a fixed order: the compose's path and real name, its COMPOSE_ID…
    pub facts: std::collections::BTreeMap<String, String>,
}

impl Snapshot {
    /// The version that this code writes.
    pub const VERSION: u32 = 1;

    /// Returns the root as a directory entry.
    pub fn root(&self) -> DirEntry {
        self.root.into()
    }

    /// Returns the canonical bytes and the id.
    pub fn encode(&self) -> (SnapshotId, Vec<u8>) {
        let text = serde_json::to_string(self).expect("a snapshot has only string keys");
        // Whoever looks at it with `less` is not spoken to by a compose's name.
        let bytes = plain_json(text).into_bytes();
        (SnapshotId::of(&bytes), bytes)
    }

    /// Reads canonical bytes.
    pub fn decode(id: &SnapshotId, bytes: &[u8]) -> Result<Self> {
        let fail = |reason: String| Error::corrupt(format!("snapshot {id}"), reason);
        if SnapshotId::of(bytes) != *id {
            return Err(fail("its bytes do not hash to its id".into()));
        }
        let snapshot: Snapshot =
            serde_json::from_slice(bytes).map_err(|error| fail(error.to_string()))?;
        if snapshot.version != Self::VERSION {
            return Err(fail(format!("version {} is not known here", snapshot.version)));
        }
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_vector_of_the_format_document() {
        // docs/format.md §4 prints this; a change here is a new format version.
        let root = DirEntry {
            tree: TreeId::of(&crate::tree::Tree::default().encode()),
            mode: 0o755,
            mtime: Time { secs: 1_762_000_000, nanos: 0 },
            files: 0,
            bytes: 0,
        };
        let snapshot = Snapshot {
            version: Snapshot::VERSION,
            root: root.into(),
            time: jiff::Timestamp::from_second(1_762_000_000).unwrap(),
            origin: Origin {
                verb: "ingest".into(),
                facts: [("path".to_owned(), "/mnt/compose".to_owned())].into(),
            },
            parents: vec![],
        };
        let (id, bytes) = snapshot.encode();
        let json = concat!(
            r#"{"version":1,"root":{"tree":"#,
            r#""7ed74c83b4da0231811c852e9ddd3fdc0480119ce63b02f23ad5040552a5883a","#,
            r#""mode":493,"mtime":1762000000,"mtime_nanos":0,"files":0,"bytes":0},"#,
            r#""time":"2025-11-01T12:26:40Z","#,
            r#""origin":{"verb":"ingest","facts":{"path":"/mnt/compose"}},"parents":[]}"#,
        );
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), json);
        assert_eq!(
            id.to_string(),
            "7213d18f711e7e8deacc14a780cb0913c2df302fd8457ce6833ec4264ecdae97"
        );
        assert_eq!(Snapshot::decode(&id, &bytes).unwrap(), snapshot);
    }

    #[test]
    fn a_changed_byte_is_refused_by_id() {
        let id = SnapshotId::of(b"{}");
        let error = Snapshot::decode(&id, b"{ }").unwrap_err();
        assert_eq!(error.to_string(), format!("snapshot {id}: its bytes do not hash to its id"));
    }
}
