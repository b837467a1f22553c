//! The old procedure word for word: its lines, run by a shell in a directory of shims.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_testkit::sample::{Compose, Module};
use cairn_testkit::{Run, World, treecmp};
use serde_json::Value;

use crate::world;

/// The version of each major, with what staging is called.
const RELEASES: &[(&str, &str, &str)] =
    &[("8", "8.10", "8.10-RC2"), ("9", "9.7", "9.7-RC2"), ("10", "10.1", "10.1-RC1")];

/// A world with the releases 8, 9 and 10 as the model configuration has them.
pub fn three_releases() -> World {
    let world = world();
    let text = world.places().config();
    let start = text.find("[release.9]").unwrap();
    world.set_config(&format!(
        "{}[category]\nrocky = {{ pub = \"mirror/pub/rocky\", vault = \"mirror/vault/rocky\" }}\n",
        &text[..start]
    ));
    world.cairn(["init"]).ok();
    world
}

/// Writes the composes of a release: the main one, and the small ones beside it.
fn composes(world: &World, major: &str, version: &str, date: &str) -> PathBuf {
    let el = format!("el{major}");
    let tag = date.replace('.', "");
    let mut main = Compose::new(major, "Rocky", version, date);
    for arch in ["x86_64", "aarch64"] {
        main = main
            .repo("BaseOS", arch)
            .package("bash", format!("5.1.8-{tag}.{el}"))
            .package("glibc", format!("2.34-231.{el}"))
            .repo("AppStream", arch)
            .package("httpd", format!("2.4.62-7.{el}"));
        if major != "10" {
            main = main.module(Module::new("nodejs", "22", 1, "rhel"));
        }
    }
    let main = main.write(&world.places().compose).unwrap();
    for (short, repo) in
        [("Rocky-devel", "devel"), ("Extras", "extras"), ("NFV", "NFV"), ("Plus", "plus")]
    {
        Compose::new(major, short, version, date)
            .repo(repo, "x86_64")
            .package(format!("{repo}-package"), format!("1-{tag}.{el}"))
            .write(&world.places().compose)
            .unwrap();
    }
    main.dir
}

/// Installs the shims and returns where.
fn shims(world: &World) -> PathBuf {
    let dir = world.places().compose.join("sync");
    world.cairn(["toolkit", "--install", dir.to_str().unwrap()]).ok();
    dir
}

/// Runs a line of the procedure as it is printed: by a shell, in the scripts' directory.
#[track_caller]
fn line(dir: &Path, line: &str) -> Run {
    let mut command = Command::new("bash");
    command.args(["--noprofile", "--norc", "-c", line]).current_dir(dir);
    for name in ["RLVER", "RLREL", "CAIRN_CONFIG"] {
        command.env_remove(name);
    }
    Run::of(command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("NO_COLOR", "1"))
}

/// The commands that a run said it became, without the flags that name the configuration.
fn became(world: &World, run: &Run) -> Vec<String> {
    let config = format!("cairn --config {} ", world.config().display());
    let err = run.err();
    let lines = err.lines().filter_map(|line| line.strip_prefix("+ "));
    lines.map(|line| line.replace(&config, "cairn ")).collect()
}

fn operations(world: &World) -> Vec<Value> {
    world.json(["log"])["operations"].as_array().unwrap().clone()
}

