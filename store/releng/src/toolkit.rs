//! The scripts' names: what a line of the old procedure means in cairn's commands.
//!
//! Owns the table of scripts. A [`Call`] is what was typed: a script, its arguments, and the
//! release by `RLVER` and `RLREL`; [`translate`] turns it into a [`Job`], the commands that do the
//! same. Everything about the line is judged before there is a job: an empty or unknown release is
//! an error, never a default and never an empty name. [`shims`] names the files that make the
//! printed lines work word for word. Nothing is run and nothing is written here.

mod call;

#[cfg(test)]
mod tests;

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::config::{Config, nearest};
use crate::names::{NameError, ReleaseView, sig_compose};

pub use call::{Call, Variables};

/// What begins the second line of every shim, and tells it from a script of somebody else.
pub const MARK: &str = "# cairn toolkit: ";

/// A script of the old procedure.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    /// Its file name. `N` in the name of `prep-staging-N.sh` stands for a major release.
    pub name: &'static str,
    /// What it takes, as its usage line shows it.
    pub arguments: &'static str,
    /// The channel that its name means where `RLREL` is not set.
    pub channel: Option<&'static str>,
    does: Does,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Stage { exact: bool },
    StageSig,
    Prepare,
    Promote { flags: &'static [&'static str] },
    PromoteAll,
    PromoteSig,
    Sign,
    Minor,
    Vault { flags: &'static [&'static str] },
    VaultSig,
    Lists(Lists),
    Torrents,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lists {
    All,
    Root,
    Sig,
    Vault,
}

const fn script(name: &'static str, arguments: &'static str, does: Does) -> Script {
    Script { name, arguments, channel: None, does }
}

/// Every script that is known, in the order of the procedure.
pub const SCRIPTS: &[Script] = &[
    script("sync-to-staging.sh", "COMPOSE [SIG]", Does::Stage { exact: false }),
    script("sync-to-staging.delete.sh", "COMPOSE", Does::Stage { exact: true }),
    script("sync-to-staging-sig.sh", "COMPOSE [SIG]", Does::StageSig),
    script(PREPARE, "", Does::Prepare),
    script("sign-repos-only.sh", "", Does::Sign),
    script("minor-release-sync-to-staging.sh", "", Does::Minor),
    Script { channel: Some("beta"), ..script("beta-release-sync-to-staging.sh", "", Does::Minor) },
    Script {
        channel: Some("lookahead"),
        ..script("lh-release-sync-to-staging.sh", "", Does::Minor)
    },
    script("gen-torrents.sh", "", Does::Torrents),
    script("sync-to-prod.sh", "", Does::Promote { flags: &[] }),
    script("sync-to-prod.delete.sh", "", Does::Promote { flags: &["--delete"] }),
    script("sync-to-prod-dry.sh", "", Does::Promote { flags: &["--dry-run"] }),
    script("sync-to-prod-all.sh", "", Does::PromoteAll),
    script("sync-to-prod-sig.sh", "[COMPOSE [SIG]]", Does::PromoteSig),
    script("vault-release.sh", "", Does::Vault { flags: &[] }),
    script("vault-release-no-repodata.sh", "", Does::Vault { flags: &["--no-repodata"] }),
    script("vault-sig.sh", "", Does::VaultSig),
    script("sync-file-list-parallel.sh", "", Does::Lists(Lists::All)),
    script("sync-full-file-list.sh", "", Does::Lists(Lists::All)),
    script("sync-root-file-list.sh", "", Does::Lists(Lists::Root)),
    script("sync-sig-file-list.sh", "", Does::Lists(Lists::Sig)),
    script("sync-file-list-vault.sh", "", Does::Lists(Lists::Vault)),
];

/// The one whose name has the release in it.
const PREPARE: &str = "prep-staging-N.sh";

/// Scripts whose work is part of another command, and of which.
const ABSORBED: &[(&str, &str)] = &[
    ("symlink-images-and-checksum.sh", "cairn minor RELEASE makes links and checksums of images"),
    ("prep-staging.sh", "the release is in the name: prep-staging-8.sh"),
];

