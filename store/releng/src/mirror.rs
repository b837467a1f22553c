//! Mirrors: which snapshot one carries, and which paths deviate.
//!
//! A mirror is a directory or an address, and belongs to somebody else. What it says is bounded in
//! size and time before it is believed in nothing: a file is read up to the size that it should
//! have, a list up to `LIST` bytes, names are compared and never opened through a link. The
//! snapshot is found by the metadata that is there, whose content differs from publication to
//! publication; then paths are compared, from the mirror's own list where it is far and by a walk
//! where it is near, and contents by a sample or in full.

use std::collections::{BTreeMap, BTreeSet};

use cairn_store::fs::Kind;
use cairn_store::id::{ObjectHasher, ObjectId, SnapshotId};
use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::publish::ViewSpec;
use cairn_store::refs::RefName;
use cairn_store::tree::{DirEntry, Entry, FileEntry, lookup, walk};
use rayon::prelude::*;
use serde::Serialize;

use crate::config::ListKind;
use crate::error::{Error, Result};
use crate::history::{Finder, Reader, Who};
use crate::site::Site;

mod fetch;
pub mod list;
mod near;

use fetch::{Far, Fetch, Got};
use list::Listed;
use near::Near;

/// The largest list that is read: five million rows.
const LIST: u64 = 512 << 20;
/// How many publications of a ref are candidates.
const CANDIDATES: usize = 50;
/// How many files tell snapshots apart; a release has some sixty repos.
const MARKERS: usize = 200;
/// Larger files are read in full checks only.
const SAMPLED: u64 = 64 << 20;
/// How many deviations are listed; the rest is counted.
const DEVIATIONS: usize = 1000;

/// How thoroughly a mirror is looked at.
#[derive(Clone, Copy, Debug)]
pub struct MirrorOptions {
    /// Whether every file is read.
    pub full: bool,
    /// How many files are read otherwise, beside those that tell the snapshot.
    pub sample: usize,
}

/// What a path on a mirror is, where it is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wrong {
    /// It is not there.
    Missing,
    /// It is there and should not be.
    Extra,
    /// It is another kind of thing.
    Kind,
    /// It has another size.
    Size,
    /// It has another content.
    Content,
    /// A link leads elsewhere.
    Target,
    /// It could not be read.
    Unreadable,
}

impl Wrong {
    /// Returns the word that JSON has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Wrong::Missing => "missing",
            Wrong::Extra => "extra",
            Wrong::Kind => "kind",
            Wrong::Size => "size",
            Wrong::Content => "content",
            Wrong::Target => "target",
            Wrong::Unreadable => "unreadable",
        }
    }
}

/// A path that deviates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deviation {
    /// The path in the release.
    pub path: RelPath,
    /// How.
    pub wrong: Wrong,
    /// What was found, where that can be said.
    pub found: Option<String>,
    /// Another snapshot of the ref that has just this content there: a mirror at work.
    pub snapshot: Option<SnapshotId>,
}

/// What a mirror's own list says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListCheck {
    /// Its name.
    pub file: String,
    /// How many rows it has for the release.
    pub rows: u64,
    /// How many of its rows or missing rows deviate from the snapshot.
    pub deviations: u64,
}

/// What was found out about a mirror.
#[derive(Clone, Debug, Serialize)]
pub struct MirrorReport {
    /// Where it is, as it was typed.
    pub place: String,
    /// The ref that it was compared with.
    #[serde(rename = "ref")]
    pub name: String,
    /// The snapshot that it carries; nothing if it carries none that is known.
    pub snapshot: Option<SnapshotId>,
    /// Why metadata could not be read, where no snapshot is known; the first reason of them.
    pub problem: Option<String>,
    /// The operation that published that snapshot.
    pub operation: Option<Who>,
    /// How many publications have followed.
    pub behind: Option<usize>,
    /// How many files that tell snapshots apart are those of the snapshot.
    pub agree: usize,
    /// How many such files there are.
    pub markers: usize,
    /// Its list, if it has one.
    pub list: Option<ListCheck>,
    /// Whether names and sizes of all files were compared.
    pub walked: bool,
    /// Files whose content was read.
    pub files_read: u64,
    /// Their bytes.
    pub bytes_read: u64,
    /// Files of the snapshot.
    pub files: u64,
    /// Files that are too large for a sample; a full check reads them.
    pub files_too_large: u64,
    /// How many deviations there are of each kind.
    pub counts: BTreeMap<&'static str, u64>,
    /// The first thousand.
    pub deviations: Vec<Deviation>,
}

impl MirrorReport {
    /// Returns whether the mirror carries a snapshot, and nothing that was looked at deviates.
    pub fn is_good(&self) -> bool {
        self.snapshot.is_some() && self.counts.is_empty()
    }

