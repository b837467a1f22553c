//! The whole main job on every kind of filesystem that we can mount, and on three at once.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cairn_testkit::filesystem::{FsKind, Loop};
use cairn_testkit::sample::{Places, Written};
use cairn_testkit::treecmp::{self, On};
use cairn_testkit::{World, available, hostile, metadata};

/// Where production is on its mount.
pub const PRODUCTION: &str = "mirror/pub/rocky/9.7";
/// Where staging is on its mount.
pub const STAGING: &str = "mirror/pub/rocky/9.7-RC2";

/// The owner that mounts are configured with: what the scripts hand to `rsync --chown`.
const OWNER: (u32, u32) = (10004, 10005);
/// How many names `many/` gives one file; a filesystem without extref takes some 63.
const NAMES: usize = 200;
const SIZE: u64 = 320 * 1024 * 1024;

/// What we want to be told, and to see, of a kind of filesystem.
struct Case {
    kind: FsKind,
    swap: &'static str,
    link: &'static str,
    /// What the configuration says, when it says anything.
    configured: Option<&'static str>,
}

const CASES: [Case; 8] = [
    case(FsKind::Ext4, "exchange", "hardlink", None),
    case(FsKind::Xfs, "exchange", "reflink", None),
    case(FsKind::Xfs, "exchange", "hardlink", Some("hardlink")),
    case(FsKind::Btrfs, "exchange", "reflink", None),
    case(FsKind::BtrfsNoExtref, "exchange", "hardlink", Some("hardlink")),
    case(FsKind::Tmpfs, "exchange", "hardlink", None),
    case(FsKind::Tmpfs, "exchange", "copy", Some("copy")),
    case(FsKind::Bindfs, "symlink", "hardlink", None),
];

const fn case(
    kind: FsKind,
    swap: &'static str,
    link: &'static str,
    configured: Option<&'static str>,
) -> Case {
    Case { kind, swap, link, configured }
}

/// Takes the sample's release to production.
#[track_caller]
pub fn release(world: &World) -> Written {
    let written = world.first();
    world.cairn(["init"]).ok();
    publish(world, &written);
    written
}

/// Takes the sample's update to production, exactly.
#[track_caller]
pub fn update(world: &World) -> Written {
    let written = world.second();
    publish(world, &written);
    written
}

/// Takes a compose to production, exactly, whatever that deletes.
#[track_caller]
pub fn publish(world: &World, written: &Written) {
    ingest(world, &written.dir);
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%"]).ok();
}

#[track_caller]
fn ingest(world: &World, dir: &Path) {
    world.cairn([OsStr::new("ingest"), dir.as_os_str()]).ok();
}

#[test]
fn the_main_job_on_ext4() {
    on_one(FsKind::Ext4);
}

#[test]
fn the_main_job_on_xfs() {
    on_one(FsKind::Xfs);
}

#[test]
fn the_main_job_on_btrfs() {
    on_one(FsKind::Btrfs);
}

#[test]
fn the_main_job_on_btrfs_with_63_links_to_a_file() {
    on_one(FsKind::BtrfsNoExtref);
}

#[test]
fn the_main_job_on_tmpfs() {
    on_one(FsKind::Tmpfs);
}

#[test]
fn the_main_job_on_bindfs() {
    on_one(FsKind::Bindfs);
}

#[test]
fn what_a_file_system_cannot_do_is_said_with_what_to_ask_for_instead() {
    let Some(fs) = available(Loop::new(FsKind::Bindfs, SIZE)) else { return };
    let world = World::at(env!("CARGO_BIN_EXE_cairn"), Places::below(fs.path()));
    world.configure("mounts.production", "swap = \"exchange\"");
    let run = world.cairn(["init"]).exits(1);
    for part in ["mount production at ", "cannot swap by exchange", "leave swap out"] {
        assert!(run.err().contains(part), "{part}\n{}", run.report());
    }
}

#[test]
fn the_main_job_from_btrfs_over_ext4_to_xfs() {
    on_three([FsKind::Btrfs, FsKind::Ext4, FsKind::Xfs]);
}

#[test]
fn the_main_job_from_tmpfs_over_xfs_to_bindfs() {
    on_three([FsKind::Tmpfs, FsKind::Xfs, FsKind::Bindfs]);
}

