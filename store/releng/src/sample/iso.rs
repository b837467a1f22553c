//! Small ISO 9660 images with Rock Ridge names, as installation media are.
//!
//! Just what readers need: one volume, its path table, directories of one or more sectors, and in
//! each record the name and mode. Contents come after, each at the beginning of a sector.

use std::collections::BTreeMap;

const SECTOR: usize = 2048;
/// Sectors 0 to 15 belong to boot loaders; then one volume descriptor, and the one that ends them.
const TABLES: usize = 18;

/// A directory that is laid out.
#[derive(Default)]
struct Dir {
    /// Names in it, of directories and files.
    names: BTreeMap<String, Node>,
    parent: usize,
    sector: usize,
    sectors: usize,
}

#[derive(Clone, Copy)]
enum Node {
    Dir(usize),
    File { sector: usize, size: usize },
}

/// Returns an image of these files, by path; directories come by themselves.
///
/// Paths are relative, with `/` between names of at most 100 bytes. `time` is in seconds since 1970
/// and says when everything was recorded.
pub fn iso(volume: &str, files: &[(&str, &[u8])], time: u64) -> Vec<u8> {
    let mut dirs = vec![Dir::default()];
    let mut contents = Vec::new();
    for (path, content) in files {
        let (mut at, mut names) = (0, path.split('/').peekable());
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                contents.push((at, name, *content));
            } else if let Some(Node::Dir(below)) = dirs[at].names.get(name) {
                at = *below;
            } else {
                dirs.push(Dir { parent: at, ..Dir::default() });
                let below = dirs.len() - 1;
                dirs[at].names.insert(name.to_owned(), Node::Dir(below));
                at = below;
            }
        }
    }
    for (at, name, _) in &contents {
        let nothing_yet = Node::File { sector: 0, size: 0 };
        dirs[*at].names.insert((*name).to_owned(), nothing_yet);
    }
    let when = recorded(time);
    // Records have one length wherever what they name lies: count first, place then.
    let table = path_table(&dirs, u32::to_le_bytes).len().div_ceil(SECTOR);
    let mut next = TABLES + 2 * table;
    for at in 0..dirs.len() {
        dirs[at].sectors = records(&dirs, at, when).len() / SECTOR;
        dirs[at].sector = next;
        next += dirs[at].sectors;
    }
    for (at, name, content) in &contents {
        let file = Node::File { sector: next, size: content.len() };
        dirs[*at].names.insert((*name).to_owned(), file);
        next += content.len().div_ceil(SECTOR);
    }

    let mut image = vec![0; 16 * SECTOR];
    image.extend(descriptor(volume, &dirs, table, next, when));
    let mut end = vec![0; SECTOR];
    end[..7].copy_from_slice(b"\xffCD001\x01");
    image.extend(end);
    for order in [u32::to_le_bytes, u32::to_be_bytes] {
        image.extend(path_table(&dirs, order));
        pad(&mut image);
    }
    for at in 0..dirs.len() {
        image.extend(records(&dirs, at, when));
    }
    for (_, _, content) in &contents {
        image.extend_from_slice(content);
        pad(&mut image);
    }
    image
}

fn pad(image: &mut Vec<u8>) {
    image.resize(image.len().next_multiple_of(SECTOR), 0);
}

/// A number in both byte orders.
fn both(number: usize) -> [u8; 8] {
    let number = number as u32;
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn both_short(number: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (number.to_le_bytes(), number.to_be_bytes());
    [a, b, c, d]
}

/// A record's time: years since 1900, month, day, hour, minute, second, quarters from UTC.
fn recorded(time: u64) -> [u8; 7] {
    let time = i64::try_from(time).ok().and_then(|secs| jiff::Timestamp::from_second(secs).ok());
    let time = time.unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC);
    let year = (time.year() - 1900).clamp(0, 255) as u8;
    let [month, day] = [time.month(), time.day()].map(|part| part as u8);
    let [hour, minute, second] = [time.hour(), time.minute(), time.second()].map(|part| part as u8);
    [year, month, day, hour, minute, second, 0]
}

