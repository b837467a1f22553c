//! One verb's turn at moving refs: what every such verb begins with, and the steps that they share.
//!
//! A verb begins its turn, makes the trees that refs shall name, and hands the moves to
//! [`Turn::finish`] (`moves.rs`); what it judges on the way goes through [`Turn::judge`]
//! (`judge.rs`). A turn that acts holds the right to move its refs from the first moment on, after
//! what a killed command left is finished; one that plans holds nothing and writes nothing.

use std::collections::BTreeMap;

use cairn_store::fs::Time;
use cairn_store::id::SnapshotId;
use cairn_store::index::Inode;
use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::publish::Intent;
use cairn_store::refs::RefName;
use cairn_store::snapshot::Origin;
use cairn_store::store::Writer;
use cairn_store::transform::settle_times;
use cairn_store::tree::{DirEntry, Draft};

use super::moves::{Destination, Move};
use crate::audit::repos::in_repodata;
use crate::error::{Error, Result};
use crate::names::ReleaseView;
use crate::report::{Mode, Report};
use crate::repos::{Inputs, regenerate};
use crate::signing::{Signer, TreeSigner};
use crate::site::Site;

/// A verb that moves refs, under way.
pub(super) struct Turn<'a> {
    pub site: &'a Site,
    /// Where the trees of this turn are made.
    pub draft: Draft<'a>,
    pub mode: Mode,
    pub observer: &'a dyn Observer,
    /// What is known so far of what will be done or was.
    pub report: Report,
    pub verb: &'static str,
    /// Whether views go forward; they do unless the verb says otherwise.
    pub intent: Intent,
    /// Files that the index shall know again.
    pub inodes: Vec<Inode>,
    /// The right to move the refs; nothing in a plan.
    pub writer: Option<Writer<'a>>,
}

impl Site {
    /// Returns what a ref names and that snapshot's root.
    pub(super) fn current(&self, name: &RefName) -> Result<Option<(SnapshotId, DirEntry)>> {
        let Some(state) = self.store.get_ref(name)? else { return Ok(None) };
        Ok(Some((state.snapshot, self.store.snapshot(&state.snapshot)?.root())))
    }

    /// Returns what a ref names that must be there.
    ///
    /// Ask it before a turn begins, too: the files of locks are named after refs, and one that is
    /// only misspelt shall leave none.
    pub(super) fn existing(&self, name: &RefName) -> Result<(SnapshotId, DirEntry)> {
        let unknown = || cairn_store::Error::UnknownRef(name.to_string());
        Ok(self.current(name)?.ok_or_else(unknown)?)
    }

    /// Takes the right to move refs; a plan needs none.
    pub(super) fn writer(&self, mode: Mode, refs: &[RefName]) -> Result<Option<Writer<'_>>> {
        Ok(match mode {
            Mode::Apply => Some(self.store.writer(refs)?),
            Mode::DryRun => None,
        })
    }
}

impl<'a> Turn<'a> {
    /// Begins a verb that may move these refs and no others.
    pub fn begin(
        site: &'a Site,
        verb: &'static str,
        mode: Mode,
        refs: &[RefName],
        observer: &'a dyn Observer,
    ) -> Result<Self> {
        let writer = site.writer(mode, refs)?;
        let notes = match &writer {
            Some(writer) => site.recover(writer, observer)?,
            None => site.store.notes().to_vec(),
        };
        let report = Report { verb, dry_run: mode == Mode::DryRun, notes, ..Report::default() };
        Ok(Self {
            site,
            draft: Draft::new(&site.store),
            mode,
            observer,
            report,
            verb,
            intent: Intent::Forward,
            inodes: Vec::new(),
            writer,
        })
    }

    /// Ends a command that would do what is refused. A plan goes on and says so: it is for looking
    /// at, above all one that would be refused.
    pub fn refuse(&mut self, refusal: Error) -> Result<()> {
        match self.mode {
            Mode::Apply => Err(refusal),
            Mode::DryRun => {
                self.report.refusals.push(refusal.to_string());
                Ok(())
            }
        }
    }

    /// Moves times forward where content changes with size and time equal, because readers that
    /// compare those two would not see it.
    pub fn settled(&mut self, old: Option<&DirEntry>, new: DirEntry) -> Result<DirEntry> {
        let Some(old) = old else { return Ok(new) };
        let settled = settle_times(&self.draft, old, &new)?;
        self.report.times_moved.extend(settled.moved);
        Ok(settled.root)
    }

    /// Signs every repo that has no good signature, where the release is signed. Metadata that
    /// `old` has too keeps the signature that it has there.
    pub fn signed(
        &mut self,
        release: &ReleaseView<'_>,
        old: Option<&DirEntry>,
        new: DirEntry,
    ) -> Result<DirEntry> {
        match Signer::for_release(&self.site.config, release)? {
            Some(signer) => self.signed_by(&signer, old, new),
            None => Ok(new),
        }
    }

    /// Signs every repo that has no good signature.
    pub fn signed_by(
        &mut self,
        signer: &Signer<'_>,
        old: Option<&DirEntry>,
        new: DirEntry,
    ) -> Result<DirEntry> {
        let (draft, mode) = (&self.draft, self.mode);
        let source = |file: &_, path: &RelPath| self.site.open_draft(draft, file, path);
        let time = Time { secs: jiff::Timestamp::now().as_second(), nanos: 0 };
        let signer = TreeSigner { draft, source: &source, signer, time, mode };
        let signed = signer.sign(old, &new, self.observer)?;
        self.report.signed.extend(signed.signed);
        Ok(signed.root)
    }

    /// Gives every repo that needs it metadata that describes it; nothing is signed.
    pub fn regenerated(
        &mut self,
        old: Option<&DirEntry>,
        new: &DirEntry,
        inputs: &Inputs<'_>,
    ) -> Result<DirEntry> {
        let Self { site, draft, mode, observer, .. } = self;
        let made = regenerate(site, draft, old, new, inputs, *mode, *observer)?;
        self.report.notes.extend(made.notes);
        self.report.repos.extend(made.repos);
        Ok(made.root)
    }

    /// Gives a tree that keeps what the new side lacks metadata that describes it, signed where the
    /// release is signed, with times that readers see move.
    pub fn described(
        &mut self,
        old: Option<&DirEntry>,
        new: &DirEntry,
        inputs: &Inputs<'_>,
    ) -> Result<DirEntry> {
        let mut root = self.regenerated(old, new, inputs)?;
        if old != Some(&root) {
            root = self.signed(inputs.release, old, root)?;
        }
        // Metadata has times too, which readers must see move; what was said of metadata that has
        // been replaced since is not true any more.
        self.report.times_moved.retain(|path| !in_repodata(path));
        if old.is_none() {
            return Ok(root);
        }
        root = self.settled(old, root)?;
        self.report.times_moved.sort_unstable();
        self.report.times_moved.dedup();
        Ok(root)
    }

    /// Returns the move of a ref to a new snapshot of a tree. Its parents are what the ref named
    /// and the snapshots that the tree was made of.
    pub fn to_tree(
        &self,
        name: RefName,
        old: Option<(SnapshotId, DirEntry)>,
        root: DirEntry,
        facts: BTreeMap<String, String>,
        made_of: impl IntoIterator<Item = SnapshotId>,
    ) -> Move {
        let origin = Origin { verb: self.verb.to_owned(), facts };
        let parents = old.iter().map(|(id, _)| *id).chain(made_of).collect();
        Move { name, old, new: Destination::Tree { root, origin, parents } }
    }
}
