//! Where a path of a tree leads, through the symbolic links of the tree and never out of it.

use std::collections::HashMap;
use std::sync::Arc;

use cairn_store::id::TreeId;
use cairn_store::path::RelPath;
use cairn_store::tree::{DirEntry, Entry, FileEntry, Nodes, Tree};

/// How many symbolic links one path may lead through, as in Linux.
const HOPS: usize = 40;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A file, and its path without symbolic links.
    File(RelPath, FileEntry),
    /// A directory.
    Dir(DirEntry),
    /// Nothing of use; what is there instead, as a phrase.
    Nothing(&'static str),
}

/// Looks up many paths of one tree. It remembers the directories that it has read: a draft decodes
/// them each time, and a repo asks for one directory as often as it has packages.
pub(super) struct Resolver<'a> {
    nodes: &'a dyn Nodes,
    root: DirEntry,
    known: HashMap<TreeId, Arc<Tree>>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(nodes: &'a dyn Nodes, root: DirEntry) -> Self {
        Self { nodes, root, known: HashMap::new() }
    }

    fn tree(&mut self, id: &TreeId) -> cairn_store::Result<Arc<Tree>> {
        if let Some(tree) = self.known.get(id) {
            return Ok(tree.clone());
        }
        let tree = self.nodes.tree(id)?;
        self.known.insert(*id, tree.clone());
        Ok(tree)
    }

    /// Returns what is at `path`.
    pub(super) fn find(&mut self, path: &RelPath) -> cairn_store::Result<Place> {
        // The names that are still to go, the next one last.
        let mut ahead: Vec<Vec<u8>> = path.names().map(<[u8]>::to_vec).collect();
        ahead.reverse();
        let mut behind: Vec<(Vec<u8>, DirEntry)> = Vec::new();
        let mut hops = 0;
        while let Some(name) = ahead.pop() {
            match &*name {
                b"" | b"." => continue,
                b".." => match behind.pop() {
                    Some(_) => continue,
                    None => return Ok(Place::Nothing("a symbolic link leads out of the tree")),
                },
                _ => {}
            }
            let dir = behind.last().map_or(self.root, |(_, dir)| *dir);
            match self.tree(&dir.tree)?.get(&name) {
                None => return Ok(Place::Nothing("it is not in the tree")),
                Some(Entry::Dir(dir)) => behind.push((name, *dir)),
                Some(Entry::File(file)) if ahead.is_empty() => {
                    let dirs = behind.iter().map(|(name, _)| &**name);
                    let path = dirs.fold(RelPath::ROOT, |path, name| path.join(name)).join(&name);
                    return Ok(Place::File(path, *file));
                }
                Some(Entry::File(_)) => return Ok(Place::Nothing("it is below a file")),
                Some(Entry::Symlink(link)) => {
                    hops += 1;
                    if hops > HOPS {
                        return Ok(Place::Nothing("its symbolic links go in a circle"));
                    }
                    if link.target.first() == Some(&b'/') {
                        return Ok(Place::Nothing("a symbolic link leads out of the tree"));
                    }
                    ahead.extend(link.target.rsplit(|byte| *byte == b'/').map(<[u8]>::to_vec));
                }
            }
        }
        Ok(Place::Dir(behind.last().map_or(self.root, |(_, dir)| *dir)))
    }
}

/// Returns the path that `text`, written in a file of `dir`, means by its text alone; none when it
/// is absolute, leads out of the tree, or cannot be a path. Unlike a package's location it may
/// name a directory.
pub(super) fn by_text(dir: &RelPath, text: &str) -> Option<RelPath> {
    if text.is_empty() || text.starts_with('/') || text.contains("://") {
        return None;
    }
    let mut names: Vec<&[u8]> = dir.names().collect();
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()?),
            name => names.push(name.as_bytes()),
        }
    }
    RelPath::new(names.join(&b'/')).ok()
}
