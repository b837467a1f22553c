//! The pictures of a report: bars whose labels are text of the page, so that a phone and a printer
//! show them as large as everything else.

use std::fmt::Write as _;

use super::{History, Publication, Review, Text, thousands};
use crate::cmd::diff::page::clean;
use crate::cmd::diff::text::delta;
use crate::output::{count, size};

/// How many repos the picture shows; the table has all.
const REPOS: usize = 24;
/// The width of a bar's picture; it is stretched to what there is.
const WIDTH: f64 = 1000.0;

/// Draws the size of each repo before and after, those first that changed most.
pub fn sizes(review: &Review) -> String {
    let Some(sizes) = &review.audit.sizes else { return String::new() };
    let mut rows: Vec<_> =
        sizes.iter().filter(|row| row.old.bytes > 0 || row.new.bytes > 0).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.old.bytes.abs_diff(row.new.bytes)));
    let more = rows.len().saturating_sub(REPOS);
    rows.truncate(REPOS);
    let Some(most) = rows.iter().map(|row| row.old.bytes.max(row.new.bytes)).max() else {
        return String::new();
    };
    let mut text = String::from(
        "<section id=\"picture\"><h2>Sizes at a glance</h2>\
         <p class=\"lead\">each repo before (pale) and after, the largest change first</p>\n\
         <ul class=\"bars\">",
    );
    for row in rows {
        let width = |bytes: u64| bytes as f64 / most as f64 * WIDTH;
        let grown = row.new.bytes >= row.old.bytes;
        let change = i128::from(row.new.bytes) - i128::from(row.old.bytes);
        let name = match (row.is_repo, row.repo.is_root()) {
            (true, false) => row.repo.to_string(),
            (false, false) => format!("{} (in no repo)", row.repo),
            (_, true) => "at the top, in no repo".to_owned(),
        };
        let _ = write!(
            text,
            "<li><span class=\"what\">{}</span>\
             <svg viewBox=\"0 0 {WIDTH} 14\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-label=\"{} before, {} after\">\
             <rect class=\"was\" y=\"0\" height=\"6\" width=\"{:.1}\"/>\
             <rect class=\"{}\" y=\"8\" height=\"6\" width=\"{:.1}\"/></svg>\
             <span class=\"much\">{} <em>{}</em></span></li>",
            Text(&name),
            size(row.old.bytes),
            size(row.new.bytes),
            width(row.old.bytes),
            if grown { "grew" } else { "shrank" },
            width(row.new.bytes),
            size(row.new.bytes),
            delta(change)
        );
    }
    text += "</ul>\n";
    if more > 0 {
        let _ = writeln!(
            text,
            "<p class=\"more\">and {} more in the table</p>",
            thousands(more as u64)
        );
    }
    text + "</section>\n"
}

/// Draws what each publication of a ref brought and took, and lists them.
pub fn history(history: &History) -> String {
    let mut text = format!(
        "<section class=\"history\"><h2>History of {}</h2><p class=\"lead\">the last {}: what each \
         brought (up) and took (down)</p>\n",
        Text(&clean(&history.name)),
        count(history.publications.len() as u64, "publication")
    );
    text += &columns(&history.publications);
    text += "<div class=\"wide\"><table><thead><tr>";
    for column in ["Operation", "When", "Who", "What", "Why", "New", "Gone", "Size"] {
        let class = match column {
            "Operation" | "New" | "Gone" | "Size" => " class=\"number\"",
            _ => "",
        };
        let _ =
            write!(text, "<th scope=\"col\"{class}><button type=\"button\">{column}</button></th>");
    }
    text += "</tr></thead>\n<tbody>\n";
    for one in history.publications.iter().rev() {
        text += &row(one);
    }
    text + "</tbody></table></div></section>\n"
}

fn row(one: &Publication) -> String {
    let mark = one
        .mark
        .map_or_else(String::new, |mark| format!(" <span class=\"pill plain\">{mark}</span>"));
    let bytes = |label: &str, bytes: Option<u64>| match bytes {
        Some(bytes) => format!(
            "<td data-label=\"{label}\" class=\"number\" data-value=\"{bytes}\">{}</td>",
            size(bytes)
        ),
        None => format!("<td data-label=\"{label}\" class=\"number\" data-value=\"-1\">–</td>"),
    };
    format!(
        "<tr><td data-label=\"Operation\" class=\"number\" data-value=\"{0}\">{0}{mark}</td>\
         <td data-label=\"When\">{1:.0}</td><td data-label=\"Who\">{2}</td>\
         <td data-label=\"What\">{3}</td><td data-label=\"Why\">{4}</td>{5}{6}{7}</tr>\n",
        one.number,
        one.time,
        Text(&clean(&one.user)),
        Text(&clean(&one.verb)),
        Text(&clean(one.reason.as_deref().unwrap_or_default())),
        bytes("New", one.changed.map(|changed| changed.bytes_added)),
        bytes("Gone", one.changed.map(|changed| changed.bytes_removed)),
        bytes("Size", one.bytes),
    )
}

/// A column for each publication: what it brought above the line, what it took below.
fn columns(publications: &[Publication]) -> String {
    // The first brought everything, and beside that nothing else would be seen.
    let changes: Vec<(u64, u64)> = publications
        .iter()
        .map(|one| match (one.is_first, one.changed) {
            (false, Some(changed)) => (changed.bytes_added, changed.bytes_removed),
            _ => (0, 0),
        })
        .collect();
    let most = |of: fn(&(u64, u64)) -> u64| changes.iter().map(of).max().unwrap_or(0) as f64;
    let (up, down) = (most(|change| change.0), most(|change| change.1));
    let all = up + down;
    if all <= 0.0 {
        return String::new();
    }
    let slot = WIDTH / changes.len() as f64;
    let zero = up / all * 100.0;
    let mut text = format!(
        "<svg class=\"columns\" viewBox=\"0 0 {WIDTH} 100\" preserveAspectRatio=\"none\" \
         role=\"img\" aria-label=\"bytes that each publication brought and took\">"
    );
    for (index, (one, (new, gone))) in publications.iter().zip(&changes).enumerate() {
        let x = index as f64 * slot;
        let (above, below) = (*new as f64 / all * 100.0, *gone as f64 / all * 100.0);
        let mark = if one.mark.is_some() { " class=\"marked\"" } else { "" };
        let wide = (slot * 0.7).min(60.0);
        let left = x + (slot - wide) / 2.0;
        let _ = write!(
            text,
            "<g{mark}><title>operation {}, {:.0}: {} new, {} gone</title>\
             <rect class=\"slot\" x=\"{x:.1}\" width=\"{slot:.1}\" height=\"100\"/>\
             <rect class=\"grew\" x=\"{left:.1}\" width=\"{wide:.1}\" y=\"{:.2}\" height=\"{above:.2}\"/>\
             <rect class=\"shrank\" x=\"{left:.1}\" width=\"{wide:.1}\" y=\"{zero:.2}\" height=\"{below:.2}\"/></g>",
            one.number,
            one.time,
            size(*new),
            size(*gone),
            zero - above,
        );
    }
    let _ = write!(
        text,
        "<line x1=\"0\" x2=\"{WIDTH}\" y1=\"{zero:.2}\" y2=\"{zero:.2}\"/></svg>\n\
         <p class=\"scale\"><span>{}</span><span>{}</span></p>\n",
        day(publications.first()),
        day(publications.last()),
    );
    text
}

fn day(one: Option<&Publication>) -> String {
    one.map(|one| one.time.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
}
