//! Gates beside programs that judge the same: rpm of packages, dnf of dependencies.

use std::collections::{BTreeMap, BTreeSet};
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

/// Packages with dependencies of every kind, as `Name: …` lines of a spec file.
const SPECS: &[(&str, &[&str])] = &[
    ("base", &["Provides: virtual = 2", "Provides: unversioned", "Provides: both"]),
    ("other", &["Provides: both"]),
    ("name", &["Requires: base"]),
    ("version", &["Requires: base >= 1"]),
    ("release", &["Requires: base = 1-1"]),
    ("later", &["Requires: base >= 2"]),
    ("epoch", &["Requires: base < 1:0"]),
    ("provided", &["Requires: virtual = 2"]),
    ("provided-later", &["Requires: virtual > 2"]),
    ("any-version", &["Requires: unversioned >= 5"]),
    ("nowhere", &["Requires: no-such-package"]),
    ("file", &["Requires: /usr/share/base/data"]),
    ("no-file", &["Requires: /usr/share/base/no-such-file"]),
    ("either", &["Requires: (no-such-package or base)"]),
    ("neither", &["Requires: (no-such-package or nor-such)"]),
    ("one-package", &["Requires: (base with both)"]),
    ("two-packages", &["Requires: (other with virtual)"]),
    ("without", &["Requires: (both without virtual)"]),
    ("not-without", &["Requires: (virtual without both)"]),
    ("conditional", &["Requires: (base if other)"]),
    ("weak", &["Recommends: no-such-package", "Suggests: nor-such", "Supplements: no-such"]),
];

/// Builds packages into a repo and describes them there, by programs that are not ours.
#[track_caller]
fn build(temp: &Path, repo: &Path, specs: &[(&str, &[&str])]) {
    fs::create_dir_all(repo).unwrap();
    for (name, lines) in specs {
        let spec = temp.join(format!("{name}.spec"));
        let file = "/usr/share/base/data";
        let (install, files) = match *name {
            "base" => (
                format!("mkdir -p %{{buildroot}}/usr/share/base; echo > %{{buildroot}}{file}"),
                file,
            ),
            _ => (String::new(), ""),
        };
        let text = format!(
            "Name: {name}\nVersion: 1\nRelease: 1\nSummary: s\nLicense: MIT\nBuildArch: noarch\n\
             {}\n%description\nd\n%install\n{install}\n%files\n{files}\n",
            lines.join("\n")
        );
        fs::write(&spec, text).unwrap();
        let mut rpmbuild = Command::new("rpmbuild");
        rpmbuild.args(["-bb", "--quiet", "--define"]);
        rpmbuild.arg(format!("_topdir {}", temp.join("top").display()));
        rpmbuild.args(["--define", &format!("_rpmdir {}", repo.display())]);
        Run::of(rpmbuild.arg(&spec)).ok();
    }
    Run::of(Command::new("createrepo_c").arg("--quiet").arg(repo)).ok();
}

/// What packages lack, by name.
type Lacking = BTreeMap<String, BTreeSet<String>>;

/// Lets dnf say what the packages of the first repo lack, all repos together.
#[track_caller]
fn repoclosure(temp: &Path, repos: &[(&str, &Path)]) -> Lacking {
    let mut dnf = Command::new("dnf");
    dnf.arg("-q").arg(format!("--setopt=cachedir={}", temp.join("cache").display()));
    dnf.arg("--installroot").arg(temp.join("root"));
    dnf.args(["--releasever=9", "--setopt=reposdir=/nowhere", "--forcearch=x86_64"]);
    for (name, path) in repos {
        dnf.arg(format!("--repofrompath={name},file://{}", path.display()));
        dnf.arg(format!("--setopt={name}.skip_if_unavailable=0"));
    }
    dnf.arg("repoclosure");
    dnf.args(repos.iter().map(|(name, _)| format!("--repo={name}")));
    dnf.arg(format!("--check={}", repos[0].0));
    let text = Run::of(&mut dnf).exits(1).out();
    let block = |block: &str| {
        let mut lines = block.lines();
        let name = lines.next().unwrap().split("-1-1").next().unwrap().to_owned();
        let rest = lines.skip(1).map(str::trim).filter(|line| !line.is_empty());
        (name, rest.map(str::to_owned).collect())
    };
    text.split("package: ").skip(1).map(block).collect()
}

