//! The shells' side: small scripts that hand the words to the program.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Cli;

const BASH: &str = include_str!("scripts/cairn.bash");
const ZSH: &str = include_str!("scripts/cairn.zsh");
const FISH: &str = include_str!("scripts/cairn.fish");

/// Returns what a shell reads to complete cairn.
///
/// Shells that have no script of ours get what clap makes of names and flags.
pub fn script(shell: Shell) -> Vec<u8> {
    let script = match shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
        _ => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "cairn", &mut text);
            return text;
        }
    };
    let mut command = Cli::command();
    command.build();
    let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    script.replace("@COMMANDS@", &names.join(" ")).into_bytes()
}
