//! Taking over what is live: in place, without a gap, on every kind of filesystem.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cairn_testkit::filesystem::{FsKind, Loop};
use cairn_testkit::sample::Places;
use cairn_testkit::{
    CrashPoint, Running, Signal, World, available, exchanges, not_on, settle, swaps, treecmp,
};
use serde_json::Value;

use crate::crashes::{no_leftovers, small, small_update};
use crate::locks::{is_stopped, stopped_at};
use crate::world;

const LIVE: &str = "mirror/pub/rocky/9.7";
const BASH: &str = "BaseOS/x86_64/os/Packages/b/bash-5.1.8-9.el9.x86_64.rpm";
const SIZE: u64 = 320 << 20;

/// The points that only an adoption comes to.
pub(crate) const POINTS: [CrashPoint; 4] = [
    CrashPoint::PortionAdopted,
    CrashPoint::TakeoverRecorded,
    CrashPoint::TakeoverMoved,
    CrashPoint::TakeoverSwapped,
];

/// Puts a release where production is, as it was before there was a cairn.
fn live_before(world: &World) {
    let written = small().write(&world.places().compose).unwrap();
    let live = world.production(LIVE);
    fs::create_dir_all(live.parent().unwrap()).unwrap();
    let from = written.dir.join("compose");
    let copied = Command::new("cp").arg("-a").arg(&from).arg(&live).status().unwrap();
    assert!(copied.success());
    // What people leave behind in years.
    fs::write(live.join("BaseOS/empty"), "").unwrap();
    fs::write(live.join("BaseOS/twin"), "the same bytes").unwrap();
    fs::hard_link(live.join("BaseOS/twin"), live.join("twin")).unwrap();
    std::os::unix::fs::symlink("BaseOS", live.join("os")).unwrap();
    fs::set_permissions(live.join(BASH), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(live.join("BaseOS"), fs::Permissions::from_mode(0o2775)).unwrap();
}

/// How a takeover is asked for where worlds stand. What is refused without `--allow-gap` where a
/// directory and a link cannot be exchanged has a test of its own.
pub(crate) fn adopt() -> &'static [&'static str] {
    match exchanges() {
        Ok(()) => &["adopt", "production/9.7"],
        Err(_) => &["adopt", "production/9.7", "--allow-gap"],
    }
}

fn digest(world: &World) -> String {
    treecmp::digest(&world.production(LIVE).canonicalize().unwrap())
}

/// The inode of every file below a directory.
fn inodes(dir: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    let mut stack = vec![dir.to_owned()];
    while let Some(here) = stack.pop() {
        for entry in fs::read_dir(&here).unwrap() {
            let path = entry.unwrap().path();
            let stat = path.symlink_metadata().unwrap();
            if stat.is_dir() {
                stack.push(path.clone());
            }
            found.insert(path.strip_prefix(dir).unwrap().to_owned(), stat.ino());
        }
    }
    found
}

fn clean(world: &World) {
    let fsck = world.cairn(["fsck", "--full"]).ok();
    assert!(fsck.out().contains("nothing is wrong"), "{}", fsck.report());
}

