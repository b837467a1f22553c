//! Ingest: a compose becomes a ref.

use std::path::Path;

use cairn_store::ingest::{Counts, How, Placement};
use cairn_store::path::display;
use cairn_store::progress::Observer;
use cairn_store::refs::RefName;

use super::moves::ref_name;
use super::turn::Turn;
use crate::compose::{Compose, Unfinished};
use crate::error::{Error, Result};
use crate::names::guess_compose_ref;
use crate::report::{Mode, Report};
use crate::site::Site;

/// How a compose is taken.
#[derive(Clone, Debug, Default)]
pub struct IngestOptions {
    /// The ref; guessed from the compose's name when none is given.
    pub name: Option<String>,
    /// How content gets in, and which files need not be read.
    pub how: How,
    /// Whether an unfinished compose is taken.
    pub unfinished: Unfinished,
    /// Whether to act.
    pub mode: Mode,
}

/// Takes a compose into the store and moves its ref.
pub fn ingest(
    site: &Site,
    dir: &Path,
    options: &IngestOptions,
    observer: &dyn Observer,
) -> Result<Report> {
    let compose = Compose::open(dir, options.unfinished)?;
    let name = match &options.name {
        Some(name) => RefName::new(name)?,
        None => guess(site, dir, &compose)?,
    };
    let home = site.home()?;
    if options.mode == Mode::DryRun {
        return dry_run(site, compose, name, how(site, options), observer);
    }
    let mut turn =
        Turn::begin(site, "ingest", options.mode, std::slice::from_ref(&name), observer)?;
    turn.report.notes.extend(compose.notes);
    let old = site.current(&name)?;
    let how = how(site, options);
    let found = site.store.ingest(&turn.draft, &compose.tree, home.pool(), how, observer)?;
    turn.report.notes.extend(passed_over(&found.counts));
    turn.report.ingested = Some(found.counts);
    turn.inodes = found.inodes;
    let root = turn.settled(old.as_ref().map(|(_, root)| root), found.root)?;
    let moves = vec![turn.to_tree(name, old, root, compose.facts, [])];
    turn.finish(moves)
}

fn how(site: &Site, options: &IngestOptions) -> How {
    match site.config.compose.immutable {
        true => How { placement: Placement::Link, ..options.how },
        false => options.how,
    }
}

/// Says what an ingest would read, without reading it.
fn dry_run(
    site: &Site,
    compose: Compose,
    name: RefName,
    how: How,
    observer: &dyn Observer,
) -> Result<Report> {
    let home = site.home()?;
    let counts = site.store.survey(&compose.tree, home.pool(), how, observer)?;
    let mut report = Report { verb: "ingest", dry_run: true, ..Report::default() };
    report.notes = site.store.notes().iter().cloned().chain(compose.notes).collect();
    report.notes.push(format!(
        "{} would be read into {name}: {} files are new or changed, of {}.",
        display(&compose.dir),
        counts.files_read,
        counts.files
    ));
    report.notes.extend(passed_over(&counts));
    report.ingested = Some(counts);
    Ok(report)
}

/// Says that there are files which no release has, if there are any.
fn passed_over(counts: &Counts) -> Option<String> {
    let (files, go) = match counts.passed_over {
        0 => return None,
        1 => ("1 removed file".to_owned(), "It goes by itself."),
        more => (format!("{more} removed files"), "They go by themselves."),
    };
    Some(format!("Left out: {files} that somebody has open (.nfs…, .fuse_hidden…). {go}"))
}

fn guess(site: &Site, dir: &Path, compose: &Compose) -> Result<RefName> {
    let guess = |path: &Path| guess_compose_ref(&site.config, path.to_str()?);
    match guess(dir).or_else(|| guess(&compose.dir)) {
        Some(name) => ref_name(name),
        None => Err(Error::NoGuess(dir.to_owned())),
    }
}
