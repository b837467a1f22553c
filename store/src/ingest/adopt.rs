//! Adopting: a tree that is live already becomes objects, in place.
//!
//! Nothing of the tree is written to and nothing is moved. Each file is hashed where it is; the pool
//! gets a hard link to its inode, or a reflink, and bytes of its own only where a file may not share
//! its inode and the filesystem cannot reflink. It goes in portions: what one has brought in is on
//! disk and remembered before the next begins, so that a run that was killed is gone on with.
//!
//! The tree may be served meanwhile but not changed: after the last portion everything is looked at
//! once more, and what has moved since is named. An object that shares its inode with a file that was
//! changed is taken out of the pool again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use rayon::prelude::*;

use super::{
    Contents, Counts, Found, FoundDir, FoundFile, How, Ingested, InodeKey, MAX_DEPTH, Naming,
    Placement, Reader, Recognise, Unknown, Unread, Walk, list_dirs, make_tree, meta, now,
    passed_over, refuse_if_full, sample, stat_kept, unchanged,
};
use crate::error::{Error, Result};
use crate::fault::{self, CrashPoint};
use crate::fs::{Dir, Kind};
use crate::id::ObjectId;
use crate::index::Inode;
use crate::path::RelPath;
use crate::pool::{Batch, Copy, Pool, Sync, hash_file};
use crate::progress::Observer;
use crate::store::Store;
use crate::tree::Draft;

/// How many files one portion takes.
const FILES: usize = 10_000;
/// How many bytes one portion takes, unless one file alone has more.
const BYTES: u64 = 16 << 30;
/// How many paths an error names.
const NAMED: usize = 50;

/// What a tree is like, before anything is done to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// What a release cannot contain, each with the reason.
    pub offenders: Vec<(PathBuf, String)>,
    /// How many files and directories each user and group owns.
    pub owners: BTreeMap<(u32, u32), u64>,
    /// Files and symbolic links.
    pub files: u64,
    /// The sum of their sizes.
    pub bytes: u64,
    /// Removed files that somebody still has open; they are not adopted.
    pub passed_over: Vec<PathBuf>,
}

impl Inspection {
    fn add(&mut self, other: Inspection) {
        self.offenders.extend(other.offenders);
        for (owner, count) in other.owners {
            *self.owners.entry(owner).or_default() += count;
        }
        self.files += other.files;
        self.bytes += other.bytes;
        self.passed_over.extend(other.passed_over);
    }
}

/// Looks at a whole tree and names everything in it that a release cannot contain.
pub fn inspect(dir: &Dir, observer: &dyn Observer) -> Result<Inspection> {
    observer.begin("Looking", 0, 0);
    let device = dir.stat_self()?.dev;
    inspect_dir(dir, device, 0, observer)
}

fn inspect_dir(
    dir: &Dir,
    device: u64,
    depth: usize,
    observer: &dyn Observer,
) -> Result<Inspection> {
    if observer.interrupted() {
        return Err(Error::Interrupted);
    }
    let mut found = Inspection::default();
    let own = dir.stat_self()?;
    *found.owners.entry((own.uid, own.gid)).or_default() += 1;
    if depth > MAX_DEPTH {
        let reason = format!("it is more than {MAX_DEPTH} levels deep");
        found.offenders.push((dir.path().to_owned(), reason));
        return Ok(found);
    }
    let mut names = dir.names()?;
    names.sort_unstable();
    let mut below = Vec::new();
    for name in names {
        let Some(stat) = stat_kept(dir, &name)? else {
            found.passed_over.push(dir.path_of(&name));
            continue;
        };
        let mut refuse = |reason: &str| found.offenders.push((dir.path_of(&name), reason.into()));
        match stat.kind {
            Kind::File if stat.mode & 0o6000 != 0 => refuse("it is set-user-id or set-group-id"),
            Kind::File => found.bytes += stat.size,
            Kind::Symlink => {}
            Kind::Dir if stat.dev != device => refuse("another file system is mounted there"),
            Kind::Dir => below.push(name),
            Kind::Other(kind) => refuse(&format!("it is a {kind}")),
        }
        if matches!(stat.kind, Kind::File | Kind::Symlink) {
            found.files += 1;
            *found.owners.entry((stat.uid, stat.gid)).or_default() += 1;
        }
    }
    let below =
        below.par_iter().map(|name| inspect_dir(&dir.dir(name)?, device, depth + 1, observer));
    for one in below.collect::<Result<Vec<_>>>()? {
        found.add(one);
    }
    Ok(found)
}

