//! Repos in a tree: what their packages are, what their metadata says, and new metadata for them.

mod build;
mod disk;
mod extras;
mod inputs;
mod known;
mod metadata;
mod regenerate;

use cairn_store::path::RelPath;
use cairn_store::tree::{DirEntry, Entry, FileEntry, Nodes};

pub use build::{BuildOptions, BuildReport, Reading, build};
pub use cairn_repodata::codec::Compression;
pub use cairn_repodata::repomd::DistroTag;
pub use inputs::{ComposeInput, Inputs};
pub use known::{RepoPackages, repo_packages};
pub use regenerate::{Regenerated, RepoReport, regenerate};

use crate::audit::repos::REPODATA;
use crate::error::Result;

/// An RPM of a repo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rpm {
    /// Where it is, relative to the repo's directory.
    pub href: RelPath,
    /// What it is.
    pub file: FileEntry,
}

/// Returns the RPMs of the repo at `dir`, sorted by path. What lies in a repo inside of it is that
/// one's.
pub fn rpms(nodes: &dyn Nodes, dir: &DirEntry) -> Result<Vec<Rpm>> {
    let mut found = Vec::new();
    rpms_below(nodes, dir, &RelPath::ROOT, &mut found)?;
    found.sort_unstable_by(|a, b| a.href.cmp(&b.href));
    Ok(found)
}

fn rpms_below(
    nodes: &dyn Nodes,
    dir: &DirEntry,
    path: &RelPath,
    found: &mut Vec<Rpm>,
) -> Result<()> {
    let tree = nodes.tree(&dir.tree)?;
    if !path.is_root() && is_repo(nodes, dir)? {
        return Ok(());
    }
    for (name, entry) in tree.entries() {
        match entry {
            Entry::File(file) if name.ends_with(b".rpm") => {
                found.push(Rpm { href: path.join(name), file: *file });
            }
            Entry::Dir(child) if *name != *REPODATA => {
                rpms_below(nodes, child, &path.join(name), found)?;
            }
            Entry::File(_) | Entry::Dir(_) | Entry::Symlink(_) => {}
        }
    }
    Ok(())
}

/// Returns whether a directory holds metadata.
pub(crate) fn is_repo(nodes: &dyn Nodes, dir: &DirEntry) -> Result<bool> {
    Ok(nodes.tree(&dir.tree)?.get(REPODATA).is_some_and(|entry| entry.as_dir().is_some()))
}
