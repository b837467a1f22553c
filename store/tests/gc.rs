//! Collecting garbage: what is kept is exactly what is reachable, whatever happened before.
//!
//! The fixture and all tests that need it stand in one file.

#![expect(clippy::disallowed_methods, reason = "a test looks at the disk past the store's door")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use cairn_store::fs::Dir;
use cairn_store::gc::{Amount, Keep, Policy, Report};
use cairn_store::id::{ObjectId, SnapshotId};
use cairn_store::ingest::How;
use cairn_store::log::RefEdit;
use cairn_store::mount::MountSpec;
use cairn_store::path::RelPath;
use cairn_store::pool::LinkMode;
use cairn_store::progress::{Observer, Silent};
use cairn_store::publish::{Goal, Intent, ViewSpec};
use cairn_store::refs::{RefName, Rev};
use cairn_store::snapshot::{Origin, Snapshot};
use cairn_store::store::{Proposal, Session};
use cairn_store::tree::{Draft, Entry, walk};
use cairn_store::{Error, Store};
use proptest::prelude::*;

/// A store with two mounts, and a directory to ingest from.
struct Fixture {
    dir: tempfile::TempDir,
    keep: Keep,
    keep_trees: Duration,
    grace: Duration,
    trash: Duration,
    tick: std::sync::atomic::AtomicI64,
}

fn name(text: &str) -> RefName {
    RefName::new(text).unwrap()
}

impl Fixture {
    /// Makes a snapshot live, and removes what is kept of the view for too long.
    fn publish(&self, view: &ViewSpec, id: SnapshotId) {
        let store = self.open();
        let draft = Draft::new(&store);
        let (root, time) = (store.snapshot(&id).unwrap().root(), jiff::Timestamp::now());
        let goal = Goal { snapshot: id, root, time, intent: Intent::Forward };
        let ready = store.prepare_view(&draft, view, &goal, &|_| false, &Silent).unwrap();
        ready.swap(id, time).unwrap();
        store.tidy_view(view, time).unwrap();
    }