/// What the gate says that packages lack.
#[track_caller]
fn lacking(world: &World, name: &str) -> (Lacking, serde_json::Value) {
    let check = ["--json", "check", name, "closure"];
    let checked = Run::of(world.command().args(check)).exits(3).json();
    let mut ours = Lacking::new();
    for finding in checked["gates"][0]["findings"].as_array().unwrap() {
        let message = finding["message"].as_str().unwrap();
        match finding["rule"].as_str().unwrap() {
            "unresolved" => {
                let (package, rest) = message.split_once("-1-1.noarch requires ").unwrap();
                let requirement = rest.split_once(", which no repo").unwrap().0;
                ours.entry(package.to_owned()).or_default().insert(requirement.to_owned());
            }
            rule => assert_eq!((rule, message.starts_with("weak-1-1")), ("weak-unresolved", true)),
        }
    }
    (ours, checked["gates"][0]["reason"].clone())
}

#[test]
fn dependencies_are_judged_as_dnf_judges_them() {
    // repoclosure comes with dnf's plugins.
    if available(programs(&["rpmbuild", "createrepo_c", "dnf"])).is_none() {
        return;
    }
    let world = world();
    let temp = tempfile::tempdir().unwrap();
    let repo = temp.path().join("compose/BaseOS/x86_64/os");
    build(temp.path(), &repo, SPECS);
    let theirs = repoclosure(temp.path(), &[("base", &repo)]);

    world.cairn(["init"]).ok();
    let dir = temp.path().join("compose");
    world.cairn(["ingest", "--as", "compose/9/Rocky", dir.to_str().unwrap()]).ok();
    let (ours, _) = lacking(&world, "compose/9/Rocky");
    assert_eq!(ours, theirs);
    let names: Vec<&str> = ours.keys().map(String::as_str).collect();
    let unresolved = ["later", "neither", "no-file", "not-without", "nowhere", "provided-later"];
    assert_eq!(names, [&unresolved[..], &["two-packages"]].concat());
}

#[test]
fn a_sig_is_judged_beside_its_release_as_dnf_judges_both_together() {
    if available(programs(&["rpmbuild", "createrepo_c", "dnf"])).is_none() {
        return;
    }
    let world = world();
    let temp = tempfile::tempdir().unwrap();
    // The release lacks things of its own, which are not the SIG's. What it will have is `added`.
    let of = |names: &[&str]| -> Vec<_> {
        SPECS.iter().filter(|(name, _)| names.contains(name)).copied().collect()
    };
    let release = temp.path().join("compose/BaseOS/x86_64/os");
    build(temp.path(), &release, &of(&["base", "nowhere"]));
    let next = temp.path().join("next/BaseOS/x86_64/os");
    build(temp.path(), &next, &[&of(&["base", "nowhere"])[..], &[("added", &[])]].concat());
    let sig = temp.path().join("sig/kernel-6.12/x86_64/os");
    let own: &[(&str, &[&str])] = &[
        ("in-release", &["Requires: base = 1-1", "Requires: virtual = 2"]),
        ("a-file", &["Requires: /usr/share/base/data"]),
        ("another-of-the-sig", &["Requires: in-release"]),
        ("in-neither", &["Requires: no-such-package", "Requires: base > 5"]),
        ("in-the-next", &["Requires: added"]),
    ];
    build(temp.path(), &sig, own);
    // Of another architecture nothing is taken.
    let other = temp.path().join("compose/BaseOS/aarch64/os");
    build(temp.path(), &other, &[("no-such-package", &[])]);

    world.cairn(["init"]).ok();
    let ingest = |name: &str, dir: &str| {
        let dir = temp.path().join(dir);
        world.cairn(["ingest", "--as", name, dir.to_str().unwrap()]).ok();
    };
    ingest("compose/9/SIG-kernel", "sig");
    world.cairn(["stage", "9", "--sig", "kernel", "--delete"]).ok();
    let staged = "staging/sig/9/kernel";
    let (alone, reason) = lacking(&world, staged);
    assert_eq!(alone, repoclosure(temp.path(), &[("sig", &sig)]));
    assert_eq!(reason, "judged alone: production/9.7 or staging/9.7-RC2 is not there");

    ingest("compose/9/Rocky", "compose");
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    let beside_first = repoclosure(temp.path(), &[("sig", &sig), ("base", &release)]);
    let names: Vec<&String> = beside_first.keys().collect();
    assert_eq!(names, ["in-neither", "in-the-next"]);
    let told = |name: &str| serde_json::Value::from(format!("judged beside {name}"));
    assert_eq!(lacking(&world, staged), (beside_first.clone(), told("staging/9.7-RC2")));
    world.cairn(["promote", "9"]).ok();
    ingest("compose/9/Rocky", "next");
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    // Production stays what it was: that is what the SIG's clients have, whatever is staged.
    assert_eq!(lacking(&world, staged), (beside_first.clone(), told("production/9.7")));
    assert_eq!(lacking(&world, "compose/9/SIG-kernel").0, beside_first);

    let text = fs::read_to_string(world.config()).unwrap();
    world.set_config(&format!("{text}\n[gate.closure]\nsigs_beside = \"staging\"\n"));
    let beside_next = repoclosure(temp.path(), &[("sig", &sig), ("base", &next)]);
    assert_eq!(beside_next.keys().collect::<Vec<_>>(), ["in-neither"]);
    assert_eq!(lacking(&world, staged), (beside_next, told("staging/9.7-RC2")));
}

