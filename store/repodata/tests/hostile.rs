//! Hostile and broken metadata: each case is an error that names the file and the reason.

use cairn_repodata::codec::{self, Compression, Limits};
use cairn_repodata::{
    Error, Result, comps, filelists, modules, other, primary, repomd, treeinfo, updateinfo,
};
use cairn_testkit::decoders;
use proptest::prelude::*;

const ID: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn package(id: &str, href: &str) -> String {
    format!(
        "<package type=\"rpm\"><name>bash</name><arch>x86_64</arch>\
         <version epoch=\"0\" ver=\"5.1\" rel=\"6\"/>\
         <checksum type=\"sha256\" pkgid=\"YES\">{id}</checksum><summary/><description/>\
         <time file=\"1\" build=\"2\"/><size package=\"3\" installed=\"4\" archive=\"5\"/>\
         <location href=\"{href}\"/><format><rpm:license>MIT</rpm:license>\
         <rpm:header-range start=\"6\" end=\"7\"/>\
         <rpm:provides><rpm:entry name=\"bash\" flags=\"EQ\" epoch=\"0\" ver=\"5.1\" rel=\"6\"/></rpm:provides>\
         <file type=\"dir\">/etc/x</file></format></package>"
    )
}

fn primary_xml(count: &str, packages: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?>\n<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" {count}>{packages}</metadata>"
    )
}

fn read_primary(xml: &str) -> Result<Vec<primary::Package>> {
    let mut packages = Vec::new();
    primary::read("primary.xml", xml.as_bytes(), &mut |package| {
        packages.push(package);
        Ok::<_, Error>(())
    })?;
    Ok(packages)
}

#[test]
fn an_honest_primary_is_read() {
    let xml = primary_xml("packages=\"1\"", &package(ID, "Packages/b/bash.rpm"));
    let [bash] = read_primary(&xml).unwrap().try_into().unwrap();
    assert_eq!(bash.nevra.to_string(), "bash-5.1-6.x86_64");
    assert_eq!((bash.file_time, bash.build_time), (1, 2));
    assert_eq!((bash.package_size, bash.installed_size, bash.archive_size), (3, 4, 5));
    assert_eq!((bash.header_start, bash.header_end), (6, 7));
    assert_eq!(bash.license, "MIT");
    assert_eq!(bash.relations.provides[0].to_string(), "bash = 5.1-6");
    assert_eq!(bash.files[0].kind, primary::FileKind::Dir);
    assert_eq!(bash.path("p", "9/os").unwrap(), "9/os/Packages/b/bash.rpm");

    // Producers choose prefixes and order freely.
    let xml = xml.replace("rpm:", "r:").replace("xmlns:r:", "xmlns:r");
    assert_eq!(read_primary(&xml).unwrap(), [bash]);
}

