//! From packages to metadata and back: headers, the builder, and merging.

use std::collections::BTreeMap;

use cairn_repodata::codec::{self, Limits};
use cairn_repodata::header::{FileFacts, Headers, Package};
use cairn_repodata::merge::{ListFile, Lists, Merge, Merged, Primary};
use cairn_repodata::primary::{self, FileKind};
use cairn_repodata::repomd::{self, DistroTag, Repomd, Tags};
use cairn_repodata::write::{Compression, FileNames, Options, RepodataBuilder, RepodataFile};
use cairn_repodata::{Error, filelists, other};
use proptest::prelude::*;
use sha2::Digest;

/// Returns the bytes of a small package.
fn rpm_bytes(name: &str, version: &str, config: rpm::BuildConfig) -> Vec<u8> {
    let mut builder = rpm::PackageBuilder::new(name, version, "MIT", "x86_64", "a summary");
    builder.using_config(config.source_date(1_600_000_000)).release("1.el9").epoch(3);
    builder.description("Some\ntext.").vendor("Example").url("https://example.org/").group("G");
    builder.build_host("host");
    builder.requires(rpm::Dependency::greater_eq("needed", "1:2.0-3"));
    builder.requires(rpm::Dependency::script_pre("pre-needed"));
    builder.recommends(rpm::Dependency::any("wanted"));
    builder.provides(rpm::Dependency::eq("virtual", "7"));
    builder.add_changelog_entry("A <a@e.org> - 1", "- second", 1_500_000_000u32);
    builder.add_changelog_entry("B <b@e.org> - 1", "- first", 1_400_000_000u32);
    let file = |path: &str| rpm::FileOptions::new(path);
    builder.with_file_contents("#!", file("/usr/bin/tool").permissions(0o755)).unwrap();
    builder.with_file_contents("data", file("/usr/share/data")).unwrap();
    builder.with_dir_entry(rpm::FileOptions::dir("/etc/tool")).unwrap();
    builder.with_ghost(rpm::FileOptions::ghost("/var/log/tool.log")).unwrap();
    let mut bytes = Vec::new();
    builder.build().unwrap().write(&mut bytes).unwrap();
    bytes
}

fn v4() -> rpm::BuildConfig {
    rpm::BuildConfig::v4().compression(rpm::CompressionType::Gzip)
}

fn facts(bytes: &[u8], href: &str) -> FileFacts {
    let sha256 = sha2::Sha256::digest(bytes).into();
    FileFacts { href: href.to_owned(), size: bytes.len() as u64, mtime: 1_700_000_000, sha256 }
}

fn package(name: &str) -> (Package, FileFacts) {
    let bytes = rpm_bytes(name, "1.0", v4());
    let facts = facts(&bytes, &format!("Packages/{name}.rpm"));
    (Package::read(bytes.as_slice(), facts.clone()).unwrap(), facts)
}

#[test]
fn headers_of_both_formats_give_what_metadata_needs() {
    let v6 = rpm::BuildConfig::v6().compression(rpm::CompressionType::Gzip);
    for config in [v4(), v6] {
        let bytes = rpm_bytes("tool", "1.0~rc1", config);
        let package = Package::read(bytes.as_slice(), facts(&bytes, "t.rpm")).unwrap();
        let primary = &package.primary;
        assert_eq!(primary.nevra.to_string(), "tool-3:1.0~rc1-1.el9.x86_64");
        assert_eq!(primary.description, "Some\ntext.");
        assert_eq!((&*primary.license, &*primary.vendor), ("MIT", "Example"));
        assert_eq!(primary.build_time, 1_600_000_000);
        assert_eq!(primary.source_rpm, "");
        assert_eq!(primary.installed_size, 6);
        let requires: Vec<_> =
            primary.relations.requires.iter().map(|d| (d.to_string(), d.pre)).collect();
        let want = [("needed >= 1:2.0-3".to_owned(), false), ("pre-needed".to_owned(), true)];
        assert_eq!(requires, want);
        assert!(primary.relations.provides.iter().any(|d| d.to_string() == "virtual = 7"));
        assert_eq!(primary.relations.recommends[0].name, "wanted");
        let files: BTreeMap<_, _> =
            package.files.iter().map(|file| (file.path.as_str(), file.kind)).collect();
        let want = [
            ("/etc/tool", FileKind::Dir),
            ("/usr/bin/tool", FileKind::File),
            ("/usr/share/data", FileKind::File),
            ("/var/log/tool.log", FileKind::Ghost),
        ];
        assert_eq!(files, BTreeMap::from(want));
        let listed: Vec<_> = primary.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(listed, ["/etc/tool", "/usr/bin/tool"]);
        let changes: Vec<_> = package.changelogs.iter().map(|c| (c.date, &*c.text)).collect();
        assert_eq!(changes, [(1_400_000_000, "- first"), (1_500_000_000, "- second")]);

        let headers = Headers::read("t.rpm", bytes.as_slice()).unwrap();
        let range = headers.start as usize..headers.end as usize;
        assert_eq!(headers.main.bytes(), &bytes[range], "the bytes at the range are the header");
        assert_eq!(bytes[headers.end as usize..][..2], [0x1f, 0x8b], "the payload follows");
    }
}

