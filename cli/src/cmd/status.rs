//! `cairn status`.

use cairn_fsck::{Last, LastChecks};
use cairn_releng::Site;
use cairn_releng::links::LinkState;
use cairn_releng::verbs::{self, is_under_embargo};
use cairn_store::publish::Live;
use cairn_store::refs::RefName;
use serde::Serialize;

use super::report::short;
use super::{Context, Exit, metrics};
use crate::args::StatusArgs;
use crate::failure::Failure;
use crate::output::{Table, count, size};

#[derive(Serialize)]
pub struct Document {
    store: String,
    pub operations: u64,
    /// The last check of each level, as far as it is recorded.
    pub fsck: LastChecks,
    pub refs: Vec<Row>,
    pub mounts: Vec<MountRow>,
}

#[derive(Serialize)]
pub struct Row {
    pub name: String,
    snapshot: String,
    operation: u64,
    pub time: jiff::Timestamp,
    pub files: u64,
    pub bytes: u64,
    pub embargoed: bool,
    pub view: Option<ViewRow>,
    /// Of what is staged, where people must approve.
    #[serde(skip_serializing_if = "Option::is_none")]
    approvals: Option<ApprovalsRow>,
}

#[derive(Serialize)]
pub struct ApprovalsRow {
    required: u32,
    people: Vec<String>,
}

#[derive(Serialize)]
pub struct ViewRow {
    pub mount: String,
    pub path: cairn_store::path::RelPath,
    pub state: &'static str,
    pub live: Option<Live>,
    problem: Option<String>,
}

#[derive(Serialize)]
pub struct MountRow {
    pub name: String,
    pub path: String,
    swap: Option<String>,
    link: Option<&'static str>,
    pub free_bytes: Option<u64>,
    pub problem: Option<String>,
}

/// Shows every ref and what is live of it.
pub fn run(context: &Context<'_>, args: &StatusArgs) -> Exit {
    let site = context.site(None)?;
    let mut refs = Vec::new();
    let (required, _) = verbs::required_approvals(&site);
    let is_staged = |name: &str| required > 0 && name.starts_with("staging/");
    let staged = site.store.refs()?.into_iter().filter(|state| is_staged(state.name.as_str()));
    let staged: Vec<_> = staged.map(|state| state.snapshot).collect();
    let approvals = verbs::approvals(&site, &staged)?;
    for state in site.store.refs()? {
        let snapshot = site.store.snapshot(&state.snapshot)?;
        let view = match site.view(&state.name)? {
            None => link_row(&site, &state.name)?,
            Some(view) => {
                let (state, live, problem) = match site.store.live(&view) {
                    Ok(live) if live.shows(&snapshot.root) => ("live", Some(live), None),
                    Ok(live) => ("pending", Some(live), None),
                    Err(error) => ("unknown", None, Some(error.to_string())),
                };
                Some(ViewRow { mount: view.mount, path: view.path, state, live, problem })
            }
        };
        refs.push(Row {
            name: state.name.to_string(),
            snapshot: state.snapshot.to_string(),
            operation: state.operation,
            time: snapshot.time,
            files: snapshot.root.files,
            bytes: snapshot.root.bytes,
            embargoed: is_under_embargo(&state.name, &snapshot.root()),
            view,
            approvals: is_staged(state.name.as_str()).then(|| {
                let approvals = approvals.get(&state.snapshot).into_iter().flatten();
                let people = approvals.map(|one| one.person.clone()).collect();
                ApprovalsRow { required, people }
            }),
        });
    }
    let mut mounts = Vec::new();
    for name in site.store.mount_names() {
        let path = site.config.mounts.get(name).map(|mount| mount.path.clone());
        let (name, path) = (name.to_owned(), path.unwrap_or_default());
        mounts.push(match site.store.mount(&name) {
            Ok(mount) => MountRow {
                swap: Some(mount.strategy.to_string()),
                link: Some(mount.link_method()),
                free_bytes: mount.root().free().ok().map(|(bytes, _)| bytes),
                name,
                path,
                problem: None,
            },
            Err(error) => {
                let problem = Some(error.to_string());
                MountRow { name, path, swap: None, link: None, free_bytes: None, problem }
            }
        });
    }
    let operations = site.store.head()?.map_or(0, |head| head.number);
    let mut notes = site.store.notes().to_vec();
    let fsck = cairn_fsck::last_checks(site.store.path()).unwrap_or_else(|error| {
        notes.push(format!("It is not known when the store was checked: {error}."));
        LastChecks::default()
    });
    let document =
        Document { store: site.config.store.path.clone(), operations, fsck, refs, mounts };
    match &args.metrics {
        Some(file) if context.global.dry_run => {
            notes.push(format!("Would write {}.", cairn_store::path::display(file)));
        }
        Some(file) => {
            let last = match operations {
                0 => None,
                number => Some(site.store.operation(number)?.time),
            };
            metrics::write(file, &document, last)?;
        }
        None => {}
    }
    context.output.notes(&notes);
    if context.output.json {
        return Ok(context.output.document("status", &document).map(|()| 0)?);
    }
    Ok(context.output.text(&text(context, &document)).map(|()| 0)?)
}

