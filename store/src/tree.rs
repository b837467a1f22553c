//! Trees: one directory as a sorted list of entries, named by the BLAKE3 of its canonical bytes.
//!
//! The layout of those bytes is docs/format.md §3. Encoding is canonical: one tree has one byte
//! sequence, and [`Tree::decode`] refuses every other, so equal directories have equal ids and
//! whole subtrees compare in one step. Each directory entry carries how many files and bytes are
//! below it; a release's size is known without walking it.
//!
//! Bytes and the tree that they make stand in one file, because what makes bytes canonical must be
//! read beside what makes use of it.

mod compare;
mod draft;

use std::sync::Arc;

use crate::cache::Weight;
use crate::error::{Error, Result, shown};
use crate::fs::Time;
use crate::id::{ObjectId, TreeId};
use crate::path::{RelPath, any_name_fault, name_fault};

/// The version byte of the canonical encoding.
const VERSION: u8 = 1;
/// Where an entry's kind byte says what it is.
const KIND_FILE: u8 = 1;
const KIND_DIR: u8 = 2;
const KIND_SYMLINK: u8 = 3;
/// How many bytes of an entry are before its name: kind, mode, time, and how long the name is.
const FIXED: usize = 1 + 2 + 8 + 4 + 1;
/// The longest symbolic link target (PATH_MAX without its NUL).
const TARGET_MAX: usize = 4095;

pub use compare::Differences;
pub(crate) use compare::{Pair, merge};
pub use draft::{Draft, Fresh};

/// A regular file in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// The content.
    pub object: ObjectId,
    /// Its size in bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// Modification time.
    pub mtime: Time,
}

/// A directory in a tree, or the root of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The directory's entries.
    pub tree: TreeId,
    /// Permission bits.
    pub mode: u32,
    /// Modification time.
    pub mtime: Time,
    /// How many files and symbolic links are below, at any depth.
    pub files: u64,
    /// The sum of their sizes in bytes.
    pub bytes: u64,
}

/// A symbolic link in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SymlinkEntry {
    /// Where it points; never followed.
    pub target: Box<[u8]>,
    /// Modification time.
    pub mtime: Time,
}

/// What a name in a directory stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A regular file.
    File(FileEntry),
    /// A directory.
    Dir(DirEntry),
    /// A symbolic link.
    Symlink(SymlinkEntry),
}

impl Entry {
    /// Returns the modification time.
    pub fn mtime(&self) -> Time {
        match self {
            Entry::File(file) => file.mtime,
            Entry::Dir(dir) => dir.mtime,
            Entry::Symlink(link) => link.mtime,
        }
    }

    /// Returns the directory, if it is one.
    pub fn as_dir(&self) -> Option<&DirEntry> {
        match self {
            Entry::Dir(dir) => Some(dir),
            Entry::File(_) | Entry::Symlink(_) => None,
        }
    }

    /// Returns how many files and symbolic links this entry brings.
    pub fn files(&self) -> u64 {
        match self {
            Entry::File(_) | Entry::Symlink(_) => 1,
            Entry::Dir(dir) => dir.files,
        }
    }

    /// Returns how many bytes of content this entry brings.
    pub fn bytes(&self) -> u64 {
        match self {
            Entry::File(file) => file.size,
            Entry::Dir(dir) => dir.bytes,
            Entry::Symlink(_) => 0,
        }
    }
}

/// One directory: names in ascending byte order, each once.
///
/// All names stand in one buffer: a release is read as some hundred thousand entries, and an
/// allocation for each would cost more than reading them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    names: Vec<u8>,
    slots: Vec<Slot>,
}

/// An entry, and where its name is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    start: u32,
    len: u8,
    entry: Entry,
}

/// The entries of a tree, in the order of their names.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'t> {
    names: &'t [u8],
    slots: &'t [Slot],
}

/// Iterates over the entries of a tree.
#[derive(Clone, Debug)]
pub struct EntriesIter<'t> {
    names: &'t [u8],
    slots: std::slice::Iter<'t, Slot>,
}

impl Slot {
    fn name<'t>(&self, names: &'t [u8]) -> &'t [u8] {
        &names[self.start as usize..][..usize::from(self.len)]
    }
}

impl<'t> Entries<'t> {
    /// Returns how many there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Returns the entry at a place below [`Entries::len`], with its name.
    pub fn at(&self, index: usize) -> (&'t [u8], &'t Entry) {
        let slot = &self.slots[index];
        (slot.name(self.names), &slot.entry)
    }

    /// Iterates over names and entries.
    pub fn iter(&self) -> EntriesIter<'t> {
        EntriesIter { names: self.names, slots: self.slots.iter() }
    }
}

