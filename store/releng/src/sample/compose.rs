//! The builder: says what a compose holds, then writes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::disk::{self, Disk};
use super::package::{Package, Recipe};
use super::release::{Advisory, Module};
use super::{Error, layout, metadata, repodata};

/// How far a compose says it has come, in its `STATUS` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Work goes on; the compose must not be used.
    Started,
    /// Whole.
    Finished,
    /// Whole but for parts that were allowed to fail.
    FinishedIncomplete,
    /// Failed.
    Doomed,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Status::Started => "STARTED",
            Status::Finished => "FINISHED",
            Status::FinishedIncomplete => "FINISHED_INCOMPLETE",
            Status::Doomed => "DOOMED",
        }
    }
}

/// What was written, and where.
#[derive(Clone, Debug)]
pub struct Written {
    /// The compose's name: `Rocky-9.7-20251101.0`.
    pub id: String,
    /// The compose's directory, with `STATUS`, `compose` and `work` in it.
    pub dir: PathBuf,
    /// The `latest-*` link beside it.
    pub latest: PathBuf,
    /// Files written, not counting hard links.
    pub files: u64,
    /// Bytes in those files.
    pub bytes: u64,
    /// Names that were made by hard-linking a file that was there.
    pub links: u64,
}

/// A compose, described; [`Compose::write`] makes it.
///
/// Repos are named one after the other, and what follows a repo goes into it. A variant's debug
/// and source trees come by themselves, as do product metadata, comps, tree information, boot
/// images (for `BaseOS`), installation media and repodata.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let root = tempfile::tempdir()?;
/// use cairn_releng::sample::Compose;
///
/// let written = Compose::new("9", "Rocky", "9.7", "20251101.0")
///     .repo("BaseOS", "x86_64")
///     .package("bash", "5.1.8-6.el9")
///     .package("openssl", "1:3.2.2-6.el9")
///     .write(root.path())?;
/// assert_eq!(written.id, "Rocky-9.7-20251101.0");
/// assert!(written.dir.join("compose/BaseOS/x86_64/os/repodata/repomd.xml").exists());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a compose is only described until `write`"]
pub struct Compose {
    pub(super) major: String,
    pub(super) short: String,
    pub(super) version: String,
    pub(super) date: String,
    suffix: String,
    status: Status,
    extras: Extras,
    previous: Option<PathBuf>,
    repos: Vec<Repo>,
    entries: Vec<(String, Entry)>,
    /// What came before any repo; an error once it is to be written.
    homeless: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extras {
    All,
    PackagesOnly,
}

#[derive(Clone, Debug)]
enum Entry {
    File(Vec<u8>),
    Symlink(String),
}

#[derive(Clone, Debug)]
struct Repo {
    variant: String,
    arch: String,
    packages: Vec<Package>,
    advisories: Vec<Advisory>,
    modules: Vec<Module>,
}

impl Compose {
    /// Describes a compose of `short` for a major release; `date` is `YYYYMMDD.N`.
    pub fn new(
        major: impl Into<String>,
        short: impl Into<String>,
        version: impl Into<String>,
        date: impl Into<String>,
    ) -> Self {
        Self {
            major: major.into(),
            short: short.into(),
            version: version.into(),
            date: date.into(),
            suffix: String::new(),
            status: Status::Finished,
            extras: Extras::All,
            previous: None,
            repos: Vec::new(),
            entries: Vec::new(),
            homeless: None,
        }
    }

    /// Puts it below `<root>/<major><suffix>`, as betas are: `-beta`, `-LookAhead`.
    pub fn suffix(mut self, suffix: impl Into<String>) -> Self {
        self.suffix = suffix.into();
        self
    }

    /// Sets what `STATUS` says; `FINISHED` when not called.
    pub fn status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// Leaves out debug and source trees, media and boot images: the least that is a compose.
    pub fn packages_only(mut self) -> Self {
        self.extras = Extras::PackagesOnly;
        self
    }

    /// Hard-links packages to an earlier compose's where they are equal, as pungi does.
    pub fn linked_to(mut self, compose_dir: impl Into<PathBuf>) -> Self {
        self.previous = Some(compose_dir.into());
        self
    }

