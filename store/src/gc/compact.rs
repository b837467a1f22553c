//! Packs without what is not needed: written anew, and the old ones removed later.
//!
//! After a collection every node of every pack that is read is needed. That is more than saving
//! space: whoever stores a new tree takes what is below a known tree for known, so a pack must
//! never go on offering a tree whose subtrees went with another pack.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::mark::Marks;
use super::{Amount, Policy};
use crate::error::{Error, Result};
use crate::fault::{self, CrashPoint};
use crate::id::{PackId, SnapshotId};
use crate::pack::{Listing, NodeId, PackWriter, file_name};
use crate::progress::Observer;
use crate::store::Store;

/// How large a pack is made, in bytes.
const PACK: u64 = 32 << 20;

fn is_live(marks: &Marks, leaving: &BTreeSet<SnapshotId>, node: &NodeId) -> bool {
    match node {
        NodeId::Tree(id) => marks.holds_tree(id),
        NodeId::Snapshot(id) => !leaving.contains(id),
    }
}

/// Returns the packs that hold a node that goes. Every pack is read and hashed on the way.
pub(super) fn affected(
    store: &Store,
    marks: &Marks,
    leaving: &BTreeSet<SnapshotId>,
    observer: &dyn Observer,
) -> Result<Vec<PackId>> {
    let packs = store.index().view()?.packs()?;
    observer.begin("Reading packs", packs.len() as u64, 0);
    let mut affected = Vec::new();
    for pack in packs {
        if observer.interrupted() {
            return Err(Error::Interrupted);
        }
        let nodes = store.packs().scan(&pack)?;
        if nodes.iter().any(|(node, _)| !is_live(marks, leaving, node)) {
            affected.push(pack);
        }
        observer.advance(1, 0);
    }
    Ok(affected)
}

/// Writes what is still needed of these packs into new ones.
pub(super) fn rewrite(
    store: &Store,
    marks: &Marks,
    leaving: &BTreeSet<SnapshotId>,
    packs: &[PackId],
    observer: &dyn Observer,
) -> Result<Vec<(PackId, Listing)>> {
    observer.begin("Writing packs", packs.len() as u64, 0);
    let mut written = HashSet::new();
    let mut made = Vec::new();
    let begin = || PackWriter::new(store.packs());
    let mut writer = begin();
    for pack in packs {
        if observer.interrupted() {
            return Err(Error::Interrupted);
        }
        for (node, place) in store.packs().scan(pack)? {
            // Also what another pack has: the index forgets where else a node was.
            if !is_live(marks, leaving, &node) || !written.insert(node) {
                continue;
            }
            writer.add(node, &store.packs().read(pack, place, &node)?)?;
            if writer.len() >= PACK {
                made.push(std::mem::replace(&mut writer, begin()).finish()?);
            }
        }
        observer.advance(1, 0);
    }
    if !writer.is_empty() {
        made.push(writer.finish()?);
    }
    Ok(made)
}

/// Returns files of packs that nobody reads any more, and how many bytes they are: those that
/// were collected so long ago that no reader can be about to open them, and those that a killed
/// command left behind.
pub(super) fn old_packs(store: &Store, policy: &Policy<'_>) -> Result<(Vec<PackId>, Amount)> {
    let view = store.index().view()?;
    let read = view.packs()?;
    let mut collected: BTreeMap<PackId, jiff::Timestamp> = BTreeMap::new();
    for number in view.collectors()? {
        let operation = store.operation(number)?;
        let packs = operation.collected.unwrap_or_default().packs;
        collected.extend(packs.into_iter().map(|pack| (pack, operation.time)));
    }
    let (mut old, mut amount) = (Vec::new(), Amount::default());
    for name in store.packs().dir().names()? {
        let Some(pack) = std::str::from_utf8(&name)
            .ok()
            .and_then(|name| name.strip_suffix(".pack"))
            .and_then(PackId::from_hex)
        else {
            continue;
        };
        let Some(stat) = store.packs().dir().try_stat(&name)? else { continue };
        let (since, wait) = match collected.get(&pack) {
            Some(time) => (*time, policy.trash),
            None => (super::trash::changed(&stat), policy.grace.max(policy.trash)),
        };
        if !read.contains(&pack) && since.saturating_add(wait).is_ok_and(|t| t <= policy.now) {
            old.push(pack);
            amount.add(stat.size);
        }
    }
    Ok((old, amount))
}

/// Removes files of packs that nobody reads any more. Called under the exclusive lock: a pack
/// that is written and not yet logged looks the same.
pub(super) fn remove_old_packs(store: &Store, policy: &Policy<'_>) -> Result<Amount> {
    let (old, amount) = old_packs(store, policy)?;
    for pack in old {
        store.packs().dir().remove_if_there(file_name(&pack).as_bytes())?;
        fault::hit(CrashPoint::PackRemoved);
    }
    Ok(amount)
}
