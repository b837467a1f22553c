//! From a library's error to what the operator reads: exit code, kind, causes and a hint.

use std::error::Error as _;
use std::process::ExitCode;

use cairn_releng::Error;
use cairn_releng::config::Environment;
use cairn_releng::gates::RefGates;
use cairn_releng::names::NameError;
use cairn_releng::signing::{SigningError, Verdict};
use cairn_store::Error as StoreError;
use cairn_store::error::MountFault;
use cairn_store::path::plain_json;
use serde::Serialize;

use crate::output::{self, Output};

/// How many findings of gates a refusal names, each ref.
const FINDINGS: usize = 20;
/// The exit code of a bug of ours.
pub const BUG: u8 = 70;
/// The exit code for usage and configuration.
pub const USAGE: u8 = 2;
/// The exit code for what is done in part.
pub const PARTIAL: u8 = 5;
/// The exit code for what could not be signed, and for signatures that are not good.
pub const SIGNING: u8 = 12;

/// A failed command.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "error")]
pub struct Failure {
    code: u8,
    kind: &'static str,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
    /// What gates found, when they refuse.
    #[serde(skip_serializing_if = "Option::is_none")]
    gates: Option<Box<[RefGates]>>,
    #[serde(skip)]
    quiet: bool,
}

impl Failure {
    fn new(code: u8, kind: &'static str, message: String) -> Self {
        let (causes, hint, gates) = (Vec::new(), None, None);
        Self { code, kind, message, causes, hint, gates, quiet: false }
    }

    /// Makes a usage error.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..Self::new(USAGE, "usage", message.into()) }
    }

    /// Makes the error of a file beside the store.
    pub fn failed(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..Self::new(1, "io", message.into()) }
    }

    /// Returns what went wrong, in a line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Makes an error that is our own fault.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(BUG, "bug", message.into())
    }

    /// Returns the exit code.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Says of a command that is given up in the middle what became of it: nothing, or the operation
    /// of this number.
    pub fn given_up(mut self, logged: Option<u64>) -> Self {
        if let Some(number) = logged {
            self.message += &format!("; operation {number} is logged, its views may be pending");
            self.hint = Some("cairn publish finishes it when the mount is back".into());
            // A signal keeps its own code.
            if self.code < 128 {
                self.code = PARTIAL;
            }
        }
        self
    }

    /// Prints the failure and returns its exit code.
    pub fn report(&self, output: &Output) -> ExitCode {
        if !self.quiet {
            let text = if output.json {
                plain_json(serde_json::to_string(self).expect("a failure is plain data") + "\n")
            } else {
                self.text(&output.for_talk())
            };
            let _ = output::stderr(&text);
        }
        ExitCode::from(self.code)
    }

    fn text(&self, output: &Output) -> String {
        let mut text = format!("{} {}\n", output.bad("error:"), self.message);
        for cause in &self.causes {
            text += &format!("  caused by: {cause}\n");
        }
        for one in self.gates.iter().flatten() {
            let all: u64 = one.gates.iter().map(|gate| gate.failures).sum();
            let failures: Vec<_> = one.failures().take(FINDINGS).collect();
            let mut remedies: Vec<(&str, &str)> = Vec::new();
            for finding in &failures {
                text += &format!("  {} {finding}\n", output.bad("-"));
                if !remedies.contains(&(finding.rule, finding.remedy)) {
                    remedies.push((finding.rule, finding.remedy));
                }
            }
            let more = all - failures.len() as u64;
            if more > 0 {
                let more = output::count(more, "more finding");
                text += &format!("  {} and {more} in {}\n", output.bad("-"), one.name);
            }
            for (rule, remedy) in remedies {
                text += &format!("  {} {rule}: {remedy}\n", output.strong("remedy:"));
            }
        }
        if let Some(hint) = &self.hint {
            text += &format!("  {} {hint}\n", output.strong("hint:"));
        }
        text
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Error::Store(error).into()
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        // A reader that has seen enough is not a failure.
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self { quiet: true, ..Self::new(0, "closed", String::new()) };
        }
        Self::new(1, "io", format!("stdout: {error}"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (code, kind, hint) = classify(&error);
        let mut causes = Vec::new();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let text = inner.to_string();
            // A transparent error repeats its inner one's text.
            if !error.to_string().contains(&text) {
                causes.push(text);
            }
            cause = inner.source();
        }
        let message = error.to_string();
        let gates = match error {
            Error::Gates(gates) => Some(gates.into()),
            _ => None,
        };
        Self { causes, hint, gates, ..Self::new(code, kind, message) }
    }
}

