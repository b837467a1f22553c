//! Promote: what is staged becomes production, for one release or SIG or several at once.

use std::collections::BTreeMap;

use cairn_store::progress::Observer;
use cairn_store::publish::Intent;
use cairn_store::refs::RefName;
use cairn_store::snapshot::Origin;
use cairn_store::transform::{overlay, settle_times};
use cairn_store::tree::{DirEntry, Draft};

use super::Merge;
use super::approve::{self, RefApprovals};
use super::embargo::{self, Embargo, embargoed, is_embargoed};
use super::moves::{Destination, Move, Moves, link_moves};
use super::stage::{described, is_repodata, merge_name};
use super::targets::Target;
use crate::config::{Environment, Percent};
use crate::error::{Error, Result};
use crate::gates::{self, Finding, GateReport, Recorded, RefGates, Shared, Subject, Verdict};
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
    /// Gates that the operator does not want asked; the session must say why.
    pub skip_gates: Vec<String>,
    /// The SIGs of the releases that are promoted instead of the releases, by name, or by the
    /// short name of one compose for its project only.
    pub sigs: Vec<String>,
    /// Whether what is promoted is for the public.
    pub embargo: Embargo,
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
    let targets = Target::all(site, releases, &options.sigs)?;
    let required = required(site, Environment::Production, &options.skip_gates)?;
    let mut names: Vec<RefName> = targets.iter().map(|target| target.name.clone()).collect();
    for target in &targets {
        names.extend(site.links_to(&target.name)?.into_iter().map(|link| link.spec.name));
    }
    let mut report = Report::default();
    let writer = match options.mode {
        Mode::Apply => Some(site.store.writer(&names)?),
        Mode::DryRun => None,
    };
    report.notes = match &writer {
        Some(writer) => site.recover(writer, observer)?,
        None => site.store.notes().to_vec(),
    };
    let draft = Draft::new(&site.store);
    let (mut moves, mut links) = (Vec::new(), Vec::new());
    for target in targets {
        let Some((source, staged)) = site.current(&target.staging)? else {
            return Err(cairn_store::Error::UnknownRef(target.staging.to_string()).into());
        };
        let moving = target.moving(&draft, &staged)?;
        let old = site.current(&target.name)?;
        let root = match (old, options.merge) {
            (Some((_, old)), Merge::Keep) => overlay(&draft, &old, &moving, &is_repodata)?,
            (Some((_, old)), Merge::Exact) => target.exact(&draft, &old, &staged)?,
            (None, _) => moving,
        };
        let old_root = old.map(|(_, root)| root);
        let mut root = embargoed(&root, old_root.as_ref(), options.embargo);
        report.notes.extend(embargo::note(&target.name, old_root.as_ref(), &root));
        let Target { release, staging, name, .. } = &target;
        if let Some((_, old)) = &old {
            let settled = settle_times(&draft, old, &root)?;
            root = settled.root;
            report.times_moved.extend(settled.moved);
            if options.merge == Merge::Keep {
                let inputs = Inputs {
                    release,
                    trees: vec![moving],
                    composes: Vec::new(),
                    advisories: BTreeMap::new(),
                };
                let mode = options.mode;
                // What does not move is neither described nor signed anew.
                let made = described(
                    site,
                    &draft,
                    Some(&target.moving(&draft, old)?),
                    &target.moving(&draft, &root)?,
                    &inputs,
                    mode,
                    &mut report,
                    observer,
                )?;
                root = target.exact(&draft, &root, &made)?;
            }
            let floor = check_deletes(site, &draft, name, old, &root, options.allow_deletes);
            match (floor, options.mode) {
                // A plan is for looking at, above all one that would be refused.
                (Err(error @ Error::Refused { .. }), Mode::DryRun) => {
                    report.refusals.push(error.to_string());
                }
                (result, _) => result?,
            }
        }
        if old.is_none_or(|(_, old)| old != root) {
            let skipped = options.skip_gates.iter().any(|gate| gate == approve::RULE);
            if let Some((standing, refusal)) = approve::standing(site, name, source, skipped)? {
                report.approvals.push(standing);
                match (refusal, options.mode) {
                    (Some(error), Mode::DryRun) => report.refusals.push(error.to_string()),
                    (Some(error), Mode::Apply) => return Err(error),
                    (None, _) => {}
                }
            }
            let before = old.map(|(_, root)| root);
            let subject = Subject {
                site,
                draft: &draft,
                name: Some(name.to_string()),
                recorded: Recorded::Taken,
                root,
                before,
                published: before,
                release: Some(*release),
                version: None,
                mount: site.view(name)?.map(|view| view.mount),
                max_deletes: options.allow_deletes.or(max_deletes(site, name)?),
                mode: options.mode,
                observer,
                shared: Shared::default(),
            };
            let gates = judge(&subject, &required, &options.skip_gates)?;
            report.gates.push(RefGates { name: name.to_string(), gates });
        }
        // Under embargo a name that everybody goes by must not lead here yet.
        if !is_embargoed(&root) {
            links.extend(site.links_to(name)?);
        }
        let mut origin = Origin { verb: "promote".into(), ..Origin::default() };
        origin.facts.insert(staging.to_string(), source.to_string());
        origin.facts.insert("merge".into(), merge_name(options.merge).into());
        let projects = target.shown_projects();
        origin.facts.extend(projects.map(|projects| ("projects".to_owned(), projects)));
        let parents = old.iter().map(|(id, _)| *id).chain([source]).collect();
        let name = target.name;
        moves.push(Move { name, old, new: Destination::Tree { root, origin, parents } });
    }
    moves.extend(link_moves(site, &draft, "promote", &links)?);
    add_notes(&mut report, &required, &options.skip_gates);
    match options.mode {
        Mode::Apply if report.gates.iter().any(RefGates::is_refused) => {
            return Err(Error::Gates(report.gates));
        }
        Mode::Apply => {}
        Mode::DryRun => add_refusals(&mut report),
    }
    let moves = Moves {
        site,
        draft: &draft,
        verb: "promote",
        moves,
        intent: Intent::Forward,
        details: details(&report.gates, &report.approvals),
        inodes: Vec::new(),
    };
    moves.run(options.mode, writer.as_ref(), report, observer)
}

