//! Opening: the superblock, and an index that knows what the log says.
//!
//! The index is derived. One that is missing, damaged or of another log is made anew, by one
//! process while the others wait for it.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Session;
use crate::error::{Error, Result};
use crate::fs::{Dir, LockKind, hex_random};
use crate::id::PackId;
use crate::index::Index;
use crate::lock::Lock;
use crate::log::{Head, Log};
use crate::pack::Packs;
use crate::progress::{Observer, Watcher};

pub(super) const SUPERBLOCK: &[u8] = b"format";
pub(crate) const INDEX: &str = "index.redb";

/// The superblock (docs/format.md §2).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Superblock {
    cairn: String,
    version: u32,
    pub id: String,
    /// Features that an older version may ignore.
    compat: Vec<String>,
    /// Features with which an older version may still read.
    ro_compat: Vec<String>,
    /// Features with which an older version must not touch the store.
    incompat: Vec<String>,
}

impl Superblock {
    /// Returns that of a new store.
    pub fn new() -> Result<Self> {
        Ok(Self {
            cairn: "store".into(),
            version: 1,
            id: hex_random()?,
            compat: vec![],
            ro_compat: vec![],
            incompat: vec![],
        })
    }

    /// Returns the bytes of its file.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("a superblock is plain data");
        text.push(b'\n');
        text
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

pub(super) fn read_superblock(path: &Path, text: &[u8]) -> Result<Superblock> {
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

/// Opens the index and takes in what it does not know; says what had to be made anew.
pub(super) fn open_index(
    root: &Dir,
    locks: &Dir,
    log: &Log,
    packs: &Packs,
    session: &Session,
    notes: &mut Vec<String>,
) -> Result<Index> {
    let watcher = &session.watcher;
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
                let count = catch_up(&index, log, packs, watcher)?;
                if was_empty && count > 1 {
                    notes.push(format!(
                        "The index was empty; it was rebuilt from {count} operations."
                    ));
                }
            }
            return Ok(index);
        }
        Ok(index) => {
            set_index_mode(root)?;
            let count = catch_up(&index, log, packs, watcher)?;
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
    let kind = LockKind::Exclusive;
    let _lock = Lock::take(locks, "index", "the index", kind, wait, &command, watcher)?;
    let again = Index::open(&path).and_then(|index| {
        check_head(&index, log)?;
        Ok(index)
    });
    if let Ok(index) = again {
        catch_up(&index, log, packs, watcher)?;
        return Ok(index);
    }
    root.remove_if_there(INDEX.as_bytes())?;
    let index = Index::open(&path)?;
    set_index_mode(root)?;
    let count = catch_up(&index, log, packs, watcher)?;
    notes.push(format!("The index was damaged ({why}); it was rebuilt from {count} operations."));
    Ok(index)
}

/// Gives an index that was just created the mode of the store's other files: redb leaves it to the
/// umask, and with 000 everybody could write it who comes to the store's directory.
fn set_index_mode(root: &Dir) -> Result<()> {
    root.open_file(INDEX.as_bytes())?.set_mode(0o640)
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
pub(super) fn catch_up(
    index: &Index,
    log: &Log,
    packs: &Packs,
    watcher: &Watcher,
) -> Result<usize> {
    loop {
        let mut head = index.view()?.head()?;
        match take_in(index, log, packs, &mut head, watcher) {
            // A pack that is gone may have been collected after the log was read.
            Err(Error::Corrupt { .. }) if log.next(head)?.is_some() => {}
            taken => return taken,
        }
    }
}

fn take_in(
    index: &Index,
    log: &Log,
    packs: &Packs,
    head: &mut Option<Head>,
    watcher: &Watcher,
) -> Result<usize> {
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
    if operations.len() > CATCH_UP_BATCH {
        watcher.begin("Building the index", operations.len() as u64, 0);
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
        watcher.advance(batch.len() as u64, 0);
    }
    Ok(operations.len())
}
