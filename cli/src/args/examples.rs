//! The help of every command has examples, and every example is a command line that is understood.

use clap::{Command, CommandFactory as _, Parser as _};

use super::Cli;

/// Splits an example as a shell does, up to the blanks that set off what it is for. `;` begins
/// another command, and what follows `>` is a file.
fn commands(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word) = (Vec::new(), Vec::new(), String::new());
    let (mut quote, mut blanks) = (None, 0);
    for c in line.trim().chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => (quote, blanks) = (Some(c), 0),
            (None, ' ') if blanks > 0 => break,
            (None, ' ' | ';') => {
                blanks += usize::from(c == ' ');
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                if c == ';' {
                    commands.push(std::mem::take(&mut words));
                }
            }
            (_, c) => {
                word.push(c);
                blanks = 0;
            }
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    commands.push(words);
    for words in &mut commands {
        let end = words.iter().position(|word| word == ">").unwrap_or(words.len());
        words.truncate(end);
        // RLVER=9 cairn toolkit …: the environment comes first.
        let begin = words.iter().position(|word| word == "cairn").unwrap_or(0);
        words.drain(..begin);
    }
    commands
}

fn leaves<'a>(command: &'a Command, path: &str, found: &mut Vec<(String, &'a Command)>) {
    let path = format!("{path} {}", command.get_name());
    // hold is a command, and has commands.
    if !command.has_subcommands() || command.get_name() == "hold" {
        found.push((path.trim_start().to_owned(), command));
    }
    let below = command.get_subcommands().filter(|one| one.get_name() != "help");
    below.for_each(|one| leaves(one, &path, found));
}

#[test]
fn every_command_has_examples_and_each_is_a_command_line() {
    let root = Cli::command();
    let mut found = vec![("cairn".to_owned(), &root)];
    leaves(&root, "", &mut found);
    assert!(found.len() > 40, "{}", found.len());
    let mut wrong = Vec::new();
    for (path, command) in found {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let Some((_, examples)) = help.split_once("Examples:\n") else {
            wrong.push(format!("{path} --help has no examples"));
            continue;
        };
        let mut own = 0;
        for line in examples.lines().take_while(|line| line.starts_with("  ")) {
            for words in commands(line) {
                if let Err(error) = Cli::try_parse_from(&words) {
                    wrong.push(format!("{path}: {line}\n{words:?}\n{error}"));
                }
                let typed = words.iter().filter(|word| path.split(' ').any(|part| part == *word));
                own += usize::from(typed.count() >= path.split(' ').count());
            }
        }
        if own == 0 {
            wrong.push(format!("{path} --help has no example of itself:\n{examples}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn examples_are_read_as_a_shell_reads_them() {
    for (line, words) in [
        (
            "  cairn stage 9 Rocky --delete       staging is",
            &[&["cairn", "stage", "9", "Rocky", "--delete"][..]][..],
        ),
        ("  cairn hold a -m 'last  one'", &[&["cairn", "hold", "a", "-m", "last  one"]]),
        ("  RLVER=9 cairn toolkit x", &[&["cairn", "toolkit", "x"]]),
        ("  cairn a > b; cairn c", &[&["cairn", "a"], &["cairn", "c"]]),
    ] {
        assert_eq!(commands(line), words, "{line}");
    }
}
