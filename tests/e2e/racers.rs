//! Somebody who may write where cairn works swaps directories for links to elsewhere, all the time.
//! Whatever becomes of the command, nothing elsewhere is changed, and nothing of it is published.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use cairn_testkit::{World, hostile, treecmp};

use crate::crashes::{small, update_staged};
use crate::world;

const LIVE: &str = "mirror/pub/rocky/9.7";
const SECRET: &str = "not part of any release";

/// Everything below a directory: types, modes, owners, links, times of content and inode, content.
fn state(dir: &Path) -> Vec<String> {
    let mut out = Vec::new();
    let mut ahead = vec![dir.to_owned()];
    while let Some(path) = ahead.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let content = match stat.is_file() {
            true => fs::read(&path).unwrap(),
            false => Vec::new(),
        };
        out.push(format!(
            "{path:?} {:o} {} {} {} {}.{} {}.{} {content:?}",
            stat.mode(),
            stat.uid(),
            stat.nlink(),
            stat.ino(),
            stat.mtime(),
            stat.mtime_nsec(),
            stat.ctime(),
            stat.ctime_nsec()
        ));
        if stat.is_dir() {
            let mut below: Vec<_> =
                fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
            below.sort();
            ahead.extend(below);
        }
    }
    out
}

/// A directory outside, which has what commands look for under every name that they might try.
fn elsewhere() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for below in ["rocky/9.7/BaseOS", "9.7/BaseOS", "pub/rocky/9.7/BaseOS", "BaseOS", "x86_64/os"] {
        fs::create_dir_all(dir.path().join(below)).unwrap();
        fs::write(dir.path().join(below).join("secret"), SECRET).unwrap();
    }
    fs::write(dir.path().join("secret"), SECRET).unwrap();
    dir
}

/// Promotes forth and back, collects and checks while `raced` is swapped; then all is as it should be.
#[track_caller]
fn nobody_is_led_out(world: &World, raced: &Path) {
    let outside = elsewhere();
    let before = state(outside.path());
    {
        let racer = hostile::SymlinkRacer::of(raced, outside.path());
        for _ in 0..6 {
            for args in [
                &["promote", "9", "--delete", "--allow-deletes", "100%"][..],
                &["lists"],
                &[
                    "gc",
                    "--keep-last",
                    "1",
                    "--keep-within",
                    "0s",
                    "--grace",
                    "0s",
                    "--trash",
                    "0s",
                ],
                &["rollback", "production/9.7", "--to", "production/9.7~1"],
                &["publish"],
                &["fsck", "--quick"],
            ] {
                let run = world.cairn(args);
                // Refused, pending, or damage found where a tree is not: but it ends by itself.
                let fine = [0, 1, 3, 4, 5, 13].contains(&run.code().unwrap_or(-1));
                assert!(fine && !run.err().contains("panicked"), "{args:?}\n{}", run.report());
            }
        }
        assert!(racer.rounds() > 100, "{} swaps", racer.rounds());
    }
    assert_eq!(state(outside.path()), before, "nothing elsewhere was touched");
    world.cairn(["publish"]).ok();
    world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%"]);
    world.cairn(["fsck", "--full"]).ok();
    let listed = world.cairn(["ls", "-R", "production/9.7"]).ok().out();
    assert!(!listed.contains("secret"), "{listed}");
    let live = world.production(LIVE);
    assert!(live.exists());
    treecmp::assert_equal(&live, &live);
}

#[test]
fn a_directory_above_a_view_that_is_swapped_for_a_link_leads_nobody_elsewhere() {
    for name in ["mirror", "mirror/pub", "mirror/pub/rocky"] {
        let world = update_staged();
        nobody_is_led_out(&world, &world.production(name));
    }
}

#[test]
fn a_published_directory_that_is_swapped_for_a_link_leads_nobody_elsewhere() {
    let world = update_staged();
    let outside = elsewhere();
    let before = state(outside.path());
    {
        let raced = world.production(LIVE).join("BaseOS");
        let racer = hostile::SymlinkRacer::of(&raced, outside.path());
        for _ in 0..6 {
            for args in [
                &["promote", "9", "--delete", "--allow-deletes", "100%"][..],
                &["rollback", "production/9.7", "--to", "production/9.7~1"],
                &[
                    "gc",
                    "--keep-last",
                    "1",
                    "--keep-within",
                    "0s",
                    "--grace",
                    "0s",
                    "--trash",
                    "0s",
                ],
                &["fsck", "--full"],
                &["fsck", "--repair"],
            ] {
                let run = world.cairn(args);
                let fine = [0, 1, 3, 4, 5, 13].contains(&run.code().unwrap_or(-1));
                assert!(fine && !run.err().contains("panicked"), "{args:?}\n{}", run.report());
            }
        }
        assert!(racer.rounds() > 100, "{} swaps", racer.rounds());
    }
    assert_eq!(state(outside.path()), before, "nothing elsewhere was touched");
}

#[test]
fn a_directory_of_a_compose_that_is_swapped_for_a_link_is_never_published() {
    let world = world();
    let written = small().write(&world.places().compose).unwrap();
    world.cairn(["init"]).ok();
    let outside = elsewhere();
    let before = state(outside.path());
    {
        let raced = written.dir.join("compose/BaseOS");
        let racer = hostile::SymlinkRacer::of(&raced, outside.path());
        for _ in 0..12 {
            for args in [
                &["ingest", world.latest().to_str().unwrap()][..],
                &["stage", "9", "Rocky", "--delete"],
                &["promote", "9", "--delete", "--allow-deletes", "100%"],
            ] {
                let run = world.cairn(args);
                let fine = [0, 1, 4, 5].contains(&run.code().unwrap_or(-1));
                assert!(fine && !run.err().contains("panicked"), "{args:?}\n{}", run.report());
            }
        }
        assert!(racer.rounds() > 100, "{} swaps", racer.rounds());
    }
    assert_eq!(state(outside.path()), before, "nothing elsewhere was touched");
    for mount in [world.staging(""), world.production("")] {
        assert!(!state(&mount).iter().any(|row| row.contains(SECRET) || row.contains("/secret\"")));
    }
}
