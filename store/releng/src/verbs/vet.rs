//! The gates of `[gate.staging]`: what must hold of a tree before it is staged.
//!
//! They are asked as `check` asks about what is staged: beside what is in production, which is what
//! it is to replace. So a command that has answered here need not be asked again by a promotion of
//! the same tree.

use cairn_store::progress::Observer;
use cairn_store::refs::RefName;
use cairn_store::tree::{DirEntry, Draft};

use super::check::promoted_to;
use super::promote::{add_notes, add_refusals, details, judge, max_deletes, required};
use crate::config::Environment;
use crate::error::{Error, Result};
use crate::gates::{Recorded, RefGates, Shared, Subject};
use crate::names::ReleaseView;
use crate::report::{Mode, Report};
use crate::site::Site;

/// A tree that is about to be staged.
pub(super) struct Staged<'a> {
    pub site: &'a Site,
    pub draft: &'a Draft<'a>,
    pub release: ReleaseView<'a>,
    pub name: &'a RefName,
    /// What is staged now.
    pub old: Option<DirEntry>,
    pub root: DirEntry,
    /// Gates that the operator does not want asked.
    pub skip_gates: &'a [String],
    pub mode: Mode,
}

impl Staged<'_> {
    /// Asks the gates, and returns what the log keeps of them.
    ///
    /// # Errors
    /// [`Error::Gates`] when one fails; of a plan, the report says so instead.
    pub fn vet(&self, report: &mut Report, observer: &dyn Observer) -> Result<serde_json::Value> {
        let Staged { site, draft, release, name, old, root, skip_gates, mode } = *self;
        let required = required(site, Environment::Staging, skip_gates)?;
        if required.is_empty() || old == Some(root) {
            add_notes(report, &required, skip_gates);
            return Ok(serde_json::Value::Null);
        }
        let target = promoted_to(site, name)?;
        let before = match &target {
            Some(target) => site.current(target)?.map(|(_, root)| root),
            None => None,
        };
        let subject = Subject {
            site,
            draft,
            name: Some(name.to_string()),
            recorded: Recorded::Taken,
            root,
            before,
            published: old,
            release: Some(release),
            version: None,
            mount: site.view(name)?.map(|view| view.mount),
            max_deletes: max_deletes(site, target.as_ref().unwrap_or(name))?,
            mode,
            observer,
            shared: Shared::default(),
        };
        let gates = judge(&subject, &required, skip_gates)?;
        report.gates.push(RefGates { name: name.to_string(), gates });
        add_notes(report, &required, skip_gates);
        match mode {
            Mode::Apply if report.gates.iter().any(RefGates::is_refused) => {
                return Err(Error::Gates(std::mem::take(&mut report.gates)));
            }
            Mode::Apply => {}
            Mode::DryRun => add_refusals(report),
        }
        Ok(details(&report.gates, &[]))
    }
}
