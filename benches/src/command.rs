//! Runs one command: its wall time from before the process starts until it has ended, and, where
//! asked, the most memory that it held.
//!
//! Memory is VmHWM of /proc, sampled while the command runs. The ru_maxrss of wait4(2) would need
//! no sampling, but it starts from the pages of the process that forked, and this one describes
//! releases of 200,000 files. VmHWM is the kernel's own high-water mark since exec, so a sample
//! can only miss what a command adds in its last moment.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};

/// Between two looks at /proc: 0.2 % of one core, and much shorter than the commands that grow.
const SAMPLING: Duration = Duration::from_millis(4);

/// The most memory that a command held, in bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Peak {
    /// Resident set, with the pages of files that are mapped.
    pub resident: u64,
    /// Of it, memory that no file backs, as far as the samples saw it.
    pub anonymous: u64,
    /// Not memory, but seen by the same samples: hundredths of a second of all its threads. On a
    /// machine that others use, this says more than the clock.
    pub cpu: u64,
}

impl Peak {
    /// Returns the larger of two, part by part.
    pub fn max(self, other: Self) -> Self {
        Self {
            resident: self.resident.max(other.resident),
            anonymous: self.anonymous.max(other.anonymous),
            cpu: self.cpu.max(other.cpu),
        }
    }
}

/// Whether to sample the memory of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    Memory,
    Nothing,
}

/// What a command that succeeded took.
#[derive(Debug)]
pub struct Run {
    pub seconds: f64,
    pub peak: Peak,
    /// Where its standard output went.
    pub stdout: PathBuf,
}

/// Runs commands, with their output in files: no pipe that somebody has to drain.
#[derive(Debug, Clone)]
pub struct Runner {
    talk: PathBuf,
}

impl Runner {
    /// Returns a runner that keeps the last command's output in `talk`.
    pub fn new(talk: PathBuf) -> Self {
        Self { talk }
    }

    /// Runs a command to its end; anything but exit code 0 is a failure that quotes what it said.
    pub fn run(&self, command: &mut Command, watch: Watch) -> Result<Run> {
        let stdout = self.talk.join("stdout");
        self.run_into(command, &stdout, watch)
    }

    /// As [`Runner::run`], with the standard output in a file of one's own.
    pub fn run_into(&self, command: &mut Command, stdout: &Path, watch: Watch) -> Result<Run> {
        let stderr = self.talk.join("stderr");
        let out = File::create(stdout).map_err(Failure::io("create", stdout))?;
        let err = File::create(&stderr).map_err(Failure::io("create", &stderr))?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);

        let program = PathBuf::from(command.get_program());
        let start = Instant::now();
        let mut child = command.spawn().map_err(Failure::io("run", &program))?;
        let pid = child.id();
        let ended = AtomicBool::new(false);
        let (status, seconds, peak) = thread::scope(|scope| {
            let sampler =
                (watch == Watch::Memory).then(|| scope.spawn(|| sample_until(&ended, pid)));
            let status = child.wait();
            let seconds = start.elapsed().as_secs_f64();
            ended.store(true, Ordering::Relaxed);
            let peak = sampler.and_then(|sampler| sampler.join().ok()).unwrap_or_default();
            (status, seconds, peak)
        });
        let status = status.map_err(Failure::io("wait for", &program))?;
        if !status.success() {
            return Err(Failure::Tool {
                command: describe(command),
                status: status.to_string(),
                said: last_words(&stderr),
            });
        }
        Ok(Run { seconds, peak, stdout: stdout.to_owned() })
    }
}

fn sample_until(ended: &AtomicBool, pid: u32) -> Peak {
    let (status, stat) = (format!("/proc/{pid}/status"), format!("/proc/{pid}/stat"));
    let mut peak = Peak::default();
    while !ended.load(Ordering::Relaxed) {
        if let Ok(text) = fs::read_to_string(&status) {
            let now = Peak {
                resident: kilobytes(&text, "VmHWM:"),
                anonymous: kilobytes(&text, "RssAnon:"),
                cpu: fs::read_to_string(&stat).map_or(0, |text| ticks(&text)),
            };
            peak = peak.max(now);
        }
        thread::sleep(SAMPLING);
    }
    peak
}

fn kilobytes(status: &str, key: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok())
        .map_or(0, |number| number * 1024)
}

/// Returns the ticks of user and system time, a hundredth of a second each. What comes before is
/// the name, which may hold anything but ends with the last parenthesis.
fn ticks(stat: &str) -> u64 {
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// Returns a command's name and verb, which is enough to find it in the report.
fn describe(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or(OsStr::new("?"));
    let mut text = name.to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

fn last_words(stderr: &Path) -> String {
    let bytes = fs::read(stderr).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut lines: Vec<&str> = text.lines().rev().filter(|line| !line.is_empty()).take(3).collect();
    lines.reverse();
    lines.join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_file_yields_bytes() {
        let text = "Name:\tx\nVmHWM:\t    1234 kB\nRssAnon:\t 10 kB\n";
        assert_eq!(kilobytes(text, "VmHWM:"), 1234 * 1024);
        assert_eq!(kilobytes(text, "VmSwap:"), 0);
        let stat = "7 (a) b) R 1 7 7 0 -1 0 0 0 0 0 123 45 6 7 20 0 3 0 100 0 0";
        assert_eq!(ticks(stat), 168);
    }
}
