//! Rows: from what is on a mount and the manifests of its views, in the order of the paths.
//!
//! A list is sorted bytewise by whole paths, where `a-b` comes before `a/c`; a walk by names is
//! not. Per directory this is a matter of when to go into which subdirectory ([`bytewise`]), so
//! rows come in their final order and nothing is sorted. The walk is cut into units of some
//! thousand rows that are rendered in parallel and handed on in order; memory holds a few of them
//! whatever the size of the tree.

use std::sync::Arc;

use rayon::prelude::*;

use cairn_store::fs::{Dir, Kind};
use cairn_store::id::{ObjectId, TreeId};
use cairn_store::progress::Observer;
use cairn_store::tree::{DirEntry, Entry, Nodes, Tree};
use cairn_store::{Error, Result, Store};

use super::live::{Facts, Live, Target, Thing, is_volatile};
use super::times::{Block, Times};

/// How many rows one thread renders at a time.
const UNIT: u64 = 1024;
/// How many rows are in memory at a time; both lists take some 200 bytes per row.
const BATCH: u64 = 16 * UNIT;
/// What a directory takes on most file systems, in bytes, where nobody can be asked.
const DIR_SIZE: u64 = 4096;

/// A view whose tree is live, with everything that its rows need.
pub(super) struct Source<'a> {
    /// Its root in the manifest.
    pub root: DirEntry,
    /// When what appeared.
    pub times: &'a Times,
    /// Its live directory.
    pub live: &'a Dir,
}

/// Which kinds of list are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    pub paths: bool,
    pub times: bool,
}

/// Some rows of both kinds of list.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub paths: Vec<u8>,
    pub times: Vec<u8>,
    pub path_rows: u64,
    pub time_rows: u64,
    /// Every repomd.xml among the rows, by its path from the list's root.
    pub repomds: Vec<(Vec<u8>, Repomd)>,
    /// Paths that no line can hold.
    pub unlisted: Vec<Vec<u8>>,
}

/// Where the content of a repomd.xml is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Repomd {
    /// In the pool.
    Object(ObjectId),
    /// On the mount only.
    Live,
}

/// Who may read a directory's entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// All.
    Open,
    /// Not all: some directory above bars others.
    Restricted,
    /// Not even the group: nothing of it is in a time list.
    Hidden,
}

impl Access {
    fn below(self, mode: u32) -> Self {
        match self {
            Access::Hidden => Access::Hidden,
            _ if mode & 0o040 == 0 => Access::Hidden,
            Access::Open if mode & 0o004 != 0 => Access::Open,
            Access::Open | Access::Restricted => Access::Restricted,
        }
    }
}

/// One step through a directory.
enum Step {
    /// The entry at this index is the next row.
    Row(usize),
    /// What is below the entry at this index follows; it is the n-th directory here.
    Below(usize, usize),
}

/// Visits the entries of a directory, so that whole paths ascend. They come sorted by name, and
/// say whether they are directories.
fn bytewise<'n>(
    entries: impl Iterator<Item = (&'n [u8], bool)>,
    mut visit: impl FnMut(Step) -> Result<()>,
) -> Result<()> {
    // Directories whose rows are out and whose content is not. Each begins with the name of the
    // one under it and goes on with a byte before `/`, so the last one is always the next.
    let mut open: Vec<(&[u8], usize, usize)> = Vec::new();
    let mut dirs = 0;
    for (index, (name, is_dir)) in entries.enumerate() {
        while let Some(&(above, dir, nth)) = open.last()
            && name.strip_prefix(above).is_none_or(|rest| rest.first() > Some(&b'/'))
        {
            open.pop();
            visit(Step::Below(dir, nth))?;
        }
        visit(Step::Row(index))?;
        if is_dir {
            open.push((name, index, dirs));
            dirs += 1;
        }
    }
    while let Some((_, dir, nth)) = open.pop() {
        visit(Step::Below(dir, nth))?;
    }
    Ok(())
}

fn is_listable(name: &[u8]) -> bool {
    !name.contains(&b'\n') && !is_volatile(name)
}

/// Renders the rows of one root.
pub(super) struct Renderer<'a> {
    pub store: &'a Store,
    pub views: &'a [Source<'a>],
    pub want: Want,
    pub observer: &'a dyn Observer,
}

