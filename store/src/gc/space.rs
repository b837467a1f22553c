//! What refs cost: what each needs, and what of it nobody else does.

use std::collections::HashSet;

use rayon::prelude::*;
use serde::Serialize;

use super::mark::{Marks, below};
use super::roots::Roots;
use super::trash::{Listing, look};
use super::{Amount, Policy, Skipped};
use crate::error::{Error, Result};
use crate::id::{ObjectId, SnapshotId, TreeId};
use crate::progress::Observer;
use crate::store::Store;

/// What one ref needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefSpace {
    /// The ref.
    pub name: String,
    /// What it names; null when it was removed and its publications are still kept.
    pub snapshot: Option<SnapshotId>,
    /// Paths of what it names.
    pub files: u64,
    /// The sum of their sizes.
    pub bytes: u64,
    /// The different contents of what it names.
    pub stored: Amount,
    /// Snapshots that it keeps beside that.
    pub kept_snapshots: u64,
    /// The contents that only they need, of all that this ref needs.
    pub kept: Amount,
    /// What no other ref needs, of both.
    pub alone: Amount,
    /// What others need too, of both.
    pub shared: Amount,
}

/// What is in one mount's pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MountSpace {
    /// The mount.
    pub mount: String,
    /// What refs need.
    pub needed: Amount,
    /// What no ref needs: garbage, and what a command brings in at this moment.
    pub unneeded: Amount,
    /// What is in the trash.
    pub trash: Amount,
}

/// What a store costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Space {
    /// The refs, by name.
    pub refs: Vec<RefSpace>,
    /// Every content that a ref needs, once.
    pub total: Amount,
    /// What more than one ref needs, once.
    pub shared: Amount,
    /// The pools. Each has what its mount has shown, so contents are in several.
    pub mounts: Vec<MountSpace>,
    /// Mounts that are away.
    pub skipped: Vec<Skipped>,
}

impl Store {
    /// Adds up what every ref needs: what it names, what it keeps, and its trees on the mounts.
    ///
    /// # Errors
    /// A tree that cannot be read.
    pub fn space(&self, policy: &Policy<'_>, observer: &dyn Observer) -> Result<Space> {
        let (mut mounts, mut skipped) = (Vec::new(), Vec::new());
        for name in self.mount_names() {
            match self.mount(name) {
                Ok(mount) => mounts.push(mount),
                Err(error @ Error::Mount { .. }) => {
                    skipped.push(Skipped { mount: name.to_owned(), reason: error.to_string() });
                }
                Err(error) => return Err(error),
            }
        }
        observer.begin("Listing objects", 0, 0);
        let listings = mounts
            .iter()
            .map(|mount| Listing::of(mount.pool(), observer))
            .collect::<Result<Vec<_>>>()?;
        let roots = Roots::find(self, policy, None, &mounts)?;
        let mut marks = Marks::over(&listings);
        observer.begin("Adding up", 0, 0);
        marks.mark_roots(self, &roots, observer)?;
        let (alone, shared, _) = marks.amounts();
        let mut total = shared;
        for amount in alone.values() {
            total.objects += amount.objects;
            total.bytes = total.bytes.saturating_add(amount.bytes);
        }
        let refs = roots
            .refs
            .par_iter()
            .map(|one| {
                let mut walk = Walk { store: self, trees: HashSet::new(), objects: HashSet::new() };
                let current = one.current.map(|id| self.snapshot(&id)).transpose()?;
                let root = current.map(|snapshot| snapshot.root());
                let stored = walk.add(root.iter().map(|root| root.tree).collect(), observer)?;
                let kept = walk.add(one.trees.clone(), observer)?;
                let alone = alone.get(one.name.as_str()).copied().unwrap_or_default();
                let both = |a: u64, b: u64, less: u64| (a.saturating_add(b)).saturating_sub(less);
                Ok(RefSpace {
                    name: one.name.clone(),
                    snapshot: one.current,
                    files: root.map_or(0, |root| root.files),
                    bytes: root.map_or(0, |root| root.bytes),
                    stored,
                    kept_snapshots: one.snapshots.len() as u64 - u64::from(one.current.is_some()),
                    kept,
                    alone,
                    shared: Amount {
                        objects: both(stored.objects, kept.objects, alone.objects),
                        bytes: both(stored.bytes, kept.bytes, alone.bytes),
                    },
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let mut rows = Vec::new();
        for (mount, listing) in mounts.iter().zip(&listings) {
            let (mut needed, mut idle) = (Amount::default(), Vec::new());
            for id in listing.objects() {
                match marks.size(&id) {
                    Some(size) => needed.add(size),
                    None => idle.push(id),
                }
            }
            let (mut unneeded, mut trash) = (Amount::default(), Amount::default());
            look(mount.pool(), idle, observer)?.iter().for_each(|one| unneeded.add(one.bytes));
            listing.trash(mount.pool())?.iter().for_each(|one| trash.add(one.bytes()));
            let mount = mount.spec.name.clone();
            rows.push(MountSpace { mount, needed, unneeded, trash });
        }
        Ok(Space { refs, total, shared, mounts: rows, skipped })
    }
}

/// A walk that counts every content once.
struct Walk<'s> {
    store: &'s Store,
    trees: HashSet<TreeId>,
    objects: HashSet<ObjectId>,
}

impl Walk<'_> {
    /// Adds what is below these trees, and returns what was not counted yet.
    fn add(&mut self, mut stack: Vec<TreeId>, observer: &dyn Observer) -> Result<Amount> {
        let mut amount = Amount::default();
        while let Some(tree) = stack.pop() {
            if !self.trees.insert(tree) {
                continue;
            }
            if observer.interrupted() {
                return Err(Error::Interrupted);
            }
            let (dirs, files) = below(self.store, &tree)?;
            stack.extend(dirs);
            for (object, size) in files {
                if self.objects.insert(object) {
                    amount.add(size);
                }
            }
        }
        Ok(amount)
    }
}
