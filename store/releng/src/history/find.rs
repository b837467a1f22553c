//! Where a package, a path or a content ever was.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

use cairn_repodata::Nevra;
use cairn_store::id::{ObjectId, SnapshotId, TreeId};
use cairn_store::path::RelPath;
use cairn_store::tree::{DirEntry, Entry, Nodes, lookup};
use globset::{GlobBuilder, GlobMatcher};
use serde::Serialize;

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
}

/// One content at one path of one ref, for as long as it was there without a break.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// The ref.
    #[serde(rename = "ref")]
    pub name: String,
    /// The path.
    pub path: RelPath,
    /// The content; nothing for a directory or a symbolic link.
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

enum Wanted {
    Object(ObjectId),
    Name(GlobMatcher),
    Path(RelPath),
}

/// What is looked at in a tree: the path from there, and the entry.
pub(crate) type Places = Arc<[(RelPath, Entry)]>;

/// Looks for an object (64 hex digits), a path (with a `/` in it), or a file name: that of a
/// package may be its NEVRA, and any may be a pattern with `*`, `?`, `[…]` and `{…}`.
///
/// All that any ref ever named is searched; a tree that occurs again is not looked at again.
///
/// # Errors
/// A pattern that is none or accepts too much, trees that cannot be read.
pub fn find(site: &Site, query: &str) -> Result<Search> {
    let (kind, query, wanted) = understand(query)?;
    let mut finder = Finder { nodes: &site.store, wanted, known: HashMap::new(), query: &query };
    let mut reader = Reader::new(site);
    let (mut seen, mut collected) = (BTreeSet::new(), BTreeSet::new());
    let mut found = Vec::new();
    let names = site.store.index().view()?.ever_named()?;
    for name in names {
        let mut open: BTreeMap<(RelPath, Option<ObjectId>), Found> = BTreeMap::new();
        let moves = site.store.index().view()?.history(&name)?;
        for (number, snapshot) in moves.into_iter().rev() {
            let places = match snapshot {
                None => Places::default(),
                Some(snapshot) => match reader.root(snapshot)? {
                    None => {
                        collected.insert(snapshot);
                        continue;
                    }
                    Some(root) => {
                        seen.insert(snapshot);
                        finder.places(&root)?
                    }
                },
            };
            let mut before = std::mem::take(&mut open);
            for (path, entry) in places.iter() {
                let object = match entry {
                    Entry::File(file) => Some(file.object),
                    Entry::Dir(_) | Entry::Symlink(_) => None,
                };
                let key = (path.clone(), object);
                let mut row = match before.remove(&key) {
                    Some(row) => row,
                    None => Found {
                        name: name.to_string(),
                        path: path.clone(),
                        object,
                        size: entry.bytes(),
                        since: reader.who(number)?,
                        until: None,
                        snapshots: Vec::new(),
                    },
                };
                row.snapshots.extend(snapshot);
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
    Ok(Search { kind, query, found, snapshots: seen.len(), collected: collected.len() })
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
    let is_pattern = query.contains(['*', '?', '[', '{']);
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
