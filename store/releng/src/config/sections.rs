//! From sections of text to the values of the model, one function per section.
//!
//! It is as long as the configuration has sections; each stands alone.

use std::collections::BTreeMap;
use std::time::Duration;

use globset::Glob;

use super::model::*;
use super::read::{Problem, Section, Value, boolean, command, list, map, number, some, text};
use super::value::{
    Checksum, Compression, Environment, HookEvent, LinkMode, Owner, Percent, SignMode, SigsBeside,
    SwapMode, Template, TorrentFormat, ValueError, Version, parse_duration, plain_number,
    suggestion,
};

/// Gates that cairn brings along; `[gate.NAME] command` adds others.
pub const BUILT_IN_GATES: &[&str] = &[
    "repodata",
    "files-exist",
    "signatures",
    "no-downgrade",
    "no-loss",
    "treeinfo",
    "no-rebuild",
    "advisories-kept",
    "streams-kept",
    "comps-kept",
    "deletions",
    "closure",
];

/// What is skipped like a gate and is none: the approval of people.
pub(crate) const APPROVALS: &str = "approvals";

const GATE_TIMEOUT: Duration = Duration::from_secs(600); // a full repoclosure of a release
const HOOK_TIMEOUT: Duration = Duration::from_secs(60);

const IN_COMPOSE: &[&str] = &["root", "major", "version", "channel", "compose", "compose_suffix"];
const IN_COMPOSE_FILE: &[&str] = &[
    "compose_dir",
    "arch",
    "repo",
    "root",
    "major",
    "version",
    "channel",
    "compose",
    "compose_suffix",
];
const IN_LINK: &[&str] = &["major", "version", "channel"];
const IN_REPODATA: &[&str] = &["major", "version"];
const IN_SIGN: &[&str] = &["file", "major", "version", "channel"];
const IN_KEY: &[&str] = &["major", "version", "channel"];
const IN_TORRENT: &[&str] = &["major", "version", "version_us", "arch", "variant"];
const IN_GATE: &[&str] = &["ref", "release", "major", "version", "path"];
const IN_HOOK: &[&str] = &["verb", "operation", "number", "refs"];

/// Everything that the sections say.
pub(super) struct Sections {
    pub(super) store: StoreSection,
    pub(super) compose: ComposeSection,
    pub(super) mounts: BTreeMap<String, Mount>,
    pub(super) category: BTreeMap<String, Category>,
    pub(super) defaults: Defaults,
    pub(super) repodata: RepodataSection,
    pub(super) sign: Option<SignSection>,
    pub(super) keep: KeepSection,
    pub(super) errata: ErrataSection,
    pub(super) torrent: TorrentSection,
    pub(super) lists: Vec<ListRoot>,
    pub(super) releases: BTreeMap<u32, ReleaseSection>,
    pub(super) gates: BTreeMap<String, Gate>,
    pub(super) gate_settings: GateSettings,
    pub(super) hooks: BTreeMap<String, Hook>,
}

/// Reads the whole configuration; problems are reported to the section's reader.
pub(super) fn read(root: Section<'_>) -> Sections {
    let (store, mounts) = read_store_and_mounts(&root);
    let compose = read_compose(root.table("compose"));
    let category = read_categories(root.table("category"));
    let defaults = read_defaults(root.table("defaults"));
    let repodata = read_repodata(root.table("repodata"));
    let sign = read_sign(root.table("sign"));
    let keep = read_keep(root.table("keep"));
    let errata = read_errata(root.table("errata"));
    let torrent = read_torrent(root.table("torrent"));
    let lists = read_lists(root.table("lists"), mounts.contains_key("production"));
    let releases = read_releases(root.table("release"));
    let (gates, gate_settings) = read_gates(root.table("gate"), sign.is_some());
    let hooks = root.table("hook");
    let hooks = hooks.tables(|_| None).into_iter().map(|hook| (hook.name().to_owned(), hook));
    let hooks = hooks.map(|(name, hook)| (name, read_hook(hook))).collect();
    root.finish();
    Sections {
        store,
        compose,
        mounts,
        category,
        defaults,
        repodata,
        sign,
        keep,
        errata,
        torrent,
        lists,
        releases,
        gates,
        gate_settings,
        hooks,
    }
}

