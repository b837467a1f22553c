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

mod adopt;

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::fs::{Dir, Kind, OpenFile, Stat, Time};
use crate::id::ObjectId;
use crate::index::Inode;
use crate::path::RelPath;
use crate::pool::{Batch, Meta, Pool, Sync, hash_file};
use crate::progress::Observer;
use crate::store::Store;
use crate::tree::{DirEntry, Draft, Entry, FileEntry, SymlinkEntry, Tree};

pub use adopt::{Inspection, inspect};

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
}

/// A tree in a draft, and what to remember of the files behind it.
pub struct Ingested {
    /// The root.
    pub root: DirEntry,
    /// What was found and done.
    pub counts: Counts,
    /// For the inode cache, by directory.
    pub inodes: Vec<Vec<Inode>>,
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
}

impl FoundDir {
    fn new(stat: Stat) -> Self {
        Self { stat, names: Vec::new(), entries: Vec::new() }
    }

    /// Returns the name of the entry at this index.
    fn name(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.entries[before].0);
        &self.names[start..self.entries[index].0]
    }

    /// Returns what has this name.
    fn get(&self, name: &[u8]) -> Option<&Found> {
        let (mut low, mut high) = (0, self.entries.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.name(middle).cmp(name) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Some(&self.entries[middle].1),
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Iterates over what is in this directory itself, by name.
    fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &Found)> {
        self.entries.iter().enumerate().map(|(index, (_, found))| (self.name(index), found))
    }

    /// Iterates over the files in this directory itself.
    fn files(&self) -> impl Iterator<Item = (&[u8], &FoundFile)> {
        self.iter().filter_map(|(name, found)| match found {
            Found::File(file) => Some((name, file)),
            Found::Dir(_) | Found::Symlink(_) => None,
        })
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
    mode: u32,
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

/// A file that must be opened: the first name that leads to its inode.
struct Unknown<'a> {
    name: &'a [u8],
    file: &'a FoundFile,
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

/// What reading a file found out: with [`FoundFile`] all of an [`Inode`].
struct Read {
    object: ObjectId,
    ctime: Time,
    links: u32,
    sample: [u8; 16],
    /// Whether it was read, and not known by its sample.
    whole: bool,
}

/// How many bytes at each end of a file make its sample. Signed and packed formats begin with what
/// covers all the rest of them; the tail is for the others.
const SAMPLE: usize = 2048;

impl Store {
    /// Reads `source` into `pool` and returns its tree in `draft`.
    ///
    /// # Errors
    /// The first path that cannot be part of a release, that changed while it was read, or that
    /// the system refused. Then the pool is as before.
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
        let root = Walk { observer }.dir(source, source.stat_self()?, 0)?;

        let mut dirs = Vec::new();
        list_dirs(&root, &RelPath::ROOT, &mut dirs);
        let How { placement, .. } = how;
        let (mut objects, unknown) = self.recall(&dirs, pool, how)?;
        let (files_read, bytes_read) = to_read(&unknown);
        if placement == Placement::Copy {
            refuse_if_full(pool, bytes_read, files_read)?;
        }
        observer.begin("Reading", files_read, bytes_read);
        let batch = Batch::new(pool)?;
        let reader = Reader { source, batch: &batch, placement, observer };
        let read = unknown
            .par_iter()
            .map(|(path, files)| reader.dir(path, files))
            .collect::<Result<Vec<_>>>()?;
        batch.commit(Sync::Now)?;

        // Directory by directory: what is remembered takes the place of what was read.
        objects.reserve(read.iter().map(Vec::len).sum());
        let mut inodes = Vec::with_capacity(read.len());
        let (mut files_read, mut bytes_read) = (0, 0);
        for ((_, files), read) in unknown.into_iter().zip(read) {
            let mut remembered = Vec::with_capacity(files.len());
            for (Unknown { file, .. }, read) in files.into_iter().zip(read) {
                objects.insert(file.inode, read.object);
                // A file that was known by its sample is not written again: the next compose links
                // it once more and moves its change time anyway.
                if !read.whole {
                    continue;
                }
                files_read += 1;
                bytes_read += file.size;
                if may_remember(read.ctime, started, placement) {
                    remembered.push(Inode {
                        dev: file.inode.dev,
                        ino: file.inode.ino,
                        size: file.size,
                        mtime: file.mtime,
                        ctime: read.ctime,
                        object: read.object,
                        pool: pool.tag(),
                        sample: read.sample,
                        links: read.links,
                    });
                }
            }
            inodes.push(remembered);
        }
        // The sticky and set-group-id bits of a shared compose directory are not the release's.
        let root = make_tree(draft, &root, &objects, 0o777)?;
        let counts = Counts { files: root.files, bytes: root.bytes, files_read, bytes_read };
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
        let root = Walk { observer }.dir(source, source.stat_self()?, 0)?;
        let mut dirs = Vec::new();
        list_dirs(&root, &RelPath::ROOT, &mut dirs);
        let (_, unknown) = self.recall(&dirs, pool, how)?;
        let mut counts = Counts::default();
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

    /// Asks the inode cache about every file; returns what it knows, and by directory the files
    /// that must be read, each inode once.
    #[expect(clippy::type_complexity, reason = "two results of one pass, used by one caller")]
    fn recall<'a>(
        &self,
        dirs: &'a [(RelPath, &'a FoundDir)],
        pool: &Pool,
        how: How,
    ) -> Result<(HashMap<InodeKey, ObjectId>, Vec<(&'a RelPath, Vec<Unknown<'a>>)>)> {
        let inodes = self.index().view()?.inodes()?;
        let knows = |file: &FoundFile| {
            if how.recognise == Recognise::Never {
                return Ok(Answer::Unknown);
            }
            let known = inodes.get(file.inode.dev, file.inode.ino)?.filter(|known| {
                known.size == file.size && known.mtime == file.mtime && known.pool == pool.tag()
            });
            Ok(match known {
                // A name more is what a compose that shares files with this one gave it.
                Some(known)
                    if known.ctime == file.ctime
                        || file.links > known.links
                        || how.placement == Placement::Link =>
                {
                    Answer::Known(known.object)
                }
                Some(known) => Answer::Sample(Box::new(known)),
                None => Answer::Unknown,
            })
        };
        let answers = dirs
            .par_iter()
            .map(|(_, dir)| dir.files().map(|(_, file)| knows(file)).collect())
            .collect::<Result<Vec<Vec<_>>>>()?;
        let answered = answers.iter().flatten();
        let known = answered.filter(|answer| matches!(answer, Answer::Known(_))).count();
        let mut objects = HashMap::with_capacity(known);
        let mut claimed = HashSet::new();
        let mut unknown = Vec::new();
        for ((path, dir), answers) in dirs.iter().zip(answers) {
            let mut files = Vec::new();
            for ((name, file), answer) in dir.files().zip(answers) {
                let known = match answer {
                    Answer::Known(object) => {
                        objects.insert(file.inode, object);
                        continue;
                    }
                    Answer::Sample(known) => Some(known),
                    Answer::Unknown => None,
                };
                if claimed.insert(file.inode) {
                    files.push(Unknown { name, file, known });
                }
            }
            if !files.is_empty() {
                unknown.push((path, files));
            }
        }
        Ok((objects, unknown))
    }
}

