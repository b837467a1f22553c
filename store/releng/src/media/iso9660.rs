//! What an ISO 9660 image holds, by name.
//!
//! Only names are read: the volume descriptors (ECMA-119, 8.4 and 8.5), directory records (9.1), and
//! of what stands in their system use areas the Rock Ridge names and relocations (SUSP 1.12, RRIP
//! 1.12). An image with Rock Ridge is read by its names there; else by its Joliet names if it has
//! them; else by its plain names without version numbers. That is what xorriso shows of it.
//!
//! An image comes from outside. Every place that it names is checked against its size before
//! anything is read there, no directory is read twice, and depth, entries and bytes are bounded;
//! so an image that lies is an error, never a loop, a panic or a gigabyte of memory.

use std::collections::HashSet;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

/// Bytes of a sector; descriptors and the ends of directory records follow it.
const SECTOR: u64 = 2048;
/// The first volume descriptor is in this sector.
const FIRST_DESCRIPTOR: u64 = 16;
/// How many volume descriptors are looked at; real images have at most five.
const DESCRIPTORS: u64 = 64;
/// Deeper directories are refused; a release's go down to seven or eight.
const MAX_DEPTH: usize = 128;
/// More names are refused; a DVD of a release has some ten thousand.
const MAX_ENTRIES: usize = 2_000_000;
/// More bytes of paths are refused; this bounds the memory that a listing takes.
const MAX_TEXT: usize = 128 << 20;
/// More bytes of directories are refused; this bounds how long a listing takes.
const MAX_DIRECTORIES: u64 = 512 << 20;
/// The longest name; Rock Ridge writes longer ones in pieces without a limit of its own.
const MAX_NAME: usize = 255;
/// How many continuation areas one record may have, and how many bytes each.
const MAX_CONTINUATIONS: usize = 64;
const MAX_CONTINUATION: u32 = 32 << 10;
/// More bytes of continuation areas are refused: records may share them, so that a small image could
/// have us read without an end in sight. A DVD with long names has some megabytes.
const MAX_CONTINUED: u64 = 256 << 20;

/// Why an image cannot be listed.
#[derive(Debug)]
pub enum Fault {
    /// It could not be read.
    Io(io::Error),
    /// It is not what an image is; the end of a sentence that begins with its name.
    Wrong(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Io(error) => write!(f, "{error}"),
            Fault::Wrong(reason) => f.write_str(reason),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Io(error)
    }
}

type Result<T> = std::result::Result<T, Fault>;

fn wrong<T>(reason: impl Into<String>) -> Result<T> {
    Err(Fault::Wrong(reason.into()))
}

/// Returns every path in an image of `size` bytes, sorted bytewise: directories, files and links,
/// each from `/` on, without the root itself.
///
/// # Errors
/// An image that cannot be read, is cut short, contradicts itself, or has a name that a list of
/// lines cannot hold.
pub fn paths(image: impl Read + Seek, size: u64) -> Result<Vec<Vec<u8>>> {
    let mut image = Image { inner: image, size, continued: 0 };
    let mut volume = image.volume()?;
    let (mut entries, mut text, mut read) = (Vec::new(), 0, 0);
    // Where directories begin; a second way into one would be a loop or a second copy of it.
    let mut seen = HashSet::from([volume.root.at]);
    let mut ahead = vec![(Vec::new(), volume.root, 0)];
    while let Some((path, directory, depth)) = ahead.pop() {
        read += directory.size;
        if depth > MAX_DEPTH {
            return wrong(format!("has directories more than {MAX_DEPTH} deep: {}", shown(&path)));
        }
        if read > MAX_DIRECTORIES {
            return wrong(format!("has more than {MAX_DIRECTORIES} bytes of directories"));
        }
        for found in image.directory(&mut volume, &directory, &path)? {
            let mut whole = path.clone();
            whole.push(b'/');
            whole.extend_from_slice(&found.name);
            text += whole.len();
            if entries.len() >= MAX_ENTRIES || text > MAX_TEXT {
                return wrong(format!(
                    "has more than {MAX_ENTRIES} names, or more than {MAX_TEXT} bytes of them"
                ));
            }
            if let Some(below) = found.directory {
                if !seen.insert(below.at) {
                    let whole = shown(&whole);
                    return wrong(format!("names a directory twice, the second time as {whole}"));
                }
                ahead.push((whole.clone(), below, depth + 1));
            }
            entries.push(whole);
        }
    }
    entries.sort_unstable();
    entries.dedup();
    Ok(entries)
}

