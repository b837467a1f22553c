//! Several commands at once, commands that are stopped, and an index that is not what it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use cairn_testkit::sample::Compose;
use cairn_testkit::{Run, Running, Signal, World, hostile, patience, treecmp};
use serde_json::Value;

use crate::crashes::{no_leftovers, publish, published, small, small_update};
use crate::world;

/// Longer than any answer may take that waits for nobody, in seconds.
const AT_ONCE: u64 = 20;

/// A directory whose ingest takes long.
fn long_compose(world: &World, name: &str) -> PathBuf {
    let dir = world.places().compose.join(name);
    fs::create_dir(&dir).unwrap();
    hostile::long(&dir);
    fs::write(dir.join("small"), name).unwrap();
    dir
}

/// Waits until something is so.
#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < patience(60), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Starts an ingest and stops it, with SIGSTOP, while it reads and holds its ref's lock.
#[track_caller]
fn held(world: &World, dir: &Path, name: &str) -> Running {
    let mut holder = world.start(["ingest", "--as", name, dir.to_str().unwrap()]);
    let lock = world.places().store.join("locks").join(format!("ref-{}", name.replace('/', "+")));
    let pid = holder.id();
    wait_until("the ingest takes its lock", || {
        assert!(holder.is_running(), "the ingest is too short to be held");
        let text = fs::read(&lock).unwrap_or_default();
        let named: Option<Value> = serde_json::from_slice(&text).ok();
        let tmp = fs::read_dir(world.staging(".cairn/tmp")).unwrap().count();
        named.is_some_and(|holder| holder["pid"] == pid) && tmp > 1
    });
    holder.signal(Signal::STOP);
    holder
}

/// Runs a command that must wait for nobody.
#[track_caller]
fn at_once(world: &World, args: &[&str]) -> Run {
    let started = Instant::now();
    let run = world.cairn(args);
    assert!(started.elapsed() < patience(AT_ONCE), "{args:?} waited\n{}", run.report());
    run
}

/// Asserts that the log is one chain, and returns its operations, newest first.
#[track_caller]
fn chain(world: &World) -> Vec<Value> {
    let log = world.json(["log"]);
    let operations = log["operations"].as_array().unwrap().clone();
    for pair in operations.windows(2) {
        assert_eq!(pair[0]["parent"], pair[1]["id"]);
        assert_eq!(pair[0]["number"].as_u64(), pair[1]["number"].as_u64().map(|n| n + 1));
    }
    if let Some(first) = operations.last() {
        assert_eq!((&first["number"], &first["parent"]), (&Value::from(1), &Value::Null));
    }
    operations
}

#[test]
fn ingests_of_different_refs_go_side_by_side() {
    let world = world();
    world.cairn(["init"]).ok();
    let dirs = ["a", "b", "c", "d"].map(|name| {
        let dir = world.places().compose.join(name);
        fs::create_dir(&dir).unwrap();
        for number in 0..200 {
            // Half of the content is everybody's, so that they meet in the pool.
            let owner = if number % 2 == 0 { "all" } else { name };
            fs::write(dir.join(format!("{number}")), format!("{owner} {number}")).unwrap();
        }
        (name, dir)
    });
    let running: Vec<Running> = dirs
        .iter()
        .map(|(name, dir)| {
            let name = format!("compose/9/{name}");
            world.start(["ingest", "--as", &name, dir.to_str().unwrap(), "--lock-wait", "0s"])
        })
        .collect();
    for run in running {
        run.wait().ok();
    }
    assert_eq!(chain(&world).len(), 4);
    for (name, _) in &dirs {
        let listed = world.json(["ls", &format!("compose/9/{name}")]);
        assert_eq!(listed["entries"].as_array().unwrap().len(), 200, "{name}");
    }
    world.cairn(["fsck", "--full"]).ok();
    no_leftovers(&world, "after ingests side by side");
}

