//! Metadata for the packages of a plain directory: no store, no configuration.
//!
//! What the metadata there describes is not read again: a package is known by its location, size
//! and time, as `createrepo_c --update` knows it. Everything else is read, each file once. Elements
//! of known packages are copied byte for byte, and what is beside the packages is kept, as
//! [`super::regenerate()`] does it for trees.
//!
//! How new metadata takes the place of the old, and who may do that, is in `place`. Where the file
//! system cannot exchange directories, the new files are put beside the old ones, whose names
//! differ, then `repomd.xml` is replaced.

mod place;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cairn_repodata::header::FileFacts;
use cairn_repodata::merge::{Merge, Primary};
use cairn_repodata::primary::Location;
use cairn_repodata::repomd::{DistroTag, Repomd, Tags};
use cairn_repodata::write::{Compression, Options, Rendered, RepodataBuilder};
use cairn_repodata::{Checksum, comps, modules, updateinfo};
use cairn_store::Error as StoreError;
use cairn_store::fs::{Dir, Kind, Time};
use cairn_store::progress::Observer;
use rayon::prelude::*;
use serde::Serialize;

use super::disk::{self, Disk, Rpm};
use super::extras::{Extras, MAX_TREEINFO, TREEINFOS, held_back, refreshed_treeinfo};
use super::inputs::{External, read};
use super::metadata::Metadata;
use crate::audit::repos::{REPODATA, REPOMD};
use crate::error::{Error, Result, told};
use crate::report::Mode;
use place::{Guard, Placing, SIGNATURE, lock, remove_leftovers};

/// How many packages are read before their elements are taken down: what is held of them is text.
const BATCH: usize = 512;
/// File systems tell times by clocks that may be this far behind, in seconds.
const RACY: i64 = 1;
/// What createrepo_c locks a directory with.
const THEIR_LOCK: &[u8] = b".repodata";
/// A revision of so many digits is a time, which every tool writes that was told none.
const TIME_DIGITS: usize = 9;

/// What to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// Packages that the metadata does not describe, or describes with another size or time.
    #[default]
    Unknown,
    /// All packages.
    Everything,
}

/// How to build.
#[derive(Clone, Debug, Default)]
pub struct BuildOptions {
    /// What to read; by default what is not known.
    pub reading: Reading,
    /// The comps; by default those that the metadata has.
    pub comps: Option<PathBuf>,
    /// Module documents to be added.
    pub modules: Option<PathBuf>,
    /// Advisories to be added.
    pub updateinfo: Vec<PathBuf>,
    /// How to compress; by default as the metadata is, else gzip.
    pub compression: Option<Compression>,
    /// What `repomd.xml` calls this state; by default what it did, or the newest time of anything.
    pub revision: Option<String>,
    /// The distributions that the repo belongs to; by default what the metadata says.
    pub distro: Vec<DistroTag>,
    /// How long metadata files that are replaced stay, for clients that read the old `repomd.xml`.
    pub keep_old: Duration,
    /// Whether to write.
    pub mode: Mode,
    /// How long to wait for another who builds here.
    pub lock_wait: Duration,
    /// The command line, for others who wait.
    pub command: String,
}

/// What was built.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BuildReport {
    /// The directory.
    pub path: String,
    /// Whether nothing was written because that was asked for.
    pub dry_run: bool,
    /// Whether the metadata is another now, or would be.
    pub changed: bool,
    /// How many packages it describes.
    pub packages: usize,
    /// How many of them were described before and are by the same bytes.
    pub carried: usize,
    /// How many of them are described by what was read from them.
    pub fresh: usize,
    /// How many files were read.
    pub read: usize,
    /// How many locations are described no more.
    pub removed: usize,
    /// The types of all records.
    pub records: Vec<String>,
    /// How many advisories there are; null where nobody looked, because nothing changed.
    pub advisories: Option<usize>,
    /// How many bytes the metadata has.
    pub bytes: u64,
    /// What `repomd.xml` calls this state.
    pub revision: Option<String>,
    /// What the operator should know, as sentences.
    pub notes: Vec<String>,
}

