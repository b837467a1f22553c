//! A mirror's own `fullfiletimelist`, as far as it is about one release.
//!
//! It comes from outside: lines are bounded, rows that are none are passed over, and what is kept
//! is bounded by 512 MiB of text, which is all that is fed.

use std::collections::BTreeMap;

use cairn_store::path::RelPath;
use cairn_store::tree::{Entry, walk};

use super::{Deviation, Wrong};
use crate::error::Result;
use crate::site::Site;

/// The longest line that a path can make.
const LINE: usize = 16 << 10;
/// Bits without which an entry is not listed: others of the group must be able to read it.
const LISTED: u32 = 0o040;

/// What a list says of the files of a release.
#[derive(Debug)]
pub struct Listed {
    /// The release's path from the list's root, with a slash.
    prefix: Vec<u8>,
    line: Vec<u8>,
    /// Whether the line is too long and is passed over.
    skipping: bool,
    section: Section,
    files: BTreeMap<RelPath, u64>,
    ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Other,
    Files,
}

impl Listed {
    /// Keeps rows below `prefix`, the release's path from the list's root.
    pub fn new(mut prefix: Vec<u8>) -> Self {
        prefix.push(b'/');
        let (line, files) = (Vec::new(), BTreeMap::new());
        Self { prefix, line, skipping: false, section: Section::Other, files, ended: false }
    }

    /// Takes in some bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.gather(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            if !std::mem::take(&mut self.skipping) {
                self.row(&line);
            }
            // Its room is used again.
            self.line = line;
            self.line.clear();
        }
        self.gather(bytes);
    }

    fn gather(&mut self, bytes: &[u8]) {
        if self.skipping || self.line.len() + bytes.len() > LINE {
            self.skipping = true;
            self.line.clear();
            return;
        }
        self.line.extend_from_slice(bytes);
    }

    fn row(&mut self, line: &[u8]) {
        if line.starts_with(b"[") {
            self.section = if line == b"[Files]" { Section::Files } else { Section::Other };
            self.ended |= line == b"[End]";
            return;
        }
        if self.section != Section::Files {
            return;
        }
        let mut fields = line.splitn(4, |b| *b == b'\t');
        let (_time, kind, size, path) =
            (fields.next(), fields.next(), fields.next(), fields.next());
        let (Some(kind), Some(size), Some(path)) = (kind, size, path) else { return };
        let size = std::str::from_utf8(size).ok().and_then(|size| size.parse().ok());
        let path = path.strip_prefix(self.prefix.as_slice()).and_then(|p| RelPath::new(p).ok());
        if let (b"f" | b"f*" | b"f-", Some(size), Some(path)) = (kind, size, path) {
            self.files.insert(path, size);
        }
    }

    /// Returns whether the list is whole.
    pub fn end(&self) -> bool {
        self.ended
    }

    /// Returns the files of the release that it has, with their sizes, in order.
    pub fn files(&self) -> impl Iterator<Item = (&RelPath, u64)> {
        self.files.iter().map(|(path, size)| (path, *size))
    }

    /// Returns how many files of the release it has.
    pub fn rows(&self) -> u64 {
        self.files.len() as u64
    }

    /// Returns how its files differ from a tree's, by name and size.
    ///
    /// # Errors
    /// A tree that cannot be read.
    pub fn compare(
        &self,
        site: &Site,
        root: &cairn_store::tree::DirEntry,
    ) -> Result<Vec<Deviation>> {
        let mut rest = self.files.clone();
        let mut found = Vec::new();
        let mut add = |path: &RelPath, wrong, what| {
            found.push(Deviation { path: path.clone(), wrong, found: what, snapshot: None });
        };
        walk(&site.store, root, &RelPath::ROOT, &mut |path, entry| {
            match entry {
                // What the group may not read is not listed, with everything below.
                Entry::Dir(dir) => return Ok(dir.mode & LISTED != 0),
                Entry::Symlink(_) => {}
                Entry::File(file) => match rest.remove(path) {
                    Some(size) if size == file.size => {}
                    Some(size) => {
                        add(path, Wrong::Size, Some(format!("{size} bytes, by its list")))
                    }
                    None if file.mode & LISTED == 0 || path.as_bytes().contains(&b'\n') => {}
                    None => add(path, Wrong::Missing, Some("in its list".to_owned())),
                },
            }
            Ok(true)
        })?;
        for path in rest.keys() {
            add(path, Wrong::Extra, Some("in its list".to_owned()));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str, piece: usize) -> Listed {
        let mut listed = Listed::new(b"9.7".to_vec());
        for bytes in text.as_bytes().chunks(piece) {
            listed.feed(bytes);
        }
        listed
    }

    #[test]
    fn rows_of_the_release_are_kept_however_they_come() {
        let text = "[Version]\n2\n\n[Files]\n1\td\t4096\t9.7\n1\tf\t12\t9.7/a/b\n1\tf\t7\t9.6/a/b\n\
                    1\tl\t3\t9.7/link\n1\tf-\t5\t9.7/private\nnonsense\n1\tf\tmany\t9.7/c\n\
                    1\tf\t9\t9.7/../../etc/passwd\n\n[Checksums SHA1]\n00\t9.7/a/b\n\n[End]\n";
        for piece in [1, 7, 4096] {
            let listed = listed(text, piece);
            let rows: Vec<_> =
                listed.files().map(|(path, size)| (path.to_string(), size)).collect();
            assert_eq!(rows, [("a/b".to_owned(), 12), ("private".to_owned(), 5)], "{piece}");
            assert!(listed.end());
        }
        assert!(!listed("[Files]\n1\tf\t12\t9.7/a\n", 100).end(), "a list that is cut is none");
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let mut listed = Listed::new(b"9.7".to_vec());
        listed.feed(b"[Files]\n");
        for _ in 0..100 {
            listed.feed(&[b'x'; 10_000]);
        }
        assert!(listed.line.capacity() <= 2 * LINE);
        listed.feed(b"\n1\tf\t12\t9.7/a\n[End]\n");
        assert_eq!((listed.rows(), listed.end()), (1, true));
    }
}
