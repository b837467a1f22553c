//! `cairn diff`: one comparison, in four forms.
//!
//! [`page`] says once what a report shows, section by section; [`text`], [`markdown`] and
//! [`html`] only say how. JSON is the audit itself.

mod html;
mod markdown;
mod page;
mod text;

use std::path::Path;

use cairn_releng::Site;
use cairn_releng::audit::{self, Audit, Broken, Filter, Level, Options};
use cairn_store::diff::Changed;
use cairn_store::fs::{Dir, Kind};
use cairn_store::id::SnapshotId;
use cairn_store::path::display;
use cairn_store::progress::Observer;
use cairn_store::refs::{RefName, Rev};
use cairn_store::tree::{DirEntry, FileEntry};
use serde::Serialize;

use super::{Context, Exit};
use crate::args::{By, DiffArgs, Format};
use crate::failure::Failure;
use crate::output::{self, size};

pub use text::{package_lines, render};

/// The exit code for differences, when it was asked for.
const DIFFERENT: u8 = 3;
/// How many publications of a ref a page shows.
const PUBLICATIONS: usize = 40;
/// The permission bits of a report that was not there.
const MODE: u32 = 0o644;

#[derive(Serialize)]
struct Document<'a> {
    old: SnapshotId,
    new: SnapshotId,
    different: bool,
    by: &'static str,
    #[serde(flatten)]
    audit: &'a Audit,
}

/// One of the two snapshots.
struct Side {
    /// As it was typed.
    rev: String,
    id: SnapshotId,
    time: jiff::Timestamp,
    files: u64,
    bytes: u64,
}

/// What a report is made of.
pub struct Review {
    old: Side,
    new: Side,
    by: By,
    /// The filter as it was typed; nothing if there is none.
    filter: Option<String>,
    /// What differs.
    pub audit: Audit,
    /// What the refs named before, for the page only.
    histories: Vec<History>,
}

/// What a ref named, oldest first.
struct History {
    name: String,
    publications: Vec<Publication>,
}

/// An operation that moved a ref.
struct Publication {
    number: u64,
    time: jiff::Timestamp,
    user: String,
    verb: String,
    reason: Option<String>,
    /// How large it is; nothing where it was removed or collected.
    bytes: Option<u64>,
    /// What differs from the one before; nothing where one of the two is not there any more.
    changed: Option<Changed>,
    /// Whether nothing was there before.
    is_first: bool,
    /// Whether it is one of the two sides.
    mark: Option<&'static str>,
}

/// Compares two snapshots.
pub fn run(context: &Context<'_>, args: &DiffArgs) -> Exit {
    let output = context.output;
    let format = match (output.json, args.format) {
        (true, Format::Text) => Format::Json,
        (true, Format::Markdown | Format::Html) => {
            return Err(Failure::usage(
                "--json and --format name two forms",
                "leave one of them out",
            ));
        }
        (_, format) => format,
    };
    let site = context.site(None)?;
    let review = compare(&site, args, format, &context.progress)?;
    context.progress.finish();
    let different = !review.audit.is_empty();
    output.notes(site.store.notes());
    let report = match format {
        Format::Text => text::render(output, &review),
        Format::Json => {
            let Review { old, new, audit, .. } = &review;
            let by = name(review.by);
            let document = Document { old: old.id, new: new.id, different, by, audit };
            output::document("diff", &document)?
        }
        Format::Markdown => markdown::render(&review, output.verbose > 0),
        Format::Html => html::render(&review, output.verbose > 0),
    };
    match (&args.file, format) {
        (Some(file), _) => {
            write_whole("-o", file, report.as_bytes(), None)?;
            let bytes = size(report.len() as u64);
            output.notes(&[format!("Wrote {bytes} to {}", display(file))]);
        }
        // A document is data, which --quiet does not silence.
        (None, Format::Json) => output.write(report.as_bytes())?,
        (None, Format::Text | Format::Markdown | Format::Html) => output.text(&report)?,
    }
    Ok(if different && args.exit_code { DIFFERENT } else { 0 })
}

impl Side {
    fn of(site: &Site, rev: String, id: SnapshotId) -> Result<(Self, DirEntry), Failure> {
        let snapshot = site.store.snapshot(&id)?;
        let root = snapshot.root();
        let (files, bytes) = (root.files, root.bytes);
        Ok((Side { rev, id, time: snapshot.time, files, bytes }, root))
    }
}

impl Review {
    /// Compares two snapshots, everything in them.
    pub fn between(
        site: &Site,
        old: SnapshotId,
        new: SnapshotId,
        by: By,
        observer: &dyn Observer,
    ) -> Result<Self, Failure> {
        let side = |id: SnapshotId| Side::of(site, id.to_string(), id);
        Self::of(site, side(old)?, side(new)?, by, (Filter::default(), None), observer)
    }

