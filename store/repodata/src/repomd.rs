//! `repomd.xml`: the list of a repository's metadata files, with their sizes and checksums.

use std::fmt::Write as _;
use std::io::BufRead;

use crate::checksum::Checksum;
use crate::codec;
use crate::error::{Error, Result};
use crate::href;
use crate::limits::MAX_REPOMD_RECORDS;
use crate::xml::{self, Attributes, Document, Token};

/// A whole `repomd.xml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repomd {
    /// What clients compare to see whether anything is new; usually a time or a release.
    pub revision: Option<String>,
    /// What the repository says about itself.
    pub tags: Tags,
    /// The metadata files in the order they are listed. Types are unique.
    pub records: Vec<Record>,
}

/// What a repository says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags {
    /// Kinds of content, such as `binary-x86_64`.
    pub content: Vec<String>,
    /// Labels for the repository.
    pub repo: Vec<String>,
    /// The distributions that it belongs to.
    pub distro: Vec<DistroTag>,
}

/// A distribution that a repository belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DistroTag {
    /// The CPE name, such as `cpe:/o:rocky:rocky:9`.
    pub cpeid: Option<String>,
    /// The name for people.
    pub name: String,
}

impl DistroTag {
    /// Parses `cpe:/o:rocky:rocky:9,Rocky Linux 9`, as operators write it; the CPE is optional.
    pub fn parse(text: &str) -> DistroTag {
        match text.split_once(',') {
            Some((cpeid, name)) if cpeid.starts_with("cpe:") => {
                DistroTag { cpeid: Some(cpeid.to_owned()), name: name.to_owned() }
            }
            _ => DistroTag { cpeid: None, name: text.to_owned() },
        }
    }
}

/// One metadata file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its type: `primary`, `group`, `modules`, or any other.
    pub kind: String,
    /// Where it is, relative to the repository's directory.
    pub href: String,
    /// Another place that `href` is relative to; only remote repositories use it.
    pub base: Option<String>,
    /// The checksum of the file.
    pub checksum: Checksum,
    /// The checksum of its decompressed content.
    pub open_checksum: Option<Checksum>,
    /// The checksum of its zchunk header.
    pub header_checksum: Option<Checksum>,
    /// When it was made, in seconds since 1970.
    pub timestamp: Option<i64>,
    /// Its size in bytes. Old tools leave it out.
    pub size: Option<u64>,
    /// The size of its decompressed content in bytes.
    pub open_size: Option<u64>,
    /// The size of its zchunk header in bytes.
    pub header_size: Option<u64>,
    /// The schema of a database file.
    pub database_version: Option<u32>,
}

impl Record {
    /// Makes the record of a file from its bytes and, if they are compressed, their plain form.
    pub fn describe(kind: &str, href: &str, bytes: &[u8], open: Option<&[u8]>) -> Record {
        Record {
            kind: kind.to_owned(),
            href: href.to_owned(),
            base: None,
            checksum: Checksum::sha256(bytes),
            open_checksum: open.map(Checksum::sha256),
            header_checksum: None,
            timestamp: None,
            size: Some(bytes.len() as u64),
            open_size: open.map(|open| open.len() as u64),
            header_size: None,
            database_version: None,
        }
    }

    /// Returns where the file is, relative to the root that `repo_dir` is relative to.
    ///
    /// # Errors
    ///
    /// What [`crate::resolve_href`] refuses, files outside `repo_dir`, and records with an
    /// `xml:base`: they are elsewhere.
    pub fn path(&self, file: &str, repo_dir: &str) -> Result<String> {
        let refuse = |href: &str, fault| {
            let (file, record, href) = (file.to_owned(), self.kind.clone(), href.to_owned());
            Err(Error::Href { file, record, href, fault })
        };
        if let Some(base) = self.base.as_deref().filter(|base| !base.is_empty()) {
            return refuse(base, crate::HrefFault::Scheme);
        }
        // Unlike packages, metadata belongs to the directory that describes it.
        let inside = href::resolve_for(file, &self.kind, "", &self.href);
        match inside {
            Err(Error::Href { fault: crate::HrefFault::Escapes, .. }) => {
                refuse(&self.href, crate::HrefFault::OutsideRepo)
            }
            Err(error) => Err(error),
            Ok(_) => href::resolve_for(file, &self.kind, repo_dir, &self.href),
        }
    }

