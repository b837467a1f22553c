//! Every code of a finding, provoked in a real store.
//!
//! It is long because the codes are many, and each is provoked by what it is for.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use cairn_fsck::{Code, Severity};
use cairn_testkit::{CrashPoint, World, hostile, treecmp};
use serde_json::Value;

use crate::crashes::{publish, published, small_update};
use crate::world;

const LIVE: &str = "mirror/pub/rocky/9.7";
const BASH: &str = "BaseOS/x86_64/os/Packages/b/bash-5.1.8-9.el9.x86_64.rpm";

/// Damage, and what must be found of it.
struct Case {
    code: Code,
    /// What was done, for messages.
    what: &'static str,
    harm: fn(&World),
    /// A part of the subject that names what is wrong.
    subject: &'static str,
    /// A path or ref that must be among the affected; empty where there is none to name.
    affected: &'static str,
    /// The exit code of a repair that cannot put it right; nothing where it can.
    left: Option<i32>,
}

/// Production gets the links `9` and `latest-9`, which lead to what is published.
fn link(world: &World) {
    let links = "production_links = [\"{major}\", \"latest-{major}\"]";
    replace(world.config(), "production_links = []", links);
    small_update().write(&world.places().compose).unwrap();
    publish(world);
}

fn nine(world: &World) -> PathBuf {
    world.production("mirror/pub/rocky/9")
}

