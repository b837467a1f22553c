//! `cairn approve`: people's words on one snapshot, and promotions that wait for them.

use cairn_testkit::{Run, World};
use serde_json::{Value, json};

use crate::world;

/// A world whose sample release is staged, and needs the approval of some people.
fn staged(lines: &str) -> World {
    let world = world();
    world.first();
    world.cairn(["init"]).ok();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.configure("gate.production", lines);
    world
}

/// Runs cairn as somebody who became this user through sudo.
#[track_caller]
fn as_person(world: &World, person: &str, args: &[&str]) -> Run {
    Run::of(world.command().env("SUDO_USER", person).args(args))
}

#[track_caller]
fn approve(world: &World, person: &str) {
    as_person(world, person, &["approve", "staging/9.7-RC2", "-m", "tested"]).ok();
}

fn people(approvals: &Value) -> Vec<&str> {
    approvals.as_array().unwrap().iter().map(|one| one["person"].as_str().unwrap()).collect()
}

#[test]
fn a_promotion_waits_for_as_many_people_as_are_asked_for() {
    let world = staged("approvals = 2");
    let promote = |person| as_person(&world, person, &["promote", "9", "--delete"]);
    let run = promote("carol").exits(4);
    let said = "needs the approval of 2 people and is approved by nobody (rule approvals)";
    assert!(run.err().contains(said), "{}", run.report());
    assert!(run.err().contains("cairn approve"), "{}", run.report());

    approve(&world, "alice");
    // The same person again, also as another user, is the same person.
    let again = as_person(&world, "alice", &["--json", "approve", "staging/9.7-RC2", "-m", "x"]);
    let again = again.ok().json();
    assert_eq!((&again["operation"], people(&again["approvals"])), (&Value::Null, vec!["alice"]));
    assert!(promote("carol").exits(4).err().contains("is approved by alice (rule"));
    // Whoever promotes does not count.
    approve(&world, "carol");
    let run = promote("carol").exits(4);
    assert!(run.err().contains("carol promotes it and does not count"), "{}", run.report());
    // A plan is shown, and says the same.
    let plan = as_person(&world, "carol", &["--json", "-n", "promote", "9", "--delete"]);
    let plan = plan.exits(4).json();
    assert_eq!(plan["approvals"][0]["counted"], 1);
    assert!(plan["refusals"][0].as_str().unwrap().contains("(rule approvals)"), "{plan:#}");

    approve(&world, "bob");
    let done = as_person(&world, "carol", &["--json", "promote", "9", "--delete"]).ok().json();
    let stand = &done["approvals"][0];
    assert_eq!((&stand["ref"], &stand["required"]), (&"production/9.7".into(), &2.into()));
    assert_eq!(people(&stand["approvals"]), ["alice", "carol", "bob"]);
    // The log keeps by whose word it went out.
    let shown = world.json(["show", &done["number"].to_string()]);
    let kept = &shown["details"]["approvals"]["production/9.7"];
    assert_eq!(
        (&kept["required"], people(&kept["approvals"])),
        (&2.into(), vec!["alice", "carol", "bob"])
    );
}

#[test]
fn a_snapshot_that_changed_since_is_not_approved() {
    let world = staged("approvals = 1");
    approve(&world, "alice");
    let before = world.json(["show", "staging/9.7-RC2"]);
    assert_eq!(people(&before["approvals"]), ["alice"]);
    world.second();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    let promote = || as_person(&world, "carol", &["promote", "9", "--delete"]);
    assert!(promote().exits(4).err().contains("is approved by nobody"));
    assert_eq!(world.json(["show", "staging/9.7-RC2"])["approvals"], json!([]));
    // What it was is approved still.
    world.cairn(["rollback", "staging/9.7-RC2"]).ok();
    assert_eq!(world.json(["show", "staging/9.7-RC2"])["snapshot"], before["snapshot"]);
    promote().ok();
}

