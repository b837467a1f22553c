//! Building a tree that nobody reads: objects into the pool, then paths into the tree.

use rayon::prelude::*;

use super::ViewPlan;
use super::apply::Apply;
use super::record::Records;
use crate::diff::{Change, diff};
use crate::error::{Error, Result};
use crate::fault::{self, CrashPoint};
use crate::fs::Dir;
use crate::mount::Mount;
use crate::path::RelPath;
use crate::pool::{Batch, Sync};
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
    /// Brings objects in and the tree `name` from what it holds to the target.
    pub fn run(
        &self,
        apply: &Apply<'_>,
        records: &Records,
        name: &[u8],
        holds: Option<&DirEntry>,
        target: &DirEntry,
    ) -> Result<()> {
        records.write(self.dir)?;
        fault::hit(CrashPoint::StandbyMarked);
        if self.objects == Objects::Anywhere {
            self.import(apply, holds, target)?;
        }
        let work = &self.plan.work;
        let files = work.files_added + work.files_changed;
        apply.observer.begin("Linking", files, work.bytes_added);
        apply.dir(&self.dir.dir(name)?, &RelPath::ROOT, holds, target)
    }

    /// Brings the objects that a tree needs and its mount's pool lacks from the other pools.
    fn import(&self, apply: &Apply<'_>, holds: Option<&DirEntry>, target: &DirEntry) -> Result<()> {
        let mut wanted: Vec<(RelPath, FileEntry)> = Vec::new();
        diff(apply.nodes, holds, Some(target), &mut |change| {
            if let Change { path, new: Some(Entry::File(file)), old } = change
                && !matches!(old, Some(Entry::File(old)) if old.object == file.object)
            {
                wanted.push((path, file));
            }
            Ok(())
        })?;
        let pool = self.mount.pool();
        let missing = wanted
            .into_par_iter()
            .map(|(path, file)| {
                let here = file.object.is_empty_file() || pool.stat(&file.object)?.is_some();
                Ok((!here).then_some((path, file)))
            })
            .filter_map(Result::transpose)
            .collect::<Result<Vec<_>>>()?;
        if missing.is_empty() {
            return Ok(());
        }
        // A mount that is away cannot help; the object that only it has is named below.
        let names = self.store.mount_names().filter(|name| *name != self.mount.spec.name);
        let others: Vec<Mount> = names.filter_map(|name| self.store.mount(name).ok()).collect();
        let bytes = missing.iter().map(|(_, file)| file.size).sum();
        apply.observer.begin("Bringing objects in", missing.len() as u64, bytes);
        let batch = Batch::new(pool)?;
        missing.par_chunks(16).try_for_each(|chunk| {
            chunk.iter().try_for_each(|(path, file)| {
                if apply.observer.interrupted() {
                    return Err(Error::Interrupted);
                }
                for other in &others {
                    if let Some(stat) = other.pool().stat(&file.object)? {
                        batch.import(other.pool(), &stat, file, apply.observer)?;
                        apply.observer.advance(1, file.size);
                        return Ok(());
                    }
                }
                // Another command may have brought it here in the meantime.
                if pool.stat(&file.object)?.is_none() {
                    return Err(pool.missing(&file.object, path));
                }
                apply.observer.advance(1, file.size);
                Ok(())
            })
        })?;
        batch.commit(Sync::Later)
    }
}
