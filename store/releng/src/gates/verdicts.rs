//! What was found whole before, and need not be read again.
//!
//! Kept in the index beside the digests, under a name of its own (docs/format.md §11): the key is
//! the hash of gate, version and tree, so another rule, another program or another byte is another
//! key. Only "nothing found" is kept. It is derived: losing it costs time.

use cairn_store::id::{ObjectId, TreeId};

use super::Subject;
use crate::error::Result;
use crate::report::Mode;

/// What the index calls them.
const NAME: &str = "verdict";

/// Remembered verdicts of one gate.
pub(super) struct Verdicts<'a> {
    subject: &'a Subject<'a>,
    /// Gate, the version of its rules, and what else its answer depends on.
    prefix: String,
}

impl<'a> Verdicts<'a> {
    pub(super) fn of(subject: &'a Subject<'a>, prefix: String) -> Self {
        Self { subject, prefix }
    }

    fn key(&self, tree: &TreeId) -> ObjectId {
        ObjectId::of(format!("{} {tree}", self.prefix).as_bytes())
    }

    /// Returns which of these trees are known to be whole.
    pub(super) fn known(&self, trees: impl Iterator<Item = TreeId>) -> Result<Vec<bool>> {
        let known = self.subject.site.store.index().view()?.digests(NAME)?;
        trees.map(|tree| Ok(known.get(&self.key(&tree))?.is_some())).collect()
    }

    /// Remembers that these trees are whole, unless this is a dry run.
    pub(super) fn remember(&self, trees: &[TreeId]) -> Result<()> {
        let index = self.subject.site.store.index();
        if trees.is_empty() || self.subject.mode == Mode::DryRun || !index.is_writable() {
            return Ok(());
        }
        let rows: Vec<_> = trees.iter().map(|tree| (self.key(tree), vec![1])).collect();
        Ok(index.add_digests(NAME, &rows)?)
    }
}