/// What a line becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The script's name.
    pub script: String,
    /// The releases that it is about, none for lists.
    pub releases: Vec<String>,
    /// The commands, one after the other, each as words after `cairn`.
    pub commands: Vec<Vec<String>>,
    /// What the operator should know.
    pub notes: Vec<String>,
}

/// Why a line means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ToolkitError {
    /// There is no script in it.
    #[error("no script is named")]
    NoScript,
    /// No script has this name.
    #[error("unknown script {name:?}")]
    UnknownScript {
        /// The name as it was given.
        name: String,
        /// What would be right.
        hint: String,
    },
    /// The script needs to be told which release.
    #[error("{script}: RLVER is not set, so there is no release to work on")]
    NoRelease {
        /// The script.
        script: String,
        /// The majors that are configured.
        known: Vec<String>,
    },
    /// A variable is there and says nothing.
    #[error("{variable} is set and empty")]
    Empty {
        /// `RLVER` or `RLREL`.
        variable: &'static str,
    },
    /// A variable, or the script's name, says two things.
    #[error("{variable} is {first:?} {by_first} and {second:?} {by_second}")]
    Twice {
        /// `RLVER` or `RLREL`.
        variable: &'static str,
        /// What it is in one place.
        first: String,
        /// The place.
        by_first: &'static str,
        /// What it is in the other.
        second: String,
        /// The other.
        by_second: &'static str,
    },
    /// Too many or too few arguments.
    #[error("{script}: {count} {} given", if *count == 1 { "argument was" } else { "arguments were" })]
    Arguments {
        /// The script.
        script: String,
        /// How many there were.
        count: usize,
        /// The line as it should be.
        usage: String,
    },
    /// The compose belongs to another SIG.
    #[error(
        "{script}: compose {compose:?} of release {release} is of the SIG {sig:?}, not {given:?}"
    )]
    OtherSig {
        /// The script.
        script: String,
        /// The release.
        release: String,
        /// Short name of the compose.
        compose: String,
        /// Its SIG.
        sig: String,
        /// The SIG that was given.
        given: String,
    },
    /// The release keeps all builds of a point release, so its staging is never made exact.
    #[error("release {release} keeps every build of a point release downloadable")]
    Accumulates {
        /// The release.
        release: String,
        /// Its staging ref.
        staging: String,
        /// The command that does it all the same.
        command: String,
    },
    /// The release, SIG or compose leads nowhere.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl ToolkitError {
    /// Says what to do.
    pub fn hint(&self) -> String {
        match self {
            Self::NoScript => "cairn toolkit SCRIPT, such as sync-to-prod.sh".to_owned(),
            Self::UnknownScript { hint, .. } => hint.clone(),
            Self::NoRelease { script, known } => {
                let first = known.first().map_or("9", String::as_str);
                format!("RLVER={first} bash {script}; configured: {}", known.join(", "))
            }
            Self::Empty { variable } => format!("give {variable} a value, or unset it"),
            Self::Twice { .. } => "say it once".to_owned(),
            Self::Arguments { usage, .. } => format!("it is called as: {usage}"),
            Self::OtherSig { sig, .. } => {
                format!("write {sig}, or change sigs of the release in the configuration")
            }
            Self::Accumulates { command, .. } => {
                format!("if you mean it, run {command}; or use sync-to-staging.sh")
            }
            Self::Name(NameError::UnknownSig { release, name, .. }) => format!(
                "a SIG's compose is configured in [release.{release}]: sigs = {{ {name} = \
                 \"SIG/PROJECT\" }}"
            ),
            Self::Name(_) => "cairn config show lists what is configured".to_owned(),
        }
    }
}

