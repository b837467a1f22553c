//! Gates that are commands: `[gate.NAME] command`.
//!
//! A command gets the path of a tree, in its arguments and in a JSON document on stdin, and answers
//! by its exit code. It runs as `program` runs programs: without a shell, in a private directory, in
//! a process group that is killed when it is over or takes too long. What it says is quoted, bounded
//! and escaped.

use std::time::Duration;

use cairn_store::id::ObjectId;
use cairn_store::path::{Escaped, RelPath};
use serde_json::json;

use super::exhibit::Exhibit;
use super::results::{Recorded, Results};
use super::{Findings, GateReport, Rule, Subject, Verdict};
use crate::config::{Template, format_duration};
use crate::error::{Error, Result};
use crate::program::{Failure, Program};
use crate::report::Mode;
use crate::signing::Scratch;

/// How much of a command's stdout is kept; its end is quoted.
const MAX_OUTPUT: usize = 64 << 10;
/// How many lines of it a message quotes.
const QUOTED_LINES: usize = 8;
/// How long a quoted line may be.
const LINE: usize = 400;

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
        let (scratch, input) = (Scratch::new()?, document.to_string());
        let program = command.first().map_or("", String::as_str);
        let program = Escaped(program.as_bytes()).to_string();
        let run = Program {
            command,
            dir: scratch.path(),
            name: self.name,
            input: input.as_bytes(),
            timeout: self.timeout,
            most: MAX_OUTPUT,
        };
        let mut findings = Findings::of(super::for_ever(self.name));
        let mut add = |rule, message: String| findings.add(rule, None, RelPath::ROOT, message);
        match run.run(subject.observer) {
            Ok(ended) => {
                if let Some(how) = ended.failure() {
                    let said = ended.said.quoted().map(|said| format!("; it said: {said}"));
                    let wrote = wrote(&ended.stdout, ended.cut);
                    let wrote = wrote.map(|wrote| format!("; it wrote: {wrote}"));
                    let (said, wrote) = (said.unwrap_or_default(), wrote.unwrap_or_default());
                    add(&FAILED, format!("{program} {how}{wrote}{said}"));
                }
            }
            Err(Failure::Start(source)) => {
                add(&NOT_STARTED, format!("{program} cannot be started: {source}"));
            }
            Err(Failure::TimedOut(said)) => {
                let after = format_duration(self.timeout);
                let said = said.quoted().map(|said| format!("; it said: {said}"));
                let said = said.unwrap_or_default();
                add(
                    &TIMED_OUT,
                    format!("{program} had not ended after {after}, and was killed{said}"),
                );
            }
            Err(Failure::Interrupted) => {
                return Err(Error::Store(cairn_store::Error::Interrupted));
            }
        }
        Ok(findings)
    }
}

/// Returns the last lines of what a command wrote, as one line that is safe for a terminal.
fn wrote(stdout: &[u8], cut: bool) -> Option<String> {
    let lines = stdout.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
    let skipped = lines.len().saturating_sub(QUOTED_LINES);
    let start = if skipped > 0 { "… " } else { "" };
    let end = if cut { " …" } else { "" };
    let shown: Vec<String> = lines[skipped..]
        .iter()
        .map(|line| Escaped(&line[..line.len().min(LINE)]).to_string())
        .collect();
    (!shown.is_empty()).then(|| format!("{start}{}{end}", shown.join(" / ")))
}

/// Names what an answer depends on.
pub(super) fn fingerprint(parts: &[&str]) -> ObjectId {
    ObjectId::of(parts.join("\0").as_bytes())
}
