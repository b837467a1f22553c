//! `tests/torture.sh` in short: it runs the binary as it is, with a fault at sampled system calls.
//!
//! The crash matrix knows the points that we thought of; the script knows every call. By hand it
//! runs all of them (docs/reliability.md); here it runs as many as fit into a minute.

use std::process::Command;

use cairn_testkit::{Run, Unavailable, available};

fn torture(args: &[&str]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/torture.sh");
    let mut command = Command::new(script);
    command.args(["--cairn", env!("CARGO_BIN_EXE_cairn")]).args(args);
    let run = Run::of(&mut command);
    let missing = match run.code() {
        // What it says when it lacks a tool, loop devices or root.
        Some(77) => {
            let (what, reason) = ("torture.sh".into(), run.err().trim().to_owned());
            Err(Unavailable::Refused { what, reason })
        }
        _ => Ok(()),
    };
    if available(missing).is_some() {
        let out = run.ok().out();
        assert!(!out.contains("BAD") && !out.contains("MISSED"), "{out}");
    }
}

#[test]
fn sampled_system_calls_that_kill_or_fail_leave_old_or_new() {
    torture(&[
        "--every",
        "131",
        "--seconds",
        "60",
        "--nested",
        "2",
        "--faults",
        "kill,ENOSPC+,EIO",
    ]);
}

#[test]
fn what_was_bad_once_is_met_every_time() {
    // Around the record of an adoption, which a kill once left without its tree.
    let record = ["--cases", "adopt", "--faults", "kill", "--only", "write [1-6]"];
    torture(&[&record[..], &["--seconds", "60"]].concat());
    // A name is not taken and a file not gone because somebody says so: an object was given up for
    // one that was not there, and a file that was to go stayed in the tree.
    torture(&[
        "--cases",
        "ingest,adopt,promote",
        "--faults",
        "EEXIST,ENOENT",
        "--only",
        r"\(linkat\|renameat2\|unlinkat\) .*",
        "--every",
        "5",
        "--seconds",
        "60",
    ]);
    // The last call of a large copy: its temporary file stayed.
    let finish = ["--cases", "ingest", "--faults", "EMLINK", "--only", "utimensat .*"];
    torture(&[&finish[..], &["--seconds", "30"]].concat());
    // Reads of the index that fail: the disk's answer, and no damage.
    torture(&[
        "--cases",
        "promote,gc",
        "--faults",
        "EIO,EIO+",
        "--only",
        "pread64 [1-9][0-9]*",
        "--every",
        "29",
        "--offset",
        "14",
        "--seconds",
        "60",
    ]);
}

#[test]
fn sampled_power_cuts_lose_nothing_that_was_acknowledged() {
    torture(&[
        "--every",
        "101",
        "--seconds",
        "30",
        "--faults",
        "cut",
        "--cases",
        "promote,ingest,gc",
    ]);
}

#[test]
fn the_checks_of_the_torture_find_every_planted_fault() {
    torture(&["--controls"]);
}