fn classify(error: &Error) -> (u8, &'static str, Option<String>) {
    let hint = |text: &str| Some(text.to_owned());
    match error {
        Error::Store(error) => classify_store(error),
        Error::Config(error) => (USAGE, "config", error.hint.clone()),
        Error::Name(NameError::Refused { environment: Environment::Vault, .. }) => {
            (4, "refused", hint("only a release whose channel has vault = true is vaulted"))
        }
        Error::Name(NameError::Refused { .. }) => {
            (4, "refused", hint("only a release whose channel has production = true is promoted"))
        }
        Error::Name(NameError::UnknownSig { .. } | NameError::UnknownSigCompose { .. }) => (
            USAGE,
            "unknown-name",
            hint(
                "sigs of the release's section in the configuration names them: cairn config show",
            ),
        ),
        Error::NotInProduction { .. } => {
            (USAGE, "not-in-production", hint("cairn status lists what is in production"))
        }
        Error::Name(_) => (USAGE, "unknown-name", hint("cairn config show lists the releases")),
        Error::Compose { .. } => {
            (1, "compose", hint("--allow-unfinished takes a compose that is not finished"))
        }
        Error::NotIngested { path, .. } => {
            (1, "not-ingested", Some(format!("run cairn ingest {path}")))
        }
        Error::MissingComposes { missing, .. } => {
            let run = missing.iter().map(|(_, path)| format!("cairn ingest {path}"));
            (1, "not-ingested", Some(format!("run {}", run.collect::<Vec<_>>().join("; "))))
        }
        Error::NoGuess(_) => (USAGE, "no-guess", hint("name the ref: --as compose/9/Rocky")),
        Error::Refused { rule: "deletions", .. } => (
            4,
            "refused",
            hint("look at the plan (-n); if it is right, raise the floor: --allow-deletes N%"),
        ),
        Error::Refused { rule: "approvals", .. } => (
            4,
            "refused",
            hint(
                "each of them runs cairn approve REV -m TEXT; in need, --skip-gate approvals -m WHY goes on without, and is logged",
            ),
        ),
        Error::Refused { .. } => (4, "refused", None),
        Error::Gates(_) => (
            4,
            "refused",
            hint(
                "cairn check lists everything; --skip-gate GATE -m WHY goes on without a gate, and is logged",
            ),
        ),
        Error::UnknownGate { .. } => (USAGE, "unknown-name", None),
        Error::UnreasonedSkip(_) => {
            (USAGE, "usage", hint("say why with -m TEXT; the log keeps it"))
        }
        Error::Setting { .. } => (USAGE, "config", None),
        Error::Signing(error) => (SIGNING, "signing", Some(signing_hint(error).to_owned())),
        Error::Input { .. } => (1, "input", hint("mend or remove the file; nothing has changed")),
        Error::Repodata { .. } => {
            (1, "repodata", hint("if a compose is broken, mend it and ingest it with --reread"))
        }
        _ => (1, "failed", None),
    }
}

/// Says what to do about a signature that could not be made or judged.
fn signing_hint(error: &SigningError) -> &'static str {
    let gpgv = |program: &str| program == "gpgv";
    match error {
        SigningError::Start { program, .. } if gpgv(program) => {
            "install gpgv: the package gpgv or gnupg2"
        }
        SigningError::Start { .. } => {
            "look at sign.command: the file must be there and executable, and its first line name \
             an interpreter; for sign.key, install gnupg2"
        }
        SigningError::Ended { program, .. } if gpgv(program) => "run gpgv by hand to see more",
        SigningError::Ended { .. } => "mend what it complains of, then run the command again",
        SigningError::TimedOut { .. } => {
            "it may wait for a PIN or a token: unlock the key first, or raise sign.timeout"
        }
        SigningError::NoSignature { .. } => {
            "in-place: it must leave FILE.asc beside {file}; stdio: write the signature to stdout"
        }
        SigningError::NotGood { verdict, .. } => match verdict {
            Verdict::Good { .. } | Verdict::Bad { .. } => {
                "it must sign the bytes that it is given, and change none of them"
            }
            Verdict::UnknownKey { .. } => {
                "sign with a key whose public half is in sign.verify_key, or add it there"
            }
            Verdict::Expired { .. } | Verdict::Revoked { .. } => {
                "sign with a key that is in force; a key whose time was extended must be exported \
                 to sign.verify_key again"
            }
            Verdict::Weak { .. } => "let it use SHA-256 or better: gpg --digest-algo SHA512",
            Verdict::NotASignature { .. } => {
                "it must make an armoured detached signature: gpg --detach-sign --armor"
            }
        },
        SigningError::Keys { .. } => {
            "sign.verify_key names a file of public keys: gpg --armor --export KEY"
        }
        SigningError::Scratch { .. } => "TMPDIR, else /tmp, must be there, writable and not full",
        _ => "nothing was published; mend it and run the command again",
    }
}

