//! Completions, asked of the program and of the shells themselves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_testkit::terminal::Terminal;
use cairn_testkit::{Run, Unavailable, World, available, tool};

use crate::world;

const BINARY: &str = env!("CARGO_BIN_EXE_cairn");

/// A world with something to complete: refs with a history, a hold, a gate of its own.
fn full() -> World {
    let world = world();
    let config = fs::read_to_string(world.config()).unwrap();
    world.set_config(&(config + "\n[gate.install]\ncommand = [\"true\"]\n"));
    world.cairn(["init"]).ok();
    for compose in [World::first, World::second] {
        compose(&world);
        world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
        world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
        world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%"]).ok();
    }
    world.cairn(["hold", "production/9.7~1", "--as", "before", "-m", "to be sure"]).ok();
    world
}

/// Asks the program what may stand at the end of the words, as fish does.
fn asked(world: &World, words: &[&str]) -> Run {
    let mut command = Command::new(BINARY);
    command.args(["__complete", "fish", "cairn", "--config"]).arg(world.config()).args(words);
    Run::of(&mut command)
}

fn offered(world: &World, words: &[&str]) -> Vec<String> {
    let run = asked(world, words).ok();
    assert_eq!(run.err(), "", "{}", run.report());
    let values = run.out();
    let values = values.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned());
    values.collect()
}

/// Every path below a directory, with what changes when somebody writes there.
fn state(dir: &Path) -> BTreeMap<PathBuf, (u64, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.insert(path, (metadata.len(), metadata.modified().unwrap()));
    }
    found
}

#[test]
fn every_kind_of_name_is_offered_where_the_command_takes_it() {
    let world = full();
    let snapshot = world.json(["show", "production/9.7"])["snapshot"].as_str().unwrap().to_owned();
    for (words, all) in [
        (&["rollback", ""][..], &["compose/9/Rocky", "production/9.7", "staging/9.7-RC2"][..]),
        (&["log", "prod"], &["production/9.7"]),
        (&["diff", "production/9.7", "stag"], &["staging/9.7-RC2"]),
        (&["show", "production/9.7~"], &["production/9.7~0", "production/9.7~1"]),
        (&["ls", "-R", "comp"], &["compose/9/Rocky"]),
        (&["promote", ""], &["9", "9-beta"]),
        (&["promote", "9", ""], &["9-beta"]),
        (&["stage", "9", ""], &["Rocky"]),
        (&["check", "staging/9.7-RC2", "in"], &["install"]),
        (&["check", "staging/9.7-RC2", "clo"], &["closure"]),
        (&["promote", "9", "--skip-gate", "no-d"], &["no-downgrade"]),
        (&["diff", "a", "b", "--repo", "Base"], &["BaseOS"]),
        (&["diff", "a", "b", "--repo=Base"], &["--repo=BaseOS"]),
        (&["diff", "a", "b", "--arch", "x86"], &["x86_64"]),
        (&["hold", "release", ""], &["before"]),
        (&["log", "--release", "9-b"], &["9-beta"]),
        (&["vault", "9."], &["9.7"]),
        (&["adopt", "vault/"], &["vault/9.6", "vault/9.7"]),
        (&["toolkit", "RLVER="], &["RLVER=9"]),
        (&["rollback", "production/9.7", "--to", "production/9.7~"], &["production/9.7~1"]),
        (&["show", &snapshot[..6]], &[&snapshot[..12]]),
    ] {
        let offered = offered(&world, words);
        for one in all {
            assert!(offered.iter().any(|o| o == one), "{words:?}: {one} in {offered:?}");
        }
    }
    // Operations are told, the newest first.
    let shown = asked(&world, &["show", ""]).ok().out();
    let numbers: Vec<&str> = shown.lines().filter(|line| line.as_bytes()[0] < b'A').collect();
    assert!(numbers[0].starts_with("7\thold ") && numbers[6].starts_with("1\tingest "), "{shown}");
    let at = offered(&world, &["show", "production/9.7@"]);
    assert_eq!(at.len(), 2);
    for rev in at {
        world.cairn(["show", &rev]).ok();
    }
}

