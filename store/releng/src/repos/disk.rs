//! A plain directory: its RPMs, and the metadata that it has already.

use std::io::{self, BufReader, Read};
use std::path::PathBuf;

use cairn_repodata::codec::{self, Limits};
use cairn_repodata::header::{FileFacts, Headers, Package};
use cairn_repodata::merge::{Merge, Primary};
use cairn_repodata::repomd::{self, Record, Repomd};
use cairn_store::fs::{Dir, Kind, Stat, Time};
use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::metadata::{MAX_EXTRA, Metadata, Open, list_file};
use crate::audit::content::{hasher, verify};
use crate::audit::repos::{REPODATA, REPOMD};
use crate::error::{Error, Result, told};

/// Largest `repomd.xml` in bytes; 256 records have at most 300 kB.
const MAX_REPOMD: u64 = 4 << 20;
/// How many bytes are read at once.
const CHUNK: usize = 128 << 10;

/// An RPM of the directory.
pub(super) struct Rpm {
    /// Where it is, relative to the directory.
    pub href: String,
    path: RelPath,
    /// What it was when it was found.
    pub stat: Stat,
}

/// What a walk found.
#[derive(Default)]
pub(super) struct Found {
    /// Sorted by location.
    pub rpms: Vec<Rpm>,
    /// Links that look like packages, and are none.
    pub links: Vec<RelPath>,
}

/// Finds the RPMs below `root`. What lies in a repo inside of it is that one's, and links are not
/// followed.
pub(super) fn find(root: &Dir, observer: &dyn Observer) -> Result<Found> {
    let mut found = Found::default();
    below(root, &RelPath::ROOT, &mut found, observer)?;
    found.rpms.sort_unstable_by(|a, b| a.href.cmp(&b.href));
    found.links.sort_unstable();
    Ok(found)
}

fn below(dir: &Dir, path: &RelPath, found: &mut Found, observer: &dyn Observer) -> Result<()> {
    if observer.interrupted() {
        return Err(cairn_store::Error::Interrupted.into());
    }
    let names = dir.names()?;
    if !path.is_root() && names.iter().any(|name| **name == *REPODATA) && is_dir(dir, REPODATA)? {
        return Ok(());
    }
    // On a network file system each of these waits for an answer.
    let stats = names.par_iter().with_min_len(64).map(|name| dir.try_stat(name));
    let stats = stats.collect::<cairn_store::Result<Vec<_>>>()?;
    for (name, stat) in names.iter().zip(stats) {
        // What is gone by now has gone.
        let Some(stat) = stat else { continue };
        let is_rpm = name.ends_with(b".rpm");
        let at = path.join(name);
        match stat.kind {
            Kind::File if is_rpm => {
                let refuse = |reason: String| Error::Input { path: dir.path_of(name), reason };
                let href = at.to_str().ok_or_else(|| {
                    refuse("metadata cannot list a name that is not UTF-8".to_owned())
                })?;
                cairn_repodata::href::check_href(href).map_err(|fault| {
                    refuse(format!("metadata cannot list it: its path {fault}"))
                })?;
                found.rpms.push(Rpm { href: href.to_owned(), path: at, stat });
            }
            Kind::Dir if **name != *REPODATA => below(&dir.dir(name)?, &at, found, observer)?,
            Kind::Symlink if is_rpm => found.links.push(at),
            Kind::Other(kind) if is_rpm => {
                let reason = format!("a {kind} is no package");
                return Err(Error::Input { path: dir.path_of(name), reason });
            }
            Kind::File | Kind::Dir | Kind::Symlink | Kind::Other(_) => {}
        }
    }
    Ok(())
}

fn is_dir(dir: &Dir, name: &[u8]) -> Result<bool> {
    Ok(dir.try_stat(name)?.is_some_and(|stat| stat.kind == Kind::Dir))
}

impl Rpm {
    /// Returns the modification time that metadata has of it.
    pub fn mtime(&self) -> i64 {
        self.stat.mtime.secs
    }

    /// Returns what metadata knows of the file, given its hash.
    pub fn facts(&self, sha256: [u8; 32]) -> FileFacts {
        let (size, mtime) = (self.stat.size, self.mtime());
        FileFacts { href: self.href.clone(), size, mtime, sha256 }
    }

