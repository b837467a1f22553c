//! New metadata for repos whose packages changed: from what is known, reading as few RPMs as
//! possible, and the same bytes for the same input.

use std::collections::{BTreeMap, HashMap};
use std::io::BufReader;

use cairn_repodata::header::{FileFacts, Package};
use cairn_repodata::merge::Merge;
use cairn_repodata::repomd::{DistroTag, Tags};
use cairn_repodata::resolve_href;
use cairn_repodata::write::{Compression, Options, RepodataBuilder};
use cairn_store::fs::Time;
use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::transform::graft;
use cairn_store::tree::{DirEntry, Draft, Entry, FileEntry, Nodes, Tree, lookup};
use rayon::prelude::*;
use serde::Serialize;

use super::extras::{Extras, MAX_TREEINFO, TREEINFOS, held_back, refreshed_treeinfo};
use super::inputs::Inputs;
use super::known::{Known, Listing, Reader, wrong};
use super::metadata::Metadata;
use super::{Rpm, is_repo, rpms};
use crate::audit::repos::{REPODATA, REPOMD};
use crate::config;
use crate::error::{Error, Result, told};
use crate::report::Mode;
use crate::site::Site;

/// What was done to the metadata of one repo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RepoReport {
    /// The repo's directory.
    pub path: RelPath,
    /// How many packages it has.
    pub packages: usize,
    /// How many of them were read from their RPM, because no metadata described them.
    pub fresh: usize,
    /// The records beside the packages: `group`, `modules`, `updateinfo` and others.
    pub records: Vec<String>,
    /// How many advisories it has.
    pub advisories: usize,
}

/// A tree with metadata that describes it.
#[derive(Debug)]
pub struct Regenerated {
    /// The tree.
    pub root: DirEntry,
    /// The repos whose metadata was written anew.
    pub repos: Vec<RepoReport>,
    /// What the operator should know, as sentences.
    pub notes: Vec<String>,
}

/// Gives every repo of `new` that differs from `old` metadata that describes exactly its packages.
///
/// A package's elements are copied byte for byte from the metadata of `old`, then of the trees of
/// `inputs`; what none of them knows is read from the RPM. Advisories and module documents of all
/// are merged, comps and other records are taken from the newest that has them. A repo whose
/// metadata would say what the old one says keeps that, with its signature.
///
/// # Errors
/// Metadata of `inputs` that is not what its checksums say, or that is malformed; RPMs that are
/// none.
pub fn regenerate(
    site: &Site,
    draft: &Draft<'_>,
    old: Option<&DirEntry>,
    new: &DirEntry,
    inputs: &Inputs<'_>,
    mode: Mode,
    observer: &dyn Observer,
) -> Result<Regenerated> {
    let reader = Reader { site, draft, mode, observer };
    let maker = Maker { reader: &reader, inputs, old, new };
    let mut work = BTreeMap::new();
    differing(draft, &RelPath::ROOT, old, new, &mut work)?;
    for path in inputs.external_repos() {
        if let Some(Entry::Dir(dir)) = lookup(draft, new, &path)?
            && is_repo(draft, &dir)?
        {
            work.insert(path, dir);
        }
    }
    observer.begin("Making repodata", work.len() as u64, 0);
    let work: Vec<_> = work.into_iter().collect();
    let made = work
        .par_iter()
        .with_max_len(1)
        .map(|(path, dir)| {
            let made = maker.repo(path, dir)?;
            observer.advance(1, 0);
            Ok(made)
        })
        .collect::<Result<Vec<_>>>()?;
    let mut result = Regenerated { root: *new, repos: Vec::new(), notes: Vec::new() };
    for ((path, dir), made) in work.iter().zip(made) {
        result.notes.extend(made.notes);
        let repodata = made.repodata;
        let at = path.join(REPODATA);
        if lookup(draft, &result.root, &at)? != Some(Entry::Dir(repodata)) {
            result.root = graft(draft, &result.root, &at, Some(Entry::Dir(repodata)))?;
        }
        result.root = refresh_treeinfo(&reader, &result.root, path, dir, &repodata)?;
        result.repos.extend(made.report);
    }
    Ok(result)
}

