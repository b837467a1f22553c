//! Links beside the releases: `latest-9` and `9.7` beside `9.7-RC2`, `9` beside `9.7`.
//!
//! Where a link leads is the value of a ref, whose name says where the link is:
//! `link/production/mirror/pub/rocky/9`. So it is logged, compared and rolled back as every ref is.

use super::{NameError, ReleaseView, view_for_ref};
use crate::config::{Config, Environment, is_component};

/// The first component of a link's ref.
const LINK: &str = "link";

/// A link that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Its ref, `link/staging/mirror/pub/rocky/latest-9`.
    pub ref_name: String,
    /// Name of the mount.
    pub mount: String,
    /// Path inside the mount.
    pub path: String,
    /// Where it leads: the name of the release's tree beside it.
    pub target: String,
}

/// Returns the links that lead to a release's tree of an environment.
///
/// One with the tree's own name is left out: a stable release without a staging suffix is called by
/// its version, and needs no link to itself. None for an environment that the release never gets
/// to, or whose mount is not configured.
///
/// # Errors
/// A name that cannot be one component of a path and of a ref.
pub fn links(release: &ReleaseView<'_>, environment: Environment) -> Result<Vec<Link>, NameError> {
    let channel = release.channel();
    let (templates, ref_name) = match environment {
        Environment::Staging => (&channel.staging_links, release.staging_ref()),
        Environment::Production if channel.production => {
            (&channel.production_links, release.production_ref()?)
        }
        Environment::Production | Environment::Vault => return Ok(Vec::new()),
    };
    let Some(view) = view_for_ref(release.config, &ref_name) else { return Ok(Vec::new()) };
    let (parent, target) = view.path.rsplit_once('/').unwrap_or(("", &view.path));
    let mut links = Vec::new();
    for template in templates {
        let name = release.expand(template, &[])?;
        // A ref's component begins with a letter or a digit, and has no plus sign.
        let begins = name.starts_with(|first: char| first.is_ascii_alphanumeric());
        if !begins || !is_component(&name) || name.contains('+') {
            return Err(NameError::BadName { name });
        }
        if name == target {
            continue;
        }
        let path = if parent.is_empty() { name } else { format!("{parent}/{name}") };
        links.push(Link {
            ref_name: format!("{LINK}/{}/{path}", view.mount),
            mount: view.mount.clone(),
            path,
            target: target.to_owned(),
        });
    }
    Ok(links)
}

/// Returns mount and path of the link whose ref this is; none for other refs, and for a mount that
/// is not configured.
pub fn link_of_ref<'r>(config: &Config, ref_name: &'r str) -> Option<(&'r str, &'r str)> {
    let (mount, path) = ref_name.strip_prefix(LINK)?.strip_prefix('/')?.split_once('/')?;
    config.mounts.contains_key(mount).then_some((mount, path))
}

/// Tells whether a link at this place to `target` is one that cairn may move: it leads to where a
/// release is seen, or was, in the same directory.
pub fn leads_to_a_release(config: &Config, mount: &str, path: &str, target: &str) -> bool {
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let there = if parent.is_empty() { target.to_owned() } else { format!("{parent}/{target}") };
    [Environment::Staging, Environment::Production].iter().any(|environment| {
        let view = view_for_ref(config, &format!("{environment}/{target}"));
        view.is_some_and(|view| view.mount == mount && view.path == there)
    })
}
