//! `cairn status --watch`: the page, drawn again and again in its place.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use cairn_store::progress::Observer;
use jiff::Timestamp;
use rustix::process::Signal;

use super::{Look, look, page};
use crate::cmd::{Context, Exit};
use crate::failure::Failure;
use crate::output::{cut_end, width_of};
use crate::progress::signal_exit_code;

/// How often we see whether it should end, or the terminal has another size.
const BEAT: Duration = Duration::from_millis(50);

/// Draws the page every so many seconds, until somebody ends it.
pub fn run(context: &Context<'_>, seconds: u64) -> Exit {
    if context.output.json {
        let message = "--json prints one document, and --watch never ends";
        return Err(Failure::usage(message, "run cairn --json status from a timer"));
    }
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
    if !std::io::stdout().is_terminal() || dumb {
        let message = "--watch draws on a terminal, and stdout is none that can be drawn on";
        return Err(Failure::usage(
            message,
            "leave --watch out, and run cairn status from a timer",
        ));
    }
    let mut drawn = Drawn::default();
    // What cannot be seen at all is an error; what cannot be seen any more may come back.
    let (mut seen, mut fault) = (look(context)?, None);
    loop {
        let looked = Instant::now();
        let mut size = size();
        drawn.draw(context, &text(context, seconds, size.0, &seen, fault.as_deref()), size)?;
        while looked.elapsed() < Duration::from_secs(seconds) {
            if context.progress.interrupted() {
                drawn.end(context)?;
                // Ctrl-C is how this ends; another signal is one.
                let code = signal_exit_code();
                let by_hand = i32::from(code) == 128 + Signal::INT.as_raw();
                return Ok(if by_hand { 0 } else { code });
            }
            if size != self::size() {
                size = self::size();
                let text = text(context, seconds, size.0, &seen, fault.as_deref());
                drawn.draw(context, &text, size)?;
            }
            std::thread::sleep(BEAT);
        }
        match look(context) {
            Ok(look) => (seen, fault) = (look, None),
            Err(failure) => fault = Some(failure.message().to_owned()),
        }
    }
}

/// Returns how many columns and rows there are.
fn size() -> (usize, usize) {
    let stdout = std::io::stdout();
    let rows = rustix::termios::tcgetwinsize(&stdout).map_or(0, |size| usize::from(size.ws_row));
    (width_of(&stdout).unwrap_or(80), if rows == 0 { 24 } else { rows })
}

fn text(
    context: &Context<'_>,
    seconds: u64,
    columns: usize,
    seen: &Look,
    fault: Option<&str>,
) -> String {
    let (output, now) = (context.output.so_wide(columns), Timestamp::now());
    let head = format!("{now:.0}, every {seconds} s, Ctrl-C ends");
    let mut text = format!("{}\n", output.faint(&head));
    if let Some(fault) = fault {
        let fault = format!("What follows is old: {fault}.");
        let fault = cairn_store::path::Escaped(fault.as_bytes()).to_string();
        let _ = writeln!(text, "{}", output.bad(&fault));
    }
    text += &page::text(&output, &seen.document, seen.last, now);
    for note in &seen.notes {
        let _ = writeln!(text, "{note}");
    }
    text
}

/// What stands on the terminal.
#[derive(Default)]
struct Drawn {
    lines: usize,
    size: (usize, usize),
}

impl Drawn {
    fn draw(
        &mut self,
        context: &Context<'_>,
        text: &str,
        size: (usize, usize),
    ) -> Result<(), Failure> {
        let (columns, rows) = size;
        let mut page = match (self.lines, size == self.size) {
            (0, _) => String::new(),
            (lines, true) => format!("\r\x1b[{lines}A"),
            // A terminal of another size has broken the lines somewhere else.
            (_, false) => "\x1b[2J\x1b[H".to_owned(),
        };
        let mut lines: Vec<String> = text.lines().map(|line| cut_end(line, columns)).collect();
        // The cursor stands below the page, and what scrolls away cannot be drawn again.
        let room = rows.saturating_sub(1).max(1);
        if lines.len() > room {
            let left = lines.len() - (room - 1);
            lines.truncate(room - 1);
            lines.push(cut_end(&format!("… and {left} more lines"), columns));
        }
        for line in &lines {
            let _ = writeln!(page, "{line}\x1b[K");
        }
        page += "\x1b[J";
        (self.lines, self.size) = (lines.len(), size);
        Ok(context.output.write(page.as_bytes())?)
    }

    /// Leaves the page, and nothing of what was typed below it.
    fn end(&self, context: &Context<'_>) -> Result<(), Failure> {
        Ok(context.output.write(b"\r\x1b[K")?)
    }
}
