//! Closure: what packages require and nothing in the repos beside them provides.
//!
//! The repos of a tree make one world for each architecture, by the part of their path that names
//! it (`BaseOS/x86_64/os`); repos without such a part make one together. In a world every package
//! is judged by itself, as `dnf repoclosure` does: each of its requirements must be met by some
//! package, whether or not all can be installed together. Kickstart and debug trees may use what
//! the main repos have, and not the other way round; source packages are not judged. Module
//! streams count as enabled. A world may have repos of another tree beside its own, which provide
//! and are not judged: those of a release beside those of a SIG.
//!
//! One world is in memory at a time, some kilobytes for each package. A requirement that many
//! packages have is parsed and judged once. File lists are read only if a required path is in no
//! `primary`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use cairn_repodata::primary::{self, Dependency};
use cairn_repodata::repomd::Repomd;
use cairn_repodata::{Evr, filelists};
use cairn_store::id::ObjectId;
use cairn_store::path::RelPath;
use cairn_store::tree::{DirEntry, Entry, Nodes};
use rayon::prelude::*;

use crate::audit::RepoError;
use crate::audit::content::{locate, read_record, read_repomd, repomd_path};
use crate::audit::repos::{Repo, differing};
use crate::content::Source;

mod index;
mod rich;

use index::Index;
use rich::Expr;

/// Parts of paths that name an architecture.
const ARCHES: &[&str] = &[
    "x86_64",
    "aarch64",
    "ppc64le",
    "s390x",
    "riscv64",
    "i386",
    "i686",
    "armhfp",
    "ppc64",
    "loongarch64",
];
/// Parts of paths that say that a repo is beside the main ones.
const KICKSTART: &[u8] = b"kickstart";
const DEBUG: &[u8] = b"debug";
const SOURCE: &[&[u8]] = &[b"source", b"SRPMS"];

/// Most rows of one world: an emptied repo leaves nearly everything unresolved.
const MAX_ROWS: usize = 20_000;

/// What a repo is to the others of its world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    Main,
    Kickstart,
    Debug,
}

const CLASSES: usize = 3;

/// How much of a requirement is not met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Lack {
    Nothing,
    /// It depends on what else is installed.
    InOneCase,
    All,
}

/// How much a package wants something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Strength {
    Requires,
    Recommends,
    Suggests,
}

impl Strength {
    /// Returns it as the verb of a sentence.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Strength::Requires => "requires",
            Strength::Recommends => "recommends",
            Strength::Suggests => "suggests",
        }
    }
}

/// What a package wants and nothing provides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unresolved {
    /// The directory of the package's repo.
    pub(crate) repo: RelPath,
    pub(crate) name: String,
    pub(crate) arch: String,
    /// Its version, as `epoch:version-release`.
    pub(crate) evr: String,
    pub(crate) strength: Strength,
    /// What it wants, as `name >= version`.
    pub(crate) requirement: String,
    pub(crate) lack: Lack,
    /// Whether a higher version of the package is there: clients do not install this one.
    pub(crate) outdated: bool,
    /// What is wrong with the requirement, if it is a rich one that cannot be read.
    pub(crate) malformed: Option<String>,
}

impl Unresolved {
    /// Returns what makes it the same in another tree: the package, whatever its version.
    pub(crate) fn key(&self) -> (String, String, Strength, String) {
        (self.name.clone(), self.arch.clone(), self.strength, self.requirement.clone())
    }
}

/// What a world comes to.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    /// What is unresolved, sorted.
    pub(crate) rows: Vec<Unresolved>,
    /// How many more there are.
    pub(crate) omitted: u64,
    /// What cannot be read; then there are no rows.
    pub(crate) faults: Vec<Fault>,
}

/// A repo that cannot be read.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) repo: RelPath,
    /// Whether it is only beside those that are judged.
    pub(crate) beside: bool,
    pub(crate) error: RepoError,
}

/// Repos that are used together.
pub(crate) struct World {
    /// The architecture; empty where paths name none.
    pub(crate) arch: String,
    /// Those that are judged, then those that are only beside them.
    repos: Repos,
    /// How many are judged.
    judged: usize,
}

