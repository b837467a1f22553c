//! Vault: what was in production goes to where old versions stay, a release with its SIGs.
//!
//! The copy is the same tree under another ref, so on one mount it takes directories and links and
//! no content. Production stays as it is.

use std::collections::BTreeMap;

use cairn_store::fs::Time;
use cairn_store::id::SnapshotId;
use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::publish::Intent;
use cairn_store::refs::RefName;
use cairn_store::snapshot::Origin;
use cairn_store::transform::{exclude, settle_times};
use cairn_store::tree::{DirEntry, Draft};

use super::embargo::is_embargoed;
use super::moves::{Destination, Move, Moves, ref_name};
use super::promote::{add_notes, add_refusals, check_deletes, details, judge, max_deletes};
use crate::audit::repos::in_repodata;
use crate::config::{Environment, Percent, Version};
use crate::error::{Error, Result};
use crate::gates::{self, Recorded, RefGates, Shared, Subject};
use crate::names::ReleaseView;
use crate::report::{Mode, Report};
use crate::repos::{Inputs, regenerate};
use crate::signing::{Signer, TreeSigner};
use crate::site::Site;

/// Where the metadata of the copy comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VaultRepodata {
    /// It is production's, byte for byte.
    #[default]
    Taken,
    /// Every repo gets metadata that is made from its packages, and is signed.
    Anew,
}

/// How a version goes to the vault.
#[derive(Clone, Debug, Default)]
pub struct VaultOptions {
    /// Only these SIGs, even where one is in the vault already and differs; none means the release
    /// and all its SIGs.
    pub sigs: Vec<String>,
    /// Where metadata comes from.
    pub repodata: VaultRepodata,
    /// The share of deletions in what is in the vault already that the operator allows.
    pub allow_deletes: Option<Percent>,
    /// Whether to act.
    pub mode: Mode,
}

/// Copies a version from production to the vault: the one before, for a release (`9`), or the one
/// that is named (`9.6`).
///
/// # Errors
/// Channels that are never vaulted, versions that are not in production or under embargo, and
/// what a promotion refuses.
pub fn vault(
    site: &Site,
    release: &str,
    options: &VaultOptions,
    observer: &dyn Observer,
) -> Result<Report> {
    let (release, version) = version(site, release)?;
    let mut report = Report::default();
    let copies = copies(site, &release, version, options, &mut report.notes)?;
    let names: Vec<RefName> = copies.iter().map(|copy| copy.name.clone()).collect();
    let writer = match options.mode {
        Mode::Apply => Some(site.store.writer(&names)?),
        Mode::DryRun => None,
    };
    report.notes.extend(match &writer {
        Some(writer) => site.recover(writer, observer)?,
        None => site.store.notes().to_vec(),
    });
    let required = gates::required(site, Environment::Vault).unwrap_or_default();
    let draft = Draft::new(&site.store);
    let run = Run { site, draft: &draft, release, version, options, required: &required, observer };
    let mut moves = Vec::new();
    for copy in copies {
        moves.extend(run.one(copy, &mut report)?);
    }
    add_notes(&mut report, &required, &[]);
    match options.mode {
        Mode::Apply if report.gates.iter().any(RefGates::is_refused) => {
            return Err(Error::Gates(report.gates));
        }
        Mode::Apply => {}
        Mode::DryRun => add_refusals(&mut report),
    }
    let moves = Moves {
        site,
        draft: &draft,
        verb: "vault",
        moves,
        intent: Intent::Forward,
        details: details(&report.gates, &[]),
        inodes: Vec::new(),
    };
    moves.run(options.mode, writer.as_ref(), report, observer)
}

/// Returns the release and version that are meant, if they may be vaulted.
fn version<'s>(site: &'s Site, text: &str) -> Result<(ReleaseView<'s>, Version)> {
    if Version::parse(text).is_ok() {
        let (release, version) = site.config.release_at(text)?;
        release.vault_ref_of(version)?;
        return Ok((release, version));
    }
    let release = site.config.release(text)?;
    release.vault_ref()?;
    let channel = release.channel();
    match channel.previous {
        Some(version) => Ok((release, version)),
        None => Err(Error::Setting {
            key: format!("release.{}.channel.{}.previous", release.major(), channel.name),
            reason: "it is not there; name the version that goes to the vault, such as 9.6".into(),
        }),
    }
}

