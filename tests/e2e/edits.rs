//! Production that somebody has edited by hand, and what a publication notices of it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cairn_testkit::sample::Compose;
use cairn_testkit::{World, treecmp};
use serde_json::Value;

use crate::crashes::{publish, published, stage_update, update_staged};
use crate::world;

const LIVE: &str = "mirror/pub/rocky/9.7";
const STAGED: &str = "mirror/pub/rocky/9.7-RC2";
const OS: &str = "BaseOS/x86_64/os";
const PROMOTE: [&str; 5] = ["promote", "9", "--delete", "--allow-deletes", "100%"];
const BACK: [&str; 2] = ["rollback", "production/9.7"];

fn live(world: &World) -> PathBuf {
    world.production(LIVE).canonicalize().unwrap()
}

/// The trees of the view that are not live. Where links are swapped, the live one lies there too.
fn kept(world: &World) -> Vec<PathBuf> {
    let dir = world.production(".cairn/views/production+9.7").canonicalize().unwrap();
    let live = live(world);
    let all = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut trees: Vec<_> =
        all.filter(|path| path.is_dir() && !path.is_symlink() && *path != live).collect();
    trees.sort();
    trees
}

fn quarantined(world: &World) -> usize {
    fs::read_dir(world.production(".cairn/quarantine")).map_or(0, Iterator::count)
}

/// Runs a command that must notice an edit, and returns what it says of it.
#[track_caller]
fn noticed(world: &World, args: &[&str], label: &str) -> Value {
    let plan = world.cairn(["--json", "-n"].iter().chain(args)).exits(3).json();
    let before = treecmp::digest(&live(world));
    assert_eq!(treecmp::digest(&live(world)), before, "{label}: a plan changes nothing");
    let run = world.cairn(["--json"].iter().chain(args)).exits(3);
    let done = run.json();
    let edited = done["views"][0]["edited"].clone();
    assert_eq!(edited, plan["views"][0]["edited"], "{label}: the plan says the same");
    assert_eq!(edited.as_array().unwrap().len(), 1, "{label}\n{edited}");
    assert!(done["notes"].to_string().contains("is not as it was published"), "{label}\n{done}");
    edited[0].clone()
}

type Edit = (&'static str, fn(&Path), &'static str);

const EDITS: [Edit; 7] = [
    (
        "a file more at the top",
        |tree| fs::write(tree.join("NOTICE"), "x").unwrap(),
        "NOTICE: it is not",
    ),
    (
        "metadata made anew",
        |tree| {
            let repomd = tree.join(OS).join("repodata/repomd.xml");
            let text = fs::read(&repomd).unwrap();
            fs::remove_file(&repomd).unwrap();
            fs::write(&repomd, text).unwrap();
        },
        "repodata/repomd.xml: its time was changed",
    ),
    (
        "a package less",
        |tree| {
            let dir = tree.join(OS).join("Packages/b");
            let bash = fs::read_dir(dir).unwrap().next().unwrap().unwrap().path();
            fs::remove_file(bash).unwrap();
        },
        ".rpm: it is missing",
    ),
    (
        "a package more",
        |tree| fs::write(tree.join(OS).join("Packages/b/hotfix.rpm"), "x").unwrap(),
        "hotfix.rpm: it is not in the snapshot",
    ),
    (
        "a directory less",
        |tree| fs::remove_dir_all(tree.join(OS).join("repodata")).unwrap(),
        "repodata: it is missing",
    ),
    (
        "a directory that is a file",
        |tree| {
            fs::remove_dir_all(tree.join(OS).join("repodata")).unwrap();
            fs::write(tree.join(OS).join("repodata"), "x").unwrap();
        },
        "repodata: it is of another kind",
    ),
    (
        "a mode",
        |tree| {
            let dir = tree.join(OS).join("repodata");
            fs::set_permissions(dir, Permissions::from_mode(0o700)).unwrap();
        },
        "repodata: mode 0700, not 0755",
    ),
];

#[test]
fn a_promotion_notices_what_was_edited_where_it_goes_and_never_brings_it_back() {
    for (label, edit, said) in EDITS {
        let world = update_staged();
        let before = treecmp::digest(&live(&world));
        edit(&live(&world));
        let edited = noticed(&world, &PROMOTE, label);
        assert_eq!(edited["live"], true, "{label}");
        assert!(edited["paths"].to_string().contains(said), "{label}\n{edited}");
        treecmp::assert_equal(&world.staging(STAGED), &live(&world));
        assert_eq!(quarantined(&world), 1, "{label}: it is set aside");
        // The way back is the snapshot's and not the editor's.
        world.cairn(BACK).ok();
        assert_eq!(treecmp::digest(&live(&world)), before, "{label}");
        world.cairn(["fsck", "--full"]).ok();
    }
}

