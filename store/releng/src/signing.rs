//! Signing: who signs a release's metadata, and who says that a signature is good.
//!
//! A [`Signer`] turns bytes into a detached, armoured signature by a command of the operator's
//! or by gpg, and returns none that a [`Verifier`] has not found good with the keys that clients
//! have. Neither touches a tree or a mount: a verb asks for signatures first and stores them, with
//! what they sign, in one snapshot. So an unsigned or wrongly signed release is never published,
//! and whatever goes wrong here is an error before anything has happened (exit code 12).
//!
//! Commands run one after the other: a token or an agent that asks for a PIN does not gain from
//! being asked twice at once. They run on copies in a private directory (`scratch`) which is
//! gone afterwards, as `program` runs programs.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use cairn_store::path::display;
use cairn_store::progress::Observer;

use crate::Result;
use crate::config::{Config, SignBy, SignMode, SignSection, Template, format_duration};
use crate::names::ReleaseView;
use crate::program::{Ended, Failure, Program};

mod keyring;
mod scratch;
mod tree;
mod verify;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use scratch::Scratch;
pub(crate) use tree::PLANNED;
pub use tree::{RepoSignature, Signed, TreeSigner, examine};
use verify::MAX_SIGNATURE;
pub use verify::{Verdict, Verifier};

/// Why something could not be signed, or a signature not be judged.
///
/// `name` is what was to be signed, as the caller called it; `program` what was run for it; `said`
/// the end of what that wrote to stderr.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningError {
    /// A program could not be started.
    #[error("{name}: {program} cannot be started")]
    Start {
        /// What was to be signed or verified.
        name: String,
        /// The program.
        program: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A program ended, but not with success.
    #[error("{name}: {program} {how}{}", quoted(said))]
    Ended {
        /// What was to be signed or verified.
        name: String,
        /// The program.
        program: String,
        /// `ended with exit code 3`, `was killed by signal 9`.
        how: String,
        /// What it said.
        said: Option<String>,
    },
    /// A program took too long and was killed, with all that it had started.
    #[error(
        "{name}: {program} had not ended after {}, and was killed{}",
        format_duration(*after), quoted(said)
    )]
    TimedOut {
        /// What was to be signed or verified.
        name: String,
        /// The program.
        program: String,
        /// How long it had.
        after: Duration,
        /// What it said.
        said: Option<String>,
    },
    /// A program ended with success and left nothing that could be a signature.
    #[error("{name}: {program} {reason}{}", quoted(said))]
    NoSignature {
        /// What was to be signed.
        name: String,
        /// The program.
        program: String,
        /// What it did instead, as a verb: `left no repomd.xml.asc`.
        reason: String,
        /// What it said.
        said: Option<String>,
    },
    /// What a program left is not a good signature by a configured key.
    #[error(
        "{name}: the signature that {program} made {verdict} (verified with {})",
        display(keys)
    )]
    NotGood {
        /// What was to be signed.
        name: String,
        /// The program.
        program: String,
        /// What is wrong with it.
        verdict: Verdict,
        /// The file of the configured keys.
        keys: PathBuf,
    },
    /// The file of the keys that clients have cannot be used.
    #[error("{}: {reason}", display(path))]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, as a verb.
        reason: String,
        /// The system's answer.
        source: Option<cairn_store::Error>,
    },
    /// The temporary copy could not be made or read.
    #[error("{name}: no private directory to sign it in")]
    Scratch {
        /// What was to be signed or verified.
        name: String,
        /// The system's answer.
        source: cairn_store::Error,
    },
}

fn quoted(said: &Option<String>) -> String {
    said.as_ref().map(|said| format!("; it said: {said}")).unwrap_or_default()
}

fn interrupted() -> crate::Error {
    cairn_store::Error::Interrupted.into()
}

/// What signs a release.
#[derive(Debug)]
pub struct Signer<'c> {
    release: ReleaseView<'c>,
    section: &'c SignSection,
    verifier: Verifier,
}

impl<'c> Signer<'c> {
    /// Returns what `[sign]` names for a release; none if nothing is signed.
    pub fn for_release(config: &'c Config, release: &ReleaseView<'c>) -> Result<Option<Self>> {
        let Some(section) = &config.sign else { return Ok(None) };
        let Some(verifier) = Verifier::for_release(config, release)? else { return Ok(None) };
        Ok(Some(Self { release: *release, section, verifier }))
    }

