//! `cairn config show` and `cairn config check`.

use cairn_releng::config::{Config, Origin};
use serde::Serialize;

use super::{Context, Exit};
use crate::args::ConfigCommand;

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

/// Shows or checks the configuration.
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
                let problems = problems.into_iter().map(|error| Problem {
                    line: error.line,
                    column: error.column,
                    message: error.message,
                    hint: error.hint,
                });
                let document = CheckDocument { path, problems: problems.collect() };
                context.output.document("config-check", &document)?;
            } else if problems.is_empty() {
                context.output.text(&format!("{path} is right.\n"))?;
            } else {
                let text: String = problems.iter().map(|error| format!("{error}\n")).collect();
                crate::output::stderr(&text)?;
            }
            Ok(code)
        }
    }
}
