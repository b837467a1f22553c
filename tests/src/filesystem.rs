//! Filesystems to test on, mounted for as long as a value lives.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::run::Run;
use crate::unavailable::{self, Unavailable};

const MIB: u64 = 1024 * 1024;

/// A kind of filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FsKind {
    /// Hard links to 65,000 names, no reflinks.
    Ext4,
    /// Reflinks; as many hard links as one likes.
    Xfs,
    /// Reflinks; 65,535 hard links.
    Btrfs,
    /// 63 hard links within one directory: EMLINK for real.
    BtrfsNoExtref,
    /// In memory, no reflinks.
    Tmpfs,
    /// What NFS cannot do, this cannot either: no exchange of directories, no rename that will
    /// not replace, no reflinks, no unnamed temporary files.
    Bindfs,
}

impl FsKind {
    /// Every kind.
    pub const ALL: [FsKind; 6] = [
        FsKind::Ext4,
        FsKind::Xfs,
        FsKind::Btrfs,
        FsKind::BtrfsNoExtref,
        FsKind::Tmpfs,
        FsKind::Bindfs,
    ];

    /// Returns the name that `CAIRN_TEST_FS` knows it by.
    pub const fn name(self) -> &'static str {
        match self {
            FsKind::Ext4 => "ext4",
            FsKind::Xfs => "xfs",
            FsKind::Btrfs => "btrfs",
            FsKind::BtrfsNoExtref => "btrfs-noextref",
            FsKind::Tmpfs => "tmpfs",
            FsKind::Bindfs => "bindfs",
        }
    }

    /// Returns the kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The smallest that the kind's mkfs takes without complaint.
    fn least(self) -> u64 {
        match self {
            FsKind::Ext4 => 8 * MIB,
            FsKind::Xfs => 320 * MIB,
            FsKind::Btrfs | FsKind::BtrfsNoExtref => 128 * MIB,
            FsKind::Tmpfs => MIB,
            FsKind::Bindfs => 0,
        }
    }

    fn mkfs(self) -> Option<&'static [&'static str]> {
        match self {
            FsKind::Ext4 => Some(&["mkfs.ext4", "-q", "-F", "-m", "0"]),
            FsKind::Xfs => Some(&["mkfs.xfs", "-q", "-f", "-m", "reflink=1"]),
            FsKind::Btrfs => Some(&["mkfs.btrfs", "-q", "-f"]),
            FsKind::BtrfsNoExtref => {
                Some(&["mkfs.btrfs", "-q", "-f", "-O", "^extref", "-n", "4096", "-s", "4096"])
            }
            FsKind::Tmpfs | FsKind::Bindfs => None,
        }
    }
}

/// A filesystem of its own, unmounted and gone when dropped.
#[derive(Debug)]
pub struct Loop {
    kind: FsKind,
    mount: PathBuf,
    _temp: TempDir,
}

impl Loop {
    /// Makes and mounts a filesystem of about this many bytes.
    ///
    /// The size is raised to what the kind needs, and means nothing for [`FsKind::Bindfs`].
    ///
    /// # Errors
    ///
    /// [`Unavailable`] where we are not root, a tool is missing, or mounting is refused.
    pub fn new(kind: FsKind, size: u64) -> Result<Self, Unavailable> {
        unavailable::root(&format!("mounting {kind:?}"))?;
        let refused = |reason: String| Unavailable::Refused { what: format!("{kind:?}"), reason };
        let temp = tempfile::Builder::new()
            .prefix("cairn-fs-")
            .tempdir()
            .map_err(|error| refused(error.to_string()))?;
        let mount = temp.path().join("mnt");
        std::fs::create_dir(&mount).map_err(|error| refused(error.to_string()))?;
        let size = size.max(kind.least());

        let mut command = match kind.mkfs() {
            Some(mkfs) => {
                let image = temp.path().join("image");
                File::create(&image)
                    .and_then(|file| file.set_len(size))
                    .map_err(|error| refused(error.to_string()))?;
                unavailable::tool(mkfs[0])?;
                succeed(kind, admin(mkfs[0]).args(&mkfs[1..]).arg(&image))?;
                let mut mounting = admin("mount");
                mounting.args(["-o", "loop"]).arg(&image);
                mounting
            }
            None if kind == FsKind::Bindfs => {
                unavailable::tool("bindfs")?;
                let below = temp.path().join("below");
                std::fs::create_dir(&below).map_err(|error| refused(error.to_string()))?;
                let mut mounting = admin("bindfs");
                mounting.arg(&below);
                mounting
            }
            None => {
                let mut mounting = admin("mount");
                let options = format!("size={size},mode=0755");
                mounting.args(["-t", "tmpfs", "-o", options.as_str(), "tmpfs"]);
                mounting
            }
        };
        succeed(kind, command.arg(&mount))?;
        Ok(Self { kind, mount, _temp: temp })
    }

