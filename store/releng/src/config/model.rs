//! What a configuration says, as values: every field is set, checked and in its final form.

use std::collections::BTreeMap;
use std::time::Duration;

use super::value::{
    Checksum, Compression, Environment, HookEvent, LinkMode, Owner, Percent, SignMode, SigsBeside,
    SwapMode, Template, TorrentFormat, Version,
};

/// `[store]`: where the log, packs and index are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSection {
    /// Absolute path of the store.
    pub path: String,
    /// Mount whose pool ingest fills: `staging` if there is such a mount, else the first by name.
    pub home: String,
}

/// `[compose]`: where composes are found. Paths are templates, see `docs/cairn.example.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComposeSection {
    /// Absolute path, `{root}` of the others; default `/mnt/compose`.
    pub root: String,
    /// A compose's directory, from root, major, version, channel, compose, compose_suffix.
    pub path: Template,
    /// Its comps file, from these and compose_dir, arch, repo.
    pub comps: Template,
    /// A repo's modules.yaml, from the same.
    pub modules: Template,
    /// Promises that a compose's files never change, so that ingest may hard-link them.
    pub immutable: bool,
}

/// `[mounts.NAME]`: a filesystem that is published to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Absolute path of the mount.
    pub path: String,
    /// Absolute path of its objects and standby trees; default `PATH/.cairn`.
    pub pool: String,
    /// Owner of what is published; none leaves it as it comes.
    pub owner: Option<Owner>,
    /// How views share content with the pool; default auto.
    pub link: LinkMode,
    /// How views are switched; default auto.
    pub swap: SwapMode,
    /// How long it may take to answer before it counts as away; default 60 s.
    pub answer_within: Duration,
    /// How long an outgoing tree stays whole; default 24 h.
    pub keep_trees: Duration,
    /// How long removed files stay reachable in the live tree; default none.
    pub grace: Duration,
    /// The share of a tree that a promotion may remove; default 10 % on `production`, else none.
    pub max_deletes: Option<Percent>,
}

/// `[category] NAME = { pub, vault }`: where a family of views is inside the mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Category {
    /// Directory of current releases, relative to the mount.
    pub pub_path: String,
    /// Directory of past releases, relative to the production mount.
    pub vault_path: String,
}

/// `[defaults]`: what all releases have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Kinds of installation media, in the order of their links.
    pub iso_variants: Vec<String>,
    /// Directories of a compose that are not repos.
    pub nonrepo_dirs: Vec<String>,
    /// Globs of files that never share an inode with the pool, because people edit them.
    pub never_link: Vec<String>,
    /// Globs of names that an update of staging leaves out.
    pub update_exclude: Vec<String>,
    /// Repos whose installable trees say where other variants are: a repo and those variants.
    pub tree_variants: BTreeMap<String, Vec<String>>,
}

/// `[repodata]`: how repodata is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepodataSection {
    /// CPE of the distro tag, from major, version.
    pub distro_cpe: Template,
    /// Name of the distro tag, from major, version.
    pub distro_name: Template,
    /// Revision, from major, version.
    pub revision: Template,
    /// Checksum type of records and packages.
    pub checksum: Checksum,
    /// Compression of records.
    pub compression: Compression,
    /// Compression in repos that have comps.
    pub compression_comps: Compression,
}

/// `[sign]`: how repomd.xml, and perhaps `CHECKSUM`, is signed; without the section nothing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignSection {
    /// What makes the signatures.
    pub by: SignBy,
    /// Public keys that must verify them, from major, version, channel.
    pub verify_key: Template,
    /// When a command that has not finished is killed; default 120 s.
    pub timeout: Duration,
    /// Whether the checksums of media are signed too; default no.
    pub checksums: bool,
}

/// What makes signatures: `command`, or gpg with `key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignBy {
    /// A command of the operator's.
    Command {
        /// Program and arguments, from file, major, version, channel.
        command: Vec<Template>,
        /// How it hands over the signature.
        mode: SignMode,
    },
    /// gpg, with the secret key that this names; from major, version, channel.
    Key(Template),
}

/// `[keep]`: what a collection of garbage leaves, and how long it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepSection {
    /// What stays of refs that no pattern matches.
    pub all: KeepRule,
    /// How long nothing must have needed something before it goes.
    pub grace: Duration,
    /// How long it stays in the trash.
    pub trash: Duration,
    /// `[keep.ref.PATTERN]`: what stays of refs that match; of several, the longest counts.
    pub refs: BTreeMap<String, KeepRule>,
}

/// What stays of a ref's publications: what either rule keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepRule {
    /// So many, the current one among them; at least 1.
    pub last: u32,
    /// All that the ref named at any moment within this time.
    pub within: Duration,
}

/// `[errata]`: where advisories come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrataSection {
    /// Base address of the updateinfo service.
    pub api: String,
    /// Its name for the product.
    pub product: String,
}