#[test]
fn the_printed_lines_of_an_update_do_what_they_say_for_8_9_and_10() {
    let world = three_releases();
    let dir = shims(&world);
    for (major, version, staging) in RELEASES {
        let root = world.places().compose.join(major);
        let main = composes(&world, major, version, "20251101.0");
        for short in ["Rocky", "Rocky-devel", "Extras", "NFV", "Plus"] {
            let text = format!("RLVER={major} bash sync-to-staging.sh {short}");
            let run = line(&dir, &text).ok();
            let latest = root.join(format!("latest-{short}-{major}"));
            assert_eq!(
                became(&world, &run),
                [
                    format!("cairn ingest {} --as compose/{major}/{short}", latest.display()),
                    format!("cairn stage {major} {short}")
                ],
                "{text}"
            );
        }
        let run = line(&dir, &format!("bash prep-staging-{major}.sh")).ok();
        assert_eq!(became(&world, &run), [format!("cairn check staging/{staging} repodata")]);

        // The SOP prints it so, and the shell takes the variable for a file.
        let run = line(&dir, &format!("bash RLVER={major} sync-to-prod.sh")).ok();
        assert_eq!(became(&world, &run), [format!("cairn promote {major}")]);

        let staged = world.staging(format!("mirror/pub/rocky/{staging}"));
        let production = world.production(format!("mirror/pub/rocky/{version}"));
        treecmp::assert_equal(&staged, &production);
        for path in ["BaseOS/x86_64/os", "devel/x86_64/os", "extras/x86_64/os", "plus/x86_64/os"] {
            assert!(production.join(path).join("repodata/repomd.xml").is_file(), "{path}");
        }
        assert!(!production.join("Minimal").exists());
        // The compose was read and not touched.
        assert!(main.join("STATUS").is_file());

        // Again, nothing is there to do.
        let before = (operations(&world), treecmp::digest(&production));
        line(&dir, &format!("RLVER={major} bash sync-to-staging.sh Plus")).ok();
        line(&dir, &format!("RLVER={major} bash sync-to-prod.sh")).ok();
        assert!((operations(&world), treecmp::digest(&production)) == before, "{major}");
    }
    for name in ["fullfilelist", "fullfiletimelist-rocky"] {
        let text = fs::read_to_string(world.production("mirror/pub/rocky").join(name)).unwrap();
        for (_, version, _) in RELEASES {
            let path = format!("{version}/extras/x86_64/os/repodata/repomd.xml");
            assert!(text.contains(&path), "{name}: {path}");
        }
    }
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn with_and_without_delete_are_two_things() {
    let world = three_releases();
    let dir = shims(&world);
    world.configure("mounts.production", "max_deletes = \"1%\"");
    let production = world.production("mirror/pub/rocky/9.7");
    let old = "BaseOS/x86_64/os/Packages/b/bash-5.1.8-202511010.el9.x86_64.rpm";
    let new = "BaseOS/x86_64/os/Packages/b/bash-5.1.8-202511150.el9.x86_64.rpm";
    composes(&world, "9", "9.7", "20251101.0");
    line(&dir, "RLVER=9 bash sync-to-staging.delete.sh Rocky").ok();
    line(&dir, "RLVER=9 bash sync-to-prod.sh").ok();
    assert!(production.join(old).is_file());

    composes(&world, "9", "9.7", "20251115.0");
    line(&dir, "RLVER=9 bash sync-to-staging.sh Rocky").ok();
    line(&dir, "RLVER=9 bash sync-to-prod.sh").ok();
    assert!(production.join(old).is_file() && production.join(new).is_file(), "all builds stay");

    let run = line(&dir, "RLVER=9 bash sync-to-staging.delete.sh Rocky").ok();
    assert!(became(&world, &run)[1].ends_with("stage 9 Rocky --delete"));
    line(&dir, "RLVER=9 bash sync-to-prod.sh").ok();
    assert!(production.join(old).is_file(), "sync-to-prod.sh keeps what staging lacks");

    // The plan is exact, and refuses what the promotion would.
    let before = (operations(&world), treecmp::digest(&production));
    let run = line(&dir, "RLVER=9 bash sync-to-prod-dry.sh").ok();
    assert_eq!(became(&world, &run), ["cairn promote 9 --dry-run"]);
    let run = line(&dir, "RLVER=9 bash sync-to-prod.delete.sh -n").exits(4);
    assert!(run.out().contains("Would be refused: production/9.7"), "{}", run.report());
    assert!((operations(&world), treecmp::digest(&production)) == before);

    let run = line(&dir, "RLVER=9 bash sync-to-prod.delete.sh").exits(4);
    assert!(run.err().contains("--allow-deletes"), "{}", run.report());
    let text = fs::read_to_string(world.config()).unwrap();
    world.set_config(&text.replace("max_deletes = \"1%\"", "max_deletes = \"60%\""));
    line(&dir, "RLVER=9 bash sync-to-prod.delete.sh -m 'the old bash is withdrawn'").ok();
    assert!(!production.join(old).exists() && production.join(new).is_file());
    let last = &operations(&world)[0];
    assert_eq!(last["reason"], "the old bash is withdrawn");
    assert!(last["command"].to_string().contains("promote"), "{last}");
}

#[test]
fn nothing_happens_for_a_line_that_means_nothing() {
    let world = three_releases();
    let dir = shims(&world);
    composes(&world, "9", "9.7", "20251101.0");
    line(&dir, "RLVER=9 bash sync-to-staging.sh Rocky").ok();
    line(&dir, "RLVER=9 bash sync-to-prod.sh").ok();
    let production = world.production("mirror/pub/rocky/9.7");
    let before = (operations(&world), treecmp::digest(&production));
    for (text, code, said) in [
        ("bash sync-to-prod.sh", 2, "RLVER is not set"),
        ("RLVER= bash sync-to-prod.sh", 2, "RLVER is set and empty"),
        ("RLVER=11 bash sync-to-prod.sh", 2, "unknown release \"11\""),
        ("RLVER=9 RLREL=lookahed bash sync-to-prod.sh", 2, "unknown release \"9-lookahed\""),
        ("RLVER=9 RLREL= bash sync-to-prod.sh", 2, "RLREL is set and empty"),
        ("RLVER=8 bash RLVER=9 sync-to-prod.sh", 2, "in the environment"),
        ("RLVER=9 bash sync-to-staging.sh", 2, "COMPOSE [SIG]"),
        ("RLVER=9 bash RLREL=beta sync-to-stagin.sh Rocky", 2, "did you mean sync-to-staging.sh?"),
        // Known, and refused: production is never beta or lookahead.
        ("RLVER=9 RLREL=lookahead bash sync-to-prod.delete.sh", 4, "never gets to production"),
        ("RLVER=9 RLREL=lh bash sync-to-prod.sh", 4, "channel lookahead"),
        ("RLVER=9 RLREL=beta bash sync-to-prod.sh", 4, "channel beta"),
        // As before: release 8 keeps every build.
        ("RLVER=8 bash sync-to-staging.delete.sh Rocky", 4, "rule accumulate"),
        // The compose is not there.
        ("RLVER=9 bash sync-to-staging.sh NoSuch", 1, "latest-NoSuch-9"),
        ("RLVER=9 RLREL=lookahead bash sync-to-staging.sh Rocky", 1, "9-LookAhead/latest-Rocky-9"),
    ] {
        let run = line(&dir, text).exits(code);
        assert!(run.err().contains(said), "{text}: {}", run.report());
        assert!((operations(&world), treecmp::digest(&production)) == before, "{text}");
    }
}

#[test]
fn lookahead_and_beta_are_staged_from_their_own_composes() {
    let world = three_releases();
    let dir = shims(&world);
    let root = &world.places().compose;
    for (suffix, version) in [("-LookAhead", "9.8"), ("-beta", "9.8")] {
        let compose = Compose::new("9", "Rocky", version, "20251120.0")
            .repo("BaseOS", "x86_64")
            .package("bash", format!("5.2.0-1{}.el9", suffix.replace('-', ".")));
        let written = compose.write(&root.join(suffix)).unwrap();
        fs::rename(root.join(suffix).join("9"), root.join(format!("9{suffix}"))).unwrap();
        drop(written);
    }
    for (release, name) in [
        ("RLREL=lookahead", "9.8-LookAhead"),
        ("RLREL=lh", "9.8-LookAhead"),
        ("RLREL=beta", "9.8-beta"),
    ] {
        line(&dir, &format!("RLVER=9 {release} bash sync-to-staging.sh Rocky")).ok();
        assert!(world.staging("mirror/pub/rocky").join(name).join("BaseOS/x86_64/os").is_dir());
    }
    let names = |list: &str| -> Vec<Value> {
        let rows = world.json(["status"])[list].as_array().unwrap().clone();
        rows.iter().map(|row| row["name"].clone()).collect()
    };
    assert_eq!(
        names("refs"),
        [
            "compose/9-beta/Rocky",
            "compose/9-lookahead/Rocky",
            "staging/9.8-LookAhead",
            "staging/9.8-beta"
        ]
    );
}

#[test]
fn all_releases_go_in_one_operation_or_none() {
    let world = three_releases();
    let dir = shims(&world);
    for (major, version, _) in RELEASES {
        composes(&world, major, version, "20251101.0");
    }
    for major in ["8", "9"] {
        line(&dir, &format!("RLVER={major} bash sync-to-staging.sh Rocky")).ok();
    }
    let count = operations(&world).len();
    line(&dir, "bash sync-to-prod-all.sh").exits(1);
    assert_eq!(operations(&world).len(), count, "10 is not staged, so none moves");
    assert!(!world.production("mirror/pub/rocky/8.10").exists());
    line(&dir, "RLVER=10 bash sync-to-staging.sh Rocky").ok();
    let run = line(&dir, "bash sync-to-prod-all.sh").ok();
    assert_eq!(became(&world, &run), ["cairn promote 8 9 10"]);
    let last = &operations(&world)[0];
    let refs = last["refs"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap());
    let releases: Vec<&str> = refs.filter(|name| !name.starts_with("link/")).collect();
    assert_eq!(releases, ["production/8.10", "production/9.7", "production/10.1"]);
}

#[test]
fn a_minor_release_is_staged_by_its_script_for_8_9_and_10() {
    let world = three_releases();
    let dir = shims(&world);
    for (major, version, staging) in RELEASES {
        composes(&world, major, version, "20251101.0");
        let text = format!("RLVER={major} bash minor-release-sync-to-staging.sh");
        let run = line(&dir, &text).ok();
        let commands = became(&world, &run);
        assert_eq!(commands.len(), 4, "{commands:?}");
        assert_eq!(commands[3], format!("cairn minor {major}"));
        let staged = world.staging(format!("mirror/pub/rocky/{staging}"));
        for path in ["BaseOS/x86_64/os", "BaseOS/x86_64/kickstart", "extras/x86_64/os"] {
            assert!(staged.join(path).join("repodata/repomd.xml").is_file(), "{major}: {path}");
        }
        let count = operations(&world).len();
        line(&dir, &text).ok();
        assert_eq!(operations(&world).len(), count, "{major}: twice is once");
    }
}

#[test]
fn every_line_becomes_commands_that_there_are() {
    let world = three_releases();
    for script in cairn_testkit::toolkit_scripts() {
        let name = script.replacen("-N.", "-9.", 1);
        let arguments: &[&str] = match name.as_str() {
            "sync-to-staging.sh" | "sync-to-staging.delete.sh" => &["Rocky"],
            "sync-to-staging-sig.sh" => &["kernel"],
            _ => &[],
        };
        let args = [&["-n", "toolkit", "RLVER=9", &name][..], arguments].concat();
        let run = world.cairn(args);
        // There is nothing to work on; that the words are understood is the question.
        assert!(!run.err().contains("lacks the command"), "{}", run.report());
        assert!(run.err().contains("+ cairn "), "{}", run.report());
    }
}

#[test]
fn lists_are_written_by_the_scripts_that_wrote_them() {
    let world = three_releases();
    let dir = shims(&world);
    composes(&world, "9", "9.7", "20251101.0");
    line(&dir, "RLVER=9 bash sync-to-staging.sh Rocky").ok();
    line(&dir, "RLVER=9 bash sync-to-prod.sh").ok();
    let list = world.production("mirror/pub/rocky/fullfilelist");
    fs::remove_file(&list).unwrap();
    let run = line(&dir, "bash sync-root-file-list.sh").ok();
    assert_eq!(became(&world, &run), ["cairn lists production"]);
    assert!(!list.exists());
    let run = line(&dir, "bash sync-file-list-parallel.sh").ok();
    assert_eq!(became(&world, &run), ["cairn lists"]);
    assert!(list.is_file());
}

#[test]
fn a_line_reports_all_its_commands_as_one_document() {
    let world = three_releases();
    composes(&world, "9", "9.7", "20251101.0");
    let report = world.json(["toolkit", "RLVER=9", "sync-to-staging.sh", "Rocky"]);
    assert_eq!(report["schema"], "cairn.toolkit/1");
    assert_eq!(
        (&report["script"], &report["releases"]),
        (&"sync-to-staging.sh".into(), &serde_json::json!(["9"]))
    );
    let commands = report["commands"].as_array().unwrap();
    assert_eq!(commands.len(), 2);
    assert_eq!(commands[0]["command"][0], "ingest");
    assert_eq!(commands[0]["report"]["schema"], "cairn.ingest/1");
    assert_eq!(commands[1]["report"]["refs"][0]["name"], "staging/9.7-RC2");
    assert_eq!((&commands[0]["code"], &commands[1]["code"]), (&0.into(), &0.into()));

    let minor = ["toolkit", "RLVER=9", "minor-release-sync-to-staging.sh"];
    let report = world.json(minor);
    let commands = report["commands"].as_array().unwrap();
    assert_eq!(commands.len(), 4, "three composes, and the release of them");
    assert_eq!(commands[3]["report"]["schema"], "cairn.minor/1");
    let latest = world.staging("mirror/pub/rocky/latest-9");
    assert_eq!(fs::read_link(latest).unwrap(), Path::new("9.7-RC2"));

    // A failure reports what was done before it, and what was not.
    fs::remove_file(world.places().compose.join("9/latest-Rocky-devel-9")).unwrap();
    let run = world.cairn(["--json", "toolkit", "RLVER=9", "minor-release-sync-to-staging.sh"]);
    let run = run.exits(1);
    let codes: Vec<Value> = {
        let document = run.json();
        document["commands"].as_array().unwrap().iter().map(|step| step["code"].clone()).collect()
    };
    assert_eq!(codes, [Value::from(0), Value::from(0), Value::Null, Value::Null]);
    let message = run.error_json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("latest-Rocky-devel-9"), "{message}");

    let run = world.cairn(["toolkit", "--print", "RLVER=9", "sync-to-prod.delete.sh"]).ok();
    assert_eq!(
        run.out(),
        format!("cairn --config {} promote 9 --delete\n", world.config().display())
    );
    let report = world.json(["toolkit", "--print", "RLVER=9", "sync-to-prod.sh"]);
    assert_eq!(
        (&report["commands"][0]["code"], &report["commands"][0]["report"]),
        (&Value::Null, &Value::Null)
    );
    assert!(!world.production("mirror/pub").exists(), "printing runs nothing");
}

