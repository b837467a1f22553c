//! Locks: kernel locks on files of the store, held for as long as the process lives.
//!
//! A lock is a flock(2), never a pid or an old file, so a killed holder leaves nothing behind.
//! The file's text says who took it. Order: the store, then refs in ascending order, so no two
//! commands can wait for each other.
//!
//! A lock can be lost while it is held: an NFS server that has not heard of its client for a lease
//! gives it to the next, and somebody may remove the file. So whoever is about to do what the lock
//! protects asks first whether it still holds: [`Lock::check`], [`Locks::check`]. That writes a byte
//! through the lock's own descriptor, which a client whose lock was lost answers with EIO, reads who
//! stands there, and looks whether the file is still the one of that name.

use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::fs::{self, Dir, LockKind, OpenFile};
use crate::path::{Escaped, display};
use crate::progress::Observer;
use crate::refs::RefName;

/// How long to sleep between two tries at a lock.
const RETRY: Duration = Duration::from_millis(50);

/// Who holds a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// Since when.
    pub since: Option<jiff::Timestamp>,
    /// What it runs.
    pub command: String,
}

impl Holder {
    /// Returns this process as a holder.
    pub fn this(command: &str) -> Self {
        Self {
            host: fs::host(),
            pid: std::process::id(),
            since: Some(jiff::Timestamp::now()),
            command: command.to_owned(),
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It is what another wrote, and a command line has whatever somebody typed.
        let plain = |text: &str| Escaped(text.as_bytes()).to_string();
        match self.since {
            Some(since) => write!(
                f,
                "held since {since:.0} by process {} on {} ({})",
                self.pid,
                plain(&self.host),
                plain(&self.command)
            ),
            None => f.write_str("held by a process that has not said its name"),
        }
    }
}

/// Returns the name of the lock of a ref.
pub fn of_ref(name: &RefName) -> String {
    format!("ref-{}", name.file_name())
}

/// Returns whether somebody holds a lock for themselves at this moment.
///
/// Nothing is written, and nobody has to wait for it longer than for two system calls.
pub fn is_held(dir: &Dir, name: &str) -> Result<bool> {
    match dir.open_file(name.as_bytes()) {
        Ok(file) => Ok(!file.try_lock(LockKind::Shared)?),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// A lock that somebody on this machine holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldLock {
    /// What is locked: a ref, `store`, or another word for what its lock is named after.
    pub what: String,
    /// Who holds it; of those who share it, who came last.
    #[serde(flatten)]
    pub holder: Holder,
}

/// Returns the locks of a directory that are held, by name. Nothing is locked to find out: the
/// kernel's table is asked, which knows the locks of this machine.
///
/// # Errors
/// A directory that cannot be read.
pub fn held(dir: &Dir) -> Result<Vec<HeldLock>> {
    // Each line: number, FLOCK, ADVISORY, kind, pid, major:minor:inode and a range.
    let table = fs::kernel_locks();
    let locks: Vec<(u32, &str, u64)> = table
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let flock = words.iter().position(|word| *word == "FLOCK")?;
            // Whoever only waits stands there with an arrow before the word.
            let waits = words[..flock].contains(&"->");
            let (device, inode) = words.get(flock + 4)?.rsplit_once(':')?;
            let lock = (words.get(flock + 3)?.parse().ok()?, device, inode.parse().ok()?);
            (!waits).then_some(lock)
        })
        .collect();
    let mut found = Vec::new();
    let mut names = dir.names()?;
    names.sort();
    for name in names {
        let Some(stat) = dir.try_stat(&name)? else { continue };
        let holder = holder(&dir.read(&name).unwrap_or_default()).unwrap_or_default();
        let device = fs::device_text(stat.dev);
        // Some filesystems tell programs another device than the kernel's table.
        let is_held = locks.iter().any(|(pid, lock_device, inode)| {
            *inode == stat.ino && (*lock_device == device || *pid == holder.pid)
        });
        if is_held {
            let what = match name.strip_prefix(b"ref-") {
                Some(name) => RefName::from_file_name(name).map(|name| name.to_string()),
                None => None,
            };
            let what = what.unwrap_or_else(|| String::from_utf8_lossy(&name).into_owned());
            found.push(HeldLock { what, holder });
        }
    }
    Ok(found)
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
#[must_use = "the lock is released when this is dropped"]
pub struct Lock(Arc<Held>);

#[derive(Debug)]
struct Held {
    file: OpenFile,
    dir: Dir,
    name: Vec<u8>,
    /// What it locks, for messages.
    what: String,
    kind: LockKind,
    /// Device and inode of the file.
    identity: (u64, u64),
    /// What we wrote into it.
    text: Vec<u8>,
    /// Whether what is written may wait in the client's memory, where no server has judged it.
    remote: bool,
}

impl Lock {
    /// Takes the lock `name` in `dir`, waiting up to `wait`.
    ///
    /// # Errors
    /// [`Error::Busy`] with the holder when the time is over.
    pub fn take(
        dir: &Dir,
        name: &str,
        what: &str,
        kind: LockKind,
        wait: Duration,
        command: &str,
        observer: &dyn Observer,
    ) -> Result<Self> {
        let until = Instant::now() + wait;
        let name = name.as_bytes();
        let mut waits = false;
        let (mut file, identity) = loop {
            let file = dir.lock_file(name)?;
            while !file.try_lock(kind)? {
                let holder = || holder(&dir.read(name).unwrap_or_default()).unwrap_or_default();
                if Instant::now() >= until {
                    return Err(Error::Busy { what: what.to_owned(), holder: holder() });
                }
                if !std::mem::replace(&mut waits, true) {
                    observer.begin(&format!("Waiting for {what}, {}", holder()), 0, 0);
                }
                std::thread::sleep(RETRY);
            }
            // The lock of a file that was removed while we waited for it is nobody's any more.
            let stat = file.stat()?;
            let identity = (stat.dev, stat.ino);
            if dir.try_stat(name)?.is_some_and(|stat| (stat.dev, stat.ino) == identity) {
                break (file, identity);
            }
        };
        if waits {
            observer.begin("Working", 0, 0);
        }
        let text = serde_json::to_vec(&Holder::this(command)).expect("a holder is plain data");
        let written = file.set_len(0).and_then(|()| file.write_all(&text));
        match kind {
            LockKind::Exclusive => written?,
            // Of those who share a lock the last one's name stands there, if it can.
            LockKind::Shared => drop(written),
        }
        Ok(Self(Arc::new(Held {
            remote: !dir.is_local()?,
            dir: dir.try_clone()?,
            name: name.to_vec(),
            what: what.to_owned(),
            kind,
            identity,
            text,
            file,
        })))
    }

