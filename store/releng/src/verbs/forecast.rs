//! The forecast of a rollback: what those lose who have the newer release.

use cairn_store::diff::diff;
use cairn_store::path::RelPath;
use cairn_store::tree::{DirEntry, Entry};
use serde::Serialize;

use crate::audit::{
    self, AdvisoryRow, Attention, Broken, Fate, Level, Options, SourceRow, State, StreamRow,
};
use crate::error::Result;
use crate::site::Site;

/// How many paths that mirrors will not notice are named.
const UNNOTICED: usize = 100;

/// What a rollback will mean to those who have what is live now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// Packages that go back to a lower version, by source package.
    pub back: Vec<SourceRow>,
    /// Packages that vanish, by source package.
    pub vanish: Vec<SourceRow>,
    /// Packages that come again, by source package.
    pub again: Vec<SourceRow>,
    /// Packages whose bytes change under the same version, by source package: clients that have
    /// them keep theirs.
    pub rebuilt: Vec<SourceRow>,
    /// Advisories that vanish, with the packages that fix them.
    pub advisories: Vec<AdvisoryRow>,
    /// Module streams that vanish.
    pub streams: Vec<StreamRow>,
    /// What else is seldom meant.
    pub attention: Vec<Attention>,
    /// What mirrors will do.
    pub mirrors: Mirrors,
    /// Repos that could not be compared.
    pub errors: Vec<String>,
}

/// What rsync, which looks at size and time, will do on a mirror that has what is live now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mirrors {
    /// Files that it will fetch.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that it will delete.
    pub deleted: u64,
    /// How many files have other content with the same size and time: it will keep the wrong one.
    pub unnoticed: u64,
    /// The first hundred of them.
    pub unnoticed_paths: Vec<RelPath>,
}

impl Forecast {
    /// Compares what is live with what will be.
    pub(super) fn between(site: &Site, now: &DirEntry, then: &DirEntry) -> Result<Self> {
        let open = |file: &_, path: &_| site.open_content(file, path);
        let options = Options { broken: Broken::Report, ..Options::default() };
        let (nodes, level) = (&site.store, Level::Everything);
        let audit = audit::compare(nodes, &open, Some(now), Some(then), level, &options)?;
        let errors = audit.errors();
        let sources = audit.sources.unwrap_or_default();
        let of = |fate| sources.iter().filter(|row| row.fate == fate).cloned().collect();
        // What is newer in the older release is seldom, and no loss.
        let [back, vanish, rebuilt, again] =
            [Fate::Downgraded, Fate::Removed, Fate::Rebuilt, Fate::Added].map(of);
        let gone = |state: State| state == State::Removed;
        let mut advisories = audit.advisories.unwrap_or_default();
        advisories.retain(|row| gone(row.state));
        advisories.sort_by_key(|row| std::cmp::Reverse(row.weight()));
        let mut streams = audit.modules.map(|modules| modules.streams).unwrap_or_default();
        streams.retain(|row| gone(row.state));
        let (attention, mirrors) = (audit.attention, Mirrors::between(site, now, then)?);
        Ok(Self { back, vanish, again, rebuilt, advisories, streams, attention, mirrors, errors })
    }
}

impl Mirrors {
    fn between(site: &Site, now: &DirEntry, then: &DirEntry) -> Result<Self> {
        let mut mirrors = Self::default();
        diff(&site.store, Some(now), Some(then), &mut |change| {
            match (&change.old, &change.new) {
                (Some(Entry::File(old)), Some(Entry::File(new))) => {
                    // rsync compares whole seconds.
                    match old.size == new.size && old.mtime.secs == new.mtime.secs {
                        false => mirrors.fetch(new.size),
                        true if old.object != new.object => {
                            mirrors.unnoticed += 1;
                            if mirrors.unnoticed_paths.len() < UNNOTICED {
                                mirrors.unnoticed_paths.push(change.path.clone());
                            }
                        }
                        true => {}
                    }
                }
                (_, Some(Entry::File(new))) => mirrors.fetch(new.size),
                (Some(Entry::File(_) | Entry::Symlink(_)), None) => mirrors.deleted += 1,
                (_, Some(Entry::Symlink(_) | Entry::Dir(_)) | None) => {}
            }
            Ok(())
        })?;
        Ok(mirrors)
    }

    fn fetch(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}
