//! The programs that read what cairn publishes, and servers for them to read from.

mod dnf;
mod http;
mod rpm;
mod rsync;

pub use dnf::{Dnf, dnf_download};
pub use http::{HttpServer, Request};
pub use rpm::{createrepo, rpm_check};
pub use rsync::{RsyncDaemon, rsync};

#[cfg(test)]
mod tests;
