//! Elements of plain documents, judged fast.
//!
//! Who writes package lists uses little of XML: tags, attributes in double quotes, text, references
//! to the usual characters. An element of such a list is judged here in one pass over its bytes,
//! by rules that are stricter than those of [`super::Document`]. Whatever else XML allows is
//! strange here, and the full reader decides; so no document is refused, or accepted, by this.

use std::ops::Range;

use super::{forbidden, is_name};
use crate::limits::MAX_ATTRIBUTE;

/// Elements that are larger are left to the full reader, which bounds every part.
const MAX: usize = 1 << 20;
/// Deeper ones, too. Packages nest four deep.
const DEPTH: usize = 8;
const ATTRIBUTES: usize = 8;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scan {
    /// The element is whole and has this size.
    Whole(usize),
    /// The bytes end before the element does.
    Short,
    /// The full reader must decide.
    Strange,
}

/// A child of the element, by where its parts are in the element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) name: Range<usize>,
    pub(crate) attributes: Range<usize>,
    pub(crate) content: Range<usize>,
    pub(crate) whole: Range<usize>,
}

/// Judges the element that `bytes` begin with, and notes its children if that is asked for.
/// Returns where the attributes of the element itself are, too.
pub(crate) fn scan(
    bytes: &[u8],
    prefixes: &[&str],
    mut children: Option<&mut Vec<Child>>,
) -> (Scan, Range<usize>) {
    let limited = &bytes[..bytes.len().min(MAX)];
    let mut own = 0..0;
    if let Some(children) = &mut children {
        children.clear();
    }
    let end = match walk(limited, prefixes, children, &mut own) {
        // What is cut off by the limit is not short, but large.
        Scan::Short if limited.len() == MAX => return (Scan::Strange, own),
        Scan::Whole(end) => end,
        other => return (other, own),
    };
    match characters(&bytes[..end]) {
        true => (Scan::Whole(end), own),
        false => (Scan::Strange, own),
    }
}

/// A start tag.
struct Tag {
    name: Range<usize>,
    attributes: Range<usize>,
    empty: bool,
    end: usize,
}

fn walk(
    bytes: &[u8],
    prefixes: &[&str],
    mut children: Option<&mut Vec<Child>>,
    own: &mut Range<usize>,
) -> Scan {
    if bytes.first().is_some_and(|first| *first != b'<') {
        return Scan::Strange;
    }
    let mut open: [Range<usize>; DEPTH] = Default::default();
    let mut depth = 0;
    let mut child: Option<(usize, Tag)> = None;
    let mut at = 0;
    loop {
        let Some(next) = bytes.get(at + 1) else { return Scan::Short };
        if *next == b'/' {
            let Some(size) = memchr::memchr(b'>', &bytes[at..]) else { return Scan::Short };
            let end = at + size + 1;
            if depth == 0 {
                return Scan::Strange;
            }
            depth -= 1;
            if bytes[at + 2..end - 1] != bytes[open[depth].clone()] {
                return Scan::Strange;
            }
            match (depth, &mut children, child.take()) {
                (1, Some(children), Some((start, tag))) => children.push(Child {
                    name: tag.name,
                    attributes: tag.attributes,
                    content: tag.end..at,
                    whole: start..end,
                }),
                (_, _, open) => child = open,
            }
            if depth == 0 {
                return Scan::Whole(end);
            }
            at = end;
        } else {
            let tag = match start_tag(bytes, at, prefixes) {
                Ok(tag) => tag,
                Err(scan) => return scan,
            };
            let end = tag.end;
            match (depth, tag.empty) {
                (0, true) => {
                    *own = tag.attributes;
                    return Scan::Whole(end);
                }
                (1, true) => {
                    if let Some(children) = &mut children {
                        let (name, attributes) = (tag.name, tag.attributes);
                        children.push(Child {
                            name,
                            attributes,
                            content: end..end,
                            whole: at..end,
                        });
                    }
                }
                (_, true) => {}
                (DEPTH.., false) => return Scan::Strange,
                (_, false) => {
                    if depth == 0 {
                        *own = tag.attributes.clone();
                    }
                    open[depth] = tag.name.clone();
                    depth += 1;
                    if depth == 2 {
                        child = Some((at, tag));
                    }
                }
            }
            at = end;
        }
        match memchr::memchr(b'<', &bytes[at..]) {
            Some(size) => at += size,
            None => return Scan::Short,
        }
    }
}

