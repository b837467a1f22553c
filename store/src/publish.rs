//! Publishing: a view on a mount becomes equal to its ref, by one atomic exchange.
//!
//! Per view the mount keeps `<pool>/views/<ref>/`: the trees `t1`, `t2`, … that are not live and
//! `trees.json`, which says what each tree holds. A tree is known by the inode of its directory,
//! so the record stays true through a swap and a crash beside it. To publish, a tree whose time
//! of keeping is over is brought forward by applying the difference, synced, recorded, and, after
//! the operation is logged, swapped in. Everything that can fail comes before the log; a crash
//! between log and swap is finished by the next command. One flock per ref guards it all.

mod apply;
mod build;
mod choose;
mod edits;
mod inspect;
mod place;
mod record;
mod takeover;

use serde::Serialize;

use crate::diff::Changed;
use crate::error::{Error, Result};
use crate::fault::{self, CrashPoint};
use crate::fs::{Dir, Replace};
use crate::hang;
use crate::id::{SnapshotId, TreeId};
use crate::lock::Locks;
use crate::mount::{Mount, Strategy};
use crate::path::RelPath;
use crate::progress::Observer;
use crate::refs::RefName;
use crate::snapshot::Root;
use crate::store::Store;
use crate::tree::{DirEntry, Draft};

use apply::Apply;
pub use apply::Links;
use build::{Build, Objects};
use choose::{Base, Choice, choose, published};
pub use inspect::{FoundTree, live_tree_inode, trees};
use place::{begin_view, free_name, link_name, live_inode, lost, make_link, make_links};
use place::{tree_dir, view_dir};
use record::{Content, Records, TreeRecord};
pub use takeover::{Standing, Way};

/// Reads the bytes of a `trees.json` and returns them as they would be written.
///
/// # Errors
/// Why they are none, as the end of a sentence.
pub fn rewrite_trees(bytes: &[u8]) -> std::result::Result<Vec<u8>, String> {
    Records::decode(bytes).map(|records| records.encode())
}

/// A ref and where it is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ViewSpec {
    /// The ref.
    #[serde(rename = "ref")]
    pub name: RefName,
    /// The mount's name.
    pub mount: String,
    /// The path on the mount.
    pub path: RelPath,
}

/// Says which files must have an inode of their own because people edit them in place.
pub type NeverLink<'a> = dyn Fn(&RelPath) -> bool + std::marker::Sync + 'a;

/// What a view should become.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Its root.
    pub root: DirEntry,
    /// When; leftovers of earlier publications expire by it.
    pub time: jiff::Timestamp,
    /// Whether a kept tree of the snapshot may be taken as it is, without the grace of what is
    /// live now: a way back must need nothing.
    pub intent: Intent,
}

/// Why a view is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Forward: what is removed stays reachable for the mount's grace.
    Forward,
    /// Back: a kept tree is taken as it is.
    Back,
}

/// Where a view's next tree comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The live tree is right already.
    Live,
    /// A kept tree is right already: one swap.
    Kept,
    /// A tree whose time of keeping is over is brought forward.
    Standby,
    /// A new tree is built.
    New,
}

/// What publishing one view will do.
#[derive(Clone, Debug, Serialize)]
pub struct ViewPlan {
    /// The view.
    #[serde(flatten)]
    pub view: ViewSpec,
    /// How it is swapped.
    pub strategy: Strategy,
    /// Where its tree comes from.
    pub source: Source,
    /// How paths get their content.
    pub link: &'static str,
    /// What must be done to that tree.
    pub work: Changed,
    /// The permission bits of the live root directory and those that it gets, where they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ModeChange>,
    /// Trees that somebody has edited by hand, as far as that was noticed: nothing is built on them,
    /// and when they are not live any more they are set aside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub edited: Vec<Edited>,
}

/// A tree that is not what its record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Edited {
    /// Whether it is what is live now, and not one that was kept.
    pub live: bool,
    /// A sentence for each path, at most a hundred.
    pub paths: Vec<String>,
}

/// Permission bits before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ModeChange {
    /// What they are.
    pub old: u32,
    /// What they shall be.
    pub new: u32,
}

/// A view whose next tree is complete, on disk, and not live.
#[must_use = "a prepared view is not published until it is swapped"]
pub struct Prepared {
    /// What was planned.
    pub plan: ViewPlan,
    /// How the paths got their content.
    pub links: Links,
    mount: Mount,
    dir: Dir,
    records: Records,
    held: Locks,
    /// The inode of the tree that is live now.
    live: Option<u64>,
    /// The inode of the tree that becomes live; nothing when the live one stays.
    next: Option<u64>,
    /// What the live tree stands for, when it stays.
    content: Option<Content>,
}

