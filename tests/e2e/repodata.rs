//! Additive staging and promotion: metadata that describes exactly what is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cairn_testkit::clients::{Dnf, createrepo};
use cairn_testkit::metadata::{self, Repo};
use cairn_testkit::treecmp::{self, On};
use cairn_testkit::{Run, World, available};
use serde_json::Value;

use crate::filesystems::{PRODUCTION, STAGING, contents, publish, real};
use crate::world;

const BASEOS: &str = "BaseOS/x86_64/os";
const APPSTREAM: &str = "AppStream/x86_64/os";

/// A release in production, and its update ingested and not staged: both composes.
fn released(world: &World) -> [PathBuf; 2] {
    world.cairn(["init"]).ok();
    let first = world.first();
    publish(world, &first);
    let second = world.second();
    world.cairn(["ingest", second.dir.to_str().unwrap()]).ok();
    [first.dir, second.dir]
}

pub fn repos(root: &Path) -> BTreeMap<PathBuf, Repo> {
    metadata::repos(&real(root))
}

fn repo<'a>(json: &'a Value, path: &str) -> Option<&'a Value> {
    json["repos"].as_array()?.iter().find(|repo| repo["path"] == path)
}

/// `name-epoch:version-release.arch` of every package of a repo.
fn nevras(repo: &Repo) -> Vec<String> {
    let packages = repo.packages().into_values();
    let mut nevras: Vec<_> = packages
        .map(|package| {
            let (name, evr, arch) = (package.nevra.name, package.nevra.evr, package.nevra.arch);
            format!("{name}-{}:{}-{}.{arch}", evr.epoch, evr.version, evr.release)
        })
        .collect();
    nevras.sort();
    nevras
}

#[test]
fn an_update_is_added_and_metadata_describes_all_packages() {
    let world = world();
    let [first, second] = released(&world).map(|dir| dir.join("compose"));
    let report = world.json(["stage", "9", "Rocky"]);
    let staged = repos(&world.staging(STAGING));
    staged.values().for_each(Repo::assert_true);

    // Old and new versions, source and debug too, and no package was read again.
    let (before, after) = (metadata::repos(&first), metadata::repos(&second));
    assert_eq!(before.keys().collect::<Vec<_>>(), staged.keys().collect::<Vec<_>>());
    for (path, repo) in &staged {
        let mut expected = [nevras(&before[path]), nevras(&after[path])].concat();
        expected.sort();
        expected.dedup();
        let mut found = nevras(repo);
        // A package that was built again with the same version has one place.
        found.dedup();
        assert_eq!(found, expected, "{}", path.display());
    }
    let baseos = repo(&report, BASEOS).expect("BaseOS changed");
    assert_eq!(baseos["fresh"], 0, "{baseos}");
    assert!(
        baseos["packages"].as_u64().unwrap() > after[Path::new(BASEOS)].packages().len() as u64
    );

    // Nothing of the old metadata is lost, and the new is there.
    let both = |path: &str, of: fn(&Repo) -> std::collections::BTreeSet<String>| {
        let sides = [&before[Path::new(path)], &after[Path::new(path)]];
        let all = sides.into_iter().flat_map(of).collect::<std::collections::BTreeSet<_>>();
        assert!(!all.is_empty(), "{path}");
        assert_eq!(of(&staged[Path::new(path)]), all, "{path}");
    };
    both(BASEOS, Repo::groups);
    both(BASEOS, Repo::advisories);
    both(APPSTREAM, Repo::streams);

    // A package's elements are what they were, byte for byte.
    let element = |repo: &Repo, kind: &str, pkgid: &str| {
        let text = String::from_utf8(repo.content(kind).unwrap()).unwrap();
        let elements = text.split("<package ").filter(|element| element.contains(pkgid));
        let end = "</package>";
        elements.map(|e| e[..e.find(end).unwrap()].to_owned()).next().unwrap()
    };
    for (href, package) in before[Path::new(BASEOS)].packages() {
        let id = package.pkgid.hex();
        let now = &staged[Path::new(BASEOS)];
        if now.packages().get(&href).is_none_or(|p| p.pkgid != package.pkgid) {
            continue;
        }
        for kind in ["primary", "filelists", "other"] {
            let (was, is) = (element(&before[Path::new(BASEOS)], kind, id), element(now, kind, id));
            assert_eq!(was, is, "{href} in {kind}");
        }
    }

    // The same again is nothing, and another store with the same input has the same bytes.
    let again = world.json(["stage", "9", "Rocky"]);
    assert!(again["operation"].is_null() && again["repos"].is_null(), "{again}");
    let other = crate::world();
    released(&other);
    other.cairn(["stage", "9", "Rocky"]).ok();
    let options = treecmp::Options { mtime: On::Everything, ..Default::default() };
    let (here, there) = (real(&world.staging(STAGING)), real(&other.staging(STAGING)));
    assert_eq!(treecmp::compare_with(&here, &there, &options), []);

    // What is promoted is what was staged.
    world.cairn(["promote", "9"]).ok();
    treecmp::assert_equal(&here, &real(&world.production(PRODUCTION)));
}

