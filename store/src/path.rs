//! Names and paths as the file system knows them: bytes, checked once at the border.
//!
//! A [`RelPath`] is a sequence of checked names. It cannot hold `..`, an
//! absolute path or a NUL, so code that has one need not check again. Bytes that are not UTF-8
//! are kept; [`RelPath`]'s `Display` escapes what would confuse a terminal or a line-based reader.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The longest name a directory entry can have, in bytes (NAME_MAX).
pub const NAME_MAX: usize = 255;

/// Returns why `name` cannot be one path component, if it cannot.
pub fn name_fault(name: &[u8]) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name == b"." || name == b".." {
        Some("it is a dot entry")
    } else if name.len() > NAME_MAX {
        Some("it is longer than 255 bytes")
    } else if name.contains(&b'/') {
        Some("it contains a slash")
    } else if name.contains(&0) {
        Some("it contains a NUL byte")
    } else {
        None
    }
}

/// Returns whether any of these names, which stand one behind the other in `all`, cannot be a path
/// component: the same as [`name_fault`] of each, and much less work where there are many.
pub(crate) fn any_name_fault<'n>(all: &[u8], mut names: impl Iterator<Item = &'n [u8]>) -> bool {
    // Without a way out of the loop it compiles to wide comparisons.
    let separators =
        all.iter().fold(0, |found, b| found | u8::from(*b == b'/') | u8::from(*b == 0));
    let odd = |name: &[u8]| matches!(name, b"" | b"." | b"..") || name.len() > NAME_MAX;
    separators != 0 || names.any(odd)
}

/// A relative path inside a tree: zero or more checked names. The empty path is the root.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RelPath(Vec<u8>);

impl RelPath {
    /// The root of a tree.
    pub const ROOT: RelPath = RelPath(Vec::new());

    /// Parses a path; a leading `./` and slashes at either end are accepted, `..` is not.
    ///
    /// # Errors
    /// The reason as a phrase, when a component cannot be a name.
    pub fn new(path: impl AsRef<[u8]>) -> Result<Self, &'static str> {
        let mut clean = Vec::with_capacity(path.as_ref().len());
        for name in path.as_ref().split(|b| *b == b'/') {
            if name.is_empty() || name == b"." {
                continue;
            }
            if let Some(fault) = name_fault(name) {
                return Err(fault);
            }
            if !clean.is_empty() {
                clean.push(b'/');
            }
            clean.extend_from_slice(name);
        }
        Ok(Self(clean))
    }

    /// Returns the path's bytes, without a leading or trailing slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the path as the standard library's type, for opening relative to a directory.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Returns whether this is the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns this path with one more component; the caller has checked `name`.
    pub fn join(&self, name: &[u8]) -> Self {
        debug_assert_eq!(name_fault(name), None);
        let mut path = Vec::with_capacity(self.0.len() + 1 + name.len());
        path.extend_from_slice(&self.0);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        Self(path)
    }

    /// Returns this path with another below it.
    pub fn join_path(&self, other: &RelPath) -> Self {
        if other.is_root() {
            return self.clone();
        }
        let mut path = self.0.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&other.0);
        Self(path)
    }

    /// Iterates over the components.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|name| !name.is_empty())
    }

    /// Returns the directory that holds this path, and its last name; none for the root.
    pub fn split_last(&self) -> Option<(RelPath, &[u8])> {
        if self.is_root() {
            return None;
        }
        match self.0.iter().rposition(|b| *b == b'/') {
            Some(slash) => Some((Self(self.0[..slash].to_vec()), &self.0[slash + 1..])),
            None => Some((Self::ROOT, &self.0)),
        }
    }

    /// Returns the last name, or nothing for the root.
    pub fn file_name(&self) -> &[u8] {
        match self.0.iter().rposition(|b| *b == b'/') {
            Some(slash) => &self.0[slash + 1..],
            None => &self.0,
        }
    }

    /// Returns the text if the path is UTF-8.
    pub fn to_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        write!(f, "{}", Escaped(&self.0))
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelPath({self})")
    }
}

impl serde::Serialize for RelPath {
    /// A string, or `{"b64": …}` when the bytes are not UTF-8 (the command contract).
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        match self.to_str() {
            Some(text) => s.serialize_str(text),
            None => {
                let mut map = s.serialize_map(Some(1))?;
                map.serialize_entry("b64", &base64(&self.0))?;
                map.end()
            }
        }
    }
}

