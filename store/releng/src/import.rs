//! From the scripts' common files to a configuration.
//!
//! Reads `common` and `common_8`, `common_9`, … of a directory, by running them (`bash`), and
//! writes what they say as a `cairn.toml`. What has no place in it is a comment there, and a line in
//! [`Import::left_out`]. The result is checked as any configuration: what contradicts itself in the
//! scripts is told, not repaired.

mod bash;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use cairn_store::fs::{Dir, canonical};
use cairn_store::path::display;
use cairn_store::progress::Observer;

use crate::config::{Config, ConfigError};
use crate::error::{Error, Result};
use bash::{SHORT, Sourced, Value};

/// The channels that the scripts know, with their names here.
const CHANNELS: [(&str, &str); 3] = [("stable", "stable"), ("beta", "beta"), ("lh", "lookahead")];

/// Where composes have been: the form that fits all of a directory's releases is taken.
const COMPOSE_PATHS: [&str; 2] = [
    "{root}/{major}{compose_suffix}/latest-{compose}-{major}",
    "{root}/{major}/latest-{compose}-{major}{compose_suffix}",
];

/// What came of an import.
#[derive(Debug)]
pub struct Import {
    /// The configuration, with comments.
    pub text: String,
    /// What it does not say, one sentence each.
    pub left_out: Vec<String>,
    /// What is wrong with it.
    pub problems: Vec<ConfigError>,
}

