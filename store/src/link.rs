//! Links beside views: a name on a mount that leads somewhere else, switched in one step.
//!
//! A link is a symbolic link that is renamed into place, so that at every moment it leads to where
//! it led before or to where it shall lead. It is made ready in `<pool>/links/<ref>` before the
//! operation is logged, because making it may fail; the rename comes after. What stands at the
//! path is looked at once more right before, and nothing but a symbolic link is ever replaced:
//! which links may be, the caller decides. One flock per ref guards it. After a crash the prepared
//! link is a file that the next command uses or removes.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::fault::{self, CrashPoint};
use crate::fs::{Dir, Kind, Replace};
use crate::hang;
use crate::lock::Locks;
use crate::mount::Mount;
use crate::path::RelPath;
use crate::refs::RefName;
use crate::store::Store;

/// The directory of this module in a pool.
const PREPARED: &[u8] = b"links";

/// A link and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LinkSpec {
    /// The ref that says where it leads.
    #[serde(rename = "ref")]
    pub name: RefName,
    /// The mount's name.
    pub mount: String,
    /// The path on the mount.
    pub path: RelPath,
}

/// What stands at a link's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing.
    Nothing,
    /// A symbolic link to this.
    Link(Vec<u8>),
    /// Something else, which nobody replaces.
    Else(&'static str),
}

/// A link that is made, on disk, and not in its place.
#[must_use = "a prepared link leads nowhere until it is switched"]
pub struct PreparedLink {
    spec: LinkSpec,
    mount: Mount,
    dir: Dir,
    before: Standing,
    held: Locks,
}

impl Store {
    /// Returns what stands at a link's path.
    pub fn standing_link(&self, spec: &LinkSpec) -> Result<Standing> {
        standing(&self.mount(&spec.mount)?, spec)
    }

    /// Makes a link to `target` ready to be switched to; nothing changes at its path.
    ///
    /// # Errors
    /// [`Error::ViewOccupied`] when something else than a link stands there.
    pub fn prepare_link(&self, spec: &LinkSpec, target: &[u8]) -> Result<PreparedLink> {
        let mount = self.mount(&spec.mount)?;
        let before = standing(&mount, spec)?;
        if let Standing::Else(what) = before {
            return Err(occupied(&mount, spec, format!("it is {what}, not a link")));
        }
        let pool = mount.pool().root();
        pool.make_dir(PREPARED, 0o700)?;
        let dir = pool.dir(PREPARED)?;
        let name = spec.name.file_name();
        dir.remove_if_there(name.as_bytes())?;
        dir.symlink(target, name.as_bytes())?;
        if let Some(owner) = mount.spec.owner {
            dir.set_owner_of(name.as_bytes(), owner)?;
        }
        dir.sync()?;
        pool.sync()?;
        fault::hit(CrashPoint::LinkPrepared);
        let held = self.held().clone();
        Ok(PreparedLink { spec: spec.clone(), mount, dir, before, held })
    }

    /// Returns the refs of which a link was prepared on a mount and not switched to, by name.
    pub fn prepared_links(&self, mount: &Mount) -> Result<Vec<RefName>> {
        let pool = mount.pool().root();
        let Some(_) = pool.try_stat(PREPARED)? else { return Ok(Vec::new()) };
        let names = pool.dir(PREPARED)?.names()?;
        Ok(names.iter().filter_map(|name| RefName::from_file_name(name)).collect())
    }

    /// Removes a link that leads to `expected`; the caller holds its ref's lock. That nothing stands
    /// there is as good. When this returns, it is on disk.
    ///
    /// # Errors
    /// [`Error::ViewOccupied`] when something else stands there; [`Error::LockLost`] when somebody
    /// else may switch it by now.
    pub fn remove_link(&self, spec: &LinkSpec, expected: &[u8]) -> Result<()> {
        let mount = self.mount(&spec.mount)?;
        match standing(&mount, spec)? {
            Standing::Nothing => return Ok(()),
            Standing::Link(target) if target == expected => {}
            Standing::Link(_) | Standing::Else(_) => {
                let reason = "it was changed by somebody else meanwhile".to_owned();
                return Err(occupied(&mount, spec, reason));
            }
        }
        let Some((parent, last)) = spec.path.split_last() else { return Ok(()) };
        let parent = mount.root().dir_at(&parent)?;
        self.held().check()?;
        parent.remove_if_there(last)?;
        fault::hit(CrashPoint::LinkSwitched);
        parent.sync()?;
        fault::hit(CrashPoint::LinkSwitchSynced);
        Ok(())
    }

    /// Removes a link that was prepared and that nobody needs; the caller holds its ref's lock.
    pub fn forget_link(&self, mount: &Mount, name: &RefName) -> Result<()> {
        let dir = mount.pool().root().dir(PREPARED)?;
        dir.remove_if_there(name.file_name().as_bytes())?;
        Ok(())
    }
}

impl PreparedLink {
    /// Puts the link in its place. When this returns, it is on disk.
    ///
    /// # Errors
    /// [`Error::ViewOccupied`] when what stands at the path is not what stood there when the link
    /// was prepared; [`Error::LockLost`] when somebody else may switch it by now.
    pub fn switch(self) -> Result<()> {
        hang::apart(&self.mount.spec.place(), move || self.switch_now())
    }

    fn switch_now(self) -> Result<()> {
        if standing(&self.mount, &self.spec)? != self.before {
            let reason = "it was changed by somebody else meanwhile".to_owned();
            return Err(occupied(&self.mount, &self.spec, reason));
        }
        let (parent, last) = self.mount.make_parent(&self.spec.path)?;
        let name = self.spec.name.file_name();
        self.held.check()?;
        self.dir.rename(name.as_bytes(), &parent, &last, Replace::Yes)?;
        fault::hit(CrashPoint::LinkSwitched);
        parent.sync()?;
        self.dir.sync()?;
        fault::hit(CrashPoint::LinkSwitchSynced);
        Ok(())
    }
}

fn occupied(mount: &Mount, spec: &LinkSpec, reason: String) -> Error {
    Error::ViewOccupied { path: mount.spec.path.join(spec.path.as_path()), reason }
}

/// Returns what stands at a link's path on a mount. It needs no store.
pub fn standing(mount: &Mount, spec: &LinkSpec) -> Result<Standing> {
    let Some((parent, last)) = spec.path.split_last() else {
        return Ok(Standing::Else("the mount itself"));
    };
    let parent = match mount.root().dir_at(&parent) {
        Ok(parent) => parent,
        Err(error) if error.is_not_found() => return Ok(Standing::Nothing),
        Err(error) => return Err(error),
    };
    Ok(match parent.try_stat(last)?.map(|stat| stat.kind) {
        None => Standing::Nothing,
        Some(Kind::Symlink) => Standing::Link(parent.read_link(last)?),
        Some(Kind::Dir) => Standing::Else("a directory"),
        Some(Kind::File) => Standing::Else("a file"),
        Some(Kind::Other(_)) => Standing::Else("a special file"),
    })
}
