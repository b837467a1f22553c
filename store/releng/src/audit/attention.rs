//! What a reviewer should look at first: what is seldom meant.
//!
//! Each rule is one function over the audit; what another level finds (signatures, dependencies)
//! becomes another rule, and every format shows it without knowing it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Serialize;

use cairn_store::path::{Escaped, RelPath};

use super::files::FileCategory;
use super::packages::PackageRow;
use super::sources::Fate;
use super::{Audit, PackagesDiff, State};

/// How many subjects a point names.
const SUBJECTS: usize = 50;

/// Why something deserves a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// A package of the same version has other bytes: clients that have it will never get the new.
    Rebuilt,
    /// An RPM has other bytes under the same path; at a level that does not compare packages.
    Replaced,
    /// A lower version takes a package's place.
    Downgraded,
    /// A package is in no version left in its repo.
    PackageLost,
    /// A whole repo is gone.
    RepoLost,
    /// A package requires what nothing provides any more.
    DependencyUnresolved,
    /// An advisory is gone.
    AdvisoryLost,
    /// An advisory names fewer packages.
    AdvisoryShrunk,
    /// A module stream is gone.
    StreamLost,
    /// A comps group, environment or category is gone.
    GroupLost,
    /// An image is gone, and none came that differs from it only in numbers.
    ImageLost,
    /// A package left its repo for another.
    PackageMoved,
    /// Metadata cannot be used, so nothing is known of what it describes.
    NotCompared,
}

impl Rule {
    /// Returns the rule's name, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Rule::Rebuilt => "rebuilt",
            Rule::Replaced => "replaced",
            Rule::Downgraded => "downgraded",
            Rule::PackageLost => "package-lost",
            Rule::RepoLost => "repo-lost",
            Rule::DependencyUnresolved => "dependency-unresolved",
            Rule::AdvisoryLost => "advisory-lost",
            Rule::AdvisoryShrunk => "advisory-shrunk",
            Rule::StreamLost => "stream-lost",
            Rule::GroupLost => "group-lost",
            Rule::ImageLost => "image-lost",
            Rule::PackageMoved => "package-moved",
            Rule::NotCompared => "not-compared",
        }
    }

    /// Says in a sentence what was found `count` times.
    fn message(self, count: usize) -> String {
        let (one, many) = match self {
            Rule::Rebuilt => (
                "1 package has other bytes under the same version",
                "packages have other bytes under the same version",
            ),
            Rule::Replaced => (
                "1 RPM has other bytes under the same name",
                "RPMs have other bytes under the same name",
            ),
            Rule::Downgraded => {
                ("1 package goes back to a lower version", "packages go back to a lower version")
            }
            Rule::PackageLost => ("1 package is lost", "packages are lost"),
            Rule::RepoLost => ("1 repo is lost", "repos are lost"),
            Rule::DependencyUnresolved => {
                ("1 dependency became unresolved", "dependencies became unresolved")
            }
            Rule::AdvisoryLost => ("1 advisory is lost", "advisories are lost"),
            Rule::AdvisoryShrunk => {
                ("1 advisory names fewer packages", "advisories name fewer packages")
            }
            Rule::StreamLost => ("1 module stream is lost", "module streams are lost"),
            Rule::GroupLost => {
                ("1 comps group or environment is lost", "comps groups or environments are lost")
            }
            Rule::ImageLost => ("1 image is lost", "images are lost"),
            Rule::PackageMoved => {
                ("1 package moved to another repo", "packages moved to another repo")
            }
            Rule::NotCompared => {
                ("1 repo or file could not be compared", "repos or files could not be compared")
            }
        };
        if count == 1 { one.to_owned() } else { format!("{count} {many}") }
    }
}

