//! Stage: composes become the release's staging view.

use std::collections::BTreeMap;

use cairn_store::id::SnapshotId;
use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::refs::RefName;
use cairn_store::transform::{exclude, overlay};
use cairn_store::tree::{DirEntry, Draft};

use super::Merge;
use super::judge::Asked;
use super::moves::ref_name;
use super::turn::Turn;
use crate::config::Environment;
use crate::error::{Error, Result};
use crate::report::{Mode, Report};
use crate::repos::{ComposeInput, Inputs};
use crate::site::{Site, glob_set};

/// How composes are staged.
#[derive(Clone, Debug, Default)]
pub struct StageOptions {
    /// Whether staging keeps what the composes lack.
    pub merge: Merge,
    /// Gates that the operator does not want asked; the session must say why.
    pub skip_gates: Vec<String>,
    /// Whether to act.
    pub mode: Mode,
}

/// Stages composes, named by their short names, for a release.
pub fn stage(
    site: &Site,
    release: &str,
    composes: &[String],
    options: &StageOptions,
    observer: &dyn Observer,
) -> Result<Report> {
    let release = site.config.release(release)?;
    let name = ref_name(release.staging_ref())?;
    let mut sources = Vec::new();
    for short in composes {
        let source = ref_name(release.compose_ref(short)?)?;
        let Some(current) = site.current(&source)? else {
            let path = release.compose_path(short)?;
            return Err(Error::NotIngested { name: source.to_string(), path });
        };
        sources.push((source, current));
    }
    let asked = Asked::of(site, Environment::Staging, &options.skip_gates)?;
    let mut turn = Turn::begin(site, "stage", options.mode, std::slice::from_ref(&name), observer)?;
    let old = site.current(&name)?;
    let roots: Vec<DirEntry> = sources.iter().map(|(_, (_, root))| *root).collect();
    let old_root = old.map(|(_, root)| root);
    let mut root = staged(site, &turn.draft, old_root, &roots, options.merge)?;
    root = turn.settled(old_root.as_ref(), root)?;
    if options.merge == Merge::Keep {
        let inputs = Inputs {
            release: &release,
            trees: roots,
            composes: compose_inputs(site, composes, &sources)?,
            advisories: BTreeMap::new(),
        };
        root = turn.described(old_root.as_ref(), &root, &inputs)?;
    }
    turn.judge_staged(&asked, release, &name, old_root, root)?;
    let fact = |(source, (id, _)): &(RefName, (SnapshotId, DirEntry))| {
        (source.to_string(), id.to_string())
    };
    let mut facts: BTreeMap<_, _> = sources.iter().map(fact).collect();
    facts.insert("merge".into(), merge_name(options.merge).into());
    let made_of = sources.iter().map(|(_, (id, _))| *id);
    let moves = vec![turn.to_tree(name, old, root, facts, made_of)];
    turn.finish(moves)
}

/// Returns where the composes were when they were ingested: their comps files are there.
fn compose_inputs(
    site: &Site,
    composes: &[String],
    sources: &[(RefName, (SnapshotId, DirEntry))],
) -> Result<Vec<ComposeInput>> {
    let input = |(short, (_, (id, _))): (&String, &(RefName, (SnapshotId, DirEntry)))| {
        let dir = site.store.snapshot(id)?.origin.facts.get("directory").cloned();
        Ok(ComposeInput { short: short.clone(), dir })
    };
    composes.iter().zip(sources).map(input).collect()
}

/// The recipe: the composes over each other, and in an additive run, less what update syncs
/// leave out, over what is staged.
fn staged(
    site: &Site,
    draft: &Draft<'_>,
    old: Option<DirEntry>,
    composes: &[DirEntry],
    merge: Merge,
) -> Result<DirEntry> {
    let excluded = glob_set("defaults.update_exclude", &site.config.defaults.update_exclude)?;
    // The names are those of boot files and images, at any depth but where packages lie: a package
    // directory may well be called as one of them.
    let leaves_out = |path: &RelPath| {
        std::str::from_utf8(path.file_name()).is_ok_and(|name| excluded.is_match(name))
            && !path.names().any(|name| name == b"Packages")
    };
    let mut result = match merge {
        Merge::Keep => old,
        Merge::Exact => None,
    };
    for compose in composes {
        let top = match merge {
            Merge::Keep => exclude(draft, compose, &leaves_out)?,
            Merge::Exact => *compose,
        };
        result = Some(match result {
            Some(base) => overlay(draft, &base, &top, &is_repodata)?,
            None => top,
        });
    }
    result.ok_or_else(|| Error::Setting {
        key: "COMPOSE".into(),
        reason: "name at least one compose to stage".into(),
    })
}

/// A repo's metadata describes one set of packages: it is taken whole, never merged file by file.
pub(super) fn is_repodata(name: &[u8]) -> bool {
    name == b"repodata"
}

pub(super) fn merge_name(merge: Merge) -> &'static str {
    match merge {
        Merge::Keep => "keep",
        Merge::Exact => "exact",
    }
}
