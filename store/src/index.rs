//! The index: what the log and the packs say, in a form that is quick to ask.
//!
//! `index.redb` is derived. It may be deleted at any time; the next command reads the log again.
//! It is opened in redb's multi-process mode, so readers answer while a writer commits, and every
//! write is one short transaction. Only the inode cache holds something that the log does not
//! know, and losing that costs time and nothing else.

mod file;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use redb::{
    ConcurrencyMode, Database, DatabaseError, ReadOnlyDatabase, ReadTransaction, ReadableDatabase,
    ReadableTable, TableDefinition, WriteTransaction,
};

use self::file::IndexFile;
use crate::error::{Error, Result};
use crate::fs::{Time, create_database, open_database};
use crate::id::{ObjectId, OperationId, PackId, SnapshotId};
use crate::log::{Collected, Head, Operation};
use crate::pack::{Listing, NodeId, Place};
use crate::refs::RefName;

/// Bumped when a table changes its shape: an index of another version is rebuilt.
const VERSION: u64 = 4;
/// How much of the index redb may keep in memory, in bytes. Nobody comes back to a page after long:
/// nodes are few, and files are asked for and remembered in the order of the table.
const CACHE: usize = 8 << 20;

const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
/// ref → snapshot, operation number.
const REFS: TableDefinition<&str, (&[u8; 32], u64)> = TableDefinition::new("refs");
/// (ref, operation number) → snapshot, or nothing where the ref was removed.
const HISTORY: TableDefinition<(&str, u64), Option<&[u8; 32]>> = TableDefinition::new("history");
/// tree → pack, offset, length.
const TREES: TableDefinition<&[u8; 32], (u32, u64, u32)> = TableDefinition::new("trees");
/// snapshot → pack, offset, length.
const SNAPSHOTS: TableDefinition<&[u8; 32], (u32, u64, u32)> = TableDefinition::new("snapshots");
/// pack's number in this index → pack.
const PACKS: TableDefinition<u32, &[u8; 32]> = TableDefinition::new("packs");
/// snapshot that was collected → the operation that did it.
const COLLECTED: TableDefinition<&[u8; 32], u64> = TableDefinition::new("collected");
/// (device, inode) → an [`Inode`] in fixed layout.
const INODES: TableDefinition<(u64, u64), &[u8; INODE_LEN]> = TableDefinition::new("inodes");
/// object and digest's name → digest.
const DIGESTS: TableDefinition<(&[u8; 32], &str), &[u8]> = TableDefinition::new("digests");

const INODE_LEN: usize = 92;

/// What is remembered of a file of a compose: enough to know it again without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Time,
    /// Change time, after everything that we did to the inode ourselves.
    pub ctime: Time,
    /// The content.
    pub object: ObjectId,
    /// The pool that holds the object, by the first bytes of the mount's id.
    pub pool: u64,
    /// A hash of the file's first and last bytes, by which it is known again when only its
    /// change time moved.
    pub sample: [u8; 16],
    /// How many names it had: with more than these, a new one is what moved its change time.
    pub links: u32,
}

impl Inode {
    fn encode(&self) -> [u8; INODE_LEN] {
        let mut out = [0; INODE_LEN];
        out[0..8].copy_from_slice(&self.size.to_le_bytes());
        out[8..16].copy_from_slice(&self.mtime.secs.to_le_bytes());
        out[16..20].copy_from_slice(&self.mtime.nanos.to_le_bytes());
        out[20..28].copy_from_slice(&self.ctime.secs.to_le_bytes());
        out[28..32].copy_from_slice(&self.ctime.nanos.to_le_bytes());
        out[32..64].copy_from_slice(self.object.as_bytes());
        out[64..72].copy_from_slice(&self.pool.to_le_bytes());
        out[72..88].copy_from_slice(&self.sample);
        out[88..92].copy_from_slice(&self.links.to_le_bytes());
        out
    }

