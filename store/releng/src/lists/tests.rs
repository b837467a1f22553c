#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "tests put files beside what is published, and say what they could not check"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::thread::sleep;
use std::time::Duration;

use cairn_store::progress::Silent;

use super::*;
use world::{Notes, PAST, World, put, root, set_mode, set_mtime};

mod world;

const TIMES: &str = "fullfiletimelist-rocky";
const NINE: (&str, &str) = ("production/9.7", "pub/9.7");

/// A time that no publication in these tests reaches: 2040.
const FUTURE: u64 = 2_208_988_800;

fn small() -> World {
    let world = World::new(vec![root("pub", &["fullfilelist", TIMES])], &[NINE]);
    world.file("BaseOS/os/Packages/a.rpm", "a");
    world.file("BaseOS/os/Packages/b.rpm", "b");
    world.file("BaseOS/os/repodata/repomd.xml", "<repomd/>");
    world
}

/// Returns a list's rows by their paths.
fn rows(list: &str) -> BTreeMap<&str, &str> {
    let files = list.lines().skip_while(|line| *line != "[Files]").skip(1);
    let rows = files.take_while(|line| !line.is_empty());
    rows.map(|row| (row.splitn(4, '\t').nth(3).unwrap(), row)).collect()
}

fn assert_same(found: &str, wanted: &str, label: &str) {
    for (number, (found, wanted)) in found.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(found, wanted, "{label}, line {number}");
    }
    assert_eq!(found.len(), wanted.len(), "{label}");
}

/// Compares every list with the plain rendering.
fn assert_naive(world: &World, dirs: &BTreeMap<Vec<u8>, i64>) {
    for list_root in &world.roots {
        let (paths, times) = world.naive(&list_root.path, dirs);
        for file in &list_root.files {
            let path = Path::new(&list_root.path).join(&file.name);
            let found = fs::read(world.at(path.to_str().unwrap())).unwrap();
            let wanted = match file.kind {
                ListKind::Paths => &paths,
                ListKind::Times => &times,
            };
            assert_same(&String::from_utf8_lossy(&found), wanted, path.to_str().unwrap());
        }
    }
}

#[test]
fn lists_agree_line_by_line_with_a_plain_rendering() {
    let roots = vec![
        root("", &["fullfilelist", TIMES, "fullfiletimelist"]),
        root("pub", &["fullfilelist", TIMES]),
        root("vault", &["fullfiletimelist-vault"]),
        root("nowhere", &["fullfilelist"]),
    ];
    let views = [NINE, ("production/9.7-x", "pub/9.7-x"), ("vault/9.6", "vault/9.6")];
    let mut world = World::new(roots, &views);
    for path in ["a/x", "a-b", "a.b/c", "a0/repodata/repomd.xml", "a/b/c", "a!/d", "e\u{e9}/f"] {
        world.file(path, path);
    }
    fs::create_dir_all(world.source("empty/dir")).unwrap();
    symlink("a/x", world.source("link")).unwrap();
    symlink("nowhere", world.source("dangling")).unwrap();
    symlink("../README", world.source("out")).unwrap();
    fs::write(world.source("zero"), "").unwrap();
    set_mode(&world.source("a0"), 0o750);
    set_mode(&world.source("a!/d"), 0o640);
    set_mode(&world.source("a.b/c"), 0o600);
    world.age();
    put(&world.at("pub/README"), "read me");
    put(&world.at("RPM-GPG-KEY"), "key");
    put(&world.at("pub/keys/repodata/repomd.xml"), "live");
    fs::create_dir(world.at("vault")).unwrap();
    world.publish("production/9.7");
    world.file("a/x", "xx");
    world.publish("production/9.7-x");
    world.publish("vault/9.6");
    symlink("9.7", world.at("pub/9")).unwrap();
    symlink("gone", world.at("pub/8")).unwrap();

    let dirs = world.dir_times();
    let reports = world.write();
    assert_eq!(reports.len(), 6);
    world.roots.pop();
    assert_naive(&world, &dirs);
    for report in &reports {
        assert!(report.changed);
        let path = Path::new(report.root.strip_prefix("production").unwrap().trim_matches('/'));
        let text = fs::read(world.at(path.join(&report.name).to_str().unwrap())).unwrap();
        assert_eq!(report.bytes, text.len() as u64);
        let text = String::from_utf8_lossy(&text);
        let lines = match report.name.as_str() {
            "fullfilelist" => text.lines().count(),
            _ => rows(&text).len(),
        };
        assert_eq!(report.entries, lines as u64, "{report:?}");
    }

    // And after more publications, with and without lists in between.
    for round in 0..3 {
        world.file("a/x", &format!("round {round}"));
        fs::remove_dir_all(world.source("a.b")).ok();
        world.age();
        world.publish("production/9.7");
        if round != 1 {
            world.write();
            assert_naive(&world, &dirs);
        }
    }
}

