//! A tree on disk for a program to look at.
//!
//! A view that shows exactly the tree is taken as it is. Otherwise it is built beside the objects of
//! a mount, in `<pool>/tmp/look-<random>/`, from links where views are links too; it goes when it is
//! dropped. What a killed command left is swept by the next that builds one: its lock is free.

use std::path::{Path, PathBuf};

use cairn_store::fs::{Dir, LockKind, OpenFile, hex_random};
use cairn_store::mount::Mount;
use cairn_store::path::RelPath;
use cairn_store::pool::{Pool, Share};
use cairn_store::publish::ViewSpec;
use cairn_store::tree::{DirEntry, Entry, FileEntry, Nodes};
use rayon::prelude::*;

use super::Subject;
use crate::error::Result;

const PREFIX: &str = "look-";
const LOCK: &[u8] = b"lock";
const TREE: &[u8] = b"tree";
/// How much of a file is copied at once.
const CHUNK: usize = 256 << 10;

/// A tree on disk.
pub(super) enum Exhibit {
    /// It is published.
    Live { view: ViewSpec, path: PathBuf },
    /// It was built.
    Built(Built),
}

/// A tree that goes when it is dropped.
pub(super) struct Built {
    parent: Dir,
    name: Vec<u8>,
    path: PathBuf,
    lock: Option<OpenFile>,
}

impl Drop for Built {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next command that builds one.
        if let Ok(dir) = self.parent.dir(&self.name) {
            let _ = dir.remove_all(TREE);
            let _ = dir.remove_if_there(LOCK);
        }
        // NFS keeps what is open under another name, and its directory with it, so the lock is
        // closed first. Whoever takes the directory over by then has put a lock of his own there.
        self.lock = None;
        let _ = self.parent.remove_dir(&self.name);
    }
}

impl Exhibit {
    /// Finds a view that shows the subject's tree and nothing else.
    pub(super) fn live(subject: &Subject<'_>) -> Result<Option<Exhibit>> {
        for (view, _) in subject.site.views()? {
            // A mount that is away shows nothing.
            if !shows(subject, &view) {
                continue;
            }
            let Ok(mount) = subject.site.store.mount(&view.mount) else { continue };
            let path = on_disk(mount.root().path(), &view.path);
            return Ok(Some(Exhibit::Live { view, path }));
        }
        Ok(None)
    }

    /// Builds the subject's tree beside the objects of the mount that has them.
    pub(super) fn build(subject: &Subject<'_>) -> Result<Exhibit> {
        let mount = subject.site.home()?;
        let parent = mount.pool().root().dir(b"tmp")?;
        sweep(&parent);
        loop {
            let name = format!("{PREFIX}{}", hex_random()?).into_bytes();
            if !parent.make_dir(&name, 0o711)? {
                continue;
            }
            // Between creating and locking, a sweep may have taken it for a dead one's.
            let (dir, lock) = match locked(&parent, &name) {
                Ok(Some(locked)) => locked,
                Ok(None) => continue,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error.into()),
            };
            let path = dir.path_of(TREE);
            // From here on it is removed whatever fails.
            let built = Built { parent, name, path, lock: Some(lock) };
            dir.make_dir(TREE, 0o700)?;
            let root = &subject.root;
            let (files, bytes) = (root.files, root.bytes);
            subject.observer.begin("Building a tree to look at", files, bytes);
            let building = Building { subject, mount: &mount };
            building.dir(&dir.dir(TREE)?, &RelPath::ROOT, root)?;
            return Ok(Exhibit::Built(built));
        }
    }

    /// Returns where it is.
    pub(super) fn path(&self) -> &Path {
        match self {
            Exhibit::Live { path, .. } => path,
            Exhibit::Built(built) => &built.path,
        }
    }

    /// Returns whether it is still what it was: a view may have been published anew.
    pub(super) fn stands(&self, subject: &Subject<'_>) -> bool {
        match self {
            Exhibit::Live { view, .. } => shows(subject, view),
            Exhibit::Built(_) => true,
        }
    }
}

