//! Vault: what was in production goes to where old versions stay, a release with its SIGs.
//!
//! The copy is the same tree under another ref, so on one mount it takes directories and links and
//! no content. Production stays as it is.

use std::collections::BTreeMap;

use cairn_store::id::SnapshotId;
use cairn_store::progress::Observer;
use cairn_store::refs::RefName;
use cairn_store::transform::{exclude, settle_times};
use cairn_store::tree::DirEntry;

use super::embargo::is_embargoed;
use super::judge::{Asked, Candidate, max_deletes};
use super::moves::{Move, ref_name};
use super::targets::Sigs;
use super::turn::Turn;
use crate::audit::repos::in_repodata;
use crate::config::{Environment, Percent, Version};
use crate::error::{Error, Result};
use crate::names::ReleaseView;
use crate::report::{Mode, Report};
use crate::repos::Inputs;
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
    pub sigs: Sigs,
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
    let mut notes = Vec::new();
    let copies = copies(site, &release, version, options, &mut notes)?;
    let names: Vec<RefName> = copies.iter().map(|copy| copy.name.clone()).collect();
    let mut turn = Turn::begin(site, "vault", options.mode, &names, observer)?;
    turn.report.notes.splice(0..0, notes);
    let asked = Asked::of(site, Environment::Vault, &[])?;
    let run = Run { release, version, options, asked: &asked };
    let mut moves = Vec::new();
    for copy in copies {
        moves.extend(run.one(&mut turn, copy)?);
    }
    turn.conclude(&asked)?;
    turn.finish(moves)
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
    let asked = match &options.sigs {
        Sigs::None => None,
        Sigs::Named(names) => Some(names.clone()),
        Sigs::All => Some(release.sig_names()),
    };
    if let Some(asked) = asked {
        for sig in &asked {
            let sig = release.sig_group(sig)?;
            let (source, name) = (ref_name(sig.production_ref)?, in_vault(&sig.sig)?);
            match (site.current(&source)?, &options.sigs) {
                (Some(_), _) => {}
                (None, Sigs::All) => {
                    notes.push(format!("{source} was never in production and is skipped."));
                    continue;
                }
                (None, Sigs::None | Sigs::Named(_)) => return Err(unknown(&source)),
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
    release: ReleaseView<'a>,
    version: Version,
    options: &'a VaultOptions,
    asked: &'a Asked<'a>,
}

impl Run<'_> {
    /// Makes the tree of one copy; nothing where what is in the vault stays.
    fn one(&self, turn: &mut Turn<'_>, copy: Copy) -> Result<Option<Move>> {
        let (site, options) = (turn.site, self.options);
        let Copy { source, name, kind } = copy;
        let (id, from) = site.existing(&source)?;
        let old = site.current(&name)?;
        let (vaulted, before) = (old.map(|(id, _)| id), old.map(|(_, root)| root));
        if is_embargoed(&from) {
            let reason = format!("{source} is under embargo; cairn open {source} comes first");
            turn.refuse(Error::Refused { name: name.to_string(), rule: "embargo", reason })?;
        }
        let mut root = match options.repodata {
            VaultRepodata::Taken => from,
            VaultRepodata::Anew => self.anew(turn, &from, before.as_ref())?,
        };
        if let Some(old) = &before {
            let settled = settle_times(&turn.draft, old, &root)?;
            root = settled.root;
            // The SIGs of production go on with the next version, and those that are in the vault
            // must not.
            if kind == Kind::Along
                && root != *old
                && Some(self.version) == self.release.channel().previous
                && has_moved_on(site, vaulted, &source, &from)?
            {
                turn.report.notes.push(format!(
                    "{name} is there, and {source} is another tree by now: it stays; --sig {} \
                     takes the new one.",
                    name.as_str().rsplit('/').next().unwrap_or_default()
                ));
                return Ok(None);
            }
            turn.report.times_moved.extend(settled.moved);
            turn.check_deletes(&name, old, &root, options.allow_deletes)?;
        }
        if !self.asked.is_empty() {
            let candidate = Candidate {
                name: &name,
                root,
                before,
                published: before,
                release: self.release,
                version: Some(self.version),
                max_deletes: options.allow_deletes.or(max_deletes(site, &name)?),
            };
            turn.judge(self.asked, &candidate)?;
        }
        let mut facts = BTreeMap::from([(source.to_string(), id.to_string())]);
        if options.repodata == VaultRepodata::Anew {
            facts.insert("repodata".into(), "anew".into());
        }
        Ok(Some(turn.to_tree(name, old, root, facts, [id])))
    }

    /// Drops all metadata and makes it anew for every repo that had some.
    ///
    /// What production's metadata says of a package is used where its checksums are right, so
    /// that what is made is what is there where that describes the packages.
    fn anew(
        &self,
        turn: &mut Turn<'_>,
        from: &DirEntry,
        vaulted: Option<&DirEntry>,
    ) -> Result<DirEntry> {
        // The directories stay: they say where the repos are.
        let bare = exclude(&turn.draft, from, &in_repodata)?;
        let (trees, composes, advisories) = (Vec::new(), Vec::new(), BTreeMap::new());
        let inputs = Inputs { release: &self.release, trees, composes, advisories };
        let made = turn.regenerated(Some(from), &bare, &inputs)?;
        // A signature that the vault has over the same bytes stays, so that again is a no-op.
        turn.signed(&self.release, Some(vaulted.unwrap_or(from)), made)
    }
}

/// Returns whether production shows another tree than the one that went to the vault.
fn has_moved_on(
    site: &Site,
    vaulted: Option<SnapshotId>,
    source: &RefName,
    now: &DirEntry,
) -> Result<bool> {
    let Some(vaulted) = vaulted else { return Ok(false) };
    let facts = site.store.snapshot(&vaulted)?.origin.facts;
    let Some(id) = facts.get(source.as_str()).and_then(|id| site.resolve(id).ok()) else {
        return Ok(true);
    };
    Ok(site.store.try_snapshot(&id)?.is_none_or(|then| then.root() != *now))
}
