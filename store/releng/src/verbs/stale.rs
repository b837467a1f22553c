//! Links that the configuration names no more: said by a plan, and removed when that is asked for.
//!
//! Never by itself: a version that moves on leaves links behind that people may still use, and a
//! line that is missing from the configuration may be missing by mistake.

use cairn_store::id::SnapshotId;
use cairn_store::link::LinkSpec;
use cairn_store::log::RefEdit;
use cairn_store::path::{RelPath, display};
use cairn_store::refs::RefName;
use cairn_store::store::{Proposal, Writer};
use cairn_store::tree::Draft;
use serde::Serialize;

use crate::error::{Error, Result, told};
use crate::report::{Mode, RefMove, Report};
use crate::site::Site;

/// What becomes of links that the configuration names no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StaleLinks {
    /// They stay.
    #[default]
    Keep,
    /// They go, with their refs.
    Remove,
}

/// A link that goes, or would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RemovedLink {
    /// The ref.
    #[serde(rename = "ref")]
    pub name: String,
    /// The mount.
    pub mount: String,
    /// The path on the mount.
    pub path: RelPath,
    /// Where it led; null where nothing stood there, or nothing of ours.
    pub old: Option<String>,
}

/// Names the links that the configuration names no more, or removes them.
///
/// Each goes from the mount first and then, all in one operation, from the refs: a link without a
/// ref would be nobody's, while a ref without its link is seen and finished by the next run.
pub(super) fn stale_links(
    site: &Site,
    choice: StaleLinks,
    mode: Mode,
    report: &mut Report,
) -> Result<()> {
    let names: Vec<RefName> = site.stale_links()?.into_iter().map(|(spec, _)| spec.name).collect();
    if choice == StaleLinks::Keep {
        for name in names.iter().filter(|_| mode == Mode::DryRun) {
            report.notes.push(format!(
                "The configuration does not name {name} any more; it stays, and cairn publish \
                 --remove-links would remove it."
            ));
        }
        return Ok(());
    }
    if names.is_empty() {
        return Ok(());
    }
    let writer = site.writer(mode, &names)?;
    let mut going: Vec<(LinkSpec, SnapshotId, Option<String>)> = Vec::new();
    // Only under the lock is what the ref names what it goes on naming.
    for (spec, snapshot) in site.stale_links()? {
        if !names.contains(&spec.name) {
            continue;
        }
        let target = site.link_target(&spec, &snapshot)?;
        match site.look_at_link(&spec, &target) {
            Ok(row) => going.push((spec, snapshot, row.old)),
            Err(Error::Store(cairn_store::Error::ViewOccupied { path, reason })) => {
                let path = display(&path);
                report.notes.push(format!("{path} stays, only its ref goes: {reason}."));
                going.push((spec, snapshot, None));
            }
            // One mount that is away must not keep the others from being finished.
            Err(error) => pending(&spec, &error, report),
        }
    }
    let mut edits = Vec::new();
    let mut gone: Vec<(LinkSpec, String)> = Vec::new();
    for (spec, snapshot, old) in going {
        if let (Some(old), Mode::Apply) = (&old, mode) {
            if let Err(error) = site.store.remove_link(&spec, old.as_bytes()) {
                pending(&spec, &error.into(), report);
                continue;
            }
            gone.push((spec.clone(), old.clone()));
        }
        let LinkSpec { name, mount, path } = spec;
        let shown = name.to_string();
        report.refs.push(RefMove { name: shown.clone(), old: Some(snapshot), new: None });
        report.removed_links.push(RemovedLink { name: shown, mount, path, old });
        edits.push(RefEdit { name, old: Some(snapshot), new: None });
    }
    match writer {
        Some(writer) if !edits.is_empty() => {
            let logged = log(site, &writer, edits, report);
            if logged.is_err() {
                put_back(site, &gone, report);
            }
            logged
        }
        Some(_) | None => Ok(()),
    }
}

fn pending(spec: &LinkSpec, error: &Error, report: &mut Report) {
    report.notes.push(format!("{} is pending: {}.", spec.name, told(error)));
    report.pending.push(spec.name.to_string());
}

fn log(site: &Site, writer: &Writer<'_>, edits: Vec<RefEdit>, report: &mut Report) -> Result<()> {
    let proposal = Proposal { verb: "publish".into(), edits, ..Proposal::default() };
    let committed = writer.commit(&Draft::new(&site.store), proposal)?;
    report.number = Some(committed.operation.number);
    report.operation = Some(committed.id);
    if let Some(error) = committed.behind {
        report.notes.push(format!("The index will be brought up to date: {}.", told(&error)));
    }
    Ok(())
}

/// What was not logged has not happened.
fn put_back(site: &Site, gone: &[(LinkSpec, String)], report: &mut Report) {
    for (spec, target) in gone {
        let back = site.store.prepare_link(spec, target.as_bytes()).and_then(|link| link.switch());
        if let Err(error) = back {
            let error = told(&error);
            report.notes.push(format!("{} is not there any more: {error}.", spec.path));
        }
    }
}
