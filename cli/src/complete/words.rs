//! What a half typed command line asks for.

use clap::{Arg, ArgAction, Command, CommandFactory as _, ValueHint};

use super::Candidate;
use super::values::Kind;
use crate::args::Cli;

/// What may stand at the cursor.
pub enum Wanted {
    /// One of these.
    Words(Vec<Candidate>),
    /// What configuration and store know of this kind.
    Values(Kind),
    /// A file, which shells complete better.
    Files,
    /// A directory.
    Dirs,
}

/// A command line up to the cursor.
pub struct Line {
    /// What may stand at the cursor.
    pub wanted: Wanted,
    /// What is typed of it.
    pub current: String,
    /// What stands before it in the same word: `--repo=`.
    pub prefix: String,
    /// The values before the cursor, each with its argument's id.
    pub values: Vec<(String, String)>,
}

/// What the words before the cursor left.
struct State<'a> {
    command: &'a Command,
    /// Which positional argument is next, from 0.
    position: usize,
    /// A flag that waits for its value.
    open: Option<&'a Arg>,
    /// Whether `--` was there.
    escaped: bool,
    given: Vec<&'a Arg>,
    values: Vec<(String, String)>,
}

impl Line {
    /// Reads the words, of which the first is the program and the last the one at the cursor.
    pub fn read(words: &[String]) -> Option<Self> {
        let [_, before @ .., current] = words else { return None };
        let mut root = Cli::command();
        root.build();
        let mut state = State {
            command: &root,
            position: 0,
            open: None,
            escaped: false,
            given: Vec::new(),
            values: Vec::new(),
        };
        before.iter().for_each(|word| state.word(word));
        let (wanted, current, prefix) = state.at(current)?;
        Some(Self { wanted, current, prefix, values: state.values })
    }
}

impl<'a> State<'a> {
    fn word(&mut self, word: &str) {
        if let Some(open) = self.open.take() {
            self.value(open, word);
        } else if !self.escaped && word == "--" {
            self.escaped = true;
        } else if let Some(long) = word.strip_prefix("--").filter(|_| !self.escaped) {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            let Some(arg) = self.long(name) else { return };
            self.flag(arg, value);
        } else if word.len() > 1 && word.starts_with('-') && !self.escaped {
            for (at, c) in word.char_indices().skip(1) {
                let Some(arg) = self.command.get_arguments().find(|arg| arg.get_short() == Some(c))
                else {
                    return;
                };
                let rest = &word[at + c.len_utf8()..];
                let rest = rest.strip_prefix('=').unwrap_or(rest);
                self.flag(arg, Some(rest).filter(|rest| !rest.is_empty() && takes_value(arg)));
                if takes_value(arg) {
                    return;
                }
            }
        } else if let Some(command) = self.subcommand(word) {
            self.command = command;
            self.position = 0;
        } else {
            if let Some(arg) = self.positional() {
                self.value(arg, word);
            }
            self.position += 1;
        }
    }

    fn flag(&mut self, arg: &'a Arg, value: Option<&str>) {
        self.given.push(arg);
        match value {
            Some(value) => self.value(arg, value),
            None if takes_value(arg) => self.open = Some(arg),
            None => {}
        }
    }

    fn value(&mut self, arg: &Arg, value: &str) {
        self.values.push((arg.get_id().to_string(), value.to_owned()));
    }

