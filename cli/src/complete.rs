//! Completions that know the store: what the shells' scripts ask for with every press of Tab.
//!
//! The scripts (`cairn completion SHELL`) run `cairn __complete SHELL WORD…`, whose last word is the
//! one under the cursor, and show what comes back: a value a line, after a tab what it is. Instead of
//! values there may be one line, `:files` or `:dirs`, which leaves it to the shell.
//!
//! Whatever is wrong (no configuration, no store, words that are no command line), the answer is
//! empty and the exit code 0: a shell that is completing is no place for an error. Nothing is
//! written, locked or recovered.

mod scripts;
mod values;
mod words;

use std::ffi::OsString;
use std::io::Write as _;

pub use scripts::script;
use values::Values;
use words::Wanted;

/// The hidden verb's name.
pub const VERB: &str = "__complete";

/// One thing that may stand at the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The whole word.
    pub value: String,
    /// What it is, in a few words; may be empty.
    pub about: String,
}

impl Candidate {
    /// Makes a candidate.
    pub fn new(value: impl Into<String>, about: impl Into<String>) -> Self {
        Self { value: value.into(), about: about.into() }
    }
}

/// Answers a shell and ends the program. `words` is what follows the verb.
pub fn answer(words: impl Iterator<Item = OsString>) {
    // The index promises to say what is wrong with it, not to be silent meanwhile.
    std::panic::set_hook(Box::new(|_| {}));
    let words: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    let answer = std::panic::catch_unwind(|| reply(&words)).unwrap_or_default();
    // A shell that does not want to know any more is no error either.
    let _ = std::io::stdout().lock().write_all(answer.as_bytes());
}

fn reply(words: &[String]) -> String {
    let [shell, words @ ..] = words else { return String::new() };
    // zsh and fish hand over what the words mean, bash what was typed.
    let read = |word: &String| match shell.as_str() {
        "bash" => words::unquote(word),
        _ => word.clone(),
    };
    let words: Vec<String> = words.iter().map(read).map(|word| words::at_home(&word)).collect();
    let Some(line) = words::Line::read(&words) else { return String::new() };
    let mut candidates = match &line.wanted {
        Wanted::Files => return ":files\n".to_owned(),
        Wanted::Dirs => return ":dirs\n".to_owned(),
        Wanted::Words(candidates) => candidates.clone(),
        Wanted::Values(kind) => Values::new(&line).of(*kind),
    };
    candidates.retain(|candidate| {
        candidate.value.starts_with(&line.current) && is_plain(&candidate.value)
    });
    let mut text = String::new();
    for Candidate { value, about } in candidates {
        let about: String = about.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        text += &format!("{}{value}\t{about}\n", line.prefix);
    }
    text
}

/// Returns whether a word needs quotes in no shell. What does is not offered: names come from
/// configurations and logs, and a shell must not be made to run one.
fn is_plain(value: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._/:@~+=,%-".contains(&b);
    !value.is_empty() && !value.starts_with('~') && value.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(words: &[&str]) -> Vec<String> {
        let words: Vec<String> =
            std::iter::once("fish").chain(words.iter().copied()).map(str::to_owned).collect();
        let text = reply(&words);
        text.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn commands_flags_and_their_values_follow_from_the_command_line() {
        for (words, some) in [
            (&["cairn", ""][..], &["init", "promote", "status"][..]),
            (&["cairn", "pro"], &["promote"]),
            (&["cairn", "-n", "--color", "never", "pro"], &["promote"]),
            (&["cairn", "promote", "--em"], &["--embargo"]),
            (&["cairn", "promote", "9", "--delete", "--em"], &["--embargo"]),
            (&["cairn", "diff", "a", "b", "--by", ""], &["files", "packages", "metadata", "all"]),
            (&["cairn", "diff", "a", "b", "--by=pa"], &["--by=packages"]),
            (&["cairn", "--color", "n"], &["never"]),
            (&["cairn", "hold", "rel"], &["release"]),
            (&["cairn", "config", ""], &["show", "check", "import"]),
            (&["cairn", "completion", "fi"], &["fish"]),
            (&["cairn", "toolkit", "sync-to-prod.d"], &["sync-to-prod.delete.sh"]),
            (&["cairn", "check", "staging/9", "clo"], &["closure"]),
            (&["cairn", "log", "--command", "prom"], &["promote"]),
            (&["cairn", "ingest", ""], &[":files"]),
            (&["cairn", "--config", ""], &[":files"]),
            (&["cairn", "diff", "a", "b", "-o", ""], &[":files"]),
        ] {
            let offered = offered(words);
            for one in some {
                assert!(offered.iter().any(|o| o == one), "{words:?}: {one} in {offered:?}");
            }
        }
        assert_eq!(offered(&["cairn", "pro"]), ["promote"]);
        // What was given is not offered again, and no flag where none is begun.
        assert_eq!(offered(&["cairn", "promote", "--delete", "--dele"]), [""; 0]);
        assert!(!offered(&["cairn", ""]).iter().any(|one| one.starts_with('-')));
        // After -- there is no flag.
        assert_eq!(offered(&["cairn", "promote", "--", "--em"]), [""; 0]);
        // Nothing to go by is nothing, and no error.
        for words in [&[][..], &["cairn"], &["cairn", "nonsense", "x"], &["cairn", "\u{1b}", "-"]] {
            let _ = offered(words);
        }
    }

    #[test]
    fn what_a_shell_could_run_is_not_offered() {
        for (value, plain) in [
            ("production/9.7~2", true),
            ("staging/9.7-RC2@2025-11-01T12:00:00Z", true),
            ("$(reboot)", false),
            ("a b", false),
            ("a;b", false),
            ("`x`", false),
            ("~root", false),
            ("", false),
        ] {
            assert_eq!(is_plain(value), plain, "{value:?}");
        }
    }
}
