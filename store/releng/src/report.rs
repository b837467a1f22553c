//! What a mutating verb will do or did: one report for people and for scripts.

use cairn_store::diff::{Change, Changed};
use cairn_store::id::{OperationId, SnapshotId};
use cairn_store::mount::Strategy;
use cairn_store::path::RelPath;
use cairn_store::publish::{Edited, Links, ModeChange, Source, ViewPlan};
use serde::Serialize;

use crate::audit::PackagesDiff;
use crate::gates::RefGates;
use crate::links::LinkReport;
use crate::lists::ListReport;
use crate::media::MediaReport;
use crate::repos::RepoReport;
use crate::verbs::{ErrataReport, Forecast, RefApprovals, RemovedLink, TorrentReport};

/// Whether a verb acts or only says what it would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Do it.
    #[default]
    Apply,
    /// Say exactly what would be done, and write nothing.
    DryRun,
}

/// One ref's move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefMove {
    /// The ref.
    pub name: String,
    /// What it named; null when it is new.
    pub old: Option<SnapshotId>,
    /// What it names now. In a dry run null: the snapshot is not made, it would carry the time.
    pub new: Option<SnapshotId>,
}

/// What was or will be done to one view.
#[derive(Clone, Debug, Serialize)]
pub struct ViewReport {
    /// The ref.
    #[serde(rename = "ref")]
    pub name: String,
    /// The mount.
    pub mount: String,
    /// The path on the mount.
    pub path: RelPath,
    /// How it is swapped.
    pub strategy: Strategy,
    /// Where its tree comes from.
    pub source: Source,
    /// How paths get their content: `reflink`, `hardlink` or `copy`.
    pub link: &'static str,
    /// What is done to that tree.
    pub work: Changed,
    /// The permission bits of the live root directory and those that it gets, where they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ModeChange>,
    /// Trees that somebody has edited by hand, as far as that was noticed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub edited: Vec<Edited>,
    /// How the paths got their content; zeros in a dry run.
    pub links: Links,
    /// Whether another tree is live now, or the one that is has another mode.
    pub swapped: bool,
    /// Why it is not, if it should be: the next run finishes it.
    pub pending: Option<String>,
}

/// How many edited paths a note names.
const NAMED: usize = 5;

/// Says of each tree of a view that was edited by hand, or cannot be read, what and what becomes of
/// it.
pub(crate) fn edit_notes(name: &str, edited: &[Edited]) -> Vec<String> {
    let note = |tree: &Edited| {
        let named = tree.paths.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>();
        let more = match tree.paths.len() - named.len() {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let paths = named.join("; ") + &more;
        match tree.live {
            true => format!(
                "What is live of {name} is not as it was published ({paths}); it is set aside in \
                 quarantine when another tree takes its place, and cairn fsck finds the rest."
            ),
            false => format!(
                "A kept tree of {name} is not as it was published ({paths}); nothing is built on it, \
                 and it is set aside in quarantine."
            ),
        }
    };
    edited.iter().map(note).collect()
}

impl ViewReport {
    pub(crate) fn new(plan: &ViewPlan) -> Self {
        Self {
            name: plan.view.name.to_string(),
            mount: plan.view.mount.clone(),
            path: plan.view.path.clone(),
            strategy: plan.strategy,
            source: plan.source,
            link: plan.link,
            work: plan.work,
            mode: plan.mode,
            edited: plan.edited.clone(),
            links: Links::default(),
            swapped: false,
            pending: None,
        }
    }
}

/// The paths that a plan touches, for a dry run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Paths {
    /// Paths that appear.
    pub added: Vec<RelPath>,
    /// Paths whose content, mode or time differ.
    pub changed: Vec<RelPath>,
    /// Paths that disappear.
    pub removed: Vec<RelPath>,
}

impl Paths {
    pub(crate) fn count(&mut self, change: &Change) {
        let is_dir = |entry: &Option<cairn_store::tree::Entry>| {
            entry.as_ref().is_none_or(|entry| entry.as_dir().is_some())
        };
        if is_dir(&change.old) && is_dir(&change.new) {
            return;
        }
        let list = match (&change.old, &change.new) {
            (None, _) => &mut self.added,
            (_, None) => &mut self.removed,
            _ => &mut self.changed,
        };
        list.push(change.path.clone());
    }
}

/// What differs in one ref, in a dry run.
#[derive(Clone, Debug, Serialize)]
pub struct RefPlan {
    /// The ref.
    pub name: String,
    /// Counts.
    pub changed: Changed,
    /// Every path.
    pub files: Paths,
    /// The packages; null where nothing was published before or repodata cannot be read.
    pub packages: Option<PackagesDiff>,
    /// Repos whose metadata becomes another.
    pub repos: Vec<RelPath>,
}

/// What a mutating verb will do or did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The verb.
    pub verb: &'static str,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// The operation's id; null for a no-op or a dry run.
    pub operation: Option<OperationId>,
    /// The operation's number.
    pub number: Option<u64>,
    /// The refs that moved or would move; one that stays names the same snapshot twice.
    pub refs: Vec<RefMove>,
    /// What differs, all refs together.
    pub changed: Changed,
    /// The views.
    pub views: Vec<ViewReport>,
    /// Links beside the views, to the names that releases go by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkReport>,
    /// Links that were or would be removed, because the configuration names them no more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed_links: Vec<RemovedLink>,
    /// The mirror lists.
    pub lists: Vec<ListReport>,
    /// Paths whose time was moved forward because content changed with size and time equal.
    pub times_moved: Vec<RelPath>,
    /// Metadata that was signed, or would be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signed: Vec<RelPath>,
    /// What would change, ref by ref; only in a dry run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plan: Vec<RefPlan>,
    /// Why the command would be refused without `-n`; only in a dry run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<String>,
    /// Repos whose metadata was or would be written anew.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repos: Vec<RepoReport>,
    /// Kickstart trees of a minor release.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kickstarts: Vec<RelPath>,
    /// What was done with the media of a minor release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<MediaReport>,
    /// What the gates say, ref by ref; only where they were asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<RefGates>,
    /// Whose approval what is promoted has, where people must approve.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<RefApprovals>,
    /// What became of advisories, for errata.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errata: Option<ErrataReport>,
    /// What a rollback will mean to those who have what is live; only in its dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
    /// Torrents that were or would be made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub torrents: Vec<TorrentReport>,
    /// What else the operator should know, as sentences.
    pub notes: Vec<String>,
    /// Views that could not even be looked at; the next run tries again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<String>,
    /// What was read, for an ingest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingested: Option<cairn_store::ingest::Counts>,
}

impl Report {
    /// Returns whether a view is not yet what its ref says.
    pub fn is_partial(&self) -> bool {
        !self.pending.is_empty()
            || self.views.iter().any(|view| view.pending.is_some())
            || self.links.iter().any(|link| link.pending.is_some())
    }

    /// Returns whether a tree was found to be edited by hand.
    pub fn has_edits(&self) -> bool {
        self.views.iter().any(|view| !view.edited.is_empty())
    }

    /// Returns whether nothing changed and nothing would.
    pub fn is_noop(&self) -> bool {
        self.operation.is_none()
            && !self.views.iter().any(|view| view.swapped)
            && !self.links.iter().any(|link| link.switched)
    }
}
