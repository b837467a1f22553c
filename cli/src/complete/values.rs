//! What configuration and store offer for an argument.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cairn_releng::config::{BUILT_IN_GATES, Config, Gate, HookEvent};
use cairn_releng::names::{self, ReleaseView};
use cairn_releng::toolkit::SCRIPTS;
use cairn_store::log::Operation;
use cairn_store::peek::Peek;
use cairn_store::refs::RefName;

use super::Candidate;
use super::words::Line;

/// How many operations are offered, and looked through for users.
const OPERATIONS: u64 = 50;
/// How many snapshots are offered for the beginning of an id.
const SNAPSHOTS: usize = 50;
/// How much of a snapshot's id is offered.
const ID_SHOWN: usize = 12;

/// What an argument names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Release,
    ReleaseOrVersion,
    Compose,
    Ref,
    RefToAdopt,
    Rev,
    RevOrOperation,
    Gate,
    Repo,
    Arch,
    Sig,
    ListRoot,
    Hold,
    Verb,
    User,
    Script,
}

impl Kind {
    /// Returns what an argument names, by its command, its id and what help calls its value.
    pub fn of(command: &str, id: &str, value: &str) -> Option<Self> {
        Some(match (command, id, value) {
            ("vault" | "torrents", _, "RELEASE") => Kind::ReleaseOrVersion,
            (_, _, "RELEASE") => Kind::Release,
            (_, _, "COMPOSE") => Kind::Compose,
            ("adopt", _, "REF") => Kind::RefToAdopt,
            (_, _, "REF") => Kind::Ref,
            ("show", _, "REV|OP") => Kind::RevOrOperation,
            (_, _, "REV" | "REV[:PATH]" | "REV:PATH" | "A" | "B") => Kind::Rev,
            (_, _, "GATE") => Kind::Gate,
            (_, "repos", "GLOB") => Kind::Repo,
            (_, _, "ARCH") => Kind::Arch,
            (_, "sig" | "sigs", _) => Kind::Sig,
            (_, _, "ROOT") => Kind::ListRoot,
            ("release", "names", _) => Kind::Hold,
            ("log", _, "COMMAND") => Kind::Verb,
            (_, _, "USER") => Kind::User,
            (_, _, "SCRIPT") => Kind::Script,
            _ => return None,
        })
    }
}

/// Where values come from.
pub struct Values<'a> {
    line: &'a Line,
    config: Option<Config>,
}

impl<'a> Values<'a> {
    /// Reads the configuration that the line names, else the environment, else the usual one.
    pub fn new(line: &'a Line) -> Self {
        let given = line.values.iter().rev().find(|(id, _)| id == "config");
        let path = match given {
            Some((_, path)) => PathBuf::from(path),
            None => std::env::var_os("CAIRN_CONFIG")
                .map_or_else(|| PathBuf::from(crate::args::CONFIG), PathBuf::from),
        };
        Self { line, config: Config::load(&path).ok() }
    }

    /// Returns what there is of a kind. What cannot be read offers nothing.
    pub fn of(&self, kind: Kind) -> Vec<Candidate> {
        let found = match kind {
            Kind::Script => Some(self.scripts()),
            Kind::Verb => Some(verbs()),
            Kind::Gate => Some(self.gates()),
            Kind::Release => self.releases(),
            Kind::ReleaseOrVersion => self.releases().map(|mut releases| {
                releases.extend(self.versions());
                releases
            }),
            Kind::Compose => self.composes(),
            Kind::Repo => self.repos(),
            Kind::Arch => self.arches(),
            Kind::Sig => self.sigs(),
            Kind::ListRoot => self.list_roots(),
            Kind::Ref => self.peek().and_then(|peek| refs(&peek)),
            Kind::RefToAdopt => self.refs_to_adopt(),
            Kind::Rev => self.peek().and_then(|peek| revs(&peek, &self.line.current)),
            Kind::RevOrOperation => self.peek().and_then(|peek| {
                let mut found = revs(&peek, &self.line.current)?;
                found.extend(operations(&peek));
                Some(found)
            }),
            Kind::Hold => self.peek().and_then(|peek| holds(&peek)),
            Kind::User => self.peek().map(|peek| users(&peek)),
        };
        found.unwrap_or_default()
    }

