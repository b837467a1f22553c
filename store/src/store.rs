//! The store: log, packs, index and mounts together; what every verb starts from.
//!
//! On disk: `format` (the superblock), `log/`, `packs/`, `locks/`, `index.redb` (derived).
//! Opening reads what other processes have logged since the index was written. A [`Writer`] holds
//! the locks of the refs that a verb will move and is the only way to append to the log.
//! Power loss: what [`Writer::commit`] has returned is on disk; before that nothing has happened.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cache::TreeCache;
use crate::error::{Error, Result};
use crate::fault::{self, CrashPoint};
use crate::fs::{self, Dir, LockKind, hex_random};
use crate::hang;
use crate::id::{OperationId, PackId, SnapshotId, TreeId};
use crate::index::{Index, Inode, Places, RefState, View};
use crate::lock::{Lock, Locks};
use crate::log::{Append, Collected, Head, Log, Operation, RefEdit};
use crate::mount::{Mount, MountSpec};
use crate::pack::{Listing, NodeId, PackWriter, Packs, Place};
use crate::path::RelPath;
use crate::pool::{Batch, Meta, Pool, Sync};
use crate::refs::{RefName, Rev};
use crate::snapshot::Snapshot;
use crate::tree::{Draft, Entry, Fresh, Nodes, Tree, lookup};

const SUPERBLOCK: &[u8] = b"format";
const INDEX: &str = "index.redb";
/// How much of the trees that were read is kept decoded, in bytes. Planning a release of 200,000
/// files compares three versions of what changed a few times over; they fit.
const TREE_CACHE: usize = 32 << 20;

/// The superblock (docs/format.md §2).
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Superblock {
    cairn: String,
    version: u32,
    id: String,
    /// Features that an older version may ignore.
    compat: Vec<String>,
    /// Features with which an older version may still read.
    ro_compat: Vec<String>,
    /// Features with which an older version must not touch the store.
    incompat: Vec<String>,
}

/// Who runs what: written into locks and operations.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// The command line.
    pub command: Vec<String>,
    /// What `-m` said.
    pub reason: Option<String>,
    /// How long to wait for a lock.
    pub lock_wait: Duration,
}

/// An open store.
pub struct Store {
    root: Dir,
    id: String,
    log: Log,
    packs: Packs,
    index: Index,
    locks: Dir,
    held: Locks,
    specs: BTreeMap<String, MountSpec>,
    session: Session,
    notes: Vec<String>,
    cache: Mutex<TreeCache>,
    /// Where nodes are, as of the last time that one was not found.
    places: Mutex<Option<Arc<Places>>>,
}

impl Store {
    /// Creates a store at `path` and makes every mount one of it; what exists is kept.
    pub fn init(path: &Path, mounts: &[MountSpec], session: Session) -> Result<Self> {
        // Everything that can be refused comes before anything is created.
        reach(path)?;
        for spec in mounts {
            spec.reach()?;
            drop(Dir::open(&spec.path).map_err(|_| missing_mount(spec))?);
            fs::check_parents(&spec.path)?;
        }
        fs::check_parents(path)?;
        fs::make_dirs(path)?;
        let root = Dir::open(path)?;
        if root.try_stat(SUPERBLOCK)?.is_none() {
            root.set_mode(0o750)?;
            let block = Superblock {
                cairn: "store".into(),
                version: 1,
                id: hex_random()?,
                compat: vec![],
                ro_compat: vec![],
                incompat: vec![],
            };
            for name in [&b"log"[..], b"packs", b"locks"] {
                root.make_dir(name, 0o750)?;
            }
            let mut text = serde_json::to_vec_pretty(&block).expect("a superblock is plain data");
            text.push(b'\n');
            root.replace(SUPERBLOCK, &text, 0o444)?;
            fault::hit(CrashPoint::StoreCreated);
        }
        let store = Self::open(path, mounts, session)?;
        for spec in mounts {
            Mount::init(spec, &store.id)?;
        }
        Ok(store)
    }

