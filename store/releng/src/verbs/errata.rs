//! Errata: advisories go into the metadata of what is staged.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use cairn_repodata::codec::{self, Limits};
use cairn_repodata::updateinfo::{self, Advisory};
use cairn_store::fs::{Dir, Kind};
use cairn_store::path::{RelPath, display};
use cairn_store::progress::Observer;
use cairn_store::tree::{DirEntry, Draft, Entry, lookup};
use serde::Serialize;

use super::judge::Asked;
use super::moves::ref_name;
use super::sig::{described_projects, only, project_path};
use super::turn::Turn;
use crate::closure::{World, worlds};
use crate::config::Environment;
use crate::error::{Error, Result};
use crate::names::ReleaseView;
use crate::report::{Mode, Report};
use crate::repos::{Inputs, RepoPackages, repo_packages};
use crate::site::Site;

/// Largest file of advisories in bytes, compressed or not. All of a release have some 20 MB.
const MAX_FILE: u64 = 512 << 20;
/// How a file of a directory of advisories ends, before what it is compressed with.
const SUFFIX: &str = "-updateinfo.xml";

/// What became of advisories.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ErrataReport {
    /// How many different advisories were given.
    pub given: usize,
    /// Advisories that are new in a repo, by id.
    pub added: BTreeSet<String>,
    /// Advisories that replace an older state of themselves in a repo.
    pub updated: BTreeSet<String>,
    /// Advisories none of whose packages is in any repo that they went to: of versions that are
    /// gone, or of packages that are somewhere else.
    pub absent: BTreeSet<String>,
    /// Advisories that went nowhere, because no repo has a package of that name.
    pub unplaced: BTreeSet<String>,
}

/// How advisories are added.
#[derive(Clone, Debug, Default)]
pub struct ErrataOptions {
    /// The SIG that they are for instead of the release, by name, or by the short name of one
    /// compose for its project only.
    pub sig: Option<String>,
    /// Gates that the operator does not want asked; the session must say why.
    pub skip_gates: Vec<String>,
    /// Whether to act.
    pub mode: Mode,
}

/// Adds advisories to the repos that are staged for a release, or for a SIG of it.
///
/// `from` is one `updateinfo.xml`, whose advisories go to every repo that has a package of a name
/// and architecture that they fix; or a directory with `ARCH/REPO-updateinfo.xml`, each of which
/// goes to `REPO/ARCH/os`, of a SIG to the one repo whose path has parts of both names. All may be
/// compressed.
///
/// # Errors
/// Files that cannot be read or are no advisories, repos that are not staged, and what staging
/// refuses.
pub fn errata(
    site: &Site,
    release: &str,
    from: &Path,
    options: &ErrataOptions,
    observer: &dyn Observer,
) -> Result<Report> {
    let release = site.config.release(release)?;
    let (staging, projects) = match &options.sig {
        None => (release.staging_ref(), None),
        Some(sig) => {
            let sig = release.sig_group(sig)?;
            let paths = sig.composes.iter().map(|(_, project)| project_path(project));
            (sig.staging_ref, Some(paths.collect::<Result<Vec<_>>>()?))
        }
    };
    let name = ref_name(staging)?;
    site.existing(&name)?;
    let asked = Asked::of(site, Environment::Staging, &options.skip_gates)?;
    let given = Given::read(from)?;
    let mode = options.mode;
    let mut turn = Turn::begin(site, "errata", mode, std::slice::from_ref(&name), observer)?;
    let (old, old_root) = site.existing(&name)?;
    let mut errata = ErrataReport { given: given.count(), ..ErrataReport::default() };
    let repos = match &projects {
        None => Repos::Release(&release),
        Some(projects) => Repos::of_sig(&turn.draft, &old_root, projects)?,
    };
    let placing = Placing { site, draft: &turn.draft, repos, root: &old_root, mode, observer };
    let advisories = placing.place(given, &mut errata)?;
    turn.report.errata = Some(errata);
    let inputs = Inputs { release: &release, trees: Vec::new(), composes: Vec::new(), advisories };
    let root = match &projects {
        None => turn.described(Some(&old_root), &old_root, &inputs)?,
        Some(of) => described_projects(&mut turn, Some(&old_root), &old_root, of, &inputs)?,
    };
    turn.judge_staged(&asked, release, &name, Some(old_root), root)?;
    let facts = BTreeMap::from([("from".into(), display(from).to_string())]);
    let moves = vec![turn.to_tree(name, Some((old, old_root)), root, facts, [])];
    turn.finish(moves)
}

