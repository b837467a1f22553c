//! What the index says against what the log and the packs say. The index is not changed.

use std::collections::BTreeMap;

use cairn_store::fs::Dir;
use cairn_store::id::{OperationId, SnapshotId};
use cairn_store::index::{Index, View};
use cairn_store::log::{Head, Log, file_name};
use cairn_store::pack::NodeId;
use cairn_store::refs::RefName;
use cairn_store::{Error, Result};

use crate::log::Truth;
use crate::packs::Shelf;
use crate::{Code, Report};

const INDEX: &str = "index.redb";

/// What the index knows and the log does not: enough to write down what happened.
#[derive(Debug)]
pub(crate) struct Lost {
    pub number: u64,
    /// What the operation's id was; known of the last one only.
    pub id: Option<OperationId>,
    pub edits: Vec<(RefName, Option<SnapshotId>)>,
}

/// What became of the index.
#[derive(Default)]
pub(crate) struct Indexed {
    /// Whether it must be built again.
    pub rebuild: bool,
    /// Operations that it alone remembers.
    pub lost: Vec<Lost>,
    /// The index, where it can be used.
    pub index: Option<Index>,
}

/// Compares the index with the log.
pub(crate) fn check(root: &Dir, log: &Log, truth: &Truth, report: &mut Report) -> Result<Indexed> {
    let mut found = Indexed::default();
    let differs = |report: &mut Report, message: String, affected| {
        report.add(Code::IndexDiffers, INDEX, message, affected);
    };
    if root.try_stat(INDEX.as_bytes())?.is_none() {
        if truth.last > 0 {
            differs(report, "it is missing; the next command builds it again".into(), vec![]);
            found.rebuild = true;
        }
        return Ok(found);
    }
    // The index must stay open for as long as the view of it is used.
    let opened = Index::open(&root.path().join(INDEX)).and_then(|index| Ok((index.view()?, index)));
    let (view, index) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            differs(report, format!("it cannot be used: {error}"), vec![]);
            found.rebuild = true;
            return Ok(found);
        }
    };
    let compared = compare(&view, log, truth, report, &mut found);
    if let Err(error) = compared {
        differs(report, format!("it cannot be read: {error}"), vec![]);
        found.rebuild = true;
    }
    if !found.rebuild {
        found.index = Some(index);
    }
    Ok(found)
}

fn compare(
    view: &View,
    log: &Log,
    truth: &Truth,
    report: &mut Report,
    found: &mut Indexed,
) -> Result<()> {
    let Some(head) = view.head()? else {
        // An index that is behind is brought up to date by whoever opens the store next.
        return Ok(());
    };
    let is_now = log.read(head.number).is_ok_and(|op| op.is_some_and(|(id, _)| id == head.id));
    if head.number > truth.last && is_now {
        // Logged since we read the log.
        return Ok(());
    }
    if !is_now {
        found.rebuild = true;
        differs_at_head(view, head, truth, report, found)?;
        return Ok(());
    }
    let mut affected: Vec<String> = Vec::new();
    let indexed: BTreeMap<_, _> =
        view.refs()?.into_iter().map(|state| (state.name, state.snapshot)).collect();
    let logged = truth.refs_at(head.number);
    for name in truth.history.keys().chain(indexed.keys()) {
        let moves = truth.history.get(name).map(Vec::as_slice).unwrap_or_default();
        let moves = moves.iter().rev().filter(|(number, _)| *number <= head.number);
        let same = indexed.get(name) == logged.get(name) && view.history(name)?.iter().eq(moves)
            || affected.contains(&name.to_string());
        if !same {
            affected.push(name.to_string());
        }
    }
    if !affected.is_empty() {
        let message = format!("it differs from the log in {} refs", affected.len());
        report.add(Code::IndexDiffers, INDEX, message, affected);
        found.rebuild = true;
    }
    Ok(())
}

/// Asks the index for everything that refs need and packs have.
pub(crate) fn check_nodes(
    index: &Index,
    needed: &mut dyn Iterator<Item = NodeId>,
    truth: &Truth,
    shelf: &Shelf,
    report: &mut Report,
) -> Result<bool> {
    let view = index.view()?;
    // Only an index that has taken in the whole log can be asked.
    if view.head()? != truth.head {
        return Ok(true);
    }
    let mut astray = 0;
    for id in needed.filter(|id| shelf.has(id)) {
        astray += match view.node(&id)? {
            Some((pack, place)) if shelf.is_at(&id, &pack, place) => 0,
            _ => 1,
        };
    }
    if astray > 0 {
        let message = format!("it does not lead to {astray} trees and snapshots that are there");
        report.add(Code::IndexDiffers, INDEX, message, vec![]);
    }
    Ok(astray == 0)
}

/// The operation that the index ends with is not in the log.
fn differs_at_head(
    view: &View,
    head: Head,
    truth: &Truth,
    report: &mut Report,
    found: &mut Indexed,
) -> Result<()> {
    let from = truth.head.map_or(1, |head| head.number + 1);
    let of_other_log = "it knows another operation than the log: it is of another store, or older";
    let subject = format!("log/{}", file_name(head.number));
    match truth.ids.get(&head.number) {
        Some(_) if head.number == truth.last => {
            let message = format!(
                "the index has seen another operation {}: it was changed since, or the index is \
                 of another log",
                head.number
            );
            report.add(Code::LogHeadDiffers, subject, message, vec![]);
            return Ok(());
        }
        Some(_) => {
            report.add(Code::IndexDiffers, INDEX, of_other_log, vec![]);
            return Ok(());
        }
        None => {}
    }
    // A hole before what both know is another damage, which the index cannot heal.
    let at_end = truth.broken.iter().all(|number| *number == truth.last);
    if !at_end || from > head.number {
        return Ok(());
    }
    let mut affected = Vec::new();
    let mut lost: BTreeMap<u64, Vec<(RefName, Option<SnapshotId>)>> =
        (from..=head.number).map(|number| (number, Vec::new())).collect();
    let mut names: Vec<RefName> = view.refs()?.into_iter().map(|state| state.name).collect();
    names.extend(truth.history.keys().cloned());
    names.sort_unstable();
    names.dedup();
    for name in names {
        let known = view.history(&name)?;
        let before = truth.history.get(&name).map(Vec::as_slice).unwrap_or_default();
        let older = known.iter().rev().filter(|(number, _)| *number < from);
        if !older.eq(before.iter()) {
            // It does not continue this log.
            report.add(Code::IndexDiffers, INDEX, of_other_log, vec![]);
            return Ok(());
        }
        for (number, snapshot) in known {
            if let Some(edits) = lost.get_mut(&number) {
                affected.push(name.to_string());
                edits.push((name.clone(), snapshot));
            }
        }
    }
    affected.dedup();
    let message = match head.number - from {
        0 => "the index knows this operation, and the log has lost it".to_owned(),
        more => format!("the index knows this operation and {more} before it, which the log lost"),
    };
    report.add(Code::LogLost, subject, message, affected);
    found.lost = lost
        .into_iter()
        .map(|(number, edits)| {
            let id = (number == head.number).then_some(head.id);
            Lost { number, id, edits }
        })
        .collect();
    Ok(())
}

/// Makes an [`Error`] of the store into the reason why something stays as it is.
pub(crate) fn reason(error: &Error) -> String {
    use std::error::Error as _;
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text += &format!(": {inner}");
        cause = inner.source();
    }
    text
}
