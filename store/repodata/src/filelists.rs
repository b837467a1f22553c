//! `filelists.xml`: every file of every package.

use std::io::BufRead;

use crate::checksum::Checksum;
use crate::error::{Error, Result};
use crate::lists::{self, Described};
use crate::primary::{File, read_file};
use crate::vercmp::Nevra;

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
    lists::read(file, reader, "filelists", "file", read_file, &mut |package| {
        let Described { pkgid, nevra, parts } = package;
        visit(PackageFiles { pkgid, nevra, files: parts })
    })
}
