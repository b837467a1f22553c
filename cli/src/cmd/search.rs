//! `cairn blame` and `cairn find`.

use std::fmt::Write as _;

use cairn_releng::history::{self, Blame, Found, Package, Search, Step, Unreadable, Who};
use cairn_store::path::{Escaped, RelPath};
use cairn_store::refs::RefName;

use super::report::short;
use super::{Context, Exit};
use crate::args::{BlameArgs, FindArgs};
use crate::failure::Failure;
use crate::output::{Output, Table, count, size};

/// `cairn blame`.
pub fn blame(context: &Context<'_>, args: &BlameArgs) -> Exit {
    let name = RefName::new(args.name.as_str())?;
    let path = RelPath::new(&args.path).map_err(|reason| {
        let message = format!("{:?} is not a path in a tree: {reason}", args.path);
        Failure::usage(message, "such as BaseOS/x86_64/os")
    })?;
    let site = context.site(None)?;
    let blame = history::blame(&site, &name, &path)?;
    context.output.notes(site.store.notes());
    if context.output.json {
        return Ok(context.output.document("blame", &blame).map(|()| 0)?);
    }
    Ok(context.output.text(&blame_text(context.output, &blame)).map(|()| 0)?)
}

fn blame_text(output: &Output, blame: &Blame) -> String {
    if let [only] = blame.files.as_slice()
        && only.path == blame.path
    {
        let object = only.object.map_or_else(|| "a link".to_owned(), |id| short(&id));
        let mut text =
            format!("{}  {object}  {}\n", output.strong(&only.path.to_string()), size(only.size));
        for step in std::iter::once(&only.step).chain(&only.from) {
            text += &step_text(output, step);
        }
        return text;
    }
    if blame.files.is_empty() {
        return "There is no file in it.\n".to_owned();
    }
    let mut table = Table::default();
    for file in &blame.files {
        let who = &file.step.operation;
        let sure = if file.step.uncertain { "≤ " } else { "" };
        table.row([
            output.strong(&format!("{sure}{} {}", who.number, Escaped(who.verb.as_bytes()))),
            format!("{:.0}", who.time),
            Escaped(who.user.as_bytes()).to_string(),
            file.path.to_string(),
        ]);
    }
    table.render("", output.width)
}

fn step_text(output: &Output, step: &Step) -> String {
    let mut text = format!("  {}  {}\n", output.strong(&step.name), who_text(&step.operation));
    if step.uncertain {
        let why = "or an earlier operation: snapshots before it were collected";
        let _ = writeln!(text, "    {}", output.warn(why));
    }
    if let Some(reason) = &step.operation.reason {
        let _ = writeln!(text, "    {}", output.warn(&Escaped(reason.as_bytes()).to_string()));
    }
    for (key, value) in &step.facts {
        let fact = format!("{}: {}", Escaped(key.as_bytes()), Escaped(value.as_bytes()));
        let _ = writeln!(text, "    {}", output.faint(&fact));
    }
    text
}

fn who_text(who: &Who) -> String {
    let [verb, user, host] = [&who.verb, &who.user, &who.host].map(|word| Escaped(word.as_bytes()));
    format!("operation {} {verb}  {:.0}  {user}@{host}", who.number, who.time)
}

/// `cairn find`.
pub fn find(context: &Context<'_>, args: &FindArgs) -> Exit {
    let site = context.site(None)?;
    let search = history::find(&site, &args.what, &context.progress)?;
    context.progress.finish();
    context.output.notes(site.store.notes());
    if search.collected > 0 {
        let gone = count(search.collected as u64, "snapshot");
        context.output.notes(&[format!("{gone} could not be searched: they were collected.")]);
    }
    context.output.notes(&unreadable(&search.unreadable));
    if context.output.json {
        return Ok(context.output.document("find", &search).map(|()| 0)?);
    }
    Ok(context.output.text(&find_text(context.output, &search)).map(|()| 0)?)
}

/// How many repos whose metadata could not be asked are named.
const NAMED: usize = 10;

fn unreadable(repos: &[Unreadable]) -> Vec<String> {
    let named = repos.iter().take(NAMED);
    let mut notes: Vec<String> = named
        .map(|one| format!("The packages of {} are not known: {}.", one.repo, one.message))
        .collect();
    if repos.len() > NAMED {
        let more = count((repos.len() - NAMED) as u64, "more repo");
        notes.push(format!("Nor are those of {more}."));
    }
    notes
}

fn find_text(output: &Output, search: &Search) -> String {
    if search.found.is_empty() {
        let query = Escaped(search.query.as_bytes());
        let searched = count(search.snapshots as u64, "snapshot");
        return format!("No {} {query} in {searched}.\n", search.kind);
    }
    let mut text = String::new();
    for refs in search.found.chunk_by(|a, b| a.name == b.name) {
        let _ = writeln!(text, "{}", output.strong(&refs[0].name));
        for paths in refs.chunk_by(|a, b| a.path == b.path) {
            let there = |one: &&Package| {
                one.path == paths[0].path && paths.iter().any(|found| found.object == one.object)
            };
            let package = search.packages.iter().find(there).map(|one| &one.package);
            let shown = package.map(|one| format!("  {}", Escaped(one.as_bytes())));
            let shown = output.faint(&shown.unwrap_or_default());
            let _ = writeln!(text, "  {}{shown}", paths[0].path);
            for found in paths {
                let _ = writeln!(text, "    {}", found_text(output, found, package.is_some()));
            }
        }
    }
    text
}

fn found_text(output: &Output, found: &Found, is_listed: bool) -> String {
    let what = match &found.object {
        Some(id) => format!("{}  {}", short(id), size(found.size)),
        None if is_listed => output.warn("listed, and not there"),
        None => "no file".to_owned(),
    };
    let end = match &found.until {
        None => output.good("there now"),
        Some(who) => output.bad(&format!("until operation {} ({:.0})", who.number, who.time)),
    };
    let since = &found.since;
    let snapshots = count(found.snapshots.len() as u64, "snapshot");
    format!("{what}  since operation {} ({:.0})  {end}  {snapshots}", since.number, since.time)
}
