//! SIGs: their composes become projects of one staging view, each of them on its own.

use std::collections::BTreeMap;

use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::refs::RefName;
use cairn_store::transform::{exclude, graft, overlay};
use cairn_store::tree::{DirEntry, Draft, Entry, lookup};
use globset::GlobSet;

use super::Merge;
use super::judge::Asked;
use super::moves::ref_name;
use super::stage::{StageOptions, is_repodata, merge_name};
use super::turn::Turn;
use crate::config::Environment;
use crate::error::{Error, Result};
use crate::names::{ReleaseView, SigView, sig_compose};
use crate::report::Report;
use crate::repos::Inputs;
use crate::site::{Site, glob_set};

/// The directory of a compose that describes the compose and is no part of what a SIG ships.
const METADATA: &[u8] = b"metadata";

/// Stages composes of a SIG, each in the directory of its project.
///
/// Without `composes`, `sig` is the short name of one compose (`kernel` of `SIG-kernel`), else the
/// name of a SIG, all of whose composes are meant. With them it is the SIG's name.
///
/// # Errors
/// Names that are not configured, composes that are not ingested, and what staging refuses.
pub fn stage_sig(
    site: &Site,
    release: &str,
    sig: &str,
    composes: &[String],
    options: &StageOptions,
    observer: &dyn Observer,
) -> Result<Report> {
    let release = site.config.release(release)?;
    let sig = match composes {
        [] => release.sig(sig)?,
        _ => release.sig_composes(sig, composes)?,
    };
    let name = ref_name(sig.staging_ref.clone())?;
    let sources = sources(site, &release, &sig)?;
    let asked = Asked::of(site, Environment::Staging, &options.skip_gates)?;
    let mut turn = Turn::begin(site, "stage", options.mode, std::slice::from_ref(&name), observer)?;
    let old = site.current(&name)?;
    let old_root = old.map(|(_, root)| root);
    let excluded = glob_set("defaults.update_exclude", &site.config.defaults.update_exclude)?;
    let mut root = old_root;
    let mut trees = Vec::new();
    for source in &sources {
        let part = match options.merge {
            Merge::Keep => without_extras(&turn.draft, &source.root, &excluded)?,
            Merge::Exact => source.root,
        };
        let others = others(&release, &sig, &source.project)?;
        root = Some(laid(&turn.draft, root, &source.project, &part, &others, options.merge)?);
        trees.push(alone(&turn.draft, &source.project, &part)?);
    }
    let root = root.ok_or_else(|| Error::Setting {
        key: format!("release.{}.sigs", release.major()),
        reason: format!("the sig {} has no compose", sig.sig),
    })?;
    let mut root = turn.settled(old_root.as_ref(), root)?;
    if options.merge == Merge::Keep {
        // A SIG's repos are not those of the release, so its comps and modules are those of its
        // own composes, which their metadata has.
        let (composes, advisories) = (Vec::new(), BTreeMap::new());
        let inputs = Inputs { release: &release, trees, composes, advisories };
        let projects: Vec<RelPath> = sources.iter().map(|source| source.project.clone()).collect();
        root = described_projects(&mut turn, old_root.as_ref(), &root, &projects, &inputs)?;
    }
    turn.judge_staged(&asked, release, &name, old_root, root)?;
    let fact = |source: &Source| (source.name.to_string(), source.snapshot.to_string());
    let mut facts: BTreeMap<_, _> = sources.iter().map(fact).collect();
    facts.insert("merge".into(), merge_name(options.merge).into());
    let moves = vec![turn.to_tree(name, old, root, facts, sources.iter().map(|s| s.snapshot))];
    turn.finish(moves)
}

/// Describes these projects of a SIG's tree; the others are neither described nor signed anew.
pub(super) fn described_projects(
    turn: &mut Turn<'_>,
    old: Option<&DirEntry>,
    root: &DirEntry,
    projects: &[RelPath],
    inputs: &Inputs<'_>,
) -> Result<DirEntry> {
    let before = old.map(|old| only(&turn.draft, old, projects)).transpose()?;
    let part = only(&turn.draft, root, projects)?;
    let made = turn.described(before.as_ref(), &part, inputs)?;
    exchanged(&turn.draft, root, &made, projects)
}

/// A compose of a SIG, and where in the SIG's view it belongs.
struct Source {
    name: RefName,
    snapshot: cairn_store::id::SnapshotId,
    root: DirEntry,
    project: RelPath,
}

