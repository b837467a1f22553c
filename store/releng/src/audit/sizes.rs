//! How large repos are, before and after.

use std::collections::BTreeMap;

use serde::Serialize;

use cairn_store::path::RelPath;
use cairn_store::tree::{DirEntry, Entry, Nodes};

use super::repos::{in_step, repo_at};
use super::{Filter, Result};

/// How much a directory holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// Files and symbolic links.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Amount {
    fn of(dir: Option<&DirEntry>) -> Self {
        dir.map_or(Self::default(), |dir| Self { files: dir.files, bytes: dir.bytes })
    }

    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

/// The size of a repo on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SizeRow {
    /// The directory of the repo; of what is in no repo the first directory of the path.
    pub repo: RelPath,
    /// Whether it is a repo.
    pub is_repo: bool,
    /// What was.
    pub old: Amount,
    /// What is.
    pub new: Amount,
}

/// Returns the size of every repo and of what is beside them, sorted by path.
///
/// A repo is not entered, its directory knows its size; a repo in another counts there.
///
/// # Errors
/// Trees that cannot be read.
pub fn sizes(
    nodes: &dyn Nodes,
    old: Option<&DirEntry>,
    new: Option<&DirEntry>,
    filter: &Filter,
) -> Result<Vec<SizeRow>> {
    let mut sizes = Sizes { nodes, rows: Vec::new(), rest: BTreeMap::new() };
    sizes.below(&RelPath::ROOT, old, new)?;
    let rest =
        sizes.rest.into_iter().map(|(repo, [old, new])| SizeRow { repo, is_repo: false, old, new });
    let mut rows = sizes.rows;
    rows.extend(rest);
    rows.retain(|row| filter.accepts_metadata(&row.repo));
    rows.sort_by(|a, b| a.repo.cmp(&b.repo));
    Ok(rows)
}

struct Sizes<'a> {
    nodes: &'a dyn Nodes,
    rows: Vec<SizeRow>,
    rest: BTreeMap<RelPath, [Amount; 2]>,
}

impl Sizes<'_> {
    fn below(
        &mut self,
        path: &RelPath,
        old: Option<&DirEntry>,
        new: Option<&DirEntry>,
    ) -> cairn_store::Result<()> {
        for dir in [old, new].into_iter().flatten() {
            if repo_at(self.nodes, dir)?.is_some() {
                let (old, new) = (Amount::of(old), Amount::of(new));
                self.rows.push(SizeRow { repo: path.clone(), is_repo: true, old, new });
                return Ok(());
            }
        }
        let [old, new] = [old, new].map(|dir| dir.map(|dir| self.nodes.tree(&dir.tree)));
        let (old, new) = (old.transpose()?, new.transpose()?);
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        for (name, old, new) in in_step(old.entries().iter(), new.entries().iter()) {
            let as_dir = |entry: Option<&Entry>| entry.and_then(Entry::as_dir).copied();
            let (old_dir, new_dir) = (as_dir(old), as_dir(new));
            let child = path.join(name);
            for (side, entry) in [old, new].into_iter().enumerate() {
                let Some(entry) = entry.filter(|entry| entry.as_dir().is_none()) else { continue };
                let area = child.names().next().filter(|_| !path.is_root());
                let area = area.map_or(RelPath::ROOT, |name| RelPath::ROOT.join(name));
                let amount = Amount { files: entry.files(), bytes: entry.bytes() };
                self.rest.entry(area).or_default()[side].add(amount);
            }
            if old_dir.is_some() || new_dir.is_some() {
                self.below(&child, old_dir.as_ref(), new_dir.as_ref())?;
            }
        }
        Ok(())
    }
}