/// Makes the metadata of a directory describe exactly the packages below it.
///
/// # Errors
/// Anything that is called a package and is none, or cannot be read, or cannot be listed; files of
/// the options that are not what they should be; another who builds here. Nothing is changed then.
pub fn build(dir: &Path, options: &BuildOptions, observer: &dyn Observer) -> Result<BuildReport> {
    let root = Dir::open(dir)?;
    let mut notes = Vec::new();
    let lock = match options.mode {
        Mode::Apply => lock(&root, options.lock_wait, &options.command, observer, &mut notes)?,
        Mode::DryRun => None,
    };
    if root.try_stat(THEIR_LOCK)?.is_some() {
        let shown = cairn_store::path::display(&root.path_of(THEIR_LOCK)).to_string();
        notes.push(format!("{shown} is there: createrepo_c is at work here, or died."));
    }
    if lock.is_some() {
        remove_leftovers(&root)?;
    }
    let builder = Build { root: &root, options, guard: lock.as_ref(), observer };
    let mut report = builder.run(&mut notes)?;
    report.path = cairn_store::path::display(dir).to_string();
    report.dry_run = options.mode == Mode::DryRun;
    report.notes = notes;
    Ok(report)
}

struct Build<'a> {
    root: &'a Dir,
    options: &'a BuildOptions,
    guard: Option<&'a Guard<'a>>,
    observer: &'a dyn Observer,
}

/// The packages that the metadata shall have.
struct Packages {
    /// Those whose elements are copied, by their hash.
    carried: HashMap<[u8; 32], FileFacts>,
    /// Has those whose elements were made.
    builder: RepodataBuilder,
    /// How many these are.
    fresh: usize,
    /// How many files were read.
    read: usize,
    /// The newest time of those that were made.
    newest: Option<i64>,
    /// Whether old metadata has exactly these, at these places.
    unchanged: bool,
    /// How many locations old metadata has that are no more.
    removed: usize,
}

