//! `cairn approve`.

use std::fmt::Write as _;

use cairn_releng::verbs::{self, Approval, ApproveReport};
use cairn_store::path::Escaped;

use super::hooks::{self, Happened};
use super::report::short;
use super::{Context, Exit};
use crate::args::{ApproveArgs, Reason};
use crate::output::Output;

/// Records a person's word on a snapshot.
pub fn run(context: &Context<'_>, args: &ApproveArgs) -> Exit {
    let site = context.site(Some(&Reason { reason: args.reason.clone() }))?;
    let mut report = verbs::approve(&site, &args.rev, args.withdraw, context.mode())?;
    context.output.notes(&report.notes);
    if report.operation.is_some() {
        let (operation, number) = (report.operation, report.number);
        let happened = Happened { verb: "approve", operation, number, refs: Vec::new() };
        report.notes.extend(hooks::tell(context, site, happened, &report));
    }
    match context.output.json {
        true => context.output.document("approve", &report)?,
        false => context.output.text(&text(context.output, &report))?,
    }
    Ok(0)
}

fn text(output: &Output, report: &ApproveReport) -> String {
    let did = match (report.withdrawn, report.dry_run) {
        (false, false) => "approves",
        (false, true) => "would approve",
        (true, false) => "no longer approves",
        (true, true) => "would no longer approve",
    };
    let person = Escaped(report.person.as_bytes()).to_string();
    let mut text = format!(
        "{} {did} {} (snapshot {})\n",
        output.strong(&person),
        report.rev,
        short(&report.snapshot)
    );
    text += &approvals_text(&report.approvals);
    match (&report.operation, report.number) {
        (Some(id), Some(number)) => {
            let _ = writeln!(text, "operation {number}  {id}");
        }
        _ => text += "Nothing was written.\n",
    }
    text
}

/// Lists approvals, one in each line.
pub fn approvals_text(approvals: &[Approval]) -> String {
    let mut text = String::new();
    for one in approvals {
        let (person, reason) = (&one.person, one.reason.as_deref().unwrap_or_default());
        let _ = writeln!(
            text,
            "  approved  {}  {:.0}  {}",
            Escaped(person.as_bytes()),
            one.time,
            Escaped(reason.as_bytes())
        );
    }
    text
}