/// The repo that a file `ARCH/REPO-updateinfo.xml` is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RepoName {
    repo: String,
    arch: String,
}

/// Advisories as they were given.
enum Given {
    /// For whatever repos have their packages.
    Anywhere(Vec<Advisory>),
    /// For the repo of a name: the file that they are from, and they.
    At(BTreeMap<RepoName, (PathBuf, Vec<Advisory>)>),
}

impl Given {
    fn read(from: &Path) -> Result<Given> {
        let (Some(parent), Some(name)) = (from.parent(), from.file_name()) else {
            return Ok(Given::At(read_dir(from)?));
        };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let dir = Dir::open(parent)?;
        let name = name.as_encoded_bytes();
        let is_dir = match dir.stat(name)?.kind {
            Kind::Dir => true,
            Kind::Symlink => Dir::open(from).is_ok(),
            Kind::File | Kind::Other(_) => false,
        };
        match is_dir {
            true => Ok(Given::At(read_dir(from)?)),
            false => Ok(Given::Anywhere(read_file(&dir, name)?)),
        }
    }

    fn count(&self) -> usize {
        let ids: HashSet<&str> = match self {
            Given::Anywhere(list) => list.iter().map(|advisory| advisory.id.as_str()).collect(),
            Given::At(repos) => {
                let all = repos.values().flat_map(|(_, list)| list);
                all.map(|advisory| advisory.id.as_str()).collect()
            }
        };
        ids.len()
    }
}

/// Reads `ARCH/REPO-updateinfo.xml`, compressed or not, for all architectures and repos there are.
fn read_dir(from: &Path) -> Result<BTreeMap<RepoName, (PathBuf, Vec<Advisory>)>> {
    let top = Dir::open(from)?;
    let mut found = BTreeMap::new();
    for arch in top.names()? {
        if top.stat(&arch)?.kind != Kind::Dir {
            continue;
        }
        let dir = top.dir(&arch)?;
        for name in dir.names()? {
            let path = dir.path_of(&name);
            let wrong = |reason: String| Error::Input { path: path.clone(), reason };
            let text = std::str::from_utf8(&name).unwrap_or_default();
            let Some((repo, packed)) = text.split_once(SUFFIX) else { continue };
            if !["", ".gz", ".xz", ".zst", ".bz2"].contains(&packed) {
                continue;
            }
            let arch = String::from_utf8_lossy(&arch).into_owned();
            let at = RepoName { repo: repo.to_owned(), arch };
            let list = read_file(&dir, &name)?;
            if found.insert(at, (path.clone(), list)).is_some() {
                return Err(wrong("there is another file for this repo; remove one".into()));
            }
        }
    }
    if found.is_empty() {
        return Err(Error::Input {
            path: from.to_owned(),
            reason: format!("it holds no ARCH/REPO{SUFFIX}, compressed or not"),
        });
    }
    Ok(found)
}

fn read_file(dir: &Dir, name: &[u8]) -> Result<Vec<Advisory>> {
    let path = dir.path_of(name);
    let wrong = |reason: String| Error::Input { path: path.clone(), reason };
    let file = dir.open_file(name)?;
    let stat = file.stat()?;
    if stat.kind != Kind::File || stat.size > MAX_FILE {
        return Err(wrong(format!("it is not a file of at most {MAX_FILE} bytes")));
    }
    let shown = display(&path).to_string();
    let reader = std::io::BufReader::new(file.into_file());
    let limits = Limits::default().at_most(MAX_FILE);
    let unusable = |error| Error::input(&path, &error);
    let decoder = codec::decoder(&shown, reader, limits).map_err(unusable)?;
    updateinfo::read(&shown, decoder).map_err(unusable)
}

/// The repos that clients ask for advisories.
enum Repos<'a> {
    /// Those that the configuration names.
    Release(&'a ReleaseView<'a>),
    /// Those that the projects have: nobody names the repos of SIGs.
    Sig(Vec<RelPath>),
}

