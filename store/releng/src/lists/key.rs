//! What the lists of a root were made of, in one hash: while it is the same, so are they.

use serde::{Deserialize, Serialize};

use cairn_store::Result;
use cairn_store::fs::{Dir, Kind, Time};
use cairn_store::id::ObjectId;
use cairn_store::mount::Mount;

use super::{ListReport, Root, View};

/// Part of the hash: lists of another version of this program are looked at again.
const VERSION: u32 = 1;

/// `<pool>/lists/<root>.key`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    /// The hash.
    pub inputs: String,
    /// The lists, for the report.
    pub lists: Vec<KeyList>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeyList {
    pub name: String,
    pub entries: u64,
}

impl Key {
    pub fn file_name(root: &Root<'_>) -> Vec<u8> {
        format!("{}.key", root.state).into_bytes()
    }

    pub fn new<'r>(inputs: ObjectId, reports: impl Iterator<Item = &'r ListReport>) -> Self {
        let list =
            |report: &ListReport| KeyList { name: report.name.clone(), entries: report.entries };
        Self { inputs: inputs.to_string(), lists: reports.map(list).collect() }
    }

    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a key is plain data")
    }

    /// Reads a root's key; one that is damaged is none.
    pub fn read(state: &Dir, root: &Root<'_>) -> Result<Option<Self>> {
        let bytes = state.try_read(&Self::file_name(root))?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }
}

/// Hashes everything that the lists of a root depend on, and the lists as they are; nothing when
/// one of them is missing.
pub(super) fn inputs<'v>(
    mount: &Mount,
    root: &Root<'_>,
    views: impl Iterator<Item = &'v View<'v>>,
    live: ObjectId,
) -> Result<Option<ObjectId>> {
    let mut hashed = Hashed(Vec::with_capacity(4096));
    hashed.number(VERSION.into());
    hashed.bytes(root.path.as_bytes());
    let (uid, gid) = mount.spec.owner.unwrap_or((u32::MAX, u32::MAX));
    hashed.number(uid.into());
    hashed.number(gid.into());
    hashed.bytes(live.as_bytes());
    for view in views {
        hashed.bytes(view.listed.path.as_bytes());
        hashed.bytes(view.listed.name.as_str().as_bytes());
        hashed.bytes(view.listed.snapshot.as_bytes());
        hashed.number(view.publications.last().map_or(0, |(operation, _)| *operation));
        // Another tree of the same snapshot may have directories of another size.
        hashed.number(view.stat.ino);
        hashed.time(view.stat.ctime);
    }
    for file in &root.config.files {
        hashed.bytes(file.name.as_bytes());
        match root.dir.try_stat(file.name.as_bytes())? {
            Some(stat) if stat.kind == Kind::File => {
                hashed.number(stat.ino);
                hashed.number(stat.size);
                hashed.time(stat.mtime);
            }
            Some(_) | None => return Ok(None),
        }
    }
    Ok(Some(ObjectId::of(&hashed.0)))
}

struct Hashed(Vec<u8>);

impl Hashed {
    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn time(&mut self, time: Time) {
        self.number(time.secs as u64);
        self.number(time.nanos.into());
    }
}
