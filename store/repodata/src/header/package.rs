//! What metadata needs of a package's headers.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use super::{Headers, Section};
use crate::checksum::Checksum;
use crate::error::{Error, Result};
use crate::href;
use crate::limits::MAX_RECORD;
use crate::primary::{self, Compare, Dependency, File, FileKind, Relations};
use crate::vercmp::{Evr, Nevra};
use crate::xml;

/// What is known of the file that a package is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// Where it is, relative to the repository's directory.
    pub href: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its modification time in seconds since 1970.
    pub mtime: i64,
    /// The SHA-256 of its content.
    pub sha256: [u8; 32],
}

/// A package as its headers describe it: everything for primary, filelists and other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// What `primary` has of it.
    pub primary: primary::Package,
    /// All its files, in the order of the header.
    pub files: Vec<File>,
    /// Its newest changes, oldest first.
    pub changelogs: Vec<Changelog>,
}

/// One entry of a package's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changelog {
    /// Who and, by custom, which version.
    pub author: String,
    /// When, in seconds since 1970.
    pub date: i64,
    /// What.
    pub text: String,
}

/// Most entries of the history that metadata carries, the newest ones. Every tool's default.
const MAX_CHANGELOGS: usize = 10;

/// Longest path, as in Linux.
const MAX_PATH: usize = 4096;

const MODE_TYPE: u64 = 0o170_000;
const MODE_DIR: u64 = 0o040_000;
const FLAG_GHOST: u64 = 1 << 6;

const SENSE_COMPARE: u64 = 0xf;
/// A dependency that must be there before the package is: prereq, pretrans, posttrans, pre and
/// post scripts. So does createrepo_c 1; version 0.17 leaves the two of the transaction out.
const SENSE_PRE: u64 = 1 << 6 | 1 << 7 | 1 << 5 | 1 << 9 | 1 << 10;

mod tag {
    pub(super) const NAME: u32 = 1000;
    pub(super) const VERSION: u32 = 1001;
    pub(super) const RELEASE: u32 = 1002;
    pub(super) const EPOCH: u32 = 1003;
    pub(super) const SUMMARY: u32 = 1004;
    pub(super) const DESCRIPTION: u32 = 1005;
    pub(super) const BUILD_TIME: u32 = 1006;
    pub(super) const BUILD_HOST: u32 = 1007;
    pub(super) const SIZE: u32 = 1009;
    pub(super) const VENDOR: u32 = 1011;
    pub(super) const LICENSE: u32 = 1014;
    pub(super) const PACKAGER: u32 = 1015;
    pub(super) const GROUP: u32 = 1016;
    pub(super) const URL: u32 = 1020;
    pub(super) const ARCH: u32 = 1022;
    pub(super) const OLD_FILE_NAMES: u32 = 1027;
    pub(super) const FILE_MODES: u32 = 1030;
    pub(super) const FILE_FLAGS: u32 = 1037;
    pub(super) const SOURCE_RPM: u32 = 1044;
    pub(super) const ARCHIVE_SIZE: u32 = 1046;
    pub(super) const CHANGELOG_TIME: u32 = 1080;
    pub(super) const CHANGELOG_NAME: u32 = 1081;
    pub(super) const CHANGELOG_TEXT: u32 = 1082;
    pub(super) const SOURCE_PACKAGE: u32 = 1106;
    pub(super) const DIR_INDEXES: u32 = 1116;
    pub(super) const BASE_NAMES: u32 = 1117;
    pub(super) const DIR_NAMES: u32 = 1118;
    pub(super) const LONG_SIZE: u32 = 5009;
    pub(super) const PAYLOAD_SIZE_ALT: u32 = 5113;
    /// Both in the signature and, since v6, in the main section.
    pub(super) const LONG_ARCHIVE_SIZE: u32 = 271;
    /// In the signature only.
    pub(super) const SIGNATURE_PAYLOAD_SIZE: u32 = 1007;
    /// Names, versions and flags of each kind of dependency.
    pub(super) const PROVIDES: [u32; 3] = [1047, 1113, 1112];
    pub(super) const REQUIRES: [u32; 3] = [1049, 1050, 1048];
    pub(super) const CONFLICTS: [u32; 3] = [1054, 1055, 1053];
    pub(super) const OBSOLETES: [u32; 3] = [1090, 1115, 1114];
    pub(super) const RECOMMENDS: [u32; 3] = [5046, 5047, 5048];
    pub(super) const SUGGESTS: [u32; 3] = [5049, 5050, 5051];
    pub(super) const SUPPLEMENTS: [u32; 3] = [5052, 5053, 5054];
    pub(super) const ENHANCES: [u32; 3] = [5055, 5056, 5057];
}

