//! Writing: the right to move refs, and the only way to append to the log.
//!
//! Everything that can fail comes before the operation's file has its name. From then on it has
//! happened, whatever becomes of the index.

use super::Store;
use super::opening::catch_up;
use crate::error::{Error, Result};
use crate::fault::{self, CrashPoint};
use crate::fs;
use crate::hang;
use crate::id::{OperationId, PackId, SnapshotId, TreeId};
use crate::index::{Inode, View};
use crate::lock::Lock;
use crate::log::{Append, Collected, Log, Operation, RefEdit};
use crate::pack::{Listing, NodeId, PackWriter};
use crate::pool::{Batch, Meta, Pool, Sync};
use crate::refs::RefName;
use crate::snapshot::Snapshot;
use crate::tree::{Draft, Fresh};

/// What a verb wants to be remembered, before it has a number.
#[derive(Debug, Default)]
pub struct Proposal {
    /// The verb.
    pub verb: String,
    /// The refs that move, with what the plan expected them to name.
    pub edits: Vec<RefEdit>,
    /// New snapshots that the edits name.
    pub snapshots: Vec<Snapshot>,
    /// Packs that are written already.
    pub packs: Vec<(PackId, Listing)>,
    /// What is taken out of the store.
    pub collected: Option<Collected>,
    /// What else to remember.
    pub details: serde_json::Value,
    /// Files that were read, for the inode cache.
    pub inodes: Vec<Inode>,
}

/// An operation that has happened.
#[derive(Debug)]
pub struct Committed {
    /// Its id.
    pub id: OperationId,
    /// What the log holds.
    pub operation: Operation,
    /// Why the index does not know it yet, if it does not.
    pub behind: Option<Error>,
}

/// The right to move some refs, for as long as it lives.
#[must_use = "the locks are released when this is dropped"]
pub struct Writer<'s> {
    store: &'s Store,
    refs: Vec<RefName>,
    _locks: Vec<Lock>,
}

impl<'s> Writer<'s> {
    /// Gives the right to move `refs` to whoever holds their locks.
    pub(super) fn new(store: &'s Store, refs: Vec<RefName>, locks: Vec<Lock>) -> Self {
        Self { store, refs, _locks: locks }
    }

    /// Returns whether this is the right to move `name`.
    pub fn holds(&self, name: &RefName) -> bool {
        self.refs.contains(name)
    }

    /// Returns the store.
    pub fn store(&self) -> &'s Store {
        self.store
    }

    /// Brings the files that a draft holds into a pool; when this returns they are on disk there.
    pub fn bring_in(&self, draft: &Draft<'_>, pool: &Pool) -> Result<()> {
        let batch = Batch::new(pool)?;
        for Fresh { entry, bytes } in &draft.contents() {
            let meta = Meta { mode: entry.mode, mtime: entry.mtime };
            batch.place_bytes(entry.object, bytes, meta)?;
        }
        batch.commit(Sync::Now)
    }

    /// Writes the packs that the proposal needs, so that later steps can rely on them.
    fn write_pack(&self, draft: &Draft<'_>, proposal: &Proposal) -> Result<Vec<(PackId, Listing)>> {
        let places = self.store.index.view()?.places()?;
        let mut pack = PackWriter::new(&self.store.packs);
        let mut known = |id: &TreeId| Ok(places.get(&NodeId::Tree(*id))?.is_some());
        let mut written = std::collections::HashSet::new();
        for snapshot in &proposal.snapshots {
            for (id, canonical) in draft.reachable(&snapshot.root.tree, &mut known)? {
                if written.insert(id) {
                    pack.add(NodeId::Tree(id), &canonical)?;
                }
            }
            let (id, bytes) = snapshot.encode();
            pack.add(NodeId::Snapshot(id), &bytes)?;
        }
        if proposal.snapshots.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![pack.finish()?])
    }

    /// Appends the operation. When this returns, it has happened and is on disk.
    ///
    /// # Errors
    /// [`Error::Stale`] when a ref no longer names what the proposal expected; then, as after any
    /// other error, nothing has happened.
    pub fn commit(&self, draft: &Draft<'_>, proposal: Proposal) -> Result<Committed> {
        let store = self.store;
        let mut contents = self.write_pack(draft, &proposal)?;
        contents.extend(proposal.packs);
        let mut operation = Operation {
            version: Log::VERSION,
            number: 0,
            parent: None,
            time: jiff::Timestamp::now(),
            host: fs::host(),
            user: fs::user_name(),
            verb: proposal.verb,
            command: store.session.command.clone(),
            reason: store.session.reason.clone(),
            edits: proposal.edits,
            packs: contents.iter().map(|(pack, _)| *pack).collect(),
            collected: proposal.collected,
            details: proposal.details,
        };
        let head = loop {
            catch_up(&store.index, &store.log, &store.packs, &store.session.watcher)?;
            let view = store.index.view()?;
            expect_unmoved(&view, &operation.edits)?;
            let head = view.head()?;
            operation.number = head.map_or(1, |head| head.number + 1);
            operation.parent = head.map(|head| head.id);
            match store.log.append(&operation, &|| store.held.check())? {
                Append::Done(head) => break head,
                Append::Taken => {}
            }
        };
        hang::logged(head.number);
        // From here on it has happened. An index that cannot be written is no failure: the next
        // command takes the operation in.
        let operations = [(head.id, operation)];
        store.forget_places();
        let behind = store.index.advance(&operations, &contents, &proposal.inodes).err();
        fault::hit(CrashPoint::OperationIndexed);
        let [(id, operation)] = operations;
        Ok(Committed { id, operation, behind })
    }

    /// Remembers files that were read although no ref moved.
    pub fn remember(&self, inodes: &[Inode]) -> Result<()> {
        match inodes.is_empty() {
            true => Ok(()),
            false => {
                self.store.forget_places();
                self.store.index.advance(&[], &[], inodes)
            }
        }
    }
}

fn expect_unmoved(view: &View, edits: &[RefEdit]) -> Result<()> {
    let shown = |id: Option<SnapshotId>| id.map_or("nothing".into(), |id| id.to_string());
    for edit in edits {
        let found = view.get_ref(&edit.name)?.map(|state| state.snapshot);
        if found != edit.old {
            return Err(Error::Stale {
                name: edit.name.to_string(),
                expected: shown(edit.old),
                found: shown(found),
            });
        }
    }
    Ok(())
}
