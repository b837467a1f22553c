//! One size of the comparison: a compose, its successors, cairn and the peers, step by step.
//!
//! The order matters and is the same for everybody. Every timed step starts on a filesystem that
//! has been synced, so that nobody pays for what another wrote; peers and cairn take turns, so that
//! a busy minute of the machine hits both. A step that fails is noted and what builds on it is
//! skipped; the rest of the table still comes out.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cairn::{Cairn, Place};
use crate::command::{Run, Runner, Watch};
use crate::compose::Compose;
use crate::failure::{Failure, Result};
use crate::peers::{Delete, First, LISTS, Peer, Peers};
use crate::release::{Change, Release, Shape};
use crate::rows::{Samples, Selection, Step};
use crate::verify;

/// Files that the fixed change touches, whatever the size of the tree.
pub const FIXED_FILES: usize = 500;
/// From here on ostree's commit, a minute and more of hashing and writing, is timed once.
const ONE_COMMIT_FROM: usize = 50_000;

/// Which table the times go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    Rows,
    Scaling,
}

/// The times of one size.
#[derive(Debug)]
pub struct Measured {
    pub shape: Shape,
    pub bytes: u64,
    pub rows: Samples,
    pub scaling: Samples,
    pub cairn: Option<Cairn>,
}

/// A laboratory: one directory, one size.
#[derive(Debug)]
pub struct Lab<'a> {
    dir: PathBuf,
    runner: Runner,
    peers: Peers,
    cairn: Option<Cairn>,
    selection: &'a Selection,
    repeat: usize,
    rows: Samples,
    scaling: Samples,
    table: Table,
    /// A step of cairn's failed, and what follows builds on it.
    broken: bool,
    serial: u32,
}

impl<'a> Lab<'a> {
    /// Makes an empty laboratory in `dir`, which must not exist yet.
    pub fn new(
        dir: PathBuf,
        binary: Option<&Path>,
        selection: &'a Selection,
        repeat: usize,
    ) -> Result<Self> {
        let talk = dir.join("talk");
        fs::create_dir_all(&talk).map_err(Failure::io("create", &talk))?;
        let runner = Runner::new(talk);
        let cairn = binary.map(|path| Cairn::new(path.to_owned(), dir.clone(), runner.clone()));
        let peers = Peers::find(&dir.join("peers"))?;
        Ok(Self {
            dir,
            runner,
            peers,
            cairn,
            selection,
            repeat,
            rows: Samples::default(),
            scaling: Samples::default(),
            table: Table::Rows,
            broken: false,
            serial: 0,
        })
    }

    /// Runs everything that was selected for a size. Leaves the directory for the caller to remove.
    pub fn measure(mut self, shape: Shape) -> Result<Measured> {
        let root = self.dir.join("compose/9");
        fs::create_dir_all(&root).map_err(Failure::io("create", &root))?;
        self.say(&shape, "writing the release");
        let base = Compose::write(&root, Release::first(shape))?;

        self.first_release(&base)?;
        if self.wants_next() {
            self.say(&shape, "the next release, 1 % changed");
            let last = self.publish_second(&base)?;
            let last = self.releases(&base, last, Change::Percent, self.repeat)?;
            if self.selection.scaling() {
                self.say(&shape, "a change of 500 files");
                let last = self.settle_releases(&base, last, Change::Fixed(FIXED_FILES))?;
                self.table = Table::Scaling;
                let last = self.releases(&base, last, Change::Fixed(FIXED_FILES), self.repeat)?;
                self.table = Table::Rows;
                last.compose.remove()?;
            } else {
                last.compose.remove()?;
            }
        }
        if self.selection.wants_any(&[Step::IngestLink, Step::IngestNextLink]) {
            self.say(&shape, "by hard links");
            self.linked(&base)?;
        }
        Ok(Measured {
            shape,
            bytes: base.release.bytes(),
            rows: self.rows,
            scaling: self.scaling,
            cairn: self.cairn,
        })
    }

    /// An empty store, a first publication, and the same compose again.
    fn first_release(&mut self, base: &Compose) -> Result<()> {
        let timed = self.selection.wants_any(&[
            Step::IngestEmpty,
            Step::IngestSame,
            Step::StageFirst,
            Step::PublishFirst,
        ]);
        for round in 0..if timed { self.repeat } else { 1 } {
            self.say(&base.release.shape, &format!("the first release, round {}", round + 1));
            base.warm()?;
            self.copy_by_rsync(base)?;
            if round == 0 || base.release.shape.files < ONE_COMMIT_FROM {
                self.commit_by_ostree(base)?;
            }
            base.warm()?;
            self.start_over();
            self.ours(Step::IngestEmpty, |cairn| Ok(cairn.ingest(&base.dir, Place::Default)?.0))?;
            self.ours(Step::IngestSame, |cairn| Ok(cairn.ingest(&base.dir, Place::Default)?.0))?;
            self.theirs(Step::RsyncSame, |peers| peers.rsync_sync(&base.tree(), Delete::No))?;
            self.back_up_by_restic(base, round)?;
            self.ours(Step::StageFirst, Cairn::stage)?;
            self.check(Step::StageFirst, |cairn| verify::tree_is(&cairn.staging(), base));
            self.ours(Step::PublishFirst, Cairn::promote_and_list)?;
            self.check(Step::PublishFirst, |cairn| verify::tree_is(&cairn.production(), base));
            self.theirs(Step::CpLinks, Peers::cp_links)?;
            remove(&self.peers.cp_tree())?;
        }
        Ok(())
    }

