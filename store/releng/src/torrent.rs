//! Torrents: what a client needs to fetch a directory of files from many others at once.
//!
//! A [`Layout`] says which files, in which order, cut into pieces of which length; hashing it
//! (`pieces`) gives a [`Metainfo`], whose bytes are the `.torrent` file. Files are in the order of
//! their names, so the infohash is the one that mktorrent gives the same directory with the same
//! piece length. The format is BEP 3, with announce tiers of BEP 12; a hybrid one (BEP 52) has what
//! both generations of clients need.
//!
//! Beside what clients read, the file names the objects that it was made from, in a key that
//! they ignore. So a file is known to be up to date without reading the images again, and an image
//! that was made again under its old name is noticed.

use std::collections::BTreeMap;

use cairn_store::id::ObjectId;
use cairn_store::path::RelPath;
use cairn_store::tree::FileEntry;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use crate::config::TorrentFormat;

pub mod bencode;
mod pieces;
#[cfg(test)]
mod tests;

use bencode::Value;
pub(crate) use pieces::hash;

/// The key of what a torrent was made from; no client knows it.
const ORIGIN: &str = "cairn";
/// The smallest and largest piece, in bytes. Clients check and pass on whole pieces.
const MIN_PIECE: u64 = 256 << 10;
const MAX_PIECE: u64 = 16 << 20;
/// A torrent has at most so many pieces, while pieces can grow: some clients refuse torrent files
/// of many hundred kilobytes.
const PIECES: u64 = 4096;

/// A file of a torrent.
#[derive(Clone, Debug)]
pub struct TorrentFile {
    /// Its name in the torrent's directory.
    pub name: String,
    /// Where its content is known from, for errors.
    pub path: RelPath,
    /// The content.
    pub file: FileEntry,
}

/// What is in a torrent, and how it is cut.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The directory that clients make.
    pub name: String,
    /// The files in it, sorted by name, at least one.
    pub files: Vec<TorrentFile>,
    /// Bytes of a piece.
    pub piece_length: u64,
    /// Which generations of clients it is for.
    pub format: TorrentFormat,
}

/// What stands around the part that clients agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Around {
    /// Trackers, each a tier of its own.
    pub trackers: Vec<String>,
    /// A comment; none if it is empty.
    pub comment: String,
    /// When it was made, in seconds since 1970: fixed, so that the same files are the same torrent.
    pub time: i64,
}

/// The hashes of a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashes {
    /// The SHA-1 of every piece, one after the other.
    pub pieces: Vec<u8>,
    /// In a hybrid torrent, the root and layer of every file; of an empty file nothing.
    pub trees: Vec<Option<FileTree>>,
}

/// The hash tree of a file (BEP 52).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileTree {
    /// Its root.
    pub root: [u8; 32],
    /// The roots of its pieces; none if it has only one.
    pub layer: Vec<[u8; 32]>,
}

/// A whole torrent.
#[derive(Clone, Debug)]
pub struct Metainfo {
    bytes: Vec<u8>,
    /// What v1 clients call it by.
    pub infohash: [u8; 20],
    /// What v2 clients call it by; none in a torrent of the first generation.
    pub infohash_v2: Option<[u8; 32]>,
}

impl Metainfo {
    /// Returns the bytes of the `.torrent` file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Returns the length of pieces for so many bytes: the smallest power of two that gives not too
/// many of them.
pub fn piece_length(bytes: u64) -> u64 {
    let mut length = MIN_PIECE;
    while length < MAX_PIECE && bytes.div_ceil(length) > PIECES {
        length *= 2;
    }
    length
}

impl Layout {
    /// Returns the bytes of all files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.file.size).sum()
    }

    /// Returns the torrent.
    pub fn metainfo(&self, around: &Around, hashes: &Hashes) -> Metainfo {
        let mut info = self.info();
        info.insert(b"pieces".to_vec(), Value::Bytes(hashes.pieces.clone()));
        let mut layers = None;
        if self.format == TorrentFormat::Hybrid {
            info.insert(b"file tree".to_vec(), self.file_tree(hashes));
            let layer = |tree: &FileTree| {
                let layer = Value::Bytes(tree.layer.concat());
                (!tree.layer.is_empty()).then(|| (tree.root.to_vec(), layer))
            };
            let found = hashes.trees.iter().flatten().filter_map(layer).collect();
            layers = Some(Value::Dict(found));
        }
        self.assemble(around, Value::Dict(info), layers)
    }

