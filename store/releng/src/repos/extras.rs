//! What a repo's metadata has beside its packages: comps, modules, advisories, other records; and
//! what hangs on the metadata as a whole.

use std::collections::BTreeMap;

use cairn_repodata::repomd::{self, Record, Repomd};
use cairn_repodata::treeinfo::Treeinfo;
use cairn_repodata::updateinfo::Advisory;
use cairn_repodata::write::{Compression, Options, RepodataBuilder};
use cairn_repodata::{Checksum, modules, updateinfo};
use cairn_store::fs;
use sha2::{Digest, Sha256};

use super::inputs::External;
use super::metadata::Metadata;
use crate::error::{Error, Result};

/// Files that describe an installable tree, and may name `repomd.xml` with its checksum.
pub(super) const TREEINFOS: [&[u8]; 2] = [b".treeinfo", b"treeinfo"];
/// The largest treeinfo that is read, in bytes.
pub(super) const MAX_TREEINFO: u64 = 4 << 20;

/// What a repo's metadata shall have beside the packages.
pub(super) struct Extras<'k> {
    /// Content by type, to be compressed.
    plain: BTreeMap<&'static str, Vec<u8>>,
    /// Records that go over as they are, with where they are.
    carried: Vec<(&'k Record, &'k dyn Metadata)>,
    advisories: usize,
    newest: Option<i64>,
}