/// A path that is not as it was, and what of it.
type Change = (RelPath, &'static str);

/// Which files must have an inode of their own, because people edit them in place.
type NeverLink<'a> = dyn Fn(&RelPath) -> bool + std::marker::Sync + 'a;

impl Store {
    /// Brings the content of `source`, which is on the pool's filesystem, into the pool without
    /// copying, and returns its tree in `draft`. `source` is not written to.
    ///
    /// # Errors
    /// A path that was changed meanwhile, or what the system refused. What was brought in stays, and
    /// the next run goes on from there.
    pub fn adopt(
        &self,
        draft: &Draft<'_>,
        source: &Dir,
        pool: &Pool,
        never_link: &NeverLink<'_>,
        observer: &dyn Observer,
    ) -> Result<Ingested> {
        observer.begin("Scanning", 0, 0);
        let walk = || Walk { observer }.all(source);
        let mut root = walk()?;
        let (mut files_read, mut bytes_read) = (0, 0);
        // The links that are made move change times, so the first walk's are kept up to date.
        let mut moved = HashMap::new();
        let mut changed: Vec<Change> = Vec::new();
        let (contents, passed_over) = {
            let dirs = list_dirs(&root);
            // Only what has not changed at all is known: this is no compose, people work here.
            let how = How { placement: Placement::Copy, recognise: Recognise::BySample };
            let (mut contents, unknown) = self.recall(&dirs, pool, how)?;
            let files = unknown.iter().map(|(_, files)| files.len() as u64).sum();
            let bytes = unknown.iter().flat_map(|(_, f)| f).map(|f| f.file.size).sum();
            // What is linked takes no room; a whole copy is looked at as ingest does.
            if !pool.links_in() && !pool.reflinks() {
                refuse_if_full(pool, &unknown)?;
            }
            observer.begin("Adopting", files, bytes);
            for portion in portions(unknown) {
                let portioned = take(source, pool, never_link, &portion, observer)?;
                changed.extend(portioned.changed);
                files_read += portioned.files_read;
                bytes_read += portioned.bytes_read;
                for (number, inode) in &portioned.inodes {
                    contents.set(*number, inode.object);
                    moved.insert(InodeKey::of(inode), inode.ctime);
                }
                let inodes: Vec<_> = portioned.inodes.into_iter().map(|(_, inode)| inode).collect();
                self.index().advance(&[], &[], &inodes)?;
                fault::hit(CrashPoint::PortionAdopted);
            }
            (contents, passed_over(&dirs))
        };
        refresh(&mut root, &moved);
        let again = walk()?;
        let mut touched = Vec::new();
        compare(&root, &again, &RelPath::ROOT, &mut changed, &mut touched);
        for path in touched {
            // A link that somebody else made, or what a network filesystem remembers, moves the
            // change time too. Only the content can tell.
            let object = file_at(&root, &path).and_then(|(dir, at, _)| contents.get(dir, at));
            match read_again(source, &path, observer) {
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                Ok(found) if object == Some(found) => {}
                Ok(_) | Err(_) => changed.push((path, "content")),
            }
        }
        changed.sort();
        changed.dedup_by(|a, b| a.0 == b.0);
        if !changed.is_empty() {
            return Err(self.retract(source, pool, &root, &contents, changed));
        }
        let root = make_tree(draft, root, &contents, 0o7777)?;
        let (files, bytes) = (root.files, root.bytes);
        let counts = Counts { files, bytes, files_read, bytes_read, passed_over };
        Ok(Ingested { root, counts, inodes: Vec::new() })
    }

    /// Takes objects that share an inode with a changed file out of the pool, and says what changed.
    fn retract(
        &self,
        source: &Dir,
        pool: &Pool,
        root: &FoundDir,
        contents: &Contents,
        changed: Vec<Change>,
    ) -> Error {
        let mut gone = HashSet::new();
        for (path, _) in &changed {
            let Some((dir, at, file)) = file_at(root, path) else { continue };
            let Some(object) = contents.get(dir, at) else { continue };
            if let Ok(Some(stat)) = pool.stat(&object)
                && stat.ino == file.inode.ino
            {
                match pool.quarantine(&Copy::main(object)) {
                    Ok(_) => drop(gone.insert(object)),
                    Err(error) => return error,
                }
            }
        }
        // Other files of that content must be read again.
        if !gone.is_empty()
            && let Err(error) = self.index().forget_objects(&|object| gone.contains(object))
        {
            return error;
        }
        let count = changed.len();
        let named: Vec<String> = changed
            .into_iter()
            .take(NAMED)
            .map(|(path, what)| format!("{path} ({what})"))
            .collect();
        let rest = match count.saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Error::Refused {
            path: source.path().to_owned(),
            reason: format!("it was changed while it was adopted: {}{rest}", named.join(", ")),
        }
    }
}

/// What came of a portion.
#[derive(Default)]
struct Portioned {
    /// What came in, with the inodes' numbers.
    inodes: Vec<(u32, Inode)>,
    changed: Vec<Change>,
    files_read: u64,
    bytes_read: u64,
}

/// Cuts the work into portions of a bounded size.
fn portions<'a>(unknown: Unread<'a>) -> Vec<Unread<'a>> {
    let mut portions = Vec::new();
    let (mut portion, mut files, mut bytes): (Unread<'a>, usize, u64) = (Vec::new(), 0, 0);
    for (path, all) in unknown {
        let mut here = Vec::new();
        for file in all {
            if files > 0 && (files >= FILES || bytes.saturating_add(file.file.size) > BYTES) {
                if !here.is_empty() {
                    portion.push((path, std::mem::take(&mut here)));
                }
                portions.push(std::mem::take(&mut portion));
                (files, bytes) = (0, 0);
            }
            files += 1;
            bytes += file.file.size;
            here.push(file);
        }
        if !here.is_empty() {
            portion.push((path, here));
        }
    }
    if !portion.is_empty() {
        portions.push(portion);
    }
    portions
}

