//! Pools: the directory of objects on one mount, and how content gets in and out.
//!
//! An object is a plain file `objects/ab/cdef…` named by its BLAKE3, with the mode, the time and
//! the owner of the first path that it was published at, so that this path can share its inode.
//! A [`Batch`] brings objects in: temporary files, one sync of the file system, then the names,
//! then another sync. A crash leaves temporary files (removed by the next command) or whole
//! objects, never half of one under its name. Links out of the pool share an inode only where
//! content, mode, time and owner are equal; otherwise the path gets an inode of its own.
//!
//! The ways in and the ways out stand in one long file, because both rest on the same few rules
//! of when bytes, names and inodes are what they seem.

mod mend;

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use rayon::prelude::*;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::fault::{self, CrashPoint};
use crate::fs::{Dir, LockKind, OpenFile, Replace, Stat, Time, random};
use crate::id::{ObjectId, hex};
use crate::path::RelPath;
use crate::progress::Observer;
use crate::tree::FileEntry;

pub use mend::{Copy, QUARANTINE};

/// How many bytes are read at once: what is read, hashed and written stays in a core's own cache.
const CHUNK: usize = 256 << 10;
/// How many bytes of a mapped file are hashed before the operator is asked again.
const MAPPED: usize = 256 << 20;
/// From how many bytes on the disk is set to work on a copy at once: it writes while more is made,
/// and the sync in the end has little left to wait for.
const LARGE: u64 = 1 << 20;
/// How many sibling inodes an object may have; at 63 links each (the lowest limit that we have
/// seen) this is still more names than a release has for one content.
const MAX_SIBLINGS: u32 = 100_000;

/// How a path on a mount gets its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LinkMode {
    /// Reflink where the file system can, else hard link where that is safe, else copy.
    #[default]
    Auto,
    /// Reflink, else copy.
    Reflink,
    /// Hard link where that is safe, else reflink, else copy.
    Hardlink,
    /// Copy.
    Copy,
}

/// What was done to give a path its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It shares the pool's inode.
    Hardlink,
    /// It shares the pool's blocks.
    Reflink,
    /// It has its own bytes.
    Copy,
}

/// Mode and time of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits.
    pub mode: u32,
    /// Modification time.
    pub mtime: Time,
}

/// The objects of one mount.
#[derive(Debug)]
pub struct Pool {
    root: Dir,
    objects: Dir,
    tmp: Dir,
    /// The first bytes of the mount's id, for the inode cache.
    tag: u64,
    owner: Option<(u32, u32)>,
    mode: LinkMode,
    /// Whether the mount can reflink, as `init` found.
    reflinks: bool,
    /// Whether a link from another pool was refused; then the next need not be tried.
    apart: AtomicBool,
}

impl Pool {
    /// Creates a pool's directories below `root`; what exists is kept.
    pub fn create(root: &Dir) -> Result<()> {
        root.make_dir(b"objects", 0o700)?;
        root.make_dir(b"tmp", 0o700)?;
        let objects = root.dir(b"objects")?;
        for prefix in 0..=255u8 {
            objects.make_dir(hex(&[prefix]).as_bytes(), 0o700)?;
        }
        objects.sync()?;
        root.sync()
    }

    /// Opens the pool below `root`.
    pub fn open(
        root: Dir,
        tag: u64,
        owner: Option<(u32, u32)>,
        mode: LinkMode,
        reflinks: bool,
    ) -> Result<Self> {
        let objects = root.dir(b"objects")?;
        let tmp = root.dir(b"tmp")?;
        let apart = AtomicBool::new(false);
        Ok(Self { root, objects, tmp, tag, owner, mode, reflinks, apart })
    }

    /// Returns the pool's directory.
    pub fn root(&self) -> &Dir {
        &self.root
    }

    /// Returns the directory of objects.
    pub(crate) fn objects(&self) -> &Dir {
        &self.objects
    }

    /// Returns the first bytes of the mount's id as a number.
    pub fn tag(&self) -> u64 {
        self.tag
    }