/// A tree of production and the ref of the vault that it goes to.
struct Copy {
    source: RefName,
    name: RefName,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Release,
    /// A SIG that goes with its release.
    Along,
    /// A SIG that was asked for.
    Asked,
}

/// Returns what is to be copied; that nothing is there to copy is an error or a note.
fn copies(
    site: &Site,
    release: &ReleaseView<'_>,
    version: Version,
    options: &VaultOptions,
    notes: &mut Vec<String>,
) -> Result<Vec<Copy>> {
    let mut copies = Vec::new();
    let unknown = |name: &RefName| Error::from(cairn_store::Error::UnknownRef(name.to_string()));
    let in_vault = |sig: &str| ref_name(format!("vault/sig/{version}/{sig}"));
    if !options.sigs.is_empty() {
        for sig in &options.sigs {
            let sig = release.sig_group(sig)?;
            let (source, name) = (ref_name(sig.production_ref)?, in_vault(&sig.sig)?);
            if site.current(&source)?.is_none() {
                return Err(unknown(&source));
            }
            if !copies.iter().any(|copy: &Copy| copy.name == name) {
                copies.push(Copy { source, name, kind: Kind::Asked });
            }
        }
        return Ok(copies);
    }
    let source = ref_name(format!("production/{version}"))?;
    let name = ref_name(release.vault_ref_of(version)?)?;
    match (site.current(&source)?, site.current(&name)?) {
        (Some(_), _) => copies.push(Copy { source, name, kind: Kind::Release }),
        (None, Some(_)) => notes.push(format!("{source} is not there; {name} stays as it is.")),
        (None, None) => return Err(unknown(&source)),
    }
    let channel = release.channel();
    let is_of_now = version == channel.version || Some(version) == channel.previous;
    for sig in release.sig_names() {
        let sig = release.sig_group(&sig)?;
        let (source, name) = (ref_name(sig.production_ref)?, in_vault(&sig.sig)?);
        match (site.current(&source)?, is_of_now) {
            (Some(_), true) => copies.push(Copy { source, name, kind: Kind::Along }),
            (Some(_), false) => notes.push(format!(
                "{source} is not of {version} any more and was left out; --sig {} takes it.",
                sig.sig
            )),
            (None, _) => {}
        }
    }
    Ok(copies)
}

/// One run, for each copy.
struct Run<'a> {
    site: &'a Site,
    draft: &'a Draft<'a>,
    release: ReleaseView<'a>,
    version: Version,
    options: &'a VaultOptions,
    required: &'a [String],
    observer: &'a dyn Observer,
}

