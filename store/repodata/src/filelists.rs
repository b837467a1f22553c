//! `filelists.xml`: every file of every package.

use std::io::BufRead;

use crate::checksum::Checksum;
use crate::error::{Error, Result};
use crate::lists::{Keep, Packages};
use crate::primary::{File, read_evr, read_file};
use crate::vercmp::Nevra;
use crate::xml::{Document, Token};

/// The files of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageFiles {
    /// The package's id, as in `primary`.
    pub pkgid: Checksum,
    /// Its full name.
    pub nevra: Nevra,
    /// Its files in the order of the list.
    pub files: Vec<File>,
}

/// Reads a decompressed `filelists.xml` and passes each package's files to `visit`; returns how
/// many packages there were. `file` is for errors.
///
/// # Errors
///
/// What `visit` returns; anything malformed; two packages with one id; a number of packages other
/// than declared.
pub fn read<E: From<Error>>(
    file: &str,
    reader: impl BufRead,
    visit: &mut impl FnMut(PackageFiles) -> Result<(), E>,
) -> Result<u64, E> {
    let mut document = Document::new(file, reader);
    let mut packages = Packages::open(&mut document, "filelists", Keep::No)?;
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
) -> Result<PackageFiles> {
    let file = document.file().to_owned();
    let mut files = Vec::new();
    loop {
        match document.next()? {
            Token::Start(tag) => match tag.name() {
                "version" => {
                    nevra.evr = read_evr(&file, &nevra.name, &tag)?;
                    document.skip()?;
                }
                "file" => files.push(read_file(document, &nevra.name)?),
                _ => document.skip()?,
            },
            Token::Text(_) => {}
            Token::End | Token::Eof => return Ok(PackageFiles { pkgid, nevra, files }),
        }
    }
}