impl<'k> Extras<'k> {
    /// Gathers them from metadata that is known, the newest last, and from outside of it, which is
    /// newer than all.
    ///
    /// Comps and records of other tools are the newest's; modules and advisories are merged.
    pub fn gather(
        known: &[&'k dyn Metadata],
        outside: External,
        advisories: Vec<Advisory>,
    ) -> Result<Self> {
        let External { mut group, modules: outside, newest } = outside;
        for known in known.iter().rev() {
            if group.is_none() {
                group = known.group()?;
            }
        }
        let mut plain: BTreeMap<_, _> = group.map(|bytes| ("group", bytes)).into_iter().collect();

        let mut documents = Vec::new();
        for known in known {
            documents = modules::merge(documents, known.modules()?);
        }
        documents = modules::merge(documents, outside);
        if !documents.is_empty() {
            let all = sorted(documents.iter().map(|document| &document.bytes));
            let mut bytes = modules::write(&documents);
            for known in known {
                let own = known.modules()?;
                if sorted(own.iter().map(|document| &document.bytes)) == all {
                    bytes = known.extra("modules")?.unwrap_or(bytes);
                    break;
                }
            }
            plain.insert("modules", bytes);
        }

        let mut lists = Vec::new();
        for known in known {
            lists.push(known.advisories()?);
        }
        let owns: Vec<_> = lists.iter().map(|own| sorted(own.iter().map(digest))).collect();
        lists.push(advisories);
        let advisories = updateinfo::merge(lists);
        if !advisories.is_empty() {
            let all = sorted(advisories.iter().map(digest));
            let same = owns.iter().position(|own| *own == all);
            let bytes = same.map(|at| known[at].extra("updateinfo")).transpose()?.flatten();
            plain.insert("updateinfo", bytes.unwrap_or_else(|| updateinfo::write(&advisories)));
        }

        let mut carried = BTreeMap::new();
        for known in known {
            for record in &known.repomd().records {
                // Other forms of what is made, such as `group_gz`, say what was before.
                let content = repomd::content_of(&record.kind);
                if !is_made(content) && !repomd::describes_packages(&record.kind) {
                    carried.insert(record.kind.as_str(), (record, *known));
                }
            }
        }
        let carried = carried.into_values().collect();
        Ok(Self { plain, carried, advisories: advisories.len(), newest })
    }

    /// Returns how many advisories there are.
    pub fn advisories(&self) -> usize {
        self.advisories
    }

    /// Returns whether there are comps.
    pub fn has_group(&self) -> bool {
        self.plain.contains_key("group")
    }

    /// Returns the newest time of what came from outside.
    pub fn newest(&self) -> Option<i64> {
        self.newest
    }

    /// Returns whether existing metadata has all of this.
    pub fn are_in(&self, repomd: &Repomd) -> bool {
        self.plain.iter().all(|(kind, bytes)| {
            let found = repomd.record(kind).or_else(|| {
                // Old repos have their comps compressed only.
                let packed = |record: &&Record| record.kind.starts_with("group_");
                repomd.records.iter().find(packed).filter(|_| *kind == "group")
            });
            found.is_some_and(|record| content_sum(record) == Checksum::sha256(bytes))
        })
    }

    /// Returns whether existing metadata of the same packages is what would be written now.
    pub fn are_all_of(&self, repomd: &Repomd, options: &Options) -> bool {
        let mut expected: Vec<(String, Option<Checksum>)> = Vec::new();
        for (kind, bytes) in &self.plain {
            let sum = Checksum::sha256(bytes);
            if *kind == "group" && options.compression != Compression::None {
                let suffix = options.compression.suffix().trim_start_matches('.');
                expected.push((format!("group_{suffix}"), Some(sum.clone())));
            }
            expected.push(((*kind).to_owned(), Some(sum)));
        }
        let carried = self.carried.iter();
        expected
            .extend(carried.map(|(record, _)| (record.kind.clone(), Some(content_sum(record)))));
        expected.extend(["primary", "filelists", "other"].map(|kind| (kind.to_owned(), None)));
        let suffix = options.compression.suffix();
        // What describes packages in another form is as true as the lists beside it.
        let counted =
            |record: &&Record| !repomd::describes_packages(&record.kind) || is_made(&record.kind);
        repomd.revision == options.revision
            && repomd.tags == options.tags
            && repomd.records.iter().filter(counted).count() == expected.len()
            && expected.iter().all(|(kind, sum)| {
                repomd.record(kind).is_some_and(|record| match sum {
                    Some(sum) => content_sum(record) == *sum,
                    None => record.href.ends_with(&format!(".xml{suffix}")),
                })
            })
    }

    /// Puts all of it into new metadata, and returns the types of the records.
    pub fn write(
        self,
        builder: &mut RepodataBuilder,
        bad: impl Fn(cairn_repodata::Error) -> Error,
    ) -> Result<Vec<String>> {
        let mut records: Vec<String> = Vec::new();
        for (kind, bytes) in self.plain {
            builder.extra(kind, bytes).map_err(&bad)?;
            records.push(kind.to_owned());
        }
        for (record, known) in self.carried {
            builder.carry(record, known.raw(record)?).map_err(&bad)?;
            records.push(record.kind.clone());
        }
        Ok(records)
    }
}

/// Returns whether a record is made from packages, comps, modules or advisories by the writer.
fn is_made(kind: &str) -> bool {
    matches!(kind, "primary" | "filelists" | "other" | "group" | "modules" | "updateinfo")
        || kind.starts_with("group_")
}

/// Returns the checksum of a record's content, decompressed.
fn content_sum(record: &Record) -> Checksum {
    record.open_checksum.clone().unwrap_or_else(|| record.checksum.clone())
}

/// Returns the time that metadata shall carry, which reproducible builds may hold back.
pub(super) fn held_back(newest: Option<i64>) -> Option<i64> {
    let limit: Option<i64> = fs::env("SOURCE_DATE_EPOCH").and_then(|text| text.parse().ok());
    newest.map(|time| limit.map_or(time, |limit| time.min(limit)))
}

/// Returns a treeinfo that tells the truth of the `repomd.xml` beside it, if it did not.
pub(super) fn refreshed_treeinfo(
    name: &str,
    treeinfo: &[u8],
    repomd: &[u8],
) -> cairn_repodata::Result<Option<Vec<u8>>> {
    let mut info = Treeinfo::read(name, treeinfo)?;
    let sum = Checksum::sha256(repomd);
    let changed =
        info.refresh_checksums(|named| (named == "repodata/repomd.xml").then(|| sum.clone()))?;
    Ok((!changed.is_empty()).then(|| info.write()))
}

/// What one side has in whatever order is what all have together: then its bytes stay, and nobody
/// fetches them again.
fn sorted<T: Ord>(of: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = of.collect();
    all.sort_unstable();
    all
}

fn digest(advisory: &Advisory) -> [u8; 32] {
    Sha256::digest(&advisory.bytes).into()
}