fn read_store_and_mounts(root: &Section<'_>) -> (StoreSection, BTreeMap<String, Mount>) {
    let store = root.table("store");
    let section = root.table("mounts");
    let mut mounts = BTreeMap::new();
    let fallback = |name: &str| Some(if name == "production" { "production" } else { "other" });
    for mount in section.tables(fallback) {
        let name = mount.name().to_owned();
        judge_name(&mount, "mount");
        mounts.insert(name, read_mount(mount));
    }
    if mounts.is_empty() && (section.is_written() || !root.has("mounts")) {
        let hint = "add [mounts.staging] and [mounts.production], each with its path";
        section.report("no mount is configured", Some(hint.to_owned()));
    }
    let home = match mounts.keys().next() {
        Some(first) if !mounts.contains_key("staging") => first.as_str(),
        _ => "staging",
    };
    let home = home.to_owned();
    if !root.has("store") {
        let hint = "add [store] with path = \"/var/lib/cairn\"";
        store.report("missing section [store]", Some(hint.to_owned()));
        return (StoreSection { path: String::new(), home }, mounts);
    }
    let path = store.get("path", text(absolute));
    let home = store.or("home", text(name), home);
    store.finish();
    (StoreSection { path, home }, mounts)
}

fn read_mount(mount: Section<'_>) -> Mount {
    let path = mount.get("path", text(absolute));
    let pool = mount.or("pool", text(absolute), format!("{}/.cairn", path.trim_end_matches('/')));
    let read = Mount {
        path,
        pool,
        owner: mount.optional("owner", text(Owner::parse)),
        link: mount.get("link", text(LinkMode::parse)),
        swap: mount.get("swap", text(SwapMode::parse)),
        answer_within: mount.get("answer_within", text(positive)),
        keep_trees: mount.get("keep_trees", text(parse_duration)),
        grace: mount.get("grace", text(parse_duration)),
        max_deletes: mount.optional("max_deletes", text(Percent::parse)),
    };
    mount.finish();
    read
}

/// Parses a time that is not nothing.
fn positive(text: &str) -> Result<std::time::Duration, ValueError> {
    match parse_duration(text)? {
        std::time::Duration::ZERO => Err(ValueError::new(
            "nothing answers in no time",
            "write at least \"1s\"; the default is \"60s\"",
        )),
        time => Ok(time),
    }
}

fn read_compose(compose: Section<'_>) -> ComposeSection {
    let file = |text: &str| absolute_template(text, IN_COMPOSE_FILE);
    let read = ComposeSection {
        root: compose.get("root", text(absolute)),
        path: compose.get("path", text(|text| absolute_template(text, IN_COMPOSE))),
        comps: compose.get("comps", text(file)),
        modules: compose.get("modules", text(file)),
        immutable: compose.get("immutable", boolean),
    };
    compose.finish();
    read
}

fn read_categories(section: Section<'_>) -> BTreeMap<String, Category> {
    let built_in = section.built_in_keys();
    let mut sections = section.tables(|name| built_in.iter().copied().find(|key| *key == name));
    sections.extend(section.built_in_tables());
    let mut categories = BTreeMap::new();
    for category in sections {
        judge_name(&category, "category");
        let name = category.name().to_owned();
        let read = Category {
            pub_path: category.get("pub", text(relative)),
            vault_path: category.get("vault", text(relative)),
        };
        category.finish();
        categories.insert(name, read);
    }
    categories
}

