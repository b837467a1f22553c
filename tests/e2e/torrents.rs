//! `cairn torrents`: the torrents of staged images, read by other tools, and made again only if
//! they must be.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_testkit::sample::{Compose, iso};
use cairn_testkit::{Run, World, available, tool};
use serde_json::Value;

use crate::world;

const DVD: &str = "Rocky-9.7-x86_64-dvd";
const BOOT: &str = "Rocky-9.7-aarch64-boot";
const STAGING: &str = "mirror/pub/rocky/9.7-RC2";

/// A staged release with two images, which hold `text`.
#[track_caller]
fn stage(world: &World, date: &str, text: &str) {
    let mut compose = Compose::new("9", "Rocky", "9.7", date)
        .packages_only()
        .repo("BaseOS", "x86_64")
        .package("bash", "5.1.8-9.el9");
    for (arch, name) in [("x86_64", DVD), ("aarch64", BOOT)] {
        let content = iso(name, &[("text", text.as_bytes()), ("zeros", &[0; 600_000])], 0);
        let dir = format!("compose/isos/{arch}");
        compose = compose
            .file(format!("{dir}/{name}.iso"), content)
            .file(format!("{dir}/{name}.iso.manifest"), "/text\n/zeros\n")
            .file(format!("{dir}/{name}.iso.CHECKSUM"), format!("# {name}.iso: {text}\n"))
            .file(format!("{dir}/CHECKSUM"), format!("# {name}.iso: {text}\n"))
            .file(format!("{dir}/CHECKSUM.asc"), format!("a signature of {text}\n"))
            .file(format!("{dir}/unrelated.txt"), "not in a torrent\n");
    }
    let written = compose.write(&world.places().compose).unwrap();
    world.cairn(["ingest", written.dir.to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
}

/// A world with a staged release, and two directories to put torrents and data into.
#[track_caller]
fn staged() -> (World, tempfile::TempDir, [PathBuf; 2]) {
    let world = world();
    world.cairn(["init"]).ok();
    stage(&world, "20251101.0", "first");
    let temp = tempfile::tempdir().unwrap();
    let dirs = ["out", "data"].map(|name| temp.path().join(name));
    dirs.iter().for_each(|dir| fs::create_dir(dir).unwrap());
    (world, temp, dirs)
}

#[track_caller]
fn make(world: &World, out: &Path, more: &[&str]) -> Value {
    let args = ["torrents", "9", "--out", out.to_str().unwrap()];
    world.json([&args[..], more].concat())
}

fn states(report: &Value) -> Vec<(&str, &str)> {
    let rows = report["torrents"].as_array().unwrap().iter();
    rows.map(|row| (row["name"].as_str().unwrap(), row["state"].as_str().unwrap())).collect()
}

fn infohash<'a>(report: &'a Value, name: &str) -> &'a str {
    let mut rows = report["torrents"].as_array().unwrap().iter();
    rows.find(|row| row["name"] == name).unwrap()["infohash"].as_str().unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| name(e.unwrap())).collect();
    names.sort();
    names
}

