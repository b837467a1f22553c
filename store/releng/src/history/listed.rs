//! Packages by name in the metadata of repos, each metadata read once whatever the number of
//! snapshots, refs and repos that have it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cairn_repodata::{Nevra, primary};
use cairn_store::id::{ObjectId, TreeId};
use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::tree::{DirEntry, Entry, lookup};
use globset::{GlobBuilder, GlobMatcher};
use rayon::prelude::*;
use serde::Serialize;

use crate::audit::RepoError;
use crate::audit::content::{locate, read_record, read_repomd, repomd_path};
use crate::audit::repos::{REPODATA, Repo, repo_at};
use crate::error::{Error, Result};
use crate::site::Site;

/// How many packages of one repo are told: a pattern that accepts more is no question.
const PACKAGES: usize = 20_000;

/// Metadata that could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// The directory of a repo that has it.
    pub repo: RelPath,
    /// What is wrong; it names the file.
    pub message: String,
}

/// Which packages are asked for.
pub(super) struct Wanted {
    query: String,
    glob: Option<GlobMatcher>,
}

impl Wanted {
    /// Reads a package's name, any part of a NEVRA that begins with the name, or a pattern for
    /// either; nothing for what can only be a file.
    pub fn new(query: &str, is_pattern: bool) -> std::result::Result<Option<Self>, globset::Error> {
        if query.starts_with('.') || query.ends_with(".rpm") {
            return Ok(None);
        }
        let glob = match is_pattern {
            true => Some(GlobBuilder::new(query).build()?.compile_matcher()),
            false => None,
        };
        Ok(Some(Self { query: query.to_owned(), glob }))
    }

    fn accepts(&self, nevra: &Nevra) -> bool {
        let Nevra { name, evr, arch } = nevra;
        let matches = |text: &str| match &self.glob {
            Some(glob) => glob.is_match(text),
            None => self.query == text,
        };
        if matches(name) {
            return true;
        }
        // Most packages end here: no form of theirs can be what was asked for.
        if self.glob.is_none() && !self.query.starts_with(name.as_str()) {
            return false;
        }
        let (version, release) = (&evr.version, &evr.release);
        let epoch = format!("{name}-{}:{version}-{release}", evr.epoch);
        [
            format!("{name}.{arch}"),
            format!("{name}-{version}"),
            format!("{name}-{version}-{release}"),
            format!("{name}-{version}-{release}.{arch}"),
            format!("{epoch}.{arch}"),
            epoch,
        ]
        .iter()
        .any(|form| matches(form))
    }
}

/// A package that a repo lists.
#[derive(Clone, Debug)]
struct Listed {
    /// Where, below the repo's directory.
    path: RelPath,
    nevra: Arc<str>,
}

/// A listed package in a tree: its path, what is there, and what the metadata calls it.
pub(super) type Place = (RelPath, Option<Entry>, Arc<str>);

/// What the repos of trees list.
pub(super) struct Listings<'a> {
    site: &'a Site,
    wanted: Wanted,
    /// The repos below a tree.
    repos: HashMap<TreeId, Arc<[(RelPath, Repo)]>>,
    /// What metadata lists, by its `repomd.xml`.
    listed: HashMap<ObjectId, Arc<[Listed]>>,
    /// What repos list, found in their trees.
    places: HashMap<TreeId, Arc<[Place]>>,
    /// What could not be read.
    pub unreadable: Vec<Unreadable>,
}

impl<'a> Listings<'a> {
    pub fn new(site: &'a Site, wanted: Wanted) -> Self {
        let (repos, listed, places) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { site, wanted, repos, listed, places, unreadable: Vec::new() }
    }

    /// Returns how many different repos were asked.
    pub fn asked(&self) -> usize {
        self.listed.len()
    }

    /// Reads all metadata below these trees, in parallel, each once.
    pub fn read(&mut self, roots: &[DirEntry], observer: &dyn Observer) -> Result<()> {
        let mut different: BTreeMap<ObjectId, (RelPath, Repo)> = BTreeMap::new();
        for root in roots {
            for (path, repo) in self.below(root)?.iter() {
                if let Entry::File(file) = &repo.repomd {
                    different.entry(file.object).or_insert_with(|| (path.clone(), repo.clone()));
                }
            }
        }
        observer.begin("Reading repodata", different.len() as u64, 0);
        let different: Vec<_> = different.into_iter().collect();
        let read = different.par_iter().map(|(id, (path, repo))| {
            if observer.interrupted() {
                return Err(cairn_store::Error::Interrupted.into());
            }
            let listed = self.list(path, repo);
            observer.advance(1, 0);
            Ok((*id, path, listed))
        });
        let read: Vec<_> = read.collect::<Result<_>>()?;
        for (id, path, listed) in read {
            let listed = listed.unwrap_or_else(|error| {
                let message = error.to_string();
                self.unreadable.push(Unreadable { repo: path.clone(), message });
                Vec::new()
            });
            if listed.len() > PACKAGES {
                return Err(Error::Setting {
                    key: self.wanted.query.clone(),
                    reason: format!(
                        "it is more than {PACKAGES} packages of one repo; say more of it"
                    ),
                });
            }
            self.listed.insert(id, listed.into());
        }
        Ok(())
    }

