//! Collecting garbage: what nothing needs any more goes, in two runs with a grace between them.
//!
//! A run marks what refs, kept publications and the trees on the mounts reach. What it does not
//! reach is *condemned*, which is only written down (`<store>/condemned`). What an earlier run
//! condemned longer ago than the grace, and nothing has named since, goes: snapshots are taken out
//! of the store by an operation of the log, the packs that held them are written anew without
//! them, and objects get another name beside their own, the trash. A later run removes what has
//! been in the trash for long enough.
//!
//! Invariant: a snapshot that the store has is whole. So a snapshot's objects go only after the
//! snapshot, and never while a mount that is away could still need it.
//!
//! Locking: one collection at a time (`locks/gc`). Marking and listing need no other lock. What
//! goes is decided again and done under the store's exclusive lock, so that no command that has
//! found an object and not yet committed is under way; that lock is given up every few seconds.
//! Power loss: every step is one rename, one unlink or the log's own, in an order in which a
//! stop anywhere leaves a sound store; the next run goes on.

mod compact;
mod condemned;
mod mark;
mod roots;
mod space;
mod trash;

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::fault::{self, CrashPoint};
use crate::id::{ObjectId, OperationId, PackId, SnapshotId};
use crate::lock::{Lock, Locks};
use crate::log::Collected;
use crate::mount::Mount;
use crate::progress::Observer;
use crate::refs::RefName;
use crate::store::{Proposal, Store, Writer};
use crate::tree::Draft;

use condemned::Condemned;
use mark::Marks;
pub use roots::Keep;
use roots::Roots;
pub use space::{MountSpace, RefSpace, Space};
use trash::{Listing, Moved, Victim};

/// How long others are kept waiting at a time, while objects go to the trash.
const HOLD: Duration = Duration::from_secs(2);
/// How long they are let in between; longer than it takes to notice that a lock is free.
const PAUSE: Duration = Duration::from_millis(200);
/// How many objects go between two looks at the clock.
const STEP: usize = 512;

/// What is kept and for how long.
pub struct Policy<'a> {
    /// Which publications of a ref are kept beside the one that it names.
    pub keep: &'a (dyn Fn(&RefName) -> Keep + Sync),
    /// How long something must have been condemned before it goes.
    pub grace: Duration,
    /// How long an object stays in the trash.
    pub trash: Duration,
    /// Now.
    pub now: jiff::Timestamp,
}

/// A number of things and their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// How many objects.
    pub objects: u64,
    /// Their sizes, in bytes.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// What a ref keeps in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefKeeps {
    /// The ref; for trees on a mount whose ref was never moved, their view.
    pub name: String,
    /// Snapshots that it keeps, the one that it names among them.
    pub snapshots: u64,
    /// What would go if only this ref and its trees were not there.
    pub alone: Amount,
}

/// What is found, and what is done, in one mount's pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PoolReport {
    /// The mount.
    pub mount: String,
    /// Objects that are there, the trash not counted.
    pub objects: u64,
    /// What nothing needs, and what must wait.
    pub condemned: Amount,
    /// What goes to the trash.
    pub trashed: Amount,
    /// What stays in the trash.
    pub in_trash: Amount,
    /// What is removed from the trash; bytes of files that have no other name.
    pub freed: Amount,
    /// What is needed and was found in the trash alone; it is brought back.
    pub rescued: Amount,
    /// Why not everything was done, if it was not.
    pub problem: Option<String>,
}

/// A mount that cannot be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The mount.
    pub mount: String,
    /// Why.
    pub reason: String,
}

