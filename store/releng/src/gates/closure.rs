//! `closure`: what packages require is provided by the repos beside them.
//!
//! What was unresolved before, in the tree that would be replaced, is a warning: the release that is
//! published cannot be mended by keeping its successor back. [`crate::closure`] does the work.

use std::collections::HashSet;

use cairn_store::path::RelPath;

use super::verdicts::Verdicts;
use super::{Findings, Gate, Outcome, Rule, Severity, Subject};
use crate::closure::{Lack, Strength, Unresolved, World, worlds};
use crate::error::Result;
use crate::site::glob_set;

const NAME: &str = "closure";
/// The version of the rules; another one knows no verdicts.
const VERSION: u32 = 1;

const STAGE: &str = "stage a compose that has what is missing, or leave the package out";

static UNRESOLVED: Rule = Rule::failure("unresolved", STAGE);
static MALFORMED: Rule = Rule::failure(
    "dependency-malformed",
    "build the package again with a dependency that rpm reads",
);
static NOT_READ: Rule =
    Rule::failure("closure-not-read", "see what the gate repodata says of the repo");
static BEFORE: Rule = Rule::warning(
    "unresolved-before",
    "it was so already in what this would replace; add what is missing to the next compose",
);
static ALLOWED: Rule =
    Rule::warning("unresolved-allowed", "gate.closure.allow says that this is known");
static OUTDATED: Rule = Rule::warning(
    "unresolved-outdated",
    "clients install the higher version; whoever wants this one has to do without",
);
static IN_ONE_CASE: Rule = Rule::warning(
    "unresolved-in-one-case",
    "whether it can be installed depends on what else is; add what is missing",
);
static WEAK: Rule = Rule::warning("weak-unresolved", "it can be installed without");

/// The gate.
pub(super) struct Closure;

impl Gate for Closure {
    fn name(&self) -> &'static str {
        NAME
    }

    fn rules(&self) -> &'static [&'static Rule] {
        static RULES: &[&Rule] = &[
            &UNRESOLVED,
            &MALFORMED,
            &NOT_READ,
            &BEFORE,
            &ALLOWED,
            &OUTDATED,
            &IN_ONE_CASE,
            &WEAK,
        ];
        RULES
    }

    fn judge(&self, subject: &Subject<'_>) -> Result<Outcome> {
        let all = worlds(subject.draft, &subject.root)?;
        let verdicts = Verdicts::of(subject, format!("{NAME} {VERSION}"));
        let known = verdicts.known(all.iter().map(World::fingerprint))?;
        let unknown: Vec<&World> =
            all.iter().zip(known).filter(|(_, known)| !known).map(|(world, _)| world).collect();
        subject.observer.begin("Resolving dependencies", unknown.len() as u64, 0);
        let mut findings = Findings::of(NAME);
        let mut closed = Vec::new();
        for world in unknown {
            subject.check_interrupted()?;
            let mut found = Findings::of(NAME);
            judge_world(subject, world, &mut found)?;
            if found.is_empty() {
                closed.push(world.fingerprint());
            }
            findings.append(found);
            subject.observer.advance(1, 0);
        }
        verdicts.remember(&closed)?;
        Ok(Outcome::Judged(findings))
    }
}

fn judge_world(subject: &Subject<'_>, world: &World, findings: &mut Findings) -> Result<()> {
    let open = |file: &_, path: &RelPath| subject.open(file, path);
    let resolved = world.resolve(subject.draft, &open);
    // What was cut short by the operator has faults of no repo's.
    subject.check_interrupted()?;
    for (repo, fault) in resolved.faults {
        let path = fault.path().clone();
        let message = fault.to_string();
        let message = message.strip_prefix(&format!("{path}: ")).unwrap_or(&message);
        findings.add(&NOT_READ, Some(&repo), path, message);
    }
    if resolved.rows.is_empty() {
        return Ok(());
    }
    let allow = &subject.site.config.gate_settings.closure_allow;
    let allowed = glob_set("gate.closure.allow", allow)?;
    let fails = |row: &Unresolved| {
        row.strength == Strength::Requires
            && row.lack == Lack::All
            && !row.outdated
            && !allowed.is_match(&row.name)
    };
    // The tree before is read only if that can change the answer.
    let before = match resolved.rows.iter().any(fails) {
        true => known_before(subject, &world.arch)?,
        false => HashSet::new(),
    };
    for row in &resolved.rows {
        let rule = match () {
            () if row.strength != Strength::Requires => &WEAK,
            () if row.outdated => &OUTDATED,
            () if allowed.is_match(&row.name) => &ALLOWED,
            () if before.contains(&row.key()) => &BEFORE,
            () if row.malformed.is_some() => &MALFORMED,
            () if row.lack == Lack::InOneCase => &IN_ONE_CASE,
            () => &UNRESOLVED,
        };
        findings.add_quoted(rule, &row.repo, &sentence(row, &world.arch));
    }
    if resolved.omitted > 0 {
        findings.count(UNRESOLVED.name, Severity::Failure, resolved.omitted);
    }
    Ok(())
}

fn sentence(row: &Unresolved, arch: &str) -> String {
    let Unresolved { name, evr, arch: of, strength, requirement, lack, malformed, .. } = row;
    let wants = format!("{name}-{evr}.{of} {} {requirement}", strength.verb());
    let repos = match arch {
        "" => "no repo".to_owned(),
        arch => format!("no repo of {arch}"),
    };
    match (malformed, lack) {
        (Some(reason), _) => format!("{wants}, which is no dependency: {reason}"),
        (None, Lack::InOneCase) => {
            format!("{wants}, and in one of its cases {repos} provides what is asked for")
        }
        (None, Lack::All | Lack::Nothing) => format!("{wants}, which {repos} provides"),
    }
}

/// Returns what was unresolved in the same world of the tree that would be replaced.
fn known_before(
    subject: &Subject<'_>,
    arch: &str,
) -> Result<HashSet<(String, String, Strength, String)>> {
    let Some(before) = &subject.before else { return Ok(HashSet::new()) };
    let worlds = worlds(subject.draft, before)?;
    let Some(world) = worlds.iter().find(|world| world.arch == arch) else {
        return Ok(HashSet::new());
    };
    let open = |file: &_, path: &RelPath| subject.open(file, path);
    let resolved = world.resolve(subject.draft, &open);
    subject.check_interrupted()?;
    Ok(resolved.rows.iter().map(Unresolved::key).collect())
}
