//! New metadata from old: a package set is matched with metadata that is already known.
//!
//! A package's elements are copied byte for byte from where they were described before, so that a
//! repository that gains one package changes by one package. Only packages that nothing describes
//! are read from their headers. What does not belong to the set costs a scan and no memory.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead};
use std::sync::PoisonError;
use std::thread;

use crate::checksum::Checksum;
use crate::codec::{self, Limits};
use crate::error::{Error, Result};
use crate::header::FileFacts;
use crate::list::{Children, List};
use crate::lists::Keep;
use crate::pool::{Place, Pool};
use crate::primary::Location;
use crate::segments;
use crate::write::{Elements, Held, Pools, RepodataBuilder};
use crate::xml;

/// The three package lists of one repository, decompressed: names for errors, and readers.
#[derive(Debug)]
pub struct Lists<'a, P, F, O> {
    /// `primary.xml`.
    pub primary: (&'a str, P),
    /// `filelists.xml`.
    pub filelists: (&'a str, F),
    /// `other.xml`.
    pub other: (&'a str, O),
}

/// A package set on its way to new metadata.
///
/// ```no_run
/// # use cairn_repodata::{header::{FileFacts, Package}, merge::{Lists, Merge}, write::*};
/// # fn main() -> cairn_repodata::Result<()> {
/// # let (set, old): (Vec<FileFacts>, Lists<'_, &[u8], &[u8], &[u8]>) = todo!();
/// # let open = |facts: &FileFacts| -> &[u8] { todo!() };
/// let mut merge = Merge::new(set)?;
/// merge.load(old)?;
/// let mut builder = RepodataBuilder::new(Options::default());
/// for facts in merge.unknown() {
///     builder.package(&Package::read(open(facts), facts.clone())?)?;
/// }
/// merge.finish(&mut builder)?;
/// let files = builder.finish()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Merge {
    /// By package id.
    wanted: HashMap<Checksum, FileFacts>,
    known: HashMap<Checksum, Known>,
    /// The elements of each load.
    loads: Vec<Pools>,
}

/// What other metadata says of a package.
#[derive(Debug)]
struct Known {
    /// Which load its elements are of.
    load: usize,
    primary: Place,
    filelists: Place,
    other: Place,
    at: Location,
    /// Where the location is in the `primary` element.
    location: std::ops::Range<usize>,
}

/// What became of a package set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Merged {
    /// Packages whose elements were copied.
    pub carried: usize,
    /// Packages that were read from their headers.
    pub fresh: usize,
}

impl Merge {
    /// Starts with the files that the repository is to have.
    ///
    /// # Errors
    ///
    /// Two files with one content: their package id could not tell them apart.
    pub fn new(set: impl IntoIterator<Item = FileFacts>) -> Result<Merge> {
        let mut wanted: HashMap<Checksum, FileFacts> = HashMap::new();
        for facts in set {
            let href = facts.href.clone();
            if let Some(twin) = wanted.insert(Checksum::from_sha256(facts.sha256), facts) {
                let reason = format!("the same package is at {}", twin.href);
                return Err(Error::record("package set", href, reason));
            }
        }
        Ok(Merge { wanted, known: HashMap::new(), loads: Vec::new() })
    }