/// What a collection will do or did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// What keeps what.
    pub refs: Vec<RefKeeps>,
    /// What more than one ref needs.
    pub shared: Amount,
    /// What only snapshots need that are condemned and still there.
    pub waiting: Amount,
    /// Snapshots that are kept.
    pub snapshots_kept: u64,
    /// Snapshots that nothing names, and that must wait.
    pub snapshots_condemned: u64,
    /// Snapshots that go.
    pub snapshots_collected: Vec<SnapshotId>,
    /// Packs that go or are written anew.
    pub packs_collected: u64,
    /// Files of packs that an earlier run collected and that are removed, and their bytes.
    pub packs_removed: Amount,
    /// The pools.
    pub pools: Vec<PoolReport>,
    /// Mounts that are away. While there are any, no snapshot goes.
    pub skipped: Vec<Skipped>,
    /// What else the operator should know, as sentences.
    pub notes: Vec<String>,
    /// The operation, if something went.
    pub operation: Option<OperationId>,
    /// Its number.
    pub number: Option<u64>,
}

impl Report {
    /// Returns whether a mount was away or something could not be done.
    pub fn is_partial(&self) -> bool {
        !self.skipped.is_empty() || self.pools.iter().any(|pool| pool.problem.is_some())
    }
}

/// What a collection found, ready to be done.
pub struct Plan<'a> {
    /// What it will do.
    pub report: Report,
    policy: &'a Policy<'a>,
    lock: Option<Lock>,
    mounts: Vec<Mount>,
    listings: Vec<Listing>,
    condemned: Condemned,
    marks: Marks,
    /// Snapshots that nothing names, and whose time has come.
    leaving: BTreeSet<SnapshotId>,
    /// Objects that are chosen to go, in order.
    leaving_objects: Vec<ObjectId>,
    /// Snapshots that a root names.
    kept: HashSet<SnapshotId>,
    /// Snapshots that were named since the last run.
    recent: HashSet<SnapshotId>,
    /// The last operation that marking has seen.
    head: u64,
    /// What was seen of each pool's unreachable objects.
    victims: Vec<Vec<Victim>>,
}

