//! The mutation suite: one fault each, named by exactly its rule; and what must not be called a
//! fault. One file for each gate, or for gates that share their reading.

#![expect(clippy::disallowed_methods, reason = "tests make a site on the real disk")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cairn_repodata::header::Package;
use cairn_repodata::primary::{self, Relations};
use cairn_repodata::repomd::{self, Record};
use cairn_repodata::write::{Compression, FileNames, Options as Write, RepodataBuilder};
use cairn_repodata::{Checksum, Nevra};
use cairn_store::fs::Time;
use cairn_store::id::ObjectId;
use cairn_store::progress::Silent;
use cairn_store::store::Session;
use cairn_store::transform::graft;
use cairn_store::tree::{Entry, SymlinkEntry};

use super::*;
use crate::config::Config;
use crate::sample::Places;

mod closure;
mod command;
mod faults;
mod kept;
mod packages;
mod signatures;
mod verdicts;

const MTIME: Time = Time { secs: 1_762_000_000, nanos: 0 };

/// What a tree holds, by path.
type Files = BTreeMap<String, Vec<u8>>;

/// A site in a temporary directory, whose trees are in drafts.
struct World {
    _temp: tempfile::TempDir,
    site: Site,
}

impl World {
    fn new() -> World {
        World::with("")
    }

    fn with(more: &str) -> World {
        let temp = tempfile::tempdir().unwrap();
        let places = Places::below(temp.path());
        for dir in [&places.staging, &places.production] {
            std::fs::create_dir(dir).unwrap();
        }
        let text = places.config() + more;
        let config = Config::parse(&text, Path::new("cairn.toml")).unwrap();
        let site = Site::init(config, Session::default()).unwrap();
        World { _temp: temp, site }
    }

    fn tree(&self, draft: &Draft<'_>, files: &Files) -> DirEntry {
        let mut root = draft.empty(0o755, MTIME);
        for (name, bytes) in files {
            let file = draft.put_file(bytes.clone(), 0o644, MTIME);
            root = put(draft, &root, name, Entry::File(file));
        }
        root
    }

    fn judge(
        &self,
        draft: &Draft<'_>,
        before: Option<DirEntry>,
        root: DirEntry,
        mode: Mode,
    ) -> Vec<GateReport> {
        run(&self.subject(draft, before, root, mode), &built_in()).unwrap()
    }

    fn subject<'a>(
        &'a self,
        draft: &'a Draft<'a>,
        before: Option<DirEntry>,
        root: DirEntry,
        mode: Mode,
    ) -> Subject<'a> {
        Subject {
            site: &self.site,
            draft,
            name: Some("production/9.7".into()),
            recorded: Recorded::Renewed,
            root,
            before,
            published: None,
            release: Some(self.site.config.release("9").unwrap()),
            version: None,
            mount: Some("production".into()),
            max_deletes: Some(Percent::parse("10%").unwrap()),
            mode,
            observer: &Silent,
            shared: Shared::default(),
        }
    }

    fn findings(&self, files: &Files) -> Vec<Finding> {
        let draft = Draft::new(&self.site.store);
        let root = self.tree(&draft, files);
        all(self.judge(&draft, None, root, Mode::Apply))
    }
}

