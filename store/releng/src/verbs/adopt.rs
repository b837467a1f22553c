//! Adopt: a tree that is live already becomes a ref's, where it stands and without a copy.

use std::path::Path;

use cairn_store::diff::Changed;
use cairn_store::fs::canonical;
use cairn_store::ingest::{Inspection, inspect};
use cairn_store::log::RefEdit;
use cairn_store::path::{RelPath, display};
use cairn_store::progress::Observer;
use cairn_store::publish::{Standing, ViewSpec, Way};
use cairn_store::refs::RefName;
use cairn_store::snapshot::{Origin, Snapshot};
use cairn_store::store::{Proposal, Writer};
use cairn_store::tree::Draft;

use super::lists::write_lists;
use super::turn::Turn;
use crate::config::ListRoot;
use crate::error::{Error, Result, told};
use crate::report::{Mode, RefMove, Report};
use crate::site::Site;

/// How many offenders an error names; the plan names all.
const NAMED: usize = 1_000;

/// Whether there may be nothing at the path for a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gap {
    /// Never.
    #[default]
    Refuse,
    /// Between two renames, where the filesystem has no other way.
    Allow,
}

/// How a tree is adopted.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdoptOptions {
    /// Whether there may be nothing at the path for a moment.
    pub gap: Gap,
    /// Whether to act.
    pub mode: Mode,
}

/// Takes over what is live at a ref's view.
pub fn adopt(
    site: &Site,
    name: &str,
    path: Option<&Path>,
    options: &AdoptOptions,
    observer: &dyn Observer,
) -> Result<Report> {
    let name = RefName::new(name)?;
    let Some(view) = site.view(&name)? else {
        let reason = "it is published nowhere; cairn ingest --as takes a directory in";
        return Err(refused(&name, "view", reason));
    };
    let mount = site.store.mount(&view.mount)?;
    let at = mount.spec.path.join(view.path.as_path());
    if let Some(path) = path
        && canonical(path)? != canonical(&at)?
    {
        let reason = format!(
            "it is published at {}, and what stands there is adopted; {} is somewhere else",
            display(&at),
            display(path)
        );
        return Err(refused(&name, "path", reason));
    }
    let turn = Turn::begin(site, "adopt", options.mode, std::slice::from_ref(&name), observer)?;
    let Turn { mut report, writer, draft, .. } = turn;
    let standing = site.store.standing(&view)?;
    if let Some((id, root)) = site.current(&name)? {
        // A takeover that was killed has the record, and perhaps not yet the link.
        let live = site.store.live(&view).ok().and_then(|live| live.tree);
        if live != Some(root.tree) {
            let reason = "the ref exists already, and what stands at its path is not what it names; \
                          cairn publish shows the ref again where the path is free";
            return Err(refused(&name, "ref", reason));
        }
        report.refs.push(RefMove { name: name.to_string(), old: Some(id), new: Some(id) });
        return Ok(report);
    }
    let found = inspect(&standing.dir, observer)?;
    let refusals = refusals(site, &view, &standing, &found, options.gap);
    report.notes.extend(notes(site, &view, &standing, &found, &at)?);
    let Some(writer) = writer else {
        report.refusals =
            refusals.into_iter().map(|(_, reason)| format!("{name}: {reason}")).collect();
        report.refs.push(RefMove { name: name.to_string(), old: None, new: None });
        report.changed.files_added = found.files;
        report.changed.bytes_added = found.bytes;
        return Ok(report);
    };
    if let Some((rule, _)) = refusals.first() {
        let count = refusals.len();
        let mut reasons: Vec<String> =
            refusals.iter().take(NAMED).map(|(_, reason)| reason.clone()).collect();
        if count > NAMED {
            reasons.push(format!("and {} more, which -n lists", count - NAMED));
        }
        return Err(refused(&name, rule, reasons.join("; ")));
    }
    take(site, &draft, &writer, &view, &standing, report, observer)
}

