//! Comps groups, environments and categories that come, go and get other members.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

use serde::Serialize;

use cairn_repodata::comps;
use cairn_store::path::RelPath;

use super::repos::in_step;
use super::{Filter, State};

/// What a set of comps is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CompsKind {
    /// A group of packages.
    Group,
    /// What can be chosen at installation: a set of groups.
    Environment,
    /// How groups are shown: a set of groups.
    Category,
}

impl std::fmt::Display for CompsKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CompsKind::Group => "group",
            CompsKind::Environment => "environment",
            CompsKind::Category => "category",
        })
    }
}

/// A group, environment or category that differs, in all repos where it differs in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CompsRow {
    /// What it is.
    pub kind: CompsKind,
    /// Its id.
    pub id: String,
    /// Its untranslated name.
    pub name: String,
    /// Whether it is new, gone or changed.
    pub state: State,
    /// Members that are new: of a group packages, else groups.
    pub added: Vec<String>,
    /// Members that are gone.
    pub removed: Vec<String>,
    /// Members that belong to it in another way, as `bash: default → mandatory`.
    pub changed: Vec<String>,
    /// The repos, sorted.
    pub repos: Vec<RelPath>,
}

/// What is kept of one repo's comps.
#[derive(Default)]
pub(super) struct Sets(BTreeMap<(CompsKind, String), Set>);

#[derive(Default, PartialEq, Eq)]
struct Set {
    name: String,
    /// How a member belongs to it, by name.
    members: BTreeMap<String, String>,
}

impl Set {
    fn of(set: comps::GroupSet) -> Self {
        let belongs = |how: &'static str| move |group| (group, how.to_owned());
        let optional = set.options.into_iter().map(belongs("optional"));
        let members = optional.chain(set.groups.into_iter().map(belongs("member")));
        Self { name: set.name, members: members.collect() }
    }
}

/// One set that differs in one repo; the repos come when it is folded.
pub(super) type Difference = CompsRow;

impl Sets {
    pub(super) fn read(file: &str, reader: impl BufRead) -> cairn_repodata::Result<Self> {
        let comps = comps::read(file, reader)?;
        let groups = comps.groups.into_iter().map(|group| {
            let members = group.packages.into_iter().map(|package| {
                let how = match package.requires {
                    Some(requires) => format!("{} on {requires}", package.kind),
                    None => package.kind,
                };
                (package.name, how)
            });
            let set = Set { name: group.name, members: members.collect() };
            ((CompsKind::Group, group.id), set)
        });
        let mut sets: BTreeMap<_, _> = groups.collect();
        for (kind, list) in
            [(CompsKind::Environment, comps.environments), (CompsKind::Category, comps.categories)]
        {
            for set in list {
                sets.insert((kind, set.id.clone()), Set::of(set));
            }
        }
        Ok(Self(sets))
    }

    pub(super) fn compare(self, new: Self, filter: &Filter) -> Vec<Difference> {
        let mut found = Vec::new();
        for ((kind, id), old, new) in in_step(self.0.into_iter(), new.0.into_iter()) {
            if old == new {
                continue;
            }
            let state = State::of(&old, &new);
            let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
            let name = if new.name.is_empty() { old.name } else { new.name };
            let (mut added, mut removed, mut changed) = (Vec::new(), Vec::new(), Vec::new());
            let all = filter.accepts_name(&id);
            for (member, old, new) in in_step(old.members.into_iter(), new.members.into_iter()) {
                if !all && !filter.accepts_name(&member) {
                    continue;
                }
                match (old, new) {
                    (None, _) => added.push(member),
                    (_, None) => removed.push(member),
                    (Some(old), Some(new)) if old != new => {
                        changed.push(format!("{member}: {old} → {new}"));
                    }
                    (Some(_), Some(_)) => {}
                }
            }
            if all || !(added.is_empty() && removed.is_empty() && changed.is_empty()) {
                let repos = Vec::new();
                found.push(CompsRow { kind, id, name, state, added, removed, changed, repos });
            }
        }
        found
    }
}

/// Sets of several repos are one row if all but the repo is the same.
type Key = (State, CompsKind, String, String, [Vec<String>; 3]);

/// Folds the differences of all repos.
#[derive(Default)]
pub(super) struct Comps(BTreeMap<Key, BTreeSet<RelPath>>);

impl Comps {
    pub(super) fn fold(&mut self, repo: &RelPath, found: Vec<Difference>) {
        for row in found {
            let members = [row.added, row.removed, row.changed];
            let key = (row.state, row.kind, row.id, row.name, members);
            self.0.entry(key).or_default().insert(repo.clone());
        }
    }

    /// Returns the rows, those that are gone first.
    pub(super) fn finish(self) -> Vec<CompsRow> {
        let rows = self.0.into_iter().map(|((state, kind, id, name, members), repos)| {
            let [added, removed, changed] = members;
            let repos = repos.into_iter().collect();
            CompsRow { kind, id, name, state, added, removed, changed, repos }
        });
        rows.collect()
    }
}
