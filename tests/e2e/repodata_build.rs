//! `repodata build`: a plain directory, no store, beside createrepo_c.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use cairn_testkit::clients::{Dnf, createrepo};
use cairn_testkit::filesystem::{FsKind, Loop};
use cairn_testkit::metadata::{self, Repo};
use cairn_testkit::{CrashPoint, Run, Running, Signal, available, hostile, treecmp};
use serde_json::Value;
use tempfile::TempDir;

/// A repo of the sample in a directory of its own, with the metadata of its compose.
struct Plain {
    dir: TempDir,
}

impl Plain {
    fn new(repo: &str) -> Self {
        let world = crate::world();
        let from = world.first().dir.join("compose").join(repo);
        let dir = tempfile::tempdir().unwrap();
        copy(&from, &dir.path().join("os"));
        Self { dir }
    }

    /// The same without metadata.
    fn bare(repo: &str) -> Self {
        let plain = Self::new(repo);
        fs::remove_dir_all(plain.path().join("repodata")).unwrap();
        plain
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("os")
    }

    fn repo(&self) -> Repo {
        repo(&self.path())
    }

    fn build(&self, args: &[&str]) -> Value {
        build(&self.path(), args)
    }

    fn fails(&self, args: &[&str], code: i32, words: &[&str]) {
        let before = treecmp::digest(&self.path());
        let run = Run::of(command(&self.path()).args(args)).exits(code);
        for word in words {
            assert!(run.err().contains(word), "{word}\n{}", run.report());
        }
        assert_eq!(treecmp::digest(&self.path()), before, "{}", run.report());
    }

