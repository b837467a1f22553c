//! A report for a ticket: GitHub's Markdown, which most trackers read.
//!
//! Every name, path and title stands in a code span: nothing in one is markup, a link, a mention
//! or HTML to any reader.

use std::fmt::Write as _;

use super::page::{Cell, Section, clean, file_list, file_sums, sections};
use super::text::delta;
use super::{Review, Side};
use crate::args::By;
use crate::output::{size, thousands};

/// How many rows of a table a ticket gets without `-v`.
const ROWS: usize = 200;
/// How many names of a list a ticket gets without `-v`.
const NAMES: usize = 6;

/// Renders a report; `whole` leaves nothing out.
pub fn render(review: &Review, whole: bool) -> String {
    let Review { old, new, audit, .. } = review;
    let limit = if whole { usize::MAX } else { ROWS };
    let mut text = format!("# From {} to {}\n\n", code(&old.rev), code(&new.rev));
    text += "| | Before | After |\n| --- | --- | --- |\n";
    let mut row = |head: &str, show: &dyn Fn(&Side) -> String| {
        let _ = writeln!(text, "| {head} | {} | {} |", show(old), show(new));
    };
    row("Snapshot", &|side| code(&super::super::report::short(&side.id)));
    row("Made", &|side| format!("{:.0}", side.time));
    row("Files", &|side| format!("{}, {}", thousands(side.files), size(side.bytes)));
    if let Some(filter) = &review.filter {
        let _ = write!(text, "\nOnly what {} accepts.\n", code(&clean(filter)));
    }
    if audit.is_empty() {
        text += "\nNothing differs.\n";
        return text;
    }
    if !audit.attention.is_empty() {
        text += "\n## Look at this first\n\n";
        for point in &audit.attention {
            let _ = writeln!(text, "- **{}**", point.message);
            for subject in &point.subjects {
                let _ = writeln!(text, "  - {}", code(subject));
            }
            if point.omitted > 0 {
                let _ = writeln!(text, "  - and {} more", thousands(point.omitted as u64));
            }
        }
    }
    for section in sections(review).iter().filter(|section| !section.table.rows.is_empty()) {
        let omitted = section.table.rows.len().saturating_sub(limit);
        text += &section_text(section, limit, omitted, whole);
    }
    text += &section_text(&file_sums(review), usize::MAX, 0, whole);
    if review.by == By::Files {
        let (list, omitted) = file_list(review, limit);
        text += &section_text(&list, limit, omitted, whole);
    }
    text
}

fn section_text(section: &Section, limit: usize, omitted: usize, whole: bool) -> String {
    let mut text = format!("\n## {}\n\n{}\n", section.title, section.lead);
    if section.table.rows.is_empty() {
        return text;
    }
    let columns = section.table.columns;
    let _ = write!(text, "\n| {} |\n|{}\n", columns.join(" | "), " --- |".repeat(columns.len()));
    for row in section.table.rows.iter().take(limit) {
        let cells: Vec<_> = row.iter().map(|cell| cell_text(cell, whole)).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    if omitted > 0 {
        let more = thousands(omitted as u64);
        let _ = write!(text, "\nand {more} more rows (`-v` lists all)\n");
    }
    text
}

fn cell_text(cell: &Cell, whole: bool) -> String {
    match cell {
        Cell::Name(text) | Cell::Text(text) => in_cell(text),
        Cell::Names(names) => {
            let limit = if whole { usize::MAX } else { NAMES };
            let shown: Vec<_> = names.iter().take(limit).map(|name| in_cell(name)).collect();
            match names.len() - shown.len() {
                0 => shown.join(", "),
                more => format!("{} and {} more", shown.join(", "), thousands(more as u64)),
            }
        }
        Cell::Word(_, word) => (*word).to_owned(),
        Cell::Versions(Some(old), Some(new)) => format!("{} → {}", in_cell(old), in_cell(new)),
        Cell::Versions(Some(one), None) | Cell::Versions(None, Some(one)) => in_cell(one),
        Cell::Versions(None, None) => String::new(),
        Cell::Size(bytes) => size(*bytes),
        Cell::Delta(bytes) => delta(*bytes),
        Cell::Number(number) => thousands(*number),
    }
}

/// A code span in a table, where a bar would end the cell even so.
fn in_cell(text: &str) -> String {
    code(text).replace('|', "\\|")
}

/// A code span: its fence is longer than any run of backticks in it.
fn code(text: &str) -> String {
    if text.trim().is_empty() {
        return String::new();
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    // A backtick at an end would belong to the fence; one space on each side is taken away.
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_code_span_whatever_is_in_it() {
        for (name, shown) in [
            ("bash", "`bash`"),
            ("a`b", "``a`b``"),
            ("``x", "``` ``x ```"),
            ("<img src=x onerror=alert(1)>", "`<img src=x onerror=alert(1)>`"),
            ("", ""),
        ] {
            assert_eq!(code(name), shown);
        }
        assert_eq!(in_cell("a | b"), "`a \\| b`");
    }
}
