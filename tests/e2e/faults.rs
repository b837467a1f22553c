//! What operators, limits and neighbours do to a store: clocks, umasks, limits, lost directories.
//!
//! docs/reliability.md has the list of faults and names the test of each.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_testkit::filesystem::{FsKind, Loop};
use cairn_testkit::sample::Places;
use cairn_testkit::{Run, Running, Signal, Unavailable, World, available, hostile, treecmp};
use serde_json::Value;

use crate::crashes::{no_leftovers, publish, published, small, small_update};
use crate::world;

const LIVE: &str = "mirror/pub/rocky/9.7";
const PROMOTE: [&str; 5] = ["promote", "9", "--delete", "--allow-deletes", "100%"];

/// A world with something published, and an update staged that is not promoted yet.
fn staged(world: &World) {
    published(world);
    small_update().write(&world.places().compose).unwrap();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
}

/// Whether a program is there; it is asked for its version.
fn tool(name: &str) -> Result<(), Unavailable> {
    match Command::new(name).arg("--version").output() {
        Ok(_) => Ok(()),
        Err(_) => Err(Unavailable::NoTool { tool: name.to_owned() }),
    }
}

/// Runs cairn from a shell that has done something first: `exec` ends the line.
fn after(world: &World, first: &str, args: &[&str]) -> Run {
    let cairn = world.command();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("{first} && exec \"$0\" \"$@\"")]).arg(cairn.get_program());
    shell.args(cairn.get_args()).args(args);
    for (name, value) in cairn.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    Run::of(&mut shell)
}

#[test]
fn few_descriptors_are_enough_or_said() {
    let world = world();
    staged(&world);
    let deep = world.places().compose.join("deep");
    fs::create_dir(&deep).unwrap();
    let _kept = hostile::DeepPath::new(&deep, 200, 1);
    for args in [
        &PROMOTE[..],
        &["rollback", "production/9.7"],
        &["ingest", "--as", "compose/9/Deep", deep.to_str().unwrap()],
        &["fsck", "--full"],
        &["gc"],
        &["status"],
    ] {
        let run = after(&world, "ulimit -Sn 64; ulimit -Hn 64", args);
        if run.code() != Some(0) {
            let run = run.exits(1);
            assert!(run.err().contains("Too many open files"), "{}", run.report());
        }
        no_leftovers(&world, &format!("{args:?} with 64 descriptors"));
    }
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn a_limit_of_file_sizes_is_an_error_with_a_path_and_no_death() {
    let world = world();
    staged(&world);
    let dir = world.places().compose.join("large");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("large"), vec![1; 3 << 20]).unwrap();
    let before = world.json(["log"]);
    let path = dir.to_str().unwrap();
    // In blocks of 512 bytes: the index is larger than this limit already, and may not grow.
    let run = after(&world, "ulimit -f 2048", &["ingest", "--as", "compose/9/Large", path]);
    let run = run.exits(1);
    assert!(run.err().contains("File too large"), "{}", run.report());
    assert_eq!(world.json(["log"]), before);
    no_leftovers(&world, "after a limit of file sizes");
    world.cairn(["ingest", "--as", "compose/9/Large", path]).ok();
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn nothing_depends_on_environment_umask_or_working_directory() {
    let world = world();
    small().write(&world.places().compose).unwrap();
    let binary = world.command().get_program().to_owned();
    let empty = |umask: &str, args: &[&str]| {
        let gone = tempfile::tempdir().unwrap();
        // The shell is in a directory that is gone, and hands on no variable at all.
        let script = format!("umask {umask}; rmdir \"$PWD\"; exec env -i \"$0\" \"$@\"");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &script]).arg(&binary).arg("--config").arg(world.config());
        Run::of(shell.args(args).current_dir(gone.path()))
    };
    let latest = world.latest();
    for (umask, args) in [
        ("000", &["init"][..]),
        ("077", &["ingest", latest.to_str().unwrap()]),
        ("077", &["stage", "9", "Rocky", "--delete"]),
        ("077", &["promote", "9"]),
        ("000", &["status"]),
        ("777", &["fsck", "--full"]),
    ] {
        empty(umask, args).ok();
    }
    treecmp::assert_equal(&world.staging("mirror/pub/rocky/9.7-RC2"), &world.production(LIVE));
    let mode = |path: PathBuf| fs::symlink_metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(world.production(LIVE).join("BaseOS/x86_64/os/.discinfo")), 0o644);
    assert_eq!(mode(world.production("mirror/pub")), 0o755);
    assert_eq!(mode(world.places().store.clone()) & 0o007, 0, "the store is not for everybody");

    // Programs of these names must not be run, whatever PATH says.
    let trap = tempfile::tempdir().unwrap();
    let sprung = trap.path().join("sprung");
    for name in ["sh", "bash", "find", "rsync", "cp", "mv", "rm", "ln", "gpg", "gpgv", "id"] {
        let path = trap.path().join(name);
        fs::write(&path, format!("#!/bin/sh\ntouch {}\n", sprung.display())).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }
    small_update().write(&world.places().compose).unwrap();
    for args in [
        &["ingest", latest.to_str().unwrap()][..],
        &["stage", "9", "Rocky", "--delete"],
        &PROMOTE,
        &["rollback", "production/9.7"],
        &["fsck", "--full"],
        &["gc"],
    ] {
        Run::of(world.command().env("PATH", trap.path()).env("TMPDIR", "/nowhere").args(args)).ok();
    }
    assert!(!sprung.exists(), "a program of PATH was run");
}

