//! Trees that are being made.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use super::{Differences, DirEntry, FileEntry, Node, Nodes, Tree};
use crate::cache::Cache;
use crate::error::Result;
use crate::fs::Time;
use crate::id::{ObjectId, TreeId};

/// Trees that are being made, in memory, on top of trees that are stored.
///
/// Transforms write here; a commit takes what the final snapshot needs and leaves the rest. Files
/// that a transform makes, such as metadata and signatures, wait here too until a writer brings
/// them into a pool, so that a plan needs no disk.
pub struct Draft<'a> {
    base: &'a dyn Nodes,
    fresh: Mutex<HashMap<TreeId, FreshTree>>,
    /// Some of those trees, decoded.
    decoded: Mutex<Cache<TreeId, Tree>>,
    /// What was found to differ between two trees, whoever has them. One command asks for it half a
    /// dozen times: to count, to judge, to look for edits, to apply.
    compared: Mutex<Cache<(TreeId, TreeId), Differences>>,
    contents: Mutex<BTreeMap<ObjectId, Fresh>>,
}

/// A tree that no pack has yet: its canonical bytes, which take less memory than what they say, and
/// the trees in it.
struct FreshTree {
    canonical: Arc<[u8]>,
    below: Box<[TreeId]>,
}

/// How much of a draft's own trees is kept decoded, in bytes.
const DECODED: usize = 8 << 20;
/// How much of what differs is remembered, in bytes. A release that changes by a hundredth of
/// 200,000 files takes a twentieth of it.
const COMPARED: usize = 8 << 20;

/// A file's content that no pool has yet.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// The entry that it was made for.
    pub entry: FileEntry,
    /// The bytes.
    pub bytes: Arc<[u8]>,
}

impl<'a> Draft<'a> {
    /// Starts with what `base` has.
    pub fn new(base: &'a dyn Nodes) -> Self {
        let decoded = Mutex::new(Cache::new(DECODED));
        let compared = Mutex::new(Cache::new(COMPARED));
        Self { base, fresh: Mutex::default(), decoded, compared, contents: Mutex::default() }
    }

    /// Adds a file's content and returns an entry for it.
    pub fn put_file(&self, bytes: Vec<u8>, mode: u32, mtime: Time) -> FileEntry {
        let (object, size) = (ObjectId::of(&bytes), bytes.len() as u64);
        let entry = FileEntry { object, size, mode, mtime };
        let fresh = || Fresh { entry, bytes: bytes.into() };
        locked(&self.contents).entry(object).or_insert_with(fresh);
        entry
    }

    /// Returns the content of a file that was added here.
    pub fn content(&self, object: &ObjectId) -> Option<Arc<[u8]>> {
        locked(&self.contents).get(object).map(|fresh| fresh.bytes.clone())
    }

    /// Returns all contents that were added here, by id.
    pub fn contents(&self) -> Vec<Fresh> {
        locked(&self.contents).values().cloned().collect()
    }

    /// Adds a tree and returns the directory entry for it.
    pub fn put(&self, tree: Tree, mode: u32, mtime: Time) -> DirEntry {
        let canonical = tree.encode();
        let id = TreeId::of(&canonical);
        let (mut files, mut bytes, mut below) = (0, 0, Vec::new());
        for (_, entry) in tree.entries() {
            files += entry.files();
            bytes += entry.bytes();
            below.extend(entry.as_dir().map(|dir| dir.tree));
        }
        let fresh = || FreshTree { canonical: canonical.into(), below: below.into() };
        locked(&self.fresh).entry(id).or_insert_with(fresh);
        DirEntry { tree: id, mode, mtime, files, bytes }
    }

    /// Returns an empty directory.
    pub fn empty(&self, mode: u32, mtime: Time) -> DirEntry {
        self.put(Tree::default(), mode, mtime)
    }

    /// Returns the canonical bytes of the trees below `root` that are not `known`, children
    /// before their parents. What is below a known tree is known.
    pub fn reachable(
        &self,
        root: &TreeId,
        known: &mut dyn FnMut(&TreeId) -> Result<bool>,
    ) -> Result<Vec<(TreeId, Arc<[u8]>)>> {
        let fresh = locked(&self.fresh);
        let mut found = Vec::new();
        let mut seen = std::collections::HashSet::new();
        // An explicit stack: a release may be a thousand levels deep.
        let mut stack = vec![(*root, false)];
        while let Some((id, expanded)) = stack.pop() {
            let Some(FreshTree { canonical, below }) = fresh.get(&id) else { continue };
            if expanded {
                found.push((id, canonical.clone()));
            } else if seen.insert(id) && !known(&id)? {
                stack.push((id, true));
                stack.extend(below.iter().rev().map(|id| (*id, false)));
            }
        }
        Ok(found)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it holds a draft's lock")
}

impl Nodes for Draft<'_> {
    fn tree(&self, id: &TreeId) -> Result<Arc<Tree>> {
        let canonical = locked(&self.fresh).get(id).map(|tree| tree.canonical.clone());
        let Some(canonical) = canonical else { return self.base.tree(id) };
        if let Some(tree) = locked(&self.decoded).get(id) {
            return Ok(tree);
        }
        let tree = Tree::decode(&canonical).expect("the draft encoded this tree");
        let tree = Arc::new(tree);
        locked(&self.decoded).insert(*id, tree.clone());
        Ok(tree)
    }

    fn node(&self, id: &TreeId) -> Result<Node> {
        let canonical = locked(&self.fresh).get(id).map(|tree| tree.canonical.clone());
        match canonical {
            None => self.base.node(id),
            Some(canonical) => match locked(&self.decoded).get(id) {
                Some(tree) => Ok(Node::Tree(tree)),
                None => Ok(Node::Fresh(canonical)),
            },
        }
    }

    fn differences(&self, old: &TreeId, new: &TreeId) -> Result<Arc<Differences>> {
        let pair = (*old, *new);
        let (known, reversed) = {
            let mut compared = locked(&self.compared);
            (compared.get(&pair), compared.get(&(*new, *old)))
        };
        let found = match (known, reversed) {
            (Some(known), _) => return Ok(known),
            (None, Some(reversed)) => Arc::new(reversed.reversed()),
            (None, None) => {
                let (was, is) = (self.node(old)?, self.node(new)?);
                Arc::new(Differences::of_nodes((old, &was), (new, &is))?)
            }
        };
        locked(&self.compared).insert(pair, found.clone());
        Ok(found)
    }
}
