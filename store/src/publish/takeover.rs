//! Taking over a directory that is live already: it becomes a view's tree where it stands.
//!
//! Where trees are exchanged, a record with its inode is all that it takes. Where links are, the
//! directory changes places with a link that leads to the name that the directory gets by that: one
//! exchange, and no reader sees a gap. A filesystem that cannot exchange has no such step; there the
//! operator must allow that nothing is at the path between two renames.

use serde::Serialize;

use super::place::{free_name, link_name, make_link, tree_dir};
use super::record::{Content, Records, TreeRecord};
use super::{ViewSpec, begin_view, view_dir};
use crate::error::{Error, Result};
use crate::fault::{self, CrashPoint};
use crate::fs::{Dir, Kind, Replace};
use crate::id::SnapshotId;
use crate::mount::{Mount, Strategy};
use crate::store::{Store, Writer};
use crate::tree::DirEntry;

/// How a directory becomes a view's tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// It is a tree of the view already.
    Known,
    /// It stays where it is, and a record says so.
    InPlace,
    /// It changes places with a link to itself.
    Exchange,
    /// It is renamed, and then a link takes its path: for a moment there is nothing.
    Gap,
}

/// A directory at a view's path.
#[derive(Debug)]
pub struct Standing {
    /// The directory.
    pub dir: Dir,
    /// How it becomes the view's tree.
    pub way: Way,
}

impl Store {
    /// Returns what stands at a view's path and how it would be taken over.
    ///
    /// # Errors
    /// [`Error::ViewOccupied`] when that is no directory, or nothing.
    pub fn standing(&self, view: &ViewSpec) -> Result<Standing> {
        let mount = self.mount(&view.mount)?;
        let (parent, last) = parent(&mount, view)?;
        let occupied = |reason: &str| Error::ViewOccupied {
            path: parent.path_of(&last),
            reason: reason.to_owned(),
        };
        let stat = parent.try_stat(&last)?.ok_or_else(|| occupied("there is nothing to adopt"))?;
        let records = match views(&mount, view)? {
            Some(dir) => Records::read(&dir)?,
            None => Records::default(),
        };
        match (stat.kind, mount.strategy) {
            (Kind::Dir, strategy) => {
                let known = records.get(stat.ino).is_some_and(|record| !record.building);
                let way = match strategy {
                    Strategy::Exchange if known => Way::Known,
                    Strategy::Exchange => Way::InPlace,
                    Strategy::Symlink if mount.capabilities.exchange => Way::Exchange,
                    Strategy::Symlink => Way::Gap,
                };
                Ok(Standing { dir: parent.dir(&last)?, way })
            }
            (Kind::Symlink, Strategy::Symlink) => {
                let state = super::State::read(mount.reopen()?, view)?;
                match (&state.dir, state.live) {
                    (Some(views), Some(ino)) => match tree_dir(views, ino)? {
                        Some(name) => Ok(Standing { dir: views.dir(&name)?, way: Way::Known }),
                        None => Err(occupied("it is a link to a tree that is gone")),
                    },
                    _ => Err(occupied("it is a link that was not published by cairn")),
                }
            }
            (Kind::Symlink, Strategy::Exchange) => {
                Err(occupied("it is a symbolic link, and this mount swaps directories"))
            }
            (Kind::File | Kind::Other(_), _) => Err(occupied("it is not a directory")),
        }
    }

    /// Makes the directory at a view's path the view's tree, holding this snapshot. When this
    /// returns, that is on disk; the snapshot is committed afterwards.
    pub fn take_over(
        &self,
        writer: &Writer<'_>,
        view: &ViewSpec,
        standing: &Standing,
        snapshot: SnapshotId,
        root: DirEntry,
    ) -> Result<()> {
        debug_assert!(writer.holds(&view.name), "whoever takes a view over holds its ref");
        let mount = self.mount(&view.mount)?;
        let dir = match views(&mount, view)? {
            Some(dir) => dir,
            None => begin_view(&mount, view)?,
        };
        let mut records = Records::read(&dir)?;
        let ino = standing.dir.stat_self()?.ino;
        let content =
            Content { snapshot, root: root.into(), leftovers: Vec::new(), tree: root.tree };
        records.trees.retain(|tree| tree.ino != ino);
        records.trees.push(TreeRecord {
            ino,
            content,
            building: false,
            drifted: false,
            published: Some(jiff::Timestamp::now()),
            retired: None,
        });
        self.held().check()?;
        records.write(&dir)?;
        fault::hit(CrashPoint::TakeoverRecorded);
        let (parent, last) = parent(&mount, view)?;
        self.held().check()?;
        match standing.way {
            Way::Known | Way::InPlace => return Ok(()),
            Way::Exchange => {
                let name = free_name(&dir)?;
                make_link(&mount, view, &dir, &name)?;
                // The link leads to the name that it stands under itself, until the directory does.
                dir.rename(&link_name(&name), &dir, &name, Replace::Yes)?;
                dir.exchange(&name, &parent, &last)?;
            }
            Way::Gap => {
                let name = free_name(&dir)?;
                make_link(&mount, view, &dir, &name)?;
                parent.rename(&last, &dir, &name, Replace::Yes)?;
                fault::hit(CrashPoint::TakeoverMoved);
                dir.rename(&link_name(&name), &parent, &last, Replace::Yes)?;
            }
        }
        fault::hit(CrashPoint::TakeoverSwapped);
        // What moved it may have dated it anew.
        let _ = standing.dir.set_mtime(root.mtime);
        parent.sync()?;
        dir.sync()
    }

    /// Puts a link to where a takeover that was killed between its two renames had left nothing.
    /// Returns whether there was one.
    pub fn finish_takeover(&self, view: &ViewSpec) -> Result<bool> {
        let mount = self.mount(&view.mount)?;
        let Some(dir) = views(&mount, view)? else { return Ok(false) };
        let Ok((parent, last)) = parent(&mount, view) else { return Ok(false) };
        if mount.strategy != Strategy::Symlink || parent.try_stat(&last)?.is_some() {
            return Ok(false);
        }
        let records = Records::read(&dir)?;
        let live = |tree: &&TreeRecord| tree.published.is_some() && tree.retired.is_none();
        let Some(tree) = records.trees.iter().rev().find(live) else { return Ok(false) };
        let Some(name) = tree_dir(&dir, tree.ino)? else { return Ok(false) };
        make_link(&mount, view, &dir, &name)?;
        self.held().check()?;
        dir.rename(&link_name(&name), &parent, &last, Replace::No).or_else(|error| {
            // Who cannot say "and replace nothing" has just seen that nothing is there.
            match error.is(rustix::io::Errno::INVAL) {
                true => dir.rename(&link_name(&name), &parent, &last, Replace::Yes),
                false => Err(error),
            }
        })?;
        parent.sync()?;
        dir.sync()?;
        Ok(true)
    }
}

fn views(mount: &Mount, view: &ViewSpec) -> Result<Option<Dir>> {
    let views = mount.pool().root().dir(b"views")?;
    match views.try_stat(&view_dir(view))? {
        Some(_) => views.dir(&view_dir(view)).map(Some),
        None => Ok(None),
    }
}

fn parent(mount: &Mount, view: &ViewSpec) -> Result<(Dir, Vec<u8>)> {
    let (parent, last) = view.path.split_last().ok_or_else(|| Error::ViewOccupied {
        path: mount.spec.path.clone(),
        reason: "a view cannot take the whole mount".into(),
    })?;
    Ok((mount.root().dir_at(&parent)?, last.to_vec()))
}
