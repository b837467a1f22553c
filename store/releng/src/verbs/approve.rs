//! Approvals: a person's word that one snapshot may go out.
//!
//! An approval is an operation that moves no ref. It names a snapshot by its id, so whatever is
//! staged afterwards is not approved, and a rollback to what was is approved still. What counts is
//! the last word of each person; the log alone knows it, from the operation on that first named
//! the snapshot. It keeps no snapshot from being collected.

use std::collections::{BTreeMap, BTreeSet};

use cairn_store::id::{OperationId, SnapshotId};
use cairn_store::log::Operation;
use cairn_store::refs::{RefName, Rev};
use cairn_store::store::Proposal;
use cairn_store::tree::Draft;
use serde::{Deserialize, Serialize};

use crate::config::{APPROVALS, Environment, Gate};
use crate::error::{Error, Result, told};
use crate::report::{Mode, RefMove, ViewReport};
use crate::site::Site;

/// What these operations are called in the log.
const VERB: &str = "approve";
/// The rule that a refusal names, and what `--skip-gate` takes for it.
pub const RULE: &str = APPROVALS;

/// What an operation says in its details.
#[derive(Serialize, Deserialize)]
struct Word {
    snapshot: SnapshotId,
    withdrawn: bool,
}

/// A person's approval of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Approval {
    /// Who: of somebody who became another user through sudo, who that was.
    pub person: String,
    /// The user as the log has it.
    pub user: String,
    /// When.
    pub time: jiff::Timestamp,
    /// Why.
    pub reason: Option<String>,
    /// The operation.
    pub operation: u64,
}

/// What approving or withdrawing will do or did.
#[derive(Debug, Serialize)]
pub struct ApproveReport {
    /// The revision as it was given.
    pub rev: String,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Who approves it, or withdraws.
    pub person: String,
    /// Whether an approval is withdrawn.
    pub withdrawn: bool,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// The operation; nothing if the person had approved it already.
    pub operation: Option<OperationId>,
    /// Its number.
    pub number: Option<u64>,
    /// No ref moves.
    pub refs: Vec<RefMove>,
    /// No file changes.
    pub changed: cairn_store::diff::Changed,
    /// No view is touched.
    pub views: Vec<ViewReport>,
    /// All approvals of the snapshot afterwards, in the order in which they came.
    pub approvals: Vec<Approval>,
    /// What else the operator should know, as sentences.
    pub notes: Vec<String>,
}

/// How a promotion's source stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefApprovals {
    /// The ref that is promoted to.
    #[serde(rename = "ref")]
    pub name: String,
    /// The staged snapshot.
    pub snapshot: SnapshotId,
    /// How many people must approve it.
    pub required: u32,
    /// How many do who count.
    pub counted: u32,
    /// All approvals; the promoter's own is among them.
    pub approvals: Vec<Approval>,
    /// Whether the operator went on without them.
    pub skipped: bool,
}

impl RefApprovals {
    /// Returns whether there are enough.
    pub fn is_enough(&self) -> bool {
        self.counted >= self.required
    }

    /// Says as the end of a sentence what there is and what lacks.
    fn stand(&self, own: Option<&str>) -> String {
        let snapshot = self.snapshot;
        let people: Vec<&str> = self.approvals.iter().map(|one| one.person.as_str()).collect();
        let by = match people.is_empty() {
            true => "nobody".to_owned(),
            false => people.join(", "),
        };
        let own = match own.filter(|own| people.contains(own)) {
            Some(own) => format!("; {own} promotes it and does not count"),
            None => String::new(),
        };
        format!(
            "snapshot {snapshot} needs the approval of {} and is approved by {by}{own}",
            match self.required {
                1 => "one person".to_owned(),
                number => format!("{number} people"),
            }
        )
    }
}

/// Says that a person approves a snapshot, or does not any more.
pub fn approve(site: &Site, rev: &str, withdraw: bool, mode: Mode) -> Result<ApproveReport> {
    let snapshot = site.store.resolve(&Rev::parse(rev)?)?;
    site.store.snapshot(&snapshot)?;
    let writer = site.writer(mode, &[])?;
    let user = cairn_store::fs::user_name();
    let person = person(&user).to_owned();
    let before = approvals(site, &[snapshot])?.remove(&snapshot).unwrap_or_default();
    let has = before.iter().any(|one| one.person == person);
    if withdraw && !has {
        return Err(Error::Refused {
            name: rev.to_owned(),
            rule: RULE,
            reason: format!("{person} has not approved snapshot {snapshot}"),
        });
    }
    let mut report = ApproveReport {
        rev: rev.to_owned(),
        snapshot,
        person,
        withdrawn: withdraw,
        dry_run: mode == Mode::DryRun,
        operation: None,
        number: None,
        refs: Vec::new(),
        changed: cairn_store::diff::Changed::default(),
        views: Vec::new(),
        approvals: before,
        notes: site.store.notes().to_vec(),
    };
    // Who has approved it already says nothing new.
    if has != withdraw {
        return Ok(report);
    }
    let (mut time, mut operation) = (jiff::Timestamp::now(), 0);
    if let Some(writer) = &writer {
        let word = Word { snapshot, withdrawn: withdraw };
        let details = serde_json::json!({ "approval": word });
        let proposal = Proposal { verb: VERB.to_owned(), details, ..Proposal::default() };
        let committed = writer.commit(&Draft::new(&site.store), proposal)?;
        (time, operation) = (committed.operation.time, committed.operation.number);
        report.operation = Some(committed.id);
        report.number = Some(operation);
        if let Some(error) = committed.behind {
            report.notes.push(format!("The index will be brought up to date: {}.", told(&error)));
        }
    }
    report.approvals.retain(|one| one.person != report.person);
    if !withdraw {
        let (person, reason) = (report.person.clone(), site.store.session().reason.clone());
        report.approvals.push(Approval { person, user, time, reason, operation });
    }
    Ok(report)
}

