//! Whatever lies in a store's files, reading it ends with a value or an error: no panic, and no
//! memory for what is only claimed to be there. What is written reads back equal. What is asked of
//! each is in the test kit (`decoders`), where the fuzz targets ask it too.
//!
//! `PROPTEST_CASES=20000 cargo test -p cairn-store --test decoders` tries that many cases of each;
//! by default there are 256. A case that fails is printed, made small.

#![expect(clippy::disallowed_methods, reason = "a test writes what the store would not")]

use std::path::Path;

use cairn_store::Error;
use cairn_store::fs::{Dir, Time};
use cairn_store::id::{ObjectId, OperationId, PackId, SnapshotId, TreeId};
use cairn_store::log::{Append, Collected, Log, Operation, RefEdit};
use cairn_store::pack::{NodeId, PackWriter, Packs, Place, file_name};
use cairn_store::refs::RefName;
use cairn_store::snapshot::{Origin, Root, Snapshot};
use cairn_store::tree::{DirEntry, Entry, FileEntry, SymlinkEntry, Tree};
use cairn_testkit::decoders;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// More than any case here needs, less than one claimed length would take.
const MEMORY: u64 = 192 << 20;

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

/// Something done to bytes.
#[derive(Clone, Debug)]
enum Edit {
    Set(Index, u8),
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Truncate(Index),
    /// Four bytes become this number, as lengths are.
    Length(Index, u32),
    /// A part is repeated.
    Repeat(Index, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let lengths = prop_oneof![Just(u32::MAX), Just(0), Just(1 << 31), any::<u32>()];
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        (any::<Index>(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (any::<Index>(), 1..40usize).prop_map(|(at, count)| Edit::Remove(at, count)),
        any::<Index>().prop_map(Edit::Truncate),
        (any::<Index>(), lengths).prop_map(|(at, length)| Edit::Length(at, length)),
        (any::<Index>(), 1..60usize).prop_map(|(at, count)| Edit::Repeat(at, count)),
    ]
}

fn apply(bytes: &mut Vec<u8>, edits: &[Edit]) {
    for edit in edits {
        if bytes.is_empty() {
            return;
        }
        let len = bytes.len();
        match edit {
            Edit::Set(at, byte) => bytes[at.index(len)] = *byte,
            Edit::Flip(at, bit) => bytes[at.index(len)] ^= 1 << bit,
            Edit::Insert(at, new) => {
                let at = at.index(len);
                bytes.splice(at..at, new.iter().copied());
            }
            Edit::Remove(at, count) => {
                let at = at.index(len);
                bytes.drain(at..len.min(at + count));
            }
            Edit::Truncate(at) => bytes.truncate(at.index(len)),
            Edit::Length(at, length) => {
                let at = at.index(len);
                let end = len.min(at + 4);
                bytes[at..end].copy_from_slice(&length.to_le_bytes()[..end - at]);
            }
            Edit::Repeat(at, count) => {
                let at = at.index(len);
                let part = bytes[at..len.min(at + count)].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
}

fn entry() -> impl Strategy<Value = Entry> {
    let time = (any::<i64>(), 0u32..1_000_000_000).prop_map(|(secs, nanos)| Time { secs, nanos });
    let target = "[^\0]{1,60}".prop_map(|text| text.into_bytes().into_boxed_slice());
    (0u8..3, any::<[u8; 32]>(), any::<u64>(), 0u32..0o10000, time, target).prop_map(
        |(kind, id, size, mode, mtime, target)| match kind {
            0 => Entry::File(FileEntry { object: ObjectId::from_bytes(id), size, mode, mtime }),
            1 => {
                let tree = TreeId::from_bytes(id);
                Entry::Dir(DirEntry { tree, mode, mtime, files: size, bytes: size / 3 })
            }
            _ => Entry::Symlink(SymlinkEntry { target, mtime }),
        },
    )
}

fn tree() -> impl Strategy<Value = Tree> {
    let name = vec(any::<u8>(), 1..30)
        .prop_filter("a name", |name| !name.contains(&0) && !name.contains(&b'/'))
        .prop_filter("not dots", |name| name != b"." && name != b"..");
    proptest::collection::btree_map(name, entry(), 0..12).prop_map(|entries| {
        let boxed = entries.into_iter().map(|(name, entry)| (name.into_boxed_slice(), entry));
        Tree::new(boxed.collect()).expect("the names are names")
    })
}

fn time() -> impl Strategy<Value = jiff::Timestamp> {
    (-100_000_000_000i64..250_000_000_000, 0..1_000_000_000i32)
        .prop_map(|(secs, nanos)| jiff::Timestamp::new(secs, nanos).unwrap())
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    let root = (any::<[u8; 32]>(), 0u32..0o10000, any::<i64>(), 0u32..1_000_000_000, any::<u64>());
    let root = root.prop_map(|(tree, mode, mtime, mtime_nanos, files)| Root {
        tree: TreeId::from_bytes(tree),
        mode,
        mtime,
        mtime_nanos,
        files,
        bytes: files / 7,
    });
    let facts = proptest::collection::btree_map(any::<String>(), any::<String>(), 0..4);
    let parents = vec(any::<[u8; 32]>().prop_map(SnapshotId::from_bytes), 0..3);
    (root, time(), "[a-z]{1,9}", facts, parents).prop_map(|(root, time, verb, facts, parents)| {
        Snapshot { version: Snapshot::VERSION, root, time, origin: Origin { verb, facts }, parents }
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    let id = || any::<[u8; 32]>().prop_map(SnapshotId::from_bytes);
    let name = "(production|staging)/[a-z0-9]{1,8}".prop_map(|name| RefName::new(name).unwrap());
    let edits = (name, proptest::option::of(id()), proptest::option::of(id()))
        .prop_map(|(name, old, new)| RefEdit { name, old, new });
    let packs = || vec(any::<[u8; 32]>().prop_map(PackId::from_bytes), 0..3);
    let collected = (vec(id(), 0..3), packs(), any::<u64>())
        .prop_map(|(snapshots, packs, objects)| Collected { snapshots, packs, objects });
    let who = (any::<String>(), any::<String>(), vec(any::<String>(), 0..4));
    let parent = proptest::option::of(any::<[u8; 32]>().prop_map(OperationId::from_bytes));
    let rest = (proptest::option::of(any::<String>()), proptest::option::of(collected), time());
    (parent, who, vec(edits, 0..3), packs(), rest).prop_map(|(parent, who, edits, packs, rest)| {
        let ((host, user, command), (reason, collected, time)) = (who, rest);
        Operation {
            version: Log::VERSION,
            number: 1,
            parent,
            time,
            host,
            user,
            verb: "promote".into(),
            command,
            reason,
            edits,
            packs,
            collected,
            details: serde_json::json!({ "skipped": ["no-loss"] }),
        }
    })
}

/// A directory for one case, in memory where there is that.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn open(dir: &Path) -> Dir {
    Dir::open(dir).unwrap()
}

/// Asserts that this process has never had more memory than it may.
#[track_caller]
fn assert_bounded() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib << 10 < MEMORY, "{kib} KiB were needed");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_changed_tree_is_refused_or_is_the_tree_that_its_bytes_say(
        tree in tree(),
        edits in vec(edit(), 1..6),
    ) {
        let mut bytes = tree.encode();
        prop_assert_eq!(&Tree::decode(&bytes).unwrap(), &tree);
        apply(&mut bytes, &edits);
        let _ = decoders::tree(&bytes);
    }

    #[test]
    fn a_changed_snapshot_is_refused_or_reads_back(
        snapshot in snapshot(),
        edits in vec(edit(), 1..6),
    ) {
        let (id, mut bytes) = snapshot.encode();
        prop_assert_eq!(&Snapshot::decode(&id, &bytes).unwrap(), &snapshot);
        apply(&mut bytes, &edits);
        let _ = decoders::snapshot(&bytes);
        let wrong = SnapshotId::from_bytes([7; 32]);
        let refused = matches!(Snapshot::decode(&wrong, &bytes), Err(Error::Corrupt { .. }));
        prop_assert!(refused, "it is not what its name says");
    }

    #[test]
    fn a_changed_operation_is_refused_or_reads_back(
        operation in operation(),
        edits in vec(edit(), 1..6),
    ) {
        let dir = scratch();
        let log = Log::new(open(dir.path()));
        let Append::Done(head) = log.append(&operation, &|| Ok(())).unwrap() else { panic!("it was taken") };
        let (id, read) = log.read(1).unwrap().expect("it is there");
        prop_assert_eq!((id, &read), (head.id, &operation));
        prop_assert!(matches!(log.append(&operation, &|| Ok(())).unwrap(), Append::Taken));

        let path = dir.path().join(cairn_store::log::file_name(1));
        let mut bytes = std::fs::read(&path).unwrap();
        apply(&mut bytes, &edits);
        let _ = decoders::operation(&bytes);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        match log.read(1) {
            Ok(Some((id, other))) => {
                prop_assert_eq!(id, OperationId::of(&bytes));
                prop_assert_eq!(other.number, 1);
            }
            Ok(None) => prop_assert!(false, "it is there"),
            Err(error) => prop_assert!(error.to_string().contains("log/0000000001.json")),
        }
        // Whatever it says now, it does not continue a chain that it was not written for.
        let _ = log.next(None);
        let _ = log.next(Some(head));
    }

    #[test]
    fn a_changed_pack_is_refused_or_lists_what_lies_in_it(
        trees in vec(tree(), 0..5),
        snapshots in vec(snapshot(), 0..3),
        edits in vec(edit(), 1..6),
    ) {
        let dir = scratch();
        let packs = Packs::new(open(dir.path()));
        let mut writer = PackWriter::new(&packs);
        let mut nodes = Vec::new();
        for tree in &trees {
            let bytes = tree.encode();
            nodes.push((NodeId::Tree(TreeId::of(&bytes)), bytes));
        }
        for snapshot in &snapshots {
            let (id, bytes) = snapshot.encode();
            nodes.push((NodeId::Snapshot(id), bytes));
        }
        for (id, bytes) in &nodes {
            writer.add(*id, bytes).unwrap();
        }
        let (pack, listing) = writer.finish().unwrap();
        prop_assert_eq!(&packs.scan(&pack).unwrap(), &listing);
        for ((id, place), (expected, bytes)) in listing.iter().zip(&nodes) {
            prop_assert_eq!(id, expected);
            prop_assert_eq!(&packs.read(&pack, *place, id).unwrap(), bytes);
        }

        let original = std::fs::read(dir.path().join(file_name(&pack))).unwrap();
        let mut bytes = original.clone();
        apply(&mut bytes, &edits);
        let _ = decoders::pack(&bytes);
        let claimed = PackId::of(&bytes);
        // Once under the name of its bytes, so that the reader has to look at them, and once under
        // the name of what it was.
        for (name, whole) in [(claimed, true), (PackId::from_bytes([9; 32]), false)] {
            let path = dir.path().join(file_name(&name));
            let _ = std::fs::remove_file(&path);
            std::fs::write(&path, &bytes).unwrap();
            let packs = Packs::new(open(dir.path()));
            let scanned = packs.scan(&name);
            prop_assert!(whole || scanned.is_err());
            let salvage = packs.salvage(&name).unwrap();
            prop_assert_eq!(salvage.is_sound, whole);
            let listed = scanned.unwrap_or_default();
            for (id, place) in listed.iter().chain(&salvage.places).chain(&salvage.damaged) {
                prop_assert!(place.offset + u64::from(place.len) <= bytes.len() as u64);
                if let Ok(node) = packs.read(&name, *place, id) {
                    prop_assert!(id.names(&node));
                }
            }
            // What an index that is not ours may say.
            let far = Place { offset: u64::MAX - 3, len: u32::MAX };
            prop_assert!(packs.read(&name, far, &NodeId::Tree(TreeId::of(b""))).is_err());
        }
        assert_bounded();
    }

    #[test]
    fn names_and_paths_of_any_bytes_are_refused_or_read_back(bytes in vec(any::<u8>(), 0..60)) {
        let _ = decoders::names(&bytes);
    }
}

#[test]
fn a_claimed_length_takes_no_memory() {
    for count in [u32::MAX, 1 << 31, 1 << 28] {
        // docs/format.md: version, count, entries.
        let mut bytes = vec![1];
        bytes.extend_from_slice(&count.to_le_bytes());
        assert!(Tree::decode(&bytes).is_err());
        bytes.extend_from_slice(&[1; 200]);
        assert!(Tree::decode(&bytes).is_err());

        let dir = scratch();
        let mut pack = b"cairnpk1".to_vec();
        pack.push(1);
        pack.extend_from_slice(&[5; 32]);
        pack.extend_from_slice(&count.to_le_bytes());
        let id = PackId::of(&pack);
        std::fs::write(dir.path().join(file_name(&id)), &pack).unwrap();
        let packs = Packs::new(open(dir.path()));
        assert!(matches!(packs.scan(&id), Err(Error::Corrupt { .. })));
        assert!(packs.salvage(&id).unwrap().places.is_empty());
    }
    assert_bounded();
}
