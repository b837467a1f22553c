//! `cairn verify-mirror`.

use std::fmt::Write as _;

use cairn_releng::mirror::{self, MirrorOptions, MirrorReport};
use cairn_store::path::Escaped;

use super::report::short;
use super::{Context, Exit};
use crate::args::VerifyMirrorArgs;
use crate::output::{Output, Table, count, size, thousands};

/// The exit code for a mirror that deviates.
const DEVIATES: u8 = 3;
/// How many deviations are shown without `-v`.
const SHOWN: usize = 30;

/// Says which snapshot a mirror carries, and where it deviates.
pub fn run(context: &Context<'_>, args: &VerifyMirrorArgs) -> Exit {
    let site = context.site(None)?;
    context.output.notes(site.store.notes());
    let options = MirrorOptions { full: args.full, sample: args.sample };
    let (place, name) = (args.place.as_str(), args.name.as_deref());
    let report = mirror::verify_mirror(&site, place, name, &options, &context.progress)?;
    context.progress.finish();
    let code = if report.is_good() { 0 } else { DEVIATES };
    if context.output.json {
        return Ok(context.output.document("verify-mirror", &report).map(|()| code)?);
    }
    Ok(context.output.text(&text(context.output, &report)).map(|()| code)?)
}

fn text(output: &Output, report: &MirrorReport) -> String {
    let place = Escaped(report.place.as_bytes());
    let (Some(snapshot), Some(who)) = (&report.snapshot, &report.operation) else {
        let none = output.bad("carries no snapshot that is known");
        let problem = report.problem.as_deref().map(|reason| Escaped(reason.as_bytes()));
        let problem = problem.map_or_else(String::new, |reason| format!("  {reason}\n"));
        return format!(
            "{place}  {none} of {}: none of {} is there as it was published\n{problem}",
            report.name,
            count(report.markers as u64, "metadata file")
        );
    };
    let behind = match report.behind {
        None | Some(0) => output.good("up to date"),
        Some(behind) => output.warn(&format!("{} behind", count(behind as u64, "publication"))),
    };
    let mut text = format!(
        "{place}  carries {} of operation {} ({:.0}), {behind}\n  snapshot  {}\n",
        output.strong(&report.name),
        who.number,
        who.time,
        short(snapshot),
    );
    let _ = writeln!(
        text,
        "  metadata  {} of {} agree",
        thousands(report.agree as u64),
        count(report.markers as u64, "file")
    );
    if let Some(list) = &report.list {
        let state = match list.deviations {
            0 => output.good("agrees"),
            some => output.bad(&count(some, "deviation")),
        };
        let _ = writeln!(
            text,
            "  list      {}, {}, {state}",
            Escaped(list.file.as_bytes()),
            count(list.rows, "file")
        );
    }
    if report.walked {
        let _ = writeln!(text, "  names     {} looked at", count(report.files, "file"));
    }
    let _ = writeln!(
        text,
        "  contents  {} of {} read, {}",
        thousands(report.files_read),
        count(report.files, "file"),
        size(report.bytes_read)
    );
    if report.files_too_large > 0 {
        let large = count(report.files_too_large, "file");
        let _ = writeln!(text, "            {large} too large for a sample; --full reads all");
    }
    text += &deviations(output, report);
    if report.is_good() {
        let _ = writeln!(text, "{}", output.good("Nothing that was looked at deviates."));
    }
    text
}

fn deviations(output: &Output, report: &MirrorReport) -> String {
    if report.counts.is_empty() {
        return String::new();
    }
    let counts =
        report.counts.iter().map(|(wrong, number)| format!("{} {wrong}", thousands(*number)));
    let mut text = format!("  deviates  {}\n", output.bad(&counts.collect::<Vec<_>>().join(", ")));
    let limit = if output.verbose > 0 { usize::MAX } else { SHOWN };
    let mut table = Table::default();
    for one in report.deviations.iter().take(limit) {
        let what = match (&one.snapshot, &one.found) {
            (Some(snapshot), _) => format!("that of snapshot {}", short(snapshot)),
            (None, Some(found)) => Escaped(found.as_bytes()).to_string(),
            (None, None) => String::new(),
        };
        table.row([output.bad(one.wrong.as_str()), one.path.to_string(), output.faint(&what)]);
    }
    text += &table.render("    ", output.width);
    let all: u64 = report.counts.values().sum();
    let more = all - report.deviations.len().min(limit) as u64;
    if more > 0 {
        let _ = writeln!(text, "    and {} more (-v lists a thousand)", thousands(more));
    }
    text
}