    fn new() -> Self {
        let dir = match tempfile::tempdir_in("/dev/shm") {
            Ok(dir) => dir,
            Err(_) => tempfile::tempdir().unwrap(),
        };
        for name in ["a", "b", "source"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let fixture = Self {
            dir,
            keep: Keep { last: 1, within: Duration::ZERO },
            keep_trees: Duration::ZERO,
            grace: Duration::ZERO,
            trash: Duration::ZERO,
            tick: 1.into(),
        };
        Store::init(&fixture.path("store"), &fixture.mounts(), Session::default()).unwrap();
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn mounts(&self) -> Vec<MountSpec> {
        let mount = |name: &str, home| MountSpec {
            name: name.into(),
            path: self.path(name),
            pool: self.path(name).join(".cairn"),
            owner: None,
            link: LinkMode::Auto,
            swap: None,
            keep_trees: self.keep_trees,
            answer_within: cairn_store::hang::LIMIT,
            grace: Duration::ZERO,
            home,
        };
        vec![mount("a", true), mount("b", false)]
    }

    fn open(&self) -> Store {
        Store::open(&self.path("store"), &self.mounts(), Session::default()).unwrap()
    }

    /// Makes the source hold these files, each with its number as content.
    fn fill(&self, files: &BTreeSet<u8>) {
        let source = self.path("source");
        std::fs::remove_dir_all(&source).unwrap();
        std::fs::create_dir(&source).unwrap();
        for file in files {
            // Some share a directory, so that trees are shared too.
            let dir = source.join(format!("d{}", file % 3));
            std::fs::create_dir_all(&dir).unwrap();
            let path = dir.join(format!("f{file}"));
            std::fs::write(&path, format!("content {file}")).unwrap();
            // Times are part of a tree; equal contents shall make equal trees.
            let file = std::fs::File::open(&path).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
            let dir = std::fs::File::open(&dir).unwrap();
            dir.set_modified(std::time::UNIX_EPOCH).unwrap();
        }
    }

    fn snapshot(&self, root: cairn_store::tree::DirEntry) -> Snapshot {
        let tick = self.tick.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Snapshot {
            version: Snapshot::VERSION,
            root: root.into(),
            time: jiff::Timestamp::from_second(tick).unwrap(),
            origin: Origin::default(),
            parents: vec![],
        }
    }

    fn ingest(&self, ref_name: &str, files: &BTreeSet<u8>) -> SnapshotId {
        self.fill(files);
        let store = self.open();
        let writer = store.writer(&[name(ref_name)]).unwrap();
        let draft = Draft::new(&store);
        let mount = store.mount("a").unwrap();
        let source = Dir::open(&self.path("source")).unwrap();
        let found = store.ingest(&draft, &source, mount.pool(), How::default(), &Silent).unwrap();
        let snapshot = self.snapshot(found.root);
        let id = snapshot.encode().0;
        let old = store.get_ref(&name(ref_name)).unwrap().map(|state| state.snapshot);
        let edits = vec![RefEdit { name: name(ref_name), old, new: Some(id) }];
        let (snapshots, inodes) = (vec![snapshot], found.inodes);
        let proposal = Proposal { edits, snapshots, inodes, ..Proposal::default() };
        writer.commit(&draft, proposal).unwrap();
        id
    }

    /// Moves a ref to a snapshot that exists, or removes it.
    fn point(&self, ref_name: &str, new: Option<SnapshotId>) {
        let store = self.open();
        let writer = store.writer(&[name(ref_name)]).unwrap();
        let old = store.get_ref(&name(ref_name)).unwrap().map(|state| state.snapshot);
        if old != new {
            let edits = vec![RefEdit { name: name(ref_name), old, new }];
            let draft = Draft::new(&store);
            writer.commit(&draft, Proposal { edits, ..Proposal::default() }).unwrap();
        }
    }

    fn try_gc(&self) -> cairn_store::Result<Report> {
        let store = self.open();
        let keep = |_: &RefName| self.keep;
        let now = jiff::Timestamp::now();
        let policy = Policy { keep: &keep, grace: self.grace, trash: self.trash, now };
        let plan = store.plan_gc(&policy, &Silent)?;
        store.apply_gc(plan, &Silent)
    }

    #[track_caller]
    fn gc(&self) -> Report {
        let report = self.try_gc().unwrap();
        assert!(!report.is_partial(), "{report:#?}");
        report
    }

    /// Returns the objects that a pool has, and how many names its trash has.
    fn pool(&self, mount: &str) -> (BTreeSet<ObjectId>, usize) {
        let (mut objects, mut trash) = (BTreeSet::new(), 0);
        for prefix in std::fs::read_dir(self.path(mount).join(".cairn/objects")).unwrap() {
            let prefix = prefix.unwrap();
            for entry in std::fs::read_dir(prefix.path()).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let whole = format!("{}{name}", prefix.file_name().to_str().unwrap());
                match ObjectId::from_hex(&whole) {
                    Some(id) => drop(objects.insert(id)),
                    None if name.starts_with(".trash-") => trash += 1,
                    None => panic!("{name} is no object"),
                }
            }
        }
        (objects, trash)
    }

    /// Returns what snapshots reach, each object read and compared with its id.
    #[track_caller]
    fn reach(&self, snapshots: impl IntoIterator<Item = SnapshotId>) -> BTreeSet<ObjectId> {
        let store = self.open();
        let mount = store.mount("a").unwrap();
        let mut reached = BTreeSet::new();
        for id in snapshots {
            let root = store.snapshot(&id).unwrap().root();
            walk(&store, &root, &RelPath::ROOT, &mut |path, entry| {
                if let Entry::File(file) = entry {
                    let mut bytes = Vec::new();
                    let open = mount.pool().open_object(&file.object).unwrap();
                    std::io::Read::read_to_end(&mut open.into_file(), &mut bytes).unwrap();
                    assert_eq!(ObjectId::of(&bytes), file.object, "{path}");
                    reached.insert(file.object);
                }
                Ok(true)
            })
            .unwrap();
        }
        reached
    }
}

fn files(files: impl IntoIterator<Item = u8>) -> BTreeSet<u8> {
    files.into_iter().collect()
}

fn content(file: u8) -> ObjectId {
    ObjectId::of(format!("content {file}").as_bytes())
}

#[test]
fn nothing_goes_before_the_second_run_and_its_grace() {
    let mut fixture = Fixture::new();
    fixture.grace = Duration::from_secs(3600);
    fixture.ingest("r", &files([1, 2]));
    let old = fixture.ingest("r", &files([2, 3]));
    let new = fixture.ingest("r", &files([3]));
    let report = fixture.gc();
    assert_eq!((report.number, report.snapshots_condemned), (None, 2));
    // An hour has not passed.
    let report = fixture.gc();
    assert_eq!(report.number, None);
    assert_eq!(report.pools[0].condemned.objects, 2);
    assert_eq!(
        fixture.pool("a").0,
        fixture.reach([old, new]).into_iter().chain([content(1)]).collect()
    );
    // The grace is a setting: what was condemned before is judged by the one of now.
    fixture.grace = Duration::ZERO;
    fixture.trash = Duration::from_secs(3600);
    let report = fixture.gc();
    assert_eq!(report.number, Some(4));
    assert_eq!(report.snapshots_collected.len(), 2);
    assert_eq!(report.pools[0].trashed, Amount { objects: 2, bytes: 18 });
    assert_eq!(fixture.pool("a"), (BTreeSet::from([content(3)]), 2));
    // What is in the trash waits too.
    assert_eq!(fixture.gc().pools[0].in_trash.objects, 2);
    fixture.trash = Duration::ZERO;
    let report = fixture.gc();
    assert_eq!(report.pools[0].freed, Amount { objects: 2, bytes: 18 });
    assert_eq!(report.number, None, "emptying the trash is no operation");
    assert_eq!(fixture.pool("a"), (BTreeSet::from([content(3)]), 0));
}

#[test]
fn a_collected_snapshot_is_named_with_the_operation_that_took_it() {
    let fixture = Fixture::new();
    let old = fixture.ingest("r", &files([1]));
    let new = fixture.ingest("r", &files([2]));
    fixture.gc();
    assert_eq!(fixture.gc().number, Some(3));
    let by = |error: Error| match error {
        Error::Collected { id, operation } => (id, operation),
        error => panic!("{error}"),
    };
    for _ in 0..2 {
        let store = fixture.open();
        assert_eq!(by(store.snapshot(&old).unwrap_err()), (old, 3));
        for rev in [
            Rev::Before(name("r"), 1),
            Rev::Snapshot(old),
            Rev::Prefix(old.to_string()[..9].into()),
        ] {
            let id = store.resolve(&rev).unwrap();
            assert_eq!(by(store.snapshot(&id).unwrap_err()), (old, 3), "{rev:?}");
        }
        assert_eq!(store.resolve(&Rev::Ref(name("r"))).unwrap(), new);
        assert!(store.try_snapshot(&old).unwrap().is_none());
        assert_eq!(store.operation(1).unwrap().edits[0].new, Some(old), "the log stays whole");
        drop(store);
        // And once more with an index that is built anew.
        std::fs::remove_file(fixture.path("store/index.redb")).unwrap();
    }
}

#[test]
fn an_ingest_that_knows_a_file_again_brings_its_collected_object_back() {
    let fixture = Fixture::new();
    fixture.fill(&files([1, 2]));
    let source = fixture.path("source");
    // The inode cache does not remember what has just changed.
    std::thread::sleep(Duration::from_millis(150));
    let ingest = |ref_name: &str| {
        let store = fixture.open();
        let writer = store.writer(&[name(ref_name)]).unwrap();
        let draft = Draft::new(&store);
        let mount = store.mount("a").unwrap();
        let dir = Dir::open(&source).unwrap();
        let found = store.ingest(&draft, &dir, mount.pool(), How::default(), &Silent).unwrap();
        let snapshot = fixture.snapshot(found.root);
        let id = snapshot.encode().0;
        let edits = vec![RefEdit { name: name(ref_name), old: None, new: Some(id) }];
        let (snapshots, inodes) = (vec![snapshot], found.inodes);
        let proposal = Proposal { edits, snapshots, inodes, ..Proposal::default() };
        writer.commit(&draft, proposal).unwrap();
        (id, found.counts.files_read)
    };
    assert_eq!(ingest("r").1, 2);
    fixture.point("r", None);
    fixture.gc();
    fixture.gc();
    assert!(fixture.pool("a").0.is_empty());
    let (id, read) = ingest("s");
    assert_eq!(read, 2, "files whose objects went were known without being read");
    assert_eq!(fixture.reach([id]), BTreeSet::from([content(1), content(2)]));
}

#[test]
fn what_is_named_between_two_runs_begins_its_grace_anew() {
    let mut fixture = Fixture::new();
    fixture.ingest("r", &files([1]));
    fixture.ingest("r", &files([2]));
    fixture.gc();
    // Named and left again: it was condemned before, and is not any more.
    let again = fixture.ingest("s", &files([1]));
    fixture.point("s", None);
    let report = fixture.gc();
    assert!(report.pools[0].trashed.objects == 0 && fixture.pool("a").0.contains(&content(1)));
    assert!(!report.snapshots_collected.contains(&again));
    fixture.trash = Duration::from_secs(3600);
    assert_eq!(fixture.gc().pools[0].trashed.objects, 1, "that run condemned it anew");
}

#[test]
fn a_snapshot_that_is_named_again_after_it_was_condemned_stays() {
    let fixture = Fixture::new();
    let old = fixture.ingest("r", &files([1, 2]));
    fixture.ingest("r", &files([3]));
    fixture.gc();
    fixture.point("held", Some(old));
    for _ in 0..3 {
        fixture.gc();
    }
    assert_eq!(fixture.reach([old]), BTreeSet::from([content(1), content(2)]));
}

#[test]
fn trees_on_a_mount_keep_what_they_hold() {
    let mut fixture = Fixture::new();
    fixture.keep_trees = Duration::from_secs(3600);
    let view =
        ViewSpec { name: name("r"), mount: "b".into(), path: RelPath::new("pub/r").unwrap() };
    let first = fixture.ingest("r", &files([1, 2]));
    fixture.publish(&view, first);
    let second = fixture.ingest("r", &files([2, 3]));
    fixture.publish(&view, second);
    for _ in 0..3 {
        fixture.gc();
    }
    let both = [content(1), content(2), content(3)].into();
    assert_eq!(fixture.reach([first, second]), both);
    assert_eq!(fixture.pool("b").0, both);
    // Its time of keeping over, the tree goes, and then what only it held, from both pools.
    fixture.keep_trees = Duration::ZERO;
    let third = fixture.ingest("r", &files([3]));
    fixture.publish(&view, third);
    for _ in 0..3 {
        fixture.gc();
    }
    assert!(fixture.open().try_snapshot(&first).unwrap().is_none());
    let kept = fixture.reach([second, third]);
    assert_eq!(fixture.pool("a"), (kept.clone(), 0));
    assert_eq!(fixture.pool("b"), (kept, 0));
}

/// Whoever logs may be unable to write the index, or write another one by now. What is published
/// then is behind this collection's back, and no damage.
#[test]
fn what_was_logged_past_the_index_of_a_collection_is_taken_in() {
    let mut fixture = Fixture::new();
    fixture.keep_trees = Duration::from_secs(3600);
    let view =
        ViewSpec { name: name("r"), mount: "b".into(), path: RelPath::new("pub/r").unwrap() };
    let publish = |files: BTreeSet<u8>| {
        let id = fixture.ingest("r", &files);
        fixture.publish(&view, id);
        id
    };
    let first = publish(files([1]));
    let store = fixture.open();
    std::fs::remove_file(fixture.path("store/index.redb")).unwrap();
    let second = publish(files([2]));
    let keep = |_: &RefName| fixture.keep;
    let now = jiff::Timestamp::now();
    let policy = Policy { keep: &keep, grace: Duration::ZERO, trash: Duration::ZERO, now };
    let plan = store.plan_gc(&policy, &Silent).unwrap();
    store.apply_gc(plan, &Silent).unwrap();
    drop(store);
    for _ in 0..3 {
        fixture.gc();
    }
    assert_eq!(fixture.reach([first, second]), BTreeSet::from([content(1), content(2)]));
}

#[test]
fn a_mount_that_is_away_keeps_every_snapshot_and_is_named() {
    let fixture = Fixture::new();
    let old = fixture.ingest("r", &files([1]));
    fixture.ingest("r", &files([2]));
    fixture.gc();
    std::fs::rename(fixture.path("b"), fixture.path("elsewhere")).unwrap();
    for _ in 0..3 {
        let report = fixture.try_gc().unwrap();
        assert!(report.is_partial() && report.number.is_none());
        assert_eq!(report.skipped[0].mount, "b");
    }
    assert_eq!(fixture.reach([old]), BTreeSet::from([content(1)]));
    std::fs::rename(fixture.path("elsewhere"), fixture.path("b")).unwrap();
    assert_eq!(fixture.gc().snapshots_collected, [old]);
}

#[test]
fn a_root_that_cannot_be_read_stops_everything() {
    let fixture = Fixture::new();
    fixture.ingest("r", &files([1]));
    fixture.ingest("r", &files([2]));
    fixture.ingest("s", &files([4, 5]));
    fixture.gc();
    let before = fixture.pool("a");
    let pack = fixture.open().operation(3).unwrap().packs[0];
    let path = fixture.path("store/packs").join(format!("{pack}.pack"));
    let sound = std::fs::read(&path).unwrap();
    let mut damaged = sound.clone();
    // Inside the first tree.
    damaged[60] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, &damaged).unwrap();
    let error = fixture.try_gc().unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("nothing was collected"), "{error}");
    assert_eq!(fixture.pool("a"), before);
    std::fs::write(&path, &sound).unwrap();
    // A record of a mount that cannot be read, a part of a pool that is lost.
    let strange = fixture.path("b/.cairn/views/strange");
    std::fs::create_dir(&strange).unwrap();
    std::fs::write(strange.join("trees.json"), "{").unwrap();
    assert!(matches!(fixture.try_gc(), Err(Error::Corrupt { .. })));
    std::fs::remove_dir_all(&strange).unwrap();
    let id = content(4).to_string();
    let lost = fixture.path("a/.cairn/objects").join(&id[..2]);
    std::fs::rename(&lost, fixture.path("lost")).unwrap();
    assert!(fixture.try_gc().unwrap_err().is_not_found());
    std::fs::create_dir(&lost).unwrap();
    let error = fixture.try_gc().unwrap_err().to_string();
    assert!(error.contains(&id) && error.contains("s needs it"), "{error}");
    std::fs::remove_dir(&lost).unwrap();
    std::fs::rename(fixture.path("lost"), &lost).unwrap();
    assert_eq!(fixture.pool("a"), before);
    assert_eq!(fixture.gc().pools[0].trashed.objects, 1);
}

