//! Everything that reads bytes of others, each behind one function.
//!
//! A decoder takes any bytes and answers with what a caller would do with them: `Ok` where they are
//! accepted, the refusal's text where they are not. On the way it asserts what must hold whatever
//! the bytes are: what is accepted is written back and read as equal, nothing is larger than its
//! limit, every path stays below its root. A panic is a finding.
//!
//! Three things drive them: the property tests of the crates, the corpus in `tests/fuzz/corpus`,
//! which every `cargo test` replays, and cargo-fuzz, with one target for each name of [`ALL`].
//! The test kit makes the first of the corpus.

mod metadata;
#[cfg(feature = "site")]
mod site;
#[cfg(feature = "store")]
mod store;

pub use metadata::*;
#[cfg(feature = "site")]
pub use site::*;
#[cfg(feature = "store")]
pub use store::*;

/// What came of reading: accepted, or refused with a reason.
pub type Outcome = Result<(), String>;

/// A reader of outside bytes.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    /// Its name, which is also its fuzz target's and its corpus directory's.
    pub name: &'static str,
    /// Reads some bytes.
    pub read: fn(&[u8]) -> Outcome,
}

/// All decoders.
pub const ALL: &[Decoder] = &[
    #[cfg(feature = "store")]
    Decoder { name: "tree", read: tree },
    #[cfg(feature = "store")]
    Decoder { name: "snapshot", read: snapshot },
    #[cfg(feature = "store")]
    Decoder { name: "pack", read: pack },
    #[cfg(feature = "store")]
    Decoder { name: "operation", read: operation },
    #[cfg(feature = "store")]
    Decoder { name: "trees-json", read: trees_json },
    Decoder { name: "repomd", read: repomd },
    Decoder { name: "primary", read: primary },
    Decoder { name: "filelists", read: filelists },
    Decoder { name: "other", read: other },
    Decoder { name: "updateinfo", read: updateinfo },
    Decoder { name: "comps", read: comps },
    Decoder { name: "modules", read: modules },
    Decoder { name: "treeinfo", read: treeinfo },
    Decoder { name: "rpm-header", read: rpm_header },
    Decoder { name: "codec", read: codec },
    #[cfg(feature = "site")]
    Decoder { name: "config", read: config },
    #[cfg(feature = "site")]
    Decoder { name: "iso9660", read: iso9660 },
    #[cfg(feature = "site")]
    Decoder { name: "mirror-list", read: mirror_list },
    #[cfg(feature = "site")]
    Decoder { name: "bencode", read: bencode },
    #[cfg(feature = "store")]
    Decoder { name: "names", read: names },
];

/// Returns a refusal's text; there is always one.
fn refused(error: impl std::fmt::Display) -> String {
    let text = error.to_string();
    assert!(!text.is_empty(), "a refusal says why");
    text
}
