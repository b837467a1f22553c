//! `cairn vault`: the same tree under another ref, with its SIGs, at no cost on one mount.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cairn_testkit::sample::Compose;
use cairn_testkit::{CrashPoint, Keys, World, available};
use serde_json::Value;

use crate::crashes::published;
use crate::filesystems::{PRODUCTION, STAGING, assert_same, contents, files_below, release};
use crate::lists::check_roots;
use crate::world;

/// What the configuration calls the version before, which this release is made to be.
const VAULT: &str = "mirror/vault/rocky/9.7";
const SIG: &str = "mirror/pub/sig/9/kernel";
const SIG_VAULT: &str = "mirror/vault/sig/9.7/kernel";

/// The SIG's compose, whose tools are built with the kernel.
fn kernel(evr: &str, date: &str) -> Compose {
    let mut compose = Compose::new("9", "SIG-kernel", "9", date).packages_only();
    compose = compose.repo("kernel-6.12", "x86_64");
    for name in ["kernel-mainline", "kernel-mainline-tools", "kernel-mainline-headers"] {
        compose = compose.package(name, evr);
    }
    compose
}

/// Takes a compose of the kernel SIG to production.
#[track_caller]
fn sig(world: &World, evr: &str, date: &str) {
    let written = kernel(evr, date).write(&world.places().compose).unwrap();
    world.cairn(["ingest", written.latest.to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "--sig", "kernel", "--delete"]).ok();
    world.cairn(["promote", "9", "--sig", "kernel", "--delete", "--allow-deletes", "100%"]).ok();
}

/// Release 9.7 and a SIG in production.
fn in_production() -> World {
    let world = world();
    published(&world);
    sig(&world, "6.12.1-1.el9", "20251101.0");
    world
}

/// Makes 9.8 what release 9 makes, and 9.7 what was before.
#[track_caller]
pub(crate) fn next_version(world: &World) {
    let text = fs::read_to_string(world.config()).unwrap();
    let from = "channel.stable = { version = \"9.7\", previous = \"9.6\"";
    assert!(text.contains(from), "{text}");
    let text = text.replace(from, "channel.stable = { version = \"9.8\", previous = \"9.7\"");
    let text = text.replace(
        "version = \"9.8\", previous = \"9.7\", staging_suffix = \"-beta\"",
        "version = \"9.9\", previous = \"9.8\", staging_suffix = \"-beta\"",
    );
    let text = text.replace(
        "version = \"9.8\", previous = \"9.7\", staging_suffix = \"-LookAhead\"",
        "version = \"9.9\", previous = \"9.8\", staging_suffix = \"-LookAhead\"",
    );
    world.set_config(&text);
}

/// The bytes that a directory takes beyond files that are somewhere else too.
fn own_bytes(dir: &Path) -> (u64, BTreeSet<PathBuf>) {
    let mut own = BTreeSet::new();
    let mut bytes = 0;
    for file in files_below(dir) {
        let metadata = fs::symlink_metadata(&file).unwrap();
        if metadata.nlink() == 1 && metadata.len() > 0 && !metadata.is_symlink() {
            bytes += metadata.len();
            own.insert(file.strip_prefix(dir).unwrap().to_owned());
        }
    }
    (bytes, own)
}

/// Checks the lists of all roots against a naive walk.
#[track_caller]
fn check_lists(world: &World) {
    let roots: [(&str, &[&str]); 5] = [
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
        ("mirror/pub/sig", &["fullfilelist", "fullfiletimelist-sig", "fullfiletimelist"]),
        ("mirror/vault", &["fullfilelist", "fullfiletimelist-vault"]),
        ("mirror/vault/rocky", &["fullfilelist", "fullfiletimelist-rocky-vault"]),
    ];
    check_roots(world, &roots, &[PRODUCTION, SIG, VAULT, SIG_VAULT]);
}