#[test]
fn a_tree_of_many_units_is_listed_in_order() {
    let world = World::new(vec![root("", &["fullfilelist", TIMES])], &[NINE]);
    for number in 0..2500 {
        put(&world.source(&format!("flat/{number}.rpm")), "x");
        put(&world.source(&format!("deep/{}/{}/{number}", number % 7, number % 50)), "y");
    }
    for name in ["flat/1-", "flat/1/in", "flat/1.rpm-/in", "flat/~"] {
        put(&world.source(name), "z");
    }
    world.age();
    world.publish(NINE.0);
    let dirs = world.dir_times();
    world.write();
    assert_naive(&world, &dirs);

    // A change in the last row: what agreed until there is taken from the list that was there.
    let before = world.lists();
    put(&world.source("flat/~"), "zz");
    world.age();
    world.publish(NINE.0);
    assert_eq!(world.write_changed(), ["production/fullfiletimelist-rocky"]);
    assert_naive(&world, &dirs);
    assert!(before[TIMES].len() > 3 << 16, "the test shall pass a few buffers");
    assert_eq!(fs::read(world.at(&format!("{TIMES}-old"))).unwrap(), before[TIMES].as_bytes());
    assert!(!world.at("fullfilelist-old").exists());
}

#[test]
fn unchanged_rows_stay_byte_for_byte() {
    let world = small();
    world.publish(NINE.0);
    world.write();
    let before = world.lists();
    let (paths, times) = ("pub/fullfilelist", format!("pub/{TIMES}"));

    world.file("BaseOS/os/Packages/b.rpm", "b2");
    set_mtime(&world.source("BaseOS/os/Packages/b.rpm"), FUTURE);
    world.publish(NINE.0);
    assert_eq!(world.write_changed(), [format!("production/{times}")]);
    let after = world.lists();
    assert_eq!(after[paths], before[paths]);
    let (old, new) = (rows(&before[&times]), rows(&after[&times]));
    for (path, row) in &new {
        match *path {
            "9.7/BaseOS/os/Packages/b.rpm" => {
                assert_eq!(*row, format!("{FUTURE}\tf\t2\t{path}"));
            }
            path => assert_eq!(*row, old[path]),
        }
    }
    assert_eq!(fs::read_to_string(world.at(&format!("{times}-old"))).unwrap(), before[&times]);
    let meta = fs::metadata(world.at(&times)).unwrap();
    assert_eq!(meta.mode() & 0o7777, 0o644);
    assert!(meta.mtime() > PAST as i64);
}

