//! What a run found, as tables to paste into a text or as one JSON document.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::lab::{Measured, NOT_INSTALLED, NOT_RUN};
use crate::machine::Machine;
use crate::rows::{ROWS, Row, SCALING, Samples, Selection};

/// The most that any verb may hold at the largest size.
const MEMORY_TARGET: u64 = 100 << 20;
const MEMORY_TARGET_FILES: usize = 200_000;

/// A run: the machine and every size.
#[derive(Debug)]
pub struct Report<'a> {
    pub machine: Machine,
    pub repeat: usize,
    pub selection: &'a Selection,
    pub sizes: Vec<Measured>,
}

impl Report<'_> {
    /// Returns the tables, in Markdown.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.machine);
        for size in &self.sizes {
            line(&mut text, format_args!(""));
            line(
                &mut text,
                format_args!(
                    "{} files, {} MB, {} KiB each; medians of {}. Seconds.",
                    size.shape.files,
                    size.bytes / 1_000_000,
                    size.shape.mean / 1024,
                    self.repeat
                ),
            );
        }
        for table in [self.rows_table(), self.scaling_table(), self.memory_table()] {
            if table.len() > 1 {
                text.push('\n');
                text.push_str(&align(&table));
            }
        }
        for (files, failure) in self.failures() {
            line(&mut text, format_args!("\nfailed at {files} files: {failure}"));
        }
        text
    }

    /// Returns everything, with every single time.
    pub fn json(&self) -> Value {
        let sizes: Vec<Value> = self.sizes.iter().map(|size| self.size_json(size)).collect();
        json!({
            "schema": "cairn-benches.compare/1",
            "machine": self.machine.json(),
            "repeat": self.repeat,
            "sizes": sizes,
        })
    }

    /// Returns what failed of itself: not for want of a peer or of a step before.
    pub fn failures(&self) -> Vec<(usize, String)> {
        let of = |size: &Measured, samples: &Samples| -> Vec<(usize, String)> {
            samples
                .failures()
                .filter(|(_, reason)| ![NOT_INSTALLED, NOT_RUN].contains(reason))
                .map(|(step, reason)| (size.shape.files, format!("{}: {reason}", step.label())))
                .collect()
        };
        self.sizes
            .iter()
            .flat_map(|size| [of(size, &size.rows), of(size, &size.scaling)])
            .flatten()
            .collect()
    }

    fn rows(&self) -> impl Iterator<Item = &'static Row> {
        ROWS.iter().filter(|row| self.selection.has(row.id))
    }

    fn rows_table(&self) -> Vec<Vec<String>> {
        let mut table =
            vec![cells(["work", "files", "cairn", "peer", "", "ratio", "target", "met"])];
        for row in self.rows() {
            for size in &self.sizes {
                let verdict = Verdict::of(row, size);
                table.push(vec![
                    row.work.to_owned(),
                    size.shape.files.to_string(),
                    time(size.rows.get(row.ours).and(verdict.ours), size.cairn.is_some()),
                    row.theirs.label().to_owned(),
                    match size.rows.get(row.theirs).and_then(|sample| sample.failed.as_deref()) {
                        Some(NOT_INSTALLED) => NOT_INSTALLED.to_owned(),
                        Some(_) | None => time(verdict.theirs, true),
                    },
                    verdict.ratio.map(ratio).unwrap_or_default(),
                    verdict.target.map(|target| format!("≤ {target}")).unwrap_or_default(),
                    verdict.met.map_or("", |met| if met { "yes" } else { "no" }).to_owned(),
                ]);
            }
        }
        table
    }

    /// The fixed change: a column for each size, and how much the largest costs beside the first.
    fn scaling_table(&self) -> Vec<Vec<String>> {
        let mut header = vec!["500 files changed".to_owned()];
        header.extend(self.sizes.iter().map(|size| format!("of {}", size.shape.files)));
        header.push("growth".to_owned());
        let mut table = vec![header];
        if !self.selection.scaling() {
            return table;
        }
        for step in SCALING {
            let times: Vec<_> = self.sizes.iter().map(|size| size.scaling.median(step)).collect();
            let mut line = vec![step.label().to_owned()];
            line.extend(times.iter().map(|&seconds| time(seconds, true)));
            line.push(match (times.first(), times.last()) {
                (Some(Some(first)), Some(Some(last))) if times.len() > 1 => {
                    format!("{:.1} ×", last / first)
                }
                _ => String::new(),
            });
            table.push(line);
        }
        table
    }

    fn memory_table(&self) -> Vec<Vec<String>> {
        let mut table =
            vec![cells(["peak memory", "files", "resident", "of it anonymous", "target", "met"])];
        if !self.selection.memory() {
            return table;
        }
        for size in &self.sizes {
            for (verb, peak) in size.cairn.iter().flat_map(|cairn| cairn.peaks()) {
                let bound = size.shape.files >= MEMORY_TARGET_FILES;
                let met = if peak.resident <= MEMORY_TARGET { "yes" } else { "no" };
                table.push(vec![
                    format!("cairn {verb}"),
                    size.shape.files.to_string(),
                    mebibytes(peak.resident),
                    mebibytes(peak.anonymous),
                    if bound { format!("≤ {}", mebibytes(MEMORY_TARGET)) } else { String::new() },
                    if bound { met.to_owned() } else { String::new() },
                ]);
            }
        }
        table
    }

    fn size_json(&self, size: &Measured) -> Value {
        let times = |samples: &Samples, step| {
            let sample = samples.get(step);
            json!({
                "step": crate::rows::Step::label(step),
                "median": samples.median(step),
                "seconds": sample.map(|sample| sample.seconds.as_slice()).unwrap_or_default(),
                "failed": sample.and_then(|sample| sample.failed.as_deref()),
            })
        };
        let rows: Vec<Value> = self
            .rows()
            .map(|row| {
                let verdict = Verdict::of(row, size);
                json!({
                    "id": row.id,
                    "work": row.work,
                    "cairn": times(&size.rows, row.ours),
                    "peer": times(&size.rows, row.theirs),
                    "ratio": verdict.ratio,
                    "target": verdict.target,
                    "met": verdict.met,
                })
            })
            .collect();
        let scaling: Vec<Value> = SCALING.iter().map(|&step| times(&size.scaling, step)).collect();
        let memory: Vec<Value> = size
            .cairn
            .iter()
            .flat_map(|cairn| cairn.peaks())
            .map(|(verb, peak)| {
                json!({"verb": verb, "resident": peak.resident, "anonymous": peak.anonymous})
            })
            .collect();
        json!({
            "files": size.shape.files,
            "mean": size.shape.mean,
            "bytes": size.bytes,
            "rows": rows,
            "fixed_change": scaling,
            "memory": memory,
        })
    }
}

