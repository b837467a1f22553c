//! The mirror lists `fullfilelist` and `fullfiletimelist-*`, written from manifests.
//!
//! Owns every list and `<pool>/lists/`. An entry's time is when its content appeared at its path,
//! by the log, and not the inode's, which every link would move; a row that did not change stays
//! byte for byte, and a list whose bytes did not change is not touched. `fullfilelist` is what
//! `find .` prints, sorted; `fullfiletimelist-*` is version 2 of create-filelist's format.
//!
//! On disk: `<ref>.times` and `<root>.dirs` (times; see the modules), `<root>.key` (what the
//! lists of a root were made of, to know in a moment that they are up to date), `lock`, `tmp-*`.
//! All of it is derived. New lists are complete and synced before the first is renamed into
//! place; a crash leaves old or new lists, and the next run makes the rest.

mod checksums;
mod install;
mod key;
mod live;
mod render;
mod times;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use cairn_store::fault::{self, CrashPoint};
use cairn_store::fs::{Dir, Kind, Stat};
use cairn_store::id::{ObjectId, SnapshotId};
use cairn_store::mount::Mount;
use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::refs::RefName;
use cairn_store::tree::DirEntry;
use cairn_store::{Error, Result, Store};

use crate::config::{ListFile, ListKind, ListRoot};
use crate::report::Mode;
use install::{Finished, Keep, Outcome, Sink, Workshop};
use key::Key;
use live::{Live, Pins, Survey, decode_pins, encode_pins};
use render::{Chunk, Renderer, Source, Want};
use times::{Publication, Times, publications};

/// How often lists are written again because installing them changed what they list: the size of
/// a directory above. Once is enough unless somebody else is at work there.
const ROUNDS: usize = 3;

/// A view as the lists see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedView {
    /// Its ref.
    pub name: RefName,
    /// Its path on the mount.
    pub path: RelPath,
    /// The snapshot that is live there.
    pub snapshot: SnapshotId,
}

/// What became of one list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListReport {
    /// Its root, as the configuration names it: mount and path.
    pub root: String,
    /// Its file name.
    pub name: String,
    /// How many paths it lists.
    pub entries: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether it was replaced, or would be.
    pub changed: bool,
}

/// Writes every list of a mount.
///
/// `roots` are the list roots of the whole configuration, those of other mounts are passed over;
/// `views` are all views that are live on the mount. A root that does not exist is skipped.
///
/// # Errors
/// A root inside a view, another process that writes lists, damage, or the system's answer. Then
/// lists are old or new, each whole.
pub fn write(
    store: &Store,
    mount: &Mount,
    roots: &[ListRoot],
    views: &[ListedView],
    observer: &dyn Observer,
    mode: Mode,
) -> Result<Vec<ListReport>> {
    write_selected(store, mount, roots, &|_| true, views, observer, mode)
}

/// Writes the lists of the roots that `selected` accepts.
///
/// `roots` are all of them nevertheless, because no list names another.
///
/// # Errors
/// As [`write()`].
pub fn write_selected(
    store: &Store,
    mount: &Mount,
    roots: &[ListRoot],
    selected: &dyn Fn(&ListRoot) -> bool,
    views: &[ListedView],
    observer: &dyn Observer,
    mode: Mode,
) -> Result<Vec<ListReport>> {
    let views = open_views(store, mount, views)?;
    let run = Run::new(store, mount, roots, &views, observer, mode)?;
    let chosen = roots.iter().filter(|root| root.mount == mount.spec.name && selected(root));
    let chosen: Vec<Root<'_>> =
        chosen.filter_map(|root| run.open_root(root).transpose()).collect::<Result<_>>()?;
    let state = run.state_dir()?;
    if let Some(reports) = run.up_to_date(&chosen, state.as_ref())? {
        return Ok(reports);
    }
    match mode {
        Mode::DryRun => run.work(&chosen, None, state.as_ref()),
        Mode::Apply => {
            let pool = mount.pool().root();
            pool.make_dir(STATE, 0o700)?;
            let shop = Workshop::open(store, mount, pool.dir(STATE)?)?;
            run.work(&chosen, Some(&shop), Some(shop.dir()))
        }
    }
}

