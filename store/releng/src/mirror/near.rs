//! A mirror in a directory.

use cairn_store::fs::{Dir, Kind};
use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::tree::{DirEntry, Entry, Nodes, Tree};

use super::fetch::{Fetch, Outcome, Sink, clause};
use super::{DEVIATIONS, Deviation, Wrong, compare_entry, kind_name};
use crate::error::Result;

/// How many deviations a walk keeps; the report lists fewer, and counts them.
const KEPT: usize = 100 * DEVIATIONS;

/// A directory that somebody else writes to.
pub(super) struct Near {
    dir: Dir,
}

impl Near {
    pub fn open(place: &str) -> Result<Self> {
        Ok(Self { dir: Dir::open(std::path::Path::new(place))? })
    }
}

fn outcome(error: &cairn_store::Error) -> Outcome {
    match error.is_not_found() || error.is(rustix::io::Errno::NOTDIR) {
        true => Outcome::Missing,
        false => Outcome::Failed(clause(error)),
    }
}

fn read(dir: &Dir, name: &[u8], most: u64, sink: &mut Sink<'_>) -> Outcome {
    let opened = dir.stat(name).and_then(|stat| match stat.kind {
        Kind::File => Ok(Ok(dir.open_file(name)?)),
        other => Ok(Err(kind_name(other))),
    });
    let mut file = match opened {
        Ok(Ok(file)) => file,
        Ok(Err(kind)) => return Outcome::NoFile(kind),
        Err(error) => return outcome(&error),
    };
    // Between the two it may have become another thing.
    match file.stat() {
        Ok(stat) if stat.kind == Kind::File => {}
        Ok(stat) => return Outcome::NoFile(kind_name(stat.kind)),
        Err(error) => return outcome(&error),
    }
    let mut buffer = vec![0; 256 << 10];
    let mut done = 0u64;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Outcome::Whole,
            Ok(got) => {
                done += got as u64;
                if done > most {
                    return Outcome::Larger;
                }
                sink(&buffer[..got]);
            }
            Err(error) => return Outcome::Failed(clause(&error)),
        }
    }
}

impl Fetch for Near {
    fn read(
        &self,
        path: &RelPath,
        most: u64,
        sink: &mut Sink<'_>,
        _observer: &dyn Observer,
    ) -> Result<Outcome> {
        let Some((parent, name)) = path.split_last() else { return Ok(Outcome::Missing) };
        Ok(match self.dir.dir_at(&parent) {
            Ok(dir) => read(&dir, name, most, sink),
            Err(error) => outcome(&error),
        })
    }

    fn above(
        &self,
        up: usize,
        name: &str,
        most: u64,
        sink: &mut Sink<'_>,
        _observer: &dyn Observer,
    ) -> Result<Outcome> {
        let place = self.dir.path().join(["..", "/"].concat().repeat(up));
        Ok(match Dir::open(&place) {
            Ok(dir) => read(&dir, name.as_bytes(), most, sink),
            Err(error) => outcome(&error),
        })
    }

    fn can_walk(&self) -> bool {
        true
    }

    fn walk(
        &self,
        nodes: &dyn Nodes,
        root: &DirEntry,
        observer: &dyn Observer,
    ) -> Result<Vec<Deviation>> {
        let mut walk = Walk { nodes, observer, found: Vec::new() };
        walk.below(&self.dir, &RelPath::ROOT, root)?;
        Ok(walk.found)
    }
}

struct Walk<'a> {
    nodes: &'a dyn Nodes,
    observer: &'a dyn Observer,
    found: Vec<Deviation>,
}

impl Walk<'_> {
    fn add(&mut self, path: RelPath, wrong: Wrong, found: Option<String>) {
        if self.found.len() < KEPT {
            self.found.push(Deviation { path, wrong, found, snapshot: None });
        }
    }

    fn below(&mut self, dir: &Dir, path: &RelPath, tree: &DirEntry) -> Result<()> {
        if self.observer.interrupted() {
            return Err(cairn_store::Error::Interrupted.into());
        }
        let tree = self.nodes.tree(&tree.tree)?;
        for (name, entry) in tree.entries() {
            let path = path.join(name);
            self.entry(dir, name, &path, entry)?;
        }
        self.extras(dir, path, &tree)
    }

    fn entry(&mut self, dir: &Dir, name: &[u8], path: &RelPath, entry: &Entry) -> Result<()> {
        if entry.as_dir().is_none() {
            self.observer.advance(1, 0);
        }
        let stat = match dir.try_stat(name) {
            Ok(Some(stat)) => stat,
            Ok(None) => {
                self.add(path.clone(), Wrong::Missing, None);
                return Ok(());
            }
            Err(error) => {
                self.add(path.clone(), Wrong::Unreadable, Some(clause(&error)));
                return Ok(());
            }
        };
        if let Some((wrong, found)) = compare_entry(entry, stat.kind, stat.size) {
            self.add(path.clone(), wrong, found);
            return Ok(());
        }
        match entry {
            Entry::File(_) => Ok(()),
            Entry::Symlink(link) => {
                match dir.read_link(name) {
                    Ok(target) if *target == *link.target => {}
                    Ok(target) => {
                        let shown = cairn_store::path::Escaped(&target).to_string();
                        self.add(path.clone(), Wrong::Target, Some(shown));
                    }
                    Err(error) => self.add(path.clone(), Wrong::Unreadable, Some(clause(&error))),
                }
                Ok(())
            }
            Entry::Dir(tree) => match dir.dir(name) {
                Ok(below) => self.below(&below, path, tree),
                Err(error) => {
                    self.add(path.clone(), Wrong::Unreadable, Some(clause(&error)));
                    Ok(())
                }
            },
        }
    }

    /// Names what is there and should not be; a directory once, whatever is in it.
    fn extras(&mut self, dir: &Dir, path: &RelPath, tree: &Tree) -> Result<()> {
        let mut names = match dir.names() {
            Ok(names) => names,
            Err(error) => {
                self.add(path.clone(), Wrong::Unreadable, Some(clause(&error)));
                return Ok(());
            }
        };
        names.sort_unstable();
        for name in names {
            // rsync's own, while it is at work.
            if tree.get(&name).is_none() && !name.starts_with(b".~tmp~") {
                self.add(path.join(&name), Wrong::Extra, None);
            }
        }
        Ok(())
    }
}
