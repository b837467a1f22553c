//! Behaviour of the store as its callers see it, on the file system of the temporary directory.

#![expect(clippy::disallowed_methods, reason = "a test looks at the disk past the store's door")]

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cairn_store::fs::Dir;
use cairn_store::id::SnapshotId;
use cairn_store::ingest::{Counts, How, Placement};
use cairn_store::log::RefEdit;
use cairn_store::mount::MountSpec;
use cairn_store::path::RelPath;
use cairn_store::pool::LinkMode;
use cairn_store::progress::{Observer, Silent};
use cairn_store::publish::{Goal, Intent, Source, ViewSpec};
use cairn_store::refs::{RefName, Rev};
use cairn_store::snapshot::{Origin, Snapshot};
use cairn_store::store::{Proposal, Session};
use cairn_store::tree::Draft;
use cairn_store::{Error, Store};

const T0: i64 = 1_762_000_000;

/// A store with one mount, and a directory to ingest from.
struct Fixture {
    dir: tempfile::TempDir,
    keep: Duration,
    grace: Duration,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["mount", "source"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let fixture = Self { dir, keep: Duration::ZERO, grace: Duration::ZERO };
        Store::init(&fixture.path("store"), &fixture.mounts(), Session::default()).unwrap();
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn mounts(&self) -> Vec<MountSpec> {
        vec![MountSpec {
            name: "mount".into(),
            path: self.path("mount"),
            pool: self.path("mount/.cairn"),
            owner: None,
            link: LinkMode::Auto,
            swap: None,
            keep_trees: self.keep,
            answer_within: cairn_store::hang::LIMIT,
            grace: self.grace,
            home: true,
        }]
    }

    fn open(&self) -> Store {
        Store::open(&self.path("store"), &self.mounts(), Session::default()).unwrap()
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.path("source").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn remove(&self, path: &str) {
        std::fs::remove_file(self.path("source").join(path)).unwrap();
    }

    fn live(&self, path: &str) -> PathBuf {
        self.path("mount/pub/9.7").join(path)
    }

    fn view() -> ViewSpec {
        ViewSpec {
            name: name("production/9.7"),
            mount: "mount".into(),
            path: RelPath::new("pub/9.7").unwrap(),
        }
    }

    /// Ingests the source and publishes it as of `secs` after the beginning.
    fn publish(&self, secs: i64) -> (SnapshotId, Source, Counts) {
        let store = self.open();
        let writer = store.writer(&[name("production/9.7")]).unwrap();
        let draft = Draft::new(&store);
        let mount = store.mount("mount").unwrap();
        let source = Dir::open(&self.path("source")).unwrap();
        let found = store.ingest(&draft, &source, mount.pool(), How::default(), &Silent).unwrap();
        let time = jiff::Timestamp::from_second(T0 + secs).unwrap();
        let snapshot = snapshot(found.root, time);
        let (id, root) = (snapshot.encode().0, found.root);
        let goal = Goal { snapshot: id, root, time, intent: Intent::Forward };
        let never = |path: &RelPath| path.file_name() == b"repomd.xml";
        let view = Self::view();
        let ready = store.prepare_view(&draft, &view, &goal, &never, &Silent).unwrap();
        let from = ready.plan.source;
        let old = store.get_ref(&view.name).unwrap().map(|state| state.snapshot);
        let edits = vec![RefEdit { name: view.name.clone(), old, new: Some(id) }];
        let snapshots = vec![snapshot];
        let inodes = found.inodes;
        let proposal = Proposal { edits, snapshots, inodes, ..Proposal::default() };
        writer.commit(&draft, proposal).unwrap();
        ready.swap(id, time).unwrap();
        store.tidy_view(&view, time).unwrap();
        (id, from, found.counts)
    }

    /// Brings the view to a snapshot that exists.
    fn go_back(&self, id: SnapshotId, secs: i64) -> Source {
        let store = self.open();
        let draft = Draft::new(&store);
        let root = store.snapshot(&id).unwrap().root();
        let time = jiff::Timestamp::from_second(T0 + secs).unwrap();
        let goal = Goal { snapshot: id, root, time, intent: Intent::Back };
        let ready = store.prepare_view(&draft, &Self::view(), &goal, &|_| false, &Silent).unwrap();
        let from = ready.plan.source;
        ready.swap(id, time).unwrap();
        from
    }

    fn kept_trees(&self) -> usize {
        let dir = self.path("mount/.cairn/views/production+9.7");
        let names = std::fs::read_dir(dir).unwrap();
        names.filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_dir()).count()
    }
}

fn name(text: &str) -> RefName {
    RefName::new(text).unwrap()
}

fn snapshot(root: cairn_store::tree::DirEntry, time: jiff::Timestamp) -> Snapshot {
    Snapshot {
        version: Snapshot::VERSION,
        root: root.into(),
        time,
        origin: Origin::default(),
        parents: vec![],
    }
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// Moves a ref to a snapshot of the empty tree that carries `secs` as its time.
fn commit(
    store: &Store,
    ref_name: &str,
    old: Option<SnapshotId>,
    secs: i64,
) -> cairn_store::Result<SnapshotId> {
    let draft = Draft::new(store);
    let root = draft.empty(0o755, cairn_store::fs::Time::default());
    let snapshot = snapshot(root, jiff::Timestamp::from_second(T0 + secs).unwrap());
    let id = snapshot.encode().0;
    let writer = store.writer(&[name(ref_name)])?;
    let edits = vec![RefEdit { name: name(ref_name), old, new: Some(id) }];
    writer.commit(&draft, Proposal { edits, snapshots: vec![snapshot], ..Proposal::default() })?;
    Ok(id)
}

#[test]
fn a_name_that_a_file_has_already_may_be_given_to_it_again_and_to_no_other() {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::open(temp.path()).unwrap();
    for name in ["one", "other"] {
        std::fs::write(temp.path().join(name), name).unwrap();
    }
    // As a server answers that was asked twice.
    dir.link(b"one", &dir, b"name").unwrap();
    dir.link(b"one", &dir, b"name").unwrap();
    let error = dir.link(b"other", &dir, b"name").unwrap_err();
    let Error::Io { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), std::io::ErrorKind::AlreadyExists, "{error}");
    assert_eq!(std::fs::read(temp.path().join("name")).unwrap(), b"one");
    let missing = dir.link(b"none", &dir, b"name").unwrap_err();
    assert!(missing.is_not_found(), "{missing}");
}

#[test]
fn many_writers_of_different_refs_make_one_chain() {
    let fixture = Fixture::new();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let fixture = &fixture;
            scope.spawn(move || {
                let store = fixture.open();
                let mut old = None;
                for secs in 0..10 {
                    old = Some(commit(&store, &format!("r/{thread}"), old, secs).unwrap());
                }
            });
        }
    });
    let store = fixture.open();
    assert_eq!(store.head().unwrap().unwrap().number, 40);
    let mut head = None;
    while let Some((id, operation)) = store.log().next(head).unwrap() {
        head = Some(cairn_store::log::Head { number: operation.number, id });
    }
    assert_eq!(head, store.head().unwrap());
    assert_eq!(store.refs().unwrap().len(), 4);
}

