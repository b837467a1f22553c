//! Evidence: that the log is what it always was, for its owner and for somebody who has no store.
//!
//! [`verify`] walks the chain of operations and every pack. [`export`] writes log and snapshots as
//! one file (docs/format.md §14), which [`check`] reads with nothing but the file and, if it is
//! signed, public keys. Who keeps an exported file can later tell whether the log was rewritten:
//! the older file's head must be in the newer one's chain.
//!
//! Files come from outside. They are read whole, up to [`LIMIT`], and what is wrong with one is a
//! finding and never a panic.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use cairn_store::id::{ObjectId, OperationId, PackId, SnapshotId, TreeId};
use cairn_store::log::{Head, Log, Operation, file_name};
use cairn_store::pack::NodeId;
use cairn_store::progress::Observer;
use cairn_store::refs::RefName;
use cairn_store::snapshot::Snapshot;
use cairn_store::tree::{Entry, Tree};
use serde::Serialize;

use crate::error::Result;
use crate::signing::{Signer, Verdict, Verifier};
use crate::site::Site;

mod file;

use file::{Parts, Writer};

/// The largest file that is read: a million operations.
pub const LIMIT: u64 = 1 << 30;
/// How many findings are listed; the rest is counted.
const FINDINGS: usize = 1000;
/// How a signature begins.
const ARMOUR: &[u8] = b"-----BEGIN PGP SIGNATURE-----\n";
/// What messages call the signed bytes.
const NAME: &str = "audit";

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The operation, pack, tree or snapshot.
    pub subject: String,
    /// What is wrong with it.
    pub message: String,
}

/// Whose signature a file has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Signature {
    /// By a key that was given.
    Good {
        /// The key's fingerprint.
        key: String,
        /// Whose key it is.
        owner: String,
    },
    /// It is not good.
    NotGood {
        /// Why, as the end of a sentence about the signature.
        reason: String,
    },
    /// There is one, and no keys to check it with.
    NotChecked,
    /// There is none.
    Unsigned,
}

/// What was found out about a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The store's id.
    pub store: String,
    /// When a file was written; nothing for a store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// The number of the last operation.
    pub operations: u64,
    /// Its id, which vouches for all before it.
    pub head: Option<OperationId>,
    /// Snapshots that are there and are what their ids say.
    pub snapshots: usize,
    /// Snapshots that operations name and that were collected since.
    pub collected: usize,
    /// Packs that are there and are what their names say; of a store only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packs: Option<usize>,
    /// Trees in them; of a store only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trees: Option<usize>,
    /// What the refs name after the last operation.
    pub refs: BTreeMap<RefName, SnapshotId>,
    /// Whose signature it has; of a file only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// How many findings more there are.
    pub omitted: usize,
}

impl Evidence {
    fn find(&mut self, subject: impl ToString, message: impl Into<String>) {
        if self.findings.len() >= FINDINGS {
            self.omitted += 1;
            return;
        }
        self.findings.push(Finding { subject: subject.to_string(), message: message.into() });
    }

    /// Returns whether nothing is wrong; a signature is another question.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// The log, operation by operation.
#[derive(Default)]
struct Chain {
    evidence: Evidence,
    head: Option<Head>,
    /// The id of each operation, from number 1.
    ids: Vec<OperationId>,
    named: BTreeSet<SnapshotId>,
    collected: BTreeSet<SnapshotId>,
    packs: BTreeSet<PackId>,
}

impl Chain {
    /// Takes in the next operation's bytes, as its file has them.
    fn take(&mut self, number: u64, bytes: &[u8]) {
        let subject = format!("operation {number}");
        let id = OperationId::of(bytes);
        let operation: Operation = match serde_json::from_slice(bytes) {
            Ok(operation) => operation,
            Err(error) => {
                self.evidence.find(subject, format!("it cannot be read: {error}"));
                return self.go_on(number, id);
            }
        };
        if operation.version != Log::VERSION {
            self.evidence.find(&subject, format!("version {} is not known", operation.version));
        }
        if operation.number != number {
            self.evidence.find(&subject, format!("it says that it is {}", operation.number));
        }
        if operation.parent != self.head.map(|head| head.id) {
            self.evidence.find(&subject, "it does not continue the operation before it");
        }
        for edit in operation.edits {
            if self.evidence.refs.get(&edit.name).copied() != edit.old {
                let message = format!("it moves {} from where it was not", edit.name);
                self.evidence.find(&subject, message);
            }
            match edit.new {
                Some(new) => {
                    self.named.insert(new);
                    // A snapshot that was collected comes back with who names it again.
                    self.collected.remove(&new);
                    self.evidence.refs.insert(edit.name, new);
                }
                None => drop(self.evidence.refs.remove(&edit.name)),
            }
        }
        if let Some(collected) = operation.collected {
            self.collected.extend(collected.snapshots);
            for pack in &collected.packs {
                self.packs.remove(pack);
            }
        }
        self.packs.extend(operation.packs);
        self.go_on(number, id);
    }

