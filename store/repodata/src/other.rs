//! `other.xml`: the history of every package.

use std::io::BufRead;

use crate::checksum::Checksum;
use crate::error::{Error, Result};
use crate::header::Changelog;
use crate::lists::{Keep, Packages};
use crate::primary::{number, read_evr};
use crate::vercmp::Nevra;
use crate::xml::{Document, Token};

/// The history of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageChanges {
    /// The package's id, as in `primary`.
    pub pkgid: Checksum,
    /// Its full name.
    pub nevra: Nevra,
    /// Its changes, oldest first.
    pub changelogs: Vec<Changelog>,
}

/// Reads a decompressed `other.xml` and passes each package's history to `visit`; returns how
/// many packages there were. `file` is for errors.
///
/// # Errors
///
/// What `visit` returns; anything malformed; two packages with one id; a number of packages other
/// than declared.
pub fn read<E: From<Error>>(
    file: &str,
    reader: impl BufRead,
    visit: &mut impl FnMut(PackageChanges) -> Result<(), E>,
) -> Result<u64, E> {
    let mut document = Document::new(file, reader);
    let mut packages = Packages::open(&mut document, "otherdata", Keep::No)?;
    while packages.next(&mut document)? {
        let (pkgid, name, arch) = packages.identity(&document)?;
        let package = read_package(&mut document, pkgid, Nevra { name, arch, ..Nevra::default() })?;
        visit(package)?;
    }
    Ok(packages.close(&mut document)?)
}

fn read_package<R: BufRead>(
    document: &mut Document<R>,
    pkgid: Checksum,
    mut nevra: Nevra,
) -> Result<PackageChanges> {
    let file = document.file().to_owned();
    let mut changelogs = Vec::new();
    loop {
        match document.next()? {
            Token::Start(tag) => match tag.name() {
                "version" => {
                    nevra.evr = read_evr(&file, &nevra.name, &tag)?;
                    document.skip()?;
                }
                "changelog" => {
                    let author = tag.attribute("author")?.unwrap_or_default();
                    let mut date = 0;
                    number(&file, &nevra.name, &tag, "date", &mut date)?;
                    let text = document.text()?;
                    changelogs.push(Changelog { author, date, text });
                }
                _ => document.skip()?,
            },
            Token::Text(_) => {}
            Token::End | Token::Eof => return Ok(PackageChanges { pkgid, nevra, changelogs }),
        }
    }
}
