//! Gates: what must hold of a tree before it gets to an environment.
//!
//! A gate judges one tree, and the tree that it would replace where there is one. It writes
//! nothing, answers with findings that name rule, path and remedy, and is the same whether
//! `check` asks or `promote`. Each file below is one gate or a pair that share their reading; what
//! a gate can find is its table of `Rule`s.
//!
//! A gate's cost follows what is new: digests of objects are computed once for ever, and a repo
//! that was found whole is not read again (`verdicts`). Memory holds one repo's names at a time,
//! some 200 bytes for each package, and at most a hundred findings for each rule.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::OnceLock;

use cairn_store::id::ObjectId;
use cairn_store::path::{Escaped, RelPath};
use cairn_store::progress::{Observer, Silent};
use cairn_store::tree::{DirEntry, Draft, FileEntry};
use rayon::prelude::*;
use serde::Serialize;

use crate::audit::{Audit, PackagesDiff};
use crate::config::{BUILT_IN_GATES, Gate as Configured, Percent, Version};
use crate::content::Content;
use crate::error::{Error, Result};
use crate::names::ReleaseView;
use crate::report::Mode;
use crate::site::Site;

mod closure;
mod command;
mod deletions;
mod exhibit;
mod files;
mod headers;
mod kept;
mod packages;
mod repo;
mod repodata;
mod resolve;
mod results;
mod signatures;
mod survey;
#[cfg(test)]
mod tests;
mod treeinfo;
mod verdicts;

use command::CommandGate;
pub(crate) use deletions::deletions;
use results::Results;
pub use results::{Last, Recorded};
use survey::Survey;

/// How many findings of one rule a gate keeps; the others are counted.
const KEPT: u64 = 100;

/// Why a gate was not asked that the operator did not want.
const SKIPPED: &str = "the operator skipped it";

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth a look; the gate passes.
    Warning,
    /// The gate fails.
    Failure,
}

/// What a gate can find. The name is stable for ever.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    name: &'static str,
    severity: Severity,
    remedy: &'static str,
}

impl Rule {
    const fn failure(name: &'static str, remedy: &'static str) -> Rule {
        Rule { name, severity: Severity::Failure, remedy }
    }

    const fn warning(name: &'static str, remedy: &'static str) -> Rule {
        Rule { name, severity: Severity::Warning, remedy }
    }
}

/// Something that a gate found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The gate.
    pub gate: &'static str,
    /// The rule that is broken.
    pub rule: &'static str,
    /// How much it weighs.
    pub severity: Severity,
    /// The directory of the repo that it is about, if it is about one.
    pub repo: Option<RelPath>,
    /// The path in the tree.
    pub path: RelPath,
    /// What is wrong with it.
    pub message: String,
    /// What to do.
    pub remedy: &'static str,
}

/// Everything but the remedy, which is the same for all findings of a rule.
impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Finding { gate, rule, path, message, .. } = self;
        write!(f, "{path}: {message} ({gate}/{rule})")
    }
}

/// What a gate says of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything that it asks for holds.
    Passed,
    /// Something does not.
    Failed,
    /// There was nothing to judge, or the operator did not want it judged.
    Skipped,
    /// It cannot be judged here.
    Unavailable,
}

impl Verdict {
    /// Returns the name as JSON and people see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::Skipped => "skipped",
            Verdict::Unavailable => "unavailable",
        }
    }
}

/// One gate's answer.
#[derive(Clone, Debug, Serialize)]
pub struct GateReport {
    /// Its name.
    pub gate: String,
    /// The answer.
    pub verdict: Verdict,
    /// Why it was not judged, or what of it was not.
    pub reason: Option<String>,
    /// How many findings make it fail.
    pub failures: u64,
    /// How many deserve a look.
    pub warnings: u64,
    /// The findings, by rule at most a hundred.
    pub findings: Vec<Finding>,
    /// How many findings are not listed.
    pub omitted: u64,
    /// When this gate was last asked of the same tree, and what it said then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Last>,
}

/// What the gates say of one ref's tree.
#[derive(Clone, Debug, Serialize)]
pub struct RefGates {
    /// The ref.
    #[serde(rename = "ref")]
    pub name: String,
    /// The gates' answers, in the order in which they ran.
    pub gates: Vec<GateReport>,
}