#[test]
fn asking_changes_nothing_waits_for_nobody_and_never_fails() {
    let world = full();
    let store = world.places().store.clone();
    let before = state(&store);
    // Whoever holds every lock there is does not matter.
    let locks: Vec<_> = fs::read_dir(store.join("locks"))
        .unwrap()
        .map(|entry| fs::File::open(entry.unwrap().path()).unwrap())
        .collect();
    assert!(!locks.is_empty());
    for lock in &locks {
        rustix::fs::flock(lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    }
    assert!(offered(&world, &["rollback", ""]).contains(&"production/9.7".to_owned()));
    assert_eq!(state(&store), before);
    drop(locks);
    // An index that is none, is empty, or is not there, is not made.
    let index = store.join("index.redb");
    let sound = fs::read(&index).unwrap();
    for broken in [&b""[..], b"this is no index", &sound[..sound.len() / 2]] {
        fs::write(&index, broken).unwrap();
        let before = state(&store);
        let _ = offered(&world, &["rollback", ""]);
        assert_eq!(state(&store), before);
    }
    fs::remove_file(&index).unwrap();
    assert_eq!(offered(&world, &["rollback", ""]), [""; 0]);
    assert!(!index.exists());
    // What the configuration knows is offered all the same.
    assert!(offered(&world, &["promote", ""]).contains(&"9".to_owned()));
    fs::remove_dir_all(&store).unwrap();
    assert_eq!(offered(&world, &["show", ""]), [""; 0]);
    assert!(!store.exists());
    world.set_config("[store]\nnonsense = 1\n");
    assert_eq!(offered(&world, &["promote", ""]), [""; 0]);
    fs::remove_file(world.config()).unwrap();
    assert_eq!(offered(&world, &["promote", ""]), [""; 0]);
    for words in [&[][..], &["fish"], &["fish", "cairn"], &["", "", ""], &["bash", "cairn", "'"]] {
        let run = Run::of(Command::new(BINARY).arg("__complete").args(words)).ok();
        assert_eq!(run.err(), "", "{}", run.report());
    }
}

/// A shell at a prompt, with our script loaded.
struct Shell {
    terminal: Terminal,
    turn: usize,
}

impl Shell {
    fn start(world: &World, home: &Path, name: &str) -> Result<Self, Unavailable> {
        tool(name)?;
        tool("setsid")?;
        let bin = home.join("bin");
        fs::create_dir_all(&bin).unwrap();
        if !bin.join("cairn").exists() {
            std::os::unix::fs::symlink(BINARY, bin.join("cairn")).unwrap();
        }
        let script = home.join(name);
        fs::write(&script, world.cairn(["completion", name]).ok().stdout).unwrap();
        let path = std::env::var("PATH").unwrap();
        // Interactive shells want to be masters of their terminal.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", name]);
        let begin = match name {
            "bash" => {
                command.args(["--noprofile", "--norc", "-i"]);
                "bind 'set enable-bracketed-paste off'; PS1='READY''> '; source"
            }
            "zsh" => {
                command.args(["-f", "-i"]);
                "autoload -U compinit && compinit -u -D; PS1='READY''> '; source"
            }
            _ => {
                command.args(["--no-config", "-i"]);
                "function fish_prompt; echo -n 'READY''> '; end; source"
            }
        };
        command
            .current_dir(home)
            .env("HOME", home)
            .env("TERM", "xterm")
            .env("INPUTRC", "/dev/null");
        command.env("PATH", format!("{}:{path}", bin.display())).env("LC_ALL", "C.UTF-8");
        command.env("CAIRN_CONFIG", world.config()).env_remove("ENV").env_remove("BASH_ENV");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("XDG_") {
                command.env_remove(name);
            }
        }
        let mut terminal = Terminal::start(command, 200, 50);
        terminal.send(&format!("{begin} {}\n", script.display()));
        terminal.until("prompt", |seen| seen.contains("READY> ").then_some(()));
        Ok(Self { terminal, turn: 0 })
    }

    /// Types something, presses Tab, and returns the words that then stand there.
    fn complete(&mut self, typed: &str) -> Vec<String> {
        self.turn += 1;
        let from = self.terminal.so_far().len();
        // Ctrl-A goes to the beginning of the line, which is then printed instead of run.
        self.terminal.send(&format!("{typed}\t\x01printf 'WORD<%s>\\n' \n"));
        self.terminal.send(&format!("echo DO''NE-{}\n", self.turn));
        let done = format!("DONE-{}", self.turn);
        let printed = self.terminal.until(&done, |seen| {
            let printed = seen.get(from..)?;
            let (printed, rest) = printed.split_once(&done)?;
            rest.contains("READY> ").then(|| printed.to_owned())
        });
        let words = printed.split("WORD<").skip(1).filter_map(|word| Some(word.split_once('>')?.0));
        words.filter(|word| *word != "%s").map(str::to_owned).collect()
    }
}

