//! What every verb that stages has in common: `[gate.staging]`, and advisories for releases and SIGs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cairn_testkit::sample::Compose;
use cairn_testkit::{Keys, Run, World, available};
use serde_json::{Value, json};

use crate::filesystems::{Contents, assert_same, contents};
use crate::repodata::{repos, updateinfo};
use crate::world;

const RELEASE: &str = "mirror/pub/rocky/9.7-RC2";
const SIG: &str = "mirror/pub/sig/9/kernel";

/// Takes in a compose with two repos; of one a package is lost, so that its metadata is untrue.
#[track_caller]
fn ingest_broken(world: &World, short: &str) {
    let compose = Compose::new("9", short, "9.7", "20251118.0")
        .repo("BaseOS", "x86_64")
        .package("bash", "5.1.8-9.el9")
        .repo("AppStream", "x86_64")
        .package("httpd", "2.4.62-7.el9");
    let written = compose.write(&world.places().compose).unwrap();
    let lost = "compose/AppStream/x86_64/os/Packages/h/httpd-2.4.62-7.el9.x86_64.rpm";
    fs::remove_file(written.dir.join(lost)).unwrap();
    world.cairn(["ingest", written.latest.to_str().unwrap()]).ok();
}

fn state(world: &World) -> (Value, Value) {
    (world.json(["log"])["operations"].clone(), world.json(["status"])["refs"].clone())
}

#[test]
fn every_verb_that_stages_asks_the_gates_of_staging() {
    let mut world = world();
    world.cairn(["init"]).ok();
    ingest_broken(&world, "Rocky");
    ingest_broken(&world, "SIG-kernel");
    let text = fs::read_to_string(world.config()).unwrap();
    let mut text = format!("{text}\n[gate.staging]\nrequire = [\"repodata\"]\n");
    let keys = available(Keys::new(&["Rocky"]));
    let given = tempfile::tempdir().unwrap();
    let file = given.path().join("updateinfo.xml");
    let list = [("RLSA-2026:0001", "2026-01-01 00:00:00", "bash/5.1.8-9.el9.x86_64")];
    fs::write(&file, updateinfo(&list)).unwrap();
    let from = file.to_str().unwrap();
    let mut verbs: Vec<(&str, Vec<&str>)> = vec![
        ("staging/9.7-RC2", vec!["minor", "9"]),
        ("staging/9.7-RC2", vec!["errata", "apply", "9", "--from", from]),
        ("staging/sig/9/kernel", vec!["stage", "9", "--sig", "kernel", "--delete"]),
        ("staging/sig/9/kernel", vec!["errata", "apply", "9", "--from", from, "--sig", "kernel"]),
    ];
    world.set_config(&text);
    if keys.is_some() {
        verbs.push(("staging/9.7-RC2", vec!["sign", "9"]));
        verbs.push(("staging/sig/9/kernel", vec!["sign", "9", "--sig", "kernel"]));
    }
    for (name, verb) in verbs {
        if verb[0] == "sign"
            && let Some(keys) = &keys
            && !text.contains("[sign]")
        {
            let key = keys.public("RPM-GPG-KEY-9", &["Rocky"]);
            let script = keys.sign_script("sign", "Rocky");
            world.env("GNUPGHOME", keys.home());
            text += &format!(
                "\n[sign]\ncommand = [\"{}\", \"{{file}}\"]\nverify_key = \"{}\"\n",
                script.display(),
                key.display()
            );
            world.set_config(&text);
        }
        let label = verb.join(" ");
        let before = state(&world);
        let run = world.cairn(&verb).exits(4);
        let said = format!("{name}: the gate repodata fails");
        assert!(run.err().contains(&said), "{label}: {}", run.report());
        let plan = Run::of(world.command().args(["--json", "-n"]).args(&verb)).exits(4).json();
        let refusals = plan["refusals"].to_string();
        assert!(refusals.contains("(repodata/package-missing)"), "{label}: {refusals}");
        assert_eq!(plan["gates"][0]["ref"], name, "{label}");
        let skip = |more: &[&str]| {
            world.cairn(verb.iter().chain(&["--skip-gate", "repodata"]).chain(more))
        };
        skip(&[]).exits(2);
        let planned = skip(&["-n", "-m", "a plan"]).ok();
        assert!(planned.out().contains("gates  repodata skipped"), "{label}: {planned:?}");
        assert_eq!(state(&world), before, "{label}: refused and planned, nothing is logged");
        skip(&["-m", "httpd is built again tonight"]).ok();
        let row = &world.json(["log", "-N", "1"])["operations"][0];
        assert_eq!(row["skipped_gates"], json!(["repodata"]), "{label}");
        assert_eq!(row["reason"], "httpd is built again tonight", "{label}");
        // What is staged already is not judged again.
        let again = world.json(&verb);
        assert_eq!((&again["operation"], &again["gates"]), (&Value::Null, &Value::Null), "{label}");
    }
    // What was let through is undone as everything is.
    let after = contents(&world.staging(RELEASE));
    world.cairn(["rollback", "staging/9.7-RC2"]).ok();
    assert!(contents(&world.staging(RELEASE)) != after);
}

