//! What can be refused or go wrong in a release verb.

use std::path::PathBuf;

use cairn_store::path::{RelPath, display};

use crate::config::ConfigError;
use crate::gates::{RefGates, Verdict};
use crate::names::NameError;
use crate::signing::SigningError;

/// Says in one sentence which gates refuse what.
fn refusal(refs: &[RefGates]) -> String {
    let mut parts = Vec::new();
    for one in refs {
        for gate in one.gates.iter().filter(|gate| gate.verdict == Verdict::Failed) {
            let findings = if gate.failures == 1 { "finding" } else { "findings" };
            parts.push(format!(
                "{}: the gate {} fails with {} {findings}",
                one.name, gate.gate, gate.failures
            ));
        }
    }
    parts.join("; ")
}

/// Names refs as what has something or have it.
fn have(missing: &[(String, String)]) -> String {
    let names: Vec<&str> = missing.iter().map(|(name, _)| name.as_str()).collect();
    let verb = if names.len() == 1 { "has" } else { "have" };
    format!("{} {verb}", names.join(", "))
}

/// The result of a release verb.
pub type Result<T> = std::result::Result<T, Error>;

/// Tells an error with its causes in one line, for a note or a row that outlives the error.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text += &format!(": {inner}");
        cause = inner.source();
    }
    text
}

/// An error of a release verb.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store's.
    #[error(transparent)]
    Store(#[from] cairn_store::Error),
    /// The configuration's.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A name that leads nowhere, or to where it must not go.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A compose that is not one, or is not finished.
    #[error("{}: {reason}", display(path))]
    Compose {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A compose was named that has not been ingested.
    #[error("{name} has not been ingested")]
    NotIngested {
        /// The ref that is missing.
        name: String,
        /// Where its compose should be on disk.
        path: String,
    },
    /// A release is made of composes that have not been ingested.
    #[error("release {release}: {} not been ingested", have(missing))]
    MissingComposes {
        /// The release.
        release: String,
        /// The refs that are missing, and where their composes should be on disk.
        missing: Vec<(String, String)>,
    },
    /// A ref cannot be guessed from a directory's name.
    #[error("{}: its name does not say which ref it is", display(.0))]
    NoGuess(PathBuf),
    /// A rule refuses a promotion.
    #[error("{name}: {reason} (rule {rule})")]
    Refused {
        /// The ref that would have moved.
        name: String,
        /// The rule's name.
        rule: &'static str,
        /// What breaks it, with numbers.
        reason: String,
    },
    /// Something that is only done in production was asked of another ref.
    #[error("{name}: it is no release and no sig in production")]
    NotInProduction {
        /// The ref.
        name: String,
    },
    /// Gates refuse a promotion.
    #[error("{}", refusal(.0))]
    Gates(Vec<RefGates>),
    /// No gate has this name.
    #[error("unknown gate {name:?}; known: {}", known.join(", "))]
    UnknownGate {
        /// The name as it was given.
        name: String,
        /// The gates that there are.
        known: Vec<String>,
    },
    /// A gate was to be skipped without saying why.
    #[error("skipping the gate {0} needs a reason")]
    UnreasonedSkip(String),
    /// A setting that this version cannot follow.
    #[error("{key}: {reason}")]
    Setting {
        /// The key in the configuration.
        key: String,
        /// Why.
        reason: String,
    },
    /// Something could not be signed, or a signature not be judged.
    #[error(transparent)]
    Signing(Box<SigningError>),
    /// A file beside the composes that cannot be used.
    #[error("{}: {reason}", display(path))]
    Input {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An image that cannot be published, or not under its name.
    #[error("{path}: {reason}")]
    Media {
        /// The file inside the tree.
        path: RelPath,
        /// Why.
        reason: String,
    },
    /// RPM metadata that cannot be read.
    #[error("{path}: {reason}")]
    Repodata {
        /// The file inside the tree.
        path: RelPath,
        /// Why.
        reason: String,
    },
}

impl Error {
    /// Says why a file beside the composes cannot be used; the cause may name it.
    pub(crate) fn input(path: impl Into<PathBuf>, cause: &dyn std::error::Error) -> Self {
        let (path, text) = (path.into(), told(cause));
        let reason = text.strip_prefix(&format!("{}: ", display(&path))).unwrap_or(&text);
        Error::Input { reason: reason.to_owned(), path }
    }
}

impl From<SigningError> for Error {
    fn from(error: SigningError) -> Self {
        Error::Signing(Box::new(error))
    }
}
