//! When each path of a view got the content that it has: a pure function of the log.
//!
//! `<pool>/lists/<ref>.times` keeps the answer, so that a publication costs what it changed. It
//! may be deleted or damaged at any time; the ref's history then gives the same times again.
//! Little-endian: `cairntm1`, the root tree (32 bytes), the operation (u64), the root directory's
//! own time (i64), the words (i64 each), BLAKE3 of all that. The words of a directory are a time
//! per entry in the order of its tree, then for each directory among them the number of words
//! that follow for it, and those. A subtree that did not change is one slice, copied unread.

use rayon::prelude::*;

use cairn_store::fs::Dir;
use cairn_store::id::{ObjectId, SnapshotId, TreeId};
use cairn_store::refs::RefName;
use cairn_store::tree::{DirEntry, Entry, Nodes, Tree};
use cairn_store::{Error, Result, Store};

use super::ListedView;

const MAGIC: &[u8; 8] = b"cairntm1";

/// From how many files on directories are shared among threads.
const SHARE: u64 = 4096;

/// An operation that moved a ref, and what the ref named after it.
pub(super) type Publication = (u64, Option<SnapshotId>);

/// The times of one view's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// The root tree that they are for.
    pub tree: TreeId,
    /// The operation that published it.
    pub operation: u64,
    /// The time of the root directory itself.
    pub root: i64,
    /// The times of what is in it.
    pub words: Vec<i64>,
}

/// The times of one directory's entries, and of what is below.
#[derive(Clone, Copy)]
pub(super) struct Block<'t> {
    times: &'t [i64],
    below: &'t [i64],
}

impl<'t> Block<'t> {
    /// Splits the words of a directory.
    pub fn of(words: &'t [i64], tree: &Tree) -> Result<Self> {
        let (times, below) = words.split_at_checked(tree.entries().len()).ok_or_else(misfit)?;
        Ok(Self { times, below })
    }

    /// Returns the time of each entry.
    pub fn times(&self) -> &'t [i64] {
        self.times
    }

    /// Takes the words of the next directory.
    pub fn next_dir(&mut self) -> Result<&'t [i64]> {
        let (len, rest) = self.below.split_first().ok_or_else(misfit)?;
        let len = usize::try_from(*len).map_err(|_| misfit())?;
        let (words, rest) = rest.split_at_checked(len).ok_or_else(misfit)?;
        self.below = rest;
        Ok(words)
    }

    /// Returns the words of every directory among the entries, in their order.
    pub fn dirs(mut self, tree: &Tree) -> Result<Vec<&'t [i64]>> {
        let dirs = tree.entries().iter().filter(|(_, entry)| entry.as_dir().is_some());
        dirs.map(|_| self.next_dir()).collect()
    }
}

fn misfit() -> Error {
    Error::corrupt("times of a mirror list", "they are not of the tree that they name")
}

/// Returns the publications of a view's ref, oldest first, up to the one that is live.
pub(super) fn publications(store: &Store, view: &ListedView) -> Result<Vec<Publication>> {
    let mut moves = store.index().view()?.history(&view.name)?;
    let live = moves.iter().position(|(_, snapshot)| *snapshot == Some(view.snapshot));
    let Some(live) = live else {
        let reason = format!("it never named snapshot {}, which is live", view.snapshot);
        return Err(Error::corrupt(format!("ref {}", view.name), reason));
    };
    moves.drain(..live);
    moves.reverse();
    Ok(moves)
}

/// A view's content after one publication.
struct Point {
    root: DirEntry,
    time: i64,
    words: Vec<i64>,
}

impl Times {
    /// Returns the name of a ref's state file.
    pub fn file_name(name: &RefName) -> Vec<u8> {
        format!("{}.times", name.file_name()).into_bytes()
    }

    /// Returns the times after the last of `publications`, and whether the state file in
    /// `state` says so already.
    pub fn after(
        store: &Store,
        name: &RefName,
        publications: &[Publication],
        state: Option<&Dir>,
    ) -> Result<(Self, bool)> {
        let known = match state {
            Some(dir) => dir.try_read(&Self::file_name(name))?,
            None => None,
        };
        if let Some(known) = known.and_then(|bytes| Self::decode(&bytes))
            && let Ok(at) = publications.binary_search_by_key(&known.operation, |(n, _)| *n)
            && let (_, Some(snapshot)) = publications[at]
            && let Some(snapshot) = store.try_snapshot(&snapshot)?
        {
            let root = snapshot.root();
            let rest = &publications[at + 1..];
            if root.tree == known.tree {
                if rest.is_empty() {
                    return Ok((known, true));
                }
                let point = Point { root, time: known.root, words: known.words };
                match fold(store, Some(point), rest) {
                    // A state that does not fit its tree: the log knows better.
                    Err(Error::Corrupt { .. }) => {}
                    folded => return Ok((Self::at(folded?, rest)?, false)),
                }
            }
        }
        Ok((Self::at(fold(store, None, publications)?, publications)?, false))
    }

    /// Returns times that are never looked at, for a view that no list shows.
    pub fn none(tree: TreeId) -> Self {
        Self { tree, operation: 0, root: 0, words: Vec::new() }
    }

    fn at(point: Option<Point>, publications: &[Publication]) -> Result<Self> {
        match (point, publications.last()) {
            (Some(Point { root, time, words }), Some((operation, _))) => {
                Ok(Self { tree: root.tree, operation: *operation, root: time, words })
            }
            _ => Err(misfit()),
        }
    }