    /// Takes what it can use from the lists of one repository, which are read in parallel. What
    /// was loaded first wins, so load the repository's own state before any other: it keeps its
    /// bytes.
    ///
    /// # Errors
    ///
    /// Anything malformed; packages that only some of the lists have; elements that cannot be
    /// copied into another document. Nothing is taken then.
    pub fn load<P, F, O>(&mut self, lists: Lists<'_, P, F, O>) -> Result<()>
    where
        P: BufRead + Send,
        F: BufRead + Send,
        O: BufRead + Send,
    {
        let Lists { primary, filelists, other } = lists;
        let names = (filelists.0, other.0);
        let merge = &*self;
        let (found, files, changes) = thread::scope(|scope| {
            let files = scope.spawn(|| merge.read_elements(filelists, "filelists", Holder::new()));
            let changes = scope.spawn(|| merge.read_elements(other, "otherdata", Holder::new()));
            let found = merge.read_primary(primary, Holder::new());
            (found, join(files), join(changes))
        });
        self.take(names, found?, files?, changes?)
    }

    /// As [`Merge::load`], from files that may be compressed. Lists that [`RepodataBuilder`] wrote
    /// are taken apart, so that what does not change needs not be compressed again.
    ///
    /// # Errors
    ///
    /// Those of [`Merge::load`].
    pub fn load_files(&mut self, [primary, filelists, other]: [ListFile<'_>; 3]) -> Result<()> {
        let names = (filelists.name, other.name);
        let merge = &*self;
        let elements = |file: ListFile<'_>, root| {
            each_way(&file, |reader, holder| merge.read_elements(reader, root, holder))
        };
        let (found, files, changes) = thread::scope(|scope| {
            let files = scope.spawn(|| elements(filelists, "filelists"));
            let changes = scope.spawn(|| elements(other, "otherdata"));
            let found = each_way(&primary, |reader, holder| merge.read_primary(reader, holder));
            (found, join(files), join(changes))
        });
        self.take(names, found?, files?, changes?)
    }

    /// As [`Merge::load_files`], with a `primary` that was read before.
    ///
    /// # Errors
    ///
    /// Those of [`Merge::load`].
    pub fn load_with(
        &mut self,
        primary: Primary,
        filelists: ListFile<'_>,
        other: ListFile<'_>,
    ) -> Result<()> {
        let names = (filelists.name, other.name);
        let Primary { pool, mut found } = primary;
        let load = self.loads.len();
        found.retain(|_, known| {
            known.load = load;
            self.wants(&known.at)
        });
        let merge = &*self;
        let elements = |file: ListFile<'_>, root| {
            each_way(&file, |reader, holder| merge.read_elements(reader, root, holder))
        };
        let (files, changes) = thread::scope(|scope| {
            let changes = scope.spawn(|| elements(other, "otherdata"));
            (elements(filelists, "filelists"), join(changes))
        });
        self.take(names, (pool, found), files?, changes?)
    }

    /// Takes what was read of three lists, if they agree.
    fn take(
        &mut self,
        (filelists_name, other_name): (&str, &str),
        (primary, mut found): (Pool, HashMap<Checksum, Known>),
        (filelists, files): (Pool, HashMap<Checksum, Place>),
        (other, changes): (Pool, HashMap<Checksum, Place>),
    ) -> Result<()> {
        for (pkgid, known) in &mut found {
            let place = |places: &HashMap<Checksum, Place>, file: &str| {
                places.get(pkgid).copied().ok_or_else(|| {
                    let reason = format!("primary has it at {}, this list does not", known.at.href);
                    Error::record(file, pkgid.hex(), reason)
                })
            };
            let (filelists, other) = (place(&files, filelists_name)?, place(&changes, other_name)?);
            (known.filelists, known.other) = (filelists, other);
        }
        self.loads.push(Pools { primary, filelists, other });
        for (pkgid, known) in found {
            self.known.entry(pkgid).or_insert(known);
        }
        Ok(())
    }

    /// Returns the files that nothing loaded so far describes, sorted by location.
    pub fn unknown(&self) -> Vec<&FileFacts> {
        let unknown = self.wanted.iter().filter(|(pkgid, _)| !self.known.contains_key(pkgid));
        let by_href: BTreeMap<_, _> =
            unknown.map(|(_, facts)| (facts.href.as_str(), facts)).collect();
        by_href.into_values().collect()
    }

    /// Adds what is known to `builder`, to which the caller has added what is not.
    ///
    /// # Errors
    ///
    /// A file that neither loaded metadata nor the caller described.
    pub fn finish(self, builder: &mut RepodataBuilder) -> Result<Merged> {
        let merged = self.carry(builder);
        // Also after an error: what was added until then refers to them.
        builder.adopt(self.loads);
        merged
    }

