//! Links beside the releases: `9` and `latest-9` lead to what was promoted, and move with it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use cairn_testkit::{CrashPoint, World};
use serde_json::Value;

use crate::crashes::{no_leftovers, published, small, small_update};
use crate::world;

const DIR: &str = "mirror/pub/rocky";
const NINE: &str = "link/production/mirror/pub/rocky/9";

/// The points that only a link comes to.
pub(crate) const POINTS: [CrashPoint; 3] =
    [CrashPoint::LinkPrepared, CrashPoint::LinkSwitched, CrashPoint::LinkSwitchSynced];

/// Has production links configured.
fn linked(world: World) -> World {
    let text = fs::read_to_string(world.config()).unwrap();
    let links = "production_links = [\"{major}\", \"latest-{major}\"]";
    assert!(text.contains("production_links = []"), "{text}");
    world.set_config(&text.replace("production_links = []", links));
    world
}

/// A store in which 9.7 is in production without links, and 9.8 is what is being made.
fn next_release() -> World {
    let world = world();
    published(&world);
    let world = linked(world);
    let text = fs::read_to_string(world.config()).unwrap();
    let (seven, eight) = ("\"9.7\", previous = \"9.6\"", "\"9.8\", previous = \"9.7\"");
    let text = text.replacen(seven, eight, 1);
    let betas =
        text.replace("channel.beta = { version = \"9.8\"", "channel.beta = { version = \"9.9\"");
    world.set_config(&betas);
    small_update().write(&world.places().compose).unwrap();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world
}

fn target(world: &World, name: &str) -> Option<String> {
    let link = world.production(DIR).join(name);
    let target = fs::read_link(link).ok()?;
    Some(target.to_str().unwrap().to_owned())
}

fn row<'a>(report: &'a Value, name: &str) -> &'a Value {
    let rows = report["links"].as_array().unwrap();
    rows.iter().find(|row| row["ref"] == name).unwrap_or_else(|| panic!("no {name} in {report}"))
}

fn log_length(world: &World) -> usize {
    fs::read_dir(world.places().store.join("log")).unwrap().count()
}

#[test]
fn production_links_switch_with_the_release_and_go_back_by_rollback() {
    let world = next_release();
    // The scripts' own, from before.
    symlink("9.7", world.production(DIR).join("9")).unwrap();

    let plan = world.json(["promote", "9", "--delete", "-n"]);
    assert_eq!(row(&plan, NINE)["old"], "9.7");
    assert_eq!(row(&plan, NINE)["target"], "9.8");
    assert_eq!(row(&plan, NINE)["switched"], false);
    assert_eq!(target(&world, "9").as_deref(), Some("9.7"), "a plan writes nothing");
    assert_eq!(target(&world, "latest-9"), None);
    assert!(!world.production(".cairn/links").exists());

    let before = log_length(&world);
    let done = world.json(["promote", "9", "--delete"]);
    assert_eq!(log_length(&world), before + 1, "all in one operation");
    assert_eq!(row(&done, NINE)["switched"], true);
    for name in ["9", "latest-9"] {
        assert_eq!(target(&world, name).as_deref(), Some("9.8"), "{name}");
    }
    let bash = world.production(DIR).join("9/BaseOS/x86_64/os/Packages/b");
    assert!(bash.join("bash-5.1.8-10.el9.x86_64.rpm").is_file());
    let listed = fs::read_to_string(world.production(DIR).join("fullfilelist")).unwrap();
    for name in ["./9", "./latest-9"] {
        assert!(listed.lines().any(|line| line == name), "{name} in\n{listed}");
    }
    let again = world.json(["promote", "9", "--delete"]);
    assert_eq!(again["operation"], Value::Null);
    assert_eq!(row(&again, NINE)["switched"], false);
    world.cairn(["fsck", "--full"]).ok();
    no_leftovers_but_links(&world, "after the promotion");

    // The configuration goes back to 9.7: only the links move, and the log has that.
    let text = fs::read_to_string(world.config()).unwrap();
    let back = text.replacen("\"9.8\", previous = \"9.7\"", "\"9.7\", previous = \"9.6\"", 1);
    world.set_config(&back);
    let done = world.json(["promote", "9", "--delete"]);
    assert_eq!(done["number"].as_u64().unwrap() as usize, before + 2);
    assert_eq!(target(&world, "9").as_deref(), Some("9.7"));
    assert_eq!(done["changed"]["files_changed"], 0);

    // And the link alone goes to where it led before, as every ref does.
    let done = world.json(["rollback", NINE]);
    assert_eq!(row(&done, NINE)["target"], "9.8");
    assert_eq!(target(&world, "9").as_deref(), Some("9.8"));
    assert_eq!(target(&world, "latest-9").as_deref(), Some("9.7"));
}

