//! Commands of the configuration that are asked something: gates and hooks.
//!
//! A command gets a document on stdin and answers by its exit code. It runs as `program` runs
//! programs, in a private directory that goes with it. What it says is quoted, bounded and escaped.

use std::time::Duration;

use cairn_store::path::{Escaped, plain_json};
use cairn_store::progress::Observer;

use crate::config::format_duration;
use crate::error::{Error, Result};
use crate::program::{Failure, Program};
use crate::signing::Scratch;

/// How much of a command's stdout is kept; its end is quoted.
const MAX_OUTPUT: usize = 64 << 10;
/// How many lines of it a message quotes.
const QUOTED_LINES: usize = 8;
/// How long a quoted line may be.
const LINE: usize = 400;

/// A command, expanded and ready to run.
pub(crate) struct Ask<'a> {
    /// The gate's or hook's name: `CAIRN_NAME`.
    pub name: &'a str,
    /// The program and its arguments.
    pub command: &'a [String],
    /// When it is killed.
    pub timeout: Duration,
    /// What it can read on stdin: one line of JSON.
    pub document: &'a serde_json::Value,
}

/// How a command answered; what it did wrong is a phrase that begins with the program.
pub(crate) enum Answer {
    /// With success, and perhaps this.
    Success(Option<String>),
    /// With another exit code, or by a signal.
    Failed(String),
    /// Not in time.
    TimedOut(String),
    /// It could not be started.
    NotStarted(String),
}

impl Ask<'_> {
    /// Runs the command until it has ended.
    ///
    /// # Errors
    /// When there is no private directory for it, or the operator wants to stop.
    pub fn run(&self, observer: &dyn Observer) -> Result<Answer> {
        let scratch = Scratch::new()?;
        let program = self.command.first().map_or("", String::as_str);
        let program = Escaped(program.as_bytes()).to_string();
        // A command that shows what it was told does not let a name speak to the terminal.
        let input = plain_json(self.document.to_string() + "\n");
        let run = Program {
            command: self.command,
            dir: scratch.path(),
            name: self.name,
            input: input.as_bytes(),
            timeout: self.timeout,
            most: MAX_OUTPUT,
        };
        let said = |said: Option<String>| said.map(|said| format!("it said: {said}"));
        Ok(match run.run(observer) {
            Ok(ended) => {
                let wrote = wrote(&ended.stdout, ended.cut);
                let wrote = wrote.map(|wrote| format!("it wrote: {wrote}"));
                let parts = [wrote, said(ended.said.quoted())];
                let parts: Vec<String> = parts.into_iter().flatten().collect();
                match ended.failure() {
                    None => Answer::Success((!parts.is_empty()).then(|| parts.join("; "))),
                    Some(how) => {
                        let head = format!("{program} {how}");
                        Answer::Failed([vec![head], parts].concat().join("; "))
                    }
                }
            }
            Err(Failure::Start(source)) => {
                Answer::NotStarted(format!("{program} cannot be started: {source}"))
            }
            Err(Failure::TimedOut(tail)) => {
                let after = format_duration(self.timeout);
                let said = said(tail.quoted()).map(|said| format!("; {said}")).unwrap_or_default();
                Answer::TimedOut(format!(
                    "{program} had not ended after {after}, and was killed{said}"
                ))
            }
            Err(Failure::Interrupted) => {
                return Err(Error::Store(cairn_store::Error::Interrupted));
            }
        })
    }
}

/// Returns the last lines of what a command wrote, as one line that is safe for a terminal.
fn wrote(stdout: &[u8], cut: bool) -> Option<String> {
    let lines = stdout.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
    let skipped = lines.len().saturating_sub(QUOTED_LINES);
    let start = if skipped > 0 { "… " } else { "" };
    let end = if cut { " …" } else { "" };
    let shown: Vec<String> = lines[skipped..]
        .iter()
        .map(|line| Escaped(&line[..line.len().min(LINE)]).to_string())
        .collect();
    (!shown.is_empty()).then(|| format!("{start}{}{end}", shown.join(" / ")))
}