#[test]
fn what_everybody_may_write_above_a_store_or_mount_is_refused_by_name() {
    let world = world();
    staged(&world);
    let live = treecmp::digest(&world.production(LIVE));
    let chmod = |path: &Path, mode| {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    let store = world.places().store.parent().unwrap().to_owned();
    for (dir, args) in [
        (world.production(""), &PROMOTE[..]),
        (world.production(".cairn"), &PROMOTE),
        (world.places().store.clone(), &PROMOTE),
        (store, &PROMOTE),
    ] {
        let before = fs::metadata(&dir).unwrap().mode() & 0o7777;
        chmod(&dir, 0o777);
        let run = world.cairn(args).exits(1);
        let path = dir.to_str().unwrap().trim_end_matches('/');
        for part in [path, "everybody may write there", "chmod o-w"] {
            assert!(run.err().contains(part), "{part}\n{}", run.report());
        }
        // Sticky directories let nobody rename what is another's.
        chmod(&dir, 0o1777);
        world.cairn(args.iter().chain(&["-n"])).ok();
        chmod(&dir, before);
    }
    assert_eq!(treecmp::digest(&world.production(LIVE)), live);
    world.cairn(PROMOTE).ok();

    // A store that is still to be made: nothing is made below such a directory.
    let other = crate::world();
    let above = other.places().store.parent().unwrap().to_owned();
    chmod(&above, 0o777);
    let run = other.cairn(["init"]).exits(1);
    assert!(run.err().contains("everybody may write there"), "{}", run.report());
    assert!(!other.places().store.exists());
}

#[test]
fn nobody_else_can_look_into_store_and_pools() {
    let world = world();
    published(&world);
    let Some(()) = available(tool("setpriv")) else { return };
    if !is_root() {
        return;
    }
    // The world's own directory is private; what is asked is whether cairn's are.
    for path in [world.staging(""), world.production("")] {
        for dir in path.ancestors().filter(|dir| dir.starts_with(std::env::temp_dir())) {
            let mode = fs::metadata(dir).unwrap().mode();
            fs::set_permissions(dir, Permissions::from_mode(mode | 0o055)).unwrap();
        }
    }
    let nobody = |program: &str, path: &Path| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", program]);
        Run::of(command.arg(path)).code()
    };
    assert_eq!(nobody("ls", &world.production(LIVE)), Some(0), "what is published is for all");
    assert_ne!(nobody("ls", &world.places().store), Some(0));
    for mount in [world.staging(".cairn"), world.production(".cairn")] {
        for name in ["", "objects", "tmp"] {
            assert_ne!(nobody("ls", &mount.join(name)), Some(0), "{}/{name}", mount.display());
        }
    }
    let objects = world.staging(".cairn/objects");
    let object = fs::read_dir(a_prefix(&objects)).unwrap().next().unwrap().unwrap().path();
    assert_ne!(nobody("cat", &object), Some(0));
}

