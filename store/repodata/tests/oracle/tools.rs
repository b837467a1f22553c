//! The tools that we are compared with, and what it takes to run them.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Says that something was not tested here; a failure with `CAIRN_TESTS=strict` in the environment.
pub fn not_tested(reason: &str) {
    let strict = std::env::var_os("CAIRN_TESTS").is_some_and(|value| value == "strict");
    assert!(!strict, "not tested: {reason}");
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed thread");
    // Not eprintln: the harness keeps what a passing test prints with it to itself.
    let _ = writeln!(std::io::stderr(), "not tested ({name}): {reason}");
}

/// Returns whether a tool can be started; says so if not.
pub fn have(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok();
    if !found {
        not_tested(&format!("{tool} is not installed"));
    }
    found
}

/// Runs a tool and returns its output; it must succeed.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().expect("the tool was found before");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).expect("tools speak UTF-8")
}

/// One release of createrepo_c with its companions.
#[derive(Debug, Clone)]
pub struct Createrepo {
    /// Where its programs are; where the system looks for programs if nowhere else.
    dir: Option<PathBuf>,
    /// The major number of its version: 0 is what Debian 12 and EL8 have, 1 is current.
    pub major: u32,
}

impl Createrepo {
    /// Returns the releases that are to be had here; says which are not.
    ///
    /// One is the system's. The current one is in the directory that the environment variable
    /// `CAIRN_CREATEREPO_C` names, or in `createrepo_c/bin` of the target directory, where
    /// `.ci/run` installs it.
    pub fn releases() -> Vec<Createrepo> {
        let installed = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("createrepo_c");
        let current = std::env::var_os("CAIRN_CREATEREPO_C")
            .map_or_else(|| installed.join("bin"), PathBuf::from);
        let candidates = [("the system's createrepo_c", None), ("createrepo_c 1", Some(current))];
        let mut found = Vec::new();
        for (name, dir) in candidates {
            let mut release = Createrepo { dir, major: 0 };
            match release.command("createrepo_c").arg("--version").output() {
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stdout).into_owned();
                    let version = said.strip_prefix("Version: ").and_then(|s| s.split_once('.'));
                    let (major, _) = version.unwrap_or_else(|| panic!("a version: {said}"));
                    release.major = major.parse().expect("a number");
                    found.push(release);
                }
                Err(_) => not_tested(&format!("{name} is not installed")),
            }
        }
        found
    }

    /// Returns one of its programs: `createrepo_c`, `mergerepo_c`, `modifyrepo_c`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let program = program.as_ref();
        match &self.dir {
            Some(dir) => Command::new(dir.join(program)),
            None => Command::new(program),
        }
    }

    /// Makes a directory of packages a repository.
    #[track_caller]
    pub fn create(&self, repo: &Path, arguments: &[&str]) {
        let mut command = self.command("createrepo_c");
        run(command.args(["--no-database", "--quiet"]).args(arguments).arg(repo));
    }
}

/// Does `work` with each release that is to be had, in a directory of its own; says what is missing.
pub fn with_each_release(work: impl Fn(&Createrepo, &Path)) {
    if !have("rpmbuild") {
        return;
    }
    for release in Createrepo::releases() {
        let dir = tempfile::tempdir().unwrap();
        work(&release, dir.path());
    }
}
