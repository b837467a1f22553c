//! History: who did what when, which operation brought a file, where something ever was.
//!
//! The log says which ref named which snapshot; trees say what was in it. Everything here reads,
//! and nothing is locked: operations and snapshots never change. Work is bounded by what differs
//! between snapshots, because a tree that was looked at once is known by its id. A snapshot that
//! was collected has no tree any more; answers that it could change say so.

use std::collections::HashMap;

use cairn_store::id::{OperationId, SnapshotId};
use cairn_store::log::Operation;
use cairn_store::refs::RefName;
use cairn_store::tree::DirEntry;
use serde::Serialize;

use crate::config::parse_duration;
use crate::error::{Error, Result};
use crate::names::ReleaseView;
use crate::site::Site;

mod blame;
mod find;
mod listed;

pub use blame::{Blame, Blamed, Step, blame};
pub(crate) use find::Finder;
pub use find::{Found, Package, Search, find};
pub use listed::Unreadable;

/// Which operations are asked for; nothing set means all.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    /// Those that moved this ref.
    pub name: Option<RefName>,
    /// Those of this user, who ran it or who became who ran it.
    pub user: Option<String>,
    /// Those at or after this time.
    pub since: Option<jiff::Timestamp>,
    /// Those at or before this time.
    pub until: Option<jiff::Timestamp>,
    /// Those that moved a ref of this release.
    pub release: Option<String>,
    /// Those of one of these verbs.
    pub verbs: Vec<String>,
    /// At most so many.
    pub limit: Option<usize>,
}

/// Returns the operations that a filter accepts, newest first.
///
/// # Errors
/// A ref that never was, a release that is not configured, a log that cannot be read.
pub fn log(site: &Site, filter: &LogFilter) -> Result<Vec<(OperationId, Operation)>> {
    let release = filter.release.as_deref().map(|name| site.config.release(name)).transpose()?;
    let numbers: Box<dyn Iterator<Item = u64>> = match &filter.name {
        Some(name) => {
            let moves = site.store.index().view()?.history(name)?;
            if moves.is_empty() {
                return Err(cairn_store::Error::UnknownRef(name.to_string()).into());
            }
            Box::new(moves.into_iter().map(|(number, _)| number))
        }
        None => Box::new((1..=site.store.head()?.map_or(0, |head| head.number)).rev()),
    };
    let mut operations = Vec::new();
    for number in numbers {
        if filter.limit.is_some_and(|limit| operations.len() >= limit) {
            break;
        }
        let (id, operation) = operation(site, number)?;
        if filter.accepts(&operation, release.as_ref()) {
            operations.push((id, operation));
        }
    }
    Ok(operations)
}

impl LogFilter {
    /// Order comes from numbers and never from times, so no time ends the search.
    fn accepts(&self, operation: &Operation, release: Option<&ReleaseView<'_>>) -> bool {
        self.user.as_ref().is_none_or(|user| is_by(&operation.user, user))
            && self.since.is_none_or(|since| operation.time >= since)
            && self.until.is_none_or(|until| operation.time <= until)
            && (self.verbs.is_empty() || self.verbs.contains(&operation.verb))
            && release.is_none_or(|release| {
                operation.edits.iter().any(|edit| owns(release, edit.name.as_str()))
            })
    }
}

/// Returns whether a logged user, `mara` or `root (mara)`, is this one.
fn is_by(logged: &str, user: &str) -> bool {
    let (name, by) = logged.split_once(" (").unwrap_or((logged, ""));
    logged == user || name == user || by.strip_suffix(')') == Some(user)
}

/// Returns whether a ref is of a release, in whichever minor version.
///
/// What ends in the suffix of a channel that never gets to production is that channel's; all else
/// of the major is the channel's that does, because release candidates have had many suffixes.
fn owns(release: &ReleaseView<'_>, name: &str) -> bool {
    let of_major = |version: &str| {
        let end = version.find(|c: char| !c.is_ascii_digit()).unwrap_or(version.len());
        version[..end].parse() == Ok(release.major())
    };
    let parts: Vec<&str> = name.split('/').collect();
    match parts.as_slice() {
        ["compose", release_name, ..] => *release_name == release.name(),
        [_, "sig", version, ..] => release.channel().production && of_major(version),
        [_, tree] if of_major(tree) => {
            let mut channels = release.section().channels.values();
            let ends = |suffix: &str| !suffix.is_empty() && tree.ends_with(suffix);
            match channels.find(|channel| !channel.production && ends(&channel.staging_suffix)) {
                Some(channel) => channel.name == release.channel().name,
                None => release.channel().production,
            }
        }
        _ => false,
    }
}

/// Which end of a day a date alone means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// Its beginning.
    Begin,
    /// Its end.
    End,
}

