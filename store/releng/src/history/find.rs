//! Where a package, a path or a content ever was.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use cairn_repodata::Nevra;
use cairn_store::id::{ObjectId, SnapshotId, TreeId};
use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::tree::{DirEntry, Entry, Nodes, lookup};
use globset::{GlobBuilder, GlobMatcher};
use serde::Serialize;

use super::listed::{self, Listings, Unreadable};
use super::{Reader, Who};
use crate::error::{Error, Result};
use crate::site::Site;

/// How many places of one snapshot are told: a pattern that accepts more is no question.
const PLACES: usize = 100_000;

/// What a search found.
#[derive(Clone, Debug, Serialize)]
pub struct Search {
    /// What was looked for, as it was understood: `object`, `name` or `path`.
    pub kind: &'static str,
    /// The pattern, path or id.
    pub query: String,
    /// The places, by ref, path and age.
    pub found: Vec<Found>,
    /// How many snapshots were looked at.
    pub snapshots: usize,
    /// How many could not be: they were collected.
    pub collected: usize,
    /// What metadata says is there, of packages; nothing where no metadata had to be asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<Package>,
    /// How many repos with different metadata were asked; nothing where none had to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repos: Option<usize>,
    /// Metadata that could not be asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Unreadable>,
}

/// One content at one path of one ref, for as long as it was there without a break.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// The ref.
    #[serde(rename = "ref")]
    pub name: String,
    /// The path.
    pub path: RelPath,
    /// The content; nothing for a directory, a symbolic link, or what is only listed.
    pub object: Option<ObjectId>,
    /// Its size in bytes.
    pub size: u64,
    /// The operation that brought it.
    pub since: Who,
    /// The operation that took it away or replaced it; nothing if it is there now.
    pub until: Option<Who>,
    /// The snapshots that have it there, oldest first.
    pub snapshots: Vec<SnapshotId>,
}

/// What metadata calls something at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Package {
    /// The NEVRA.
    pub package: String,
    /// The path where it is listed.
    pub path: RelPath,
    /// What is there; nothing if nothing is.
    pub object: Option<ObjectId>,
}

enum Wanted {
    Object(ObjectId),
    Name(GlobMatcher),
    Path(RelPath),
}

/// What is looked at in a tree: the path from there, and the entry.
pub(crate) type Places = Arc<[(RelPath, Entry)]>;

/// Something at a path of a tree.
struct Place {
    path: RelPath,
    object: Option<ObjectId>,
    size: u64,
    package: Option<Arc<str>>,
}

/// Looks for an object (64 hex digits), a path (with a `/` in it), or a name: that of a file, or of
/// a package, which may be its NEVRA or a beginning of it. Names may be patterns with `*`, `?`,
/// `[…]` and `{…}`. Of packages the metadata of every repo is asked too.
///
/// All that any ref ever named is searched; a tree that occurs again is not looked at again, and
/// metadata that occurs again is not read again.
///
/// # Errors
/// A pattern that is none or accepts too much, trees that cannot be read.
pub fn find(site: &Site, query: &str, observer: &dyn Observer) -> Result<Search> {
    let (kind, understood, wanted) = understand(query)?;
    let listings = match &wanted {
        Wanted::Name(_) => listed::Wanted::new(query, is_pattern(query))
            .map_err(|error| Error::Setting { key: query.to_owned(), reason: error.to_string() })?,
        Wanted::Object(_) | Wanted::Path(_) => None,
    };
    let mut listings = listings.map(|wanted| Listings::new(site, wanted));
    let mut finder =
        Finder { nodes: &site.store, wanted, known: HashMap::new(), query: &understood };
    let mut reader = Reader::new(site);
    let mut moves = Vec::new();
    let (mut roots, mut collected) = (BTreeMap::new(), BTreeSet::new());
    for name in site.store.index().view()?.ever_named()? {
        let history = site.store.index().view()?.history(&name)?;
        for snapshot in history.iter().filter_map(|(_, snapshot)| *snapshot) {
            match reader.root(snapshot)? {
                Some(root) => drop(roots.insert(snapshot, root)),
                None => drop(collected.insert(snapshot)),
            }
        }
        moves.push((name, history));
    }
    if let Some(listings) = &mut listings {
        let roots: Vec<DirEntry> = roots.values().copied().collect();
        listings.read(&roots, observer)?;
    }
    observer.begin("Looking", moves.iter().map(|(_, moves)| moves.len() as u64).sum(), 0);
    let (mut found, mut packages) = (Vec::new(), BTreeMap::new());
    for (name, moves) in moves {
        let mut open: BTreeMap<(RelPath, Option<ObjectId>), Found> = BTreeMap::new();
        for (number, snapshot) in moves.into_iter().rev() {
            observer.advance(1, 0);
            let places = match snapshot.map(|snapshot| (snapshot, roots.get(&snapshot))) {
                None => Vec::new(),
                // Collected: what was open before goes on after it.
                Some((_, None)) => continue,
                Some((_, Some(root))) => places(&mut finder, listings.as_mut(), root)?,
            };
            let mut before = std::mem::take(&mut open);
            for Place { path, object, size, package } in places {
                let key = (path.clone(), object);
                let mut row = match before.remove(&key).or_else(|| open.remove(&key)) {
                    Some(row) => row,
                    None => Found {
                        name: name.to_string(),
                        path,
                        object,
                        size,
                        since: reader.who(number)?,
                        until: None,
                        snapshots: Vec::new(),
                    },
                };
                if let Some(package) = package {
                    packages.insert(key.clone(), package);
                }
                if row.snapshots.last() != snapshot.as_ref() {
                    row.snapshots.extend(snapshot);
                }
                open.insert(key, row);
            }
            for (_, row) in before {
                found.push(Found { until: Some(reader.who(number)?), ..row });
            }
        }
        found.extend(open.into_values());
    }
    found.sort_by(|a, b| {
        let key = |row: &Found| (row.name.clone(), row.path.clone(), row.since.number);
        key(a).cmp(&key(b))
    });
    let repos = listings.as_ref().map(Listings::asked);
    let unreadable = listings.map(|listings| listings.unreadable).unwrap_or_default();
    let (snapshots, collected) = (roots.len(), collected.len());
    let package = |((path, object), package): ((RelPath, _), Arc<str>)| Package {
        package: package.to_string(),
        path,
        object,
    };
    let packages = packages.into_iter().map(package).collect();
    let query = understood;
    Ok(Search { kind, query, found, snapshots, collected, packages, repos, unreadable })
}