#[test]
fn a_command_is_shown_what_is_staged_and_a_promotion_takes_its_answer() {
    let world = world();
    world.first();
    world.cairn(["init"]).ok();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let script = format!(
        "#!/bin/sh\ncd '{}'\ncat > stdin\necho \"$1\" >> runs\ncat \"$1/BaseOS/x86_64/os/.treeinfo\" > seen\n\
         if test -e broken; then echo 'kernel does not boot'; exit 1; fi\n",
        dir.path().display()
    );
    fs::write(at("gate"), script).unwrap();
    Run::of(Command::new("chmod").arg("755").arg(at("gate"))).ok();
    let text = fs::read_to_string(world.config()).unwrap();
    let text = text.replace("[\"repodata\", ", "[\"repodata\", \"boot\", ");
    let gate = at("gate");
    world.set_config(&format!(
        "{text}\n[gate.boot]\ncommand = [\"{}\", \"{{path}}\"]\n",
        gate.display()
    ));
    let runs = || fs::read_to_string(at("runs")).unwrap_or_default();

    // What fails is refused by the promotion, from the answer that it gave.
    fs::write(at("broken"), "").unwrap();
    let run = world.cairn(["check", "staging/9.7-RC2", "boot"]).exits(3);
    assert!(run.out().contains("ended with exit code 1; it wrote: kernel does not boot"));
    let staged = world.staging("mirror/pub/rocky/9.7-RC2");
    assert_eq!(runs(), format!("{}\n", staged.display()), "the view itself was shown");
    assert_eq!(
        fs::read(at("seen")).unwrap(),
        fs::read(staged.join("BaseOS/x86_64/os/.treeinfo")).unwrap()
    );
    let run = world.cairn(["promote", "9", "--delete"]).exits(4);
    assert!(run.err().contains("kernel does not boot (boot/command-failed)"), "{}", run.report());
    assert_eq!(runs().lines().count(), 1, "it was asked again");

    // Mended and checked, it goes out, and nobody is asked again; check says when it was asked.
    fs::remove_file(at("broken")).unwrap();
    let checked = world.json(["check", "staging/9.7-RC2", "boot"]);
    assert_eq!(checked["gates"][0]["verdict"], "passed");
    assert_eq!(checked["gates"][0]["last"]["verdict"], "failed");
    let done = world.json(["promote", "9", "--delete"]);
    let gates = done["gates"][0]["gates"].as_array().unwrap();
    let boot = gates.iter().find(|gate| gate["gate"] == "boot").unwrap();
    assert_eq!((&boot["verdict"], runs().lines().count()), (&"passed".into(), 2));
    // What it would replace is another tree now, so this is asked anew.
    world.cairn(["check", "staging/9.7-RC2", "boot"]).ok();
    let out = world.cairn(["check", "staging/9.7-RC2", "boot"]).ok().out();
    assert!(out.contains("boot  passed  before: passed 20"), "{out}");

    // A tree that no view shows is built, and goes again.
    world.second();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["check", "compose/9/Rocky", "boot"]).ok();
    let shown = PathBuf::from(runs().lines().last().unwrap());
    assert!(shown.ends_with("tree") && !shown.exists(), "{}", shown.display());
    assert_eq!(fs::read_dir(world.staging(".cairn/tmp")).unwrap().count(), 0);
}

