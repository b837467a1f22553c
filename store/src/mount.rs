//! Mounts: a file system that views are published on, proven by a marker and probed once.
//!
//! `<pool>/mount.json` says which mount this is and of which store. It is what tells a mounted
//! file system from the empty directory under an unmounted one. `init` writes it with what the
//! file system can do; nothing is ever tried and silently replaced by something weaker later.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, MountFault, Result};
use crate::fault::{self, CrashPoint};
use crate::fs::{self, Dir, Replace, hex_random};
use crate::hang::{self, Place};
use crate::path::RelPath;
use crate::pool::{LinkMode, Pool};
use crate::refs::RefName;

const MARKER: &[u8] = b"mount.json";

/// How a view's new tree takes the place of the old one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Two directories change places in one step.
    #[default]
    Exchange,
    /// A symbolic link is renamed over a symbolic link.
    Symlink,
}

impl std::fmt::Display for Strategy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Strategy::Exchange => "exchange",
            Strategy::Symlink => "symlink",
        })
    }
}

/// What the configuration says of a mount.
#[derive(Clone, Debug)]
pub struct MountSpec {
    /// Its name: `staging`, `production`.
    pub name: String,
    /// Where it is mounted.
    pub path: PathBuf,
    /// Where its pool is: on the same file system.
    pub pool: PathBuf,
    /// Who shall own what is published; nothing leaves it to the process.
    pub owner: Option<(u32, u32)>,
    /// How paths get their content.
    pub link: LinkMode,
    /// How trees are swapped; nothing lets `init` choose.
    pub swap: Option<Strategy>,
    /// How long an outgoing tree stays whole.
    pub keep_trees: Duration,
    /// How long removed files stay reachable in the published tree.
    pub grace: Duration,
    /// How long it may take to answer before it counts as away.
    pub answer_within: Duration,
    /// Whether ingest fills this mount's pool, so that what is published here is there already.
    pub home: bool,
}

/// What `init` found that a mount's file system can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Two directories can change places.
    pub exchange: bool,
    /// Symbolic links can be made and renamed over.
    pub symlink: bool,
    /// A file can have two names.
    pub hardlink: bool,
    /// Files can share blocks.
    pub reflink: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Marker {
    version: u32,
    id: String,
    name: String,
    store: String,
    strategy: Strategy,
    capabilities: Capabilities,
}

/// A mount that is there, with its pool.
#[derive(Debug)]
pub struct Mount {
    /// What the configuration says.
    pub spec: MountSpec,
    /// How its trees are swapped.
    pub strategy: Strategy,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Its id, 32 hex digits.
    pub id: String,
    root: Dir,
    pool: Pool,
}

impl MountSpec {
    fn fail(&self, reason: impl Into<String>) -> Error {
        self.error(MountFault::Wrong(reason.into()))
    }

    fn unable(&self, reason: impl Into<String>) -> Error {
        self.error(MountFault::Unable(reason.into()))
    }

    fn error(&self, fault: MountFault) -> Error {
        Error::Mount { name: self.name.clone(), path: self.path.clone(), fault }
    }

    /// Waits until the mount answers.
    ///
    /// # Errors
    /// [`Error::Mount`] when that takes too long.
    pub(crate) fn reach(&self) -> Result<()> {
        let path = self.path.clone();
        hang::reach(&self.place(), move || {
            fs::reach(&path);
            Ok(())
        })
    }

    /// Returns the mount as something that may not answer.
    pub(crate) fn place(&self) -> Place {
        let (path, limit) = (self.path.clone(), self.answer_within);
        Place { mount: Some(self.name.clone()), path, limit }
    }
}