/// Returns the worlds of a tree, by architecture.
pub(crate) fn worlds(nodes: &dyn Nodes, root: &DirEntry) -> cairn_store::Result<Vec<World>> {
    let by_arch = by_arch(nodes, root)?.into_iter();
    Ok(by_arch.map(|(arch, repos)| World { arch, judged: repos.len(), repos }).collect())
}

/// Returns the worlds of a tree whose packages are used with those of another one, of which the
/// main repos of the same architecture provide and are not judged.
pub(crate) fn worlds_beside(
    nodes: &dyn Nodes,
    root: &DirEntry,
    beside: &DirEntry,
) -> cairn_store::Result<Vec<World>> {
    let mut others = by_arch(nodes, beside)?;
    let mut worlds = worlds(nodes, root)?;
    for world in worlds.iter_mut().filter(|world| !world.arch.is_empty()) {
        let others = others.remove(&world.arch).unwrap_or_default();
        world.repos.extend(others.into_iter().filter(|(_, _, class)| *class == Class::Main));
    }
    Ok(worlds)
}

type Repos = Vec<(RelPath, Repo, Class)>;

fn by_arch(nodes: &dyn Nodes, root: &DirEntry) -> cairn_store::Result<BTreeMap<String, Repos>> {
    let mut worlds: BTreeMap<String, Repos> = BTreeMap::new();
    for pair in differing(nodes, None, Some(root))? {
        let (Some(repo), Some((arch, class))) = (pair.new, place(&pair.path)) else { continue };
        worlds.entry(arch).or_default().push((pair.path, repo, class));
    }
    Ok(worlds)
}

/// Returns the architecture and class of a repo by its path; nothing for source packages.
fn place(path: &RelPath) -> Option<(String, Class)> {
    let mut arch = String::new();
    let mut class = Class::Main;
    for name in path.names() {
        if SOURCE.contains(&name) {
            return None;
        }
        match name {
            KICKSTART => class = Class::Kickstart,
            DEBUG => class = Class::Debug,
            name => {
                let known = ARCHES.iter().find(|arch| arch.as_bytes() == name);
                arch = known.map_or(arch, |known| (*known).to_owned());
            }
        }
    }
    Some((arch, class))
}

impl World {
    /// Returns the directories of the repos that clients have, but for those beside the main ones.
    pub(crate) fn main_repos(&self) -> impl Iterator<Item = &RelPath> {
        let main = self.repos.iter().filter(|(_, _, class)| *class == Class::Main);
        main.map(|(path, ..)| path)
    }

    /// Returns a hash of the metadata of all its repos: where it is the same, so is the answer.
    pub(crate) fn fingerprint(&self) -> ObjectId {
        let repo = |(path, repo, _): &(RelPath, Repo, Class)| match &repo.repomd {
            Entry::File(file) => format!("{path}\0{}\n", file.object),
            Entry::Dir(_) | Entry::Symlink(_) => format!("{path}\0{}\n", repo.repodata.tree),
        };
        let (judged, beside) = self.repos.split_at(self.judged);
        let mut text: String = judged.iter().map(repo).collect();
        if !beside.is_empty() {
            // No path is empty but a repo's that is the whole tree, whose line goes on with a zero.
            text.push('\n');
            text.extend(beside.iter().map(repo));
        }
        ObjectId::of(text.as_bytes())
    }

