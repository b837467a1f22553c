//! `updateinfo.xml`: advisories, and how those of several sources become one list.

use std::collections::BTreeMap;
use std::io::BufRead;

use crate::error::{Error, Result};
use crate::vercmp::{Evr, Nevra};
use crate::xml::{Document, Token};

/// One advisory: what decides about it, and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advisory {
    /// Its id, such as `RLSA-2024:0001`.
    pub id: String,
    /// `security`, `bugfix`, `enhancement` or `newpackage`, as written.
    pub kind: String,
    /// Its severity; empty if it has none.
    pub severity: String,
    /// Its headline.
    pub title: String,
    /// When it was issued, as written.
    pub issued: String,
    /// When it was last changed, as written; empty if never.
    pub updated: String,
    /// The packages that fix it.
    pub packages: Vec<AdvisoryPackage>,
    /// The whole element, byte for byte.
    pub bytes: Vec<u8>,
}

/// A package that fixes an advisory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvisoryPackage {
    /// Its full name.
    pub nevra: Nevra,
    /// The RPM's file name, as written.
    pub filename: String,
}

impl Advisory {
    /// Returns when the advisory was last touched as `YYYYMMDDhhmmss`, of whatever precision was
    /// written; empty if no date was.
    ///
    /// Dates are written in many ways: `2024-01-31 10:00:00`, `2024-01-31T10:00:00Z`, seconds
    /// since 1970.
    pub fn changed(&self) -> String {
        date_key(&self.updated).max(date_key(&self.issued))
    }

    /// Returns the packages that `is_present` does not know. An advisory with none left describes
    /// updates that this repository does not have.
    pub fn absent(&self, is_present: impl Fn(&Nevra) -> bool) -> Vec<&Nevra> {
        self.packages.iter().map(|package| &package.nevra).filter(|n| !is_present(n)).collect()
    }
}

/// Reads a decompressed `updateinfo.xml`; `file` is for errors.
///
/// # Errors
///
/// Anything malformed; advisories without an id; two with one id; elements that cannot be copied.
pub fn read(file: &str, reader: impl BufRead) -> Result<Vec<Advisory>> {
    let mut document = Document::new(file, reader);
    let root = document.root("updates")?;
    if root.0.iter().any(|(name, _)| name.starts_with("xmlns:")) {
        return Err(Error::record(file, "updates", "its XML has namespace prefixes"));
    }
    let mut advisories: BTreeMap<String, usize> = BTreeMap::new();
    let mut list = Vec::new();
    loop {
        match document.next()? {
            Token::Start(tag) if tag.name() == "update" => {
                let kind = tag.attribute("type")?.unwrap_or_default();
                document.keep(&[])?;
                let advisory = read_advisory(&mut document, kind)?;
                if advisories.insert(advisory.id.clone(), list.len()).is_some() {
                    return Err(Error::record(file, advisory.id, "two advisories have this id"));
                }
                list.push(advisory);
            }
            Token::Start(_) => document.skip()?,
            Token::Text(_) => {}
            Token::End | Token::Eof => break,
        }
    }
    document.finish()?;
    Ok(list)
}

/// Returns the bytes of an `updateinfo.xml`.
pub fn write(advisories: &[Advisory]) -> Vec<u8> {
    let mut out = b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<updates>\n".to_vec();
    for advisory in advisories {
        out.extend_from_slice(b"  ");
        out.extend_from_slice(&advisory.bytes);
        out.push(b'\n');
    }
    out.extend_from_slice(b"</updates>\n");
    out
}

/// Merges lists by id, sorted by it. Of two with one id the one that was changed last wins; if
/// they are equally old, the one of the later list.
pub fn merge(lists: impl IntoIterator<Item = Vec<Advisory>>) -> Vec<Advisory> {
    let mut merged: BTreeMap<String, Advisory> = BTreeMap::new();
    for advisory in lists.into_iter().flatten() {
        let newer = merged.get(&advisory.id).is_none_or(|old| old.changed() <= advisory.changed());
        if newer {
            merged.insert(advisory.id.clone(), advisory);
        }
    }
    merged.into_values().collect()
}

