//! `.treeinfo`, edited in place.
//!
//! Installers read this file, and more than one of them reads it in its own way, so an edit
//! changes the lines it is about and no other: order, case, spacing and comments stay.

use crate::checksum::{Checksum, ChecksumType};
use crate::error::{Error, Result};
use crate::href;

/// Largest file that is accepted, in bytes. Real ones have a few kB.
const MAX_SIZE: usize = 1 << 20;

/// A `.treeinfo` file as its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Treeinfo {
    file: String,
    lines: Vec<String>,
}

/// One entry of `[checksums]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeChecksum {
    /// The file, relative to the tree.
    pub path: String,
    /// Its checksum.
    pub checksum: Checksum,
}

impl Treeinfo {
    /// Reads a file; `file` is for errors.
    ///
    /// # Errors
    ///
    /// Anything that is not UTF-8 text of sections and assignments.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Treeinfo> {
        if bytes.len() > MAX_SIZE {
            return Err(Error::TooLarge { file: file.to_owned(), limit: MAX_SIZE as u64 });
        }
        let text =
            std::str::from_utf8(bytes).map_err(|_| Error::record(file, "treeinfo", "not UTF-8"))?;
        let lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
        let mut section = false;
        for (number, line) in lines.iter().enumerate() {
            match Line::parse(line) {
                Line::Section(_) => section = true,
                Line::Entry(..) if section => {}
                Line::Nothing => {}
                Line::Entry(..) | Line::Unknown => {
                    let reason = "neither a section nor an entry of one";
                    return Err(Error::record(file, format!("line {}", number + 1), reason));
                }
            }
        }
        Ok(Treeinfo { file: file.to_owned(), lines })
    }

    /// Returns the file's bytes.
    pub fn write(&self) -> Vec<u8> {
        self.lines.concat().into_bytes()
    }

    /// Returns the value of a key.
    pub fn get(&self, section: &str, key: &str) -> Option<&str> {
        self.entries(section).find(|(_, name, _)| *name == key).map(|(_, _, value)| value)
    }

    /// Returns the keys and values of a section in order.
    pub fn section(&self, section: &str) -> Vec<(&str, &str)> {
        self.entries(section).map(|(_, key, value)| (key, value)).collect()
    }

    /// Returns the names of all sections in order.
    pub fn sections(&self) -> Vec<&str> {
        let name = |line| match Line::parse(line) {
            Line::Section(name) => Some(name),
            Line::Entry(..) | Line::Nothing | Line::Unknown => None,
        };
        self.lines.iter().filter_map(|line| name(line)).collect()
    }

    /// Sets a key: in its line if it has one, else at the end of its section, which is added to
    /// the end of the file if it is missing.
    pub fn set(&mut self, section: &str, key: &str, value: &str) {
        let at = self.entries(section).find(|(_, name, _)| *name == key).map(|(at, ..)| at);
        let entry = match at.and_then(|at| self.lines.get(at)) {
            Some(line) => {
                // Keep the spacing around the sign.
                let sign = line.find(['=', ':']).unwrap_or(line.len());
                let rest = &line[sign..];
                let blank = rest[1.min(rest.len())..].trim_end_matches(['\r', '\n']);
                let blank = &blank[..blank.len() - blank.trim_start().len()];
                let ending = &line[line.trim_end_matches(['\r', '\n']).len()..];
                format!("{}{blank}{value}{ending}", &line[..(sign + 1).min(line.len())])
            }
            None => format!("{key} = {value}\n"),
        };
        match at {
            Some(at) => self.lines[at] = entry,
            None => {
                let at = self.end_of(section);
                self.lines.insert(at, entry);
            }
        }
    }

    /// Removes a key; returns whether it was there.
    pub fn remove(&mut self, section: &str, key: &str) -> bool {
        let at = self.entries(section).find(|(_, name, _)| *name == key).map(|(at, ..)| at);
        at.map(|at| self.lines.remove(at)).is_some()
    }

    /// Returns the checksums that the file declares of other files of the tree.
    ///
    /// # Errors
    ///
    /// Weak and malformed checksums; paths that are absolute or lead out of the tree.
    pub fn checksums(&self) -> Result<Vec<TreeChecksum>> {
        let mut checksums = Vec::new();
        for (_, path, value) in self.entries("checksums") {
            let (kind, hex) = value.split_once(':').unwrap_or(("", value));
            href::resolve_for(&self.file, "checksums", "", path)?;
            let checksum = Checksum::parse(&self.file, path, kind.trim(), hex)?;
            checksums.push(TreeChecksum { path: path.to_owned(), checksum });
        }
        Ok(checksums)
    }

    /// Sets every declared checksum to what `content` says of its file, and leaves those that it
    /// says nothing of. Returns the paths whose entry changed.
    ///
    /// # Errors
    ///
    /// Those of [`Treeinfo::checksums`].
    pub fn refresh_checksums(
        &mut self,
        content: impl Fn(&str) -> Option<Checksum>,
    ) -> Result<Vec<String>> {
        let mut changed = Vec::new();
        for TreeChecksum { path, checksum } in self.checksums()? {
            match content(&path) {
                Some(new) if new != checksum && new.kind() == ChecksumType::Sha256 => {
                    self.set("checksums", &path, &new.to_string());
                    changed.push(path);
                }
                _ => {}
            }
        }
        Ok(changed)
    }

    fn entries(&self, section: &str) -> impl Iterator<Item = (usize, &str, &str)> {
        let mut inside = false;
        self.lines.iter().enumerate().filter_map(move |(at, line)| match Line::parse(line) {
            Line::Section(name) => {
                inside = name == section;
                None
            }
            Line::Entry(key, value) if inside => Some((at, key, value)),
            Line::Entry(..) | Line::Nothing | Line::Unknown => None,
        })
    }

    /// Returns where a section's next entry goes: after its last line that says something.
    fn end_of(&mut self, section: &str) -> usize {
        let mut end = None;
        let mut inside = false;
        for (at, line) in self.lines.iter().enumerate() {
            match Line::parse(line) {
                Line::Section(name) => inside = name == section,
                Line::Entry(..) => {}
                Line::Nothing | Line::Unknown => continue,
            }
            if inside {
                end = Some(at + 1);
            }
        }
        if let Some(last) = self.lines.last_mut().filter(|last| !last.ends_with('\n')) {
            last.push('\n');
        }
        end.unwrap_or_else(|| {
            if self.lines.last().is_some_and(|last| !last.trim().is_empty()) {
                self.lines.push("\n".to_owned());
            }
            self.lines.push(format!("[{section}]\n"));
            self.lines.len()
        })
    }
}

