//! The store: log, packs, index and mounts together; what every verb starts from.
//!
//! On disk: `format` (the superblock), `log/`, `packs/`, `locks/`, `index.redb` (derived).
//! Opening reads what other processes have logged since the index was written. A [`Writer`] holds
//! the locks of the refs that a verb will move and is the only way to append to the log.
//! Power loss: what [`Writer::commit`] has returned is on disk; before that nothing has happened.

mod opening;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use crate::cache::Cache;
use crate::error::{Error, MountFault, Result};
use crate::fault::{self, CrashPoint};
use crate::fs::{self, Dir, LockKind};
use crate::hang;
use crate::id::{PackId, SnapshotId, TreeId};
use crate::index::{Index, Places, RefState, View};
use crate::lock::{self, HeldLock, Lock, Locks};
use crate::log::{Head, Log, Operation};
use crate::mount::{Mount, MountSpec};
use crate::pack::{NodeId, Packs, Place};
use crate::path::RelPath;
use crate::progress::Watcher;
use crate::refs::{RefName, Rev};
use crate::snapshot::Snapshot;
use crate::tree::{Entry, Node, Nodes, Tree, lookup};
pub(crate) use opening::INDEX;
use opening::{SUPERBLOCK, Superblock, catch_up, open_index, read_superblock};

pub use opening::check_superblock;
pub use writer::{Committed, Proposal, Writer};

/// How much of the trees that were read is kept decoded, in bytes. What changes of a release of 200,000
/// files takes half of it in one version; what differs between two is remembered by the draft.
const TREE_CACHE: usize = 32 << 20;

/// Who runs what: written into locks and operations.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// The command line.
    pub command: Vec<String>,
    /// What `-m` said.
    pub reason: Option<String>,
    /// How long to wait for a lock.
    pub lock_wait: Duration,
    /// Who is told when that takes a while, or an index is built anew.
    pub watcher: Watcher,
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
    cache: Mutex<Cache<TreeId, Tree>>,
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
            let block = Superblock::new()?;
            for name in [&b"log"[..], b"packs", b"locks"] {
                root.make_dir(name, 0o750)?;
            }
            root.replace(SUPERBLOCK, &block.encode(), 0o444)?;
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
        let cache = Mutex::new(Cache::new(TREE_CACHE));
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
            fault: MountFault::Wrong("the configuration has no such mount".into()),
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
            locks.push(take(&lock::of_ref(name), &name.to_string(), LockKind::Exclusive)?);
        }
        // What others logged while this command waited.
        self.catch_up()?;
        Ok(Writer::new(self, refs, locks))
    }

    /// Takes the whole store: while this lives nobody else writes to it or to its pools.
    ///
    /// # Errors
    /// [`Error::Busy`] with who began to write last, when somebody writes for longer than `wait`.
    pub fn sole_writer(&self, wait: Duration) -> Result<Writer<'_>> {
        let lock = self.lock("store", "the store", wait)?;
        self.catch_up()?;
        Ok(Writer::new(self, Vec::new(), vec![lock]))
    }

    /// Takes in what others logged since the index was last written. Who logs writes the index too,
    /// but that may fail, and it may be another index by now: one that was rebuilt.
    pub(crate) fn catch_up(&self) -> Result<()> {
        self.forget_places();
        catch_up(&self.index, &self.log, &self.packs, &self.session.watcher).map(drop)
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
        let watcher = &self.session.watcher;
        let lock = Lock::take(&self.locks, name, what, kind, wait, &command, watcher)?;
        Ok(self.held.add(lock))
    }

    /// Returns the locks that are held at the moment. Whoever is about to do what cannot be undone
    /// asks them first whether they still are.
    pub fn held(&self) -> &Locks {
        &self.held
    }

    /// Returns the locks of the store that somebody on this machine holds, whoever that is.
    ///
    /// # Errors
    /// A directory of locks that cannot be read.
    pub fn held_locks(&self) -> Result<Vec<HeldLock>> {
        lock::held(&self.locks)
    }

    /// Removes what killed processes left in the log's and the packs' directories. Returns how
    /// many files that were.
    pub fn recover(&self) -> Result<usize> {
        Ok(self.log.dir().remove_dead_temps()? + self.packs.dir().remove_dead_temps()?)
    }
}

impl Nodes for Store {
    fn tree(&self, id: &TreeId) -> Result<Arc<Tree>> {
        let tree = match self.node(id)? {
            Node::Tree(tree) => return Ok(tree),
            Node::Read(bytes) => Tree::decode(&bytes),
            Node::Fresh(bytes) => Tree::decode(&bytes),
        };
        let corrupt = |reason| Error::corrupt(format!("tree {id}"), reason);
        let tree = Arc::new(tree.map_err(corrupt)?);
        locked(&self.cache).insert(*id, tree.clone());
        Ok(tree)
    }

    fn node(&self, id: &TreeId) -> Result<Node> {
        if let Some(tree) = locked(&self.cache).get(id) {
            return Ok(Node::Tree(tree));
        }
        // The empty tree needs no pack.
        if *id == *EMPTY {
            return Ok(Node::Tree(Arc::default()));
        }
        self.read_node(&NodeId::Tree(*id), || format!("tree {id}")).map(Node::Read)
    }
}

/// The id of the empty tree.
static EMPTY: LazyLock<TreeId> = LazyLock::new(|| TreeId::of(&Tree::default().encode()));

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it holds a lock of the store")
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
        fault: MountFault::Wrong("it does not exist or cannot be read".into()),
    }
}