impl Repos<'_> {
    fn of_sig(draft: &Draft<'_>, root: &DirEntry, projects: &[RelPath]) -> Result<Self> {
        let worlds = worlds(draft, &only(draft, root, projects)?)?;
        Ok(Self::Sig(worlds.iter().flat_map(World::main_repos).cloned().collect()))
    }

    fn all(&self) -> Vec<RelPath> {
        let release = match self {
            Repos::Release(release) => release.section(),
            Repos::Sig(paths) => return paths.clone(),
        };
        let repos = &release.repos;
        let mut names: Vec<&String> = repos.comps.iter().chain(&repos.plain).collect();
        names.sort_unstable();
        names.dedup();
        let at = |repo| release.arches.iter().map(move |arch| format!("{repo}/{arch}/os"));
        names.into_iter().flat_map(at).filter_map(|path| RelPath::new(path).ok()).collect()
    }

    /// Returns the repo of a name, or why there is none.
    fn named(&self, name: &RepoName) -> std::result::Result<RelPath, String> {
        let RepoName { repo, arch } = name;
        let paths = match self {
            Repos::Release(_) => {
                return RelPath::new(format!("{repo}/{arch}/os")).map_err(str::to_owned);
            }
            Repos::Sig(paths) => paths,
        };
        let has = |path: &RelPath, part: &str| path.names().any(|name| name == part.as_bytes());
        let mut found = paths.iter().filter(|path| has(path, repo) && has(path, arch));
        match (found.next(), found.next()) {
            (Some(path), None) => Ok(path.clone()),
            (Some(one), Some(other)) => Err(format!(
                "{repo} of {arch} may be {one} or {other}; name the file after a part of the path \
                 that only one has"
            )),
            (None, _) => Err(format!("there is no repo {repo} of {arch} in what is staged")),
        }
    }
}

/// Finds the repos that advisories go to.
struct Placing<'a> {
    site: &'a Site,
    draft: &'a Draft<'a>,
    repos: Repos<'a>,
    root: &'a DirEntry,
    mode: Mode,
    observer: &'a dyn Observer,
}

impl Placing<'_> {
    fn place(
        &self,
        given: Given,
        errata: &mut ErrataReport,
    ) -> Result<BTreeMap<RelPath, Vec<Advisory>>> {
        let mut placed = BTreeMap::new();
        let mut present = HashSet::new();
        let mut homeless: BTreeSet<String> = BTreeSet::new();
        match given {
            Given::At(repos) => {
                for (name, (file, list)) in repos {
                    let wrong = |reason| Error::Input { path: file.clone(), reason };
                    let path = self.repos.named(&name).map_err(wrong)?;
                    let Some(packages) = self.packages(&path)? else {
                        return Err(wrong(format!("there is no repo {path} in what is staged")));
                    };
                    self.judge(&packages, &list, &mut present, errata);
                    if placed.insert(path, list).is_some() {
                        return Err(wrong("another file is for the same repo; remove one".into()));
                    }
                }
            }
            Given::Anywhere(list) => {
                homeless = list.iter().map(|advisory| advisory.id.clone()).collect();
                for path in self.repos.all() {
                    let Some(packages) = self.packages(&path)? else { continue };
                    let here: Vec<Advisory> = list
                        .iter()
                        .filter(|advisory| packages.has_any(advisory))
                        .cloned()
                        .collect();
                    for advisory in &here {
                        homeless.remove(&advisory.id);
                    }
                    self.judge(&packages, &here, &mut present, errata);
                    placed.insert(path, here);
                }
            }
        }
        let all = placed.values().flatten().map(|advisory| &advisory.id);
        errata.absent = all.filter(|id| !present.contains(*id)).cloned().collect();
        errata.unplaced = homeless;
        placed.retain(|_, list| !list.is_empty());
        Ok(placed)
    }

    fn packages(&self, path: &RelPath) -> Result<Option<RepoPackages>> {
        match lookup(self.draft, self.root, path)? {
            Some(Entry::Dir(dir)) => {
                repo_packages(self.site, self.draft, path, &dir, self.mode, self.observer)
            }
            Some(Entry::File(_) | Entry::Symlink(_)) | None => Ok(None),
        }
    }

    /// Notes what is new in a repo, and which advisories have a package there.
    fn judge(
        &self,
        packages: &RepoPackages,
        list: &[Advisory],
        present: &mut HashSet<String>,
        errata: &mut ErrataReport,
    ) {
        for advisory in list {
            if packages.has_some_of(advisory) {
                present.insert(advisory.id.clone());
            }
            match packages.advisories.get(&advisory.id) {
                None => drop(errata.added.insert(advisory.id.clone())),
                Some(old) if old.bytes != advisory.bytes && old.changed() <= advisory.changed() => {
                    errata.updated.insert(advisory.id.clone());
                }
                Some(_) => {}
            }
        }
    }
}
