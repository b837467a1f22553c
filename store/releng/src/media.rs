//! Media: installation images sorted, linked, listed and summed; cloud and live images likewise.
//!
//! A compose has its images where its builders left them: `BaseOS/x86_64/iso`, `images/x86_64/images`,
//! `live/x86_64/iso`. A release has them in `isos/x86_64`, `images/x86_64` and `live/x86_64`, with a
//! link to the newest of each kind, the list of an installation image's content beside it
//! (`.manifest`), and checksums. docs/media.md has the names and the formats.
//!
//! [`arrange`] is pure: it reads the tree of the compose and answers what to lay over the release's
//! tree. What it makes has the time of the image that it was made from, so the same images are the
//! same tree. Nothing is ever read from or written to the compose itself.

use std::collections::BTreeMap;

use cairn_store::fs::Time;
use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::transform::graft;
use cairn_store::tree::{DirEntry, Draft, Entry, FileEntry, Nodes as _, SymlinkEntry, lookup};
use serde::Serialize;

use crate::config::Version;
use crate::error::{Error, Result};
use crate::names::ReleaseView;
use crate::report::Mode;
use crate::signing::Signer;
use crate::site::Site;

mod checksums;
pub mod iso9660;
mod names;
#[cfg(test)]
mod tests;

/// What is arranged, and where what is made goes.
pub struct Sources<'a> {
    /// The site.
    pub site: &'a Site,
    /// The release.
    pub release: &'a ReleaseView<'a>,
    /// Where trees and files are made.
    pub draft: &'a Draft<'a>,
    /// The tree of the release's main compose, as it was ingested.
    pub compose: &'a DirEntry,
    /// What was staged before: a signature there is kept while what it signs is the same.
    pub before: Option<&'a DirEntry>,
    /// Whether to sign and to remember sums, or only to find out what would be done.
    pub mode: Mode,
}

/// What the release's tree gets.
#[derive(Clone, Debug)]
pub struct Arranged {
    /// Every path that differs from the compose: what is there now, or nothing for what goes.
    /// What goes comes first.
    pub entries: Vec<(RelPath, Option<Entry>)>,
    /// What was done, for the plan.
    pub report: MediaReport,
}

impl Arranged {
    /// Returns `root` with all of it laid over.
    pub fn lay_over(&self, draft: &Draft<'_>, root: &DirEntry) -> Result<DirEntry> {
        let mut root = *root;
        for (path, entry) in &self.entries {
            root = graft(draft, &root, path, entry.clone())?;
        }
        Ok(root)
    }
}

/// What was done with the media of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MediaReport {
    /// Images that are published, where they are now.
    pub images: Vec<RelPath>,
    /// Files that are elsewhere than in the compose.
    pub moved: Vec<Moved>,
    /// Links to the newest image of a kind.
    pub links: Vec<MediaLink>,
    /// Lists of what installation images hold.
    pub manifests: Vec<RelPath>,
    /// Joined checksums, one for each directory.
    pub checksums: Vec<RelPath>,
    /// Those of them that were signed, or would be.
    pub signed: Vec<RelPath>,
    /// What else the operator should know, as sentences.
    pub notes: Vec<String>,
}

impl MediaReport {
    fn sort(&mut self) {
        self.moved.sort_unstable_by(|a, b| a.to.cmp(&b.to));
        self.links.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        for paths in [&mut self.images, &mut self.manifests, &mut self.checksums, &mut self.signed]
        {
            paths.sort_unstable();
        }
    }
}

/// A file that is elsewhere than in the compose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Its place in the compose.
    pub from: RelPath,
    /// Its place in the release.
    pub to: RelPath,
}

/// A link to the newest image of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MediaLink {
    /// The link.
    pub path: RelPath,
    /// The image, which is beside it.
    pub target: String,
}

