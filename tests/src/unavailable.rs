//! What a machine cannot do, said instead of passed over.

use std::fmt;
use std::io::Write;

/// Why a fixture cannot be had on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unavailable {
    /// Only root may do this.
    NotRoot {
        /// What was wanted.
        what: String,
    },
    /// A program is not installed.
    NoTool {
        /// Its name.
        tool: String,
    },
    /// It was tried, and the system refused.
    Refused {
        /// What was wanted.
        what: String,
        /// What the system said.
        reason: String,
    },
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRoot { what } => write!(f, "{what} needs root"),
            Self::NoTool { tool } => write!(f, "{tool} is not installed"),
            Self::Refused { what, reason } => write!(f, "{what}: {}", reason.trim()),
        }
    }
}

impl std::error::Error for Unavailable {}

/// Unwraps a fixture, or says on stderr why there is none.
///
/// ```
/// # use cairn_testkit::{Unavailable, available};
/// # let loopback: Result<(), _> = Err(Unavailable::NoTool { tool: "mkfs.xfs".into() });
/// let Some(xfs) = available(loopback) else { return };
/// ```
///
/// # Panics
///
/// With `CAIRN_TESTS=strict` in the environment, where nothing may be passed over.
pub fn available<T>(fixture: Result<T, Unavailable>) -> Option<T> {
    let missing = match fixture {
        Ok(fixture) => return Some(fixture),
        Err(missing) => missing,
    };
    let strict = std::env::var_os("CAIRN_TESTS").is_some_and(|value| value == "strict");
    assert!(!strict, "not tested: {missing}");
    let thread = std::thread::current();
    // Not eprintln: the harness keeps what a passing test prints with it to itself.
    let _ = writeln!(
        std::io::stderr(),
        "not tested ({}): {missing}",
        thread.name().unwrap_or("unnamed thread")
    );
    None
}

/// Answers whether we are root.
pub(crate) fn root(what: &str) -> Result<(), Unavailable> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Unavailable::NotRoot { what: what.to_owned() })
}

/// Answers whether a program is to be found, in `PATH` or where administrators' programs are.
pub fn tool(tool: &str) -> Result<(), Unavailable> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir| dir.join(tool).is_file());
    if found { Ok(()) } else { Err(Unavailable::NoTool { tool: tool.to_owned() }) }
}
