//! `cairn minor`: all composes of a release become one tree, as the procedure says, and once only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_testkit::sample::{Compose, Written};
use cairn_testkit::{CrashPoint, Keys, World, available, metadata, treecmp};
use serde_json::Value;

use crate::filesystems::{Contents, Node, assert_same, contents};
use crate::world;

const DIR: &str = "mirror/pub/rocky";
const ARCHES: [&str; 2] = ["x86_64", "aarch64"];

/// A release as the tests make one: its composes, and what the procedure makes of them.
#[derive(Clone, Copy, Debug)]
struct Case {
    /// As it is typed.
    release: &'static str,
    major: &'static str,
    version: &'static str,
    /// What the compose directory appends to the major.
    suffix: &'static str,
    /// What the view is called.
    staged: &'static str,
    /// Links beside it.
    beside: &'static [&'static str],
    /// What the development repo is called, in both composes that have one.
    devel: &'static str,
    /// Links in it, with their targets.
    inside: &'static [(&'static str, &'static str)],
}

const CASES: [Case; 6] = [
    Case {
        release: "8",
        major: "8",
        version: "8.10",
        suffix: "",
        staged: "8.10-RC2",
        beside: &["latest-8", "8.10"],
        devel: "Devel",
        inside: &[("devel", "Devel"), ("nfv", "NFV")],
    },
    Case {
        release: "9",
        major: "9",
        version: "9.7",
        suffix: "",
        staged: "9.7-RC2",
        beside: &["latest-9", "9.7"],
        devel: "devel",
        inside: &[],
    },
    Case {
        release: "10",
        major: "10",
        version: "10.1",
        suffix: "",
        staged: "10.1-RC1",
        beside: &["latest-10", "10.1"],
        devel: "devel",
        inside: &[],
    },
    // Its development repo goes by another name than the channel's parts say, and a link by that.
    Case {
        release: "8-beta",
        major: "8",
        version: "8.11",
        suffix: "-BETA",
        staged: "8.11-BETA",
        beside: &["8-BETA"],
        devel: "Devel",
        inside: &[("devel", "Devel"), ("nfv", "NFV")],
    },
    Case {
        release: "9-beta",
        major: "9",
        version: "9.8",
        suffix: "-beta",
        staged: "9.8-beta",
        beside: &["9-BETA"],
        devel: "devel",
        inside: &[],
    },
    Case {
        release: "10-lookahead",
        major: "10",
        version: "10.2",
        suffix: "-LookAhead",
        staged: "10.2-LookAhead",
        beside: &["10-LookAhead"],
        devel: "devel",
        inside: &[],
    },
];

const NINE: Case = CASES[1];

impl Case {
    fn is_stable(&self) -> bool {
        !self.release.contains('-')
    }

    /// Writes the release's composes into the compose root.
    fn compose(&self, world: &World) -> [Written; 3] {
        let el = format!("el{}", self.major);
        let new = |short: &str, date: &str| {
            Compose::new(self.major, short, self.version, date).suffix(self.suffix)
        };
        let mut main = new("Rocky", "20251118.0");
        for arch in ARCHES {
            main = main
                .repo("BaseOS", arch)
                .package("bash", format!("5.1.8-9.{el}"))
                .package("glibc", format!("2.34-231.{el}"))
                .repo("AppStream", arch)
                .package("httpd", format!("2.4.62-7.{el}"))
                .repo("NFV", arch)
                .package("tuned", format!("2.25-1.{el}"))
                .repo(self.devel, arch)
                .package("only-in-main", format!("1-1.{el}"));
        }
        let main = main
            .file("compose/Cloud/x86_64/os/unwanted", "not a repo")
            .file(
                "compose/BaseOS/x86_64/os/devel/metadata/kept",
                "deep names are nobody's business",
            )
            .symlink("compose/AppStream/x86_64/os/a-link", "Packages");
        let mut extras = new("Extras", "20251117.0");
        for repo in ["extras", "plus"] {
            for arch in ARCHES {
                extras = extras.repo(repo, arch).package(repo, format!("1-2.{el}"));
            }
        }
        let extras = extras.file("compose/Minimal/x86_64/os/unwanted", "not a repo");
        let mut devel = new("Rocky-devel", "20251116.0");
        for arch in ARCHES {
            devel = devel.repo(self.devel, arch).package("only-in-devel", format!("1-3.{el}"));
        }
        let root = &world.places().compose;
        [&main, &extras, &devel].map(|compose| compose.write(root).unwrap())
    }