    /// Judges every package of the world.
    pub(crate) fn resolve(&self, nodes: &dyn Nodes, source: &Source<'_>) -> Resolved {
        let world = Mutex::new(Packages::default());
        let reading = Reading { nodes, source, world: &world };
        let read: Vec<_> =
            self.repos.par_iter().enumerate().map(|(at, repo)| reading.primary(at, repo)).collect();
        let mut resolved = Resolved::default();
        let fault = |at: usize, error| {
            let repo = self.repos[at].0.clone();
            Fault { repo, beside: at >= self.judged, error }
        };
        let mut repomds = Vec::new();
        for (at, read) in read.into_iter().enumerate() {
            match read {
                Ok(repomd) => repomds.push(repomd),
                Err(error) => resolved.faults.push(fault(at, error)),
            }
        }
        let wanted = take(&world).missing_paths();
        if !wanted.is_empty() && resolved.faults.is_empty() {
            let read: Vec<_> = self
                .repos
                .par_iter()
                .zip(&repomds)
                .map(|(repo, repomd)| reading.filelists(repo, repomd, &wanted))
                .collect();
            for (at, read) in read.into_iter().enumerate() {
                resolved.faults.extend(read.err().map(|error| fault(at, error)));
            }
        }
        if resolved.faults.is_empty() {
            let world = world.into_inner().unwrap_or_else(PoisonError::into_inner);
            (resolved.rows, resolved.omitted) = world.judge(&self.repos, self.judged);
        }
        resolved
    }
}

/// A panic while a package was added has ended the whole run.
fn take<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Reading<'a> {
    nodes: &'a dyn Nodes,
    source: &'a Source<'a>,
    world: &'a Mutex<Packages>,
}

impl Reading<'_> {
    fn primary(
        &self,
        at: usize,
        (path, repo, class): &(RelPath, Repo, Class),
    ) -> Result<Repomd, RepoError> {
        let repomd = read_repomd(self.source, path, repo)?;
        let record = repomd
            .record("primary")
            .ok_or_else(|| RepoError::NoPrimary { path: repomd_path(path) })?;
        let located = locate(self.nodes, path, repo, record)?;
        read_record(self.source, &located, record, |file, reader| {
            primary::read(file, reader, &mut |package: primary::Package| {
                take(self.world).add(at, *class, package);
                Ok::<_, cairn_repodata::Error>(())
            })
        })?;
        Ok(repomd)
    }

    /// Finds who has the paths that are wanted.
    fn filelists(
        &self,
        (path, repo, class): &(RelPath, Repo, Class),
        repomd: &Repomd,
        wanted: &HashSet<String>,
    ) -> Result<(), RepoError> {
        let Some(record) = repomd.record("filelists") else { return Ok(()) };
        let located = locate(self.nodes, path, repo, record)?;
        read_record(self.source, &located, record, |file, reader| {
            filelists::read(file, reader, &mut |package: filelists::PackageFiles| {
                let found = package.files.iter().filter(|file| wanted.contains(&file.path));
                for file in found {
                    take(self.world).add_file(*class, package.pkgid.hex(), &file.path);
                }
                Ok::<_, cairn_repodata::Error>(())
            })
        })?;
        Ok(())
    }
}

/// A package, as far as its requirements go.
struct Package {
    /// Its repo's number.
    repo: usize,
    class: Class,
    name: Box<str>,
    arch: Box<str>,
    evr: Evr,
    wants: Box<[(Strength, u32)]>,
}

impl Package {
    /// Returns whether the build system made it for a module; it says so in the release.
    fn is_of_module(&self) -> bool {
        self.evr.release.contains(".module")
    }
}

/// The packages of one world while they are read.
#[derive(Default)]
struct Packages {
    packages: Vec<Package>,
    index: Index,
    /// Requirements by how they are written, and the same by number.
    numbers: HashMap<String, u32>,
    wanted: Vec<(String, Result<Expr, String>)>,
    /// Packages by the hash of their checksum, for file lists.
    ids: HashMap<ObjectId, u32>,
}

impl Packages {
    fn add(&mut self, repo: usize, class: Class, package: primary::Package) {
        let number = self.packages.len() as u32;
        self.ids.insert(ObjectId::of(package.pkgid.hex().as_bytes()), number);
        for provide in &package.relations.provides {
            self.index.add(number, class, provide);
        }
        for file in &package.files {
            self.index.add_file(number, class, &file.path);
        }
        let lists = [
            (Strength::Requires, &package.relations.requires),
            (Strength::Recommends, &package.relations.recommends),
            (Strength::Suggests, &package.relations.suggests),
        ];
        let mut wants: Vec<_> = Vec::new();
        // Build requirements are not for whoever installs.
        let source = matches!(package.nevra.arch.as_str(), "src" | "nosrc");
        for (strength, list) in lists.into_iter().filter(|_| !source) {
            wants.extend(list.iter().map(|wanted| (strength, self.number(wanted))));
        }
        wants.sort_unstable();
        wants.dedup();
        let wants = wants.into_boxed_slice();
        let (name, arch) = (package.nevra.name.into(), package.nevra.arch.into());
        let evr = package.nevra.evr;
        self.packages.push(Package { repo, class, name, arch, evr, wants });
    }