#[test]
fn what_is_needed_and_only_in_the_trash_comes_back() {
    let fixture = Fixture::new();
    let id = fixture.ingest("r", &files([1]));
    let object = content(1).to_string();
    let dir = fixture.path("a/.cairn/objects").join(&object[..2]);
    let trash = dir.join(format!(".trash-0000000001-{}", &object[2..]));
    std::fs::rename(dir.join(&object[2..]), &trash).unwrap();
    let report = fixture.gc();
    assert_eq!(report.pools[0].rescued.objects, 1);
    assert_eq!(report.pools[0].freed.objects, 0);
    assert_eq!(fixture.reach([id]), BTreeSet::from([content(1)]));
    assert_eq!(fixture.pool("a").1, 0);
}

#[test]
fn siblings_go_with_their_object_and_strangers_stay() {
    let fixture = Fixture::new();
    fixture.ingest("r", &files([1]));
    fixture.ingest("r", &files([2]));
    let object = content(1).to_string();
    let dir = fixture.path("a/.cairn/objects").join(&object[..2]);
    for sibling in ["~1", "~2"] {
        let name = format!("{}{sibling}", &object[2..]);
        std::fs::copy(dir.join(&object[2..]), dir.join(name)).unwrap();
    }
    // A sibling alone, as a kill in the middle leaves it.
    let orphan = content(9).to_string();
    let orphan_dir = fixture.path("a/.cairn/objects").join(&orphan[..2]);
    std::fs::write(orphan_dir.join(format!("{}~3", &orphan[2..])), "content 9").unwrap();
    std::fs::write(dir.join("README"), "mine").unwrap();
    for _ in 0..3 {
        fixture.gc();
    }
    let names = |dir: &PathBuf| -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names(&dir), ["README"]);
    assert!(names(&orphan_dir).iter().all(|name| name == "README"), "{:?}", names(&orphan_dir));
}

