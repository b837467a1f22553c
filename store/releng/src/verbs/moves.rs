//! One procedure for every verb that moves refs: plan it, or do it.

use cairn_store::diff::{Changed, diff};
use cairn_store::id::SnapshotId;
use cairn_store::link::{LinkSpec, PreparedLink};
use cairn_store::log::RefEdit;
use cairn_store::path::RelPath;
use cairn_store::publish::{Goal, Prepared, ViewSpec};
use cairn_store::refs::RefName;
use cairn_store::snapshot::{Origin, Snapshot};
use cairn_store::store::{Proposal, Writer};
use cairn_store::tree::DirEntry;

use super::judge::details;
use super::lists::write_lists;
use super::turn::Turn;
use crate::audit;
use crate::config::ListRoot;
use crate::error::{Error, Result, told};
use crate::links::{LinkGoal, LinkReport, link_origin, link_tree, target_in};
use crate::report::{Mode, Paths, RefMove, RefPlan, Report, ViewReport, edit_notes};

/// Where a ref shall go.
pub(super) struct Move {
    pub name: RefName,
    /// What it names now, and that snapshot's root.
    pub old: Option<(SnapshotId, DirEntry)>,
    pub new: Destination,
}

/// What a ref shall name.
pub(super) enum Destination {
    /// A new snapshot of this tree, unless the ref names that tree already.
    Tree { root: DirEntry, origin: Origin, parents: Vec<SnapshotId> },
    /// A snapshot that exists.
    Snapshot { id: SnapshotId, root: DirEntry },
}

impl Move {
    fn root(&self) -> DirEntry {
        match &self.new {
            Destination::Tree { root, .. } | Destination::Snapshot { root, .. } => *root,
        }
    }

    /// Returns whether the ref names this already.
    fn is_noop(&self) -> bool {
        match (&self.old, &self.new) {
            (Some((_, old)), Destination::Tree { root, .. }) => old == root,
            (Some((old, _)), Destination::Snapshot { id, .. }) => old == id,
            (None, _) => false,
        }
    }
}

