//! Which tree a view takes next, and what must be done to it. Nothing is changed; what is on disk is
//! looked at for edits by hand, because nothing is built on those.

use super::edits::{Files, edits_of};
use super::record::{Content, Leftover, TreeRecord};
use super::{Edited, Goal, Intent, ModeChange, Source, State, ViewPlan, ViewSpec};
use crate::diff::Changed;
use crate::error::Result;
use crate::snapshot::Root;
use crate::transform::{overlay, subtract};
use crate::tree::{DirEntry, Draft};

/// What a plan decided, with what applying it needs.
pub(super) struct Choice {
    pub plan: ViewPlan,
    pub content: Content,
    pub target: DirEntry,
    pub base: Base,
    /// The inodes of the trees that the plan says were edited, in the same order.
    pub edited: Vec<u64>,
}

pub(super) enum Base {
    /// The tree with this inode holds the target already.
    Ready(u64),
    /// The tree with this inode holds that, and may be changed.
    Standby(u64, DirEntry),
    /// A new tree.
    New,
}

pub(super) fn choose(
    draft: &Draft<'_>,
    view: &ViewSpec,
    goal: &Goal,
    state: &State,
) -> Result<Choice> {
    let (content, target) = goal_content(draft, goal, state)?;
    let mode = state.live_record().map(|live| live.content.root.mode).and_then(|old| {
        let new = goal.root.mode;
        (old != new).then_some(ModeChange { old, new })
    });
    let mut edited = Suspects { draft, state, found: Vec::new() };
    let live = state.live_record().filter(|live| !live.building);
    let live_holds = live.and_then(|live| published(draft, &live.content).ok());
    if let (Some(live), Some(holds)) = (live, &live_holds) {
        edited.check(live, holds, &target, Files::Look)?;
    }
    let (source, work, base, other) = pick(draft, goal, &target, &live_holds, &mut edited)?;
    let (content, target) = other.unwrap_or((content, target));
    let (inodes, edited) = edited.found.into_iter().unzip();
    let plan = ViewPlan {
        view: view.clone(),
        strategy: state.mount.strategy,
        source,
        link: state.mount.link_method(),
        work,
        mode,
        edited,
    };
    Ok(Choice { plan, content, target, base, edited: inodes })
}

/// Trees that were found to be edited.
struct Suspects<'a> {
    draft: &'a Draft<'a>,
    state: &'a State,
    found: Vec<(u64, Edited)>,
}

impl Suspects<'_> {
    /// Looks at a tree where it differs from `other`; returns whether it is as it should be there.
    fn check(
        &mut self,
        tree: &TreeRecord,
        holds: &DirEntry,
        other: &DirEntry,
        files: Files,
    ) -> Result<bool> {
        let live = self.state.live == Some(tree.ino);
        let dir = self.state.tree(tree.ino);
        let paths = match edits_of(self.draft, dir, holds, other, files) {
            // What a snapshot held that cannot be read is nothing to compare with.
            Err(crate::Error::Corrupt { .. }) if live => Vec::new(),
            paths => paths?,
        };
        if paths.is_empty() {
            return Ok(true);
        }
        self.found.push((tree.ino, Edited { live, paths }));
        Ok(false)
    }
}

/// What a tree holds and shall hold, where that is not what the goal says.
type Other = Option<(Content, DirEntry)>;

/// Picks the tree that comes next.
fn pick(
    draft: &Draft<'_>,
    goal: &Goal,
    target: &DirEntry,
    live_holds: &Option<DirEntry>,
    edited: &mut Suspects<'_>,
) -> Result<(Source, Changed, Base, Other)> {
    let (state, nothing) = (edited.state, Changed::default());
    if let Some(live) = state.live_record()
        && live.content.tree == target.tree
        && !live.building
    {
        return Ok((Source::Live, nothing, Base::Ready(live.ino), None));
    }
    let others = || state.records.trees.iter().rev().filter(|t| Some(t.ino) != state.live);
    let mut ready = Vec::new();
    for tree in others().filter(|tree| {
        !tree.building
            && (tree.content.tree == target.tree
                || goal.intent == Intent::Back && tree.content.root.tree == goal.root.tree)
    }) {
        // It is shown as it is, so where it differs from what is live its files are looked at too.
        let holds = published(draft, &tree.content).ok();
        if holds.as_ref().is_none_or(|holds| {
            let other = live_holds.as_ref().unwrap_or(holds);
            edited.check(tree, holds, other, Files::Look).unwrap_or(false)
        }) {
            ready.push((tree, holds));
        }
    }
    let root = Root::from(goal.root);
    if let Some((tree, _)) = ready.iter().find(|(tree, _)| tree.content.root == root) {
        return Ok((Source::Kept, nothing, Base::Ready(tree.ino), None));
    }
    // One that differs by the root directory's mode or time gets the other, before it is live.
    for (tree, holds) in ready {
        let other = Content { snapshot: goal.snapshot, root, ..tree.content.clone() };
        if let (Some(holds), Ok(target)) = (holds, published(draft, &other)) {
            let base = Base::Standby(tree.ino, holds);
            return Ok((Source::Kept, nothing, base, Some((other, target))));
        }
    }
    // A tree whose content cannot be computed any more is built anew, not guessed at: one that was
    // finished for an operation that was never logged is of nodes that are in no pack.
    let known = |ino| move |(other, _): &(u64, Edited)| *other == ino;
    for tree in others().filter(|tree| tree.is_free(goal.time, state.mount.spec.keep_trees)) {
        let Ok(holds) = published(draft, &tree.content) else { continue };
        let Ok(work) = Changed::between(draft, Some(&holds), Some(target)) else { continue };
        // Files that differ are replaced, whatever has become of them.
        if !edited.found.iter().any(known(tree.ino))
            && edited.check(tree, &holds, target, Files::Pass)?
        {
            return Ok((Source::Standby, work, Base::Standby(tree.ino, holds), None));
        }
    }
    Ok((Source::New, Changed::between(draft, None, Some(target))?, Base::New, None))
}

/// Returns what the view's next tree shall hold: the goal and the leftovers of now.
fn goal_content(draft: &Draft<'_>, goal: &Goal, state: &State) -> Result<(Content, DirEntry)> {
    let mut leftovers = Vec::new();
    let grace = state.mount.spec.grace;
    if let Some(live) = state.live_record() {
        let unexpired = live.content.leftovers.iter().filter(|left| left.until > goal.time);
        leftovers.extend(unexpired.cloned());
        if !grace.is_zero() && live.content.root.tree != goal.root.tree {
            let until = goal.time.saturating_add(grace).unwrap_or(jiff::Timestamp::MAX);
            leftovers.push(Leftover { from: live.content.root, to: goal.root.into(), until });
        }
    }
    let (snapshot, root) = (goal.snapshot, goal.root.into());
    let mut content = Content { snapshot, root, leftovers, tree: goal.root.tree };
    let target = published(draft, &content)?;
    content.tree = target.tree;
    Ok((content, target))
}

/// Computes what a tree with this content holds: the snapshot laid over its leftovers.
pub(super) fn published(draft: &Draft<'_>, content: &Content) -> Result<DirEntry> {
    let mut below: Option<DirEntry> = None;
    for left in &content.leftovers {
        if let Some(removed) = subtract(draft, &left.from.into(), &left.to.into())? {
            below = Some(match below {
                Some(below) => overlay(draft, &below, &removed, &|_| false)?,
                None => removed,
            });
        }
    }
    match below {
        Some(below) => overlay(draft, &below, &content.root.into(), &|_| false),
        None => Ok(content.root.into()),
    }
}
