//! The shape of a generated release: which files it has, how large, and what the next one changes.
//!
//! Pure: nothing here touches a disk. `compose.rs` writes what this describes, `verify.rs` compares
//! what cairn made of it. README.md documents the shape and why it is so.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::noise::Rng;
use crate::repodata;

const REPOS: [(&str, usize); 8] = [
    ("AppStream", 58),
    ("BaseOS", 18),
    ("CRB", 14),
    ("HighAvailability", 3),
    ("NFV", 2),
    ("RT", 2),
    ("SAP", 2),
    ("SAPHANA", 1),
];
/// The trees of a repo, with the share of its packages in per cent.
const TREES: [(&str, &str, usize); 5] = [
    ("x86_64/os", "x86_64", 33),
    ("aarch64/os", "aarch64", 32),
    ("x86_64/debug/tree", "x86_64", 10),
    ("aarch64/debug/tree", "aarch64", 10),
    ("source/tree", "src", 15),
];
/// An update touches few repos: AppStream on both arches and BaseOS on one.
const UPDATED_TREES: [usize; 3] = [0, 1, TREES.len()];
/// Paths that regenerating one repodata changes: two names come, two go, repomd.xml is replaced.
const PATHS_PER_REPODATA: usize = 5;
/// Sigma of the package sizes: median a third of the mean, largest of 50,000 about 200 × the mean.
const SIGMA: f64 = 1.5;
/// Four installer images hold a tenth of all bytes.
const IMAGES: u64 = 4;
const IMAGE_SHARE: f64 = 0.10;
const SMALLEST_PACKAGE: f64 = 300.0;
/// Mean size of a package that a change of a fixed number of files brings, whatever the release.
const FIXED_CHANGE_MEAN: u64 = 16 * 1024;
/// Every 25th package of an os tree is noarch: one inode, in the trees of both arches.
const NOARCH_EVERY: usize = 25;
/// Every 1,000th package has a symlink beside it.
const SYMLINK_EVERY: usize = 1_000;
const EPOCH: i64 = 1_750_000_000; // June 2025: older than any run, so no mtime is "just now"

/// How large a release is.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Paths of regular files.
    pub files: usize,
    /// Bytes on disk divided by `files`.
    pub mean: u64,
}

/// What the next release changes.
#[derive(Debug, Clone, Copy)]
pub enum Change {
    /// 1 % of the files, with the repodata of the repos that change.
    Percent,
    /// This many packages and nothing else, of the same sizes in every release. Repodata stays,
    /// because it grows with the repo and would make the change grow with it.
    Fixed(usize),
}

/// One package of one repo.
#[derive(Debug, Clone)]
pub struct Package {
    tree: usize,
    pub name: String,
    pub version: String,
    pub release: String,
    pub arch: &'static str,
    pub size: u64,
    pub mtime: i64,
    pub seed: u64,
    /// Index of the package that has the same inode.
    twin: Option<usize>,
    /// Part of a pair, or the target of a symlink: later releases leave it alone.
    settled: bool,
}

impl Package {
    /// Returns the path below the repo.
    pub fn href(&self) -> String {
        let letter = self.name.get(..1).unwrap_or("0");
        format!("Packages/{letter}/{}", self.file_name())
    }

    fn file_name(&self) -> String {
        format!("{}-{}-{}.{}.rpm", self.name, self.version, self.release, self.arch)
    }
}

/// What a file holds.
#[derive(Debug, Clone)]
pub enum Body {
    /// Incompressible bytes of a seed.
    Noise(u64),
    /// These bytes.
    Bytes(Arc<[u8]>),
}

/// A regular file of a release.
#[derive(Debug, Clone)]
pub struct File {
    /// Path below the compose's tree.
    pub path: String,
    pub size: u64,
    pub mtime: i64,
    pub body: Body,
    /// Path of the file that this one is a hard link of.
    pub twin: Option<String>,
}

