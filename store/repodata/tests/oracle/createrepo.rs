//! Parity with createrepo_c: the same packages give the same metadata.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a test: it runs other tools on real files and says which are missing"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use cairn_repodata::codec::{self, Limits};
use cairn_repodata::repomd::{self, DistroTag, Tags};
use cairn_repodata::updateinfo;
use cairn_repodata::write::{Compression, FileNames, Options, RepodataBuilder};
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

/// Writes our metadata for the RPMs below `repo`, with data of all kinds.
fn write_metadata(repo: &Path, compression: Compression) {
    let options = Options {
        compression,
        revision: Some("9".to_owned()),
        tags: Tags {
            distro: vec![DistroTag::parse("cpe:/o:rocky:rocky:9,Rocky Linux 9")],
            ..Tags::default()
        },
        ..Options::default()
    };
    let mut builder = RepodataBuilder::new(options);
    let mut rpms = Vec::new();
    collect(repo, &mut rpms);
    for rpm in &rpms {
        builder.package(&read_package(repo, rpm)).unwrap();
    }
    let comps = "<comps><group><id>kitchen</id><name>Kitchen</name><description/>\
        <default>true</default><uservisible>true</uservisible><packagelist>\
        <packagereq type=\"mandatory\">kitchen-sink-empty</packagereq></packagelist></group></comps>";
    let advisories = "<updates><update from=\"e@example.org\" status=\"final\" type=\"security\" version=\"1\">\
        <id>EX-2024:1</id><title>t</title><issued date=\"2024-01-01 00:00:00\"/>\
        <updated date=\"2024-01-01 00:00:00\"/><severity>Important</severity><description>d</description>\
        <references/><pkglist><collection short=\"c\"><name>c</name>\
        <package name=\"kitchen-sink-empty\" epoch=\"2\" version=\"1.0~rc1^git5\" release=\"3.el9\" arch=\"x86_64\">\
        <filename>kitchen-sink-empty-1.0~rc1^git5-3.el9.x86_64.rpm</filename></package>\
        </collection></pkglist></update></updates>";
    let advisories = updateinfo::read("updateinfo.xml", advisories.as_bytes()).unwrap();
    builder.extra("group", comps.as_bytes().to_vec()).unwrap();
    builder.extra("updateinfo", updateinfo::write(&advisories)).unwrap();
    let repodata = repo.join("repodata");
    drop(fs::remove_dir_all(&repodata));
    fs::create_dir(&repodata).unwrap();
    for file in builder.finish().unwrap() {
        fs::write(repodata.join(&file.name), &file.bytes).unwrap();
    }
}

#[test]
fn createrepo_c_takes_over_what_we_write() {
    if !have("createrepo_c") || !have("rpmbuild") {
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let repo = temporary.path().join("repo");
    build_rpms(&repo);
    for compression in [Compression::Gzip, Compression::Xz, Compression::Bzip2, Compression::None] {
        write_metadata(&repo, compression);
        let ours =
            ["primary", "filelists", "other"].map(|kind| packages_of(&metadata(&repo, kind)));
        let output = Command::new("createrepo_c")
            .args(["--no-database", "--update", "--verbose", "--keep-all-metadata"])
            .arg(&repo)
            .output()
            .unwrap();
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{talk}");
        assert_eq!(talk.matches("CACHE HIT").count(), 6, "{compression}: {talk}");
        for (kind, ours) in ["primary", "filelists", "other"].into_iter().zip(ours) {
            for (ours, theirs) in ours.iter().zip(packages_of(&metadata(&repo, kind))) {
                assert_same_lines(ours, &usual_form(&theirs));
            }
        }
        let group = metadata(&repo, "group");
        assert!(group.contains("<id>kitchen</id>"), "{group}");
    }
}

#[test]
fn dnf_reads_what_we_write() {
    if !have("dnf") || !have("rpmbuild") {
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let repo = temporary.path().join("repo");
    build_rpms(&repo);
    let config = temporary.path().join("dnf.conf");
    fs::write(&config, "[main]\n").unwrap();
    for (round, compression) in
        [Compression::Gzip, Compression::Xz, Compression::Zstd].into_iter().enumerate()
    {
        write_metadata(&repo, compression);
        let dnf = |arguments: &[&str]| {
            run(Command::new("dnf")
                .args(["--quiet", "--releasever=9", "--forcearch=x86_64"])
                .arg(format!("--config={}", config.display()))
                .arg(format!("--installroot={}", temporary.path().join("root").display()))
                .arg(format!("--setopt=cachedir={}/cache{round}", temporary.path().display()))
                .arg("--setopt=reposdir=/dev/null")
                .arg("--setopt=skip_if_unavailable=0")
                .arg(format!("--repofrompath=ours,{}", repo.display()))
                .args(["--repo=ours", "--setopt=ours.skip_if_unavailable=0"])
                .args(["--setopt=ours.gpgcheck=0"])
                .args(arguments))
        };
        let names = dnf(&["repoquery", "--qf", "%{name} %{evr} %{arch}"]);
        let mut names: Vec<_> = names.lines().collect();
        names.sort_unstable();
        let want = [
            "kitchen-sink 2:1.0~rc1^git5-3.el9 src",
            "kitchen-sink 2:1.0~rc1^git5-3.el9 x86_64",
            "kitchen-sink-empty 2:1.0~rc1^git5-3.el9 x86_64",
            "kitchen-sink-noarch-part 2:1.0~rc1^git5-3.el9 noarch",
            "latin-one 1-1 noarch",
            "latin-one 1-1 src",
        ];
        assert_eq!(names, want, "{compression}");
        let group = dnf(&["group", "info", "kitchen"]);
        assert!(group.contains("kitchen-sink-empty"), "{compression}: {group}");
        if round > 0 {
            continue;
        }
        let requires = dnf(&["repoquery", "--requires", "kitchen-sink.x86_64"]);
        for need in ["versioned-release = 1:1.2-3", "(a or (b with c >= 2))", "needs-pre"] {
            assert!(requires.lines().any(|line| line == need), "{need}: {requires}");
        }
        let list = dnf(&["repoquery", "-l", "kitchen-sink-noarch-part"]);
        assert!(list.contains("/usr/share/data/deep/x<y>"), "{list}");
        let changes = dnf(&["repoquery", "--changelogs", "latin-one.noarch"]);
        assert!(changes.contains("grüße"), "{changes}");
        let fixed = dnf(&["repoquery", "--advisory=EX-2024:1", "--qf", "%{name}"]);
        assert_eq!(fixed.trim(), "kitchen-sink-empty");
    }
}
