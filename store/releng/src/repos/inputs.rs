//! What goes into a repo's metadata beside its packages, and does not come from the tree.

use std::collections::BTreeMap;
use std::path::Path;

use cairn_repodata::comps;
use cairn_repodata::modules;
use cairn_repodata::updateinfo::Advisory;
use cairn_store::fs::{Dir, Kind};
use cairn_store::path::RelPath;
use cairn_store::tree::DirEntry;

use crate::error::{Error, Result};
use crate::names::ReleaseView;

/// Largest comps or modules file in bytes. Real ones have a megabyte.
const MAX_FILE: u64 = 64 << 20;

/// A compose whose metadata is known.
#[derive(Clone, Debug)]
pub struct ComposeInput {
    /// Its short name: `Rocky`.
    pub short: String,
    /// Where it was when it was ingested, if that is known.
    pub dir: Option<String>,
}

/// What new metadata is made from beside the packages.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// The release, for templates of the configuration and for which repos have comps.
    pub release: &'a ReleaseView<'a>,
    /// Trees whose metadata describes packages of the new tree, the newest last. The tree that is
    /// replaced is always known and need not be here.
    pub trees: Vec<DirEntry>,
    /// Composes whose comps and modules files are looked for, the newest last.
    pub composes: Vec<ComposeInput>,
    /// Advisories to be added, by repo.
    pub advisories: BTreeMap<RelPath, Vec<Advisory>>,
}

/// Files outside the tree for one repo.
#[derive(Debug, Default)]
pub(super) struct External {
    pub group: Option<Vec<u8>>,
    pub modules: Vec<modules::Document>,
    /// The newest modification time of any of them.
    pub newest: Option<i64>,
}

impl Inputs<'_> {
    /// Returns the repos that files outside the tree may change.
    pub(super) fn external_repos(&self) -> Vec<RelPath> {
        let mut paths: Vec<RelPath> = self.advisories.keys().cloned().collect();
        if !self.composes.is_empty() {
            let section = self.release.section();
            let names = section.repos.comps.iter().chain(&section.repos.modules);
            let at = |repo| section.arches.iter().map(move |arch| format!("{repo}/{arch}/os"));
            paths.extend(names.flat_map(at).filter_map(|path| RelPath::new(path).ok()));
        }
        paths
    }

    /// Reads the files that the configuration names for the repo at `path`.
    pub(super) fn external(&self, path: &RelPath) -> Result<External> {
        let mut external = External::default();
        let Some([repo, arch]) = repo_and_arch(path) else { return Ok(external) };
        let section = self.release.section();
        let has = |list: &[String]| list.iter().any(|name| name == repo);
        // The newest compose that has comps says which groups there are.
        for compose in self.composes.iter().rev().filter(|_| has(&section.repos.comps)) {
            let dir = compose.dir.as_deref();
            let path = self.release.comps_path(&compose.short, dir, arch, repo)?;
            if let Some((bytes, time)) = read(Path::new(&path))? {
                comps::read(&path, bytes.as_slice())
                    .map_err(|error| Error::input(&path, &error))?;
                external.group = Some(bytes);
                external.newest = external.newest.max(Some(time));
                break;
            }
        }
        for compose in self.composes.iter().filter(|_| has(&section.repos.modules)) {
            let dir = compose.dir.as_deref();
            let path = self.release.modules_path(&compose.short, dir, arch, repo)?;
            if let Some((bytes, time)) = read(Path::new(&path))? {
                let documents =
                    modules::read(&path, &bytes).map_err(|error| Error::input(&path, &error))?;
                external.modules = modules::merge(external.modules, documents);
                external.newest = external.newest.max(Some(time));
            }
        }
        Ok(external)
    }
}

/// Returns repo and architecture of `REPO/ARCH/os`, which alone has comps and modules.
fn repo_and_arch(path: &RelPath) -> Option<[&str; 2]> {
    match path.to_str()?.split('/').collect::<Vec<_>>()[..] {
        [repo, arch, "os"] => Some([repo, arch]),
        _ => None,
    }
}

/// Reads a file and its time in seconds since 1970, or nothing if it is not there.
pub(super) fn read(path: &Path) -> Result<Option<(Vec<u8>, i64)>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let dir = match Dir::open(parent) {
        Ok(dir) => dir,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let name = name.as_encoded_bytes();
    let Some(stat) = dir.try_stat(name)? else { return Ok(None) };
    if stat.kind != Kind::File || stat.size > MAX_FILE {
        let reason = format!("it is not a file of at most {MAX_FILE} bytes");
        return Err(Error::Input { path: path.to_owned(), reason });
    }
    Ok(Some((dir.read(name)?, stat.mtime.secs)))
}
