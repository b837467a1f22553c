//! Names of releases and where their refs and views are.
//!
//! Owns the scheme: which ref a release stages to, what it is called in production, where that is
//! seen on a mount, and back again. A name that is not configured is an error that lists the
//! configured ones; there is no default and no empty name. Ref names are plain text here, and
//! nothing touches a disk.

use std::fmt;

use crate::config::{
    Channel, Config, Environment, ReleaseSection, Template, TemplateError, Version, is_component,
    plain_number,
};

mod guess;
mod links;
mod sigs;

#[cfg(test)]
mod tests;

pub use guess::{ComposeGuess, guess_compose, guess_compose_ref};
pub use links::{Link, leads_to_a_release, link_of_ref, links};

/// Why a name leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// No such release is configured.
    #[error("unknown release {name:?}; known: {}", known.join(", "))]
    UnknownRelease {
        /// What was asked for.
        name: String,
        /// The configured releases, with their channels.
        known: Vec<String>,
    },
    /// The channel never gets to this environment.
    #[error("release {release}: channel {channel} never gets to {environment}")]
    Refused {
        /// The release, `9-beta`.
        release: String,
        /// Its channel, `beta`.
        channel: String,
        /// Where it would have gone.
        environment: Environment,
    },
    /// The channel carries no SIGs; they belong to a release that is in production.
    #[error("release {release}: channel {channel} has no sigs")]
    NoSigs {
        /// The release, `9-beta`.
        release: String,
        /// Its channel, `beta`.
        channel: String,
    },
    /// No such SIG or SIG compose is configured.
    #[error("release {release}: unknown sig {name:?}; known: {}", known.join(", "))]
    UnknownSig {
        /// The release.
        release: String,
        /// What was asked for.
        name: String,
        /// The SIG composes and SIGs of the release.
        known: Vec<String>,
    },
    /// The SIG is there, and has no such compose.
    #[error("release {release}: sig {sig} has no compose {name:?}; it has: {}", known.join(", "))]
    UnknownSigCompose {
        /// The release.
        release: String,
        /// The SIG.
        sig: String,
        /// What was asked for.
        name: String,
        /// Its composes, by their short names.
        known: Vec<String>,
    },
    /// The text cannot be a compose's short name, or another component of a ref.
    #[error("{name:?} is not a name")]
    BadName {
        /// The text.
        name: String,
    },
    /// A template of the configuration needs a value that there is none of here.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// A release as it is typed: `9`, `9-beta`, `9-lookahead`; aliases are resolved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    /// The major release.
    pub major: u32,
    /// Name of the channel; `stable` is what a bare major means.
    pub channel: String,
}

impl Release {
    /// Parses a configured release, by its channel's name or by an alias.
    pub fn parse(text: &str, config: &Config) -> Result<Release, NameError> {
        Ok(config.release(text)?.release())
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.channel.as_str() {
            STABLE => write!(f, "{}", self.major),
            channel => write!(f, "{}-{channel}", self.major),
        }
    }
}

/// The channel that a bare major means.
const STABLE: &str = "stable";

/// The category of SIGs, which always exists.
const SIG: &str = "sig";

/// A ref, and where on a mount it is seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewSpec {
    /// Name of the ref, `production/9.7`.
    pub ref_name: String,
    /// Name of the mount, `production`.
    pub mount: String,
    /// Path inside the mount, `mirror/pub/rocky/9.7`.
    pub path: String,
}

/// A SIG of a release, and the composes that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigView {
    /// Name of the SIG, the last component of its refs and views.
    pub sig: String,
    /// Short names of the composes (`kernel` of `SIG-kernel`) with their project in the SIG.
    pub composes: Vec<(String, String)>,
    /// `staging/sig/9/kernel`.
    pub staging_ref: String,
    /// `production/sig/9/kernel`.
    pub production_ref: String,
    /// `vault/sig/9.7/kernel`, for the version that the channel makes.
    pub vault_ref: String,
    /// `vault/sig/9.6/kernel`, for the version before.
    pub previous_vault_ref: Option<String>,
}

impl SigView {
    /// Returns the ref of a compose of this SIG: `compose/9/SIG-kernel`.
    pub fn compose_ref(&self, release: &ReleaseView<'_>, short: &str) -> Result<String, NameError> {
        release.compose_ref(&sig_compose(short))
    }
}

/// Returns the short name that a SIG's compose goes by: `kernel` → `SIG-kernel`.
pub fn sig_compose(short: &str) -> String {
    format!("SIG-{short}")
}

