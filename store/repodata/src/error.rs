//! The one error type of this crate.

use std::fmt;
use std::io;

use crate::checksum::ChecksumType;
use crate::codec::Compression;

/// The result of everything fallible here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why outside data was refused. Every variant names the file as the caller called it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The reader that the caller passed failed.
    #[error("{file}: {source}")]
    Io {
        /// The file as the caller named it.
        file: String,
        /// What the reader said.
        source: io::Error,
    },
    /// A compressed stream is damaged.
    #[error("{file}: damaged {compression} data: {source}")]
    Corrupt {
        /// The file as the caller named it.
        file: String,
        /// The compression that its first bytes announce.
        compression: Compression,
        /// What the decoder said.
        source: io::Error,
    },
    /// A file ends too early.
    #[error("{file}: truncated in {within}")]
    Truncated {
        /// The file as the caller named it.
        file: String,
        /// The part that is incomplete.
        within: String,
    },
    /// A file decompresses to more than was allowed.
    #[error("{file}: decompresses to more than {limit} bytes")]
    TooLarge {
        /// The file as the caller named it.
        file: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// A file is a decompression bomb.
    #[error("{file}: expands more than {ratio} times after {output} bytes")]
    Bomb {
        /// The file as the caller named it.
        file: String,
        /// The ratio that was allowed.
        ratio: u64,
        /// How much came out before it was stopped.
        output: u64,
    },
    /// Not well-formed XML, or not UTF-8.
    #[error("{file}: byte {offset}: {source}")]
    Xml {
        /// The file as the caller named it.
        file: String,
        /// Where in the decompressed data.
        offset: u64,
        /// What the parser said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A document type declaration, which no repository needs and entity attacks do.
    #[error("{file}: byte {offset}: a document type declaration is refused")]
    Doctype {
        /// The file as the caller named it.
        file: String,
        /// Where in the decompressed data.
        offset: u64,
    },
    /// A reference to an entity that XML does not predefine.
    #[error("{file}: byte {offset}: entity &{entity}; is not defined")]
    Entity {
        /// The file as the caller named it.
        file: String,
        /// Where in the decompressed data.
        offset: u64,
        /// The entity's name.
        entity: String,
    },
    /// Elements nest too deep.
    #[error("{file}: byte {offset}: elements nest deeper than {limit}")]
    Depth {
        /// The file as the caller named it.
        file: String,
        /// Where in the decompressed data.
        offset: u64,
        /// The limit in levels.
        limit: usize,
    },
    /// One part of a file is larger than it may be.
    #[error("{file}: byte {offset}: {part} exceeds {limit}")]
    Long {
        /// The file as the caller named it.
        file: String,
        /// Where in the decompressed data.
        offset: u64,
        /// Which part.
        part: &'static str,
        /// The limit in the part's unit.
        limit: usize,
    },
    /// A file of another kind than expected.
    #[error("{file}: root element is <{found}>, expected <{expected}>")]
    Root {
        /// The file as the caller named it.
        file: String,
        /// The root element found.
        found: String,
        /// The root element expected.
        expected: &'static str,
    },
    /// One record of a file is wrong.
    #[error("{file}: {record}: {reason}")]
    Record {
        /// The file as the caller named it.
        file: String,
        /// The record: a package, an advisory, a data type.
        record: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The number of packages is not what the file declares.
    #[error("{file}: declares {declared} packages, holds {found}")]
    PackageCount {
        /// The file as the caller named it.
        file: String,
        /// What `packages=` says.
        declared: u64,
        /// How many there are.
        found: u64,
    },
    /// Two packages have one id.
    #[error("{file}: package id {pkgid} occurs twice")]
    DuplicatePackage {
        /// The file as the caller named it.
        file: String,
        /// The id.
        pkgid: String,
    },
    /// `repomd.xml` has two records of one type.
    #[error("{file}: {record}: listed twice")]
    DuplicateRecord {
        /// The file as the caller named it.
        file: String,
        /// The type.
        record: String,
    },
    /// A location that must not be followed.
    #[error("{file}: {record}: href {href:?} {fault}")]
    Href {
        /// The file as the caller named it.
        file: String,
        /// The record that has the location.
        record: String,
        /// The location as written.
        href: String,
        /// The rule that it breaks.
        fault: HrefFault,
    },
    /// A checksum that proves nothing.
    #[error("{file}: {record}: {kind} is too weak, sha256 is the minimum")]
    WeakChecksum {
        /// The file as the caller named it.
        file: String,
        /// The record that has the checksum.
        record: String,
        /// Its type.
        kind: ChecksumType,
    },
    /// Content does not have the checksum that a record declares.
    #[error("{file}: {record}: expected {kind} {expected}, found {found}")]
    ChecksumMismatch {
        /// The file as the caller named it.
        file: String,
        /// The record that declares it.
        record: String,
        /// The checksum's type.
        kind: ChecksumType,
        /// The declared value.
        expected: String,
        /// The value of the content.
        found: String,
    },
    /// Content does not have the size that a record declares.
    #[error("{file}: {record}: expected {expected} bytes, found {found}")]
    SizeMismatch {
        /// The file as the caller named it.
        file: String,
        /// The record that declares it.
        record: String,
        /// The declared size.
        expected: u64,
        /// The size of the content.
        found: u64,
    },
    /// An RPM whose header cannot be read.
    #[error("{file}: not a readable rpm: {reason}")]
    Header {
        /// The file as the caller named it.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The rule that a location breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HrefFault {
    /// Nothing there.
    Empty,
    /// Starts at the root of a file system or host.
    Absolute,
    /// Names a scheme such as `file:` or `http:`.
    Scheme,
    /// Has a NUL or another control character.
    Control,
    /// Hides a dot, slash, or NUL behind percent-encoding.
    Encoded,
    /// Leads out of the allowed root.
    Escapes,
    /// Leads to the directory itself, not to a file in it.
    NoFile,
    /// Has a backslash, which some clients treat as a separator.
    Backslash,
    /// Has a query or fragment, which a file name cannot.
    Query,
    /// Leads outside the repository's own directory, where only files inside are allowed.
    OutsideRepo,
}

impl fmt::Display for HrefFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HrefFault::Empty => "is empty",
            HrefFault::Absolute => "is absolute",
            HrefFault::Scheme => "names a scheme",
            HrefFault::Control => "has a control character",
            HrefFault::Encoded => "hides a separator or dot segment by percent-encoding",
            HrefFault::Escapes => "leads out of the tree",
            HrefFault::NoFile => "names no file",
            HrefFault::Backslash => "has a backslash",
            HrefFault::Query => "has a query or fragment",
            HrefFault::OutsideRepo => "leads outside the repository",
        })
    }
}

impl Error {
    pub(crate) fn record(
        file: &str,
        record: impl Into<String>,
        reason: impl Into<String>,
    ) -> Error {
        Error::Record { file: file.to_owned(), record: record.into(), reason: reason.into() }
    }

    pub(crate) fn header(file: &str, reason: impl Into<String>) -> Error {
        Error::Header { file: file.to_owned(), reason: reason.into() }
    }

    /// Turns an I/O error into the error of ours that it carries, if it does.
    pub(crate) fn from_io(file: &str, source: io::Error) -> Error {
        match source.downcast::<Error>() {
            Ok(ours) => ours,
            Err(source) => Error::Io { file: file.to_owned(), source },
        }
    }
}