fn descriptor(volume: &str, dirs: &[Dir], table: usize, end: usize, when: [u8; 7]) -> Vec<u8> {
    let mut bytes = vec![0; SECTOR];
    let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
    put(0, b"\x01CD001\x01");
    // Texts are filled up with blanks, and dates that nobody knows are zeros.
    put(8, &[b' '; 64]);
    put(40, &volume.as_bytes()[..volume.len().min(32)]);
    put(80, &both(end));
    put(120, &both_short(1));
    put(124, &both_short(1));
    put(128, &both_short(SECTOR as u16));
    put(132, &both(path_table(dirs, u32::to_le_bytes).len()));
    put(140, &(TABLES as u32).to_le_bytes());
    put(148, &((TABLES + table) as u32).to_be_bytes());
    put(156, &record(&dirs[0], b"\0", &[], when));
    put(190, &[b' '; 623]);
    for at in [813, 830, 847, 864] {
        put(at, &[b'0'; 16]);
    }
    put(881, &[1]);
    bytes
}

/// The names of all directories, parents first, for readers that look for paths.
fn path_table(dirs: &[Dir], order: fn(u32) -> [u8; 4]) -> Vec<u8> {
    let mut table = Vec::new();
    for (at, dir) in dirs.iter().enumerate() {
        let name = if at == 0 { vec![0] } else { plain_name(at, true) };
        table.extend([name.len() as u8, 0]);
        table.extend(order(dir.sector as u32));
        // Two bytes, in the same order as the four.
        let parent = order(dir.parent as u32 + 1);
        table.extend(if order(1)[0] == 1 { &parent[..2] } else { &parent[2..] });
        table.extend_from_slice(&name);
        table.resize(table.len().next_multiple_of(2), 0);
    }
    table
}

/// The name that counts without Rock Ridge.
fn plain_name(number: usize, directory: bool) -> Vec<u8> {
    let text = if directory { format!("D{number:07}") } else { format!("F{number:07}.;1") };
    text.into_bytes()
}

/// The records of a directory, none across the end of a sector.
fn records(dirs: &[Dir], at: usize, when: [u8; 7]) -> Vec<u8> {
    let dir = &dirs[at];
    let mut all = Vec::new();
    let mut own = Vec::new();
    if at == 0 {
        // Here is Rock Ridge, and this is its name.
        own.extend(b"SP\x07\x01\xbe\xef\0");
        own.extend(b"ER\x12\x01\x0a\0\0\x01RRIP_1991A");
    }
    own.extend(mode(0o40755));
    all.push(record(dir, b"\0", &own, when));
    all.push(record(&dirs[dir.parent], b"\x01", &mode(0o40755), when));
    for (number, (name, node)) in dir.names.iter().enumerate() {
        let mut area = vec![b'N', b'M', name.len() as u8 + 5, 1, 0];
        area.extend_from_slice(name.as_bytes());
        match node {
            Node::Dir(below) => {
                area.extend(mode(0o40755));
                all.push(record(&dirs[*below], &plain_name(*below, true), &area, when));
            }
            Node::File { sector, size } => {
                area.extend(mode(0o100644));
                let name = plain_name(number, false);
                all.push(raw_record(*sector, *size, 0, &name, &area, when));
            }
        }
    }
    let mut bytes = Vec::new();
    for record in all {
        if SECTOR - bytes.len() % SECTOR < record.len() {
            pad(&mut bytes);
        }
        bytes.extend(record);
    }
    pad(&mut bytes);
    bytes
}

/// Permission bits, links, owner and group.
fn mode(mode: usize) -> Vec<u8> {
    let mut entry = b"PX\x24\x01".to_vec();
    for number in [mode, 1, 0, 0] {
        entry.extend(both(number));
    }
    entry
}

fn record(dir: &Dir, name: &[u8], area: &[u8], when: [u8; 7]) -> Vec<u8> {
    raw_record(dir.sector, dir.sectors * SECTOR, 2, name, area, when)
}

fn raw_record(
    sector: usize,
    size: usize,
    flags: u8,
    name: &[u8],
    area: &[u8],
    when: [u8; 7],
) -> Vec<u8> {
    let mut record = vec![0, 0];
    record.extend(both(sector));
    record.extend(both(size));
    record.extend(when);
    record.extend([flags, 0, 0]);
    record.extend(both_short(1));
    record.push(name.len() as u8);
    record.extend_from_slice(name);
    record.resize(record.len().next_multiple_of(2), 0);
    record.extend_from_slice(area);
    record.resize(record.len().next_multiple_of(2), 0);
    record[0] = record.len() as u8;
    record
}
