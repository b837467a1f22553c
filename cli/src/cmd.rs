//! One file per command: arguments → options → one library call → rendering.

mod approve;
mod audit;
mod check;
mod config;
mod content;
mod demo;
mod diff;
mod forecast;
mod fsck;
mod gc;
mod history;
mod hooks;
mod init;
mod metrics;
mod mirror;
mod release;
mod repodata;
mod report;
mod search;
mod shell;
mod status;
mod toolkit;
mod torrents;

use std::sync::Arc;

use cairn_releng::Site;
use cairn_releng::config::{Config, parse_duration};
use cairn_releng::report::Mode;
use cairn_store::progress::Watcher;
use cairn_store::store::Session;

use crate::args::{Cli, Command, ErrataCommand, Global, Reason};
use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Progress;

/// The result of a command: its exit code.
pub type Exit = Result<u8, Failure>;

/// What every command needs.
pub struct Context<'a> {
    /// The global flags.
    pub global: &'a Global,
    /// Where to print.
    pub output: &'a Output,
    /// What to show while working.
    pub progress: Arc<Progress>,
    /// The command line, for the log.
    pub command: Vec<String>,
}

impl Context<'_> {
    /// Returns whether to act.
    pub fn mode(&self) -> Mode {
        match self.global.dry_run {
            true => Mode::DryRun,
            false => Mode::Apply,
        }
    }

    /// Loads the configuration.
    pub fn config(&self) -> Result<Config, Failure> {
        Ok(Config::load(&self.global.config).map_err(cairn_releng::Error::Config)?)
    }

    /// Says who runs what.
    pub fn session(&self, reason: Option<&Reason>) -> Result<Session, Failure> {
        let lock_wait = parse_duration(&self.global.lock_wait).map_err(|error| {
            Failure::usage(format!("--lock-wait: {error}"), "a time is written 0s, 90s or 15m")
        })?;
        Ok(Session {
            command: self.command.clone(),
            reason: reason.and_then(|reason| reason.reason.clone()),
            lock_wait,
            watcher: Watcher::new(self.progress.clone()),
        })
    }

    /// Opens the store that the configuration names.
    pub fn site(&self, reason: Option<&Reason>) -> Result<Site, Failure> {
        Ok(Site::open(self.config()?, self.session(reason)?)?)
    }
}

/// Runs a command, which was typed so, and returns its exit code.
pub fn run(cli: &Cli, command: Vec<String>, output: &Output) -> Exit {
    let progress = Arc::new(Progress::new(&cli.global));
    crate::patience::begin(&cli.global, output);
    let context = Context { global: &cli.global, output, progress, command };
    let result = match &cli.command {
        Command::Init(args) => init::run(&context, args),
        Command::Ingest(args) => release::ingest(&context, args),
        Command::Adopt(args) => release::adopt(&context, args),
        Command::Stage(args) => release::stage(&context, args),
        Command::Minor(args) => release::minor(&context, args),
        Command::Errata(ErrataCommand::Apply(args)) => release::errata(&context, args),
        Command::Sign(args) => release::sign(&context, args),
        Command::Promote(args) => release::promote(&context, args),
        Command::Open(args) => release::open(&context, args),
        Command::Vault(args) => release::vault(&context, args),
        Command::Rollback(args) => release::rollback(&context, args),
        Command::Publish(args) => release::publish(&context, args),
        Command::Lists(args) => release::lists(&context, args),
        Command::Torrents(args) => torrents::run(&context, args),
        Command::Status(args) => status::run(&context, args),
        Command::Log(args) => history::log(&context, args),
        Command::Show(args) => history::show(&context, args),
        Command::Blame(args) => search::blame(&context, args),
        Command::Find(args) => search::find(&context, args),
        Command::Ls(args) => content::ls(&context, args),
        Command::Cat(args) => content::cat(&context, args),
        Command::Diff(args) => diff::run(&context, args),
        Command::Check(args) => check::run(&context, args),
        Command::Approve(args) => approve::run(&context, args),
        Command::Audit(command) => audit::run(&context, command),
        Command::VerifyMirror(args) => mirror::run(&context, args),
        Command::Fsck(args) => fsck::run(&context, args),
        Command::Gc(args) => gc::gc(&context, args),
        Command::Hold(args) => gc::hold(&context, args),
        Command::Du(args) => gc::du(&context, args),
        Command::Repodata(command) => repodata::run(&context, command),
        Command::Config(command) => config::run(&context, command),
        Command::Toolkit(args) => toolkit::run(&context, args),
        Command::Demo(args) => demo::run(&context, args),
        Command::Completion(args) => shell::completion(&context, args),
        Command::Man(args) => shell::man(&context, args),
    };
    context.progress.finish();
    result
}
