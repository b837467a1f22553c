//! Decoded trees that were asked for not long ago.

use std::collections::HashMap;
use std::sync::Arc;

use crate::id::TreeId;
use crate::tree::Tree;

/// Trees in two generations. What is asked for moves to the young one; when that holds half of the
/// budget it becomes the old one, and what was not asked for in the meantime is let go.
pub(crate) struct TreeCache {
    /// How much memory all trees together may take, in bytes.
    budget: usize,
    young: HashMap<TreeId, Arc<Tree>>,
    old: HashMap<TreeId, Arc<Tree>>,
    /// What the young ones take, in bytes.
    weight: usize,
}

impl TreeCache {
    /// Starts empty.
    pub fn new(budget: usize) -> Self {
        Self { budget, young: HashMap::new(), old: HashMap::new(), weight: 0 }
    }

    /// Returns a tree if it is here.
    pub fn get(&mut self, id: &TreeId) -> Option<Arc<Tree>> {
        if let Some(tree) = self.young.get(id) {
            return Some(tree.clone());
        }
        let tree = self.old.remove(id)?;
        self.insert(*id, tree.clone());
        Some(tree)
    }

    /// Adds a tree.
    pub fn insert(&mut self, id: TreeId, tree: Arc<Tree>) {
        let weight = tree.weight();
        if self.weight + weight > self.budget / 2 {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
        if self.young.insert(id, tree).is_none() {
            self.weight += weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Time;
    use crate::tree::{Entry, SymlinkEntry};

    fn tree(number: u32) -> (TreeId, Arc<Tree>) {
        let target = number.to_string().into_bytes().into();
        let link = Entry::Symlink(SymlinkEntry { target, mtime: Time::default() });
        let tree = Tree::new(vec![(b"link".as_slice().into(), link)]).unwrap();
        (TreeId::of(&tree.encode()), Arc::new(tree))
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let (asked, kept) = tree(0);
        let weight = kept.weight();
        let mut cache = TreeCache::new(8 * weight);
        cache.insert(asked, kept.clone());
        let others: Vec<_> = (1..100).map(tree).collect();
        for (id, other) in &others {
            cache.insert(*id, other.clone());
            assert_eq!(cache.get(&asked), Some(kept.clone()));
        }
        let left = others.iter().filter(|(id, _)| cache.get(id).is_some()).count();
        assert!((1..=8).contains(&left), "{left} of 99");
    }
}
