//! The packages of one list, told apart fast where the list is plain.

use std::io::{self, BufRead, Read as _};
use std::ops::Range;

use crate::checksum::Checksum;
use crate::error::{Error, Result};
use crate::href;
use crate::limits::MAX_RECORD;
use crate::lists::{Keep, Packages};
use crate::primary::Location;
use crate::xml::Document;
use crate::xml::plain::{self, Child, Scan};

/// Whether the children of elements are to be found, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Children {
    Ignored,
    Noted,
}

/// The packages of one list one after the other, told apart fast where the list is plain, and by
/// the full reader from where it is not.
pub(crate) struct List<R> {
    file: String,
    root: &'static str,
    packages: Packages,
    state: State<R>,
    note: Children,
    /// Of the package that was read last, if it is plain.
    children: Vec<Child>,
    attributes: Range<usize>,
}

enum State<R> {
    /// No more than the root was read.
    Root(Box<Document<R>>),
    Plain(Plain<R>),
    Full(Box<Document<Rest<R>>>),
    /// Only while one state becomes another.
    Between,
}

type Rest<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

/// A list that is plain so far.
struct Plain<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Where in the buffer the package begins that was read last.
    at: usize,
    /// Its size.
    size: usize,
    /// Where in the list the buffer begins.
    offset: u64,
    ended: bool,
}

/// How much is read at once.
const CHUNK: usize = 256 << 10;

impl<R: BufRead> List<R> {
    /// Reads the root element.
    pub(crate) fn open(
        file: &str,
        reader: R,
        root: &'static str,
        keep: Keep,
        note: Children,
    ) -> Result<List<R>> {
        let mut document = Document::new(file, reader);
        let packages = Packages::open(&mut document, root, keep)?;
        let state = match document.into_rest() {
            Err(document) => State::Root(document),
            Ok((reader, offset)) => State::Plain(Plain {
                reader,
                buffer: Vec::new(),
                at: 0,
                size: 0,
                offset,
                ended: false,
            }),
        };
        let (file, children, attributes) = (file.to_owned(), Vec::new(), 0..0);
        Ok(List { file, root, packages, state, note, children, attributes })
    }

    /// Goes to the next package; returns false if there is none.
    pub(crate) fn next(&mut self) -> Result<bool> {
        match &mut self.state {
            State::Root(document) => self.packages.next(document),
            State::Full(document) => self.packages.next(document),
            State::Between => Ok(false),
            State::Plain(plain) => {
                plain.at += plain.size;
                plain.size = 0;
                match self.next_plain()? {
                    Some(more) => Ok(more),
                    None => self.give_up(),
                }
            }
        }
    }

    /// Goes to the next package; nothing where the list is not plain any more.
    fn next_plain(&mut self) -> Result<Option<bool>> {
        let State::Plain(plain) = &mut self.state else { return Ok(None) };
        loop {
            let rest = &plain.buffer[plain.at..];
            let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            plain.at += blank;
            let rest = &plain.buffer[plain.at..];
            if rest.starts_with(b"<package") {
                let note = (self.note == Children::Noted).then_some(&mut self.children);
                let (scan, attributes) = plain::scan(rest, self.packages.prefixes, note);
                match scan {
                    Scan::Whole(size) => {
                        plain.size = size;
                        self.attributes = attributes;
                        // `<packages>` is another element.
                        if !rest[8..].starts_with(b">") && !rest[8].is_ascii_whitespace() {
                            return Ok(None);
                        }
                        self.packages.one_more(&self.file)?;
                        return Ok(Some(true));
                    }
                    Scan::Strange => return Ok(None),
                    Scan::Short => {}
                }
            } else if let Some(after) = rest
                .strip_prefix(b"</")
                .and_then(|rest| rest.strip_prefix(self.root.as_bytes()))
                .and_then(|rest| rest.strip_prefix(b">"))
                && plain.ended
            {
                return Ok(after.iter().all(u8::is_ascii_whitespace).then_some(false));
            } else if plain.ended || (rest.len() > self.root.len() + 3 && !rest.starts_with(b"</"))
            {
                return Ok(None);
            }
            if plain.ended || rest.len() > MAX_RECORD {
                return Ok(None);
            }
            plain.fill().map_err(|source| Error::from_io(&self.file, source))?;
        }
    }

    /// Has the full reader read on from the package that was read last, and returns whether there
    /// is one.
    fn give_up(&mut self) -> Result<bool> {
        match std::mem::replace(&mut self.state, State::Between) {
            State::Plain(Plain { reader, buffer, at, offset, .. }) => {
                let mut bytes = format!("<{}>", self.root).into_bytes();
                let start = (offset + at as u64).saturating_sub(bytes.len() as u64);
                bytes.extend_from_slice(&buffer[at..]);
                let mut document =
                    Document::new(&self.file, io::Cursor::new(bytes).chain(reader)).starting(start);
                document.root(self.root)?;
                let more = self.packages.next(&mut document)?;
                self.state = State::Full(Box::new(document));
                Ok(more)
            }
            other => {
                self.state = other;
                Ok(true)
            }
        }
    }

    /// As [`List::give_up`], for a package that was counted already.
    fn doubt(&mut self) -> Result<()> {
        if matches!(self.state, State::Plain(_)) {
            self.packages.one_less();
            self.give_up()?;
        }
        Ok(())
    }

