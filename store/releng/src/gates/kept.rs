//! `advisories-kept`, `streams-kept` and `comps-kept`: what clients know by name stays known.
//!
//! All compare the metadata of repos with the tree that would be replaced, once for the three.
//! Nothing else tells of such a loss: the packages are all there, and `dnf updateinfo`, `dnf module`
//! or an installation by group fails.

use super::packages::{NOT_COMPARED, OLD_NOT_COMPARED, add_faults, nothing_before};
use super::{Findings, Gate, Outcome, Rule, Subject};
use crate::audit::{self, Audit, Broken, CompsKind, Level, ModuleDocument, Options, State};
use crate::error::Result;

/// How many members, packages or repos a message names; the others are counted.
const NAMED: usize = 5;

static ADVISORY_LOST: Rule = Rule::failure(
    "advisory-lost",
    "stage with the updateinfo of the repo, or add the advisory with cairn errata apply",
);
static ADVISORY_SHRUNK: Rule = Rule::warning(
    "advisory-shrunk",
    "make sure that the packages are fixed by another advisory, or were named by mistake",
);
static STREAM_LOST: Rule = Rule::failure(
    "stream-lost",
    "stage a compose whose modules.yaml has the stream; hosts that have it enabled need it",
);
static DOCUMENT_LOST: Rule = Rule::failure(
    "module-document-lost",
    "stage a compose whose modules.yaml has it; other streams become the default without it",
);
static GROUP_LOST: Rule = Rule::failure("group-lost", "stage a compose whose comps have the group");
static ENVIRONMENT_LOST: Rule = Rule::failure(
    "environment-lost",
    "stage a compose whose comps have the environment; installers offer it",
);
static CATEGORY_LOST: Rule =
    Rule::failure("category-lost", "stage a compose whose comps have the category");
static MEMBERS_LOST: Rule = Rule::warning(
    "members-lost",
    "make sure that what left the group or environment is no longer wanted there",
);

/// Compares metadata once for all three gates.
fn compared<'a>(subject: &'a Subject<'_>) -> Result<&'a Audit> {
    if let Some(known) = subject.shared.metadata.get() {
        return Ok(known);
    }
    subject.observer.begin("Comparing metadata", 0, 0);
    let open = |file: &_, path: &_| subject.open(file, path);
    let (old, new) = (subject.before.as_ref(), Some(&subject.root));
    let options = Options { broken: Broken::Report, ..Options::default() };
    let found = audit::compare(subject.draft, &open, old, new, Level::Metadata, &options)?;
    subject.check_interrupted()?;
    Ok(subject.shared.metadata.get_or_init(|| found))
}

/// Runs `judge` on the comparison, if there is something to compare with.
fn judged(
    gate: &'static str,
    subject: &Subject<'_>,
    judge: impl Fn(&Audit, &mut Findings),
) -> Result<Outcome> {
    if subject.before.is_none() {
        return Ok(nothing_before());
    }
    let audit = compared(subject)?;
    let mut findings = Findings::of(gate);
    judge(audit, &mut findings);
    if let Some(metadata) = &audit.metadata {
        add_faults(&metadata.errors, &mut findings);
    }
    Ok(Outcome::Judged(findings))
}

/// Lists the first of many.
fn some(list: &[String]) -> String {
    let named = list.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match list.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// `advisories-kept`.
pub(super) struct AdvisoriesKept;

impl Gate for AdvisoriesKept {
    fn name(&self) -> &'static str {
        "advisories-kept"
    }

    fn rules(&self) -> &'static [&'static Rule] {
        static RULES: &[&Rule] =
            &[&ADVISORY_LOST, &ADVISORY_SHRUNK, &NOT_COMPARED, &OLD_NOT_COMPARED];
        RULES
    }

    fn judge(&self, subject: &Subject<'_>) -> Result<Outcome> {
        judged(self.name(), subject, |audit, findings| {
            for row in audit.advisories.iter().flatten() {
                let (rule, message) = match row.state {
                    State::Removed => {
                        let kind = match row.severity.trim() {
                            "" | "None" => row.kind.clone(),
                            severity => format!("{}, {severity}", row.kind),
                        };
                        let fixed = match row.packages.is_empty() {
                            true => String::new(),
                            false => format!(", which fixed {}", some(&row.packages)),
                        };
                        (&ADVISORY_LOST, format!("{} ({kind}){fixed}, is gone", row.id))
                    }
                    State::Changed if !row.packages_dropped.is_empty() => {
                        let dropped = some(&row.packages_dropped);
                        (&ADVISORY_SHRUNK, format!("{} no longer names {dropped}", row.id))
                    }
                    State::Changed | State::Added => continue,
                };
                for repo in &row.repos {
                    findings.add_quoted(rule, repo, &message);
                }
            }
        })
    }
}

/// `streams-kept`.
pub(super) struct StreamsKept;

impl Gate for StreamsKept {
    fn name(&self) -> &'static str {
        "streams-kept"
    }

    fn rules(&self) -> &'static [&'static Rule] {
        static RULES: &[&Rule] = &[&STREAM_LOST, &DOCUMENT_LOST, &NOT_COMPARED, &OLD_NOT_COMPARED];
        RULES
    }

    fn judge(&self, subject: &Subject<'_>) -> Result<Outcome> {
        judged(self.name(), subject, |audit, findings| {
            let Some(modules) = &audit.modules else { return };
            for row in modules.streams.iter().filter(|row| row.state == State::Removed) {
                let message = format!("the module stream {}:{} is gone", row.module, row.stream);
                for repo in &row.repos {
                    findings.add_quoted(&STREAM_LOST, repo, &message);
                }
            }
            for row in modules.documents.iter().filter(|row| row.state == State::Removed) {
                let message = match row.document {
                    ModuleDocument::Defaults => {
                        format!("the defaults of module {} are gone", row.subject)
                    }
                    ModuleDocument::Obsoletes => {
                        format!("the end of life of {} is no longer announced", row.subject)
                    }
                };
                for repo in &row.repos {
                    findings.add_quoted(&DOCUMENT_LOST, repo, &message);
                }
            }
        })
    }
}

/// `comps-kept`.
pub(super) struct CompsKept;

impl Gate for CompsKept {
    fn name(&self) -> &'static str {
        "comps-kept"
    }

    fn rules(&self) -> &'static [&'static Rule] {
        static RULES: &[&Rule] = &[
            &GROUP_LOST,
            &ENVIRONMENT_LOST,
            &CATEGORY_LOST,
            &MEMBERS_LOST,
            &NOT_COMPARED,
            &OLD_NOT_COMPARED,
        ];
        RULES
    }

    fn judge(&self, subject: &Subject<'_>) -> Result<Outcome> {
        judged(self.name(), subject, |audit, findings| {
            for row in audit.comps.iter().flatten() {
                let what = format!("the {} {} ({})", row.kind, row.id, row.name);
                let (rule, message) = match (row.state, row.kind) {
                    (State::Removed, CompsKind::Group) => (&GROUP_LOST, format!("{what} is gone")),
                    (State::Removed, CompsKind::Environment) => {
                        (&ENVIRONMENT_LOST, format!("{what} is gone"))
                    }
                    (State::Removed, CompsKind::Category) => {
                        (&CATEGORY_LOST, format!("{what} is gone"))
                    }
                    (State::Changed, _) if !row.removed.is_empty() => {
                        (&MEMBERS_LOST, format!("{what} has lost {}", some(&row.removed)))
                    }
                    (State::Changed | State::Added, _) => continue,
                };
                for repo in &row.repos {
                    findings.add_quoted(rule, repo, &message);
                }
            }
        })
    }
}