const CASES: &[Case] = &[
    Case {
        code: Code::LinkMissing,
        what: "a link beside the releases is deleted",
        harm: |world| {
            link(world);
            fs::remove_file(nine(world)).unwrap();
        },
        subject: "link/production/mirror/pub/rocky/9",
        affected: "",
        left: None,
    },
    Case {
        code: Code::LinkElsewhere,
        what: "a link leads to another release",
        harm: |world| {
            link(world);
            fs::remove_file(nine(world)).unwrap();
            symlink("9.6", nine(world)).unwrap();
        },
        subject: "link/production/mirror/pub/rocky/9",
        affected: "",
        left: None,
    },
    Case {
        code: Code::LinkElsewhere,
        what: "somebody's own link has taken the place",
        harm: |world| {
            link(world);
            fs::remove_file(nine(world)).unwrap();
            symlink("/srv/elsewhere", nine(world)).unwrap();
        },
        subject: "link/production/mirror/pub/rocky/9",
        affected: "",
        left: Some(3),
    },
    Case {
        code: Code::LinkElsewhere,
        what: "a directory has taken the place of a link",
        harm: |world| {
            link(world);
            fs::remove_file(nine(world)).unwrap();
            fs::create_dir(nine(world)).unwrap();
        },
        subject: "link/production/mirror/pub/rocky/9",
        affected: "",
        left: Some(3),
    },
    Case {
        code: Code::LinkUnconfigured,
        what: "the configuration has forgotten a link that stands",
        harm: |world| {
            link(world);
            let links = "production_links = [\"{major}\", \"latest-{major}\"]";
            replace(world.config(), links, "production_links = [\"latest-{major}\"]");
        },
        subject: "link/production/mirror/pub/rocky/9",
        affected: "",
        left: Some(3),
    },
    Case {
        code: Code::PoolIncomplete,
        what: "an empty directory of a pool is deleted",
        harm: |world| {
            let dirs = fs::read_dir(world.staging(".cairn/objects")).unwrap();
            let mut dirs = dirs.map(|entry| entry.unwrap().path());
            let empty = dirs.find(|dir| fs::read_dir(dir).unwrap().next().is_none());
            fs::remove_dir(empty.expect("a small pool has empty directories")).unwrap();
        },
        subject: "objects/",
        affected: "",
        left: None,
    },
    Case {
        code: Code::PoolIncomplete,
        what: "a directory of a pool is deleted with what was in it",
        harm: |world| {
            let object = object(world, BASH);
            fs::remove_dir_all(object.parent().unwrap()).unwrap();
        },
        subject: "objects/",
        affected: "",
        left: None,
    },
    Case {
        code: Code::SuperblockUnreadable,
        what: "the superblock is cut short",
        harm: |world| edit(&world.places().store.join("format"), |bytes| bytes.truncate(10)),
        subject: "format",
        affected: "",
        left: None,
    },
    Case {
        code: Code::LogGap,
        what: "an operation is deleted",
        harm: |world| fs::remove_file(operation(world, 2)).unwrap(),
        subject: "log/0000000002.json",
        affected: "",
        left: Some(13),
    },
    Case {
        code: Code::LogUnreadable,
        what: "an operation is cut short",
        harm: |world| edit(&operation(world, 2), |bytes| bytes.truncate(50)),
        subject: "log/0000000002.json",
        affected: "",
        left: Some(13),
    },
    Case {
        code: Code::LogChainBroken,
        what: "an operation is edited",
        harm: |world| replace(&operation(world, 1), "\"user\": \"", "\"user\": \"x"),
        subject: "log/0000000002.json",
        affected: "",
        left: Some(13),
    },
    Case {
        code: Code::LogRefMismatch,
        what: "the last operation says that the ref came from elsewhere",
        harm: |world| {
            let path = operation(world, 3);
            let text = fs::read_to_string(&path).unwrap();
            let old = format!("\"old\": \"{}\"", "5".repeat(64));
            fs::remove_file(&path).unwrap();
            fs::write(&path, text.replace("\"old\": null", &old)).unwrap();
        },
        subject: "log/0000000003.json",
        affected: "",
        left: Some(13),
    },
    Case {
        code: Code::PackMissing,
        what: "a pack is deleted",
        harm: |world| fs::remove_file(pack(world, 1)).unwrap(),
        subject: "packs/",
        affected: "log/0000000001.json",
        left: Some(13),
    },
    Case {
        code: Code::PackDamaged,
        what: "a byte of a pack is flipped",
        harm: |world| {
            edit(&pack(world, 1), |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            });
        },
        subject: "packs/",
        affected: "log/0000000001.json",
        left: None,
    },
    Case {
        code: Code::NodeMissing,
        what: "the last operation forgets its pack",
        harm: |world| {
            let path = operation(world, 3);
            let mut operation = read(&path);
            operation["packs"] = Value::Array(Vec::new());
            fs::remove_file(&path).unwrap();
            fs::write(&path, serde_json::to_vec_pretty(&operation).unwrap()).unwrap();
        },
        subject: "production/9.7",
        affected: "production/9.7",
        left: None,
    },
    Case {
        code: Code::StoreUnopenable,
        what: "the store is of a version to come",
        harm: |world| {
            let path = world.places().store.join("format");
            replace(&path, "\"incompat\": []", "\"incompat\": [\"chunks\"]");
        },
        subject: "store",
        affected: "",
        left: Some(13),
    },
    Case {
        code: Code::IndexDiffers,
        what: "the index is garbage",
        harm: |world| fs::write(world.places().store.join("index.redb"), "garbage").unwrap(),
        subject: "index.redb",
        affected: "",
        left: None,
    },
    Case {
        code: Code::MountUnavailable,
        what: "a mount's marker is gone",
        harm: |world| fs::remove_file(world.production(".cairn/mount.json")).unwrap(),
        subject: "production",
        affected: "",
        left: Some(3),
    },
    Case {
        code: Code::ObjectMissing,
        what: "an object is deleted",
        harm: |world| fs::remove_file(object(world, BASH)).unwrap(),
        subject: "",
        affected: "production/9.7:BaseOS/x86_64/os/Packages/b/bash-5.1.8-9.el9.x86_64.rpm",
        left: None,
    },
    Case {
        code: Code::ObjectSize,
        what: "an object is cut short",
        harm: |world| edit(&object(world, BASH), |bytes| bytes.truncate(100)),
        subject: "",
        affected: "compose/9/Rocky:BaseOS/x86_64/os/Packages/b/bash-5.1.8-9.el9.x86_64.rpm",
        left: None,
    },
    Case {
        code: Code::ObjectDamaged,
        what: "a bit of an object rots",
        harm: |world| {
            // As a disk does it: neither size nor time tell.
            let file = File::options().write(true).open(object(world, BASH)).unwrap();
            let mtime = file.metadata().unwrap().modified().unwrap();
            file.write_all_at(b"\xff", 200).unwrap();
            hostile::date(&file, mtime).unwrap();
        },
        subject: "",
        affected: "staging/9.7-RC2:BaseOS/x86_64/os/Packages/b/bash-5.1.8-9.el9.x86_64.rpm",
        left: None,
    },
    Case {
        code: Code::ViewPending,
        what: "a promotion is killed before its swap",
        harm: |world| {
            small_update().write(&world.places().compose).unwrap();
            world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
            world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
            let promote = ["promote", "9", "--delete", "--allow-deletes", "100%"];
            world.crash_at(CrashPoint::OperationIndexed, 1, promote).killed();
        },
        subject: "production/9.7",
        affected: "",
        left: None,
    },
    Case {
        code: Code::ViewDrift,
        what: "a live file is edited in place",
        harm: |world| fs::write(live(world, "BaseOS/x86_64/os/.discinfo"), "edited\n").unwrap(),
        subject: "production/9.7",
        affected: "BaseOS/x86_64/os/.discinfo: ",
        left: None,
    },
    Case {
        code: Code::ViewDrift,
        what: "a live file is deleted",
        harm: |world| fs::remove_file(live(world, BASH)).unwrap(),
        subject: "production/9.7",
        affected: "BaseOS/x86_64/os/Packages/b/bash-5.1.8-9.el9.x86_64.rpm: it is missing",
        left: None,
    },
    Case {
        code: Code::ViewDrift,
        what: "a file is added to what is live",
        harm: |world| fs::write(live(world, "BaseOS/new\nline"), "").unwrap(),
        subject: "production/9.7",
        affected: "BaseOS/new\\nline: it is not in the snapshot",
        left: None,
    },
    Case {
        code: Code::ViewDrift,
        what: "a live directory's mode is changed",
        harm: |world| {
            let permissions = fs::Permissions::from_mode(0o700);
            fs::set_permissions(live(world, "BaseOS"), permissions).unwrap();
        },
        subject: "production/9.7",
        affected: "BaseOS: mode 0700, not 0755",
        left: None,
    },
    Case {
        code: Code::ViewDrift,
        what: "a live file becomes a directory",
        harm: |world| {
            fs::remove_file(live(world, BASH)).unwrap();
            fs::create_dir(live(world, BASH)).unwrap();
        },
        subject: "production/9.7",
        affected: "bash-5.1.8-9.el9.x86_64.rpm: it is of another kind",
        left: None,
    },
    Case {
        code: Code::ViewDrift,
        what: "the live tree is another's",
        harm: |world| {
            let live = world.production(LIVE);
            fs::rename(&live, world.production("elsewhere")).unwrap();
            fs::create_dir(&live).unwrap();
            fs::write(live.join("by-hand"), "").unwrap();
        },
        subject: "production/9.7",
        affected: "",
        left: Some(3),
    },
    Case {
        code: Code::LogChainBroken,
        what: "a bit of an operation rots",
        harm: |world| {
            edit(&operation(world, 1), |bytes| {
                let at = bytes.windows(6).position(|part| part == b"\"user\"").unwrap();
                // Of the value's first letter.
                bytes[at + 9] ^= 1;
            });
        },
        subject: "log/0000000002.json",
        affected: "staging/9.7-RC2",
        left: None,
    },
    Case {
        code: Code::LogUnreadable,
        what: "a bit of an operation rots, and it is no JSON any more",
        harm: |world| edit(&operation(world, 2), |bytes| bytes[0] ^= 0x20),
        subject: "log/0000000002.json",
        affected: "",
        left: None,
    },
    Case {
        code: Code::LogTorn,
        what: "the last operation is cut short",
        harm: |world| edit(&operation(world, 3), |bytes| bytes.truncate(50)),
        subject: "log/0000000003.json",
        affected: "",
        left: None,
    },
    Case {
        code: Code::LogLost,
        what: "the last two operations are deleted",
        harm: |world| {
            fs::remove_file(operation(world, 3)).unwrap();
            fs::remove_file(operation(world, 2)).unwrap();
        },
        subject: "log/0000000003.json",
        affected: "production/9.7",
        left: None,
    },
    Case {
        code: Code::LogHeadDiffers,
        what: "the last operation is edited",
        harm: |world| replace(&operation(world, 3), "\"user\": \"", "\"user\": \"x"),
        subject: "log/0000000003.json",
        affected: "",
        left: None,
    },
    Case {
        code: Code::PackDamaged,
        what: "a pack is cut short",
        harm: |world| edit(&pack(world, 1), |bytes| bytes.truncate(bytes.len() - 10)),
        subject: "packs/",
        affected: "log/0000000001.json",
        left: Some(13),
    },
    Case {
        code: Code::IndexDiffers,
        what: "the index is of a state before the last operation, and says otherwise",
        harm: |world| fs::remove_file(world.places().store.join("index.redb")).unwrap(),
        subject: "index.redb",
        affected: "",
        left: None,
    },
    Case {
        code: Code::ObjectMissing,
        what: "a directory of objects is deleted",
        harm: |world| fs::remove_dir_all(object(world, BASH).parent().unwrap()).unwrap(),
        subject: "",
        affected: "production/9.7:BaseOS/x86_64/os/Packages/b/bash-5.1.8-9.el9.x86_64.rpm",
        left: None,
    },
    Case {
        code: Code::ViewDrift,
        what: "a live file is replaced by one of equal size and time",
        harm: |world| {
            let path = live(world, BASH);
            let mtime = fs::metadata(&path).unwrap().modified().unwrap();
            edit(&path, |bytes| bytes[100] ^= 1);
            hostile::date(&File::open(&path).unwrap(), mtime).unwrap();
        },
        subject: "production/9.7",
        affected: "bash-5.1.8-9.el9.x86_64.rpm: its content was changed",
        left: None,
    },
    Case {
        code: Code::ViewDrift,
        what: "a live file is changed through its link, in size",
        harm: |world| fs::write(live(world, BASH), "edited through the link").unwrap(),
        subject: "production/9.7",
        affected: "bash-5.1.8-9.el9.x86_64.rpm: 23 bytes, not ",
        left: None,
    },
    Case {
        code: Code::ViewDrift,
        what: "a live file's mode is changed through its link",
        harm: |world| {
            let permissions = fs::Permissions::from_mode(0o600);
            fs::set_permissions(live(world, BASH), permissions).unwrap();
        },
        subject: "production/9.7",
        affected: "bash-5.1.8-9.el9.x86_64.rpm: mode 0600, not 0644",
        left: None,
    },
    Case {
        code: Code::KeptTreeDrift,
        what: "a file of a kept tree is deleted",
        harm: |world| {
            small_update().write(&world.places().compose).unwrap();
            publish(world);
            let views = world.production(".cairn/views/production+9.7");
            let kept = fs::read_dir(views).unwrap().map(|entry| entry.unwrap().path());
            let kept = kept.filter(|path| path.is_dir() && !path.is_symlink());
            let kept: Vec<_> = kept.filter(|path| path.join(BASH).exists()).collect();
            fs::remove_file(kept[0].join(BASH)).unwrap();
        },
        subject: "production/9.7",
        affected: "bash-5.1.8-9.el9.x86_64.rpm: it is missing",
        left: None,
    },
];

