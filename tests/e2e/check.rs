//! `cairn check`, and promotions that its gates refuse: real damage is named, production stays.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_testkit::{Run, World, settle, treecmp};
use serde_json::Value;

use crate::world;

const PRODUCTION: &str = "mirror/pub/rocky/9.7";
const OS: &str = "BaseOS/x86_64/os";
const BASH: &str = "BaseOS/x86_64/os/Packages/b/bash-5.1.8-9.el9.x86_64.rpm";
const PROMOTE: [&str; 5] = ["promote", "9", "--delete", "--allow-deletes", "100%"];

/// A world whose sample release is staged.
fn staged() -> World {
    let world = world();
    world.first();
    world.cairn(["init"]).ok();
    stage(&world, &world.latest());
    world
}

#[track_caller]
fn stage(world: &World, dir: &Path) {
    let dir = dir.to_str().unwrap();
    world.cairn(["ingest", "--as", "compose/9/Rocky", dir]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
}

/// Stages a copy of the release with a fault in it.
#[track_caller]
fn stage_with(world: &World, fault: impl FnOnce(&Path)) {
    let copy = world.places().compose.join("9/Rocky-9.7-20251120.0");
    Run::of(Command::new("rm").arg("-rf").arg(&copy)).ok();
    let from = fs::canonicalize(world.latest()).unwrap();
    Run::of(Command::new("cp").arg("-a").args([&from, &copy])).ok();
    fault(&copy.join("compose"));
    // What is said of a file by one of its names would change while it is read.
    settle();
    stage(world, &copy);
}

/// What must not change when a promotion is refused.
fn state(world: &World) -> (Value, String) {
    (world.json(["log"]), treecmp::digest(&world.production(PRODUCTION)))
}

fn verdicts(gates: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let gates = gates.as_array().unwrap();
    gates.iter().map(|gate| (text(&gate["gate"]), text(&gate["verdict"]))).collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[test]
fn a_clean_release_passes_every_gate_and_says_so() {
    let world = staged();
    let checked = world.json(["check", "staging/9.7-RC2"]);
    assert_eq!(checked["schema"], "cairn.check/1");
    assert_eq!(checked["rev"], "staging/9.7-RC2");
    assert_eq!(checked["before"], Value::Null, "nothing is in production yet");
    // All gates: nothing is required of what is staged.
    let all = [
        ("repodata", "passed"),
        ("files-exist", "passed"),
        ("signatures", "skipped"),
        ("no-downgrade", "skipped"),
        ("no-loss", "skipped"),
        ("treeinfo", "passed"),
        ("no-rebuild", "skipped"),
        ("advisories-kept", "skipped"),
        ("streams-kept", "skipped"),
        ("comps-kept", "skipped"),
        ("deletions", "skipped"),
        ("closure", "passed"),
    ];
    assert_eq!(verdicts(&checked["gates"]), pairs(&all));
    let out = world.cairn(["check", "staging/9.7-RC2", "treeinfo", "repodata"]).ok().out();
    assert!(out.contains("treeinfo  passed  before: passed 20"), "when it was asked: {out}");
    let heads: Vec<&str> =
        out.lines().skip(1).filter_map(|line| line.split("  before: ").next()).collect();
    assert_eq!(heads, ["treeinfo  passed", "repodata  passed"], "in the order that was asked for");

    let required = [("repodata", "passed"), ("files-exist", "passed"), ("treeinfo", "passed")];
    let plan = world.json(["promote", "9", "-n"]);
    assert_eq!(plan["gates"][0]["ref"], "production/9.7");
    assert_eq!(verdicts(&plan["gates"][0]["gates"]), pairs(&required));
    let done = world.json(["promote", "9"]);
    assert_eq!(verdicts(&done["gates"][0]["gates"]), pairs(&required));
    let shown = world.json(["show", &done["number"].to_string()]);
    assert_eq!(verdicts(&shown["details"]["gates"]["production/9.7"]), pairs(&required));
    assert_eq!(shown["details"]["skipped_gates"], serde_json::json!([]));

    // What changes nothing asks nothing.
    let again = world.json(["promote", "9"]);
    assert_eq!((&again["operation"], &again["gates"]), (&Value::Null, &Value::Null));
    // Production is asked what it requires, by name and by id.
    let production = world.json(["check", "production/9.7"]);
    assert_eq!(verdicts(&production["gates"]), pairs(&required));
    let id = production["snapshot"].as_str().unwrap();
    assert_eq!(verdicts(&world.json(["check", &id[..12]])["gates"]), pairs(&required));
    assert_eq!(
        world.json(["-n", "check", "compose/9/Rocky", "repodata"])["rev"],
        "compose/9/Rocky"
    );
}

#[test]
fn the_update_of_the_sample_goes_back_and_loses_a_package() {
    let world = staged();
    world.cairn(PROMOTE).ok();
    world.second();
    stage(&world, &world.latest());
    let run = world.cairn(["check", "staging/9.7-RC2", "no-downgrade", "no-loss"]).exits(3);
    let out = run.out();
    for said in [
        "no-downgrade  failed  5 failures",
        "  downgraded  AppStream/x86_64/os: httpd.x86_64 goes back from 2.4.62-7.el9 to 2.4.57-11.el9",
        "no-loss  failed  5 failures",
        "  package-lost  BaseOS/source/tree: vim-minimal.src is in no version",
        "  remedy: package-lost: ",
    ] {
        assert!(out.contains(said), "{said:?}\n{}", run.report());
    }
    assert_eq!(
        world.json(["check", "staging/9.7-RC2", "repodata"])["before"],
        world.json(["check", "production/9.7"])["snapshot"]
    );
    // The configuration of the sample does not require them.
    world.cairn(PROMOTE).ok();
    // Once it does, the way back is refused for what the update brought.
    let text = fs::read_to_string(world.config()).unwrap();
    world.set_config(
        &text.replace("[\"repodata\", ", "[\"no-loss\", \"no-downgrade\", \"repodata\", "),
    );
    let first = world.places().compose.join("9/Rocky-9.7-20251101.0");
    stage(&world, &first);
    let run = world.cairn(PROMOTE).exits(4);
    let err = run.err();
    assert!(err.contains("the gate no-loss fails with 5 findings"), "{}", run.report());
    assert!(err.contains("bash.aarch64 goes back from 5.1.8-10.el9 to 5.1.8-9.el9"), "{err}");
    // Many findings: the rest is counted.
    assert!(err.contains(" more findings in production/9.7"), "{err}");
}

/// A fault in a compose; the gate and the rule that name it, and the path.
type Damage = (&'static str, &'static str, &'static str, fn(&Path));

const DAMAGES: &[Damage] = &[
    ("repodata", "package-size", BASH, |compose| fs::write(compose.join(BASH), "cut").unwrap()),
    ("repodata", "package-checksum", BASH, |compose| {
        let mut bytes = fs::read(compose.join(BASH)).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        replace(&compose.join(BASH), &bytes);
    }),
    ("repodata", "package-missing", BASH, |compose| fs::remove_file(compose.join(BASH)).unwrap()),
    ("repodata", "repomd-unreadable", "BaseOS/x86_64/os/repodata/repomd.xml", |compose| {
        let path = compose.join(OS).join("repodata/repomd.xml");
        let bytes = fs::read(&path).unwrap();
        replace(&path, &bytes[..bytes.len() / 2]);
    }),
    ("repodata", "rpms-without-repodata", "CRB/source", |compose| {
        fs::remove_dir_all(compose.join("CRB/source/tree/repodata")).unwrap();
    }),
    ("treeinfo", "treeinfo-checksum", "BaseOS/x86_64/os/.treeinfo", |compose| {
        replace(&compose.join(OS).join("images/boot.iso"), b"another image");
    }),
];

/// Replaces a file, whatever its links are.
fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn real_damage_is_found_and_production_stays_as_it_is() {
    let world = staged();
    world.cairn(PROMOTE).ok();
    for (gate, rule, path, fault) in DAMAGES {
        stage_with(&world, fault);
        refused(&world, gate, rule, path);
    }
    // A record that is not what repomd.xml says; its name is its checksum.
    let mut at = PathBuf::new();
    stage_with(&world, |compose| {
        let repodata = compose.join(OS).join("repodata");
        let mut names = fs::read_dir(&repodata).unwrap().map(|entry| entry.unwrap().path());
        let primary = names.find(|path| path.to_str().unwrap().contains("-primary.xml")).unwrap();
        let mut bytes = fs::read(&primary).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        replace(&primary, &bytes);
        at = primary.strip_prefix(compose).unwrap().to_owned();
    });
    refused(&world, "repodata", "record-checksum", at.to_str().unwrap());

    // Mended, it goes out.
    stage_with(&world, |compose| fs::write(compose.join("README"), "mended").unwrap());
    world.cairn(["check", "staging/9.7-RC2"]).ok();
    world.cairn(PROMOTE).ok();
}

#[test]
fn a_content_that_the_pools_have_lost_is_found() {
    let world = staged();
    world.cairn(PROMOTE).ok();
    stage_with(&world, |compose| fs::write(compose.join("README"), "a new file").unwrap());
    let object = blake3(&world.staging("mirror/pub/rocky/9.7-RC2/README"));
    let file = world.staging(".cairn/objects").join(&object[..2]).join(&object[2..]);
    fs::remove_file(&file).unwrap();
    refused(&world, "files-exist", "object-missing", "README");
    assert_eq!(world.cairn(["fsck"]).code(), Some(13), "fsck finds it too");
}

/// Asks the binary itself which object a staged file is.
fn blake3(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    cairn_store::id::ObjectId::of(&bytes).to_string()
}

/// Asserts that the staged tree is refused by one gate, rule and path, and that nothing moves.
#[track_caller]
fn refused(world: &World, gate: &str, rule: &str, path: &str) {
    let label = format!("{gate}/{rule} at {path}");
    let before = state(world);
    let run = Run::of(world.command().args(["--json", "check", "staging/9.7-RC2", gate])).exits(3);
    let checked = run.json();
    let found = &checked["gates"][0];
    assert_eq!(verdicts(&checked["gates"]), pairs(&[(gate, "failed")]), "{label}");
    let findings = found["findings"].as_array().unwrap();
    let finding = findings
        .iter()
        .find(|finding| finding["rule"] == rule && finding["path"] == path)
        .unwrap_or_else(|| panic!("{label}: {found:#}"));
    assert_eq!((&finding["gate"], &finding["severity"]), (&gate.into(), &"failure".into()));
    let [message, remedy] =
        ["message", "remedy"].map(|key| finding[key].as_str().unwrap().to_owned());
    assert!(findings.iter().all(|finding| finding["rule"] == rule), "{label}: {found:#}");

    let run = world.cairn(PROMOTE).exits(4);
    let line = format!("{path}: {message} ({gate}/{rule})");
    for said in [format!("  - {line}\n"), format!("  remedy: {rule}: {remedy}\n")] {
        assert!(run.err().contains(&said), "{label}: {said}\n{}", run.report());
    }
    assert!(run.err().contains(&format!("production/9.7: the gate {gate} fails")), "{label}");
    let run = Run::of(world.command().arg("--json").args(PROMOTE)).exits(4);
    let error = run.error_json();
    assert_eq!((&error["code"], &error["kind"]), (&4.into(), &"refused".into()), "{label}");
    assert_eq!(error["gates"][0]["ref"], "production/9.7", "{label}");

    // The plan is shown, and says the same.
    let run = Run::of(world.command().args(["--json", "-n"]).args(PROMOTE)).exits(4);
    let plan = run.json();
    assert!(plan["plan"][0]["files"].is_object(), "{label}");
    let refusals = plan["refusals"].as_array().unwrap();
    assert!(
        refusals.contains(&format!("production/9.7: {line}; {remedy}").into()),
        "{label}: {refusals:#?}"
    );
    assert!(state(world) == before, "{label}: something moved");
}

#[test]
fn a_gate_is_skipped_for_a_reason_which_the_log_keeps() {
    let world = staged();
    world.cairn(PROMOTE).ok();
    stage_with(&world, |compose| fs::write(compose.join(BASH), "cut").unwrap());
    let before = state(&world);
    let skip = |more: &[&str]| world.cairn(PROMOTE.iter().chain(more));
    for (more, said) in [
        (&["--skip-gate", "repodata"][..], "skipping the gate repodata needs a reason"),
        (&["--skip-gate", "repodata", "-m", " "], "skipping the gate repodata needs a reason"),
        (
            &["--skip-gate", "repodat", "-m", "why"],
            "unknown gate \"repodat\"; known: repodata, files-exist, signatures, no-downgrade, \
             no-loss, treeinfo, no-rebuild, advisories-kept, streams-kept, comps-kept, deletions, \
             closure",
        ),
    ] {
        let run = skip(more).exits(2);
        assert!(run.err().contains(said), "{}", run.report());
    }
    // Another gate's leave is not this one's.
    skip(&["--skip-gate", "treeinfo", "-m", "why"]).exits(4);
    assert!(state(&world) == before);
    let planned =
        skip(&["--skip-gate", "repodata", "-m", "the mirror of bash is known", "-n"]).ok();
    assert!(planned.out().contains("gates  repodata skipped, files-exist passed"), "{planned:?}");

    let arguments = ["--skip-gate", "repodata", "--skip-gate", "no-loss", "-m", "bash is known"];
    let run = skip(&arguments).ok();
    assert!(run.err().contains("The gate no-loss is not required"), "{}", run.report());
    let log = world.json(["log", "-N", "1"]);
    let operation = &log["operations"][0];
    assert_eq!(operation["skipped_gates"], serde_json::json!(["repodata"]));
    assert_eq!(operation["reason"], "bash is known");
    let number = operation["number"].to_string();
    for args in [&["log", "-N", "1"][..], &["show", &number]] {
        let out = world.cairn(args).ok().out();
        assert!(out.contains("    without the gates: repodata\n"), "{out}");
    }
    let shown = world.json(["show", &number]);
    let gates = &shown["details"]["gates"]["production/9.7"];
    let expected = [("repodata", "skipped"), ("files-exist", "passed"), ("treeinfo", "passed")];
    assert_eq!(verdicts(gates), pairs(&expected));
    assert_eq!(gates[0]["reason"], "the operator skipped it");

    // It is in production now: promoting it again changes nothing, and asks nobody.
    world.cairn(PROMOTE).ok();
    world.cairn(["check", "production/9.7"]).exits(3);
}

#[test]
fn what_cannot_be_asked_is_said() {
    let world = staged();
    let run = world.cairn(["check", "staging/9.7-RC2", "repodat"]).exits(2);
    assert!(run.err().contains("known: repodata, files-exist, "), "{}", run.report());
    world.cairn(["check", "staging/9.9", "repodata"]).exits(1);

    // A gate of one's own whose program is not there fails, and does not look as if it had passed.
    let text = fs::read_to_string(world.config()).unwrap();
    let text = text.replace("[\"repodata\", ", "[\"repodata\", \"own\", ");
    world.set_config(&(text + "[gate.own]\ncommand = [\"/nowhere/own\", \"{path}\"]\n"));
    let run = world.cairn(["check", "staging/9.7-RC2", "own", "treeinfo"]).exits(3);
    assert!(run.out().contains("own  failed  1 failure\n"), "{}", run.report());
    assert!(run.out().contains("  command-not-started  "), "{}", run.report());
    assert!(run.out().contains("treeinfo  passed\n"), "{}", run.report());
    let before = world.json(["log"]);
    let run = world.cairn(PROMOTE).exits(4);
    assert!(run.err().contains("the gate own fails"), "{}", run.report());
    assert_eq!(world.json(["log"]), before);
}
