//! Least privilege: what is written is for its owner, whatever the umask says, and no shell is run.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_testkit::{CrashPoint, Run, World, settle};

use crate::crashes::{small, small_update};
use crate::world;

const LIVE: &str = "mirror/pub/rocky/9.7";

/// Runs cairn with this umask; `crash` is a point where it kills itself.
fn under(world: &World, umask: &str, crash: Option<CrashPoint>, args: &[&str]) -> Run {
    let cairn = world.command();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]).arg(cairn.get_program());
    shell.args(cairn.get_args()).args(args);
    for (name, value) in cairn.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    if let Some(point) = crash {
        shell.env("CAIRN_CRASH_AT", format!("{}:1", point.name()));
    }
    Run::of(&mut shell)
}

/// What a path of the store or of a pool is, without what differs between two of a kind.
fn kind(path: &Path) -> String {
    let name = |part: &std::ffi::OsStr| {
        let name = part.to_string_lossy();
        let is_hex = |text: &str| text.len() >= 2 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let is_tree = || {
            let number = name.strip_prefix('t').filter(|number| !number.is_empty());
            number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
        };
        match (name.split_once('.'), name.rsplit_once('-')) {
            _ if is_hex(&name) => "HEX".to_owned(),
            _ if is_tree() => "TREE".to_owned(),
            (Some(("", rest)), _) if rest.ends_with(".tmp") => ".TEMP".to_owned(),
            (Some(("", rest)), _) if rest.starts_with("trash-") => ".TRASH".to_owned(),
            (Some(("", rest)), _) if rest.split('-').all(is_hex) => ".OBJECT".to_owned(),
            (Some((first, rest)), _) if is_hex(first) => format!("HEX.{rest}"),
            // What is kept, or is being made, has a number of its own at the end.
            (_, Some((first, number))) if is_hex(number) => format!("{first}-N"),
            _ => name.into_owned(),
        }
    };
    path.iter().map(name).collect::<Vec<_>>().join("/")
}

/// Every kind of path below a directory with its mode; what a release published is not of interest.
fn modes(root: &Path, seen: &mut BTreeSet<(String, u32)>) {
    let mut ahead = vec![root.to_owned()];
    while let Some(path) = ahead.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let short = kind(path.strip_prefix(root.parent().unwrap()).unwrap());
        // A published file's mode is that of the compose, and its tree's too.
        if short.contains("/TREE/") || short.contains("/objects/HEX/HEX") {
            continue;
        }
        if stat.is_dir() {
            ahead.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        if !stat.is_symlink() {
            seen.insert((short, stat.mode() & 0o7777));
        }
    }
}

/// A life with something of everything: published, changed, collected, damaged, repaired, killed.
fn lived(umask: &str) -> BTreeSet<(String, u32)> {
    let world = world();
    let run = |args: &[&str]| under(&world, umask, None, args);
    let latest = world.latest();
    let latest = latest.to_str().unwrap();
    let mut seen = BTreeSet::new();
    let mut look = || {
        modes(&world.places().store, &mut seen);
        modes(&world.staging(".cairn"), &mut seen);
        modes(&world.production(".cairn"), &mut seen);
    };
    run(&["init"]).ok();
    for compose in [small(), small_update()] {
        compose.write(&world.places().compose).unwrap();
        run(&["ingest", latest]).ok();
        run(&["stage", "9", "Rocky", "--delete"]).ok();
        run(&["promote", "9", "--delete", "--allow-deletes", "100%"]).ok();
    }
    look();
    for _ in 0..2 {
        let gc = ["gc", "--keep-last", "1", "--keep-within", "0s", "--grace", "0s"];
        run(&gc).ok();
        look();
    }
    // Damage that is set aside: an object of which no copy is left, and a file of the store.
    fs::remove_dir_all(world.places().compose.join("9")).unwrap();
    for view in [world.production(LIVE), world.staging("mirror/pub/rocky/9.7-RC2")] {
        let packages = view.join("BaseOS/x86_64/os/Packages");
        // A published file is the object: what is written into it is written into the pool.
        fs::write(first_file(&packages), "not what it was").unwrap();
    }
    fs::write(world.places().store.join("format"), "{}").unwrap();
    fs::write(world.places().store.join("index.redb"), "no index").unwrap();
    // A repair must find the damage by each name of the file.
    settle();
    run(&["fsck", "--repair"]);
    look();
    // What a killed command leaves: the files that it was writing.
    let more = world.places().compose.join("more");
    fs::create_dir(&more).unwrap();
    small().file("compose/new", "x").write(&more).unwrap();
    let more = more.join("9/latest-Rocky-9");
    for point in [CrashPoint::ObjectWritten, CrashPoint::OperationWritten] {
        under(&world, umask, Some(point), &["ingest", more.to_str().unwrap()]).killed();
        look();
    }
    seen
}