/// Returns what there is below a root, by its name and by what metadata says.
fn places(
    finder: &mut Finder<'_>,
    listings: Option<&mut Listings<'_>>,
    root: &DirEntry,
) -> Result<Vec<Place>> {
    let object_of = |entry: &Entry| match entry {
        Entry::File(file) => Some(file.object),
        Entry::Dir(_) | Entry::Symlink(_) => None,
    };
    let mut places: Vec<Place> = finder
        .places(root)?
        .iter()
        .map(|(path, entry)| {
            let (object, size) = (object_of(entry), entry.bytes());
            Place { path: path.clone(), object, size, package: None }
        })
        .collect();
    if let Some(listings) = listings {
        places.extend(listings.places(root)?.into_iter().map(|(path, entry, package)| {
            let object = entry.as_ref().and_then(object_of);
            let size = entry.as_ref().map_or(0, Entry::bytes);
            Place { path, object, size, package: Some(package) }
        }));
    }
    Ok(places)
}

fn is_pattern(query: &str) -> bool {
    query.contains(['*', '?', '[', '{'])
}

/// Says what a query means.
fn understand(query: &str) -> Result<(&'static str, String, Wanted)> {
    let wrong = |reason: String| Error::Setting { key: query.to_owned(), reason };
    if let Some(id) = ObjectId::from_hex(query) {
        return Ok(("object", query.to_owned(), Wanted::Object(id)));
    }
    if query.is_empty() {
        return Err(wrong("an empty text is nowhere; name a package, a path or an object".into()));
    }
    if query.contains('/') {
        let path = RelPath::new(query)
            .map_err(|fault| wrong(format!("it is no path in a tree: {fault}")))?;
        return Ok(("path", path.to_string(), Wanted::Path(path)));
    }
    // A file's name has no epoch, and ends in .rpm.
    let is_pattern = is_pattern(query);
    let name = match Nevra::parse(query) {
        Some(nevra) if !is_pattern && is_arch(&nevra.arch) => {
            let Nevra { name, evr, arch } = nevra;
            format!("{name}-{}-{}.{arch}.rpm", evr.version, evr.release)
        }
        Some(_) | None => query.to_owned(),
    };
    let pattern = match is_pattern {
        true => name.clone(),
        false => globset::escape(&name),
    };
    let glob = GlobBuilder::new(&pattern).literal_separator(true).build();
    let glob = glob.map_err(|error| wrong(error.to_string()))?.compile_matcher();
    Ok(("name", name, Wanted::Name(glob)))
}

