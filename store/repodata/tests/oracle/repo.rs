//! Repositories on disk: what is in them, and ours for the packages below a directory.

use std::fs;
use std::path::Path;

use cairn_repodata::codec::{self, Limits};
use cairn_repodata::repomd::{self, DistroTag, Repomd, Tags};
use cairn_repodata::updateinfo;
use cairn_repodata::write::{Compression, FileNames, Options, RepodataBuilder, RepodataFile};

use crate::packages::{collect, read_package};

/// The lists of packages.
pub const LISTS: [&str; 3] = ["primary", "filelists", "other"];

/// Returns the `repomd.xml` of a repository.
pub fn repomd_of(repo: &Path) -> Repomd {
    let bytes = fs::read(repo.join("repodata/repomd.xml")).unwrap();
    repomd::read("repomd.xml", bytes.as_slice()).unwrap()
}

/// Returns a metadata file of a repository, verified and decompressed.
pub fn metadata(repo: &Path, kind: &str) -> String {
    let repomd = repomd_of(repo);
    let record = repomd.record(kind).unwrap_or_else(|| panic!("no {kind}"));
    let bytes = fs::read(repo.join(&record.href)).unwrap();
    String::from_utf8(record.open(&bytes, Limits::default()).unwrap()).unwrap()
}

/// Returns the elements of the packages of a list, sorted.
pub fn packages_of(xml: &str) -> Vec<String> {
    let mut packages: Vec<String> = xml
        .split_inclusive("</package>")
        .filter_map(|part| part.find("<package").map(|at| part[at..].to_owned()))
        .collect();
    packages.sort();
    packages
}

/// Returns the lists of what was built with plain names and gzip.
pub fn lists_of(files: &[RepodataFile]) -> [String; 3] {
    LISTS.map(|kind| {
        let name = format!("{kind}.xml.gz");
        let file = files.iter().find(|file| file.name == name).unwrap();
        let plain = codec::decompress(&name, &file.bytes, Limits::default()).unwrap();
        String::from_utf8(plain).unwrap()
    })
}

/// Returns a builder that has the RPMs below `repo`.
pub fn builder_of(repo: &Path, options: Options) -> RepodataBuilder {
    let mut builder = RepodataBuilder::new(options);
    let mut rpms = Vec::new();
    collect(repo, &mut rpms);
    for rpm in &rpms {
        builder.package(&read_package(repo, rpm)).unwrap();
    }
    builder
}

/// Returns our three lists for the RPMs below `repo`.
pub fn our_lists(repo: &Path) -> [String; 3] {
    let options = Options { names: FileNames::Plain, ..Options::default() };
    lists_of(&builder_of(repo, options).finish().unwrap())
}

/// A group of one package.
pub const COMPS: &str = "<comps><group><id>kitchen</id><name>Kitchen</name><description/>\
    <default>true</default><uservisible>true</uservisible><packagelist>\
    <packagereq type=\"mandatory\">kitchen-sink-empty</packagereq></packagelist></group></comps>";

/// An advisory that fixes one package.
pub const ADVISORIES: &str = "<updates>\
    <update from=\"e@example.org\" status=\"final\" type=\"security\" version=\"1\">\
    <id>EX-2024:1</id><title>t</title><issued date=\"2024-01-01 00:00:00\"/>\
    <updated date=\"2024-01-01 00:00:00\"/><severity>Important</severity>\
    <description>d &amp; é</description>\
    <references><reference href=\"https://example.org/1\" id=\"CVE-2024-1\" type=\"cve\" \
    title=\"CVE-2024-1\"/></references><pkglist><collection short=\"c\"><name>c</name>\
    <package name=\"kitchen-sink-empty\" epoch=\"2\" version=\"1.0~rc1^git5\" release=\"3.el9\" \
    arch=\"x86_64\"><filename>kitchen-sink-empty-1.0~rc1^git5-3.el9.x86_64.rpm</filename></package>\
    </collection></pkglist></update></updates>";

/// A module that consists of one package, and which stream of it is the default.
pub const MODULES: &str = "---
document: modulemd
version: 2
data:
  name: cellar
  stream: \"10\"
  version: 920240101
  context: c0ffee00
  arch: x86_64
  summary: A module
  description: >-
    Of one package.
  license:
    module: [MIT]
  profiles:
    common:
      rpms: [plain]
  artifacts:
    rpms:
    - plain-0:1.0-1.x86_64
...
---
document: modulemd-defaults
version: 1
data:
  module: cellar
  stream: \"10\"
  profiles:
    \"10\": [common]
...
";

/// Writes our metadata for the RPMs below `repo`, with data of all kinds.
pub fn write_metadata(repo: &Path, compression: Compression) {
    let options = Options {
        compression,
        revision: Some("9".to_owned()),
        tags: Tags {
            distro: vec![DistroTag::parse("cpe:/o:rocky:rocky:9,Rocky Linux 9")],
            ..Tags::default()
        },
        timestamp: Some(1_700_000_000),
        ..Options::default()
    };
    let mut builder = builder_of(repo, options);
    let advisories = updateinfo::read("updateinfo.xml", ADVISORIES.as_bytes()).unwrap();
    builder.extra("group", COMPS.as_bytes().to_vec()).unwrap();
    builder.extra("updateinfo", updateinfo::write(&advisories)).unwrap();
    builder.extra("modules", MODULES.as_bytes().to_vec()).unwrap();
    let repodata = repo.join("repodata");
    drop(fs::remove_dir_all(&repodata));
    fs::create_dir(&repodata).unwrap();
    for file in builder.finish().unwrap() {
        fs::write(repodata.join(&file.name), &file.bytes).unwrap();
    }
}