/// Adopts, promotes something else, and goes back.
fn adopt_and_go_on(world: &World, flags: &[&str], gapless: bool) {
    live_before(world);
    world.cairn(["init"]).ok();
    let live = world.production(LIVE);
    let (before, files) = (digest(world), inodes(&live));
    let objects = world.production(".cairn/objects");
    let plan = world.json([&["adopt", "production/9.7", "-n"], flags].concat());
    assert_eq!(plan["dry_run"], true);
    let stored = inodes(&objects);
    assert!(stored.keys().all(|path| path.components().count() == 1), "a plan stores nothing");

    let stop = AtomicBool::new(false);
    let report = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut reads, mut gaps) = (0, 0);
            while !stop.load(Ordering::Relaxed) || reads < 100 {
                reads += 1;
                gaps += u32::from(fs::metadata(live.join(BASH)).is_err());
            }
            gaps
        });
        let report = world.json([&["adopt", "production/9.7"], flags].concat());
        stop.store(true, Ordering::Relaxed);
        let gaps = reader.join().unwrap();
        assert!(gaps == 0 || !gapless, "{gaps} gaps");
        report
    });
    assert_eq!(report["number"], 1, "{report}");
    assert!(report["ingested"]["files_read"].as_u64().unwrap() > 5, "{report}");
    assert!(report["lists"].as_array().unwrap().iter().all(|list| list["changed"] == true));

    // The same bytes in the same inodes, and the pool shares them or their blocks.
    let real = live.canonicalize().unwrap();
    assert_eq!((digest(world), inodes(&real)), (before.clone(), files));
    let links = !world.json(["init"])["mounts"][0]["link"].as_str().unwrap().eq("reflink");
    let shared = fs::metadata(live.join(BASH)).unwrap().nlink() > 1;
    assert_eq!(shared, links, "{report}");
    let repodata = fs::metadata(live.join("BaseOS/x86_64/os/repodata/repomd.xml")).unwrap();
    assert_eq!(repodata.nlink(), 1, "people edit metadata in place");

    // Twice is nothing, and nothing is wrong.
    let again = world.json(["adopt", "production/9.7"]);
    assert_eq!(
        (&again["operation"], &again["refs"][0]["old"]),
        (&Value::Null, &again["refs"][0]["new"])
    );
    clean(world);
    assert_eq!(world.json(["fsck"])["bytes_hashed"], 0);
    no_leftovers(world, "adopted");
    // What was there has its own times in the lists: for mirrors nothing has changed.
    let list =
        fs::read_to_string(world.production("mirror/pub/rocky/fullfiletimelist-rocky")).unwrap();
    let row = list.lines().find(|line| line.ends_with("bash-5.1.8-9.el9.x86_64.rpm"));
    let mtime = fs::metadata(live.join(BASH)).unwrap().mtime().to_string();
    assert!(row.is_some_and(|row| row.contains(&mtime)), "{row:?} {mtime}");

    // The ordinary procedure goes on from there, and back.
    small_update().write(&world.places().compose).unwrap();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%"]).ok();
    assert!(!live.join("twin").exists() && live.join("BaseOS").is_dir());
    clean(world);
    let back = world.json(["rollback", "production/9.7"]);
    assert_eq!(back["views"][0]["source"], "kept", "{back}");
    assert_eq!(digest(world), before);
    clean(world);
    // When its tree is gone it is made again from the pool, the same.
    world.cairn(["rollback", "production/9.7"]).ok();
    for tree in fs::read_dir(world.production(".cairn/views/production+9.7")).unwrap() {
        let tree = tree.unwrap().path();
        if tree.join("twin").exists() && !tree.is_symlink() && tree != live.canonicalize().unwrap()
        {
            fs::remove_dir_all(&tree).unwrap();
        }
    }
    let records = world.production(".cairn/views/production+9.7/trees.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&records).unwrap()).unwrap();
    let now = fs::metadata(live.canonicalize().unwrap()).unwrap().ino();
    json["trees"].as_array_mut().unwrap().retain(|tree| tree["ino"] == now);
    fs::write(&records, serde_json::to_vec(&json).unwrap()).unwrap();
    let back = world.json(["rollback", "production/9.7"]);
    assert_eq!(back["views"][0]["source"], "new", "{back}");
    assert_eq!(digest(world), before);
    clean(world);
}

fn on(kind: FsKind, swap: Option<&str>, flags: &[&str], gapless: bool) {
    let Some(fs) = available(Loop::new(kind, SIZE)) else { return };
    let world = World::at(env!("CARGO_BIN_EXE_cairn"), Places::below(fs.path()));
    if let Some(swap) = swap {
        world.configure("mounts.production", &format!("swap = \"{swap}\""));
    }
    adopt_and_go_on(&world, flags, gapless);
}

#[test]
fn a_live_tree_is_taken_over_in_place_on_ext4() {
    on(FsKind::Ext4, None, &[], true);
}

#[test]
fn a_live_tree_is_taken_over_in_place_on_xfs() {
    on(FsKind::Xfs, None, &[], true);
}

#[test]
fn a_live_tree_is_taken_over_in_place_on_btrfs() {
    on(FsKind::Btrfs, None, &[], true);
}

#[test]
fn a_live_tree_changes_places_with_a_link_where_links_are_swapped() {
    on(FsKind::Ext4, Some("symlink"), &[], true);
}

#[test]
fn a_live_tree_is_renamed_where_nothing_can_be_exchanged_and_the_operator_allows_it() {
    on(FsKind::Bindfs, None, &["--allow-gap"], false);
    let Some(fs) = available(Loop::new(FsKind::Bindfs, SIZE)) else { return };
    let world = World::at(env!("CARGO_BIN_EXE_cairn"), Places::below(fs.path()));
    live_before(&world);
    world.cairn(["init"]).ok();
    let before = digest(&world);
    let refused = world.cairn(["adopt", "production/9.7"]).exits(4);
    assert!(refused.err().contains("--allow-gap"), "{}", refused.report());
    let plan = world.cairn(["adopt", "production/9.7", "-n"]).exits(4);
    assert!(plan.out().contains("--allow-gap"), "{}", plan.report());
    assert_eq!(digest(&world), before);
    assert!(world.production(LIVE).symlink_metadata().unwrap().is_dir());
}