    /// Returns the packages that are listed below a root whose metadata was read.
    pub fn places(&mut self, root: &DirEntry) -> Result<Vec<Place>> {
        let mut found = Vec::new();
        for (path, repo) in self.below(root)?.iter() {
            for (inside, entry, nevra) in self.of_repo(repo)?.iter() {
                found.push((path.join_path(inside), entry.clone(), nevra.clone()));
            }
        }
        Ok(found)
    }

    fn of_repo(&mut self, repo: &Repo) -> Result<Arc<[Place]>> {
        if let Some(known) = self.places.get(&repo.dir.tree) {
            return Ok(known.clone());
        }
        let Entry::File(repomd) = &repo.repomd else { return Ok(Arc::default()) };
        let listed = self.listed.get(&repomd.object).cloned().unwrap_or_default();
        let mut places = Vec::new();
        for one in listed.iter() {
            let entry = lookup(&self.site.store, &repo.dir, &one.path)?;
            places.push((one.path.clone(), entry, one.nevra.clone()));
        }
        let places: Arc<[Place]> = places.into();
        self.places.insert(repo.dir.tree, places.clone());
        Ok(places)
    }

    fn below(&mut self, dir: &DirEntry) -> Result<Arc<[(RelPath, Repo)]>> {
        if let Some(known) = self.repos.get(&dir.tree) {
            return Ok(known.clone());
        }
        let mut found = Vec::new();
        found.extend(repo_at(&self.site.store, dir)?.map(|repo| (RelPath::ROOT, repo)));
        let tree = cairn_store::tree::Nodes::tree(&self.site.store, &dir.tree)?;
        for (name, entry) in tree.entries() {
            // Repos may lie in repos, but not in metadata.
            if let Entry::Dir(dir) = entry
                && name != REPODATA
            {
                let prefix = RelPath::ROOT.join(name);
                let below = self.below(dir)?;
                found.extend(below.iter().map(|(p, repo)| (prefix.join_path(p), repo.clone())));
            }
        }
        let found: Arc<[(RelPath, Repo)]> = found.into();
        self.repos.insert(dir.tree, found.clone());
        Ok(found)
    }

    /// Reads the packages of one repo that are asked for.
    fn list(&self, path: &RelPath, repo: &Repo) -> std::result::Result<Vec<Listed>, RepoError> {
        let open = |file: &_, path: &_| self.site.open_content(file, path);
        let repomd = read_repomd(&open, path, repo)?;
        let record = repomd
            .record("primary")
            .ok_or_else(|| RepoError::NoPrimary { path: repomd_path(path) })?;
        let located = locate(&self.site.store, path, repo, record)?;
        let mut listed = Vec::new();
        read_record(&open, &located, record, |file, reader| {
            primary::read(file, reader, &mut |package: primary::Package| {
                // A package of another medium, or outside of the repo, is at no path of the tree.
                if listed.len() <= PACKAGES
                    && package.base.is_none()
                    && self.wanted.accepts(&package.nevra)
                    && let Ok(path) = RelPath::new(&package.href)
                {
                    listed.push(Listed { path, nevra: package.nevra.to_string().into() });
                }
                Ok::<_, cairn_repodata::Error>(())
            })
        })?;
        Ok(listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_asked_for_by_its_name_or_by_any_beginning_of_its_nevra() {
        let nevra = Nevra::parse("openssl-libs-1:3.5.1-4.el9.x86_64").unwrap();
        for (query, accepted) in [
            ("openssl-libs", true),
            ("openssl", false),
            ("openssl-libs.x86_64", true),
            ("openssl-libs.i686", false),
            ("openssl-libs-3.5.1", true),
            ("openssl-libs-3.5.1-4.el9", true),
            ("openssl-libs-1:3.5.1-4.el9", true),
            ("openssl-libs-3.5.1-4.el9.x86_64", true),
            ("openssl-libs-1:3.5.1-4.el9.x86_64", true),
            ("openssl-libs-2:3.5.1-4.el9.x86_64", false),
            ("openssl*", true),
            ("*-libs", true),
            ("openssl-libs-3.5.*", true),
            ("openssl-libs-1:3.5.?-4*", true),
            ("{glibc,openssl-libs}", true),
            ("open[a-r]*", false),
        ] {
            let wanted = Wanted::new(query, query.contains(['*', '?', '[', '{'])).unwrap().unwrap();
            assert_eq!(wanted.accepts(&nevra), accepted, "{query}");
        }
        for file in [".treeinfo", "bash-5.1.8-9.el9.x86_64.rpm", "*.rpm"] {
            assert!(Wanted::new(file, file.contains('*')).unwrap().is_none(), "{file}");
        }
    }
}
