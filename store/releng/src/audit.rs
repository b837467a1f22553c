//! The audit: what differs between two trees, in the terms of a release.
//!
//! Three levels, each a plain value to be rendered by the caller: [`files`] by path, [`packages`]
//! by NEVRA per repo, [`metadata`] by repodata record. [`compare`] makes one [`Audit`] of them, with
//! what it takes to review a release: packages folded by source, advisories, module streams, comps,
//! treeinfo, images, sizes, and what to look at first. A repo is a directory that holds
//! `repodata/repomd.xml`; the two trees' repos are found in one walk in step and are compared
//! where their paths are equal.
//!
//! Nothing is written and nothing is locked. Work follows the change: equal subtrees are skipped
//! by their id, and of a repo whose `repomd.xml` is the same nothing is read. What is read is
//! read as a stream, within the bounds of `cairn-repodata`, and is used only if it has the
//! checksum that `repomd.xml` declares. Contents come from a [`Source`], so the caller decides
//! which pool is asked.

use std::collections::BTreeSet;

use serde::Serialize;

use cairn_store::path::RelPath;
use cairn_store::tree::{DirEntry, Nodes};

use crate::content::Source;

mod advisories;
mod attention;
mod comps;
pub(crate) mod content;
mod contents;
mod dependencies;
mod files;
mod filter;
mod metadata;
mod packages;
mod pairing;
pub(crate) mod repos;
mod sizes;
mod sources;
mod streams;
mod treeinfo;

#[cfg(test)]
mod tests;

pub use advisories::AdvisoryRow;
pub use attention::{Attention, Rule};
pub use comps::{CompsKind, CompsRow};
pub use dependencies::DependencyRow;
pub use files::{Directories, FileCategory, FileRow, FilesDiff, RepoFiles, files};
pub use filter::Filter;
pub use metadata::{
    MetadataDiff, MetadataFile, MetadataFileKind, RecordRow, RecordState, RevisionRow, metadata,
};
pub use packages::{PackageRow, PackagesDiff, packages, packages_with};
pub use sizes::{Amount, SizeRow, sizes};
pub use sources::{Fate, SourceRow, by_source};
pub use streams::{ModuleDocument, ModuleDocumentRow, ModulesDiff, StreamRow};
pub use treeinfo::{TreeinfoKey, TreeinfoRow};

/// The result of an audit.
pub type Result<T> = std::result::Result<T, Error>;

/// One of the two trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// What was.
    Old,
    /// What is to be.
    New,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Side::Old => "old",
            Side::New => "new",
        })
    }
}

/// Why an audit cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tree cannot be read.
    #[error(transparent)]
    Store(#[from] cairn_store::Error),
    /// A repo's metadata cannot be used.
    #[error("{side} tree: {source}")]
    Repo {
        /// The repo's directory.
        repo: RelPath,
        /// The tree that it is in.
        side: Side,
        /// What is wrong; it names the file.
        source: Box<RepoError>,
    },
    /// A filter that is no pattern.
    #[error("{pattern:?} is not a pattern: {source}")]
    Pattern {
        /// The pattern as it was given.
        pattern: String,
        /// The rule that it breaks.
        source: globset::Error,
    },
}

/// Why a repo's metadata cannot be used. Messages begin with the path inside the tree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepoError {
    /// The metadata itself is broken, or is not what `repomd.xml` declares.
    #[error("{source}")]
    Metadata {
        /// The path inside the tree.
        path: RelPath,
        /// What is wrong; it names the file too.
        source: Box<cairn_repodata::Error>,
    },
    /// The content cannot be had.
    #[error("{path}: {source}")]
    Content {
        /// The path inside the tree.
        path: RelPath,
        /// The store's answer.
        source: Box<crate::Error>,
    },
    /// `repomd.xml` lists a file that is not there.
    #[error("{path}: listed in repomd.xml as {record}, but not in the tree")]
    Missing {
        /// The path inside the tree.
        path: RelPath,
        /// The record's type.
        record: String,
    },
    /// Metadata must be a file.
    #[error("{path}: a {found} is not metadata")]
    NotAFile {
        /// The path inside the tree.
        path: RelPath,
        /// What it is instead.
        found: &'static str,
    },
    /// A repo without its list of packages.
    #[error("{path}: lists no primary")]
    NoPrimary {
        /// The path of `repomd.xml` inside the tree.
        path: RelPath,
    },
    /// A `repomd.xml` that no repo needs.
    #[error("{path}: has {size} bytes, more than {limit}")]
    Large {
        /// The path inside the tree.
        path: RelPath,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
}

impl RepoError {
    /// Returns the path inside the tree of the file that is wrong.
    pub fn path(&self) -> &RelPath {
        match self {
            RepoError::Metadata { path, .. }
            | RepoError::Content { path, .. }
            | RepoError::Missing { path, .. }
            | RepoError::NotAFile { path, .. }
            | RepoError::NoPrimary { path }
            | RepoError::Large { path, .. } => path,
        }
    }

    fn metadata(path: &RelPath, source: cairn_repodata::Error) -> Self {
        RepoError::Metadata { path: path.clone(), source: Box::new(source) }
    }
}

impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error.into(),
            Error::Repo { side, source, .. } => {
                let path = source.path().clone();
                let message = source.to_string();
                let reason = message.strip_prefix(&format!("{path}: ")).unwrap_or(&message);
                crate::Error::Repodata { path, reason: format!("{reason} (in the {side} tree)") }
            }
            Error::Pattern { pattern, source } => {
                crate::Error::Setting { key: pattern, reason: source.to_string() }
            }
        }
    }
}

