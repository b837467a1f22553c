//! cairn, driven through its command line only, as its users drive it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::command::{Peak, Run, Runner, Watch};
use crate::failure::{Failure, Result};
use crate::release::Difference;

/// The production ref, and where its view lies below the production mount.
pub const PRODUCTION: &str = "production/9.7";
const PRODUCTION_VIEW: &str = "mirror/pub/rocky/9.7";
/// The staging ref's view below the staging mount.
const STAGING_VIEW: &str = "mirror/pub/rocky/9.7-RC2";
/// The root whose lists are written, below the production mount.
const LIST_ROOT: &str = "mirror/pub/rocky";

/// How `ingest` places objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// As cairn chooses: reflink where the filesystem can, else a copy.
    Default,
    /// By hard links, for composes that nobody changes.
    Link,
}

/// A store, a compose root and two mounts on one filesystem, with the binary that works on them.
#[derive(Debug)]
pub struct Cairn {
    binary: PathBuf,
    dir: PathBuf,
    runner: Runner,
    /// The most memory that each verb held.
    peaks: BTreeMap<String, Peak>,
}

impl Cairn {
    /// Prepares for a binary; `dir` holds `compose/` already and gets the rest at
    /// [`Cairn::start_over`].
    pub fn new(binary: PathBuf, dir: PathBuf, runner: Runner) -> Self {
        Self { binary, dir, runner, peaks: BTreeMap::new() }
    }

    /// Forgets store and mounts, and makes them anew: nothing ingested, nothing published.
    pub fn start_over(&mut self) -> Result<()> {
        for name in ["store", "staging", "production"] {
            let path = self.dir.join(name);
            if path.exists() {
                fs::remove_dir_all(&path).map_err(Failure::io("remove", &path))?;
            }
            fs::create_dir_all(&path).map_err(Failure::io("create", &path))?;
        }
        for (name, lists) in [(Self::CONFIG, ""), (Self::WITHOUT_LISTS, "[lists]\n")] {
            let (config, text) = (self.dir.join(name), self.configuration() + lists);
            fs::write(&config, text).map_err(Failure::io("write", &config))?;
        }
        self.run("init", &[]).map(drop)
    }

    /// Runs `ingest` and returns its time and the snapshot.
    pub fn ingest(&mut self, compose: &Path, place: Place) -> Result<(Run, String)> {
        let compose = compose.to_string_lossy().into_owned();
        let run = match place {
            Place::Default => self.run_json("ingest", &[&compose])?,
            Place::Link => self.run_json("ingest", &["--link", &compose])?,
        };
        let document = read_json(&run)?;
        let snapshot = document["refs"][0]["new"]
            .as_str()
            .or_else(|| document["snapshot"].as_str())
            .ok_or_else(|| Failure::wrong("ingest --json names no snapshot in refs[0].new"))?;
        Ok((run, snapshot.to_owned()))
    }

    /// Runs `stage 9 Rocky --delete`: staging becomes exactly the compose.
    pub fn stage(&mut self) -> Result<Run> {
        self.run("stage", &["9", "Rocky", "--delete"])
    }

    /// Runs `promote 9 --delete`: production becomes exactly staging. No lists are written: rsync
    /// writes none either, and [`Cairn::lists`] is compared with what does.
    pub fn promote(&mut self) -> Result<Run> {
        self.run_as(Self::WITHOUT_LISTS, &[], "promote", &["9", "--delete"])
    }

    /// Runs `promote 9 --delete` as operators have it, with the lists at its end.
    pub fn promote_and_list(&mut self) -> Result<Run> {
        self.run("promote", &["9", "--delete"])
    }

    /// Runs `rollback` of production to the snapshot before, without lists.
    pub fn rollback(&mut self) -> Result<Run> {
        self.run_as(Self::WITHOUT_LISTS, &[], "rollback", &[PRODUCTION])
    }

