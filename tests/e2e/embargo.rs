//! Release day: in place and closed, then open for all, by the mode of one directory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cairn_testkit::{CrashPoint, World};
use serde_json::Value;

use crate::crashes::{published, small, small_update};
use crate::filesystems::{PRODUCTION, assert_same, contents, files_below, real};
use crate::lists::{TimeList, check_roots, read_times};
use crate::world;

/// What only opening and closing in place comes to.
pub const POINTS: [CrashPoint; 1] = [CrashPoint::ViewRootSet];

const REF: &str = "production/9.7";

/// A world with the small release staged, nothing in production.
fn staged() -> World {
    let world = world();
    small().write(&world.places().compose).unwrap();
    world.cairn(["init"]).ok();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world
}

/// Stages the update.
fn updated(world: &World) {
    small_update().write(&world.places().compose).unwrap();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
}

fn mode(world: &World) -> u32 {
    fs::metadata(world.production(PRODUCTION)).unwrap().permissions().mode() & 0o7777
}

fn inodes(dir: &Path) -> BTreeMap<PathBuf, u64> {
    let dir = real(dir);
    files_below(&dir).into_iter().map(|p| (p.clone(), fs::metadata(&p).unwrap().ino())).collect()
}

fn list(world: &World) -> TimeList {
    read_times(&world.production("mirror/pub/rocky/fullfiletimelist-rocky"))
}

/// Checks every list by a naive walk, and that nothing is wrong with the store.
#[track_caller]
fn sound(world: &World) {
    let roots: [(&str, &[&str]); 2] = [
        ("", &["fullfilelist", "fullfiletimelist-rocky", "fullfiletimelist"]),
        ("mirror/pub/rocky", &["fullfilelist", "fullfiletimelist-rocky", "fullfiletimelist"]),
    ];
    check_roots(world, &roots, &[PRODUCTION]);
    world.cairn(["fsck"]).ok();
}

/// Asserts what the list says of the release's directory and of everything in it.
#[track_caller]
fn kinds(world: &World, root: &str, suffix: &str) {
    let list = list(world);
    assert_eq!(list.rows[&b"9.7"[..]].kind, root);
    let mut below = 0;
    for (path, row) in list.rows.iter().filter(|(path, _)| path.starts_with(b"9.7/")) {
        assert_eq!(&row.kind[1..], suffix, "{}", path.escape_ascii());
        below += 1;
    }
    assert!(below > 10, "{below} rows");
}

#[test]
fn a_release_is_placed_closed_and_opened_by_metadata_only() {
    let world = staged();
    let plan = world.json(["promote", "9", "--embargo", "-n"]);
    assert!(!world.production("mirror").exists());
    let told = world.cairn(["promote", "9", "--embargo", "-n"]).ok().out();
    assert!(told.starts_with("production/9.7  nothing → a new snapshot\n"), "{told}");
    assert!(plan["notes"].to_string().contains("under embargo"), "{plan}");
    world.cairn(["promote", "9", "--embargo", "-m", "9.7 in place"]).ok();
    assert_eq!(mode(&world), 0o750);
    kinds(&world, "d-", "*");
    sound(&world);
    let embargoed = |world: &World| {
        let rows = world.json(["status"])["refs"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["name"] == REF).unwrap()["embargoed"].clone()
    };
    assert_eq!(embargoed(&world), true);
    assert!(world.cairn(["status"]).ok().out().contains("live, under embargo"));
    let (tree, files) =
        (contents(&world.production(PRODUCTION)), inodes(&world.production(PRODUCTION)));
    let closed = world.json(["show", REF]);

    // The plan names the mode, and changes nothing.
    let plan = world.json(["open", REF, "-n"]);
    assert_eq!(plan["views"][0]["source"], "live");
    assert_eq!(plan["views"][0]["mode"], serde_json::json!({ "old": 0o750, "new": 0o755 }));
    assert_eq!((&plan["operation"], mode(&world)), (&Value::Null, 0o750));
    let told = world.cairn(["open", REF, "-n"]).ok().out();
    assert!(told.contains("mode 0750 → 0755"), "{told}");

    let done = world.json(["open", REF, "-m", "release day"]);
    assert_eq!(done["views"][0]["swapped"], true);
    assert_eq!(done["changed"]["files_changed"], 0);
    assert!(done["lists"].as_array().unwrap().iter().any(|list| list["changed"] == true));
    assert_eq!(mode(&world), 0o755);
    assert_same(&tree, &contents(&world.production(PRODUCTION)));
    assert_eq!(files, inodes(&world.production(PRODUCTION)), "no inode is another one");
    kinds(&world, "d", "");
    sound(&world);
    assert_eq!(embargoed(&world), false);
    let log = world.json(["log"]);
    assert_eq!(log["operations"][0]["reason"], "release day");
    assert_eq!(world.json(["show", REF])["root"]["tree"], closed["root"]["tree"]);

    // Again it is nothing; and a rollback closes it.
    assert_eq!(world.json(["open", REF])["operation"], Value::Null);
    let back = world.json(["rollback", REF]);
    assert_eq!(back["views"][0]["mode"], serde_json::json!({ "old": 0o755, "new": 0o750 }));
    assert_eq!(mode(&world), 0o750);
    assert_eq!(files, inodes(&world.production(PRODUCTION)));
    kinds(&world, "d-", "*");
    sound(&world);
}

