//! Whether every command's document is described in `docs/schema`.

use std::path::Path;

use clap::CommandFactory;

use crate::args::Cli;

/// Lists what can be typed: `stage`, `config show`.
fn commands(command: &clap::Command, before: &str, found: &mut Vec<String>) {
    for inner in command.get_subcommands() {
        let name = format!("{before}{}", inner.get_name());
        if !inner.is_subcommand_required_set() {
            found.push(name.clone());
        }
        commands(inner, &format!("{name} "), found);
    }
}

#[test]
fn every_command_has_a_schema_in_the_index() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema");
    let index = std::fs::read_to_string(dir.join("README.md")).unwrap();
    let rows: Vec<&str> = index.lines().filter(|line| line.starts_with("| `")).collect();
    let mut all = Vec::new();
    commands(&Cli::command(), "", &mut all);
    assert!(all.len() > 30 && all.contains(&"config show".to_owned()), "{all:?}");
    for command in &all {
        let row = rows.iter().find(|row| row.starts_with(&format!("| `{command}`")));
        let row = row.unwrap_or_else(|| panic!("docs/schema/README.md does not tell of {command}"));
        let says = row.split(" | ").nth(1).unwrap();
        assert!(says.starts_with("none: ") || says.starts_with('['), "{row}");
    }
    for row in &rows {
        let command = row.split('`').nth(1).unwrap();
        assert!(all.iter().any(|one| one == command), "there is no command {command}");
    }
    // Every file is told of, and every link leads to one.
    for entry in std::fs::read_dir(&dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let link = format!("[{name}]({name})");
        assert!(name == "README.md" || index.contains(&link), "the index does not tell of {name}");
    }
    for link in index.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        let is_there = link.starts_with("https://") || dir.join(link).exists();
        assert!(is_there, "{link} leads nowhere");
    }
}