    /// Opens a store. Mounts are opened when they are asked for.
    pub fn open(path: &Path, mounts: &[MountSpec], session: Session) -> Result<Self> {
        reach(path)?;
        let root = match Dir::open(path) {
            Ok(root) => root,
            Err(error) if error.is_not_found() => return Err(Error::NoStore(path.to_owned())),
            Err(error) => return Err(error),
        };
        let Some(text) = root.try_read(SUPERBLOCK)? else {
            return Err(Error::NoStore(path.to_owned()));
        };
        fs::check_parents(path)?;
        let block = read_superblock(&root.path_of(SUPERBLOCK), &text)?;
        let (log, packs) = (Log::new(root.dir(b"log")?), Packs::new(root.dir(b"packs")?));
        // Locks hold nothing, so a store that was restored without them is whole.
        root.make_dir(b"locks", 0o750).or_else(|error| match root.try_stat(b"locks") {
            Ok(Some(_)) => Ok(false),
            _ => Err(error),
        })?;
        let locks = root.dir(b"locks")?;
        let mut notes = Vec::new();
        let index = open_index(&root, &locks, &log, &packs, &session, &mut notes)?;
        let specs = mounts.iter().map(|spec| (spec.name.clone(), spec.clone())).collect();
        let id = block.id;
        let cache = Mutex::new(TreeCache::new(TREE_CACHE));
        let (places, held) = (Mutex::default(), Locks::default());
        Ok(Self { root, id, log, packs, index, locks, held, specs, session, notes, cache, places })
    }

    /// Returns the store's id, 32 hex digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the store's directory.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// Returns the store's directory, open.
    pub(crate) fn root(&self) -> &Dir {
        &self.root
    }

    /// Returns what opening had to do, as sentences for the operator.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Returns the log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Returns the packs.
    pub fn packs(&self) -> &Packs {
        &self.packs
    }

    /// Returns the index.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Returns who runs what.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Returns the names of the configured mounts.
    pub fn mount_names(&self) -> impl Iterator<Item = &str> {
        self.specs.keys().map(String::as_str)
    }

    /// Opens a mount and makes sure that it is mounted and this store's.
    pub fn mount(&self, name: &str) -> Result<Mount> {
        let spec = self.specs.get(name).ok_or_else(|| Error::Mount {
            name: name.to_owned(),
            path: PathBuf::new(),
            reason: "the configuration has no such mount".into(),
        })?;
        Mount::open(spec, &self.id)
    }

    /// Returns what a ref names, or nothing.
    pub fn get_ref(&self, name: &RefName) -> Result<Option<RefState>> {
        self.index.view()?.get_ref(name)
    }

    /// Returns every ref, by name.
    pub fn refs(&self) -> Result<Vec<RefState>> {
        self.index.view()?.refs()
    }

    /// Returns the snapshot that a revision names.
    pub fn resolve(&self, rev: &Rev) -> Result<SnapshotId> {
        let view = self.index.view()?;
        let unknown =
            |rev: String, reason: &str| Error::UnknownRev { rev, reason: reason.to_owned() };
        match rev {
            Rev::Ref(name) => match view.get_ref(name)? {
                Some(state) => Ok(state.snapshot),
                None => Err(Error::UnknownRef(name.to_string())),
            },
            Rev::Before(name, count) => {
                let moves = view.history(name)?;
                if moves.is_empty() {
                    return Err(Error::UnknownRef(name.to_string()));
                }
                let shown = format!("{name}~{count}");
                match moves.get(*count as usize) {
                    Some((_, Some(id))) => Ok(*id),
                    Some((_, None)) => Err(unknown(shown, "the ref named nothing then")),
                    None => Err(unknown(
                        shown,
                        &format!("the ref has been published {} times", moves.len()),
                    )),
                }
            }
            Rev::At(name, time) => self.resolve_at(&view, name, *time),
            Rev::Snapshot(id) => match view.places()?.get(&NodeId::Snapshot(*id))? {
                Some(_) => Ok(*id),
                None if view.collector(id)?.is_some() => Ok(*id),
                None => Err(unknown(id.to_string(), "there is no such snapshot")),
            },
            Rev::Prefix(prefix) => match view.snapshots_with_prefix(prefix)?.as_slice() {
                [id] => Ok(*id),
                [] => Err(unknown(prefix.clone(), "no snapshot's id begins so")),
                _ => Err(unknown(prefix.clone(), "more than one snapshot's id begins so")),
            },
        }
    }

    fn resolve_at(&self, view: &View, name: &RefName, time: jiff::Timestamp) -> Result<SnapshotId> {
        let moves = view.history(name)?;
        if moves.is_empty() {
            return Err(Error::UnknownRef(name.to_string()));
        }
        for (number, snapshot) in moves {
            let operation = self.operation(number)?;
            if operation.time <= time {
                return snapshot.ok_or_else(|| Error::UnknownRev {
                    rev: format!("{name}@{time}"),
                    reason: "the ref named nothing then".into(),
                });
            }
        }
        Err(Error::UnknownRev {
            rev: format!("{name}@{time}"),
            reason: "the ref did not exist yet".into(),
        })
    }

