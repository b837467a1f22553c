//! The one directory that a run may write to and remove.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Result};

const NAME: &str = "cairn-compare";
/// Proves that the directory is a former run's; also what a run locks.
const MARKER: &str = ".cairn-compare";

/// An empty directory that is ours while this lives.
#[derive(Debug)]
pub struct Workplace {
    path: PathBuf,
    keep: bool,
    _lock: File,
}

impl Workplace {
    /// Takes `dir/cairn-compare`: a new one, or what a run left there that did not finish.
    pub fn take(dir: &Path, keep: bool) -> Result<Self> {
        // cairn's configuration wants absolute paths.
        let dir = fs::canonicalize(dir).map_err(Failure::io("find", dir))?;
        let path = dir.join(NAME);
        let marker = path.join(MARKER);
        if path.exists() && !marker.exists() {
            let what = format!("{}: exists and is not of a former run", path.display());
            return Err(Failure::Usage { what });
        }
        fs::create_dir_all(&path).map_err(Failure::io("create", &path))?;
        let lock = File::create(&marker).map_err(Failure::io("create", &marker))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let what = format!("{}: another run is using it", path.display());
                return Err(Failure::Usage { what });
            }
            Err(TryLockError::Error(source)) => return Err(Failure::io("lock", &marker)(source)),
        }
        let workplace = Self { path, keep, _lock: lock };
        workplace.clear()?;
        Ok(workplace)
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes everything but the marker.
    pub fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(&self.path).map_err(Failure::io("read", &self.path))? {
            let entry = entry.map_err(Failure::io("read", &self.path))?;
            if entry.file_name() == MARKER {
                continue;
            }
            let path = entry.path();
            let stat = path.symlink_metadata().map_err(Failure::io("stat", &path))?;
            let removed =
                if stat.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(Failure::io("remove", &path))?;
        }
        Ok(())
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if self.keep {
            eprintln!("kept: {}", self.path.display());
        } else if let Err(failure) =
            fs::remove_dir_all(&self.path).map_err(Failure::io("remove", &self.path))
        {
            eprintln!("compare: {failure}");
        }
    }
}