    fn peek(&self) -> Option<Peek> {
        Peek::open(Path::new(&self.config.as_ref()?.store.path))
    }

    /// Returns the releases that the line names so far, else all.
    fn named(&self) -> Option<Vec<ReleaseView<'_>>> {
        let config = self.config.as_ref()?;
        let typed =
            self.line.values.iter().filter(|(id, _)| matches!(&**id, "release" | "releases"));
        let named: Vec<_> = typed.filter_map(|(_, name)| config.release(name).ok()).collect();
        Some(if named.is_empty() { config.release_views() } else { named })
    }

    fn releases(&self) -> Option<Vec<Candidate>> {
        let typed = |name: &str| self.line.values.iter().any(|(_, value)| value == name);
        let views = self.config.as_ref()?.release_views();
        let one = |view: ReleaseView<'_>| Candidate::new(view.name(), view.version().to_string());
        Some(views.into_iter().map(one).filter(|one| !typed(&one.value)).collect())
    }

    /// Versions that refs in production and the vault are named after.
    fn versions(&self) -> Vec<Candidate> {
        let Some(all) = self.peek().and_then(|peek| refs(&peek)) else { return Vec::new() };
        let version = |one: Candidate| {
            let (place, version) = one.value.split_once('/')?;
            let is_one = matches!(place, "production" | "vault") && !version.contains('/');
            is_one.then(|| Candidate::new(version, format!("in {place}")))
        };
        let mut versions: Vec<_> = all.into_iter().filter_map(version).collect();
        versions.dedup_by(|a, b| a.value == b.value);
        versions
    }

    fn composes(&self) -> Option<Vec<Candidate>> {
        let of_sig = self.line.values.iter().any(|(id, _)| id == "sig");
        let mut names = BTreeSet::new();
        for view in self.named()? {
            match of_sig {
                true => names.extend(view.section().sigs.keys().cloned()),
                false => names.extend(view.section().composes.iter().cloned()),
            }
        }
        Some(names.into_iter().map(|name| Candidate::new(name, "compose")).collect())
    }

    fn repos(&self) -> Option<Vec<Candidate>> {
        let mut names = BTreeSet::new();
        for view in self.named()? {
            let repos = &view.section().repos;
            names.extend(repos.plain.iter().chain(&repos.comps).cloned());
        }
        Some(names.into_iter().map(|name| Candidate::new(name, "repo")).collect())
    }

    fn arches(&self) -> Option<Vec<Candidate>> {
        let views = self.named()?;
        let mut names: BTreeSet<&str> = BTreeSet::from(["noarch", "src"]);
        for view in &views {
            names.extend(view.section().arches.iter().map(String::as_str));
        }
        Some(names.into_iter().map(|name| Candidate::new(name, "")).collect())
    }

    fn sigs(&self) -> Option<Vec<Candidate>> {
        let mut found = Vec::new();
        for view in self.named()? {
            found.extend(view.sig_names().into_iter().map(|name| Candidate::new(name, "SIG")));
            let composes = view.section().sigs.iter();
            found.extend(composes.map(|(name, compose)| {
                Candidate::new(name, format!("compose of {}", compose.sig))
            }));
        }
        found.sort_by(|a, b| a.value.cmp(&b.value));
        found.dedup_by(|a, b| a.value == b.value);
        Some(found)
    }

    fn list_roots(&self) -> Option<Vec<Candidate>> {
        let roots = self.config.as_ref()?.lists.iter();
        Some(
            roots.map(|root| Candidate::new(format!("{}/{}", root.mount, root.path), "")).collect(),
        )
    }

    fn gates(&self) -> Vec<Candidate> {
        let typed = |name: &str| self.line.values.iter().any(|(_, value)| value == name);
        let mut found: Vec<_> =
            BUILT_IN_GATES.iter().map(|name| Candidate::new(*name, "")).collect();
        for (name, gate) in self.config.iter().flat_map(|config| &config.gates) {
            match gate {
                Gate::Command { .. } => found.push(Candidate::new(name, "command")),
                Gate::Require { .. } => {}
            }
        }
        found.retain(|gate| !typed(&gate.value));
        found
    }

    fn scripts(&self) -> Vec<Candidate> {
        // A script's own arguments follow it.
        if self.line.values.iter().any(|(id, value)| id == "words" && value.ends_with(".sh")) {
            return self.composes().unwrap_or_default();
        }
        let mut found = Vec::new();
        for release in self.config.iter().flat_map(Config::release_views) {
            let (major, channel) = (release.major(), &release.channel().name);
            found.push(Candidate::new(format!("RLVER={major}"), "release"));
            found.push(Candidate::new(format!("RLREL={channel}"), "channel"));
        }
        found.sort_by(|a, b| a.value.cmp(&b.value));
        found.dedup();
        found.extend(SCRIPTS.iter().map(|script| Candidate::new(script.name, script.arguments)));
        found
    }

    /// Refs that are published somewhere and that nothing has been put into yet.
    fn refs_to_adopt(&self) -> Option<Vec<Candidate>> {
        let there = self.peek().and_then(|peek| refs(&peek)).unwrap_or_default();
        let views = names::views(self.config.as_ref()?);
        let free = views
            .into_iter()
            .filter(|view| there.iter().all(|one| one.value != view.ref_name))
            .map(|view| Candidate::new(view.ref_name, format!("{}:{}", view.mount, view.path)));
        Some(free.collect())
    }
}

