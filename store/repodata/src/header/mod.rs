//! RPM headers: a bounded reader, and what metadata needs of them.
//!
//! An RPM is a lead of 96 bytes, a signature section, padding to eight bytes, a main section, and
//! the payload. Only the sections are read. Every count and offset in them is outside data: sizes
//! are bounded before memory is taken, and each access is checked against the section.

mod package;
mod signature;

use std::ffi::CStr;
use std::io::Read;

use crate::error::{Error, Result};
use crate::limits::{MAX_HEADER_ARRAY, MAX_HEADER_DATA, MAX_HEADER_ENTRIES, MAX_SIGNATURE_DATA};

pub use package::{Changelog, FileFacts, Package};

const LEAD_SIZE: usize = 96;
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
const SECTION_MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
const INTRO_SIZE: usize = 16;
const ENTRY_SIZE: usize = 16;

/// The headers of one RPM.
#[derive(Debug, Clone)]
pub struct Headers {
    /// Signatures and digests.
    pub signature: Section,
    /// Everything about the package.
    pub main: Section,
    /// Where the main section starts in the file.
    pub start: u64,
    /// Where it ends and the payload starts.
    pub end: u64,
}

impl Headers {
    /// Reads the headers from the start of an RPM; `file` is for errors.
    ///
    /// # Errors
    ///
    /// Anything that is not an RPM, is truncated, or is larger than rpm accepts.
    pub fn read(file: &str, mut reader: impl Read) -> Result<Headers> {
        let lead = read_exactly(file, &mut reader, LEAD_SIZE, "its lead")?;
        if lead[..4] != LEAD_MAGIC {
            return Err(Error::header(file, "no rpm magic at its start"));
        }
        if !(3..=6).contains(&lead[4]) {
            return Err(Error::header(file, format!("lead version {} is not known", lead[4])));
        }
        let signature = Section::read(file, &mut reader, "signature", MAX_SIGNATURE_DATA)?;
        let padding = signature.bytes.len().next_multiple_of(8) - signature.bytes.len();
        read_exactly(file, &mut reader, padding, "the signature's padding")?;
        let main = Section::read(file, &mut reader, "main header", MAX_HEADER_DATA)?;
        let start = (LEAD_SIZE + signature.bytes.len() + padding) as u64;
        let end = start + main.bytes.len() as u64;
        Ok(Headers { signature, main, start, end })
    }
}

/// Reads `size` bytes without trusting `size`: memory grows with what is really there.
fn read_exactly(file: &str, reader: &mut impl Read, size: usize, within: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(size.min(256 << 10));
    let read = reader.take(size as u64).read_to_end(&mut bytes);
    read.map_err(|source| Error::from_io(file, source))?;
    if bytes.len() < size {
        return Err(Error::Truncated { file: file.to_owned(), within: within.to_owned() });
    }
    Ok(bytes)
}

/// One section of headers: an index of tags and their data.
#[derive(Debug, Clone)]
pub struct Section {
    name: &'static str,
    bytes: Vec<u8>,
    /// Sorted by tag; the first of equal tags wins, as in rpm.
    entries: Vec<Entry>,
    data: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: u32,
    kind: u32,
    offset: usize,
    count: usize,
}

const CHAR: u32 = 1;
const INT8: u32 = 2;
const INT16: u32 = 3;
const INT32: u32 = 4;
const INT64: u32 = 5;
const STRING: u32 = 6;
const BIN: u32 = 7;
const STRING_ARRAY: u32 = 8;
const I18N_STRING: u32 = 9;

impl Section {
    fn read(file: &str, reader: &mut impl Read, name: &'static str, limit: u32) -> Result<Section> {
        let mut bytes = read_exactly(file, reader, INTRO_SIZE, name)?;
        if bytes[..4] != SECTION_MAGIC {
            return Err(Error::header(file, format!("no magic at the start of its {name}")));
        }
        let count = be32(&bytes[8..12]);
        let size = be32(&bytes[12..16]);
        if count > MAX_HEADER_ENTRIES {
            let reason = format!("its {name} has {count} entries, at most {MAX_HEADER_ENTRIES}");
            return Err(Error::header(file, reason));
        }
        if size > limit {
            let reason = format!("its {name} has {size} bytes of data, at most {limit}");
            return Err(Error::header(file, reason));
        }
        let data = INTRO_SIZE + count as usize * ENTRY_SIZE;
        let rest = read_exactly(file, reader, data - INTRO_SIZE + size as usize, name)?;
        bytes.extend_from_slice(&rest);
        let mut entries: Vec<Entry> = bytes[INTRO_SIZE..data]
            .chunks_exact(ENTRY_SIZE)
            .map(|entry| Entry {
                tag: be32(&entry[0..4]),
                kind: be32(&entry[4..8]),
                offset: be32(&entry[8..12]) as usize,
                count: be32(&entry[12..16]) as usize,
            })
            .collect();
        entries.sort_by_key(|entry| entry.tag);
        entries.dedup_by_key(|entry| entry.tag);
        Ok(Section { name, bytes, entries, data })
    }