#[test]
fn the_main_job_from_ext4_over_tmpfs_to_btrfs() {
    on_three([FsKind::Ext4, FsKind::Tmpfs, FsKind::Btrfs]);
}

fn on_one(kind: FsKind) {
    for case in CASES.iter().filter(|case| case.kind == kind) {
        let Some(fs) = available(Loop::new(kind, SIZE)) else { return };
        let world = World::at(env!("CARGO_BIN_EXE_cairn"), Places::below(fs.path()));
        main_job(&world, case, case);
    }
}

fn on_three([compose, staging, production]: [FsKind; 3]) {
    let Some(compose) = available(Loop::new(compose, SIZE)) else { return };
    let Some(first) = available(Loop::new(staging, SIZE)) else { return };
    let Some(second) = available(Loop::new(production, SIZE)) else { return };
    let store = tempfile::tempdir().unwrap();
    let world = World::at(
        env!("CARGO_BIN_EXE_cairn"),
        Places {
            compose: compose.path().join("compose"),
            store: store.path().join("store"),
            // The root of a filesystem, with its lost+found, is what an operator names.
            staging: first.path().to_owned(),
            production: second.path().to_owned(),
        },
    );
    let plain = |kind| CASES.iter().find(|c| c.kind == kind && c.configured.is_none()).unwrap();
    main_job(&world, plain(staging), plain(production));
}

fn main_job(world: &World, staging: &Case, production: &Case) {
    let sides = [("staging", staging), ("production", production)];
    for (name, case) in sides {
        let link = case.configured.map(|link| format!("\nlink = \"{link}\"")).unwrap_or_default();
        let lines = format!("owner = \"{}:{}\"{link}", OWNER.0, OWNER.1);
        world.configure(&format!("mounts.{name}"), &lines);
    }
    let (live, staged) = (world.production(PRODUCTION), world.staging(STAGING));

    // What was found is said, and is what the filesystem can do.
    let first = world.first();
    dress(&first, "first");
    let init = world.json(["init"]);
    for (name, case) in sides {
        let rows = init["mounts"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == name).unwrap();
        let label = format!("{name} on {:?}: {row}", case.kind);
        assert_eq!(
            (row["swap"].as_str(), row["link"].as_str()),
            (Some(case.swap), Some(case.link)),
            "{label}"
        );
    }

    // The first release is the compose, in every respect.
    ingest(world, &world.latest());
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    let report = world.json(["promote", "9"]);
    let view = &report["views"][0];
    assert_eq!(view["strategy"], production.swap, "{view}");
    assert_eq!((&view["swapped"], &view["source"]), (&true.into(), &"new".into()), "{view}");
    let count = |key: &str| view["links"][key].as_u64().unwrap();
    let packages = count(match production.link {
        "hardlink" => "hardlinked",
        "reflink" => "reflinked",
        _ => "copied",
    });
    assert!(packages > 100 + NAMES as u64, "{view}");
    assert_eq!(count("hardlinked") > 0, production.link == "hardlink", "{view}");
    assert_eq!(count("reflinked") > 0, can_reflink(production.kind), "{view}");
    let all = treecmp::Options { mode: On::Everything, mtime: On::Everything, ..<_>::default() };
    let compose = first.dir.join("compose");
    assert_eq!(treecmp::compare_with(&compose, &real(&staged), &all), []);
    assert_eq!(treecmp::compare_with(&compose, &real(&live), &all), []);
    check_mounts(world, sides);
    let released = contents(&live);

    // An update is added: what it lacks stays, repodata is taken whole, times stay.
    let second = world.second();
    dress(&second, "other");
    ingest(world, &second.dir);
    world.cairn(["stage", "9", "Rocky"]).ok();
    let expected = added(&released, &contents(&second.dir.join("compose")));
    assert_same(&expected, &without_repodata(&contents(&staged)));
    metadata::repos(&real(&staged)).values().for_each(metadata::Repo::assert_true);
    assert_same(&released, &contents(&live));
    settle(production.kind);
    let before = everything(&world.places().production);
    world.cairn(["promote", "9", "-n"]).ok();
    assert_eq!(before, everything(&world.places().production), "a dry run writes nothing");
    world.cairn(["promote", "9"]).ok();
    let expected = contents(&live);
    assert_same(&contents(&staged), &expected);
    check_mounts(world, sides);

    // Then production becomes exactly the update, once the deletions are allowed.
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.configure("mounts.production", "max_deletes = \"5%\"");
    let refused = world.cairn(["promote", "9", "--delete"]).exits(4);
    assert!(refused.err().contains("would be deleted"), "{}", refused.report());
    assert_same(&expected, &contents(&live));
    world.cairn(["promote", "9", "--delete", "--allow-deletes", "60%"]).ok();
    treecmp::assert_equal(&real(&staged), &real(&live));
    let anytime = treecmp::Options { mtime: On::Nothing, mode: On::Everything, ..<_>::default() };
    let compose = second.dir.join("compose");
    assert_eq!(treecmp::compare_with(&compose, &real(&live), &anytime), []);
    let exact = contents(&live);
    check_mounts(world, sides);

    // Back, back again, and to the start: a swap each time, bit for bit.
    let before = treecmp::digest(&real(&live));
    for (to, wanted) in [(None, &expected), (None, &exact), (Some("production/9.7~4"), &released)] {
        let mut args = vec!["rollback", "production/9.7"];
        args.extend(to.iter().flat_map(|to| ["--to", to]));
        let report = world.json(args);
        let view = &report["views"][0];
        assert_eq!((&view["swapped"], &view["source"]), (&true.into(), &"kept".into()), "{view}");
        assert_same(wanted, &contents(&live));
    }
    assert_eq!(treecmp::compare_with(&first.dir.join("compose"), &real(&live), &all), []);
    world.json(["rollback", "production/9.7"]);
    assert_eq!(treecmp::digest(&real(&live)), before);
    check_mounts(world, sides);
    let fsck = world.cairn(["fsck", "--full"]).ok();
    assert!(fsck.out().contains("nothing is wrong"), "{}", fsck.report());

    let siblings = files_below(&world.production(".cairn/objects"))
        .into_iter()
        .filter(|path| path.as_os_str().as_bytes().contains(&b'~'))
        .count();
    let least = if production.kind == FsKind::BtrfsNoExtref { NAMES / 67 } else { 0 };
    assert!(siblings >= least && (least > 0 || siblings == 0), "{siblings} siblings");
}