#[test]
fn a_hostile_primary_is_refused_with_file_and_reason() {
    let one = package(ID, "a.rpm");
    let href = |href: &str| primary_xml("packages=\"1\"", &package(ID, href));
    let with = |from: &str, to: &str| {
        let changed = one.replacen(from, to, 1);
        assert_ne!(changed, one, "{from}");
        primary_xml("packages=\"1\"", &changed)
    };
    let deep = format!("{}{}", "<x>".repeat(200_000), "</x>".repeat(200_000));
    let cases = [
        (primary_xml("packages=\"2\"", &one), "declares 2 packages, holds 1"),
        (primary_xml("packages=\"0\"", &one), "declares 0 packages, holds 1"),
        (primary_xml("packages=\"1\"", &format!("{one}{one}")), "declares 1 packages, holds 2"),
        (primary_xml("", &one), "metadata: no number of packages"),
        (primary_xml("packages=\"-1\"", &one), "metadata: no number of packages"),
        (primary_xml("packages=\"99999999999\"", ""), "the number of packages exceeds"),
        (
            primary_xml("packages=\"2\"", &format!("{one}{}", package(ID, "b.rpm"))),
            &*format!("package id {ID} occurs twice"),
        ),
        (href("/etc/passwd"), "bash-5.1-6.x86_64: href \"/etc/passwd\" is absolute"),
        (href("file:///etc/passwd"), "names a scheme"),
        (href("https://example.org/a.rpm"), "names a scheme"),
        (href("%2e%2e/%2e%2e/etc/passwd"), "hides a separator or dot segment"),
        (href("a&#1;b"), "has a control character"),
        (href(""), "href \"\" is empty"),
        (with("<location href=\"a.rpm\"/>", ""), "bash-5.1-6.x86_64: no location"),
        (with("<name>bash</name>", ""), "a package: no name"),
        (with("<arch>x86_64</arch>", ""), "no arch"),
        (with("<version epoch=\"0\" ver=\"5.1\" rel=\"6\"/>", ""), "no version"),
        (with("epoch=\"0\"", "epoch=\"x\""), "bash: epoch \"x\" is not a number"),
        (with("package=\"3\"", "package=\"-3\""), "bash: package \"-3\" is not a number"),
        (with("package=\"3\"", "package=\"99999999999999999999\""), "is not a number"),
        (with("sha256", "md5"), "md5 is too weak, sha256 is the minimum"),
        (with("sha256", "sha"), "sha1 is too weak"),
        (with("sha256", "what"), "unknown checksum type \"what\""),
        (with(ID, "0011"), "\"0011\" is not a sha256 checksum"),
        (with("flags=\"EQ\"", "flags=\"IS\""), "dependency bash: unknown flags \"IS\""),
        (with("type=\"dir\"", "type=\"pipe\""), "file /etc/x: unknown type \"pipe\""),
        (with("<name>bash", "<name>ba<b/>sh"), "<b> in a text"),
        (with("<summary/>", &deep), "elements nest deeper than 32"),
        (with("<summary/>", "<summary>&lol;</summary>"), "entity &lol; is not defined"),
        (with("ver=\"5.1\"", "ver=\"&lol;\""), "byte"),
        (
            with("<summary/>", &format!("<summary x=\"{}\"/>", "y".repeat(64 << 20))),
            "exceeds 4194304",
        ),
        (
            format!("<!DOCTYPE m [<!ENTITY a \"b\">]>{}", primary_xml("packages=\"1\"", &one)),
            "a document type declaration is refused",
        ),
        (
            "<filelists packages=\"0\"/>".to_owned(),
            "root element is <filelists>, expected <metadata>",
        ),
        (String::new(), "there is no root element"),
        ("\u{0}".repeat(10), "byte"),
    ];
    for (xml, want) in &cases {
        let error = read_primary(xml).expect_err(want).to_string();
        assert!(error.starts_with("primary.xml: ") && error.contains(want), "{want}: {error}");
    }
}

#[test]
fn every_truncation_of_a_list_is_refused() {
    let two = format!("{}{}", package(ID, "a"), package(&ID.replace("00", "ff"), "b"));
    let xml = primary_xml("packages=\"2\"", &two);
    assert_eq!(read_primary(&xml).unwrap().len(), 2);
    for end in 0..xml.len() {
        let error = read_primary(&xml[..end]).expect_err("truncated").to_string();
        assert!(error.starts_with("primary.xml: "), "{error}");
    }
}

#[test]
fn locations_that_leave_the_tree_are_refused_when_they_are_resolved() {
    let xml = primary_xml("packages=\"1\"", &package(ID, "../../blobstore/x.rpm"));
    let [package] = read_primary(&xml).unwrap().try_into().unwrap();
    assert_eq!(package.path("p", "core/9/os").unwrap(), "core/blobstore/x.rpm");
    let error = package.path("p", "os").unwrap_err().to_string();
    let want = "p: bash-5.1-6.x86_64: href \"../../blobstore/x.rpm\" leads out of the tree";
    assert_eq!(error, want);
    let elsewhere = xml.replace("<location ", "<location xml:base=\"http://e/\" ");
    let [package] = read_primary(&elsewhere).unwrap().try_into().unwrap();
    assert!(package.path("p", "os").unwrap_err().to_string().contains("names a scheme"));
}

