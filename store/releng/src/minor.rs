//! A minor release: all composes of a release become one tree.
//!
//! [`assemble`] is the recipe. It is pure: it reads trees and files that are in the store and answers
//! a tree of the draft, so the same composes are the same tree, whatever was staged before and however
//! often it is asked. Nothing is read from or written to the composes themselves.
//!
//! What it does, in this order: takes of each compose what the channel wants of it, without product
//! metadata of any but the main one and without directories that are no repos; lays them over each
//! other; makes metadata where two composes have packages in one repo; tells installers where the
//! other variants are, and keeps the `.treeinfo` as it came beside it; gives each repo with comps a
//! `kickstart` tree, which is its `os` tree once more and costs nothing; links repos that go by
//! another name; and arranges the media.

mod treeinfo;

use std::collections::BTreeSet;

use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::transform::{graft, overlay};
use cairn_store::tree::{DirEntry, Draft, Entry, Nodes, SymlinkEntry, Tree, lookup};

use crate::audit::repos::REPODATA;
use crate::error::{Error, Result};
use crate::media::{self, MediaReport, Sources};
use crate::names::ReleaseView;
use crate::report::Mode;
use crate::repos::{ComposeInput, Inputs, RepoReport, is_repo, regenerate};
use crate::site::Site;

use treeinfo::Installable;

/// Product metadata describe one compose, and the release has the main one's.
const METADATA: &[u8] = b"metadata";

/// What a repo's installable tree is called, and what the one is that stays as it was released.
const OS: &str = "os";
const KICKSTART: &str = "kickstart";

/// A compose of the release.
pub(crate) struct Part {
    /// Its short name.
    pub short: String,
    /// Its tree.
    pub root: DirEntry,
    /// Where it was when it was ingested: its comps files are there.
    pub dir: Option<String>,
}

/// What a release is assembled from.
pub(crate) struct Assembly<'a> {
    pub site: &'a Site,
    pub release: &'a ReleaseView<'a>,
    pub draft: &'a Draft<'a>,
    /// All composes of the release, the main one first.
    pub parts: &'a [Part],
    /// What was staged before: signatures of files that did not change are taken from there.
    pub before: Option<&'a DirEntry>,
    pub mode: Mode,
}

/// The release's tree and what was done for it.
pub(crate) struct Assembled {
    pub root: DirEntry,
    pub repos: Vec<RepoReport>,
    pub kickstarts: Vec<RelPath>,
    pub media: MediaReport,
    pub notes: Vec<String>,
}

/// Makes the tree of a release from its composes.
///
/// # Errors
/// Metadata, treeinfo or media of a compose that cannot be read, and a file of ours that cannot be
/// made.
pub(crate) fn assemble(of: &Assembly<'_>, observer: &dyn Observer) -> Result<Assembled> {
    let mut notes = Vec::new();
    let chosen: Vec<DirEntry> =
        of.parts.iter().map(|part| choose(of, part, &mut notes)).collect::<Result<_>>()?;
    let (Some((first, others)), Some(part)) = (chosen.split_first(), of.parts.first()) else {
        let reason = "a release is made of at least one compose".to_owned();
        return Err(Error::Setting { key: "composes".into(), reason });
    };
    let (main, mut laid) = (&part.root, *first);
    for top in others {
        laid = overlay(of.draft, &laid, top, &|name| *name == *REPODATA)?;
    }
    // The root directory is the main compose's; what the others say of theirs is of no interest.
    laid = DirEntry { mode: main.mode, mtime: main.mtime, ..laid };

    let (mut root, repos) = described(of, &chosen, &laid, &mut notes, observer)?;
    let kickstarts = installable(of, &laid, &mut root)?;
    notes.extend(missing_arches(of, &root)?);
    link_repos(of, &mut root, &mut notes)?;
    let sources = Sources {
        site: of.site,
        release: of.release,
        draft: of.draft,
        compose: main,
        before: of.before,
        mode: of.mode,
    };
    let arranged = media::arrange(&sources, observer)?;
    root = arranged.lay_over(of.draft, &root)?;
    let mut media = arranged.report;
    notes.append(&mut media.notes);
    Ok(Assembled { root, repos, kickstarts, media, notes })
}

/// Returns what the release takes of a compose.
fn choose(of: &Assembly<'_>, part: &Part, notes: &mut Vec<String>) -> Result<DirEntry> {
    let section = of.release.section();
    let parts = &of.release.channel().parts;
    // A repo may go by two names, one of them a link: whichever the compose has is meant.
    let names = |dirs: &[String]| -> BTreeSet<Vec<u8>> {
        let linked = dirs.iter().filter_map(|dir| section.links.get(dir));
        dirs.iter().chain(linked).map(|name| name.clone().into_bytes()).collect()
    };
    let own = parts.get(&part.short).map(|dirs| names(dirs));
    let in_release = |short: &String| *short != part.short && section.composes.contains(short);
    let others = parts.iter().filter(|(short, _)| in_release(short));
    let others: BTreeSet<Vec<u8>> = others.flat_map(|(_, dirs)| names(dirs)).collect();
    let is_main = of.parts.first().is_some_and(|main| main.short == part.short);
    let nonrepo = &of.site.config.defaults.nonrepo_dirs;

    let tree = of.draft.tree(&part.root.tree)?;
    let mut entries: Vec<(Box<[u8]>, Entry)> = Vec::new();
    for (name, entry) in tree.entries() {
        let taken = match &own {
            Some(own) => own.contains(name),
            None => !others.contains(name) && (is_main || *name != *METADATA),
        };
        if taken && !nonrepo.iter().any(|dir| dir.as_bytes() == name) {
            entries.push((name.into(), entry.clone()));
        }
    }
    for dir in parts.get(&part.short).into_iter().flatten() {
        let has = names(std::slice::from_ref(dir)).iter().any(|name| tree.get(name).is_some());
        if !has {
            notes.push(format!("The compose {} has no {dir}, which would be taken.", part.short));
        }
    }
    Ok(of.draft.put(Tree::new(entries)?, part.root.mode, part.root.mtime))
}

