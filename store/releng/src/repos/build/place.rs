//! A directory's `repodata`: who may write it, and how the new takes the place of the old.
//!
//! New metadata is made under a name of its own and exchanged with the old in one step; a crash
//! leaves one or the other, and what it leaves beside is removed by the next run.
//!
//! The lock is the directory's own, which leaves nothing behind. A file system that others share
//! knows no locks of directories, or keeps them to this host; there a file is locked too, for as
//! long as somebody builds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cairn_repodata::repomd::Repomd;
use cairn_repodata::write::RepodataFile;
use cairn_store::Error as StoreError;
use cairn_store::fault::{CrashPoint, hit};
use cairn_store::fs::{Dir, Kind, LockKind, Replace, Time};
use cairn_store::lock::{Holder, Lock};
use cairn_store::progress::Observer;
use rustix::io::Errno;

use super::{Disk, now};
use crate::audit::repos::{REPODATA, REPOMD};
use crate::error::{Error, Result};
use crate::repos::metadata::Metadata;

/// How long to sleep between two tries at the lock.
const RETRY: Duration = Duration::from_millis(50);
/// Where new metadata is made; a random name follows.
const TEMPORARY: &[u8] = b".repodata.";
/// A signature of `repomd.xml`.
pub(super) const SIGNATURE: &[u8] = b"repomd.xml.asc";

/// What is locked where a directory cannot be, or not for everybody.
const LOCK: &str = ".repodata.lock";

/// The right to write here, until it is dropped.
pub(super) struct Guard<'a> {
    root: &'a Dir,
    file: Option<Lock>,
    // After the file, which whoever waits on this host for the directory then finds gone.
    _dir: Option<Dir>,
}

impl Guard<'_> {
    /// Makes sure that the right is still ours. A server may have given it away.
    pub fn check(&self) -> Result<()> {
        Ok(self.file.as_ref().map_or(Ok(()), Lock::check)?)
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // Whoever waits for the file looks whether it still has its name. What is lost by now is
        // another's.
        if let Some(file) = self.file.take()
            && file.check().is_ok()
        {
            let _ = self.root.remove_if_there(LOCK.as_bytes());
        }
    }
}

