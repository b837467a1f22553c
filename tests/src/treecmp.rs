//! Whether two directories are equal, path by path.
//!
//! Directories are walked by descriptor, so that neither a long path nor a deep one stops the
//! comparison, and only one is open at a time. Holes in files are not read.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsString};
use std::fmt;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;

/// Which entries a piece of metadata is compared on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// On none.
    Nothing,
    /// On regular files only.
    Files,
    /// On directories (and, for times, symbolic links) as well.
    Everything,
}

/// What to compare beside paths, kinds, contents and the targets of symbolic links.
#[derive(Clone, Debug)]
pub struct Options {
    /// Permissions. Files by default.
    pub mode: On,
    /// Times of modification, to the nanosecond. Files by default.
    pub mtime: On,
    /// User and group of every entry. Not by default.
    pub owner: bool,
    /// Which names are links of one file. Not by default.
    pub hardlinks: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { mode: On::Files, mtime: On::Files, owner: false, hardlinks: false }
    }
}

/// A path at which two trees differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Below both roots; empty for the roots themselves.
    pub path: PathBuf,
    /// In what.
    pub what: What,
}

/// What is different; the first tree's value comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Only the first tree has it.
    OnlyFirst,
    /// Only the second tree has it.
    OnlySecond,
    /// One is a file, say, the other a directory.
    Kind(Kind, Kind),
    /// Sizes, in bytes.
    Size(u64, u64),
    /// Contents of equal size.
    Content,
    /// Permissions.
    Mode(u32, u32),
    /// Times of modification: seconds and nanoseconds.
    Mtime((i64, u64), (i64, u64)),
    /// Users and groups.
    Owner((u32, u32), (u32, u32)),
    /// Targets of a symbolic link.
    Target(OsString, OsString),
    /// The other names of the same file within the tree.
    Hardlinks(Vec<PathBuf>, Vec<PathBuf>),
}

/// A kind of directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A fifo, a socket or a device.
    Special,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: ", self.path)?;
        match &self.what {
            What::OnlyFirst => write!(f, "only in the first"),
            What::OnlySecond => write!(f, "only in the second"),
            What::Kind(a, b) => write!(f, "{a:?} against {b:?}"),
            What::Size(a, b) => write!(f, "{a} bytes against {b}"),
            What::Content => write!(f, "other content of the same size"),
            What::Mode(a, b) => write!(f, "mode {a:04o} against {b:04o}"),
            What::Mtime(a, b) => write!(f, "mtime {}.{:09} against {}.{:09}", a.0, a.1, b.0, b.1),
            What::Owner(a, b) => write!(f, "owner {}:{} against {}:{}", a.0, a.1, b.0, b.1),
            What::Target(a, b) => write!(f, "link to {a:?} against {b:?}"),
            What::Hardlinks(a, b) => write!(f, "links {a:?} against {b:?}"),
        }
    }
}

/// Compares two trees with the default [`Options`]; equal trees have no differences.
///
/// # Panics
///
/// If either cannot be read; the message names the path.
#[track_caller]
pub fn compare(first: &Path, second: &Path) -> Vec<Difference> {
    compare_with(first, second, &Options::default())
}

/// Compares two trees.
///
/// # Panics
///
/// If either cannot be read; the message names the path.
#[track_caller]
pub fn compare_with(first: &Path, second: &Path, options: &Options) -> Vec<Difference> {
    let (first, second) = (Listing::read(first), Listing::read(second));
    let mut differences = Vec::new();
    let mut found = |path: &Path, what| {
        differences.push(Difference { path: path.to_owned(), what });
    };
    for (path, a) in &first.entries {
        match second.entries.get(path) {
            Some(b) => compare_entries(a, b, options, |what| found(path, what)),
            None => found(path, What::OnlyFirst),
        }
    }
    for path in second.entries.keys().filter(|path| !first.entries.contains_key(*path)) {
        found(path, What::OnlySecond);
    }
    if options.hardlinks {
        let (a, b) = (first.links(), second.links());
        let none = Vec::new();
        for (path, entry) in &first.entries {
            let (mine, theirs) = (a.get(path).unwrap_or(&none), b.get(path).unwrap_or(&none));
            if entry.kind == Kind::File && second.entries.contains_key(path) && mine != theirs {
                found(path, What::Hardlinks(mine.clone(), theirs.clone()));
            }
        }
    }
    differences.sort_by(|a, b| a.path.cmp(&b.path));
    differences
}

