//! `[hook.NAME]`: commands that hear of an operation when it has happened.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use cairn_testkit::{Run, World};
use serde_json::{Value, json};

use crate::world;

const PROMOTE: [&str; 3] = ["promote", "9", "--delete"];

/// A world whose sample release is ingested, with a place for what hooks leave.
struct Site {
    world: World,
    left: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let world = world();
        world.first();
        world.cairn(["init"]).ok();
        world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
        Self { world, left: tempfile::tempdir().unwrap() }
    }

    fn staged() -> Self {
        let site = Self::new();
        site.world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
        site
    }

    fn left(&self, name: &str) -> PathBuf {
        self.left.path().join(name)
    }

    /// Adds a hook that is this script.
    fn hook(&self, name: &str, on: &str, script: &str, more: &str) {
        let path = self.left(&format!("{name}.sh"));
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let path = path.display();
        self.add(&format!(
            "[hook.{name}]\non = {on}\n\
             command = [\"{path}\", \"{{verb}}\", \"{{number}}\", \"{{operation}}\", \"{{refs}}\"]\n\
             {more}\n"
        ));
    }

    /// Adds a hook that writes its document to `NAME.json` and its arguments to `NAME.args`.
    fn recorder(&self, name: &str, on: &str) {
        let (json, args) = (self.left(&format!("{name}.json")), self.left(&format!("{name}.args")));
        let script = format!(
            "cat >> '{}'\nprintf '%s|' \"$@\" \"$CAIRN_NAME\" >> '{}'",
            json.display(),
            args.display()
        );
        self.hook(name, on, &script, "");
    }

    fn add(&self, lines: &str) {
        let text = fs::read_to_string(self.world.config()).unwrap();
        self.world.set_config(&format!("{text}\n{lines}"));
    }

    /// Takes what a recorder was told, which must be one document.
    #[track_caller]
    fn told(&self, name: &str) -> Value {
        let path = self.left(&format!("{name}.json"));
        let text = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    #[track_caller]
    fn hears_nothing(&self, name: &str) {
        assert!(!self.left(&format!("{name}.json")).exists(), "{name} has run");
    }

    fn is_promoted(&self) {
        assert!(self.world.production("mirror/pub/rocky/9.7").is_dir());
        let row = &self.world.json(["log", "-N", "1"])["operations"][0];
        assert_eq!(row["verb"], "promote");
        let status = self.world.json(["status"]);
        let refs = status["refs"].as_array().unwrap();
        let live = refs.iter().find(|row| row["name"] == "production/9.7").unwrap();
        assert_eq!(live["view"]["state"], "live");
    }
}

/// Takes a hook's notes from a report that is otherwise what the hook was told.
fn notes(report: &Value) -> Vec<&str> {
    let notes = report["notes"].as_array().unwrap().iter().map(|note| note.as_str().unwrap());
    notes.filter(|note| note.contains("hook")).collect()
}

#[test]
fn a_hook_hears_what_the_command_says() {
    let site = Site::staged();
    site.recorder("tell", "\"promote\"");
    let mut said = site.world.json(PROMOTE);
    let args = fs::read_to_string(site.left("tell.args")).unwrap();
    let (number, id) = (&said["number"], said["operation"].as_str().unwrap());
    assert_eq!(args, format!("promote|{number}|{id}|production/9.7|tell|"));
    let told = site.told("tell");
    assert_eq!(notes(&said), Vec::<&str>::new());
    said["hook"] = "tell".into();
    assert_eq!(told, said);
    assert_eq!(told["schema"], "cairn.promote/1");
    site.is_promoted();
}