/// Returns the commands that do what a line means.
pub fn translate(config: &Config, call: &Call) -> Result<Job, ToolkitError> {
    let (script, major) = find(config, &call.script)?;
    check_arguments(&script, call)?;
    let mut job = Job {
        script: call.script.clone(),
        releases: Vec::new(),
        commands: Vec::new(),
        notes: Vec::new(),
    };
    match script.does {
        Does::Lists(which) => {
            if call.version.is_some() || call.channel.is_some() {
                job.notes
                    .push("The lists are of all releases: RLVER and RLREL do not matter.".into());
            }
            job.commands.push(lists(config, which));
            return Ok(job);
        }
        Does::PromoteAll => {
            let releases = all_releases(config, &script, call)?;
            if call.version.is_some() {
                job.notes
                    .push(format!("{} is about all releases: RLVER does not matter.", call.script));
            }
            job.releases = releases.clone();
            job.commands.push([words(["promote"]), releases].concat());
            return Ok(job);
        }
        _ => {}
    }
    let release = release_of(config, &script, major, call)?;
    let name = release.name();
    job.releases.push(name.clone());
    let mut add = |command: Vec<String>| job.commands.push(command);
    match script.does {
        Does::Stage { exact } => match call.args.as_slice() {
            [compose, sig] => stage_sig(&release, &call.script, compose, Some(sig), &mut add)?,
            [compose, ..] => {
                let exactly = words(["stage", &name, compose, "--delete"]);
                if exact && release.section().accumulate {
                    return Err(ToolkitError::Accumulates {
                        staging: release.staging_ref(),
                        command: shown(&exactly),
                        release: name,
                    });
                }
                add(ingest(&release, compose)?);
                add(if exact { exactly } else { words(["stage", &name, compose]) });
            }
            [] => {}
        },
        Does::StageSig => {
            if let Some((compose, sig)) = call.args.split_first() {
                stage_sig(&release, &call.script, compose, sig.first(), &mut add)?;
            }
        }
        Does::Prepare => {
            if config.sign.is_some() {
                add(words(["sign", &name]));
            }
            add(words(["check", &release.staging_ref(), "repodata"]));
        }
        Does::Promote { flags } => add([words(["promote", &name]), words(flags.iter())].concat()),
        Does::PromoteSig => match call.args.split_first() {
            Some((compose, sig)) => {
                let compose = check_sig(&release, &call.script, compose, sig.first())?;
                add(words(["promote", &name, "--sig", &compose]));
            }
            // As the scripts' loop did: what was never staged does not keep the others back.
            None if release.sig_names().is_empty() => {}
            None => add(words(["promote", &name, "--all-sigs"])),
        },
        Does::Sign => add(words(["sign", &name])),
        Does::Minor => {
            for compose in &release.section().composes {
                add(ingest(&release, compose)?);
            }
            add(words(["minor", &name]));
        }
        Does::Vault { flags } => {
            // As the script did: the version that the release has now. For one that is never
            // vaulted the name goes on as it is, and the verb says why not.
            let what = match release.channel().vault {
                true => release.version().to_string(),
                false => name,
            };
            add([words(["vault", &what]), words(flags.iter())].concat());
        }
        Does::VaultSig => {
            let what = match (release.channel().vault, release.channel().previous) {
                (true, Some(previous)) => previous.to_string(),
                _ => name,
            };
            match (release.sig_names().is_empty(), release.channel().vault) {
                // The verb says why it does not.
                (true, false) => add(words(["vault", &what])),
                (true, true) => {}
                (false, _) => add(words(["vault", &what, "--all-sigs"])),
            }
        }
        Does::Torrents => add(words(["torrents", &name])),
        Does::PromoteAll | Does::Lists(_) => {}
    }
    if job.commands.is_empty() {
        job.notes
            .push(format!("Release {} has no SIGs, so there is nothing to do.", release.name()));
    }
    Ok(job)
}

/// Returns the names of the files that serve the printed lines, sorted.
///
/// Beside the scripts these are `RLVER=9` and `RLREL=beta`: in `bash RLVER=9 sync-to-prod.sh` the
/// shell takes the first word for a file.
pub fn shims(config: &Config) -> Vec<String> {
    let mut names = Vec::new();
    for script in SCRIPTS {
        match script.does {
            Does::Prepare => {
                let majors = config.releases.keys();
                names.extend(majors.map(|major| PREPARE.replacen('N', &major.to_string(), 1)));
            }
            _ => names.push(script.name.to_owned()),
        }
    }
    names.extend(config.releases.keys().map(|major| format!("RLVER={major}")));
    for channel in config.releases.values().flat_map(|release| release.channels.values()) {
        let called = channel.aliases.iter().chain([&channel.name]);
        names.extend(called.map(|name| format!("RLREL={name}")));
    }
    names.sort();
    names.dedup();
    names
}

