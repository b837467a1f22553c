//! Packages of bytes: what old or odd builders made and no builder at hand makes any more.

/// The data of one tag.
pub enum Data<'a> {
    I16(&'a [u16]),
    I32(&'a [u32]),
    I64(&'a [u64]),
    Text(&'a [u8]),
    Texts(&'a [&'a [u8]]),
    /// A text in several languages; the first is the untranslated one.
    Translated(&'a [&'a [u8]]),
}

use Data::{I16, I32, I64, Text, Texts, Translated};

/// A header's tags; written in the order of their numbers.
pub type Tags<'a> = Vec<(u32, Data<'a>)>;

impl Data<'_> {
    fn kind(&self) -> u32 {
        match self {
            I16(_) => 3,
            I32(_) => 4,
            I64(_) => 5,
            Text(_) => 6,
            Texts(_) => 8,
            Translated(_) => 9,
        }
    }

    fn count(&self) -> usize {
        match self {
            I16(numbers) => numbers.len(),
            I32(numbers) => numbers.len(),
            I64(numbers) => numbers.len(),
            Text(_) => 1,
            Texts(texts) | Translated(texts) => texts.len(),
        }
    }

    fn append(&self, store: &mut Vec<u8>) {
        let width = match self {
            I16(_) => 2,
            I32(_) => 4,
            I64(_) => 8,
            Text(_) | Texts(_) | Translated(_) => 1,
        };
        store.resize(store.len().next_multiple_of(width), 0);
        match self {
            I16(numbers) => numbers.iter().for_each(|n| store.extend(n.to_be_bytes())),
            I32(numbers) => numbers.iter().for_each(|n| store.extend(n.to_be_bytes())),
            I64(numbers) => numbers.iter().for_each(|n| store.extend(n.to_be_bytes())),
            Text(text) => store.extend([text, &b"\0"[..]].concat()),
            Texts(texts) | Translated(texts) => {
                texts.iter().for_each(|text| store.extend([text, &b"\0"[..]].concat()));
            }
        }
    }
}

/// Returns a header section around a region that says which of the tags are original: all.
fn section(region: u32, mut tags: Tags<'_>) -> Vec<u8> {
    tags.sort_by_key(|(tag, _)| *tag);
    let (mut index, mut store) = (Vec::new(), Vec::new());
    for (tag, data) in &tags {
        data.append(&mut store);
        let size: usize = match data {
            Text(text) => text.len() + 1,
            Texts(texts) | Translated(texts) => texts.iter().map(|text| text.len() + 1).sum(),
            I16(numbers) => numbers.len() * 2,
            I32(numbers) => numbers.len() * 4,
            I64(numbers) => numbers.len() * 8,
        };
        let entry = [*tag, data.kind(), (store.len() - size) as u32, data.count() as u32];
        index.extend(entry.iter().flat_map(|n| n.to_be_bytes()));
    }
    let entries = tags.len() as u32 + 1;
    let trailer = [region, 7, (entries * 16).wrapping_neg(), 16];
    let head = [region, 7, store.len() as u32, 16];
    store.extend(trailer.iter().flat_map(|n| n.to_be_bytes()));

    let mut bytes = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
    bytes.extend(entries.to_be_bytes());
    bytes.extend((store.len() as u32).to_be_bytes());
    bytes.extend(head.iter().flat_map(|n| n.to_be_bytes()));
    bytes.extend(index);
    bytes.extend(store);
    bytes
}

/// Returns a package: a lead, a signature section, padding, the main section, and no payload.
pub fn package(signature: Tags<'_>, main: Tags<'_>) -> Vec<u8> {
    let mut bytes = vec![0xed, 0xab, 0xee, 0xdb, 3, 0, 0, 0, 0, 1];
    bytes.resize(78, b'x');
    bytes[75] = 0;
    bytes.extend([0, 5]);
    bytes.resize(96, 0);
    let main = section(63, main);
    let size = [main.len() as u32];
    let mut signature = signature;
    signature.push((1000, I32(&size)));
    bytes.extend(section(62, signature));
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(main);
    bytes
}

/// The least that a header has.
pub fn least(name: &[u8]) -> Tags<'_> {
    vec![
        (100, Texts(&[b"C", b"de"])),
        (1000, Text(name)),
        (1001, Text(b"1")),
        (1002, Text(b"1")),
        (1004, Translated(&[b"A summary", b"Eine Zusammenfassung"])),
        (1005, Translated(&[b"A description", b"Eine Beschreibung"])),
        (1006, I32(&[1_300_000_000])),
        (1014, Text(b"MIT")),
        (1021, Text(b"linux")),
        (1022, Text(b"noarch")),
        (1044, Text(b"source-1-1.src.rpm")),
        (1124, Text(b"cpio")),
        (1125, Text(b"gzip")),
        (1126, Text(b"9")),
    ]
}

