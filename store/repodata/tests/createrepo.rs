//! Parity with createrepo_c: the same packages give the same metadata.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use cairn_repodata::codec::{self, Limits};
use cairn_repodata::repomd;
use cairn_repodata::write::{FileNames, Options, RepodataBuilder};
use support::{build_rpms, collect, have, read_package, run};

/// Returns a metadata file of a repository, decompressed, through our own reader of repomd.xml.
fn metadata(repo: &Path, kind: &str) -> String {
    let bytes = fs::read(repo.join("repodata/repomd.xml")).unwrap();
    let repomd = repomd::read("repomd.xml", bytes.as_slice()).unwrap();
    let record = repomd.record(kind).unwrap();
    let bytes = fs::read(repo.join(&record.href)).unwrap();
    String::from_utf8(record.open(&bytes, Limits::default()).unwrap()).unwrap()
}

fn packages_of(xml: &str) -> Vec<String> {
    let mut packages: Vec<String> = xml
        .split_inclusive("</package>")
        .filter_map(|part| part.find("<package").map(|at| part[at..].to_owned()))
        .collect();
    packages.sort();
    packages
}

/// createrepo_c writes a text that is empty as `<x></x>` and one that is missing as `<x/>`; no
/// reader tells them apart, and we write the latter.
fn usual_form(xml: &str) -> String {
    let mut out = xml.to_owned();
    for name in
        ["summary", "description", "rpm:vendor", "rpm:group", "packager", "url", "rpm:sourcerpm"]
    {
        out = out.replace(&format!("<{name}></{name}>"), &format!("<{name}/>"));
    }
    // Its XML library escapes what is not ASCII in attributes.
    out.replace("&#xF6;", "ö")
}

fn assert_same_lines(ours: &str, theirs: &str) {
    let differing: Vec<_> = ours.lines().zip(theirs.lines()).filter(|(a, b)| a != b).collect();
    assert!(differing.is_empty(), "{differing:#?}\nours:\n{ours}\ntheirs:\n{theirs}");
    assert_eq!(ours.lines().count(), theirs.lines().count(), "ours:\n{ours}\ntheirs:\n{theirs}");
}

#[test]
fn real_packages_give_the_same_elements() {
    if !have("createrepo_c") || !have("rpmbuild") {
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let repo = temporary.path().join("repo");
    build_rpms(&repo);
    run(Command::new("createrepo_c").args(["--no-database", "--quiet"]).arg(&repo));

    let mut rpms = Vec::new();
    collect(&repo, &mut rpms);
    assert_eq!(rpms.len(), 6, "{rpms:?}");
    let mut builder =
        RepodataBuilder::new(Options { names: FileNames::Plain, ..Options::default() });
    for rpm in &rpms {
        builder.package(&read_package(&repo, rpm)).unwrap();
    }
    let files = builder.finish().unwrap();
    for (kind, name) in [
        ("primary", "primary.xml.gz"),
        ("filelists", "filelists.xml.gz"),
        ("other", "other.xml.gz"),
    ] {
        let file = files.iter().find(|file| file.name == name).unwrap();
        let ours = codec::decompress(name, &file.bytes, Limits::default()).unwrap();
        let ours = String::from_utf8(ours).unwrap();
        let theirs = metadata(&repo, kind);
        let (ours, theirs) = (packages_of(&ours), packages_of(&theirs));
        assert_eq!(ours.len(), theirs.len(), "{kind}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_same_lines(ours, &usual_form(theirs));
        }
    }
}