impl File {
    /// Says whether two files are one file: a later compose links it rather than writing it.
    pub fn is_same(&self, other: &Self) -> bool {
        let same_body = match (&self.body, &other.body) {
            (Body::Noise(a), Body::Noise(b)) => a == b,
            (Body::Bytes(a), Body::Bytes(b)) => a == b,
            (Body::Noise(_), Body::Bytes(_)) | (Body::Bytes(_), Body::Noise(_)) => false,
        };
        same_body && self.size == other.size && self.mtime == other.mtime
    }
}

/// How many paths differ between two releases.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    pub added: usize,
    pub removed: usize,
    pub changed: usize,
}

/// A whole release.
#[derive(Debug)]
pub struct Release {
    pub shape: Shape,
    packages: Vec<Package>,
    repodata: Vec<Vec<File>>,
    /// Every regular file.
    pub files: Vec<File>,
    /// Symlinks as path and target.
    pub symlinks: Vec<(String, String)>,
}

impl Release {
    /// The smallest number of files that leaves room for packages to change.
    pub const SMALLEST: usize = 2_000;

    /// Describes the first release of a shape.
    pub fn first(shape: Shape) -> Self {
        let trees = REPOS.len() * TREES.len();
        let furniture = trees * 3 + REPOS.len() * 2 * furniture_of("").len() + IMAGES as usize + 1;
        let packages = draw_packages(shape, shape.files.max(Self::SMALLEST) - furniture);
        let repodata = (0..trees).map(|tree| repodata_of(&packages, tree, EPOCH)).collect();
        Self::assemble(shape, packages, repodata)
    }

    /// Describes a later release. Every `serial` changes the same places to something else, so any
    /// two of them are as far from each other as each is from the first.
    pub fn next(&self, change: Change, serial: u32) -> Self {
        let (count, mean) = match change {
            Change::Percent => {
                let metadata = UPDATED_TREES.len() * PATHS_PER_REPODATA;
                ((self.shape.files / 100).saturating_sub(metadata), self.shape.mean)
            }
            Change::Fixed(count) => (count, FIXED_CHANGE_MEAN),
        };
        let mtime = EPOCH + i64::from(serial) * 3_600;
        let mut rng = Rng::new(u64::from(serial) << 32 | 0xc4a6);
        let median = mean as f64 / (SIGMA * SIGMA / 2.0).exp();
        let mut renewed = |package: &Package| Package {
            seed: rng.bits(),
            size: (median * rng.lognormal(SIGMA)).max(SMALLEST_PACKAGE) as u64,
            mtime,
            ..package.clone()
        };

        let places = self.places_of_change();
        let (replaced, rest) = places.split_at((count * 4 / 10).min(places.len()));
        let (removed, rest) = rest.split_at((count * 3 / 10).min(rest.len()));
        let added = &rest[..(count - replaced.len() - removed.len()).min(rest.len())];
        let mut packages = self.packages.clone();
        for &index in replaced {
            packages[index] = renewed(&packages[index]);
        }
        for &index in added {
            let mut package = renewed(&packages[index]);
            package.release = format!("{}.{serial}", package.release);
            packages.push(package);
        }
        // Twins refer to indices, so packages are taken out of the middle last of all.
        let removed: BTreeSet<usize> = removed.iter().copied().collect();
        let repodata = match change {
            Change::Fixed(_) => self.repodata.clone(),
            Change::Percent => {
                let kept: Vec<&Package> = packages
                    .iter()
                    .enumerate()
                    .filter(|(index, _)| !removed.contains(index))
                    .map(|(_, package)| package)
                    .collect();
                let mut repodata = self.repodata.clone();
                for tree in UPDATED_TREES {
                    let of_tree: Vec<&Package> =
                        kept.iter().filter(|package| package.tree == tree).copied().collect();
                    repodata[tree] = repodata_files(&of_tree, tree, mtime);
                }
                repodata
            }
        };
        Self::assemble_without(self.shape, packages, &removed, repodata)
    }