    /// Adds what is known, with elements in pools that the builder is about to adopt.
    fn carry(&self, builder: &mut RepodataBuilder) -> Result<Merged> {
        let mut merged = Merged { carried: 0, fresh: 0 };
        // In the order of locations, which is nearly that of the pools.
        let mut wanted: Vec<(&str, &Checksum)> =
            self.wanted.iter().map(|(pkgid, facts)| (facts.href.as_str(), pkgid)).collect();
        wanted.sort_unstable();
        let mut readers: Vec<_> = self.loads.iter().map(|pools| pools.primary.reader()).collect();
        let first = builder.adopted();
        for (href, pkgid) in wanted {
            let Some(known) = self.known.get(pkgid) else {
                if builder.has(href) {
                    merged.fresh += 1;
                    continue;
                }
                let reason = "no metadata describes it and its header was not read";
                return Err(Error::record("package set", href, reason));
            };
            let held = |place| Held { pools: first + known.load, place };
            let primary = match known.is_at(href) {
                true => held(known.primary),
                false => {
                    let element = readers[known.load].get(known.primary);
                    let element = element.map_err(|source| cannot_hold("primary", source))?;
                    let mut tag = "<location".to_owned();
                    xml::attribute(&mut tag, "href", href);
                    tag.push_str("/>");
                    let (before, after) =
                        (&element[..known.location.start], &element[known.location.end..]);
                    builder.hold_primary(&[before, tag.as_bytes(), after])?
                }
            };
            let (filelists, other) = (held(known.filelists), held(known.other));
            let pkgid = pkgid.clone();
            builder.elements(href, Elements { pkgid, primary, filelists, other })?;
            merged.carried += 1;
        }
        Ok(merged)
    }

    /// Returns whether a package is still to be described.
    fn needs(&self, pkgid: &Checksum) -> bool {
        self.wanted.contains_key(pkgid) && !self.known.contains_key(pkgid)
    }

    /// Returns whether a package is still to be described, and this describes it.
    fn wants(&self, at: &Location) -> bool {
        // A wrong size is a wrong description: the header will say.
        let same_size = self.wanted.get(&at.pkgid).is_some_and(|facts| facts.size == at.size);
        same_size && self.needs(&at.pkgid)
    }

    fn read_primary<R: BufRead>(
        &self,
        list: (&str, R),
        holder: Holder,
    ) -> Result<(Pool, HashMap<Checksum, Known>)> {
        read_primary(list, holder, self.loads.len(), |at| self.wants(at))
    }

    /// Reads the elements of one of the other lists.
    fn read_elements<R: BufRead>(
        &self,
        (file, reader): (&str, R),
        root: &'static str,
        mut holder: Holder,
    ) -> Result<(Pool, HashMap<Checksum, Place>)> {
        let mut list = List::open(file, reader, root, Keep::Yes, Children::Ignored)?;
        let mut found = HashMap::new();
        while list.next()? {
            let pkgid = list.identity()?;
            if self.needs(&pkgid) {
                list.pass(Keep::Yes)?;
                found.insert(pkgid, holder.hold(file, list.kept())?);
            } else {
                list.pass(Keep::No)?;
            }
        }
        list.close()?;
        let (pool, places) = holder.finish(file)?;
        for place in found.values_mut() {
            *place = places.of(*place);
        }
        Ok((pool, found))
    }
}

/// Reads `primary`, and takes what is wanted of it.
fn read_primary<R: BufRead>(
    (file, reader): (&str, R),
    mut holder: Holder,
    load: usize,
    wants: impl Fn(&Location) -> bool,
) -> Result<(Pool, HashMap<Checksum, Known>)> {
    let mut list = List::open(file, reader, "metadata", Keep::Yes, Children::Noted)?;
    let mut found = HashMap::new();
    while list.next()? {
        let (at, location) = list.location(Keep::Yes)?;
        if wants(&at) {
            let primary = holder.hold(file, list.kept())?;
            let (filelists, other) = (Place::default(), Place::default());
            let pkgid = at.pkgid.clone();
            found.insert(pkgid, Known { load, primary, filelists, other, at, location });
        }
    }
    list.close()?;
    let (pool, places) = holder.finish(file)?;
    for known in found.values_mut() {
        known.primary = places.of(known.primary);
    }
    Ok((pool, found))
}

/// A whole `primary`, read once: it says where packages are, and then what they are.
#[derive(Debug)]
pub struct Primary {
    pool: Pool,
    found: HashMap<Checksum, Known>,
}

impl Primary {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// Those of [`Merge::load`].
    pub fn read(file: &ListFile<'_>) -> Result<Primary> {
        let read = |list: (&str, &mut dyn BufRead), holder| read_primary(list, holder, 0, |_| true);
        let (pool, found) = each_way(file, read)?;
        Ok(Primary { pool, found })
    }

    /// Returns how many packages it has.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Returns whether it has none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Returns where the packages are, in no order.
    pub fn locations(&self) -> impl Iterator<Item = &Location> {
        self.found.values().map(|known| &known.at)
    }