impl Package {
    /// Reads a package from the start of its RPM. Errors name `facts.href`.
    ///
    /// # Errors
    ///
    /// Those of [`Headers::read`]; headers that miss a name, version, release or architecture or
    /// contradict themselves; text that XML cannot carry; a location that clients refuse.
    pub fn read(reader: impl Read, facts: FileFacts) -> Result<Package> {
        let headers = Headers::read(&facts.href, reader)?;
        Package::from_headers(&headers, facts)
    }

    /// Makes a package of headers that were read before.
    ///
    /// # Errors
    ///
    /// Those of [`Package::read`], but for the reading.
    pub fn from_headers(headers: &Headers, facts: FileFacts) -> Result<Package> {
        let main = Fields { file: &facts.href, section: &headers.main };
        let signature = Fields { file: &facts.href, section: &headers.signature };
        let nevra = main.nevra()?;
        href::check_for(&facts.href, &nevra.to_string(), &facts.href)?;
        let files = main.files()?;
        let archive_size = first_number([
            signature.number(tag::LONG_ARCHIVE_SIZE)?,
            signature.number(tag::SIGNATURE_PAYLOAD_SIZE)?,
            main.number(tag::LONG_ARCHIVE_SIZE)?,
            main.number(tag::ARCHIVE_SIZE)?,
            main.number(tag::PAYLOAD_SIZE_ALT)?,
        ]);
        let installed_size = first_number([main.number(tag::LONG_SIZE)?, main.number(tag::SIZE)?]);
        let relations = main.relations(&files)?;
        let primary = primary::Package {
            nevra,
            pkgid: Checksum::from_sha256(facts.sha256),
            summary: main.text(tag::SUMMARY)?,
            description: main.text(tag::DESCRIPTION)?,
            packager: main.text(tag::PACKAGER)?,
            url: main.text(tag::URL)?,
            file_time: facts.mtime,
            build_time: time(main.number(tag::BUILD_TIME)?.unwrap_or(0)),
            package_size: facts.size,
            installed_size,
            archive_size,
            base: None,
            license: main.text(tag::LICENSE)?,
            vendor: main.text(tag::VENDOR)?,
            group: main.text(tag::GROUP)?,
            build_host: main.text(tag::BUILD_HOST)?,
            // Some builders write the absence down.
            source_rpm: Some(main.text(tag::SOURCE_RPM)?)
                .filter(|s| s != "(none)")
                .unwrap_or_default(),
            header_start: headers.start,
            header_end: headers.end,
            relations,
            files: files.iter().filter(|file| is_primary(&file.path)).cloned().collect(),
            href: facts.href.clone(),
        };
        let changelogs = main.changelogs()?;
        Ok(Package { primary, files, changelogs })
    }
}

fn first_number<const N: usize>(candidates: [Option<u64>; N]) -> u64 {
    candidates.into_iter().flatten().next().unwrap_or(0)
}

/// Times are unsigned in headers.
fn time(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// Returns whether `primary` lists a path: dependencies on other files are rare, and clients fetch
/// `filelists` for them.
pub(crate) fn is_primary(path: &str) -> bool {
    path.starts_with("/etc/") || path.contains("bin/") || path == "/usr/lib/sendmail"
}

/// Returns which version of the C library's symbols a dependency needs, the empty string for any.
///
/// Each version provides all older ones. Other symbol sets (`GLIBC_ABI_DT_RELR`, `GLIBC_PRIVATE`)
/// are in no such order and stay dependencies of their own.
fn libc_version(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("libc.so.6")?;
    let Some((set, _)) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) else {
        return rest.is_empty().then_some("");
    };
    if set.is_empty() {
        return Some("");
    }
    let version = set.strip_prefix("GLIBC_")?;
    version.bytes().all(|b| b.is_ascii_digit() || b == b'.').then_some(version)
}