    /// Counts the files and symbolic links that differ, as a diff of the two trees must.
    pub fn difference(&self, other: &Self) -> Difference {
        let old: HashMap<&str, &File> = self.by_path();
        let mut difference = Difference::default();
        for file in &other.files {
            match old.get(file.path.as_str()) {
                None => difference.added += 1,
                Some(before) if !before.is_same(file) => difference.changed += 1,
                Some(_) => {}
            }
        }
        // A package that is added may be one with a link beside it, and the link then leads to
        // another file in every release.
        let links: HashMap<&str, &str> =
            self.symlinks.iter().map(|(path, target)| (path.as_str(), target.as_str())).collect();
        for (path, target) in &other.symlinks {
            match links.get(path.as_str()) {
                None => difference.added += 1,
                Some(before) if before != target => difference.changed += 1,
                Some(_) => {}
            }
        }
        let paths = |release: &Self| release.files.len() + release.symlinks.len();
        difference.removed = paths(self) + difference.added - paths(other);
        difference
    }

    /// Returns the files by path.
    pub fn by_path(&self) -> HashMap<&str, &File> {
        self.files.iter().map(|file| (file.path.as_str(), file)).collect()
    }

    /// Returns the bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.files.iter().filter(|file| file.twin.is_none()).map(|file| file.size).sum()
    }

    fn places_of_change(&self) -> Vec<usize> {
        let mut places: Vec<usize> = (0..self.packages.len())
            .filter(|&index| {
                let package = &self.packages[index];
                !package.settled && UPDATED_TREES.contains(&package.tree)
            })
            .collect();
        let mut rng = Rng::new(0x0c4a);
        for index in (1..places.len()).rev() {
            places.swap(index, rng.below(index + 1));
        }
        places
    }

    fn assemble(shape: Shape, packages: Vec<Package>, repodata: Vec<Vec<File>>) -> Self {
        Self::assemble_without(shape, packages, &BTreeSet::new(), repodata)
    }

    fn assemble_without(
        shape: Shape,
        packages: Vec<Package>,
        removed: &BTreeSet<usize>,
        repodata: Vec<Vec<File>>,
    ) -> Self {
        let mut files = Vec::with_capacity(shape.files + 16);
        let mut symlinks = Vec::new();
        let path_of = |package: &Package| format!("{}/{}", tree_path(package.tree), package.href());
        for (index, package) in packages.iter().enumerate() {
            if removed.contains(&index) {
                continue;
            }
            let path = path_of(package);
            if index % SYMLINK_EVERY == 7 {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                let link = format!("{folder}/latest-{}.rpm", package.name);
                symlinks.push((link, package.file_name()));
            }
            files.push(File {
                path,
                size: package.size,
                mtime: package.mtime,
                body: Body::Noise(package.seed),
                twin: package.twin.map(|twin| path_of(&packages[twin])),
            });
        }
        files.extend(repodata.iter().flatten().cloned());
        add_furniture(shape, &mut files, &mut symlinks);
        Self { shape, packages, repodata, files, symlinks }
    }
}