    fn decode(dev: u64, ino: u64, bytes: &[u8; INODE_LEN]) -> Self {
        fn at<const N: usize>(bytes: &[u8; INODE_LEN], offset: usize) -> [u8; N] {
            let mut out = [0; N];
            out.copy_from_slice(&bytes[offset..offset + N]);
            out
        }
        let time = |offset| Time {
            secs: i64::from_le_bytes(at(bytes, offset)),
            nanos: u32::from_le_bytes(at(bytes, offset + 8)),
        };
        Self {
            dev,
            ino,
            size: u64::from_le_bytes(at(bytes, 0)),
            mtime: time(8),
            ctime: time(20),
            object: ObjectId::from_bytes(at(bytes, 32)),
            pool: u64::from_le_bytes(at(bytes, 64)),
            sample: at(bytes, 72),
            links: u32::from_le_bytes(at(bytes, 88)),
        }
    }
}

enum Handle {
    Write(Database),
    Read(ReadOnlyDatabase),
}

/// An open index.
pub struct Index {
    handle: Handle,
}

/// One transaction that reads; it sees one state of the index however long it lives.
pub struct View {
    txn: ReadTransaction,
}

fn damaged(error: impl std::fmt::Display) -> Error {
    Error::corrupt("index.redb", error.to_string())
}

/// Tells a disk that is full or failing from an index that is damaged: the one is an answer of the
/// system, and building the index anew on such a disk would only lose it.
fn answered(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Io(source) if !is_of_content(&source) => {
            Error::Io { op: "use", path: "index.redb".into(), source }
        }
        error @ redb::Error::PreviousIo => {
            let source = std::io::Error::other(error.to_string());
            Error::Io { op: "use", path: "index.redb".into(), source }
        }
        error => damaged(error),
    }
}

/// What redb says of a file that is not one of its own.
fn is_of_content(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
}

fn open_read_only(
    builder: &redb::Builder,
    path: &Path,
) -> std::result::Result<ReadOnlyDatabase, DatabaseError> {
    builder.open_read_only_with_backend(IndexFile(open_database(path)?))
}

impl Index {
    /// Opens an index, or creates an empty one.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the file is not a sound index of this version; the caller
    /// removes it and builds it again.
    pub fn open(path: &Path) -> Result<Self> {
        // redb documents that opening an altered file may panic; here that is a damaged index.
        let opened = std::panic::catch_unwind(|| Self::open_database(path))
            .unwrap_or_else(|_| Err(damaged("opening it failed badly")));
        let index = opened?;
        index.check_version()?;
        Ok(index)
    }

    /// Opens an index that is there, only to read, and never creates, repairs or rebuilds one.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Corrupt`] where that is not possible.
    pub fn open_to_read(path: &Path) -> Result<Self> {
        let open = || {
            let mut builder = redb::Builder::new();
            builder.set_cache_size(CACHE).set_concurrency_mode(ConcurrencyMode::MultiWriter);
            open_read_only(&builder, path).map_err(damaged)
        };
        let database = std::panic::catch_unwind(open)
            .unwrap_or_else(|_| Err(damaged("opening it failed badly")))?;
        let index = Self { handle: Handle::Read(database) };
        index.check_version()?;
        Ok(index)
    }

