//! `primary.xml`: what every client needs to know of each package.

use std::fmt;
use std::io::BufRead;
use std::str::FromStr;

use crate::checksum::Checksum;
use crate::error::{Error, Result};
use crate::href;
use crate::lists::{Keep, Packages};
use crate::vercmp::{Evr, Nevra};
use crate::xml::{Document, Tag, Token};

/// One package as `primary` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its full name.
    pub nevra: Nevra,
    /// The checksum of the RPM, which identifies the package in all metadata.
    pub pkgid: Checksum,
    /// One line about it.
    pub summary: String,
    /// Some paragraphs about it.
    pub description: String,
    /// Who packaged it.
    pub packager: String,
    /// Its home page.
    pub url: String,
    /// The modification time of the file, in seconds since 1970.
    pub file_time: i64,
    /// When it was built, in seconds since 1970.
    pub build_time: i64,
    /// The size of the RPM in bytes.
    pub package_size: u64,
    /// The size of its files once installed, in bytes.
    pub installed_size: u64,
    /// The size of its uncompressed payload in bytes.
    pub archive_size: u64,
    /// Where it is, relative to the repository's directory; see [`Package::path`].
    pub href: String,
    /// Another place that `href` is relative to, such as another medium.
    pub base: Option<String>,
    /// Its licence.
    pub license: String,
    /// Who distributes it.
    pub vendor: String,
    /// Its RPM group; of no use any more.
    pub group: String,
    /// The host that built it.
    pub build_host: String,
    /// The file name of its source package; empty for source packages.
    pub source_rpm: String,
    /// Where the RPM's main header starts in the file.
    pub header_start: u64,
    /// Where it ends.
    pub header_end: u64,
    /// What it has to do with other packages.
    pub relations: Relations,
    /// The files that most dependencies on files name.
    pub files: Vec<File>,
}

impl Package {
    /// Returns where the RPM is, relative to the root that `repo_dir` is relative to; `file` is
    /// for errors.
    ///
    /// # Errors
    ///
    /// What [`crate::resolve_href`] refuses, and packages with an `xml:base`: they are elsewhere.
    pub fn path(&self, file: &str, repo_dir: &str) -> Result<String> {
        let record = self.nevra.to_string();
        if let Some(base) = self.base.as_deref().filter(|base| !base.is_empty()) {
            let (file, href) = (file.to_owned(), base.to_owned());
            return Err(Error::Href { file, record, href, fault: crate::HrefFault::Scheme });
        }
        href::resolve_for(file, &record, repo_dir, &self.href)
    }
}

/// The dependencies of a package, in the order of its header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relations {
    /// What it is good for.
    pub provides: Vec<Dependency>,
    /// What it needs.
    pub requires: Vec<Dependency>,
    /// What it cannot be beside.
    pub conflicts: Vec<Dependency>,
    /// What it replaces.
    pub obsoletes: Vec<Dependency>,
    /// What it hints at.
    pub suggests: Vec<Dependency>,
    /// What hints at it, seen from here.
    pub enhances: Vec<Dependency>,
    /// What it wants.
    pub recommends: Vec<Dependency>,
    /// What wants it, seen from here.
    pub supplements: Vec<Dependency>,
}

impl Relations {
    /// Returns all lists with their element names, in the order that metadata has them.
    pub fn lists(&self) -> [(&'static str, &[Dependency]); 8] {
        [
            ("provides", &self.provides),
            ("requires", &self.requires),
            ("conflicts", &self.conflicts),
            ("obsoletes", &self.obsoletes),
            ("suggests", &self.suggests),
            ("enhances", &self.enhances),
            ("recommends", &self.recommends),
            ("supplements", &self.supplements),
        ]
    }

    fn list_mut(&mut self, name: &str) -> Option<&mut Vec<Dependency>> {
        Some(match name {
            "provides" => &mut self.provides,
            "requires" => &mut self.requires,
            "conflicts" => &mut self.conflicts,
            "obsoletes" => &mut self.obsoletes,
            "suggests" => &mut self.suggests,
            "enhances" => &mut self.enhances,
            "recommends" => &mut self.recommends,
            "supplements" => &mut self.supplements,
            _ => return None,
        })
    }
}

/// One dependency.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dependency {
    /// A name, a path, or a rich expression in parentheses.
    pub name: String,
    /// How versions must compare; none if any version will do.
    pub compare: Option<Compare>,
    /// The epoch, as written: a missing one is not the same as 0 to every tool.
    pub epoch: Option<String>,
    /// The version, if one is named.
    pub version: Option<String>,
    /// The release, if one is named.
    pub release: Option<String>,
    /// Whether it is needed already while installing.
    pub pre: bool,
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        let (Some(compare), Some(version)) = (self.compare, &self.version) else { return Ok(()) };
        write!(f, " {} ", compare.sign())?;
        if let Some(epoch) = self.epoch.as_deref().filter(|epoch| *epoch != "0") {
            write!(f, "{epoch}:")?;
        }
        f.write_str(version)?;
        match &self.release {
            Some(release) => write!(f, "-{release}"),
            None => Ok(()),
        }
    }
}

