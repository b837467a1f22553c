//! Checksums of media: a file for each image, and all of a directory in one.
//!
//! The format is that of the mirrors' `CHECKSUM` files: a comment with the size, then the line that
//! `sha256sum --tag` writes, which `sha256sum -c` reads. A link to an image has its own, under its
//! own name, so that whoever fetched it by that name can check it.

use std::io::Read as _;

use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::tree::{Entry, FileEntry, lookup};

use super::{MODE, Placed, Shelf, Sources, Summed, names, newest};
use crate::error::Result;
use crate::report::Mode;
use crate::signing::{PLANNED, Signer};

/// The largest signature that is looked at in what was staged before.
const MAX_SIGNATURE: u64 = 256 << 10;

/// Adds checksums to every directory, signed if somebody signs.
pub(super) fn add(
    sources: &Sources<'_>,
    signer: Option<&Signer<'_>>,
    shelves: &mut [Shelf],
    observer: &dyn Observer,
) -> Result<()> {
    // The sums of all directories at once: images are few and large, and read in parallel.
    let mut files: Vec<(RelPath, FileEntry)> = Vec::new();
    for shelf in shelves.iter() {
        let images = shelf.summed().into_iter().filter(|image| image.name == image.target);
        files.extend(images.map(|image| (shelf.dir.join(image.name.as_bytes()), image.file)));
    }
    let sums = sources.site.sha256(sources.draft, &files, sources.mode, observer)?;
    for shelf in shelves {
        let mut joined = String::new();
        let images = shelf.summed();
        let mtime = newest(images.iter().map(|image| image.file.mtime));
        for Summed { name, file, .. } in images {
            let lines = lines(&name, file.size, &sums[&file.object]);
            joined.push_str(&lines);
            let name = format!("{name}.{}", names::CHECKSUM);
            let made = sources.draft.put_file(lines.into_bytes(), MODE, file.mtime);
            shelf.files.insert(name, Placed { entry: Entry::File(made), from: None });
        }
        if joined.is_empty() {
            continue;
        }
        let path = shelf.dir.join(names::CHECKSUM.as_bytes());
        let bytes = joined.into_bytes();
        let made = sources.draft.put_file(bytes.clone(), MODE, mtime);
        if let Some(signer) = signer {
            let signature = match kept(sources, signer, &path, &made, &bytes, observer)? {
                Some(kept) => kept,
                None => {
                    shelf.report.signed.push(path.clone());
                    let signature = match sources.mode {
                        Mode::DryRun => PLANNED.to_vec(),
                        Mode::Apply => signer.sign(&path.to_string(), &bytes, observer)?,
                    };
                    sources.draft.put_file(signature, MODE, mtime)
                }
            };
            let name = format!("{}.asc", names::CHECKSUM);
            shelf.files.insert(name, Placed { entry: Entry::File(signature), from: None });
        }
        let placed = Placed { entry: Entry::File(made), from: None };
        shelf.files.insert(names::CHECKSUM.to_owned(), placed);
        shelf.report.checksums.push(path);
    }
    Ok(())
}

/// The two lines of a file.
fn lines(name: &str, size: u64, sum: &[u8; 32]) -> String {
    let hex: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("# {name}: {size} bytes\nSHA256 ({name}) = {hex}\n")
}

/// Returns the signature that was staged before, if it is good for these bytes: signing again
/// would make another, and mirrors would fetch it.
fn kept(
    sources: &Sources<'_>,
    signer: &Signer<'_>,
    path: &RelPath,
    made: &FileEntry,
    bytes: &[u8],
    observer: &dyn Observer,
) -> Result<Option<FileEntry>> {
    let Some(before) = sources.before else { return Ok(None) };
    let file = |path: &RelPath| match lookup(sources.draft, before, path)? {
        Some(Entry::File(file)) => Ok::<_, crate::Error>(Some(file)),
        Some(Entry::Dir(_) | Entry::Symlink(_)) | None => Ok(None),
    };
    if file(path)?.is_none_or(|old| old.object != made.object) {
        return Ok(None);
    }
    let Some((dir, name)) = path.split_last() else { return Ok(None) };
    let signature_path = dir.join(&[name, b".asc"].concat());
    let Some(signature) = file(&signature_path)?.filter(|file| file.size <= MAX_SIGNATURE) else {
        return Ok(None);
    };
    let mut armour = Vec::new();
    let content = sources.site.open_draft(sources.draft, &signature, &signature_path)?;
    content.take(MAX_SIGNATURE).read_to_end(&mut armour).map_err(|source| {
        let path = signature_path.to_string().into();
        cairn_store::Error::Io { op: "read", path, source }
    })?;
    let verdict = signer.verifier().verify(&path.to_string(), bytes, &armour, observer)?;
    Ok(verdict.is_good().then_some(signature))
}
