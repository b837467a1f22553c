//! `no-downgrade`, `no-loss` and `no-rebuild`: what a client has stays the newest, stays there, and
//! stays the same bytes.
//!
//! All compare with the tree that would be replaced, repo by repo, and read only repos whose
//! metadata differs. A package that leaves one repo and comes into another has moved: worth a
//! look, because not every client has both.

use std::collections::HashSet;

use cairn_store::path::RelPath;

use super::{Findings, Gate, Outcome, Rule, Subject};
use crate::audit::repos::{REPODATA, REPOMD};
use crate::audit::{self, PackagesDiff, RepoFinding, Side};
use crate::error::Result;

const AGAIN: &str = "take the package from a newer compose, or skip this gate with the reason";
const SOUND: &str = "see what the gate repodata says of it";

static DOWNGRADED: Rule = Rule::failure("downgraded", AGAIN);
static LOST: Rule = Rule::failure("package-lost", AGAIN);
static REPO_LOST: Rule =
    Rule::failure("repo-lost", "stage a compose that has the repo, or skip this gate");
static REBUILT: Rule = Rule::failure(
    "rebuilt",
    "build it with a higher release: clients that have these bytes in a cache refuse the others",
);
static MOVED: Rule =
    Rule::warning("package-moved", "make sure that clients of the old repo have the new one");
pub(super) static NOT_COMPARED: Rule = Rule::failure("not-compared", SOUND);
// What is published already is no reason against what would mend it.
pub(super) static OLD_NOT_COMPARED: Rule = Rule::warning("old-not-compared", SOUND);

/// Says why a gate that compares has nothing to do.
pub(super) fn nothing_before() -> Outcome {
    Outcome::Skipped("there is nothing that this would replace".to_owned())
}

/// Compares once for all gates.
fn compared<'a>(subject: &'a Subject<'_>) -> Result<&'a PackagesDiff> {
    if let Some(known) = subject.shared.packages.get() {
        return Ok(known);
    }
    subject.observer.begin("Comparing packages", 0, 0);
    let open = |file: &_, path: &_| subject.open(file, path);
    let (old, new) = (subject.before.as_ref(), Some(&subject.root));
    let found = audit::packages(subject.draft, &open, old, new)?;
    subject.check_interrupted()?;
    Ok(subject.shared.packages.get_or_init(|| found))
}

/// Names the repos that could not be compared.
pub(super) fn add_faults(errors: &[RepoFinding], findings: &mut Findings) {
    for fault in errors {
        let rule = match fault.side {
            Side::Old => &OLD_NOT_COMPARED,
            Side::New => &NOT_COMPARED,
        };
        let path = fault.repo.join(REPODATA).join(REPOMD);
        findings.add(rule, Some(&fault.repo), path, fault.to_string());
    }
}

/// Judges how the packages of two trees differ.
fn judged(
    subject: &Subject<'_>,
    gate: &'static str,
    find: impl FnOnce(&PackagesDiff, &mut Findings),
) -> Result<Outcome> {
    if subject.before.is_none() {
        return Ok(nothing_before());
    }
    let packages = compared(subject)?;
    let mut findings = Findings::of(gate);
    find(packages, &mut findings);
    add_faults(&packages.errors, &mut findings);
    Ok(Outcome::Judged(findings))
}

/// `no-downgrade`.
pub(super) struct NoDowngrade;

impl Gate for NoDowngrade {
    fn name(&self) -> &'static str {
        "no-downgrade"
    }

    fn rules(&self) -> &'static [&'static Rule] {
        static RULES: &[&Rule] = &[&DOWNGRADED, &NOT_COMPARED, &OLD_NOT_COMPARED];
        RULES
    }

    fn judge(&self, subject: &Subject<'_>) -> Result<Outcome> {
        judged(subject, self.name(), |packages, findings| {
            for row in &packages.downgraded {
                let shown = |evr: &Option<String>| evr.clone().unwrap_or_default();
                let (old, new) = (shown(&row.old), shown(&row.new));
                let message = format!("{}.{} goes back from {old} to {new}", row.name, row.arch);
                findings.add_quoted(&DOWNGRADED, &row.repo, &message);
            }
        })
    }
}

/// `no-loss`.
pub(super) struct NoLoss;

impl Gate for NoLoss {
    fn name(&self) -> &'static str {
        "no-loss"
    }

    fn rules(&self) -> &'static [&'static Rule] {
        static RULES: &[&Rule] = &[&LOST, &REPO_LOST, &MOVED, &NOT_COMPARED, &OLD_NOT_COMPARED];
        RULES
    }

    fn judge(&self, subject: &Subject<'_>) -> Result<Outcome> {
        judged(subject, self.name(), |packages, findings| {
            for repo in &packages.repos_removed {
                let message = "this repo is no longer there, with all its packages";
                findings.add(&REPO_LOST, Some(repo), repo.clone(), message);
            }
            let came = packages.added.iter().filter(|row| row.alone);
            let came: HashSet<(&str, &str)> = came.map(|row| (&*row.name, &*row.arch)).collect();
            let gone: HashSet<&RelPath> = packages.repos_removed.iter().collect();
            // Several versions of a package are lost once.
            let mut seen = HashSet::new();
            for row in packages.removed.iter().filter(|row| row.alone) {
                let lost_with_repo = gone.contains(&row.repo);
                if lost_with_repo || !seen.insert((&row.repo, &row.name, &row.arch)) {
                    continue;
                }
                let (rule, where_to) = match came.contains(&(&*row.name, &*row.arch)) {
                    true => (&MOVED, "has left this repo for another"),
                    false => (&LOST, "is in no version in this repo any more"),
                };
                let message = format!("{}.{} {where_to}", row.name, row.arch);
                findings.add_quoted(rule, &row.repo, &message);
            }
        })
    }
}

/// `no-rebuild`.
pub(super) struct NoRebuild;

impl Gate for NoRebuild {
    fn name(&self) -> &'static str {
        "no-rebuild"
    }

    fn rules(&self) -> &'static [&'static Rule] {
        static RULES: &[&Rule] = &[&REBUILT, &NOT_COMPARED, &OLD_NOT_COMPARED];
        RULES
    }

    fn judge(&self, subject: &Subject<'_>) -> Result<Outcome> {
        judged(subject, self.name(), |packages, findings| {
            for row in &packages.rebuilt {
                let version = row.new.as_deref().unwrap_or_default();
                let message =
                    format!("{}-{version}.{} has other bytes than before", row.name, row.arch);
                findings.add_quoted(&REBUILT, &row.repo, &message);
            }
        })
    }
}
