//! createrepo_c: the same packages give the same metadata.

use std::fs;

use cairn_repodata::Error;
use cairn_repodata::codec::Compression;
use cairn_repodata::header::Package;
use cairn_repodata::primary;
use cairn_repodata::repomd::{content_of, describes_packages};

use crate::packages::{BUILT, all_rpms, build_rpms, facts_of};
use crate::repo::{LISTS, metadata, our_lists, packages_of, repomd_of, write_metadata};
use crate::tools::{run, with_each_release};

/// Brings another writer's spelling to ours; no reader tells them apart.
pub fn usual_form(xml: &str) -> String {
    let mut out = xml.to_owned();
    for name in
        ["summary", "description", "rpm:vendor", "rpm:group", "packager", "url", "rpm:buildhost"]
    {
        out = out.replace(&format!("<{name}></{name}>"), &format!("<{name}/>"));
    }
    // That there is no source package is nothing in a header, or the word that rpm has for it.
    for none in ["", "(none)"] {
        out = out.replace(&format!("<rpm:sourcerpm>{none}</rpm:sourcerpm>"), "<rpm:sourcerpm/>");
    }
    // Its XML library escapes what is not ASCII in attributes.
    out.replace("&#xF6;", "ö")
}

/// What we write otherwise than createrepo_c; `docs/repodata.md` says why. In which major versions
/// that is so, our text, and theirs.
const DIFFERENCES: &[(&[u32], &str, &str)] = &[
    // Needs of the scripts that run before and after the whole transaction.
    (&[0], "name=\"needs-pretrans\" pre=\"1\"", "name=\"needs-pretrans\""),
    (&[0], "name=\"needs-posttrans\" pre=\"1\"", "name=\"needs-posttrans\""),
    // A need of its own, which no version of glibc's symbols stands for.
    (&[0, 1], "      <rpm:entry name=\"libc.so.6(GLIBC_ABI_DT_RELR)(64bit)\"/>\n", ""),
    // The size of the payload is elsewhere in packages of format 6.
    (&[0, 1], "installed=\"2\" archive=\"160\"", "installed=\"2\" archive=\"0\""),
    // Packages of the last century.
    (
        &[0, 1],
        "    <rpm:provides>\n      <rpm:entry name=\"old\"/>\n      \
         <rpm:entry name=\"older\"/>\n    </rpm:provides>\n",
        "",
    ),
    (&[0, 1], "    <file>/etc/old</file>\n    <file>/usr/bin/old</file>\n", ""),
    (
        &[0, 1],
        "  <file>/etc/old</file>\n  <file>/usr/bin/old</file>\n  \
         <file type=\"dir\">/usr/share/doc/old</file>\n",
        "",
    ),
];

/// Writes differences line by line, so that a failure can be read.
#[track_caller]
fn assert_same_lines(ours: &str, theirs: &str) {
    let differing: Vec<_> = ours.lines().zip(theirs.lines()).filter(|(a, b)| a != b).collect();
    assert!(differing.is_empty(), "{differing:#?}\nours:\n{ours}\ntheirs:\n{theirs}");
    assert_eq!(ours.lines().count(), theirs.lines().count(), "ours:\n{ours}\ntheirs:\n{theirs}");
}

#[test]
fn packages_of_every_kind_give_the_same_elements() {
    with_each_release(|release, dir| {
        let repo = dir.join("repo");
        let count = all_rpms(&repo);
        release.create(&repo, &["--general-compress-type=gz"]);
        let mut unused: Vec<_> =
            DIFFERENCES.iter().filter(|(majors, ..)| majors.contains(&release.major)).collect();
        let differences = unused.clone();
        for (kind, ours) in LISTS.into_iter().zip(our_lists(&repo)) {
            let (ours, theirs) = (packages_of(&ours), packages_of(&metadata(&repo, kind)));
            assert_eq!((ours.len(), theirs.len()), (count, count), "{kind}");
            for (ours, theirs) in ours.iter().zip(&theirs) {
                let mut expected = ours.clone();
                for (_, from, to) in &differences {
                    expected = expected.replace(from, to);
                }
                unused.retain(|(_, from, _)| !ours.contains(from));
                assert_same_lines(&expected, &usual_form(theirs));
            }
        }
        assert!(unused.is_empty(), "createrepo_c {} agrees now: {unused:?}", release.major);
    });
}