/// Ingests when the pools have been listed and nothing is marked yet.
struct Meanwhile<'f> {
    fixture: &'f Fixture,
    done: std::sync::atomic::AtomicBool,
}

impl Observer for Meanwhile<'_> {
    fn begin(&self, stage: &str, _files: u64, _bytes: u64) {
        let first = !self.done.load(std::sync::atomic::Ordering::Relaxed);
        if stage == "Marking what is needed" && first {
            self.done.store(true, std::sync::atomic::Ordering::Relaxed);
            self.fixture.ingest("s", &files([8, 9]));
        }
    }
}

#[test]
fn what_comes_in_while_a_plan_is_made_is_not_missed_and_not_lost() {
    let fixture = Fixture::new();
    fixture.ingest("r", &files([1]));
    fixture.ingest("r", &files([2]));
    fixture.gc();
    let store = fixture.open();
    let keep = |_: &RefName| fixture.keep;
    let now = jiff::Timestamp::now();
    let policy = Policy { keep: &keep, grace: Duration::ZERO, trash: Duration::ZERO, now };
    let meanwhile = Meanwhile { fixture: &fixture, done: false.into() };
    let plan = store.begin_gc(&policy, &meanwhile).unwrap();
    assert!(meanwhile.done.load(std::sync::atomic::Ordering::Relaxed));
    assert_eq!(store.apply_gc(plan, &Silent).unwrap().pools[0].trashed.objects, 1);
    let named = store.resolve(&Rev::Ref(name("s"))).unwrap();
    assert_eq!(fixture.reach([named]), BTreeSet::from([content(8), content(9)]));
}

