//! The first of each decoder's corpus: what our own builders make.
//!
//! A fuzzer that has to find an RPM's magic or a namespace by itself looks at nothing else for
//! hours. The seeds are small, whole and honest; each is accepted by its decoder.

use std::fs;
use std::path::{Path, PathBuf};

use cairn_repodata::codec::{Compression, Limits, compress, decompress};
use cairn_repodata::header::Headers;
use cairn_store::fs::{Dir, Time};
use cairn_store::id::{ObjectId, OperationId, PackId, SnapshotId, TreeId};
use cairn_store::log::{Collected, Log, Operation, RefEdit};
use cairn_store::pack::{NodeId, PackWriter, Packs, file_name};
use cairn_store::refs::RefName;
use cairn_store::snapshot::{Origin, Root, Snapshot};
use cairn_store::tree::{DirEntry, Entry, FileEntry, SymlinkEntry, Tree};

use cairn_decoders::short_image;

use super::images::{self, Names};
use crate::sample::{self, Places};

/// One input of a decoder.
#[derive(Clone, Debug)]
pub struct Seed {
    /// The decoder's name.
    pub decoder: &'static str,
    /// The name of its file.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Makes all seeds; equal each time.
///
/// # Panics
///
/// If the sample cannot be written to a temporary directory.
pub fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    of_the_store(&mut seeds);
    of_a_compose(&mut seeds);
    of_words(&mut seeds);
    seeds
}

fn add(seeds: &mut Vec<Seed>, decoder: &'static str, name: &str, bytes: impl Into<Vec<u8>>) {
    seeds.push(Seed { decoder, name: name.to_owned(), bytes: bytes.into() });
}

fn a_tree() -> Tree {
    let mtime = Time { secs: 1_762_000_000, nanos: 5 };
    let object = ObjectId::from_bytes([1; 32]);
    let tree = TreeId::from_bytes([2; 32]);
    let target: Box<[u8]> = b"../x".as_slice().into();
    let entries = [
        (&b"file"[..], Entry::File(FileEntry { object, size: 7, mode: 0o644, mtime })),
        (b"dir", Entry::Dir(DirEntry { tree, mode: 0o755, mtime, files: 3, bytes: 9 })),
        (b"new\nline \xff", Entry::Symlink(SymlinkEntry { target, mtime })),
    ];
    let entries = entries.map(|(name, entry)| (Box::from(name), entry));
    Tree::new(entries.into()).expect("the names are names")
}

fn a_snapshot() -> Snapshot {
    let time = jiff::Timestamp::from_second(1_762_000_000).expect("a time of our days");
    let tree = TreeId::of(&a_tree().encode());
    let root = Root { tree, mode: 0o755, mtime: 5, mtime_nanos: 6, files: 4, bytes: 16 };
    let facts = [("compose_id".to_owned(), "Rocky-9.7-20251101.0".to_owned())].into();
    let parents = vec![SnapshotId::from_bytes([3; 32])];
    let origin = Origin { verb: "ingest".to_owned(), facts };
    Snapshot { version: Snapshot::VERSION, root, time, origin, parents }
}

fn of_the_store(seeds: &mut Vec<Seed>) {
    let (tree, snapshot) = (a_tree().encode(), a_snapshot());
    let (id, document) = snapshot.encode();
    let empty = Tree::default().encode();
    add(seeds, "tree", "empty", empty.clone());
    add(seeds, "tree", "three-kinds", tree.clone());
    add(seeds, "snapshot", "with-a-parent", document.clone());

    let dir = tempfile::tempdir().expect("a temporary directory");
    let packs = Packs::new(Dir::open(dir.path()).expect("it is there"));
    let mut writer = PackWriter::new(&packs);
    for bytes in [&tree, &empty] {
        writer.add(NodeId::Tree(TreeId::of(bytes)), bytes).expect("it is small");
    }
    writer.add(NodeId::Snapshot(id), &document).expect("it is small");
    let (pack, _) = writer.finish().expect("a pack of three nodes");
    let path = dir.path().join(file_name(&pack));
    add(seeds, "pack", "three-nodes", fs::read(path).expect("it was written"));

    let name = RefName::new("production/9.7").expect("a ref");
    let operation = Operation {
        version: Log::VERSION,
        number: 1,
        parent: Some(OperationId::from_bytes([4; 32])),
        time: snapshot.time,
        host: "releng1".to_owned(),
        user: "alice (sudo: root)".to_owned(),
        verb: "promote".to_owned(),
        command: vec!["cairn".to_owned(), "promote".to_owned(), "9".to_owned()],
        reason: Some("9.7 is out".to_owned()),
        edits: vec![RefEdit { name, old: snapshot.parents.first().copied(), new: Some(id) }],
        packs: vec![pack],
        collected: None,
        details: serde_json::json!({ "skipped": ["no-loss"], "files": 4 }),
    };
    add(seeds, "operation", "promote", operation.encode());
    let packs = vec![PackId::from_bytes([5; 32])];
    let collected = Some(Collected { snapshots: vec![id], packs, objects: 12 });
    let verb = "gc".to_owned();
    let gc = Operation { verb, collected, edits: Vec::new(), reason: None, ..operation };
    add(seeds, "operation", "gc", gc.encode());

    let root = serde_json::to_value(snapshot.root).expect("plain data");
    let until = "2025-11-02T00:00:00Z";
    let content = serde_json::json!({
        "snapshot": id.to_string(), "root": root, "tree": snapshot.root.tree.to_string(),
        "leftovers": [{ "from": root, "to": root, "until": until }],
    });
    let trees = serde_json::json!({ "version": 1, "trees": [
        { "ino": 12, "content": content, "building": false, "published": until, "retired": null },
        { "ino": 13, "content": content, "building": true, "drifted": true,
          "published": null, "retired": null },
    ]});
    add(seeds, "trees-json", "two-trees", trees.to_string());
}

