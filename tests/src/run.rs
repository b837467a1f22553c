//! Programs, run to their end or to a deadline.

use std::fmt::Write;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::schema;

/// Longer than anything a test runs, on a machine that is busy with other tests, in seconds.
const DEADLINE: u64 = 300;
/// The variable that says how many times as long a slower machine may take, such as an emulated one.
const SLOWER: &str = "CAIRN_TEST_SLOWER";
/// How often we look whether a program has ended.
const POLL: Duration = Duration::from_millis(2);
/// How much of an output a failed assertion shows.
const SHOWN: usize = 8_000;

/// Returns how long a test waits for what takes so many seconds at most on a machine that is busy
/// with other tests: `CAIRN_TEST_SLOWER=10` says that this one is ten times as slow.
///
/// # Panics
///
/// If the variable is not a number.
pub fn patience(seconds: u64) -> Duration {
    let slower = std::env::var(SLOWER).ok().filter(|value| !value.is_empty());
    let times =
        slower.map_or(1, |value| value.parse().unwrap_or_else(|_| panic!("{SLOWER}: {value:?}")));
    Duration::from_secs(seconds.saturating_mul(times))
}

/// A program that has ended, with what it said.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its command line, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to stdout.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub stderr: Vec<u8>,
}

impl Run {
    /// Runs a command to its end with nothing on its stdin.
    ///
    /// # Panics
    ///
    /// If it cannot be started, or takes more than five minutes ([`patience`]).
    #[track_caller]
    pub fn of(command: &mut Command) -> Self {
        Running::start(command).wait()
    }

    /// Returns its exit code; `None` when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Returns the signal that ended it.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    /// Goes on if it exited with 0.
    ///
    /// # Panics
    ///
    /// If it did not, with everything it said.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Goes on if it exited with this code.
    ///
    /// # Panics
    ///
    /// If it did not, with everything it said.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code(), Some(code), "exit code\n{}", self.report());
        self
    }

    /// Goes on if SIGKILL ended it, as a crash point does.
    ///
    /// # Panics
    ///
    /// If it did not, with everything it said.
    #[track_caller]
    pub fn killed(self) -> Self {
        assert_eq!(self.signal(), Some(9), "signal\n{}", self.report());
        self
    }

    /// Returns stdout as text, with other bytes replaced.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Returns stderr as text, with other bytes replaced.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Returns stdout as the one JSON document that it must be; one of cairn's is what its schema
    /// says.
    ///
    /// # Panics
    ///
    /// If it is not.
    #[track_caller]
    pub fn json(&self) -> Value {
        let value: Value = match serde_json::from_slice(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("stdout is not one JSON document: {error}\n{}", self.report()),
        };
        if value["schema"].as_str().is_some_and(|schema| schema.starts_with("cairn."))
            && let Err(mistakes) = schema::check(&value)
        {
            panic!("{mistakes}\n{}", self.report());
        }
        value
    }

    /// Returns the last line of stderr as JSON: the error record of `--json`.
    ///
    /// # Panics
    ///
    /// If it is not JSON.
    #[track_caller]
    pub fn error_json(&self) -> Value {
        let err = self.err();
        let last = err.lines().next_back().unwrap_or_default();
        let value: Value = match serde_json::from_str(last) {
            Ok(value) => value,
            Err(error) => panic!("stderr's last line is not JSON: {error}\n{}", self.report()),
        };
        if value["type"] == "error"
            && let Err(mistakes) = schema::check_as("error", &value)
        {
            panic!("{mistakes}\n{}", self.report());
        }
        value
    }

    /// Describes the run in full, for a failed assertion.
    pub fn report(&self) -> String {
        let mut text = format!("$ {}\n{}\n", self.command, self.status);
        for (name, bytes) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
            let _ = writeln!(text, "--- {name}: {} bytes\n{shown}", bytes.len());
        }
        text
    }
}

/// A program that runs; killed when dropped.
#[derive(Debug)]
pub struct Running {
    command: String,
    child: Child,
    started: Instant,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

impl Running {
    /// Starts a command with nothing on its stdin.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let text = format!("{command:?}");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("{text}: cannot be started: {error}"),
        };
        let stdout = child.stdout.take().map(collect);
        let stderr = child.stderr.take().map(collect);
        Self { command: text, child, started: Instant::now(), stdout, stderr }
    }

    /// Returns its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// If the system refuses; a program that has ended already is no error.
    pub fn signal(&mut self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            rustix::process::kill_process(pid, signal).expect("our own child takes signals");
        }
    }

    /// Answers whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// If that takes more than five minutes from the start ([`patience`]).
    #[track_caller]
    pub fn wait(mut self) -> Run {
        let deadline = patience(DEADLINE);
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if self.started.elapsed() < deadline => std::thread::sleep(POLL),
                Ok(None) => panic!("{}: still running after {deadline:?}", self.command),
                Err(error) => panic!("{}: wait: {error}", self.command),
            }
        };
        let read = |reader: Option<JoinHandle<Vec<u8>>>| {
            reader
                .map(|thread| thread.join().expect("the reader does not panic"))
                .unwrap_or_default()
        };
        Run {
            command: std::mem::take(&mut self.command),
            status,
            stdout: read(self.stdout.take()),
            stderr: read(self.stderr.take()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error still helps to explain it.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}
