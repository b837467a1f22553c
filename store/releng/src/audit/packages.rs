//! What differs by package: NEVRA and checksum, repo by repo, from `primary`.

use std::collections::HashSet;
use std::sync::Arc;

use rayon::prelude::*;
use serde::Serialize;

use cairn_repodata::repomd::Repomd;
use cairn_repodata::{Checksum, Evr, Nevra, primary};
use cairn_store::path::RelPath;
use cairn_store::tree::{DirEntry, Nodes};

use super::content::{Located, locate, read_record, read_repomd, repomd_path};
use super::pairing::{self, Outcome, Version};
use super::repos::{Repo, RepoPair, differing, in_step};
use super::{Broken, Error, Filter, Options, RepoError, RepoFinding, Result, Side};
use crate::content::Source;

/// A package that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackageRow {
    /// The directory of its repo.
    pub repo: RelPath,
    /// Its name.
    pub name: String,
    /// Its architecture; `src` for a source package.
    pub arch: String,
    /// What was, as `epoch:version-release`, the epoch only when it is not zero.
    pub old: Option<String>,
    /// What is.
    pub new: Option<String>,
    /// Whether the old version stays beside the new one.
    pub kept: bool,
    /// Whether the other tree has no version of the package in this repo at all.
    pub alone: bool,
    /// The name of the source package that it is built from, of the new version if there is one.
    /// A source package is its own.
    pub source: String,
    /// The old one's version and release, by the file name that packages give it: no epoch.
    pub source_old: Option<String>,
    /// The new one's.
    pub source_new: Option<String>,
    /// The size of the old RPM in bytes.
    pub old_size: Option<u64>,
    /// The size of the new RPM in bytes.
    pub new_size: Option<u64>,
}

/// What differs by package, each list sorted by repo, name, architecture and rpm's order of
/// versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PackagesDiff {
    /// Packages that appear and replace nothing.
    pub added: Vec<PackageRow>,
    /// Packages that disappear and nothing replaces.
    pub removed: Vec<PackageRow>,
    /// Packages that a higher version replaces, or is laid beside.
    pub upgraded: Vec<PackageRow>,
    /// Packages whose place a lower version takes.
    pub downgraded: Vec<PackageRow>,
    /// Packages of the same version, to rpm, with another checksum.
    pub rebuilt: Vec<PackageRow>,
    /// Repos that appear; their packages are among the added.
    pub repos_added: Vec<RelPath>,
    /// Repos that disappear; their packages are among the removed.
    pub repos_removed: Vec<RelPath>,
    /// How many repos had different metadata and were looked at.
    pub repos_compared: usize,
    /// Repos that could not be compared, when asked to report them.
    pub errors: Vec<RepoFinding>,
}

impl PackagesDiff {
    /// Returns whether no package and no repo differs and every repo could be compared.
    pub fn is_empty(&self) -> bool {
        let lists = [&self.added, &self.removed, &self.upgraded, &self.downgraded, &self.rebuilt];
        lists.iter().all(|list| list.is_empty())
            && self.repos_added.is_empty()
            && self.repos_removed.is_empty()
            && self.errors.is_empty()
    }

    fn append(&mut self, mut other: PackagesDiff) {
        self.added.append(&mut other.added);
        self.removed.append(&mut other.removed);
        self.upgraded.append(&mut other.upgraded);
        self.downgraded.append(&mut other.downgraded);
        self.rebuilt.append(&mut other.rebuilt);
        self.repos_added.append(&mut other.repos_added);
        self.repos_removed.append(&mut other.repos_removed);
        self.repos_compared += other.repos_compared;
        self.errors.append(&mut other.errors);
    }
}

/// Returns what differs by package; a repo that cannot be compared is a finding.
///
/// # Errors
/// Trees that cannot be read.
pub fn packages(
    nodes: &dyn Nodes,
    source: &Source<'_>,
    old: Option<&DirEntry>,
    new: Option<&DirEntry>,
) -> Result<PackagesDiff> {
    let options = Options { broken: Broken::Report, ..Options::default() };
    packages_with(nodes, source, old, new, &options)
}