fn operation(world: &World, number: u64) -> PathBuf {
    world.places().store.join(format!("log/{number:010}.json"))
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The pack that an operation brought.
fn pack(world: &World, number: u64) -> PathBuf {
    let operation = read(&operation(world, number));
    let name = operation["packs"][0].as_str().unwrap().to_owned();
    world.places().store.join(format!("packs/{name}.pack"))
}

/// The file of production's pool that holds a path's content.
fn object(world: &World, path: &str) -> PathBuf {
    let listed = world.json(["ls", &format!("production/9.7:{path}")]);
    let id = listed["entries"][0]["object"].as_str().unwrap();
    world.production(format!(".cairn/objects/{}/{}", &id[..2], &id[2..]))
}

fn live(world: &World, path: &str) -> PathBuf {
    world.production(LIVE).join(path)
}

/// Changes a file's bytes in a new inode, so that what is linked to it stays as it was.
fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn replace(path: &Path, old: &str, new: &str) {
    edit(path, |bytes| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.contains(old), "{old}\n{text}");
        *bytes = text.replacen(old, new, 1).into_bytes();
    });
}

/// The findings of a full check, and its exit code.
fn check(world: &World) -> (Option<i32>, Vec<Value>) {
    let run = world.cairn(["--json", "fsck", "--full"]);
    let report = run.json();
    assert_eq!(report["schema"], "cairn.fsck/1");
    (run.code(), report["findings"].as_array().unwrap().clone())
}

