//! What repodata on disk says, and whether that is true of the packages beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use cairn_repodata::codec::{self, Limits};
use cairn_repodata::header::FileFacts;
use cairn_repodata::merge::{Lists, Merge};
use cairn_repodata::repomd::{self, Repomd};
use cairn_repodata::write::{Options, RepodataBuilder};
use cairn_repodata::{Error, comps, modules, primary, updateinfo};

/// A repository on disk.
#[derive(Debug)]
pub struct Repo {
    /// Its directory.
    pub dir: PathBuf,
    /// Its `repomd.xml`.
    pub repomd: Repomd,
}

/// Returns the repositories below a directory, by their path in it.
pub fn repos(root: &Path) -> BTreeMap<PathBuf, Repo> {
    let mut found = BTreeMap::new();
    let mut rest = vec![root.to_owned()];
    while let Some(dir) = rest.pop() {
        if let Ok(bytes) = fs::read(dir.join("repodata/repomd.xml")) {
            let repomd = repomd::read("repomd.xml", bytes.as_slice()).unwrap();
            let path = dir.strip_prefix(root).unwrap().to_owned();
            found.insert(path, Repo { dir: dir.clone(), repomd });
        }
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                rest.push(entry.path());
            }
        }
    }
    found
}

impl Repo {
    /// Returns the decompressed content of a record, which must be what it declares.
    #[track_caller]
    pub fn content(&self, kind: &str) -> Option<Vec<u8>> {
        let record = self.repomd.record(kind)?;
        let bytes = fs::read(self.dir.join(&record.href)).unwrap();
        record.verify(&bytes).unwrap_or_else(|error| panic!("{}: {error}", self.dir.display()));
        let mut plain = Vec::new();
        let mut reader = codec::decoder(kind, bytes.as_slice(), Limits::default()).unwrap();
        reader.read_to_end(&mut plain).unwrap();
        Some(plain)
    }

    /// Returns the packages by location.
    #[track_caller]
    pub fn packages(&self) -> BTreeMap<String, primary::Package> {
        let content = self.content("primary").expect("every repo has a primary");
        let mut found = BTreeMap::new();
        primary::read("primary", content.as_slice(), &mut |package| {
            found.insert(package.href.clone(), package);
            Ok::<_, Error>(())
        })
        .unwrap();
        found
    }

    /// Returns the ids of the groups.
    pub fn groups(&self) -> BTreeSet<String> {
        let Some(content) = self.content("group") else { return BTreeSet::new() };
        let comps = comps::read("comps", content.as_slice()).unwrap();
        comps.groups.into_iter().map(|group| group.id).collect()
    }

    /// Returns the ids of the advisories.
    pub fn advisories(&self) -> BTreeSet<String> {
        let Some(content) = self.content("updateinfo") else { return BTreeSet::new() };
        let list = updateinfo::read("updateinfo", content.as_slice()).unwrap();
        list.into_iter().map(|advisory| advisory.id).collect()
    }

    /// Returns the full names of the module streams.
    pub fn streams(&self) -> BTreeSet<String> {
        let Some(content) = self.content("modules") else { return BTreeSet::new() };
        let documents = modules::read("modules", &content).unwrap();
        documents
            .into_iter()
            .filter_map(|document| match document.content {
                modules::Content::Stream(stream) => Some(stream.nsvca.to_string()),
                _ => None,
            })
            .collect()
    }

    /// Writes `dir/repodata`, which lists the same packages by locations that `href` makes of
    /// theirs.
    #[track_caller]
    pub fn list_in(&self, dir: &Path, href: impl Fn(&str) -> String) {
        let facts = self.packages().into_values().map(|package| {
            let mut sha256 = [0; 32];
            let hex = package.pkgid.hex();
            for (byte, at) in sha256.iter_mut().zip((0..hex.len()).step_by(2)) {
                *byte = u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            }
            let (size, mtime) = (package.package_size, package.file_time);
            FileFacts { href: href(&package.href), size, mtime, sha256 }
        });
        let mut merge = Merge::new(facts).unwrap();
        let lists = ["primary", "filelists", "other"].map(|kind| self.content(kind).unwrap());
        let [primary, filelists, other] = lists.each_ref().map(|list| ("list", list.as_slice()));
        merge.load(Lists { primary, filelists, other }).unwrap();
        let mut builder = RepodataBuilder::new(Options::default());
        merge.finish(&mut builder).unwrap();
        fs::create_dir_all(dir.join("repodata")).unwrap();
        for file in builder.finish().unwrap() {
            fs::write(dir.join("repodata").join(file.name), file.bytes).unwrap();
        }
    }

    /// Asserts that every record is whole and that the package lists are of exactly the RPMs that
    /// are there, to their size.
    #[track_caller]
    pub fn assert_true(&self) {
        let at = self.dir.display();
        for record in &self.repomd.records {
            self.content(&record.kind);
        }
        let mut named: BTreeSet<String> =
            self.repomd.records.iter().map(|record| record.href.clone()).collect();
        named.extend(["repodata/repomd.xml", "repodata/repomd.xml.asc"].map(str::to_owned));
        for entry in fs::read_dir(self.dir.join("repodata")).unwrap() {
            let name = format!("repodata/{}", entry.unwrap().file_name().to_str().unwrap());
            assert!(named.contains(&name), "{at}: no record names {name}");
        }
        let packages = self.packages();
        let listed: BTreeSet<_> = packages.keys().cloned().collect();
        assert_eq!(listed, rpms(&self.dir), "{at}");
        for (href, package) in &packages {
            let size = fs::metadata(self.dir.join(href)).unwrap().len();
            assert_eq!(package.package_size, size, "{at}: {href}");
        }
        for kind in ["filelists", "other"] {
            let content = self.content(kind).unwrap();
            let text = String::from_utf8_lossy(&content);
            for package in packages.values() {
                let hex = package.pkgid.hex();
                assert!(text.contains(hex), "{at}: {kind} has no {hex}");
            }
        }
    }
}

/// Returns the paths of the RPMs below a repository that belong to it.
fn rpms(dir: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = vec![dir.to_owned()];
    while let Some(at) = rest.pop() {
        for entry in fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let is_link = path.is_symlink();
            if !is_link && path.is_dir() && !path.join("repodata").is_dir() {
                rest.push(path);
            } else if !is_link && path.extension().is_some_and(|name| name == "rpm") {
                found.insert(path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}