/// A repo that could not be compared; the rest of the audit holds without it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepoFinding {
    /// The repo's directory.
    pub repo: RelPath,
    /// The tree that it is in.
    pub side: Side,
    /// What is wrong; it begins with the path of the file inside the tree.
    pub message: String,
}

impl std::fmt::Display for RepoFinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tree: {}", self.side, self.message)
    }
}

/// What broken repodata does to an audit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Broken {
    /// It is an error.
    #[default]
    Refuse,
    /// It is a finding, and the repo is left out.
    Report,
}

/// What to compare, and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What is looked at; everything by default.
    pub filter: Filter,
    /// What broken repodata does; an error by default.
    pub broken: Broken,
}

/// How deep an audit goes; each level includes the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Paths.
    #[default]
    Files,
    /// Paths and packages.
    Packages,
    /// Paths and metadata.
    Metadata,
    /// All of them.
    Everything,
}

/// What became of something that is not a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is gone.
    Removed,
    /// It is new.
    Added,
    /// It says something else.
    Changed,
}

impl State {
    fn of<T>(old: &Option<T>, new: &Option<T>) -> Self {
        match (old, new) {
            (None, _) => State::Added,
            (Some(_), None) => State::Removed,
            (Some(_), Some(_)) => State::Changed,
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Removed => "removed",
            State::Added => "added",
            State::Changed => "changed",
        })
    }
}

/// An image, or a part of one that boots, that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageRow {
    /// Where it is.
    pub path: RelPath,
    /// Its size before in bytes; nothing if it is new.
    pub old_size: Option<u64>,
    /// Its size after in bytes; nothing if it is gone.
    pub new_size: Option<u64>,
}

/// What differs between two trees, as deep as was asked for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Audit {
    /// What to look at first.
    pub attention: Vec<Attention>,
    /// What differs by path.
    pub files: FilesDiff,
    /// Images whose content differs; they are among the files.
    pub images: Vec<ImageRow>,
    /// What differs by package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packages: Option<PackagesDiff>,
    /// The same packages, folded by source package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<Vec<SourceRow>>,
    /// What differs by metadata record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<MetadataDiff>,
    /// Advisories that differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advisories: Option<Vec<AdvisoryRow>>,
    /// What differs by module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modules: Option<ModulesDiff>,
    /// Groups, environments and categories that differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comps: Option<Vec<CompsRow>>,
    /// `.treeinfo` files that differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub treeinfo: Option<Vec<TreeinfoRow>>,
    /// Dependencies that became unresolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dependencies: Option<Vec<DependencyRow>>,
    /// How large repos are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sizes: Option<Vec<SizeRow>>,
}

impl Audit {
    /// Returns whether nothing differs and nothing was found broken.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
            && self.packages.as_ref().is_none_or(PackagesDiff::is_empty)
            && self.metadata.as_ref().is_none_or(MetadataDiff::is_empty)
    }

    /// Returns what could not be compared at any level, each once.
    pub fn errors(&self) -> Vec<String> {
        let packages = self.packages.iter().flat_map(|packages| &packages.errors);
        let metadata = self.metadata.iter().flat_map(|metadata| &metadata.errors);
        let all: BTreeSet<String> = packages.chain(metadata).map(ToString::to_string).collect();
        all.into_iter().collect()
    }
}

/// Compares two trees; a side that is not there is an empty tree.
///
/// # Errors
/// Trees that cannot be read and, unless [`Broken::Report`], broken repodata.
pub fn compare(
    nodes: &dyn Nodes,
    source: &Source<'_>,
    old: Option<&DirEntry>,
    new: Option<&DirEntry>,
    level: Level,
    options: &Options,
) -> Result<Audit> {
    let (with_packages, with_metadata) = match level {
        Level::Files => (false, false),
        Level::Packages => (true, false),
        Level::Metadata => (false, true),
        Level::Everything => (true, true),
    };
    let files = files(nodes, old, new, &options.filter)?;
    let mut audit = Audit { images: images(&files), files, ..Audit::default() };
    if with_packages {
        let packages = packages_with(nodes, source, old, new, options)?;
        audit.sources = Some(by_source(&packages));
        audit.packages = Some(packages);
    }
    if with_metadata {
        let mut metadata = metadata(nodes, source, old, new, options)?;
        let found = contents::contents(nodes, source, [old, new], &metadata.files, options)?;
        metadata.errors.extend(found.errors);
        audit.metadata = Some(metadata);
        audit.advisories = Some(found.advisories);
        audit.modules = Some(found.modules);
        audit.comps = Some(found.comps);
        audit.treeinfo = Some(found.treeinfo);
    }
    if level == Level::Everything {
        let filter = &options.filter;
        audit.dependencies = Some(dependencies::dependencies(nodes, source, old, new, filter)?);
        audit.sizes = Some(sizes(nodes, old, new, &options.filter)?);
    }
    audit.attention = attention::attention(&audit);
    Ok(audit)
}

/// Returns the images among files that differ, sorted by path.
fn images(files: &FilesDiff) -> Vec<ImageRow> {
    let rows = files.added.iter().chain(&files.removed).chain(&files.changed);
    let rows = rows.filter(|row| row.kind == FileCategory::Image && !row.metadata_only);
    let rows = rows.map(|row| ImageRow {
        path: row.path.clone(),
        old_size: row.old_size,
        new_size: row.new_size,
    });
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(|a, b| a.path.cmp(&b.path));
    rows
}
