//! The hashes of a torrent: read once, in order, and hashed in parallel.
//!
//! Content goes through one buffer of [`BATCH`] bytes, whose pieces are hashed on all cores when it is
//! full; so memory does not grow with the images. On the way each file is checked to be the object
//! that its name says: a flipped bit must not be what a torrent vouches for.

use std::io::Read as _;

use cairn_store::id::ObjectId;
use cairn_store::progress::Observer;
use rayon::prelude::*;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::{FileTree, Hashes, Layout};
use crate::config::TorrentFormat;
use crate::content::Source;
use crate::error::{Error, Result};

/// How much is read before its pieces are hashed; at least two of the largest.
const BATCH: usize = 32 << 20;
/// The leaves of a file's hash tree have so many bytes (BEP 52).
const BLOCK: usize = 16 << 10;

/// Hashes the files of a layout.
///
/// # Errors
/// A content that is missing, unreadable or not what it was; and an interruption.
pub(crate) fn hash(
    layout: &Layout,
    source: &Source<'_>,
    observer: &dyn Observer,
) -> Result<Hashes> {
    let mut batch = Batch::new(layout);
    for file in &layout.files {
        let mut content = source(&file.file, &file.path)?;
        let mut size = 0;
        let found = ObjectId::of_stream(&mut |buffer: &mut [u8]| {
            if observer.interrupted() {
                return Err(Error::Store(cairn_store::Error::Interrupted));
            }
            let got = content.read(buffer).map_err(|source| {
                let path = file.path.to_string().into();
                cairn_store::Error::Io { op: "read", path, source }
            })?;
            size += got as u64;
            batch.feed(&buffer[..got]);
            observer.advance(0, got as u64);
            Ok(got)
        })?;
        if found != file.file.object || size != file.file.size {
            let found = format!("{} has content that hashes to {found}", file.path);
            let (id, expected) = (file.file.object, file.file.size);
            return Err(cairn_store::Error::Mismatch { id, expected, found }.into());
        }
        batch.end_of_file(file.file.size);
        observer.advance(1, 0);
    }
    Ok(batch.finish())
}

/// What is read and not hashed yet, and what is hashed.
struct Batch {
    piece: usize,
    format: TorrentFormat,
    buffer: Vec<u8>,
    /// When the buffer is full: at the end of a piece.
    full: usize,
    hashes: Hashes,
    /// The pieces of the file that is being read.
    layer: Vec<[u8; 32]>,
}

impl Batch {
    fn new(layout: &Layout) -> Self {
        let piece = usize::try_from(layout.piece_length).expect("pieces have at most 16 MiB");
        let full = piece * (BATCH / piece).max(1);
        // A small release does not need the memory of a large one.
        let room = layout.size().min(full as u64) as usize;
        Self {
            piece,
            format: layout.format,
            buffer: Vec::with_capacity(room),
            full,
            hashes: Hashes { pieces: Vec::new(), trees: Vec::new() },
            layer: Vec::new(),
        }
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(self.full - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            if self.buffer.len() == self.full {
                self.flush(0);
            }
            bytes = later;
        }
    }

    /// Hashes what the buffer has; the last piece is followed by zeros up to `pad_to`.
    fn flush(&mut self, pad_to: usize) {
        let hybrid = self.format == TorrentFormat::Hybrid;
        let hashed = self.buffer.par_chunks(self.piece).map(|piece| {
            let mut sha1 = Sha1::new();
            sha1.update(piece);
            zeros(pad_to.saturating_sub(piece.len()), &mut sha1);
            let tree = hybrid.then(|| leaves(piece));
            (<[u8; 20]>::from(sha1.finalize()), tree)
        });
        let hashed: Vec<_> = hashed.collect();
        for (sha1, leaves) in hashed {
            self.hashes.pieces.extend(sha1);
            if let Some(leaves) = leaves {
                self.layer.push(root(leaves, self.piece / BLOCK));
            }
        }
        self.buffer.clear();
    }

    /// In a hybrid torrent a file ends its piece.
    fn end_of_file(&mut self, size: u64) {
        if self.format == TorrentFormat::V1 {
            return;
        }
        // The tree of a file with one piece ends where the file does, and has no layer. All of it is
        // in the buffer still, which has room for two.
        if size <= self.piece as u64 {
            let tree = (size > 0).then(|| {
                let leaves = leaves(&self.buffer);
                let width = leaves.len().next_power_of_two();
                FileTree { root: root(leaves, width), layer: Vec::new() }
            });
            self.flush(self.piece);
            self.layer.clear();
            self.hashes.trees.push(tree);
            return;
        }
        self.flush(self.piece);
        let layer = std::mem::take(&mut self.layer);
        let width = layer.len().next_power_of_two();
        // Beyond the file's end are pieces of nothing but empty leaves.
        let empty = root(Vec::new(), self.piece / BLOCK);
        let mut padded = layer.clone();
        padded.resize(width, empty);
        let root = root(padded, width);
        self.hashes.trees.push(Some(FileTree { root, layer }));
    }

    fn finish(mut self) -> Hashes {
        if !self.buffer.is_empty() {
            self.flush(0);
        }
        self.hashes
    }
}

fn zeros(mut count: usize, sha1: &mut Sha1) {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    while count > 0 {
        let some = count.min(BLOCK);
        sha1.update(&ZEROS[..some]);
        count -= some;
    }
}

fn leaves(bytes: &[u8]) -> Vec<[u8; 32]> {
    bytes.chunks(BLOCK).map(|block| Sha256::digest(block).into()).collect()
}

/// Returns the root over leaves, filled up with zeros to `width`, a power of two.
fn root(mut level: Vec<[u8; 32]>, width: usize) -> [u8; 32] {
    level.resize(width.max(1), [0; 32]);
    while level.len() > 1 {
        let above = level.chunks_exact(2).map(|pair| {
            let mut sha256 = Sha256::new();
            sha256.update(pair[0]);
            sha256.update(pair[1]);
            sha256.finalize().into()
        });
        level = above.collect();
    }
    level[0]
}