    fn staged(&self, world: &World) -> PathBuf {
        world.staging(DIR).join(self.staged)
    }
}

/// A world with all releases, whose composes are not there yet.
fn releases() -> World {
    let world = world();
    let text = fs::read_to_string(world.config()).unwrap();
    let (before, _) = text.split_once("[release.9]").unwrap();
    let of = |major: &str, version: &str, suffix: &str, next: &str, beta: &str| {
        format!(
            "[release.{major}]\narches = [\"x86_64\", \"aarch64\"]\n\
             channel.stable = {{ version = \"{version}\", staging_suffix = \"{suffix}\" }}\n\
             channel.beta = {{ version = \"{next}\", staging_suffix = \"{beta}\" }}\n\
             channel.lookahead = {{ version = \"{next}\", staging_suffix = \"-LookAhead\" }}\n"
        )
    };
    let releases = [
        of("8", "8.10", "-RC2", "8.11", "-BETA"),
        of("9", "9.7", "-RC2", "9.8", "-beta"),
        of("10", "10.1", "-RC1", "10.2", "-BETA"),
    ];
    world.set_config(&format!("{before}{}", releases.concat()));
    world.configure("mounts.staging", "link = \"hardlink\"");
    world.cairn(["init"]).ok();
    world
}

fn ingest(world: &World, composes: &[Written]) {
    for compose in composes {
        world.cairn(["ingest", compose.latest.to_str().unwrap()]).ok();
    }
}

/// Returns a release whose composes are ingested.
fn ready(case: Case) -> (World, [Written; 3]) {
    let world = releases();
    let composes = case.compose(&world);
    ingest(&world, &composes);
    (world, composes)
}

fn starts(path: &Path, names: &[&str]) -> bool {
    names.iter().any(|name| path.starts_with(name))
}

/// The procedure, naively, on what is on disk: what the view must hold, but for metadata of what two
/// composes share and for media.
fn expected(case: Case, composes: &[Written; 3]) -> Contents {
    let [main, extras, devel] = composes.each_ref().map(|c| contents(&c.dir.join("compose")));
    let stable = case.is_stable();
    let mut all = Contents::new();
    let mut lay = |compose: Contents, takes: &dyn Fn(&Path) -> bool| {
        for (path, node) in compose {
            if !starts(&path, &["Minimal", "Cloud"]) && takes(&path) {
                all.insert(path, node);
            }
        }
    };
    lay(main, &|path| stable || !path.starts_with(case.devel));
    lay(extras, &|path| match stable {
        true => !path.starts_with("metadata"),
        false => starts(path, &["extras", "plus"]),
    });
    lay(devel, &|path| match stable {
        true => !path.starts_with("metadata"),
        false => path.starts_with(case.devel),
    });
    for arch in ARCHES {
        for repo in ["BaseOS", "AppStream", "NFV"] {
            let (os, kickstart) = (format!("{repo}/{arch}/os"), format!("{repo}/{arch}/kickstart"));
            let treeinfo = PathBuf::from(&os).join(".treeinfo");
            let Node::File(came, mode, time) = all[&treeinfo].clone() else {
                panic!("{treeinfo:?}")
            };
            let told = |kind| Node::File(told(&came, arch, kind), mode, time);
            let copied: Vec<(PathBuf, Node)> = all
                .iter()
                .filter_map(|(path, node)| {
                    Some((Path::new(&kickstart).join(path.strip_prefix(&os).ok()?), node.clone()))
                })
                .collect();
            all.extend(copied);
            if repo == "BaseOS" {
                for kind in ["os", "kickstart"] {
                    let tree = PathBuf::from(format!("{repo}/{arch}/{kind}"));
                    all.insert(tree.join(".treeinfo"), told(kind));
                    all.insert(
                        tree.join(".treeinfo-pristine"),
                        Node::File(came.clone(), mode, time),
                    );
                }
            }
        }
    }
    for (link, target) in case.inside {
        all.insert(link.into(), Node::Symlink(target.into()));
    }
    all.retain(|path, _| !is_media(path));
    all
}

/// A `.treeinfo` that leads to AppStream, as text.
fn told(came: &[u8], arch: &str, kind: &str) -> Vec<u8> {
    let came = std::str::from_utf8(came).unwrap();
    assert_eq!(came.matches("variants = BaseOS\n").count(), 2, "{came}");
    let text = came.replace("variants = BaseOS\n", "variants = AppStream,BaseOS\n");
    let place = format!("../../../AppStream/{arch}/{kind}/");
    let section = format!(
        "[variant-AppStream]\nid = AppStream\nname = AppStream\npackages = {place}Packages\n\
         repository = {place}\ntype = variant\nuid = AppStream\n"
    );
    format!("{text}{section}").into_bytes()
}