    fn open_database(path: &Path) -> Result<Self> {
        let mut builder = redb::Builder::new();
        builder.set_cache_size(CACHE).set_concurrency_mode(ConcurrencyMode::MultiWriter);
        let created = create_database(path)
            .map_err(DatabaseError::from)
            .and_then(|file| builder.create_with_backend(IndexFile(file)));
        match created {
            Ok(database) => Ok(Self { handle: Handle::Write(database) }),
            // A reader without write permission may still ask.
            Err(redb::DatabaseError::Storage(redb::StorageError::Io(error)))
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                let database = open_read_only(&builder, path).map_err(|source| Error::Io {
                    op: "open index",
                    path: path.to_owned(),
                    source: std::io::Error::other(source),
                })?;
                Ok(Self { handle: Handle::Read(database) })
            }
            Err(redb::DatabaseError::Storage(redb::StorageError::Io(error)))
                if is_of_content(&error) =>
            {
                Err(damaged(error))
            }
            Err(redb::DatabaseError::Storage(redb::StorageError::Io(source))) => {
                Err(Error::Io { op: "open index", path: path.to_owned(), source })
            }
            Err(error) => Err(answered(error)),
        }
    }

    fn check_version(&self) -> Result<()> {
        let view = self.view()?;
        match view.meta("version")? {
            Some(bytes) if bytes == VERSION.to_le_bytes() => Ok(()),
            Some(_) => Err(damaged("it was written by another version")),
            None => match &self.handle {
                Handle::Write(_) => self.create_tables(),
                Handle::Read(_) => Err(damaged("it is empty")),
            },
        }
    }

    fn create_tables(&self) -> Result<()> {
        self.write(|txn| {
            txn.open_table(REFS).map_err(answered)?;
            txn.open_table(HISTORY).map_err(answered)?;
            txn.open_table(TREES).map_err(answered)?;
            txn.open_table(SNAPSHOTS).map_err(answered)?;
            txn.open_table(PACKS).map_err(answered)?;
            txn.open_table(COLLECTED).map_err(answered)?;
            txn.open_table(INODES).map_err(answered)?;
            txn.open_table(DIGESTS).map_err(answered)?;
            let mut meta = txn.open_table(META).map_err(answered)?;
            meta.insert("version", VERSION.to_le_bytes().as_slice()).map_err(answered)?;
            Ok(())
        })
    }

    /// Starts to read.
    pub fn view(&self) -> Result<View> {
        let txn = match &self.handle {
            Handle::Write(database) => database.begin_read(),
            Handle::Read(database) => database.begin_read(),
        };
        Ok(View { txn: txn.map_err(answered)? })
    }

    fn write(&self, work: impl FnOnce(&WriteTransaction) -> Result<()>) -> Result<()> {
        let Handle::Write(database) = &self.handle else {
            return Err(damaged("it may only be read by this user"));
        };
        let txn = database.begin_write().map_err(answered)?;
        work(&txn)?;
        txn.commit().map_err(answered)
    }

    /// Returns whether this process may write.
    pub fn is_writable(&self) -> bool {
        matches!(self.handle, Handle::Write(_))
    }

    /// Takes in operations that follow what the index knows, and files that were read.
    ///
    /// Operations that it knows already are skipped: another process may have been faster. A
    /// pack without contents is one that a later operation has collected.
    pub fn advance(
        &self,
        operations: &[(OperationId, Operation)],
        contents: &[(PackId, Listing)],
        inodes: &[Inode],
    ) -> Result<()> {
        self.write(|txn| {
            let mut meta = txn.open_table(META).map_err(answered)?;
            let mut known = match meta.get("head").map_err(answered)? {
                Some(bytes) => decode_head(bytes.value())?.map_or(0, |head| head.number),
                None => 0,
            };
            let contents: HashMap<_, _> = contents.iter().map(|(id, list)| (id, list)).collect();
            for (id, operation) in operations {
                if operation.number != known + 1 {
                    continue;
                }
                if let Some(collected) = &operation.collected {
                    collect(txn, operation.number, collected)?;
                }
                for pack in &operation.packs {
                    if let Some(places) = contents.get(pack) {
                        add_pack(txn, pack, places)?;
                    }
                }
                add_operation(txn, operation)?;
                known = operation.number;
                let mut head = [0; 40];
                head[..8].copy_from_slice(&known.to_le_bytes());
                head[8..].copy_from_slice(id.as_bytes());
                meta.insert("head", head.as_slice()).map_err(answered)?;
            }
            let mut table = txn.open_table(INODES).map_err(answered)?;
            for inode in inodes {
                table.insert((inode.dev, inode.ino), &inode.encode()).map_err(answered)?;
            }
            Ok(())
        })
    }

    /// Forgets everything that is remembered of objects: files that have this content, digests.
    pub fn forget_objects(&self, gone: &dyn Fn(&ObjectId) -> bool) -> Result<()> {
        self.write(|txn| {
            forget_inodes(txn, gone)?;
            let mut digests = txn.open_table(DIGESTS).map_err(answered)?;
            digests.retain(|(object, _), _| !gone(&ObjectId::from_bytes(*object))).map_err(answered)
        })
    }

    /// Forgets every file that was read.
    pub fn forget_inodes(&self) -> Result<()> {
        self.write(|txn| forget_inodes(txn, &|_| true))
    }

    /// Remembers digests of objects under a name such as `sha256`.
    pub fn add_digests(&self, name: &str, digests: &[(ObjectId, Vec<u8>)]) -> Result<()> {
        self.write(|txn| {
            let mut table = txn.open_table(DIGESTS).map_err(answered)?;
            for (object, digest) in digests {
                table.insert((object.as_bytes(), name), digest.as_slice()).map_err(answered)?;
            }
            Ok(())
        })
    }
}