impl Mount {
    /// Makes a directory a mount of this store: probes it, creates the pool, writes the marker.
    /// One that is a mount of this store already is probed again and keeps its id.
    pub fn init(spec: &MountSpec, store: &str) -> Result<Mount> {
        spec.reach()?;
        let root = match Dir::open(&spec.path) {
            Ok(root) => root,
            Err(error) if error.is_not_found() => return Err(spec.fail("it does not exist")),
            Err(error) => return Err(error),
        };
        fs::check_parents(&spec.pool)?;
        fs::make_dirs(&spec.pool)?;
        let pool = Dir::open(&spec.pool)?;
        if pool.stat_self()?.dev != root.stat_self()?.dev {
            return Err(spec.fail(format!(
                "its pool {} is on another file system, and links do not cross file systems",
                crate::path::display(&spec.pool)
            )));
        }
        let before = read_marker(&pool)?;
        if let Some(marker) = &before {
            check_marker(spec, marker, store)?;
        }
        for name in pool.names()?.iter().filter(|name| name.starts_with(b"probe-")) {
            pool.remove_all(name)?;
        }
        let capabilities = probe(&pool)?;
        let strategy = choose(spec, &capabilities)?;
        if let Some(before) = &before
            && before.strategy != strategy
            && has_views(&pool)?
        {
            return Err(spec.fail(format!(
                "its views were published by {}, and {strategy} cannot take them over",
                before.strategy
            )));
        }
        // Others may pass through to a tree whose link they followed, and read nothing here.
        pool.set_mode(0o711)?;
        pool.make_dir(b"views", 0o711)?;
        Pool::create(&pool)?;
        let id = match before {
            Some(marker) => marker.id,
            None => hex_random()?,
        };
        let (name, store) = (spec.name.clone(), store.to_owned());
        let marker = Marker { version: 1, id, name, store, strategy, capabilities };
        let text = serde_json::to_vec_pretty(&marker).expect("a marker is plain data");
        pool.replace(MARKER, &text, 0o644)?;
        root.sync()?;
        fault::hit(CrashPoint::MountPrepared);
        Self::with_marker(spec, root, pool, marker)
    }

    /// Opens a mount and makes sure that it is the one that was initialised.
    ///
    /// # Errors
    /// [`Error::Mount`] when it is not there, is another one, or does not answer in time.
    pub fn open(spec: &MountSpec, store: &str) -> Result<Mount> {
        let (asked, store) = (spec.clone(), store.to_owned());
        hang::reach(&spec.place(), move || Self::open_now(&asked, &store))
    }

    fn open_now(spec: &MountSpec, store: &str) -> Result<Mount> {
        let root = match Dir::open(&spec.path) {
            Ok(root) => root,
            Err(error) if error.is_not_found() => return Err(spec.fail("it does not exist")),
            Err(error) => return Err(error),
        };
        let pool = match Dir::open(&spec.pool) {
            Ok(pool) => pool,
            Err(error) if error.is_not_found() => {
                return Err(spec.fail("nothing of cairn's is there; is the file system mounted?"));
            }
            Err(error) => return Err(error),
        };
        let Some(marker) = read_marker(&pool)? else {
            return Err(spec.fail("its marker is missing; is the file system mounted?"));
        };
        check_marker(spec, &marker, store)?;
        fs::check_parents(&spec.path)?;
        fs::check_parents(&spec.pool)?;
        // A pool beside the mount is there even when the mount is not.
        if pool.stat_self()?.dev != root.stat_self()?.dev {
            return Err(spec.fail("its pool is on another file system; is it mounted?"));
        }
        Self::with_marker(spec, root, pool, marker)
    }

    fn with_marker(spec: &MountSpec, root: Dir, pool: Dir, marker: Marker) -> Result<Mount> {
        if let Some(wanted) = spec.swap
            && wanted != marker.strategy
        {
            return Err(spec.fail(format!(
                "the configuration says swap = \"{wanted}\", but it was initialised with \"{}\"",
                marker.strategy
            )));
        }
        let tag = u64::from_str_radix(marker.id.get(..16).unwrap_or_default(), 16)
            .map_err(|_| spec.fail("its marker holds no valid id"))?;
        let reflinks = marker.capabilities.reflink;
        Ok(Mount {
            strategy: marker.strategy,
            capabilities: marker.capabilities,
            id: marker.id,
            pool: Pool::open(pool, tag, spec.owner, spec.link, reflinks)?,
            root,
            spec: spec.clone(),
        })
    }

    /// Opens the mount once more.
    pub fn reopen(&self) -> Result<Mount> {
        let tag = self.pool.tag();
        let pool = self.pool.root().try_clone()?;
        let reflinks = self.capabilities.reflink;
        Ok(Mount {
            spec: self.spec.clone(),
            strategy: self.strategy,
            capabilities: self.capabilities.clone(),
            id: self.id.clone(),
            root: self.root.try_clone()?,
            pool: Pool::open(pool, tag, self.spec.owner, self.spec.link, reflinks)?,
        })
    }

    /// Returns the mount's directory.
    pub fn root(&self) -> &Dir {
        &self.root
    }

