//! Escaping for the writers: the quoting of createrepo_c's XML library.

/// Writes `text` into element content.
pub(crate) fn escape_text(out: &mut String, text: &str) {
    escape(out, text, |c| match c {
        b'&' => Some("&amp;"),
        b'<' => Some("&lt;"),
        b'>' => Some("&gt;"),
        b'\r' => Some("&#13;"),
        _ => None,
    });
}

/// Writes `text` into a value in double quotes.
fn escape_attribute(out: &mut String, text: &str) {
    escape(out, text, |c| match c {
        b'&' => Some("&amp;"),
        b'<' => Some("&lt;"),
        b'>' => Some("&gt;"),
        b'"' => Some("&quot;"),
        b'\n' => Some("&#10;"),
        b'\r' => Some("&#13;"),
        b'\t' => Some("&#9;"),
        _ => None,
    });
}

fn escape(out: &mut String, text: &str, special: impl Fn(u8) -> Option<&'static str>) {
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if let Some(replacement) = special(byte) {
            out.push_str(&text[from..at]);
            out.push_str(replacement);
            from = at + 1;
        }
    }
    out.push_str(&text[from..]);
}

/// Writes `<name>text</name>`, or `<name/>` for an empty text.
pub(crate) fn element(out: &mut String, name: &str, text: &str) {
    out.push('<');
    out.push_str(name);
    if text.is_empty() {
        out.push_str("/>");
        return;
    }
    out.push('>');
    escape_text(out, text);
    out.push_str("</");
    out.push_str(name);
    out.push('>');
}

/// Writes ` name="value"`.
pub(crate) fn attribute(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    escape_attribute(out, value);
    out.push('"');
}

/// Returns the first character of `text` that XML cannot carry.
pub(crate) fn forbidden(text: &str) -> Option<char> {
    // Every text passes here, and nearly all are done after one look at their bytes. In UTF-8,
    // the two characters at the end of the first plane begin with 0xef.
    let suspect =
        |byte: u8| (byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r')) || byte == 0xef;
    if !text.as_bytes().iter().fold(false, |found, byte| found | suspect(*byte)) {
        return None;
    }
    text.chars().find(|c| {
        matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::Document;

    #[test]
    fn what_xml_cannot_carry_is_found_and_nothing_else() {
        for c in (0..=0x11_0000).filter_map(char::from_u32) {
            let wanted = (c < ' ' && !"\t\n\r".contains(c)) || "\u{fffe}\u{ffff}".contains(c);
            let text: String = ['a', c, 'é'].iter().collect();
            assert_eq!(forbidden(&text), wanted.then_some(c), "{c:?}");
        }
    }

    #[test]
    fn what_is_escaped_reads_back() {
        let nasty = "a&b<c>d\"e\nf\tg\rh'";
        let mut xml = "<a".to_owned();
        attribute(&mut xml, "x", nasty);
        xml.push('>');
        escape_text(&mut xml, nasty);
        xml.push_str("</a>");
        let mut document = Document::new("f", xml.as_bytes());
        assert_eq!(document.root("a").unwrap().get("x"), Some(nasty));
        assert_eq!(document.text().unwrap(), nasty);
    }
}