/// What is live at a view's path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Live {
    /// The snapshot, as its record says; nothing when nothing is published.
    pub snapshot: Option<SnapshotId>,
    /// That snapshot's root tree.
    pub tree: Option<TreeId>,
    /// How many other trees are kept.
    pub kept_trees: usize,
    /// How many trees were begun and are not complete.
    pub unfinished_trees: usize,
    /// Since when the oldest leftover may go, if there are leftovers.
    pub leftovers_until: Option<jiff::Timestamp>,
    /// Since when it is live; nothing when nothing is published.
    pub published: Option<jiff::Timestamp>,
    /// That snapshot's root directory, with its mode and time.
    #[serde(skip)]
    pub root: Option<Root>,
}

impl Live {
    /// Returns whether this is what is live: the tree, and the root directory's mode and time.
    pub fn shows(&self, root: &Root) -> bool {
        self.root == Some(*root)
    }
}

/// What a tree on a mount holds, as its record says.
#[derive(Clone, Debug)]
pub struct RecordedTree {
    /// The ref whose view it is of.
    pub view: String,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The snapshot's root, and those between which its leftovers lie.
    pub roots: Vec<TreeId>,
    /// Whether it was ever live. One that was not may be of a snapshot that was never logged.
    pub was_live: bool,
}

/// A view's state on its mount, read and not yet changed.
struct State {
    mount: Mount,
    dir: Option<Dir>,
    records: Records,
    live: Option<u64>,
    path: RelPath,
}

impl Store {
    /// Returns what is live at a view's path.
    pub fn live(&self, view: &ViewSpec) -> Result<Live> {
        let state = self.view_state(view)?;
        let record = state.live_record();
        Ok(Live {
            snapshot: record.map(|record| record.content.snapshot),
            tree: record.map(|record| record.content.root.tree),
            kept_trees: state.records.trees.iter().filter(|t| Some(t.ino) != state.live).count(),
            unfinished_trees: state.records.trees.iter().filter(|t| t.building).count(),
            leftovers_until: record
                .and_then(|record| record.content.leftovers.iter().map(|left| left.until).min()),
            published: record.and_then(|record| record.published),
            root: record.map(|record| record.content.root),
        })
    }

    /// Returns the tree that is live at a view's path, leftovers included, and where it is;
    /// nothing when nothing is published.
    pub fn live_tree(&self, draft: &Draft<'_>, view: &ViewSpec) -> Result<Option<(Dir, DirEntry)>> {
        let state = self.view_state(view)?;
        let (Some(record), Some(ino)) = (state.live_record(), state.live) else { return Ok(None) };
        let dir = match state.mount.strategy {
            Strategy::Exchange => state.mount.root().dir_at(&view.path)?,
            Strategy::Symlink => {
                let dir = state.dir.as_ref().ok_or_else(|| lost(state.mount.root()))?;
                dir.dir(&tree_dir(dir, ino)?.ok_or_else(|| lost(dir))?)?
            }
        };
        Ok(Some((dir, published(draft, &record.content)?)))
    }

    /// Returns what the trees of every view on a mount hold, live or not, as their records say.
    pub fn recorded_trees(&self, mount: &Mount) -> Result<Vec<RecordedTree>> {
        let views = mount.pool().root().dir(b"views")?;
        let mut trees = Vec::new();
        for name in views.names()? {
            let view = String::from_utf8_lossy(&name).replace('+', "/");
            for record in Records::read(&views.dir(&name)?)?.trees {
                let left = record.content.leftovers.iter();
                let left = left.flat_map(|left| [left.from.tree, left.to.tree]);
                trees.push(RecordedTree {
                    view: view.clone(),
                    snapshot: record.content.snapshot,
                    roots: [record.content.root.tree].into_iter().chain(left).collect(),
                    was_live: record.published.is_some(),
                });
            }
        }
        Ok(trees)
    }

    fn view_state(&self, view: &ViewSpec) -> Result<State> {
        State::read(self.mount(&view.mount)?, view)
    }

    /// Plans one publication; nothing is changed.
    pub fn plan_view(&self, draft: &Draft<'_>, view: &ViewSpec, goal: &Goal) -> Result<ViewPlan> {
        let state = self.view_state(view)?;
        Ok(choose(draft, view, goal, &state)?.plan)
    }

