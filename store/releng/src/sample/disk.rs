//! Writing to disk with fixed modes and times.
//!
//! Two writes of one sample must be equal to the last bit of metadata, so neither the umask
//! nor the clock may show: every file gets its mode and its time, and every directory gets its
//! time when nothing is put into it any more.

use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Error;

/// Names the path that a failed call was about.
pub(super) fn at(op: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { op, path: path.to_owned(), source }
}

/// One compose directory that is being filled.
pub(super) struct Disk {
    root: PathBuf,
    files: u64,
    bytes: u64,
    linked: u64,
}

impl Disk {
    /// Creates the directory, which must not exist, and what it lies in.
    pub(super) fn create(root: PathBuf) -> Result<Self, Error> {
        if let Some(parent) = root.parent() {
            fs::create_dir_all(parent).map_err(at("create", parent))?;
        }
        fs::create_dir(&root).map_err(at("create", &root))?;
        Ok(Self { root, files: 0, bytes: 0, linked: 0 })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Files, bytes and hard links written up to now.
    pub(super) fn totals(&self) -> (u64, u64, u64) {
        (self.files, self.bytes, self.linked)
    }

    /// Writes a new file with mode 0644 and the time given, in seconds since 1970.
    pub(super) fn file(&mut self, path: &str, content: &[u8], time: u64) -> Result<(), Error> {
        let full = self.parent_made(path)?;
        let mut file = File::create_new(&full).map_err(at("create", &full))?;
        file.write_all(content).map_err(at("write", &full))?;
        file.set_permissions(Permissions::from_mode(0o644))
            .map_err(at("set the mode of", &full))?;
        file.set_times(times(time)).map_err(at("set the time of", &full))?;
        self.files += 1;
        self.bytes += content.len() as u64;
        Ok(())
    }

    /// Writes a file as `file` does, or links `twin` there when that holds the same bytes.
    pub(super) fn file_or_link(
        &mut self,
        path: &str,
        content: &[u8],
        time: u64,
        twin: Option<&Path>,
    ) -> Result<(), Error> {
        let Some(twin) = twin else { return self.file(path, content, time) };
        match fs::read(twin) {
            Ok(old) if old == content => {}
            Ok(_) => return self.file(path, content, time),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.file(path, content, time);
            }
            Err(error) => return Err(at("read", twin)(error)),
        }
        let full = self.parent_made(path)?;
        fs::hard_link(twin, &full).map_err(at("link", &full))?;
        self.linked += 1;
        Ok(())
    }

    /// Makes a symbolic link.
    pub(super) fn symlink(&mut self, path: &str, target: &str) -> Result<(), Error> {
        let full = self.parent_made(path)?;
        symlink(target, &full).map_err(at("link", &full))
    }

    /// Makes a directory, with those above it.
    pub(super) fn dir(&mut self, path: &str) -> Result<(), Error> {
        let full = self.root.join(path);
        fs::create_dir_all(&full).map_err(at("create", &full))
    }

    /// Gives every directory mode 0755 and one time. Nothing may be written afterwards.
    pub(super) fn seal(self, time: u64) -> Result<PathBuf, Error> {
        seal(&self.root, time)?;
        Ok(self.root)
    }

    fn parent_made(&self, path: &str) -> Result<PathBuf, Error> {
        let full = self.root.join(path);
        if let Some(parent) = full.parent() {
            fs::create_dir_all(parent).map_err(at("create", parent))?;
        }
        Ok(full)
    }
}

fn seal(dir: &Path, time: u64) -> Result<(), Error> {
    for entry in fs::read_dir(dir).map_err(at("list", dir))? {
        let entry = entry.map_err(at("list", dir))?;
        let path = entry.path();
        if entry.file_type().map_err(at("stat", &path))?.is_dir() {
            seal(&path, time)?;
        }
    }
    let opened = File::open(dir).map_err(at("open", dir))?;
    opened.set_permissions(Permissions::from_mode(0o755)).map_err(at("set the mode of", dir))?;
    opened.set_times(times(time)).map_err(at("set the time of", dir))
}

/// Writes a file that may be there already; for what lies beside the composes.
pub(super) fn replace(path: &Path, content: &[u8], time: u64) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(at("create", parent))?;
    }
    let next = beside(path);
    fs::write(&next, content).map_err(at("write", &next))?;
    let file = File::options().write(true).open(&next).map_err(at("open", &next))?;
    file.set_permissions(Permissions::from_mode(0o644)).map_err(at("set the mode of", &next))?;
    file.set_times(times(time)).map_err(at("set the time of", &next))?;
    fs::rename(&next, path).map_err(at("rename to", path))
}

/// Points a symbolic link at `target` in one step, whether it was there before or not.
pub(super) fn repoint(link: &Path, target: &str) -> Result<(), Error> {
    let next = beside(link);
    match fs::remove_file(&next) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(at("remove", &next)(error)),
    }
    symlink(target, &next).map_err(at("link", &next))?;
    fs::rename(&next, link).map_err(at("rename to", link))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".next");
    path.with_file_name(name)
}

fn times(seconds: u64) -> FileTimes {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    FileTimes::new().set_accessed(time).set_modified(time)
}
