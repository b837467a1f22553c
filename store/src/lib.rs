//! The mechanism of cairn: bytes, names, trees, log, pools and atomic publishing.
//!
//! It knows nothing of packages, distributions or environments and prints nothing. Inside,
//! things depend downwards only: verbs ([`ingest`], [`diff`], [`publish`], [`link`], [`gc`]) on [`store`], [`log`]
//! and [`index`], those on [`tree`] and [`snapshot`], those on [`pool`], those on [`fs`],
//! [`hang`] and [`fault`], those on [`id`], [`path`] and [`error`].

mod cache;
pub mod diff;
pub mod error;
pub mod fault;
pub mod fs;
pub mod gc;
pub mod hang;
pub mod id;
pub mod index;
pub mod ingest;
pub mod link;
pub mod lock;
pub mod log;
pub mod mount;
pub mod pack;
pub mod path;
pub mod peek;
pub mod pool;
pub mod progress;
pub mod publish;
pub mod refs;
pub mod snapshot;
pub mod store;
pub mod transform;
pub mod tree;

pub use error::{Error, Result};
pub use store::Store;