    /// The packages, sorted.
    fn rpms(&self) -> Vec<PathBuf> {
        let packages = self.repo().packages().into_keys();
        packages.map(|href| self.path().join(href)).collect()
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

fn repo(dir: &Path) -> Repo {
    metadata::repos(dir).remove(Path::new("")).expect("a repo")
}

/// A command that has no configuration and no store.
fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    command.env("CAIRN_CONFIG", "/nonexistent/cairn.toml");
    command.args(["repodata", "build"]).arg(dir);
    command
}

fn build(dir: &Path, args: &[&str]) -> Value {
    let json = Run::of(command(dir).arg("--json").args(args)).ok().json();
    assert_eq!(json["schema"], "cairn.repodata-build/1");
    json
}

/// What is told of packages: all, carried, anew, read, gone.
fn counts(json: &Value) -> [u64; 5] {
    ["packages", "carried", "fresh", "read", "removed"].map(|key| json[key].as_u64().unwrap())
}

/// Everything that a write would change.
fn state(dir: &Path) -> Vec<(PathBuf, u64, i64, i64)> {
    let mut rest = vec![dir.to_owned()];
    let mut found = Vec::new();
    while let Some(path) = rest.pop() {
        let stat = path.symlink_metadata().unwrap();
        if stat.is_dir() {
            rest.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.push((path, stat.ino(), stat.mtime(), stat.mtime_nsec()));
    }
    found.sort();
    found
}

/// Moves a file's time to some seconds ago: long enough for it not to have been written just now.
fn date(path: &Path, ago: u64) {
    let time = SystemTime::now() - Duration::from_secs(ago);
    hostile::date(&fs::File::options().append(true).open(path).unwrap(), time).unwrap();
}

#[test]
fn it_describes_what_createrepo_describes_and_dnf_reads_it() {
    for name in ["BaseOS/x86_64/os", "BaseOS/source/tree", "BaseOS/x86_64/debug/tree"] {
        let plain = Plain::bare(name);
        let json = plain.build(&[]);
        let ours = plain.repo();
        ours.assert_true();
        let number = ours.packages().len() as u64;
        assert!(number > 0, "{name}");
        assert_eq!(counts(&json), [number, 0, number, number, 0]);
        assert_eq!(json["changed"], true);

        let other = plain.dir.path().join("theirs");
        copy(&plain.path(), &other);
        fs::remove_dir_all(other.join("repodata")).unwrap();
        let Some(_) = available(createrepo(&other, &["--no-database"])) else { return };
        let theirs = repo(&other);
        for kind in ["primary", "filelists", "other"] {
            let text = |repo: &Repo| {
                let text = String::from_utf8(repo.content(kind).unwrap()).unwrap();
                // Source packages have no source package: a difference in spelling that is known.
                let text =
                    text.replace("<rpm:sourcerpm>(none)</rpm:sourcerpm>", "<rpm:sourcerpm/>");
                text.replace("<rpm:sourcerpm></rpm:sourcerpm>", "<rpm:sourcerpm/>")
            };
            assert_eq!(text(&ours), text(&theirs), "{name}: {kind}");
        }
        let Some(dnf) = available(Dnf::new()) else { return };
        let listed = dnf.repo("ours", plain.path()).nevras();
        assert_eq!(listed, Dnf::new().unwrap().repo("theirs", &other).nevras(), "{name}");
    }
}

#[test]
fn nothing_is_written_where_nothing_differs() {
    let plain = Plain::new("AppStream/x86_64/os");
    let before = state(&plain.path());
    let number = plain.repo().packages().len() as u64;
    // The compose's own metadata is right, whoever made it.
    let first = plain.build(&[]);
    assert_eq!(counts(&first), [number, number, 0, 0, 0], "{first}");
    assert_eq!((&first["changed"], state(&plain.path())), (&Value::Bool(false), before));

    // What is read again says the same.
    plain.build(&["--revision", "x"]);
    let before = state(&plain.path());
    let again = plain.build(&["--reread"]);
    assert_eq!(counts(&again), [number, number, 0, number, 0], "{again}");
    assert_eq!((&again["changed"], state(&plain.path())), (&Value::Bool(false), before));

    // From nothing the same bytes come again.
    let other = plain.dir.path().join("other");
    for dir in [&plain.path(), &other] {
        if *dir == other {
            copy(&plain.path(), &other);
        }
        fs::remove_dir_all(dir.join("repodata")).unwrap();
        build(dir, &[]);
    }
    let (here, there) = (plain.path().join("repodata"), other.join("repodata"));
    let options = treecmp::Options { mtime: treecmp::On::Nothing, ..Default::default() };
    assert_eq!(treecmp::compare_with(&here, &there, &options), []);
}

#[test]
fn only_what_is_not_known_is_read() {
    let plain = Plain::new("BaseOS/x86_64/os");
    let rpms = plain.rpms();
    let number = rpms.len() as u64;
    let element = |rpm: &Path| {
        let primary = String::from_utf8(plain.repo().content("primary").unwrap()).unwrap();
        let name = rpm.file_name().unwrap().to_str().unwrap();
        primary.split("<package ").find(|text| text.contains(name)).map(str::to_owned)
    };
    let kept = element(&rpms[4]).unwrap();

    // Another time: read again, and its new time is told, so the next run knows it.
    date(&rpms[0], 100);
    let json = plain.build(&["-n"]);
    assert_eq!((counts(&json), &json["dry_run"]), ([number, number - 1, 1, 1, 0], &true.into()));
    assert_eq!(counts(&plain.build(&[])), [number, number - 1, 1, 1, 0]);
    assert_eq!(counts(&plain.build(&[])), [number, number, 0, 0, 0]);

    // Other content of the same size.
    let mut bytes = fs::read(&rpms[1]).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let old = plain.repo().packages();
    fs::write(&rpms[1], bytes).unwrap();
    date(&rpms[1], 50);
    assert_eq!(counts(&plain.build(&[])), [number, number - 1, 1, 1, 0]);
    let href = rpms[1].strip_prefix(plain.path()).unwrap().to_str().unwrap();
    assert_ne!(old[href].pkgid, plain.repo().packages()[href].pkgid);

    // Gone, moved, and new.
    fs::remove_file(&rpms[2]).unwrap();
    fs::create_dir(plain.path().join("Packages/else")).unwrap();
    let moved = plain.path().join("Packages/else").join(rpms[3].file_name().unwrap());
    fs::rename(&rpms[3], &moved).unwrap();
    let stray = Plain::new("AppStream/x86_64/os");
    fs::copy(&stray.rpms()[0], plain.path().join("stray.rpm")).unwrap();
    date(&plain.path().join("stray.rpm"), 50);
    let json = plain.build(&[]);
    assert_eq!(counts(&json), [number, number - 1, 1, 2, 2], "{json}");
    plain.repo().assert_true();
    assert_eq!(element(&rpms[4]), Some(kept));
    assert!(element(&moved).unwrap().contains("Packages/else/"));

    // An update says what a build from nothing says.
    let other = plain.dir.path().join("other");
    copy(&plain.path(), &other);
    fs::remove_dir_all(other.join("repodata")).unwrap();
    build(&other, &[]);
    for kind in ["primary", "filelists", "other"] {
        let packages = |dir: &Path| {
            let text = String::from_utf8(repo(dir).content(kind).unwrap()).unwrap();
            let elements = text.split("<package ").skip(1).map(str::len);
            elements.count()
        };
        assert_eq!(packages(&plain.path()), packages(&other), "{kind}");
    }
    assert_eq!(repo(&other).packages(), plain.repo().packages());
}

#[test]
fn a_package_that_was_written_while_the_metadata_was_made_is_read_again() {
    let plain = Plain::new("BaseOS/x86_64/os");
    let rpm = plain.rpms().remove(0);
    // In the same second, in which it may be written again.
    let time = SystemTime::now() + Duration::from_secs(2);
    hostile::date(&fs::File::options().append(true).open(&rpm).unwrap(), time).unwrap();
    plain.build(&[]);
    let number = plain.rpms().len() as u64;
    let mut bytes = fs::read(&rpm).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&rpm, bytes).unwrap();
    hostile::date(&fs::File::options().append(true).open(&rpm).unwrap(), time).unwrap();
    assert_eq!(counts(&plain.build(&[])), [number, number - 1, 1, 1, 0]);
    plain.repo().assert_true();
    // It is read each time, and as nothing differs nothing is written.
    let before = state(&plain.path());
    let json = plain.build(&[]);
    assert_eq!(counts(&json), [number, number, 0, 1, 0], "{json}");
    assert_eq!(state(&plain.path()), before);
}

#[test]
fn what_is_beside_the_packages_stays_or_is_what_is_asked_for() {
    let base = Plain::new("BaseOS/x86_64/os");
    let modular = Plain::new("AppStream/x86_64/os");
    let before = base.repo();
    let (groups, mut advisories) = (before.groups(), before.advisories());
    assert!(!groups.is_empty() && !advisories.is_empty());
    fs::remove_file(&base.rpms()[0]).unwrap();
    fs::remove_file(&modular.rpms()[0]).unwrap();
    let streams = modular.repo().streams();
    base.build(&[]);
    modular.build(&[]);
    let after = base.repo();
    after.assert_true();
    assert_eq!((after.groups(), after.advisories()), (groups, advisories.clone()));
    assert!(!streams.is_empty());
    assert_eq!(modular.repo().streams(), streams);
    assert_eq!(after.repomd.tags, before.repomd.tags);

    let file = |name: &str, text: &str| {
        let path = base.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let comps = file(
        "comps.xml",
        "<comps><group><id>rescue</id><name>Rescue</name><packagelist>\
         <packagereq>bash</packagereq></packagelist></group></comps>",
    );
    let modules = file(
        "modules.yaml",
        "---\ndocument: modulemd\nversion: 2\ndata:\n  name: ruby\n  stream: \"3.3\"\n  \
         version: 1\n  context: c\n  arch: x86_64\n  summary: R\n  description: >-\n    R\n  \
         license:\n    module: [MIT]\n...\n",
    );
    let errata = file(
        "errata.xml",
        "<updates><update type=\"security\"><id>NEW-1</id><title>t</title>\
         <issued date=\"2025-01-01 00:00:00\"/><pkglist/></update></updates>",
    );
    let args = ["--comps", &comps, "--modules", &modules, "--updateinfo", &errata];
    let json =
        base.build(&[&args[..], &["--revision", "nine", "--distro", "cpe:/o:x:9,X 9"]].concat());
    assert_eq!(json["revision"], "nine");
    let asked = base.repo();
    asked.assert_true();
    assert_eq!(asked.groups(), BTreeSet::from(["rescue".to_owned()]));
    assert_eq!(asked.streams(), BTreeSet::from(["ruby:3.3:1:c:x86_64".to_owned()]));
    advisories.insert("NEW-1".to_owned());
    assert_eq!(asked.advisories(), advisories);
    assert_eq!(asked.repomd.tags.distro[0].cpeid.as_deref(), Some("cpe:/o:x:9"));
    let again = base.build(&args);
    assert_eq!((&again["changed"], &again["revision"]), (&false.into(), &"nine".into()));

    // Every compression, which stays from then on.
    let compressions = [("gz", ".gz"), ("xz", ".xz"), ("zstd", ".zst"), ("none", ".xml")];
    for (days, (name, suffix)) in (1..).zip(compressions) {
        assert_eq!(base.build(&["--compression", name])["changed"], true);
        base.repo().assert_true();
        assert_eq!(base.build(&["--compression", name])["changed"], false);
        let rpm = base.rpms().pop().unwrap();
        date(&rpm, days * 86_400);
        assert_eq!(base.build(&[])["fresh"], 1);
        assert!(base.repo().repomd.record("primary").unwrap().href.ends_with(suffix), "{name}");
    }

    // Files that are not what they should be.
    let broken = file("broken", "<comps><group>");
    base.fails(&["--comps", &broken], 1, &[&broken]);
    base.fails(&["--updateinfo", &comps], 1, &[&comps]);
    base.fails(&["--modules", &comps], 1, &[&comps]);
    base.fails(&["--comps", "/nonexistent/comps.xml"], 1, &["/nonexistent/comps.xml"]);
}

#[test]
fn metadata_of_createrepo_is_believed_and_replaced() {
    let plain = Plain::bare("BaseOS/x86_64/os");
    let Some(_) = available(createrepo(&plain.path(), &["--database"])) else { return };
    let before = state(&plain.path());
    let number = plain.repo().packages().len() as u64;
    assert_eq!(counts(&plain.build(&[])), [number, number, 0, 0, 0]);
    assert_eq!(state(&plain.path()), before);
    let rpm = plain.rpms().remove(0);
    fs::remove_file(rpm).unwrap();
    let json = plain.build(&[]);
    assert_eq!(counts(&json), [number - 1, number - 1, 0, 0, 1]);
    // The databases were of other packages.
    assert_eq!(json["records"], serde_json::json!(["primary", "filelists", "other"]));
    plain.repo().assert_true();
    // And createrepo_c goes on with ours.
    createrepo(&plain.path(), &["--no-database", "--update"]).unwrap();
    assert_eq!(counts(&plain.build(&[])), [number - 1, number - 1, 0, 0, 0]);
}

#[test]
fn hostile_directories_are_refused_or_told_and_never_half_listed() {
    let plain = Plain::new("BaseOS/x86_64/os");
    let packages = plain.path().join("Packages");
    let number = plain.rpms().len() as u64;
    let rpm = plain.rpms().remove(0);

    // Links, and packages that are there twice, are told.
    symlink(&rpm, packages.join("link.rpm")).unwrap();
    symlink(packages.join("b"), packages.join("elsewhere")).unwrap();
    fs::copy(&rpm, packages.join("twin.rpm")).unwrap();
    let json = plain.build(&[]);
    assert_eq!(json["packages"], number);
    let notes = json["notes"].to_string();
    assert!(notes.contains("Packages/link.rpm is a symbolic link"), "{notes}");
    assert!(notes.contains("Packages/twin.rpm is the same package as"), "{notes}");
    fs::remove_file(packages.join("link.rpm")).unwrap();
    fs::remove_file(packages.join("twin.rpm")).unwrap();

    // What lies in a repo inside is that one's.
    let inner = plain.path().join("inner");
    fs::create_dir_all(inner.join("repodata")).unwrap();
    fs::copy(&rpm, inner.join("inner.rpm")).unwrap();
    assert_eq!(plain.build(&[])["packages"], number);

    // What is called a package and is none.
    let bad = packages.join("bad.rpm");
    for content in [&b"no package"[..], b"", &fs::read(&rpm).unwrap()[..200]] {
        fs::write(&bad, content).unwrap();
        plain.fails(&[], 1, &["Packages/bad.rpm"]);
        fs::remove_file(&bad).unwrap();
    }
    Run::of(Command::new("mkfifo").arg(&bad)).ok();
    let run = Run::of(&mut command(&plain.path())).exits(1);
    assert!(run.err().contains("bad.rpm: a fifo is no package"), "{}", run.report());
    fs::remove_file(&bad).unwrap();
    for name in hostile::NAMES {
        let name = std::ffi::OsStr::from_bytes(&[name, &b".rpm"[..]].concat()).to_owned();
        let path = packages.join(&name);
        fs::copy(&rpm, &path).unwrap();
        // Under a name that can be listed it is a twin; what cannot be listed stops everything.
        let run = Run::of(command(&plain.path()).arg("-n"));
        match run.code() {
            Some(0) => assert!(run.err().contains("is the same package as"), "{}", run.report()),
            _ => assert!(run.err().contains("metadata cannot list"), "{}", run.report()),
        }
        fs::remove_file(&path).unwrap();
    }

    // Old metadata that lies is not used, and not in the way.
    let primary = plain.path().join(&plain.repo().repomd.record("primary").unwrap().href);
    let mut bytes = fs::read(&primary).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&primary, bytes).unwrap();
    let json = plain.build(&[]);
    assert_eq!(counts(&json)[..4], [number, 0, number, number], "{json}");
    assert!(json["notes"].to_string().contains("The old metadata is not used"), "{json}");
    plain.repo().assert_true();

    // Where the metadata should be there is something else.
    fs::rename(plain.path().join("repodata"), plain.dir.path().join("elsewhere")).unwrap();
    symlink(plain.dir.path().join("elsewhere"), plain.path().join("repodata")).unwrap();
    plain.fails(&[], 4, &["repodata", "not a directory"]);
}

#[test]
fn old_files_stay_for_clients_as_long_as_asked_and_strange_ones_always() {
    let plain = Plain::new("BaseOS/x86_64/os");
    let repodata = plain.path().join("repodata");
    fs::write(repodata.join("repomd.xml.key"), "a key").unwrap();
    fs::write(repodata.join("repomd.xml.asc"), "a signature").unwrap();
    let old = plain.repo().repomd.record("primary").unwrap().href.clone();
    let old = plain.path().join(old);
    date(&plain.rpms()[0], 100);
    let json = plain.build(&["--keep-old", "1h"]);
    assert!(json["notes"].to_string().contains("sign the new"), "{json}");
    assert!(old.exists() && repodata.join("repomd.xml.key").exists());
    assert!(!repodata.join("repomd.xml.asc").exists());
    // Within its time it stays, and goes after it.
    date(&plain.rpms()[0], 90);
    plain.build(&["--keep-old", "1h"]);
    assert!(old.exists());
    date(&old, 3601);
    date(&plain.rpms()[0], 80);
    plain.build(&["--keep-old", "1h"]);
    assert!(!old.exists() && repodata.join("repomd.xml.key").exists());
    date(&plain.rpms()[0], 70);
    plain.build(&[]);
    fs::remove_file(repodata.join("repomd.xml.key")).unwrap();
    plain.repo().assert_true();
}

#[test]
fn a_treeinfo_that_names_the_metadata_tells_the_truth() {
    let plain = Plain::new("BaseOS/x86_64/os");
    let path = plain.path().join(".treeinfo");
    let text = format!(
        "[checksums]\nimages/boot.iso = sha256:{}\nrepodata/repomd.xml = sha256:{}\n\n[general]\n\
         family = X\n",
        "a".repeat(64),
        "b".repeat(64)
    );
    fs::write(&path, &text).unwrap();
    plain.build(&[]);
    let sum = Run::of(Command::new("sha256sum").arg(plain.path().join("repodata/repomd.xml"))).ok();
    let expected = text.replace(&"b".repeat(64), &sum.out()[..64]);
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    let before = state(&plain.path());
    plain.build(&[]);
    assert_eq!(state(&plain.path()), before);
}

#[test]
fn a_kill_leaves_old_or_new_and_the_next_run_cleans_up() {
    let mut places = vec![tempfile::tempdir().unwrap()];
    // Where directories cannot be exchanged, files are put in place one by one.
    let bindfs = available(Loop::new(FsKind::Bindfs, 0));
    if let Some(bindfs) = &bindfs {
        places.push(tempfile::tempdir_in(bindfs.path()).unwrap());
    }
    for place in places {
        for (point, with_old) in [
            (CrashPoint::RepodataWritten, true),
            (CrashPoint::RepodataReplaced, true),
            (CrashPoint::RepodataWritten, false),
            (CrashPoint::RepodataReplaced, false),
        ] {
            let plain = Plain::new("BaseOS/x86_64/os");
            let dir = place.path().join(format!("{}-{with_old}", point.name()));
            copy(&plain.path(), &dir);
            if with_old {
                fs::remove_file(dir.join(plain.rpms()[0].strip_prefix(plain.path()).unwrap()))
                    .unwrap();
            } else {
                fs::remove_dir_all(dir.join("repodata")).unwrap();
            }
            Run::of(command(&dir).env("CAIRN_CRASH_AT", point.name())).killed();
            let label = format!("{}: {point:?}", dir.display());
            // What is there now is whole: the old, the new, or nothing where there was nothing.
            if point == CrashPoint::RepodataReplaced {
                assert_eq!(build(&dir, &["-n"])["changed"], false, "{label}");
            } else if with_old {
                assert_eq!(repo(&dir).packages(), plain.repo().packages(), "{label}");
            } else {
                assert!(!dir.join("repodata").exists(), "{label}");
            }
            build(&dir, &[]);
            build(&dir, &["--reread"]);
            let hidden = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
            let left: Vec<_> =
                hidden.filter(|name| name.to_string_lossy().starts_with(".repodata")).collect();
            assert!(left.is_empty(), "{label}: {left:?}");
            // One more change removes what no record names.
            build(&dir, &["--revision", "last"]);
            repo(&dir).assert_true();
        }
    }
}

#[test]
fn two_at_once_take_turns_and_a_signal_leaves_nothing() {
    let plain = Plain::bare("BaseOS/x86_64/os");
    let handle = fs::File::open(plain.path()).unwrap();
    handle.lock().unwrap();
    let run = Run::of(command(&plain.path()).args(["--lock-wait", "0s"])).exits(11);
    assert!(run.err().contains("is busy"), "{}", run.report());
    assert!(!plain.path().join("repodata").exists());
    // A plan needs no lock.
    assert_eq!(plain.build(&["-n"])["changed"], true);

    // Who waits can be told to stop, and then nothing is there.
    let mut waiting = Running::start(command(&plain.path()).args(["--lock-wait", "90s"]));
    std::thread::sleep(Duration::from_millis(300));
    waiting.signal(Signal::TERM);
    waiting.wait().exits(143);
    assert!(!plain.path().join("repodata").exists());

    let both = [0, 1].map(|_| Running::start(command(&plain.path()).args(["--lock-wait", "90s"])));
    drop(handle);
    for one in both {
        one.wait().ok();
    }
    plain.repo().assert_true();
}

#[test]
fn where_the_lock_of_a_directory_is_not_everybodys_a_file_is_locked_too() {
    // On NFS the lock of a directory stays on its host, and bindfs may be another's disk as well.
    let Some(shared) = available(Loop::new(FsKind::Bindfs, 0)) else { return };
    let plain = Plain::bare("BaseOS/x86_64/os");
    let dir = shared.path().join("os");
    copy(&plain.path(), &dir);
    let lock = dir.join(".repodata.lock");
    let other = fs::File::create(&lock).unwrap();
    other.lock().unwrap();
    let holder = r#"{"host":"elsewhere","pid":7,"since":null,"command":"cairn repodata build"}"#;
    fs::write(&lock, holder.replace("null", "\"2026-01-02T03:04:05Z\"")).unwrap();
    let run = Run::of(command(&dir).args(["--lock-wait", "0s"])).exits(11);
    assert!(run.err().contains("process 7 on elsewhere"), "{}", run.report());
    assert!(!dir.join("repodata").exists());

    let mut waiting = Running::start(command(&dir).args(["--lock-wait", "90s"]));
    std::thread::sleep(Duration::from_millis(300));
    waiting.signal(Signal::TERM);
    waiting.wait().exits(143);
    assert!(!dir.join("repodata").exists());

    let both = [0, 1].map(|_| Running::start(command(&dir).args(["--lock-wait", "90s"])));
    drop(other);
    for one in both {
        one.wait().ok();
    }
    repo(&dir).assert_true();
    let names = || fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names().all(|name| name != ".repodata.lock"), "{:?}", names().collect::<Vec<_>>());

