//! `closure`: what packages require is provided by the repos beside them.
//!
//! What was unresolved before, in the tree that would be replaced, is a warning: the release that is
//! published cannot be mended by keeping its successor back. [`crate::closure`] does the work.
//!
//! A SIG's packages are used with those of the release, so it is judged beside the one in production
//! (or in staging, `gate.closure.sigs_beside`), and one in the vault beside its version there.

use std::collections::HashSet;

use cairn_store::path::RelPath;
use cairn_store::refs::RefName;
use cairn_store::tree::DirEntry;

use super::verdicts::Verdicts;
use super::{Findings, Gate, Outcome, Rule, Severity, Subject};
use crate::closure::{Fault, Lack, Strength, Unresolved, World, worlds, worlds_beside};
use crate::config::SigsBeside;
use crate::error::{Error, Result};
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
        let neighbour = Neighbour::of(subject)?;
        let all = neighbour.worlds(subject, &subject.root)?;
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
            judge_world(subject, &neighbour, world, &mut found)?;
            if found.is_empty() {
                closed.push(world.fingerprint());
            }
            findings.append(found);
            subject.observer.advance(1, 0);
        }
        verdicts.remember(&closed)?;
        findings.note = neighbour.note();
        Ok(Outcome::Judged(findings))
    }
}

/// A tree whose repos clients have beside those that are judged.
enum Neighbour {
    /// A release is all that its clients have.
    None,
    /// A SIG's clients have the release that it is for, by this ref.
    Release(RefName, DirEntry),
    /// The release that a SIG is for is in none of these refs.
    Absent(Vec<RefName>),
}

impl Neighbour {
    fn of(subject: &Subject<'_>) -> Result<Self> {
        let (site, name) = (subject.site, subject.name.as_deref().unwrap_or_default());
        let parts: Vec<&str> = name.split('/').collect();
        let Some(release) = &subject.release else { return Ok(Self::None) };
        let now = || {
            let staged = ref_name(release.staging_ref());
            let production = release.production_ref().ok().map(ref_name);
            let mut refs: Vec<_> = production.into_iter().chain([staged]).collect();
            match site.config.gate_settings.sigs_beside {
                SigsBeside::Production => {}
                SigsBeside::Staging => refs.reverse(),
            }
            refs.into_iter().collect::<Result<Vec<_>>>()
        };
        let refs = match parts[..] {
            ["staging" | "production", "sig", ..] => now()?,
            ["compose", _, compose] if compose.starts_with("SIG-") => now()?,
            ["vault", "sig", version, _] => {
                [format!("vault/{version}"), format!("production/{version}")]
                    .into_iter()
                    .map(ref_name)
                    .collect::<Result<_>>()?
            }
            _ => return Ok(Self::None),
        };
        for name in &refs {
            if let Some(state) = site.store.get_ref(name)? {
                let root = site.store.snapshot(&state.snapshot)?.root();
                return Ok(Self::Release(name.clone(), root));
            }
        }
        Ok(Self::Absent(refs))
    }

    fn worlds(&self, subject: &Subject<'_>, root: &DirEntry) -> Result<Vec<World>> {
        Ok(match self {
            Self::Release(_, beside) => worlds_beside(subject.draft, root, beside)?,
            Self::None | Self::Absent(_) => worlds(subject.draft, root)?,
        })
    }

    /// Says what was taken.
    fn note(&self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Release(name, _) => Some(format!("judged beside {name}")),
            Self::Absent(refs) => {
                let refs: Vec<String> = refs.iter().map(ToString::to_string).collect();
                Some(format!("judged alone: {} is not there", refs.join(" or ")))
            }
        }
    }
}

fn judge_world(
    subject: &Subject<'_>,
    neighbour: &Neighbour,
    world: &World,
    findings: &mut Findings,
) -> Result<()> {
    let open = |file: &_, path: &RelPath| subject.open(file, path);
    let resolved = world.resolve(subject.draft, &open);
    // What was cut short by the operator has faults of no repo's.
    subject.check_interrupted()?;
    for Fault { repo, beside, error } in resolved.faults {
        let path = error.path().clone();
        let message = error.to_string();
        let message = message.strip_prefix(&format!("{path}: ")).unwrap_or(&message);
        let message = match neighbour {
            Neighbour::Release(name, _) if beside => format!("of {name}: {message}"),
            Neighbour::Release(..) | Neighbour::None | Neighbour::Absent(_) => message.to_owned(),
        };
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
        true => known_before(subject, neighbour, &world.arch)?,
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

fn ref_name(name: String) -> Result<RefName> {
    RefName::new(name).map_err(Error::Store)
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
///
/// A SIG's was judged beside what the new one is: what that has lost cannot be mended here either.
fn known_before(
    subject: &Subject<'_>,
    neighbour: &Neighbour,
    arch: &str,
) -> Result<HashSet<(String, String, Strength, String)>> {
    let Some(before) = &subject.before else { return Ok(HashSet::new()) };
    let worlds = neighbour.worlds(subject, before)?;
    let Some(world) = worlds.iter().find(|world| world.arch == arch) else {
        return Ok(HashSet::new());
    };
    let open = |file: &_, path: &RelPath| subject.open(file, path);
    let resolved = world.resolve(subject.draft, &open);
    subject.check_interrupted()?;
    Ok(resolved.rows.iter().map(Unresolved::key).collect())
}