#[test]
fn a_plan_for_a_ref_that_moved_is_stale_and_changes_nothing() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let first = commit(&store, "r", None, 1).unwrap();
    let error = commit(&store, "r", None, 2).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("r moved while this command ran: expected nothing, found {first}")
    );
    assert_eq!(store.resolve(&Rev::Ref(name("r"))).unwrap(), first);
    assert_eq!(store.head().unwrap().unwrap().number, 1);
}

#[test]
fn a_held_ref_is_busy_and_names_its_holder() {
    let fixture = Fixture::new();
    let (store, other) = (fixture.open(), fixture.open());
    let _writer = store.writer(&[name("r")]).unwrap();
    let Err(Error::Busy { what, holder }) = other.writer(&[name("r")]) else {
        panic!("the ref is held");
    };
    assert_eq!((what.as_str(), holder.pid), ("r", std::process::id()));
    drop(other.writer(&[name("another")]).unwrap());
}

#[test]
fn the_index_is_rebuilt_from_log_and_packs_whatever_happened_to_it() {
    let fixture = Fixture::new();
    let store = fixture.open();
    let first = commit(&store, "a", None, 1).unwrap();
    let older = std::fs::read(fixture.path("store/index.redb")).unwrap();
    commit(&store, "a", Some(first), 2).unwrap();
    commit(&store, "b", None, 3).unwrap();
    let expected = (store.refs().unwrap(), store.head().unwrap());
    drop(store);
    let index = fixture.path("store/index.redb");
    let damage: [(&str, &dyn Fn()); 5] = [
        ("missing", &|| std::fs::remove_file(&index).unwrap()),
        ("empty", &|| std::fs::write(&index, b"").unwrap()),
        ("garbage", &|| std::fs::write(&index, vec![0x5a; 100_000]).unwrap()),
        ("older", &|| std::fs::write(&index, &older).unwrap()),
        ("cut", &|| {
            let bytes = std::fs::read(&index).unwrap();
            std::fs::write(&index, &bytes[..bytes.len() / 2]).unwrap();
        }),
    ];
    for (what, damage) in damage {
        damage();
        let store = fixture.open();
        assert_eq!((store.refs().unwrap(), store.head().unwrap()), expected, "{what}");
        assert_eq!(store.resolve(&Rev::parse("a~1").unwrap()).unwrap(), first, "{what}");
    }
}