/// Returns what differs by package in what the options accept.
///
/// A repo whose `repodata` or `repomd.xml` is the same in both is not read, and neither is a
/// `primary` that is the same object in both. Repos are read in parallel; a package takes some
/// 300 bytes while its repo is compared, and nothing afterwards.
///
/// # Errors
/// Trees that cannot be read. Repodata that is broken on either side, the first by path; with
/// [`Broken::Report`] it is a finding instead and its repo has no rows.
pub fn packages_with(
    nodes: &dyn Nodes,
    source: &Source<'_>,
    old: Option<&DirEntry>,
    new: Option<&DirEntry>,
    options: &Options,
) -> Result<PackagesDiff> {
    let comparison = Comparison { nodes, source, filter: &options.filter };
    let mut pairs = differing(nodes, old, new)?;
    pairs.retain(|pair| options.filter.accepts_repo(&pair.path));
    let compared: Vec<_> = pairs.par_iter().map(|pair| comparison.repo(pair)).collect();
    let mut found = PackagesDiff::default();
    for (pair, result) in pairs.iter().zip(compared) {
        match (result, options.broken) {
            (Ok(rows), _) => found.append(rows),
            (Err(fault), Broken::Refuse) => return Err(fault.into_error(&pair.path)),
            (Err(fault), Broken::Report) => found.errors.extend(fault.into_findings(&pair.path)),
        }
    }
    Ok(found)
}

/// What is wrong with a repo on one or both sides.
pub(super) struct Fault {
    pub(super) old: Option<RepoError>,
    pub(super) new: Option<RepoError>,
}

impl Fault {
    /// Returns what both sides have, or what is wrong with either.
    pub(super) fn both<A, B>(
        old: std::result::Result<A, RepoError>,
        new: std::result::Result<B, RepoError>,
    ) -> std::result::Result<(A, B), Fault> {
        match (old, new) {
            (Ok(old), Ok(new)) => Ok((old, new)),
            (old, new) => Err(Fault { old: old.err(), new: new.err() }),
        }
    }

    fn sides(self) -> impl Iterator<Item = (Side, RepoError)> {
        let Fault { old, new } = self;
        old.map(|error| (Side::Old, error)).into_iter().chain(new.map(|error| (Side::New, error)))
    }

    pub(super) fn into_error(self, repo: &RelPath) -> Error {
        let (side, source) = self.sides().next().expect("a fault is on one side at least");
        Error::Repo { repo: repo.clone(), side, source: Box::new(source) }
    }

    pub(super) fn into_findings(self, repo: &RelPath) -> impl Iterator<Item = RepoFinding> {
        self.sides().map(move |(side, error)| RepoFinding {
            repo: repo.clone(),
            side,
            message: error.to_string(),
        })
    }
}

struct Comparison<'a> {
    nodes: &'a dyn Nodes,
    source: &'a Source<'a>,
    filter: &'a Filter,
}

impl Comparison<'_> {
    fn repo(&self, pair: &RepoPair) -> std::result::Result<PackagesDiff, Fault> {
        let find = |repo: &Option<Repo>| {
            repo.as_ref().map(|repo| self.primary(&pair.path, repo)).transpose()
        };
        let (old, new) = Fault::both(find(&pair.old), find(&pair.new))?;
        let mut found = PackagesDiff { repos_compared: 1, ..PackagesDiff::default() };
        match (&pair.old, &pair.new) {
            (None, _) => found.repos_added.push(pair.path.clone()),
            (_, None) => found.repos_removed.push(pair.path.clone()),
            (Some(_), Some(_)) => {}
        }
        if let (Some((_, old)), Some((_, new))) = (&old, &new)
            && old.file.object == new.file.object
        {
            return Ok(found);
        }
        let read = |primary: Option<(Repomd, Located)>| match primary {
            Some((repomd, located)) => self.read(&pair.path, &repomd, &located),
            None => Ok(Vec::new()),
        };
        let (old, new) = rayon::join(|| read(old), || read(new));
        let (old, new) = Fault::both(old, new)?;
        compare(&pair.path, &old, &new, &mut found);
        Ok(found)
    }

    fn primary(
        &self,
        path: &RelPath,
        repo: &Repo,
    ) -> std::result::Result<(Repomd, Located), RepoError> {
        let repomd = read_repomd(self.source, path, repo)?;
        let record = repomd
            .record("primary")
            .ok_or_else(|| RepoError::NoPrimary { path: repomd_path(path) })?;
        let located = locate(self.nodes, path, repo, record)?;
        Ok((repomd, located))
    }

    /// Returns a repo's packages in order.
    fn read(
        &self,
        repo: &RelPath,
        repomd: &Repomd,
        located: &Located,
    ) -> std::result::Result<Vec<Listed>, RepoError> {
        let record = repomd.record("primary").expect("the caller found it there");
        let mut words = Words::default();
        let mut listed = Vec::new();
        read_record(self.source, located, record, |file, reader| {
            primary::read(file, reader, &mut |package: primary::Package| {
                let Nevra { name, arch, .. } = &package.nevra;
                if self.filter.accepts_package(repo, name, arch) {
                    listed.push(Listed::new(package, &mut words));
                }
                Ok::<_, cairn_repodata::Error>(())
            })
        })?;
        listed.sort_unstable_by(|a, b| a.key().cmp(&b.key()).then_with(|| pairing::order(a, b)));
        Ok(listed)
    }
}

