//! Operators beside each other: releases that are promoted at once, and signals in the middle.

use std::fs;
use std::path::PathBuf;

use cairn_testkit::sample::Compose;
use cairn_testkit::{CrashPoint, Signal, World, treecmp};

use crate::crashes::{no_leftovers, published, small, small_update, update_staged};
use crate::locks::stopped_at;
use crate::world;

const PROMOTE: [&str; 5] = ["promote", "9", "--delete", "--allow-deletes", "100%"];

/// Release 8 and 10 beside the sample's 9, each with what matters here.
fn releases() -> String {
    let release = |major: &str, version: &str, previous: &str| {
        format!(
            r#"
[release.{major}]
category = "rocky"
arches = ["x86_64"]
composes = ["Rocky"]
iso_types = ["BaseOS"]
repos = {{ plain = [], comps = ["BaseOS"], modules = [] }}
channel.stable = {{ version = "{version}", previous = "{previous}", staging_suffix = "-RC1" }}
"#
        )
    };
    release("8", "8.10", "8.9") + &release("10", "10.1", "10.0")
}

fn production(world: &World, version: &str) -> PathBuf {
    world.production(format!("mirror/pub/rocky/{version}"))
}

/// Takes an edition of all three releases to staging.
fn stage_all(world: &World, edition: usize) {
    let root = &world.places().compose;
    let date = ["20251101.0", "20251115.0"][edition];
    let nine = if edition == 0 { small() } else { small_update() };
    let other = |major, version| {
        let compose = Compose::new(major, "Rocky", version, date).packages_only();
        let bash = ["5.2-1", "5.2-2"][edition];
        compose.repo("BaseOS", "x86_64").package("bash", bash)
    };
    for compose in [other("8", "8.10"), nine, other("10", "10.1")] {
        let latest = compose.write(root).unwrap().latest;
        world.cairn(["ingest", latest.to_str().unwrap()]).ok();
    }
    for release in ["8", "9", "10"] {
        world.cairn(["stage", release, "Rocky", "--delete"]).ok();
    }
}

#[test]
fn a_promotion_that_stands_still_anywhere_keeps_no_other_release_waiting() {
    // Not where it holds the lists of the mount: those are everybody's, for a moment.
    for point in [
        CrashPoint::StandbyChanged,
        CrashPoint::StandbyRecorded,
        CrashPoint::OperationWritten,
        CrashPoint::OperationIndexed,
        CrashPoint::ViewSwapped,
        CrashPoint::ViewRecorded,
    ] {
        let world = world();
        world.set_config(&(world.places().config() + &releases()));
        world.cairn(["init"]).ok();
        stage_all(&world, 0);
        let all = ["promote", "8", "9", "10", "--delete", "--allow-deletes", "100%"];
        world.cairn(all).ok();
        stage_all(&world, 1);

        let mut nine = stopped_at(&world, point, &PROMOTE);
        for other in ["8", "10"] {
            let mut promote = PROMOTE;
            promote[1] = other;
            world.cairn(promote.iter().chain(&["--lock-wait", "0s"])).ok();
        }
        for (version, staged) in [("8.10", "8.10-RC1"), ("10.1", "10.1-RC1")] {
            let staged = world.staging(format!("mirror/pub/rocky/{staged}"));
            treecmp::assert_equal(&staged, &production(&world, version));
        }
        // The same release once more: one goes on, the other says who holds it since when.
        let busy = world.cairn(PROMOTE.iter().chain(&["--lock-wait", "0s"])).exits(11);
        let holder = format!("process {}", nine.id());
        for part in ["production/9.7 is busy", "held since 20", &holder, "promote 9"] {
            assert!(busy.err().contains(part), "{}: {part}\n{}", point.name(), busy.report());
        }
        nine.signal(Signal::CONT);
        nine.wait().ok();
        let staged = world.staging("mirror/pub/rocky/9.7-RC2");
        treecmp::assert_equal(&staged, &production(&world, "9.7"));
        let lists = world.json(["lists", "-n"]);
        let lists = lists["lists"].as_array().unwrap();
        assert!(lists.iter().all(|list| list["changed"] == false), "{}", point.name());
        world.cairn(["fsck", "--full"]).ok();
        no_leftovers(&world, point.name());
    }
}

#[test]
fn a_signal_in_the_middle_of_a_promotion_undoes_it_or_comes_too_late() {
    // Each in a world of its own: a tree that was whole when the signal was heard is kept, and the
    // next promotion has nothing left to change.
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let world = update_staged();
        let (live, log) = (production(&world, "9.7"), world.json(["log"]));
        let before = treecmp::digest(&live);
        let mut running = stopped_at(&world, CrashPoint::StandbyChanged, &PROMOTE);
        running.signal(signal);
        running.signal(Signal::CONT);
        let run = running.wait().exits(code);
        assert!(run.err().contains("interrupted"), "{}", run.report());
        assert_eq!(treecmp::digest(&live), before, "{code}");
        assert_eq!(world.json(["log"]), log, "{code}");
        no_leftovers(&world, &format!("after signal {}", code - 128));
        world.cairn(PROMOTE).ok();
        treecmp::assert_equal(&world.staging("mirror/pub/rocky/9.7-RC2"), &live);
        world.cairn(["fsck", "--full"]).ok();
    }
    // Once the operation is logged it is finished.
    let world = update_staged();
    let live = production(&world, "9.7");
    let mut running = stopped_at(&world, CrashPoint::OperationIndexed, &PROMOTE);
    running.signal(Signal::TERM);
    running.signal(Signal::CONT);
    let run = running.wait();
    assert!(matches!(run.code(), Some(0 | 143)), "{}", run.report());
    treecmp::assert_equal(&world.staging("mirror/pub/rocky/9.7-RC2"), &live);
    world.cairn(["fsck", "--full"]).ok();
    no_leftovers(&world, "after a signal that came too late");
}

#[test]
fn status_names_the_last_check_of_each_kind() {
    let world = world();
    published(&world);
    assert!(!world.cairn(["status"]).ok().out().contains("fsck"));
    world.cairn(["fsck"]).ok();
    let status = world.cairn(["status"]).ok();
    assert!(status.out().contains("Last quick fsck 20"), "{}", status.report());
    assert!(!status.out().contains("Last full fsck"), "{}", status.report());
    fs::write(production(&world, "9.7").join("NOTICE"), "x").unwrap();
    world.cairn(["fsck", "--full"]).exits(3);
    let status = world.json(["status"]);
    assert_eq!(status["fsck"]["full"]["warnings"], 1, "{status}");
    assert_eq!(status["fsck"]["quick"]["warnings"], 0, "{status}");
}