/// Brings a portion in; when this returns it is on disk.
fn take(
    source: &Dir,
    pool: &Pool,
    never_link: &NeverLink<'_>,
    portion: &Unread<'_>,
    observer: &dyn Observer,
) -> Result<Portioned> {
    let batch = Batch::new(pool)?;
    let (placement, naming, started) = (Placement::Link, Naming::Later, now());
    let reader = Reader { source, batch: &batch, pool, placement, naming, started, observer };
    let read = portion
        .par_iter()
        .map(|(path, files)| {
            let dir = source.dir_at(path)?;
            let share = |file: &Unknown<'_>| !never_link(&path.join(file.name));
            let one = |file: &Unknown<'_>| match reader.adopt(pool, &dir, file, share(file)) {
                Ok(inode) => Ok(Ok(inode)),
                Err(Error::Changed { what, .. }) => Ok(Err(what)),
                Err(error) if error.is_not_found() => Ok(Err("removed")),
                Err(error) => Err(error),
            };
            files.par_iter().map(one).collect::<Result<Vec<_>>>()
        })
        .collect::<Result<Vec<_>>>()?;
    batch.commit(Sync::Now)?;
    let mut taken = Portioned::default();
    for ((path, files), read) in portion.iter().zip(read) {
        let dir = source.dir_at(path)?;
        for (file, read) in files.iter().zip(read) {
            let here = || path.join(file.name);
            match (read, dir.try_stat(file.name)?) {
                (Err(what), _) => taken.changed.push((here(), what)),
                // Naming the object has moved the change time once more.
                (Ok((inode, was_read)), Some(after))
                    if after.ino == inode.ino && after.dev == inode.dev =>
                {
                    taken.inodes.push((file.number, Inode { ctime: after.ctime, ..inode }));
                    if was_read {
                        taken.files_read += 1;
                        taken.bytes_read += inode.size;
                    }
                }
                (Ok(_), _) => taken.changed.push((here(), "replaced")),
            }
        }
    }
    if !taken.changed.is_empty() {
        // What was withdrawn may have been another file's content too.
        let here = |inode: &Inode| Ok(inode.size == 0 || pool.stat(&inode.object)?.is_some());
        let inodes = std::mem::take(&mut taken.inodes).into_iter();
        let kept = inodes.map(|one| Ok(here(&one.1)?.then_some(one)));
        taken.inodes = kept.filter_map(Result::transpose).collect::<Result<_>>()?;
    }
    Ok(taken)
}