/// A directory of a view on the way.
#[derive(Clone)]
struct Place<'a> {
    view: &'a Source<'a>,
    /// Its path from the list's root, empty or with a slash at the end.
    path: Vec<u8>,
    /// How much of that leads to the view.
    inside: usize,
    access: Access,
}

enum Unit<'a> {
    Ready(Chunk),
    Rows { place: Place<'a>, tree: Arc<Tree>, rows: Vec<usize>, times: &'a [i64] },
    Below { place: Place<'a>, dir: TreeId, words: &'a [i64] },
}

/// Where chunks go, in order.
pub(super) type Emit<'e> = dyn FnMut(Vec<Chunk>) -> Result<()> + Send + 'e;

impl<'a> Renderer<'a> {
    /// Hands on the rows below a root, which is not a row itself.
    pub fn run(&'a self, live: &Live, emit: &mut Emit<'_>) -> Result<()> {
        let (units, ready) = (Vec::new(), Vec::new());
        let mut planner = Planner { renderer: self, emit, units, weight: 0, ready };
        planner.live(live, &mut Vec::new(), Access::Open)?;
        planner.flush()?;
        planner.flush()
    }

    fn render(&self, unit: Unit<'a>) -> Result<Chunk> {
        let mut out = Chunk::default();
        match unit {
            Unit::Ready(chunk) => return Ok(chunk),
            Unit::Rows { mut place, tree, rows, times } => {
                for index in rows {
                    let (name, entry) = tree.entries().at(index);
                    self.entry(&mut place, name, entry, times[index], &mut out)?;
                }
            }
            Unit::Below { mut place, dir, words } => {
                self.below(&mut place, &dir, words, &mut out)?;
            }
        }
        self.observer.advance(out.path_rows.max(out.time_rows), 0);
        Ok(out)
    }

    fn below(
        &self,
        place: &mut Place<'a>,
        dir: &TreeId,
        words: &'a [i64],
        out: &mut Chunk,
    ) -> Result<()> {
        let tree = self.store.tree(dir)?;
        let block = Block::of(words, &tree)?;
        let dirs = block.dirs(&tree)?;
        bytewise(
            tree.entries().iter().map(|(name, entry)| (name, entry.as_dir().is_some())),
            |step| match step {
                Step::Row(index) => {
                    let (name, entry) = tree.entries().at(index);
                    self.entry(place, name, entry, block.times()[index], out)
                }
                Step::Below(index, nth) => {
                    let (name, entry) = tree.entries().at(index);
                    let Some(child) = entry.as_dir().filter(|_| is_listable(name)) else {
                        return Ok(());
                    };
                    let (len, access) = (place.path.len(), place.access);
                    place.access = access.below(child.mode);
                    if self.shows(place.access) {
                        place.path.extend_from_slice(name);
                        place.path.push(b'/');
                        self.below(place, &child.tree, dirs[nth], out)?;
                        place.path.truncate(len);
                    }
                    place.access = access;
                    Ok(())
                }
            },
        )
    }

    /// Returns whether anything of a directory reaches a list.
    fn shows(&self, access: Access) -> bool {
        self.want.paths || access != Access::Hidden
    }

    fn entry(
        &self,
        place: &mut Place<'a>,
        name: &[u8],
        entry: &Entry,
        time: i64,
        out: &mut Chunk,
    ) -> Result<()> {
        let len = place.path.len();
        place.path.extend_from_slice(name);
        let result = self.entry_at(place, name, entry, time, out);
        place.path.truncate(len);
        result
    }

    fn entry_at(
        &self,
        place: &Place<'a>,
        name: &[u8],
        entry: &Entry,
        time: i64,
        out: &mut Chunk,
    ) -> Result<()> {
        let (path, live) = (place.path.as_slice(), place.view.live);
        if !is_listable(name) {
            out.leave_out(name, path);
            return Ok(());
        }
        // What only a time list shows need not be asked for others.
        let asks = self.want.times && place.access != Access::Hidden;
        let (kind, mode, size) = match entry {
            Entry::File(file) => {
                if asks && name == REPOMD && file.mode & 0o040 != 0 {
                    out.repomds.push((path.to_vec(), Repomd::Object(file.object)));
                }
                (Kind::File, file.mode, file.size)
            }
            Entry::Dir(dir) if asks && dir.mode & 0o040 != 0 => {
                let stat = live.try_stat(&path[place.inside..])?;
                (Kind::Dir, dir.mode, stat.map_or(DIR_SIZE, |stat| stat.size))
            }
            Entry::Dir(dir) => (Kind::Dir, dir.mode, DIR_SIZE),
            Entry::Symlink(link) => {
                let leads = asks && live.leads_somewhere(&path[place.inside..]);
                // A link has no mode of its own; one that leads nowhere is hidden by ours.
                let mode = if leads { 0o777 } else { 0 };
                (Kind::Symlink, mode, link.target.len() as u64)
            }
        };
        out.row(self.want, place.access, path, kind, Facts { mode, size, time });
        Ok(())
    }
}

