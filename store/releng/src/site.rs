//! A site: the configuration and the store that it names, ready for a verb.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cairn_store::fs::{self, Dir};
use cairn_store::id::SnapshotId;
use cairn_store::mount::{Mount, MountSpec, Strategy};
use cairn_store::path::RelPath;
use cairn_store::pool::LinkMode as StoreLink;
use cairn_store::progress::Observer;
use cairn_store::publish::{Goal, Intent, ViewSpec};
use cairn_store::refs::{RefName, Rev};
use cairn_store::store::{Session, Store, Writer};
use cairn_store::tree::Draft;
use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::config::{Config, LinkMode, SwapMode};
use crate::error::{Error, Result, told};
use crate::names;
use crate::report::edit_notes;

/// A configuration and its open store.
pub struct Site {
    /// The configuration.
    pub config: Config,
    /// The store.
    pub store: Store,
    never_link: GlobSet,
}

impl Site {
    /// Opens the store that a configuration names.
    pub fn open(config: Config, session: Session) -> Result<Self> {
        let mounts = mount_specs(&config)?;
        let store = Store::open(Path::new(&config.store.path), &mounts, session)?;
        let never_link = never_link(&config)?;
        Ok(Self { config, store, never_link })
    }

    /// Creates the store and makes every mount one of it.
    pub fn init(config: Config, session: Session) -> Result<Self> {
        let mounts = mount_specs(&config)?;
        let store = Store::init(Path::new(&config.store.path), &mounts, session)?;
        let never_link = never_link(&config)?;
        Ok(Self { config, store, never_link })
    }

    /// Returns whether a path must have an inode of its own, because people and tools edit such
    /// files in place and the edit must not reach the store.
    pub fn must_not_share(&self, path: &RelPath) -> bool {
        must_not_share(&self.never_link, path)
    }

    /// Returns where a ref is published, if it is.
    pub fn view(&self, name: &RefName) -> Result<Option<ViewSpec>> {
        let Some(view) = names::view_for_ref(&self.config, name.as_str()) else {
            return Ok(None);
        };
        let path = RelPath::new(&view.path).map_err(|reason| Error::Setting {
            key: format!("category (path {:?})", view.path),
            reason: reason.to_owned(),
        })?;
        Ok(Some(ViewSpec { name: name.clone(), mount: view.mount, path }))
    }

    /// Returns the views of all refs that exist, by ref.
    pub fn views(&self) -> Result<Vec<(ViewSpec, SnapshotId)>> {
        let mut views = Vec::new();
        for state in self.store.refs()? {
            if let Some(view) = self.view(&state.name)? {
                views.push((view, state.snapshot));
            }
        }
        Ok(views)
    }

    /// Resolves a revision as it was typed.
    pub fn resolve(&self, rev: &str) -> Result<SnapshotId> {
        Ok(self.store.resolve(&Rev::parse(rev)?)?)
    }

    /// Opens the mount whose pool ingest fills.
    pub fn home(&self) -> Result<Mount> {
        Ok(self.store.mount(&self.config.store.home)?)
    }

    /// Finishes what a killed command left: dead batches, trees that were begun, and views that do
    /// not yet show what the log says. Returns a sentence for each thing done or still pending.
    ///
    /// What `writer` holds is finished under its locks; for others nobody waits here, because
    /// whoever holds them finishes them.
    pub fn recover(&self, writer: &Writer<'_>, observer: &dyn Observer) -> Result<Vec<String>> {
        let mut notes: Vec<String> = self.store.notes().to_vec();
        if self.store.recover()? > 0 {
            notes.push("Removed what a killed command left in the store.".to_owned());
        }
        for name in self.store.mount_names() {
            // A mount that is away is reported by whoever needs it.
            if let Ok(mount) = self.store.mount(name)
                && mount.pool().recover()? > 0
            {
                notes.push(format!("Removed what a killed command left in the pool of {name}."));
            }
        }
        for (view, snapshot) in self.recoverable_views()? {
            let root = match snapshot {
                Some(snapshot) => Some(self.store.snapshot(&snapshot)?.root),
                None => None,
            };
            match self.store.live(&view) {
                Ok(live) if live.root == root && live.unfinished_trees == 0 => {}
                Err(error) if root.is_some() || !is_occupied(&error) => {
                    notes.push(format!("{} is still pending: {}.", view.name, told(&error)))
                }
                // What stands in the way of a view that has no ref may stand there.
                Ok(_) | Err(_) => match self.finish_view(&view, writer, &mut notes, observer) {
                    Ok(true) => notes.push(format!("Finished publishing {}.", view.name)),
                    Ok(false) | Err(Error::Store(cairn_store::Error::Busy { .. })) => {}
                    Err(error) => {
                        notes.push(format!("{} is still pending: {}.", view.name, told(&error)))
                    }
                },
            }
        }
        self.recover_links(writer, &mut notes)?;
        Ok(notes)
    }

