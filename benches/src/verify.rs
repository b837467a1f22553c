//! Compares what a command left on disk with what it should have left.
//!
//! A fast answer that is wrong is not a measurement, so every timed step ends here.

use std::fs;
use std::path::Path;

use crate::compose::Compose;
use crate::failure::{Failure, Result};

/// Contents that are compared byte by byte: the first of the list and these many spread over it.
const SAMPLES: usize = 64;

/// Checks that the tree at `root` is the compose: the same paths and sizes, mtimes no older, the same
/// symlinks, and the same bytes in a sample of the files.
pub fn tree_is(root: &Path, compose: &Compose) -> Result<()> {
    let expected = compose.release.by_path();
    let mut found = Found::default();
    walk(root, root, &mut found)?;
    if found.files.len() != expected.len() || found.symlinks != compose.release.symlinks.len() {
        return Err(Failure::wrong(format!(
            "{}: {} files and {} symlinks, expected {} and {}{}",
            root.display(),
            found.files.len(),
            found.symlinks,
            expected.len(),
            compose.release.symlinks.len(),
            found.first_not_in(&expected),
        )));
    }
    for (path, size, mtime) in &found.files {
        match expected.get(path.as_str()) {
            None => return Err(Failure::wrong(format!("{path}: not in the compose"))),
            Some(file) if file.size != *size => {
                return Err(Failure::wrong(format!("{path}: {size} bytes, not {}", file.size)));
            }
            // Later is right: content that replaces other content of its size moves time forward.
            Some(file) if file.mtime > *mtime => {
                return Err(Failure::wrong(format!("{path}: mtime {mtime}, not {}", file.mtime)));
            }
            Some(_) => {}
        }
    }
    let tree = compose.tree();
    let step = (found.files.len() / SAMPLES).max(1);
    for (path, _, _) in found.files.iter().step_by(step) {
        let (here, there) = (root.join(path), tree.join(path));
        let ours = fs::read(&here).map_err(Failure::io("read", &here))?;
        if ours != fs::read(&there).map_err(Failure::io("read", &there))? {
            return Err(Failure::wrong(format!("{path}: other bytes than the compose")));
        }
    }
    Ok(())
}

/// Checks that a list exists and has at least as many lines as the tree below it has paths.
pub fn list_names(list: &Path, paths: usize) -> Result<()> {
    let bytes = fs::read(list).map_err(Failure::io("read", list))?;
    let lines = bytes.iter().filter(|&&byte| byte == b'\n').count();
    if lines < paths {
        return Err(Failure::wrong(format!("{}: {lines} lines for {paths} paths", list.display())));
    }
    Ok(())
}

#[derive(Default)]
struct Found {
    files: Vec<(String, u64, i64)>,
    symlinks: usize,
}

impl Found {
    fn first_not_in<V>(&self, expected: &std::collections::HashMap<&str, V>) -> String {
        self.files
            .iter()
            .find(|(path, _, _)| !expected.contains_key(path.as_str()))
            .map(|(path, _, _)| format!("; not in the compose: {path}"))
            .unwrap_or_default()
    }
}

fn walk(root: &Path, dir: &Path, found: &mut Found) -> Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    for entry in fs::read_dir(dir).map_err(Failure::io("read", dir))? {
        let path = entry.map_err(Failure::io("read", dir))?.path();
        let stat = path.symlink_metadata().map_err(Failure::io("stat", &path))?;
        if stat.is_dir() {
            walk(root, &path, found)?;
        } else if stat.is_symlink() {
            found.symlinks += 1;
        } else {
            let below = path.strip_prefix(root).unwrap_or(&path);
            found.files.push((below.to_string_lossy().into_owned(), stat.len(), stat.mtime()));
        }
    }
    Ok(())
}
