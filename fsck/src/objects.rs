//! The pools: every inode of every object that is there, and every object that a ref needs.

use std::collections::{BTreeMap, HashMap, HashSet};

use cairn_store::fs::{Kind, Stat};
use cairn_store::id::{ObjectId, TreeId};
use cairn_store::mount::Mount;
use cairn_store::path::RelPath;
use cairn_store::pool::Copy;
use cairn_store::tree::{DirEntry, Entry, FileEntry, Nodes};
use cairn_store::{Error, Result};
use rayon::prelude::*;

use crate::check::Check;
use crate::finding::MAX_AFFECTED;
use crate::{Code, Level};

/// An object that a ref needs, as the first path has it that was met.
pub(crate) struct Wanted {
    pub file: FileEntry,
    /// The mounts whose views show it, by their position; none when any pool will do.
    mounts: u64,
}

/// What a pool holds under the name of an object.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    /// Whether its size and, in a full check, its content are right.
    pub sound: bool,
}

/// One pool as it was found.
#[derive(Default)]
pub(crate) struct PoolState {
    pub main: HashMap<ObjectId, Held>,
    /// The object of every inode, siblings included.
    pub inodes: HashMap<u64, ObjectId>,
    /// Inodes whose content is not the object's.
    pub damaged: HashSet<u64>,
}

/// An inode of an object that is missing or is not what it should be.
#[derive(Clone, Debug)]
pub(crate) struct Bad {
    pub mount: String,
    pub copy: Copy,
    pub code: Code,
    pub message: String,
    /// The inode that is there instead.
    pub ino: Option<u64>,
}

/// Everything that the refs need.
#[derive(Default)]
pub(crate) struct Needs {
    pub objects: HashMap<ObjectId, Wanted>,
    seen: HashMap<TreeId, u64>,
}

impl Needs {
    /// Returns the trees that were met.
    pub fn trees(&self) -> impl Iterator<Item = TreeId> {
        self.seen.keys().copied()
    }

    /// Adds what is below a directory; `lost` hears of what no pack has.
    pub fn add(
        &mut self,
        nodes: &dyn Nodes,
        dir: &DirEntry,
        mount: u64,
        path: &RelPath,
        lost: &mut dyn FnMut(&RelPath, &TreeId, Error),
    ) {
        let seen = self.seen.entry(dir.tree).or_insert(0);
        // The first visit counts even where it is for no mount.
        const VISITED: u64 = 1 << 63;
        if *seen & VISITED != 0 && *seen & mount == mount {
            return;
        }
        *seen |= VISITED | mount;
        let tree = match nodes.tree(&dir.tree) {
            Ok(tree) => tree,
            Err(error) => return lost(path, &dir.tree, error),
        };
        for (name, entry) in tree.entries() {
            match entry {
                Entry::File(file) if !file.object.is_empty_file() => {
                    let wanted = self.objects.entry(file.object);
                    wanted.or_insert(Wanted { file: *file, mounts: 0 }).mounts |= mount;
                }
                Entry::Dir(child) => self.add(nodes, child, mount, &path.join(name), lost),
                Entry::File(_) | Entry::Symlink(_) => {}
            }
        }
    }
}

/// Looks at every inode in every pool, and for every object that must be there.
pub(crate) fn check(
    check: &mut Check<'_>,
    needs: &Needs,
    mounts: &BTreeMap<String, Mount>,
) -> Result<(BTreeMap<String, PoolState>, Vec<Bad>)> {
    let bytes = match check.level {
        Level::Quick => 0,
        Level::Full => needs.objects.values().map(|wanted| wanted.file.size).sum(),
    };
    check.observer.begin("Checking objects", needs.objects.len() as u64, bytes);
    let mut pools = BTreeMap::new();
    let mut bad = Vec::new();
    for (name, mount) in mounts {
        let prefixes = (0..=255u8).into_par_iter();
        let found = prefixes.map(|prefix| look_at(check, needs, name, mount, prefix));
        let mut state = PoolState::default();
        for Prefix { inodes, wrong, hashed } in found.collect::<Result<Vec<_>>>()? {
            check.report.objects += inodes.len() as u64;
            check.report.bytes_hashed += hashed;
            for (copy, ino) in inodes {
                let sound = !wrong.iter().any(|bad| bad.copy == copy);
                state.inodes.insert(ino, copy.id);
                if !sound {
                    state.damaged.insert(ino);
                }
                if copy.sibling == 0 {
                    state.main.insert(copy.id, Held { sound });
                }
            }
            bad.extend(wrong);
        }
        pools.insert(name.clone(), state);
    }
    missing(needs, mounts, &pools, &mut bad)?;
    bad.sort_by_key(|bad| (bad.copy.id, bad.mount.clone(), bad.copy.sibling));
    Ok((pools, bad))
}

/// The objects whose id begins with one byte.
struct Prefix {
    inodes: Vec<(Copy, u64)>,
    wrong: Vec<Bad>,
    hashed: u64,
}

