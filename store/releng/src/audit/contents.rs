//! What differs in the contents of metadata: advisories, module streams, comps, treeinfo.
//!
//! Of each repo whose `repomd.xml` differs, a record is read if it is another object on the other
//! side. Repos come in parallel, a repo's two sides one after the other: what is held of a side is
//! what a row may need, and what both sides have alike is dropped before the next record.

use std::io::{BufReader, Read};

use rayon::prelude::*;

use cairn_repodata::codec::Decoder;
use cairn_repodata::repomd::{Record, Repomd};
use cairn_repodata::treeinfo::Treeinfo;
use cairn_store::id::ObjectId;
use cairn_store::path::RelPath;
use cairn_store::tree::{DirEntry, Entry, FileEntry, Nodes, lookup};

use super::advisories::{Advisories, Listing};
use super::comps::{Comps, Sets};
use super::content::{Located, locate, read_record, read_repomd};
use super::metadata::{MetadataFile, MetadataFileKind};
use super::packages::Fault;
use super::repos::{Repo, RepoPair, differing};
use super::streams::{ModuleDocuments, Modules};
use super::treeinfo::{TreeinfoRow, compare as compare_treeinfo};
use super::{AdvisoryRow, Broken, CompsRow, ModulesDiff, Options, RepoError, RepoFinding, Result};
use crate::content::Source;

/// Largest `.treeinfo` that is read, in bytes; the largest that `cairn-repodata` takes.
const MAX_TREEINFO: u64 = 1 << 20;
/// Largest `modules.yaml` that is read, in bytes. Real ones have up to 10 MB.
const MAX_MODULES: u64 = 256 << 20;

/// Where comps are: old repos have them compressed only.
const GROUP: &[&str] = &["group", "group_xz", "group_gz", "group_zst"];

/// What differs in the contents of metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) advisories: Vec<AdvisoryRow>,
    pub(super) modules: ModulesDiff,
    pub(super) comps: Vec<CompsRow>,
    pub(super) treeinfo: Vec<TreeinfoRow>,
    /// Records that could not be read. A `repomd.xml` that cannot is not among them:
    /// [`super::metadata`] names it.
    pub(super) errors: Vec<RepoFinding>,
}

/// Returns what differs in the contents of metadata; `files` are those that differ.
pub(super) fn contents(
    nodes: &dyn Nodes,
    source: &Source<'_>,
    [old, new]: [Option<&DirEntry>; 2],
    files: &[MetadataFile],
    options: &Options,
) -> Result<Contents> {
    let mut pairs = differing(nodes, old, new)?;
    pairs.retain(|pair| options.filter.accepts_metadata(&pair.path));
    let reading = Reading { nodes, source, options };
    let read: Vec<_> = pairs.par_iter().map(|pair| reading.repo(pair)).collect();
    let mut found = Contents::default();
    let (mut advisories, mut modules, mut comps) =
        (Advisories::default(), Modules::default(), Comps::default());
    for (pair, repo) in pairs.iter().zip(read) {
        for fault in repo.faults {
            match options.broken {
                Broken::Refuse => return Err(fault.into_error(&pair.path)),
                Broken::Report => found.errors.extend(fault.into_findings(&pair.path)),
            }
        }
        advisories.fold(&pair.path, repo.advisories);
        modules.fold(&pair.path, repo.modules);
        comps.fold(&pair.path, repo.comps);
    }
    found.advisories = advisories.finish();
    found.modules = modules.finish();
    found.comps = comps.finish();
    for file in files.iter().filter(|file| file.kind == MetadataFileKind::Treeinfo) {
        let [before, after] = [(old, file.old), (new, file.new)]
            .map(|(root, object)| reading.treeinfo(root.filter(|_| object.is_some()), &file.path));
        let dir = file.path.split_last().map_or(RelPath::ROOT, |(dir, _)| dir);
        match (Fault::both(before, after), options.broken) {
            (Ok((before, after)), _) => {
                found.treeinfo.push(compare_treeinfo(&file.path, before, after));
            }
            (Err(fault), Broken::Refuse) => return Err(fault.into_error(&dir)),
            (Err(fault), Broken::Report) => found.errors.extend(fault.into_findings(&dir)),
        }
    }
    Ok(found)
}

/// What differs in one repo.
#[derive(Default)]
struct RepoContents {
    advisories: Vec<super::advisories::Difference>,
    modules: super::streams::Differences,
    comps: Vec<super::comps::Difference>,
    faults: Vec<Fault>,
}

struct Reading<'a> {
    nodes: &'a dyn Nodes,
    source: &'a Source<'a>,
    options: &'a Options,
}