#[test]
fn what_staging_requires_lets_pass_what_is_sound() {
    let world = world();
    world.cairn(["init"]).ok();
    let text = fs::read_to_string(world.config()).unwrap();
    world.set_config(&format!("{text}\n[gate.staging]\nrequire = [\"repodata\"]\n"));
    world.cairn(["ingest", world.first().dir.to_str().unwrap()]).ok();
    let done = world.json(["minor", "9"]);
    assert_eq!(done["gates"][0]["gates"][0]["verdict"], "passed", "{}", done["gates"]);
    let kept = &world.json(["show", &done["number"].to_string()])["details"]["gates"];
    assert_eq!(kept["staging/9.7-RC2"][0]["verdict"], "passed", "{kept}");
}

/// A SIG with two projects, each of which has one package.
fn sig() -> World {
    let world = world();
    world.cairn(["init"]).ok();
    for (short, repo, package) in
        [("kernel", "kernel-6.12", "kernel-mainline"), ("kmod", "kmod-common", "kmod-hfs")]
    {
        let compose = Compose::new("9", format!("SIG-{short}"), "9", "20251101.0")
            .packages_only()
            .repo(repo, "x86_64")
            .package(package, "1-1.el9")
            .repo(repo, "aarch64")
            .package(package, "1-1.el9");
        let written = compose.write(&world.places().compose).unwrap();
        world.cairn(["ingest", written.latest.to_str().unwrap()]).ok();
        world.cairn(["stage", "9", "--sig", short, "--delete"]).ok();
    }
    world
}

/// The repos of the SIG that have an advisory, by the directory of the repo.
fn having(world: &World, id: &str) -> BTreeSet<String> {
    let repos = repos(&world.staging(SIG));
    repos.values().for_each(cairn_testkit::metadata::Repo::assert_true);
    let has = repos.into_iter().filter(|(_, repo)| repo.advisories().contains(id));
    has.map(|(path, _)| path.to_str().unwrap().to_owned()).collect()
}

fn project(world: &World, name: &str) -> Contents {
    contents(&world.staging(SIG).join(name))
}

const KERNEL: &str = "kernel/kernel-6.12/x86_64/os";
const KMOD: &str = "kmod/kmod-common/x86_64/os";

#[test]
fn advisories_go_to_a_sig_or_to_one_of_its_projects() {
    let world = sig();
    let given = tempfile::tempdir().unwrap();
    let file = given.path().join("updateinfo.xml");
    let date = "2026-01-01 00:00:00";
    let list = [
        ("RLSA-2026:0001", date, "kernel-mainline/1-1.el9.x86_64"),
        ("RLSA-2026:0002", date, "kmod-hfs/1-1.el9.x86_64"),
        ("RLSA-2026:0003", date, "nowhere/1-1.el9.x86_64"),
    ];
    fs::write(&file, updateinfo(&list)).unwrap();
    let from = file.to_str().unwrap();

    // The short name of a compose means its project: the other one's advisory has no place there.
    let of_kmod = ["errata", "apply", "9", "--sig", "kmod", "--from", from];
    let (kernel, all) = (project(&world, "kernel"), contents(&world.staging(SIG)));
    let plan = world.json([&of_kmod[..], &["-n"]].concat());
    assert_same(&all, &contents(&world.staging(SIG)));
    let done = world.json(of_kmod);
    assert_eq!(done["refs"][0]["name"], "staging/sig/9/kernel");
    assert_eq!(plan["errata"], done["errata"]);
    assert_eq!(done["errata"]["added"], json!(["RLSA-2026:0002"]));
    assert_eq!(done["errata"]["unplaced"], json!(["RLSA-2026:0001", "RLSA-2026:0003"]));
    assert_eq!(having(&world, "RLSA-2026:0002"), [KMOD.to_owned()].into());
    assert_same(&kernel, &project(&world, "kernel"));
    assert_eq!(world.json(of_kmod)["operation"], Value::Null, "the same again is nothing");

    // The SIG's own name means all of it.
    let of_all = ["errata", "apply", "9", "--sig", "kernel", "--from", from];
    let done = world.json(of_all);
    assert_eq!(done["errata"]["added"], json!(["RLSA-2026:0001"]));
    assert_eq!(having(&world, "RLSA-2026:0001"), [KERNEL.to_owned()].into());

    // A directory names repos by a part of their path.
    fs::remove_file(&file).unwrap();
    let dir = given.path().join("x86_64");
    fs::create_dir(&dir).unwrap();
    let at = |name: &str| dir.join(format!("{name}-updateinfo.xml"));
    let any = updateinfo(&[("RLBA-2026:0009", date, "any/1-1.el9.x86_64")]);
    fs::write(at("kernel-6.12"), &any).unwrap();
    let of_all = ["errata", "apply", "9", "--sig", "kernel", "--from"];
    let of_all = [&of_all[..], &[given.path().to_str().unwrap()]].concat();
    world.json(&of_all);
    assert_eq!(having(&world, "RLBA-2026:0009"), [KERNEL.to_owned()].into());
    let before = state(&world);
    for (name, said) in [
        ("kernel-6.13", "there is no repo kernel-6.13 of x86_64 in what is staged"),
        ("os", "os of x86_64 may be kernel/kernel-6.12/x86_64/os or kmod/"),
        ("kernel", "another file is for the same repo"),
    ] {
        fs::write(at(name), &any).unwrap();
        let run = world.cairn(&of_all).exits(1);
        assert!(run.err().contains(said), "{name}: {}", run.report());
        fs::remove_file(at(name)).unwrap();
    }
    assert_eq!(state(&world), before);
    // Nothing was staged for the release, and no lock's file speaks of it.
    world.cairn(["errata", "apply", "9", "--from", given.path().to_str().unwrap()]).exits(1);
    assert!(!Path::new(&world.staging(RELEASE)).exists());
}
