//! Where a trial keeps its things, and a configuration that says so.

use std::path::{Path, PathBuf};

/// The four places that a configuration names.
///
/// They may lie on one filesystem or on several; [`Places::below`] puts them side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The compose root, which [`first`](super::first) and [`second`](super::second) write to.
    pub compose: PathBuf,
    /// The store: log, packs, index.
    pub store: PathBuf,
    /// The staging mount.
    pub staging: PathBuf,
    /// The production mount.
    pub production: PathBuf,
}

impl Places {
    /// Puts all four below one directory: `compose`, `store`, `staging`, `production`.
    pub fn below(root: &Path) -> Self {
        Self {
            compose: root.join("compose"),
            store: root.join("store"),
            staging: root.join("staging"),
            production: root.join("production"),
        }
    }

    /// Returns a TOML configuration for release 9 in these places.
    ///
    /// No owner is set and no key signs: it is for trying out, by anybody.
    /// TOML is UTF-8, so other bytes in a path are lost.
    pub fn config(&self) -> String {
        let Self { compose, store, staging, production } = self;
        format!(
            r#"# A small release to try cairn on.
[store]
path = {store}

[compose]
root = {compose}

[mounts.staging]
path = {staging}

[mounts.production]
path = {production}

# Nothing is signed here, and the sample's update takes a package back to an older version.
[gate.production]
require = ["repodata", "files-exist", "treeinfo"]

[release.9]
category = "rocky"
arches = ["x86_64", "aarch64"]
composes = ["Rocky"]
iso_types = ["BaseOS", "Minimal"]
repos = {{ plain = [], comps = ["BaseOS", "AppStream", "CRB"], modules = ["AppStream"] }}
channel.stable = {{ version = "9.7", previous = "9.6", staging_suffix = "-RC2", production_links = [] }}
channel.beta = {{ version = "9.8", previous = "9.7", staging_suffix = "-beta", compose_suffix = "-beta", vault = false }}
channel.lookahead = {{ aliases = ["lh"], version = "9.8", previous = "9.7", staging_suffix = "-LookAhead", compose_suffix = "-LookAhead", vault = false }}
"#,
            store = quoted(store),
            compose = quoted(compose),
            staging = quoted(staging),
            production = quoted(production),
        )
    }
}

/// Returns a TOML configuration for release 9 with everything below `root`.
///
/// The compose root is `root/compose`; see [`Places::below`] for the rest.
pub fn config(root: &Path) -> String {
    Places::below(root).config()
}

/// A TOML string.
fn quoted(path: &Path) -> String {
    toml::Value::String(path.to_string_lossy().into_owned()).to_string()
}
