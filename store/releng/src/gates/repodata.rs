//! `repodata`: every repo describes exactly the packages that are there.
//!
//! A repo is a directory with `repodata/repomd.xml`. Its records must be what `repomd.xml` says,
//! and its packages must be where `primary` says, with that size and checksum. A package belongs
//! to the innermost repo around it, and must be listed by that repo or by another one: kickstart
//! trees may point into `os/` with `../`. Locations are resolved by their text and through symbolic
//! links, inside the tree. A repo that was found whole by itself is known by its tree's id.

use std::collections::HashSet;
use std::io::Read;

use cairn_repodata::{Checksum, ChecksumType};
use cairn_store::id::{ObjectId, TreeId, hex};
use cairn_store::path::RelPath;
use rayon::prelude::*;

use super::repo::{Claim, Examined, examine, key};
use super::survey::packages_below;
use super::verdicts::Verdicts;
use super::{Findings, Gate, Outcome, Rule, Subject};
use crate::audit::content::digester;
use crate::error::{Error, Result};

pub(super) const REPODATA_GATE: &str = "repodata";
/// The version of the rules; another one knows no verdicts.
const VERSION: u32 = 1;
/// How much of a package is read at once.
const CHUNK: usize = 256 << 10;

const REGENERATE: &str = "regenerate the repo's metadata from the packages that are there";
const COMPOSE_AGAIN: &str = "take the repo from a compose whose metadata is whole";

pub(super) static NO_REPODATA: Rule = Rule::failure(
    "rpms-without-repodata",
    "make a repo of the directory, remove it, or name it in defaults.nonrepo_dirs",
);
pub(super) static REPOMD_UNREADABLE: Rule = Rule::failure("repomd-unreadable", COMPOSE_AGAIN);
pub(super) static NO_PRIMARY: Rule = Rule::failure("no-primary", COMPOSE_AGAIN);
pub(super) static RECORD_TWICE: Rule = Rule::failure("record-twice", COMPOSE_AGAIN);
pub(super) static RECORD_MISSING: Rule = Rule::failure("record-missing", COMPOSE_AGAIN);
pub(super) static RECORD_SIZE: Rule = Rule::failure("record-size", COMPOSE_AGAIN);
pub(super) static RECORD_CHECKSUM: Rule = Rule::failure("record-checksum", COMPOSE_AGAIN);
pub(super) static RECORD_OPEN_SIZE: Rule = Rule::failure("record-open-size", COMPOSE_AGAIN);
pub(super) static RECORD_OPEN_CHECKSUM: Rule = Rule::failure("record-open-checksum", COMPOSE_AGAIN);
pub(super) static RECORD_UNREADABLE: Rule = Rule::failure("record-unreadable", COMPOSE_AGAIN);
pub(super) static WEAK_CHECKSUM: Rule =
    Rule::failure("weak-checksum", "regenerate the repo's metadata with sha256");
pub(super) static HREF: Rule =
    Rule::failure("href", "regenerate the repo's metadata, and find out who wrote such a location");
pub(super) static PACKAGE_TWICE: Rule = Rule::failure("package-twice", REGENERATE);
pub(super) static PACKAGE_MISSING: Rule =
    Rule::failure("package-missing", "stage a compose that has the package, or leave it out");
pub(super) static PACKAGE_SIZE: Rule = Rule::failure("package-size", REGENERATE);
pub(super) static PACKAGE_CHECKSUM: Rule = Rule::failure("package-checksum", REGENERATE);
pub(super) static LISTS_DIFFER: Rule = Rule::failure("lists-differ", REGENERATE);
pub(super) static CONTENT: Rule = Rule::failure(
    "content",
    "run cairn fsck --full; cairn ingest --reread of a compose that has it puts it back",
);
pub(super) static UNLISTED: Rule = Rule::failure("unlisted", REGENERATE);
pub(super) static TWIN: Rule =
    Rule::warning("twin", "remove one of the two; clients know a package by its checksum");
pub(super) static LEFTOVER: Rule =
    Rule::warning("leftover", "remove it; clients never ask for it, and mirrors carry it");

/// The gate.
pub(super) struct Repodata;

