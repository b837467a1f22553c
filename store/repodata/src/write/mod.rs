//! Writing a repository's metadata: packages and other data in, files out.
//!
//! The result depends on nothing but what was put in: packages are sorted by location, records
//! have a fixed order, and times are the caller's. So the same set gives the same bytes.

mod package;

use std::collections::BTreeMap;
use std::io;
use std::thread;

use sha2::Digest;

use crate::checksum::Checksum;
use crate::codec::{self, Encoder, Limits};
use crate::error::{Error, Result};
use crate::header::Package;
use crate::pool::{Place, Pool};
use crate::repomd::{self, Record, Repomd, Tags};
use crate::segments;

pub use crate::codec::Compression;

/// How to write metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// How files are compressed; gzip by default.
    pub compression: Compression,
    /// What `repomd.xml` calls this state; nothing by default. Often the release's number.
    pub revision: Option<String>,
    /// What the repository says about itself; nothing by default.
    pub tags: Tags,
    /// The time of every record in seconds since 1970; none by default. To be reproducible, take
    /// the newest time of any input.
    pub timestamp: Option<i64>,
    /// How files are named; by checksum by default.
    pub names: FileNames,
}

/// How metadata files are named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FileNames {
    /// `<sha256>-primary.xml.gz`: new content has a new name, so that no cache mixes states.
    #[default]
    Checksum,
    /// `primary.xml.gz`.
    Plain,
}

/// One file to be written under `repodata/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepodataFile {
    /// Its name, without a directory.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Collects what a repository has and makes its metadata.
#[derive(Debug, Clone)]
pub struct RepodataBuilder {
    options: Options,
    /// By location.
    packages: BTreeMap<String, Elements>,
    /// Where their elements are: the first is the builder's own.
    pools: Vec<Pools>,
    /// By type.
    extras: BTreeMap<String, Extra>,
    /// Package lists that are there already, instead of ones that are made.
    lists: Option<Vec<Record>>,
}

/// The elements of a package that was read from its headers, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    href: String,
    pkgid: Checksum,
    primary: String,
    filelists: String,
    other: String,
}

impl Rendered {
    /// Makes the elements.
    pub fn new(package: &Package) -> Rendered {
        let (mut primary, mut filelists, mut other) = Default::default();
        package::primary(&mut primary, &package.primary);
        package::filelists(&mut filelists, package);
        package::other(&mut other, package);
        let (href, pkgid) = (package.primary.href.clone(), package.primary.pkgid.clone());
        Rendered { href, pkgid, primary, filelists, other }
    }

    /// Returns where the package is, relative to the repository's directory.
    pub fn href(&self) -> &str {
        &self.href
    }
}

/// The elements of some packages, for each of the three lists.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pools {
    pub(crate) primary: Pool,
    pub(crate) filelists: Pool,
    pub(crate) other: Pool,
}

/// Where a package's elements are, each with a line feed at its end.
#[derive(Debug, Clone)]
pub(crate) struct Elements {
    pub(crate) pkgid: Checksum,
    pub(crate) primary: Held,
    pub(crate) filelists: Held,
    pub(crate) other: Held,
}

/// A text in one of the builder's pools.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) pools: usize,
    pub(crate) place: Place,
}

#[derive(Debug, Clone)]
enum Extra {
    /// Content, still to be compressed and named.
    Plain(Vec<u8>),
    /// A record and its file, as they are.
    Carried(Box<Record>, RepodataFile),
}

/// What errors call the result.
const FILE: &str = "repomd.xml";

/// The number of the builder's own pools.
const OWN: usize = 0;

fn cannot_hold(source: io::Error) -> Error {
    Error::Io { file: FILE.to_owned(), source }
}

impl RepodataBuilder {
    /// Starts with nothing.
    pub fn new(options: Options) -> RepodataBuilder {
        let (packages, extras) = (BTreeMap::new(), BTreeMap::new());
        RepodataBuilder { options, packages, pools: vec![Pools::default()], extras, lists: None }
    }

    /// Sets how to write, which may be known only once all packages are.
    pub fn set_options(&mut self, options: Options) -> &mut RepodataBuilder {
        self.options = options;
        self
    }