fn read_defaults(defaults: Section<'_>) -> Defaults {
    let read = Defaults {
        iso_variants: defaults.get("iso_variants", list(text(name))),
        nonrepo_dirs: defaults.get("nonrepo_dirs", list(text(name))),
        never_link: defaults.get("never_link", list(text(glob))),
        update_exclude: defaults.get("update_exclude", list(text(glob))),
        tree_variants: defaults.get("tree_variants", map(name, some(text(name)))),
    };
    defaults.finish();
    read
}

fn read_repodata(repodata: Section<'_>) -> RepodataSection {
    let template = |text: &str| Template::parse(text, IN_REPODATA);
    let distro = repodata.table("distro");
    let compression = repodata.table("compression");
    let read = RepodataSection {
        revision: repodata.get("revision", text(template)),
        checksum: repodata.get("checksum", text(Checksum::parse)),
        distro_cpe: distro.get("cpe", text(template)),
        distro_name: distro.get("name", text(template)),
        compression: compression.get("default", text(Compression::parse)),
        compression_comps: compression.get("comps_repos", text(Compression::parse)),
    };
    distro.finish();
    compression.finish();
    repodata.finish();
    read
}

fn read_sign(sign: Section<'_>) -> Option<SignSection> {
    if !sign.is_written() {
        return None;
    }
    let by = if sign.has("key") && !sign.has("command") {
        if sign.has("mode") {
            let hint = "key = \"…\" alone signs with gpg";
            let message = "mode says how a command signs, and there is none";
            sign.report(message, Some(hint.to_owned()));
            sign.get("mode", text(SignMode::parse));
        }
        SignBy::Key(sign.get("key", text(signing_key)))
    } else {
        if sign.has("key") {
            let hint = "write key = \"…\" alone to sign with gpg, or command and mode without it";
            sign.report("key and command both say who signs", Some(hint.to_owned()));
        }
        let command = sign.get("command", command(|text| Template::parse(text, IN_SIGN)));
        let mode = sign.get("mode", text(SignMode::parse));
        sign.optional("key", text(signing_key));
        SignBy::Command { command, mode }
    };
    let key_file = |text: &str| absolute_template(text, IN_KEY);
    let verify_key = sign.optional("verify_key", text(key_file));
    if !sign.has("verify_key") {
        let hint = "name the file of the public keys that clients have: only a signature that \
                    verifies with them is taken";
        sign.report("missing key \"verify_key\" in [sign]", Some(hint.to_owned()));
    }
    let read = SignSection {
        by,
        verify_key: verify_key.unwrap_or_else(Template::empty),
        timeout: sign.get("timeout", text(timeout)),
        checksums: sign.get("checksums", boolean),
    };
    sign.finish();
    Some(read)
}

/// Accepts what names a secret key for gpg: a fingerprint, or part of a user id.
fn signing_key(text: &str) -> Result<Template, ValueError> {
    if text.trim().is_empty() || text.contains(char::is_control) {
        let hint = "name it by its fingerprint, as gpg --list-secret-keys shows it";
        return Err(ValueError::new(format!("{text:?} names no key"), hint));
    }
    Template::parse(text, IN_KEY)
}

fn read_keep(keep: Section<'_>) -> KeepSection {
    let rule = |section: &Section<'_>, last, within| KeepRule {
        last: section.or("last", number(1), last),
        within: section.or("within", text(parse_duration), within),
    };
    let all = rule(&keep, 1, Duration::ZERO);
    let (grace, trash) =
        (keep.get("grace", text(parse_duration)), keep.get("trash", text(parse_duration)));
    let refs = keep.table("ref");
    let mut patterns = BTreeMap::new();
    for section in refs.tables(|_| None) {
        let name = section.name().to_owned();
        if let Err(error) = glob(&name) {
            section.report(error.message, error.hint);
        }
        patterns.insert(name, rule(&section, all.last, all.within));
        section.finish();
    }
    keep.finish();
    KeepSection { all, grace, trash, refs: patterns }
}

fn read_errata(errata: Section<'_>) -> ErrataSection {
    let http = |text: &str| address(text, &["https://", "http://"]);
    let read = ErrataSection {
        api: errata.get("api", text(http)),
        product: errata.get("product", text(name)),
    };
    errata.finish();
    read
}