/// Runs the common files of a directory and writes what they say as a configuration.
///
/// This executes the files with the rights of whoever calls it.
///
/// # Errors
/// A directory without the files, or a file that fails, hangs or says too much, is named.
pub fn import(dir: &Path, observer: &dyn Observer) -> Result<Import> {
    let dir = Dir::open(&canonical(dir)?)?;
    let majors = bash::files(&dir)?;
    let common = dir.path_of(b"common");
    let mut left_out = Vec::new();
    let mut releases = BTreeMap::new();
    for major in majors.keys() {
        let mut channels: Vec<Channel> = Vec::new();
        for (rlrel, name) in CHANNELS {
            let sourced = match bash::source(&common, *major, rlrel, observer) {
                Ok(sourced) => {
                    if let Some(complaint) = &sourced.complaint {
                        left_out.push(format!("common_{major}: channel {name}: {complaint}"));
                    }
                    sourced
                }
                // A file may well refuse a channel that the release does not have.
                Err(Error::Input { reason, .. }) if name != "stable" => {
                    left_out.push(format!("common_{major}: no channel {name}: {reason}"));
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let Some(channel) = Channel::of(name, sourced, *major, &channels, &mut left_out) {
                channels.push(channel);
            }
        }
        match channels.is_empty() {
            true => left_out.push(format!("common_{major}: it sets no REVISION")),
            false => drop(releases.insert(*major, channels)),
        }
    }
    if releases.is_empty() {
        let reason = "none of the releases beside it has a REVISION".to_owned();
        return Err(Error::Input { path: common, reason });
    }
    let text = Writer { releases: &releases, left_out: &mut left_out }.write(dir.path());
    let problems = Config::check(&text, Path::new("cairn.toml")).err().unwrap_or_default();
    Ok(Import { text, left_out, problems })
}

/// A release in one channel, as the scripts have it.
struct Channel {
    name: &'static str,
    sourced: Sourced,
}

impl Channel {
    /// Takes what was read as a channel, unless it says nothing or what another one says.
    fn of(
        name: &'static str,
        sourced: Sourced,
        major: u32,
        others: &[Channel],
        left_out: &mut Vec<String>,
    ) -> Option<Channel> {
        let channel = Channel { name, sourced };
        if channel.text("REVISION").is_empty() {
            left_out.push(format!("common_{major}: channel {name} has no REVISION"));
            return None;
        }
        let facts = |channel: &Channel| {
            ["REVISION", "APPEND_TO_DIR", "COMPOSE_APPEND"].map(|key| channel.text(key))
        };
        if let Some(other) = others.iter().find(|other| facts(other) == facts(&channel)) {
            let other = other.name;
            left_out.push(format!("common_{major}: channel {name} is the same as {other}"));
            return None;
        }
        if channel.text("MAJOR") != major.to_string() {
            let found = channel.text("MAJOR");
            left_out.push(format!("common_{major}: MAJOR of channel {name} is {found:?}"));
        }
        Some(channel)
    }

    fn text(&self, key: &str) -> String {
        match self.sourced.values.get(key) {
            Some(Value::Text(text)) => text.clone(),
            Some(Value::List(items)) => items.join(" "),
            Some(Value::Map(_)) | None => String::new(),
        }
    }

    /// Returns a list; what is not set and what is empty are two things.
    fn list(&self, key: &str) -> Option<Vec<String>> {
        match self.sourced.values.get(key)? {
            Value::List(items) => Some(items.clone()),
            Value::Text(text) => Some(text.split_whitespace().map(str::to_owned).collect()),
            // `declare -A MODS=()` is how the newest release says that there are none.
            Value::Map(map) => Some(map.values().cloned().collect()),
        }
    }

    fn map(&self, key: &str) -> Option<BTreeMap<String, String>> {
        match self.sourced.values.get(key)? {
            Value::Map(map) => Some(map.clone()),
            Value::List(_) | Value::Text(_) => Some(BTreeMap::new()),
        }
    }
}

/// Writes the configuration.
struct Writer<'a> {
    releases: &'a BTreeMap<u32, Vec<Channel>>,
    left_out: &'a mut Vec<String>,
}

impl Writer<'_> {
    fn write(mut self, dir: &Path) -> String {
        let mut text = String::new();
        self.places(&mut text);
        self.defaults(&mut text);
        for (major, channels) in self.releases {
            self.release(&mut text, *major, channels);
        }
        self.strangers();
        let mut head = format!(
            "# Written by cairn config import, from the common files of {}.\n\
             # What is not here is as docs/cairn.example.toml has it.\n",
            comment(&display(dir).to_string())
        );
        if !self.left_out.is_empty() {
            head.push_str("#\n# Not translated:\n");
            for line in self.left_out.iter() {
                let _ = writeln!(head, "# * {}", comment(line));
            }
        }
        format!("{head}\n{text}")
    }

    /// Returns what all releases agree on, and tells where one does not.
    fn common<T: PartialEq + Clone + std::fmt::Debug>(
        &mut self,
        key: &str,
        read: impl Fn(&Channel) -> Option<T>,
    ) -> Option<T> {
        let mut found: Option<T> = None;
        for (major, channels) in self.releases {
            for channel in channels {
                let Some(value) = read(channel) else { continue };
                match &found {
                    None => found = Some(value),
                    Some(first) if *first != value => self.left_out.push(format!(
                        "common_{major}: {key} of channel {} is {value:?}, elsewhere {first:?}",
                        channel.name
                    )),
                    Some(_) => {}
                }
            }
        }
        found
    }

    fn text(&mut self, key: &str) -> Option<String> {
        self.common(key, |channel| Some(channel.text(key)).filter(|text| !text.is_empty()))
    }

    fn places(&mut self, text: &mut String) {
        text.push_str("[store]\npath = \"/var/lib/cairn\"  # new: log, packs and index\n");
        let root = self.text("COMPOSE_ROOT");
        text.push_str("\n[compose]\n");
        if let Some(root) = &root {
            let _ = writeln!(text, "root = {}", quoted(root));
        }
        match self.compose_path(root.as_deref().unwrap_or("/mnt/compose")) {
            Some(path) => {
                let _ = writeln!(text, "path = {}", quoted(path));
            }
            None => self.left_out.push(
                "RELEASE_COMPOSE_ROOT fits no form that is known; write [compose] path".to_owned(),
            ),
        }
        let owner = self.owner();
        for (mount, key) in [("staging", "STAGING_ROOT"), ("production", "PRODUCTION_ROOT")] {
            let Some(path) = self.text(key) else {
                self.left_out.push(format!("{key} is not set; write [mounts.{mount}] path"));
                continue;
            };
            let _ = writeln!(text, "\n[mounts.{mount}]\npath = {}", quoted(&path));
            if let Some(owner) = &owner {
                let _ = writeln!(text, "owner = {}  # rsync --chown", quoted(owner));
            }
        }
        let mut category = String::new();
        for (name, published, vault) in [
            ("rocky", "CATEGORY_STUB", "VAULT_STUB"),
            ("sig", "SIG_CATEGORY_STUB", "SIG_VAULT_STUB"),
        ] {
            let keys = [("pub", self.text(published)), ("vault", self.text(vault))];
            let keys = keys.iter().filter_map(|(key, path)| {
                path.as_ref().map(|path| format!("{key} = {}", quoted(path)))
            });
            let keys: Vec<String> = keys.collect();
            if !keys.is_empty() {
                let _ = writeln!(category, "{name} = {{ {} }}", keys.join(", "));
            }
        }
        if !category.is_empty() {
            let _ = write!(text, "\n[category]\n{category}");
        }
    }

    /// Finds the form in which all composes' paths are written.
    fn compose_path(&self, root: &str) -> Option<&'static str> {
        let fits = |form: &&&str| {
            self.releases.iter().all(|(major, channels)| {
                channels.iter().all(|channel| {
                    let written = channel.text("RELEASE_COMPOSE_ROOT");
                    let expanded = form
                        .replace("{root}", root)
                        .replace("{major}", &major.to_string())
                        .replace("{compose_suffix}", &channel.text("COMPOSE_APPEND"))
                        .replace("{compose}", SHORT);
                    written.is_empty() || written == expanded
                })
            })
        };
        COMPOSE_PATHS.iter().find(fits).copied()
    }

    /// Finds the owner that the copying functions give, if they agree on one.
    fn owner(&mut self) -> Option<String> {
        let mut owners = BTreeSet::new();
        for channel in self.releases.values().flatten() {
            let words = channel.sourced.functions.split_whitespace();
            owners.extend(words.filter_map(|word| word.strip_prefix("--chown=")));
        }
        let numbers = |owner: &&&str| owner.chars().all(|c| c.is_ascii_digit() || c == ':');
        match owners.iter().collect::<Vec<_>>().as_slice() {
            [owner] if numbers(owner) => Some((**owner).to_owned()),
            [] => None,
            several => {
                self.left_out.push(format!("rsync --chown gives {several:?}; write owner"));
                None
            }
        }
    }

    fn defaults(&mut self, text: &mut String) {
        let mut lines = String::new();
        for (key, variable) in [("iso_variants", "VARIANTS"), ("nonrepo_dirs", "NONREPO_DIRS")] {
            if let Some(items) = self.common(variable, |channel| channel.list(variable)) {
                let _ = writeln!(lines, "{key} = {}", array(&items));
            }
        }
        let excludes = self.common("what rsync excludes", |channel| {
            let excludes = excludes(&channel.sourced.update);
            (!excludes.is_empty()).then_some(excludes)
        });
        if let Some(excludes) = excludes {
            let _ = writeln!(lines, "update_exclude = {}", array(&excludes));
        }
        if !lines.is_empty() {
            let _ = write!(text, "\n[defaults]\n{lines}");
        }
        let signer = self.releases.values().flatten().find_map(|channel| {
            let words = channel.sourced.functions.split_whitespace();
            let path = |word: &&str| word.starts_with('/') && word.contains("sign-repo");
            words.map(|word| word.trim_matches([';', '"', '\''])).find(path).map(placeholder)
        });
        let signer = signer.unwrap_or_else(|| "/root/bin/sign-repo-{major}.sh".to_owned());
        let _ = write!(
            text,
            "\n# How repomd.xml is signed is code in the scripts. Without this section nothing is; \
             with it,\n# every signature must verify with the public keys that clients have.\n\
             # [sign]\n# command = [{}, \"{{file}}\"]\n\
             # verify_key = \"/etc/cairn/keys/RPM-GPG-KEY-{{major}}\"\n",
            comment(&quoted(&signer))
        );
    }

    fn release(&mut self, text: &mut String, major: u32, channels: &[Channel]) {
        let Some(first) = channels.first() else { return };
        let _ = writeln!(text, "\n[release.{major}]");
        for (key, variable) in [
            ("arches", "ARCHES"),
            ("composes", "NONSIG_COMPOSE"),
            ("iso_types", "ISO_TYPES"),
            ("image_types", "IMAGE_TYPES"),
        ] {
            if let Some(items) = first.list(variable) {
                let _ = writeln!(text, "{key} = {}", array(&items));
            }
        }
        let repos: Vec<String> =
            [("plain", "NONMODS_REPOS"), ("comps", "MODS_REPOS"), ("modules", "MODS")]
                .iter()
                .filter_map(|(key, name)| Some(format!("{key} = {}", array(&first.list(name)?))))
                .collect();
        if !repos.is_empty() {
            let _ = writeln!(text, "repos = {{ {} }}", repos.join(", "));
        }
        // The scripts name the repo first and the link to it second.
        if let Some(links) = first.map("LINK_REPOS") {
            let links = links.into_iter().map(|(repo, link)| (link, repo)).collect();
            let _ = writeln!(text, "links = {}", table(&links));
        }
        if let Some(sigs) = first.map("SIG_COMPOSE") {
            let _ = writeln!(text, "sigs = {}", table(&sigs));
        }
        self.derived(major, channels);
        for channel in channels {
            let mut keys = vec![format!("version = {}", quoted(&channel.text("REVISION")))];
            let previous = channel.text("PREREV");
            if !previous.is_empty() {
                keys.push(format!("previous = {}", quoted(&previous)));
            }
            keys.push(format!("staging_suffix = {}", quoted(&channel.text("APPEND_TO_DIR"))));
            keys.push(format!("compose_suffix = {}", quoted(&channel.text("COMPOSE_APPEND"))));
            let _ = writeln!(text, "channel.{} = {{ {} }}", channel.name, keys.join(", "));
        }
    }

    /// Tells where channels of a release differ in what is one for all of them here, and where
    /// what follows from other variables does not.
    fn derived(&mut self, major: u32, channels: &[Channel]) {
        let Some((first, others)) = channels.split_first() else { return };
        for key in ["ARCHES", "NONSIG_COMPOSE", "ISO_TYPES", "IMAGE_TYPES", "NONMODS_REPOS"]
            .into_iter()
            .chain(["MODS_REPOS", "MODS", "LINK_REPOS", "SIG_COMPOSE"])
        {
            let value = |channel: &Channel| channel.sourced.values.get(key).cloned();
            for other in others.iter().filter(|other| value(other) != value(first)) {
                self.left_out.push(format!(
                    "common_{major}: {key} of channel {} is not that of {}, which is taken",
                    other.name, first.name
                ));
            }
        }
        for channel in channels {
            let staged = format!(
                "{}/{}{}",
                channel.text("CATEGORY_STUB"),
                channel.text("REVISION"),
                channel.text("APPEND_TO_DIR")
            );
            let written = channel.text("RELEASE_DIR");
            if !written.is_empty() && written != staged {
                self.left_out.push(format!(
                    "common_{major}: RELEASE_DIR of channel {} is {written:?}; cairn stages to \
                     {staged:?}",
                    channel.name
                ));
            }
        }
        let all = [first.list("NONMODS_REPOS"), first.list("MODS_REPOS")];
        let all: Vec<String> = all.into_iter().flatten().flatten().collect();
        if first.list("ALL_REPOS").is_some_and(|written| written != all) {
            self.left_out.push(format!(
                "common_{major}: ALL_REPOS is not NONMODS_REPOS and MODS_REPOS together"
            ));
        }
    }

    /// Tells which variables were set that nothing here knows.
    fn strangers(&mut self) {
        for (major, channels) in self.releases {
            let names = channels.iter().flat_map(|channel| &channel.sourced.strangers);
            let names: BTreeSet<&str> = names.map(String::as_str).collect();
            if !names.is_empty() {
                let names: Vec<&str> = names.into_iter().collect();
                self.left_out.push(format!("common_{major}: unknown: {}", names.join(", ")));
            }
        }
    }
}