/// A directory of objects that holds some.
fn a_prefix(objects: &Path) -> PathBuf {
    let mut dirs = fs::read_dir(objects).unwrap().map(|entry| entry.unwrap().path());
    dirs.find(|dir| fs::read_dir(dir).unwrap().next().is_some()).unwrap()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

#[test]
fn a_lost_directory_of_objects_is_named_and_stops_gc() {
    let world = world();
    published(&world);
    let objects = world.staging(".cairn/objects");
    let lost = a_prefix(&objects);
    let gone: BTreeSet<String> = fs::read_dir(&lost)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let aside = world.places().compose.join("aside");
    fs::rename(&lost, &aside).unwrap();
    let listing = || {
        let found = Command::new("find").arg(&objects).output().unwrap().stdout;
        String::from_utf8(found).unwrap()
    };
    let before = listing();
    for _ in 0..3 {
        let run = world.cairn(["gc", "--keep-last", "1", "--keep-within", "0s"]);
        assert_ne!(run.code(), Some(0), "{}", run.report());
        assert!(run.err().contains(lost.to_str().unwrap()), "{}", run.report());
    }
    assert_eq!(listing(), before, "nothing was removed");
    let report: Value = world.cairn(["--json", "fsck"]).exits(13).json();
    let prefix = lost.file_name().unwrap().to_string_lossy().into_owned();
    for name in gone {
        let id = format!("{prefix}{name}");
        let findings = report["findings"].as_array().unwrap();
        let finding = findings.iter().find(|f| f["subject"].as_str().unwrap().contains(&id));
        let finding = finding.unwrap_or_else(|| panic!("{id} is not named in {report}"));
        assert_eq!(finding["code"], "object-missing");
    }
    fs::rename(&aside, &lost).unwrap();
    world.cairn(["gc"]).ok();
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn a_stuck_cron_job_does_not_pile_up() {
    let world = world();
    published(&world);
    let dir = world.places().compose.join("long");
    fs::create_dir(&dir).unwrap();
    hostile::long(&dir);
    let mut holder = world.start(["ingest", "--as", "compose/9/Rocky", dir.to_str().unwrap()]);
    let lock = world.places().store.join("locks/ref-compose+9+Rocky");
    let named = format!("\"pid\":{}", holder.id());
    while !fs::read_to_string(&lock).unwrap_or_default().replace(' ', "").contains(&named) {
        assert!(holder.is_running(), "the ingest is too short to be held");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    holder.signal(Signal::STOP);
    let latest = world.latest();
    let latest = latest.to_str().unwrap();
    let jobs: Vec<Running> =
        (0..20).map(|_| world.start(["ingest", latest, "--lock-wait", "1s"])).collect();
    for job in jobs {
        let run = job.wait().exits(11);
        assert!(run.err().contains(&format!("process {}", holder.id())), "{}", run.report());
    }
    no_dead_temps(&world);
    holder.signal(Signal::KILL);
    holder.signal(Signal::CONT);
    holder.wait().killed();
    world.cairn(["ingest", latest, "--lock-wait", "0s"]).ok();
    no_leftovers(&world, "after a stuck job");
}

/// What the twenty would have left in the pool, beside what the holder has there.
fn no_dead_temps(world: &World) {
    let tmp = fs::read_dir(world.staging(".cairn/tmp")).unwrap().count();
    assert!(tmp <= 3, "{tmp} entries in tmp");
}

#[test]
fn clocks_that_jump_change_no_order_and_free_nothing_early() {
    let Some(()) = available(tool("faketime")) else { return };
    let world = world();
    published(&world);
    let at = |when: &str, args: &[&str]| {
        let cairn = world.command();
        let mut command = Command::new("faketime");
        command.arg(when).arg(cairn.get_program()).args(cairn.get_args()).args(args);
        for (name, value) in cairn.get_envs().filter_map(|(n, v)| Some((n, v?))) {
            command.env(name, value);
        }
        Run::of(&mut command)
    };
    small_update().write(&world.places().compose).unwrap();
    let latest = world.latest();
    // A day back, then ten years on, then now.
    at("-1 day", &["ingest", latest.to_str().unwrap()]).ok();
    at("+10 years", &["stage", "9", "Rocky", "--delete"]).ok();
    at("-1 day", &PROMOTE).ok();
    treecmp::assert_equal(&world.staging("mirror/pub/rocky/9.7-RC2"), &world.production(LIVE));
    let log = world.json(["log"]);
    let numbers: Vec<_> =
        log["operations"].as_array().unwrap().iter().map(|o| o["number"].as_u64()).collect();
    assert_eq!(numbers, (1..=6).rev().map(Some).collect::<Vec<_>>());
    let moved: Vec<_> = log["operations"].as_array().unwrap().iter().map(|o| &o["time"]).collect();
    assert!(moved[0].as_str() < moved[1].as_str(), "the clock did jump: {moved:?}");
    // `~1` is by number and not by time.
    let older = world.json(["show", "production/9.7~1"])["snapshot"].clone();
    at("-1 day", &["rollback", "production/9.7"]).ok();
    assert_eq!(world.json(["show", "production/9.7"])["snapshot"], older);
    // Ten years on everything is old to a clock; two runs in that future still condemn first.
    for when in ["+10 years", "-1 day"] {
        at(when, &["gc", "--keep-last", "1"]).ok();
        world.cairn(["fsck", "--full"]).ok();
        world.cairn(["ls", "-R", "production/9.7~1"]).ok();
    }
    world.cairn(["rollback", "production/9.7"]).ok();
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn a_mount_without_inodes_refuses_before_anything_is_published() {
    let Some(other) = available(Loop::new(FsKind::Tmpfs, 64 << 20)) else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut places = Places::below(dir.path());
    places.production = other.path().to_owned();
    let world = World::at(env!("CARGO_BIN_EXE_cairn"), places);
    staged(&world);
    let live = treecmp::digest(&world.production(LIVE));
    let log = world.json(["log"]);
    let used = {
        let found = Command::new("find").arg(other.path()).output().unwrap().stdout;
        found.split(|byte| *byte == b'\n').count()
    };
    let Some(()) = available(other.remount(&format!("nr_inodes={}", used + 3))) else { return };
    let run = world.cairn(PROMOTE).exits(1);
    assert!(run.err().contains("No space left on device"), "{}", run.report());
    assert_eq!(world.json(["log"]), log);
    assert_eq!(treecmp::digest(&world.production(LIVE)), live);
    other.remount("nr_inodes=100000").unwrap();
    world.cairn(PROMOTE).ok();
    world.cairn(["fsck", "--full"]).ok();
    no_leftovers(&world, "after a mount without inodes");
}

#[test]
fn a_pool_that_cannot_be_changed_is_named_and_nothing_happens() {
    let world = world();
    staged(&world);
    let objects = world.production(".cairn/objects");
    let chattr = |flag: &str| Run::of(Command::new("chattr").arg(flag).arg(&objects)).code();
    if available(tool("chattr")).is_none() || chattr("+i") != Some(0) {
        return;
    }
    let before = (world.json(["log"]), treecmp::digest(&world.production(LIVE)));
    // A new file in the update needs a new directory of objects, or one that is there suffices.
    let run = world.cairn(PROMOTE);
    let (log, live) = (world.json(["log"]), treecmp::digest(&world.production(LIVE)));
    assert_eq!(chattr("-i"), Some(0));
    if run.code() != Some(0) {
        let run = run.exits(1);
        assert!(run.err().contains("Operation not permitted"), "{}", run.report());
        assert_eq!((log, live), before);
    }
    world.cairn(PROMOTE).ok();
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn a_mount_that_has_what_is_needed_and_is_away_is_what_is_named() {
    let world = world();
    staged(&world);
    let before = (world.json(["log"]), treecmp::digest(&world.production(LIVE)));
    let (marker, aside) = (world.staging(".cairn/mount.json"), world.staging("aside"));
    fs::rename(&marker, &aside).unwrap();
    let staging = world.places().staging.display().to_string();
    // A gate reads content first, and without gates the publication does.
    let gates: Vec<&str> = ["repodata", "files-exist", "treeinfo"].into();
    let skip = gates.iter().flat_map(|gate| ["--skip-gate", *gate]).chain(["-m", "a test"]);
    for args in [PROMOTE.to_vec(), PROMOTE.into_iter().chain(skip).collect()] {
        let run = world.cairn(&args).exits(1);
        let is_named = run.err().lines().any(|line| line.contains(&staging));
        assert!(is_named && !run.err().contains("not in the pool"), "{}", run.report());
    }
    assert_eq!((world.json(["log"]), treecmp::digest(&world.production(LIVE))), before);
    fs::rename(&aside, &marker).unwrap();
    world.cairn(PROMOTE).ok();
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn a_flipped_byte_anywhere_in_log_packs_or_superblock_is_found() {
    let world = world();
    staged(&world);
    let store = &world.places().store;
    let mut files = vec![store.join("format")];
    for dir in ["log", "packs"] {
        files.extend(fs::read_dir(store.join(dir)).unwrap().map(|entry| entry.unwrap().path()));
    }
    files.sort();
    for path in files {
        let (bytes, mode) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().permissions());
        for part in 0..4 {
            let at = (bytes.len() - 1) * part / 3;
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            fs::remove_file(&path).unwrap();
            fs::write(&path, &damaged).unwrap();
            let run = world.cairn(["fsck"]);
            let last = is_last(&path, store);
            // The last operation is named by nothing but the index, which has its id.
            assert_eq!(run.code(), Some(13), "{} byte {at}\n{}", path.display(), run.report());
            let name = path.file_name().unwrap().to_str().unwrap();
            let said = run.out();
            assert!(last || said.contains(&name[..8.min(name.len())]), "{name} byte {at}\n{said}");
            fs::remove_file(&path).unwrap();
            fs::write(&path, &bytes).unwrap();
            fs::set_permissions(&path, mode.clone()).unwrap();
        }
    }
    world.cairn(["fsck", "--full"]).ok();
}

fn is_last(path: &Path, store: &Path) -> bool {
    let mut log: Vec<_> =
        fs::read_dir(store.join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    log.sort();
    log.last().is_some_and(|last| last == path)
}

#[test]
fn what_is_left_in_staging_areas_is_never_taken_for_content() {
    let world = world();
    published(&world);
    small_update().write(&world.places().compose).unwrap();
    let latest = world.latest();
    let args = ["ingest", latest.to_str().unwrap()];
    world.crash_at(cairn_testkit::CrashPoint::BatchSynced, 1, args).killed();
    let mut spoiled = 0;
    let mut find = Command::new("find");
    // What has no name yet lies in `tmp`, or hidden beside the name that it will have.
    find.arg(world.staging(".cairn")).args(["-type", "f", "-size", "+0", "("]);
    find.args(["-path", "*/.cairn/tmp/*", "-o", "-path", "*/objects/*/.*", ")"]);
    for file in Run::of(&mut find).ok().out().lines() {
        fs::write(file, "rotten").unwrap();
        spoiled += 1;
    }
    publish(&world);
    // Content that did not change keeps its time.
    let options = treecmp::Options { mtime: treecmp::On::Nothing, ..Default::default() };
    let live = world.production(LIVE);
    assert_eq!(treecmp::compare_with(&latest.join("compose"), &live, &options), []);
    world.cairn(["fsck", "--full"]).ok();
    no_leftovers(&world, "after rot in what was left");
    assert!(spoiled > 0, "the killed ingest left nothing to spoil");
}

#[test]
fn processes_that_work_side_by_side_lose_nothing_and_alarm_nobody() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/soak.sh");
    let mut command = Command::new(script);
    Run::of(command.args(["--seconds", "10", "--cairn", env!("CARGO_BIN_EXE_cairn")])).ok();
}

/// Unpacks the kept store of the first format into a world's places.
fn kept_store(world: &World) {
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/store-1.tar.gz");
    let root = world.places().staging.parent().unwrap().to_owned();
    let mut tar = Command::new("tar");
    Run::of(tar.args(["-xzf", archive, "-C"]).arg(&root)).ok();
    let toml = include_str!("../fixtures/store.toml");
    world.set_config(&toml.replace('@', root.to_str().unwrap()));
}

#[test]
fn a_store_of_the_first_format_is_opened_by_every_later_version() {
    let world = world();
    kept_store(&world);
    // Trees are known by their inodes, and unpacking made new ones: this is what an operator does
    // after a restore (docs/operations.md). What was unpacked of the views is looked at first.
    let run = world.cairn(["fsck"]).exits(3);
    assert!(run.out().contains("was not published by cairn"), "{}", run.report());
    for mount in [world.staging(""), world.production("")] {
        for view in fs::read_dir(mount.join(".cairn/views")).unwrap() {
            let trees = view.unwrap().path().join("trees.json");
            let trees: Value = serde_json::from_slice(&fs::read(trees).unwrap()).unwrap();
            assert!(!trees["trees"].as_array().unwrap().is_empty(), "{trees}");
        }
        fs::remove_dir_all(mount.join(".cairn/views")).unwrap();
        fs::remove_dir_all(mount.join("mirror")).unwrap();
    }
    world.cairn(["init"]).ok();
    world.cairn(["publish"]).ok();
    world.cairn(["fsck", "--full"]).ok();

    let log = world.json(["log"]);
    let verbs: Vec<&str> =
        log["operations"].as_array().unwrap().iter().map(|o| o["verb"].as_str().unwrap()).collect();
    let round = ["promote", "stage", "ingest"];
    let expected = [&["rollback"][..], &round, &["hold"], &round, &round].concat();
    assert_eq!(verbs, expected);
    assert_eq!(log["operations"][0]["reason"], "back to round 2");
    let packages = |rev: &str| world.cairn(["ls", &format!("{rev}:BaseOS/os/Packages")]).ok().out();
    for (rev, round) in [("production/9.7", 2), ("production/9.7~1", 3), ("production/9.7~3", 1)] {
        assert!(packages(rev).contains(&format!("round-{round}.rpm")), "{rev}\n{}", packages(rev));
    }
    world.cairn(["rollback", "production/9.7"]).ok();
    let live = world.production(LIVE).join("BaseOS/os/Packages/round-3.rpm");
    assert_eq!(fs::read_to_string(live).unwrap(), "round 3");
    treecmp::assert_equal(&world.staging("mirror/pub/rocky/9.7-RC2"), &world.production(LIVE));
    // And what it had read it knows, or reads again.
    let tree = world.places().compose.join("tree");
    world.cairn(["ingest", "--as", "compose/9/Rocky", tree.to_str().unwrap()]).ok();
    world.cairn(["gc", "--keep-last", "1"]).ok();
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn a_store_of_a_version_to_come_is_refused() {
    let world = world();
    kept_store(&world);
    let format = world.places().store.join("format");
    let text = fs::read_to_string(&format).unwrap();
    for (old, new, part) in [
        ("\"incompat\": []", "\"incompat\": [\"chunks\"]", "chunks"),
        ("\"version\": 1", "\"version\": 2", "version 2"),
    ] {
        assert!(text.contains(old), "{text}");
        fs::remove_file(&format).unwrap();
        fs::write(&format, text.replace(old, new)).unwrap();
        for args in [&["status"][..], &["publish"], &PROMOTE, &["gc"], &["init"]] {
            let run = world.cairn(args).exits(10);
            assert!(run.err().contains(part) && run.err().contains("hint: "), "{}", run.report());
        }
    }
}

#[test]
fn a_store_that_was_copied_while_it_was_used_is_whole() {
    let world = world();
    staged(&world);
    let store = world.places().store.clone();
    let copy = store.with_file_name("copy");
    // Operations come while the copy is made: the log first, then what it speaks of.
    fs::create_dir(&copy).unwrap();
    let take = |name: &str| {
        Run::of(Command::new("cp").arg("-a").arg(store.join(name)).arg(&copy)).ok();
    };
    take("format");
    take("log");
    world.cairn(PROMOTE).ok();
    take("packs");
    world.cairn(["rollback", "production/9.7"]).ok();
    let expected = world.json(["log"])["operations"].as_array().unwrap()[2..].to_vec();

    let config = fs::read_to_string(world.config()).unwrap();
    let (here, there) = (store.to_str().unwrap(), copy.to_str().unwrap());
    world.set_config(&config.replace(&format!("\"{here}\""), &format!("\"{there}\"")));
    assert_eq!(world.json(["log"])["operations"].as_array().unwrap(), &expected);
    let listed = world.cairn(["ls", "-R", "staging/9.7-RC2"]).ok().out();
    assert!(listed.contains("ripgrep-14.1.1-1.el9"), "{listed}");
    // The mounts show what its last operation says again, and what it needs is all there.
    world.cairn(["fsck", "--full"]).ok();
}

/// The rows of a fault: its number and what shows that its promise is kept.
fn faults() -> Vec<(u32, &'static str)> {
    let page = include_str!("../../docs/reliability.md");
    let rows = page.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix('|')?.trim_end_matches('|').split('|').collect();
        Some((cells[0].trim().parse().ok()?, *cells.last()?))
    });
    rows.collect()
}

#[test]
fn every_fault_of_the_list_names_tests_that_exist_or_says_that_there_is_none() {
    let numbers: Vec<u32> = faults().iter().map(|row| row.0).collect();
    assert_eq!(numbers, (1..=67).collect::<Vec<_>>());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut sources = String::new();
    for dir in ["tests", "store", "fsck", "cli"] {
        let mut found = Command::new("find");
        found.arg(root.join(dir)).args(["-name", "*.rs", "-type", "f"]);
        for path in Run::of(&mut found).ok().out().lines() {
            sources += &fs::read_to_string(path).unwrap();
        }
    }
    for (number, shown) in faults() {
        let names: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        let tests = names.iter().filter(|name| !name.starts_with("--"));
        for name in tests.clone() {
            assert!(sources.contains(&format!("fn {name}()")), "{number}: no test {name}");
        }
        let scripts = shown.contains("torture") || shown.contains("soak");
        let said = scripts || shown.contains("not shown") || tests.count() > 0;
        assert!(said, "{number}: nothing is said in {shown:?}");
    }
}
