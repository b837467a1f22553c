//! Rendering of the report that every mutating verb gives.

use std::fmt::Write as _;

use cairn_releng::Site;
use cairn_releng::gates::{RefGates, Severity, Verdict};
use cairn_releng::links::LinkReport;
use cairn_releng::media::MediaReport;
use cairn_releng::report::{RefPlan, Report, ViewReport};
use cairn_releng::repos::RepoReport;
use cairn_releng::verbs::ErrataReport;
use cairn_store::diff::Changed;
use cairn_store::path::Escaped;
use cairn_store::publish::Source;

use super::diff::package_lines;
use super::forecast::forecast_text;
use super::hooks::{self, Happened};
use super::{Context, Exit};
use crate::output::{Output, Table, count, size};

/// How many paths of a kind a plan lists without `-v`.
const PATHS: usize = 20;
/// How many repos with new metadata are listed without `-v`.
const REPOS: usize = 20;
/// How many warnings of gates are listed without `-v`.
const WARNINGS: usize = 5;
/// How many advisories of a kind are named without `-v`.
const ADVISORIES: usize = 5;
/// How many hex digits of an id people see.
const SHORT: usize = 12;

/// Tells hooks of a report, prints it and returns the command's exit code.
pub fn render(context: &Context<'_>, mut report: Report, site: Site) -> Exit {
    context.progress.finish();
    if !context.output.json {
        context.output.notes(&report.notes);
    }
    if !report.is_noop() && !report.dry_run {
        let refs = report.refs.iter().map(|one| one.name.clone()).collect();
        let (operation, number) = (report.operation, report.number);
        let happened = Happened { verb: report.verb, operation, number, refs };
        report.notes.extend(hooks::tell(context, site, happened, &report));
    }
    let report = &report;
    let code = match (report.refusals.is_empty(), report.is_partial()) {
        (false, _) => 4,
        (true, true) => 5,
        // It is done, and what somebody has edited by hand is a finding.
        (true, false) if report.has_edits() => 3,
        (true, false) => 0,
    };
    if context.output.json {
        context.output.document(report.verb, report)?;
        return Ok(code);
    }
    context.output.text(&text(context.output, report))?;
    Ok(code)
}

/// Shortens an id for people.
pub fn short(id: &impl ToString) -> String {
    id.to_string()[..SHORT].to_owned()
}

fn text(output: &Output, report: &Report) -> String {
    let mut text = String::new();
    if let Some(counts) = &report.ingested {
        let verb = if report.dry_run { "would be read" } else { "read" };
        let _ = writeln!(
            text,
            "{}, {}; {} ({}) {verb}",
            count(counts.files, "file"),
            size(counts.bytes),
            count(counts.files_read, "file"),
            size(counts.bytes_read)
        );
    }
    for moved in &report.refs {
        // What is new has no snapshot on either side of a plan.
        if moved.old == moved.new && moved.new.is_some() {
            let snapshot = moved.new.as_ref().map_or("nothing".to_owned(), short);
            let _ = writeln!(text, "{}  stays {snapshot}", output.strong(&moved.name));
            continue;
        }
        let name = |id: &Option<_>| id.as_ref().map_or("nothing".to_owned(), short);
        let new = match (report.dry_run, &moved.new) {
            (true, None) => "a new snapshot".to_owned(),
            _ => name(&moved.new),
        };
        let _ = writeln!(text, "{}  {} → {new}", output.strong(&moved.name), name(&moved.old));
    }
    if report.operation.is_some() {
        let _ = writeln!(text, "  files  {}", changed(output, &report.changed));
    }
    for one in &report.gates {
        text += &gates_text(output, one);
    }
    for one in &report.approvals {
        let people: Vec<&str> = one.approvals.iter().map(|one| one.person.as_str()).collect();
        let by = match people.is_empty() {
            true => "nobody".to_owned(),
            false => Escaped(people.join(", ").as_bytes()).to_string(),
        };
        let (counted, required) = (one.counted, one.required);
        let _ = writeln!(text, "  approved  by {by} ({counted} of {required} that count)");
    }
    for plan in &report.plan {
        text += &plan_text(output, plan);
    }
    if let Some(forecast) = &report.forecast {
        text += &forecast_text(output, forecast);
    }
    if !report.signed.is_empty() {
        let verb = if report.dry_run { "to be signed" } else { "signed" };
        let _ = writeln!(text, "  {}  {verb}", count(report.signed.len() as u64, "repo"));
        let limit = if output.verbose > 0 { usize::MAX } else { 0 };
        for path in report.signed.iter().take(limit) {
            let _ = writeln!(text, "    {path}");
        }
    }
    text += &repos_text(output, &report.repos);
    if !report.kickstarts.is_empty() {
        let trees = count(report.kickstarts.len() as u64, "kickstart tree");
        let _ = writeln!(text, "  {trees}, each the os tree of its repo once more");
    }
    if let Some(media) = &report.media {
        text += &media_text(media);
    }
    if let Some(errata) = &report.errata {
        text += &errata_text(output, errata);
    }
    for view in &report.views {
        let _ = writeln!(text, "  view   {}", view_text(output, view, report.dry_run));
    }
    for link in &report.links {
        let _ = writeln!(text, "  link   {}", link_text(output, link, report.dry_run));
    }
    for link in &report.removed_links {
        let verb = if report.dry_run { "to be removed" } else { "removed" };
        let led = match &link.old {
            Some(old) => format!(" → {}", Escaped(old.as_bytes())),
            None => String::new(),
        };
        let _ = writeln!(text, "  link   {}:{}{led}; {verb}", link.mount, link.path);
    }
    for name in &report.pending {
        let _ = writeln!(text, "  {}  {name}", output.bad("pending"));
    }
    for path in &report.times_moved {
        let _ = writeln!(
            text,
            "  {}   {path}: new content of equal size and time, its time is moved forward",
            output.warn("time")
        );
    }
    let lists = report.lists.iter().filter(|list| list.changed).count() as u64;
    if lists > 0 {
        let verb = if report.dry_run { "would be written" } else { "written" };
        let _ = writeln!(text, "  lists  {} {verb}", count(lists, "list"));
    }
    text += &super::torrents::text(output, &report.torrents, report.dry_run);
    match (&report.operation, report.number) {
        (Some(id), Some(number)) => {
            let _ = writeln!(text, "operation {number}  {id}");
        }
        _ if report.dry_run => {
            for refusal in &report.refusals {
                let _ = writeln!(text, "{} {refusal}", output.bad("Would be refused:"));
            }
            text.push_str("Nothing was written.\n");
        }
        _ if report.verb == "lists" && lists == 0 => text.push_str("The lists are up to date.\n"),
        _ if report.verb == "torrents" => {}
        _ if report.is_noop() && lists == 0 => text.push_str("Nothing has changed.\n"),
        _ => {}
    }
    text
}