    /// Returns an operation by its number.
    pub fn operation(&self, number: u64) -> Result<Operation> {
        match self.log.read(number)? {
            Some((_, operation)) => Ok(operation),
            None => Err(Error::corrupt(
                format!("log/{}", crate::log::file_name(number)),
                "the file is missing",
            )),
        }
    }

    /// Returns the last operation.
    pub fn head(&self) -> Result<Option<Head>> {
        self.index.view()?.head()
    }

    /// Returns a snapshot.
    ///
    /// # Errors
    /// [`Error::Collected`] when it was there once.
    pub fn snapshot(&self, id: &SnapshotId) -> Result<Snapshot> {
        let node = NodeId::Snapshot(*id);
        let view = self.index.view()?;
        if view.node(&node)?.is_none()
            && let Some(operation) = view.collector(id)?
        {
            return Err(Error::Collected { id: *id, operation });
        }
        Snapshot::decode(id, &self.read_node(&node, || format!("snapshot {id}"))?)
    }

    /// Returns a snapshot, or nothing if it was collected.
    pub fn try_snapshot(&self, id: &SnapshotId) -> Result<Option<Snapshot>> {
        match self.snapshot(id) {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(Error::Collected { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns what is at `path` in a snapshot.
    pub fn entry(&self, id: &SnapshotId, path: &RelPath) -> Result<Entry> {
        let root = self.snapshot(id)?.root();
        lookup(self, &root, path)?
            .ok_or_else(|| Error::NoSuchPath { path: path.clone(), snapshot: *id })
    }

    fn read_node(&self, id: &NodeId, name: impl Fn() -> String) -> Result<Vec<u8>> {
        let missing = || Error::corrupt(name(), "no pack holds it");
        let (pack, place) = self.place(id)?.ok_or_else(missing)?;
        let read = self.packs.read(&pack, place, id);
        if read.is_err() {
            // A collection may have moved it to another pack since the index was asked.
            self.forget_places();
            let (again, place) = self.place(id)?.ok_or_else(missing)?;
            if again != pack {
                return self.packs.read(&again, place, id);
            }
        }
        read
    }

    /// Returns where a node is, or was when this was last looked up anew: to begin a view of the
    /// index takes longer than to look something up in it, and nodes seldom move.
    fn place(&self, id: &NodeId) -> Result<Option<(PackId, Place)>> {
        let known = locked(&self.places).clone();
        if let Some(known) = known
            && let Some(found) = known.get(id)?
        {
            return Ok(Some(found));
        }
        let places = Arc::new(self.index.view()?.places()?);
        let found = places.get(id)?;
        *locked(&self.places) = Some(places);
        Ok(found)
    }

    /// Lets go of what [`Store::place`] keeps: for as long as somebody reads a view, the index
    /// cannot use its pages again.
    fn forget_places(&self) {
        *locked(&self.places) = None;
    }

    /// Takes the locks that moving these refs needs.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process holds one of them for longer than the session waits.
    pub fn writer(&self, refs: &[RefName]) -> Result<Writer<'_>> {
        self.writer_within(refs, self.session.lock_wait)
    }

    /// Takes the locks that moving these refs needs, waiting for each no longer than this.
    ///
    /// # Errors
    /// As [`Store::writer`].
    pub fn writer_within(&self, refs: &[RefName], wait: Duration) -> Result<Writer<'_>> {
        let take = |name: &str, what: &str, kind| self.take(name, what, kind, wait);
        let mut locks = vec![take("store", "the store", LockKind::Shared)?];
        let mut refs = refs.to_vec();
        refs.sort_unstable();
        refs.dedup();
        for name in &refs {
            let file = format!("ref-{}", name.file_name());
            locks.push(take(&file, &name.to_string(), LockKind::Exclusive)?);
        }
        // What others logged while this command waited.
        catch_up(&self.index, &self.log, &self.packs)?;
        Ok(Writer { store: self, refs, _locks: locks })
    }

    /// Takes the whole store: while this lives nobody else writes to it or to its pools.
    ///
    /// # Errors
    /// [`Error::Busy`] with who began to write last, when somebody writes for longer than `wait`.
    pub fn sole_writer(&self, wait: Duration) -> Result<Writer<'_>> {
        let lock = self.lock("store", "the store", wait)?;
        catch_up(&self.index, &self.log, &self.packs)?;
        Ok(Writer { store: self, refs: Vec::new(), _locks: vec![lock] })
    }

    /// Takes a lock of the store that is no ref's, such as that of a mount's lists.
    ///
    /// # Errors
    /// As [`Store::writer`].
    pub fn lock(&self, name: &str, what: &str, wait: Duration) -> Result<Lock> {
        self.take(name, what, LockKind::Exclusive, wait)
    }

    fn take(&self, name: &str, what: &str, kind: LockKind, wait: Duration) -> Result<Lock> {
        let command = self.session.command.join(" ");
        let lock = Lock::take(&self.locks, name, what, kind, wait, &command)?;
        Ok(self.held.add(lock))
    }

    /// Returns the locks that are held at the moment. Whoever is about to do what cannot be undone
    /// asks them first whether they still are.
    pub fn held(&self) -> &Locks {
        &self.held
    }

    /// Removes what killed processes left in the log's and the packs' directories. Returns how
    /// many files that were.
    pub fn recover(&self) -> Result<usize> {
        Ok(self.log.dir().remove_dead_temps()? + self.packs.dir().remove_dead_temps()?)
    }
}

impl Nodes for Store {
    fn tree(&self, id: &TreeId) -> Result<Arc<Tree>> {
        if let Some(tree) = locked(&self.cache).get(id) {
            return Ok(tree);
        }
        // The empty tree needs no pack.
        if *id == *EMPTY {
            return Ok(Arc::default());
        }
        let bytes = self.read_node(&NodeId::Tree(*id), || format!("tree {id}"))?;
        let tree = Tree::decode(&bytes)
            .map_err(|reason| Error::corrupt(format!("tree {id}"), reason))
            .map(Arc::new)?;
        locked(&self.cache).insert(*id, tree.clone());
        Ok(tree)
    }
}

/// The id of the empty tree.
static EMPTY: LazyLock<TreeId> = LazyLock::new(|| TreeId::of(&Tree::default().encode()));

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it holds a lock of the store")
}

