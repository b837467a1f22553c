//! A report as one page: no network, no name that is markup, light and dark, for screen, phone and
//! paper.
//!
//! Style and script stand in files of their own and are put in whole. The page's policy allows
//! these two by their hashes and nothing else, so even a name that escaped its escaping would run
//! nothing and fetch nothing. No name ever stands in the script or in data for it: what the script
//! sorts and filters is the text that people see, and numbers beside it.

use std::fmt::{self, Display, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cairn_releng::audit::{Attention, Fate, Rule, State};
use sha2::{Digest as _, Sha256};

use super::page::{Cell, Section, Tone, clean, file_list, file_sums, sections};
use super::text::delta;
use super::{History, Publication, Review, Side};
use crate::args::By;
use crate::output::{count, size, thousands};

mod figures;

const STYLE: &str = include_str!("html/report.css");
const SCRIPT: &str = include_str!("html/report.js");
/// How many rows of a table a page gets without `-v`: a browser sorts these at once.
const ROWS: usize = 5000;
/// How many names of a list stand before the fold.
const NAMES: usize = 4;

/// Text for a page: in an element and in a quoted attribute alike.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.find(['&', '<', '>', '"', '\'']) {
            f.write_str(&rest[..at])?;
            f.write_str(match rest.as_bytes()[at] {
                b'&' => "&amp;",
                b'<' => "&lt;",
                b'>' => "&gt;",
                b'"' => "&quot;",
                _ => "&#39;",
            })?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

/// Renders a report; `whole` leaves nothing out.
pub fn render(review: &Review, whole: bool) -> String {
    let limit = if whole { usize::MAX } else { ROWS };
    let parts = parts(review, limit);
    let title = format!("{} → {}", review.old.rev, review.new.rev);
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    let (style, script) = (hash(STYLE), hash(SCRIPT));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'sha256-{style}'; script-src 'sha256-{script}'; base-uri 'none'; \
         form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"generator\" content=\"cairn {}\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
        env!("CARGO_PKG_VERSION"),
        Text(&clean(&title)),
    );
    page += &head(review);
    if review.audit.is_empty() {
        page += "<main><p class=\"calm\">Nothing differs.</p>";
    } else {
        page += &bar(&parts);
        page += "<main>\n";
        page += &tiles(review);
        page += &attention(&review.audit.attention);
        page += &figures::sizes(review);
    }
    for (section, omitted) in &parts {
        page += &section_html(section, *omitted, limit);
    }
    for history in &review.histories {
        page += &figures::history(history);
    }
    page +=
        "</main>\n<footer>Made by cairn. What is named here is quoted, never markup.</footer>\n";
    let _ = write!(page, "<script>{SCRIPT}</script>\n</body>\n</html>\n");
    page
}

/// Returns the sections that have rows, and how many rows of each are left out.
fn parts(review: &Review, limit: usize) -> Vec<(Section, usize)> {
    if review.audit.is_empty() {
        return Vec::new();
    }
    let mut parts = Vec::new();
    for section in sections(review) {
        let omitted = section.table.rows.len().saturating_sub(limit);
        parts.push((section, omitted));
    }
    parts.push((file_sums(review), 0));
    if review.by == By::Files {
        parts.push(file_list(review, limit));
    }
    parts.retain(|(section, _)| !section.table.rows.is_empty());
    parts
}

fn head(review: &Review) -> String {
    let side = |word: &str, side: &Side| {
        format!(
            "<div class=\"side\"><span class=\"word\">{word}</span>\
             <span class=\"rev\">{}</span>\
             <span class=\"facts\"><code>{}</code> · {:.0} · {}, {}</span></div>",
            Text(&clean(&side.rev)),
            Text(&super::super::report::short(&side.id)),
            side.time,
            count(side.files, "file"),
            size(side.bytes)
        )
    };
    let mut text = format!(
        "<header>\n<h1>What changes</h1>\n<div class=\"sides\">{}\
         <span class=\"arrow\" aria-hidden=\"true\">→</span>{}</div>\n",
        side("Before", &review.old),
        side("After", &review.new)
    );
    if let Some(filter) = &review.filter {
        let _ = writeln!(
            text,
            "<p class=\"filter\">Only what <code>{}</code> accepts.</p>",
            Text(&clean(filter))
        );
    }
    text + "</header>\n"
}