/// Says which repos got new metadata: one line each, or their number when they are many.
fn repos_text(output: &Output, repos: &[RepoReport]) -> String {
    let mut text = String::new();
    let limit = if output.verbose > 0 { usize::MAX } else { REPOS };
    for repo in repos.iter().take(limit) {
        let mut parts = vec![count(repo.packages as u64, "package")];
        if repo.fresh > 0 {
            parts
                .push(format!("{} read from the RPM", crate::output::thousands(repo.fresh as u64)));
        }
        if repo.advisories > 0 {
            parts.push(advisories(repo.advisories));
        }
        let _ = writeln!(text, "  repo   {}  {}", repo.path, parts.join(", "));
    }
    if repos.len() > limit {
        let more = count((repos.len() - limit) as u64, "more repo");
        let _ = writeln!(text, "  repo   and {more} (-v lists all)");
    }
    text
}

/// Says what was done with media.
fn media_text(media: &MediaReport) -> String {
    let part = |number: usize, what: &str| count(number as u64, what);
    format!(
        "  media  {}, {}, {}, {}\n",
        part(media.images.len(), "image"),
        part(media.links.len(), "link"),
        part(media.manifests.len(), "manifest"),
        part(media.checksums.len(), "checksum list"),
    )
}

/// A line for the gates of a ref, and one for each warning.
fn gates_text(output: &Output, one: &RefGates) -> String {
    if one.gates.is_empty() {
        return String::new();
    }
    let names: Vec<String> = one
        .gates
        .iter()
        .map(|gate| format!("{} {}", gate.gate, verdict(output, gate.verdict)))
        .collect();
    let mut text = format!("  gates  {}\n", names.join(", "));
    let findings = one.gates.iter().flat_map(|gate| &gate.findings);
    let warnings: Vec<_> = findings.filter(|f| f.severity == Severity::Warning).collect();
    let limit = if output.verbose > 0 { usize::MAX } else { WARNINGS };
    for warning in warnings.iter().take(limit) {
        let _ = writeln!(text, "    {} {warning}", output.warn("!"));
    }
    let all: u64 = one.gates.iter().map(|gate| gate.warnings).sum();
    let more = all - warnings.len().min(limit) as u64;
    if more > 0 {
        let _ = writeln!(text, "    {} and {}", output.warn("!"), count(more, "more warning"));
    }
    text
}

/// Says what became of advisories.
fn errata_text(output: &Output, errata: &ErrataReport) -> String {
    let rows = [
        ("added", &errata.added),
        ("updated", &errata.updated),
        ("without a package here", &errata.absent),
        ("left out, no repo has a package of that name", &errata.unplaced),
    ];
    let mut text = format!("  errata  {} given\n", advisories(errata.given));
    for (what, ids) in rows {
        if ids.is_empty() {
            continue;
        }
        let limit = if output.verbose > 0 { usize::MAX } else { ADVISORIES };
        let shown: Vec<&str> = ids.iter().take(limit).map(String::as_str).collect();
        let more = ids.len() - shown.len();
        let and = if more > 0 { format!(" and {more} more (-v lists all)") } else { String::new() };
        let _ = writeln!(text, "    {} {what}: {}{and}", ids.len(), shown.join(", "));
    }
    text
}