/// A section, read for one file.
struct Fields<'a> {
    file: &'a str,
    section: &'a Section,
}

impl Fields<'_> {
    fn nevra(&self) -> Result<Nevra> {
        let need = |tag, what: &str| {
            let text = self.text(tag)?;
            match text.is_empty() {
                true => Err(Error::header(self.file, format!("no {what}"))),
                false => Ok(text),
            }
        };
        let epoch = self.number(tag::EPOCH)?.unwrap_or(0);
        let epoch = u32::try_from(epoch)
            .map_err(|_| Error::header(self.file, format!("epoch {epoch} is too large")))?;
        let evr = Evr::new(epoch, need(tag::VERSION, "version")?, need(tag::RELEASE, "release")?);
        let is_source = self.section.has(tag::SOURCE_PACKAGE);
        let arch = if is_source { "src".to_owned() } else { need(tag::ARCH, "architecture")? };
        Ok(Nevra::new(need(tag::NAME, "name")?, evr, arch))
    }

    fn number(&self, tag: u32) -> Result<Option<u64>> {
        self.section.number(self.file, tag)
    }

    fn text(&self, tag: u32) -> Result<String> {
        let bytes = self.section.string(self.file, tag)?;
        self.decode(tag, bytes.unwrap_or_default())
    }

    fn texts(&self, tag: u32) -> Result<Vec<String>> {
        let strings = self.section.strings(self.file, tag)?;
        strings.into_iter().map(|bytes| self.decode(tag, bytes)).collect()
    }

    /// Decodes a string. What is not UTF-8 is read as Latin-1, the only other encoding that old
    /// packages have, so nothing is lost.
    fn decode(&self, tag: u32, bytes: &[u8]) -> Result<String> {
        self.decode_owned(tag, bytes.to_vec())
    }

    fn decode_owned(&self, tag: u32, bytes: Vec<u8>) -> Result<String> {
        let text = String::from_utf8(bytes);
        let text = text.unwrap_or_else(|e| e.as_bytes().iter().copied().map(char::from).collect());
        match xml::forbidden(&text) {
            None => Ok(text),
            Some(c) => {
                let reason = format!("tag {tag} has the character {c:?}, which XML cannot carry");
                Err(Error::header(self.file, reason))
            }
        }
    }

    /// Fails unless two arrays of one table are equally long.
    fn same_length(&self, what: &str, a: usize, b: usize) -> Result<()> {
        if a == b {
            return Ok(());
        }
        Err(Error::header(self.file, format!("{what}: arrays of {a} and {b} entries")))
    }

    fn files(&self) -> Result<Vec<File>> {
        let modes = self.section.numbers(self.file, tag::FILE_MODES)?;
        let flags = self.section.numbers(self.file, tag::FILE_FLAGS)?;
        let paths = self.paths()?;
        // Ancient packages have no flags.
        self.same_length("files", paths.len(), modes.len())?;
        if !flags.is_empty() {
            self.same_length("files", paths.len(), flags.len())?;
        }
        let kind = |at: usize| {
            let flags = flags.get(at).copied().unwrap_or(0);
            match modes.get(at).copied().unwrap_or(0) & MODE_TYPE {
                MODE_DIR => FileKind::Dir,
                _ if flags & FLAG_GHOST != 0 => FileKind::Ghost,
                _ => FileKind::File,
            }
        };
        Ok(paths.into_iter().enumerate().map(|(at, path)| File { path, kind: kind(at) }).collect())
    }

    fn paths(&self) -> Result<Vec<String>> {
        let names = self.section.strings(self.file, tag::BASE_NAMES)?;
        if names.is_empty() {
            return self.texts(tag::OLD_FILE_NAMES);
        }
        let dirs = self.section.strings(self.file, tag::DIR_NAMES)?;
        let indexes = self.section.numbers(self.file, tag::DIR_INDEXES)?;
        self.same_length("files", names.len(), indexes.len())?;
        let mut paths = Vec::with_capacity(names.len());
        let mut total = 0;
        for (name, index) in names.into_iter().zip(indexes) {
            let dir = usize::try_from(index).ok().and_then(|index| dirs.get(index));
            let dir = *dir.ok_or_else(|| {
                Error::header(self.file, format!("directory {index} of {}", dirs.len()))
            })?;
            // A long directory with many names multiplies: this is where a header explodes.
            total += dir.len() + name.len();
            if dir.len() + name.len() > MAX_PATH || total > MAX_RECORD {
                return Err(Error::header(self.file, "its file names are too long"));
            }
            paths.push(self.decode_owned(tag::BASE_NAMES, [dir, name].concat())?);
        }
        Ok(paths)
    }

    fn changelogs(&self) -> Result<Vec<Changelog>> {
        let times = self.section.numbers(self.file, tag::CHANGELOG_TIME)?;
        let names = self.section.strings(self.file, tag::CHANGELOG_NAME)?;
        let texts = self.section.strings(self.file, tag::CHANGELOG_TEXT)?;
        self.same_length("changelog", times.len(), names.len())?;
        self.same_length("changelog", times.len(), texts.len())?;
        let mut changelogs: Vec<Changelog> = Vec::new();
        for ((date, name), text) in times.into_iter().zip(names).zip(texts).take(MAX_CHANGELOGS) {
            changelogs.push(Changelog {
                author: self.decode(tag::CHANGELOG_NAME, name)?,
                date: time(date),
                text: self.decode(tag::CHANGELOG_TEXT, text)?,
            });
        }
        // Dates are noon of a day, and clients sort by them: changes of one day keep their order
        // by seconds, as createrepo_c does it. A day with very many runs into the next.
        let mut last = None;
        for at in 0..changelogs.len() {
            let raw = changelogs[at].date;
            if last.replace(raw) == Some(raw) {
                let mut date = raw;
                for newer in changelogs[..at].iter_mut().rev() {
                    if newer.date != date {
                        break;
                    }
                    date = date.saturating_add(1);
                    newer.date = date;
                }
            }
        }
        // Headers have the newest first, metadata the oldest.
        changelogs.reverse();
        Ok(changelogs)
    }

    fn relations(&self, files: &[File]) -> Result<Relations> {
        let provides = self.dependencies(tag::PROVIDES)?;
        let requires = self.requires(files, &provides)?;
        let plain = |tags| -> Result<Vec<Dependency>> {
            Ok(self.dependencies(tags)?.into_iter().map(|raw| raw.dependency).collect())
        };
        Ok(Relations {
            requires,
            provides: provides.into_iter().map(|raw| raw.dependency).collect(),
            conflicts: plain(tag::CONFLICTS)?,
            obsoletes: plain(tag::OBSOLETES)?,
            suggests: plain(tag::SUGGESTS)?,
            enhances: plain(tag::ENHANCES)?,
            recommends: plain(tag::RECOMMENDS)?,
            supplements: plain(tag::SUPPLEMENTS)?,
        })
    }

    /// Returns what the package needs from others: not what rpm itself or the package provides,
    /// nothing twice, and of the C library's symbol versions only the highest.
    fn requires(&self, files: &[File], provides: &[Raw]) -> Result<Vec<Dependency>> {
        let provided: HashSet<(&str, u64, &str)> = provides.iter().map(Raw::key).collect();
        let own: HashSet<&str> =
            files.iter().map(|file| file.path.as_str()).filter(|path| is_primary(path)).collect();
        let raws = self.dependencies(tag::REQUIRES)?;
        let mut seen: HashMap<&str, (u64, &str, bool)> = HashMap::with_capacity(raws.len());
        let mut wanted = vec![false; raws.len()];
        let mut libc: Option<(&str, usize)> = None;
        for (at, raw) in raws.iter().enumerate() {
            let name = raw.dependency.name.as_str();
            if name.starts_with("rpmlib(")
                || (name.starts_with('/') && own.contains(name))
                || provided.contains(&raw.key())
            {
                continue;
            }
            let rest = (raw.compare, raw.version.as_str(), raw.dependency.pre);
            if seen.insert(name, rest) == Some(rest) {
                continue;
            }
            match libc_version(name) {
                None => wanted[at] = true,
                Some(version) => {
                    if libc.is_none_or(|(held, _)| crate::rpmvercmp(version, held).is_gt()) {
                        libc = Some((version, at));
                    }
                }
            }
        }
        let libc = libc.map(|(_, at)| raws[at].dependency.clone());
        let all = raws.into_iter().zip(wanted);
        let mut requires: Vec<Dependency> =
            all.filter_map(|(raw, wanted)| wanted.then_some(raw.dependency)).collect();
        requires.extend(libc);
        Ok(requires)
    }

    fn dependencies(&self, [names, versions, flags]: [u32; 3]) -> Result<Vec<Raw>> {
        let flags = self.section.numbers(self.file, flags)?;
        let names = self.texts(names)?;
        let mut versions = self.texts(versions)?;
        // Provides of ancient packages have neither.
        if versions.is_empty() && flags.is_empty() {
            versions = vec![String::new(); names.len()];
        }
        self.same_length("dependencies", names.len(), versions.len())?;
        if names.iter().any(String::is_empty) {
            return Err(Error::header(self.file, "a dependency has no name"));
        }
        let mut raws = Vec::with_capacity(names.len());
        for (at, (name, version)) in names.into_iter().zip(versions).enumerate() {
            let flags = flags.get(at).copied().unwrap_or(0);
            raws.push(Raw::new(name, version, flags));
        }
        Ok(raws)
    }
}

