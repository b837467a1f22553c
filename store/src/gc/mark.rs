//! Marking: which objects and trees are reached, and by whom.
//!
//! Every object and every tree has one colour: nobody's, that of the one ref that reaches it, or
//! that of several. A tree is decoded when its colour first changes from nobody's and once more
//! when it turns out to be shared, so marking costs what the store holds and not that times refs.

use std::collections::HashMap;

use rayon::prelude::*;

use super::Amount;
use super::roots::Roots;
use super::trash::Listing;
use crate::error::{Error, Result};
use crate::id::{ObjectId, TreeId};
use crate::progress::Observer;
use crate::tree::{Entry, Nodes};

/// Nothing reaches it.
const NONE: u32 = 0;
/// Only a snapshot reaches it that is condemned and must wait.
pub(super) const WAITING: u32 = 1;
/// Such a snapshot does that was named since the last run.
pub(super) const RECENT: u32 = 2;
/// More than one ref reaches it.
const SHARED: u32 = 3;
/// The first ref's colour.
const FIRST: u32 = 4;

/// How many trees are decoded at a time.
const STEP: usize = 1024;

/// Colours of objects and trees.
pub(super) struct Marks {
    /// Every object that a pool has, its trash included, in order; and of each the rest.
    ids: Vec<ObjectId>,
    colours: Vec<u32>,
    sizes: Vec<u64>,
    /// Objects that are reached and that no pool has.
    missing: HashMap<ObjectId, (u32, u64)>,
    trees: HashMap<TreeId, u32>,
    names: Vec<String>,
}

impl Marks {
    /// Starts with nothing marked.
    pub fn over(listings: &[Listing]) -> Self {
        let mut ids: Vec<ObjectId> = Vec::new();
        for listing in listings {
            ids.extend(listing.objects());
            ids.extend(listing.trashed());
        }
        ids.sort_unstable();
        ids.dedup();
        ids.shrink_to_fit();
        let (colours, sizes) = (vec![NONE; ids.len()], vec![0; ids.len()]);
        Self {
            ids,
            colours,
            sizes,
            missing: HashMap::new(),
            trees: HashMap::new(),
            names: Vec::new(),
        }
    }

    /// Marks everything below the roots, each in the colour of its ref.
    ///
    /// # Errors
    /// A tree that cannot be read, with the ref that needs it.
    pub fn mark_roots(
        &mut self,
        nodes: &dyn Nodes,
        roots: &Roots,
        observer: &dyn Observer,
    ) -> Result<()> {
        let mut trees = Vec::new();
        for one in &roots.refs {
            let known = self.names.iter().position(|name| *name == one.name);
            let index = known.unwrap_or_else(|| {
                self.names.push(one.name.clone());
                self.names.len() - 1
            });
            trees.extend(one.trees.iter().map(|tree| (*tree, FIRST + index as u32)));
        }
        self.mark(nodes, trees, observer)
    }

    /// Marks everything below these trees in these colours.
    pub fn mark(
        &mut self,
        nodes: &dyn Nodes,
        mut frontier: Vec<(TreeId, u32)>,
        observer: &dyn Observer,
    ) -> Result<()> {
        while !frontier.is_empty() {
            let mut next = Vec::new();
            for chunk in frontier.chunks(STEP) {
                if observer.interrupted() {
                    return Err(Error::Interrupted);
                }
                let mut open = Vec::with_capacity(chunk.len());
                for (tree, colour) in chunk {
                    let known = self.trees.entry(*tree).or_insert(NONE);
                    let joined = join(*known, *colour);
                    if joined != *known {
                        *known = joined;
                        open.push((*tree, joined));
                    }
                }
                let read = |(tree, colour): &(TreeId, u32)| {
                    below(nodes, tree).map_err(|error| self.told(error, *colour))
                };
                let found = open.par_iter().map(read).collect::<Result<Vec<_>>>()?;
                for ((_, colour), (dirs, files)) in open.iter().zip(found) {
                    observer.advance(files.len() as u64, 0);
                    for (object, size) in files {
                        self.reach(object, size, *colour);
                    }
                    next.extend(dirs.into_iter().map(|dir| (dir, *colour)));
                }
            }
            frontier = next;
        }
        Ok(())
    }

    fn reach(&mut self, object: ObjectId, size: u64, colour: u32) {
        match self.ids.binary_search(&object) {
            Ok(at) => {
                self.colours[at] = join(self.colours[at], colour);
                self.sizes[at] = size;
            }
            Err(_) => {
                let row = self.missing.entry(object).or_insert((NONE, size));
                row.0 = join(row.0, colour);
            }
        }
    }