    /// Returns the section as it is in the file, without padding.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns whether the section has a tag.
    pub fn has(&self, tag: u32) -> bool {
        self.find(tag).is_some()
    }

    /// Returns the strings of a tag, none if there is no such tag. Of a translated string, the
    /// first is the untranslated one.
    ///
    /// # Errors
    ///
    /// A tag of another type, and strings that run over the section's end.
    pub fn strings(&self, file: &str, tag: u32) -> Result<Vec<&[u8]>> {
        let Some(entry) = self.array(file, tag)? else { return Ok(Vec::new()) };
        let count = match entry.kind {
            STRING => 1,
            STRING_ARRAY | I18N_STRING => entry.count,
            _ => return Err(self.wrong_type(file, entry)),
        };
        let mut rest = self.data(file, entry)?;
        let mut strings = Vec::with_capacity(count.min(rest.len()));
        for _ in 0..count {
            let string = CStr::from_bytes_until_nul(rest);
            let string = string.map_err(|_| self.overrun(file, entry))?.to_bytes();
            strings.push(string);
            rest = &rest[string.len() + 1..];
        }
        Ok(strings)
    }

    /// Returns the first string of a tag.
    ///
    /// # Errors
    ///
    /// Those of [`Section::strings`].
    pub fn string(&self, file: &str, tag: u32) -> Result<Option<&[u8]>> {
        Ok(self.strings(file, tag)?.first().copied())
    }

    /// Returns the numbers of a tag, of whatever width, none if there is no such tag.
    ///
    /// # Errors
    ///
    /// A tag of another type, and numbers beyond the section's end.
    pub fn numbers(&self, file: &str, tag: u32) -> Result<Vec<u64>> {
        let Some(entry) = self.array(file, tag)? else { return Ok(Vec::new()) };
        let width = match entry.kind {
            CHAR | INT8 => 1,
            INT16 => 2,
            INT32 => 4,
            INT64 => 8,
            _ => return Err(self.wrong_type(file, entry)),
        };
        let data = self.data(file, entry)?;
        let size = entry.count.checked_mul(width).filter(|size| *size <= data.len());
        let size = size.ok_or_else(|| self.overrun(file, entry))?;
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        Ok(data[..size].chunks_exact(width).map(number).collect())
    }

    /// Returns the first number of a tag.
    ///
    /// # Errors
    ///
    /// Those of [`Section::numbers`].
    pub fn number(&self, file: &str, tag: u32) -> Result<Option<u64>> {
        Ok(self.numbers(file, tag)?.first().copied())
    }

    /// Returns the bytes of a binary tag.
    ///
    /// # Errors
    ///
    /// A tag of another type, and bytes beyond the section's end.
    pub fn binary(&self, file: &str, tag: u32) -> Result<Option<&[u8]>> {
        let Some(entry) = self.find(tag) else { return Ok(None) };
        if entry.kind != BIN {
            return Err(self.wrong_type(file, entry));
        }
        let data = self.data(file, entry)?;
        data.get(..entry.count).map(Some).ok_or_else(|| self.overrun(file, entry))
    }

    fn find(&self, tag: u32) -> Option<Entry> {
        let at = self.entries.binary_search_by_key(&tag, |entry| entry.tag).ok()?;
        self.entries.get(at).copied()
    }

    /// Returns the entry of a tag, within the bounds of an array.
    fn array(&self, file: &str, tag: u32) -> Result<Option<Entry>> {
        match self.find(tag) {
            Some(Entry { count, .. }) if count > MAX_HEADER_ARRAY => {
                let (name, limit) = (self.name, MAX_HEADER_ARRAY);
                let reason =
                    format!("tag {tag} of its {name} has {count} entries, at most {limit}");
                Err(Error::header(file, reason))
            }
            entry => Ok(entry),
        }
    }

    fn data(&self, file: &str, entry: Entry) -> Result<&[u8]> {
        let start = self.data.saturating_add(entry.offset);
        self.bytes.get(start..).ok_or_else(|| self.overrun(file, entry))
    }

    fn overrun(&self, file: &str, entry: Entry) -> Error {
        let reason = format!("its {} is too short for tag {}", self.name, entry.tag);
        Error::header(file, reason)
    }

    fn wrong_type(&self, file: &str, entry: Entry) -> Error {
        let (name, tag, kind) = (self.name, entry.tag, entry.kind);
        Error::header(file, format!("tag {tag} of its {name} has type {kind}"))
    }
}

fn be32(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |n, byte| n << 8 | u32::from(*byte))
}
