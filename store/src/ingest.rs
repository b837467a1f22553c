//! Ingest: a directory becomes objects and a tree.
//!
//! Three passes, each parallel: a walk by open directories that stats every entry; one question
//! to the inode cache per file; one read per file that the cache does not know, however many
//! names it has. What is read is checked to be the same before and after. Nothing is visible
//! until the caller commits the tree; objects without a tree are found by the garbage collection.
//!
//! A file is known by device, inode, size, modification and change time. Every hard link that is
//! made or removed moves the change time, and composes are mostly hard links to files of earlier
//! ones; so a file of which nothing but the change time moved is known if it has more names than it
//! had, which explains the change, or else by its first and last bytes, unless the operator wants
//! it read ([`Recognise::Never`]).
//!
//! The three passes stand in one file, because what each may believe rests on what the others check.

mod adopt;
mod contents;

use std::cmp::Ordering;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::fs::{Dir, Kind, OpenFile, Stat, Time, is_silly_rename};
use crate::id::ObjectId;
use crate::index::Inode;
use crate::path::RelPath;
use crate::pool::{Batch, Meta, Pool, Sync, hash_file};
use crate::progress::Observer;
use crate::store::Store;
use crate::tree::{DirEntry, Draft, Entry, FileEntry, SymlinkEntry, Tree};

pub use adopt::{Inspection, inspect};
use contents::{Contents, Name, Names};

/// Files up to this size are read whole, hashed, and written only if they are new, in bytes.
const SMALL: u64 = 1 << 20;
/// How deep a compose may be. EFS documents 1,000 levels; our stack is sized for it.
const MAX_DEPTH: usize = 1000;
/// A file whose inode changed this short a time before the walk is not remembered: a second
/// change could have the same time stamp. Longer than the kernel's tick.
const RACY: i128 = 100_000_000;

/// How content gets into the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// By reflink where that is possible, else by copy.
    #[default]
    Copy,
    /// By hard link where that is possible: the operator vouches that no file of the source
    /// ever changes. Also trusts a known inode whose change time moved, as every new link moves
    /// it.
    Link,
}

/// When a file need not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recognise {
    /// When inode, size, modification and change time are as known; when only the change time
    /// moved, if the file has more names than it had, or its first and last bytes are as known.
    #[default]
    BySample,
    /// Never: every file is read, and what the pool has lost is put back.
    Never,
}

/// How an ingest is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct How {
    /// How content gets into the pool.
    pub placement: Placement,
    /// Which files need not be read.
    pub recognise: Recognise,
}

/// What an ingest found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Files and symbolic links in the tree.
    pub files: u64,
    /// The sum of their sizes.
    pub bytes: u64,
    /// Files that were read, each once however many names it has.
    pub files_read: u64,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Names that are not in the tree, because they are of files that were removed while somebody
    /// has them open.
    #[serde(skip)]
    pub passed_over: u64,
}

/// A tree in a draft, and what to remember of the files behind it.
pub struct Ingested {
    /// The root.
    pub root: DirEntry,
    /// What was found and done.
    pub counts: Counts,
    /// For the inode cache, in its order.
    pub inodes: Vec<Inode>,
}

struct Walk<'a> {
    observer: &'a dyn Observer,
}

/// A directory as the walk found it.
struct FoundDir {
    stat: Stat,
    /// The names of all entries, one after another: one allocation, because there are millions.
    names: Vec<u8>,
    /// Where each entry's name ends, and what it is.
    entries: Vec<(usize, Found)>,
    /// How many entries the directories before it have, as [`list_dirs`] counts.
    before: usize,
    /// How many names were passed over, see [`stat_kept`].
    passed_over: u32,
}

impl FoundDir {
    fn new(stat: Stat) -> Self {
        Self { stat, names: Vec::new(), entries: Vec::new(), before: 0, passed_over: 0 }
    }

