//! Private directories for what a program is given and leaves.
//!
//! On disk: `<temporary directory>/cairn-sign-<random>/` (0700) with `lock`, which is locked for
//! as long as the directory is in use, and `work/`, in which the program runs. Dropped, all of it
//! goes. What a killed command left is removed by the next one: a directory whose lock is free
//! belongs to nobody.

use std::path::{Path, PathBuf};

use cairn_store::fs::{self, Dir, Kind, LockKind, OpenFile};
use cairn_store::{Error, Result};

const PREFIX: &str = "cairn-sign-";
const LOCK: &[u8] = b"lock";
const WORK: &[u8] = b"work";
/// The bit that keeps users from each other's files in a directory that all can write to.
const STICKY: u32 = 0o1000;
/// Seconds after which a directory without a lock is not going to get one.
const MADE_WITHIN: i64 = 3600;

/// A private directory that goes when it is dropped.
pub(crate) struct Scratch {
    parent: Dir,
    name: Vec<u8>,
    work: Dir,
    /// Held until the directory goes.
    lock: Option<OpenFile>,
}

impl Scratch {
    /// Makes one in the system's temporary directory.
    pub fn new() -> Result<Scratch> {
        let parent = Dir::open(&parent())?;
        let stat = parent.stat_self()?;
        // Whoever can rename our directory away could have other bytes signed in its place.
        let own = rustix::process::geteuid().as_raw();
        let shared = stat.mode & 0o022 != 0 && stat.mode & STICKY == 0;
        if shared || (stat.uid != 0 && stat.uid != own) {
            return Err(Error::Refused {
                path: parent.path().to_owned(),
                reason: "other users can exchange what is in this temporary directory; it must \
                         be this user's or root's, and sticky if others can write to it"
                    .to_owned(),
            });
        }
        Scratch::within(&parent)
    }

    pub(super) fn within(parent: &Dir) -> Result<Scratch> {
        loop {
            let name = format!("{PREFIX}{}", fs::hex_random()?).into_bytes();
            if !parent.make_dir(&name, 0o700)? {
                continue;
            }
            // From here on it is removed whatever fails.
            let made = Removed { parent, name: &name };
            let dir = parent.dir(&name)?;
            let lock = dir.lock_file(LOCK)?;
            // Between creating and locking, a sweep may have taken it for a dead one's.
            if !lock.try_lock(LockKind::Exclusive)? || !dir.is_named(LOCK, &lock)? {
                continue;
            }
            dir.make_dir(WORK, 0o700)?;
            let work = dir.dir(WORK)?;
            std::mem::forget(made);
            return Ok(Scratch { parent: parent.try_clone()?, name, work, lock: Some(lock) });
        }
    }

    /// Returns the directory in which a program runs.
    pub fn path(&self) -> &Path {
        self.work.path()
    }

    /// Writes a file that only this user can read, and returns its path.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        self.work.create(name.as_bytes())?.write_all(bytes)?;
        Ok(self.work.path_of(name.as_bytes()))
    }

    /// Reads a file that a program left, at most `most` bytes and one; nothing if there is none.
    pub fn read(&self, name: &str, most: usize) -> Result<Option<Vec<u8>>> {
        let refused = |what: &str| Error::Refused {
            path: self.work.path_of(name.as_bytes()),
            reason: format!("is {what} and not a file"),
        };
        match self.work.try_stat(name.as_bytes())?.map(|stat| stat.kind) {
            None => return Ok(None),
            Some(Kind::File) => {}
            Some(Kind::Dir) => return Err(refused("a directory")),
            Some(Kind::Symlink) => return Err(refused("a symbolic link")),
            Some(Kind::Other(kind)) => return Err(refused(&format!("a {kind}"))),
        }
        let mut file = self.work.open_file(name.as_bytes())?;
        let mut bytes = vec![0; most + 1];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read(&mut bytes[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        bytes.truncate(filled);
        Ok(Some(bytes))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A network file system keeps a file that is open, under another name, and the directory with it.
        drop(self.lock.take());
        // What cannot be removed now is swept by the next command.
        let _ = self.parent.remove_all(&self.name);
    }
}

/// Removes a directory unless it is forgotten.
struct Removed<'a> {
    parent: &'a Dir,
    name: &'a [u8],
}

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let _ = self.parent.remove_all(self.name);
    }
}

/// Removes what killed commands of this user left. What cannot be looked at is somebody else's.
pub(super) fn sweep() {
    if let Ok(parent) = Dir::open(&parent()) {
        sweep_within(&parent);
    }
}

pub(super) fn sweep_within(parent: &Dir) {
    let own = rustix::process::geteuid().as_raw();
    for name in parent.names().unwrap_or_default() {
        if !name.starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let Ok(dir) = parent.dir(&name) else { continue };
        if !dir.stat_self().is_ok_and(|stat| stat.uid == own) {
            continue;
        }
        // For writing, because NFS locks nothing for its holder alone that is open to be read.
        let dead = match dir.append(LOCK) {
            Ok(lock) => lock.try_lock(LockKind::Exclusive).unwrap_or(false),
            // One without a lock is being made right now, unless it is old.
            Err(_) => dir.stat_self().is_ok_and(|stat| {
                jiff::Timestamp::now().as_second() - stat.ctime.secs > MADE_WITHIN
            }),
        };
        if dead {
            let _ = parent.remove_all(&name);
        }
    }
}

fn parent() -> PathBuf {
    let named = fs::env("TMPDIR").map(PathBuf::from).filter(|path| path.is_absolute());
    named.unwrap_or_else(|| PathBuf::from("/tmp"))
}