    /// Reads the file once: its headers, and the hash of all of it.
    pub fn read(&self, root: &Dir, observer: &dyn Observer) -> Result<([u8; 32], Package)> {
        let (parent, name) = self.path.split_last().unwrap_or((RelPath::ROOT, b""));
        let dir = root.dir_at(&parent)?;
        let file = dir.open_file(name)?;
        let path = file.path().to_owned();
        let unchanged = |now: Stat| -> Result<()> {
            let key = |stat: &Stat| (stat.kind, stat.size, stat.mtime, stat.dev, stat.ino);
            if key(&now) == key(&self.stat) {
                return Ok(());
            }
            let what = "size, time or inode";
            Err(cairn_store::Error::Changed { path: path.clone(), what }.into())
        };
        unchanged(file.stat()?)?;
        let wrong = |error: &dyn std::error::Error| {
            // It names the file by its location.
            let (reason, location) = (told(error), format!("{}: ", self.href));
            let reason = reason.strip_prefix(&location).unwrap_or(&reason).to_owned();
            Error::Input { path: path.clone(), reason }
        };
        let unreadable =
            |source| Error::from(cairn_store::Error::Io { op: "read", path: path.clone(), source });
        let hashed = Hashed { file: file.into_file(), hasher: Sha256::new(), observer };
        let mut reader = BufReader::with_capacity(CHUNK, hashed);
        let headers = Headers::read(&self.href, &mut reader);
        // Also where these are no headers: then it is said what is wrong with a file that is whole.
        let rest = io::copy(&mut reader, &mut io::sink());
        if observer.interrupted() {
            return Err(cairn_store::Error::Interrupted.into());
        }
        rest.map_err(unreadable)?;
        unchanged(dir.stat(name)?)?;
        let sha256 = reader.into_inner().hasher.finalize().into();
        let headers = headers.map_err(|error| wrong(&error))?;
        let package =
            Package::from_headers(&headers, self.facts(sha256)).map_err(|error| wrong(&error))?;
        observer.advance(1, self.stat.size);
        Ok((sha256, package))
    }
}

/// Hashes what is read through it, until the operator wants to stop.
struct Hashed<'a> {
    file: std::fs::File,
    hasher: Sha256,
    observer: &'a dyn Observer,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.observer.interrupted() {
            return Err(io::Error::other("interrupted"));
        }
        let read = self.file.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

/// The metadata that a directory has. Its files are what it declares once that was verified.
pub(super) struct Disk {
    /// Its directory.
    pub dir: Dir,
    /// The bytes of its `repomd.xml`.
    pub bytes: Vec<u8>,
    repomd: Repomd,
    /// When it was made: what changed since then is not what it describes.
    pub made: Time,
}

impl Disk {
    /// Reads the metadata of the repo at `root`, if there is any.
    ///
    /// # Errors
    /// [`Error::Input`] for metadata that is not what it should be.
    pub fn read(root: &Dir) -> Result<Option<Disk>> {
        let Some(stat) = root.try_stat(REPODATA)? else { return Ok(None) };
        if stat.kind != Kind::Dir {
            // It is replaced as a whole, and what it leads to is not ours.
            let reason = "it is not a directory; remove it, then run the command again".to_owned();
            return Err(Error::Refused {
                name: cairn_store::path::display(&root.path_of(REPODATA)).to_string(),
                rule: "repodata-directory",
                reason,
            });
        }
        let dir = root.dir(REPODATA)?;
        let Some(stat) = dir.try_stat(REPOMD)? else { return Ok(None) };
        let path = dir.path_of(REPOMD);
        if stat.kind != Kind::File || stat.size > MAX_REPOMD {
            let reason = format!("it is not a file of at most {MAX_REPOMD} bytes");
            return Err(Error::Input { path, reason });
        }
        let bytes = dir.read(REPOMD)?;
        let repomd = repomd::read("repomd.xml", bytes.as_slice())
            .map_err(|error| Error::Input { path, reason: told(&error) })?;
        Ok(Some(Disk { dir, bytes, repomd, made: stat.mtime }))
    }

