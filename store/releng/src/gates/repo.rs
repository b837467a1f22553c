//! One repo, read once: its records, its packages, and what lies in it and is in neither.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read};

use cairn_repodata::repomd::{Record, Repomd, content_of};
use cairn_repodata::{Checksum, Error as Metadata, comps, filelists, modules, other, primary};
use cairn_store::id::{ObjectId, hex};
use cairn_store::path::RelPath;
use cairn_store::tree::{Entry, FileEntry, Nodes};
use sha2::digest::DynDigest;

use super::repodata::*;
use super::resolve::{Place, Resolver};
use super::survey::packages_below;
use super::{Findings, Rule, Subject};
use crate::audit::RepoError;
use crate::audit::content::{Located, digester, locate, read_record, read_repomd, repomd_path};
use crate::audit::repos::{REPOMD, Repo};
use crate::error::{Error, Result};

/// Largest `modules.yaml` that is read, in bytes; it is the one record that is read whole. The
/// largest real ones have a few megabytes.
const MAX_MODULES: u64 = 128 << 20;
/// How much of a record is read at once.
const CHUNK: usize = 64 << 10;

/// A package of `primary` whose checksum is still to be compared.
pub(super) struct Claim {
    /// Where the RPM is, without symbolic links.
    pub(super) path: RelPath,
    pub(super) file: FileEntry,
    /// What `primary` says.
    pub(super) pkgid: Checksum,
}

/// What one repo comes to, but for the checksums of its packages.
pub(super) struct Examined {
    pub(super) findings: Findings,
    pub(super) claims: Vec<Claim>,
    /// Packages that it lists outside its own directory, in a repo inside it, or by a way that
    /// leads out and back, as [`key`]s.
    pub(super) outside: Vec<ObjectId>,
    /// Packages in its directory that it does not list.
    pub(super) unlisted: Vec<RelPath>,
}

/// Names a path in a set; a release has a hundred thousand of them.
pub(super) fn key(path: &RelPath) -> ObjectId {
    ObjectId::of(path.as_bytes())
}

/// Reads the repo at `dir`, in which the repos `inner` lie.
///
/// # Errors
/// The store cannot be read, or the operator wants to stop; what is wrong with the repo is found.
pub(super) fn examine(
    subject: &Subject<'_>,
    dir: &RelPath,
    repo: &Repo,
    inner: &[&RelPath],
) -> Result<Examined> {
    let examined = Examined {
        findings: Findings::of(REPODATA_GATE),
        claims: Vec::new(),
        outside: Vec::new(),
        unlisted: Vec::new(),
    };
    let mut examination = Examination { subject, dir, repo, inner, examined, listed: None };
    examination.run()?;
    Ok(examination.examined)
}

struct Examination<'a> {
    subject: &'a Subject<'a>,
    dir: &'a RelPath,
    repo: &'a Repo,
    inner: &'a [&'a RelPath],
    examined: Examined,
    /// What `primary` lists, once it was read to its end.
    listed: Option<Listed>,
}

#[derive(Default)]
struct Listed {
    paths: HashSet<ObjectId>,
    /// Hashes of the package ids: they take less room than the ids.
    ids: HashSet<ObjectId>,
}

fn id_key(pkgid: &Checksum) -> ObjectId {
    ObjectId::of(pkgid.hex().as_bytes())
}