/// Reads a time as people type it: RFC 3339, a date in UTC, or how long ago, such as `36h`.
///
/// # Errors
/// [`Error::Setting`] under `key`.
pub fn parse_when(key: &str, text: &str, edge: Edge) -> Result<jiff::Timestamp> {
    let wrong = || Error::Setting {
        key: key.to_owned(),
        reason: format!(
            "{text:?} is no time; write 2025-11-01T12:00:00Z, 2025-11-01, or how long ago: 36h, 7d"
        ),
    };
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time);
    }
    if let Ok(ago) = parse_duration(text) {
        return jiff::Timestamp::now().checked_sub(ago).map_err(|_| wrong());
    }
    let date: jiff::civil::Date = text.parse().map_err(|_| wrong())?;
    let time = match edge {
        Edge::Begin => date.at(0, 0, 0, 0),
        Edge::End => date.at(23, 59, 59, 999_999_999),
    };
    Ok(time.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?.timestamp())
}

/// An operation, as history names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Who {
    /// Its number.
    pub number: u64,
    /// Its id.
    pub id: OperationId,
    /// When.
    pub time: jiff::Timestamp,
    /// Who.
    pub user: String,
    /// Where.
    pub host: String,
    /// The verb.
    pub verb: String,
    /// Why, as `-m` said.
    pub reason: Option<String>,
}

fn operation(site: &Site, number: u64) -> Result<(OperationId, Operation)> {
    match site.store.log().read(number)? {
        Some(found) => Ok(found),
        None => Err(cairn_store::Error::Corrupt {
            subject: format!("log/{}", cairn_store::log::file_name(number)),
            reason: "the file is missing".to_owned(),
        }
        .into()),
    }
}

/// Operations and the roots of snapshots, each read once.
pub(crate) struct Reader<'a> {
    site: &'a Site,
    operations: HashMap<u64, (OperationId, Operation)>,
    roots: HashMap<SnapshotId, Option<DirEntry>>,
}

impl<'a> Reader<'a> {
    pub fn new(site: &'a Site) -> Self {
        Self { site, operations: HashMap::new(), roots: HashMap::new() }
    }

    fn operation(&mut self, number: u64) -> Result<&(OperationId, Operation)> {
        use std::collections::hash_map::Entry;
        match self.operations.entry(number) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => Ok(place.insert(operation(self.site, number)?)),
        }
    }

    /// Returns an operation as history names it.
    pub fn who(&mut self, number: u64) -> Result<Who> {
        let (id, operation) = self.operation(number)?;
        Ok(Who {
            number,
            id: *id,
            time: operation.time,
            user: operation.user.clone(),
            host: operation.host.clone(),
            verb: operation.verb.clone(),
            reason: operation.reason.clone(),
        })
    }

    /// Returns a snapshot's root; nothing if it was collected.
    pub fn root(&mut self, id: SnapshotId) -> Result<Option<DirEntry>> {
        if let Some(known) = self.roots.get(&id) {
            return Ok(*known);
        }
        let root = self.site.store.try_snapshot(&id)?.map(|snapshot| snapshot.root());
        self.roots.insert(id, root);
        Ok(root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_user_is_known_by_either_name() {
        for (logged, user, by) in [
            ("root (mara)", "mara", true),
            ("root (mara)", "root", true),
            ("root (mara)", "root (mara)", true),
            ("mara", "mara", true),
            ("marathon", "mara", false),
            ("root (mara)", "ara", false),
        ] {
            assert_eq!(is_by(logged, user), by, "{logged} by {user}");
        }
    }

    #[test]
    fn a_ref_belongs_to_one_release() {
        let places = crate::sample::Places::below(std::path::Path::new("/srv"));
        let config = Config::parse(&places.config(), std::path::Path::new("cairn.toml")).unwrap();
        let stable = config.release("9").unwrap();
        for (name, owned) in [
            ("compose/9/Rocky", true),
            ("compose/9-beta/Rocky", false),
            ("staging/9.7-RC2", true),
            ("staging/9.7-RC1", true),
            ("staging/9.8-beta", false),
            ("production/9.6", true),
            ("vault/9.5", true),
            ("production/10.1", false),
            ("production/sig/9/kernel", true),
            ("vault/sig/9.6/kernel", true),
            ("production/sig/10/kernel", false),
        ] {
            assert_eq!(owns(&stable, name), owned, "{name}");
        }
        let beta = config.release("9-beta").unwrap();
        assert!(owns(&beta, "staging/9.8-beta") && owns(&beta, "compose/9-beta/Rocky"));
        assert!(!owns(&beta, "production/9.7") && !owns(&beta, "production/sig/9/kernel"));
    }

    #[test]
    fn times_read_as_people_type_them() {
        let when = |text, edge| parse_when("--since", text, edge).unwrap().to_string();
        assert_eq!(when("2025-11-01", Edge::Begin), "2025-11-01T00:00:00Z");
        assert_eq!(when("2025-11-01", Edge::End), "2025-11-01T23:59:59.999999999Z");
        assert_eq!(when("2025-11-01T12:00:00+02:00", Edge::End), "2025-11-01T10:00:00Z");
        let ago = parse_when("--since", "1h", Edge::Begin).unwrap();
        assert!(ago < jiff::Timestamp::now());
        for bad in ["", "yesterday", "2025-13-01", "-1h"] {
            assert!(parse_when("--since", bad, Edge::Begin).is_err(), "{bad:?}");
        }
    }
}
