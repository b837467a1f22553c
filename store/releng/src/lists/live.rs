//! What is on a mount below a list's root and in no view: keys, a README, links, the directories
//! above the views.
//!
//! The walk never goes into a view, the pool or the store, and does not see the lists themselves.
//! Such a directory's time is pinned when it is first seen, in `<pool>/lists/<root>.dirs`,
//! because writing a list into it moves its mtime. Little-endian: `cairndr1`, then per directory
//! the length of its path (u32), the path and the time (i64), in the order of the paths, then
//! BLAKE3 of all that. A lost file is made again from the list that is there.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use cairn_store::fs::{Dir, Kind, Stat};
use cairn_store::id::ObjectId;
use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::{Error, Result};

use super::times::{seal, unseal};

const MAGIC: &[u8; 8] = b"cairndr1";
/// How many names one thread looks at before another may help.
const SHARE: usize = 64;

/// A directory that no view covers, with everything that the walk may see, sorted by name.
#[derive(Debug, Default)]
pub(super) struct Live {
    pub entries: Vec<(Box<[u8]>, Thing)>,
}

/// What a name in such a directory stands for.
#[derive(Debug)]
pub(super) enum Thing {
    File(Facts),
    Symlink(Facts, Target),
    Dir(Facts, Live),
    /// A view, by its place among those of the run.
    View(usize),
}

/// What `lstat` says of a path, as far as a list wants to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub mode: u32,
    pub size: u64,
    pub time: i64,
}

/// Whether a symbolic link leads somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    There,
    Missing,
}

/// Times of directories by their paths from the list's root.
pub(super) type Pins = BTreeMap<Vec<u8>, i64>;

/// What a walk must know.
pub(super) struct Survey<'a> {
    /// The views by their paths on the mount.
    pub views: &'a BTreeMap<RelPath, usize>,
    /// The lists of every root and their predecessors, as paths on the mount.
    pub lists: &'a BTreeSet<RelPath>,
    /// Device and inode of directories that are nobody's business: the pool, the store.
    pub closed: &'a [(u64, u64)],
    pub observer: &'a dyn Observer,
}

impl Survey<'_> {
    /// Walks `dir`, whose path on the mount is `path`.
    pub fn walk(&self, dir: &Dir, path: &RelPath) -> Result<Live> {
        if self.observer.interrupted() {
            return Err(Error::Interrupted);
        }
        let mut names = dir.names()?;
        names.retain(|name| !is_volatile(name));
        names.sort_unstable();
        let found = names
            .into_par_iter()
            .with_min_len(SHARE)
            .map(|name| {
                let thing = self.thing(dir, &name, &path.join(&name))?;
                Ok(thing.map(|thing| (name, thing)))
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Live { entries: found.into_iter().flatten().collect() })
    }

    fn thing(&self, dir: &Dir, name: &[u8], path: &RelPath) -> Result<Option<Thing>> {
        if let Some(view) = self.views.get(path) {
            return Ok(Some(Thing::View(*view)));
        }
        if self.lists.contains(path) {
            return Ok(None);
        }
        let Some(stat) = dir.try_stat(name)? else { return Ok(None) };
        let facts =
            Facts { mode: stat.mode, size: stat.size, time: stat.mtime.secs.max(stat.ctime.secs) };
        Ok(match stat.kind {
            Kind::File => Some(Thing::File(facts)),
            Kind::Symlink => Some(Thing::Symlink(
                facts,
                match dir.leads_somewhere(name) {
                    true => Target::There,
                    false => Target::Missing,
                },
            )),
            Kind::Dir if self.is_closed(&stat) => None,
            Kind::Dir => {
                let below = dir.dir(name).and_then(|dir| self.walk(&dir, path));
                match below {
                    // A directory that we may not read, such as lost+found, is a row.
                    Err(error) if is_denied(&error) => Some(Thing::Dir(facts, Live::default())),
                    Err(error) if error.is_not_found() => None,
                    below => Some(Thing::Dir(facts, below?)),
                }
            }
            Kind::Other(_) => None,
        })
    }

    fn is_closed(&self, stat: &Stat) -> bool {
        self.closed.contains(&(stat.dev, stat.ino))
    }
}