    fn told(&self, error: Error, colour: u32) -> Error {
        match error {
            Error::Corrupt { subject, reason } => {
                let reason =
                    format!("{reason}; {} needs it, nothing was collected", self.by(colour));
                Error::Corrupt { subject, reason }
            }
            error => error,
        }
    }

    fn by(&self, colour: u32) -> &str {
        match colour {
            WAITING | RECENT => "a snapshot that is condemned and not yet collected",
            SHARED => "more than one ref",
            colour => self.names.get((colour - FIRST) as usize).map_or("a ref", String::as_str),
        }
    }

    fn colour(&self, id: &ObjectId) -> u32 {
        self.ids.binary_search(id).map_or(NONE, |at| self.colours[at])
    }

    /// Returns whether anything reaches an object.
    pub fn is_reached(&self, id: &ObjectId) -> bool {
        self.colour(id) != NONE
    }

    /// Returns whether a root reaches an object.
    pub fn is_needed(&self, id: &ObjectId) -> bool {
        self.colour(id) > RECENT
    }

    /// Returns whether something reaches an object that was named since the last run.
    pub fn is_recent(&self, id: &ObjectId) -> bool {
        self.colour(id) == RECENT
    }

    /// Returns whether anything reaches a tree.
    pub fn holds_tree(&self, id: &TreeId) -> bool {
        self.trees.contains_key(id)
    }

    /// Returns the objects that a root needs and that no pool had, and who needs each.
    pub fn missing(&self) -> impl Iterator<Item = (ObjectId, &str)> {
        // What only waits for its end may be damaged: it must be able to come to it.
        let needed = self.missing.iter().filter(|(_, (colour, _))| *colour > RECENT);
        needed.map(|(id, (colour, _))| (*id, self.by(*colour)))
    }

    /// Returns the size of an object that was reached.
    pub fn size(&self, id: &ObjectId) -> Option<u64> {
        let at = self.ids.binary_search(id).ok()?;
        (self.colours[at] != NONE).then(|| self.sizes[at])
    }

    /// Returns what each ref needs alone, by its name, what several need, and what only
    /// snapshots need that wait.
    pub fn amounts(&self) -> (HashMap<&str, Amount>, Amount, Amount) {
        let mut by_colour = vec![Amount::default(); FIRST as usize + self.names.len()];
        let listed = self.colours.iter().copied().zip(self.sizes.iter().copied());
        for (colour, size) in listed.chain(self.missing.values().copied()) {
            by_colour[colour as usize].add(size);
        }
        let alone = self.names.iter().map(String::as_str);
        let alone = alone.zip(by_colour[FIRST as usize..].iter().copied()).collect();
        let mut waiting = by_colour[WAITING as usize];
        waiting.objects += by_colour[RECENT as usize].objects;
        waiting.bytes = waiting.bytes.saturating_add(by_colour[RECENT as usize].bytes);
        (alone, by_colour[SHARED as usize], waiting)
    }
}

/// Returns the colour of what two reach.
fn join(old: u32, new: u32) -> u32 {
    match (old, new) {
        (old, new) if old == new => old,
        (old, new) if old.min(new) < SHARED => old.max(new),
        _ => SHARED,
    }
}

/// What is in one directory: trees, and objects with their sizes.
type Below = (Vec<TreeId>, Vec<(ObjectId, u64)>);

pub(super) fn below(nodes: &dyn Nodes, tree: &TreeId) -> Result<Below> {
    let tree = nodes.tree(tree)?;
    let (mut dirs, mut files) = (Vec::new(), Vec::new());
    for (_, entry) in tree.entries() {
        match entry {
            Entry::Dir(dir) => dirs.push(dir.tree),
            Entry::File(file) if !file.object.is_empty_file() => {
                files.push((file.object, file.size));
            }
            Entry::File(_) | Entry::Symlink(_) => {}
        }
    }
    Ok((dirs, files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joining_colours_does_not_depend_on_the_order() {
        let colours = [NONE, WAITING, RECENT, SHARED, FIRST, FIRST + 1];
        for a in colours {
            for b in colours {
                assert_eq!(join(a, b), join(b, a), "{a} {b}");
                for c in colours {
                    assert_eq!(join(join(a, b), c), join(a, join(b, c)), "{a} {b} {c}");
                }
            }
            assert_eq!(join(a, a), a);
            assert_eq!(join(NONE, a), a);
        }
        assert_eq!(join(FIRST, FIRST + 1), SHARED);
        assert_eq!(join(RECENT, FIRST), FIRST);
        assert_eq!(join(WAITING, RECENT), RECENT);
    }
}
