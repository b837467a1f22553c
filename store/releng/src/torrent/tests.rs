//! Torrents, with mktorrent, transmission and libtorrent as the other opinion.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "the tests lay out files for other tools, and say which of these are missing"
)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use cairn_store::fs::Time;
use cairn_store::progress::Silent;
use proptest::prelude::*;

use super::bencode::decode;
use super::*;
use crate::content::Content;

const KIB: usize = 1 << 10;

/// Runs a tool; nothing where it is not installed.
fn run(tool: &str, args: &[&str], dir: &Path) -> Option<String> {
    let output = match Command::new(tool).args(args).current_dir(dir).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("not tested: {tool} is not installed");
            return None;
        }
        Err(error) => panic!("{tool}: {error}"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {args:?}: {said}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Bytes that repeat nowhere near.
fn bytes(seed: usize, size: usize) -> Vec<u8> {
    let mix = |at: usize| ((at / 251).wrapping_mul(31) ^ at.wrapping_mul(seed + 7)) as u8;
    (0..size).map(mix).collect()
}

/// Sizes around the ends of blocks and pieces, of files named in the order of mktorrent.
fn contents(piece: usize) -> Vec<(String, Vec<u8>)> {
    let sizes =
        [1, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, piece - 1, piece, piece + 1, 3 * piece + 5, 0];
    let mut files: Vec<_> =
        sizes.iter().enumerate().map(|(n, size)| (format!("f{n}"), bytes(n, *size))).collect();
    // Batches of 32 MiB end within this one.
    files.push(("image.iso".to_owned(), bytes(99, 33 * KIB * KIB + 77)));
    files.push(("image.iso.CHECKSUM".to_owned(), b"# image.iso\n".to_vec()));
    files
}

fn layout(files: &[(String, Vec<u8>)], piece: usize, format: TorrentFormat) -> Layout {
    let file = |(name, bytes): &(String, Vec<u8>)| TorrentFile {
        name: name.clone(),
        path: RelPath::new(name).unwrap(),
        file: FileEntry {
            object: ObjectId::of(bytes),
            size: bytes.len() as u64,
            mode: 0o644,
            mtime: Time { secs: 0, nanos: 0 },
        },
    };
    let files = files.iter().map(file).collect();
    Layout { name: "Rocky-9.7-x86_64-dvd".into(), files, piece_length: piece as u64, format }
}

fn around() -> Around {
    let trackers = ["udp://one.example:1337/announce", "udp://two.example:80/announce"];
    Around {
        trackers: trackers.map(str::to_owned).to_vec(),
        comment: "https://docs.example/release_notes/9_7/".into(),
        time: 1_762_000_000,
    }
}

fn hashes(layout: &Layout, files: &[(String, Vec<u8>)]) -> Hashes {
    let source = |_: &FileEntry, path: &RelPath| {
        let (_, bytes) = files.iter().find(|(name, _)| name.as_bytes() == path.as_bytes()).unwrap();
        Ok(Content::from(Arc::<[u8]>::from(bytes.as_slice())))
    };
    hash(layout, &source, &Silent).unwrap()
}

fn write(dir: &Path, layout: &Layout, files: &[(String, Vec<u8>)]) {
    let data = dir.join(&layout.name);
    fs::create_dir(&data).unwrap();
    for (name, bytes) in files {
        fs::write(data.join(name), bytes).unwrap();
    }
}

fn entry(torrent: &[u8], key: &str) -> Value {
    let Value::Dict(mut entries) = decode(torrent).unwrap() else { panic!("no dictionary") };
    entries.remove(key.as_bytes()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_infohash_is_mktorrents_for_the_same_files_and_pieces() {
    for power in [18, 20] {
        let temp = tempfile::tempdir().unwrap();
        let piece = 1 << power;
        let files = contents(piece);
        let layout = layout(&files, piece, TorrentFormat::V1);
        write(temp.path(), &layout, &files);
        let torrent = layout.metainfo(&around(), &hashes(&layout, &files));
        let power = power.to_string();
        let args = ["-l", &power, "-a", "udp://one.example:1337/announce", "-o", "peer.torrent"];
        let args = [&args[..], &[&layout.name]].concat();
        if run("mktorrent", &args, temp.path()).is_none() {
            return;
        }
        let peer = fs::read(temp.path().join("peer.torrent")).unwrap();
        assert!(entry(torrent.bytes(), "info") == entry(&peer, "info"), "2^{power}");
        let infohash: [u8; 20] = Sha1::digest(entry(&peer, "info").encode()).into();
        assert_eq!(torrent.infohash, infohash);
        assert_eq!(torrent.infohash_v2, None);
    }
}

#[test]
fn transmission_reads_what_is_written() {
    let temp = tempfile::tempdir().unwrap();
    let files = contents(256 * KIB);
    let layout = layout(&files, 256 * KIB, TorrentFormat::V1);
    let torrent = layout.metainfo(&around(), &hashes(&layout, &files));
    fs::write(temp.path().join("a.torrent"), torrent.bytes()).unwrap();
    let Some(shown) = run("transmission-show", &["a.torrent"], temp.path()) else { return };
    for said in [
        "Name: Rocky-9.7-x86_64-dvd",
        &hex(&torrent.infohash),
        "https://docs.example/release_notes/9_7/",
        "udp://one.example:1337/announce",
        "udp://two.example:80/announce",
        "Piece Size: 256.0 KiB",
        "Rocky-9.7-x86_64-dvd/image.iso.CHECKSUM",
    ] {
        assert!(shown.contains(said), "{said:?} is missing in\n{shown}");
    }
}

/// Makes the torrent of a directory, and prints both of its infohashes; then checks that ours is
/// read without complaint, and prints its.
const LIBTORRENT: &str = "
import sys, libtorrent as lt
files = lt.file_storage()
lt.add_files(files, sys.argv[1])
made = lt.create_torrent(files, piece_size=int(sys.argv[2]), flags=0)
lt.set_piece_hashes(made, '.')
theirs = lt.torrent_info(made.generate())
ours = lt.torrent_info(sys.argv[3])
for info in (theirs, ours):
    print(info.info_hashes().v1, info.info_hashes().v2, info.num_pieces())
";

#[test]
fn a_hybrid_torrent_is_what_libtorrent_makes() {
    for piece in [16 * KIB, 256 * KIB, 1024 * KIB] {
        let temp = tempfile::tempdir().unwrap();
        let mut files = contents(piece.max(64 * KIB));
        // libtorrent leaves room of its own after empty files.
        files.retain(|(_, bytes)| !bytes.is_empty());
        let layout = layout(&files, piece, TorrentFormat::Hybrid);
        write(temp.path(), &layout, &files);
        let torrent = layout.metainfo(&around(), &hashes(&layout, &files));
        fs::write(temp.path().join("ours.torrent"), torrent.bytes()).unwrap();
        let has = Command::new("/usr/bin/python3").args(["-c", "import libtorrent"]).output();
        if !has.is_ok_and(|output| output.status.success()) {
            eprintln!("not tested: python3-libtorrent is not installed");
            return;
        }
        let size = piece.to_string();
        let args = ["-c", LIBTORRENT, &layout.name, &size, "ours.torrent"];
        let out = run("/usr/bin/python3", &args, temp.path()).unwrap();
        let (theirs, ours) = out.trim().split_once('\n').unwrap();
        assert_eq!(theirs, ours, "pieces of {piece}");
        let (v1, v2) = (hex(&torrent.infohash), hex(&torrent.infohash_v2.unwrap()));
        assert!(ours.starts_with(&format!("{v1} {v2} ")), "{ours}");
    }
}

#[test]
fn a_torrent_is_known_again_until_a_file_or_a_setting_is_another() {
    for format in [TorrentFormat::V1, TorrentFormat::Hybrid] {
        let files = contents(256 * KIB);
        let layout = layout(&files, 256 * KIB, format);
        let torrent = layout.metainfo(&around(), &hashes(&layout, &files));
        let known = |layout: &Layout, around: &Around, file: &[u8]| {
            layout.recognise(around, file).map(|torrent| torrent.infohash)
        };
        assert_eq!(known(&layout, &around(), torrent.bytes()), Some(torrent.infohash));

        let mut respun = layout.clone();
        // The same name and size, and another content.
        respun.files[7].file.object = ObjectId::of(b"respun");
        let mut renamed = layout.clone();
        renamed.name.push('1');
        let mut cut = layout.clone();
        cut.piece_length *= 2;
        let mut fewer = layout.clone();
        fewer.files.pop();
        let mut other = layout.clone();
        other.format = match format {
            TorrentFormat::V1 => TorrentFormat::Hybrid,
            TorrentFormat::Hybrid => TorrentFormat::V1,
        };
        for changed in [respun, renamed, cut, fewer, other] {
            assert_eq!(known(&changed, &around(), torrent.bytes()), None);
        }
        let mut said = around();
        said.comment.push('x');
        assert_eq!(known(&layout, &said, torrent.bytes()), None);
        let mut tracked = around();
        tracked.trackers.pop();
        assert_eq!(known(&layout, &tracked, torrent.bytes()), None);

        // A file that somebody damaged is not believed.
        for at in (0..torrent.bytes().len()).step_by(torrent.bytes().len() / 400) {
            let mut damaged = torrent.bytes().to_vec();
            damaged[at] ^= 1;
            assert_eq!(known(&layout, &around(), &damaged), None, "byte {at}");
        }
        for file in [&b""[..], b"d", b"de", b"i1e", &torrent.bytes()[..100]] {
            assert_eq!(known(&layout, &around(), file), None);
        }
    }
}

#[test]
fn content_that_is_not_the_object_is_refused() {
    let files = vec![("a".to_owned(), bytes(1, 1000))];
    let layout = layout(&files, 256 * KIB, TorrentFormat::V1);
    for other in [bytes(2, 1000), bytes(1, 999)] {
        let source =
            |_: &FileEntry, _: &RelPath| Ok(Content::from(Arc::<[u8]>::from(other.as_slice())));
        let error = hash(&layout, &source, &Silent).unwrap_err();
        assert!(error.to_string().contains("a has content"), "{error}");
    }
}

#[test]
fn pieces_are_few_and_neither_tiny_nor_huge() {
    let gib = 1u64 << 30;
    let cases = [
        (0, 256 * KIB),
        (gib, 256 * KIB),
        (gib + 1, 512 * KIB),
        (11 * gib, 4096 * KIB),
        (1 << 45, 16 << 10 << 10),
    ];
    for (bytes, piece) in cases {
        assert_eq!(piece_length(bytes), piece as u64, "{bytes}");
    }
}

#[test]
fn what_is_not_canonical_bencode_is_refused() {
    for (text, reason) in [
        ("", "is cut short"),
        ("i1", "has a broken number"),
        ("i01e", "has a broken number"),
        ("i-1e", "has a broken number"),
        ("ie", "has a broken number"),
        ("i99999999999999999999e", "has a broken number"),
        ("4:abc", "is cut short"),
        ("99999999999999999999:a", "has a broken number"),
        ("l", "is cut short"),
        ("d1:bi1e1:ai1ee", "has keys that are not sorted"),
        ("d1:ai1e1:ai1ee", "has keys that are not sorted"),
        ("di1ei1ee", "has a broken number"),
        ("i1ei1e", "goes on after its end"),
        ("x", "has something that is no value"),
    ] {
        assert_eq!(decode(text.as_bytes()), Err(reason), "{text}");
    }
    let deep = "l".repeat(100_000);
    assert_eq!(decode(deep.as_bytes()), Err("is nested too deeply"));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<u64>().prop_map(Value::Integer),
        prop::collection::vec(any::<u8>(), 0..8).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let key = prop::collection::vec(any::<u8>(), 0..4);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::btree_map(key, inner, 0..4).prop_map(Value::Dict),
        ]
    })
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(value in value()) {
        prop_assert_eq!(decode(&value.encode()), Ok(value));
    }

    #[test]
    fn what_is_decoded_is_encoded_the_same(bytes in "[dlei0-9:a-c]{0,24}") {
        if let Ok(value) = decode(bytes.as_bytes()) {
            prop_assert_eq!(value.encode(), bytes.into_bytes());
        }
    }
}