fn run_case(case: &Case) {
    let world = world();
    published(&world);
    assert_eq!(check(&world), (Some(0), vec![]), "before: {}", case.what);
    (case.harm)(&world);

    let (code, findings) = check(&world);
    let label = format!("{} ({})\n{findings:#?}", case.what, case.code.name());
    let found: Vec<_> = findings.iter().filter(|row| row["code"] == case.code.name()).collect();
    assert!(!found.is_empty(), "{label}");
    let named = found.iter().any(|row| {
        let affected = row["affected"].as_array().unwrap();
        row["subject"].as_str().unwrap().contains(case.subject)
            && !row["message"].as_str().unwrap().is_empty()
            && (case.affected.is_empty()
                || affected.iter().any(|path| path.as_str().unwrap().contains(case.affected)))
    });
    assert!(named, "{label}");

    let damage = findings.iter().any(|row| row["severity"] == "damage");
    assert_eq!(code, Some(if damage { 13 } else { 3 }), "{label}");
    if case.code.severity() == Severity::Damage {
        assert_eq!(code, Some(13), "{label}");
    }
    // What people read names the same.
    let text = world.cairn(["fsck", "--full"]);
    assert!(text.out().contains(case.code.name()), "{label}\n{}", text.report());
    repair_case(case, &world, &label);
}

