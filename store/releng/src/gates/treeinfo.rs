//! `treeinfo`: what an installer is told about a tree is there, and is what it is told.
//!
//! Each `.treeinfo` names files with checksums, boot images, and the directories in which variants
//! have their packages and repos; these may lie beside the tree (`../../../AppStream/…`), and
//! never outside of the release.

use cairn_repodata::treeinfo::{TreeChecksum, Treeinfo as File};
use cairn_repodata::{Checksum, ChecksumType, Error as Metadata};
use cairn_store::path::RelPath;
use cairn_store::tree::{Entry, FileEntry, lookup};

use super::resolve::{Place, Resolver, by_text};
use super::{Findings, Gate, Outcome, Rule, Subject, read_small};
use crate::audit::repos::{REPODATA, REPOMD};
use crate::error::Result;

const NAME: &str = "treeinfo";
/// The largest file that is read, in bytes; real ones have some kilobytes.
const MAX_SIZE: u64 = 1 << 20;

const WRITE_AGAIN: &str = "write the .treeinfo again for the tree as it is";

static UNREADABLE: Rule = Rule::failure("treeinfo-unreadable", WRITE_AGAIN);
static WEAK: Rule = Rule::failure("treeinfo-weak-checksum", WRITE_AGAIN);
static UNSUPPORTED: Rule = Rule::failure("treeinfo-checksum-type", WRITE_AGAIN);
static FILE_MISSING: Rule = Rule::failure(
    "treeinfo-file-missing",
    "put the file into the tree, or take it out of the .treeinfo",
);
static CHECKSUM: Rule = Rule::failure("treeinfo-checksum", WRITE_AGAIN);
static IMAGE_MISSING: Rule = Rule::failure(
    "treeinfo-image-missing",
    "put the image into the tree, or take it out of the .treeinfo",
);
static VARIANT_PATH: Rule = Rule::failure(
    "treeinfo-variant-path",
    "point the variant to where its packages and repodata are in this release",
);
static CONTENT: Rule = Rule::failure(
    "treeinfo-content",
    "run cairn fsck --full; cairn ingest --reread of a compose that has it puts it back",
);

/// The gate.
pub(super) struct Treeinfo;

impl Gate for Treeinfo {
    fn name(&self) -> &'static str {
        NAME
    }

    fn rules(&self) -> &'static [&'static Rule] {
        static RULES: &[&Rule] = &[
            &UNREADABLE,
            &WEAK,
            &UNSUPPORTED,
            &FILE_MISSING,
            &CHECKSUM,
            &IMAGE_MISSING,
            &VARIANT_PATH,
            &CONTENT,
        ];
        RULES
    }

    fn judge(&self, subject: &Subject<'_>) -> Result<Outcome> {
        let survey = subject.survey()?;
        if survey.treeinfos.is_empty() {
            return Ok(Outcome::Skipped("the tree has no .treeinfo".to_owned()));
        }
        let mut judge = Judge {
            subject,
            resolver: Resolver::new(subject.draft, subject.root),
            claims: Vec::new(),
            findings: Findings::of(NAME),
        };
        for (path, file) in &survey.treeinfos {
            subject.check_interrupted()?;
            judge.file(path, file)?;
        }
        judge.compare()?;
        Ok(Outcome::Judged(judge.findings))
    }
}

/// A file whose checksum is still to be compared.
struct Claim {
    treeinfo: RelPath,
    path: RelPath,
    file: FileEntry,
    checksum: Checksum,
}

struct Judge<'a> {
    subject: &'a Subject<'a>,
    resolver: Resolver<'a>,
    claims: Vec<Claim>,
    findings: Findings,
}

