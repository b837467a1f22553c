//! Names that speak to terminals, in every command and form: what is shown has no control character
//! but the line feed, and none that turns text around or hides it.
//!
//! Mirror lists are the exception: programs read them, and a name there is the name's bytes. A name
//! with a line feed is in none of them.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use cairn_testkit::{Run, World, hostile};
use serde_json::Value;

use crate::crashes::{small, small_update};
use crate::world;

const LIVE: &str = "mirror/pub/rocky/9.7";
pub(crate) const ESC: &[u8] = b"x\x1b]0;title\x07\x9b\xc2\x9b31m\xe2\x80\xae\nline\xff";

/// Returns the first character that has no place in a text for people.
pub(crate) fn raw(bytes: &[u8]) -> Option<String> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Some("no UTF-8".to_owned()) };
    let shown = |c: char| c == '\n' || cairn_store::path::is_plain(c);
    let at = text.char_indices().find(|(_, c)| !shown(*c))?;
    let around: String = text[..at.0].chars().rev().take(60).collect();
    Some(format!("{:?} after {:?}", at.1, around.chars().rev().collect::<String>()))
}

#[track_caller]
pub(crate) fn plain(run: &Run, what: &str) {
    assert_ne!(run.code(), Some(70), "{what}\n{}", run.report());
    assert_eq!(run.signal(), None, "{what}");
    for (stream, bytes) in [("stdout", run.out().into_bytes()), ("stderr", run.err().into_bytes())]
    {
        assert_eq!(raw(&bytes), None, "{stream} of {what}");
    }
}

/// A release whose first compose has the names, and whose second has them with another content.
pub(crate) struct Names {
    pub(crate) world: World,
    kept: tempfile::TempDir,
}

impl Names {
    pub(crate) fn new() -> Self {
        let names = Self { world: world(), kept: tempfile::tempdir().unwrap() };
        let world = &names.world;
        world.cairn(["init"]).ok();
        for (compose, content) in [(small(), "first"), (small_update(), "second")] {
            let written = compose.write(&world.places().compose).unwrap();
            let dir = written.dir.join("compose/BaseOS/x86_64/os/hostile");
            fs::create_dir(&dir).unwrap();
            for name in hostile::names(&dir) {
                fs::write(dir.join(name), content).unwrap();
            }
            hostile::symlinks(&dir);
            names.says("ingest", [world.latest().as_os_str()]);
            names.says("stage", ["9", "Rocky", "--delete"]);
            names.says("promote", ["9", "--delete", "--allow-deletes", "100%", "-n"]);
            names.says("promote", ["9", "--delete", "--allow-deletes", "100%"]);
        }
        names
    }

    /// Runs a command as a person would, and as a program would, who must both be safe.
    #[track_caller]
    pub(crate) fn says<A: AsRef<OsStr>>(
        &self,
        verb: &str,
        args: impl IntoIterator<Item = A>,
    ) -> Run {
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let run = Run::of(self.world.command().arg("-v").arg(verb).args(&args));
        plain(&run, &format!("cairn -v {verb} {args:?}"));
        run
    }

    #[track_caller]
    pub(crate) fn is_safe<A: AsRef<OsStr>>(&self, args: &[A]) {
        let args: Vec<&OsStr> = args.iter().map(AsRef::as_ref).collect();
        let (verb, rest) = args.split_first().unwrap();
        self.says(verb.to_str().unwrap(), rest);
        let run = self.world.cairn([OsStr::new("--json")].iter().chain(&args));
        plain(&run, &format!("cairn --json {args:?}"));
        if !run.out().is_empty() {
            serde_json::from_str::<Value>(&run.out()).expect("it is one document");
        }
    }

    pub(crate) fn left(&self, name: &str) -> PathBuf {
        self.kept.path().join(name)
    }
}

/// Every hostile name as an argument: what is not found is quoted.
fn arguments() -> Vec<OsString> {
    hostile::NAMES.iter().chain([&ESC]).map(|name| OsString::from_vec(name.to_vec())).collect()
}