/// Asserts that two trees are equal, and says where they are not.
///
/// # Panics
///
/// If they are not equal, or cannot be read.
#[track_caller]
pub fn assert_equal(first: &Path, second: &Path) {
    let differences = compare(first, second);
    let shown: Vec<String> = differences.iter().take(20).map(ToString::to_string).collect();
    assert!(
        differences.is_empty(),
        "{} and {} differ in {} places:\n{}",
        first.display(),
        second.display(),
        differences.len(),
        shown.join("\n")
    );
}

/// Returns a digest of what [`compare`] compares: equal trees, equal digests.
///
/// # Panics
///
/// If the tree cannot be read; the message names the path.
#[track_caller]
pub fn digest(dir: &Path) -> String {
    let mut hasher = blake3::Hasher::new();
    for (path, entry) in &Listing::read(dir).entries {
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        field(path.as_os_str().as_encoded_bytes());
        field(format!("{:?}", entry.kind).as_bytes());
        match entry.kind {
            Kind::File => {
                let Entry { size, mode, mtime, .. } = entry;
                field(format!("{size} {mode:o} {mtime:?}").as_bytes());
                field(&entry.content);
            }
            Kind::Symlink => field(entry.target.as_encoded_bytes()),
            Kind::Directory | Kind::Special => {}
        }
    }
    hasher.finalize().to_hex().to_string()
}

struct Listing {
    entries: BTreeMap<PathBuf, Entry>,
}

struct Entry {
    kind: Kind,
    mode: u32,
    size: u64,
    mtime: (i64, u64),
    owner: (u32, u32),
    inode: (u64, u64),
    content: [u8; 32],
    target: OsString,
}

fn compare_entries(a: &Entry, b: &Entry, options: &Options, mut found: impl FnMut(What)) {
    if a.kind != b.kind {
        found(What::Kind(a.kind, b.kind));
        return;
    }
    let on = |on: On| match on {
        On::Nothing => false,
        On::Files => a.kind == Kind::File,
        On::Everything => true,
    };
    if a.kind == Kind::File && a.size != b.size {
        found(What::Size(a.size, b.size));
    } else if a.content != b.content {
        found(What::Content);
    }
    if a.target != b.target {
        found(What::Target(a.target.clone(), b.target.clone()));
    }
    // A symbolic link's mode says nothing.
    if on(options.mode) && a.kind != Kind::Symlink && a.mode != b.mode {
        found(What::Mode(a.mode, b.mode));
    }
    if on(options.mtime) && a.mtime != b.mtime {
        found(What::Mtime(a.mtime, b.mtime));
    }
    if options.owner && a.owner != b.owner {
        found(What::Owner(a.owner, b.owner));
    }
}

impl Listing {
    #[track_caller]
    fn read(root: &Path) -> Self {
        // A published view may be a link to its tree; links below the root are never followed.
        let opened = rustix::fs::open(root, dir_flags() - OFlags::NOFOLLOW, Mode::empty());
        let dir = opened.unwrap_or_else(|error| panic!("{}: open: {error}", root.display()));
        let mut entries = BTreeMap::new();
        let stat = rustix::fs::fstat(&dir);
        let stat = stat.unwrap_or_else(|error| panic!("{}: stat: {error}", root.display()));
        entries.insert(PathBuf::new(), Entry::new(Kind::Directory, &stat));
        if let Err((path, error)) = walk(dir, Path::new(""), &mut entries) {
            panic!("{}: {error}", root.join(path).display());
        }
        Self { entries }
    }