impl Build<'_> {
    fn run(&self, notes: &mut Vec<String>) -> Result<BuildReport> {
        // What changes from now on is not what is read below.
        let began = now();
        self.observer.begin("Looking for packages", 0, 0);
        let (found, old) = rayon::join(|| disk::find(self.root, self.observer), || self.read_old());
        let found = found?;
        for link in &found.links {
            notes.push(format!("{link} is a symbolic link, and so not listed."));
        }
        let old = match old {
            Ok(old) => old,
            // What is replaced may be broken: that is how it gets mended.
            Err(error @ (Error::Input { .. } | Error::Store(_))) => {
                let error = told(&error);
                notes
                    .push(format!("The old metadata is not used, all packages are read: {error}."));
                None
            }
            Err(error) => return Err(error),
        };
        let (old, primary) = old.unzip();
        let packages = self.packages(found.rpms, primary.as_ref(), old.as_ref(), notes)?;
        let mut report = BuildReport {
            packages: packages.carried.len() + packages.fresh,
            carried: packages.carried.len(),
            fresh: packages.fresh,
            read: packages.read,
            removed: packages.removed,
            ..BuildReport::default()
        };
        let outside = self.outside()?;
        if let Some(old) = &old
            && packages.unchanged
            && !self.asks_for_more(old.repomd())
            && outside.is_none()
        {
            self.describe_old(old, &mut report)?;
        } else {
            self.renew(
                old.zip(primary),
                packages,
                outside.unwrap_or_default(),
                began,
                &mut report,
                notes,
            )?;
        }
        self.refresh_treeinfos(&mut report)?;
        Ok(report)
    }

    /// Reads the metadata that is there, which must be sound as far as it is used.
    fn read_old(&self) -> Result<Option<(Disk, Primary)>> {
        let Some(old) = Disk::read(self.root)? else { return Ok(None) };
        let (sound, primary) = rayon::join(|| old.verify_all(), || old.primary());
        sound?;
        let primary = primary?;
        Ok(Some((old, primary)))
    }

    /// Finds out which packages there are, and reads those that are not known.
    fn packages(
        &self,
        rpms: Vec<Rpm>,
        primary: Option<&Primary>,
        old: Option<&Disk>,
        notes: &mut Vec<String>,
    ) -> Result<Packages> {
        let locations = || primary.iter().flat_map(|primary| primary.locations());
        let at: HashMap<&str, &Location> =
            locations().map(|location| (location.href.as_str(), location)).collect();
        let made = old.map_or(i64::MIN, |old| old.made.secs);
        let known = |rpm: &Rpm| {
            let location = at.get(rpm.href.as_str()).filter(|location| {
                self.options.reading == Reading::Unknown
                    && location.base.is_none()
                    && location.size == rpm.stat.size
                    && location.file_time == rpm.mtime()
                    // Written when the metadata was made: perhaps once more since.
                    && rpm.mtime() < made.saturating_sub(RACY)
            })?;
            location.pkgid.sha256_bytes()
        };
        let removed = {
            let present: HashSet<&str> = rpms.iter().map(|rpm| rpm.href.as_str()).collect();
            locations().filter(|old| !present.contains(old.href.as_str())).count()
        };
        let mut packages = Packages {
            carried: HashMap::with_capacity(rpms.len()),
            builder: RepodataBuilder::new(Options::default()),
            fresh: 0,
            read: 0,
            newest: None,
            unchanged: false,
            removed,
        };
        let mut unknown = Vec::new();
        for rpm in rpms {
            match known(&rpm) {
                Some(sha256) => {
                    packages.carried.insert(sha256, rpm.facts(sha256));
                }
                None => unknown.push(rpm),
            }
        }
        let bytes = unknown.iter().map(|rpm| rpm.stat.size).sum();
        self.observer.begin("Reading packages", unknown.len() as u64, bytes);
        packages.read = unknown.len();
        let mut fresh: HashMap<[u8; 32], String> = HashMap::new();
        for batch in unknown.chunks(BATCH) {
            let read = batch.par_iter().with_max_len(4).map(|rpm| {
                let (sha256, package) = rpm.read(self.root, self.observer)?;
                Ok((sha256, Rendered::new(&package)))
            });
            for (rpm, (sha256, rendered)) in batch.iter().zip(read.collect::<Result<Vec<_>>>()?) {
                // Clients know a package by its checksum: it is listed where it comes first.
                let twin = packages.carried.get(&sha256).map(|twin| &twin.href);
                let twin = twin.or_else(|| fresh.get(&sha256)).cloned();
                if let Some(twin) = twin {
                    let (first, second) = match twin < rpm.href {
                        true => (twin, rpm.href.clone()),
                        false => (rpm.href.clone(), twin),
                    };
                    notes.push(format!(
                        "{second} is the same package as {first}, which the metadata lists."
                    ));
                    if first != rpm.href {
                        continue;
                    }
                    packages.carried.remove(&sha256);
                }
                let id = Checksum::from_sha256(sha256);
                let location = primary.and_then(|primary| primary.location(&id));
                let described = location.is_some_and(|location| {
                    location.size == rpm.stat.size && location.file_time == rpm.mtime()
                });
                if described {
                    packages.carried.insert(sha256, rpm.facts(sha256));
                } else {
                    packages.newest = packages.newest.max(Some(rpm.mtime()));
                    fresh.insert(sha256, rpm.href.clone());
                    packages.fresh += 1;
                    packages.builder.rendered(&rendered).map_err(|error| self.bad(&error))?;
                }
            }
        }
        let carried = packages.carried.iter();
        packages.unchanged = packages.fresh == 0
            && packages.carried.len() == primary.map_or(0, Primary::len)
            && carried.into_iter().all(|(sha256, facts)| {
                let location = at.get(facts.href.as_str());
                location.is_some_and(|location| {
                    location.base.is_none() && location.pkgid.sha256_bytes() == Some(*sha256)
                })
            });
        Ok(packages)
    }

    /// Reads the files that the options name; nothing where they name none.
    fn outside(&self) -> Result<Option<(External, Vec<updateinfo::Advisory>)>> {
        let options = self.options;
        if options.comps.is_none() && options.modules.is_none() && options.updateinfo.is_empty() {
            return Ok(None);
        }
        let mut external = External::default();
        let mut take = |path: &Path| -> Result<Vec<u8>> {
            let Some((bytes, time)) = read(path)? else {
                let reason = "there is no such file".to_owned();
                return Err(Error::Input { path: path.to_owned(), reason });
            };
            external.newest = external.newest.max(Some(time));
            // They may be compressed, as they are in metadata.
            let limits = cairn_repodata::codec::Limits::default();
            let shown = path.to_string_lossy();
            cairn_repodata::codec::decompress(&shown, &bytes, limits)
                .map_err(|error| Error::input(&*shown, &error))
        };
        let mut group = None;
        if let Some(path) = &options.comps {
            let (bytes, shown) = (take(path)?, path.to_string_lossy());
            comps::read(&shown, bytes.as_slice()).map_err(|error| Error::input(&*shown, &error))?;
            group = Some(bytes);
        }
        let mut documents = Vec::new();
        if let Some(path) = &options.modules {
            let (bytes, shown) = (take(path)?, path.to_string_lossy());
            documents =
                modules::read(&shown, &bytes).map_err(|error| Error::input(&*shown, &error))?;
        }
        let mut lists = Vec::new();
        for path in &options.updateinfo {
            let (bytes, shown) = (take(path)?, path.to_string_lossy());
            let list = updateinfo::read(&shown, bytes.as_slice());
            lists.push(list.map_err(|error| Error::input(&*shown, &error))?);
        }
        (external.group, external.modules) = (group, documents);
        Ok(Some((external, updateinfo::merge(lists))))
    }

    /// Returns whether the options want something of `repomd.xml` that it has not.
    fn asks_for_more(&self, repomd: &Repomd) -> bool {
        let options = self.options;
        let differs = |compression| Some(compression) != compression_of(repomd);
        options.compression.is_some_and(differs)
            || (options.revision.is_some() && options.revision != repomd.revision)
            || (!options.distro.is_empty() && options.distro != repomd.tags.distro)
    }

    /// Reports metadata that stays as it is.
    fn describe_old(&self, old: &Disk, report: &mut BuildReport) -> Result<()> {
        let repomd = old.repomd();
        report.records = repomd.records.iter().map(|record| record.kind.clone()).collect();
        report.revision.clone_from(&repomd.revision);
        report.bytes = old.bytes.len() as u64;
        for record in &repomd.records {
            report.bytes += old.dir.stat(old.name(record)?.as_bytes())?.size;
        }
        Ok(())
    }

    /// Makes new metadata and puts it in place, unless it is what is there.
    fn renew(
        &self,
        old: Option<(Disk, Primary)>,
        packages: Packages,
        (external, advisories): (External, Vec<updateinfo::Advisory>),
        began: Time,
        report: &mut BuildReport,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        let (old, primary) = old.unzip();
        let old = old.as_ref();
        let known: Vec<&dyn Metadata> = old.iter().map(|old| *old as &dyn Metadata).collect();
        let same = packages.unchanged;
        let extras = Extras::gather(&known, external, advisories)?;
        if let Some(old) = old
            && same
            && !self.asks_for_more(old.repomd())
            && extras.are_in(old.repomd())
        {
            report.advisories = Some(extras.advisories());
            return self.describe_old(old, report);
        }
        let written = self.write_options(old, extras.newest().max(packages.newest));
        report.advisories = Some(extras.advisories());
        report.revision.clone_from(&written.revision);
        let bad = |error: cairn_repodata::Error| self.bad(&error);
        self.observer.begin("Writing repodata", report.packages as u64, 0);
        let mut builder = packages.builder;
        builder.set_options(written);
        let mut merge = Merge::new(packages.carried.into_values()).map_err(bad)?;
        if let Some((old, primary)) = old.zip(primary)
            && !merge.unknown().is_empty()
        {
            old.load_with(primary, &mut merge)?;
        }
        merge.finish(&mut builder).map_err(bad)?;
        extras.write(&mut builder, bad)?;
        let files = builder.finish().map_err(bad)?;
        report.bytes = files.iter().map(|file| file.bytes.len() as u64).sum();
        let bytes = &files.last().expect("repomd.xml is the last").bytes;
        let repomd = cairn_repodata::repomd::read("repomd.xml", bytes.as_slice()).map_err(bad)?;
        report.records = repomd.records.iter().map(|record| record.kind.clone()).collect();
        if old.is_some_and(|old| old.bytes == *bytes) {
            return Ok(());
        }
        report.changed = true;
        if let Some(old) = old
            && old.dir.try_stat(SIGNATURE)?.is_some()
        {
            notes.push(
                "repomd.xml.asc signed the old metadata and is gone: sign the new.".to_owned(),
            );
        }
        if self.observer.interrupted() {
            return Err(StoreError::Interrupted.into());
        }
        match self.options.mode {
            Mode::DryRun => Ok(()),
            Mode::Apply => {
                let (keep_old, guard) = (self.options.keep_old, self.guard);
                let placing = Placing { root: self.root, keep_old, guard };
                placing.put(old, &files, &repomd, began)
            }
        }
    }

    fn bad(&self, error: &cairn_repodata::Error) -> Error {
        Error::Input { path: self.root.path_of(REPODATA), reason: told(error) }
    }

    fn write_options(&self, old: Option<&Disk>, newest: Option<i64>) -> Options {
        let repomd = old.map(Metadata::repomd);
        let timestamp = held_back(newest.max(repomd.and_then(Repomd::newest)));
        // A time is what a tool writes that was told nothing. It goes with the state that it was of.
        let named = repomd.and_then(|repomd| repomd.revision.clone()).filter(|text| {
            text.len() < TIME_DIGITS || !text.bytes().all(|byte| byte.is_ascii_digit())
        });
        let revision = self.options.revision.clone().or(named);
        let mut tags = repomd.map_or_else(Tags::default, |repomd| repomd.tags.clone());
        if !self.options.distro.is_empty() {
            tags.distro.clone_from(&self.options.distro);
        }
        let compression = self.options.compression.or_else(|| repomd.and_then(compression_of));
        Options {
            compression: compression.unwrap_or_default(),
            revision: revision.or_else(|| timestamp.map(|time| time.to_string())),
            tags,
            timestamp,
            ..Options::default()
        }
    }

    /// Sets what treeinfos say of `repomd.xml`, if they say anything. This comes last: what a crash
    /// keeps from happening, the next run does.
    fn refresh_treeinfos(&self, report: &mut BuildReport) -> Result<()> {
        let root = self.root;
        if self.options.mode == Mode::DryRun {
            return Ok(());
        }
        for name in TREEINFOS {
            let Some(stat) = root.try_stat(name)?.filter(|stat| stat.kind == Kind::File) else {
                continue;
            };
            let path = root.path_of(name);
            if stat.size > MAX_TREEINFO {
                let reason = format!("a treeinfo of more than {MAX_TREEINFO} bytes is none");
                return Err(Error::Input { path, reason });
            }
            let (treeinfo, repomd) = (root.read(name)?, root.dir(REPODATA)?.read(REPOMD)?);
            let shown = cairn_store::path::display(&path).to_string();
            let refreshed = refreshed_treeinfo(&shown, &treeinfo, &repomd)
                .map_err(|error| Error::input(&*shown, &error))?;
            if let Some(bytes) = refreshed {
                root.replace(name, &bytes, stat.mode)?;
                report.changed = true;
            }
        }
        Ok(())
    }
}

/// Returns how the package lists of existing metadata are compressed.
fn compression_of(repomd: &Repomd) -> Option<Compression> {
    let href = &repomd.record("primary")?.href;
    let suffix = href.rsplit_once('.').map_or("", |(_, suffix)| suffix);
    Compression::parse(if suffix == "xml" { "none" } else { suffix })
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time { secs: since.as_secs() as i64, nanos: since.subsec_nanos() }
}
