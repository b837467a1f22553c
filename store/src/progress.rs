//! How a verb tells its caller what it does, and learns that it should stop.

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

/// Watches nothing.
pub struct Silent;

impl Observer for Silent {}
