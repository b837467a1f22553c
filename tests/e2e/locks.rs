//! Locks that are lost while a command holds them, as an NFS server or an operator takes them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cairn_testkit::{
    CrashPoint, Run, Running, Signal, Unavailable, World, available, patience, treecmp,
};

use crate::crashes::{no_leftovers, update_staged};

const LIVE: &str = "mirror/pub/rocky/9.7";
const PROMOTE: [&str; 5] = ["promote", "9", "--delete", "--allow-deletes", "100%"];

fn lock_of(world: &World, name: &str) -> PathBuf {
    world.places().store.join("locks").join(name)
}

fn promotions(world: &World) -> usize {
    let log = world.json(["log", "production/9.7"]);
    log["operations"].as_array().unwrap().len()
}

/// Returns whether every thread of a process stands still.
pub fn is_stopped(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    // The state letter stands after the name, which may have anything in it.
    let states = stats.filter_map(|stat| stat.rsplit(") ").next()?.chars().next());
    let states: String = states.collect();
    !states.is_empty() && states.chars().all(|state| state == 'T')
}

/// Starts a command that stops itself at a point, and waits until it has.
#[track_caller]
pub fn stopped_at(world: &World, point: CrashPoint, args: &[&str]) -> Running {
    let mut command = world.command();
    let mut running = Running::start(command.env("CAIRN_STOP_AT", point.name()).args(args));
    let since = Instant::now();
    loop {
        if is_stopped(running.id()) {
            return running;
        }
        if !running.is_running() {
            panic!("{} is not reached\n{}", point.name(), running.wait().report());
        }
        assert!(since.elapsed() < patience(60), "{}", point.name());
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn go_on(mut running: Running) -> Run {
    running.signal(Signal::CONT);
    running.wait()
}

#[test]
fn whoever_has_lost_a_lock_stops_before_the_next_commit_point() {
    // Before the operation has its number nothing has happened, whatever became of the lock.
    type Lose = fn(&Path);
    let ways: [(&str, Lose, &str); 3] = [
        ("removed", |lock| fs::remove_file(lock).unwrap(), "was removed"),
        (
            "replaced",
            |lock| {
                fs::remove_file(lock).unwrap();
                fs::write(lock, "{}").unwrap();
            },
            "was replaced",
        ),
        (
            "given to another client",
            |lock| {
                let other = r#"{"host":"elsewhere","pid":7,"since":null,"command":"x"}"#;
                fs::write(lock, other).unwrap();
            },
            "the lock of production/9.7 was lost: it is held by",
        ),
    ];
    for (label, lose, said) in ways {
        let world = update_staged();
        let before = treecmp::digest(&world.production(LIVE));
        let lock = lock_of(&world, "ref-production+9.7");
        for point in
            [CrashPoint::StandbyMarked, CrashPoint::StandbySynced, CrashPoint::OperationWritten]
        {
            let holder = stopped_at(&world, point, &PROMOTE);
            lose(&lock);
            let run = go_on(holder).exits(11);
            assert!(run.err().contains(said), "{label}, {}\n{}", point.name(), run.report());
            assert!(run.err().contains("hint: "), "{}", run.report());
            assert_eq!(promotions(&world), 1, "{label}, {}", point.name());
            assert_eq!(treecmp::digest(&world.production(LIVE)), before, "{label}");
        }
        world.cairn(PROMOTE).ok();
        world.cairn(["fsck", "--full"]).ok();
        no_leftovers(&world, label);
    }
}

#[test]
fn a_second_writer_that_takes_a_lost_lock_over_is_not_overtaken_by_the_first() {
    for point in [
        CrashPoint::StandbyMarked,
        CrashPoint::StandbyChanged,
        CrashPoint::StandbySynced,
        CrashPoint::StandbyRecorded,
        CrashPoint::OperationWritten,
        CrashPoint::OperationIndexed,
    ] {
        let world = update_staged();
        let lock = lock_of(&world, "ref-production+9.7");
        let old = treecmp::digest(&world.production(LIVE));
        let first = stopped_at(&world, point, &PROMOTE);
        fs::remove_file(&lock).unwrap();
        // It goes on with what the first has begun, or finishes it, and then goes back.
        world.cairn(PROMOTE).ok();
        let new = treecmp::digest(&world.production(LIVE));
        assert_ne!(new, old, "{}", point.name());
        world.cairn(["rollback", "production/9.7"]).ok();
        assert_eq!(treecmp::digest(&world.production(LIVE)), old, "{}", point.name());
        let operations = promotions(&world);

        let run = go_on(first);
        assert_ne!(run.code(), Some(0), "{}\n{}", point.name(), run.report());
        assert_eq!(treecmp::digest(&world.production(LIVE)), old, "{}", point.name());
        assert_eq!(promotions(&world), operations, "{}", point.name());
        match point {
            // It had happened; only what was left of it is not done again.
            CrashPoint::OperationIndexed => {
                let run = run.exits(5);
                assert!(run.out().contains("was lost"), "{}", run.report());
            }
            // The tree that it was at work on was removed below its feet.
            CrashPoint::StandbyChanged => {}
            _ => {
                let run = run.exits(11);
                assert!(run.err().contains("was replaced"), "{}", run.report());
            }
        }
        world.cairn(["publish"]).ok();
        assert_eq!(treecmp::digest(&world.production(LIVE)), old, "{}", point.name());
        world.cairn(["fsck", "--full"]).ok();
        no_leftovers(&world, point.name());
    }
}

fn strace() -> Result<(), Unavailable> {
    let tool = || Unavailable::NoTool { tool: "strace".into() };
    let trial = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output();
    match trial.map_err(|_| tool())? {
        output if output.status.success() => Ok(()),
        output => Err(Unavailable::Refused {
            what: "strace".into(),
            reason: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
    }
}

/// Runs cairn below strace, which answers the n-th write through this lock with an error.
fn with_error(world: &World, lock: &Path, error: &str, nth: u32, args: &[&str]) -> Run {
    let cairn = world.command();
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "signal=none", "-o", "/dev/null", "-P"]).arg(lock);
    command.args(["-e", "trace=pwrite64", "-e"]);
    command.arg(format!("inject=pwrite64:error={error}:when={nth}"));
    command.arg(cairn.get_program()).args(cairn.get_args()).args(args);
    for (name, value) in cairn.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Run::of(&mut command)
}

/// Counts the writes of a command through a lock.
fn writes(world: &World, lock: &Path, args: &[&str]) -> usize {
    let trace = world.places().compose.join("trace");
    let cairn = world.command();
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "signal=none", "-e", "trace=pwrite64", "-P"]).arg(lock);
    command.arg("-o").arg(&trace).arg(cairn.get_program()).args(cairn.get_args()).args(args);
    Run::of(&mut command).ok();
    fs::read_to_string(&trace).unwrap().lines().filter(|line| line.contains("pwrite64(")).count()
}

