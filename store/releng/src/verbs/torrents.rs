//! Torrents: one for each installation image of a release, and the directories to seed them from.
//!
//! No ref moves and nothing is logged: a torrent follows from the tree that it is made of, and the
//! same tree gives the same file. Files are replaced by rename, so a client that watches the
//! directory sees a whole torrent or none; data directories hold links into the published view.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use cairn_store::fs::{Dir, Kind, Replace};
use cairn_store::id::SnapshotId;
use cairn_store::path::{RelPath, display};
use cairn_store::progress::Observer;
use cairn_store::refs::RefName;
use cairn_store::tree::{DirEntry, Entry, FileEntry, Nodes as _, lookup};
use serde::Serialize;

use super::moves::ref_name;
use crate::config::{TorrentFormat, Version};
use crate::error::{Error, Result};
use crate::media;
use crate::names::ReleaseView;
use crate::report::{Mode, Report};
use crate::site::{Site, glob_set};
use crate::torrent::{Around, Layout, Metainfo, TorrentFile, hash, piece_length};

/// Where torrents go, and what they are made of.
#[derive(Clone, Debug, Default)]
pub struct TorrentOptions {
    /// The directory for torrent files; if none, the configured one and the configured one for data.
    pub out: Option<PathBuf>,
    /// The directory for data, with a directory of links for each torrent.
    pub seed: Option<PathBuf>,
    /// The revision that they are made of; if none, what is staged, else what is in production.
    pub from: Option<String>,
    /// Whether to act.
    pub mode: Mode,
}

/// What was or would be done about one torrent.
#[derive(Clone, Debug, Serialize)]
pub struct TorrentReport {
    /// The torrent, and the directory that clients make: `Rocky-9.7-x86_64-dvd`.
    pub name: String,
    /// The torrent file.
    pub path: String,
    /// Whether it is made, made again, or was up to date.
    pub state: TorrentState,
    /// The image's place in the release.
    pub image: RelPath,
    /// Files in it.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of a piece.
    pub piece_length: u64,
    /// What v1 clients call it by; null where a dry run would have to read the image for it.
    pub infohash: Option<String>,
    /// What v2 clients call it by; null in a torrent of the first generation.
    pub infohash_v2: Option<String>,
    /// The directory that it is seeded from; null if that is nobody's wish.
    pub seed: Option<String>,
}

/// What becomes of a torrent file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TorrentState {
    /// There was none.
    Made,
    /// There was one of other files, such as an image that was made again under its name, or of
    /// other settings.
    Remade,
    /// It is what it would be.
    Unchanged,
}

/// Makes the torrents of a release's installation images.
pub fn torrents(
    site: &Site,
    release: &str,
    options: &TorrentOptions,
    observer: &dyn Observer,
) -> Result<Report> {
    let (release, version) = site.config.release_at(release)?;
    let settings = &site.config.torrent;
    let out = match &options.out {
        Some(out) => Place::open("--out", out.clone())?,
        None => Place::open("torrent.out", (&settings.out).into())?,
    };
    let seed = match (&options.seed, &options.out) {
        (Some(seed), _) => Some(Place::open("--seed", seed.clone())?),
        (None, None) => Some(Place::open("torrent.seed", (&settings.seed).into())?),
        (None, Some(_)) => None,
    };
    let from = from(site, &release, version, options)?;
    let mut report = Report {
        verb: "torrents",
        dry_run: options.mode == Mode::DryRun,
        notes: site.store.notes().to_vec(),
        ..Report::default()
    };
    // Two at once would make the same, twice.
    let _lock = match options.mode {
        Mode::Apply => {
            let (name, what) =
                (format!("torrents-{version}"), format!("the torrents of {version}"));
            Some(site.store.lock(&name, &what, site.store.session().lock_wait)?)
        }
        Mode::DryRun => None,
    };
    let view = match (&from.name, &seed) {
        (Some(name), Some(_)) => view(site, name, &from)?,
        (None, Some(_)) => {
            let reason = "data is seeded from a published view, and this is none; name a ref, or \
                          leave --seed out";
            return Err(Error::Setting { key: "--from".into(), reason: reason.into() });
        }
        (_, None) => None,
    };
    let mut wanted = images(site, &release, version, &from.root, &mut report.notes)?;
    if wanted.is_empty() {
        let reason = format!(
            "{} has no installation image in isos/ that is called like {}; run cairn minor {} first",
            from.text,
            media::installer(&release, version, "ARCH", "VARIANT"),
            release.name(),
        );
        return Err(Error::Media { path: RelPath::new("isos").expect("a plain name"), reason });
    }
    observer.begin("Making torrents", 0, wanted.iter().map(|image| image.layout.size()).sum());
    for image in &mut wanted {
        let mut row = make(site, image, &out, options.mode, observer)?;
        if let (Some(seed), Some(view)) = (&seed, &view) {
            row.seed = Some(seed.link(image, view, options.mode)?);
        }
        report.torrents.push(row);
    }
    report.notes.push(format!("The torrents are made of {}.", from.text));
    Ok(report)
}

