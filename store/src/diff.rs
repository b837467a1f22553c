//! What differs between two trees, path by path, in the order of the paths.

use std::sync::Arc;

use rayon::prelude::*;
use serde::Serialize;

use crate::error::Result;
use crate::path::RelPath;
use crate::tree::{Differences, DirEntry, Entry, Nodes, Pair};

/// One path that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The path.
    pub path: RelPath,
    /// What was there.
    pub old: Option<Entry>,
    /// What is there.
    pub new: Option<Entry>,
}

impl Change {
    /// Returns whether only mode or time differ.
    pub fn is_metadata_only(&self) -> bool {
        is_metadata_only(self.old.as_ref(), self.new.as_ref())
    }
}

fn is_metadata_only(old: Option<&Entry>, new: Option<&Entry>) -> bool {
    match (old, new) {
        (Some(Entry::File(a)), Some(Entry::File(b))) => a.object == b.object,
        (Some(Entry::Symlink(a)), Some(Entry::Symlink(b))) => a.target == b.target,
        (Some(Entry::Dir(_)), Some(Entry::Dir(_))) => true,
        _ => false,
    }
}

/// Calls `visit` for every path that differs; equal subtrees are skipped by their id.
///
/// Directories are visited when they appear, disappear or change their mode or time; everything
/// below a directory that appears or disappears is visited too.
pub fn diff(
    nodes: &dyn Nodes,
    old: Option<&DirEntry>,
    new: Option<&DirEntry>,
    visit: &mut dyn FnMut(Change) -> Result<()>,
) -> Result<()> {
    diff_below(nodes, &RelPath::ROOT, old, new, visit)
}

fn diff_below(
    nodes: &dyn Nodes,
    prefix: &RelPath,
    old: Option<&DirEntry>,
    new: Option<&DirEntry>,
    visit: &mut dyn FnMut(Change) -> Result<()>,
) -> Result<()> {
    if old.map(|dir| dir.tree) == new.map(|dir| dir.tree) {
        return Ok(());
    }
    for pair in differences(nodes, old, new)?.iter() {
        let (name, before, after) = match pair {
            Pair::Left(name, entry) => (name, Some(entry), None),
            Pair::Right(name, entry) => (name, None, Some(entry)),
            Pair::Both(name, a, b) => (name, Some(a), Some(b)),
        };
        let path = prefix.join(name);
        let dirs = (before.and_then(Entry::as_dir), after.and_then(Entry::as_dir));
        let listed = match dirs {
            (Some(a), Some(b)) => a.mode != b.mode || a.mtime != b.mtime,
            _ => true,
        };
        if listed {
            visit(Change { path: path.clone(), old: before.cloned(), new: after.cloned() })?;
        }
        if dirs.0.is_some() || dirs.1.is_some() {
            diff_below(nodes, &path, dirs.0, dirs.1, visit)?;
        }
    }
    Ok(())
}

/// Returns what differs between two directories of which one may not be there.
fn differences(
    nodes: &dyn Nodes,
    old: Option<&DirEntry>,
    new: Option<&DirEntry>,
) -> Result<Arc<Differences>> {
    match (old, new) {
        (Some(old), Some(new)) => nodes.differences(&old.tree, &new.tree),
        // All of what is on one side differs: nobody asks for that twice.
        (old, new) => {
            let old = old.map(|dir| nodes.tree(&dir.tree)).transpose()?.unwrap_or_default();
            let new = new.map(|dir| nodes.tree(&dir.tree)).transpose()?.unwrap_or_default();
            Ok(Arc::new(Differences::between(&old, &new)))
        }
    }
}

/// How much differs between two trees: the numbers of every plan and report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Files and symbolic links that appear.
    pub files_added: u64,
    /// Files and symbolic links whose content, mode or time differ.
    pub files_changed: u64,
    /// Files and symbolic links that disappear.
    pub files_removed: u64,
    /// Bytes of the files that appear or whose content differs.
    pub bytes_added: u64,
    /// Bytes of the files that disappear or whose content differs.
    pub bytes_removed: u64,
}

impl Changed {
    /// Counts one change.
    pub fn count(&mut self, change: &Change) {
        self.count_entries(change.old.as_ref(), change.new.as_ref());
    }