/// A configured release: a major in one of its channels.
#[derive(Clone, Copy, Debug)]
pub struct ReleaseView<'c> {
    config: &'c Config,
    section: &'c ReleaseSection,
    channel: &'c Channel,
}

impl Config {
    /// Returns the release that `9`, `9-beta` or `9-lh` names.
    pub fn release(&self, text: &str) -> Result<ReleaseView<'_>, NameError> {
        let (major, name) = text.split_once('-').unwrap_or((text, STABLE));
        let found = plain_number(major).and_then(|major| {
            let section = self.releases.get(&major)?;
            let called = |channel: &&Channel| {
                channel.name == name || channel.aliases.iter().any(|alias| alias == name)
            };
            let channel = section.channels.values().find(called)?;
            Some(ReleaseView { config: self, section, channel })
        });
        found.ok_or_else(|| NameError::UnknownRelease {
            name: text.to_owned(),
            known: self.release_views().iter().map(ReleaseView::name).collect(),
        })
    }

    /// Returns the release and version that `9` or `9.6` means to a verb that accepts old ones.
    ///
    /// A version belongs to the first channel that gets to production.
    pub fn release_at(&self, text: &str) -> Result<(ReleaseView<'_>, Version), NameError> {
        if let Ok(version) = Version::parse(text) {
            let mut views = self.release_views().into_iter();
            let owns = |view: &ReleaseView<'_>| {
                view.section.major == version.major && view.channel.production
            };
            if let Some(view) = views.find(owns) {
                return Ok((view, version));
            }
        }
        self.release(text).map(|view| (view, view.version()))
    }

    /// Returns every configured release, by major, stable first.
    pub fn release_views(&self) -> Vec<ReleaseView<'_>> {
        let mut views = Vec::new();
        for section in self.releases.values() {
            let stable = section.channels.get(STABLE).into_iter();
            let others = section.channels.values().filter(|channel| channel.name != STABLE);
            let view = |channel| ReleaseView { config: self, section, channel };
            views.extend(stable.chain(others).map(view));
        }
        views
    }
}

impl<'c> ReleaseView<'c> {
    /// Returns the release as an owned name.
    pub fn release(&self) -> Release {
        Release { major: self.section.major, channel: self.channel.name.clone() }
    }

    /// Returns the name as it is typed: `9`, `9-beta`.
    pub fn name(&self) -> String {
        self.release().to_string()
    }

    /// Returns the major.
    pub fn major(&self) -> u32 {
        self.section.major
    }

    /// Returns the version that the channel makes.
    pub fn version(&self) -> Version {
        self.channel.version
    }

