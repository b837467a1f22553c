//! Metadata of repositories of very many packages that are not there: what the audit reads.
//!
//! A package has as much in it as a distribution's: a description, provides and requires, of which
//! some name a path that only the file lists know, and a dozen files. Everything that is required
//! is provided by some package of the release, but for what [`Edition::Second`] adds.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use rayon::prelude::*;

use crate::digest::sha256;
use crate::failure::{Failure, Result};
use crate::noise::Rng;

/// The repositories, and how many packages of a hundred each has.
pub const REPOS: [(&str, usize); 4] =
    [("AppStream", 58), ("BaseOS", 18), ("CRB", 14), ("extras", 10)];
/// One package in so many is another in [`Edition::Second`].
const CHANGED: usize = 100;
/// One in so many of those requires what is not there.
const UNRESOLVED: usize = 50;
/// One in so many requires a path.
const PATHS: usize = 50;
const FILES: usize = 12;
/// 2025-09-01.
const TIME: usize = 1_756_684_800;

/// A release, or one after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edition {
    First,
    /// The same repositories, and another file beside them.
    Same,
    /// One package in a hundred is a higher version.
    Second,
}

impl Edition {
    /// Returns the name of its directory.
    pub fn name(self) -> &'static str {
        match self {
            Edition::First => "first",
            Edition::Same => "same",
            Edition::Second => "second",
        }
    }
}

/// Returns where a repository is below its release.
pub fn repo_dir(name: &str) -> PathBuf {
    Path::new(name).join("x86_64/os")
}

/// Returns how many packages differ between the first edition and the second.
pub fn changed(packages: usize) -> usize {
    packages.div_ceil(CHANGED)
}

/// Returns how many packages of the second edition require what is not there.
pub fn unresolved(packages: usize) -> usize {
    changed(packages).div_ceil(UNRESOLVED)
}

/// Writes a release of so many packages to a new directory.
pub fn write(dir: &Path, packages: usize, edition: Edition) -> Result<()> {
    let mut first = 0;
    let mut parts = Vec::new();
    for (index, (name, share)) in REPOS.into_iter().enumerate() {
        let last = index + 1 == REPOS.len();
        let end = if last { packages } else { first + packages * share / 100 };
        parts.push((name, first..end));
        first = end;
    }
    parts.into_par_iter().try_for_each(|(name, numbers)| {
        let dir = dir.join(repo_dir(name)).join("repodata");
        fs::create_dir_all(&dir).map_err(Failure::io("create", &dir))?;
        let mut repomd = String::from(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <repomd xmlns=\"http://linux.duke.edu/metadata/repo\" \
             xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n  <revision>9</revision>\n",
        );
        let count = numbers.len();
        for (kind, namespace) in [("primary", "common"), ("filelists", "filelists")] {
            let root = if kind == "primary" { "metadata" } else { kind };
            let mut xml = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                 <{root} xmlns=\"http://linux.duke.edu/metadata/{namespace}\" \
                 xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"{count}\">\n"
            );
            for number in numbers.clone() {
                let package = Package::new(number, packages, edition);
                match kind {
                    "primary" => package.primary(&mut xml),
                    _ => package.filelists(&mut xml),
                }
            }
            append(&mut xml, format_args!("</{root}>\n"));
            let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
            let packed = packed.write_all(xml.as_bytes()).and_then(|()| packed.finish());
            let packed = packed.map_err(Failure::io("compress", &dir))?;
            let checksum = sha256(&packed);
            let file = format!("{checksum}-{kind}.xml.gz");
            append(
                &mut repomd,
                format_args!(
                    "  <data type=\"{kind}\">\n    <checksum type=\"sha256\">{checksum}</checksum>\n\
                     \x20   <open-checksum type=\"sha256\">{}</open-checksum>\n\
                     \x20   <location href=\"repodata/{file}\"/>\n    <timestamp>{TIME}</timestamp>\n\
                     \x20   <size>{}</size>\n    <open-size>{}</open-size>\n  </data>\n",
                    sha256(xml.as_bytes()),
                    packed.len(),
                    xml.len(),
                ),
            );
            let path = dir.join(file);
            fs::write(&path, packed).map_err(Failure::io("write", &path))?;
        }
        repomd.push_str("</repomd>\n");
        let path = dir.join("repomd.xml");
        fs::write(&path, repomd).map_err(Failure::io("write", &path))
    })?;
    let path = dir.join("COMPOSE_ID");
    fs::write(&path, edition.name()).map_err(Failure::io("write", &path))
}

struct Package {
    number: usize,
    /// How many there are in all.
    all: usize,
    release: String,
    lacks: bool,
}