/// Returns the three lines of a shim: they hand everything to this program.
pub fn shim(program: &Path, config: &Path, name: &str) -> Vec<u8> {
    let mut text = format!("#!/bin/sh\n{MARK}{name}\nexec ").into_bytes();
    text.extend(quoted(program.as_os_str().as_bytes()));
    text.extend(b" --config ");
    text.extend(quoted(config.as_os_str().as_bytes()));
    text.extend(b" toolkit ");
    text.extend(quoted(name.as_bytes()));
    text.extend(b" \"$@\"\n");
    text
}

/// Renders a command of cairn as it would be typed.
pub fn shown(command: &[String]) -> String {
    format!("cairn {}", shell_words(command))
}

/// Renders words as they would be typed in a shell.
pub fn shell_words(words: &[String]) -> String {
    let words = words.iter().map(|word| quoted(word.as_bytes()));
    String::from_utf8_lossy(&words.collect::<Vec<_>>().join(&b' ')).into_owned()
}

/// Quotes a word for a shell, where that needs it.
fn quoted(word: &[u8]) -> Vec<u8> {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_./:=+,@%".contains(b);
    if !word.is_empty() && word.iter().all(plain) {
        return word.to_vec();
    }
    let mut out = vec![b'\''];
    for byte in word {
        match byte {
            b'\'' => out.extend(b"'\\''"),
            byte => out.push(*byte),
        }
    }
    out.push(b'\'');
    out
}

fn words<'a>(words: impl IntoIterator<Item = impl AsRef<str> + 'a>) -> Vec<String> {
    words.into_iter().map(|word| word.as_ref().to_owned()).collect()
}

/// Finds a script, and the major that is in its name.
fn find(config: &Config, name: &str) -> Result<(Script, Option<String>), ToolkitError> {
    if let Some(script) = SCRIPTS.iter().find(|script| script.name == name) {
        // `N` is not a release.
        if script.does != Does::Prepare {
            return Ok((*script, None));
        }
    }
    let (start, end) = PREPARE.split_once('N').unwrap_or((PREPARE, ""));
    let middle = name.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
    if let Some(major) =
        middle.filter(|major| config.releases.keys().any(|n| n.to_string() == **major))
    {
        let script = SCRIPTS.iter().find(|script| script.does == Does::Prepare);
        return Ok((*script.expect("it is in the table"), Some(major.to_owned())));
    }
    let known = shims(config);
    let scripts = known.iter().map(String::as_str).filter(|name| name.ends_with(".sh"));
    let absorbed = ABSORBED.iter().find(|(absorbed, _)| *absorbed == name);
    let hint = match (absorbed, nearest(name, scripts.clone())) {
        (Some((_, instead)), _) => (*instead).to_owned(),
        (None, Some(near)) => format!("did you mean {near}?"),
        (None, None) => format!("known: {}", scripts.collect::<Vec<_>>().join(", ")),
    };
    Err(ToolkitError::UnknownScript { name: name.to_owned(), hint })
}

fn check_arguments(script: &Script, call: &Call) -> Result<(), ToolkitError> {
    let range = match script.arguments {
        "" => 0..=0,
        "COMPOSE" => 1..=1,
        "COMPOSE [SIG]" => 1..=2,
        _ => 0..=2,
    };
    if range.contains(&call.args.len()) {
        return Ok(());
    }
    let usage = format!("{} {}", call.script, script.arguments);
    Err(ToolkitError::Arguments {
        script: call.script.clone(),
        count: call.args.len(),
        usage: usage.trim_end().to_owned(),
    })
}

