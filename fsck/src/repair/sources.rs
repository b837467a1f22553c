//! Where a sound copy of an object may still be. Everything is read and hashed before it is used.

use std::fmt;
use std::path::Path;

use cairn_store::fs::{Dir, Kind, OpenFile};
use cairn_store::id::ObjectId;
use cairn_store::path::{RelPath, display};
use cairn_store::pool::{Copy, hash_file};
use cairn_store::progress::Observer;
use cairn_store::publish::trees;
use cairn_store::tree::{Draft, FileEntry};
use cairn_store::{Error, Result};

use crate::Subject;
use crate::check::Facts;
use crate::objects::Uses;

/// A place that has, or may have, an object's content.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Pool {
        mount: String,
        copy: Copy,
    },
    /// A file of a live or a kept tree.
    Tree {
        root: std::path::PathBuf,
        path: RelPath,
    },
    /// A file of a compose that was ingested.
    Compose {
        root: std::path::PathBuf,
        path: RelPath,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Pool { mount, copy } if copy.sibling == 0 => write!(f, "the pool of {mount}"),
            Source::Pool { mount, copy } => {
                write!(f, "its sibling {} in the pool of {mount}", copy.sibling)
            }
            Source::Tree { root, path } => write!(f, "the tree {}/{path}", display(root)),
            Source::Compose { root, path } => write!(f, "the compose {}/{path}", display(root)),
        }
    }
}

impl Source {
    /// Opens the file.
    pub fn open(&self, facts: &Facts) -> Result<OpenFile> {
        match self {
            Source::Pool { mount, copy } => facts.mounts[mount].pool().open_copy(copy),
            Source::Tree { root, path } | Source::Compose { root, path } => open_below(root, path),
        }
    }

    /// Returns whether it is this object, by reading it.
    fn has(&self, facts: &Facts, file: &FileEntry, observer: &dyn Observer) -> Result<bool> {
        let read = || {
            let mut open = self.open(facts)?;
            let stat = open.stat()?;
            let fits = stat.kind == Kind::File && stat.size == file.size;
            Ok::<_, Error>(fits && hash_file(&mut open, &stat, observer)? == file.object)
        };
        match read() {
            Err(Error::Interrupted) => Err(Error::Interrupted),
            result => Ok(result.unwrap_or(false)),
        }
    }
}

fn open_below(root: &Path, path: &RelPath) -> Result<OpenFile> {
    let (parent, name) = path
        .split_last()
        .ok_or_else(|| Error::corrupt(display(root).to_string(), "it is no file"))?;
    Dir::open(root)?.dir_at(&parent)?.open_file(name)
}

/// Finds a sound copy of an object, nearest first.
pub(crate) fn find(
    subject: &Subject<'_>,
    facts: &Facts,
    file: &FileEntry,
    observer: &dyn Observer,
) -> Result<Option<Source>> {
    let mut found = None;
    let mut try_one = |source: Source| -> Result<bool> {
        if source.has(facts, file, observer)? {
            found = Some(source);
        }
        Ok(found.is_some())
    };
    let done = in_pools(facts, file, &mut try_one)?
        || in_trees(subject, facts, file, &mut try_one)?
        || in_composes(facts, file, &mut try_one)?;
    debug_assert_eq!(done, found.is_some());
    Ok(found)
}

type Try<'a> = dyn FnMut(Source) -> Result<bool> + 'a;

fn in_pools(facts: &Facts, file: &FileEntry, try_one: &mut Try<'_>) -> Result<bool> {
    for (name, mount) in &facts.mounts {
        for (copy, _) in mount.pool().list(file.object.as_bytes()[0])? {
            let source = Source::Pool { mount: name.clone(), copy };
            if copy.id == file.object && try_one(source)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn in_trees(
    subject: &Subject<'_>,
    facts: &Facts,
    file: &FileEntry,
    try_one: &mut Try<'_>,
) -> Result<bool> {
    let draft = Draft::new(&facts.shelf);
    for mount in facts.mounts.values() {
        for view in mount.published()?.iter().filter_map(|name| (subject.view)(name)) {
            // A view that cannot be looked at cannot help.
            let Ok(found) = trees(mount.reopen()?, &draft, &view) else { continue };
            for tree in found {
                let Some(holds) = tree.holds else { continue };
                for path in paths(&draft, &holds, file.object) {
                    let root = tree.dir.path().to_owned();
                    if try_one(Source::Tree { root, path })? {
                        return Ok(true);
                    }
                }
            }
        }
    }
    Ok(false)
}

fn in_composes(facts: &Facts, file: &FileEntry, try_one: &mut Try<'_>) -> Result<bool> {
    for id in facts.shelf.snapshots() {
        let Ok(snapshot) = facts.shelf.snapshot(&id) else { continue };
        let Some(directory) = snapshot.origin.facts.get("directory") else { continue };
        let directory = Path::new(directory);
        for path in paths(&facts.shelf, &snapshot.root(), file.object) {
            for root in [directory.join("compose"), directory.to_owned()] {
                let path = path.clone();
                if try_one(Source::Compose { root, path })? {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

fn paths(
    nodes: &dyn cairn_store::tree::Nodes,
    dir: &cairn_store::tree::DirEntry,
    object: ObjectId,
) -> Vec<RelPath> {
    let objects = [object].into();
    let mut paths = Vec::new();
    Uses::new(nodes, &objects).below(dir, &RelPath::ROOT, &mut |path, _| paths.push(path.clone()));
    paths
}

/// Returns the file that an object is, as some snapshot has it.
pub(crate) fn entry(facts: &Facts, object: ObjectId) -> Option<FileEntry> {
    if let Some(wanted) = facts.needs.objects.get(&object) {
        return Some(wanted.file);
    }
    let objects = [object].into();
    let mut uses = Uses::new(&facts.shelf, &objects);
    let mut found = None;
    for id in facts.shelf.snapshots() {
        let Ok(snapshot) = facts.shelf.snapshot(&id) else { continue };
        uses.below(&snapshot.root(), &RelPath::ROOT, &mut |_, file| found = Some(*file));
        if found.is_some() {
            break;
        }
    }
    found
}