/// Collects the repos of `new` that are not the same directory in `old`.
fn differing(
    nodes: &dyn Nodes,
    path: &RelPath,
    old: Option<&DirEntry>,
    new: &DirEntry,
    found: &mut BTreeMap<RelPath, DirEntry>,
) -> Result<()> {
    if old.is_some_and(|old| old.tree == new.tree) {
        return Ok(());
    }
    if is_repo(nodes, new)? {
        found.insert(path.clone(), *new);
    }
    let before = old.map(|old| nodes.tree(&old.tree)).transpose()?.unwrap_or_default();
    for (name, entry) in nodes.tree(&new.tree)?.entries() {
        if let Entry::Dir(child) = entry
            && *name != *REPODATA
        {
            let old = before.get(name).and_then(Entry::as_dir);
            differing(nodes, &path.join(name), old, child, found)?;
        }
    }
    Ok(())
}

/// Makes metadata, repo by repo.
struct Maker<'a> {
    reader: &'a Reader<'a>,
    inputs: &'a Inputs<'a>,
    old: Option<&'a DirEntry>,
    new: &'a DirEntry,
}

/// The metadata of one repo.
struct Made {
    repodata: DirEntry,
    /// Nothing if the old metadata stays.
    report: Option<RepoReport>,
    notes: Vec<String>,
}

/// A package of a repo.
struct Located {
    /// As metadata says it, relative to the repo's directory.
    href: String,
    /// In the tree.
    at: RelPath,
    file: FileEntry,
}

impl Located {
    fn inside(repo: &RelPath, rpm: &Rpm) -> Result<Located> {
        let at = repo.join_path(&rpm.href);
        match rpm.href.to_str() {
            Some(href) => Ok(Located { href: href.to_owned(), at, file: rpm.file }),
            None => {
                let reason = "metadata cannot list a name that is not UTF-8".to_owned();
                Err(Error::Repodata { path: at, reason })
            }
        }
    }
}