    fn count_entries(&mut self, old: Option<&Entry>, new: Option<&Entry>) {
        let file = |entry: Option<&Entry>| match entry {
            Some(Entry::Dir(_)) | None => None,
            Some(entry) => Some(entry.bytes()),
        };
        match (file(old), file(new)) {
            (None, None) => {}
            (None, Some(bytes)) => {
                self.files_added += 1;
                self.bytes_added += bytes;
            }
            (Some(bytes), None) => {
                self.files_removed += 1;
                self.bytes_removed += bytes;
            }
            (Some(before), Some(after)) => {
                self.files_changed += 1;
                if !is_metadata_only(old, new) {
                    self.bytes_added += after;
                    self.bytes_removed += before;
                }
            }
        }
    }

    /// Counts what differs between two trees.
    ///
    /// A directory that appears or disappears is counted by its sums, without a look inside.
    pub fn between(
        nodes: &dyn Nodes,
        old: Option<&DirEntry>,
        new: Option<&DirEntry>,
    ) -> Result<Self> {
        let mut changed = Self::default();
        let (Some(old), Some(new)) = (old, new) else {
            changed.files_removed = old.map_or(0, |dir| dir.files);
            changed.bytes_removed = old.map_or(0, |dir| dir.bytes);
            changed.files_added = new.map_or(0, |dir| dir.files);
            changed.bytes_added = new.map_or(0, |dir| dir.bytes);
            return Ok(changed);
        };
        if old.tree == new.tree {
            return Ok(changed);
        }
        let differences = nodes.differences(&old.tree, &new.tree)?;
        let mut dirs = Vec::new();
        for pair in differences.iter() {
            let (a, b) = match pair {
                Pair::Left(_, a) => (Some(a), None),
                Pair::Right(_, b) => (None, Some(b)),
                Pair::Both(_, a, b) => (Some(a), Some(b)),
            };
            let both = (a.and_then(Entry::as_dir), b.and_then(Entry::as_dir));
            if both.0.is_some() || both.1.is_some() {
                dirs.push(both);
            }
            changed.count_entries(a, b);
        }
        let below = dirs.into_par_iter().map(|(a, b)| Self::between(nodes, a, b));
        for below in below.collect::<Result<Vec<_>>>()? {
            changed.add(&below);
        }
        Ok(changed)
    }

    /// Adds another count.
    pub fn add(&mut self, other: &Changed) {
        self.files_added += other.files_added;
        self.files_changed += other.files_changed;
        self.files_removed += other.files_removed;
        self.bytes_added += other.bytes_added;
        self.bytes_removed += other.bytes_removed;
    }

    /// Returns whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.files_added + self.files_changed + self.files_removed == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Time;
    use crate::id::ObjectId;
    use crate::transform::graft;
    use crate::tree::tests::NoNodes;
    use crate::tree::{Draft, FileEntry};

    fn tree(draft: &Draft<'_>, files: &[(&str, u64)]) -> DirEntry {
        let mut root = draft.empty(0o755, Time::default());
        for (path, size) in files {
            let object = ObjectId::of(&size.to_le_bytes());
            let (size, mtime) = (*size, Time::default());
            let file = Entry::File(FileEntry { object, size, mode: 0o644, mtime });
            root = graft(draft, &root, &RelPath::new(path).unwrap(), Some(file)).unwrap();
        }
        root
    }

    #[test]
    fn sums_agree_with_a_count_of_every_path() {
        let draft = Draft::new(&NoNodes);
        let trees = [
            tree(&draft, &[]),
            tree(&draft, &[("a/b/x", 1), ("a/b/y", 2), ("c", 4)]),
            tree(&draft, &[("a/b/x", 8), ("d/e/z", 16), ("c/now/a/directory", 32)]),
            tree(&draft, &[("a", 64), ("c", 4)]),
        ];
        for old in &trees {
            for new in &trees {
                let mut counted = Changed::default();
                diff(&draft, Some(old), Some(new), &mut |change| {
                    counted.count(&change);
                    Ok(())
                })
                .unwrap();
                assert_eq!(Changed::between(&draft, Some(old), Some(new)).unwrap(), counted);
            }
        }
    }
}