fn look_at(
    check: &Check<'_>,
    needs: &Needs,
    name: &str,
    mount: &Mount,
    prefix: u8,
) -> Result<Prefix> {
    let unit = format!("objects {name} {prefix:02x}");
    let known = check.resume.is_done(&unit);
    let mut found = Prefix { inodes: Vec::new(), wrong: Vec::new(), hashed: 0 };
    for (copy, stat) in mount.pool().list(prefix)? {
        if check.observer.interrupted() {
            return Err(Error::Interrupted);
        }
        let size = needs.objects.get(&copy.id).map(|wanted| wanted.file.size);
        let wrong = match (check.level, known) {
            _ if stat.kind != Kind::File => Some((Code::ObjectDamaged, "it is no file".to_owned())),
            _ if size.is_some_and(|size| size != stat.size) => {
                let message = format!("it has {} bytes, not {}", stat.size, size.unwrap_or(0));
                Some((Code::ObjectSize, message))
            }
            (Level::Full, false) => {
                found.hashed += stat.size;
                read(check, mount, &copy, &stat)?
            }
            (Level::Full, true) | (Level::Quick, _) => None,
        };
        if let Some((code, message)) = wrong {
            let message = match copy.sibling {
                0 => format!("in the pool of {name}: {message}"),
                number => format!("in the pool of {name}, sibling {number}: {message}"),
            };
            let (mount, ino) = (name.to_owned(), Some(stat.ino));
            found.wrong.push(Bad { mount, copy, code, message, ino });
        }
        found.inodes.push((copy, stat.ino));
        check.observer.advance(1, if check.level == Level::Full { stat.size } else { 0 });
    }
    if check.level == Level::Full && found.wrong.is_empty() && !known {
        check.resume.finish(&unit);
    }
    Ok(found)
}

fn read(
    check: &Check<'_>,
    mount: &Mount,
    copy: &Copy,
    stat: &Stat,
) -> Result<Option<(Code, String)>> {
    let hashed = mount
        .pool()
        .open_copy(copy)
        .and_then(|mut file| check.limit.hash(&mut file, stat, check.observer));
    match hashed {
        Ok(found) if found == copy.id => Ok(None),
        Ok(found) => Ok(Some((Code::ObjectDamaged, format!("its content hashes to {found}")))),
        Err(Error::Interrupted) => Err(Error::Interrupted),
        // Another command has removed it since it was listed.
        Err(error) if error.is_not_found() => Ok(None),
        Err(error @ Error::Io { .. }) => {
            Ok(Some((Code::ObjectUnreadable, crate::index::reason(&error))))
        }
        Err(error) => Ok(Some((Code::ObjectDamaged, crate::index::reason(&error)))),
    }
}

/// Finds what a ref needs and the pool that must have it lacks.
fn missing(
    needs: &Needs,
    mounts: &BTreeMap<String, Mount>,
    pools: &BTreeMap<String, PoolState>,
    bad: &mut Vec<Bad>,
) -> Result<()> {
    for (id, wanted) in &needs.objects {
        let mut anywhere = false;
        for (bit, (name, state)) in pools.iter().enumerate() {
            let has = state.main.contains_key(id);
            anywhere |= has;
            if has || wanted.mounts & (1 << bit) == 0 {
                continue;
            }
            anywhere = true;
            // It may have come in since the pool was listed.
            if mounts[name].pool().stat(id)?.is_none() {
                bad.push(Bad {
                    mount: name.clone(),
                    copy: Copy::main(*id),
                    code: Code::ObjectMissing,
                    message: format!("it is not in the pool of {name}"),
                    ino: None,
                });
            }
        }
        let stats = mounts.values().map(|mount| mount.pool().stat(id));
        if !anywhere && !stats.collect::<Result<Vec<_>>>()?.iter().any(Option::is_some) {
            bad.push(Bad {
                mount: String::new(),
                copy: Copy::main(*id),
                code: Code::ObjectMissing,
                message: "it is in no pool".into(),
                ino: None,
            });
        }
    }
    Ok(())
}

/// Returns the bit of a mount among these.
pub(crate) fn bit_of(mounts: &BTreeMap<String, Mount>, name: &str) -> u64 {
    mounts.keys().position(|mount| mount == name).map_or(0, |position| 1 << position)
}

/// Where some objects are used, in one tree after another.
pub(crate) struct Uses<'a> {
    nodes: &'a dyn Nodes,
    objects: &'a HashSet<ObjectId>,
    /// Whether a tree holds any of them, at any depth.
    holds: HashMap<TreeId, bool>,
}

impl<'a> Uses<'a> {
    pub fn new(nodes: &'a dyn Nodes, objects: &'a HashSet<ObjectId>) -> Self {
        Self { nodes, objects, holds: HashMap::new() }
    }

    fn holds(&mut self, id: &TreeId) -> bool {
        if let Some(holds) = self.holds.get(id) {
            return *holds;
        }
        let Ok(tree) = self.nodes.tree(id) else { return false };
        let mut holds = false;
        for (_, entry) in tree.entries() {
            holds |= match entry {
                Entry::File(file) => self.objects.contains(&file.object),
                Entry::Dir(dir) => self.holds(&dir.tree),
                Entry::Symlink(_) => false,
            };
        }
        self.holds.insert(*id, holds);
        holds
    }

    /// Calls `visit` for every use below a directory.
    pub fn below(
        &mut self,
        dir: &DirEntry,
        path: &RelPath,
        visit: &mut dyn FnMut(&RelPath, &FileEntry),
    ) {
        if !self.holds(&dir.tree) {
            return;
        }
        let Ok(tree) = self.nodes.tree(&dir.tree) else { return };
        for (name, entry) in tree.entries() {
            match entry {
                Entry::File(file) if self.objects.contains(&file.object) => {
                    visit(&path.join(name), file);
                }
                Entry::Dir(child) => self.below(child, &path.join(name), visit),
                Entry::File(_) | Entry::Symlink(_) => {}
            }
        }
    }
}

/// Adds a use to a list that is long enough at some point.
pub(crate) fn note_use(uses: &mut Vec<String>, who: &str, path: &RelPath) {
    if uses.len() < MAX_AFFECTED {
        uses.push(format!("{who}:{path}"));
    }
}
