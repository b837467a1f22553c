//! One check from its beginning to its end.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use cairn_store::fs::{Dir, Stat};
use cairn_store::id::{ObjectId, SnapshotId, TreeId};
use cairn_store::index::Inodes;
use cairn_store::log::Log;
use cairn_store::mount::Mount;
use cairn_store::pack::{NodeId, Packs};
use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::refs::RefName;
use cairn_store::tree::{FileEntry, Nodes, Tree};
use cairn_store::{Error, Result};

use crate::index::{self, Indexed};
use crate::limit::Limit;
use crate::links::{self, Astray};
use crate::live::{self, Shown, Views};
use crate::log::{self, Superblock, Truth};
use crate::objects::{self, Bad, Needs, PoolState, Uses, bit_of, note_use};
use crate::packs::Shelf;
use crate::resume::Resume;
use crate::{Code, Level, Options, Report, Subject};

/// A check that runs.
pub(crate) struct Check<'a> {
    pub subject: &'a Subject<'a>,
    pub level: Level,
    pub observer: &'a dyn Observer,
    pub limit: Limit,
    pub resume: Resume<'a>,
    pub report: Report,
    shelf: Option<&'a Shelf>,
    cache: Option<Inodes>,
}

/// Everything that was found, in the form that a repair needs.
pub(crate) struct Facts {
    pub root: Dir,
    pub log: Log,
    pub truth: Truth,
    pub shelf: Shelf,
    pub superblock: Superblock,
    /// The store's id, from the superblock or else from its mounts.
    pub id: Option<String>,
    pub indexed: Indexed,
    pub mounts: BTreeMap<String, Mount>,
    pub needs: Needs,
    pub pools: BTreeMap<String, PoolState>,
    pub bad: Vec<Bad>,
    pub views: Views,
    pub links: Vec<Astray>,
    /// Directories for objects that pools lack.
    pub gaps: Vec<(String, u8)>,
    /// Trees that refs need and no pack of the log's has.
    pub lost_nodes: Vec<TreeId>,
}

/// Checks everything.
pub(crate) fn run(
    subject: &Subject<'_>,
    options: &Options,
    observer: &dyn Observer,
) -> Result<(Report, Facts)> {
    let root = Dir::open(subject.store).map_err(|error| match error.is_not_found() {
        true => Error::NoStore(subject.store.to_owned()),
        false => error,
    })?;
    let mut report = Report::default();
    let superblock = log::superblock(&root, &mut report)?;
    let log = Log::new(root.dir(b"log")?);
    let truth = log::read(&log, &mut report, observer)?;
    let shelf = Shelf::read(Packs::new(root.dir(b"packs")?), &truth, &mut report, observer)?;
    let indexed = index::check(&root, &log, &truth, &mut report)?;
    let mut facts = Facts {
        id: None,
        mounts: BTreeMap::new(),
        needs: Needs::default(),
        pools: BTreeMap::new(),
        bad: Vec::new(),
        views: Views::default(),
        links: Vec::new(),
        gaps: Vec::new(),
        lost_nodes: Vec::new(),
        root,
        log,
        truth,
        shelf,
        superblock,
        indexed,
    };
    // Nothing more can be said of a store whose meaning this program does not know.
    if !matches!(facts.superblock, Superblock::Foreign) {
        report = look_further(subject, options, observer, report, &mut facts)?;
    }
    report.sort();
    Ok((report, facts))
}

fn look_further(
    subject: &Subject<'_>,
    options: &Options,
    observer: &dyn Observer,
    mut report: Report,
    facts: &mut Facts,
) -> Result<Report> {
    facts.id = match &facts.superblock {
        Superblock::Known(id) => Some(id.clone()),
        Superblock::Foreign | Superblock::Unreadable => id_of_mounts(subject),
    };
    let id = facts.id.clone().unwrap_or_default();
    for spec in subject.mounts {
        match Mount::open(spec, &id) {
            Ok(mount) => drop(facts.mounts.insert(spec.name.clone(), mount)),
            Err(error) => report.add(Code::MountUnavailable, &spec.name, error, vec![]),
        }
    }
    needs(subject, facts, &mut report);
    if let Some(index) = &facts.indexed.index {
        let mut needed = facts.needs.trees().map(NodeId::Tree);
        let (truth, shelf) = (&facts.truth, &facts.shelf);
        let sound = index::check_nodes(index, &mut needed, truth, shelf, &mut report);
        facts.indexed.rebuild |= !sound.unwrap_or(false);
    }
    let resume = match options.level {
        Level::Full => Resume::open(&facts.root, &id, options.restart)?,
        Level::Quick => Resume::none(&facts.root),
    };
    report.resumed = resume.since;
    let index = facts.indexed.index.as_ref();
    let cache = index.and_then(|index| index.view().and_then(|view| view.inodes()).ok());
    let mut check = Check {
        subject,
        level: options.level,
        observer,
        limit: Limit::new(options.limit),
        resume,
        report,
        shelf: Some(&facts.shelf),
        cache,
    };
    for (name, mount) in &facts.mounts {
        for prefix in mount.pool().gaps()? {
            let message = format!("the pool of {name} has no directory for such objects");
            let subject = format!("objects/{prefix:02x}");
            check.report.add(Code::PoolIncomplete, subject, message, vec![]);
            facts.gaps.push((name.clone(), prefix));
        }
    }
    (facts.pools, facts.bad) = objects::check(&mut check, &facts.needs, &facts.mounts)?;
    name_users(&mut check, &facts.truth, &facts.shelf, &facts.bad);
    for (view, snapshot) in views(subject, &facts.truth, &facts.mounts)? {
        let mount = &facts.mounts[&view.mount];
        let pool = &facts.pools[&view.mount];
        let shown = Shown { mount, pool, view, snapshot };
        live::check(&mut check, &shown, &facts.shelf, &facts.truth, &facts.log, &mut facts.views)?;
    }
    let links = links::check(&mut check, facts)?;
    let Check { report, resume, .. } = check;
    resume.end()?;
    facts.links = links;
    // A repair opens it as any command does, or removes it.
    facts.indexed.index = None;
    Ok(report)
}

