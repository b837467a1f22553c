//! Where a view's trees are on its mount: names, links, and which of them is live.

use std::collections::BTreeSet;

use super::ViewSpec;
use super::record::Records;
use crate::error::{Error, Result};
use crate::fault::{self, CrashPoint};
use crate::fs::{Dir, Kind};
use crate::mount::{Mount, Strategy};

/// Returns the name of a view's directory in the pool.
pub(super) fn view_dir(view: &ViewSpec) -> Vec<u8> {
    view.name.file_name().into_bytes()
}

/// Makes a view's directory in the pool.
pub(super) fn begin_view(mount: &Mount, view: &ViewSpec) -> Result<Dir> {
    let views = mount.pool().root().dir(b"views")?;
    views.make_dir(&view_dir(view), 0o711)?;
    fault::hit(CrashPoint::ViewBegun);
    views.dir(&view_dir(view))
}

/// Returns the name of the tree with this inode among those that are not live.
pub(super) fn tree_dir(dir: &Dir, ino: u64) -> Result<Option<Vec<u8>>> {
    for name in dir.names()? {
        // A removed file that somebody has open lasts under a name of the mount's own, here and
        // there for a moment only.
        let Some(stat) = dir.try_stat(&name)? else { continue };
        if stat.kind == Kind::Dir && stat.ino == ino {
            return Ok(Some(name.into()));
        }
    }
    Ok(None)
}

/// Removes a tree that is nobody's, with its link. Returns whether all of it is gone: what somebody
/// still has open keeps its directory on NFS and FUSE, and the next command comes back for it.
pub(super) fn remove_tree(dir: &Dir, name: &[u8]) -> Result<bool> {
    dir.remove_if_there(&link_name(name))?;
    match dir.remove_all(name) {
        Ok(()) => Ok(true),
        Err(error) if error.is_not_empty() => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn lost(dir: &Dir) -> Error {
    Error::corrupt(
        crate::path::display(dir.path()).to_string(),
        "a tree that trees.json lists is not there",
    )
}

pub(super) fn free_name(dir: &Dir) -> Result<Vec<u8>> {
    let taken: BTreeSet<_> = dir.names()?.into_iter().collect();
    let mut number = 1;
    loop {
        let name = format!("t{number}").into_bytes();
        if !taken.contains(&*name) {
            return Ok(name);
        }
        number += 1;
    }
}

pub(super) fn link_name(tree: &[u8]) -> Vec<u8> {
    [tree, b".link"].concat()
}

/// Makes a symbolic link to every tree of the view, ready to be renamed over the live one, so
/// that a swap creates nothing and works on a full disk.
pub(super) fn make_links(mount: &Mount, view: &ViewSpec, dir: &Dir) -> Result<()> {
    for name in dir.names()? {
        if name.first() == Some(&b't') && dir.stat(&name)?.kind == Kind::Dir {
            make_link(mount, view, dir, &name)?;
        }
    }
    Ok(())
}

/// Makes the symbolic link to one tree, unless it is there.
pub(super) fn make_link(mount: &Mount, view: &ViewSpec, dir: &Dir, name: &[u8]) -> Result<()> {
    let link = link_name(name);
    if dir.try_stat(&link)?.is_some() {
        return Ok(());
    }
    let target = match dir.path().strip_prefix(&mount.spec.path) {
        Ok(inside) => {
            let up = "../".repeat(view.path.names().count().saturating_sub(1)).into_bytes();
            [&up, inside.as_os_str().as_encoded_bytes(), b"/", name].concat()
        }
        Err(_) => [dir.path().as_os_str().as_encoded_bytes(), b"/", name].concat(),
    };
    dir.symlink(&target, &link)?;
    match mount.spec.owner {
        Some(owner) => dir.set_owner_of(&link, owner),
        None => Ok(()),
    }
}

/// Returns the inode of the tree that is live at a view's path.
///
/// # Errors
/// [`Error::ViewOccupied`] when something that cairn did not publish is there.
pub(super) fn live_inode(
    mount: &Mount,
    view: &ViewSpec,
    dir: Option<&Dir>,
    records: &Records,
) -> Result<Option<u64>> {
    let Some((parent, last)) = view.path.split_last() else { return Ok(None) };
    let parent = match mount.root().dir_at(&parent) {
        Ok(parent) => parent,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(stat) = parent.try_stat(last)? else { return Ok(None) };
    let occupied = |reason: &str| Error::ViewOccupied {
        path: parent.path_of(last),
        reason: reason.to_owned(),
    };
    match (mount.strategy, stat.kind) {
        (Strategy::Exchange, Kind::Dir) => {
            if records.get(stat.ino).is_some() {
                return Ok(Some(stat.ino));
            }
            // An empty directory holds nothing that a swap could lose.
            match parent.dir(last)?.names()?.is_empty() {
                true => Ok(None),
                false => Err(occupied("it exists and was not published by cairn")),
            }
        }
        (Strategy::Symlink, Kind::Symlink) => {
            let target = parent.read_link(last)?;
            let tree = target.rsplit(|b| *b == b'/').next().unwrap_or_default();
            let inode = dir.map(|dir| dir.try_stat(tree)).transpose()?.flatten();
            match inode.filter(|stat| records.get(stat.ino).is_some()) {
                Some(stat) => Ok(Some(stat.ino)),
                None => Err(occupied("it is a link that was not published by cairn")),
            }
        }
        (Strategy::Exchange, Kind::Symlink) => {
            Err(occupied("it is a symbolic link, and this mount swaps directories"))
        }
        (Strategy::Symlink, Kind::Dir) => {
            Err(occupied("it is a directory, and this mount swaps symbolic links"))
        }
        (_, Kind::File | Kind::Other(_)) => Err(occupied("it is not a directory")),
    }
}
