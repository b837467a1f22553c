//! Links beside the releases, as refs: where one is, where it leads, and what may be replaced.
//!
//! What a link leads to is the value of its ref: a snapshot whose root holds one symbolic link. So a
//! link moves in the same operation as the release that it leads to, the log says so, a rollback
//! takes it back, and what a crash left is found by comparing the mount with the ref.

use std::collections::BTreeSet;
use std::time::Duration;

use cairn_store::id::SnapshotId;
use cairn_store::link::{LinkSpec, PreparedLink, Standing};
use cairn_store::path::RelPath;
use cairn_store::refs::RefName;
use cairn_store::snapshot::Origin;
use cairn_store::store::Writer;
use cairn_store::transform::graft;
use cairn_store::tree::{DirEntry, Draft, Entry, Nodes, SymlinkEntry};
use serde::Serialize;

use crate::config::{Config, Environment};
use crate::error::{Error, Result, told};
use crate::names::{self, ReleaseView};
use crate::site::Site;

/// What was or will be done to one link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LinkReport {
    /// The ref.
    #[serde(rename = "ref")]
    pub name: String,
    /// The mount.
    pub mount: String,
    /// The path on the mount.
    pub path: RelPath,
    /// Where it led; null where there was none.
    pub old: Option<String>,
    /// Where it leads.
    pub target: String,
    /// Whether it leads elsewhere now.
    pub switched: bool,
    /// Why it does not, if it should: the next run finishes it.
    pub pending: Option<String>,
}

impl LinkReport {
    /// Tells whether there is something to be done to it.
    pub fn differs(&self) -> bool {
        self.old.as_ref() != Some(&self.target)
    }
}

/// A link as it stands.
#[derive(Debug)]
pub struct LinkState {
    /// Where it is.
    pub spec: LinkSpec,
    /// Whether the configuration still names it.
    pub is_configured: bool,
    /// Where it leads and should; an error where something else stands, or nobody can look.
    pub standing: Result<LinkReport>,
}

/// A link that a release shall have.
pub(crate) struct LinkGoal {
    pub spec: LinkSpec,
    pub target: String,
}

impl Site {
    /// Returns the links that lead to a release's tree of an environment.
    pub(crate) fn release_links(
        &self,
        release: &ReleaseView<'_>,
        environment: Environment,
    ) -> Result<Vec<LinkGoal>> {
        let links = names::links(release, environment)?;
        let goal = |link: names::Link| {
            let name = RefName::new(link.ref_name)?;
            let path = RelPath::new(&link.path).map_err(|reason| Error::Setting {
                key: format!("category (path {:?})", link.path),
                reason: reason.to_owned(),
            })?;
            let spec = LinkSpec { name, mount: link.mount, path };
            Ok(LinkGoal { spec, target: link.target })
        };
        links.into_iter().map(goal).collect()
    }