/// Collects what the refs need, and names what no pack has.
fn needs(subject: &Subject<'_>, facts: &mut Facts, report: &mut Report) {
    for (name, snapshot) in &facts.truth.refs {
        let mount = (subject.view)(name).map_or(0, |view| bit_of(&facts.mounts, &view.mount));
        let mut missing = Vec::new();
        match facts.shelf.snapshot(snapshot) {
            Ok(snapshot) => {
                let mut lost = |path: &RelPath, tree: &TreeId, error: Error| {
                    note_use(&mut missing, name.as_str(), path);
                    facts.lost_nodes.push(*tree);
                    report.add(Code::NodeMissing, name, error, std::mem::take(&mut missing));
                };
                let root = snapshot.root();
                facts.needs.add(&facts.shelf, &root, mount, &RelPath::ROOT, &mut lost);
            }
            Err(error) => {
                report.add(Code::NodeMissing, name, error, vec![name.to_string()]);
            }
        }
    }
}

/// Adds a finding for each damaged object, with the refs, snapshots and paths that use it.
fn name_users(check: &mut Check<'_>, truth: &Truth, shelf: &Shelf, bad: &[Bad]) {
    if bad.is_empty() {
        return;
    }
    let objects: HashSet<ObjectId> = bad.iter().map(|bad| bad.copy.id).collect();
    let mut users: BTreeMap<ObjectId, Vec<String>> = BTreeMap::new();
    let mut uses = Uses::new(shelf, &objects);
    let named: HashSet<SnapshotId> = truth.refs.values().copied().collect();
    let refs = truth.refs.iter().map(|(name, id)| (name.to_string(), *id));
    let older = shelf.snapshots().into_iter().filter(|id| !named.contains(id));
    for (who, id) in refs.chain(older.map(|id| (id.to_string(), id))) {
        let Ok(snapshot) = shelf.snapshot(&id) else { continue };
        uses.below(&snapshot.root(), &RelPath::ROOT, &mut |path, file| {
            note_use(users.entry(file.object).or_default(), &who, path);
        });
    }
    for Bad { copy, code, message, .. } in bad {
        let affected = users.get(&copy.id).cloned().unwrap_or_default();
        check.report.add(*code, copy.id, message, affected);
    }
}

/// Returns every view that has something on a mount that is there: those of the refs that exist,
/// and those whose publication was begun.
fn views(
    subject: &Subject<'_>,
    truth: &Truth,
    mounts: &BTreeMap<String, Mount>,
) -> Result<Vec<(cairn_store::publish::ViewSpec, Option<SnapshotId>)>> {
    let mut names: BTreeMap<RefName, Option<SnapshotId>> =
        truth.refs.iter().map(|(name, id)| (name.clone(), Some(*id))).collect();
    for mount in mounts.values() {
        for name in mount.published()? {
            names.entry(name).or_default();
        }
    }
    let view = |(name, id)| Some(((subject.view)(&name)?, id));
    let views = names.into_iter().filter_map(view);
    Ok(views.filter(|(view, _)| mounts.contains_key(&view.mount)).collect())
}

/// Returns the id of the store that all mounts belong to, if they agree.
fn id_of_mounts(subject: &Subject<'_>) -> Option<String> {
    let marker = |spec: &cairn_store::mount::MountSpec| {
        let text = Dir::open(&spec.pool).ok()?.try_read(b"mount.json").ok()??;
        let marker: serde_json::Value = serde_json::from_slice(&text).ok()?;
        Some(marker.get("store")?.as_str()?.to_owned())
    };
    let mut ids: Vec<String> = subject.mounts.iter().filter_map(marker).collect();
    ids.sort_unstable();
    ids.dedup();
    match ids.as_slice() {
        [id] => Some(id.clone()),
        _ => None,
    }
}

impl Check<'_> {
    /// Returns a tree.
    pub fn nodes(&self, id: &TreeId) -> Result<Arc<Tree>> {
        self.shelf.expect("a check that looks at trees has packs").tree(id)
    }

    /// Returns whether the inode cache knows that this file, as it is, has this content.
    pub fn is_known(&self, stat: &Stat, want: &FileEntry) -> bool {
        let known = self.cache.as_ref().and_then(|i| i.get(stat.dev, stat.ino).ok().flatten());
        known.is_some_and(|known| {
            known.object == want.object
                && known.size == stat.size
                && known.mtime == stat.mtime
                && known.ctime == stat.ctime
        })
    }
}
