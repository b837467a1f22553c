//! Packs: the tree nodes and snapshots that one operation added, in one file.
//!
//! A pack is named by the BLAKE3 of its bytes and never changes. It exists before the operation
//! that mentions it; a pack that no operation mentions is the rest of a crash. Every node is
//! checked against its id when it is read. The layout is docs/format.md §5.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::error::{Error, Result};
use crate::fault::{self, CrashPoint};
use crate::fs::{Dir, OpenFile, Replace};
use crate::id::{ObjectHasher, PackId, SnapshotId, TreeId};

/// The first bytes of every pack.
const MAGIC: &[u8; 8] = b"cairnpk1";
/// kind (1), id (32), length (4).
const HEADER: usize = 37;
const KIND_TREE: u8 = 1;
const KIND_SNAPSHOT: u8 = 2;

/// What a pack holds under one id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeId {
    /// A tree.
    Tree(TreeId),
    /// A snapshot.
    Snapshot(SnapshotId),
}

impl NodeId {
    /// Returns whether these bytes hash to this id.
    pub fn names(&self, bytes: &[u8]) -> bool {
        match self {
            NodeId::Tree(id) => TreeId::of(bytes) == *id,
            NodeId::Snapshot(id) => SnapshotId::of(bytes) == *id,
        }
    }
}

/// What can be read of a pack that may be damaged.
pub struct Salvage {
    /// All its bytes.
    pub bytes: Vec<u8>,
    /// The nodes that hash to their ids.
    pub places: Listing,
    /// The nodes that do not.
    pub damaged: Listing,
    /// Whether the bytes hash to the pack's name; then all of it is sound.
    pub is_sound: bool,
}

/// Where a node's bytes are inside a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Offset of the first byte.
    pub offset: u64,
    /// Number of bytes.
    pub len: u32,
}

/// What a pack holds, in the order of the file.
pub type Listing = Vec<(NodeId, Place)>;

/// A pack that is being made. What has come together goes to a temporary file, so that memory does
/// not hold a second copy of a whole release's trees.
pub struct PackWriter<'p> {
    packs: &'p Packs,
    /// Begun with the first piece.
    file: Option<(Vec<u8>, OpenFile)>,
    /// A pack is named as an object is.
    hasher: ObjectHasher,
    /// What is not in the file yet.
    piece: Vec<u8>,
    len: u64,
    places: Listing,
}

/// How many bytes go to the file at once.
const PIECE: usize = 1 << 20;

impl<'p> PackWriter<'p> {
    /// Begins a pack.
    pub fn new(packs: &'p Packs) -> Self {
        let (hasher, piece, len) = (ObjectHasher::default(), MAGIC.to_vec(), MAGIC.len() as u64);
        Self { packs, file: None, hasher, piece, len, places: Vec::new() }
    }

    /// Adds a node; the caller gives its canonical bytes.
    pub fn add(&mut self, id: NodeId, canonical: &[u8]) -> Result<()> {
        let (kind, raw) = match &id {
            NodeId::Tree(id) => (KIND_TREE, id.as_bytes()),
            NodeId::Snapshot(id) => (KIND_SNAPSHOT, id.as_bytes()),
        };
        self.piece.push(kind);
        self.piece.extend_from_slice(raw);
        self.piece.extend_from_slice(&(canonical.len() as u32).to_le_bytes());
        self.piece.extend_from_slice(canonical);
        let offset = self.len + HEADER as u64;
        self.len = offset + canonical.len() as u64;
        self.places.push((id, Place { offset, len: canonical.len() as u32 }));
        if self.piece.len() >= PIECE { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<()> {
        let (_, file) = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.packs.dir.create_temp()?),
        };
        self.hasher.update(&self.piece);
        file.write_all(&self.piece)?;
        self.piece.clear();
        Ok(())
    }

    /// Returns how many bytes the pack has so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Returns whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Writes the pack durably and returns its name and what is in it.
    pub fn finish(mut self) -> Result<(PackId, Listing)> {
        self.write()?;
        let id = PackId::from_bytes(*self.hasher.finish().as_bytes());
        let name = file_name(&id);
        let packs = &self.packs.dir;
        if packs.try_stat(name.as_bytes())?.is_none()
            && let Some((temp, file)) = &self.file
        {
            file.set_mode(0o440)?;
            file.sync()?;
            packs.rename(temp, packs, name.as_bytes(), Replace::Yes)?;
            self.file = None;
            packs.sync()?;
        }
        fault::hit(CrashPoint::PackWritten);
        Ok((id, std::mem::take(&mut self.places)))
    }
}

impl Drop for PackWriter<'_> {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next command: the lock on it ends here.
        if let Some((temp, _)) = &self.file {
            let _ = self.packs.dir.remove_if_there(temp);
        }
    }
}

/// The store's directory of packs.
pub struct Packs {
    dir: Dir,
    open: Mutex<HashMap<PackId, Arc<OpenFile>>>,
}

impl Packs {
    /// Opens the directory.
    pub fn new(dir: Dir) -> Self {
        Self { dir, open: Mutex::default() }
    }

