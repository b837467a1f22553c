//! `cairn gc`, `cairn hold` and `cairn du`.

use std::fmt::Write as _;
use std::time::Duration;

use cairn_releng::config::parse_duration;
use cairn_releng::verbs::{self, GcOptions, GcReport, Hold, HoldReport};
use cairn_store::gc::{Amount, Space};
use cairn_store::path::Escaped;
use serde::Serialize;

use super::hooks::{self, Happened};
use super::report::short;
use super::{Context, Exit};
use crate::args::{DuArgs, GcArgs, HoldArgs, HoldCommand, Reason};
use crate::failure::Failure;
use crate::output::{Output, Table, count, size, thousands};

/// How many refs people see that keep something alone, without `-v`.
const REFS: usize = 20;

/// `cairn gc`.
pub fn gc(context: &Context<'_>, args: &GcArgs) -> Exit {
    let options = GcOptions {
        keep_last: args.keep_last,
        keep_within: duration("--keep-within", args.keep_within.as_deref())?,
        grace: duration("--grace", args.grace.as_deref())?,
        trash: duration("--trash", args.trash.as_deref())?,
        mode: context.mode(),
    };
    let site = context.site(Some(&args.reason))?;
    let mut report = verbs::gc(&site, &options, &context.progress)?;
    context.progress.finish();
    let code = if report.report.is_partial() { 5 } else { 0 };
    context.output.notes(&report.report.notes);
    if let (Some(_), false) = (report.report.operation, report.dry_run) {
        let (operation, number) = (report.report.operation, report.report.number);
        let happened = Happened { verb: "gc", operation, number, refs: Vec::new() };
        report.report.notes.extend(hooks::tell(context, site, happened, &report));
    }
    match context.output.json {
        true => context.output.document("gc", &report)?,
        false => context.output.text(&gc_text(context.output, &report))?,
    }
    Ok(code)
}

fn duration(flag: &str, text: Option<&str>) -> Result<Option<Duration>, Failure> {
    let parse = |text| {
        parse_duration(text).map_err(|error| {
            Failure::usage(format!("{flag}: {error}"), "a time is written 0s, 24h or 90d")
        })
    };
    text.map(parse).transpose()
}

fn amount(amount: &Amount) -> String {
    format!("{}, {}", count(amount.objects, "object"), size(amount.bytes))
}

fn gc_text(output: &Output, gc: &GcReport) -> String {
    let report = &gc.report;
    let mut text = String::new();
    let mut table = Table::default();
    table.row(["kept by", "snapshots", "objects", "size alone"].map(|head| output.strong(head)));
    let mut refs: Vec<_> = report.refs.iter().collect();
    refs.sort_by_key(|row| std::cmp::Reverse(row.alone.bytes));
    let limit = if output.verbose > 0 { usize::MAX } else { REFS };
    for row in refs.iter().take(limit) {
        table.row([
            row.name.clone(),
            thousands(row.snapshots),
            thousands(row.alone.objects),
            size(row.alone.bytes),
        ]);
    }
    let mut row = |name: &str, snapshots: String, amount: &Amount| {
        let name = output.faint(name);
        table.row([name, snapshots, thousands(amount.objects), size(amount.bytes)]);
    };
    row("several of them", String::new(), &report.shared);
    if report.snapshots_condemned > 0 {
        row("condemned", thousands(report.snapshots_condemned), &report.waiting);
    }
    text += &table.render("", output.width);
    if refs.len() > limit {
        let more = count((refs.len() - limit) as u64, "more ref");
        let _ = writeln!(text, "and {more} (-v lists all)");
    }
    let would = if gc.dry_run { "would go" } else { "gone" };
    let collected = report.snapshots_collected.len() as u64;
    let _ = writeln!(
        text,
        "snapshots  {} kept, {} condemned, {} {would}; {} written anew, {} removed ({})",
        thousands(report.snapshots_kept),
        thousands(report.snapshots_condemned),
        thousands(collected),
        count(report.packs_collected, "pack"),
        count(report.packs_removed.objects, "old pack"),
        size(report.packs_removed.bytes),
    );
    if output.verbose > 0 {
        for snapshot in &report.snapshots_collected {
            let _ = writeln!(text, "  {snapshot}");
        }
    }
    let to_trash = if gc.dry_run { "would go to the trash" } else { "to the trash" };
    let freed = if gc.dry_run { "would be freed" } else { "freed" };
    for pool in &report.pools {
        let _ = writeln!(text, "{}  {}", output.strong(&pool.mount), count(pool.objects, "object"));
        for (what, row) in [
            ("condemned", &pool.condemned),
            (to_trash, &pool.trashed),
            ("in the trash", &pool.in_trash),
            ("brought back from the trash", &pool.rescued),
            (freed, &pool.freed),
        ] {
            if row.objects > 0 {
                let _ = writeln!(text, "  {what}: {}", amount(row));
            }
        }
        if let Some(problem) = &pool.problem {
            let _ = writeln!(text, "  {}", output.bad(&format!("not finished: {problem}")));
        }
    }
    for skipped in &report.skipped {
        let _ = writeln!(text, "{}  {}", output.bad("skipped"), skipped.reason);
    }
    if !report.skipped.is_empty() {
        text += "While a mount is away, no snapshot is collected.\n";
    }
    match (&report.operation, report.number) {
        (Some(id), Some(number)) => {
            let _ = writeln!(text, "operation {number}  {id}");
        }
        _ if gc.dry_run => text += "Nothing was written.\n",
        _ => {}
    }
    text
}