/// Tells a NEVRA from a file such as `Rocky-9.7-x86_64-dvd.iso`, which has as many dashes.
fn is_arch(word: &str) -> bool {
    const KNOWN: [&str; 12] = [
        "noarch",
        "src",
        "nosrc",
        "x86_64",
        "aarch64",
        "ppc64le",
        "s390x",
        "riscv64",
        "i686",
        "i386",
        "x86_64_v2",
        "armv7hl",
    ];
    KNOWN.contains(&word)
}

/// Looks into trees, each once.
pub(crate) struct Finder<'a> {
    nodes: &'a dyn Nodes,
    wanted: Wanted,
    /// What is below a tree that was looked at.
    known: HashMap<TreeId, Places>,
    query: &'a str,
}

impl<'a> Finder<'a> {
    /// Looks for files of this name.
    pub fn of_name(nodes: &'a dyn Nodes, query: &'a str) -> Result<Self> {
        let (_, _, wanted) = understand(query)?;
        Ok(Self { nodes, wanted, known: HashMap::new(), query })
    }

    /// Returns what there is of it below a root.
    pub fn places(&mut self, root: &DirEntry) -> Result<Places> {
        match &self.wanted {
            Wanted::Path(path) => {
                let entry = lookup(self.nodes, root, path)?;
                Ok(entry.into_iter().map(|entry| (path.clone(), entry)).collect())
            }
            Wanted::Object(_) | Wanted::Name(_) => self.below(&root.tree),
        }
    }

    fn below(&mut self, tree: &TreeId) -> Result<Places> {
        if let Some(known) = self.known.get(tree) {
            return Ok(known.clone());
        }
        let mut places = Vec::new();
        for (name, entry) in self.nodes.tree(tree)?.entries() {
            match entry {
                Entry::Dir(dir) => {
                    let below = self.below(&dir.tree)?;
                    let prefix = RelPath::ROOT.join(name);
                    places.extend(below.iter().map(|(p, e)| (prefix.join_path(p), e.clone())));
                }
                Entry::File(_) | Entry::Symlink(_) if self.accepts(name, entry) => {
                    places.push((RelPath::ROOT.join(name), entry.clone()));
                }
                Entry::File(_) | Entry::Symlink(_) => {}
            }
        }
        if places.len() > PLACES {
            return Err(Error::Setting {
                key: self.query.to_owned(),
                reason: format!("it is more than {PLACES} files of one snapshot; say more of it"),
            });
        }
        let places: Places = places.into();
        self.known.insert(*tree, places.clone());
        Ok(places)
    }

    fn accepts(&self, name: &[u8], entry: &Entry) -> bool {
        match (&self.wanted, entry) {
            (Wanted::Object(id), Entry::File(file)) => file.object == *id,
            (Wanted::Object(_), Entry::Symlink(_) | Entry::Dir(_)) => false,
            (Wanted::Name(glob), _) => glob.is_match(Path::new(OsStr::from_bytes(name))),
            (Wanted::Path(_), _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_an_object_a_path_or_a_name() {
        let hex = "8cfe84448947d2973f020e2d22a6e61e6cf21c385ca8719aeec0438f255f2bf5";
        for (text, kind, query) in [
            (hex, "object", hex),
            ("BaseOS/x86_64/os/.treeinfo", "path", "BaseOS/x86_64/os/.treeinfo"),
            ("bash-5.1.8-9.el9.x86_64", "name", "bash-5.1.8-9.el9.x86_64.rpm"),
            ("bash-5.1.8-9.el9.x86_64.rpm", "name", "bash-5.1.8-9.el9.x86_64.rpm"),
            ("openssl-1:3.5.1-4.el9.x86_64", "name", "openssl-3.5.1-4.el9.x86_64.rpm"),
            ("Rocky-9.7-x86_64-dvd.iso", "name", "Rocky-9.7-x86_64-dvd.iso"),
            ("bash-5*", "name", "bash-5*"),
            (".treeinfo", "name", ".treeinfo"),
        ] {
            let (found, said, _) = understand(text).unwrap();
            assert_eq!((found, said.as_str()), (kind, query), "{text}");
        }
        for bad in ["", "a[", "a/../b"] {
            assert!(understand(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_no_pattern_matches_itself_alone() {
        let (_, _, wanted) = understand("libstdc++-11.5.0-11.el9.x86_64").unwrap();
        let Wanted::Name(glob) = wanted else { panic!("a name") };
        assert!(glob.is_match("libstdc++-11.5.0-11.el9.x86_64.rpm"));
        assert!(!glob.is_match("libstdc++-11.5.0-11.el9.i686.rpm"));
    }
}
