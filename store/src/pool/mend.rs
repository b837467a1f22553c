//! Looking at a pool object by object, and putting right what is damaged.
//!
//! For fsck alone. A mended object is finished and synced under a temporary name, what it replaces
//! gets a name in `quarantine/`, and only then is it renamed over: at no moment is the object
//! without a name that it had, and no byte is ever deleted. All of it may be repeated.

use std::path::PathBuf;

use rustix::io::Errno;

use super::{Meta, Pool, copy_verified, hash_mapped, name_of, refuses_links};
use crate::error::{Error, Result};
use crate::fault::{self, CrashPoint};
use crate::fs::{Dir, OpenFile, Replace, Stat};
use crate::id::{ObjectId, hex};
use crate::progress::Observer;
use crate::tree::FileEntry;

/// Where what is damaged is kept, below a pool or a store.
pub const QUARANTINE: &[u8] = b"quarantine";

/// One inode of an object: the object's own, or that of a sibling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The object.
    pub id: ObjectId,
    /// 0 for the name that readers open, else the sibling's number.
    pub sibling: u32,
}

impl Copy {
    /// Returns the object's own inode.
    pub fn main(id: ObjectId) -> Self {
        Self { id, sibling: 0 }
    }

    fn name(&self) -> Vec<u8> {
        match self.sibling {
            0 => name_of(&self.id),
            number => [name_of(&self.id), format!("~{number}").into_bytes()].concat(),
        }
    }

    fn parse(prefix: u8, name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok()?;
        let (digits, sibling) = match name.split_once('~') {
            Some((digits, number)) => (digits, number.parse().ok().filter(|n| *n > 0)?),
            None => (name, 0),
        };
        let id = ObjectId::from_hex(&(hex(&[prefix]) + digits))?;
        Some(Self { id, sibling })
    }
}

impl Pool {
    /// Lists the inodes of the objects whose id begins with this byte. A file that somebody else
    /// removes meanwhile is left out.
    pub fn list(&self, prefix: u8) -> Result<Vec<(Copy, Stat)>> {
        let dir = match self.objects.dir(hex(&[prefix]).as_bytes()) {
            Ok(dir) => dir,
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for name in dir.names()? {
            if let Some(copy) = Copy::parse(prefix, &name)
                && let Some(stat) = dir.try_stat(&name)?
            {
                found.push((copy, stat));
            }
        }
        found.sort_unstable_by_key(|(copy, _)| (copy.id, copy.sibling));
        Ok(found)
    }

    /// Returns the first bytes of those ids for whose objects there is no directory.
    pub fn gaps(&self) -> Result<Vec<u8>> {
        let mut gaps = Vec::new();
        for prefix in 0..=255u8 {
            if self.objects.try_stat(hex(&[prefix]).as_bytes())?.is_none() {
                gaps.push(prefix);
            }
        }
        Ok(gaps)
    }

    /// Makes the directory for the objects whose ids begin with this byte.
    pub fn fill_gap(&self, prefix: u8) -> Result<()> {
        self.objects.make_dir(hex(&[prefix]).as_bytes(), 0o700)?;
        self.objects.sync()
    }

    /// Opens one inode of an object for reading.
    pub fn open_copy(&self, copy: &Copy) -> Result<OpenFile> {
        self.objects.open_file(&copy.name())
    }

    /// Gives an object the content of `source`, which is verified on its way; what was there
    /// before goes to quarantine.
    ///
    /// # Errors
    /// A source that is not this object; then nothing has changed.
    pub fn mend(
        &self,
        copy: &Copy,
        file: &FileEntry,
        source: OpenFile,
        observer: &dyn Observer,
    ) -> Result<()> {
        let (temp, mut target) = self.tmp.create_temp()?;
        let mended = self.fill(&mut target, file, source, observer).and_then(|()| {
            fault::hit(CrashPoint::MendWritten);
            self.objects.make_dir(&copy.name()[..2], 0o700)?;
            self.keep_aside(copy)?;
            fault::hit(CrashPoint::MendQuarantined);
            self.tmp.rename(&temp, &self.objects, &copy.name(), Replace::Yes)
        });
        if let Err(error) = mended {
            self.tmp.remove_if_there(&temp)?;
            return Err(error);
        }
        self.objects.dir(&copy.name()[..2])?.sync()?;
        fault::hit(CrashPoint::ObjectMended);
        Ok(())
    }

    fn fill(
        &self,
        target: &mut OpenFile,
        file: &FileEntry,
        source: OpenFile,
        observer: &dyn Observer,
    ) -> Result<()> {
        if self.reflinks() && target.reflink_from(&source).is_ok() {
            let length = target.stat()?.size;
            // The clone is ours alone, so mapping it is sound whatever happens to the source.
            let found = hash_mapped(target, length, observer)?;
            if found != file.object {
                return Err(Error::Mismatch {
                    id: file.object,
                    expected: file.size,
                    found: format!("found content that hashes to {found}"),
                });
            }
        } else {
            copy_verified(source, target, &file.object, file.size, observer)?;
        }
        self.finish(target, Meta { mode: file.mode, mtime: file.mtime })?;
        target.sync()
    }

    /// Moves an inode of an object out of the objects, so that nothing is linked to it again.
    /// Returns where it is now; nothing when it was not there.
    pub fn quarantine(&self, copy: &Copy) -> Result<Option<PathBuf>> {
        let Some(stat) = self.objects.try_stat(&copy.name())? else { return Ok(None) };
        let dir = self.quarantine_dir()?;
        let name = kept_name(copy, &stat);
        self.objects.rename(&copy.name(), &dir, &name, Replace::Yes)?;
        dir.sync()?;
        self.objects.dir(&copy.name()[..2])?.sync()?;
        fault::hit(CrashPoint::MendQuarantined);
        Ok(Some(dir.path_of(&name)))
    }

    /// Gives what stands under an object's name another name in quarantine.
    fn keep_aside(&self, copy: &Copy) -> Result<()> {
        let Some(stat) = self.objects.try_stat(&copy.name())? else { return Ok(()) };
        let dir = self.quarantine_dir()?;
        match self.objects.link(&copy.name(), &dir, &kept_name(copy, &stat)) {
            Ok(()) => dir.sync(),
            // A repair that was killed came as far as this.
            Err(error) if error.is(Errno::EXIST) => dir.sync(),
            // Where it cannot have two names it has the one in quarantine for a moment.
            Err(error) if refuses_links(&error) || error.is(Errno::MLINK) => {
                self.quarantine(copy).map(drop)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the pool's quarantine, creating it where it is missing.
    pub fn quarantine_dir(&self) -> Result<Dir> {
        self.root.make_dir(QUARANTINE, 0o700)?;
        self.root.dir(QUARANTINE)
    }
}

/// The same inode always gets the same name, so that a repair can be repeated.
fn kept_name(copy: &Copy, stat: &Stat) -> Vec<u8> {
    format!("{}-{}", copy.id, stat.ino).into_bytes()
}
