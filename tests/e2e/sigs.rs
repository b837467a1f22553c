//! SIGs: two composes share a SIG's directory, and what is done to one leaves the other alone.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cairn_testkit::sample::{Compose, Written};
use cairn_testkit::{Keys, Run, World, available};
use serde_json::Value;

use crate::filesystems::{Contents, Node, assert_same, contents, files_below};
use crate::lists::check_roots;
use crate::world;

/// Where the SIG is on either mount.
const SIG: &str = "mirror/pub/sig/9/kernel";
const OLD: &str = "6.12.1-1.el9";
const NEW: &str = "6.12.9-1.el9";

/// A compose of a SIG with one repo and a directory that only looks like what updates leave out.
fn compose(short: &str, repo: &str, date: &str, packages: &[(&str, &str)]) -> Compose {
    let mut compose = Compose::new("9", format!("SIG-{short}"), "9", date)
        .packages_only()
        .file(format!("compose/{repo}/x86_64/images/boot/readme"), format!("{short}\n"))
        .file("compose/SIG-README", "a file that lies loose\n")
        .symlink("compose/current", repo)
        .repo(repo, "x86_64");
    for (name, evr) in packages {
        compose = compose.package(*name, *evr);
    }
    compose
}

fn kernel(evr: &str, date: &str) -> Compose {
    compose("kernel", "kernel-6.12", date, &[("kernel-mainline", evr), ("kernel-headers-sig", OLD)])
}

fn kmod() -> Compose {
    compose("kmod", "kmod-common", "20251102.0", &[("kmod-hfs", "1-1.el9")])
}

#[track_caller]
fn ingest(world: &World, compose: &Compose) -> Written {
    let written = compose.write(&world.places().compose).unwrap();
    world.cairn(["ingest", written.latest.to_str().unwrap()]).ok();
    written
}

/// A store with the first composes of both projects in it, nothing staged.
fn ingested() -> World {
    let world = world();
    world.cairn(["init"]).ok();
    ingest(&world, &kernel(OLD, "20251101.0"));
    ingest(&world, &kmod());
    world
}

/// What a compose ships: all but the description of the compose.
fn shipped(written: &Written) -> Contents {
    let mut all = contents(&written.dir.join("compose"));
    all.retain(|path, _| !path.starts_with("metadata"));
    without_repomd(all)
}

/// Leaves out the one file that says whose repo it is; the lists that it names stay as they were.
fn without_repomd(mut all: Contents) -> Contents {
    all.retain(|path, _| !path.ends_with("repodata/repomd.xml"));
    all
}

fn timeless(mut all: Contents) -> Contents {
    for node in all.values_mut() {
        if let Node::File(_, _, time) = node {
            *time = (0, 0);
        }
    }
    all
}

fn packages(dir: &Path) -> BTreeSet<String> {
    let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    files_below(dir).into_iter().map(name).filter(|name| name.ends_with(".rpm")).collect()
}

fn rpm(name: &str, evr: &str) -> String {
    format!("{name}-{evr}.x86_64.rpm")
}

/// Asks the gates that look at metadata; they pass only on what describes exactly what is there.
#[track_caller]
fn described(world: &World, name: &str) {
    let checked = world.json(["check", name, "repodata", "files-exist", "treeinfo"]);
    for gate in &checked["gates"].as_array().unwrap()[..2] {
        assert_eq!(gate["verdict"], "passed", "{gate}");
    }
}

fn refs(world: &World) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let status = world.json(["status"]);
    let rows = status["refs"].as_array().unwrap();
    rows.iter().map(|row| (text(&row["name"]), text(&row["snapshot"]))).collect()
}

