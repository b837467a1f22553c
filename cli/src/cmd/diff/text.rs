//! A report for a terminal.

use std::fmt::Write as _;

use cairn_releng::audit::{Attention, FilesDiff, PackageRow, PackagesDiff, Rule};
use cairn_store::path::RelPath;

use super::Review;
use super::page::{Cell, Section, Tone, file_sums, sections};
use crate::args::By;
use crate::cmd::report::changed;
use crate::output::{Output, Table, count, size, thousands};

/// How wide a list of names is without `-v`; the first is shown however long it is.
const NAMES: usize = 48;
/// How much of a value is shown without `-v`: enough to know a checksum by.
const VALUE: usize = 48;
/// How many subjects of a point are shown without `-v`.
const SUBJECTS: usize = 10;

/// Renders a report.
pub fn render(output: &Output, review: &Review) -> String {
    let audit = &review.audit;
    if audit.is_empty() {
        return match &review.filter {
            None => "Nothing differs.\n".to_owned(),
            Some(filter) => format!("Nothing differs in what {filter} accepts.\n"),
        };
    }
    let mut text = attention(output, &audit.attention);
    let mut found = false;
    for section in sections(review).iter().filter(|section| !section.table.rows.is_empty()) {
        found = true;
        text += &section_text(output, section);
    }
    match review.by {
        By::Files => text += &file_lines(output, &audit.files),
        By::All => text += &section_text(output, &file_sums(review)),
        By::Packages | By::Metadata if !found && audit.attention.is_empty() => {
            let files = changed(output, &audit.files.totals);
            let _ = writeln!(text, "Nothing differs at this level; files: {files}.");
        }
        By::Packages | By::Metadata => {}
    }
    text
}

fn attention(output: &Output, points: &[Attention]) -> String {
    if points.is_empty() {
        return String::new();
    }
    let mut text = format!("{}\n", output.strong("Look at this first"));
    for point in points {
        let message = match point.rule {
            Rule::PackageMoved => output.warn(&point.message),
            _ => output.bad(&point.message),
        };
        let _ = writeln!(text, "  {message}");
        let limit = if output.verbose > 0 { usize::MAX } else { SUBJECTS };
        for subject in point.subjects.iter().take(limit) {
            let _ = writeln!(text, "    {subject}");
        }
        let more = point.subjects.len().saturating_sub(limit) + point.omitted;
        if more > 0 {
            let _ = writeln!(text, "    and {} more", thousands(more as u64));
        }
    }
    text.push('\n');
    text
}

fn section_text(output: &Output, section: &Section) -> String {
    let mut text = format!("{}  {}\n", output.strong(section.title), section.lead);
    let mut table = Table::default();
    let heads = section.table.columns.iter().map(|name| output.faint(name));
    table.row(heads.collect::<Vec<_>>());
    for row in &section.table.rows {
        table.row(row.iter().map(|cell| cell_text(output, cell)));
    }
    text += &table.render("  ", output.width);
    text.push('\n');
    text
}

fn cell_text(output: &Output, cell: &Cell) -> String {
    match cell {
        Cell::Name(text) | Cell::Text(text) => text.clone(),
        Cell::Names(names) => names_text(output, names),
        Cell::Word(Tone::Bad, word) => output.bad(word),
        Cell::Word(Tone::Warn, word) => output.warn(word),
        Cell::Word(Tone::Good, word) => output.good(word),
        Cell::Word(Tone::Plain, word) => (*word).to_owned(),
        Cell::Versions(Some(old), Some(new)) => {
            format!("{} → {}", value(output, old), value(output, new))
        }
        Cell::Versions(Some(one), None) | Cell::Versions(None, Some(one)) => value(output, one),
        Cell::Versions(None, None) => String::new(),
        Cell::Size(bytes) => size(*bytes),
        Cell::Delta(bytes) => delta(*bytes),
        Cell::Number(number) => thousands(*number),
    }
}