#[test]
fn a_directory_row_changes_with_its_mode_and_time_only() {
    let world = small();
    world.publish(NINE.0);
    world.write();
    let times = format!("pub/{TIMES}");
    let before = world.lists();
    // Another content under the same mode and time of the directories.
    world.file("BaseOS/os/Packages/c.rpm", "c");
    set_mtime(&world.source("BaseOS/os"), FUTURE);
    set_mtime(&world.source("BaseOS/os/Packages/c.rpm"), FUTURE + 1);
    world.publish(NINE.0);
    world.write();
    let after = world.lists();
    let (old, new) = (rows(&before[&times]), rows(&after[&times]));
    let changed: Vec<_> = new.iter().filter(|(path, row)| old.get(*path) != Some(*row)).collect();
    let paths: Vec<_> = changed.iter().map(|(path, _)| **path).collect();
    assert_eq!(paths, ["9.7/BaseOS/os", "9.7/BaseOS/os/Packages/c.rpm"]);
    assert!(changed[0].1.starts_with(&format!("{FUTURE}\td\t")), "{}", changed[0].1);
}

#[test]
fn nothing_changed_touches_nothing() {
    let world = small();
    put(&world.at("pub/README"), "x");
    world.publish(NINE.0);
    let first = world.write();
    let stat = |path: &Path| {
        let meta = path.symlink_metadata().unwrap();
        (path.to_owned(), meta.ino(), meta.mtime_nsec(), meta.mtime(), meta.ctime_nsec())
    };
    let state = || -> Vec<_> {
        world::walk(&world.at("")).into_iter().map(|(path, _)| stat(&path)).collect()
    };
    let before = state();
    sleep(Duration::from_millis(20));
    let second = world.write();
    assert_eq!(state(), before, "a run without work wrote something");
    for (first, second) in first.iter().zip(&second) {
        assert!(first.changed && !second.changed);
        assert_eq!(ListReport { changed: false, ..first.clone() }, *second);
    }

    // Without the key everything is rendered, and still no list is touched.
    fs::remove_file(world.at(".cairn/lists/pub.key")).unwrap();
    let lists = || ["fullfilelist", TIMES].map(|name| stat(&world.at("pub").join(name)));
    let before = lists();
    assert_eq!(world.write(), second);
    assert_eq!(lists(), before);
    assert!(!world.at(&format!("pub/{TIMES}-old")).exists());

    // A publication of the same content likewise.
    world.publish(NINE.0);
    assert_eq!(world.write(), second);
    assert_eq!(lists(), before);

    // Somebody who edits a list is noticed.
    fs::write(world.at("pub/fullfilelist"), "./nothing\n").unwrap();
    assert_eq!(world.write_changed(), ["production/pub/fullfilelist"]);
}

#[test]
fn lost_or_damaged_state_gives_the_same_lists() {
    let world = small();
    put(&world.at("pub/keys/KEY"), "key");
    let first = world.publish(NINE.0);
    world.write();
    sleep(Duration::from_millis(1100));
    world.file("BaseOS/os/Packages/b.rpm", "b2");
    world.file("BaseOS/os/Packages/c/d.rpm", "d");
    world.publish(NINE.0);
    world.write();
    world.roll_back(NINE.0, first);
    world.file("BaseOS/os/Packages/a.rpm", "a2");
    world.publish(NINE.0);
    world.write();
    let lists = world.lists();
    let state = world.at(".cairn/lists");
    let times = state.join("production+9.7.times");

    fs::remove_dir_all(&state).unwrap();
    assert_eq!(world.write_changed(), [""; 0]);
    assert_eq!(world.lists(), lists);

    // Without the lists too: the times are the log's. (Directories above views are not.)
    fs::remove_file(&times).unwrap();
    fs::remove_file(world.at(&format!("pub/{TIMES}"))).unwrap();
    assert_eq!(world.write_changed(), [format!("production/pub/{TIMES}")]);
    assert_eq!(world.lists(), lists);

    let good = fs::read(&times).unwrap();
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert_eq!(Times::decode(&bad), None, "byte {at}");
        assert_eq!(Times::decode(&good[..at]), None, "cut at {at}");
    }
    for (name, bytes) in [("production+9.7.times", "damaged"), ("pub.dirs", ""), ("pub.key", "{")] {
        fs::write(state.join(name), bytes).unwrap();
    }
    assert_eq!(world.write_changed(), [""; 0]);
    assert_eq!(world.lists(), lists);
    assert_eq!(fs::read(&times).unwrap(), good);
    assert_eq!(Times::decode(&good).unwrap().encode(), good);
}

