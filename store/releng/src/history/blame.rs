//! Which operation brought what is at a path.

use std::collections::BTreeMap;

use cairn_store::diff::diff;
use cairn_store::id::{ObjectId, SnapshotId};
use cairn_store::path::RelPath;
use cairn_store::refs::RefName;
use cairn_store::tree::{Entry, lookup, walk};
use serde::Serialize;

use super::{Reader, Who};
use crate::error::Result;
use crate::site::Site;

/// Who brought what is at a path of a ref.
#[derive(Clone, Debug, Serialize)]
pub struct Blame {
    /// The ref.
    #[serde(rename = "ref")]
    pub name: String,
    /// The path, a file or a directory.
    pub path: RelPath,
    /// The snapshot that the ref names.
    pub snapshot: SnapshotId,
    /// The files and links at the path or below it, in the order of their paths.
    pub files: Vec<Blamed>,
}

/// Who brought one file.
#[derive(Clone, Debug, Serialize)]
pub struct Blamed {
    /// Its path.
    pub path: RelPath,
    /// Its content; nothing for a symbolic link.
    pub object: Option<ObjectId>,
    /// Its size in bytes.
    pub size: u64,
    /// The operation that brought this content here.
    #[serde(flatten)]
    pub step: Step,
    /// Where that operation had it from, step by step: staging, then a compose. Of a single file
    /// only.
    pub from: Vec<Step>,
}

/// An operation that brought a content to a ref.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// The ref.
    #[serde(rename = "ref")]
    pub name: String,
    /// The operation.
    pub operation: Who,
    /// The snapshot that it made.
    pub snapshot: SnapshotId,
    /// What that snapshot was made from, such as the compose's name.
    pub facts: BTreeMap<String, String>,
    /// Whether an older operation may have brought it: snapshots between were collected.
    pub uncertain: bool,
}

/// Finds out which operation brought what is at a path, of a directory for each file below it.
///
/// What counts is content; another mode or time of the same content is not another file.
///
/// # Errors
/// A ref that names nothing, a path that is not there, trees that cannot be read.
pub fn blame(site: &Site, name: &RefName, path: &RelPath) -> Result<Blame> {
    let snapshot = site.store.resolve(&cairn_store::refs::Rev::Ref(name.clone()))?;
    let entry = site.store.entry(&snapshot, path)?;
    let mut reader = Reader::new(site);
    let mut files = Vec::new();
    match &entry {
        Entry::Dir(_) => below(&mut reader, name, path, &mut files)?,
        Entry::File(_) | Entry::Symlink(_) => {
            if let Some(step) = step(&mut reader, name, path, &entry, u64::MAX)? {
                let from = trail(&mut reader, &step, path, &entry)?;
                files.push(blamed(path.clone(), &entry, step, from));
            }
        }
    }
    Ok(Blame { name: name.to_string(), path: path.clone(), snapshot, files })
}

fn blamed(path: RelPath, entry: &Entry, step: Step, from: Vec<Step>) -> Blamed {
    let object = match entry {
        Entry::File(file) => Some(file.object),
        Entry::Symlink(_) | Entry::Dir(_) => None,
    };
    Blamed { path, object, size: entry.bytes(), step, from }
}

/// Returns whether two entries are the same to who reads them.
fn is_same(a: &Entry, b: &Entry) -> bool {
    match (a, b) {
        (Entry::File(a), Entry::File(b)) => a.object == b.object,
        (Entry::Symlink(a), Entry::Symlink(b)) => a.target == b.target,
        (Entry::Dir(_), Entry::Dir(_)) => true,
        (Entry::File(_) | Entry::Symlink(_) | Entry::Dir(_), _) => false,
    }
}

impl Reader<'_> {
    /// Returns what a ref named, newest first, up to an operation.
    fn moves(&self, name: &RefName, upto: u64) -> Result<Vec<(u64, Option<SnapshotId>)>> {
        let moves = self.site.store.index().view()?.history(name)?;
        Ok(moves.into_iter().filter(|(number, _)| *number <= upto).collect())
    }

    fn step(
        &mut self,
        name: &RefName,
        number: u64,
        snapshot: SnapshotId,
        uncertain: bool,
    ) -> Result<Step> {
        let facts = self.site.store.snapshot(&snapshot)?.origin.facts;
        let operation = self.who(number)?;
        Ok(Step { name: name.to_string(), operation, snapshot, facts, uncertain })
    }
}

