//! What was found whole before, and need not be read again.
//!
//! Kept in the index beside the digests, under a name of its own (docs/format.md §11): the key is
//! the hash of gate, version and tree or object, so another rule, another program or another byte is another
//! key. Only "nothing found" is kept. It is derived: losing it costs time.

use std::fmt::Display;

use cairn_store::id::ObjectId;

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

    fn key(&self, id: impl Display) -> ObjectId {
        ObjectId::of(format!("{} {id}", self.prefix).as_bytes())
    }

    /// Returns which of these trees or objects are known to be whole.
    pub(super) fn known<I: Display>(&self, ids: impl Iterator<Item = I>) -> Result<Vec<bool>> {
        let known = self.subject.site.store.index().view()?.digests(NAME)?;
        ids.map(|id| Ok(known.get(&self.key(id))?.is_some())).collect()
    }

    /// Remembers that these are whole, unless this is a dry run.
    pub(super) fn remember<I: Display>(&self, ids: &[I]) -> Result<()> {
        let index = self.subject.site.store.index();
        if ids.is_empty() || self.subject.mode == Mode::DryRun || !index.is_writable() {
            return Ok(());
        }
        let rows: Vec<_> = ids.iter().map(|id| (self.key(id), vec![1])).collect();
        Ok(index.add_digests(NAME, &rows)?)
    }
}
