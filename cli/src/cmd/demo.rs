//! `cairn demo`: the whole procedure on a small real release, left there to look at.
//!
//! Every step is a command as an operator would type it, parsed and run like any other.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use cairn_releng::sample::{self, Places};
use clap::Parser;
use serde::Serialize;

use super::{Context, Exit};
use crate::args::{Cli, DemoArgs};
use crate::failure::Failure;

/// Where the demo goes without an argument.
const DEFAULT: &str = "cairn-demo";

#[derive(Serialize)]
struct Document {
    dir: String,
    dry_run: bool,
    commands: Vec<Step>,
}

#[derive(Serialize)]
struct Step {
    command: Vec<String>,
    code: u8,
    /// The command's own document.
    report: serde_json::Value,
}

/// Runs the demo in an empty directory.
pub fn run(context: &Context<'_>, args: &DemoArgs) -> Exit {
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT));
    let (output, fail) = (context.output, |what: &Path, error: std::io::Error| {
        Failure::usage(
            format!("{}: {error}", what.display()),
            "name a new or empty directory: cairn demo DIR",
        )
    });
    if context.global.dry_run {
        let text = format!("Would run the whole procedure in {}\n", dir.display());
        let dir = dir.display().to_string();
        let document = Document { dir, dry_run: true, commands: Vec::new() };
        return match output.json {
            true => Ok(output.document("demo", &document).map(|()| 0)?),
            false => Ok(output.text(&text).map(|()| 0)?),
        };
    }
    std::fs::create_dir_all(&dir).map_err(|error| fail(&dir, error))?;
    let dir = dir.canonicalize().map_err(|error| fail(&dir, error))?;
    if std::fs::read_dir(&dir).map_err(|error| fail(&dir, error))?.next().is_some() {
        let error = std::io::Error::other("it is not empty");
        return Err(fail(&dir, error));
    }
    let places = Places::below(&dir);
    for place in [&places.compose, &places.staging, &places.production] {
        std::fs::create_dir(place).map_err(|error| fail(place, error))?;
    }
    let config = dir.join("cairn.toml");
    std::fs::write(&config, places.config()).map_err(|error| fail(&config, error))?;

    let commands = RefCell::default();
    let demo = Demo { context, config: config.display().to_string(), commands };
    let latest = places.compose.join("9/latest-Rocky-9");
    let latest = latest.to_string_lossy();
    demo.say("A release engineer composes Rocky Linux 9.7: real packages, real repodata.")?;
    sample::first(&places.compose).map_err(|error| Failure::bug(error.to_string()))?;
    demo.run(&["init"])?;
    demo.run(&["ingest", &latest])?;
    demo.run(&["stage", "9", "Rocky", "--delete"])?;
    demo.run(&["promote", "9", "-m", "Rocky Linux 9.7"])?;
    demo.say("Two weeks later an update compose arrives; most of its files are hard links.")?;
    sample::second(&places.compose).map_err(|error| Failure::bug(error.to_string()))?;
    demo.run(&["ingest", &latest])?;
    demo.run(&["stage", "9", "Rocky", "--delete"])?;
    demo.run(&["diff", "production/9.7", "staging/9.7-RC2", "--by", "packages"])?;
    demo.say("A third of so small a release goes, more than the floor of 10 % lets pass unasked.")?;
    let promote = ["promote", "9", "--delete", "--allow-deletes", "40%"];
    demo.run(&[&promote[..], &["-n"]].concat())?;
    demo.run(&[&promote[..], &["-m", "updates of November"]].concat())?;
    demo.say("The new kernel does not boot: production goes back, in one swap.")?;
    demo.run(&["rollback", "production/9.7", "-m", "kernel does not boot"])?;
    demo.run(&["log"])?;
    demo.run(&["status"])?;

    if output.json {
        let commands = demo.commands.into_inner();
        let document = Document { dir: dir.display().to_string(), dry_run: false, commands };
        return Ok(output.document("demo", &document).map(|()| 0)?);
    }
    let mut text = String::new();
    let _ = writeln!(text, "Look at what is there:");
    let _ = writeln!(
        text,
        "  production  {}",
        places.production.join("mirror/pub/rocky/9.7").display()
    );
    let _ = writeln!(
        text,
        "  staging     {}",
        places.staging.join("mirror/pub/rocky/9.7-RC2").display()
    );
    let _ =
        writeln!(text, "  lists       {}", places.production.join("mirror/pub/rocky").display());
    let _ = writeln!(text, "and go on with");
    let _ = writeln!(text, "  export CAIRN_CONFIG={}", demo.config);
    let _ = writeln!(text, "  cairn diff production/9.7 production/9.7~1");
    output.text(&text)?;
    Ok(0)
}

struct Demo<'a> {
    context: &'a Context<'a>,
    config: String,
    /// What was run, where it is told in one document.
    commands: RefCell<Vec<Step>>,
}

impl Demo<'_> {
    fn say(&self, sentence: &str) -> Result<(), Failure> {
        if self.context.output.json {
            return Ok(());
        }
        let sentence = self.context.output.warn(sentence);
        Ok(self.context.output.text(&format!("{sentence}\n\n"))?)
    }

    fn run(&self, words: &[&str]) -> Result<(), Failure> {
        let typed = ["cairn", "--config", &self.config].into_iter().chain(words.iter().copied());
        let typed: Vec<String> = typed.map(str::to_owned).collect();
        let cli = Cli::try_parse_from(&typed).map_err(|error| Failure::bug(error.to_string()))?;
        if self.context.output.json {
            let inner = self.context.output.catching();
            let code = super::run(&cli, typed, &inner)?;
            let report = serde_json::from_slice(&inner.take())
                .map_err(|error| Failure::bug(format!("{}: {error}", words.join(" "))))?;
            let command = words.iter().map(|word| (*word).to_owned()).collect();
            self.commands.borrow_mut().push(Step { command, code, report });
            return Ok(());
        }
        let quoted: Vec<String> = words
            .iter()
            .map(|word| if word.contains(' ') { format!("'{word}'") } else { (*word).to_owned() })
            .collect();
        let line = self.context.output.strong(&format!("$ cairn {}", quoted.join(" ")));
        self.context.output.text(&format!("{line}\n"))?;
        super::run(&cli, typed, self.context.output)?;
        Ok(self.context.output.text("\n")?)
    }
}