fn all(reports: Vec<GateReport>) -> Vec<Finding> {
    let findings = reports.into_iter().flat_map(|report| report.findings);
    // Metadata that cannot be read is for `repodata` to name; whoever else reads it says only
    // that it has not judged.
    let is_own = |finding: &Finding| finding.rule != "closure-not-read";
    findings.filter(is_own).collect()
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn put(draft: &Draft<'_>, root: &DirEntry, name: &str, entry: Entry) -> DirEntry {
    graft(draft, root, &path(name), Some(entry)).unwrap()
}

fn link(target: &str) -> Entry {
    Entry::Symlink(SymlinkEntry { target: target.as_bytes().into(), mtime: MTIME })
}

fn rpm(nevra: &str) -> Vec<u8> {
    format!("this is {nevra}").into_bytes()
}

fn package(nevra: &str, href: &str) -> Package {
    let full = Nevra::parse(nevra).unwrap();
    let primary = primary::Package {
        href: href.to_owned(),
        pkgid: Checksum::sha256(&rpm(nevra)),
        summary: "A package".into(),
        description: "Of which nothing is known.".into(),
        packager: String::new(),
        url: String::new(),
        file_time: MTIME.secs,
        build_time: MTIME.secs,
        package_size: rpm(nevra).len() as u64,
        installed_size: 2000,
        archive_size: 2000,
        base: None,
        license: "MIT".into(),
        vendor: String::new(),
        group: String::new(),
        build_host: String::new(),
        source_rpm: format!("{}-{}-{}.src.rpm", full.name, full.evr.version, full.evr.release),
        header_start: 4504,
        header_end: 8192,
        relations: Relations::default(),
        files: Vec::new(),
        nevra: full,
    };
    Package { primary, files: Vec::new(), changelogs: Vec::new() }
}

/// Adds a repo's metadata; each package is its NEVRA and its location.
fn repodata(files: &mut Files, at: &str, packages: &[(&str, &str)], extras: &[(&str, &str)]) {
    let (compression, names) = (Compression::Gzip, FileNames::Plain);
    let mut builder = RepodataBuilder::new(Write { compression, names, ..Write::default() });
    for (nevra, href) in packages {
        builder.package(&package(nevra, href)).unwrap();
    }
    for (kind, text) in extras {
        builder.extra(kind, text.as_bytes().to_vec()).unwrap();
    }
    for file in builder.finish().unwrap() {
        files.insert(format!("{at}/repodata/{}", file.name), file.bytes);
    }
}

const OS: &str = "BaseOS/x86_64/os";
const BASH: &str = "bash-5.1-1.el9.x86_64";
const ZSH: &str = "zsh-5.8-1.el9.x86_64";
const VIM: &str = "vim-9.0-1.el9.x86_64";
const BASH_AT: &str = "BaseOS/x86_64/os/Packages/bash.rpm";
const REPOMD: &str = "BaseOS/x86_64/os/repodata/repomd.xml";
const PRIMARY: &str = "BaseOS/x86_64/os/repodata/primary.xml.gz";
const TREEINFO: &str = "BaseOS/x86_64/os/.treeinfo";

/// A small release as real ones are laid out: a kickstart tree that points into `os`, variants
/// beside each other, a directory of packages that is no repo, links.
fn release() -> Files {
    let mut files = Files::new();
    for (at, nevra) in [
        (BASH_AT, BASH),
        ("BaseOS/x86_64/os/Packages/zsh.rpm", ZSH),
        ("AppStream/x86_64/os/Packages/vim.rpm", VIM),
        ("Minimal/x86_64/Packages/bash.rpm", BASH),
    ] {
        files.insert(at.into(), rpm(nevra));
    }
    let comps = "<comps><group><id>core</id><name>Core</name><packagelist/></group></comps>";
    let modules = "---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: m\n...\n";
    let extras = [("group", comps), ("updateinfo", "<updates/>"), ("modules", modules)];
    let both = [(BASH, "Packages/bash.rpm"), (ZSH, "Packages/zsh.rpm")];
    repodata(&mut files, OS, &both, &extras);
    repodata(&mut files, "AppStream/x86_64/os", &[(VIM, "Packages/vim.rpm")], &[]);
    repodata(&mut files, "BaseOS/x86_64/kickstart", &[(BASH, "../os/Packages/bash.rpm")], &[]);
    files.insert(format!("{OS}/images/boot.iso"), b"boot".to_vec());
    let treeinfo = format!(
        "[checksums]\nimages/boot.iso = {}\n[images-x86_64]\nboot.iso = images/boot.iso\n\
         [variant-AppStream]\npackages = ../../../AppStream/x86_64/os/Packages\n\
         repository = ../../../AppStream/x86_64/os/\n\
         [variant-BaseOS]\npackages = Packages\nrepository = .\n",
        Checksum::sha256(b"boot")
    );
    files.insert(TREEINFO.into(), treeinfo.into_bytes());
    files
}

fn replace(files: &mut Files, name: &str, from: &str, to: &str) {
    let text = String::from_utf8(files[name].clone()).unwrap();
    assert!(text.contains(from), "{from:?} is not in {text}");
    files.insert(name.to_owned(), text.replace(from, to).into_bytes());
}

/// Changes a record's content, and what `repomd.xml` says of it.
fn rewrite(files: &mut Files, name: &str, from: &str, to: &str) {
    let at = format!("{OS}/repodata/{name}");
    let plain = plain(&files[&at]);
    assert!(plain.contains(from), "{from:?} is not in {plain}");
    let plain = plain.replace(from, to);
    let bytes = cairn_repodata::codec::compress(plain.as_bytes(), Compression::Gzip).unwrap();
    change_repomd(files, |record| {
        if record.href.ends_with(&format!("/{name}")) {
            let (kind, href) = (record.kind.clone(), record.href.clone());
            *record = Record::describe(&kind, &href, &bytes, Some(plain.as_bytes()));
        }
    });
    files.insert(at, bytes);
}

fn plain(bytes: &[u8]) -> String {
    let limits = cairn_repodata::codec::Limits::default();
    String::from_utf8(cairn_repodata::codec::decompress("x", bytes, limits).unwrap()).unwrap()
}

fn change_repomd(files: &mut Files, mut change: impl FnMut(&mut Record)) {
    let mut repomd = repomd::read("repomd.xml", files[REPOMD].as_slice()).unwrap();
    repomd.records.iter_mut().for_each(&mut change);
    files.insert(REPOMD.to_owned(), repomd::write(&repomd));
}

fn primary(change: impl Fn(&mut Record)) -> impl FnMut(&mut Record) {
    move |record| {
        if record.kind == "primary" {
            change(record);
        }
    }
}

/// A file whose content nobody has.
fn lost(size: u64) -> FileEntry {
    FileEntry { object: ObjectId::of(b"never stored"), size, mode: 0o644, mtime: MTIME }
}

fn rules_of(findings: &[Finding]) -> BTreeSet<&'static str> {
    findings.iter().map(|finding| finding.rule).collect()
}

