//! Refs and revisions: the names that people give to snapshots.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::SnapshotId;

/// The shortest prefix of a snapshot id that a revision may be.
const MIN_PREFIX: usize = 8;
/// The longest ref name, so that it also fits a file name when escaped.
const MAX_LEN: usize = 200;

/// A mutable name for a snapshot: `production/9.7`.
///
/// Components are letters, digits, `.`, `_` and `-`, begin with a letter or a digit, and are
/// joined by `/`. Such a name needs no escaping in a shell, a URL or a file list.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RefName(String);

impl RefName {
    /// Parses a ref name.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        match Self::fault(&name) {
            None => Ok(Self(name)),
            Some(reason) => Err(Error::BadRefName { name, reason }),
        }
    }

    fn fault(name: &str) -> Option<&'static str> {
        if name.len() > MAX_LEN {
            return Some("it is longer than 200 bytes");
        }
        for part in name.split('/') {
            let mut bytes = part.bytes();
            match bytes.next() {
                None => return Some("a component is empty"),
                Some(first) if !first.is_ascii_alphanumeric() => {
                    return Some("a component must begin with a letter or a digit");
                }
                Some(_) => {}
            }
            if bytes.any(|b| !b.is_ascii_alphanumeric() && !b"._-".contains(&b)) {
                return Some("only letters, digits, '.', '_' and '-' are allowed");
            }
        }
        None
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name as one file name: `/` becomes `+`, which no ref name contains.
    pub fn file_name(&self) -> String {
        self.0.replace('/', "+")
    }

    /// Returns the ref whose file name this is, if it is one's.
    pub fn from_file_name(name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok().filter(|name| !name.contains('/'))?;
        Self::new(name.replace('+', "/")).ok()
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RefName({})", self.0)
    }
}

impl TryFrom<String> for RefName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::new(name)
    }
}

impl From<RefName> for String {
    fn from(name: RefName) -> Self {
        name.0
    }
}

/// A way to name a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rev {
    /// What the ref names now.
    Ref(RefName),
    /// What the ref named n publications ago.
    Before(RefName, u64),
    /// What the ref named at this time.
    At(RefName, jiff::Timestamp),
    /// A snapshot by its id.
    Snapshot(SnapshotId),
    /// A snapshot by the first hex digits of its id.
    Prefix(String),
}

impl Rev {
    /// Parses `REF`, `REF~N`, `REF@TIME`, a snapshot id or a prefix of one.
    ///
    /// TIME is RFC 3339 with a zone; a date alone means the end of that day in UTC.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = |reason: String| Error::UnknownRev { rev: text.to_owned(), reason };
        if let Some((name, time)) = text.split_once('@') {
            return Ok(Rev::At(RefName::new(name)?, parse_time(time).map_err(bad)?));
        }
        if let Some((name, count)) = text.split_once('~') {
            let count = if count.is_empty() { Ok(1) } else { count.parse() };
            let count = count.map_err(|_| bad("what follows ~ is not a number".into()))?;
            return Ok(Rev::Before(RefName::new(name)?, count));
        }
        let hex = text.len() >= MIN_PREFIX
            && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match SnapshotId::from_hex(text) {
            Some(id) => Ok(Rev::Snapshot(id)),
            None if hex && text.len() < 64 => Ok(Rev::Prefix(text.to_owned())),
            None => Ok(Rev::Ref(RefName::new(text)?)),
        }
    }
}

fn parse_time(text: &str) -> std::result::Result<jiff::Timestamp, String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time);
    }
    let date: jiff::civil::Date = text.parse().map_err(|_| {
        format!("{text:?} is neither a date nor a time such as 2025-11-01T12:00:00Z")
    })?;
    let end = date.at(23, 59, 59, 999_999_999).to_zoned(jiff::tz::TimeZone::UTC);
    end.map(|zoned| zoned.timestamp()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ref_names_need_no_escaping_anywhere() {
        for good in ["compose/9/Rocky", "staging/9.7-RC2", "production/sig/9/kernel", "x"] {
            assert_eq!(RefName::new(good).unwrap().as_str(), good);
        }
        for bad in
            ["", "/a", "a/", "a//b", "a/../b", ".a", "-a", "a b", "a\n", "ä", "a~1", "a@b", "a+b"]
        {
            assert!(RefName::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(RefName::new("production/9.7").unwrap().file_name(), "production+9.7");
    }

    #[test]
    fn revisions_read_as_documented() {
        let name = RefName::new("production/9.7").unwrap();
        let id = SnapshotId::of(b"x");
        for (text, rev) in [
            ("production/9.7".to_owned(), Rev::Ref(name.clone())),
            ("production/9.7~".to_owned(), Rev::Before(name.clone(), 1)),
            ("production/9.7~3".to_owned(), Rev::Before(name.clone(), 3)),
            (
                "production/9.7@2025-11-01T12:00:00Z".to_owned(),
                Rev::At(name.clone(), jiff::Timestamp::from_second(1_761_998_400).unwrap()),
            ),
            (id.to_string(), Rev::Snapshot(id)),
            (id.to_string()[..8].to_owned(), Rev::Prefix(id.to_string()[..8].to_owned())),
        ] {
            assert_eq!(Rev::parse(&text).unwrap(), rev, "{text}");
        }
        for bad in ["", "production/9.7~x", "production/9.7@yesterday", "~1", "a b"] {
            assert!(Rev::parse(bad).is_err(), "{bad:?}");
        }
    }
}