impl Gate for Repodata {
    fn name(&self) -> &'static str {
        REPODATA_GATE
    }

    fn rules(&self) -> &'static [&'static Rule] {
        static RULES: &[&Rule] = &[
            &NO_REPODATA,
            &REPOMD_UNREADABLE,
            &NO_PRIMARY,
            &RECORD_TWICE,
            &RECORD_MISSING,
            &RECORD_SIZE,
            &RECORD_CHECKSUM,
            &RECORD_OPEN_SIZE,
            &RECORD_OPEN_CHECKSUM,
            &RECORD_UNREADABLE,
            &WEAK_CHECKSUM,
            &HREF,
            &PACKAGE_TWICE,
            &PACKAGE_MISSING,
            &PACKAGE_SIZE,
            &PACKAGE_CHECKSUM,
            &LISTS_DIFFER,
            &CONTENT,
            &UNLISTED,
            &TWIN,
            &LEFTOVER,
        ];
        RULES
    }

    fn judge(&self, subject: &Subject<'_>) -> Result<Outcome> {
        let survey = subject.survey()?;
        let verdicts = Verdicts::of(subject, format!("{REPODATA_GATE} {VERSION}"));
        let known = verdicts.known(survey.repos.iter().map(|(_, repo)| repo.dir.tree))?;
        let unknown: Vec<usize> = (0..known.len()).filter(|index| !known[*index]).collect();
        subject.observer.begin("Reading repodata", unknown.len() as u64, 0);
        let examined = unknown
            .par_iter()
            .map(|index| {
                let (dir, repo) = &survey.repos[*index];
                let others = survey.repos.iter().map(|(dir, _)| dir);
                let inner: Vec<&RelPath> = others.filter(|other| lies_in(other, dir)).collect();
                let examined = examine(subject, dir, repo, &inner)?;
                subject.observer.advance(1, 0);
                Ok(examined)
            })
            .collect::<Result<Vec<Examined>>>()?;

        let outside: HashSet<ObjectId> =
            examined.iter().flat_map(|repo| repo.outside.iter().copied()).collect();
        let mut findings = Findings::of(REPODATA_GATE);
        let mut whole: Vec<TreeId> = Vec::new();
        let (mut claims, mut parts) = (Vec::new(), Vec::new());
        for (index, repo) in unknown.iter().zip(examined) {
            let (dir, found) = &survey.repos[*index];
            let Examined { findings, claims: own, outside: listed, unlisted } = repo;
            // Whether it needs others, or others need it, is not known by its own tree alone.
            let alone = listed.is_empty() && unlisted.is_empty();
            let mut part = Part { dir, tree: found.dir.tree, findings, alone };
            for path in unlisted.into_iter().filter(|path| !outside.contains(&key(path))) {
                let message = "no repo lists this package: it can be downloaded, not installed";
                part.findings.add(&UNLISTED, Some(dir), path, message);
            }
            claims.extend(own.into_iter().map(|claim| (parts.len(), claim)));
            parts.push(part);
        }
        compare(subject, &claims, &mut parts)?;
        drop(claims);
        for part in parts {
            if part.alone && part.findings.is_empty() {
                whole.push(part.tree);
            }
            findings.append(part.findings);
        }
        stray(subject, &outside, &mut findings)?;
        verdicts.remember(&whole)?;
        Ok(Outcome::Judged(findings))
    }
}

/// One repo's share of the answer.
struct Part<'a> {
    dir: &'a RelPath,
    tree: TreeId,
    findings: Findings,
    /// Whether the answer follows from its own tree.
    alone: bool,
}

fn lies_in(path: &RelPath, dir: &RelPath) -> bool {
    path != dir
        && (dir.is_root()
            || path.as_bytes().strip_prefix(dir.as_bytes()).is_some_and(|p| p.starts_with(b"/")))
}

/// Compares the checksums of packages with what their repos say.
fn compare(subject: &Subject<'_>, claims: &[(usize, Claim)], parts: &mut [Part<'_>]) -> Result<()> {
    let files: Vec<_> = claims
        .iter()
        .filter(|(_, claim)| claim.pkgid.kind() == ChecksumType::Sha256)
        .map(|(_, claim)| (claim.path.clone(), claim.file))
        .collect();
    let known = super::sha256(subject, &files)?;
    for (part, claim) in claims {
        let Part { dir, findings, .. } = &mut parts[*part];
        let found = match claim.pkgid.kind() {
            ChecksumType::Sha256 => match known.get(&claim.file.object) {
                Some(Ok(digest)) => Ok(Checksum::from_sha256(*digest).hex().to_owned()),
                Some(Err(message)) => Err(message.clone()),
                None => continue,
            },
            kind => digest(subject, claim, kind)?,
        };
        match found {
            Ok(found) if found == claim.pkgid.hex() => {}
            Ok(found) => {
                let (says, kind) = (&claim.pkgid, claim.pkgid.kind());
                let message = format!("primary says {says}, the file has {kind}:{found}");
                findings.add(&PACKAGE_CHECKSUM, Some(dir), claim.path.clone(), message);
            }
            Err(message) => findings.add(&CONTENT, Some(dir), claim.path.clone(), message),
        }
    }
    Ok(())
}

/// Computes a checksum that is remembered nowhere; or says what is wrong with the content.
fn digest(
    subject: &Subject<'_>,
    claim: &Claim,
    kind: ChecksumType,
) -> Result<std::result::Result<String, String>> {
    let Some(mut hasher) = digester(kind) else {
        return Ok(Err(format!("{kind} is no checksum to compare with")));
    };
    let mut content = match subject.open(&claim.file, &claim.path) {
        Ok(content) => content,
        Err(error) => return super::content_fault(error).map(Err),
    };
    let mut buffer = vec![0; CHUNK];
    loop {
        subject.check_interrupted()?;
        let count = content.read(&mut buffer).map_err(|source| {
            let path = claim.path.to_string().into();
            Error::Store(cairn_store::Error::Io { op: "read", path, source })
        })?;
        if count == 0 {
            return Ok(Ok(hex(&hasher.finalize())));
        }
        hasher.update(&buffer[..count]);
    }
}

/// Finds packages that are in no repo, and that no repo lists.
fn stray(
    subject: &Subject<'_>,
    outside: &HashSet<ObjectId>,
    findings: &mut Findings,
) -> Result<()> {
    let survey = subject.survey()?;
    let nonrepo = &subject.site.config.defaults.nonrepo_dirs;
    for (path, dir) in &survey.stray {
        let skip = |inner: &RelPath| {
            survey.repos.iter().any(|(repo, _)| repo == inner)
                || survey.stray.iter().any(|(stray, _)| stray == inner)
                || nonrepo.iter().any(|name| name.as_bytes() == inner.file_name())
        };
        let mut count = 0u64;
        packages_below(subject.draft, path, dir, &skip, &mut |package, _| {
            count += u64::from(!outside.contains(&key(&package)));
        })?;
        if count > 0 {
            let packages = if count == 1 { "package is" } else { "packages are" };
            let message = format!("{count} {packages} here, and no repodata/repomd.xml");
            findings.add(&NO_REPODATA, None, path.clone(), message);
        }
    }
    Ok(())
}