/// As [`no_leftovers`], with nothing prepared.
fn no_leftovers_but_links(world: &World, label: &str) {
    let prepared = world.production(".cairn/links");
    if prepared.exists() {
        assert_eq!(fs::read_dir(&prepared).unwrap().count(), 0, "{label}: a prepared link is left");
        fs::remove_dir(prepared).unwrap();
    }
    no_leftovers(world, label);
}

#[test]
fn what_is_not_a_link_to_a_release_is_never_replaced() {
    let world = next_release();
    let nine = world.production(DIR).join("9");
    type Make = fn(&Path);
    let strange: [(&str, Make); 4] = [
        ("a file", |nine| fs::write(nine, "kept").unwrap()),
        ("a directory", |nine| fs::create_dir(nine).unwrap()),
        ("a link elsewhere", |nine| symlink("/srv/other", nine).unwrap()),
        ("a link to something beside it", |nine| symlink("keys", nine).unwrap()),
    ];
    for (label, make) in strange {
        make(&nine);
        let before = fs::symlink_metadata(&nine).unwrap();
        let planned = world.cairn(["--json", "promote", "9", "--delete", "-n"]).exits(4);
        assert!(planned.json()["refusals"][0].as_str().unwrap().contains("/9: "), "{label}");
        let refused = world.cairn(["--json", "promote", "9", "--delete"]).exits(4).error_json();
        assert_eq!(refused["kind"], "occupied", "{label}: {refused}");
        assert!(refused["message"].as_str().unwrap().contains(nine.to_str().unwrap()), "{refused}");
        assert!(!world.production(DIR).join("9.8").exists(), "{label}: nothing was published");
        let after = fs::symlink_metadata(&nine).unwrap();
        use std::os::unix::fs::MetadataExt;
        assert_eq!((before.ino(), before.mtime()), (after.ino(), after.mtime()), "{label}");
        match after.is_dir() {
            true => fs::remove_dir(&nine).unwrap(),
            false => fs::remove_file(&nine).unwrap(),
        }
    }
    world.cairn(["promote", "9", "--delete"]).ok();
    assert_eq!(target(&world, "9").as_deref(), Some("9.8"));
}

#[test]
fn a_link_that_somebody_removed_or_turned_is_put_right_by_the_next_command() {
    let world = next_release();
    world.cairn(["promote", "9", "--delete"]).ok();
    let (nine, before) = (world.production(DIR).join("9"), log_length(&world));
    fs::remove_file(&nine).unwrap();
    let done = world.json(["publish"]);
    assert_eq!(row(&done, NINE)["switched"], true);
    assert_eq!(target(&world, "9").as_deref(), Some("9.8"));

    fs::remove_file(&nine).unwrap();
    symlink("9.7", &nine).unwrap();
    world.cairn(["promote", "9", "--delete"]).ok();
    assert_eq!(target(&world, "9").as_deref(), Some("9.8"));
    assert_eq!(log_length(&world), before, "no ref has moved");

    let state = || {
        let status = world.json(["status"]);
        let refs = status["refs"].as_array().unwrap();
        let row = refs.iter().find(|row| row["name"] == NINE).unwrap();
        assert_eq!(row["view"]["path"], "mirror/pub/rocky/9");
        row["view"]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(), "live");
    fs::remove_file(&nine).unwrap();
    assert_eq!(state(), "pending");
    world.cairn(["publish"]).ok();
    // Somebody's own stays, and is said.
    fs::remove_file(&nine).unwrap();
    fs::write(&nine, "mine").unwrap();
    let partial = world.cairn(["--json", "publish"]).exits(5).json();
    assert_eq!(partial["pending"][0], NINE);
    assert_eq!(state(), "unknown");
    assert_eq!(fs::read_to_string(&nine).unwrap(), "mine");
}

