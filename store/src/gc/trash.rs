//! A pool as a collection sees it: its objects, their siblings, and the trash.
//!
//! An object in the trash has another name in the same directory (docs/format.md §7):
//! `objects/ab/.trash-0000000042-<62 hex>`, of operation 42. A rename within one directory needs
//! no inode and no new directory, so it works on a full disk, and it is one step everywhere.

use std::collections::HashSet;

use rayon::prelude::*;
use rustix::io::Errno;

use super::Amount;
use crate::error::{Error, Result};
use crate::fault::{self, CrashPoint};
use crate::fs::{Dir, Replace, Stat};
use crate::id::{ObjectId, hex};
use crate::pool::{Pool, enter, name_of};
use crate::progress::Observer;

const PREFIX: &str = ".trash-";

/// The names that one pool has for objects.
pub(super) struct Listing {
    /// Objects, in order.
    objects: Vec<ObjectId>,
    /// Their siblings, in order.
    siblings: Vec<(ObjectId, u32)>,
    trash: Vec<Trashed>,
}

/// A name in the trash.
#[derive(Clone, Debug)]
struct Trashed {
    id: ObjectId,
    /// The sibling's number; nothing for the object itself.
    sibling: Option<u32>,
    name: Vec<u8>,
}

/// What a name in the trash leads to.
pub(super) struct Trash<'l> {
    row: &'l Trashed,
    stat: Stat,
}

/// An object that no root needs, as it was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Victim {
    pub id: ObjectId,
    pub bytes: u64,
    /// When its inode last changed: was written, linked or unlinked.
    pub changed: jiff::Timestamp,
}

enum Name {
    Object(ObjectId),
    Sibling(ObjectId, u32),
    Trash(Trashed),
}

impl Listing {
    /// Lists a pool.
    ///
    /// # Errors
    /// The system's, above all for a directory that is not there: a pool that has lost a part of
    /// itself is not tidied.
    pub fn of(pool: &Pool, observer: &dyn Observer) -> Result<Self> {
        let parts = (0..=255u8)
            .into_par_iter()
            .map(|prefix| {
                if observer.interrupted() {
                    return Err(Error::Interrupted);
                }
                let prefix = hex(&[prefix]);
                let names = pool.objects().dir(prefix.as_bytes())?.names()?;
                observer.advance(names.len() as u64, 0);
                Ok(names.iter().filter_map(|name| parse(&prefix, name)).collect::<Vec<_>>())
            })
            .collect::<Result<Vec<_>>>()?;
        let mut listing = Self { objects: Vec::new(), siblings: Vec::new(), trash: Vec::new() };
        for name in parts.into_iter().flatten() {
            match name {
                Name::Object(id) => listing.objects.push(id),
                Name::Sibling(id, number) => listing.siblings.push((id, number)),
                Name::Trash(row) => listing.trash.push(row),
            }
        }
        listing.objects.sort_unstable();
        listing.siblings.sort_unstable();
        Ok(listing)
    }

    /// Returns every object that has a name, in order, one that has only siblings too.
    pub fn objects(&self) -> impl Iterator<Item = ObjectId> {
        let orphans = self.siblings.iter().map(|(id, _)| *id).filter(|id| !self.has(id));
        let mut all: Vec<ObjectId> = orphans.collect();
        all.dedup();
        self.objects.iter().copied().chain(all)
    }

    /// Returns the objects in the trash.
    pub fn trashed(&self) -> impl Iterator<Item = ObjectId> {
        self.trash.iter().map(|row| row.id)
    }

    /// Returns whether an object has its name.
    pub fn has(&self, id: &ObjectId) -> bool {
        self.objects.binary_search(id).is_ok()
    }

    /// Returns how many objects there are.
    pub fn count(&self) -> u64 {
        self.objects.len() as u64
    }

    fn siblings(&self, id: &ObjectId) -> impl Iterator<Item = u32> {
        let from = self.siblings.partition_point(|(other, _)| other < id);
        let id = *id;
        self.siblings[from..].iter().take_while(move |(other, _)| *other == id).map(|(_, n)| *n)
    }

    /// Looks at what is in the trash now.
    pub fn trash(&self, pool: &Pool) -> Result<Vec<Trash<'_>>> {
        let look =
            |row| Ok(pool.objects().try_stat(&trash_path(row))?.map(|stat| Trash { row, stat }));
        self.trash.par_iter().map(look).filter_map(Result::transpose).collect()
    }
}

impl Trash<'_> {
    /// Returns the object.
    pub fn id(&self) -> &ObjectId {
        &self.row.id
    }

    /// Returns its size.
    pub fn bytes(&self) -> u64 {
        self.stat.size
    }

    /// Returns whether this is an object and not one of its siblings.
    pub fn is_base(&self) -> bool {
        self.row.sibling.is_none()
    }

    /// Returns how many bytes removing this name frees.
    pub fn frees(&self) -> u64 {
        if self.stat.nlink > 1 { 0 } else { self.stat.size }
    }

    /// Returns whether it has been in the trash for so long. The rename that brought it there is
    /// the last thing that changed its inode.
    pub fn is_over(&self, after: std::time::Duration, now: jiff::Timestamp) -> bool {
        changed(&self.stat).saturating_add(after).is_ok_and(|until| until <= now)
    }

    /// Removes it for good and returns how many bytes that frees.
    pub fn remove(&self, pool: &Pool) -> Result<u64> {
        let path = trash_path(self.row);
        // Links to it may have gone since it was looked at.
        let Some(stat) = pool.objects().try_stat(&path)? else { return Ok(0) };
        pool.objects().remove_if_there(&path)?;
        fault::hit(CrashPoint::TrashEmptied);
        Ok(Trash { row: self.row, stat }.frees())
    }
}