/// What a line is.
enum Line<'a> {
    Section(&'a str),
    Entry(&'a str, &'a str),
    /// Blank, or a comment.
    Nothing,
    Unknown,
}

impl Line<'_> {
    fn parse(line: &str) -> Line<'_> {
        let text = line.trim();
        if text.is_empty() || text.starts_with(['#', ';']) {
            return Line::Nothing;
        }
        if let Some(name) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            return Line::Section(name);
        }
        // `=` first: the values of `[checksums]` have colons, and so may keys.
        match text.split_once('=').or_else(|| text.split_once(':')) {
            Some((key, value))
                if !key.trim().is_empty() && line.starts_with(|c: char| !c.is_whitespace()) =>
            {
                Line::Entry(key.trim(), value.trim())
            }
            _ => Line::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> String {
        format!(
            "[header]\ntype = productmd.treeinfo\n\n; a comment\n[checksums]\n\
             images/boot.iso = sha256:{a}\nrepodata/repomd.xml=sha256:{a}\n\n\
             [images-x86_64]\nefiboot.img = images/efiboot.img\n\
             LiveOS/squashfs.img = x\n[stage2]\nmainimage = images/install.img",
            a = "0a".repeat(32)
        )
    }

    #[test]
    fn what_is_not_edited_stays_byte_for_byte() {
        let text = sample();
        let mut treeinfo = Treeinfo::read(".treeinfo", text.as_bytes()).unwrap();
        assert_eq!(treeinfo.write(), text.as_bytes());
        assert_eq!(treeinfo.get("images-x86_64", "LiveOS/squashfs.img"), Some("x"));
        assert_eq!(treeinfo.get("images-x86_64", "liveos/squashfs.img"), None);
        assert_eq!(treeinfo.sections(), ["header", "checksums", "images-x86_64", "stage2"]);

        treeinfo.set("header", "type", "other");
        treeinfo.set("header", "new", "1");
        treeinfo.set("variant-AppStream", "id", "AppStream");
        assert!(treeinfo.remove("stage2", "mainimage"));
        assert!(!treeinfo.remove("stage2", "mainimage"));
        let want = text
            .replace("type = productmd.treeinfo\n", "type = other\nnew = 1\n")
            .replace("mainimage = images/install.img", "\n[variant-AppStream]\nid = AppStream\n");
        assert_eq!(String::from_utf8(treeinfo.write()).unwrap(), want);
    }

    #[test]
    fn checksums_are_refreshed_where_they_differ() {
        let mut treeinfo = Treeinfo::read(".treeinfo", sample().as_bytes()).unwrap();
        let new = Checksum::sha256(b"x");
        let content = |path: &str| (path == "repodata/repomd.xml").then(|| new.clone());
        assert_eq!(treeinfo.refresh_checksums(content).unwrap(), ["repodata/repomd.xml"]);
        assert_eq!(treeinfo.refresh_checksums(content).unwrap(), [""; 0]);
        let old = format!("repodata/repomd.xml=sha256:{}", "0a".repeat(32));
        let want = sample().replace(&old, &format!("repodata/repomd.xml={new}"));
        assert_eq!(String::from_utf8(treeinfo.write()).unwrap(), want);
    }

    #[test]
    fn hostile_files_are_refused() {
        for (text, want) in [
            ("x = 1\n", ".treeinfo: line 1: neither a section nor an entry of one"),
            ("[a]\nwhat\n", ".treeinfo: line 2: neither"),
            ("[checksums]\n../x = sha256:00\n", ".treeinfo: checksums: href \"../x\" leads out"),
            ("[checksums]\n/x = sha256:00\n", ".treeinfo: checksums: href \"/x\" is absolute"),
            ("[checksums]\nx = md5:00\n", ".treeinfo: x: md5 is too weak"),
            ("[checksums]\nx = sha256:00\n", ".treeinfo: x: \"00\" is not a sha256 checksum"),
        ] {
            let refused = Treeinfo::read(".treeinfo", text.as_bytes()).and_then(|t| t.checksums());
            let error = refused.unwrap_err().to_string();
            assert!(error.starts_with(want), "{error}");
        }
    }

    proptest! {
        #[test]
        fn anything_that_reads_writes_back(text in "(\\[[a-c]\\]|[a-c] ?[=:] ?[a-z]{0,3}|#.|\r?\n){0,20}") {
            if let Ok(mut treeinfo) = Treeinfo::read("t", text.as_bytes()) {
                prop_assert_eq!(treeinfo.write(), text.as_bytes());
                treeinfo.set("b", "c", "value");
                prop_assert_eq!(treeinfo.get("b", "c"), Some("value"));
            }
        }
    }
}
