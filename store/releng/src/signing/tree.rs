//! The signatures of a tree: which repos have a good one, and the transform that makes the others.

use std::collections::HashMap;
use std::io::Read as _;

use cairn_store::fs::Time;
use cairn_store::id::ObjectId;
use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::transform::graft;
use cairn_store::tree::{DirEntry, Draft, Entry, FileEntry, Nodes, lookup, walk};
use rayon::prelude::*;

use super::verify::MAX_SIGNATURE;
use super::{Signer, Verdict, Verifier, interrupted};
use crate::content::Source;
use crate::error::{Error, Result};
use crate::report::Mode;

const REPODATA: &[u8] = b"repodata";
const REPOMD: &[u8] = b"repomd.xml";
const SIGNATURE: &[u8] = b"repomd.xml.asc";
/// The largest `repomd.xml` that is signed, in bytes; 256 records have at most 300 kB.
const MAX_REPOMD: u64 = 4 << 20;
/// Signatures are for everybody to read.
const MODE: u32 = 0o644;
/// Stands for a signature in a plan, where none is made; no signature looks like it.
pub(crate) const PLANNED: &[u8] = b"a signature that is not made yet\n";

/// A repo of a tree and what is known of its signature.
#[derive(Clone, Debug)]
pub struct RepoSignature {
    /// The repo's directory.
    pub repo: RelPath,
    /// Its `repodata/repomd.xml`.
    pub repomd: FileEntry,
    /// Its `repodata/repomd.xml.asc`, if that is a file.
    pub signature: Option<FileEntry>,
    /// What the verifier thinks of that; nothing where there is none.
    pub verdict: Option<Verdict>,
}

impl RepoSignature {
    /// Tells whether clients with the configured keys will take the repo's metadata.
    pub fn is_good(&self) -> bool {
        self.verdict.as_ref().is_some_and(Verdict::is_good)
    }

    /// Returns the path of the metadata that is signed.
    pub fn repomd_path(&self) -> RelPath {
        self.repo.join(REPODATA).join(REPOMD)
    }

    /// Returns the path of its signature.
    pub fn signature_path(&self) -> RelPath {
        self.repo.join(REPODATA).join(SIGNATURE)
    }
}

/// Returns every repo of a tree with what the verifier thinks of its signature, sorted by path.
///
/// A repo is a directory that has a file `repodata/repomd.xml`. Verification is parallel: it needs
/// no key and no agent.
///
/// # Errors
/// Contents that are missing or not what they were, and what keeps gpgv from judging.
pub fn examine(
    nodes: &dyn Nodes,
    source: &Source<'_>,
    root: &DirEntry,
    verifier: &Verifier,
    observer: &dyn Observer,
) -> Result<Vec<RepoSignature>> {
    let mut repos = repos(nodes, root)?;
    observer.begin("Verifying signatures", repos.len() as u64, 0);
    repos.par_iter_mut().try_for_each(|repo| {
        if observer.interrupted() {
            return Err(interrupted());
        }
        repo.verdict = judge(source, repo, verifier, observer)?;
        observer.advance(1, 0);
        Ok(())
    })?;
    Ok(repos)
}

/// What a [`TreeSigner`] did.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The tree in which every repo has a good signature; in a dry run, a stand-in where one
    /// would be made.
    pub root: DirEntry,
    /// The `repomd.xml` that were signed, or would be, sorted by path.
    pub signed: Vec<RelPath>,
}

/// The transform that gives every repo of a tree a good signature.
pub struct TreeSigner<'a> {
    /// Where the tree is made.
    pub draft: &'a Draft<'a>,
    /// Where contents come from.
    pub source: &'a Source<'a>,
    /// Who signs.
    pub signer: &'a Signer<'a>,
    /// The time that new signatures get.
    pub time: Time,
    /// Whether to sign or only to find out what would be signed.
    pub mode: Mode,
}

