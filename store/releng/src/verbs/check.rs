//! Check: what the gates say of a snapshot.

use cairn_store::id::SnapshotId;
use cairn_store::progress::Observer;
use cairn_store::refs::{RefName, Rev};
use cairn_store::tree::{DirEntry, Draft};
use serde::Serialize;

use super::judge::max_deletes;
use super::moves::ref_name;
use crate::config::{Environment, Version};
use crate::error::Result;
use crate::gates::{self, GateReport, Recorded, Shared, Subject, Verdict};
use crate::names::ReleaseView;
use crate::report::Mode;
use crate::site::Site;

/// What the gates say of a snapshot.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// The revision as it was given.
    pub rev: String,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The snapshot that it was compared with: what it would replace, or did.
    pub before: Option<SnapshotId>,
    /// The gates' answers, in the order in which they ran.
    pub gates: Vec<GateReport>,
}

impl Checked {
    /// Returns whether every gate that was run passed, and none was missing.
    pub fn is_clean(&self) -> bool {
        self.gates
            .iter()
            .all(|gate| !matches!(gate.verdict, Verdict::Failed | Verdict::Unavailable))
    }
}

/// Runs gates on a snapshot: those that are named, else those that its environment requires, else
/// all that this version has.
pub fn check(
    site: &Site,
    rev: &str,
    names: &[String],
    mode: Mode,
    observer: &dyn Observer,
) -> Result<Checked> {
    gates::check_names(site, names)?;
    let parsed = Rev::parse(rev)?;
    let snapshot = site.store.resolve(&parsed)?;
    let root = site.store.snapshot(&snapshot)?.root();
    let name = named(site, &parsed, snapshot)?;
    let place = name.as_ref().map(|name| Place::of(site, name)).unwrap_or_default();
    let names = match (names, place.environment) {
        ([], Some(environment)) => {
            gates::required(site, environment).unwrap_or_else(gates::built_in)
        }
        ([], None) => gates::built_in(),
        (names, _) => names.to_vec(),
    };
    let (before, max_deletes) = match &name {
        Some(name) => (
            before(site, name, &place, snapshot)?,
            max_deletes(site, &target(name, &place)?.unwrap_or_else(|| name.clone()))?,
        ),
        None => (None, None),
    };
    let draft = Draft::new(&site.store);
    let subject = Subject {
        site,
        draft: &draft,
        name: name.as_ref().map(ToString::to_string),
        recorded: Recorded::Renewed,
        root,
        before: before.map(|(_, root)| root),
        published: None,
        release: place.release,
        version: place.version,
        mount: name.as_ref().map(|name| site.view(name)).transpose()?.flatten().map(|v| v.mount),
        max_deletes,
        mode,
        observer,
        shared: Shared::default(),
    };
    let gates = gates::run(&subject, &names)?;
    Ok(Checked { rev: rev.to_owned(), snapshot, before: before.map(|(id, _)| id), gates })
}

/// Returns the ref that a revision is of; of a bare snapshot, the first that names it.
fn named(site: &Site, rev: &Rev, snapshot: SnapshotId) -> Result<Option<RefName>> {
    Ok(match rev {
        Rev::Ref(name) | Rev::Before(name, _) | Rev::At(name, _) => Some(name.clone()),
        Rev::Snapshot(_) | Rev::Prefix(_) => {
            let refs = site.store.refs()?;
            refs.into_iter().find(|state| state.snapshot == snapshot).map(|state| state.name)
        }
    })
}

/// What a ref's name says of its trees.
#[derive(Default)]
struct Place<'a> {
    environment: Option<Environment>,
    release: Option<ReleaseView<'a>>,
    /// Where it is not the one that the release makes.
    version: Option<Version>,
}

impl<'a> Place<'a> {
    fn of(site: &'a Site, name: &RefName) -> Self {
        let config = &site.config;
        let Some((environment, rest)) = name.as_str().split_once('/') else {
            return Self::default();
        };
        let environment = Environment::parse(environment).ok();
        let views = config.release_views();
        let names = |view: &ReleaseView<'_>| {
            let production = view.production_ref().ok();
            [Some(view.staging_ref()), production].into_iter().flatten().any(|n| n == name.as_str())
        };
        if let Some(release) = views.iter().find(|view| names(view)) {
            return Self { environment, release: Some(*release), version: None };
        }
        // `vault/9.6`, `production/9.6`, `sig/9/kernel`, `compose/9/Rocky`.
        let mut words = rest.split('/');
        let first = words.next().filter(|word| *word != "sig").or_else(|| words.next());
        let first = first.unwrap_or_default();
        let text = first.split('-').next().unwrap_or_default();
        let version = Version::parse(text).ok();
        let release = match version {
            Some(_) => config.release_at(text).map(|(release, _)| release).ok(),
            None => config.release(first).ok(),
        };
        Self { environment, release, version }
    }
}

/// Returns the ref that a staged one is promoted to, by its name.
pub(super) fn promoted_to(site: &Site, name: &RefName) -> Result<Option<RefName>> {
    target(name, &Place::of(site, name))
}

/// Returns the ref that a staged one is promoted to.
fn target(name: &RefName, place: &Place<'_>) -> Result<Option<RefName>> {
    if place.environment != Some(Environment::Staging) {
        return Ok(None);
    }
    let staged = name.as_str().strip_prefix("staging/").unwrap_or_default();
    let production = match place.version {
        _ if staged.starts_with("sig/") => Some(format!("production/{staged}")),
        Some(version) => Some(format!("production/{version}")),
        None => place.release.and_then(|release| release.production_ref().ok()),
    };
    production.map(ref_name).transpose()
}

/// Returns what a snapshot of a ref would replace: of a staged one what is in production, of any
/// other what the ref named before.
fn before(
    site: &Site,
    name: &RefName,
    place: &Place<'_>,
    snapshot: SnapshotId,
) -> Result<Option<(SnapshotId, DirEntry)>> {
    if let Some(target) = target(name, place)? {
        return site.current(&target);
    }
    if place.environment == Some(Environment::Staging) {
        return Ok(None);
    }
    let moves = site.store.index().view()?.history(name)?;
    let before = moves
        .into_iter()
        .map(|(_, id)| id)
        .skip_while(|id| *id != Some(snapshot))
        .find(|id| *id != Some(snapshot));
    match before.flatten() {
        Some(id) => Ok(Some((id, site.store.snapshot(&id)?.root()))),
        None => Ok(None),
    }
}
