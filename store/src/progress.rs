//! How a verb tells its caller what it does, and learns that it should stop.

use std::fmt;
use std::sync::Arc;

/// Watches a verb at work. All methods may be called from several threads.
pub trait Observer: Sync {
    /// A stage of the work begins: so many files and bytes are ahead, 0 where nobody knows.
    fn begin(&self, _stage: &str, _files: u64, _bytes: u64) {}
    /// Some of it is done.
    fn advance(&self, _files: u64, _bytes: u64) {}
    /// Something that the operator should know, as a sentence.
    fn note(&self, _sentence: &str) {}
    /// Whether the operator wants to stop; asked between files and
    /// within large ones.
    fn interrupted(&self) -> bool {
        false
    }
}

impl<T: Observer + Send + ?Sized> Observer for Arc<T> {
    fn begin(&self, stage: &str, files: u64, bytes: u64) {
        (**self).begin(stage, files, bytes);
    }
    fn advance(&self, files: u64, bytes: u64) {
        (**self).advance(files, bytes);
    }
    fn note(&self, sentence: &str) {
        (**self).note(sentence);
    }
    fn interrupted(&self) -> bool {
        (**self).interrupted()
    }
}

/// Who watches what no verb is at work on yet: an index that is built anew, a wait for a lock.
#[derive(Clone, Default)]
pub struct Watcher(Option<Arc<dyn Observer + Send>>);

impl Watcher {
    /// Makes a watcher of an observer.
    pub fn new(observer: Arc<dyn Observer + Send>) -> Self {
        Self(Some(observer))
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Watcher" } else { "nobody" })
    }
}

impl Observer for Watcher {
    fn begin(&self, stage: &str, files: u64, bytes: u64) {
        self.0.iter().for_each(|observer| observer.begin(stage, files, bytes));
    }
    fn advance(&self, files: u64, bytes: u64) {
        self.0.iter().for_each(|observer| observer.advance(files, bytes));
    }
    fn note(&self, sentence: &str) {
        self.0.iter().for_each(|observer| observer.note(sentence));
    }
    fn interrupted(&self) -> bool {
        self.0.as_ref().is_some_and(|observer| observer.interrupted())
    }
}

/// Watches nothing.
pub struct Silent;

impl Observer for Silent {}
