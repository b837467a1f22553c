//! The SHA-256 of objects: what metadata knows packages by. Computed once per object, for ever.

use std::collections::HashMap;
use std::io::Read;

use cairn_store::id::ObjectId;
use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::tree::{Draft, FileEntry};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::report::Mode;
use crate::site::Site;

/// What the index calls this digest.
const NAME: &str = "sha256";
/// How many digests are remembered at once, so that an interruption loses little.
const BATCH: usize = 4096;

impl Site {
    /// Returns the SHA-256 of files. What the index does not know is read, in parallel, checked
    /// to be the object that its name says, and remembered unless this is a dry run.
    ///
    /// # Errors
    /// A content that is missing, unreadable, or not what it was.
    pub fn sha256(
        &self,
        draft: &Draft<'_>,
        files: &[(RelPath, FileEntry)],
        mode: Mode,
        observer: &dyn Observer,
    ) -> Result<HashMap<ObjectId, [u8; 32]>> {
        let mut known = HashMap::with_capacity(files.len());
        let mut unknown = HashMap::new();
        let digests = self.store.index().view()?.digests(NAME)?;
        for (path, file) in files {
            if known.contains_key(&file.object) || unknown.contains_key(&file.object) {
                continue;
            }
            match digests.get(&file.object)?.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
                Some(digest) => drop(known.insert(file.object, digest)),
                None => drop(unknown.insert(file.object, (path, file))),
            }
        }
        drop(digests);
        if unknown.is_empty() {
            return Ok(known);
        }
        let unknown: Vec<_> = unknown.into_iter().collect();
        let bytes = unknown.iter().map(|(_, (_, file))| file.size).sum();
        observer.begin("Computing SHA-256", unknown.len() as u64, bytes);
        for batch in unknown.chunks(BATCH) {
            let found = batch
                .par_iter()
                .map(|(object, (path, file))| {
                    let digest = self.hash(draft, file, path, observer)?;
                    observer.advance(1, file.size);
                    Ok((*object, digest))
                })
                .collect::<Result<Vec<_>>>()?;
            if mode == Mode::Apply && self.store.index().is_writable() {
                let rows: Vec<_> = found.iter().map(|(id, sum)| (*id, sum.to_vec())).collect();
                self.store.index().add_digests(NAME, &rows)?;
            }
            known.extend(found);
        }
        Ok(known)
    }

    fn hash(
        &self,
        draft: &Draft<'_>,
        file: &FileEntry,
        path: &RelPath,
        observer: &dyn Observer,
    ) -> Result<[u8; 32]> {
        let mut content = self.open_draft(draft, file, path)?;
        let mut sha256 = Sha256::new();
        let found = ObjectId::of_stream(&mut |buffer: &mut [u8]| {
            if observer.interrupted() {
                return Err(cairn_store::Error::Interrupted);
            }
            let got = content.read(buffer).map_err(|source| {
                let path = path.to_string().into();
                cairn_store::Error::Io { op: "read", path, source }
            })?;
            sha256.update(&buffer[..got]);
            Ok(got)
        })?;
        // A flipped bit must not become a checksum that the metadata vouches for.
        if found != file.object {
            let found = format!("{path} has content that hashes to {found}");
            let (id, expected) = (file.object, file.size);
            return Err(cairn_store::Error::Mismatch { id, expected, found }.into());
        }
        Ok(sha256.finalize().into())
    }
}