/// Returns the first file below a directory, in the order of names.
fn first_file(dir: &Path) -> PathBuf {
    let mut all: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    all.sort();
    match all.remove(0) {
        path if path.is_dir() => first_file(&path),
        path => path,
    }
}

#[test]
fn modes_of_everything_that_is_written_do_not_depend_on_the_umask() {
    let [open, usual, closed] = ["000", "022", "077"].map(lived);
    assert_eq!(open, usual);
    assert_eq!(closed, usual);
    for (path, mode) in &usual {
        assert_eq!(mode & 0o022, 0, "{path} has mode {mode:o}");
        assert_eq!(mode & 0o6000, 0, "{path} has mode {mode:o}");
    }
    let mode = |wanted: &str| {
        let found = usual.iter().find(|(path, _)| path == wanted);
        found.unwrap_or_else(|| panic!("there is no {wanted} in {usual:#?}")).1
    };
    // What keeps others out; what lies below does not matter then.
    for (path, expected) in [
        ("store", 0o750),
        ("store/log", 0o750),
        ("store/packs", 0o750),
        ("store/locks", 0o750),
        ("store/index.redb", 0o640),
        ("store/packs/HEX.pack", 0o440),
        ("store/quarantine", 0o700),
        (".cairn", 0o711),
        (".cairn/objects", 0o700),
        (".cairn/objects/HEX", 0o700),
        (".cairn/tmp", 0o700),
        (".cairn/quarantine", 0o700),
    ] {
        assert_eq!(mode(path), expected, "{path}");
    }
    // What is being written is for nobody but its writer.
    let temps: Vec<_> = usual.iter().filter(|(path, _)| path.contains(".TEMP")).collect();
    assert!(!temps.is_empty(), "{usual:#?}");
    for (path, mode) in temps {
        assert_eq!(mode & 0o077 & !0o040, 0, "{path} has mode {mode:o}");
    }
}

/// The sources of everything that is in the program.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut ahead: Vec<PathBuf> =
        ["cli/src", "fsck/src", "store/src", "store/repodata/src", "store/releng/src"]
            .map(|dir| root.join(dir))
            .to_vec();
    let mut found = Vec::new();
    while let Some(path) = ahead.pop() {
        if path.is_dir() {
            ahead.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // The sample's packages have scripts in them, which nobody runs here.
        let is_test =
            name == "tests.rs" || path.iter().any(|part| part == "tests" || part == "sample");
        if name.ends_with(".rs") && !is_test {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
            found.push((path.strip_prefix(&root).unwrap().to_owned(), code));
        }
    }
    found
}

#[test]
fn programs_are_started_in_one_place_and_no_shell_is_among_them() {
    let sources = sources();
    assert!(sources.len() > 100, "{} sources were found", sources.len());
    let with = |what: &str| -> Vec<&Path> {
        let has = sources.iter().filter(|(_, code)| code.contains(what));
        has.map(|(path, _)| path.as_path()).collect()
    };
    // Arguments are a list there, so nothing in a name is ever a command.
    assert_eq!(with("Command::new"), [Path::new("store/releng/src/program.rs")]);
    for start in ["fork(", "execve", "posix_spawn", "libc::system", "rustix::runtime"] {
        assert_eq!(with(start), Vec::<&Path>::new(), "{start}");
    }
    for shell in ["\"dash\"", "\"zsh\"", "\"/bin/sh\"", "\"/bin/bash\"", "\"-lc\""] {
        assert_eq!(with(shell), Vec::<&Path>::new(), "{shell}");
    }
    // By word of the operator: `config import --run` asks bash for the scripts' settings.
    assert_eq!(with("\"-c\""), [Path::new("store/releng/src/import/bash.rs")]);
}