/// What a verb wants to be remembered, before it has a number.
#[derive(Debug, Default)]
pub struct Proposal {
    /// The verb.
    pub verb: String,
    /// The refs that move, with what the plan expected them to name.
    pub edits: Vec<RefEdit>,
    /// New snapshots that the edits name.
    pub snapshots: Vec<Snapshot>,
    /// Packs that are written already.
    pub packs: Vec<(PackId, Listing)>,
    /// What is taken out of the store.
    pub collected: Option<Collected>,
    /// What else to remember.
    pub details: serde_json::Value,
    /// Files that were read, for the inode cache.
    pub inodes: Vec<Vec<Inode>>,
}

/// An operation that has happened.
#[derive(Debug)]
pub struct Committed {
    /// Its id.
    pub id: OperationId,
    /// What the log holds.
    pub operation: Operation,
    /// Why the index does not know it yet, if it does not.
    pub behind: Option<Error>,
}

/// The right to move some refs, for as long as it lives.
#[must_use = "the locks are released when this is dropped"]
pub struct Writer<'s> {
    store: &'s Store,
    refs: Vec<RefName>,
    _locks: Vec<Lock>,
}

impl<'s> Writer<'s> {
    /// Returns whether this is the right to move `name`.
    pub fn holds(&self, name: &RefName) -> bool {
        self.refs.contains(name)
    }

