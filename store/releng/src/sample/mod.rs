//! A small release to try cairn on: composes with real packages and real repodata.
//!
//! [`Compose`] describes a compose and writes it, laid out as pungi and empanadas lay theirs
//! out. [`first`] and [`second`] write two that are ready: a release and its first update, with
//! one of everything that an update can do ([`UPGRADED`], [`ADDED`], [`REMOVED`],
//! [`DOWNGRADED`], [`REBUILT`]). [`config`] is a configuration to use them with.
//!
//! The packages are real: rpm accepts and dnf installs them. So are the installation images, which
//! [`iso`] makes. Nothing depends on the clock, the
//! umask or chance: two writes are equal to the last byte and the last second of mtime, but for
//! the inode numbers. Architectures are `x86_64` and `aarch64`, variants `BaseOS`, `AppStream`
//! and `CRB`.
//!
//! This module makes input. It is not the store: it writes with `std::fs`, does not sync, and
//! leaves what it has written when it fails.

#![expect(
    clippy::disallowed_methods,
    reason = "it makes input for the store, and is not the store"
)]

mod compose;
mod disk;
mod error;
mod iso;
mod layout;
mod metadata;
mod package;
mod places;
mod ready;
mod release;
mod repodata;

pub use compose::{Compose, Status, Written};
pub use error::Error;
pub use iso::iso;
pub use package::Package;
pub use places::{Places, config};
pub use ready::{ADDED, DOWNGRADED, REBUILT, REMOVED, UPGRADED, first, second};
pub use release::{Advisory, Module};

#[cfg(test)]
mod tests;
