//! `cairn fsck`.

use std::path::Path;

use cairn_fsck::{Level, LinkOf, Mode, Options, Outcome, Repair, Report, Severity, Subject};
use cairn_store::link::LinkSpec;
use cairn_store::path::{Escaped, RelPath};
use cairn_store::publish::ViewSpec;

use super::{Context, Exit};
use crate::args::FsckArgs;
use crate::failure::Failure;
use crate::output::{Output, count, size};

/// How many affected paths people see without `-v`.
const AFFECTED: usize = 5;

/// Checks the store, and repairs it; exits with 3 for differences and 13 for damage.
pub fn run(context: &Context<'_>, args: &FsckArgs) -> Exit {
    let config = context.config()?;
    let mounts = cairn_releng::site::mount_specs(&config)?;
    let view = |name: &cairn_store::refs::RefName| {
        let view = cairn_releng::names::view_for_ref(&config, name.as_str())?;
        let path = RelPath::new(&view.path).ok()?;
        Some(ViewSpec { name: name.clone(), mount: view.mount, path })
    };
    let rule = cairn_releng::site::sharing_rule(&config)?;
    let store = Path::new(&config.store.path);
    let asked = cairn_releng::links::configured(&config)?;
    let link = |name: &cairn_store::refs::RefName| {
        let spec = cairn_releng::links::spec(&config, name)?;
        let wanted = asked.contains(name);
        Some(LinkOf { spec, wanted })
    };
    let is_release = |spec: &LinkSpec, target: &str| {
        let path = spec.path.to_str().unwrap_or_default();
        cairn_releng::names::leads_to_a_release(&config, &spec.mount, path, target)
    };
    let subject = Subject {
        store,
        mounts: &mounts,
        view: &view,
        link: &link,
        is_release: &is_release,
        never_link: &rule,
    };
    let options = Options {
        level: if args.full { Level::Full } else { Level::Quick },
        limit: args.limit.as_deref().map(parse_rate).transpose()?,
        restart: args.restart,
    };
    let output = context.output;
    if !args.repair {
        let report = cairn_fsck::check(&subject, &options, &context.progress)?;
        context.progress.finish();
        if !context.global.dry_run {
            remember(output, store, options.level, &report);
        }
        if output.json {
            output.document("fsck", &report)?;
        } else {
            output.text(&(findings(output, &report) + &summary(output, &report)))?;
        }
        return Ok(exit_code(&report));
    }
    let mode = if context.global.dry_run { Mode::Plan } else { Mode::Apply };
    let session = context.session(Some(&args.reason))?;
    let done = cairn_fsck::repair(&subject, &options, &session, mode, &context.progress)?;
    context.progress.finish();
    let now = done.after.as_ref().unwrap_or(&done.before);
    if mode == Mode::Apply {
        remember(output, store, options.level, now);
    }
    if output.json {
        output.document("fsck", &done)?;
        return Ok(exit_code(now));
    }
    let mut text = findings(output, &done.before);
    for repair in &done.repairs {
        text += &repair_text(output, repair);
    }
    if let Some(after) = &done.after
        && !after.findings.is_empty()
    {
        text += "After the repair:\n";
        text += &findings(output, after);
    }
    text += &summary(output, now);
    if mode == Mode::Plan {
        text += "Nothing was written.\n";
    }
    output.text(&text)?;
    Ok(exit_code(now))
}

/// Records when the store was checked, for those who watch it.
fn remember(output: &Output, store: &Path, level: Level, report: &Report) {
    // Who may not write in the store may check it all the same.
    if let Err(error) = cairn_fsck::remember(store, level, report) {
        output.notes(&[format!("It is not recorded that the store was checked: {error}.")]);
    }
}

fn exit_code(report: &Report) -> u8 {
    match report.worst() {
        None => 0,
        Some(Severity::Notice | Severity::Warning) => 3,
        Some(Severity::Damage) => 13,
    }
}

fn findings(output: &Output, report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let name = finding.code.name();
        let name = match finding.severity {
            Severity::Notice => output.faint(name),
            Severity::Warning => output.warn(name),
            Severity::Damage => output.bad(name),
        };
        text += &format!("{name}  {}: {}\n", finding.subject, finding.message);
        let limit = if output.verbose > 0 { usize::MAX } else { AFFECTED };
        for affected in finding.affected.iter().take(limit) {
            text += &format!("    {}\n", Escaped(affected.as_bytes()));
        }
        if finding.affected.len() > limit {
            let more = (finding.affected.len() - limit) as u64;
            text += &format!("    and {} (-v lists all)\n", count(more, "more path"));
        }
    }
    text
}

fn repair_text(output: &Output, repair: &Repair) -> String {
    let (state, reason) = match &repair.outcome {
        Outcome::Planned => (output.strong("would"), String::new()),
        Outcome::Done => (output.good("done"), String::new()),
        Outcome::Failed(reason) => (output.bad("failed"), format!(": {reason}")),
        Outcome::Impossible => (output.bad("by hand"), String::new()),
    };
    let what = format!("{}: {}{reason}", repair.subject, repair.what);
    match repair.outcome {
        Outcome::Impossible => format!("{state}  {what}\n"),
        _ => format!("{state}  {}  {what}\n", repair.action),
    }
}

fn summary(output: &Output, report: &Report) -> String {
    let since =
        report.resumed.map(|since| format!("Went on with the check begun at {since:.0}.\n"));
    format!(
        "{}{}, {}, {}, {} checked; {} hashed: {}\n",
        since.unwrap_or_default(),
        count(report.operations, "operation"),
        count(report.packs, "pack"),
        count(report.objects, "object"),
        count(report.live_paths, "live path"),
        size(report.bytes_hashed),
        match report.findings.len() as u64 {
            0 => output.good("nothing is wrong."),
            found => output.bad(&format!("{}.", count(found, "finding"))),
        }
    )
}

/// Parses a number of bytes a second: `100MiB/s`, `2GB`, `500000`.
fn parse_rate(text: &str) -> Result<u64, Failure> {
    const UNITS: [(&str, u64); 9] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("kB", 1_000),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("B", 1),
        ("", 1),
    ];
    let number = text.strip_suffix("/s").unwrap_or(text);
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| Some((number.strip_suffix(name)?, unit)))
        .unwrap_or((number, &1));
    let rate = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(*unit));
    rate.filter(|rate| *rate > 0).ok_or_else(|| {
        Failure::usage(
            format!("--limit: {text:?} is not a rate"),
            "a rate is written 100MiB/s, 2GB/s, or as bytes a second",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::parse_rate;

    #[test]
    fn rates_are_whole_numbers_of_a_unit() {
        for (text, rate) in [
            ("100MiB/s", Some(100 << 20)),
            ("2GB/s", Some(2_000_000_000)),
            ("500000", Some(500_000)),
            ("64 KiB", Some(64 << 10)),
            ("0", None),
            ("fast", None),
            ("-1MB/s", None),
            ("99999999999GiB", None),
        ] {
            assert_eq!(parse_rate(text).ok(), rate, "{text}");
        }
    }
}