    /// Completes the tree that a view shall have, beside the one that is live.
    ///
    /// # Errors
    /// Anything; the live tree is untouched, and a tree that was begun is known as unfinished.
    pub fn prepare_view(
        &self,
        draft: &Draft<'_>,
        view: &ViewSpec,
        goal: &Goal,
        never_link: &NeverLink<'_>,
        observer: &dyn Observer,
    ) -> Result<Prepared> {
        let home = self.view_state(view)?.mount.spec.home;
        let pool = if home { Objects::Here } else { Objects::Anywhere };
        let result = match self.prepare(draft, view, goal, pool, never_link, observer) {
            // The home pool has everything, or should have: another may help. The tree that was
            // begun is known as unfinished, and a new one is built.
            Err(Error::MissingObject { .. }) if home => {
                self.prepare(draft, view, goal, Objects::Anywhere, never_link, observer)
            }
            // Somebody still reads what goes from the standby. It is left to them, and a later
            // command removes it.
            Err(error) if error.is_not_empty() => {
                self.prepare(draft, view, goal, pool, never_link, observer)
            }
            result => result,
        };
        if result.is_err() {
            // What was begun only takes space, which may be what was missing. If it cannot be
            // removed either, the next command tries again; the first error is what is told.
            let _ = self.tidy_view(view, goal.time);
        }
        result
    }

    fn prepare(
        &self,
        draft: &Draft<'_>,
        view: &ViewSpec,
        goal: &Goal,
        objects: Objects,
        never_link: &NeverLink<'_>,
        observer: &dyn Observer,
    ) -> Result<Prepared> {
        let mut state = self.view_state(view)?;
        state.records.settle(state.live, goal.time);
        let Choice { plan, content, target, base, edited } = choose(draft, view, goal, &state)?;
        let dirty = state.doubt(&edited, plan.source);
        let dir = match state.dir.take() {
            Some(dir) => dir,
            None => begin_view(&state.mount, view)?,
        };
        // Before the first write, so that it hears of every error until the sync below.
        let sync = dir.try_clone_open()?;
        let ready = matches!(base, Base::Ready(_));
        let apply = Apply::new(draft, state.mount.pool(), never_link, observer);
        let build = Build { store: self, mount: &state.mount, dir: &dir, plan: &plan, objects };
        let ino = match base {
            Base::Ready(ino) => ino,
            Base::Standby(ino, holds) => {
                let tree = tree_dir(&dir, ino)?.ok_or_else(|| lost(&dir))?;
                let record = state.records.get_mut(ino).ok_or_else(|| lost(&dir))?;
                record.building = true;
                build.run(&apply, &state.records, (ino, &tree), Some(&holds), &target)?;
                ino
            }
            Base::New => {
                let name = free_name(&dir)?;
                dir.make_dir(&name, 0o700)?;
                let ino = dir.stat(&name)?.ino;
                state.records.trees.retain(|tree| tree.ino != ino);
                state.records.trees.push(TreeRecord {
                    ino,
                    content: content.clone(),
                    building: true,
                    drifted: false,
                    published: None,
                    retired: None,
                });
                build.run(&apply, &state.records, (ino, &name), None, &target)?;
                ino
            }
        };
        if ready && dirty {
            self.held().check()?;
            state.records.write(&dir)?;
            fault::hit(CrashPoint::TreeDoubted);
        }
        let links = apply.links();
        let is_live = state.live == Some(ino);
        if !is_live && state.mount.strategy == Strategy::Symlink {
            let name = tree_dir(&dir, ino)?.ok_or_else(|| lost(&dir))?;
            make_link(&state.mount, view, &dir, &name)?;
        }
        if !is_live && !ready {
            let record = state.records.get_mut(ino).ok_or_else(|| lost(&dir))?;
            record.content = content.clone();
            record.published = None;
            record.retired = None;
            sync.sync_filesystem()?;
            fault::hit(CrashPoint::StandbySynced);
            self.held().check()?;
            let record = state.records.get_mut(ino).ok_or_else(|| lost(&dir))?;
            record.building = false;
            state.records.write(&dir)?;
            fault::hit(CrashPoint::StandbyRecorded);
        }
        Ok(Prepared {
            plan,
            links,
            dir,
            live: state.live,
            next: (!is_live).then_some(ino),
            content: is_live.then_some(content),
            records: state.records,
            mount: state.mount,
            held: self.held().clone(),
        })
    }

