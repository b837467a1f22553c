//! `compare audit`: what two releases of very many packages differ in, and whether one of them is
//! closed, beside dnf's repodiff and repoclosure on the same metadata.
//!
//! There are no packages, only what repositories say of them: that is all that is read.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde_json::Value;

use crate::command::{Peak, Runner, Watch};
use crate::failure::{Failure, Result};
use crate::metadata::{self, Edition};
use crate::rows::median;
use crate::workplace::Workplace;

const HELP: &str = "\
Measures `cairn diff` and `cairn check REV closure` beside `dnf repodiff` and `dnf repoclosure`.

Usage: compare audit [OPTIONS]

      --packages N      how many packages each side of a diff has [default: 100000]
      --closure N       how many packages the release has whose closure is asked for
                        [default: 20000]
      --dir DIR         works in DIR/cairn-compare [default: the directory for temporary files]
      --repeat N        medians of N runs [default: 3]
      --cairn PATH      the binary [default: cairn beside this program]
      --no-peer         without dnf
      --keep            leaves the directories to look at
  -h, --help
";

const PEER: &str = "dnf";
const REF: &str = "compose/9/Rocky";

struct Options {
    packages: usize,
    closure: usize,
    dir: PathBuf,
    repeat: usize,
    cairn: Option<PathBuf>,
    peer: bool,
    keep: bool,
}

/// What is measured of a command.
#[derive(Default)]
struct Row {
    name: String,
    cairn: Vec<f64>,
    peak: Peak,
    peer: Vec<f64>,
    peer_peak: Peak,
}

/// Runs the comparison.
pub fn compare(arguments: impl Iterator<Item = OsString>) -> Result<ExitCode> {
    let Some(options) = parse(arguments)? else {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    };
    let cairn = crate::binary(options.cairn.as_deref())?;
    let workplace = Workplace::take(&options.dir, options.keep)?;
    let look = Runner::new(workplace.path().to_owned());
    // dnf without its plugins has neither command.
    let asked = Command::new(PEER).args(["repodiff", "--help"]).output();
    let peer = options.peer && asked.is_ok_and(|output| output.status.success());
    if options.peer && !peer {
        eprintln!(
            "compare: {PEER} with its core plugins is not installed; cairn is measured alone"
        );
    }
    let mut rows = Vec::new();
    let bench = Bench { cairn: &cairn, runner: &look, dir: workplace.path(), peer };
    for part in [differences, closure] {
        workplace.clear()?;
        part(&bench, &options, &mut rows)?;
    }
    println!("Medians of {}: seconds; at most: seconds of CPU, MiB of memory.", options.repeat);
    println!(
        "{:<40} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "", "cairn", "CPU", "MiB", PEER, "CPU", "MiB"
    );
    for mut row in rows {
        let mut text = format!("{:<40}", row.name);
        for (times, peak) in [(&mut row.cairn, row.peak), (&mut row.peer, row.peer_peak)] {
            if times.is_empty() {
                continue;
            }
            let (seconds, cpu) = (median(times), peak.cpu as f64 / 100.0);
            text += &format!(" {seconds:>8.2} {cpu:>8.2} {:>8}", peak.resident >> 20);
        }
        println!("{text}");
    }
    Ok(ExitCode::SUCCESS)
}

fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Option<Options>> {
    let mut options = Options {
        packages: 100_000,
        closure: 20_000,
        dir: std::env::temp_dir(),
        repeat: 3,
        cairn: None,
        peer: true,
        keep: false,
    };
    while let Some(argument) = arguments.next() {
        let name = argument.to_string_lossy().into_owned();
        let usage = |what: &str| Failure::Usage { what: format!("{name}{what}; see --help") };
        let mut value = || arguments.next().ok_or_else(|| usage(" needs a value"));
        let number = |text: OsString| {
            let number = text.to_str().and_then(|text| text.parse().ok());
            number
                .filter(|number| *number >= 100)
                .ok_or_else(|| usage(": not a number from 100 on"))
        };
        match name.as_str() {
            "--packages" => options.packages = number(value()?)?,
            "--closure" => options.closure = number(value()?)?,
            "--repeat" => {
                let text = value()?;
                let number = text.to_str().and_then(|text| text.parse().ok());
                let number = number.filter(|number| *number > 0);
                options.repeat = number.ok_or_else(|| usage(": not a number above 0"))?;
            }
            "--dir" => options.dir = value()?.into(),
            "--cairn" => options.cairn = Some(value()?.into()),
            "--no-peer" => options.peer = false,
            "--keep" => options.keep = true,
            "-h" | "--help" => return Ok(None),
            _ => return Err(usage(": unknown")),
        }
    }
    Ok(Some(options))
}