impl<'t> IntoIterator for Entries<'t> {
    type Item = (&'t [u8], &'t Entry);
    type IntoIter = EntriesIter<'t>;

    fn into_iter(self) -> EntriesIter<'t> {
        self.iter()
    }
}

impl<'t> Iterator for EntriesIter<'t> {
    type Item = (&'t [u8], &'t Entry);

    fn next(&mut self) -> Option<Self::Item> {
        self.slots.next().map(|slot| (slot.name(self.names), &slot.entry))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.slots.size_hint()
    }
}

impl DoubleEndedIterator for EntriesIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.slots.next_back().map(|slot| (slot.name(self.names), &slot.entry))
    }
}

impl ExactSizeIterator for EntriesIter<'_> {}

/// A tree that is being made of entries that come in the order of their names.
#[derive(Debug, Default)]
pub(crate) struct TreeBuilder {
    tree: Tree,
}

impl TreeBuilder {
    /// Starts with room for so many entries.
    pub fn with_capacity(count: usize) -> Self {
        let (names, slots) = (Vec::with_capacity(count * 32), Vec::with_capacity(count));
        Self { tree: Tree { names, slots } }
    }

    /// Adds an entry behind all others. The caller has the name from a tree, where it was checked.
    pub fn push(&mut self, name: &[u8], entry: Entry) {
        debug_assert_eq!(name_fault(name), None);
        debug_assert!(self.tree.slots.last().is_none_or(|s| s.name(&self.tree.names) < name));
        let start = u32::try_from(self.tree.names.len());
        let start = start.expect("a tree's names are part of what fits the u32 of a pack");
        let len = u8::try_from(name.len()).expect("a checked name has at most 255 bytes");
        self.tree.names.extend_from_slice(name);
        self.tree.slots.push(Slot { start, len, entry });
    }

    /// Returns the tree.
    pub fn finish(self) -> Tree {
        self.tree
    }
}

impl Tree {
    /// Makes a tree of entries in any order.
    ///
    /// # Errors
    /// A name that is no name, or that occurs twice.
    pub fn new(mut entries: Vec<(Box<[u8]>, Entry)>) -> Result<Self> {
        entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let mut tree = TreeBuilder::with_capacity(entries.len());
        let mut last: Option<Box<[u8]>> = None;
        for (name, entry) in entries {
            if let Some(fault) = name_fault(&name) {
                return Err(Error::corrupt(format!("name {:?}", shown(&name)), fault));
            }
            if last.as_ref() == Some(&name) {
                return Err(Error::corrupt(format!("name {:?}", shown(&name)), "occurs twice"));
            }
            tree.push(&name, entry);
            last = Some(name);
        }
        Ok(tree.finish())
    }

    /// Makes a tree of entries that come in the order of their names.
    ///
    /// # Errors
    /// As [`Tree::new`], and names out of order.
    pub fn of_sorted<'n>(
        entries: impl ExactSizeIterator<Item = (&'n [u8], Entry)>,
    ) -> Result<Self> {
        let mut tree = TreeBuilder::with_capacity(entries.len());
        let mut last: &[u8] = b"";
        for (name, entry) in entries {
            let fault =
                name_fault(name).or((last >= name).then_some("is not greater than the last"));
            if let Some(fault) = fault {
                return Err(Error::corrupt(format!("name {:?}", shown(name)), fault));
            }
            tree.push(name, entry);
            last = name;
        }
        Ok(tree.finish())
    }

