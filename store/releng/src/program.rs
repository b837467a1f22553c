//! Running a program of the operator's: the only door to other processes.
//!
//! A [`Program`] runs without a shell, in a directory and a process group of its own, with the
//! environment that [`KEPT`] names and nothing else. It is given its input, heard until it has
//! ended, and ended if it takes too long or the operator wants to stop. One thread does all that
//! with pipes that never block, so a program may ignore its input, close its output early, talk
//! without end or leave a daemon behind that holds the pipes: none of it makes cairn wait.
//!
//! What is still in the process group when the program has ended is killed, before the program
//! is reaped, so that the group's number cannot be somebody else's by then. A daemon that shall
//! live on (gpg-agent does) makes a session of its own.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the one file of the library that runs programs and asks the environment for them"
)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use cairn_store::path::Escaped;
use cairn_store::progress::Observer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

/// The variables that a program gets as cairn got them: what finds programs, homes and terminals,
/// and what leads to a key agent or a token. `TMPDIR`, `LC_ALL` and `CAIRN_NAME` are cairn's.
pub(crate) const KEPT: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "GNUPGHOME",
    "GPG_TTY",
    "GPG_AGENT_INFO",
    "PINENTRY_USER_DATA",
    "SSH_AUTH_SOCK",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "TERM",
    "SOFTHSM2_CONF",
];

/// How often it is asked whether the operator wants to stop.
const TICK: Duration = Duration::from_millis(100);
/// How long a program that is told to end may take to clean up before it is killed.
const PATIENCE: Duration = Duration::from_secs(2);
/// How much of what a program says on stderr is kept: its end, where the reason stands.
const MAX_SAID: usize = 4096;
/// How many lines of it a message quotes.
const QUOTED_LINES: usize = 8;

/// A program to run.
pub(crate) struct Program<'a> {
    /// The program, absolute or a name to search `PATH` for, and its arguments.
    pub command: &'a [String],
    /// Its working directory, which is also its `TMPDIR`.
    pub dir: &'a Path,
    /// What it works on, for a program that keeps a log: `CAIRN_NAME`.
    pub name: &'a str,
    /// What it can read on stdin.
    pub input: &'a [u8],
    /// When it is ended.
    pub timeout: Duration,
    /// How many bytes of its stdout are kept; what comes after them is read and dropped.
    pub most: usize,
}

/// What a program that has ended left.
pub(crate) struct Ended {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    /// Whether there was more than `most`.
    pub cut: bool,
    pub said: Said,
}

impl Ended {
    /// Says how it ended, unless that was with success.
    pub fn failure(&self) -> Option<String> {
        match (self.status.code(), self.status.signal()) {
            (Some(0), _) => None,
            (Some(code), _) => Some(format!("ended with exit code {code}")),
            (None, Some(signal)) => Some(format!("was killed by signal {signal}")),
            (None, None) => Some("ended in an unknown way".to_owned()),
        }
    }
}

/// Why a program did not end by itself.
pub(crate) enum Failure {
    /// It could not be started.
    Start(io::Error),
    /// It took too long and was killed.
    TimedOut(Said),
    /// The operator wants to stop; it was killed.
    Interrupted,
}

/// The end of what a program said on stderr.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    tail: Vec<u8>,
    /// Whether something came before the tail.
    more: bool,
}

impl Said {
    fn hear(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        if let Some(excess) = self.tail.len().checked_sub(MAX_SAID).filter(|excess| *excess > 0) {
            self.tail.drain(..excess);
            self.more = true;
        }
    }

    /// Renders the last lines as one line, safe for a terminal; nothing if nothing was said.
    pub fn quoted(&self) -> Option<String> {
        let lines: Vec<&[u8]> = self.tail.split(|byte| *byte == b'\n').collect();
        let lines: Vec<String> = lines
            .iter()
            .map(|line| line.trim_ascii())
            .filter(|line| !line.is_empty())
            .map(|line| Escaped(line).to_string())
            .collect();
        let skipped = lines.len().saturating_sub(QUOTED_LINES);
        let start = if self.more || skipped > 0 { "… " } else { "" };
        (!lines.is_empty()).then(|| format!("{start}{}", lines[skipped..].join(" / ")))
    }
}