struct Bench<'a> {
    cairn: &'a Path,
    runner: &'a Runner,
    dir: &'a Path,
    peer: bool,
}

impl Bench<'_> {
    /// Makes an empty store.
    fn init(&self) -> Result<()> {
        for name in ["compose", "staging", "production"] {
            let dir = self.dir.join(name);
            fs::create_dir_all(&dir).map_err(Failure::io("create", &dir))?;
        }
        let at = |name: &str| self.dir.join(name).display().to_string();
        let text = format!(
            "[store]\npath = {:?}\n[compose]\nroot = {:?}\n[mounts.staging]\npath = {:?}\n\
             [mounts.production]\npath = {:?}\n[release.9]\narches = [\"x86_64\"]\n\
             channel.stable = {{ version = \"9.7\", staging_suffix = \"-RC1\" }}\n",
            at("store"),
            at("compose"),
            at("staging"),
            at("production")
        );
        let config = self.config();
        fs::write(&config, text).map_err(Failure::io("write", &config))?;
        self.run(&["init"], Watch::Nothing).map(drop)
    }

    fn config(&self) -> PathBuf {
        self.dir.join("cairn.toml")
    }

    /// Takes in a release of so many packages; returns where its repositories are.
    fn release(&self, packages: usize, edition: Edition) -> Result<PathBuf> {
        let dir = self.dir.join("compose").join(edition.name());
        metadata::write(&dir, packages, edition)?;
        let path = dir.display().to_string();
        self.run(&["ingest", &path, "--as", REF], Watch::Nothing)?;
        Ok(dir)
    }

    fn run(&self, arguments: &[&str], watch: Watch) -> Result<crate::command::Run> {
        let mut command = Command::new(self.cairn);
        command.arg("--config").arg(self.config()).arg("--json").args(arguments);
        self.runner.run(&mut command, watch)
    }

    /// Times a command of cairn, whose document must be as this says.
    fn time(
        &self,
        name: &str,
        repeat: usize,
        arguments: &[&str],
        is_right: impl Fn(&Value) -> bool,
    ) -> Result<Row> {
        let mut row = Row { name: name.to_owned(), ..Row::default() };
        for _ in 0..repeat {
            rustix::fs::sync();
            let run = self.run(arguments, Watch::Memory)?;
            row.cairn.push(run.seconds);
            row.peak = row.peak.max(run.peak);
            let bytes = fs::read(&run.stdout).map_err(Failure::io("read", &run.stdout))?;
            let found: Value = serde_json::from_slice(&bytes)
                .map_err(|error| Failure::wrong(format!("{name}: {error}")))?;
            if !is_right(&found) {
                let mut text = found.to_string();
                text.truncate(text.floor_char_boundary(400));
                return Err(Failure::wrong(format!("{name}: {text}")));
            }
        }
        Ok(row)
    }

    /// Times dnf, which begins without a cache as cairn does.
    fn time_peer(
        &self,
        row: &mut Row,
        repeat: usize,
        arguments: &[String],
        is_right: impl Fn(&str) -> bool,
    ) -> Result<()> {
        for _ in 0..if self.peer { repeat } else { 0 } {
            let root = self.dir.join("dnf");
            if root.exists() {
                fs::remove_dir_all(&root).map_err(Failure::io("remove", &root))?;
            }
            let nothing = root.join("none");
            fs::create_dir_all(&nothing).map_err(Failure::io("create", &nothing))?;
            let empty = root.join("dnf.conf");
            fs::write(&empty, "[main]\n").map_err(Failure::io("write", &empty))?;
            rustix::fs::sync();
            let mut command = Command::new(PEER);
            command.arg("--config").arg(&empty);
            command.args(["--releasever=9", "--forcearch=x86_64", "--nogpgcheck", "-q"]);
            for (key, dir) in [("cachedir", "cache"), ("logdir", "log"), ("persistdir", "state")] {
                let dir = root.join(dir);
                fs::create_dir(&dir).map_err(Failure::io("create", &dir))?;
                command.arg(format!("--setopt={key}={}", dir.display()));
            }
            command.arg(format!("--setopt=reposdir={}", nothing.display()));
            command.arg("--installroot").arg(root.join("root")).args(arguments);
            let run = self.runner.run(&mut command, Watch::Memory)?;
            row.peer.push(run.seconds);
            row.peer_peak = row.peer_peak.max(run.peak);
            let said = fs::read_to_string(&run.stdout).map_err(Failure::io("read", &run.stdout))?;
            if !is_right(&said) {
                let mut said = said;
                said.truncate(said.floor_char_boundary(400));
                return Err(Failure::wrong(format!("{PEER}: {said}")));
            }
        }
        Ok(())
    }
}