    /// Returns the name of the entry at this index.
    fn name(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.entries[before].0);
        &self.names[start..self.entries[index].0]
    }

    /// Returns the index of the entry that has this name.
    fn find(&self, name: &[u8]) -> Option<usize> {
        let (mut low, mut high) = (0, self.entries.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.name(middle).cmp(name) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Some(middle),
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Iterates over what is in this directory itself, by name.
    fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &Found)> {
        self.entries.iter().enumerate().map(|(index, (_, found))| (self.name(index), found))
    }
}

enum Found {
    File(FoundFile),
    Dir(Box<FoundDir>),
    Symlink(SymlinkEntry),
}

/// What must be kept of a file until the trees are made; small, because there are millions.
#[derive(Clone, Copy)]
struct FoundFile {
    mode: u16,
    /// Whether it takes less room than its size says.
    sparse: bool,
    size: u64,
    mtime: Time,
    ctime: Time,
    links: u32,
    inode: InodeKey,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct InodeKey {
    dev: u64,
    ino: u64,
}

impl InodeKey {
    fn of(inode: &Inode) -> Self {
        Self { dev: inode.dev, ino: inode.ino }
    }
}

/// A file that must be opened: the first name that leads to its inode.
struct Unknown<'a> {
    name: &'a [u8],
    file: &'a FoundFile,
    /// The inode's number.
    number: u32,
    /// What it is if its sample is still the same.
    known: Option<Box<Inode>>,
}

/// What the inode cache says of a file.
enum Answer {
    /// It is this.
    Known(ObjectId),
    /// It is this if its sample is still the same. Boxed, because there are millions of questions
    /// and few such answers.
    Sample(Box<Inode>),
    /// Nothing.
    Unknown,
}

/// What the threads have read.
struct Taken {
    contents: Contents,
    /// Those that will be remembered.
    inodes: Vec<Inode>,
    files: u64,
    bytes: u64,
}

/// What looking at one file brought.
enum Look {
    /// It was read.
    Read(u32, Inode),
    /// It was known by its sample. That is not written down again: the next compose links the file
    /// once more and moves its change time anyway.
    Known(u32, ObjectId),
}

/// How many bytes at each end of a file make its sample. Signed and packed formats begin with what
/// covers all the rest of them; the tail is for the others.
const SAMPLE: usize = 2048;
/// How many bytes a file may have whose sample is all of it.
const SHORT: usize = 2 * SAMPLE;

impl Store {
    /// Reads `source` into `pool` and returns its tree in `draft`.
    ///
    /// # Errors
    /// The first path that cannot be part of a release, that changed while it was read, or that
    /// the system refused. Then the pool is as before, but for objects that were linked: the
    /// garbage collection finds those.
    pub fn ingest(
        &self,
        draft: &Draft<'_>,
        source: &Dir,
        pool: &Pool,
        how: How,
        observer: &dyn Observer,
    ) -> Result<Ingested> {
        observer.begin("Scanning", 0, 0);
        let started = now();
        let root = Walk { observer }.all(source)?;
        let dirs = list_dirs(&root);
        let passed_over = passed_over(&dirs);
        let How { placement, .. } = how;
        let (contents, unknown) = self.recall(&dirs, pool, how)?;
        let (files_read, bytes_read) = to_read(&unknown);
        if placement == Placement::Copy {
            refuse_if_full(pool, &unknown)?;
        }
        observer.begin("Reading", files_read, bytes_read);
        let mut batch = Batch::new(pool)?;
        if files_read >= MANY {
            batch.expect_many()?;
        }
        if placement == Placement::Link && !unknown.is_empty() {
            // What the walk saw is on disk after this, and what is read is as the walk saw it: so
            // a link may take its object's name at once.
            batch.settle()?;
        }
        let inodes = Vec::with_capacity(files_read as usize);
        let taken = Mutex::new(Taken { contents, inodes, files: 0, bytes: 0 });
        let naming = Naming::AtOnce;
        let reader = Reader { source, batch: &batch, pool, placement, naming, started, observer };
        batch.while_flushing(|| {
            unknown.into_par_iter().try_for_each(|(path, files)| reader.dir(path, &files, &taken))
        })?;
        let taken = taken.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Taken { contents, mut inodes, files: files_read, bytes: bytes_read } = taken;
        // While the disk takes the bytes there is time for the trees.
        let (committed, root) = rayon::join(
            || batch.commit(Sync::Now),
            || {
                inodes.par_sort_unstable_by_key(InodeKey::of);
                // The sticky and set-group-id bits of a shared compose directory are not the
                // release's.
                make_tree(draft, root, &contents, 0o777)
            },
        );
        committed?;
        let root = root?;
        let (files, bytes) = (root.files, root.bytes);
        let counts = Counts { files, bytes, files_read, bytes_read, passed_over };
        Ok(Ingested { root, counts, inodes })
    }