impl Examination<'_> {
    fn add(&mut self, rule: &'static Rule, path: RelPath, message: impl Into<String>) {
        self.examined.findings.add(rule, Some(self.dir), path, message);
    }

    /// Turns what keeps a file from being used into a finding, unless it keeps everything from it.
    fn fault(&mut self, error: RepoError) -> Result<()> {
        self.subject.check_interrupted()?;
        let path = error.path().clone();
        let message = error.to_string();
        let message = message.strip_prefix(&format!("{path}: ")).unwrap_or(&message).to_owned();
        let is_repomd = path == repomd_path(self.dir);
        let rule = match error {
            RepoError::Metadata { source, .. } => match *source {
                Metadata::Href { .. } => &HREF,
                Metadata::WeakChecksum { .. } => &WEAK_CHECKSUM,
                Metadata::DuplicateRecord { .. } => &RECORD_TWICE,
                Metadata::DuplicatePackage { .. } => &PACKAGE_TWICE,
                Metadata::SizeMismatch { .. } => &RECORD_SIZE,
                Metadata::ChecksumMismatch { .. } => &RECORD_CHECKSUM,
                _ if is_repomd => &REPOMD_UNREADABLE,
                _ => &RECORD_UNREADABLE,
            },
            RepoError::Content { source, .. } => match *source {
                Error::Store(
                    cairn_store::Error::MissingObject { .. } | cairn_store::Error::Mismatch { .. },
                ) => &CONTENT,
                source => return Err(source),
            },
            RepoError::Missing { .. } => &RECORD_MISSING,
            RepoError::NoPrimary { .. } => &NO_PRIMARY,
            RepoError::NotAFile { .. } if is_repomd => &REPOMD_UNREADABLE,
            RepoError::NotAFile { .. } => &RECORD_MISSING,
            RepoError::Large { .. } => &REPOMD_UNREADABLE,
        };
        self.add(rule, path, message);
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        let source = |file: &FileEntry, path: &RelPath| self.subject.open(file, path);
        let repomd = match read_repomd(&source, self.dir, self.repo) {
            Ok(repomd) => repomd,
            Err(error) => return self.fault(error),
        };
        if self.dir.to_str().is_none() {
            let path = repomd_path(self.dir);
            self.add(&REPOMD_UNREADABLE, path, "its directory's name is not UTF-8");
            return Ok(());
        }
        let mut known = HashSet::new();
        // The lists are compared with primary, so it comes first.
        let (first, others): (Vec<_>, Vec<_>) =
            repomd.records.iter().partition(|record| record.kind == "primary");
        if first.is_empty() {
            self.fault(RepoError::NoPrimary { path: repomd_path(self.dir) })?;
        }
        for record in first.into_iter().chain(others) {
            self.subject.check_interrupted()?;
            match locate(self.subject.draft, self.dir, self.repo, record) {
                Ok(located) => {
                    known.insert(located.path.clone());
                    self.record(record, &located)?;
                }
                Err(error) => self.fault(error)?,
            }
        }
        self.leftovers(&repomd, &known)?;
        self.unlisted()
    }

    /// Reads one record to its end.
    fn record(&mut self, record: &Record, located: &Located) -> Result<()> {
        let kind = record.kind.as_str();
        let is_text = !kind.ends_with("_db") && !is_zchunk(kind);
        let read = match if is_text { content_of(kind) } else { kind } {
            "primary" => self.primary(record, located)?,
            "filelists" | "other" => self.list(record, located)?,
            "modules" => self.read(record, located, |file, reader| {
                let mut bytes = Vec::new();
                let taken = reader.take(MAX_MODULES + 1).read_to_end(&mut bytes);
                taken.map_err(|source| unreadable(file, source))?;
                if bytes.len() as u64 > MAX_MODULES {
                    let (file, limit) = (file.to_owned(), MAX_MODULES);
                    return Err(Metadata::TooLarge { file, limit });
                }
                modules::read(file, &bytes).map(drop)
            }),
            "updateinfo" => self.read(record, located, |file, reader| {
                cairn_repodata::updateinfo::read(file, reader).map(drop)
            }),
            "group" => {
                self.read(record, located, |file, reader| comps::read(file, reader).map(drop))
            }
            // Nobody here knows what is in it; it is what repomd.xml says.
            _ => self.read(record, located, |_, _| Ok(())),
        };
        self.conclude(record, located, read)
    }

    /// Reads a record with `read`, then what that left of it, and measures what came out.
    fn read(
        &self,
        record: &Record,
        located: &Located,
        read: impl FnOnce(&str, &mut dyn BufRead) -> cairn_repodata::Result<()>,
    ) -> std::result::Result<Opened, RepoError> {
        let source = |file: &FileEntry, path: &RelPath| self.subject.open(file, path);
        read_record(&source, located, record, |file, decoder| {
            let expected = record.open_checksum.as_ref();
            let hasher = expected.and_then(|checksum| digester(checksum.kind()));
            let measured = Measured { inner: decoder, hasher, bytes: 0 };
            let mut reader = BufReader::with_capacity(CHUNK, measured);
            read(file, &mut reader)?;
            io::copy(&mut reader, &mut io::sink()).map_err(|source| unreadable(file, source))?;
            let Measured { hasher, bytes, .. } = reader.into_inner();
            Ok(Opened { bytes, digest: hasher.map(|hasher| hex(&hasher.finalize())) })
        })
    }

    /// Compares what a record came to with what `repomd.xml` says of its plain form.
    fn conclude(
        &mut self,
        record: &Record,
        located: &Located,
        read: std::result::Result<Opened, RepoError>,
    ) -> Result<()> {
        let Opened { bytes, digest } = match read {
            Ok(opened) => opened,
            Err(error) => return self.plain_fault(record, error),
        };
        // zchunk is a compression that clients open, and that we pass on.
        if is_zchunk(&record.kind) {
            return Ok(());
        }
        if let Some(size) = record.open_size.filter(|size| *size != bytes) {
            let message = format!("repomd.xml says {size} bytes decompressed, it has {bytes}");
            self.add(&RECORD_OPEN_SIZE, located.path.clone(), message);
        }
        if let (Some(expected), Some(found)) = (&record.open_checksum, digest)
            && expected.hex() != found
        {
            let kind = expected.kind();
            let message =
                format!("repomd.xml says {expected} decompressed, its content has {kind}:{found}");
            self.add(&RECORD_OPEN_CHECKSUM, located.path.clone(), message);
        }
        Ok(())
    }

    /// Names what is wrong with a record that could not be read to its end.
    fn plain_fault(&mut self, record: &Record, error: RepoError) -> Result<()> {
        match &error {
            RepoError::Metadata { path, source }
                if matches!(**source, Metadata::TooLarge { limit, .. }
                    if record.open_size == Some(limit)) =>
            {
                let says = record.open_size.unwrap_or_default();
                let message = format!("repomd.xml says {says} bytes decompressed, it has more");
                self.add(&RECORD_OPEN_SIZE, path.clone(), message);
                Ok(())
            }
            _ => self.fault(error),
        }
    }

    /// Reads `primary`, and finds each of its packages in the tree.
    fn primary(
        &mut self,
        record: &Record,
        located: &Located,
    ) -> Result<std::result::Result<Opened, RepoError>> {
        let subject = self.subject;
        let dir = self.dir.to_str().unwrap_or_default();
        let mut resolver = Resolver::new(subject.draft, subject.root);
        let mut found = Found::new(self.dir, &located.path);
        let mut stopped = None;
        let result = self.read(record, located, |file, reader| {
            primary::read(file, reader, &mut |package: primary::Package| {
                let one = subject
                    .check_interrupted()
                    .and_then(|()| self.package(file, dir, &package, &mut resolver));
                match one {
                    Ok(one) => found.take(package, one),
                    Err(error) => {
                        stopped = Some(error);
                        let stop = io::Error::other("stopped");
                        return Err(unreadable(file, stop));
                    }
                }
                Ok(())
            })
            .map(drop)
        });
        if let Some(error) = stopped {
            return Err(error);
        }
        // Of a list that is not what it should be, what it says of packages is of no interest.
        if result.is_ok() {
            let Found { findings, claims, outside, listed, .. } = found;
            self.examined.findings.append(findings);
            self.examined.claims = claims;
            self.examined.outside = outside;
            self.listed = Some(listed);
        }
        Ok(result)
    }

    /// Finds one package.
    fn package(
        &self,
        file: &str,
        dir: &str,
        package: &primary::Package,
        resolver: &mut Resolver<'_>,
    ) -> Result<One> {
        let shown = || package.nevra.to_string();
        let path = match package.path(file, dir) {
            Ok(path) => path,
            Err(error) => {
                let text = error.to_string();
                let text = text.strip_prefix(&format!("{file}: ")).unwrap_or(&text);
                return Ok(One::Fault(&HREF, None, text.to_owned()));
            }
        };
        let path = match RelPath::new(&path) {
            Ok(path) => path,
            Err(reason) => {
                let text = format!("{}: href {:?}: {reason}", shown(), package.href);
                return Ok(One::Fault(&HREF, None, text));
            }
        };
        match resolver.find(&path)? {
            Place::File(real, entry) if entry.size == package.package_size => {
                // With `..` it means another path when the same repo lies somewhere else.
                let climbs = package.href.split('/').any(|name| name == "..");
                let inside = self.is_own(&real) && !climbs;
                Ok(One::There { path, real, file: entry, inside })
            }
            Place::File(real, entry) => {
                let (says, has) = (package.package_size, entry.size);
                let text = format!("primary says {says} bytes, the file has {has}");
                Ok(One::Fault(&PACKAGE_SIZE, Some(real), text))
            }
            Place::Dir(_) => {
                let text = format!("primary lists {} here, and it is a directory", shown());
                Ok(One::Fault(&PACKAGE_MISSING, Some(path), text))
            }
            Place::Nothing(why) => {
                let text = format!("primary lists {} here, and {why}", shown());
                Ok(One::Fault(&PACKAGE_MISSING, Some(path), text))
            }
        }
    }

    /// Returns whether a path is this repo's, and not that of a repo in it.
    fn is_own(&self, path: &RelPath) -> bool {
        is_below(path, self.dir) && !self.inner.iter().any(|inner| is_below(path, inner))
    }

    /// Reads `filelists` or `other`, which must describe the packages of `primary`.
    fn list(
        &mut self,
        record: &Record,
        located: &Located,
    ) -> Result<std::result::Result<Opened, RepoError>> {
        let (mut count, mut foreign, mut example) = (0u64, 0u64, None);
        let empty = HashSet::new();
        let ids = self.listed.as_ref().map_or(&empty, |listed| &listed.ids);
        let mut visit = |pkgid: &Checksum, name: &cairn_repodata::Nevra| {
            count += 1;
            if !ids.contains(&id_key(pkgid)) {
                foreign += 1;
                example.get_or_insert_with(|| name.to_string());
            }
            Ok::<_, Metadata>(())
        };
        let result = self.read(record, located, |file, reader| match record.kind.as_str() {
            "other" => other::read(file, reader, &mut |one: other::PackageChanges| {
                visit(&one.pkgid, &one.nevra)
            })
            .map(drop),
            _ => filelists::read(file, reader, &mut |one: filelists::PackageFiles| {
                visit(&one.pkgid, &one.nevra)
            })
            .map(drop),
        });
        let primary = ids.len() as u64;
        if result.is_ok() && self.listed.is_some() && (foreign > 0 || count != primary) {
            let message = match example {
                Some(example) => {
                    format!("it describes {foreign} packages that primary does not list: {example}")
                }
                None => format!("it describes {count} packages, primary lists {primary}"),
            };
            self.add(&LISTS_DIFFER, located.path.clone(), message);
        }
        Ok(result)
    }

    /// Finds what lies in `repodata` and is no record.
    fn leftovers(&mut self, repomd: &Repomd, known: &HashSet<RelPath>) -> Result<()> {
        let repodata = self.dir.join(crate::audit::repos::REPODATA);
        let tree = self.subject.draft.tree(&self.repo.repodata.tree)?;
        for (name, entry) in tree.entries() {
            let path = repodata.join(name);
            let belongs = matches!(name, REPOMD | b"repomd.xml.asc" | b"repomd.xml.key")
                || known.contains(&path)
                || known.iter().any(|record| is_below(record, &path));
            if !belongs {
                let what = match entry {
                    Entry::File(_) => "no record of repomd.xml names this file",
                    Entry::Dir(_) => "no record of repomd.xml is in this directory",
                    Entry::Symlink(_) => "no record of repomd.xml names this symbolic link",
                };
                self.add(&LEFTOVER, path, what);
            }
        }
        debug_assert!(known.len() <= repomd.records.len());
        Ok(())
    }

    /// Finds packages that lie here and that `primary` does not list.
    fn unlisted(&mut self) -> Result<()> {
        let Some(listed) = &self.listed else { return Ok(()) };
        let contents: HashSet<ObjectId> =
            self.examined.claims.iter().map(|claim| claim.file.object).collect();
        let unlisted = &mut self.examined.unlisted;
        let mut twins = Vec::new();
        let skip = |path: &RelPath| self.inner.contains(&path);
        packages_below(self.subject.draft, self.dir, &self.repo.dir, &skip, &mut |path, file| {
            if !listed.paths.contains(&key(&path)) {
                let list =
                    if contents.contains(&file.object) { &mut twins } else { &mut *unlisted };
                list.push(path);
            }
        })?;
        for path in twins {
            self.add(&TWIN, path, "the same package is at another path, which is listed");
        }
        Ok(())
    }
}