/// Says to dnf where repositories are; their names begin with `prefix`.
fn repos(dir: &Path, prefix: &str) -> Vec<(String, String)> {
    let repo = |name: &&str| {
        let path = dir.join(metadata::repo_dir(name));
        (format!("{prefix}{name}"), format!("{prefix}{name},file://{}", path.display()))
    };
    metadata::REPOS.iter().map(|(name, _)| name).map(repo).collect()
}

/// Two releases, one package in a hundred another.
fn differences(bench: &Bench<'_>, options: &Options, rows: &mut Vec<Row>) -> Result<()> {
    let (packages, repeat) = (options.packages, options.repeat);
    bench.init()?;
    let old = bench.release(packages, Edition::First)?;
    bench.release(packages, Edition::Same)?;
    let new = bench.release(packages, Edition::Second)?;
    let (first, same) = (format!("{REF}~2"), format!("{REF}~1"));
    let count = |found: &Value, list: &str| found["packages"][list].as_array().map(Vec::len);

    let name = format!("diff --by packages, {packages}, equal repos");
    rows.push(bench.time(
        &name,
        repeat,
        &["diff", &first, &same, "--by", "packages"],
        |found| found["different"] == true && found["packages"]["repos_compared"] == 0,
    )?);
    let name = format!("diff --by packages, {packages}, 1 %");
    let changed = metadata::changed(packages);
    let mut row =
        bench.time(&name, repeat, &["diff", &same, REF, "--by", "packages"], |found| {
            count(found, "upgraded") == Some(changed) && count(found, "removed") == Some(0)
        })?;
    // Without these it compares source packages only, and by name.
    let words = ["repodiff", "--simple", "--arch", "*", "--compare-arch"];
    let mut words: Vec<String> = words.map(str::to_owned).into();
    for (dir, prefix, flag) in [(&old, "old", "--repo-old"), (&new, "new", "--repo-new")] {
        for (id, path) in repos(dir, prefix) {
            words.extend(["--repofrompath".to_owned(), path, flag.to_owned(), id]);
        }
    }
    bench.time_peer(&mut row, repeat, &words, |said| {
        said.contains(&format!("Modified packages: {changed}"))
    })?;
    rows.push(row);
    let name = format!("diff --by all, {packages}, 1 %");
    rows.push(bench.time(&name, repeat, &["diff", &same, REF, "--by", "all"], |found| {
        found["dependencies"].as_array().map(Vec::len) == Some(metadata::unresolved(packages))
    })?);
    // The page goes to a file, so that what is printed is nothing.
    let page = bench.dir.join("page.html").display().to_string();
    let mut row = Row { name: format!("diff --format html, {packages}, 1 %"), ..Row::default() };
    for _ in 0..repeat {
        rustix::fs::sync();
        let mut command = Command::new(bench.cairn);
        command.arg("--config").arg(bench.config());
        command.args(["diff", &same, REF, "--format", "html", "-o", &page]);
        let run = bench.runner.run(&mut command, Watch::Memory)?;
        row.cairn.push(run.seconds);
        row.peak = row.peak.max(run.peak);
    }
    let text = fs::read_to_string(&page).map_err(Failure::io("read", page.as_ref()))?;
    if !text.ends_with("</html>\n") {
        return Err(Failure::wrong(format!("{page}: no page")));
    }
    rows.push(row);
    Ok(())
}

/// One release, in which everything that is required is there.
fn closure(bench: &Bench<'_>, options: &Options, rows: &mut Vec<Row>) -> Result<()> {
    let (packages, repeat) = (options.closure, options.repeat);
    bench.init()?;
    let dir = bench.release(packages, Edition::First)?;
    let name = format!("check closure, {packages}");
    // What a run has found whole it remembers; the index is derived, and is made again without.
    let index = bench.dir.join("store/index.redb");
    let mut row = Row { name, ..Row::default() };
    for _ in 0..repeat {
        fs::remove_file(&index).map_err(Failure::io("remove", &index))?;
        bench.run(&["log"], Watch::Nothing)?;
        let one = bench.time(&row.name, 1, &["check", REF, "closure"], |found| {
            found["gates"][0]["verdict"] == "passed"
        })?;
        row.cairn.extend(one.cairn);
        row.peak = row.peak.max(one.peak);
    }
    let mut words = vec!["repoclosure".to_owned()];
    for (id, path) in repos(&dir, "all") {
        words.extend(["--repofrompath".to_owned(), path, "--repo".to_owned(), id]);
    }
    bench.time_peer(&mut row, repeat, &words, |_| true)?;
    rows.push(row);
    rows.push(bench.time(
        &format!("check closure, {packages}, again"),
        repeat,
        &["check", REF, "closure"],
        |found| found["gates"][0]["verdict"] == "passed",
    )?);
    Ok(())
}