    /// Adds a package that was read from its headers.
    ///
    /// # Errors
    ///
    /// A location that another package has.
    pub fn package(&mut self, package: &Package) -> Result<&mut RepodataBuilder> {
        self.rendered(&Rendered::new(package))
    }

    /// Adds a package whose elements were made beforehand, perhaps on another thread.
    ///
    /// # Errors
    ///
    /// A location that another package has.
    pub fn rendered(&mut self, package: &Rendered) -> Result<&mut RepodataBuilder> {
        let own = &mut self.pools[OWN];
        let hold = |pool: &mut Pool, text: &str| {
            let place = pool.push(&[text.as_bytes()]).map_err(cannot_hold)?;
            Ok(Held { pools: OWN, place })
        };
        let primary = hold(&mut own.primary, &package.primary)?;
        let filelists = hold(&mut own.filelists, &package.filelists)?;
        let other = hold(&mut own.other, &package.other)?;
        let pkgid = package.pkgid.clone();
        self.elements(&package.href, Elements { pkgid, primary, filelists, other })?;
        Ok(self)
    }

    /// Returns the number that [`Held`] has for the first pools that are adopted next.
    pub(crate) fn adopted(&self) -> usize {
        self.pools.len()
    }

    /// Takes elements that others read.
    pub(crate) fn adopt(&mut self, pools: Vec<Pools>) {
        self.pools.extend(pools);
    }

    /// Takes the text of an element of `primary`.
    pub(crate) fn hold_primary(&mut self, parts: &[&[u8]]) -> Result<Held> {
        let place = self.pools[OWN].primary.push(parts).map_err(cannot_hold)?;
        Ok(Held { pools: OWN, place })
    }

    pub(crate) fn elements(&mut self, href: &str, elements: Elements) -> Result<()> {
        if self.packages.insert(href.to_owned(), elements).is_some() {
            return Err(Error::record(FILE, href, "two packages have this location"));
        }
        Ok(())
    }

    pub(crate) fn has(&self, href: &str) -> bool {
        self.packages.contains_key(href)
    }

    /// Adds other data by its type: `group`, `modules`, `updateinfo`, `productid` or any other.
    ///
    /// `bytes` may be compressed; they are stored as [`Options::compression`] says. Comps are
    /// stored twice, as `group` without compression and as `group_xz` or the like with it: old
    /// clients read the first only.
    ///
    /// # Errors
    ///
    /// A type that is no plain word, that describes packages, or that was added before; bytes that
    /// cannot be decompressed.
    pub fn extra(&mut self, kind: &str, bytes: Vec<u8>) -> Result<&mut RepodataBuilder> {
        let plain = match Compression::sniff(&bytes) {
            Compression::None => bytes,
            _ => codec::decompress(kind, &bytes, Limits::default())?,
        };
        self.insert(kind, Extra::Plain(plain))
    }

    /// Adds a record of another repository with its file, both as they are. What
    /// [`repomd::describes_packages`] would be out of date here, and so would another form
    /// ([`repomd::content_of`]) of what is added as content: leave both out.
    ///
    /// # Errors
    ///
    /// Those of [`RepodataBuilder::extra`]; bytes that are not what the record says.
    pub fn carry(&mut self, record: &Record, bytes: Vec<u8>) -> Result<&mut RepodataBuilder> {
        record.verify(&bytes)?;
        let name = record.href.rsplit('/').next().unwrap_or_default();
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.+~".contains(&b));
        if !plain || name.starts_with('.') || name.is_empty() || name == FILE {
            let reason = format!("file name {name:?} is not a plain word");
            return Err(Error::record(FILE, &*record.kind, reason));
        }
        let file = RepodataFile { name: name.to_owned(), bytes };
        let href = format!("repodata/{name}");
        let record = Record { href, base: None, ..record.clone() };
        let kind = record.kind.clone();
        self.insert(&kind, Extra::Carried(Box::new(record), file))
    }

