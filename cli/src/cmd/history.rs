//! `cairn log` and `cairn show`.

use std::fmt::Write as _;

use cairn_releng::Site;
use cairn_releng::audit::Audit;
use cairn_releng::history::{self, Edge, LogFilter};
use cairn_releng::verbs::{self, Approval};
use cairn_store::diff::Changed;
use cairn_store::id::{OperationId, SnapshotId};
use cairn_store::log::Operation;
use cairn_store::refs::{RefName, Rev};
use cairn_store::snapshot::Snapshot;
use serde::Serialize;

use super::approve::approvals_text;
use super::diff::{self, Review};
use super::report::{changed, short};
use super::{Context, Exit};
use crate::args::{By, LogArgs, ShowArgs};
use crate::failure::Failure;
use crate::output::{count, size};

#[derive(Serialize)]
struct LogDocument {
    operations: Vec<OperationRow>,
}

#[derive(Serialize)]
struct OperationRow {
    number: u64,
    id: OperationId,
    parent: Option<OperationId>,
    time: jiff::Timestamp,
    user: String,
    host: String,
    verb: String,
    command: Vec<String>,
    reason: Option<String>,
    refs: Vec<RefRow>,
    /// Gates that the operator skipped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skipped_gates: Vec<String>,
}

#[derive(Serialize)]
struct RefRow {
    name: String,
    old: Option<SnapshotId>,
    new: Option<SnapshotId>,
}

impl OperationRow {
    fn new(id: OperationId, operation: Operation) -> Self {
        let refs = operation.edits.iter();
        let refs =
            refs.map(|e| RefRow { name: e.name.to_string(), old: e.old, new: e.new }).collect();
        let skipped = operation.details.get("skipped_gates").and_then(serde_json::Value::as_array);
        let skipped = skipped.into_iter().flatten().filter_map(serde_json::Value::as_str);
        Self {
            skipped_gates: skipped.map(str::to_owned).collect(),
            number: operation.number,
            id,
            parent: operation.parent,
            time: operation.time,
            user: operation.user,
            host: operation.host,
            verb: operation.verb,
            command: operation.command,
            reason: operation.reason,
            refs,
        }
    }
}

/// `cairn log`.
pub fn log(context: &Context<'_>, args: &LogArgs) -> Exit {
    let when = |flag, text: &Option<String>, edge| {
        text.as_deref().map(|text| history::parse_when(flag, text, edge)).transpose()
    };
    let filter = LogFilter {
        name: args.name.as_deref().map(RefName::new).transpose()?,
        user: args.user.clone(),
        since: when("--since", &args.since, Edge::Begin)?,
        until: when("--until", &args.until, Edge::End)?,
        release: args.release.clone(),
        verbs: args.commands.clone(),
        limit: args.number,
    };
    let site = context.site(None)?;
    let operations = history::log(&site, &filter)?;
    let operations: Vec<OperationRow> =
        operations.into_iter().map(|(id, operation)| OperationRow::new(id, operation)).collect();
    context.output.notes(site.store.notes());
    if context.output.json {
        return Ok(context.output.document("log", &LogDocument { operations }).map(|()| 0)?);
    }
    let text: String =
        operations.iter().map(|operation| operation_text(context, operation) + "\n").collect();
    Ok(context.output.text(&text).map(|()| 0)?)
}

fn read_operation(site: &Site, number: u64) -> Result<OperationRow, Failure> {
    match site.store.log().read(number)? {
        Some((id, operation)) => Ok(OperationRow::new(id, operation)),
        // The reading that fails names the missing file.
        None => Err(site.store.operation(number).err().map_or_else(
            || Failure::bug(format!("operation {number} is there and is not")),
            Failure::from,
        )),
    }
}

fn operation_text(context: &Context<'_>, operation: &OperationRow) -> String {
    let output = context.output;
    let mut text = format!(
        "{}  {}  {:.0}  {}@{}\n",
        output.strong(&format!("{} {}", operation.number, operation.verb)),
        output.faint(&short(&operation.id)),
        operation.time,
        operation.user,
        operation.host
    );
    for edit in &operation.refs {
        let name = |id: &Option<SnapshotId>| id.as_ref().map_or("nothing".to_owned(), short);
        let _ = writeln!(text, "    {}  {} → {}", edit.name, name(&edit.old), name(&edit.new));
    }
    if let Some(reason) = &operation.reason {
        let shown = cairn_store::path::Escaped(reason.as_bytes());
        let _ = writeln!(text, "    {}", output.warn(&shown.to_string()));
    }
    if !operation.skipped_gates.is_empty() {
        let names = operation.skipped_gates.join(", ");
        let shown = format!("without the gates: {}", cairn_store::path::Escaped(names.as_bytes()));
        let _ = writeln!(text, "    {}", output.warn(&shown));
    }
    let command = cairn_releng::toolkit::shell_words(&operation.command);
    let _ = writeln!(
        text,
        "    {}",
        output.faint(&cairn_store::path::Escaped(command.as_bytes()).to_string())
    );
    text
}

#[derive(Serialize)]
struct SnapshotDocument {
    snapshot: SnapshotId,
    #[serde(flatten)]
    content: Snapshot,
    refs: Vec<String>,
    changed: Option<Changed>,
    approvals: Vec<Approval>,
}

#[derive(Serialize)]
struct OperationDocument {
    operation: OperationRow,
    details: serde_json::Value,
    changed: Vec<RefChange>,
}

