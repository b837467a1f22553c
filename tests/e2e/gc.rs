//! Collecting garbage, holds and what refs cost, with the real binary.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cairn_testkit::filesystem::{FsKind, Loop};
use cairn_testkit::sample::{Compose, Places};
use cairn_testkit::{CrashPoint, Running, Signal, World, available, hostile, settle, treecmp};
use serde_json::Value;

use crate::adopt::adopt;
use crate::crashes::{no_leftovers, publish, small, small_update};
use crate::world;

const LIVE: &str = "mirror/pub/rocky/9.7";
/// Nothing waits, and one publication before the current one is kept.
const AT_ONCE: &str = "\n[keep]\nlast = 2\nwithin = \"0s\"\ngrace = \"0s\"\ntrash = \"0s\"\n";

/// The third edition of the small compose.
fn third() -> Compose {
    Compose::new("9", "Rocky", "9.7", "20251122.0")
        .packages_only()
        .repo("BaseOS", "x86_64")
        .package("bash", "5.1.8-11.el9")
        .package("glibc", "2.34-231.el9")
        .package("ripgrep", "14.1.1-1.el9")
}

/// A world in which the three editions were published, and what each looked like.
fn three_editions(keep: &str) -> (World, Vec<String>) {
    let world = world();
    world.set_config(&(world.places().config() + keep));
    for mount in ["mounts.staging", "mounts.production"] {
        world.configure(mount, "keep_trees = \"0s\"");
    }
    world.cairn(["init"]).ok();
    let mut shown = Vec::new();
    for edition in [small(), small_update(), third()] {
        edition.write(&world.places().compose).unwrap();
        publish(&world);
        shown.push(treecmp::digest(&world.production(LIVE)));
    }
    (world, shown)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// What each ref named, newest first.
fn history(world: &World, name: &str) -> Vec<String> {
    let log = world.json(["log", name]);
    let moves = log["operations"].as_array().unwrap().iter();
    let named = moves.map(|operation| {
        let refs = operation["refs"].as_array().unwrap();
        let moved = refs.iter().find(|moved| moved["name"] == name).unwrap();
        text(&moved["new"])
    });
    named.collect()
}

/// Every file below a directory with its inode and change time, locks and the index left out.
fn state(dir: &Path, found: &mut BTreeMap<PathBuf, (u64, i64, i64)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let stat = path.symlink_metadata().unwrap();
        if path.ends_with("locks") || path.ends_with("index.redb") {
            continue;
        }
        if stat.is_dir() {
            state(&path, found);
        }
        found.insert(path, (stat.ino(), stat.ctime(), stat.ctime_nsec()));
    }
}

fn everything(world: &World) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    settle();
    let mut found = BTreeMap::new();
    let places = world.places();
    for dir in [&places.store, &places.staging, &places.production] {
        state(dir, &mut found);
    }
    found
}

/// The sum over all pools of one column of a report.
fn sum(report: &Value, column: &str) -> u64 {
    let pools = report["pools"].as_array().unwrap().iter();
    pools.map(|pool| number(&pool[column]["objects"])).sum()
}

