//! What the operator sees: text or one JSON document on stdout, talk on stderr.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::args::{Color, Global};

/// How to print.
#[derive(Clone, Debug)]
pub struct Output {
    /// Whether stdout is one JSON document.
    pub json: bool,
    /// Whether to say nothing but errors.
    pub quiet: bool,
    /// How much more to say.
    pub verbose: u8,
    color: bool,
    /// Takes what would go to stdout, for a command that runs others and reports them as one.
    caught: Option<Arc<Mutex<Vec<u8>>>>,
}

impl Output {
    /// Reads the global flags.
    pub fn new(global: &Global) -> Self {
        let color = match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
        };
        let (json, quiet, verbose) = (global.json, global.quiet, global.verbose);
        Self { json, quiet, verbose, color, caught: None }
    }

    /// Prints documents, for a command line that could not be read.
    pub fn of_documents() -> Self {
        Self { json: true, quiet: false, verbose: 0, color: false, caught: None }
    }

    /// Returns an output of the same kind that keeps what it is given, until it is taken.
    pub fn catching(&self) -> Self {
        Self { caught: Some(Arc::default()), ..self.clone() }
    }

    /// Takes what a catching output has been given.
    pub fn take(&self) -> Vec<u8> {
        let Some(caught) = &self.caught else { return Vec::new() };
        std::mem::take(&mut *caught.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Prints a JSON document with its schema as the first key.
    pub fn document<T: Serialize>(&self, command: &str, body: &T) -> io::Result<()> {
        self.write(document(command, body)?.as_bytes())
    }

    /// Prints text on stdout.
    pub fn text(&self, text: &str) -> io::Result<()> {
        match self.quiet {
            true => Ok(()),
            false => self.write(text.as_bytes()),
        }
    }

    /// Prints bytes on stdout, whatever `--quiet` says.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        if let Some(caught) = &self.caught {
            caught.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    /// Prints sentences on stderr.
    pub fn notes(&self, notes: &[String]) {
        if !self.quiet {
            for note in notes {
                let _ = stderr(&format!("{note}\n"));
            }
        }
    }

    fn styled(&self, style: Style, text: &str) -> String {
        match self.color && !text.is_empty() {
            true => format!("{style}{text}{style:#}"),
            false => text.to_owned(),
        }
    }

    /// Text that says that something is good or was added.
    pub fn good(&self, text: &str) -> String {
        self.styled(AnsiColor::Green.on_default(), text)
    }

    /// Text that says that something is bad or was removed.
    pub fn bad(&self, text: &str) -> String {
        self.styled(AnsiColor::Red.on_default().bold(), text)
    }

    /// Text that deserves a look.
    pub fn warn(&self, text: &str) -> String {
        self.styled(AnsiColor::Yellow.on_default(), text)
    }

    /// Text that leads the eye.
    pub fn strong(&self, text: &str) -> String {
        self.styled(Style::new().bold(), text)
    }

    /// Text that may be overlooked.
    pub fn faint(&self, text: &str) -> String {
        self.styled(Style::new().dimmed(), text)
    }
}

/// Returns a JSON document with its schema as the first key.
pub fn document<T: Serialize>(command: &str, body: &T) -> io::Result<String> {
    #[derive(Serialize)]
    struct Document<'a, T> {
        schema: String,
        #[serde(flatten)]
        body: &'a T,
    }
    let document = Document { schema: format!("cairn.{command}/1"), body };
    let mut text = serde_json::to_string_pretty(&document).map_err(io::Error::other)?;
    text.push('\n');
    Ok(text)
}

/// Prints on stderr; a closed one is nobody's problem.
pub fn stderr(text: &str) -> io::Result<()> {
    io::stderr().lock().write_all(text.as_bytes())
}

/// Shows a size for people: `3.4 GB`, in powers of 1,000 as disks are sold.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ if value < 10.0 => format!("{value:.1} {}", UNITS[unit]),
        _ => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// Shows a count with its noun: `1 file`, `1,234 files`.
pub fn count(number: u64, noun: &str) -> String {
    let plural = match noun.strip_suffix('y') {
        _ if number == 1 => noun.to_owned(),
        Some(stem) if noun != "day" => format!("{stem}ies"),
        _ => format!("{noun}s"),
    };
    format!("{} {plural}", thousands(number))
}

/// Shows a number with commas.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Rows of text in columns that line up.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Renders the rows, each line after `indent`.
    pub fn render(&self, indent: &str) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell: &String| visible_width(cell)).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = indent.to_owned();
            for (index, cell) in row.iter().enumerate() {
                line.push_str(cell);
                if index + 1 < row.len() {
                    let pad = widths[index].saturating_sub(visible_width(cell)) + 2;
                    line.extend(std::iter::repeat_n(' ', pad));
                }
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }
}

/// How many columns a cell takes: escape sequences take none.
fn visible_width(cell: &str) -> usize {
    let mut width = 0;
    let mut escape = false;
    for c in cell.chars() {
        match (escape, c) {
            (false, '\x1b') => escape = true,
            (true, 'm') => escape = false,
            (true, _) => {}
            (false, _) => width += 1,
        }
    }
    width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_counts_read_well() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (3_400_000_000, "3.4 GB"),
            (999_999, "1.0 MB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(count(1, "file"), "1 file");
        assert_eq!(count(1234, "file"), "1,234 files");
        assert_eq!(count(2, "entry"), "2 entries");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }

    #[test]
    fn columns_line_up_under_colour() {
        let mut table = Table::default();
        table.row(["a", "b"]);
        table.row(["\x1b[1mlong\x1b[0m", "c"]);
        assert_eq!(table.render("  "), "  a     b\n  \x1b[1mlong\x1b[0m  c\n");
    }
}