#[test]
fn of_two_writers_of_a_ref_one_waits_or_is_told_who_holds_it() {
    let world = world();
    published(&world);
    let dir = long_compose(&world, "long");
    let small = world.latest();
    let small = small.to_str().unwrap();
    let mut holder = held(&world, &dir, "compose/9/Rocky");

    let busy = at_once(&world, &["ingest", small, "--lock-wait", "0s"]).exits(11);
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let pid = format!("process {}", holder.id());
    for part in ["compose/9/Rocky is busy", "held since 20", &pid, host.trim(), "ingest --as"] {
        assert!(busy.err().contains(part), "{part}\n{}", busy.report());
    }
    assert!(busy.err().contains("hint: "), "{}", busy.report());
    let busy = at_once(&world, &["--json", "ingest", small, "--lock-wait", "0s"]).exits(11);
    assert_eq!(busy.error_json()["kind"], "busy");
    assert_eq!(busy.error_json()["code"], 11);
    let short = Instant::now();
    world.cairn(["ingest", small, "--lock-wait", "1s"]).exits(11);
    assert!(short.elapsed() >= Duration::from_secs(1));

    let mut patient = world.start(["ingest", small, "--lock-wait", "5m"]);
    std::thread::sleep(Duration::from_millis(300));
    assert!(patient.is_running());
    holder.signal(Signal::CONT);
    holder.wait().ok();
    patient.wait().ok();
    let operations = chain(&world);
    assert_eq!(operations.len(), 5);
    // It planned on top of what the first one made.
    assert_eq!(operations[0]["refs"][0]["old"], operations[1]["refs"][0]["new"]);
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn writers_that_race_for_a_ref_win_or_are_busy_and_lose_nothing() {
    let world = world();
    world.cairn(["init"]).ok();
    for round in 0..4 {
        let running: Vec<Running> = (0..4)
            .map(|number| {
                let dir = world.places().compose.join(format!("{round}-{number}"));
                fs::create_dir(&dir).unwrap();
                fs::write(dir.join("file"), format!("{round} {number}")).unwrap();
                let dir = dir.to_str().unwrap().to_owned();
                world.start(["ingest", "--as", "compose/9/Rocky", &dir, "--lock-wait", "0s"])
            })
            .collect();
        let codes: Vec<_> = running.into_iter().map(|running| running.wait()).collect();
        let won = codes.iter().filter(|run| run.code() == Some(0)).count();
        assert!(won >= 1, "somebody must win");
        for run in codes.into_iter().filter(|run| run.code() != Some(0)) {
            run.exits(11);
        }
    }
    chain(&world);
    world.cairn(["fsck", "--full"]).ok();
}

const RELEASE_8: &str = r#"
[release.8]
category = "rocky"
arches = ["x86_64"]
composes = ["Rocky"]
iso_types = ["BaseOS"]
repos = { plain = [], comps = ["BaseOS"], modules = [] }
channel.stable = { version = "8.10", previous = "8.9", staging_suffix = "-RC2" }
"#;

#[test]
fn releases_are_promoted_and_rolled_back_at_the_same_time() {
    let world = world();
    world.set_config(&(world.places().config() + RELEASE_8));
    let root = &world.places().compose;
    world.cairn(["init"]).ok();
    let eight = |date: &str, bash: &str| {
        let compose = Compose::new("8", "Rocky", "8.10", date).packages_only();
        compose.repo("BaseOS", "x86_64").package("bash", bash).write(root).unwrap().latest
    };
    let roots = ["8.10", "9.7"].map(|v| world.production(format!("mirror/pub/rocky/{v}")));
    let mut shown = Vec::new();
    for edition in 0..2 {
        let nine = if edition == 0 { small() } else { small_update() };
        let nine = nine.write(root).unwrap().latest;
        let eight =
            eight(["20251101.0", "20251115.0"][edition], ["4.4-1.el8", "4.4-2.el8"][edition]);
        for latest in [eight, nine] {
            world.cairn(["ingest", latest.to_str().unwrap()]).ok();
        }
        for release in ["8", "9"] {
            world.cairn(["stage", release, "Rocky", "--delete"]).ok();
        }
        let promote = |release| {
            world.start([
                "promote",
                release,
                "--delete",
                "--allow-deletes",
                "100%",
                "--lock-wait",
                "0s",
            ])
        };
        let running = ["8", "9"].map(promote);
        for running in running {
            running.wait().ok();
        }
        shown.push([0, 1].map(|index| treecmp::digest(&roots[index])));
        treecmp::assert_equal(&world.staging("mirror/pub/rocky/8.10-RC2"), &roots[0]);
        treecmp::assert_equal(&world.staging("mirror/pub/rocky/9.7-RC2"), &roots[1]);
    }
    // Back and forth: whoever comes second must not undo what the first has just done.
    for round in 0..6 {
        let back = |name| world.start(["rollback", name, "--lock-wait", "0s"]);
        let running = ["production/8.10", "production/9.7"].map(back);
        for running in running {
            running.wait().ok();
        }
        let now = [0, 1].map(|index| treecmp::digest(&roots[index]));
        assert_eq!(now, shown[round % 2], "round {round}");
    }
    assert_eq!(chain(&world).len(), 2 * 6 + 12);
    let list = fs::read_to_string(world.production("mirror/pub/rocky/fullfilelist")).unwrap();
    for release in ["./8.10/BaseOS", "./9.7/BaseOS"] {
        assert!(list.lines().any(|line| line == release), "{release}\n{list}");
    }
    let lists = world.json(["lists", "-n"]);
    assert!(lists["lists"].as_array().unwrap().iter().all(|list| list["changed"] == false));
    world.cairn(["fsck", "--full"]).ok();
    no_leftovers(&world, "after promotions side by side");

    // And both in one operation.
    let both = world.json(["promote", "8", "9", "--delete", "--allow-deletes", "100%"]);
    let names: Vec<_> = both["refs"].as_array().unwrap().iter().map(|r| &r["name"]).collect();
    assert!(names.is_empty() || names == ["production/8.10", "production/9.7"], "{both}");
}

#[test]
fn readers_and_other_writers_do_not_wait_for_an_ingest_that_stands_still() {
    let world = world();
    published(&world);
    small_update().write(&world.places().compose).unwrap();
    let latest = world.latest();
    let dir = long_compose(&world, "long");
    let mut holder = held(&world, &dir, "compose/9/Long");
    for args in [
        &["log"][..],
        &["status"],
        &["diff", "production/9.7", "staging/9.7-RC2"],
        &["diff", "production/9.7", "staging/9.7-RC2", "--by", "packages"],
        &["ls", "production/9.7", "-R"],
        &["show", "production/9.7"],
        &["show", "1"],
        &["cat", "production/9.7:BaseOS/x86_64/os/repodata/repomd.xml"],
        &["promote", "9", "--delete", "-n"],
        &["fsck"],
        // These write, other refs.
        &["ingest", latest.to_str().unwrap(), "--lock-wait", "0s"],
        &["stage", "9", "Rocky", "--delete", "--lock-wait", "0s"],
        &["promote", "9", "--delete", "--allow-deletes", "100%", "--lock-wait", "0s"],
        &["rollback", "production/9.7", "--lock-wait", "0s"],
        &["publish", "--lock-wait", "0s"],
        &["lists", "--lock-wait", "0s"],
    ] {
        at_once(&world, args).ok();
    }
    assert!(holder.is_running());
    holder.signal(Signal::CONT);
    holder.wait().ok();
    // What the others wrote is below it, and its own work was not taken for a dead one's.
    let operations = chain(&world);
    assert_eq!(operations[0]["refs"][0]["name"], "compose/9/Long");
    world.cairn(["fsck", "--full"]).ok();
    no_leftovers(&world, "after an ingest that stood still");
}

#[test]
fn a_killed_holder_frees_its_lock_at_once() {
    let world = world();
    published(&world);
    let dir = long_compose(&world, "long");
    let mut holder = held(&world, &dir, "compose/9/Rocky");
    let small = world.latest();
    let ingest = ["ingest", small.to_str().unwrap(), "--lock-wait", "0s"];
    at_once(&world, &ingest).exits(11);
    holder.signal(Signal::KILL);
    holder.wait().killed();
    at_once(&world, &ingest).ok();
    no_leftovers(&world, "after the next command");
    assert_eq!(chain(&world).len(), 3, "the compose is the same, and the killed one left nothing");
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn a_signal_stops_a_long_ingest_and_leaves_nothing() {
    let world = world();
    published(&world);
    let before =
        (treecmp::digest(&world.places().store), treecmp::digest(&world.staging(".cairn")));
    let one = long_compose(&world, "one-large-file");
    let many = world.places().compose.join("many-files");
    fs::create_dir(&many).unwrap();
    // Each is read in less than no time, all of them in minutes.
    for number in 0..64 {
        let dir = many.join(format!("{number}"));
        fs::create_dir(&dir).unwrap();
        hostile::sparse(&dir, 1 << 28);
    }
    for dir in [&one, &many] {
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
            let mut running = held(&world, dir, "compose/9/Rocky");
            running.signal(signal);
            running.signal(Signal::CONT);
            let told = Instant::now();
            let run = running.wait().exits(code);
            let label = format!("{} and {code}", dir.display());
            // What matters is that it does not go on to the end; a busy machine may need a while.
            assert!(told.elapsed() < patience(AT_ONCE), "{label}: {:?}", told.elapsed());
            assert!(run.err().contains("interrupted"), "{label}\n{}", run.report());
            no_leftovers(&world, &label);
        }
    }
    assert_eq!(chain(&world).len(), 3);
    // Locks are named after who held them last, and the index is derived.
    let after = (treecmp::digest(&world.places().store), treecmp::digest(&world.staging(".cairn")));
    assert_eq!(before.1, after.1, "the pool is as it was");
    let mut command = world.command();
    let json = command.args(["--json", "ingest", "--as", "compose/9/Rocky"]).arg(&one);
    let mut running = Running::start(json);
    wait_until("it reads", || fs::read_dir(world.staging(".cairn/tmp")).unwrap().count() > 1);
    running.signal(Signal::TERM);
    let error = running.wait().exits(143).error_json();
    assert_eq!((&error["kind"], &error["code"]), (&"interrupted".into(), &143.into()));
}

/// What a store answers, without what may differ from run to run.
fn answers(world: &World) -> Vec<Value> {
    let mut status = world.json(["status"]);
    for mount in status["mounts"].as_array_mut().unwrap() {
        mount["free_bytes"] = Value::Null;
    }
    vec![
        world.json(["log"]),
        status,
        world.json(["diff", "production/9.7~1", "production/9.7"]),
        world.json(["ls", "-R", "production/9.7"]),
        world.json(["show", "production/9.7"]),
    ]
}

#[test]
fn an_index_is_derived_and_may_be_lost_damaged_old_or_of_another_store() {
    let world = world();
    published(&world);
    let index = world.places().store.join("index.redb");
    let old = fs::read(&index).unwrap();
    small_update().write(&world.places().compose).unwrap();
    publish(&world);
    let sound = fs::read(&index).unwrap();
    let expected = answers(&world);

    let other = crate::world();
    published(&other);
    let foreign = fs::read(other.places().store.join("index.redb")).unwrap();
    let mut flipped = sound.clone();
    for byte in flipped.iter_mut().step_by(997) {
        *byte ^= 0x55;
    }
    /// What it is called, what the file becomes, and what the next command says.
    type Damage<'a> = (&'a str, Option<Vec<u8>>, Option<&'a str>);
    let damages: [Damage<'_>; 8] = [
        ("removed", None, Some("The index was missing; it was rebuilt from 6 operations.")),
        ("empty", Some(Vec::new()), Some("The index was ")),
        ("half of it", Some(sound[..sound.len() / 2].to_vec()), Some("The index was damaged")),
        ("its first page", Some(sound[..4096].to_vec()), Some("The index was damaged")),
        ("garbage", Some(b"not an index at all".repeat(10_000)), Some("The index was damaged")),
        ("flipped bits", Some(flipped), Some("The index was damaged")),
        ("another store's", Some(foreign), Some("it is of another log")),
        // It is caught up with, as after every command of another host.
        ("an old copy", Some(old), None),
    ];
    for (label, bytes, said) in damages {
        for command in [
            &["log"][..],
            &["status"],
            &["ls", "production/9.7"],
            &["cat", "production/9.7:BaseOS/x86_64/os/.discinfo"],
            &["show", "production/9.7"],
            &["diff", "production/9.7~1", "production/9.7"],
            &["publish"],
            &["ingest", world.latest().to_str().unwrap()],
            &["promote", "9", "--delete", "-n"],
        ] {
            fs::remove_file(&index).unwrap();
            if let Some(bytes) = &bytes {
                fs::write(&index, bytes).unwrap();
            }
            let run = world.cairn(command);
            assert_eq!(run.code(), Some(0), "{label}\n{}", run.report());
            if let Some(said) = said {
                assert!(run.err().contains(said), "{label}: {said}\n{}", run.report());
            }
        }
        assert_eq!(answers(&world), expected, "{label}");
    }
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn a_closed_stdout_is_a_quiet_success() {
    let world = world();
    published(&world);
    for args in [
        &["log"][..],
        &["--json", "log"],
        &["status"],
        &["ls", "-R", "production/9.7"],
        &["--json", "ls", "-R", "production/9.7"],
        &["cat", "production/9.7:BaseOS/x86_64/os/repodata/repomd.xml"],
        &["diff", "compose/9/Rocky", "production/9.7"],
        &["show", "1"],
        &["fsck"],
        &["publish"],
        &["config", "show"],
        &["completion", "bash"],
        &["--help"],
        &["help", "promote"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = world.command();
        let child = command.args(args).stdout(writer).stderr(Stdio::piped()).stdin(Stdio::null());
        let ended = child.spawn().unwrap().wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), said.as_ref()), (Some(0), ""), "{args:?}");
    }
}