/// The bar with the search and the way to each section.
fn bar(parts: &[(Section, usize)]) -> String {
    let mut text = String::from(
        "<nav class=\"bar\">\n<input id=\"search\" type=\"search\" autocomplete=\"off\" \
         spellcheck=\"false\" placeholder=\"Search: a package, repo, advisory, path  ( / )\" \
         aria-label=\"Search all tables\">\n\
         <output id=\"found\" aria-live=\"polite\"></output>\n\
         <button id=\"theme\" type=\"button\" title=\"Light or dark\" \
         aria-label=\"Light or dark\">◐</button>\n<div class=\"links\">",
    );
    for (section, omitted) in parts {
        let _ = write!(
            text,
            "<a href=\"#{}\">{} <b>{}</b></a>",
            slug(section.title),
            section.title,
            thousands((section.table.rows.len() + extra(section, *omitted)) as u64)
        );
    }
    text + "</div>\n</nav>\n"
}

/// Rows that are left out and are not in the table at all: the file list is cut when it is made.
fn extra(section: &Section, omitted: usize) -> usize {
    if section.title == "Files" { omitted } else { 0 }
}

fn tiles(review: &Review) -> String {
    let totals = &review.audit.files.totals;
    let mut tiles = vec![
        (Tone::Good, thousands(totals.files_added), "files added"),
        (Tone::Warn, thousands(totals.files_changed), "files changed"),
        (Tone::Bad, thousands(totals.files_removed), "files removed"),
        (Tone::Plain, size(totals.bytes_added), "new content"),
    ];
    if let Some(packages) = &review.audit.packages {
        for fate in Fate::ALL {
            let tone = match fate {
                Fate::Downgraded | Fate::Removed => Tone::Bad,
                Fate::Rebuilt => Tone::Warn,
                Fate::Upgraded | Fate::Added => Tone::Good,
            };
            let label = match fate {
                Fate::Downgraded => "packages downgraded",
                Fate::Removed => "packages removed",
                Fate::Rebuilt => "packages rebuilt",
                Fate::Upgraded => "packages upgraded",
                Fate::Added => "packages added",
            };
            tiles.push((tone, thousands(fate.rows(packages).len() as u64), label));
        }
    }
    if let Some(advisories) = &review.audit.advisories {
        let of = |state| advisories.iter().filter(|row| row.state == state).count() as u64;
        tiles.push((Tone::Good, thousands(of(State::Added)), "new advisories"));
        tiles.push((Tone::Bad, thousands(of(State::Removed)), "advisories lost"));
    }
    let mut text = String::from("<ul class=\"tiles\">");
    for (tone, number, label) in tiles {
        // Nothing of a kind is neither good nor bad.
        let tone = if number == "0" { "none" } else { tone_class(tone) };
        let _ = write!(text, "<li class=\"{tone}\"><b>{number}</b><span>{label}</span></li>");
    }
    text + "</ul>\n"
}

fn attention(points: &[Attention]) -> String {
    if points.is_empty() {
        return "<p class=\"calm\">Nothing here is of the kind that is seldom meant.</p>\n"
            .to_owned();
    }
    let mut text = String::from(
        "<section class=\"first\" id=\"first\"><h2>Look at this first</h2>\n<div class=\"cards\">",
    );
    for point in points {
        let tone = match point.rule {
            Rule::PackageMoved => "warn",
            _ => "bad",
        };
        let _ = write!(
            text,
            "<details class=\"{tone}\" open><summary>{} <span class=\"rule\">{}</span></summary><ul>",
            Text(&point.message),
            point.rule.as_str()
        );
        for subject in &point.subjects {
            let _ = write!(text, "<li>{}</li>", Text(subject));
        }
        if point.omitted > 0 {
            let _ = write!(text, "<li>and {} more</li>", thousands(point.omitted as u64));
        }
        text += "</ul></details>";
    }
    text + "</div></section>\n"
}

fn slug(title: &str) -> String {
    title.to_lowercase().replace(' ', "-")
}

fn section_html(section: &Section, omitted: usize, limit: usize) -> String {
    let mut text = format!(
        "<section id=\"{}\"><h2>{}</h2><p class=\"lead\">{}</p>\n",
        slug(section.title),
        section.title,
        Text(&section.lead)
    );
    text += &chips(section);
    text += "<div class=\"wide\"><table><thead><tr>";
    for (index, column) in section.table.columns.iter().enumerate() {
        let class = if is_number(section, index) { " class=\"number\"" } else { "" };
        let _ = write!(
            text,
            "<th scope=\"col\"{class}><button type=\"button\">{}</button></th>",
            Text(column)
        );
    }
    text += "</tr></thead>\n<tbody>\n";
    for row in section.table.rows.iter().take(limit) {
        text += "<tr>";
        for (column, cell) in section.table.columns.iter().zip(row) {
            cell_html(&mut text, column, cell);
        }
        text += "</tr>\n";
    }
    text += "</tbody></table></div>\n";
    if omitted > 0 {
        let _ = writeln!(
            text,
            "<p class=\"more\">and {} more rows; <code>-v</code> writes all</p>",
            thousands(omitted as u64)
        );
    }
    text + "</section>\n"
}