    /// Publishes a second release, which gives every view its second tree. From here on there is a
    /// standby tree to bring forward, as in daily work.
    fn publish_second(&mut self, base: &Compose) -> Result<Live> {
        let live = self.arrive(base, Change::Percent, None)?;
        self.settle(Step::StageNext, Cairn::stage);
        self.ours(Step::PublishSecond, Cairn::promote)?;
        self.check(Step::PublishSecond, |cairn| {
            verify::tree_is(&cairn.production(), &live.compose)
        });
        Ok(live)
    }

    /// Publishes two releases untimed, so that both trees of a view are one fixed change from what
    /// comes next.
    fn settle_releases(&mut self, base: &Compose, mut last: Live, change: Change) -> Result<Live> {
        for _ in 0..2 {
            let live = self.arrive(base, change, None)?;
            self.settle(Step::StageNext, Cairn::stage);
            self.settle(Step::PromoteNext, Cairn::promote);
            std::mem::replace(&mut last, live).compose.remove()?;
        }
        Ok(last)
    }

    /// The daily round, `rounds` times: a compose arrives, is staged, promoted, listed, compared,
    /// rolled back and promoted again.
    fn releases(
        &mut self,
        base: &Compose,
        mut last: Live,
        change: Change,
        rounds: usize,
    ) -> Result<Live> {
        for round in 0..rounds {
            let live = self.arrive(base, change, Some(Step::IngestNext))?;
            self.ours(Step::StageNext, Cairn::stage)?;
            self.ours(Step::PromoteNext, Cairn::promote)?;
            self.check(Step::PromoteNext, |cairn| {
                verify::tree_is(&cairn.production(), &live.compose)
            });
            self.sync_by_rsync(base, &live.compose)?;
            if self.table == Table::Rows {
                // The lists first, so that they have nothing to do either.
                self.settle(Step::PromoteSame, Cairn::promote_and_list);
                self.ours(Step::PromoteSame, Cairn::promote_and_list)?;
            }
            self.write_lists(&live.compose)?;
            self.ours(Step::Rollback, Cairn::rollback)?;
            self.check(Step::Rollback, |cairn| verify::tree_is(&cairn.production(), &last.compose));
            self.settle(Step::PromoteNext, Cairn::promote);
            self.check(Step::PromoteNext, |cairn| {
                verify::tree_is(&cairn.production(), &live.compose)
            });
            self.diff(&last, &live)?;
            if self.table == Table::Rows && self.selection.wants(Step::OstreeDiff) {
                if round == 0 {
                    let tree = live.compose.tree();
                    self.prepare(Step::OstreeDiff, |peers| peers.ostree_commit("next", &tree));
                }
                self.theirs(Step::OstreeDiff, |peers| peers.ostree_diff("first", "next"))?;
            }
            std::mem::replace(&mut last, live).compose.remove()?;
        }
        Ok(last)
    }

    /// Ingests by hard links: an empty store, then a compose of which 1 % is new.
    fn linked(&mut self, base: &Compose) -> Result<()> {
        for _ in 0..self.repeat {
            self.start_over();
            base.warm()?;
            self.ours(Step::IngestLink, |cairn| Ok(cairn.ingest(&base.dir, Place::Link)?.0))?;
        }
        if self.selection.wants(Step::IngestNextLink) {
            for _ in 0..self.repeat {
                let compose = self.write_next(base, Change::Percent)?;
                self.ours(Step::IngestNextLink, |cairn| {
                    Ok(cairn.ingest(&compose.dir, Place::Link)?.0)
                })?;
                compose.remove()?;
            }
        }
        Ok(())
    }

    /// A compose arrives and is ingested. Its links have just moved the ctime of every inode that
    /// it shares with the composes before.
    fn arrive(&mut self, base: &Compose, change: Change, step: Option<Step>) -> Result<Live> {
        let compose = self.write_next(base, change)?;
        let mut snapshot = String::new();
        let ingest = |cairn: &mut Cairn| {
            let (run, id) = cairn.ingest(&compose.dir, Place::Default)?;
            snapshot = id;
            Ok(run)
        };
        match step {
            Some(step) => self.ours(step, ingest)?,
            None => self.settle(Step::IngestNext, ingest),
        }
        Ok(Live { compose, snapshot })
    }

