//! Which content every inode of an ingest has.

use std::cmp::Ordering;

use super::InodeKey;
use crate::id::ObjectId;
use crate::index::Inode;

/// Which content every inode has: as many as there are files, so they stand in sorted lists and
/// each once.
#[derive(Default)]
pub(super) struct Contents {
    pub known: Vec<(InodeKey, ObjectId)>,
    /// Those that will be remembered.
    pub read: Vec<Inode>,
}

impl Contents {
    /// Returns an inode's content; `last` is where the answer before this one was found.
    pub fn get(&self, inode: &InodeKey, last: &mut Last) -> Option<ObjectId> {
        if let Some(at) = search_near(&self.known, last.known, |(key, _)| key.cmp(inode)) {
            last.known = at;
            return Some(self.known[at].1);
        }
        let at = search_near(&self.read, last.read, |read| InodeKey::of(read).cmp(inode))?;
        last.read = at;
        Some(self.read[at].object)
    }

    /// Adds some that are known by now, in any order.
    pub fn extend(&mut self, known: impl IntoIterator<Item = (InodeKey, ObjectId)>) {
        self.known.extend(known);
        // Stable, because that is the sort which is quick to join what is in order already.
        self.known.sort_by_key(|(key, _)| *key);
    }
}

/// Where something was found in [`Contents`].
#[derive(Default)]
pub(super) struct Last {
    known: usize,
    read: usize,
}

/// Searches a sorted list, first around a place: files that stand side by side were mostly made one
/// after another, so their inodes do too, and a jump through all of a long list misses every cache.
fn search_near<T>(
    sorted: &[T],
    place: usize,
    order: impl Fn(&T) -> Ordering + Copy,
) -> Option<usize> {
    let is = |at: usize| order(&sorted[at]);
    let (mut low, mut high) = (0, sorted.len());
    let mut step = 1;
    if place < high && is(place).is_le() {
        low = place;
        while low + step < high {
            match is(low + step).is_le() {
                true => low += step,
                false => high = low + step,
            }
            step *= 2;
        }
    } else {
        high = place.min(high);
        while step <= high - low {
            match is(high - step).is_gt() {
                true => high -= step,
                false => low = high - step,
            }
            step *= 2;
        }
    }
    sorted[low..high].binary_search_by(order).ok().map(|at| low + at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_search_from_any_place_finds_what_a_plain_one_finds(
            numbers in prop::collection::btree_set(0u32..200, 0..60),
            place in 0usize..70,
            wanted in 0u32..200,
        ) {
            let sorted: Vec<u32> = numbers.into_iter().collect();
            let found = search_near(&sorted, place, |number| number.cmp(&wanted));
            prop_assert_eq!(found, sorted.binary_search(&wanted).ok());
        }
    }
}
