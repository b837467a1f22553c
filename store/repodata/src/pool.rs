//! Texts of packages while a repository is put together: many, each needed once, and more than
//! should be in memory as they are.
//!
//! They are kept in blocks of some ten packages, compressed lightly. Whoever reads them in about
//! the order that they came in unpacks each block once; in any other order it costs time only.

use std::collections::VecDeque;
use std::io;

use crate::segments;

/// Size of a block before compression, in bytes: large enough to compress well, and small enough
/// that unpacking one for a single text does not matter.
const BLOCK: usize = 64 << 10;

/// The fastest level that has a ratio worth the trouble: four to one for metadata.
const LEVEL: i32 = 1;

/// How much a reader keeps unpacked, in bytes, beside the block that it reads: lists are in nearly
/// the same order.
const CACHED: usize = 16 * BLOCK;

/// Texts in the order that they came in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pool {
    blocks: Vec<Block>,
    /// The block that is not full yet.
    open: Vec<u8>,
}

/// Texts one after the other.
#[derive(Debug, Clone)]
enum Block {
    /// Compressed lightly, for here.
    Packed(Box<[u8]>),
    /// A segment of the list that they were read from, which a new list may take over.
    Segment { packed: Box<[u8]>, size: usize },
}

/// Where in its pool a text is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    block: usize,
    start: usize,
    size: usize,
}

impl Place {
    /// Returns the place of a text in a segment.
    pub(crate) fn within(block: usize, start: usize, size: usize) -> Place {
        Place { block, start, size }
    }

    /// Returns the size of the text in bytes.
    pub(crate) fn size(self) -> usize {
        self.size
    }
}

impl Pool {
    /// Makes a pool of segments, each with the size of its content. The texts in them are where
    /// [`Place::within`] says.
    pub(crate) fn of_segments(segments: impl IntoIterator<Item = (Box<[u8]>, usize)>) -> Pool {
        let block = |(packed, size)| Block::Segment { packed, size };
        Pool { blocks: segments.into_iter().map(block).collect(), open: Vec::new() }
    }

    /// Returns the segment that these texts are, if they are all that is in it.
    pub(crate) fn segment(
        &self,
        mut places: impl Iterator<Item = Place>,
    ) -> Option<(usize, &[u8])> {
        let first = places.next()?;
        let Some(Block::Segment { packed, size }) = self.blocks.get(first.block) else {
            return None;
        };
        let mut end = first.size;
        if first.start != 0 {
            return None;
        }
        for place in places {
            if place.block != first.block || place.start != end {
                return None;
            }
            end += place.size;
        }
        (end == *size).then_some((first.block, &**packed))
    }

    /// Takes a text that consists of these parts.
    ///
    /// # Errors
    ///
    /// Only those of an encoder that cannot be set up.
    pub(crate) fn push(&mut self, parts: &[&[u8]]) -> io::Result<Place> {
        let start = self.open.len();
        parts.iter().for_each(|part| self.open.extend_from_slice(part));
        let place = Place { block: self.blocks.len(), start, size: self.open.len() - start };
        if self.open.len() >= BLOCK {
            let packed = zstd::bulk::compress(&self.open, LEVEL)?.into_boxed_slice();
            self.blocks.push(Block::Packed(packed));
            self.open.clear();
            // A huge text must not leave its room behind.
            self.open.shrink_to(2 * BLOCK);
        }
        Ok(place)
    }

    /// Returns a reader of the pool as it is now.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { pool: self, cached: VecDeque::new(), inflater: flate2::Decompress::new(false) }
    }
}

/// Reads texts of a pool, in any order but best in the pool's.
pub(crate) struct Reader<'a> {
    pool: &'a Pool,
    /// The blocks used last, the very last in front.
    cached: VecDeque<(usize, Vec<u8>)>,
    inflater: flate2::Decompress,
}

impl Reader<'_> {
    /// Returns a text of this pool.
    ///
    /// # Errors
    ///
    /// Only those of a decoder that cannot be set up.
    pub(crate) fn get(&mut self, place: Place) -> io::Result<&[u8]> {
        let Place { block, start, size } = place;
        if block >= self.pool.blocks.len() {
            return Ok(&self.pool.open[start..start + size]);
        }
        Ok(&self.block(block)?[start..start + size])
    }

    /// Returns all texts of a block.
    ///
    /// # Errors
    ///
    /// Those of [`Reader::get`].
    pub(crate) fn block(&mut self, number: usize) -> io::Result<&[u8]> {
        match self.cached.iter().position(|(cached, _)| *cached == number) {
            Some(0) => {}
            Some(at) => self.cached.swap(0, at),
            None => {
                // Blocks of one huge text must not add up.
                let unpacked = |(_, block): &(usize, Vec<u8>)| block.len();
                while self.cached.iter().map(unpacked).sum::<usize>() > CACHED {
                    self.cached.pop_back();
                }
                let plain = match &self.pool.blocks[number] {
                    Block::Packed(packed) => {
                        let room = zstd::zstd_safe::get_frame_content_size(packed).ok().flatten();
                        let room = room.and_then(|size| usize::try_from(size).ok());
                        zstd::bulk::decompress(packed, room.unwrap_or(BLOCK))?
                    }
                    Block::Segment { packed, size } => {
                        // Room that is left says that it is whole.
                        let mut plain = Vec::with_capacity(size + 1);
                        segments::inflate(&mut self.inflater, packed, *size as u64, &mut plain)?;
                        plain
                    }
                };
                self.cached.push_front((number, plain));
            }
        }
        Ok(&self.cached[0].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_any_size_come_back_in_any_order() {
        let huge = vec![7; 2 * CACHED];
        let text = |n: usize| match n {
            1000 => huge.clone(),
            n => format!("<package {n}>").repeat(n * n % 977 + n / 250).into_bytes(),
        };
        let mut pool = Pool::default();
        let mut places: Vec<(usize, Place)> = Vec::new();
        for n in 0..1000 {
            let text = text(n);
            let (a, b) = text.split_at(text.len() / 3);
            places.push((n, pool.push(&[a, b]).unwrap()));
        }
        let place = pool.push(&[&huge]).unwrap();
        places.push((1000, place));
        places.push((1000, pool.push(&[&huge]).unwrap()));
        assert!(pool.blocks.len() > 50 && pool.open.capacity() <= 2 * BLOCK);
        let last = pool.push(&[b"last"]).unwrap();
        let mut reader = pool.reader();
        assert_eq!(reader.get(place).unwrap(), huge);
        assert_eq!(reader.get(last).unwrap(), b"last");
        // One after the other, backwards, and all over the place.
        places.extend(places.clone().into_iter().rev());
        let scattered: Vec<_> = (0..1000).map(|n| places[n * 617 % 1000]).collect();
        places.extend(scattered);
        for (n, place) in places {
            assert_eq!(place.size(), text(n).len());
            assert!(reader.get(place).unwrap() == text(n), "{n}");
            let cached = reader.cached.iter().map(|(_, block)| block.len()).sum::<usize>();
            assert!(cached < 4 * CACHED, "never two huge ones: {cached}");
        }
    }
}
