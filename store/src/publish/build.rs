//! Building a tree that nobody reads: objects into the pool, then paths into the tree.

use rayon::prelude::*;

use super::ViewPlan;
use super::apply::Apply;
use super::place::lost;
use super::record::Records;
use crate::diff::{Change, diff};
use crate::error::{Error, Result};
use crate::fault::{self, CrashPoint};
use crate::fs::Dir;
use crate::mount::Mount;
use crate::path::RelPath;
use crate::pool::{Batch, Pool, Sync};
use crate::progress::Observer;
use crate::store::Store;
use crate::tree::{DirEntry, Entry, FileEntry};

/// Where the objects of a tree are before it is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Objects {
    /// In the mount's own pool, all of them.
    Here,
    /// In some mount's pool.
    Anywhere,
}

/// What building a tree needs to know beside the tree.
pub(super) struct Build<'a> {
    pub store: &'a Store,
    pub mount: &'a Mount,
    pub dir: &'a Dir,
    pub plan: &'a ViewPlan,
    pub objects: Objects,
}

impl Build<'_> {
    /// Brings objects in and the tree with this inode and name from what it holds to the target.
    pub fn run(
        &self,
        apply: &Apply<'_>,
        records: &Records,
        (ino, name): (u64, &[u8]),
        holds: Option<&DirEntry>,
        target: &DirEntry,
    ) -> Result<()> {
        self.store.held().check()?;
        records.write(self.dir)?;
        fault::hit(CrashPoint::StandbyMarked);
        if self.objects == Objects::Anywhere {
            self.import(apply, holds, target)?;
        }
        let work = &self.plan.work;
        let files = work.files_added + work.files_changed;
        apply.observer.begin("Linking", files, work.bytes_added);
        // Whoever has taken a lost lock over gives such names to trees of their own, which are in
        // use. So this is ours by inode, and by a lock that we still hold with the tree open.
        let dir = self.dir.dir(name);
        self.store.held().check()?;
        let dir = dir?;
        if dir.stat_self()?.ino != ino {
            return Err(lost(self.dir));
        }
        apply.dir(&dir, &RelPath::ROOT, holds, target)
    }

    /// Brings the objects that a tree needs and its mount's pool lacks from the other pools.
    fn import(&self, apply: &Apply<'_>, holds: Option<&DirEntry>, target: &DirEntry) -> Result<()> {
        let names = self.store.mount_names().filter(|name| *name != self.mount.spec.name);
        let (mut others, mut away) = (Vec::new(), None);
        for name in names {
            match self.store.mount(name) {
                Ok(mount) => others.push(mount),
                Err(error) => away = away.or(Some(error)),
            }
        }
        match (self.import_from(others, apply, holds, target), away) {
            // What no other mount has may be on the one that is away: that one is what to mend.
            (Err(Error::MissingObject { .. }), Some(away)) => Err(away),
            (result, _) => result,
        }
    }

    fn import_from(
        &self,
        others: Vec<Mount>,
        apply: &Apply<'_>,
        holds: Option<&DirEntry>,
        target: &DirEntry,
    ) -> Result<()> {
        let pool = self.mount.pool();
        let observer = apply.observer;
        let work = &self.plan.work;
        observer.begin(
            "Bringing objects in",
            work.files_added + work.files_changed,
            work.bytes_added,
        );
        let import = Import { pool, others, observer, batch: Batch::new(pool)? };
        let mut wanted = Vec::with_capacity(SOME);
        diff(apply.nodes, holds, Some(target), &mut |change| {
            if let Change { path, new: Some(Entry::File(file)), old } = change
                && !matches!(old, Some(Entry::File(old)) if old.object == file.object)
            {
                wanted.push((path, file));
                if wanted.len() == SOME {
                    import.some(&mut wanted)?;
                }
            }
            Ok(())
        })?;
        import.some(&mut wanted)?;
        import.batch.commit(Sync::Later)
    }
}

/// How many paths are looked at together: enough for all threads, and no matter for memory.
const SOME: usize = 4096;

/// Objects on their way into a pool from the others.
struct Import<'a> {
    pool: &'a Pool,
    others: Vec<Mount>,
    observer: &'a dyn Observer,
    batch: Batch<'a>,
}

impl Import<'_> {
    /// Brings in what is not here of some files, and forgets the files.
    fn some(&self, wanted: &mut Vec<(RelPath, FileEntry)>) -> Result<()> {
        wanted.par_chunks(16).try_for_each(|chunk| {
            chunk.iter().try_for_each(|(path, file)| {
                if self.observer.interrupted() {
                    return Err(Error::Interrupted);
                }
                self.one(path, file)?;
                self.observer.advance(1, file.size);
                Ok(())
            })
        })?;
        wanted.clear();
        Ok(())
    }

    fn one(&self, path: &RelPath, file: &FileEntry) -> Result<()> {
        if file.object.is_empty_file() {
            return Ok(());
        }
        if let Some(likely) = self.others.first()
            && self.batch.import_unseen(likely.pool(), &file.object)?
        {
            return Ok(());
        }
        let is_here = || Ok(self.pool.stat(&file.object)?.is_some());
        if is_here()? {
            return Ok(());
        }
        for other in &self.others {
            if let Some(stat) = other.pool().stat(&file.object)? {
                return self.batch.import(other.pool(), &stat, file, self.observer);
            }
        }
        // Another command may have brought it here in the meantime.
        if is_here()? { Ok(()) } else { Err(self.pool.missing(&file.object, path)) }
    }
}