/// Media are looked at by tests of their own; here by their names.
fn is_media(path: &Path) -> bool {
    let parts: Vec<_> = path.iter().collect();
    starts(path, &["isos", "images", "live"]) || parts.get(2).is_some_and(|part| *part == "iso")
}

/// The metadata of the repo that two composes have packages of.
fn is_shared(case: Case, path: &Path) -> bool {
    case.is_stable() && path.starts_with(case.devel) && path.iter().any(|part| part == "repodata")
}

#[track_caller]
fn assert_staged(world: &World, case: Case, composes: &[Written; 3]) {
    let view = case.staged(world);
    let mut found = contents(&view);
    let (media, mut rest): (Contents, Contents) = {
        let media = found.iter().filter(|(path, _)| is_media(path));
        let media: Contents = media.map(|(path, node)| (path.clone(), node.clone())).collect();
        found.retain(|path, _| !is_media(path));
        (media, found)
    };
    let mut expected = expected(case, composes);
    for tree in [&mut expected, &mut rest] {
        tree.retain(|path, _| !is_shared(case, path));
    }
    assert_same(&expected, &rest);

    // Media: once, with the names that the procedure gives them.
    let dvd = if case.major == "8" { "dvd1" } else { "dvd" };
    for arch in ARCHES {
        let isos = PathBuf::from(format!("isos/{arch}"));
        for (kind, link) in [("boot", "boot"), ("minimal", "minimal"), (dvd, "dvd")] {
            let name = format!("Rocky-{}-{arch}-{kind}.iso", case.version);
            assert!(media.contains_key(&isos.join(&name)), "{name}\n{:?}", media.keys());
            let link = isos.join(format!("Rocky-{}-latest-{arch}-{link}.iso", case.major));
            assert!(media[&link] == Node::Symlink(name.into()), "{link:?}");
        }
        assert!(media.contains_key(&isos.join("CHECKSUM")));
        assert!(!view.join(format!("BaseOS/{arch}/iso")).exists());
    }

    // Metadata: true of what is beside it, everywhere, and of both composes where they share a repo.
    let repos = metadata::repos(&view);
    for (path, repo) in &repos {
        if path.starts_with("BaseOS") || path.starts_with(case.devel) {
            repo.assert_true();
        }
    }
    let shared = &repos[Path::new(&format!("{}/x86_64/os", case.devel))];
    let packages: BTreeSet<String> =
        shared.packages().into_values().map(|package| package.nevra.name).collect();
    let both: &[&str] =
        if case.is_stable() { &["only-in-devel", "only-in-main"] } else { &["only-in-devel"] };
    assert_eq!(packages.iter().map(String::as_str).collect::<Vec<_>>(), both);

    for link in case.beside {
        let target = fs::read_link(world.staging(DIR).join(link)).unwrap();
        assert_eq!(target.to_str(), Some(case.staged), "{link}");
    }
}

fn log_length(world: &World) -> usize {
    fs::read_dir(world.places().store.join("log")).unwrap().count()
}

#[test]
fn every_release_becomes_what_the_procedure_says_and_again_nothing_happens() {
    for case in CASES {
        let (world, composes) = ready(case);
        let untouched = treecmp::digest(&world.places().compose);
        let before = (treecmp::digest(&world.places().staging), log_length(&world));

        let plan = world.json(["minor", case.release, "-n"]);
        assert_eq!(plan["operation"], Value::Null);
        assert_eq!(plan["links"].as_array().unwrap().len(), case.beside.len(), "{plan}");
        let after = (treecmp::digest(&world.places().staging), log_length(&world));
        assert_eq!(before, after, "{case:?}: a plan writes nothing");

        let done = world.json(["minor", case.release, "-m", "first"]);
        assert_eq!(done["verb"], "minor");
        assert_eq!(done["kickstarts"].as_array().unwrap().len(), 6, "{done}");
        // A plan is exact: the same paths, and the same repos.
        let planned = &plan["plan"][0]["files"]["added"];
        let files = contents(&case.staged(&world));
        let files: BTreeSet<&str> = files
            .iter()
            .filter(|(_, node)| !matches!(node, Node::Dir(_)))
            .map(|(path, _)| path.to_str().unwrap())
            .collect();
        let planned: BTreeSet<&str> =
            planned.as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
        assert_eq!(planned, files, "{case:?}");
        assert_eq!(plan["repos"], done["repos"]);
        assert_eq!(plan["media"], done["media"]);
        assert_staged(&world, case, &composes);
        assert_eq!(log_length(&world), before.1 + 1, "{case:?}: one operation");

        let snapshot =
            world.json(["show", &format!("staging/{}", case.staged)])["snapshot"].clone();
        let view = treecmp::digest(&case.staged(&world));
        let again = world.json(["minor", case.release]);
        assert_eq!(again["operation"], Value::Null, "{again}");
        assert_eq!(again["refs"][0]["new"], snapshot);
        assert_eq!(log_length(&world), before.1 + 1, "{case:?}");
        assert_eq!(treecmp::digest(&case.staged(&world)), view, "{case:?}");
        assert_eq!(treecmp::digest(&world.places().compose), untouched, "{case:?}");
        world.cairn(["fsck", "--full"]).ok();
    }
}