    /// Returns the torrent that a file holds, if that was made of these objects, cut and described
    /// like this.
    pub fn recognise(&self, around: &Around, file: &[u8]) -> Option<Metainfo> {
        let Value::Dict(mut found) = bencode::decode(file).ok()? else { return None };
        let info = found.remove(&b"info"[..])?;
        let layers = found.remove(&b"piece layers"[..]);
        let Value::Dict(entries) = &info else { return None };
        let mut plain = entries.clone();
        plain.remove(&b"pieces"[..])?;
        plain.remove(&b"file tree"[..]);
        if plain != self.info() || (self.format == TorrentFormat::Hybrid) != layers.is_some() {
            return None;
        }
        // Everything else is what we would write, down to the digest of what we hashed.
        let whole = self.assemble(around, info, layers);
        (whole.bytes == file).then_some(whole)
    }

    /// The part that clients agree on, without hashes.
    fn info(&self) -> BTreeMap<Vec<u8>, Value> {
        let mut files = Vec::new();
        for (index, file) in self.files.iter().enumerate() {
            let path = Value::List(vec![Value::text(&file.name)]);
            files.push(Value::dict([("length", Value::Integer(file.file.size)), ("path", path)]));
            let padding = self.padding(index);
            if padding > 0 {
                let names = vec![Value::text(".pad"), Value::text(&padding.to_string())];
                files.push(Value::dict([
                    ("attr", Value::text("p")),
                    ("length", Value::Integer(padding)),
                    ("path", Value::List(names)),
                ]));
            }
        }
        let mut info = BTreeMap::from([
            (b"files".to_vec(), Value::List(files)),
            (b"name".to_vec(), Value::text(&self.name)),
            (b"piece length".to_vec(), Value::Integer(self.piece_length)),
        ]);
        if self.format == TorrentFormat::Hybrid {
            info.insert(b"meta version".to_vec(), Value::Integer(2));
        }
        info
    }

    /// Returns how many zeros follow a file, so that the next one begins a piece: in a hybrid
    /// torrent a piece belongs to one file. The last one is filled up too, as libtorrent does it.
    fn padding(&self, index: usize) -> u64 {
        match self.format {
            TorrentFormat::V1 => 0,
            TorrentFormat::Hybrid => {
                let size = self.files[index].file.size;
                size.next_multiple_of(self.piece_length) - size
            }
        }
    }

    fn file_tree(&self, hashes: &Hashes) -> Value {
        let files = self.files.iter().zip(&hashes.trees).map(|(file, tree)| {
            let mut about = BTreeMap::from([(b"length".to_vec(), Value::Integer(file.file.size))]);
            if let Some(tree) = tree {
                about.insert(b"pieces root".to_vec(), Value::Bytes(tree.root.to_vec()));
            }
            let about = Value::Dict(BTreeMap::from([(Vec::new(), Value::Dict(about))]));
            (file.name.clone().into_bytes(), about)
        });
        Value::Dict(files.collect())
    }

    fn assemble(&self, around: &Around, info: Value, layers: Option<Value>) -> Metainfo {
        let encoded = info.encode();
        let (infohash, sha256) = (Sha1::digest(&encoded).into(), Sha256::digest(&encoded).into());
        // The layers are not part of what the infohash covers, but of what we vouch for.
        let mut hashed = Sha256::new();
        hashed.update(&encoded);
        hashed.update(layers.as_ref().map(Value::encode).unwrap_or_default());
        let object = |file: &TorrentFile| {
            (file.name.clone().into_bytes(), Value::text(&file.file.object.to_string()))
        };
        let origin = Value::dict([
            ("hashed", Value::Bytes(hashed.finalize().to_vec())),
            ("objects", Value::Dict(self.files.iter().map(object).collect())),
        ]);
        let time = u64::try_from(around.time).unwrap_or(0);
        let mut whole = BTreeMap::from([
            (b"info".to_vec(), info),
            (ORIGIN.into(), origin),
            (b"created by".to_vec(), Value::text("cairn")),
            (b"creation date".to_vec(), Value::Integer(time)),
        ]);
        if let Some(first) = around.trackers.first() {
            whole.insert(b"announce".to_vec(), Value::text(first));
            let tier = |tracker: &String| Value::List(vec![Value::text(tracker)]);
            let tiers = around.trackers.iter().map(tier).collect();
            whole.insert(b"announce-list".to_vec(), Value::List(tiers));
        }
        if !around.comment.is_empty() {
            whole.insert(b"comment".to_vec(), Value::text(&around.comment));
        }
        whole.extend(layers.map(|layers| (b"piece layers".to_vec(), layers)));
        Metainfo {
            bytes: Value::Dict(whole).encode(),
            infohash,
            infohash_v2: (self.format == TorrentFormat::Hybrid).then_some(sha256),
        }
    }

    /// Returns the objects that are read.
    pub fn objects(&self) -> impl Iterator<Item = ObjectId> + '_ {
        self.files.iter().map(|file| file.file.object)
    }
}
