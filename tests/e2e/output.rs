//! What scripts and people read: documents, records of failure, texts, completions, manual pages.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::crashes::{published, small_update, twice_published};
use crate::world;

#[track_caller]
fn has_keys(value: &Value, keys: &[&str]) {
    let found: BTreeSet<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    let missing: Vec<_> = keys.iter().filter(|key| !found.contains(*key)).collect();
    assert!(missing.is_empty(), "{missing:?} of {keys:?} in\n{value:#}");
}

/// Asserts what every mutating verb reports.
#[track_caller]
fn is_report(report: &Value, schema: &str) {
    assert_eq!(report["schema"], schema, "{report:#}");
    has_keys(report, &["operation", "refs", "changed", "views", "dry_run"]);
    let counts = ["files_added", "files_changed", "files_removed", "bytes_added"];
    has_keys(&report["changed"], &counts);
    for count in counts {
        assert!(report["changed"][count].is_u64(), "{report:#}");
    }
    for row in report["refs"].as_array().unwrap() {
        has_keys(row, &["name", "old", "new"]);
    }
    for view in report["views"].as_array().unwrap() {
        has_keys(view, &["ref", "mount", "path", "strategy", "swapped"]);
    }
    match &report["operation"] {
        Value::Null => {}
        Value::String(id) => assert!(is_id(id), "{id}"),
        other => panic!("operation: {other}"),
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[test]
fn every_mutating_verb_reports_one_document_with_the_contract_s_keys() {
    let world = world();
    published(&world);
    let written = small_update().write(&world.places().compose).unwrap();
    let latest = written.latest.to_str().unwrap().to_owned();
    let promote = ["promote", "9", "--delete", "--allow-deletes", "100%"];

    let init = world.json(["init"]);
    assert_eq!(init["schema"], "cairn.init/1");
    has_keys(&init, &["operation", "refs", "store", "id", "mounts"]);
    for mount in init["mounts"].as_array().unwrap() {
        has_keys(mount, &["name", "path", "swap", "link", "reflink", "hardlink", "exchange"]);
    }

    for (verb, args, moved) in [
        ("ingest", &["ingest", latest.as_str()][..], Some("compose/9/Rocky")),
        ("stage", &["stage", "9", "Rocky", "--delete"], Some("staging/9.7-RC2")),
        ("promote", &promote, Some("production/9.7")),
        ("rollback", &["rollback", "production/9.7"], Some("production/9.7")),
        ("publish", &["publish"], None),
        ("lists", &["lists"], None),
    ] {
        let schema = format!("cairn.{verb}/1");
        let plan = world.json([args, &["-n"]].concat());
        is_report(&plan, &schema);
        assert_eq!((&plan["operation"], &plan["dry_run"]), (&Value::Null, &true.into()));

        let report = world.json(args);
        is_report(&report, &schema);
        let Some(name) = moved else {
            assert_eq!(report["operation"], Value::Null, "{verb}");
            continue;
        };
        assert_eq!(report["refs"][0]["name"], name);
        assert!(is_id(report["operation"].as_str().unwrap()));
        assert!(is_id(report["refs"][0]["old"].as_str().unwrap()), "{report:#}");
        assert!(is_id(report["refs"][0]["new"].as_str().unwrap()), "{report:#}");
        if verb != "ingest" {
            assert_eq!(report["views"][0]["ref"], name);
            assert_eq!(report["views"][0]["swapped"], true, "{report:#}");
            assert_eq!(plan["changed"], report["changed"], "{verb}: the plan is exact");
        }
        // Again is nothing, but for a rollback, which goes on.
        if verb != "rollback" {
            let again = world.json(args);
            is_report(&again, &schema);
            assert_eq!(again["operation"], Value::Null, "{again:#}");
            assert_eq!(again["refs"][0]["old"], again["refs"][0]["new"], "{again:#}");
        }
    }
}

#[test]
fn every_reading_command_prints_one_document() {
    let world = twice_published();
    let log = world.json(["log"]);
    assert_eq!(log["schema"], "cairn.log/1");
    let operations = log["operations"].as_array().unwrap();
    assert_eq!(operations.len(), 6);
    for operation in operations {
        let keys = ["number", "id", "parent", "time", "user", "host", "command", "reason", "refs"];
        has_keys(operation, &keys);
        has_keys(&operation["refs"][0], &["name", "old", "new"]);
        let time = operation["time"].as_str().unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    }
    assert_eq!(world.json(["log", "-N", "2"])["operations"].as_array().unwrap().len(), 2);
    let of_ref = world.json(["log", "staging/9.7-RC2"]);
    let numbers: Vec<_> =
        of_ref["operations"].as_array().unwrap().iter().map(|o| &o["number"]).collect();
    assert_eq!(numbers, [5, 2]);

    let files = world.json(["diff", "production/9.7~1", "production/9.7"]);
    assert_eq!(files["schema"], "cairn.diff/1");
    has_keys(&files["files"], &["added", "removed", "changed"]);
    let added = files["files"]["added"].as_array().unwrap();
    assert!(added.iter().all(Value::is_string), "paths are strings: {added:?}");
    let ripgrep = "BaseOS/x86_64/os/Packages/r/ripgrep-14.1.1-1.el9.x86_64.rpm";
    assert!(added.iter().any(|path| path == ripgrep), "{added:#?}");

    let packages = world.json(["diff", "production/9.7~1", "production/9.7", "--by", "packages"]);
    has_keys(&packages, &["files", "packages"]);
    let packages = &packages["packages"];
    has_keys(packages, &["added", "removed", "upgraded", "downgraded", "rebuilt"]);
    let upgraded = &packages["upgraded"][0];
    has_keys(upgraded, &["repo", "name", "arch"]);
    assert_eq!(upgraded["name"], "bash");
    let text = upgraded.to_string();
    assert!(text.contains("5.1.8-9.el9") && text.contains("5.1.8-10.el9"), "{text}");
    assert_eq!(packages["added"][0]["name"], "ripgrep");
    assert_eq!(packages["removed"][0]["name"], "zlib");

    for (args, schema, keys) in [
        (&["status"][..], "cairn.status/1", &["store", "operations", "refs", "mounts"][..]),
        (&["show", "production/9.7"], "cairn.show/1", &["snapshot", "refs", "parents", "time"]),
        (&["show", "3"], "cairn.show/1", &["operation", "changed"]),
        (&["ls", "production/9.7"], "cairn.ls/1", &["snapshot", "entries"]),
        (&["fsck"], "cairn.fsck/1", &["findings", "operations", "packs", "objects"]),
        (&["config", "show"], "cairn.config-show/1", &["path", "toml"]),
        (&["config", "check"], "cairn.config-check/1", &["path", "problems"]),
        (
            &["diff", "production/9.7~1", "production/9.7", "--by", "metadata"],
            "cairn.diff/1",
            &["old", "new", "different"],
        ),
    ] {
        let document = world.json(args);
        assert_eq!(document["schema"], schema);
        has_keys(&document, keys);
        let text = world.cairn([&["--json"], args].concat()).ok();
        assert!(text.out().starts_with("{\n  \"schema\": "), "{}", text.report());
        assert_eq!(text.err(), "", "a document needs no talk");
    }
}

#[test]
fn a_failure_with_json_is_a_record_on_the_last_line_of_stderr() {
    let world = twice_published();
    let fresh = crate::world();
    let missing = world.places().compose.join("no-such-compose");
    let missing = missing.to_str().unwrap();
    for (world, args, code, kind) in [
        (&fresh, &["status"][..], 10, "no-store"),
        (&world, &["ls", "vault/9.6"], 1, "unknown-ref"),
        (&world, &["show", "production/9.7~9"], 1, "unknown-rev"),
        (&world, &["ls", "production/9.7:no/such"], 1, "no-such-path"),
        (&world, &["ls", "no good"], 2, "bad-ref-name"),
        (&world, &["promote", "9-foo"], 2, "unknown-name"),
        (&world, &["promote", "9-beta"], 4, "refused"),
        (&world, &["ingest", missing], 1, "io"),
        (&world, &["cat", "production/9.7:BaseOS"], 2, "usage"),
        (&world, &["--lock-wait", "soon", "publish"], 2, "usage"),
        // What clap finds out is no exception.
        (&world, &["promote"], 2, "usage"),
        (&world, &["frobnicate"], 2, "usage"),
        (&world, &["log", "--frobnicate"], 2, "usage"),
    ] {
        let run = world.cairn([&["--json"], args].concat()).exits(code);
        assert_eq!(run.out(), "", "{}", run.report());
        let error = run.error_json();
        assert_eq!(
            (&error["type"], &error["code"], &error["kind"]),
            (&"error".into(), &code.into(), &kind.into()),
            "{}",
            run.report()
        );
        has_keys(&error, &["message", "causes", "hint"]);
        assert!(!error["message"].as_str().unwrap().is_empty());
        // For people the same is a sentence, without a trace of a panic.
        let text = world.cairn(args).exits(code).err();
        assert!(text.starts_with("error: "), "{text}");
        assert!(!text.contains("panicked") && !text.contains("bug:"), "{text}");
    }
}

#[test]
fn quiet_says_nothing_and_still_prints_what_was_asked_for() {
    let world = world();
    published(&world);
    small_update().write(&world.places().compose).unwrap();
    let latest = world.latest();
    for args in [
        &["ingest", latest.to_str().unwrap()][..],
        &["stage", "9", "Rocky", "--delete"],
        &["promote", "9", "--delete", "--allow-deletes", "100%"],
        &["rollback", "production/9.7"],
        &["publish"],
        &["lists"],
        &["fsck"],
        &["init"],
    ] {
        let run = world.cairn([&["-q"], args].concat()).ok();
        assert_eq!((run.out().as_str(), run.err().as_str()), ("", ""), "{args:?}");
    }
    let cat = world.cairn(["-q", "cat", "production/9.7:BaseOS/x86_64/os/.discinfo"]).ok();
    assert!(!cat.stdout.is_empty());
    let json = world.cairn(["-q", "--json", "status"]).ok().json();
    assert_eq!(json["schema"], "cairn.status/1");
    // An error is said all the same.
    assert!(world.cairn(["-q", "ls", "vault/9.6"]).exits(1).err().starts_with("error: "));
}

#[test]
fn colour_comes_when_it_is_wanted_and_only_then() {
    let world = twice_published();
    for args in [&["status"][..], &["log"], &["diff", "production/9.7~1", "production/9.7"]] {
        let plain = world.cairn(args).ok().out();
        assert!(!plain.contains('\x1b'), "a pipe has no colour: {plain}");
        let never = world.cairn([&["--color", "never"], args].concat()).ok().out();
        assert_eq!(plain, never);
        let always = world.cairn([&["--color", "always"], args].concat()).ok().out();
        assert!(always.contains('\x1b'), "{always}");
        let mut text = String::new();
        let mut escape = false;
        for c in always.chars() {
            match (escape, c) {
                (false, '\x1b') => escape = true,
                (true, 'm') => escape = false,
                (true, _) => {}
                (false, c) => text.push(c),
            }
        }
        assert_eq!(text, plain, "colour changes nothing else");
    }
    let json = world.cairn(["--color", "always", "--json", "status"]).ok();
    assert!(!json.out().contains('\x1b'));
}

#[test]
fn completions_manual_pages_and_help_cover_every_command() {
    let world = world();
    let commands = [
        "init",
        "ingest",
        "stage",
        "promote",
        "rollback",
        "publish",
        "lists",
        "status",
        "log",
        "show",
        "ls",
        "cat",
        "diff",
        "fsck",
        "config",
        "toolkit",
        "demo",
        "completion",
        "man",
    ];
    for shell in ["bash", "zsh", "fish"] {
        let text = world.cairn(["completion", shell]).ok().out();
        for command in commands {
            assert!(text.contains(command), "{shell}: {command}");
        }
        let tool = std::process::Command::new(shell).arg("--version").output();
        if tool.is_ok_and(|tool| tool.status.success()) {
            let script = world.places().compose.join(shell);
            fs::write(&script, text).unwrap();
            let parsed = std::process::Command::new(shell).arg("-n").arg(&script).output().unwrap();
            assert!(parsed.status.success(), "{shell}: {parsed:?}");
        }
    }
    let dir = world.places().compose.join("new/man");
    world.cairn(["man", dir.to_str().unwrap()]).ok();
    for command in commands {
        let page = fs::read_to_string(dir.join(format!("cairn-{command}.1")));
        assert!(
            page.unwrap_or_else(|error| panic!("{command}: {error}")).contains(".TH"),
            "{command}"
        );
    }
    let help = world.cairn(["--help"]).ok().out();
    assert!(help.contains("Examples:\n  cairn demo"), "{help}");
    for command in commands {
        assert!(help.contains(&format!("\n  {command} ")), "{command}\n{help}");
        let long = world.cairn([command, "--help"]).ok().out();
        assert!(long.contains("Usage: "), "{long}");
        if ["ingest", "stage", "promote", "rollback", "diff"].contains(&command) {
            assert!(long.contains(&format!("Examples:\n  cairn {command} ")), "{long}");
        }
    }
    assert!(world.cairn(["--version"]).ok().out().starts_with("cairn "));
}

#[test]
fn a_revision_has_every_form_that_is_documented() {
    let world = twice_published();
    let snapshot = |rev: &str| world.json(["show", rev])["snapshot"].as_str().unwrap().to_owned();
    let log = world.json(["log", "production/9.7"]);
    let moves = log["operations"].as_array().unwrap();
    let (new, old) = (&moves[0]["refs"][0]["new"], &moves[1]["refs"][0]["new"]);
    let (new, old) = (new.as_str().unwrap(), old.as_str().unwrap());
    let time = moves[0]["time"].as_str().unwrap();
    let before = moves[1]["time"].as_str().unwrap();
    for (rev, expected) in [
        ("production/9.7".to_owned(), new),
        ("production/9.7~0".to_owned(), new),
        ("production/9.7~1".to_owned(), old),
        ("production/9.7~".to_owned(), old),
        (format!("production/9.7@{time}"), new),
        (format!("production/9.7@{before}"), old),
        ("production/9.7@2999-12-31".to_owned(), new),
        (new.to_owned(), new),
        (old[..8].to_owned(), old),
        (new[..20].to_owned(), new),
    ] {
        assert_eq!(snapshot(&rev), expected, "{rev}");
    }
    for (rev, code, part) in [
        ("production/9.7~2", 1, "published 2 times"),
        ("production/9.7@2001-01-01", 1, "did not exist yet"),
        ("production/9.7@yesterday", 1, "neither a date nor a time"),
        ("production/9.7~x", 1, "not a number"),
        ("production/9.6", 1, "there is no ref production/9.6"),
        ("0123456789", 1, "no snapshot's id begins so"),
    ] {
        let run = world.cairn(["show", rev]).exits(code);
        assert!(run.err().contains(part), "{rev}\n{}", run.report());
    }
    // A rollback takes any of them, and back.
    world.cairn(["rollback", "production/9.7", "--to", &old[..12]]).ok();
    assert_eq!(snapshot("production/9.7"), old);
    world.cairn(["rollback", "production/9.7", "--to", &format!("production/9.7@{time}")]).ok();
    assert_eq!(snapshot("production/9.7"), new);
}

#[test]
fn ls_cat_and_show_agree_with_what_is_published() {
    let world = twice_published();
    let live = world.production("mirror/pub/rocky/9.7");
    let listed = world.json(["ls", "-R", "production/9.7"]);
    let mut rows = 0;
    for row in listed["entries"].as_array().unwrap() {
        has_keys(row, &["path", "kind", "mode", "size", "time", "object", "target"]);
        let metadata = live.join(row["path"].as_str().unwrap()).symlink_metadata().unwrap();
        assert_eq!(row["kind"] == "directory", metadata.is_dir(), "{row}");
        if metadata.is_file() {
            assert_eq!(row["size"], metadata.len(), "{row}");
        }
        rows += 1;
    }
    assert!(rows > 20);
    let text = world.cairn(["ls", "-R", "production/9.7"]).ok().out();
    assert_eq!(text.lines().count(), rows);
    let below = world.json(["ls", "production/9.7:BaseOS/x86_64/os/Packages"]);
    let paths: Vec<_> =
        below["entries"].as_array().unwrap().iter().map(|row| &row["path"]).collect();
    assert_eq!(paths[0], "BaseOS/x86_64/os/Packages/b");

    let repomd = "BaseOS/x86_64/os/repodata/repomd.xml";
    let cat = world.cairn(["cat", &format!("production/9.7:{repomd}")]).ok();
    assert_eq!(cat.stdout, fs::read(live.join(repomd)).unwrap());

    let show = world.cairn(["show", "production/9.7"]).ok().out();
    for part in ["snapshot ", "by promote", "staging/9.7-RC2: ", "ref    production/9.7"] {
        assert!(show.contains(part), "{part}\n{show}");
    }
    let compose = world.json(["show", "compose/9/Rocky"]);
    let facts = &compose["origin"]["facts"];
    assert_eq!(facts["name"], "Rocky-9.7-20251115.0", "{compose:#}");
    assert_eq!(facts["compose_id"], "Rocky-9.7-20251115.0");
    assert_eq!((&facts["status"], &facts["release_version"]), (&"FINISHED".into(), &"9.7".into()));
    let operation = world.json(["show", "6"]);
    assert_eq!(operation["operation"]["number"], 6);
    let by_id = operation["operation"]["id"].as_str().unwrap();
    assert_eq!(world.json(["show", by_id]), operation);
    world.cairn(["show", "7"]).exits(2);
    let text = world.cairn(["show", "6"]).ok().out();
    assert!(text.starts_with("6 promote") && text.contains("production/9.7: "), "{text}");
}

#[test]
fn reasons_are_kept_and_shown_escaped() {
    let world = world();
    published(&world);
    small_update().write(&world.places().compose).unwrap();
    let reason = "two\nlines and \x1b[31mred\x1b[0m";
    world.cairn(["ingest", world.latest().to_str().unwrap(), "-m", reason]).ok();
    let operation = &world.json(["log", "-N", "1"])["operations"][0];
    assert_eq!(operation["reason"], reason);
    let command = operation["command"].as_array().unwrap();
    assert_eq!(command.last().unwrap(), reason);
    let text = world.cairn(["log", "-N", "1"]).ok().out();
    assert!(text.contains("two\\nlines") && !text.contains('\x1b'), "{text}");
}