    fn of(
        site: &Site,
        (old, before): (Side, DirEntry),
        (new, after): (Side, DirEntry),
        by: By,
        (filter, typed): (Filter, Option<String>),
        observer: &dyn Observer,
    ) -> Result<Self, Failure> {
        observer.begin("Comparing", 0, 0);
        let level = match by {
            By::Files => Level::Files,
            By::Packages => Level::Packages,
            By::Metadata => Level::Metadata,
            By::All => Level::Everything,
        };
        let open = |file: &FileEntry, path: &_| {
            observer.advance(1, file.size);
            site.open_content(file, path)
        };
        let options = Options { broken: Broken::Report, filter };
        let (before, after) = (Some(&before), Some(&after));
        let audit = audit::compare(&site.store, &open, before, after, level, &options)
            .map_err(cairn_releng::Error::from)?;
        Ok(Review { old, new, by, filter: typed, audit, histories: Vec::new() })
    }
}

fn compare(
    site: &Site,
    args: &DiffArgs,
    format: Format,
    observer: &dyn Observer,
) -> Result<Review, Failure> {
    let by = args.by.unwrap_or(match format {
        Format::Text | Format::Json => By::Files,
        Format::Markdown | Format::Html => By::All,
    });
    let filter =
        Filter::new(&args.repos, &args.arches, &args.names).map_err(cairn_releng::Error::from)?;
    let side = |rev: &String| Side::of(site, rev.clone(), site.resolve(rev)?);
    let typed = [("--repo", &args.repos), ("--arch", &args.arches), ("--name", &args.names)];
    let typed =
        typed.iter().flat_map(|(flag, list)| list.iter().map(move |v| format!("{flag} {v}")));
    let typed: Vec<_> = typed.collect();
    let typed = Some(typed.join(" ")).filter(|typed| !typed.is_empty());
    let (old, new) = (side(&args.old)?, side(&args.new)?);
    let mut review = Review::of(site, old, new, by, (filter, typed), observer)?;
    if format == Format::Html {
        review.histories = histories(site, &review)?;
    }
    Ok(review)
}

/// Returns the histories of the refs that were typed, the newer side's first.
fn histories(site: &Site, review: &Review) -> Result<Vec<History>, Failure> {
    let mut names: Vec<RefName> = Vec::new();
    for side in [&review.new, &review.old] {
        match Rev::parse(&side.rev)? {
            Rev::Ref(name) | Rev::Before(name, _) | Rev::At(name, _) if !names.contains(&name) => {
                names.push(name);
            }
            Rev::Ref(_) | Rev::Before(..) | Rev::At(..) | Rev::Snapshot(_) | Rev::Prefix(_) => {}
        }
    }
    names.iter().map(|name| history(site, review, name)).collect()
}

fn history(site: &Site, review: &Review, name: &RefName) -> Result<History, Failure> {
    let moves = site.store.index().view()?.history(name)?;
    let mut publications = Vec::new();
    for (number, snapshot) in moves.into_iter().take(PUBLICATIONS) {
        let operation = site.store.operation(number)?;
        let old = operation.edits.iter().find(|edit| edit.name == *name).and_then(|edit| edit.old);
        let root = |id: Option<SnapshotId>| -> Result<_, Failure> {
            let Some(id) = id else { return Ok(None) };
            Ok(site.store.try_snapshot(&id)?.map(|snapshot| snapshot.root()))
        };
        let (before, after) = (root(old)?, root(snapshot)?);
        let known = old.is_some() == before.is_some() && snapshot.is_some() == after.is_some();
        let changed = match known {
            true => Some(Changed::between(&site.store, before.as_ref(), after.as_ref())?),
            false => None,
        };
        let mark = match snapshot {
            Some(id) if id == review.new.id => Some("after"),
            Some(id) if id == review.old.id => Some("before"),
            _ => None,
        };
        publications.push(Publication {
            number,
            time: operation.time,
            user: operation.user,
            verb: operation.verb,
            reason: operation.reason,
            bytes: after.map(|root| root.bytes),
            changed,
            is_first: old.is_none(),
            mark,
        });
    }
    publications.reverse();
    Ok(History { name: name.to_string(), publications })
}

fn name(by: By) -> &'static str {
    match by {
        By::Files => "files",
        By::Packages => "packages",
        By::Metadata => "metadata",
        By::All => "all",
    }
}

/// Writes a file whole: who reads it finds the old report or the new one. `what` names the flag or
/// command that it belongs to. Without a mode the file keeps that which it has.
pub fn write_whole(
    what: &str,
    file: &Path,
    bytes: &[u8],
    mode: Option<u32>,
) -> Result<(), Failure> {
    use std::os::unix::ffi::OsStrExt;
    let Some(name) = file.file_name() else {
        let message = format!("{what} {}: this names a directory", display(file));
        return Err(Failure::usage(message, "name the file in it"));
    };
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let dir = Dir::open(parent.unwrap_or(Path::new(".")))?;
    // A device or a link would be replaced by the file, and nobody means that.
    let stat = dir.try_stat(name.as_bytes())?;
    if stat.as_ref().is_some_and(|stat| stat.kind != Kind::File) {
        let message = format!("{what} {}: it is there and is no regular file", display(file));
        return Err(Failure::usage(message, "name another file"));
    }
    let mode = mode.or(stat.map(|stat| stat.mode)).unwrap_or(MODE);
    Ok(dir.replace(name.as_bytes(), bytes, mode)?)
}