impl Reading<'_> {
    fn repo(&self, pair: &RepoPair) -> RepoContents {
        let mut found = RepoContents::default();
        let [old, new] = [&pair.old, &pair.new].map(|repo| match repo {
            Some(repo) => read_repomd(self.source, &pair.path, repo),
            None => Ok(Repomd::default()),
        });
        let (Ok(old), Ok(new)) = (old, new) else { return found };
        let sides = [(&pair.old, &old), (&pair.new, &new)];
        let filter = &self.options.filter;

        match self.both(pair, sides, &["updateinfo"], |file, reader| Listing::read(file, reader)) {
            Ok(Some((old, new))) => found.advisories = old.compare(new, &pair.path, filter),
            Ok(None) => {}
            Err(fault) => found.faults.push(fault),
        }
        match self.both(pair, sides, &["modules"], |file, reader| {
            let mut bytes = Vec::new();
            let io = |source| cairn_repodata::Error::Io { file: file.to_owned(), source };
            reader.take(MAX_MODULES + 1).read_to_end(&mut bytes).map_err(io)?;
            if bytes.len() as u64 > MAX_MODULES {
                let (file, limit) = (file.to_owned(), MAX_MODULES);
                return Err(cairn_repodata::Error::TooLarge { file, limit });
            }
            ModuleDocuments::read(file, &bytes)
        }) {
            Ok(Some((old, new))) => found.modules = old.compare(new, filter),
            Ok(None) => {}
            Err(fault) => found.faults.push(fault),
        }
        match self.both(pair, sides, GROUP, |file, reader| Sets::read(file, reader)) {
            Ok(Some((old, new))) => found.comps = old.compare(new, filter),
            Ok(None) => {}
            Err(fault) => found.faults.push(fault),
        }
        found
    }

    /// Reads a record of both sides; nothing if they have the same, or none.
    fn both<T: Default>(
        &self,
        pair: &RepoPair,
        sides: [(&Option<Repo>, &Repomd); 2],
        kinds: &[&str],
        read: impl Fn(&str, &mut BufReader<Decoder<'_>>) -> cairn_repodata::Result<T>,
    ) -> std::result::Result<Option<(T, T)>, Fault> {
        let found = sides.map(|(repo, repomd)| self.find(&pair.path, repo, repomd, kinds));
        let [old, new] = found;
        let (old, new) = Fault::both(old, new)?;
        let object = |side: &Option<(&Record, Located)>| side.as_ref().map(|(_, l)| l.file.object);
        if object(&old) == object(&new) {
            return Ok(None);
        }
        let [old, new] = [old, new].map(|side| match side {
            Some((record, located)) => read_record(self.source, &located, record, &read),
            None => Ok(T::default()),
        });
        Fault::both(old, new).map(Some)
    }

    fn find<'r>(
        &self,
        path: &RelPath,
        repo: &Option<Repo>,
        repomd: &'r Repomd,
        kinds: &[&str],
    ) -> std::result::Result<Option<(&'r Record, Located)>, RepoError> {
        let record = kinds.iter().find_map(|kind| repomd.record(kind));
        let (Some(repo), Some(record)) = (repo, record) else { return Ok(None) };
        Ok(Some((record, locate(self.nodes, path, repo, record)?)))
    }

    fn treeinfo(
        &self,
        root: Option<&DirEntry>,
        path: &RelPath,
    ) -> std::result::Result<Option<Treeinfo>, RepoError> {
        let Some(root) = root else { return Ok(None) };
        let content = |source| RepoError::Content { path: path.clone(), source: Box::new(source) };
        let found = lookup(self.nodes, root, path).map_err(|error| content(error.into()))?;
        let Some(Entry::File(file)) = found else { return Ok(None) };
        if file.size > MAX_TREEINFO {
            let (path, size, limit) = (path.clone(), file.size, MAX_TREEINFO);
            return Err(RepoError::Large { path, size, limit });
        }
        let bytes = self.read_small(&file, path)?;
        let treeinfo = Treeinfo::read(&path.to_string(), &bytes);
        treeinfo.map(Some).map_err(|error| RepoError::metadata(path, error))
    }

    fn read_small(
        &self,
        file: &FileEntry,
        path: &RelPath,
    ) -> std::result::Result<Vec<u8>, RepoError> {
        let content = |source| RepoError::Content { path: path.clone(), source: Box::new(source) };
        let mut bytes = Vec::new();
        let reader = (self.source)(file, path).map_err(content)?;
        reader.take(file.size.saturating_add(1)).read_to_end(&mut bytes).map_err(|source| {
            let io = cairn_repodata::Error::Io { file: path.to_string(), source };
            RepoError::metadata(path, io)
        })?;
        // Nothing vouches for this file but its name in the store.
        let found = ObjectId::of(&bytes);
        if found != file.object {
            let found = format!("found content that hashes to {found}");
            let (id, expected) = (file.object, file.size);
            let mismatch = cairn_store::Error::Mismatch { id, expected, found };
            return Err(content(mismatch.into()));
        }
        Ok(bytes)
    }
}