#[derive(Serialize)]
struct RefChange {
    name: String,
    /// Null where one of the two snapshots was collected.
    changed: Option<Changed>,
    /// What that is; nothing where there is nothing to compare with.
    #[serde(skip_serializing_if = "Option::is_none")]
    audit: Option<Audit>,
    #[serde(skip)]
    collected: Vec<String>,
    #[serde(skip)]
    text: String,
}

/// `cairn show`.
pub fn show(context: &Context<'_>, args: &ShowArgs) -> Exit {
    let site = context.site(None)?;
    context.output.notes(site.store.notes());
    if let Some(number) = find_operation(&site, &args.what)? {
        return show_operation(context, &site, number, args.by.unwrap_or(By::Packages));
    }
    let id = site.store.resolve(&Rev::parse(&args.what)?)?;
    let snapshot = site.store.snapshot(&id)?;
    let refs = site.store.refs()?;
    let refs = refs.into_iter().filter(|state| state.snapshot == id);
    let refs = refs.map(|state| state.name.to_string()).collect();
    let changed_since = match snapshot.parents.first() {
        // A parent is where it came from; it may have been collected since.
        Some(parent) => match site.store.try_snapshot(parent)? {
            Some(before) => {
                let before = before.root();
                Some(Changed::between(&site.store, Some(&before), Some(&snapshot.root()))?)
            }
            None => None,
        },
        None => None,
    };
    let approvals = verbs::approvals(&site, &[id])?.remove(&id).unwrap_or_default();
    let document = SnapshotDocument {
        snapshot: id,
        content: snapshot,
        refs,
        changed: changed_since,
        approvals,
    };
    if context.output.json {
        return Ok(context.output.document("show", &document).map(|()| 0)?);
    }
    let (output, content) = (context.output, &document.content);
    let mut text = format!("{}\n", output.strong(&format!("snapshot {id}")));
    let _ = writeln!(text, "  made   {:.0} by {}", content.time, content.origin.verb);
    let _ = writeln!(
        text,
        "  holds  {}, {}",
        count(content.root.files, "file"),
        size(content.root.bytes)
    );
    let _ = writeln!(text, "  tree   {}", content.root.tree);
    for (key, value) in &content.origin.facts {
        let _ = writeln!(text, "  {key}: {}", cairn_store::path::Escaped(value.as_bytes()));
    }
    for parent in &content.parents {
        let _ = writeln!(text, "  parent {parent}");
    }
    for name in &document.refs {
        let _ = writeln!(text, "  ref    {name}");
    }
    text += &approvals_text(&document.approvals);
    if let Some(difference) = &document.changed {
        let _ = writeln!(text, "  since its first parent: {}", changed(output, difference));
    }
    Ok(output.text(&text).map(|()| 0)?)
}

/// Returns the operation that a number or an id names, if it names one.
fn find_operation(site: &Site, what: &str) -> Result<Option<u64>, Failure> {
    let last = site.store.head()?.map_or(0, |head| head.number);
    // Eight digits or more could be a snapshot's prefix; no log is that long.
    if what.len() < 8
        && let Ok(number) = what.parse::<u64>()
    {
        return match (1..=last).contains(&number) {
            true => Ok(Some(number)),
            false => Err(Failure::usage(
                format!("there is no operation {number}"),
                format!("the log holds operations 1 to {last}"),
            )),
        };
    }
    let Some(id) = OperationId::from_hex(what) else { return Ok(None) };
    for number in (1..=last).rev() {
        if site.store.log().read(number)?.is_some_and(|(found, _)| found == id) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

fn show_operation(context: &Context<'_>, site: &Site, number: u64, by: By) -> Exit {
    let details = site.store.operation(number)?.details;
    let row = read_operation(site, number)?;
    let mut differences = Vec::new();
    for edit in &row.refs {
        let (mut roots, mut collected) = ([None; 2], Vec::new());
        for (root, id) in roots.iter_mut().zip([edit.old, edit.new]) {
            match id.map(|id| site.store.snapshot(&id)).transpose() {
                Ok(snapshot) => *root = snapshot.map(|snapshot| snapshot.root()),
                Err(error @ cairn_store::Error::Collected { .. }) => {
                    collected.push(error.to_string());
                }
                Err(error) => return Err(error.into()),
            }
        }
        let [old, new] = roots;
        let changed = match collected.is_empty() {
            true => Some(Changed::between(&site.store, old.as_ref(), new.as_ref())?),
            false => None,
        };
        let (mut audit, mut text) = (None, String::new());
        // What is new altogether differs in everything; the counts say that.
        if let (Some(old), Some(new), true) = (edit.old, edit.new, collected.is_empty()) {
            let review = Review::between(site, old, new, by, &context.progress)?;
            text = diff::render(context.output, &review);
            audit = Some(review.audit);
        }
        let name = edit.name.clone();
        differences.push(RefChange { name, changed, audit, collected, text });
    }
    context.progress.finish();
    let document = OperationDocument { operation: row, details, changed: differences };
    if context.output.json {
        return Ok(context.output.document("show", &document).map(|()| 0)?);
    }
    let mut text = operation_text(context, &document.operation);
    for difference in &document.changed {
        let what = match &difference.changed {
            Some(difference) => changed(context.output, difference),
            None => difference.collected.join("; "),
        };
        let _ = writeln!(text, "    {}: {what}", difference.name);
    }
    for difference in &document.changed {
        if !difference.text.is_empty() {
            let _ = write!(text, "\n{}\n", context.output.strong(&difference.name));
            text += &difference.text;
        }
    }
    Ok(context.output.text(&text).map(|()| 0)?)
}