#[test]
fn dependencies_without_a_name_are_refused() {
    let mut bytes = rpm_bytes("tool", "1", v4());
    let at = bytes.windows(8).position(|w| w[0] != b'-' && w[1..] == *b"needed\0").unwrap();
    bytes[at + 1] = 0;
    let error = Package::read(bytes.as_slice(), facts(&bytes, "t.rpm")).unwrap_err().to_string();
    assert_eq!(error, "t.rpm: not a readable rpm: a dependency has no name");
}

#[test]
fn every_truncated_header_is_refused() {
    let bytes = rpm_bytes("tool", "1", v4());
    let end = Headers::read("t.rpm", bytes.as_slice()).unwrap().end as usize;
    for keep in 0..end {
        let error = Headers::read("t.rpm", &bytes[..keep]).expect_err("truncated");
        assert!(matches!(error, Error::Truncated { .. }), "{keep}: {error}");
    }
}

#[test]
fn broken_headers_are_refused_with_file_and_reason() {
    let bytes = rpm_bytes("tool", "1", v4());
    let start = Headers::read("t.rpm", bytes.as_slice()).unwrap().start as usize;
    let edit = |at: usize, with: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    // Where an index entry is, so that its count can lie.
    let entry = |tag: u32| {
        let found =
            bytes[start + 16..].chunks(16).position(|entry| entry[..4] == tag.to_be_bytes());
        start + 16 + 16 * found.unwrap()
    };
    let counted = |tag: u32, count: u32| edit(entry(tag) + 12, &count.to_be_bytes());
    for (bytes, want) in [
        (counted(1117, u32::MAX), "tag 1117 of its main header has 4294967295 entries, at most"),
        (
            counted(1030, 1 << 21),
            "tag 1030 of its main header has 2097152 entries, at most 1048576",
        ),
        (counted(1117, 1 << 20), "its main header is too short for tag 1117"),
        (counted(1030, 1 << 20), "its main header is too short for tag 1030"),
        (counted(1117, 3), "files: arrays of 3 and 4 entries"),
        (counted(1030, 3), "files: arrays of 4 and 3 entries"),
        (counted(1080, 1), "changelog: arrays of 1 and 2 entries"),
        (edit(entry(1000) + 8, &[0x7f; 4]), "its main header is too short for tag 1000"),
        (edit(entry(1000) + 4, &[0, 0, 0, 4]), "tag 1000 of its main header has type 4"),
        (edit(entry(1000) + 3, &[0]), "no name"),
        (edit(0, b"no"), "t.rpm: not a readable rpm: no rpm magic at its start"),
        (edit(4, &[9]), "t.rpm: not a readable rpm: lead version 9 is not known"),
        (edit(96, b"x"), "no magic at the start of its signature"),
        (edit(start, b"x"), "no magic at the start of its main header"),
        (edit(start + 8, &[0xff; 4]), "its main header has 4294967295 entries, at most 65535"),
        (edit(start + 12, &[0xff; 4]), "its main header has 4294967295 bytes of data"),
    ] {
        let error =
            Package::read(bytes.as_slice(), facts(&bytes, "t.rpm")).unwrap_err().to_string();
        assert!(error.starts_with("t.rpm: ") && error.contains(want), "{error}");
    }
    for href in ["/etc/x.rpm", "%2e%2e/x.rpm", ""] {
        let error = Package::read(bytes.as_slice(), facts(&bytes, href)).unwrap_err();
        assert!(matches!(error, Error::Href { .. }), "{error}");
    }
}