fn a_shell_completes(name: &str) {
    let world = full();
    let home = tempfile::tempdir().unwrap();
    let Some(mut shell) = available(Shell::start(&world, home.path(), name)) else { return };
    let other = world.places().compose.join("other place.toml");
    let text = fs::read_to_string(world.config()).unwrap();
    let no_store = text.replace(world.places().store.to_str().unwrap(), "/nonexistent/store");
    assert_ne!(text, no_store);
    fs::write(&other, no_store).unwrap();
    fs::write(home.path().join("some-file.xml"), "").unwrap();
    let quoted = format!("--config '{}'", other.display());
    for (typed, words) in [
        ("cairn prom", &["promote"][..]),
        ("cairn rollback prod", &["rollback", "production/9.7"]),
        ("cairn rollback production/9.7 --to=stag", &["--to=staging/9.7-RC2"]),
        ("cairn show production/9.7~1", &["show", "production/9.7~1"]),
        ("cairn diff production/9.7~1 st", &["production/9.7~1", "staging/9.7-RC2"]),
        ("cairn promote 9 --allow", &["9", "--allow-deletes"]),
        ("cairn promote 9-b", &["9-beta"]),
        ("cairn stage 9 Roc", &["stage", "9", "Rocky"]),
        ("cairn check staging/9.7-RC2 inst", &["check", "staging/9.7-RC2", "install"]),
        ("cairn diff a b --repo Base", &["--repo", "BaseOS"]),
        ("cairn hold release bef", &["before"]),
        ("cairn errata apply 9 --from some-f", &["--from", "some-file.xml"]),
        ("cairn errata apply 9 --from=some-f", &["--from=some-file.xml"]),
        ("cairn -n --color ne", &["-n", "--color", "never"]),
        // The configuration that is named counts: that one's store does not exist.
        (&format!("cairn {quoted} rollback prod"), &["rollback", "prod"]),
        (&format!("cairn {quoted} promote 9-b"), &["promote", "9-beta"]),
    ] {
        let found = shell.complete(typed);
        assert!(found.join(" ").ends_with(&words.join(" ")), "{name}: {typed}: {found:?}");
    }
    // What is new since is known at once.
    world.cairn(["hold", "production/9.7", "--as", "newest", "-m", "a test"]).ok();
    assert!(shell.complete("cairn hold release newe").ends_with(&["newest".to_owned()]));
    // A cairn that does not know the question: its commands are completed, and nothing is said.
    fs::remove_file(home.path().join("bin/cairn")).unwrap();
    fs::write(home.path().join("bin/cairn"), "#!/bin/sh\necho no such verb >&2\nexit 2\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(home.path().join("bin/cairn"), mode).unwrap();
    let from = shell.terminal.so_far().len();
    assert!(shell.complete("cairn verify-m").ends_with(&["verify-mirror".to_owned()]));
    let _ = shell.complete("cairn rollback prod");
    let said = String::from_utf8_lossy(&shell.terminal.so_far()[from..]).into_owned();
    assert!(!said.contains("no such verb"), "{said}");
}

#[test]
fn bash_completes_at_the_prompt() {
    a_shell_completes("bash");
}

#[test]
fn zsh_completes_at_the_prompt() {
    a_shell_completes("zsh");
}

#[test]
fn fish_completes_at_the_prompt() {
    a_shell_completes("fish");
}

#[test]
fn fish_says_what_the_candidates_are() {
    if available(tool("fish")).is_none() {
        return;
    }
    let world = full();
    let home = tempfile::tempdir().unwrap();
    let script = home.path().join("cairn.fish");
    fs::write(&script, world.cairn(["completion", "fish"]).ok().stdout).unwrap();
    let ask = |line: &str| {
        let text = format!("source {}; complete -C '{line}'", script.display());
        let mut fish = Command::new("fish");
        fish.args(["--no-config", "-c", &text]).env("HOME", home.path());
        Run::of(fish.env("CAIRN_CONFIG", world.config())).ok().out()
    };
    let program = format!("{BINARY} ");
    let offered = ask(&format!("{program}promote "));
    assert!(offered.contains("9\t9.7\n") && offered.contains("9-beta\t"), "{offered}");
    let offered = ask(&format!("{program}show 6"));
    assert!(offered.contains("6\tpromote 20"), "{offered}");
    let offered = ask(&format!("{program}promote --emb"));
    assert!(offered.contains("--embargo\tKeep others out until cairn open"), "{offered}");
}