/// Returns the files below a directory, sorted.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut ahead = vec![dir.to_owned()];
    while let Some(dir) = ahead.pop() {
        for entry in fs::read_dir(&dir).expect("the sample is readable") {
            let entry = entry.expect("its directories too");
            match entry.file_type().expect("and what is in them").is_dir() {
                true => ahead.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found.sort();
    found
}

/// Returns a package without its payload, which nobody reads.
fn headers(package: &[u8]) -> Vec<u8> {
    let headers = Headers::read("a package of the sample", package).expect("it is sound");
    package[..headers.end as usize].to_vec()
}

/// What stands in the composes of the sample: up to three of each kind.
fn of_a_compose(seeds: &mut Vec<Seed>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    sample::first(dir.path()).expect("the sample is written");
    sample::second(dir.path()).expect("and its update, which has advisories");
    let mut taken = std::collections::BTreeMap::<&str, usize>::new();
    for path in files_below(dir.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let plain = |bytes: &[u8]| {
            decompress(&name, bytes, Limits::default()).expect("the sample's metadata is sound")
        };
        // By their names, which end in what they are; the checksum before that is left out.
        let short = name.rsplit_once('-').map_or(name.as_str(), |(_, short)| short).to_owned();
        let decoder = match short.as_str() {
            "repomd.xml" => "repomd",
            "primary.xml.gz" => "primary",
            "filelists.xml.gz" => "filelists",
            "other.xml.gz" => "other",
            ".treeinfo" => "treeinfo",
            short if short.starts_with("updateinfo.") => "updateinfo",
            short if short.starts_with("modules.") => "modules",
            short if short.starts_with("comps") && short.ends_with(".xml") => "comps",
            short if short.ends_with(".rpm") => "rpm-header",
            _ => continue,
        };
        let bytes = fs::read(&path).expect("the sample is readable");
        let bytes = match decoder {
            "rpm-header" => headers(&bytes),
            _ => plain(&bytes),
        };
        // Large ones are slow to change and say no more.
        let count = taken.entry(decoder).or_default();
        if bytes.len() > 24 << 10 || *count == 3 || seeds.iter().any(|seed| seed.bytes == bytes) {
            continue;
        }
        *count += 1;
        add(seeds, decoder, &format!("sample-{count}"), bytes);
    }
}

fn of_words(seeds: &mut Vec<Seed>) {
    let image =
        sample::iso("Rocky-9-7", &[("a/b/c.rpm", b"x"), (".treeinfo", b"y")], 1_762_000_000);
    for (name, image) in [
        ("three-directories", image),
        ("rock-ridge", images::image(Names::RockRidge, 2048)),
        ("joliet", images::image(Names::Joliet, 512)),
        ("plain", images::image(Names::Plain, 1024)),
    ] {
        add(seeds, "iso9660", name, short_image(&image));
    }
    // Too little to be worth a code of its own, and enough for tables and copies of all kinds.
    let line = |number: u32| {
        let hash = number.wrapping_mul(2_654_435_761);
        format!("<file>/usr/share/doc/{}-{hash:08x}/README</file>\n", number % 7)
    };
    let list: String = (0..60).map(line).collect();
    let xml = "<otherdata packages=\"0\"></otherdata>\n";
    for (name, compression) in [
        ("none", Compression::None),
        ("gzip", Compression::Gzip),
        ("xz", Compression::Xz),
        ("zstd", Compression::Zstd),
        ("bzip2", Compression::Bzip2),
    ] {
        let packed = |text: &str| compress(text.as_bytes(), compression).expect("it is small");
        add(seeds, "codec", name, packed(xml));
        if compression != Compression::None {
            add(seeds, "codec", &format!("{name}-of-a-list"), packed(&list));
        }
    }
    add(seeds, "config", "sample", Places::below(Path::new("/srv")).config());
    let rows = "[Version]\n2\n\n[Files]\n1762000000\td\t4096\t9.7\n1762000000\tf\t12\t9.7/a/b\n\
        1762000000\tl\t3\t9.7/link\n1762000000\tf-\t5\t9.7/private\n\n[Checksums SHA1]\n\
        0000000000000000000000000000000000000000\t9.7/a/b\n\n[End]\n";
    add(seeds, "mirror-list", "one-release", rows);
    let torrent: &[u8] = b"d8:announce9:udp://x:14:infod6:lengthi7e4:name1:a6:pieces0:ee";
    add(seeds, "bencode", "torrent", torrent);
    for (name, text) in [
        ("path", "9.7/BaseOS/x86_64/os/Packages/b/bash-5.1.8-9.el9.x86_64.rpm"),
        ("nevra", "bash-0:5.1.8-9.el9.x86_64"),
        ("evr", "2:5.1.8~rc1-9.el9_7"),
        ("ref", "production/9.7"),
        ("rev", "production/9.7@{2025-11-01}"),
        ("href", "Packages/b/bash%2B-5.1.8-9.el9.x86_64.rpm"),
    ] {
        add(seeds, "names", name, text);
    }
}