#[test]
fn a_rollback_notices_what_was_edited_in_the_tree_that_it_would_bring_back() {
    for (label, edit, said) in EDITS {
        let world = update_staged();
        let before = treecmp::digest(&live(&world));
        world.cairn(PROMOTE).ok();
        let [tree] = &kept(&world)[..] else { panic!("{label}: one tree is kept") };
        edit(tree);
        let edited = noticed(&world, &BACK, label);
        assert_eq!(edited["live"], false, "{label}");
        assert!(edited["paths"].to_string().contains(said), "{label}\n{edited}");
        assert_eq!(treecmp::digest(&live(&world)), before, "{label}");
        assert_eq!(quarantined(&world), 1, "{label}: it is set aside");
        world.cairn(["fsck", "--full"]).ok();
    }
}

#[test]
fn nothing_is_built_on_a_standby_that_was_edited() {
    for (label, edit, _) in EDITS {
        let world = world();
        world.configure("mounts.production", "keep_trees = \"0s\"");
        published(&world);
        stage_update(&world);
        world.cairn(PROMOTE).ok();
        // The first tree is free by now; the compose of before comes again.
        let [tree] = &kept(&world)[..] else { panic!("{label}: one tree is kept") };
        edit(tree);
        let third = Compose::new("9", "Rocky", "9.7", "20251201.0").packages_only();
        let third = third.repo("BaseOS", "x86_64").package("bash", "5.1.8-11.el9");
        third.package("glibc", "2.34-231.el9").write(&world.places().compose).unwrap();
        world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
        world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
        let edited = noticed(&world, &PROMOTE, label);
        assert_eq!(edited["live"], false, "{label}");
        treecmp::assert_equal(&world.staging(STAGED), &live(&world));
        assert_eq!(quarantined(&world), 1, "{label}: it is set aside");
        world.cairn(["fsck", "--full"]).ok();
    }
}

#[test]
fn a_file_that_is_edited_in_place_is_noticed_where_the_promotion_replaces_it() {
    let world = update_staged();
    let repomd = world.production(LIVE).join(OS).join("repodata/repomd.xml");
    let mut text = fs::read(&repomd).unwrap();
    text.extend(b"<!-- by hand -->\n");
    fs::set_permissions(&repomd, Permissions::from_mode(0o644)).unwrap();
    fs::write(&repomd, text).unwrap();
    let edited = noticed(&world, &PROMOTE, "in place");
    assert!(edited["paths"].to_string().contains("repodata/repomd.xml: "), "{edited}");
    world.cairn(BACK).ok();
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn what_is_edited_where_no_publication_goes_is_found_by_the_quick_check() {
    let world = update_staged();
    let glibc = world.production(LIVE).join(OS).join("Packages/g");
    assert!(glibc.is_dir(), "the update does not touch glibc");
    fs::write(glibc.join("hotfix.rpm"), "x").unwrap();
    let found = world.cairn(["--json", "fsck", "--quick"]).exits(3).json();
    assert!(found["findings"].to_string().contains("hotfix.rpm"), "{found}");
    world.cairn(PROMOTE).ok();
    // It went with the tree that is kept.
    let found = world.cairn(["--json", "fsck", "--quick"]).exits(3).json();
    assert_eq!(found["findings"][0]["code"], "kept-tree-drift", "{found}");
    world.cairn(["fsck", "--repair"]);
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn times_alone_are_no_edit() {
    let world = update_staged();
    let tree = live(&world);
    // What a file that a reader kept open leaves behind on NFS: another time, and nothing else.
    for dir in [tree.clone(), tree.join(OS), tree.join(OS).join("repodata")] {
        let name = dir.join(".nfs0000000000000001");
        fs::write(&name, "x").unwrap();
        if dir != tree {
            fs::remove_file(&name).unwrap();
        }
    }
    world.cairn(PROMOTE).ok();
    assert_eq!(quarantined(&world), 0);
    world.cairn(BACK).ok();
    publish(&world);
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn a_promotion_that_changes_nothing_looks_at_the_root_only() {
    let world = update_staged();
    world.cairn(PROMOTE).ok();
    fs::write(world.production(LIVE).join("NOTICE"), "x").unwrap();
    let run = world.cairn(PROMOTE).exits(3);
    assert!(run.err().contains("NOTICE: it is not in the snapshot"), "{}", run.report());
    world.cairn(["fsck", "--repair"]);
    world.cairn(PROMOTE).ok();
    world.cairn(["fsck", "--full"]).ok();
}
