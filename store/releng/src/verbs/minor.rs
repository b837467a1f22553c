//! Minor: all composes of a release become its staging view, ready to be released.

use cairn_store::fs::canonical;
use cairn_store::id::SnapshotId;
use cairn_store::path::display;
use cairn_store::progress::Observer;
use cairn_store::tree::DirEntry;

use super::judge::Asked;
use super::moves::ref_name;
use super::turn::Turn;
use crate::config::Environment;
use crate::error::{Error, Result};
use crate::minor::{Assembly, Part, assemble};
use crate::names::ReleaseView;
use crate::report::{Mode, Report};
use crate::site::Site;

/// How a minor release is staged.
#[derive(Clone, Debug, Default)]
pub struct MinorOptions {
    /// Gates that the operator does not want asked; the session must say why.
    pub skip_gates: Vec<String>,
    /// Whether to act.
    pub mode: Mode,
}

/// Stages all composes of a release as a minor release: `9`, `9-beta`, `9-lookahead`.
///
/// The view becomes exactly what the composes say. Links beside it lead to it in the same operation.
///
/// # Errors
/// Composes that have not been ingested, all of them named; what cannot be read of a compose; what
/// cannot be signed; and gates that fail. Nothing is published then.
pub fn minor(
    site: &Site,
    release: &str,
    options: &MinorOptions,
    observer: &dyn Observer,
) -> Result<Report> {
    let mode = options.mode;
    let release = site.config.release(release)?;
    let name = ref_name(release.staging_ref())?;
    let links = site.release_links(&release, Environment::Staging)?;
    // Before the locks, whose files are named after the refs.
    composes(site, &release)?;
    let asked = Asked::of(site, Environment::Staging, &options.skip_gates)?;
    let mut locked = vec![name.clone()];
    locked.extend(links.iter().map(|link| link.spec.name.clone()));
    let mut turn = Turn::begin(site, "minor", mode, &locked, observer)?;
    let sources = composes(site, &release)?;
    turn.report.notes.extend(doubts(&release, &sources)?);
    let old = site.current(&name)?;
    let old_root = old.map(|(_, root)| root);
    let parts: Vec<Part> = sources.iter().map(|source| source.part()).collect();
    let assembly = Assembly {
        site,
        release: &release,
        draft: &turn.draft,
        parts: &parts,
        before: old_root.as_ref(),
        mode,
    };
    let made = assemble(&assembly, observer)?;
    turn.report.notes.extend(made.notes);
    turn.report.repos = made.repos;
    turn.report.kickstarts = made.kickstarts;
    turn.report.signed = made.media.signed.clone();
    turn.report.media = Some(made.media);
    let root = turn.signed(&release, old_root.as_ref(), made.root)?;
    let root = turn.settled(old_root.as_ref(), root)?;
    turn.judge_staged(&asked, release, &name, old_root, root)?;
    let fact = |source: &Source| (source.name.clone(), source.id.to_string());
    let facts = sources.iter().map(fact).collect();
    let made_of = sources.iter().map(|source| source.id);
    let mut moves = vec![turn.to_tree(name, old, root, facts, made_of)];
    moves.extend(turn.link_moves(&links)?);
    turn.finish(moves)
}

/// A compose of the release, as it was ingested.
struct Source {
    short: String,
    name: String,
    id: SnapshotId,
    root: DirEntry,
    /// The directory that it was, and the release that it says it is of.
    dir: Option<String>,
    version: Option<String>,
}

impl Source {
    fn part(&self) -> Part {
        Part { short: self.short.clone(), root: self.root, dir: self.dir.clone() }
    }
}

/// Returns all composes that the release is made of.
fn composes(site: &Site, release: &ReleaseView<'_>) -> Result<Vec<Source>> {
    let (mut sources, mut missing) = (Vec::new(), Vec::new());
    for short in &release.section().composes {
        let name = ref_name(release.compose_ref(short)?)?;
        let Some((id, root)) = site.current(&name)? else {
            missing.push((name.to_string(), release.compose_path(short)?));
            continue;
        };
        let facts = site.store.snapshot(&id)?.origin.facts;
        let fact = |key: &str| facts.get(key).cloned();
        let (dir, version) = (fact("directory"), fact("release_version"));
        sources.push(Source {
            short: short.clone(),
            name: name.to_string(),
            id,
            root,
            dir,
            version,
        });
    }
    match missing.is_empty() {
        true => Ok(sources),
        false => Err(Error::MissingComposes { release: release.name(), missing }),
    }
}

/// Says what about the composes looks like a mistake: one of another release, and one that was
/// ingested before the one that is the latest now.
fn doubts(release: &ReleaseView<'_>, sources: &[Source]) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    let (name, version) = (release.name(), release.version().to_string());
    for Source { short, name: source, dir, version: said, .. } in sources {
        if let Some(said) = said.as_ref().filter(|said| **said != version) {
            notes.push(format!(
                "{source} says that it is of {said}, and release {name} is {version}."
            ));
        }
        let latest = release.compose_path(short)?;
        // A compose that is gone, or elsewhere, is nothing to doubt: it is in the store.
        if let (Some(dir), Ok(found)) = (dir, canonical(latest.as_ref())) {
            let found = display(&found).to_string();
            if found != *dir {
                notes.push(format!(
                    "{source} was ingested from {dir}, and {latest} is {found} now: cairn ingest \
                     {latest} takes that in."
                ));
            }
        }
    }
    Ok(notes)
}