/// The directory of this module in the pool.
const STATE: &[u8] = b"lists";

/// A view that is there.
struct View<'a> {
    listed: &'a ListedView,
    root: DirEntry,
    live: Dir,
    stat: Stat,
    publications: Vec<Publication>,
}

/// Opens the views; one whose path does not exist is not listed.
fn open_views<'a>(store: &Store, mount: &Mount, views: &'a [ListedView]) -> Result<Vec<View<'a>>> {
    let mut opened = Vec::with_capacity(views.len());
    for listed in views {
        // The path may be a symbolic link to the live tree: that is one way to swap.
        let live = match Dir::open(&mount.root().path().join(listed.path.as_path())) {
            Ok(live) => live,
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error),
        };
        let (stat, root) = (live.stat_self()?, store.snapshot(&listed.snapshot)?.root());
        let publications = publications(store, listed)?;
        opened.push(View { listed, root, live, stat, publications });
    }
    Ok(opened)
}

/// A directory that has lists.
struct Root<'a> {
    config: &'a ListRoot,
    path: RelPath,
    dir: Dir,
    /// As the configuration names it.
    label: String,
    /// What its state files are called.
    state: String,
}

/// One run over a mount.
struct Run<'a> {
    store: &'a Store,
    mount: &'a Mount,
    observer: &'a dyn Observer,
    mode: Mode,
    views: &'a [View<'a>],
    places: BTreeMap<RelPath, usize>,
    lists: BTreeSet<RelPath>,
    closed: Vec<(u64, u64)>,
}

/// A root's lists, rendered.
struct Rendered {
    outcomes: Vec<(Outcome, u64)>,
    digest: ObjectId,
    pins: Option<Finished>,
    unlisted: Vec<RelPath>,
}