/// The file whose checksum a time list carries.
const REPOMD: &[u8] = b"repomd.xml";

/// Goes through the tree and cuts it into units.
struct Planner<'a, 'e> {
    renderer: &'a Renderer<'a>,
    emit: &'e mut Emit<'e>,
    units: Vec<Unit<'a>>,
    /// About how many rows the units make.
    weight: u64,
    ready: Vec<Chunk>,
}

impl<'a> Planner<'a, '_> {
    fn push(&mut self, unit: Unit<'a>, rows: u64) -> Result<()> {
        self.units.push(unit);
        self.weight += rows;
        if self.weight >= BATCH { self.flush() } else { Ok(()) }
    }

    /// Renders what has come together while what was rendered before is written.
    fn flush(&mut self) -> Result<()> {
        if self.renderer.observer.interrupted() {
            return Err(Error::Interrupted);
        }
        let (units, ready) = (std::mem::take(&mut self.units), std::mem::take(&mut self.ready));
        self.weight = 0;
        let (emit, renderer) = (&mut self.emit, self.renderer);
        let render = || units.into_par_iter().map(|unit| renderer.render(unit)).collect();
        let (emitted, rendered) = rayon::join(|| emit(ready), render);
        emitted?;
        let rendered: Result<Vec<Chunk>> = rendered;
        self.ready = rendered?;
        Ok(())
    }

    fn live(&mut self, live: &Live, path: &mut Vec<u8>, access: Access) -> Result<()> {
        let entries = live.entries.iter().map(|(name, thing)| {
            let is_dir = matches!(thing, Thing::Dir(..) | Thing::View(_));
            (&**name, is_dir)
        });
        bytewise(entries, |step| {
            let (Step::Row(index) | Step::Below(index, _)) = step;
            let (name, thing) = &live.entries[index];
            let len = path.len();
            path.extend_from_slice(name);
            let result = match step {
                Step::Row(_) => self.live_row(name, thing, path, access),
                Step::Below(..) if !is_listable(name) => Ok(()),
                Step::Below(..) => {
                    path.push(b'/');
                    self.live_below(thing, path, access)
                }
            };
            path.truncate(len);
            result
        })
    }

    fn live_row(&mut self, name: &[u8], thing: &Thing, path: &[u8], access: Access) -> Result<()> {
        let want = self.renderer.want;
        let (kind, facts) = match thing {
            Thing::File(facts) => (Kind::File, *facts),
            Thing::Symlink(facts, Target::There) => (Kind::Symlink, *facts),
            Thing::Symlink(facts, Target::Missing) => (Kind::Symlink, Facts { mode: 0, ..*facts }),
            Thing::Dir(facts, _) => (Kind::Dir, *facts),
            Thing::View(view) => {
                let view = &self.renderer.views[*view];
                let (mode, size) = (view.root.mode, view.live.stat_self()?.size);
                (Kind::Dir, Facts { mode, size, time: view.times.root })
            }
        };
        if !matches!(self.units.last(), Some(Unit::Ready(chunk)) if chunk.path_rows.max(chunk.time_rows) < UNIT)
        {
            self.push(Unit::Ready(Chunk::default()), 0)?;
        }
        let Some(Unit::Ready(chunk)) = self.units.last_mut() else { return Ok(()) };
        if !is_listable(name) {
            chunk.leave_out(name, path);
            return Ok(());
        }
        chunk.row(want, access, path, kind, facts);
        let shown = access != Access::Hidden && facts.mode & 0o040 != 0;
        if want.times && shown && kind == Kind::File && name == REPOMD {
            chunk.repomds.push((path.to_vec(), Repomd::Live));
        }
        self.weight += 1;
        if self.weight >= BATCH { self.flush() } else { Ok(()) }
    }

    fn live_below(&mut self, thing: &Thing, path: &mut Vec<u8>, access: Access) -> Result<()> {
        match thing {
            Thing::File(_) | Thing::Symlink(..) => Ok(()),
            Thing::Dir(facts, live) => self.live(live, path, access.below(facts.mode)),
            Thing::View(view) => {
                let view = &self.renderer.views[*view];
                let access = access.below(view.root.mode);
                let place = Place { view, path: path.clone(), inside: path.len(), access };
                self.tree(place, &view.root, &view.times.words)
            }
        }
    }

    fn tree(&mut self, mut place: Place<'a>, dir: &DirEntry, words: &'a [i64]) -> Result<()> {
        if !self.renderer.shows(place.access) {
            return Ok(());
        }
        if dir.files <= UNIT {
            return self.push(Unit::Below { place, dir: dir.tree, words }, dir.files);
        }
        let tree = self.renderer.store.tree(&dir.tree)?;
        let block = Block::of(words, &tree)?;
        let (dirs, times) = (block.dirs(&tree)?, block.times());
        let mut rows = Vec::new();
        let len = place.path.len();
        bytewise(
            tree.entries().iter().map(|(name, entry)| (name, entry.as_dir().is_some())),
            |step| match step {
                Step::Row(index) => {
                    rows.push(index);
                    match rows.len() as u64 >= UNIT {
                        true => self.rows(&place, &tree, std::mem::take(&mut rows), times),
                        false => Ok(()),
                    }
                }
                Step::Below(index, nth) => {
                    let (name, entry) = tree.entries().at(index);
                    let Some(child) = entry.as_dir().filter(|_| is_listable(name)) else {
                        return Ok(());
                    };
                    self.rows(&place, &tree, std::mem::take(&mut rows), times)?;
                    place.path.extend_from_slice(name);
                    place.path.push(b'/');
                    let below = Place { access: place.access.below(child.mode), ..place.clone() };
                    place.path.truncate(len);
                    self.tree(below, child, dirs[nth])
                }
            },
        )?;
        self.rows(&place, &tree, rows, times)
    }

    fn rows(
        &mut self,
        place: &Place<'a>,
        tree: &Arc<Tree>,
        rows: Vec<usize>,
        times: &'a [i64],
    ) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let count = rows.len() as u64;
        self.push(Unit::Rows { place: place.clone(), tree: tree.clone(), rows, times }, count)
    }
}

