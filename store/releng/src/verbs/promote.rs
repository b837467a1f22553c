//! Promote: what is staged becomes production, for one release or several at once.

use std::collections::BTreeMap;

use cairn_store::diff::diff;
use cairn_store::progress::Observer;
use cairn_store::publish::Intent;
use cairn_store::refs::RefName;
use cairn_store::snapshot::Origin;
use cairn_store::transform::{overlay, settle_times};
use cairn_store::tree::{DirEntry, Draft, Entry};

use super::Merge;
use super::moves::{Destination, Move, Moves, ref_name};
use super::stage::{described, in_repodata, is_repodata, merge_name};
use crate::config::Percent;
use crate::error::{Error, Result};
use crate::names::ReleaseView;
use crate::report::{Mode, Report};
use crate::repos::Inputs;
use crate::site::Site;

/// How releases are promoted.
#[derive(Clone, Debug, Default)]
pub struct PromoteOptions {
    /// Whether production keeps what staging lacks.
    pub merge: Merge,
    /// The share of deletions that the operator allows, instead of the configured one.
    pub allow_deletes: Option<Percent>,
    /// Whether to act.
    pub mode: Mode,
}

/// Promotes releases in one operation, then writes the lists.
pub fn promote(
    site: &Site,
    releases: &[String],
    options: &PromoteOptions,
    observer: &dyn Observer,
) -> Result<Report> {
    // Every name is checked before anything happens: beta and lookahead are refused here.
    let mut pairs: Vec<(ReleaseView<'_>, RefName, RefName)> = Vec::new();
    for release in releases {
        let release = site.config.release(release)?;
        let (staging, name) =
            (ref_name(release.staging_ref())?, ref_name(release.production_ref()?)?);
        if !pairs.iter().any(|(_, from, to)| (from, to) == (&staging, &name)) {
            pairs.push((release, staging, name));
        }
    }
    let targets: Vec<RefName> = pairs.iter().map(|(.., target)| target.clone()).collect();
    let mut report = Report::default();
    let writer = match options.mode {
        Mode::Apply => Some(site.store.writer(&targets)?),
        Mode::DryRun => None,
    };
    report.notes = match &writer {
        Some(writer) => site.recover(writer, observer)?,
        None => site.store.notes().to_vec(),
    };
    // A safeguard that is configured and does nothing must not look like one that passed.
    if !site.config.gates.is_empty() {
        let gates: Vec<&str> = site.config.gates.keys().map(String::as_str).collect();
        report.notes.push(format!(
            "The gates of the configuration ([gate.{}]) are not run by this version.",
            gates.join("], [gate.")
        ));
    }
    let draft = Draft::new(&site.store);
    let mut moves = Vec::new();
    for (release, staging, name) in pairs {
        let Some((source, staged)) = site.current(&staging)? else {
            return Err(cairn_store::Error::UnknownRef(staging.to_string()).into());
        };
        let old = site.current(&name)?;
        let mut root = match (old, options.merge) {
            (Some((_, old)), Merge::Keep) => overlay(&draft, &old, &staged, &is_repodata)?,
            (Some(_), Merge::Exact) | (None, _) => staged,
        };
        if let Some((_, old)) = &old {
            let settled = settle_times(&draft, old, &root)?;
            root = settled.root;
            report.times_moved.extend(settled.moved);
            if options.merge == Merge::Keep {
                let inputs = Inputs {
                    release: &release,
                    trees: vec![staged],
                    composes: Vec::new(),
                    advisories: BTreeMap::new(),
                };
                let mode = options.mode;
                root = described(
                    site,
                    &draft,
                    Some(old),
                    &root,
                    &inputs,
                    mode,
                    &mut report,
                    observer,
                )?;
            }
            let floor = check_deletes(site, &draft, &name, old, &root, options.allow_deletes);
            match (floor, options.mode) {
                // A plan is for looking at, above all one that would be refused.
                (Err(error @ Error::Refused { .. }), Mode::DryRun) => {
                    report.refusals.push(error.to_string());
                }
                (result, _) => result?,
            }
        }
        let mut origin = Origin { verb: "promote".into(), ..Origin::default() };
        origin.facts.insert(staging.to_string(), source.to_string());
        origin.facts.insert("merge".into(), merge_name(options.merge).into());
        let parents = old.iter().map(|(id, _)| *id).chain([source]).collect();
        moves.push(Move { name, old, new: Destination::Tree { root, origin, parents } });
    }
    let moves = Moves {
        site,
        draft: &draft,
        verb: "promote",
        moves,
        intent: Intent::Forward,
        details: serde_json::Value::Null,
        inodes: Vec::new(),
    };
    moves.run(options.mode, writer.as_ref(), report, observer)
}

/// The deletion floor: a half-mounted or emptied staging must not empty production.
///
/// Metadata does not count: its files are named after their checksums, so every update replaces
/// them, and a small repo would always be over the floor.
fn check_deletes(
    site: &Site,
    draft: &Draft<'_>,
    name: &RefName,
    old: &DirEntry,
    new: &DirEntry,
    allowed: Option<Percent>,
) -> Result<()> {
    let configured = match site.view(name)? {
        Some(view) => site.config.mounts.get(&view.mount).and_then(|mount| mount.max_deletes),
        None => None,
    };
    let Some(floor) = allowed.or(configured) else { return Ok(()) };
    let mut removed = 0;
    diff(draft, Some(old), Some(new), &mut |change| {
        let is_file = !matches!(change.old, Some(Entry::Dir(_)));
        if change.new.is_none() && is_file && !in_repodata(&change.path) {
            removed += 1;
        }
        Ok(())
    })?;
    if floor.is_exceeded(removed, old.files) {
        return Err(Error::Refused {
            name: name.to_string(),
            rule: "deletions",
            reason: format!(
                "{removed} of {} files would be deleted, more than the {floor} that are allowed",
                old.files
            ),
        });
    }
    Ok(())
}
