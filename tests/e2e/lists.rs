//! The mirror lists against a naive walk, and how little of them a publication changes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_testkit::sample::Written;
use cairn_testkit::{Run, World};

use crate::filesystems::{PRODUCTION, children, contents, publish, release, update};
use crate::world;

/// The roots that exist after a promotion of release 9, and the lists of each.
const ROOTS: [(&str, &[&str]); 2] = [
    ("", &["fullfilelist", "fullfiletimelist-rocky", "fullfiletimelist"]),
    (
        "mirror/pub/rocky",
        &[
            "fullfilelist",
            "fullfiletimelist-rocky",
            "fullfiletimelist",
            "fullfiletimelist-rocky-linux",
        ],
    ),
];

/// A row of a time list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub time: i64,
    pub kind: String,
    pub size: u64,
}

/// A time list, read by its description.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TimeList {
    pub rows: BTreeMap<Vec<u8>, Row>,
    pub checksums: BTreeMap<Vec<u8>, String>,
}

/// Reads a time list strictly: every line has its place, and rows ascend bytewise.
#[track_caller]
pub(crate) fn read_times(path: &Path) -> TimeList {
    let bytes = fs::read(path).unwrap();
    let mut lines = bytes.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n');
    let mut expect = |wanted: &str| assert_eq!(lines.next(), Some(wanted.as_bytes()));
    for line in ["[Version]", "2", "", "[Files]"] {
        expect(line);
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (mut rows, mut last) = (BTreeMap::new(), Vec::new());
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let fields: Vec<&[u8]> = line.splitn(4, |byte| *byte == b'\t').collect();
        let [time, kind, size, path] = fields[..] else { panic!("{:?}", text(line)) };
        assert!(last.as_slice() < path, "{:?} after {:?}", text(path), text(&last));
        last = path.to_vec();
        let (time, size) = (text(time).parse().unwrap(), text(size).parse().unwrap());
        rows.insert(path.to_vec(), Row { time, kind: text(kind), size });
    }
    assert_eq!(lines.next(), Some(&b"[Checksums SHA1]"[..]));
    let mut checksums = BTreeMap::new();
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let at = line.iter().position(|byte| *byte == b'\t').unwrap();
        checksums.insert(line[at + 1..].to_vec(), text(&line[..at]));
    }
    assert_eq!(lines.next(), Some(&b"[End]"[..]));
    assert_eq!(lines.next(), None);
    TimeList { rows, checksums }
}

/// What a naive walk finds below a root.
#[derive(Default)]
struct Walked {
    /// Every path, as `find` knows it.
    paths: BTreeSet<Vec<u8>>,
    /// Type and size of what a time list shows, and the mtime.
    rows: BTreeMap<Vec<u8>, (String, u64, i64)>,
    repomds: Vec<PathBuf>,
}

fn walk(mount: &Path, root: &Path) -> Walked {
    let mut walked = Walked::default();
    descend(mount, root, root, "", true, &mut walked);
    walked
}

/// `barred` is what rows get whose directory others may not read; `visible` is whether the group
/// may read everything above.
fn descend(
    mount: &Path,
    root: &Path,
    dir: &Path,
    barred: &str,
    visible: bool,
    walked: &mut Walked,
) {
    for path in children(dir) {
        let name = path.file_name().unwrap().as_bytes();
        let of_ours = name.starts_with(b"fullfilelist") || name.starts_with(b"fullfiletimelist");
        if path == mount.join(".cairn") || of_ours {
            continue;
        }
        let relative = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        // Where directories cannot be exchanged a view is a link to its tree, which is what lists
        // show: readers come through it.
        let published = fs::read_link(&path)
            .is_ok_and(|target| target.components().any(|part| part.as_os_str() == ".cairn"));
        let metadata =
            if published { fs::metadata(&path) } else { fs::symlink_metadata(&path) }.unwrap();
        let kind = match metadata.file_type() {
            kind if kind.is_dir() => "d",
            kind if kind.is_symlink() => "l",
            _ => "f",
        };
        walked.paths.insert(relative.clone());
        let (for_group, for_others) = (metadata.mode() & 0o040 != 0, metadata.mode() & 0o004 != 0);
        let shown = visible && for_group && (kind != "l" || path.exists());
        if shown {
            let access = if for_others { barred } else { "-" };
            let row = (format!("{kind}{access}"), metadata.len(), metadata.mtime());
            walked.rows.insert(relative, row);
            if name == b"repomd.xml" {
                walked.repomds.push(path.clone());
            }
        }
        if kind == "d" {
            let barred = if for_others { barred } else { "*" };
            descend(mount, root, &path, barred, visible && for_group, walked);
        }
    }
}

/// Checks every list of every root against the walk.
#[track_caller]
fn check(world: &World) {
    check_roots(world, &ROOTS, &[PRODUCTION]);
}

