//! Two directories side by side.

use std::cmp::Ordering;

use super::{BAD_NAME, Decoder, Entries, EntriesIter, Entry, Node, Tree};
use crate::cache::Weight;
use crate::error::{Error, Result};
use crate::id::TreeId;
use crate::path::name_fault;

/// One name of two directories side by side.
#[derive(Clone, Copy)]
pub(crate) enum Pair<'a> {
    Left(&'a [u8], &'a Entry),
    Right(&'a [u8], &'a Entry),
    Both(&'a [u8], &'a Entry, &'a Entry),
}

/// Iterates over two sorted directories in step.
pub(crate) fn merge<'a>(left: Entries<'a>, right: Entries<'a>) -> impl Iterator<Item = Pair<'a>> {
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    std::iter::from_fn(move || {
        let order = match (left.peek(), right.peek()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let pair = match order {
            Ordering::Less => left.next().map(|(name, entry)| Pair::Left(name, entry)),
            Ordering::Greater => right.next().map(|(name, entry)| Pair::Right(name, entry)),
            Ordering::Equal => left
                .next()
                .zip(right.next())
                .map(|((name, old), (_, new))| Pair::Both(name, old, new)),
        };
        Some(pair.expect("peek said that it is there"))
    })
}

/// What differs between two directories: the names that one of them lacks and those that stand for
/// something else, in order. It takes the room of the change and not that of the directories.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differences {
    names: Vec<u8>,
    rows: Vec<Row>,
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    /// Where the name ends.
    end: usize,
    sides: Sides,
}

#[derive(Debug, PartialEq, Eq)]
enum Sides {
    Old(Entry),
    New(Entry),
    Both(Entry, Entry),
}

impl Differences {
    /// Compares two directories.
    pub fn between(old: &Tree, new: &Tree) -> Self {
        let (old, new) = (Side::Tree(old.entries().iter()), Side::Tree(new.entries().iter()));
        Self::of_sides(old, new).expect("a tree is sound")
    }

    /// Compares two directories as they are at hand. What is only bytes yet is read past: two versions
    /// of a directory have nearly all entries in common, and those go nowhere.
    ///
    /// # Errors
    /// A corruption error for bytes that are no tree's.
    pub(super) fn of_nodes(
        (old_id, old): (&TreeId, &Node),
        (new_id, new): (&TreeId, &Node),
    ) -> Result<Self> {
        let corrupt = |id: &TreeId, reason| Error::corrupt(format!("tree {id}"), reason);
        let old = Side::of(old).map_err(|reason| corrupt(old_id, reason))?;
        let new = Side::of(new).map_err(|reason| corrupt(new_id, reason))?;
        Self::of_sides(old, new).map_err(|fault| match fault {
            Fault::Old(reason) => corrupt(old_id, reason),
            Fault::New(reason) => corrupt(new_id, reason),
        })
    }

    fn of_sides<'a>(mut old: Side<'a>, mut new: Side<'a>) -> std::result::Result<Self, Fault> {
        let mut differences = Self::default();
        Side::pass_common(&mut old, &mut new);
        let (mut left, mut right) =
            (old.next().map_err(Fault::Old)?, new.next().map_err(Fault::New)?);
        loop {
            let order = match (&left, &right) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((a, _)), Some((b, _))) => a.cmp(b),
            };
            let before = if order.is_le() { left.take() } else { None };
            let after = if order.is_ge() { right.take() } else { None };
            if order.is_eq() {
                Side::pass_common(&mut old, &mut new);
            }
            if order.is_le() {
                left = old.next().map_err(Fault::Old)?;
            }
            if order.is_ge() {
                right = new.next().map_err(Fault::New)?;
            }
            let (name, sides) = match (before, after) {
                (Some((name, old)), None) => (name, Sides::Old(old)),
                (None, Some((name, new))) => (name, Sides::New(new)),
                (Some((_, old)), Some((_, new))) if old == new => continue,
                (Some((name, old)), Some((_, new))) => (name, Sides::Both(old, new)),
                (None, None) => unreachable!("one of them has a name"),
            };
            if name_fault(name).is_some() {
                return Err(if order.is_le() {
                    Fault::Old(BAD_NAME)
                } else {
                    Fault::New(BAD_NAME)
                });
            }
            differences.names.extend_from_slice(name);
            differences.rows.push(Row { end: differences.names.len(), sides });
        }
        differences.names.shrink_to_fit();
        differences.rows.shrink_to_fit();
        Ok(differences)
    }

    /// Returns the same, seen from the other side.
    pub(super) fn reversed(&self) -> Self {
        let reversed = |row: &Row| {
            let sides = match &row.sides {
                Sides::Old(old) => Sides::New(old.clone()),
                Sides::New(new) => Sides::Old(new.clone()),
                Sides::Both(old, new) => Sides::Both(new.clone(), old.clone()),
            };
            Row { end: row.end, sides }
        };
        Self { names: self.names.clone(), rows: self.rows.iter().map(reversed).collect() }
    }

    /// Iterates over what differs.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Pair<'_>> {
        let mut start = 0;
        self.rows.iter().map(move |row| {
            let name = &self.names[start..row.end];
            start = row.end;
            match &row.sides {
                Sides::Old(old) => Pair::Left(name, old),
                Sides::New(new) => Pair::Right(name, new),
                Sides::Both(old, new) => Pair::Both(name, old, new),
            }
        })
    }
}

