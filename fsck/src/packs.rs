//! The packs, read without the store: what can be had of every node, sound pack or not.

use std::collections::HashMap;
use std::sync::Arc;

use cairn_store::id::{PackId, SnapshotId, TreeId};
use cairn_store::pack::{NodeId, Packs, Place, Salvage, file_name};
use cairn_store::progress::Observer;
use cairn_store::snapshot::Snapshot;
use cairn_store::tree::{Nodes, Tree};
use cairn_store::{Error, Result};

use crate::log::Truth;
use crate::{Code, Report};

/// Every sound node, wherever it is.
pub(crate) struct Shelf {
    packs: Packs,
    /// Nodes in packs that the log mentions: the store's.
    nodes: HashMap<NodeId, (PackId, Place)>,
    /// Nodes that only packs have which no operation mentions.
    spare: HashMap<NodeId, (PackId, Place)>,
    /// Packs that are mentioned and not whole; nothing where the file is gone.
    pub bad: Vec<(PackId, Option<Salvage>)>,
}

impl Shelf {
    /// Reads every pack.
    pub fn read(
        packs: Packs,
        truth: &Truth,
        report: &mut Report,
        observer: &dyn Observer,
    ) -> Result<Self> {
        let names = packs.dir().names()?;
        let ids: Vec<PackId> = names.iter().filter_map(|name| id_of(name)).collect();
        observer.begin("Reading the packs", ids.len() as u64, 0);
        let (nodes, spare) = (HashMap::new(), HashMap::new());
        let mut shelf = Self { packs, nodes, spare, bad: Vec::new() };
        for id in &ids {
            if observer.interrupted() {
                return Err(Error::Interrupted);
            }
            observer.advance(1, 0);
            let operation = truth.packs.get(id);
            report.packs += u64::from(operation.is_some());
            match (shelf.packs.salvage(id), operation) {
                (Ok(salvage), Some(operation)) => {
                    shelf.nodes.extend(salvage.places.iter().map(|(n, place)| (*n, (*id, *place))));
                    if !salvage.is_sound {
                        let message = damage(&salvage);
                        report.add(Code::PackDamaged, path(id), message, mentioned(*operation));
                        shelf.bad.push((*id, Some(salvage)));
                    }
                }
                (Ok(salvage), None) => {
                    shelf.spare.extend(salvage.places.iter().map(|(n, place)| (*n, (*id, *place))));
                }
                (Err(error), Some(operation)) => {
                    report.add(Code::PackDamaged, path(id), error, mentioned(*operation));
                    shelf.bad.push((*id, None));
                }
                (Err(_), None) => {}
            }
        }
        for (id, operation) in truth.packs.iter().filter(|(id, _)| !ids.contains(id)) {
            report.packs += 1;
            report.add(Code::PackMissing, path(id), "the file is missing", mentioned(*operation));
            shelf.bad.push((*id, None));
        }
        Ok(shelf)
    }

    /// Returns the packs.
    pub fn packs(&self) -> &Packs {
        &self.packs
    }

    /// Returns the snapshots that the store has.
    pub fn snapshots(&self) -> Vec<SnapshotId> {
        let mut ids: Vec<_> = self
            .nodes
            .keys()
            .filter_map(|id| match id {
                NodeId::Snapshot(id) => Some(*id),
                NodeId::Tree(_) => None,
            })
            .collect();
        ids.sort_unstable();
        ids
    }

    /// Returns whether a node is where somebody says that it is.
    pub fn is_at(&self, id: &NodeId, pack: &PackId, place: Place) -> bool {
        self.nodes.get(id) == Some(&(*pack, place)) || self.packs.read(pack, place, id).is_ok()
    }

    /// Returns a node's bytes, also from a pack that no operation mentions.
    pub fn any(&self, id: &NodeId) -> Option<Vec<u8>> {
        let (pack, place) = self.nodes.get(id).or_else(|| self.spare.get(id))?;
        self.packs.read(pack, *place, id).ok()
    }

    /// Returns whether a pack that the log mentions has this node.
    pub fn has(&self, id: &NodeId) -> bool {
        self.nodes.contains_key(id)
    }

    /// Returns the pack that no operation mentions and that has this node.
    pub fn spare(&self, id: &NodeId) -> Option<PackId> {
        self.spare.get(id).map(|(pack, _)| *pack)
    }

    fn bytes(&self, id: &NodeId, name: impl Fn() -> String) -> Result<Vec<u8>> {
        match self.nodes.get(id) {
            Some((pack, place)) => self.packs.read(pack, *place, id),
            None => Err(Error::corrupt(name(), "no pack holds it")),
        }
    }

    /// Returns a snapshot.
    pub fn snapshot(&self, id: &SnapshotId) -> Result<Snapshot> {
        let bytes = self.bytes(&NodeId::Snapshot(*id), || format!("snapshot {id}"))?;
        Snapshot::decode(id, &bytes)
    }
}

impl Nodes for Shelf {
    fn tree(&self, id: &TreeId) -> Result<Arc<Tree>> {
        if *id == TreeId::of(&Tree::default().encode()) {
            return Ok(Arc::default());
        }
        let bytes = self.bytes(&NodeId::Tree(*id), || format!("tree {id}"))?;
        let tree = Tree::decode(&bytes);
        tree.map(Arc::new).map_err(|reason| Error::corrupt(format!("tree {id}"), reason))
    }
}

fn damage(salvage: &Salvage) -> String {
    let (sound, bad) = (salvage.places.len(), salvage.damaged.len());
    match bad {
        0 => format!("its bytes do not hash to its name; {sound} nodes in it are sound"),
        _ => format!("{bad} of its nodes do not hash to their ids; {sound} are sound"),
    }
}

fn id_of(name: &[u8]) -> Option<PackId> {
    PackId::from_hex(std::str::from_utf8(name).ok()?.strip_suffix(".pack")?)
}

/// Returns a pack's path in the store.
pub(crate) fn path(id: &PackId) -> String {
    format!("packs/{}", file_name(id))
}

fn mentioned(operation: u64) -> Vec<String> {
    vec![format!("log/{}", cairn_store::log::file_name(operation))]
}