#[test]
fn each_verb_is_told_to_the_hooks_that_name_it_and_to_no_other() {
    let site = Site::new();
    site.recorder("out", "[\"promote\", \"rollback\"]");
    site.recorder("staged", "\"stage\"");
    site.recorder("words", "[\"approve\", \"hold\"]");
    let all = ["out", "staged", "words"];
    let only = |one: Option<&str>| {
        all.iter().filter(|name| Some(**name) != one).for_each(|name| site.hears_nothing(name));
        one.map(|name| site.told(name)).unwrap_or_default()
    };
    let cairn = |args: &[&str]| site.world.cairn(args).ok();
    cairn(&["stage", "9", "Rocky", "--delete"]);
    assert_eq!(only(Some("staged"))["refs"][0]["name"], "staging/9.7-RC2");
    cairn(&["approve", "staging/9.7-RC2", "-m", "tested"]);
    let told = only(Some("words"));
    assert_eq!((&told["schema"], &told["withdrawn"]), (&"cairn.approve/1".into(), &false.into()));
    // Approving twice changes nothing.
    cairn(&["approve", "staging/9.7-RC2", "-m", "tested"]);
    only(None);
    // A plan is told to nobody, nor is what changes nothing.
    cairn(&["promote", "9", "--delete", "-n"]);
    only(None);
    cairn(&PROMOTE);
    assert_eq!(only(Some("out"))["verb"], "promote");
    cairn(&PROMOTE);
    cairn(&["stage", "9", "Rocky", "--delete"]);
    cairn(&["publish"]);
    only(None);
    cairn(&["hold", "production/9.7", "--as", "first", "-m", "the first"]);
    assert_eq!(only(Some("words"))["held"][0]["name"], "first");
    cairn(&["hold", "release", "first", "-n"]);
    only(None);
    cairn(&["hold", "release", "first"]);
    assert_eq!(only(Some("words"))["released"][0]["name"], "first");

    site.world.second();
    cairn(&["ingest", site.world.latest().to_str().unwrap()]);
    only(None);
    cairn(&["stage", "9", "Rocky", "--delete"]);
    only(Some("staged"));
    cairn(&["promote", "9", "--delete", "--allow-deletes", "100%"]);
    only(Some("out"));
    cairn(&["rollback", "production/9.7", "-n"]);
    only(None);
    cairn(&["rollback", "production/9.7"]);
    assert_eq!(only(Some("out"))["schema"], "cairn.rollback/1");
    // What was refused did not happen.
    site.world.configure("gate.production", "approvals = 3");
    site.world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%"]).exits(4);
    only(None);
}

#[test]
fn a_publication_without_an_operation_is_told_where_it_swapped_something() {
    let site = Site::staged();
    site.recorder("swapped", "\"publish\"");
    let point = cairn_store::fault::CrashPoint::OperationIndexed;
    site.world.crash_at(point, 1, PROMOTE).killed();
    site.world.cairn(["publish"]).ok();
    let told = site.told("swapped");
    assert_eq!((&told["operation"], &told["hook"]), (&Value::Null, &"swapped".into()));
    let swapped = told["views"].as_array().unwrap().iter().filter(|view| view["swapped"] == true);
    assert_eq!(swapped.count(), 1, "{told:#}");
}

#[test]
fn a_failing_hook_is_told_and_undoes_nothing() {
    let site = Site::staged();
    site.hook("a-bad", "\"promote\"", "echo half; echo 'no route to host' >&2; exit 7", "");
    site.add("[hook.b-missing]\non = [\"promote\"]\ncommand = [\"/nonexistent/announce\"]\n");
    site.recorder("c-good", "\"promote\"");
    let run = Run::of(site.world.command().args(["-q", "--json"]).args(PROMOTE)).ok();
    let report = run.json();
    let [bad, missing] = notes(&report)[..] else { panic!("{report:#}") };
    let script = site.left("a-bad.sh");
    let script = script.display();
    assert_eq!(
        bad,
        format!(
            "The hook a-bad failed, and nothing is undone: {script} ended with exit code 7; it \
             wrote: half; it said: no route to host."
        )
    );
    assert!(missing.contains("/nonexistent/announce cannot be started: No such file"), "{missing}");
    // It is told to those who read no document, or only errors.
    assert_eq!(run.err(), format!("{bad}\n{missing}\n"));
    // The others run all the same, and the operation stands.
    assert_eq!(site.told("c-good")["operation"], report["operation"]);
    site.is_promoted();
}

#[test]
fn a_hook_that_takes_too_long_is_killed_with_its_children() {
    let site = Site::staged();
    let pid = site.left("pid");
    let script = format!(
        "trap '' TERM\n(trap '' TERM; echo $$ > /dev/null; exec sleep 1000) &\n\
         echo $! > '{}'\necho waiting >&2\nwait",
        pid.display()
    );
    site.hook("slow", "\"promote\"", &script, "timeout = \"1s\"");
    let run = site.world.cairn(PROMOTE).ok();
    let said = "slow.sh had not ended after 1s, and was killed; it said: waiting";
    assert!(run.err().contains(said), "{}", run.report());
    let child = fs::read_to_string(&pid).unwrap();
    assert!(is_gone(child.trim()), "process {child} lives on");
    site.is_promoted();
}