/// A plan changes nothing; a repair leaves nothing, or says what it leaves; another does nothing.
fn repair_case(case: &Case, world: &World, label: &str) {
    let before = everything(world);
    let plan = world.cairn(["--json", "fsck", "--full", "--repair", "-n"]);
    assert!([Some(3), Some(13)].contains(&plan.code()), "{label}\n{}", plan.report());
    assert_eq!(before, everything(world), "a plan writes nothing: {label}");
    let planned = plan.json()["repairs"].as_array().unwrap().clone();
    let is = |state: &str| {
        let state = Value::from(state);
        planned.iter().filter(|row| row["outcome"]["state"] == state).count()
    };
    let label = format!("{label}\n{planned:#?}");
    assert_eq!(is("planned") + is("impossible"), planned.len(), "{label}");

    let run = world.cairn(["fsck", "--full", "--repair"]);
    let label = format!("{label}\n{}", run.report());
    assert_eq!(run.code(), Some(case.left.unwrap_or(0)), "{label}");
    let again = check(world);
    assert_eq!(again.0, run.code(), "{label}\n{again:#?}");
    assert_eq!(world.cairn(["fsck", "--full", "--repair"]).code(), run.code(), "{label}");
    if case.left.is_some() {
        return;
    }
    assert!(is("planned") > 0, "{label}");
    // What is repaired is whole: the views show what they should, and the store goes on.
    let options = treecmp::Options { mtime: treecmp::On::Files, ..<_>::default() };
    let staged = world.staging("mirror/pub/rocky/9.7-RC2");
    assert_eq!(treecmp::compare_with(&staged, &world.production(LIVE), &options), [], "{label}");
    let log = world.json(["log"]);
    assert_eq!(log["operations"][0]["verb"], "repair", "{label}");
    // Two cases have written this one themselves.
    let _ = small_update().write(&world.places().compose);
    publish(world);
    world.cairn(["rollback", "production/9.7"]).ok();
    assert_eq!(check(world), (Some(0), vec![]), "{label}");
}