/// Returns how many names a file has; beyond four thousand million they are not told apart.
fn links(stat: &Stat) -> u32 {
    u32::try_from(stat.nlink).unwrap_or(u32::MAX)
}

/// Counts the files and bytes that must be read if no sample has changed.
fn to_read(unknown: &[(&RelPath, Vec<Unknown<'_>>)]) -> (u64, u64) {
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
            let stat = dir.stat(&name)?;
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
                        mode: stat.mode,
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

fn list_dirs<'a>(dir: &'a FoundDir, path: &RelPath, out: &mut Vec<(RelPath, &'a FoundDir)>) {
    out.push((path.clone(), dir));
    for (name, found) in dir.iter() {
        if let Found::Dir(child) = found {
            list_dirs(child, &path.join(name), out);
        }
    }
}

/// Refuses early what would end in a full disk.
fn refuse_if_full(pool: &Pool, bytes: u64, files: u64) -> Result<()> {
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

/// Reads unknown files into a batch.
struct Reader<'a> {
    source: &'a Dir,
    batch: &'a Batch<'a>,
    placement: Placement,
    observer: &'a dyn Observer,
}

impl Reader<'_> {
    /// How many files one thread reads before another may take over the directory.
    const SHARE: usize = 64;

    fn dir(&self, path: &RelPath, files: &[Unknown<'_>]) -> Result<Vec<Read>> {
        let dir = self.source.dir_at(path)?;
        let read = files
            .par_chunks(Self::SHARE)
            .map(|files| {
                let mut buffer = Vec::new();
                files.iter().map(|file| self.file(&dir, file, &mut buffer)).collect()
            })
            .collect::<Result<Vec<Vec<_>>>>()?;
        let mut all = Vec::with_capacity(files.len());
        all.extend(read.into_iter().flatten());
        Ok(all)
    }

    fn file(&self, dir: &Dir, unknown: &Unknown<'_>, buffer: &mut Vec<u8>) -> Result<Read> {
        if self.observer.interrupted() {
            return Err(Error::Interrupted);
        }
        let mut open = dir.open_file(unknown.name)?;
        let before = open.stat()?;
        unchanged(&open, unknown.file, &before)?;
        let sample = sample(&open, before.size)?;
        if let Some(known) = unknown.known.as_deref().filter(|known| known.sample == sample) {
            let (object, ctime, links) = (known.object, before.ctime, links(&before));
            return Ok(Read { object, ctime, links, sample, whole: false });
        }
        let object = match (self.placement, before.size) {
            (Placement::Copy, 0..=SMALL) => self.small(&mut open, &before, buffer)?,
            (Placement::Copy, _) => {
                self.batch.place_file(&mut open, &before, meta(&before), self.observer)?
            }
            (Placement::Link, _) => self.linked(dir, unknown.name, &mut open, &before, buffer)?,
        };
        let after = open.stat()?;
        match self.placement {
            Placement::Copy => unchanged(&open, unknown.file, &after)?,
            // Our own link moved the change time; the rest must be as it was.
            Placement::Link => {
                let ctime = after.ctime;
                unchanged(&open, &FoundFile { ctime, ..*unknown.file }, &after)?;
            }
        }
        self.observer.advance(1, before.size);
        Ok(Read { object, ctime: after.ctime, links: links(&after), sample, whole: true })
    }

    fn small(&self, open: &mut OpenFile, stat: &Stat, buffer: &mut Vec<u8>) -> Result<ObjectId> {
        read_whole(open, stat, buffer)?;
        let id = ObjectId::of(buffer);
        self.batch.place_bytes(id, buffer, meta(stat))?;
        Ok(id)
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
        if !self.batch.place_link(id, dir, name, stat)? {
            open.seek(0)?;
            let placed = self.batch.place_file(open, stat, meta(stat), self.observer)?;
            if placed != id {
                return Err(Error::Changed { path: open.path().to_owned(), what: "content" });
            }
        }
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
    let mut ends = [0; 2 * SAMPLE];
    let (head, tail) = ends.split_at_mut(SAMPLE);
    let ends = if size <= 2 * SAMPLE as u64 {
        let all = &mut ends[..size as usize];
        open.read_exact_at(all, 0).map_err(changed)?;
        all
    } else {
        open.read_exact_at(head, 0).map_err(changed)?;
        open.read_exact_at(tail, size - SAMPLE as u64).map_err(changed)?;
        &mut ends[..]
    };
    let mut sample = [0; 16];
    sample.copy_from_slice(&blake3::hash(ends).as_bytes()[..16]);
    Ok(sample)
}

fn meta(stat: &Stat) -> Meta {
    Meta { mode: stat.mode, mtime: stat.mtime }
}

fn read_whole(open: &mut OpenFile, stat: &Stat, buffer: &mut Vec<u8>) -> Result<()> {
    // One byte more than there should be, so that growth is noticed.
    buffer.resize(stat.size as usize + 1, 0);
    let mut filled = 0;
    loop {
        match open.read(&mut buffer[filled..])? {
            0 => break,
            got => filled += got,
        }
        if filled == buffer.len() {
            break;
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

fn make_tree(
    draft: &Draft<'_>,
    dir: &FoundDir,
    objects: &HashMap<InodeKey, ObjectId>,
    dir_mode: u32,
) -> Result<DirEntry> {
    let below: Vec<_> = dir
        .entries
        .iter()
        .filter_map(|(_, found)| match found {
            Found::Dir(child) => Some(child),
            Found::File(_) | Found::Symlink(_) => None,
        })
        .collect();
    let made = below.into_par_iter().map(|child| make_tree(draft, child, objects, dir_mode));
    let mut made = made.collect::<Result<Vec<_>>>()?.into_iter();
    let entries = dir.iter().map(|(name, found)| {
        let entry = match found {
            Found::File(file) => {
                let object = *objects.get(&file.inode).expect("every file is known or was read");
                let (size, mode, mtime) = (file.size, file.mode, file.mtime);
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