#[test]
fn an_interrupt_ends_the_hook_and_not_what_has_happened() {
    let site = Site::staged();
    let started = site.left("started");
    let script = format!("cat > /dev/null; echo $$ > '{}'; exec sleep 1000", started.display());
    site.hook("a-long", "\"promote\"", &script, "");
    site.recorder("b-next", "\"promote\"");
    let mut running = site.world.start(PROMOTE);
    while fs::read_to_string(&started).unwrap_or_default().is_empty() {
        assert!(running.is_running());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    running.signal(cairn_testkit::Signal::INT);
    let run = running.wait().ok();
    let said = [
        "The hook a-long was ended: the command was interrupted.",
        "The hook b-next was not run: the command was interrupted.",
    ];
    assert!(said.iter().all(|said| run.err().contains(said)), "{}", run.report());
    site.hears_nothing("b-next");
    assert!(is_gone(fs::read_to_string(&started).unwrap().trim()));
    site.is_promoted();
}

/// Tells whether a process has ended; one that nobody has reaped yet has.
fn is_gone(pid: &str) -> bool {
    let stat = Path::new("/proc").join(pid).join("stat");
    (0..3000).any(|_| {
        let text = fs::read_to_string(&stat).unwrap_or_default();
        let state = text.rsplit(") ").next().and_then(|rest| rest.chars().next());
        if state.is_none_or(|state| state == 'Z' || state == 'X') {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        false
    })
}

#[test]
fn what_a_hook_says_is_escaped_and_bounded() {
    let site = Site::staged();
    // It does not read its document, writes an escape sequence and bytes that are no text, and
    // talks on both pipes more than they hold.
    let loud = "exec 0<&-\n\
                i=0; while [ $i -lt 3000 ]; do \
                echo 'a line that is written again and again, to fill every buffer there is'; \
                echo 'a line that is said again and again, to fill every buffer there is' >&2; \
                i=$((i+1)); done\n\
                printf '\\033[2J\\033]0;owned\\007\\377 bell\\n'\n\
                printf 'said \\033[31m\\377\\n' >&2";
    site.hook("loud", "\"promote\"", loud, "");
    let run = Run::of(site.world.command().args(["-v"]).args(PROMOTE)).ok();
    let err = String::from_utf8(run.stderr.clone()).unwrap();
    let note = err.lines().find(|line| line.starts_with("The hook loud ran; it wrote: … "));
    let note = note.unwrap_or_else(|| panic!("{err}"));
    // Stdout is kept from its beginning, stderr to its end.
    assert!(note.contains("said \\u{1b}[31m"), "{note}");
    assert!(note.len() < 16_000, "{} bytes", note.len());
    assert!(!err.contains('\u{1b}') && !err.contains('\u{7}'), "{err:?}");
    site.is_promoted();

    // A short answer is told whole, but not with -q.
    let short = "cat > /dev/null; printf '\\033[2Jtitle \\007\\377\\n'";
    site.hook("short", "\"hold\"", short, "");
    let run = site.world.json(["hold", "production/9.7", "--as", "x", "-m", "why"]);
    let [note] = notes(&run)[..] else { panic!("{run:#}") };
    let start = "The hook short ran; it wrote: \\u{1b}[2Jtitle \\u{7}";
    assert!(note.starts_with(start), "{note}");
    let run = site.world.cairn(["-q", "hold", "release", "x"]).ok();
    assert_eq!((run.out(), run.err()), (String::new(), String::new()));
}

#[test]
fn a_hook_may_run_cairn_itself() {
    let site = Site::staged();
    let (binary, config) = (env!("CARGO_BIN_EXE_cairn"), site.world.config().display());
    let out = site.left("held.json");
    let script = format!(
        "cat > /dev/null\n'{binary}' --config '{config}' --json hold production/9.7 \
         --as \"op-$2\" -m \"promoted\" > '{}'",
        out.display()
    );
    site.hook("keep", "\"promote\"", &script, "");
    let done = site.world.json(PROMOTE);
    assert_eq!(done["notes"], json!([]), "{done:#}");
    let held: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    assert_eq!(held["held"][0]["name"], format!("op-{}", done["number"]));
    // The operation of the hook is another one, after that which it was told of.
    assert!(held["number"].as_u64() > done["number"].as_u64(), "{held:#}");
}

#[test]
fn a_configuration_names_what_is_wrong_with_a_hook() {
    let site = Site::new();
    let config = fs::read_to_string(site.world.config()).unwrap();
    for (lines, said) in [
        ("on = \"promot\"\ncommand = [\"x\"]", "did you mean \"promote\"?"),
        ("on = \"promote\"\ncommand = [\"x\", \"{path}\"]", "{path}"),
        ("on = \"promote\"", "missing key \"command\""),
    ] {
        site.world.set_config(&format!("{config}\n[hook.x]\n{lines}\n"));
        let run = site.world.cairn(["config", "check"]).exits(2);
        assert!(run.err().contains(said), "{}", run.report());
    }
}
