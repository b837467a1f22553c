//! One walk over a tree: where its repos are, its tree information, and packages without a repo.

use cairn_store::Result;
use cairn_store::path::RelPath;
use cairn_store::tree::{DirEntry, Entry, FileEntry, Nodes};

use crate::audit::repos::{REPODATA, Repo, repo_at};

/// What installers read first.
const TREEINFO: &[u8] = b".treeinfo";

/// What a walk found, each list sorted by path.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Directories with `repodata/repomd.xml`.
    pub(super) repos: Vec<(RelPath, Repo)>,
    /// Files called `.treeinfo`.
    pub(super) treeinfos: Vec<(RelPath, FileEntry)>,
    /// The highest directories that hold packages, and no repo above or below them.
    pub(super) stray: Vec<(RelPath, DirEntry)>,
}

/// What is below a directory.
#[derive(Clone, Copy, Default)]
struct Below {
    /// Packages that are in no repo.
    stray: bool,
    repos: bool,
}

impl Survey {
    /// Walks a tree. In directories with one of the names `nonrepo` packages need no repo.
    pub(super) fn of(nodes: &dyn Nodes, root: &DirEntry, nonrepo: &[String]) -> Result<Survey> {
        let mut survey = Survey::default();
        let below = survey.walk(nodes, root, &RelPath::ROOT, nonrepo, false)?;
        if below.stray {
            survey.stray.push((RelPath::ROOT, *root));
        }
        survey.repos.sort_by(|a, b| a.0.cmp(&b.0));
        survey.treeinfos.sort_by(|a, b| a.0.cmp(&b.0));
        survey.stray.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(survey)
    }

    fn walk(
        &mut self,
        nodes: &dyn Nodes,
        dir: &DirEntry,
        path: &RelPath,
        nonrepo: &[String],
        covered: bool,
    ) -> Result<Below> {
        let repo = repo_at(nodes, dir)?;
        let is_repo = repo.is_some();
        let exempt = nonrepo.iter().any(|name| name.as_bytes() == path.file_name());
        let covered = covered || is_repo || (exempt && !path.is_root());
        let mut below = Below { stray: false, repos: is_repo };
        self.repos.extend(repo.map(|repo| (path.clone(), repo)));
        let mut stray = Vec::new();
        for (name, entry) in nodes.tree(&dir.tree)?.entries() {
            match entry {
                Entry::File(file) if *name == *TREEINFO => {
                    self.treeinfos.push((path.join(name), *file));
                }
                Entry::File(_) => below.stray |= !covered && is_rpm(name),
                Entry::Dir(_) if is_repo && *name == *REPODATA => {}
                Entry::Dir(child) => {
                    let child_path = path.join(name);
                    let found = self.walk(nodes, child, &child_path, nonrepo, covered)?;
                    below.repos |= found.repos;
                    if found.stray {
                        stray.push((child_path, *child));
                    }
                }
                Entry::Symlink(_) => {}
            }
        }
        // Where a repo lies beside them, they are named; else the directory above is.
        match below.repos {
            true => self.stray.append(&mut stray),
            false => below.stray |= !stray.is_empty(),
        }
        Ok(below)
    }
}

/// Returns whether a file of this name is a package.
pub(super) fn is_rpm(name: &[u8]) -> bool {
    name.ends_with(b".rpm")
}

/// Calls `visit` for every package below `dir`, except in directories that `skip` names.
pub(super) fn packages_below(
    nodes: &dyn Nodes,
    path: &RelPath,
    dir: &DirEntry,
    skip: &dyn Fn(&RelPath) -> bool,
    visit: &mut dyn FnMut(RelPath, &FileEntry),
) -> Result<()> {
    cairn_store::tree::walk(nodes, dir, path, &mut |path, entry| {
        match entry {
            Entry::File(file) if is_rpm(path.file_name()) => visit(path.clone(), file),
            Entry::Dir(_) => return Ok(!skip(path)),
            Entry::File(_) | Entry::Symlink(_) => {}
        }
        Ok(true)
    })
}