/// A row at one size, judged.
#[derive(Debug, Clone, Copy)]
struct Verdict {
    ours: Option<f64>,
    theirs: Option<f64>,
    ratio: Option<f64>,
    target: Option<f64>,
    met: Option<bool>,
}

impl Verdict {
    fn of(row: &Row, size: &Measured) -> Self {
        let (ours, theirs) = (size.rows.median(row.ours), size.rows.median(row.theirs));
        let ratio = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
        let target = row.target.at(size.shape.files);
        let met = ratio.zip(target).map(|(ratio, target)| ratio <= target);
        Self { ours, theirs, ratio, target, met }
    }
}

fn cells<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(str::to_owned).to_vec()
}

fn time(seconds: Option<f64>, expected: bool) -> String {
    match seconds {
        Some(seconds) if seconds < 0.1 => format!("{seconds:.4}"),
        Some(seconds) => format!("{seconds:.2}"),
        None if expected => "—".to_owned(),
        None => String::new(),
    }
}

fn ratio(ratio: f64) -> String {
    if ratio < 0.1 { format!("{ratio:.3}") } else { format!("{ratio:.2}") }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String cannot fail");
    text.push('\n');
}

/// Lays out a table whose first line is its header.
fn align(table: &[Vec<String>]) -> String {
    let columns = table.first().map_or(0, Vec::len);
    let width = |column: usize| {
        table.iter().map(|line| line[column].chars().count()).max().unwrap_or(0).max(3)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (index, cells) in table.iter().enumerate() {
        for (cell, width) in cells.iter().zip(&widths) {
            let padding = " ".repeat(width - cell.chars().count());
            text.push_str(&format!("| {cell}{padding} "));
        }
        text.push_str("|\n");
        if index == 0 {
            for width in &widths {
                text.push_str(&format!("| {} ", "-".repeat(*width)));
            }
            text.push_str("|\n");
        }
    }
    text
}