    /// Finds out what [`Store::ingest`] would read, and reads nothing.
    pub fn survey(
        &self,
        source: &Dir,
        pool: &Pool,
        how: How,
        observer: &dyn Observer,
    ) -> Result<Counts> {
        observer.begin("Scanning", 0, 0);
        let root = Walk { observer }.all(source)?;
        let dirs = list_dirs(&root);
        let (_, unknown) = self.recall(&dirs, pool, how)?;
        let mut counts = Counts { passed_over: passed_over(&dirs), ..Counts::default() };
        for (_, found) in dirs.iter().flat_map(|(_, dir)| &dir.entries) {
            match found {
                Found::File(file) => {
                    counts.files += 1;
                    counts.bytes += file.size;
                }
                Found::Symlink(_) => counts.files += 1,
                Found::Dir(_) => {}
            }
        }
        (counts.files_read, counts.bytes_read) = to_read(&unknown);
        Ok(counts)
    }

    /// Asks the inode cache about every inode; returns what it knows, and by directory the files
    /// that must be read: the first name of each inode.
    fn recall<'a>(
        &self,
        dirs: &'a [(RelPath, &'a FoundDir)],
        pool: &Pool,
        how: How,
    ) -> Result<(Contents, Unread<'a>)> {
        let inodes = self.index().view()?.inodes()?;
        let judge = |file: &FoundFile, known: Inode| {
            if known.size != file.size || known.mtime != file.mtime || known.pool != pool.tag() {
                return Answer::Unknown;
            }
            // A name more is what a compose that shares files with this one gave it.
            let linked = file.links > known.links || how.placement == Placement::Link;
            match known.ctime == file.ctime || linked {
                true => Answer::Known(known.object),
                false => Answer::Sample(Box::new(known)),
            }
        };
        let Names { sorted, mut contents } = Names::of(dirs)?;
        let answers = sorted.par_chunks(ASKED).map(|names| {
            let mut answers: Vec<Answer> = Vec::new();
            answers.resize_with(names.len(), || Answer::Unknown);
            if how.recognise != Recognise::Never {
                let wanted: Vec<_> =
                    names.iter().map(|name| (name.inode.dev, name.inode.ino)).collect();
                inodes.each(&wanted, &mut |at, known| {
                    answers[at] = judge(names[at].file(dirs), known);
                })?;
            }
            Ok(answers)
        });
        let answers = answers.collect::<Result<Vec<_>>>()?;
        let mut left = Vec::new();
        let names = (0..).zip(sorted).zip(answers.into_iter().flatten());
        for ((number, name), answer) in names {
            match answer {
                Answer::Known(object) => contents.set(number, object),
                Answer::Sample(sample) => left.push((name, number, Some(sample))),
                Answer::Unknown => left.push((name, number, None)),
            }
        }
        // Back from the order of the inodes to that of the paths.
        left.par_sort_unstable_by_key(|(name, ..)| (name.dir, name.entry));
        let mut unread: Unread<'a> = Vec::new();
        let mut last = None;
        for (Name { dir, entry, .. }, number, known) in left {
            let (path, found) = &dirs[dir as usize];
            if last != Some(dir) {
                unread.push((path, Vec::new()));
                last = Some(dir);
            }
            let (Some((_, files)), Found::File(file)) =
                (unread.last_mut(), &found.entries[entry as usize].1)
            else {
                continue;
            };
            files.push(Unknown { name: found.name(entry as usize), file, number, known });
        }
        Ok((contents, unread))
    }
}