fn classify_store(error: &StoreError) -> (u8, &'static str, Option<String>) {
    let hint = |text: &str| Some(text.to_owned());
    match error {
        StoreError::NoStore(_) => (10, "no-store", hint("run cairn init first")),
        StoreError::Unsupported { .. } => {
            (10, "unsupported", hint("use the version of cairn that wrote this store, or a newer"))
        }
        StoreError::Busy { .. } => {
            (11, "busy", hint("wait for it, or give --lock-wait a longer time"))
        }
        StoreError::LockLost { .. } => (
            11,
            "lock-lost",
            hint("somebody else may be at work on it: look at cairn status, then repeat"),
        ),
        StoreError::Corrupt { .. } | StoreError::Mismatch { .. } => {
            (13, "corrupt", hint("run cairn fsck --full to see what else is damaged"))
        }
        StoreError::MissingObject { .. } => (
            13,
            "missing-object",
            hint(
                "run cairn fsck --full; cairn ingest --reread of a compose that has it puts it back",
            ),
        ),
        StoreError::Stale { .. } => (4, "stale", hint("look at the plan again and repeat")),
        StoreError::UnknownRef(_) => (
            1,
            "unknown-ref",
            hint("cairn status lists the refs; a ref appears when it is first moved"),
        ),
        StoreError::UnknownRev { .. } => {
            (1, "unknown-rev", hint("cairn log REF lists the snapshots a ref has named"))
        }
        StoreError::Collected { .. } => (
            1,
            "collected",
            hint("what it held is gone; cairn hold keeps a snapshot from being collected"),
        ),
        StoreError::BadRefName { .. } => (USAGE, "bad-ref-name", hint("such as production/9.7")),
        StoreError::NoSuchPath { .. } => (1, "no-such-path", hint("cairn ls shows what is there")),
        StoreError::Mount { fault: MountFault::Silent(_), .. } => (
            1,
            "mount",
            hint("look after its server, or umount -f it; answer_within says how long to wait"),
        ),
        StoreError::Mount { fault: MountFault::Unable(_), .. } => (
            1,
            "mount",
            hint("leave swap out, and init takes what there is; else it needs another file system"),
        ),
        StoreError::Mount { .. } => {
            (1, "mount", hint("mount it; a mount that is new is made cairn's by cairn init"))
        }
        StoreError::ViewOccupied { .. } => (
            4,
            "occupied",
            hint(
                "move it away; cairn replaces what it published and, where directories are \
                 exchanged, an empty one",
            ),
        ),
        StoreError::UnsupportedKind { .. } => {
            (1, "unsupported-kind", hint("remove it from the compose"))
        }
        StoreError::Refused { .. } => (1, "refused-input", None),
        StoreError::Changed { .. } => {
            (1, "changed", hint("wait until the compose is finished, then run the command again"))
        }
        StoreError::Interrupted => (crate::progress::signal_exit_code(), "interrupted", None),
        StoreError::Io { source, .. } => {
            let text = match source.raw_os_error() {
                // ENOSPC, EDQUOT, EACCES, EPERM, EROFS of Linux.
                Some(28 | 122) => hint("free some space; nothing was published"),
                Some(13 | 1) => hint("run it as the user who owns the store and the mounts"),
                Some(30) => hint("the file system is mounted read-only"),
                _ => None,
            };
            (1, "io", text)
        }
        _ => (1, "failed", None),
    }
}
