//! A store with one mount, and a renderer that knows nothing of the one under test.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use cairn_store::diff::diff;
use cairn_store::fs::Dir;
use cairn_store::id::SnapshotId;
use cairn_store::ingest::How;
use cairn_store::log::RefEdit;
use cairn_store::mount::{Mount, MountSpec};
use cairn_store::path::RelPath;
use cairn_store::pool::LinkMode;
use cairn_store::progress::{Observer, Silent};
use cairn_store::publish::{Goal, Intent, ViewSpec};
use cairn_store::refs::RefName;
use cairn_store::snapshot::{Origin, Snapshot};
use cairn_store::store::{Proposal, Session};
use cairn_store::tree::{DirEntry, Draft, Entry};
use cairn_store::{Result, Store};
use sha1::{Digest, Sha1};

use super::super::{ListReport, ListedView, write};
use crate::config::{ListFile, ListKind, ListRoot};
use crate::report::Mode;

pub const MOUNT: &str = "production";
/// The time of files that nobody touches: 2020-09-13.
pub const PAST: u64 = 1_600_000_000;

pub struct World {
    pub dir: tempfile::TempDir,
    pub store: Store,
    pub roots: Vec<ListRoot>,
    pub views: Vec<(&'static str, &'static str)>,
}

/// Returns a list root with these files.
pub fn root(path: &str, names: &[&str]) -> ListRoot {
    let file = |name: &&str| ListFile {
        name: (*name).to_owned(),
        kind: match name.starts_with("fullfilelist") {
            true => ListKind::Paths,
            false => ListKind::Times,
        },
    };
    ListRoot {
        mount: MOUNT.to_owned(),
        path: path.to_owned(),
        files: names.iter().map(file).collect(),
    }
}

impl World {
    pub fn new(roots: Vec<ListRoot>, views: &[(&'static str, &'static str)]) -> Self {
        Self::in_dir(tempfile::tempdir().unwrap(), roots, views)
    }

    pub fn in_dir(
        dir: tempfile::TempDir,
        roots: Vec<ListRoot>,
        views: &[(&'static str, &'static str)],
    ) -> Self {
        let mount = dir.path().join("mount");
        fs::create_dir(&mount).unwrap();
        let spec = MountSpec {
            name: MOUNT.to_owned(),
            pool: mount.join(".cairn"),
            path: mount,
            owner: None,
            link: LinkMode::Auto,
            swap: None,
            keep_trees: Duration::ZERO,
            answer_within: cairn_store::hang::LIMIT,
            grace: Duration::ZERO,
            home: true,
        };
        let store = Store::init(&dir.path().join("store"), &[spec], Session::default()).unwrap();
        Self { dir, store, roots, views: views.to_vec() }
    }

    pub fn mount(&self) -> Mount {
        self.store.mount(MOUNT).unwrap()
    }