    /// Returns the links that lead to what a ref of production shows; none for other refs.
    pub(crate) fn links_to(&self, name: &RefName) -> Result<Vec<LinkGoal>> {
        let views = self.config.release_views();
        let of = |view: &&ReleaseView<'_>| {
            view.production_ref().is_ok_and(|production| production == name.as_str())
        };
        match views.iter().find(of) {
            Some(view) => self.release_links(view, Environment::Production),
            None => Ok(Vec::new()),
        }
    }

    /// Returns where the link of this ref is; none for every other ref.
    pub(crate) fn link(&self, name: &RefName) -> Option<LinkSpec> {
        spec(&self.config, name)
    }

    /// Returns what a link stands at now, and what it shall lead to.
    ///
    /// # Errors
    /// [`cairn_store::Error::ViewOccupied`] where something stands that is not a link to a
    /// release: nobody but its owner may decide about it.
    pub(crate) fn look_at_link(&self, spec: &LinkSpec, target: &str) -> Result<LinkReport> {
        let refused = |reason: String| -> Result<LinkReport> {
            let mount = self.store.mount(&spec.mount)?;
            let path = mount.spec.path.join(spec.path.as_path());
            Err(cairn_store::Error::ViewOccupied { path, reason }.into())
        };
        let old = match self.store.standing_link(spec)? {
            Standing::Nothing => None,
            Standing::Link(old) => {
                let old = String::from_utf8_lossy(&old).into_owned();
                let path = spec.path.to_str().unwrap_or_default();
                let known = |old| names::leads_to_a_release(&self.config, &spec.mount, path, old);
                if old != target && !known(&old) {
                    return refused(format!(
                        "a link to {old:?} stands where one to {target:?} shall be, and that is \
                         not a release beside it"
                    ));
                }
                Some(old)
            }
            Standing::Else(what) => {
                return refused(format!("{what} stands where a link to {target:?} shall be"));
            }
        };
        Ok(LinkReport {
            name: spec.name.to_string(),
            mount: spec.mount.clone(),
            path: spec.path.clone(),
            old,
            target: target.to_owned(),
            switched: false,
            pending: None,
        })
    }

    /// Makes a link ready where it does not lead to its target yet.
    pub(crate) fn prepare_link(
        &self,
        spec: &LinkSpec,
        target: &str,
    ) -> Result<(LinkReport, Option<PreparedLink>)> {
        let report = self.look_at_link(spec, target)?;
        let ready = match report.differs() {
            true => Some(self.store.prepare_link(spec, target.as_bytes())?),
            false => None,
        };
        Ok((report, ready))
    }

    /// Returns the links that the configuration names and that a ref is there of, with their refs'
    /// values. What the configuration does not name any more is left as it is.
    pub(crate) fn links(&self) -> Result<Vec<(LinkSpec, SnapshotId)>> {
        let mut links = Vec::new();
        for release in self.config.release_views() {
            for environment in [Environment::Staging, Environment::Production] {
                for goal in self.release_links(&release, environment)? {
                    if let Some(state) = self.store.get_ref(&goal.spec.name)? {
                        links.push((goal.spec, state.snapshot));
                    }
                }
            }
        }
        Ok(links)
    }

    /// Returns the links that refs are there of and that the configuration names no more, with their
    /// refs' values.
    pub(crate) fn stale_links(&self) -> Result<Vec<(LinkSpec, SnapshotId)>> {
        let named = self.links()?;
        let is_named = |name: &RefName| named.iter().any(|(spec, _)| spec.name == *name);
        let refs = self.store.refs()?.into_iter().filter(|state| !is_named(&state.name));
        Ok(refs.filter_map(|state| Some((self.link(&state.name)?, state.snapshot))).collect())
    }

    /// Returns where the snapshot of a link's ref says that it leads.
    pub(crate) fn link_target(&self, spec: &LinkSpec, snapshot: &SnapshotId) -> Result<String> {
        let root = self.store.snapshot(snapshot)?.root();
        target_in(&self.store, spec, &root)
    }

    /// Returns what stands at the link of this ref; none for other refs.
    pub fn link_state(&self, name: &RefName) -> Result<Option<LinkState>> {
        let (Some(spec), Some(state)) = (self.link(name), self.store.get_ref(name)?) else {
            return Ok(None);
        };
        let is_configured = self.links()?.iter().any(|(spec, _)| spec.name == *name);
        let standing = self.link_target(&spec, &state.snapshot);
        let standing = standing.and_then(|target| self.look_at_link(&spec, &target));
        Ok(Some(LinkState { spec, is_configured, standing }))
    }

    /// Makes one link lead to where its ref says; nothing is logged.
    ///
    /// # Errors
    /// As [`Site::look_at_link`]; [`cairn_store::Error::Busy`] when another command holds the ref.
    pub(crate) fn finish_link(
        &self,
        spec: &LinkSpec,
        writer: Option<&Writer<'_>>,
        wait: Duration,
    ) -> Result<Option<LinkReport>> {
        let _lock = match writer.is_some_and(|writer| writer.holds(&spec.name)) {
            true => None,
            false => Some(self.store.writer_within(std::slice::from_ref(&spec.name), wait)?),
        };
        // Only under the lock is what the ref names what it goes on naming.
        let Some(state) = self.store.get_ref(&spec.name)? else { return Ok(None) };
        let target = self.link_target(spec, &state.snapshot)?;
        let (mut report, ready) = self.prepare_link(spec, &target)?;
        if let Some(ready) = ready {
            ready.switch()?;
            report.switched = true;
        }
        Ok(Some(report))
    }

    /// Makes every link lead to where its ref says, and removes what was prepared for operations
    /// that never happened. Adds a sentence for each thing done or still pending.
    pub(crate) fn recover_links(&self, writer: &Writer<'_>, notes: &mut Vec<String>) -> Result<()> {
        for (spec, snapshot) in self.links()? {
            let target = self.link_target(&spec, &snapshot)?;
            let done = match self.look_at_link(&spec, &target) {
                Ok(report) if !report.differs() => continue,
                Ok(_) => self.finish_link(&spec, Some(writer), Duration::ZERO),
                Err(error) => Err(error),
            };
            match done {
                Ok(Some(report)) if report.switched => {
                    notes.push(format!("{} leads to {} now.", spec.path, report.target));
                }
                Ok(_) | Err(Error::Store(cairn_store::Error::Busy { .. })) => {}
                Err(error) => notes.push(format!("{} is pending: {}.", spec.name, told(&error))),
            }
        }
        self.forget_prepared_links(writer)
    }

    /// Removes links that were prepared for operations that never happened.
    pub(crate) fn forget_prepared_links(&self, writer: &Writer<'_>) -> Result<()> {
        for name in self.store.mount_names() {
            // A mount that is away is reported by whoever needs it.
            let Ok(mount) = self.store.mount(name) else { continue };
            for prepared in self.store.prepared_links(&mount)? {
                let lock = match writer.holds(&prepared) {
                    true => None,
                    // Whoever holds it uses it, and finishes.
                    false => match self
                        .store
                        .writer_within(std::slice::from_ref(&prepared), Duration::ZERO)
                    {
                        Ok(lock) => Some(lock),
                        Err(_) => continue,
                    },
                };
                self.store.forget_link(&mount, &prepared)?;
                drop(lock);
            }
        }
        Ok(())
    }
}