fn add_pack(txn: &WriteTransaction, pack: &PackId, places: &Listing) -> Result<()> {
    let mut packs = txn.open_table(PACKS).map_err(answered)?;
    let mut trees = txn.open_table(TREES).map_err(answered)?;
    let mut snapshots = txn.open_table(SNAPSHOTS).map_err(answered)?;
    let number = packs.last().map_err(answered)?.map_or(0, |(number, _)| number.value() + 1);
    packs.insert(number, pack.as_bytes()).map_err(answered)?;
    for (id, place) in places {
        let value = (number, place.offset, place.len);
        match id {
            NodeId::Tree(id) => trees.insert(id.as_bytes(), value).map_err(answered)?,
            NodeId::Snapshot(id) => snapshots.insert(id.as_bytes(), value).map_err(answered)?,
        };
    }
    Ok(())
}

fn forget_inodes(txn: &WriteTransaction, gone: &dyn Fn(&ObjectId) -> bool) -> Result<()> {
    let mut inodes = txn.open_table(INODES).map_err(answered)?;
    inodes
        .retain(|(dev, ino), bytes| !gone(&Inode::decode(dev, ino, bytes).object))
        .map_err(answered)
}

/// Takes packs out, with every node that is known to be in them. A node that is still needed is
/// in a pack of the operation that collects, which is added after this.
fn collect(txn: &WriteTransaction, operation: u64, collected: &Collected) -> Result<()> {
    let mut packs = txn.open_table(PACKS).map_err(answered)?;
    let gone: HashSet<&[u8; 32]> = collected.packs.iter().map(PackId::as_bytes).collect();
    let mut numbers = HashSet::new();
    packs
        .retain(|number, pack| {
            let keep = !gone.contains(pack);
            if !keep {
                numbers.insert(number);
            }
            keep
        })
        .map_err(answered)?;
    // An index that is built anew never took them in.
    if !numbers.is_empty() {
        for table in [TREES, SNAPSHOTS] {
            let mut table = txn.open_table(table).map_err(answered)?;
            table.retain(|_, (number, ..)| !numbers.contains(&number)).map_err(answered)?;
        }
    }
    let mut table = txn.open_table(COLLECTED).map_err(answered)?;
    for snapshot in &collected.snapshots {
        table.insert(snapshot.as_bytes(), operation).map_err(answered)?;
    }
    Ok(())
}

fn add_operation(txn: &WriteTransaction, operation: &Operation) -> Result<()> {
    let mut refs = txn.open_table(REFS).map_err(answered)?;
    let mut history = txn.open_table(HISTORY).map_err(answered)?;
    for edit in &operation.edits {
        let name = edit.name.as_str();
        let new = edit.new.as_ref().map(SnapshotId::as_bytes);
        match new {
            Some(new) => drop(refs.insert(name, (new, operation.number)).map_err(answered)?),
            None => drop(refs.remove(name).map_err(answered)?),
        }
        history.insert((name, operation.number), new).map_err(answered)?;
    }
    Ok(())
}