    /// Begins a repo, or goes on with one that was begun: what follows belongs to it.
    pub fn repo(mut self, variant: impl Into<String>, arch: impl Into<String>) -> Self {
        let (variant, arch) = (variant.into(), arch.into());
        let found = self.repos.iter().position(|r| r.variant == variant && r.arch == arch);
        let repo = match found {
            Some(index) => self.repos.remove(index),
            None => Repo {
                variant,
                arch,
                packages: Vec::new(),
                advisories: Vec::new(),
                modules: Vec::new(),
            },
        };
        self.repos.push(repo);
        self
    }

    /// Adds a package of which only name and `[epoch:]version-release` matter.
    pub fn package(self, name: impl Into<String>, evr: impl Into<String>) -> Self {
        self.with(Package::new(name, evr))
    }

    /// Adds a package.
    pub fn with(mut self, package: Package) -> Self {
        match self.repos.last_mut() {
            Some(repo) => repo.packages.push(package),
            None => self.stray(format!("package {}", package.name)),
        }
        self
    }

    /// Adds an advisory.
    pub fn advisory(mut self, advisory: Advisory) -> Self {
        match self.repos.last_mut() {
            Some(repo) => repo.advisories.push(advisory),
            None => self.stray(format!("advisory {}", advisory.id)),
        }
        self
    }

    /// Adds a module stream.
    pub fn module(mut self, module: Module) -> Self {
        match self.repos.last_mut() {
            Some(repo) => repo.modules.push(module),
            None => self.stray(format!("module {}", module.name)),
        }
        self
    }

    /// Adds a file of one's own, by its path in the compose's directory.
    pub fn file(mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        self.entries.push((path.into(), Entry::File(content.into())));
        self
    }

    /// Adds a symbolic link of one's own, by its path in the compose's directory.
    pub fn symlink(mut self, path: impl Into<String>, target: impl Into<String>) -> Self {
        self.entries.push((path.into(), Entry::Symlink(target.into())));
        self
    }

    /// The compose's name: `Rocky-9.7-20251101.0`.
    pub fn id(&self) -> String {
        format!("{}-{}-{}", self.short, self.version, self.date)
    }

    /// Writes the compose below a compose root and points `latest-<short>-<major>` at it.
    ///
    /// `STATUS` comes last, so that what was interrupted does not look finished. A compose of
    /// that name must not exist.
    ///
    /// # Errors
    ///
    /// [`Error`] names the path, or the part of the description, that did not do.
    pub fn write(&self, root: &Path) -> Result<Written, Error> {
        if let Some(what) = &self.homeless {
            return Err(Error::NoRepo { what: what.clone() });
        }
        let time = layout::epoch(&self.date)?;
        let trees = self.trees()?;
        let id = self.id();
        let parent = root.join(format!("{}{}", self.major, self.suffix));
        let mut disk = Disk::create(parent.join(&id))?;
        disk.file("COMPOSE_ID", id.as_bytes(), time)?;

        let mut names = BTreeMap::new();
        for tree in &trees {
            self.write_tree(tree, time, &mut names, &mut disk)?;
        }
        let mut media = Vec::new();
        if self.extras == Extras::All {
            for arch in arches(&trees, "BaseOS") {
                media.extend(layout::write_media(self, &arch, time, &mut disk)?);
            }
        }
        metadata::write(self, &trees, &media, time, &mut disk)?;
        for (path, entry) in &self.entries {
            match entry {
                Entry::File(content) => disk.file(path, content, time)?,
                Entry::Symlink(target) => disk.symlink(path, target)?,
            }
        }
        for repo in self.repos.iter().filter(|repo| !repo.modules.is_empty()) {
            let path =
                format!("{}_metadata/{}/{}-modules.yaml", self.major, repo.arch, repo.variant);
            let tree = trees.iter().find(|tree| tree.is_of(repo));
            let packages = tree.map_or(&[][..], |tree| &tree.packages);
            let yaml = metadata::modules(&repo.modules, packages, &repo.arch);
            disk::replace(&root.join(path), yaml.as_bytes(), time)?;
        }

        disk.dir("logs/global")?;
        disk.file("STATUS", format!("{}\n", self.status.as_str()).as_bytes(), time)?;
        let (files, bytes, links) = disk.totals();
        let dir = disk.seal(time)?;
        let latest = parent.join(format!("latest-{}-{}", self.short, self.major));
        disk::repoint(&latest, &id)?;
        Ok(Written { id, dir, latest, files, bytes, links })
    }

    fn stray(&mut self, what: String) {
        self.homeless.get_or_insert(what);
    }

