//! Superblock, log and packs: what can be made again of them.

use cairn_store::error::Result;
use cairn_store::fs::{Dir, Replace, host, user_name};
use cairn_store::id::{OperationId, PackId, SnapshotId};
use cairn_store::log::{Append, Log, Operation, RefEdit, file_name};
use cairn_store::pack::{NodeId, Salvage};
use cairn_store::pool::QUARANTINE;
use cairn_store::tree::{Entry, Nodes};
use cairn_store::{Error, fault};

use super::bits::flip_back;
use crate::check::Facts;
use crate::index::Lost;
use crate::packs::Shelf;

/// Opens the store's quarantine, creating it where it is missing.
fn quarantine(root: &Dir) -> Result<Dir> {
    root.make_dir(QUARANTINE, 0o700)?;
    root.dir(QUARANTINE)
}

/// Replaces a file of the store by what it should be; the old one gets a name in quarantine first.
pub(crate) fn replace(root: &Dir, dir: &Dir, name: &str, bytes: &[u8], mode: u32) -> Result<()> {
    let kept = quarantine(root)?;
    if let Some(stat) = dir.try_stat(name.as_bytes())? {
        let keep = format!("{name}-{}", stat.ino);
        match dir.link(name.as_bytes(), &kept, keep.as_bytes()) {
            Ok(()) => {}
            // A repair that was killed came as far as this.
            Err(error) if error.is(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        kept.sync()?;
    }
    fault::hit(fault::CrashPoint::RecordKept);
    dir.replace(name.as_bytes(), bytes, mode)?;
    fault::hit(fault::CrashPoint::RecordMended);
    Ok(())
}

/// Moves the torn last operation out of the log, so that its number is free again.
pub(crate) fn set_torn_aside(facts: &Facts, number: u64) -> Result<()> {
    let (dir, kept) = (facts.log.dir(), quarantine(&facts.root)?);
    let name = file_name(number);
    let Some(stat) = dir.try_stat(name.as_bytes())? else { return Ok(()) };
    let keep = format!("{name}-{}", stat.ino);
    dir.rename(name.as_bytes(), &kept, keep.as_bytes(), Replace::Yes)?;
    kept.sync()?;
    dir.sync()?;
    fault::hit(fault::CrashPoint::RecordKept);
    Ok(())
}

/// Returns the superblock of a store with this id. This version knows no feature that it could
/// have had.
pub(crate) fn superblock(id: &str) -> Vec<u8> {
    let block = serde_json::json!({
        "cairn": "store", "version": 1, "id": id,
        "compat": [], "ro_compat": [], "incompat": [],
    });
    let mut text = serde_json::to_vec_pretty(&block).expect("a superblock is plain data");
    text.push(b'\n');
    text
}

/// Returns what an operation file must have been, if one bit of it is wrong.
pub(crate) fn operation(facts: &Facts, number: u64) -> Option<Vec<u8>> {
    let name = file_name(number);
    let bytes = facts.log.dir().try_read(name.as_bytes()).ok()??;
    // The next operation names it; of the last one the index knows the id.
    let id = match facts.log.read(number + 1) {
        Ok(Some((_, next))) => next.parent?,
        _ => facts.indexed.lost.iter().find(|lost| lost.number == number)?.id?,
    };
    flip_back(&bytes, &|bytes| OperationId::of(bytes) == id)
}

/// Returns what a damaged pack must have been, by sound copies of its nodes and by trying bits.
pub(crate) fn pack(shelf: &Shelf, id: &PackId, salvage: &Salvage) -> Option<Vec<u8>> {
    let whole = |bytes: &[u8]| PackId::of(bytes) == *id;
    let mut bytes = salvage.bytes.clone();
    for (node, place) in &salvage.damaged {
        let range = place.offset as usize..place.offset as usize + place.len as usize;
        let sound =
            shelf.any(node).or_else(|| flip_back(&bytes[range.clone()], &|b| node.names(b)));
        if let Some(sound) = sound
            && sound.len() == range.len()
        {
            bytes[range].copy_from_slice(&sound);
        }
    }
    match whole(&bytes) {
        true => Some(bytes),
        // The bit is in a header.
        false => flip_back(&bytes, &whole),
    }
}

/// Appends an operation with what the index remembers of one that the log has lost.
pub(crate) fn write_down(
    facts: &Facts,
    log: &Log,
    lost: &Lost,
    command: &[String],
) -> Result<OperationId> {
    let (mut edits, mut packs) = (Vec::new(), Vec::new());
    let before = facts.truth.refs_at(lost.number - 1);
    // What an operation before this one moved is not in the log that was read.
    let rewritten = |name| {
        let earlier = facts.indexed.lost.iter().filter(|other| other.number < lost.number);
        earlier.flat_map(|other| &other.edits).rev().find(|(n, _)| n == name).map(|(_, id)| *id)
    };
    for (name, new) in &lost.edits {
        let old = rewritten(name).unwrap_or_else(|| before.get(name).copied());
        edits.push(RefEdit { name: name.clone(), old, new: *new });
        if let Some(new) = new {
            packs_of(&facts.shelf, new, &mut packs)?;
        }
    }
    let parent = match lost.number {
        1 => None,
        number => log.read(number - 1)?.map(|(id, _)| id),
    };
    let operation = Operation {
        version: Log::VERSION,
        number: lost.number,
        parent,
        time: jiff::Timestamp::now(),
        host: host(),
        user: user_name(),
        verb: "repair".into(),
        command: command.to_vec(),
        reason: Some("the log had lost this operation; its refs are those of the index".into()),
        edits,
        packs,
        collected: None,
        details: serde_json::json!({ "lost": lost.id.map(|id| id.to_string()) }),
    };
    match log.append(&operation, &|| Ok(()))? {
        Append::Done(head) => Ok(head.id),
        Append::Taken => Err(Error::corrupt(
            format!("log/{}", file_name(lost.number)),
            "somebody else has taken its number meanwhile",
        )),
    }
}

/// Adds the packs that no operation mentions and that a snapshot needs.
pub(crate) fn packs_of(shelf: &Shelf, id: &SnapshotId, packs: &mut Vec<PackId>) -> Result<()> {
    let node = NodeId::Snapshot(*id);
    let bytes = shelf
        .any(&node)
        .ok_or_else(|| Error::corrupt(format!("snapshot {id}"), "no pack holds it"))?;
    let snapshot = cairn_store::snapshot::Snapshot::decode(id, &bytes)?;
    add(shelf, &node, packs);
    let mut stack = vec![snapshot.root.tree];
    let mut seen = std::collections::HashSet::new();
    while let Some(id) = stack.pop() {
        if !seen.insert(id) {
            continue;
        }
        let node = NodeId::Tree(id);
        add(shelf, &node, packs);
        let tree = match shelf.any(&node) {
            Some(bytes) => cairn_store::tree::Tree::decode(&bytes)
                .map_err(|reason| Error::corrupt(format!("tree {id}"), reason))?,
            None => (*shelf.tree(&id)?).clone(),
        };
        for (_, entry) in tree.entries() {
            if let Entry::Dir(dir) = entry {
                stack.push(dir.tree);
            }
        }
    }
    Ok(())
}

fn add(shelf: &Shelf, node: &NodeId, packs: &mut Vec<PackId>) {
    if !shelf.has(node)
        && let Some(pack) = shelf.spare(node)
        && !packs.contains(&pack)
    {
        packs.push(pack);
    }
}