#[derive(Serialize)]
struct Holds {
    holds: Vec<Hold>,
}

/// `cairn hold`.
pub fn hold(context: &Context<'_>, args: &HoldArgs) -> Exit {
    let (site, mut report) = match (&args.command, &args.rev) {
        (Some(HoldCommand::List), _) => return list(context),
        (Some(HoldCommand::Release { names, reason }), _) => {
            let site = context.site(Some(reason))?;
            let report = verbs::release(&site, names, context.mode())?;
            (site, report)
        }
        (None, rev) => {
            let site = context.site(Some(&Reason { reason: args.reason.clone() }))?;
            let rev = rev.as_deref().unwrap_or_default();
            let report = verbs::hold(&site, rev, args.name.as_deref(), context.mode())?;
            (site, report)
        }
    };
    context.output.notes(&report.notes);
    if report.operation.is_some() {
        let (operation, number) = (report.operation, report.number);
        let refs = [&report.held, &report.released].into_iter().flatten();
        let refs = refs.map(|row| format!("hold/{}", row.name)).collect();
        let happened = Happened { verb: "hold", operation, number, refs };
        report.notes.extend(hooks::tell(context, site, happened, &report));
    }
    match context.output.json {
        true => context.output.document("hold", &report)?,
        false => context.output.text(&hold_text(context.output, &report))?,
    }
    Ok(0)
}

fn hold_text(output: &Output, report: &HoldReport) -> String {
    let mut text = String::new();
    let [held, released] = match report.dry_run {
        true => ["would be held", "would be released"],
        false => ["is held", "is released"],
    };
    for (rows, what) in [(&report.held, held), (&report.released, released)] {
        for row in rows {
            let _ = writeln!(text, "{}  {} {what}", output.strong(&row.name), short(&row.snapshot));
        }
    }
    match (&report.operation, report.number) {
        (Some(id), Some(number)) => {
            let _ = writeln!(text, "operation {number}  {id}");
        }
        _ => text += "Nothing was written.\n",
    }
    text
}

fn list(context: &Context<'_>) -> Exit {
    let site = context.site(None)?;
    let document = Holds { holds: verbs::holds(&site)? };
    let output = context.output;
    output.notes(site.store.notes());
    if output.json {
        return Ok(output.document("hold-list", &document).map(|()| 0)?);
    }
    let mut table = Table::default();
    table.row(["hold", "snapshot", "since", "by", "why"].map(|head| output.strong(head)));
    for hold in &document.holds {
        let reason = hold.reason.as_deref().unwrap_or_default();
        table.row([
            hold.name.clone(),
            short(&hold.snapshot),
            format!("{:.0}", hold.time),
            Escaped(hold.user.as_bytes()).to_string(),
            Escaped(reason.as_bytes()).to_string(),
        ]);
    }
    let text = match document.holds.is_empty() {
        true => "Nothing is held.\n".to_owned(),
        false => table.render("", output.width),
    };
    Ok(output.text(&text).map(|()| 0)?)
}

/// `cairn du`.
pub fn du(context: &Context<'_>, args: &DuArgs) -> Exit {
    let site = context.site(None)?;
    let space = verbs::du(&site, &args.names, &context.progress)?;
    context.progress.finish();
    context.output.notes(site.store.notes());
    let code = if space.skipped.is_empty() { 0 } else { 5 };
    match context.output.json {
        true => context.output.document("du", &space)?,
        false => context.output.text(&du_text(context.output, &space))?,
    }
    Ok(code)
}

fn du_text(output: &Output, space: &Space) -> String {
    let mut table = Table::default();
    let head = ["ref", "files", "size", "stored", "kept", "alone", "shared"];
    table.row(head.map(|head| output.strong(head)));
    for row in &space.refs {
        table.row([
            row.name.clone(),
            thousands(row.files),
            size(row.bytes),
            size(row.stored.bytes),
            size(row.kept.bytes),
            size(row.alone.bytes),
            size(row.shared.bytes),
        ]);
    }
    let mut text = table.render("", output.width);
    let _ = writeln!(
        text,
        "all refs  {}, {} of it shared",
        amount(&space.total),
        size(space.shared.bytes)
    );
    let mut table = Table::default();
    table.row(["pool", "needed", "not needed", "trash"].map(|head| output.strong(head)));
    for row in &space.mounts {
        let cells = [&row.needed, &row.unneeded, &row.trash].map(|cell| size(cell.bytes));
        table.row([row.mount.clone()].into_iter().chain(cells));
    }
    text += &table.render("", output.width);
    for skipped in &space.skipped {
        let _ = writeln!(text, "{}  {}", output.bad("skipped"), skipped.reason);
    }
    text
}