    fn long(&self, name: &str) -> Option<&'a Arg> {
        self.command.get_arguments().find(|arg| arg.get_long() == Some(name))
    }

    fn subcommand(&self, word: &str) -> Option<&'a Command> {
        let may_be = self.position == 0 && !self.escaped;
        self.command.find_subcommand(word).filter(|_| may_be)
    }

    /// Returns the positional argument that is next; the last one if that takes many.
    fn positional(&self) -> Option<&'a Arg> {
        let all: Vec<&Arg> = self.command.get_positionals().collect();
        let last = all.last().copied().filter(|arg| {
            matches!(arg.get_action(), ArgAction::Append)
                || arg.get_num_args().is_some_and(|count| count.max_values() > 1)
        });
        all.get(self.position).copied().or(last)
    }

    fn at(&self, current: &str) -> Option<(Wanted, String, String)> {
        let whole = |wanted| Some((wanted, current.to_owned(), String::new()));
        if let Some(open) = self.open {
            return whole(self.of(open)?);
        }
        if !self.escaped
            && let Some((name, value)) =
                current.strip_prefix("--").and_then(|long| long.split_once('='))
        {
            let arg = self.long(name).filter(|arg| takes_value(arg))?;
            return Some((self.of(arg)?, value.to_owned(), format!("--{name}=")));
        }
        if current.starts_with('-') && !self.escaped {
            return whole(Wanted::Words(self.flags()));
        }
        let commands: Vec<Candidate> = self
            .command
            .get_subcommands()
            .filter(|command| self.subcommand(command.get_name()).is_some())
            .filter(|command| !command.is_hide_set())
            .map(|command| Candidate::new(command.get_name(), about(command.get_about())))
            .collect();
        // hold takes either a command or a snapshot: both are offered, as far as they begin so.
        match self.positional().and_then(|arg| self.of(arg)) {
            Some(wanted) if commands.iter().all(|one| !one.value.starts_with(current)) => {
                whole(wanted)
            }
            Some(_) | None => whole(Wanted::Words(commands)),
        }
    }

    fn flags(&self) -> Vec<Candidate> {
        let again = |arg: &Arg| matches!(arg.get_action(), ArgAction::Append | ArgAction::Count);
        let is_given = |arg: &Arg| self.given.iter().any(|given| given.get_id() == arg.get_id());
        let mut flags = Vec::new();
        let open = self.command.get_arguments().filter(|arg| !arg.is_hide_set());
        for arg in open.filter(|arg| again(arg) || !is_given(arg)) {
            let about = about(arg.get_help());
            flags.extend(arg.get_long().map(|long| Candidate::new(format!("--{long}"), &about)));
            flags.extend(arg.get_short().map(|short| Candidate::new(format!("-{short}"), &about)));
        }
        flags.sort_by_key(|flag| !flag.value.starts_with("--"));
        flags
    }

    fn of(&self, arg: &Arg) -> Option<Wanted> {
        let possible = arg.get_possible_values();
        if !possible.is_empty() {
            let shown = possible.iter().filter(|value| !value.is_hide_set());
            let word = |value: &clap::builder::PossibleValue| {
                Candidate::new(value.get_name(), about(value.get_help()))
            };
            return Some(Wanted::Words(shown.map(word).collect()));
        }
        let name = arg.get_value_names().and_then(|names| names.first()).map(|name| name.as_str());
        if let Some(kind) = Kind::of(self.command.get_name(), arg.get_id().as_str(), name?) {
            return Some(Wanted::Values(kind));
        }
        match arg.get_value_hint() {
            ValueHint::AnyPath | ValueHint::FilePath => Some(Wanted::Files),
            ValueHint::DirPath => Some(Wanted::Dirs),
            _ => None,
        }
    }
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

fn about(text: Option<&clap::builder::StyledStr>) -> String {
    let text = text.map(ToString::to_string).unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    line.strip_suffix('.').unwrap_or(line).to_owned()
}

/// Returns what a word of bash means, as far as quotes and backslashes go; one that is still open
/// ends with the word. Nothing is expanded.
pub fn unquote(word: &str) -> String {
    let mut text = String::new();
    let mut quote = None;
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => text.extend(chars.next()),
            (_, c) => text.push(c),
        }
    }
    text
}

/// Puts the home directory in the place of a `~` that begins a word, or what follows its `=`.
pub fn at_home(word: &str) -> String {
    let (flag, path) = match word.split_once('=') {
        Some((flag, path)) if flag.starts_with("--") => (format!("{flag}="), path),
        Some(_) | None => (String::new(), word),
    };
    match (path.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{flag}{home}/{rest}"),
        (Some(_) | None, _) => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_of_bash_are_taken_off() {
        for (typed, meant) in [
            ("plain", "plain"),
            ("'a b'", "a b"),
            ("\"a b", "a b"),
            (r"a\ b", "a b"),
            (r#"'\'"\""x"#, r#"\"x"#),
            ("--config='/etc/a b'", "--config=/etc/a b"),
            ("", ""),
        ] {
            assert_eq!(unquote(typed), meant, "{typed}");
        }
    }
}