#[test]
fn an_embargo_lasts_until_it_is_opened_whatever_is_promoted() {
    let world = staged();
    world.cairn(["promote", "9", "--embargo"]).ok();
    let first = contents(&world.production(PRODUCTION));
    updated(&world);
    let exact = ["promote", "9", "--delete", "--allow-deletes", "100%"];
    world.cairn(exact).ok();
    assert_eq!(mode(&world), 0o750);
    let second = contents(&world.production(PRODUCTION));
    assert!(first != second, "the update changes something");
    kinds(&world, "d-", "*");
    world.cairn(["open", REF]).ok();
    assert_eq!(mode(&world), 0o755);
    kinds(&world, "d", "");
    sound(&world);

    // A kept tree of the time of the embargo comes back closed, and one of after it open.
    world.cairn(["rollback", REF, "--to", "production/9.7~2"]).ok();
    assert_eq!(mode(&world), 0o750);
    assert_same(&first, &contents(&world.production(PRODUCTION)));
    sound(&world);
    world.cairn(["rollback", REF, "--to", "production/9.7~1"]).ok();
    assert_eq!(mode(&world), 0o755);
    assert_same(&second, &contents(&world.production(PRODUCTION)));
    sound(&world);
    // The tree that was open is the one of the embargo too, but for the mode of its root.
    world.cairn(["rollback", REF, "--to", "production/9.7~3"]).ok();
    assert_eq!(mode(&world), 0o750);
    assert_same(&second, &contents(&world.production(PRODUCTION)));
    sound(&world);
    world.cairn(["rollback", REF, "--to", "production/9.7~1"]).ok();
    assert_eq!(mode(&world), 0o755);

    // What is open is closed by word of the operator only, who is told.
    let told = world.json(["promote", "9", "--embargo", "-n"]);
    assert!(told["notes"].to_string().contains("is open to all, and this closes it"), "{told}");
    assert_eq!(mode(&world), 0o755);
    world.cairn(["promote", "9"]).ok();
    assert_eq!(mode(&world), 0o755);
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn opening_by_symbolic_links_is_the_same() {
    let world = world();
    world.configure("mounts.production", "swap = \"symlink\"");
    small().write(&world.places().compose).unwrap();
    world.cairn(["init"]).ok();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.cairn(["promote", "9", "--embargo"]).ok();
    let link = fs::read_link(world.production(PRODUCTION)).unwrap();
    assert_eq!(mode(&world), 0o750);
    kinds(&world, "d-", "*");
    world.cairn(["open", REF]).ok();
    assert_eq!(mode(&world), 0o755);
    kinds(&world, "d", "");
    assert_eq!(fs::read_link(world.production(PRODUCTION)).unwrap(), link);
    world.cairn(["fsck"]).ok();
}

#[test]
fn staging_and_what_is_not_there_is_not_opened() {
    let world = staged();
    let error = |args: &[&str], code: i32| -> Value {
        world.cairn(["--json"].iter().chain(args)).exits(code).error_json()
    };
    for name in ["staging/9.7-RC2", "compose/9/Rocky", "production/9"] {
        let error = error(&["open", name], 2);
        assert_eq!(error["message"], format!("{name}: it is no release and no sig in production"));
    }
    assert_eq!(error(&["open", "production/9.7"], 1)["kind"], "unknown-ref");
    // A compose that was written with a tight umask is no embargo.
    let root = world.latest().join("compose");
    fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).unwrap();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.cairn(["promote", "9"]).ok();
    assert_eq!(mode(&world), 0o755);
    assert!(world.json(["open", REF])["notes"].to_string().contains("is open already"));
    // And one with a loose umask is closed as any other.
    fs::set_permissions(&root, fs::Permissions::from_mode(0o775)).unwrap();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.cairn(["promote", "9", "--embargo"]).ok();
    assert_eq!(mode(&world), 0o750);
    world.cairn(["open", REF]).ok();
    assert_eq!(mode(&world), 0o755);
    sound(&world);
}

