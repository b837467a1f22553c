//! What is condemned, and since when: `<store>/condemned` (docs/format.md §13).
//!
//! It may be lost at any time: then every grace begins anew. So a file that does not hash to what
//! it says counts as missing, and nothing depends on when it reaches the disk.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::id::{ObjectId, SnapshotId};
use crate::store::Store;

const FILE: &[u8] = b"condemned";
const MAGIC: &[u8; 8] = b"cairngc1";

/// What was condemned at one time, in the order of the ids.
#[derive(Debug, Default, PartialEq, Eq)]
struct Group {
    snapshots: Vec<SnapshotId>,
    objects: Vec<ObjectId>,
}

/// Everything that is condemned.
#[derive(Debug, Default)]
pub(super) struct Condemned {
    /// The last operation that the run that wrote this had seen; nothing before the first run.
    pub head: Option<u64>,
    /// The hash of the file, by which another run's is told from it.
    pub seal: Option<[u8; 32]>,
    groups: BTreeMap<jiff::Timestamp, Group>,
}

impl Condemned {
    /// Starts a list of what is condemned after operation `head`.
    pub fn after(head: u64) -> Self {
        Self { head: Some(head), ..Self::default() }
    }

    /// Reads the list; one that is missing or damaged is empty.
    pub fn read(store: &Store) -> Result<Self> {
        let bytes = store.root().try_read(FILE)?;
        Ok(bytes.and_then(|bytes| Self::decode(&bytes)).unwrap_or_default())
    }

    /// Writes the list durably.
    pub fn write(&self, store: &Store) -> Result<()> {
        store.root().replace(FILE, &self.encode(), 0o600)
    }

    /// Adds a snapshot; in the order of the ids.
    pub fn add_snapshot(&mut self, since: jiff::Timestamp, id: SnapshotId) {
        self.groups.entry(since).or_default().snapshots.push(id);
    }

    /// Adds an object; in the order of the ids.
    pub fn add_object(&mut self, since: jiff::Timestamp, id: ObjectId) {
        self.groups.entry(since).or_default().objects.push(id);
    }

    /// Returns since when a snapshot is condemned.
    pub fn since_snapshot(&self, id: &SnapshotId) -> Option<jiff::Timestamp> {
        self.since(|group| group.snapshots.binary_search(id).is_ok())
    }

    /// Returns since when an object is condemned.
    pub fn since_object(&self, id: &ObjectId) -> Option<jiff::Timestamp> {
        self.since(|group| group.objects.binary_search(id).is_ok())
    }

    fn since(&self, holds: impl Fn(&Group) -> bool) -> Option<jiff::Timestamp> {
        self.groups.iter().find(|(_, group)| holds(group)).map(|(since, _)| *since)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.head.unwrap_or(0).to_le_bytes());
        out.extend_from_slice(&(self.groups.len() as u64).to_le_bytes());
        for (since, group) in &self.groups {
            out.extend_from_slice(&since.as_second().to_le_bytes());
            out.extend_from_slice(&since.subsec_nanosecond().to_le_bytes());
            out.extend_from_slice(&(group.snapshots.len() as u64).to_le_bytes());
            out.extend_from_slice(&(group.objects.len() as u64).to_le_bytes());
            for id in &group.snapshots {
                out.extend_from_slice(id.as_bytes());
            }
            for id in &group.objects {
                out.extend_from_slice(id.as_bytes());
            }
        }
        let seal = blake3::hash(&out);
        out.extend_from_slice(seal.as_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (content, seal) = bytes.split_last_chunk::<32>()?;
        if blake3::hash(content).as_bytes() != seal {
            return None;
        }
        let mut rest = content.strip_prefix(MAGIC)?;
        let head = take_u64(&mut rest)?;
        let mut groups = BTreeMap::new();
        for _ in 0..take_u64(&mut rest)? {
            let secs = i64::from_le_bytes(take(&mut rest)?);
            let nanos = i32::from_le_bytes(take(&mut rest)?);
            let (snapshots, objects) = (take_u64(&mut rest)?, take_u64(&mut rest)?);
            let group = Group {
                snapshots: take_ids(&mut rest, snapshots, SnapshotId::from_bytes)?,
                objects: take_ids(&mut rest, objects, ObjectId::from_bytes)?,
            };
            groups.insert(jiff::Timestamp::new(secs, nanos).ok()?, group);
        }
        rest.is_empty().then_some(Self { head: Some(head), seal: Some(*seal), groups })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*first)
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_le_bytes)
}

fn take_ids<T>(rest: &mut &[u8], count: u64, id: fn([u8; 32]) -> T) -> Option<Vec<T>> {
    let length = usize::try_from(count.checked_mul(32)?).ok()?;
    let (ids, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    let (ids, _) = ids.as_chunks::<32>();
    Some(ids.iter().map(|bytes| id(*bytes)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(secs: i64) -> jiff::Timestamp {
        jiff::Timestamp::new(secs, 5).unwrap()
    }

    fn sample() -> Condemned {
        let mut objects = [ObjectId::of(b"a"), ObjectId::of(b"b"), ObjectId::of(b"c")];
        objects.sort_unstable();
        let mut condemned = Condemned::after(42);
        condemned.add_snapshot(time(100), SnapshotId::of(b"s"));
        condemned.add_object(time(200), objects[0]);
        condemned.add_object(time(100), objects[1]);
        condemned.add_object(time(200), objects[2]);
        condemned
    }

    #[test]
    fn what_is_condemned_reads_back_with_its_times() {
        let sample = sample();
        let read = Condemned::decode(&sample.encode()).unwrap();
        assert_eq!(read.groups, sample.groups);
        assert_eq!(read.head, Some(42));
        assert_eq!(read.since_snapshot(&SnapshotId::of(b"s")), Some(time(100)));
        assert_eq!(read.since_snapshot(&SnapshotId::of(b"t")), None);
        let since: Vec<_> =
            [b"a", b"b", b"c"].map(|c| read.since_object(&ObjectId::of(c))).into_iter().collect();
        assert!(since.iter().all(Option::is_some));
        assert_eq!(read.since_object(&ObjectId::of(b"d")), None);
    }

    #[test]
    fn a_damaged_or_cut_list_counts_as_none() {
        let bytes = sample().encode();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(Condemned::decode(&flipped).is_none(), "byte {at}");
            assert!(Condemned::decode(&bytes[..at]).is_none(), "cut at {at}");
        }
        // A right hash over numbers that the bytes cannot hold.
        let mut lie = bytes[..bytes.len() - 32].to_vec();
        lie[36..44].copy_from_slice(&u64::MAX.to_le_bytes());
        let seal = blake3::hash(&lie);
        lie.extend_from_slice(seal.as_bytes());
        assert!(Condemned::decode(&lie).is_none());
    }
}
