//! The log and the packs, read without the store.

use std::collections::{BTreeMap, HashMap, HashSet};

use cairn_store::fs::Dir;
use cairn_store::id::{PackId, SnapshotId};
use cairn_store::log::{Head, Log, file_name};
use cairn_store::pack::Packs;
use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::refs::RefName;
use cairn_store::{Error, Result, Store};

use crate::{Code, Report, Subject};

/// What the log says.
pub(crate) struct Truth {
    pub head: Option<Head>,
    pub refs: BTreeMap<RefName, SnapshotId>,
}

/// Reads every operation and every pack.
pub(crate) fn check(
    subject: &Subject<'_>,
    report: &mut Report,
    observer: &dyn Observer,
) -> Result<Truth> {
    let root = Dir::open(subject.store).map_err(|error| match error.is_not_found() {
        true => Error::NoStore(subject.store.to_owned()),
        false => error,
    })?;
    match root.try_read(b"format")? {
        None => return Err(Error::NoStore(subject.store.to_owned())),
        Some(text) if serde_json::from_slice::<serde_json::Value>(&text).is_err() => {
            report.add(Code::SuperblockUnreadable, "format", "it is not JSON", vec![]);
        }
        Some(_) => {}
    }
    let log = Log::new(root.dir_at(&RelPath::new("log").expect("a constant path"))?);
    let packs = Packs::new(root.dir_at(&RelPath::new("packs").expect("a constant path"))?);
    let last = log.dir().names()?.iter().filter_map(|name| number_of(name)).max().unwrap_or(0);
    observer.begin("Reading the log", last, 0);
    let mut truth = Truth { head: None, refs: BTreeMap::new() };
    let mut seen = HashSet::new();
    let gone = collected(&log, last);
    for number in 1..=last {
        if observer.interrupted() {
            return Err(Error::Interrupted);
        }
        observer.advance(1, 0);
        let subject = format!("log/{}", file_name(number));
        match log.read(number) {
            Ok(Some((id, operation))) => {
                report.operations += 1;
                if operation.parent != truth.head.map(|head| head.id) {
                    report.add(
                        Code::LogChainBroken,
                        &subject,
                        "it does not continue the operation before it",
                        vec![],
                    );
                }
                truth.head = Some(Head { number, id });
                for edit in &operation.edits {
                    let before = truth.refs.get(&edit.name).copied();
                    if before != edit.old {
                        let message = format!("{} was not where it says", edit.name);
                        report.add(Code::LogRefMismatch, &subject, message, vec![]);
                    }
                    match edit.new {
                        Some(new) => drop(truth.refs.insert(edit.name.clone(), new)),
                        None => drop(truth.refs.remove(&edit.name)),
                    }
                }
                for pack in &operation.packs {
                    let is_gone = gone.get(pack).is_some_and(|by| *by > number);
                    if !is_gone && seen.insert(*pack) {
                        check_pack(&packs, pack, &subject, report);
                    }
                }
            }
            Ok(None) => report.add(Code::LogGap, &subject, "the file is missing", vec![]),
            Err(error) => report.add(Code::LogUnreadable, &subject, error, vec![]),
        }
    }
    Ok(truth)
}

/// Returns the packs that were collected, each with the last operation that did it.
fn collected(log: &Log, last: u64) -> HashMap<PackId, u64> {
    // What cannot be read is found below.
    let operations = (1..=last).filter_map(|number| log.read(number).ok().flatten());
    let collected = operations.filter_map(|(_, op)| op.collected.map(|gone| (op.number, gone)));
    collected.flat_map(|(by, gone)| gone.packs.into_iter().map(move |pack| (pack, by))).collect()
}

fn number_of(name: &[u8]) -> Option<u64> {
    std::str::from_utf8(name).ok()?.strip_suffix(".json")?.parse().ok()
}

fn check_pack(packs: &Packs, pack: &PackId, operation: &str, report: &mut Report) {
    report.packs += 1;
    let name = format!("packs/{}", cairn_store::pack::file_name(pack));
    let affected = vec![operation.to_owned()];
    match packs.dir().try_stat(cairn_store::pack::file_name(pack).as_bytes()) {
        Ok(Some(_)) => {
            if let Err(error) = packs.scan(pack) {
                report.add(Code::PackDamaged, name, error, affected);
            }
        }
        Ok(None) => report.add(Code::PackMissing, name, "the file is missing", affected),
        Err(error) => report.add(Code::PackDamaged, name, error, affected),
    }
}

/// Compares what the index says with what the log says.
pub(crate) fn compare_index(store: &Store, truth: &Truth, report: &mut Report) -> Result<()> {
    for note in store.notes() {
        report.add(Code::IndexDiffers, "index.redb", note, vec![]);
    }
    let indexed: BTreeMap<_, _> =
        store.refs()?.into_iter().map(|state| (state.name, state.snapshot)).collect();
    // A command that ran meanwhile moves both; only the same log can be compared.
    if store.head()? == truth.head && indexed != truth.refs {
        let names = truth.refs.keys().chain(indexed.keys());
        let differing = names.filter(|name| truth.refs.get(*name) != indexed.get(*name));
        let mut affected: Vec<_> = differing.map(ToString::to_string).collect();
        affected.dedup();
        report.add(Code::IndexDiffers, "index.redb", "refs differ from the log", affected);
    }
    Ok(())
}
