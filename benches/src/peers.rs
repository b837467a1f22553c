//! The tools that cairn is measured against, driven as a release engineer would drive them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, Result};

/// The flags of the sync scripts that cairn replaces.
const RSYNC_FLAGS: &str = "-rlptDSHog";
const LISTER: &str = include_str!("create_filelist.py");
/// The lists of a root; a list names neither itself nor another.
pub const LISTS: [&str; 2] = ["fullfilelist", "fullfiletimelist-rocky"];

/// A tool beside cairn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    Rsync,
    Cp,
    Ostree,
    Restic,
    Python,
}

impl Peer {
    /// Every peer, in the order in which the report names them.
    pub const ALL: [Self; 5] = [Self::Rsync, Self::Cp, Self::Ostree, Self::Restic, Self::Python];

    /// Returns the name of the program.
    pub fn program(self) -> &'static str {
        match self {
            Self::Rsync => "rsync",
            Self::Cp => "cp",
            Self::Ostree => "ostree",
            Self::Restic => "restic",
            Self::Python => "python3",
        }
    }

    fn version_argument(self) -> &'static str {
        match self {
            Self::Rsync | Self::Cp | Self::Ostree | Self::Python => "--version",
            Self::Restic => "version",
        }
    }
}

/// The peers that this machine has, and where they may write.
#[derive(Debug)]
pub struct Peers {
    dir: PathBuf,
    versions: Vec<(Peer, Option<String>)>,
    python: PathBuf,
}

impl Peers {
    /// Looks for every peer and makes `dir` ready for them.
    pub fn find(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).map_err(Failure::io("create", dir))?;
        let lister = dir.join("create_filelist.py");
        fs::write(&lister, LISTER).map_err(Failure::io("write", &lister))?;
        let versions = Peer::ALL.map(|peer| (peer, version(peer))).to_vec();
        Ok(Self { dir: dir.to_owned(), versions, python: real_python() })
    }

    /// Returns each peer with the first line of its version, or none if it is not installed.
    pub fn versions(&self) -> &[(Peer, Option<String>)] {
        &self.versions
    }

    /// Says whether a peer is installed.
    pub fn has(&self, peer: Peer) -> bool {
        self.versions.iter().any(|(known, version)| *known == peer && version.is_some())
    }

    /// Returns the tree that rsync keeps: the peer of staging and of production.
    pub fn rsync_tree(&self) -> PathBuf {
        self.dir.join("rsync")
    }

    /// Returns where `cp -al` puts its copy.
    pub fn cp_tree(&self) -> PathBuf {
        self.dir.join("cp")
    }

    /// Returns ostree's repository.
    pub fn ostree_repo(&self) -> PathBuf {
        self.dir.join("ostree")
    }

    /// Returns where find and the lister put their lists. Not in the tree, which cairn's must own.
    pub fn list(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// `rsync -rlptDSHog [--delete] FROM/ TREE/`.
    pub fn rsync_sync(&self, from: &Path, delete: Delete) -> Command {
        self.rsync(RSYNC_FLAGS, from, delete)
    }

    /// `rsync -a --delete FROM/ TREE/`.
    pub fn rsync_exact(&self, from: &Path) -> Command {
        self.rsync("-a", from, Delete::Yes)
    }

    /// `cp -al` of rsync's tree. Not of the compose: linking moves ctimes, and a cache that is
    /// measured on the compose must find it as it left it.
    pub fn cp_links(&self) -> Command {
        let mut command = Command::new(Peer::Cp.program());
        command.arg("-al").arg(self.rsync_tree()).arg(self.cp_tree());
        command
    }

    /// `ostree init` in bare mode: files as they are, no compression, ostree's fastest.
    pub fn ostree_init(&self) -> Command {
        let mut command = self.ostree("init");
        command.arg("--mode=bare");
        command
    }

    /// `ostree commit` of a directory, reading all of it.
    pub fn ostree_commit(&self, branch: &str, tree: &Path) -> Command {
        let mut command = self.ostree("commit");
        command.arg(format!("--branch={branch}")).arg("--subject=compare");
        let mut source = OsStr::new("--tree=dir=").to_owned();
        source.push(tree);
        command.arg(source);
        command
    }

    /// `ostree diff` of two branches.
    pub fn ostree_diff(&self, old: &str, new: &str) -> Command {
        let mut command = self.ostree("diff");
        command.args([old, new]);
        command
    }

    /// `restic init` of a local repository.
    pub fn restic_init(&self) -> Command {
        self.restic("init")
    }

    /// `restic backup` of a directory. The first one of a directory is not measured, and goes
    /// without compression, which noise does not gain from.
    pub fn restic_backup(&self, tree: &Path, first: First) -> Command {
        let mut command = self.restic("backup");
        if first == First::Yes {
            command.arg("--compression=off");
        }
        command.arg(tree);
        command
    }

    /// `find .`, whose output is the first list of a root.
    pub fn find_list(&self, root: &Path) -> Command {
        let mut command = Command::new("find");
        command.arg(".").current_dir(root);
        command
    }

    /// create-filelist, which writes the second list of a root.
    pub fn time_list(&self, root: &Path) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(self.dir.join("create_filelist.py")).arg(root).arg(self.list(LISTS[1]));
        for name in LISTS {
            command.args(["--skip", name]);
        }
        command
    }

    fn rsync(&self, flags: &str, from: &Path, delete: Delete) -> Command {
        let mut command = Command::new(Peer::Rsync.program());
        command.arg(flags);
        if delete == Delete::Yes {
            command.arg("--delete");
        }
        // The empty last component is the trailing slash: the content, not the directory.
        command.arg(from.join("")).arg(self.rsync_tree().join(""));
        command
    }

    fn ostree(&self, verb: &str) -> Command {
        let mut command = Command::new(Peer::Ostree.program());
        let mut repo = OsStr::new("--repo=").to_owned();
        repo.push(self.ostree_repo());
        command.arg(repo).arg(verb);
        command
    }

    fn restic(&self, verb: &str) -> Command {
        let mut command = Command::new(Peer::Restic.program());
        command
            .env("RESTIC_REPOSITORY", self.dir.join("restic"))
            .env("RESTIC_CACHE_DIR", self.dir.join("restic-cache"))
            .env("RESTIC_PASSWORD", "compare")
            .arg(verb);
        command
    }
}

/// Whether rsync removes what the source lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delete {
    Yes,
    No,
}

/// Whether a backup has one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    Yes,
    No,
}

fn version(peer: Peer) -> Option<String> {
    let output = Command::new(peer.program()).arg(peer.version_argument()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = words
        .iter()
        .map(|word| word.trim_matches('\''))
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.'));
    output.status.success().then(|| number.unwrap_or("present").to_owned())
}

/// Returns the interpreter itself, so that no wrapper script's start is charged to the peer.
fn real_python() -> PathBuf {
    let output = Command::new(Peer::Python.program())
        .args(["-c", "import sys; print(sys.executable)"])
        .output();
    match output {
        Ok(output) if output.status.success() => {
            PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
        }
        Ok(_) | Err(_) => PathBuf::from(Peer::Python.program()),
    }
}