impl Store {
    /// Plans a collection that no other can overtake until it is carried out or dropped.
    ///
    /// # Errors
    /// [`Error::Busy`] while another collection runs; as [`Store::plan_gc`].
    pub fn begin_gc<'a>(
        &self,
        policy: &'a Policy<'a>,
        observer: &dyn Observer,
    ) -> Result<Plan<'a>> {
        let lock = self.gc_lock()?;
        Ok(Plan { lock: Some(lock), ..self.plan_gc(policy, observer)? })
    }

    fn gc_lock(&self) -> Result<Lock> {
        self.lock("gc", "the collection of garbage", self.session().lock_wait)
    }

    /// Finds out what a collection would do. Nothing is changed, and nobody is kept waiting.
    ///
    /// # Errors
    /// A root that cannot be read, or a pool that cannot be listed: then nothing may go.
    pub fn plan_gc<'a>(&self, policy: &'a Policy<'a>, observer: &dyn Observer) -> Result<Plan<'a>> {
        let condemned = Condemned::read(self)?;
        let mut report = Report::default();
        let mut mounts = Vec::new();
        for name in self.mount_names() {
            match self.mount(name) {
                Ok(mount) => mounts.push(mount),
                Err(error @ Error::Mount { .. }) => report
                    .skipped
                    .push(Skipped { mount: name.to_owned(), reason: error.to_string() }),
                Err(error) => return Err(error),
            }
        }
        observer.begin("Listing objects", 0, 0);
        let listings = mounts
            .iter()
            .map(|mount| Listing::of(mount.pool(), observer))
            .collect::<Result<Vec<_>>>()?;
        observer.begin("Marking what is needed", 0, 0);
        let roots = Roots::find(self, policy, condemned.head, &mounts)?;
        report.notes.extend(roots.notes.iter().cloned());
        let mut marks = Marks::over(&listings);
        marks.mark_roots(self, &roots, observer)?;
        let mut plan = Plan {
            report,
            policy,
            lock: None,
            mounts,
            listings,
            condemned,
            marks,
            leaving: BTreeSet::new(),
            leaving_objects: Vec::new(),
            kept: HashSet::new(),
            recent: HashSet::new(),
            head: 0,
            victims: Vec::new(),
        };
        plan.leaving = plan.dropped(self, &roots)?;
        plan.mark_waiting(self, &roots, observer)?;
        plan.check_missing()?;
        plan.weigh(&roots, observer)?;
        plan.report.packs_collected = match plan.leaving.is_empty() {
            true => 0,
            false => compact::affected(self, &plan.marks, &plan.leaving, observer)?.len() as u64,
        };
        plan.report.packs_removed = compact::old_packs(self, policy)?.1;
        Ok(plan)
    }

    /// Carries a plan out, as far as it still holds.
    ///
    /// # Errors
    /// [`Error::Busy`] when others write for longer than the session waits, [`Error::Stale`] when
    /// another collection ran since the plan was made. After any error the store is sound and the
    /// next run goes on.
    pub fn apply_gc(&self, mut plan: Plan<'_>, observer: &dyn Observer) -> Result<Report> {
        let wait = self.session().lock_wait;
        if plan.lock.is_none() {
            plan.lock = Some(self.gc_lock()?);
        }
        if Condemned::read(self)?.seal != plan.condemned.seal {
            return Err(Error::Stale {
                name: "what is condemned".into(),
                expected: "the plan's".into(),
                found: "that of another collection".into(),
            });
        }
        plan.rescue();
        // Before anything is written: on a full disk this makes the room for it.
        plan.empty_trash(self.held(), observer)?;
        let writer = self.sole_writer(wait)?;
        plan.refresh(self, observer)?;
        self.held().check()?;
        plan.report.packs_removed = compact::remove_old_packs(self, plan.policy)?;
        let victims = plan.chosen();
        for pool in &mut plan.report.pools {
            pool.trashed = Amount::default();
        }
        if plan.leaving.is_empty() && victims.iter().all(Vec::is_empty) {
            drop(writer);
        } else {
            plan.commit(self, &writer, &victims, observer)?;
            plan.sweep(self, writer, victims, observer)?;
            fault::hit(CrashPoint::ObjectsSwept);
        }
        plan.condemn(self)?;
        fault::hit(CrashPoint::CondemnedWritten);
        Ok(plan.report)
    }
}