/// How versions must compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Equal.
    Eq,
    /// Greater or equal.
    Ge,
    /// Greater.
    Gt,
}

impl Compare {
    /// Returns the comparison that metadata calls `name`.
    pub fn parse(name: &str) -> Option<Compare> {
        Some(match name {
            "LT" => Compare::Lt,
            "LE" => Compare::Le,
            "EQ" => Compare::Eq,
            "GE" => Compare::Ge,
            "GT" => Compare::Gt,
            _ => return None,
        })
    }

    /// Returns the name that metadata uses.
    pub fn name(self) -> &'static str {
        match self {
            Compare::Lt => "LT",
            Compare::Le => "LE",
            Compare::Eq => "EQ",
            Compare::Ge => "GE",
            Compare::Gt => "GT",
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Compare::Lt => "<",
            Compare::Le => "<=",
            Compare::Eq => "=",
            Compare::Ge => ">=",
            Compare::Gt => ">",
        }
    }
}

/// A file or directory of a package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct File {
    /// Its absolute path.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
}

/// What a path of a package is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum FileKind {
    /// A file or symlink.
    #[default]
    File,
    /// A directory.
    Dir,
    /// Owned by the package, not contained in it.
    Ghost,
}

impl FileKind {
    pub(crate) fn parse(name: &str) -> Option<FileKind> {
        Some(match name {
            "file" | "" => FileKind::File,
            "dir" => FileKind::Dir,
            "ghost" => FileKind::Ghost,
            _ => return None,
        })
    }
}

/// Reads a decompressed `primary.xml` and passes each package to `visit`; returns how many there
/// were. `file` is for errors.
///
/// One package is in memory at a time.
///
/// # Errors
///
/// What `visit` returns; anything malformed; weak checksums; hostile locations; two packages with
/// one id; a number of packages other than declared.
pub fn read<E: From<Error>>(
    file: &str,
    reader: impl BufRead,
    visit: &mut impl FnMut(Package) -> Result<(), E>,
) -> Result<u64, E> {
    let mut document = Document::new(file, reader);
    let mut packages = Packages::open(&mut document, "metadata", Keep::No)?;
    while packages.next(&mut document)? {
        let package = read_package(&mut document)?;
        packages.seen(document.file(), &package.pkgid)?;
        visit(package)?;
    }
    Ok(packages.close(&mut document)?)
}

/// Where a package is, and what tells without reading it whether it is still the same file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The checksum of the RPM.
    pub pkgid: Checksum,
    /// Where it is, relative to the repository's directory.
    pub href: String,
    /// Another place that `href` is relative to.
    pub base: Option<String>,
    /// The size of the RPM in bytes.
    pub size: u64,
    /// The modification time of the file, in seconds since 1970.
    pub file_time: i64,
}

/// Reads the location of the package whose start tag was just read, and where in the kept bytes
/// its element is, if they are kept.
pub(crate) fn read_location<R: BufRead>(
    document: &mut Document<R>,
) -> Result<(Location, std::ops::Range<usize>)> {
    let file = document.file().to_owned();
    let (mut name, mut pkgid, mut size, mut file_time) = (String::new(), None, 0, 0);
    let (mut href, mut base, mut range) = (None, None, 0..0);
    loop {
        match document.next()? {
            Token::Start(tag) => match tag.name() {
                "name" => name = document.text()?,
                "checksum" => {
                    let kind = tag.attribute("type")?.unwrap_or_default();
                    let value = document.text()?;
                    pkgid = Some(Checksum::parse(&file, &name, &kind, &value)?);
                }
                "size" => {
                    number(&file, &name, &tag, "package", &mut size)?;
                    document.skip()?;
                }
                "time" => {
                    number(&file, &name, &tag, "file", &mut file_time)?;
                    document.skip()?;
                }
                "location" => {
                    let attributes = tag.attributes()?;
                    href = attributes.get("href").map(str::to_owned);
                    base = attributes.get("base").map(str::to_owned);
                    range = document.last_range();
                    document.skip()?;
                    // `<location …></location>`
                    range.end = document.kept_len();
                }
                _ => document.skip()?,
            },
            Token::Text(_) => {}
            Token::End | Token::Eof => break,
        }
    }
    let missing = |what: &str| Error::record(&file, &*name, format!("no {what}"));
    let href = href.ok_or_else(|| missing("location"))?;
    href::check_for(&file, &name, &href)?;
    let pkgid = pkgid.ok_or_else(|| missing("checksum"))?;
    Ok((Location { pkgid, href, base, size, file_time }, range))
}