/// The tags that packages have for each of their files, beside names, modes and flags.
fn files(count: usize) -> Tags<'static> {
    const NUMBERS: [u32; 16] = [1; 16];
    const SHORTS: [u16; 16] = [0; 16];
    const EMPTY: [&[u8]; 16] = [b""; 16];
    const ROOT: [&[u8]; 16] = [b"root"; 16];
    vec![
        (1028, I32(&NUMBERS[..count])),
        (1033, I16(&SHORTS[..count])),
        (1034, I32(&NUMBERS[..count])),
        (1035, Texts(&EMPTY[..count])),
        (1036, Texts(&EMPTY[..count])),
        (1039, Texts(&ROOT[..count])),
        (1040, Texts(&ROOT[..count])),
        (1095, I32(&NUMBERS[..count])),
        (1096, I32(&NUMBERS[..count])),
        (1097, Texts(&EMPTY[..count])),
    ]
}

fn with<'a>(name: &'a [u8], mut more: Tags<'a>) -> Tags<'a> {
    let mut tags = least(name);
    if let Some(count) = more.iter().find_map(|(tag, data)| (*tag == 1030).then(|| data.count())) {
        more.extend(files(count));
    }
    tags.retain(|(tag, _)| more.iter().all(|(other, _)| other != tag));
    tags.extend(more);
    tags
}

const LT: u32 = 2;
const GT: u32 = 4;
const EQ: u32 = 8;
const PRE: u32 = 1 << 9;

/// Returns a package with a character that XML cannot carry.
pub fn with_a_bell() -> Vec<u8> {
    package(Vec::new(), with(b"bell", vec![(1004, Translated(&[b"a \x07 bell"]))]))
}

