//! A look at a store that changes nothing: for completions, which run with every press of a key.
//!
//! It opens the index only to read, takes no lock, recovers nothing and does not catch up with the
//! log, so it says what the last command said. A store that is not there, or that only a command
//! could put right, is nothing to look at, and no error.

use std::path::Path;

use crate::error::Result;
use crate::fs::Dir;
use crate::index::{Index, View};
use crate::log::{Log, Operation};

/// What a store's index and log say.
pub struct Peek {
    index: Index,
    log: Log,
}

impl Peek {
    /// Opens what there is to look at; nothing where there is no index that may just be read.
    pub fn open(store: &Path) -> Option<Self> {
        let root = Dir::open(store).ok()?;
        let log = Log::new(root.dir(b"log").ok()?);
        let index = Index::open_to_read(&root.path_of(crate::store::INDEX.as_bytes())).ok()?;
        Some(Self { index, log })
    }

    /// Starts to read the index.
    ///
    /// # Errors
    /// An index that cannot be read.
    pub fn view(&self) -> Result<View> {
        self.index.view()
    }

    /// Returns an operation, or nothing if there is none with this number.
    ///
    /// # Errors
    /// One that cannot be read.
    pub fn operation(&self, number: u64) -> Result<Option<Operation>> {
        Ok(self.log.read(number)?.map(|(_, operation)| operation))
    }

    /// Returns up to `count` operations, newest first.
    ///
    /// # Errors
    /// An index or an operation that cannot be read.
    pub fn newest(&self, count: u64) -> Result<Vec<Operation>> {
        let last = self.view()?.head()?.map_or(0, |head| head.number);
        let first = last.saturating_sub(count) + 1;
        let mut operations = Vec::new();
        for number in (first..=last).rev() {
            operations.extend(self.operation(number)?);
        }
        Ok(operations)
    }
}