fn names_text(output: &Output, names: &[String]) -> String {
    let mut width = 0;
    let fits = names.iter().take_while(|name| {
        width += name.chars().count() + 2;
        width <= NAMES
    });
    let shown = fits.count().max(1);
    if output.verbose > 0 || names.len() <= shown {
        return names.join(", ");
    }
    format!("{} and {} more", names[..shown].join(", "), thousands((names.len() - shown) as u64))
}

fn value(output: &Output, text: &str) -> String {
    if output.verbose > 0 || text.chars().count() <= VALUE {
        return text.to_owned();
    }
    text.chars().take(VALUE / 2).chain(['…']).collect()
}

/// Bytes that came or went, with their sign; nothing for none.
pub fn delta(bytes: i128) -> String {
    let amount = u64::try_from(bytes.unsigned_abs()).unwrap_or(u64::MAX);
    match bytes {
        0 => String::new(),
        1.. => format!("+{}", size(amount)),
        _ => format!("−{}", size(amount)),
    }
}

fn file_lines(output: &Output, files: &FilesDiff) -> String {
    let mut rows: Vec<(&RelPath, String)> = Vec::new();
    for row in &files.added {
        let size = row.new_size.map_or_else(String::new, size);
        rows.push((
            &row.path,
            format!("{} {}  {}", output.good("+"), row.path, output.faint(&size)),
        ));
    }
    for row in &files.removed {
        rows.push((&row.path, format!("{} {}", output.bad("-"), row.path)));
    }
    for row in &files.changed {
        let how = match (row.metadata_only, row.old_size, row.new_size) {
            (true, ..) => "mode or time".to_owned(),
            (false, Some(old), Some(new)) => format!("{} → {}", size(old), size(new)),
            (false, ..) => "another kind".to_owned(),
        };
        rows.push((
            &row.path,
            format!("{} {}  {}", output.warn("~"), row.path, output.faint(&how)),
        ));
    }
    rows.sort();
    let mut text: String = rows.into_iter().map(|(_, line)| line + "\n").collect();
    let mut table = Table::default();
    for row in &files.by_repo {
        let kind = format!("{:?}", row.kind).to_lowercase();
        table.row([row.repo.to_string(), kind, changed(output, &row.changed)]);
    }
    text += &table.render("", output.width);
    let _ = writeln!(text, "{}", changed(output, &files.totals));
    text
}

/// A way to colour a heading.
type Paint = fn(&Output, &str) -> String;

/// Renders what differs by package: a line a package, the sections that deserve a look first.
pub fn package_lines(output: &Output, packages: &PackagesDiff, indent: &str) -> String {
    let sections: [(&str, &[PackageRow], Paint); 5] = [
        ("downgraded", &packages.downgraded, Output::bad),
        ("removed", &packages.removed, Output::bad),
        ("rebuilt", &packages.rebuilt, Output::warn),
        ("upgraded", &packages.upgraded, Output::good),
        ("added", &packages.added, Output::good),
    ];
    let mut text = String::new();
    for (name, rows, paint) in sections {
        if rows.is_empty() {
            continue;
        }
        let head = format!("{} {name}", count(rows.len() as u64, "package"));
        let _ = writeln!(text, "{indent}{}", paint(output, &head));
        let mut table = Table::default();
        for row in rows {
            let versions = match (&row.old, &row.new) {
                (Some(old), Some(new)) if old == new => format!("{old}, other bytes"),
                (Some(old), Some(new)) => format!("{old} → {new}"),
                (Some(only), None) | (None, Some(only)) => only.clone(),
                (None, None) => String::new(),
            };
            table.row([
                format!("{}.{}", row.name, row.arch),
                versions,
                output.faint(&row.repo.to_string()),
            ]);
        }
        text += &table.render(&format!("{indent}  "), output.width);
    }
    for (name, repos) in
        [("new repo", &packages.repos_added), ("lost repo", &packages.repos_removed)]
    {
        for repo in repos {
            let _ = writeln!(text, "{indent}{}  {repo}", output.warn(name));
        }
    }
    for error in &packages.errors {
        let _ = writeln!(text, "{indent}{}  {error}", output.bad("not compared"));
    }
    text
}
