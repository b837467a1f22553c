//! Advisories that come, go and change.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::BufRead;

use serde::Serialize;

use cairn_repodata::{Nevra, updateinfo};
use cairn_store::id::ObjectId;
use cairn_store::path::RelPath;

use super::repos::in_step;
use super::{Filter, State};

/// An advisory that differs, in all repos where it differs in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AdvisoryRow {
    /// Its id, such as `RLSA-2025:21112`.
    pub id: String,
    /// Whether it is new, gone or changed.
    pub state: State,
    /// `security`, `bugfix`, `enhancement` or `newpackage`, as written.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its severity, as written; empty if it has none.
    pub severity: String,
    /// Its headline.
    pub title: String,
    /// The packages that fix it, of all these repos; of one that is gone, those that did.
    pub packages: Vec<String>,
    /// Packages that it named and names no longer; of one that changed.
    pub packages_dropped: Vec<String>,
    /// The repos, sorted.
    pub repos: Vec<RelPath>,
}

impl AdvisoryRow {
    /// Returns how much it matters: 4 for critical down to 1 for low, 0 for what is not security.
    pub fn weight(&self) -> u8 {
        weight(&self.severity)
    }
}

fn weight(severity: &str) -> u8 {
    match severity.trim().to_ascii_lowercase().as_str() {
        "critical" => 4,
        "important" => 3,
        "moderate" => 2,
        "low" => 1,
        _ => 0,
    }
}

/// What is kept of one repo's advisories, by id.
#[derive(Default)]
pub(super) struct Listing(BTreeMap<String, Kept>);

struct Kept {
    /// Of the whole element.
    digest: ObjectId,
    kind: String,
    severity: String,
    title: String,
    packages: Vec<Nevra>,
}

/// One advisory that differs in one repo.
pub(super) struct Difference {
    id: String,
    state: State,
    kept: Kept,
    dropped: Vec<String>,
}

impl Listing {
    pub(super) fn read(file: &str, reader: impl BufRead) -> cairn_repodata::Result<Self> {
        let advisories = updateinfo::read(file, reader)?.into_iter().map(|advisory| {
            let packages = advisory.packages.into_iter().map(|package| package.nevra);
            let kept = Kept {
                digest: ObjectId::of(&advisory.bytes),
                kind: advisory.kind,
                severity: advisory.severity,
                title: advisory.title,
                packages: packages.collect(),
            };
            (advisory.id, kept)
        });
        Ok(Self(advisories.collect()))
    }

    pub(super) fn compare(self, new: Self, repo: &RelPath, filter: &Filter) -> Vec<Difference> {
        let accepted = |kept: &Kept| match kept.packages.is_empty() {
            true => filter.accepts_name(""),
            false => kept.packages.iter().any(|n| filter.accepts_package(repo, &n.name, &n.arch)),
        };
        let mut found = Vec::new();
        for (id, old, new) in in_step(self.0.into_iter(), new.0.into_iter()) {
            let (state, kept, dropped) = match (old, new) {
                (Some(old), Some(new)) if old.digest == new.digest => continue,
                (Some(old), Some(new)) => {
                    let now: HashSet<&Nevra> = new.packages.iter().collect();
                    let dropped = old.packages.iter().filter(|nevra| !now.contains(nevra));
                    let dropped = dropped.map(ToString::to_string).collect();
                    (State::Changed, new, dropped)
                }
                (Some(old), None) => (State::Removed, old, Vec::new()),
                (None, Some(new)) => (State::Added, new, Vec::new()),
                (None, None) => continue,
            };
            if accepted(&kept) {
                found.push(Difference { id, state, kept, dropped });
            }
        }
        found
    }
}

/// Folds the differences of all repos.
#[derive(Default)]
pub(super) struct Advisories(BTreeMap<(String, State), Folded>);

struct Folded {
    kept: Kept,
    packages: BTreeSet<String>,
    dropped: BTreeSet<String>,
    repos: BTreeSet<RelPath>,
}

impl Advisories {
    pub(super) fn fold(&mut self, repo: &RelPath, found: Vec<Difference>) {
        for Difference { id, state, mut kept, dropped } in found {
            let packages = std::mem::take(&mut kept.packages);
            let folded = self.0.entry((id, state)).or_insert_with(|| Folded {
                kept,
                packages: BTreeSet::new(),
                dropped: BTreeSet::new(),
                repos: BTreeSet::new(),
            });
            folded.packages.extend(packages.iter().map(ToString::to_string));
            folded.dropped.extend(dropped);
            folded.repos.insert(repo.clone());
        }
    }

    /// Returns the rows: those that are gone, then new ones, then changed ones; the heaviest first.
    pub(super) fn finish(self) -> Vec<AdvisoryRow> {
        let rows = self.0.into_iter().map(|((id, state), folded)| AdvisoryRow {
            id,
            state,
            kind: folded.kept.kind,
            severity: folded.kept.severity,
            title: folded.kept.title,
            packages: folded.packages.into_iter().collect(),
            packages_dropped: folded.dropped.into_iter().collect(),
            repos: folded.repos.into_iter().collect(),
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by(|a, b| {
            let key = |row: &AdvisoryRow| (row.state, std::cmp::Reverse(row.weight()));
            key(a).cmp(&key(b)).then_with(|| a.id.cmp(&b.id))
        });
        rows
    }
}
