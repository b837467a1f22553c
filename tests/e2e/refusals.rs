//! Bad input, bad places and bad moments: a sentence with the path and the next step, the right
//! exit code, and nothing half-done.
//!
//! It is long because there are many ways to be wrong, a few lines each.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use cairn_testkit::filesystem::{FsKind, Loop};
use cairn_testkit::sample::{Compose, Places, Status};
use cairn_testkit::{Run, World, available, exchanges, hostile, metadata, not_on, settle, treecmp};
use serde_json::Value;

use crate::crashes::{no_leftovers, publish, published, small, small_update};
use crate::world;

const STAGING: &str = "mirror/pub/rocky/9.7-RC2";
const PRODUCTION: &str = "mirror/pub/rocky/9.7";

/// Asserts how a command was refused: its code, and what the sentence and the hint say.
#[track_caller]
fn refused(run: Run, code: i32, parts: &[&str]) -> Run {
    let run = run.exits(code);
    let err = run.err();
    assert!(err.starts_with("error: "), "{}", run.report());
    assert!(!err.contains("panicked") && !err.contains("bug: "), "{}", run.report());
    for part in parts {
        assert!(err.contains(part), "{part:?} is not said\n{}", run.report());
    }
    run
}

/// Everything below a directory with every time and inode, so that nothing can have been touched.
fn state(dir: &Path) -> Vec<String> {
    fn walk(dir: &Path, out: &mut Vec<String>) {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        // The index is derived, and its file is touched whenever it is opened.
        paths.retain(|path| !path.ends_with("store/index.redb"));
        for path in paths {
            let stat = path.symlink_metadata().unwrap();
            out.push(format!(
                "{path:?} {:o} {} {}.{:09} {}.{:09} {} {}",
                stat.mode(),
                stat.size(),
                stat.mtime(),
                stat.mtime_nsec(),
                stat.ctime(),
                stat.ctime_nsec(),
                stat.ino(),
                stat.nlink()
            ));
            if stat.is_dir() {
                walk(&path, out);
            }
        }
    }
    let mut out = Vec::new();
    if dir.exists() {
        walk(dir, &mut out);
    }
    out
}

/// What must not change when something is refused: refs and what is published.
fn published_state(world: &World) -> (Value, String, String) {
    let log = world.json(["log"]);
    let [staging, production] =
        [world.staging(STAGING), world.production(PRODUCTION)].map(|path| treecmp::digest(&path));
    (log, staging, production)
}

/// A plain directory to ingest as a ref, beside the composes.
fn plain(world: &World, name: &str) -> PathBuf {
    let dir = world.places().compose.join(name);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("file"), name).unwrap();
    dir
}

fn ingest(world: &World, dir: &Path) -> Run {
    world.cairn(["ingest".as_ref(), "--as".as_ref(), "compose/9/Rocky".as_ref(), dir.as_os_str()])
}

#[test]
fn configurations_that_are_missing_or_wrong() {
    let world = world();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cairn"));
    let run = Run::of(command.args(["--config", "/no/such/cairn.toml", "status"]));
    refused(run, 2, &["/no/such/cairn.toml"]);
    let good = world.places().config();
    for (text, parts) in [
        (good.replace("[mounts.staging]", "[mounts.staging]\nswop = \"auto\""), ["9:1", "swop"]),
        (good.replace("[store]", "[store]\npath = 1\n[stores]"), ["3:8", "path"]),
        (good.replace("[store]", "[store"), ["2:", "cairn.toml"]),
        (
            good.replace("[mounts.production]", "[mounts.production]\nx = 1"),
            ["12:1", "unknown key \"x\""],
        ),
    ] {
        world.set_config(&text);
        refused(world.cairn(["status"]), 2, &parts);
        world.cairn(["config", "check"]).exits(2);
    }
    assert!(!world.places().store.exists(), "nothing is created");
}