    /// For each file with several names in this tree, the other names.
    fn links(&self) -> BTreeMap<PathBuf, Vec<PathBuf>> {
        let mut groups: BTreeMap<(u64, u64), Vec<&PathBuf>> = BTreeMap::new();
        for (path, entry) in self.entries.iter().filter(|(_, entry)| entry.kind == Kind::File) {
            groups.entry(entry.inode).or_default().push(path);
        }
        let mut links = BTreeMap::new();
        for group in groups.values().filter(|group| group.len() > 1) {
            for path in group {
                let others = group.iter().filter(|other| *other != path);
                links.insert((*path).clone(), others.map(|other| (*other).clone()).collect());
            }
        }
        links
    }
}

impl Entry {
    fn new(kind: Kind, stat: &Stat) -> Self {
        Self {
            kind,
            mode: stat.st_mode & 0o7777,
            size: stat.st_size as u64,
            mtime: (stat.st_mtime, stat.st_mtime_nsec),
            owner: (stat.st_uid, stat.st_gid),
            inode: (stat.st_dev, stat.st_ino),
            content: [0; 32],
            target: OsString::new(),
        }
    }
}

fn dir_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

type Failed = (PathBuf, Errno);

/// Walks a tree with one descriptor and a list of what is still to be entered.
///
/// Neither recursion nor a descriptor for each level would do for a tree of a thousand levels:
/// the way back up is `..`.
fn walk(
    mut dir: OwnedFd,
    root: &Path,
    entries: &mut BTreeMap<PathBuf, Entry>,
) -> Result<(), Failed> {
    let mut levels = vec![list(&dir, root, entries)?];
    while let Some(level) = levels.last_mut() {
        match level.pop() {
            Some((name, path)) => {
                dir = enter(&dir, &name).map_err(|error| (path.clone(), error))?;
                levels.push(list(&dir, &path, entries)?);
            }
            None => {
                levels.pop();
                if !levels.is_empty() {
                    dir = enter(&dir, c"..").map_err(|error| (root.to_owned(), error))?;
                }
            }
        }
    }
    Ok(())
}

fn enter(dir: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(dir, name, dir_flags(), Mode::empty())
}

/// Notes the entries of one directory, and returns the subdirectories among them.
fn list(
    dir: &OwnedFd,
    prefix: &Path,
    entries: &mut BTreeMap<PathBuf, Entry>,
) -> Result<Vec<(CString, PathBuf)>, Failed> {
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    let mut below = Vec::new();
    for item in rustix::fs::Dir::read_from(dir).map_err(fail(prefix))? {
        let item = item.map_err(fail(prefix))?;
        let name = item.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let path = prefix.join(OsString::from_vec(name.to_bytes().to_vec()));
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(fail(&path))?;
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            _ => Kind::Special,
        };
        let mut entry = Entry::new(kind, &stat);
        match kind {
            Kind::File => entry.content = content(dir, name, &stat).map_err(fail(&path))?,
            Kind::Symlink => {
                let target = rustix::fs::readlinkat(dir, name, Vec::new()).map_err(fail(&path))?;
                entry.target = OsString::from_vec(target.into_bytes());
            }
            Kind::Directory => below.push((name.to_owned(), path.clone())),
            Kind::Special => {}
        }
        entries.insert(path, entry);
    }
    Ok(below)
}

