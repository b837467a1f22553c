//! The difference between two releases, in every form that people and scripts read.

use std::fs;

use cairn_testkit::World;
use cairn_testkit::sample::{Advisory, Compose, Written};
use serde_json::Value;

use crate::world;

/// Names that are markup to somebody.
pub const HOSTILE: [&str; 3] =
    ["<script>document.title='owned'</script>", "\"><img src=x onerror=alert(1)>", "a|b`c*_[d](e)"];

/// A world with two publications of the sample, the update the newer.
fn updated() -> World {
    let world = world();
    world.cairn(["init"]).ok();
    release(&world, &world.first());
    release(&world, &world.second());
    world
}

fn release(world: &World, written: &Written) {
    world.cairn(["ingest", written.latest.to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%", "-m", "a release"]).ok();
}

const BOTH: [&str; 3] = ["diff", "production/9.7~1", "production/9.7"];

fn diff<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&BOTH[..], args].concat()
}

#[test]
fn one_report_has_every_level_and_what_to_look_at_first() {
    let world = updated();
    let json = world.json(diff(&["--by", "all"]));
    assert_eq!((&json["schema"], &json["by"]), (&"cairn.diff/1".into(), &"all".into()));
    let rules: Vec<_> = json["attention"].as_array().unwrap().iter().map(|p| &p["rule"]).collect();
    assert_eq!(rules, ["rebuilt", "downgraded", "package-lost", "advisory-lost"]);
    let source = |name: &str| {
        let rows = json["sources"].as_array().unwrap();
        rows.iter().find(|row| row["source"] == name).unwrap().clone()
    };
    assert_eq!(source("kernel")["fate"], "upgraded");
    assert_eq!(source("kernel")["packages"].as_array().unwrap().len(), 4);
    for key in
        ["files", "packages", "metadata", "advisories", "comps", "treeinfo", "sizes", "images"]
    {
        assert!(!json[key].is_null(), "{key}");
    }
    assert_eq!(json["modules"]["streams"][0]["stream"], "22");
    // A level has what it says and no more.
    let packages = world.json(diff(&["--by", "packages"]));
    assert_eq!(packages["sources"], json["sources"]);
    assert!(packages.get("advisories").is_none() && packages.get("sizes").is_none());
    let metadata = world.json(diff(&["--by", "metadata"]));
    assert_eq!(metadata["advisories"], json["advisories"]);
    assert!(metadata.get("packages").is_none());
    // The form is the same however it was asked for.
    let form: Value = world.cairn(diff(&["--by", "all", "--format", "json"])).ok().json();
    assert_eq!(form, json);

    let text = world.cairn(diff(&["--by", "all"])).ok().out();
    let first = text.find("Look at this first").unwrap();
    assert!(first < text.find("Packages").unwrap(), "{text}");
    for line in [
        "  3 packages have other bytes under the same version",
        "    tzdata 2025b-2.el9: BaseOS/aarch64/os, BaseOS/source/tree, BaseOS/x86_64/os",
        "  1 advisory is lost",
        "    RLSA-2025:19447 (Important: kernel security update): BaseOS/aarch64/os, BaseOS/x86_64/os",
        "Sizes  10 of 19 differ",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} in\n{text}");
    }
    let kernels = text.lines().filter(|line| line.contains("  kernel  ")).count();
    assert_eq!(kernels, 1, "{text}");
    let same = ["diff", "production/9.7", "staging/9.7-RC2", "--by", "all", "--exit-code"];
    assert_eq!(world.cairn(same).ok().out(), "Nothing differs.\n");
}

#[test]
fn filters_hold_in_every_form() {
    let world = updated();
    let kernel = ["--repo", "BaseOS", "--arch", "x86_64", "--name", "kernel*"];
    let json = world.json(diff(&[&["--by", "all"], &kernel[..]].concat()));
    let sources = json["sources"].as_array().unwrap();
    assert_eq!(sources.len(), 1, "{sources:?}");
    let arches = serde_json::json!(["x86_64"]);
    assert_eq!((&sources[0]["source"], &sources[0]["arches"]), (&"kernel".into(), &arches));
    let ids = json["advisories"].as_array().unwrap().iter().map(|row| &row["id"]);
    assert_eq!(ids.collect::<Vec<_>>(), ["RLSA-2025:19447", "RLSA-2025:21112"]);
    let markdown = world.cairn(diff(&[&["--format", "markdown"], &kernel[..]].concat())).ok().out();
    assert!(markdown.contains("Only what `--repo BaseOS --arch x86_64 --name kernel*` accepts."));
    assert!(markdown.contains("`kernel-core`") && !markdown.contains("httpd"), "{markdown}");
    let none = world.cairn(diff(&["--name", "no-such-thing", "--exit-code"])).ok();
    assert_eq!(none.out(), "Nothing differs in what --name no-such-thing accepts.\n");
    let run = world.cairn(diff(&["--repo", "a["])).exits(2);
    assert!(run.err().contains("a["), "{}", run.err());
}