/// One thing that a reviewer should look at first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attention {
    /// Why.
    pub rule: Rule,
    /// How often: packages are counted in each architecture and repo.
    pub count: usize,
    /// What, as a clause.
    pub message: String,
    /// What it is about, a line each, at most fifty; names are escaped as paths are.
    pub subjects: Vec<String>,
    /// How many lines more there are.
    pub omitted: usize,
}

/// Returns what deserves a look, the gravest first.
pub(super) fn attention(audit: &Audit) -> Vec<Attention> {
    let mut points = Vec::new();
    let mut point = |rule: Rule, count: usize, mut subjects: Vec<String>| {
        if count > 0 {
            let omitted = subjects.len().saturating_sub(SUBJECTS);
            subjects.truncate(SUBJECTS);
            points.push(Attention { rule, count, message: rule.message(count), subjects, omitted });
        }
    };
    match &audit.packages {
        Some(packages) => {
            point(Rule::Rebuilt, packages.rebuilt.len(), folded(audit, Fate::Rebuilt));
            point(Rule::Downgraded, packages.downgraded.len(), folded(audit, Fate::Downgraded));
            let losses = Losses::of(packages);
            point(Rule::PackageLost, losses.lost.len(), by_name(&losses.lost));
            point(Rule::RepoLost, packages.repos_removed.len(), strings(&packages.repos_removed));
            point(Rule::PackageMoved, losses.moved.len(), by_name(&losses.moved));
        }
        None => {
            let replaced = audit.files.changed.iter();
            let replaced = replaced
                .filter(|row| row.kind == FileCategory::Package && !row.metadata_only)
                .map(|row| &row.path);
            let replaced: Vec<_> = replaced.collect();
            point(Rule::Replaced, replaced.len(), strings(&replaced));
        }
    }
    let dependencies = audit.dependencies.iter().flatten();
    let dependencies = dependencies.map(|row| {
        let (package, requires) = (clean(&row.package), clean(&row.requires));
        format!("{package} requires {requires}: {}", row.repo)
    });
    let dependencies: Vec<_> = dependencies.collect();
    point(Rule::DependencyUnresolved, dependencies.len(), dependencies);
    let advisories = audit.advisories.as_deref().unwrap_or_default();
    let lost: Vec<_> = advisories.iter().filter(|row| row.state == State::Removed).collect();
    let named = lost.iter().map(|row| {
        let severity = match row.weight() {
            0 => String::new(),
            // Titles of security advisories begin with it by custom.
            _ if row.title.starts_with(&row.severity) => String::new(),
            _ => format!("{}, ", clean(&row.severity)),
        };
        let title = format!("{} ({severity}{})", clean(&row.id), clean(&row.title));
        format!("{title}: {}", in_repos(row.repos.iter()))
    });
    point(Rule::AdvisoryLost, lost.len(), named.collect());
    let shrunk = advisories.iter().filter(|row| !row.packages_dropped.is_empty());
    let shrunk = shrunk.map(|row| {
        let dropped = row.packages_dropped.iter();
        format!("{}: without {}", clean(&row.id), few(dropped.map(|name| clean(name))))
    });
    let shrunk: Vec<_> = shrunk.collect();
    point(Rule::AdvisoryShrunk, shrunk.len(), shrunk);
    let streams = audit.modules.iter().flat_map(|modules| &modules.streams);
    let streams = streams
        .filter(|row| row.state == State::Removed)
        .map(|row| format!("{}:{}: {}", row.module, row.stream, in_repos(row.repos.iter())));
    let streams: Vec<_> = streams.collect();
    point(Rule::StreamLost, streams.len(), streams);
    let comps = audit.comps.iter().flatten().filter(|row| row.state == State::Removed);
    let comps =
        comps.map(|row| format!("{} {}: {}", row.kind, clean(&row.id), in_repos(row.repos.iter())));
    let comps: Vec<_> = comps.collect();
    point(Rule::GroupLost, comps.len(), comps);
    let came = audit.images.iter().filter(|row| row.old_size.is_none());
    let came: HashSet<Vec<u8>> = came.map(|row| without_numbers(&row.path)).collect();
    let images = audit.images.iter().filter(|row| row.new_size.is_none());
    let images = images.filter(|row| !came.contains(&without_numbers(&row.path)));
    let images: Vec<_> = images.map(|row| row.path.to_string()).collect();
    point(Rule::ImageLost, images.len(), images);
    let errors = audit.errors();
    point(Rule::NotCompared, errors.len(), errors);
    points.sort_by_key(|point| point.rule);
    points
}

