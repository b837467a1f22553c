//! `cairn toolkit`: a line of the old procedure, run as the commands that it means.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use cairn_releng::Error;
use cairn_releng::toolkit::{self, Call, Job, MARK, ToolkitError, Variables};
use cairn_store::path::display;
use clap::Parser as _;
use serde::Serialize;

use super::{Context, Exit};
use crate::args::{Cli, ToolkitArgs};
use crate::failure::Failure;
use crate::output::count;

/// The part of a file that says whether it is a shim.
const HEAD: u64 = 256;

#[derive(Serialize)]
struct Document<'a> {
    script: &'a str,
    dry_run: bool,
    releases: &'a [String],
    commands: Vec<Step<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Step<'a> {
    command: &'a [String],
    /// Its exit code; null if it did not run or failed.
    code: Option<u8>,
    /// Its own document; null likewise.
    report: serde_json::Value,
}

/// Runs a script's name.
pub fn run(context: &Context<'_>, args: &ToolkitArgs) -> Exit {
    if let Some(dir) = &args.install {
        return install(context, dir);
    }
    let config = context.config()?;
    let call = Call::read(&args.words, &variables()?).map_err(failure)?;
    let mut job = toolkit::translate(&config, &call).map_err(failure)?;
    if let Some(reason) = &args.reason.reason {
        for command in job.commands.iter_mut().filter(|command| keeps_reason(command)) {
            command.extend(["-m".to_owned(), reason.clone()]);
        }
    }
    if args.print {
        return print(context, &job);
    }
    // Before the first one runs, all of them must be commands.
    let commands = job.commands.iter().map(|words| parse(context, words));
    let commands: Vec<(Cli, Vec<String>)> = commands.collect::<Result<_, _>>()?;
    if context.global.dry_run && commands.len() > 1 {
        let note =
            "Nothing is taken in by --dry-run: what follows is planned with what is there now.";
        job.notes.push(note.to_owned());
    }
    context.output.notes(&job.notes);
    let mut done: Vec<(u8, serde_json::Value)> = Vec::new();
    let mut ended = Ok(0);
    for ((cli, typed), words) in commands.iter().zip(&job.commands) {
        context.output.notes(&[format!("+ {}", shown(context, words))]);
        let inner =
            if context.output.json { context.output.catching() } else { context.output.clone() };
        match super::run(cli, typed.clone(), &inner) {
            Ok(code) => {
                done.push((code, serde_json::from_slice(&inner.take()).unwrap_or_default()))
            }
            Err(failure) => {
                ended = Err(failure);
                break;
            }
        }
        if let Some((code @ 1.., _)) = done.last() {
            ended = Ok(*code);
            break;
        }
    }
    if context.output.json {
        let mut steps = done.into_iter();
        let commands = job.commands.iter().map(|command| {
            let (code, report) =
                steps.next().map_or_else(Default::default, |(code, report)| (Some(code), report));
            Step { command, code, report }
        });
        document(context, &job, commands.collect())?;
    }
    ended
}

fn print(context: &Context<'_>, job: &Job) -> Exit {
    context.output.notes(&job.notes);
    if context.output.json {
        let steps = job.commands.iter();
        let steps =
            steps.map(|command| Step { command, code: None, report: serde_json::Value::Null });
        document(context, job, steps.collect())?;
        return Ok(0);
    }
    let lines: String =
        job.commands.iter().map(|words| format!("{}\n", shown(context, words))).collect();
    // It was asked for, whatever --quiet says.
    context.output.write(lines.as_bytes())?;
    Ok(0)
}

fn document(context: &Context<'_>, job: &Job, commands: Vec<Step<'_>>) -> Result<(), Failure> {
    let body = Document {
        script: &job.script,
        dry_run: context.global.dry_run,
        releases: &job.releases,
        commands,
        notes: &job.notes,
    };
    Ok(context.output.document("toolkit", &body)?)
}

/// Reads the two variables; text that is not UTF-8 is no release.
fn variables() -> Result<Variables, Failure> {
    let read = |name: &str| match std::env::var_os(name).map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(value)) => Err(Failure::usage(
            format!("{name} is not text: {}", display(Path::new(&value))),
            "set it to a release, such as RLVER=9",
        )),
    };
    Ok(Variables { version: read("RLVER")?, channel: read("RLREL")? })
}

fn failure(error: ToolkitError) -> Failure {
    match error {
        ToolkitError::Accumulates { ref staging, .. } => Failure::from(Error::Refused {
            name: staging.clone(),
            rule: "accumulate",
            reason: format!("{error}; {}", error.hint()),
        }),
        error => Failure::usage(error.to_string(), error.hint()),
    }
}

/// A reason is for commands that the log keeps.
fn keeps_reason(command: &[String]) -> bool {
    !matches!(command.first().map(String::as_str), Some("check" | "torrents"))
}

/// Reads a command as if it had been typed, under the flags that were given to this one.
fn parse(context: &Context<'_>, words: &[String]) -> Result<(Cli, Vec<String>), Failure> {
    let config = context.global.config.to_string_lossy().into_owned();
    let mut typed = vec!["cairn".to_owned(), "--config".to_owned(), config];
    typed.extend(context.global.dry_run.then(|| "--dry-run".to_owned()));
    typed.extend(words.iter().cloned());
    let mut cli = Cli::try_parse_from(&typed).map_err(|error| {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let message = format!("{}: {line}", toolkit::shown(words));
        Failure::usage(message, "this cairn lacks the command; nothing was done")
    })?;
    let dry_run = cli.global.dry_run;
    cli.global = context.global.clone();
    cli.global.dry_run |= dry_run;
    Ok((cli, typed))
}

