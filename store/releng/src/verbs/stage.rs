//! Stage: composes become the release's staging view.

use std::collections::BTreeMap;

use cairn_store::fs::Time;
use cairn_store::id::SnapshotId;
use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::publish::Intent;
use cairn_store::refs::RefName;
use cairn_store::snapshot::Origin;
use cairn_store::transform::{exclude, overlay, settle_times};
use cairn_store::tree::{DirEntry, Draft};

use super::Merge;
use super::moves::{Destination, Move, Moves, ref_name};
use super::vet::Staged;
use crate::audit::repos::in_repodata;
use crate::error::{Error, Result};
use crate::report::{Mode, Report};
use crate::repos::{ComposeInput, Inputs, regenerate};
use crate::signing::{Signer, TreeSigner};
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
    let mut report = Report::default();
    let writer = match options.mode {
        Mode::Apply => Some(site.store.writer(std::slice::from_ref(&name))?),
        Mode::DryRun => None,
    };
    report.notes = match &writer {
        Some(writer) => site.recover(writer, observer)?,
        None => site.store.notes().to_vec(),
    };
    let old = site.current(&name)?;
    let draft = Draft::new(&site.store);
    let roots: Vec<DirEntry> = sources.iter().map(|(_, (_, root))| *root).collect();
    let old_root = old.map(|(_, root)| root);
    let mut root = staged(site, &draft, old_root, &roots, options.merge)?;
    if let Some(old) = &old_root {
        let settled = settle_times(&draft, old, &root)?;
        root = settled.root;
        report.times_moved = settled.moved;
    }
    if options.merge == Merge::Keep {
        let inputs = Inputs {
            release: &release,
            trees: roots,
            composes: compose_inputs(site, composes, &sources)?,
            advisories: BTreeMap::new(),
        };
        root = described(
            site,
            &draft,
            old_root.as_ref(),
            &root,
            &inputs,
            options.mode,
            &mut report,
            observer,
        )?;
    }
    let (skip_gates, mode) = (options.skip_gates.as_slice(), options.mode);
    let staged =
        Staged { site, draft: &draft, release, name: &name, old: old_root, root, skip_gates, mode };
    let details = staged.vet(&mut report, observer)?;
    let mut origin = Origin { verb: "stage".into(), ..Origin::default() };
    for (source, (id, _)) in &sources {
        origin.facts.insert(source.to_string(), id.to_string());
    }
    origin.facts.insert("merge".into(), merge_name(options.merge).into());
    let parents = old.iter().map(|(id, _)| *id).chain(sources.iter().map(|(_, (id, _))| *id));
    let parents = parents.collect();
    let moves = Moves {
        site,
        draft: &draft,
        verb: "stage",
        moves: vec![Move { name, old, new: Destination::Tree { root, origin, parents } }],
        intent: Intent::Forward,
        details,
        inodes: Vec::new(),
    };
    moves.run(options.mode, writer.as_ref(), report, observer)
}

/// Gives a tree that keeps what the new side lacks metadata that describes it, signed where the
/// release is signed.
#[expect(clippy::too_many_arguments, reason = "one step of two verbs, with all that they know")]
pub(super) fn described(
    site: &Site,
    draft: &Draft<'_>,
    old: Option<&DirEntry>,
    new: &DirEntry,
    inputs: &Inputs<'_>,
    mode: Mode,
    report: &mut Report,
    observer: &dyn Observer,
) -> Result<DirEntry> {
    let made = regenerate(site, draft, old, new, inputs, mode, observer)?;
    report.notes.extend(made.notes);
    report.repos.extend(made.repos);
    let mut root = made.root;
    let source = |file: &_, path: &RelPath| site.open_draft(draft, file, path);
    if old != Some(&root)
        && let Some(signer) = Signer::for_release(&site.config, inputs.release)?
    {
        let time = Time { secs: jiff::Timestamp::now().as_second(), nanos: 0 };
        let signer = TreeSigner { draft, source: &source, signer: &signer, time, mode };
        let signed = signer.sign(old, &root, observer)?;
        root = signed.root;
        report.signed.extend(signed.signed);
    }
    // Metadata has times too, which readers must see move; what was said of metadata that has been
    // replaced since is not true any more.
    report.times_moved.retain(|path| !in_repodata(path));
    let Some(old) = old else { return Ok(root) };
    let settled = settle_times(draft, old, &root)?;
    report.times_moved.extend(settled.moved);
    report.times_moved.sort_unstable();
    report.times_moved.dedup();
    Ok(settled.root)
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
