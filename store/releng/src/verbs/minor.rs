//! Minor: all composes of a release become its staging view, ready to be released.

use cairn_store::fs::{Time, canonical};
use cairn_store::id::SnapshotId;
use cairn_store::path::{RelPath, display};
use cairn_store::progress::Observer;
use cairn_store::publish::Intent;
use cairn_store::snapshot::Origin;
use cairn_store::transform::settle_times;
use cairn_store::tree::{DirEntry, Draft};

use super::moves::{Destination, Move, Moves, link_moves, ref_name};
use crate::config::Environment;
use crate::error::{Error, Result};
use crate::minor::{Assembly, Part, assemble};
use crate::names::ReleaseView;
use crate::report::{Mode, Report};
use crate::signing::{Signer, TreeSigner};
use crate::site::Site;

/// Stages all composes of a release as a minor release: `9`, `9-beta`, `9-lookahead`.
///
/// The view becomes exactly what the composes say. Links beside it lead to it in the same operation.
///
/// # Errors
/// Composes that have not been ingested, all of them named; what cannot be read of a compose; and
/// what cannot be signed. Nothing is published then.
pub fn minor(site: &Site, release: &str, mode: Mode, observer: &dyn Observer) -> Result<Report> {
    let release = site.config.release(release)?;
    let name = ref_name(release.staging_ref())?;
    let links = site.release_links(&release, Environment::Staging)?;
    // Before the locks, whose files are named after the refs.
    composes(site, &release)?;
    let mut report = Report::default();
    let mut locked = vec![name.clone()];
    locked.extend(links.iter().map(|link| link.spec.name.clone()));
    let writer = match mode {
        Mode::Apply => Some(site.store.writer(&locked)?),
        Mode::DryRun => None,
    };
    report.notes = match &writer {
        Some(writer) => site.recover(writer, observer)?,
        None => site.store.notes().to_vec(),
    };
    let sources = composes(site, &release)?;
    report.notes.extend(doubts(&release, &sources)?);
    let old = site.current(&name)?;
    let old_root = old.map(|(_, root)| root);
    let draft = Draft::new(&site.store);
    let parts: Vec<Part> = sources.iter().map(|source| source.part()).collect();
    let assembly = Assembly {
        site,
        release: &release,
        draft: &draft,
        parts: &parts,
        before: old_root.as_ref(),
        mode,
    };
    let made = assemble(&assembly, observer)?;
    report.notes.extend(made.notes);
    report.repos = made.repos;
    report.kickstarts = made.kickstarts;
    report.signed = made.media.signed.clone();
    report.media = Some(made.media);
    let root =
        finish(site, &draft, &release, old_root.as_ref(), made.root, mode, &mut report, observer)?;

    let mut origin = Origin { verb: "minor".into(), ..Origin::default() };
    for source in &sources {
        origin.facts.insert(source.name.clone(), source.id.to_string());
    }
    let parents = old.iter().map(|(id, _)| *id).chain(sources.iter().map(|source| source.id));
    let new = Destination::Tree { root, origin, parents: parents.collect() };
    let mut all = vec![Move { name, old, new }];
    all.extend(link_moves(site, &draft, "minor", &links)?);
    let moves = Moves {
        site,
        draft: &draft,
        verb: "minor",
        moves: all,
        intent: Intent::Forward,
        details: serde_json::Value::Null,
        inodes: Vec::new(),
    };
    moves.run(mode, writer.as_ref(), report, observer)
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

/// Settles times and signs what has no good signature.
#[expect(clippy::too_many_arguments, reason = "one step of one verb, with all that it knows")]
fn finish(
    site: &Site,
    draft: &Draft<'_>,
    release: &ReleaseView<'_>,
    old: Option<&DirEntry>,
    made: DirEntry,
    mode: Mode,
    report: &mut Report,
    observer: &dyn Observer,
) -> Result<DirEntry> {
    let mut root = made;
    if let Some(signer) = Signer::for_release(&site.config, release)? {
        let source = |file: &_, path: &RelPath| site.open_draft(draft, file, path);
        let time = Time { secs: jiff::Timestamp::now().as_second(), nanos: 0 };
        let signer = TreeSigner { draft, source: &source, signer: &signer, time, mode };
        let signed = signer.sign(old, &root, observer)?;
        root = signed.root;
        report.signed.extend(signed.signed);
    }
    if let Some(old) = old {
        let settled = settle_times(draft, old, &root)?;
        root = settled.root;
        report.times_moved = settled.moved;
    }
    Ok(root)
}
