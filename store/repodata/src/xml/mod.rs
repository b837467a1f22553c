//! XML within bounds: the reader that all metadata passes through, and escaping for the writers.
//!
//! The reader streams. It refuses document types, undefined entities, encodings other than UTF-8,
//! a second root and an early end; it bounds nesting, tokens, attributes and records. Elements are
//! told by their local name: producers choose prefixes freely.

mod escape;
mod meter;
pub(crate) mod plain;
mod tag;

use std::borrow::Cow;
use std::io::BufRead;
use std::sync::Arc;

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, BytesText, Event};
use quick_xml::reader::Reader;

use crate::error::{Error, Result};
use crate::limits::{MAX_DEPTH, MAX_RECORD, MAX_TOKEN};

use meter::Metered;
use tag::is_name;

pub(crate) use escape::{attribute, element, escape_text, forbidden};
pub(crate) use tag::{Attributes, Tag};

/// A streaming XML document.
pub(crate) struct Document<R> {
    file: String,
    reader: Reader<Metered<R>>,
    buf: Vec<u8>,
    depth: usize,
    rooted: bool,
    /// An empty element was opened and must be closed next.
    empty: bool,
    /// Whether the bytes of the current record are kept.
    keeping: bool,
    /// Those bytes; the room is used again for the next record.
    kept: Vec<u8>,
    /// The prefixes that a kept record may have.
    prefixes: &'static [&'static str],
    /// Where the current record began, to bound it.
    record_start: u64,
    /// A document type is skipped if it declares nothing.
    plain_doctype: bool,
}