/// Returns all of them with their names.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    let plain = |tags| package(Vec::new(), tags);
    vec![
        ("raw-least", plain(least(b"raw-least"))),
        // A source package to rpm, which looks for the name of the source package only.
        (
            "raw-no-source-rpm",
            plain({
                let mut tags = least(b"raw-no-source-rpm");
                tags.retain(|(tag, _)| *tag != 1044);
                tags
            }),
        ),
        // Whole paths, no flags, and provides without versions.
        (
            "raw-ancient",
            plain(with(
                b"raw-ancient",
                vec![
                    (1027, Texts(&[b"/etc/old", b"/usr/bin/old", b"/usr/share/doc/old"])),
                    (1030, I16(&[0o100_644, 0o100_755, 0o040_755])),
                    (1009, I32(&[77])),
                    (1046, I32(&[99])),
                    (1047, Texts(&[b"old", b"older"])),
                    (1048, I32(&[0, EQ])),
                    (1049, Texts(&[b"needed", b"versioned"])),
                    (1050, Texts(&[b"", b"1"])),
                ],
            )),
        ),
        // Sizes of more than 4 GiB are elsewhere.
        (
            "raw-large",
            package(
                vec![(271, I64(&[7_000_000_000]))],
                with(b"raw-large", vec![(5009, I64(&[6_000_000_000]))]),
            ),
        ),
        (
            "raw-latin-1",
            plain(with(
                b"raw-latin-1",
                vec![
                    (1004, Translated(&[b"Caf\xe9"])),
                    (1005, Translated(&[b"Gr\xfc\xdfe\nund \xc4hnliches"])),
                    (1011, Text(b"S\xe3o")),
                    (1015, Text(b"J\xf6rg <j@example.org>")),
                    (1016, Translated(&[b"B\xfcro"])),
                    (1030, I16(&[0o100_644, 0o100_644])),
                    (1037, I32(&[0, 0])),
                    (1116, I32(&[0, 0])),
                    (1117, Texts(&[b"caf\xe9", "café".as_bytes()])),
                    (1118, Texts(&[b"/etc/"])),
                    (1047, Texts(&[b"pr\xf6vides"])),
                    (1112, I32(&[EQ])),
                    (1113, Texts(&[b"1"])),
                    (1080, I32(&[1_300_000_000, 1_200_000_000])),
                    (1081, Texts(&[b"J\xf6rg", "Jörg".as_bytes()])),
                    (1082, Texts(&[b"- gr\xfc\xdfe", "- grüße".as_bytes()])),
                ],
            )),
        ),
        // Versions as nobody should write them, and the same need again and again.
        (
            "raw-relations",
            plain(with(
                b"raw-relations",
                vec![
                    (
                        1049,
                        Texts(&[
                            b"twice",
                            b"twice",
                            b"pre",
                            b"pre",
                            b"both",
                            b"both",
                            b"both",
                            b"many",
                            b"many",
                            b"many",
                            b"rpmlib(X)",
                            b"flag-no-version",
                            b"version-no-flag",
                            b"every-flag",
                            b"release-only",
                            b"dashes",
                            b"colon",
                            b"spaces",
                            b"two-colons",
                            b"no-release",
                            b"twice",
                        ]),
                    ),
                    (
                        1050,
                        Texts(&[
                            b"", b"", b"", b"", b"", b"", b"", b"1", b"2", b"1", b"1", b"", b"1-2",
                            b"1", b"-3", b"1-2-3", b":4", b" 1 ", b"1:2:3", b"1-", b"",
                        ]),
                    ),
                    (
                        1048,
                        I32(&[
                            0,
                            0,
                            PRE,
                            PRE,
                            0,
                            PRE,
                            0,
                            EQ,
                            EQ,
                            GT | EQ,
                            LT | EQ | 1 << 24,
                            EQ,
                            0,
                            LT | GT | EQ,
                            EQ,
                            EQ,
                            EQ,
                            EQ,
                            EQ,
                            EQ,
                            0,
                        ]),
                    ),
                    (1054, Texts(&[b"enemy", b"enemy"])),
                    (1053, I32(&[0, 0])),
                    (1055, Texts(&[b"", b""])),
                    (1047, Texts(&[b"same", b"same", b"epoch"])),
                    (1112, I32(&[EQ, EQ, EQ])),
                    (1113, Texts(&[b"1", b"1", b"0:1-1"])),
                ],
            )),
        ),
        // What glibc's symbol versions stand for, where the newest is not the last.
        (
            "raw-libc",
            plain(with(
                b"raw-libc",
                vec![
                    (
                        1049,
                        Texts(&[
                            b"libc.so.6(GLIBC_2.34)(64bit)",
                            b"a",
                            b"libc.so.6(GLIBC_2.4)(64bit)",
                            b"libc.so.6()(64bit)",
                            b"libc.so.6(GLIBC_ABI_DT_RELR)(64bit)",
                            b"z",
                        ]),
                    ),
                    (1050, Texts(&[b"", b"", b"", b"", b"", b""])),
                    (1048, I32(&[1 << 14, 0, 1 << 14, 1 << 14, 1 << 14, 0])),
                ],
            )),
        ),
        (
            "raw-i686-libc",
            plain(with(
                b"raw-i686-libc",
                vec![
                    (1022, Text(b"i686")),
                    (
                        1049,
                        Texts(&[b"libc.so.6", b"libc.so.6(GLIBC_2.1.3)", b"libc.so.6(GLIBC_2.0)"]),
                    ),
                    (1050, Texts(&[b"", b"", b""])),
                    (1048, I32(&[0, 0, 0])),
                ],
            )),
        ),
        // Kinds and names of files.
        (
            "raw-files",
            plain(with(
                b"raw-files",
                vec![
                    (
                        1117,
                        Texts(&[
                            b"file",
                            b"dir",
                            b"link",
                            b"device",
                            b"ghost",
                            b"ghost-dir",
                            b"config",
                            b"line\nfeed",
                            b" spaces ",
                            b"tab\there",
                            b"&<>\"'",
                        ]),
                    ),
                    (1116, I32(&[0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1])),
                    (1118, Texts(&[b"/etc/", b"/usr/share/"])),
                    (
                        1030,
                        I16(&[
                            0o100_644, 0o040_755, 0o120_777, 0o020_644, 0o100_644, 0o040_755,
                            0o100_644, 0o100_644, 0o100_644, 0o100_644, 0o100_644,
                        ]),
                    ),
                    (1037, I32(&[0, 0, 0, 0, 64, 64, 1, 0, 0, 0, 0])),
                ],
            )),
        ),
        // Twelve changes: some of one day on both sides of the cut, one out of order.
        (
            "raw-changes",
            plain(with(
                b"raw-changes",
                vec![
                    (1080, I32(&[9, 9, 9, 8, 7, 6, 7, 5, 4, 4, 4, 1])),
                    (
                        1081,
                        Texts(&[
                            b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h", b"i", b"j", b"k", b"l",
                        ]),
                    ),
                    (
                        1082,
                        Texts(&[
                            b"- a\n- b",
                            b" - b ",
                            b"",
                            b"d\td",
                            b"e",
                            b"f",
                            b"g",
                            b"h",
                            b"i",
                            b"j",
                            b"k",
                            b"l",
                        ]),
                    ),
                ],
            )),
        ),
    ]
}
