//! Small ISO 9660 images with what a reader meets in large ones: a boot record among the volume
//! descriptors, names of three kinds, names in pieces and in a continuation area, a file of two
//! extents, a directory that was moved, blocks that are no sectors.
//!
//! The images of the sample ([`crate::sample::iso`]) are for releases and have little of this.

const SECTOR: usize = 2048;
const FIRST: usize = 16;

/// Which names an image has, besides plain ones.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Names {
    RockRidge,
    Joliet,
    Plain,
}

/// Where things are, in sectors.
const ROOT: usize = 20;
const DIRECTORY: usize = 21;
const CONTINUED: usize = 22;
const MOVED: usize = 23;
const JOLIET_ROOT: usize = 24;
const JOLIET_DIRECTORY: usize = 25;
const CONTENT: usize = 26;
const ALL: usize = 27;

/// What stands in the continuation area.
const REST: &[u8] = b" of a name that goes on elsewhere";

/// What flags of a record say.
const DIR: u8 = 0x02;
const MORE: u8 = 0x80;

/// Returns an image with so many bytes in a logical block.
pub(super) fn image(names: Names, block: usize) -> Vec<u8> {
    let disc = Disc { block, rock_ridge: names == Names::RockRidge };
    let mut image = vec![0; ALL * SECTOR];
    let mut put = |sector: usize, bytes: &[u8]| {
        assert!(bytes.len() <= SECTOR);
        image[sector * SECTOR..][..bytes.len()].copy_from_slice(bytes);
    };
    let joliet = match names {
        Names::Joliet => disc.descriptor(2, b"%/E", JOLIET_ROOT),
        // Another volume of a kind that is passed over.
        Names::RockRidge | Names::Plain => disc.descriptor(2, b"   ", JOLIET_ROOT),
    };
    let descriptors = [
        b"\0CD001\x01EL TORITO SPECIFICATION".to_vec(),
        disc.descriptor(1, b"", ROOT),
        joliet,
        b"\xffCD001\x01".to_vec(),
    ];
    for (number, bytes) in descriptors.iter().enumerate() {
        put(FIRST + number, bytes);
    }
    put(ROOT, &disc.root());
    put(DIRECTORY, &disc.directory());
    put(CONTINUED, &name(0, REST));
    put(MOVED, &disc.moved());
    put(JOLIET_ROOT, &disc.joliet_root());
    put(JOLIET_DIRECTORY, &disc.joliet_directory());
    put(CONTENT, b"content");
    image
}

struct Disc {
    block: usize,
    rock_ridge: bool,
}

impl Disc {
    /// A number of blocks.
    fn blocks(&self, sectors: usize) -> usize {
        sectors * SECTOR / self.block
    }

    /// A volume descriptor; the fields that nobody reads are left out.
    fn descriptor(&self, kind: u8, escape: &[u8], root: usize) -> Vec<u8> {
        let mut bytes = vec![0; 190];
        let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
        put(0, &[kind]);
        put(1, b"CD001\x01");
        put(80, &both(self.blocks(ALL)));
        put(88, escape);
        put(128, &(self.block as u16).to_le_bytes());
        put(130, &(self.block as u16).to_be_bytes());
        put(156, &self.record(root, SECTOR, DIR, b"\0", &[]));
        bytes
    }

    /// A directory record. System use areas are those of Rock Ridge: without it there are none.
    fn record(&self, at: usize, size: usize, flags: u8, name: &[u8], area: &[u8]) -> Vec<u8> {
        let mut record = vec![0, 0];
        record.extend(both(self.blocks(at)));
        record.extend(both(size));
        record.extend([125, 11, 1, 12, 0, 0, 0, flags, 0, 0, 1, 0, 0, 1, name.len() as u8]);
        record.extend_from_slice(name);
        record.resize(record.len().next_multiple_of(2), 0);
        if self.rock_ridge {
            record.extend_from_slice(area);
            record.resize(record.len().next_multiple_of(2), 0);
        }
        record[0] = record.len() as u8;
        record
    }

    /// The first two records of a directory: itself and the one above.
    fn own(&self, at: usize, above: usize, area: &[u8]) -> Vec<u8> {
        let own = self.record(at, SECTOR, DIR, b"\0", area);
        [own, self.record(above, SECTOR, DIR, b"\x01", &[])].concat()
    }