#[test]
fn a_collection_waits_for_who_writes_and_says_who_that_is() {
    let fixture = Fixture::new();
    fixture.ingest("r", &files([1]));
    let store = fixture.open();
    let writer = store.writer(&[name("r")]).unwrap();
    assert!(matches!(fixture.try_gc(), Err(Error::Busy { .. })));
    drop(writer);
    fixture.gc();
}

#[test]
fn a_plan_that_another_run_has_overtaken_is_stale() {
    let fixture = Fixture::new();
    fixture.ingest("r", &files([1]));
    fixture.ingest("r", &files([2]));
    let store = fixture.open();
    let keep = |_: &RefName| fixture.keep;
    let now = jiff::Timestamp::now();
    let (grace, trash) = (fixture.grace, fixture.trash);
    let policy = Policy { keep: &keep, grace, trash, now };
    let plan = store.plan_gc(&policy, &Silent).unwrap();
    fixture.gc();
    assert!(matches!(store.apply_gc(plan, &Silent), Err(Error::Stale { .. })));
    let policy = Policy { now: jiff::Timestamp::now(), ..policy };
    let plan = store.plan_gc(&policy, &Silent).unwrap();
    // A publication between the plan and its end is seen.
    let old = store.resolve(&Rev::Before(name("r"), 1)).unwrap();
    assert_eq!(plan.report.snapshots_collected, [old]);
    fixture.point("r", Some(old));
    let report = store.apply_gc(plan, &Silent).unwrap();
    assert!(report.snapshots_collected.is_empty(), "{report:#?}");
    assert_eq!(fixture.reach([old]), BTreeSet::from([content(1)]));
}