#[test]
fn the_torrents_are_those_of_mktorrent_and_readers_read_them() {
    let (world, temp, [out, data]) = staged();
    let report = make(&world, &out, &["--seed", data.to_str().unwrap()]);
    // Architectures come in the order of the configuration.
    assert_eq!(states(&report), [(DVD, "made"), (BOOT, "made")]);
    assert_eq!(report["operation"], Value::Null);
    assert_eq!(names(&out), [format!("{BOOT}.torrent"), format!("{DVD}.torrent")]);
    for name in [DVD, BOOT] {
        // What is seeded is the directory as mktorrent is given it: links into the view.
        let iso = format!("{name}.iso");
        let expected = [
            "CHECKSUM".to_owned(),
            iso.clone(),
            format!("{iso}.CHECKSUM"),
            format!("{iso}.manifest"),
        ];
        assert_eq!(names(&data.join(name)), expected);
        let view = world.staging(STAGING).canonicalize().unwrap();
        let real = data.join(name).join(&iso).canonicalize().unwrap();
        assert!(real.starts_with(&view), "{real:?} is not below {view:?}");

        if available(tool("mktorrent")).is_some() {
            let peer = temp.path().join(format!("{name}.peer"));
            let mut command = Command::new("mktorrent");
            command.args(["-l", "18", "-a", "udp://a.example:1/announce", "-o"]).arg(&peer);
            Run::of(command.arg(name).current_dir(&data)).ok();
            if available(tool("transmission-show")).is_some() {
                let hash = |torrent: &Path| {
                    let shown = Run::of(Command::new("transmission-show").arg(torrent)).ok().out();
                    let line = shown.lines().find_map(|line| line.trim().strip_prefix("Hash: "));
                    (line.unwrap().to_owned(), shown)
                };
                let (ours, shown) = hash(&out.join(format!("{name}.torrent")));
                assert_eq!(ours, hash(&peer).0);
                assert_eq!(ours, infohash(&report, name));
                for said in [
                    "https://docs.rockylinux.org/release_notes/9_7/",
                    "udp://tracker.opentrackr.org:1337/announce",
                    "udp://tracker.openbittorrent.com:80/announce",
                ] {
                    assert!(shown.contains(said), "no {said} in\n{shown}");
                }
                assert!(!shown.contains("CHECKSUM.asc") && !shown.contains("unrelated"), "{shown}");
            }
        }
    }
}

#[test]
fn a_second_run_changes_nothing_and_a_respun_image_is_noticed() {
    let (world, _temp, [out, data]) = staged();
    let seed = ["--seed", data.to_str().unwrap()];
    let first = make(&world, &out, &seed);
    let inodes = || -> Vec<_> {
        let stat = |name: &String| fs::metadata(out.join(name)).unwrap();
        names(&out).iter().map(|name| (stat(name).ino(), stat(name).mtime())).collect()
    };
    let before = inodes();
    let second = make(&world, &out, &seed);
    assert_eq!(states(&second), [(DVD, "unchanged"), (BOOT, "unchanged")]);
    assert_eq!(inodes(), before);
    assert_eq!(infohash(&second, DVD), infohash(&first, DVD));

    // The same names and sizes, and another content.
    stage(&world, "20251102.0", "other");
    let planned = make(&world, &out, &["-n"]);
    assert_eq!(states(&planned), [(DVD, "remade"), (BOOT, "remade")]);
    assert_eq!(planned["torrents"][0]["infohash"], Value::Null);
    assert_eq!(inodes(), before, "a plan writes nothing");
    let third = make(&world, &out, &seed);
    assert_eq!(states(&third), [(DVD, "remade"), (BOOT, "remade")]);
    assert_ne!(infohash(&third, DVD), infohash(&first, DVD));

    // Another setting is another file, with the same infohash.
    let config = fs::read_to_string(world.config()).unwrap();
    world.set_config(&format!("{config}\n[torrent]\ncomment = \"{{version}} {{arch}}\"\n"));
    let fourth = make(&world, &out, &seed);
    assert_eq!(states(&fourth), [(DVD, "remade"), (BOOT, "remade")]);
    assert_eq!(infohash(&fourth, DVD), infohash(&third, DVD));

    // And what somebody damaged is made again.
    fs::write(out.join(format!("{DVD}.torrent")), "d4:infoi1ee").unwrap();
    assert_eq!(states(&make(&world, &out, &seed)), [(DVD, "remade"), (BOOT, "unchanged")]);
    assert_eq!(names(&out), [format!("{BOOT}.torrent"), format!("{DVD}.torrent")]);
}

#[test]
fn a_hybrid_torrent_has_the_infohashes_that_libtorrent_sees() {
    let (world, _temp, [out, _]) = staged();
    let config = fs::read_to_string(world.config()).unwrap();
    world.set_config(&format!("{config}\n[torrent]\nformat = \"hybrid\"\n"));
    let report = make(&world, &out, &[]);
    let row = &report["torrents"][0];
    assert_eq!(row["infohash_v2"].as_str().unwrap().len(), 64);
    assert_eq!(states(&make(&world, &out, &[]))[0], (DVD, "unchanged"));
    let script = "import sys, libtorrent as lt\n\
                  both = lt.torrent_info(sys.argv[1]).info_hashes()\n\
                  print(both.v1, both.v2)";
    let python = "/usr/bin/python3";
    let has = Run::of(Command::new(python).args(["-c", "import libtorrent"]));
    if has.code() != Some(0) {
        available(tool("python3-libtorrent"));
        return;
    }
    let torrent = out.join(format!("{DVD}.torrent"));
    let seen = Run::of(Command::new(python).args(["-c", script]).arg(torrent)).ok().out();
    let ours = [&row["infohash"], &row["infohash_v2"]].map(|hash| hash.as_str().unwrap());
    assert_eq!(seen.trim(), ours.join(" "));
}