/// The entries of a directory, one after another.
enum Side<'a> {
    Tree(EntriesIter<'a>),
    Bytes(Decoder<'a>),
}

/// Whose bytes are no tree's, and why.
#[derive(Debug)]
enum Fault {
    Old(&'static str),
    New(&'static str),
}

impl<'a> Side<'a> {
    fn of(node: &'a Node) -> std::result::Result<Self, &'static str> {
        match node {
            Node::Tree(tree) => Ok(Self::Tree(tree.entries().iter())),
            Node::Read(bytes) => Decoder::new(bytes).map(Self::Bytes),
            Node::Fresh(bytes) => Decoder::new(bytes).map(Self::Bytes),
        }
    }

    /// Passes over what both have next, where that can be seen without a look at each entry.
    fn pass_common(old: &mut Self, new: &mut Self) {
        if let (Self::Bytes(old), Self::Bytes(new)) = (old, new) {
            old.pass_common(new);
        }
    }

    fn next(&mut self) -> std::result::Result<Option<(&'a [u8], Entry)>, &'static str> {
        match self {
            Self::Tree(entries) => Ok(entries.next().map(|(name, entry)| (name, entry.clone()))),
            Self::Bytes(bytes) => bytes.next(),
        }
    }
}

impl Weight for Differences {
    fn weight(&self) -> usize {
        self.names.capacity() + self.rows.capacity() * size_of::<Row>()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::fs::Time;
    use crate::id::ObjectId;
    use crate::tree::{DirEntry, FileEntry, SymlinkEntry};

    fn tree() -> impl Strategy<Value = Tree> {
        prop::collection::btree_map("[a-d]{1,2}", 0u8..5, 0..8).prop_map(|model| {
            let mtime = Time::default();
            let entry = |content| match content {
                0 => Entry::Symlink(SymlinkEntry { target: b"../os".as_slice().into(), mtime }),
                1 => {
                    let tree = TreeId::of(&[content]);
                    Entry::Dir(DirEntry { tree, mode: 0o755, mtime, files: 1, bytes: 1 })
                }
                _ => {
                    let object = ObjectId::of(&[content]);
                    Entry::File(FileEntry { object, size: 1, mode: 0o644, mtime })
                }
            };
            let named = |(name, content): (String, u8)| (name.into_bytes().into(), entry(content));
            Tree::new(model.into_iter().map(named).collect()).unwrap()
        })
    }

    proptest! {
        #[test]
        fn what_differs_is_all_that_differs_from_either_side(old in tree(), new in tree()) {
            let differences = Differences::between(&old, &new);
            let names: Vec<_> = differences.iter().map(|pair| match pair {
                Pair::Left(name, before) => (name, Some(before), None),
                Pair::Right(name, after) => (name, None, Some(after)),
                Pair::Both(name, before, after) => (name, Some(before), Some(after)),
            }).collect();
            for (name, before, after) in &names {
                prop_assert_eq!(*before, old.get(name));
                prop_assert_eq!(*after, new.get(name));
                prop_assert_ne!(before, after);
            }
            let all = old.entries().iter().chain(new.entries());
            let differing = all.filter(|(name, _)| old.get(name) != new.get(name));
            let mut expected: Vec<_> = differing.map(|(name, _)| name).collect();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(names.into_iter().map(|(name, ..)| name).collect::<Vec<_>>(), expected);
            prop_assert_eq!(differences.reversed(), Differences::between(&new, &old));
            let at_hand = |tree: &Tree| {
                let bytes = tree.encode();
                [Node::Tree(Arc::new(tree.clone())), Node::Fresh(bytes.clone().into()), Node::Read(bytes)]
            };
            let id = TreeId::of(b"");
            for old in &at_hand(&old) {
                for new in &at_hand(&new) {
                    let found = Differences::of_nodes((&id, old), (&id, new)).unwrap();
                    prop_assert_eq!(&found, &differences);
                }
            }
        }

        #[test]
        fn bytes_that_are_no_tree_are_named_and_whatever_is_told_of_them_is_a_name(
            old in tree(),
            new in tree(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<bool>(),
        ) {
            let (mut bytes, ids) = (new.encode(), (TreeId::of(b"old"), TreeId::of(b"new")));
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            let decoded = Tree::decode(&bytes);
            let (old, damaged) = (Node::Read(old.encode()), Node::Read(bytes));
            let found = Differences::of_nodes((&ids.0, &old), (&ids.1, &damaged));
            match found {
                Ok(found) => for pair in found.iter() {
                    let (Pair::Left(name, _) | Pair::Right(name, _) | Pair::Both(name, ..)) = pair;
                    prop_assert_eq!(name_fault(name), None);
                },
                Err(error) => {
                    prop_assert!(decoded.is_err());
                    prop_assert!(error.to_string().contains(&ids.1.to_string()), "{error}");
                }
            }
        }
    }
}