impl Turn<'_> {
    /// Plans the moves or carries them out.
    pub fn finish(mut self, moves: Vec<Move>) -> Result<Report> {
        let mut report = std::mem::take(&mut self.report);
        for one in moves.iter().filter(|one| self.site.link(&one.name).is_none()) {
            let old = one.old.as_ref().map(|(_, root)| root);
            report.changed.add(&Changed::between(&self.draft, old, Some(&one.root()))?);
        }
        match self.writer.take() {
            Some(writer) => self.apply(&writer, &moves, report),
            None => self.plan(&moves, report),
        }
    }

    fn plan(&self, moves: &[Move], mut report: Report) -> Result<Report> {
        let now = jiff::Timestamp::now();
        for one in moves {
            let link = self.site.link(&one.name);
            if let Some(spec) = &link {
                self.plan_link(one, spec, &mut report)?;
                if one.is_noop() {
                    continue;
                }
            }
            if let Some(view) = self.site.view(&one.name)? {
                let goal = self.goal(one, SnapshotId::of(b""), now);
                let plan = self.site.store.plan_view(&self.draft, &view, &goal)?;
                report.notes.extend(edit_notes(view.name.as_str(), &plan.edited));
                report.views.push(ViewReport::new(&plan));
            }
            let old = one.old.map(|(id, _)| id);
            let new = match &one.new {
                _ if one.is_noop() => old,
                Destination::Snapshot { id, .. } => Some(*id),
                Destination::Tree { .. } => None,
            };
            report.refs.push(RefMove { name: one.name.to_string(), old, new });
            if !one.is_noop() && link.is_none() {
                report.plan.push(self.plan_ref(one, &mut report.notes)?);
            }
        }
        Ok(report)
    }

    fn plan_link(&self, one: &Move, spec: &LinkSpec, report: &mut Report) -> Result<()> {
        let target = target_in(&self.draft, spec, &one.root())?;
        match self.site.look_at_link(spec, &target) {
            Ok(row) => report.links.push(row),
            // A plan is for looking at, above all one that would be refused.
            Err(error @ Error::Store(cairn_store::Error::ViewOccupied { .. })) => {
                report.refusals.push(error.to_string());
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn plan_ref(&self, one: &Move, notes: &mut Vec<String>) -> Result<RefPlan> {
        let (old, new) = (one.old.as_ref().map(|(_, root)| root), one.root());
        let mut files = Paths::default();
        diff(&self.draft, old, Some(&new), &mut |change| {
            files.count(&change);
            Ok(())
        })?;
        let is_repomd = |path: &&RelPath| path.as_bytes().ends_with(b"repodata/repomd.xml");
        let changed = files.changed.iter().chain(&files.added).filter(is_repomd);
        let repo = |path: &RelPath| Some(path.split_last()?.0.split_last()?.0);
        let repos = changed.filter_map(repo).collect();
        let open = |file: &_, path: &_| self.site.open_draft(&self.draft, file, path);
        let packages = audit::packages(&self.draft, &open, old, Some(&new))?;
        for error in &packages.errors {
            notes.push(format!("Packages are not compared in one repo: {error}."));
        }
        Ok(RefPlan {
            name: one.name.to_string(),
            changed: Changed::between(&self.draft, old, Some(&new))?,
            files,
            packages: old.is_some().then_some(packages),
            repos,
        })
    }

    fn goal(&self, one: &Move, snapshot: SnapshotId, time: jiff::Timestamp) -> Goal {
        Goal { snapshot, root: one.root(), time, intent: self.intent }
    }

    fn apply(self, writer: &Writer<'_>, moves: &[Move], mut report: Report) -> Result<Report> {
        let (site, observer) = (self.site, self.observer);
        let time = jiff::Timestamp::now();
        let mut proposal = Proposal {
            verb: self.verb.to_owned(),
            details: details(&report.gates, &report.approvals),
            ..Proposal::default()
        };
        // What would refuse a link is found out before anything is built for it.
        for one in moves {
            if let Some(spec) = site.link(&one.name) {
                site.look_at_link(&spec, &target_in(&self.draft, &spec, &one.root())?)?;
            }
        }
        if !self.draft.contents().is_empty() {
            writer.bring_in(&self.draft, site.home()?.pool())?;
        }
        let mut prepared: Vec<(ViewSpec, SnapshotId, Prepared)> = Vec::new();
        let mut links: Vec<(LinkReport, Option<PreparedLink>)> = Vec::new();
        for one in moves {
            let (id, snapshot) = self.snapshot(one, time);
            if let Some(spec) = site.link(&one.name) {
                let target = target_in(&self.draft, &spec, &one.root())?;
                links.push(site.prepare_link(&spec, &target)?);
                if one.is_noop() {
                    continue;
                }
            }
            if let Some(view) = site.view(&one.name)? {
                let goal = self.goal(one, id, time);
                let never_link = |path: &RelPath| site.must_not_share(path);
                let store = &site.store;
                let ready = store.prepare_view(&self.draft, &view, &goal, &never_link, observer)?;
                report.notes.extend(edit_notes(view.name.as_str(), &ready.plan.edited));
                prepared.push((view, id, ready));
            }
            let old = one.old.map(|(id, _)| id);
            report.refs.push(RefMove { name: one.name.to_string(), old, new: Some(id) });
            if !one.is_noop() {
                proposal.edits.push(RefEdit { name: one.name.clone(), old, new: Some(id) });
                proposal.snapshots.extend(snapshot);
            }
        }
        let mut published = time;
        if proposal.edits.is_empty() {
            writer.remember(&self.inodes)?;
        } else {
            proposal.inodes = self.inodes;
            // The last moment at which stopping leaves everything as it was.
            if observer.interrupted() {
                return Err(cairn_store::Error::Interrupted.into());
            }
            let committed = writer.commit(&self.draft, proposal)?;
            report.number = Some(committed.operation.number);
            report.operation = Some(committed.id);
            published = committed.operation.time;
            if let Some(error) = committed.behind {
                report
                    .notes
                    .push(format!("The index will be brought up to date: {}.", told(&error)));
            }
        }
        // From here on everything is done as far as it goes: it has happened.
        let mut views: Vec<ViewSpec> = Vec::new();
        for (view, snapshot, ready) in prepared {
            let mut row = ViewReport { links: ready.links, ..ViewReport::new(&ready.plan) };
            match ready.swap(snapshot, published) {
                Ok(swapped) => row.swapped = swapped,
                Err(error) => row.pending = Some(told(&error)),
            }
            report.views.push(row);
            views.push(view);
        }
        // A link comes after what it leads to.
        for (mut row, ready) in links {
            match ready.map(PreparedLink::switch) {
                Some(Ok(())) => row.switched = true,
                Some(Err(error)) => row.pending = Some(told(&error)),
                None => {}
            }
            report.links.push(row);
        }
        let mut mounts: Vec<String> = views.iter().map(|view| view.mount.clone()).collect();
        mounts.extend(report.links.iter().map(|link| link.mount.clone()));
        if !mounts.is_empty() {
            let touched = |list: &ListRoot| mounts.contains(&list.mount);
            match write_lists(site, &touched, Mode::Apply, observer) {
                Ok(lists) => report.lists = lists,
                Err(error) => report.notes.push(format!(
                    "The mirror lists were not written: {}; run cairn lists.",
                    told(&error)
                )),
            }
        }
        for view in views {
            if let Err(error) = site.store.tidy_view(&view, published) {
                report.notes.push(format!("Old trees of {} stay: {}.", view.name, told(&error)));
            }
        }
        Ok(report)
    }

    /// Returns the moves of links, to be made with those of what they lead to.
    pub fn link_moves(&self, goals: &[LinkGoal]) -> Result<Vec<Move>> {
        let time = jiff::Timestamp::now();
        let one = |goal: &LinkGoal| {
            let name = goal.spec.name.clone();
            let old = self.site.current(&name)?;
            let root = link_tree(&self.draft, goal, old.as_ref().map(|(_, root)| root), time)?;
            let parents = old.iter().map(|(id, _)| *id).collect();
            let new = Destination::Tree { root, origin: link_origin(self.verb, goal), parents };
            Ok(Move { name, old, new })
        };
        goals.iter().map(one).collect()
    }

    /// Returns the snapshot that a move leads to, and the new one if it must be stored.
    fn snapshot(&self, one: &Move, time: jiff::Timestamp) -> (SnapshotId, Option<Snapshot>) {
        match &one.new {
            Destination::Snapshot { id, .. } => (*id, None),
            Destination::Tree { .. } if one.is_noop() => {
                (one.old.expect("a no-op has an old side").0, None)
            }
            Destination::Tree { root, origin, parents } => {
                let snapshot = Snapshot {
                    version: Snapshot::VERSION,
                    root: (*root).into(),
                    time,
                    origin: origin.clone(),
                    parents: parents.clone(),
                };
                (snapshot.encode().0, Some(snapshot))
            }
        }
    }
}

/// Turns a configured name into a ref name.
pub(super) fn ref_name(name: String) -> Result<RefName> {
    RefName::new(name).map_err(Error::Store)
}