/// What rsync and NFS keep for a moment is nobody's content.
pub(super) fn is_volatile(name: &[u8]) -> bool {
    name == b".~tmp~" || name.starts_with(b".nfs")
}

fn is_denied(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied)
}

impl Live {
    /// Returns a hash of everything that reaches a list from here.
    pub fn digest(&self) -> ObjectId {
        let mut bytes = Vec::with_capacity(self.entries.len() * 64);
        for (name, thing) in &self.entries {
            bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
            bytes.extend_from_slice(name);
            let (kind, facts) = match thing {
                Thing::File(facts) => (b'f', Some(facts)),
                Thing::Symlink(facts, Target::There) => (b'l', Some(facts)),
                Thing::Symlink(facts, Target::Missing) => (b'm', Some(facts)),
                Thing::Dir(facts, _) => (b'd', Some(facts)),
                Thing::View(_) => (b'v', None),
            };
            bytes.push(kind);
            if let Some(facts) = facts {
                bytes.extend_from_slice(&facts.mode.to_le_bytes());
                bytes.extend_from_slice(&facts.size.to_le_bytes());
            }
            match thing {
                Thing::File(facts) | Thing::Symlink(facts, _) => {
                    bytes.extend_from_slice(&facts.time.to_le_bytes());
                }
                Thing::Dir(_, live) => bytes.extend_from_slice(live.digest().as_bytes()),
                Thing::View(_) => {}
            }
        }
        ObjectId::of(&bytes)
    }

    /// Gives every directory the time that it was first seen with, and returns all of these.
    pub fn pin(&mut self, known: &Pins) -> Pins {
        let mut pins = Pins::new();
        self.each_dir(&mut Vec::new(), &mut |path, facts| {
            facts.time = known.get(path).copied().unwrap_or(facts.time);
            pins.insert(path.to_vec(), facts.time);
        });
        pins
    }

    /// Returns the paths of the directories.
    fn dirs(&mut self) -> BTreeSet<Vec<u8>> {
        let mut paths = BTreeSet::new();
        self.each_dir(&mut Vec::new(), &mut |path, _| {
            paths.insert(path.to_vec());
        });
        paths
    }

    fn each_dir(&mut self, path: &mut Vec<u8>, visit: &mut dyn FnMut(&[u8], &mut Facts)) {
        for (name, thing) in &mut self.entries {
            if let Thing::Dir(facts, live) = thing {
                let len = path.len();
                path.extend_from_slice(name);
                visit(path, facts);
                path.push(b'/');
                live.each_dir(path, visit);
                path.truncate(len);
            }
        }
    }

    /// Finds the directories' times in a list that was written before.
    pub fn pins_from_list(&mut self, list: &[u8]) -> Pins {
        let dirs = self.dirs();
        let mut pins = Pins::new();
        for line in list.split(|byte| *byte == b'\n') {
            let mut fields = line.splitn(4, |byte| *byte == b'\t');
            let (time, kind) = (fields.next(), fields.next());
            if let (Some(time), Some(b"d" | b"d-" | b"d*"), Some(path)) =
                (time, kind, fields.nth(1))
                && let Some(time) = std::str::from_utf8(time).ok().and_then(|t| t.parse().ok())
                && dirs.contains(path)
            {
                pins.insert(path.to_vec(), time);
            }
        }
        pins
    }
}

/// Returns the bytes of a `.dirs` file.
pub(super) fn encode_pins(pins: &Pins) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    for (path, time) in pins {
        out.extend_from_slice(&(path.len() as u32).to_le_bytes());
        out.extend_from_slice(path);
        out.extend_from_slice(&time.to_le_bytes());
    }
    seal(&mut out);
    out
}

/// Reads a `.dirs` file; nothing when it is damaged.
pub(super) fn decode_pins(bytes: &[u8]) -> Option<Pins> {
    let mut rest = unseal(bytes)?.strip_prefix(MAGIC)?;
    let mut pins = Pins::new();
    while !rest.is_empty() {
        let (len, tail) = rest.split_first_chunk::<4>()?;
        let (path, tail) = tail.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        let (time, tail) = tail.split_first_chunk::<8>()?;
        pins.insert(path.to_vec(), i64::from_le_bytes(*time));
        rest = tail;
    }
    Some(pins)
}
