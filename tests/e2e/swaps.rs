//! Swaps under readers, on full disks, onto occupied paths, and what they leave behind.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cairn_releng::Site;
use cairn_releng::config::Config;
use cairn_store::progress::Silent;
use cairn_store::publish::{Goal, Intent, Source};
use cairn_store::refs::RefName;
use cairn_store::store::Session;
use cairn_store::tree::Draft;
use cairn_testkit::filesystem::{FsKind, Loop};
use cairn_testkit::readers::{Generation, Hammer};
use cairn_testkit::sample::{Places, Written};
use cairn_testkit::{Run, World, available, treecmp};
use jiff::Timestamp;

use crate::filesystems::{
    PRODUCTION, STAGING, assert_same, children, contents, publish, real, release, update,
};
use crate::world;

const SIZE: u64 = 64 * 1024 * 1024;
/// What readers read: files of both releases, far apart, most of them with other content in each.
const READ: [&str; 6] = [
    "AppStream/x86_64/os/repodata/repomd.xml",
    "BaseOS/aarch64/os/repodata/repomd.xml",
    "BaseOS/x86_64/os/.discinfo",
    "BaseOS/x86_64/os/.treeinfo",
    "BaseOS/x86_64/os/Packages/t/tzdata-2025b-2.el9.noarch.rpm",
    "BaseOS/x86_64/os/LICENSE",
];
/// How long all the swaps of a test may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A production mount of its own; everything else lies elsewhere.
fn production_on(fs: &Loop) -> (World, tempfile::TempDir) {
    let rest = tempfile::tempdir().unwrap();
    let places = Places { production: fs.path().to_owned(), ..Places::below(rest.path()) };
    (World::at(env!("CARGO_BIN_EXE_cairn"), places), rest)
}

#[test]
fn a_reader_misses_nothing_in_1100_exchanges() {
    let Some(fs) = available(Loop::new(FsKind::Ext4, SIZE)) else { return };
    let (world, _rest) = production_on(&fs);
    under_readers(&world, "exchange", &world.production(PRODUCTION));
}

#[test]
fn a_reader_misses_nothing_in_1100_flips_of_a_link() {
    let Some(fs) = available(Loop::new(FsKind::Ext4, SIZE)) else { return };
    let (world, _rest) = production_on(&fs);
    world.configure("mounts.production", "swap = \"symlink\"");
    under_readers(&world, "symlink", &world.production(PRODUCTION));
}

#[test]
fn a_reader_misses_nothing_where_directories_cannot_be_exchanged() {
    let Some(fs) = available(Loop::new(FsKind::Bindfs, SIZE)) else { return };
    let (world, _rest) = production_on(&fs);
    // The reader is on the server's side: bindfs itself answers a reader who holds the old link
    // with ENOENT, because it goes by names (the kernel asks an NFS server again on ESTALE).
    let below = fs.path().with_file_name("below").join(PRODUCTION);
    under_readers(&world, "symlink", &below);
}

/// Swaps 100 times by the program and 1,000 times by the library, while a thread reads.
fn under_readers(world: &World, strategy: &str, read: &Path) {
    release(world);
    let live = world.production(PRODUCTION);
    let first = Generation::read("first", &real(&live), READ);
    update(world);
    let second = Generation::read("second", &real(&live), READ);

    let hammer = Hammer::start(read, vec![first, second]);
    for number in 0..100 {
        let report = world.json(["rollback", "production/9.7"]);
        let view = &report["views"][0];
        assert_eq!(view["strategy"], strategy, "{number}: {view}");
        assert_eq!((&view["swapped"], &view["source"]), (&true.into(), &"kept".into()), "{view}");
    }
    let config = Config::load(world.config()).unwrap();
    let (command, lock_wait) = (vec!["a test".to_owned()], Duration::from_secs(5));
    let session = Session { command, lock_wait, ..Session::default() };
    let site = Site::open(config, session).unwrap();
    let started = Instant::now();
    swap(&site, 1000);
    let took = started.elapsed();
    let seen = hammer.stop();
    seen.clean();
    assert!(seen.sessions > 200 && seen.generations.len() == 2, "{seen:?}");
    assert!(seen.generations.values().all(|sessions| *sessions > 20), "{seen:?}");
    assert!(took < PATIENCE, "1,000 swaps took {took:?}");
    assert_eq!(trees(world), 1 + usize::from(strategy == "symlink"), "the other tree is kept");
    world.cairn(["fsck", "--quick"]).ok();
}