fn read_torrent(torrent: Section<'_>) -> TorrentSection {
    let tracker = |text: &str| address(text, &["udp://", "http://", "https://"]);
    let comment = |text: &str| Template::parse(text, IN_TORRENT);
    let read = TorrentSection {
        trackers: torrent.get("trackers", list(text(tracker))),
        exclude: torrent.get("exclude", list(text(glob))),
        comment: torrent.get("comment", text(comment)),
        format: torrent.get("format", text(TorrentFormat::parse)),
        out: torrent.get("out", text(absolute)),
        seed: torrent.get("seed", text(absolute)),
    };
    torrent.finish();
    read
}

fn read_lists(section: Section<'_>, has_production: bool) -> Vec<ListRoot> {
    let written = section.is_written();
    let keys = if written { section.keys() } else { section.built_in_keys() };
    if !written && !has_production {
        return Vec::new();
    }
    let mut roots = Vec::new();
    for (key, section) in keys.into_iter().map(|key| (key, &section)) {
        if let Err(error) = relative(key) {
            section.report(format!("{key:?}: {}", error.message), error.hint);
        }
        let names = section.get(key, some(text(list_name)));
        let (mount, path) = key.split_once('/').unwrap_or((key, ""));
        let files = names.into_iter().map(|name| ListFile { kind: list_kind(&name), name });
        roots.push(ListRoot {
            mount: mount.to_owned(),
            path: path.trim_matches('/').to_owned(),
            files: files.collect(),
        });
    }
    roots
}

fn read_releases(section: Section<'_>) -> BTreeMap<u32, ReleaseSection> {
    let written = section.is_written();
    let built_in = section.built_in_keys();
    let newest = built_in.iter().copied().max_by_key(|key| plain_number(key));
    let sections = if written {
        section.tables(|name| built_in.iter().copied().find(|key| *key == name).or(newest))
    } else {
        section.built_in_tables()
    };
    let mut releases = BTreeMap::new();
    for release in sections {
        match plain_number(release.name()) {
            Some(major) if (1..1000).contains(&major) => {
                releases.insert(major, read_release(release, major, written));
            }
            _ => {
                let hint = "a release section is named after its major, such as [release.9]";
                let message = format!("{:?} is not a major release", release.name());
                release.report(message, Some(hint.to_owned()));
            }
        }
    }
    releases
}

fn read_release(release: Section<'_>, major: u32, written: bool) -> ReleaseSection {
    let channels = release.table("channel");
    let channels = if written { channels.own() } else { channels };
    let mut read = ReleaseSection {
        major,
        category: release.get("category", text(name)),
        arches: release.get("arches", some(text(name))),
        composes: release.get("composes", some(text(name))),
        iso_types: release.get("iso_types", list(text(name))),
        image_types: release.get("image_types", list(text(name))),
        accumulate: release.get("accumulate", boolean),
        links: release.get("links", map(name, text(relative))),
        sigs: BTreeMap::new(),
        repos: read_repos(release.table("repos")),
        channels: BTreeMap::new(),
    };
    let sigs = release.get("sigs", map(name, text(relative)));
    for (short, place) in sigs {
        let (sig, project) = place.split_once('/').unwrap_or((&place, ""));
        read.sigs.insert(short, SigCompose { sig: sig.to_owned(), project: project.to_owned() });
    }
    let tables =
        if channels.is_written() { channels.tables(|_| None) } else { channels.built_in_tables() };
    for channel in tables {
        judge_channel_name(&channel);
        let channel = read_channel(channel, &read.composes);
        read.channels.insert(channel.name.clone(), channel);
    }
    if read.channels.is_empty() {
        let hint = format!("add channel.stable = {{ version = \"{major}.0\" }}");
        release.report(format!("release {major} has no channel"), Some(hint));
    }
    release.finish();
    read
}