/// Arranges the media of a release: says what to lay over its tree.
///
/// # Errors
/// An image that is no ISO 9660 image or is cut short, two different files for one name, a name
/// that a list of lines cannot hold, and what goes wrong with reading and signing.
pub fn arrange(sources: &Sources<'_>, observer: &dyn Observer) -> Result<Arranged> {
    let section = sources.release.section();
    let mut shelves = Vec::new();
    for arch in &section.arches {
        let from = section.iso_types.iter().map(|kind| format!("{kind}/{arch}/iso")).collect();
        shelves.push(Shelf::fill(sources, Kind::Installers, format!("isos/{arch}"), from, arch)?);
    }
    for kind in &section.image_types {
        for arch in &section.arches {
            let dir = format!("{kind}/{arch}");
            let from = ["images", "iso"].map(|below| format!("{dir}/{below}")).to_vec();
            shelves.push(Shelf::fill(sources, Kind::Images, dir, from, arch)?);
        }
    }
    let mut shelves: Vec<Shelf> = shelves.into_iter().flatten().collect();
    for shelf in &mut shelves {
        shelf.rename()?;
        shelf.link(sources)?;
        shelf.list(sources, observer)?;
    }
    let signer = match &sources.site.config.sign {
        Some(sign) if sign.checksums => Signer::for_release(&sources.site.config, sources.release)?,
        _ => None,
    };
    checksums::add(sources, signer.as_ref(), &mut shelves, observer)?;
    let mut arranged = Arranged { entries: Vec::new(), report: MediaReport::default() };
    for shelf in &shelves {
        arranged.entries.extend(shelf.emptied.iter().map(|path| (path.clone(), None)));
    }
    for shelf in shelves {
        shelf.finish(sources, &mut arranged)?;
    }
    arranged.report.sort();
    if arranged.report.images.is_empty() {
        arranged.report.notes.push("The compose has no media.".to_owned());
    }
    Ok(arranged)
}

/// Returns the file name of an installation image of a release's main compose.
pub fn installer(release: &ReleaseView<'_>, version: Version, arch: &str, variant: &str) -> String {
    names::installer(short(release), version, arch, variant)
}

/// The short name of the main compose, which its images begin with.
fn short<'c>(release: &ReleaseView<'c>) -> &'c str {
    release.section().composes.first().map_or("", String::as_str)
}

/// What a directory of media is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Installation images; only these have manifests, and only these are summed.
    Installers,
    /// Cloud and live images, summed whatever they are.
    Images,
}

/// One directory of media while it is arranged.
struct Shelf {
    kind: Kind,
    arch: String,
    dir: RelPath,
    /// What will be in it, by name.
    files: BTreeMap<String, Placed>,
    /// Directories of the compose that are empty now.
    emptied: Vec<RelPath>,
    report: MediaReport,
}

/// Something on a shelf.
struct Placed {
    entry: Entry,
    /// Where it was in the compose; nothing for what is made here.
    from: Option<RelPath>,
}

impl Shelf {
    /// Collects what belongs into a directory; nothing if there is nothing.
    fn fill(
        sources: &Sources<'_>,
        kind: Kind,
        dir: String,
        from: Vec<String>,
        arch: &str,
    ) -> Result<Option<Self>> {
        let dir = path(&dir)?;
        let mut shelf = Self {
            kind,
            arch: arch.to_owned(),
            dir: dir.clone(),
            files: BTreeMap::new(),
            emptied: Vec::new(),
            report: MediaReport::default(),
        };
        let from = from.iter().map(|dir| path(dir)).collect::<Result<Vec<_>>>()?;
        let moved = |path: &RelPath| from.contains(path);
        shelf.take(sources, &dir, &moved)?;
        for (index, below) in from.iter().enumerate() {
            let known: Vec<String> = shelf.files.keys().cloned().collect();
            if shelf.take(sources, below, &moved)? {
                shelf.emptied.push(below.clone());
            }
            if kind == Kind::Installers && index > 0 {
                shelf.leave_out(sources, &known, below);
            }
        }
        Ok((!shelf.files.is_empty()).then_some(shelf))
    }

    /// Drops the boot images of a further variant: each is composed with one, and the first one's
    /// is the release's.
    fn leave_out(&mut self, sources: &Sources<'_>, known: &[String], dir: &RelPath) {
        let short = short(sources.release);
        let version = sources.release.version();
        let again = |name: &str| names::is_stamped_boot(name, short, version, &self.arch);
        let extra: Vec<String> = self
            .files
            .keys()
            .filter(|name| again(name) && !known.contains(name))
            .cloned()
            .collect();
        for name in extra {
            self.files.remove(&name);
            let path = dir.join(name.as_bytes());
            self.report.notes.push(format!("{path} is a boot image again, and is left out."));
        }
    }

    /// Takes what a directory of the compose holds; returns whether there is one.
    fn take(
        &mut self,
        sources: &Sources<'_>,
        dir: &RelPath,
        moved: &dyn Fn(&RelPath) -> bool,
    ) -> Result<bool> {
        let found = match lookup(sources.draft, sources.compose, dir)? {
            None => return Ok(false),
            Some(Entry::Dir(found)) => found,
            Some(Entry::File(_) | Entry::Symlink(_)) => {
                return wrong(dir, "it is not a directory, where media are looked for");
            }
        };
        let tree = sources.draft.tree(&found.tree)?;
        for (name, entry) in tree.entries() {
            let from = dir.join(name);
            if moved(&from) {
                continue;
            }
            let Ok(text) = std::str::from_utf8(name) else {
                return wrong(&from, "its name is not UTF-8, which checksums are written in");
            };
            if text.contains(|c: char| c.is_control() || c == '\\') {
                let reason = "its name has a control character or a backslash, which a line of \
                              checksums cannot hold";
                return wrong(&from, reason);
            }
            // They are made anew, for what the files are called now.
            if names::is_checksum(text) {
                continue;
            }
            self.place(text.to_owned(), Placed { entry: entry.clone(), from: Some(from) })?;
        }
        Ok(true)
    }

