//! `compare`: cairn beside rsync, cp, ostree, restic and create-filelist, on one release in one
//! run.
//!
//! It is not a test: a target that is missed is a line of the table, not an exit code. README.md
//! says what is measured and how to read it.

mod cairn;
mod command;
mod compose;
mod digest;
mod failure;
mod lab;
mod machine;
mod noise;
mod options;
mod peers;
mod release;
mod repodata;
mod report;
mod rows;
mod verify;
mod workplace;

use std::path::PathBuf;
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
    let options = Options::parse(std::env::args_os().skip(1))?;
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

/// Returns the binary that was named, or the one that the same build made.
fn find_cairn(options: &Options) -> Result<Option<PathBuf>> {
    if options.peers_only {
        return Ok(None);
    }
    let path = match &options.cairn {
        Some(path) => path.clone(),
        None => std::env::current_exe()
            .map_err(Failure::io("find", "this program".as_ref()))?
            .with_file_name("cairn"),
    };
    match path.canonicalize() {
        Ok(path) => Ok(Some(path)),
        Err(source) => Err(Failure::Usage {
            what: format!(
                "{}: {source}; `cargo build --release -p cairn` makes it, --cairn PATH names \
                 another, --peers-only goes without",
                path.display()
            ),
        }),
    }
}