    /// Returns the mount's objects.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Opens the directory that holds a path of the mount, creating it with the mount's owner, and
    /// returns it with the path's last name.
    ///
    /// # Errors
    /// [`Error::ViewOccupied`] for the mount itself, which nothing may take.
    pub fn make_parent(&self, path: &RelPath) -> Result<(Dir, Vec<u8>)> {
        let (parent, last) = path.split_last().ok_or_else(|| Error::ViewOccupied {
            path: self.spec.path.clone(),
            reason: "a view cannot take the whole mount".into(),
        })?;
        let mut dir = self.root.try_clone()?;
        for name in parent.names() {
            if dir.make_dir(name, 0o755)?
                && let Some(owner) = self.spec.owner
            {
                dir.dir(name)?.set_owner(owner)?;
            }
            dir = dir.dir(name)?;
        }
        Ok((dir, last.to_vec()))
    }

    /// Returns the refs that something was published of here, or was begun to be, by name.
    pub fn published(&self) -> Result<Vec<RefName>> {
        let mut names: Vec<RefName> = self
            .pool
            .root()
            .dir(b"views")?
            .names()?
            .iter()
            .filter_map(|name| RefName::from_file_name(name))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Returns how paths get their content here, as plans say it.
    pub fn link_method(&self) -> &'static str {
        let Capabilities { reflink, hardlink, .. } = self.capabilities;
        match self.spec.link {
            LinkMode::Auto | LinkMode::Reflink if reflink => "reflink",
            LinkMode::Auto | LinkMode::Hardlink if hardlink => "hardlink",
            LinkMode::Auto | LinkMode::Reflink | LinkMode::Hardlink | LinkMode::Copy => "copy",
        }
    }
}

fn read_marker(pool: &Dir) -> Result<Option<Marker>> {
    let Some(text) = pool.try_read(MARKER)? else { return Ok(None) };
    let marker = serde_json::from_slice(&text).map_err(|error| {
        Error::corrupt(crate::path::display(&pool.path_of(MARKER)).to_string(), error.to_string())
    })?;
    Ok(Some(marker))
}

fn check_marker(spec: &MountSpec, marker: &Marker, store: &str) -> Result<()> {
    if marker.version != 1 {
        return Err(spec.fail(format!("its marker has version {}", marker.version)));
    }
    if marker.store != store {
        return Err(spec.fail(format!("it belongs to the store with id {}", marker.store)));
    }
    if marker.name != spec.name {
        return Err(spec.fail(format!("the mount {:?} is mounted there", marker.name)));
    }
    Ok(())
}

fn has_views(pool: &Dir) -> Result<bool> {
    match pool.try_stat(b"views")? {
        Some(_) => Ok(!pool.dir(b"views")?.names()?.is_empty()),
        None => Ok(false),
    }
}

fn choose(spec: &MountSpec, can: &Capabilities) -> Result<Strategy> {
    let possible = |strategy| match strategy {
        Strategy::Exchange => can.exchange,
        Strategy::Symlink => can.symlink,
    };
    match spec.swap {
        Some(wanted) if possible(wanted) => Ok(wanted),
        Some(wanted) => Err(spec.unable(format!("its file system cannot swap by {wanted}"))),
        None if can.exchange => Ok(Strategy::Exchange),
        None if can.symlink => Ok(Strategy::Symlink),
        None => Err(spec.unable("its file system can neither exchange directories nor link")),
    }
}

/// Tries in a scratch directory what a swap and a link need.
fn probe(pool: &Dir) -> Result<Capabilities> {
    let name = format!("probe-{}", hex_random()?).into_bytes();
    pool.make_dir(&name, 0o700)?;
    let result = probe_in(&pool.dir(&name)?);
    pool.remove_all(&name)?;
    result
}

fn probe_in(dir: &Dir) -> Result<Capabilities> {
    dir.make_dir(b"a", 0o700)?;
    dir.make_dir(b"b", 0o700)?;
    let inode = dir.stat(b"a")?.ino;
    let exchange = dir.exchange(b"a", dir, b"b").is_ok() && dir.stat(b"b")?.ino == inode;

    let symlink = dir
        .symlink(b"a", b"l1")
        .and_then(|()| dir.symlink(b"b", b"l2"))
        .and_then(|()| dir.rename(b"l2", dir, b"l1", Replace::Yes))
        .is_ok()
        && dir.read_link(b"l1")? == b"b";

    let mut file = dir.create(b"f")?;
    file.write_all(&[7; 8192])?;
    let hardlink = dir.link(b"f", dir, b"g").is_ok() && dir.stat(b"g")?.nlink == 2;
    let reflink = dir.create(b"h")?.reflink_from(&file).is_ok();
    Ok(Capabilities { exchange, symlink, hardlink, reflink })
}