#[test]
fn what_a_treeinfo_says_of_metadata_is_true_after_that_was_made_anew() {
    let world = releases();
    let composes = NINE.compose(&world);
    let dir = &composes[0].dir;
    // Composes declare it so; and comps beside the compose that differ make other metadata.
    let treeinfo = dir.join("compose/BaseOS/x86_64/os/.treeinfo");
    let text = fs::read_to_string(&treeinfo).unwrap();
    let declared = format!("[checksums]\nrepodata/repomd.xml = sha256:{}\n", "0".repeat(64));
    fs::write(&treeinfo, text.replace("[checksums]\n", &declared)).unwrap();
    let comps = dir.join("work/x86_64/comps/comps-BaseOS.x86_64.xml");
    let text = fs::read_to_string(&comps).unwrap();
    fs::write(&comps, text.replace("BaseOS sample", "BaseOS anew")).unwrap();
    ingest(&world, &composes);
    world.cairn(["minor", "9"]).ok();
    for kind in ["os", "kickstart"] {
        let tree = NINE.staged(&world).join("BaseOS/x86_64").join(kind);
        let repo = &metadata::repos(&tree)[Path::new("")];
        let groups = repo.content("group").expect("it has comps");
        assert!(String::from_utf8(groups).unwrap().contains("BaseOS anew"), "{kind}");
        let mut sum = Command::new("sha256sum");
        let sum = sum.arg(tree.join("repodata/repomd.xml")).output().unwrap().stdout;
        let sum = String::from_utf8(sum).unwrap();
        let sum = sum.split(' ').next().unwrap();
        let told = fs::read_to_string(tree.join(".treeinfo")).unwrap();
        let line = format!("repodata/repomd.xml = sha256:{sum}\n");
        assert!(told.contains(&line), "{kind}: no {line} in\n{told}");
        let came = fs::read(tree.join(".treeinfo-pristine")).unwrap();
        assert_eq!(came, fs::read(&treeinfo).unwrap(), "{kind}");
    }
    let checked = world.json(["check", "staging/9.7-RC2", "treeinfo", "repodata"]);
    for gate in checked["gates"].as_array().unwrap() {
        assert_eq!(gate["verdict"], "passed", "{gate}");
    }
    assert_eq!(world.json(["minor", "9"])["operation"], Value::Null);
}

#[test]
fn kickstart_trees_store_no_byte_twice() {
    let (world, _) = ready(NINE);
    let objects = |world: &World| -> BTreeMap<PathBuf, u64> {
        let all = contents(&world.staging(".cairn/objects"));
        let file = |(path, node): (PathBuf, Node)| match node {
            Node::File(bytes, ..) => Some((path, bytes.len() as u64)),
            Node::Dir(_) | Node::Symlink(_) => None,
        };
        all.into_iter().filter_map(file).collect()
    };
    let before = objects(&world);
    world.cairn(["minor", "9"]).ok();
    let added: u64 =
        objects(&world).iter().filter(|(p, _)| !before.contains_key(*p)).map(|(_, n)| n).sum();
    let os = NINE.staged(&world).join("BaseOS/x86_64/os");
    let big = fs::metadata(os.join("images/boot.iso")).unwrap();
    // What came are treeinfos, sums, lists of images and the metadata of one shared repo.
    assert!(added < 64 << 10, "{added} bytes");
    let again = fs::metadata(os.with_file_name("kickstart").join("images/boot.iso")).unwrap();
    assert_eq!((big.dev(), big.ino()), (again.dev(), again.ino()), "one inode, many names");
}

