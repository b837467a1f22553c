//! Gates beside programs that judge the same: rpm of packages, dnf of dependencies.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_testkit::{Keys, Run, Unavailable, World, available};

use crate::world;

/// Answers whether programs are installed.
fn programs(names: &[&str]) -> Result<(), Unavailable> {
    for name in names {
        if Command::new(name).arg("--version").output().is_err() {
            return Err(Unavailable::NoTool { tool: (*name).to_owned() });
        }
    }
    Ok(())
}

/// Returns the packages of the sample's release, by file name.
fn packages(world: &World) -> BTreeMap<String, PathBuf> {
    let dir =
        fs::canonicalize(world.first().dir).unwrap().join("compose/BaseOS/x86_64/os/Packages");
    let mut found = BTreeMap::new();
    for letter in fs::read_dir(dir).unwrap() {
        for package in fs::read_dir(letter.unwrap().path()).unwrap() {
            let path = package.unwrap().path();
            found.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), path);
        }
    }
    found
}

#[test]
fn packages_are_judged_as_rpm_judges_them() {
    let Some(keys) = available(Keys::new(&["Rocky", "Other"])) else { return };
    if available(programs(&["rpmsign", "rpmkeys"])).is_none() {
        return;
    }
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join("Packages").join(name);
    fs::create_dir(dir.path().join("Packages")).unwrap();
    // rpm's configuration may name no gpg, and it does not search PATH.
    let gpg = Run::of(Command::new("sh").args(["-c", "command -v gpg"])).ok().out();
    let sign = |path: &Path, key: &str| {
        let mut rpmsign = Command::new("rpmsign");
        rpmsign.env("GNUPGHOME", keys.home()).args(["--define", &format!("_gpg_name {key}")]);
        rpmsign.args(["--define", &format!("_gpg_path {}", keys.home().display())]);
        rpmsign.args(["--define", &format!("__gpg {}", gpg.trim())]);
        Run::of(rpmsign.arg("--addsign").arg(path)).ok();
    };
    // One as it is, one by each key, and of those copies with a byte changed: in the header, in
    // its signature, in the payload, which is for the checksum of the whole file to find.
    let all = packages(&world);
    let (_, package) = all.iter().next().unwrap();
    fs::copy(package, at("unsigned.rpm")).unwrap();
    for (name, key) in [("good.rpm", "Rocky"), ("foreign.rpm", "Other")] {
        fs::copy(package, at(name)).unwrap();
        sign(&at(name), key);
    }
    let good = fs::read(at("good.rpm")).unwrap();
    let headers = cairn_repodata::header::Headers::read("good.rpm", good.as_slice()).unwrap();
    let signature = headers.signatures("good.rpm").unwrap().remove(0);
    let in_signature = good.windows(signature.len()).position(|part| part == signature).unwrap();
    for (name, byte) in [
        ("header.rpm", headers.end as usize - 1),
        ("signature.rpm", in_signature + signature.len() - 1),
    ] {
        let mut bytes = good.clone();
        bytes[byte] ^= 1;
        fs::write(at(name), bytes).unwrap();
    }
    fs::write(at("cut.rpm"), &good[..headers.end as usize - 10]).unwrap();

    let key = keys.public("RPM-GPG-KEY-9", &["Rocky"]);
    let database = keys.path("rpmdb");
    let rpmkeys = |args: &[&str], file: &Path| {
        let mut rpmkeys = Command::new("rpmkeys");
        // A package without a signature is in order for rpm unless it is told otherwise.
        rpmkeys.args(["--define", "_pkgverify_level signature"]);
        Run::of(rpmkeys.arg("--dbpath").arg(&database).args(args).arg(file))
    };
    rpmkeys(&["--import"], &key).ok();

    let text = fs::read_to_string(world.config()).unwrap();
    let keys_of = keys.path("RPM-GPG-KEY-{major}");
    world.set_config(&format!(
        "{text}\n[gate.signatures]\npackage_keys = [\"{}\"]\n",
        keys_of.display()
    ));
    world.cairn(["init"]).ok();
    let dir = dir.path().to_str().unwrap();
    world.cairn(["ingest", "--as", "compose/9/Rocky", dir]).ok();
    let run = Run::of(world.command().args(["--json", "check", "compose/9/Rocky", "signatures"]));
    let checked = run.exits(3).json();
    let findings = checked["gates"][0]["findings"].as_array().unwrap();
    let found: BTreeMap<&str, &str> = findings
        .iter()
        .map(|finding| (finding["path"].as_str().unwrap(), finding["rule"].as_str().unwrap()))
        .collect();
    let expected = BTreeMap::from([
        ("Packages/cut.rpm", "package-unreadable"),
        ("Packages/foreign.rpm", "package-key-foreign"),
        ("Packages/header.rpm", "package-signature-broken"),
        ("Packages/signature.rpm", "package-signature-broken"),
        ("Packages/unsigned.rpm", "package-unsigned"),
    ]);
    assert_eq!(found, expected);
    for name in ["good", "foreign", "header", "signature", "cut", "unsigned"] {
        let name = format!("{name}.rpm");
        let ours = !found.contains_key(format!("Packages/{name}").as_str());
        let theirs = rpmkeys(&["--checksig"], &at(&name));
        assert_eq!(theirs.code() == Some(0), ours, "{name}\n{}", theirs.report());
    }
}