/// Swaps the two trees of production so often, beside the log; the last one is the ref's.
fn swap(site: &Site, times: usize) {
    let (store, name) = (&site.store, RefName::new("production/9.7").unwrap());
    let view = site.view(&name).unwrap().unwrap();
    let rev = |text: &str| site.resolve(text).unwrap();
    let snapshots = [rev("production/9.7~1"), rev("production/9.7")];
    let draft = Draft::new(store);
    for snapshot in snapshots.into_iter().cycle().take(times) {
        let (root, time) = (store.snapshot(&snapshot).unwrap().root(), Timestamp::now());
        let goal = Goal { snapshot, root, time, intent: Intent::Back };
        let ready = store.prepare_view(&draft, &view, &goal, &|_| true, &Silent).unwrap();
        assert_eq!(ready.plan.source, Source::Kept);
        assert!(ready.swap(snapshot, time).unwrap());
    }
}

/// Returns how many trees lie in the pool's directory of the production view.
fn trees(world: &World) -> usize {
    let views = children(&world.production(".cairn/views"));
    assert_eq!(views.len(), 1, "{views:?}");
    children(&views[0]).iter().filter(|path| !path.is_symlink() && path.is_dir()).count()
}

/// Makes a compose like another, but for one file's content.
fn variant(of: &Written, name: &str) -> Written {
    let mut written = of.clone();
    written.dir = of.dir.with_file_name(name);
    Run::of(Command::new("cp").arg("-a").args([&of.dir, &written.dir])).ok();
    fs::write(written.dir.join("compose/BaseOS/x86_64/os/LICENSE"), name).unwrap();
    written
}