fn is_number(section: &Section, column: usize) -> bool {
    let cell = section.table.rows.first().and_then(|row| row.get(column));
    matches!(cell, Some(Cell::Size(_) | Cell::Delta(_) | Cell::Number(_)))
}

/// Buttons for the words of the first column, where it has more than one.
fn chips(section: &Section) -> String {
    let mut words: Vec<(&str, Tone, u64)> = Vec::new();
    for row in &section.table.rows {
        let Some(Cell::Word(tone, word)) = row.first() else { continue };
        match words.iter_mut().find(|(known, ..)| known == word) {
            Some((.., number)) => *number += 1,
            None => words.push((word, *tone, 1)),
        }
    }
    if words.len() < 2 {
        return String::new();
    }
    let mut text = String::from("<p class=\"chips\">");
    for (word, tone, number) in words {
        let _ = write!(
            text,
            "<button type=\"button\" class=\"chip {}\" data-word=\"{word}\" \
             aria-pressed=\"false\">{word} <b>{}</b></button>",
            tone_class(tone),
            thousands(number)
        );
    }
    text + "</p>\n"
}

fn tone_class(tone: Tone) -> &'static str {
    match tone {
        Tone::Bad => "bad",
        Tone::Warn => "warn",
        Tone::Good => "good",
        Tone::Plain => "plain",
    }
}

fn cell_html(text: &mut String, column: &str, cell: &Cell) {
    let label = Text(column);
    let _ = match cell {
        Cell::Name(name) => {
            write!(text, "<td data-label=\"{label}\" class=\"name\">{}</td>", name_html(name))
        }
        Cell::Text(words) => write!(text, "<td data-label=\"{label}\">{}</td>", Text(words)),
        Cell::Names(names) => {
            write!(text, "<td data-label=\"{label}\" class=\"names\">{}</td>", names_html(names))
        }
        Cell::Word(tone, word) => {
            let tone = tone_class(*tone);
            write!(
                text,
                "<td data-label=\"{label}\"><span class=\"pill {tone}\">{word}</span></td>"
            )
        }
        Cell::Versions(old, new) => {
            write!(text, "<td data-label=\"{label}\" class=\"version\">{}</td>", versions(old, new))
        }
        Cell::Size(bytes) => number(text, column, &bytes, &size(*bytes)),
        Cell::Delta(bytes) => number(text, column, &bytes, &delta(*bytes)),
        Cell::Number(many) => number(text, column, &many, &thousands(*many)),
    };
}

/// A cell that is sorted by its value and not by what is shown.
fn number(text: &mut String, column: &str, value: &dyn Display, shown: &str) -> fmt::Result {
    let label = Text(column);
    write!(text, "<td data-label=\"{label}\" class=\"number\" data-value=\"{value}\">{shown}</td>")
}

fn versions(old: &Option<String>, new: &Option<String>) -> String {
    match (old, new) {
        (Some(old), Some(new)) => format!(
            "<span class=\"old\">{}</span> <span class=\"to\">→</span> <span>{}</span>",
            Text(old),
            Text(new)
        ),
        (Some(one), None) | (None, Some(one)) => Text(one).to_string(),
        (None, None) => String::new(),
    }
}

/// A name or a path, which a narrow column breaks after a slash.
fn name_html(name: &str) -> String {
    Text(name).to_string().replace('/', "/<wbr>")
}

fn names_html(names: &[String]) -> String {
    let list = |names: &[String]| {
        let names: Vec<_> = names.iter().map(|name| name_html(name)).collect();
        names.join("<br>")
    };
    if names.len() <= NAMES {
        return list(names);
    }
    let (first, rest) = names.split_at(NAMES - 1);
    format!(
        "{}<details><summary>and {} more</summary>{}</details>",
        list(first),
        thousands(rest.len() as u64),
        list(rest)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_markup_in_an_element_or_an_attribute() {
        for (text, shown) in [
            ("bash", "bash"),
            ("<script>a&b</script>", "&lt;script&gt;a&amp;b&lt;/script&gt;"),
            ("\"><img onerror='x'>", "&quot;&gt;&lt;img onerror=&#39;x&#39;&gt;"),
            ("é → ü", "é → ü"),
            ("", ""),
        ] {
            assert_eq!(Text(text).to_string(), shown);
        }
    }

    #[test]
    fn style_and_script_cannot_end_their_elements() {
        assert!(!STYLE.to_lowercase().contains("</style"));
        assert!(!SCRIPT.to_lowercase().contains("</script") && !SCRIPT.contains("<!--"));
    }
}