/// Returns what a function tells rsync to leave out.
fn excludes(function: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut words = function.split_whitespace();
    while let Some(word) = words.next() {
        let name = match word.strip_prefix("--exclude=") {
            Some(name) => Some(name),
            None if word == "--exclude" => words.next(),
            None => None,
        };
        let name = name.map(|name| name.trim_matches(['"', '\'', ';', '\\']));
        // What a parameter decides is not known here.
        if let Some(name) = name.filter(|name| !name.is_empty() && !name.contains('$'))
            && !found.iter().any(|known| known == name)
        {
            found.push(name.to_owned());
        }
    }
    found
}

/// Puts `{major}` where the scripts have a variable.
fn placeholder(path: &str) -> String {
    match (path.find("${"), path.find('}')) {
        (Some(start), Some(end)) if start < end => {
            format!("{}{{major}}{}", &path[..start], &path[end + 1..])
        }
        _ => path.to_owned(),
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn array(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
    format!("[{}]", items.join(", "))
}

fn table(pairs: &BTreeMap<String, String>) -> String {
    let bare = |key: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        match !key.is_empty() && key.bytes().all(plain) {
            true => key.to_owned(),
            false => quoted(key),
        }
    };
    let pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{} = {}", bare(key), quoted(value))).collect();
    match pairs.is_empty() {
        true => "{}".to_owned(),
        false => format!("{{ {} }}", pairs.join(", ")),
    }
}

/// Makes a text fit for a comment: one line, nothing that a terminal would obey.
fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