    /// Returns a path on the mount.
    pub fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join("mount").join(path)
    }

    /// Returns a path in the directory that is published next.
    pub fn source(&self, path: &str) -> PathBuf {
        self.dir.path().join("source").join(path)
    }

    /// Writes a file of the source, from the past.
    pub fn file(&self, path: &str, text: &str) {
        put(&self.source(path), text);
        self.age();
    }

    /// Gives every directory of the source the time of the past.
    pub fn age(&self) {
        for (path, meta) in walk(&self.source("")) {
            if meta.is_dir() {
                set_mtime(&path, PAST);
            }
        }
        set_mtime(&self.source(""), PAST);
    }

    /// Publishes the source.
    pub fn publish(&self, name: &str) -> SnapshotId {
        let draft = Draft::new(&self.store);
        let source = Dir::open(&self.source("")).unwrap();
        let mount = self.mount();
        let root =
            self.store.ingest(&draft, &source, mount.pool(), How::default(), &Silent).unwrap().root;
        let snapshot = Snapshot {
            version: Snapshot::VERSION,
            root: root.into(),
            time: jiff::Timestamp::now(),
            origin: Origin::default(),
            parents: Vec::new(),
        };
        self.swap(name, &draft, snapshot.encode().0, root, vec![snapshot])
    }

    /// Publishes a snapshot that was published before.
    pub fn roll_back(&self, name: &str, to: SnapshotId) {
        let draft = Draft::new(&self.store);
        let root = self.store.snapshot(&to).unwrap().root();
        self.swap(name, &draft, to, root, Vec::new());
    }

    fn swap(
        &self,
        name: &str,
        draft: &Draft<'_>,
        id: SnapshotId,
        root: DirEntry,
        snapshots: Vec<Snapshot>,
    ) -> SnapshotId {
        let (name, path) = self.views.iter().find(|(n, _)| *n == name).unwrap();
        let name = RefName::new(*name).unwrap();
        let path = RelPath::new(path).unwrap();
        let view = ViewSpec { name: name.clone(), mount: MOUNT.to_owned(), path };
        let writer = self.store.writer(std::slice::from_ref(&name)).unwrap();
        let now = jiff::Timestamp::now();
        let goal = Goal { snapshot: id, root, time: now, intent: Intent::Forward };
        let prepared = self.store.prepare_view(draft, &view, &goal, &|_| false, &Silent).unwrap();
        let old = self.store.get_ref(&name).unwrap().map(|state| state.snapshot);
        let edits = vec![RefEdit { name, old, new: Some(id) }];
        let verb = "test".to_owned();
        writer.commit(draft, Proposal { verb, edits, snapshots, ..Proposal::default() }).unwrap();
        prepared.swap(id, now).unwrap();
        id
    }

    /// Returns the views that are published.
    pub fn listed(&self) -> Vec<ListedView> {
        let views = self.views.iter().filter_map(|(name, path)| {
            let name = RefName::new(*name).unwrap();
            let snapshot = self.store.get_ref(&name).unwrap()?.snapshot;
            Some(ListedView { name, path: RelPath::new(path).unwrap(), snapshot })
        });
        views.collect()
    }

    pub fn try_write(&self, observer: &dyn Observer, mode: Mode) -> Result<Vec<ListReport>> {
        write(&self.store, &self.mount(), &self.roots, &self.listed(), observer, mode)
    }

    pub fn write(&self) -> Vec<ListReport> {
        self.try_write(&Silent, Mode::Apply).unwrap()
    }

    /// Returns the names of the lists that a run replaced.
    pub fn write_changed(&self) -> Vec<String> {
        let changed = self.write().into_iter().filter(|report| report.changed);
        changed.map(|report| format!("{}/{}", report.root, report.name)).collect()
    }

    /// Returns every list by its path on the mount.
    pub fn lists(&self) -> BTreeMap<String, String> {
        let mut lists = BTreeMap::new();
        for root in &self.roots {
            for file in &root.files {
                let path = Path::new(&root.path).join(&file.name).to_str().unwrap().to_owned();
                let text = fs::read(self.at(&path)).unwrap();
                lists.insert(path, String::from_utf8_lossy(&text).into_owned());
            }
        }
        lists
    }

    /// Returns the time of every directory that no view covers, as a first run must see it.
    pub fn dir_times(&self) -> BTreeMap<Vec<u8>, i64> {
        let dirs = walk(&self.at("")).into_iter().filter(|(_, meta)| meta.is_dir());
        dirs.map(|(path, meta)| (self.below(&path), meta.mtime().max(meta.ctime()))).collect()
    }

    fn below(&self, path: &Path) -> Vec<u8> {
        path.strip_prefix(self.at("")).unwrap().as_os_str().as_bytes().to_vec()
    }

    /// Renders both kinds of list for a root, from the file system and the log.
    pub fn naive(&self, root: &str, dirs: &BTreeMap<Vec<u8>, i64>) -> (String, String) {
        let mut times = dirs.clone();
        let mut managed = BTreeMap::new();
        for (name, path) in &self.views {
            self.fold(name, path, &mut managed);
        }
        let mut rows = BTreeMap::new();
        for (path, meta) in walk(&self.at("")) {
            let name = self.below(&path);
            let is_list = self.roots.iter().any(|root| {
                root.files.iter().any(|file| {
                    let list = Path::new(&root.path).join(&file.name);
                    let list = list.as_os_str().as_bytes();
                    name == list || name == [list, b"-old"].concat()
                })
            });
            let closed = name == b".cairn" || name.starts_with(b".cairn/") || is_list;
            if closed || name.contains(&b'\n') {
                continue;
            }
            let managed_time = managed.get(&name).copied();
            if managed_time.is_none() && !meta.is_dir() {
                times.insert(name.clone(), meta.mtime().max(meta.ctime()));
            }
            let time = managed_time.unwrap_or_else(|| times[&name]);
            let inside = if root.is_empty() {
                Some(name.as_slice())
            } else {
                name.strip_prefix(format!("{root}/").as_bytes())
            };
            if let Some(inside) = inside {
                rows.insert(inside.to_vec(), (path, meta, time));
            }
        }
        print(&rows)
    }

    /// Finds when each path of a view got its content, one publication after the other.
    fn fold(&self, name: &str, at: &str, times: &mut BTreeMap<Vec<u8>, i64>) {
        let history = self.store.index().view().unwrap();
        let mut history = history.history(&RefName::new(name).unwrap()).unwrap();
        history.reverse();
        let mut before: Option<DirEntry> = None;
        for (number, snapshot) in history {
            let now = self.store.operation(number).unwrap().time.as_second();
            let root = self.store.snapshot(&snapshot.unwrap()).unwrap().root();
            if before.is_none_or(|b| b.mode != root.mode || b.mtime != root.mtime) {
                times.insert(at.as_bytes().to_vec(), now.max(root.mtime.secs));
            }
            diff(&self.store, before.as_ref(), Some(&root), &mut |change| {
                let path = [at.as_bytes(), b"/", change.path.as_bytes()].concat();
                match &change.new {
                    Some(entry) => times.insert(path, now.max(entry.mtime().secs)),
                    None => times.remove(&path),
                };
                assert!(matches!(
                    change.new,
                    None | Some(Entry::File(_) | Entry::Dir(_) | Entry::Symlink(_))
                ));
                Ok(())
            })
            .unwrap();
            before = Some(root);
        }
    }
}

