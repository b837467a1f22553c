//! Parity with other tools: rpm, createrepo_c of two generations with its companions, and dnf.
//!
//! Each test says plainly what it did not test for want of a tool.

#![expect(
    clippy::disallowed_methods,
    reason = "a test: it runs other tools on real files and says which are missing"
)]

mod companions;
mod createrepo;
mod dnf;
mod packages;
mod raw;
mod repo;
mod rpm_itself;
mod tools;
