//! `cairn check`.

use std::fmt::Write as _;

use cairn_releng::gates::{GateReport, Severity};
use cairn_releng::verbs::{self, Checked};

use super::report::verdict;
use super::{Context, Exit};
use crate::args::CheckArgs;
use crate::output::{Output, count};

/// The exit code for findings.
const FOUND: u8 = 3;
/// How many findings of a gate people see without `-v`.
const FINDINGS: usize = 20;

/// Asks the gates about a snapshot.
pub fn run(context: &Context<'_>, args: &CheckArgs) -> Exit {
    let site = context.site(None)?;
    let checked = verbs::check(&site, &args.rev, &args.gates, context.mode(), &context.progress)?;
    context.progress.finish();
    let code = if checked.is_clean() { 0 } else { FOUND };
    let output = context.output;
    output.notes(site.store.notes());
    if output.json {
        return Ok(output.document("check", &checked).map(|()| code)?);
    }
    Ok(output.text(&text(output, &checked)).map(|()| code)?)
}

fn text(output: &Output, checked: &Checked) -> String {
    let mut text = format!("{}  snapshot {}\n", output.strong(&checked.rev), checked.snapshot);
    if let Some(before) = &checked.before {
        let _ = writeln!(text, "compared with snapshot {before}");
    }
    for gate in &checked.gates {
        text += &gate_text(output, gate);
    }
    text
}

fn gate_text(output: &Output, gate: &GateReport) -> String {
    let mut head = format!("{}  {}", output.strong(&gate.gate), verdict(output, gate.verdict));
    let counts = [(gate.failures, "failure"), (gate.warnings, "warning")];
    let counts: Vec<String> =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, noun)| count(*n, noun)).collect();
    if !counts.is_empty() {
        let _ = write!(head, "  {}", counts.join(", "));
    }
    if let Some(reason) = &gate.reason {
        let _ = write!(head, "  {}", output.faint(reason));
    }
    if let Some(last) = gate.last {
        let _ = write!(
            head,
            "  {}",
            output.faint(&format!("before: {} {:.0}", last.verdict.as_str(), last.time))
        );
    }
    let mut text = head + "\n";
    let limit = if output.verbose > 0 { usize::MAX } else { FINDINGS };
    // Findings come by path; what is said of a rule in general is said once.
    let mut remedies: Vec<(&str, &str)> = Vec::new();
    for finding in gate.findings.iter().take(limit) {
        let rule = match finding.severity {
            Severity::Failure => output.bad(finding.rule),
            Severity::Warning => output.warn(finding.rule),
        };
        let _ = writeln!(text, "  {rule}  {}: {}", finding.path, finding.message);
        if !remedies.contains(&(finding.rule, finding.remedy)) {
            remedies.push((finding.rule, finding.remedy));
        }
    }
    let shown = gate.findings.len().min(limit) as u64;
    let more = gate.failures + gate.warnings - shown;
    if more > 0 {
        let all = if output.verbose > 0 { "" } else { " (-v lists more)" };
        let _ = writeln!(text, "  and {}{all}", count(more, "more finding"));
    }
    for (rule, remedy) in remedies {
        let _ = writeln!(text, "  {} {rule}: {remedy}", output.strong("remedy:"));
    }
    text
}