impl TreeSigner<'_> {
    /// Signs what has no good signature.
    ///
    /// One that is good stays as it is, so that mirrors have nothing to fetch. Else the one that
    /// `old`, the tree before, has at this path is taken if it is good for these bytes, which it
    /// is when the same metadata was made again. What is left is signed, equal bytes once, one
    /// after the other; a dry run signs nothing.
    ///
    /// # Errors
    /// Those of [`examine`] and [`Signer::sign`]; nothing is half done.
    pub fn sign(
        &self,
        old: Option<&DirEntry>,
        root: &DirEntry,
        observer: &dyn Observer,
    ) -> Result<Signed> {
        let mut result = Signed { root: *root, signed: Vec::new() };
        let mut unsigned = Vec::new();
        for repo in examine(self.draft, self.source, root, self.signer.verifier(), observer)? {
            if repo.is_good() {
                continue;
            }
            match self.kept(old, &repo, observer)? {
                Some(entry) => {
                    result.root = put(self.draft, &result.root, &repo, entry)?;
                }
                None => unsigned.push(repo),
            }
        }
        if self.mode == Mode::Apply && !unsigned.is_empty() {
            observer.begin("Signing", unsigned.len() as u64, 0);
        }
        let mut made: HashMap<ObjectId, FileEntry> = HashMap::new();
        for repo in unsigned {
            let path = repo.repomd_path();
            let entry = match (self.mode, made.get(&repo.repomd.object)) {
                (Mode::DryRun, _) => self.draft.put_file(PLANNED.to_vec(), MODE, self.time),
                (Mode::Apply, Some(entry)) => *entry,
                (Mode::Apply, None) => {
                    if observer.interrupted() {
                        return Err(interrupted());
                    }
                    let bytes = read(self.source, &repo.repomd, &path, MAX_REPOMD)?;
                    let signature = self.signer.sign(&path.to_string(), &bytes, observer)?;
                    self.draft.put_file(signature, MODE, self.time)
                }
            };
            made.insert(repo.repomd.object, entry);
            if self.mode == Mode::Apply {
                observer.advance(1, 0);
            }
            result.root = put(self.draft, &result.root, &repo, entry)?;
            result.signed.push(path);
        }
        Ok(result)
    }

    /// Returns the signature that the tree before has for these bytes, if it is good.
    fn kept(
        &self,
        old: Option<&DirEntry>,
        repo: &RepoSignature,
        observer: &dyn Observer,
    ) -> Result<Option<FileEntry>> {
        let Some(old) = old else { return Ok(None) };
        let file = |path: &RelPath| match lookup(self.draft, old, path)? {
            Some(Entry::File(file)) => Ok::<_, cairn_store::Error>(Some(file)),
            Some(Entry::Dir(_) | Entry::Symlink(_)) | None => Ok(None),
        };
        let Some(signature) = file(&repo.signature_path())? else { return Ok(None) };
        // The same one was found wanting already.
        let same = repo.signature.is_some_and(|own| own.object == signature.object);
        let signs = file(&repo.repomd_path())?.is_some_and(|own| own.object == repo.repomd.object);
        if same || !signs {
            return Ok(None);
        }
        let candidate = RepoSignature { signature: Some(signature), ..repo.clone() };
        let verdict = judge(self.source, &candidate, self.signer.verifier(), observer)?;
        Ok(verdict.is_some_and(|verdict| verdict.is_good()).then_some(signature))
    }
}

/// Finds the repos of a tree, sorted by path.
fn repos(nodes: &dyn Nodes, root: &DirEntry) -> Result<Vec<RepoSignature>> {
    let mut found = Vec::new();
    let mut look = |path: &RelPath, dir: &DirEntry| -> cairn_store::Result<()> {
        let tree = nodes.tree(&dir.tree)?;
        let file = |name| match tree.get(name) {
            Some(Entry::File(file)) => Some(*file),
            Some(Entry::Dir(_) | Entry::Symlink(_)) | None => None,
        };
        if let Some(repomd) = file(REPOMD) {
            let signature = file(SIGNATURE);
            found.push(RepoSignature { repo: path.clone(), repomd, signature, verdict: None });
        }
        Ok(())
    };
    walk(nodes, root, &RelPath::ROOT, &mut |path, entry| {
        let Entry::Dir(dir) = entry else { return Ok(false) };
        // Repos may lie in repos, but not in metadata.
        match path.split_last() {
            Some((repo, _)) if path.file_name() == REPODATA => look(&repo, dir).map(|()| false),
            _ => Ok(true),
        }
    })?;
    found.sort_by(|a, b| a.repo.cmp(&b.repo));
    Ok(found)
}

/// Asks the verifier about a repo's signature; nothing if there is none.
fn judge(
    source: &Source<'_>,
    repo: &RepoSignature,
    verifier: &Verifier,
    observer: &dyn Observer,
) -> Result<Option<Verdict>> {
    let Some(signature) = &repo.signature else { return Ok(None) };
    if signature.size > MAX_SIGNATURE as u64 {
        let reason = format!("it is larger than {MAX_SIGNATURE} bytes");
        return Ok(Some(Verdict::NotASignature { reason }));
    }
    let path = repo.repomd_path();
    let bytes = read(source, &repo.repomd, &path, MAX_REPOMD)?;
    let signature = read(source, signature, &repo.signature_path(), MAX_SIGNATURE as u64)?;
    verifier.verify(&path.to_string(), &bytes, &signature, observer).map(Some)
}

fn put(
    draft: &Draft<'_>,
    root: &DirEntry,
    repo: &RepoSignature,
    entry: FileEntry,
) -> Result<DirEntry> {
    Ok(graft(draft, root, &repo.signature_path(), Some(Entry::File(entry)))?)
}

/// Reads a whole file, and believes it only when it is the object that its name says.
fn read(source: &Source<'_>, file: &FileEntry, path: &RelPath, limit: u64) -> Result<Vec<u8>> {
    if file.size > limit {
        let reason = format!("it has {} bytes, more than {limit}", file.size);
        return Err(Error::Repodata { path: path.clone(), reason });
    }
    let mut bytes = Vec::new();
    let mut content = source(file, path)?.take(file.size.saturating_add(1));
    content.read_to_end(&mut bytes).map_err(|source| {
        let path = path.to_string().into();
        cairn_store::Error::Io { op: "read", path, source }
    })?;
    let found = ObjectId::of(&bytes);
    if found != file.object {
        let found = format!("{path} has content that hashes to {found}");
        let (id, expected) = (file.object, file.size);
        return Err(cairn_store::Error::Mismatch { id, expected, found }.into());
    }
    Ok(bytes)
}