#[test]
fn createrepo_c_takes_over_what_we_write() {
    with_each_release(|release, dir| {
        let repo = dir.join("repo");
        build_rpms(&repo);
        let mut all =
            vec![Compression::Gzip, Compression::Xz, Compression::Bzip2, Compression::None];
        if release.major > 0 {
            all.push(Compression::Zstd);
        }
        for compression in all {
            write_metadata(&repo, compression);
            let ours = LISTS.map(|kind| packages_of(&metadata(&repo, kind)));
            let output = release
                .command("createrepo_c")
                .args(["--no-database", "--update", "--verbose", "--keep-all-metadata"])
                .arg(&repo)
                .output()
                .unwrap();
            let talk = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{talk}");
            assert_eq!(talk.matches("CACHE HIT").count(), BUILT, "{compression}: {talk}");
            for (kind, ours) in LISTS.into_iter().zip(ours) {
                let theirs = packages_of(&metadata(&repo, kind));
                assert_eq!(ours.len(), theirs.len(), "{kind}");
                for (ours, theirs) in ours.iter().zip(theirs) {
                    assert_same_lines(ours, &usual_form(&theirs));
                }
            }
            for (kind, part) in [
                ("group", "<id>kitchen</id>"),
                ("updateinfo", "<id>EX-2024:1</id>"),
                ("modules", "name: cellar"),
            ] {
                let text = metadata(&repo, kind);
                assert!(text.contains(part), "{}, {compression}: {text}", release.major);
            }
        }
    });
}

#[test]
fn every_record_that_createrepo_c_writes_is_read_and_told_apart() {
    with_each_release(|release, dir| {
        let repo = dir.join("repo");
        build_rpms(&repo);
        let comps = dir.join("comps.xml");
        fs::write(&comps, crate::repo::COMPS).unwrap();
        let mut runs = vec!["gz", "xz", "bz2"];
        if release.major > 0 {
            runs.push("zstd");
        }
        for kind in runs {
            drop(fs::remove_dir_all(repo.join("repodata")));
            let mut command = release.command("createrepo_c");
            command.args(["--quiet", "--database", "--groupfile"]).arg(&comps);
            if release.major > 0 {
                command.arg("--filelists-ext");
            }
            command.arg(format!("--general-compress-type={kind}"));
            run(command.arg(&repo));
            let repomd = repomd_of(&repo);
            for record in &repomd.records {
                let bytes = fs::read(repo.join(&record.href)).unwrap();
                record.open(&bytes, Default::default()).unwrap();
                let lists = ["primary", "filelists", "other", "filelists-ext"];
                let list = lists.contains(&content_of(&record.kind));
                assert_eq!(describes_packages(&record.kind), list, "{}", record.kind);
            }
            let databases = repomd.records.iter().filter(|r| r.kind.ends_with("_db")).count();
            let wanted = if release.major > 0 { 4 } else { 3 };
            assert_eq!(databases, wanted, "{repomd:?}");
            assert!(metadata(&repo, "group").contains("<id>kitchen</id>"));
            let mut count = 0;
            let primary = metadata(&repo, "primary");
            primary::read("primary.xml", primary.as_bytes(), &mut |_| {
                count += 1;
                Ok::<_, Error>(())
            })
            .unwrap();
            assert_eq!(count, BUILT, "{kind}");
        }
    });
}

#[test]
fn a_package_that_createrepo_c_leaves_out_is_refused() {
    with_each_release(|release, dir| {
        let repo = dir.join("repo");
        fs::create_dir(&repo).unwrap();
        let rpm = repo.join("bell.rpm");
        fs::write(&rpm, crate::raw::with_a_bell()).unwrap();
        let mut command = release.command("createrepo_c");
        let status = command.args(["--no-database", "--quiet"]).arg(&repo).output().unwrap().status;
        assert_eq!(status.success(), release.major == 0, "{status}");
        assert_eq!(packages_of(&metadata(&repo, "primary")), [] as [String; 0]);

        let bytes = fs::read(&rpm).unwrap();
        let error = Package::read(bytes.as_slice(), facts_of(&repo, &rpm)).unwrap_err();
        let want = "bell.rpm: not a readable rpm: tag 1004 has the character '\\u{7}', which XML \
                    cannot carry";
        assert_eq!(error.to_string(), want);
    });
}