/// Shows a path of the image in a message, whatever bytes it has.
fn shown(path: &[u8]) -> String {
    cairn_store::path::Escaped(path).to_string()
}

/// Which names of a volume count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// Those of Rock Ridge, which begin so many bytes into every system use area.
    RockRidge { skip: usize },
    /// Big-endian UCS-2.
    Joliet,
    /// Upper case with version numbers.
    Plain,
}

/// The volume that is read.
struct Volume {
    /// Bytes of a logical block, which places are counted in.
    block: u64,
    names: Names,
    root: Extent,
}

/// Where a directory is, in bytes.
#[derive(Clone, Copy, Debug)]
struct Extent {
    at: u64,
    size: u64,
}

/// A name in a directory.
struct Found {
    name: Vec<u8>,
    directory: Option<Extent>,
}

struct Image<R> {
    inner: R,
    size: u64,
    /// Bytes of continuation areas that were read.
    continued: u64,
}

impl<R: Read + Seek> Image<R> {
    /// Reads exactly these bytes; what the image says must lie inside it.
    fn read(&mut self, at: u64, buffer: &mut [u8], what: &str) -> Result<()> {
        let end = at.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return self.cut_short(what);
        }
        self.inner.seek(SeekFrom::Start(at))?;
        self.inner.read_exact(buffer)?;
        Ok(())
    }

    fn cut_short<T>(&self, what: &str) -> Result<T> {
        let size = self.size;
        wrong(format!("is cut short: {what} lies beyond its end at {size} bytes"))
    }

    /// Finds the volume and which of its names count.
    fn volume(&mut self) -> Result<Volume> {
        let mut sector = [0; SECTOR as usize];
        let (mut primary, mut joliet) = (None, None);
        for number in 0..DESCRIPTORS {
            let at = (FIRST_DESCRIPTOR + number) * SECTOR;
            if number == 0 && at + SECTOR > self.size {
                return wrong("is no ISO 9660 image: it is too small");
            }
            self.read(at, &mut sector, "a volume descriptor")?;
            if &sector[1..6] != b"CD001" {
                return match number {
                    0 => wrong("is no ISO 9660 image: it has no volume descriptor"),
                    _ => wrong("has volume descriptors without an end"),
                };
            }
            match sector[0] {
                1 if primary.is_none() => primary = Some(self.descriptor(&sector)?),
                // The escape sequences of UCS-2, levels 1 to 3.
                2 if matches!(&sector[88..91], b"%/@" | b"%/C" | b"%/E") => {
                    joliet.get_or_insert(self.descriptor(&sector)?);
                }
                255 => break,
                _ => {}
            }
        }
        let Some((block, root)) = primary else {
            return wrong("has no primary volume descriptor");
        };
        if let Some(skip) = self.rock_ridge(block, &root)? {
            return Ok(Volume { block, root, names: Names::RockRidge { skip } });
        }
        Ok(match joliet {
            Some((block, root)) => Volume { block, root, names: Names::Joliet },
            None => Volume { block, root, names: Names::Plain },
        })
    }

    /// Returns the block size and root directory of a volume descriptor.
    fn descriptor(&self, sector: &[u8; SECTOR as usize]) -> Result<(u64, Extent)> {
        let block = u64::from(u16::from_le_bytes([sector[128], sector[129]]));
        if ![512, 1024, 2048].contains(&block) {
            return wrong(format!("has blocks of {block} bytes, which no image has"));
        }
        let blocks = u64::from(little(sector, 80));
        if blocks * block > self.size {
            let all = blocks * block;
            return self.cut_short(&format!("what it says it has, {all} bytes,"));
        }
        let root = Extent {
            at: u64::from(little(sector, 156 + 2)) * block,
            size: u64::from(little(sector, 156 + 10)),
        };
        self.inside(&root, "the root directory")?;
        Ok((block, root))
    }

    fn inside(&self, extent: &Extent, what: &str) -> Result<()> {
        match extent.at.checked_add(extent.size) {
            Some(end) if end <= self.size => Ok(()),
            _ => self.cut_short(what),
        }
    }

    /// Returns how many bytes to skip in system use areas, if the image has Rock Ridge names: the
    /// root's own record says so.
    fn rock_ridge(&mut self, block: u64, root: &Extent) -> Result<Option<usize>> {
        let mut sector = [0; SECTOR as usize];
        let some = &mut sector[..root.size.min(SECTOR) as usize];
        self.read(root.at, some, "the root directory")?;
        let Some(Record { area, .. }) = Record::first(some)? else { return Ok(None) };
        // Images of the CD-ROM XA kind have 14 bytes of their own before.
        let Some(start) = [0, 14].into_iter().find(|start| {
            let entry = area.get(*start..).unwrap_or_default();
            entry.starts_with(b"SP") && entry.len() >= 7 && entry[4..6] == [0xbe, 0xef]
        }) else {
            return Ok(None);
        };
        let skip = usize::from(area[start + 6]);
        let area = area[start..].to_vec();
        let mut named = false;
        self.system_use(block, area, "the root directory", &mut |entry| {
            if let (b"ER", Some(length)) = (entry.signature, entry.data.first()) {
                let id = entry.data.get(4..4 + usize::from(*length)).unwrap_or_default();
                named |= matches!(id, b"RRIP_1991A" | b"IEEE_P1282" | b"IEEE_1282");
            }
            Ok(())
        })?;
        Ok(named.then_some(skip))
    }

    /// Calls `visit` with the entries of a system use area and of its continuations.
    fn system_use(
        &mut self,
        block: u64,
        area: Vec<u8>,
        what: &str,
        visit: &mut dyn FnMut(Use<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut next = Some(area);
        for _ in 0..=MAX_CONTINUATIONS {
            let Some(area) = next.take() else { return Ok(()) };
            let mut rest = &area[..];
            // What is left over at the end is padding.
            while rest.len() >= 4 {
                let length = usize::from(rest[2]);
                if length < 4 || length > rest.len() {
                    // Zeros fill an area up; anything else of no length is not an entry.
                    if rest[..2] == [0, 0] {
                        break;
                    }
                    return wrong(format!("has a broken system use entry at {what}"));
                }
                let (entry, after) = rest.split_at(length);
                match &entry[..2] {
                    b"ST" => break,
                    b"CE" if length >= 28 => {
                        let (at, start, size) =
                            (little(entry, 4), little(entry, 12), little(entry, 20));
                        if size > MAX_CONTINUATION {
                            let most = MAX_CONTINUATION;
                            return wrong(format!(
                                "has a continuation area of more than {most} bytes at {what}"
                            ));
                        }
                        self.continued += u64::from(size);
                        if self.continued > MAX_CONTINUED {
                            let most = MAX_CONTINUED;
                            return wrong(format!(
                                "has more than {most} bytes of continuation areas"
                            ));
                        }
                        let mut more = vec![0; size as usize];
                        let at = u64::from(at) * block + u64::from(start);
                        self.read(at, &mut more, &format!("a continuation area of {what}"))?;
                        next = Some(more);
                    }
                    signature => visit(Use { signature, data: &entry[4..] })?,
                }
                rest = after;
            }
        }
        match next {
            None => Ok(()),
            Some(_) => wrong(format!("has continuation areas without an end at {what}")),
        }
    }

    /// Reads a directory, a sector at a time.
    fn directory(
        &mut self,
        volume: &mut Volume,
        directory: &Extent,
        path: &[u8],
    ) -> Result<Vec<Found>> {
        let what = match path {
            b"" => "the root directory".to_owned(),
            path => shown(path),
        };
        let mut found = Vec::new();
        let mut sector = [0; SECTOR as usize];
        let mut done = 0;
        while done < directory.size {
            let some = &mut sector[..(directory.size - done).min(SECTOR) as usize];
            self.read(directory.at + done, some, &what)?;
            done += SECTOR;
            let mut rest = &some[..];
            // A length of zero: the next record is in the next sector.
            while let Some(record) = Record::first(rest)? {
                rest = &rest[record.length..];
                // 0 and 1 are the directory itself and the one above.
                if let [0 | 1] = record.name {
                    continue;
                }
                found.extend(self.entry(volume, &record, &what)?);
            }
        }
        Ok(found)
    }

    /// Returns what a record stands for; nothing for one that only fills a place.
    fn entry(&mut self, volume: &Volume, record: &Record<'_>, dir: &str) -> Result<Option<Found>> {
        let mut name = Vec::new();
        let (mut relocated, mut child) = (false, None);
        if let Names::RockRidge { skip } = volume.names {
            let area = record.area.get(skip..).unwrap_or_default().to_vec();
            self.system_use(volume.block, area, dir, &mut |entry| {
                match (entry.signature, entry.data) {
                    // Bits 1 and 2 stand for the directory itself and the one above.
                    (b"NM", [flags, piece @ ..]) if flags & 0b110 == 0 => {
                        name.extend_from_slice(piece);
                        if name.len() > MAX_NAME {
                            return wrong(format!(
                                "has a name of more than {MAX_NAME} bytes in {dir}"
                            ));
                        }
                    }
                    (b"RE", _) => relocated = true,
                    (b"CL", data) if data.len() >= 4 => child = Some(little(data, 0)),
                    _ => {}
                }
                Ok(())
            })?;
        }
        // A deep directory that lies elsewhere is read where it belongs. A file of several extents
        // has a record for each, and its name is that of the last.
        if relocated || record.flags & MORE_EXTENTS != 0 {
            return Ok(None);
        }
        if name.is_empty() {
            name = match volume.names {
                Names::Joliet => without_version(&ucs2(record.name)).to_vec(),
                Names::RockRidge { .. } | Names::Plain => without_version(record.name).to_vec(),
            };
        }
        let fault = match &name[..] {
            b"" | b"." | b".." => Some("is not one"),
            name if name.iter().any(|byte| *byte < b' ' || *byte == 0x7f) => {
                Some("has a control character, which a list of lines cannot hold")
            }
            name if name.contains(&b'/') => Some("has a slash"),
            _ => None,
        };
        if let Some(fault) = fault {
            return wrong(format!("has a name in {dir} that {fault}: \"{}\"", shown(&name)));
        }
        let whole = format!("{} in {dir}", shown(&name));
        let extent = Extent {
            at: u64::from(record.at) * volume.block + record.attributes * volume.block,
            size: u64::from(record.size),
        };
        let directory = match child {
            Some(at) => Some(self.relocated(u64::from(at) * volume.block, &whole)?),
            None if record.flags & DIRECTORY != 0 => Some(extent),
            None => None,
        };
        if let Some(directory) = &directory {
            self.inside(directory, &whole)?;
        } else if extent.size > 0 {
            // The bytes of a file are not read, but an image without them is not whole.
            self.inside(&extent, &whole)?;
        }
        Ok(Some(Found { name, directory }))
    }

    /// Returns the extent of a relocated directory, which its own first record knows.
    fn relocated(&mut self, at: u64, what: &str) -> Result<Extent> {
        let mut own = [0; 34];
        self.read(at, &mut own, what)?;
        Ok(Extent { at, size: u64::from(little(&own, 10)) })
    }
}

