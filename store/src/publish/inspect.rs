//! The trees of a view as a check sees them, and what it does about one that is not what it says.

use super::place::{link_name, live_inode, lost, tree_dir};
use super::{State, ViewSpec, published};
use crate::error::Result;
use crate::fault::{self, CrashPoint};
use crate::fs::{Dir, Replace};
use crate::id::SnapshotId;
use crate::mount::{Mount, Strategy};
use crate::pool::Pool;
use crate::snapshot::Root;
use crate::store::{Store, Writer};
use crate::tree::{DirEntry, Draft};

/// A tree of a view that counts as complete.
#[derive(Debug)]
pub struct FoundTree {
    /// The inode of its root directory, by which it is known.
    pub ino: u64,
    /// Its root directory.
    pub dir: Dir,
    /// The snapshot that it shows.
    pub snapshot: SnapshotId,
    /// That snapshot's root directory.
    pub root: Root,
    /// What it holds, leftovers included; nothing when that cannot be computed any more.
    pub holds: Option<DirEntry>,
    /// Whether it is what stands at the view's path.
    pub live: bool,
}

/// Returns the trees of a view that count as complete. It needs no store, only its nodes.
///
/// # Errors
/// What keeps the view from being published too: a record that cannot be read, something at the
/// view's path that is not cairn's.
pub fn trees(mount: Mount, draft: &Draft<'_>, view: &ViewSpec) -> Result<Vec<FoundTree>> {
    let state = State::read(mount, view)?;
    let Some(views) = &state.dir else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for record in state.records.trees.iter().filter(|record| !record.building) {
        let live = state.live == Some(record.ino);
        let dir = match (live, state.mount.strategy) {
            (true, Strategy::Exchange) => state.mount.root().dir_at(&view.path)?,
            _ => match tree_dir(views, record.ino)? {
                Some(name) => views.dir(&name)?,
                // Swapped or removed since the record was read.
                None if !live => continue,
                None => return Err(lost(views)),
            },
        };
        found.push(FoundTree {
            ino: record.ino,
            dir,
            snapshot: record.content.snapshot,
            root: record.content.root,
            holds: published(draft, &record.content).ok(),
            live,
        });
    }
    Ok(found)
}

/// Returns the inode of the tree that stands at a view's path.
pub fn live_tree_inode(mount: &Mount, view: &ViewSpec) -> Result<Option<u64>> {
    let state_dir = mount.pool().root().dir(b"views")?;
    let name = view.name.file_name().into_bytes();
    let dir = match state_dir.try_stat(&name)? {
        Some(_) => state_dir.dir(&name)?,
        None => return Ok(None),
    };
    live_inode(mount, view, Some(&dir), &super::Records::read(&dir)?)
}

impl Store {
    /// Records that a tree is not what its record says, so that nobody takes it: the next
    /// publication builds another, and sets this one aside. `writer` holds the view's ref.
    ///
    /// Returns whether it was known.
    pub fn doubt_tree(&self, writer: &Writer<'_>, view: &ViewSpec, ino: u64) -> Result<bool> {
        debug_assert!(writer.holds(&view.name), "whoever doubts a tree holds its ref");
        let mut state = State::read(self.mount(&view.mount)?, view)?;
        let Some(dir) = &state.dir else { return Ok(false) };
        let Some(record) = state.records.get_mut(ino) else { return Ok(false) };
        record.building = true;
        record.drifted = true;
        self.held().check()?;
        state.records.write(dir)?;
        fault::hit(CrashPoint::TreeDoubted);
        Ok(true)
    }
}

/// Moves a tree that is not live out of a view's directory into quarantine.
pub(super) fn set_aside(pool: &Pool, view: &ViewSpec, dir: &Dir, name: &[u8]) -> Result<()> {
    let quarantine = pool.quarantine_dir()?;
    let ino = dir.stat(name)?.ino;
    dir.remove_if_there(&link_name(name))?;
    let kept = format!("{}-{ino}", view.name.file_name()).into_bytes();
    dir.rename(name, &quarantine, &kept, Replace::Yes)?;
    quarantine.sync()?;
    dir.sync()?;
    fault::hit(CrashPoint::TreeSetAside);
    Ok(())
}