    /// Returns the configuration of the channel.
    pub fn channel(&self) -> &'c Channel {
        self.channel
    }

    /// Returns the configuration of the major.
    pub fn section(&self) -> &'c ReleaseSection {
        self.section
    }

    /// Returns the name of the staging tree: `9.7-RC2`.
    pub fn staging_name(&self) -> String {
        format!("{}{}", self.channel.version, self.channel.staging_suffix)
    }

    /// Returns `staging/9.7-RC2`.
    pub fn staging_ref(&self) -> String {
        format!("staging/{}", self.staging_name())
    }

    /// Returns `production/9.7`: the staging name cut at its first `-`.
    pub fn production_ref(&self) -> Result<String, NameError> {
        self.permit(Environment::Production)?;
        let staging = self.staging_name();
        let name = staging.split_once('-').map_or(staging.as_str(), |(name, _)| name);
        Ok(format!("production/{name}"))
    }

    /// Returns `vault/9.7`, for the version that the channel makes.
    pub fn vault_ref(&self) -> Result<String, NameError> {
        self.vault_ref_of(self.channel.version)
    }

    /// Returns `vault/9.6` for any version of the major.
    pub fn vault_ref_of(&self, version: Version) -> Result<String, NameError> {
        self.permit(Environment::Vault)?;
        Ok(format!("vault/{version}"))
    }

    /// Returns the ref that a compose is ingested as: `compose/9/Rocky`, `compose/9-beta/Rocky`.
    pub fn compose_ref(&self, short: &str) -> Result<String, NameError> {
        Ok(format!("compose/{}/{}", self.name(), component(short)?))
    }

    /// Returns the directory of a compose, usually a `latest-` link.
    pub fn compose_path(&self, short: &str) -> Result<String, NameError> {
        self.expand(&self.config.compose.path, &[("compose", component(short)?)])
    }

    /// Returns the comps file of a repo in a compose.
    ///
    /// `dir` is where the compose is; if it is not known, it is [`ReleaseView::compose_path`].
    pub fn comps_path(
        &self,
        short: &str,
        dir: Option<&str>,
        arch: &str,
        repo: &str,
    ) -> Result<String, NameError> {
        self.in_compose(&self.config.compose.comps, short, dir, arch, repo)
    }

    /// Returns the modules.yaml of a repo.
    ///
    /// `dir` as in [`ReleaseView::comps_path`].
    pub fn modules_path(
        &self,
        short: &str,
        dir: Option<&str>,
        arch: &str,
        repo: &str,
    ) -> Result<String, NameError> {
        self.in_compose(&self.config.compose.modules, short, dir, arch, repo)
    }

    /// Expands a template of the configuration with what the release knows and `values`.
    ///
    /// The release knows root, major, version, version_us, channel, release and compose_suffix.
    pub fn expand(
        &self,
        template: &Template,
        values: &[(&str, &str)],
    ) -> Result<String, NameError> {
        let major = self.section.major.to_string();
        let version = self.channel.version.to_string();
        let underscored = self.channel.version.underscored();
        let name = self.name();
        let mut all = values.to_vec();
        all.extend([
            ("root", self.config.compose.root.as_str()),
            ("major", &major),
            ("version", &version),
            ("version_us", &underscored),
            ("channel", &self.channel.name),
            ("release", &name),
            ("compose_suffix", &self.channel.compose_suffix),
        ]);
        Ok(template.expand(&all)?)
    }

    /// Returns a SIG by the short name of one of its composes, else by its own name.
    pub fn sig(&self, name: &str) -> Result<SigView, NameError> {
        if !self.channel.production {
            let (release, channel) = (self.name(), self.channel.name.clone());
            return Err(NameError::NoSigs { release, channel });
        }
        let sigs = &self.section.sigs;
        if let Some(compose) = sigs.get(name) {
            return Ok(
                self.sig_view(&compose.sig, vec![(name.to_owned(), compose.project.clone())])
            );
        }
        let of_sig = sigs.iter().filter(|(_, compose)| compose.sig == name);
        let composes: Vec<_> =
            of_sig.map(|(short, compose)| (short.clone(), compose.project.clone())).collect();
        if !composes.is_empty() {
            return Ok(self.sig_view(name, composes));
        }
        let mut known: Vec<String> = sigs.keys().cloned().chain(self.sig_names()).collect();
        known.sort();
        known.dedup();
        Err(NameError::UnknownSig { release: self.name(), name: name.to_owned(), known })
    }

    /// Returns the names of the release's SIGs, sorted; none for a channel without production.
    pub fn sig_names(&self) -> Vec<String> {
        if !self.channel.production {
            return Vec::new();
        }
        let mut names: Vec<_> = self.section.sigs.values().map(|sig| sig.sig.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    fn sig_view(&self, sig: &str, composes: Vec<(String, String)>) -> SigView {
        let (major, channel) = (self.section.major, self.channel);
        SigView {
            sig: sig.to_owned(),
            composes,
            staging_ref: format!("staging/sig/{major}/{sig}"),
            production_ref: format!("production/sig/{major}/{sig}"),
            vault_ref: format!("vault/sig/{}/{sig}", channel.version),
            previous_vault_ref: channel.previous.map(|old| format!("vault/sig/{old}/{sig}")),
        }
    }

    fn in_compose(
        &self,
        template: &Template,
        short: &str,
        dir: Option<&str>,
        arch: &str,
        repo: &str,
    ) -> Result<String, NameError> {
        let compose_dir = dir.map_or_else(|| self.compose_path(short), |dir| Ok(dir.to_owned()))?;
        let values =
            [("compose", short), ("compose_dir", &compose_dir), ("arch", arch), ("repo", repo)];
        self.expand(template, &values)
    }

    fn permit(&self, environment: Environment) -> Result<(), NameError> {
        let permitted = match environment {
            Environment::Staging => true,
            Environment::Production => self.channel.production,
            Environment::Vault => self.channel.vault,
        };
        if permitted {
            return Ok(());
        }
        let (release, channel) = (self.name(), self.channel.name.clone());
        Err(NameError::Refused { release, channel, environment })
    }

    /// Returns the release's refs that have a view, each with the last part of the key that it
    /// follows from.
    fn published_refs(&self) -> Vec<(String, &'static str)> {
        let mut refs = vec![(self.staging_ref(), "staging_suffix")];
        refs.extend(self.production_ref().map(|name| (name, "version")));
        let versions =
            [(Some(self.channel.version), "version"), (self.channel.previous, "previous")];
        for (version, key) in versions {
            let Some(version) = version else { continue };
            refs.extend(self.vault_ref_of(version).map(|name| (name, key)));
        }
        for sig in self.sig_names() {
            let view = self.sig_view(&sig, Vec::new());
            refs.push((view.staging_ref, SIGS));
            refs.push((view.production_ref, SIGS));
            if self.channel.vault {
                refs.push((view.vault_ref, SIGS));
                refs.extend(view.previous_vault_ref.map(|name| (name, SIGS)));
            }
        }
        refs
    }
}

/// The key of a release's SIGs.
const SIGS: &str = "sigs";

/// Returns every ref that the configuration can publish, with its place, sorted by ref.
///
/// A ref whose mount is not configured has no view.
pub fn views(config: &Config) -> Vec<ViewSpec> {
    let mut views: Vec<_> = views_with_keys(config).into_iter().map(|(view, _)| view).collect();
    views.sort();
    views
}

/// Returns the views in the order of the releases, each with the key that it follows from.
///
/// A staging or production ref that two channels of a release give appears twice; vault and SIG
/// refs are shared by design and appear once.
pub(crate) fn views_with_keys(config: &Config) -> Vec<(ViewSpec, Vec<String>)> {
    let mut views: Vec<(ViewSpec, Vec<String>)> = Vec::new();
    for release in config.release_views() {
        let major = release.major().to_string();
        for (ref_name, last) in release.published_refs() {
            let shared = last == SIGS || ref_name.starts_with("vault/");
            if shared && views.iter().any(|(view, _)| view.ref_name == ref_name) {
                continue;
            }
            let Some(view) = view_for_ref(config, &ref_name) else { continue };
            let key = match last {
                SIGS => vec!["release", &major, SIGS],
                last => vec!["release", &major, "channel", &release.channel.name, last],
            };
            views.push((view, key.into_iter().map(str::to_owned).collect()));
        }
    }
    views
}

/// Returns where a ref is seen, also for versions and SIGs that are no longer configured.
///
/// None for a ref that is only kept (`compose/9/Rocky`), of an unknown major, outside the scheme,
/// or whose mount is not configured.
pub fn view_for_ref(config: &Config, ref_name: &str) -> Option<ViewSpec> {
    let parts: Vec<&str> = ref_name.split('/').collect();
    let (environment, rest) = parts.split_first()?;
    let environment = Environment::parse(environment).ok()?;
    let (major, path) = match (environment, rest) {
        (Environment::Staging, [name]) => {
            let version = name.split_once('-').map_or(*name, |(version, _)| version);
            let major = Version::parse(version).ok()?.major;
            (major, format!("{}/{}", pub_path(config, major)?, component(name).ok()?))
        }
        (Environment::Production, [name]) => {
            let major = Version::parse(name).ok()?.major;
            (major, format!("{}/{name}", pub_path(config, major)?))
        }
        (Environment::Vault, [name]) => {
            let major = Version::parse(name).ok()?.major;
            let category = &config.releases.get(&major)?.category;
            (major, format!("{}/{name}", config.category.get(category)?.vault_path))
        }
        (Environment::Staging | Environment::Production, [SIG, major, sig]) => {
            let parent = &config.category.get(SIG)?.pub_path;
            (plain_number(major)?, format!("{parent}/{major}/{}", component(sig).ok()?))
        }
        (Environment::Vault, [SIG, version, sig]) => {
            let parent = &config.category.get(SIG)?.vault_path;
            let major = Version::parse(version).ok()?.major;
            (major, format!("{parent}/{version}/{}", component(sig).ok()?))
        }
        (Environment::Staging | Environment::Production | Environment::Vault, _) => return None,
    };
    let mount = match environment {
        Environment::Staging => "staging",
        Environment::Production | Environment::Vault => "production",
    };
    let known = config.releases.contains_key(&major) && config.mounts.contains_key(mount);
    let view = ViewSpec { ref_name: ref_name.to_owned(), mount: mount.to_owned(), path };
    known.then_some(view)
}

fn pub_path(config: &Config, major: u32) -> Option<&str> {
    let category = &config.releases.get(&major)?.category;
    Some(&config.category.get(category)?.pub_path)
}

fn component(name: &str) -> Result<&str, NameError> {
    if is_component(name) { Ok(name) } else { Err(NameError::BadName { name: name.to_owned() }) }
}