/// A dependency with what its header says literally.
struct Raw {
    dependency: Dependency,
    compare: u64,
    version: String,
}

impl Raw {
    fn new(name: String, version: String, flags: u64) -> Raw {
        let compare = match flags & SENSE_COMPARE {
            2 => Some(Compare::Lt),
            4 => Some(Compare::Gt),
            8 => Some(Compare::Eq),
            10 => Some(Compare::Le),
            12 => Some(Compare::Ge),
            _ => None,
        };
        let mut dependency =
            Dependency { name, compare, pre: flags & SENSE_PRE != 0, ..Dependency::default() };
        // A version that is not compared says nothing, and no list has it.
        if compare.is_some() && !version.is_empty() {
            let (epoch, rest) = version.split_once(':').unwrap_or(("0", &version));
            let (number, release) = match rest.split_once('-') {
                Some((number, release)) => (number, Some(release)),
                None => (rest, None),
            };
            let kept = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            dependency.epoch = kept(if epoch.is_empty() { "0" } else { epoch });
            dependency.version = kept(number);
            dependency.release = release.and_then(kept);
        }
        Raw { dependency, compare: flags & SENSE_COMPARE, version }
    }

    fn key(&self) -> (&str, u64, &str) {
        (&self.dependency.name, self.compare, &self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ordered_symbol_sets_stand_for_each_other() {
        for (name, version) in [
            ("libc.so.6", Some("")),
            ("libc.so.6()(64bit)", Some("")),
            ("libc.so.6(GLIBC_2.17)(64bit)", Some("2.17")),
            ("libc.so.6(GLIBC_2.3.4)", Some("2.3.4")),
            ("libc.so.6(GLIBC_ABI_DT_RELR)(64bit)", None),
            ("libc.so.6(GLIBC_PRIVATE)(64bit)", None),
            ("libc.so.61", None),
            ("libcrypt.so.1()(64bit)", None),
        ] {
            assert_eq!(libc_version(name), version, "{name}");
        }
    }

    #[test]
    fn primary_lists_programs_and_configuration() {
        for (path, listed) in [
            ("/etc/x", true),
            ("/etc", false),
            ("/usr/bin/x", true),
            ("/usr/sbin/x", true),
            ("/usr/lib/sendmail", true),
            ("/usr/lib/x", false),
            ("/opt/x/bin/y", true),
        ] {
            assert_eq!(is_primary(path), listed, "{path}");
        }
    }
}
