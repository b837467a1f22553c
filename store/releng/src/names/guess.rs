//! What a compose is, from the name of its directory.
//!
//! The names are those of productmd and koji: `SHORT-VERSION[-TYPE]-DATE[.KIND].RESPIN`, and the
//! link `latest-SHORT-VERSION`. A name with a part that we do not know is not guessed at.

use crate::config::{Channel, Config, ReleaseSection, Version, is_component, plain_number};

use super::{ReleaseView, STABLE};

/// What the name of a compose's directory says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComposeGuess {
    /// The major release.
    pub major: u32,
    /// The point release, where the name has one.
    pub version: Option<Version>,
    /// The channel's word as written, `beta` or `LookAhead`; none means stable.
    pub channel: Option<String>,
    /// Short name of the compose: `Rocky`, `Rocky-devel`, `SIG-kernel`.
    pub short: String,
}

/// Words between version and date that say how a compose was made, not what it is.
const TYPES: &[&str] = &["updates", "testing", "nightly", "test", "ci", "dev", "ga"];

/// Words that name a channel even without a configuration.
const CHANNELS: &[&str] = &["beta", "lookahead", "lh"];

/// Guesses what a compose is from the name of its directory; none if any part is unknown.
pub fn guess_compose(dir_name: &str) -> Option<ComposeGuess> {
    if !is_component(dir_name) {
        return None;
    }
    let (latest, name) = match dir_name.strip_prefix("latest-") {
        Some(name) => (true, name),
        None => (false, dir_name),
    };
    let mut parts: Vec<&str> = name.split('-').collect();
    let dated = parts.last().is_some_and(|part| is_date(part));
    if dated {
        parts.pop();
    } else if !latest {
        return None;
    }
    // From the right: a SIG's own version may come first, as in SIG-kernel-6.1-9.
    let at = parts.iter().rposition(|part| release_number(part).is_some())?;
    let (major, version) = release_number(parts.get(at)?)?;
    let short = parts.get(..at)?.join("-");
    let mut channel = None;
    for word in parts.get(at + 1..)? {
        let lower = word.to_ascii_lowercase();
        if CHANNELS.contains(&lower.as_str()) && channel.is_none() {
            channel = Some((*word).to_owned());
        } else if !TYPES.contains(&lower.as_str()) && !is_candidate(&lower) {
            return None;
        }
    }
    let named = !short.is_empty() && short.split('-').all(|part| !part.is_empty());
    named.then_some(ComposeGuess { major, version, channel, short })
}

/// Guesses the ref to ingest a compose's directory as, from its last components.
///
/// The path may end in `/compose`. A parent such as `9-beta` names the channel by its
/// compose_suffix, in any case of letters, because both `9-beta` and `9-BETA` are found; where
/// parent and name disagree, or two channels fit, there is no guess.
pub fn guess_compose_ref(config: &Config, path: &str) -> Option<String> {
    let mut parts = path.split('/').filter(|part| !part.is_empty()).rev().peekable();
    parts.next_if(|part| *part == "compose");
    let guess = guess_compose(parts.next()?)?;
    let section = config.releases.get(&guess.major)?;
    let suffix = parts.next().and_then(|parent| parent.strip_prefix(&guess.major.to_string()));
    let suffix = suffix.filter(|suffix| suffix.starts_with('-'));
    let by_word = |channel: &Channel| {
        let names = || channel.aliases.iter().chain([&channel.name]);
        let word = guess.channel.as_deref();
        word.is_none_or(|word| names().any(|name| name.eq_ignore_ascii_case(word)))
    };
    let by_suffix = |channel: &Channel| {
        suffix.is_none_or(|suffix| channel.compose_suffix.eq_ignore_ascii_case(suffix))
    };
    let channel = if guess.channel.is_none() && suffix.is_none() {
        section.channels.get(STABLE)?
    } else {
        the_only(section, |channel| by_word(channel) && by_suffix(channel))?
    };
    ReleaseView { config, section, channel }.compose_ref(&guess.short).ok()
}

fn the_only(section: &ReleaseSection, fits: impl Fn(&Channel) -> bool) -> Option<&Channel> {
    let mut fitting = section.channels.values().filter(|channel| fits(channel));
    let first = fitting.next();
    if fitting.next().is_some() { None } else { first }
}

/// Parses `9` or `9.7`.
fn release_number(part: &str) -> Option<(u32, Option<Version>)> {
    let (major, version) = match Version::parse(part) {
        Ok(version) => (version.major, Some(version)),
        Err(_) => (plain_number(part)?, None),
    };
    (1..1000).contains(&major).then_some((major, version))
}

/// Tells whether a part is a date with its respin: `20251101`, `20251101.0`, `20251101.n.0`.
fn is_date(part: &str) -> bool {
    let mut fields = part.split('.');
    let date = fields.next().is_some_and(|date| date.len() == 8 && digits(date));
    let rest: Vec<&str> = fields.collect();
    let respin = match rest.as_slice() {
        [] => true,
        [respin] => digits(respin),
        [kind, respin] => matches!(*kind, "n" | "t" | "d" | "ci") && digits(respin),
        _ => false,
    };
    date && respin
}

/// Tells whether a lower-case word is `rc`, `rc2` and so on.
fn is_candidate(word: &str) -> bool {
    word.strip_prefix("rc").is_some_and(|number| number.is_empty() || digits(number))
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}