    fn root(&self) -> Vec<u8> {
        let place = [self.blocks(CONTINUED), 0, name(0, REST).len()].map(both);
        let more = entry(b"CE", &place.concat());
        let pieces = [name(1, b"two pieces"), more, entry(b"ST", b"")].concat();
        let extension = b"\x0a\0\0\x01RRIP_1991A";
        let start = [entry(b"SP", b"\xbe\xef\0"), entry(b"ER", extension)].concat();
        let link = [name(0, b"link"), entry(b"SL", b"\0\x08\0\0\x04file")].concat();
        [
            self.own(ROOT, ROOT, &start),
            self.record(DIRECTORY, SECTOR, DIR, b"DOCS", &name(0, b"docs")),
            self.record(CONTENT, SECTOR, MORE, b"FILE.;1", &name(0, b"file")),
            self.record(CONTENT, 7, 0, b"FILE.;1", &name(0, b"file")),
            self.record(0, 0, 0, b"LINK.;1", &link),
            self.record(CONTENT, 7, 0, b"PIECES.TXT;1", &pieces),
        ]
        .concat()
    }

    /// With a directory that stands elsewhere, and, as if it were there, one that came from elsewhere.
    fn directory(&self) -> Vec<u8> {
        let link = (self.blocks(MOVED)) as u32;
        let link = [link.to_le_bytes(), link.to_be_bytes()].concat();
        let child = [name(0, b"deep"), entry(b"CL", &link)].concat();
        let came = [name(0, b"moved"), entry(b"RE", b"")].concat();
        let records =
            [self.own(DIRECTORY, ROOT, &[]), self.record(CONTENT, 7, 0, b"DEEP.;1", &child)];
        let mut bytes = records.concat();
        // Without Rock Ridge it is where it stands.
        bytes.extend(self.record(MOVED, SECTOR, DIR, b"MOVED", &came));
        bytes
    }

    fn moved(&self) -> Vec<u8> {
        let file = self.record(CONTENT, 7, 0, b"A.;1", &name(0, b"a"));
        [self.own(MOVED, DIRECTORY, &[]), file].concat()
    }

    fn joliet_root(&self) -> Vec<u8> {
        [
            self.own(JOLIET_ROOT, JOLIET_ROOT, &[]),
            self.record(JOLIET_DIRECTORY, SECTOR, DIR, &wide("Documents"), &[]),
            self.record(CONTENT, 7, 0, &wide("ünïcode-😀.txt;1"), &[]),
        ]
        .concat()
    }

    fn joliet_directory(&self) -> Vec<u8> {
        let file = self.record(CONTENT, 7, 0, &wide("read me"), &[]);
        [self.own(JOLIET_DIRECTORY, JOLIET_ROOT, &[]), file].concat()
    }
}

/// A number in both byte orders.
fn both(number: usize) -> [u8; 8] {
    let number = number as u32;
    let [a, b, c, d] = number.to_le_bytes();
    [a, b, c, d, d, c, b, a]
}

/// An entry of a system use area.
fn entry(signature: &[u8; 2], data: &[u8]) -> Vec<u8> {
    [&signature[..], &[data.len() as u8 + 4, 1], data].concat()
}

/// A Rock Ridge name, or a piece of one.
fn name(flags: u8, text: &[u8]) -> Vec<u8> {
    entry(b"NM", &[&[flags], text].concat())
}

/// A name in Joliet's encoding.
fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use cairn_releng::media::iso9660::paths;

    use super::*;

    fn list(names: Names, block: usize) -> Vec<String> {
        let image = image(names, block);
        let found = paths(Cursor::new(&image), image.len() as u64).expect("it is sound");
        found.into_iter().map(|path| String::from_utf8(path).expect("it is text")).collect()
    }

    #[test]
    fn each_image_is_listed_by_the_names_that_it_is_for() {
        for block in [512, 1024, 2048] {
            let pieces = "/two pieces of a name that goes on elsewhere";
            let found = list(Names::RockRidge, block);
            assert_eq!(found, ["/docs", "/docs/deep", "/docs/deep/a", "/file", "/link", pieces]);
            let found = list(Names::Joliet, block);
            assert_eq!(found, ["/Documents", "/Documents/read me", "/ünïcode-😀.txt"]);
            let found = list(Names::Plain, block);
            let moved = ["/DOCS", "/DOCS/DEEP", "/DOCS/MOVED", "/DOCS/MOVED/A"];
            assert_eq!(found[..4], moved);
            assert_eq!(found[4..], ["/FILE", "/LINK", "/PIECES.TXT"]);
        }
    }
}
