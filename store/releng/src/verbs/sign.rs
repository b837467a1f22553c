//! Sign: every repo of a staging view gets a signature that clients accept.

use std::collections::BTreeMap;

use cairn_store::progress::Observer;

use super::moves::ref_name;
use super::turn::Turn;
use crate::error::{Error, Result};
use crate::report::{Mode, Report};
use crate::signing::Signer;
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
    site.existing(&name)?;
    let mut turn = Turn::begin(site, "sign", mode, std::slice::from_ref(&name), observer)?;
    let (old, old_root) = site.existing(&name)?;
    // What mirrors have is in production: metadata that is the same there keeps its signature.
    let production = match production {
        Some(name) => site.current(&ref_name(name)?)?.map(|(_, root)| root),
        None => None,
    };
    let signed = turn.signed_by(&signer, production.as_ref(), old_root)?;
    let root = turn.settled(Some(&old_root), signed)?;
    let facts = BTreeMap::from([("signed".into(), turn.report.signed.len().to_string())]);
    let moves = vec![turn.to_tree(name, Some((old, old_root)), root, facts, [])];
    turn.finish(moves)
}