/// A package while its elements come in, in any order.
#[derive(Default)]
struct Parts {
    nevra: Nevra,
    version_seen: bool,
    pkgid: Option<Checksum>,
    summary: String,
    description: String,
    packager: String,
    url: String,
    file_time: i64,
    build_time: i64,
    package_size: u64,
    installed_size: u64,
    archive_size: u64,
    href: Option<String>,
    base: Option<String>,
    license: String,
    vendor: String,
    group: String,
    build_host: String,
    source_rpm: String,
    header_start: u64,
    header_end: u64,
    relations: Relations,
    files: Vec<File>,
}

fn read_package<R: BufRead>(document: &mut Document<R>) -> Result<Package> {
    let file = document.file().to_owned();
    let mut parts = Parts::default();
    loop {
        match document.next()? {
            Token::Start(tag) => match tag.name() {
                "name" => parts.nevra.name = document.text()?,
                "arch" => parts.nevra.arch = document.text()?,
                "version" => {
                    parts.nevra.evr = read_evr(&file, &parts.nevra.name, &tag)?;
                    parts.version_seen = true;
                    document.skip()?;
                }
                "checksum" => {
                    let kind = tag.attribute("type")?.unwrap_or_default();
                    let value = document.text()?;
                    let record = parts.nevra.to_string();
                    parts.pkgid = Some(Checksum::parse(&file, &record, &kind, &value)?);
                }
                "summary" => parts.summary = document.text()?,
                "description" => parts.description = document.text()?,
                "packager" => parts.packager = document.text()?,
                "url" => parts.url = document.text()?,
                "time" => {
                    let record = &parts.nevra.name;
                    number(&file, record, &tag, "file", &mut parts.file_time)?;
                    number(&file, record, &tag, "build", &mut parts.build_time)?;
                    document.skip()?;
                }
                "size" => {
                    let record = &parts.nevra.name;
                    number(&file, record, &tag, "package", &mut parts.package_size)?;
                    number(&file, record, &tag, "installed", &mut parts.installed_size)?;
                    number(&file, record, &tag, "archive", &mut parts.archive_size)?;
                    document.skip()?;
                }
                "location" => {
                    let attributes = tag.attributes()?;
                    parts.href = Some(attributes.get("href").unwrap_or_default().to_owned());
                    parts.base = attributes.get("base").map(str::to_owned);
                    document.skip()?;
                }
                "format" => read_format(document, &mut parts)?,
                _ => document.skip()?,
            },
            Token::Text(_) => {}
            Token::End | Token::Eof => return parts.finish(&file),
        }
    }
}

impl Parts {
    fn finish(self, file: &str) -> Result<Package> {
        let record = self.nevra.to_string();
        let missing = |what: &str| Error::record(file, &*record, format!("no {what}"));
        if self.nevra.name.is_empty() {
            return Err(Error::record(file, "a package", "no name"));
        }
        if self.nevra.arch.is_empty() {
            return Err(missing("arch"));
        }
        if !self.version_seen || self.nevra.evr.version.is_empty() {
            return Err(missing("version"));
        }
        let href = self.href.ok_or_else(|| missing("location"))?;
        href::check_for(file, &record, &href)?;
        Ok(Package {
            pkgid: self.pkgid.ok_or_else(|| missing("checksum"))?,
            nevra: self.nevra,
            summary: self.summary,
            description: self.description,
            packager: self.packager,
            url: self.url,
            file_time: self.file_time,
            build_time: self.build_time,
            package_size: self.package_size,
            installed_size: self.installed_size,
            archive_size: self.archive_size,
            href,
            base: self.base,
            license: self.license,
            vendor: self.vendor,
            group: self.group,
            build_host: self.build_host,
            source_rpm: self.source_rpm,
            header_start: self.header_start,
            header_end: self.header_end,
            relations: self.relations,
            files: self.files,
        })
    }
}