/// One step through a document. Empty elements give a start and an end.
pub(crate) enum Token<'a> {
    Start(Tag<'a>),
    End,
    Text(Cow<'a, str>),
    Eof,
}

/// What an event is, without what it borrows.
enum Kind {
    Start { empty: bool },
    End,
    Text,
    CData,
    Char(char),
    Skip,
    Eof,
}

impl<R: BufRead> Document<R> {
    /// Starts to read; `file` is for errors.
    pub(crate) fn new(file: &str, reader: R) -> Document<R> {
        let mut reader = Reader::from_reader(Metered::new(reader, MAX_TOKEN));
        reader.config_mut().check_comments = true;
        Document {
            file: file.to_owned(),
            reader,
            buf: Vec::new(),
            depth: 0,
            rooted: false,
            empty: false,
            keeping: false,
            kept: Vec::new(),
            prefixes: &[],
            record_start: 0,
            plain_doctype: false,
        }
    }

    /// Accepts a document type that only names a file, which is never read. Comps have one.
    pub(crate) fn with_plain_doctype(mut self) -> Document<R> {
        self.plain_doctype = true;
        self
    }

    /// Counts from here, for errors: this is the rest of a document.
    pub(crate) fn starting(mut self, at: u64) -> Document<R> {
        self.reader.get_mut().position = at;
        self
    }

    /// Returns what was not read yet and where in the document it begins, after the root's start
    /// tag; the document itself if that was all of the root.
    pub(crate) fn into_rest(self) -> std::result::Result<(R, u64), Box<Document<R>>> {
        match self.empty {
            true => Err(Box::new(self)),
            false => {
                let offset = self.offset();
                Ok((self.reader.into_inner().inner, offset))
            }
        }
    }

    /// Returns the file's name, for errors.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// Returns how many bytes were read.
    pub(crate) fn offset(&self) -> u64 {
        self.reader.get_ref().position
    }

    /// Reads up to the root's start tag and returns its attributes.
    pub(crate) fn root(&mut self, expected: &'static str) -> Result<Attributes> {
        let file = self.file.clone();
        loop {
            match self.next()? {
                Token::Start(tag) if tag.name() == expected => return tag.attributes(),
                Token::Start(tag) => {
                    let found = tag.full_name().to_owned();
                    return Err(Error::Root { file, found, expected });
                }
                Token::Text(_) => {}
                Token::End | Token::Eof => {
                    let within = "its XML: there is no root element".to_owned();
                    return Err(Error::Truncated { file, within });
                }
            }
        }
    }

    /// Reads the rest after the root's end, so that nothing follows unseen.
    pub(crate) fn finish(&mut self) -> Result<()> {
        match self.next()? {
            Token::Eof => Ok(()),
            Token::Start(_) | Token::End | Token::Text(_) => {
                Err(self.ill("content after the root element"))
            }
        }
    }

    /// Returns the next token.
    pub(crate) fn next(&mut self) -> Result<Token<'_>> {
        if self.empty {
            self.empty = false;
            self.depth -= 1;
            return Ok(Token::End);
        }
        let kind = loop {
            match self.step()? {
                Kind::Skip => {}
                kind => break kind,
            }
        };
        if self.keeping {
            self.check_copy(&kind)?;
        }
        let text = self.last_text()?;
        Ok(match kind {
            Kind::Start { .. } => Token::Start(self.last_tag()?),
            Kind::Text => Token::Text(BytesText::from_escaped(text).xml10_content()),
            Kind::CData => Token::Text(text["<![CDATA[".len()..text.len() - "]]>".len()].into()),
            Kind::Char(c) => Token::Text(Cow::Owned(c.to_string())),
            Kind::End => Token::End,
            Kind::Eof | Kind::Skip => Token::Eof,
        })
    }

    /// Returns the bytes of the last event.
    fn last_text(&self) -> Result<&str> {
        std::str::from_utf8(&self.buf).map_err(|_| self.ill("not UTF-8"))
    }

    /// Returns the start tag that was just read.
    pub(crate) fn last_tag(&self) -> Result<Tag<'_>> {
        let text = self.last_text()?;
        let content = text.strip_prefix('<').and_then(|text| text.strip_suffix('>'));
        let content = content.ok_or_else(|| self.ill("no start tag"))?;
        let content = content.strip_suffix('/').unwrap_or(content);
        let name = content.find(is_space).unwrap_or(content.len());
        let start = BytesStart::from_content(content, name);
        Ok(Tag { start, file: &self.file, offset: self.offset() })
    }

    /// Reads one event into `buf` and checks everything that concerns the whole document.
    fn step(&mut self) -> Result<Kind> {
        self.buf.clear();
        self.reader.get_mut().allowance = MAX_TOKEN;
        if self.depth >= 2 && self.offset() - self.record_start > MAX_RECORD as u64 {
            let (file, offset) = (self.file.clone(), self.offset());
            return Err(Error::Long { file, offset, part: "a record", limit: MAX_RECORD });
        }
        let event = match self.reader.read_event_into(&mut self.buf) {
            Ok(event) => event,
            Err(source) => return Err(refusal(&self.file, self.reader.get_ref(), source)),
        };
        let kind = match event {
            Event::Start(_) => Kind::Start { empty: false },
            Event::Empty(_) => Kind::Start { empty: true },
            Event::End(_) => Kind::End,
            Event::Text(text) if self.depth == 0 => {
                if !text.trim().is_empty() {
                    return Err(self.ill("text outside the root element"));
                }
                Kind::Skip
            }
            Event::Text(_) => Kind::Text,
            Event::CData(_) => Kind::CData,
            Event::Comment(_) | Event::PI(_) => Kind::Skip,
            Event::Decl(declaration) => {
                match declaration.encoding() {
                    None => {}
                    Some(Ok(name)) if is_utf8(&name) => {}
                    Some(Ok(name)) => {
                        let reason = format!("encoding {name} is not UTF-8");
                        return Err(self.ill(reason));
                    }
                    Some(Err(source)) => return Err(self.ill(source.to_string())),
                }
                Kind::Skip
            }
            Event::DocType(text) if self.plain_doctype && !text.contains('[') => Kind::Skip,
            Event::DocType(_) => {
                let (file, offset) = (self.file.clone(), self.offset());
                return Err(Error::Doctype { file, offset });
            }
            Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                Ok(Some(c)) => Kind::Char(c),
                Ok(None) => {
                    match resolve_predefined_entity(&reference).and_then(|s| s.chars().next()) {
                        Some(c) => Kind::Char(c),
                        None => {
                            let entity = reference.to_string();
                            let (file, offset) = (self.file.clone(), self.offset());
                            return Err(Error::Entity { file, offset, entity });
                        }
                    }
                }
                Err(source) => {
                    let reason = source.to_string();
                    return Err(self.ill(reason));
                }
            },
            Event::Eof => Kind::Eof,
        };
        self.count(&kind)?;
        if self.keeping {
            self.kept.extend_from_slice(&self.buf);
        }
        Ok(kind)
    }

    /// Follows the nesting.
    fn count(&mut self, kind: &Kind) -> Result<()> {
        let offset = self.offset();
        match kind {
            Kind::Start { empty } => {
                if self.depth == 0 && self.rooted {
                    return Err(self.ill("a second root element"));
                }
                self.rooted = true;
                if self.depth <= 1 {
                    self.record_start = offset;
                }
                self.depth += 1;
                self.empty = *empty;
                if self.depth > MAX_DEPTH {
                    return Err(Error::Depth { file: self.file.clone(), offset, limit: MAX_DEPTH });
                }
            }
            Kind::End => self.depth -= 1,
            Kind::Eof if self.depth > 0 => {
                let within = format!("its XML: {} elements are open at the end", self.depth);
                return Err(Error::Truncated { file: self.file.clone(), within });
            }
            Kind::Char(_) if self.depth == 0 => {
                return Err(self.ill("text outside the root element"));
            }
            Kind::CData if self.depth == 0 => {
                return Err(self.ill("text outside the root element"));
            }
            Kind::Eof | Kind::Text | Kind::CData | Kind::Char(_) | Kind::Skip => {}
        }
        Ok(())
    }

    /// Returns the text of the element whose start was just read, and reads its end.
    ///
    /// Elements inside are refused: a text that is cut in two is not what was meant.
    pub(crate) fn text(&mut self) -> Result<String> {
        let mut text = String::new();
        loop {
            match self.next()? {
                Token::Text(part) => text.push_str(&part),
                Token::End | Token::Eof => return Ok(text),
                Token::Start(tag) => {
                    let reason = format!("<{}> in a text", tag.full_name());
                    return Err(self.ill(reason));
                }
            }
        }
    }

    /// Reads past the end of the element whose start was just read.
    pub(crate) fn skip(&mut self) -> Result<()> {
        let outside = self.depth - 1;
        while self.depth > outside {
            self.next()?;
        }
        Ok(())
    }

    /// Checks what a copy of the last event would bring into another document.
    fn check_copy(&self, kind: &Kind) -> Result<()> {
        let bad = match kind {
            Kind::Start { .. } => return self.check_tag(),
            Kind::Text | Kind::CData => forbidden(self.last_text()?),
            Kind::Char(c) => forbidden(c.encode_utf8(&mut [0; 4])),
            Kind::End | Kind::Skip | Kind::Eof => None,
        };
        match bad {
            None => Ok(()),
            Some(c) => Err(self.ill(format!("character {c:?}, which XML cannot carry"))),
        }
    }

    /// Checks what a copy of the start tag that was just read would bring into another document.
    fn check_tag(&self) -> Result<()> {
        let tag = self.last_tag()?;
        let mut bad =
            (!is_name(tag.full_name(), self.prefixes)).then(|| tag.full_name().to_owned());
        tag.each_full(|name, value| {
            if !is_name(name, &["xml"]) || forbidden(&value).is_some() {
                bad = Some(name.to_owned());
            }
        })?;
        match bad {
            None => Ok(()),
            Some(name) => Err(self.ill(format!("{name:?} cannot be carried over"))),
        }
    }

    /// Returns how many bytes are kept so far.
    pub(crate) fn kept_len(&self) -> usize {
        self.kept.len()
    }

    /// Returns where in the kept bytes the start tag that was just read is.
    pub(crate) fn last_range(&self) -> std::ops::Range<usize> {
        let end = self.kept_len();
        end.saturating_sub(self.buf.len())..end
    }

    /// Returns an attribute of the element whose start was just read.
    pub(crate) fn last_attribute(&self, name: &str) -> Result<Option<String>> {
        self.last_tag()?.attribute(name)
    }

    /// Returns all attributes of the element whose start was just read.
    pub(crate) fn last_attributes(&self) -> Result<Attributes> {
        self.last_tag()?.attributes()
    }

    /// Starts to keep the bytes of the element whose start was just read, and to check that they
    /// can be copied into another document: names and prefixes, attributes, characters.
    pub(crate) fn keep(&mut self, prefixes: &'static [&'static str]) -> Result<()> {
        self.prefixes = prefixes;
        self.keeping = true;
        self.kept.clear();
        self.kept.extend_from_slice(&self.buf);
        self.check_tag()
    }

    /// Returns what was kept since [`Document::keep`], and ends that.
    pub(crate) fn kept(&mut self) -> &[u8] {
        self.keeping = false;
        &self.kept
    }

    /// As [`Document::kept`], with where in the document it begins.
    pub(crate) fn kept_at(&mut self) -> (&[u8], u64) {
        let start = self.offset() - self.kept.len() as u64;
        (self.kept(), start)
    }

    /// Returns the error that the document is not well-formed here.
    pub(crate) fn ill(&self, reason: impl Into<String>) -> Error {
        let source = reason.into().into();
        Error::Xml { file: self.file.clone(), offset: self.offset(), source }
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_utf8(encoding: &str) -> bool {
    ["utf-8", "utf8", "us-ascii", "ascii"].iter().any(|name| encoding.eq_ignore_ascii_case(name))
}

fn refusal<R>(file: &str, metered: &Metered<R>, source: quick_xml::Error) -> Error {
    let offset = metered.position;
    if metered.exceeded {
        let (file, part, limit) = (file.to_owned(), "a tag or text", MAX_TOKEN);
        return Error::Long { file, offset, part, limit };
    }
    match source {
        quick_xml::Error::Io(source) => match Arc::try_unwrap(source) {
            Ok(source) => Error::from_io(file, source),
            Err(shared) => Error::Io { file: file.to_owned(), source: shared.kind().into() },
        },
        source => Error::Xml { file: file.to_owned(), offset, source: Box::new(source) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MAX_ATTRIBUTE;

    fn drain(xml: &str) -> Result<Vec<String>> {
        let mut document = Document::new("f", xml.as_bytes());
        let mut seen = Vec::new();
        loop {
            match document.next()? {
                Token::Start(tag) => {
                    let attributes = tag.attributes()?;
                    seen.push(format!("<{} {:?}", tag.name(), attributes.0));
                }
                Token::End => seen.push(">".to_owned()),
                Token::Text(text) => seen.push(text.into_owned()),
                Token::Eof => return Ok(seen),
            }
        }
    }

    #[test]
    fn tokens_are_decoded() {
        let seen = drain(
            "\u{feff}<?xml version='1.0' encoding='utf-8'?><!-- c --><r:a x=\"&lt;1\"><b/>\
             t&amp;&#65;\r\n<![CDATA[<x>]]><!-- c --></r:a >\n",
        );
        let want = ["<a [(\"x\", \"<1\")]", "<b []", ">", "t", "&", "A", "\n", "<x>", ">"];
        assert_eq!(seen.unwrap(), want);
    }

    #[test]
    fn what_is_not_one_whole_document_is_refused() {
        let deep = "<a>".repeat(40);
        let wide = format!("<a {}/>", (0..40).map(|n| format!("a{n}='' ")).collect::<String>());
        let long = format!("<a x='{}'/>", "x".repeat(MAX_ATTRIBUTE + 1));
        let huge = format!("<a x='{}'/>", "x".repeat(MAX_TOKEN));
        for (xml, want) in [
            ("<!DOCTYPE a><a/>", "a document type declaration is refused"),
            ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "a document type declaration is refused"),
            ("<a>&b;</a>", "entity &b; is not defined"),
            ("<a b='&c;'/>", "byte"),
            ("<a>", "truncated in its XML: 1 elements are open at the end"),
            ("<a></b>", "byte"),
            ("<a/><a/>", "a second root element"),
            ("<a/>x", "text outside the root element"),
            ("<a/>&#65;", "text outside the root element"),
            ("<a b='1' b='2'/>", "byte"),
            ("<a b='<'/>", "an attribute holds <"),
            ("<a", "byte"),
            ("<?xml version='1.0' encoding='latin1'?><a/>", "encoding latin1 is not UTF-8"),
            (&deep, "elements nest deeper than 32"),
            (&wide, "the number of attributes exceeds 32"),
            (&long, "an attribute exceeds 65536"),
            (&huge, "a tag or text exceeds 4194304"),
        ] {
            let error = drain(xml).expect_err(want).to_string();
            assert!(error.starts_with("f: ") && error.contains(want), "{error}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_refused() {
        let mut document = Document::new("f", &b"<a>\xe9</a>"[..]);
        assert!(matches!(document.next(), Ok(Token::Start(_))));
        assert!(matches!(document.next(), Err(Error::Xml { .. })));
    }

    #[test]
    fn elements_are_kept_byte_for_byte() {
        let inner = "<p a='1'  b = \"2\" >&#x41; <!-- c --><q /><![CDATA[z]]></p >";
        let xml = format!("<r> {inner} </r>");
        let mut document = Document::new("f", xml.as_bytes());
        document.root("r").unwrap();
        assert!(matches!(document.next(), Ok(Token::Text(_))));
        assert!(matches!(document.next(), Ok(Token::Start(_))));
        document.keep(&[]).unwrap();
        document.skip().unwrap();
        assert_eq!(document.kept(), inner.as_bytes());
    }
}
