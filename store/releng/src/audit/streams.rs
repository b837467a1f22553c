//! Module streams that come, go and get other builds.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use cairn_repodata::modules::{self, Content};
use cairn_store::id::ObjectId;
use cairn_store::path::RelPath;

use super::repos::in_step;
use super::{Filter, State};

/// A module stream that differs, in all repos where it differs in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamRow {
    /// The module.
    pub module: String,
    /// The stream.
    pub stream: String,
    /// Whether it is new, gone, or has other builds or packages.
    pub state: State,
    /// Its builds before, as `version:context`.
    pub old: Vec<String>,
    /// Its builds after.
    pub new: Vec<String>,
    /// Packages that belong to it now and did not.
    pub packages_added: Vec<String>,
    /// Packages that belonged to it and do not now.
    pub packages_removed: Vec<String>,
    /// The repos, sorted.
    pub repos: Vec<RelPath>,
}

/// What a document says of a module beside its builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModuleDocument {
    /// The default stream and profiles.
    Defaults,
    /// The end of a stream's life.
    Obsoletes,
}

impl std::fmt::Display for ModuleDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ModuleDocument::Defaults => "defaults",
            ModuleDocument::Obsoletes => "obsoletes",
        })
    }
}

/// A module's defaults or a stream's end of life that differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModuleDocumentRow {
    /// What it says.
    pub document: ModuleDocument,
    /// The module, with `:stream` if it is of one.
    pub subject: String,
    /// Whether it is new, gone or changed.
    pub state: State,
    /// The repos, sorted.
    pub repos: Vec<RelPath>,
}

/// What differs by module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ModulesDiff {
    /// Streams, those that are gone first, then by module and stream.
    pub streams: Vec<StreamRow>,
    /// Defaults and ends of life.
    pub documents: Vec<ModuleDocumentRow>,
}

impl ModulesDiff {
    /// Returns whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.documents.is_empty()
    }
}

/// What is kept of one repo's modules.
#[derive(Default)]
pub(super) struct ModuleDocuments {
    streams: BTreeMap<(String, String), Builds>,
    documents: BTreeMap<(ModuleDocument, String), ObjectId>,
}

#[derive(Default, PartialEq, Eq)]
struct Builds {
    builds: BTreeSet<String>,
    packages: BTreeSet<String>,
}

/// What differs in one repo.
#[derive(Default)]
pub(super) struct Differences {
    streams: Vec<((String, String), Builds, Builds)>,
    documents: Vec<((ModuleDocument, String), State)>,
}

impl ModuleDocuments {
    pub(super) fn read(file: &str, bytes: &[u8]) -> cairn_repodata::Result<Self> {
        let mut found = Self::default();
        for document in modules::read(file, bytes)? {
            let digest = ObjectId::of(&document.bytes);
            match document.content {
                Content::Stream(stream) => {
                    let name = (stream.nsvca.name, stream.nsvca.stream);
                    let builds = found.streams.entry(name).or_default();
                    let (version, context) = (stream.nsvca.version, stream.nsvca.context);
                    builds.builds.insert(format!("{version}:{context}"));
                    builds.packages.extend(stream.artifacts.iter().map(ToString::to_string));
                }
                Content::Defaults { module } => {
                    found.documents.insert((ModuleDocument::Defaults, module), digest);
                }
                Content::Obsoletes { module, stream, context } => {
                    let context = context.map(|c| format!(":{c}")).unwrap_or_default();
                    let subject = format!("{module}:{stream}{context}");
                    found.documents.insert((ModuleDocument::Obsoletes, subject), digest);
                }
                // Nobody here knows what it says; the record is reported as changed.
                Content::Other { .. } => {}
            }
        }
        Ok(found)
    }

    pub(super) fn compare(self, new: Self, filter: &Filter) -> Differences {
        let mut found = Differences::default();
        for (name, old, new) in in_step(self.streams.into_iter(), new.streams.into_iter()) {
            if old != new && filter.accepts_name(&name.0) {
                found.streams.push((name, old.unwrap_or_default(), new.unwrap_or_default()));
            }
        }
        for (key, old, new) in in_step(self.documents.into_iter(), new.documents.into_iter()) {
            let module = key.1.split(':').next().unwrap_or_default();
            if old != new && filter.accepts_name(module) {
                found.documents.push((key, State::of(&old, &new)));
            }
        }
        found
    }
}

/// Streams of several repos are one row if they have the same builds on both sides.
type StreamKey = (State, String, String, Vec<String>, Vec<String>);

/// Folds the differences of all repos.
#[derive(Default)]
pub(super) struct Modules {
    streams: BTreeMap<StreamKey, [BTreeSet<String>; 2]>,
    in_repos: BTreeMap<StreamKey, BTreeSet<RelPath>>,
    documents: BTreeMap<(ModuleDocument, String, State), BTreeSet<RelPath>>,
}

impl Modules {
    pub(super) fn fold(&mut self, repo: &RelPath, found: Differences) {
        for ((module, stream), old, new) in found.streams {
            let state = match (old.builds.is_empty(), new.builds.is_empty()) {
                (true, _) => State::Added,
                (false, true) => State::Removed,
                (false, false) => State::Changed,
            };
            let builds = |side: &Builds| side.builds.iter().cloned().collect();
            let key = (state, module, stream, builds(&old), builds(&new));
            let [added, removed] = self.streams.entry(key.clone()).or_default();
            added.extend(new.packages.difference(&old.packages).cloned());
            removed.extend(old.packages.difference(&new.packages).cloned());
            self.in_repos.entry(key).or_default().insert(repo.clone());
        }
        for ((document, subject), state) in found.documents {
            let repos = self.documents.entry((document, subject, state)).or_default();
            repos.insert(repo.clone());
        }
    }

    pub(super) fn finish(self) -> ModulesDiff {
        let streams = self.streams.into_iter().zip(self.in_repos.into_values());
        let streams = streams.map(|((key, [added, removed]), repos)| {
            let (state, module, stream, old, new) = key;
            StreamRow {
                module,
                stream,
                state,
                old,
                new,
                packages_added: added.into_iter().collect(),
                packages_removed: removed.into_iter().collect(),
                repos: repos.into_iter().collect(),
            }
        });
        let documents = self.documents.into_iter().map(|((document, subject, state), repos)| {
            let repos = repos.into_iter().collect();
            ModuleDocumentRow { document, subject, state, repos }
        });
        ModulesDiff { streams: streams.collect(), documents: documents.collect() }
    }
}