impl RefGates {
    /// Returns what makes gates fail, as far as it is kept.
    pub fn failures(&self) -> impl Iterator<Item = &Finding> {
        let findings = self.gates.iter().flat_map(|gate| &gate.findings);
        findings.filter(|finding| finding.severity == Severity::Failure)
    }

    /// Returns whether a gate fails.
    pub fn is_refused(&self) -> bool {
        self.gates.iter().any(|gate| gate.verdict == Verdict::Failed)
    }
}

impl GateReport {
    /// Reports a gate that the operator does not want asked.
    pub fn skipped(gate: &str) -> Self {
        Self::without(gate, Verdict::Skipped, SKIPPED)
    }

    /// Returns whether the operator did not want it asked.
    pub fn is_skipped(&self) -> bool {
        self.verdict == Verdict::Skipped && self.reason.as_deref() == Some(SKIPPED)
    }

    fn without(gate: &str, verdict: Verdict, reason: impl Into<String>) -> Self {
        Self {
            gate: gate.to_owned(),
            verdict,
            reason: Some(reason.into()),
            failures: 0,
            warnings: 0,
            findings: Vec::new(),
            omitted: 0,
            last: None,
        }
    }
}

/// What is judged.
pub struct Subject<'a> {
    /// The site.
    pub site: &'a Site,
    /// Where trees, and files that no pool has yet, are read from.
    pub draft: &'a Draft<'a>,
    /// The ref that the tree is of or for, where that is known.
    pub name: Option<String>,
    /// The tree.
    pub root: DirEntry,
    /// The tree that it would replace.
    pub before: Option<DirEntry>,
    /// A tree that is published now: what it holds is there, and is not looked for again.
    pub published: Option<DirEntry>,
    /// The release that the tree is of, where that is known.
    pub release: Option<ReleaseView<'a>>,
    /// The version that the tree is of, where it is not the one that the release makes.
    pub version: Option<Version>,
    /// The mount that the tree is for, where that is known.
    pub mount: Option<String>,
    /// The share of the tree before that may go, if there is a limit.
    pub max_deletes: Option<Percent>,
    /// What to do where a command has answered of this tree before.
    pub recorded: Recorded,
    /// Whether what is learned may be remembered.
    pub mode: Mode,
    /// Who watches.
    pub observer: &'a dyn Observer,
    /// What several gates want to know, found once.
    pub shared: Shared,
}

/// What several gates want to know of one subject.
#[derive(Default)]
pub struct Shared {
    survey: OnceLock<Survey>,
    packages: OnceLock<PackagesDiff>,
    metadata: OnceLock<Audit>,
}

impl Subject<'_> {
    fn open(&self, file: &FileEntry, path: &RelPath) -> Result<Content> {
        self.site.open_draft(self.draft, file, path)
    }

    fn survey(&self) -> Result<&Survey> {
        if let Some(known) = self.shared.survey.get() {
            return Ok(known);
        }
        let found = Survey::of(self.draft, &self.root, &self.site.config.defaults.nonrepo_dirs)?;
        Ok(self.shared.survey.get_or_init(|| found))
    }

    fn check_interrupted(&self) -> Result<()> {
        match self.observer.interrupted() {
            true => Err(cairn_store::Error::Interrupted.into()),
            false => Ok(()),
        }
    }
}

/// What a gate's work comes to.
pub(crate) enum Outcome {
    /// It has judged.
    Judged(Findings),
    /// There is nothing to judge; why.
    Skipped(String),
    /// It cannot judge this; why.
    Unavailable(String),
}

/// A gate of this program.
pub(crate) trait Gate: Sync {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;
    /// What it can find.
    fn rules(&self) -> &'static [&'static Rule];
    /// Judges.
    ///
    /// # Errors
    /// What keeps it from judging: the store cannot be read, the operator wants to stop.
    fn judge(&self, subject: &Subject<'_>) -> Result<Outcome>;
}

/// The gates of this version, in the order in which they run when all do.
const GATES: &[&dyn Gate] = &[
    &files::FilesExist,
    &repodata::Repodata,
    &signatures::Signatures,
    &treeinfo::Treeinfo,
    &packages::NoDowngrade,
    &packages::NoLoss,
    &packages::NoRebuild,
    &kept::AdvisoriesKept,
    &kept::StreamsKept,
    &kept::CompsKept,
    &deletions::Deletions,
    &closure::Closure,
];