fn options() -> Options {
    Options {
        revision: Some("9".to_owned()),
        tags: Tags {
            distro: vec![DistroTag::parse("cpe:/o:rocky:rocky:9,Rocky Linux 9")],
            ..Tags::default()
        },
        timestamp: Some(1_700_000_000),
        ..Options::default()
    }
}

const COMPS: &[u8] = b"<comps><group><id>core</id></group></comps>";

fn build(names: &[&str], options: Options) -> Vec<RepodataFile> {
    let mut builder = RepodataBuilder::new(options);
    for name in names {
        builder.package(&package(name).0).unwrap();
    }
    builder.extra("group", COMPS.to_vec()).unwrap();
    builder.extra("productid", b"cert".to_vec()).unwrap();
    builder.extra("modules", b"---\n".to_vec()).unwrap();
    builder.finish().unwrap()
}

fn repomd_of(files: &[RepodataFile]) -> Repomd {
    let last = files.last().unwrap();
    assert_eq!(last.name, "repomd.xml");
    repomd::read("repomd.xml", last.bytes.as_slice()).unwrap()
}

/// Returns a record's content, verified.
fn open(files: &[RepodataFile], kind: &str) -> Vec<u8> {
    let repomd = repomd_of(files);
    let record = repomd.record(kind).unwrap_or_else(|| panic!("no {kind}"));
    let name = record.href.strip_prefix("repodata/").unwrap();
    let file = files.iter().find(|file| file.name == name).unwrap();
    record.open(&file.bytes, Limits::default()).unwrap()
}

#[test]
fn the_same_set_gives_the_same_bytes_in_any_order() {
    for compression in [Compression::Gzip, Compression::Xz, Compression::Zstd, Compression::None] {
        let options = Options { compression, ..options() };
        let files = build(&["b", "a", "c"], options.clone());
        assert_eq!(files, build(&["c", "b", "a"], options.clone()));
        let repomd = repomd_of(&files);
        assert_eq!(repomd.revision, options.revision);
        assert_eq!(repomd.tags, options.tags);
        let kinds: Vec<_> = repomd.records.iter().map(|record| record.kind.as_str()).collect();
        let suffix = compression.suffix().trim_start_matches('.');
        let packed = format!("group_{suffix}");
        let mut want =
            vec!["primary", "filelists", "other", &packed, "group", "modules", "productid"];
        want.retain(|kind| *kind != "group_");
        assert_eq!(kinds, want);
        for (record, file) in repomd.records.iter().zip(&files) {
            assert_eq!(record.href, format!("repodata/{}", file.name));
            assert!(file.name.starts_with(record.checksum.hex()), "{}", file.name);
            assert_eq!(record.timestamp, Some(1_700_000_000));
            assert_eq!(record.size, Some(file.bytes.len() as u64));
            open(&files, &record.kind);
        }
        assert_eq!(open(&files, "group"), COMPS);
        assert_eq!(open(&files, "productid"), b"cert");
    }
}