#[test]
fn a_client_that_hears_of_a_lost_lock_at_any_write_stops_and_the_next_command_goes_on() {
    let Some(()) = available(strace()) else { return };
    // What the kernel's NFS client answers when the server has given the lock away; the first before
    // the record that marks the tree, the last before the operation's number. The swap is made by
    // another thread, and shown above.
    for (error, shown, nth) in [
        ("EIO", "Input/output error", 1),
        ("EIO", "Input/output error", 2),
        ("EIO", "Input/output error", 3),
        ("EIO", "Input/output error", 4),
        ("ESTALE", "Stale file handle", 4),
    ] {
        let world = update_staged();
        let lock = lock_of(&world, "ref-production+9.7");
        let old = treecmp::digest(&world.production(LIVE));
        let run = with_error(&world, &lock, error, nth, &PROMOTE).exits(11);
        for part in ["the lock of production/9.7 was lost", shown] {
            assert!(run.err().contains(part), "{error} {nth}\n{}", run.report());
        }
        assert_eq!(promotions(&world), 1, "{error} {nth}");
        assert_eq!(treecmp::digest(&world.production(LIVE)), old, "{error} {nth}");
        world.cairn(PROMOTE).ok();
        let staging = world.staging("mirror/pub/rocky/9.7-RC2");
        treecmp::assert_equal(&staging, &world.production(LIVE));
        world.cairn(["fsck", "--full"]).ok();
        no_leftovers(&world, error);
    }
    // However large the release is: two for the records, one with the tree open, one each for the
    // number, the swap and the tidying.
    let world = update_staged();
    assert_eq!(writes(&world, &lock_of(&world, "ref-production+9.7"), &PROMOTE), 6);
}

#[test]
fn a_full_disk_says_nothing_about_a_lock() {
    let Some(()) = available(strace()) else { return };
    let world = update_staged();
    world.cairn(PROMOTE).ok();
    let lock = lock_of(&world, "ref-production+9.7");
    for nth in 1..8 {
        with_error(&world, &lock, "ENOSPC", nth, &["rollback", "production/9.7"]).ok();
    }
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn a_collection_whose_lock_is_lost_removes_nothing_more() {
    let world = update_staged();
    world.cairn(PROMOTE).ok();
    let collect = ["gc", "--keep-last", "1", "--keep-within", "0s", "--grace", "0s"];
    // The first condemns, the second throws away.
    world.cairn(collect).ok();
    let before = world.json(["log"]);
    let collector = stopped_at(&world, CrashPoint::ObjectsForgotten, &collect);
    fs::remove_file(lock_of(&world, "store")).unwrap();
    let run = go_on(collector).exits(11);
    assert!(run.err().contains("the lock of the store was lost"), "{}", run.report());
    assert_eq!(world.json(["log"]), before, "nothing was taken out of the store");
    world.cairn(["fsck", "--full"]).ok();
    world.cairn(collect).ok();
    world.cairn(["fsck", "--full"]).ok();
}