#[test]
fn what_a_ref_named_within_the_time_stays() {
    let mut fixture = Fixture::new();
    fixture.keep = Keep { last: 0, within: Duration::from_secs(3600) };
    let old = fixture.ingest("r", &files([1]));
    let new = fixture.ingest("r", &files([2]));
    fixture.point("r", None);
    for _ in 0..3 {
        fixture.gc();
    }
    assert_eq!(fixture.reach([old, new]).len(), 2);
    fixture.keep.within = Duration::ZERO;
    for _ in 0..3 {
        fixture.gc();
    }
    assert!(fixture.pool("a").0.is_empty());
}

#[test]
fn space_is_told_alone_and_shared() {
    let mut fixture = Fixture::new();
    fixture.keep = Keep { last: 2, within: Duration::ZERO };
    fixture.ingest("r", &files([7]));
    fixture.ingest("r", &files([1, 2]));
    fixture.ingest("s", &files([2, 3]));
    let store = fixture.open();
    let keep = |_: &RefName| fixture.keep;
    let now = jiff::Timestamp::now();
    let policy = Policy { keep: &keep, grace: Duration::ZERO, trash: Duration::ZERO, now };
    let space = store.space(&policy, &Silent).unwrap();
    let amount = |objects| Amount { objects, bytes: objects * 9 };
    let [r, s] = space.refs.as_slice() else { panic!("{space:#?}") };
    assert_eq!((r.name.as_str(), r.files, r.bytes), ("r", 2, 18));
    assert_eq!((r.stored, r.kept_snapshots, r.kept), (amount(2), 1, amount(1)));
    assert_eq!((r.alone, r.shared), (amount(2), amount(1)));
    assert_eq!((s.stored, s.kept, s.alone, s.shared), (amount(2), amount(0), amount(1), amount(1)));
    assert_eq!((space.total, space.shared), (amount(4), amount(1)));
    assert_eq!(space.mounts[0].needed, amount(4));
    assert_eq!(space.mounts[1].needed, amount(0));
}

