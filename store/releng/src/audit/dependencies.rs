//! Dependencies that became unresolved: what packages require and nothing provides any more.
//!
//! Of each architecture whose repos differ, all are read: whether a requirement is met depends on
//! all of them. The old side is read only where the new one lacks something.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use cairn_store::path::RelPath;
use cairn_store::tree::{DirEntry, Nodes};

use super::{Filter, Result};
use crate::closure::{Lack, Strength, Unresolved, World, worlds};
use crate::content::Source;

/// A package that requires what nothing provides, and did not before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DependencyRow {
    /// The directory of the package's repo.
    pub repo: RelPath,
    /// The package, as `name-version-release.arch`.
    pub package: String,
    /// What it requires.
    pub requires: String,
}

/// Returns the dependencies that became unresolved. Of an architecture with a repo that cannot be
/// read there are none: nothing is known, and the packages' level says so.
pub(super) fn dependencies(
    nodes: &dyn Nodes,
    source: &Source<'_>,
    old: Option<&DirEntry>,
    new: Option<&DirEntry>,
    filter: &Filter,
) -> Result<Vec<DependencyRow>> {
    let sides = [old, new].map(|root| root.map(|root| worlds(nodes, root)).transpose());
    let [old, new] = sides;
    let by_arch = |world: World| (world.arch.clone(), world);
    let old: BTreeMap<String, World> = old?.unwrap_or_default().into_iter().map(by_arch).collect();
    let mut found = Vec::new();
    for world in new?.unwrap_or_default() {
        let before = old.get(&world.arch);
        if before.is_some_and(|before| before.fingerprint() == world.fingerprint()) {
            continue;
        }
        let rows = world.resolve(nodes, source).rows.into_iter();
        let rows: Vec<Unresolved> = rows.filter(|row| fails(row, filter)).collect();
        let known: HashSet<_> = match before.filter(|_| !rows.is_empty()) {
            Some(before) => {
                before.resolve(nodes, source).rows.iter().map(Unresolved::key).collect()
            }
            None => HashSet::new(),
        };
        found.extend(rows.into_iter().filter(|row| !known.contains(&row.key())).map(|row| {
            let Unresolved { repo, name, arch, evr, requirement: requires, .. } = row;
            DependencyRow { repo, package: format!("{name}-{evr}.{arch}"), requires }
        }));
    }
    found.sort();
    Ok(found)
}

/// Returns whether a client that has all repos cannot install the package.
fn fails(row: &Unresolved, filter: &Filter) -> bool {
    row.strength == Strength::Requires
        && row.lack == Lack::All
        && !row.outdated
        && filter.accepts_package(&row.repo, &row.name, &row.arch)
}