impl Program<'_> {
    /// Runs the program until it has ended; one that did not succeed is no failure here.
    pub fn run(&self, observer: &dyn Observer) -> Result<Ended, Failure> {
        self.start()?.attend(observer)
    }

    /// Runs the program and hands on what it writes to stdout, of which nothing is kept, until the
    /// sink answers that it has enough; then the program is killed, and what it left is `cut`.
    pub fn stream(
        &self,
        observer: &dyn Observer,
        sink: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Ended, Failure> {
        let mut running = self.start()?;
        running.sink = Some(sink);
        running.attend(observer)
    }

    fn start(&self) -> Result<Running<'_>, Failure> {
        let (program, arguments) = self.command.split_first().ok_or_else(|| {
            Failure::Start(io::Error::new(io::ErrorKind::InvalidInput, "no program is named"))
        })?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.dir).process_group(0);
        command.env_clear().env("LC_ALL", "C.UTF-8").env("TMPDIR", self.dir);
        command.env("CAIRN_NAME", self.name);
        command.envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(Failure::Start)?;
        Running::new(child, self)
    }
}

/// A program at work; dropped, its group is killed and it is reaped.
struct Running<'a> {
    child: Child,
    group: Pid,
    /// Wakes the poll when the program ends; kernels before 5.3 have none, then the tick does.
    ended: Option<OwnedFd>,
    input: &'a [u8],
    most: usize,
    deadline: Instant,
    stdout: Vec<u8>,
    /// Where stdout goes instead; it answers whether it wants more.
    sink: Option<Sink<'a>>,
    cut: bool,
    said: Said,
}

