//! What differs by metadata: the records of each repo, and the files that describe a tree.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::Serialize;

use cairn_repodata::repomd::{Record, Repomd};
use cairn_store::diff::diff;
use cairn_store::id::ObjectId;
use cairn_store::path::RelPath;
use cairn_store::tree::{DirEntry, Entry, Nodes};

use super::content::read_repomd;
use super::packages::Fault;
use super::repos::{REPODATA, RepoPair, differing, in_step};
use super::{Broken, Options, RepoFinding, Result};
use crate::content::Source;

/// A metadata file as `repomd.xml` declares it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordState {
    /// Its checksum, `sha256:…`.
    pub checksum: String,
    /// The checksum of its decompressed content, where it is declared.
    pub open_checksum: Option<String>,
    /// Its size in bytes, where it is declared.
    pub size: Option<u64>,
}

impl RecordState {
    fn of(record: &Record) -> Self {
        Self {
            checksum: record.checksum.to_string(),
            open_checksum: record.open_checksum.as_ref().map(ToString::to_string),
            size: record.size,
        }
    }
}

/// A record that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RecordRow {
    /// The directory of the repo.
    pub repo: RelPath,
    /// The record's type: `primary`, `group`, `modules`, `updateinfo`…
    #[serde(rename = "type")]
    pub kind: String,
    /// What was declared; nothing if the record is new.
    pub old: Option<RecordState>,
    /// What is declared; nothing if the record is gone.
    pub new: Option<RecordState>,
    /// Whether the content is the same and was only compressed otherwise.
    pub recompressed: bool,
}

/// A repo that says something else of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RevisionRow {
    /// The directory of the repo.
    pub repo: RelPath,
    /// The revision before.
    pub old: Option<String>,
    /// The revision after.
    pub new: Option<String>,
}

/// What a file that describes a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MetadataFileKind {
    /// `.treeinfo`, `treeinfo`: what an installer finds.
    Treeinfo,
    /// `.discinfo`.
    Discinfo,
    /// `media.repo`.
    MediaRepo,
    /// `COMPOSE_ID` and what lies in `metadata`: `composeinfo.json`, `rpms.json`, …
    Composeinfo,
    /// Comps outside of repodata.
    Comps,
    /// Module metadata outside of repodata.
    Modules,
    /// A list of checksums.
    Checksums,
    /// A detached signature.
    Signature,
    /// A public key.
    Key,
}

impl MetadataFileKind {
    /// Returns what a path is by its name, or nothing.
    pub fn of(path: &RelPath) -> Option<Self> {
        let name = String::from_utf8_lossy(path.file_name());
        let in_repodata =
            path.split_last().is_some_and(|(dir, _)| dir.names().any(|part| part == REPODATA));
        Some(match &*name {
            ".treeinfo" | "treeinfo" => MetadataFileKind::Treeinfo,
            ".discinfo" | "discinfo" => MetadataFileKind::Discinfo,
            "media.repo" => MetadataFileKind::MediaRepo,
            "COMPOSE_ID" | ".composeinfo" | "composeinfo.json" | "rpms.json" | "images.json"
            | "modules.json" | "extra_files.json" | "osbs.json" => MetadataFileKind::Composeinfo,
            name if name.ends_with(".asc") || name.ends_with(".sig") => MetadataFileKind::Signature,
            name if name.starts_with("RPM-GPG-KEY") => MetadataFileKind::Key,
            name if name.contains("CHECKSUM") || name.ends_with("SUMS") => {
                MetadataFileKind::Checksums
            }
            // Those in repodata are records, or are listed nowhere.
            name if name.contains("comps") && name.contains(".xml") && !in_repodata => {
                MetadataFileKind::Comps
            }
            name if name.contains("modules") && name.contains(".yaml") && !in_repodata => {
                MetadataFileKind::Modules
            }
            _ => return None,
        })
    }
}

/// A file that describes a tree and differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MetadataFile {
    /// Where it is.
    pub path: RelPath,
    /// What it is.
    pub kind: MetadataFileKind,
    /// Its content before; nothing if there was no file.
    pub old: Option<ObjectId>,
    /// Its content after; nothing if there is no file.
    pub new: Option<ObjectId>,
}

