//! `cairn config show`, `check` and `import`.

use std::path::Path;

use cairn_releng::config::{Config, ConfigError, Origin};
use cairn_store::path::display;
use serde::Serialize;

use super::{Context, Exit};
use crate::args::ConfigCommand;
use crate::failure::Failure;

/// The exit code for a result with something to look at.
const FINDINGS: u8 = 3;

#[derive(Serialize)]
struct ShowDocument {
    path: String,
    toml: String,
}

#[derive(Serialize)]
struct CheckDocument {
    path: String,
    problems: Vec<Problem>,
}

#[derive(Serialize)]
struct Problem {
    line: usize,
    column: usize,
    message: String,
    hint: Option<String>,
}

#[derive(Serialize)]
struct ImportDocument {
    path: String,
    toml: String,
    left_out: Vec<String>,
    problems: Vec<Problem>,
}

impl From<ConfigError> for Problem {
    fn from(error: ConfigError) -> Self {
        let ConfigError { line, column, message, hint, .. } = error;
        Self { line, column, message, hint }
    }
}

/// Shows, checks or imports the configuration.
pub fn run(context: &Context<'_>, command: &ConfigCommand) -> Exit {
    let path = context.global.config.display().to_string();
    match command {
        ConfigCommand::Show { origin } => {
            let origin = if *origin { Origin::Shown } else { Origin::Hidden };
            let toml = context.config()?.show(origin);
            match context.output.json {
                true => context.output.document("config-show", &ShowDocument { path, toml })?,
                false => context.output.text(&toml)?,
            }
            Ok(0)
        }
        ConfigCommand::Check => {
            let problems = match Config::check_file(&context.global.config) {
                Ok(_) => Vec::new(),
                // A file that cannot be read is an error, not a finding.
                Err(errors) if errors.iter().any(|error| error.source.is_some()) => {
                    context.config()?;
                    Vec::new()
                }
                Err(errors) => errors,
            };
            let code = if problems.is_empty() { 0 } else { crate::failure::USAGE };
            if context.output.json {
                let problems = problems.into_iter().map(Problem::from).collect();
                let document = CheckDocument { path, problems };
                context.output.document("config-check", &document)?;
            } else if problems.is_empty() {
                context.output.text(&format!("{path} is right.\n"))?;
            } else {
                let text: String = problems.iter().map(|error| format!("{error}\n")).collect();
                crate::output::stderr(&text)?;
            }
            Ok(code)
        }
        ConfigCommand::Import { dir, run } => import(context, dir, *run),
    }
}

/// Exit 3 when what the scripts say contradicts itself: the text is printed all the same.
fn import(context: &Context<'_>, dir: &Path, run: bool) -> Exit {
    let path = display(dir).to_string();
    if !run {
        return Err(Failure::usage(
            format!("{path}: common and its fellows are programs, and importing runs them as you"),
            "read them, then run it again with --run",
        ));
    }
    let found = cairn_releng::import::import(dir, &context.progress)?;
    context.progress.finish();
    let code = if found.problems.is_empty() { 0 } else { FINDINGS };
    if context.output.json {
        let problems = found.problems.into_iter().map(Problem::from).collect();
        let (toml, left_out) = (found.text, found.left_out);
        let document = ImportDocument { path, toml, left_out, problems };
        context.output.document("config-import", &document)?;
        return Ok(code);
    }
    // It was asked for, whatever --quiet says.
    context.output.write(found.text.as_bytes())?;
    let mut notes: Vec<String> =
        found.left_out.iter().map(|line| format!("not translated: {line}")).collect();
    notes.extend(found.problems.iter().map(|error| format!("to be mended: {error}")));
    context.output.notes(&notes);
    Ok(code)
}