#[test]
fn a_ticket_has_tables_and_no_name_becomes_markup() {
    let world = world();
    world.cairn(["init"]).ok();
    let [script, image, marks] = HOSTILE;
    let base = |day: u32| {
        Compose::new("9", "Rocky", "9.7", format!("2025110{day}.0"))
            .packages_only()
            .repo("BaseOS", "x86_64")
            .package("bash", format!("5-{day}"))
    };
    let hostile = base(1).advisory(Advisory::new("RLSA-1", image).updates("bash"));
    // In a file's name no slash can be.
    let hostile = hostile.file(format!("compose/{}.iso", script.replace('/', "")), "x");
    release(
        &world,
        &hostile.file(format!("compose/{marks}"), "x").write(&world.places().compose).unwrap(),
    );
    release(&world, &base(2).write(&world.places().compose).unwrap());

    let markdown = world.cairn(diff(&["--format", "markdown"])).ok().out();
    for head in [
        "# From `production/9.7~1` to `production/9.7`",
        "## Look at this first",
        "## Packages",
        "## Advisories",
    ] {
        assert!(markdown.lines().any(|line| line == head), "{head} in\n{markdown}");
    }
    assert!(markdown.contains("| upgraded | `bash` | `5-1` → `5-2` | "), "{markdown}");
    // Rows have as many cells as their table; a bar in a name does not end a cell.
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    for table in markdown.split("\n\n").filter(|block| block.starts_with('|')) {
        let counts: Vec<_> = table.lines().map(cells).collect();
        assert!(counts.iter().all(|count| *count == counts[0]), "{table}");
    }
    // What is between code spans is ours.
    for line in markdown.lines() {
        let mut outside = line.replace("\\|", "");
        for fence in ["``", "`"] {
            let parts: Vec<_> = outside.split(fence).map(str::to_owned).collect();
            outside = parts.iter().step_by(2).cloned().collect();
        }
        assert!(!outside.contains(['<', '[', '*']) || outside.starts_with("- **"), "{line}");
    }
    assert!(markdown.contains(&format!("`{image}`")), "{markdown}");
    let paths = world.cairn(diff(&["--format", "markdown", "--by", "files"])).ok().out();
    assert!(paths.contains("| removed | ``a\\|b`c*_[d](e)`` |"), "{paths}");
}

#[test]
fn a_report_is_written_whole_or_not_at_all() {
    let world = updated();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ticket.md");
    let path = file.to_str().unwrap();
    let run = world.cairn(diff(&["--format", "markdown", "-o", path])).ok();
    assert_eq!(run.out(), "");
    assert!(run.err().contains("Wrote ") && run.err().contains("ticket.md"), "{}", run.err());
    let whole = world.cairn(diff(&["--format", "markdown"])).ok().out();
    assert_eq!(fs::read_to_string(&file).unwrap(), whole);
    // It is replaced, not written over: who has the old one open reads it to its end.
    let open = fs::File::open(&file).unwrap();
    world
        .cairn(diff(&["--by", "packages", "--format", "json", "--exit-code", "-o", path]))
        .exits(3);
    assert_eq!(std::io::read_to_string(open).unwrap(), whole);
    let json: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(json["schema"], "cairn.diff/1");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);

    let link = dir.path().join("link");
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    let missing = dir.path().join("none/ticket.md");
    for (args, code, said) in [
        (["-o", link.to_str().unwrap()], 2, "it is there and is no regular file"),
        (["-o", dir.path().to_str().unwrap()], 2, "it is there and is no regular file"),
        (["-o", "/"], 2, "this names a directory"),
        (["-o", missing.to_str().unwrap()], 1, "none"),
        (["--json", "--format=markdown"], 2, "name two forms"),
    ] {
        let run = world.cairn(diff(&args)).exits(code);
        let error = run.err();
        assert!(error.contains(said), "{args:?}: {error}");
    }
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
}
