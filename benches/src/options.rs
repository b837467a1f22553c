//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::failure::{Failure, Result};
use crate::release::{Release, Shape};

/// What `--help` prints.
pub const HELP: &str = "\
Measures cairn beside rsync, cp, ostree, restic and create-filelist.

Usage: compare [OPTIONS]
       compare repodata [OPTIONS]      beside createrepo_c; --help says more
       compare audit [OPTIONS]         diff and closure beside dnf; --help says more

      --files N[,N…]    sizes of the release [default: 5000,50000,200000]
      --mean BYTES      bytes per file [default: 68 KiB; 8 KiB above 50,000 files]
      --dir DIR         works in DIR/cairn-compare, on the filesystem to be measured
                        [default: the directory for temporary files]
      --rows PATTERN    only rows whose name holds PATTERN (comma: or); also scaling, memory
      --repeat N        medians of N runs [default: 3]
      --cairn PATH      the binary [default: cairn beside this program]
      --peers-only      the peers without cairn
      --quick           5,000 files of 8 KiB, one run: does everything work?
      --json            one document instead of tables
      --keep            leaves the last size's directories to look at
  -h, --help
";

const SIZES: [usize; 3] = [5_000, 50_000, 200_000];
/// A mean package of a distribution.
const MEAN: u64 = 68 * 1024;
/// For large releases: what is measured there is the number of files, and 13 GB would not fit
/// the page cache of the machines that this runs on.
const SMALL_MEAN: u64 = 8 * 1024;
const SMALL_MEAN_ABOVE: usize = 50_000;

/// The options, with their defaults filled in.
#[derive(Debug, Clone)]
pub struct Options {
    pub shapes: Vec<Shape>,
    pub dir: PathBuf,
    pub rows: Option<String>,
    pub repeat: usize,
    pub cairn: Option<PathBuf>,
    pub peers_only: bool,
    pub json: bool,
    pub keep: bool,
    pub help: bool,
}

impl Options {
    /// Reads the arguments that follow the program's name.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self> {
        let mut arguments = arguments.into_iter();
        let mut sizes = SIZES.to_vec();
        let mut mean = None;
        let mut options = Self {
            shapes: Vec::new(),
            dir: std::env::temp_dir(),
            rows: None,
            repeat: 3,
            cairn: None,
            peers_only: false,
            json: false,
            keep: false,
            help: false,
        };
        while let Some(argument) = arguments.next() {
            let name = argument.to_string_lossy().into_owned();
            let mut value = || {
                arguments.next().ok_or_else(|| usage(format!("{name} needs a value; see --help")))
            };
            match name.as_str() {
                "--files" => {
                    let list = value()?.to_string_lossy().into_owned();
                    sizes =
                        list.split(',').map(|part| number(&name, part)).collect::<Result<_>>()?;
                }
                "--mean" => mean = Some(number(&name, &value()?.to_string_lossy())? as u64),
                "--dir" => options.dir = value()?.into(),
                "--rows" => options.rows = Some(value()?.to_string_lossy().into_owned()),
                "--repeat" => options.repeat = number(&name, &value()?.to_string_lossy())?,
                "--cairn" => options.cairn = Some(value()?.into()),
                "--peers-only" => options.peers_only = true,
                "--quick" => {
                    sizes = vec![5_000];
                    mean = Some(SMALL_MEAN);
                    options.repeat = 1;
                }
                "--json" => options.json = true,
                "--keep" => options.keep = true,
                "-h" | "--help" => options.help = true,
                _ => return Err(usage(format!("{name}: unknown; see --help"))),
            }
        }
        if let Some(small) = sizes.iter().find(|&&files| files < Release::SMALLEST) {
            return Err(usage(format!("--files {small}: at least {}", Release::SMALLEST)));
        }
        options.shapes = sizes
            .into_iter()
            .map(|files| {
                let usual = if files > SMALL_MEAN_ABOVE { SMALL_MEAN } else { MEAN };
                Shape { files, mean: mean.unwrap_or(usual).max(1_024) }
            })
            .collect();
        Ok(options)
    }
}

fn number(option: &str, text: &str) -> Result<usize> {
    match text.trim().replace('_', "").parse() {
        Ok(number) if number > 0 => Ok(number),
        Ok(_) | Err(_) => Err(usage(format!("{option} {text}: not a number above 0"))),
    }
}

fn usage(what: String) -> Failure {
    Failure::Usage { what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_defaults_are_three_sizes_with_a_smaller_mean_for_the_largest() {
        let shapes = parse("").unwrap().shapes;
        let facts: Vec<_> = shapes.iter().map(|shape| (shape.files, shape.mean)).collect();
        assert_eq!(facts, [(5_000, 69_632), (50_000, 69_632), (200_000, 8_192)]);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in ["--files", "--files x", "--files 10", "--repeat 0", "--fast", "now"] {
            assert!(matches!(parse(line), Err(Failure::Usage { .. })), "{line}");
        }
    }
}