fn names(report: &Value) -> Vec<&str> {
    report["refs"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect()
}

fn snapshot(world: &World, name: &str) -> Value {
    world.json(["show", name])
}

#[test]
fn a_version_and_its_sigs_go_to_the_vault_in_one_operation_and_cost_nothing() {
    let world = in_production();
    next_version(&world);
    let (release, sig) =
        (contents(&world.production(PRODUCTION)), contents(&world.production(SIG)));
    let plan = world.json(["vault", "9", "-n"]);
    assert_eq!(names(&plan), ["vault/9.7", "vault/sig/9.7/kernel"]);
    assert!(!world.production("mirror/vault").exists());
    let objects = files_below(&world.production(".cairn/objects")).len();

    let done = world.json(["vault", "9", "-m", "9.8 is out"]);
    assert_eq!(names(&done), ["vault/9.7", "vault/sig/9.7/kernel"]);
    assert_same(&release, &contents(&world.production(VAULT)));
    assert_same(&sig, &contents(&world.production(SIG_VAULT)));
    // Production stays, and both are one tree.
    assert_same(&release, &contents(&world.production(PRODUCTION)));
    for (a, b) in
        [("production/9.7", "vault/9.7"), ("production/sig/9/kernel", "vault/sig/9.7/kernel")]
    {
        assert_eq!(snapshot(&world, a)["root"], snapshot(&world, b)["root"]);
    }
    // No content came to the pool; what shares no inode is what people edit in place.
    assert_eq!(files_below(&world.production(".cairn/objects")).len(), objects);
    let status = world.json(["status"]);
    let mount = status["mounts"].as_array().unwrap().iter().find(|m| m["name"] == "production");
    if mount.unwrap()["link"] == "hardlink" {
        let (bytes, own) = own_bytes(&world.production(VAULT));
        for path in &own {
            let edited = path.parent().unwrap().ends_with("repodata")
                || path.to_str().unwrap().contains("info")
                || path.to_str().unwrap().contains("CHECKSUM")
                || path.to_str().unwrap().contains(".xml");
            assert!(edited, "{} has an inode of its own", path.display());
        }
        let all: u64 = files_below(&world.production(VAULT))
            .iter()
            .map(|file| fs::symlink_metadata(file).unwrap().len())
            .sum();
        assert!(bytes < all, "{bytes} of {all}");
    }
    check_lists(&world);
    assert_eq!(world.json(["log"])["operations"][0]["reason"], "9.8 is out");

    // Again is a no-op, by release or by version, and touches no list.
    for args in [["vault", "9"], ["vault", "9.7"]] {
        assert_eq!(world.json(args)["operation"], Value::Null);
    }
    world.cairn(["rollback", "production/9.7", "--to", "production/9.7"]).ok();
    world.cairn(["fsck", "--full"]).ok();
    world.cairn(["check", "vault/9.7", "repodata", "files-exist"]).ok();
    world.cairn(["diff", "production/9.7", "vault/9.7", "--exit-code"]).ok();

    // A SIG that goes on with the next version does not change what is in the vault…
    self::sig(&world, "6.13.1-1.el9", "20251201.0");
    let again = world.json(["vault", "9.7"]);
    assert_eq!(again["operation"], Value::Null);
    assert!(again["notes"].to_string().contains("it stays; --sig kernel"), "{again}");
    assert_same(&sig, &contents(&world.production(SIG_VAULT)));
    // …but by word of the operator.
    let refused = world.cairn(["vault", "9.7", "--sig", "kernel"]).exits(4);
    assert!(refused.err().contains("rule deletions"), "{}", refused.err());
    world.cairn(["vault", "9.7", "--sig", "kernel", "--allow-deletes", "100%"]).ok();
    assert_same(&contents(&world.production(SIG)), &contents(&world.production(SIG_VAULT)));
    world.cairn(["rollback", "vault/sig/9.7/kernel"]).ok();
    assert_same(&sig, &contents(&world.production(SIG_VAULT)));
    check_lists(&world);
}

#[test]
fn what_never_gets_to_production_is_never_vaulted() {
    let world = in_production();
    let error = |args: &[&str], code: i32| -> Value {
        world.cairn(["--json"].iter().chain(args)).exits(code).error_json()
    };
    let status = world.json(["status"]);
    for release in ["9-beta", "9-lookahead", "9-lh"] {
        let refused = error(&["vault", release], 4);
        let message = refused["message"].as_str().unwrap();
        assert!(message.ends_with("never gets to vault"), "{message}");
        assert!(refused["hint"].as_str().unwrap().contains("vault = true"), "{refused}");
        error(&["vault", release, "--no-repodata", "-n"], 4);
    }
    // The version before was never here, and an unknown one neither.
    assert_eq!(error(&["vault", "9"], 1)["kind"], "unknown-ref");
    assert_eq!(error(&["vault", "9.4"], 1)["message"], "there is no ref production/9.4");
    error(&["vault", "7.9"], 2);
    error(&["vault", "9.7", "--sig", "kernl"], 2);
    error(&["vault", "9.7", "--sig", "kmodd"], 2);
    assert_eq!(status["refs"], world.json(["status"])["refs"]);
    assert!(!world.production("mirror/vault").exists());

    // Nothing that is under embargo is shown in another place.
    world.cairn(["promote", "9", "--embargo"]).ok();
    let refused = error(&["vault", "9.7"], 4);
    assert!(refused["message"].as_str().unwrap().contains("under embargo"), "{refused}");
    let plan = world.cairn(["--json", "vault", "9.7", "-n"]).exits(4).json();
    assert!(plan["refusals"].to_string().contains("rule embargo"), "{plan}");
    assert!(!world.production("mirror/vault").exists());
    world.cairn(["open", "production/9.7"]).ok();
    world.cairn(["vault", "9.7"]).ok();
}

#[test]
fn without_repodata_every_repo_gets_metadata_of_its_packages_and_a_signature() {
    let Some(keys) = available(Keys::new(&["Rocky"])) else { return };
    let mut world = world();
    release(&world);
    // Old packages stay, so that metadata and packages are not those of one compose.
    world.second();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky"]).ok();
    world.cairn(["promote", "9"]).ok();
    let key = keys.public("RPM-GPG-KEY-9", &["Rocky"]);
    world.env("GNUPGHOME", keys.home());
    let text = fs::read_to_string(world.config()).unwrap();
    let script = keys.sign_script("sign", "Rocky");
    world.set_config(&format!(
        "{text}\n[sign]\ncommand = [\"{}\", \"{{file}}\"]\nverify_key = \"{}\"\n",
        script.display(),
        key.display()
    ));
    let before = contents(&world.production(PRODUCTION));
    let in_repodata = |path: &Path| path.parent().is_some_and(|dir| dir.ends_with("repodata"));
    let repos: BTreeSet<PathBuf> = before
        .keys()
        .filter(|path| path.ends_with("repodata/repomd.xml"))
        .map(|path| path.parent().unwrap().to_owned())
        .collect();
    for kind in ["x86_64/os", "x86_64/debug", "source"] {
        assert!(repos.iter().any(|repo| repo.to_str().unwrap().contains(kind)), "{repos:?}");
    }

    let plan = world.json(["vault", "9.7", "--no-repodata", "-n"]);
    assert!(!world.production("mirror/vault").exists());
    assert_eq!(plan["signed"].as_array().unwrap().len(), repos.len());
    let done = world.json(["vault", "9.7", "--no-repodata"]);
    assert_eq!(done["signed"].as_array().unwrap().len(), repos.len());
    let after = contents(&world.production(VAULT));
    // All but metadata is production's, and every repo of it has metadata, debug and source too.
    let rest = |all: &crate::filesystems::Contents| {
        let mut all = all.clone();
        all.retain(|path, _| !in_repodata(path));
        all
    };
    assert_same(&rest(&before), &rest(&after));
    for repo in &repos {
        assert!(after.contains_key(&repo.join("repomd.xml")), "{}", repo.display());
        assert!(after.contains_key(&repo.join("repomd.xml.asc")), "{}", repo.display());
    }
    world.cairn(["check", "vault/9.7", "repodata", "files-exist", "signatures"]).ok();

    // Again is a no-op, though each signature that is made is another one.
    let again = world.json(["vault", "9.7", "--no-repodata"]);
    assert_eq!(again["operation"], Value::Null, "{again}");
    // Production's own metadata is one vault away.
    world.cairn(["vault", "9.7", "--allow-deletes", "100%"]).ok();
    assert_same(&before, &contents(&world.production(VAULT)));
    world.cairn(["fsck", "--full"]).ok();
    assert!(world.staging(STAGING).exists());
}

#[test]
fn metadata_that_is_broken_or_gone_is_made_from_the_packages() {
    let world = in_production();
    // Somebody lost the lists of a repo in production; the vault shall not have that.
    let repo = world.latest().join("compose/BaseOS/x86_64/os/repodata");
    let primary = fs::read_dir(&repo)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_str().unwrap().contains("primary"))
        .unwrap();
    fs::remove_file(primary).unwrap();
    world.cairn(["ingest", "--reread", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    let gates = ["--skip-gate", "repodata", "--skip-gate", "files-exist", "-m", "a test"];
    let mut promote = vec!["promote", "9", "--delete"];
    promote.extend(gates);
    world.cairn(&promote).ok();
    world.cairn(["check", "production/9.7", "repodata"]).exits(3);
    let done = world.json(["vault", "9.7", "--no-repodata"]);
    assert!(done["notes"].to_string().contains("is not used"), "{done}");
    let made = done["repos"].as_array().unwrap().iter();
    let made = made.clone().find(|repo| repo["path"] == "BaseOS/x86_64/os").unwrap();
    assert_eq!(made["fresh"], made["packages"], "{made}");
    world.cairn(["check", "vault/9.7", "repodata", "files-exist"]).ok();
    assert_eq!(world.json(["vault", "9.7", "--no-repodata"])["operation"], Value::Null);
}

/// A kill leaves each view as it was or as it shall be, and the next command does the rest.
#[test]
fn a_kill_between_the_views_of_a_vault_is_finished_or_forgotten() {
    for (point, nth, logged) in [
        (CrashPoint::StandbyRecorded, 1, false),
        (CrashPoint::OperationWritten, 1, false),
        (CrashPoint::OperationLinked, 1, true),
        (CrashPoint::ViewSwapped, 1, true),
        (CrashPoint::ViewRecorded, 1, true),
        (CrashPoint::ViewSwapped, 2, true),
        (CrashPoint::ListReplaced, 3, true),
    ] {
        let world = in_production();
        let views = [(PRODUCTION, VAULT), (SIG, SIG_VAULT)];
        let wanted = views.map(|(from, to)| (contents(&world.production(from)), to));
        world.crash_at(point, nth, ["vault", "9.7"]).killed();
        for (tree, to) in &wanted {
            let path = world.production(to);
            if path.exists() {
                assert!(logged, "{}", point.name());
                assert_same(tree, &contents(&path));
            }
        }
        world.cairn(["publish"]).ok();
        for (tree, to) in &wanted {
            let path = world.production(to);
            assert_eq!(path.exists(), logged, "{}:{nth}: {to}", point.name());
            if logged {
                assert_same(tree, &contents(&path));
            }
        }
        let again = world.json(["vault", "9.7"]);
        assert_eq!(again["operation"] == Value::Null, logged, "{}", point.name());
        check_lists(&world);
        world.cairn(["fsck"]).ok();
    }
}

/// All lists of all roots, by one command each once; they and what was before them are the mount's
/// owner's.
#[test]
fn every_root_has_its_lists_once_per_command_and_they_have_the_mounts_owner() {
    let world = world();
    if fs::metadata(world.config()).unwrap().uid() != 0 {
        eprintln!("only root can give files an owner: not tried");
        return;
    }
    world.configure("mounts.production", "owner = \"10004:10005\"");
    published(&world);
    sig(&world, "6.12.1-1.el9", "20251101.0");
    world.cairn(["vault", "9.7"]).ok();
    sig(&world, "6.13.1-1.el9", "20251201.0");
    let done = world.json(["vault", "9.7", "--allow-deletes", "100%"]);
    assert_ne!(done["operation"], Value::Null, "the SIG is of the version that is made");
    let mut written: Vec<(String, String)> = (done["lists"].as_array().unwrap().iter())
        .map(|list| [&list["root"], &list["name"]].map(|text| text.as_str().unwrap().to_owned()))
        .map(|[root, name]| (root, name))
        .collect();
    let count = written.len();
    written.sort();
    written.dedup();
    assert_eq!((written.len(), count), (14, 14), "{written:?}");
    let mut old = 0;
    for (root, name) in &written {
        let path = root.strip_prefix("production").unwrap().trim_start_matches('/');
        let dir = world.production(path);
        for name in [name.clone(), format!("{name}-old")] {
            let Ok(metadata) = fs::metadata(dir.join(&name)) else { continue };
            assert_eq!((metadata.uid(), metadata.gid()), (10004, 10005), "{path}/{name}");
            assert_eq!(metadata.mode() & 0o7777, 0o644, "{path}/{name}");
            old += usize::from(name.ends_with("-old"));
        }
    }
    // Those above what changed twice: the mount, the SIGs and the vault.
    assert_eq!(old, 3 + 3 + 2);
    for view in [PRODUCTION, SIG, VAULT, SIG_VAULT] {
        let metadata = fs::metadata(world.production(view)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (10004, 10005), "{view}");
    }
    check_lists(&world);
}