#[test]
fn each_project_is_staged_into_its_own_directory_and_leaves_the_other_alone() {
    let world = ingested();
    let (staging, compose_root) = (world.staging(SIG), world.places().compose.clone());

    // The plan is exact, and writes nothing.
    let plan = world.json(["stage", "9", "--sig", "kernel", "-n"]);
    assert_eq!(plan["refs"][0]["name"], "staging/sig/9/kernel");
    assert_eq!(plan["operation"], Value::Null);
    assert!(!staging.exists());
    let added: BTreeSet<&str> = (plan["plan"][0]["files"]["added"].as_array().unwrap().iter())
        .map(|path| path.as_str().unwrap())
        .collect();

    let done = world.json(["stage", "9", "--sig", "kernel", "-m", "the SIG's kernels"]);
    assert_eq!(done["refs"][0]["old"], Value::Null);
    let latest = compose_root.join("9/latest-SIG-kernel-9");
    let dir = fs::canonicalize(&latest).unwrap();
    let kernels = contents(&staging.join("kernel"));
    let mut wanted = contents(&dir.join("compose"));
    assert!(wanted.keys().any(|path| path.starts_with("metadata")), "composes describe themselves");
    wanted.retain(|path, _| !path.starts_with("metadata"));
    assert!(wanted.keys().eq(kernels.keys()), "{:?}", kernels.keys());
    assert_same(&without_repomd(wanted), &without_repomd(kernels.clone()));
    described(&world, "staging/sig/9/kernel");
    assert!(
        kernels.contains_key(Path::new("SIG-README")) && kernels.contains_key(Path::new("current"))
    );
    // What lies deeper than the compose's top is the SIG's own, whatever it is called.
    assert!(staging.join("kernel/kernel-6.12/x86_64/images/boot/readme").exists());
    let staged: BTreeSet<String> = files_below(&staging)
        .iter()
        .map(|path| path.strip_prefix(&staging).unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(staged.iter().map(String::as_str).collect::<BTreeSet<_>>(), added);
    assert_eq!(world.json(["log"])["operations"][0]["reason"], "the SIG's kernels");

    // The second project comes beside it, and the first stays inode for inode.
    let ids = |dir: &Path| -> Vec<(PathBuf, u64)> {
        files_below(dir).into_iter().map(|p| (p.clone(), fs::metadata(&p).unwrap().ino())).collect()
    };
    let mtimes = contents(&staging.join("kernel"));
    world.cairn(["stage", "9", "--sig", "kmod"]).ok();
    assert_same(&mtimes, &contents(&staging.join("kernel")));
    assert_eq!(packages(&staging.join("kmod")), BTreeSet::from([rpm("kmod-hfs", "1-1.el9")]));
    described(&world, "staging/sig/9/kernel");
    let before = ids(&staging);
    let again = world.json(["stage", "9", "--sig", "kmod"]);
    assert_eq!(again["operation"], Value::Null, "nothing new is a no-op: {again}");
    assert_eq!(before, ids(&staging));

    // An update is added to what there is; with --delete the project is exactly the compose.
    let second = ingest(&world, &kernel(NEW, "20251115.0"));
    let other = contents(&staging.join("kmod"));
    world.cairn(["stage", "9", "--sig", "kernel"]).ok();
    let both = BTreeSet::from([
        rpm("kernel-mainline", OLD),
        rpm("kernel-mainline", NEW),
        rpm("kernel-headers-sig", OLD),
    ]);
    assert_eq!(packages(&staging.join("kernel")), both);
    described(&world, "staging/sig/9/kernel");
    assert_same(&other, &contents(&staging.join("kmod")));
    world.cairn(["stage", "9", "kernel", "--sig", "kernel", "--delete"]).ok();
    // What has not changed keeps the time that mirrors know.
    let (wanted, found) = (second.dir.join("compose"), staging.join("kernel"));
    assert_same(&timeless(contents(&wanted)), &timeless(contents(&found)));
    assert_same(&other, &contents(&staging.join("kmod")));
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn a_sig_is_promoted_whole_or_by_project_and_every_verb_knows_its_refs() {
    let world = ingested();
    let production = world.production(SIG);
    world.cairn(["stage", "9", "kernel", "kmod", "--sig", "kernel"]).ok();
    let staged = contents(&world.staging(SIG));

    // One project only, by the name of its compose.
    let before = refs(&world);
    let plan = world.json(["promote", "9", "--sig", "kmod", "-n"]);
    assert_eq!(plan["plan"][0]["changed"]["files_removed"], 0);
    assert_eq!(refs(&world), before);
    assert!(!production.exists());
    let done = world.json(["promote", "9", "--sig", "kmod"]);
    assert_eq!(done["refs"][0]["name"], "production/sig/9/kernel");
    let origin = world.json(["show", "production/sig/9/kernel"]);
    assert!(origin.to_string().contains("\"projects\":\"kmod\""), "{origin}");
    assert!(!production.join("kernel").exists());
    assert_same(&contents(&world.staging(SIG).join("kmod")), &contents(&production.join("kmod")));
    check_sig_lists(&world);

    // Then the SIG.
    world.cairn(["promote", "9", "--sig", "kernel", "--delete"]).ok();
    assert_same(&staged, &contents(&production));
    check_sig_lists(&world);
    let diff = world.cairn([
        "diff",
        "production/sig/9/kernel",
        "staging/sig/9/kernel",
        "--exit-code",
        "--by",
        "packages",
    ]);
    diff.ok();

    // An update of one project, without and with what was before.
    ingest(&world, &kernel(NEW, "20251115.0"));
    world.cairn(["stage", "9", "--sig", "kernel", "--delete"]).ok();
    world.cairn(["promote", "9", "--sig", "kernel"]).ok();
    assert_eq!(packages(&production.join("kernel")).len(), 3);
    described(&world, "production/sig/9/kernel");
    check_sig_lists(&world);
    let allowed = ["promote", "9", "--sig", "kernel", "--delete", "--allow-deletes", "100%"];
    world.cairn(allowed).ok();
    assert_same(&contents(&world.staging(SIG)), &contents(&production));
    assert_eq!(packages(&production.join("kernel")).len(), 2);

    world.cairn(["rollback", "production/sig/9/kernel"]).ok();
    assert_eq!(packages(&production.join("kernel")).len(), 3);
    world.cairn(["rollback", "production/sig/9/kernel", "--to", "production/sig/9/kernel~3"]).ok();
    assert_same(&staged, &contents(&production));
    check_sig_lists(&world);

    let status = world.json(["status"]);
    let row = status["refs"].as_array().unwrap().iter();
    let row = row.clone().find(|row| row["name"] == "production/sig/9/kernel").unwrap();
    assert_eq!((&row["view"]["state"], &row["view"]["path"]), (&"live".into(), &SIG.into()));
    for args in [
        &["check", "production/sig/9/kernel"][..],
        &["publish", "production/sig/9/kernel"],
        &["du", "production/sig/9/kernel"],
        &["gc", "--grace", "0s", "--trash", "0s", "--keep-last", "1", "--keep-within", "0s"],
        &["gc", "--grace", "0s", "--trash", "0s", "--keep-last", "1", "--keep-within", "0s"],
        &["lists"],
        &["fsck", "--full"],
    ] {
        world.cairn(args).ok();
    }
    assert_same(&staged, &contents(&production));
}

/// Checks the lists of the roots above the SIG against a naive walk.
#[track_caller]
fn check_sig_lists(world: &World) {
    let roots: [(&str, &[&str]); 2] = [
        ("", &["fullfilelist", "fullfiletimelist-rocky", "fullfiletimelist"]),
        ("mirror/pub/sig", &["fullfilelist", "fullfiletimelist-sig", "fullfiletimelist"]),
    ];
    check_roots(world, &roots, &[SIG]);
}

#[test]
fn several_sigs_are_promoted_in_one_operation() {
    let world = world();
    world.configure("release.9", "sigs = { kernel = \"kernel\", gluster9 = \"storage/gluster9\" }");
    world.cairn(["init"]).ok();
    let kernel = ingest(&world, &kernel(OLD, "20251101.0"));
    let gluster = compose("gluster9", "gluster-9", "20251103.0", &[("glusterfs", "9.6-1.el9")]);
    let gluster = ingest(&world, &gluster);
    // A SIG that is one compose is that compose; the storage SIG has a directory for each.
    world.cairn(["stage", "9", "--sig", "kernel"]).ok();
    world.cairn(["stage", "9", "gluster9", "--sig", "storage"]).ok();
    let staged = |path: &Path| without_repomd(contents(path));
    assert_same(&shipped(&kernel), &staged(&world.staging(SIG)));
    let storage = "mirror/pub/sig/9/storage";
    let dirs: Vec<_> = fs::read_dir(world.staging(storage)).unwrap().collect();
    assert_eq!(dirs.len(), 1);
    assert_same(&shipped(&gluster), &staged(&world.staging(storage).join("gluster9")));

    let done = world.json(["promote", "9", "--sig", "kernel", "--sig", "storage"]);
    assert_eq!(done["refs"].as_array().unwrap().len(), 2);
    assert_eq!(done["views"].as_array().unwrap().len(), 2);
    assert_same(&contents(&world.staging(storage)), &contents(&world.production(storage)));
    assert_same(&contents(&world.staging(SIG)), &contents(&world.production(SIG)));
    let log = world.json(["log"]);
    assert_eq!(log["operations"][0]["refs"].as_array().unwrap().len(), 2);
}

#[test]
fn all_sigs_means_those_that_are_there_and_names_the_others() {
    let world = world();
    let sigs = "sigs = { kernel = \"kernel\", virt = \"virt/virt\", cloud = \"cloud/cloud\" }";
    world.configure("release.9", sigs);
    world.cairn(["init"]).ok();
    ingest(&world, &kernel(OLD, "20251101.0"));
    let script = |line: &[&str]| world.cairn(["toolkit", "RLVER=9"].iter().chain(line));
    let notes = |report: &Value| report["notes"].as_array().unwrap().clone();

    // Nothing is staged yet: the scripts' loop had nothing to do either.
    let none = world.json(["promote", "9", "--all-sigs"]);
    assert_eq!((&none["operation"], notes(&none).len()), (&Value::Null, 3));

    world.cairn(["stage", "9", "--sig", "kernel"]).ok();
    let plan = world.json(["promote", "9", "--all-sigs", "-n"]);
    assert_eq!(plan["refs"].as_array().unwrap().len(), 1);
    let run = script(&["bash", "sync-to-prod-sig.sh"]).ok();
    for skipped in ["staging/sig/9/cloud", "staging/sig/9/virt"] {
        let said = format!("{skipped} was never staged and is skipped.");
        assert!(run.err().contains(&said), "{}", run.report());
        assert!(notes(&plan).contains(&said.into()), "{plan}");
    }
    assert_same(&contents(&world.staging(SIG)), &contents(&world.production(SIG)));
    // By name it is an error, as ever.
    world.cairn(["promote", "9", "--sig", "virt"]).exits(1);
    world.cairn(["promote", "9", "--sig", "virt", "--all-sigs"]).exits(2);

    let run = script(&["bash", "vault-sig.sh"]).ok();
    let said = "production/sig/9/virt was never in production and is skipped.";
    assert!(run.err().contains(said), "{}", run.report());
    let names: Vec<String> = refs(&world).into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&"vault/sig/9.6/kernel".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("virt")), "{names:?}");
}