/// An entry of a system use area, without its header.
struct Use<'a> {
    signature: &'a [u8],
    data: &'a [u8],
}

/// Flags of a directory record.
const DIRECTORY: u8 = 0x02;
const MORE_EXTENTS: u8 = 0x80;
/// Bytes of a record before its name.
const RECORD: usize = 33;

/// A directory record.
struct Record<'a> {
    length: usize,
    /// Blocks before the extent's content.
    attributes: u64,
    at: u32,
    size: u32,
    flags: u8,
    name: &'a [u8],
    /// The system use area.
    area: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads the record that bytes begin with; none where the rest of a sector is unused.
    fn first(bytes: &'a [u8]) -> Result<Option<Self>> {
        let length = usize::from(bytes.first().copied().unwrap_or(0));
        if length == 0 {
            return Ok(None);
        }
        let record = match bytes.get(..length) {
            Some(record) if length > RECORD => record,
            _ => return wrong("has a broken directory record"),
        };
        let name_length = usize::from(record[32]);
        let Some(name) = record.get(RECORD..RECORD + name_length) else {
            return wrong("has a directory record that is shorter than its name");
        };
        // A name of even length is followed by a byte of padding.
        let area = RECORD + name_length + usize::from(name_length % 2 == 0);
        Ok(Some(Self {
            length,
            attributes: u64::from(record[1]),
            at: little(record, 2),
            size: little(record, 10),
            flags: record[25],
            name,
            area: record.get(area..).unwrap_or_default(),
        }))
    }
}

/// Numbers stand twice, in both byte orders; this is the first.
fn little(bytes: &[u8], at: usize) -> u32 {
    let number = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
    u32::from_le_bytes(number.unwrap_or_default())
}

/// Returns a name without its version number, and without a dot that ends it.
fn without_version(name: &[u8]) -> &[u8] {
    let name = match name.iter().rposition(|byte| *byte == b';') {
        Some(at) => &name[..at],
        None => name,
    };
    name.strip_suffix(b".").unwrap_or(name)
}

/// Returns a Joliet name as UTF-8.
fn ucs2(name: &[u8]) -> Vec<u8> {
    let units = name.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let text: String =
        char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    text.into_bytes()
}