    /// Checks that `bytes` are the file: its size and checksum.
    ///
    /// # Errors
    ///
    /// [`Error::SizeMismatch`] and [`Error::ChecksumMismatch`].
    pub fn verify(&self, bytes: &[u8]) -> Result<()> {
        compare_size(&self.href, &self.kind, self.size, bytes.len() as u64)?;
        self.checksum.verify(&self.href, &self.kind, bytes)
    }

    /// Checks that `bytes` are the file, and returns its decompressed content, checked as well.
    ///
    /// # Errors
    ///
    /// Those of [`Record::verify`] and [`codec::decompress`]; the declared open size is a limit.
    pub fn open(&self, bytes: &[u8], limits: codec::Limits) -> Result<Vec<u8>> {
        self.verify(bytes)?;
        let limits = self.open_size.map_or(limits, |size| limits.at_most(size));
        let plain = codec::decompress(&self.href, bytes, limits)?;
        compare_size(&self.href, &self.kind, self.open_size, plain.len() as u64)?;
        if let Some(checksum) = &self.open_checksum {
            checksum.verify(&self.href, &self.kind, &plain)?;
        }
        Ok(plain)
    }
}

fn compare_size(file: &str, record: &str, expected: Option<u64>, found: u64) -> Result<()> {
    match expected {
        Some(expected) if expected != found => {
            let (file, record) = (file.to_owned(), record.to_owned());
            Err(Error::SizeMismatch { file, record, expected, found })
        }
        _ => Ok(()),
    }
}

impl Repomd {
    /// Returns the record of a type.
    pub fn record(&self, kind: &str) -> Option<&Record> {
        self.records.iter().find(|record| record.kind == kind)
    }

    /// Returns the newest time of any record.
    pub fn newest(&self) -> Option<i64> {
        self.records.iter().filter_map(|record| record.timestamp).max()
    }
}

/// Returns the type that a record is another form of, or the type itself: `group` for `group_gz`,
/// `primary` for `primary_db` and `primary_zck`.
///
/// Whoever replaces the content of a type replaces or leaves out all its forms.
///
/// ```
/// use cairn_repodata::repomd::content_of;
/// assert_eq!(content_of("primary_db"), "primary");
/// assert_eq!(content_of("updateinfo_zck"), "updateinfo");
/// assert_eq!(content_of("custom_thing"), "custom_thing");
/// ```
pub fn content_of(kind: &str) -> &str {
    // Databases of yum, zchunk for delta downloads, and compressions beside a plain file.
    const FORMS: [&str; 6] = ["_db", "_zck", "_gz", "_xz", "_zst", "_bz2"];
    let mut content = kind;
    while let Some(shorter) = FORMS.iter().find_map(|form| content.strip_suffix(form)) {
        content = shorter;
    }
    content
}

/// Returns whether a record describes the packages of its repository, one by one.
///
/// Such a record is out of date as soon as the package set changes: new metadata must not carry
/// it over, unlike any other record that is not known. These are the three lists that every
/// repository has, their other forms (`primary_db`, `filelists_zck`), the lists that some tools
/// add (`filelists-ext`, SUSE's `susedata`), and the deltas between packages (`prestodelta`).
///
/// ```
/// use cairn_repodata::repomd::describes_packages;
/// assert!(describes_packages("primary_zck") && describes_packages("filelists-ext_db"));
/// assert!(!describes_packages("updateinfo") && !describes_packages("productid"));
/// ```
pub fn describes_packages(kind: &str) -> bool {
    let content = content_of(kind);
    // One list a language: `susedata.de`.
    let list = content.split_once('.').map_or(content, |(list, _)| list);
    matches!(
        list,
        "primary"
            | "filelists"
            | "other"
            | "filelists-ext"
            | "filelists_ext"
            | "prestodelta"
            | "deltainfo"
            | "susedata"
    )
}

/// Reads a `repomd.xml`; `file` is for errors.
///
/// # Errors
///
/// Anything malformed; hostile locations; weak checksums; two records of one type.
pub fn read(file: &str, reader: impl BufRead) -> Result<Repomd> {
    let mut document = Document::new(file, reader);
    document.root("repomd")?;
    let mut repomd = Repomd::default();
    loop {
        match document.next()? {
            Token::Start(tag) => match tag.name() {
                "revision" => {
                    let revision = document.text()?;
                    repomd.revision = Some(revision).filter(|text| !text.is_empty());
                }
                "tags" => repomd.tags = read_tags(&mut document)?,
                "data" => {
                    let kind = tag.attribute("type")?.unwrap_or_default();
                    let record = read_record(&mut document, kind)?;
                    if repomd.record(&record.kind).is_some() {
                        let (file, record) = (file.to_owned(), record.kind);
                        return Err(Error::DuplicateRecord { file, record });
                    }
                    repomd.records.push(record);
                    if repomd.records.len() > MAX_REPOMD_RECORDS {
                        let (part, limit) = ("the number of records", MAX_REPOMD_RECORDS);
                        let (file, offset) = (file.to_owned(), document.offset());
                        return Err(Error::Long { file, offset, part, limit });
                    }
                }
                _ => document.skip()?,
            },
            Token::Text(_) => {}
            Token::End | Token::Eof => break,
        }
    }
    document.finish()?;
    Ok(repomd)
}