fn decode_head(bytes: &[u8]) -> Result<Option<Head>> {
    let (number, id) = bytes.split_first_chunk::<8>().ok_or_else(|| damaged("head is short"))?;
    let id = <[u8; 32]>::try_from(id).map_err(|_| damaged("head is short"))?;
    Ok(Some(Head { number: u64::from_le_bytes(*number), id: OperationId::from_bytes(id) }))
}

/// What a ref names and since which operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefState {
    /// The ref.
    pub name: RefName,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The operation that moved it here.
    pub operation: u64,
}

impl View {
    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>> {
        match self.txn.open_table(META) {
            Ok(table) => Ok(table.get(key).map_err(answered)?.map(|value| value.value().to_vec())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(answered(error)),
        }
    }

    /// Returns the last operation that the index knows.
    pub fn head(&self) -> Result<Option<Head>> {
        self.meta("head")?.map_or(Ok(None), |bytes| decode_head(&bytes))
    }

    /// Returns what a ref names.
    pub fn get_ref(&self, name: &RefName) -> Result<Option<RefState>> {
        let table = self.txn.open_table(REFS).map_err(answered)?;
        let found = table.get(name.as_str()).map_err(answered)?;
        Ok(found.map(|value| {
            let (id, operation) = value.value();
            RefState { name: name.clone(), snapshot: SnapshotId::from_bytes(*id), operation }
        }))
    }

    /// Returns every ref, by name.
    pub fn refs(&self) -> Result<Vec<RefState>> {
        let table = self.txn.open_table(REFS).map_err(answered)?;
        let mut refs = Vec::new();
        for row in table.iter().map_err(answered)? {
            let (name, value) = row.map_err(answered)?;
            let (id, operation) = value.value();
            refs.push(RefState {
                name: RefName::new(name.value()).map_err(damaged)?,
                snapshot: SnapshotId::from_bytes(*id),
                operation,
            });
        }
        Ok(refs)
    }

    /// Returns the operations that moved a ref and what it named after each, newest first.
    pub fn history(&self, name: &RefName) -> Result<Vec<(u64, Option<SnapshotId>)>> {
        let table = self.txn.open_table(HISTORY).map_err(answered)?;
        let range = (name.as_str(), 0)..=(name.as_str(), u64::MAX);
        let mut moves = Vec::new();
        for row in table.range(range).map_err(answered)?.rev() {
            let (key, value) = row.map_err(answered)?;
            moves.push((key.value().1, value.value().map(|id| SnapshotId::from_bytes(*id))));
        }
        Ok(moves)
    }

    /// Returns where a node is.
    pub fn node(&self, id: &NodeId) -> Result<Option<(PackId, Place)>> {
        self.places()?.get(id)
    }

    /// Returns a reader of where nodes are.
    pub fn places(&self) -> Result<Places> {
        Ok(Places {
            trees: self.txn.open_table(TREES).map_err(answered)?,
            snapshots: self.txn.open_table(SNAPSHOTS).map_err(answered)?,
            packs: self.txn.open_table(PACKS).map_err(answered)?,
        })
    }

    /// Returns the operation that collected a snapshot, if one did and it has not come back.
    pub fn collector(&self, id: &SnapshotId) -> Result<Option<u64>> {
        let table = self.txn.open_table(COLLECTED).map_err(answered)?;
        Ok(table.get(id.as_bytes()).map_err(answered)?.map(|number| number.value()))
    }

    /// Returns the operations that collected snapshots, in order.
    pub fn collectors(&self) -> Result<BTreeSet<u64>> {
        let table = self.txn.open_table(COLLECTED).map_err(answered)?;
        let rows = table.iter().map_err(answered)?;
        rows.map(|row| Ok(row.map_err(answered)?.1.value())).collect()
    }

    /// Returns every snapshot that the store has, in the order of their ids.
    pub fn snapshots(&self) -> Result<Vec<SnapshotId>> {
        let table = self.txn.open_table(SNAPSHOTS).map_err(answered)?;
        let rows = table.iter().map_err(answered)?;
        rows.map(|row| Ok(SnapshotId::from_bytes(*row.map_err(answered)?.0.value()))).collect()
    }

    /// Returns every pack that the index knows.
    pub fn packs(&self) -> Result<BTreeSet<PackId>> {
        let table = self.txn.open_table(PACKS).map_err(answered)?;
        let rows = table.iter().map_err(answered)?;
        rows.map(|row| Ok(PackId::from_bytes(*row.map_err(answered)?.1.value()))).collect()
    }

    /// Returns every ref that was ever moved, by name.
    pub fn ever_named(&self) -> Result<Vec<RefName>> {
        let table = self.txn.open_table(HISTORY).map_err(answered)?;
        let mut names: Vec<RefName> = Vec::new();
        for row in table.iter().map_err(answered)? {
            let (key, _) = row.map_err(answered)?;
            let name = key.value().0;
            if names.last().is_none_or(|last| last.as_str() != name) {
                names.push(RefName::new(name).map_err(damaged)?);
            }
        }
        Ok(names)
    }

    /// Returns up to two snapshots whose id begins with these hex digits, of those that the store
    /// has, or of those that were collected.
    pub fn snapshots_with_prefix(&self, prefix: &str) -> Result<Vec<SnapshotId>> {
        let here = self.prefixed(SNAPSHOTS, prefix)?;
        match here.is_empty() {
            true => self.prefixed(COLLECTED, prefix),
            false => Ok(here),
        }
    }

    fn prefixed<V: redb::Value + 'static>(
        &self,
        table: TableDefinition<&'static [u8; 32], V>,
        prefix: &str,
    ) -> Result<Vec<SnapshotId>> {
        let table = self.txn.open_table(table).map_err(answered)?;
        let low = format!("{prefix:0<64}");
        let high = format!("{prefix:f<64}");
        let (Some(low), Some(high)) = (SnapshotId::from_hex(&low), SnapshotId::from_hex(&high))
        else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        let range = low.as_bytes()..=high.as_bytes();
        for row in table.range::<&[u8; 32]>(range).map_err(answered)?.take(2) {
            found.push(SnapshotId::from_bytes(*row.map_err(answered)?.0.value()));
        }
        Ok(found)
    }