fn draw_packages(shape: Shape, count: usize) -> Vec<Package> {
    const STARTS: [&str; 12] = [
        "", "", "lib", "python3-", "perl-", "golang-", "gnome-", "kernel-", "texlive-", "java-",
        "qt5-", "rubygem-",
    ];
    const SYLLABLES: [&str; 16] = [
        "ba", "co", "di", "fu", "go", "ha", "ki", "lo", "mu", "ne", "pa", "ru", "so", "ti", "vu",
        "za",
    ];
    const ENDS: [&str; 6] = ["", "-devel", "-libs", "-doc", "-common", "-utils"];

    let mut rng = Rng::new(0xca19);
    let mut packages: Vec<Package> = Vec::with_capacity(count);
    let mut sizes = Vec::with_capacity(count);
    while packages.len() < count {
        let index = packages.len();
        let tree = draw_tree(&mut rng);
        let name = format!(
            "{}{}{}{index}{}",
            STARTS[rng.below(STARTS.len())],
            SYLLABLES[rng.below(SYLLABLES.len())],
            SYLLABLES[rng.below(SYLLABLES.len())],
            ENDS[rng.below(ENDS.len())],
        );
        let noarch = index % NOARCH_EVERY == 3 && tree % TREES.len() < 2;
        let package = Package {
            tree,
            name,
            version: format!("{}.{}.{}", rng.below(9), rng.below(30), rng.below(20)),
            release: format!("{}.el9", 1 + rng.below(12)),
            arch: if noarch { "noarch" } else { TREES[tree % TREES.len()].1 },
            size: 0,
            mtime: EPOCH - rng.below(2 * 365 * 86_400) as i64,
            seed: rng.bits(),
            twin: None,
            settled: noarch || index % SYMLINK_EVERY == 7,
        };
        sizes.push(rng.lognormal(SIGMA));
        if noarch && index + 1 < count {
            // The os trees of the two arches are neighbours: 0 and 1 of each repo.
            let repo = tree - tree % TREES.len();
            let other = repo + 1 - tree % TREES.len();
            let twin = Package { tree: other, twin: Some(index), ..package.clone() };
            packages.extend([package, twin]);
            sizes.push(0.0);
        } else {
            packages.push(package);
        }
    }
    // Scaling to the sum makes the mean exact, whatever the few largest draws were.
    let bytes = shape.files as f64 * shape.mean as f64 * (1.0 - IMAGE_SHARE);
    let scale = bytes / sizes.iter().sum::<f64>();
    for index in 0..packages.len() {
        packages[index].size = match packages[index].twin {
            Some(twin) => packages[twin].size,
            None => (sizes[index] * scale).max(SMALLEST_PACKAGE) as u64,
        };
    }
    packages
}

fn draw_tree(rng: &mut Rng) -> usize {
    let repo = draw_share(rng, REPOS.map(|(_, share)| share));
    let tree = draw_share(rng, TREES.map(|(_, _, share)| share));
    repo * TREES.len() + tree
}

/// Returns an index, as often as its share in per cent says.
fn draw_share<const N: usize>(rng: &mut Rng, shares: [usize; N]) -> usize {
    let ticket = rng.below(100);
    let mut sold = 0;
    shares
        .into_iter()
        .position(|share| {
            sold += share;
            ticket < sold
        })
        .expect("the shares sum to 100")
}

fn tree_path(tree: usize) -> String {
    format!("{}/{}", REPOS[tree / TREES.len()].0, TREES[tree % TREES.len()].0)
}

fn repodata_of(packages: &[Package], tree: usize, mtime: i64) -> Vec<File> {
    let of_tree: Vec<&Package> = packages.iter().filter(|package| package.tree == tree).collect();
    repodata_files(&of_tree, tree, mtime)
}

fn repodata_files(packages: &[&Package], tree: usize, mtime: i64) -> Vec<File> {
    repodata::write(packages, mtime)
        .into_iter()
        .map(|(name, bytes)| {
            text_file(format!("{}/repodata/{name}", tree_path(tree)), bytes, mtime)
        })
        .collect()
}

