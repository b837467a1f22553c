//! What the scripts could do and cairn cannot: the table of `docs/hazards.md`, held to its word.
//!
//! Most rows name tests that stand beside what they test; the rest are here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use cairn_testkit::sample::{Advisory, Compose};
use cairn_testkit::{World, available, metadata, replaces_what_is_open, treecmp};

use crate::crashes::{publish, published, small, small_update};
use crate::world;

const STAGING: &str = "mirror/pub/rocky/9.7-RC2";
const PRODUCTION: &str = "mirror/pub/rocky/9.7";
const BASEOS: &str = "BaseOS/x86_64/os";

/// How many hazards there are.
const HAZARDS: usize = 25;

fn ingest(world: &World) {
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
}

/// Runs `work` while another thread looks, and returns what that has found wrong.
fn watched(look: impl Fn() -> Option<String> + Sync, work: impl FnOnce()) -> (u64, Vec<String>) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let (mut looks, mut found) = (0, Vec::new());
            while !stop.load(Ordering::Relaxed) {
                looks += 1;
                found.extend(look());
            }
            (looks, found)
        });
        // However the work ends, the watcher must not look for ever.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        stop.store(true, Ordering::Relaxed);
        let seen = watcher.join().unwrap();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
        seen
    })
}

/// Finds every test of the sources: its name, with the parts of the path of its file.
fn tests(root: &Path) -> Vec<(BTreeSet<String>, String)> {
    let mut found = Vec::new();
    let mut rest = vec![root.to_owned()];
    while let Some(dir) = rest.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                rest.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let parts = path.with_extension("");
                let parts: BTreeSet<String> =
                    parts.iter().map(|part| part.to_string_lossy().into_owned()).collect();
                let text = fs::read_to_string(&path).unwrap();
                let mut test = false;
                for line in text.lines().map(str::trim) {
                    if let Some(rest) = line.strip_prefix("fn ") {
                        if test {
                            let name = rest.split('(').next().unwrap_or_default();
                            found.push((parts.clone(), name.to_owned()));
                        }
                        test = false;
                    } else if line == "#[test]" {
                        test = true;
                    } else if !line.starts_with("#[") {
                        test = false;
                    }
                }
            }
        }
    }
    found
}

#[test]
fn every_hazard_has_its_row_and_every_row_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let tests = tests(root);
    assert!(tests.len() > 300, "{}", tests.len());
    let text = fs::read_to_string(root.join("docs/hazards.md")).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let Ok(number) = cells[0].parse::<usize>() else { continue };
        assert_eq!(cells.len(), 5, "{line}");
        assert!(rows.insert(number, cells).is_none(), "hazard {number} has two rows");
    }
    assert_eq!(rows.keys().copied().collect::<Vec<_>>(), (1..=HAZARDS).collect::<Vec<_>>());
    for (number, cells) in rows {
        let [_, hazard, outcome, how, named] = cells.as_slice() else { unreachable!() };
        assert!(hazard.len() > 20 && how.len() > 20, "hazard {number}");
        assert!(["impossible", "refused"].contains(outcome), "hazard {number}: {outcome:?}");
        let named: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "hazard {number} names no test");
        for test in named {
            let (module, name) = test.rsplit_once("::").unwrap_or_else(|| panic!("{test}"));
            let is = |(parts, found): &(BTreeSet<String>, String)| {
                found == name && module.split("::").all(|part| parts.contains(part))
            };
            assert!(tests.iter().any(is), "hazard {number}: there is no test {test}");
        }
    }
}