/// Returns who somebody is: behind sudo, who that was before.
fn person(user: &str) -> &str {
    user.strip_suffix(')').and_then(|rest| rest.rsplit_once(" (")).map_or(user, |(_, name)| name)
}

/// Returns the approvals of these snapshots that hold, in the order in which they came.
///
/// The log is read from the first operation on that made a ref name one of them.
pub fn approvals(
    site: &Site,
    snapshots: &[SnapshotId],
) -> Result<BTreeMap<SnapshotId, Vec<Approval>>> {
    let mut found: BTreeMap<SnapshotId, Vec<Approval>> = BTreeMap::new();
    let wanted: BTreeSet<&SnapshotId> = snapshots.iter().collect();
    let Some(head) = site.store.head()?.filter(|_| !wanted.is_empty()) else { return Ok(found) };
    let view = site.store.index().view()?;
    let mut first = None;
    for state in site.store.refs()? {
        let moves = view.history(&state.name)?.into_iter();
        let named = moves.filter(|(_, id)| id.is_some_and(|id| wanted.contains(&id)));
        first = named.map(|(number, _)| number).chain(first).min();
    }
    // A snapshot that only removed refs have named: then the whole log.
    for number in first.unwrap_or(1)..=head.number {
        let operation = site.store.operation(number)?;
        let Some((snapshot, withdrawn)) = word(&operation) else { continue };
        if !wanted.contains(&snapshot) {
            continue;
        }
        let list = found.entry(snapshot).or_default();
        let person = person(&operation.user).to_owned();
        list.retain(|one| one.person != person);
        if !withdrawn {
            let Operation { user, time, reason, number: operation, .. } = operation;
            list.push(Approval { person, user, time, reason, operation });
        }
    }
    Ok(found)
}

/// Returns what an operation says of a snapshot, if it is about approval.
fn word(operation: &Operation) -> Option<(SnapshotId, bool)> {
    if operation.verb != VERB {
        return None;
    }
    let Word { snapshot, withdrawn } =
        serde_json::from_value(operation.details.get("approval")?.clone()).ok()?;
    Some((snapshot, withdrawn))
}

/// Returns how many people must approve what goes to production, and whether whoever promotes it
/// may be one of them.
pub fn required(site: &Site) -> (u32, bool) {
    let required = site.config.gates.values().find_map(|gate| match gate {
        Gate::Require { environment: Environment::Production, approvals, own_approval, .. } => {
            Some((*approvals, *own_approval))
        }
        Gate::Require { .. } | Gate::Command { .. } => None,
    });
    required.unwrap_or((0, false))
}

/// Returns how a staged snapshot stands before its promotion; nothing where nobody need approve.
pub(super) fn standing(
    site: &Site,
    name: &RefName,
    snapshot: SnapshotId,
    skipped: bool,
) -> Result<Option<(RefApprovals, Option<Error>)>> {
    let (required, own_counts) = required(site);
    if required == 0 {
        return Ok(None);
    }
    let approvals = approvals(site, &[snapshot])?.remove(&snapshot).unwrap_or_default();
    let user = cairn_store::fs::user_name();
    let own = (!own_counts).then(|| person(&user));
    let counted = approvals.iter().filter(|one| own != Some(one.person.as_str())).count() as u32;
    let name = name.to_string();
    let standing = RefApprovals { name, snapshot, required, counted, approvals, skipped };
    let refusal = (!standing.is_enough() && !skipped).then(|| Error::Refused {
        name: standing.name.clone(),
        rule: RULE,
        reason: standing.stand(own),
    });
    Ok(Some((standing, refusal)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_who_became_a_user() {
        for (user, expected) in [
            ("alice", "alice"),
            ("root (alice)", "alice"),
            ("release (bob)", "bob"),
            ("odd)", "odd)"),
            ("1000", "1000"),
        ] {
            assert_eq!(person(user), expected);
        }
    }
}