/// Renders a command so that it can be typed: with the configuration, unless that is the usual one.
fn shown(context: &Context<'_>, words: &[String]) -> String {
    let config = context.global.config.to_string_lossy().into_owned();
    let mut all = Vec::new();
    if config != "/etc/cairn/cairn.toml" {
        all.extend(["--config".to_owned(), config]);
    }
    all.extend(context.global.dry_run.then(|| "--dry-run".to_owned()));
    all.extend(words.iter().cloned());
    toolkit::shown(&all)
}

#[derive(Serialize)]
struct Installed {
    dir: String,
    dry_run: bool,
    written: Vec<String>,
    unchanged: Vec<String>,
    removed: Vec<String>,
}

/// Writes the shims, and removes those of releases that are configured no longer.
fn install(context: &Context<'_>, dir: &Path) -> Exit {
    let config = context.config()?;
    let io = |path: &Path| {
        let path = display(path).to_string();
        move |error: std::io::Error| {
            Failure::failed(format!("{path}: {error}"), "nothing else was written")
        }
    };
    let program = std::env::current_exe().map_err(io(Path::new("cairn")))?;
    if !program.is_file() {
        return Err(Failure::failed(
            format!("{}: the program that runs is there no longer", display(&program)),
            "run the one that was installed in its place",
        ));
    }
    let file = &context.global.config;
    let file = file.canonicalize().map_err(io(file))?;
    let mut done = Installed {
        dir: display(dir).to_string(),
        dry_run: context.global.dry_run,
        written: Vec::new(),
        unchanged: Vec::new(),
        removed: Vec::new(),
    };
    let names = toolkit::shims(&config);
    let mut strangers = Vec::new();
    let mut write: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    for name in &names {
        let (path, text) = (dir.join(name), toolkit::shim(&program, &file, name));
        match head(&path).map_err(io(&path))? {
            Found::Nothing => write.push((path, text)),
            Found::Shim => match std::fs::read(&path).map_err(io(&path))? == text {
                true => done.unchanged.push(name.clone()),
                false => write.push((path, text)),
            },
            Found::Stranger => strangers.push(name.as_str()),
        }
    }
    if !strangers.is_empty() {
        return Err(Failure::usage(
            format!(
                "{} has files of these names that are no shims: {}",
                done.dir,
                strangers.join(", ")
            ),
            "name another directory, or move them away; nothing was written",
        ));
    }
    let remove = left_over(dir, &names).map_err(io(dir))?;
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    done.written = write.iter().map(|(path, _)| name(path)).collect();
    done.removed = remove.iter().map(name).collect();
    if !context.global.dry_run {
        if !write.is_empty() {
            std::fs::create_dir_all(dir).map_err(io(dir))?;
        }
        for (path, text) in &write {
            place(path, text).map_err(io(path))?;
        }
        for path in &remove {
            std::fs::remove_file(path).map_err(io(path))?;
        }
    }
    if context.output.json {
        context.output.document("toolkit-install", &done)?;
        return Ok(0);
    }
    context.output.text(&text(&done))?;
    Ok(0)
}

fn text(done: &Installed) -> String {
    let would = if done.dry_run { "would be " } else { "" };
    let mut text = format!(
        "{}: {} {would}written, {} as they should be",
        done.dir,
        count(done.written.len() as u64, "shim"),
        done.unchanged.len()
    );
    if !done.removed.is_empty() {
        text += &format!(", {would}removed: {}", done.removed.join(", "));
    }
    text.push('\n');
    for name in done.written.iter().filter(|_| done.dry_run) {
        text += &format!("  {name}\n");
    }
    if done.dry_run {
        text += "Nothing was written.\n";
    }
    text
}

enum Found {
    Nothing,
    Shim,
    Stranger,
}

/// Looks at what is at a path; a link is somebody else's, wherever it leads.
fn head(path: &Path) -> std::io::Result<Found> {
    match path.symlink_metadata() {
        Ok(stat) if stat.is_file() => {}
        Ok(_) => return Ok(Found::Stranger),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(HEAD).read_to_end(&mut bytes)?;
    let second = bytes.split(|byte| *byte == b'\n').nth(1).unwrap_or_default();
    Ok(if second.starts_with(MARK.as_bytes()) { Found::Shim } else { Found::Stranger })
}

/// Finds shims that no name stands for any more.
fn left_over(dir: &Path, names: &[String]) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let known =
            path.file_name().is_some_and(|name| names.iter().any(|known| name == known.as_str()));
        if !known && matches!(head(&path)?, Found::Shim) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Puts a shim in place whole: a cron job may run the old one at this moment.
fn place(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut name = OsString::from(".cairn-");
    name.push(path.file_name().unwrap_or_default());
    let temporary = path.with_file_name(name);
    let _ = std::fs::remove_file(&temporary);
    let mut file = File::create_new(&temporary)?;
    file.write_all(text)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o755))?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}