    /// Returns where the package of this id is.
    pub fn location(&self, pkgid: &Checksum) -> Option<&Location> {
        self.found.get(pkgid).map(|known| &known.at)
    }
}

/// One list, in a file as it is.
#[derive(Debug)]
pub struct ListFile<'a> {
    /// Its name, for errors.
    pub name: &'a str,
    /// Its bytes.
    pub bytes: &'a [u8],
    /// How much may come out of it.
    pub limits: Limits,
}

/// Reads a file by its segments if it has them and they are sound, else the common way: that one
/// tells what is wrong with it.
fn each_way<T>(
    file: &ListFile<'_>,
    read: impl Fn((&str, &mut dyn BufRead), Holder) -> Result<T>,
) -> Result<T> {
    if let Some(member) = segments::cut(file.bytes) {
        let (mut reader, starts) = segments::Reader::new(&member, file.limits);
        let packed = member.segments.iter().map(|segment| Box::from(*segment)).collect();
        let holder = Holder::Segments { packed, starts, held: Vec::new() };
        if let Ok(done) = read((file.name, &mut reader), holder) {
            return Ok(done);
        }
    }
    let mut reader = codec::decoder(file.name, file.bytes, file.limits)?;
    read((file.name, &mut reader), Holder::new())
}

/// Takes the elements of a list.
enum Holder {
    /// Their bytes.
    Pool(Pool),
    /// Where they are in segments that are kept as a whole.
    Segments {
        packed: Vec<Box<[u8]>>,
        starts: segments::Starts,
        /// Where each begins in the list, and its size.
        held: Vec<(u64, usize)>,
    },
}

/// Where elements are, once the whole list was read.
enum Places {
    Known,
    /// By their number.
    Late(Vec<Place>),
}

impl Places {
    fn of(&self, place: Place) -> Place {
        match self {
            Places::Known => place,
            Places::Late(places) => places[place.size()],
        }
    }
}

impl Holder {
    fn new() -> Holder {
        Holder::Pool(Pool::default())
    }

    /// Takes the element that was kept, with a line feed at its end.
    fn hold(&mut self, file: &str, (element, start): (&[u8], u64)) -> Result<Place> {
        match self {
            Holder::Pool(pool) => {
                let held = pool.push(&[element, b"\n"]);
                held.map_err(|source| cannot_hold(file, source))
            }
            Holder::Segments { held, .. } => {
                held.push((start, element.len() + 1));
                // Its number, until it is known where the segments begin.
                Ok(Place::within(0, 0, held.len() - 1))
            }
        }
    }

    /// Returns the pool.
    fn finish(self, file: &str) -> Result<(Pool, Places)> {
        let (packed, starts, held) = match self {
            Holder::Pool(pool) => return Ok((pool, Places::Known)),
            Holder::Segments { packed, starts, held } => (packed, starts, held),
        };
        let starts = std::mem::take(&mut *starts.lock().unwrap_or_else(PoisonError::into_inner));
        let mut used = vec![false; packed.len()];
        let mut sizes = vec![0; packed.len()];
        let mut places = Vec::with_capacity(held.len());
        for (start, size) in held {
            let block = starts.partition_point(|first| *first <= start).saturating_sub(1);
            let first = starts.get(block).copied().unwrap_or_default();
            let next = starts.get(block + 1).copied().unwrap_or(first);
            // Over the end of a segment, or in the last, which is the list's end: not ours.
            if start + size as u64 > next {
                let reason = "segments that do not end between packages";
                return Err(Error::record(file, "package", reason));
            }
            used[block] = true;
            sizes[block] = (next - first) as usize;
            places.push(Place::within(block, (start - first) as usize, size));
        }
        // What nobody will ask for needs no room.
        let blocks = packed.into_iter().zip(used).zip(sizes);
        let blocks =
            blocks.map(|((packed, used), size)| (if used { packed } else { Box::default() }, size));
        Ok((Pool::of_segments(blocks), Places::Late(places)))
    }
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl Known {
    /// Returns whether the `primary` element says that the package is at `href`.
    fn is_at(&self, href: &str) -> bool {
        self.at.href == href && self.at.base.is_none()
    }
}

fn cannot_hold(file: &str, source: io::Error) -> Error {
    Error::Io { file: file.to_owned(), source }
}
