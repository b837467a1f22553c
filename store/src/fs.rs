//! The only door to the file system: every system call of the store goes through here.
//!
//! A [`Dir`] is an open directory and the path it was opened by; the path serves messages only.
//! All work is relative to open directories and never follows a symbolic link, so a directory
//! that is swapped for a link during a walk is an error and not a way out of the tree.
//! Durability: [`Dir::sync`] for one directory, [`Dir::sync_filesystem`] for a batch. The handle
//! for the latter must be open before the batch's first write, because the kernel reports a
//! write-back error only to descriptors that existed when it happened.
//!
//! It is long because it is the only one: a flat list of system calls, each a few lines. What the
//! database of the index does with its file goes through `index/file.rs`.

#![expect(
    clippy::disallowed_methods,
    reason = "this is the one file that may call std::fs and the system"
)]

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, RenameFlags, SeekFrom, Timespec,
    Timestamps, Uid,
};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::path::RelPath;

/// A point in time with nanoseconds, as a file carries it: seconds since 1970, may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub secs: i64,
    /// Nanoseconds, below 10⁹.
    pub nanos: u32,
}

/// What kind of thing a directory entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// Anything else, with its name for messages.
    Other(&'static str),
}

/// What `lstat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The kind.
    pub kind: Kind,
    /// Permission bits, 12 of them.
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
    /// Last change of the content.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Number of names.
    pub nlink: u64,
    /// Owning user.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Allocated 512-byte blocks.
    pub blocks: u64,
}

impl Stat {
    fn new(st: &rustix::fs::Stat) -> Self {
        let kind = match FileType::from_raw_mode(st.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Dir,
            FileType::Symlink => Kind::Symlink,
            FileType::Fifo => Kind::Other("fifo"),
            FileType::Socket => Kind::Other("socket"),
            FileType::CharacterDevice => Kind::Other("character device"),
            FileType::BlockDevice => Kind::Other("block device"),
            _ => Kind::Other("file of unknown kind"),
        };
        Self {
            kind,
            mode: st.st_mode & 0o7777,
            size: st.st_size as u64,
            mtime: Time { secs: st.st_mtime, nanos: st.st_mtime_nsec as u32 },
            ctime: Time { secs: st.st_ctime, nanos: st.st_ctime_nsec as u32 },
            dev: st.st_dev,
            ino: st.st_ino,
            // Its width differs between architectures.
            nlink: st.st_nlink as _,
            uid: st.st_uid,
            gid: st.st_gid,
            blocks: st.st_blocks as u64,
        }
    }

    /// Returns whether the file has holes worth skipping.
    pub fn is_sparse(&self) -> bool {
        self.blocks.saturating_mul(512) + 4096 < self.size
    }
}

/// Whether a file system call may replace what is at the new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// An existing file is replaced.
    Yes,
    /// An existing file is an error (`EEXIST`).
    No,
}

/// An open directory.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

fn io_error(op: &'static str, path: PathBuf, errno: Errno) -> Error {
    Error::Io { op, path, source: errno.into() }
}

const DIR_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Returns whether a name is that of a removed file which somebody still has open, as NFS clients
/// and FUSE give it. It goes by itself, with the last who reads it.
pub fn is_silly_rename(name: &[u8]) -> bool {
    [b".nfs".as_slice(), b".fuse_hidden"].iter().any(|prefix| {
        let number = name.strip_prefix(*prefix);
        number.is_some_and(|n| n.len() >= 16 && n.iter().all(u8::is_ascii_hexdigit))
    })
}

impl Dir {
    /// Opens a directory by its path; symbolic links in the path are followed.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|e| io_error("open directory", path.to_owned(), e))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Returns the path that this directory was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of an entry, for messages.
    pub fn path_of(&self, name: &[u8]) -> PathBuf {
        self.path.join(OsStr::from_bytes(name))
    }

    fn fail<T>(&self, op: &'static str, name: &[u8], result: rustix::io::Result<T>) -> Result<T> {
        crate::hang::beat();
        result.map_err(|e| io_error(op, self.path_of(name), e))
    }