impl Maker<'_> {
    fn repo(&self, path: &RelPath, dir: &DirEntry) -> Result<Made> {
        let mut notes = Vec::new();
        let (draft, reader) = (self.reader.draft, self.reader);
        let old = match self.old.map(|old| lookup(draft, old, path)).transpose()?.flatten() {
            Some(Entry::Dir(old)) => Some(old),
            Some(Entry::File(_) | Entry::Symlink(_)) | None => None,
        };
        let before = match old.map(|old| Known::whole(reader, path, &old)).transpose() {
            Ok(known) => known.flatten(),
            // What is replaced may be broken: that is how it gets mended.
            Err(error @ Error::Repodata { .. }) => {
                notes.push(format!("The old metadata is not used: {error}."));
                None
            }
            Err(error) => return Err(error),
        };
        let mut known: Vec<Known<'_>> = Vec::new();
        for tree in &self.inputs.trees {
            if let Some(Entry::Dir(dir)) = lookup(draft, tree, path)?
                && let Some(found) = Known::read(reader, path, &dir)?
                && !known.iter().chain(&before).any(|k| k.repodata().tree == found.repodata().tree)
            {
                known.push(found);
            }
        }
        let rpms = rpms(draft, dir)?;
        let all: Vec<&dyn Metadata> =
            before.iter().chain(&known).map(|known| known as &dyn Metadata).collect();
        let advisories = self.inputs.advisories.get(path).cloned().unwrap_or_default();
        let extras = Extras::gather(&all, self.inputs.external(path)?, advisories)?;
        let options = self.options(&extras, &all)?;
        if let (Some(old), Some(before)) = (&old, &before)
            // A repo without packages of its own lists those of a neighbour: only its lists tell.
            && (!rpms.is_empty() || old == dir)
            && same_packages(&super::rpms(draft, old)?, &rpms)
            && match old == dir {
                // How it was written stays as it was as long as nothing new is to be said.
                true => extras.are_in(before.repomd()),
                false => extras.are_all_of(before.repomd(), &options),
            }
        {
            return Ok(Made { repodata: before.repodata(), report: None, notes });
        }
        self.write(
            path,
            dir,
            &rpms,
            before.iter().chain(known.iter().rev()),
            extras,
            options,
            notes,
        )
    }

    fn options(&self, extras: &Extras<'_>, known: &[&dyn Metadata]) -> Result<Options> {
        let config = &self.reader.site.config.repodata;
        let release = self.inputs.release;
        let compression = match extras.has_group() {
            true => config.compression_comps,
            false => config.compression,
        };
        let newest = known.iter().filter_map(|known| known.repomd().newest()).max();
        Ok(Options {
            compression: match compression {
                config::Compression::None => Compression::None,
                config::Compression::Gz => Compression::Gzip,
                config::Compression::Bz2 => Compression::Bzip2,
                config::Compression::Xz => Compression::Xz,
                config::Compression::Zstd => Compression::Zstd,
            },
            revision: Some(release.expand(&config.revision, &[])?),
            tags: Tags {
                distro: vec![DistroTag {
                    cpeid: Some(release.expand(&config.distro_cpe, &[])?),
                    name: release.expand(&config.distro_name, &[])?,
                }],
                ..Tags::default()
            },
            timestamp: newest.max(extras.newest()),
            ..Options::default()
        })
    }

    /// Finds a package that metadata lists outside of its repo; nothing if it is gone.
    fn outside(&self, path: &RelPath, href: &str) -> Result<Option<Located>> {
        let resolved = path.to_str().and_then(|dir| resolve_href(dir, href).ok());
        let Some(at) = resolved.and_then(|at| RelPath::new(at).ok()) else { return Ok(None) };
        Ok(match lookup(self.reader.draft, self.new, &at)? {
            Some(Entry::File(file)) => Some(Located { href: href.to_owned(), at, file }),
            Some(Entry::Dir(_) | Entry::Symlink(_)) | None => None,
        })
    }

    /// Returns what a repo's lists are to describe.
    fn package_set(
        &self,
        path: &RelPath,
        packages: &[Located],
        notes: &mut Vec<String>,
    ) -> Result<Vec<FileFacts>> {
        let reader = self.reader;
        let files: Vec<_> =
            packages.iter().map(|package| (package.at.clone(), package.file)).collect();
        let sums = reader.site.sha256(reader.draft, &files, reader.mode, reader.observer)?;
        let mut seen: HashMap<[u8; 32], &Located> = HashMap::with_capacity(packages.len());
        let mut set = Vec::with_capacity(packages.len());
        for package in packages {
            let sha256 = sums[&package.file.object];
            // Clients know a package by its checksum: it is listed where it comes first.
            if let Some(twin) = seen.get(&sha256) {
                if twin.at != package.at {
                    notes.push(format!(
                        "{path}: {} is the same package as {}, which the metadata lists.",
                        package.href, twin.href
                    ));
                }
                continue;
            }
            seen.insert(sha256, package);
            let (href, size) = (package.href.clone(), package.file.size);
            set.push(FileFacts { href, size, mtime: package.file.mtime.secs, sha256 });
        }
        Ok(set)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one repo, used once")]
    fn write<'k>(
        &self,
        path: &RelPath,
        dir: &DirEntry,
        rpms: &[Rpm],
        known: impl Iterator<Item = &'k Known<'k>>,
        extras: Extras<'_>,
        mut options: Options,
        mut notes: Vec<String>,
    ) -> Result<Made> {
        let reader = self.reader;
        let bad = |error: cairn_repodata::Error| wrong(path, &error);
        let known = known.map(|known| Ok((known, known.listing()?))).collect::<Result<Vec<_>>>()?;
        let mut packages: Vec<Located> =
            rpms.iter().map(|rpm| Located::inside(path, rpm)).collect::<Result<_>>()?;
        for href in known.iter().flat_map(|(_, listing)| &listing.outside) {
            packages.extend(self.outside(path, href)?);
        }
        let set = self.package_set(path, &packages, &mut notes)?;
        let by_href: HashMap<&str, &Located> =
            packages.iter().map(|package| (package.href.as_str(), package)).collect();
        let count = set.len();
        let exact = |(known, listing): &&(&Known<'_>, Listing)| {
            known.lists_exactly(listing, &set, options.compression)
        };
        let kept = known.iter().find(exact).map(|(known, _)| *known);
        // Lists that are true as they are stay: mirrors need not fetch them again.
        let mut merge = Merge::new(if kept.is_some() { Vec::new() } else { set }).map_err(bad)?;
        for (known, _) in known {
            if !merge.unknown().is_empty() {
                known.load(&mut merge)?;
            }
        }
        let fresh: Vec<Package> = merge
            .unknown()
            .into_par_iter()
            .map(|facts| {
                let Located { at, file, .. } = by_href[facts.href.as_str()];
                let content = BufReader::new(reader.open(file, at)?);
                Package::read(content, facts.clone())
                    .map_err(|error| Error::Repodata { path: at.clone(), reason: told(&error) })
            })
            .collect::<Result<_>>()?;
        // An RPM that only its header describes is an input as new as the file is.
        let read = fresh.iter().filter_map(|p| by_href.get(p.primary.href.as_str()));
        options.timestamp = options.timestamp.max(read.map(|rpm| rpm.file.mtime.secs).max());
        options.timestamp = held_back(options.timestamp);
        let mtime = Time { secs: options.timestamp.unwrap_or(dir.mtime.secs), nanos: 0 };
        let mut builder = RepodataBuilder::new(options);
        for package in &fresh {
            builder.package(package).map_err(bad)?;
        }
        merge.finish(&mut builder).map_err(bad)?;
        let mut entries: Vec<(Box<[u8]>, Entry)> = Vec::new();
        if let Some(known) = kept {
            let (lists, files) = known.lists()?;
            builder.keep_lists(lists).map_err(bad)?;
            entries.extend(files);
        }
        let advisories = extras.advisories();
        let records = extras.write(&mut builder, bad)?;
        for file in builder.finish().map_err(bad)? {
            let entry = reader.draft.put_file(file.bytes, 0o644, mtime);
            entries.push((file.name.into_bytes().into(), Entry::File(entry)));
        }
        // Two records may be one file.
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries.dedup_by(|a, b| a.0 == b.0);
        let repodata = reader.draft.put(Tree::new(entries)?, 0o755, mtime);
        let report = Some(RepoReport {
            path: path.clone(),
            packages: count,
            fresh: fresh.len(),
            records,
            advisories,
        });
        Ok(Made { repodata, report, notes })
    }
}