    fn number(&mut self, wanted: &Dependency) -> u32 {
        let written = wanted.to_string();
        if let Some(number) = self.numbers.get(&written) {
            return *number;
        }
        let number = self.wanted.len() as u32;
        self.wanted.push((written.clone(), Expr::of(wanted)));
        self.numbers.insert(written, number);
        number
    }

    fn add_file(&mut self, class: Class, pkgid: &str, path: &str) {
        // A package that is in two repos is the last of them; it provides the same there.
        if let Some(number) = self.ids.get(&ObjectId::of(pkgid.as_bytes())) {
            self.index.add_file(*number, class, path);
        }
    }

    /// Returns the paths that are required and that no `primary` has.
    fn missing_paths(&self) -> HashSet<String> {
        let mut missing = HashSet::new();
        for expr in self.wanted.iter().filter_map(|(_, expr)| expr.as_ref().ok()) {
            expr.each(&mut |wanted| {
                if wanted.name.starts_with('/') && !self.index.is_in_main(&wanted.name) {
                    missing.insert(wanted.name.clone());
                }
            });
        }
        missing
    }

    /// Judges the packages of the first repos, as many as are judged.
    fn judge(&self, repos: &[(RelPath, Repo, Class)], judged: usize) -> (Vec<Unresolved>, u64) {
        let newest = self.newest();
        let mut known: Vec<[Option<Lack>; CLASSES]> = vec![[None; CLASSES]; self.wanted.len()];
        let (mut rows, mut omitted) = (Vec::new(), 0);
        // They came as threads were ready; what is kept of very many must not depend on that.
        let mut order: Vec<&Package> =
            self.packages.iter().filter(|package| package.repo < judged).collect();
        order.sort_by(|a, b| (a.repo, &a.name, &a.evr).cmp(&(b.repo, &b.name, &b.evr)));
        for package in order {
            for (strength, number) in &package.wants {
                let (written, expr) = &self.wanted[*number as usize];
                let judge = || match expr {
                    Ok(expr) => self.index.lack(expr, package.class),
                    Err(_) => Lack::All,
                };
                let known = &mut known[*number as usize][package.class as usize];
                let lack = *known.get_or_insert_with(judge);
                if lack == Lack::Nothing {
                    continue;
                }
                if rows.len() == MAX_ROWS {
                    omitted += 1;
                    continue;
                }
                let key = (&*package.name, &*package.arch, package.class);
                rows.push(Unresolved {
                    repo: repos[package.repo].0.clone(),
                    name: package.name.to_string(),
                    arch: package.arch.to_string(),
                    evr: package.evr.to_string(),
                    strength: *strength,
                    requirement: written.clone(),
                    lack,
                    outdated: !package.is_of_module()
                        && newest.get(&key).is_some_and(|newest| package.evr < **newest),
                    malformed: expr.as_ref().err().cloned(),
                });
            }
        }
        rows.sort();
        (rows, omitted)
    }

    /// Returns the highest version of each package. Those of modules are left out: the lower
    /// version is another stream's, and is installed by whoever has that.
    fn newest(&self) -> HashMap<(&str, &str, Class), &Evr> {
        let mut newest: HashMap<(&str, &str, Class), &Evr> = HashMap::new();
        for package in self.packages.iter().filter(|package| !package.is_of_module()) {
            let key = (&*package.name, &*package.arch, package.class);
            let highest = newest.entry(key).or_insert(&package.evr);
            *highest = (*highest).max(&package.evr);
        }
        newest
    }
}
