//! Release day: what is in production and not for the public yet, and the moment when it is.
//!
//! Under embargo the root directory of a view has no permission for others, so that nobody but the
//! tree's owner and group gets below it, and the mirror lists say so. The mode is part of the
//! snapshot: the log, `rollback` and `fsck` know it like everything else, and a promotion into an
//! embargoed release leaves it embargoed. To open is to give the same tree the other mode.

use std::collections::BTreeMap;

use cairn_store::progress::Observer;
use cairn_store::refs::RefName;
use cairn_store::tree::DirEntry;

use super::moves::{Destination, Move};
use super::turn::Turn;
use crate::config::Environment;
use crate::error::{Error, Result};
use crate::report::{Mode, Report};
use crate::site::Site;

/// The bit without which others cannot read a directory.
const OTHERS_READ: u32 = 0o004;
/// What is taken from a root directory under embargo: all from others, and writing from the group,
/// so that it is 0750 whatever umask the compose was made with.
const CLOSED: u32 = 0o027;
/// With these the group reads a directory and what is in it.
const GROUP_ENTERS: u32 = 0o050;
/// With these all do.
const ALL_ENTER: u32 = 0o055;

/// Whether a promotion is for the public.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Embargo {
    /// As it was: what is embargoed stays so, what is new is open.
    #[default]
    AsItWas,
    /// It is embargoed from now on.
    Impose,
}

/// Returns whether a ref is one of production that others are kept out of.
pub fn is_under_embargo(name: &RefName, root: &DirEntry) -> bool {
    name.as_str().starts_with("production/") && is_embargoed(root)
}

/// Returns whether others are kept out of a tree.
pub(super) fn is_embargoed(root: &DirEntry) -> bool {
    root.mode & OTHERS_READ == 0
}

/// Returns the mode of a root directory under embargo: 0750 for 0755.
fn closed(mode: u32) -> u32 {
    (mode | GROUP_ENTERS) & !CLOSED
}

/// Returns the mode of a root directory for the public: 0755 for 0750.
fn opened(mode: u32) -> u32 {
    mode | ALL_ENTER
}

/// Returns a tree that is to take the place of `old`, open or embargoed.
pub(super) fn embargoed(new: &DirEntry, old: Option<&DirEntry>, embargo: Embargo) -> DirEntry {
    let mode = match embargo {
        Embargo::Impose => closed(new.mode),
        Embargo::AsItWas if old.is_some_and(is_embargoed) => closed(new.mode),
        // Whoever staged with a tight umask did not mean the public.
        Embargo::AsItWas => opened(new.mode),
    };
    DirEntry { mode, ..*new }
}

/// Says what a promotion does to who may read a release, where that is worth a sentence.
pub(super) fn note(name: &RefName, old: Option<&DirEntry>, new: &DirEntry) -> Option<String> {
    let was_open = old.is_some_and(|old| !is_embargoed(old));
    match (is_embargoed(new), was_open) {
        (true, true) => Some(format!(
            "{name} is open to all, and this closes it: cairn open {name} opens it again."
        )),
        (true, false) => Some(format!("{name} is under embargo until cairn open {name}.")),
        (false, _) => None,
    }
}

/// Opens what is under embargo in production: the same trees, for all to read, in one operation.
///
/// # Errors
/// Refs that are not in production, or not there.
pub fn open(site: &Site, names: &[String], mode: Mode, observer: &dyn Observer) -> Result<Report> {
    let mut refs = Vec::new();
    for name in names {
        let name = RefName::new(name)?;
        let (environment, _) = name.as_str().split_once('/').unwrap_or((name.as_str(), ""));
        if Environment::parse(environment) != Ok(Environment::Production)
            || site.view(&name)?.is_none()
        {
            return Err(Error::NotInProduction { name: name.to_string() });
        }
        site.existing(&name)?;
        if !refs.contains(&name) {
            refs.push(name);
        }
    }
    let mut links = Vec::new();
    for name in &refs {
        links.extend(site.links_to(name)?);
    }
    let locked: Vec<RefName> =
        refs.iter().chain(links.iter().map(|link| &link.spec.name)).cloned().collect();
    let mut turn = Turn::begin(site, "open", mode, &locked, observer)?;
    let mut moves = Vec::new();
    for name in refs {
        let (old, root) = site.existing(&name)?;
        moves.push(match is_embargoed(&root) {
            false => {
                turn.report.notes.push(format!("{name} is open already."));
                Move { name, old: Some((old, root)), new: Destination::Snapshot { id: old, root } }
            }
            true => {
                let opened = DirEntry { mode: opened(root.mode), ..root };
                turn.to_tree(name, Some((old, root)), opened, BTreeMap::new(), [])
            }
        });
    }
    moves.extend(turn.link_moves(&links)?);
    turn.finish(moves)
}
