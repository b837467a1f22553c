//! A live view against the tree that it should hold.

use cairn_store::fs::{Dir, Kind, Stat};
use cairn_store::id::SnapshotId;
use cairn_store::path::RelPath;
use cairn_store::pool::hash_file;
use cairn_store::progress::Observer;
use cairn_store::publish::ViewSpec;
use cairn_store::tree::{DirEntry, Draft, Entry, Nodes};
use cairn_store::{Error, Result, Store};

use crate::{Code, Level, MAX_AFFECTED, Report};

/// Compares what is live with the view's snapshot, path by path.
pub(crate) fn check(
    store: &Store,
    view: &ViewSpec,
    snapshot: SnapshotId,
    level: Level,
    report: &mut Report,
    observer: &dyn Observer,
) -> Result<()> {
    let draft = Draft::new(store);
    let live = match store.live(view) {
        Ok(live) => live,
        Err(error) => {
            report.add(Code::ViewDrift, &view.name, error, vec![]);
            return Ok(());
        }
    };
    // A snapshot or a tree that cannot be read has been found already; there is nothing to compare.
    let Ok(snapshot) = store.snapshot(&snapshot) else { return Ok(()) };
    if live.tree != Some(snapshot.root.tree) {
        report.add(
            Code::ViewPending,
            &view.name,
            "its path does not show what the ref names; run cairn publish",
            vec![],
        );
    }
    let (dir, tree) = match store.live_tree(&draft, view) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(()),
        Err(error) => {
            report.add(Code::ViewDrift, &view.name, error, vec![]);
            return Ok(());
        }
    };
    observer.begin("Comparing what is live", tree.files, tree.bytes);
    let mut walk = Walk { nodes: &draft, level, observer, drift: Vec::new(), paths: 0, hashed: 0 };
    match walk.dir(&dir, &RelPath::ROOT, &tree) {
        Ok(()) => {}
        Err(Error::Interrupted) => return Err(Error::Interrupted),
        // What cannot be read cannot be served either.
        Err(error) => walk.drift.push(error.to_string()),
    }
    report.live_paths += walk.paths;
    report.bytes_hashed += walk.hashed;
    if !walk.drift.is_empty() {
        let message = format!("{} live paths differ from the snapshot", walk.drift.len());
        walk.drift.truncate(MAX_AFFECTED);
        report.add(Code::ViewDrift, &view.name, message, walk.drift);
    }
    Ok(())
}

struct Walk<'a> {
    nodes: &'a dyn Nodes,
    level: Level,
    observer: &'a dyn Observer,
    drift: Vec<String>,
    paths: u64,
    hashed: u64,
}

impl Walk<'_> {
    fn dir(&mut self, dir: &Dir, path: &RelPath, want: &DirEntry) -> Result<()> {
        if self.observer.interrupted() {
            return Err(Error::Interrupted);
        }
        let stat = dir.stat_self()?;
        if stat.mode != want.mode {
            self.differs(path, &format!("mode {:04o}, not {:04o}", stat.mode, want.mode));
        }
        let tree = self.nodes.tree(&want.tree)?;
        let mut names = dir.names()?;
        names.sort_unstable();
        for name in &names {
            if tree.get(name).is_none() {
                self.differs(&path.join(name), "it is not in the snapshot");
            }
        }
        for (name, entry) in tree.entries() {
            self.paths += 1;
            let path = path.join(name);
            match dir.try_stat(name)? {
                None => self.differs(&path, "it is missing"),
                Some(stat) => self.entry(dir, name, &path, entry, &stat)?,
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        dir: &Dir,
        name: &[u8],
        path: &RelPath,
        want: &Entry,
        stat: &Stat,
    ) -> Result<()> {
        match (want, stat.kind) {
            (Entry::Dir(want), Kind::Dir) => self.dir(&dir.dir(name)?, path, want)?,
            (Entry::Symlink(want), Kind::Symlink) => {
                if dir.read_link(name)? != *want.target {
                    self.differs(path, "it points elsewhere");
                }
            }
            (Entry::File(want), Kind::File) => {
                self.observer.advance(1, want.size);
                if stat.size != want.size {
                    self.differs(path, &format!("{} bytes, not {}", stat.size, want.size));
                } else if stat.mtime != want.mtime {
                    self.differs(path, "its time was changed");
                } else if stat.mode != want.mode {
                    self.differs(path, &format!("mode {:04o}, not {:04o}", stat.mode, want.mode));
                } else if self.level == Level::Full && stat.nlink == 1 {
                    // Shared inodes were hashed with the pool.
                    self.hashed += stat.size;
                    if hash_file(&mut dir.open_file(name)?, stat, self.observer)? != want.object {
                        self.differs(path, "its content was changed");
                    }
                }
            }
            _ => self.differs(path, "it is of another kind"),
        }
        Ok(())
    }

    fn differs(&mut self, path: &RelPath, how: &str) {
        self.drift.push(format!("{path}: {how}"));
    }
}