/// Returns the release that variables and name agree on.
fn release_of<'c>(
    config: &'c Config,
    script: &Script,
    in_name: Option<String>,
    call: &Call,
) -> Result<ReleaseView<'c>, ToolkitError> {
    let major = match (&call.version, in_name) {
        (Some(version), Some(name)) if *version != name => {
            return Err(ToolkitError::Twice {
                variable: "RLVER",
                first: version.clone(),
                by_first: "where it is set",
                second: name,
                by_second: "in the script's name",
            });
        }
        (Some(version), _) => version.clone(),
        (None, Some(name)) => name,
        (None, None) => {
            let known = config.releases.keys().map(ToString::to_string).collect();
            return Err(ToolkitError::NoRelease { script: call.script.clone(), known });
        }
    };
    let release = config.release(&typed(&major, call.channel.as_deref().or(script.channel)))?;
    if let (Some(meant), Some(given)) = (script.channel, &call.channel)
        && release.channel().name != meant
    {
        return Err(ToolkitError::Twice {
            variable: "RLREL",
            first: given.clone(),
            by_first: "where it is set",
            second: meant.to_owned(),
            by_second: "in the script's name",
        });
    }
    Ok(release)
}

/// The release as it is typed. RLVER is a major: `9-beta` in it must not choose a channel, and with
/// another `-` after it there is none.
fn typed(major: &str, channel: Option<&str>) -> String {
    match channel {
        Some(channel) => format!("{major}-{channel}"),
        None if major.contains('-') => format!("{major}-"),
        None => major.to_owned(),
    }
}

fn all_releases(
    config: &Config,
    script: &Script,
    call: &Call,
) -> Result<Vec<String>, ToolkitError> {
    let channel = call.channel.as_deref().or(script.channel);
    let name = |major: &u32| Ok(config.release(&typed(&major.to_string(), channel))?.name());
    config.releases.keys().map(name).collect()
}

/// The scripts copied from the compose as it was at that moment, so it is ingested first.
fn ingest(release: &ReleaseView<'_>, compose: &str) -> Result<Vec<String>, ToolkitError> {
    let (path, name) = (release.compose_path(compose)?, release.compose_ref(compose)?);
    Ok(words(["ingest", &path, "--as", &name]))
}

fn stage_sig(
    release: &ReleaseView<'_>,
    script: &str,
    compose: &str,
    sig: Option<&String>,
    add: &mut impl FnMut(Vec<String>),
) -> Result<(), ToolkitError> {
    let short = check_sig(release, script, compose, sig)?;
    add(ingest(release, &sig_compose(&short))?);
    add(words(["stage", &release.name(), "--sig", &short]));
    Ok(())
}

/// Returns the short name of a SIG's compose, if the SIG that was given beside it is its own.
fn check_sig(
    release: &ReleaseView<'_>,
    script: &str,
    compose: &str,
    sig: Option<&String>,
) -> Result<String, ToolkitError> {
    let view = release.sig(compose)?;
    // The name of a SIG with several composes is not the name of one of them.
    let Some((short, _)) = view.composes.iter().find(|(short, _)| short == compose) else {
        let known = view.composes.into_iter().map(|(short, _)| short).collect();
        let (release, name) = (release.name(), compose.to_owned());
        return Err(NameError::UnknownSig { release, name, known }.into());
    };
    match sig.filter(|given| **given != view.sig) {
        None => Ok(short.clone()),
        Some(given) => Err(ToolkitError::OtherSig {
            script: script.to_owned(),
            release: release.name(),
            compose: short.clone(),
            sig: view.sig.clone(),
            given: given.clone(),
        }),
    }
}

fn lists(config: &Config, which: Lists) -> Vec<String> {
    let root = |path: Option<&str>| match path {
        Some(path) => words(["lists", &format!("production/{path}")]),
        None => words(["lists", "production"]),
    };
    let of = |name: &str| config.category.get(name);
    match which {
        Lists::All => words(["lists"]),
        Lists::Root => root(None),
        Lists::Sig => root(of("sig").map(|sig| sig.pub_path.as_str())),
        // The list of all that is vaulted, releases and SIGs, lies above both.
        Lists::Vault => {
            root(of("rocky").and_then(|rocky| Some(rocky.vault_path.rsplit_once('/')?.0)))
        }
    }
}
