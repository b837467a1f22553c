//! `other.xml`: the history of every package.

use std::io::BufRead;

use crate::checksum::Checksum;
use crate::error::{Error, Result};
use crate::header::Changelog;
use crate::lists::{self, Described};
use crate::primary::number;
use crate::vercmp::Nevra;
use crate::xml::Document;

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
    lists::read(file, reader, "otherdata", "changelog", read_change, &mut |package| {
        let Described { pkgid, nevra, parts } = package;
        visit(PackageChanges { pkgid, nevra, changelogs: parts })
    })
}

/// Reads a `<changelog>` whose start tag was just read.
fn read_change<R: BufRead>(document: &mut Document<R>, record: &str) -> Result<Changelog> {
    let tag = document.last_tag()?;
    let author = tag.attribute("author")?.unwrap_or_default();
    let mut date = 0;
    number(document.file(), record, &tag, "date", &mut date)?;
    Ok(Changelog { author, date, text: document.text()? })
}