fn take(
    site: &Site,
    draft: &Draft<'_>,
    writer: &Writer<'_>,
    view: &ViewSpec,
    standing: &Standing,
    mut report: Report,
    observer: &dyn Observer,
) -> Result<Report> {
    let mount = site.store.mount(&view.mount)?;
    let never_link = |path: &RelPath| site.must_not_share(path);
    let adopted = site.store.adopt(draft, &standing.dir, mount.pool(), &never_link, observer)?;
    report.ingested = Some(adopted.counts);
    let mut origin = Origin { verb: "adopt".into(), ..Origin::default() };
    origin.facts.insert("directory".into(), display(standing.dir.path()).to_string());
    let snapshot = Snapshot {
        version: Snapshot::VERSION,
        root: adopted.root.into(),
        time: jiff::Timestamp::now(),
        origin,
        parents: Vec::new(),
    };
    let id = snapshot.encode().0;
    report.changed = Changed::between(draft, None, Some(&adopted.root))?;
    // The last moment at which stopping leaves everything as it was.
    if observer.interrupted() {
        return Err(cairn_store::Error::Interrupted.into());
    }
    site.store.take_over(writer, view, standing, id, adopted.root)?;
    let proposal = Proposal {
        verb: "adopt".into(),
        edits: vec![RefEdit { name: view.name.clone(), old: None, new: Some(id) }],
        snapshots: vec![snapshot],
        ..Proposal::default()
    };
    let committed = writer.commit(draft, proposal)?;
    report.refs.push(RefMove { name: view.name.to_string(), old: None, new: Some(id) });
    report.number = Some(committed.operation.number);
    report.operation = Some(committed.id);
    if let Some(error) = committed.behind {
        report.notes.push(format!("The index will be brought up to date: {}.", told(&error)));
    }
    let touched = |list: &ListRoot| view.mount == list.mount;
    match write_lists(site, &touched, Mode::Apply, observer) {
        Ok(lists) => report.lists = lists,
        Err(error) => report
            .notes
            .push(format!("The mirror lists were not written: {}; run cairn lists.", told(&error))),
    }
    Ok(report)
}

fn refused(name: &RefName, rule: &'static str, reason: impl Into<String>) -> Error {
    Error::Refused { name: name.to_string(), rule, reason: reason.into() }
}

/// Returns every reason why this tree cannot be adopted.
fn refusals(
    site: &Site,
    view: &ViewSpec,
    standing: &Standing,
    found: &Inspection,
    gap: Gap,
) -> Vec<(&'static str, String)> {
    let mut refusals: Vec<(&'static str, String)> = found
        .offenders
        .iter()
        .map(|(path, reason)| ("content", format!("{}: {reason}", display(path))))
        .collect();
    if found.files == 0 {
        refusals.push(("content", "it is empty; is the file system mounted?".into()));
    }
    if standing.way == Way::Gap && gap == Gap::Refuse {
        let mount = site.config.mounts.get(&view.mount).map_or("", |mount| mount.path.as_str());
        refusals.push((
            "gap",
            format!(
                "the file system at {mount} cannot exchange a directory for a link, so for a moment \
                 between two renames nothing would be at the path; at a quiet time, give --allow-gap"
            ),
        ));
    }
    refusals
}

/// Says what will be done, and what the operator should know of the owners.
fn notes(
    site: &Site,
    view: &ViewSpec,
    standing: &Standing,
    found: &Inspection,
    at: &Path,
) -> Result<Vec<String>> {
    let mount = site.store.mount(&view.mount)?;
    let (at, name) = (display(at), &view.name);
    let how = match (mount.pool().links_in(), mount.pool().reflinks()) {
        (true, _) => "hard links",
        (false, true) => "reflinks",
        (false, false) => "copies, because the configuration wants that",
    };
    let mut notes = vec![match standing.way {
        Way::Known | Way::InPlace => {
            format!("{at} becomes the live tree of {name} where it stands, its content by {how}.")
        }
        Way::Exchange => format!(
            "{at} becomes the live tree of {name}: it changes places with a link to itself; its \
             content comes in by {how}."
        ),
        Way::Gap => format!(
            "{at} becomes the live tree of {name}: it is renamed, and then a link takes its path; \
             its content comes in by {how}."
        ),
    }];
    if let [first, rest @ ..] = found.passed_over.as_slice() {
        let more = match rest.len() {
            0 => String::new(),
            more => format!(" and {more} more like it"),
        };
        notes.push(format!(
            "Left out: {}{more}, a removed file that somebody has open. It goes by itself.",
            display(first)
        ));
    }
    if found.owners.len() > 1 {
        let mut owners: Vec<_> = found.owners.iter().collect();
        owners.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let shown = owners.iter().map(|((user, group), count)| format!("{user}:{group} ({count})"));
        notes.push(format!(
            "Its files and directories have different owners: {}. They keep them; what is published \
             later belongs to {}.",
            shown.collect::<Vec<_>>().join(", "),
            match mount.spec.owner {
                Some((user, group)) => format!("{user}:{group}"),
                None => "whoever runs cairn".into(),
            }
        ));
    }
    if let Some((user, group)) = mount.spec.owner {
        let others = found.owners.iter().filter(|(owner, _)| **owner != (user, group));
        let others: u64 = others.map(|(_, count)| count).sum();
        if others > 0 && mount.pool().links_in() {
            notes.push(format!(
                "{others} of them do not belong to {user}:{group}, the owner of the mount: their \
                 content is copied, because a link would have the wrong owner. chown -Rh \
                 {user}:{group} {at} before this saves the room."
            ));
        }
    }
    Ok(notes)
}
