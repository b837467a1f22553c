//! When the store was last checked, and with what result: `fsck.last` in the store's directory.
//!
//! It is for whoever watches the store; no check reads it. It may be deleted at any time.

use std::path::Path;

use cairn_store::fs::Dir;
use cairn_store::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::{Level, Report, Severity};

const FILE: &[u8] = b"fsck.last";

/// How one check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// When it ended.
    pub time: jiff::Timestamp,
    /// How many findings of each severity it had; of a repair, those that are left.
    pub notices: u64,
    /// As above.
    pub warnings: u64,
    /// As above.
    pub damage: u64,
}

/// The last check of each level that came to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastChecks {
    /// The last quick check.
    pub quick: Option<Last>,
    /// The last full check.
    pub full: Option<Last>,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    #[serde(flatten)]
    checks: LastChecks,
}

/// Remembers that a check came to its end just now.
///
/// # Errors
/// The store's directory cannot be written to, which says nothing of the check.
pub fn remember(store: &Path, level: Level, report: &Report) -> Result<()> {
    let count = |severity| {
        report.findings.iter().filter(|finding| finding.severity == severity).count() as u64
    };
    let last = Last {
        time: jiff::Timestamp::now(),
        notices: count(Severity::Notice),
        warnings: count(Severity::Warning),
        damage: count(Severity::Damage),
    };
    // What cannot be read is replaced.
    let mut checks = last_checks(store).unwrap_or_default();
    match level {
        Level::Quick => checks.quick = Some(last),
        Level::Full => checks.full = Some(last),
    }
    let file = File { version: 1, checks };
    let mut text = serde_json::to_vec_pretty(&file).expect("a record is plain data");
    text.push(b'\n');
    Dir::open(store)?.replace(FILE, &text, 0o644)
}

/// Returns when the store was last checked, as far as that is recorded.
pub fn last_checks(store: &Path) -> Result<LastChecks> {
    let dir = Dir::open(store)?;
    let Some(text) = dir.try_read(FILE)? else { return Ok(LastChecks::default()) };
    let fail = |reason: String| {
        Error::corrupt(cairn_store::path::display(&dir.path_of(FILE)).to_string(), reason)
    };
    let file: File = serde_json::from_slice(&text).map_err(|error| fail(error.to_string()))?;
    match file.version {
        1 => Ok(file.checks),
        version => Err(fail(format!("version {version} is not known here"))),
    }
}
