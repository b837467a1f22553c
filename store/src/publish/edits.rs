//! Edits by hand, where a publication passes anyway.
//!
//! A directory that cairn has made has the time of its record, and every name that comes or goes
//! changes it. So what a publication is about to replace, retire or show again is asked for the
//! times of the directories in which it differs from what comes next, and of its root: the cost is
//! that of the change. Where a time is another, the names of that one directory are compared with
//! the tree's: only what differs there is an edit. A file that NFS keeps for a reader changes the time
//! too, and so does XFS when it exchanges directories.
//!
//! What is edited elsewhere, or in place without a new name, is for `fsck` to find.

use std::sync::Arc;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::fs::{Dir, Kind, Stat, is_silly_rename};
use crate::path::RelPath;
use crate::tree::{Differences, DirEntry, Entry, Nodes, Pair, Tree};

/// How many edits are told; whoever made more has made them for a reason that a hundred show.
const TOLD: usize = 100;

/// Which files are looked at beside directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Files {
    /// None: those that differ are replaced whatever they are.
    Pass,
    /// Those that differ from what comes next.
    Look,
}

/// Returns a sentence for each edit of a tree that should hold `holds`, where it differs from
/// `other`, at most a hundred, in the order of the paths.
pub(super) fn edits(
    nodes: &dyn Nodes,
    dir: &Dir,
    holds: &DirEntry,
    other: &DirEntry,
    files: Files,
) -> Result<Vec<String>> {
    let mut found = Look { nodes, files }.dir(dir, &RelPath::ROOT, holds, Some(other))?;
    found.sort_unstable();
    found.dedup();
    found.truncate(TOLD);
    Ok(found)
}

struct Look<'a> {
    nodes: &'a dyn Nodes,
    files: Files,
}

impl Look<'_> {
    fn dir(
        &self,
        dir: &Dir,
        path: &RelPath,
        holds: &DirEntry,
        other: Option<&DirEntry>,
    ) -> Result<Vec<String>> {
        let stat = dir.stat_self()?;
        let mut found = Vec::new();
        // The mode of a root may be that of the record before or after a crash.
        if stat.mode != holds.mode && *path != RelPath::ROOT {
            found.push(format!("{path}: mode {:04o}, not {:04o}", stat.mode, holds.mode));
        }
        let same = other.is_some_and(|other| other.tree == holds.tree);
        if same && stat.mtime == holds.mtime {
            return Ok(found);
        }
        if stat.mtime != holds.mtime {
            found.extend(self.names(dir, path, &*self.nodes.tree(&holds.tree)?)?);
        }
        if same {
            return Ok(found);
        }
        let differences = match other {
            Some(other) => self.nodes.differences(&holds.tree, &other.tree)?,
            None => {
                let tree = self.nodes.tree(&holds.tree)?;
                Arc::new(Differences::between(&tree, &Tree::default()))
            }
        };
        let differ: Vec<_> = differences
            .iter()
            .filter_map(|pair| match pair {
                Pair::Left(name, old) => Some((name, old, None)),
                Pair::Both(name, old, new) => Some((name, old, new.as_dir())),
                Pair::Right(..) => None,
            })
            .collect();
        let below = differ.par_iter().map(|(name, old, new)| match old {
            Entry::Dir(old) => self.below(dir, name, &path.join(name), old, *new),
            Entry::File(_) | Entry::Symlink(_) if self.files == Files::Look => {
                Ok(entry(dir, name, &path.join(name), old)?.into_iter().collect())
            }
            Entry::File(_) | Entry::Symlink(_) => Ok(Vec::new()),
        });
        found.extend(below.collect::<Result<Vec<_>>>()?.into_iter().flatten());
        Ok(found)
    }

    fn below(
        &self,
        dir: &Dir,
        name: &[u8],
        path: &RelPath,
        holds: &DirEntry,
        other: Option<&DirEntry>,
    ) -> Result<Vec<String>> {
        match dir.try_stat(name)? {
            None => Ok(vec![format!("{path}: it is missing")]),
            Some(stat) if stat.kind != Kind::Dir => Ok(vec![format!("{path}: {OTHER}")]),
            Some(_) => self.dir(&dir.dir(name)?, path, holds, other),
        }
    }

    /// Compares the names of one directory, and what `lstat` says of each, with the tree's.
    fn names(&self, dir: &Dir, path: &RelPath, tree: &Tree) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for name in dir.names()? {
            if tree.get(&name).is_none() && !is_silly_rename(&name) {
                found.push(format!("{}: it is not in the snapshot", path.join(&name)));
            }
        }
        for (name, want) in tree.entries() {
            found.extend(entry(dir, name, &path.join(name), want)?);
        }
        Ok(found)
    }
}

const OTHER: &str = "it is of another kind";

/// Compares what `lstat` says of an entry with what should be there.
fn entry(dir: &Dir, name: &[u8], path: &RelPath, want: &Entry) -> Result<Option<String>> {
    let Some(stat) = dir.try_stat(name)? else {
        return Ok(Some(format!("{path}: it is missing")));
    };
    let how = match (want, stat.kind) {
        (Entry::Dir(_), Kind::Dir) => None,
        (Entry::Symlink(want), Kind::Symlink) => {
            (dir.read_link(name)? != *want.target).then(|| "it points elsewhere".to_owned())
        }
        (Entry::File(want), Kind::File) => {
            let Stat { size, mtime, mode, .. } = stat;
            if size != want.size {
                Some(format!("{size} bytes, not {}", want.size))
            } else if mtime != want.mtime {
                Some("its time was changed".to_owned())
            } else {
                (mode != want.mode).then(|| format!("mode {mode:04o}, not {:04o}", want.mode))
            }
        }
        _ => Some(OTHER.to_owned()),
    };
    Ok(how.map(|how| format!("{path}: {how}")))
}

/// Returns the edits of a tree that may not even be there.
pub(super) fn edits_of(
    nodes: &dyn Nodes,
    dir: Result<Option<Dir>>,
    holds: &DirEntry,
    other: &DirEntry,
    files: Files,
) -> Result<Vec<String>> {
    let found = dir.and_then(|dir| match dir {
        Some(dir) => edits(nodes, &dir, holds, other, files),
        None => Ok(vec![format!("{}: it is missing", RelPath::ROOT)]),
    });
    match found {
        // A tree that cannot be read is not one to build on.
        Err(error @ Error::Io { .. }) => Ok(vec![match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        }]),
        found => found,
    }
}