#[test]
fn what_is_written_reads_back_equal() {
    let files = build(&["a", "b"], Options { names: FileNames::Plain, ..options() });
    assert_eq!(files[0].name, "primary.xml.gz");
    let want: Vec<Package> = ["a", "b"].iter().map(|name| package(name).0).collect();

    let mut found = Vec::new();
    primary::read("p", open(&files, "primary").as_slice(), &mut |package| {
        found.push(package);
        Ok::<_, Error>(())
    })
    .unwrap();
    assert_eq!(found, want.iter().map(|package| package.primary.clone()).collect::<Vec<_>>());

    let mut at = 0;
    filelists::read("f", open(&files, "filelists").as_slice(), &mut |package| {
        assert_eq!(package.files, want[at].files);
        at += 1;
        Ok::<_, Error>(())
    })
    .unwrap();
    other::read("o", open(&files, "other").as_slice(), &mut |package| {
        at -= 1;
        assert_eq!(package.changelogs, want[1 - at].changelogs);
        Ok::<_, Error>(())
    })
    .unwrap();
    assert_eq!(at, 0);
}

#[test]
fn the_builder_refuses_what_clients_could_not_tell_apart() {
    let (one, _) = package("a");
    let mut builder = RepodataBuilder::new(Options::default());
    builder.package(&one).unwrap();
    let error = builder.package(&one).unwrap_err().to_string();
    assert_eq!(error, "repomd.xml: Packages/a.rpm: two packages have this location");
    let mut moved = one.clone();
    moved.primary.href = "elsewhere.rpm".to_owned();
    builder.package(&moved).unwrap();
    let error = builder.finish().unwrap_err().to_string();
    assert_eq!(error, "repomd.xml: elsewhere.rpm: the same package is at Packages/a.rpm");

    let mut builder = RepodataBuilder::new(Options::default());
    builder.extra("modules", Vec::new()).unwrap();
    for (kind, want) in [
        ("modules", "added twice"),
        ("primary", "this type is made of the packages"),
        ("primary_db", "this type describes packages, and not these: leave it out"),
        ("filelists-ext", "this type describes packages, and not these: leave it out"),
        ("../x", "the type is not a plain word"),
        ("", "the type is not a plain word"),
    ] {
        let error = builder.extra(kind, Vec::new()).unwrap_err().to_string();
        assert!(error.ends_with(want), "{error}");
    }
}

#[test]
fn unknown_records_are_carried_with_their_bytes() {
    let bytes = b"anything".to_vec();
    let record = repomd::Record {
        timestamp: Some(5),
        database_version: Some(10),
        ..repomd::Record::describe("custom_db", "repodata/x-custom.sqlite.bz2", &bytes, None)
    };
    let mut builder = RepodataBuilder::new(Options::default());
    builder.carry(&record, bytes.clone()).unwrap();
    let files = builder.finish().unwrap();
    assert_eq!(repomd_of(&files).record("custom_db"), Some(&record));
    assert_eq!(open(&files, "custom_db"), bytes);

    let mut builder = RepodataBuilder::new(Options::default());
    assert!(builder.carry(&record, b"other".to_vec()).is_err());
    let hidden = repomd::Record { href: "repodata/repomd.xml".to_owned(), ..record };
    let error = builder.carry(&hidden, bytes).unwrap_err().to_string();
    assert_eq!(error, "repomd.xml: custom_db: file name \"repomd.xml\" is not a plain word");
}

#[test]
fn other_forms_of_what_is_made_are_refused() {
    for (kind, content) in [("group_gz", "group"), ("updateinfo_zck", "updateinfo")] {
        let bytes = b"what was before".to_vec();
        let record = repomd::Record::describe(kind, "repodata/old", &bytes, None);
        let mut builder = RepodataBuilder::new(Options::default());
        builder.carry(&record, bytes).unwrap();
        assert!(builder.clone().finish().is_ok(), "nothing is made anew");
        let error = builder.extra(content, COMPS.to_vec()).unwrap().clone().finish().unwrap_err();
        let want = format!(
            "repomd.xml: {kind}: another form of {content}, which is made anew: leave it out"
        );
        assert_eq!(error.to_string(), want);
    }
}

/// A repository's three lists as text.
#[derive(Clone)]
struct Texts([String; 3]);

impl Texts {
    fn of(files: &[RepodataFile]) -> Texts {
        let text = |kind| String::from_utf8(open(files, kind)).unwrap();
        Texts(["primary", "filelists", "other"].map(text))
    }

