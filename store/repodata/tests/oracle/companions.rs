//! mergerepo_c and modifyrepo_c: they merge and add as we do, and each reads the other's work.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cairn_repodata::codec::Limits;
use cairn_repodata::header::FileFacts;
use cairn_repodata::merge::{Lists, Merge};
use cairn_repodata::write::{FileNames, Options, RepodataBuilder};
use cairn_repodata::{comps, modules, updateinfo};

use crate::createrepo::usual_form;
use crate::packages::{all_rpms, collect, facts_of};
use crate::repo::{
    ADVISORIES, COMPS, LISTS, MODULES, lists_of, metadata, packages_of, repomd_of, write_metadata,
};
use crate::tools::{run, with_each_release};

/// Returns where a package's element of `primary` says that it is, and the element without that.
fn place(element: &str) -> (String, String) {
    let at = element.find("<location").unwrap();
    let end = at + element[at..].find("/>").unwrap();
    let href = element[at..end].split("href=\"").nth(1).unwrap();
    (href.trim_end_matches('"').to_owned(), format!("{}{}", &element[..at], &element[end..]))
}

/// Merges repositories that createrepo_c made into one, as we do it: no RPM is read.
fn merged(repos: &[PathBuf]) -> [String; 3] {
    let mut set = BTreeMap::new();
    for repo in repos {
        let mut rpms = Vec::new();
        collect(repo, &mut rpms);
        for rpm in rpms {
            let facts = facts_of(repo, &rpm);
            // Of one package in two repositories the first counts.
            set.entry(facts.sha256).or_insert(facts);
        }
    }
    let count = set.len();
    let mut merge = Merge::new(set.into_values()).unwrap();
    for repo in repos {
        let [primary, filelists, other] = LISTS.map(|kind| metadata(repo, kind));
        merge
            .load(Lists {
                primary: ("primary", primary.as_bytes()),
                filelists: ("filelists", filelists.as_bytes()),
                other: ("other", other.as_bytes()),
            })
            .unwrap();
    }
    assert_eq!(merge.unknown(), [] as [&FileFacts; 0]);
    let options = Options { names: FileNames::Plain, ..Options::default() };
    let mut builder = RepodataBuilder::new(options);
    assert_eq!(merge.finish(&mut builder).unwrap().carried, count);
    lists_of(&builder.finish().unwrap())
}

#[test]
fn mergerepo_c_merges_to_the_same_set() {
    with_each_release(|release, dir| {
        let all = dir.join("all");
        all_rpms(&all);
        // Two repositories that share some packages.
        let repos = [dir.join("first"), dir.join("second")];
        let mut rpms = Vec::new();
        collect(&all, &mut rpms);
        for (at, rpm) in rpms.iter().enumerate() {
            for (which, repo) in repos.iter().enumerate() {
                if at % 3 == which || at % 3 == 2 {
                    fs::create_dir_all(repo).unwrap();
                    fs::copy(rpm, repo.join(rpm.file_name().unwrap())).unwrap();
                }
            }
        }
        for repo in &repos {
            release.create(repo, &["--general-compress-type=gz"]);
        }
        let out = dir.join("out");
        let mut command = release.command("mergerepo_c");
        command.args(["--all", "--omit-baseurl", "--no-database", "--compress-type=gz"]);
        // Without these, each release has its own idea of which architectures are wanted.
        command.args(["--archlist", "src,noarch,x86_64,aarch64,i686,i386"]);
        for repo in &repos {
            command.arg("--repo").arg(repo);
        }
        run(command.arg("--outputdir").arg(&out));

        let ours = merged(&repos);
        for (kind, ours) in LISTS.into_iter().zip(ours) {
            let (ours, theirs) = (packages_of(&ours), packages_of(&metadata(&out, kind)));
            assert_eq!(ours.len(), theirs.len(), "{kind}");
            for (ours, theirs) in ours.iter().zip(&theirs) {
                let (ours, theirs) = (usual_form(ours), usual_form(theirs));
                if kind == "primary" {
                    let ((our_place, ours), (their_place, theirs)) = (place(&ours), place(&theirs));
                    assert_eq!((our_place, ours), (their_place, theirs));
                } else {
                    assert_eq!(ours, theirs);
                }
            }
        }
    });
}