/// What differs by metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MetadataDiff {
    /// Records that differ, sorted by repo and type.
    pub records: Vec<RecordRow>,
    /// Repos whose revision differs, sorted.
    pub revisions: Vec<RevisionRow>,
    /// Files that describe a tree and whose content differs, sorted by path.
    pub files: Vec<MetadataFile>,
    /// Repos that could not be compared, when asked to report them.
    pub errors: Vec<RepoFinding>,
}

impl MetadataDiff {
    /// Returns whether nothing differs and every repo could be compared.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
            && self.revisions.is_empty()
            && self.files.is_empty()
            && self.errors.is_empty()
    }
}

/// Returns what differs by metadata. Of the contents only `repomd.xml` is read.
///
/// # Errors
/// Trees that cannot be read. A `repomd.xml` that is broken on either side, the first by path;
/// with [`Broken::Report`] it is a finding instead.
pub fn metadata(
    nodes: &dyn Nodes,
    source: &Source<'_>,
    old: Option<&DirEntry>,
    new: Option<&DirEntry>,
    options: &Options,
) -> Result<MetadataDiff> {
    let mut pairs = differing(nodes, old, new)?;
    pairs.retain(|pair| options.filter.accepts_metadata(&pair.path));
    let read: Vec<_> = pairs.par_iter().map(|pair| read_both(source, pair)).collect();
    let mut found = MetadataDiff::default();
    for (pair, result) in pairs.iter().zip(read) {
        match (result, options.broken) {
            (Ok((old, new)), _) => compare(&pair.path, &old, &new, &mut found),
            (Err(fault), Broken::Refuse) => return Err(fault.into_error(&pair.path)),
            (Err(fault), Broken::Report) => found.errors.extend(fault.into_findings(&pair.path)),
        }
    }
    diff(nodes, old, new, &mut |change| {
        let Some(kind) = MetadataFileKind::of(&change.path) else { return Ok(()) };
        let [old, new] = [&change.old, &change.new].map(|entry| match entry {
            Some(Entry::File(file)) => Some(file.object),
            Some(Entry::Dir(_) | Entry::Symlink(_)) | None => None,
        });
        let area = change.path.split_last().map_or(RelPath::ROOT, |(dir, _)| dir);
        if old != new && options.filter.accepts_metadata(&area) {
            found.files.push(MetadataFile { path: change.path, kind, old, new });
        }
        Ok(())
    })?;
    Ok(found)
}

fn read_both(source: &Source<'_>, pair: &RepoPair) -> std::result::Result<(Repomd, Repomd), Fault> {
    let [old, new] = [&pair.old, &pair.new].map(|repo| match repo {
        Some(repo) => read_repomd(source, &pair.path, repo),
        None => Ok(Repomd::default()),
    });
    Fault::both(old, new)
}

fn compare(repo: &RelPath, old: &Repomd, new: &Repomd, found: &mut MetadataDiff) {
    let by_kind = |repomd: &Repomd| -> BTreeMap<String, RecordState> {
        let records = repomd.records.iter();
        records.map(|record| (record.kind.clone(), RecordState::of(record))).collect()
    };
    let (before, after) = (by_kind(old), by_kind(new));
    for (kind, old, new) in in_step(before.into_iter(), after.into_iter()) {
        if old.as_ref().map(|r| &r.checksum) == new.as_ref().map(|r| &r.checksum) {
            continue;
        }
        let recompressed = match (&old, &new) {
            (Some(old), Some(new)) => content(old) == content(new),
            (Some(_), None) | (None, Some(_)) | (None, None) => false,
        };
        found.records.push(RecordRow { repo: repo.clone(), kind, old, new, recompressed });
    }
    if old.revision != new.revision {
        let (old, new) = (old.revision.clone(), new.revision.clone());
        found.revisions.push(RevisionRow { repo: repo.clone(), old, new });
    }
}

/// The checksum of the decompressed content; that of the file where it is not compressed.
fn content(state: &RecordState) -> &str {
    state.open_checksum.as_deref().unwrap_or(&state.checksum)
}