/// A tree that torrents are made of.
struct From {
    /// How to say which it is.
    text: String,
    /// The ref, if a ref was named and nothing else.
    name: Option<RefName>,
    snapshot: SnapshotId,
    root: DirEntry,
}

fn from(
    site: &Site,
    release: &ReleaseView<'_>,
    version: Version,
    options: &TorrentOptions,
) -> Result<From> {
    if let Some(rev) = &options.from {
        let snapshot = site.resolve(rev)?;
        let root = site.store.snapshot(&snapshot)?.root();
        let name = RefName::new(rev.clone()).ok();
        return Ok(From { text: rev.clone(), name, snapshot, root });
    }
    let mut candidates = Vec::new();
    if version == release.version() {
        candidates.push(release.staging_ref());
        candidates.extend(release.production_ref());
    }
    candidates.extend(release.vault_ref_of(version));
    for text in &candidates {
        let name = ref_name(text.clone())?;
        if let Some((snapshot, root)) = site.current(&name)? {
            return Ok(From { text: text.clone(), name: Some(name), snapshot, root });
        }
    }
    let first = candidates.into_iter().next().unwrap_or_else(|| version.to_string());
    Err(cairn_store::Error::UnknownRef(first).into())
}

/// Returns where on a mount the tree is to be seen.
fn view(site: &Site, name: &RefName, from: &From) -> Result<Option<PathBuf>> {
    let fail = |reason: String| Error::Setting { key: "--seed".into(), reason };
    let Some(view) = site.view(name)? else {
        return Err(fail(format!("{name} is not published anywhere, so there is nothing to seed")));
    };
    if site.store.live(&view)?.snapshot != Some(from.snapshot) {
        return Err(fail(format!(
            "the view of {name} does not show what the ref names; run cairn publish {name} first"
        )));
    }
    let mount = site.store.mount(&view.mount)?;
    Ok(Some(mount.spec.path.join(view.path.as_path())))
}

/// An image and its torrent.
struct Image {
    path: RelPath,
    layout: Layout,
    around: Around,
}

/// Finds the installation images of a tree: of each kind and architecture one, with what lies
/// beside it under its name, and the directory's checksums.
fn images(
    site: &Site,
    release: &ReleaseView<'_>,
    version: Version,
    root: &DirEntry,
    notes: &mut Vec<String>,
) -> Result<Vec<Image>> {
    let settings = &site.config.torrent;
    let excluded = glob_set("torrent.exclude", &settings.exclude)?;
    let mut images = Vec::new();
    for arch in &release.section().arches {
        let dir = RelPath::new(format!("isos/{arch}")).expect("architectures are plain names");
        let Some(Entry::Dir(found)) = lookup(&site.store, root, &dir)? else { continue };
        let tree = site.store.tree(&found.tree)?;
        let mut files: BTreeMap<&str, FileEntry> = BTreeMap::new();
        let (mut odd, mut left_out): (Vec<&[u8]>, BTreeSet<&[u8]>) = Default::default();
        for (name, entry) in tree.entries() {
            match (std::str::from_utf8(name), entry) {
                (Ok(name), Entry::File(file)) => drop(files.insert(name, *file)),
                (Err(_), Entry::File(_)) => odd.push(name),
                (_, Entry::Dir(_) | Entry::Symlink(_)) => {}
            }
        }
        for variant in &site.config.defaults.iso_variants {
            let image = media::installer(release, version, arch, variant);
            if !files.contains_key(image.as_str()) {
                continue;
            }
            let belongs = |name: &&str| name.starts_with("CHECKSUM") || name.starts_with(&image);
            left_out.extend(odd.iter().filter(|name| {
                name.starts_with(b"CHECKSUM") || name.starts_with(image.as_bytes())
            }));
            let mut chosen = Vec::new();
            for (name, file) in files.iter().filter(|(name, _)| belongs(name)) {
                let path = dir.join(name.as_bytes());
                if !excluded.is_match(path.as_path()) {
                    chosen.push(TorrentFile { name: (*name).to_owned(), path, file: *file });
                }
            }
            if chosen.is_empty() {
                continue;
            }
            let size = chosen.iter().map(|file| file.file.size).sum();
            let time = chosen.iter().map(|file| file.file.mtime.secs).max().unwrap_or(0);
            let values = [
                ("version", version.to_string()),
                ("version_us", version.underscored()),
                ("arch", arch.clone()),
                ("variant", variant.clone()),
            ];
            let values = values.each_ref().map(|(key, value)| (*key, value.as_str()));
            images.push(Image {
                path: dir.join(image.as_bytes()),
                layout: Layout {
                    name: image.strip_suffix(".iso").unwrap_or(&image).to_owned(),
                    files: chosen,
                    piece_length: piece_length(size),
                    format: settings.format,
                },
                around: Around {
                    trackers: settings.trackers.clone(),
                    comment: release.expand(&settings.comment, &values)?,
                    time,
                },
            });
        }
        for path in left_out.iter().take(SAID).map(|name| dir.join(name)) {
            notes.push(format!("{path} is in no torrent: there a name is UTF-8."));
        }
        if let Some(more) = left_out.len().checked_sub(SAID).filter(|more| *more > 0) {
            notes.push(format!("{dir} has {more} more whose names are not UTF-8."));
        }
    }
    Ok(images)
}