const REPOMD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
  <revision>9</revision>
  <tags>
    <content>binary-x86_64</content>
    <repo>label</repo>
    <distro cpeid="cpe:/o:rocky:rocky:9">Rocky Linux 9</distro>
  </tags>
  <data type="primary">
    <checksum type="sha256">00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff</checksum>
    <open-checksum type="sha256">ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff</open-checksum>
    <location href="repodata/primary.xml.gz"/>
    <timestamp>1700000000</timestamp>
    <size>10</size>
    <open-size>20</open-size>
  </data>
  <data type="modules">
    <checksum type="sha256">00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff</checksum>
    <location href="repodata/modules.yaml"/>
    <timestamp>1700000001</timestamp>
    <size>10</size>
  </data>
</repomd>
"#;

#[test]
fn repomd_reads_and_writes_the_same_bytes() {
    let repomd = repomd::read("repomd.xml", REPOMD.as_bytes()).unwrap();
    assert_eq!(repomd.revision.as_deref(), Some("9"));
    assert_eq!(
        repomd.tags.distro[0],
        repomd::DistroTag::parse("cpe:/o:rocky:rocky:9,Rocky Linux 9")
    );
    assert_eq!(repomd.newest(), Some(1_700_000_001));
    assert_eq!(repomd.record("primary").unwrap().open_size, Some(20));
    assert_eq!(String::from_utf8(repomd::write(&repomd)).unwrap(), REPOMD);

    // What createrepo_c writes for an uncompressed record is read, and not written again.
    let odd = REPOMD.replacen(
        "</size>\n  </data>\n</repomd>",
        "</size>\n    <open-size></open-size>\n  </data>\n</repomd>",
        1,
    );
    let odd = odd.replace("1700000000<", "1700000000.25<");
    assert_eq!(repomd::read("repomd.xml", odd.as_bytes()).unwrap(), repomd);
}

#[test]
fn a_hostile_repomd_is_refused_with_file_and_reason() {
    for (from, to, want) in [
        ("repodata/primary.xml.gz", "/etc/passwd", "primary: href \"/etc/passwd\" is absolute"),
        ("repodata/primary.xml.gz", "%2e%2e/x", "hides a separator"),
        ("repodata/primary.xml.gz", "file:///x", "names a scheme"),
        ("<location href=\"repodata/primary.xml.gz\"/>", "", "primary: no location"),
        ("type=\"sha256\"", "type=\"sha\"", "primary: sha1 is too weak"),
        ("type=\"sha256\"", "type=\"md5\"", "primary: md5 is too weak"),
        ("checksum type=\"sha256\">00", "checksum type=\"sha256\">0", "is not a sha256 checksum"),
        ("<size>10", "<size>ten", "primary: size \"ten\" is not a number"),
        ("<size>10", "<size>-1", "primary: size \"-1\" is not a number"),
        ("<timestamp>1700000000", "<timestamp>inf", "primary: timestamp \"inf\" is not a number"),
        ("type=\"modules\"", "type=\"primary\"", "primary: listed twice"),
        ("type=\"modules\"", "", "data: no type"),
        ("<?xml version=\"1.0\" encoding=\"UTF-8\"?>", "<!DOCTYPE repomd>", "document type"),
        ("</repomd>", "</repomd><x/>", "a second root element"),
        ("</repomd>", "", "truncated"),
    ] {
        let xml = REPOMD.replacen(from, to, 1);
        assert_ne!(xml, REPOMD, "{from}");
        let error = repomd::read("repomd.xml", xml.as_bytes()).expect_err(want).to_string();
        assert!(error.starts_with("repomd.xml: ") && error.contains(want), "{want}: {error}");
    }
    let many: String = (0..300)
        .map(|n| format!("<data type=\"t{n}\">"))
        .map(|start| {
            format!("{start}<checksum type=\"sha256\">{ID}</checksum><location href=\"x\"/></data>")
        })
        .collect();
    let error = repomd::read("repomd.xml", format!("<repomd>{many}</repomd>").as_bytes());
    assert!(error.unwrap_err().to_string().contains("the number of records exceeds 256"));
}