    /// Returns a reader of the inode cache.
    pub fn inodes(&self) -> Result<Inodes> {
        Ok(Inodes { table: self.txn.open_table(INODES).map_err(answered)? })
    }

    /// Returns a reader of the digests of one name.
    pub fn digests(&self, name: &'static str) -> Result<Digests> {
        Ok(Digests { table: self.txn.open_table(DIGESTS).map_err(answered)?, name })
    }
}

/// The digests of one name, open for many questions.
pub struct Digests {
    table: redb::ReadOnlyTable<(&'static [u8; 32], &'static str), &'static [u8]>,
    name: &'static str,
}

impl Digests {
    /// Returns the digest of an object, if it was ever computed.
    pub fn get(&self, object: &ObjectId) -> Result<Option<Vec<u8>>> {
        let found = self.table.get((object.as_bytes(), self.name)).map_err(answered)?;
        Ok(found.map(|value| value.value().to_vec()))
    }
}

/// Where nodes are, open for many questions.
pub struct Places {
    trees: redb::ReadOnlyTable<&'static [u8; 32], (u32, u64, u32)>,
    snapshots: redb::ReadOnlyTable<&'static [u8; 32], (u32, u64, u32)>,
    packs: redb::ReadOnlyTable<u32, &'static [u8; 32]>,
}

impl Places {
    /// Returns where a node is.
    pub fn get(&self, id: &NodeId) -> Result<Option<(PackId, Place)>> {
        let (table, raw) = match id {
            NodeId::Tree(id) => (&self.trees, id.as_bytes()),
            NodeId::Snapshot(id) => (&self.snapshots, id.as_bytes()),
        };
        let Some(value) = table.get(raw).map_err(answered)? else { return Ok(None) };
        let (number, offset, len) = value.value();
        let pack = self.packs.get(number).map_err(answered)?;
        let pack = pack.ok_or_else(|| damaged("a node is in a pack that it does not list"))?;
        Ok(Some((PackId::from_bytes(*pack.value()), Place { offset, len })))
    }
}

