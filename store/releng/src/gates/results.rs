//! What a gate said of a tree, and when.
//!
//! Kept in the index beside the verdicts, under a name of its own (docs/format.md §11): the key is
//! the hash of gate, command, tree and the tree before. So it belongs to a snapshot's content, and
//! another byte has none. It is derived: losing it means that a gate is asked again.

use cairn_store::id::ObjectId;
use cairn_store::path::RelPath;
use serde::{Deserialize, Serialize};

use super::command::fingerprint;
use super::{Findings, GateReport, Rule, Subject, Verdict};
use crate::error::Result;
use crate::report::Mode;

/// What the index calls them.
const NAME: &str = "gate-result";
/// The version of the document; others are not read.
const VERSION: u32 = 1;
/// The largest document that is kept.
const MAX_SIZE: usize = 64 << 10;

/// What to do where a command has answered before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recorded {
    /// Ask again, and record the new answer.
    #[default]
    Renewed,
    /// Take the answer.
    Taken,
}

/// When a gate was asked before, and what it said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Last {
    /// When.
    pub time: jiff::Timestamp,
    /// What it said.
    pub verdict: Verdict,
}

/// An answer.
#[derive(Serialize, Deserialize)]
pub(super) struct Known {
    version: u32,
    pub(super) time: jiff::Timestamp,
    failed: bool,
    /// Rules and messages.
    findings: Vec<(String, String)>,
}

impl Known {
    pub(super) fn last(&self) -> Last {
        let verdict = if self.failed { Verdict::Failed } else { Verdict::Passed };
        Last { time: self.time, verdict }
    }

    /// Returns the findings, if this version has all their rules.
    pub(super) fn findings(&self, gate: &str, rules: &[&'static Rule]) -> Option<Findings> {
        let mut findings = Findings::of(super::for_ever(gate));
        for (name, message) in &self.findings {
            let rule = rules.iter().find(|rule| rule.name == name)?;
            findings.add(rule, None, RelPath::ROOT, message.clone());
        }
        Some(findings)
    }
}

/// The answers of one gate to one subject.
pub(super) struct Results<'a> {
    subject: &'a Subject<'a>,
    key: ObjectId,
}

impl<'a> Results<'a> {
    /// `what` is what the answer depends on beside the trees.
    pub(super) fn of(subject: &'a Subject<'a>, gate: &str, what: &str) -> Self {
        let before = subject.before.map(|before| before.tree.to_string()).unwrap_or_default();
        let root = subject.root.tree.to_string();
        Self { subject, key: fingerprint(&[gate, what, &root, &before]) }
    }

    /// Returns the last answer. One that cannot be read is none.
    pub(super) fn last(&self) -> Result<Option<Known>> {
        let bytes = self.subject.site.store.index().view()?.digests(NAME)?.get(&self.key)?;
        let known: Option<Known> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(known.filter(|known| known.version == VERSION))
    }

    /// Remembers an answer, unless this is a dry run.
    pub(super) fn remember(&self, findings: &Findings) -> Result<()> {
        let all = findings.list.iter();
        self.record(findings.failures > 0, all.map(|f| (f.rule.to_owned(), f.message.clone())))
    }

    /// Remembers only what a report comes to.
    pub(super) fn note(&self, report: &GateReport) -> Result<()> {
        match report.verdict {
            Verdict::Passed | Verdict::Failed => {
                self.record(report.verdict == Verdict::Failed, std::iter::empty())
            }
            Verdict::Skipped | Verdict::Unavailable => Ok(()),
        }
    }

    fn record(&self, failed: bool, findings: impl Iterator<Item = (String, String)>) -> Result<()> {
        let index = self.subject.site.store.index();
        if self.subject.mode == Mode::DryRun || !index.is_writable() {
            return Ok(());
        }
        let (version, time) = (VERSION, jiff::Timestamp::now());
        let known = Known { version, time, failed, findings: findings.collect() };
        let bytes = serde_json::to_vec(&known).expect("an answer is plain data");
        match bytes.len() <= MAX_SIZE {
            true => Ok(index.add_digests(NAME, &[(self.key, bytes)])?),
            false => Ok(()),
        }
    }
}
