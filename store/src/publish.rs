//! Publishing: a view on a mount becomes equal to its ref, by one atomic exchange.
//!
//! Per view the mount keeps `<pool>/views/<ref>/`: the trees `t1`, `t2`, … that are not live and
//! `trees.json`, which says what each tree holds. A tree is known by the inode of its directory,
//! so the record stays true through a swap and a crash beside it. To publish, a tree whose time
//! of keeping is over is brought forward by applying the difference, synced, recorded, and, after
//! the operation is logged, swapped in. Everything that can fail comes before the log; a crash
//! between log and swap is finished by the next command. One flock per ref guards it all.

mod apply;
mod record;

use std::collections::BTreeSet;

use rayon::prelude::*;
use serde::Serialize;

use crate::diff::{Change, Changed, diff};
use crate::error::{Error, Result};
use crate::fault::{self, CrashPoint};
use crate::fs::{Dir, Kind, Replace};
use crate::id::{SnapshotId, TreeId};
use crate::mount::{Mount, Strategy};
use crate::path::RelPath;
use crate::pool::{Batch, Sync};
use crate::progress::Observer;
use crate::refs::RefName;
use crate::store::Store;
use crate::transform::{overlay, subtract};
use crate::tree::{DirEntry, Draft, Entry, FileEntry};

use apply::Apply;
pub use apply::Links;
use record::{Content, Leftover, Records, TreeRecord};

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
}

/// A view's state on its mount, read and not yet changed.
struct State {
    mount: Mount,
    dir: Option<Dir>,
    records: Records,
    live: Option<u64>,
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

    fn view_state(&self, view: &ViewSpec) -> Result<State> {
        let mount = self.mount(&view.mount)?;
        let views = mount.pool().root().dir(b"views")?;
        let name = view.name.file_name().into_bytes();
        let dir = match views.try_stat(&name)? {
            Some(_) => Some(views.dir(&name)?),
            None => None,
        };
        let records = dir.as_ref().map_or(Ok(Records::default()), Records::read)?;
        let live = live_inode(&mount, view, dir.as_ref(), &records)?;
        Ok(State { mount, dir, records, live })
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
        match self.prepare(draft, view, goal, pool, never_link, observer) {
            // The home pool has everything, or should have: another may help. The tree that was
            // begun is known as unfinished, and a new one is built.
            Err(Error::MissingObject { .. }) if home => {
                self.prepare(draft, view, goal, Objects::Anywhere, never_link, observer)
            }
            result => result,
        }
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
        let Choice { plan, content, target, base } = choose(draft, view, goal, &state)?;
        let dir = match state.dir.take() {
            Some(dir) => dir,
            None => {
                let views = state.mount.pool().root().dir(b"views")?;
                views.make_dir(&view_dir(view), 0o711)?;
                views.dir(&view_dir(view))?
            }
        };
        // Before the first write, so that it hears of every error until the sync below.
        let sync = dir.try_clone_open()?;
        let apply = Apply::new(draft, state.mount.pool(), never_link, observer);
        let build = Build { store: self, mount: &state.mount, dir: &dir, plan: &plan, objects };
        let ino = match base {
            Base::Ready(ino) => ino,
            Base::Standby(ino, holds) => {
                let tree = tree_dir(&dir, ino)?.ok_or_else(|| lost(&dir))?;
                let record = state.records.get_mut(ino).ok_or_else(|| lost(&dir))?;
                record.building = true;
                build.run(&apply, &state.records, &tree, Some(&holds), &target)?;
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
                    published: None,
                    retired: None,
                });
                build.run(&apply, &state.records, &name, None, &target)?;
                ino
            }
        };
        let links = apply.links();
        let is_live = state.live == Some(ino);
        if !is_live && state.mount.strategy == Strategy::Symlink {
            let name = tree_dir(&dir, ino)?.ok_or_else(|| lost(&dir))?;
            make_link(&state.mount, view, &dir, &name)?;
        }
        if !is_live && plan.source != Source::Kept {
            let record = state.records.get_mut(ino).ok_or_else(|| lost(&dir))?;
            record.content = content.clone();
            record.published = None;
            record.retired = None;
            sync.sync_filesystem()?;
            fault::hit(CrashPoint::StandbySynced);
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
        })
    }

    /// Removes trees of a view that nobody needs: unfinished ones and all but one of those whose
    /// time of keeping is over. Returns how many.
    pub fn tidy_view(&self, view: &ViewSpec, now: jiff::Timestamp) -> Result<usize> {
        let mut state = self.view_state(view)?;
        let Some(dir) = &state.dir else { return Ok(0) };
        dir.remove_dead_temps()?;
        state.records.settle(state.live, now);
        let keep = state.mount.spec.keep_trees;
        let (live, mut standby) = (state.live, false);
        let before = state.records.trees.len();
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
        // The record first: a tree without one is known to be nobody's.
        if state.records.trees.len() != before {
            state.records.write(dir)?;
        }
        let mut removed = 0;
        for name in dir.names()? {
            let Some(number) = name.strip_prefix(b"t") else { continue };
            let is_tree = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
            if is_tree && state.records.get(dir.stat(&name)?.ino).is_none() {
                dir.remove_if_there(&link_name(&name))?;
                dir.remove_all(&name)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// Where the objects of a tree are before it is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Objects {
    /// In the mount's own pool, all of them.
    Here,
    /// In some mount's pool.
    Anywhere,
}

/// What building a tree needs to know beside the tree.
struct Build<'a> {
    store: &'a Store,
    mount: &'a Mount,
    dir: &'a Dir,
    plan: &'a ViewPlan,
    objects: Objects,
}

impl Build<'_> {
    /// Brings objects in and the tree `name` from what it holds to the target.
    fn run(
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
    fn import(
        &self,
        apply: &Apply<'_>,
        holds: Option<&DirEntry>,
        target: &DirEntry,
    ) -> Result<()> {
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
                let mut from = pool;
                for other in &others {
                    if other.pool().stat(&file.object)?.is_some() {
                        from = other.pool();
                        break;
                    }
                }
                batch.import(from, file, &|| path.clone())?;
                apply.observer.advance(1, file.size);
                Ok(())
            })
        })?;
        batch.commit(Sync::Later)
    }
}