fn read_format<R: BufRead>(document: &mut Document<R>, parts: &mut Parts) -> Result<()> {
    let file = document.file().to_owned();
    loop {
        match document.next()? {
            Token::Start(tag) => match tag.name() {
                "license" => parts.license = document.text()?,
                "vendor" => parts.vendor = document.text()?,
                "group" => parts.group = document.text()?,
                "buildhost" => parts.build_host = document.text()?,
                "sourcerpm" => parts.source_rpm = document.text()?,
                "header-range" => {
                    let record = &parts.nevra.name;
                    number(&file, record, &tag, "start", &mut parts.header_start)?;
                    number(&file, record, &tag, "end", &mut parts.header_end)?;
                    document.skip()?;
                }
                "file" => {
                    let file = read_file(document, &parts.nevra.name)?;
                    parts.files.push(file);
                }
                name => match parts.relations.list_mut(name) {
                    Some(list) => read_dependencies(document, &parts.nevra.name, list)?,
                    None => document.skip()?,
                },
            },
            Token::Text(_) => {}
            Token::End | Token::Eof => return Ok(()),
        }
    }
}

fn read_dependencies<R: BufRead>(
    document: &mut Document<R>,
    record: &str,
    list: &mut Vec<Dependency>,
) -> Result<()> {
    loop {
        let (mut dependency, mut flags) = (Dependency::default(), None);
        match document.next()? {
            Token::Start(tag) => tag.each(|name, value| {
                let text = || Some(value.to_string()).filter(|text| !text.is_empty());
                match name {
                    "name" => dependency.name = value.to_string(),
                    "flags" => flags = text(),
                    "epoch" => dependency.epoch = text(),
                    "ver" => dependency.version = text(),
                    "rel" => dependency.release = text(),
                    "pre" => dependency.pre = value == "1",
                    _ => {}
                }
            })?,
            Token::Text(_) => continue,
            Token::End | Token::Eof => return Ok(()),
        }
        if let Some(flags) = flags {
            let compare = Compare::parse(&flags).ok_or_else(|| {
                let reason = format!("dependency {}: unknown flags {flags:?}", dependency.name);
                Error::record(document.file(), record, reason)
            })?;
            dependency.compare = Some(compare);
        }
        if dependency.name.is_empty() {
            return Err(Error::record(document.file(), record, "a dependency has no name"));
        }
        list.push(dependency);
        document.skip()?;
    }
}

/// Reads a `<file>` whose start tag was just read.
pub(crate) fn read_file<R: BufRead>(document: &mut Document<R>, record: &str) -> Result<File> {
    let kind = document.last_attribute("type")?;
    let path = document.text()?;
    let kind = FileKind::parse(kind.as_deref().unwrap_or_default()).ok_or_else(|| {
        let reason = format!("file {path}: unknown type {:?}", kind.unwrap_or_default());
        Error::record(document.file(), record, reason)
    })?;
    Ok(File { path, kind })
}

pub(crate) fn read_evr(file: &str, record: &str, tag: &Tag<'_>) -> Result<Evr> {
    let (mut evr, mut epoch) = (Evr::default(), String::new());
    tag.each(|name, value| match name {
        "epoch" => epoch = value.into_owned(),
        "ver" => evr.version = value.into_owned(),
        "rel" => evr.release = value.into_owned(),
        _ => {}
    })?;
    if !epoch.is_empty() {
        let wrong = |_| Error::record(file, record, format!("epoch {epoch:?} is not a number"));
        evr.epoch = epoch.parse().map_err(wrong)?;
    }
    Ok(evr)
}

/// Sets `into` to the number in an attribute, if there is one.
pub(crate) fn number<T: FromStr>(
    file: &str,
    record: &str,
    tag: &Tag<'_>,
    name: &str,
    into: &mut T,
) -> Result<()> {
    let Some(text) = tag.attribute(name)? else { return Ok(()) };
    if !text.is_empty() {
        let wrong = |_| Error::record(file, record, format!("{name} {text:?} is not a number"));
        *into = text.trim().parse().map_err(wrong)?;
    }
    Ok(())
}
