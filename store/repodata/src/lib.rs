//! RPM metadata: bytes in, records out, bytes out.
//!
//! This crate reads and writes everything under a `repodata/` directory: `repomd.xml`, the package
//! lists (`primary`, `filelists`, `other`), comps, advisories, modules, and the RPM headers they
//! are made from. It owns no file: a caller opens, this crate parses. Nothing is printed.
//!
//! What holds everywhere:
//!
//! * Outside data never panics. Every refusal is an [`Error`] that names the file and the reason.
//! * Memory is bounded by constants in [`limits`], whatever a file claims about itself.
//! * Output is deterministic: the same records give the same bytes.
//! * MD5 and SHA-1 are not accepted as proof of content.

pub mod checksum;
pub mod codec;
pub mod comps;
pub mod error;
pub mod filelists;
pub mod header;
pub mod href;
pub mod limits;
mod list;
mod lists;
pub mod merge;
pub mod modules;
pub mod other;
mod pool;
pub mod primary;
pub mod repomd;
mod segments;
pub mod treeinfo;
pub mod updateinfo;
pub mod vercmp;
pub mod write;
mod xml;

pub use checksum::{Checksum, ChecksumType};
pub use error::{Error, HrefFault, Result};
pub use href::resolve_href;
pub use vercmp::{Evr, Nevra, rpmvercmp};