impl Chunk {
    /// Adds a path to the lists that show it.
    fn row(&mut self, want: Want, access: Access, path: &[u8], kind: Kind, facts: Facts) {
        if want.paths {
            self.paths.extend_from_slice(b"./");
            self.paths.extend_from_slice(path);
            self.paths.push(b'\n');
            self.path_rows += 1;
        }
        if !want.times || access == Access::Hidden || facts.mode & 0o040 == 0 {
            return;
        }
        let kind = match kind {
            Kind::File => b'f',
            Kind::Dir => b'd',
            Kind::Symlink | Kind::Other(_) => b'l',
        };
        let out = &mut self.times;
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(digits.format(facts.time).as_bytes());
        out.extend_from_slice(&[b'\t', kind]);
        if facts.mode & 0o004 == 0 {
            out.push(b'-');
        } else if access == Access::Restricted {
            out.push(b'*');
        }
        out.push(b'\t');
        out.extend_from_slice(digits.format(facts.size).as_bytes());
        out.push(b'\t');
        out.extend_from_slice(path);
        out.push(b'\n');
        self.time_rows += 1;
    }

    fn leave_out(&mut self, name: &[u8], path: &[u8]) {
        if !is_volatile(name) {
            self.unlisted.push(path.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_ascend_by_whole_paths() {
        let names: [&[u8]; 9] = [b"a", b"a-", b"a-b", b"a.", b"a0", b"ab", b"b", b"b!", b"c"];
        let mut paths = Vec::new();
        bytewise(names.iter().map(|name| (*name, true)), |step| {
            paths.push(match step {
                Step::Row(index) => names[index].to_vec(),
                Step::Below(index, nth) => {
                    assert_eq!(index, nth);
                    [names[index], b"/x"].concat()
                }
            });
            Ok(())
        })
        .unwrap();
        let mut sorted = paths.clone();
        sorted.sort();
        assert_eq!(paths, sorted);
        assert_eq!(paths.len(), 18);
    }
}
