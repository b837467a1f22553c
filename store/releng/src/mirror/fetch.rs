//! Reading of a mirror, from a directory or over HTTP.

use std::time::Duration;

use cairn_store::path::{Escaped, RelPath};
use cairn_store::progress::Observer;
use cairn_store::tree::{DirEntry, Nodes};

use super::Deviation;
use crate::error::{Error, Result};
use crate::program::{Failure, Program};

/// How long a server may take to be reached, in seconds.
const CONNECT: u64 = 20;
/// How long a transfer takes at least, before size counts, in seconds.
const BASE: u64 = 60;
/// The slowest mirror that is waited for, in bytes a second.
const SLOWEST: u64 = 50_000;

/// How a reading ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// All of it was read.
    Whole,
    /// It is not there.
    Missing,
    /// It has more bytes than it may have.
    Larger,
    /// It is no file.
    NoFile(&'static str),
    /// It could not be read; a clause that says why.
    Failed(String),
}

/// What a file of a mirror turned out to be.
#[derive(Clone, Debug)]
pub(super) enum Got {
    Whole(cairn_store::id::ObjectId),
    Missing,
    Larger,
    NoFile(&'static str),
    Failed(String),
}

/// Where bytes go.
pub(super) type Sink<'a> = dyn FnMut(&[u8]) + 'a;

/// A mirror of one release.
pub(super) trait Fetch: Sync {
    /// Reads a file of the release, at most `most` bytes of it.
    fn read(
        &self,
        path: &RelPath,
        most: u64,
        sink: &mut Sink<'_>,
        observer: &dyn Observer,
    ) -> Result<Outcome>;

    /// Reads a file some directories above the release.
    fn above(
        &self,
        up: usize,
        name: &str,
        most: u64,
        sink: &mut Sink<'_>,
        observer: &dyn Observer,
    ) -> Result<Outcome>;

    /// Returns whether names and sizes can be had without reading.
    fn can_walk(&self) -> bool {
        false
    }

    /// Compares names, kinds and sizes with a tree.
    fn walk(
        &self,
        _nodes: &dyn Nodes,
        _root: &DirEntry,
        _observer: &dyn Observer,
    ) -> Result<Vec<Deviation>> {
        Ok(Vec::new())
    }
}

/// A mirror behind an address, read with curl.
pub(super) struct Far {
    base: String,
}

impl Far {
    /// Takes an address that begins with `http://` or `https://`.
    pub fn new(place: &str) -> Result<Self> {
        let wrong = |reason: &str| Error::Setting { key: place.to_owned(), reason: reason.into() };
        let (_, rest) = place.split_once("://").ok_or_else(|| wrong("it is no address"))?;
        if rest.starts_with('/') || rest.is_empty() {
            return Err(wrong("it names no server"));
        }
        // A query or fragment would swallow the paths that are put behind it.
        if place.bytes().any(|byte| byte.is_ascii_control() || b" ?#\"<>\\^`{|}".contains(&byte)) {
            return Err(wrong("an address of a directory has no query, fragment, blanks or marks"));
        }
        Ok(Self { base: place.trim_end_matches('/').to_owned() })
    }

    fn get(
        &self,
        url: String,
        most: u64,
        sink: &mut Sink<'_>,
        observer: &dyn Observer,
    ) -> Result<Outcome> {
        let seconds = BASE + most / SLOWEST;
        let command = [
            "curl",
            // No configuration of the user's.
            "--disable",
            "--silent",
            "--show-error",
            "--fail",
            "--globoff",
            "--location",
            "--max-redirs",
            "5",
            "--proto",
            "=http,https",
            "--proto-redir",
            "=http,https",
            "--connect-timeout",
            &CONNECT.to_string(),
            "--max-time",
            &seconds.to_string(),
            "--write-out",
            "%{stderr}\nanswered %{http_code}\n",
            "--",
            &url,
        ]
        .map(str::to_owned);
        let program = Program {
            command: &command,
            dir: std::path::Path::new("/"),
            name: &url,
            input: &[],
            timeout: Duration::from_secs(seconds + CONNECT),
            most: 0,
        };
        let mut read = 0;
        let ended = program.stream(observer, &mut |bytes| {
            read += bytes.len() as u64;
            let fits = read <= most;
            if fits {
                sink(bytes);
            }
            fits
        });
        match ended {
            Ok(_) if read > most => Ok(Outcome::Larger),
            Ok(ended) => {
                let said = ended.said.quoted().unwrap_or_default();
                let missing =
                    ["answered 404", "answered 410"].iter().any(|end| said.ends_with(end));
                match ended.failure() {
                    None => Ok(Outcome::Whole),
                    Some(_) if missing => Ok(Outcome::Missing),
                    Some(how) => Ok(Outcome::Failed(format!("curl {how}; it said: {said}"))),
                }
            }
            Err(Failure::Interrupted) => Err(cairn_store::Error::Interrupted.into()),
            Err(Failure::TimedOut(_)) => Ok(Outcome::Failed("it took too long".to_owned())),
            // Without curl nothing can be said of any path.
            Err(Failure::Start(source)) => Err(Error::Setting {
                key: "curl".to_owned(),
                reason: format!("it cannot be started ({source}); install it, or name a directory"),
            }),
        }
    }
}

impl Fetch for Far {
    fn read(
        &self,
        path: &RelPath,
        most: u64,
        sink: &mut Sink<'_>,
        observer: &dyn Observer,
    ) -> Result<Outcome> {
        self.get(format!("{}/{}", self.base, encoded(path.as_bytes())), most, sink, observer)
    }

    fn above(
        &self,
        up: usize,
        name: &str,
        most: u64,
        sink: &mut Sink<'_>,
        observer: &dyn Observer,
    ) -> Result<Outcome> {
        let mut base = self.base.as_str();
        for _ in 0..up {
            match base.rsplit_once('/') {
                // The server's own name is no directory.
                Some((above, _)) if !above.ends_with("/") && above.contains("://") => base = above,
                Some(_) | None => return Ok(Outcome::Missing),
            }
        }
        self.get(format!("{base}/{}", encoded(name.as_bytes())), most, sink, observer)
    }
}

/// Encodes a path for an address (RFC 3986): all but unreserved characters and slashes.
fn encoded(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(char::from(*byte));
            }
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

/// Tells an error in a row that goes to a terminal.
pub(super) fn clause(error: &dyn std::error::Error) -> String {
    Escaped(crate::error::told(error).as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_path_of_an_address() {
        assert_eq!(encoded(b"a/b-1.0~rc1_x.rpm"), "a/b-1.0~rc1_x.rpm");
        assert_eq!(encoded(b"c++ ?#%\xff&=@:"), "c%2B%2B%20%3F%23%25%FF%26%3D%40%3A");
    }

    #[test]
    fn an_address_is_of_a_server_and_a_directory() {
        for good in ["http://mirror.example/9.7/", "https://m:8080/a", "http://[::1]:8080/9.7"] {
            assert!(Far::new(good).is_ok(), "{good}");
        }
        for bad in ["http://", "https:///a", "http://m/a?b", "http://m/a#b", "http://m/a b", "x"] {
            assert!(Far::new(bad).is_err(), "{bad}");
        }
    }
}