#[test]
fn a_view_that_moves_while_a_gate_looks_at_it_is_a_finding() {
    let world = world();
    world.first();
    world.cairn(["init"]).ok();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.second();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    // A gate that says yes, after it has staged the other compose.
    let gate = world.places().compose.join("mover");
    let (cairn, config) = (env!("CARGO_BIN_EXE_cairn"), world.config().display());
    let stage = format!("'{cairn}' --config '{config}' stage 9 Rocky --delete >&2");
    fs::write(&gate, format!("#!/bin/sh\nexec {stage}\n")).unwrap();
    Run::of(Command::new("chmod").arg("755").arg(&gate)).ok();
    let text = fs::read_to_string(world.config()).unwrap();
    let command = format!("command = [\"{}\", \"{{path}}\"]", gate.display());
    world.set_config(&format!("{text}\n[gate.mover]\n{command}\n"));

    let check = ["--json", "check", "staging/9.7-RC2", "mover"];
    let run = world.cairn(check).exits(3);
    let document = run.json();
    let judged = &document["gates"][0];
    assert_eq!((&judged["verdict"], &judged["failures"]), (&"failed".into(), &1.into()));
    let finding = &judged["findings"][0];
    assert_eq!((&finding["gate"], &finding["rule"]), (&"mover".into(), &"view-moved".into()));
    let staged = world.staging("mirror/pub/rocky/9.7-RC2");
    let said = format!("{} showed another tree when mover had ended", staged.display());
    assert_eq!(finding["message"], said, "{}", run.report());
    assert!(!finding["remedy"].as_str().unwrap().is_empty());
    // What is staged now stays, and is judged for itself.
    let after = world.cairn(check).ok().json();
    assert_ne!(after["snapshot"], document["snapshot"]);
    assert_eq!(after["gates"][0]["verdict"], "passed");
}

#[test]
fn what_staging_requires_is_asked_before_anything_is_staged() {
    let world = world();
    let written = world.first();
    world.cairn(["init"]).ok();
    let text = fs::read_to_string(world.config()).unwrap();
    world.set_config(&format!("{text}\n[gate.staging]\nrequire = [\"repodata\", \"treeinfo\"]\n"));
    world.cairn(["ingest", written.dir.to_str().unwrap()]).ok();
    let stage = ["stage", "9", "Rocky", "--delete"];
    let plan = world.json([&["-n"], &stage[..]].concat());
    assert_eq!(plan["gates"][0]["ref"], "staging/9.7-RC2");
    let done = world.json(stage);
    let shown = world.json(["show", &done["number"].to_string()]);
    let kept = &shown["details"]["gates"]["staging/9.7-RC2"];
    assert_eq!((&kept[0]["gate"], &kept[0]["verdict"]), (&"repodata".into(), &"passed".into()));

    let copy = world.places().compose.join("9/Rocky-9.7-20251120.0");
    let from = fs::canonicalize(world.latest()).unwrap();
    Run::of(Command::new("cp").arg("-a").args([&from, &copy])).ok();
    let iso = copy.join("compose/BaseOS/x86_64/os/images/boot.iso");
    fs::remove_file(&iso).unwrap();
    fs::write(&iso, "another image").unwrap();
    world.cairn(["ingest", "--as", "compose/9/Rocky", copy.to_str().unwrap()]).ok();
    let before = (world.json(["log"]), world.json(["status"])["refs"].clone());
    let run = world.cairn(stage).exits(4);
    let said = "staging/9.7-RC2: the gate treeinfo fails";
    assert!(run.err().contains(said), "{}", run.report());
    let plan = Run::of(world.command().args(["--json", "-n"]).args(stage)).exits(4).json();
    let refusal = plan["refusals"][0].as_str().unwrap();
    assert!(refusal.contains("(treeinfo/treeinfo-checksum)"), "{refusal}");
    let skip =
        |more: &[&str]| world.cairn(stage.iter().chain(&["--skip-gate", "treeinfo"]).chain(more));
    skip(&[]).exits(2);
    assert_eq!((world.json(["log"]), world.json(["status"])["refs"].clone()), before);
    skip(&["-m", "the image is made anew tonight"]).ok();
    let row = &world.json(["log", "-N", "1"])["operations"][0];
    assert_eq!(row["skipped_gates"], serde_json::json!(["treeinfo"]));
}
