//! Records that are not what they were: the superblock, mount markers, `trees.json`, the state of
//! mirror lists, locks, what is condemned. Every command ends with an answer or an error that names
//! the file, never with a panic, and nothing that it does meanwhile is wrong afterwards.

use std::fs;
use std::path::PathBuf;

use cairn_testkit::{Run, World, treecmp};

use crate::crashes::{no_leftovers, publish, published, small_update};
use crate::world;

const LIVE: &str = "mirror/pub/rocky/9.7";

/// What a record becomes.
type Damage = (&'static str, fn(&[u8]) -> Vec<u8>);

const DAMAGES: &[Damage] = &[
    ("empty", |_| Vec::new()),
    ("half of it", |bytes| bytes[..bytes.len() / 2].to_vec()),
    ("all but the last byte", |bytes| bytes[..bytes.len().saturating_sub(2)].to_vec()),
    ("twice", |bytes| [bytes, bytes].concat()),
    ("null", |_| b"null".to_vec()),
    ("a list", |_| b"[]".to_vec()),
    ("an object", |_| b"{}".to_vec()),
    ("zeros", |bytes| vec![0; bytes.len().max(64)]),
    ("no text", |_| (0..=255).cycle().take(3000).collect()),
    ("a hundred thousand levels", |_| b"[".repeat(100_000)),
    ("digits grown", |bytes| {
        let text = String::from_utf8_lossy(bytes).into_owned();
        text.replace(": 1", ": 99999999999999999999999").into_bytes()
    }),
    ("other signs", |bytes| {
        String::from_utf8_lossy(bytes).replace(": ", ": -").replace('a', "\u{202e}").into_bytes()
    }),
    ("flipped bits", |bytes| {
        let mut bytes = bytes.to_vec();
        bytes.iter_mut().step_by(11).for_each(|byte| *byte ^= 0x41);
        bytes
    }),
    ("paths that climb", |bytes| {
        String::from_utf8_lossy(bytes).replace("tree-", "../../tree-").into_bytes()
    }),
];

const COMMANDS: &[&[&str]] = &[
    &["status"],
    &["promote", "9", "--delete", "-n", "--allow-deletes", "100%"],
    &["gc", "-n"],
    &["rollback", "production/9.7", "-n"],
];

/// Asserts that a command ended as a command may.
#[track_caller]
fn ended_well(run: &Run, what: &str) {
    let code = run.code().unwrap_or_else(|| panic!("{what}: a signal ended it\n{}", run.report()));
    assert!(![70, 101].contains(&code), "{what}\n{}", run.report());
    assert!(!run.err().contains("panicked"), "{what}\n{}", run.report());
    let said = run.err().contains("error: ") || !run.out().is_empty();
    assert!(code == 0 || said, "{what}: {code} and no reason\n{}", run.report());
}

fn records(world: &World) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![
        world.places().store.join("locks"),
        world.production(".cairn/lists"),
        world.production(".cairn/views/production+9.7"),
        world.staging(".cairn/views/staging+9.7-RC2"),
    ];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            // What else lies beside `trees.json` are the trees themselves.
            if path.is_file() {
                found.push(path);
            }
        }
    }
    found.push(world.places().store.join("format"));
    found.push(world.places().store.join("condemned"));
    found.push(world.production(".cairn/mount.json"));
    found.sort();
    found.retain(|path| path.exists());
    found
}

#[test]
fn records_that_are_not_what_they_were_are_named_or_made_anew() {
    let world = world();
    published(&world);
    small_update().write(&world.places().compose).unwrap();
    publish(&world);
    world.cairn(["gc"]).ok();
    let live = treecmp::digest(&world.production(LIVE));
    let staging = treecmp::digest(&world.staging("mirror/pub/rocky/9.7-RC2"));
    let records = records(&world);
    for name in ["format", "mount.json", "trees.json"] {
        assert!(records.iter().any(|path| path.ends_with(name)), "no {name} in {records:?}");
    }
    for path in records {
        let bytes = fs::read(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions();
        for (number, (label, damage)) in DAMAGES.iter().enumerate() {
            let damaged = damage(&bytes);
            let what = format!("{} becomes {label}", path.display());
            // Each damage meets the check and another command, turn by turn.
            for args in [&["fsck"][..], COMMANDS[number % COMMANDS.len()]] {
                fs::remove_file(&path).unwrap();
                fs::write(&path, &damaged).unwrap();
                ended_well(&world.cairn(args), &format!("{what}, {args:?}"));
                // A plan changes nothing, whatever it met.
                assert_eq!(treecmp::digest(&world.production(LIVE)), live, "{what}, {args:?}");
            }
            let _ = fs::remove_file(&path);
            fs::write(&path, &bytes).unwrap();
            fs::set_permissions(&path, mode.clone()).unwrap();
        }
        // One that writes: it may refuse, and may not make it worse.
        fs::remove_file(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let run = world.cairn(["publish"]);
        ended_well(&run, &format!("{} is cut, publish", path.display()));
        assert_eq!(treecmp::digest(&world.production(LIVE)), live, "{}", path.display());
        if run.code() != Some(0) {
            fs::remove_file(&path).unwrap();
            fs::write(&path, &bytes).unwrap();
            fs::set_permissions(&path, mode).unwrap();
        }
        world.cairn(["publish"]).ok();
        world.cairn(["fsck", "--full"]).ok();
    }
    assert_eq!(treecmp::digest(&world.staging("mirror/pub/rocky/9.7-RC2")), staging);
    no_leftovers(&world, "after damaged records");
}