/// Says of a link where it is, and whether it leads to where its ref says, or nobody asks for it any
/// more.
fn link_row(site: &Site, name: &RefName) -> Result<Option<ViewRow>, Failure> {
    let Some(LinkState { spec, is_configured, standing }) = site.link_state(name)? else {
        return Ok(None);
    };
    let (state, problem) = match standing {
        Ok(_) if !is_configured => ("unconfigured", None),
        Ok(report) if report.differs() => ("pending", None),
        Ok(_) => ("live", None),
        Err(error) => ("unknown", Some(error.to_string())),
    };
    Ok(Some(ViewRow { mount: spec.mount, path: spec.path, state, live: None, problem }))
}

fn text(context: &Context<'_>, document: &Document) -> String {
    let output = context.output;
    let mut text =
        format!("Store {}, {}.\n", document.store, count(document.operations, "operation"));
    let mut table = Table::default();
    table.row(["ref", "snapshot", "since", "files", "size", "view", ""].map(|h| output.strong(h)));
    for row in &document.refs {
        let (place, state) = match &row.view {
            None => (String::new(), String::new()),
            Some(view) => {
                let state = match view.state {
                    "live" if row.embargoed => output.warn("live, under embargo"),
                    "live" => output.good("live"),
                    "pending" => output.bad("pending: run cairn publish"),
                    "unconfigured" => {
                        output.warn("not configured any more: cairn publish --remove-links")
                    }
                    _ => output.bad(view.problem.as_deref().unwrap_or("unknown")),
                };
                (format!("{}:{}", view.mount, view.path), state)
            }
        };
        table.row([
            row.name.clone(),
            short(&row.snapshot),
            format!("{:.0}", row.time),
            crate::output::thousands(row.files),
            size(row.bytes),
            place,
            state,
        ]);
    }
    if document.refs.is_empty() {
        text += "No ref yet: take a compose in with cairn ingest DIR.\n";
    } else {
        text += &table.render("  ");
    }
    for row in &document.refs {
        let Some(ApprovalsRow { required, people }) = &row.approvals else { continue };
        let by = match people.is_empty() {
            true => "nobody".to_owned(),
            false => cairn_store::path::Escaped(people.join(", ").as_bytes()).to_string(),
        };
        let stand = format!("approved by {by} ({} of {required})", people.len());
        let stand = match people.len() >= *required as usize {
            true => output.good(&stand),
            false => output.warn(&stand),
        };
        text += &format!("  {}  {stand}\n", row.name);
    }
    for (level, last) in [("quick", document.fsck.quick), ("full", document.fsck.full)] {
        let Some(Last { time, notices, warnings, damage }) = last else { continue };
        let found = count(notices + warnings + damage, "finding");
        let found = match (warnings, damage) {
            (_, 1..) => output.bad(&found),
            (1.., 0) => output.warn(&found),
            (0, 0) => found,
        };
        text += &format!("Last {level} fsck {time:.0}: {found}.\n");
    }
    let mut table = Table::default();
    table.row(["mount", "path", "swap", "link", "free"].map(|head| output.strong(head)));
    for row in &document.mounts {
        let cell = |text: Option<&str>| text.unwrap_or("-").to_owned();
        let free = match &row.problem {
            Some(problem) => output.bad(problem),
            None => row.free_bytes.map_or_else(|| "-".to_owned(), size),
        };
        table.row([
            row.name.clone(),
            row.path.clone(),
            cell(row.swap.as_deref()),
            cell(row.link),
            free,
        ]);
    }
    text + &table.render("  ")
}
