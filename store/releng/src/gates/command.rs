//! Gates that are commands: `[gate.NAME] command`.
//!
//! A command gets the path of a tree, in its arguments and in a JSON document on stdin, and answers
//! by its exit code, as `ask` asks it.

use std::time::Duration;

use cairn_store::id::ObjectId;
use cairn_store::path::RelPath;
use serde_json::json;

use super::exhibit::Exhibit;
use super::results::{Recorded, Results};
use super::{Findings, GateReport, Rule, Subject, Verdict};
use crate::ask::{Answer, Ask};
use crate::config::Template;
use crate::error::Result;
use crate::report::Mode;

const LOOK: &str = "see what it says, and run cairn check again when it is mended";

static FAILED: Rule = Rule::failure("command-failed", LOOK);
static TIMED_OUT: Rule =
    Rule::failure("command-timed-out", "find out what it waits for, or raise gate.NAME.timeout");
static NOT_STARTED: Rule =
    Rule::failure("command-not-started", "install the program, or correct gate.NAME.command");
static MOVED: Rule = Rule::failure(
    "view-moved",
    "something else was published where it looked; run cairn check again",
);

/// What any gate that is a command can find.
pub(super) static RULES: &[&Rule] = &[&FAILED, &TIMED_OUT, &NOT_STARTED, &MOVED];

/// A gate that is a command.
pub(super) struct CommandGate<'a> {
    pub(super) name: &'a str,
    pub(super) command: &'a [Template],
    pub(super) timeout: Duration,
}

impl CommandGate<'_> {
    /// Asks the command, or what it answered before if the subject wants that.
    pub(super) fn judge(&self, subject: &Subject<'_>) -> Result<GateReport> {
        let Some(release) = &subject.release else {
            let reason = "it is not known of which release this is; name it by its ref";
            return Ok(GateReport::without(self.name, Verdict::Unavailable, reason));
        };
        let name = subject.name.as_deref().unwrap_or_default();
        let version = subject.version.unwrap_or(release.version()).to_string();
        let expand = |path: &str| -> Result<Vec<String>> {
            let values = [("ref", name), ("path", path), ("version", version.as_str())];
            let expand = |part| release.expand(part, &values);
            Ok(self.command.iter().map(expand).collect::<std::result::Result<_, _>>()?)
        };
        // Another command, another answer.
        let results = Results::of(subject, self.name, &format!("{version} {:?}", self.command));
        let known = results.last()?;
        if subject.recorded == Recorded::Taken
            && let Some(known) = &known
            && let Some(findings) = known.findings(self.name, RULES)
        {
            let report = GateReport { last: Some(known.last()), ..findings.into_report() };
            let reason = format!("asked at {:.0}", known.time);
            return Ok(GateReport { reason: Some(reason), ..report });
        }
        let exhibit = match (Exhibit::live(subject)?, subject.mode) {
            (Some(live), _) => live,
            // A plan writes nothing, not even a directory.
            (None, Mode::DryRun) => {
                let reason = "no view shows this tree, and a plan builds none";
                return Ok(GateReport::without(self.name, Verdict::Unavailable, reason));
            }
            (None, Mode::Apply) => Exhibit::build(subject)?,
        };
        let path = exhibit.path().to_string_lossy().into_owned();
        let document = json!({
            "schema": "cairn.gate/1",
            "gate": self.name,
            "ref": subject.name,
            "release": release.name(),
            "major": release.major(),
            "version": version,
            "path": path,
            "tree": subject.root.tree,
            "before": subject.before.map(|before| before.tree),
        });
        let stage = format!("Asking {}", self.name);
        subject.observer.begin(&stage, 0, 0);
        let mut findings = self.ask(subject, &expand(&path)?, &document)?;
        if !exhibit.stands(subject) {
            let message = format!("{path} showed another tree when {} had ended", self.name);
            findings.add(&MOVED, None, RelPath::ROOT, message);
        }
        results.remember(&findings)?;
        Ok(GateReport { last: known.map(|known| known.last()), ..findings.into_report() })
    }

    fn ask(
        &self,
        subject: &Subject<'_>,
        command: &[String],
        document: &serde_json::Value,
    ) -> Result<Findings> {
        let (name, timeout) = (self.name, self.timeout);
        let answer = Ask { name, command, timeout, document }.run(subject.observer)?;
        let mut findings = Findings::of(super::for_ever(self.name));
        let (rule, message) = match answer {
            Answer::Success(_) => return Ok(findings),
            Answer::Failed(message) => (&FAILED, message),
            Answer::TimedOut(message) => (&TIMED_OUT, message),
            Answer::NotStarted(message) => (&NOT_STARTED, message),
        };
        findings.add(rule, None, RelPath::ROOT, message);
        Ok(findings)
    }
}

/// Names what an answer depends on.
pub(super) fn fingerprint(parts: &[&str]) -> ObjectId {
    ObjectId::of(parts.join("\0").as_bytes())
}