#[test]
fn a_kill_at_any_point_of_a_link_leaves_old_or_new_and_the_next_command_finishes_it() {
    let around =
        [CrashPoint::OperationLinked, CrashPoint::OperationIndexed, CrashPoint::ViewSwapped];
    for point in POINTS.into_iter().chain(around) {
        for (nth, next) in [(1, "publish"), (2, "again")] {
            // Two links are switched, and everything else happens once.
            let nth = if POINTS.contains(&point) { nth } else { 1 };
            let label = format!("{}:{nth}, then {next}", point.name());
            let world = next_release();
            symlink("9.7", world.production(DIR).join("9")).unwrap();
            world.crash_at(point, nth, ["promote", "9", "--delete"]).killed();
            for name in ["9", "latest-9"] {
                let found = target(&world, name);
                let allowed = [Some("9.8"), if name == "9" { Some("9.7") } else { None }];
                assert!(allowed.contains(&found.as_deref()), "{label}: {name} → {found:?}");
                // It leads somewhere at every moment.
                if found.is_some() {
                    let tree = world.production(DIR).join(name).join("BaseOS");
                    assert!(tree.is_dir(), "{label}: {name} leads nowhere");
                }
            }
            let logged = world.json(["status"])["refs"]
                .as_array()
                .unwrap()
                .iter()
                .any(|row| row["name"] == NINE);
            match next {
                "publish" => drop(world.cairn(["publish"]).ok()),
                _ => drop(world.cairn(["promote", "9", "--delete"]).ok()),
            }
            let expected = match (next, logged) {
                ("publish", false) => [Some("9.7"), None],
                _ => [Some("9.8"), Some("9.8")],
            };
            let found = ["9", "latest-9"].map(|name| target(&world, name));
            assert_eq!(found.each_ref().map(Option::as_deref), expected, "{label}");
            world.cairn(["fsck"]).ok();
            no_leftovers_but_links(&world, &label);
        }
    }
}

#[test]
fn links_wait_for_the_end_of_an_embargo() {
    let world = next_release();
    symlink("9.7", world.production(DIR).join("9")).unwrap();
    let done = world.json(["promote", "9", "--delete", "--embargo"]);
    assert_eq!(done.get("links"), None, "{done}");
    assert_eq!(target(&world, "9").as_deref(), Some("9.7"));
    world.cairn(["promote", "9", "--delete"]).ok();
    assert_eq!(target(&world, "9").as_deref(), Some("9.7"), "it is still under embargo");

    let plan = world.json(["open", "production/9.8", "-n"]);
    assert_eq!(row(&plan, NINE)["switched"], false);
    let before = log_length(&world);
    let done = world.json(["open", "production/9.8"]);
    assert_eq!(row(&done, NINE)["switched"], true);
    assert_eq!(log_length(&world), before + 1, "all in one operation");
    for name in ["9", "latest-9"] {
        assert_eq!(target(&world, name).as_deref(), Some("9.8"), "{name}");
    }
}