fn same_packages(old: &[Rpm], new: &[Rpm]) -> bool {
    let key = |rpm: &Rpm| (rpm.href.clone(), rpm.file.object);
    old.len() == new.len() && old.iter().zip(new).all(|(a, b)| key(a) == key(b))
}

fn read_whole(reader: &Reader<'_>, file: &FileEntry, path: &RelPath) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut content = reader.open(file, path)?;
    std::io::Read::read_to_end(&mut content, &mut bytes).map_err(|source| {
        cairn_store::Error::Io { op: "read", path: path.to_string().into(), source }
    })?;
    Ok(bytes)
}

/// Sets what a treeinfo of the repo says of `repomd.xml`, if it says anything.
fn refresh_treeinfo(
    reader: &Reader<'_>,
    root: &DirEntry,
    path: &RelPath,
    dir: &DirEntry,
    repodata: &DirEntry,
) -> Result<DirEntry> {
    let mut root = *root;
    let (tree, inside) = (reader.draft.tree(&dir.tree)?, reader.draft.tree(&repodata.tree)?);
    let Some(Entry::File(repomd)) = inside.get(REPOMD) else { return Ok(root) };
    for name in TREEINFOS {
        let Some(Entry::File(file)) = tree.get(name) else { continue };
        let at = path.join(name);
        if file.size > MAX_TREEINFO {
            let reason = format!("a treeinfo of more than {MAX_TREEINFO} bytes is none");
            return Err(Error::Repodata { path: at, reason });
        }
        let bytes = read_whole(reader, file, &at)?;
        let repomd_path = path.join(REPODATA).join(REPOMD);
        let content = read_whole(reader, repomd, &repomd_path)?;
        let refreshed = refreshed_treeinfo(&at.to_string(), &bytes, &content)
            .map_err(|error| Error::Repodata { path: at.clone(), reason: told(&error) })?;
        if let Some(bytes) = refreshed {
            let entry = reader.draft.put_file(bytes, file.mode, repomd.mtime.max(file.mtime));
            root = graft(reader.draft, &root, &at, Some(Entry::File(entry)))?;
        }
    }
    Ok(root)
}
