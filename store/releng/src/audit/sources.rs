//! Packages that differ, folded to the source packages that they are built from.
//!
//! A kernel update is some thirty packages on each architecture, in three repos; who reviews a
//! release wants one line of it, and the thirty below.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use cairn_store::path::RelPath;

use super::packages::{PackageRow, PackagesDiff};

/// What became of packages, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// A lower version takes their place.
    Downgraded,
    /// They are gone, with nothing in their place.
    Removed,
    /// The same version with other bytes.
    Rebuilt,
    /// A higher version is there.
    Upgraded,
    /// They are new.
    Added,
}

impl Fate {
    /// Every fate, the worst first.
    pub const ALL: [Fate; 5] =
        [Fate::Downgraded, Fate::Removed, Fate::Rebuilt, Fate::Upgraded, Fate::Added];

    /// Returns the word that JSON has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Fate::Downgraded => "downgraded",
            Fate::Removed => "removed",
            Fate::Rebuilt => "rebuilt",
            Fate::Upgraded => "upgraded",
            Fate::Added => "added",
        }
    }

    /// Returns the rows of this fate.
    pub fn rows(self, packages: &PackagesDiff) -> &[PackageRow] {
        match self {
            Fate::Downgraded => &packages.downgraded,
            Fate::Removed => &packages.removed,
            Fate::Rebuilt => &packages.rebuilt,
            Fate::Upgraded => &packages.upgraded,
            Fate::Added => &packages.added,
        }
    }
}

/// Packages of one build of a source package that share a fate, in all repos and architectures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceRow {
    /// The source package's name.
    pub source: String,
    /// What became of its packages.
    pub fate: Fate,
    /// What was, as `epoch:version-release` where a package carries the source's own name.
    pub old: Option<String>,
    /// What is.
    pub new: Option<String>,
    /// The packages' names, sorted.
    pub packages: Vec<String>,
    /// Their architectures, sorted.
    pub arches: Vec<String>,
    /// The repos that they are in, sorted.
    pub repos: Vec<RelPath>,
    /// How many packages these are, counting each architecture and repo.
    pub count: usize,
    /// Whether some package is in no version left in its repo; of those removed.
    pub lost: bool,
    /// The sum of the old RPMs' sizes in bytes.
    pub old_size: u64,
    /// The sum of the new RPMs' sizes in bytes.
    pub new_size: u64,
}

#[derive(Default)]
struct Folded<'a> {
    named: Option<(&'a Option<String>, &'a Option<String>)>,
    packages: BTreeSet<&'a str>,
    arches: BTreeSet<&'a str>,
    repos: BTreeSet<&'a RelPath>,
    count: usize,
    lost: bool,
    old_size: u64,
    new_size: u64,
}

/// Folds packages by source package, fate and version; sorted by fate, source and version.
pub fn by_source(packages: &PackagesDiff) -> Vec<SourceRow> {
    type Key<'a> = (Fate, &'a str, &'a Option<String>, &'a Option<String>);
    let mut folded: BTreeMap<Key<'_>, Folded<'_>> = BTreeMap::new();
    for fate in Fate::ALL {
        for row in fate.rows(packages) {
            let key = (fate, row.source.as_str(), &row.source_old, &row.source_new);
            let group = folded.entry(key).or_default();
            // A file name has no epoch; a package of the source's own name says it.
            if row.name == row.source {
                group.named = Some((&row.old, &row.new));
            }
            group.packages.insert(&row.name);
            group.arches.insert(&row.arch);
            group.repos.insert(&row.repo);
            group.count += 1;
            group.lost |= fate == Fate::Removed && row.alone;
            group.old_size = group.old_size.saturating_add(row.old_size.unwrap_or(0));
            group.new_size = group.new_size.saturating_add(row.new_size.unwrap_or(0));
        }
    }
    let rows = folded.into_iter().map(|((fate, source, old, new), group)| {
        let (old, new) = group.named.unwrap_or((old, new));
        SourceRow {
            source: source.to_owned(),
            fate,
            old: old.clone(),
            new: new.clone(),
            packages: group.packages.into_iter().map(str::to_owned).collect(),
            arches: group.arches.into_iter().map(str::to_owned).collect(),
            repos: group.repos.into_iter().cloned().collect(),
            count: group.count,
            lost: group.lost,
            old_size: group.old_size,
            new_size: group.new_size,
        }
    });
    rows.collect()
}
