//! Metadata that exists: believed only as far as its checksums hold.

use std::collections::{HashMap, HashSet};
use std::io::{BufReader, Read};

use cairn_repodata::codec::{self, Limits};
use cairn_repodata::header::FileFacts;
use cairn_repodata::repomd::{self, Record, Repomd};
use cairn_repodata::write::Compression;
use cairn_repodata::{Checksum, ChecksumType, Nevra, primary, updateinfo};
use cairn_store::id::hex;
use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::tree::{DirEntry, Draft, Entry};

use super::metadata::{MAX_EXTRA, Metadata, Open};
use crate::audit::content::{Located, locate, read_record, read_repomd};
use crate::audit::repos::{Repo, repo_at};
use crate::content::Content;
use crate::error::{Error, Result, told};
use crate::report::Mode;
use crate::site::Site;

/// Reads contents: of the store, or of a draft.
pub(super) struct Reader<'a> {
    pub site: &'a Site,
    pub draft: &'a Draft<'a>,
    pub mode: Mode,
    pub observer: &'a dyn Observer,
}

/// The metadata of one repo in one tree.
pub(super) struct Known<'a> {
    reader: &'a Reader<'a>,
    /// The repo's directory.
    path: RelPath,
    repo: Repo,
    repomd: Repomd,
}

impl<'a> Known<'a> {
    /// Reads what the repo at `dir` declares; nothing if it is no repo.
    pub fn read(
        reader: &'a Reader<'a>,
        path: &RelPath,
        dir: &DirEntry,
    ) -> Result<Option<Known<'a>>> {
        let Some(repo) = repo_at(reader.draft, dir)? else { return Ok(None) };
        let source = |file: &_, path: &_| reader.open(file, path);
        let repomd = read_repomd(&source, path, &repo).map_err(|error| wrong(path, &error))?;
        Ok(Some(Known { reader, path: path.clone(), repo, repomd }))
    }

    /// As [`Known::read`], and makes sure that every record is what it is declared to be.
    pub fn whole(
        reader: &'a Reader<'a>,
        path: &RelPath,
        dir: &DirEntry,
    ) -> Result<Option<Known<'a>>> {
        let Some(known) = Known::read(reader, path, dir)? else { return Ok(None) };
        for record in &known.repomd.records {
            known.verified(record)?;
        }
        Ok(Some(known))
    }

    /// Reads where `primary` says that packages are.
    pub fn listing(&self) -> Result<Listing> {
        let mut packages = HashMap::new();
        let mut outside = Vec::new();
        let (path, list) = self.open("primary")?;
        primary::read(&path, list, &mut |package: primary::Package| {
            if package.base.is_some() {
                return Ok(());
            }
            if package.href.split('/').any(|segment| segment == "..") {
                outside.push(package.href.clone());
            }
            packages.insert(package.href, (package.pkgid, package.package_size));
            Ok::<_, cairn_repodata::Error>(())
        })
        .map_err(|error| wrong(&self.path, &error))?;
        Ok(Listing { packages, outside })
    }

    /// Returns whether the package lists are compressed so and `listing`, which is theirs, is of
    /// exactly this set.
    pub fn lists_exactly(
        &self,
        listing: &Listing,
        set: &[FileFacts],
        compression: Compression,
    ) -> bool {
        let suffix = format!(".xml{}", compression.suffix());
        let packed = |kind| {
            self.repomd.record(kind).is_some_and(|record| {
                let name = record.href.strip_prefix("repodata/");
                name.is_some_and(|name| name.ends_with(&suffix) && !name.contains('/'))
            })
        };
        listing.packages.len() == set.len()
            && ["primary", "filelists", "other"].into_iter().all(packed)
            && set.iter().all(|facts| {
                listing.packages.get(&facts.href).is_some_and(|(pkgid, size)| {
                    *size == facts.size && *pkgid == Checksum::from_sha256(facts.sha256)
                })
            })
    }

    /// Returns the records of the package lists, with what says the same in other forms, and
    /// their files.
    #[expect(clippy::type_complexity, reason = "records for repomd.xml, entries for its directory")]
    pub fn lists(&self) -> Result<(Vec<Record>, Vec<(Box<[u8]>, Entry)>)> {
        let (mut records, mut files) = (Vec::new(), Vec::new());
        for record in &self.repomd.records {
            let is_list = ["primary", "filelists", "other"].contains(&record.kind.as_str());
            let beside = record.href.strip_prefix("repodata/").is_some_and(|n| !n.contains('/'));
            if is_list || (beside && repomd::describes_packages(&record.kind)) {
                let Located { path, file } = self.verified(record)?;
                files.push((path.file_name().into(), Entry::File(file)));
                records.push(record.clone());
            }
        }
        Ok((records, files))
    }

    /// Returns the directory that holds the metadata.
    pub fn repodata(&self) -> DirEntry {
        self.repo.repodata
    }

    /// Finds a record's file and makes sure that it is what the record declares.
    fn verified(&self, record: &Record) -> Result<Located> {
        let reader = self.reader;
        let located = locate(reader.draft, &self.path, &self.repo, record)
            .map_err(|error| wrong(&self.path, &error))?;
        if record.checksum.kind() != ChecksumType::Sha256 {
            let source = |file: &_, path: &_| reader.open(file, path);
            read_record(&source, &located, record, |_, _| Ok(()))
                .map_err(|error| wrong(&self.path, &error))?;
            return Ok(located);
        }
        // What was verified once is remembered.
        let files = [(located.path.clone(), located.file)];
        let sums = reader.site.sha256(reader.draft, &files, reader.mode, reader.observer)?;
        let found = sums.get(&located.file.object).map(|sum| hex(sum)).unwrap_or_default();
        let sized = record.size.is_none_or(|size| size == located.file.size);
        if found != record.checksum.hex() || !sized {
            let reason = format!(
                "repomd.xml says that its SHA-256 is {}, it is {found} ({} bytes)",
                record.checksum.hex(),
                located.file.size
            );
            return Err(Error::Repodata { path: located.path, reason });
        }
        Ok(located)
    }
}