#[test]
fn an_index_of_another_store_is_not_believed() {
    let (fixture, other) = (Fixture::new(), Fixture::new());
    let first = commit(&fixture.open(), "a", None, 1).unwrap();
    let store = other.open();
    let id = commit(&store, "z", None, 5).unwrap();
    commit(&store, "z", Some(id), 6).unwrap();
    drop(store);
    std::fs::copy(other.path("store/index.redb"), fixture.path("store/index.redb")).unwrap();
    let store = fixture.open();
    assert_eq!(store.resolve(&Rev::Ref(name("a"))).unwrap(), first);
    assert!(store.get_ref(&name("z")).unwrap().is_none());
    assert!(store.notes()[0].contains("rebuilt"), "{:?}", store.notes());
}

#[test]
fn a_damaged_pack_is_named_and_never_believed() {
    let fixture = Fixture::new();
    let id = commit(&fixture.open(), "a", None, 1).unwrap();
    let pack = std::fs::read_dir(fixture.path("store/packs")).unwrap().next().unwrap().unwrap();
    let mut bytes = std::fs::read(pack.path()).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::remove_file(pack.path()).unwrap();
    std::fs::write(pack.path(), bytes).unwrap();
    let error = fixture.open().snapshot(&id).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    let name = pack.file_name().into_string().unwrap();
    assert!(error.to_string().contains(name.trim_end_matches(".pack")), "{error}");
}

#[test]
fn hard_links_are_read_once_and_an_unchanged_file_not_at_all() {
    let fixture = Fixture::new();
    fixture.write("os/bash.rpm", "bash");
    let source = fixture.path("source");
    std::fs::hard_link(source.join("os/bash.rpm"), source.join("os/again.rpm")).unwrap();
    // Older than the time stamps' grain, or the file is read again to be sure.
    std::thread::sleep(Duration::from_millis(150));
    let (_, _, counts) = fixture.publish(1);
    assert_eq!((counts.files, counts.files_read), (2, 1));
    let (_, _, counts) = fixture.publish(2);
    assert_eq!((counts.files, counts.files_read), (2, 0));
    // A new link moves the change time and nothing else.
    std::fs::hard_link(source.join("os/bash.rpm"), source.join("os/third.rpm")).unwrap();
    std::thread::sleep(Duration::from_millis(150));
    let (_, _, counts) = fixture.publish(3);
    assert_eq!((counts.files, counts.files_read), (3, 0));
    // So does a name that goes. It explains nothing: the file is looked at, and here it changed.
    for name in ["os/again.rpm", "os/third.rpm"] {
        std::fs::remove_file(source.join(name)).unwrap();
    }
    std::thread::sleep(Duration::from_millis(150));
    let (_, _, counts) = fixture.publish(4);
    assert_eq!((counts.files, counts.files_read), (1, 0));
    let file = source.join("os/bash.rpm");
    let mtime = std::fs::metadata(&file).unwrap().modified().unwrap();
    std::fs::write(&file, "zash").unwrap();
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(mtime).unwrap();
    let (_, _, counts) = fixture.publish(5);
    assert_eq!((counts.files, counts.files_read), (1, 1));
    assert_eq!(read(&fixture.live("os/bash.rpm")).unwrap(), "zash");
}

#[test]
fn content_that_changed_with_size_and_time_equal_is_read_again() {
    let fixture = Fixture::new();
    fixture.write("os/bash.rpm", "one");
    let file = fixture.path("source/os/bash.rpm");
    let mtime = std::fs::metadata(&file).unwrap().modified().unwrap();
    std::thread::sleep(Duration::from_millis(150));
    fixture.publish(1);
    std::fs::write(&file, "two").unwrap();
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(mtime).unwrap();
    let (_, _, counts) = fixture.publish(2);
    assert_eq!(counts.files_read, 1);
    assert_eq!(read(&fixture.live("os/bash.rpm")).unwrap(), "two");
}

#[test]
fn holes_stay_holes() {
    let fixture = Fixture::new();
    let file = std::fs::File::create(fixture.path("source/disk.img")).unwrap();
    file.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"end", (64 << 20) - 3).unwrap();
    drop(file);
    fixture.publish(1);
    let stat = std::fs::metadata(fixture.live("disk.img")).unwrap();
    assert_eq!(stat.len(), 64 << 20);
    assert!(stat.blocks() * 512 < 1 << 20, "{} blocks", stat.blocks());
    let content = std::fs::read(fixture.live("disk.img")).unwrap();
    assert!(content.starts_with(&[0; 4096]) && content.ends_with(b"end"));
}