    /// Returns the directory.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    fn file(&self, pack: &PackId) -> Result<Arc<OpenFile>> {
        let mut open = self.open.lock().expect("no thread panics while it holds this lock");
        if let Some(file) = open.get(pack) {
            return Ok(file.clone());
        }
        let file = Arc::new(self.dir.open_file(file_name(pack).as_bytes()).map_err(|error| {
            match error.is_not_found() {
                true => Error::corrupt(format!("pack {pack}"), "the file is missing"),
                false => error,
            }
        })?);
        open.insert(*pack, file.clone());
        Ok(file)
    }

    /// Reads one node and checks it against its id.
    pub fn read(&self, pack: &PackId, place: Place, id: &NodeId) -> Result<Vec<u8>> {
        let file = self.file(pack)?;
        let fail = |reason: &str| Error::corrupt(format!("pack {pack}"), reason);
        if place.offset.saturating_add(place.len.into()) > file.stat()?.size {
            return Err(fail("the file is shorter than the index says"));
        }
        let mut bytes = vec![0; place.len as usize];
        file.read_exact_at(&mut bytes, place.offset)?;
        if !id.names(&bytes) {
            return Err(fail(&format!("the node {} does not hash to its id", node_hex(id))));
        }
        Ok(bytes)
    }

    /// Reads what can be read of a pack, sound or not, and says of each node whether it is.
    pub fn salvage(&self, pack: &PackId) -> Result<Salvage> {
        Ok(Salvage::of(pack, self.whole(pack)?))
    }

    /// Reads a whole pack, checks its name, and returns what is in it.
    pub fn scan(&self, pack: &PackId) -> Result<Listing> {
        let listing = list(pack, &self.whole(pack)?);
        listing.map_err(|reason| Error::corrupt(format!("pack {pack}"), reason))
    }

    fn whole(&self, pack: &PackId) -> Result<Vec<u8>> {
        let file = self.file(pack)?;
        let mut bytes = vec![0; file.stat()?.size as usize];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// Returns what is in a pack of this name with these bytes, whole nodes or nothing.
///
/// # Errors
/// Why they are not the pack, as the end of a sentence.
pub fn list(pack: &PackId, bytes: &[u8]) -> std::result::Result<Listing, &'static str> {
    if PackId::of(bytes) != *pack {
        return Err("its bytes do not hash to its name");
    }
    let mut rest = bytes.strip_prefix(MAGIC).ok_or("it is not a pack")?;
    let mut places = Vec::new();
    while let Some((header, tail)) = rest.split_first_chunk::<HEADER>() {
        let (kind, raw) = (header[0], &header[1..33]);
        let raw = <[u8; 32]>::try_from(raw).expect("the header holds 32 bytes of id");
        let len = u32::from_le_bytes(header[33..].try_into().expect("and 4 of length"));
        let id = match kind {
            KIND_TREE => NodeId::Tree(TreeId::from_bytes(raw)),
            KIND_SNAPSHOT => NodeId::Snapshot(SnapshotId::from_bytes(raw)),
            _ => return Err("a node is of unknown kind"),
        };
        let offset = (bytes.len() - tail.len()) as u64;
        places.push((id, Place { offset, len }));
        rest = tail.get(len as usize..).ok_or("it ends inside a node")?;
    }
    if rest.is_empty() { Ok(places) } else { Err("it ends inside a header") }
}

impl Salvage {
    /// Finds what can be read in bytes that should be the pack of this name.
    pub fn of(pack: &PackId, bytes: Vec<u8>) -> Self {
        let is_sound = PackId::of(&bytes) == *pack;
        let mut salvage = Self { bytes, places: Vec::new(), damaged: Vec::new(), is_sound };
        let mut at = MAGIC.len();
        while let Some(header) = salvage.bytes.get(at..at.saturating_add(HEADER)) {
            let raw = <[u8; 32]>::try_from(&header[1..33]).expect("the header holds 32 bytes");
            let len = u32::from_le_bytes(header[33..].try_into().expect("and 4 of length"));
            let id = match header[0] {
                KIND_TREE => NodeId::Tree(TreeId::from_bytes(raw)),
                KIND_SNAPSHOT => NodeId::Snapshot(SnapshotId::from_bytes(raw)),
                _ => break,
            };
            let place = Place { offset: (at + HEADER) as u64, len };
            let end = (at + HEADER).saturating_add(len as usize);
            let Some(node) = salvage.bytes.get(at + HEADER..end) else { break };
            match is_sound || id.names(node) {
                true => salvage.places.push((id, place)),
                false => salvage.damaged.push((id, place)),
            }
            at = end;
        }
        salvage
    }
}

/// Returns a pack's file name.
pub fn file_name(id: &PackId) -> String {
    format!("{id}.pack")
}

fn node_hex(id: &NodeId) -> String {
    match id {
        NodeId::Tree(id) => id.to_string(),
        NodeId::Snapshot(id) => id.to_string(),
    }
}