/// The inode cache, open for many questions.
pub struct Inodes {
    table: redb::ReadOnlyTable<(u64, u64), &'static [u8; INODE_LEN]>,
}

impl Inodes {
    /// Returns what is remembered of a file.
    pub fn get(&self, dev: u64, ino: u64) -> Result<Option<Inode>> {
        let found = self.table.get((dev, ino)).map_err(answered)?;
        Ok(found.map(|value| Inode::decode(dev, ino, value.value())))
    }

    /// How many files are passed over one by one before the next one is looked for from the root.
    const STRIDE: usize = 64;

    /// Calls `visit` with the place of each of the `wanted` files that is remembered, and with what
    /// is. They are devices and inodes in ascending order: those that lie together are found
    /// together, and a page of the index is read once and not once for each of its files.
    pub fn each(&self, wanted: &[(u64, u64)], visit: &mut dyn FnMut(usize, Inode)) -> Result<()> {
        let Some(first) = wanted.first() else { return Ok(()) };
        let mut rows = self.table.range(*first..).map_err(answered)?;
        let mut row = rows.next().transpose().map_err(answered)?;
        for (place, key) in wanted.iter().enumerate() {
            let mut passed = 0;
            while row.as_ref().is_some_and(|(found, _)| found.value() < *key) {
                if passed == Self::STRIDE {
                    rows = self.table.range(*key..).map_err(answered)?;
                }
                row = rows.next().transpose().map_err(answered)?;
                passed += 1;
            }
            match &row {
                Some((found, value)) if found.value() == *key => {
                    visit(place, Inode::decode(key.0, key.1, value.value()));
                }
                Some(_) => {}
                None => break,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inode(dev: u64, ino: u64) -> Inode {
        Inode {
            dev,
            ino,
            size: 3,
            mtime: Time { secs: -4, nanos: 5 },
            ctime: Time { secs: 6, nanos: 7 },
            object: ObjectId::of(b"8"),
            pool: 9,
            sample: [10; 16],
            links: 11,
        }
    }

    #[test]
    fn an_inode_reads_back_as_it_was_written() {
        let inode = inode(1, 2);
        assert_eq!(Inode::decode(1, 2, &inode.encode()), inode);
    }

    #[test]
    fn files_that_are_asked_for_together_are_found_as_one_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open(&dir.path().join("index.redb")).unwrap();
        // Neighbours, a gap that is longer than the stride, and another device.
        let inos = (1..400).filter(|ino| ino % 3 != 0).chain(1000..1002);
        let kept: Vec<Inode> =
            inos.flat_map(|ino| [inode(1, ino), inode(7, ino)]).chain([inode(9, 5)]).collect();
        index.advance(&[], &[], &kept).unwrap();
        let inodes = index.view().unwrap().inodes().unwrap();
        let all: Vec<(u64, u64)> =
            (0..10).flat_map(|dev| (0..1100).map(move |ino| (dev, ino))).collect();
        for step in [1, 2, 70, 399, 5000] {
            let wanted: Vec<_> = all.iter().copied().step_by(step).collect();
            let mut found = Vec::new();
            let mut take = |place: usize, inode: Inode| found.push((wanted[place], inode));
            inodes.each(&wanted, &mut take).unwrap();
            let has = |key: &(u64, u64)| kept.iter().find(|one| (one.dev, one.ino) == *key);
            let one_by_one: Vec<_> =
                wanted.iter().filter_map(|key| Some((*key, *has(key)?))).collect();
            assert_eq!(found, one_by_one, "every {step}th");
        }
        inodes.each(&[], &mut |_, _| panic!("nothing was asked for")).unwrap();
    }
}
