//! Repodata of a tree of packages, by the same reader and writer as everybody's.

use cairn_repodata::header::{FileFacts, Package};
use cairn_repodata::repomd::{DistroTag, Tags};
use cairn_repodata::write::{Compression, Options, RepodataBuilder};
use sha2::{Digest, Sha256};

use super::Error;
use super::compose::Compose;
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
    compose: &Compose,
    path: &str,
    built: &[Built<'_>],
    records: Records,
    time: u64,
    disk: &mut Disk,
) -> Result<(), Error> {
    let wrong = |source| Error::Repodata { repo: path.to_owned(), source: Box::new(source) };
    let Compose { major, short, .. } = compose;
    let product = short.to_lowercase();
    let mut builder = RepodataBuilder::new(Options {
        // As composes have it: what comes with comps in xz, debug and source in gzip.
        compression: if records.comps.is_some() { Compression::Xz } else { Compression::Gzip },
        revision: Some(major.clone()),
        tags: Tags {
            distro: vec![DistroTag {
                cpeid: Some(format!("cpe:/o:{product}:{product}:{major}")),
                name: format!("{short} Linux {major}"),
            }],
            ..Tags::default()
        },
        timestamp: i64::try_from(time).ok(),
        ..Options::default()
    });
    for Built { recipe, rpm } in built {
        let facts = FileFacts {
            href: recipe.href(),
            size: rpm.len() as u64,
            mtime: recipe.build_time().cast_signed(),
            sha256: Sha256::digest(rpm).into(),
        };
        let package = Package::read(rpm.as_slice(), facts).map_err(wrong)?;
        builder.package(&package).map_err(wrong)?;
    }
    let Records { comps, updateinfo, modules } = records;
    for (kind, content) in [("group", comps), ("updateinfo", updateinfo), ("modules", modules)] {
        if let Some(content) = content {
            builder.extra(kind, content.into_bytes()).map_err(wrong)?;
        }
    }
    for file in builder.finish().map_err(wrong)? {
        disk.file(&format!("{path}/repodata/{}", file.name), &file.bytes, time)?;
    }
    Ok(())
}
