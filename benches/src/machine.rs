//! Where a run took place, as far as its times depend on it.

use std::fmt;
use std::fs;
use std::path::Path;
use std::thread;

use serde_json::{Value, json};

use crate::failure::{Failure, Result};
use crate::peers::Peers;

/// Cores, filesystem, load and versions.
#[derive(Debug)]
pub struct Machine {
    cores: usize,
    kernel: String,
    filesystem: String,
    /// Of the last minute, before the run: what others were doing.
    load: String,
    cairn: Option<String>,
    peers: Vec<(&'static str, Option<String>)>,
}

impl Machine {
    /// Looks at the machine and at the filesystem of `dir`.
    pub fn look(dir: &Path, cairn: Option<&Path>, peers: &Peers) -> Result<Self> {
        let stat = rustix::fs::statfs(dir)
            .map_err(|errno| Failure::io("look at the filesystem", dir)(errno.into()))?;
        let versions = peers.versions();
        Ok(Self {
            cores: thread::available_parallelism().map_or(1, usize::from),
            kernel: first_word("/proc/sys/kernel/osrelease"),
            filesystem: filesystem_name(stat.f_type as u64) + discard_note(dir),
            load: first_word("/proc/loadavg"),
            cairn: cairn.map(version),
            peers: versions.iter().map(|(peer, found)| (peer.program(), found.clone())).collect(),
        })
    }

    /// Returns the same as an object.
    pub fn json(&self) -> Value {
        let peers: serde_json::Map<String, Value> =
            self.peers.iter().map(|(name, found)| ((*name).to_owned(), json!(found))).collect();
        json!({
            "cores": self.cores,
            "kernel": self.kernel,
            "filesystem": self.filesystem,
            "load": self.load,
            "cairn": self.cairn,
            "peers": peers,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cores, kernel, filesystem, load, .. } = self;
        writeln!(f, "{cores} cores, {filesystem}, Linux {kernel}, load {load} before the run.")?;
        write!(f, "{}", self.cairn.as_deref().unwrap_or("Without cairn"))?;
        for (name, found) in &self.peers {
            write!(f, "; {name} {}", found.as_deref().unwrap_or("not installed: skipped"))?;
        }
        f.write_str(".")
    }
}

/// Says whether a filesystem has room for `bytes` in `files` files.
pub fn has_room(dir: &Path, bytes: u64, files: u64) -> Result<()> {
    let stat = rustix::fs::statvfs(dir)
        .map_err(|errno| Failure::io("look at the filesystem", dir)(errno.into()))?;
    let free = stat.f_bavail * stat.f_frsize;
    if free < bytes {
        let what = format!(
            "{}: {} MB free, up to {} MB needed; fewer --files, a smaller --mean or another --dir",
            dir.display(),
            free / 1_000_000,
            bytes / 1_000_000,
        );
        return Err(Failure::Usage { what });
    }
    // A filesystem without fixed inodes reports none at all.
    if stat.f_files > 0 && stat.f_favail < files {
        let what = format!("{}: {} inodes free, {files} needed", dir.display(), stat.f_favail);
        return Err(Failure::Usage { what });
    }
    Ok(())
}

fn version(cairn: &Path) -> String {
    let output = std::process::Command::new(cairn).arg("--version").output();
    let said = output.map(|output| output.stdout).unwrap_or_default();
    match String::from_utf8_lossy(&said).lines().next() {
        Some(line) => line.trim().to_owned(),
        None => "cairn of unknown version".to_owned(),
    }
}

fn first_word(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// Says whether freed blocks are discarded as they are freed. On some disks that makes removing a
/// file dearer than writing it, which rsync --delete pays and a swap of trees does not.
fn discard_note(dir: &Path) -> &'static str {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mount = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.nth(1)?))
        })
        .filter(|(point, _)| dir.starts_with(point))
        .max_by_key(|(point, _)| point.len());
    match mount {
        Some((_, options)) if options.split(',').any(|option| option == "discard") => {
            " mounted with discard"
        }
        Some(_) | None => "",
    }
}

/// Names the magic numbers of statfs(2) that matter here.
fn filesystem_name(magic: u64) -> String {
    match magic {
        0xef53 => "ext4".to_owned(),
        0x5846_5342 => "XFS".to_owned(),
        0x9123_683e => "btrfs".to_owned(),
        0x0102_1994 => "tmpfs".to_owned(),
        0x6969 => "NFS".to_owned(),
        other => format!("filesystem {other:#x}"),
    }
}
