//! Reading a repo's metadata out of a tree, and believing it only when it is what it should be.

use std::io::{self, BufReader, Read};

use sha2::digest::DynDigest;

use cairn_repodata::codec::{self, Decoder, Limits};
use cairn_repodata::repomd::{self, Record, Repomd};
use cairn_repodata::{Checksum, ChecksumType};
use cairn_store::id::{ObjectId, hex};
use cairn_store::path::RelPath;
use cairn_store::tree::{Entry, FileEntry, Nodes, lookup};

use super::RepoError;
use super::repos::{REPODATA, REPOMD, Repo};
use crate::content::{Content, Source};

/// Largest `repomd.xml` in bytes. Real ones have some kB; 256 records have at most 300 kB.
const MAX_REPOMD: u64 = 4 << 20;
/// How many bytes of a content are read at once.
const CHUNK: usize = 256 << 10;

/// A metadata file where it is in the tree.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) path: RelPath,
    pub(crate) file: FileEntry,
}

/// Reads the `repomd.xml` of the repo at `dir`.
pub(crate) fn read_repomd(
    source: &Source<'_>,
    dir: &RelPath,
    repo: &Repo,
) -> Result<Repomd, RepoError> {
    let path = repomd_path(dir);
    let file = as_file(&path, &repo.repomd)?;
    if file.size > MAX_REPOMD {
        return Err(RepoError::Large { path, size: file.size, limit: MAX_REPOMD });
    }
    let mut bytes = Vec::new();
    open(source, &file, &path)?
        .take(file.size.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| unreadable(&path, source))?;
    // Nothing vouches for this file but its name in the store.
    let found = ObjectId::of(&bytes);
    if found != file.object {
        let found = format!("found content that hashes to {found}");
        let source = cairn_store::Error::Mismatch { id: file.object, expected: file.size, found };
        return Err(RepoError::Content { path, source: Box::new(source.into()) });
    }
    repomd::read(&path.to_string(), bytes.as_slice())
        .map_err(|source| RepoError::metadata(&path, source))
}

/// Returns the path of the `repomd.xml` of the repo at `dir`.
pub(crate) fn repomd_path(dir: &RelPath) -> RelPath {
    dir.join(REPODATA).join(REPOMD)
}

/// Finds the file of a record; its location may not lead out of the repo.
pub(crate) fn locate(
    nodes: &dyn Nodes,
    dir: &RelPath,
    repo: &Repo,
    record: &Record,
) -> Result<Located, RepoError> {
    let repomd = repomd_path(dir);
    let wrong = |source| RepoError::metadata(&repomd, source);
    let inside = record.path(&repomd.to_string(), "").map_err(wrong)?;
    let inside = RelPath::new(&inside).map_err(|reason| {
        wrong(cairn_repodata::Error::Record {
            file: repomd.to_string(),
            record: record.kind.clone(),
            reason: format!("href {:?} cannot be a path: {reason}", record.href),
        })
    })?;
    let path = dir.join_path(&inside);
    match lookup(nodes, &repo.dir, &inside) {
        Ok(Some(entry)) => {
            let file = as_file(&path, &entry)?;
            Ok(Located { path, file })
        }
        Ok(None) => Err(RepoError::Missing { path, record: record.kind.clone() }),
        Err(source) => Err(RepoError::Content { path, source: Box::new(source.into()) }),
    }
}

/// Reads the decompressed content of a record with `read`, and returns what that made of it if
/// the file was what the record declares. One pass, nothing is held in memory.
pub(crate) fn read_record<T>(
    source: &Source<'_>,
    located: &Located,
    record: &Record,
    read: impl FnOnce(&str, &mut BufReader<Decoder<'_>>) -> cairn_repodata::Result<T>,
) -> Result<T, RepoError> {
    let Located { path, file } = located;
    let shown = path.to_string();
    let wrong = |source| RepoError::metadata(path, source);
    let wrong_size = |expected, found| {
        let (file, record) = (shown.clone(), record.kind.clone());
        wrong(cairn_repodata::Error::SizeMismatch { file, record, expected, found })
    };
    if let Some(expected) = record.size.filter(|expected| *expected != file.size) {
        return Err(wrong_size(expected, file.size));
    }
    let hasher = hasher(&shown, record).map_err(wrong)?;
    let content = open(source, file, path)?.take(file.size.saturating_add(1));
    let mut reader = BufReader::with_capacity(CHUNK, Hashed { content, hasher, bytes: 0 });
    let limits = record.open_size.map_or(Limits::default(), |s| Limits::default().at_most(s));
    let result = codec::decoder(&shown, &mut reader, limits)
        .and_then(|mut decoder| read(&shown, &mut decoder));
    // A file that is not what it should be is reported as such, not by where reading it failed.
    io::copy(&mut reader, &mut io::sink()).map_err(|source| unreadable(path, source))?;
    let Hashed { hasher, bytes, .. } = reader.into_inner();
    if bytes != file.size {
        return Err(wrong_size(file.size, bytes));
    }
    verify(&shown, record, &hasher.finalize()).map_err(wrong)?;
    result.map_err(wrong)
}

fn open(source: &Source<'_>, file: &FileEntry, path: &RelPath) -> Result<Content, RepoError> {
    source(file, path)
        .map_err(|source| RepoError::Content { path: path.clone(), source: Box::new(source) })
}

fn unreadable(path: &RelPath, source: io::Error) -> RepoError {
    RepoError::metadata(path, cairn_repodata::Error::Io { file: path.to_string(), source })
}

fn as_file(path: &RelPath, entry: &Entry) -> Result<FileEntry, RepoError> {
    let not = |found| Err(RepoError::NotAFile { path: path.clone(), found });
    match entry {
        Entry::File(file) => Ok(*file),
        Entry::Dir(_) => not("directory"),
        Entry::Symlink(_) => not("symbolic link"),
    }
}

/// Hashes what is read through it.
struct Hashed<R> {
    content: R,
    hasher: Box<dyn DynDigest + Send>,
    bytes: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

/// Returns what computes a checksum of this type.
pub(crate) fn digester(kind: ChecksumType) -> Option<Box<dyn DynDigest + Send>> {
    Some(match kind {
        ChecksumType::Sha224 => Box::new(sha2::Sha224::default()),
        ChecksumType::Sha256 => Box::new(sha2::Sha256::default()),
        ChecksumType::Sha384 => Box::new(sha2::Sha384::default()),
        ChecksumType::Sha512 => Box::new(sha2::Sha512::default()),
        // They prove nothing.
        ChecksumType::Md5 | ChecksumType::Sha1 => return None,
    })
}

/// Returns what computes a record's checksum, which proves something.
pub(crate) fn hasher(
    shown: &str,
    record: &Record,
) -> cairn_repodata::Result<Box<dyn DynDigest + Send>> {
    let kind = record.checksum.kind();
    digester(kind).ok_or_else(|| {
        let (file, record) = (shown.to_owned(), record.kind.clone());
        cairn_repodata::Error::WeakChecksum { file, record, kind }
    })
}

/// Checks that a digest is the one that a record declares.
pub(crate) fn verify(shown: &str, record: &Record, digest: &[u8]) -> cairn_repodata::Result<()> {
    let expected: &Checksum = &record.checksum;
    let found = hex(digest);
    if found == expected.hex() {
        return Ok(());
    }
    Err(cairn_repodata::Error::ChecksumMismatch {
        file: shown.to_owned(),
        record: record.kind.clone(),
        kind: expected.kind(),
        expected: expected.hex().to_owned(),
        found,
    })
}