fn read_tags<R: BufRead>(document: &mut Document<R>) -> Result<Tags> {
    let mut tags = Tags::default();
    loop {
        match document.next()? {
            Token::Start(tag) => match tag.name() {
                "content" => tags.content.push(document.text()?),
                "repo" => tags.repo.push(document.text()?),
                "distro" => {
                    let cpeid = tag.attribute("cpeid")?;
                    tags.distro.push(DistroTag { cpeid, name: document.text()? });
                }
                _ => document.skip()?,
            },
            Token::Text(_) => {}
            Token::End | Token::Eof => return Ok(tags),
        }
    }
}

/// The parts of a record while they come in.
#[derive(Default)]
struct Parts {
    location: Option<Attributes>,
    checksum: Option<Checksum>,
    open_checksum: Option<Checksum>,
    header_checksum: Option<Checksum>,
    timestamp: Option<i64>,
    size: Option<u64>,
    open_size: Option<u64>,
    header_size: Option<u64>,
    database_version: Option<u32>,
}

fn read_record<R: BufRead>(document: &mut Document<R>, kind: String) -> Result<Record> {
    let file = document.file().to_owned();
    if kind.is_empty() {
        return Err(Error::record(&file, "data", "no type"));
    }
    let mut parts = Parts::default();
    loop {
        match document.next()? {
            Token::Start(tag) => match tag.name() {
                "location" => {
                    parts.location = Some(tag.attributes()?);
                    document.skip()?;
                }
                "checksum" => {
                    let name = tag.attribute("type")?;
                    parts.checksum = read_checksum(document, &kind, name)?;
                }
                "open-checksum" => {
                    let name = tag.attribute("type")?;
                    parts.open_checksum = read_checksum(document, &kind, name)?;
                }
                "header-checksum" => {
                    let name = tag.attribute("type")?;
                    parts.header_checksum = read_checksum(document, &kind, name)?;
                }
                "timestamp" => parts.timestamp = read_time(document, &kind)?,
                "size" => parts.size = read_number(document, &kind, "size")?,
                "open-size" => parts.open_size = read_number(document, &kind, "open-size")?,
                "header-size" => parts.header_size = read_number(document, &kind, "header-size")?,
                "database_version" => {
                    parts.database_version = read_number(document, &kind, "database_version")?;
                }
                _ => document.skip()?,
            },
            Token::Text(_) => {}
            Token::End | Token::Eof => break,
        }
    }
    let missing = |what: &str| Error::record(&file, &*kind, format!("no {what}"));
    let location = parts.location.ok_or_else(|| missing("location"))?;
    let href = location.get("href").unwrap_or_default().to_owned();
    href::check_for(&file, &kind, &href)?;
    Ok(Record {
        href,
        base: location.get("base").map(str::to_owned),
        checksum: parts.checksum.ok_or_else(|| missing("checksum"))?,
        open_checksum: parts.open_checksum,
        header_checksum: parts.header_checksum,
        timestamp: parts.timestamp,
        size: parts.size,
        open_size: parts.open_size,
        header_size: parts.header_size,
        database_version: parts.database_version,
        kind,
    })
}

fn read_checksum<R: BufRead>(
    document: &mut Document<R>,
    record: &str,
    kind: Option<String>,
) -> Result<Option<Checksum>> {
    let value = document.text()?;
    let kind = kind.unwrap_or_default();
    if value.trim().is_empty() {
        return Ok(None);
    }
    Checksum::parse(document.file(), record, &kind, &value).map(Some)
}

/// Reads a number. An empty element is a number that is not known: createrepo_c writes
/// `<open-size></open-size>` for records that it was given uncompressed.
fn read_number<T: std::str::FromStr, R: BufRead>(
    document: &mut Document<R>,
    record: &str,
    field: &str,
) -> Result<Option<T>> {
    let text = document.text()?;
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Error::record(document.file(), record, format!("{field} {text:?} is not a number"))
    })
}