/// Returns where the link of this ref is; none for every other ref.
pub fn spec(config: &Config, name: &RefName) -> Option<LinkSpec> {
    let (mount, path) = names::link_of_ref(config, name.as_str())?;
    let path = RelPath::new(path).ok()?;
    Some(LinkSpec { name: name.clone(), mount: mount.to_owned(), path })
}

/// Returns the refs of the links that the configuration names.
pub fn configured(config: &Config) -> Result<BTreeSet<RefName>> {
    let mut refs = BTreeSet::new();
    for release in config.release_views() {
        for environment in [Environment::Staging, Environment::Production] {
            for link in names::links(&release, environment)? {
                refs.insert(RefName::new(link.ref_name)?);
            }
        }
    }
    Ok(refs)
}

/// Returns the tree that a link's ref names: one symbolic link of the link's name.
///
/// Where the ref names a tree with that target already it is the same one, whatever the time.
pub(crate) fn link_tree(
    draft: &Draft<'_>,
    goal: &LinkGoal,
    old: Option<&DirEntry>,
    time: jiff::Timestamp,
) -> Result<DirEntry> {
    if let Some(old) = old
        && target_in(draft, &goal.spec, old).is_ok_and(|target| target == goal.target)
    {
        return Ok(*old);
    }
    let mtime = cairn_store::fs::Time { secs: time.as_second(), nanos: 0 };
    let target = goal.target.as_bytes().into();
    let entry = Entry::Symlink(SymlinkEntry { target, mtime });
    let name = RelPath::ROOT.join(goal.spec.path.file_name());
    Ok(graft(draft, &draft.empty(0o755, mtime), &name, Some(entry))?)
}

/// Says where the value of a link's ref comes from.
pub(crate) fn link_origin(verb: &str, goal: &LinkGoal) -> Origin {
    let mut origin = Origin { verb: verb.to_owned(), ..Origin::default() };
    origin.facts.insert("target".into(), goal.target.clone());
    origin
}

/// Returns where a link leads by the tree that its ref names.
pub(crate) fn target_in(nodes: &dyn Nodes, spec: &LinkSpec, root: &DirEntry) -> Result<String> {
    let wrong = || {
        let subject = format!("ref {}", spec.name);
        cairn_store::Error::corrupt(subject, "it names no symbolic link of its own name")
    };
    match nodes.tree(&root.tree)?.get(spec.path.file_name()) {
        Some(Entry::Symlink(link)) => {
            Ok(String::from_utf8(link.target.to_vec()).map_err(|_| wrong())?)
        }
        Some(Entry::File(_) | Entry::Dir(_)) | None => Err(wrong().into()),
    }
}
