//! Audit (placeholder until the real module lands).
use cairn_store::path::RelPath;
use cairn_store::tree::{DirEntry, FileEntry, Nodes};
use cairn_store::fs::OpenFile;
/// Packages.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct PackagesDiff {
    /// Errors.
    pub errors: Vec<String>,
}
/// Compares.
pub fn packages(
    _nodes: &dyn Nodes,
    _open: &(dyn Fn(&FileEntry, &RelPath) -> crate::Result<OpenFile> + Sync),
    _old: Option<&DirEntry>,
    _new: Option<&DirEntry>,
) -> crate::Result<PackagesDiff> {
    Ok(PackagesDiff::default())
}
