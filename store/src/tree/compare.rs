//! Two directories side by side.

use std::cmp::Ordering;

use super::{Entries, Entry, Tree};
use crate::cache::Weight;

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
        let mut differences = Self::default();
        for pair in merge(old.entries(), new.entries()) {
            let (name, sides) = match pair {
                Pair::Left(name, old) => (name, Sides::Old(old.clone())),
                Pair::Right(name, new) => (name, Sides::New(new.clone())),
                Pair::Both(_, old, new) if old == new => continue,
                Pair::Both(name, old, new) => (name, Sides::Both(old.clone(), new.clone())),
            };
            differences.names.extend_from_slice(name);
            differences.rows.push(Row { end: differences.names.len(), sides });
        }
        differences.names.shrink_to_fit();
        differences.rows.shrink_to_fit();
        differences
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

impl Weight for Differences {
    fn weight(&self) -> usize {
        self.names.capacity() + self.rows.capacity() * size_of::<Row>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fs::Time;
    use crate::id::ObjectId;
    use crate::tree::FileEntry;

    fn tree() -> impl Strategy<Value = Tree> {
        prop::collection::btree_map("[a-d]{1,2}", 0u8..3, 0..8).prop_map(|model| {
            let entry = |content| {
                let (object, mtime) = (ObjectId::of(&[content]), Time::default());
                Entry::File(FileEntry { object, size: 1, mode: 0o644, mtime })
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
        }
    }
}