#[test]
fn an_adoption_that_is_killed_anywhere_is_gone_on_with() {
    let mut hit = BTreeSet::new();
    let here = swaps().iter().map(|swap| (*swap, None));
    for (swap, fs) in here.chain([("symlink", Some(FsKind::Bindfs))]) {
        // Every point once; where links are swapped those that that adds.
        let points = if swap == "exchange" { CrashPoint::ALL } else { &POINTS };
        for point in points.iter().copied() {
            let fs = match fs.map(|kind| available(Loop::new(kind, SIZE))) {
                Some(None) => continue,
                Some(Some(fs)) => Some(fs),
                None => None,
            };
            let world = match &fs {
                Some(fs) => World::at(env!("CARGO_BIN_EXE_cairn"), Places::below(fs.path())),
                None => world(),
            };
            let label = format!("{swap} at {}", point.name());
            world.configure("mounts.production", &format!("swap = \"{swap}\""));
            live_before(&world);
            world.cairn(["init"]).ok();
            let before = digest(&world);
            let adopt = ["adopt", "production/9.7", "--allow-gap"];
            let run = world.crash_at(point, 1, adopt);
            if run.signal() != Some(9) {
                assert_eq!(run.code(), Some(0), "{label}\n{}", run.report());
                continue;
            }
            hit.insert(point.name());
            if point == CrashPoint::TakeoverMoved {
                assert!(!world.production(LIVE).exists(), "{label}");
            }
            if [CrashPoint::TakeoverMoved, CrashPoint::ViewBegun].contains(&point) {
                // Any command that writes closes the gap, and none minds what nobody took over.
                world.cairn(["publish"]).ok();
                clean(&world);
            }
            assert_eq!(digest(&world), before, "{label}");
            let done = world.json(adopt);
            assert_eq!(digest(&world), before, "{label}");
            if point == CrashPoint::PortionAdopted {
                assert_eq!(done["ingested"]["files_read"], 0, "{label}: {done}");
            }
            world.cairn(["lists"]).ok();
            clean(&world);
            no_leftovers(&world, &label);
            assert_eq!(world.json(["log"])["operations"].as_array().unwrap().len(), 1, "{label}");
        }
    }
    for point in POINTS {
        assert!(hit.contains(point.name()), "not reached: {point:?}");
    }
}

#[test]
fn a_tree_that_is_changed_meanwhile_is_refused_and_adopted_when_it_is_quiet() {
    // From the start a walk over both names of one file may see it change already, and then nothing
    // is brought in; from the points on, everything was read.
    for from in [None, Some(CrashPoint::BatchSynced), Some(CrashPoint::PortionAdopted)] {
        changed_meanwhile(from);
    }
}