fn sources(site: &Site, release: &ReleaseView<'_>, sig: &SigView) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for (short, project) in &sig.composes {
        let name = ref_name(sig.compose_ref(release, short)?)?;
        let Some((snapshot, root)) = site.current(&name)? else {
            let path = release.compose_path(&sig_compose(short))?;
            return Err(Error::NotIngested { name: name.to_string(), path });
        };
        sources.push(Source { name, snapshot, root, project: project_path(project)? });
    }
    Ok(sources)
}

/// Returns a project's directory in the SIG's view; the view itself for a SIG that is one compose.
pub(super) fn project_path(project: &str) -> Result<RelPath> {
    RelPath::new(project).map_err(|reason| Error::Setting {
        key: format!("sigs (project {project:?})"),
        reason: reason.to_owned(),
    })
}

/// Leaves out of a compose what update syncs leave out, and what describes the compose.
///
/// Only directly in the compose: deeper down a directory called `images` or `boot` is the SIG's own.
fn without_extras(draft: &Draft<'_>, compose: &DirEntry, excluded: &GlobSet) -> Result<DirEntry> {
    let leaves_out = |path: &RelPath| {
        let mut names = path.names();
        let (first, below) = (names.next().unwrap_or_default(), names.next());
        below.is_none()
            && (first == METADATA
                || std::str::from_utf8(first).is_ok_and(|name| excluded.is_match(name)))
    };
    Ok(exclude(draft, compose, &leaves_out)?)
}

/// Returns the directories of the SIG's projects that are inside of this one's.
fn others(release: &ReleaseView<'_>, sig: &SigView, project: &RelPath) -> Result<Vec<RelPath>> {
    let mut others = Vec::new();
    for (_, other) in &release.sig_group(&sig.sig)?.composes {
        let other = project_path(other)?;
        if other != *project && is_below(&other, project) {
            others.push(other);
        }
    }
    Ok(others)
}

fn is_below(path: &RelPath, dir: &RelPath) -> bool {
    let mut names = path.names();
    dir.names().all(|name| names.next() == Some(name))
}

/// Lays a part into a SIG's tree at its project; nothing else of the tree is touched, and neither
/// are the projects of `others`, which lie inside of this one.
fn laid(
    draft: &Draft<'_>,
    base: Option<DirEntry>,
    project: &RelPath,
    part: &DirEntry,
    others: &[RelPath],
    merge: Merge,
) -> Result<DirEntry> {
    let Some(base) = base else { return alone(draft, project, part) };
    let mut here = match (lookup(draft, &base, project)?, merge) {
        (Some(Entry::Dir(old)), Merge::Keep) => overlay(draft, &old, part, &is_repodata)?,
        (Some(_), Merge::Exact | Merge::Keep) | (None, _) => *part,
    };
    if merge == Merge::Exact {
        for other in others {
            let inside = other.names().skip(project.names().count());
            let inside = inside.fold(RelPath::ROOT, |path, name| path.join(name));
            if let Some(kept) = lookup(draft, &base, other)? {
                here = graft(draft, &here, &inside, Some(kept))?;
            }
        }
    }
    Ok(graft(draft, &base, project, Some(Entry::Dir(here)))?)
}

/// Returns a tree that holds nothing but a part, at its project.
fn alone(draft: &Draft<'_>, project: &RelPath, part: &DirEntry) -> Result<DirEntry> {
    let empty = draft.empty(0o755, part.mtime);
    Ok(graft(draft, &empty, project, Some(Entry::Dir(*part)))?)
}

/// Returns of a SIG's tree only these projects, where it has them.
pub(super) fn only(draft: &Draft<'_>, root: &DirEntry, projects: &[RelPath]) -> Result<DirEntry> {
    let mut result = draft.empty(root.mode, root.mtime);
    for project in projects {
        if let Some(entry @ Entry::Dir(_)) = lookup(draft, root, project)? {
            result = graft(draft, &result, project, Some(entry))?;
        }
    }
    Ok(result)
}

/// Returns a SIG's tree with exactly these projects of another one, and all else as it was.
pub(super) fn exchanged(
    draft: &Draft<'_>,
    old: &DirEntry,
    new: &DirEntry,
    projects: &[RelPath],
) -> Result<DirEntry> {
    let mut result = *old;
    for project in projects {
        let entry = lookup(draft, new, project)?;
        if entry.is_some() || lookup(draft, &result, project)?.is_some() {
            result = graft(draft, &result, project, entry)?;
        }
    }
    Ok(result)
}