#[test]
fn a_plan_writes_nothing_and_reads_no_image() {
    let (world, _temp, [out, data]) = staged();
    let report = make(&world, &out, &["-n", "--seed", data.to_str().unwrap()]);
    assert_eq!(states(&report), [(DVD, "made"), (BOOT, "made")]);
    assert_eq!(report["dry_run"], true);
    assert_eq!((names(&out), names(&data)), (vec![], vec![]));
    let text = world.cairn(["torrents", "9", "-n", "--out", out.to_str().unwrap()]).ok().out();
    assert!(text.contains(DVD) && text.contains("to be made"), "{text}");
}

#[test]
fn what_stands_in_the_way_is_named_and_left() {
    let (world, temp, [out, data]) = staged();
    let gone = temp.path().join("gone");
    let run = world.cairn(["torrents", "9", "--out", gone.to_str().unwrap()]).exits(2);
    assert!(
        run.err().contains("gone") && run.err().contains("create the directory"),
        "{}",
        run.err()
    );

    // The configured directories are those of the scripts, which are not here.
    if !Path::new("/opt/rtorrent").exists() {
        let run = world.cairn(["torrents", "9"]).exits(2);
        assert!(run.err().contains("/opt/rtorrent/watch/start"), "{}", run.err());
    }

    // A file where a link belongs is somebody's.
    fs::create_dir(data.join(DVD)).unwrap();
    let taken = data.join(DVD).join(format!("{DVD}.iso"));
    fs::write(&taken, "somebody's").unwrap();
    let args = ["torrents", "9", "--out", out.to_str().unwrap(), "--seed", data.to_str().unwrap()];
    let run = world.cairn(args).exits(2);
    assert!(run.err().contains(&format!("{DVD}.iso")), "{}", run.err());
    assert_eq!(fs::read(&taken).unwrap(), b"somebody's");

    // A link that leads elsewhere is replaced.
    fs::remove_file(&taken).unwrap();
    symlink("/nowhere", &taken).unwrap();
    make(&world, &out, &["--seed", data.to_str().unwrap()]);
    assert!(taken.canonicalize().unwrap().starts_with(world.staging("").canonicalize().unwrap()));

    // A directory where a torrent belongs.
    fs::remove_file(out.join(format!("{BOOT}.torrent"))).unwrap();
    fs::create_dir(out.join(format!("{BOOT}.torrent"))).unwrap();
    let run = world.cairn(["torrents", "9", "--out", out.to_str().unwrap()]).exits(2);
    assert!(run.err().contains("is not a file"), "{}", run.err());
}

#[test]
fn a_release_without_images_or_without_a_tree_is_an_error() {
    let world = world();
    world.cairn(["init"]).ok();
    let temp = tempfile::tempdir().unwrap();
    let out = temp.path().to_str().unwrap();
    let run = world.cairn(["torrents", "9", "--out", out]).exits(1);
    assert!(run.err().contains("staging/9.7-RC2"), "{}", run.err());
    let compose = Compose::new("9", "Rocky", "9.7", "20251101.0").packages_only();
    let compose = compose.repo("BaseOS", "x86_64").package("bash", "5.1.8-9.el9");
    let written = compose.write(&world.places().compose).unwrap();
    world.cairn(["ingest", written.dir.to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    let run = world.cairn(["torrents", "9", "--out", out]).exits(1);
    assert!(run.err().contains("cairn minor 9"), "{}", run.err());
    assert_eq!(names(temp.path()), [] as [&str; 0]);
    world.cairn(["torrents", "11", "--out", out]).exits(2);
}