    fn write_next(&mut self, base: &Compose, change: Change) -> Result<Compose> {
        self.serial += 1;
        base.write_next(base.release.next(change, self.serial), self.serial)
    }

    fn copy_by_rsync(&mut self, base: &Compose) -> Result<()> {
        remove(&self.peers.rsync_tree())?;
        let Some(run) =
            self.theirs(Step::RsyncCopy, |peers| peers.rsync_sync(&base.tree(), Delete::No))?
        else {
            return Ok(());
        };
        let start = Instant::now();
        self.sync()?;
        let synced = run.seconds + start.elapsed().as_secs_f64();
        self.samples().add(Step::RsyncCopySynced, synced);
        Ok(())
    }

    /// The peer of an update, back to the first release at the end.
    fn sync_by_rsync(&mut self, base: &Compose, next: &Compose) -> Result<()> {
        if self.table == Table::Rows {
            self.theirs(Step::RsyncNext, |peers| peers.rsync_sync(&next.tree(), Delete::Yes))?;
            self.prepare(Step::RsyncNext, |peers| peers.rsync_sync(&base.tree(), Delete::Yes));
        }
        self.theirs(Step::RsyncDelete, |peers| peers.rsync_exact(&next.tree()))?;
        if self.table == Table::Rows {
            self.theirs(Step::RsyncDeleteSame, |peers| peers.rsync_exact(&next.tree()))?;
        }
        self.theirs(Step::RsyncBack, |peers| peers.rsync_exact(&base.tree()))?;
        if self.peers.has(Peer::Rsync) && self.selection.wants(Step::RsyncBack) {
            verify::tree_is(&self.peers.rsync_tree(), base)?;
        }
        Ok(())
    }

    fn commit_by_ostree(&mut self, base: &Compose) -> Result<()> {
        if !self.selection.wants_any(&[Step::OstreeCommit, Step::OstreeDiff]) {
            return Ok(());
        }
        remove(&self.peers.ostree_repo())?;
        let commit = |peers: &Peers| peers.ostree_commit("first", &base.tree());
        if self.selection.wants(Step::OstreeCommit) {
            self.prepare(Step::OstreeCommit, Peers::ostree_init);
            self.theirs(Step::OstreeCommit, commit).map(drop)
        } else {
            self.prepare(Step::OstreeDiff, Peers::ostree_init);
            self.prepare(Step::OstreeDiff, commit);
            Ok(())
        }
    }

    fn back_up_by_restic(&mut self, base: &Compose, round: usize) -> Result<()> {
        if !self.selection.wants(Step::ResticSame) {
            return Ok(());
        }
        if round == 0 {
            self.prepare(Step::ResticSame, Peers::restic_init);
            self.prepare(Step::ResticSame, |peers| peers.restic_backup(&base.tree(), First::Yes));
        }
        self.theirs(Step::ResticSame, |peers| peers.restic_backup(&base.tree(), First::No))
            .map(drop)
    }

    /// Both lists of a root: cairn's from nothing, then by walking the same root.
    fn write_lists(&mut self, live: &Compose) -> Result<()> {
        let paths = live.release.files.len();
        let root = match &self.cairn {
            Some(cairn) if !self.broken => {
                let root = cairn.list_root();
                for name in LISTS {
                    remove(&root.join(name))?;
                }
                root
            }
            Some(_) | None => self.peers.rsync_tree(),
        };
        self.ours(Step::Lists, Cairn::lists)?;
        self.check(Step::Lists, |cairn| {
            LISTS
                .iter()
                .try_for_each(|name| verify::list_names(&cairn.list_root().join(name), paths))
        });
        if !self.wanted(Step::WalkedLists) || self.table == Table::Scaling || !root.exists() {
            return Ok(());
        }
        self.sync()?;
        let found = self.runner.run_into(
            &mut self.peers.find_list(&root),
            &self.peers.list(LISTS[0]),
            Watch::Nothing,
        );
        let walked = self.runner.run(&mut self.peers.time_list(&root), Watch::Nothing);
        let seconds = found.and_then(|found| Ok(found.seconds + walked?.seconds));
        let checked = verify::list_names(&self.peers.list(LISTS[1]), paths);
        match seconds.and_then(|seconds| checked.map(|()| seconds)) {
            Ok(seconds) => self.samples().add(Step::WalkedLists, seconds),
            Err(failure) => self.samples().fail(Step::WalkedLists, failure.to_string()),
        }
        Ok(())
    }

