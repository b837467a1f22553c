//! What worlds stand on: the machine's temporary directory, or a filesystem that was asked for.
//!
//! `CAIRN_TEST_FS` names a kind (`ext4`, `xfs`, `btrfs`, `btrfs-noextref`, `tmpfs`, `bindfs`), of
//! which each process mounts one, or is the absolute path of a directory, which may be anything
//! that is mounted there, such as NFS. Every world of the process then lies below it: composes,
//! store and mounts. Configurations and what tests make beside a world stay where they were.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;

use crate::filesystem::{FsKind, Loop};
use crate::unavailable::{Unavailable, available};

/// The variable.
const NAME: &str = "CAIRN_TEST_FS";
/// Room for as many worlds as there are threads, and for 16 GiB of holes, which an ingest counts as
/// what they may become. What is not written costs nothing.
const SIZE: u64 = 32 << 30;

/// A temporary directory for a world, or for what stands in for one.
#[derive(Debug)]
pub struct Ground {
    // Before what it lies on: the directory is emptied, then the filesystem unmounted.
    dir: TempDir,
    _fs: Option<Arc<Loop>>,
}

impl Ground {
    /// Makes one where `CAIRN_TEST_FS` says, else in the temporary directory.
    ///
    /// # Panics
    ///
    /// If what the variable asks for cannot be had: whoever asks wants nothing else.
    #[track_caller]
    pub fn new() -> Self {
        Self::asked_or(&std::env::temp_dir())
    }

    /// Makes one where `CAIRN_TEST_FS` says, else in memory where that can be had.
    ///
    /// A kill is no power cut, so what counts is what the kernel was told, and hundreds of syncs
    /// take their time on a disk.
    #[track_caller]
    pub fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::asked_or(memory) } else { Self::new() }
    }

    #[track_caller]
    fn asked_or(parent: &Path) -> Self {
        let (parent, fs) = match asked() {
            Asked::Nothing => (parent.to_owned(), None),
            Asked::Directory(dir) => (dir, None),
            Asked::Kind(kind) => {
                let fs = shared(kind);
                (fs.path().to_owned(), Some(fs))
            }
        };
        Self { dir: temp(&parent), _fs: fs }
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Default for Ground {
    fn default() -> Self {
        Self::new()
    }
}

/// Answers whether two directories can be exchanged where worlds stand, as on NFS and bindfs they
/// cannot.
///
/// # Errors
///
/// [`Unavailable`] with what the system says.
pub fn exchanges() -> Result<(), Unavailable> {
    let ground = Ground::new();
    let (a, b) = (ground.path().join("a"), ground.path().join("b"));
    let made = std::fs::create_dir(&a).and_then(|()| std::fs::create_dir(&b));
    made.unwrap_or_else(|error| panic!("{}: {error}", ground.path().display()));
    renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).map_err(|error| Unavailable::Refused {
        what: "exchanging two directories".to_owned(),
        reason: error.to_string(),
    })
}

/// Answers whether a file that somebody has open is replaced in one step where worlds stand. FUSE
/// and clients of NFS first give it another name, so for a moment there is no file of its name for
/// readers on the same host.
///
/// # Errors
///
/// [`Unavailable`] with the name that it got.
pub fn replaces_what_is_open() -> Result<(), Unavailable> {
    let ground = Ground::new();
    let (old, new) = (ground.path().join("old"), ground.path().join("new"));
    let made = std::fs::write(&old, "old").and_then(|()| std::fs::write(&new, "new"));
    let replaced = made.and_then(|()| {
        let _open = std::fs::File::open(&old)?;
        std::fs::rename(&new, &old)?;
        let names = std::fs::read_dir(ground.path())?;
        names.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<Vec<_>, _>>()
    });
    let mut names = replaced.unwrap_or_else(|error| panic!("{}: {error}", ground.path().display()));
    names.retain(|name| name != "old");
    match names.first() {
        None => Ok(()),
        Some(name) => Err(Unavailable::Refused {
            what: "replacing an open file in one step".to_owned(),
            reason: format!("it was moved to {}", name.display()),
        }),
    }
}

/// Returns the ways of swapping views that can be asked for where worlds stand, and says so where
/// it is not both.
pub fn swaps() -> &'static [&'static str] {
    match available(exchanges()) {
        Some(()) => &["exchange", "symlink"],
        None => &["symlink"],
    }
}

/// Says why a test cannot hold on some kinds of filesystem, if worlds stand on one of them.
///
/// # Errors
///
/// [`Unavailable`] with the reason.
pub fn not_on(kinds: &[FsKind], reason: &str) -> Result<(), Unavailable> {
    match asked() {
        Asked::Kind(kind) if kinds.contains(&kind) => {
            Err(Unavailable::Refused { what: format!("on {kind:?}"), reason: reason.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Waits until every name of a file says of it what is so. A kernel remembers attributes that FUSE
/// told it for a second, and through bindfs a link is another file to it; elsewhere names agree.
pub fn settle() {
    if matches!(asked(), Asked::Kind(FsKind::Bindfs)) {
        std::thread::sleep(Duration::from_millis(1100));
    }
}

/// Answers whether worlds stand on a filesystem that was asked for.
pub fn is_asked() -> bool {
    !matches!(asked(), Asked::Nothing)
}

enum Asked {
    Nothing,
    Kind(FsKind),
    Directory(PathBuf),
}

#[track_caller]
fn asked() -> Asked {
    let Some(value) = std::env::var_os(NAME).filter(|value| !value.is_empty()) else {
        return Asked::Nothing;
    };
    let path = PathBuf::from(&value);
    if path.is_absolute() {
        return Asked::Directory(path);
    }
    let kind = value.to_str().and_then(FsKind::from_name);
    Asked::Kind(kind.unwrap_or_else(|| {
        let names: Vec<&str> = FsKind::ALL.iter().map(|kind| kind.name()).collect();
        panic!("{NAME}: {value:?} is neither a path nor one of {}", names.join(", "))
    }))
}

/// The filesystem of this process, as long as somebody stands on it. (What is static is never
/// dropped, and a mount would outlive the tests.)
#[track_caller]
fn shared(kind: FsKind) -> Arc<Loop> {
    static SHARED: Mutex<Weak<Loop>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(fs) = shared.upgrade() {
        return fs;
    }
    let fs = Loop::new(kind, SIZE).unwrap_or_else(|missing| panic!("{NAME}: {missing}"));
    let fs = Arc::new(fs);
    *shared = Arc::downgrade(&fs);
    fs
}

#[track_caller]
fn temp(parent: &Path) -> TempDir {
    tempfile::Builder::new()
        .prefix("cairn-world-")
        .tempdir_in(parent)
        .unwrap_or_else(|error| panic!("a directory in {}: {error}", parent.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn those_who_stand_on_a_filesystem_share_it_and_the_last_takes_it_away() {
        let Some(()) = available(crate::unavailable::root("mounting tmpfs")) else { return };
        let (a, b) = (shared(FsKind::Tmpfs), shared(FsKind::Tmpfs));
        let dev = |path: &Path| std::fs::metadata(path).map(|meta| meta.dev()).unwrap();
        assert_eq!(a.path(), b.path());
        let path = a.path().to_owned();
        assert_ne!(dev(&path), dev(path.parent().unwrap()));
        drop(a);
        assert!(path.is_dir());
        drop(b);
        assert!(!path.exists());
        assert_ne!(shared(FsKind::Tmpfs).path(), path);
    }

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in FsKind::ALL {
            assert_eq!(FsKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(FsKind::from_name("ntfs"), None);
    }
}
