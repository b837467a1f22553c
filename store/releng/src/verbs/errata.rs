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

use super::moves::ref_name;
use super::turn::Turn;
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

/// Adds advisories to the repos that are staged for a release.
///
/// `from` is one `updateinfo.xml`, whose advisories go to every repo that has a package of a name
/// and architecture that they fix; or a directory with `ARCH/REPO-updateinfo.xml`, each of which
/// goes to `REPO/ARCH/os`. All may be compressed.
///
/// # Errors
/// Files that cannot be read or are no advisories, repos that are not staged, and what staging
/// refuses.
pub fn errata(
    site: &Site,
    release: &str,
    from: &Path,
    mode: Mode,
    observer: &dyn Observer,
) -> Result<Report> {
    let release = site.config.release(release)?;
    let name = ref_name(release.staging_ref())?;
    site.existing(&name)?;
    let given = Given::read(from)?;
    let mut turn = Turn::begin(site, "errata", mode, std::slice::from_ref(&name), observer)?;
    let (old, old_root) = site.existing(&name)?;
    let mut errata = ErrataReport { given: given.count(), ..ErrataReport::default() };
    let draft = &turn.draft;
    let placing = Placing { site, draft, release: &release, root: &old_root, mode, observer };
    let advisories = placing.place(given, &mut errata)?;
    turn.report.errata = Some(errata);
    let inputs = Inputs { release: &release, trees: Vec::new(), composes: Vec::new(), advisories };
    let root = turn.described(Some(&old_root), &old_root, &inputs)?;
    let facts = BTreeMap::from([("from".into(), display(from).to_string())]);
    let moves = vec![turn.to_tree(name, Some((old, old_root)), root, facts, [])];
    turn.finish(moves)
}

/// Advisories as they were given.
enum Given {
    /// For whatever repos have their packages.
    Anywhere(Vec<Advisory>),
    /// For the repo at a path: the file that they are from, and they.
    At(BTreeMap<RelPath, (PathBuf, Vec<Advisory>)>),
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
fn read_dir(from: &Path) -> Result<BTreeMap<RelPath, (PathBuf, Vec<Advisory>)>> {
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
            let arch = String::from_utf8_lossy(&arch);
            let at = RelPath::new(format!("{repo}/{arch}/os"))
                .map_err(|reason| wrong(reason.to_owned()))?;
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

/// Finds the repos that advisories go to.
struct Placing<'a> {
    site: &'a Site,
    draft: &'a Draft<'a>,
    release: &'a ReleaseView<'a>,
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
                for (path, (file, list)) in repos {
                    let Some(packages) = self.packages(&path)? else {
                        let reason = format!("there is no repo {path} in what is staged");
                        return Err(Error::Input { path: file, reason });
                    };
                    self.judge(&packages, &list, &mut present, errata);
                    placed.insert(path, list);
                }
            }
            Given::Anywhere(list) => {
                homeless = list.iter().map(|advisory| advisory.id.clone()).collect();
                for path in self.repos() {
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

    /// The repos that clients ask for advisories.
    fn repos(&self) -> Vec<RelPath> {
        let section = self.release.section();
        let repos = &section.repos;
        let mut names: Vec<&String> = repos.comps.iter().chain(&repos.plain).collect();
        names.sort_unstable();
        names.dedup();
        let at = |repo| section.arches.iter().map(move |arch| format!("{repo}/{arch}/os"));
        names.into_iter().flat_map(at).filter_map(|path| RelPath::new(path).ok()).collect()
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