fn read_repos(repos: Section<'_>) -> Repos {
    // A table that is written is whole: half of ours would contradict the other half of theirs.
    let repos = if repos.is_written() { repos.own() } else { repos };
    let names = |key| repos.optional(key, list(text(name))).unwrap_or_default();
    let read = Repos { plain: names("plain"), comps: names("comps"), modules: names("modules") };
    repos.finish();
    read
}

fn read_channel(channel: Section<'_>, composes: &[String]) -> Channel {
    let name = channel.name().to_owned();
    let stable = name == "stable";
    let aliases = if name == "lookahead" { vec!["lh".to_owned()] } else { Vec::new() };
    let aliases = channel.or("aliases", list(text(channel_name)), aliases);
    let version = channel.get("version", text(Version::parse));
    let previous = channel.optional("previous", text(Version::parse));
    let suffix = if stable { String::new() } else { format!("-{name}") };
    let staging_suffix = channel.or("staging_suffix", text(staging_suffix), suffix);
    let production = channel.or("production", boolean, stable);
    let suffix = if production { String::new() } else { staging_suffix.clone() };
    let compose_suffix = channel.or("compose_suffix", text(suffix_text), suffix);
    let vault = channel.or("vault", boolean, production);
    let link = |text: &str| Template::parse(text, IN_LINK);
    let links = |names: &[&str]| -> Vec<Template> {
        names.iter().map(|name| link(name).expect("a template of ours")).collect()
    };
    let beside = match name.as_str() {
        "stable" => links(&["latest-{major}", "{version}"]),
        "beta" => links(&["{major}-BETA"]),
        "lookahead" => links(&["{major}-LookAhead"]),
        _ => links(&["{major}-{channel}"]),
    };
    let staging_links = channel.or("staging_links", list(text(link)), beside);
    let beside = if stable && production { links(&["{major}", "latest-{major}"]) } else { vec![] };
    let production_links = channel.or("production_links", list(text(link)), beside);
    let mut parts = BTreeMap::new();
    if !production {
        parts.insert("Extras".to_owned(), vec!["extras".to_owned(), "plus".to_owned()]);
        parts.insert("Rocky-devel".to_owned(), vec!["devel".to_owned()]);
        // Of a compose that the release does not have there are no parts; written down, as `config
        // show` writes it, that would be a mistake.
        parts.retain(|compose, _| composes.contains(compose));
    }
    let parts = channel.or("parts", map(self::name, some(text(self::name))), parts);
    channel.finish();
    Channel {
        name,
        aliases,
        version,
        previous,
        staging_suffix,
        compose_suffix,
        production,
        vault,
        staging_links,
        production_links,
        parts,
    }
}

fn read_gates(section: Section<'_>, signed: bool) -> (BTreeMap<String, Gate>, GateSettings) {
    let built_in = section.built_in_keys();
    let mut sections = section.tables(|name| built_in.iter().copied().find(|key| *key == name));
    sections.extend(section.built_in_tables());
    let (mut gates, mut settings) = (BTreeMap::new(), GateSettings::default());
    for gate in sections {
        let name = gate.name().to_owned();
        let read = match Environment::parse(&name) {
            Ok(environment) => Some(read_requirement(gate, environment, signed)),
            Err(_) if name == "signatures" && !gate.has("command") => {
                let key_file = |text: &str| absolute_template(text, IN_KEY);
                settings.package_keys = gate.get("package_keys", some(text(key_file)));
                gate.finish();
                None
            }
            Err(_) if name == "closure" && !gate.has("command") => {
                settings.closure_allow = gate.or("allow", some(text(glob)), Vec::new());
                let beside = SigsBeside::Production;
                settings.sigs_beside = gate.or("sigs_beside", text(SigsBeside::parse), beside);
                gate.finish();
                None
            }
            Err(_) => read_command_gate(gate),
        };
        gates.extend(read.map(|gate| (name, gate)));
    }
    (gates, settings)
}

