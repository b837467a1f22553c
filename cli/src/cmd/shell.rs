//! `cairn completion` and `cairn man`.

use std::io::Write;

use clap::CommandFactory;
use serde::Serialize;

use super::{Context, Exit};
use crate::args::{Cli, CompletionArgs, ManArgs};
use crate::failure::Failure;

/// Prints completions.
pub fn completion(context: &Context<'_>, args: &CompletionArgs) -> Exit {
    let text = crate::complete::script(args.shell);
    Ok(context.output.write(&text).map(|()| 0)?)
}

#[derive(Serialize)]
struct Pages {
    dir: String,
    pages: u64,
}

/// Writes one page per command.
pub fn man(context: &Context<'_>, args: &ManArgs) -> Exit {
    let fail = |error: std::io::Error| {
        Failure::usage(format!("{}: {error}", args.dir.display()), "name a directory to write to")
    };
    std::fs::create_dir_all(&args.dir).map_err(fail)?;
    clap_mangen::generate_to(Cli::command(), &args.dir).map_err(fail)?;
    let count = std::fs::read_dir(&args.dir).map_err(fail)?.count() as u64;
    if context.output.json {
        let document = Pages { dir: args.dir.display().to_string(), pages: count };
        return Ok(context.output.document("man", &document).map(|()| 0)?);
    }
    let text = format!("Wrote {} to {}\n", crate::output::count(count, "page"), args.dir.display());
    std::io::stdout().flush()?;
    Ok(context.output.text(&text).map(|()| 0)?)
}