#[test]
fn stores_and_mounts_that_are_not_there_or_not_ours() {
    let world = world();
    refused(world.cairn(["status"]), 10, &["no store here", "hint: run cairn init first"]);
    fs::rename(world.production(""), world.staging("").with_file_name("away")).unwrap();
    refused(world.cairn(["init"]), 1, &["mount production", "hint: "]);
    assert!(!world.places().store.exists(), "a refused init creates nothing");
    fs::rename(world.staging("").with_file_name("away"), world.production("")).unwrap();
    published(&world);
    small_update().write(&world.places().compose).unwrap();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    let promote = ["promote", "9", "--delete", "--allow-deletes", "100%"];
    let before = published_state(&world);
    let mount = world.places().production.clone();
    let away = mount.with_file_name("away");

    // Gone, then as an unmounted mount point: an empty directory.
    fs::rename(&mount, &away).unwrap();
    refused(world.cairn(promote), 1, &["mount production at ", "does not exist", "hint: mount it"]);
    fs::create_dir(&mount).unwrap();
    refused(world.cairn(promote), 1, &["mount production at ", "is the file system mounted?"]);
    assert!(fs::read_dir(&mount).unwrap().next().is_none(), "nothing is written below the mount");
    // Others go on.
    world.cairn(["stage", "9", "Rocky"]).ok();
    world.cairn(["status"]).ok();
    world.cairn(["publish"]).exits(5);
    fs::remove_dir(&mount).unwrap();

    // Another mount of this store, and one of another store.
    std::os::unix::fs::symlink(&world.places().staging, &mount).unwrap();
    refused(world.cairn(promote), 1, &["the mount \"staging\" is mounted there"]);
    fs::remove_file(&mount).unwrap();
    let other = crate::world();
    other.cairn(["init"]).ok();
    std::os::unix::fs::symlink(&other.places().production, &mount).unwrap();
    refused(world.cairn(promote), 1, &["belongs to the store with id"]);
    refused(world.cairn(["init"]), 1, &["belongs to the store with id"]);
    fs::remove_file(&mount).unwrap();

    fs::rename(&away, &mount).unwrap();
    assert_eq!(published_state(&world), before);
    world.cairn(promote).ok();
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn names_of_releases_refs_and_revisions_that_lead_nowhere() {
    let world = world();
    published(&world);
    let before = published_state(&world);
    let store = state(&world.places().store.join("log"));
    for release in ["9-foo", "90", "", "-beta", "9-BETA", "nine", "9.7", "9-", "$RLREL"] {
        for args in [&["promote", "--", release][..], &["stage", "--", release, "Rocky"]] {
            refused(world.cairn(args), 2, &["unknown release", "known: 9, 9-beta, 9-lookahead"]);
        }
    }
    for release in ["9-beta", "9-lookahead", "9-lh"] {
        refused(world.cairn(["promote", release]), 4, &["never gets to production", "hint: "]);
        refused(world.cairn(["promote", "9", release]), 4, &["never gets to production"]);
        refused(world.cairn(["promote", release, "-n"]), 4, &["never gets to production"]);
    }
    for (args, code, part) in [
        (&["rollback", "production/9.6"][..], 1, "there is no ref production/9.6"),
        (&["rollback", "production/9.7"], 1, "published 1 times"),
        (&["rollback", "production/9.7", "--to", "vault/9.6"], 1, "there is no ref vault/9.6"),
        (&["publish", "vault/9.6"], 1, "there is no ref vault/9.6"),
        (&["log", "vault/9.6"], 1, "there is no ref vault/9.6"),
        (&["rollback", "../production"], 2, "is not a ref name"),
        (&["ls", "production/9.7:../etc"], 2, "is not a path in a tree"),
        (&["diff", "production/9.7", "production/9.7~7"], 1, "published 1 times"),
        (&["lists", "production/nowhere"], 2, "no list root is called"),
        (&["promote", "9", "--allow-deletes", "many"], 2, "--allow-deletes"),
        (&["stage", "9"], 2, "required"),
        (&["stage", "9", ""], 2, "is not a name"),
        (&["stage", "9", "No/Such"], 2, "is not a name"),
    ] {
        refused(world.cairn(args), code, &[part]);
    }
    // What is not there yet says how to make it.
    let run = world.cairn(["stage", "9", "Extras"]);
    refused(
        run,
        1,
        &["compose/9/Extras has not been ingested", "hint: run cairn ingest ", "latest-Extras-9"],
    );
    assert_eq!(published_state(&world), before);
    assert_eq!(state(&world.places().store.join("log")), store);
}

#[test]
fn deletions_past_the_floor_are_refused_until_they_are_allowed() {
    let world = world();
    published(&world);
    let written = small_update().write(&world.places().compose).unwrap();
    world.cairn(["ingest", written.latest.to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    let before = published_state(&world);
    let run = world.cairn(["promote", "9", "--delete"]);
    refused(
        run,
        4,
        &["production/9.7: ", "files would be deleted, more than the 10%", "--allow-deletes N%"],
    );
    // A plan says so too, and shows what it is about.
    let plan = world.cairn(["promote", "9", "--delete", "-n"]).exits(4);
    assert!(plan.out().contains("Would be refused: production/9.7: "), "{}", plan.report());
    assert!(plan.out().contains("- BaseOS/x86_64/os/Packages/z/zlib-"), "{}", plan.report());
    refused(world.cairn(["promote", "9", "--delete", "--allow-deletes", "1%"]), 4, &["the 1%"]);
    assert_eq!(published_state(&world), before);
    world.cairn(["promote", "9", "--delete", "--allow-deletes", "60%"]).ok();
    treecmp::assert_equal(&world.staging(STAGING), &world.production(PRODUCTION));
}

#[test]
fn composes_that_are_unfinished_empty_or_nothing() {
    let world = world();
    published(&world);
    let before = published_state(&world);
    let root = &world.places().compose;
    for (date, status) in [("20251201.0", Status::Started), ("20251202.0", Status::Doomed)] {
        let compose = Compose::new("9", "Rocky", "9.7", date).packages_only().status(status);
        let written = compose.repo("BaseOS", "x86_64").package("a", "1-1").write(root).unwrap();
        let path = written.latest.to_str().unwrap();
        let run = world.cairn(["ingest", path]);
        refused(run, 1, &[path, "STATUS is ", "not FINISHED", "hint: --allow-unfinished"]);
        refused(world.cairn(["ingest", path, "-n"]), 1, &["not FINISHED"]);
        assert_eq!(published_state(&world), before);
    }
    let latest = world.latest();
    let run = world.cairn(["ingest", latest.to_str().unwrap(), "--allow-unfinished"]).ok();
    assert!(run.err().contains("taken all the same"), "{}", run.report());

    let empty = root.join("empty");
    fs::create_dir(&empty).unwrap();
    refused(ingest(&world, &empty), 1, &["empty: it is empty; is the file system mounted?"]);
    let missing = root.join("missing");
    refused(ingest(&world, &missing), 1, &["missing", "No such file"]);
    refused(ingest(&world, world.config()), 1, &["cairn.toml", "Not a directory"]);
    let run = world.cairn(["ingest", plain(&world, "nameless").to_str().unwrap()]);
    refused(run, 2, &["nameless", "which ref", "--as compose/9/Rocky"]);
    no_leftovers(&world, "after refused composes");
}

#[test]
fn files_that_no_release_can_hold_are_refused_by_their_path() {
    let world = world();
    published(&world);
    let before = published_state(&world);
    let source = plain(&world, "special");
    let made = hostile::special(&source);
    let kinds = [
        ("fifo", "a fifo cannot be part of a release"),
        ("socket", "a socket cannot be part of a release"),
        ("suid", "set-user-id"),
        ("character-device", "a character device cannot be part of a release"),
        ("block-device", "a block device cannot be part of a release"),
    ];
    let all = available(made).is_some();
    for (name, reason) in kinds.into_iter().filter(|(name, _)| all || !name.ends_with("device")) {
        let dir = world.places().compose.join(format!("one-{name}"));
        fs::create_dir_all(dir.join("below")).unwrap();
        fs::rename(source.join(name), dir.join("below").join(name)).unwrap();
        let started = Instant::now();
        let path = dir.join("below").join(name);
        refused(ingest(&world, &dir), 1, &[path.to_str().unwrap(), reason]);
        assert!(started.elapsed() < Duration::from_secs(20), "{name} was waited for");
        let plan = world.cairn(["ingest", "-n", "--as", "compose/9/X", dir.to_str().unwrap()]);
        refused(plan, 1, &[path.to_str().unwrap()]);
    }
    assert_eq!(published_state(&world), before);
    no_leftovers(&world, "after special files");
}

#[test]
fn names_and_links_are_kept_as_they_are_and_shown_escaped() {
    let world = world();
    world.cairn(["init"]).ok();
    let dir = plain(&world, "hostile");
    let mut names = hostile::names(&dir);
    let links = hostile::symlinks(&dir);
    names.extend(links.iter().cloned());
    ingest(&world, &dir).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.cairn(["promote", "9"]).ok();
    for view in [world.staging(STAGING), world.production(PRODUCTION)] {
        treecmp::assert_equal(&dir, &view);
        for link in &links {
            assert!(view.join(link).is_symlink(), "{link:?}");
            let [here, there] = [&dir, &view].map(|root| fs::read_link(root.join(link)).unwrap());
            assert_eq!(here, there);
        }
    }
    let listed = world.json(["ls", "production/9.7"]);
    let rows = listed["entries"].as_array().unwrap();
    let shown: Vec<Vec<u8>> = rows
        .iter()
        .map(|row| match &row["path"] {
            Value::String(text) => text.clone().into_bytes(),
            encoded => base64(encoded["b64"].as_str().unwrap()),
        })
        .collect();
    for name in &names {
        assert!(shown.iter().any(|found| OsStr::from_bytes(found) == name), "{name:?}");
    }
    let plan =
        world.cairn(["rollback", "production/9.7", "--to", "production/9.7", "-n", "-v"]).ok();
    for text in [
        world.cairn(["ls", "-R", "production/9.7"]).ok().out(),
        world.cairn(["diff", "production/9.7", "production/9.7"]).ok().out(),
        world.cairn(["show", "production/9.7"]).ok().out(),
        plan.out(),
    ] {
        let control = |c: char| c.is_control() && c != '\n';
        assert!(!text.contains(control), "{text:?}");
        assert!(!text.contains('\u{202e}'), "what turns text around is escaped: {text:?}");
    }
    let text = world.cairn(["ls", "production/9.7"]).ok().out();
    assert_eq!(text.lines().count(), rows.len(), "a name is one line\n{text}");
    assert!(text.contains("new\\nline") && text.contains("\\u{1b}[31mred"), "{text}");
    world.cairn(["fsck", "--full"]).ok();
    // Nobody followed a link: what it names is in no pool and in no tree.
    assert!(!text.contains("passwd ") && !world.staging(".cairn/pwned").exists(), "{text}");
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bits = 0u32;
    let (mut count, mut out) = (0, Vec::new());
    for digit in text.bytes().filter(|b| *b != b'=') {
        let value = DIGITS.iter().position(|d| *d == digit).expect("a base64 digit");
        bits = bits << 6 | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

#[test]
fn depth_and_length_are_refused_or_kept_without_a_crash() {
    let world = world();
    world.cairn(["init"]).ok();
    let dir = plain(&world, "deep");
    {
        let _deep = hostile::DeepPath::new(&dir, 1001, 1);
        let run = refused(ingest(&world, &dir), 1, &["levels deep", "deep/d/d/d/"]);
        assert!(run.err().len() < 10_000);
        no_leftovers(&world, "after a deep path");
    }
    let whole = "FUSE is asked by whole paths, and they may not be longer than 4,096 bytes";
    let Some(()) = available(not_on(&[FsKind::Bindfs], whole)) else { return };
    // Longer than a path may be, though not too deep: kept, walked and published.
    let _long = hostile::DeepPath::new(&dir, 30, 200);
    ingest(&world, &dir).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    treecmp::assert_equal(&dir, &world.staging(STAGING));
    world.cairn(["promote", "9"]).ok();
    treecmp::assert_equal(&dir, &world.production(PRODUCTION));
    let rows = world.json(["ls", "-R", "production/9.7"])["entries"].as_array().unwrap().len();
    assert_eq!(rows, 30 + 3);
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn holes_stay_holes_all_the_way() {
    let world = world();
    world.cairn(["init"]).ok();
    let dir = plain(&world, "holes");
    let size = 1 << 30;
    let sparse = hostile::sparse(&dir, size);
    let told = hostile::tells_holes(&fs::File::open(sparse).unwrap());
    let Some(()) = available(told) else { return };
    ingest(&world, &dir).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.cairn(["promote", "9"]).ok();
    let live = world.production(PRODUCTION);
    let stat = fs::metadata(live.join("sparse")).unwrap();
    assert_eq!(stat.len(), size);
    assert!(stat.blocks() * 512 < 1 << 20, "{} bytes are allocated", stat.blocks() * 512);
    treecmp::assert_equal(&dir, &live);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused_or_read_right() {
    let world = world();
    world.cairn(["init"]).ok();
    let dir = plain(&world, "changing");
    for size in [100, 3 << 20] {
        let file = dir.join("file");
        fs::write(&file, vec![7; size]).unwrap();
        let mut refusals = 0;
        for _ in 0..12 {
            let writer = hostile::ChangingWriter::start(&file);
            while writer.rounds() == 0 {
                std::thread::yield_now();
            }
            let run = ingest(&world, &dir);
            drop(writer);
            match run.code() {
                Some(0) => {}
                _ => {
                    refusals += 1;
                    let path = file.to_str().unwrap();
                    refused(run, 1, &[path, "changed while it was read", "hint: wait until"]);
                }
            }
        }
        assert!(refusals > 0, "{size}: it was written to all the time");
        ingest(&world, &dir).ok();
        assert_eq!(
            world.cairn(["cat", "compose/9/Rocky:file"]).ok().stdout,
            fs::read(&file).unwrap()
        );
    }
    // No object has another content than its name says, whatever was caught in between.
    world.cairn(["fsck", "--full"]).ok();
    no_leftovers(&world, "after changing files");
    for prefix in fs::read_dir(world.staging(".cairn/objects")).unwrap() {
        for object in fs::read_dir(prefix.unwrap().path()).unwrap() {
            let path = object.unwrap().path();
            let [name, dir] = [path.file_name(), path.parent().unwrap().file_name()]
                .map(|name| name.unwrap().to_str().unwrap().to_owned());
            let sum = std::process::Command::new("b3sum").arg("--no-names").arg(&path).output();
            if let Ok(sum) = sum {
                assert_eq!(String::from_utf8_lossy(&sum.stdout).trim(), format!("{dir}{name}"));
            }
        }
    }
}

#[test]
fn a_directory_that_is_swapped_for_a_link_leads_nobody_out_of_the_tree() {
    let world = world();
    world.cairn(["init"]).ok();
    let dir = plain(&world, "raced");
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("secret"), "not part of any release").unwrap();
    {
        let racer = hostile::SymlinkRacer::start(&dir, elsewhere.path());
        for _ in 0..20 {
            let run = ingest(&world, &dir);
            assert!([Some(0), Some(1)].contains(&run.code()), "{}", run.report());
        }
        assert!(racer.rounds() > 0);
    }
    ingest(&world, &dir).ok();
    for operation in world.json(["log"])["operations"].as_array().unwrap() {
        let snapshot = operation["refs"][0]["new"].as_str().unwrap();
        let listed = world.cairn(["ls", "-R", snapshot]).ok().out();
        assert!(!listed.contains("secret"), "{listed}");
    }
}

/// Places with one mount on another file system.
fn on_loop(dir: &Path, name: &str, other: &Loop) -> World {
    let mut places = Places::below(dir);
    let place = if name == "staging" { &mut places.staging } else { &mut places.production };
    *place = other.path().to_owned();
    World::at(env!("CARGO_BIN_EXE_cairn"), places)
}

/// Takes what is free of a file system.
fn fill(dir: &Path) -> PathBuf {
    let path = dir.join("filler");
    let mut file = File::create(&path).unwrap();
    for size in [1 << 20, 4096, 1] {
        while std::io::Write::write_all(&mut file, &vec![1; size]).is_ok() {}
    }
    path
}

#[test]
fn a_full_disk_ends_an_ingest_and_a_promotion_and_leaves_what_was_there() {
    for name in ["staging", "production"] {
        let Some(other) = available(Loop::new(FsKind::Tmpfs, 12 << 20)) else { return };
        let temp = tempfile::tempdir().unwrap();
        let world = on_loop(temp.path(), name, &other);
        published(&world);
        let before = published_state(&world);
        // More than the file system takes, in files that each fit: refused early or late.
        let dir = plain(&world, "large");
        for number in 0..24u8 {
            fs::write(dir.join(format!("{number}")), vec![number; 1 << 20]).unwrap();
        }
        let run = match name {
            "staging" => ingest(&world, &dir),
            _ => {
                ingest(&world, &dir).ok();
                world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
                world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%"])
            }
        };
        let run = refused(run, 1, &[other.path().to_str().unwrap()]);
        let said = run.err();
        assert!(said.contains("are free") || said.contains("No space left"), "{said}");
        let after = published_state(&world);
        assert_eq!(after.2, before.2, "{name}");
        if name == "staging" {
            assert_eq!(after, before);
        }
        no_leftovers(&world, name);
        // Full to the last byte: the way back needs nothing, a new object says what is missing.
        let filler = fill(other.path());
        let tiny = plain(&world, "tiny");
        if name == "staging" {
            refused(ingest(&world, &tiny), 1, &[other.path().to_str().unwrap()]);
            no_leftovers(&world, name);
        }
        world.cairn(["log"]).ok();
        world.cairn(["fsck"]).ok();
        fs::remove_file(filler).unwrap();
        // With room it works as if nothing had been, and what counts of a file are not its holes.
        let sparse = hostile::sparse(&tiny, 64 << 20);
        if hostile::tells_holes(&File::open(&sparse).unwrap()).is_err() {
            fs::remove_file(sparse).unwrap();
        }
        ingest(&world, &tiny).ok();
        world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
        world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%"]).ok();
        treecmp::assert_equal(&tiny, &world.production(PRODUCTION));
        world.cairn(["fsck", "--full"]).ok();
        no_leftovers(&world, name);
    }
}

#[test]
fn a_rollback_to_a_kept_tree_works_on_a_full_disk() {
    for swap in ["exchange", "symlink"] {
        let Some(other) = available(Loop::new(FsKind::Ext4, 24 << 20)) else { return };
        let temp = tempfile::tempdir().unwrap();
        let world = on_loop(temp.path(), "production", &other);
        world.configure("mounts.production", &format!("swap = \"{swap}\""));
        published(&world);
        let live = || treecmp::digest(&world.production(PRODUCTION).canonicalize().unwrap());
        let first = live();
        small_update().write(&world.places().compose).unwrap();
        publish(&world);
        let second = live();
        assert_ne!(first, second);
        let filler = fill(other.path());
        let report = world.json(["rollback", "production/9.7"]);
        assert_eq!(
            (&report["views"][0]["source"], &report["views"][0]["swapped"]),
            (&"kept".into(), &true.into())
        );
        assert_eq!(live(), first, "{swap}");
        fs::remove_file(filler).unwrap();
        world.cairn(["rollback", "production/9.7"]).ok();
        assert_eq!(live(), second, "{swap}");
        world.cairn(["publish"]).ok();
        world.cairn(["fsck", "--full"]).ok();
    }
}

#[test]
fn a_read_only_mount_is_named_and_nothing_happens() {
    let Some(other) = available(Loop::new(FsKind::Ext4, 24 << 20)) else { return };
    let temp = tempfile::tempdir().unwrap();
    let world = on_loop(temp.path(), "production", &other);
    published(&world);
    small_update().write(&world.places().compose).unwrap();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    let before = published_state(&world);
    if available(other.remount("ro")).is_none() {
        return;
    }
    let promote = ["promote", "9", "--delete", "--allow-deletes", "100%"];
    refused(world.cairn(promote), 1, &[other.path().to_str().unwrap(), "Read-only", "hint: "]);
    assert_eq!(published_state(&world), before);
    world.cairn(["status"]).ok();
    world.cairn(["fsck"]).ok();
    world.cairn([&promote[..], &["-n"]].concat()).ok();
    other.remount("rw").unwrap();
    world.cairn(promote).ok();
    world.cairn(["fsck", "--full"]).ok();
    no_leftovers(&world, "after a read-only mount");
}

#[test]
fn content_that_changes_behind_size_and_time_gets_a_later_time_and_is_said() {
    let world = world();
    published(&world);
    let path = "BaseOS/x86_64/os/.discinfo";
    let compose = world.latest().join("compose");
    let time = |root: &Path| fs::metadata(root.join(path)).unwrap().modified().unwrap();
    let before = time(&world.production(PRODUCTION));
    hostile::same_size_same_mtime(&compose.join(path));
    assert_eq!(time(&compose), before);
    let report = world.json(["ingest", world.latest().to_str().unwrap()]);
    assert_eq!(report["times_moved"], serde_json::json!([path]));
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    let plan = world.cairn(["promote", "9", "--delete", "-n"]).ok();
    assert!(plan.out().contains(path), "{}", plan.report());
    world.cairn(["promote", "9", "--delete"]).ok();
    let live = world.production(PRODUCTION);
    assert_eq!(fs::read(live.join(path)).unwrap(), fs::read(compose.join(path)).unwrap());
    assert!(time(&live) > before, "rsync -a would never carry it over");
    assert!(time(&live) < SystemTime::now());

    // Staged by hand at once, without an ingest in between: promotion notices by itself.
    let other = crate::world();
    published(&other);
    let compose = other.latest().join("compose");
    hostile::same_size_same_mtime(&compose.join(path));
    let args = ["ingest", "--as", "compose/9/Rocky2", compose.to_str().unwrap()];
    assert_eq!(other.json(args)["times_moved"], serde_json::json!([]), "a new ref has no past");
    let staged = other.json(["stage", "9", "Rocky2", "--delete"]);
    assert_eq!(staged["times_moved"], serde_json::json!([path]));
    let text = other.cairn(["promote", "9", "--delete"]).ok();
    assert!(time(&other.production(PRODUCTION)) > before, "{}", text.report());
}

#[test]
fn a_dry_run_of_any_verb_writes_nothing_at_all() {
    let world = world();
    let everything = |world: &World| {
        settle();
        [
            &world.places().store,
            &world.places().staging,
            &world.places().production,
            &world.places().compose,
        ]
        .map(|place| state(place))
    };
    small().write(&world.places().compose).unwrap();
    let before = everything(&world);
    world.cairn(["init", "-n"]).ok();
    assert_eq!(everything(&world), before, "init");

    world.cairn(["init"]).ok();
    let latest = world.latest();
    let latest = latest.to_str().unwrap();
    let dry = |args: &[&str]| {
        let before = everything(&world);
        let run = world.cairn([args, &["-n"]].concat()).ok();
        assert!(run.out().contains("Nothing was written."), "{args:?}\n{}", run.report());
        let after = everything(&world);
        let changed: Vec<_> = before
            .iter()
            .flatten()
            .filter(|line| !after.iter().flatten().any(|other| other == *line))
            .collect();
        assert!(before == after, "{args:?} changed {changed:#?}");
    };
    // First publications, where even directories are missing.
    dry(&["ingest", latest]);
    world.cairn(["ingest", latest]).ok();
    dry(&["stage", "9", "Rocky", "--delete"]);
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    dry(&["promote", "9"]);
    world.cairn(["promote", "9"]).ok();
    // And with something behind.
    small_update().write(&world.places().compose).unwrap();
    publish(&world);
    small()
        .repo("BaseOS", "x86_64")
        .package("nano", "1-1")
        .write(&world.places().compose.join("x"))
        .unwrap();
    let third = world.places().compose.join("x/9/latest-Rocky-9");
    dry(&["ingest", third.to_str().unwrap()]);
    world.cairn(["ingest", third.to_str().unwrap()]).ok();
    dry(&["stage", "9", "Rocky"]);
    dry(&["stage", "9", "Rocky", "--delete"]);
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    dry(&["promote", "9", "--allow-deletes", "100%"]);
    dry(&["promote", "9", "--delete", "--allow-deletes", "100%"]);
    dry(&["rollback", "production/9.7"]);
    dry(&["rollback", "production/9.7", "--to", "compose/9/Rocky"]);
    dry(&["publish"]);
    dry(&["lists"]);
}

#[test]
fn adding_keeps_what_the_new_side_lacks_and_describes_it() {
    let world = world();
    let write = |compose: Compose, text: &str| {
        let compose = compose
            .file("compose/Minimal/x86_64/iso/m.iso", text)
            .file("compose/BaseOS/x86_64/os/extra.txt", text);
        let written = compose.write(&world.places().compose).unwrap();
        fs::write(written.dir.join("compose/BaseOS/x86_64/os/EULA"), text).unwrap();
    };
    write(small(), "first");
    world.cairn(["init"]).ok();
    publish(&world);
    write(small_update(), "second is longer");
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky"]).ok();
    let compose = world.latest().join("compose");
    let packages = |root: &Path| {
        let mut names = Vec::new();
        for letter in fs::read_dir(root.join("BaseOS/x86_64/os/Packages")).unwrap() {
            for name in fs::read_dir(letter.unwrap().path()).unwrap() {
                let name = name.unwrap().file_name().into_string().unwrap();
                names.push(name.split('.').next().unwrap().to_owned());
            }
        }
        names.sort();
        names
    };
    let check = |root: &Path| {
        // Older packages stay beside the newer.
        assert_eq!(packages(root), ["bash-5", "bash-5", "glibc-2", "ripgrep-14", "zlib-1"]);
        // Metadata describes both, and the compose's own would not.
        metadata::repos(root).values().for_each(metadata::Repo::assert_true);
        assert_eq!(metadata::repos(root)[Path::new("BaseOS/x86_64/os")].packages().len(), 5);
        assert_eq!(metadata::repos(&compose)[Path::new("BaseOS/x86_64/os")].packages().len(), 3);
        let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
        assert_eq!(read("BaseOS/x86_64/os/extra.txt"), "second is longer");
        // What update syncs leave out stays as the release had it.
        assert_eq!(read("BaseOS/x86_64/os/EULA"), "first");
        assert_eq!(read("Minimal/x86_64/iso/m.iso"), "first");
    };
    check(&world.staging(STAGING));
    world.cairn(["promote", "9", "--allow-deletes", "100%"]).ok();
    check(&world.production(PRODUCTION));

    // An exact staging, promoted so that production keeps what staging lacks.
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    // Content that did not change keeps the time it had.
    let options = treecmp::Options { mtime: treecmp::On::Nothing, ..Default::default() };
    assert_eq!(treecmp::compare_with(&compose, &world.staging(STAGING), &options), []);
    world.cairn(["promote", "9"]).ok();
    assert_eq!(packages(&world.production(PRODUCTION)).len(), 5);
    world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%"]).ok();
    assert_eq!(treecmp::compare_with(&compose, &world.production(PRODUCTION), &options), []);
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn what_others_put_at_a_view_s_path_is_never_replaced() {
    let world = world();
    small().write(&world.places().compose).unwrap();
    world.cairn(["init"]).ok();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    let path = world.staging(STAGING);
    let stage = ["stage", "9", "Rocky", "--delete"];
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("by-hand"), "precious").unwrap();
    let [of_directory, of_link] = match exchanges() {
        Ok(()) => ["was not published by cairn", "symbolic link"],
        Err(_) => [
            "it is a directory, and this mount swaps symbolic links",
            "a link that was not published by cairn",
        ],
    };
    refused(world.cairn(stage), 4, &[path.to_str().unwrap(), of_directory, "hint: move it away"]);
    assert_eq!(fs::read_to_string(path.join("by-hand")).unwrap(), "precious");
    fs::remove_dir_all(&path).unwrap();
    std::os::unix::fs::symlink("/etc", &path).unwrap();
    refused(world.cairn(stage), 4, &[of_link]);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "a file").unwrap();
    refused(world.cairn(stage), 4, &["not a directory"]);
    fs::remove_file(&path).unwrap();
    assert_eq!(world.json(["log"])["operations"].as_array().unwrap().len(), 1);
    // An empty directory holds nothing to lose, but no link can be renamed over it.
    let Some(()) = available(exchanges()) else { return };
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    world.cairn(stage).ok();
    treecmp::assert_equal(&world.latest().join("compose"), &path);
}