#[test]
fn a_rollback_is_a_publication_of_what_it_changes() {
    let world = small();
    let first = world.publish(NINE.0);
    world.write();
    let before = world.lists();
    world.file("BaseOS/os/Packages/b.rpm", "b2");
    world.publish(NINE.0);
    world.write();
    sleep(Duration::from_millis(1100));
    world.roll_back(NINE.0, first);
    world.write();
    let after = world.lists();
    let times = format!("pub/{TIMES}");
    let head = world.store.head().unwrap().unwrap().number;
    let now = world.store.operation(head).unwrap().time.as_second();
    let (old, new) = (rows(&before[&times]), rows(&after[&times]));
    let path = "9.7/BaseOS/os/Packages/b.rpm";
    assert_ne!(old[path], new[path]);
    assert_eq!(new[path], format!("{now}\tf\t1\t{path}"));
    let changed = new.iter().filter(|(path, row)| old[*path] != **row).count();
    assert_eq!(changed, 1);
}

#[test]
fn rows_follow_the_rules_of_the_format() {
    // Path in the view, mode, and the type in the list; nothing where the path is left out.
    const CASES: &[(&str, u32, Option<&str>)] = &[
        ("plain", 0o644, Some("f")),
        ("others-not", 0o640, Some("f-")),
        ("group-not", 0o604, None),
        ("nobody", 0o600, None),
        ("open/file", 0o644, Some("f")),
        ("closed/file", 0o644, Some("f*")),
        ("closed/secret", 0o640, Some("f-")),
        ("closed/deep/file", 0o644, Some("f*")),
        ("hidden/file", 0o644, None),
        (".~tmp~/file", 0o644, None),
        (".nfs0001", 0o644, None),
        ("open/.nfs0001", 0o644, None),
        (".nothidden", 0o644, Some("f")),
    ];
    for managed in [true, false] {
        let world = World::new(vec![root("pub", &["fullfilelist", TIMES])], &[NINE]);
        world.file("x", "x");
        let at = |path: &str| match managed {
            true => world.source(path),
            false => world.at("pub/9.7").join(path),
        };
        for (path, mode, _) in CASES {
            put(&at(path), path);
            set_mode(&at(path), *mode);
        }
        symlink("plain", at("link")).unwrap();
        symlink("missing", at("dangling")).unwrap();
        symlink("../plain", at("closed/link")).unwrap();
        set_mode(&at("closed"), 0o750);
        set_mode(&at("hidden"), 0o700);
        world.age();
        if managed {
            world.publish(NINE.0);
        }
        world.write();
        let lists = world.lists();
        let times = rows(&lists[&format!("pub/{TIMES}")]);
        let kind = |path: &str| {
            let row = times.get(format!("9.7/{path}").as_str())?;
            Some(row.split('\t').nth(1).unwrap().to_owned())
        };
        for (path, mode, wanted) in CASES {
            assert_eq!(kind(path).as_deref(), *wanted, "{path} {mode:o} managed: {managed}");
        }
        for (path, wanted) in [
            ("link", Some("l")),
            ("dangling", None),
            ("closed", Some("d-")),
            ("closed/deep", Some("d*")),
            ("closed/link", Some("l*")),
            ("hidden", None),
        ] {
            assert_eq!(kind(path).as_deref(), wanted, "{path} managed: {managed}");
        }
        // find names all of them, but for what is there for a moment only.
        let paths: Vec<_> = lists["pub/fullfilelist"].lines().collect();
        assert_eq!(paths[..2], [".", "./9.7"]);
        for path in ["nobody", "hidden/file", "dangling"] {
            assert!(paths.contains(&format!("./9.7/{path}").as_str()), "{path}");
        }
        assert!(!paths.iter().any(|path| path.contains(".nfs") || path.contains(".~tmp~")));
    }
}

