//! What `cairn status` says to people.

use std::fmt::Write as _;

use cairn_fsck::Last;
use cairn_store::lock::HeldLock;
use cairn_store::path::Escaped;
use jiff::Timestamp;

use super::super::report::short;
use super::{ApprovalsRow, Document};
use crate::output::{Output, Table, count, size, thousands};

/// How wide a terminal must be for times beside ages.
const ROOM_FOR_TIMES: usize = 100;

/// Renders the page, as of `now`; `last` is when the last operation was.
pub fn text(
    output: &Output,
    document: &Document,
    last: Option<Timestamp>,
    now: Timestamp,
) -> String {
    let operations = count(document.operations, "operation");
    let last = last.map(|last| format!(", the last {} ago", age(last, now)));
    let mut text = format!("Store {}, {operations}{}.\n", document.store, last.unwrap_or_default());
    for HeldLock { what, holder } in &document.locks {
        let since = holder.since.map(|since| format!(" for {}", age(since, now)));
        // Of a lock that is no ref's, it is the name of a file.
        let what = Escaped(what.as_bytes());
        let line = format!("{what} is locked{}, {holder}.", since.unwrap_or_default());
        let _ = writeln!(text, "{}", output.warn(&line));
    }
    let mut table = Table::default();
    // Where there is little room the age says enough.
    let with_time = output.width.is_none_or(|width| width >= ROOM_FOR_TIMES);
    let mut row_of = |cells: [String; 8]| {
        let cells = cells.into_iter().enumerate();
        table.row(cells.filter(|(at, _)| with_time || *at != 2).map(|(_, cell)| cell));
    };
    row_of(
        ["ref", "snapshot", "since", "age", "files", "size", "view", ""].map(|h| output.strong(h)),
    );
    for row in &document.refs {
        let (place, state) = match &row.view {
            None => (String::new(), String::new()),
            Some(view) => {
                let state = match view.state {
                    "live" if row.embargoed => output.warn("live, under embargo"),
                    "live" => output.good("live"),
                    "pending" => output.bad("pending: run cairn publish"),
                    "unconfigured" => {
                        output.warn("not configured any more: cairn publish --remove-links")
                    }
                    _ => output.bad(view.problem.as_deref().unwrap_or("unknown")),
                };
                (format!("{}:{}", view.mount, view.path), state)
            }
        };
        // What is live has been so since its swap, whenever its snapshot was made.
        let live = row.view.as_ref().and_then(|view| view.live.as_ref());
        let since = live.and_then(|live| live.published).unwrap_or(row.time);
        row_of([
            row.name.clone(),
            short(&row.snapshot),
            format!("{since:.0}"),
            age(since, now),
            thousands(row.files),
            size(row.bytes),
            place,
            state,
        ]);
    }
    if document.refs.is_empty() {
        text += "No ref yet: take a compose in with cairn ingest DIR.\n";
    } else {
        text += &table.render("  ", output.width);
    }
    for row in &document.refs {
        let Some(ApprovalsRow { required, people }) = &row.approvals else { continue };
        let by = match people.is_empty() {
            true => "nobody".to_owned(),
            false => Escaped(people.join(", ").as_bytes()).to_string(),
        };
        let stand = format!("approved by {by} ({} of {required})", people.len());
        let stand = match people.len() >= *required as usize {
            true => output.good(&stand),
            false => output.warn(&stand),
        };
        text += &format!("  {}  {stand}\n", row.name);
    }
    for (level, last) in [("quick", document.fsck.quick), ("full", document.fsck.full)] {
        let Some(Last { time, notices, warnings, damage }) = last else { continue };
        let found = count(notices + warnings + damage, "finding");
        let found = match (warnings, damage) {
            (_, 1..) => output.bad(&found),
            (1.., 0) => output.warn(&found),
            (0, 0) => found,
        };
        let _ = writeln!(text, "Last {level} fsck {time:.0} ({} ago): {found}.", age(time, now));
    }
    let mut table = Table::default();
    table.row(["mount", "path", "swap", "link", "free"].map(|head| output.strong(head)));
    for row in &document.mounts {
        let cell = |text: Option<&str>| text.unwrap_or("-").to_owned();
        let free = match &row.problem {
            Some(problem) => output.bad(problem),
            None => row.free_bytes.map_or_else(|| "-".to_owned(), size),
        };
        table.row([
            row.name.clone(),
            row.path.clone(),
            cell(row.swap.as_deref()),
            cell(row.link),
            free,
        ]);
    }
    text + &table.render("  ", output.width)
}

/// How long ago something was: `< 2 min`, `5 min`, `3 h`, `12 d`.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs();
    match seconds {
        ..120 => "< 2 min".to_owned(),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        let now: Timestamp = "2025-11-20T12:00:00Z".parse().unwrap();
        for (then, text) in [
            ("2025-11-20T12:00:00Z", "< 2 min"),
            ("2025-11-20T11:58:01Z", "< 2 min"),
            ("2025-11-20T11:55:00Z", "5 min"),
            ("2025-11-20T06:00:00Z", "6 h"),
            ("2025-11-01T12:00:00Z", "19 d"),
            // Another machine's clock may be ahead of ours.
            ("2025-11-20T12:00:05Z", "< 2 min"),
        ] {
            assert_eq!(age(then.parse().unwrap(), now), text, "{then}");
        }
    }
}