#[test]
fn records_are_verified_and_stay_in_their_repository() {
    let plain = b"<metadata/>".repeat(100);
    let packed = codec::compress(&plain, Compression::Gzip).unwrap();
    let record = repomd::Record::describe("primary", "repodata/p.xml.gz", &packed, Some(&plain));
    assert_eq!(record.open(&packed, Limits::default()).unwrap(), plain);
    assert_eq!(record.path("f", "9/os").unwrap(), "9/os/repodata/p.xml.gz");

    let error = record.open(&packed[1..], Limits::default()).unwrap_err();
    assert!(matches!(error, Error::SizeMismatch { .. }), "{error}");
    let mut flipped = packed.clone();
    flipped[20] ^= 1;
    let error = record.open(&flipped, Limits::default()).unwrap_err();
    assert!(matches!(error, Error::ChecksumMismatch { .. }), "{error}");
    let lying = repomd::Record { open_size: Some(10), ..record.clone() };
    let error = lying.open(&packed, Limits::default()).unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 10, .. }), "{error}");
    let lying = repomd::Record { open_size: Some(1101), ..record.clone() };
    let error = lying.open(&packed, Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "repodata/p.xml.gz: primary: expected 1101 bytes, found 1100");
    let lying = repomd::Record { open_checksum: Some(record.checksum.clone()), ..record.clone() };
    let error = lying.open(&packed, Limits::default()).unwrap_err();
    assert!(matches!(error, Error::ChecksumMismatch { .. }), "{error}");

    let outside = repomd::Record { href: "../other/repodata/p".to_owned(), ..record.clone() };
    let error = outside.path("repomd.xml", "9/os").unwrap_err().to_string();
    assert!(error.ends_with("leads outside the repository"), "{error}");
    let remote = repomd::Record { base: Some("http://e/".to_owned()), ..record };
    assert!(remote.path("repomd.xml", "9/os").is_err());
}

#[test]
fn the_other_lists_are_read_and_checked_alike() {
    let list = |root: &str, count: usize, inner: &str| {
        let package = |id: &str| {
            format!(
                "<package pkgid=\"{id}\" name=\"bash\" arch=\"x86_64\">\
                 <version epoch=\"1\" ver=\"5.1\" rel=\"6\"/>{inner}</package>"
            )
        };
        format!("<{root} packages=\"{count}\">{}</{root}>", package(ID))
    };
    let files = "<file>/a</file><file type=\"dir\">/b &amp; c</file><file type=\"ghost\">/d</file>";
    let mut seen = Vec::new();
    let xml = list("filelists", 1, files);
    filelists::read("f", xml.as_bytes(), &mut |package| {
        seen.push(package);
        Ok::<_, Error>(())
    })
    .unwrap();
    assert_eq!(seen[0].nevra.to_string(), "bash-1:5.1-6.x86_64");
    let paths: Vec<_> = seen[0].files.iter().map(|file| (&*file.path, file.kind)).collect();
    use primary::FileKind::{Dir, File, Ghost};
    assert_eq!(paths, [("/a", File), ("/b & c", Dir), ("/d", Ghost)]);

    let xml = list("otherdata", 1, "<changelog author=\"A\" date=\"7\">t</changelog>");
    let mut changes = Vec::new();
    other::read("o", xml.as_bytes(), &mut |package| {
        changes.extend(package.changelogs);
        Ok::<_, Error>(())
    })
    .unwrap();
    assert_eq!((&*changes[0].author, changes[0].date, &*changes[0].text), ("A", 7, "t"));

    let ignore = &mut |_| Ok::<_, Error>(());
    for (xml, want) in [
        (list("filelists", 2, ""), "f: declares 2 packages, holds 1"),
        (list("filelists", 1, "").replace(ID, "00"), "f: bash: \"00\" is not a sha256 checksum"),
        (list("filelists", 1, "").replace(ID, &ID[..40]), "f: bash: sha1 is too weak"),
        (list("filelists", 1, "<file type=\"x\">/a</file>"), "f: bash: file /a: unknown type"),
    ] {
        let error = filelists::read("f", xml.as_bytes(), ignore).unwrap_err().to_string();
        assert!(error.starts_with(want), "{error}");
    }
}