    /// Returns the state file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(88 + self.words.len() * 8);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(self.tree.as_bytes());
        out.extend_from_slice(&self.operation.to_le_bytes());
        out.extend_from_slice(&self.root.to_le_bytes());
        out.extend(self.words.iter().flat_map(|word| word.to_le_bytes()));
        seal(&mut out);
        out
    }

    /// Reads a state file; nothing when it is damaged.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = unseal(bytes)?.strip_prefix(MAGIC)?;
        let (tree, rest) = rest.split_first_chunk::<32>()?;
        let (operation, rest) = rest.split_first_chunk::<8>()?;
        let (root, rest) = rest.split_first_chunk::<8>()?;
        let (words, []) = rest.as_chunks::<8>() else { return None };
        Some(Self {
            tree: TreeId::from_bytes(*tree),
            operation: u64::from_le_bytes(*operation),
            root: i64::from_le_bytes(*root),
            words: words.iter().map(|word| i64::from_le_bytes(*word)).collect(),
        })
    }
}

/// Appends the BLAKE3 of what is there.
pub(super) fn seal(bytes: &mut Vec<u8>) {
    let hash = ObjectId::of(bytes);
    bytes.extend_from_slice(hash.as_bytes());
}

/// Returns what [`seal`] was called on; nothing when a byte differs.
pub(super) fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (rest, hash) = bytes.split_last_chunk::<32>()?;
    (ObjectId::of(rest).as_bytes() == hash).then_some(rest)
}

fn fold(
    store: &Store,
    mut point: Option<Point>,
    publications: &[Publication],
) -> Result<Option<Point>> {
    for (number, snapshot) in publications {
        let Some(snapshot) = snapshot else {
            point = None;
            continue;
        };
        // What was collected cannot be looked at: what came with it counts from the next one on.
        let Some(snapshot) = store.try_snapshot(snapshot)? else { continue };
        let root = snapshot.root();
        if point.as_ref().is_some_and(|point| point.root == root) {
            continue;
        }
        let operation = store.operation(*number)?;
        // What was adopted had been there before: its own times are what mirrors know.
        let now = match operation.verb.as_str() {
            "adopt" => i64::MIN,
            _ => operation.time.as_second(),
        };
        let old = point.as_ref().map(|point| (&point.root.tree, point.words.as_slice()));
        let mut words = Vec::with_capacity(old.map_or(root.files as usize, |(_, w)| w.len()));
        advance(store, old, &root.tree, now, &mut words)?;
        let time = match &point {
            Some(before) if same_dir(&before.root, &root) => before.time,
            Some(_) | None => now.max(root.mtime.secs),
        };
        point = Some(Point { root, time, words });
    }
    Ok(point)
}

/// What a directory held before, and its words; nothing when it was none.
type Inside<'a> = Option<(&'a TreeId, &'a [i64])>;

/// Appends the words of `new`, of which `old` was published before.
fn advance(
    nodes: &dyn Nodes,
    old: Inside<'_>,
    new: &TreeId,
    now: i64,
    out: &mut Vec<i64>,
) -> Result<()> {
    if let Some((tree, words)) = old
        && tree == new
    {
        out.extend_from_slice(words);
        return Ok(());
    }
    let tree = nodes.tree(new)?;
    let before = old.map(|(tree, _)| nodes.tree(tree)).transpose()?.unwrap_or_default();
    let mut block = Block::of(old.map_or(&[], |(_, words)| words), &before)?;
    let mut known = before.entries().iter().zip(block.times()).peekable();
    let mut dirs = Vec::new();
    for (name, entry) in tree.entries() {
        let (mut time, mut inside) = (None, None);
        while let Some(((other, was), at)) = known.next_if(|((other, _), _)| *other <= name) {
            let words = was.as_dir().map(|dir| Ok((&dir.tree, block.next_dir()?))).transpose()?;
            if other == name {
                time = same(was, entry).then_some(*at);
                inside = words;
            }
        }
        out.push(time.unwrap_or_else(|| now.max(entry.mtime().secs)));
        if let Entry::Dir(dir) = entry {
            dirs.push((inside, dir));
        }
    }
    let block = |inside: Inside<'_>, dir: &DirEntry| {
        let mut words = Vec::new();
        advance(nodes, inside, &dir.tree, now, &mut words).map(|()| words)
    };
    let words: Vec<Vec<i64>> = match dirs.iter().map(|(_, dir)| dir.files).sum::<u64>() {
        0..SHARE => dirs.into_iter().map(|(old, dir)| block(old, dir)).collect::<Result<_>>()?,
        _ => dirs.into_par_iter().map(|(old, dir)| block(old, dir)).collect::<Result<_>>()?,
    };
    for words in words {
        out.push(words.len() as i64);
        out.extend_from_slice(&words);
    }
    Ok(())
}

/// Returns whether a row stays what it was; of a directory, whatever is in it.
fn same(old: &Entry, new: &Entry) -> bool {
    match (old, new) {
        (Entry::Dir(old), Entry::Dir(new)) => same_dir(old, new),
        (old, new) => old == new,
    }
}

fn same_dir(old: &DirEntry, new: &DirEntry) -> bool {
    old.mode == new.mode && old.mtime == new.mtime
}