    /// Returns every view that may have something to finish: those of refs that exist, and those
    /// whose first publication was begun and never logged.
    pub fn recoverable_views(&self) -> Result<Vec<(ViewSpec, Option<SnapshotId>)>> {
        let mut views: Vec<(ViewSpec, Option<SnapshotId>)> =
            self.views()?.into_iter().map(|(view, snapshot)| (view, Some(snapshot))).collect();
        for mount in self.store.mount_names() {
            // A mount that is away is reported by whoever needs it.
            let Ok(mount) = self.store.mount(mount) else { continue };
            for name in mount.published()? {
                if let Some(view) = self.view(&name)?
                    && view.mount == mount.spec.name
                    && self.store.get_ref(&name)?.is_none()
                {
                    views.push((view, None));
                }
            }
        }
        Ok(views)
    }

    /// Makes one view show what its ref names and removes the trees that nobody needs; returns
    /// whether a swap was needed.
    fn finish_view(
        &self,
        view: &ViewSpec,
        writer: &Writer<'_>,
        notes: &mut Vec<String>,
        observer: &dyn Observer,
    ) -> Result<bool> {
        let _lock = match writer.holds(&view.name) {
            true => None,
            false => {
                Some(self.store.writer_within(std::slice::from_ref(&view.name), Duration::ZERO)?)
            }
        };
        let now = jiff::Timestamp::now();
        let mut swapped = false;
        if self.store.finish_takeover(view)? {
            swapped = true;
        }
        // Only under the lock is what the ref names what it goes on naming.
        if let Some(state) = self.store.get_ref(&view.name)? {
            let (snapshot, root) = (state.snapshot, self.store.snapshot(&state.snapshot)?.root());
            let draft = Draft::new(&self.store);
            let goal = Goal { snapshot, root, time: now, intent: Intent::Forward };
            let never_link = |path: &RelPath| self.must_not_share(path);
            let prepared = self.store.prepare_view(&draft, view, &goal, &never_link, observer)?;
            notes.extend(edit_notes(view.name.as_str(), &prepared.plan.edited));
            swapped |= prepared.swap(snapshot, now)?;
        }
        self.store.tidy_view(view, now)?;
        Ok(swapped)
    }
}

fn is_occupied(error: &cairn_store::Error) -> bool {
    matches!(error, cairn_store::Error::ViewOccupied { .. })
}

/// Returns the rule of [`Site::must_not_share`], for those who cannot open the store.
pub fn sharing_rule(config: &Config) -> Result<impl Fn(&RelPath) -> bool + Send + Sync + use<>> {
    let never_link = never_link(config)?;
    Ok(move |path: &RelPath| must_not_share(&never_link, path))
}

fn must_not_share(never_link: &GlobSet, path: &RelPath) -> bool {
    let repodata = path.split_last().is_some_and(|(dir, _)| dir.file_name() == b"repodata");
    let name = path.file_name();
    repodata
        || name.windows(8).any(|part| part == b"CHECKSUM")
        || never_link.is_match(Path::new(OsStr::from_bytes(name)))
}

/// Translates the configuration's mounts for the store.
pub fn mount_specs(config: &Config) -> Result<Vec<MountSpec>> {
    let translate = |(name, mount): (&String, &crate::config::Mount)| {
        let swap = match mount.swap {
            SwapMode::Auto => None,
            SwapMode::Exchange => Some(Strategy::Exchange),
            SwapMode::Symlink => Some(Strategy::Symlink),
            SwapMode::InPlace => {
                return Err(Error::Setting {
                    key: format!("mounts.{name}.swap"),
                    reason: "in-place publishing is not atomic and this version does not offer it"
                        .into(),
                });
            }
        };
        Ok(MountSpec {
            name: name.clone(),
            path: PathBuf::from(&mount.path),
            pool: PathBuf::from(&mount.pool),
            owner: mount.owner.map(|owner| (owner.uid, owner.gid)),
            link: match mount.link {
                LinkMode::Auto => StoreLink::Auto,
                LinkMode::Reflink => StoreLink::Reflink,
                LinkMode::Hardlink => StoreLink::Hardlink,
                LinkMode::Copy => StoreLink::Copy,
            },
            swap,
            keep_trees: mount.keep_trees,
            answer_within: mount.answer_within,
            grace: mount.grace,
            home: config.store.home == *name,
        })
    };
    config.mounts.iter().map(translate).collect()
}

/// Compiles glob patterns that match a file's own name.
pub(crate) fn glob_set(key: &str, patterns: &[String]) -> Result<GlobSet> {
    let wrong =
        |error: globset::Error| Error::Setting { key: key.to_owned(), reason: error.to_string() };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(Glob::new(pattern).map_err(wrong)?);
    }
    set.build().map_err(wrong)
}

fn never_link(config: &Config) -> Result<GlobSet> {
    glob_set("defaults.never_link", &config.defaults.never_link)
}

/// Opens a directory; exists so that callers need not name the store's module.
pub fn open_dir(path: &Path) -> Result<Dir> {
    Ok(Dir::open(path)?)
}

/// Raises the process's limits to what walking a release needs.
pub fn raise_limits() {
    fs::raise_open_files();
}