#[test]
fn what_people_edit_in_place_shares_no_inode() {
    let fixture = Fixture::new();
    fixture.write("os/bash.rpm", "bash");
    fixture.write("os/repodata/repomd.xml", "<repomd/>");
    fixture.write("os/empty", "");
    fixture.publish(1);
    for path in ["os/repodata/repomd.xml", "os/empty"] {
        assert_eq!(std::fs::metadata(fixture.live(path)).unwrap().nlink(), 1, "{path}");
    }
}

#[test]
fn trees_are_kept_for_their_time_and_then_brought_forward() {
    let mut fixture = Fixture::new();
    fixture.keep = Duration::from_secs(100);
    fixture.write("a", "1");
    let (first, from, _) = fixture.publish(0);
    assert_eq!(from, Source::New);
    fixture.write("a", "2");
    assert_eq!(fixture.publish(10).1, Source::New, "the first tree is kept for its time");
    assert_eq!(fixture.go_back(first, 20), Source::Kept);
    assert_eq!(read(&fixture.live("a")).unwrap(), "1");
    fixture.write("a", "3");
    assert_eq!(fixture.publish(30).1, Source::New, "both trees are still kept");
    assert_eq!(fixture.kept_trees(), 2);
    fixture.write("a", "4");
    assert_eq!(fixture.publish(200).1, Source::Standby);
    assert_eq!(read(&fixture.live("a")).unwrap(), "4");
    assert_eq!(fixture.kept_trees(), 2, "the one that just retired, and one standby");
}

#[test]
fn a_tree_that_was_finished_and_never_logged_does_not_stand_in_the_way() {
    let fixture = Fixture::new();
    fixture.write("dir/a", "1");
    fixture.publish(0);
    fixture.write("dir/a", "2");
    {
        // Finished, and then the process is killed: its nodes were in memory only.
        let store = fixture.open();
        let draft = Draft::new(&store);
        let mount = store.mount("mount").unwrap();
        let source = Dir::open(&fixture.path("source")).unwrap();
        let found = store.ingest(&draft, &source, mount.pool(), How::default(), &Silent).unwrap();
        let time = jiff::Timestamp::from_second(T0 + 10).unwrap();
        let (id, root) = (snapshot(found.root, time).encode().0, found.root);
        let goal = Goal { snapshot: id, root, time, intent: Intent::Forward };
        let view = Fixture::view();
        drop(store.prepare_view(&draft, &view, &goal, &|_| false, &Silent).unwrap());
    }
    fixture.write("dir/a", "3");
    assert_eq!(fixture.publish(20).1, Source::New);
    assert_eq!(read(&fixture.live("dir/a")).unwrap(), "3");
}

#[test]
fn removed_files_stay_reachable_for_the_grace() {
    let mut fixture = Fixture::new();
    fixture.grace = Duration::from_secs(100);
    fixture.write("os/old.rpm", "old");
    fixture.write("os/bash.rpm", "1");
    fixture.publish(0);
    fixture.remove("os/old.rpm");
    fixture.write("os/bash.rpm", "2");
    fixture.publish(10);
    assert_eq!(read(&fixture.live("os/old.rpm")).unwrap(), "old");
    assert_eq!(read(&fixture.live("os/bash.rpm")).unwrap(), "2");
    // A later publication does not make it stay longer.
    fixture.write("os/bash.rpm", "3");
    fixture.publish(60);
    assert_eq!(read(&fixture.live("os/old.rpm")).unwrap(), "old");
    fixture.write("os/bash.rpm", "4");
    fixture.publish(120);
    assert_eq!(read(&fixture.live("os/old.rpm")), None);
    assert_eq!(read(&fixture.live("os/bash.rpm")).unwrap(), "4");
}

#[test]
fn a_directory_that_is_not_ours_is_never_replaced() {
    let fixture = Fixture::new();
    fixture.write("a", "1");
    std::fs::create_dir_all(fixture.live("")).unwrap();
    fixture.publish(1);
    assert_eq!(read(&fixture.live("a")).unwrap(), "1", "an empty directory holds nothing to lose");

    let fixture = Fixture::new();
    std::fs::create_dir_all(fixture.live("")).unwrap();
    std::fs::write(fixture.live("theirs"), "2").unwrap();
    let store = fixture.open();
    let error = store.live(&Fixture::view()).unwrap_err();
    assert!(matches!(error, Error::ViewOccupied { .. }), "{error}");
}

