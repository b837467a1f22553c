//! Mounts that do not answer: a FUSE process that is stopped is what a dead server looks like.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cairn_testkit::filesystem::{FsKind, Loop};
use cairn_testkit::sample::Places;
use cairn_testkit::{CrashPoint, Run, Running, Signal, World, available, treecmp};

use crate::crashes::{no_leftovers, published, small_update};
use crate::locks::stopped_at;

const LIVE: &str = "mirror/pub/rocky/9.7";
const PROMOTE: [&str; 5] = ["promote", "9", "--delete", "--allow-deletes", "100%"];

/// A world whose production is a FUSE mount, and an update that is staged and not promoted.
struct Site {
    world: World,
    fuse: Fuse,
    _dir: tempfile::TempDir,
}

impl Site {
    fn new(limit: &str) -> Option<Self> {
        let fuse = Fuse::mount()?;
        let dir = tempfile::tempdir().unwrap();
        let mut places = Places::below(dir.path());
        places.production = fuse.mount.path().to_owned();
        let world = World::at(env!("CARGO_BIN_EXE_cairn"), places);
        world.configure("mounts.production", &format!("answer_within = \"{limit}\""));
        published(&world);
        small_update().write(&world.places().compose).unwrap();
        world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
        world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
        Some(Self { world, fuse, _dir: dir })
    }

    fn live(&self) -> String {
        treecmp::digest(&self.world.production(LIVE).canonicalize().unwrap())
    }

    fn staged(&self) -> String {
        treecmp::digest(&self.world.staging("mirror/pub/rocky/9.7-RC2"))
    }
}

/// A mount of bindfs and the process that serves it.
struct Fuse {
    pid: String,
    mount: Loop,
}

impl Fuse {
    fn mount() -> Option<Self> {
        let mount = available(Loop::new(FsKind::Bindfs, 0))?;
        let serves = |dir: &Path| {
            let line = fs::read(dir.join("cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0);
            words.next().is_some_and(|program| program.ends_with(b"bindfs"))
                && words.any(|word| word == mount.path().as_os_str().as_encoded_bytes())
        };
        let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let pid = all
            .filter(|dir| serves(dir))
            .find_map(|dir| Some(dir.file_name()?.to_str()?.to_owned()));
        Some(Self { pid: pid.expect("bindfs serves the mount"), mount })
    }

    fn signal(&self, signal: &str) {
        Run::of(Command::new("kill").args([signal, &self.pid])).ok();
    }

    fn hang(&self) {
        self.signal("-STOP");
        let stat = format!("/proc/{}/stat", self.pid);
        while !fs::read_to_string(&stat).unwrap().contains(") T ") {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn answer(&self) {
        self.signal("-CONT");
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        // A test that fails must not leave what hangs.
        self.answer();
    }
}

#[test]
fn a_mount_that_hangs_from_the_start_is_named_and_the_others_go_on() {
    let Some(site) = Site::new("2s") else { return };
    let (world, before) = (&site.world, site.live());
    site.fuse.hang();
    let said = "it has not answered for 2 s";
    let log = world.json(["log"]);
    let run = world.cairn(PROMOTE).exits(1);
    for part in ["mount production at", said, "hint: "] {
        assert!(run.err().contains(part), "{part}\n{}", run.report());
    }
    let error = world.cairn(["--json"].iter().chain(&PROMOTE)).exits(1).error_json();
    assert_eq!((&error["kind"], &error["code"]), (&"mount".into(), &1.into()));
    assert_eq!(world.json(["log"]), log);
    // What needs the mount waits for it once, and says what is left.
    let status = world.json(["status"]);
    assert!(status["mounts"].to_string().contains(said), "{status}");
    let run = world.cairn(["publish"]).exits(5);
    assert!(run.report().contains(said), "{}", run.report());
    let report = world.cairn(["--json", "fsck"]).exits(3).json();
    assert!(report.to_string().contains("mount-unavailable"), "{report}");
    world.cairn(["gc"]).exits(5);
    // Another mount is published to as ever.
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.cairn(["rollback", "staging/9.7-RC2"]).ok();
    world.cairn(["rollback", "staging/9.7-RC2"]).ok();
    // With --progress plain it is told who is waited for.
    let run = world.cairn(["--progress", "plain"].iter().chain(&PROMOTE)).exits(1);
    assert!(run.err().contains("Waiting for the mount production at"), "{}", run.report());

    site.fuse.answer();
    assert_eq!(site.live(), before);
    world.cairn(PROMOTE).ok();
    assert_eq!(site.live(), site.staged());
    world.cairn(["fsck", "--full"]).ok();
    no_leftovers(world, "after a mount that hung");
}

#[test]
fn a_mount_that_hangs_in_the_middle_ends_the_command_and_the_next_goes_on() {
    let Some(site) = Site::new("3s") else { return };
    let (world, before) = (&site.world, site.live());
    for point in [CrashPoint::StandbyMarked, CrashPoint::StandbyChanged] {
        let log = world.json(["log"]);
        let mut running = stopped_at(world, point, &PROMOTE);
        site.fuse.hang();
        running.signal(Signal::CONT);
        let run = running.wait().exits(1);
        for part in ["mount production at", "it has not answered for 3 s"] {
            assert!(run.err().contains(part), "{}: {part}\n{}", point.name(), run.report());
        }
        assert_eq!(world.json(["log"]), log, "{}", point.name());
        site.fuse.answer();
        assert_eq!(site.live(), before, "{}", point.name());
        world.cairn(["publish"]).ok();
        no_leftovers(world, point.name());
    }
    // After the operation has its number the others are finished, and this one is pending.
    let mut running = stopped_at(world, CrashPoint::OperationIndexed, &PROMOTE);
    site.fuse.hang();
    running.signal(Signal::CONT);
    let run = running.wait().exits(5);
    assert!(run.out().contains("it has not answered for 3 s"), "{}", run.report());
    site.fuse.answer();
    world.cairn(["publish"]).ok();
    assert_eq!(site.live(), site.staged());
    world.cairn(["fsck", "--full"]).ok();
    no_leftovers(world, "after the last");
}

#[test]
fn a_signal_ends_a_command_that_waits_for_a_mount() {
    let Some(site) = Site::new("1h") else { return };
    let world = &site.world;
    let log = world.json(["log"]);
    let end = |mut running: Running, signal, code| {
        running.signal(signal);
        let told = Instant::now();
        let run = running.wait().exits(code);
        assert!(told.elapsed() < Duration::from_secs(60), "it waits on");
        assert!(run.err().contains("interrupted"), "{}", run.report());
    };
    site.fuse.hang();
    let running = world.start(["--progress", "plain"].iter().chain(&PROMOTE));
    std::thread::sleep(Duration::from_millis(500));
    end(running, Signal::INT, 130);
    site.fuse.answer();
    assert_eq!(world.json(["log"]), log);

    let mut running = stopped_at(world, CrashPoint::StandbyMarked, &PROMOTE);
    site.fuse.hang();
    running.signal(Signal::CONT);
    std::thread::sleep(Duration::from_millis(500));
    end(running, Signal::TERM, 143);
    site.fuse.answer();
    assert_eq!(world.json(["log"]), log);
    world.cairn(PROMOTE).ok();
    assert_eq!(site.live(), site.staged());
    world.cairn(["fsck", "--full"]).ok();
    no_leftovers(world, "after signals");
}