impl Plan<'_> {
    /// Returns the snapshots that nothing names and whose time has come.
    fn dropped(&self, store: &Store, roots: &Roots) -> Result<BTreeSet<SnapshotId>> {
        // A mount that is away may hold trees of any of them.
        if !self.report.skipped.is_empty() {
            return Ok(BTreeSet::new());
        }
        let known = store.index().view()?.snapshots()?;
        let named = |id: &SnapshotId| roots.snapshots.contains(id) || roots.recent.contains(id);
        let dropped = known.into_iter().filter(|id| !named(id));
        let due = |id: &SnapshotId| self.is_due(self.condemned.since_snapshot(id));
        Ok(dropped.filter(due).collect())
    }

    /// Returns whether what was condemned then has waited long enough.
    fn is_due(&self, since: Option<jiff::Timestamp>) -> bool {
        let until = since.map(|since| since.saturating_add(self.policy.grace));
        until.is_some_and(|until| until.is_ok_and(|until| until <= self.policy.now))
    }

    /// Marks what snapshots need that nothing names and that stay for now: they stay whole.
    fn mark_waiting(
        &mut self,
        store: &Store,
        roots: &Roots,
        observer: &dyn Observer,
    ) -> Result<()> {
        let mut trees = Vec::new();
        let mut waiting = 0;
        for id in store.index().view()?.snapshots()? {
            if !roots.snapshots.contains(&id) && !self.leaving.contains(&id) {
                let recent = roots.recent.contains(&id);
                let colour = if recent { mark::RECENT } else { mark::WAITING };
                trees.push((store.snapshot(&id)?.root().tree, colour));
                waiting += 1;
            }
        }
        self.marks.mark(store, trees, observer)?;
        self.kept.extend(&roots.snapshots);
        self.recent.extend(&roots.recent);
        self.report.snapshots_kept = roots.snapshots.len() as u64;
        self.report.snapshots_condemned = waiting;
        self.report.snapshots_collected = self.leaving.iter().copied().collect();
        Ok(())
    }

    /// Refuses to go on where something that is needed is nowhere: a lost directory or a wrong
    /// mount must not be followed by more losses.
    fn check_missing(&self) -> Result<()> {
        if !self.report.skipped.is_empty() {
            return Ok(());
        }
        for (id, by) in self.marks.missing() {
            // It may have come in since the pools were listed.
            let stats = self.mounts.iter().map(|mount| mount.pool().stat(&id));
            if stats.collect::<Result<Vec<_>>>()?.iter().all(Option::is_none) {
                return Err(Error::corrupt(
                    format!("object {id}"),
                    format!("{by} needs it and no pool has it; nothing was collected"),
                ));
            }
        }
        Ok(())
    }

    /// Counts what is kept by whom, and what is in each pool that nothing needs.
    fn weigh(&mut self, roots: &Roots, observer: &dyn Observer) -> Result<()> {
        let (alone, shared, waiting) = self.marks.amounts();
        let keeps = |one: &roots::RefRoots| RefKeeps {
            name: one.name.clone(),
            snapshots: one.snapshots.len() as u64,
            alone: alone.get(one.name.as_str()).copied().unwrap_or_default(),
        };
        self.report.refs = roots.refs.iter().map(keeps).collect();
        (self.report.shared, self.report.waiting) = (shared, waiting);
        observer.begin("Looking at what is not needed", 0, 0);
        for (mount, listing) in self.mounts.iter().zip(&self.listings) {
            let idle = listing.objects().filter(|id| !self.marks.is_needed(id));
            let victims = trash::look(mount.pool(), idle.collect(), observer)?;
            let mut pool = PoolReport {
                mount: mount.spec.name.clone(),
                objects: listing.count(),
                ..PoolReport::default()
            };
            for victim in &victims {
                match self.goes(victim) {
                    true => pool.trashed.add(victim.bytes),
                    false => pool.condemned.add(victim.bytes),
                }
            }
            for trashed in listing.trash(mount.pool())? {
                if trashed.is_base() && self.rescues(listing, trashed.id()) {
                    pool.rescued.add(trashed.bytes());
                } else if trashed.is_over(self.policy.trash, self.policy.now) {
                    pool.freed.objects += 1;
                    pool.freed.bytes += trashed.frees();
                } else {
                    pool.in_trash.add(trashed.bytes());
                }
            }
            self.victims.push(victims);
            self.report.pools.push(pool);
        }
        Ok(())
    }

    /// Returns whether an object is needed and only the trash of this pool has it.
    fn rescues(&self, listing: &Listing, id: &ObjectId) -> bool {
        self.marks.is_reached(id) && !listing.has(id)
    }

    /// Returns whether an object goes: nothing reaches it, it was condemned long enough ago, and
    /// nobody has brought it in or linked it since.
    fn goes(&self, victim: &Victim) -> bool {
        let settled = victim.changed.saturating_add(self.policy.grace);
        !self.marks.is_reached(&victim.id)
            && self.is_due(self.condemned.since_object(&victim.id))
            && settled.is_ok_and(|until| until <= self.policy.now)
    }

    /// Brings back what is needed and only the trash has.
    fn rescue(&mut self) {
        for index in 0..self.mounts.len() {
            let (pool, listing) = (self.mounts[index].pool(), &self.listings[index]);
            let wanted = |id: &ObjectId| self.rescues(listing, id);
            if let Err(error) = trash::rescue(pool, listing, &wanted) {
                self.report.pools[index].problem.get_or_insert(told(&error));
            }
        }
    }

    /// Removes for good what has been in the trash for long enough.
    fn empty_trash(&mut self, locks: &Locks, observer: &dyn Observer) -> Result<()> {
        // All are looked at first: removing one name moves the change time of an inode that
        // another pool's trash has too.
        let pools = || self.mounts.iter().zip(&self.listings);
        let looked: Vec<_> = pools().map(|(m, listing)| listing.trash(m.pool())).collect();
        let mut results = Vec::new();
        let mut looked_at = 0usize;
        for ((mount, listing), rows) in pools().zip(looked) {
            let mut freed = Amount::default();
            let emptied = rows.and_then(|rows| {
                for row in rows {
                    if observer.interrupted() {
                        return Err(Error::Interrupted);
                    }
                    if looked_at.is_multiple_of(STEP) {
                        locks.check()?;
                    }
                    looked_at += 1;
                    let needed = row.is_base() && self.rescues(listing, row.id());
                    if !needed && row.is_over(self.policy.trash, self.policy.now) {
                        freed.add(row.remove(mount.pool())?);
                    }
                }
                Ok(())
            });
            if let Err(error @ (Error::Interrupted | Error::LockLost { .. })) = emptied {
                return Err(error);
            }
            results.push((freed, emptied));
        }
        for (pool, (freed, emptied)) in self.report.pools.iter_mut().zip(results) {
            pool.freed = freed;
            if let Err(error) = emptied {
                pool.problem.get_or_insert(told(&error));
            }
        }
        Ok(())
    }

    /// Marks what became needed since the plan was made. Called under the exclusive lock: what is
    /// not needed now is not needed by anybody who has yet to commit either.
    fn refresh(&mut self, store: &Store, observer: &dyn Observer) -> Result<()> {
        let roots = Roots::find(store, self.policy, self.condemned.head, &self.mounts)?;
        self.marks.mark_roots(store, &roots, observer)?;
        self.leaving.retain(|id| !roots.snapshots.contains(id) && !roots.recent.contains(id));
        self.head = store.head()?.map_or(0, |head| head.number);
        self.mark_waiting(store, &roots, observer)
    }

    /// Returns the objects that go, by pool.
    fn chosen(&self) -> Vec<Vec<Victim>> {
        let chosen = |victims: &Vec<Victim>| {
            victims.iter().filter(|victim| self.goes(victim)).copied().collect()
        };
        self.victims.iter().map(chosen).collect()
    }

    /// Logs what goes. From here on the snapshots are gone; the objects follow.
    fn commit(
        &mut self,
        store: &Store,
        writer: &Writer<'_>,
        victims: &[Vec<Victim>],
        observer: &dyn Observer,
    ) -> Result<()> {
        let mut packs = Vec::new();
        let mut gone: Vec<PackId> = Vec::new();
        if !self.leaving.is_empty() {
            gone = compact::affected(store, &self.marks, &self.leaving, observer)?;
            packs = compact::rewrite(store, &self.marks, &self.leaving, &gone, observer)?;
        }
        // An unchanged pack is none that goes.
        gone.retain(|pack| packs.iter().all(|(new, _)| new != pack));
        let mut ids: Vec<ObjectId> = victims.iter().flatten().map(|victim| victim.id).collect();
        ids.sort_unstable();
        ids.dedup();
        self.leaving_objects = ids;
        self.forget(store)?;
        fault::hit(CrashPoint::ObjectsForgotten);
        let objects = victims.iter().map(|chosen| chosen.len() as u64).sum();
        let bytes: u64 = victims.iter().flatten().map(|victim| victim.bytes).sum();
        self.report.packs_collected = gone.len() as u64;
        let snapshots = self.report.snapshots_collected.clone();
        let committed = writer.commit(
            &Draft::new(store),
            Proposal {
                verb: "gc".into(),
                packs,
                collected: Some(Collected { snapshots, packs: gone, objects }),
                details: serde_json::json!({ "bytes": bytes }),
                ..Proposal::default()
            },
        )?;
        self.report.operation = Some(committed.id);
        self.report.number = Some(committed.operation.number);
        if let Some(error) = committed.behind {
            self.report.notes.push(format!("The index will be brought up to date: {error}."));
        }
        Ok(())
    }

    /// Makes the index forget the objects that go, before they do: whoever knows a file again
    /// would not look for its object.
    fn forget(&self, store: &Store) -> Result<()> {
        store.index().forget_objects(&|id| self.leaving_objects.binary_search(id).is_ok())
    }

    /// Moves the chosen objects to the trash, and lets others write in between.
    fn sweep(
        &mut self,
        store: &Store,
        writer: Writer<'_>,
        victims: Vec<Vec<Victim>>,
        observer: &dyn Observer,
    ) -> Result<()> {
        let number = self.report.number.unwrap_or_default();
        let count = victims.iter().map(Vec::len).sum::<usize>();
        observer.begin("Moving to the trash", count as u64, 0);
        let mut writer = Some(writer);
        let mut since = Instant::now();
        for (index, chosen) in victims.into_iter().enumerate() {
            let mut moved = Moved::default();
            let mut problem = None;
            for step in chosen.chunks(STEP) {
                if observer.interrupted() {
                    return Err(Error::Interrupted);
                }
                if since.elapsed() > HOLD {
                    drop(writer.take());
                    std::thread::sleep(PAUSE);
                    match store.sole_writer(store.session().lock_wait) {
                        Ok(again) => writer = Some(again),
                        Err(Error::Busy { holder, .. }) => {
                            problem = Some(format!("the rest waits for the next run: {holder}"));
                            break;
                        }
                        Err(error) => return Err(error),
                    }
                    // Somebody may have named what was chosen, or met it and stopped half-way.
                    self.refresh(store, observer)?;
                    self.forget(store)?;
                    since = Instant::now();
                }
                let step: Vec<Victim> = step.iter().filter(|one| self.goes(one)).copied().collect();
                store.held().check()?;
                let (pool, listing) = (self.mounts[index].pool(), &self.listings[index]);
                let result = trash::throw_away(pool, listing, &step, number, &mut moved);
                observer.advance(step.len() as u64, 0);
                if let Err(error) = result {
                    problem = Some(told(&error));
                    break;
                }
            }
            if !moved.ids.is_empty()
                && let Err(error) = self.mounts[index].pool().objects().sync_filesystem()
            {
                problem.get_or_insert(told(&error));
            }
            self.victims[index].retain(|victim| !moved.ids.contains(&victim.id));
            let report = &mut self.report.pools[index];
            report.trashed = moved.amount;
            if let Some(problem) = problem {
                report.problem.get_or_insert(problem);
            }
            if writer.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Writes down what is condemned from now on.
    fn condemn(&mut self, store: &Store) -> Result<()> {
        let mut next = Condemned::after(self.head);
        let now = self.policy.now;
        for id in store.index().view()?.snapshots()? {
            if !self.kept.contains(&id) {
                let since = self.condemned.since_snapshot(&id);
                let since = since.filter(|_| !self.recent.contains(&id));
                next.add_snapshot(since.unwrap_or(now), id);
            }
        }
        let mut ids: Vec<ObjectId> = Vec::new();
        for (pool, victims) in self.report.pools.iter_mut().zip(&self.victims) {
            pool.condemned = Amount::default();
            for victim in victims.iter().filter(|victim| !self.marks.is_needed(&victim.id)) {
                pool.condemned.add(victim.bytes);
                ids.push(victim.id);
            }
        }
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let since = self.condemned.since_object(&id);
            let since = since.filter(|_| !self.marks.is_recent(&id));
            next.add_object(since.unwrap_or(now), id);
        }
        store.held().check()?;
        next.write(store)
    }
}

/// Tells an error with its cause in one line, for a report that outlives it.
fn told(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
