//! What differs by path, with sums by repo and kind of file.

use std::collections::{BTreeMap, HashMap};

use serde::{Serialize, Serializer};

use cairn_store::diff::{Change, Changed, diff};
use cairn_store::path::RelPath;
use cairn_store::tree::{DirEntry, Entry, Nodes, lookup};

use super::{Filter, Result};

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileCategory {
    /// An RPM.
    Package,
    /// What is below a `repodata` directory.
    Repodata,
    /// An installation or disk image, or a part of one that boots.
    Image,
    /// Anything else.
    Other,
}

impl FileCategory {
    /// Returns what a path is for, by its name and place.
    pub fn of(path: &RelPath) -> Self {
        let name = path.file_name();
        if name.ends_with(b".rpm") || name.ends_with(b".drpm") {
            return FileCategory::Package;
        }
        let in_dir =
            |dir: &[u8]| path.split_last().is_some_and(|(p, _)| p.names().any(|n| n == dir));
        if in_dir(b"repodata") {
            return FileCategory::Repodata;
        }
        // Cloud images come compressed, and container images as archives below `images`.
        let packed = [&b".xz"[..], b".gz", b".zst"];
        let bare = packed.iter().find_map(|suffix| name.strip_suffix(*suffix)).unwrap_or(name);
        let extension = bare.rsplit(|b| *b == b'.').next().filter(|e| e.len() < bare.len());
        let is_image = match extension.unwrap_or_default() {
            b"iso" | b"img" | b"qcow2" | b"raw" | b"vmdk" | b"vhd" | b"vhdx" | b"vdi" | b"box"
            | b"ova" | b"wsl" | b"efi" | b"EFI" => true,
            b"tar" => in_dir(b"images"),
            _ => bare == b"vmlinuz",
        };
        if is_image { FileCategory::Image } else { FileCategory::Other }
    }
}

/// A file or symbolic link that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileRow {
    /// Where it is.
    pub path: RelPath,
    /// The directory of its repo, or of the area that it is in.
    pub repo: RelPath,
    /// What it is for.
    pub kind: FileCategory,
    /// Its size before in bytes; nothing if it is new.
    pub old_size: Option<u64>,
    /// Its size after in bytes; nothing if it is gone.
    pub new_size: Option<u64>,
    /// Whether the content is the same and only mode or time differ.
    pub metadata_only: bool,
}

/// What differs of one kind of file in one repo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepoFiles {
    /// The nearest directory above that holds `repodata/repomd.xml` in either tree; else the
    /// first two directories of the path.
    pub repo: RelPath,
    /// What the files are for.
    pub kind: FileCategory,
    /// How much differs.
    #[serde(flatten)]
    pub changed: Changed,
}

/// Directories that differ themselves; what is in them is counted as files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Directories {
    /// Directories that appear.
    pub added: u64,
    /// Directories that disappear.
    pub removed: u64,
    /// Directories whose mode or time differ.
    pub changed: u64,
}

/// What differs by path, each list in the order of the paths.
///
/// In JSON the lists are lists of paths (the command contract); a caller that shows more has the
/// rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FilesDiff {
    /// Files and symbolic links that appear.
    #[serde(serialize_with = "paths")]
    pub added: Vec<FileRow>,
    /// Those that disappear.
    #[serde(serialize_with = "paths")]
    pub removed: Vec<FileRow>,
    /// Those whose content, mode or time differ.
    #[serde(serialize_with = "paths")]
    pub changed: Vec<FileRow>,
    /// Sums by repo and kind, in this order.
    pub by_repo: Vec<RepoFiles>,
    /// Sums of all.
    pub totals: Changed,
    /// Directories that differ.
    pub directories: Directories,
}

impl FilesDiff {
    /// Returns whether no file differs. Directories do not count: their times follow their files.
    pub fn is_empty(&self) -> bool {
        self.totals.is_empty()
    }
}

fn paths<S: Serializer>(rows: &[FileRow], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(rows.iter().map(|row| &row.path))
}

/// Returns what differs by path; equal subtrees are skipped by their id.
///
/// # Errors
/// Trees that cannot be read.
pub fn files(
    nodes: &dyn Nodes,
    old: Option<&DirEntry>,
    new: Option<&DirEntry>,
    filter: &Filter,
) -> Result<FilesDiff> {
    let mut areas = Areas { nodes, roots: [old, new], known: HashMap::new() };
    let mut found = FilesDiff::default();
    let mut sums: BTreeMap<(RelPath, FileCategory), Changed> = BTreeMap::new();
    diff(nodes, old, new, &mut |change| {
        let repo = areas.of(&change.path)?;
        if !filter.accepts_file(&repo, &change.path) {
            return Ok(());
        }
        count_directory(&mut found.directories, &change);
        let kind = FileCategory::of(&change.path);
        let [old_size, new_size] = [&change.old, &change.new].map(size);
        let list = match (old_size, new_size) {
            (None, None) => return Ok(()),
            (None, Some(_)) => &mut found.added,
            (Some(_), None) => &mut found.removed,
            (Some(_), Some(_)) => &mut found.changed,
        };
        found.totals.count(&change);
        sums.entry((repo.clone(), kind)).or_default().count(&change);
        let metadata_only = change.is_metadata_only();
        list.push(FileRow { path: change.path, repo, kind, old_size, new_size, metadata_only });
        Ok(())
    })?;
    found.by_repo =
        sums.into_iter().map(|((repo, kind), changed)| RepoFiles { repo, kind, changed }).collect();
    Ok(found)
}

/// Returns the size of a file or symbolic link; a directory has none.
fn size(entry: &Option<Entry>) -> Option<u64> {
    match entry {
        Some(Entry::File(file)) => Some(file.size),
        Some(Entry::Symlink(_)) => Some(0),
        Some(Entry::Dir(_)) | None => None,
    }
}

fn count_directory(directories: &mut Directories, change: &Change) {
    let is_dir = |entry: &Option<Entry>| entry.as_ref().is_some_and(|e| e.as_dir().is_some());
    match (is_dir(&change.old), is_dir(&change.new)) {
        (false, false) => {}
        (false, true) => directories.added += 1,
        (true, false) => directories.removed += 1,
        (true, true) => directories.changed += 1,
    }
}

/// Which repo or area a path is in; answers are remembered by directory.
struct Areas<'a> {
    nodes: &'a dyn Nodes,
    roots: [Option<&'a DirEntry>; 2],
    known: HashMap<RelPath, Option<RelPath>>,
}

impl Areas<'_> {
    fn of(&mut self, path: &RelPath) -> cairn_store::Result<RelPath> {
        let dir = path.split_last().map_or(RelPath::ROOT, |(dir, _)| dir);
        if let Some(repo) = self.repo_above(&dir)? {
            return Ok(repo);
        }
        Ok(dir.names().take(2).fold(RelPath::ROOT, |area, name| area.join(name)))
    }

    fn repo_above(&mut self, dir: &RelPath) -> cairn_store::Result<Option<RelPath>> {
        if let Some(known) = self.known.get(dir) {
            return Ok(known.clone());
        }
        let repo = if self.is_repo(dir)? {
            Some(dir.clone())
        } else {
            match dir.split_last() {
                Some((parent, _)) => self.repo_above(&parent)?,
                None => None,
            }
        };
        self.known.insert(dir.clone(), repo.clone());
        Ok(repo)
    }

    fn is_repo(&self, dir: &RelPath) -> cairn_store::Result<bool> {
        let repomd = dir.join(super::repos::REPODATA).join(super::repos::REPOMD);
        for root in self.roots.into_iter().flatten() {
            if lookup(self.nodes, root, &repomd)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