    /// Returns the store.
    pub fn store(&self) -> &'s Store {
        self.store
    }

    /// Brings the files that a draft holds into a pool; when this returns they are on disk there.
    pub fn bring_in(&self, draft: &Draft<'_>, pool: &Pool) -> Result<()> {
        let batch = Batch::new(pool)?;
        for Fresh { entry, bytes } in &draft.contents() {
            let meta = Meta { mode: entry.mode, mtime: entry.mtime };
            batch.place_bytes(entry.object, bytes, meta)?;
        }
        batch.commit(Sync::Now)
    }

    /// Writes the packs that the proposal needs, so that later steps can rely on them.
    fn write_pack(&self, draft: &Draft<'_>, proposal: &Proposal) -> Result<Vec<(PackId, Listing)>> {
        let places = self.store.index.view()?.places()?;
        let mut pack = PackWriter::default();
        let mut known = |id: &TreeId| Ok(places.get(&NodeId::Tree(*id))?.is_some());
        let mut written = std::collections::HashSet::new();
        for snapshot in &proposal.snapshots {
            for (id, canonical) in draft.reachable(&snapshot.root.tree, &mut known)? {
                if written.insert(id) {
                    pack.add(NodeId::Tree(id), &canonical);
                }
            }
            let (id, bytes) = snapshot.encode();
            pack.add(NodeId::Snapshot(id), &bytes);
        }
        if proposal.snapshots.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![pack.finish(&self.store.packs)?])
    }

    /// Appends the operation. When this returns, it has happened and is on disk.
    ///
    /// # Errors
    /// [`Error::Stale`] when a ref no longer names what the proposal expected; then, as after any
    /// other error, nothing has happened.
    pub fn commit(&self, draft: &Draft<'_>, proposal: Proposal) -> Result<Committed> {
        let store = self.store;
        let mut contents = self.write_pack(draft, &proposal)?;
        contents.extend(proposal.packs);
        let mut operation = Operation {
            version: Log::VERSION,
            number: 0,
            parent: None,
            time: jiff::Timestamp::now(),
            host: fs::host(),
            user: fs::user_name(),
            verb: proposal.verb,
            command: store.session.command.clone(),
            reason: store.session.reason.clone(),
            edits: proposal.edits,
            packs: contents.iter().map(|(pack, _)| *pack).collect(),
            collected: proposal.collected,
            details: proposal.details,
        };
        let head = loop {
            catch_up(&store.index, &store.log, &store.packs)?;
            let view = store.index.view()?;
            expect_unmoved(&view, &operation.edits)?;
            let head = view.head()?;
            operation.number = head.map_or(1, |head| head.number + 1);
            operation.parent = head.map(|head| head.id);
            match store.log.append(&operation, &|| store.held.check())? {
                Append::Done(head) => break head,
                Append::Taken => {}
            }
        };
        hang::logged(head.number);
        // From here on it has happened. An index that cannot be written is no failure: the next
        // command takes the operation in.
        let operations = [(head.id, operation)];
        store.forget_places();
        let behind = store.index.advance(&operations, &contents, &proposal.inodes).err();
        fault::hit(CrashPoint::OperationIndexed);
        let [(id, operation)] = operations;
        Ok(Committed { id, operation, behind })
    }

    /// Remembers files that were read although no ref moved.
    pub fn remember(&self, inodes: &[Vec<Inode>]) -> Result<()> {
        match inodes.iter().all(Vec::is_empty) {
            true => Ok(()),
            false => {
                self.store.forget_places();
                self.store.index.advance(&[], &[], inodes)
            }
        }
    }
}

fn expect_unmoved(view: &View, edits: &[RefEdit]) -> Result<()> {
    let shown = |id: Option<SnapshotId>| id.map_or("nothing".into(), |id| id.to_string());
    for edit in edits {
        let found = view.get_ref(&edit.name)?.map(|state| state.snapshot);
        if found != edit.old {
            return Err(Error::Stale {
                name: edit.name.to_string(),
                expected: shown(edit.old),
                found: shown(found),
            });
        }
    }
    Ok(())
}

/// Waits until the file system of a path answers.
fn reach(path: &Path) -> Result<()> {
    let (asked, path) = (path.to_owned(), path.to_owned());
    hang::reach(&hang::Place { mount: None, path, limit: hang::LIMIT }, move || {
        fs::reach(&asked);
        Ok(())
    })
}

fn missing_mount(spec: &MountSpec) -> Error {
    Error::Mount {
        name: spec.name.clone(),
        path: spec.path.clone(),
        reason: "it does not exist or cannot be read".into(),
    }
}

/// Reads a store's superblock and returns the store's id.
///
/// # Errors
/// [`Error::Unsupported`] when this version must not touch the store, or cannot read the file.
pub fn check_superblock(root: &Dir) -> Result<String> {
    let Some(text) = root.try_read(SUPERBLOCK)? else {
        return Err(Error::NoStore(root.path().to_owned()));
    };
    Ok(read_superblock(&root.path_of(SUPERBLOCK), &text)?.id)
}