fn read_advisory<R: BufRead>(document: &mut Document<R>, kind: String) -> Result<Advisory> {
    let mut advisory = Advisory {
        id: String::new(),
        kind,
        severity: String::new(),
        title: String::new(),
        issued: String::new(),
        updated: String::new(),
        packages: Vec::new(),
        bytes: Vec::new(),
    };
    loop {
        match document.next()? {
            Token::Start(tag) => match tag.name() {
                "id" => advisory.id = document.text()?.trim().to_owned(),
                "severity" => advisory.severity = document.text()?,
                "title" => advisory.title = document.text()?,
                "issued" => {
                    advisory.issued = tag.attribute("date")?.unwrap_or_default();
                    document.skip()?;
                }
                "updated" => {
                    advisory.updated = tag.attribute("date")?.unwrap_or_default();
                    document.skip()?;
                }
                "pkglist" => read_pkglist(document, &mut advisory)?,
                _ => document.skip()?,
            },
            Token::Text(_) => {}
            Token::End | Token::Eof => break,
        }
    }
    advisory.bytes = document.kept().to_vec();
    if advisory.id.is_empty() {
        return Err(Error::record(document.file(), "an advisory", "no id"));
    }
    Ok(advisory)
}

/// Reads packages at whatever depth: lists have collections, collections have packages.
fn read_pkglist<R: BufRead>(document: &mut Document<R>, advisory: &mut Advisory) -> Result<()> {
    let mut depth = 1;
    while depth > 0 {
        match document.next()? {
            Token::Start(tag) if tag.name() == "package" => {
                let package = read_package(document, &advisory.id)?;
                advisory.packages.push(package);
            }
            Token::Start(tag) if tag.name() == "collection" => {
                depth += 1;
            }
            Token::Start(_) => document.skip()?,
            Token::Text(_) => {}
            Token::End | Token::Eof => depth -= 1,
        }
    }
    Ok(())
}

fn read_package<R: BufRead>(document: &mut Document<R>, id: &str) -> Result<AdvisoryPackage> {
    let attributes = document.last_attributes()?;
    let text = |name: &str| attributes.get(name).unwrap_or_default().to_owned();
    let epoch = text("epoch");
    let epoch = match epoch.trim() {
        "" | "(none)" | "None" => 0,
        number => number.parse().map_err(|_| {
            let reason = format!("package {}: epoch {number:?} is not a number", text("name"));
            Error::record(document.file(), id, reason)
        })?,
    };
    let evr = Evr::new(epoch, text("version"), text("release"));
    let nevra = Nevra::new(text("name"), evr, text("arch"));
    if nevra.name.is_empty() {
        return Err(Error::record(document.file(), id, "a package has no name"));
    }
    let mut filename = String::new();
    loop {
        match document.next()? {
            Token::Start(tag) if tag.name() == "filename" => filename = document.text()?,
            Token::Start(_) => document.skip()?,
            Token::Text(_) => {}
            Token::End | Token::Eof => return Ok(AdvisoryPackage { nevra, filename }),
        }
    }
}

/// Returns a date's digits in an order that compares.
fn date_key(date: &str) -> String {
    let date = date.trim();
    if !date.is_empty() && date.len() <= 11 && date.bytes().all(|b| b.is_ascii_digit()) {
        return date.parse().map_or_else(|_| String::new(), civil);
    }
    // Fractions of seconds and zones come after the first fourteen digits.
    date.bytes().filter(u8::is_ascii_digit).take(14).map(char::from).collect()
}