    /// Returns what verifies the signatures that this makes.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Returns a detached, armoured signature over `bytes` that the verifier found good.
    ///
    /// `name` is what messages and the command's log call them, such as
    /// `BaseOS/x86_64/os/repodata/repomd.xml`.
    pub fn sign(&self, name: &str, bytes: &[u8], observer: &dyn Observer) -> Result<Vec<u8>> {
        let (program, signature) = match &self.section.by {
            SignBy::Command { command, mode: SignMode::InPlace } => {
                self.in_place(command, name, bytes, observer)?
            }
            SignBy::Command { command, mode: SignMode::Stdio } => {
                let expand = |part| self.release.expand(part, &[]);
                let command = command.iter().map(expand).collect::<std::result::Result<_, _>>()?;
                self.through_pipes(command, name, bytes, observer)?
            }
            SignBy::Key(key) => {
                self.through_pipes(gpg(self.release.expand(key, &[])?), name, bytes, observer)?
            }
        };
        match self.verifier.verify(name, bytes, &signature, observer)? {
            Verdict::Good { .. } => Ok(signature),
            verdict => Err(SigningError::NotGood {
                name: name.to_owned(),
                program,
                verdict,
                keys: self.verifier.path().to_owned(),
            }
            .into()),
        }
    }

    /// Runs a command that leaves `FILE.asc` beside the file that it is given.
    fn in_place(
        &self,
        command: &[Template],
        name: &str,
        bytes: &[u8],
        observer: &dyn Observer,
    ) -> Result<(String, Vec<u8>)> {
        let place = |source| SigningError::Scratch { name: name.to_owned(), source };
        let scratch = Scratch::new().map_err(place)?;
        let file = file_name(name);
        let path = scratch.write(&file, bytes).map_err(place)?;
        // The system's temporary directory is text, or the configuration could not name it.
        let path = path.to_string_lossy();
        let expand = |part| self.release.expand(part, &[("file", &path)]);
        let command: Vec<String> =
            command.iter().map(expand).collect::<std::result::Result<_, _>>()?;
        let ended = self.run(&command, &scratch, name, &[], observer)?;
        let program = shown(&command);
        let left = format!("{file}.asc");
        let none = |reason| SigningError::NoSignature {
            name: name.to_owned(),
            program: program.clone(),
            reason,
            said: ended.said.quoted(),
        };
        match scratch.read(&left, MAX_SIGNATURE) {
            Ok(Some(signature)) if signature.trim_ascii().is_empty() => {
                Err(none(format!("left an empty {left}")).into())
            }
            Ok(Some(signature)) => Ok((program, signature)),
            Ok(None) => Err(none(format!("left no {left} beside the file")).into()),
            Err(cairn_store::Error::Refused { reason, .. }) => {
                Err(none(format!("left a {left} that {reason}")).into())
            }
            Err(source) => Err(place(source).into()),
        }
    }

    /// Runs a command that reads the bytes on stdin and writes the signature to stdout.
    fn through_pipes(
        &self,
        command: Vec<String>,
        name: &str,
        bytes: &[u8],
        observer: &dyn Observer,
    ) -> Result<(String, Vec<u8>)> {
        let place = |source| SigningError::Scratch { name: name.to_owned(), source };
        let scratch = Scratch::new().map_err(place)?;
        let ended = self.run(&command, &scratch, name, bytes, observer)?;
        let program = shown(&command);
        let reason = match () {
            () if ended.cut => format!("wrote more than {MAX_SIGNATURE} bytes to stdout"),
            () if ended.stdout.trim_ascii().is_empty() => "wrote nothing to stdout".to_owned(),
            () => return Ok((program, ended.stdout)),
        };
        let (name, said) = (name.to_owned(), ended.said.quoted());
        Err(SigningError::NoSignature { name, program, reason, said }.into())
    }

    fn run(
        &self,
        command: &[String],
        scratch: &Scratch,
        name: &str,
        input: &[u8],
        observer: &dyn Observer,
    ) -> Result<Ended> {
        let timeout = self.section.timeout;
        let most = MAX_SIGNATURE;
        let run = Program { command, dir: scratch.path(), name, input, timeout, most };
        let (name, program) = (name.to_owned(), shown(command));
        match run.run(observer) {
            Ok(ended) => match ended.failure() {
                None => Ok(ended),
                Some(how) => {
                    let said = ended.said.quoted();
                    Err(SigningError::Ended { name, program, how, said }.into())
                }
            },
            Err(Failure::Interrupted) => Err(interrupted()),
            Err(Failure::Start(source)) => {
                Err(SigningError::Start { name, program, source }.into())
            }
            Err(Failure::TimedOut(said)) => {
                let said = said.quoted();
                Err(SigningError::TimedOut { name, program, after: timeout, said }.into())
            }
        }
    }
}

/// gpg with its own defaults: whatever agent, token or home the environment leads to.
fn gpg(key: String) -> Vec<String> {
    let fixed = ["gpg", "--batch", "--yes", "--detach-sign", "--armor", "--local-user"];
    fixed.into_iter().map(str::to_owned).chain([key]).collect()
}

/// Returns the program of a command, safe for a message.
fn shown(command: &[String]) -> String {
    let program = command.first().map_or("", String::as_str);
    cairn_store::path::Escaped(program.as_bytes()).to_string()
}

/// Returns what the temporary copy is called: as the file itself, where that is a plain name.
fn file_name(name: &str) -> String {
    let last = name.rsplit(['/', ':']).next().unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
    let usable =
        last.bytes().all(plain) && last.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if usable && last.len() < 200 { last.to_owned() } else { "data".to_owned() }
}