/// A whole document of every kind, with a place where an attack can stand, and its reader.
type Whole = (&'static str, String, fn(&[u8]) -> Result<()>);

fn wholes() -> [Whole; 6] {
    let list = |root: &str| {
        format!(
            "<{root} packages=\"1\"><package pkgid=\"{ID}\" name=\"a\" arch=\"b\">\
             <version epoch=\"0\" ver=\"1\" rel=\"1\"/>@</package></{root}>"
        )
    };
    let package = package(ID, "a.rpm").replace("<summary/>", "<summary>@</summary>");
    [
        ("primary", primary_xml("packages=\"1\"", &package), |bytes| {
            primary::read("f", bytes, &mut |_| Ok::<_, Error>(())).map(drop)
        }),
        ("filelists", list("filelists"), |bytes| {
            filelists::read("f", bytes, &mut |_| Ok::<_, Error>(())).map(drop)
        }),
        ("other", list("otherdata"), |bytes| {
            other::read("f", bytes, &mut |_| Ok::<_, Error>(())).map(drop)
        }),
        ("repomd", REPOMD.replace("label", "@"), |bytes| repomd::read("f", bytes).map(drop)),
        (
            "updateinfo",
            "<updates><update><id>A</id><title>@</title></update></updates>".to_owned(),
            |bytes| updateinfo::read("f", bytes).map(drop),
        ),
        ("comps", "<comps><group><id>a</id><name>@</name></group></comps>".to_owned(), |bytes| {
            comps::read("f", bytes).map(drop)
        }),
    ]
}

#[test]
fn every_reader_of_xml_refuses_every_attack() {
    for (name, whole, read) in wholes() {
        let with = |attack: &str| whole.replace('@', attack).into_bytes();
        let around = |before: &str, after: &str| {
            let plain = whole.replace('@', "x");
            let start = plain.find("?>").map_or(0, |at| at + 2);
            format!("{}{before}{}{after}", &plain[..start], &plain[start..]).into_bytes()
        };
        read(&with("x &amp; &#233;")).unwrap_or_else(|error| panic!("{name}: {error}"));

        let bomb = "<!DOCTYPE x [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;\">]>";
        let outside = "<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]>";
        let deep = format!("{}{}", "<x>".repeat(100_000), "</x>".repeat(100_000));
        let latin = [&whole.as_bytes()[..whole.find('@').unwrap()], b"caf\xe9</x>"].concat();
        let declared = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>";
        let declared = match whole.find("?>") {
            Some(at) => format!("{declared}{}", &whole[at + 2..]),
            None => format!("{declared}{whole}"),
        };
        for (bytes, want) in [
            (around(bomb, ""), "a document type declaration is refused"),
            (around(outside, ""), "a document type declaration is refused"),
            (with("&lol;"), "entity &lol; is not defined"),
            (with("&#0;"), "f: byte"),
            (with("&#xD800;"), "f: byte"),
            (with(&deep), if whole.contains(">@</") { "" } else { "nest deeper than 32" }),
            (with(&format!("<!--{}-->", "x".repeat(5 << 20))), "exceeds 4194304"),
            (with("<y></z>"), "f: byte"),
            (with("<![CDATA["), "f: byte"),
            (latin, "UTF-8"),
            (declared.into_bytes(), "encoding ISO-8859-1 is not UTF-8"),
            (around("", "<x/>"), "a second root element"),
            (around("", "text"), "text outside the root element"),
            (around("<other/>", ""), "root element is <other>"),
        ] {
            let error = read(&bytes).expect_err(want).to_string();
            assert!(error.starts_with("f: ") && error.contains(want), "{name}, {want}: {error}");
        }
        for end in 0..whole.trim_end().len() {
            let error = read(&whole.as_bytes()[..end]).expect_err("truncated").to_string();
            assert!(error.starts_with("f: "), "{name}: {error}");
        }
    }
}

#[test]
fn bombs_are_stopped_while_they_are_read() {
    let filler = format!("<x>{}</x>", " ".repeat(1 << 20)).repeat(48);
    let xml = primary_xml("packages=\"0\"", &filler);
    for compression in [Compression::Gzip, Compression::Xz, Compression::Zstd, Compression::Bzip2] {
        let packed = codec::compress(xml.as_bytes(), compression).unwrap();
        let read = |limits: Limits| {
            let reader = codec::decoder("primary.xml.x", packed.as_slice(), limits).unwrap();
            primary::read("primary.xml.x", reader, &mut |_| Ok::<_, Error>(())).unwrap_err()
        };
        let error = read(Limits::default());
        let Error::Bomb { output, .. } = error else { panic!("{compression}: {error}") };
        assert!(output < 40 << 20, "{compression}: {output}");
        let want = "primary.xml.x: expands more than 250 times after ";
        assert!(error.to_string().starts_with(want), "{error}");
        // What repomd.xml says of the open size is a limit as well.
        let error = read(Limits::default().at_most(1 << 20)).to_string();
        assert_eq!(error, "primary.xml.x: decompresses to more than 1048576 bytes");
    }
}

#[test]
fn every_list_refuses_packages_that_are_not_what_it_declares() {
    let list = |root: &str, count: usize, ids: &[&str]| {
        let packages: String = ids
            .iter()
            .map(|id| {
                format!(
                    "<package pkgid=\"{id}\" name=\"a\" arch=\"b\">\
                     <version epoch=\"0\" ver=\"1\" rel=\"1\"/></package>"
                )
            })
            .collect();
        format!("<{root} packages=\"{count}\">{packages}</{root}>")
    };
    let second = ID.replace("00", "ff");
    type Lists<'a> = [(&'a str, fn(&[u8]) -> Result<u64>); 2];
    let readers: Lists<'_> = [
        ("filelists", |bytes| filelists::read("f", bytes, &mut |_| Ok::<_, Error>(()))),
        ("otherdata", |bytes| other::read("f", bytes, &mut |_| Ok::<_, Error>(()))),
    ];
    for (root, read) in readers {
        assert_eq!(read(list(root, 2, &[ID, &second]).as_bytes()).unwrap(), 2);
        for (xml, want) in [
            (list(root, 3, &[ID, &second]), "f: declares 3 packages, holds 2"),
            (list(root, 1, &[ID, &second]), "f: declares 1 packages, holds 2"),
            (list(root, 2, &[ID, ID]), &*format!("f: package id {ID} occurs twice")),
            (list(root, 2, &[ID, &ID.to_uppercase()]), "occurs twice"),
            (list(root, 1, &[&ID[..32]]), "f: a: md5 is too weak"),
            (list(root, 1, &["../../etc/passwd"]), "is not a sha256 checksum"),
            (list(root, 1, &[""]), "is not a sha256 checksum"),
        ] {
            let error = read(xml.as_bytes()).expect_err(want).to_string();
            assert!(error.starts_with("f: ") && error.contains(want), "{want}: {error}");
        }
    }
}

