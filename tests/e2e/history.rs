//! What the log is for: who did what, which operation brought a file, where something ever was.

use cairn_testkit::World;
use cairn_testkit::sample::Written;
use serde_json::Value;

use crate::world;

fn release(world: &World, written: &Written, why: &str) {
    world.cairn(["ingest", written.latest.to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%", "-m", why]).ok();
}

/// Operations 1 to 3 publish the sample, 4 to 6 its update, 7 goes back.
fn published_twice_and_back() -> World {
    let world = world();
    world.cairn(["init"]).ok();
    release(&world, &world.first(), "the release");
    release(&world, &world.second(), "the update");
    world.cairn(["rollback", "production/9.7", "-m", "a kernel that does not boot"]).ok();
    world
}

fn numbers(document: &Value) -> Vec<u64> {
    let operations = document["operations"].as_array().unwrap();
    operations.iter().map(|operation| operation["number"].as_u64().unwrap()).collect()
}

const BASH: &str = "BaseOS/x86_64/os/Packages/b/bash-5.1.8-10.el9.x86_64.rpm";
const ZLIB: &str = "BaseOS/x86_64/os/Packages/z/zlib-1.2.11-40.el9.x86_64.rpm";

#[test]
fn the_log_is_filtered_by_ref_user_time_release_and_command() {
    let world = published_twice_and_back();
    let log = |args: &[&str]| numbers(&world.json([&["log"], args].concat()));
    assert_eq!(log(&[]), [7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(log(&["--command", "promote"]), [6, 3]);
    assert_eq!(log(&["--command", "promote", "--command", "rollback", "-N", "2"]), [7, 6]);
    assert_eq!(log(&["production/9.7", "--command", "rollback"]), [7]);
    assert_eq!(log(&["--release", "9"]), [7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(log(&["--release", "9-beta"]), [] as [u64; 0]);
    let user = world.json(["log", "-N", "1"])["operations"][0]["user"].clone();
    assert_eq!(log(&["--user", user.as_str().unwrap()]).len(), 7);
    assert_eq!(log(&["--user", "nobody-at-all"]), [] as [u64; 0]);
    assert_eq!(log(&["--since", "1h"]).len(), 7);
    assert_eq!(log(&["--until", "1h"]), [] as [u64; 0]);
    let fourth = world.json(["log"])["operations"][3]["time"].as_str().unwrap().to_owned();
    assert_eq!(log(&["--since", &fourth]), [7, 6, 5, 4]);
    assert_eq!(log(&["--until", &fourth]), [4, 3, 2, 1]);
    assert_eq!(log(&["--since", "2020-01-01", "--until", "2020-12-31"]), [] as [u64; 0]);
    // The command line can be given to a shell again.
    let last = world.cairn(["log", "-N", "1"]).ok().out();
    assert!(last.contains("rollback production/9.7 -m 'a kernel that does not boot'\n"), "{last}");

    for (args, code, said) in [
        (["--since", "yesterday"], 2, "is no time"),
        (["--release", "47"], 2, "unknown release"),
        (["production/9.9", "-N3"], 1, "production/9.9"),
    ] {
        let run = world.cairn([&["log"], &args[..]].concat()).exits(code);
        assert!(run.err().contains(said), "{args:?}: {}", run.err());
    }
}

#[test]
fn an_operation_is_shown_with_what_it_changed() {
    let world = published_twice_and_back();
    let text = world.cairn(["show", "6"]).ok().out();
    for part in ["6 promote", "the update", "Look at this first", "tzdata 2025b-2.el9", "Packages"]
    {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    assert!(!text.contains("Advisories"), "{text}");
    let text = world.cairn(["show", "6", "--by", "all"]).ok().out();
    assert!(text.contains("Advisories") && text.contains("Sizes"), "{text}");
    let json = world.json(["show", "7"]);
    let fates: Vec<_> = json["changed"][0]["audit"]["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| &s["fate"])
        .collect();
    assert!(fates.contains(&&"downgraded".into()), "{json:#}");
    // What is new altogether has counts and nothing to be compared with.
    let first = world.json(["show", "1"]);
    assert!(first["changed"][0].get("audit").is_none());
    assert!(first["changed"][0]["changed"]["files_added"].as_u64() > Some(100));
}

#[test]
fn blame_names_the_operation_that_brought_a_content_and_where_it_had_it_from() {
    let world = published_twice_and_back();
    // It never changed, so the first publication brought it, though two have come since.
    let zlib = world.json(["blame", "production/9.7", ZLIB]);
    assert_eq!(zlib["schema"], "cairn.blame/1");
    let file = &zlib["files"][0];
    assert_eq!(
        (&file["operation"]["number"], &file["operation"]["reason"]),
        (&3.into(), &"the release".into())
    );
    let from: Vec<_> = file["from"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["ref"].as_str().unwrap(), step["operation"]["number"].as_u64().unwrap()))
        .collect();
    assert_eq!(from, [("staging/9.7-RC2", 2), ("compose/9/Rocky", 1)]);
    // Staging still has the update.
    let bash = world.json(["blame", "staging/9.7-RC2", BASH]);
    assert_eq!(bash["files"][0]["operation"]["number"], 5);
    assert_eq!(bash["files"][0]["from"][0]["operation"]["number"], 4);
    assert_eq!(bash["files"][0]["object"].as_str().unwrap().len(), 64);
    let gone = world.cairn(["blame", "production/9.7", BASH]).exits(1);
    assert!(gone.err().contains(BASH), "{}", gone.err());

    // Of a directory every file, each with its own operation.
    let dir = world.json(["blame", "staging/9.7-RC2", "BaseOS/x86_64/os"]);
    let of = |path: &str| {
        let files = dir["files"].as_array().unwrap();
        let file = files.iter().find(|file| file["path"] == path).unwrap();
        file["operation"]["number"].as_u64().unwrap()
    };
    assert_eq!((of(ZLIB), of(BASH)), (2, 5));
    let all = world.json(["ls", "-R", "staging/9.7-RC2:BaseOS/x86_64/os"]);
    let files = all["entries"].as_array().unwrap().iter().filter(|row| row["kind"] != "directory");
    assert_eq!(dir["files"].as_array().unwrap().len(), files.count());
    // A file that came back with a rollback is the rollback's.
    let back = world.json(["blame", "production/9.7", "BaseOS/x86_64/os/repodata/repomd.xml"]);
    assert_eq!(back["files"][0]["operation"]["verb"], "rollback");
    let text = world.cairn(["blame", "production/9.7", ZLIB]).ok().out();
    assert!(text.contains("operation 3 promote") && text.contains("compose/9/Rocky"), "{text}");
}

#[test]
fn find_says_where_since_when_and_until_when() {
    let world = published_twice_and_back();
    let found = world.json(["find", "bash-5.1.8-10.el9.x86_64"]);
    assert_eq!((&found["schema"], &found["kind"]), (&"cairn.find/1".into(), &"name".into()));
    let rows: Vec<_> = found["found"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let number = |key: &str| row[key]["number"].as_u64();
            (
                row["ref"].as_str().unwrap(),
                row["path"].as_str().unwrap(),
                number("since"),
                number("until"),
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("compose/9/Rocky", BASH, Some(4), None),
            ("production/9.7", BASH, Some(6), Some(7)),
            ("staging/9.7-RC2", BASH, Some(5), None),
        ]
    );
    // The older one went with the update, and came back.
    let older = world.json(["find", "bash-5.1.8-9.el9.x86_64.rpm"]);
    let production: Vec<_> = older["found"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["ref"] == "production/9.7")
        .map(|row| (row["since"]["number"].as_u64(), row["until"]["number"].as_u64()))
        .collect();
    assert_eq!(production, [(Some(3), Some(6)), (Some(7), None)]);
    // The same by its content, and by its path.
    let object = found["found"][0]["object"].as_str().unwrap();
    let by_object = world.json(["find", object]);
    assert_eq!(by_object["kind"], "object");
    assert_eq!(by_object["found"], found["found"]);
    assert_eq!(world.json(["find", BASH])["found"], found["found"]);
    let tzdata = world.json(["find", "tzdata-2025b*.noarch.rpm"]);
    let objects: std::collections::BTreeSet<_> = tzdata["found"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["object"].as_str().unwrap())
        .collect();
    assert_eq!(objects.len(), 2, "the same name, two contents");

    let text = world.cairn(["find", "bash-5.1.8-10.el9.x86_64"]).ok().out();
    assert!(text.contains("until operation 7") && text.contains("there now"), "{text}");
    let none = world.cairn(["find", "no-such-package"]).ok().out();
    assert_eq!(none, "No name no-such-package in 6 snapshots.\n");
    for (what, said) in [("a[", "a["), ("", "empty"), ("a/../b", "no path")] {
        let run = world.cairn(["find", what]).exits(2);
        assert!(run.err().contains(said), "{what}: {}", run.err());
    }
}

#[test]
fn find_knows_packages_by_name_from_the_metadata() {
    let world = published_twice_and_back();
    let found = world.json(["find", "bash"]);
    assert_eq!(found["kind"], "name");
    let rows = |path: &str| -> Vec<Value> {
        let rows = found["found"].as_array().unwrap().iter();
        rows.filter(|row| row["path"] == path).cloned().collect()
    };
    // What the metadata names is found like what a path names, in every snapshot that has it.
    let by_path = world.json(["find", BASH]);
    assert_eq!(Value::from(rows(BASH)), by_path["found"]);
    assert_eq!(rows(BASH).len(), 3);
    let old = BASH.replace("5.1.8-10", "5.1.8-9");
    assert_eq!(Value::from(rows(&old)), world.json(["find", &old])["found"]);
    let packages = found["packages"].as_array().unwrap();
    let object = &rows(BASH)[0]["object"];
    let listed = serde_json::json!({
        "package": "bash-5.1.8-10.el9.x86_64", "path": BASH, "object": object,
    });
    assert!(packages.contains(&listed), "{packages:#?}");
    // Each different metadata was read once, in whatever number of snapshots it is.
    let all = world.json(["find", "repomd.xml"]);
    let all = all["found"].as_array().unwrap();
    let different: std::collections::BTreeSet<_> =
        all.iter().map(|row| row["object"].as_str().unwrap()).collect();
    assert!(all.len() > different.len());
    assert_eq!(found["repos"], different.len());
    // By a part of the NEVRA, and by a pattern that no file is called by.
    for what in ["bash-5.1.8-10.el9", "bash-0:5.1.8-10.el9.x86_64", "{bash-5.1.8-10.el9,no}"] {
        let part = world.json(["find", what]);
        let part = part["found"].as_array().unwrap();
        let part: Vec<_> = part.iter().filter(|row| row["path"] == BASH).cloned().collect();
        assert_eq!(Value::from(part), by_path["found"], "{what}");
    }
    assert_eq!(world.json(["find", "bas"])["found"], serde_json::json!([]));
    assert!(world.json(["find", BASH]).get("repos").is_none(), "a path needs no metadata");
    let text = world.cairn(["find", "bash"]).ok().out();
    assert!(text.contains(&format!("  {BASH}  bash-5.1.8-10.el9.x86_64\n")), "{text}");
}

#[test]
fn find_says_what_is_listed_and_not_there_and_what_cannot_be_read() {
    let world = world();
    world.cairn(["init"]).ok();
    let dir = world.first().dir.join("compose");
    let bash = BASH.replace("5.1.8-10", "5.1.8-9");
    std::fs::remove_file(dir.join(&bash)).unwrap();
    let repodata = dir.join("AppStream/x86_64/os/repodata");
    for file in std::fs::read_dir(&repodata).unwrap() {
        let path = file.unwrap().path();
        if path.to_str().unwrap().contains("primary.xml") {
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, "this is no metadata").unwrap();
        }
    }
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    let nevra = "bash-5.1.8-9.el9.x86_64";
    let run = world.cairn(["--json", "find", "bash"]).ok();
    let found = run.json();
    for (key, more) in [("found", ("ref", "compose/9/Rocky")), ("packages", ("package", nevra))] {
        let rows = found[key].as_array().unwrap();
        let row = rows.iter().find(|row| row["path"] == bash).unwrap();
        assert_eq!((&row["object"], &row[more.0]), (&Value::Null, &more.1.into()), "{row:#}");
        // The same package of another architecture is there.
        assert!(rows.iter().any(|row| row["object"].is_string()), "{rows:#?}");
    }
    assert_eq!(found["unreadable"][0]["repo"], "AppStream/x86_64/os");
    let run = world.cairn(["find", "bash"]).ok();
    assert!(run.out().contains("listed, and not there"), "{}", run.report());
    assert!(
        run.err().contains("The packages of AppStream/x86_64/os are not known: "),
        "{}",
        run.report()
    );
}

#[test]
fn the_plan_of_a_rollback_is_a_forecast() {
    let world = world();
    world.cairn(["init"]).ok();
    release(&world, &world.first(), "the release");
    release(&world, &world.second(), "the update");
    let plan = world.json(["rollback", "production/9.7", "-n"]);
    let forecast = &plan["forecast"];
    let names = |key: &str| -> Vec<String> {
        let rows = forecast[key].as_array().unwrap().iter();
        rows.map(|row| row["source"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("back"), ["bash", "firefox", "kernel", "nodejs"]);
    assert_eq!(names("vanish"), ["ripgrep"]);
    assert_eq!(names("again"), ["vim-minimal"]);
    assert_eq!(names("rebuilt"), ["tzdata"]);
    let advisories: Vec<_> =
        forecast["advisories"].as_array().unwrap().iter().map(|row| &row["id"]).collect();
    assert_eq!(advisories[0], "RLSA-2025:21112", "the gravest first");
    // What mirrors fetch is what differs in size or time, counted here by their own rule.
    let files = world.json(["diff", "production/9.7", "production/9.7~1"]);
    let removed = files["files"]["removed"].as_array().unwrap().len() as u64;
    assert_eq!(forecast["mirrors"]["deleted"].as_u64(), Some(removed));
    assert!(forecast["mirrors"]["bytes"].as_u64() > Some(0));
    assert_eq!(forecast["mirrors"]["unnoticed"], 0);
    let text = world.cairn(["rollback", "production/9.7", "-n"]).ok().out();
    for line in [
        "  what this will mean",
        "    4 source packages go back",
        "    1 source package vanishes",
        "    3 advisories vanish",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} in\n{text}");
    }
    assert!(text.contains("    mirrors fetch ") && text.contains("dnf distro-sync"), "{text}");
    // Doing it is not telling it; and going where one is already means nothing.
    let done = world.json(["rollback", "production/9.7"]);
    assert!(done.get("forecast").is_none());
    let stay = world.json(["rollback", "production/9.7", "--to", "production/9.7", "-n"]);
    assert!(stay.get("forecast").is_none(), "{stay:#}");
}

#[test]
fn what_was_collected_is_said_to_be_unknown() {
    let world = published_twice_and_back();
    world.cairn(["rollback", "production/9.7", "--to", "production/9.7~1", "-m", "forward"]).ok();
    // Nothing publishes a compose, so nothing but history needs the first one.
    for _ in 0..2 {
        let now = ["--keep-last", "1", "--keep-within", "0s", "--grace", "0s", "--trash", "0s"];
        world.cairn([&["gc"], &now[..]].concat()).ok();
    }
    let blame = world.json(["blame", "compose/9/Rocky", ZLIB]);
    assert_eq!(blame["files"][0]["uncertain"], true, "{blame:#}");
    assert_eq!(blame["files"][0]["operation"]["number"], 4);
    let text = world.cairn(["blame", "compose/9/Rocky", ZLIB]).ok().out();
    assert!(text.contains("or an earlier operation"), "{text}");
    let dir = world.cairn(["blame", "compose/9/Rocky", "BaseOS/x86_64/os/Packages/z"]).ok().out();
    assert!(dir.starts_with("≤ 4 ingest"), "{dir}");
    let run = world.cairn(["find", "zlib-1.2.11-40.el9.x86_64"]).ok();
    assert!(run.err().contains("they were collected"), "{}", run.err());
    assert!(world.json(["find", "no-such"])["collected"].as_u64() > Some(0));
}