    // What died leaves a file that nobody holds.
    fs::write(&lock, holder).unwrap();
    assert_eq!(build(&dir, &["--lock-wait", "0s"])["changed"], false);
    assert!(!lock.exists());
}

#[test]
fn a_full_or_read_only_file_system_keeps_the_old_metadata() {
    let Some(small) = available(Loop::new(FsKind::Tmpfs, 4 << 20)) else { return };
    let plain = Plain::new("BaseOS/x86_64/os");
    let dir = small.path().join("os");
    copy(&plain.path(), &dir);
    let rpm = dir.join(plain.rpms()[0].strip_prefix(plain.path()).unwrap());
    date(&rpm, 100);
    let filler = small.path().join("filler");
    let filled = format!("of={}", filler.display());
    let _ = Run::of(Command::new("dd").args(["if=/dev/zero", &filled]));
    let run = Run::of(&mut command(&dir)).exits(1);
    assert!(run.err().contains("No space left"), "{}", run.report());
    repo(&dir).assert_true();
    fs::remove_file(filler).unwrap();

    small.remount("ro").unwrap();
    let run = Run::of(&mut command(&dir)).exits(1);
    assert!(run.err().contains("read-only"), "{}", run.report());
    assert_eq!(build(&dir, &["-n"])["fresh"], 1);
    small.remount("rw").unwrap();
    assert_eq!(build(&dir, &[])["fresh"], 1);
    repo(&dir).assert_true();
}
