//! What existing metadata offers to new metadata, wherever it lies.

use std::io::{BufReader, Read};

use cairn_repodata::codec::{Decoder, Limits};
use cairn_repodata::repomd::{Record, Repomd};
use cairn_repodata::{merge, modules, updateinfo};

use crate::error::{Error, Result};

/// Largest record that is held in memory: comps, advisories, modules, product ids.
pub(super) const MAX_EXTRA: u64 = 512 << 20;

/// The lists of packages.
const LISTS: [&str; 3] = ["primary", "filelists", "other"];
/// The largest list that is read as a whole, compressed, in bytes. The largest real ones have 60 MB.
const MAX_PACKED: u64 = 128 << 20;

/// The decompressed content of a record and its path, for messages.
pub(super) type Open = (String, BufReader<Decoder<'static>>);

/// The metadata of one repo, believed only as far as its checksums hold.
pub(super) trait Metadata: Sync {
    /// Returns what it declares.
    fn repomd(&self) -> &Repomd;

    /// Opens a record that must be there for reading its decompressed content. Its file is what
    /// the record declares.
    fn open(&self, kind: &str) -> Result<Open>;

    /// Returns a record's file as it is, compressed or not, and what the record declares.
    fn raw(&self, record: &Record) -> Result<Vec<u8>>;

    /// Says what is wrong with this metadata; the cause names the file.
    fn wrong(&self, error: &dyn std::error::Error) -> Error;

    /// Makes `merge` know the packages of this repo.
    fn load(&self, merge: &mut merge::Merge) -> Result<()> {
        let records = LISTS.map(|kind| self.repomd().record(kind));
        let packed = |record: &&Record| {
            record.href.ends_with(".gz") && record.size.is_some_and(|size| size <= MAX_PACKED)
        };
        if let [Some(primary), Some(filelists), Some(other)] = records.map(|r| r.filter(packed)) {
            let bytes = [self.raw(primary)?, self.raw(filelists)?, self.raw(other)?];
            let loaded = merge.load_files([
                list_file(primary, &bytes[0]),
                list_file(filelists, &bytes[1]),
                list_file(other, &bytes[2]),
            ]);
            return loaded.map_err(|error| self.wrong(&error));
        }
        let [primary, filelists, other] = LISTS.map(|kind| self.open(kind));
        let (primary, filelists, other) = (primary?, filelists?, other?);
        merge
            .load(merge::Lists {
                primary: (&primary.0, primary.1),
                filelists: (&filelists.0, filelists.1),
                other: (&other.0, other.1),
            })
            .map_err(|error| self.wrong(&error))
    }

    /// Returns the decompressed content of a record, if there is one.
    fn extra(&self, kind: &str) -> Result<Option<Vec<u8>>> {
        if self.repomd().record(kind).is_none() {
            return Ok(None);
        }
        let (path, content) = self.open(kind)?;
        let mut plain = Vec::new();
        let read = content.take(MAX_EXTRA + 1).read_to_end(&mut plain);
        let wrong = |source| self.wrong(&cairn_repodata::Error::Io { file: path.clone(), source });
        read.map_err(wrong)?;
        if plain.len() as u64 > MAX_EXTRA {
            return Err(wrong(std::io::Error::other(format!(
                "it has more than {MAX_EXTRA} bytes decompressed"
            ))));
        }
        Ok(Some(plain))
    }

    /// Returns the comps, wherever they are: old repos have them compressed only.
    fn group(&self) -> Result<Option<Vec<u8>>> {
        for kind in ["group", "group_xz", "group_gz", "group_zst"] {
            if let Some(group) = self.extra(kind)? {
                return Ok(Some(group));
            }
        }
        Ok(None)
    }

    /// Returns the advisories; none if there are none.
    fn advisories(&self) -> Result<Vec<updateinfo::Advisory>> {
        let Some(bytes) = self.extra("updateinfo")? else { return Ok(Vec::new()) };
        updateinfo::read("updateinfo", bytes.as_slice()).map_err(|error| self.wrong(&error))
    }

    /// Returns the module documents; none if there are none.
    fn modules(&self) -> Result<Vec<modules::Document>> {
        let Some(bytes) = self.extra("modules")? else { return Ok(Vec::new()) };
        modules::read("modules", &bytes).map_err(|error| self.wrong(&error))
    }
}

/// Returns a record's file as a list.
pub(super) fn list_file<'a>(record: &'a Record, bytes: &'a [u8]) -> merge::ListFile<'a> {
    let limits = Limits::default();
    let limits = record.open_size.map_or(limits, |size| limits.at_most(size));
    merge::ListFile { name: &record.href, bytes, limits }
}
