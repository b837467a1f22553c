//! What a compose should not hold, and a store must survive: names, links, files, depth.
//!
//! Each function adds its kind to a directory that exists, and says what it added. A store has
//! to keep it as it is, or to refuse it with the path; it must not follow, hang or crash.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, FileTimes, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, SeekFrom};
use rustix::io::Errno;

use crate::unavailable::{self, Unavailable};

fn fine<T, E: std::fmt::Display>(result: Result<T, E>, path: &Path) -> T {
    result.unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// Names that shells, terminals, sort orders and parsers stumble over.
///
/// Case twins and normalisation twins are among them: different names, though not everywhere.
pub const NAMES: &[&[u8]] = &[
    b"-rf",
    b"--delete",
    b" leading and trailing ",
    b"new\nline",
    b"carriage\rreturn",
    b"tab\there",
    b"\x1b[31mred\x1b[0m",
    b"\x1b]0;title\x07",
    b"bell\x07 and back\x08space",
    b"del\x7f",
    b"not utf-8 \xff\xfe",
    b"latin-1 caf\xe9",
    b"overlong \xc0\xaf",
    b"surrogate \xed\xa0\x80",
    "right to left \u{202e}mpr.x".as_bytes(),
    "zero\u{200b}width".as_bytes(),
    "composed \u{e9}".as_bytes(),
    "decomposed e\u{301}".as_bytes(),
    b"Case",
    b"case",
    b"quote'and\"double",
    b"back\\slash",
    b"$(touch pwned)",
    b"`touch pwned`",
    b"star*?[a-z]{b,c}",
    b"semi;colon&and|pipe",
    b"percent%2e%2e%2f",
    b"<tag>&amp;",
    b"...",
    b".hidden",
    b"~tilde",
    b"comma,equals=hash#",
];

/// Adds an empty file of every one of [`NAMES`], and one whose name has 255 bytes.
///
/// # Panics
///
/// If the filesystem does not take a name.
#[track_caller]
pub fn names(dir: &Path) -> Vec<OsString> {
    let long = vec![b'l'; 255];
    let names: Vec<OsString> = NAMES
        .iter()
        .copied()
        .chain([long.as_slice()])
        .map(|name| OsStr::from_bytes(name).to_owned())
        .collect();
    for name in &names {
        let path = dir.join(name);
        fine(File::create_new(&path), &path);
    }
    names
}

/// Adds symbolic links that leave the tree, loop, or lead nowhere, and one that is fine.
///
/// # Panics
///
/// If one cannot be made.
#[track_caller]
pub fn symlinks(dir: &Path) -> Vec<OsString> {
    let inside = dir.join("inside");
    fine(fs::create_dir(&inside), &inside);
    fine(fs::write(inside.join("file"), "inside"), &inside);
    let links = [
        ("absolute", "/etc/passwd"),
        ("climbs", "../../../../../../../../../../etc/passwd"),
        ("climbs-from-below", "inside/../../.."),
        ("to-root", "/"),
        ("self", "self"),
        ("loop-a", "loop-b"),
        ("loop-b", "loop-a"),
        ("nowhere", "no/such/thing"),
        ("to-dir", "inside"),
        ("proc", "/proc/self/root"),
    ];
    for (name, target) in links {
        let path = dir.join(name);
        fine(symlink(target, &path), &path);
    }
    // As long as may be: XFS holds 1,023 bytes, and a small node of btrfs less than 4,000.
    let path = dir.join("long");
    let made = [2000, 1500, 500].map(|count| "x/".repeat(count)).iter().find_map(|target| {
        match symlink(target, &path) {
            Err(error) if error.kind() == std::io::ErrorKind::InvalidFilename => None,
            made => Some(made),
        }
    });
    fine(made.expect("one of them is short enough for a filesystem"), &path);
    links.iter().map(|(name, _)| (*name).into()).chain(["long".into()]).collect()
}

/// Adds a fifo, a socket, two devices, a suid program and a file that its owner may not read.
///
/// Opening the fifo without O_NONBLOCK waits for ever; that is the point.
///
/// # Errors
///
/// [`Unavailable`] where we are not root, who alone makes devices; the others are there then.
///
/// # Panics
///
/// If another cannot be made.
#[track_caller]
pub fn special(dir: &Path) -> Result<Vec<OsString>, Unavailable> {
    let node = |name: &str, kind: FileType, device: u64| {
        let path = dir.join(name);
        let mode = Mode::from_raw_mode(0o644);
        fine(rustix::fs::mknodat(CWD, &path, kind, mode, device), &path);
    };
    node("fifo", FileType::Fifo, 0);
    node("socket", FileType::Socket, 0);
    for (name, mode) in [("suid", 0o4755), ("unreadable", 0)] {
        let path = dir.join(name);
        fine(fs::write(&path, name), &path);
        fine(fs::set_permissions(&path, Permissions::from_mode(mode)), &path);
    }
    unavailable::root("making devices")?;
    // /dev/null's numbers, and the first loop device's.
    node("character-device", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    node("block-device", FileType::BlockDevice, rustix::fs::makedev(7, 0));
    let names = ["fifo", "socket", "suid", "unreadable", "character-device", "block-device"];
    Ok(names.map(OsString::from).to_vec())
}

/// Directories within directories, past what a path can name; gone when dropped.
#[derive(Debug)]
pub struct DeepPath {
    top: PathBuf,
    levels: usize,
}

impl DeepPath {
    /// Adds `deep`, with this many levels of directories and a file in the last.
    ///
    /// Each name has `name` bytes: 1,001 levels of one byte are deeper than EFS goes, 30 of 200
    /// bytes are longer than a path may be.
    ///
    /// # Panics
    ///
    /// If a level cannot be made.
    #[track_caller]
    pub fn new(dir: &Path, levels: usize, name: usize) -> Self {
        let top = dir.join("deep");
        fine(fs::create_dir(&top), &top);
        let deep = Self { top, levels };
        let name = "d".repeat(name);
        let mut at = fine(deep.open(), &deep.top);
        for _ in 0..levels {
            fine(rustix::fs::mkdirat(&at, &name, Mode::from_raw_mode(0o755)), &deep.top);
            at = fine(open_dir(&at, &name), &deep.top);
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&at, "bottom", flags, Mode::from_raw_mode(0o644));
        let file = File::from(fine(file, &deep.top));
        fine(file.write_all_at(b"bottom", 0), &deep.top);
        deep
    }

    /// Returns how many levels lie below the top.
    pub fn levels(&self) -> usize {
        self.levels
    }

    /// Returns the top directory's path.
    pub fn path(&self) -> &Path {
        &self.top
    }

    fn open(&self) -> Result<OwnedFd, Errno> {
        open_dir(CWD, &self.top)
    }
}

impl Drop for DeepPath {
    fn drop(&mut self) {
        // A recursive removal would hold a descriptor for every level.
        let _ = self.open().and_then(remove_below);
        let _ = fs::remove_dir(&self.top);
    }
}

fn open_dir(at: impl std::os::fd::AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// Removes what is below a directory that has one subdirectory at most, from the bottom up.
fn remove_below(top: OwnedFd) -> Result<(), Errno> {
    let mut at = top;
    let mut names = Vec::new();
    loop {
        let mut below = None;
        for entry in rustix::fs::Dir::read_from(&at)? {
            let entry = entry?;
            match entry.file_type() {
                FileType::Directory if [c".", c".."].contains(&entry.file_name()) => {}
                FileType::Directory => below = Some(entry.file_name().to_owned()),
                _ => rustix::fs::unlinkat(&at, entry.file_name(), AtFlags::empty())?,
            }
        }
        let Some(name) = below else { break };
        at = open_dir(&at, &name)?;
        names.push(name);
    }
    while let Some(name) = names.pop() {
        at = open_dir(&at, c"..")?;
        rustix::fs::unlinkat(&at, &name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Changes a file's content, in a new inode, and leaves its size and mtime as they were.
///
/// `rsync -a` never carries that over; nor would a store that trusts size and time.
///
/// # Panics
///
/// If the file is empty or cannot be replaced.
#[track_caller]
pub fn same_size_same_mtime(file: &Path) {
    let mut bytes = fine(fs::read(file), file);
    let metadata = fine(fs::metadata(file), file);
    *bytes.first_mut().expect("an empty file has no other content of the same size") ^= 0xff;
    let mut name = file.file_name().expect("a file has a name").to_owned();
    name.push(".same-size");
    let next = file.with_file_name(name);
    fine(fs::write(&next, bytes), &next);
    fine(fs::set_permissions(&next, metadata.permissions()), &next);
    let opened = fine(File::options().write(true).open(&next), &next);
    let mtime = fine(metadata.modified(), file);
    fine(date(&opened, mtime), &next);
    fine(fs::rename(&next, file), file);
}

/// Adds `sparse`: a file of this size with some bytes at its start, in its middle and at its end.
///
/// # Panics
///
/// If the filesystem has no files of that size.
#[track_caller]
pub fn sparse(dir: &Path, size: u64) -> PathBuf {
    let path = dir.join("sparse");
    let file = fine(File::create_new(&path), &path);
    fine(file.set_len(size), &path);
    for at in [0, size / 2, size.saturating_sub(4)] {
        fine(file.write_all_at(b"data", at), &path);
    }
    path
}

/// Adds `sparse`, of a size that takes seconds to ingest and next to no space to keep: 12 GiB where
/// the filesystem tells where its holes are. Where it does not, as through FUSE, every zero of them
/// would be read and written, and 512 MiB take as long.
///
/// # Panics
///
/// If the filesystem has no files of that size.
#[track_caller]
pub fn long(dir: &Path) -> PathBuf {
    let path = sparse(dir, 12 << 30);
    let file = fine(File::options().write(true).open(&path), &path);
    if tells_holes(&file).is_err() {
        fine(file.set_len(512 << 20), &path);
    }
    path
}

/// Answers whether the filesystem tells where the holes are in a file of [`sparse`].
///
/// # Errors
///
/// [`Unavailable`] where it does not, as through FUSE and NFS 4.1.
pub fn tells_holes(file: &File) -> Result<(), Unavailable> {
    // From within the hole that follows the first bytes.
    let hole = 1 << 20;
    let data = rustix::fs::seek(file, SeekFrom::Data(hole));
    let reason = match data {
        Ok(data) if data > hole => return Ok(()),
        Ok(_) => "they are told as data".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Unavailable::Refused { what: "finding holes".to_owned(), reason })
}

/// Sets a file's modification time.
///
/// Its access time is set with it: bindfs passes over a modification time that comes alone.
///
/// # Errors
///
/// The system's.
pub fn date(file: &File, mtime: SystemTime) -> std::io::Result<()> {
    file.set_times(FileTimes::new().set_accessed(mtime).set_modified(mtime))
}

/// A thread that works on a path until it is dropped.
#[derive(Debug)]
struct Worker {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(mut round: impl FnMut(u64) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicU64::new(0));
        let thread = {
            let (stop, rounds) = (Arc::clone(&stop), Arc::clone(&rounds));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    round(rounds.fetch_add(1, Ordering::Relaxed));
                }
            })
        };
        Self { stop, rounds, thread: Some(thread) }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Somebody who goes on writing into a file while it is read; stops when dropped.
#[derive(Debug)]
pub struct ChangingWriter(Worker);

impl ChangingWriter {
    /// Starts to overwrite a file's first bytes, in place and over and over, its size unchanged.
    ///
    /// # Panics
    ///
    /// If the file cannot be opened.
    #[track_caller]
    pub fn start(path: &Path) -> Self {
        let file = fine(File::options().write(true).open(path), path);
        Self(Worker::start(move |round| {
            let _ = file.write_all_at(&round.to_le_bytes(), 0);
            std::thread::sleep(Duration::from_micros(200));
        }))
    }

    /// Returns how often it has written.
    pub fn rounds(&self) -> u64 {
        self.0.rounds.load(Ordering::Relaxed)
    }
}

/// Somebody who swaps a directory for a symbolic link to elsewhere, back and forth.
///
/// A walk that looks at a path and opens it afterwards can be led out of the tree so. When it is
/// dropped, the directory is back.
#[derive(Debug)]
pub struct SymlinkRacer {
    worker: Option<Worker>,
    raced: PathBuf,
    link: PathBuf,
}

impl SymlinkRacer {
    /// Adds `raced`, a directory now and then, else a link to `elsewhere`.
    ///
    /// # Panics
    ///
    /// If they cannot be made.
    #[track_caller]
    pub fn start(dir: &Path, elsewhere: &Path) -> Self {
        let raced = dir.join("raced");
        fine(fs::create_dir(&raced), &raced);
        fine(fs::write(raced.join("file"), "inside"), &raced);
        Self::of(&raced, elsewhere)
    }

    /// Swaps a directory that is there for a link to `elsewhere`, which lies beside it as `-link`.
    ///
    /// # Panics
    ///
    /// If the link cannot be made.
    #[track_caller]
    pub fn of(raced: &Path, elsewhere: &Path) -> Self {
        let mut link = raced.as_os_str().to_owned();
        link.push("-link");
        let (raced, link) = (raced.to_owned(), PathBuf::from(link));
        fine(symlink(elsewhere, &link), &link);
        let (here, there) = (raced.clone(), link.clone());
        let worker = Worker::start(move |_| exchange(&here, &there));
        Self { worker: Some(worker), raced, link }
    }

    /// Returns how often it has swapped.
    pub fn rounds(&self) -> u64 {
        self.worker.as_ref().map_or(0, |worker| worker.rounds.load(Ordering::Relaxed))
    }
}

fn exchange(one: &Path, other: &Path) {
    let _ = rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE);
}

impl Drop for SymlinkRacer {
    fn drop(&mut self) {
        drop(self.worker.take());
        if self.raced.is_symlink() {
            exchange(&self.raced, &self.link);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    use std::time::Instant;

    use super::*;
    use crate::available;
    use crate::treecmp;

    fn temp() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn listed(dir: &Path) -> BTreeSet<OsString> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn names_and_symlinks_are_all_there() {
        let dir = temp();
        let names: BTreeSet<_> = names(dir.path()).into_iter().collect();
        assert_eq!(names.len(), NAMES.len() + 1, "no name twice");
        assert_eq!(listed(dir.path()), names);
        let links = symlinks(dir.path());
        assert!(links.iter().all(|link| dir.path().join(link).is_symlink()));
        assert_eq!(fs::metadata(dir.path().join("self")).unwrap_err().raw_os_error(), Some(40));
        treecmp::assert_equal(dir.path(), dir.path());
    }

    #[test]
    fn special_files_are_of_their_kinds() {
        let dir = temp();
        let made = special(dir.path());
        let kind = |name: &str| fs::symlink_metadata(dir.path().join(name)).unwrap();
        assert!(kind("fifo").file_type().is_fifo());
        assert!(kind("socket").file_type().is_socket());
        assert_eq!(kind("suid").mode() & 0o7777, 0o4755);
        let Some(made) = available(made) else { return };
        assert_eq!(listed(dir.path()), made.into_iter().collect());
        assert!(kind("block-device").file_type().is_block_device());
        assert_eq!(kind("character-device").rdev(), rustix::fs::makedev(1, 3));
    }

    #[test]
    fn deep_paths_can_be_made_compared_and_removed() {
        let dir = temp();
        for (levels, name) in [(1001, 1), (30, 200)] {
            let deep = DeepPath::new(dir.path(), levels, name);
            let other = temp();
            let _twin = DeepPath::new(other.path(), levels, name);
            let differences = treecmp::compare(deep.path(), &other.path().join("deep"));
            let but_times = |d: &&treecmp::Difference| !matches!(d.what, treecmp::What::Mtime(..));
            assert_eq!(differences.iter().find(but_times), None);
            drop(deep);
            assert_eq!(listed(dir.path()), BTreeSet::new());
        }
    }

    #[test]
    fn content_changes_behind_size_and_time() {
        let dir = temp();
        let file = dir.path().join("file");
        fs::write(&file, "content").unwrap();
        let copy = dir.path().join("copy");
        assert!(
            std::process::Command::new("cp")
                .arg("-p")
                .args([&file, &copy])
                .status()
                .unwrap()
                .success()
        );
        same_size_same_mtime(&file);
        assert_ne!(fs::read(&file).unwrap(), fs::read(&copy).unwrap());
        let [a, b] = [&file, &copy].map(|path| fs::metadata(path).unwrap());
        assert_eq!((a.len(), a.modified().unwrap()), (b.len(), b.modified().unwrap()));
        assert_eq!(listed(dir.path()).len(), 2);
    }

    #[test]
    fn sparse_files_are_large_and_take_no_space() {
        let dir = temp();
        let path = sparse(dir.path(), 1 << 40);
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.len(), 1 << 40);
        assert!(metadata.blocks() * 512 < 1 << 20);
        let started = Instant::now();
        treecmp::assert_equal(dir.path(), dir.path());
        assert!(started.elapsed() < Duration::from_secs(30), "holes are not read");
    }

    #[test]
    fn writers_and_racers_work_until_they_are_dropped() {
        let (dir, elsewhere) = (temp(), temp());
        let file = dir.path().join("file");
        fs::write(&file, vec![0; 4096]).unwrap();
        let writer = ChangingWriter::start(&file);
        let racer = SymlinkRacer::start(dir.path(), elsewhere.path());
        let started = Instant::now();
        while writer.rounds() < 10 || racer.rounds() < 10 {
            assert!(started.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(1));
        }
        drop((writer, racer));
        assert_eq!(fs::metadata(&file).unwrap().len(), 4096);
        let before = fs::read(&file).unwrap();
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(fs::read(&file).unwrap(), before, "nobody writes any more");
    }
}