/// One step of a history.
#[derive(Clone, Debug)]
enum Step {
    Ingest(usize, BTreeSet<u8>),
    /// To what the ref named so many moves ago, if that is still there.
    Back(usize, usize),
    Remove(usize),
    Collect,
    /// The index is lost.
    Forget,
}

const REFS: [&str; 3] = ["compose/9/Rocky", "production/9.7", "hold/x"];

fn step() -> impl Strategy<Value = Step> {
    let files = prop::collection::btree_set(0u8..12, 1..6);
    prop_oneof![
        4 => (0..REFS.len(), files).prop_map(|(name, files)| Step::Ingest(name, files)),
        2 => (0..REFS.len(), 1usize..4).prop_map(|(name, back)| Step::Back(name, back)),
        1 => (0..REFS.len()).prop_map(Step::Remove),
        3 => Just(Step::Collect),
        1 => Just(Step::Forget),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_is_exactly_what_is_reachable(
        steps in prop::collection::vec(step(), 1..24),
        last in 1usize..4,
    ) {
        let mut fixture = Fixture::new();
        fixture.keep = Keep { last, within: Duration::ZERO };
        let mut contents: BTreeMap<SnapshotId, BTreeSet<u8>> = BTreeMap::new();
        // Of each ref what it named, oldest first.
        let mut moves: [Vec<Option<SnapshotId>>; 3] = Default::default();
        let kept = |moves: &[Vec<Option<SnapshotId>>; 3]| -> BTreeSet<SnapshotId> {
            let mut kept = BTreeSet::new();
            for moves in moves {
                if moves.last().copied().flatten().is_some() {
                    kept.extend(moves.iter().rev().flatten().take(last));
                }
            }
            kept
        };
        // What a run found unneeded may have gone, and does not come back with its ref.
        let mut released: BTreeSet<SnapshotId> = BTreeSet::new();
        let reachable = |snapshots: &BTreeSet<SnapshotId>, contents: &BTreeMap<_, BTreeSet<u8>>| {
            let files = snapshots.iter().flat_map(|id| contents[id].iter());
            files.map(|file| content(*file)).collect::<BTreeSet<_>>()
        };
        for step in steps {
            match step {
                Step::Ingest(to, files) => {
                    let id = fixture.ingest(REFS[to], &files);
                    contents.insert(id, files);
                    moves[to].push(Some(id));
                }
                Step::Back(to, back) => {
                    let target = moves[to].iter().rev().nth(back).copied().flatten();
                    let there = |id: &SnapshotId| fixture.open().try_snapshot(id).unwrap().is_some();
                    if let Some(id) = target.filter(there)
                        && moves[to].last() != Some(&Some(id))
                    {
                        fixture.point(REFS[to], Some(id));
                        moves[to].push(Some(id));
                        released.remove(&id);
                    }
                }
                Step::Remove(to) => {
                    if moves[to].last().copied().flatten().is_some() {
                        fixture.point(REFS[to], None);
                        moves[to].push(None);
                    }
                }
                Step::Collect => {
                    fixture.gc();
                    let kept = kept(&moves);
                    released.extend(contents.keys().filter(|id| !kept.contains(id)));
                }
                Step::Forget => {
                    let _ = std::fs::remove_file(fixture.path("store/index.redb"));
                }
            }
            // Whatever the store has is whole, and what is kept is there.
            let there = fixture.open().index().view().unwrap().snapshots().unwrap();
            let there: BTreeSet<_> = there.into_iter().collect();
            let kept: BTreeSet<_> = kept(&moves).difference(&released).copied().collect();
            prop_assert!(kept.is_subset(&there));
            prop_assert_eq!(fixture.reach(there.clone()), reachable(&there, &contents));
        }
        // Two runs after the last change, what is there is what must be; a third empties the trash.
        for _ in 0..3 {
            fixture.gc();
        }
        for _ in 0..2 {
            let there = fixture.open().index().view().unwrap().snapshots().unwrap();
            let there: BTreeSet<_> = there.into_iter().collect();
            prop_assert!(there.is_subset(&kept(&moves)));
            let kept: BTreeSet<_> = kept(&moves).difference(&released).copied().collect();
            prop_assert!(kept.is_subset(&there));
            prop_assert_eq!(fixture.pool("a"), (reachable(&there, &contents), 0));
            prop_assert_eq!(fixture.reach(there.clone()), reachable(&there, &contents));
            let store = fixture.open();
            let files = std::fs::read_dir(fixture.path("store/packs")).unwrap().count();
            prop_assert_eq!(files, store.index().view().unwrap().packs().unwrap().len());
            drop(store);
            let _ = std::fs::remove_file(fixture.path("store/index.redb"));
        }
    }
}