/// Returns whether a view shows the subject's tree, without what a grace still keeps there.
fn shows(subject: &Subject<'_>, view: &ViewSpec) -> bool {
    let live = subject.site.store.live(view);
    live.is_ok_and(|live| live.tree == Some(subject.root.tree) && live.leftovers_until.is_none())
}

fn on_disk(mount: &Path, path: &RelPath) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    mount.join(std::ffi::OsStr::from_bytes(path.as_bytes()))
}

/// Removes what killed commands left. What cannot be looked at is somebody else's.
fn sweep(parent: &Dir) {
    for name in parent.names().unwrap_or_default() {
        if !name.starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let Ok(Some((_, lock))) = locked(parent, &name) else { continue };
        let Ok(parent) = parent.try_clone() else { continue };
        drop(Built { parent, name: name.into(), path: PathBuf::new(), lock: Some(lock) });
    }
}

/// Opens a tree's directory and takes its lock, which is made where a kill came before it or in
/// the middle of removing. Nothing if somebody else has it, or has it no more and removed it.
fn locked(parent: &Dir, name: &[u8]) -> cairn_store::Result<Option<(Dir, OpenFile)>> {
    let dir = parent.dir(name)?;
    let lock = dir.lock_file(LOCK)?;
    if !lock.try_lock(LockKind::Exclusive)? {
        return Ok(None);
    }
    let is_there = dir.is_named(LOCK, &lock)?;
    Ok(is_there.then_some((dir, lock)))
}

struct Building<'a> {
    subject: &'a Subject<'a>,
    mount: &'a Mount,
}

impl Building<'_> {
    fn dir(&self, dir: &Dir, path: &RelPath, entry: &DirEntry) -> Result<()> {
        self.subject.check_interrupted()?;
        let tree = self.subject.draft.tree(&entry.tree)?;
        let entries: Vec<_> = tree.entries().iter().collect();
        entries.par_iter().try_for_each(|(name, entry)| self.entry(dir, path, name, entry))?;
        dir.set_mode(entry.mode)?;
        dir.set_mtime(entry.mtime)?;
        Ok(())
    }

    fn entry(&self, dir: &Dir, path: &RelPath, name: &[u8], entry: &Entry) -> Result<()> {
        match entry {
            Entry::File(file) => self.file(dir, &path.join(name), name, file),
            Entry::Symlink(link) => {
                dir.symlink(&link.target, name)?;
                Ok(dir.set_mtime_of(name, link.mtime)?)
            }
            Entry::Dir(child) => {
                dir.make_dir(name, 0o700)?;
                self.dir(&dir.dir(name)?, &path.join(name), child)
            }
        }
    }

    fn file(&self, dir: &Dir, path: &RelPath, name: &[u8], file: &FileEntry) -> Result<()> {
        let pool: &Pool = self.mount.pool();
        let observer = self.subject.observer;
        if file.object.is_empty_file() || pool.stat(&file.object)?.is_some() {
            let share = match self.subject.site.must_not_share(path) {
                true => Share::Forbidden,
                false => Share::Allowed,
            };
            pool.place(dir, name, file, share, &|| path.clone(), observer)?;
        } else {
            // It is in another pool, or only in the plan.
            self.copy(dir, path, name, file)?;
        }
        observer.advance(1, file.size);
        Ok(())
    }

    fn copy(&self, dir: &Dir, path: &RelPath, name: &[u8], file: &FileEntry) -> Result<()> {
        use std::io::Read as _;
        let mut content = self.subject.open(file, path)?;
        let mut target = dir.create(name)?;
        let mut buffer = vec![0; CHUNK];
        loop {
            self.subject.check_interrupted()?;
            let count = content.read(&mut buffer).map_err(|source| {
                let path = path.to_string().into();
                cairn_store::Error::Io { op: "read", path, source }
            })?;
            if count == 0 {
                break;
            }
            target.write_all(&buffer[..count])?;
        }
        target.set_mode(file.mode)?;
        Ok(target.set_mtime(file.mtime)?)
    }
}
