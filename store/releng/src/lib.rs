//! Release engineering policy: configuration, names, recipes, lists and audit.
//!
//! What a release, a compose or a mirror list *means* lives here; how bytes are kept and
//! published lives in `cairn-store`, how RPM metadata reads in `cairn-repodata`.

pub mod config;
pub mod names;
pub mod sample;