fn read_requirement(gate: Section<'_>, environment: Environment, signed: bool) -> Gate {
    // Requiring signatures that nobody makes is for the operator to write, not for a default.
    let asked = |gate: &String| signed || gate != "signatures";
    let defaults = gate.default("require", list(text(name))).unwrap_or_default();
    let gate = gate.own();
    let gates = gate.or("require", list(text(name)), defaults.into_iter().filter(asked).collect());
    let (mut approvals, mut own_approval) = (0, false);
    // Approval is of what is staged; nobody promotes to staging or to the vault.
    if environment == Environment::Production {
        approvals = gate.or("approvals", number(0), 0);
        own_approval = gate.or("own_approval", boolean, false);
    }
    gate.finish();
    Gate::Require { environment, gates, approvals, own_approval }
}

fn read_command_gate(gate: Section<'_>) -> Option<Gate> {
    judge_name(&gate, "gate");
    if BUILT_IN_GATES.contains(&gate.name()) {
        let message = format!("gate {:?} is built in", gate.name());
        gate.report(message, Some("give the command a name of its own".to_owned()));
    }
    if gate.name() == APPROVALS {
        let message = "\"approvals\" is what --skip-gate calls people's approval".to_owned();
        gate.report(message, Some("give the command another name".to_owned()));
    }
    if gate.has("require") && !gate.has("command") {
        let known = Environment::ALL.iter().map(Environment::as_str);
        let hint = suggestion(gate.name(), known, "environments");
        gate.report(format!("{:?} is not an environment", gate.name()), Some(hint));
        return None;
    }
    let read = Gate::Command {
        command: gate.get("command", command(|text| Template::parse(text, IN_GATE))),
        timeout: gate.or("timeout", text(timeout), GATE_TIMEOUT),
    };
    gate.finish();
    Some(read)
}

fn read_hook(hook: Section<'_>) -> Hook {
    judge_name(&hook, "hook");
    let events = some(text(HookEvent::parse));
    let one = text(HookEvent::parse);
    let one_or_more = |value: &Value<'_>| -> Result<Vec<HookEvent>, Problem> {
        if value.get_ref().is_str() { Ok(vec![one(value)?]) } else { events(value) }
    };
    let read = Hook {
        on: hook.get("on", one_or_more),
        command: hook.get("command", command(|text| Template::parse(text, IN_HOOK))),
        timeout: hook.or("timeout", text(timeout), HOOK_TIMEOUT),
    };
    hook.finish();
    read
}

fn judge_name(section: &Section<'_>, what: &str) {
    if let Err(error) = name(section.name()) {
        section.report(format!("{what} {}", error.message), error.hint);
    }
}

fn judge_channel_name(section: &Section<'_>) {
    if let Err(error) = channel_name(section.name()) {
        section.report(format!("channel {}", error.message), error.hint);
    }
}

/// Accepts what may be one component of a path and of a ref name.
fn name(text: &str) -> Result<String, ValueError> {
    if is_component(text) {
        return Ok(text.to_owned());
    }
    let hint = "a name is made of letters, digits and . _ + -, and does not begin with . or -";
    Err(ValueError::new(format!("{text:?} is not a name"), hint))
}

/// Tells whether a text is a plain component: `Rocky-devel`, `x86_64`, `9.7-RC2`.
pub(crate) fn is_component(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
    !text.is_empty()
        && text.len() <= 255
        && text.bytes().all(plain)
        && !text.starts_with(['.', '-'])
}

fn channel_name(text: &str) -> Result<String, ValueError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if !text.is_empty() && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    let hint = "it is typed as N-NAME: lower-case letters and digits, such as \"beta\"";
    Err(ValueError::new(format!("{text:?} is not a channel's name"), hint))
}

fn suffix_text(text: &str) -> Result<String, ValueError> {
    if text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b)) {
        return Ok(text.to_owned());
    }
    let hint = "a suffix is made of letters, digits and . _ + -, such as \"-RC2\"";
    Err(ValueError::new(format!("{text:?} is not a suffix"), hint))
}

