//! cairn: arguments → one library call → rendering. No algorithm lives here.

mod args;
mod cmd;
mod complete;
#[cfg(test)]
mod documents;
mod failure;
mod output;
mod patience;
mod progress;

use std::process::ExitCode;

use cairn_store::path::{Escaped, is_plain};
use clap::Parser;

use args::Cli;
use failure::Failure;
use output::Output;

/// Trees are walked by recursion; a release may be a thousand levels deep.
const STACK: usize = 64 << 20;

fn main() -> ExitCode {
    let mut typed = std::env::args_os().skip(1);
    if typed.next().is_some_and(|verb| verb == complete::VERB) {
        complete::answer(typed);
        return ExitCode::SUCCESS;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers; everything else is a mistake of usage.
            if !error.use_stderr() {
                let _ = error.print();
                return ExitCode::SUCCESS;
            }
            // The flags could not be read, so this one is looked for among the words.
            if std::env::args_os().any(|word| word == "--json") {
                let text = error.to_string();
                let message = text.lines().next().unwrap_or_default();
                let message = message.trim_start_matches("error: ");
                let failure = Failure::usage(message, "cairn help lists commands and flags");
                return failure.report(&Output::of_documents());
            }
            // What was typed is quoted in it, and may speak to the terminal.
            let text = error.to_string();
            let _ = match text.chars().all(|c| c == '\n' || is_plain(c)) {
                true => error.print(),
                false => text.lines().try_for_each(|line| {
                    output::stderr(&format!("{}\n", Escaped(line.as_bytes())))
                }),
            };
            return ExitCode::from(failure::USAGE);
        }
    };
    cairn_releng::site::raise_limits();
    let mut pool = rayon::ThreadPoolBuilder::new().stack_size(STACK);
    if let Some(jobs) = cli.global.jobs {
        pool = pool.num_threads(jobs);
    }
    let output = Output::new(&cli.global);
    if let Err(error) = pool.build_global() {
        return Failure::bug(format!("threads cannot be started: {error}")).report(&output);
    }
    // A panic is a bug of ours: one line, one exit code, whatever thread it is in.
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(|at| format!(" at {}:{}", at.file(), at.line()));
        let text = info.payload_as_str().unwrap_or("a panic without words");
        let place = place.unwrap_or_default();
        let _ = output::stderr(&format!("bug: {text}{place}; please report this\n"));
    }));
    let worker = std::thread::Builder::new().stack_size(STACK).spawn(move || {
        let typed = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
        match cmd::run(&cli, typed, &output) {
            Ok(code) => ExitCode::from(code),
            Err(failure) => failure.report(&output),
        }
    });
    match worker.map(std::thread::JoinHandle::join) {
        Ok(Ok(code)) => code,
        Ok(Err(_)) => ExitCode::from(failure::BUG),
        Err(_) => ExitCode::from(1),
    }
}