/// Reads the start tag at a place.
fn start_tag(bytes: &[u8], at: usize, prefixes: &[&str]) -> Result<Tag, Scan> {
    let byte = |at: usize| bytes.get(at).copied().ok_or(Scan::Short);
    let name_start = at + 1;
    let mut here = name_start;
    while is_name_byte(byte(here)?) {
        here += 1;
    }
    let name = name_start..here;
    if !is_plain_name(&bytes[name.clone()], prefixes) {
        return Err(Scan::Strange);
    }
    let attributes_start = here;
    let mut seen: [Range<usize>; ATTRIBUTES] = Default::default();
    let mut count = 0;
    loop {
        let before = here;
        while matches!(byte(here)?, b' ' | b'\n' | b'\t' | b'\r') {
            here += 1;
        }
        match byte(here)? {
            b'>' => {
                let attributes = attributes_start..before;
                return Ok(Tag { name, attributes, empty: false, end: here + 1 });
            }
            b'/' if byte(here + 1)? == b'>' => {
                let attributes = attributes_start..before;
                return Ok(Tag { name, attributes, empty: true, end: here + 2 });
            }
            _ if here == before => return Err(Scan::Strange),
            _ => {}
        }
        let start = here;
        while is_name_byte(byte(here)?) {
            here += 1;
        }
        let attribute = start..here;
        let taken = |other: &Range<usize>| bytes[other.clone()] == bytes[attribute.clone()];
        if !is_plain_name(&bytes[attribute.clone()], &["xml"])
            || count == ATTRIBUTES
            || seen[..count].iter().any(taken)
            || byte(here)? != b'='
            || byte(here + 1)? != b'"'
        {
            return Err(Scan::Strange);
        }
        seen[count] = attribute;
        count += 1;
        here += 2;
        let size = memchr::memchr(b'"', &bytes[here..]).ok_or(Scan::Short)?;
        let value = &bytes[here..here + size];
        // Line feeds in values become spaces; who cares for that is the full reader.
        let odd = |byte: &u8| *byte < b' ' || *byte == b'<';
        if size > MAX_ATTRIBUTE || value.iter().any(odd) {
            return Err(Scan::Strange);
        }
        here += size + 1;
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':')
}

fn is_plain_name(name: &[u8], prefixes: &[&str]) -> bool {
    // What nearly all are.
    matches!(name, b"file" | b"name" | b"flags" | b"epoch" | b"ver" | b"rel" | b"type")
        || (name == b"rpm:entry" && prefixes == ["rpm"])
        || std::str::from_utf8(name).is_ok_and(|name| is_name(name, prefixes))
}

/// Returns whether all characters are such that a copy can carry them, and all references are to
/// such characters.
fn characters(element: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(element) else { return false };
    let odd = |odd, byte: &u8| odd | (*byte < b' ' && !matches!(*byte, b'\n' | b'\t' | b'\r'));
    if element.iter().fold(false, odd) {
        return false;
    }
    // U+FFFE and U+FFFF, the only others, begin with this byte.
    if memchr::memchr(0xef, element).is_some() && forbidden(text).is_some() {
        return false;
    }
    memchr::memchr_iter(b'&', element).all(|at| is_reference(&element[at + 1..]))
}

/// Returns whether bytes begin with the rest of a reference to a character that XML can carry.
fn is_reference(bytes: &[u8]) -> bool {
    // The longest is `#1114111;`.
    let Some(end) = bytes.iter().take(10).position(|byte| *byte == b';') else { return false };
    let Ok(name) = std::str::from_utf8(&bytes[..end]) else { return false };
    let number = match name.strip_prefix('#') {
        None => return matches!(name, "lt" | "gt" | "amp" | "quot" | "apos"),
        Some(number) => number,
    };
    let plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let code = match number.strip_prefix('x') {
        Some(hex) if plain(hex) => u32::from_str_radix(hex, 16),
        None if plain(number) => number.parse(),
        Some(_) | None => return false,
    };
    let character = code.ok().and_then(char::from_u32);
    character.is_some_and(|c| forbidden(c.encode_utf8(&mut [0; 4])).is_none())
}

