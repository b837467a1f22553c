//! The exit code says the cause: what a disk answers is an error of the disk (1), and never damage
//! of the store (13), which sends people to their backups.

use std::path::Path;
use std::process::Command;

use cairn_testkit::{Run, Unavailable, World, available};

use crate::crashes::twice_published;
use crate::filesystems::files_below;

/// Whether strace is there and may trace.
fn strace() -> Result<(), Unavailable> {
    let refused = |reason: String| Unavailable::Refused { what: "strace".into(), reason };
    match Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output() {
        Ok(run) if run.status.success() => Ok(()),
        Ok(run) => Err(refused(String::from_utf8_lossy(&run.stderr).into_owned())),
        Err(_) => Err(Unavailable::NoTool { tool: "strace".to_owned() }),
    }
}

/// Runs cairn where, from its `nth` on, every such call on these files of the store fails with EIO.
fn failing(world: &World, calls: &str, files: &[&str], nth: u32, args: &[&str]) -> Run {
    let cairn = world.command();
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
    command.args(["-e", &format!("inject={calls}:error=EIO:when={nth}+")]);
    for file in files {
        // An absolute path stays what it is.
        command.arg("-P").arg(world.places().store.join(file));
    }
    command.arg("--").arg(cairn.get_program()).args(cairn.get_args()).args(args);
    for (name, value) in cairn.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Run::of(&mut command)
}

const VERBS: [&[&str]; 9] = [
    &["gc", "--keep-last", "1", "--keep-within", "0s"],
    &["status"],
    &["log", "production/9.7"],
    &["ls", "-R", "production/9.7"],
    &["diff", "production/9.7~1", "production/9.7"],
    &["promote", "9", "-n", "--delete", "--allow-deletes", "100%"],
    &["rollback", "production/9.7", "-n"],
    &["du"],
    &["check", "staging/9.7-RC2", "repodata"],
];

/// Lets the calls of each verb fail from one moment on, until that moment is after its end.
#[track_caller]
fn no_failure_is_damage(world: &World, calls: &str, files: &[&str]) {
    let before = world.json(["log"]);
    for args in VERBS {
        let mut failed = 0;
        for nth in [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144] {
            let run = failing(world, calls, files, nth, args);
            if run.code() == Some(0) {
                break;
            }
            failed += 1;
            let what = format!("{args:?}, {calls} of {files:?} from the {nth}. on");
            assert_eq!(run.code(), Some(1), "{what}\n{}", run.report());
            let said = run.err();
            assert!(said.contains("Input/output error"), "{what}\n{}", run.report());
            assert!(!said.contains("corrupt") && !said.contains("panicked"), "{what}\n{said}");
        }
        assert!(failed > 0, "{args:?} does not {calls} {files:?}");
    }
    assert_eq!(world.json(["log"]), before, "nothing was done");
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn an_index_that_the_disk_does_not_give_is_an_error_of_the_disk() {
    let Some(()) = available(strace()) else { return };
    let world = twice_published();
    no_failure_is_damage(&world, "pread64", &["index.redb"]);
}

#[test]
fn an_object_that_the_disk_does_not_give_is_named_and_never_set_aside() {
    let Some(()) = available(strace()) else { return };
    let world = twice_published();
    let package = "BaseOS/x86_64/os/Packages/b/bash-5.1.8-10.el9.x86_64.rpm";
    let listed = world.json(["ls", &format!("production/9.7:{package}")]);
    let id = listed["entries"][0]["object"].as_str().unwrap();
    let name = format!(".cairn/objects/{}/{}", &id[..2], &id[2..]);
    let pools = [world.staging(&name), world.production(&name)];
    // Whatever has its content: pools, what is live, trees that are kept, the composes.
    let places = world.places();
    let everywhere = [&places.staging, &places.production, &places.compose]
        .into_iter()
        .flat_map(|place| files_below(place))
        .filter(|path| path.ends_with(Path::new(package).file_name().unwrap()))
        .chain(pools.clone());
    let everywhere: Vec<String> =
        everywhere.map(|path| path.to_str().unwrap().to_owned()).collect();
    let check = |files: &[String], args: &[&str]| {
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        failing(&world, "read,pread64", &files, 1, args)
    };

    let found = check(&everywhere, &["--json", "fsck", "--full"]).exits(13).json();
    let findings = found["findings"].as_array().unwrap();
    let unreadable: Vec<_> =
        findings.iter().filter(|one| one["code"] == "object-unreadable").collect();
    assert_eq!(unreadable.len(), 2, "{found}");
    for one in unreadable {
        assert!(one["affected"].to_string().contains(package), "{one}");
        assert!(one["message"].to_string().contains("Input/output error"), "{one}");
    }

    let run = check(&everywhere, &["fsck", "--full", "--repair"]).exits(13);
    assert!(run.out().contains("a disk may answer again"), "{}", run.report());
    for path in &pools {
        assert!(path.exists(), "{}", path.display());
    }
    // Once it does, nothing is wrong.
    world.cairn(["fsck", "--full", "--restart"]).ok();

    // What one pool does not give comes from wherever it is.
    let one = [pools[1].to_str().unwrap().to_owned()];
    let run = check(&one, &["fsck", "--full", "--repair", "--restart"]);
    assert!(run.out().contains("it is restored in the pool of production"), "{}", run.report());
    world.cairn(["fsck", "--full", "--restart"]).ok();
}
