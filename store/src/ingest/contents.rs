//! Which content every inode of an ingest has.

use rayon::prelude::*;

use super::{Found, FoundDir, FoundFile, InodeKey};
use crate::error::{Error, Result};
use crate::id::ObjectId;
use crate::path::RelPath;

/// Which content every file has that a walk has found. There may be millions, and each is asked for
/// once: so inodes are numbered, in their order, and nothing is searched for.
pub(super) struct Contents {
    /// The number of each entry's inode, the directories one after another; of entries that are no
    /// files it says nothing.
    numbers: Vec<u32>,
    /// The content of each inode, as far as it is known.
    objects: Vec<Option<ObjectId>>,
}

impl Contents {
    /// Returns the content of the file that is this entry of a directory, if it is known.
    pub fn get(&self, dir: &FoundDir, entry: usize) -> Option<ObjectId> {
        self.objects[self.numbers[dir.before + entry] as usize]
    }

    /// Says what an inode's content is.
    pub fn set(&mut self, number: u32, object: ObjectId) {
        self.objects[number as usize] = Some(object);
    }
}

/// The first name of an inode.
#[derive(Clone, Copy)]
pub(super) struct Name {
    pub inode: InodeKey,
    /// The directory's place in the list of them.
    pub dir: u32,
    /// The entry's place in the directory.
    pub entry: u32,
}

impl Name {
    pub fn file<'a>(&self, dirs: &[(RelPath, &'a FoundDir)]) -> &'a FoundFile {
        match &dirs[self.dir as usize].1.entries[self.entry as usize].1 {
            Found::File(file) => file,
            Found::Dir(_) | Found::Symlink(_) => unreachable!("only files have such a name"),
        }
    }
}

/// Every inode's first name.
pub(super) struct Names {
    /// In the order of the inodes: an inode's number is its place here.
    pub sorted: Vec<Name>,
    /// Where their contents go; none is known yet.
    pub contents: Contents,
}

impl Names {
    /// Lists them.
    ///
    /// # Errors
    /// Two names of one inode that are not of one size and time: it changed during the walk.
    pub fn of(dirs: &[(RelPath, &FoundDir)]) -> Result<Self> {
        let entries = dirs.iter().map(|(_, dir)| dir.entries.len()).sum();
        let mut sorted = Vec::with_capacity(entries);
        for (dir, (_, found)) in (0..).zip(dirs) {
            for (entry, (_, found)) in (0..).zip(&found.entries) {
                if let Found::File(file) = found {
                    sorted.push(Name { inode: file.inode, dir, entry });
                }
            }
        }
        sorted.par_sort_unstable_by_key(|name: &Name| (name.inode, name.dir, name.entry));
        let mut numbers = vec![0; entries];
        let (mut changed, mut count, mut last) = (None, 0, None);
        sorted.retain(|name: &Name| {
            let first = last.filter(|last: &Name| last.inode == name.inode);
            match first.map(|first| (first.file(dirs), name.file(dirs))) {
                Some((a, b)) if (a.size, a.mtime) != (b.size, b.mtime) => changed = Some(*name),
                Some(_) => {}
                None => {
                    last = Some(*name);
                    count += 1;
                }
            }
            numbers[dirs[name.dir as usize].1.before + name.entry as usize] = count - 1;
            first.is_none()
        });
        match changed {
            None => {
                let objects = vec![None; sorted.len()];
                Ok(Self { sorted, contents: Contents { numbers, objects } })
            }
            Some(Name { dir, entry, .. }) => {
                let (path, found) = &dirs[dir as usize];
                let path = path.join(found.name(entry as usize));
                Err(Error::Changed { path: path.as_path().into(), what: "size or time" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::{count_entries, list_dirs};
    use super::*;
    use crate::fs::{Dir, Stat, Time};

    fn dir_of(stat: Stat, inodes: &[u64], below: Vec<FoundDir>) -> FoundDir {
        let mut dir = FoundDir::new(stat);
        let files = inodes.iter().map(|ino| {
            Found::File(FoundFile {
                mode: 0o644,
                sparse: false,
                size: *ino,
                mtime: Time::default(),
                ctime: Time::default(),
                links: 1,
                inode: InodeKey { dev: 1, ino: *ino },
            })
        });
        let below = below.into_iter().map(|dir| Found::Dir(Box::new(dir)));
        for (number, found) in files.chain(below).enumerate() {
            dir.names.extend_from_slice(format!("{number:04}").as_bytes());
            dir.entries.push((dir.names.len(), found));
        }
        dir
    }

    proptest! {
        #[test]
        fn every_name_of_an_inode_has_its_content(
            inodes in prop::collection::vec(prop::collection::vec(0u64..12, 0..6), 1..5),
        ) {
            let stat = Dir::open(Path::new(".")).unwrap().stat_self().unwrap();
            let (mine, others) = inodes.split_first().unwrap();
            let below = others.iter().map(|inodes| dir_of(stat, inodes, Vec::new())).collect();
            let mut root = dir_of(stat, mine, below);
            count_entries(&mut root, 0);
            let dirs = list_dirs(&root);
            let Names { sorted, mut contents } = Names::of(&dirs).unwrap();
            let mut known = BTreeMap::new();
            for (number, name) in (0..).zip(&sorted) {
                let ino = name.inode.ino;
                let object = ObjectId::of(&ino.to_le_bytes());
                prop_assert_eq!(name.file(&dirs).inode, name.inode);
                // Some stay unknown.
                if ino % 3 != 0 {
                    contents.set(number, object);
                    prop_assert_eq!(known.insert(ino, object), None);
                }
            }
            for (_, dir) in &dirs {
                for (entry, (_, found)) in dir.entries.iter().enumerate() {
                    if let Found::File(file) = found {
                        let expected = known.get(&file.inode.ino).copied();
                        prop_assert_eq!(contents.get(dir, entry), expected);
                    }
                }
            }
        }
    }
}