/// A gate's verdict for people.
pub fn verdict(output: &Output, verdict: Verdict) -> String {
    let name = verdict.as_str();
    match verdict {
        Verdict::Passed => output.good(name),
        Verdict::Failed => output.bad(name),
        Verdict::Skipped | Verdict::Unavailable => output.warn(name),
    }
}

fn advisories(number: usize) -> String {
    match number {
        1 => "1 advisory".to_owned(),
        more => format!("{} advisories", crate::output::thousands(more as u64)),
    }
}

/// Counts for people: `2 added, 1 changed, 3 removed (+1.2 MB)`.
pub fn changed(output: &Output, changed: &Changed) -> String {
    if changed.is_empty() {
        return "nothing differs".to_owned();
    }
    let part = |number: u64, word: &str| format!("{} {word}", crate::output::thousands(number));
    format!(
        "{}, {}, {}; {} new, {} gone",
        output.good(&part(changed.files_added, "added")),
        part(changed.files_changed, "changed"),
        output.bad(&part(changed.files_removed, "removed")),
        size(changed.bytes_added),
        size(changed.bytes_removed),
    )
}

fn view_text(output: &Output, view: &ViewReport, dry_run: bool) -> String {
    let place = format!("{}:{}", view.mount, view.path);
    let mode = view.mode.map(|mode| format!("mode {:04o} → {:04o}", mode.old, mode.new));
    let tree = match view.source {
        Source::Live => {
            let what = match (&view.pending, &mode) {
                (Some(reason), _) => output.bad(&format!("pending: {reason}")),
                (None, Some(mode)) => format!("the live tree, {mode}"),
                (None, None) => "is live already".to_owned(),
            };
            return format!("{place}  {what}");
        }
        Source::Kept => "a kept tree".to_owned(),
        Source::Standby => format!("the standby tree, {}", paths_of(&view.work)),
        Source::New => format!("a new tree, {}", paths_of(&view.work)),
    };
    let links = match dry_run {
        true => view.link.to_owned(),
        false => {
            let links = [
                (view.links.hardlinked, "hard link"),
                (view.links.reflinked, "reflink"),
                (view.links.copied, "copy"),
            ];
            let shown: Vec<_> =
                links.iter().filter(|(n, _)| *n > 0).map(|(n, w)| count(*n, w)).collect();
            if shown.is_empty() { "nothing to link".to_owned() } else { shown.join(", ") }
        }
    };
    let outcome = match (&view.pending, view.swapped, dry_run) {
        (Some(reason), ..) => output.bad(&format!("pending: {reason}")),
        (None, true, _) => output.good(&format!("live by {}", view.strategy)),
        (None, false, true) => format!("to be swapped by {}", view.strategy),
        (None, false, false) => "not swapped".to_owned(),
    };
    let mode = mode.map_or_else(String::new, |mode| format!("; {mode}"));
    format!("{place}  {tree}{mode}; {links}; {outcome}")
}

fn link_text(output: &Output, link: &LinkReport, dry_run: bool) -> String {
    let place = format!("{}:{} → {}", link.mount, link.path, link.target);
    let before = match &link.old {
        Some(old) => format!("led to {old}"),
        None => "new".to_owned(),
    };
    match (&link.pending, link.switched) {
        (Some(reason), _) => format!("{place}  {}", output.bad(&format!("pending: {reason}"))),
        (None, true) => format!("{place}  {}; {before}", output.good("switched")),
        (None, false) if !link.differs() => format!("{place}  as it is"),
        (None, false) if dry_run => format!("{place}  to be switched; {before}"),
        (None, false) => format!("{place}  not switched"),
    }
}

fn paths_of(work: &Changed) -> String {
    count(work.files_added + work.files_changed + work.files_removed, "path")
}

fn plan_text(output: &Output, plan: &RefPlan) -> String {
    let mut text = format!("  files  {}\n", changed(output, &plan.changed));
    let kinds = [
        (output.good("+"), &plan.files.added),
        (output.warn("~"), &plan.files.changed),
        (output.bad("-"), &plan.files.removed),
    ];
    for (sign, paths) in kinds {
        let limit = if output.verbose > 0 { usize::MAX } else { PATHS };
        for path in paths.iter().take(limit) {
            let _ = writeln!(text, "    {sign} {path}");
        }
        if paths.len() > limit {
            let more = (paths.len() - limit) as u64;
            let _ = writeln!(text, "    {sign} and {} (-v lists all)", count(more, "more path"));
        }
    }
    if let Some(packages) = &plan.packages {
        text += &package_lines(output, packages, "    ");
    }
    if !plan.repos.is_empty() {
        let mut table = Table::default();
        for repo in &plan.repos {
            table.row([repo.to_string()]);
        }
        let _ = write!(text, "  repos with other metadata\n{}", table.render("    ", output.width));
    }
    text
}
