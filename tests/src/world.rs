//! A place to run `cairn` in.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_releng::sample::{self, Places, Written};
use cairn_store::fault::CrashPoint;
use serde_json::Value;
use tempfile::TempDir;

use crate::ground::{self, Ground};
use crate::run::{Run, Running};

/// A configuration, its compose root, store and mounts, and the program to run with them.
///
/// ```no_run
/// # use cairn_testkit::World;
/// let binary = std::env::var_os("CARGO_BIN_EXE_cairn").unwrap();
/// let world = World::new(binary);
/// world.first();
/// world.cairn(["init"]).ok();
/// let done = world.json(["ingest", world.latest().to_str().unwrap()]);
/// assert_eq!(done["refs"][0]["name"], "compose/9/Rocky");
/// ```
///
/// A failing fixture panics and names the path: there is no test without it.
#[derive(Debug)]
pub struct World {
    binary: PathBuf,
    places: Places,
    config: PathBuf,
    env: Vec<(OsString, OsString)>,
    _ground: Option<Ground>,
    _temp: TempDir,
}

impl World {
    /// Puts everything below one temporary directory, on the filesystem that `CAIRN_TEST_FS` asks
    /// for.
    #[track_caller]
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        if !ground::is_asked() {
            let temp = temp();
            let places = Places::below(temp.path());
            return Self::make(binary.into(), places, None, temp);
        }
        let ground = Ground::new();
        let places = Places::below(ground.path());
        Self::make(binary.into(), places, Some(ground), temp())
    }

    /// Uses places that exist, such as mounts of several filesystems.
    ///
    /// Only the configuration lies in a temporary directory, outside all of them.
    #[track_caller]
    pub fn at(binary: impl Into<PathBuf>, places: Places) -> Self {
        Self::make(binary.into(), places, None, temp())
    }

    #[track_caller]
    fn make(binary: PathBuf, places: Places, ground: Option<Ground>, temp: TempDir) -> Self {
        // The store is made by `cairn init`, and what it lies in is not.
        let store = places.store.parent().unwrap_or(Path::new("/"));
        for dir in [&places.compose, &places.staging, &places.production, store] {
            fs::create_dir_all(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        }
        let config = temp.path().join("cairn.toml");
        let world = Self { binary, places, config, env: Vec::new(), _ground: ground, _temp: temp };
        world.set_config(&world.places.config());
        world
    }

    /// Returns where the compose root, store and mounts are.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Returns a path on the staging mount.
    pub fn staging(&self, path: impl AsRef<Path>) -> PathBuf {
        self.places.staging.join(path)
    }

    /// Returns a path on the production mount.
    pub fn production(&self, path: impl AsRef<Path>) -> PathBuf {
        self.places.production.join(path)
    }

    /// Returns the `latest-Rocky-9` link of the compose root.
    pub fn latest(&self) -> PathBuf {
        self.places.compose.join("9/latest-Rocky-9")
    }

    /// Writes the sample's release into the compose root.
    #[track_caller]
    pub fn first(&self) -> Written {
        sample::first(&self.places.compose).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Writes the sample's update into the compose root.
    #[track_caller]
    pub fn second(&self) -> Written {
        sample::second(&self.places.compose).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Returns the configuration file's path.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Replaces the configuration.
    #[track_caller]
    pub fn set_config(&self, text: &str) {
        fs::write(&self.config, text)
            .unwrap_or_else(|error| panic!("{}: {error}", self.config.display()));
    }

    /// Puts lines into a section of the configuration: `("mounts.production", "grace = \"1h\"")`.
    ///
    /// # Panics
    ///
    /// If the configuration has no such section.
    #[track_caller]
    pub fn configure(&self, section: &str, lines: &str) {
        let text = fs::read_to_string(&self.config)
            .unwrap_or_else(|error| panic!("{}: {error}", self.config.display()));
        let header = format!("[{section}]\n");
        assert!(text.contains(&header), "no {} in\n{text}", header.trim());
        self.set_config(&text.replacen(&header, &format!("{header}{lines}\n"), 1));
    }

    /// Sets a variable for every run that follows.
    pub fn env(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.env.push((name.into(), value.into()));
    }

    /// Returns the command `cairn --config …`, in an environment without surprises.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--config").arg(&self.config);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CAIRN_") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("NO_COLOR", "1");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs cairn with these arguments.
    #[track_caller]
    pub fn cairn<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        Run::of(self.command().args(args))
    }

    /// Starts cairn with these arguments.
    #[track_caller]
    pub fn start<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Running {
        Running::start(self.command().args(args))
    }

    /// Runs cairn with `--json`, which must succeed, and returns its document.
    #[track_caller]
    pub fn json<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Value {
        Run::of(self.command().arg("--json").args(args)).ok().json()
    }

    /// Runs cairn so that it kills itself the `nth` time that it comes to a crash point, from 1.
    ///
    /// What that did is for the caller to judge: a point that was not reached is a run that
    /// ended by itself, and [`Run::killed`] tells the two apart.
    #[track_caller]
    pub fn crash_at<A: AsRef<OsStr>>(
        &self,
        point: CrashPoint,
        nth: u64,
        args: impl IntoIterator<Item = A>,
    ) -> Run {
        let point = format!("{}:{nth}", point.name());
        Run::of(self.command().env("CAIRN_CRASH_AT", point).args(args))
    }
}

#[track_caller]
fn temp() -> TempDir {
    tempfile::Builder::new()
        .prefix("cairn-world-")
        .tempdir()
        .unwrap_or_else(|error| panic!("a temporary directory: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::available;
    use crate::unavailable::tool;

    #[test]
    fn a_world_runs_its_program_with_its_configuration() {
        let world = World::new("/bin/echo");
        let run = world.cairn(["init"]).ok();
        assert_eq!(run.out(), format!("--config {} init\n", world.config().display()));
        assert!(world.places().production.is_dir() && !world.places().store.exists());
        world.configure("mounts.production", "grace = \"1h\"");
        let text = fs::read_to_string(world.config()).unwrap();
        assert!(text.contains("[mounts.production]\ngrace = \"1h\"\npath = "), "{text}");
    }

    #[test]
    fn runs_tell_codes_signals_and_documents() {
        let sh = |script: &str| Run::of(Command::new("sh").args(["-c", script]));
        sh("exit 4").exits(4);
        sh("kill -9 $$").killed();
        assert_eq!(sh("echo '{\"a\": 1}'").ok().json()["a"], 1);
        assert_eq!(sh("echo talk >&2; echo '{\"code\": 4}' >&2").error_json()["code"], 4);
        let mut running = Running::start(Command::new("sleep").arg("100"));
        assert!(running.is_running());
        running.signal(rustix::process::Signal::TERM);
        assert_eq!(running.wait().signal(), Some(15));
    }

    #[test]
    fn a_missing_tool_is_said_and_not_an_error() {
        let missing = tool("no-such-tool-as-this");
        assert_eq!(
            missing.clone().unwrap_err().to_string(),
            "no-such-tool-as-this is not installed"
        );
        if std::env::var_os("CAIRN_TESTS").is_none() {
            assert_eq!(available(missing), None);
        }
        assert_eq!(available(tool("sh")), Some(()));
    }

    #[test]
    fn a_world_sets_its_environment_and_clears_ours() {
        let mut world =
            World::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/print-environment"));
        world.env("CAIRN_SOMETHING", "set");
        let out = world.cairn(["status"]).ok().out();
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines.contains(&"CAIRN_SOMETHING=set") && lines.contains(&"TZ=UTC"), "{out}");
        assert!(!out.contains("CAIRN_CRASH_AT"), "{out}");

        let out = world.crash_at(CrashPoint::ALL[0], 3, ["status"]).ok().out();
        let expected = format!("CAIRN_CRASH_AT={}:3", CrashPoint::ALL[0].name());
        assert!(out.lines().any(|line| line == expected), "{out}");
    }
}