/// From how many files on it is worth a look whether the pool has any.
const MANY: u64 = 1024;
/// How many inodes are asked for together.
const ASKED: usize = 4096;

/// Files that must be opened, by directory.
type Unread<'a> = Vec<(&'a RelPath, Vec<Unknown<'a>>)>;

/// Returns how many names a file has; beyond four thousand million they are not told apart.
fn links(stat: &Stat) -> u32 {
    u32::try_from(stat.nlink).unwrap_or(u32::MAX)
}

/// Counts the files and bytes that must be read if no sample has changed.
fn to_read(unknown: &Unread<'_>) -> (u64, u64) {
    let files = unknown.iter().flat_map(|(_, files)| files).filter(|file| file.known.is_none());
    files.fold((0, 0), |(count, bytes), file| (count + 1, bytes + file.file.size))
}

fn may_remember(ctime: Time, started: i128, placement: Placement) -> bool {
    let ctime = i128::from(ctime.secs) * 1_000_000_000 + i128::from(ctime.nanos);
    placement == Placement::Link || ctime < started - RACY
}

fn now() -> i128 {
    jiff::Timestamp::now().as_nanosecond()
}

impl Walk<'_> {
    /// Finds all that is below a directory.
    fn all(&self, source: &Dir) -> Result<FoundDir> {
        let mut root = self.dir(source, source.stat_self()?, 0)?;
        count_entries(&mut root, 0);
        Ok(root)
    }

    fn dir(&self, dir: &Dir, stat: Stat, depth: usize) -> Result<FoundDir> {
        if depth > MAX_DEPTH {
            return Err(Error::Refused {
                path: dir.path().to_owned(),
                reason: format!("it is more than {MAX_DEPTH} levels deep"),
            });
        }
        if self.observer.interrupted() {
            return Err(Error::Interrupted);
        }
        let mut names = dir.names()?;
        names.sort_unstable();
        let mut here = FoundDir::new(stat);
        here.names.reserve_exact(names.iter().map(|name| name.len()).sum());
        here.entries.reserve_exact(names.len());
        let mut dirs = Vec::new();
        for name in names {
            let Some(stat) = stat_kept(dir, &name)? else {
                here.passed_over = here.passed_over.saturating_add(1);
                continue;
            };
            let found = match stat.kind {
                Kind::File => {
                    if stat.mode & 0o6000 != 0 {
                        return Err(Error::Refused {
                            path: dir.path_of(&name),
                            reason:
                                "a set-user-id or set-group-id file cannot be part of a release"
                                    .into(),
                        });
                    }
                    Found::File(FoundFile {
                        mode: stat.mode as u16,
                        sparse: stat.is_sparse(),
                        size: stat.size,
                        mtime: stat.mtime,
                        ctime: stat.ctime,
                        links: links(&stat),
                        inode: InodeKey { dev: stat.dev, ino: stat.ino },
                    })
                }
                Kind::Symlink => Found::Symlink(SymlinkEntry {
                    target: dir.read_link(&name)?.into(),
                    mtime: stat.mtime,
                }),
                Kind::Dir => {
                    dirs.push((here.entries.len(), stat));
                    Found::Dir(Box::new(FoundDir::new(stat)))
                }
                Kind::Other(kind) => {
                    return Err(Error::UnsupportedKind { path: dir.path_of(&name), kind });
                }
            };
            here.names.extend_from_slice(&name);
            here.entries.push((here.names.len(), found));
        }
        self.observer.advance((here.entries.len() - dirs.len()) as u64, 0);
        // The handle is closed before the walk goes down where only one way leads on, so a deep
        // chain does not hold a descriptor per level.
        let below = dirs
            .into_par_iter()
            .map(|(index, stat)| {
                let child = dir.dir(here.name(index))?;
                Ok((index, self.dir(&child, stat, depth + 1)?))
            })
            .collect::<Result<Vec<_>>>()?;
        for (index, found) in below {
            here.entries[index].1 = Found::Dir(Box::new(found));
        }
        Ok(here)
    }
}