impl Package {
    fn new(number: usize, all: usize, edition: Edition) -> Self {
        let is_new = edition == Edition::Second && number.is_multiple_of(CHANGED);
        let release = if is_new { "2.el9" } else { "1.el9" }.to_owned();
        let lacks = is_new && (number / CHANGED).is_multiple_of(UNRESOLVED);
        Self { number, all, release, lacks }
    }

    fn name(number: usize) -> String {
        format!("package-{number:06}")
    }

    fn version(&self) -> String {
        format!("{}.{}.{}", self.number % 7, self.number % 23, self.number % 5)
    }

    fn pkgid(&self) -> String {
        sha256(format!("{}-{}", self.number, self.release).as_bytes())
    }

    /// A path that only the file lists have.
    fn document(number: usize) -> String {
        format!("/usr/share/doc/{}/README", Self::name(number))
    }

    fn primary(&self, xml: &mut String) {
        let Self { number, all, release, lacks } = self;
        let (name, version) = (Self::name(*number), self.version());
        // Three packages of one source, as many distributions have.
        let source = Self::name(number / 3 * 3);
        append(
            xml,
            format_args!(
                "<package type=\"rpm\"><name>{name}</name><arch>x86_64</arch>\
                 <version epoch=\"0\" ver=\"{version}\" rel=\"{release}\"/>\
                 <checksum type=\"sha256\" pkgid=\"YES\">{}</checksum><summary>{name}</summary>\
                 <description>",
                self.pkgid()
            ),
        );
        let mut rng = Rng::new(*number as u64);
        for _ in 0..60 {
            append(xml, format_args!("{:06x} ", rng.below(1 << 24)));
        }
        append(
            xml,
            format_args!(
                "</description><packager/><url>https://example.org/{name}</url>\
                 <time file=\"{TIME}\" build=\"{TIME}\"/>\
                 <size package=\"65536\" installed=\"200000\" archive=\"200000\"/>\
                 <location href=\"Packages/p/{name}-{version}-{release}.x86_64.rpm\"/><format>\
                 <rpm:license>MIT</rpm:license><rpm:vendor/><rpm:group>Unspecified</rpm:group>\
                 <rpm:buildhost/><rpm:sourcerpm>{source}-{version}-{release}.src.rpm</rpm:sourcerpm>\
                 <rpm:header-range start=\"4504\" end=\"8192\"/>\n<rpm:provides>\
                 <rpm:entry name=\"{name}\" flags=\"EQ\" epoch=\"0\" ver=\"{version}\" rel=\"{release}\"/>\
                 <rpm:entry name=\"{name}(x86-64)\" flags=\"EQ\" epoch=\"0\" ver=\"{version}\" \
                 rel=\"{release}\"/>"
            ),
        );
        for library in 0..4 {
            append(xml, format_args!("<rpm:entry name=\"lib{number}-{library}.so.1()(64bit)\"/>"));
        }
        if *number == 0 {
            xml.push_str("<rpm:entry name=\"rtld(GNU_HASH)\"/>");
        }
        xml.push_str("</rpm:provides><rpm:requires><rpm:entry name=\"rtld(GNU_HASH)\"/>");
        for _ in 0..4 + rng.below(16) {
            let (other, library) = (rng.below(*all), rng.below(4));
            append(xml, format_args!("<rpm:entry name=\"lib{other}-{library}.so.1()(64bit)\"/>"));
        }
        let other = rng.below(*all);
        append(
            xml,
            format_args!(
                "<rpm:entry name=\"{}\" flags=\"GE\" epoch=\"0\" ver=\"0\"/>\
                 <rpm:entry name=\"({} or no-such-package)\"/>",
                Self::name(other),
                Self::name(rng.below(*all))
            ),
        );
        if number.is_multiple_of(PATHS) {
            append(xml, format_args!("<rpm:entry name=\"{}\"/>", Self::document(other)));
        }
        if *lacks {
            xml.push_str("<rpm:entry name=\"libgone.so.1()(64bit)\"/>");
        }
        xml.push_str("</rpm:requires>");
        if *number == 0 {
            xml.push_str("<rpm:recommends><rpm:entry name=\"package-000001\"/></rpm:recommends>");
        }
        append(xml, format_args!("<file>/usr/bin/{name}</file></format></package>\n"));
    }

    fn filelists(&self, xml: &mut String) {
        let (name, version) = (Self::name(self.number), self.version());
        append(
            xml,
            format_args!(
                "<package pkgid=\"{}\" name=\"{name}\" arch=\"x86_64\">\
                 <version epoch=\"0\" ver=\"{version}\" rel=\"{}\"/><file>/usr/bin/{name}</file>\
                 <file>{}</file>",
                self.pkgid(),
                self.release,
                Self::document(self.number)
            ),
        );
        for file in 2..FILES {
            append(xml, format_args!("<file>/usr/lib64/{name}/part-{file}.so</file>"));
        }
        xml.push_str("</package>\n");
    }
}

fn append(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String cannot fail");
}