    /// Opens a directory in this one; a symbolic link is an error.
    pub fn dir(&self, name: &[u8]) -> Result<Dir> {
        let fd = self.fail(
            "open directory",
            name,
            rustix::fs::openat(&self.fd, name, DIR_FLAGS, Mode::empty()),
        )?;
        Ok(Dir { fd, path: self.path_of(name) })
    }

    /// Opens a directory some levels below, one component at a time and never through a link.
    pub fn dir_at(&self, path: &RelPath) -> Result<Dir> {
        let mut dir = self.try_clone()?;
        for name in path.names() {
            dir = dir.dir(name)?;
        }
        Ok(dir)
    }

    /// Duplicates the handle.
    pub fn try_clone(&self) -> Result<Dir> {
        let fd = self.fd.try_clone().map_err(|source| Error::Io {
            op: "duplicate",
            path: self.path.clone(),
            source,
        })?;
        Ok(Dir { fd, path: self.path.clone() })
    }

    /// Opens this directory once more: an open file description of its own, which hears of
    /// write-back errors from now on.
    pub fn try_clone_open(&self) -> Result<Dir> {
        self.dir(b".").map(|dir| Dir { fd: dir.fd, path: self.path.clone() })
    }

    /// Lists the names in this directory, without `.` and `..`, in the directory's own order.
    pub fn names(&self) -> Result<Vec<Box<[u8]>>> {
        let mut names = Vec::new();
        let entries = self.fail("list", b"", rustix::fs::Dir::read_from(&self.fd))?;
        for entry in entries {
            let entry = self.fail("list", b"", entry)?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.into());
            }
        }
        Ok(names)
    }

    /// Returns what `lstat` says of this directory itself.
    pub fn stat_self(&self) -> Result<Stat> {
        self.fail("stat", b"", rustix::fs::fstat(&self.fd)).map(|st| Stat::new(&st))
    }

    /// Returns what `lstat` says of an entry.
    pub fn stat(&self, name: &[u8]) -> Result<Stat> {
        self.fail("stat", name, rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW))
            .map(|st| Stat::new(&st))
    }

    /// Returns what `lstat` says of an entry, or nothing if it is not there.
    pub fn try_stat(&self, name: &[u8]) -> Result<Option<Stat>> {
        let found = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        crate::hang::beat();
        match found {
            Ok(st) => Ok(Some(Stat::new(&st))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(io_error("stat", self.path_of(name), errno)),
        }
    }

    /// Returns whether an entry leads to something, following symbolic links.
    pub fn leads_somewhere(&self, name: &[u8]) -> bool {
        rustix::fs::statat(&self.fd, name, AtFlags::empty()).is_ok()
    }

    /// Opens a regular file for reading; a link is an error, a fifo does not block.
    pub fn open_file(&self, name: &[u8]) -> Result<OpenFile> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let fd =
            self.fail("open", name, rustix::fs::openat(&self.fd, name, flags, Mode::empty()))?;
        Ok(OpenFile { file: File::from(fd), path: self.path_of(name) })
    }

    /// Creates a file that must not exist, for reading and writing, with mode 0600.
    pub fn create(&self, name: &[u8]) -> Result<OpenFile> {
        self.create_as(name, 0o600)
    }

    /// Creates a file that must not exist, for reading and writing, with a mode of which the umask
    /// or the directory may leave something out.
    pub fn create_as(&self, name: &[u8], mode: u32) -> Result<OpenFile> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let created = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(mode));
        let fd = self.fail("create", name, self.is_taken(name, created))?;
        Ok(OpenFile { file: File::from(fd), path: self.path_of(name) })
    }

    /// Opens a lock file, creating it with mode 0600 where it is missing.
    pub fn lock_file(&self, name: &[u8]) -> Result<OpenFile> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let fd = self.fail("open lock", name, rustix::fs::openat(&self.fd, name, flags, mode))?;
        Ok(OpenFile { file: File::from(fd), path: self.path_of(name) })
    }

    /// Opens a file that exists for writing at its end.
    pub fn append(&self, name: &[u8]) -> Result<OpenFile> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd =
            self.fail("open", name, rustix::fs::openat(&self.fd, name, flags, Mode::empty()))?;
        Ok(OpenFile { file: File::from(fd), path: self.path_of(name) })
    }

    /// Reads a whole small file.
    pub fn read(&self, name: &[u8]) -> Result<Vec<u8>> {
        let mut file = self.open_file(name)?;
        let mut bytes = Vec::new();
        file.file.read_to_end(&mut bytes).map_err(|source| Error::Io {
            op: "read",
            path: self.path_of(name),
            source,
        })?;
        Ok(bytes)
    }

    /// Reads a whole small file, or nothing if it is not there.
    pub fn try_read(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.read(name) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces a small file durably: temporary file, fsync, rename, fsync of the directory.
    pub fn replace(&self, name: &[u8], bytes: &[u8], mode: u32) -> Result<()> {
        let (temp, mut file) = self.create_temp()?;
        let written = file
            .write_all(bytes)
            .and_then(|()| file.set_mode(mode))
            .and_then(|()| file.sync())
            .and_then(|()| match self.rename(&temp, self, name, Replace::Yes) {
                // Over NFS that may be said of a request that did it when it was sent first.
                Err(error) if error.is_not_found() && self.is_named(name, &file)? => Ok(()),
                result => result,
            });
        if let Err(error) = written {
            self.remove_if_there(&temp)?;
            return Err(error);
        }
        self.sync()
    }

    /// Creates a temporary file under a name of its own. It is locked for as long as it is open,
    /// so [`Dir::remove_dead_temps`] knows whether anybody will still give it its real name.
    pub fn create_temp(&self) -> Result<(Vec<u8>, OpenFile)> {
        loop {
            let name = format!(".{}.tmp", hex_random()?).into_bytes();
            let file = self.create(&name)?;
            // Between creating and locking, a recovery may have taken it for a dead one's.
            if file.try_lock(LockKind::Exclusive)? && self.is_named(&name, &file)? {
                return Ok((name, file));
            }
        }
    }

    /// Returns whether a name is that of this open file. Links are not asked for: a file that was
    /// removed while it is open has one on NFS.
    pub fn is_named(&self, name: &[u8], file: &OpenFile) -> Result<bool> {
        let ino = file.stat()?.ino;
        Ok(self.try_stat(name)?.is_some_and(|stat| stat.ino == ino))
    }

    /// Removes temporary files whose process is gone. Returns how many there were.
    pub fn remove_dead_temps(&self) -> Result<usize> {
        let mut removed = 0;
        for name in self.names()? {
            if !name.starts_with(b".") || !name.ends_with(b".tmp") {
                continue;
            }
            // One that is gone by now, or not ours to read, is somebody else's.
            let Ok(file) = self.open_file(&name) else { continue };
            // A shared lock tells that nobody has it for himself. NFS gives no other one to a
            // handle that only reads, and what is finished may be no more than read.
            if file.try_lock(LockKind::Shared)? && self.remove_if_there(&name)? {
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Creates a directory with exactly this mode; one that exists is left as it is.
    /// Returns whether it was created.
    pub fn make_dir(&self, name: &[u8], mode: u32) -> Result<bool> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(mode)) {
            Ok(()) => {
                // The process's umask took bits away; put them back. By a descriptor, because
                // whoever may write here may have put a link in its place, and chmod follows it.
                self.dir(name)?.set_mode(mode)?;
                Ok(true)
            }
            Err(Errno::EXIST) => Ok(false),
            Err(errno) => Err(io_error("create directory", self.path_of(name), errno)),
        }
    }

    /// Sets the permission bits of this directory.
    pub fn set_mode(&self, mode: u32) -> Result<()> {
        self.fail("change mode", b"", rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(mode)))
    }

    /// Sets an entry's owner, of a symbolic link its own.
    pub fn set_owner_of(&self, name: &[u8], (uid, gid): (u32, u32)) -> Result<()> {
        let result = rustix::fs::chownat(
            &self.fd,
            name,
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        );
        self.fail("change owner", name, result)
    }

    /// Sets this directory's owner.
    pub fn set_owner(&self, (uid, gid): (u32, u32)) -> Result<()> {
        let result =
            rustix::fs::fchown(&self.fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        self.fail("change owner", b"", result)
    }

    /// Sets an entry's modification time, of a symbolic link its own.
    pub fn set_mtime_of(&self, name: &[u8], mtime: Time) -> Result<()> {
        let result =
            rustix::fs::utimensat(&self.fd, name, &timestamps(mtime), AtFlags::SYMLINK_NOFOLLOW);
        self.fail("set time", name, result)
    }

    /// Sets this directory's modification time.
    pub fn set_mtime(&self, mtime: Time) -> Result<()> {
        self.fail("set time", b"", rustix::fs::futimens(&self.fd, &timestamps(mtime)))
    }

    /// Creates a symbolic link.
    pub fn symlink(&self, target: &[u8], name: &[u8]) -> Result<()> {
        self.fail("create link", name, rustix::fs::symlinkat(target, &self.fd, name))
    }

    /// Reads a symbolic link.
    pub fn read_link(&self, name: &[u8]) -> Result<Vec<u8>> {
        let target = rustix::fs::readlinkat(&self.fd, name, Vec::new());
        self.fail("read link", name, target).map(|text| text.into_bytes())
    }

    /// Gives an entry a second name. A name that it has already is no error, one that another has
    /// is `EEXIST`; nothing else is promised everywhere, NFS included.
    pub fn link(&self, name: &[u8], to: &Dir, new_name: &[u8]) -> Result<()> {
        let linked = rustix::fs::linkat(&self.fd, name, &to.fd, new_name, AtFlags::empty());
        let mut result = to.is_taken(new_name, linked);
        if result == Err(Errno::EXIST) {
            let (this, that) = (self.stat(name)?, to.stat(new_name)?);
            // Over NFS a request that was sent twice may be answered for the second time.
            if (this.dev, this.ino) == (that.dev, that.ino) {
                result = Ok(());
            }
        }
        to.fail("link", new_name, result)
    }

    /// Believes the answer that a name is taken where it is. What is given up because another is
    /// said to be there already would be lost.
    fn is_taken<T>(&self, name: &[u8], result: rustix::io::Result<T>) -> rustix::io::Result<T> {
        match result {
            Err(Errno::EXIST) if self.lstat(name) == Err(Errno::NOENT) => Err(Errno::IO),
            result => result,
        }
    }

    /// Believes the answer that there is nothing to remove where nothing is. What is said to be
    /// gone already would stay published.
    fn is_gone(&self, name: &[u8], result: rustix::io::Result<()>) -> rustix::io::Result<()> {
        match result {
            Err(Errno::NOENT) if self.lstat(name).is_ok() => Err(Errno::IO),
            result => result,
        }
    }

    fn lstat(&self, name: &[u8]) -> rustix::io::Result<()> {
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW).map(drop)
    }

    /// Renames an entry.
    pub fn rename(&self, name: &[u8], to: &Dir, new_name: &[u8], replace: Replace) -> Result<()> {
        let result = match replace {
            Replace::Yes => rustix::fs::renameat(&self.fd, name, &to.fd, new_name),
            Replace::No => {
                let flags = RenameFlags::NOREPLACE;
                let renamed = rustix::fs::renameat_with(&self.fd, name, &to.fd, new_name, flags);
                to.is_taken(new_name, renamed)
            }
        };
        to.fail("rename", new_name, result)
    }

    /// Exchanges two entries in one step.
    pub fn exchange(&self, name: &[u8], other: &Dir, other_name: &[u8]) -> Result<()> {
        let result =
            rustix::fs::renameat_with(&self.fd, name, &other.fd, other_name, RenameFlags::EXCHANGE);
        other.fail("exchange", other_name, result)
    }

    /// Removes a file or a symbolic link.
    pub fn remove(&self, name: &[u8]) -> Result<()> {
        self.fail("remove", name, rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()))
    }

    /// Removes a file or a symbolic link if it is there; returns whether it was.
    pub fn remove_if_there(&self, name: &[u8]) -> Result<bool> {
        match self.is_gone(name, rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(io_error("remove", self.path_of(name), errno)),
        }
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, name: &[u8]) -> Result<()> {
        self.fail(
            "remove directory",
            name,
            rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR),
        )
    }

    /// Removes an entry and everything below it; nothing there is fine.
    pub fn remove_all(&self, name: &[u8]) -> Result<()> {
        // Nearly everything is a file; to find that out by removing it saves a stat.
        match self.is_gone(name, rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // What Linux says of a directory, and what POSIX does.
            Err(Errno::ISDIR | Errno::PERM) => {}
            Err(errno) => return Err(io_error("remove", self.path_of(name), errno)),
        }
        match self.try_stat(name)? {
            Some(stat) if stat.kind == Kind::Dir => {}
            Some(_) => return Err(io_error("remove", self.path_of(name), Errno::PERM)),
            None => return Ok(()),
        }
        let dir = self.dir(name)?;
        for child in dir.names()? {
            dir.remove_all(&child)?;
        }
        self.remove_dir(name)
    }

    /// Tries to take the lock of the directory itself without waiting; returns whether it was free.
    /// It is held until the last handle that was cloned from this one is closed, and leaves nothing
    /// behind. On NFS it is this host's alone: its server is not asked.
    pub fn try_lock(&self, kind: LockKind) -> Result<bool> {
        lock(self.fd.as_fd(), kind).or_else(|errno| self.fail("lock", b"", Err(errno)))
    }

    /// Flushes this directory's entries to disk.
    pub fn sync(&self) -> Result<()> {
        self.fail("sync", b"", rustix::fs::fsync(&self.fd))
    }

    /// Flushes the whole file system that this directory is on, and reports write-back errors
    /// since the handle was opened.
    pub fn sync_filesystem(&self) -> Result<()> {
        self.fail("sync filesystem", b"", rustix::fs::syncfs(&self.fd))
    }

    /// Returns whether the file system is known to be this machine's own, so that nobody else can
    /// give away a lock of it.
    pub fn is_local(&self) -> Result<bool> {
        let st = self.fail("stat filesystem", b"", rustix::fs::fstatfs(&self.fd))?;
        // Its type differs between architectures.
        Ok(LOCAL.contains(&(st.f_type as u32)))
    }

    /// Returns the bytes and inodes that are free for an unprivileged user.
    pub fn free(&self) -> Result<(u64, u64)> {
        let st = self.fail("stat filesystem", b"", rustix::fs::fstatvfs(&self.fd))?;
        Ok((st.f_bavail.saturating_mul(st.f_frsize), st.f_favail))
    }
}

