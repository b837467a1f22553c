//! Rollback: a ref, and its view, return to a snapshot that was there before.

use cairn_store::progress::Observer;
use cairn_store::publish::Intent;
use cairn_store::refs::{RefName, Rev};
use cairn_store::tree::Draft;

use super::forecast::Forecast;
use super::moves::{Destination, Move, Moves};
use crate::error::Result;
use crate::report::{Mode, Report};
use crate::site::Site;

/// Takes a ref back to the snapshot before, or to the one that `to` names.
pub fn rollback(
    site: &Site,
    name: &str,
    to: Option<&str>,
    mode: Mode,
    observer: &dyn Observer,
) -> Result<Report> {
    let name = RefName::new(name)?;
    // Before the locks, whose files are named after the ref: a ref that is not there is an error.
    site.store.resolve(&Rev::Ref(name.clone()))?;
    let mut report = Report::default();
    let writer = match mode {
        Mode::Apply => Some(site.store.writer(std::slice::from_ref(&name))?),
        Mode::DryRun => None,
    };
    report.notes = match &writer {
        Some(writer) => site.recover(writer, observer)?,
        None => site.store.notes().to_vec(),
    };
    let id = match to {
        Some(rev) => site.resolve(rev)?,
        None => site.store.resolve(&Rev::Before(name.clone(), 1))?,
    };
    let root = site.store.snapshot(&id)?.root();
    let old = site.current(&name)?;
    if let (Mode::DryRun, Some((current, now))) = (mode, &old)
        && *current != id
    {
        report.forecast = Some(Forecast::between(site, now, &root)?);
    }
    let draft = Draft::new(&site.store);
    let moves = Moves {
        site,
        draft: &draft,
        verb: "rollback",
        moves: vec![Move { name, old, new: Destination::Snapshot { id, root } }],
        intent: Intent::Back,
        details: serde_json::Value::Null,
        inodes: Vec::new(),
    };
    moves.run(mode, writer.as_ref(), report, observer)
}
