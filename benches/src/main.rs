//! `compare`: cairn beside rsync, cp, ostree, restic and create-filelist, on one release in one
//! run.
//!
//! It is not a test: a target that is missed is a line of the table, not an exit code. README.md
//! says what is measured and how to read it.

mod audit;
mod cairn;
mod command;
mod compose;
mod createrepo;
mod digest;
mod failure;
mod lab;
mod machine;
mod metadata;
mod noise;
mod options;
mod packages;
mod peers;
mod release;
mod repodata;
mod report;
mod rows;
mod verify;
mod workplace;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::failure::{Failure, Result};
use crate::lab::Lab;
use crate::machine::Machine;
use crate::options::{HELP, Options};
use crate::peers::Peers;
use crate::report::Report;
use crate::rows::Selection;
use crate::workplace::Workplace;

/// Copies of a release that lie on disk at once: compose, rsync, ostree, restic, cairn, and what
/// changed since.
const COPIES: u64 = 6;
/// Inodes and links for each file of a release, over all of them.
const INODES: u64 = 8;

fn main() -> ExitCode {
    match compare() {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("compare: {failure}");
            match failure {
                Failure::Usage { .. } => ExitCode::from(2),
                Failure::Io { .. } | Failure::Tool { .. } | Failure::Wrong { .. } => {
                    ExitCode::FAILURE
                }
            }
        }
    }
}

fn compare() -> Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.next_if(|word| word == "repodata").is_some() {
        return createrepo::compare(arguments);
    }
    if arguments.next_if(|word| word == "audit").is_some() {
        return audit::compare(arguments);
    }
    let options = Options::parse(arguments)?;
    if options.help {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    let selection = Selection::new(options.rows.as_deref())?;
    let cairn = find_cairn(&options)?;
    let workplace = Workplace::take(&options.dir, options.keep)?;
    let peers = Peers::find(&workplace.path().join("look"))?;
    let machine = Machine::look(workplace.path(), cairn.as_deref(), &peers)?;

    let mut sizes = Vec::new();
    for shape in &options.shapes {
        workplace.clear()?;
        let files = shape.files as u64;
        machine::has_room(workplace.path(), files * shape.mean * COPIES, files * INODES)?;
        let dir = workplace.path().join(shape.files.to_string());
        let lab = Lab::new(dir, cairn.as_deref(), &selection, options.repeat)?;
        sizes.push(lab.measure(*shape)?);
    }

    let report = Report { machine, repeat: options.repeat, selection: &selection, sizes };
    if options.json {
        println!("{:#}", report.json());
    } else {
        print!("{}", report.text());
    }
    Ok(if report.failures().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the binary that is to be measured, if it is.
fn find_cairn(options: &Options) -> Result<Option<PathBuf>> {
    match options.peers_only {
        true => Ok(None),
        false => binary(options.cairn.as_deref()).map(Some),
    }
}

/// Returns the binary that was named, or the one that the same build made.
fn binary(named: Option<&Path>) -> Result<PathBuf> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()
            .map_err(Failure::io("find", "this program".as_ref()))?
            .with_file_name("cairn"),
    };
    path.canonicalize().map_err(|source| Failure::Usage {
        what: format!(
            "{}: {source}; `cargo build --release -p cairn` makes it, --cairn PATH names another, \
             --peers-only goes without",
            path.display()
        ),
    })
}
