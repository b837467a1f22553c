//! Locations: what a record may point to, and where that is.
//!
//! Metadata is not trusted to name paths. A location is relative, plain, and resolved by its text
//! alone inside the tree that the repository is part of. `../` is legal, since real repositories
//! keep packages beside themselves (`../../blobstore/…`), but it never leads out of the tree.

use crate::error::{Error, HrefFault, Result};

/// Checks what can be said of a location without knowing where its repository is.
///
/// # Errors
///
/// Empty and absolute locations, those with a scheme, backslashes, queries or control characters,
/// and those that hide dots or separators by percent-encoding.
pub fn check_href(href: &str) -> Result<(), HrefFault> {
    if href.is_empty() {
        return Err(HrefFault::Empty);
    }
    if href.chars().any(char::is_control) {
        return Err(HrefFault::Control);
    }
    if href.starts_with('/') {
        return Err(HrefFault::Absolute);
    }
    if has_scheme(href) {
        return Err(HrefFault::Scheme);
    }
    if href.contains('\\') {
        return Err(HrefFault::Backslash);
    }
    if href.contains(['?', '#']) {
        return Err(HrefFault::Query);
    }
    if hides_something(href) {
        return Err(HrefFault::Encoded);
    }
    Ok(())
}

/// Returns the path that `href` means, relative to the allowed root.
///
/// `repo_dir` is the repository's own path relative to that root, the empty string if the
/// repository is the root. The result has no empty, `.` or `..` segments. Percent-encoding is left
/// as it is: what is stored under a name is stored under the name as written.
///
/// ```
/// use cairn_repodata::{HrefFault, resolve_href};
/// let dir = "9.6/BaseOS/x86_64/os";
/// assert_eq!(resolve_href(dir, "Packages/b/bash.rpm").unwrap(), "9.6/BaseOS/x86_64/os/Packages/b/bash.rpm");
/// assert_eq!(resolve_href(dir, "../../blob/x.rpm").unwrap(), "9.6/BaseOS/blob/x.rpm");
/// assert_eq!(resolve_href(dir, "../../../../../etc/passwd"), Err(HrefFault::Escapes));
/// ```
///
/// # Errors
///
/// What [`check_href`] refuses, locations that lead out of the root at any point, and those that
/// name no file.
pub fn resolve_href(repo_dir: &str, href: &str) -> Result<String, HrefFault> {
    check_href(href)?;
    let mut path: Vec<&str> = Vec::new();
    for segment in repo_dir.split('/').chain(href.split('/')) {
        match segment {
            "" | "." => {}
            ".." => {
                path.pop().ok_or(HrefFault::Escapes)?;
            }
            name => path.push(name),
        }
    }
    let last = href.rsplit('/').next().unwrap_or("");
    if path.is_empty() || matches!(last, "" | "." | "..") {
        return Err(HrefFault::NoFile);
    }
    Ok(path.join("/"))
}

/// Does what [`resolve_href`] does, with the error naming `file` and `record`.
pub(crate) fn resolve_for(file: &str, record: &str, repo_dir: &str, href: &str) -> Result<String> {
    resolve_href(repo_dir, href).map_err(|fault| refusal(file, record, href, fault))
}

/// Does what [`check_href`] does, with the error naming `file` and `record`.
pub(crate) fn check_for(file: &str, record: &str, href: &str) -> Result<()> {
    check_href(href).map_err(|fault| refusal(file, record, href, fault))
}

fn refusal(file: &str, record: &str, href: &str, fault: HrefFault) -> Error {
    Error::Href { file: file.to_owned(), record: record.to_owned(), href: href.to_owned(), fault }
}

fn has_scheme(href: &str) -> bool {
    // A colon alone is no scheme: epochs occur in file names. Without `//` only the schemes that
    // clients follow count.
    if href.contains("://") {
        return true;
    }
    let Some((scheme, _)) = href.split_once(':') else { return false };
    ["file", "http", "https", "ftp", "ftps", "media", "cdrom", "data"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
}

/// Returns whether decoding, any number of times, brings out a dot, separator or control character.
fn hides_something(href: &str) -> bool {
    let mut text = href.as_bytes().to_vec();
    while text.contains(&b'%') {
        let mut plain = Vec::with_capacity(text.len());
        let mut at = 0;
        while at < text.len() {
            match text[at..] {
                [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                    let byte = hex(high) << 4 | hex(low);
                    if matches!(byte, b'.' | b'/' | b'\\' | 0x7f | 0..0x20) {
                        return true;
                    }
                    plain.push(byte);
                    at += 3;
                }
                [byte, ..] => {
                    plain.push(byte);
                    at += 1;
                }
                [] => break,
            }
        }
        if plain.len() == text.len() {
            return false;
        }
        text = plain;
    }
    false
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10) & 15,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_locations_are_refused_by_name() {
        for (href, fault) in [
            ("", HrefFault::Empty),
            ("/etc/passwd", HrefFault::Absolute),
            ("//host/x", HrefFault::Absolute),
            ("file:///etc/passwd", HrefFault::Scheme),
            ("FILE:x", HrefFault::Scheme),
            ("http://host/x.rpm", HrefFault::Scheme),
            ("a\0b", HrefFault::Control),
            ("a\nb", HrefFault::Control),
            ("a\\..\\b", HrefFault::Backslash),
            ("a?b", HrefFault::Query),
            ("%2e%2e/x", HrefFault::Encoded),
            ("%2E%2e%2fx", HrefFault::Encoded),
            ("a/%252e%252e/x", HrefFault::Encoded),
            ("a/%25252e/x", HrefFault::Encoded),
            ("a%00b", HrefFault::Encoded),
            ("..", HrefFault::NoFile),
            (".", HrefFault::NoFile),
            ("a/", HrefFault::NoFile),
            ("a/..", HrefFault::NoFile),
            ("../../../x", HrefFault::Escapes),
            ("../../../r/d/x", HrefFault::Escapes),
            ("a/../../../../r/d/x", HrefFault::Escapes),
        ] {
            assert_eq!(resolve_href("r/d", href), Err(fault), "{href:?}");
        }
    }

    #[test]
    fn honest_locations_resolve_by_their_text() {
        for (dir, href, want) in [
            ("", "a.rpm", "a.rpm"),
            ("r/d", "Packages/b/b.rpm", "r/d/Packages/b/b.rpm"),
            ("r/d", "./a//b.rpm", "r/d/a/b.rpm"),
            ("r/d", "../../blobstore/ff/x.rpm", "blobstore/ff/x.rpm"),
            ("r/d/", "libstdc%2B%2B.rpm", "r/d/libstdc%2B%2B.rpm"),
            ("r/d", "a-1:2-3.rpm", "r/d/a-1:2-3.rpm"),
            ("r/d", "100%.rpm", "r/d/100%.rpm"),
            ("r/d", "…/x", "r/d/…/x"),
        ] {
            assert_eq!(resolve_href(dir, href).as_deref(), Ok(want), "{href:?}");
        }
    }

    proptest! {
        #[test]
        fn what_resolves_stays_inside(dir in "[a-c/.]{0,8}", href in "[a/.%2eEfF:]{0,12}|.{0,8}") {
            if let Ok(path) = resolve_href(&dir, &href) {
                prop_assert!(!path.starts_with('/'));
                prop_assert!(path.split('/').all(|s| !matches!(s, "" | "." | "..")));
            }
        }
    }
}
