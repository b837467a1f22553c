//! Hostile and broken metadata: each case is an error that names the file and the reason.

use cairn_repodata::codec::{self, Compression, Limits};
use cairn_repodata::{
    Error, Result, comps, filelists, modules, other, primary, repomd, updateinfo,
};
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

/// A reader of metadata whose result is of no interest.
type Read = fn(&[u8]);

const READERS: &[(&str, Read)] = &[
    ("primary", |bytes| drop(primary::read("f", bytes, &mut |_| Ok::<_, Error>(())))),
    ("filelists", |bytes| drop(filelists::read("f", bytes, &mut |_| Ok::<_, Error>(())))),
    ("other", |bytes| drop(other::read("f", bytes, &mut |_| Ok::<_, Error>(())))),
    ("repomd", |bytes| drop(repomd::read("f", bytes))),
    ("comps", |bytes| drop(comps::read("f", bytes))),
    ("updateinfo", |bytes| drop(updateinfo::read("f", bytes))),
    ("modules", |bytes| drop(modules::read("f", bytes))),
    ("codec", |bytes| drop(codec::decompress("f", bytes, Limits::default().at_most(1 << 20)))),
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
    let mut seeds: Vec<Vec<u8>> = [REPOMD, &primary, update, &list, yaml, comps]
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect();
    for compression in [Compression::Gzip, Compression::Xz, Compression::Zstd, Compression::Bzip2] {
        seeds.push(codec::compress(primary.as_bytes(), compression).unwrap());
    }
    seeds
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

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
        for (_, read) in READERS {
            read(&bytes);
        }
    }

    #[test]
    fn no_reader_panics_on_anything(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for (_, read) in READERS {
            read(&bytes);
        }
    }
}