/// Every file of store and mounts with its content, but for the index and the locks.
fn everything(world: &World) -> std::collections::BTreeMap<PathBuf, (u64, Vec<u8>)> {
    let mut found = std::collections::BTreeMap::new();
    let places = world.places();
    let mut stack = vec![places.store.clone(), places.staging.clone(), places.production.clone()];
    while let Some(dir) = stack.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let stat = path.symlink_metadata().unwrap();
            if stat.is_dir() {
                stack.push(path);
            } else if stat.is_file() && !path.ends_with("index.redb") {
                let bytes = fs::read(&path).unwrap();
                found.insert(path, (std::os::unix::fs::MetadataExt::ino(&stat), bytes));
            }
        }
    }
    found
}

/// A world whose trees are hard links into the pool, also where there are reflinks.
fn linked() -> World {
    let world = world();
    for mount in ["mounts.staging", "mounts.production"] {
        world.configure(mount, "link = \"hardlink\"");
    }
    published(&world);
    world
}

#[test]
fn every_code_is_provoked_by_what_it_is_for() {
    let mut provoked: BTreeSet<_> = CASES.iter().map(|case| case.code.name()).collect();
    // What a disk does not give is no harm that stays: causes.rs provokes it.
    assert!(provoked.insert(Code::ObjectUnreadable.name()));
    let all: BTreeSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
    assert_eq!(provoked, all);
    assert_eq!(Code::ALL.len(), 25, "a new code needs its case, and its number here");
    let failed: Vec<String> = std::thread::scope(|scope| {
        let half = CASES.len() / 2;
        let threads = [&CASES[..half], &CASES[half..]].map(|cases| {
            scope.spawn(|| {
                let run = |case: &Case| std::panic::catch_unwind(|| run_case(case)).err();
                let panics = cases.iter().filter_map(run);
                panics.filter_map(|panic| panic.downcast_ref::<String>().cloned()).collect()
            })
        });
        threads.into_iter().flat_map(|thread| -> Vec<String> { thread.join().unwrap() }).collect()
    });
    assert!(failed.is_empty(), "{} cases failed\n{}", failed.len(), failed.join("\n\n"));
}

#[test]
fn a_quick_check_finds_what_size_mode_and_time_tell_and_reads_no_content() {
    let world = linked();
    let quick = world.json(["fsck"]);
    assert_eq!((&quick["bytes_hashed"], &quick["findings"]), (&0.into(), &Value::Array(vec![])));
    for key in ["operations", "packs", "objects", "live_paths"] {
        assert!(quick[key].as_u64().unwrap() > 0, "{key}");
    }
    assert!(world.json(["fsck", "--full"])["bytes_hashed"].as_u64().unwrap() > 0);

    // In place, through the link that a mount shows: the pool's object changes with it.
    fs::write(live(&world, BASH), "edited through the link").unwrap();
    let run = world.cairn(["--json", "fsck", "--quick"]).exits(13);
    let report = run.json();
    let codes: BTreeSet<_> =
        report["findings"].as_array().unwrap().iter().map(|row| row["code"].to_string()).collect();
    assert!(codes.contains("\"object-size\"") && codes.contains("\"view-drift\""), "{report}");
}

#[test]
fn a_check_changes_nothing_and_the_next_command_puts_right_what_it_can() {
    let world = world();
    published(&world);
    let promote = ["promote", "9", "--delete", "--allow-deletes", "100%"];
    small_update().write(&world.places().compose).unwrap();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.crash_at(CrashPoint::OperationIndexed, 1, promote).killed();
    for _ in 0..2 {
        let (code, findings) = check(&world);
        assert_eq!((code, findings.len()), (Some(3), 1), "{findings:#?}");
        assert_eq!(findings[0]["severity"], "notice");
    }
    world.cairn(["publish"]).ok();
    assert_eq!(check(&world), (Some(0), vec![]));
    publish(&world);
    assert_eq!(check(&world), (Some(0), vec![]));
}