fn read_superblock(path: &Path, text: &[u8]) -> Result<Superblock> {
    let unsupported = |reason: String| Error::Unsupported { path: path.to_owned(), reason };
    let block: Superblock =
        serde_json::from_slice(text).map_err(|error| unsupported(error.to_string()))?;
    if block.cairn != "store" || block.version != 1 {
        return Err(unsupported(format!("version {} of the format is not known", block.version)));
    }
    // This version knows no feature yet; each is a reason to stop.
    if let Some(feature) = block.incompat.iter().chain(&block.ro_compat).next() {
        return Err(unsupported(format!("the store uses the feature {feature:?}")));
    }
    Ok(block)
}

fn open_index(
    root: &Dir,
    locks: &Dir,
    log: &Log,
    packs: &Packs,
    session: &Session,
    notes: &mut Vec<String>,
) -> Result<Index> {
    let path = root.path().join(INDEX);
    let existed = root.try_stat(INDEX.as_bytes())?.is_some();
    let opened = Index::open(&path).and_then(|index| {
        check_head(&index, log)?;
        Ok(index)
    });
    let why = match opened {
        Ok(index) if existed => {
            if index.is_writable() {
                let was_empty = index.view()?.head()?.is_none();
                let count = catch_up(&index, log, packs)?;
                if was_empty && count > 1 {
                    notes.push(format!(
                        "The index was empty; it was rebuilt from {count} operations."
                    ));
                }
            }
            return Ok(index);
        }
        Ok(index) => {
            let count = catch_up(&index, log, packs)?;
            if count > 0 {
                notes.push(format!(
                    "The index was missing; it was rebuilt from {count} operations."
                ));
            }
            return Ok(index);
        }
        Err(Error::Corrupt { reason, .. }) => reason,
        Err(error) => return Err(error),
    };
    // One process rebuilds; the others wait for it and find a sound index.
    let command = session.command.join(" ");
    let wait = session.lock_wait.max(Duration::from_secs(60));
    let _lock = Lock::take(locks, "index", "the index", LockKind::Exclusive, wait, &command)?;
    let again = Index::open(&path).and_then(|index| {
        check_head(&index, log)?;
        Ok(index)
    });
    if let Ok(index) = again {
        catch_up(&index, log, packs)?;
        return Ok(index);
    }
    root.remove_if_there(INDEX.as_bytes())?;
    let index = Index::open(&path)?;
    let count = catch_up(&index, log, packs)?;
    notes.push(format!("The index was damaged ({why}); it was rebuilt from {count} operations."));
    Ok(index)
}

/// Makes sure that the index is of this log: its last operation is in it, unchanged.
fn check_head(index: &Index, log: &Log) -> Result<()> {
    let Some(head) = index.view()?.head()? else { return Ok(()) };
    match log.read(head.number)? {
        Some((id, _)) if id == head.id => Ok(()),
        Some(_) => Err(Error::corrupt("index.redb", "it is of another log")),
        None => Err(Error::corrupt("index.redb", "it knows operations that the log does not")),
    }
}

/// How many operations a rebuild takes in at once.
const CATCH_UP_BATCH: usize = 256;

/// Takes in what was logged since the index was written; returns how many operations that was.
fn catch_up(index: &Index, log: &Log, packs: &Packs) -> Result<usize> {
    loop {
        let mut head = index.view()?.head()?;
        match take_in(index, log, packs, &mut head) {
            // A pack that is gone may have been collected after the log was read.
            Err(Error::Corrupt { .. }) if log.next(head)?.is_some() => {}
            taken => return taken,
        }
    }
}

fn take_in(index: &Index, log: &Log, packs: &Packs, head: &mut Option<Head>) -> Result<usize> {
    // All of the log comes first: what a later operation collected is not there to be read.
    let mut operations = Vec::new();
    let mut gone: HashMap<PackId, u64> = HashMap::new();
    while let Some((id, operation)) = log.next(*head)? {
        *head = Some(Head { number: operation.number, id });
        if let Some(collected) = &operation.collected {
            gone.extend(collected.packs.iter().map(|pack| (*pack, operation.number)));
        }
        operations.push((id, operation));
    }
    if operations.iter().any(|(_, operation)| operation.collected.is_some()) {
        // Which objects went is not in the log, so nothing that the inode cache says holds.
        index.forget_inodes()?;
    }
    for batch in operations.chunks(CATCH_UP_BATCH) {
        let mut contents = Vec::new();
        for (_, operation) in batch {
            for pack in &operation.packs {
                if gone.get(pack).is_none_or(|by| *by <= operation.number) {
                    contents.push((*pack, packs.scan(pack)?));
                }
            }
        }
        index.advance(batch, &contents, &[])?;
    }
    Ok(operations.len())
}
