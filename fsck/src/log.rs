//! The superblock and the log, read without the store.

use std::collections::{BTreeMap, BTreeSet};

use cairn_store::fs::Dir;
use cairn_store::id::{OperationId, PackId, SnapshotId};
use cairn_store::log::{Head, Log, Operation, file_name};
use cairn_store::progress::Observer;
use cairn_store::refs::RefName;
use cairn_store::{Error, Result};

use crate::{Code, Report};

/// What the log says.
#[derive(Default)]
pub(crate) struct Truth {
    /// The last operation that continues the chain from the first.
    pub head: Option<Head>,
    /// The highest number that a file has.
    pub last: u64,
    /// The id of every operation that could be read, by number.
    pub ids: BTreeMap<u64, OperationId>,
    pub refs: BTreeMap<RefName, SnapshotId>,
    /// What each ref named after each operation that moved it, oldest first.
    pub history: BTreeMap<RefName, Vec<(u64, Option<SnapshotId>)>>,
    /// The packs that operations mention, and which the first of them is.
    pub packs: BTreeMap<PackId, u64>,
    /// Operations that are missing, unreadable or not in the chain.
    pub broken: BTreeSet<u64>,
}

impl Truth {
    /// Returns what the refs named after an operation.
    pub fn refs_at(&self, number: u64) -> BTreeMap<&RefName, SnapshotId> {
        let at = |moves: &Vec<(u64, Option<SnapshotId>)>| {
            moves.iter().rev().find(|(n, _)| *n <= number).and_then(|(_, snapshot)| *snapshot)
        };
        self.history.iter().filter_map(|(name, moves)| Some((name, at(moves)?))).collect()
    }

    /// Returns whether an operation has moved this ref since the log was read.
    pub fn has_moved(&self, log: &Log, name: &RefName) -> bool {
        let news = (self.last + 1..).map_while(|number| log.read(number).ok().flatten());
        news.into_iter().any(|(_, operation)| operation.edits.iter().any(|e| e.name == *name))
    }
}

/// Reads every operation and follows the chain.
pub(crate) fn read(log: &Log, report: &mut Report, observer: &dyn Observer) -> Result<Truth> {
    let last = last(log)?;
    observer.begin("Reading the log", last, 0);
    let mut truth = Truth { last, ..Truth::default() };
    // Of what follows a hole nobody can say whether it continues what was there.
    let mut before = Some(None);
    for number in 1..=last {
        if observer.interrupted() {
            return Err(Error::Interrupted);
        }
        observer.advance(1, 0);
        let subject = format!("log/{}", file_name(number));
        match log.read(number) {
            Ok(Some((id, operation))) => {
                report.operations += 1;
                if before.is_some_and(|before| operation.parent != before) {
                    report.add(
                        Code::LogChainBroken,
                        &subject,
                        "it does not continue the operation before it",
                        edited(&operation),
                    );
                    truth.broken.insert(number);
                }
                before = Some(Some(id));
                if truth.broken.is_empty() {
                    truth.head = Some(Head { number, id });
                }
                truth.ids.insert(number, id);
                take_in(&mut truth, number, &operation, &subject, report);
            }
            Ok(None) => {
                report.add(Code::LogGap, &subject, "the file is missing", vec![]);
                truth.broken.insert(number);
                before = None;
            }
            Err(error) => {
                let code = if number == last { Code::LogTorn } else { Code::LogUnreadable };
                report.add(code, &subject, error, vec![]);
                truth.broken.insert(number);
                before = None;
            }
        }
    }
    Ok(truth)
}

/// Returns the highest number that an operation file has, readable or not.
pub(crate) fn last(log: &Log) -> Result<u64> {
    Ok(log.dir().names()?.iter().filter_map(|name| number_of(name)).max().unwrap_or(0))
}

fn take_in(
    truth: &mut Truth,
    number: u64,
    operation: &Operation,
    subject: &str,
    report: &mut Report,
) {
    for edit in &operation.edits {
        // After a hole nobody knows where the refs were.
        if truth.broken.is_empty() && truth.refs.get(&edit.name).copied() != edit.old {
            let message = format!("{} was not where it says", edit.name);
            report.add(Code::LogRefMismatch, subject, message, edited(operation));
        }
        match edit.new {
            Some(new) => drop(truth.refs.insert(edit.name.clone(), new)),
            None => drop(truth.refs.remove(&edit.name)),
        }
        truth.history.entry(edit.name.clone()).or_default().push((number, edit.new));
    }
    // What a collection of garbage took out need not be there any more.
    for pack in operation.collected.iter().flat_map(|collected| &collected.packs) {
        truth.packs.remove(pack);
    }
    for pack in &operation.packs {
        truth.packs.entry(*pack).or_insert(number);
    }
}

fn edited(operation: &Operation) -> Vec<String> {
    operation.edits.iter().map(|edit| edit.name.to_string()).collect()
}

fn number_of(name: &[u8]) -> Option<u64> {
    std::str::from_utf8(name).ok()?.strip_suffix(".json")?.parse().ok()
}

/// What the superblock says.
pub(crate) enum Superblock {
    /// The store's id.
    Known(String),
    /// It is of a store that this program must not touch.
    Foreign,
    /// It cannot be read.
    Unreadable,
}

/// Reads the superblock; nothing at all there means that there is no store.
pub(crate) fn superblock(root: &Dir, report: &mut Report) -> Result<Superblock> {
    let Some(text) = root.try_read(b"format")? else {
        return Err(Error::NoStore(root.path().to_owned()));
    };
    let Ok(block) = serde_json::from_slice::<serde_json::Value>(&text) else {
        report.add(Code::SuperblockUnreadable, "format", "it is not JSON", vec![]);
        return Ok(Superblock::Unreadable);
    };
    match cairn_store::store::check_superblock(root) {
        Ok(id) => Ok(Superblock::Known(id)),
        // Readable, complete, and not ours to touch.
        Err(error) if block.get("id").is_some_and(serde_json::Value::is_string) => {
            let path = cairn_store::path::display(root.path()).to_string();
            report.add(Code::StoreUnopenable, path, error, vec![]);
            Ok(Superblock::Foreign)
        }
        Err(error) => {
            report.add(Code::SuperblockUnreadable, "format", error, vec![]);
            Ok(Superblock::Unreadable)
        }
    }
}
