//! The half of `signatures` that judges packages: every RPM's header is signed by a configured key.
//!
//! A package is judged once for each set of keys and remembered by its object, so the copies in
//! kickstart trees cost nothing and a promotion judges what is new. gpgv does it, one process for
//! each signature, some hundreds a second on each core; `cairn-repodata` only finds what was signed.
//! The signature covers the header, the header has the payload's digest, and the checksum of the
//! whole file is the gate `repodata`'s to compare.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cairn_repodata::header::Headers;
use cairn_store::id::ObjectId;
use cairn_store::path::RelPath;
use cairn_store::tree::FileEntry;
use rayon::prelude::*;

use super::survey::packages_below;
use super::verdicts::Verdicts;
use super::{Findings, Rule, Subject};
use crate::error::Result;
use crate::signing::{Verdict, Verifier};

/// The version of the rules; another one knows no verdicts.
const VERSION: u32 = 1;
/// How many packages are judged before what was learned is remembered: a check that is
/// interrupted goes on from there.
const BATCH: usize = 512;

pub(super) static UNSIGNED: Rule =
    Rule::failure("package-unsigned", "sign the package, or stage a compose that has it signed");
pub(super) static FOREIGN: Rule = Rule::failure(
    "package-key-foreign",
    "sign the package with the release's key, or name the key in gate.signatures.package_keys",
);
pub(super) static BROKEN: Rule = Rule::failure(
    "package-signature-broken",
    "sign the package again, and find out what changed it",
);
pub(super) static UNREADABLE: Rule =
    Rule::failure("package-unreadable", "see what the gate repodata says of it, or build it again");

/// Reads the keys that packages of the subject's release must be signed with; none if the
/// configuration names none.
pub(super) fn keys(subject: &Subject<'_>) -> Result<Option<Verifier>> {
    let Some(release) = &subject.release else { return Ok(None) };
    let version = subject.version.unwrap_or(release.version()).to_string();
    let mut paths = Vec::new();
    for key in &subject.site.config.gate_settings.package_keys {
        paths.push(PathBuf::from(release.expand(key, &[("version", &version)])?));
    }
    (!paths.is_empty()).then(|| Verifier::read_all(&paths)).transpose()
}

/// Judges every package of the tree.
pub(super) fn judge(subject: &Subject<'_>, keys: &Verifier, findings: &mut Findings) -> Result<()> {
    // The same bytes at several places are one package, at the first of them.
    let mut packages: BTreeMap<ObjectId, (RelPath, FileEntry)> = BTreeMap::new();
    let everything = |_: &RelPath| false;
    let root = (&RelPath::ROOT, &subject.root);
    packages_below(subject.draft, root.0, root.1, &everything, &mut |path, file| {
        packages.entry(file.object).or_insert((path, *file));
    })?;
    let verdicts =
        Verdicts::of(subject, format!("package-signatures {VERSION} {}", keys.fingerprint()));
    let known = verdicts.known(packages.keys())?;
    let packages = packages.into_values().zip(known).filter(|(_, known)| !known);
    let mut unknown: Vec<(RelPath, FileEntry)> = packages.map(|(package, _)| package).collect();
    unknown.sort_by(|a, b| a.0.cmp(&b.0));
    subject.observer.begin("Verifying packages", unknown.len() as u64, 0);
    for batch in unknown.chunks(BATCH) {
        let judged = batch
            .par_iter()
            .map(|(path, file)| {
                subject.check_interrupted()?;
                let fault = package(subject, keys, path, file)?;
                subject.observer.advance(1, 0);
                Ok(fault)
            })
            .collect::<Result<Vec<_>>>()?;
        let mut good = Vec::new();
        for ((path, file), fault) in batch.iter().zip(judged) {
            match fault {
                Some((rule, message)) => findings.add(rule, None, path.clone(), message),
                None => good.push(file.object),
            }
        }
        verdicts.remember(&good)?;
    }
    Ok(())
}

/// Returns what is wrong with a package's signatures.
fn package(
    subject: &Subject<'_>,
    keys: &Verifier,
    path: &RelPath,
    file: &FileEntry,
) -> Result<Option<(&'static Rule, String)>> {
    let content = match subject.open(file, path) {
        Ok(content) => content,
        Err(error) => {
            let fault = super::content_fault(error)?;
            return Ok(Some((&super::signatures::CONTENT, fault)));
        }
    };
    let shown = path.to_string();
    let read = Headers::read(&shown, std::io::BufReader::new(content));
    let read = read.and_then(|headers| Ok((headers.signatures(&shown)?, headers)));
    let (signatures, headers) = match read {
        Ok(read) => read,
        Err(error) => {
            let message = error.to_string();
            let message = message.strip_prefix(&format!("{shown}: ")).unwrap_or(&message);
            return Ok(Some((&UNREADABLE, message.to_owned())));
        }
    };
    if signatures.is_empty() {
        return Ok(Some((&UNSIGNED, "its header carries no signature".to_owned())));
    }
    // As rpm does: one good signature is enough, unless another is bad.
    let (mut good, mut foreign, mut broken) = (false, None, None);
    for signature in &signatures {
        let verdict =
            keys.verify_packet(&shown, headers.main.bytes(), signature, subject.observer)?;
        match verdict {
            Verdict::Good { .. } => good = true,
            Verdict::UnknownKey { .. } => {
                foreign.get_or_insert((&FOREIGN, format!("the signature of its header {verdict}")));
            }
            Verdict::Bad { .. }
            | Verdict::Expired { .. }
            | Verdict::Revoked { .. }
            | Verdict::Weak { .. }
            | Verdict::NotASignature { .. } => {
                broken.get_or_insert((&BROKEN, format!("the signature of its header {verdict}")));
            }
        }
    }
    Ok(broken.or(foreign.filter(|_| !good)))
}
