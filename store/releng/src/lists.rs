//! Mirror lists (placeholder until the real module lands).
use cairn_store::mount::Mount;
use cairn_store::progress::Observer;
/// A list.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ListReport {
    /// Root.
    pub root: String,
    /// Name.
    pub name: String,
    /// Entries.
    pub entries: u64,
    /// Bytes.
    pub bytes: u64,
    /// Changed.
    pub changed: bool,
}
/// View.
pub struct ListedView {
    /// n
    pub name: cairn_store::refs::RefName,
    /// p
    pub path: cairn_store::path::RelPath,
    /// s
    pub snapshot: cairn_store::id::SnapshotId,
}
/// Write.
pub fn write(
    _store: &cairn_store::Store,
    _mount: &Mount,
    _lists: &[&crate::config::ListRoot],
    _all: &[crate::config::ListRoot],
    _views: &[ListedView],
    _mode: crate::report::Mode,
    _observer: &dyn Observer,
) -> crate::Result<Vec<ListReport>> {
    Ok(vec![])
}