fn print(rows: &BTreeMap<Vec<u8>, (PathBuf, fs::Metadata, i64)>) -> (String, String) {
    let (mut paths, mut files) = (".\n".to_owned(), "[Version]\n2\n\n[Files]\n".to_owned());
    let mut sums = String::new();
    for (name, (path, meta, time)) in rows {
        let shown = String::from_utf8_lossy(name);
        if name.split(|b| *b == b'/').any(|part| part == b".~tmp~" || part.starts_with(b".nfs")) {
            continue;
        }
        paths += &format!("./{shown}\n");
        let above = (0..name.len())
            .filter(|at| name[*at] == b'/')
            .map(|at| rows.get(&name[..at]).map_or(0o777, |(_, meta, _)| meta.mode()));
        let above: Vec<u32> = above.collect();
        let link = meta.file_type().is_symlink();
        if above.iter().chain([&meta.mode()]).any(|mode| mode & 0o040 == 0)
            || link && fs::metadata(path).is_err()
        {
            continue;
        }
        let kind = if link {
            "l"
        } else if meta.is_dir() {
            "d"
        } else {
            "f"
        };
        let flag = match (meta.mode() & 0o004, above.iter().any(|mode| mode & 0o004 == 0)) {
            (0, _) => "-",
            (_, true) => "*",
            (_, false) => "",
        };
        files += &format!("{time}\t{kind}{flag}\t{}\t{shown}\n", meta.size());
        if kind == "f" && name.rsplit(|b| *b == b'/').next() == Some(b"repomd.xml") {
            let digest = Sha1::digest(fs::read(path).unwrap());
            sums += &format!("{}\t{shown}\n", cairn_store::id::hex(&digest));
        }
    }
    (paths, format!("{files}\n[Checksums SHA1]\n{sums}\n[End]\n"))
}

/// Returns everything below a directory by lstat.
pub fn walk(dir: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        if meta.is_dir() {
            found.extend(walk(&path));
        }
        found.push((path, meta));
    }
    found
}

/// Writes a file from the past, with the directories above it.
pub fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    set_mtime(path, PAST);
}

pub fn set_mtime(path: &Path, secs: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Remembers what it is told.
#[derive(Default)]
pub struct Notes(pub Mutex<Vec<String>>);

impl Observer for Notes {
    fn note(&self, sentence: &str) {
        self.0.lock().unwrap().push(sentence.to_owned());
    }
}