    /// Removes trees of a view that nobody needs: unfinished ones and all but one of those whose
    /// time of keeping is over. Returns how many.
    pub fn tidy_view(&self, view: &ViewSpec, now: jiff::Timestamp) -> Result<usize> {
        let mut state = State::read_beside(self.mount(&view.mount)?, view)?;
        let Some(dir) = &state.dir else { return Ok(0) };
        self.held().check()?;
        dir.remove_dead_temps()?;
        state.records.settle(state.live, now);
        let keep = state.mount.spec.keep_trees;
        let (live, mut standby) = (state.live, false);
        let before = state.records.trees.len();
        let begun = state.records.trees.iter().filter(|t| t.building && Some(t.ino) != live);
        let unfinished: Vec<(u64, bool)> = begun.map(|tree| (tree.ino, tree.drifted)).collect();
        // Newest first: the standby that is kept is the one with the least to do.
        state.records.trees.reverse();
        state.records.trees.retain(|tree| {
            let free = Some(tree.ino) != live && (tree.building || tree.is_free(now, keep));
            if free && !tree.building && !standby {
                standby = true;
                return true;
            }
            !free
        });
        state.records.trees.reverse();
        // An unfinished tree is known as such, so it goes before its record does: on a full disk
        // that makes the room for the record.
        for (ino, drifted) in unfinished {
            match tree_dir(dir, ino)? {
                Some(name) if drifted => {
                    inspect::set_aside(state.mount.pool(), view, dir, &name)?;
                }
                Some(name) => drop(place::remove_tree(dir, &name)?),
                None => {}
            }
        }
        // Of the others the record goes first: a tree without one is known to be nobody's.
        if state.records.trees.len() != before {
            state.records.write(dir)?;
        }
        let mut removed = 0;
        for name in dir.names()? {
            let Some(number) = name.strip_prefix(b"t") else { continue };
            let is_tree = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
            if is_tree && state.records.get(dir.stat(&name)?.ino).is_none() {
                removed += usize::from(place::remove_tree(dir, &name)?);
            }
        }
        Ok(removed)
    }
}

impl Prepared {
    /// Makes the prepared tree the live one. When this returns, it is on disk.
    ///
    /// Returns whether the path shows something else than before.
    ///
    /// # Errors
    /// [`Error::LockLost`] when somebody else may publish the view by now: it is left to them.
    /// [`Error::Mount`] when the mount does not answer; others need not wait for it.
    pub fn swap(self, snapshot: SnapshotId, now: jiff::Timestamp) -> Result<bool> {
        hang::apart(&self.mount.spec.place(), move || self.swap_now(snapshot, now))
    }

    fn swap_now(mut self, snapshot: SnapshotId, now: jiff::Timestamp) -> Result<bool> {
        let Some(next) = self.next else { return self.stay(snapshot) };
        let name = tree_dir(&self.dir, next)?.ok_or_else(|| lost(&self.dir))?;
        let (parent, last) = self.mount.make_parent(&self.plan.view.path)?;
        self.held.check()?;
        match self.mount.strategy {
            Strategy::Exchange => match parent.try_stat(&last)? {
                Some(_) => self.dir.exchange(&name, &parent, &last)?,
                None => self.dir.rename(&name, &parent, &last, Replace::No)?,
            },
            Strategy::Symlink => {
                self.dir.rename(&link_name(&name), &parent, &last, Replace::Yes)?;
            }
        }
        fault::hit(CrashPoint::ViewSwapped);
        match self.mount.strategy {
            // XFS dates a directory that an exchange moves. It is swapped by now, whatever comes.
            Strategy::Exchange => {
                if let Some(record) = self.records.get(next) {
                    let root = DirEntry::from(record.content.root);
                    let _ = parent.dir(&last).and_then(|dir| dir.set_mtime(root.mtime));
                }
            }
            // The rename took the link to this tree and freed the one that it replaced: so the
            // way back needs no inode more, even on a full disk. What fails is made up for by
            // whoever needs the link.
            Strategy::Symlink => {
                let _ = make_links(&self.mount, &self.plan.view, &self.dir);
            }
        }
        parent.sync()?;
        self.dir.sync()?;
        fault::hit(CrashPoint::ViewSwapSynced);
        if let Some(record) = self.records.get_mut(next) {
            record.content.snapshot = snapshot;
            record.published = Some(now);
            record.retired = None;
        }
        self.records.settle(Some(next), now);
        // A full disk must not undo what has happened: the record can be made again from the
        // inodes, and is, by the next publication.
        let written = self.records.write(&self.dir);
        fault::hit(CrashPoint::ViewRecorded);
        match written {
            Err(error) if error.is(rustix::io::Errno::NOSPC) => Ok(true),
            written => written.map(|()| true),
        }
    }