impl<'a> Run<'a> {
    fn new(
        store: &'a Store,
        mount: &'a Mount,
        roots: &[ListRoot],
        views: &'a [View<'a>],
        observer: &'a dyn Observer,
        mode: Mode,
    ) -> Result<Self> {
        let mut lists = BTreeSet::new();
        for root in roots.iter().filter(|root| root.mount == mount.spec.name) {
            let path = parse(root)?;
            for file in &root.files {
                lists.insert(path.join(file.name.as_bytes()));
                lists.insert(path.join(format!("{}-old", file.name).as_bytes()));
            }
        }
        let mut closed = Vec::new();
        for dir in [mount.pool().root().try_clone()?, Dir::open(store.path())?] {
            let stat = dir.stat_self()?;
            closed.push((stat.dev, stat.ino));
        }
        let paths = views.iter().map(|view| view.listed.path.clone());
        let places = paths.zip(0..).collect();
        Ok(Self { store, mount, observer, mode, views, places, lists, closed })
    }

    /// Opens a root; one that does not exist, or is no directory, has no lists.
    fn open_root(&self, config: &'a ListRoot) -> Result<Option<Root<'a>>> {
        let path = parse(config)?;
        let label = match config.path.as_str() {
            "" => config.mount.clone(),
            path => format!("{}/{path}", config.mount),
        };
        if let Some(view) = self.places.keys().find(|view| contains(view, &path)) {
            return Err(Error::Refused {
                path: self.mount.root().path().join(path.as_path()),
                reason: format!("lists cannot be in a view, and {view} is one"),
            });
        }
        let mut dir = self.mount.root().try_clone()?;
        for name in path.names() {
            match dir.try_stat(name)? {
                None => return Ok(None),
                Some(stat) if stat.kind == Kind::Dir => dir = dir.dir(name)?,
                Some(_) => {
                    let sentence =
                        format!("The lists of {label} are not written: it is no directory.");
                    self.observer.note(&sentence);
                    return Ok(None);
                }
            }
        }
        let state = state_name(&config.path);
        Ok(Some(Root { config, path, dir, label, state }))
    }

    fn state_dir(&self) -> Result<Option<Dir>> {
        let pool = self.mount.pool().root();
        pool.try_stat(STATE)?.map(|_| pool.dir(STATE)).transpose()
    }

    fn survey(&self, root: &Root<'_>) -> Result<Live> {
        let (views, lists, closed) = (&self.places, &self.lists, self.closed.as_slice());
        Survey { views, lists, closed, observer: self.observer }.walk(&root.dir, &root.path)
    }

    /// Returns the views below a root.
    fn views_below<'s>(&'s self, root: &'s Root<'_>) -> impl Iterator<Item = &'s View<'a>> {
        self.views.iter().filter(|view| contains(&root.path, &view.listed.path))
    }

    /// Returns what the lists of a root are made of.
    fn inputs(&self, root: &Root<'_>, live: ObjectId) -> Result<Option<ObjectId>> {
        key::inputs(self.mount, root, self.views_below(root), live)
    }

    /// Returns the reports if every list is up to date.
    fn up_to_date(
        &self,
        roots: &[Root<'_>],
        state: Option<&Dir>,
    ) -> Result<Option<Vec<ListReport>>> {
        let mut reports = Vec::new();
        for root in roots {
            let Some(key) = state.map(|dir| Key::read(dir, root)).transpose()?.flatten() else {
                return Ok(None);
            };
            let live = self.survey(root)?.digest();
            if self.inputs(root, live)?.map(|inputs| inputs.to_string()) != Some(key.inputs) {
                return Ok(None);
            }
            for list in key.lists {
                let bytes = root.dir.stat(list.name.as_bytes())?.size;
                let (root, entries) = (root.label.clone(), list.entries);
                let changed = false;
                reports.push(ListReport { root, name: list.name, entries, bytes, changed });
            }
        }
        Ok(Some(reports))
    }

    /// Renders all roots and installs what differs, until nothing does.
    fn work(
        &self,
        roots: &[Root<'_>],
        shop: Option<&Workshop>,
        state: Option<&Dir>,
    ) -> Result<Vec<ListReport>> {
        let (times, mut states) = self.times(roots, shop, state)?;
        let views: Vec<_> = self.views.iter().zip(&times).collect();
        let views: Vec<Source<'_>> = views
            .into_iter()
            .map(|(view, times)| Source { root: view.root, times, live: &view.live })
            .collect();
        let mut digests: Vec<Option<ObjectId>> = vec![None; roots.len()];
        let mut reports: BTreeMap<(usize, usize), ListReport> = BTreeMap::new();
        let mut unlisted = BTreeSet::new();
        let mut stale: Vec<usize> = (0..roots.len()).collect();
        for _ in 0..ROUNDS {
            let mut finished = Vec::new();
            let below = stale.iter().flat_map(|at| self.views_below(&roots[*at]));
            self.observer.begin("Writing the lists", below.map(|view| view.root.files).sum(), 0);
            // Nothing is in place before all of them are whole, so none waits for another.
            let rendered = stale.par_iter().map(|at| self.render(&roots[*at], &views, shop, state));
            let rendered = rendered.collect::<Result<Vec<_>>>()?;
            for (&at, rendered) in stale.iter().zip(rendered) {
                digests[at] = Some(rendered.digest);
                states.extend(rendered.pins);
                unlisted.extend(rendered.unlisted);
                for (nth, (outcome, entries)) in rendered.outcomes.into_iter().enumerate() {
                    let before = reports.get(&(at, nth)).is_some_and(|report| report.changed);
                    let (root, name) = (roots[at].label.clone(), outcome.name);
                    let (bytes, changed) = (outcome.bytes, outcome.changed || before);
                    reports.insert((at, nth), ListReport { root, name, entries, bytes, changed });
                    let keep = if before { Keep::Nothing } else { Keep::Before };
                    finished.extend(outcome.file.map(|file| (at, file, keep)));
                }
            }
            let Some(shop) = shop else { break };
            if finished.is_empty() && states.is_empty() {
                break;
            }
            shop.sync()?;
            fault::hit(CrashPoint::ListsWritten);
            // First the times that directories are pinned to: a list in them moves their own.
            shop.keep(std::mem::take(&mut states))?;
            for (at, file, keep) in &finished {
                shop.install(&roots[*at].dir, file, *keep)?;
            }
            for at in finished.iter().map(|(at, ..)| *at).collect::<BTreeSet<_>>() {
                roots[at].dir.sync()?;
            }
            shop.dir().sync()?;
            stale.clear();
            for (at, root) in roots.iter().enumerate() {
                if digests[at] != Some(self.survey(root)?.digest()) {
                    stale.push(at);
                }
            }
            if stale.is_empty() {
                break;
            }
        }
        for path in &unlisted {
            self.observer
                .note(&format!("No mirror list can hold the name {path}; it is left out."));
        }
        let reports: Vec<_> = reports.into_iter().collect();
        if let Some(shop) = shop {
            self.keep_keys(roots, &digests, &reports, shop)?;
        }
        Ok(reports.into_iter().map(|(_, report)| report).collect())
    }

    /// Remembers what the lists were made of; a key that a power cut takes is made again.
    fn keep_keys(
        &self,
        roots: &[Root<'_>],
        digests: &[Option<ObjectId>],
        reports: &[((usize, usize), ListReport)],
        shop: &Workshop,
    ) -> Result<()> {
        let mut keys = Vec::new();
        for (at, (root, digest)) in roots.iter().zip(digests).enumerate() {
            let Some(inputs) = digest.map(|live| self.inputs(root, live)).transpose()?.flatten()
            else {
                continue;
            };
            let own = reports.iter().filter(|((root, _), _)| *root == at);
            let key = Key::new(inputs, own.map(|(_, report)| report));
            keys.push(shop.state(Key::file_name(root), &key.encode())?);
        }
        shop.keep(keys)
    }

    /// Returns the times of every view, and the state files that must be written.
    fn times(
        &self,
        roots: &[Root<'_>],
        shop: Option<&Workshop>,
        state: Option<&Dir>,
    ) -> Result<(Vec<Times>, Vec<Finished>)> {
        let is_listed =
            |view: &View<'_>| roots.iter().any(|root| contains(&root.path, &view.listed.path));
        let found = self.views.par_iter().map(|view| {
            if !is_listed(view) {
                return Ok((Times::none(view.root.tree), None));
            }
            let name = &view.listed.name;
            let (times, known) = Times::after(self.store, name, &view.publications, state)?;
            let file = match shop {
                Some(shop) if !known => Some(shop.state(Times::file_name(name), &times.encode())?),
                Some(_) | None => None,
            };
            Ok((times, file))
        });
        let found = found.collect::<Result<Vec<_>>>()?;
        let (times, files): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        Ok((times, files.into_iter().flatten().collect()))
    }

    fn render(
        &self,
        root: &Root<'_>,
        views: &[Source<'_>],
        shop: Option<&Workshop>,
        state: Option<&Dir>,
    ) -> Result<Rendered> {
        let names = |kind: ListKind| -> Vec<&str> {
            let files = root.config.files.iter().filter(|file| file.kind == kind);
            files.map(|file| file.name.as_str()).collect()
        };
        let (path_names, time_names) = (names(ListKind::Paths), names(ListKind::Times));
        let want = Want { paths: !path_names.is_empty(), times: !time_names.is_empty() };
        let mut live = self.survey(root)?;
        let digest = live.digest();
        let pins = self.pin(root, &mut live, state)?;

        let mut paths = Sink::new(shop, &root.dir, &path_names)?;
        let mut times = Sink::new(shop, &root.dir, &time_names)?;
        paths.write(b".\n")?;
        times.write(b"[Version]\n2\n\n[Files]\n")?;
        let (mut path_rows, mut time_rows) = (1, 0);
        let (mut repomds, mut unlisted) = (Vec::new(), Vec::new());
        let mut take = |chunks: Vec<Chunk>| {
            for chunk in chunks {
                paths.write(&chunk.paths)?;
                times.write(&chunk.times)?;
                path_rows += chunk.path_rows;
                time_rows += chunk.time_rows;
                repomds.extend(chunk.repomds);
                unlisted.extend(chunk.unlisted);
            }
            Ok(())
        };
        let renderer = Renderer { store: self.store, views, want, observer: self.observer };
        renderer.run(&live, &mut take)?;
        times.write(b"\n[Checksums SHA1]\n")?;
        let (store, mount) = (self.store, self.mount);
        times.write(&checksums::rows(store, mount, &root.dir, &repomds, self.mode)?)?;
        times.write(b"\n[End]\n")?;

        let paths = paths.finish()?.into_iter().map(|outcome| (outcome, path_rows));
        let times = times.finish()?.into_iter().map(|outcome| (outcome, time_rows));
        let mut outcomes: Vec<_> = paths.chain(times).collect();
        let place = |name: &str| root.config.files.iter().position(|f: &ListFile| f.name == name);
        outcomes.sort_by_key(|(outcome, _)| place(&outcome.name));
        let pins = match (pins, shop) {
            (Some(bytes), Some(shop)) => Some(shop.state(pins_name(root), &bytes)?),
            _ => None,
        };
        let full = |path: Vec<u8>| RelPath::new(path).ok().map(|path| root.path.join_path(&path));
        let unlisted = unlisted.into_iter().filter_map(full).collect();
        Ok(Rendered { outcomes, digest, pins, unlisted })
    }

    /// Pins the directories' times; returns the state file's bytes if they are new.
    fn pin(
        &self,
        root: &Root<'_>,
        live: &mut Live,
        state: Option<&Dir>,
    ) -> Result<Option<Vec<u8>>> {
        let bytes = state.map(|dir| dir.try_read(&pins_name(root))).transpose()?.flatten();
        let known = match bytes.as_deref().and_then(decode_pins) {
            Some(pins) => pins,
            None => self.pins_of_lists(root, live)?,
        };
        let pins = encode_pins(&live.pin(&known));
        Ok((bytes.as_ref() != Some(&pins)).then_some(pins))
    }

    /// Finds lost times in the lists that are there: clients should see the ones they know.
    fn pins_of_lists(&self, root: &Root<'_>, live: &mut Live) -> Result<Pins> {
        for file in root.config.files.iter().filter(|file| file.kind == ListKind::Times) {
            let name = file.name.as_bytes();
            if root.dir.try_stat(name)?.is_some_and(|stat| stat.kind == Kind::File) {
                return Ok(live.pins_from_list(&root.dir.read(name)?));
            }
        }
        Ok(Pins::new())
    }
}

fn parse(root: &ListRoot) -> Result<RelPath> {
    RelPath::new(&root.path).map_err(|reason| Error::Refused {
        path: Path::new(&root.mount).join(&root.path),
        reason: reason.to_owned(),
    })
}

/// Returns whether `path` is `dir` or below it.
fn contains(dir: &RelPath, path: &RelPath) -> bool {
    let rest = path.as_bytes().strip_prefix(dir.as_bytes());
    dir.is_root() || rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

/// Returns a root's path as one file name; a long one by its hash.
fn state_name(path: &str) -> String {
    let name = path.replace('%', "%25").replace('+', "%2b").replace('/', "+");
    match name.len() {
        0 => "+".to_owned(),
        1..=200 => name,
        _ => ObjectId::of(path.as_bytes()).to_string(),
    }
}

fn pins_name(root: &Root<'_>) -> Vec<u8> {
    format!("{}.dirs", root.state).into_bytes()
}