/// Checks every list of these roots against the walk; `views` are all there are on the mount.
#[track_caller]
pub(crate) fn check_roots(world: &World, roots: &[(&str, &[&str])], views: &[&str]) {
    let mount = &world.places().production;
    for (root, names) in roots {
        let dir = mount.join(root);
        let walked = walk(mount, &dir);
        for name in *names {
            let list = dir.join(name);
            if *name == "fullfilelist" {
                let mut wanted = vec![b".".to_vec()];
                wanted.extend(walked.paths.iter().map(|path| [b"./", path.as_slice()].concat()));
                wanted.sort();
                let found = fs::read(&list).unwrap();
                let found: Vec<&[u8]> =
                    found.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').collect();
                for (found, wanted) in found.iter().zip(&wanted) {
                    let (found, wanted) = (found.escape_ascii(), wanted.escape_ascii());
                    assert_eq!(found.to_string(), wanted.to_string(), "{}", list.display());
                }
                assert_eq!(found.len(), wanted.len(), "{}", list.display());
                continue;
            }
            let found = read_times(&list);
            let say = |path: &[u8]| format!("{} of {}", path.escape_ascii(), list.display());
            for (path, (kind, size, mtime)) in &walked.rows {
                let row = found.rows.get(path).unwrap_or_else(|| panic!("no {}", say(path)));
                assert_eq!((&row.kind, row.size), (kind, *size), "{}", say(path));
                // A list moves the time of the directory that it is written to.
                let full = dir.join(OsStr::from_bytes(path));
                let covers = |view: &&str| full.starts_with(mount.join(view));
                let is_above = kind.starts_with('d') && !views.iter().any(covers);
                assert!(row.time >= *mtime || is_above, "{}: {row:?} against {mtime}", say(path));
            }
            let extra: Vec<String> = (found.rows.keys())
                .filter(|path| !walked.rows.contains_key(*path))
                .map(|path| say(path))
                .collect();
            assert!(extra.is_empty(), "{extra:?}");
            let wanted: BTreeMap<Vec<u8>, String> = walked
                .repomds
                .iter()
                .map(|path| {
                    let relative = path.strip_prefix(&dir).unwrap().as_os_str().as_bytes();
                    (relative.to_vec(), sha1(path))
                })
                .collect();
            assert!(!wanted.is_empty(), "no repomd.xml below {}", dir.display());
            assert_eq!(found.checksums, wanted, "{}", list.display());
        }
    }
}

fn sha1(path: &Path) -> String {
    let out = Run::of(Command::new("sha1sum").arg(path)).ok().out();
    out.split_whitespace().next().unwrap().to_owned()
}

/// Every list and its predecessor: bytes, and what a mirror's rsync would look at.
fn lists(world: &World) -> BTreeMap<PathBuf, (Vec<u8>, i64, i64, u64)> {
    let mut found = BTreeMap::new();
    for (root, names) in ROOTS {
        for name in names.iter().flat_map(|name| [(*name).to_owned(), format!("{name}-old")]) {
            let path = world.production(root).join(name);
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let bytes = fs::read(&path).unwrap();
            found.insert(path, (bytes, metadata.mtime(), metadata.mtime_nsec(), metadata.ino()));
        }
    }
    found
}

/// Asserts that no list was touched, and names those that were.
#[track_caller]
fn untouched(before: &BTreeMap<PathBuf, (Vec<u8>, i64, i64, u64)>, world: &World) {
    let after = lists(world);
    assert!(before.keys().eq(after.keys()));
    for (path, was) in before {
        let is = &after[path];
        assert!(was.0 == is.0, "{} has other bytes", path.display());
        assert_eq!((was.1, was.2, was.3), (is.1, is.2, is.3), "{} was replaced", path.display());
    }
}

/// The list that most mirrors of release 9 poll.
fn polled(world: &World) -> TimeList {
    read_times(&world.production("mirror/pub/rocky/fullfiletimelist-rocky"))
}

/// When the last operation happened, in seconds since 1970.
fn last_operation(world: &World) -> i64 {
    let log = world.json(["log"]);
    let time = log["operations"][0]["time"].as_str().unwrap();
    time.parse::<jiff::Timestamp>().unwrap().as_second()
}

fn changed(before: &TimeList, after: &TimeList) -> BTreeSet<PathBuf> {
    let paths: BTreeSet<&Vec<u8>> = before.rows.keys().chain(after.rows.keys()).collect();
    paths
        .into_iter()
        .filter(|path| before.rows.get(*path) != after.rows.get(*path))
        .map(|path| PathBuf::from(OsStr::from_bytes(path)))
        .collect()
}