    /// Runs `lists` for one root.
    pub fn lists(&mut self) -> Result<Run> {
        let root = format!("production/{LIST_ROOT}");
        self.run("lists", &[&root])
    }

    /// Runs `diff --by files` and leaves its text unread.
    pub fn diff(&mut self, old: &str, new: &str) -> Result<Run> {
        self.run("diff", &[old, new, "--by", "files"])
    }

    /// Counts what `diff --json` says.
    pub fn difference(&mut self, old: &str, new: &str) -> Result<Difference> {
        let run = self.run_json("diff", &[old, new, "--by", "files"])?;
        let document = read_json(&run)?;
        let count = |key: &str| {
            document["files"][key]
                .as_array()
                .map(Vec::len)
                .ok_or_else(|| Failure::wrong(format!("diff --json has no list files.{key}")))
        };
        let (added, removed, changed) = (count("added")?, count("removed")?, count("changed")?);
        Ok(Difference { added, removed, changed })
    }

    /// Returns where the release is live in production.
    pub fn production(&self) -> PathBuf {
        self.dir.join("production").join(PRODUCTION_VIEW)
    }

    /// Returns where the release is live in staging.
    pub fn staging(&self) -> PathBuf {
        self.dir.join("staging").join(STAGING_VIEW)
    }

    /// Returns the root of the lists that are measured.
    pub fn list_root(&self) -> PathBuf {
        self.dir.join("production").join(LIST_ROOT)
    }

    /// Returns the most memory that each verb held so far.
    pub fn peaks(&self) -> &BTreeMap<String, Peak> {
        &self.peaks
    }

    const CONFIG: &'static str = "cairn.toml";
    const WITHOUT_LISTS: &'static str = "without-lists.toml";

    /// Says everything that the defaults leave open. `keep_trees = "0s"` lets the outgoing tree
    /// serve as the next standby at once; a day's grace would leave every run without one. No gate
    /// is asked: the peers verify nothing, and the packages are noise.
    fn configuration(&self) -> String {
        let dir = self.dir.display();
        format!(
            "[store]\npath = \"{dir}/store\"\n\
             [compose]\nroot = \"{dir}/compose\"\n\
             [mounts.staging]\npath = \"{dir}/staging\"\nkeep_trees = \"0s\"\n\
             max_deletes = \"100%\"\n\
             [mounts.production]\npath = \"{dir}/production\"\nkeep_trees = \"0s\"\n\
             max_deletes = \"100%\"\n\
             [gate.production]\nrequire = []\n\
             [release.9]\ncategory = \"rocky\"\narches = [\"x86_64\", \"aarch64\"]\n\
             composes = [\"Rocky\"]\n\
             channel.stable = {{ version = \"9.7\", previous = \"9.6\", staging_suffix = \"-RC2\" }}\n"
        )
    }

    fn run(&mut self, verb: &str, arguments: &[&str]) -> Result<Run> {
        self.run_as(Self::CONFIG, &[], verb, arguments)
    }

    fn run_json(&mut self, verb: &str, arguments: &[&str]) -> Result<Run> {
        self.run_as(Self::CONFIG, &["--json"], verb, arguments)
    }

    fn run_as(
        &mut self,
        config: &str,
        globals: &[&str],
        verb: &str,
        arguments: &[&str],
    ) -> Result<Run> {
        let mut command = Command::new(&self.binary);
        command.env_remove("CAIRN_CONFIG").arg("--config").arg(self.dir.join(config));
        command.args(globals).arg(verb).args(arguments);
        let run = self.runner.run(&mut command, Watch::Memory)?;
        let peak = self.peaks.entry(verb.to_owned()).or_default();
        *peak = peak.max(run.peak);
        Ok(run)
    }
}

fn read_json(run: &Run) -> Result<Value> {
    let text = fs::read(&run.stdout).map_err(Failure::io("read", &run.stdout))?;
    serde_json::from_slice(&text)
        .map_err(|error| Failure::wrong(format!("--json is not one document: {error}")))
}
