//! Sign: every repo of a staging view gets a signature that clients accept.

use std::collections::BTreeMap;

use cairn_store::progress::Observer;

use super::judge::Asked;
use super::moves::ref_name;
use super::turn::Turn;
use crate::config::Environment;
use crate::error::{Error, Result};
use crate::report::{Mode, Report};
use crate::signing::Signer;
use crate::site::Site;

/// What is signed, and how.
#[derive(Clone, Debug, Default)]
pub struct SignOptions {
    /// The SIG whose staging view is signed instead of the release's.
    pub sig: Option<String>,
    /// Gates that the operator does not want asked; the session must say why.
    pub skip_gates: Vec<String>,
    /// Whether to act.
    pub mode: Mode,
}

/// Signs what is unsigned or stale in what is staged for a release, or for a SIG of it.
pub fn sign(
    site: &Site,
    release: &str,
    options: &SignOptions,
    observer: &dyn Observer,
) -> Result<Report> {
    let release = site.config.release(release)?;
    let Some(signer) = Signer::for_release(&site.config, &release)? else {
        return Err(Error::Setting {
            key: "sign".into(),
            reason: "the configuration does not say how to sign; add a section [sign]".into(),
        });
    };
    let (staging, production) =
        match options.sig.as_ref().map(|sig| release.sig_group(sig)).transpose()? {
            Some(sig) => (sig.staging_ref, Some(sig.production_ref)),
            None => (release.staging_ref(), release.production_ref().ok()),
        };
    let name = ref_name(staging)?;
    site.existing(&name)?;
    let asked = Asked::of(site, Environment::Staging, &options.skip_gates)?;
    let mut turn = Turn::begin(site, "sign", options.mode, std::slice::from_ref(&name), observer)?;
    let (old, old_root) = site.existing(&name)?;
    // What mirrors have is in production: metadata that is the same there keeps its signature.
    let production = match production {
        Some(name) => site.current(&ref_name(name)?)?.map(|(_, root)| root),
        None => None,
    };
    let signed = turn.signed_by(&signer, production.as_ref(), old_root)?;
    let root = turn.settled(Some(&old_root), signed)?;
    turn.judge_staged(&asked, release, &name, Some(old_root), root)?;
    let facts = BTreeMap::from([("signed".into(), turn.report.signed.len().to_string())]);
    let moves = vec![turn.to_tree(name, Some((old, old_root)), root, facts, [])];
    turn.finish(moves)
}