#[test]
fn a_mount_point_without_its_mount_is_refused() {
    let fixture = Fixture::new();
    std::fs::rename(fixture.path("mount"), fixture.path("away")).unwrap();
    let store = fixture.open();
    let error = store.mount("mount").unwrap_err().to_string();
    assert!(error.ends_with("it does not exist"), "{error}");
    std::fs::create_dir(fixture.path("mount")).unwrap();
    let error = store.mount("mount").unwrap_err().to_string();
    assert!(error.ends_with("nothing of cairn's is there; is the file system mounted?"), "{error}");
}

/// Everything in the pool's directories for objects and for temporary files.
fn pool_files(fixture: &Fixture) -> Vec<PathBuf> {
    let objects = std::fs::read_dir(fixture.path("mount/.cairn/objects")).unwrap();
    let mut dirs: Vec<PathBuf> = objects.map(|entry| entry.unwrap().path()).collect();
    dirs.push(fixture.path("mount/.cairn/tmp"));
    let files = dirs.iter().flat_map(|dir| std::fs::read_dir(dir).unwrap());
    files.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_linked_file_is_its_object_and_is_known_again() {
    let fixture = Fixture::new();
    let large = "x".repeat(3 << 20);
    for (path, content) in [("os/a", "same"), ("os/b", "same"), ("os/large", &large), ("os/c", "")]
    {
        fixture.write(path, content);
    }
    let store = fixture.open();
    let draft = Draft::new(&store);
    let mount = store.mount("mount").unwrap();
    let source = Dir::open(&fixture.path("source")).unwrap();
    let how = How { placement: Placement::Link, ..How::default() };
    let linked = store.ingest(&draft, &source, mount.pool(), how, &Silent).unwrap();
    assert_eq!((linked.counts.files, linked.counts.files_read), (4, 4));
    let inode = |path: &Path| std::fs::metadata(path).unwrap().ino();
    let objects: Vec<u64> = pool_files(&fixture).iter().map(|path| inode(path)).collect();
    let [a, b, large] =
        ["os/a", "os/b", "os/large"].map(|p| inode(&fixture.path("source").join(p)));
    assert_eq!(objects.len(), 2, "one per content, none temporary");
    assert!(objects.contains(&large) && (objects.contains(&a) != objects.contains(&b)));
    // What is remembered is what the files look like now, so a copying ingest knows them too.
    let writer = store.writer(&[name("compose/x")]).unwrap();
    writer.remember(&linked.inodes).unwrap();
    let again = store.ingest(&draft, &source, mount.pool(), How::default(), &Silent).unwrap();
    assert_eq!((again.root.tree, again.counts.files_read), (linked.root.tree, 0));
    // And every sample is that of a file which is looked at anew.
    for path in ["os/a", "os/large"] {
        std::fs::hard_link(fixture.path("source").join(path), fixture.path("other")).unwrap();
        std::fs::remove_file(fixture.path("other")).unwrap();
    }
    let moved = store.ingest(&draft, &source, mount.pool(), How::default(), &Silent).unwrap();
    assert_eq!((moved.root.tree, moved.counts.files_read), (linked.root.tree, 0));
}

/// Changes a file while it is hashed.
struct Meddler {
    file: PathBuf,
    asked: AtomicU64,
}

impl Observer for Meddler {
    fn begin(&self, _: &str, _: u64, _: u64) {}
    fn advance(&self, _: u64, _: u64) {}
    fn note(&self, _: &str) {}
    fn interrupted(&self) -> bool {
        // The walk asks once per directory and each file once, and then each piece of it.
        if self.asked.fetch_add(1, Ordering::SeqCst) == 5 {
            let file = std::fs::File::options().append(true).open(&self.file).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, b"y", 0).unwrap();
        }
        false
    }
}

#[test]
fn a_file_that_changes_while_it_is_linked_leaves_no_object() {
    let fixture = Fixture::new();
    fixture.write("large", &"x".repeat(3 << 20));
    let store = fixture.open();
    let draft = Draft::new(&store);
    let mount = store.mount("mount").unwrap();
    let source = Dir::open(&fixture.path("source")).unwrap();
    let how = How { placement: Placement::Link, ..How::default() };
    let meddler = Meddler { file: fixture.path("source/large"), asked: AtomicU64::new(0) };
    let result = store.ingest(&draft, &source, mount.pool(), how, &meddler);
    assert!(matches!(result, Err(Error::Changed { .. })), "{:?}", result.err());
    assert_eq!(pool_files(&fixture), Vec::<PathBuf>::new());
}