/// What is kept of a package.
struct Listed {
    name: Arc<str>,
    arch: Arc<str>,
    evr: Evr,
    pkgid: Checksum,
    source: Arc<str>,
    /// The source package's version and release.
    build: Arc<str>,
    size: u64,
}

impl Listed {
    fn new(package: primary::Package, words: &mut Words) -> Self {
        let Nevra { name, mut evr, arch } = package.nevra;
        // They grew while they were read, and there may be a hundred thousand.
        evr.version.shrink_to_fit();
        evr.release.shrink_to_fit();
        let source = Nevra::parse(&package.source_rpm);
        let (source, built) = match &source {
            Some(source) => (source.name.as_str(), &source.evr),
            None => (name.as_str(), &evr),
        };
        let build = format!("{}-{}", built.version, built.release);
        Self {
            source: words.get(source),
            build: words.get(&build),
            name: words.get(&name),
            arch: words.get(&arch),
            evr,
            pkgid: package.pkgid,
            size: package.package_size,
        }
    }

    fn key(&self) -> (&str, &str) {
        (&self.name, &self.arch)
    }
}

impl Version for Listed {
    fn evr(&self) -> &Evr {
        &self.evr
    }

    fn pkgid(&self) -> &Checksum {
        &self.pkgid
    }
}

/// Words that occur again and again, each in memory once.
#[derive(Default)]
struct Words(HashSet<Arc<str>>);

impl Words {
    fn get(&mut self, word: &str) -> Arc<str> {
        if let Some(known) = self.0.get(word) {
            return known.clone();
        }
        let word: Arc<str> = word.into();
        self.0.insert(word.clone());
        word
    }
}

fn compare(repo: &RelPath, old: &[Listed], new: &[Listed], found: &mut PackagesDiff) {
    let groups = in_step(groups(old), groups(new));
    for ((name, arch), old, new) in groups {
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        // Both sides are sorted, and one name may have very many versions.
        let stays = |version: &Listed| {
            new.binary_search_by(|other| pairing::order_as_written(other, version)).is_ok()
        };
        let row = |before: Option<&Listed>, after: Option<&Listed>| PackageRow {
            repo: repo.clone(),
            name: name.to_owned(),
            arch: arch.to_owned(),
            old: before.map(|version| version.evr.to_string()),
            new: after.map(|version| version.evr.to_string()),
            kept: before.is_some_and(stays),
            alone: old.is_empty() || new.is_empty(),
            source: after.or(before).map_or_else(String::new, |v| v.source.to_string()),
            source_old: before.map(|version| version.build.to_string()),
            source_new: after.map(|version| version.build.to_string()),
            old_size: before.map(|version| version.size),
            new_size: after.map(|version| version.size),
        };
        pairing::pair(old, new, &mut |outcome| match outcome {
            Outcome::Added(new) => found.added.push(row(None, Some(new))),
            Outcome::Removed(old) => found.removed.push(row(Some(old), None)),
            Outcome::Upgraded(old, new) => found.upgraded.push(row(Some(old), Some(new))),
            Outcome::Downgraded(old, new) => found.downgraded.push(row(Some(old), Some(new))),
            Outcome::Rebuilt(old, new) => {
                let row = row(Some(old), Some(new));
                found.rebuilt.push(PackageRow { kept: false, ..row });
            }
        });
    }
}

/// Iterates over a sorted side by name and architecture.
fn groups(side: &[Listed]) -> impl Iterator<Item = ((&str, &str), &[Listed])> {
    side.chunk_by(|a, b| a.key() == b.key()).map(|group| (group[0].key(), group))
}
