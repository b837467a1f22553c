//! What a promotion moves: releases, or SIGs of releases, whole or some of their projects.

use cairn_store::path::RelPath;
use cairn_store::refs::RefName;
use cairn_store::tree::{DirEntry, Draft};

use super::moves::ref_name;
use super::sig::{exchanged, only, project_path};
use crate::error::Result;
use crate::names::ReleaseView;
use crate::site::Site;

/// Which SIGs of a release are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sigs {
    /// None: the release itself is.
    #[default]
    None,
    /// These, and not the release; one that is not there is an error.
    Named(Vec<String>),
    /// All that are there, and not the release; those that are not are named and skipped.
    All,
}

/// A ref of production, and the one of staging that it follows.
pub(super) struct Target<'c> {
    pub release: ReleaseView<'c>,
    pub staging: RefName,
    pub name: RefName,
    /// The directories that move; nothing when all do.
    projects: Option<Vec<RelPath>>,
}

impl<'c> Target<'c> {
    /// Returns the targets of releases, or of these SIGs of each of them, each once. Of all SIGs,
    /// adds a note for each that was never staged.
    ///
    /// # Errors
    /// Names that are not configured, and releases that never get to production.
    pub fn all(
        site: &'c Site,
        releases: &[String],
        sigs: &Sigs,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Target<'c>>> {
        let mut targets: Vec<Target<'c>> = Vec::new();
        for release in releases {
            let release = site.config.release(release)?;
            let production = release.production_ref()?;
            let names = match sigs {
                Sigs::None => {
                    let (staging, name) = (ref_name(release.staging_ref())?, ref_name(production)?);
                    add(&mut targets, Target { release, staging, name, projects: None });
                    continue;
                }
                Sigs::Named(names) => names.clone(),
                Sigs::All => release.sig_names(),
            };
            for sig in &names {
                let sig = release.sig_group(sig)?;
                if *sigs == Sigs::All
                    && site.current(&ref_name(sig.staging_ref.clone())?)?.is_none()
                {
                    notes.push(format!("{} was never staged and is skipped.", sig.staging_ref));
                    continue;
                }
                let projects = match release.is_whole_sig(&sig) {
                    true => None,
                    false => {
                        let paths = sig.composes.iter().map(|(_, project)| project_path(project));
                        Some(paths.collect::<Result<_>>()?)
                    }
                };
                let (staging, name) = (ref_name(sig.staging_ref)?, ref_name(sig.production_ref)?);
                add(&mut targets, Target { release, staging, name, projects });
            }
        }
        Ok(targets)
    }

    /// Returns what of the staged tree moves.
    pub fn moving(&self, draft: &Draft<'_>, staged: &DirEntry) -> Result<DirEntry> {
        match &self.projects {
            None => Ok(*staged),
            Some(projects) => only(draft, staged, projects),
        }
    }

    /// Returns the tree that a promotion without anything kept leads to.
    pub fn exact(&self, draft: &Draft<'_>, old: &DirEntry, staged: &DirEntry) -> Result<DirEntry> {
        match &self.projects {
            None => Ok(*staged),
            Some(projects) => exchanged(draft, old, staged, projects),
        }
    }

    /// Returns what the log says of the target beside the snapshots.
    pub fn shown_projects(&self) -> Option<String> {
        let projects = self.projects.as_ref()?;
        Some(projects.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    }
}

/// Adds a target; of a SIG that is there already, more projects move.
fn add<'c>(targets: &mut Vec<Target<'c>>, target: Target<'c>) {
    let same = |one: &&mut Target<'c>| one.name == target.name && one.staging == target.staging;
    let Some(known) = targets.iter_mut().find(same) else {
        targets.push(target);
        return;
    };
    known.projects = match (known.projects.take(), target.projects) {
        (Some(mut all), Some(more)) => {
            all.extend(more);
            all.sort_unstable();
            all.dedup();
            Some(all)
        }
        (None, _) | (_, None) => None,
    };
}