impl Judge<'_> {
    fn add(&mut self, rule: &'static Rule, path: &RelPath, message: impl Into<String>) {
        self.findings.add(rule, None, path.clone(), message);
    }

    fn file(&mut self, path: &RelPath, file: &FileEntry) -> Result<()> {
        if file.size > MAX_SIZE {
            let message = format!("it has {} bytes, more than {MAX_SIZE}", file.size);
            self.add(&UNREADABLE, path, message);
            return Ok(());
        }
        let bytes = match read_small(self.subject, file, path, MAX_SIZE)? {
            Ok(bytes) => bytes,
            Err(message) => {
                self.add(&CONTENT, path, message);
                return Ok(());
            }
        };
        let treeinfo = match File::read(&path.to_string(), &bytes) {
            Ok(treeinfo) => treeinfo,
            Err(error) => {
                self.add(&UNREADABLE, path, without_path(&error, path));
                return Ok(());
            }
        };
        let dir = path.split_last().map_or(RelPath::ROOT, |(dir, _)| dir);
        match treeinfo.checksums() {
            Ok(checksums) => {
                for one in checksums {
                    self.checksum(path, &dir, one)?;
                }
            }
            Err(error) => {
                let rule = match &error {
                    Metadata::WeakChecksum { .. } => &WEAK,
                    _ => &UNREADABLE,
                };
                self.add(rule, path, without_path(&error, path));
            }
        }
        for section in treeinfo.sections() {
            if section.starts_with("images-") || section == "stage2" {
                for (key, value) in treeinfo.section(section) {
                    self.image(path, &dir, &format!("[{section}] {key}"), value)?;
                }
            } else if section.starts_with("variant-") {
                for key in ["repository", "packages"] {
                    if let Some(value) = treeinfo.get(section, key) {
                        self.variant(path, &dir, &format!("[{section}] {key}"), key, value)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn checksum(&mut self, treeinfo: &RelPath, dir: &RelPath, one: TreeChecksum) -> Result<()> {
        let shown = format!("[checksums] {}", one.path);
        let place = match by_text(dir, &one.path) {
            Some(path) => self.resolver.find(&path)?,
            None => Place::Nothing("it is no path in this release"),
        };
        match place {
            Place::File(path, file) if one.checksum.kind() == ChecksumType::Sha256 => {
                let (treeinfo, checksum) = (treeinfo.clone(), one.checksum);
                self.claims.push(Claim { treeinfo, path, file, checksum });
            }
            Place::File(..) => {
                let kind = one.checksum.kind();
                let message = format!("{shown}: a {kind} checksum is not compared, only sha256 is");
                self.add(&UNSUPPORTED, treeinfo, message);
            }
            Place::Dir(_) => {
                self.add(&FILE_MISSING, treeinfo, format!("{shown}: it is a directory"));
            }
            Place::Nothing(why) => self.add(&FILE_MISSING, treeinfo, format!("{shown}: {why}")),
        }
        Ok(())
    }

    fn image(&mut self, treeinfo: &RelPath, dir: &RelPath, shown: &str, value: &str) -> Result<()> {
        let place = match by_text(dir, value) {
            Some(path) => self.resolver.find(&path)?,
            None => Place::Nothing("it is no path in this release"),
        };
        let why = match place {
            Place::File(..) => return Ok(()),
            Place::Dir(_) => "it is a directory",
            Place::Nothing(why) => why,
        };
        self.add(&IMAGE_MISSING, treeinfo, format!("{shown} = {value}: {why}"));
        Ok(())
    }

    fn variant(
        &mut self,
        treeinfo: &RelPath,
        dir: &RelPath,
        shown: &str,
        key: &str,
        value: &str,
    ) -> Result<()> {
        let place = match by_text(dir, value) {
            Some(path) => self.resolver.find(&path)?,
            None => Place::Nothing("it is no path in this release"),
        };
        let why = match place {
            Place::Dir(found) if key == "repository" => {
                let repomd = RelPath::ROOT.join(REPODATA).join(REPOMD);
                match lookup(self.subject.draft, &found, &repomd)? {
                    Some(Entry::File(_)) => return Ok(()),
                    Some(Entry::Dir(_) | Entry::Symlink(_)) | None => {
                        "it has no repodata/repomd.xml"
                    }
                }
            }
            Place::Dir(_) => return Ok(()),
            Place::File(..) => "it is a file",
            Place::Nothing(why) => why,
        };
        self.add(&VARIANT_PATH, treeinfo, format!("{shown} = {value}: {why}"));
        Ok(())
    }

    /// Compares the checksums of all files at once.
    fn compare(&mut self) -> Result<()> {
        let claims = std::mem::take(&mut self.claims);
        let files: Vec<_> = claims.iter().map(|claim| (claim.path.clone(), claim.file)).collect();
        let known = super::sha256(self.subject, &files)?;
        for Claim { treeinfo, path, file, checksum } in &claims {
            match known.get(&file.object) {
                Some(Ok(digest)) if Checksum::from_sha256(*digest) == *checksum => {}
                Some(Ok(digest)) => {
                    let found = Checksum::from_sha256(*digest);
                    let message = format!("{path}: it says {checksum}, the file has {found}");
                    self.add(&CHECKSUM, treeinfo, message);
                }
                Some(Err(message)) => self.add(&CONTENT, path, message.clone()),
                None => {}
            }
        }
        Ok(())
    }
}

fn without_path(error: &Metadata, path: &RelPath) -> String {
    let text = error.to_string();
    text.strip_prefix(&format!("{path}: ")).unwrap_or(&text).to_owned()
}
