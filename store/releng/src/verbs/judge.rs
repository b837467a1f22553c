//! What a verb asks before trees take the place of others: the gates that an environment requires,
//! and the deletion floor.

use cairn_store::refs::RefName;
use cairn_store::tree::DirEntry;

use super::approve::{self, RefApprovals};
use super::check::promoted_to;
use super::turn::Turn;
use crate::config::{Environment, Percent, Version};
use crate::error::{Error, Result};
use crate::gates::{self, Finding, GateReport, Recorded, RefGates, Shared, Subject, Verdict};
use crate::names::ReleaseView;
use crate::report::{Mode, Report};
use crate::site::Site;

/// How many findings a plan's refusals name, each ref.
const NAMED: usize = 20;

/// The gates that an environment requires, and those that the operator does not want asked.
pub(super) struct Asked<'o> {
    required: Vec<String>,
    skipped: &'o [String],
}

impl<'o> Asked<'o> {
    /// Makes sure that what is to be skipped are gates, and that somebody says why.
    pub fn of(site: &Site, environment: Environment, skipped: &'o [String]) -> Result<Self> {
        let asked: Vec<String> =
            skipped.iter().filter(|name| *name != approve::RULE).cloned().collect();
        gates::check_names(site, &asked)?;
        let reason = site.store.session().reason.as_deref().unwrap_or_default();
        match skipped.first() {
            Some(first) if reason.trim().is_empty() => Err(Error::UnreasonedSkip(first.clone())),
            _ => {
                let required = gates::required(site, environment).unwrap_or_default();
                Ok(Self { required, skipped })
            }
        }
    }

    /// Returns whether the environment requires no gate.
    pub fn is_empty(&self) -> bool {
        self.required.is_empty()
    }

    /// Runs the gates that are required, but for those that are skipped.
    fn run(&self, subject: &Subject<'_>) -> Result<Vec<GateReport>> {
        let asked: Vec<String> =
            self.required.iter().filter(|name| !self.skipped.contains(name)).cloned().collect();
        let mut ran = gates::run(subject, &asked)?.into_iter();
        let report = |name: &String| match self.skipped.contains(name) {
            true => Some(GateReport::skipped(name)),
            false => ran.next(),
        };
        Ok(self.required.iter().filter_map(report).collect())
    }
}

/// A tree that is about to take another's place.
pub(super) struct Candidate<'a> {
    pub name: &'a RefName,
    pub root: DirEntry,
    /// What it will replace in the end: of a staged tree what is in production.
    pub before: Option<DirEntry>,
    /// What its ref names now.
    pub published: Option<DirEntry>,
    pub release: ReleaseView<'a>,
    /// The version that it is of, where that is not the one that the release makes.
    pub version: Option<Version>,
    /// The share of the tree before that may go, if there is a limit.
    pub max_deletes: Option<Percent>,
}

impl Turn<'_> {
    /// Asks the gates about a tree; one that is published already is not judged again.
    pub fn judge(&mut self, asked: &Asked<'_>, candidate: &Candidate<'_>) -> Result<()> {
        let Candidate { name, root, before, published, release, version, max_deletes } = *candidate;
        if published == Some(root) {
            return Ok(());
        }
        let subject = Subject {
            site: self.site,
            draft: &self.draft,
            name: Some(name.to_string()),
            recorded: Recorded::Taken,
            root,
            before,
            published,
            release: Some(release),
            version,
            mount: self.site.view(name)?.map(|view| view.mount),
            max_deletes,
            mode: self.mode,
            observer: self.observer,
            shared: Shared::default(),
        };
        let gates = asked.run(&subject)?;
        self.report.gates.push(RefGates { name: name.to_string(), gates });
        Ok(())
    }

    /// Ends the judging.
    ///
    /// # Errors
    /// [`Error::Gates`] when one has failed; of a plan, the report says so instead.
    pub fn conclude(&mut self, asked: &Asked<'_>) -> Result<()> {
        add_notes(&mut self.report, asked);
        match self.mode {
            Mode::Apply if self.report.gates.iter().any(RefGates::is_refused) => {
                Err(Error::Gates(std::mem::take(&mut self.report.gates)))
            }
            Mode::Apply => Ok(()),
            Mode::DryRun => {
                add_refusals(&mut self.report);
                Ok(())
            }
        }
    }

    /// Asks the gates of `[gate.staging]` about a tree that is about to be staged.
    ///
    /// They are asked as `check` asks about what is staged: beside what is in production, which is
    /// what it is to replace. So a command that has answered here need not be asked again by a
    /// promotion of the same tree.
    ///
    /// # Errors
    /// [`Error::Gates`] when one fails; of a plan, the report says so instead.
    pub fn judge_staged(
        &mut self,
        asked: &Asked<'_>,
        release: ReleaseView<'_>,
        name: &RefName,
        published: Option<DirEntry>,
        root: DirEntry,
    ) -> Result<()> {
        if !asked.is_empty() && published != Some(root) {
            let site = self.site;
            let target = promoted_to(site, name)?;
            let before = match &target {
                Some(target) => site.current(target)?.map(|(_, root)| root),
                None => None,
            };
            let max_deletes = max_deletes(site, target.as_ref().unwrap_or(name))?;
            let version = None;
            let candidate =
                Candidate { name, root, before, published, release, version, max_deletes };
            self.judge(asked, &candidate)?;
        }
        self.conclude(asked)
    }

    /// The deletion floor: a half-mounted or emptied staging must not empty production. It holds
    /// whether or not the gate of this name is required.
    pub fn check_deletes(
        &mut self,
        name: &RefName,
        old: &DirEntry,
        new: &DirEntry,
        allowed: Option<Percent>,
    ) -> Result<()> {
        let floor = allowed.or(max_deletes(self.site, name)?);
        let Some(floor) = floor else { return Ok(()) };
        match gates::deletions(&self.draft, floor, old, new)? {
            None => Ok(()),
            Some(reason) => {
                let name = name.to_string();
                self.refuse(Error::Refused { name, rule: "deletions", reason })
            }
        }
    }
}

/// Returns the share of a ref's tree that a promotion may remove, if there is a limit.
pub(super) fn max_deletes(site: &Site, name: &RefName) -> Result<Option<Percent>> {
    Ok(match site.view(name)? {
        Some(view) => site.config.mounts.get(&view.mount).and_then(|mount| mount.max_deletes),
        None => None,
    })
}

/// Says what a gate that has not judged would otherwise seem to have passed.
fn add_notes(report: &mut Report, asked: &Asked<'_>) {
    let is_lost = |name: &&String| match name.as_str() {
        approve::RULE => report.approvals.is_empty(),
        _ => !asked.required.contains(name),
    };
    let lost: Vec<&String> = asked.skipped.iter().filter(is_lost).collect();
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
fn add_refusals(report: &mut Report) {
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