    /// Returns the entries.
    pub fn entries(&self) -> Entries<'_> {
        Entries { names: &self.names, slots: &self.slots }
    }

    /// Returns whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Returns the entry with this name.
    pub fn get(&self, name: &[u8]) -> Option<&Entry> {
        let index = self.slots.binary_search_by(|slot| slot.name(&self.names).cmp(name)).ok()?;
        Some(&self.slots[index].entry)
    }

    /// Returns the canonical bytes (docs/format.md §3).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(5 + self.slots.len() * 64 + self.names.len());
        out.push(VERSION);
        out.extend_from_slice(&(self.slots.len() as u32).to_le_bytes());
        for (name, entry) in self.entries() {
            let (kind, mode) = match entry {
                Entry::File(file) => (KIND_FILE, file.mode),
                Entry::Dir(dir) => (KIND_DIR, dir.mode),
                Entry::Symlink(_) => (KIND_SYMLINK, 0o777),
            };
            out.push(kind);
            out.extend_from_slice(&(mode as u16).to_le_bytes());
            let mtime = entry.mtime();
            out.extend_from_slice(&mtime.secs.to_le_bytes());
            out.extend_from_slice(&mtime.nanos.to_le_bytes());
            out.push(name.len() as u8);
            out.extend_from_slice(name);
            match entry {
                Entry::File(file) => {
                    out.extend_from_slice(&file.size.to_le_bytes());
                    out.extend_from_slice(file.object.as_bytes());
                }
                Entry::Dir(dir) => {
                    out.extend_from_slice(&dir.files.to_le_bytes());
                    out.extend_from_slice(&dir.bytes.to_le_bytes());
                    out.extend_from_slice(dir.tree.as_bytes());
                }
                Entry::Symlink(link) => {
                    out.extend_from_slice(&(link.target.len() as u16).to_le_bytes());
                    out.extend_from_slice(&link.target);
                }
            }
        }
        out
    }

    /// Reads canonical bytes, and refuses bytes that [`Tree::encode`] would not have written.
    ///
    /// # Errors
    /// The reason as a phrase.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Self, &'static str> {
        let mut input = Decoder::new(bytes)?;
        let mut tree = Tree { names: Vec::new(), slots: Vec::with_capacity(input.left) };
        // Of a file, all but the name takes 64 bytes; a few links more or less do not matter.
        tree.names.reserve(bytes.len().saturating_sub(input.left * 64));
        while let Some((name, entry)) = input.next()? {
            let start = u32::try_from(tree.names.len()).map_err(|_| "the names are too long")?;
            tree.names.extend_from_slice(name);
            tree.slots.push(Slot { start, len: name.len() as u8, entry });
        }
        if any_name_fault(&tree.names, tree.entries().iter().map(|(name, _)| name)) {
            return Err(BAD_NAME);
        }
        Ok(tree)
    }
}

/// Why a tree with a name that is none is refused.
const BAD_NAME: &str = "an entry has a name that no directory can hold";

/// Reads canonical bytes entry by entry. Whether a name can be one is left to who takes it: many at
/// once are judged at much less cost.
struct Decoder<'a> {
    input: Reader<'a>,
    /// How many entries are to come.
    left: usize,
    last: &'a [u8],
}

impl<'a> Decoder<'a> {
    fn new(bytes: &'a [u8]) -> std::result::Result<Self, &'static str> {
        let mut input = Reader(bytes);
        if input.u8()? != VERSION {
            return Err("unknown version of the tree encoding");
        }
        let left = input.u32()? as usize;
        // A lying count cannot reserve much.
        if left > bytes.len() / FIXED {
            return Err("more entries announced than there are bytes");
        }
        Ok(Self { input, left, last: b"" })
    }

    fn next(&mut self) -> std::result::Result<Option<(&'a [u8], Entry)>, &'static str> {
        let Some(left) = self.left.checked_sub(1) else {
            return match self.input.0.is_empty() {
                true => Ok(None),
                false => Err("bytes follow the last entry"),
            };
        };
        self.left = left;
        let (name, entry) = self.input.entry()?;
        // The first one is greater than none, unless it is empty: no name either way.
        if self.last >= name {
            return Err("entries are not in ascending order, or one has no name");
        }
        self.last = name;
        Ok(Some((name, entry)))
    }

    /// Passes over the entries that both have next, byte for byte, and looks at nothing but where
    /// they end.
    fn pass_common(&mut self, other: &mut Self) {
        let common = &self.input.0[..common_prefix(self.input.0, other.input.0)];
        let (mut rest, most) = (common, self.left.min(other.left));
        for _ in 0..most {
            let Some((name, after)) = past_entry(rest) else { break };
            rest = after;
            for side in [&mut *self, &mut *other] {
                side.left -= 1;
                side.last = name;
            }
        }
        let passed = common.len() - rest.len();
        self.input.0 = &self.input.0[passed..];
        other.input.0 = &other.input.0[passed..];
    }
}

/// Returns the name of the entry that these bytes begin with, and what follows it; nothing if the
/// bytes end in it, or if it is none.
fn past_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(FIXED)?;
    let (name, rest) = rest.split_at_checked(usize::from(head[FIXED - 1]))?;
    let body = match head[0] {
        KIND_FILE => 8 + 32,
        KIND_DIR => 8 + 8 + 32,
        KIND_SYMLINK => 2 + usize::from(u16::from_le_bytes(*rest.first_chunk()?)),
        _ => return None,
    };
    Some((name, rest.get(body..)?))
}

/// Returns how many bytes two byte strings have in common at their beginnings.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    const WIDE: usize = 64;
    let wide = a.chunks_exact(WIDE).zip(b.chunks_exact(WIDE)).take_while(|(a, b)| a == b).count();
    let at = wide * WIDE;
    at + a[at..].iter().zip(&b[at..]).take_while(|(a, b)| a == b).count()
}

