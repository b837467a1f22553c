//! `files-exist`: the contents of all files are there, to make a view of.
//!
//! Each content is looked for in the pool of the mount that the tree is for, then in the others,
//! and its size compared. Nothing is read: whether the bytes are still right is `fsck --full`'s
//! question. What a published tree holds is not looked for again.

use std::collections::HashSet;

use cairn_store::diff::diff;
use cairn_store::id::ObjectId;
use cairn_store::mount::Mount;
use cairn_store::path::RelPath;
use cairn_store::tree::{Entry, FileEntry};
use rayon::prelude::*;

use super::{Findings, Gate, Outcome, Rule, Subject};
use crate::error::{Error, Result};

const NAME: &str = "files-exist";
/// How many files are looked for at once.
const BATCH: usize = 16 << 10;

const BRING_BACK: &str =
    "run cairn fsck --full; cairn ingest --reread of a compose that has it puts it back";

static MISSING: Rule = Rule::failure("object-missing", BRING_BACK);
static SIZE: Rule = Rule::failure("object-size", BRING_BACK);

/// The gate.
pub(super) struct FilesExist;

impl Gate for FilesExist {
    fn name(&self) -> &'static str {
        NAME
    }

    fn rules(&self) -> &'static [&'static Rule] {
        static RULES: &[&Rule] = &[&MISSING, &SIZE];
        RULES
    }

    fn judge(&self, subject: &Subject<'_>) -> Result<Outcome> {
        let mounts = mounts(subject)?;
        let mut search = Search {
            subject,
            mounts,
            seen: HashSet::new(),
            batch: Vec::new(),
            findings: Findings::of(NAME),
        };
        let known = subject.published.map_or(0, |dir| dir.files.min(subject.root.files));
        subject.observer.begin("Looking for files", subject.root.files - known, 0);
        let mut failed = None;
        diff(subject.draft, subject.published.as_ref(), Some(&subject.root), &mut |change| {
            if let (Some(Entry::File(file)), None) = (change.new, &failed) {
                failed = search.take(change.path, file).err();
            }
            Ok(())
        })?;
        match failed {
            Some(error) => return Err(error),
            None => search.look()?,
        }
        Ok(Outcome::Judged(search.findings))
    }
}

/// Opens the mounts whose pools may have a content, the likeliest first.
fn mounts(subject: &Subject<'_>) -> Result<Vec<Mount>> {
    let site = subject.site;
    let mut names: Vec<&str> = subject.mount.as_deref().into_iter().collect();
    names.push(&site.config.store.home);
    names.extend(site.store.mount_names());
    let (mut opened, mut tried, mut last) = (Vec::new(), Vec::new(), None);
    for name in names {
        if tried.contains(&name) {
            continue;
        }
        tried.push(name);
        match site.store.mount(name) {
            Ok(mount) => opened.push(mount),
            // Others may have everything; whoever needs this one says that it is away.
            Err(error) => last = Some(error),
        }
    }
    match (opened.is_empty(), last) {
        (true, Some(error)) => Err(error.into()),
        _ => Ok(opened),
    }
}

struct Search<'a> {
    subject: &'a Subject<'a>,
    mounts: Vec<Mount>,
    seen: HashSet<ObjectId>,
    batch: Vec<(RelPath, FileEntry)>,
    findings: Findings,
}

impl Search<'_> {
    fn take(&mut self, path: RelPath, file: FileEntry) -> Result<()> {
        let nowhere = file.object.is_empty_file()
            || self.subject.draft.content(&file.object).is_some()
            || !self.seen.insert(file.object);
        if nowhere {
            return Ok(());
        }
        self.batch.push((path, file));
        if self.batch.len() < BATCH { Ok(()) } else { self.look() }
    }

    fn look(&mut self) -> Result<()> {
        self.subject.check_interrupted()?;
        let faults = self
            .batch
            .par_iter()
            .map(|(_, file)| {
                let fault = self.fault(file)?;
                self.subject.observer.advance(1, 0);
                Ok(fault)
            })
            .collect::<Result<Vec<_>>>()?;
        for ((path, _), fault) in self.batch.drain(..).zip(faults) {
            if let Some((rule, message)) = fault {
                self.findings.add(rule, None, path, message);
            }
        }
        Ok(())
    }

    /// Returns what is wrong with a file's content, if it is not to be had.
    fn fault(&self, file: &FileEntry) -> Result<Option<(&'static Rule, String)>> {
        let mut wrong = None;
        for mount in &self.mounts {
            match mount.pool().stat(&file.object).map_err(Error::Store)? {
                Some(stat) if stat.size == file.size => return Ok(None),
                Some(stat) => {
                    let (id, name) = (file.object, &mount.spec.name);
                    let message = format!(
                        "object {id}: the tree says {} bytes, the pool of {name} has {}",
                        file.size, stat.size
                    );
                    wrong.get_or_insert((&SIZE, message));
                }
                None => {}
            }
        }
        Ok(Some(wrong.unwrap_or_else(|| {
            let message = format!("object {} ({} bytes) is in no pool", file.object, file.size);
            (&MISSING, message)
        })))
    }
}