#[test]
fn records_name_files_of_their_repository_by_strong_checksums() {
    for (from, to, want) in [
        ("href=\"repodata/primary.xml.gz\"", "href=\"file:///etc/passwd\"", "names a scheme"),
        ("href=\"repodata/primary.xml.gz\"", "href=\"a%2f..%2fb\"", "hides a separator"),
        ("href=\"repodata/primary.xml.gz\"", "href=\"a\\b\"", "has a backslash"),
        ("href=\"repodata/primary.xml.gz\"", "href=\"a?b\"", "has a query or fragment"),
        ("href=\"repodata/primary.xml.gz\"", "href=\"\"", "is empty"),
        ("<open-checksum type=\"sha256\"", "<open-checksum type=\"md5\"", "md5 is too weak"),
        (
            "<timestamp>1700000000",
            "<header-checksum type=\"sha\">0</header-checksum><timestamp>1700000000",
            "sha1 is too weak",
        ),
        ("<checksum type=\"sha256\">0011", "<checksum type=\"sha512\">0011", "not a sha512"),
        ("<checksum type=\"sha256\">0011", "<checksum>0011", "unknown checksum type \"\""),
    ] {
        let xml = REPOMD.replacen(from, to, 1);
        assert_ne!(xml, REPOMD, "{from}");
        let error = repomd::read("repomd.xml", xml.as_bytes()).expect_err(want).to_string();
        assert!(error.starts_with("repomd.xml: primary: ") && error.contains(want), "{error}");
    }
    // Legal by itself, but not where it leads.
    let climbing = REPOMD.replace("repodata/primary.xml.gz", "../../primary.xml.gz");
    let repomd = repomd::read("repomd.xml", climbing.as_bytes()).unwrap();
    let error = repomd.records[0].path("repomd.xml", "9/os").unwrap_err().to_string();
    let want = "repomd.xml: primary: href \"../../primary.xml.gz\" leads outside the repository";
    assert_eq!(error, want);
}