/// Waits until a filesystem shows the attributes that it has.
///
/// FUSE keeps what it said of a name for a second, and a link made through another name moves the
/// change time that it then says.
fn settle(kind: FsKind) {
    if kind == FsKind::Bindfs {
        std::thread::sleep(std::time::Duration::from_millis(1100));
    }
}

fn can_reflink(kind: FsKind) -> bool {
    matches!(kind, FsKind::Xfs | FsKind::Btrfs | FsKind::BtrfsNoExtref)
}

/// Adds to a compose what the sample lacks and filesystems may stumble over.
fn dress(written: &Written, content: &str) {
    let root = written.dir.join("compose");
    let os = root.join("BaseOS/x86_64/os");
    let write = |path: &Path, bytes: &[u8], mode: u32| {
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir_all(root.join("isos/x86_64")).unwrap();
    write(&root.join("isos/x86_64/CHECKSUM"), content.as_bytes(), 0o644);
    write(&root.join("isos/x86_64/boot.iso.CHECKSUM"), b"the same in both", 0o644);
    write(&os.join("empty"), b"", 0o644);
    write(&os.join("also empty"), b"", 0o600);
    write(&os.join("script.sh"), b"#!/bin/sh\n", 0o755);
    write(&os.join("private"), b"not for everybody", 0o640);
    write(&os.join(OsStr::from_bytes(b"caf\xe9")), b"no UTF-8", 0o444);
    symlink("Packages", os.join("link to a directory")).unwrap();
    symlink("../../../isos/x86_64/CHECKSUM", os.join("link to a file")).unwrap();
    symlink("nowhere", os.join("dangling")).unwrap();
    symlink("/etc/hostname", os.join("out of the tree")).unwrap();
    symlink(content, os.join("changing")).unwrap();
    fs::create_dir(os.join("empty directory")).unwrap();
    fs::set_permissions(os.join("empty directory"), fs::Permissions::from_mode(0o775)).unwrap();
    let many = root.join("many");
    fs::create_dir(&many).unwrap();
    // Copies with equal times, because the compose's own filesystem may not link so often.
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_762_000_000);
    for number in 0..NAMES {
        let path = many.join(format!("{number:050}"));
        write(&path, b"one content, many names", 0o644);
        // Both, because bindfs does not set one alone.
        hostile::date(&fs::File::options().write(true).open(&path).unwrap(), time).unwrap();
    }
}