#[test]
fn nested_roots_do_not_name_each_others_lists() {
    let names = ["fullfilelist", TIMES];
    let roots = vec![root("", &names), root("pub", &names)];
    let world = World::new(roots, &[NINE]);
    world.file("fullfilelist", "a file of the release");
    world.publish(NINE.0);
    world.write();
    world.file("another", "file");
    world.publish(NINE.0);
    world.write();
    for path in ["fullfilelist-old", "pub/fullfilelist-old", &format!("pub/{TIMES}-old")] {
        assert!(world.at(path).exists(), "{path}");
    }
    for (path, list) in world.lists() {
        let named: Vec<_> = list.lines().filter(|line| line.contains("fullfile")).collect();
        assert_eq!(named.len(), 1, "{path}: {named:?}");
        assert!(named[0].ends_with("9.7/fullfilelist"), "{path}: {named:?}");
        assert!(!list.contains(".cairn"), "{path}");
    }
    // Names with one content are one file, as nothing ever writes into a list.
    let world = World::new(vec![root("", &[TIMES, "fullfiletimelist"])], &[NINE]);
    world.file("x", "x");
    world.publish(NINE.0);
    world.write();
    assert_eq!(world.lists()[TIMES], world.lists()["fullfiletimelist"]);
}

#[test]
fn a_name_with_a_newline_is_left_out_and_reported_once() {
    let names = ["fullfilelist", TIMES];
    let world = World::new(vec![root("", &names), root("pub", &names)], &[NINE]);
    world.file("good", "x");
    world.file("bad\ndir/file", "x");
    world.publish(NINE.0);
    put(&world.at("pub/bad\nkey"), "x");
    let notes = Notes::default();
    world.try_write(&notes, Mode::Apply).unwrap();
    assert_eq!(
        *notes.0.lock().unwrap(),
        [
            "No mirror list can hold the name pub/9.7/bad\\ndir; it is left out.",
            "No mirror list can hold the name pub/bad\\nkey; it is left out.",
        ]
    );
    for (path, list) in world.lists() {
        assert!(!list.contains("bad") && !list.contains("key"), "{path}");
        assert!(list.contains("9.7/good"), "{path}");
    }
}

#[test]
fn a_name_that_is_not_utf8_is_kept_as_bytes() {
    let world = small();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
    fs::write(world.source("").join(name), "x").unwrap();
    world.publish(NINE.0);
    world.write();
    let list = fs::read(world.at("pub/fullfilelist")).unwrap();
    assert!(list.windows(12).any(|bytes| bytes == b"\n./9.7/caf\xe9\n"));
}

#[test]
fn a_dry_run_writes_nothing_and_says_what_it_would() {
    let world = small();
    world.publish(NINE.0);
    let state = || -> Vec<_> {
        let all = world::walk(&world.at("")).into_iter();
        all.map(|(path, meta)| (path, meta.ino(), meta.ctime(), meta.ctime_nsec())).collect()
    };
    let before = state();
    let planned = world.try_write(&Silent, Mode::DryRun).unwrap();
    assert_eq!(state(), before);
    assert!(!world.at(".cairn/lists").exists());
    assert_eq!(world.write(), planned);
    let planned = world.try_write(&Silent, Mode::DryRun).unwrap();
    assert!(planned.iter().all(|report| !report.changed));
    world.file("BaseOS/os/Packages/b.rpm", "b2");
    world.publish(NINE.0);
    let before = state();
    let planned = world.try_write(&Silent, Mode::DryRun).unwrap();
    assert_eq!(state(), before);
    let changed: Vec<_> = planned.iter().map(|report| report.changed).collect();
    assert_eq!(changed, [false, true]);
    assert_eq!(world.write(), planned);
}

