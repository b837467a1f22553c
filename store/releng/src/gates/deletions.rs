//! `deletions`: no more of a tree goes than the mount allows.

use cairn_store::diff::{Changed, diff};
use cairn_store::path::RelPath;
use cairn_store::tree::{DirEntry, Entry, Nodes};

use super::packages::nothing_before;
use super::{Findings, Gate, Outcome, Rule, Subject};
use crate::audit::repos::in_repodata;
use crate::config::Percent;
use crate::error::Result;

static TOO_MANY: Rule = Rule::failure(
    "too-many-deletions",
    "look at what would go with cairn diff; if it is meant, promote with --allow-deletes",
);

/// Returns, as a sentence, that more files would go than `floor` allows; nothing if not.
///
/// Metadata does not count: its files are named after their checksums, so every update replaces
/// them, and a small repo would always be over the floor.
pub(crate) fn deletions(
    nodes: &dyn Nodes,
    floor: Percent,
    old: &DirEntry,
    new: &DirEntry,
) -> Result<Option<String>> {
    // With the metadata it is never less, and quicker to count.
    let with_metadata = Changed::between(nodes, Some(old), Some(new))?.files_removed;
    if !floor.is_exceeded(with_metadata, old.files) {
        return Ok(None);
    }
    let mut removed = 0;
    diff(nodes, Some(old), Some(new), &mut |change| {
        let is_file = !matches!(change.old, Some(Entry::Dir(_)));
        if change.new.is_none() && is_file && !in_repodata(&change.path) {
            removed += 1;
        }
        Ok(())
    })?;
    Ok(floor.is_exceeded(removed, old.files).then(|| {
        let all = old.files;
        format!("{removed} of {all} files would be deleted, more than the {floor} that are allowed")
    }))
}

/// The gate.
pub(super) struct Deletions;

impl Gate for Deletions {
    fn name(&self) -> &'static str {
        "deletions"
    }

    fn rules(&self) -> &'static [&'static Rule] {
        static RULES: &[&Rule] = &[&TOO_MANY];
        RULES
    }

    fn judge(&self, subject: &Subject<'_>) -> Result<Outcome> {
        let Some(before) = &subject.before else { return Ok(nothing_before()) };
        let Some(floor) = subject.max_deletes else {
            let reason = "the mount that this is for has no max_deletes";
            return Ok(Outcome::Skipped(reason.to_owned()));
        };
        let mut findings = Findings::of(self.name());
        if let Some(message) = deletions(subject.draft, floor, before, &subject.root)? {
            findings.add(&TOO_MANY, None, RelPath::ROOT, message);
        }
        Ok(Outcome::Judged(findings))
    }
}
