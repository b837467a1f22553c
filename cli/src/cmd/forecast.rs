//! How the forecast of a rollback reads.

use std::fmt::Write as _;

use cairn_releng::audit::SourceRow;
use cairn_releng::verbs::Forecast;
use cairn_store::path::Escaped;

use crate::output::{Output, count, size, thousands};

/// How many rows of a kind are shown without `-v`.
const ROWS: usize = 12;

/// Renders a forecast.
pub fn forecast_text(output: &Output, forecast: &Forecast) -> String {
    let mut text = format!("  {}\n", output.strong("what this will mean"));
    let sources: [(&str, &[SourceRow]); 4] = [
        ("goes back", &forecast.back),
        ("vanishes", &forecast.vanish),
        ("gets other bytes under the same version", &forecast.rebuilt),
        ("comes again", &forecast.again),
    ];
    for (what, rows) in sources {
        let lines = rows.iter().map(|row| {
            let versions = match (&row.old, &row.new) {
                (Some(old), Some(new)) if old != new => format!("{old} → {new}"),
                (Some(one), _) | (_, Some(one)) => one.clone(),
                (None, None) => String::new(),
            };
            let packages = count(row.count as u64, "package");
            format!("{} {}  {packages}", row.source, versions)
        });
        let head = format!("{} {what}", count(rows.len() as u64, "source package"));
        text += &list(output, &plural(head, rows.len()), lines);
    }
    let advisories = forecast.advisories.iter().map(|row| {
        let fixes = match row.packages.len() {
            0 => String::new(),
            more => format!("  {}", count(more as u64, "package")),
        };
        format!("{} {}{fixes}", row.id, row.title)
    });
    let number = forecast.advisories.len();
    let head = match number {
        1 => "1 advisory vanishes".to_owned(),
        _ => format!("{} advisories vanish", thousands(number as u64)),
    };
    text += &list(output, &head, advisories);
    let streams = forecast.streams.iter().map(|row| format!("{}:{}", row.module, row.stream));
    let head = format!("{} vanishes", count(forecast.streams.len() as u64, "module stream"));
    text += &list(output, &plural(head, forecast.streams.len()), streams);
    for error in &forecast.errors {
        let _ = writeln!(text, "    {}  {error}", output.bad("not compared"));
    }
    let mirrors = &forecast.mirrors;
    let _ = writeln!(
        text,
        "    mirrors fetch {} ({}) and delete {}",
        output.strong(&count(mirrors.files, "file")),
        size(mirrors.bytes),
        count(mirrors.deleted, "file")
    );
    if mirrors.unnoticed > 0 {
        let paths = mirrors.unnoticed_paths.iter().map(ToString::to_string);
        let files = count(mirrors.unnoticed, "file");
        let head =
            format!("{files} of other content but the same size and time: mirrors keep the old");
        text += &list(output, &head, paths);
    }
    if !forecast.back.is_empty() || !forecast.vanish.is_empty() {
        text += "    clients that updated keep the newer packages until they run dnf distro-sync\n";
    }
    text
}

fn plural(head: String, number: usize) -> String {
    match number {
        1 => head,
        _ => head
            .replace(" goes ", " go ")
            .replace(" vanishes", " vanish")
            .replace(" gets ", " get ")
            .replace(" comes ", " come "),
    }
}

/// A headline and its lines; nothing where there are none.
fn list(output: &Output, head: &str, lines: impl Iterator<Item = String>) -> String {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return String::new();
    }
    let mut text = format!("    {}\n", output.bad(head));
    let limit = if output.verbose > 0 { usize::MAX } else { ROWS };
    for line in lines.by_ref().take(limit) {
        let _ = writeln!(text, "      {}", Escaped(line.as_bytes()));
    }
    let more = lines.count();
    if more > 0 {
        let _ = writeln!(text, "      and {} more (-v lists all)", thousands(more as u64));
    }
    text
}