#[track_caller]
fn assert_found(label: &str, findings: &[Finding], rules: &[&str], at: &str) {
    let expected: BTreeSet<&str> = rules.iter().copied().collect();
    assert_eq!(rules_of(findings), expected, "{label}: {findings:#?}");
    let here = |finding: &&Finding| finding.path == path(at);
    assert!(findings.iter().any(|f| here(&f)), "{label}: nothing at {at}: {findings:#?}");
    for finding in findings {
        let Finding { message, remedy, .. } = finding;
        assert!(!message.is_empty() && !message.contains(": :"), "{label}: {message:?}");
        assert!(!remedy.is_empty() && !remedy.ends_with('.'), "{label}: {remedy:?}");
        // The path is said once.
        assert!(!message.starts_with(&finding.path.to_string()), "{label}: {message:?}");
    }
}

/// A tree of one repo at each path, with its packages.
fn repos(repos: &[(&str, &[&str])]) -> Files {
    let mut files = Files::new();
    for (at, nevras) in repos {
        let hrefs: Vec<_> = nevras.iter().map(|nevra| format!("Packages/{nevra}.rpm")).collect();
        let packages: Vec<_> =
            nevras.iter().zip(&hrefs).map(|(nevra, href)| (*nevra, href.as_str())).collect();
        repodata(&mut files, at, &packages, &[]);
        for (nevra, href) in packages {
            files.insert(format!("{at}/{href}"), rpm(nevra));
        }
    }
    files
}

#[test]
fn every_rule_has_a_test_and_every_name_a_gate() {
    let cases = faults::CASES.iter().map(|case| case.0);
    let cases = cases.chain(faults::TREE_CASES.iter().map(|case| case.0));
    let mut tested: BTreeSet<&str> = cases.flatten().copied().collect();
    for rules in [
        faults::OTHERS,
        packages::RULES,
        signatures::RULES,
        kept::RULES,
        closure::RULES,
        command::RULES,
    ] {
        tested.extend(rules);
    }
    let known: BTreeSet<&str> = rules().map(|(_, rule, _)| rule).collect();
    assert_eq!(tested, known);
    for name in built_in() {
        assert!(GATES.iter().any(|gate| gate.name() == name), "{name}");
    }
    assert_eq!(GATES.len(), built_in().len());
}
