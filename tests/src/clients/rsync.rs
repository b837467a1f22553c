//! rsync, as a client and as a daemon.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::run::Run;
use crate::unavailable::{self, Unavailable};

/// Runs rsync with these arguments.
///
/// # Errors
///
/// [`Unavailable`] where there is no rsync.
#[track_caller]
pub fn rsync<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Result<Run, Unavailable> {
    unavailable::tool("rsync")?;
    Ok(Run::of(Command::new("rsync").env("LC_ALL", "C").args(args)))
}

/// An rsync daemon that serves one directory read-only on the loopback interface.
///
/// It does not change its root (`use chroot = no`): that is the harder case, where a session
/// that looked at a path again would find another tree there.
#[derive(Debug)]
pub struct RsyncDaemon {
    _daemon: Daemon,
    port: u16,
    _temp: TempDir,
}

impl RsyncDaemon {
    /// Serves `root` as the module `mirror`.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] where there is no rsync, or it does not start.
    pub fn start(root: &Path) -> Result<Self, Unavailable> {
        unavailable::tool("rsync")?;
        let refused =
            |reason: String| Unavailable::Refused { what: "an rsync daemon".to_owned(), reason };
        let temp = tempfile::tempdir().map_err(|error| refused(error.to_string()))?;
        let config = temp.path().join("rsyncd.conf");
        let log = temp.path().join("log");
        let identity = if unavailable::root("").is_ok() { "uid = root\ngid = root\n" } else { "" };
        let text = format!(
            "use chroot = no\nlog file = {}\n{identity}reverse lookup = no\n\
             [mirror]\npath = {}\nread only = yes\n",
            log.display(),
            root.display(),
        );
        std::fs::write(&config, text).map_err(|error| refused(error.to_string()))?;

        // The port is free when we ask; should somebody take it before rsync does, ask again.
        let mut said = String::new();
        for _ in 0..5 {
            let port = free_port().map_err(|error| refused(error.to_string()))?;
            let child = Command::new("rsync")
                .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
                .arg(format!("--port={port}"))
                .arg(format!("--config={}", config.display()))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .map_err(|error| refused(error.to_string()))?;
            let mut daemon = Daemon(child);
            if daemon.answers(port) {
                return Ok(Self { _daemon: daemon, port, _temp: temp });
            }
            said = std::fs::read_to_string(&log).unwrap_or_default();
        }
        Err(refused(said))
    }

    /// Returns the module's URL, with a slash at its end.
    pub fn url(&self) -> String {
        format!("rsync://127.0.0.1:{}/mirror/", self.port)
    }
}

/// The process; killed when dropped.
#[derive(Debug)]
struct Daemon(Child);

impl Daemon {
    fn answers(&mut self, port: u16) -> bool {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(10) {
            if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                let mut greeting = String::new();
                let read = BufReader::new(stream).read_line(&mut greeting);
                return read.is_ok() && greeting.starts_with("@RSYNCD:");
            }
            if self.0.try_wait().is_ok_and(|ended| ended.is_some()) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