/// How many findings a plan's refusals name, each ref.
const NAMED: usize = 20;

/// Returns the gates that an environment requires, after making sure that those to be skipped are
/// gates, and that somebody says why.
pub(super) fn required(
    site: &Site,
    environment: Environment,
    skipped: &[String],
) -> Result<Vec<String>> {
    let asked: Vec<String> =
        skipped.iter().filter(|name| *name != approve::RULE).cloned().collect();
    gates::check_names(site, &asked)?;
    let reason = site.store.session().reason.as_deref().unwrap_or_default();
    match skipped.first() {
        Some(first) if reason.trim().is_empty() => Err(Error::UnreasonedSkip(first.clone())),
        _ => Ok(gates::required(site, environment).unwrap_or_default()),
    }
}

/// Runs the gates that are required, but for those that are skipped.
pub(super) fn judge(
    subject: &Subject<'_>,
    required: &[String],
    skipped: &[String],
) -> Result<Vec<GateReport>> {
    let asked: Vec<String> =
        required.iter().filter(|name| !skipped.contains(name)).cloned().collect();
    let mut ran = gates::run(subject, &asked)?.into_iter();
    let report = |name: &String| match skipped.contains(name) {
        true => Some(GateReport::skipped(name)),
        false => ran.next(),
    };
    Ok(required.iter().filter_map(report).collect())
}

/// Says what a gate that has not judged would otherwise seem to have passed.
pub(super) fn add_notes(report: &mut Report, required: &[String], skipped: &[String]) {
    let asked = |name: &&String| match name.as_str() {
        approve::RULE => report.approvals.is_empty(),
        _ => !required.contains(name),
    };
    let lost: Vec<&String> = skipped.iter().filter(asked).collect();
    for lost in lost {
        report.notes.push(format!("The gate {lost} is not required; there is nothing to skip."));
    }
    for one in &report.gates {
        for gate in one.gates.iter().filter(|gate| gate.verdict == Verdict::Unavailable) {
            let reason = gate.reason.as_deref().unwrap_or_default();
            report.notes.push(format!(
                "The gate {} is required and was not run on {}: {reason}.",
                gate.gate, one.name
            ));
        }
    }
}

/// Says in a plan what would refuse it.
pub(super) fn add_refusals(report: &mut Report) {
    for one in report.gates.iter().filter(|one| one.is_refused()) {
        let all: u64 = one.gates.iter().map(|gate| gate.failures).sum();
        let named = one.failures().take(NAMED);
        let before = report.refusals.len();
        let told = |finding: &Finding| format!("{}: {finding}; {}", one.name, finding.remedy);
        report.refusals.extend(named.map(told));
        let more = all - (report.refusals.len() - before) as u64;
        if more > 0 {
            report.refusals.push(format!("{}: and {more} more findings", one.name));
        }
    }
}

/// What the log keeps of the gates.
pub(super) fn details(gates: &[RefGates], approvals: &[RefApprovals]) -> serde_json::Value {
    if gates.is_empty() && approvals.is_empty() {
        return serde_json::Value::Null;
    }
    // Required gates are the same for every ref.
    let asked = gates.iter().take(1).flat_map(|one| &one.gates);
    let skipped = asked.filter(|gate| gate.is_skipped()).map(|gate| gate.gate.as_str());
    let without = approvals.iter().any(|one| one.skipped).then_some(approve::RULE);
    let skipped: Vec<&str> = skipped.chain(without).collect();
    let verdicts = |one: &RefGates| {
        let verdict = |gate: &GateReport| {
            serde_json::json!({
                "gate": gate.gate,
                "verdict": gate.verdict,
                "reason": gate.reason,
                "warnings": gate.warnings,
            })
        };
        (one.name.clone(), one.gates.iter().map(verdict).collect())
    };
    let gates: serde_json::Map<String, serde_json::Value> = gates.iter().map(verdicts).collect();
    let mut details = serde_json::json!({ "gates": gates, "skipped_gates": skipped });
    if !approvals.is_empty() {
        let approvals: serde_json::Map<String, serde_json::Value> =
            approvals.iter().map(|one| (one.name.clone(), serde_json::json!(one))).collect();
        details["approvals"] = approvals.into();
    }
    details
}

/// Returns the share of a ref's tree that a promotion may remove, if there is a limit.
pub(super) fn max_deletes(site: &Site, name: &RefName) -> Result<Option<Percent>> {
    Ok(match site.view(name)? {
        Some(view) => site.config.mounts.get(&view.mount).and_then(|mount| mount.max_deletes),
        None => None,
    })
}

/// The deletion floor: a half-mounted or emptied staging must not empty production. It holds
/// whether or not the gate of this name is required.
pub(super) fn check_deletes(
    site: &Site,
    draft: &Draft<'_>,
    name: &RefName,
    old: &DirEntry,
    new: &DirEntry,
    allowed: Option<Percent>,
) -> Result<()> {
    let floor = allowed.or(max_deletes(site, name)?);
    let Some(floor) = floor else { return Ok(()) };
    match gates::deletions(draft, floor, old, new)? {
        None => Ok(()),
        Some(reason) => Err(Error::Refused { name: name.to_string(), rule: "deletions", reason }),
    }
}