/// What one package of `primary` comes to.
enum One {
    /// A rule that it breaks; where, if that is not in the metadata; how.
    Fault(&'static Rule, Option<RelPath>, String),
    There {
        path: RelPath,
        real: RelPath,
        file: FileEntry,
        inside: bool,
    },
}

/// What the packages of `primary` come to.
struct Found<'a> {
    dir: &'a RelPath,
    /// Where `primary` is.
    primary: &'a RelPath,
    findings: Findings,
    claims: Vec<Claim>,
    outside: Vec<ObjectId>,
    listed: Listed,
}

impl<'a> Found<'a> {
    fn new(dir: &'a RelPath, primary: &'a RelPath) -> Self {
        let (findings, listed) = (Findings::of(REPODATA_GATE), Listed::default());
        Self { dir, primary, findings, claims: Vec::new(), outside: Vec::new(), listed }
    }

    fn take(&mut self, package: primary::Package, one: One) {
        self.listed.ids.insert(id_key(&package.pkgid));
        match one {
            One::Fault(rule, path, message) => {
                // A file of another size is listed all the same.
                self.listed.paths.extend(path.as_ref().map(key));
                let path = path.unwrap_or_else(|| self.primary.clone());
                self.findings.add(rule, Some(self.dir), path, message);
            }
            One::There { path, real, file, inside } => {
                self.listed.paths.insert(key(&real));
                if !inside || path != real {
                    self.outside.push(key(&real));
                }
                self.claims.push(Claim { path: real, file, pkgid: package.pkgid });
            }
        }
    }
}

/// What came out of a record.
struct Opened {
    bytes: u64,
    digest: Option<String>,
}

/// Counts and hashes what is read through it.
struct Measured<R> {
    inner: R,
    hasher: Option<Box<dyn DynDigest + Send>>,
    bytes: u64,
}

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        self.bytes += count as u64;
        Ok(count)
    }
}

/// What a decoder found wrong travels inside its I/O error.
fn unreadable(file: &str, source: io::Error) -> Metadata {
    source
        .downcast::<Metadata>()
        .unwrap_or_else(|source| Metadata::Io { file: file.to_owned(), source })
}

fn is_zchunk(kind: &str) -> bool {
    kind.ends_with("_zck")
}

fn is_below(path: &RelPath, dir: &RelPath) -> bool {
    let (path, dir) = (path.as_bytes(), dir.as_bytes());
    dir.is_empty() || (path.starts_with(dir) && path.get(dir.len()) == Some(&b'/'))
}