#[test]
fn links_lead_through_a_view_that_is_itself_a_link() {
    let world = linked(world());
    for mount in ["mounts.staging", "mounts.production"] {
        world.configure(mount, "swap = \"symlink\"");
    }
    small().write(&world.places().compose).unwrap();
    world.cairn(["init"]).ok();
    crate::crashes::publish(&world);
    assert_eq!(target(&world, "9").as_deref(), Some("9.7"));
    assert!(world.production(DIR).join("latest-9/BaseOS/x86_64/os/repodata/repomd.xml").is_file());
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn links_that_nobody_asks_for_any_more_are_named_and_go_when_that_is_wanted() {
    const LATEST: &str = "link/production/mirror/pub/rocky/latest-9";
    let world = next_release();
    world.cairn(["promote", "9", "--delete"]).ok();
    let text = fs::read_to_string(world.config()).unwrap();
    let fewer = text.replace("[\"{major}\", \"latest-{major}\"]", "[\"{major}\"]");
    assert_ne!(text, fewer);
    world.set_config(&fewer);
    let view = |name: &str| {
        let refs = world.json(["status"])["refs"].as_array().unwrap().clone();
        Some(refs.iter().find(|row| row["name"] == name)?["view"]["state"].clone())
    };
    assert_eq!(view(LATEST), Some("unconfigured".into()));
    assert_eq!(view(NINE), Some("live".into()));
    assert!(world.cairn(["status"]).ok().out().contains("cairn publish --remove-links"));

    // Publishing and planning leave it.
    let before = log_length(&world);
    world.cairn(["publish"]).ok();
    let noted = world.json(["publish", "-n"])["notes"].to_string();
    assert!(noted.contains(LATEST) && noted.contains("--remove-links"), "{noted}");
    let plan = world.json(["publish", "--remove-links", "-n"]);
    let row = serde_json::json!([{
        "ref": LATEST, "mount": "production", "path": "mirror/pub/rocky/latest-9", "old": "9.8",
    }]);
    assert_eq!((&plan["removed_links"], &plan["operation"]), (&row, &Value::Null));
    assert_eq!(target(&world, "latest-9").as_deref(), Some("9.8"));
    assert_eq!(log_length(&world), before);

    // A kill leaves a ref that the next run finishes.
    for point in [CrashPoint::LinkSwitched, CrashPoint::OperationLinked] {
        world.crash_at(point, 1, ["publish", "--remove-links"]).killed();
        assert_eq!(target(&world, "9").as_deref(), Some("9.8"));
    }
    world.cairn(["publish", "--remove-links"]).ok();
    assert_eq!((view(LATEST), target(&world, "latest-9")), (None, None));
    assert_eq!(log_length(&world), before + 1, "one operation, whoever finished it");
    let listed = fs::read_to_string(world.production(DIR).join("fullfilelist")).unwrap();
    assert!(!listed.lines().any(|line| line == "./latest-9"), "{listed}");
    let again = world.json(["publish", "--remove-links"]);
    assert_eq!((&again["operation"], again.get("removed_links")), (&Value::Null, None));
    world.cairn(["fsck", "--full"]).ok();
    no_leftovers_but_links(&world, "after the removal");

    // Configured again it comes again; what somebody put in its place stays when it goes.
    world.set_config(&text);
    world.cairn(["promote", "9", "--delete"]).ok();
    assert_eq!(target(&world, "latest-9").as_deref(), Some("9.8"));
    world.set_config(&fewer);
    let latest = world.production(DIR).join("latest-9");
    fs::remove_file(&latest).unwrap();
    symlink("/srv/other", &latest).unwrap();
    let done = world.json(["publish", "--remove-links", "-m", "9.8 is out"]);
    assert_eq!(done["removed_links"][0]["old"], Value::Null, "{done}");
    assert!(done["notes"].to_string().contains("only its ref goes"), "{done}");
    assert_eq!(target(&world, "latest-9").as_deref(), Some("/srv/other"));
    assert_eq!(view(LATEST), None);
}