/// The magic numbers of file systems that are local: ext4, XFS, btrfs, tmpfs, F2FS, ZFS, bcachefs.
const LOCAL: [u32; 7] =
    [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0xf2f5_2010, 0x2fc1_2fc1, 0xca45_1a4e];

fn timestamps(mtime: Time) -> Timestamps {
    let time = Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// An open file and its path.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    path: PathBuf,
}

impl OpenFile {
    fn fail<T>(&self, op: &'static str, result: rustix::io::Result<T>) -> Result<T> {
        crate::hang::beat();
        result.map_err(|e| io_error(op, self.path.clone(), e))
    }

    fn fail_io<T>(&self, op: &'static str, result: io::Result<T>) -> Result<T> {
        crate::hang::beat();
        result.map_err(|source| Error::Io { op, path: self.path.clone(), source })
    }

    /// Returns the path that the file was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what `fstat` says.
    pub fn stat(&self) -> Result<Stat> {
        self.fail("stat", rustix::fs::fstat(&self.file)).map(|st| Stat::new(&st))
    }

    /// Reads up to the buffer's length; 0 at the end.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let result = loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        self.fail_io("read", result)
    }

    /// Fills the buffer from an offset.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<()> {
        let result = std::os::unix::fs::FileExt::read_exact_at(&self.file, buffer, offset);
        self.fail_io("read", result)
    }

    /// Reads up to the buffer's length from an offset; less only at the end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            let rest = &mut buffer[done..];
            match std::os::unix::fs::FileExt::read_at(&self.file, rest, offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.fail_io("read", Err(error)),
            }
        }
        Ok(done)
    }

    /// Writes all bytes at an offset.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        self.fail_io("write", std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, offset))
    }

    /// Writes all bytes.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        let result = self.file.write_all(bytes);
        self.fail_io("write", result)
    }

    /// Sets the length; a longer file ends in a hole.
    pub fn set_len(&self, len: u64) -> Result<()> {
        self.fail("set length", rustix::fs::ftruncate(&self.file, len))
    }

    /// Moves to an absolute offset.
    pub fn seek(&self, offset: u64) -> Result<()> {
        self.fail("seek", rustix::fs::seek(&self.file, SeekFrom::Start(offset))).map(drop)
    }

    /// Returns the next stretch of data at or after `offset` as (start, end); nothing when only
    /// a hole follows.
    pub fn next_data(&self, offset: u64, size: u64) -> Result<Option<(u64, u64)>> {
        let start = match rustix::fs::seek(&self.file, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // A file system without holes: all is data.
            Err(Errno::INVAL) => return Ok((offset < size).then_some((offset, size))),
            Err(errno) => return self.fail("seek", Err(errno)),
        };
        let end = self.fail("seek", rustix::fs::seek(&self.file, SeekFrom::Hole(start)))?;
        Ok(Some((start, end)))
    }

    /// Shares the source's blocks; fails where the file system cannot.
    pub fn reflink_from(&self, source: &OpenFile) -> io::Result<()> {
        reflink_copy::reflink_file(&source.file, &self.file)
    }

    /// Sets the permission bits.
    pub fn set_mode(&self, mode: u32) -> Result<()> {
        self.fail("change mode", rustix::fs::fchmod(&self.file, Mode::from_raw_mode(mode)))
    }

    /// Sets the owner.
    pub fn set_owner(&self, (uid, gid): (u32, u32)) -> Result<()> {
        let result =
            rustix::fs::fchown(&self.file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        self.fail("change owner", result)
    }

    /// Sets the modification time.
    pub fn set_mtime(&self, mtime: Time) -> Result<()> {
        self.fail("set time", rustix::fs::futimens(&self.file, &timestamps(mtime)))
    }

    /// Flushes content and metadata to disk.
    pub fn sync(&self) -> Result<()> {
        self.fail("sync", rustix::fs::fsync(&self.file))
    }

    /// Flushes content to disk, or to the server whose it is.
    pub fn sync_data(&self) -> Result<()> {
        self.fail("sync", rustix::fs::fdatasync(&self.file))
    }

    /// Tries to take the file's lock without waiting; returns whether it was free.
    pub fn try_lock(&self, kind: LockKind) -> Result<bool> {
        lock(self.file.as_fd(), kind).or_else(|errno| self.fail("lock", Err(errno)))
    }

    /// Gives the file's lock back, also where a child process that has just been made, and has not
    /// become its program yet, has the file open beside us.
    pub fn unlock(&self) {
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }

    /// Has the disk begin with what was written, and does not wait for it. A hint: who needs it on
    /// disk syncs, and hears there of what went wrong.
    pub fn begin_writing(&self) {
        // Says that the pages are not needed; those that are not written yet the kernel cannot
        // drop, so it begins to write them.
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
    }

    /// Returns another descriptor of the same opening, as a child process has it.
    #[cfg(test)]
    pub fn duplicate(&self) -> File {
        self.file.try_clone().expect("a descriptor can be duplicated")
    }

    /// Maps the file for reading. The caller vouches that nobody truncates it meanwhile: it is
    /// a file of the store's own that is complete and never changed.
    #[expect(unsafe_code, reason = "mmap; sound because packs and clones are never changed")]
    pub fn map(&self) -> Result<memmap2::Mmap> {
        // SAFETY: only files that the store itself wrote under private names, and that no code
        // of it modifies after they are complete, are mapped; never a file of a compose.
        let map = unsafe { memmap2::Mmap::map(&self.file) };
        self.fail_io("map", map)
    }

    /// Returns a plain file handle, for readers that want `std::io::Read`.
    pub fn into_file(self) -> File {
        self.file
    }
}