/// The production name is the staging name cut at its first `-`.
fn staging_suffix(text: &str) -> Result<String, ValueError> {
    if !text.is_empty() && (!text.starts_with('-') || text.len() == 1) {
        let hint = "it is empty or begins with \"-\", where production cuts the name: \"-RC2\"";
        return Err(ValueError::new(format!("{text:?} is not a staging suffix"), hint));
    }
    suffix_text(text)
}

fn timeout(text: &str) -> Result<Duration, ValueError> {
    match parse_duration(text)? {
        Duration::ZERO => Err(ValueError::new("a timeout of 0s", "the least is \"1s\"")),
        duration => Ok(duration),
    }
}

fn glob(text: &str) -> Result<String, ValueError> {
    if text.is_empty() {
        return Err(ValueError::new("an empty pattern", "leave the pattern out"));
    }
    match Glob::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => {
            let message = format!("pattern {text:?}: {}", error.kind());
            Err(ValueError::new(message, "patterns are globs: *, **, ?, [ab], {a,b}"))
        }
    }
}

fn address(text: &str, schemes: &[&str]) -> Result<String, ValueError> {
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    let plain = !text.contains(|c: char| c.is_whitespace() || c.is_control());
    match rest {
        Some(rest) if plain && !rest.is_empty() && !rest.starts_with('/') => Ok(text.to_owned()),
        _ => {
            let hint = format!("it begins with one of {}", schemes.join(", "));
            Err(ValueError::new(format!("{text:?} is not an address"), hint))
        }
    }
}

fn list_name(text: &str) -> Result<String, ValueError> {
    let known = text.starts_with("fullfilelist") || text.starts_with("fullfiletimelist");
    if known && is_component(text) && !text.ends_with("-old") {
        return Ok(text.to_owned());
    }
    let hint = "lists are named fullfilelist… or fullfiletimelist…; \"-old\" is ours";
    Err(ValueError::new(format!("{text:?} is not a list"), hint))
}

fn list_kind(name: &str) -> ListKind {
    if name.starts_with("fullfiletimelist") { ListKind::Times } else { ListKind::Paths }
}

/// Accepts an absolute path and returns it without doubled or trailing slashes.
fn absolute(text: &str) -> Result<String, ValueError> {
    if !text.starts_with('/') {
        let hint = "write it from the root: \"/…\"";
        return Err(ValueError::new(format!("{text:?} is not an absolute path"), hint));
    }
    Ok(format!("/{}", components(text)?.join("/")))
}

/// Accepts a path inside a mount or a tree.
fn relative(text: &str) -> Result<String, ValueError> {
    if text.starts_with('/') {
        let hint = "it is relative to its mount: write it without the first \"/\"";
        return Err(ValueError::new(format!("{text:?} is an absolute path"), hint));
    }
    let components = components(text)?;
    if components.is_empty() {
        return Err(ValueError::new("an empty path", "name a directory"));
    }
    Ok(components.join("/"))
}

fn components(text: &str) -> Result<Vec<&str>, ValueError> {
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
    let odd = parts.iter().any(|part| matches!(*part, "." | ".."));
    if odd || text.contains(char::is_control) {
        let hint = "write the path without \".\", \"..\" and control characters";
        return Err(ValueError::new(format!("{text:?} is not a plain path"), hint));
    }
    Ok(parts)
}

/// Accepts a template that expands to an absolute path.
fn absolute_template(text: &str, allowed: &[&str]) -> Result<Template, ValueError> {
    let template = Template::parse(text, allowed)?;
    let rooted = ["/", "{root}", "{compose_dir}"].iter().any(|start| text.starts_with(start));
    if !rooted {
        let hint = "write it from the root: \"/…\"";
        return Err(ValueError::new(format!("{text:?} is not an absolute path"), hint));
    }
    components(text)?;
    Ok(template)
}