/// Takes bytes, and answers whether it wants more.
type Sink<'a> = &'a mut (dyn FnMut(&[u8]) -> bool + 'a);

impl<'a> Running<'a> {
    fn new(child: Child, program: &Program<'a>) -> Result<Self, Failure> {
        let group = Pid::from_child(&child);
        let ended = rustix::process::pidfd_open(group, PidfdFlags::empty()).ok();
        let running = Self {
            child,
            group,
            ended,
            input: program.input,
            most: program.most,
            deadline: Instant::now() + program.timeout,
            stdout: Vec::new(),
            sink: None,
            cut: false,
            said: Said::default(),
        };
        let pipes = [
            running.child.stdin.as_ref().map(AsFd::as_fd),
            running.child.stdout.as_ref().map(AsFd::as_fd),
            running.child.stderr.as_ref().map(AsFd::as_fd),
        ];
        for pipe in pipes.into_iter().flatten() {
            rustix::fs::fcntl_getfl(pipe)
                .and_then(|flags| rustix::fs::fcntl_setfl(pipe, flags | OFlags::NONBLOCK))
                .map_err(|errno| Failure::Start(errno.into()))?;
        }
        Ok(running)
    }

    fn attend(&mut self, observer: &dyn Observer) -> Result<Ended, Failure> {
        let mut failure = None;
        while !self.has_ended() {
            if failure.is_none() && observer.interrupted() {
                failure = Some(Failure::Interrupted);
                self.ask_to_end();
            } else if Instant::now() >= self.deadline {
                match failure {
                    None => {
                        failure = Some(Failure::TimedOut(Said::default()));
                        self.ask_to_end();
                    }
                    Some(_) => break,
                }
            }
            self.serve();
            if self.sink.is_some() && self.cut {
                break;
            }
        }
        let status = self.finish();
        match (failure, status) {
            (Some(Failure::TimedOut(_)), _) => {
                Err(Failure::TimedOut(std::mem::take(&mut self.said)))
            }
            (Some(failure), _) => Err(failure),
            (None, Err(error)) => Err(Failure::Start(error)),
            (None, Ok(status)) => Ok(Ended {
                status,
                stdout: std::mem::take(&mut self.stdout),
                cut: self.cut,
                said: std::mem::take(&mut self.said),
            }),
        }
    }

    /// Tells whether the program has ended, without reaping it.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match rustix::process::waitid(WaitId::Pid(self.group), options) {
            Ok(status) => status.is_some(),
            // Somebody else has reaped it: there is nothing to wait for.
            Err(errno) => errno == Errno::CHILD,
        }
    }

    /// Asks the whole group to end, so that a script can clean up, and sets a short deadline.
    fn ask_to_end(&mut self) {
        let _ = rustix::process::kill_process_group(self.group, Signal::TERM);
        self.deadline = Instant::now() + PATIENCE;
    }

    /// Waits until a pipe is ready, the program has ended or a tick is over; moves what can be.
    fn serve(&mut self) {
        let (mut fds, mut roles) = (Vec::new(), Vec::new());
        if let Some(stdin) = &self.child.stdin {
            fds.push(PollFd::new(stdin, PollFlags::OUT));
            roles.push(Role::Stdin);
        }
        if let Some(stdout) = &self.child.stdout {
            fds.push(PollFd::new(stdout, PollFlags::IN));
            roles.push(Role::Stdout);
        }
        if let Some(stderr) = &self.child.stderr {
            fds.push(PollFd::new(stderr, PollFlags::IN));
            roles.push(Role::Stderr);
        }
        if let Some(ended) = &self.ended {
            fds.push(PollFd::new(ended, PollFlags::IN));
        }
        let left = self.deadline.saturating_duration_since(Instant::now()).min(TICK);
        let left = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
        // A failed poll (a signal) reports nothing ready; the loop comes back.
        let ready: Vec<Role> = match poll(&mut fds, Some(&left)) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let ready = roles.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
                ready.map(|(role, _)| *role).collect()
            }
        };
        for role in ready {
            match role {
                Role::Stdin => self.feed(),
                Role::Stdout => self.hear_stdout(),
                Role::Stderr => self.hear_stderr(),
            }
        }
    }

    /// Writes what the program's stdin takes now. One that does not want it all is not at fault.
    fn feed(&mut self) {
        let Some(stdin) = &self.child.stdin else { return };
        while !self.input.is_empty() {
            match rustix::io::write(stdin, self.input) {
                Ok(written) => self.input = &self.input[written..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => break,
            }
        }
        self.child.stdin = None;
    }

    fn hear_stdout(&mut self) {
        let Some(pipe) = &self.child.stdout else { return };
        let (stdout, most, cut) = (&mut self.stdout, self.most, &mut self.cut);
        let sink = &mut self.sink;
        let open = drain(pipe.as_fd(), &mut |bytes| {
            if let Some(sink) = sink {
                *cut = *cut || !sink(bytes);
                return;
            }
            let kept = bytes.len().min(most.saturating_sub(stdout.len()));
            stdout.extend_from_slice(&bytes[..kept]);
            *cut |= kept < bytes.len();
        });
        if open == Pipe::Closed {
            self.child.stdout = None;
        }
    }

    fn hear_stderr(&mut self) {
        let Some(pipe) = &self.child.stderr else { return };
        let said = &mut self.said;
        if drain(pipe.as_fd(), &mut |bytes| said.hear(bytes)) == Pipe::Closed {
            self.child.stderr = None;
        }
    }

    /// Kills what is left of the group, takes what is still in the pipes, reaps the program.
    fn finish(&mut self) -> io::Result<ExitStatus> {
        let _ = rustix::process::kill_process_group(self.group, Signal::KILL);
        let status = self.child.wait();
        self.hear_stdout();
        self.hear_stderr();
        status
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // After `finish` the program is reaped, and its number may be somebody else's.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = rustix::process::kill_process_group(self.group, Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

#[derive(Clone, Copy)]
enum Role {
    Stdin,
    Stdout,
    Stderr,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pipe {
    Open,
    Closed,
}

/// The most that is taken from one pipe in one go: a program that never stops talking must not
/// keep the loop from looking at the clock.
const ONE_GO: usize = 1 << 20;

/// Reads what a pipe holds now.
fn drain(pipe: BorrowedFd<'_>, hear: &mut dyn FnMut(&[u8])) -> Pipe {
    let mut buffer = [0; 64 << 10];
    let mut taken = 0;
    while taken < ONE_GO {
        match rustix::io::read(pipe, &mut buffer) {
            Ok(0) => return Pipe::Closed,
            Ok(count) => {
                hear(&buffer[..count]);
                taken += count;
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Pipe::Open,
            Err(_) => return Pipe::Closed,
        }
    }
    Pipe::Open
}
