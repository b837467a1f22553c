//! rpm and createrepo_c.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::Run;
use crate::unavailable::{self, Unavailable};

/// Checks the digests of every package below a directory, or of one package, by `rpm -K`.
///
/// Returns how many packages there were.
///
/// # Errors
///
/// [`Unavailable`] where there is no rpm.
///
/// # Panics
///
/// If rpm finds fault with one; the message holds everything it says.
#[track_caller]
pub fn rpm_check(path: &Path) -> Result<usize, Unavailable> {
    unavailable::tool("rpm")?;
    let packages = packages(path);
    // A command line has room for many paths, not for any number.
    for some in packages.chunks(500) {
        let mut rpm = Command::new("rpm");
        let run = Run::of(rpm.env("LC_ALL", "C").args(["-K", "--nosignature"]).args(some)).ok();
        let good = run.out().lines().filter(|line| line.ends_with(": digests OK")).count();
        assert_eq!(good, some.len(), "{}", run.report());
    }
    Ok(packages.len())
}

fn packages(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let mut found = Vec::new();
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for entry in entries {
        let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(packages(&path));
        } else if path.extension().is_some_and(|extension| extension == "rpm") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Makes a directory of packages a repository, by `createrepo_c` with some more arguments.
///
/// # Errors
///
/// [`Unavailable`] where there is no createrepo_c.
///
/// # Panics
///
/// If it fails; the message holds everything it says.
#[track_caller]
pub fn createrepo(dir: &Path, args: &[&str]) -> Result<Run, Unavailable> {
    unavailable::tool("createrepo_c")?;
    Ok(Run::of(Command::new("createrepo_c").args(args).arg(dir)).ok())
}