/// Adds what a release has besides packages and repodata.
fn add_furniture(shape: Shape, files: &mut Vec<File>, symlinks: &mut Vec<(String, String)>) {
    for (repo, _) in REPOS {
        for (path, arch, _) in &TREES[..2] {
            for (name, text) in furniture_of(arch) {
                files.push(text_file(format!("{repo}/{path}/{name}"), text.into_bytes(), EPOCH));
            }
        }
    }
    let size = (shape.files as f64 * shape.mean as f64 * IMAGE_SHARE) as u64 / IMAGES;
    for (path, _, _) in &TREES[..2] {
        let folder = format!("BaseOS/{path}/images");
        for name in ["boot.iso", "install.img"] {
            let path = format!("{folder}/{name}");
            // By its path: the images of the next release are the same.
            let seed = path.bytes().fold(0, |seed: u64, b| seed.wrapping_mul(31) + u64::from(b));
            let seed = Rng::new(seed).bits();
            files.push(File { path, size, mtime: EPOCH, body: Body::Noise(seed), twin: None });
        }
        symlinks.push((format!("{folder}/latest.iso"), "boot.iso".to_owned()));
    }
    let info =
        b"{\"header\": {\"type\": \"productmd.composeinfo\", \"version\": \"1.2\"}}\n".to_vec();
    files.push(text_file("metadata/composeinfo.json".to_owned(), info, EPOCH));
}

fn furniture_of(arch: &str) -> [(&'static str, String); 3] {
    [
        (
            ".treeinfo",
            format!(
                "[header]\ntype = productmd.treeinfo\nversion = 1.2\n\n[general]\narch = {arch}\n\
                 family = Rocky Linux\nname = Rocky Linux 9.7\nversion = 9.7\n\n\
                 [tree]\narch = {arch}\nbuild_timestamp = {EPOCH}\n"
            ),
        ),
        (".discinfo", format!("{EPOCH}.0\n9.7\n{arch}\n")),
        ("media.repo", "[InstallMedia]\nname=Rocky Linux 9.7\nmediaid=None\n".to_owned()),
    ]
}

fn text_file(path: String, bytes: Vec<u8>, mtime: i64) -> File {
    let size = bytes.len() as u64;
    File { path, size, mtime, body: Body::Bytes(bytes.into()), twin: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { files: 5_000, mean: 8 * 1024 };

    #[test]
    fn a_release_has_the_files_and_bytes_that_were_asked_for() {
        let release = Release::first(SHAPE);
        assert_eq!(release.files.len(), SHAPE.files);
        assert_eq!(release.by_path().len(), SHAPE.files, "paths are unique");
        let wanted = SHAPE.files as u64 * SHAPE.mean;
        let off = release.bytes().abs_diff(wanted) * 100 / wanted;
        assert!(off <= 10, "{} bytes, wanted {wanted}", release.bytes());
        let twins = release.files.iter().filter(|file| file.twin.is_some()).count();
        assert!(twins > 50, "{twins}");
    }

    #[test]
    fn links_count_as_the_files_do() {
        let mut first = Release::first(SHAPE);
        let mut next = first.next(Change::Percent, 1);
        let before = first.difference(&next);
        let link = |path: &str, target: &str| (path.to_owned(), target.to_owned());
        first.symlinks.extend([link("a", "x"), link("b", "x"), link("c", "x")]);
        next.symlinks.extend([link("a", "y"), link("c", "x"), link("d", "x"), link("e", "x")]);
        let Difference { added, removed, changed } = before;
        let expected = Difference { added: added + 2, removed: removed + 1, changed: changed + 1 };
        assert_eq!(first.difference(&next), expected);
    }

    #[test]
    fn the_next_release_differs_by_one_per_cent_or_by_the_fixed_number() {
        let first = Release::first(SHAPE);
        let one = first.next(Change::Percent, 1);
        let two = first.next(Change::Percent, 2);
        for (old, new) in [(&first, &one), (&one, &two)] {
            let Difference { added, removed, changed } = old.difference(new);
            assert!(
                (40..=75).contains(&(added + removed + changed)),
                "{added} {removed} {changed}"
            );
        }
        let fixed = first.next(Change::Fixed(500), 3);
        let expected = Difference { added: 150, removed: 150, changed: 200 };
        assert_eq!(first.difference(&fixed), expected);
        assert_eq!(first.difference(&first.next(Change::Percent, 1)), first.difference(&one));
    }
}
