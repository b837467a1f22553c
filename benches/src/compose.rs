//! Writes a described release to disk as a compose.
//!
//! A later compose is made as pungi makes it: what did not change is a hard link to the inode of
//! the compose before. Linking moves the ctime of those inodes, which is the point: a cache that
//! believes in ctime alone has to read them again.

use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rayon::prelude::*;

use crate::failure::{Failure, Result};
use crate::noise::Noise;
use crate::release::{self, Body, Release};

const BUFFER: usize = 256 * 1024;

/// A compose on disk.
#[derive(Debug)]
pub struct Compose {
    /// The compose directory, as `cairn ingest` takes it.
    pub dir: PathBuf,
    /// The release in it.
    pub release: Release,
}

impl Compose {
    /// Writes the first release below `root`, the directory of all composes of a major version.
    pub fn write(root: &Path, release: Release) -> Result<Self> {
        Self::create(root, 0, release, None)
    }

    /// Writes a later release, linking what `before` has already.
    pub fn write_next(&self, release: Release, serial: u32) -> Result<Self> {
        let root = self.dir.parent().unwrap_or(Path::new("."));
        Self::create(root, serial, release, Some(self))
    }

    /// Returns the tree of the release, below the compose directory.
    pub fn tree(&self) -> PathBuf {
        self.dir.join("compose")
    }

    /// Reads every byte once, so that what follows finds the page cache warm.
    pub fn warm(&self) -> Result<()> {
        let tree = self.tree();
        self.release.files.par_iter().try_for_each_init(
            || vec![0u8; BUFFER],
            |buffer, file| {
                let path = tree.join(&file.path);
                let mut open = File::open(&path).map_err(Failure::io("open", &path))?;
                while open.read(buffer).map_err(Failure::io("read", &path))? > 0 {}
                Ok(())
            },
        )
    }

    /// Removes the compose from disk.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.dir).map_err(Failure::io("remove", &self.dir))
    }

    fn create(root: &Path, serial: u32, release: Release, before: Option<&Self>) -> Result<Self> {
        let name = format!("Rocky-9-20261101.{serial}");
        let compose = Self { dir: root.join(&name), release };
        let tree = compose.tree();
        compose.make_directories(&tree)?;
        compose.write_files(&tree, before)?;
        for (link, target) in &compose.release.symlinks {
            let link = tree.join(link);
            symlink(target, &link).map_err(Failure::io("symlink", &link))?;
        }
        for (file, text) in [("COMPOSE_ID", name.as_str()), ("STATUS", "FINISHED\n")] {
            let path = compose.dir.join(file);
            fs::write(&path, text).map_err(Failure::io("write", &path))?;
        }
        let latest = root.join("latest-Rocky-9");
        if latest.symlink_metadata().is_ok() {
            fs::remove_file(&latest).map_err(Failure::io("remove", &latest))?;
        }
        symlink(&name, &latest).map_err(Failure::io("symlink", &latest))?;
        Ok(compose)
    }

    fn make_directories(&self, tree: &Path) -> Result<()> {
        let folders: BTreeSet<&str> = self
            .release
            .files
            .iter()
            .filter_map(|file| file.path.rsplit_once('/').map(|(folder, _)| folder))
            .collect();
        for folder in folders {
            let folder = tree.join(folder);
            fs::create_dir_all(&folder).map_err(Failure::io("create", &folder))?;
        }
        Ok(())
    }

    fn write_files(&self, tree: &Path, before: Option<&Self>) -> Result<()> {
        let old_tree = before.map(Self::tree);
        let old = before.map(|before| before.release.by_path()).unwrap_or_default();
        let (twins, own): (Vec<_>, Vec<_>) =
            self.release.files.iter().partition(|file| file.twin.is_some());
        let place = |file: &release::File, buffer: &mut Vec<u8>| {
            let path = tree.join(&file.path);
            match (&old_tree, old.get(file.path.as_str())) {
                (Some(old_tree), Some(known)) if known.is_same(file) => {
                    link(&old_tree.join(&file.path), &path)
                }
                _ => match &file.twin {
                    Some(twin) => link(&tree.join(twin), &path),
                    None => write_file(&path, file, buffer),
                },
            }
        };
        // Twins come after the files that they are links of.
        for files in [own, twins] {
            files
                .par_iter()
                .try_for_each_init(|| vec![0u8; BUFFER], |buffer, file| place(file, buffer))?;
        }
        Ok(())
    }
}

fn link(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to).map_err(Failure::io("link", to))
}

fn write_file(path: &Path, file: &release::File, buffer: &mut [u8]) -> Result<()> {
    let mut open = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)
        .map_err(Failure::io("create", path))?;
    match &file.body {
        Body::Bytes(bytes) => open.write_all(bytes).map_err(Failure::io("write", path))?,
        Body::Noise(seed) => {
            let mut noise = Noise::new(*seed);
            let mut left = file.size;
            while left > 0 {
                let length = left.min(buffer.len() as u64) as usize;
                noise.fill(&mut buffer[..length]);
                open.write_all(&buffer[..length]).map_err(Failure::io("write", path))?;
                left -= length as u64;
            }
        }
    }
    let mtime = SystemTime::UNIX_EPOCH + Duration::from_secs(file.mtime.unsigned_abs());
    open.set_times(FileTimes::new().set_modified(mtime)).map_err(Failure::io("set times", path))
}