#[test]
fn a_root_in_a_view_is_refused_and_one_that_is_missing_is_skipped() {
    let mut world = small();
    world.publish(NINE.0);
    for path in ["pub/9.7", "pub/9.7/BaseOS"] {
        world.roots = vec![root(path, &["fullfilelist"])];
        let error = world.try_write(&Silent, Mode::Apply).unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
        assert!(error.to_string().ends_with("lists cannot be in a view, and pub/9.7 is one"));
    }
    world.roots = vec![root("pub/9.70", &["fullfilelist"]), root("pub", &["fullfilelist"])];
    assert_eq!(world.write_changed(), ["production/pub/fullfilelist"]);
    let dir = Dir::open(&world.at(".cairn/lists")).unwrap();
    let _held = Workshop::open(&world.store, &world.mount(), dir).unwrap();
    fs::remove_file(world.at("pub/fullfilelist")).unwrap();
    let error = world.try_write(&Silent, Mode::Apply).unwrap_err();
    assert!(
        matches!(&error, Error::Busy { what, .. } if what == "the lists of production"),
        "{error}"
    );
}

#[test]
fn repomd_checksums_are_those_of_the_bytes_and_are_kept() {
    let world = small();
    world.publish(NINE.0);
    put(&world.at("pub/oval/repomd.xml"), "<repomd/>");
    world.write();
    let list = &world.lists()[&format!("pub/{TIMES}")];
    // printf '<repomd/>' | sha1sum
    let sum = cairn_store::id::hex(&<sha1::Sha1 as sha1::Digest>::digest(b"<repomd/>"));
    let tail = format!(
        "\n\n[Checksums SHA1]\n{sum}\t9.7/BaseOS/os/repodata/repomd.xml\n{sum}\toval/repomd.xml\n\n[End]\n"
    );
    assert!(list.ends_with(&tail), "{list}");
    let sums = world.store.index().view().unwrap().digests("sha1").unwrap();
    let id = cairn_store::id::ObjectId::of(b"<repomd/>");
    assert_eq!(sums.get(&id).unwrap().map(|d| cairn_store::id::hex(&d)), Some(sum));
}

#[test]
fn directories_above_views_keep_the_time_they_were_first_seen_with() {
    let world = World::new(vec![root("", &[TIMES]), root("pub", &[TIMES])], &[NINE]);
    world.file("x", "x");
    world.publish(NINE.0);
    set_mtime(&world.at("pub"), PAST);
    world.write();
    let before = rows(&world.lists()[TIMES])["pub"].to_owned();
    sleep(Duration::from_millis(1100));
    fs::create_dir(world.at("pub/keys")).unwrap();
    world.file("x", "xx");
    world.publish(NINE.0);
    world.write();
    assert_eq!(rows(&world.lists()[TIMES])["pub"], before);
    assert!(rows(&world.lists()[TIMES]).contains_key("pub/keys"));
}

#[test]
fn a_second_run_changes_nothing_where_directories_count_their_names() {
    // tmpfs, where a directory's size is the number of its names.
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("not checked: there is no tmpfs at /dev/shm");
        return;
    };
    let names = ["fullfilelist", TIMES];
    let roots = vec![root("", &names), root("pub", &names), root("pub/sub", &names)];
    let world = World::in_dir(dir, roots, &[NINE]);
    put(&world.at("pub/sub/key"), "key");
    world.file("x", "x");
    world.publish(NINE.0);
    let dirs = world.dir_times();
    for text in ["xx", "xxx", "xxxx"] {
        let before = world.at(TIMES).exists().then(|| world.lists());
        world.write();
        assert_naive(&world, &dirs);
        assert_eq!(world.write_changed(), [""; 0], "before {text}");
        for (path, list) in before.unwrap_or_default() {
            let old = fs::read_to_string(world.at(&format!("{path}-old")));
            // A list that never changed has no predecessor.
            assert!(old.is_err() || old.unwrap() == list, "{path}");
        }
        world.file("x", text);
        world.publish(NINE.0);
    }
}