    fn diff(&mut self, old: &Live, new: &Live) -> Result<()> {
        self.ours(Step::Diff, |cairn| cairn.diff(&old.snapshot, &new.snapshot))?;
        let expected = old.compose.release.difference(&new.compose.release);
        self.check(Step::Diff, |cairn| {
            let found = cairn.difference(&old.snapshot, &new.snapshot)?;
            if found == expected {
                Ok(())
            } else {
                Err(Failure::wrong(format!("diff: {found:?}, expected {expected:?}")))
            }
        });
        Ok(())
    }

    /// Gives cairn an empty store; with it ends the effect of an earlier failure.
    fn start_over(&mut self) {
        self.broken = false;
        self.settle_with(Step::IngestEmpty, Cairn::start_over);
    }

    /// Times a step of cairn's.
    fn ours(&mut self, step: Step, action: impl FnOnce(&mut Cairn) -> Result<Run>) -> Result<()> {
        self.sync()?;
        if let Some(run) = self.attempt(step, action) {
            self.samples().add(step, run.seconds);
        }
        Ok(())
    }

    /// Runs a step of cairn's for what it leaves behind.
    fn settle(&mut self, step: Step, action: impl FnOnce(&mut Cairn) -> Result<Run>) {
        self.settle_with(step, |cairn| action(cairn).map(drop));
    }

    fn settle_with(&mut self, step: Step, action: impl FnOnce(&mut Cairn) -> Result<()>) {
        self.attempt(step, action);
    }

    /// Checks what the step just timed left behind.
    fn check(&mut self, step: Step, check: impl FnOnce(&mut Cairn) -> Result<()>) {
        self.attempt(step, check);
    }

    fn attempt<T>(
        &mut self,
        step: Step,
        action: impl FnOnce(&mut Cairn) -> Result<T>,
    ) -> Option<T> {
        let cairn = self.cairn.as_mut()?;
        if self.broken {
            self.samples().fail(step, NOT_RUN.to_owned());
            return None;
        }
        match action(cairn) {
            Ok(value) => Some(value),
            Err(failure) => {
                self.broken = true;
                self.samples().fail(step, failure.to_string());
                None
            }
        }
    }

    /// Times a step of a peer's, if it is wanted and the peer is there.
    fn theirs(
        &mut self,
        step: Step,
        command: impl FnOnce(&Peers) -> std::process::Command,
    ) -> Result<Option<Run>> {
        if !self.wanted(step) {
            return Ok(None);
        }
        self.sync()?;
        match self.runner.run(&mut command(&self.peers), Watch::Nothing) {
            Ok(run) => {
                self.samples().add(step, run.seconds);
                Ok(Some(run))
            }
            Err(failure) => {
                self.samples().fail(step, failure.to_string());
                Ok(None)
            }
        }
    }

    /// Runs a peer for what it leaves behind.
    fn prepare(&mut self, step: Step, command: impl FnOnce(&Peers) -> std::process::Command) {
        if self.wanted(step)
            && let Err(failure) = self.runner.run(&mut command(&self.peers), Watch::Nothing)
        {
            self.samples().fail(step, failure.to_string());
        }
    }

    fn wanted(&mut self, step: Step) -> bool {
        let missing = step.peer().is_some_and(|peer| !self.peers.has(peer));
        if missing && self.selection.wants(step) {
            self.samples().fail(step, NOT_INSTALLED.to_owned());
        }
        self.selection.wants(step) && !missing
    }

    fn wants_next(&self) -> bool {
        self.selection.scaling()
            || self.selection.memory()
            || self.selection.wants_any(&[
                Step::IngestNext,
                Step::StageNext,
                Step::PublishSecond,
                Step::PromoteNext,
                Step::PromoteSame,
                Step::Rollback,
                Step::Lists,
                Step::Diff,
            ])
    }

    fn samples(&mut self) -> &mut Samples {
        match self.table {
            Table::Rows => &mut self.rows,
            Table::Scaling => &mut self.scaling,
        }
    }

    /// Waits until everything that was written is on disk.
    fn sync(&self) -> Result<()> {
        let dir = File::open(&self.dir).map_err(Failure::io("open", &self.dir))?;
        rustix::fs::syncfs(&dir).map_err(|errno| Failure::io("sync", &self.dir)(errno.into()))
    }

    fn say(&self, shape: &Shape, what: &str) {
        eprintln!("{} files: {what}", shape.files);
    }
}

/// What a step says whose peer is missing; not a failure of the comparison.
pub const NOT_INSTALLED: &str = "not installed";

/// What a step says that builds on one that failed, which is the one to report.
pub const NOT_RUN: &str = "not run: an earlier step failed";

/// A compose that was ingested, with its snapshot.
#[derive(Debug)]
struct Live {
    compose: Compose,
    snapshot: String,
}

fn remove(path: &Path) -> Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(stat) if stat.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    removed.map_err(Failure::io("remove", path))
}
