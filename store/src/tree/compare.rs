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
#[derive(Debug, Default)]
pub struct Differences {
    names: Vec<u8>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    /// Where the name ends.
    end: usize,
    sides: Sides,
}

#[derive(Debug)]
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
