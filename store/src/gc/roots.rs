//! What must stay: the snapshots that refs name or named lately, and what trees on mounts hold.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::Policy;
use crate::error::{Error, Result};
use crate::id::{SnapshotId, TreeId};
use crate::mount::Mount;
use crate::refs::RefName;
use crate::store::Store;

/// Which of a ref's publications stay, beside the snapshot that it names. One that either rule
/// keeps stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// So many, the current one among them; of a ref that was removed this keeps none.
    pub last: usize,
    /// All that the ref named at any moment within this time.
    pub within: Duration,
}

/// What one ref needs.
#[derive(Debug, Default)]
pub(super) struct RefRoots {
    pub name: String,
    /// What it names now.
    pub current: Option<SnapshotId>,
    /// What it names or named and keeps, each once.
    pub snapshots: HashSet<SnapshotId>,
    /// The trees: of what it names now first.
    pub trees: Vec<TreeId>,
}

/// Everything that must stay.
pub(super) struct Roots {
    pub refs: Vec<RefRoots>,
    /// All snapshots among it.
    pub snapshots: HashSet<SnapshotId>,
    /// What an operation named since the last run. It is no reason to keep it, but its grace
    /// begins only now.
    pub recent: HashSet<SnapshotId>,
    pub notes: Vec<String>,
}

impl Roots {
    /// Finds the roots, and what operations after number `since` named.
    pub fn find(
        store: &Store,
        policy: &Policy<'_>,
        since: Option<u64>,
        mounts: &[Mount],
    ) -> Result<Self> {
        let mut found = Self {
            refs: Vec::new(),
            snapshots: HashSet::new(),
            recent: HashSet::new(),
            notes: Vec::new(),
        };
        let mut times = Times { store, known: HashMap::new() };
        let view = store.index().view()?;
        for name in view.ever_named()? {
            let keep = (policy.keep)(&name);
            let moves = view.history(&name)?;
            let exists = moves.first().is_some_and(|(_, snapshot)| snapshot.is_some());
            let mut roots = RefRoots { name: name.to_string(), ..RefRoots::default() };
            let mut rank = 0;
            for (index, (number, snapshot)) in moves.iter().enumerate() {
                let Some(snapshot) = snapshot else { continue };
                let is_current = index == 0;
                if since.is_some_and(|since| *number > since) {
                    found.recent.insert(*snapshot);
                }
                let ranked = exists && rank < keep.last;
                rank += 1;
                if !is_current && !ranked {
                    // It was named until the next move.
                    let until = times.of(moves[index - 1].0)?;
                    let over = until.saturating_add(keep.within);
                    if over.is_ok_and(|over| over <= policy.now) {
                        continue;
                    }
                }
                // What was collected before the policy was widened does not come back.
                let stored = match is_current {
                    true => Some(store.snapshot(snapshot)?),
                    false => store.try_snapshot(snapshot)?,
                };
                let Some(stored) = stored else { continue };
                if is_current {
                    roots.current = Some(*snapshot);
                }
                if roots.snapshots.insert(*snapshot) {
                    roots.trees.push(stored.root().tree);
                    found.snapshots.insert(*snapshot);
                }
            }
            if !roots.snapshots.is_empty() {
                found.refs.push(roots);
            }
        }
        drop(view);
        for mount in mounts {
            found.add_trees_on(store, mount)?;
        }
        Ok(found)
    }

    /// Adds what the trees on a mount hold: live, kept, and ready to be swapped in.
    fn add_trees_on(&mut self, store: &Store, mount: &Mount) -> Result<()> {
        let mut by_name: BTreeMap<String, usize> =
            self.refs.iter().enumerate().map(|(index, refs)| (refs.name.clone(), index)).collect();
        for tree in store.recorded_trees(mount)? {
            let mut found = store.try_snapshot(&tree.snapshot);
            if matches!(found, Err(Error::Corrupt { .. })) && store.index().is_writable() {
                // It may have been logged since this command read the log, and by somebody who
                // could not write the index, or wrote another one.
                store.catch_up()?;
                found = store.try_snapshot(&tree.snapshot);
            }
            let known = match found {
                Ok(Some(_)) => true,
                // It was collected while this mount was not configured.
                Ok(None) => {
                    self.notes.push(format!(
                        "A tree of {} on {} holds snapshot {}, which was collected; run cairn \
                         publish.",
                        tree.view, mount.spec.name, tree.snapshot
                    ));
                    continue;
                }
                // A publication or a takeover that was never logged: its trees are nowhere.
                Err(Error::Corrupt { .. }) if !tree.was_live || !is_logged(store, &tree.view)? => {
                    false
                }
                Err(error) => return Err(unreadable(error, &tree.view, mount)),
            };
            if !known {
                continue;
            }
            let index = *by_name.entry(tree.view.clone()).or_insert_with(|| {
                self.refs.push(RefRoots { name: tree.view.clone(), ..RefRoots::default() });
                self.refs.len() - 1
            });
            let roots = &mut self.refs[index];
            roots.snapshots.insert(tree.snapshot);
            roots.trees.extend(tree.roots);
            self.snapshots.insert(tree.snapshot);
        }
        Ok(())
    }
}

/// Returns whether the ref whose view this is was ever moved.
fn is_logged(store: &Store, view: &str) -> Result<bool> {
    match RefName::new(view) {
        Ok(name) => Ok(!store.index().view()?.history(&name)?.is_empty()),
        Err(_) => Ok(true),
    }
}

fn unreadable(error: Error, view: &str, mount: &Mount) -> Error {
    // A disk that does not answer is not damage, and no reason to look for any.
    if matches!(error, Error::Io { .. }) {
        return error;
    }
    Error::corrupt(
        format!("a tree of {view} on {}", mount.spec.name),
        format!("what it holds cannot be read ({error}); nothing was collected"),
    )
}

/// When operations were committed.
struct Times<'s> {
    store: &'s Store,
    known: HashMap<u64, jiff::Timestamp>,
}

impl Times<'_> {
    fn of(&mut self, number: u64) -> Result<jiff::Timestamp> {
        if let Some(time) = self.known.get(&number) {
            return Ok(*time);
        }
        let time = self.store.operation(number)?.time;
        self.known.insert(number, time);
        Ok(time)
    }
}
