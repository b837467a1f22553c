//! What no single key can be blamed for: names that do not exist, places that are taken twice.

use std::collections::BTreeMap;

use super::read::Reader;
use super::value::{SignMode, suggestion};
use super::{BUILT_IN_GATES, Config, Environment, Gate, ReleaseSection, SignBy};
use crate::names;

/// Reports every contradiction at the key that completes it.
pub(super) fn find(config: &Config, reader: &Reader) {
    mounts(config, reader);
    for release in config.releases.values() {
        category(config, release, reader);
        repos(release, reader);
        versions(release, reader);
        channels(release, reader);
        parts(release, reader);
    }
    lists(config, reader);
    gates(config, reader);
    sign(config, reader);
    if reader.is_clean() {
        views(config, reader);
        links(config, reader);
    }
}

fn mounts(config: &Config, reader: &Reader) {
    if !config.mounts.contains_key(&config.store.home) {
        let hint =
            suggestion(&config.store.home, config.mounts.keys().map(String::as_str), "mounts");
        let message = format!("home {:?} is not a mount", config.store.home);
        reader.contradiction(&["store", "home"], message, hint);
    }
    let mounts: Vec<_> = config.mounts.iter().collect();
    for (at, (name, mount)) in mounts.iter().enumerate() {
        for (other_name, other) in &mounts[..at] {
            if mount.path == other.path {
                let message =
                    format!("mount {name:?} has the path of mount {other_name:?}: {}", mount.path);
                let hint = "each mount has a directory of its own";
                reader.contradiction(&["mounts", name, "path"], message, hint);
            } else if contains(&mount.pool, &other.pool) || contains(&other.pool, &mount.pool) {
                let message = format!(
                    "the pools of mounts {name:?} and {other_name:?} overlap: {} and {}",
                    mount.pool, other.pool
                );
                let hint = "each mount has a pool of its own, on its own filesystem";
                let key = pool_key(reader, name, other_name);
                reader.contradiction(&["mounts", key.0, key.1], message, hint);
            }
        }
        if mount.pool == mount.path {
            let message = format!("the pool of mount {name:?} is the mount itself: {}", mount.pool);
            let hint = "the default is a directory in it, .cairn";
            reader.contradiction(&["mounts", name, "pool"], message, hint);
        }
    }
}

/// Picks the key to blame for overlapping pools: a pool that was written, else a path.
fn pool_key<'a>(reader: &Reader, name: &'a str, other: &'a str) -> (&'a str, &'static str) {
    let written = |mount: &&str| reader.is_written(&["mounts", mount, "pool"]);
    match [name, other].into_iter().find(written) {
        Some(mount) => (mount, "pool"),
        None => (name, "path"),
    }
}