    /// Puts something on the shelf; twice the same is once.
    fn place(&mut self, name: String, new: Placed) -> Result<()> {
        if let Some(old) = self.files.get(&name)
            && !same(&old.entry, &new.entry)
        {
            let (one, other) = (self.from(&name, old), self.from(&name, &new));
            let reason = format!("{other} is another file of the same name; keep one of them");
            return wrong(&one, reason);
        }
        self.files.entry(name).or_insert(new);
        Ok(())
    }

    fn from(&self, name: &str, placed: &Placed) -> RelPath {
        placed.from.clone().unwrap_or_else(|| self.dir.join(name.as_bytes()))
    }

    /// Gives images the names that they are published under.
    fn rename(&mut self) -> Result<()> {
        if self.kind == Kind::Installers {
            return Ok(());
        }
        for (name, placed) in std::mem::take(&mut self.files) {
            self.place(names::published(&name), placed)?;
        }
        Ok(())
    }

    /// Adds the links to the newest image of each kind.
    fn link(&mut self, sources: &Sources<'_>) -> Result<()> {
        let version = sources.release.version();
        let mut links: BTreeMap<String, ((u64, u64), String)> = BTreeMap::new();
        match self.kind {
            Kind::Installers => {
                let short = short(sources.release);
                // The last of two variants with one link wins: dvd comes after dvd1.
                for variant in &sources.site.config.defaults.iso_variants {
                    let target = names::installer(short, version, &self.arch, variant);
                    if self.is_file(&target) {
                        let link = names::installer_link(short, version, &self.arch, variant);
                        links.insert(link, ((0, 0), target));
                    }
                }
                if links.is_empty() {
                    let wanted = names::installer(short, version, &self.arch, "VARIANT");
                    let dir = &self.dir;
                    self.report.notes.push(format!(
                        "{dir} has no image called {wanted} with a VARIANT of defaults.iso_variants, \
                         so there is no link to the latest."
                    ));
                }
            }
            Kind::Images => {
                let images = self.files.keys().filter(|name| self.is_file(name));
                for (name, latest) in
                    images.filter_map(|name| Some((name, names::latest(name, version)?)))
                {
                    let new = (latest.stamp, name.clone());
                    let newest = links.entry(latest.name).or_insert_with(|| new.clone());
                    if *newest < new {
                        *newest = new;
                    }
                }
            }
        }
        for (name, (_, target)) in links {
            let image = &self.files[&target];
            let mtime = image.entry.mtime();
            let link = SymlinkEntry { target: target.as_bytes().into(), mtime };
            match self.files.get(&name).map(|placed| (&placed.entry, &placed.from)) {
                // An earlier arrangement's, perhaps of another version.
                None | Some((Entry::Symlink(_), _)) => {}
                Some((Entry::File(_) | Entry::Dir(_), _)) => {
                    let reason = format!("it has the name of the link to {target}; rename it");
                    return wrong(&self.dir.join(name.as_bytes()), reason);
                }
            }
            let path = self.dir.join(name.as_bytes());
            self.report.links.push(MediaLink { path, target });
            self.files.insert(name, Placed { entry: Entry::Symlink(link), from: None });
        }
        Ok(())
    }

    /// Adds the list of what each installation image holds, under each of its names.
    fn list(&mut self, sources: &Sources<'_>, observer: &dyn Observer) -> Result<()> {
        if self.kind != Kind::Installers {
            return Ok(());
        }
        let images = self.summed();
        observer.begin("Listing images", images.len() as u64, 0);
        let mut made: BTreeMap<String, FileEntry> = BTreeMap::new();
        for Summed { name, file, target } in images {
            if observer.interrupted() {
                return Err(cairn_store::Error::Interrupted.into());
            }
            let manifest = match made.get(&target) {
                Some(manifest) => *manifest,
                None => manifest(sources, &file, &self.from(&target, &self.files[&target]))?,
            };
            made.insert(target, manifest);
            let name = format!("{name}.manifest");
            self.report.manifests.push(self.dir.join(name.as_bytes()));
            self.files.insert(name, Placed { entry: Entry::File(manifest), from: None });
            observer.advance(1, 0);
        }
        Ok(())
    }