/// Returns the value of an attribute among attributes that a scan went over; nothing if it is not
/// there or has references.
pub(crate) fn attribute<'a>(attributes: &'a [u8], name: &str) -> Option<&'a str> {
    let mut rest = std::str::from_utf8(attributes).ok()?;
    loop {
        let (key, after) = rest.trim_start().split_once("=\"")?;
        let (value, after) = after.split_once('"')?;
        if key == name {
            return (!value.contains('&')).then_some(value);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Document, Token};

    #[test]
    fn plain_elements_are_whole_and_their_children_known() {
        let element = "<package type=\"rpm\">\n <name>a&amp;b</name>\n <size package=\"1\" x='2'/>\
                       </package>";
        let plain = element.replace(" x='2'", "");
        let mut children = Vec::new();
        let text = format!("{plain}\n<package>");
        let (scan, own) = scan(text.as_bytes(), &[], Some(&mut children));
        assert_eq!(scan, Scan::Whole(plain.len()));
        assert_eq!(attribute(&text.as_bytes()[own], "type"), Some("rpm"));
        let part = |range: &Range<usize>| &text[range.clone()];
        let told: Vec<_> = children
            .iter()
            .map(|child| (part(&child.name), part(&child.content), part(&child.whole)))
            .collect();
        assert_eq!(
            told,
            [("name", "a&amp;b", "<name>a&amp;b</name>"), ("size", "", "<size package=\"1\"/>")]
        );
        let size = text[children[1].attributes.clone()].as_bytes();
        assert_eq!((attribute(size, "package"), attribute(size, "x")), (Some("1"), None));
        for end in 1..plain.len() {
            assert_eq!(super::scan(&plain.as_bytes()[..end], &[], None).0, Scan::Short, "{end}");
        }
    }

    #[test]
    fn everything_else_is_for_the_full_reader() {
        for strange in [
            "<a x='1'/>",
            "<a x=\"1\" x=\"2\"/>",
            "<a x=\"<\"/>",
            "<a x=\"\n\"/>",
            "<a x = \"1\"/>",
            "<a x/>",
            "<a x=\"1\"y=\"2\"/>",
            "<a x:y=\"1\"/>",
            "<x:a/>",
            "<1/>",
            "</a>",
            "<a><b></a></b>",
            "<a></a >",
            "<a><!-- c --></a>",
            "<a><![CDATA[x]]></a>",
            "<a><?pi?></a>",
            "<a>&nbsp;</a>",
            "<a>&amp</a>",
            "<a>&#0;</a>",
            "<a>&#xFFFE;</a>",
            "<a>&#+65;</a>",
            "<a>\u{1}</a>",
            "<a>\u{ffff}</a>",
            "<a><a><a><a><a><a><a><a><a></a></a></a></a></a></a></a></a></a>",
            "<a x=\"&undefined;\"/>",
        ] {
            let found = scan(strange.as_bytes(), &["rpm"], None).0;
            assert_eq!(found, Scan::Strange, "{strange}");
        }
        assert_eq!(scan(b"<a>\xff</a>", &[], None).0, Scan::Strange);
        for fine in
            ["<a/>", "<rpm:a x=\"&#xF6;\" xml:base=\"\u{fffd}\"> &#9; </rpm:a>", "<a >]]></a>"]
        {
            let found = scan(fine.as_bytes(), &["rpm"], None).0;
            assert_eq!(found, Scan::Whole(fine.len()), "{fine}");
        }
        let long = format!("<a>{}</a>", "x".repeat(MAX));
        assert_eq!(scan(long.as_bytes(), &[], None).0, Scan::Strange);
    }

    #[test]
    fn what_is_plain_the_full_reader_takes_as_well() {
        let sample = "<package type=\"rpm\">\n<rpm:entry name=\"a &amp; b\" pre=\"1\"/><file>/x&#65;\
                      </file><version ver=\"1\"/>\u{f6} \u{ef00}</package>";
        let mut plain = 0;
        for at in 0..sample.len() {
            for byte in b"<>&;\"'=/!?[]-x1# :\n\0\x7f\xc3\xef\xbf".iter().copied() {
                let mut bytes = sample.as_bytes().to_vec();
                bytes[at] = byte;
                let Scan::Whole(size) = scan(&bytes, &["rpm"], None).0 else { continue };
                let list = [b"<list>", &bytes[..size], b"</list>"].concat();
                let mut document = Document::new("f", list.as_slice());
                document.root("list").unwrap();
                let shown = String::from_utf8_lossy(&bytes).into_owned();
                assert!(matches!(document.next(), Ok(Token::Start(_))), "{shown}");
                document.keep(&["rpm"]).unwrap_or_else(|error| panic!("{shown}: {error}"));
                document.skip().unwrap_or_else(|error| panic!("{shown}: {error}"));
                assert_eq!(document.kept(), &bytes[..size], "{shown}");
                assert!(matches!(document.next(), Ok(Token::End)), "{shown}");
                document.finish().unwrap();
                plain += 1;
            }
        }
        assert!(plain > 300, "{plain}");
    }
}
