//! Gates that are commands.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// What is tested here; `view-moved` needs a view, and is tested end to end.
pub(super) const RULES: &[&str] =
    &["command-failed", "command-timed-out", "command-not-started", "view-moved"];

/// A world with a gate `own` that runs a shell script, and a directory for what it leaves.
fn with_script(body: &str, more: &str) -> (World, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("gate");
    let here = dir.path().display();
    fs::write(&script, format!("#!/bin/sh\nHERE='{here}'\n{body}\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let world = World::with(&format!(
        "[gate.own]\ncommand = [\"{}\", \"{{ref}}\", \"{{version}}\", \"{{path}}\"]\n{more}\n",
        script.display()
    ));
    (world, dir)
}

fn ask(world: &World, recorded: Recorded, mode: Mode) -> GateReport {
    let draft = Draft::new(&world.site.store);
    let mut files = Files::from([("a/README".to_owned(), b"hello".to_vec())]);
    files.insert("empty".to_owned(), Vec::new());
    let root = world.tree(&draft, &files);
    let root = put(&draft, &root, "link", link("a/README"));
    let subject = Subject { recorded, ..world.subject(&draft, None, root, mode) };
    run(&subject, &["own".to_owned()]).unwrap().remove(0)
}

/// What lies where trees are built.
fn left(world: &World) -> usize {
    let tmp = world.site.home().unwrap().pool().root().path().join("tmp");
    fs::read_dir(tmp).unwrap().count()
}

#[test]
fn a_command_sees_the_tree_and_answers_by_its_exit_code() {
    let body = "cat > $HERE/stdin\necho \"$1 $2\" > $HERE/args\n\
                cd \"$3\" && cat a/README link empty > $HERE/seen && stat -c %Y a/README > $HERE/time";
    let (world, dir) = with_script(body, "");
    let report = ask(&world, Recorded::Renewed, Mode::Apply);
    assert_eq!((report.verdict, report.findings.len()), (Verdict::Passed, 0), "{report:#?}");
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(read("seen"), "hellohello");
    assert_eq!(read("time").trim(), MTIME.secs.to_string());
    assert_eq!(read("args"), "production/9.7 9.7\n");
    let document: serde_json::Value = serde_json::from_str(&read("stdin")).unwrap();
    assert_eq!(document["schema"], "cairn.gate/1");
    assert_eq!((&document["gate"], &document["release"]), (&"own".into(), &"9".into()));
    assert_eq!((&document["major"], &document["version"]), (&9.into(), &"9.7".into()));
    assert_eq!(document["before"], serde_json::Value::Null);
    assert!(document["path"].as_str().unwrap().ends_with("/tree"), "{document}");
    // The tree is gone when the command has ended.
    assert_eq!(left(&world), 0);
}

#[test]
fn a_command_that_fails_is_quoted_and_one_that_takes_too_long_is_killed_with_its_children() {
    let cases = [
        (
            "echo checked; echo 'no \x1b[31mkernel' >&2; exit 3",
            "",
            "command-failed",
            "ended with exit code 3",
        ),
        ("kill -9 $$", "", "command-failed", "was killed by signal 9"),
        (
            "echo begun >&2; sleep 1000 & echo $! > $HERE/child; sleep 1000",
            "timeout = \"1s\"",
            "command-timed-out",
            "had not ended after 1s, and was killed; it said: begun",
        ),
    ];
    for (body, more, rule, said) in cases {
        let (world, dir) = with_script(body, more);
        let report = ask(&world, Recorded::Renewed, Mode::Apply);
        assert_eq!((report.verdict, report.findings.len()), (Verdict::Failed, 1), "{body}");
        let finding = &report.findings[0];
        assert_eq!((finding.gate, finding.rule), ("own", rule));
        assert!(finding.message.contains(said), "{}", finding.message);
        assert!(!finding.message.contains('\x1b'), "{}", finding.message);
        if body.contains("checked") {
            let both = "; it wrote: checked; it said: no \\u{1b}[31mkernel";
            assert!(finding.message.ends_with(both), "{}", finding.message);
        }
        assert_eq!(left(&world), 0, "{body}");
        if let Ok(child) = fs::read_to_string(dir.path().join("child")) {
            let stat = fs::read_to_string(format!("/proc/{}/stat", child.trim()));
            let state = stat.ok().and_then(|s| s.rsplit(") ").next().map(str::to_owned));
            assert!(state.is_none_or(|state| state.starts_with('Z')), "the child lives");
        }
    }
    let world = World::with("[gate.own]\ncommand = [\"/nowhere/gate\"]\n");
    let report = ask(&world, Recorded::Renewed, Mode::Apply);
    assert_eq!(report.findings[0].rule, "command-not-started");
    // Whatever it writes, little is kept.
    let (world, _dir) = with_script("yes no | head -c 10000000; exit 1", "");
    let report = ask(&world, Recorded::Renewed, Mode::Apply);
    assert!(report.findings[0].message.len() < 1000, "{}", report.findings[0].message.len());
}

#[test]
fn an_answer_belongs_to_the_tree_and_is_taken_or_renewed() {
    let body = "echo x >> $HERE/runs; test ! -e $HERE/broken || { echo broken; exit 1; }";
    let (world, dir) = with_script(body, "");
    let runs = || fs::read_to_string(dir.path().join("runs")).unwrap_or_default().lines().count();
    // A plan builds nothing, and there is no view.
    let report = ask(&world, Recorded::Taken, Mode::DryRun);
    assert_eq!((report.verdict, runs()), (Verdict::Unavailable, 0));
    let first = ask(&world, Recorded::Taken, Mode::Apply);
    assert_eq!((first.verdict, first.last, runs()), (Verdict::Passed, None, 1));
    // From then on the answer is known, in plans too.
    fs::write(dir.path().join("broken"), "").unwrap();
    for mode in [Mode::Apply, Mode::DryRun] {
        let again = ask(&world, Recorded::Taken, mode);
        assert_eq!((again.verdict, runs()), (Verdict::Passed, 1));
        assert!(again.reason.unwrap().starts_with("asked at 20"));
    }
    // Asking again renews it, and says what it was.
    let renewed = ask(&world, Recorded::Renewed, Mode::Apply);
    assert_eq!((renewed.verdict, runs()), (Verdict::Failed, 2));
    assert_eq!(renewed.last.unwrap().verdict, Verdict::Passed);
    let taken = ask(&world, Recorded::Taken, Mode::Apply);
    assert_eq!((taken.verdict, runs()), (Verdict::Failed, 2));
    assert!(taken.findings[0].message.contains("it wrote: broken"), "{taken:#?}");
    // Another tree has no answer.
    let draft = Draft::new(&world.site.store);
    let root = world.tree(&draft, &Files::from([("other".to_owned(), b"x".to_vec())]));
    let subject = world.subject(&draft, None, root, Mode::Apply);
    let subject = Subject { recorded: Recorded::Taken, ..subject };
    let report = run(&subject, &["own".to_owned()]).unwrap().remove(0);
    assert_eq!((report.last, runs()), (None, 3));
}

#[test]
fn a_tree_that_a_killed_command_left_is_swept() {
    let (world, _dir) = with_script("exit 0", "");
    let tmp = world.site.home().unwrap().pool().root().path().join("tmp");
    fs::create_dir_all(tmp.join("look-dead/tree/a")).unwrap();
    fs::write(tmp.join("look-dead/lock"), "").unwrap();
    assert_eq!(ask(&world, Recorded::Renewed, Mode::Apply).verdict, Verdict::Passed);
    assert_eq!(left(&world), 0);
}