/// Lets the clock of the lists, which counts seconds, go on.
fn wait_a_second() {
    std::thread::sleep(std::time::Duration::from_millis(1100));
}

#[test]
fn every_list_is_what_a_naive_walk_finds() {
    let world = world();
    let mount = world.places().production.clone();
    let rocky = mount.join("mirror/pub/rocky");
    fs::create_dir_all(rocky.join("keys/private")).unwrap();
    // What no view covers: beside, above and around the views, and sorting around them.
    symlink("9.7", rocky.join("9")).unwrap();
    symlink("nowhere", rocky.join("dangling")).unwrap();
    let write = |path: PathBuf, mode: u32| {
        fs::write(&path, path.as_os_str().as_bytes()).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    write(mount.join("README"), 0o644);
    write(rocky.join("RPM-GPG-KEY-Rocky-9"), 0o644);
    write(rocky.join("9.7-notes"), 0o644);
    write(rocky.join("9.7.html"), 0o444);
    write(rocky.join("keys/for the group"), 0o640);
    write(rocky.join("keys/for me"), 0o600);
    write(rocky.join("keys/private/below"), 0o644);
    write(rocky.join(OsStr::from_bytes(b"caf\xe9")), 0o644);
    fs::set_permissions(rocky.join("keys/private"), fs::Permissions::from_mode(0o750)).unwrap();

    let first = world.first();
    let os = first.dir.join("compose/BaseOS/x86_64/os");
    fs::create_dir_all(os.join("closed/below")).unwrap();
    write(os.join("closed/below/file"), 0o644);
    write(os.join("group"), 0o640);
    write(os.join("mine"), 0o600);
    write(os.join("Packages-b"), 0o644);
    write(os.join("Packages.b"), 0o644);
    write(os.join(OsStr::from_bytes(b"caf\xe9")), 0o644);
    symlink("Packages", os.join("link")).unwrap();
    symlink("nowhere", os.join("dangling")).unwrap();
    fs::set_permissions(os.join("closed"), fs::Permissions::from_mode(0o750)).unwrap();
    world.cairn(["init"]).ok();
    publish(&world, &first);
    check(&world);
    let list = polled(&world);
    for (path, kind) in [
        ("9", "l"),
        ("9.7", "d"),
        ("keys/for the group", "f-"),
        ("keys/private", "d-"),
        ("keys/private/below", "f*"),
        ("9.7/BaseOS/x86_64/os/closed/below", "d*"),
        ("9.7/BaseOS/x86_64/os/group", "f-"),
    ] {
        assert_eq!(list.rows[path.as_bytes()].kind, kind, "{path}");
    }
    for path in ["dangling", "keys/for me", "9.7/BaseOS/x86_64/os/mine"] {
        assert!(!list.rows.contains_key(path.as_bytes()), "{path}");
    }
    // What was published is dated by its publication, unless it says that it is younger.
    let published = last_operation(&world);
    for (path, node) in contents(&world.production(PRODUCTION)) {
        if let crate::filesystems::Node::File(_, _, (mtime, _)) = node
            && let Some(row) = list.rows.get(Path::new("9.7").join(&path).as_os_str().as_bytes())
        {
            assert_eq!(row.time, mtime.max(published), "{}", path.display());
        }
    }

    update(&world);
    check(&world);
    world.cairn(["rollback", "production/9.7"]).ok();
    check(&world);

    // What changes beside the views is found by the next run, and by a dry run not written.
    write(rocky.join("9.7-notes, second edition"), 0o644);
    fs::remove_file(rocky.join("9.7.html")).unwrap();
    let before = lists(&world);
    world.cairn(["lists", "-n"]).ok();
    untouched(&before, &world);
    world.cairn(["lists"]).ok();
    check(&world);
}

#[test]
fn a_promotion_that_changes_nothing_touches_no_list() {
    let world = world();
    let first = release(&world);
    update(&world);
    let before = lists(&world);
    assert_eq!(before.len(), 14, "seven lists, and those before them");
    wait_a_second();
    for args in [&["promote", "9"][..], &["promote", "9", "--delete"], &["lists"], &["publish"]] {
        world.cairn(args).ok();
        untouched(&before, &world);
    }
    // Another operation on another ref changes nothing for mirrors either.
    world.cairn(["ingest", first.dir.to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    untouched(&before, &world);
}

#[test]
fn one_changed_package_changes_its_row_and_its_directories() {
    let world = world();
    // The changed package is not in its repo's metadata: the gate that says so is not asked.
    let text = fs::read_to_string(world.config()).unwrap();
    assert!(text.contains("[\"repodata\", "), "{text}");
    world.set_config(&text.replace("[\"repodata\", ", "["));
    release(&world);
    let second = update(&world);
    let (before, texts) = (polled(&world), lists(&world));

    let package = "BaseOS/x86_64/os/Packages/b/bash-5.1.8-10.el9.x86_64.rpm";
    let third = variant(&second, package);
    wait_a_second();
    publish(&world, &third);
    check(&world);
    let after = polled(&world);
    let row = Path::new("9.7").join(package);
    let changes = changed(&before, &after);
    assert!(changes.contains(&row), "{changes:?}");
    let others: Vec<_> = changes.iter().filter(|path| !row.starts_with(path)).collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!(after.rows[row.as_os_str().as_bytes()].time, last_operation(&world));
    assert_eq!(before.checksums, after.checksums);

    // The paths are the same, so that list stays; the time lists leave their predecessors.
    for (path, (bytes, ..)) in lists(&world) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        match name.strip_suffix("-old") {
            Some(new) if new != "fullfilelist" => {
                let was = &texts[&path.with_file_name(new)].0;
                assert!(bytes == *was, "{} is not the list before", path.display());
            }
            Some(_) => assert!(bytes == texts[&path].0, "{} was replaced", path.display()),
            None if name == "fullfilelist" => {
                assert!(bytes == texts[&path].0, "{} was replaced", path.display());
            }
            None => assert!(bytes != texts[&path].0, "{} was not replaced", path.display()),
        }
    }
}

/// Makes a compose with another content of one file, of another size.
fn variant(of: &Written, file: &str) -> Written {
    let mut written = of.clone();
    written.dir = of.dir.with_file_name("Rocky-9.7-20251120.0");
    Run::of(Command::new("cp").arg("-a").args([&of.dir, &written.dir])).ok();
    fs::write(written.dir.join("compose").join(file), "another package\n").unwrap();
    written
}

#[test]
fn a_rollback_dates_what_it_changes_and_nothing_else() {
    let world = world();
    release(&world);
    let old = contents(&world.production(PRODUCTION));
    wait_a_second();
    update(&world);
    let (new, before) = (contents(&world.production(PRODUCTION)), polled(&world));
    let texts = lists(&world);
    wait_a_second();
    world.cairn(["rollback", "production/9.7"]).ok();
    check(&world);
    let (after, at) = (polled(&world), last_operation(&world));

    let mut dated = 0;
    for (path, node) in &old {
        let full = Path::new("9.7").join(path);
        let full = full.as_os_str().as_bytes();
        let is_dir = matches!(node, crate::filesystems::Node::Dir(_));
        if new.get(path) != Some(node) {
            assert_eq!(after.rows[full].time, at, "{}", path.display());
            dated += 1;
        } else if !is_dir {
            assert_eq!(after.rows[full], before.rows[full], "{}", path.display());
        }
    }
    assert!(dated > 30 && dated < old.len() / 2, "{dated} of {}", old.len());
    for path in new.keys().filter(|path| !old.contains_key(*path)) {
        let full = Path::new("9.7").join(path);
        assert!(!after.rows.contains_key(full.as_os_str().as_bytes()), "{}", full.display());
    }
    for (path, (bytes, ..)) in lists(&world) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if let Some(new) = name.strip_suffix("-old") {
            assert!(bytes == texts[&path.with_file_name(new)].0, "{}", path.display());
        }
    }
}

#[test]
fn lists_are_the_same_again_when_what_is_known_of_them_is_lost() {
    let world = world();
    fs::create_dir_all(world.production("mirror/pub/rocky/keys")).unwrap();
    symlink("9.7", world.production("mirror/pub/rocky/9")).unwrap();
    release(&world);
    wait_a_second();
    update(&world);
    wait_a_second();
    world.cairn(["rollback", "production/9.7"]).ok();
    let before = lists(&world);
    let state = world.production(".cairn/lists");
    assert!(children(&state).len() > 3);

    fs::remove_dir_all(&state).unwrap();
    wait_a_second();
    world.cairn(["lists"]).ok();
    untouched(&before, &world);

    // Damage is as good as loss.
    for file in children(&state) {
        let mut bytes = fs::read(&file).unwrap();
        if let Some(byte) = bytes.last_mut() {
            *byte ^= 0xff;
            fs::write(&file, bytes).unwrap();
        }
    }
    world.cairn(["lists"]).ok();
    untouched(&before, &world);

    // And so is the index, from which all history is made again.
    fs::remove_dir_all(&state).unwrap();
    fs::remove_file(world.places().store.join("index.redb")).unwrap();
    world.cairn(["lists"]).ok();
    untouched(&before, &world);

    // A list that somebody wrote to is made right.
    let list = world.production("mirror/pub/rocky/fullfiletimelist-rocky");
    fs::write(&list, "[Version]\n2\n").unwrap();
    world.cairn(["lists"]).ok();
    let lost = &before[&list].0;
    assert!(fs::read(&list).unwrap() == *lost, "the list is not what it was");
}