/// Returns the operation that brought an entry to a path, as of operation `upto`.
fn step(
    reader: &mut Reader<'_>,
    name: &RefName,
    path: &RelPath,
    entry: &Entry,
    upto: u64,
) -> Result<Option<Step>> {
    let (mut oldest, mut collected) = (None, false);
    for (number, snapshot) in reader.moves(name, upto)? {
        // Between two publications the ref was removed: who made it anew brought everything.
        let Some(snapshot) = snapshot else { break };
        let Some(root) = reader.root(snapshot)? else {
            collected = true;
            continue;
        };
        let found = lookup(&reader.site.store, &root, path)?;
        if !found.is_some_and(|found| is_same(&found, entry)) {
            break;
        }
        oldest = Some((number, snapshot));
        collected = false;
    }
    let Some((number, snapshot)) = oldest else { return Ok(None) };
    Ok(Some(reader.step(name, number, snapshot, collected)?))
}

/// Follows a content from where an operation had it: a snapshot's further parents are what it was
/// made from.
fn trail(
    reader: &mut Reader<'_>,
    first: &Step,
    path: &RelPath,
    entry: &Entry,
) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    loop {
        let last = steps.last().unwrap_or(first);
        let (upto, from) = (last.operation.number, last.name.clone());
        let parents = reader.site.store.snapshot(&last.snapshot)?.parents;
        let mut next = None;
        for parent in parents {
            let Some(root) = reader.root(parent)? else { continue };
            let found = lookup(&reader.site.store, &root, path)?;
            if found.is_some_and(|found| is_same(&found, entry))
                && let Some((name, number)) = named(reader, parent, upto, &from)?
                && let Some(step) = step(reader, &name, path, entry, number)?
            {
                next = Some(step);
                break;
            }
        }
        match next {
            // Operations only get older, so this ends.
            Some(step) if step.operation.number < upto => steps.push(step),
            Some(_) | None => return Ok(steps),
        }
    }
}

/// Returns the ref, another than `not`, that was moved to a snapshot before an operation, and by
/// which.
fn named(
    reader: &mut Reader<'_>,
    snapshot: SnapshotId,
    before: u64,
    not: &str,
) -> Result<Option<(RefName, u64)>> {
    for number in (1..before).rev() {
        let (_, operation) = reader.operation(number)?;
        let mut edits = operation.edits.iter();
        let edit = edits.find(|edit| edit.new == Some(snapshot) && edit.name.as_str() != not);
        if let Some(edit) = edit {
            return Ok(Some((edit.name.clone(), number)));
        }
    }
    Ok(None)
}

/// Finds who brought each file below a directory: from one snapshot to the one before, what
/// differs came with the newer; equal subtrees are skipped by their id.
fn below(
    reader: &mut Reader<'_>,
    name: &RefName,
    path: &RelPath,
    files: &mut Vec<Blamed>,
) -> Result<()> {
    let store = &reader.site.store;
    let mut pending: BTreeMap<RelPath, Entry> = BTreeMap::new();
    // The newest snapshot that was looked at: its operation, and its directory at the path.
    let mut newer = None;
    let mut collected = false;
    for (number, snapshot) in reader.moves(name, u64::MAX)? {
        let Some(snapshot) = snapshot else { break };
        let Some(root) = reader.root(snapshot)? else {
            collected = true;
            continue;
        };
        let dir = lookup(store, &root, path)?.and_then(|entry| entry.as_dir().copied());
        match &newer {
            None => {
                let Some(dir) = &dir else { break };
                walk(store, dir, path, &mut |path, entry| {
                    if entry.as_dir().is_none() {
                        pending.insert(path.clone(), entry.clone());
                    }
                    Ok(true)
                })?;
            }
            Some((number, snapshot, newer)) => {
                let mut brought = Vec::new();
                diff(store, dir.as_ref(), Some(newer), &mut |change| {
                    let path = path.join_path(&change.path);
                    if !change.is_metadata_only()
                        && let Some(entry) = pending.remove(&path)
                    {
                        brought.push((path, entry));
                    }
                    Ok(())
                })?;
                if !brought.is_empty() {
                    let step = reader.step(name, *number, *snapshot, collected)?;
                    let of = |(path, entry)| blamed(path, &entry, step.clone(), Vec::new());
                    files.extend(brought.into_iter().map(of));
                }
            }
        }
        let Some(dir) = dir else {
            newer = None;
            break;
        };
        newer = Some((number, snapshot, dir));
        collected = false;
        if pending.is_empty() {
            break;
        }
    }
    if let Some((number, snapshot, _)) = newer
        && !pending.is_empty()
    {
        let step = reader.step(name, number, snapshot, collected)?;
        files.extend(
            pending.into_iter().map(|(path, entry)| blamed(path, &entry, step.clone(), Vec::new())),
        );
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(())
}