    fn plain(&self) -> Option<&[u8]> {
        match &self.state {
            State::Plain(plain) => Some(&plain.buffer[plain.at..plain.at + plain.size]),
            State::Root(_) | State::Full(_) | State::Between => None,
        }
    }

    /// Returns the id of the package, for the lists that have it as an attribute.
    pub(crate) fn identity(&mut self) -> Result<Checksum> {
        if let Some(element) = self.plain() {
            let value = plain::attribute(&element[self.attributes.clone()], "pkgid");
            let pkgid = value.map(|value| Checksum::parse_pkgid(&self.file, "package", value));
            if let Some(Ok(pkgid)) = pkgid {
                self.packages.seen(&self.file, &pkgid)?;
                return Ok(pkgid);
            }
            self.doubt()?;
        }
        match &mut self.state {
            State::Root(document) => Ok(self.packages.identity(document)?.0),
            State::Full(document) => Ok(self.packages.identity(document)?.0),
            State::Plain(_) | State::Between => Err(self.lost()),
        }
    }

    /// Returns where the package is, and where in its element that is said. What the full reader
    /// reads is kept if that is asked for.
    pub(crate) fn location(&mut self, keep: Keep) -> Result<(Location, Range<usize>)> {
        if let Some(element) = self.plain() {
            if let Some((location, range)) = plain_location(&self.file, element, &self.children) {
                self.packages.seen(&self.file, &location.pkgid)?;
                return Ok((location, range));
            }
            self.doubt()?;
        }
        let packages = &mut self.packages;
        let found = match &mut self.state {
            State::Root(document) => packages.location(document, keep)?,
            State::Full(document) => packages.location(document, keep)?,
            State::Plain(_) | State::Between => return Err(self.lost()),
        };
        self.packages.seen(&self.file, &found.0.pkgid)?;
        Ok(found)
    }

    /// Reads past the package, and keeps it if that is asked for; not after [`List::location`].
    pub(crate) fn pass(&mut self, keep: Keep) -> Result<()> {
        match &mut self.state {
            State::Root(document) => self.packages.pass(document, keep),
            State::Full(document) => self.packages.pass(document, keep),
            State::Plain(_) | State::Between => Ok(()),
        }
    }

    /// Returns the element that was kept, and where it begins in the list.
    pub(crate) fn kept(&mut self) -> (&[u8], u64) {
        match &mut self.state {
            State::Root(document) => document.kept_at(),
            State::Full(document) => document.kept_at(),
            State::Plain(plain) => {
                let start = plain.offset + plain.at as u64;
                (&plain.buffer[plain.at..plain.at + plain.size], start)
            }
            State::Between => (&[], 0),
        }
    }

    /// Reads the end of the list and returns the number of packages.
    pub(crate) fn close(self) -> Result<u64> {
        match self.state {
            State::Root(mut document) => self.packages.close(&mut document),
            State::Full(mut document) => self.packages.close(&mut document),
            State::Plain(_) | State::Between => self.packages.complete(&self.file),
        }
    }

    fn lost(&self) -> Error {
        Error::record(&self.file, "package", "it cannot be read again")
    }
}

impl<R: BufRead> Plain<R> {
    /// Reads more of the list, and forgets what was read before the package.
    fn fill(&mut self) -> io::Result<()> {
        self.offset += self.at as u64;
        self.buffer.drain(..self.at);
        self.at = 0;
        // A package that is larger than what was read so far needs more at once.
        let wanted = CHUNK.max(self.buffer.len());
        let before = self.buffer.len();
        self.buffer.reserve(wanted);
        while self.buffer.len() - before < wanted {
            let available = match self.reader.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let take = available.len().min(wanted - (self.buffer.len() - before));
            if take == 0 {
                self.ended = true;
                break;
            }
            self.buffer.extend_from_slice(&available[..take]);
            self.reader.consume(take);
        }
        Ok(())
    }
}

/// Finds where a plain package is; nothing where the full reader must look.
fn plain_location(
    file: &str,
    element: &[u8],
    children: &[Child],
) -> Option<(Location, Range<usize>)> {
    let (mut pkgid, mut size, mut file_time) = (None, 0, 0);
    let (mut href, mut range) = (None, 0..0);
    for child in children {
        let attributes = &element[child.attributes.clone()];
        let number = |name| plain::attribute(attributes, name);
        match &element[child.name.clone()] {
            b"checksum" => {
                let value = std::str::from_utf8(&element[child.content.clone()]).ok()?;
                let kind = plain::attribute(attributes, "type")?;
                // Anything but digits is refused, references and elements too.
                pkgid = Some(Checksum::parse(file, "package", kind, value).ok()?);
            }
            b"size" => size = number("package")?.parse().ok()?,
            b"time" => file_time = number("file")?.parse().ok()?,
            b"location" => {
                let text = std::str::from_utf8(attributes).ok()?;
                if text.contains("base=") {
                    return None;
                }
                href = Some(plain::attribute(attributes, "href")?.to_owned());
                range = child.whole.clone();
            }
            _ => {}
        }
    }
    let href = href?;
    href::check_href(&href).ok()?;
    Some((Location { pkgid: pkgid?, href, base: None, size, file_time }, range))
}
