//! Bringing a tree on a mount from one content to another, by changing what differs.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;
use serde::Serialize;

use super::NeverLink;
use crate::error::{Error, Result};
use crate::fault::{self, CrashPoint};
use crate::fs::Dir;
use crate::path::RelPath;
use crate::pool::{Placed, Pool, Share};
use crate::progress::Observer;
use crate::tree::{DirEntry, Entry, Nodes, Pair};

/// How many files one thread brings forward before another may take over the directory.
const SHARE: usize = 64;

/// How paths got their content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Links {
    /// Paths that share the pool's inode.
    pub hardlinked: u64,
    /// Paths that share the pool's blocks.
    pub reflinked: u64,
    /// Paths with bytes of their own.
    pub copied: u64,
}

/// One run over a tree that nobody reads.
pub(super) struct Apply<'a> {
    pub nodes: &'a dyn Nodes,
    pub pool: &'a Pool,
    pub never_link: &'a NeverLink<'a>,
    pub observer: &'a dyn Observer,
    hardlinked: AtomicU64,
    reflinked: AtomicU64,
    copied: AtomicU64,
}

impl<'a> Apply<'a> {
    pub fn new(
        nodes: &'a dyn Nodes,
        pool: &'a Pool,
        never_link: &'a NeverLink<'a>,
        observer: &'a dyn Observer,
    ) -> Self {
        let [hardlinked, reflinked, copied] = std::array::from_fn(|_| AtomicU64::new(0));
        Self { nodes, pool, never_link, observer, hardlinked, reflinked, copied }
    }

    pub fn links(&self) -> Links {
        Links {
            hardlinked: self.hardlinked.load(Ordering::Relaxed),
            reflinked: self.reflinked.load(Ordering::Relaxed),
            copied: self.copied.load(Ordering::Relaxed),
        }
    }

    /// Makes `dir`, which holds `old`, hold `new`; with no `old` it is empty.
    pub fn dir(
        &self,
        dir: &Dir,
        path: &RelPath,
        old: Option<&DirEntry>,
        new: &DirEntry,
    ) -> Result<()> {
        if self.observer.interrupted() {
            return Err(Error::Interrupted);
        }
        let differs = old.is_none_or(|old| old.tree != new.tree);
        if differs {
            match old {
                Some(old) => {
                    let differences = self.nodes.differences(&old.tree, &new.tree)?;
                    self.entries(dir, path, differences.iter())?;
                }
                None => {
                    let new = self.nodes.tree(&new.tree)?;
                    let all = new.entries().iter().map(|(name, entry)| Pair::Right(name, entry));
                    self.entries(dir, path, all)?;
                }
            }
        }
        self.attributes(dir, old, new, differs)
    }

    fn entries<'e>(
        &self,
        dir: &Dir,
        path: &RelPath,
        pairs: impl Iterator<Item = Pair<'e>>,
    ) -> Result<()> {
        let (below, here): (Vec<_>, Vec<_>) = pairs.partition(is_dir);
        here.par_chunks(SHARE)
            .try_for_each(|chunk| chunk.iter().try_for_each(|pair| self.entry(dir, path, pair)))?;
        below.par_iter().try_for_each(|pair| self.entry(dir, path, pair))
    }

    fn entry(&self, dir: &Dir, path: &RelPath, pair: &Pair<'_>) -> Result<()> {
        match pair {
            Pair::Left(name, _) => dir.remove_all(name)?,
            Pair::Right(name, entry) => self.create(dir, path, name, entry)?,
            Pair::Both(name, Entry::Dir(old), Entry::Dir(new)) => {
                return self.dir(&dir.dir(name)?, &path.join(name), Some(old), new);
            }
            // An inode may be shared with the pool and with other trees: never changed, always
            // replaced.
            Pair::Both(name, _, entry) => {
                dir.remove_all(name)?;
                self.create(dir, path, name, entry)?;
            }
        }
        fault::hit(CrashPoint::StandbyChanged);
        Ok(())
    }

    fn create(&self, dir: &Dir, path: &RelPath, name: &[u8], entry: &Entry) -> Result<()> {
        match entry {
            Entry::File(file) => {
                let full = || path.join(name);
                let share = match (self.never_link)(&full()) {
                    true => Share::Forbidden,
                    false => Share::Allowed,
                };
                let count = match self.pool.place(dir, name, file, share, &full, self.observer)? {
                    Placed::Hardlink => &self.hardlinked,
                    Placed::Reflink => &self.reflinked,
                    Placed::Copy => &self.copied,
                };
                count.fetch_add(1, Ordering::Relaxed);
                self.observer.advance(1, file.size);
            }
            Entry::Symlink(link) => {
                dir.symlink(&link.target, name)?;
                if let Some(owner) = self.pool.owner() {
                    dir.set_owner_of(name, owner)?;
                }
                dir.set_mtime_of(name, link.mtime)?;
            }
            Entry::Dir(child) => {
                dir.make_dir(name, 0o700)?;
                self.dir(&dir.dir(name)?, &path.join(name), None, child)?;
            }
        }
        Ok(())
    }

    fn attributes(
        &self,
        dir: &Dir,
        old: Option<&DirEntry>,
        new: &DirEntry,
        changed: bool,
    ) -> Result<()> {
        if old.is_none()
            && let Some(owner) = self.pool.owner()
        {
            dir.set_owner(owner)?;
        }
        if old.is_none_or(|old| old.mode != new.mode) {
            dir.set_mode(new.mode)?;
        }
        if changed || old.is_none_or(|old| old.mtime != new.mtime) {
            dir.set_mtime(new.mtime)?;
        }
        Ok(())
    }
}

fn is_dir(pair: &Pair<'_>) -> bool {
    match pair {
        Pair::Left(_, entry) | Pair::Right(_, entry) | Pair::Both(_, _, entry) => {
            entry.as_dir().is_some()
        }
    }
}