fn verbs() -> Vec<Candidate> {
    HookEvent::ALL.iter().map(|verb| Candidate::new(verb.as_str(), "")).collect()
}

fn refs(peek: &Peek) -> Option<Vec<Candidate>> {
    let refs = peek.view().ok()?.refs().ok()?;
    let about = |operation: u64| format!("since operation {operation}");
    Some(
        refs.into_iter()
            .map(|state| Candidate::new(state.name.as_str(), about(state.operation)))
            .collect(),
    )
}

fn holds(peek: &Peek) -> Option<Vec<Candidate>> {
    let names = refs(peek)?.into_iter();
    let name = |one: Candidate| Some(Candidate::new(one.value.strip_prefix("hold/")?, "hold"));
    Some(names.filter_map(name).collect())
}

/// `REF`, after `~` or `@` what it named before, and ids.
fn revs(peek: &Peek, current: &str) -> Option<Vec<Candidate>> {
    for mark in ['~', '@'] {
        let Some((name, _)) = current.split_once(mark) else { continue };
        let moves = peek.view().ok()?.history(&RefName::new(name).ok()?).ok()?;
        let mut found = Vec::new();
        for (before, (number, _)) in moves.into_iter().take(OPERATIONS as usize).enumerate() {
            let Ok(Some(operation)) = peek.operation(number) else { continue };
            let value = match mark {
                '~' => format!("{name}~{before}"),
                _ => format!("{name}@{}", operation.time),
            };
            found.push(Candidate::new(value, told(&operation)));
        }
        return Some(found);
    }
    let mut found = refs(peek)?;
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if current.len() >= 2 && current.bytes().all(is_hex) {
        let snapshots = peek.view().ok()?.snapshots().ok()?;
        let ids = snapshots.into_iter().map(|id| id.to_string());
        let shown = ID_SHOWN.max(current.len());
        let ids = ids.filter(|id| id.starts_with(current)).take(SNAPSHOTS);
        found.extend(
            ids.map(|id| Candidate::new(id.chars().take(shown).collect::<String>(), "snapshot")),
        );
    }
    Some(found)
}

fn operations(peek: &Peek) -> Vec<Candidate> {
    let newest = peek.newest(OPERATIONS).unwrap_or_default();
    newest.iter().map(|one| Candidate::new(one.number.to_string(), told(one))).collect()
}

fn users(peek: &Peek) -> Vec<Candidate> {
    let mut names = BTreeSet::new();
    for operation in peek.newest(OPERATIONS).unwrap_or_default() {
        let (name, by) = operation.user.split_once(" (").unwrap_or((&operation.user, ""));
        names.extend([name.to_owned(), by.trim_end_matches(')').to_owned()]);
    }
    names.into_iter().map(|name| Candidate::new(name, "")).collect()
}

fn told(operation: &Operation) -> String {
    let refs: Vec<&str> = operation.edits.iter().map(|edit| edit.name.as_str()).collect();
    format!("{} {:.0} {}", operation.verb, operation.time, refs.join(" ")).trim_end().to_owned()
}