#[test]
fn a_staging_mount_that_is_empty_or_away_never_empties_production() {
    let world = world();
    published(&world);
    let before = treecmp::digest(&world.production(PRODUCTION));
    let small_update = small_update().write(&world.places().compose).unwrap();
    world.cairn(["ingest", small_update.dir.to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    // What is promoted is a snapshot: the directory that somebody emptied is not asked.
    fs::remove_dir_all(world.staging(STAGING)).unwrap();
    world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%"]).ok();
    assert!(world.production(PRODUCTION).join(BASEOS).join("repodata/repomd.xml").is_file());
    world.cairn(["rollback", "production/9.7"]).ok();
    assert_eq!(treecmp::digest(&world.production(PRODUCTION)), before);
    // Nor is it if the mount point is there and nothing is mounted.
    let away = world.staging("").with_file_name("away");
    fs::rename(world.staging(""), &away).unwrap();
    fs::create_dir(world.staging("")).unwrap();
    let run = world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%"]);
    if run.code() == Some(0) {
        assert!(world.production(PRODUCTION).join(BASEOS).join("repodata/repomd.xml").is_file());
    } else {
        assert_eq!(treecmp::digest(&world.production(PRODUCTION)), before, "{}", run.report());
    }
    let lists = fs::read_to_string(world.production("mirror/pub/rocky/fullfilelist")).unwrap();
    assert!(lists.contains("9.7/BaseOS/x86_64/os/repodata/repomd.xml"), "{lists}");
}

#[test]
fn staging_is_never_without_metadata_and_keeps_its_advisories() {
    let world = world();
    let advisory = Advisory::new("RLSA-2025:1", "a fix").security("Important").updates("bash");
    small().advisory(advisory).write(&world.places().compose).unwrap();
    world.cairn(["init"]).ok();
    ingest(&world);
    world.cairn(["stage", "9", "Rocky"]).ok();
    world.cairn(["promote", "9"]).ok();
    small_update().write(&world.places().compose).unwrap();
    ingest(&world);
    let repomd = world.staging(STAGING).join(BASEOS).join("repodata/repomd.xml");
    let look = || match fs::read_to_string(&repomd) {
        Ok(text) if text.contains("type=\"updateinfo\"") && text.ends_with("</repomd>\n") => None,
        Ok(text) => Some(text),
        Err(error) => Some(error.to_string()),
    };
    let (looks, found) = watched(look, || {
        world.cairn(["stage", "9", "Rocky"]).ok();
        world.cairn(["rollback", "staging/9.7-RC2"]).ok();
        world.cairn(["stage", "9", "Rocky"]).ok();
    });
    assert!(looks > 0 && found.is_empty(), "{looks}: {found:?}");
    world.cairn(["promote", "9"]).ok();
    let repos = metadata::repos(&world.production(PRODUCTION));
    assert!(repos[Path::new(BASEOS)].advisories().contains("RLSA-2025:1"));
}

#[test]
fn a_reader_of_a_list_sees_it_whole_whenever_it_looks() {
    let Some(()) = available(replaces_what_is_open()) else { return };
    let world = world();
    published(&world);
    small_update().write(&world.places().compose).unwrap();
    ingest(&world);
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    let list = world.production("mirror/pub/rocky/fullfiletimelist-rocky");
    let text = || fs::read_to_string(&list);
    let look = || match text() {
        Ok(text) => {
            // A list that is cut off has no end.
            let whole = text.contains("\n[Checksums SHA1]\n") && text.ends_with("\n[End]\n");
            (!whole).then(|| {
                format!("{} bytes: {:?}", text.len(), text.get(text.len().saturating_sub(80)..))
            })
        }
        Err(error) => Some(error.to_string()),
    };
    assert_eq!(look(), None, "{}", text().unwrap());
    let (looks, found) = watched(look, || {
        world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%"]).ok();
        world.cairn(["rollback", "production/9.7"]).ok();
        world.cairn(["rollback", "production/9.7"]).ok();
    });
    assert!(looks > 0 && found.is_empty(), "{looks}: {found:?}");
    // A list names neither itself nor the one before it.
    let names = fs::read_to_string(world.production("mirror/pub/rocky/fullfilelist")).unwrap();
    assert!(!names.contains("fullfile"), "{names}");
}

#[test]
fn what_is_edited_in_place_shares_its_inode_with_nothing() {
    let world = world();
    world.first();
    world.cairn(["init"]).ok();
    publish(&world);
    let mut edited = Vec::new();
    for path in [format!("{BASEOS}/.treeinfo"), format!("{BASEOS}/repodata/repomd.xml")] {
        let [live, staged] =
            [world.production(PRODUCTION), world.staging(STAGING)].map(|root| root.join(&path));
        assert_eq!(live.metadata().unwrap().nlink(), 1, "{path}");
        let before = fs::read(&staged).unwrap();
        // As a person with an editor would, or a script that opens it for writing.
        fs::write(&live, "edited").unwrap();
        assert_eq!(fs::read(&staged).unwrap(), before, "{path}");
        edited.push((live, before));
    }
    // The edit is found, and nothing that is stored has changed.
    let report = world.cairn(["--json", "fsck", "--full"]).exits(3).json();
    let codes: BTreeSet<&str> =
        report["findings"].as_array().unwrap().iter().filter_map(|f| f["code"].as_str()).collect();
    assert_eq!(codes, BTreeSet::from(["view-drift"]));
    world.cairn(["fsck", "--full", "--repair"]).ok();
    for (live, before) in edited {
        assert_eq!(fs::read(&live).unwrap(), before, "{}", live.display());
    }
}

#[test]
fn nothing_is_written_to_a_name_that_others_could_take() {
    let mut world = world();
    world.env("TMPDIR", "/no/such/directory");
    published(&world);
    small_update().write(&world.places().compose).unwrap();
    ingest(&world);
    world.cairn(["stage", "9", "Rocky"]).ok();
    world.cairn(["promote", "9"]).ok();
}

#[test]
fn a_plan_says_what_then_happens() {
    let world = world();
    published(&world);
    small_update().write(&world.places().compose).unwrap();
    ingest(&world);
    for args in [
        &["stage", "9", "Rocky"][..],
        &["promote", "9"],
        &["stage", "9", "Rocky", "--delete"],
        &["promote", "9", "--delete", "--allow-deletes", "100%"],
        &["rollback", "production/9.7"],
    ] {
        let plan = world.json([args, &["-n"]].concat());
        let done = world.json(args);
        assert_eq!(plan["changed"], done["changed"], "{args:?}");
        let names = |report: &serde_json::Value| -> Vec<serde_json::Value> {
            report["refs"].as_array().unwrap().iter().map(|moved| moved["name"].clone()).collect()
        };
        assert_eq!(names(&plan), names(&done), "{args:?}");
        assert_eq!(
            (&plan["operation"], plan["dry_run"].as_bool()),
            (&serde_json::Value::Null, Some(true))
        );
    }
}

#[test]
fn loose_files_deep_directories_and_links_come_and_go_with_the_compose() {
    let world = world();
    let deep = "compose/BaseOS/x86_64/os/a/b/c/d/e/deep";
    small()
        .file("compose/loose", "at the top")
        .file("compose/BaseOS/x86_64/loose", "in between")
        .file(deep, "far below")
        .symlink("compose/link", "BaseOS/x86_64")
        .write(&world.places().compose)
        .unwrap();
    world.cairn(["init"]).ok();
    publish(&world);
    let production = world.production(PRODUCTION);
    treecmp::assert_equal(&world.latest().join("compose"), &production);
    assert!(production.join("link").is_symlink() && production.join("loose").is_file());
    small_update().write(&world.places().compose).unwrap();
    ingest(&world);
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%"]).ok();
    for path in ["loose", "link", "BaseOS/x86_64/loose", "BaseOS/x86_64/os/a"] {
        assert!(production.join(path).symlink_metadata().is_err(), "{path}");
    }
}

#[test]
fn a_package_directory_may_be_called_as_what_updates_leave_out() {
    let world = world();
    small()
        .file("compose/BaseOS/x86_64/os/Packages/boot/images/readme", "beside packages")
        .file("compose/BaseOS/x86_64/os/images/boot.iso", "an image")
        .write(&world.places().compose)
        .unwrap();
    world.cairn(["init"]).ok();
    ingest(&world);
    world.cairn(["stage", "9", "Rocky"]).ok();
    let os = world.staging(STAGING).join(BASEOS);
    assert!(os.join("Packages/boot/images/readme").is_file());
    assert!(!os.join("images").exists(), "an update leaves images out");
}

#[test]
fn a_repo_that_nobody_listed_is_merged_and_described_like_any_other() {
    let world = world();
    let compose = |date: &str, version: &str| {
        Compose::new("9", "Rocky", "9.7", date)
            .repo("DebugResource", "x86_64")
            .package("tool", version)
            .write(&world.places().compose)
            .unwrap()
    };
    world.cairn(["init"]).ok();
    // The name has what the scripts looked for in paths, and the configuration does not have it.
    assert!(!fs::read_to_string(world.config()).unwrap().contains("DebugResource"));
    for (date, version) in [("20251101.0", "1-1.el9"), ("20251115.0", "2-1.el9")] {
        compose(date, version);
        ingest(&world);
        world.cairn(["stage", "9", "Rocky"]).ok();
    }
    let repos = metadata::repos(&world.staging(STAGING));
    let repo = &repos[Path::new("DebugResource/x86_64/os")];
    assert_eq!(repo.packages().len(), 2);
    repos.values().for_each(metadata::Repo::assert_true);
}

#[test]
fn composes_may_be_removed_once_they_are_taken_in() {
    let world = world();
    published(&world);
    let before = treecmp::digest(&world.production(PRODUCTION));
    small_update().write(&world.places().compose).unwrap();
    ingest(&world);
    fs::remove_dir_all(world.places().compose.join("9")).unwrap();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%"]).ok();
    assert_ne!(treecmp::digest(&world.production(PRODUCTION)), before);
    world.cairn(["rollback", "production/9.7"]).ok();
    assert_eq!(treecmp::digest(&world.production(PRODUCTION)), before);
    world.cairn(["fsck", "--full"]).ok();
    let run = world.cairn(["ingest", world.latest().to_str().unwrap()]).exits(1);
    assert!(run.err().contains("latest-Rocky-9"), "{}", run.report());
}