    /// Makes sure that all files are what they are declared to be.
    pub fn verify_all(&self) -> Result<()> {
        self.repomd.records.par_iter().try_for_each(|record| self.verify(record))
    }

    /// Reads the list that says where every package is.
    pub fn primary(&self) -> Result<Primary> {
        let record = self.list("primary")?;
        let bytes = self.raw(record)?;
        Primary::read(&list_file(record, &bytes)).map_err(|error| self.wrong(&error))
    }

    /// Makes `merge` know the packages of this repo, whose `primary` was read before.
    pub fn load_with(&self, primary: Primary, merge: &mut Merge) -> Result<()> {
        let (filelists, other) = (self.list("filelists")?, self.list("other")?);
        let bytes = [self.raw(filelists)?, self.raw(other)?];
        merge
            .load_with(primary, list_file(filelists, &bytes[0]), list_file(other, &bytes[1]))
            .map_err(|error| self.wrong(&error))
    }

    fn list(&self, kind: &str) -> Result<&Record> {
        self.repomd.record(kind).ok_or_else(|| {
            let reason = format!("it lists no {kind}");
            Error::Input { path: self.path_of(REPOMD), reason }
        })
    }

    /// Returns the name of a record's file in the metadata's directory, where all of them are.
    pub fn name(&self, record: &Record) -> Result<String> {
        let path = record.path(&self.shown(REPOMD), "").map_err(|error| self.wrong(&error))?;
        match path.split_once('/') {
            Some(("repodata", name)) if !name.contains('/') => Ok(name.to_owned()),
            _ => Err(self.wrong(&cairn_repodata::Error::Record {
                file: self.shown(REPOMD),
                record: record.kind.clone(),
                reason: format!("{path} is not in repodata"),
            })),
        }
    }

    fn shown(&self, name: &[u8]) -> String {
        cairn_store::path::display(&self.path_of(name)).to_string()
    }

    fn path_of(&self, name: &[u8]) -> PathBuf {
        self.dir.path_of(name)
    }

    /// Makes sure that a record's file is what the record declares.
    fn verify(&self, record: &Record) -> Result<()> {
        let name = self.name(record)?;
        let content = self.dir.open_file(name.as_bytes())?;
        let wrong = |reason: String| Error::Input { path: self.path_of(name.as_bytes()), reason };
        let stat = content.stat()?;
        if stat.kind != Kind::File || record.size.is_some_and(|size| size != stat.size) {
            let size = stat.size;
            return Err(wrong(format!(
                "it is not the file that repomd.xml declares: {size} bytes"
            )));
        }
        let told = |error: cairn_repodata::Error| wrong(told(&error));
        let mut hasher = hasher(&name, record).map_err(told)?;
        let mut buffer = vec![0; CHUNK];
        let mut content = content;
        loop {
            let read = content.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
        }
        verify(&name, record, &hasher.finalize()).map_err(told)
    }
}

impl Metadata for Disk {
    fn repomd(&self) -> &Repomd {
        &self.repomd
    }

    fn open(&self, kind: &str) -> Result<Open> {
        let record = self.list(kind)?;
        let name = self.name(record)?;
        let file = self.dir.open_file(name.as_bytes())?.into_file();
        let limits = record.open_size.map_or(Limits::default(), |s| Limits::default().at_most(s));
        let decoder = codec::decoder(&name, BufReader::with_capacity(CHUNK, file), limits)
            .map_err(|error| self.wrong(&error))?;
        Ok((name, decoder))
    }

    fn raw(&self, record: &Record) -> Result<Vec<u8>> {
        let name = self.name(record)?;
        let stat = self.dir.stat(name.as_bytes())?;
        if stat.size > MAX_EXTRA {
            let reason = format!("it has more than {MAX_EXTRA} bytes");
            return Err(Error::Input { path: self.path_of(name.as_bytes()), reason });
        }
        Ok(self.dir.read(name.as_bytes())?)
    }

    fn wrong(&self, error: &dyn std::error::Error) -> Error {
        Error::Input { path: self.dir.path().to_owned(), reason: told(error) }
    }
}