    fn add(&mut self, deviation: Deviation) {
        *self.counts.entry(deviation.wrong.as_str()).or_default() += 1;
        if self.deviations.len() < DEVIATIONS {
            self.deviations.push(deviation);
        }
    }
}

/// A snapshot that the mirror may carry.
struct Candidate {
    snapshot: SnapshotId,
    root: DirEntry,
    operation: u64,
    /// How many publications have followed.
    behind: usize,
}

/// Compares a mirror of a release, a directory or an `http` address, with what was published.
///
/// `name` is the ref; without it the place's last name must say which one it is.
///
/// # Errors
/// A ref that is not there, a place that is none; what a mirror lacks is a deviation.
pub fn verify_mirror(
    site: &Site,
    place: &str,
    name: Option<&str>,
    options: &MirrorOptions,
    observer: &dyn Observer,
) -> Result<MirrorReport> {
    let view = view_of(site, place, name)?;
    let mut reader = Reader::new(site);
    let candidates = candidates(site, &mut reader, &view.name)?;
    let fetch: Box<dyn Fetch> = match is_url(place) {
        true => Box::new(Far::new(place)?),
        false => Box::new(Near::open(place)?),
    };
    let fetch = fetch.as_ref();
    let mut report = MirrorReport {
        place: place.to_owned(),
        name: view.name.to_string(),
        snapshot: None,
        problem: None,
        operation: None,
        behind: None,
        agree: 0,
        markers: 0,
        list: None,
        walked: false,
        files_read: 0,
        bytes_read: 0,
        files: 0,
        files_too_large: 0,
        counts: BTreeMap::new(),
        deviations: Vec::new(),
    };
    let markers = markers(site, &candidates)?;
    report.markers = markers.len();
    observer.begin("Reading metadata", markers.len() as u64, 0);
    let got = read_all(fetch, &markers, observer)?;
    let Some((candidate, agree)) = best(site, &candidates, &markers, &got)? else {
        report.problem = got.iter().find_map(|got| match got {
            Got::Failed(reason) => Some(reason.clone()),
            Got::Whole(_) | Got::Missing | Got::Larger | Got::NoFile(_) => None,
        });
        return Ok(report);
    };
    report.snapshot = Some(candidate.snapshot);
    report.operation = Some(reader.who(candidate.operation)?);
    report.behind = Some(candidate.behind);
    report.agree = agree;

    let mut files: Vec<(RelPath, FileEntry)> = Vec::new();
    walk(&site.store, &candidate.root, &RelPath::ROOT, &mut |path, entry| {
        if let Entry::File(file) = entry {
            files.push((path.clone(), *file));
        }
        Ok(true)
    })?;
    report.files = files.len() as u64;
    let mut deviations = Vec::new();
    if let Some((file, listed)) = own_list(site, &view, fetch, observer)? {
        let found = listed.compare(site, &candidate.root)?;
        let count = found.len() as u64;
        report.list = Some(ListCheck { file, rows: listed.rows(), deviations: count });
        // A walk sees more than a list says.
        if !fetch.can_walk() {
            deviations.extend(found);
        }
    }
    if fetch.can_walk() {
        observer.begin("Comparing names and sizes", report.files, 0);
        deviations.extend(fetch.walk(&site.store, &candidate.root, observer)?);
        report.walked = true;
    }
    let known: BTreeSet<RelPath> = deviations.iter().map(|one| one.path.clone()).collect();
    let sample = sample(&files, options, &known, &mut report)?;
    let bytes = sample.iter().map(|(_, file)| file.size).sum();
    observer.begin("Reading contents", sample.len() as u64, bytes);
    let got = read_all(fetch, &sample, observer)?;
    for ((path, file), got) in sample.iter().zip(&got) {
        report.files_read += 1;
        report.bytes_read = report.bytes_read.saturating_add(file.size);
        if let Some((wrong, found)) = judge(file, got) {
            let snapshot = match got {
                Got::Whole(id) => elsewhere(site, &candidates, path, id)?,
                _ => None,
            };
            deviations.push(Deviation { path: path.clone(), wrong, found, snapshot });
        }
    }
    deviations.sort_by(|a, b| (&a.path, a.wrong).cmp(&(&b.path, b.wrong)));
    deviations.dedup_by(|a, b| a.path == b.path);
    deviations.into_iter().for_each(|deviation| report.add(deviation));
    Ok(report)
}

fn is_url(place: &str) -> bool {
    place.starts_with("http://") || place.starts_with("https://")
}