    fn lists(&self) -> Lists<'static, &[u8], &[u8], &[u8]> {
        let [primary, filelists, other] = &self.0;
        Lists {
            primary: ("primary.xml", primary.as_bytes()),
            filelists: ("filelists.xml", filelists.as_bytes()),
            other: ("other.xml", other.as_bytes()),
        }
    }
}

#[test]
fn merging_reads_only_the_headers_of_new_packages() {
    // Somebody else's layout: what is carried must keep it.
    let mut old = Texts::of(&build(&["a", "b", "gone"], options()));
    for text in &mut old.0 {
        *text = text.replace("  <", "\t <").replace("<version epoch=\"3\"", "<version  epoch='3'");
    }
    let set: Vec<_> = ["a", "b", "new"].map(|name| package(name).1).into();
    let mut merge = Merge::new(set.clone()).unwrap();
    merge.load(old.lists()).unwrap();
    let unknown: Vec<_> = merge.unknown().into_iter().map(|facts| facts.href.as_str()).collect();
    assert_eq!(unknown, ["Packages/new.rpm"]);

    let error = merge.finish(&mut RepodataBuilder::new(options())).unwrap_err().to_string();
    let want =
        "package set: Packages/new.rpm: no metadata describes it and its header was not read";
    assert_eq!(error, want);

    let mut merge = Merge::new(set).unwrap();
    merge.load(old.lists()).unwrap();
    let mut builder = RepodataBuilder::new(options());
    builder.package(&package("new").0).unwrap();
    assert_eq!(merge.finish(&mut builder).unwrap(), Merged { carried: 2, fresh: 1 });
    let new = Texts::of(&builder.finish().unwrap());
    for (old, new) in old.0.iter().zip(&new.0) {
        let elements = |text: &str, name: &str| -> Vec<String> {
            let parts = text.split_inclusive("</package>");
            let parts = parts.filter_map(|part| part.find("<package").map(|at| &part[at..]));
            parts.filter(|part| part.contains(name)).map(str::to_owned).collect()
        };
        for name in ["<name>a<", "<name>b<", "name=\"a\" arch", "name=\"b\" arch"] {
            assert_eq!(elements(old, name), elements(new, name), "{name}");
        }
        assert!(!new.contains("gone"));
        assert!(new.contains("packages=\"3\""));
    }
}

#[test]
fn merging_the_same_set_again_changes_no_byte() {
    let files = build(&["a", "b"], options());
    let mut merge = Merge::new(["b", "a"].map(|name| package(name).1)).unwrap();
    merge.load(Texts::of(&files).lists()).unwrap();
    assert_eq!(merge.unknown(), [] as [&FileFacts; 0]);
    let mut builder = RepodataBuilder::new(options());
    assert_eq!(merge.finish(&mut builder).unwrap(), Merged { carried: 2, fresh: 0 });
    for (kind, bytes) in [("group", COMPS), ("productid", b"cert"), ("modules", b"---\n")] {
        builder.extra(kind, bytes.to_vec()).unwrap();
    }
    assert_eq!(builder.finish().unwrap(), files);
}

/// Returns a record's file as it is.
fn packed<'a>(files: &'a [RepodataFile], kind: &str) -> ListFile<'a> {
    let repomd = repomd_of(files);
    let href = repomd.record(kind).unwrap().href.clone();
    let file = files.iter().find(|file| href.ends_with(&file.name)).unwrap();
    ListFile { name: &file.name, bytes: &file.bytes, limits: Limits::default() }
}