#[test]
fn a_view_that_somebody_is_about_to_swap_is_no_finding() {
    let world = world();
    published(&world);
    small_update().write(&world.places().compose).unwrap();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    let promote = ["promote", "9", "--delete", "--allow-deletes", "100%"];
    world.crash_at(CrashPoint::OperationIndexed, 1, promote).killed();

    // Logged and not swapped: that is what a promotion looks like while it holds its lock, which
    // is held here for the one that was killed.
    let lock = world.places().store.join("locks/ref-production+9.7");
    // NFS gives a lock for oneself only to who may write.
    let lock = File::options().write(true).open(lock).unwrap();
    lock.lock().unwrap();
    world.cairn(["fsck"]).ok();
    world.cairn(["fsck", "--full"]).ok();
    lock.unlock().unwrap();
    let found = world.cairn(["--json", "fsck"]).exits(3).json();
    assert_eq!(found["findings"][0]["code"], "view-pending");
    world.cairn(["publish"]).ok();
    world.cairn(["fsck"]).ok();
}

#[test]
fn a_store_that_is_not_there_is_no_finding() {
    let world = world();
    let error = world.cairn(["--json", "fsck"]).exits(10).error_json();
    assert_eq!((&error["kind"], &error["code"]), (&"no-store".into(), &10.into()));
}