#[test]
fn a_respin_and_another_candidate_move_the_links_right() {
    let (world, _) = ready(NINE);
    let at = |suffix: &str| {
        let text = fs::read_to_string(world.config()).unwrap();
        let (before, rest) = text.split_once("version = \"9.7\", staging_suffix = \"").unwrap();
        let (_, rest) = rest.split_once('"').unwrap();
        world
            .set_config(&format!("{before}version = \"9.7\", staging_suffix = \"{suffix}\"{rest}"));
    };
    let link = |name: &str| fs::read_link(world.staging(DIR).join(name)).ok();
    let names = || {
        let entries = fs::read_dir(world.staging(DIR)).unwrap();
        let mut names: Vec<String> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    at("-RC1");
    world.cairn(["minor", "9"]).ok();
    world.cairn(["minor", "9"]).ok();
    assert_eq!(link("9.7").unwrap(), Path::new("9.7-RC1"));
    assert_eq!(names(), ["9.7", "9.7-RC1", "latest-9"], "no link in what a link leads to");
    assert!(!world.staging(DIR).join("9.7-RC1/9.7-RC1").exists());

    at("-RC2");
    let done = world.json(["minor", "9"]);
    assert_eq!(done["links"][0]["old"], "9.7-RC1");
    for name in ["9.7", "latest-9"] {
        assert_eq!(link(name).unwrap(), Path::new("9.7-RC2"), "{name}");
    }
    assert_eq!(names(), ["9.7", "9.7-RC1", "9.7-RC2", "latest-9"]);
    // Both candidates are the same tree: nothing was read or stored for the second.
    assert_eq!(
        treecmp::digest(&world.staging(DIR).join("9.7-RC1")),
        treecmp::digest(&NINE.staged(&world))
    );

    // The final name is the link's: somebody must decide, and nothing is replaced or looped.
    at("");
    let refused = world.cairn(["--json", "minor", "9"]).exits(4).error_json();
    assert_eq!(refused["kind"], "occupied", "{refused}");
    assert_eq!(link("9.7").unwrap(), Path::new("9.7-RC2"));
    fs::remove_file(world.staging(DIR).join("9.7")).unwrap();
    world.cairn(["minor", "9"]).ok();
    assert_eq!(link("latest-9").unwrap(), Path::new("9.7"));
    // Where links are swapped, the tree is behind one of cairn's own.
    let tree = link("9.7").is_none_or(|to| to.to_str().unwrap().contains(".cairn/views/"));
    assert!(tree, "{:?}", link("9.7"));
    assert!(world.staging(DIR).join("9.7/BaseOS").is_dir());
    assert!(fs::symlink_metadata(world.staging(DIR).join("9.7/9.7")).is_err());
}

#[test]
fn missing_and_stale_composes_are_named_with_what_to_run() {
    let world = releases();
    let composes = NINE.compose(&world);
    ingest(&world, &composes[..1]);
    let refused = world.cairn(["--json", "minor", "9"]).exits(1).error_json();
    assert_eq!(refused["kind"], "not-ingested");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("compose/9/Extras, compose/9/Rocky-devel have not been"), "{message}");
    let hint = refused["hint"].as_str().unwrap();
    for compose in &composes[1..] {
        assert!(hint.contains(&format!("cairn ingest {}", compose.latest.display())), "{hint}");
    }
    assert!(!world.staging(DIR).exists());
    world.cairn(["minor", "11"]).exits(2);
    world.cairn(["minor", "9-gamma"]).exits(2);

    ingest(&world, &composes[1..]);
    // A newer compose is there and was not taken in: that is said, and the one that was is staged.
    let newer = Compose::new("9", "Extras", "9.7", "20251120.0").repo("extras", "x86_64");
    newer.package("extras", "2-1.el9").write(&world.places().compose).unwrap();
    let done = world.json(["minor", "9"]);
    let notes = done["notes"].to_string();
    assert!(notes.contains("compose/9/Extras was ingested from"), "{notes}");
    assert_staged(&world, NINE, &composes);
}

