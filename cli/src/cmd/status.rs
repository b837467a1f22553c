//! `cairn status`: what every view shows, what is pending, who works, how much room there is.

mod page;
mod watch;

use cairn_fsck::LastChecks;
use cairn_releng::Site;
use cairn_releng::links::LinkState;
use cairn_releng::verbs::{self, is_under_embargo};
use cairn_store::lock::HeldLock;
use cairn_store::publish::Live;
use cairn_store::refs::RefName;
use serde::Serialize;

use super::{Context, Exit, metrics};
use crate::args::StatusArgs;
use crate::failure::Failure;

#[derive(Serialize)]
pub struct Document {
    store: String,
    pub operations: u64,
    /// The last check of each level, as far as it is recorded.
    pub fsck: LastChecks,
    /// Who holds locks of the store, as far as this machine knows.
    locks: Vec<HeldLock>,
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

/// What there is to see.
struct Look {
    document: Document,
    notes: Vec<String>,
    /// When the last operation was.
    last: Option<jiff::Timestamp>,
}

/// Shows every ref and what is live of it.
pub fn run(context: &Context<'_>, args: &StatusArgs) -> Exit {
    if let Some(seconds) = args.watch {
        return watch::run(context, seconds);
    }
    let Look { document, mut notes, last } = look(context)?;
    match &args.metrics {
        Some(file) if context.global.dry_run => {
            notes.push(format!("Would write {}.", cairn_store::path::display(file)));
        }
        Some(file) => metrics::write(file, &document, last)?,
        None => {}
    }
    context.output.notes(&notes);
    if context.output.json {
        return Ok(context.output.document("status", &document).map(|()| 0)?);
    }
    let now = jiff::Timestamp::now();
    Ok(context.output.text(&page::text(context.output, &document, last, now)).map(|()| 0)?)
}

/// Looks at the store and all mounts.
fn look(context: &Context<'_>) -> Result<Look, Failure> {
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
    let last = match operations {
        0 => None,
        number => Some(site.store.operation(number)?.time),
    };
    let locks = site.store.held_locks()?;
    let store = site.config.store.path.clone();
    let document = Document { store, operations, fsck, locks, refs, mounts };
    Ok(Look { document, notes, last })
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