impl Reader<'_> {
    /// Brings one file in, by a link where it may share its inode. Returns what it is, and whether
    /// it had to be read.
    fn adopt(
        &self,
        pool: &Pool,
        dir: &Dir,
        unknown: &Unknown<'_>,
        share: bool,
    ) -> Result<(Inode, bool)> {
        if self.observer.interrupted() {
            return Err(Error::Interrupted);
        }
        let mut open = dir.open_file(unknown.name)?;
        let before = open.stat()?;
        // The change time is judged in the end: links move it, ours and those of others.
        let was = |stat: &crate::fs::Stat| FoundFile { ctime: stat.ctime, ..*unknown.file };
        unchanged(&open, &was(&before), &before)?;
        let sample = sample(&open, before.size)?;
        let linked = share && pool.links_in();
        // A run that was killed, or a network filesystem that remembers, leaves another change time
        // than that of our link. Where the pool has this very inode, that was the link.
        if let Some(known) = unknown.known.as_deref().filter(|known| known.sample == sample)
            && linked
            && pool.stat(&known.object)?.is_some_and(|stat| stat.ino == before.ino)
        {
            return Ok((Inode { ctime: before.ctime, ..*known }, false));
        }
        let object = match linked {
            _ if before.size == 0 => ObjectId::of(b""),
            true => self.linked(dir, unknown.name, &mut open, &before, &mut Vec::new())?,
            false => self.batch.place_file(&mut open, &before, meta(&before), self.observer)?,
        };
        let after = open.stat()?;
        if let Err(error) = unchanged(&open, &was(&after), &after) {
            if linked {
                self.batch.withdraw(&object)?;
            }
            return Err(error);
        }
        self.observer.advance(1, before.size);
        let (dev, ino, size) = (after.dev, after.ino, after.size);
        let (mtime, ctime, pool) = (after.mtime, after.ctime, pool.tag());
        // Publications give the files of a view names and take them: their number says nothing.
        let links = u32::MAX;
        Ok((Inode { dev, ino, size, mtime, ctime, object, pool, sample, links }, true))
    }
}

/// Puts the change times that our own links have moved into what the walk found.
fn refresh(dir: &mut FoundDir, moved: &HashMap<InodeKey, crate::fs::Time>) {
    for (_, found) in &mut dir.entries {
        match found {
            Found::File(file) => {
                if let Some(ctime) = moved.get(&file.inode) {
                    file.ctime = *ctime;
                }
            }
            Found::Dir(child) => refresh(child, moved),
            Found::Symlink(_) => {}
        }
    }
}

/// Names every path that is not as it was, and those of which only the change time moved.
fn compare(
    was: &FoundDir,
    is: &FoundDir,
    path: &RelPath,
    changed: &mut Vec<Change>,
    touched: &mut Vec<RelPath>,
) {
    // A removed file that was open takes its name with it when it goes, which moves the time; what
    // else does that is seen by its name.
    let timeless = was.passed_over > 0 || is.passed_over > 0;
    if was.stat.mode != is.stat.mode || (was.stat.mtime != is.stat.mtime && !timeless) {
        changed.push((path.clone(), "the directory itself"));
    }
    let mut now = is.iter().peekable();
    for (name, before) in was.iter() {
        while let Some((other, _)) = now.next_if(|(other, _)| *other < name) {
            changed.push((path.join(other), "added"));
        }
        let path = path.join(name);
        match (before, now.next_if(|(other, _)| *other == name).map(|(_, found)| found)) {
            (_, None) => changed.push((path, "removed")),
            (Found::Dir(was), Some(Found::Dir(is))) => compare(was, is, &path, changed, touched),
            (Found::File(was), Some(Found::File(is))) => {
                if was.inode != is.inode {
                    changed.push((path, "replaced"));
                } else if (was.size, was.mtime, was.mode) != (is.size, is.mtime, is.mode) {
                    changed.push((path, "size, time or mode"));
                } else if was.ctime != is.ctime {
                    touched.push(path);
                }
            }
            (Found::Symlink(was), Some(Found::Symlink(is))) => {
                if was != is {
                    changed.push((path, "target"));
                }
            }
            (_, Some(_)) => changed.push((path, "of another kind")),
        }
    }
    changed.extend(now.map(|(name, _)| (path.join(name), "added")));
}

fn read_again(source: &Dir, path: &RelPath, observer: &dyn Observer) -> Result<ObjectId> {
    let (parent, name) = path.split_last().unwrap_or((RelPath::ROOT, b""));
    let mut open = source.dir_at(&parent)?.open_file(name)?;
    let stat = open.stat()?;
    hash_file(&mut open, &stat, observer)
}

/// Returns the file at a path, and which entry of which directory it is.
fn file_at<'d>(dir: &'d FoundDir, path: &RelPath) -> Option<(&'d FoundDir, usize, &'d FoundFile)> {
    let (parent, last) = path.split_last()?;
    let mut dir = dir;
    for name in parent.names() {
        match &dir.entries[dir.find(name)?].1 {
            Found::Dir(child) => dir = child,
            Found::File(_) | Found::Symlink(_) => return None,
        }
    }
    let at = dir.find(last)?;
    match &dir.entries[at].1 {
        Found::File(file) => Some((dir, at, file)),
        Found::Dir(_) | Found::Symlink(_) => None,
    }
}