/// Reads a time in seconds; some tools write fractions, which are dropped.
fn read_time<R: BufRead>(document: &mut Document<R>, record: &str) -> Result<Option<i64>> {
    let text = document.text()?;
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.parse().ok().filter(|_| fraction.bytes().all(|b| b.is_ascii_digit()));
    whole.map(Some).ok_or_else(|| {
        Error::record(document.file(), record, format!("timestamp {text:?} is not a number"))
    })
}

/// Returns the bytes of a `repomd.xml`.
pub fn write(repomd: &Repomd) -> Vec<u8> {
    let mut out = String::with_capacity(4096);
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out.push_str("<repomd xmlns=\"http://linux.duke.edu/metadata/repo\" ");
    out.push_str("xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n");
    if let Some(revision) = &repomd.revision {
        line(&mut out, 1, |out| xml::element(out, "revision", revision));
    }
    write_tags(&mut out, &repomd.tags);
    for record in &repomd.records {
        write_record(&mut out, record);
    }
    out.push_str("</repomd>\n");
    out.into_bytes()
}

fn line(out: &mut String, indent: usize, write: impl FnOnce(&mut String)) {
    out.extend(std::iter::repeat_n("  ", indent));
    write(out);
    out.push('\n');
}

fn write_tags(out: &mut String, tags: &Tags) {
    if *tags == Tags::default() {
        return;
    }
    line(out, 1, |out| out.push_str("<tags>"));
    for text in &tags.content {
        line(out, 2, |out| xml::element(out, "content", text));
    }
    for text in &tags.repo {
        line(out, 2, |out| xml::element(out, "repo", text));
    }
    for distro in &tags.distro {
        line(out, 2, |out| {
            out.push_str("<distro");
            if let Some(cpeid) = &distro.cpeid {
                xml::attribute(out, "cpeid", cpeid);
            }
            out.push('>');
            xml::escape_text(out, &distro.name);
            out.push_str("</distro>");
        });
    }
    line(out, 1, |out| out.push_str("</tags>"));
}

fn write_record(out: &mut String, record: &Record) {
    line(out, 1, |out| {
        out.push_str("<data");
        xml::attribute(out, "type", &record.kind);
        out.push('>');
    });
    for (name, checksum) in [
        ("checksum", Some(&record.checksum)),
        ("open-checksum", record.open_checksum.as_ref()),
        ("header-checksum", record.header_checksum.as_ref()),
    ] {
        if let Some(checksum) = checksum {
            let (kind, hex) = (checksum.kind(), checksum.hex());
            line(out, 2, |out| {
                let _ = write!(out, "<{name} type=\"{kind}\">{hex}</{name}>");
            });
        }
    }
    line(out, 2, |out| {
        out.push_str("<location");
        if let Some(base) = &record.base {
            xml::attribute(out, "xml:base", base);
        }
        xml::attribute(out, "href", &record.href);
        out.push_str("/>");
    });
    for (name, number) in [
        ("timestamp", record.timestamp.map(|n| n.to_string())),
        ("size", record.size.map(|n| n.to_string())),
        ("open-size", record.open_size.map(|n| n.to_string())),
        ("header-size", record.header_size.map(|n| n.to_string())),
        ("database_version", record.database_version.map(|n| n.to_string())),
    ] {
        if let Some(number) = number {
            line(out, 2, |out| xml::element(out, name, &number));
        }
    }
    line(out, 1, |out| out.push_str("</data>"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_forms_of_the_package_lists_describe_packages_and_nothing_else_does() {
        for (kind, content, describes) in [
            ("primary", "primary", true),
            ("primary_db", "primary", true),
            ("filelists_zck", "filelists", true),
            ("other_db_zck", "other", true),
            ("filelists-ext", "filelists-ext", true),
            ("filelists-ext_zck", "filelists-ext", true),
            ("filelists_ext", "filelists_ext", true),
            ("prestodelta", "prestodelta", true),
            ("deltainfo", "deltainfo", true),
            ("susedata.de", "susedata.de", true),
            ("group", "group", false),
            ("group_gz", "group", false),
            ("group_xz_zck", "group", false),
            ("updateinfo_zck", "updateinfo", false),
            ("modules", "modules", false),
            ("productid", "productid", false),
            ("custom_db", "custom", false),
            ("primary2", "primary2", false),
            ("otherthing", "otherthing", false),
            ("", "", false),
            ("_db", "", false),
        ] {
            assert_eq!(content_of(kind), content, "{kind}");
            assert_eq!(describes_packages(kind), describes, "{kind}");
        }
    }
}