/// Makes one torrent, unless it is there.
fn make(
    site: &Site,
    image: &Image,
    out: &Place,
    mode: Mode,
    observer: &dyn Observer,
) -> Result<TorrentReport> {
    let Image { layout, around, path } = image;
    let name = format!("{}.torrent", layout.name);
    let old = out.read(&name)?;
    let found = old.as_ref().and_then(|old| layout.recognise(around, old));
    let state = match (&old, &found) {
        (None, _) => TorrentState::Made,
        (Some(_), None) => TorrentState::Remade,
        (Some(_), Some(_)) => TorrentState::Unchanged,
    };
    let torrent: Option<Metainfo> = match (found, mode) {
        (Some(found), _) => {
            observer.advance(layout.files.len() as u64, layout.size());
            Some(found)
        }
        (None, Mode::DryRun) => None,
        (None, Mode::Apply) => {
            let source = |file: &_, path: &_| site.open_content(file, path);
            let hashes = hash(layout, &source, observer)?;
            let torrent = layout.metainfo(around, &hashes);
            out.dir.replace(name.as_bytes(), torrent.bytes(), MODE)?;
            Some(torrent)
        }
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let v2 = torrent.as_ref().and_then(|torrent| torrent.infohash_v2);
    debug_assert!(v2.is_none() || layout.format == TorrentFormat::Hybrid);
    Ok(TorrentReport {
        path: out.shown(&name),
        name: layout.name.clone(),
        state,
        image: path.clone(),
        files: layout.files.len() as u64,
        bytes: layout.size(),
        piece_length: layout.piece_length,
        infohash: torrent.as_ref().map(|torrent| hex(&torrent.infohash)),
        infohash_v2: v2.map(|infohash| hex(&infohash)),
        seed: None,
    })
}

/// Torrents are for everybody to read.
const MODE: u32 = 0o644;
/// How many of the names that no torrent can have are said; of the others how many there are.
const SAID: usize = 8;
/// What a link is called until it takes its place; a file's own name may have no room for more.
const FRESH: &[u8] = b".cairn-new";
/// A larger file is not a torrent of ours: one has at most some hundred kilobytes of hashes.
const MAX_TORRENT: u64 = 64 << 20;

/// A directory outside the store that is written to.
struct Place {
    dir: Dir,
}

impl Place {
    fn open(key: &str, path: PathBuf) -> Result<Self> {
        let dir = Dir::open(&path).map_err(|error| Error::Setting {
            key: key.to_owned(),
            reason: format!(
                "{}; create the directory, or name another with --out or --seed",
                crate::error::told(&error)
            ),
        })?;
        Ok(Self { dir })
    }

    /// Reads a file that may be a torrent; one that is too large is none.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(stat) = self.dir.try_stat(name.as_bytes())? else { return Ok(None) };
        match stat.kind {
            Kind::File if stat.size <= MAX_TORRENT => Ok(self.dir.try_read(name.as_bytes())?),
            Kind::File => Ok(Some(Vec::new())),
            _ => Err(Error::Setting {
                key: "--out".into(),
                reason: format!("{} is not a file; remove it", self.shown(name)),
            }),
        }
    }

    /// Makes the directory that a torrent is seeded from: a link for each of its files, into the
    /// view. What else is in it stays.
    fn link(&self, image: &Image, view: &std::path::Path, mode: Mode) -> Result<String> {
        let name = &image.layout.name;
        let shown = self.shown(name);
        if mode == Mode::DryRun {
            return Ok(shown);
        }
        self.dir.make_dir(name.as_bytes(), 0o755)?;
        let dir = self.dir.dir(name.as_bytes())?;
        for file in &image.layout.files {
            let target = view.join(file.path.as_path());
            let target = std::os::unix::ffi::OsStrExt::as_bytes(target.as_os_str());
            let link = file.name.as_bytes();
            match dir.try_stat(link)?.map(|stat| stat.kind) {
                Some(Kind::Symlink) if dir.read_link(link)? == target => continue,
                None | Some(Kind::Symlink) => {}
                Some(_) => {
                    let path = display(&dir.path_of(link)).to_string();
                    let reason = format!("{path} is not a link to the image; move it away");
                    return Err(Error::Setting { key: "--seed".into(), reason });
                }
            }
            // By rename, so that a client that seeds never misses the file.
            dir.remove_if_there(FRESH)?;
            dir.symlink(target, FRESH)?;
            dir.rename(FRESH, &dir, link, Replace::Yes)?;
        }
        dir.sync()?;
        self.dir.sync()?;
        Ok(shown)
    }

    fn shown(&self, name: &str) -> String {
        display(&self.dir.path_of(name.as_bytes())).to_string()
    }
}