/// Changes a file again and again while its tree is adopted, from a point on or from the start.
fn changed_meanwhile(from: Option<CrashPoint>) {
    const MANY: u64 = 300;
    let label = from.map_or("the start", |point| point.name());
    let world = world();
    live_before(&world);
    let live = world.production(LIVE);
    fs::create_dir(live.join("many")).unwrap();
    for number in 0..MANY {
        fs::write(live.join(format!("many/{number}")), format!("content {number}")).unwrap();
    }
    world.cairn(["init"]).ok();
    let mut running = match from {
        Some(point) => stopped_at(&world, point, adopt()),
        None => {
            let point = CrashPoint::PortionAdopted.name();
            Running::start(world.command().env("CAIRN_STOP_AT", point).args(adopt()))
        }
    };
    let mut file = fs::File::options().append(true).open(live.join("BaseOS/twin")).unwrap();
    while running.is_running() {
        // Wherever it stops it goes on only after one more change, however busy the machine is.
        let stopped = is_stopped(running.id());
        file.write_all(b"x").unwrap();
        if stopped {
            running.signal(Signal::CONT);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(file);
    let run = running.wait().exits(1);
    assert!(run.err().contains("twin") && run.err().contains("changed"), "{}", run.report());
    assert_eq!(world.json(["status"])["refs"], Value::Array(vec![]), "{label}");
    // No object is left whose content was changed through its link.
    settle();
    let done = world.json(adopt());
    // FUSE gives an inode another number when it is asked for it anew.
    let known = "no file is known again by its inode";
    if from.is_some() && available(not_on(&[FsKind::Bindfs], known)).is_some() {
        let read = &done["ingested"]["files_read"];
        assert!(read.as_u64().unwrap() < MANY, "{label}: {read}\n{}", run.report());
    }
    clean(&world);
    let before = digest(&world);
    let twin = fs::read(live.join("twin")).unwrap();
    let cat = world.cairn(["cat", "production/9.7:twin"]).ok();
    assert!(cat.stdout == twin && twin.len() > 14, "{label}: {}", twin.len());
    assert_eq!(digest(&world), before, "{label}");
}

#[test]
fn a_removed_file_that_somebody_has_open_is_passed_over_and_may_go_meanwhile() {
    // NFS and FUSE give it such a name; by hand it is the same everywhere. One is not even what a
    // release may contain.
    const OPEN: &str = "BaseOS/.nfs00000000000a1b2c00000d3f";
    const OTHER: &str = ".fuse_hidden0000001c00000004";
    let world = world();
    live_before(&world);
    let live = world.production(LIVE);
    fs::write(live.join(OPEN), "what somebody still reads").unwrap();
    fs::write(live.join(OTHER), "another").unwrap();
    fs::set_permissions(live.join(OTHER), fs::Permissions::from_mode(0o4755)).unwrap();
    // What only looks like one is content, and so is a directory: no system gives it that name.
    fs::write(live.join("BaseOS/.nfsroot"), "content").unwrap();
    fs::create_dir(live.join(".nfs0000000000000000000000ff")).unwrap();
    world.cairn(["init"]).ok();
    let told = |report: &Value| {
        let notes = report["notes"].as_array().unwrap();
        let all: Vec<_> = notes.iter().filter_map(|note| note.as_str()).collect();
        assert!(
            all.iter().any(|note| note.contains(".fuse_hidden0") && note.contains("and 1 more")),
            "{all:?}"
        );
    };
    told(&world.json([adopt(), &["-n"]].concat()));

    let mut running =
        stopped_at(&world, CrashPoint::PortionAdopted, &[adopt(), &["--json"]].concat());
    // Whoever had it open has closed it, which moves the directory's time.
    fs::remove_file(live.join(OPEN)).unwrap();
    running.signal(Signal::CONT);
    told(&running.wait().ok().json());
    let list = world.cairn(["ls", "-R", "production/9.7"]).ok();
    assert!(list.out().contains(".nfsroot"), "{}", list.report());
    assert!(list.out().contains(".nfs0000000000000000000000ff"), "{}", list.report());
    for name in [OPEN, OTHER] {
        let name = name.rsplit('/').next().unwrap();
        assert!(!list.out().contains(name), "{}", list.report());
    }
    assert!(live.join(OTHER).exists(), "it is somebody's");
    clean(&world);

    // A compose that stands there has the same.
    let again = small_update().write(&world.places().compose).unwrap().dir;
    fs::write(again.join("compose/.nfs00000000000a1b2c00000d40"), "open").unwrap();
    let taken = world.json(["ingest".as_ref(), again.as_os_str()]);
    assert!(taken["notes"].to_string().contains("Left out: 1 removed file that"), "{taken}");
    let list = world.cairn(["ls", "-R", taken["refs"][0]["name"].as_str().unwrap()]).ok();
    assert!(!list.out().contains(".nfs"), "{}", list.report());
}

#[test]
fn what_cannot_be_adopted_is_refused_with_every_reason() {
    let world = world();
    world.cairn(["init"]).ok();
    let nothing = world.cairn(["adopt", "production/9.7"]);
    assert_ne!(nothing.code(), Some(0), "{}", nothing.report());
    live_before(&world);
    let live = world.production(LIVE);

    for (args, said) in [
        (vec!["adopt", "compose/9/Rocky"], "published nowhere"),
        (vec!["adopt", "production/9.7", "/"], "is somewhere else"),
    ] {
        let run = world.cairn(args).exits(4);
        assert!(run.err().contains(said), "{}", run.report());
    }

    // All offenders are named, by the plan and by the refusal.
    let mkfifo = Command::new("mkfifo").arg(live.join("BaseOS/pipe")).status().unwrap();
    assert!(mkfifo.success());
    fs::write(live.join("setuid"), "#!").unwrap();
    fs::set_permissions(live.join("setuid"), fs::Permissions::from_mode(0o4755)).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(live.join("socket")).unwrap();
    for (args, out) in
        [(vec!["adopt", "production/9.7", "-n"], true), (vec!["adopt", "production/9.7"], false)]
    {
        let run = world.cairn(args).exits(4);
        let text = if out { run.out() } else { run.err() };
        for offender in ["BaseOS/pipe", "setuid", "socket"] {
            assert!(text.contains(offender), "{offender}\n{}", run.report());
        }
    }
    // NFS keeps what is open, under another name.
    drop(socket);
    for offender in ["BaseOS/pipe", "setuid", "socket"] {
        fs::remove_file(live.join(offender)).unwrap();
    }

    // A ref that exists and is shown elsewhere is not taken over by what stands in its place.
    world.cairn(adopt().iter().chain(&[live.to_str().unwrap()])).ok();
    fs::rename(&live, world.production("elsewhere")).unwrap();
    fs::create_dir(&live).unwrap();
    fs::write(live.join("other"), "other").unwrap();
    let run = world.cairn(["adopt", "production/9.7"]).exits(4);
    assert!(run.err().contains("exists already"), "{}", run.report());
}

#[test]
fn different_owners_are_said_and_kept() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("giving files away needs root");
        return;
    }
    let world = world();
    live_before(&world);
    let live = world.production(LIVE);
    std::os::unix::fs::chown(live.join(BASH), Some(10004), Some(10005)).unwrap();
    world.cairn(["init"]).ok();
    let before = digest(&world);
    let run = world.cairn(adopt().iter().chain(&["-n"])).ok();
    assert!(run.err().contains("10004:10005 (1)"), "{}", run.report());
    world.cairn(adopt()).ok();
    let stat = fs::metadata(live.join(BASH)).unwrap();
    assert_eq!((stat.uid(), stat.gid(), digest(&world)), (10004, 10005, before));
    clean(&world);
}