    fn go_on(&mut self, number: u64, id: OperationId) {
        self.head = Some(Head { number, id });
        self.ids.push(id);
        self.evidence.operations = number;
        self.evidence.head = Some(id);
    }

    /// Says what is missing of what operations name, and returns what was found out.
    fn finish(mut self, snapshots: &HashSet<SnapshotId>) -> Evidence {
        for id in self.named.difference(&self.collected) {
            if !snapshots.contains(id) {
                self.evidence
                    .find(format!("snapshot {id}"), "an operation names it, and it is not there");
            }
        }
        self.evidence.snapshots = snapshots.len();
        self.evidence.collected = self.named.intersection(&self.collected).count();
        self.evidence
    }
}

/// Walks the log and all packs of a store.
///
/// # Errors
/// What keeps them from being read at all; what is wrong with them is a finding.
pub fn verify(site: &Site, observer: &dyn Observer) -> Result<Evidence> {
    let store = &site.store;
    let mut chain = Chain::default();
    chain.evidence.store = store.id().to_owned();
    let last = store.head()?.map_or(0, |head| head.number);
    observer.begin("Walking the log", last, 0);
    for number in 1..=last {
        stop_if_interrupted(observer)?;
        match store.log().dir().try_read(file_name(number).as_bytes())? {
            Some(bytes) => chain.take(number, &bytes),
            None => chain.evidence.find(format!("operation {number}"), "its file is missing"),
        }
        observer.advance(1, 0);
    }
    let packs = chain.packs.clone();
    observer.begin("Reading packs", packs.len() as u64, 0);
    let mut nodes = Nodes::default();
    for pack in &packs {
        stop_if_interrupted(observer)?;
        if let Err(error) = nodes.read(site, pack, &mut chain.evidence) {
            chain.evidence.find(format!("pack {pack}"), error.to_string());
        }
        observer.advance(1, 0);
    }
    chain.evidence.packs = Some(packs.len());
    chain.evidence.trees = Some(nodes.trees.len());
    for tree in nodes.needed.difference(&nodes.trees) {
        chain
            .evidence
            .find(format!("tree {tree}"), "a tree or snapshot holds it, and no pack does");
    }
    Ok(chain.finish(&nodes.snapshots))
}

fn stop_if_interrupted(observer: &dyn Observer) -> Result<()> {
    match observer.interrupted() {
        true => Err(cairn_store::Error::Interrupted.into()),
        false => Ok(()),
    }
}

/// What packs hold, and what that needs.
#[derive(Default)]
struct Nodes {
    trees: HashSet<TreeId>,
    snapshots: HashSet<SnapshotId>,
    needed: HashSet<TreeId>,
}

impl Nodes {
    fn read(&mut self, site: &Site, pack: &PackId, found: &mut Evidence) -> Result<()> {
        let packs = site.store.packs();
        for (id, place) in packs.scan(pack)? {
            let bytes = match packs.read(pack, place, &id) {
                Ok(bytes) => bytes,
                Err(error) => {
                    found.find(format!("pack {pack}"), error.to_string());
                    continue;
                }
            };
            match id {
                NodeId::Snapshot(id) => {
                    let snapshot = Snapshot::decode(&id, &bytes)?;
                    self.needed.insert(snapshot.root.tree);
                    self.snapshots.insert(id);
                }
                NodeId::Tree(id) => match Tree::decode(&bytes) {
                    Ok(tree) => {
                        let below = tree.entries().iter().filter_map(|(_, entry)| match entry {
                            Entry::Dir(dir) => Some(dir.tree),
                            Entry::File(_) | Entry::Symlink(_) => None,
                        });
                        self.needed.extend(below);
                        self.trees.insert(id);
                    }
                    Err(reason) => found.find(format!("tree {id}"), reason),
                },
            }
        }
        Ok(())
    }
}

/// Writes log and snapshots as one file, signed where there is a signer.
///
/// # Errors
/// A log that cannot be read, a signature that cannot be had.
pub fn export(
    site: &Site,
    signer: Option<&Signer<'_>>,
    time: jiff::Timestamp,
    observer: &dyn Observer,
) -> Result<Vec<u8>> {
    let store = &site.store;
    let view = store.index().view()?;
    let head = view.head()?;
    let last = head.map_or(0, |head| head.number);
    observer.begin("Reading the log", last, 0);
    let mut writer = Writer::new(store.id(), time, head);
    let mut named = BTreeSet::new();
    for number in 1..=last {
        stop_if_interrupted(observer)?;
        let name = file_name(number);
        let bytes = store.log().dir().read(name.as_bytes())?;
        // What cannot be read cannot be vouched for: verify says more of it.
        let (_, operation) = store.log().read(number)?.ok_or_else(|| {
            let (subject, reason) = (format!("log/{name}"), "the file is missing".to_owned());
            cairn_store::Error::Corrupt { subject, reason }
        })?;
        named.extend(operation.edits.iter().filter_map(|edit| edit.new));
        writer.operation(number, &bytes);
        observer.advance(1, 0);
    }
    for id in named {
        let node = NodeId::Snapshot(id);
        let Some((pack, place)) = view.node(&node)? else { continue };
        writer.snapshot(&id, &store.packs().read(&pack, place, &node)?);
    }
    let mut bytes = writer.finish();
    if let Some(signer) = signer {
        let signature = signer.sign(NAME, &bytes, observer)?;
        bytes.extend_from_slice(&signature);
    }
    Ok(bytes)
}

/// Checks an exported file: its chain, its snapshots, its signature by one of these keys.
///
/// With an `older` file it must also continue that one.
///
/// # Errors
/// What keeps gpgv from judging.
pub fn check(
    bytes: &[u8],
    keys: Option<&Verifier>,
    older: Option<&[u8]>,
    observer: &dyn Observer,
) -> Result<Evidence> {
    let (mut chain, snapshots, signature) = read(bytes);
    if signature.is_some_and(|after| !after.is_empty() && !after.starts_with(ARMOUR)) {
        chain.evidence.find("the file", "what follows its end is no armoured signature");
    }
    let ids = chain.ids.clone();
    let mut evidence = chain.finish(&snapshots);
    // Where the file breaks off nobody can say what was signed.
    if let Some(signature) = signature {
        let body = &bytes[..bytes.len() - signature.len()];
        evidence.signature = Some(match (signature.is_empty(), keys) {
            (true, _) => Signature::Unsigned,
            (false, None) => Signature::NotChecked,
            (false, Some(keys)) => match keys.verify(NAME, body, signature, observer)? {
                Verdict::Good { key, owner } => Signature::Good { key, owner },
                verdict => Signature::NotGood { reason: verdict.to_string() },
            },
        });
    }
    if let Some(older) = older {
        let (old, ..) = read(older);
        let subject = "the older file";
        if !old.evidence.is_sound() {
            let worst = &old.evidence.findings[0];
            evidence.find(subject, format!("{}: {}", worst.subject, worst.message));
        }
        if old.evidence.store != evidence.store {
            evidence.find(subject, "it is of another store");
        } else if !ids.starts_with(&old.ids) {
            let same = ids.iter().zip(&old.ids).take_while(|(new, old)| new == old).count();
            let message = format!("the log was rewritten: operation {} is another now", same + 1);
            evidence.find(subject, message);
        }
    }
    Ok(evidence)
}

/// Reads a file as far as it goes, and returns what follows its end, if it gets there.
fn read(bytes: &[u8]) -> (Chain, HashSet<SnapshotId>, Option<&[u8]>) {
    let (mut chain, mut snapshots) = (Chain::default(), HashSet::new());
    let mut parts = match Parts::new(bytes) {
        Ok(parts) => parts,
        Err(reason) => {
            chain.evidence.find("the file", reason);
            return (chain, snapshots, None);
        }
    };
    chain.evidence.store = parts.store.to_owned();
    chain.evidence.time = Some(parts.time.to_owned());
    loop {
        match parts.next() {
            Ok(Some(file::Part::Operation(number, bytes))) => {
                let expected = chain.head.map_or(1, |head| head.number + 1);
                if number != expected {
                    let message = format!("operation {number} stands where {expected} should");
                    chain.evidence.find("the file", message);
                    return (chain, snapshots, None);
                }
                chain.take(number, bytes);
            }
            Ok(Some(file::Part::Snapshot(id, bytes))) => match Snapshot::decode(&id, bytes) {
                Ok(_) => drop(snapshots.insert(id)),
                Err(error) => chain.evidence.find(format!("snapshot {id}"), error.to_string()),
            },
            Ok(None) => break,
            Err(reason) => {
                chain.evidence.find("the file", reason);
                return (chain, snapshots, None);
            }
        }
    }
    if parts.head != chain.head {
        chain.evidence.find("the file", "its operations do not lead to the head that it names");
    }
    let signature = parts.signature();
    (chain, snapshots, Some(signature))
}

/// Returns the id of a file's bytes, which `b3sum` agrees with.
fn digest(bytes: &[u8]) -> ObjectId {
    ObjectId::of(bytes)
}

#[cfg(test)]
mod tests;
