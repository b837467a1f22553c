//! `--metrics FILE`: what `cairn status` knows, for Prometheus' textfile collector.
//!
//! The format is the text format 0.0.4: per metric a HELP, a TYPE and its samples in one block.

use std::fmt::Write as _;
use std::path::Path;

use cairn_fsck::{Last, LastChecks};
use jiff::Timestamp;

use super::diff::write_whole;
use super::status::{Document, Row};
use crate::failure::Failure;

/// Who collects it is another user than who writes it.
const MODE: u32 = 0o644;

/// A metric that is written; without a sample it is not.
struct Metric<'a> {
    text: &'a mut String,
    name: &'static str,
    /// What introduces it, until its first sample.
    head: Option<String>,
}

impl<'a> Metric<'a> {
    /// Begins a gauge.
    fn gauge(text: &'a mut String, name: &'static str, help: &str) -> Self {
        let head = Some(format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
        Self { text, name, head }
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl std::fmt::Display) -> &mut Self {
        self.text.push_str(&self.head.take().unwrap_or_default());
        self.text.push_str(self.name);
        for (index, (label, of)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{open}{label}=\"{}\"", escape(of));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{close} {value}");
        self
    }
}

/// Escapes the value of a label.
fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
    text
}

/// Replaces FILE in one step; a collector sees the old one or the new one.
pub fn write(file: &Path, document: &Document, last: Option<Timestamp>) -> Result<(), Failure> {
    let text = render(document, last, Timestamp::now());
    write_whole("--metrics", file, text.as_bytes(), Some(MODE))
}

fn render(document: &Document, last: Option<Timestamp>, now: Timestamp) -> String {
    let mut text = String::new();
    let out = &mut text;
    let operations = document.operations;
    Metric::gauge(out, "cairn_store_operations", "Operations in the log.").sample(&[], operations);
    if let Some(last) = last {
        let help = "Time of the last operation.";
        Metric::gauge(out, "cairn_store_last_operation_timestamp_seconds", help)
            .sample(&[], seconds(last));
    }
    fsck(out, &document.fsck);
    refs(out, document);
    views(out, document, now);
    mounts(out, document);
    text
}

/// A time as Prometheus has it, to the millisecond.
fn seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}

fn fsck(out: &mut String, checks: &LastChecks) {
    let levels = [("quick", checks.quick), ("full", checks.full)];
    let levels: Vec<(&str, Last)> =
        levels.into_iter().filter_map(|(level, last)| Some((level, last?))).collect();
    let help = "End of the last check of this level.";
    let mut metric = Metric::gauge(out, "cairn_fsck_timestamp_seconds", help);
    for (level, last) in &levels {
        metric.sample(&[("level", level)], seconds(last.time));
    }
    let help = "Findings of the last check of this level.";
    let mut metric = Metric::gauge(out, "cairn_fsck_findings", help);
    for (level, last) in &levels {
        for (severity, count) in
            [("notice", last.notices), ("warning", last.warnings), ("damage", last.damage)]
        {
            metric.sample(&[("level", level), ("severity", severity)], count);
        }
    }
}

fn refs(out: &mut String, document: &Document) {
    let mut each = |name, help, value: &dyn Fn(&Row) -> f64| {
        let mut metric = Metric::gauge(out, name, help);
        for row in &document.refs {
            metric.sample(&[("ref", &row.name)], value(row));
        }
    };
    let help = "Time of the snapshot that the ref names.";
    each("cairn_ref_snapshot_timestamp_seconds", help, &|row| seconds(row.time));
    each("cairn_ref_files", "Files in the ref's snapshot.", &|row| row.files as f64);
    each("cairn_ref_bytes", "Size of the files in the ref's snapshot.", &|row| row.bytes as f64);
    let help = "1 where the ref's snapshot is under embargo, else 0.";
    each("cairn_ref_embargoed", help, &|row| f64::from(row.embargoed));
}

fn views(out: &mut String, document: &Document, now: Timestamp) {
    let mut each = |name, help, value: &dyn Fn(&Row) -> Option<f64>| {
        let mut metric = Metric::gauge(out, name, help);
        for row in &document.refs {
            // Of a link that nobody asks for any more nothing is wrong.
            let Some(view) = row.view.as_ref().filter(|view| view.state != "unconfigured") else {
                continue;
            };
            let path = view.path.to_string();
            let labels = [("ref", row.name.as_str()), ("mount", &view.mount), ("path", &path)];
            if let Some(value) = value(row) {
                metric.sample(&labels, value);
            }
        }
    };
    let state = |is: &'static str| {
        move |row: &Row| Some(f64::from(row.view.as_ref().is_some_and(|view| view.state == is)))
    };
    let live = |row: &Row| row.view.as_ref().and_then(|view| view.live.clone());
    let published = |row: &Row| live(row).and_then(|live| live.published);
    let help = "1 where what is live is what the ref names, else 0.";
    each("cairn_view_live", help, &state("live"));
    let help = "1 where cairn publish has work to do, else 0; neither this nor live: unknown.";
    each("cairn_view_pending", help, &state("pending"));
    let help = "When what is live became live.";
    each("cairn_view_published_timestamp_seconds", help, &|row| published(row).map(seconds));
    let help = "How long what is live had been live when this was written.";
    each("cairn_view_age_seconds", help, &|row| {
        published(row).map(|time| (seconds(now) - seconds(time)).max(0.0))
    });
    let help = "Other trees that are kept.";
    each("cairn_view_kept_trees", help, &|row| live(row).map(|live| live.kept_trees as f64));
    let help = "Trees that were begun and are not complete.";
    each("cairn_view_unfinished_trees", help, &|row| {
        live(row).map(|live| live.unfinished_trees as f64)
    });
}

fn mounts(out: &mut String, document: &Document) {
    let help = "1 where the mount is there and the store's, else 0.";
    let mut metric = Metric::gauge(out, "cairn_mount_up", help);
    for row in &document.mounts {
        let up = u8::from(row.problem.is_none());
        metric.sample(&[("mount", &row.name), ("path", &row.path)], up);
    }
    let mut metric = Metric::gauge(out, "cairn_mount_free_bytes", "Free space on the mount.");
    for row in &document.mounts {
        if let Some(free) = row.free_bytes {
            metric.sample(&[("mount", &row.name), ("path", &row.path)], free);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = String::new();
        let mut metric = Metric::gauge(&mut text, "m", "Help.");
        metric.sample(&[("a", "x\\y\"z\n#"), ("b", "é{}")], 7).sample(&[], 0.5);
        let samples = "m{a=\"x\\\\y\\\"z\\n#\",b=\"é{}\"} 7\nm 0.5\n";
        assert_eq!(text, format!("# HELP m Help.\n# TYPE m gauge\n{samples}"));
    }
}