/// How a lock is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Many holders at once.
    Shared,
    /// One holder.
    Exclusive,
}

fn lock(fd: BorrowedFd<'_>, kind: LockKind) -> rustix::io::Result<bool> {
    let operation = match kind {
        LockKind::Shared => FlockOperation::NonBlockingLockShared,
        LockKind::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    match rustix::fs::flock(fd, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Opens a file for reading that a library works on by itself, such as a database.
pub fn open_database(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// Opens a database's file for reading and writing, and makes an empty one where there is none.
pub fn create_database(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

/// Creates a directory and its parents if they are missing, with mode 0755 or what the umask leaves
/// of it.
pub fn make_dirs(path: &Path) -> Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(|source| Error::Io { op: "create directory", path: path.to_owned(), source })
}

/// Returns a path without symbolic links, `.` and `..`.
pub fn canonical(path: &Path) -> Result<PathBuf> {
    std::fs::canonicalize(path).map_err(|source| Error::Io {
        op: "resolve",
        path: path.to_owned(),
        source,
    })
}

/// Asks the file system of a path something that only its server knows, and returns when it has
/// answered, whatever it says.
pub fn reach(path: &Path) {
    let _ = rustix::fs::statvfs(path);
}

/// Makes sure that a directory cannot be put aside and replaced by whoever likes: neither it nor
/// one above it may be written by everybody, unless it is sticky, as /tmp is. Of a path that is
/// still to be made, what is there of it.
pub fn check_parents(path: &Path) -> Result<()> {
    let path = canonical(path.ancestors().find(|dir| dir.exists()).unwrap_or(path))?;
    for dir in path.ancestors() {
        let fail = |errno| Error::Io {
            op: "look at",
            path: dir.to_owned(),
            source: io::Error::from(errno),
        };
        let mode = rustix::fs::stat(dir).map_err(fail)?.st_mode;
        if mode & 0o002 != 0 && mode & 0o1000 == 0 {
            return Err(Error::Refused {
                path: dir.to_owned(),
                reason: "everybody may write there, and so replace what is below; \
                         chmod o-w it, or make it sticky (chmod +t)"
                    .into(),
            });
        }
    }
    Ok(())
}

/// Returns an environment variable, if it is set and text.
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Returns the user's name for the log, and in brackets who became it through sudo.
pub fn user_name() -> String {
    let uid = rustix::process::geteuid().as_raw().to_string();
    // The file that every system has; a directory service's users are logged by number.
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    let name = name.unwrap_or(uid);
    match env("SUDO_USER") {
        Some(sudo) if sudo != name => format!("{name} ({sudo})"),
        _ => name,
    }
}

/// Returns what the kernel says of locks that are held on this machine; nothing where it does not.
pub fn kernel_locks() -> String {
    std::fs::read_to_string("/proc/locks").unwrap_or_default()
}

/// Returns a device's number as the kernel's tables write it, `MAJOR:MINOR`.
pub fn device_text(dev: u64) -> String {
    format!("{:02x}:{:02x}", rustix::fs::major(dev), rustix::fs::minor(dev))
}

/// Returns the machine's name, for the log.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Kills this process in a way that nothing can catch.
#[cfg(debug_assertions)]
pub fn kill_self() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    loop {
        std::thread::park();
    }
}

/// Stops this process until somebody lets it go on.
#[cfg(debug_assertions)]
pub fn stop_self() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
    // The signal may be another thread's to take; until it has stopped all of us nobody goes on.
    std::thread::sleep(std::time::Duration::from_secs(1));
}

/// Raises the limit of open files to what the system allows, so that deep trees can be walked.
pub fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Fills a buffer with random bytes for names that must be unique.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| io_error("read random bytes", PathBuf::from("/dev/urandom"), e))?;
    Ok(bytes)
}

/// Returns 32 random hex digits.
pub fn hex_random() -> Result<String> {
    Ok(crate::id::hex(&random::<16>()?))
}