#[test]
fn where_the_mount_has_an_owner_files_of_others_are_copied_and_stay_theirs() {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("giving files away needs root");
        return;
    }
    // The owner of what is published, and one who has put files there by hand.
    const OWNER: (u32, u32) = (10004, 10005);
    const OTHER: (u32, u32) = (10007, 10007);
    let world = world();
    world.configure("mounts.production", "owner = \"10004:10005\"\nlink = \"hardlink\"");
    live_before(&world);
    let live = world.production(LIVE);
    let zlib = "BaseOS/x86_64/os/Packages/z/zlib-1.2.11-40.el9.x86_64.rpm";
    let glibc = "BaseOS/x86_64/os/Packages/g/glibc-2.34-231.el9.x86_64.rpm";
    let give = |path: &str, (uid, gid): (u32, u32)| {
        std::os::unix::fs::chown(live.join(path), Some(uid), Some(gid)).unwrap();
    };
    for (path, owner) in [(BASH, OWNER), (zlib, OTHER), (glibc, OTHER)] {
        give(path, owner);
    }
    let stat = |path: &str| fs::metadata(live.join(path)).unwrap();
    let owner = |path: &str| (stat(path).uid(), stat(path).gid());
    world.cairn(["init"]).ok();
    let (before, files) = (digest(&world), inodes(&live));
    let plan = world.cairn(adopt().iter().chain(&["-n"])).ok();
    assert!(plan.err().contains("10007:10007 (2)"), "{}", plan.report());
    world.cairn(adopt()).ok();
    // In place all the same: no file was moved, given away or written to.
    assert_eq!((digest(&world), inodes(&live)), (before.clone(), files));
    assert_eq!((owner(BASH), owner(zlib), owner(glibc)), (OWNER, OTHER, OTHER));
    assert!(stat(BASH).nlink() > 1, "a file of the mount's owner is linked");
    assert_eq!(stat(zlib).nlink(), 1, "a file of another is copied");
    clean(&world);
    no_leftovers(&world, "adopted with an owner");

    // What is published after it is the owner's, each file of it, and can be gone back from.
    small_update().write(&world.places().compose).unwrap();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%"]).ok();
    let mut published = Command::new("find");
    published.arg("-H").arg(&live).args(["-type", "f", "-printf", "%U:%G\\n"]);
    let owners = String::from_utf8(published.output().unwrap().stdout).unwrap();
    let owners: BTreeSet<&str> = owners.lines().collect();
    assert_eq!(owners, BTreeSet::from(["10004:10005"]));
    clean(&world);
    world.cairn(["rollback", "production/9.7"]).ok();
    assert_eq!(digest(&world), before);
    assert_eq!((owner(BASH), owner(zlib)), (OWNER, OTHER));
    clean(&world);
}