#[test]
fn adding_what_is_there_exactly_changes_nothing() {
    let world = world();
    released(&world);
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    let before = contents(&world.staging(STAGING));
    let report = world.json(["stage", "9", "Rocky"]);
    assert!(report["operation"].is_null() && report["repos"].is_null(), "{report}");
    assert!(contents(&world.staging(STAGING)) == before);
}

#[test]
fn a_treeinfo_that_names_the_metadata_is_told_of_the_new() {
    let world = world();
    world.cairn(["init"]).ok();
    let first = world.first();
    let os = first.dir.join("compose").join(BASEOS);
    let sum = |path: &Path| {
        let run = Run::of(std::process::Command::new("sha256sum").arg(path)).ok().out();
        run.split(' ').next().unwrap().to_owned()
    };
    let line = |path: &Path| format!("repodata/repomd.xml = sha256:{}\n", sum(path));
    let text = fs::read_to_string(os.join(".treeinfo")).unwrap();
    assert!(text.contains("[checksums]\n"), "{text}");
    let entry = line(&os.join("repodata/repomd.xml"));
    let text = text.replace("[checksums]\n", &format!("[checksums]\n{entry}"));
    fs::write(os.join(".treeinfo"), &text).unwrap();
    publish(&world, &first);
    world.cairn(["ingest", world.second().dir.to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky"]).ok();
    let staged = real(&world.staging(STAGING)).join(BASEOS);
    let new = line(&staged.join("repodata/repomd.xml"));
    assert_ne!(new, entry);
    // All the rest of the file is as it was.
    let found = fs::read_to_string(staged.join(".treeinfo")).unwrap();
    assert_eq!(found, text.replace(&entry, &new));
    world.cairn(["check", "staging/9.7-RC2", "treeinfo", "repodata"]).ok();
}

#[test]
fn clients_see_old_and_new_packages_groups_modules_and_advisories() {
    let world = world();
    released(&world);
    world.cairn(["stage", "9", "Rocky"]).ok();
    world.cairn(["promote", "9"]).ok();
    let live = real(&world.production(PRODUCTION));
    let Some(dnf) = available(Dnf::new()) else { return };
    let dnf = dnf.repo("baseos", live.join(BASEOS)).repo("appstream", live.join(APPSTREAM));
    let published = repos(&live);
    let expected = [BASEOS, APPSTREAM].into_iter().flat_map(|p| nevras(&published[Path::new(p)]));
    assert_eq!(dnf.nevras(), expected.collect());
    let said = |args: &[&str]| dnf.run(args).ok().out();
    let groups = said(&["-v", "group", "list", "--hidden"]);
    assert!(groups.contains("(baseos-sample)"), "{groups}");
    let modules = said(&["module", "list"]);
    assert!(modules.contains("nodejs"), "{modules}");
    let newest = "RLSA-2025:21112";
    assert!(published[Path::new(BASEOS)].advisories().contains(newest));
    let fixed = said(&["-q", "repoquery", "--advisory", newest]);
    assert!(fixed.contains("kernel"), "{fixed}");
    // And createrepo_c finds the same packages in the RPMs.
    let copy = tempfile::tempdir().unwrap();
    let to = copy.path().join("os");
    std::process::Command::new("cp").arg("-a").arg(live.join(BASEOS)).arg(&to).status().unwrap();
    let ours = metadata::repos(copy.path())[Path::new("os")].packages();
    fs::remove_dir_all(to.join("repodata")).unwrap();
    let Some(_) = available(createrepo(&to, &["--no-database"])) else { return };
    let theirs = metadata::repos(copy.path())[Path::new("os")].packages();
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (href, package) in &ours {
        let other = &theirs[href];
        assert_eq!(
            (&package.pkgid, &package.nevra, &package.relations, package.header_end),
            (&other.pkgid, &other.nevra, &other.relations, other.header_end),
            "{href}"
        );
    }
}

#[test]
fn comps_and_modules_beside_the_compose_are_taken_in() {
    let world = world();
    let [_, second] = released(&world);
    let modules = second.parent().unwrap().join("modules");
    let template = format!("modules = \"{}/{{arch}}/{{repo}}-modules.yaml\"", modules.display());
    world.configure("compose", &template);
    world.cairn(["stage", "9", "Rocky"]).ok();
    let before = repos(&world.staging(STAGING))[Path::new(APPSTREAM)].streams();

    // The compose's work directory says which groups there are.
    let file = second.join("work/x86_64/comps/comps-BaseOS.x86_64.xml");
    let text = fs::read_to_string(&file).unwrap();
    let group = "<group><id>rescue</id><name>Rescue</name><packagelist>\
        <packagereq type=\"mandatory\">bash</packagereq></packagelist></group>";
    fs::write(&file, text.replace("</comps>", &format!("{group}</comps>"))).unwrap();
    fs::create_dir_all(modules.join("x86_64")).unwrap();
    let stream = "---\ndocument: modulemd\nversion: 2\ndata:\n  name: ruby\n  stream: \"3.3\"\n  \
        version: 9070020251115\n  context: rhel9\n  arch: x86_64\n  summary: Ruby\n  \
        description: >-\n    Ruby\n  license:\n    module: [MIT]\n...\n";
    let yaml = modules.join("x86_64/AppStream-modules.yaml");
    fs::write(&yaml, stream).unwrap();

    let plan = world.json(["stage", "9", "Rocky", "-n"]);
    let planned: Vec<_> =
        plan["repos"].as_array().unwrap().iter().map(|r| r["path"].as_str().unwrap()).collect();
    assert_eq!(planned, [APPSTREAM, BASEOS]);
    world.cairn(["stage", "9", "Rocky"]).ok();
    let staged = repos(&world.staging(STAGING));
    staged.values().for_each(Repo::assert_true);
    assert!(staged[Path::new(BASEOS)].groups().contains("rescue"));
    let mut streams = before;
    assert!(streams.insert("ruby:3.3:9070020251115:rhel9:x86_64".to_owned()));
    assert_eq!(staged[Path::new(APPSTREAM)].streams(), streams);
    let again = world.json(["stage", "9", "Rocky"]);
    assert!(again["operation"].is_null(), "{again}");

    // Files that are none are named, and nothing happens.
    let state = contents(&world.staging(STAGING));
    for (path, damage, word) in [
        (&file, "<comps><group>", "comps-BaseOS.x86_64.xml"),
        (&yaml, "---\ndocument: [", "AppStream-modules.yaml"),
    ] {
        let good = fs::read(path).unwrap();
        fs::write(path, damage).unwrap();
        let run = world.cairn(["stage", "9", "Rocky"]).exits(1);
        assert!(run.err().contains(word), "{}", run.report());
        assert!(contents(&world.staging(STAGING)) == state);
        fs::write(path, good).unwrap();
    }
}

#[test]
fn packages_that_no_metadata_describes_are_read_from_their_headers() {
    let world = world();
    let [_, second] = released(&world);
    let repo_dir = second.join("compose").join(BASEOS);
    let extra = second.join("compose/AppStream/x86_64/os/Packages");
    // A package that somebody put into the compose by hand, after its metadata was made.
    let mut stray = None;
    for path in contents(&extra).into_keys() {
        if path.extension().is_some_and(|e| e == "rpm") {
            stray = Some(extra.join(path));
        }
    }
    let stray = stray.unwrap();
    let name = stray.file_name().unwrap();
    fs::create_dir_all(repo_dir.join("Packages/by-hand")).unwrap();
    fs::copy(&stray, repo_dir.join("Packages/by-hand").join(name)).unwrap();
    world.cairn(["ingest", second.to_str().unwrap()]).ok();
    let report = world.json(["stage", "9", "Rocky"]);
    assert_eq!(repo(&report, BASEOS).unwrap()["fresh"], 1, "{report}");
    let staged = repos(&world.staging(STAGING));
    staged.values().for_each(Repo::assert_true);
    let href = format!("Packages/by-hand/{}", name.to_str().unwrap());
    assert!(staged[Path::new(BASEOS)].packages().contains_key(&href));

    // The same package twice in one repo is listed once, and that is said.
    fs::create_dir_all(repo_dir.join("Packages/again")).unwrap();
    fs::copy(&stray, repo_dir.join("Packages/again").join(name)).unwrap();
    world.cairn(["ingest", second.to_str().unwrap()]).ok();
    let report = world.json(["stage", "9", "Rocky"]);
    let notes = report["notes"].to_string();
    assert!(notes.contains("is the same package as"), "{notes}");
    // No reason to refuse it, but a person should know.
    let check = world.json(["check", "staging/9.7-RC2", "repodata"]);
    let text = check["gates"].to_string();
    assert!(text.contains("\"twin\"") && text.contains("\"passed\""), "{text}");

    // What is called an RPM and is none stops everything.
    let state = contents(&world.staging(STAGING));
    fs::write(repo_dir.join("Packages/by-hand/not.rpm"), "this is no package").unwrap();
    world.cairn(["ingest", second.to_str().unwrap()]).ok();
    let run = world.cairn(["stage", "9", "Rocky"]).exits(1);
    assert!(run.err().contains("Packages/by-hand/not.rpm"), "{}", run.report());
    assert!(contents(&world.staging(STAGING)) == state);
}

#[test]
fn a_repo_may_list_the_packages_of_its_neighbour() {
    let world = world();
    let [first, second] = released(&world).map(|dir| dir.join("compose"));
    let kickstart = "BaseOS/x86_64/kickstart";
    for compose in [&first, &second] {
        let os = &metadata::repos(compose)[Path::new(BASEOS)];
        os.list_in(&compose.join(kickstart), |href| format!("../os/{href}"));
        world.cairn(["ingest", compose.to_str().unwrap()]).ok();
        world.cairn(["stage", "9", "Rocky"]).ok();
    }
    let staged = repos(&world.staging(STAGING));
    let listed = staged[Path::new(kickstart)].packages();
    // What the older compose's tree listed is still there, beside it, and still listed.
    let all = staged[Path::new(BASEOS)].packages();
    let beside: Vec<_> = all.keys().map(|href| format!("../os/{href}")).collect();
    assert_eq!(listed.keys().cloned().collect::<Vec<_>>(), beside);
    world.cairn(["check", "staging/9.7-RC2", "repodata"]).ok();
    let again = world.json(["stage", "9", "Rocky"]);
    assert!(again["operation"].is_null(), "{again}");
}

#[test]
fn a_compose_whose_metadata_lies_is_refused() {
    let world = world();
    let [_, second] = released(&world);
    let compose = metadata::repos(&second.join("compose"));
    let record = compose[Path::new(BASEOS)].repomd.record("primary").unwrap().href.clone();
    let path = second.join("compose").join(BASEOS).join(record);
    let state = contents(&world.staging(STAGING));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    world.cairn(["ingest", "--reread", second.to_str().unwrap()]).ok();
    let run = world.cairn(["stage", "9", "Rocky"]).exits(1);
    assert!(run.err().contains("primary"), "{}", run.report());
    assert!(contents(&world.staging(STAGING)) == state);
    let command = world.json(["log"])["operations"][0]["command"].to_string();
    assert!(command.contains("ingest"), "{command}");
}

#[test]
fn production_keeps_what_staging_lacks_and_describes_it() {
    let world = world();
    let [first, _] = released(&world);
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    let report = world.json(["promote", "9"]);
    assert!(repo(&report, BASEOS).is_some(), "{report}");
    let live = repos(&world.production(PRODUCTION));
    live.values().for_each(Repo::assert_true);
    let staged = repos(&world.staging(STAGING));
    let (all, new) = (&live[Path::new(BASEOS)], &staged[Path::new(BASEOS)]);
    assert!(all.packages().len() > new.packages().len());
    assert!(all.advisories().is_superset(&new.advisories()));
    let again = world.json(["promote", "9"]);
    assert!(again["operation"].is_null(), "{again}");
    // A way back is the tree that was, metadata and all.
    world.cairn(["rollback", "production/9.7"]).ok();
    treecmp::assert_equal(&first.join("compose"), &real(&world.production(PRODUCTION)));
}

/// An `updateinfo.xml` of advisories: id, when it was changed, and the package that it fixes.
pub fn updateinfo(list: &[(&str, &str, &str)]) -> String {
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<updates>\n".to_owned();
    for (id, updated, nevra) in list {
        let (name, rest) = nevra.split_once('/').unwrap();
        let (evr, arch) = rest.rsplit_once('.').unwrap();
        let (version, release) = evr.split_once('-').unwrap();
        text += &format!(
            "<update from=\"a@b\" status=\"final\" type=\"security\" version=\"2\"><id>{id}</id>\
             <title>It\'s &lt;urgent&gt;: {name}</title><issued date=\"2025-11-01 00:00:00\"/>\
             <updated date=\"{updated}\"/><severity>Critical</severity><pkglist><collection>\
             <package name=\"{name}\" version=\"{version}\" release=\"{release}\" epoch=\"0\" \
             arch=\"{arch}\"><filename>{name}-{evr}.{arch}.rpm</filename></package></collection>\
             </pkglist></update>\n"
        );
    }
    text + "</updates>\n"
}

#[test]
fn advisories_are_added_to_the_repos_that_have_their_packages() {
    let world = world();
    world.cairn(["init"]).ok();
    publish(&world, &world.first());
    let staging = world.staging(STAGING);
    let before = contents(&staging);
    let old = repos(&staging)[Path::new(BASEOS)].advisories();
    let given = tempfile::tempdir().unwrap();
    let file = given.path().join("updateinfo.xml");
    let list = [
        ("RLSA-2026:0001", "2026-01-01 00:00:00", "bash/5.1.8-9.el9.x86_64"),
        ("RLSA-2026:0002", "2026-01-01 00:00:00", "bash/5.1.8-1.el9.x86_64"),
        ("RLSA-2026:0003", "2026-01-01 00:00:00", "nowhere/1-1.el9.x86_64"),
    ];
    fs::write(&file, updateinfo(&list)).unwrap();
    let apply = ["errata", "apply", "9", "--from", file.to_str().unwrap()];
    let plan = world.json([&apply[..], &["-n"]].concat());
    assert!(plan["operation"].is_null() && contents(&staging) == before);
    let report = world.json([&apply[..], &["-m", "of today"]].concat());
    assert_eq!(plan["errata"], report["errata"]);
    let errata = &report["errata"];
    assert_eq!(errata["given"], 3);
    assert_eq!(errata["added"], serde_json::json!(["RLSA-2026:0001", "RLSA-2026:0002"]));
    assert_eq!(errata["absent"], serde_json::json!(["RLSA-2026:0002"]));
    assert_eq!(errata["unplaced"], serde_json::json!(["RLSA-2026:0003"]));

    // Only that repo, and in it only the advisories and the file that lists them.
    let after = repos(&staging);
    after.values().for_each(Repo::assert_true);
    let mut all = old.clone();
    all.extend(["RLSA-2026:0001", "RLSA-2026:0002"].map(str::to_owned));
    assert_eq!(after[Path::new(BASEOS)].advisories(), all);
    let changed: Vec<_> = contents(&staging)
        .into_iter()
        .filter(|(path, node)| before.get(path) != Some(node))
        .map(|(path, _)| path.to_str().unwrap().to_owned())
        .collect();
    let expected = [after[Path::new(BASEOS)].repomd.record("updateinfo").unwrap().href.as_str()];
    let kept = |path: &String| {
        path.ends_with("/repodata/repomd.xml") || expected.iter().any(|e| path.ends_with(e))
    };
    let repo = |path: &String| path.starts_with(BASEOS);
    assert!(changed.iter().all(|path| repo(path) && kept(path)), "{changed:?}");

    // The same again is nothing; an older state of an advisory does not come back.
    assert!(world.json(apply)["operation"].is_null());
    let older = [("RLSA-2026:0001", "2025-12-01 00:00:00", "bash/5.1.8-9.el9.x86_64")];
    fs::write(&file, updateinfo(&older)).unwrap();
    assert!(world.json(apply)["operation"].is_null());
    let newer = [("RLSA-2026:0001", "2026-02-01 00:00:00", "bash/5.1.8-9.el9.x86_64")];
    fs::write(&file, updateinfo(&newer)).unwrap();
    let report = world.json(apply);
    assert_eq!(report["errata"]["updated"], serde_json::json!(["RLSA-2026:0001"]));

    // A directory says which repo; a compose that is staged later keeps what was added.
    let dir = given.path().join("x86_64");
    fs::create_dir(&dir).unwrap();
    fs::remove_file(&file).unwrap();
    let other = [("RLBA-2026:0009", "2026-02-01 00:00:00", "any/1-1.el9.x86_64")];
    fs::write(dir.join("AppStream-updateinfo.xml"), updateinfo(&other)).unwrap();
    let from = ["errata", "apply", "9", "--from", given.path().to_str().unwrap()];
    world.cairn(from).ok();
    assert!(repos(&staging)[Path::new(APPSTREAM)].advisories().contains("RLBA-2026:0009"));
    world.cairn(["ingest", world.second().dir.to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky"]).ok();
    let last = repos(&staging);
    last.values().for_each(Repo::assert_true);
    assert!(last[Path::new(APPSTREAM)].advisories().contains("RLBA-2026:0009"));
    assert!(last[Path::new(BASEOS)].advisories().is_superset(&all));
}

#[test]
fn files_that_are_no_advisories_are_named_and_nothing_happens() {
    let world = world();
    world.cairn(["init"]).ok();
    let given = tempfile::tempdir().unwrap();
    let file = given.path().join("updateinfo.xml");
    let apply = ["errata", "apply", "9", "--from", file.to_str().unwrap()];
    fs::write(&file, updateinfo(&[])).unwrap();
    let run = world.cairn(apply).exits(1);
    assert!(run.err().contains("staging/9.7-RC2"), "{}", run.report());
    publish(&world, &world.first());
    let before = contents(&world.staging(STAGING));
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\">]><updates>&a;</updates>";
    for (text, word) in [
        ("", "updateinfo.xml"),
        ("<updates><update><title>no id</title></update></updates>", "id"),
        ("<updates>", "updateinfo.xml"),
        (bomb, "document type"),
    ] {
        fs::write(&file, text).unwrap();
        let run = world.cairn(apply).exits(1);
        assert!(run.err().contains(word), "{}", run.report());
    }
    fs::remove_file(&file).unwrap();
    let run = world.cairn(apply).exits(1);
    assert!(run.err().contains("updateinfo.xml"), "{}", run.report());
    let from = ["errata", "apply", "9", "--from", given.path().to_str().unwrap()];
    let run = world.cairn(from).exits(1);
    assert!(run.err().contains("ARCH/REPO-updateinfo.xml"), "{}", run.report());
    fs::create_dir(given.path().join("x86_64")).unwrap();
    fs::write(given.path().join("x86_64/BaseOs-updateinfo.xml"), updateinfo(&[])).unwrap();
    let run = world.cairn(from).exits(1);
    assert!(run.err().contains("there is no repo BaseOs/x86_64/os"), "{}", run.report());
    assert!(contents(&world.staging(STAGING)) == before);
}
