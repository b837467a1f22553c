//! What the three package lists have in common: a declared number of packages with unique ids; and
//! what two of them do: packages that are named by attributes and have parts of one kind.

use std::collections::HashSet;
use std::io::BufRead;
use std::ops::Range;

use crate::checksum::Checksum;
use crate::error::{Error, Result};
use crate::limits::MAX_PACKAGES;
use crate::primary::{Location, read_evr, read_location};
use crate::vercmp::Nevra;
use crate::xml::{Document, Token};

/// Whether elements of packages may be kept as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    No,
    Yes,
}

/// A package of a list that names it by attributes and has parts of one kind.
pub(crate) struct Described<T> {
    pub(crate) pkgid: Checksum,
    pub(crate) nevra: Nevra,
    pub(crate) parts: Vec<T>,
}

/// Reads such a list: `part` is the element that is read by `read_part`, which gets the package's
/// name for errors.
pub(crate) fn read<R: BufRead, T, E: From<Error>>(
    file: &str,
    reader: R,
    root: &'static str,
    part: &'static str,
    read_part: impl Fn(&mut Document<R>, &str) -> Result<T>,
    visit: &mut impl FnMut(Described<T>) -> Result<(), E>,
) -> Result<u64, E> {
    let mut document = Document::new(file, reader);
    let mut packages = Packages::open(&mut document, root, Keep::No)?;
    while packages.next(&mut document)? {
        let (pkgid, name, arch) = packages.identity(&document)?;
        let mut nevra = Nevra { name, arch, ..Nevra::default() };
        let mut parts = Vec::new();
        loop {
            match document.next()? {
                Token::Start(tag) if tag.name() == part => {
                    parts.push(read_part(&mut document, &nevra.name)?);
                }
                Token::Start(tag) if tag.name() == "version" => {
                    nevra.evr = read_evr(file, &nevra.name, &tag)?;
                    document.skip()?;
                }
                Token::Start(_) => document.skip()?,
                Token::Text(_) => {}
                Token::End | Token::Eof => break,
            }
        }
        visit(Described { pkgid, nevra, parts })?;
    }
    Ok(packages.close(&mut document)?)
}

/// The packages of one list while they are read.
pub(crate) struct Packages {
    declared: u64,
    found: u64,
    seen: HashSet<Checksum>,
    /// The prefixes that elements may have.
    pub(crate) prefixes: &'static [&'static str],
}

impl Packages {
    /// Reads the root element.
    pub(crate) fn open<R: BufRead>(
        document: &mut Document<R>,
        root: &'static str,
        keep: Keep,
    ) -> Result<Packages> {
        let attributes = document.root(root)?;
        let declared = attributes.get("packages").and_then(|n| n.trim().parse().ok());
        let declared = declared
            .ok_or_else(|| Error::record(document.file(), root, "no number of packages"))?;
        if declared > MAX_PACKAGES {
            let (file, limit) = (document.file().to_owned(), MAX_PACKAGES as usize);
            let (part, offset) = ("the number of packages", document.offset());
            return Err(Error::Long { file, offset, part, limit });
        }
        if keep == Keep::Yes && !namespaces_are_usual(root, &attributes.0) {
            let reason =
                "its XML namespaces have unusual prefixes, elements cannot be carried over";
            return Err(Error::record(document.file(), root, reason));
        }
        let prefixes: &[&str] = if root == "metadata" { &["rpm"] } else { &[] };
        Ok(Packages { declared, found: 0, seen: HashSet::new(), prefixes })
    }

    /// Reads up to the next package's start tag; returns false if there is none.
    pub(crate) fn next<R: BufRead>(&mut self, document: &mut Document<R>) -> Result<bool> {
        loop {
            match document.next()? {
                Token::Start(tag) if tag.name() == "package" => {
                    self.one_more(document.file())?;
                    return Ok(true);
                }
                Token::Start(_) => document.skip()?,
                Token::Text(_) => {}
                Token::End | Token::Eof => return Ok(false),
            }
        }
    }

    /// Counts a package.
    pub(crate) fn one_more(&mut self, file: &str) -> Result<()> {
        self.found += 1;
        match self.found > self.declared {
            true => Err(self.count(file)),
            false => Ok(()),
        }
    }

    /// Takes the last package back, which somebody else will count.
    pub(crate) fn one_less(&mut self) {
        self.found -= 1;
    }

    /// Reads the location of the package whose start tag was just read.
    pub(crate) fn location<R: BufRead>(
        &self,
        document: &mut Document<R>,
        keep: Keep,
    ) -> Result<(Location, Range<usize>)> {
        if keep == Keep::Yes {
            self.keep(document)?;
        }
        read_location(document)
    }

    /// Reads past the package whose start tag was just read.
    pub(crate) fn pass<R: BufRead>(&self, document: &mut Document<R>, keep: Keep) -> Result<()> {
        if keep == Keep::Yes {
            self.keep(document)?;
        }
        document.skip()
    }

    /// Starts to keep the package whose start tag was just read; the list was opened for that.
    pub(crate) fn keep<R: BufRead>(&self, document: &mut Document<R>) -> Result<()> {
        document.keep(self.prefixes)
    }

    /// Returns name, architecture and id of the package whose start tag was just read, for the
    /// lists that have them as attributes.
    pub(crate) fn identity<R: BufRead>(
        &mut self,
        document: &Document<R>,
    ) -> Result<(Checksum, String, String)> {
        let attributes = document.last_attributes()?;
        let text = |name| attributes.get(name).unwrap_or_default().to_owned();
        let (name, arch) = (text("name"), text("arch"));
        let pkgid = Checksum::parse_pkgid(document.file(), &name, &text("pkgid"))?;
        self.seen(document.file(), &pkgid)?;
        Ok((pkgid, name, arch))
    }

    /// Notes a package's id.
    pub(crate) fn seen(&mut self, file: &str, pkgid: &Checksum) -> Result<()> {
        if self.seen.insert(pkgid.clone()) {
            return Ok(());
        }
        let (file, pkgid) = (file.to_owned(), pkgid.hex().to_owned());
        Err(Error::DuplicatePackage { file, pkgid })
    }

    /// Reads the end of the document and returns the number of packages.
    pub(crate) fn close<R: BufRead>(self, document: &mut Document<R>) -> Result<u64> {
        document.finish()?;
        self.complete(document.file())
    }

    /// Returns the number of packages, which must be the declared one.
    pub(crate) fn complete(&self, file: &str) -> Result<u64> {
        match self.found == self.declared {
            true => Ok(self.found),
            false => Err(self.count(file)),
        }
    }

    fn count(&self, file: &str) -> Error {
        let (declared, found) = (self.declared, self.found);
        Error::PackageCount { file: file.to_owned(), declared, found }
    }
}

/// Returns whether elements can be copied into a document of ours: the default namespace is the
/// root's own, and the only prefix is `rpm`.
fn namespaces_are_usual(root: &str, attributes: &[(String, String)]) -> bool {
    let usual = match root {
        "metadata" => "http://linux.duke.edu/metadata/common",
        "filelists" => "http://linux.duke.edu/metadata/filelists",
        _ => "http://linux.duke.edu/metadata/other",
    };
    attributes.iter().all(|(name, value)| match name.as_str() {
        "xmlns" => value == usual,
        "xmlns:rpm" => value == "http://linux.duke.edu/metadata/rpm",
        other => !other.starts_with("xmlns:"),
    })
}