#[test]
fn an_update_of_lists_in_segments_gives_the_bytes_of_a_build_from_nothing() {
    // Enough for some ten segments of primary.
    let packages: Vec<_> = (0..320).map(|n| package(&format!("p{n:03}"))).collect();
    let of = |wanted: &dyn Fn(usize) -> bool| {
        let mut builder = RepodataBuilder::new(options());
        for (_, (package, _)) in packages.iter().enumerate().filter(|(n, _)| wanted(*n)) {
            builder.package(package).unwrap();
        }
        builder.finish().unwrap()
    };
    let (old, all) = (of(&|n| n % 50 != 7), of(&|_| true));
    // The end of a flush, in the middle of the file too.
    let flushes =
        |file: ListFile<'_>| file.bytes.windows(4).filter(|w| w == b"\0\0\xff\xff").count();
    assert!(flushes(packed(&old, "primary")) > 8);

    let update = |new: &dyn Fn(usize) -> bool, way: usize| {
        let set: Vec<_> = packages.iter().map(|(_, facts)| facts.clone()).collect();
        let set = set.into_iter().enumerate().filter(|(n, _)| !new(*n)).map(|(_, facts)| facts);
        let mut merge = Merge::new(set).unwrap();
        let [primary, filelists, other] =
            ["primary", "filelists", "other"].map(|kind| packed(&old, kind));
        match way {
            0 => merge.load(Texts::of(&old).lists()).unwrap(),
            1 => merge.load_files([primary, filelists, other]).unwrap(),
            _ => {
                let primary = Primary::read(&primary).unwrap();
                assert_eq!(primary.len(), primary.locations().count());
                merge.load_with(primary, filelists, other).unwrap();
            }
        }
        let mut builder = RepodataBuilder::new(options());
        for (_, (package, _)) in packages.iter().enumerate().filter(|(n, _)| new(*n)) {
            builder.package(package).unwrap();
        }
        merge.finish(&mut builder).unwrap();
        builder.finish().unwrap()
    };
    for way in 0..3 {
        assert!(update(&|n| n % 50 == 7, way) == all, "{way}");
        // What is read anew though it is known gives the same elements.
        assert!(update(&|n| n % 50 == 7 || n % 3 == 0, way) == all, "{way}");
    }
}

#[test]
fn a_package_that_moved_keeps_everything_but_its_location() {
    let files = build(&["a"], options());
    let old = Texts::of(&files);
    for location in [
        "<location href=\"Packages/a.rpm\"/>",
        "<location xml:base='http://e/' href='a.rpm' ></location>",
    ] {
        let mut texts = old.clone();
        texts.0[0] = texts.0[0].replace("<location href=\"Packages/a.rpm\"/>", location);
        let moved = FileFacts { href: "b&c/a.rpm".to_owned(), ..package("a").1 };
        let mut merge = Merge::new([moved]).unwrap();
        merge.load(texts.lists()).unwrap();
        let mut builder = RepodataBuilder::new(options());
        merge.finish(&mut builder).unwrap();
        let new = Texts::of(&builder.finish().unwrap());
        let want = old.0[0].replace("\"Packages/a.rpm\"", "\"b&amp;c/a.rpm\"");
        assert_eq!(new.0[0], want);
    }
}

#[test]
fn two_packages_at_one_location_are_refused() {
    let old = Texts::of(&build(&["a", "b"], options()));
    let set = ["a", "b"].map(|name| FileFacts { href: "x.rpm".to_owned(), ..package(name).1 });
    let mut merge = Merge::new(set).unwrap();
    merge.load(old.lists()).unwrap();
    let mut builder = RepodataBuilder::new(options());
    let error = merge.finish(&mut builder).unwrap_err().to_string();
    assert_eq!(error, "repomd.xml: x.rpm: two packages have this location");
    // What was added until then is whole.
    assert!(Texts::of(&builder.finish().unwrap()).0[1].contains("packages=\"1\""));
}

#[test]
fn metadata_of_several_repositories_is_put_together() {
    let set: Vec<_> = ["a", "b", "c", "new"].map(|name| package(name).1).into();
    let mut merge = Merge::new(set).unwrap();
    let mut second = Texts::of(&build(&["b", "c"], options()));
    second.0[1] = second.0[1].replace("  <file", "\t<file");
    merge.load(Texts::of(&build(&["a", "b"], options())).lists()).unwrap();
    merge.load(second.lists()).unwrap();
    let mut builder = RepodataBuilder::new(options());
    builder.package(&package("new").0).unwrap();
    assert_eq!(merge.finish(&mut builder).unwrap(), Merged { carried: 3, fresh: 1 });
    let merged = Texts::of(&builder.finish().unwrap());
    let [primary, mut filelists, other] = Texts::of(&build(&["a", "b", "c", "new"], options())).0;
    // What was loaded first wins; of `c` only the second knows.
    let at = filelists.find("name=\"c\"").unwrap();
    let end = at + filelists[at..].find("</package>").unwrap();
    let changed = filelists[at..end].replace("  <file", "\t<file");
    filelists.replace_range(at..end, &changed);
    assert_eq!(merged.0, [primary, filelists, other]);
}