#[test]
fn shims_are_installed_whole_again_and_beside_nobody_s_scripts() {
    let world = three_releases();
    let dir = world.places().compose.join("sync");
    let install = |flags: &[&str]| {
        let args = [flags, &["toolkit", "--install", dir.to_str().unwrap()]].concat();
        world.cairn(args)
    };
    let run = install(&["-n"]).ok();
    assert!(run.out().contains("Nothing was written.") && !dir.exists(), "{}", run.report());
    install(&[]).ok();
    let names: Vec<String> = {
        let entries = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| name.into_string().unwrap()).collect()
    };
    assert!(names.len() > 25, "{names:?}");
    for name in &names {
        let path = dir.join(name);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o755, "{name}");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 3, "{name}");
        assert!(text.contains(&format!("--config {}", world.config().display())), "{text}");
    }
    // Bash finds a script on PATH too, and a shim runs as a program.
    let path = format!("PATH={}:$PATH", dir.display());
    let run = line(Path::new("/"), &format!("{path} bash RLVER=9 sync-to-prod.sh")).exits(1);
    assert!(run.err().contains("staging/9.7-RC2"), "{}", run.report());
    line(Path::new("/"), &format!("RLVER=9 {}/sync-to-prod.sh", dir.display())).exits(1);

    let all = names.len();
    let again = world.json(["toolkit", "--install", dir.to_str().unwrap()]);
    assert_eq!(again["schema"], "cairn.toolkit-install/1");
    assert_eq!(again["unchanged"].as_array().unwrap().len(), all);
    assert_eq!(
        (again["written"].as_array().unwrap().len(), again["removed"].as_array().unwrap().len()),
        (0, 0)
    );

    // A release that is configured no longer takes its shims with it.
    let text = fs::read_to_string(world.config()).unwrap();
    world.set_config(&format!("{text}\n[release.9]\nchannel.stable = {{ version = \"9.7\" }}\n"));
    let fewer = world.json(["toolkit", "--install", dir.to_str().unwrap()]);
    let removed = fewer["removed"].as_array().unwrap();
    assert!(removed.contains(&"RLVER=8".into()) && removed.contains(&"prep-staging-10.sh".into()));
    assert!(!dir.join("RLVER=8").exists() && dir.join("RLVER=9").exists());

    // What is not ours stays as it is, and so does all the rest.
    fs::write(dir.join("sync-to-prod.sh"), "#!/bin/bash\nrsync --delete\n").unwrap();
    fs::remove_file(dir.join("sync-to-staging.sh")).unwrap();
    let run = install(&[]).exits(2);
    assert!(run.err().contains("no shims: sync-to-prod.sh"), "{}", run.report());
    assert!(!dir.join("sync-to-staging.sh").exists());
    assert!(fs::read_to_string(dir.join("sync-to-prod.sh")).unwrap().contains("rsync"));
}