/// Returns what stands at a name that a directory has, unless it is that of a removed file which
/// somebody still has open: no release's content, and it may be gone the next moment.
fn stat_kept(dir: &Dir, name: &[u8]) -> Result<Option<Stat>> {
    match is_silly_rename(name) {
        // Only files get such a name from the system; what else has one, somebody gave it.
        true => Ok(dir.try_stat(name)?.filter(|stat| stat.kind != Kind::File)),
        false => dir.stat(name).map(Some),
    }
}

fn passed_over(dirs: &[(RelPath, &FoundDir)]) -> u64 {
    dirs.iter().map(|(_, dir)| u64::from(dir.passed_over)).sum()
}

/// Lists a directory and all below it, each before what is in it.
fn list_dirs(root: &FoundDir) -> Vec<(RelPath, &FoundDir)> {
    fn list<'a>(dir: &'a FoundDir, path: &RelPath, out: &mut Vec<(RelPath, &'a FoundDir)>) {
        out.push((path.clone(), dir));
        for (name, found) in dir.iter() {
            if let Found::Dir(child) = found {
                list(child, &path.join(name), out);
            }
        }
    }
    let mut out = Vec::new();
    list(root, &RelPath::ROOT, &mut out);
    out
}

/// Counts the entries of a directory and of all below it, in the order of [`list_dirs`]; `before`
/// have been counted.
fn count_entries(dir: &mut FoundDir, mut before: usize) -> usize {
    dir.before = before;
    before += dir.entries.len();
    for (_, found) in &mut dir.entries {
        if let Found::Dir(child) = found {
            before = count_entries(child, before);
        }
    }
    before
}

/// Refuses early what would end in a full disk, if all these files were copied.
fn refuse_if_full(pool: &Pool, unread: &Unread<'_>) -> Result<()> {
    let new = unread.iter().flat_map(|(_, files)| files).filter(|file| file.known.is_none());
    let (mut files, mut bytes) = (0, 0);
    for Unknown { file, .. } in new {
        files += 1;
        // How much of a file with holes is data, nobody has asked; the system's own answer must do.
        bytes += if file.sparse { 0 } else { file.size };
    }
    let (free_bytes, free_files) = pool.root().free()?;
    // Reflinked content takes no space; there the system's own answer must do.
    let reason = if bytes > free_bytes && !pool.reflinks() {
        format!("{bytes} bytes must be stored and {free_bytes} are free")
    } else if files > free_files && free_files > 0 {
        format!("{files} files must be stored and {free_files} inodes are free")
    } else {
        return Ok(());
    };
    Err(Error::Refused { path: pool.root().path().to_owned(), reason })
}

/// When a link gets its object's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Naming {
    /// At once: the file is on disk, and the operator vouches that it does not change.
    AtOnce,
    /// With its batch; until then it can be withdrawn.
    Later,
}

/// Reads unknown files into a batch.
struct Reader<'a> {
    source: &'a Dir,
    batch: &'a Batch<'a>,
    pool: &'a Pool,
    placement: Placement,
    naming: Naming,
    /// When the walk began.
    started: i128,
    observer: &'a dyn Observer,
}