#[test]
fn an_interrupted_full_check_is_gone_on_with() {
    let world = world();
    published(&world);
    let state = world.places().store.join("fsck.state");
    let all = world.json(["fsck", "--full"]);
    assert!(!state.exists() && all.get("resumed").is_none(), "{all}");
    let all = all["bytes_hashed"].as_u64().unwrap();

    let with_content = format!("objects production {}", &id_of(&world, BASH)[..2]);
    let interrupt = || {
        let mut slow = world.start(["fsck", "--full", "--limit", "8kB/s"]);
        while !fs::read_to_string(&state).unwrap_or_default().contains(&with_content) {
            assert!(slow.is_running());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        slow.signal(cairn_testkit::Signal::INT);
        slow.wait().exits(130);
        assert!(state.exists());
    };
    interrupt();
    // What it found sound is not read again, and what rots in the rest is found.
    let rest = world.json(["fsck", "--full"]);
    assert!(rest["resumed"].is_string() && !state.exists(), "{rest}");
    assert!(rest["bytes_hashed"].as_u64().unwrap() < all, "{rest}");

    interrupt();
    let anew = world.json(["fsck", "--full", "--restart"]);
    assert!(anew.get("resumed").is_none(), "{anew}");
    assert_eq!(anew["bytes_hashed"].as_u64(), Some(all));

    // What was damaged is looked at again, however often it is interrupted.
    interrupt();
    rot(&object(&world, "BaseOS/x86_64/os/Packages/z/zlib-1.2.11-40.el9.x86_64.rpm"));
    let found = world.cairn(["--json", "fsck", "--full", "--restart"]).exits(13).json();
    assert_eq!(found["findings"].as_array().unwrap().last().unwrap()["code"], "object-damaged");
    for rate in ["fast", "0", "-1MB/s"] {
        world.cairn(["fsck", "--full", &format!("--limit={rate}")]).exits(2);
    }
    world.cairn(["fsck", "--limit", "1MB/s"]).exits(2);
}

/// As a disk does it: neither size nor time tell.
fn rot(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    let mtime = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(b"\xff\x00", 200).unwrap();
    hostile::date(&file, mtime).unwrap();
}

fn id_of(world: &World, path: &str) -> String {
    let listed = world.json(["ls", &format!("production/9.7:{path}")]);
    listed["entries"][0]["object"].as_str().unwrap().to_owned()
}

#[test]
fn a_quick_check_reads_what_should_share_an_inode_and_does_not() {
    let world = linked();
    let path = live(&world, BASH);
    let mtime = fs::metadata(&path).unwrap().modified().unwrap();
    let bytes = fs::read(&path).unwrap();
    edit(&path, |_| {});
    hostile::date(&File::open(&path).unwrap(), mtime).unwrap();
    let report = world.json(["fsck"]);
    assert_eq!(report["bytes_hashed"], bytes.len(), "{report}");
    edit(&path, |bytes| bytes[300] ^= 1);
    hostile::date(&File::open(&path).unwrap(), mtime).unwrap();
    let run = world.cairn(["--json", "fsck"]).exits(3);
    let finding = &run.json()["findings"][0];
    assert_eq!(finding["code"], "view-drift", "{finding}");
    assert!(finding["affected"][0].as_str().unwrap().ends_with("its content was changed"));

    // A link to another object, of the same size and time even, is seen by its inode.
    let other = live(&world, "BaseOS/x86_64/os/Packages/z/zlib-1.2.11-40.el9.x86_64.rpm");
    fs::remove_file(&path).unwrap();
    fs::hard_link(&other, &path).unwrap();
    let run = world.cairn(["fsck", "--repair"]).ok();
    assert!(run.out().contains("publish-view"), "{}", run.report());
    assert_eq!(fs::read(live(&world, BASH)).unwrap(), bytes);
}

/// Where a sound copy is; everything else that has the content is destroyed.
#[test]
fn an_object_is_restored_from_wherever_its_content_still_is() {
    for (source, said) in [
        ("pool", "from the pool of staging"),
        ("tree", "from the tree "),
        ("compose", "from the compose "),
        ("sibling", "from its sibling 1 in the pool of production"),
        ("nothing", "no pool, no tree and no compose"),
    ] {
        let world = world();
        published(&world);
        let id = id_of(&world, BASH);
        let name = format!(".cairn/objects/{}/{}", &id[..2], &id[2..]);
        let (here, there) = (world.production(&name), world.staging(&name));
        let sound = fs::read(&here).unwrap();
        // Every place gets an inode of its own, so that each can be damaged for itself.
        let compose = world.latest().canonicalize().unwrap().join("compose").join(BASH);
        let staged = world.staging("mirror/pub/rocky/9.7-RC2").join(BASH);
        let places = [&here, &there, &compose, &staged, &live(&world, BASH)];
        for path in places {
            let mtime = fs::metadata(path).unwrap().modified().unwrap();
            edit(path, |_| {});
            hostile::date(&File::open(path).unwrap(), mtime).unwrap();
        }
        if source == "sibling" {
            let sibling = world.production(format!("{name}~1"));
            fs::copy(&here, &sibling).unwrap();
        }
        for path in places {
            let spared = match source {
                "pool" => path == &there,
                "tree" => path == &staged,
                "compose" => path == &compose,
                _ => false,
            };
            if !spared {
                rot(path);
            }
        }
        let plan = world.cairn(["fsck", "--full", "--repair", "-n"]).exits(13);
        assert!(plan.out().contains(said), "{source}\n{}", plan.report());
        let run = world.cairn(["fsck", "--full", "--repair"]);
        assert!(run.out().contains(said), "{source}\n{}", run.report());
        let kept = fs::read_dir(world.production(".cairn/quarantine")).unwrap().count();
        assert!(kept >= 1, "{source}: what was damaged is kept");
        if source == "nothing" {
            assert_eq!(run.code(), Some(13), "{}", run.report());
            assert!(!here.exists() && !there.exists(), "it is never linked again");
            assert!(live(&world, BASH).exists(), "what is served stays");
            // The same content from elsewhere heals it.
            fs::write(&compose, &sound).unwrap();
            world.cairn(["ingest", "--reread", world.latest().to_str().unwrap()]).ok();
            world.cairn(["fsck", "--full", "--repair"]).ok();
        } else {
            assert_eq!(run.code(), Some(0), "{source}\n{}", run.report());
        }
        for path in [&here, &there, &live(&world, BASH)] {
            assert!(fs::read(path).unwrap() == sound, "{source}: {}", path.display());
        }
        assert_eq!(check(&world), (Some(0), vec![]), "{source}");
    }
}

#[test]
fn a_repair_waits_for_nobody_longer_than_it_is_told_and_names_who_writes() {
    let world = world();
    published(&world);
    fs::remove_file(world.places().store.join("index.redb")).unwrap();
    let lock = File::open(world.places().store.join("locks/store")).unwrap();
    lock.lock_shared().unwrap();
    let run = world.cairn(["fsck", "--repair", "--lock-wait", "0s"]).exits(11);
    assert!(run.err().contains("the store is busy"), "{}", run.report());
    drop(lock);
    world.cairn(["fsck", "--repair"]).ok();
}