#[test]
fn the_third_run_frees_what_the_first_condemned_and_what_is_kept_rolls_back() {
    let (world, shown) = three_editions(AT_ONCE);
    let history = history(&world, "production/9.7");
    let before = everything(&world);
    let plan = world.json(["gc", "-n"]);
    assert_eq!(everything(&world), before, "a plan writes nothing");
    assert_eq!(plan["schema"], "cairn.gc/1");
    assert_eq!((&plan["dry_run"], &plan["number"]), (&Value::Bool(true), &Value::Null));
    // Of compose, staging and production the first edition each.
    assert_eq!(number(&plan["snapshots_condemned"]), 3);

    let first = world.json(["gc"]);
    assert_eq!(first["number"], Value::Null);
    assert!(sum(&first, "condemned") > 0 && sum(&first, "trashed") == 0, "{first:#}");
    let plan = world.json(["gc", "-n"]);
    let second = world.json(["gc", "-m", "short of disk"]);
    for column in ["trashed", "freed"] {
        assert_eq!(sum(&plan, column), sum(&second, column), "what was planned is done: {column}");
    }
    assert_eq!(plan["snapshots_collected"], second["snapshots_collected"]);
    assert_eq!(second["snapshots_collected"].as_array().unwrap().len(), 3);
    assert_eq!(number(&second["number"]), 10);
    assert_eq!(sum(&second, "trashed"), sum(&first, "condemned"));
    let third = world.json(["gc"]);
    assert_eq!(sum(&third, "freed"), sum(&first, "condemned"), "{third:#}");
    assert_eq!(third["number"], Value::Null);
    let fourth = world.json(["gc"]);
    for column in ["condemned", "trashed", "in_trash", "freed", "rescued"] {
        assert_eq!(sum(&fourth, column), 0, "{column}");
    }
    world.cairn(["fsck", "--full"]).ok();
    no_leftovers(&world, "after four collections");

    // With the index as it is, and with one that is built anew.
    for _ in 0..2 {
        let gone = world.cairn(["rollback", "production/9.7", "--to", "production/9.7~2"]).exits(1);
        let message = format!("snapshot {} was collected by operation 10", history[2]);
        assert!(gone.err().contains(&message), "{}", gone.report());
        let gone = world.cairn(["--json", "show", &history[2][..12]]).exits(1);
        assert_eq!(gone.error_json()["kind"], "collected");
        // The log is whole, and an operation that names what is gone says so.
        let log = world.json(["log"]);
        let operations = log["operations"].as_array().unwrap();
        assert_eq!(operations.len(), 10);
        assert_eq!(operations[0]["verb"], "gc");
        assert_eq!(operations[0]["reason"], "short of disk");
        let shown = world.cairn(["show", "3"]).ok().out();
        assert!(shown.contains("was collected by operation 10"), "{shown}");
        assert_eq!(world.json(["show", "3"])["changed"][0]["changed"], Value::Null);
        world.cairn(["show", "production/9.7~1"]).ok();
        fs::remove_file(world.places().store.join("index.redb")).unwrap();
    }
    world.cairn(["rollback", "production/9.7"]).ok();
    assert_eq!(treecmp::digest(&world.production(LIVE)), shown[1]);
    world.cairn(["rollback", "production/9.7"]).ok();
    assert_eq!(treecmp::digest(&world.production(LIVE)), shown[2]);
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn mirror_lists_stay_what_they_were_and_can_be_made_anew() {
    let (world, _) = three_editions(AT_ONCE);
    let list = world.production("mirror/pub/rocky/fullfiletimelist");
    let before = fs::read_to_string(&list).unwrap();
    for _ in 0..3 {
        world.cairn(["gc"]).ok();
    }
    world.cairn(["lists"]).ok();
    assert_eq!(fs::read_to_string(&list).unwrap(), before);
    // Their state lost, times of what came with a collected publication are those of the next.
    fs::remove_dir_all(world.production(".cairn/lists")).unwrap();
    world.cairn(["lists"]).ok();
    let paths = |list: &str| -> Vec<String> {
        let rows = list.lines().filter(|line| line.contains("9.7/"));
        rows.map(|row| row.rsplit('\t').next().unwrap().to_owned()).collect()
    };
    assert_eq!(paths(&fs::read_to_string(&list).unwrap()), paths(&before));
}

#[test]
fn nothing_goes_by_default_before_its_time() {
    let (world, _) = three_editions("");
    for _ in 0..3 {
        let report = world.json(["gc"]);
        assert_eq!(number(&report["snapshots_condemned"]), 0, "all are kept for 90 days");
        assert_eq!(report["number"], Value::Null);
    }
    for _ in 0..3 {
        let report = world.json(["gc", "--keep-last", "1", "--keep-within", "0s"]);
        // Six are old; what stands by at each view is of the edition before.
        assert_eq!(number(&report["snapshots_condemned"]), 4, "the grace is a day");
        assert_eq!(sum(&report, "trashed"), 0);
    }
    world.cairn(["show", "production/9.7~2"]).ok();
    let report = world.json(["gc", "--keep-last", "1", "--keep-within", "0s", "--grace", "0s"]);
    assert!(sum(&report, "trashed") > 0);
    let report = world.json(["gc"]);
    assert!(sum(&report, "in_trash") > 0 && sum(&report, "freed") == 0, "the trash is kept a week");
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn patterns_say_what_is_kept_of_which_refs() {
    let rules = "[keep.ref.\"*\"]\nlast = 1\n[keep.ref.\"production/*\"]\nlast = 3\n";
    let (world, _) = three_editions(&format!("{AT_ONCE}{rules}"));
    for _ in 0..3 {
        world.cairn(["gc"]).ok();
    }
    for rev in ["production/9.7~2", "production/9.7~1"] {
        world.cairn(["show", rev]).ok();
    }
    // The standby tree in staging holds the one before.
    for rev in ["compose/9/Rocky~1", "staging/9.7-RC2~2"] {
        world.cairn(["show", rev]).exits(1);
    }
    let shown = world.cairn(["config", "show"]).ok().out();
    assert!(shown.contains("[keep.ref.\"production/*\"]\nlast = 3\nwithin = \"0s\""), "{shown}");
}

#[test]
fn a_hold_keeps_its_snapshot_until_it_is_released() {
    let (world, shown) = three_editions(AT_ONCE);
    world.cairn(["hold", "production/9.7~2", "-n", "-m", "x"]).ok();
    assert_eq!(world.json(["hold", "list"])["holds"], Value::Array(vec![]));
    let held = world.json(["hold", "production/9.7~2", "--as", "first", "-m", "evidence"]);
    assert_eq!(held["schema"], "cairn.hold/1");
    assert_eq!(held["held"][0]["name"], "first");
    let old = world.json(["hold", "compose/9/Rocky~2", "-m", "no name"]);
    let (old, snapshot) = (text(&old["held"][0]["name"]), text(&old["held"][0]["snapshot"]));
    assert!(snapshot.starts_with(&old), "{old} names {snapshot}");
    let again = world.cairn(["hold", "production/9.7", "--as", "first", "-m", "x"]).exits(4);
    assert!(again.err().contains("it holds snapshot"), "{}", again.report());
    world.cairn(["hold", "production/9.7"]).exits(2);
    for _ in 0..3 {
        world.cairn(["gc"]).ok();
        // Holds are in the log.
        fs::remove_file(world.places().store.join("index.redb")).unwrap();
    }
    let list = world.json(["hold", "list"]);
    assert_eq!(list["schema"], "cairn.hold-list/1");
    let holds = list["holds"].as_array().unwrap();
    let first = holds.iter().find(|hold| hold["name"] == "first").unwrap();
    assert_eq!(
        (&first["reason"], &first["snapshot"]),
        (&"evidence".into(), &held["held"][0]["snapshot"])
    );
    assert_eq!(holds.len(), 2);
    let out = world.cairn(["hold", "list"]).ok().out();
    assert!(out.contains("evidence") && out.contains("first"), "{out}");
    world.cairn(["rollback", "production/9.7", "--to", "hold/first"]).ok();
    assert_eq!(treecmp::digest(&world.production(LIVE)), shown[0]);
    world.cairn(["rollback", "production/9.7"]).ok();

    world.cairn(["hold", "release", "nobody"]).exits(1);
    world.cairn(["show", &snapshot]).ok();
    let released = world.json(["hold", "release", "first", &old]);
    assert_eq!(released["released"][0]["name"], "first");
    assert_eq!(released["released"][1]["snapshot"], snapshot.as_str());
    world.cairn(["gc"]).ok();
    world.cairn(["gc"]).ok();
    let gone = world.cairn(["show", &snapshot]).exits(1);
    assert!(gone.err().contains("was collected by operation"), "{}", gone.report());
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn a_mount_that_is_away_is_named_and_nothing_of_it_goes() {
    let (world, _) = three_editions(AT_ONCE);
    world.cairn(["gc"]).ok();
    let away = world.production("").with_extension("away");
    fs::rename(world.production(""), &away).unwrap();
    fs::create_dir(world.production("")).unwrap();
    for _ in 0..2 {
        let run = world.cairn(["--json", "gc"]).exits(5);
        let report = run.json();
        assert_eq!(report["skipped"][0]["mount"], "production");
        assert_eq!(report["snapshots_collected"], Value::Array(vec![]));
    }
    assert!(world.cairn(["gc"]).exits(5).out().contains("While a mount is away"));
    world.cairn(["du"]).exits(5);
    fs::remove_dir(world.production("")).unwrap();
    fs::rename(&away, world.production("")).unwrap();
    world.cairn(["rollback", "production/9.7", "--to", "production/9.7~2"]).ok();
    for _ in 0..3 {
        world.cairn(["gc"]).ok();
    }
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn a_root_that_cannot_be_read_or_is_not_whole_stops_the_collection() {
    let (world, _) = three_editions(AT_ONCE);
    world.cairn(["gc"]).ok();
    let store = &world.places().store;
    // The pack of the last promotion, whose trees production names.
    let log = fs::read(store.join("log/0000000009.json")).unwrap();
    let log: Value = serde_json::from_slice(&log).unwrap();
    let pack = store.join("packs").join(format!("{}.pack", text(&log["packs"][0])));
    let sound = fs::read(&pack).unwrap();
    let mut damaged = sound.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let replace = |bytes: &[u8]| {
        fs::remove_file(&pack).unwrap();
        fs::write(&pack, bytes).unwrap();
    };
    replace(&damaged);
    let before = everything(&world);
    let run = world.cairn(["gc"]).exits(13);
    assert!(run.err().contains("pack ") && run.err().contains("hash"), "{}", run.report());
    assert_eq!(everything(&world), before);
    replace(&sound);
    // A kept tree's record.
    let records = world.production(".cairn/views/production+9.7/trees.json");
    let text = fs::read(&records).unwrap();
    fs::write(&records, "{}").unwrap();
    let before = everything(&world);
    world.cairn(["gc"]).exits(13);
    assert_eq!(everything(&world), before);
    fs::write(&records, text).unwrap();
    // An object directory is lost, on one mount and on both.
    let objects = |mount: PathBuf| mount.join(".cairn/objects");
    let listed = world.json(["ls", "-R", "production/9.7"]);
    let mut rows = listed["entries"].as_array().unwrap().iter();
    let object = rows.find(|row| row["kind"] == "file" && row["size"] != 0).unwrap();
    let prefix = object["object"].as_str().unwrap()[..2].to_owned();
    let lost = objects(world.production("")).join(&prefix);
    fs::rename(&lost, world.places().store.with_extension("lost")).unwrap();
    let before = everything(&world);
    let run = world.cairn(["gc"]).exits(1);
    assert!(run.err().contains(&prefix), "{}", run.report());
    assert_eq!(everything(&world), before);
    fs::rename(world.places().store.with_extension("lost"), &lost).unwrap();
    let report = world.json(["gc"]);
    assert!(number(&report["number"]) == 10 && sum(&report, "trashed") > 0);
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn what_a_killed_ingest_left_is_collected() {
    let (world, _) = three_editions(AT_ONCE);
    for _ in 0..3 {
        world.cairn(["gc"]).ok();
    }
    let dir = world.places().compose.join("other");
    fs::create_dir(&dir).unwrap();
    for number in 0..20 {
        fs::write(dir.join(format!("{number}")), format!("left behind {number}")).unwrap();
    }
    let dir = dir.to_str().unwrap();
    let ingest = ["ingest", "--as", "compose/9/other", dir];
    world.crash_at(CrashPoint::PackWritten, 1, ingest).killed();
    assert_eq!(sum(&world.json(["gc"]), "condemned"), 20);
    assert_eq!(sum(&world.json(["gc"]), "trashed"), 20);
    let report = world.json(["gc"]);
    assert_eq!(sum(&report, "freed"), 20);
    // The same files, known by inode, come in again.
    world.cairn(ingest).ok();
    world.cairn(["fsck", "--full"]).ok();
    let packs = fs::read_dir(world.places().store.join("packs")).unwrap().count() as u64;
    assert_eq!(number(&world.json(["fsck"])["packs"]), packs, "the pack of the kill is gone");
}

#[test]
fn a_takeover_that_was_killed_neither_stops_a_collection_nor_loses_by_it() {
    let world = world();
    world.set_config(&(world.places().config() + AT_ONCE));
    world.cairn(["init"]).ok();
    let live = world.production(LIVE);
    fs::create_dir_all(&live).unwrap();
    for number in 0..10 {
        fs::write(live.join(format!("{number}")), format!("live {number}")).unwrap();
    }
    let before = treecmp::digest(&live);
    world.crash_at(CrashPoint::PackWritten, 1, adopt()).killed();
    for _ in 0..3 {
        world.cairn(["gc"]).ok();
    }
    world.cairn(adopt()).ok();
    for _ in 0..3 {
        world.cairn(["gc"]).ok();
    }
    assert_eq!(treecmp::digest(&live.canonicalize().unwrap()), before);
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn a_stopped_ingest_keeps_what_it_has_found() {
    let (world, _) = three_editions(AT_ONCE);
    // A content that only the first edition has, and a file that takes long after it.
    let old = world.json(["ls", "-R", "production/9.7~2"]);
    let rows = old["entries"].as_array().unwrap();
    let bash =
        rows.iter().find(|row| row["path"].as_str().unwrap().contains("bash-5.1.8-9")).unwrap();
    let path = format!("production/9.7~2:{}", text(&bash["path"]));
    let content = world.cairn(["cat", &path]).ok().stdout;
    world.cairn(["gc"]).ok();
    let dir = world.places().compose.join("again");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a"), content).unwrap();
    hostile::long(&dir);
    let mut ingest = world.start(["ingest", "--as", "compose/9/again", dir.to_str().unwrap()]);
    let tmp = world.staging(".cairn/tmp");
    while fs::read_dir(&tmp).unwrap().count() < 2 {
        assert!(ingest.is_running(), "the ingest is too short to be stopped");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    ingest.signal(Signal::STOP);
    // Whoever writes is waited for; gc says whom and leaves everything.
    let busy = world.cairn(["gc", "--lock-wait", "1s"]).exits(11);
    let pid = format!("process {}", ingest.id());
    assert!(
        busy.err().contains("the store is busy") && busy.err().contains(&pid),
        "{}",
        busy.report()
    );
    ingest.signal(Signal::CONT);
    ingest.wait().ok();
    for _ in 0..3 {
        world.cairn(["gc"]).ok();
    }
    world.cairn(["show", "production/9.7~2"]).exits(1);
    let found = world.cairn(["cat", "compose/9/again:a"]).ok().stdout;
    assert!(!found.is_empty());
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn collections_run_beside_everything_else_and_nothing_is_lost() {
    let (world, _) = three_editions(AT_ONCE);
    let patient = ["--lock-wait", "2m"];
    std::thread::scope(|scope| {
        let world = &world;
        let verbs = scope.spawn(move || {
            for round in 0..6 {
                let compose =
                    Compose::new("9", "Rocky", "9.7", format!("202512{:02}.0", round + 1));
                let compose = compose.packages_only().repo("BaseOS", "x86_64");
                let compose = compose.package("bash", format!("5.1.8-{}.el9", 9 + round % 3));
                compose.write(&world.places().compose).unwrap();
                let latest = world.latest();
                let latest = latest.to_str().unwrap();
                world.cairn(["ingest", latest].into_iter().chain(patient)).ok();
                world.cairn(["stage", "9", "Rocky", "--delete"].into_iter().chain(patient)).ok();
                let promote = ["promote", "9", "--delete", "--allow-deletes", "100%"];
                world.cairn(promote.into_iter().chain(patient)).ok();
                world.cairn(["rollback", "production/9.7"].into_iter().chain(patient)).ok();
            }
        });
        let ingests = scope.spawn(move || {
            // The same contents come and go: an ingest meets what a collection condemns.
            for round in 0..20 {
                let dir = world.places().compose.join(format!("round-{round}"));
                fs::create_dir(&dir).unwrap();
                for number in 0..40 {
                    let content = (round * 7 + number) % 60;
                    fs::write(dir.join(format!("{number}")), format!("content {content}")).unwrap();
                }
                let dir = dir.to_str().unwrap();
                let ingest = ["ingest", "--as", "compose/9/other", dir];
                world.cairn(ingest.into_iter().chain(patient)).ok();
            }
        });
        let mut collected = 0;
        let mut runs = 0;
        while !(verbs.is_finished() && ingests.is_finished()) {
            let mut running: Vec<Running> = (0..2)
                .map(|_| {
                    let gc = ["--json", "gc", "--keep-last", "1", "--lock-wait", "2m"];
                    world.start(gc)
                })
                .collect();
            world.cairn(["status"]).ok();
            world.cairn(["log"]).ok();
            while let Some(run) = running.pop() {
                let run = run.wait().ok();
                collected += run.json()["snapshots_collected"].as_array().unwrap().len();
                runs += 1;
            }
        }
        verbs.join().unwrap();
        ingests.join().unwrap();
        assert!(collected > 0, "{runs} collections met nothing");
    });
    let fsck = world.cairn(["fsck", "--full"]);
    assert_eq!(fsck.code(), Some(0), "{}", fsck.report());
    fs::remove_file(world.places().store.join("index.redb")).unwrap();
    world.cairn(["status"]).ok();
    world.cairn(["fsck", "--full"]).ok();
    no_leftovers(&world, "after collections beside everything else");
    let latest = world.latest();
    world.cairn(["ingest", "--reread", latest.to_str().unwrap()]).ok();
}

#[test]
fn a_full_mount_is_made_room_on() {
    for kind in [FsKind::Ext4, FsKind::Xfs, FsKind::Tmpfs] {
        let size = if kind == FsKind::Xfs { 320 << 20 } else { 24 << 20 };
        let Some(disk) = available(Loop::new(kind, size)) else { continue };
        let dir = tempfile::tempdir().unwrap();
        let places = Places { staging: disk.path().join("staging"), ..Places::below(dir.path()) };
        let world = World::at(env!("CARGO_BIN_EXE_cairn"), places);
        world.set_config(&(world.places().config() + AT_ONCE));
        world.cairn(["init"]).ok();
        let compose = world.places().compose.join("big");
        fs::create_dir(&compose).unwrap();
        for round in 0..3u8 {
            for number in 0..8u8 {
                fs::write(compose.join(format!("{number}")), vec![round * 8 + number + 1; 200_000])
                    .unwrap();
            }
            let dir = compose.to_str().unwrap();
            world.cairn(["ingest", "--as", "compose/9/big", dir]).ok();
        }
        fill(disk.path());
        let run = |label: &str| {
            let run = world.cairn(["--json", "gc", "--keep-last", "1"]);
            assert_eq!(run.code(), Some(0), "{kind:?}: {label}\n{}", run.report());
            run.json()
        };
        run("condemns");
        assert_eq!(sum(&run("trashes"), "trashed"), 16, "{kind:?}");
        let report = run("frees");
        assert_eq!(sum(&report, "freed"), 16, "{kind:?}");
        assert_eq!(number(&report["pools"][1]["freed"]["bytes"]), 16 * 200_000, "{kind:?}");
        fs::write(disk.path().join("room"), vec![0; 2_000_000]).unwrap();
        world.cairn(["fsck", "--full"]).ok();
    }
}

/// Fills a filesystem to its last byte and, where those run out, its last inode.
fn fill(dir: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(dir.join("filler")).unwrap();
    let mut block = vec![7; 1 << 20];
    while !block.is_empty() {
        if file.write_all(&block).and_then(|()| file.sync_data()).is_err() {
            block.truncate(block.len() / 2);
        }
    }
    for number in 0..100_000 {
        if fs::write(dir.join(format!("filler-{number}")), [7]).is_err() {
            break;
        }
    }
}

#[test]
fn space_is_told_for_refs_and_pools() {
    let (world, _) = three_editions(AT_ONCE);
    let space = world.json(["du"]);
    assert_eq!(space["schema"], "cairn.du/1");
    let rows = space["refs"].as_array().unwrap();
    let names: Vec<String> = rows.iter().map(|row| text(&row["name"])).collect();
    assert_eq!(names, ["compose/9/Rocky", "production/9.7", "staging/9.7-RC2"]);
    for row in rows {
        // All three name the same, and each keeps the edition before.
        assert_eq!(number(&row["alone"]["objects"]), 0, "{row:#}");
        assert!(number(&row["stored"]["bytes"]) > 0 && number(&row["kept"]["objects"]) > 0);
        assert_eq!(number(&row["kept_snapshots"]), 1);
    }
    let total = number(&space["total"]["bytes"]);
    assert!(total >= number(&space["shared"]["bytes"]) && total > 0);
    // The first edition is in the pool and nobody's.
    assert!(number(&space["mounts"][1]["unneeded"]["objects"]) > 0, "{space:#}");
    let one = world.json(["du", "production/9.7"]);
    assert_eq!(one["refs"].as_array().unwrap().len(), 1);
    assert_eq!(one["total"], space["total"]);
    let out = world.cairn(["du"]).ok().out();
    assert!(out.contains("production/9.7") && out.contains("all refs"), "{out}");
    world.cairn(["du", "production/1.0"]).exits(1);

    let dir = world.places().compose.join("alone");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), "1234567").unwrap();
    world.cairn(["ingest", "--as", "compose/9/alone", dir.to_str().unwrap()]).ok();
    let row = &world.json(["du", "compose/9/alone"])["refs"][0];
    assert_eq!(row["alone"], serde_json::json!({ "objects": 1, "bytes": 7 }));
}

#[test]
fn wrong_words_are_refused_with_what_would_be_right() {
    let (world, _) = three_editions(AT_ONCE);
    for args in [
        &["gc", "--keep-last", "0"][..],
        &["gc", "--keep-within", "soon"],
        &["gc", "--grace", "1"],
        &["gc", "--trash", "-1s"],
        &["hold"],
        &["hold", "release"],
    ] {
        world.cairn(args).exits(2);
    }
    world.cairn(["hold", "production/9.7~9", "-m", "x"]).exits(1);
    world.cairn(["hold", "production/9.7", "--as", "a b", "-m", "x"]).exits(2);
    let out = world.cairn(["gc"]).ok().out();
    assert!(out.contains("kept by") && out.contains("3 condemned"), "{out}");
    let out = world.cairn(["gc", "-n"]).ok().out();
    assert!(out.contains("would go") && out.contains("Nothing was written."), "{out}");
    let quiet = world.cairn(["gc", "-q"]).ok();
    assert!(quiet.out().is_empty() && quiet.err().is_empty(), "{}", quiet.report());
}