/// Takes a compose to production and returns where its tree came from.
fn promote(world: &World, written: &Written) -> serde_json::Value {
    world.cairn(["ingest", written.dir.to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    let report = world.json(["promote", "9", "--delete", "--allow-deletes", "100%"]);
    report["views"][0].clone()
}

#[test]
fn a_tree_that_was_live_stays_whole_as_long_as_the_mount_says() {
    for kind in [FsKind::Ext4, FsKind::Bindfs] {
        let Some(fs) = available(Loop::new(kind, SIZE)) else { continue };
        let (world, _rest) = production_on(&fs);
        world.configure("mounts.production", "keep_trees = \"1h\"");
        let first = release(&world);
        let live = world.production(PRODUCTION);
        // As the session of an rsync daemon does, that looks at the path once.
        let session = File::open(&live).unwrap();
        let before = contents(&live);
        let inside = || {
            let names = children(&PathBuf::from(format!("/proc/self/fd/{}", session.as_raw_fd())));
            assert!(!names.is_empty(), "{kind:?}: the session's tree is gone");
            contents(&PathBuf::from(format!("/proc/self/fd/{}", session.as_raw_fd())))
        };
        let second = update(&world);
        assert_same(&before, &inside());
        for written in [&first, &second, &first] {
            publish(&world, written);
            assert_same(&before, &inside());
        }
        // Another content needs a new tree, because nobody's time is over.
        let view = promote(&world, &variant(&second, "Rocky-9.7-20251120.0"));
        assert_eq!(view["source"], "new", "{kind:?}");
        assert_same(&before, &inside());
    }
}

#[test]
fn a_tree_whose_time_is_over_becomes_the_standby_and_only_two_remain() {
    for (kind, in_pool) in [(FsKind::Ext4, 1), (FsKind::Bindfs, 2)] {
        let Some(fs) = available(Loop::new(kind, SIZE)) else { continue };
        let (world, _rest) = production_on(&fs);
        world.configure("mounts.production", "keep_trees = \"0s\"");
        release(&world);
        let second = update(&world);
        assert_eq!(trees(&world), in_pool, "{kind:?}");
        // Contents that no tree has: every publication brings the other tree forward.
        for number in 0..4 {
            let view = promote(&world, &variant(&second, &format!("Rocky-9.7-2025112{number}.0")));
            assert_eq!(view["source"], "standby", "{kind:?} {number}: {view}");
            let work = (&view["work"]["files_added"], &view["work"]["files_changed"]);
            assert!(number < 1 || work == (&0.into(), &1.into()), "{kind:?} {number}: {view}");
            assert_eq!(trees(&world), in_pool, "{kind:?} {number}");
            let (staged, live) = (world.staging(STAGING), world.production(PRODUCTION));
            treecmp::assert_equal(&real(&staged), &real(&live));
        }
        world.cairn(["fsck", "--full"]).ok();
    }
}

/// NFS and FUSE keep the directory of a removed file that somebody has open.
#[test]
fn a_standby_that_somebody_still_reads_is_left_to_them() {
    let Some(fs) = available(Loop::new(FsKind::Bindfs, SIZE)) else { return };
    let (world, _rest) = production_on(&fs);
    world.configure("mounts.production", "keep_trees = \"0s\"");
    let first = world.first();
    let extra = "BaseOS/x86_64/os/EXTRA";
    fs::create_dir(first.dir.join("compose").join(extra)).unwrap();
    fs::write(first.dir.join("compose").join(extra).join("note"), "read for long").unwrap();
    world.cairn(["init"]).ok();
    publish(&world, &first);
    let mut reader = File::open(world.production(PRODUCTION).join(extra).join("note")).unwrap();
    let second = update(&world);

    let view = promote(&world, &variant(&second, "Rocky-9.7-20251120.0"));
    assert_eq!(view["source"], "new", "{view}");
    assert_eq!(trees(&world), 3, "what is read, what was live, and what is");
    treecmp::assert_equal(&real(&world.staging(STAGING)), &real(&world.production(PRODUCTION)));
    world.cairn(["fsck", "--quick"]).ok();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "read for long");

    drop(reader);
    promote(&world, &variant(&second, "Rocky-9.7-20251121.0"));
    assert_eq!(trees(&world), 2, "nobody reads it any more");
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn rolling_back_on_a_full_ext4_needs_no_inode() {
    on_a_full_disk(FsKind::Ext4);
}

#[test]
fn rolling_back_on_a_full_xfs_needs_no_inode() {
    on_a_full_disk(FsKind::Xfs);
}

#[test]
fn rolling_back_on_a_full_btrfs_needs_no_block() {
    on_a_full_disk(FsKind::Btrfs);
}

fn on_a_full_disk(kind: FsKind) {
    for swap in ["exchange", "symlink"] {
        let Some(fs) = available(Loop::new(kind, SIZE)) else { return };
        let (world, _rest) = production_on(&fs);
        world.configure("mounts.production", &format!("swap = \"{swap}\""));
        release(&world);
        let live = world.production(PRODUCTION);
        let first = contents(&live);
        update(&world);
        let second = contents(&live);

        let filler = fill(fs.path());
        let full = used_inodes(fs.path());
        let mut now = &second;
        for (number, wanted) in [&first, &second, &first, &second].into_iter().enumerate() {
            let label = format!("{kind:?} {swap} {number}");
            let started = Instant::now();
            let run = world.cairn(["--json", "rollback", "production/9.7"]);
            // XFS wants free blocks to make a link, needed or not. The link for the first way
            // back is always ready; one for the next may be refused, and then nothing happened.
            if (kind, swap) == (FsKind::Xfs, "symlink") && number > 0 && run.code() == Some(1) {
                assert!(run.err().to_lowercase().contains("no space"), "{}", run.report());
                assert_same(now, &contents(&live));
                break;
            }
            let run = run.ok();
            now = wanted;
            let view = &run.json()["views"][0];
            assert_eq!(view["swapped"], true, "{label}: {}", run.report());
            // Lists that have no room are said, with the reason, and the old ones stay.
            for note in run.json()["notes"].as_array().unwrap() {
                let note = note.as_str().unwrap().to_lowercase();
                let is_plain = !note.contains("not written") || note.contains("no space left");
                assert!(is_plain, "{label}: {note}");
            }
            assert_eq!(view["source"], "kept", "{label}: {view}");
            assert_eq!(view["work"]["files_added"], 0, "{label}: {view}");
            assert!(started.elapsed() < Duration::from_secs(10), "{label}");
            assert_same(wanted, &contents(&live));
            assert!(used_inodes(fs.path()) <= full, "{label}: a new inode");
        }
        let status = world.json(["status"]);
        let refs = status["refs"].as_array().unwrap();
        let row = refs.iter().find(|row| row["name"] == "production/9.7").unwrap();
        assert_eq!(row["view"]["state"], "live", "{row}");

        // With room again, the next command makes good what had no room.
        fs::remove_dir_all(filler).unwrap();
        world.cairn(["rollback", "production/9.7"]).ok();
        assert_same(if *now == first { &second } else { &first }, &contents(&live));
        let list = || fs::read(world.production("fullfiletimelist-rocky")).unwrap();
        let before = list();
        fs::remove_dir_all(world.production(".cairn/lists")).unwrap();
        world.cairn(["lists"]).ok();
        assert!(before == list(), "{kind:?} {swap}: the list was not up to date");
        world.cairn(["fsck", "--full"]).ok();
    }
}

#[test]
fn a_full_disk_refuses_a_promotion_and_leaves_everything_as_it_was() {
    let Some(fs) = available(Loop::new(FsKind::Ext4, SIZE)) else { return };
    let (world, _rest) = production_on(&fs);
    release(&world);
    let live = world.production(PRODUCTION);
    let before = contents(&live);
    let second = world.second();
    world.cairn(["ingest", second.dir.to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    let log = world.json(["log"]);
    let filler = fill(fs.path());
    let run = world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%"]).exits(1);
    assert!(run.err().to_lowercase().contains("no space left"), "{}", run.report());
    assert_same(&before, &contents(&live));
    assert_eq!(world.json(["log"])["operations"], log["operations"]);
    fs::remove_dir_all(filler).unwrap();
    world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%"]).ok();
    treecmp::assert_equal(&world.staging(STAGING), &live);
    world.cairn(["fsck", "--full"]).ok();
}

/// Takes the last block of a filesystem; what it wrote can be removed in one go.
fn fill(mount: &Path) -> PathBuf {
    let dir = mount.join("filler");
    fs::create_dir(&dir).unwrap();
    for (number, size) in [1 << 20, 64 << 10, 4 << 10, 512, 1].into_iter().enumerate() {
        let block = vec![7; size];
        let mut file = File::create(dir.join(number.to_string())).ok();
        while file.as_mut().is_some_and(|file| file.write_all(&block).is_ok()) {}
        // What is only in memory may not have a place yet.
        let _ = file.map(|file| file.sync_all());
    }
    // Files that hold nothing take what is left for directories and inodes.
    let mut made = 0;
    while made < 2000 && File::create(dir.join(format!("{made:0200}"))).is_ok() {
        made += 1;
    }
    dir
}

fn used_inodes(mount: &Path) -> u64 {
    let run = Run::of(Command::new("stat").args(["-f", "-c", "%c %d"]).arg(mount)).ok();
    let text = run.out();
    let mut numbers = text.split_whitespace().map(|word| word.parse::<u64>().unwrap());
    numbers.next().unwrap() - numbers.next().unwrap()
}

#[test]
fn what_somebody_else_put_at_the_path_is_refused_and_untouched() {
    type Put = fn(&Path);
    let cases: [(&str, Put); 5] = [
        ("a directory with a file", |path| {
            fs::create_dir(path).unwrap();
            fs::write(path.join("precious"), "mine").unwrap();
        }),
        ("a directory with a directory", |path| fs::create_dir_all(path.join("below")).unwrap()),
        ("a file", |path| fs::write(path, "mine").unwrap()),
        ("a link", |path| symlink("elsewhere", path).unwrap()),
        ("a link to a directory", |path| {
            fs::create_dir(path.with_file_name("9.6")).unwrap();
            symlink("9.6", path).unwrap();
        }),
    ];
    for swap in ["exchange", "symlink"] {
        let world = world();
        world.configure("mounts.production", &format!("swap = \"{swap}\""));
        let first = world.first();
        world.cairn(["init"]).ok();
        world.cairn(["ingest", first.dir.to_str().unwrap()]).ok();
        world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
        let live = world.production(PRODUCTION);
        let parent = live.parent().unwrap();
        fs::create_dir_all(parent).unwrap();
        for (label, put) in cases {
            put(&live);
            let (before, inode) = (contents(parent), fs::symlink_metadata(&live).unwrap().ino());
            let run = world.cairn(["--json", "promote", "9"]).exits(4);
            let said = run.error_json();
            let message = said["message"].as_str().unwrap();
            assert!(message.contains(PRODUCTION), "{swap}, {label}: {message}");
            world.cairn(["promote", "9", "-n"]).exits(4);
            assert_same(&before, &contents(parent));
            assert_eq!(fs::symlink_metadata(&live).unwrap().ino(), inode, "{swap}, {label}");
            let refs = world.json(["status"])["refs"].to_string();
            assert!(!refs.contains("production/9.7"), "{swap}, {label}: {refs}");
            // What is in the way is removed by hand.
            match live.is_symlink() || live.is_file() {
                true => fs::remove_file(&live).unwrap(),
                false => fs::remove_dir_all(&live).unwrap(),
            }
        }
        world.cairn(["promote", "9"]).ok();
        treecmp::assert_equal(&first.dir.join("compose"), &real(&live));
    }
}

#[test]
fn an_empty_directory_at_the_path_is_no_obstacle_to_an_exchange() {
    let world = world();
    let live = world.production(PRODUCTION);
    fs::create_dir_all(&live).unwrap();
    let first = release(&world);
    treecmp::assert_equal(&first.dir.join("compose"), &live);
    update(&world);
    treecmp::assert_equal(&world.staging(STAGING), &live);
    world.cairn(["rollback", "production/9.7"]).ok();
    treecmp::assert_equal(&first.dir.join("compose"), &live);
    world.cairn(["fsck", "--full"]).ok();
}