/// Checks who shares an inode with whom and who owns what, on both mounts.
#[track_caller]
fn check_mounts(world: &World, sides: [(&str, &Case); 2]) {
    for (name, case) in sides {
        let (mount, view) = match name {
            "staging" => (&world.places().staging, world.staging(STAGING)),
            _ => (&world.places().production, world.production(PRODUCTION)),
        };
        check_inodes(mount, &view, case.link);
        check_owners(mount);
    }
}

#[track_caller]
fn check_inodes(mount: &Path, view: &Path, link: &str) {
    let ino = |path: &Path| fs::symlink_metadata(path).unwrap().ino();
    let pool: HashSet<u64> =
        files_below(&mount.join(".cairn/objects")).iter().map(|path| ino(path)).collect();
    let mut trees: BTreeMap<u64, PathBuf> = BTreeMap::new();
    for view in children(&mount.join(".cairn/views")) {
        for tree in children(&view).into_iter().filter(|path| is_dir(path)) {
            trees.insert(ino(&tree), tree);
        }
    }
    let live = real(view);
    trees.insert(ino(&live), live);

    let mut own: HashSet<u64> = HashSet::new();
    let (mut packages, mut private) = (0, 0);
    for tree in trees.values() {
        for path in files_below(tree) {
            let metadata = fs::symlink_metadata(&path).unwrap();
            if !metadata.is_file() {
                continue;
            }
            let (shown, inode) = (path.display(), metadata.ino());
            let name = path.file_name().unwrap().as_bytes();
            let is_private = path.parent().unwrap().file_name() == Some(OsStr::new("repodata"))
                || [&b".treeinfo"[..], b".discinfo"].contains(&name)
                || name.ends_with(b"CHECKSUM")
                || metadata.len() == 0;
            if is_private || link != "hardlink" {
                assert!(!pool.contains(&inode), "{shown} is the pool's inode");
                assert!(own.insert(inode), "{shown} shares its inode with another path");
                private += 1;
            } else if name.ends_with(b".rpm") {
                assert!(pool.contains(&inode), "{shown} does not share the pool's inode");
                packages += 1;
            }
        }
    }
    let least = if link == "hardlink" { 80 } else { 0 };
    assert!(packages >= least && private > 50, "{packages} packages, {private} private files");
}

/// Everything that cairn made for others to see belongs to the configured owner.
#[track_caller]
fn check_owners(mount: &Path) {
    let mut seen = 0;
    let mut rest: Vec<PathBuf> = children(mount)
        .into_iter()
        .filter(|path| !path.ends_with(".cairn") && !path.ends_with("lost+found"))
        .collect();
    while let Some(path) = rest.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), OWNER, "owner of {}", path.display());
        seen += 1;
        if metadata.is_dir() {
            rest.extend(children(&path));
        }
    }
    // The trees that are not live, and on some mounts those that are: below the pool.
    for view in children(&mount.join(".cairn/views")) {
        rest.extend(children(&view).into_iter().filter(|path| is_dir(path)));
    }
    while let Some(path) = rest.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), OWNER, "owner of {}", path.display());
        seen += 1;
        if metadata.is_dir() {
            rest.extend(children(&path));
        }
    }
    assert!(seen > 200, "{seen} paths");
}

/// A path as a client sees it.
#[derive(Clone, PartialEq, Eq)]
pub enum Node {
    /// Content, mode and time.
    File(Vec<u8>, u32, (i64, i64)),
    /// Mode.
    Dir(u32),
    /// Target.
    Symlink(OsString),
}

/// Every path below a directory, without it.
pub type Contents = BTreeMap<PathBuf, Node>;

