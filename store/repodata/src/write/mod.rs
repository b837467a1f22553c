//! Writing a repository's metadata: packages and other data in, files out.
//!
//! The result depends on nothing but what was put in: packages are sorted by location, records
//! have a fixed order, and times are the caller's. So the same set gives the same bytes.

mod package;

use std::collections::BTreeMap;
use std::thread;

use crate::checksum::Checksum;
use crate::codec::{self, Limits};
use crate::error::{Error, Result};
use crate::header::Package;
use crate::repomd::{self, Record, Repomd, Tags};

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
    /// By type.
    extras: BTreeMap<String, Extra>,
}

/// A package's elements in the three lists, each with a line feed at its end.
#[derive(Debug, Clone)]
pub(crate) struct Elements {
    pub(crate) pkgid: Checksum,
    pub(crate) primary: Vec<u8>,
    pub(crate) filelists: Vec<u8>,
    pub(crate) other: Vec<u8>,
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

impl RepodataBuilder {
    /// Starts with nothing.
    pub fn new(options: Options) -> RepodataBuilder {
        RepodataBuilder { options, packages: BTreeMap::new(), extras: BTreeMap::new() }
    }

    /// Adds a package that was read from its headers.
    ///
    /// # Errors
    ///
    /// A location that another package has.
    pub fn package(&mut self, package: &Package) -> Result<&mut RepodataBuilder> {
        let [mut primary, mut filelists, mut other] = [const { String::new() }; 3];
        package::primary(&mut primary, &package.primary);
        package::filelists(&mut filelists, package);
        package::other(&mut other, package);
        let elements = Elements {
            pkgid: package.primary.pkgid.clone(),
            primary: primary.into_bytes(),
            filelists: filelists.into_bytes(),
            other: other.into_bytes(),
        };
        self.elements(&package.primary.href, elements)?;
        Ok(self)
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
    /// [`repomd::describes_packages`] would be out of date here: leave it out.
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

    /// Makes all files, `repomd.xml` last.
    ///
    /// # Errors
    ///
    /// Two packages with one id, and encoders that cannot be set up.
    pub fn finish(self) -> Result<Vec<RepodataFile>> {
        let RepodataBuilder { options, packages, extras } = self;
        refuse_duplicates(&packages)?;
        let packages: Vec<Elements> = packages.into_values().collect();
        let mut jobs = vec![
            Job::new("primary", join(&packages, PRIMARY, |e| &e.primary), options.compression),
            Job::new(
                "filelists",
                join(&packages, FILELISTS, |e| &e.filelists),
                options.compression,
            ),
            Job::new("other", join(&packages, OTHER, |e| &e.other), options.compression),
        ];
        drop(packages);
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
            let options = &options;
            let threads: Vec<_> =
                jobs.into_iter().map(|job| scope.spawn(move || job.run(options))).collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                })
                .collect()
        });
        let mut entries = packed.into_iter().collect::<Result<Vec<_>>>()?;
        entries.extend(carried);
        let (records, mut files): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
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

/// Clients read comps and modules next to the packages; the rest is sorted by type.
fn in_order(mut extras: BTreeMap<String, Extra>) -> Vec<(String, Extra)> {
    let first = ["group", "modules", "updateinfo"].map(str::to_owned);
    let mut ordered: Vec<_> =
        first.into_iter().filter_map(|kind| extras.remove_entry(&kind)).collect();
    ordered.extend(extras);
    ordered
}

const PRIMARY: (&str, &str) = (
    "metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
     xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\"",
    "metadata",
);
const FILELISTS: (&str, &str) =
    ("filelists xmlns=\"http://linux.duke.edu/metadata/filelists\"", "filelists");
const OTHER: (&str, &str) =
    ("otherdata xmlns=\"http://linux.duke.edu/metadata/other\"", "otherdata");

fn join(
    packages: &[Elements],
    (start, end): (&str, &str),
    part: impl Fn(&Elements) -> &Vec<u8>,
) -> Vec<u8> {
    let size: usize = packages.iter().map(|elements| part(elements).len()).sum();
    let mut out = Vec::with_capacity(size + 256);
    let count = packages.len();
    let head =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{start} packages=\"{count}\">\n");
    out.extend_from_slice(head.as_bytes());
    for elements in packages {
        out.extend_from_slice(part(elements));
    }
    out.extend_from_slice(format!("</{end}>").as_bytes());
    out
}

/// A file to be compressed, named and described.
struct Job {
    kind: String,
    plain: Vec<u8>,
    compression: Compression,
}

impl Job {
    fn new(kind: &str, plain: Vec<u8>, compression: Compression) -> Job {
        Job { kind: kind.to_owned(), plain, compression }
    }

    fn run(self, options: &Options) -> Result<(Record, RepodataFile)> {
        let Job { kind, plain, compression } = self;
        let name = format!("{}{}", base_name(&kind), compression.suffix());
        let packed = match compression {
            Compression::None => None,
            _ => Some(codec::compress(&plain, compression)),
        };
        let packed =
            packed.transpose().map_err(|source| Error::Io { file: name.clone(), source })?;
        let (bytes, open) = match packed {
            Some(packed) => (packed, Some(plain)),
            None => (plain, None),
        };
        let mut record = Record::describe(&kind, "", &bytes, open.as_deref());
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