/// Shows bytes as text that a terminal and a line-based reader survive: control characters,
/// bytes that are not UTF-8, backslashes and direction overrides are escaped.
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    '\n' => f.write_str("\\n")?,
                    '\t' => f.write_str("\\t")?,
                    c if !is_plain(c) => write!(f, "\\u{{{:x}}}", c as u32)?,
                    c => fmt::Write::write_char(f, c)?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Returns whether a character shows what it is: it is neither a control character nor one that
/// hides or turns around what is beside it.
pub fn is_plain(c: char) -> bool {
    !c.is_control() && !is_invisible(c)
}

/// What turns text around or takes no room: a name that uses it reads as another name.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            // A whole alphabet that nobody sees.
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Escapes in a JSON text what JSON lets stand and a terminal obeys: DEL, the upper control
/// characters, and what turns text around or hides it. A parser reads the same from it.
pub fn plain_json(text: String) -> String {
    let stands = |c: char| c == '\n' || is_plain(c);
    if text.chars().all(stands) {
        return text;
    }
    // Outside strings JSON is ASCII, so all of these are in strings.
    text.chars().fold(String::with_capacity(text.len() + 16), |mut out, c| {
        match stands(c) {
            true => out.push(c),
            false => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = fmt::Write::write_fmt(&mut out, format_args!("\\u{unit:04x}"));
                }
            }
        }
        out
    })
}

/// Shows a path of the machine, escaped like [`Escaped`].
pub fn display(path: &Path) -> Escaped<'_> {
    Escaped(path.as_os_str().as_bytes())
}

/// Encodes bytes in standard base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = u32::from(chunk[0]) << 16
            | u32::from(*chunk.get(1).unwrap_or(&0)) << 8
            | u32::from(*chunk.get(2).unwrap_or(&0));
        for place in 0..4 {
            if place <= chunk.len() {
                let index = (word >> (18 - 6 * place)) & 63;
                text.push(char::from(ALPHABET[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_checked_once_and_normal() {
        for (text, normal) in [("a/b", "a/b"), ("./a//b/", "a/b"), ("/a", "a"), ("", ""), (".", "")]
        {
            assert_eq!(RelPath::new(text).unwrap().as_bytes(), normal.as_bytes(), "{text:?}");
        }
        for text in ["..", "a/../b", "a/\0", &"x".repeat(256)] {
            assert!(RelPath::new(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_that_would_confuse_a_terminal_are_escaped() {
        for (bytes, shown) in [
            (&b"plain-1.0.rpm"[..], "plain-1.0.rpm"),
            (b"new\nline", "new\\nline"),
            (b"\x1b[2J", "\\u{1b}[2J"),
            (b"caf\xc3\xa9", "caf\u{e9}"),
            (b"\xff\xfe", "\\xff\\xfe"),
            ("a\u{202e}b".as_bytes(), "a\\u{202e}b"),
            ("a\u{61c}b\u{e0041}".as_bytes(), "a\\u{61c}b\\u{e0041}"),
            (b"back\\slash", "back\\\\slash"),
        ] {
            assert_eq!(Escaped(bytes).to_string(), shown);
        }
    }

    #[test]
    fn a_document_says_the_same_without_speaking_to_a_terminal() {
        for (text, shown) in [
            ("{\"a\": \"b\"}\n", "{\"a\": \"b\"}\n"),
            ("\"caf\u{e9} \u{1f600}\"", "\"caf\u{e9} \u{1f600}\""),
            ("\"\u{7f}\u{9b}31m\u{202e}\"", r#""\u007f\u009b31m\u202e""#),
            ("\"\u{e0041}\"", r#""\udb40\udc41""#),
        ] {
            assert_eq!(plain_json(text.to_owned()), shown);
            let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(read(shown), read(text));
        }
    }

    #[test]
    fn base64_matches_the_rfc_vectors() {
        // RFC 4648, section 10.
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn a_path_splits_and_joins() {
        let path = RelPath::new("a/b/c").unwrap();
        let (dir, name) = path.split_last().unwrap();
        assert_eq!((dir.as_bytes(), name), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(dir.join(name), path);
        assert_eq!(RelPath::ROOT.join(b"a").file_name(), b"a");
        assert!(RelPath::ROOT.split_last().is_none());
    }
}