/// Returns the bytes of a record's file.
fn file(repo: &Path, kind: &str) -> Vec<u8> {
    let repomd = repomd_of(repo);
    let record = repomd.record(kind).unwrap_or_else(|| panic!("no {kind}"));
    fs::read(repo.join(&record.href)).unwrap()
}

#[test]
fn what_modifyrepo_c_adds_reads_back_as_what_we_add() {
    with_each_release(|release, dir| {
        let (ours, theirs) = (dir.join("ours"), dir.join("theirs"));
        for repo in [&ours, &theirs] {
            crate::packages::build_rpms(repo);
        }
        write_metadata(&ours, Default::default());
        release.create(&theirs, &[]);
        for (at, (kind, name, text)) in [
            ("updateinfo", "updateinfo.xml", ADVISORIES),
            ("modules", "modules.yaml", MODULES),
            ("group", "comps.xml", COMPS),
        ]
        .into_iter()
        .enumerate()
        {
            let path = dir.join(name);
            fs::write(&path, text).unwrap();
            for how in ["--no-compress", "--compress-type=xz", "--compress-type=gz"] {
                let mut command = release.command("modifyrepo_c");
                command.args([how, "--mdtype", kind]).arg(&path);
                run(command.arg(theirs.join("repodata")));
                assert_eq!(metadata(&theirs, kind), text, "{kind}, {how}");
            }
            // And it adds to ours, where the other records stay what they are.
            let before = repomd_of(&ours);
            let kind = ["updateinfo", "productid", "custom"][at];
            let mut command = release.command("modifyrepo_c");
            command.args(["--mdtype", kind]).arg(&path);
            run(command.arg(ours.join("repodata")));
            assert_eq!(metadata(&ours, kind), text);
            let after = repomd_of(&ours);
            assert_eq!((&after.revision, &after.tags), (&before.revision, &before.tags));
            for record in before.records.iter().filter(|record| record.kind != kind) {
                assert_eq!(after.record(&record.kind), Some(record));
            }
        }
        let read = |repo: &Path, kind: &str| metadata(repo, kind).into_bytes();
        let advisories = |repo| updateinfo::read("u", read(repo, "updateinfo").as_slice()).unwrap();
        assert_eq!(advisories(&ours), advisories(&theirs));
        let documents = |repo| modules::read("m", &read(repo, "modules")).unwrap();
        assert_eq!(documents(&ours), documents(&theirs));
        let groups = |repo| comps::read("c", read(repo, "group").as_slice()).unwrap();
        assert_eq!(groups(&ours), groups(&theirs));

        // Carried over or taken as content, it stays what it was.
        let repomd = repomd_of(&theirs);
        let mut builder = RepodataBuilder::new(Options::default());
        let record = repomd.record("modules").unwrap();
        builder.carry(record, file(&theirs, "modules")).unwrap();
        builder.extra("updateinfo", file(&theirs, "updateinfo")).unwrap();
        let again = dir.join("again/repodata");
        fs::create_dir_all(&again).unwrap();
        for file in builder.finish().unwrap() {
            fs::write(again.join(&file.name), &file.bytes).unwrap();
        }
        let again = again.parent().unwrap();
        assert_eq!(repomd_of(again).record("modules"), Some(record));
        assert_eq!(file(again, "modules"), file(&theirs, "modules"));
        assert_eq!(
            record.open(&file(again, "modules"), Limits::default()).unwrap(),
            MODULES.as_bytes()
        );
        assert_eq!(metadata(again, "updateinfo"), ADVISORIES);
    });
}
