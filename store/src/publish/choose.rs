//! Which tree a view takes next, and what must be done to it. Pure: nothing is changed.

use super::record::{Content, Leftover};
use super::{Goal, Intent, ModeChange, Source, State, ViewPlan, ViewSpec};
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
    let choice = |source, work, base| Choice {
        plan: ViewPlan {
            view: view.clone(),
            strategy: state.mount.strategy,
            source,
            link: state.mount.link_method(),
            work,
            mode,
        },
        content: content.clone(),
        target,
        base,
    };
    let nothing = Changed::default();
    if let Some(live) = state.live_record()
        && live.content.tree == target.tree
        && !live.building
    {
        return Ok(choice(Source::Live, nothing, Base::Ready(live.ino)));
    }
    let others = || state.records.trees.iter().rev().filter(|t| Some(t.ino) != state.live);
    let ready = || {
        others().filter(|tree| {
            !tree.building
                && (tree.content.tree == target.tree
                    || goal.intent == Intent::Back && tree.content.root.tree == goal.root.tree)
        })
    };
    let root = Root::from(goal.root);
    if let Some(tree) = ready().find(|tree| tree.content.root == root) {
        return Ok(choice(Source::Kept, nothing, Base::Ready(tree.ino)));
    }
    // One that differs by the root directory's mode or time gets the other, before it is live.
    for tree in ready() {
        let content = Content { snapshot: goal.snapshot, root, ..tree.content.clone() };
        if let (Ok(holds), Ok(target)) =
            (published(draft, &tree.content), published(draft, &content))
        {
            let kept = choice(Source::Kept, nothing, Base::Standby(tree.ino, holds));
            return Ok(Choice { content, target, ..kept });
        }
    }
    // A tree whose content cannot be computed any more is built anew, not guessed at: one that was
    // finished for an operation that was never logged is of nodes that are in no pack.
    let mut free = others().filter(|tree| tree.is_free(goal.time, state.mount.spec.keep_trees));
    let base = free.find_map(|tree| {
        let holds = published(draft, &tree.content).ok()?;
        let work = Changed::between(draft, Some(&holds), Some(&target)).ok()?;
        Some((tree.ino, holds, work))
    });
    match base {
        Some((ino, holds, work)) => Ok(choice(Source::Standby, work, Base::Standby(ino, holds))),
        None => {
            let work = Changed::between(draft, None, Some(&target))?;
            Ok(choice(Source::New, work, Base::New))
        }
    }
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