/// Findings while they are collected: bounded, whatever is found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    gate: &'static str,
    list: Vec<Finding>,
    counts: BTreeMap<&'static str, u64>,
    failures: u64,
    warnings: u64,
    /// What was not judged, and why.
    note: Option<String>,
}

impl Findings {
    fn of(gate: &'static str) -> Self {
        Self { gate, ..Self::default() }
    }

    fn is_empty(&self) -> bool {
        self.failures + self.warnings == 0
    }

    fn add(
        &mut self,
        rule: &'static Rule,
        repo: Option<&RelPath>,
        path: RelPath,
        message: impl Into<String>,
    ) {
        self.count(rule.name, rule.severity, 1);
        if self.counts[rule.name] <= KEPT {
            self.list.push(Finding {
                gate: self.gate,
                rule: rule.name,
                severity: rule.severity,
                repo: repo.cloned(),
                path,
                message: message.into(),
                remedy: rule.remedy,
            });
        }
    }

    /// Adds what quotes the text of metadata, which may hold anything.
    fn add_quoted(&mut self, rule: &'static Rule, repo: &RelPath, message: &str) {
        self.add(rule, Some(repo), repo.clone(), Escaped(message.as_bytes()).to_string());
    }

    fn count(&mut self, rule: &'static str, severity: Severity, number: u64) {
        *self.counts.entry(rule).or_default() += number;
        match severity {
            Severity::Failure => self.failures += number,
            Severity::Warning => self.warnings += number,
        }
    }

    /// Takes in what was found elsewhere by the same gate.
    fn append(&mut self, other: Findings) {
        self.failures += other.failures;
        self.warnings += other.warnings;
        for finding in other.list {
            let kept = self.list.iter().filter(|known| known.rule == finding.rule).count() as u64;
            if kept < KEPT {
                self.list.push(finding);
            }
        }
        for (rule, number) in other.counts {
            *self.counts.entry(rule).or_default() += number;
        }
    }

    fn into_report(mut self) -> GateReport {
        // The sort is stable: within a path, what was found first comes first.
        self.list.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.path.cmp(&b.path)));
        let verdict = if self.failures == 0 { Verdict::Passed } else { Verdict::Failed };
        GateReport {
            gate: self.gate.to_owned(),
            verdict,
            reason: self.note,
            failures: self.failures,
            warnings: self.warnings,
            omitted: (self.failures + self.warnings).saturating_sub(self.list.len() as u64),
            findings: self.list,
            last: None,
        }
    }
}

/// Returns the names of all gates: those of this program, then the commands of the configuration.
pub fn names(site: &Site) -> Vec<String> {
    let commands = site.config.gates.iter().filter_map(|(name, gate)| match gate {
        Configured::Command { .. } => Some(name.clone()),
        Configured::Require { .. } => None,
    });
    built_in().into_iter().chain(commands).collect()
}

/// Returns the names of the gates of this program.
pub fn built_in() -> Vec<String> {
    BUILT_IN_GATES.iter().map(|name| (*name).to_owned()).collect()
}

/// Returns every rule of this version: its gate, its name, and how much breaking it weighs. Those
/// of gates that are commands are under `command`.
pub fn rules() -> impl Iterator<Item = (&'static str, &'static str, Severity)> {
    let built_in = GATES.iter().map(|gate| (gate.name(), gate.rules()));
    let all = built_in.chain([("command", command::RULES)]);
    all.flat_map(|(gate, rules)| rules.iter().map(move |rule| (gate, rule.name, rule.severity)))
}

/// Returns a name of the configuration's for findings, which outlive it. A process asks a handful
/// of gates.
fn for_ever(name: &str) -> &'static str {
    Box::leak(name.to_owned().into_boxed_str())
}

/// Makes sure that these are names of gates.
///
/// # Errors
/// [`Error::UnknownGate`] with the names that there are.
pub fn check_names(site: &Site, asked: &[String]) -> Result<()> {
    let known = names(site);
    match asked.iter().find(|name| !known.contains(name)) {
        Some(lost) => Err(Error::UnknownGate { name: lost.clone(), known }),
        None => Ok(()),
    }
}