impl Prepared {
    /// Makes the prepared tree the live one. When this returns, it is on disk.
    ///
    /// Returns whether there was anything to swap.
    pub fn swap(mut self, snapshot: SnapshotId, now: jiff::Timestamp) -> Result<bool> {
        let Some(next) = self.next else {
            // The tree stays; what it stands for may have changed.
            let live = self.live.and_then(|ino| self.records.get_mut(ino));
            if let (Some(record), Some(content)) = (live, self.content.take())
                && (record.content.snapshot != snapshot || record.content.leftovers != content.leftovers)
            {
                record.content = Content { snapshot, ..content };
                self.records.write(&self.dir)?;
            }
            return Ok(false);
        };
        let name = tree_dir(&self.dir, next)?.ok_or_else(|| lost(&self.dir))?;
        let (parent, last) = self.parent()?;
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

    /// Opens the directory that holds the view's path, creating it with the mount's owner.
    fn parent(&self) -> Result<(Dir, Vec<u8>)> {
        let path = &self.plan.view.path;
        let (parent, last) = path.split_last().ok_or_else(|| Error::ViewOccupied {
            path: self.mount.spec.path.clone(),
            reason: "a view cannot take the whole mount".into(),
        })?;
        let mut dir = self.mount.root().try_clone()?;
        for name in parent.names() {
            if dir.make_dir(name, 0o755)?
                && let Some(owner) = self.mount.spec.owner
            {
                dir.set_owner_of(name, owner)?;
            }
            dir = dir.dir(name)?;
        }
        Ok((dir, last.to_vec()))
    }
}

impl State {
    fn live_record(&self) -> Option<&TreeRecord> {
        self.records.get(self.live?)
    }
}

/// What a plan decided, with what applying it needs.
struct Choice {
    plan: ViewPlan,
    content: Content,
    target: DirEntry,
    base: Base,
}

enum Base {
    /// The tree with this inode holds the target already.
    Ready(u64),
    /// The tree with this inode holds that, and may be changed.
    Standby(u64, DirEntry),
    /// A new tree.
    New,
}

fn choose(draft: &Draft<'_>, view: &ViewSpec, goal: &Goal, state: &State) -> Result<Choice> {
    let (content, target) = goal_content(draft, goal, state)?;
    let choice = |source, work, base| Choice {
        plan: ViewPlan {
            view: view.clone(),
            strategy: state.mount.strategy,
            source,
            link: state.mount.link_method(),
            work,
        },
        content: content.clone(),
        target,
        base,
    };
    let nothing = Changed::default();
    if let Some(live) = state.live_record()
        && live.content.tree == target.tree
    {
        return Ok(choice(Source::Live, nothing, Base::Ready(live.ino)));
    }
    let others = || state.records.trees.iter().rev().filter(|t| Some(t.ino) != state.live);
    let ready = others().find(|tree| {
        !tree.building
            && (tree.content.tree == target.tree
                || goal.intent == Intent::Back && tree.content.root.tree == goal.root.tree)
    });
    if let Some(tree) = ready {
        return Ok(choice(Source::Kept, nothing, Base::Ready(tree.ino)));
    }
    // A tree whose content cannot be computed any more is built anew, not guessed at.
    let free = others().filter(|tree| tree.is_free(goal.time, state.mount.spec.keep_trees));
    let base = free.filter_map(|tree| Some((tree.ino, published(draft, &tree.content).ok()?)));
    match base.into_iter().next() {
        Some((ino, holds)) => {
            let work = Changed::between(draft, Some(&holds), Some(&target))?;
            Ok(choice(Source::Standby, work, Base::Standby(ino, holds)))
        }
        None => {
            let work = Changed::between(draft, None, Some(&target))?;
            Ok(choice(Source::New, work, Base::New))
        }
    }
}

/// Returns what the view's next tree shall hold: the goal and the leftovers of now.
fn goal_content(draft: &Draft<'_>, goal: &Goal, state: &State) -> Result<(Content, DirEntry)> {
    let mut leftovers = Vec::new();
    let grace = state.mount.spec.grace;
    if let Some(live) = state.live_record() {
        let unexpired = live.content.leftovers.iter().filter(|left| left.until > goal.time);
        leftovers.extend(unexpired.cloned());
        if !grace.is_zero() && live.content.root.tree != goal.root.tree {
            let until = goal.time.saturating_add(grace).unwrap_or(jiff::Timestamp::MAX);
            leftovers.push(Leftover { from: live.content.root, to: goal.root.into(), until });
        }
    }
    let (snapshot, root) = (goal.snapshot, goal.root.into());
    let mut content = Content { snapshot, root, leftovers, tree: goal.root.tree };
    let target = published(draft, &content)?;
    content.tree = target.tree;
    Ok((content, target))
}

/// Computes what a tree with this content holds: the snapshot laid over its leftovers.
fn published(draft: &Draft<'_>, content: &Content) -> Result<DirEntry> {
    let mut below: Option<DirEntry> = None;
    for left in &content.leftovers {
        if let Some(removed) = subtract(draft, &left.from.into(), &left.to.into())? {
            below = Some(match below {
                Some(below) => overlay(draft, &below, &removed, &|_| false)?,
                None => removed,
            });
        }
    }
    match below {
        Some(below) => overlay(draft, &below, &content.root.into(), &|_| false),
        None => Ok(content.root.into()),
    }
}

fn view_dir(view: &ViewSpec) -> Vec<u8> {
    view.name.file_name().into_bytes()
}

/// Returns the name of the tree with this inode among those that are not live.
fn tree_dir(dir: &Dir, ino: u64) -> Result<Option<Vec<u8>>> {
    for name in dir.names()? {
        let stat = dir.stat(&name)?;
        if stat.kind == Kind::Dir && stat.ino == ino {
            return Ok(Some(name.into()));
        }
    }
    Ok(None)
}

fn lost(dir: &Dir) -> Error {
    Error::corrupt(
        crate::path::display(dir.path()).to_string(),
        "a tree that trees.json lists is not there",
    )
}

fn free_name(dir: &Dir) -> Result<Vec<u8>> {
    let taken: BTreeSet<_> = dir.names()?.into_iter().collect();
    let mut number = 1;
    loop {
        let name = format!("t{number}").into_bytes();
        if !taken.contains(&*name) {
            return Ok(name);
        }
        number += 1;
    }
}

fn link_name(tree: &[u8]) -> Vec<u8> {
    [tree, b".link"].concat()
}

/// Makes a symbolic link to every tree of the view, ready to be renamed over the live one, so
/// that a swap creates nothing and works on a full disk.
fn make_links(mount: &Mount, view: &ViewSpec, dir: &Dir) -> Result<()> {
    for name in dir.names()? {
        if name.first() == Some(&b't') && dir.stat(&name)?.kind == Kind::Dir {
            make_link(mount, view, dir, &name)?;
        }
    }
    Ok(())
}

/// Makes the symbolic link to one tree, unless it is there.
fn make_link(mount: &Mount, view: &ViewSpec, dir: &Dir, name: &[u8]) -> Result<()> {
    let link = link_name(name);
    if dir.try_stat(&link)?.is_some() {
        return Ok(());
    }
    let target = match dir.path().strip_prefix(&mount.spec.path) {
        Ok(inside) => {
            let up = "../".repeat(view.path.names().count().saturating_sub(1)).into_bytes();
            [&up, inside.as_os_str().as_encoded_bytes(), b"/", name].concat()
        }
        Err(_) => [dir.path().as_os_str().as_encoded_bytes(), b"/", name].concat(),
    };
    dir.symlink(&target, &link)?;
    match mount.spec.owner {
        Some(owner) => dir.set_owner_of(&link, owner),
        None => Ok(()),
    }
}

/// Returns the inode of the tree that is live at a view's path.
///
/// # Errors
/// [`Error::ViewOccupied`] when something that cairn did not publish is there.
fn live_inode(
    mount: &Mount,
    view: &ViewSpec,
    dir: Option<&Dir>,
    records: &Records,
) -> Result<Option<u64>> {
    let Some((parent, last)) = view.path.split_last() else { return Ok(None) };
    let parent = match mount.root().dir_at(&parent) {
        Ok(parent) => parent,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(stat) = parent.try_stat(last)? else { return Ok(None) };
    let occupied = |reason: &str| Error::ViewOccupied {
        path: parent.path_of(last),
        reason: reason.to_owned(),
    };
    match (mount.strategy, stat.kind) {
        (Strategy::Exchange, Kind::Dir) => {
            if records.get(stat.ino).is_some() {
                return Ok(Some(stat.ino));
            }
            // An empty directory holds nothing that a swap could lose.
            match parent.dir(last)?.names()?.is_empty() {
                true => Ok(None),
                false => Err(occupied("it exists and was not published by cairn")),
            }
        }
        (Strategy::Symlink, Kind::Symlink) => {
            let target = parent.read_link(last)?;
            let tree = target.rsplit(|b| *b == b'/').next().unwrap_or_default();
            let inode = dir.map(|dir| dir.try_stat(tree)).transpose()?.flatten();
            match inode.filter(|stat| records.get(stat.ino).is_some()) {
                Some(stat) => Ok(Some(stat.ino)),
                None => Err(occupied("it is a link that was not published by cairn")),
            }
        }
        (Strategy::Exchange, Kind::Symlink) => {
            Err(occupied("it is a symbolic link, and this mount swaps directories"))
        }
        (Strategy::Symlink, Kind::Dir) => {
            Err(occupied("it is a directory, and this mount swaps symbolic links"))
        }
        (_, Kind::File | Kind::Other(_)) => Err(occupied("it is not a directory")),
    }
}