/// Returns the view that a place mirrors.
fn view_of(site: &Site, place: &str, name: Option<&str>) -> Result<ViewSpec> {
    if let Some(name) = name {
        let name = RefName::new(name)?;
        if site.store.get_ref(&name)?.is_none() {
            return Err(cairn_store::Error::UnknownRef(name.to_string()).into());
        }
        return site.view(&name)?.ok_or_else(|| Error::Setting {
            key: name.to_string(),
            reason: "it is published nowhere, so nobody mirrors it".to_owned(),
        });
    }
    let last = place.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let fits = |view: &ViewSpec| {
        view.path.file_name() == last.as_bytes() && !view.name.as_str().starts_with("staging/")
    };
    let mut views: Vec<ViewSpec> =
        site.views()?.into_iter().map(|(view, _)| view).filter(fits).collect();
    match (views.pop(), views.is_empty()) {
        (Some(view), true) => Ok(view),
        (found, _) => {
            let what = if found.is_some() { "several refs are" } else { "no ref is" };
            let reason = format!("{what} published as {last:?}; name the ref that it mirrors");
            Err(Error::Setting { key: place.to_owned(), reason })
        }
    }
}

/// Returns what a ref named, newest first, each snapshot once.
fn candidates(site: &Site, reader: &mut Reader<'_>, name: &RefName) -> Result<Vec<Candidate>> {
    let mut candidates: Vec<Candidate> = Vec::new();
    let moves = site.store.index().view()?.history(name)?;
    for (behind, (operation, snapshot)) in moves.into_iter().enumerate() {
        let Some(snapshot) = snapshot else { continue };
        if candidates.iter().any(|known| known.snapshot == snapshot) {
            continue;
        }
        if let Some(root) = reader.root(snapshot)? {
            candidates.push(Candidate { snapshot, root, operation, behind });
        }
        if candidates.len() == CANDIDATES {
            break;
        }
    }
    Ok(candidates)
}

/// Returns files that tell the candidates apart: the entry to each repo's metadata; where there
/// are no repos, files all over the newest tree.
fn markers(site: &Site, candidates: &[Candidate]) -> Result<Vec<(RelPath, FileEntry)>> {
    let mut markers: BTreeMap<RelPath, FileEntry> = BTreeMap::new();
    let mut finder = Finder::of_name(&site.store, "repomd.xml")?;
    for candidate in candidates {
        for (path, entry) in finder.places(&candidate.root)?.iter() {
            if let Entry::File(file) = entry {
                // A mirror may have any of them, so the largest bounds the reading.
                let known = markers.entry(path.clone()).or_insert(*file);
                known.size = known.size.max(file.size);
            }
        }
    }
    if let (true, Some(newest)) = (markers.is_empty(), candidates.first()) {
        walk(&site.store, &newest.root, &RelPath::ROOT, &mut |path, entry| {
            if let Entry::File(file) = entry
                && file.size <= SAMPLED
            {
                markers.insert(path.clone(), *file);
            }
            Ok(true)
        })?;
    }
    let all: Vec<_> = markers.into_iter().collect();
    Ok(spread(all.len(), MARKERS, 0).map(|index| all[index].clone()).collect())
}

/// Returns at most `some` of so many indices, evenly spread from a start.
fn spread(all: usize, some: usize, start: usize) -> impl Iterator<Item = usize> {
    let some = some.min(all);
    (0..some).map(move |index| (index * all / some + start) % all)
}

/// Returns the candidate with which most files agree, the newest of equals; none if none agrees.
fn best<'c>(
    site: &Site,
    candidates: &'c [Candidate],
    markers: &[(RelPath, FileEntry)],
    got: &[Got],
) -> Result<Option<(&'c Candidate, usize)>> {
    let mut best: Option<(&Candidate, usize)> = None;
    for candidate in candidates {
        let (mut agree, mut present) = (0, 0);
        for ((path, _), got) in markers.iter().zip(got) {
            let object = match lookup(&site.store, &candidate.root, path)? {
                Some(Entry::File(file)) => Some(file.object),
                Some(Entry::Dir(_) | Entry::Symlink(_)) | None => None,
            };
            match (got, object) {
                (Got::Whole(id), Some(object)) if *id == object => {
                    agree += 1;
                    present += 1;
                }
                (Got::Missing, None) => agree += 1,
                _ => {}
            }
        }
        // That something is in neither proves nothing.
        if present > 0 && best.is_none_or(|(_, most)| agree > most) {
            best = Some((candidate, agree));
        }
    }
    Ok(best)
}

/// Reads files up to the size that they should have, several at once.
fn read_all(
    fetch: &dyn Fetch,
    files: &[(RelPath, FileEntry)],
    observer: &dyn Observer,
) -> Result<Vec<Got>> {
    let read = |(path, file): &(RelPath, FileEntry)| {
        if observer.interrupted() {
            return Err(cairn_store::Error::Interrupted.into());
        }
        let mut hasher = ObjectHasher::default();
        let got = fetch.read(path, file.size, &mut |bytes| hasher.update(bytes), observer)?;
        observer.advance(1, file.size);
        Ok(match got {
            fetch::Outcome::Whole => Got::Whole(hasher.finish()),
            fetch::Outcome::Missing => Got::Missing,
            fetch::Outcome::Larger => Got::Larger,
            fetch::Outcome::NoFile(kind) => Got::NoFile(kind),
            fetch::Outcome::Failed(reason) => Got::Failed(reason),
        })
    };
    files.par_iter().map(read).collect()
}