#[test]
fn no_command_and_no_form_lets_a_name_speak_to_the_terminal() {
    let names = Names::new();
    let world = &names.world;
    let (old, new) = ("production/9.7~1", "production/9.7");
    for args in [
        &["ls", "-R", new][..],
        &["show", new],
        &["status"],
        &["log"],
        &["log", new],
        &["diff", old, new],
        &["diff", old, new, "--by", "all"],
        &["ls", "production/9.7:BaseOS/x86_64/os/hostile"],
        &["blame", new, "BaseOS/x86_64/os/hostile"],
        &["find", "*hostile*"],
        &["check", new],
        &["check", "staging/9.7-RC2"],
        &["rollback", new, "-n"],
        &["publish", "-n"],
        &["lists", "-n"],
        &["fsck", "--full"],
        &["gc", "-n", "--keep-last", "1", "--keep-within", "0s"],
        &["du"],
        &["config", "show"],
        &["verify-mirror", world.production(LIVE).to_str().unwrap(), new],
    ] {
        names.is_safe(args);
    }
    for form in ["text", "json", "markdown", "html"] {
        for by in ["files", "packages", "metadata", "all"] {
            let args = ["diff", old, new, "--by", by, "--format", form];
            plain(&world.cairn(args), &format!("{args:?}"));
            let file = names.left("report");
            let to = [OsStr::new("-o"), file.as_os_str()];
            world.cairn(args.map(OsStr::new).iter().chain(&to)).ok();
            assert_eq!(raw(&fs::read(&file).unwrap()), None, "{args:?} to a file");
        }
    }
    let metrics = names.left("cairn.prom");
    world.cairn(["status", "--metrics", metrics.to_str().unwrap()]).ok();
    assert_eq!(raw(&fs::read(&metrics).unwrap()), None, "metrics");
}

#[test]
fn what_is_typed_is_quoted_without_speaking_to_the_terminal() {
    let names = Names::new();
    for name in arguments() {
        let joined = |first: &str| {
            let mut whole = OsString::from(first);
            whole.push(&name);
            whole
        };
        let path = joined("production/9.7:BaseOS/x86_64/os/hostile/missing-");
        let file = joined("missing-");
        for args in [
            vec![OsStr::new("show"), &name],
            vec![OsStr::new("log"), &name],
            vec![OsStr::new("cat"), &path],
            vec![OsStr::new("ls"), &path],
            vec![OsStr::new("hold"), OsStr::new("production/9.7"), OsStr::new("-m"), &file],
            vec![OsStr::new("ingest"), &file],
            vec![OsStr::new("promote"), &file],
            vec![&*file],
        ] {
            let run = names.world.cairn([OsStr::new("--json")].iter().chain(&args));
            plain(&run, &format!("cairn --json {args:?}"));
            plain(&names.world.cairn(&args), &format!("cairn {args:?}"));
        }
    }
    plain(&names.world.cairn(["log"]), "a log with reasons");
    plain(&names.world.cairn(["status"]), "holds with reasons");
}

#[test]
fn what_checks_find_of_hostile_names_is_said_without_speaking_to_the_terminal() {
    let names = Names::new();
    let world = &names.world;
    let dir = world.production(LIVE).join("BaseOS/x86_64/os/hostile");
    for name in hostile::NAMES {
        let path = dir.join(OsStr::from_bytes(name));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "edited by hand").unwrap();
    }
    let mirror = world.production(LIVE);
    names.is_safe(&["verify-mirror", mirror.to_str().unwrap(), "production/9.7", "--full"]);
    names.is_safe(&["fsck"]);
    names.is_safe(&["fsck", "--full"]);
    names.is_safe(&["fsck", "--repair", "-n"]);
    names.says("fsck", ["--repair"]);
    // What cannot be part of a release is refused by its path.
    let special = world.places().compose.join(OsStr::from_bytes(ESC));
    fs::create_dir(&special).unwrap();
    make_fifo(&special.join(OsStr::from_bytes(b"fifo \x1b[2J")));
    let args =
        [OsStr::new("ingest"), OsStr::new("--as"), OsStr::new("compose/9/X"), special.as_os_str()];
    let run = world.cairn(args).exits(1);
    plain(&run, "a refused file");
    assert!(run.err().contains("fifo \\u{1b}[2J"), "{}", run.report());
    names.is_safe(&args);
}

fn make_fifo(path: &std::path::Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}