    /// Returns the owner that files of this mount get, if one is set.
    pub fn owner(&self) -> Option<(u32, u32)> {
        self.owner
    }

    /// Returns whether a file that is on this filesystem already would come in by a hard link.
    pub fn links_in(&self) -> bool {
        match self.mode {
            LinkMode::Auto => !self.reflinks,
            LinkMode::Hardlink => true,
            LinkMode::Reflink | LinkMode::Copy => false,
        }
    }

    /// Returns whether content can share blocks here, so that it takes no space.
    pub fn reflinks(&self) -> bool {
        self.reflinks && self.mode != LinkMode::Copy
    }

    /// Returns what the pool's file for an object looks like, or nothing.
    pub fn stat(&self, id: &ObjectId) -> Result<Option<Stat>> {
        self.objects.try_stat(&name_of(id))
    }

    /// Returns whether there is no object; a pool that lacks a directory of them is not empty.
    fn is_empty(&self) -> Result<bool> {
        for prefix in 0..=255u8 {
            let names = match self.objects.dir(hex(&[prefix]).as_bytes()) {
                Ok(dir) => dir.names()?,
                Err(error) if error.is_not_found() => return Ok(false),
                Err(error) => return Err(error),
            };
            // What begins with a dot is on its way in, and may be here at any moment anyway.
            if names.iter().any(|name| !name.starts_with(b".")) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Opens an object's file for reading.
    pub fn open_object(&self, id: &ObjectId) -> Result<OpenFile> {
        self.objects.open_file(&name_of(id)).map_err(|error| match error.is_not_found() {
            true => self.missing(id, &RelPath::ROOT),
            false => error,
        })
    }

    /// Returns the error for an object that should be here and is not.
    pub(crate) fn missing(&self, id: &ObjectId, path: &RelPath) -> Error {
        Error::MissingObject { id: *id, pool: self.root.path().to_owned(), path: path.clone() }
    }

    /// Removes what batches of killed processes left. Returns how many there were.
    pub fn recover(&self) -> Result<usize> {
        let temps = self.tmp.remove_dead_temps()?;
        let mut dead = Vec::new();
        let names = self.tmp.names()?;
        for name in &names {
            let Some(token) = name.strip_prefix(b"batch-") else { continue };
            // For writing, because NFS locks nothing for its holder alone that is open to be read.
            let Ok(marker) = self.tmp.append(name) else { continue };
            if marker.try_lock(LockKind::Exclusive)? && self.tmp.is_named(name, &marker)? {
                dead.push((token.to_vec(), name.clone(), marker));
            }
        }
        if dead.is_empty() {
            return Ok(temps);
        }
        let of_dead = |name: &[u8]| dead.iter().any(|(token, ..)| name.starts_with(token));
        for name in names.iter().filter(|name| of_dead(name)) {
            self.tmp.remove_if_there(name)?;
        }
        for prefix in 0..=255u8 {
            let dir = self.objects.dir(hex(&[prefix]).as_bytes())?;
            for name in dir.names()? {
                if name.strip_prefix(b".").is_some_and(of_dead) {
                    dir.remove_if_there(&name)?;
                }
            }
        }
        for (_, name, _marker) in &dead {
            self.tmp.remove_if_there(name)?;
        }
        Ok(temps + dead.len())
    }

    /// Gives `name` in `dir` the content, mode, time and owner of `file`. `share` says whether
    /// an inode may be shared with the pool at all.
    ///
    /// # Errors
    /// [`Error::MissingObject`] naming `path`, a mismatch found while copying, or the system's.
    pub fn place(
        &self,
        dir: &Dir,
        name: &[u8],
        file: &FileEntry,
        share: Share,
        path: &dyn Fn() -> RelPath,
        observer: &dyn Observer,
    ) -> Result<Placed> {
        let meta = Meta { mode: file.mode, mtime: file.mtime };
        if file.size == 0 && file.object.is_empty_file() {
            self.finish(&self.begin(dir, name, meta)?, meta)?;
            return Ok(Placed::Copy);
        }
        let Some(stat) = self.stat(&file.object)? else {
            return Err(self.missing(&file.object, &path()));
        };
        if stat.size != file.size {
            return Err(Error::Mismatch {
                id: file.object,
                expected: file.size,
                found: format!("found {} bytes in the pool", stat.size),
            });
        }
        let same = stat.mode == meta.mode
            && stat.mtime == meta.mtime
            && self.owner.is_none_or(|owner| owner == (stat.uid, stat.gid));
        let reflink_first = match self.mode {
            LinkMode::Auto | LinkMode::Reflink => self.reflinks,
            LinkMode::Hardlink | LinkMode::Copy => false,
        };
        let may_link = match self.mode {
            LinkMode::Auto | LinkMode::Hardlink => share == Share::Allowed && same,
            LinkMode::Reflink | LinkMode::Copy => false,
        };
        if !reflink_first
            && may_link
            && self.link_out(dir, name, &file.object, stat.size, observer)?
        {
            return Ok(Placed::Hardlink);
        }
        let source = self.open_object(&file.object)?;
        let mut target = self.begin(dir, name, meta)?;
        if self.reflinks() && target.reflink_from(&source).is_ok() {
            self.finish(&target, meta)?;
            return Ok(Placed::Reflink);
        }
        copy_verified(source, &mut target, &file.object, file.size, observer)?;
        self.finish(&target, meta)?;
        Ok(Placed::Copy)
    }

    /// Creates a file that will have these attributes when it is finished. It has the mode at once
    /// where it has the owner: to change a mode takes ten times as long as to ask for it.
    fn begin(&self, dir: &Dir, name: &[u8], meta: Meta) -> Result<OpenFile> {
        dir.create_as(name, if self.owner.is_some() { 0o600 } else { meta.mode })
    }

    fn finish(&self, file: &OpenFile, meta: Meta) -> Result<()> {
        // The owner first: changing it clears mode bits.
        if let Some(owner) = self.owner {
            file.set_owner(owner)?;
        }
        // The umask, a default ACL of the directory or a write may have left something out.
        if self.owner.is_some() || file.stat()?.mode != meta.mode {
            file.set_mode(meta.mode)?;
        }
        file.set_mtime(meta.mtime)
    }

    /// Links the object or a sibling of it; false where the file system refuses links here.
    fn link_out(
        &self,
        dir: &Dir,
        name: &[u8],
        id: &ObjectId,
        size: u64,
        observer: &dyn Observer,
    ) -> Result<bool> {
        match self.objects.link(&name_of(id), dir, name) {
            Ok(()) => Ok(true),
            Err(error) if error.is(Errno::MLINK) => {
                self.link_sibling(dir, name, id, size, observer)
            }
            Err(error) if refuses_links(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    // EMLINK is per inode: the object gets a second inode and linking goes on with that.
    fn link_sibling(
        &self,
        dir: &Dir,
        name: &[u8],
        id: &ObjectId,
        size: u64,
        observer: &dyn Observer,
    ) -> Result<bool> {
        for number in 1..MAX_SIBLINGS {
            let sibling = [name_of(id), format!("~{number}").into_bytes()].concat();
            match self.objects.link(&sibling, dir, name) {
                Ok(()) => return Ok(true),
                Err(error) if error.is(Errno::MLINK) => continue,
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
            let stat = self.objects.stat(&name_of(id))?;
            let (temp, mut file) = self.tmp.create_temp()?;
            copy_verified(self.open_object(id)?, &mut file, id, size, observer)?;
            if self.owner.is_none() {
                file.set_owner((stat.uid, stat.gid))?;
            }
            self.finish(&file, Meta { mode: stat.mode, mtime: stat.mtime })?;
            enter(&self.tmp, &temp, &self.objects, &sibling)?;
            match self.objects.link(&sibling, dir, name) {
                Ok(()) => return Ok(true),
                Err(error) if error.is(Errno::MLINK) => continue,
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

/// Whether a path may share an inode with the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// It may.
    Allowed,
    /// It must have its own: people edit it in place.
    Forbidden,
}

/// Who makes a batch's names durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// The batch.
    Now,
    /// The caller, who writes more to the same file system and syncs it then.
    Later,
}

/// Objects on their way into a pool. Dropped without [`Batch::commit`], nothing came in.
pub struct Batch<'p> {
    pool: &'p Pool,
    /// Opened before the first write, so that it hears of every write-back error.
    sync: Dir,
    token: String,
    marker: Mutex<Option<OpenFile>>,
    placed: Mutex<Waiting>,
    counter: AtomicU64,
    wrote: AtomicBool,
    /// Whether a file could not be removed that will be no object.
    leaves: AtomicBool,
    /// How many bytes were copied.
    copied: AtomicU64,
    /// Whether the pool had no object: then there is none to look for. What another process brings
    /// in meanwhile is noticed when the same gets its name.
    empty: bool,
}

/// Objects of a batch that have no name yet. There may be millions, so this is all that is kept of
/// one: its temporary name follows from it, and that another thread brings the same content is
/// found out by that name.
#[derive(Default)]
struct Waiting {
    /// Those beside their names to be.
    beside: Vec<ObjectId>,
    /// Those in the pool's directory for temporary files, with their numbers.
    numbered: Vec<(ObjectId, u64)>,
    /// The ids of those.
    claimed: HashSet<ObjectId>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.beside.is_empty() && self.numbered.is_empty()
    }
}

/// After how many bytes the disk is set to work while more is read.
const FLUSH: u64 = 128 << 20;
/// How often it is looked whether there are so many.
const LOOK: Duration = Duration::from_millis(20);

impl<'p> Batch<'p> {
    /// Opens a batch; the pool is touched when the first object is placed.
    pub fn new(pool: &'p Pool) -> Result<Self> {
        Ok(Self {
            pool,
            sync: pool.root.try_clone_open()?,
            token: hex(&random::<8>()?),
            marker: Mutex::new(None),
            placed: Mutex::default(),
            counter: AtomicU64::new(0),
            wrote: AtomicBool::new(false),
            leaves: AtomicBool::new(false),
            copied: AtomicU64::new(0),
            empty: false,
        })
    }

    /// Prepares for very many objects.
    pub fn expect_many(&mut self) -> Result<()> {
        self.empty = self.pool.is_empty()?;
        Ok(())
    }

    /// Returns whether the pool has an object already.
    fn has(&self, id: &ObjectId) -> Result<bool> {
        Ok(!self.empty && self.pool.stat(id)?.is_some())
    }

    /// Announces the batch, so that its temporary files can be removed if this process dies.
    fn announce(&self) -> Result<()> {
        let mut marker = locked(&self.marker);
        while marker.is_none() {
            let name = format!("batch-{}", self.token);
            let file = self.pool.tmp.lock_file(name.as_bytes())?;
            // Between creating and locking, a recovery may have taken it for a dead one's.
            if file.try_lock(LockKind::Exclusive)?
                && self.pool.tmp.is_named(name.as_bytes(), &file)?
            {
                *marker = Some(file);
                fault::hit(CrashPoint::BatchOpened);
            }
        }
        self.wrote.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Does `work`, which brings objects in, and has the disk write meanwhile what came in so far.
    /// The kernel would begin much later and leave all of it to the sync at the end, which is what
    /// counts all the same.
    pub fn while_flushing<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let disk = self.pool.root.try_clone_open()?;
        let (end, ended) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let flusher = scope.spawn(move || {
                let mut flushed = 0;
                while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                    let copied = self.copied.load(Ordering::Relaxed);
                    if copied - flushed >= FLUSH {
                        flushed = copied;
                        disk.sync_filesystem()?;
                    }
                }
                Ok(())
            });
            let done = work();
            drop(end);
            let flushed: Result<()> =
                flusher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // What the disk says is why the work failed, if both did.
            flushed.and(done)
        })
    }

    /// Puts on disk what was written to this filesystem until now, whoever wrote it.
    pub fn settle(&self) -> Result<()> {
        self.sync.sync_filesystem()
    }

    /// Brings in content that is in memory.
    pub fn place_bytes(&self, id: ObjectId, bytes: &[u8], meta: Meta) -> Result<()> {
        if bytes.is_empty() || self.has(&id)? {
            return Ok(());
        }
        self.announce()?;
        let Some(mut file) = self.create_beside(&id, meta)? else { return Ok(()) };
        file.write_all(bytes)?;
        self.pool.finish(&file, meta)?;
        self.copied.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        fault::hit(CrashPoint::ObjectWritten);
        Ok(())
    }

    /// Creates the temporary file of an object beside its name to be; nothing if another thread of
    /// this batch has done so.
    fn create_beside(&self, id: &ObjectId, meta: Meta) -> Result<Option<OpenFile>> {
        match self.pool.begin(&self.pool.objects, &self.temp_name(id), meta) {
            Ok(file) => {
                locked(&self.placed).beside.push(*id);
                Ok(Some(file))
            }
            Err(error) if error.is(Errno::EXIST) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Brings in a file of any size by reflink or copy and returns its id.
    pub fn place_file(
        &self,
        source: &mut OpenFile,
        stat: &Stat,
        meta: Meta,
        observer: &dyn Observer,
    ) -> Result<ObjectId> {
        self.announce()?;
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let temp = self.numbered_name(number);
        let mut file = self.pool.begin(&self.pool.tmp, &temp, meta)?;
        let cloned = self.pool.reflinks() && file.reflink_from(source).is_ok();
        let result = if cloned {
            // The clone is ours alone, so mapping it is sound whatever happens to the source.
            let length = file.stat()?.size;
            if length != stat.size {
                Err(Error::Changed { path: source.path().to_owned(), what: "size" })
            } else {
                hash_mapped(&file, length, observer)
            }
        } else {
            copy_hashed(source, &mut file, stat, observer)
        };
        let placed = result.and_then(|id| {
            let is_new = locked(&self.placed).claimed.insert(id) && !self.has(&id)?;
            if is_new {
                self.pool.finish(&file, meta)?;
            }
            Ok((id, is_new))
        });
        let Ok((id, true)) = placed else {
            let discarded = self.discard(&temp);
            return placed.and_then(|(id, _)| discarded.map(|()| id));
        };
        locked(&self.placed).numbered.push((id, number));
        let copied = if cloned { 0 } else { stat.size };
        self.copied.fetch_add(copied, Ordering::Relaxed);
        fault::hit(CrashPoint::ObjectWritten);
        Ok(id)
    }

    /// Removes a file that will be no object. Where it stays, the batch's marker does too.
    fn discard(&self, temp: &[u8]) -> Result<()> {
        let removed = self.pool.tmp.remove_if_there(temp);
        if removed.is_err() {
            self.leaves.store(true, Ordering::Relaxed);
        }
        removed.map(drop)
    }

    /// Brings in a file by giving it a second name; the caller has hashed it and vouches that it
    /// never changes. False where links cannot be made or the owner would be wrong.
    pub fn place_link(&self, id: ObjectId, dir: &Dir, name: &[u8], stat: &Stat) -> Result<bool> {
        if stat.size == 0 {
            return Ok(true);
        }
        if self.pool.owner.is_some_and(|owner| owner != (stat.uid, stat.gid)) {
            return Ok(false);
        }
        if self.has(&id)? {
            return Ok(true);
        }
        self.announce()?;
        match dir.link(name, &self.pool.objects, &self.temp_name(&id)) {
            Ok(()) => {
                locked(&self.placed).beside.push(id);
                fault::hit(CrashPoint::ObjectWritten);
                Ok(true)
            }
            // Another thread of this batch was faster.
            Err(error) if error.is(Errno::EXIST) => Ok(true),
            Err(error) if refuses_links(&error) || error.is(Errno::MLINK) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Brings in a file as [`Batch::place_link`] does, but under its object's name at once, which
    /// is half of the work. For a file that is on disk (see [`Batch::settle`]): a name on disk must
    /// never lead to bytes that are not.
    pub fn name_link(&self, id: ObjectId, dir: &Dir, name: &[u8], stat: &Stat) -> Result<bool> {
        if stat.size == 0 {
            return Ok(true);
        }
        if self.pool.owner.is_some_and(|owner| owner != (stat.uid, stat.gid)) {
            return Ok(false);
        }
        match dir.link(name, &self.pool.objects, &name_of(&id)) {
            Ok(()) => {
                self.wrote.store(true, Ordering::Relaxed);
                fault::hit(CrashPoint::ObjectNamed);
                Ok(true)
            }
            Err(error) if error.is(Errno::EXIST) => Ok(true),
            Err(error) if refuses_links(&error) || error.is(Errno::MLINK) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes an object's name from a file that [`Batch::name_link`] gave it to and that is not what
    /// it was hashed as any more.
    pub fn disown(&self, id: &ObjectId, stat: &Stat) -> Result<()> {
        match self.pool.stat(id)? {
            Some(is) if (is.dev, is.ino) == (stat.dev, stat.ino) => {
                self.pool.objects.remove_if_there(&name_of(id)).map(drop)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Takes back what [`Batch::place_link`] has placed: it is not what it was hashed as any more.
    pub fn withdraw(&self, id: &ObjectId) -> Result<()> {
        let beside = &mut locked(&self.placed).beside;
        let before = beside.len();
        beside.retain(|other| other != id);
        if beside.len() < before {
            self.pool.objects.remove_if_there(&self.temp_name(id))?;
        }
        Ok(())
    }

    /// Brings in an object that this pool lacks from another pool, where it looks like `stat`: by
    /// link where both are on one file system, else by a copy that is hashed on the way.
    pub fn import(
        &self,
        from: &Pool,
        stat: &Stat,
        file: &FileEntry,
        observer: &dyn Observer,
    ) -> Result<()> {
        if file.object.is_empty_file() {
            return Ok(());
        }
        let same_owner = self.pool.owner.is_none_or(|owner| owner == (stat.uid, stat.gid));
        if same_owner && self.link_from(from, &file.object)? {
            return Ok(());
        }
        self.announce()?;
        let meta = Meta { mode: file.mode, mtime: file.mtime };
        let Some(mut target) = self.create_beside(&file.object, meta)? else { return Ok(()) };
        let source = from.open_object(&file.object)?;
        let reflinked = self.pool.reflinks() && target.reflink_from(&source).is_ok();
        if !reflinked {
            copy_verified(source, &mut target, &file.object, file.size, observer)?;
        }
        self.pool.finish(&target, meta)?;
        fault::hit(CrashPoint::ObjectWritten);
        Ok(())
    }

    /// Brings in an object from a pool that may have it, without a look at either pool: that is the
    /// quickest where most objects are new. False where [`Batch::import`] must be asked: the object
    /// may be elsewhere, or its owner wrong.
    pub fn import_unseen(&self, from: &Pool, id: &ObjectId) -> Result<bool> {
        if self.pool.owner.is_some() { Ok(false) } else { self.link_from(from, id) }
    }

    /// Links another pool's object, or finds it here; false where it cannot be linked.
    fn link_from(&self, from: &Pool, id: &ObjectId) -> Result<bool> {
        if self.pool.apart.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let name = name_of(id);
        // The source is whole and synced, so it may take its name at once.
        match from.objects.link(&name, &self.pool.objects, &name) {
            Ok(()) => {
                self.wrote.store(true, Ordering::Relaxed);
                fault::hit(CrashPoint::ObjectNamed);
                Ok(true)
            }
            Err(error) if error.is(Errno::EXIST) => Ok(true),
            Err(error) if error.is(Errno::MLINK) || error.is_not_found() => Ok(false),
            Err(error) if refuses_links(&error) => {
                self.pool.apart.store(true, Ordering::Relaxed);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Names what was placed. After this every object of the batch is in the pool; with
    /// [`Sync::Now`] it is there after a power cut too, with [`Sync::Later`] the caller syncs
    /// the file system before it relies on that.
    pub fn commit(self, sync: Sync) -> Result<()> {
        if !self.wrote.load(Ordering::Relaxed) {
            return Ok(());
        }
        // Taken only when the sync has not failed: what is in the list goes with the batch.
        if !locked(&self.placed).is_empty() {
            // Bytes before names: a name on disk must never lead to bytes that are not.
            self.sync.sync_filesystem()?;
            fault::hit(CrashPoint::BatchSynced);
        }
        let mut placed = std::mem::take(&mut *locked(&self.placed));
        // By name, so that two threads seldom work in one directory; and once, if it was linked twice.
        placed.beside.sort_unstable();
        placed.beside.dedup();
        let beside = placed.beside.par_chunks(256).try_for_each(|chunk| {
            chunk.iter().try_for_each(|id| self.name(&self.pool.objects, &self.temp_name(id), id))
        });
        let named = beside.and_then(|()| {
            placed.numbered.par_iter().try_for_each(|(id, number)| {
                self.name(&self.pool.tmp, &self.numbered_name(*number), id)
            })
        });
        if let Err(error) = named {
            *locked(&self.placed) = placed;
            return Err(error);
        }
        if sync == Sync::Now {
            self.sync.sync_filesystem()?;
        }
        fault::hit(CrashPoint::BatchNamed);
        Ok(())
    }

    /// Half of an object's id keeps any two apart, and a short name is written and found sooner.
    fn temp_name(&self, id: &ObjectId) -> Vec<u8> {
        let name = hex(&id.as_bytes()[..16]);
        format!("{}/.{}-{}", &name[..2], self.token, &name[2..]).into_bytes()
    }

    fn numbered_name(&self, number: u64) -> Vec<u8> {
        format!("{}-{number}", self.token).into_bytes()
    }

    /// Gives an object its name.
    fn name(&self, from: &Dir, temp: &[u8], id: &ObjectId) -> Result<()> {
        enter(from, temp, &self.pool.objects, &name_of(id))?;
        fault::hit(CrashPoint::ObjectNamed);
        Ok(())
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        // What a commit has named is no longer in the list.
        let mut is_clear = !self.leaves.load(Ordering::Relaxed);
        let placed = std::mem::take(&mut *locked(&self.placed));
        for id in &placed.beside {
            is_clear &= self.pool.objects.remove_if_there(&self.temp_name(id)).is_ok();
        }
        for (_, number) in &placed.numbered {
            is_clear &= self.pool.tmp.remove_if_there(&self.numbered_name(*number)).is_ok();
        }
        // By its marker recovery finds what could not be removed.
        if is_clear && locked(&self.marker).is_some() {
            let _ = self.pool.tmp.remove_if_there(format!("batch-{}", self.token).as_bytes());
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Returns an object's path below `objects/`.
pub fn name_of(id: &ObjectId) -> Vec<u8> {
    let name = hex(id.as_bytes());
    format!("{}/{}", &name[..2], &name[2..]).into_bytes()
}

/// Gives a finished temporary file its name; if the name is taken, the file that has it stays.
pub(crate) fn enter(from: &Dir, temp: &[u8], to: &Dir, name: &[u8]) -> Result<()> {
    match from.rename(temp, to, name, Replace::No) {
        Ok(()) => Ok(()),
        Err(error) if error.is(Errno::EXIST) => from.remove_if_there(temp).map(drop),
        // Over NFS that may be said of a request that was sent twice and did it the first time.
        Err(error) if error.is(Errno::NOENT) && to.try_stat(name)?.is_some() => {
            from.remove_if_there(temp).map(drop)
        }
        // NFS has no exclusive rename; link answers EEXIST everywhere.
        Err(error) if error.is(Errno::INVAL) => {
            match from.link(temp, to, name) {
                Ok(()) => {}
                Err(error) if error.is(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            from.remove_if_there(temp).map(drop)
        }
        Err(error) => Err(error),
    }
}

fn refuses_links(error: &Error) -> bool {
    [Errno::XDEV, Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS].iter().any(|e| error.is(*e))
}

fn hash_mapped(file: &OpenFile, length: u64, observer: &dyn Observer) -> Result<ObjectId> {
    if length == 0 {
        return Ok(ObjectId::of(b""));
    }
    let map = file.map()?;
    let mut hasher = blake3::Hasher::new();
    for piece in map.chunks(MAPPED) {
        go_on(observer)?;
        hasher.update_rayon(piece);
    }
    Ok(ObjectId::from_bytes(*hasher.finalize().as_bytes()))
}

/// Stops in the middle of a file where the operator wants that: one image takes many seconds.
fn go_on(observer: &dyn Observer) -> Result<()> {
    if observer.interrupted() { Err(Error::Interrupted) } else { Ok(()) }
}

/// Hashes a file that is open at its beginning and may have holes.
pub fn hash_file(source: &mut OpenFile, stat: &Stat, observer: &dyn Observer) -> Result<ObjectId> {
    stream(source, None, stat, observer)
}

/// Copies a file and returns the hash of what was read; holes stay holes.
fn copy_hashed(
    source: &mut OpenFile,
    target: &mut OpenFile,
    stat: &Stat,
    observer: &dyn Observer,
) -> Result<ObjectId> {
    stream(source, Some(target), stat, observer)
}

fn stream(
    source: &mut OpenFile,
    mut target: Option<&mut OpenFile>,
    stat: &Stat,
    observer: &dyn Observer,
) -> Result<ObjectId> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; CHUNK.min(usize::try_from(stat.size).unwrap_or(CHUNK))];
    let mut offset = 0;
    while offset < stat.size {
        let (start, end) = match stat.is_sparse() {
            true => source.next_data(offset, stat.size)?.unwrap_or((stat.size, stat.size)),
            false => (offset, stat.size),
        };
        hash_zeros(&mut hasher, start.min(stat.size) - offset, observer)?;
        offset = start.min(stat.size);
        // Asking where data is has moved the source, also when it is at the very beginning.
        source.seek(offset)?;
        if let Some(target) = target.as_deref_mut() {
            target.seek(offset)?;
        }
        while offset < end.min(stat.size) {
            go_on(observer)?;
            let left = end.min(stat.size) - offset;
            let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let got = source.read(&mut buffer[..want])?;
            if got == 0 {
                return Err(Error::Changed { path: source.path().to_owned(), what: "size" });
            }
            hasher.update(&buffer[..got]);
            if let Some(target) = target.as_deref_mut() {
                target.write_all(&buffer[..got])?;
            }
            offset += got as u64;
        }
    }
    if let Some(target) = target {
        target.set_len(stat.size)?;
    }
    Ok(ObjectId::from_bytes(*hasher.finalize().as_bytes()))
}

fn hash_zeros(hasher: &mut blake3::Hasher, mut count: u64, observer: &dyn Observer) -> Result<()> {
    const ZEROS: &[u8; 1 << 16] = &[0; 1 << 16];
    while count > 0 {
        go_on(observer)?;
        let step = count.min(ZEROS.len() as u64);
        hasher.update(&ZEROS[..step as usize]);
        count -= step;
    }
    Ok(())
}

/// Copies an object's bytes and makes sure that they are the object's.
fn copy_verified(
    mut source: OpenFile,
    target: &mut OpenFile,
    id: &ObjectId,
    size: u64,
    observer: &dyn Observer,
) -> Result<()> {
    let stat = source.stat()?;
    let mismatch = |found: String| Error::Mismatch { id: *id, expected: size, found };
    if stat.size != size {
        return Err(mismatch(format!("found {} bytes", stat.size)));
    }
    let found = copy_hashed(&mut source, target, &stat, observer)?;
    if found != *id {
        return Err(mismatch(format!("found content that hashes to {found}")));
    }
    if size >= LARGE {
        target.begin_writing();
    }
    Ok(())
}