    fn insert(&mut self, kind: &str, extra: Extra) -> Result<&mut RepodataBuilder> {
        let plain = kind.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !plain || kind.is_empty() || kind.starts_with('.') {
            return Err(Error::record(FILE, kind, "the type is not a plain word"));
        }
        if ["primary", "filelists", "other"].contains(&kind) {
            return Err(Error::record(FILE, kind, "this type is made of the packages"));
        }
        if repomd::describes_packages(kind) {
            let reason = "this type describes packages, and not these: leave it out";
            return Err(Error::record(FILE, kind, reason));
        }
        if self.extras.insert(kind.to_owned(), extra).is_some() {
            return Err(Error::record(FILE, kind, "added twice"));
        }
        Ok(self)
    }

    /// Takes the records of package lists, and of whatever says the same in another form, as they
    /// are; then none are made. Their files are the caller's to keep beside those that
    /// [`RepodataBuilder::finish`] returns.
    ///
    /// # Errors
    ///
    /// Records that are not one each of `primary`, `filelists` and `other`, but for other forms.
    pub fn keep_lists(&mut self, records: Vec<Record>) -> Result<&mut RepodataBuilder> {
        for list in [PRIMARY, FILELISTS, OTHER] {
            let count = records.iter().filter(|record| record.kind == list.kind).count();
            if count != 1 {
                return Err(Error::record(FILE, list.kind, format!("there are {count} of it")));
            }
        }
        let strange = |record: &&Record| {
            let list = [PRIMARY, FILELISTS, OTHER].iter().any(|list| list.kind == record.kind);
            !list && !repomd::describes_packages(&record.kind)
        };
        if let Some(record) = records.iter().find(strange) {
            return Err(Error::record(FILE, &*record.kind, "it says nothing of packages"));
        }
        self.lists = Some(records);
        Ok(self)
    }

    /// Makes all files, `repomd.xml` last.
    ///
    /// # Errors
    ///
    /// Two packages with one id, carried records that are other forms of what is made, and encoders
    /// that cannot be set up.
    pub fn finish(self) -> Result<Vec<RepodataFile>> {
        let RepodataBuilder { options, packages, pools, extras, lists } = self;
        refuse_duplicates(&packages)?;
        refuse_other_forms(&extras)?;
        let (mut primary, mut filelists, mut other) = (Vec::new(), Vec::new(), Vec::new());
        for elements in packages.into_values() {
            // By the id, so that a list is cut in the same places after other packages changed.
            let cut = elements.pkgid.hex().bytes().next().is_some_and(|digit| digit <= b'1');
            primary.push(Listed { held: elements.primary, cut });
            filelists.push(Listed { held: elements.filelists, cut });
            other.push(Listed { held: elements.other, cut });
        }
        let list = |list: List, held| Job {
            kind: list.kind.to_owned(),
            content: Content::List(list, held),
            compression: options.compression,
        };
        let mut jobs = match lists {
            Some(_) => Vec::new(),
            None => vec![list(PRIMARY, primary), list(FILELISTS, filelists), list(OTHER, other)],
        };
        let mut carried = Vec::new();
        for (kind, extra) in in_order(extras) {
            match extra {
                Extra::Plain(bytes) if kind == "group" => {
                    let packed =
                        format!("group_{}", options.compression.suffix().trim_start_matches('.'));
                    if options.compression != Compression::None {
                        jobs.push(Job::new(&packed, bytes.clone(), options.compression));
                    }
                    jobs.push(Job::new("group", bytes, Compression::None));
                }
                Extra::Plain(bytes) => jobs.push(Job::new(&kind, bytes, options.compression)),
                Extra::Carried(record, file) => carried.push((*record, file)),
            }
        }
        let packed: Vec<Result<(Record, RepodataFile)>> = thread::scope(|scope| {
            let (options, pools) = (&options, &*pools);
            let threads: Vec<_> =
                jobs.into_iter().map(|job| scope.spawn(move || job.run(options, pools))).collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect()
        });
        let mut entries = packed.into_iter().collect::<Result<Vec<_>>>()?;
        entries.extend(carried);
        let (made, mut files): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
        let records = lists.into_iter().flatten().chain(made).collect();
        let repomd = Repomd { revision: options.revision, tags: options.tags, records };
        files.push(RepodataFile { name: FILE.to_owned(), bytes: repomd::write(&repomd) });
        Ok(files)
    }
}

