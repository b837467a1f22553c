//! What an interrupted full check had finished: `fsck.state` in the store's directory.
//!
//! A line of JSON that says of which check, then a line per unit of work in which nothing was
//! wrong. What was wrong is looked at again. The file may be lost or torn at any time; then more is
//! read again, and nothing else. It goes when a check ends.

use std::collections::HashSet;
use std::sync::Mutex;

use cairn_store::Result;
use cairn_store::fs::{Dir, OpenFile};
use serde::{Deserialize, Serialize};

const FILE: &[u8] = b"fsck.state";
/// How old an interrupted check may be to be gone on with: what it has read may have rotted since.
const MAX_AGE: jiff::SignedDuration = jiff::SignedDuration::from_hours(30 * 24);

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    store: String,
    started: jiff::Timestamp,
}

/// The state of one full check.
pub(crate) struct Resume<'a> {
    root: &'a Dir,
    done: HashSet<String>,
    /// Nothing where no state is kept.
    file: Option<Mutex<OpenFile>>,
    /// When the check began that this one goes on with.
    pub since: Option<jiff::Timestamp>,
}

impl<'a> Resume<'a> {
    /// Keeps no state: everything is looked at.
    pub fn none(root: &'a Dir) -> Self {
        Self { root, done: HashSet::new(), file: None, since: None }
    }

    /// Goes on with an interrupted check of this store, or begins a new one.
    pub fn open(root: &'a Dir, store: &str, restart: bool) -> Result<Self> {
        if restart {
            root.remove_if_there(FILE)?;
        }
        let now = jiff::Timestamp::now();
        let text = root.try_read(FILE)?.unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        // A torn last line is no unit's name.
        let mut lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let header = lines.next().and_then(|line| serde_json::from_str::<Header>(line).ok());
        let fits = |header: &Header| {
            header.version == 1
                && header.store == store
                && now.duration_since(header.started) < MAX_AGE
        };
        let (started, done) = match header.filter(fits) {
            Some(header) => (header.started, lines.map(str::to_owned).collect()),
            None => (now, HashSet::new()),
        };
        let mut resume = Self { root, done, file: None, since: None };
        resume.since = (!resume.done.is_empty()).then_some(started);
        let header = Header { version: 1, store: store.to_owned(), started };
        let mut text = serde_json::to_string(&header).expect("a header is plain data") + "\n";
        for unit in &resume.done {
            text += unit;
            text.push('\n');
        }
        // Who may not write in the store may check it all the same, without a state.
        if root.replace(FILE, text.as_bytes(), 0o600).is_ok()
            && let Ok(file) = root.append(FILE)
        {
            resume.file = Some(Mutex::new(file));
        }
        Ok(resume)
    }

    /// Returns whether the interrupted check has done this unit and found nothing wrong.
    pub fn is_done(&self, unit: &str) -> bool {
        self.done.contains(unit)
    }

    /// Remembers that nothing is wrong in this unit.
    pub fn finish(&self, unit: &str) {
        if let Some(file) = &self.file {
            let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            // What is not remembered is read again.
            let _ = file.write_all(format!("{unit}\n").as_bytes());
        }
    }

    /// Forgets everything: the check has come to its end.
    pub fn end(self) -> Result<()> {
        match self.file {
            Some(_) => self.root.remove_if_there(FILE).map(drop),
            None => Ok(()),
        }
    }
}