    /// Leaves the live tree where it is; what it stands for may have changed, and with it the mode
    /// and the time of its root directory.
    fn stay(mut self, snapshot: SnapshotId) -> Result<bool> {
        let live = self.live.and_then(|ino| Some((ino, self.records.get(ino)?)));
        let (Some((ino, record)), Some(content)) = (live, self.content.take()) else {
            return Ok(false);
        };
        let other_root = record.content.root != content.root;
        let same = record.content.snapshot == snapshot
            && record.content.leftovers == content.leftovers
            && !other_root;
        if same {
            return Ok(false);
        }
        self.held.check()?;
        if other_root {
            // The mode first and the record after it: a record that is from before says that
            // there is something to finish.
            let dir = self.live_dir(ino)?;
            dir.set_mode(content.root.mode)?;
            dir.set_mtime(DirEntry::from(content.root).mtime)?;
            dir.sync()?;
            fault::hit(CrashPoint::ViewRootSet);
        }
        if let Some(record) = self.records.get_mut(ino) {
            record.content = Content { snapshot, ..content };
        }
        self.records.write(&self.dir)?;
        Ok(other_root)
    }

    /// Opens the root directory of the tree that is live.
    fn live_dir(&self, ino: u64) -> Result<Dir> {
        match self.mount.strategy {
            Strategy::Exchange => self.mount.root().dir_at(&self.plan.view.path),
            Strategy::Symlink => {
                self.dir.dir(&tree_dir(&self.dir, ino)?.ok_or_else(|| lost(&self.dir))?)
            }
        }
    }
}

impl State {
    fn read(mount: Mount, view: &ViewSpec) -> Result<State> {
        let (dir, records) = Self::recorded(&mount, view)?;
        let live = live_inode(&mount, view, dir.as_ref(), &records)?;
        Ok(State { mount, dir, records, live, path: view.path.clone() })
    }

    /// Reads the state of a view that may never have come to its path. What stands there then is
    /// somebody else's, such as a directory whose adoption was killed, and no reason to stop.
    fn read_beside(mount: Mount, view: &ViewSpec) -> Result<State> {
        let (dir, records) = Self::recorded(&mount, view)?;
        let live = match live_inode(&mount, view, dir.as_ref(), &records) {
            Err(Error::ViewOccupied { .. })
                if records.trees.iter().all(|tree| tree.published.is_none()) =>
            {
                None
            }
            live => live?,
        };
        Ok(State { mount, dir, records, live, path: view.path.clone() })
    }

    fn recorded(mount: &Mount, view: &ViewSpec) -> Result<(Option<Dir>, Records)> {
        let views = mount.pool().root().dir(b"views")?;
        let dir = match views.try_stat(&view_dir(view))? {
            Some(_) => Some(views.dir(&view_dir(view))?),
            None => None,
        };
        let records = dir.as_ref().map_or(Ok(Records::default()), Records::read)?;
        Ok((dir, records))
    }

    /// Opens the tree with this inode, live or not; nothing when it is gone.
    fn tree(&self, ino: u64) -> Result<Option<Dir>> {
        if self.mount.strategy == Strategy::Exchange && self.live == Some(ino) {
            return self.mount.root().dir_at(&self.path).map(Some);
        }
        let Some(dir) = &self.dir else { return Ok(None) };
        match tree_dir(dir, ino)? {
            Some(name) => dir.dir(&name).map(Some),
            None => Ok(None),
        }
    }

    /// Marks trees that were edited, so that nobody takes them; the live one once it is not live
    /// any more. Returns whether there is something to write.
    fn doubt(&mut self, edited: &[u64], source: Source) -> bool {
        let mut dirty = false;
        for ino in edited {
            let live = self.live == Some(*ino);
            if let Some(record) = self.records.get_mut(*ino)
                && !(live && source == Source::Live)
            {
                record.drifted = true;
                record.building |= !live;
                dirty = true;
            }
        }
        dirty
    }

    fn live_record(&self) -> Option<&TreeRecord> {
        self.records.get(self.live?)
    }
}