impl Reader<'_> {
    /// How many files one thread reads before another may take over the directory.
    const SHARE: usize = 64;

    fn dir(&self, path: &RelPath, files: &[Unknown<'_>], taken: &Mutex<Taken>) -> Result<()> {
        let dir = self.source.dir_at(path)?;
        files.par_chunks(Self::SHARE).try_for_each(|files| {
            let mut buffer = Vec::new();
            let looks = files.iter().map(|file| self.file(&dir, file, &mut buffer));
            let looks = looks.collect::<Result<Vec<_>>>()?;
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            for look in looks {
                match look {
                    Look::Known(number, object) => taken.contents.set(number, object),
                    Look::Read(number, inode) => {
                        taken.files += 1;
                        taken.bytes += inode.size;
                        taken.contents.set(number, inode.object);
                        if may_remember(inode.ctime, self.started, self.placement) {
                            taken.inodes.push(inode);
                        }
                    }
                }
            }
            Ok(())
        })
    }

    fn file(&self, dir: &Dir, unknown: &Unknown<'_>, buffer: &mut Vec<u8>) -> Result<Look> {
        if self.observer.interrupted() {
            return Err(Error::Interrupted);
        }
        let mut open = dir.open_file(unknown.name)?;
        let before = open.stat()?;
        unchanged(&open, unknown.file, &before)?;
        if let Some(known) = unknown.known.as_deref()
            && known.sample == sample(&open, before.size)?
        {
            return Ok(Look::Known(unknown.number, known.object));
        }
        let (object, sample) = match (self.placement, before.size) {
            (_, 0..=SMALL) => {
                read_whole(&mut open, &before, buffer)?;
                let object = ObjectId::of(buffer);
                match self.placement {
                    Placement::Copy => self.batch.place_bytes(object, buffer, meta(&before))?,
                    Placement::Link => self.link(dir, unknown.name, &mut open, &before, object)?,
                }
                (object, sample_of(ends(buffer)))
            }
            (Placement::Copy, _) => {
                let sample = sample(&open, before.size)?;
                let meta = meta(&before);
                (self.batch.place_file(&mut open, &before, meta, self.observer)?, sample)
            }
            (Placement::Link, _) => {
                let sample = sample(&open, before.size)?;
                let object = hash_file(&mut open, &before, self.observer)?;
                self.link(dir, unknown.name, &mut open, &before, object)?;
                (object, sample)
            }
        };
        let after = open.stat()?;
        match self.placement {
            Placement::Copy => unchanged(&open, unknown.file, &after)?,
            // Our own link moved the change time; the rest must be as it was.
            Placement::Link => {
                let ctime = after.ctime;
                let same = unchanged(&open, &FoundFile { ctime, ..*unknown.file }, &after);
                if same.is_err() {
                    self.batch.disown(&object, &after)?;
                }
                same?;
            }
        }
        self.observer.advance(1, before.size);
        let InodeKey { dev, ino } = unknown.file.inode;
        let (size, mtime, ctime, links) = (before.size, before.mtime, after.ctime, links(&after));
        let pool = self.pool.tag();
        let inode = Inode { dev, ino, size, mtime, ctime, object, pool, sample, links };
        Ok(Look::Read(unknown.number, inode))
    }

    /// Makes a file that was hashed the object's own, or a copy where that cannot be.
    fn link(
        &self,
        dir: &Dir,
        name: &[u8],
        open: &mut OpenFile,
        stat: &Stat,
        id: ObjectId,
    ) -> Result<()> {
        let linked = match self.naming {
            Naming::AtOnce => self.batch.name_link(id, dir, name, stat)?,
            Naming::Later => self.batch.place_link(id, dir, name, stat)?,
        };
        if linked {
            return Ok(());
        }
        open.seek(0)?;
        match self.batch.place_file(open, stat, meta(stat), self.observer)? == id {
            true => Ok(()),
            false => Err(Error::Changed { path: open.path().to_owned(), what: "content" }),
        }
    }

    fn linked(
        &self,
        dir: &Dir,
        name: &[u8],
        open: &mut OpenFile,
        stat: &Stat,
        buffer: &mut Vec<u8>,
    ) -> Result<ObjectId> {
        let id = if stat.size <= SMALL {
            read_whole(open, stat, buffer)?;
            ObjectId::of(buffer)
        } else {
            hash_file(open, stat, self.observer)?
        };
        self.link(dir, name, open, stat, id)?;
        Ok(id)
    }
}