    /// Returns the kind.
    pub fn kind(&self) -> FsKind {
        self.kind
    }

    /// Returns where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Mounts it anew with these options: `ro`, `rw`, `size=8M`.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] where the system refuses, as it does for what cannot change.
    pub fn remount(&self, options: &str) -> Result<(), Unavailable> {
        let options = format!("remount,{options}");
        succeed(self.kind, admin("mount").args(["-o", options.as_str()]).arg(&self.mount))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // A program that a test has just killed may need a moment to let go.
        for _ in 0..50 {
            if Run::of(admin("umount").arg(&self.mount)).code() == Some(0) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Run::of(admin("umount").arg("-l").arg(&self.mount));
    }
}

/// A command that is found although `PATH` lacks the administrators' directories.
fn admin(tool: &str) -> Command {
    let mut command = Command::new(tool);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin")).env("LC_ALL", "C");
    command
}

fn succeed(kind: FsKind, command: &mut Command) -> Result<(), Unavailable> {
    let run = Run::of(command);
    if run.code() == Some(0) {
        return Ok(());
    }
    Err(Unavailable::Refused { what: format!("{kind:?}"), reason: run.report() })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::available;
    use rustix::fs::{CWD, RenameFlags, renameat_with};

    #[test]
    fn every_kind_mounts_does_what_it_says_and_is_gone_afterwards() {
        for kind in FsKind::ALL {
            let Some(fs) = available(Loop::new(kind, 16 * MIB)) else { continue };
            let path = fs.path().to_owned();
            let outside = fs::metadata(path.parent().unwrap()).unwrap().dev();
            assert_ne!(fs::metadata(&path).unwrap().dev(), outside, "{kind:?}");

            let (a, b) = (path.join("a"), path.join("b"));
            fs::create_dir(&a).unwrap();
            fs::create_dir(&b).unwrap();
            let exchanged = renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE);
            assert_eq!(exchanged.is_ok(), kind != FsKind::Bindfs, "{kind:?}: {exchanged:?}");

            fs::write(path.join("file"), "x").unwrap();
            let links = (0..100)
                .take_while(|n| {
                    let name = path.join(format!("{n:050}"));
                    fs::hard_link(path.join("file"), name).is_ok()
                })
                .count();
            assert_eq!(links < 100, kind == FsKind::BtrfsNoExtref, "{kind:?}: {links} links");

            drop(fs);
            assert!(!path.exists(), "{kind:?} is still there");
            let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
            assert!(!mounts.contains(path.to_str().unwrap()), "{kind:?} is still mounted");
        }
    }

    #[test]
    fn a_mount_can_be_made_read_only() {
        let Some(fs) = available(Loop::new(FsKind::Tmpfs, MIB)) else { return };
        fs.remount("ro").unwrap();
        assert!(fs::write(fs.path().join("file"), "x").is_err());
        fs.remount("rw").unwrap();
        fs::write(fs.path().join("file"), "x").unwrap();
    }
}
