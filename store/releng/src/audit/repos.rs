//! The repos of two trees, found in one walk in step.

use std::cmp::Ordering;

use cairn_store::Result;
use cairn_store::path::RelPath;
use cairn_store::tree::{DirEntry, Entries, Entry, Nodes};

/// The directory that makes the one above it a repo, if it holds [`REPOMD`].
pub(crate) const REPODATA: &[u8] = b"repodata";
/// The list of a repo's metadata files.
pub(crate) const REPOMD: &[u8] = b"repomd.xml";

/// A repo of one tree.
#[derive(Clone, Debug)]
pub(crate) struct Repo {
    /// Its directory.
    pub(crate) dir: DirEntry,
    /// Its `repodata` directory.
    pub(crate) repodata: DirEntry,
    /// What is called `repodata/repomd.xml` in it.
    pub(crate) repomd: Entry,
}

/// A path that is a repo in one of two trees or in both.
#[derive(Clone, Debug)]
pub(crate) struct RepoPair {
    pub(crate) path: RelPath,
    pub(crate) old: Option<Repo>,
    pub(crate) new: Option<Repo>,
}

impl RepoPair {
    /// Returns whether both declare the same metadata, to the last bit.
    fn is_equal(&self) -> bool {
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => {
                // A compose that is made again has other times, and other trees by them.
                let same = match (&old.repomd, &new.repomd) {
                    (Entry::File(old), Entry::File(new)) => old.object == new.object,
                    (Entry::File(_) | Entry::Dir(_) | Entry::Symlink(_), _) => false,
                };
                same || old.repodata.tree == new.repodata.tree
            }
            (Some(_), None) | (None, Some(_)) => false,
            (None, None) => true,
        }
    }
}

/// Returns the repos whose metadata differs, sorted by path; equal subtrees are not entered.
pub(crate) fn differing(
    nodes: &dyn Nodes,
    old: Option<&DirEntry>,
    new: Option<&DirEntry>,
) -> Result<Vec<RepoPair>> {
    let mut found = Vec::new();
    below(nodes, &RelPath::ROOT, old, new, &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn below(
    nodes: &dyn Nodes,
    path: &RelPath,
    old: Option<&DirEntry>,
    new: Option<&DirEntry>,
    found: &mut Vec<RepoPair>,
) -> Result<()> {
    if old.map(|dir| dir.tree) == new.map(|dir| dir.tree) {
        return Ok(());
    }
    let pair = RepoPair {
        path: path.clone(),
        old: old.map(|dir| repo_at(nodes, dir)).transpose()?.flatten(),
        new: new.map(|dir| repo_at(nodes, dir)).transpose()?.flatten(),
    };
    if !pair.is_equal() {
        found.push(pair);
    }
    let [old, new] = [old, new].map(|dir| dir.map(|dir| nodes.tree(&dir.tree)).transpose());
    let (old, new) = (old?.unwrap_or_default(), new?.unwrap_or_default());
    for (name, old, new) in in_step(dirs(old.entries()), dirs(new.entries())) {
        // Repos may lie in repos, but not in metadata.
        if name != REPODATA {
            below(nodes, &path.join(name), old, new, found)?;
        }
    }
    Ok(())
}

/// Returns the repo that a directory is, if it is one.
pub(crate) fn repo_at(nodes: &dyn Nodes, dir: &DirEntry) -> Result<Option<Repo>> {
    let tree = nodes.tree(&dir.tree)?;
    let Some(repodata) = tree.get(REPODATA).and_then(Entry::as_dir) else { return Ok(None) };
    let Some(repomd) = nodes.tree(&repodata.tree)?.get(REPOMD).cloned() else { return Ok(None) };
    Ok(Some(Repo { dir: *dir, repodata: *repodata, repomd }))
}

/// Returns whether a path is a file of a repo's metadata.
pub(crate) fn in_repodata(path: &RelPath) -> bool {
    path.split_last().is_some_and(|(dir, _)| dir.file_name() == REPODATA)
}

fn dirs<'t>(entries: Entries<'t>) -> impl Iterator<Item = (&'t [u8], &'t DirEntry)> {
    entries.iter().filter_map(|(name, entry)| Some((name, entry.as_dir()?)))
}

/// Iterates over two sequences sorted by key, side by side.
pub(crate) fn in_step<K: Ord, V>(
    old: impl Iterator<Item = (K, V)>,
    new: impl Iterator<Item = (K, V)>,
) -> impl Iterator<Item = (K, Option<V>, Option<V>)> {
    let (mut old, mut new) = (old.peekable(), new.peekable());
    std::iter::from_fn(move || {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        match order {
            Ordering::Less => old.next().map(|(key, a)| (key, Some(a), None)),
            Ordering::Greater => new.next().map(|(key, b)| (key, None, Some(b))),
            Ordering::Equal => {
                old.next().zip(new.next()).map(|((key, a), (_, b))| (key, Some(a), Some(b)))
            }
        }
    })
}