/// Tells whether `path` is `directory` or lies in it.
fn contains(directory: &str, path: &str) -> bool {
    let rest = path.strip_prefix(directory.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn category(config: &Config, release: &ReleaseSection, reader: &Reader) {
    let name = &release.category;
    if !config.category.contains_key(name) {
        let hint = suggestion(name, config.category.keys().map(String::as_str), "categories");
        let message = format!("category {name:?} is not configured");
        reader.contradiction(&["release", &release.major.to_string(), "category"], message, hint);
    }
}

fn repos(release: &ReleaseSection, reader: &Reader) {
    let major = release.major.to_string();
    let repos = &release.repos;
    if let Some(both) = repos.comps.iter().find(|repo| repos.plain.contains(repo)) {
        let message = format!("repo {both:?} is listed with and without comps");
        let hint = "name it in plain or in comps";
        reader.contradiction(&["release", &major, "repos", "comps"], message, hint);
    }
    let all = || repos.plain.iter().chain(&repos.comps);
    if let Some(lost) = repos.modules.iter().find(|repo| !all().any(|own| own == *repo)) {
        let hint = suggestion(lost, all().map(String::as_str), "repos");
        let message = format!("repo {lost:?} has modules, but is not a repo of release {major}");
        reader.contradiction(&["release", &major, "repos", "modules"], message, hint);
    }
    if let Some((link, _)) = release.links.iter().find(|(link, target)| link == target) {
        let message = format!("link {link:?} points to itself");
        reader.contradiction(&["release", &major, "links"], message, "write link = target");
    }
}

fn versions(release: &ReleaseSection, reader: &Reader) {
    let major = release.major.to_string();
    for channel in release.channels.values() {
        let key = |key| ["release", &major, "channel", &channel.name, key].map(str::to_owned);
        let report = |at, message, hint: &str| {
            let key = key(at);
            reader.contradiction(&key.each_ref().map(String::as_str), message, hint);
        };
        let hint = format!("a version of release {major} is {major}.MINOR");
        if channel.version.major != release.major {
            let message = format!("version {} is not of release {major}", channel.version);
            report("version", message, &hint);
        }
        if let Some(previous) = channel.previous {
            if previous.major != release.major {
                report("previous", format!("version {previous} is not of release {major}"), &hint);
            } else if previous >= channel.version {
                let message =
                    format!("previous version {previous} is not before {}", channel.version);
                report("previous", message, "previous is what production had before version");
            }
        }
        if !channel.production && channel.staging_suffix.is_empty() {
            let message = format!(
                "channel {:?} would stage {} under the name of the final release",
                channel.name, channel.version
            );
            report("staging_suffix", message, "give it a suffix such as \"-BETA\"");
        }
        if channel.vault && !channel.production {
            let message = format!("channel {:?} is vaulted, but never in production", channel.name);
            report("vault", message, "set vault = false, or production = true");
        }
    }
}

fn channels(release: &ReleaseSection, reader: &Reader) {
    let major = release.major.to_string();
    let mut names: BTreeMap<&str, &str> =
        release.channels.keys().map(|name| (name.as_str(), name.as_str())).collect();
    for channel in release.channels.values() {
        for alias in &channel.aliases {
            let Some(owner) = names.insert(alias, &channel.name) else { continue };
            let message = format!("{major}-{alias} already means channel {owner:?}");
            let key = ["release", &major, "channel", &channel.name, "aliases"];
            reader.contradiction(&key, message, "choose another alias");
        }
    }
}

/// A part of a compose that the release is not made of would silently be missing.
fn parts(release: &ReleaseSection, reader: &Reader) {
    let major = release.major.to_string();
    for channel in release.channels.values() {
        let key = ["release", &major, "channel", &channel.name, "parts"];
        let known = |compose: &&String| release.composes.contains(compose);
        let lost = channel.parts.keys().find(|compose| !known(compose));
        if let Some(lost) = lost.filter(|_| reader.is_written(&key)) {
            let hint = suggestion(lost, release.composes.iter().map(String::as_str), "composes");
            let message = format!("parts of {lost:?}, which is not a compose of release {major}");
            reader.contradiction(&key, message, hint);
        }
    }
}

/// Finds links that cannot be one, and those whose place is taken by another link or a view.
fn links(config: &Config, reader: &Reader) {
    let views = names::views(config);
    let mut seen: BTreeMap<(String, String), String> = BTreeMap::new();
    for release in config.release_views() {
        let (major, channel) = (release.major().to_string(), release.channel());
        for environment in [Environment::Staging, Environment::Production] {
            let last = match environment {
                Environment::Staging => "staging_links",
                Environment::Production | Environment::Vault => "production_links",
            };
            let key = ["release", &major, "channel", &channel.name, last];
            let found = match names::links(&release, environment) {
                Ok(found) => found,
                Err(error) => {
                    reader.contradiction(&key, error.to_string(), "write a plain name");
                    continue;
                }
            };
            for link in found {
                let place = (link.mount, link.path);
                if let Some(view) =
                    views.iter().find(|v| (&v.mount, &v.path) == (&place.0, &place.1))
                {
                    let message =
                        format!("the link {} takes the place of {}", place.1, view.ref_name);
                    reader.contradiction(&key, message, "choose another name");
                } else if let Some(other) = seen.insert(place.clone(), release.name()) {
                    let message = format!("the link {} is one of {other} too", place.1);
                    reader.contradiction(&key, message, "choose another name");
                }
            }
        }
    }
}

fn lists(config: &Config, reader: &Reader) {
    let mut seen = Vec::new();
    for root in &config.lists {
        let place = (&root.mount, &root.path);
        let name = match root.path.is_empty() {
            true => root.mount.clone(),
            false => format!("{}/{}", root.mount, root.path),
        };
        if !config.mounts.contains_key(&root.mount) {
            let mounts = config.mounts.keys().map(String::as_str);
            let hint = suggestion(&root.mount, mounts, "a root begins with a mount");
            let message = format!("lists of {name:?}: {:?} is not a mount", root.mount);
            reader.contradiction(&["lists", &name], message, hint);
        }
        if seen.contains(&place) {
            let message = format!("lists of {name:?} are configured twice");
            reader.contradiction(&["lists", &name], message, "join the two entries");
        }
        seen.push(place);
    }
}

fn gates(config: &Config, reader: &Reader) {
    let own = |(name, gate): (&'_ String, &Gate)| match gate {
        Gate::Command { .. } => Some(name.clone()),
        Gate::Require { .. } => None,
    };
    let mut known: Vec<String> = BUILT_IN_GATES.iter().map(|gate| (*gate).to_owned()).collect();
    known.extend(config.gates.iter().filter_map(own));
    for (name, gate) in &config.gates {
        let Gate::Require { gates, .. } = gate else { continue };
        for lost in gates.iter().filter(|gate| !known.contains(gate)) {
            let hint = suggestion(lost, known.iter().map(String::as_str), "gates");
            let message = format!("gate {lost:?} is not known");
            reader.contradiction(&["gate", name, "require"], message, hint);
        }
    }
}

fn sign(config: &Config, reader: &Reader) {
    let Some(sign) = &config.sign else { return };
    let SignBy::Command { command, mode } = &sign.by else { return };
    let names_file = command.iter().any(|argument| argument.mentions("file"));
    match mode {
        SignMode::InPlace if !names_file => {
            let message = "the signing command never gets the file".to_owned();
            reader.contradiction(&["sign", "command"], message, "add the argument \"{file}\"");
        }
        SignMode::Stdio if names_file => {
            let message = "{file} has no value when data goes through stdin".to_owned();
            reader.contradiction(&["sign", "command"], message, "or set mode = \"in-place\"");
        }
        SignMode::InPlace | SignMode::Stdio => {}
    }
}

/// Finds refs that two channels give, and views that take each other's place.
fn views(config: &Config, reader: &Reader) {
    let views = names::views_with_keys(config);
    let absolute = |view: &names::ViewSpec| {
        let mount = config.mounts.get(&view.mount).map_or("", |mount| mount.path.as_str());
        format!("{}/{}", mount.trim_end_matches('/'), view.path)
    };
    for (at, (view, key)) in views.iter().enumerate() {
        let key: Vec<&str> = key.iter().map(String::as_str).collect();
        let place = absolute(view);
        for (other, _) in &views[..at] {
            let other_place = absolute(other);
            if view.ref_name == other.ref_name {
                let message = format!("{} is the name of two different views", view.ref_name);
                let hint = "give the channels different versions or suffixes";
                reader.contradiction(&key, message, hint);
            } else if contains(&place, &other_place) || contains(&other_place, &place) {
                let message = format!(
                    "the views of {} and {} overlap: {place} and {other_place}",
                    view.ref_name, other.ref_name
                );
                reader.contradiction(&key, message, "change the category or the mount");
            }
        }
        let pools =
            config.mounts.iter().map(|(name, mount)| (&mount.pool, ["mounts", name, "pool"]));
        for (pool, key) in pools.filter(|(pool, _)| contains(&place, pool)) {
            carried(reader, &key, pool, view, &place);
        }
        if contains(&place, &config.store.path) {
            carried(reader, &["store", "path"], &config.store.path, view, &place);
        }
    }
}

fn carried(reader: &Reader, key: &[&str], path: &str, view: &names::ViewSpec, place: &str) {
    let message = format!("{path} is inside the view of {}: {place}", view.ref_name);
    reader.contradiction(key, message, "mirrors would carry it; move it out");
}