    /// Makes sure that the lock is still ours.
    ///
    /// # Errors
    /// [`Error::LockLost`], and then nothing that the lock protects may be done.
    pub fn check(&self) -> Result<()> {
        self.0.check()
    }
}

impl Held {
    fn check(&self) -> Result<()> {
        let lost = |reason: String| Error::LockLost { what: self.what.clone(), reason };
        // The first byte of every text: whoever shares the lock writes the same.
        let written = self.file.write_at(&self.text[..1], 0).and_then(|()| match self.remote {
            true => self.file.sync_data(),
            false => Ok(()),
        });
        match written {
            Ok(()) => {}
            // A full disk says nothing about a lock, and a rollback must work on one.
            Err(error) if [Errno::NOSPC, Errno::DQUOT].iter().any(|full| error.is(*full)) => {}
            Err(error) => return Err(lost(format!("it cannot be written to: {}", told(&error)))),
        }
        let stat = self.dir.try_stat(&self.name).map_err(|error| lost(told(&error)))?;
        let path = self.dir.path_of(&self.name);
        match stat.map(|stat| (stat.dev, stat.ino)) {
            Some(identity) if identity == self.identity => {}
            Some(_) => return Err(lost(format!("{} was replaced", display(&path)))),
            None => return Err(lost(format!("{} was removed", display(&path)))),
        }
        // What those who share a lock have written is each other's.
        if self.kind == LockKind::Shared {
            return Ok(());
        }
        let mut found = vec![0; self.text.len() + 4096];
        let length = self.file.read_at(&mut found, 0).map_err(|error| lost(told(&error)))?;
        found.truncate(length);
        match (found == self.text, holder(&found)) {
            (true, _) => Ok(()),
            (false, Some(holder)) => Err(lost(format!("it is {holder}"))),
            (false, None) => Err(lost(format!("{} was changed", display(&path)))),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.file.unlock();
    }
}

fn holder(text: &[u8]) -> Option<Holder> {
    serde_json::from_slice(text).ok()
}

/// Tells an error with its cause in one line.
fn told(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// The locks that a store's owner holds at the moment, whoever keeps them.
#[derive(Clone, Debug, Default)]
pub struct Locks(Arc<Mutex<Vec<Weak<Held>>>>);

impl Locks {
    /// Adds a lock for as long as it is held.
    pub fn add(&self, lock: Lock) -> Lock {
        let mut all = self.all();
        all.retain(|held| held.strong_count() > 0);
        all.push(Arc::downgrade(&lock.0));
        lock
    }

    /// Makes sure that every lock is still ours. It comes right before what must not happen twice:
    /// an operation's number, a record, a swap, a removal.
    ///
    /// # Errors
    /// [`Error::LockLost`] with the first that is not.
    pub fn check(&self) -> Result<()> {
        let held: Vec<_> = self.all().iter().filter_map(Weak::upgrade).collect();
        held.iter().try_for_each(|held| held.check())
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Held>>> {
        self.0.lock().expect("no thread panics while it holds the list of locks")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn take(dir: &Path, kind: LockKind) -> Lock {
        let dir = Dir::open(dir).unwrap();
        Lock::take(&dir, "ref", "the ref", kind, Duration::ZERO, "test", &crate::progress::Silent)
            .unwrap()
    }

    #[track_caller]
    fn is_lost(lock: &Lock, why: &str) {
        match lock.check() {
            Err(Error::LockLost { what, reason }) => {
                assert_eq!(what, "the ref");
                assert!(reason.contains(why), "{reason}");
            }
            other => panic!("{why}: {other:?}"),
        }
    }

    #[test]
    fn a_lock_that_is_held_is_known_to_be_and_the_file_stays_as_it_is() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        for kind in [LockKind::Exclusive, LockKind::Shared] {
            let lock = take(temp.path(), kind);
            let before = dir.read(b"ref").unwrap();
            lock.check().unwrap();
            lock.check().unwrap();
            assert_eq!(dir.read(b"ref").unwrap(), before);
            assert_eq!(holder(&before).unwrap().command, "test");
        }
    }

    #[test]
    fn a_lock_that_is_dropped_is_free_whoever_has_its_file_open() {
        let temp = tempfile::tempdir().unwrap();
        let lock = take(temp.path(), LockKind::Exclusive);
        // As a child has it between fork and exec.
        let open = lock.0.file.duplicate();
        drop(lock);
        take(temp.path(), LockKind::Exclusive).check().unwrap();
        drop(open);
    }

    #[test]
    fn a_lock_whose_file_is_gone_or_another_is_lost() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        for kind in [LockKind::Exclusive, LockKind::Shared] {
            let lock = take(temp.path(), kind);
            dir.remove(b"ref").unwrap();
            is_lost(&lock, "was removed");
            // The next who comes gets a lock of the name, and keeps it.
            let next = take(temp.path(), LockKind::Exclusive);
            is_lost(&lock, "was replaced");
            next.check().unwrap();
        }
    }

    #[test]
    fn a_lock_with_another_holder_in_it_is_lost_and_the_holder_named() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        let lock = take(temp.path(), LockKind::Exclusive);
        // What another client of a server writes that has given it the lock.
        let other = Holder { host: "elsewhere".into(), pid: 7, ..Holder::this("cairn promote 9") };
        let mut file = dir.lock_file(b"ref").unwrap();
        file.set_len(0).unwrap();
        file.write_all(&serde_json::to_vec(&other).unwrap()).unwrap();
        is_lost(&lock, "by process 7 on elsewhere (cairn promote 9)");
        file.set_len(0).unwrap();
        is_lost(&lock, "was changed");
    }

    #[test]
    fn a_holder_is_named_without_speaking_to_the_terminal() {
        let host = "h\u{9b}2J".to_owned();
        let holder = Holder { host, ..Holder::this("hold -m \u{1b}]0;x\u{7}\u{202e}\n") };
        let shown = holder.to_string();
        assert!(
            shown.ends_with("on h\\u{9b}2J (hold -m \\u{1b}]0;x\\u{7}\\u{202e}\\n)"),
            "{shown}"
        );
    }

    #[test]
    fn all_locks_that_are_held_are_asked_and_no_other() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        let locks = Locks::default();
        let lock = locks.add(take(temp.path(), LockKind::Exclusive));
        locks.check().unwrap();
        dir.remove(b"ref").unwrap();
        assert!(matches!(locks.check(), Err(Error::LockLost { .. })));
        drop(lock);
        locks.check().unwrap();
    }
}