/// Gives those objects that are wanted their names back.
pub(super) fn rescue(
    pool: &Pool,
    listing: &Listing,
    wanted: &dyn Fn(&ObjectId) -> bool,
) -> Result<()> {
    for row in listing.trash.iter().filter(|row| row.sibling.is_none() && wanted(&row.id)) {
        match enter(pool.objects(), &trash_path(row), pool.objects(), &name_of(&row.id)) {
            Ok(()) => fault::hit(CrashPoint::TrashRescued),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Looks at objects that no root needs.
pub(super) fn look(
    pool: &Pool,
    ids: Vec<ObjectId>,
    observer: &dyn Observer,
) -> Result<Vec<Victim>> {
    let look = |id: ObjectId| {
        if observer.interrupted() {
            return Err(Error::Interrupted);
        }
        let stat = pool.stat(&id)?;
        // One that has siblings only has no size of its own and is as old as can be.
        let (bytes, changed) =
            stat.map_or((0, jiff::Timestamp::UNIX_EPOCH), |stat| (stat.size, changed(&stat)));
        Ok(Victim { id, bytes, changed })
    };
    ids.into_par_iter().map(look).collect()
}

/// What has been moved to a pool's trash.
#[derive(Debug, Default)]
pub(super) struct Moved {
    pub ids: HashSet<ObjectId>,
    pub amount: Amount,
}

/// Moves objects and their siblings to the trash, those first: a sibling without its object is
/// known to be nobody's, an object without a sibling is whole.
pub(super) fn throw_away(
    pool: &Pool,
    listing: &Listing,
    chosen: &[Victim],
    operation: u64,
    moved: &mut Moved,
) -> Result<()> {
    for victim in chosen {
        let siblings = listing.siblings(&victim.id).map(Some);
        for sibling in siblings.chain([None]) {
            let suffix = sibling.map_or(String::new(), |number| format!("~{number}"));
            let from = [name_of(&victim.id), suffix.clone().into_bytes()].concat();
            let name = hex(victim.id.as_bytes());
            let to = format!("{}/{PREFIX}{operation:010}-{}{suffix}", &name[..2], &name[2..]);
            match throw(pool.objects(), &from, to.as_bytes()) {
                Ok(()) if sibling.is_none() => moved.amount.add(victim.bytes),
                Ok(()) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
            fault::hit(CrashPoint::ObjectTrashed);
        }
        moved.ids.insert(victim.id);
    }
    Ok(())
}

/// Renames within the directory of objects. A name in the trash is an operation's own, so what is
/// there already is the same object, moved by a run that was killed or answered twice.
fn throw(objects: &Dir, from: &[u8], to: &[u8]) -> Result<()> {
    match objects.rename(from, objects, to, Replace::Yes) {
        // A repeated NFS request answers ENOENT although it was ours that did it.
        Err(error) if error.is(Errno::NOENT) && objects.try_stat(to)?.is_some() => Ok(()),
        result => result,
    }
}

pub(super) fn changed(stat: &Stat) -> jiff::Timestamp {
    jiff::Timestamp::new(stat.ctime.secs, stat.ctime.nanos as i32).unwrap_or(jiff::Timestamp::MAX)
}

fn trash_path(row: &Trashed) -> Vec<u8> {
    let prefix = hex(&row.id.as_bytes()[..1]);
    [prefix.as_bytes(), b"/", &row.name].concat()
}

/// Reads a name in the directory of `prefix`; nothing for what is no object's.
fn parse(prefix: &str, name: &[u8]) -> Option<Name> {
    let text = std::str::from_utf8(name).ok()?;
    let (text, trashed) = match text.strip_prefix(PREFIX) {
        Some(rest) => {
            let (operation, rest) = rest.split_once('-')?;
            operation.parse::<u64>().ok()?;
            (rest, true)
        }
        None => (text, false),
    };
    let (rest, sibling) = match text.split_once('~') {
        Some((rest, number)) => (rest, Some(number.parse::<u32>().ok()?)),
        None => (text, None),
    };
    let id = ObjectId::from_hex(&format!("{prefix}{rest}"))?;
    Some(match (trashed, sibling) {
        (true, sibling) => Name::Trash(Trashed { id, sibling, name: name.to_vec() }),
        (false, Some(number)) => Name::Sibling(id, number),
        (false, None) => Name::Object(id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_pool_are_told_apart_and_strangers_left_alone() {
        let id = ObjectId::of(b"x");
        let rest = &id.to_string()[2..];
        let prefix = &id.to_string()[..2];
        let parse = |name: &str| parse(prefix, name.as_bytes());
        assert!(matches!(parse(rest), Some(Name::Object(found)) if found == id));
        let sibling = parse(&format!("{rest}~12"));
        assert!(matches!(sibling, Some(Name::Sibling(found, 12)) if found == id));
        for (name, sibling) in [
            (format!(".trash-0000000042-{rest}"), None),
            (format!(".trash-0000000042-{rest}~3"), Some(3)),
        ] {
            match parse(&name) {
                Some(Name::Trash(row)) => {
                    assert_eq!((row.id, row.sibling, row.name), (id, sibling, name.into_bytes()));
                }
                _ => panic!("{name}"),
            }
        }
        for strange in [
            "README".to_owned(),
            rest[1..].to_owned(),
            format!(".0011223344556677-{rest}"),
            format!(".trash-{rest}"),
            format!(".trash-x-{rest}"),
            format!("{rest}~"),
            format!("{rest}~x"),
            rest.to_uppercase(),
        ] {
            assert!(parse(&strange).is_none(), "{strange}");
        }
    }
}
