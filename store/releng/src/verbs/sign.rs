//! Sign: every repo of a staging view gets a signature that clients accept.

use cairn_store::fs::Time;
use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::publish::Intent;
use cairn_store::snapshot::Origin;
use cairn_store::transform::settle_times;
use cairn_store::tree::Draft;

use super::moves::{Destination, Move, Moves, ref_name};
use crate::error::{Error, Result};
use crate::report::{Mode, Report};
use crate::signing::{Signer, TreeSigner};
use crate::site::Site;

/// Signs what is unsigned or stale in what is staged for a release, or for a SIG of it.
pub fn sign(
    site: &Site,
    release: &str,
    sig: Option<&str>,
    mode: Mode,
    observer: &dyn Observer,
) -> Result<Report> {
    let release = site.config.release(release)?;
    let Some(signer) = Signer::for_release(&site.config, &release)? else {
        return Err(Error::Setting {
            key: "sign".into(),
            reason: "the configuration does not say how to sign; add a section [sign]".into(),
        });
    };
    let (staging, production) = match sig.map(|sig| release.sig_group(sig)).transpose()? {
        Some(sig) => (sig.staging_ref, Some(sig.production_ref)),
        None => (release.staging_ref(), release.production_ref().ok()),
    };
    let name = ref_name(staging)?;
    // Before the locks, whose files are named after the ref: a ref that is not there is an error.
    if site.current(&name)?.is_none() {
        return Err(cairn_store::Error::UnknownRef(name.to_string()).into());
    }
    let mut report = Report::default();
    let writer = match mode {
        Mode::Apply => Some(site.store.writer(std::slice::from_ref(&name))?),
        Mode::DryRun => None,
    };
    report.notes = match &writer {
        Some(writer) => site.recover(writer, observer)?,
        None => site.store.notes().to_vec(),
    };
    let Some((old, old_root)) = site.current(&name)? else {
        return Err(cairn_store::Error::UnknownRef(name.to_string()).into());
    };
    let draft = Draft::new(&site.store);
    let source = |file: &_, path: &RelPath| site.open_draft(&draft, file, path);
    let time = Time { secs: jiff::Timestamp::now().as_second(), nanos: 0 };
    // What mirrors have is in production: metadata that is the same there keeps its signature.
    let production = match production {
        Some(name) => site.current(&ref_name(name)?)?.map(|(_, root)| root),
        None => None,
    };
    let transform = TreeSigner { draft: &draft, source: &source, signer: &signer, time, mode };
    let signed = transform.sign(production.as_ref(), &old_root, observer)?;
    let settled = settle_times(&draft, &old_root, &signed.root)?;
    report.times_moved = settled.moved;
    let mut origin = Origin { verb: "sign".into(), ..Origin::default() };
    origin.facts.insert("signed".into(), signed.signed.len().to_string());
    report.signed = signed.signed;
    let new = Destination::Tree { root: settled.root, origin, parents: vec![old] };
    let moves = Moves {
        site,
        draft: &draft,
        verb: "sign",
        moves: vec![Move { name, old: Some((old, old_root)), new }],
        intent: Intent::Forward,
        details: serde_json::Value::Null,
        inodes: Vec::new(),
    };
    moves.run(mode, writer.as_ref(), report, observer)
}