/// Takes the directory's lock; nothing where the file system has none of any kind.
pub(super) fn lock<'a>(
    root: &'a Dir,
    wait: Duration,
    command: &str,
    observer: &dyn Observer,
    notes: &mut Vec<String>,
) -> Result<Option<Guard<'a>>> {
    let until = Instant::now() + wait;
    let dir = lock_dir(root, until, observer)?;
    if dir.is_some() && root.is_local()? {
        return Ok(Some(Guard { root, file: None, _dir: dir }));
    }
    match lock_file(root, until, command, observer) {
        Ok(file) => Ok(Some(Guard { root, file: Some(file), _dir: dir })),
        Err(Error::Store(error)) if has_no_locks(&error) => {
            notes.push("This file system has no locks: let nobody else build here.".to_owned());
            Ok(None)
        }
        // Nobody who gets that writes metadata here, and perhaps there is nothing to write.
        Err(Error::Store(error))
            if [Errno::ROFS, Errno::ACCESS, Errno::PERM].iter().any(|e| error.is(*e))
                && root.try_stat(LOCK.as_bytes())?.is_none() =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn has_no_locks(error: &StoreError) -> bool {
    [Errno::BADF, Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS].iter().any(|e| error.is(*e))
}

/// Takes the lock of the directory itself; nothing where it has none.
fn lock_dir(root: &Dir, until: Instant, observer: &dyn Observer) -> Result<Option<Dir>> {
    // A description of its own: the lock lives as long as this handle.
    let handle = root.try_clone_open()?;
    loop {
        if observer.interrupted() {
            return Err(StoreError::Interrupted.into());
        }
        match handle.try_lock(LockKind::Exclusive) {
            Ok(true) => return Ok(Some(handle)),
            Ok(false) if Instant::now() >= until => {
                return Err(
                    StoreError::Busy { what: shown(root), holder: Holder::default() }.into()
                );
            }
            Ok(false) => std::thread::sleep(RETRY),
            Err(error) if has_no_locks(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Takes the lock of the file, so that whoever may write in the directory may take it as well.
fn lock_file(root: &Dir, until: Instant, command: &str, observer: &dyn Observer) -> Result<Lock> {
    let (what, kind) = (shown(root), LockKind::Exclusive);
    let lock = loop {
        if observer.interrupted() {
            return Err(StoreError::Interrupted.into());
        }
        match Lock::take(root, LOCK, &what, kind, Duration::ZERO, command, observer) {
            Err(StoreError::Busy { .. }) if Instant::now() < until => std::thread::sleep(RETRY),
            taken => break taken?,
        }
    };
    let write = root.stat_self()?.mode & 0o022;
    // One that another left has the mode that he gave it.
    if let Ok(file) = root.open_file(LOCK.as_bytes()) {
        let _ = file.set_mode(0o600 | write | (write << 1));
    }
    Ok(lock)
}

fn shown(root: &Dir) -> String {
    cairn_store::path::display(root.path()).to_string()
}

/// Removes what a killed run left. Whoever works here holds the lock, so it is nobody's.
pub(super) fn remove_leftovers(root: &Dir) -> Result<()> {
    for name in root.names()? {
        let random = name.strip_prefix(TEMPORARY).unwrap_or_default();
        if random.len() == 32 && random.iter().all(u8::is_ascii_hexdigit) {
            root.remove_all(&name)?;
        }
    }
    Ok(())
}

/// Where new metadata goes.
pub(super) struct Placing<'a> {
    pub root: &'a Dir,
    /// How long metadata files that are replaced stay.
    pub keep_old: Duration,
    pub guard: Option<&'a Guard<'a>>,
}

impl Placing<'_> {
    /// Puts new metadata in the place of what is there.
    pub fn put(
        &self,
        old: Option<&Disk>,
        files: &[RepodataFile],
        repomd: &Repomd,
        began: Time,
    ) -> Result<()> {
        let root = self.root;
        let there = root.try_stat(REPODATA)?;
        let temporary = Temporary::new(root)?;
        let dir = root.dir(&temporary.name)?;
        for file in files {
            let mut out = dir.create(file.name.as_bytes())?;
            out.write_all(&file.bytes)?;
            out.set_mode(0o644)?;
            // The time at which reading began tells the next run which packages it may believe.
            out.set_mtime(began)?;
            out.sync()?;
        }
        let before = there.map(|_| root.dir(REPODATA)).transpose()?;
        if let Some(before) = &before {
            self.keep(before, old, &dir, repomd)?;
        }
        dir.set_mode(there.map_or(0o755, |stat| stat.mode))?;
        dir.sync()?;
        hit(CrashPoint::RepodataWritten);
        self.guard.map_or(Ok(()), Guard::check)?;
        let Some(before) = before else {
            root.rename(&temporary.name, root, REPODATA, Replace::Yes)?;
            temporary.forget();
            root.sync()?;
            hit(CrashPoint::RepodataReplaced);
            return Ok(());
        };
        match root.exchange(&temporary.name, root, REPODATA) {
            Ok(()) => {
                root.sync()?;
                hit(CrashPoint::RepodataReplaced);
                temporary.remove()?;
            }
            Err(error)
                if [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP].iter().any(|e| error.is(*e)) =>
            {
                self.put_beside(&before, &dir, files)?;
                temporary.remove()?;
            }
            Err(error) => return Err(error.into()),
        }
        root.sync()?;
        Ok(())
    }

    /// Links into new metadata what of the old stays: files that no record names, and for a while
    /// files that clients of the old `repomd.xml` ask for.
    fn keep(&self, before: &Dir, old: Option<&Disk>, dir: &Dir, repomd: &Repomd) -> Result<()> {
        let mut named: BTreeMap<Vec<u8>, ()> = BTreeMap::new();
        if let Some(old) = old {
            for record in &old.repomd().records {
                named.insert(old.name(record)?.into_bytes(), ());
            }
        }
        let new: Vec<&[u8]> = repomd
            .records
            .iter()
            .map(|record| record.href.rsplit('/').next().unwrap_or_default().as_bytes())
            .collect();
        let now = now();
        let long = |since: Time| {
            let age = now.secs.saturating_sub(since.secs).max(0);
            u64::try_from(age).is_ok_and(|age| age >= self.keep_old.as_secs())
        };
        for name in before.names()? {
            if *name == *REPOMD || *name == *SIGNATURE || new.contains(&&*name) {
                continue;
            }
            let Some(stat) = before.try_stat(&name)? else { continue };
            let keep = match stat.kind {
                // From now on it is old, which its time says to the runs that follow.
                Kind::File if named.contains_key(&*name) => {
                    let keep = !self.keep_old.is_zero();
                    if keep {
                        before.set_mtime_of(&name, now)?;
                    }
                    keep
                }
                Kind::File if is_metadata_name(&name) => !long(stat.mtime),
                Kind::File => true,
                Kind::Symlink => {
                    dir.symlink(&before.read_link(&name)?, &name)?;
                    false
                }
                Kind::Dir | Kind::Other(_) => {
                    let reason = "metadata has files only; remove it, then run the command again";
                    let (path, reason) = (before.path_of(&name), reason.to_owned());
                    return Err(Error::Input { path, reason });
                }
            };
            if keep {
                before.link(&name, dir, &name)?;
            }
        }
        Ok(())
    }

    /// Puts new files beside the old ones, then replaces `repomd.xml`, then removes what is old:
    /// for file systems that cannot exchange directories, such as NFS.
    fn put_beside(&self, before: &Dir, dir: &Dir, files: &[RepodataFile]) -> Result<()> {
        let stay: Vec<Box<[u8]>> = dir.names()?;
        let (repomd, lists): (Vec<_>, Vec<_>) =
            files.iter().map(|file| file.name.as_bytes()).partition(|name| *name == REPOMD);
        for name in lists {
            dir.rename(name, before, name, Replace::Yes)?;
        }
        before.sync()?;
        for name in repomd {
            dir.rename(name, before, name, Replace::Yes)?;
        }
        before.sync()?;
        hit(CrashPoint::RepodataReplaced);
        for name in before.names()? {
            if !stay.contains(&name) {
                before.remove_if_there(&name)?;
            }
        }
        before.sync()?;
        Ok(())
    }
}

/// Returns whether a file name begins with a checksum, as those of metadata do.
fn is_metadata_name(name: &[u8]) -> bool {
    let digits = name.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    digits >= 32 && name.get(digits) == Some(&b'-')
}

/// A directory that is removed unless it was put in place.
struct Temporary<'a> {
    root: &'a Dir,
    name: Vec<u8>,
}

impl<'a> Temporary<'a> {
    fn new(root: &'a Dir) -> Result<Self> {
        let name = [TEMPORARY, cairn_store::fs::hex_random()?.as_bytes()].concat();
        root.make_dir(&name, 0o700)?;
        Ok(Self { root, name })
    }

    /// Removes it, and says if it cannot be.
    fn remove(mut self) -> Result<()> {
        let name = std::mem::take(&mut self.name);
        Ok(self.root.remove_all(&name)?)
    }

    /// It has another name now.
    fn forget(mut self) {
        self.name.clear();
    }
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // The error that led here says more; the next run tries again.
            let _ = self.root.remove_all(&self.name);
        }
    }
}