impl Weight for Tree {
    fn weight(&self) -> usize {
        self.names.capacity() + self.slots.capacity() * size_of::<Slot>()
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> std::result::Result<&'a [u8], &'static str> {
        let (head, rest) = self.0.split_at_checked(len).ok_or("the bytes end in an entry")?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> std::result::Result<[u8; N], &'static str> {
        let (head, rest) = self.0.split_first_chunk().ok_or("the bytes end in an entry")?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> std::result::Result<u8, &'static str> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> std::result::Result<u16, &'static str> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> std::result::Result<u32, &'static str> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> std::result::Result<u64, &'static str> {
        self.array().map(u64::from_le_bytes)
    }

    fn entry(&mut self) -> std::result::Result<(&'a [u8], Entry), &'static str> {
        let kind = self.u8()?;
        let mode = u32::from(self.u16()?);
        let mtime = Time { secs: self.array().map(i64::from_le_bytes)?, nanos: self.u32()? };
        if mode > 0o7777 || mtime.nanos >= 1_000_000_000 {
            return Err("an entry has a mode or a time that no file can have");
        }
        let name_len = self.u8()?;
        let name = self.take(usize::from(name_len))?;
        let entry = match kind {
            KIND_FILE => {
                let size = self.u64()?;
                let object = ObjectId::from_bytes(self.array()?);
                Entry::File(FileEntry { object, size, mode, mtime })
            }
            KIND_DIR => {
                let (files, bytes) = (self.u64()?, self.u64()?);
                let tree = TreeId::from_bytes(self.array()?);
                Entry::Dir(DirEntry { tree, mode, mtime, files, bytes })
            }
            KIND_SYMLINK => {
                let target_len = usize::from(self.u16()?);
                let target = self.take(target_len)?;
                if mode != 0o777 || target.is_empty() || target_len > TARGET_MAX {
                    return Err("a symbolic link has a mode or a target that none can have");
                }
                if target.contains(&0) {
                    return Err("a symbolic link's target contains a NUL byte");
                }
                Entry::Symlink(SymlinkEntry { target: target.into(), mtime })
            }
            _ => return Err("an entry is of unknown kind"),
        };
        Ok((name, entry))
    }
}

/// A directory as it is at hand.
#[derive(Clone, Debug)]
pub enum Node {
    /// Its entries.
    Tree(Arc<Tree>),
    /// Its canonical bytes, as they were read.
    Read(Vec<u8>),
    /// Its canonical bytes, which a draft has.
    Fresh(Arc<[u8]>),
}

/// Where trees are read from.
pub trait Nodes: Sync {
    /// Returns the tree with this id.
    ///
    /// # Errors
    /// A corruption error when it is missing or does not hash to its id.
    fn tree(&self, id: &TreeId) -> Result<Arc<Tree>>;

    /// Returns the directory with this id as it is at hand, for a single look at it.
    ///
    /// # Errors
    /// As [`Nodes::tree`]; bytes may be no tree's all the same.
    fn node(&self, id: &TreeId) -> Result<Node> {
        self.tree(id).map(Node::Tree)
    }

    /// Returns what differs between two directories.
    ///
    /// # Errors
    /// As [`Nodes::tree`], of either.
    fn differences(&self, old: &TreeId, new: &TreeId) -> Result<Arc<Differences>> {
        let (was, is) = (self.node(old)?, self.node(new)?);
        Differences::of_nodes((old, &was), (new, &is)).map(Arc::new)
    }
}

/// Returns what is at `path` below `root`, or nothing.
pub fn lookup(nodes: &dyn Nodes, root: &DirEntry, path: &RelPath) -> Result<Option<Entry>> {
    let mut entry = Entry::Dir(*root);
    for name in path.names() {
        let Entry::Dir(dir) = &entry else { return Ok(None) };
        match nodes.tree(&dir.tree)?.get(name) {
            Some(found) => entry = found.clone(),
            None => return Ok(None),
        }
    }
    Ok(Some(entry))
}

/// Calls `visit` for everything below `dir`, a directory before what is in it, names in order.
/// `visit` answers whether to go into a directory.
pub fn walk(
    nodes: &dyn Nodes,
    dir: &DirEntry,
    prefix: &RelPath,
    visit: &mut dyn FnMut(&RelPath, &Entry) -> Result<bool>,
) -> Result<()> {
    let tree = nodes.tree(&dir.tree)?;
    for (name, entry) in tree.entries() {
        let path = prefix.join(name);
        if visit(&path, entry)?
            && let Entry::Dir(child) = entry
        {
            walk(nodes, child, &path, visit)?;
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Trees that live in a draft only.
    pub(crate) struct NoNodes;

    impl Nodes for NoNodes {
        fn tree(&self, id: &TreeId) -> Result<Arc<Tree>> {
            Err(Error::corrupt(format!("tree {id}"), "is not here"))
        }
    }

    const T: Time = Time { secs: 1_762_000_000, nanos: 5 };

    fn sample() -> Tree {
        let object = ObjectId::of(b"bash");
        Tree::new(vec![
            (
                b"os".as_slice().into(),
                Entry::Dir(DirEntry {
                    tree: TreeId::of(b"x"),
                    mode: 0o755,
                    mtime: T,
                    files: 3,
                    bytes: 9,
                }),
            ),
            (
                b"bash.rpm".as_slice().into(),
                Entry::File(FileEntry { object, size: 4, mode: 0o644, mtime: T }),
            ),
            (
                b"latest".as_slice().into(),
                Entry::Symlink(SymlinkEntry { target: b"os".as_slice().into(), mtime: T }),
            ),
        ])
        .unwrap()
    }

    #[test]
    fn golden_vectors_of_the_format_document() {
        // docs/format.md §3 prints these; a change here is a new format version.
        assert_eq!(crate::id::hex(&Tree::default().encode()), "0100000000");
        assert_eq!(
            TreeId::of(&Tree::default().encode()).to_string(),
            "7ed74c83b4da0231811c852e9ddd3fdc0480119ce63b02f23ad5040552a5883a"
        );
        let header = "0103000000";
        let file = "01a40180fc0569000000000500000008626173682e72706d0400000000000000\
                    8cfe84448947d2973f020e2d22a6e61e6cf21c385ca8719aeec0438f255f2bf5";
        let symlink = "03ff0180fc05690000000005000000066c617465737402006f73";
        let dir = "02ed0180fc0569000000000500000002\
                   6f7303000000000000000900000000000000\
                   af198d1c6ac4f3aa91eb722ba535c9c088be34f8a596a03d6ca363920c2dd36d";
        let all = [header, file, symlink, dir].concat();
        assert_eq!(crate::id::hex(&sample().encode()), all);
        assert_eq!(
            TreeId::of(&sample().encode()).to_string(),
            "d378051be698f30eb48c7eca0831cfdba8ee0536eb0dfb1dc2e822af042edd88"
        );
    }

    #[test]
    fn every_flipped_or_missing_byte_is_noticed() {
        let good = sample().encode();
        let id = TreeId::of(&good);
        for cut in 0..good.len() {
            assert!(Tree::decode(&good[..cut]).is_err(), "cut at {cut}");
        }
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 1;
            assert_ne!(TreeId::of(&bad), id);
            if let Ok(tree) = Tree::decode(&bad) {
                assert_eq!(tree.encode(), bad, "byte {index} is read and not written back");
            }
        }
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        for name in [&b""[..], b".", b"..", b"a/b", b"a\0"] {
            let entry = Entry::Symlink(SymlinkEntry { target: b"t".as_slice().into(), mtime: T });
            assert!(Tree::new(vec![(name.into(), entry)]).is_err());
        }
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let time =
            (any::<i64>(), 0u32..1_000_000_000).prop_map(|(secs, nanos)| Time { secs, nanos });
        (0u8..3, any::<[u8; 32]>(), any::<u64>(), 0u32..0o10000, time, "[^\0]{1,40}").prop_map(
            |(kind, id, size, mode, mtime, target)| match kind {
                0 => Entry::File(FileEntry { object: ObjectId::from_bytes(id), size, mode, mtime }),
                1 => Entry::Dir(DirEntry {
                    tree: TreeId::from_bytes(id),
                    mode,
                    mtime,
                    files: size,
                    bytes: size / 2,
                }),
                _ => Entry::Symlink(SymlinkEntry { target: target.into_bytes().into(), mtime }),
            },
        )
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(entries in prop::collection::btree_map("[^/\0]{1,20}", entry(), 0..20)) {
            let entries = entries
                .into_iter()
                .filter(|(name, _)| name != "." && name != "..")
                .map(|(name, entry)| (name.into_bytes().into_boxed_slice(), entry))
                .collect();
            let tree = Tree::new(entries).unwrap();
            prop_assert_eq!(Tree::decode(&tree.encode()).unwrap(), tree);
        }

        #[test]
        fn decode_never_panics_and_is_canonical(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(tree) = Tree::decode(&bytes) {
                prop_assert_eq!(tree.encode(), bytes);
            }
        }
    }
}