#[test]
fn an_approval_is_a_word_in_the_log_and_can_be_taken_back() {
    let world = staged("approvals = 1");
    let args = ["--json", "approve", "staging/9.7-RC2", "-m", "booted it"];
    let plan = as_person(&world, "alice", &[&["-n"], &args[..]].concat()).ok().json();
    assert_eq!((&plan["operation"], &plan["dry_run"]), (&Value::Null, &true.into()));
    assert_eq!(people(&plan["approvals"]), ["alice"]);
    let log = world.json(["log"]);
    let done = as_person(&world, "alice", &args).ok().json();
    assert_eq!(done["schema"], "cairn.approve/1");
    assert_eq!((&done["person"], &done["withdrawn"]), (&"alice".into(), &false.into()));
    for key in ["refs", "views"] {
        assert_eq!(done[key], json!([]), "{key}");
    }
    assert_eq!(done["changed"]["files_added"], 0);
    let operations = world.json(["log"])["operations"].as_array().unwrap().len();
    assert_eq!(operations, log["operations"].as_array().unwrap().len() + 1);
    let row = &world.json(["log", "-N", "1"])["operations"][0];
    assert_eq!((&row["verb"], &row["reason"]), (&"approve".into(), &"booted it".into()));
    // status and show tell it.
    let status = world.json(["status"]);
    let refs = status["refs"].as_array().unwrap();
    let staged = refs.iter().find(|row| row["name"] == "staging/9.7-RC2").unwrap();
    assert_eq!(staged["approvals"], json!({"required": 1, "people": ["alice"]}));
    assert!(world.cairn(["status"]).ok().out().contains("approved by alice (1 of 1)"));
    let shown = world.cairn(["show", "staging/9.7-RC2"]).ok().out();
    assert!(shown.contains("  approved  alice  ") && shown.contains("  booted it\n"), "{shown}");
    // A damaged index is built again from the log, and knows it too.
    world.cairn(["fsck"]).ok();

    // Nobody takes back another's word.
    let withdraw = ["approve", "staging/9.7-RC2", "--withdraw", "-m", "it does not boot"];
    let run = as_person(&world, "bob", &withdraw).exits(4);
    assert!(run.err().contains("bob has not approved snapshot "), "{}", run.report());
    let out = as_person(&world, "alice", &withdraw).ok().out();
    assert!(out.contains("alice no longer approves staging/9.7-RC2 (snapshot "), "{out}");
    assert!(world.cairn(["status"]).ok().out().contains("approved by nobody (0 of 1)"));
    let promote = ["promote", "9", "--delete"];
    as_person(&world, "carol", &promote).exits(4);
    // A reason is asked for, and a snapshot that is there.
    as_person(&world, "alice", &["approve", "staging/9.7-RC2"]).exits(2);
    as_person(&world, "alice", &["approve", "staging/9.9", "-m", "x"]).exits(1);

    // In need, a reason does it, and the log says so.
    as_person(&world, "carol", &[&promote[..], &["--skip-gate", "approvals"]].concat()).exits(2);
    let need = [&promote[..], &["--skip-gate", "approvals", "-m", "the fix cannot wait"]].concat();
    as_person(&world, "carol", &need).ok();
    let row = &world.json(["log", "-N", "1"])["operations"][0];
    assert_eq!(row["skipped_gates"], json!(["approvals"]));
}

#[test]
fn the_promoters_own_approval_counts_where_the_configuration_says_so() {
    let world = staged("approvals = 1\nown_approval = true");
    approve(&world, "carol");
    as_person(&world, "carol", &["promote", "9", "--delete"]).ok();
    // Elsewhere nobody approves.
    let text = std::fs::read_to_string(world.config()).unwrap();
    world.set_config(&format!("{text}\n[gate.staging]\nrequire = []\napprovals = 1\n"));
    let run = world.cairn(["status"]).exits(2);
    assert!(run.err().contains("unknown key \"approvals\""), "{}", run.report());
}
