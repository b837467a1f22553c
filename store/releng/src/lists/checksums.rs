//! SHA-1 of every repomd.xml, so that a client notices one whose size and time stayed equal.
//!
//! That is what the format has; nothing here trusts SHA-1. Objects never change, so a digest is
//! computed once and kept in the index.

use std::collections::BTreeMap;

use rayon::prelude::*;
use sha1::{Digest, Sha1};

use cairn_store::fs::Dir;
use cairn_store::id::{ObjectId, hex};
use cairn_store::mount::Mount;
use cairn_store::{Error, Result, Store};

use super::render::Repomd;
use crate::report::Mode;

const NAME: &str = "sha1";

/// Returns the rows `<sha1>\t<path>`, in the order of `repomds`.
pub(super) fn rows(
    store: &Store,
    mount: &Mount,
    root: &Dir,
    repomds: &[(Vec<u8>, Repomd)],
    mode: Mode,
) -> Result<Vec<u8>> {
    let objects = objects(store, mount, repomds, mode)?;
    let mut out = Vec::with_capacity(repomds.len() * 128);
    for (path, repomd) in repomds {
        let digest = match repomd {
            Repomd::Object(id) => objects.get(id).cloned(),
            // One that went since the walk has no row.
            Repomd::Live => root.try_read(path)?.map(|bytes| digest(&bytes)),
        };
        if let Some(digest) = digest {
            out.extend_from_slice(hex(&digest).as_bytes());
            out.push(b'\t');
            out.extend_from_slice(path);
            out.push(b'\n');
        }
    }
    Ok(out)
}

fn objects(
    store: &Store,
    mount: &Mount,
    repomds: &[(Vec<u8>, Repomd)],
    mode: Mode,
) -> Result<BTreeMap<ObjectId, Vec<u8>>> {
    let (mut known, mut wanted) = (BTreeMap::new(), BTreeMap::new());
    let digests = store.index().view()?.digests(NAME)?;
    for (_, repomd) in repomds {
        let Repomd::Object(id) = repomd else { continue };
        match digests.get(id)? {
            Some(digest) => drop(known.insert(*id, digest)),
            None => drop(wanted.insert(*id, ())),
        }
    }
    drop(digests);
    let computed = wanted
        .into_par_iter()
        .map(|(id, ())| Ok((id, object_digest(mount, &id)?)))
        .collect::<Result<Vec<_>>>()?;
    if !computed.is_empty() && mode == Mode::Apply && store.index().is_writable() {
        store.index().add_digests(NAME, &computed)?;
    }
    known.extend(computed);
    Ok(known)
}

/// Streams an object: nobody promises that a repomd.xml is small.
fn object_digest(mount: &Mount, id: &ObjectId) -> Result<Vec<u8>> {
    if id.is_empty_file() {
        return Ok(Sha1::digest(b"").to_vec());
    }
    let mut file = mount.pool().open_object(id)?;
    let size = file.stat()?.size;
    let mut sha1 = Sha1::new();
    let found = ObjectId::of_stream(&mut |buffer| {
        let got = file.read(buffer)?;
        sha1.update(&buffer[..got]);
        Ok(got)
    })?;
    if found != *id {
        let found = format!("found content that hashes to {found}");
        return Err(Error::Mismatch { id: *id, expected: size, found });
    }
    Ok(sha1.finalize().to_vec())
}

fn digest(bytes: &[u8]) -> Vec<u8> {
    Sha1::digest(bytes).to_vec()
}