fn refuse_duplicates(packages: &BTreeMap<String, Elements>) -> Result<()> {
    let mut seen = std::collections::HashMap::new();
    for (href, elements) in packages {
        if let Some(other) = seen.insert(&elements.pkgid, href) {
            let reason = format!("the same package is at {other}");
            return Err(Error::record(FILE, href, reason));
        }
    }
    Ok(())
}

/// Another form of what is made here, such as `group_gz`, would say what was before.
fn refuse_other_forms(extras: &BTreeMap<String, Extra>) -> Result<()> {
    for kind in extras.keys() {
        let content = repomd::content_of(kind);
        if content != kind && matches!(extras.get(content), Some(Extra::Plain(_))) {
            let reason = format!("another form of {content}, which is made anew: leave it out");
            return Err(Error::record(FILE, kind, reason));
        }
    }
    Ok(())
}

/// Clients read comps and modules next to the packages; the rest is sorted by type.
fn in_order(mut extras: BTreeMap<String, Extra>) -> Vec<(String, Extra)> {
    let first = ["group", "modules", "updateinfo"].map(str::to_owned);
    let mut ordered: Vec<_> =
        first.into_iter().filter_map(|kind| extras.remove_entry(&kind)).collect();
    ordered.extend(extras);
    ordered
}

/// What is around the packages of a list.
#[derive(Clone, Copy)]
struct List {
    kind: &'static str,
    pool: fn(&Pools) -> &Pool,
    root: &'static str,
    namespaces: &'static str,
}

const PRIMARY: List = List {
    kind: "primary",
    pool: |pools| &pools.primary,
    root: "metadata",
    namespaces: "xmlns=\"http://linux.duke.edu/metadata/common\" \
                 xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\"",
};
const FILELISTS: List = List {
    kind: "filelists",
    pool: |pools| &pools.filelists,
    root: "filelists",
    namespaces: "xmlns=\"http://linux.duke.edu/metadata/filelists\"",
};
const OTHER: List = List {
    kind: "other",
    pool: |pools| &pools.other,
    root: "otherdata",
    namespaces: "xmlns=\"http://linux.duke.edu/metadata/other\"",
};

impl List {
    fn head(self, count: usize) -> Vec<u8> {
        let List { root, namespaces, .. } = self;
        let xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
        format!("{xml}\n<{root} {namespaces} packages=\"{count}\">\n").into_bytes()
    }

    fn tail(self) -> Vec<u8> {
        format!("</{}>", self.root).into_bytes()
    }
}

/// A package in a list.
struct Listed {
    held: Held,
    /// Whether a segment that is large enough may end with it.
    cut: bool,
}

/// A segment is to be so large, in bytes, before it may end. Smaller ones compress worse: each is
/// compressed without knowing those before it. Larger ones change more often.
const SEGMENT: usize = 48 << 10;
/// A segment ends when it is so large, in bytes, whatever comes next.
const SEGMENT_MAX: usize = 1 << 20;

/// Divides a list into segments.
fn in_segments(list: &[Listed]) -> impl Iterator<Item = &[Listed]> {
    let mut size = 0;
    list.split_inclusive(move |listed| {
        size += listed.held.place.size();
        let ends = (listed.cut && size >= SEGMENT) || size >= SEGMENT_MAX;
        if ends {
            size = 0;
        }
        ends
    })
}

/// A file to be compressed, named and described.
struct Job {
    kind: String,
    content: Content,
    compression: Compression,
}

enum Content {
    Bytes(Vec<u8>),
    /// A list of packages, in the order that it is to have. It is never in memory as a whole.
    List(List, Vec<Listed>),
}

