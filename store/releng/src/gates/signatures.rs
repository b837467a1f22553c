//! `signatures`: clients with the release's keys accept what they are given.
//!
//! Every repo's `repomd.xml` has beside it a detached signature by a configured key. The signature
//! covers all other metadata by its checksums; headers of packages carry signatures of their own,
//! which are judged where the configuration names their keys (`headers`).

use cairn_store::id::ObjectId;
use cairn_store::path::RelPath;
use cairn_store::tree::{Entry, Nodes};
use rayon::prelude::*;

use super::verdicts::Verdicts;
use super::{Findings, Gate, Outcome, Rule, Subject, headers, read_small};
use crate::audit::repos::{REPODATA, REPOMD, Repo};
use crate::error::Result;
use crate::report::Mode;
use crate::signing::{PLANNED, Verifier};

const NAME: &str = "signatures";
/// The version of the rules; another one knows no verdicts.
const VERSION: u32 = 1;
/// The file beside `repomd.xml`.
const SIGNATURE: &[u8] = b"repomd.xml.asc";
/// The largest file that is read, in bytes: more than any `repomd.xml` may have.
const MAX_SIZE: u64 = 4 << 20;

/// What the gate says of packages where it does not look at them.
const UNJUDGED: &str = "packages are not judged: gate.signatures.package_keys names no key";

const SIGN: &str = "sign the repo's repomd.xml with the release's key";

static MISSING: Rule = Rule::failure("signature-missing", SIGN);
static BAD: Rule = Rule::failure("signature-bad", SIGN);
pub(super) static CONTENT: Rule = Rule::failure(
    "signature-content",
    "run cairn fsck --full; cairn ingest --reread of a compose that has it puts it back",
);

/// The gate.
pub(super) struct Signatures;

impl Gate for Signatures {
    fn name(&self) -> &'static str {
        NAME
    }

    fn rules(&self) -> &'static [&'static Rule] {
        static RULES: &[&Rule] = &[
            &MISSING,
            &BAD,
            &CONTENT,
            &headers::UNSIGNED,
            &headers::FOREIGN,
            &headers::BROKEN,
            &headers::UNREADABLE,
        ];
        RULES
    }

    fn judge(&self, subject: &Subject<'_>) -> Result<Outcome> {
        let config = &subject.site.config;
        if config.sign.is_none() && config.gate_settings.package_keys.is_empty() {
            return Ok(Outcome::Skipped("nothing is signed: there is no [sign]".to_owned()));
        }
        let Some(release) = &subject.release else {
            let reason = "it is not known of which release this is; name it by its ref";
            return Ok(Outcome::Unavailable(reason.to_owned()));
        };
        let verifier = match subject.version {
            Some(version) => Verifier::for_version(config, release, version)?,
            None => Verifier::for_release(config, release)?,
        };
        let packages = headers::keys(subject)?;
        let mut findings = match &verifier {
            Some(verifier) => repomds(subject, verifier)?,
            None => Findings::of(NAME),
        };
        match &packages {
            Some(keys) => headers::judge(subject, keys, &mut findings)?,
            None => findings.note = Some(UNJUDGED.to_owned()),
        }
        Ok(Outcome::Judged(findings))
    }
}

/// Judges the signatures of all repos' metadata.
fn repomds(subject: &Subject<'_>, verifier: &Verifier) -> Result<Findings> {
    let repos = &subject.survey()?.repos;
    // Keys expire, so what was good yesterday is asked again.
    let today = jiff::Timestamp::now().strftime("%F");
    let verdicts =
        Verdicts::of(subject, format!("{NAME} {VERSION} {} {today}", verifier.fingerprint()));
    let known = verdicts.known(repos.iter().map(|(_, repo)| repo.repodata.tree))?;
    let unknown: Vec<&(RelPath, Repo)> =
        repos.iter().zip(&known).filter(|(_, known)| !**known).map(|(repo, _)| repo).collect();
    subject.observer.begin("Verifying signatures", unknown.len() as u64, 0);
    let judged = unknown
        .par_iter()
        .map(|(dir, repo)| {
            subject.check_interrupted()?;
            let fault = repomd(subject, verifier, dir, repo)?;
            subject.observer.advance(1, 0);
            Ok(fault)
        })
        .collect::<Result<Vec<_>>>()?;
    let mut findings = Findings::of(NAME);
    let mut good = Vec::new();
    for ((dir, repo), fault) in unknown.into_iter().zip(judged) {
        match fault {
            Some((rule, path, message)) => findings.add(rule, Some(dir), path, message),
            None => good.push(repo.repodata.tree),
        }
    }
    verdicts.remember(&good)?;
    Ok(findings)
}

type Fault = (&'static Rule, RelPath, String);

/// Returns what is wrong with the signature of a repo's `repomd.xml`.
fn repomd(
    subject: &Subject<'_>,
    verifier: &Verifier,
    dir: &RelPath,
    repo: &Repo,
) -> Result<Option<Fault>> {
    let repodata = dir.join(REPODATA);
    let (path, signature_path) = (repodata.join(REPOMD), repodata.join(SIGNATURE));
    // What else repomd.xml may be is the gate repodata's to say.
    let Entry::File(file) = &repo.repomd else { return Ok(None) };
    let signature = match subject.draft.tree(&repo.repodata.tree)?.get(SIGNATURE) {
        Some(Entry::File(signature)) => *signature,
        Some(Entry::Dir(_) | Entry::Symlink(_)) => {
            return Ok(Some((&BAD, signature_path, "it is not a file".to_owned())));
        }
        None => {
            let message = "repomd.xml has no signature beside it";
            return Ok(Some((&MISSING, signature_path, message.to_owned())));
        }
    };
    // Whoever makes it in earnest verifies it there and then.
    if subject.mode == Mode::DryRun && signature.object == ObjectId::of(PLANNED) {
        return Ok(None);
    }
    let (bytes, signature) = match (
        read_small(subject, file, &path, MAX_SIZE)?,
        read_small(subject, &signature, &signature_path, MAX_SIZE)?,
    ) {
        (Ok(bytes), Ok(signature)) => (bytes, signature),
        (Err(message), _) => return Ok(Some((&CONTENT, path, message))),
        (_, Err(message)) => return Ok(Some((&CONTENT, signature_path, message))),
    };
    let verdict = verifier.verify(&path.to_string(), &bytes, &signature, subject.observer)?;
    Ok((!verdict.is_good()).then(|| (&BAD, signature_path, format!("the signature {verdict}"))))
}