/// The lines of a fate, a source package each.
fn folded(audit: &Audit, fate: Fate) -> Vec<String> {
    let rows = audit.sources.iter().flatten().filter(|row| row.fate == fate);
    let lines = rows.map(|row| {
        let versions = match (&row.old, &row.new) {
            (Some(old), Some(new)) if old != new => format!("{old} → {new}"),
            (Some(one), _) | (_, Some(one)) => one.clone(),
            (None, None) => String::new(),
        };
        let packages = match row.packages.as_slice() {
            [only] if *only == row.source => String::new(),
            packages => format!(" ({})", few(packages.iter().map(|name| clean(name)))),
        };
        let versions = clean(&versions);
        let source = clean(&row.source);
        format!("{source} {versions}{packages}: {}", in_repos(row.repos.iter()))
    });
    lines.collect()
}

/// Packages that have no version left where they were, each once in a repo.
#[derive(Default)]
struct Losses<'a> {
    lost: Vec<&'a PackageRow>,
    moved: Vec<&'a PackageRow>,
}

impl<'a> Losses<'a> {
    /// The rule is that of the gate `no-loss`; what went with its repo is lost as a repo.
    fn of(packages: &'a PackagesDiff) -> Self {
        let came = packages.added.iter().filter(|row| row.alone);
        let came: HashSet<(&str, &str)> = came.map(|row| (&*row.name, &*row.arch)).collect();
        let gone: HashSet<&RelPath> = packages.repos_removed.iter().collect();
        let (mut seen, mut losses) = (HashSet::new(), Self::default());
        for row in packages.removed.iter().filter(|row| row.alone && !gone.contains(&row.repo)) {
            if seen.insert((&row.repo, &row.name, &row.arch)) {
                match came.contains(&(&*row.name, &*row.arch)) {
                    true => losses.moved.push(row),
                    false => losses.lost.push(row),
                }
            }
        }
        losses
    }
}

fn by_name(rows: &[&PackageRow]) -> Vec<String> {
    let mut names: BTreeMap<&str, BTreeSet<&RelPath>> = BTreeMap::new();
    for row in rows {
        names.entry(&row.name).or_default().insert(&row.repo);
    }
    let lines = names
        .into_iter()
        .map(|(name, repos)| format!("{}: {}", clean(name), in_repos(repos.into_iter())));
    lines.collect()
}

/// A path whose versions and dates are all alike: what has another number is the next of its kind.
fn without_numbers(path: &RelPath) -> Vec<u8> {
    let mut bytes = path.as_bytes().to_vec();
    bytes.iter_mut().filter(|b| b.is_ascii_digit()).for_each(|b| *b = b'0');
    bytes.dedup_by(|a, b| *a == b'0' && *b == b'0');
    bytes
}

/// Names from outside, so that they read as one line of what they are.
fn clean(text: &str) -> String {
    Escaped(text.as_bytes()).to_string()
}

fn strings(list: &[impl ToString]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn in_repos<'a>(repos: impl Iterator<Item = &'a RelPath>) -> String {
    few(repos.map(|repo| if repo.is_root() { "the root".to_owned() } else { repo.to_string() }))
}

/// The first three of a list, and how many there are beside.
fn few(list: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = list.collect();
    let more = all.len().saturating_sub(3);
    all.truncate(3);
    match more {
        0 => all.join(", "),
        more => format!("{} and {more} more", all.join(", ")),
    }
}