/// Returns the names of the gates that an environment requires, in their order; none where the
/// configuration says nothing of it.
pub fn required(site: &Site, environment: crate::config::Environment) -> Option<Vec<String>> {
    site.config.gates.values().find_map(|gate| match gate {
        Configured::Require { environment: of, gates, .. } if *of == environment => {
            Some(gates.clone())
        }
        Configured::Require { .. } | Configured::Command { .. } => None,
    })
}

/// Runs gates on a subject, in the order of their names.
///
/// # Errors
/// Trees or contents that cannot be read, the operator who wants to stop, and a name that is no
/// gate's.
pub fn run(subject: &Subject<'_>, names: &[String]) -> Result<Vec<GateReport>> {
    check_names(subject.site, names)?;
    let mut reports = Vec::new();
    for name in names {
        subject.check_interrupted()?;
        let Some(gate) = GATES.iter().find(|gate| gate.name() == name) else {
            // Names were checked: what is not built in is a command.
            if let Some(Configured::Command { command, timeout }) =
                subject.site.config.gates.get(name)
            {
                let gate = CommandGate { name, command, timeout: *timeout };
                reports.push(gate.judge(subject)?);
            }
            continue;
        };
        let report = match gate.judge(subject)? {
            Outcome::Judged(findings) => findings.into_report(),
            Outcome::Skipped(reason) => GateReport::without(name, Verdict::Skipped, reason),
            Outcome::Unavailable(reason) => GateReport::without(name, Verdict::Unavailable, reason),
        };
        let results = Results::of(subject, name, "built in");
        let last = results.last()?.map(|known| known.last());
        results.note(&report)?;
        reports.push(GateReport { last, ..report });
    }
    Ok(reports)
}

/// The SHA-256 of a content, or what is wrong with it.
type Digest = std::result::Result<[u8; 32], String>;

/// Returns the SHA-256 of files; a content that is lost or damaged says so in its place.
fn sha256(
    subject: &Subject<'_>,
    files: &[(RelPath, FileEntry)],
) -> Result<HashMap<ObjectId, Digest>> {
    let Subject { site, draft, mode, observer, .. } = subject;
    match site.sha256(draft, files, *mode, *observer) {
        Ok(known) => return Ok(known.into_iter().map(|(id, digest)| (id, Ok(digest))).collect()),
        Err(error) => drop(content_fault(error)?),
    }
    // Which ones is found one by one; what is sound was computed or is now.
    let one = |file: &(RelPath, FileEntry)| {
        subject.check_interrupted()?;
        let id = file.1.object;
        match site.sha256(draft, std::slice::from_ref(file), *mode, &Silent) {
            Ok(known) => Ok(known.get(&id).map(|digest| (id, Ok(*digest)))),
            Err(error) => Ok(Some((id, Err(content_fault(error)?)))),
        }
    };
    files.par_iter().filter_map(|file| one(file).transpose()).collect()
}

/// Reads a small file whole, or says what is wrong with its content.
fn read_small(
    subject: &Subject<'_>,
    file: &FileEntry,
    path: &RelPath,
    most: u64,
) -> Result<std::result::Result<Vec<u8>, String>> {
    if file.size > most {
        return Ok(Err(format!("it has {} bytes, more than {most}", file.size)));
    }
    let content = match subject.open(file, path) {
        Ok(content) => content,
        Err(error) => return content_fault(error).map(Err),
    };
    let mut bytes = Vec::new();
    content.take(most + 1).read_to_end(&mut bytes).map_err(|source| {
        let path = path.to_string().into();
        Error::Store(cairn_store::Error::Io { op: "read", path, source })
    })?;
    match ObjectId::of(&bytes) == file.object {
        true => Ok(Ok(bytes)),
        false => Ok(Err("its content is not what was stored".to_owned())),
    }
}

/// Returns what is wrong with a content, in words.
///
/// # Errors
/// The error itself, when it says nothing of the content.
fn content_fault(error: Error) -> Result<String> {
    match error {
        Error::Store(
            cairn_store::Error::MissingObject { .. } | cairn_store::Error::Mismatch { .. },
        ) => Ok(error.to_string()),
        error => Err(error),
    }
}
