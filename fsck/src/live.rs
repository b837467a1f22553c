//! The trees of a view, live and kept, against what they should hold.

use std::sync::atomic::{AtomicU64, Ordering};

use cairn_store::fs::{Dir, Kind, Stat, is_silly_rename};
use cairn_store::id::SnapshotId;
use cairn_store::lock;
use cairn_store::log::Log;
use cairn_store::mount::Mount;
use cairn_store::path::RelPath;
use cairn_store::publish::{FoundTree, ViewSpec, live_tree_inode, trees};
use cairn_store::snapshot::Root;
use cairn_store::tree::{DirEntry, Draft, Entry, FileEntry};
use cairn_store::{Error, Result};
use rayon::prelude::*;

use crate::check::Check;
use crate::finding::MAX_AFFECTED;
use crate::log::Truth;
use crate::objects::PoolState;
use crate::packs::Shelf;
use crate::{Code, Level};

/// A tree that is not what its record says.
pub(crate) struct Drifted {
    pub view: ViewSpec,
    pub ino: u64,
    pub live: bool,
}

/// A view and what it should show.
pub(crate) struct Shown<'a> {
    pub mount: &'a Mount,
    pub pool: &'a PoolState,
    pub view: ViewSpec,
    /// What its ref names; nothing when there is no such ref.
    pub snapshot: Option<SnapshotId>,
}

/// What a view's trees are like.
#[derive(Default)]
pub(crate) struct Views {
    pub drifted: Vec<Drifted>,
    pub pending: Vec<ViewSpec>,
}

/// Compares a view's trees with what they should hold, path by path.
pub(crate) fn check(
    check: &mut Check<'_>,
    shown: &Shown<'_>,
    shelf: &Shelf,
    truth: &Truth,
    log: &Log,
    views: &mut Views,
) -> Result<()> {
    let (view, draft) = (&shown.view, Draft::new(shelf));
    let found = match trees(shown.mount.reopen()?, &draft, view) {
        Ok(found) => found,
        Err(Error::Interrupted) => return Err(Error::Interrupted),
        // Where no ref says what is to be there, anybody's directory may stand: one whose adoption
        // was begun and killed, say.
        Err(Error::ViewOccupied { .. }) if shown.snapshot.is_none() => return Ok(()),
        Err(error) => {
            if !truth.has_moved(log, &view.name) {
                check.report.add(Code::ViewDrift, &view.name, error, vec![]);
            }
            return Ok(());
        }
    };
    // A snapshot that cannot be read has been found already; there is nothing to compare with.
    let root = match shown.snapshot.map(|id| shelf.snapshot(&id)) {
        Some(Ok(snapshot)) => Some(snapshot.root),
        Some(Err(_)) => return Ok(()),
        None => None,
    };
    if root.is_some()
        && live_root(&found) != root
        && is_left(check, shown, &draft, root, truth, log)?
    {
        let message = "its path does not show what the ref names; run cairn publish";
        check.report.add(Code::ViewPending, &view.name, message, vec![]);
        views.pending.push(view.clone());
    }
    for tree in &found {
        let Some(mut holds) = tree.holds else { continue };
        // A kill may come between the mode of a live root directory and its record. That is found
        // above, and no drift.
        if let Some(root) = root.filter(|root| tree.live && root.tree == tree.root.tree)
            && tree.dir.stat_self()?.mode == root.mode
        {
            holds.mode = root.mode;
        }
        let mut drift = compare(check, shown, tree, &holds)?;
        if drift.is_empty() || !is_still(shown, &draft, tree)? {
            continue;
        }
        let count = drift.len();
        drift.truncate(MAX_AFFECTED);
        let (code, message) = match tree.live {
            true => (Code::ViewDrift, format!("{count} live paths differ from the snapshot")),
            false => {
                let snapshot = tree.snapshot;
                (
                    Code::KeptTreeDrift,
                    format!("{count} paths of the tree that is kept of {snapshot} differ"),
                )
            }
        };
        check.report.add(code, &view.name, message, drift);
        let (view, ino, live) = (view.clone(), tree.ino, tree.live);
        views.drifted.push(Drifted { view, ino, live });
    }
    Ok(())
}

fn live_root(found: &[FoundTree]) -> Option<Root> {
    found.iter().find(|tree| tree.live).map(|tree| tree.root)
}