/// Gives repos that several composes have packages of metadata that lists all of them, and those with
/// comps or modules what the files beside the composes say.
fn described(
    of: &Assembly<'_>,
    chosen: &[DirEntry],
    laid: &DirEntry,
    notes: &mut Vec<String>,
    observer: &dyn Observer,
) -> Result<(DirEntry, Vec<RepoReport>)> {
    let mut shared = Vec::new();
    shared_repos(of.draft, &RelPath::ROOT, chosen, &mut shared)?;
    // What one compose alone has is described already, so only these are new to it.
    let mut known = *laid;
    for path in &shared {
        known = graft(of.draft, &known, path, None)?;
    }
    let composes = of
        .parts
        .iter()
        .map(|part| ComposeInput { short: part.short.clone(), dir: part.dir.clone() });
    let inputs = Inputs {
        release: of.release,
        trees: chosen.to_vec(),
        composes: composes.collect(),
        advisories: Default::default(),
    };
    let made = regenerate(of.site, of.draft, Some(&known), laid, &inputs, of.mode, observer)?;
    notes.extend(made.notes);
    Ok((made.root, made.repos))
}

/// Finds repos that more than one of these directories has, and not all of them the same.
fn shared_repos(
    nodes: &dyn Nodes,
    path: &RelPath,
    dirs: &[DirEntry],
    found: &mut Vec<RelPath>,
) -> Result<()> {
    let Some((first, rest)) = dirs.split_first() else { return Ok(()) };
    if rest.iter().all(|dir| dir.tree == first.tree) {
        return Ok(());
    }
    let mut repo = false;
    for dir in dirs {
        repo |= is_repo(nodes, dir)?;
    }
    if repo {
        found.push(path.clone());
        return Ok(());
    }
    let trees = dirs.iter().map(|dir| Ok(nodes.tree(&dir.tree)?)).collect::<Result<Vec<_>>>()?;
    let names: BTreeSet<&[u8]> =
        trees.iter().flat_map(|tree| tree.entries().iter().map(|(name, _)| name)).collect();
    for name in names {
        let below = trees.iter().filter_map(|tree| tree.get(name)?.as_dir().copied());
        shared_repos(nodes, &path.join(name), &below.collect::<Vec<_>>(), found)?;
    }
    Ok(())
}

/// Edits what installers read and adds the kickstart trees; returns where those are.
fn installable(
    of: &Assembly<'_>,
    pristine: &DirEntry,
    root: &mut DirEntry,
) -> Result<Vec<RelPath>> {
    let section = of.release.section();
    let variants = &of.site.config.defaults.tree_variants;
    let mut kickstarts = Vec::new();
    for arch in &section.arches {
        for repo in &section.repos.comps {
            let place = |kind: &str| RelPath::new(format!("{repo}/{arch}/{kind}"));
            let (Ok(os), Ok(kickstart)) = (place(OS), place(KICKSTART)) else { continue };
            let Some(Entry::Dir(dir)) = lookup(of.draft, root, &os)? else { continue };
            let others = variants.get(repo).map_or(&[][..], Vec::as_slice);
            let tree = Installable { site: of.site, draft: of.draft, root, at: &os, arch };
            let made = |kind| tree.telling(pristine, &dir, others, kind);
            let (as_os, as_kickstart) = (made(OS)?, made(KICKSTART)?);
            *root = graft(of.draft, root, &os, Some(Entry::Dir(as_os)))?;
            *root = graft(of.draft, root, &kickstart, Some(Entry::Dir(as_kickstart)))?;
            kickstarts.push(kickstart);
        }
    }
    kickstarts.sort_unstable();
    Ok(kickstarts)
}

/// Says which architectures of the release no repo has: a compose that lost one looks whole.
fn missing_arches(of: &Assembly<'_>, root: &DirEntry) -> Result<Option<String>> {
    let section = of.release.section();
    let mut missing = Vec::new();
    for arch in &section.arches {
        let mut found = false;
        for repo in section.repos.comps.iter().chain(&section.repos.plain) {
            if let Ok(path) = RelPath::new(format!("{repo}/{arch}/{OS}")) {
                found |= lookup(of.draft, root, &path)?.is_some();
            }
        }
        if !found {
            missing.push(arch.as_str());
        }
    }
    let name = of.release.name();
    Ok((!missing.is_empty())
        .then(|| format!("No repo of release {name} has anything for {}.", missing.join(", "))))
}

/// Links repos that go by another name, where the repo is there and the name is free.
fn link_repos(of: &Assembly<'_>, root: &mut DirEntry, notes: &mut Vec<String>) -> Result<()> {
    let mtime = root.mtime;
    for (link, target) in &of.release.section().links {
        let (Ok(at), Ok(to)) = (RelPath::new(link), RelPath::new(target)) else { continue };
        let leads = lookup(of.draft, root, &to)?.is_some();
        let entry = SymlinkEntry { target: target.as_bytes().into(), mtime };
        match (lookup(of.draft, root, &at)?, leads) {
            (None, true) => {
                *root = graft(of.draft, root, &at, Some(Entry::Symlink(entry)))?;
            }
            (Some(Entry::Symlink(old)), _) if old.target == entry.target => {}
            (Some(_), true) => notes.push(format!(
                "{link} is in the composes beside {target}: there is no link from one to the other."
            )),
            (_, false) => {}
        }
    }
    Ok(())
}
