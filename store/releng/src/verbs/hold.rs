//! Holds: names that keep a snapshot from being collected.
//!
//! A hold is a ref, `hold/NAME`. So it is logged as every move of a ref, found again in an index
//! that is built anew, and a root like any other; that it is shown nowhere is in its name.

use cairn_store::id::{OperationId, SnapshotId};
use cairn_store::log::RefEdit;
use cairn_store::refs::{RefName, Rev};
use cairn_store::store::Proposal;
use cairn_store::tree::Draft;
use serde::Serialize;

use crate::error::{Error, Result, told};
use crate::report::Mode;
use crate::site::Site;

const PREFIX: &str = "hold/";
/// How many hex digits of a snapshot name a hold that was given no name.
const SHORT: usize = 12;

/// A hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// Its name.
    pub name: String,
    /// The snapshot that it keeps.
    pub snapshot: SnapshotId,
    /// Why.
    pub reason: Option<String>,
    /// Who holds it.
    pub user: String,
    /// Since when.
    pub time: jiff::Timestamp,
    /// The operation that began it.
    pub operation: u64,
}

/// A name and what it keeps or kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// The hold's name.
    pub name: String,
    /// The snapshot.
    pub snapshot: SnapshotId,
}

/// What holding or releasing will do or did.
#[derive(Debug, Default, Serialize)]
pub struct HoldReport {
    /// Whether nothing was written.
    pub dry_run: bool,
    /// The operation.
    pub operation: Option<OperationId>,
    /// Its number.
    pub number: Option<u64>,
    /// The holds that begin.
    pub held: Vec<Held>,
    /// The holds that end.
    pub released: Vec<Held>,
    /// What else the operator should know, as sentences.
    pub notes: Vec<String>,
}

/// Returns whether a ref is a hold.
pub(super) fn is_hold(name: &RefName) -> bool {
    name.as_str().starts_with(PREFIX)
}

/// Keeps the snapshot that a revision names, under a name.
pub fn hold(site: &Site, rev: &str, name: Option<&str>, mode: Mode) -> Result<HoldReport> {
    let rev = Rev::parse(rev)?;
    let id = site.store.resolve(&rev)?;
    let name = name.map_or_else(|| id.to_string()[..SHORT].to_owned(), str::to_owned);
    let full = RefName::new(format!("{PREFIX}{name}"))?;
    let writer = site.writer(mode, std::slice::from_ref(&full))?;
    // Only under the lock does it stay what it is, and is not collected meanwhile.
    let id = site.store.resolve(&rev)?;
    site.store.snapshot(&id)?;
    if let Some(state) = site.store.get_ref(&full)? {
        return Err(Error::Refused {
            name: full.to_string(),
            rule: "holds",
            reason: format!("it holds snapshot {} already", state.snapshot),
        });
    }
    let mut report = HoldReport {
        dry_run: mode == Mode::DryRun,
        held: vec![Held { name, snapshot: id }],
        notes: site.store.notes().to_vec(),
        ..HoldReport::default()
    };
    if let Some(writer) = &writer {
        let edits = vec![RefEdit { name: full, old: None, new: Some(id) }];
        log(site, writer, "hold", edits, &mut report)?;
    }
    Ok(report)
}

/// Ends holds.
pub fn release(site: &Site, names: &[String], mode: Mode) -> Result<HoldReport> {
    let mut full = Vec::new();
    for name in names {
        let name = RefName::new(format!("{PREFIX}{name}"))?;
        // Before the locks, whose files are named after the ref.
        site.store.resolve(&Rev::Ref(name.clone()))?;
        if !full.contains(&name) {
            full.push(name);
        }
    }
    let writer = site.writer(mode, &full)?;
    let mut report = HoldReport {
        dry_run: mode == Mode::DryRun,
        notes: site.store.notes().to_vec(),
        ..HoldReport::default()
    };
    let mut edits = Vec::new();
    for name in full {
        let old = site.store.resolve(&Rev::Ref(name.clone()))?;
        let (name_of, snapshot) = (name.as_str()[PREFIX.len()..].to_owned(), old);
        report.released.push(Held { name: name_of, snapshot });
        edits.push(RefEdit { name, old: Some(old), new: None });
    }
    if let Some(writer) = &writer {
        log(site, writer, "release", edits, &mut report)?;
    }
    Ok(report)
}

fn log(
    site: &Site,
    writer: &cairn_store::store::Writer<'_>,
    verb: &str,
    edits: Vec<RefEdit>,
    report: &mut HoldReport,
) -> Result<()> {
    let proposal = Proposal { verb: verb.to_owned(), edits, ..Proposal::default() };
    let committed = writer.commit(&Draft::new(&site.store), proposal)?;
    report.operation = Some(committed.id);
    report.number = Some(committed.operation.number);
    if let Some(error) = committed.behind {
        report.notes.push(format!("The index will be brought up to date: {}.", told(&error)));
    }
    Ok(())
}

/// Returns all holds, by name.
pub fn holds(site: &Site) -> Result<Vec<Hold>> {
    let refs = site.store.refs()?;
    let holds = refs.into_iter().filter(|state| is_hold(&state.name));
    holds
        .map(|state| {
            let operation = site.store.operation(state.operation)?;
            Ok(Hold {
                name: state.name.as_str()[PREFIX.len()..].to_owned(),
                snapshot: state.snapshot,
                reason: operation.reason,
                user: operation.user,
                time: operation.time,
                operation: state.operation,
            })
        })
        .collect()
}
