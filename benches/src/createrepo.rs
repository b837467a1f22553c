//! `compare repodata`: `cairn repodata build` beside createrepo_c, on the same packages in one run.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::command::{Peak, Runner, Watch};
use crate::failure::{Failure, Result};
use crate::packages;
use crate::rows::median;
use crate::workplace::Workplace;

const HELP: &str = "\
Measures `cairn repodata build` beside `createrepo_c --no-database`.

Usage: compare repodata [OPTIONS]

      --packages N      how many packages [default: 10000]
      --dir DIR         works in DIR/cairn-compare [default: the directory for temporary files]
      --repeat N        medians of N runs [default: 3]
      --cairn PATH      the binary [default: cairn beside this program]
      --keep            leaves the directories to look at
  -h, --help
";

const PEER: &str = "createrepo_c";

struct Options {
    packages: usize,
    dir: PathBuf,
    repeat: usize,
    cairn: Option<PathBuf>,
    keep: bool,
}

/// What is timed, with the ratio that is aimed at.
const ROWS: [(&str, f64); 3] =
    [("all packages read", 1.0), ("nothing changed", 0.05), ("1 % of them new", 0.2)];

/// Runs the comparison.
pub fn compare(arguments: impl Iterator<Item = OsString>) -> Result<ExitCode> {
    let Some(options) = parse(arguments)? else {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    };
    let cairn = crate::binary(options.cairn.as_deref())?;
    let workplace = Workplace::take(&options.dir, options.keep)?;
    let bench = Bench::new(workplace.path(), cairn, options.packages)?;
    let mut times: Vec<[Vec<f64>; 2]> = vec![Default::default(); ROWS.len()];
    let mut peaks = [[Peak::default(); 2]; ROWS.len()];
    for round in 0..options.repeat {
        bench.reset()?;
        for row in 0..ROWS.len() {
            if row == 2 {
                bench.add()?;
            }
            // They take turns, so that neither always finds what the other has left in the caches.
            for turn in 0..2 {
                let who = (turn + round) % 2;
                let (seconds, peak) = bench.build(who, row > 0)?;
                times[row][who].push(seconds);
                peaks[row][who] = peaks[row][who].max(peak);
            }
            bench.verify(if row == 2 { bench.all() } else { options.packages })?;
        }
    }
    println!("{} packages; seconds, medians of {}.", options.packages, options.repeat);
    println!("{:<20} {:>8} {:>13} {:>7} {:>7}      MiB", "", "cairn", PEER, "ratio", "target");
    for (row, (name, target)) in ROWS.into_iter().enumerate() {
        let [cairn, peer] = [0, 1].map(|who| median(&times[row][who]));
        let ratio = cairn / peer;
        let met = if ratio <= target { "yes" } else { "no" };
        let [here, there] = [0, 1].map(|who| peaks[row][who].resident >> 20);
        println!(
            "{name:<20} {cairn:>8.2} {peer:>13.2} {ratio:>7.3} {target:>7.2} {met:<3} {here:>3} {there:>3}"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>> {
    let mut options = Options {
        packages: 10_000,
        dir: std::env::temp_dir(),
        repeat: 3,
        cairn: None,
        keep: false,
    };
    while let Some(argument) = arguments.next() {
        let name = argument.to_string_lossy().into_owned();
        let usage = |what: &str| Failure::Usage { what: format!("{name}{what}; see --help") };
        let mut value = || arguments.next().ok_or_else(|| usage(" needs a value"));
        let number = |text: OsString| {
            let number = text.to_str().and_then(|text| text.parse().ok());
            number.filter(|number| *number > 0).ok_or_else(|| usage(": not a number above 0"))
        };
        match name.as_str() {
            "--packages" => options.packages = number(value()?)?,
            "--repeat" => options.repeat = number(value()?)?,
            "--dir" => options.dir = value()?.into(),
            "--cairn" => options.cairn = Some(value()?.into()),
            "--keep" => options.keep = true,
            "-h" | "--help" => return Ok(None),
            _ => return Err(usage(": unknown")),
        }
    }
    Ok(Some(options))
}

/// Two directories with the same packages: cairn's and the peer's.
struct Bench {
    cairn: PathBuf,
    runner: Runner,
    /// All packages, those that come later too.
    source: PathBuf,
    dirs: [PathBuf; 2],
    packages: usize,
}

impl Bench {
    fn new(dir: &Path, cairn: PathBuf, packages: usize) -> Result<Self> {
        let source = dir.join("packages");
        let runner = Runner::new(dir.to_owned());
        let dirs = ["cairn", "peer"].map(|name| dir.join(name));
        let bench = Self { cairn, runner, source, dirs, packages };
        packages::write(&bench.source, 0..bench.all())?;
        Ok(bench)
    }

    /// Returns how many packages there are at last: one in a hundred more.
    fn all(&self) -> usize {
        self.packages + self.packages.div_ceil(100)
    }

    /// Makes both directories anew, without metadata.
    fn reset(&self) -> Result<()> {
        for dir in &self.dirs {
            if dir.exists() {
                fs::remove_dir_all(dir).map_err(Failure::io("remove", dir))?;
            }
        }
        self.link(0..self.packages)
    }

    fn add(&self) -> Result<()> {
        self.link(self.packages..self.all())
    }

    /// Hard links keep the times, as a mirror has them, and cost nothing.
    fn link(&self, numbers: std::ops::Range<usize>) -> Result<()> {
        for dir in &self.dirs {
            for number in numbers.clone() {
                let (from, to) =
                    (self.source.join(packages::href(number)), dir.join(packages::href(number)));
                if let Some(parent) = to.parent() {
                    fs::create_dir_all(parent).map_err(Failure::io("create", parent))?;
                }
                fs::hard_link(&from, &to).map_err(Failure::io("link", &to))?;
            }
        }
        Ok(())
    }

    /// Times one of them.
    fn build(&self, who: usize, update: bool) -> Result<(f64, Peak)> {
        rustix::fs::sync();
        let dir = &self.dirs[who];
        let mut command = match who {
            0 => {
                let mut command = Command::new(&self.cairn);
                command.args(["-q", "repodata", "build"]);
                command
            }
            _ => {
                let mut command = Command::new(PEER);
                command.args(["--quiet", "--no-database"]).args(update.then_some("--update"));
                command
            }
        };
        let run = self.runner.run(command.arg(dir), Watch::Memory)?;
        Ok((run.seconds, run.peak))
    }

    /// Both must describe so many packages, and nothing may be left to do.
    fn verify(&self, packages: usize) -> Result<()> {
        for dir in &self.dirs {
            let mut command = Command::new(&self.cairn);
            command.args(["--json", "-n", "repodata", "build"]).arg(dir);
            let run = self.runner.run(&mut command, Watch::Nothing)?;
            let text = fs::read_to_string(&run.stdout).map_err(Failure::io("read", &run.stdout))?;
            let found: serde_json::Value = serde_json::from_str(&text)
                .map_err(|error| Failure::wrong(format!("{}: {error}", dir.display())))?;
            if found["packages"] != packages || found["changed"] != false || found["read"] != 0 {
                let what = format!("{}: {packages} packages, and {found}", dir.display());
                return Err(Failure::wrong(what));
            }
        }
        Ok(())
    }
}