#[test]
fn a_repair_finishes_an_opening_that_was_killed() {
    for point in [CrashPoint::OperationLogged, CrashPoint::ViewRootSet] {
        let world = staged();
        world.cairn(["promote", "9", "--embargo"]).ok();
        let files = inodes(&world.production(PRODUCTION));
        world.crash_at(point, 1, ["open", REF]).killed();
        let found = world.cairn(["fsck", "--json"]).exits(3);
        assert!(found.out().contains("view-pending"), "{}", found.report());
        world.cairn(["fsck", "--repair"]).ok();
        assert_eq!(mode(&world), 0o755, "{}", point.name());
        assert_eq!(inodes(&world.production(PRODUCTION)), files, "the tree stayed where it was");
        world.cairn(["lists"]).ok();
        sound(&world);
    }
}

/// A kill leaves it closed or open, whole either way, and the next command finishes or forgets.
#[test]
fn a_kill_while_it_is_opened_leaves_it_closed_or_open_and_whole() {
    let world = world();
    published(&world);
    world.cairn(["promote", "9", "--embargo"]).ok();
    let tree = contents(&world.production(PRODUCTION));
    let mut hit = 0;
    for point in CrashPoint::ALL.iter().copied() {
        let snapshot = |world: &World| {
            let status = world.json(["status"]);
            let rows = status["refs"].as_array().unwrap().clone();
            rows.into_iter().find(|row| row["name"] == REF).unwrap()
        };
        let before = snapshot(&world)["snapshot"].clone();
        let run = world.crash_at(point, 1, ["open", REF]);
        if run.signal() != Some(9) {
            run.ok();
            assert_eq!(mode(&world), 0o755, "{}", point.name());
        } else {
            hit += 1;
            assert!([0o750, 0o755].contains(&mode(&world)), "{}", point.name());
            assert_same(&tree, &contents(&world.production(PRODUCTION)));
            let logged = snapshot(&world)["snapshot"] != before;
            let found = world.cairn(["fsck", "--json"]);
            let text = found.out();
            assert!(!text.contains("view-drift"), "{}: {text}", point.name());
            if point == CrashPoint::ViewRootSet {
                assert!(logged && text.contains("view-pending"), "{text}");
            }
            world.cairn(["publish"]).ok();
            assert_eq!(mode(&world), if logged { 0o755 } else { 0o750 }, "{}", point.name());
            sound(&world);
            world.cairn(["open", REF]).ok();
        }
        assert_eq!(mode(&world), 0o755, "{}", point.name());
        assert_eq!(snapshot(&world)["view"]["state"], "live", "{}", point.name());
        world.cairn(["rollback", REF]).ok();
        assert_eq!(mode(&world), 0o750, "{}", point.name());
    }
    assert!(hit >= 8, "{hit} points");
    sound(&world);
}