    /// Returns what gets checksums: every image, and every link to one by the link's own name.
    fn summed(&self) -> Vec<Summed> {
        let wanted = |name: &&String| match self.kind {
            Kind::Images => !names::is_checksum(name),
            Kind::Installers => name.ends_with(".iso"),
        };
        let found = self.files.keys().filter(wanted).filter_map(|name| {
            let mut target = name;
            // A link may lead to a link, but not in circles.
            for _ in 0..8 {
                match &self.files.get(target)?.entry {
                    Entry::File(file) => {
                        let (name, target) = (name.clone(), target.clone());
                        return Some(Summed { name, file: *file, target });
                    }
                    Entry::Symlink(link) => {
                        let next = std::str::from_utf8(&link.target).ok()?;
                        target = self.files.get_key_value(next)?.0;
                    }
                    Entry::Dir(_) => return None,
                }
            }
            None
        });
        found.collect()
    }

    fn is_file(&self, name: &str) -> bool {
        matches!(self.files.get(name), Some(Placed { entry: Entry::File(_), .. }))
    }

    /// Says what differs from the compose.
    fn finish(mut self, sources: &Sources<'_>, arranged: &mut Arranged) -> Result<()> {
        for Summed { name, target, .. } in self.summed() {
            if name == target {
                self.report.images.push(self.dir.join(name.as_bytes()));
            }
        }
        if let Some(Entry::Dir(dir)) = lookup(sources.draft, sources.compose, &self.dir)? {
            for (name, _) in sources.draft.tree(&dir.tree)?.entries() {
                let stays = std::str::from_utf8(name).is_ok_and(|n| self.files.contains_key(n));
                let path = self.dir.join(name);
                if !stays && !self.emptied.contains(&path) {
                    arranged.entries.push((path, None));
                }
            }
        }
        for (name, placed) in self.files {
            let path = self.dir.join(name.as_bytes());
            match placed.from {
                Some(from) if from == path => {}
                Some(from) => {
                    self.report.moved.push(Moved { from, to: path.clone() });
                    arranged.entries.push((path, Some(placed.entry)));
                }
                None => arranged.entries.push((path, Some(placed.entry))),
            }
        }
        let all = &mut arranged.report;
        all.images.append(&mut self.report.images);
        all.moved.append(&mut self.report.moved);
        all.links.append(&mut self.report.links);
        all.manifests.append(&mut self.report.manifests);
        all.checksums.append(&mut self.report.checksums);
        all.signed.append(&mut self.report.signed);
        all.notes.append(&mut self.report.notes);
        Ok(())
    }
}

/// A name that gets a checksum.
struct Summed {
    name: String,
    /// The content that it leads to.
    file: FileEntry,
    /// The name of that.
    target: String,
}

/// Lists what an image holds: a line for each path, sorted bytewise.
fn manifest(sources: &Sources<'_>, file: &FileEntry, path: &RelPath) -> Result<FileEntry> {
    let content = sources.site.open_draft(sources.draft, file, path)?;
    let paths = iso9660::paths(content, file.size).map_err(|fault| match fault {
        iso9660::Fault::Io(source) => {
            let path = path.to_string().into();
            cairn_store::Error::Io { op: "read", path, source }.into()
        }
        iso9660::Fault::Wrong(reason) => {
            Error::Media { path: path.clone(), reason: format!("it {reason}") }
        }
    })?;
    let mut lines = Vec::with_capacity(paths.iter().map(|path| path.len() + 1).sum());
    for path in paths {
        lines.extend_from_slice(&path);
        lines.push(b'\n');
    }
    Ok(sources.draft.put_file(lines, MODE, file.mtime))
}

/// What is made here is for everybody to read.
const MODE: u32 = 0o644;

fn same(one: &Entry, other: &Entry) -> bool {
    match (one, other) {
        (Entry::File(one), Entry::File(other)) => one.object == other.object,
        (Entry::Symlink(one), Entry::Symlink(other)) => one.target == other.target,
        (Entry::Dir(one), Entry::Dir(other)) => one.tree == other.tree,
        (Entry::File(_) | Entry::Symlink(_) | Entry::Dir(_), _) => false,
    }
}

/// Turns a path of the configuration into one of a tree.
fn path(text: &str) -> Result<RelPath> {
    RelPath::new(text).map_err(|reason| Error::Setting {
        key: "iso_types or image_types".into(),
        reason: format!("{text:?} {reason}"),
    })
}

fn wrong<T>(path: &RelPath, reason: impl Into<String>) -> Result<T> {
    Err(Error::Media { path: path.clone(), reason: reason.into() })
}

/// The newest of some times.
fn newest(times: impl Iterator<Item = Time>) -> Time {
    times.max().unwrap_or(Time { secs: 0, nanos: 0 })
}
