//! The layout of an exported file (docs/format.md §14): lines of text with exact bytes between.

use cairn_store::id::{ObjectId, OperationId, SnapshotId};
use cairn_store::log::Head;

use super::digest;

/// The first line.
const FIRST: &str = "cairn-audit 1";
/// The longest line that is ours: the last one has 68 bytes.
const LINE: usize = 200;

/// A file that is being made.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub fn new(store: &str, time: jiff::Timestamp, head: Option<Head>) -> Self {
        let head = match head {
            Some(head) => format!("{} {}", head.number, head.id),
            None => "0".to_owned(),
        };
        Self(format!("{FIRST}\nstore {store}\ntime {time}\nhead {head}\n").into_bytes())
    }

    pub fn operation(&mut self, number: u64, bytes: &[u8]) {
        self.part(&format!("operation {number}"), bytes);
    }

    pub fn snapshot(&mut self, id: &SnapshotId, bytes: &[u8]) {
        self.part(&format!("snapshot {id}"), bytes);
    }

    fn part(&mut self, head: &str, bytes: &[u8]) {
        self.0.extend_from_slice(format!("{head} {}\n", bytes.len()).as_bytes());
        self.0.extend_from_slice(bytes);
        self.0.push(b'\n');
    }

    pub fn finish(mut self) -> Vec<u8> {
        let end = format!("end {}\n", digest(&self.0));
        self.0.extend_from_slice(end.as_bytes());
        self.0
    }
}

/// A piece of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'f> {
    Operation(u64, &'f [u8]),
    Snapshot(SnapshotId, &'f [u8]),
}

/// A file that is being read, part by part.
#[derive(Debug)]
pub(super) struct Parts<'f> {
    pub store: &'f str,
    pub time: &'f str,
    pub head: Option<Head>,
    all: &'f [u8],
    rest: &'f [u8],
}

impl<'f> Parts<'f> {
    pub fn new(all: &'f [u8]) -> Result<Self, String> {
        let mut parts = Self { store: "", time: "", head: None, all, rest: all };
        if parts.line()? != FIRST {
            return Err(format!("it does not begin with {FIRST:?}"));
        }
        parts.store = parts.word("store")?;
        if parts.store.len() != 32 || !parts.store.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err("its store is not 32 hex digits".to_owned());
        }
        parts.time = parts.word("time")?;
        if parts.time.parse::<jiff::Timestamp>().is_err() {
            return Err("its time is none".to_owned());
        }
        let head = parts.word("head")?;
        parts.head = match head.split_once(' ') {
            None if head == "0" => None,
            None => return Err("its head is none".to_owned()),
            Some((number, id)) => {
                let (number, id) = (number.parse().ok(), OperationId::from_hex(id));
                let head = number.zip(id).map(|(number, id)| Head { number, id });
                Some(head.ok_or("its head is none")?)
            }
        };
        Ok(parts)
    }

    /// Returns the next part; nothing at the end, whose hash is right.
    pub fn next(&mut self) -> Result<Option<Part<'f>>, String> {
        let before = &self.all[..self.all.len() - self.rest.len()];
        let line = self.line()?;
        let mut words = line.split(' ');
        let (kind, name, length) = (words.next(), words.next(), words.next());
        match (kind, name, length, words.next()) {
            (Some("end"), Some(hash), None, None) => {
                match ObjectId::from_hex(hash) == Some(digest(before)) {
                    true => Ok(None),
                    false => Err("its last line is not the hash of what is before it".to_owned()),
                }
            }
            (Some("operation"), Some(number), Some(length), None) => {
                let number = number.parse().map_err(|_| unreadable(line))?;
                Ok(Some(Part::Operation(number, self.bytes(line, length)?)))
            }
            (Some("snapshot"), Some(id), Some(length), None) => {
                let id = SnapshotId::from_hex(id).ok_or_else(|| unreadable(line))?;
                Ok(Some(Part::Snapshot(id, self.bytes(line, length)?)))
            }
            _ => Err(unreadable(line)),
        }
    }

    /// Returns what stands behind the end.
    pub fn signature(&self) -> &'f [u8] {
        self.rest
    }

    fn bytes(&mut self, line: &str, length: &str) -> Result<&'f [u8], String> {
        let length: usize = length.parse().map_err(|_| unreadable(line))?;
        let cut = || format!("it ends inside {line:?}");
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or_else(cut)?;
        self.rest = rest.strip_prefix(b"\n").ok_or_else(cut)?;
        Ok(bytes)
    }

    fn word(&mut self, key: &str) -> Result<&'f str, String> {
        let line = self.line()?;
        let value = line.strip_prefix(key).and_then(|rest| rest.strip_prefix(' '));
        value.ok_or_else(|| format!("it has no line {key:?} where that should be"))
    }

    fn line(&mut self) -> Result<&'f str, String> {
        let head = &self.rest[..self.rest.len().min(LINE)];
        let Some(end) = head.iter().position(|b| *b == b'\n') else {
            return Err(match self.rest.len() > LINE {
                true => "a line of it is too long".to_owned(),
                false => "it ends too early".to_owned(),
            });
        };
        let line = std::str::from_utf8(&head[..end]).map_err(|_| "a line of it is no text")?;
        self.rest = &self.rest[end + 1..];
        Ok(line)
    }
}

fn unreadable(line: &str) -> String {
    format!("{line:?} is no line of it")
}