#[test]
fn zchunk_records_are_read_and_told_apart() {
    let zck = REPOMD.replace("type=\"primary\"", "type=\"primary_zck\"").replacen(
        "    <timestamp>",
        "    <header-checksum type=\"sha256\">\
         ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff</header-checksum>\n    <timestamp>",
        1,
    );
    let zck = zck.replacen("</open-size>", "</open-size>\n    <header-size>132</header-size>", 1);
    let repomd = repomd::read("repomd.xml", zck.as_bytes()).unwrap();
    let record = &repomd.records[0];
    assert_eq!((&*record.kind, record.header_size), ("primary_zck", Some(132)));
    assert!(record.header_checksum.is_some());
    assert!(repomd::describes_packages(&record.kind));
    assert_eq!(repomd::read("again", repomd::write(&repomd).as_slice()).unwrap(), repomd);
    // A zchunk file is no compressed file that we know: its bytes are not taken for the content.
    let bytes = b"\0ZCK1\0\0";
    assert_eq!(Compression::sniff(bytes), Compression::None);
    let read = primary::read("primary.xml.zck", &bytes[..], &mut |_| Ok::<_, Error>(()));
    assert!(read.unwrap_err().to_string().starts_with("primary.xml.zck: byte"));
}

#[test]
fn hostile_yaml_is_refused_with_file_and_reason() {
    let laughs = (0..12).fold("a0: &a0 [x]\n".to_owned(), |yaml, n| {
        let aliases = vec![format!("*a{n}"); 12].join(",");
        format!("{yaml}a{0}: &a{0} [{aliases}]\n", n + 1)
    });
    let head = "document: modulemd\ndata:\n  name: a\n  stream: b\n";
    let deep = format!("{head}  x: {}{}\n", "[".repeat(100_000), "]".repeat(100_000));
    let maps = format!("{head}  x: {}1{}\n", "{a: ".repeat(50_000), "}".repeat(50_000));
    let twice = format!("{head}  name: c\n");
    let bad = [head.as_bytes(), b"  summary: caf\xe9\n"].concat();
    for (name, yaml) in [
        ("aliases", format!("{head}  x:\n    {}", laughs.replace('\n', "\n    ")).into_bytes()),
        ("deep lists", deep.into_bytes()),
        ("deep maps", maps.into_bytes()),
        ("a key twice", twice.into_bytes()),
        ("not UTF-8", bad),
        ("no end", b"document: modulemd\ndata: {name: a".to_vec()),
    ] {
        let error = modules::read("modules.yaml", &yaml).expect_err(name).to_string();
        assert!(error.starts_with("modules.yaml: document 1: "), "{name}: {error}");
        assert!(error.len() < 500, "{name}: {error}");
    }
}