/// Reads all that is below a directory, or below what a link names.
#[track_caller]
pub fn contents(root: &Path) -> Contents {
    let root = real(root);
    let mut found = BTreeMap::new();
    let mut rest = vec![PathBuf::new()];
    while let Some(dir) = rest.pop() {
        for path in children(&root.join(&dir)) {
            let relative = path.strip_prefix(&root).unwrap().to_owned();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let mode = metadata.mode() & 0o7777;
            let node = if metadata.is_dir() {
                rest.push(relative.clone());
                Node::Dir(mode)
            } else if metadata.is_symlink() {
                Node::Symlink(fs::read_link(&path).unwrap().into())
            } else {
                let time = (metadata.mtime(), metadata.mtime_nsec());
                Node::File(fs::read(&path).unwrap(), mode, time)
            };
            found.insert(relative, node);
        }
    }
    found
}

/// Asserts that two trees are the same, and says where they are not.
#[track_caller]
pub fn assert_same(expected: &Contents, found: &Contents) {
    let paths: BTreeSet<&PathBuf> = expected.keys().chain(found.keys()).collect();
    let say = |node: Option<&Node>| match node {
        None => "missing".to_owned(),
        Some(Node::File(bytes, mode, time)) => format!("{} bytes {mode:o} {time:?}", bytes.len()),
        Some(Node::Dir(mode)) => format!("directory {mode:o}"),
        Some(Node::Symlink(target)) => format!("link to {target:?}"),
    };
    let different: Vec<String> = paths
        .into_iter()
        .filter(|path| expected.get(*path) != found.get(*path))
        .map(|path| {
            let (a, b) = (expected.get(path), found.get(path));
            format!("{}: expected {}, found {}", path.display(), say(a), say(b))
        })
        .collect();
    assert!(different.is_empty(), "{} differences:\n{}", different.len(), different.join("\n"));
}

/// The naive model of an additive run, but for metadata: the compose over what is there, but for
/// what updates leave out, with the time of what stays the same.
fn added(old: &Contents, compose: &Contents) -> Contents {
    const LEFT_OUT: [&str; 14] = [
        "ppc",
        "images",
        "boot",
        ".discinfo",
        ".treeinfo",
        "EFI",
        "isolinux",
        "media.repo",
        "EULA",
        "LICENSE",
        "COMMUNITY-CHARTER",
        "extra_files.json",
        "Minimal",
        "Cloud",
    ];
    let left_out = |path: &Path| path.iter().any(|name| LEFT_OUT.iter().any(|out| name == *out));
    let mut result = old.clone();
    for (path, node) in compose.iter().filter(|(path, _)| !left_out(path)) {
        let node = match (old.get(path), node) {
            (Some(Node::File(bytes, _, time)), Node::File(new, mode, _)) if bytes == new => {
                Node::File(new.clone(), *mode, *time)
            }
            // The same size and the same second: mirrors would not look at it.
            (Some(Node::File(bytes, _, time)), Node::File(new, mode, at))
                if bytes.len() == new.len() && time.0 >= at.0 =>
            {
                Node::File(new.clone(), *mode, (time.0 + 1, 0))
            }
            _ => node.clone(),
        };
        result.insert(path.clone(), node);
    }
    without_repodata(&result)
}

fn without_repodata(tree: &Contents) -> Contents {
    let metadata = |path: &Path| path.iter().any(|name| name == "repodata");
    tree.iter().filter(|(path, _)| !metadata(path)).map(|(p, n)| (p.clone(), n.clone())).collect()
}

/// Says everything about a mount that a command could have touched, the pool included.
fn everything(mount: &Path) -> Vec<(PathBuf, u64, i64, i64, u64)> {
    let mut found = Vec::new();
    let mut rest = vec![mount.to_owned()];
    while let Some(path) = rest.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let (time, nanos) = (metadata.ctime(), metadata.ctime_nsec());
        found.push((path.clone(), metadata.ino(), time, nanos, metadata.len()));
        if metadata.is_dir() {
            rest.extend(children(&path));
        }
    }
    found.sort();
    found
}

/// Returns the directory that a path leads to: a link on mounts that swap links.
pub fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the full paths of what is in a directory.
#[track_caller]
pub fn children(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).unwrap().is_dir()
}

/// Returns the full paths of everything below a directory that is no directory.
#[track_caller]
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in children(dir) {
        if is_dir(&path) {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}