#[test]
fn a_release_goes_to_production_and_back_signed() {
    let Some(keys) = available(Keys::new(&["Rocky"])) else { return };
    let (mut world, _) = ready(NINE);
    keys.public("RPM-GPG-KEY-9", &["Rocky"]);
    let script = keys.sign_script("sign", "Rocky");
    world.env("GNUPGHOME", keys.home());
    let text = fs::read_to_string(world.config()).unwrap();
    let gates = "[\"repodata\", \"files-exist\", \"treeinfo\", \"signatures\"]";
    let text = text.replace("[\"repodata\", \"files-exist\", \"treeinfo\"]", gates);
    world.set_config(&format!(
        "{text}[sign]\ncommand = [\"{}\", \"{{file}}\"]\nverify_key = \"{}\"\n",
        script.display(),
        keys.path("RPM-GPG-KEY-{major}").display()
    ));
    let plan = world.json(["minor", "9", "-n"]);
    let done = world.json(["minor", "9"]);
    assert_eq!(plan["signed"], done["signed"]);
    let again = world.json(["minor", "9"]);
    assert_eq!(again["operation"], Value::Null, "signatures are kept: {again}");
    for arch in ARCHES {
        for repo in ["BaseOS", "AppStream", "NFV"] {
            for kind in ["os", "kickstart"] {
                let asc = format!("{repo}/{arch}/{kind}/repodata/repomd.xml.asc");
                assert!(NINE.staged(&world).join(&asc).is_file(), "{asc}");
            }
        }
    }
    let promoted = world.json(["promote", "9"]);
    let verdicts = promoted["gates"][0]["gates"].as_array().unwrap();
    // The packages themselves are not signed in a sample, and no key is asked of them.
    for gate in ["repodata", "treeinfo", "files-exist"] {
        let found = verdicts.iter().find(|row| row["gate"] == gate).unwrap();
        assert_eq!(found["verdict"], "passed", "{found}");
    }
    let production = world.production(DIR);
    assert_eq!(fs::read_link(production.join("9")).unwrap(), Path::new("9.7"));
    assert_same(&contents(&NINE.staged(&world)), &contents(&production.join("9.7")));
    // A respin: another compose of Extras. Then back to the first.
    let first = contents(&NINE.staged(&world));
    let respin = Compose::new("9", "Extras", "9.7", "20251121.0");
    let respin = respin.repo("extras", "x86_64").package("extras", "1-3.el9");
    ingest(&world, &[respin.write(&world.places().compose).unwrap()]);
    let done = world.json(["minor", "9"]);
    assert_ne!(done["operation"], Value::Null);
    let extras = NINE.staged(&world).join("extras/x86_64/os/Packages/e");
    let names: Vec<_> = fs::read_dir(extras).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["extras-1-3.el9.x86_64.rpm"], "exactly what the composes say");
    world.cairn(["rollback", "staging/9.7-RC2"]).ok();
    assert_same(&first, &contents(&NINE.staged(&world)));
    world.cairn(["fsck", "--full"]).ok();
}

#[test]
fn a_kill_leaves_old_or_new_with_its_links_and_again_finishes() {
    let points = [
        CrashPoint::BatchNamed,
        CrashPoint::StandbyRecorded,
        CrashPoint::LinkPrepared,
        CrashPoint::OperationLinked,
        CrashPoint::ViewSwapped,
        CrashPoint::LinkSwitched,
    ];
    let (world, _) = ready(NINE);
    for point in points {
        // Each time something else is staged before and after, so that there is something to do.
        let respin =
            Compose::new("9", "Extras", "9.7", format!("202512{:02}.0", point as u8 % 28 + 1));
        let respin =
            respin.repo("extras", "x86_64").package("extras", format!("{}-1.el9", point as u8));
        ingest(&world, &[respin.write(&world.places().compose).unwrap()]);
        for link in ["latest-9", "9.7"] {
            let _ = fs::remove_file(world.staging(DIR).join(link));
        }
        let before = treecmp_of(&world);
        let run = world.crash_at(point, 1, ["minor", "9"]);
        run.killed();
        let found = treecmp_of(&world);
        world.cairn(["minor", "9"]).ok();
        let after = treecmp_of(&world);
        assert!(found == before || found == after, "{point:?}: a mixture");
        assert_ne!(before, after, "{point:?}");
        for link in ["latest-9", "9.7"] {
            let target = fs::read_link(world.staging(DIR).join(link)).unwrap();
            assert_eq!(target, Path::new("9.7-RC2"), "{point:?}: {link}");
        }
        assert_eq!(world.json(["minor", "9"])["operation"], Value::Null, "{point:?}");
        world.cairn(["fsck", "--full"]).ok();
    }
}

fn treecmp_of(world: &World) -> Option<String> {
    let view = NINE.staged(world);
    view.exists().then(|| treecmp::digest(&view))
}