/// Chooses the files whose content is read: not those that are known to deviate.
fn sample(
    files: &[(RelPath, FileEntry)],
    options: &MirrorOptions,
    known: &BTreeSet<RelPath>,
    report: &mut MirrorReport,
) -> Result<Vec<(RelPath, FileEntry)>> {
    let all = files.iter().filter(|(path, _)| !known.contains(path));
    if options.full {
        return Ok(all.cloned().collect());
    }
    let (small, large): (Vec<_>, Vec<_>) = all.partition(|(_, file)| file.size <= SAMPLED);
    report.files_too_large = large.len() as u64;
    // Where it begins nobody can foresee, or a mirror could keep just those files right.
    let start = match small.len() {
        0 => 0,
        len => u64::from_le_bytes(cairn_store::fs::random()?) as usize % len,
    };
    let chosen = spread(small.len(), options.sample, start);
    Ok(chosen.map(|index| small[index].clone()).collect())
}

/// Says what is wrong with a file that was read.
fn judge(file: &FileEntry, got: &Got) -> Option<(Wrong, Option<String>)> {
    match got {
        Got::Whole(id) if *id == file.object => None,
        Got::Whole(id) => Some((Wrong::Content, Some(id.to_string()))),
        Got::Missing => Some((Wrong::Missing, None)),
        Got::Larger => Some((Wrong::Size, Some(format!("more than {} bytes", file.size)))),
        Got::NoFile(kind) => Some((Wrong::Kind, Some((*kind).to_owned()))),
        Got::Failed(reason) => Some((Wrong::Unreadable, Some(reason.clone()))),
    }
}

/// Returns a snapshot of the ref that has this content at a path.
fn elsewhere(
    site: &Site,
    candidates: &[Candidate],
    path: &RelPath,
    id: &ObjectId,
) -> Result<Option<SnapshotId>> {
    for candidate in candidates {
        if let Some(Entry::File(file)) = lookup(&site.store, &candidate.root, path)?
            && file.object == *id
        {
            return Ok(Some(candidate.snapshot));
        }
    }
    Ok(None)
}

/// Reads the mirror's own list of the nearest directory that has one by the configuration.
fn own_list(
    site: &Site,
    view: &ViewSpec,
    fetch: &dyn Fetch,
    observer: &dyn Observer,
) -> Result<Option<(String, Listed)>> {
    let mut roots: Vec<(RelPath, &crate::config::ListRoot)> = Vec::new();
    for root in site.config.lists.iter().filter(|root| root.mount == view.mount) {
        let path = RelPath::new(&root.path).map_err(|reason| Error::Setting {
            key: format!("lists (path {:?})", root.path),
            reason: reason.to_owned(),
        })?;
        if path.is_root() || view.path.as_bytes().starts_with(&[path.as_bytes(), b"/"].concat()) {
            roots.push((path, root));
        }
    }
    roots.sort_by_key(|(path, _)| std::cmp::Reverse(path.names().count()));
    for (path, root) in roots {
        let up = view.path.names().count() - path.names().count();
        let skip = if path.is_root() { 0 } else { path.as_bytes().len() + 1 };
        let prefix = view.path.as_bytes()[skip..].to_vec();
        for file in root.files.iter().filter(|file| file.kind == ListKind::Times) {
            let mut listed = Listed::new(prefix.clone());
            let got =
                fetch.above(up, &file.name, LIST, &mut |bytes| listed.feed(bytes), observer)?;
            if matches!(got, fetch::Outcome::Whole) && listed.end() {
                return Ok(Some((file.name.clone(), listed)));
            }
        }
    }
    Ok(None)
}

/// What a walk says of an entry: nothing where it is as it should be.
fn compare_entry(entry: &Entry, kind: Kind, size: u64) -> Option<(Wrong, Option<String>)> {
    match (entry, kind) {
        (Entry::File(file), Kind::File) if file.size == size => None,
        (Entry::File(_), Kind::File) => Some((Wrong::Size, Some(format!("{size} bytes")))),
        (Entry::Dir(_), Kind::Dir) | (Entry::Symlink(_), Kind::Symlink) => None,
        (Entry::File(_) | Entry::Dir(_) | Entry::Symlink(_), other) => {
            Some((Wrong::Kind, Some(kind_name(other).to_owned())))
        }
    }
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Dir => "directory",
        Kind::Symlink => "symbolic link",
        Kind::Other(name) => name,
    }
}