#[test]
fn metadata_that_cannot_be_carried_is_refused_or_not_used() {
    let old = Texts::of(&build(&["a", "b"], options()));
    let edit = |list: usize, from: &str, to: &str| {
        let mut texts = old.clone();
        assert!(texts.0[list].contains(from), "{from}");
        texts.0[list] = texts.0[list].replace(from, to);
        texts
    };
    let twice = {
        let mut texts = old.clone();
        let at = texts.0[1].find("<package ").unwrap();
        let end = texts.0[1].find("</package>").unwrap() + "</package>\n".len();
        let copy = texts.0[1][at..end].to_owned();
        texts.0[1] = texts.0[1].replace("packages=\"2\"", "packages=\"3\"");
        texts.0[1].insert_str(at, &copy);
        texts
    };
    let missing = {
        let mut texts = edit(2, "packages=\"2\"", "packages=\"1\"");
        let at = texts.0[2].find("<package ").unwrap();
        let end = texts.0[2].find("</package>").unwrap() + "</package>".len();
        texts.0[2].replace_range(at..end, "");
        texts
    };
    let set = || ["a", "b"].map(|name| package(name).1);
    for (texts, want) in [
        (
            edit(0, "xmlns:rpm", "xmlns:r"),
            "primary.xml: metadata: its XML namespaces have unusual prefixes",
        ),
        (
            edit(0, "<rpm:license>MIT</rpm:license>", "<x:l>MIT</x:l>"),
            "\"x:l\" cannot be carried over",
        ),
        (edit(1, "<file>/usr/share", "<file>&#7;/usr/share"), "filelists.xml: byte"),
        (edit(2, "author=\"A ", "author=\"A <"), "other.xml: byte"),
        (
            edit(1, "packages=\"2\"", "packages=\"3\""),
            "filelists.xml: declares 3 packages, holds 2",
        ),
        (twice, "occurs twice"),
        (missing, "primary has it at Packages/a.rpm, this list does not"),
    ] {
        let mut merge = Merge::new(set()).unwrap();
        let error = merge.load(texts.lists()).expect_err(want).to_string();
        assert!(error.contains(want), "{want}: {error}");
        assert_eq!(merge.unknown().len(), 2, "nothing was taken");
    }
    // A size that lies is no description.
    let size = package("a").1.size;
    let mut merge = Merge::new(set()).unwrap();
    let lie = edit(0, &format!("package=\"{size}\""), "package=\"1\"");
    merge.load(lie.lists()).unwrap();
    assert_eq!(merge.unknown().len(), 2);
}

proptest! {
    // 300, or what `PROPTEST_CASES` says if that is more.
    #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases.max(300)))]

    #[test]
    fn no_header_panics_however_it_is_damaged(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
    ) {
        let mut bytes = rpm_bytes("tool", "1", v4());
        let end = Headers::read("t", bytes.as_slice()).unwrap().end as usize;
        for (at, byte) in edits {
            bytes[at.index(end)] = byte;
        }
        let facts = FileFacts { href: "t".to_owned(), size: 1, mtime: 1, sha256: [0; 32] };
        if let Ok(package) = Package::read(bytes.as_slice(), facts) {
            // What is accepted can be written and read.
            let mut builder = RepodataBuilder::new(Options::default());
            builder.package(&package).unwrap();
            let files = builder.finish().unwrap();
            let plain = codec::decompress("p", &files[0].bytes, Limits::default()).unwrap();
            let read = primary::read("p", plain.as_slice(), &mut |_| Ok::<_, Error>(()));
            prop_assert!(read.is_ok(), "{read:?}");
        }
    }
}
