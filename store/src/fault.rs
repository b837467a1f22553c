//! Named crash points: one after every durable step.
//!
//! In builds with debug assertions (which the tests use) `CAIRN_CRASH_AT=point[:n]` kills the
//! process with SIGKILL at the n-th time that it reaches the point, so that nothing can run
//! afterwards: no destructor, no flush, no signal handler. `CAIRN_STOP_AT=point[:n]` stops it with
//! SIGSTOP instead, so that a test can change the world in the middle of it. In release builds a hit
//! is nothing.

macro_rules! crash_points {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A moment after a durable step, at which a crash must be harmless.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum CrashPoint {
            $($(#[$doc])* $variant,)*
        }

        impl CrashPoint {
            /// Every crash point, for the crash matrix.
            pub const ALL: &'static [CrashPoint] = &[$(CrashPoint::$variant,)*];

            /// Returns the point's stable name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(CrashPoint::$variant => $name,)*
                }
            }
        }
    };
}

crash_points! {
    /// The superblock is in place, the mounts have no marker yet.
    StoreCreated = "store-created",
    /// A mount's marker and pool directories are in place.
    MountPrepared = "mount-prepared",
    /// A batch has announced itself in the pool; it has placed nothing.
    BatchOpened = "batch-opened",
    /// One object's bytes are in a temporary file of the pool.
    ObjectWritten = "object-written",
    /// All temporary files of a batch are on disk, none has its name.
    BatchSynced = "batch-synced",
    /// One object has its name.
    ObjectNamed = "object-named",
    /// All objects of a batch have their names, on disk.
    BatchNamed = "batch-named",
    /// A pack is written and synced under its name; no operation mentions it.
    PackWritten = "pack-written",
    /// A view has its directory in the pool; nothing is recorded in it.
    ViewBegun = "view-begun",
    /// A view's record says that a standby tree is being built.
    StandbyMarked = "standby-marked",
    /// One path of a standby tree was brought forward.
    StandbyChanged = "standby-changed",
    /// A standby tree is complete and on disk; its record does not say so.
    StandbySynced = "standby-synced",
    /// A standby tree's record says complete.
    StandbyRecorded = "standby-recorded",
    /// The operation's temporary file is synced; it has no number.
    OperationWritten = "operation-written",
    /// The operation has its number: it has happened.
    OperationLinked = "operation-linked",
    /// The log directory is synced; the index does not know the operation.
    OperationLogged = "operation-logged",
    /// The index knows the operation; no view has been swapped.
    OperationIndexed = "operation-indexed",
    /// One view was swapped; its directory is not synced.
    ViewSwapped = "view-swapped",
    /// A swapped view's directory is synced; its record is from before.
    ViewSwapSynced = "view-swap-synced",
    /// A swapped view's record is written.
    ViewRecorded = "view-recorded",
    /// The live root directory has another mode; its view's record is from before.
    ViewRootSet = "view-root-set",
    /// A link beside a view is made, under the pool's name for it.
    LinkPrepared = "link-prepared",
    /// A link beside a view is in its place; the directory is not synced.
    LinkSwitched = "link-switched",
    /// A link beside a view is in its place, on disk.
    LinkSwitchSynced = "link-switch-synced",
    /// A damaged file of the store has a name in quarantine.
    RecordKept = "record-kept",
    /// A sound file of the store has taken the place of a damaged one.
    RecordMended = "record-mended",
    /// A sound copy of a damaged object is on disk under a temporary name.
    MendWritten = "mend-written",
    /// A damaged object has a name in quarantine.
    MendQuarantined = "mend-quarantined",
    /// A sound object has taken the place of a damaged one.
    ObjectMended = "object-mended",
    /// A tree's record says that it is not what it should be.
    TreeDoubted = "tree-doubted",
    /// A tree that is not what it should be is in quarantine; its record is still there.
    TreeSetAside = "tree-set-aside",
    /// A portion of a tree that is adopted is in the pool and remembered.
    PortionAdopted = "portion-adopted",
    /// A view's record knows the directory that is taken over; nothing has moved.
    TakeoverRecorded = "takeover-recorded",
    /// The directory that is taken over has left its path; the link to it is not there yet.
    TakeoverMoved = "takeover-moved",
    /// The link to the directory that was taken over stands at its path; that is not synced.
    TakeoverSwapped = "takeover-swapped",
    /// The next contents of the mirror lists are in temporary files.
    ListsWritten = "lists-written",
    /// One mirror list has been replaced.
    ListReplaced = "list-replaced",
    /// One object that is needed has been brought back from the trash.
    TrashRescued = "trash-rescued",
    /// One object in the trash is removed for good.
    TrashEmptied = "trash-emptied",
    /// One pack that a collection had taken out of the store is removed.
    PackRemoved = "pack-removed",
    /// The index has forgotten the files whose objects are about to go; nothing is logged.
    ObjectsForgotten = "objects-forgotten",
    /// One object is in the trash.
    ObjectTrashed = "object-trashed",
    /// All chosen objects are in the trash; what is condemned is written as it was before.
    ObjectsSwept = "objects-swept",
    /// What is condemned from now on is written.
    CondemnedWritten = "condemned-written",
    /// New metadata of a plain directory is on disk under a temporary name.
    RepodataWritten = "repodata-written",
    /// New metadata of a plain directory is in place; what it replaced is still there.
    RepodataReplaced = "repodata-replaced",
}

/// Dies or stops here if this run was told to.
#[cfg(debug_assertions)]
pub fn hit(point: CrashPoint) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A point that was asked for, and how often it was reached.
    struct Wanted {
        name: String,
        nth: u64,
        seen: AtomicU64,
    }
    fn wanted(variable: &str) -> Option<Wanted> {
        let text = crate::fs::env(variable)?;
        let (name, nth) = text.split_once(':').unwrap_or((&text, "1"));
        let (name, nth) = (name.to_owned(), nth.parse().unwrap_or(1));
        Some(Wanted { name, nth, seen: AtomicU64::new(0) })
    }
    static CRASH: OnceLock<Option<Wanted>> = OnceLock::new();
    static STOP: OnceLock<Option<Wanted>> = OnceLock::new();

    let is_here = |wanted: &Option<Wanted>| {
        wanted.as_ref().is_some_and(|wanted| {
            wanted.name == point.name()
                && wanted.seen.fetch_add(1, Ordering::SeqCst) + 1 == wanted.nth
        })
    };
    if is_here(CRASH.get_or_init(|| wanted("CAIRN_CRASH_AT"))) {
        crate::fs::kill_self();
    }
    if is_here(STOP.get_or_init(|| wanted("CAIRN_STOP_AT"))) {
        crate::fs::stop_self();
    }
}

/// Does nothing: release builds have no crash points.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn hit(_point: CrashPoint) {}