/// `[torrent]`: how torrents of installation media are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorrentSection {
    /// Announce addresses.
    pub trackers: Vec<String>,
    /// Globs of files that are left out.
    pub exclude: Vec<String>,
    /// Comment, from major, version, version_us, arch, variant.
    pub comment: Template,
    /// Kind of torrent.
    pub format: TorrentFormat,
    /// Directory for torrent files, which a client may watch; default `/opt/rtorrent/watch/start`.
    pub out: String,
    /// Directory with a directory of data for each torrent; default `/opt/rtorrent/download`.
    pub seed: String,
}

/// `[release.N]`: a major release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseSection {
    /// N.
    pub major: u32,
    /// Name of its category.
    pub category: String,
    /// Architectures.
    pub arches: Vec<String>,
    /// Short names of the composes that make a minor release, the main one first.
    pub composes: Vec<String>,
    /// Variants whose media are collected.
    pub iso_types: Vec<String>,
    /// Directories of images that are collected.
    pub image_types: Vec<String>,
    /// Whether every build of a point release stays in staging, so that the script that makes
    /// staging exactly the compose is refused; default for release 8.
    pub accumulate: bool,
    /// Its repos.
    pub repos: Repos,
    /// Links beside the repos: link name to target.
    pub links: BTreeMap<String, String>,
    /// SIG composes by short name.
    pub sigs: BTreeMap<String, SigCompose>,
    /// Channels by name; `stable` is the one that a bare `N` means.
    pub channels: BTreeMap<String, Channel>,
}

/// `repos = { plain, comps, modules }` of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repos {
    /// Repos without comps.
    pub plain: Vec<String>,
    /// Repos with comps.
    pub comps: Vec<String>,
    /// Those of the two that carry modules too.
    pub modules: Vec<String>,
}

/// `sigs = { SHORT = "SIG/PROJECT" }`: a compose that belongs to a special interest group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigCompose {
    /// The group, whose tree is one view.
    pub sig: String,
    /// The project inside the group; empty if the compose is the whole group.
    pub project: String,
}

/// `channel.NAME` of a release: stable, beta, lookahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// NAME.
    pub name: String,
    /// Other names; default `lh` for lookahead.
    pub aliases: Vec<String>,
    /// What is being made.
    pub version: Version,
    /// What was there before.
    pub previous: Option<Version>,
    /// What staging appends to the version: empty or beginning with `-`. Default `-NAME`, empty
    /// for stable.
    pub staging_suffix: String,
    /// What the compose directory appends to the major; default as `staging_suffix`, empty for a
    /// channel of production.
    pub compose_suffix: String,
    /// Whether it may be promoted to production; default for stable only.
    pub production: bool,
    /// Whether it may be vaulted; default as `production`.
    pub vault: bool,
    /// Names beside the staging tree that lead to it, from major, version, channel; default
    /// `latest-N` and the version for stable, `N-BETA`, `N-LookAhead`, else `N-NAME`.
    pub staging_links: Vec<Template>,
    /// Names beside the production tree that lead to it; default `N` and `latest-N` for stable.
    pub production_links: Vec<Template>,
    /// Composes of which a minor release takes only these top directories, which it takes from no
    /// other; default none for a channel of production.
    pub parts: BTreeMap<String, Vec<String>>,
}

/// `[gate.NAME]`: what an environment requires, or a gate that is a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// NAME is an environment: the gates that a snapshot must pass to get there.
    Require {
        /// The environment.
        environment: Environment,
        /// Names of gates, in the order in which they run.
        gates: Vec<String>,
        /// How many people must approve a staged snapshot; of production only, default none.
        approvals: u32,
        /// Whether whoever promotes may be one of them; default no.
        own_approval: bool,
    },
    /// NAME is a gate of its own: a command that judges a tree by its exit code.
    Command {
        /// Program and arguments, from ref, release, major, version, path.
        command: Vec<Template>,
        /// When it is killed and the gate counts as failed; default 10 min.
        timeout: Duration,
    },
}

/// `[gate.NAME]` of gates that are built in: what they want to know beside the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GateSettings {
    /// `[gate.signatures] package_keys`: files of the keys that packages are signed with, from
    /// major, version, channel; none leaves packages unjudged.
    pub package_keys: Vec<Template>,
    /// `[gate.closure] allow`: globs of names of packages that may require what nothing provides.
    pub closure_allow: Vec<String>,
    /// `[gate.closure] sigs_beside`: the release's repos that a SIG's packages may use; default
    /// production.
    pub sigs_beside: SigsBeside,
}

/// `[hook.NAME]`: a command that hears of what was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The verbs.
    pub on: Vec<HookEvent>,
    /// Program and arguments, from verb, operation, number, refs.
    pub command: Vec<Template>,
    /// When it is killed; default 60 s.
    pub timeout: Duration,
}

/// One entry of `[lists]`: the mirror lists of one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListRoot {
    /// Mount that the lists are on.
    pub mount: String,
    /// Directory inside the mount; empty for the mount itself.
    pub path: String,
    /// The lists, in the order of the configuration.
    pub files: Vec<ListFile>,
}

/// One mirror list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListFile {
    /// File name.
    pub name: String,
    /// Format, which the name decides.
    pub kind: ListKind,
}

/// Format of a mirror list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListKind {
    /// `fullfilelist*`: one path per line.
    Paths,
    /// `fullfiletimelist*`: time, type, size and path.
    Times,
}