impl Metadata for Known<'_> {
    fn repomd(&self) -> &Repomd {
        &self.repomd
    }

    fn open(&self, kind: &str) -> Result<Open> {
        let Some(record) = self.repomd.record(kind) else {
            let reason = format!("it lists no {kind}");
            return Err(Error::Repodata { path: self.path.join(b"repodata"), reason });
        };
        let Located { path, file } = self.verified(record)?;
        let content = BufReader::with_capacity(256 << 10, self.reader.open(&file, &path)?);
        let limits = record.open_size.map_or(Limits::default(), |s| Limits::default().at_most(s));
        let decoder = codec::decoder(&path.to_string(), content, limits)
            .map_err(|error| repodata(&path, &error))?;
        Ok((path.to_string(), decoder))
    }

    fn raw(&self, record: &Record) -> Result<Vec<u8>> {
        let located = self.verified(record)?;
        if located.file.size > MAX_EXTRA {
            let reason = format!("it has more than {MAX_EXTRA} bytes");
            return Err(Error::Repodata { path: located.path, reason });
        }
        let mut bytes = Vec::with_capacity(located.file.size as usize);
        self.reader
            .open(&located.file, &located.path)?
            .read_to_end(&mut bytes)
            .map_err(|error| repodata(&located.path, &error))?;
        Ok(bytes)
    }

    fn wrong(&self, error: &dyn std::error::Error) -> Error {
        wrong(&self.path, error)
    }
}

/// Where the packages of a repo are.
pub(super) struct Listing {
    /// Id and size by location; packages that are on another server are left out.
    packages: HashMap<String, (Checksum, u64)>,
    /// Locations that lead out of the repo's directory, which real repos have: a tree for
    /// installers that shares the packages of the tree beside it.
    pub outside: Vec<String>,
}

/// What a repo has, as far as advisories care.
pub struct RepoPackages {
    nevras: HashSet<Nevra>,
    /// Name and architecture.
    names: HashSet<(String, String)>,
    /// The advisories that it has, by id.
    pub advisories: HashMap<String, updateinfo::Advisory>,
}

impl RepoPackages {
    /// Returns whether a package that an advisory fixes is here, in any version.
    pub fn has_any(&self, advisory: &updateinfo::Advisory) -> bool {
        let key = |nevra: &Nevra| (nevra.name.clone(), nevra.arch.clone());
        advisory.packages.iter().any(|package| self.names.contains(&key(&package.nevra)))
    }

    /// Returns whether a package that an advisory names is here, in that version.
    pub fn has_some_of(&self, advisory: &updateinfo::Advisory) -> bool {
        advisory.packages.iter().any(|package| self.nevras.contains(&package.nevra))
    }
}

/// Reads what the repo at `dir` has; nothing if it is no repo.
pub fn repo_packages(
    site: &Site,
    draft: &Draft<'_>,
    path: &RelPath,
    dir: &DirEntry,
    mode: Mode,
    observer: &dyn Observer,
) -> Result<Option<RepoPackages>> {
    let reader = Reader { site, draft, mode, observer };
    let Some(known) = Known::read(&reader, path, dir)? else { return Ok(None) };
    let (mut nevras, mut names) = (HashSet::new(), HashSet::new());
    let (file, list) = known.open("primary")?;
    primary::read(&file, list, &mut |package: primary::Package| {
        names.insert((package.nevra.name.clone(), package.nevra.arch.clone()));
        nevras.insert(package.nevra);
        Ok::<_, cairn_repodata::Error>(())
    })
    .map_err(|error| wrong(path, &error))?;
    let advisories = known.advisories()?.into_iter().map(|a| (a.id.clone(), a)).collect();
    Ok(Some(RepoPackages { nevras, names, advisories }))
}

impl Reader<'_> {
    pub fn open(&self, file: &cairn_store::tree::FileEntry, path: &RelPath) -> Result<Content> {
        self.site.open_draft(self.draft, file, path)
    }
}

/// Says what is wrong with the metadata of a repo; the cause names the file.
pub(super) fn wrong(repo: &RelPath, error: &dyn std::error::Error) -> Error {
    repodata(&repo.join(b"repodata"), error)
}

fn repodata(path: &RelPath, error: &dyn std::error::Error) -> Error {
    Error::Repodata { path: path.clone(), reason: told(error) }
}
