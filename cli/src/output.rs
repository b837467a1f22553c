//! What the operator sees: text or one JSON document on stdout, talk on stderr.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use anstyle::{AnsiColor, Style};
use cairn_store::path::plain_json;
use serde::Serialize;

use crate::args::{Color, Global};

mod table;

pub use table::{Table, cut_end};

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
    /// Whether what goes to stderr is coloured.
    color_talk: bool,
    /// How wide the terminal is; nothing where stdout is none, and nothing is cut.
    pub width: Option<usize>,
    /// Takes what would go to stdout, for a command that runs others and reports them as one.
    caught: Option<Arc<Mutex<Vec<u8>>>>,
}

impl Output {
    /// Reads the global flags.
    pub fn new(global: &Global) -> Self {
        let color = |is_terminal: bool| match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_coloured(is_terminal, |name| std::env::var(name).ok()),
        };
        let (json, quiet, verbose) = (global.json, global.quiet, global.verbose);
        let color_talk = color(io::stderr().is_terminal());
        let color = color(io::stdout().is_terminal());
        let width = if io::stdout().is_terminal() { width_of(&io::stdout()) } else { None };
        Self { json, quiet, verbose, color, color_talk, width, caught: None }
    }

    /// Prints documents, for a command line that could not be read.
    pub fn of_documents() -> Self {
        let (quiet, verbose, color, color_talk) = (false, 0, false, false);
        Self { json: true, quiet, verbose, color, color_talk, width: None, caught: None }
    }

    /// Returns an output that colours as stderr wants it, for errors.
    pub fn for_talk(&self) -> Self {
        Self { color: self.color_talk, ..self.clone() }
    }

    /// Returns an output of the same kind for a terminal that is so wide.
    pub fn so_wide(&self, width: usize) -> Self {
        Self { width: Some(width), ..self.clone() }
    }

    /// Returns an output of the same kind that keeps what it is given, until it is taken.
    pub fn catching(&self) -> Self {
        Self { caught: Some(Arc::default()), width: None, ..self.clone() }
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
        // Whoever reads, also behind a pipe, may be on the terminal that the line stands on.
        crate::progress::stop();
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
    Ok(plain_json(text))
}

/// Answers whether colour is wanted where no flag says so.
fn is_coloured(is_terminal: bool, env: impl Fn(&str) -> Option<String>) -> bool {
    let is_set = |name: &str| env(name).is_some_and(|value| !value.is_empty());
    let force = env("CLICOLOR_FORCE").is_some_and(|value| !value.is_empty() && value != "0");
    let dumb = env("TERM").is_some_and(|term| term == "dumb");
    !is_set("NO_COLOR") && (force || (is_terminal && !dumb))
}

/// Returns how many columns a terminal has; `COLUMNS` may make it narrower.
pub fn width_of(terminal: &impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(terminal).ok();
    let size = size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
    let said = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let said = said.filter(|columns: &usize| *columns > 0);
    match (size, said) {
        (Some(size), Some(said)) => Some(size.min(said)),
        (size, said) => size.or(said),
    }
}

/// Prints on stderr; a closed one is nobody's problem.
pub fn stderr(text: &str) -> io::Result<()> {
    crate::progress::clear();
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
    fn colour_is_for_terminals_and_for_who_asks_for_it() {
        for (is_terminal, env, coloured) in [
            (true, &[][..], true),
            (false, &[], false),
            (true, &[("NO_COLOR", "1")], false),
            (true, &[("NO_COLOR", "")], true),
            (true, &[("TERM", "dumb")], false),
            (false, &[("CLICOLOR_FORCE", "1")], true),
            (true, &[("CLICOLOR_FORCE", "1"), ("TERM", "dumb")], true),
            (false, &[("CLICOLOR_FORCE", "0")], false),
            (false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        ] {
            let value =
                |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
            assert_eq!(is_coloured(is_terminal, value), coloured, "{is_terminal} {env:?}");
        }
    }
}