    /// Every tree of packages, each variant's in the order in which its repos were named.
    fn trees(&self) -> Result<Vec<Tree>, Error> {
        let mut trees = Vec::new();
        let mut variants: Vec<&str> = Vec::new();
        for repo in &self.repos {
            if !variants.contains(&repo.variant.as_str()) {
                variants.push(&repo.variant);
            }
        }
        for variant in variants {
            let mut sources = BTreeMap::new();
            for repo in self.repos.iter().filter(|repo| repo.variant == variant) {
                let mut packages = Vec::new();
                for package in &repo.packages {
                    packages.push(package.resolve(&repo.arch)?);
                }
                packages.sort_by_key(Recipe::href);
                let debug: Vec<_> = packages.iter().filter_map(Recipe::debug).collect();
                for package in &packages {
                    let source = package.source();
                    sources.entry(source.href()).or_insert(source);
                }
                let tree = |kind, packages| Tree {
                    variant: repo.variant.clone(),
                    arch: repo.arch.clone(),
                    kind,
                    packages,
                };
                trees.push(tree(Kind::Os, packages));
                if self.extras == Extras::All {
                    trees.push(tree(Kind::Debug, debug));
                }
            }
            if self.extras == Extras::All {
                trees.push(Tree {
                    variant: variant.to_owned(),
                    arch: "source".to_owned(),
                    kind: Kind::Source,
                    packages: sources.into_values().collect(),
                });
            }
        }
        Ok(trees)
    }

    fn write_tree(
        &self,
        tree: &Tree,
        time: u64,
        names: &mut BTreeMap<String, PathBuf>,
        disk: &mut Disk,
    ) -> Result<(), Error> {
        let path = format!("compose/{}", tree.path());
        disk.dir(&format!("{path}/Packages"))?;
        let mut built = Vec::new();
        for recipe in &tree.packages {
            let rpm = recipe.build()?;
            let file = format!("{path}/{}", recipe.href());
            // A noarch package lies in several repos, and is one file with several names.
            let name = recipe.file_name();
            let earlier = self.previous.as_ref().map(|previous| previous.join(&file));
            let twin = names.get(&name).or(earlier.as_ref());
            disk.file_or_link(&file, &rpm, recipe.build_time(), twin.map(PathBuf::as_path))?;
            names.entry(name).or_insert_with(|| disk.root().join(&file));
            built.push(repodata::Built { recipe, rpm });
        }

        let mut records = repodata::Records::default();
        if tree.kind == Kind::Os {
            let comps = metadata::comps(tree);
            let Tree { variant, arch, .. } = tree;
            let beside = format!("work/{arch}/comps/comps-{variant}.{arch}.xml");
            disk.file(&beside, comps.as_bytes(), time)?;
            records.comps = Some(comps);
            if let Some(repo) = self.repos.iter().find(|repo| tree.is_of(repo)) {
                if !repo.advisories.is_empty() {
                    let advisories = &repo.advisories;
                    records.updateinfo = Some(metadata::updateinfo(advisories, tree, &self.major));
                }
                if !repo.modules.is_empty() {
                    let yaml = metadata::modules(&repo.modules, &tree.packages, arch);
                    records.modules = Some(yaml);
                }
            }
            let boot = tree.variant == "BaseOS" && self.extras == Extras::All;
            layout::write_os_files(self, tree, boot, time, disk)?;
        }
        repodata::write(self, &path, &built, records, time, disk)
    }
}

/// What a tree of packages holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What is installed.
    Os,
    /// Its debug information.
    Debug,
    /// Its source packages.
    Source,
}

/// A directory that is an RPM repository.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    pub(super) variant: String,
    pub(super) arch: String,
    pub(super) kind: Kind,
    pub(super) packages: Vec<Recipe>,
}

impl Tree {
    /// Its path below `compose/`.
    pub(super) fn path(&self) -> String {
        let Self { variant, arch, .. } = self;
        match self.kind {
            Kind::Os => format!("{variant}/{arch}/os"),
            Kind::Debug => format!("{variant}/{arch}/debug/tree"),
            Kind::Source => format!("{variant}/source/tree"),
        }
    }

    fn is_of(&self, repo: &Repo) -> bool {
        self.kind == Kind::Os && self.variant == repo.variant && self.arch == repo.arch
    }
}

/// The architectures of a variant, in the order in which they were named.
pub(super) fn arches(trees: &[Tree], variant: &str) -> Vec<String> {
    let of = |tree: &&Tree| tree.kind == Kind::Os && tree.variant == variant;
    trees.iter().filter(of).map(|tree| tree.arch.clone()).collect()
}