/// Every reader of metadata, with what must hold of it.
const READERS: &[fn(&[u8]) -> decoders::Outcome] = &[
    decoders::primary,
    decoders::filelists,
    decoders::other,
    decoders::repomd,
    decoders::comps,
    decoders::updateinfo,
    decoders::modules,
    decoders::treeinfo,
    decoders::rpm_header,
    decoders::codec,
];

fn seeds() -> Vec<Vec<u8>> {
    let update = "<updates><update type='security'><id>A</id><issued date='2024-01-01'/><pkglist>\
         <collection><package name='a' epoch='0' version='1' release='1' arch='x'>\
         <filename>a.rpm</filename></package></collection></pkglist></update></updates>";
    let list = format!(
        "<filelists packages='1'><package pkgid='{ID}' name='a' arch='b'>\
         <version epoch='0' ver='1' rel='1'/><file type='dir'>/a</file></package></filelists>"
    );
    let yaml = "---\ndocument: modulemd\ndata:\n  name: a\n  stream: b\n  artifacts:\n    rpms: [a-1-1.x]\n...\n";
    let comps = "<comps><group><id>a</id><packagelist><packagereq type='x'>b</packagereq></packagelist></group></comps>";
    let primary = primary_xml("packages=\"1\"", &package(ID, "a.rpm"));
    let tree = format!("[general]\nfamily = Rocky Linux\n[checksums]\na/b = sha256:{ID}\n");
    let mut seeds: Vec<Vec<u8>> = [REPOMD, &primary, update, &list, yaml, comps, &tree]
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect();
    for compression in [Compression::Gzip, Compression::Xz, Compression::Zstd, Compression::Bzip2] {
        seeds.push(codec::compress(primary.as_bytes(), compression).unwrap());
    }
    seeds
}

/// 400, or what `PROPTEST_CASES` says if that is more.
fn cases() -> ProptestConfig {
    ProptestConfig::with_cases(ProptestConfig::default().cases.max(400))
}

#[test]
fn treeinfo_that_is_hostile_is_refused_or_read_within_bounds() {
    let sum = format!("sha256:{ID}");
    for (label, line) in [
        ("climbs", format!("../../etc/passwd = {sum}")),
        ("climbs from below", format!("images/../../x = {sum}")),
        ("absolute", format!("/etc/passwd = {sum}")),
        ("a scheme", format!("file:///etc/passwd = {sum}")),
        ("MD5", "images/boot.iso = md5:00112233445566778899aabbccddeeff".to_owned()),
        ("no kind", format!("images/boot.iso = {ID}")),
        ("no hex", "images/boot.iso = sha256:../../../x".to_owned()),
    ] {
        let text = format!("[general]\nfamily = x\n[checksums]\n{line}\n");
        let read = treeinfo::Treeinfo::read("9/.treeinfo", text.as_bytes()).unwrap();
        let error = read.checksums().expect_err(label).to_string();
        assert!(error.contains("9/.treeinfo"), "{label}: {error}");
    }
    for (label, bytes) in [
        ("no UTF-8", b"[general]\na = \xff\n".to_vec()),
        ("no section", b"a = b\n".to_vec()),
        ("no assignment", b"[general]\nwhat is this\n".to_vec()),
        ("too long", b"[general]\n".repeat(4 << 20)),
    ] {
        let error = treeinfo::Treeinfo::read("9/.treeinfo", &bytes).expect_err(label).to_string();
        assert!(error.contains("9/.treeinfo") && error.len() < 500, "{label}: {error}");
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn no_reader_panics_on_mutated_input(
        seed in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..8),
    ) {
        let seeds = seeds();
        let mut bytes = seeds[seed.index(seeds.len())].clone();
        for (at, byte, edit) in edits {
            let at = at.index(bytes.len().max(1));
            match edit {
                0 if at < bytes.len() => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                _ => bytes.truncate(bytes.len().max(at + 1)),
            }
        }
        for read in READERS {
            let _ = read(&bytes);
        }
    }

    #[test]
    fn no_reader_panics_on_anything(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for read in READERS {
            let _ = read(&bytes);
        }
    }
}