/// Returns seconds since 1970 as `YYYYMMDDhhmmss`.
fn civil(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since 0000-03-01, so that leap days end a year; 400 years are an era.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advisory(id: &str, issued: &str, updated: &str, title: &str) -> String {
        format!(
            "<update from='x' type=\"security\" status=\"final\"><id>{id}</id>\
             <title>{title} &amp; more</title><issued date=\"{issued}\"/>\
             <updated date=\"{updated}\"/><severity>Important</severity>\
             <references><reference href='https://e/' type='cve' id='CVE-1'/></references>\
             <pkglist><collection short='a'><name>c</name>\
             <module name='m' stream='s' version='1' context='c' arch='x86_64'/>\
             <package name='bash' epoch='0' version='5.1' release='6' arch='x86_64' src='b.src.rpm'>\
             <filename>bash-5.1-6.x86_64.rpm</filename><sum type='sha256'>00</sum>\
             <reboot_suggested>1</reboot_suggested></package>\
             <package name='zsh' version='1' release='2' arch='noarch'/>\
             </collection></pkglist></update>"
        )
    }

    fn list(advisories: &[String]) -> Vec<Advisory> {
        let xml = format!("<updates>\n{}\n</updates>", advisories.concat());
        read("updateinfo.xml", xml.as_bytes()).unwrap()
    }

    #[test]
    fn advisories_are_read_and_kept_byte_for_byte() {
        let bytes = advisory("RLSA-1", "2024-01-31 10:00:00", "", "t");
        let [one] = list(std::slice::from_ref(&bytes)).try_into().unwrap();
        assert_eq!((&*one.id, &*one.kind, &*one.severity), ("RLSA-1", "security", "Important"));
        assert_eq!(one.title, "t & more");
        let names: Vec<_> = one.packages.iter().map(|p| p.nevra.to_string()).collect();
        assert_eq!(names, ["bash-5.1-6.x86_64", "zsh-1-2.noarch"]);
        assert_eq!(one.packages[0].filename, "bash-5.1-6.x86_64.rpm");
        assert_eq!(String::from_utf8(one.bytes.clone()).unwrap(), bytes);
        assert_eq!(one.absent(|nevra| nevra.name == "bash")[0].name, "zsh");
        assert_eq!(read("again", write(std::slice::from_ref(&one)).as_slice()).unwrap(), [one]);
    }

    #[test]
    fn the_newest_advisory_of_an_id_wins() {
        let old = list(&[
            advisory("A", "2024-01-01", "", "old"),
            advisory("B", "2024-01-01", "2024-03-01", "old"),
            advisory("C", "2024-01-01", "", "old"),
        ]);
        let new = list(&[
            advisory("D", "2020-01-01", "", "new"),
            advisory("A", "2024-01-01", "", "new"),
            advisory("B", "2024-01-01", "2024-02-01", "new"),
            advisory("C", "2023-01-01", "1709251200", "new"),
        ]);
        let merged = merge([old, new]);
        let titles: Vec<_> = merged.iter().map(|a| (&*a.id, &a.title[..3])).collect();
        assert_eq!(titles, [("A", "new"), ("B", "old"), ("C", "new"), ("D", "new")]);
    }

    #[test]
    fn dates_compare_however_they_are_written() {
        for (date, key) in [
            ("2024-01-31 10:00:00", "20240131100000"),
            ("2024-01-31T10:00:00.123456Z", "20240131100000"),
            ("2024-01-31", "20240131"),
            ("1706695200", "20240131100000"),
            ("0", "19700101000000"),
            ("951782400", "20000229000000"),
            ("99999999999999999999", "99999999999999"),
            ("soon", ""),
            ("", ""),
        ] {
            assert_eq!(date_key(date), key, "{date}");
        }
    }

    #[test]
    fn wrong_advisories_are_named() {
        for (xml, want) in [
            ("<updates><update/></updates>", "f: an advisory: no id"),
            (
                "<updates><update><id>A</id></update><update><id>A</id></update></updates>",
                "f: A: two advisories have this id",
            ),
            (
                "<updates><update><id>A</id><pkglist><package epoch='x' name='n'/></pkglist></update></updates>",
                "f: A: package n: epoch \"x\" is not a number",
            ),
            ("<updates><update><x:id>A</x:id></update></updates>", "f: byte"),
            ("<repomd/>", "f: root element is <repomd>, expected <updates>"),
        ] {
            let error = read("f", xml.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(want), "{error}");
        }
    }
}
