//! Rollback: a ref, and its view, return to a snapshot that was there before.

use cairn_store::progress::Observer;
use cairn_store::publish::Intent;
use cairn_store::refs::{RefName, Rev};

use super::forecast::Forecast;
use super::moves::{Destination, Move};
use super::turn::Turn;
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
    let mut turn = Turn::begin(site, "rollback", mode, std::slice::from_ref(&name), observer)?;
    turn.intent = Intent::Back;
    let id = match to {
        Some(rev) => site.resolve(rev)?,
        None => site.store.resolve(&Rev::Before(name.clone(), 1))?,
    };
    let root = site.store.snapshot(&id)?.root();
    let old = site.current(&name)?;
    if let (Mode::DryRun, Some((current, now))) = (mode, &old)
        && *current != id
    {
        observer.begin("Comparing", 0, 0);
        turn.report.forecast = Some(Forecast::between(site, now, &root)?);
    }
    turn.finish(vec![Move { name, old, new: Destination::Snapshot { id, root } }])
}