impl Run<'_> {
    /// Makes the tree of one copy; nothing where what is in the vault stays.
    fn one(&self, copy: Copy, report: &mut Report) -> Result<Option<Move>> {
        let (site, options) = (self.site, self.options);
        let Copy { source, name, kind } = copy;
        let Some((id, from)) = site.current(&source)? else {
            return Err(cairn_store::Error::UnknownRef(source.to_string()).into());
        };
        let old = site.current(&name)?;
        let (vaulted, before) = (old.map(|(id, _)| id), old.map(|(_, root)| root));
        if is_embargoed(&from) {
            let reason = format!("{source} is under embargo; cairn open {source} comes first");
            let refused = Error::Refused { name: name.to_string(), rule: "embargo", reason };
            match options.mode {
                Mode::Apply => return Err(refused),
                Mode::DryRun => report.refusals.push(refused.to_string()),
            }
        }
        let mut root = match options.repodata {
            VaultRepodata::Taken => from,
            VaultRepodata::Anew => self.anew(&from, before.as_ref(), report)?,
        };
        if let Some(old) = &before {
            let settled = settle_times(self.draft, old, &root)?;
            root = settled.root;
            // The SIGs of production go on with the next version, and those that are in the vault
            // must not.
            if kind == Kind::Along
                && root != *old
                && Some(self.version) == self.release.channel().previous
                && self.has_moved_on(vaulted, &source, &from)?
            {
                report.notes.push(format!(
                    "{name} is there, and {source} is another tree by now: it stays; --sig {} \
                     takes the new one.",
                    name.as_str().rsplit('/').next().unwrap_or_default()
                ));
                return Ok(None);
            }
            report.times_moved.extend(settled.moved);
            let allowed = options.allow_deletes;
            match (check_deletes(site, self.draft, &name, old, &root, allowed), options.mode) {
                (Err(error @ Error::Refused { .. }), Mode::DryRun) => {
                    report.refusals.push(error.to_string());
                }
                (result, _) => result?,
            }
        }
        if before != Some(root) && !self.required.is_empty() {
            let subject = Subject {
                site,
                draft: self.draft,
                name: Some(name.to_string()),
                recorded: Recorded::Taken,
                root,
                before,
                published: before,
                release: Some(self.release),
                version: Some(self.version),
                mount: site.view(&name)?.map(|view| view.mount),
                max_deletes: options.allow_deletes.or(max_deletes(site, &name)?),
                mode: options.mode,
                observer: self.observer,
                shared: Shared::default(),
            };
            let gates = judge(&subject, self.required, &[])?;
            report.gates.push(RefGates { name: name.to_string(), gates });
        }
        let mut origin = Origin { verb: "vault".into(), ..Origin::default() };
        origin.facts.insert(source.to_string(), id.to_string());
        if options.repodata == VaultRepodata::Anew {
            origin.facts.insert("repodata".into(), "anew".into());
        }
        let parents: Vec<SnapshotId> = old.iter().map(|(id, _)| *id).chain([id]).collect();
        Ok(Some(Move { name, old, new: Destination::Tree { root, origin, parents } }))
    }

    /// Returns whether production shows another tree than the one that went to the vault.
    fn has_moved_on(
        &self,
        vaulted: Option<SnapshotId>,
        source: &RefName,
        now: &DirEntry,
    ) -> Result<bool> {
        let Some(vaulted) = vaulted else { return Ok(false) };
        let store = &self.site.store;
        let facts = store.snapshot(&vaulted)?.origin.facts;
        let Some(id) = facts.get(source.as_str()).and_then(|id| self.site.resolve(id).ok()) else {
            return Ok(true);
        };
        Ok(store.try_snapshot(&id)?.is_none_or(|then| then.root() != *now))
    }

    /// Drops all metadata and makes it anew for every repo that had some.
    ///
    /// What production's metadata says of a package is used where its checksums are right, so
    /// that what is made is what is there where that describes the packages.
    fn anew(
        &self,
        from: &DirEntry,
        vaulted: Option<&DirEntry>,
        report: &mut Report,
    ) -> Result<DirEntry> {
        let (site, draft, mode) = (self.site, self.draft, self.options.mode);
        // The directories stay: they say where the repos are.
        let bare = exclude(draft, from, &in_repodata)?;
        let (trees, composes, advisories) = (Vec::new(), Vec::new(), BTreeMap::new());
        let inputs = Inputs { release: &self.release, trees, composes, advisories };
        let made = regenerate(site, draft, Some(from), &bare, &inputs, mode, self.observer)?;
        report.notes.extend(made.notes);
        report.repos.extend(made.repos);
        let Some(signer) = Signer::for_release(&site.config, &self.release)? else {
            return Ok(made.root);
        };
        let source = |file: &_, path: &RelPath| site.open_draft(draft, file, path);
        let time = Time { secs: jiff::Timestamp::now().as_second(), nanos: 0 };
        let signer = TreeSigner { draft, source: &source, signer: &signer, time, mode };
        // A signature that the vault has over the same bytes stays, so that again is a no-op.
        let signed = signer.sign(Some(vaulted.unwrap_or(from)), &made.root, self.observer)?;
        report.signed.extend(signed.signed);
        Ok(signed.root)
    }
}