impl Content {
    /// Passes the content to `visit` piece by piece.
    fn write(
        &self,
        pools: &[Pools],
        mut visit: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let (list, held) = match self {
            Content::Bytes(bytes) => return visit(bytes),
            Content::List(list, held) => (list, held),
        };
        visit(&list.head(held.len()))?;
        let mut readers: Vec<_> = pools.iter().map(|pools| (list.pool)(pools).reader()).collect();
        for Listed { held, .. } in held {
            visit(readers[held.pools].get(held.place)?)?;
        }
        visit(&list.tail())
    }

    /// Returns a list as a gzip member in segments. Those that the metadata has already, from
    /// which the packages were carried over, are taken as they are.
    fn write_segments(
        list: List,
        listed: &[Listed],
        pools: &[Pools],
        size: usize,
        plain: &mut sha2::Sha256,
    ) -> io::Result<Vec<u8>> {
        let pools: Vec<&Pool> = pools.iter().map(|pools| (list.pool)(pools)).collect();
        let mut readers: Vec<_> = pools.iter().map(|pool| pool.reader()).collect();
        let mut writer = segments::Writer::new(size);
        let mut text = list.head(listed.len());
        plain.update(&text);
        writer.segment(&text)?;
        for segment in in_segments(listed) {
            let Some(number) = segment.first().map(|first| first.held.pools) else { continue };
            let one = segment.iter().all(|listed| listed.held.pools == number);
            let places = segment.iter().map(|listed| listed.held.place);
            if let Some((block, packed)) = one.then(|| pools[number].segment(places)).flatten() {
                let text = readers[number].block(block)?;
                plain.update(text);
                writer.again(packed, text);
                continue;
            }
            text.clear();
            for Listed { held, .. } in segment {
                text.extend_from_slice(readers[held.pools].get(held.place)?);
            }
            plain.update(&text);
            writer.segment(&text)?;
        }
        let tail = list.tail();
        plain.update(&tail);
        writer.segment(&tail)?;
        Ok(writer.finish())
    }

    fn size(&self) -> usize {
        match self {
            Content::Bytes(bytes) => bytes.len(),
            Content::List(list, held) => {
                let packages: usize = held.iter().map(|listed| listed.held.place.size()).sum();
                list.head(held.len()).len() + packages + list.tail().len()
            }
        }
    }
}

impl Job {
    fn new(kind: &str, plain: Vec<u8>, compression: Compression) -> Job {
        Job { kind: kind.to_owned(), content: Content::Bytes(plain), compression }
    }

    fn run(self, options: &Options, pools: &[Pools]) -> Result<(Record, RepodataFile)> {
        let Job { kind, content, compression } = self;
        let name = format!("{}{}", base_name(&kind), compression.suffix());
        let io = |source| Error::Io { file: name.clone(), source };
        let size = content.size();
        let mut plain = sha2::Sha256::new();
        let bytes = match (&content, compression) {
            (Content::List(list, listed), Compression::Gzip) => {
                Content::write_segments(*list, listed, pools, size, &mut plain).map_err(io)?
            }
            (Content::List(..) | Content::Bytes(_), _) => {
                let mut encoder = Encoder::new(compression, size).map_err(io)?;
                let written = content.write(pools, |piece| {
                    if compression != Compression::None {
                        plain.update(piece);
                    }
                    encoder.write(piece)
                });
                written.and_then(|()| encoder.finish()).map_err(io)?
            }
        };
        let mut record = Record::describe(&kind, "", &bytes, None);
        if compression != Compression::None {
            record.open_checksum = Some(Checksum::from_sha256(plain.finalize().into()));
            record.open_size = Some(size as u64);
        }
        let name = match options.names {
            FileNames::Checksum => format!("{}-{name}", record.checksum.hex()),
            FileNames::Plain => name,
        };
        record.href = format!("repodata/{name}");
        record.timestamp = options.timestamp;
        Ok((record, RepodataFile { name, bytes }))
    }
}

/// Returns the customary file name of a type.
fn base_name(kind: &str) -> String {
    match kind {
        "primary" | "filelists" | "other" | "updateinfo" => format!("{kind}.xml"),
        "modules" => "modules.yaml".to_owned(),
        group if group == "group" || group.starts_with("group_") => "comps.xml".to_owned(),
        other => other.to_owned(),
    }
}
