//! Release engineering policy: configuration, names, recipes, lists and audit.
//!
//! What a release, a compose or a mirror list *means* lives here; how bytes are kept and
//! published lives in `cairn-store`, how RPM metadata reads in `cairn-repodata`.

mod ask;
pub mod audit;
mod closure;
pub mod compose;
pub mod config;
pub mod content;
pub mod digests;
pub mod error;
pub mod evidence;
pub mod gates;
pub mod history;
pub mod hooks;
pub mod import;
pub mod links;
pub mod lists;
pub mod media;
mod minor;
pub mod mirror;
pub mod names;
mod program;
pub mod report;
pub mod repos;
#[cfg(any(test, feature = "sample"))]
pub mod sample;
pub mod signing;
pub mod site;
pub mod toolkit;
pub mod torrent;
pub mod verbs;

pub use error::{Error, Result};
pub use site::Site;