/// Returns whether a view that does not show what its ref names is left so, and nobody is at it.
///
/// A command logs what it will swap and then swaps it, and holds the lock of the ref all the while.
/// So who holds it is asked first, and then everything again: they may have finished, or the next
/// have begun.
fn is_left(
    check: &Check<'_>,
    shown: &Shown<'_>,
    draft: &Draft<'_>,
    root: Option<Root>,
    truth: &Truth,
    log: &Log,
) -> Result<bool> {
    let name = &shown.view.name;
    let locks = Dir::open(check.subject.store).and_then(|store| store.dir(b"locks"));
    // Where the locks cannot be asked, nobody can take one either.
    if locks.and_then(|locks| lock::is_held(&locks, &lock::of_ref(name))).unwrap_or(false) {
        return Ok(false);
    }
    let now = trees(shown.mount.reopen()?, draft, &shown.view)?;
    Ok(live_root(&now) != root && !truth.has_moved(log, name))
}

/// Returns whether a tree is in the same place and for the same content as before: a command that
/// ran meanwhile may have brought it forward, and that is no drift.
fn is_still(shown: &Shown<'_>, draft: &Draft<'_>, tree: &FoundTree) -> Result<bool> {
    let live = live_tree_inode(shown.mount, &shown.view)?;
    let now = trees(shown.mount.reopen()?, draft, &shown.view)?;
    let same = |now: &FoundTree| now.ino == tree.ino && now.snapshot == tree.snapshot;
    Ok(now.iter().any(same) && (live == Some(tree.ino)) == tree.live)
}

fn compare(
    check: &mut Check<'_>,
    shown: &Shown<'_>,
    tree: &FoundTree,
    holds: &DirEntry,
) -> Result<Vec<String>> {
    let stage = if tree.live { "Comparing what is live" } else { "Comparing what is kept" };
    check.observer.begin(stage, holds.files, holds.bytes);
    let (paths, hashed) = (AtomicU64::new(0), AtomicU64::new(0));
    let walk = Walk { check, shown, ino: tree.ino, paths: &paths, hashed: &hashed };
    let drift = walk.dir(&tree.dir, &RelPath::ROOT, holds)?;
    check.report.live_paths += paths.load(Ordering::Relaxed);
    check.report.bytes_hashed += hashed.load(Ordering::Relaxed);
    Ok(drift)
}

struct Walk<'a, 'c> {
    check: &'a Check<'c>,
    shown: &'a Shown<'a>,
    ino: u64,
    paths: &'a AtomicU64,
    hashed: &'a AtomicU64,
}

impl Walk<'_, '_> {
    /// Compares a directory; returns a sentence for each path that differs, in order.
    fn dir(&self, dir: &Dir, path: &RelPath, want: &DirEntry) -> Result<Vec<String>> {
        if self.check.observer.interrupted() {
            return Err(Error::Interrupted);
        }
        let mut drift = Vec::new();
        let stat = dir.stat_self()?;
        if stat.mode != want.mode {
            drift.push(format!("{path}: mode {:04o}, not {:04o}", stat.mode, want.mode));
        }
        // What no pack has was found already, with its path.
        let Ok(tree) = self.check.nodes(&want.tree) else { return Ok(drift) };
        let mut names = dir.names()?;
        names.sort_unstable();
        let unknown = |name: &[u8]| tree.get(name).is_none() && !is_silly_rename(name);
        for name in names.iter().filter(|name| unknown(name)) {
            drift.push(format!("{}: it is not in the snapshot", path.join(name)));
        }
        let unit = format!("tree {} {} {} {path}", self.shown.view.name, self.ino, want.tree);
        let known = self.check.resume.is_done(&unit);
        let entries = tree.entries();
        let each = || (0..entries.len()).into_par_iter().map(|index| entries.at(index));
        let here = each().filter(|(_, entry)| entry.as_dir().is_none());
        let here = here.map(|(name, entry)| self.entry(dir, name, &path.join(name), entry, known));
        drift.extend(here.collect::<Result<Vec<_>>>()?.into_iter().flatten());
        if self.check.level == Level::Full && drift.is_empty() && !known {
            self.check.resume.finish(&unit);
        }
        let below = each().filter_map(|(name, entry)| Some((name, entry.as_dir()?)));
        let below = below.map(|(name, want)| self.below(dir, name, &path.join(name), want));
        drift.extend(below.collect::<Result<Vec<_>>>()?.into_iter().flatten());
        Ok(drift)
    }