/// Hashes the blocks of a file that are not zero, each with its place.
fn content(dir: &OwnedFd, name: &CStr, stat: &Stat) -> Result<[u8; 32], Errno> {
    const BLOCK: u64 = 64 * 1024;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(dir, name, flags, Mode::empty())?);
    let size = stat.st_size as u64;
    let mut hasher = blake3::Hasher::new();
    let mut block = vec![0; BLOCK as usize];
    let mut at = 0;
    while at < size {
        // A filesystem without holes answers with the position itself.
        let data = match rustix::fs::seek(&file, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL) => at,
            Err(error) => return Err(error),
        };
        at = data - data % BLOCK;
        let want = BLOCK.min(size - at) as usize;
        let read = file.read_exact_at(&mut block[..want], at);
        read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        if block[..want].iter().any(|byte| *byte != 0) {
            hasher.update(&at.to_le_bytes());
            hasher.update(&block[..want]);
        }
        at += BLOCK;
    }
    Ok(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, SystemTime};

    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/file"), "content").unwrap();
        fs::hard_link(root.join("d/file"), root.join("d/twin")).unwrap();
        fs::write(root.join("other"), "more").unwrap();
        symlink("d/file", root.join("link")).unwrap();
        for path in ["d/file", "other"] {
            set_time(&root.join(path), 1_000_000_000);
            fs::set_permissions(root.join(path), Permissions::from_mode(0o644)).unwrap();
        }
        dir
    }

    fn set_time(path: &Path, seconds: u64) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn equal_trees_have_no_differences_and_one_digest() {
        let (a, b) = (tree(), tree());
        let options = Options { hardlinks: true, owner: true, ..Options::default() };
        assert_eq!(compare_with(a.path(), b.path(), &options), []);
        assert_equal(a.path(), b.path());
        assert_eq!(digest(a.path()), digest(b.path()));
    }

    #[test]
    fn every_difference_is_found_and_named() {
        type Change = fn(&Path);
        let cases: [(&str, Change, &str); 9] = [
            ("gone", |r| fs::remove_file(r.join("other")).unwrap(), "\"other\": only in the first"),
            ("new", |r| fs::write(r.join("x"), "").unwrap(), "\"x\": only in the second"),
            (
                "kind",
                |r| {
                    fs::remove_file(r.join("other")).unwrap();
                    fs::create_dir(r.join("other")).unwrap();
                },
                "\"other\": File against Directory",
            ),
            (
                "content",
                |r| {
                    fs::write(r.join("other"), "MORE").unwrap();
                    set_time(&r.join("other"), 1_000_000_000);
                },
                "\"other\": other content of the same size",
            ),
            (
                "size",
                |r| {
                    fs::write(r.join("other"), "longer").unwrap();
                    set_time(&r.join("other"), 1_000_000_000);
                },
                "\"other\": 4 bytes against 6",
            ),
            (
                "mode",
                |r| fs::set_permissions(r.join("other"), Permissions::from_mode(0o600)).unwrap(),
                "\"other\": mode 0644 against 0600",
            ),
            (
                "time",
                |r| set_time(&r.join("other"), 1_000_000_001),
                "\"other\": mtime 1000000000.000000000 against 1000000001.000000000",
            ),
            (
                "target",
                |r| {
                    fs::remove_file(r.join("link")).unwrap();
                    symlink("other", r.join("link")).unwrap();
                },
                "\"link\": link to \"d/file\" against \"other\"",
            ),
            (
                "links",
                |r| {
                    fs::remove_file(r.join("d/twin")).unwrap();
                    fs::copy(r.join("d/file"), r.join("d/twin")).unwrap();
                    set_time(&r.join("d/twin"), 1_000_000_000);
                },
                "\"d/file\": links [\"d/twin\"] against []",
            ),
        ];
        let options = Options { hardlinks: true, ..Options::default() };
        for (name, change, expected) in cases {
            let (a, b) = (tree(), tree());
            change(b.path());
            let found = compare_with(a.path(), b.path(), &options);
            assert!(!found.is_empty(), "{name}");
            assert_eq!(found[0].to_string(), expected, "{name}");
            let same_digest = digest(a.path()) == digest(b.path());
            assert_eq!(same_digest, name == "links", "{name}");
        }
    }

    #[test]
    fn holes_compare_as_the_zeros_that_they_read_as() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let size = 300 * 1024;
        for (dir, holes) in [(&a, true), (&b, false)] {
            let path = dir.path().join("f");
            let file = File::create(&path).unwrap();
            if holes {
                file.set_len(size).unwrap();
            } else {
                fs::write(&path, vec![0; size as usize]).unwrap();
            }
            file.write_all_at(b"data", 200_000).unwrap();
            drop(file);
            set_time(&path, 5);
        }
        assert_equal(a.path(), b.path());
        File::options()
            .write(true)
            .open(b.path().join("f"))
            .unwrap()
            .write_all_at(b"x", 0)
            .unwrap();
        set_time(&b.path().join("f"), 5);
        assert_eq!(compare(a.path(), b.path())[0].what, What::Content);
    }
}