#[test]
fn names_that_lead_nowhere_are_told_with_those_that_are_known() {
    let world = ingested();
    let before = refs(&world);
    let error = |args: &[&str], code: i32| -> String {
        let run = world.cairn(["--json"].iter().chain(args)).exits(code);
        run.error_json()["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        error(&["stage", "9", "--sig", "kernl"], 2),
        "release 9: unknown sig \"kernl\"; known: kernel, kmod"
    );
    assert_eq!(
        error(&["promote", "9", "--sig", "kernl"], 2),
        "release 9: unknown sig \"kernl\"; known: kernel, kmod"
    );
    assert_eq!(
        error(&["stage", "9", "gluster9", "--sig", "kernel"], 2),
        "release 9: sig kernel has no compose \"gluster9\"; it has: kernel, kmod"
    );
    for release in ["9-beta", "9-lookahead", "9-lh"] {
        error(&["promote", release, "--sig", "kernel"], 4);
        error(&["stage", release, "--sig", "kernel"], 2);
    }
    error(&["promote", "9", "--sig", "kernel"], 1);
    error(&["stage", "9"], 2);
    world.configure("release.9", "sigs = { kernel = \"kernel/kernel\", virt = \"virt/virt\" }");
    let missing = error(&["stage", "9", "--sig", "virt"], 1);
    assert_eq!(missing, "compose/9/SIG-virt has not been ingested");
    assert_eq!(refs(&world), before);
}

#[test]
fn what_is_staged_for_a_sig_is_signed_as_a_release_is() {
    let Some(keys) = available(Keys::new(&["Rocky"])) else { return };
    let mut world = ingested();
    world.cairn(["stage", "9", "kernel", "kmod", "--sig", "kernel", "--delete"]).ok();
    world.cairn(["promote", "9", "--sig", "kernel"]).ok();
    let key = keys.public("RPM-GPG-KEY-9", &["Rocky"]);
    world.env("GNUPGHOME", keys.home());
    let text = fs::read_to_string(world.config()).unwrap();
    let script = keys.sign_script("sign", "Rocky");
    world.set_config(&format!(
        "{text}\n[sign]\ncommand = [\"{}\", \"{{file}}\"]\nverify_key = \"{}\"\n",
        script.display(),
        key.display()
    ));
    let kernel = world.staging(SIG).join("kernel");
    let asc = kernel.join("kernel-6.12/x86_64/os/repodata/repomd.xml.asc");
    let other = world.staging(SIG).join("kmod/kmod-common/x86_64/os/repodata/repomd.xml.asc");
    // What was staged and promoted before there was a key stays unsigned, because it is not touched.
    let unsigned = contents(&kernel);
    ingest(&world, &compose("kmod", "kmod-common", "20251116.0", &[("kmod-hfs", "2-1.el9")]));
    world.cairn(["stage", "9", "--sig", "kmod"]).ok();
    verify(&key, &other);
    assert_same(&unsigned, &contents(&kernel));
    world.cairn(["promote", "9", "--sig", "kmod"]).ok();
    let moved = "kmod/kmod-common/x86_64/os/repodata/repomd.xml.asc";
    verify(&key, &world.production(SIG).join(moved));
    assert_same(&unsigned, &contents(&world.production(SIG).join("kernel")));

    // A compose that is staged exactly brings no signature; sign makes it, for the SIG alone.
    world.cairn(["stage", "9", "--sig", "kmod", "--delete"]).ok();
    assert!(!other.exists() && !asc.exists());
    let signed = world.json(["sign", "9", "--sig", "kernel"]);
    assert_eq!(signed["signed"].as_array().unwrap().len(), 2, "{signed}");
    verify(&key, &other);
    verify(&key, &asc);
    let kept = contents(&kernel);
    let again = world.json(["sign", "9", "--sig", "kernel"]);
    assert_eq!(again["operation"], Value::Null);
    assert_same(&kept, &contents(&kernel));
    world.cairn(["check", "staging/sig/9/kernel", "signatures", "repodata"]).ok();
}

/// Lets gpg judge a signature, in a home that knows only this key.
#[track_caller]
fn verify(key: &Path, asc: &Path) {
    let home = tempfile::tempdir_in("/tmp").unwrap();
    let gpg = |args: &[&Path]| {
        let mut gpg = std::process::Command::new("gpg");
        gpg.args(["--batch", "--quiet", "--no-autostart", "--homedir"]).arg(home.path());
        Run::of(gpg.args(args)).ok();
    };
    gpg(&[Path::new("--import"), key]);
    gpg(&[Path::new("--verify"), asc, &asc.with_extension("")]);
}