    fn below(
        &self,
        dir: &Dir,
        name: &[u8],
        path: &RelPath,
        want: &DirEntry,
    ) -> Result<Vec<String>> {
        self.paths.fetch_add(1, Ordering::Relaxed);
        let result = match dir.try_stat(name) {
            Ok(None) => Ok(vec![format!("{path}: it is missing")]),
            Ok(Some(stat)) if stat.kind != Kind::Dir => {
                Ok(vec![format!("{path}: it is of another kind")])
            }
            Ok(Some(_)) => dir.dir(name).and_then(|dir| self.dir(&dir, path, want)),
            Err(error) => Err(error),
        };
        match result {
            // What cannot be read cannot be served either.
            Err(error) if !matches!(error, Error::Interrupted) => {
                Ok(vec![format!("{path}: {}", crate::index::reason(&error))])
            }
            result => result,
        }
    }

    fn entry(
        &self,
        dir: &Dir,
        name: &[u8],
        path: &RelPath,
        want: &Entry,
        known: bool,
    ) -> Result<Option<String>> {
        self.paths.fetch_add(1, Ordering::Relaxed);
        let differs = match self.differs(dir, name, path, want, known) {
            Ok(differs) => differs,
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => Some(crate::index::reason(&error)),
        };
        Ok(differs.map(|how| format!("{path}: {how}")))
    }

    fn differs(
        &self,
        dir: &Dir,
        name: &[u8],
        path: &RelPath,
        want: &Entry,
        known: bool,
    ) -> Result<Option<String>> {
        let Some(stat) = dir.try_stat(name)? else { return Ok(Some("it is missing".into())) };
        let how = match (want, stat.kind) {
            (Entry::Symlink(want), Kind::Symlink) => {
                (dir.read_link(name)? != *want.target).then(|| "it points elsewhere".to_owned())
            }
            (Entry::File(want), Kind::File) => {
                self.check.observer.advance(1, want.size);
                if stat.size != want.size {
                    Some(format!("{} bytes, not {}", stat.size, want.size))
                } else if stat.mtime != want.mtime {
                    Some("its time was changed".to_owned())
                } else if stat.mode != want.mode {
                    Some(format!("mode {:04o}, not {:04o}", stat.mode, want.mode))
                } else {
                    self.content(dir, name, path, want, &stat, known)?
                }
            }
            _ => Some("it is of another kind".to_owned()),
        };
        Ok(how)
    }

    /// Judges content by the inode, and by reading what shares none with the pool.
    fn content(
        &self,
        dir: &Dir,
        name: &[u8],
        path: &RelPath,
        want: &FileEntry,
        stat: &Stat,
        known: bool,
    ) -> Result<Option<String>> {
        let pool = self.shown.pool;
        match pool.inodes.get(&stat.ino) {
            Some(object) if *object != want.object => {
                return Ok(Some(format!("it is a link to another object, {object}")));
            }
            Some(_) if pool.damaged.contains(&stat.ino) => {
                return Ok(Some("it shares the inode of the damaged object".into()));
            }
            // It was looked at with the pool.
            Some(_) => return Ok(None),
            None if want.size == 0 => return Ok(None),
            None => {}
        }
        let read = match self.check.level {
            Level::Full => !known,
            Level::Quick => self.should_share(path, want)? && !self.check.is_known(stat, want),
        };
        if !read {
            return Ok(None);
        }
        self.hashed.fetch_add(stat.size, Ordering::Relaxed);
        let mut file = dir.open_file(name)?;
        let found = self.check.limit.hash(&mut file, stat, self.check.observer)?;
        Ok((found != want.object).then(|| "its content was changed".to_owned()))
    }

    /// Returns whether this path would have been given the pool's inode; that it has another one
    /// says that somebody has replaced it.
    fn should_share(&self, path: &RelPath, want: &FileEntry) -> Result<bool> {
        let mount = self.shown.mount;
        if mount.link_method() != "hardlink" || (self.check.subject.never_link)(path) {
            return Ok(false);
        }
        let stat = mount.pool().stat(&want.object)?;
        Ok(stat.is_some_and(|stat| {
            stat.mode == want.mode
                && stat.mtime == want.mtime
                && mount.spec.owner.is_none_or(|owner| owner == (stat.uid, stat.gid))
        }))
    }
}