/// Hashes a file's first and last bytes; of a short file all.
fn sample(open: &OpenFile, size: u64) -> Result<[u8; 16]> {
    let changed = |error: Error| match error {
        // It has become shorter since its size was taken.
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            Error::Changed { path: open.path().to_owned(), what: "size" }
        }
        error => error,
    };
    let mut bytes = [0; SHORT];
    let (head, tail) = bytes.split_at_mut(SAMPLE);
    if size <= SHORT as u64 {
        let all = &mut bytes[..size as usize];
        open.read_exact_at(all, 0).map_err(changed)?;
        return Ok(sample_of((all, b"")));
    }
    open.read_exact_at(head, 0).map_err(changed)?;
    open.read_exact_at(tail, size - SAMPLE as u64).map_err(changed)?;
    Ok(sample_of((head, tail)))
}

/// Returns the first and the last bytes of a file that was read; of a short one all and nothing.
fn ends(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.len() {
        0..=SHORT => (bytes, b""),
        len => (&bytes[..SAMPLE], &bytes[len - SAMPLE..]),
    }
}

fn sample_of((head, tail): (&[u8], &[u8])) -> [u8; 16] {
    let mut sample = [0; 16];
    let hash = blake3::Hasher::new().update(head).update(tail).finalize();
    sample.copy_from_slice(&hash.as_bytes()[..16]);
    sample
}

fn meta(stat: &Stat) -> Meta {
    Meta { mode: stat.mode, mtime: stat.mtime }
}

fn read_whole(open: &mut OpenFile, stat: &Stat, buffer: &mut Vec<u8>) -> Result<()> {
    // One byte more than there should be, so that growth is noticed.
    buffer.resize(stat.size as usize + 1, 0);
    let mut filled = 0;
    while (filled as u64) < stat.size {
        match open.read(&mut buffer[filled..])? {
            0 => break,
            got => filled += got,
        }
    }
    if filled as u64 != stat.size {
        return Err(Error::Changed { path: open.path().to_owned(), what: "size" });
    }
    buffer.truncate(filled);
    Ok(())
}

fn unchanged(open: &OpenFile, was: &FoundFile, is: &Stat) -> Result<()> {
    let what = if is.kind != Kind::File || (is.dev, is.ino) != (was.inode.dev, was.inode.ino) {
        "it is another file now"
    } else if is.size != was.size {
        "size"
    } else if is.mtime != was.mtime {
        "modification time"
    } else if is.ctime != was.ctime {
        "change time"
    } else {
        return Ok(());
    };
    Err(Error::Changed { path: open.path().to_owned(), what })
}

/// Makes the trees of what was found, and lets go of that directory by directory: the two together
/// would be most of what an ingest keeps in memory.
fn make_tree(
    draft: &Draft<'_>,
    mut dir: FoundDir,
    contents: &Contents,
    dir_mode: u32,
) -> Result<DirEntry> {
    let mut below = Vec::new();
    for (_, found) in &mut dir.entries {
        if let Found::Dir(child) = found {
            let stat = child.stat;
            below.push(std::mem::replace(&mut **child, FoundDir::new(stat)));
        }
    }
    let made = below.into_par_iter().map(|child| make_tree(draft, child, contents, dir_mode));
    let mut made = made.collect::<Result<Vec<_>>>()?.into_iter();
    let entries = dir.iter().enumerate().map(|(index, (name, found))| {
        let entry = match found {
            Found::File(file) => {
                let object = contents.get(&dir, index);
                let object = object.expect("every file is known or was read");
                let (size, mode, mtime) = (file.size, file.mode.into(), file.mtime);
                Entry::File(FileEntry { object, size, mode, mtime })
            }
            Found::Dir(_) => Entry::Dir(made.next().expect("every directory was made")),
            Found::Symlink(link) => Entry::Symlink(link.clone()),
        };
        (name, entry)
    });
    let tree = Tree::of_sorted(entries)?;
    Ok(draft.put(tree, dir.stat.mode & dir_mode, dir.stat.mtime))
}
