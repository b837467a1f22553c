//! One fault each, named by exactly its rule; and what must not be called a fault.

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
        let subject = Subject {
            site: &self.site,
            draft,
            root,
            before,
            published: None,
            release: Some(self.site.config.release("9").unwrap()),
            version: None,
            mount: Some("production".into()),
            mode,
            observer: &Silent,
            shared: Shared::default(),
        };
        run(&subject, &built_in()).unwrap()
    }

    fn findings(&self, files: &Files) -> Vec<Finding> {
        let draft = Draft::new(&self.site.store);
        let root = self.tree(&draft, files);
        all(self.judge(&draft, None, root, Mode::Apply))
    }
}

fn all(reports: Vec<GateReport>) -> Vec<Finding> {
    reports.into_iter().flat_map(|report| report.findings).collect()
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

/// A fault in the files of the release, and the rules that must name it, with the path.
type Case = (&'static [&'static str], &'static str, fn(&mut Files));

const CASES: &[Case] = &[
    // repodata
    (&["rpms-without-repodata"], "extras", |files| {
        files.insert("extras/x86_64/os/Packages/x.rpm".into(), rpm("x"));
        files.insert("extras/x86_64/os/Packages/y/y.rpm".into(), rpm("y"));
    }),
    (&["rpms-without-repodata"], "AppStream/x86_64/debug", |files| {
        files.insert("AppStream/x86_64/debug/tree/Packages/x.rpm".into(), rpm("x"));
    }),
    (&["repomd-unreadable"], REPOMD, |files| {
        files.insert(REPOMD.into(), b"not XML".to_vec());
    }),
    (&["repomd-unreadable"], REPOMD, |files| {
        files.insert(REPOMD.into(), vec![b' '; (4 << 20) + 1]);
    }),
    (&["repomd-unreadable", "treeinfo-variant-path"], REPOMD, |files| {
        let repomd = files.remove(REPOMD).unwrap();
        files.insert(format!("{REPOMD}/inside"), repomd);
    }),
    (&["no-primary", "leftover"], REPOMD, |files| {
        replace(files, REPOMD, "type=\"primary\"", "type=\"first\"");
        // Otherwise it is still a record, of a type that nobody knows.
        let mut repomd = repomd::read("repomd.xml", files[REPOMD].as_slice()).unwrap();
        repomd.records.retain(|record| record.kind != "first");
        files.insert(REPOMD.into(), repomd::write(&repomd));
    }),
    (&["record-twice"], REPOMD, |files| {
        replace(files, REPOMD, "type=\"filelists\"", "type=\"primary\"");
    }),
    (&["record-missing"], "BaseOS/x86_64/os/repodata/comps.xml.gz", |files| {
        let name = format!("{OS}/repodata/comps.xml.gz");
        assert!(files.remove(&name).is_some(), "{:?}", files.keys());
    }),
    (&["record-size"], PRIMARY, |files| {
        change_repomd(files, primary(|record| record.size = record.size.map(|size| size + 1)));
    }),
    (&["record-checksum"], PRIMARY, |files| {
        change_repomd(files, primary(|record| record.checksum = Checksum::sha256(b"x")));
    }),
    (&["record-open-size"], PRIMARY, |files| {
        change_repomd(files, primary(|record| record.open_size = Some(1 << 20)));
    }),
    (&["record-open-size"], PRIMARY, |files| {
        change_repomd(files, primary(|record| record.open_size = Some(10)));
    }),
    (&["record-open-checksum"], PRIMARY, |files| {
        change_repomd(files, primary(|record| record.open_checksum = Some(Checksum::sha256(b"x"))));
    }),
    (&["record-unreadable"], PRIMARY, |files| {
        rewrite(files, "primary.xml.gz", "packages=\"2\"", "packages=\"3\"");
    }),
    (&["record-unreadable"], PRIMARY, |files| {
        rewrite(files, "primary.xml.gz", "<name>bash", "<!DOCTYPE x><name>bash");
    }),
    (&["record-unreadable"], "BaseOS/x86_64/os/repodata/comps.xml.gz", |files| {
        rewrite(files, "comps.xml.gz", "</group>", "");
    }),
    (&["record-unreadable"], "BaseOS/x86_64/os/repodata/updateinfo.xml.gz", |files| {
        rewrite(files, "updateinfo.xml.gz", "<updates/>", "<updates>");
    }),
    (&["record-unreadable"], "BaseOS/x86_64/os/repodata/modules.yaml.gz", |files| {
        rewrite(files, "modules.yaml.gz", "module: m", "module: [");
    }),
    (&["weak-checksum"], REPOMD, |files| {
        let sum = repomd::read("repomd.xml", files[REPOMD].as_slice()).unwrap();
        let sum = sum.record("primary").unwrap().checksum.hex().to_owned();
        let weak = format!("type=\"sha1\">{}<", "a".repeat(40));
        replace(files, REPOMD, &format!("type=\"sha256\">{sum}<"), &weak);
    }),
    (&["weak-checksum"], PRIMARY, |files| {
        let sum = Checksum::sha256(&rpm(BASH)).hex().to_owned();
        let weak = "a".repeat(32);
        rewrite(files, "primary.xml.gz", "type=\"sha256\"", "type=\"md5\"");
        rewrite(files, "primary.xml.gz", &sum, &weak);
    }),
    (&["href", "leftover"], REPOMD, |files| {
        replace(files, REPOMD, "repodata/other.xml.gz", "../../other.xml.gz");
    }),
    (&["href"], REPOMD, |files| {
        replace(files, REPOMD, "repodata/other.xml.gz", "file:///etc/passwd");
    }),
    (&["href"], PRIMARY, |files| {
        rewrite(files, "primary.xml.gz", "Packages/bash.rpm", "/etc/passwd");
    }),
    (&["href"], PRIMARY, |files| {
        rewrite(files, "primary.xml.gz", "Packages/bash.rpm", "%2e%2e/bash.rpm");
    }),
    // It leads out of the release, however many levels of it are real. The package that it should
    // have named is listed by the kickstart tree.
    (&["href"], PRIMARY, |files| {
        rewrite(files, "primary.xml.gz", "Packages/bash.rpm", "../../../../bash.rpm");
    }),
    (&["href"], PRIMARY, |files| {
        let based = "xml:base=\"http://example.org/\" href=\"Packages/bash.rpm\"";
        rewrite(files, "primary.xml.gz", "href=\"Packages/bash.rpm\"", based);
    }),
    (&["package-twice"], PRIMARY, |files| {
        let (a, b) = (Checksum::sha256(&rpm(BASH)), Checksum::sha256(&rpm(ZSH)));
        rewrite(files, "primary.xml.gz", a.hex(), b.hex());
    }),
    (&["package-missing"], BASH_AT, |files| {
        files.remove(BASH_AT);
    }),
    (&["package-missing"], BASH_AT, |files| {
        files.remove(BASH_AT);
        files.insert(format!("{BASH_AT}/README"), b"a directory".to_vec());
    }),
    (&["package-size"], BASH_AT, |files| {
        files.insert(BASH_AT.into(), b"cut".to_vec());
    }),
    (&["package-checksum"], BASH_AT, |files| {
        files.insert(BASH_AT.into(), rpm(BASH).to_ascii_uppercase());
    }),
    (&["lists-differ"], "BaseOS/x86_64/os/repodata/filelists.xml.gz", |files| {
        let sum = Checksum::sha256(&rpm(BASH));
        rewrite(files, "filelists.xml.gz", sum.hex(), &"ab".repeat(32));
    }),
    (&["lists-differ"], "BaseOS/x86_64/os/repodata/other.xml.gz", |files| {
        let text = plain(&files[&format!("{OS}/repodata/other.xml.gz")]);
        let last = text.rfind("<package").unwrap();
        let end = text.rfind("</otherdata>").unwrap();
        let cut = text[last..end].to_owned();
        rewrite(files, "other.xml.gz", &cut, "");
        rewrite(files, "other.xml.gz", "packages=\"2\"", "packages=\"1\"");
    }),
    (&["unlisted"], "BaseOS/x86_64/os/Packages/x.rpm", |files| {
        files.insert(format!("{OS}/Packages/x.rpm"), rpm("x"));
    }),
    (&["twin"], "BaseOS/x86_64/os/Packages/again/bash.rpm", |files| {
        let bash = files[&format!("{OS}/Packages/bash.rpm")].clone();
        files.insert(format!("{OS}/Packages/again/bash.rpm"), bash);
    }),
    (&["leftover"], "BaseOS/x86_64/os/repodata/old-primary.xml.gz", |files| {
        files.insert(format!("{OS}/repodata/old-primary.xml.gz"), b"old".to_vec());
    }),
    (&["leftover"], "BaseOS/x86_64/os/repodata/cache", |files| {
        files.insert(format!("{OS}/repodata/cache/x"), b"old".to_vec());
    }),
    // treeinfo
    (&["treeinfo-unreadable"], TREEINFO, |files| {
        files.insert(TREEINFO.into(), b"no section".to_vec());
    }),
    (&["treeinfo-unreadable"], TREEINFO, |files| {
        files.insert(TREEINFO.into(), vec![b'\n'; (1 << 20) + 1]);
    }),
    (&["treeinfo-unreadable"], TREEINFO, |files| {
        replace(files, TREEINFO, "images/boot.iso = sha256", "../../../../x = sha256");
    }),
    (&["treeinfo-weak-checksum"], TREEINFO, |files| {
        let sum = Checksum::sha256(b"boot").to_string();
        replace(files, TREEINFO, &sum, &format!("md5:{}", "a".repeat(32)));
    }),
    (&["treeinfo-checksum-type"], TREEINFO, |files| {
        let sum = Checksum::sha256(b"boot").to_string();
        replace(files, TREEINFO, &sum, &format!("sha512:{}", "a".repeat(128)));
    }),
    (&["treeinfo-file-missing"], TREEINFO, |files| {
        replace(files, TREEINFO, "images/boot.iso = sha256", "images/other.iso = sha256");
    }),
    (&["treeinfo-file-missing", "treeinfo-image-missing"], TREEINFO, |files| {
        files.remove(&format!("{OS}/images/boot.iso"));
    }),
    (&["treeinfo-checksum"], TREEINFO, |files| {
        files.insert(format!("{OS}/images/boot.iso"), b"another".to_vec());
    }),
    (&["treeinfo-image-missing"], TREEINFO, |files| {
        replace(files, TREEINFO, "boot.iso = images/boot.iso", "boot.iso = images");
    }),
    (&["treeinfo-variant-path"], TREEINFO, |files| {
        replace(files, TREEINFO, "repository = .\n", "repository = Packages\n");
    }),
    (&["treeinfo-variant-path"], TREEINFO, |files| {
        replace(files, TREEINFO, "os/Packages", "os/packages");
    }),
    (&["treeinfo-variant-path"], TREEINFO, |files| {
        replace(files, TREEINFO, "../../../AppStream/x86_64/os/\n", "../../../../AppStream\n");
    }),
    (&["treeinfo-variant-path"], TREEINFO, |files| {
        replace(files, TREEINFO, "repository = .\n", "repository = https://example.org/os\n");
    }),
];

/// A fault in the tree itself.
type TreeCase = (&'static [&'static str], &'static str, fn(&Draft<'_>, &DirEntry) -> DirEntry);

/// A file whose content nobody has.
fn lost(size: u64) -> FileEntry {
    FileEntry { object: ObjectId::of(b"never stored"), size, mode: 0o644, mtime: MTIME }
}

const TREE_CASES: &[TreeCase] = &[
    (&["object-missing"], "README", |draft, root| {
        put(draft, root, "README", Entry::File(lost(12)))
    }),
    (&["object-missing", "content"], BASH_AT, |draft, root| {
        put(draft, root, BASH_AT, Entry::File(lost(rpm(BASH).len() as u64)))
    }),
    (&["object-missing", "treeinfo-content"], TREEINFO, |draft, root| {
        put(draft, root, TREEINFO, Entry::File(lost(100)))
    }),
    (&["object-missing", "content"], REPOMD, |draft, root| {
        put(draft, root, REPOMD, Entry::File(lost(100)))
    }),
    (&["package-missing"], BASH_AT, |draft, root| put(draft, root, BASH_AT, link("bash.rpm"))),
    (&["package-missing"], BASH_AT, |draft, root| {
        put(draft, root, BASH_AT, link("../../../../../bash.rpm"))
    }),
    (&["package-missing"], BASH_AT, |draft, root| put(draft, root, BASH_AT, link("/bash.rpm"))),
];

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

#[test]
fn a_whole_release_passes() {
    let world = World::new();
    let draft = Draft::new(&world.site.store);
    let root = world.tree(&draft, &release());
    let reports = world.judge(&draft, None, root, Mode::Apply);
    let verdicts: Vec<_> =
        reports.iter().map(|report| (report.gate.as_str(), report.verdict)).collect();
    let expected = [
        ("repodata", Verdict::Passed),
        ("files-exist", Verdict::Passed),
        ("signatures", Verdict::Skipped),
        ("no-downgrade", Verdict::Skipped),
        ("no-loss", Verdict::Skipped),
        ("treeinfo", Verdict::Passed),
    ];
    assert_eq!(verdicts, expected);
    assert_eq!(all(reports), []);
}

#[test]
fn each_fault_is_named_by_exactly_its_rule() {
    let world = World::new();
    for (index, (rules, at, change)) in CASES.iter().enumerate() {
        let mut files = release();
        change(&mut files);
        let findings = world.findings(&files);
        assert_found(&format!("case {index}, {rules:?}"), &findings, rules, at);
        // The second time, from what is remembered, it is the same.
        assert_eq!(world.findings(&files), findings, "case {index}, {rules:?}");
    }
    for (index, (rules, at, change)) in TREE_CASES.iter().enumerate() {
        let draft = Draft::new(&world.site.store);
        let root = change(&draft, &world.tree(&draft, &release()));
        let findings = all(world.judge(&draft, None, root, Mode::Apply));
        assert_found(&format!("tree case {index}, {rules:?}"), &findings, rules, at);
    }
}

#[test]
fn what_real_releases_do_is_no_fault() {
    let world = World::new();
    // Packages beside the repos, listed by two of them, and by nobody else.
    let mut files = release();
    files.insert("BaseOS/store/ab/x.rpm".into(), rpm(VIM));
    repodata(&mut files, "BaseOS/a/os", &[(VIM, "../../store/ab/x.rpm")], &[]);
    repodata(&mut files, "BaseOS/b/os", &[(VIM, "../../store/ab/x.rpm")], &[]);
    assert_eq!(world.findings(&files), []);
    // One more that nobody lists.
    files.insert("BaseOS/store/ab/y.rpm".into(), rpm("y"));
    let found = world.findings(&files);
    assert_found("a stray one", &found, &["rpms-without-repodata"], "BaseOS/store");
    assert!(found[0].message.starts_with("1 package is here"), "{found:?}");

    // A repo in a repo, whose packages only the outer one lists.
    let mut files = release();
    files.insert("x/inner/Packages/vim.rpm".into(), rpm(VIM));
    repodata(&mut files, "x", &[(VIM, "inner/Packages/vim.rpm")], &[]);
    repodata(&mut files, "x/inner", &[], &[]);
    assert_eq!(world.findings(&files), []);

    // A whole kickstart tree reached through a link.
    let draft = Draft::new(&world.site.store);
    let mut files = release();
    repodata(&mut files, "BaseOS/x86_64/kickstart", &[(BASH, "Packages/bash.rpm")], &[]);
    let root = world.tree(&draft, &files);
    let root = put(&draft, &root, "BaseOS/x86_64/kickstart/Packages", link("../os/Packages"));
    assert_eq!(all(world.judge(&draft, None, root, Mode::Apply)), []);

    // An empty tree, and one without any package.
    assert_eq!(world.findings(&Files::new()), []);
    let readme = Files::from([("README".to_owned(), b"hello".to_vec())]);
    assert_eq!(world.findings(&readme), []);
}

#[test]
fn another_checksum_type_is_computed() {
    use sha2::Digest as _;
    let world = World::new();
    let mut files = release();
    let digest = sha2::Sha512::digest(rpm(BASH));
    let sums = [cairn_store::id::hex(&digest), "ab".repeat(64)];
    for (sum, rules) in sums.iter().zip([&[][..], &["package-checksum"]]) {
        let mut files = std::mem::replace(&mut files, release());
        let old = Checksum::sha256(&rpm(BASH)).hex().to_owned();
        let (old_kind, kind) = (format!("type=\"sha256\" pkgid=\"YES\">{old}"), "sha512");
        let new = format!("type=\"{kind}\" pkgid=\"YES\">{sum}");
        rewrite(&mut files, "primary.xml.gz", &old_kind, &new);
        rewrite(&mut files, "filelists.xml.gz", &old, sum);
        rewrite(&mut files, "other.xml.gz", &old, sum);
        let found = world.findings(&files);
        assert_eq!(rules_of(&found), rules.iter().copied().collect(), "{found:#?}");
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
fn packages_may_not_go_back_or_vanish() {
    type Repos = &'static [(&'static str, &'static [&'static str])];
    type Case = (&'static str, Repos, Repos, &'static [(&'static str, &'static str)]);
    const ZSH_9: &str = "zsh-9.0-1.el9.x86_64";
    const CASES: &[Case] = &[
        ("nothing changes", &[("a", &[BASH])], &[("a", &[BASH])], &[]),
        ("a newer one", &[("a", &[ZSH])], &[("a", &[ZSH_9])], &[]),
        ("a newer one beside it", &[("a", &[ZSH])], &[("a", &[ZSH, ZSH_9])], &[]),
        ("an older one", &[("a", &[ZSH_9])], &[("a", &[ZSH])], &[("no-downgrade", "downgraded")]),
        (
            "the newer one withdrawn",
            &[("a", &[ZSH, ZSH_9])],
            &[("a", &[ZSH])],
            &[("no-downgrade", "downgraded")],
        ),
        ("an older one tidied away", &[("a", &[ZSH, ZSH_9])], &[("a", &[ZSH_9])], &[]),
        (
            "one that vanishes",
            &[("a", &[BASH, ZSH])],
            &[("a", &[BASH])],
            &[("no-loss", "package-lost")],
        ),
        (
            "in both its versions",
            &[("a", &[BASH, ZSH, ZSH_9])],
            &[("a", &[BASH])],
            &[("no-loss", "package-lost")],
        ),
        (
            "one that moves",
            &[("a", &[BASH, ZSH]), ("b", &[VIM])],
            &[("a", &[BASH]), ("b", &[VIM, ZSH])],
            &[("no-loss", "package-moved")],
        ),
        (
            "a repo that vanishes",
            &[("a", &[BASH]), ("b", &[VIM])],
            &[("a", &[BASH])],
            &[("no-loss", "repo-lost")],
        ),
    ];
    let world = World::new();
    let judge = |old: &Files, new: &Files| {
        let draft = Draft::new(&world.site.store);
        let [old, new] = [old, new].map(|files| world.tree(&draft, files));
        let mut found = all(world.judge(&draft, Some(old), new, Mode::Apply));
        found.retain(|finding| finding.gate.starts_with("no-"));
        found
    };
    for (label, old, new, expected) in CASES {
        let found = judge(&repos(old), &repos(new));
        let found: Vec<_> = found.iter().map(|finding| (finding.gate, finding.rule)).collect();
        assert_eq!(found, *expected, "{label}");
    }
    // What cannot be compared: a fault of the new side, not of the old one.
    let sound = repos(&[("a", &[BASH])]);
    let mut broken = sound.clone();
    broken.insert("a/repodata/primary.xml.gz".into(), b"x".to_vec());
    broken.insert("a/repodata/repomd.xml".into(), b"x".to_vec());
    for (old, new, rule) in
        [(&sound, &broken, "not-compared"), (&broken, &sound, "old-not-compared")]
    {
        let found = judge(old, new);
        let found: Vec<_> = found.iter().map(|finding| (finding.gate, finding.rule)).collect();
        assert_eq!(found, [("no-downgrade", rule), ("no-loss", rule)]);
    }
}

#[test]
fn what_was_whole_is_not_read_again_and_a_dry_run_remembers_nothing() {
    let world = World::new();
    let stages = |files: &Files, mode| {
        struct Watch(std::sync::Mutex<Vec<(String, u64)>>);
        impl Observer for Watch {
            fn begin(&self, stage: &str, files: u64, _: u64) {
                self.0.lock().unwrap().push((stage.to_owned(), files));
            }
        }
        let watch = Watch(Default::default());
        let draft = Draft::new(&world.site.store);
        let subject = Subject {
            site: &world.site,
            draft: &draft,
            root: world.tree(&draft, files),
            before: None,
            published: None,
            release: None,
            version: None,
            mount: None,
            mode,
            observer: &watch,
            shared: Shared::default(),
        };
        let reports = run(&subject, &["repodata".to_owned()]).unwrap();
        assert_eq!(reports[0].verdict, Verdict::Passed);
        watch.0.into_inner().unwrap()
    };
    let reading = |repos| ("Reading repodata".to_owned(), repos);
    let hashing = |files| ("Computing SHA-256".to_owned(), files);
    let files = release();
    assert_eq!(stages(&files, Mode::DryRun), [reading(3), hashing(3)]);
    assert_eq!(stages(&files, Mode::Apply), [reading(3), hashing(3)], "nothing was remembered");
    // The kickstart tree depends on another, and is read each time; no package is.
    assert_eq!(stages(&files, Mode::Apply), [reading(1)]);
    // The same repo at another place is the same repo; another byte in it is another.
    let mut files = repos(&[("x", &[VIM])]);
    assert_eq!(stages(&files, Mode::Apply).first(), Some(&reading(1)));
    files.append(&mut repos(&[("y", &[VIM])]));
    assert_eq!(stages(&files, Mode::Apply), [reading(0)]);
    files.insert("x/EULA".into(), b"new".to_vec());
    assert_eq!(stages(&files, Mode::Apply), [reading(1)]);
    // What leads out and back means something else at another place.
    let mut files = Files::from([("z/Packages/vim.rpm".to_owned(), rpm(VIM))]);
    repodata(&mut files, "z", &[(VIM, "../z/Packages/vim.rpm")], &[]);
    for _ in 0..2 {
        assert_eq!(stages(&files, Mode::Apply), [reading(1)]);
    }
}

#[test]
fn findings_are_bounded_and_counted() {
    let nevras: Vec<String> = (0..150).map(|n| format!("p{n}-1-1.x86_64")).collect();
    let nevras: Vec<&str> = nevras.iter().map(String::as_str).collect();
    let mut files = repos(&[("a", &nevras), ("b", &nevras)]);
    files.retain(|name, _| !name.ends_with(".rpm"));
    let world = World::new();
    let draft = Draft::new(&world.site.store);
    let root = world.tree(&draft, &files);
    let report = world.judge(&draft, None, root, Mode::Apply).remove(0);
    assert_eq!((report.gate.as_str(), report.verdict), ("repodata", Verdict::Failed));
    assert_eq!((report.failures, report.warnings), (300, 0));
    assert_eq!((report.findings.len(), report.omitted), (100, 200));
}

#[test]
fn an_object_of_another_size_is_found_in_its_pool() {
    let world = World::new();
    let mount = world.site.store.mount("production").unwrap();
    let (id, name) =
        (ObjectId::of(b"content"), cairn_store::pool::name_of(&ObjectId::of(b"content")));
    let name = std::str::from_utf8(&name).unwrap();
    let file = mount.pool().root().path().join("objects").join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let draft = Draft::new(&world.site.store);
    let entry = FileEntry { object: id, size: 7, mode: 0o644, mtime: MTIME };
    let root = put(&draft, &draft.empty(0o755, MTIME), "x", Entry::File(entry));
    for (content, rules) in [("content", &[][..]), ("cut", &["object-size"])] {
        std::fs::write(&file, content).unwrap();
        let found = all(world.judge(&draft, None, root, Mode::Apply));
        assert_eq!(rules_of(&found), rules.iter().copied().collect(), "{found:#?}");
    }
}

#[test]
fn every_rule_has_a_test_and_every_name_a_gate() {
    let tested = CASES.iter().flat_map(|case| case.0).chain(TREE_CASES.iter().flat_map(|c| c.0));
    let mut tested: BTreeSet<&str> = tested.copied().collect();
    // In tests of their own above and below.
    tested.extend(["downgraded", "package-lost", "package-moved", "repo-lost"]);
    tested.extend(["not-compared", "old-not-compared", "object-size"]);
    tested.extend(["signature-missing", "signature-bad", "signature-content"]);
    let known: BTreeSet<&str> = rules().map(|(_, rule, _)| rule).collect();
    assert_eq!(tested, known);
    for name in built_in() {
        assert!(GATES.iter().any(|gate| gate.name() == name), "{name}");
    }
    assert_eq!(GATES.len(), built_in().len());
}

#[test]
fn signatures_are_demanded_of_every_repo() {
    use crate::signing::tests::Keys;
    let keys = Keys::new();
    let key = keys.public("A.asc", &["A"]);
    let world = World::with(&format!("[sign]\nkey = \"A\"\nverify_key = \"{}\"\n", key.display()));
    let mut files = repos(&[("a", &[BASH]), ("b", &[VIM])]);
    let judge = |files: &Files| {
        let draft = Draft::new(&world.site.store);
        let root = world.tree(&draft, files);
        let mut reports = world.judge(&draft, None, root, Mode::Apply);
        reports.retain(|report| report.gate == "signatures");
        (reports[0].verdict, all(reports))
    };
    let (verdict, found) = judge(&files);
    assert_eq!(verdict, Verdict::Failed);
    assert_found("unsigned", &found, &["signature-missing"], "a/repodata/repomd.xml.asc");
    assert_eq!(found.len(), 2);

    for at in ["a", "b"] {
        let signature = keys.signed(
            &["--armor", "--local-user", "A", "--detach-sign"],
            &files[&format!("{at}/repodata/repomd.xml")],
        );
        files.insert(format!("{at}/repodata/repomd.xml.asc"), signature);
    }
    assert_eq!(judge(&files), (Verdict::Passed, vec![]));
    // From what is remembered.
    assert_eq!(judge(&files), (Verdict::Passed, vec![]));

    // The other repo's signature, and none at all.
    for wrong in [files["b/repodata/repomd.xml.asc"].clone(), b"signed, the director".to_vec()] {
        let mut files = files.clone();
        files.insert("a/repodata/repomd.xml.asc".into(), wrong);
        let (_, found) = judge(&files);
        assert_found("wrong", &found, &["signature-bad"], "a/repodata/repomd.xml.asc");
    }
    let draft = Draft::new(&world.site.store);
    let root = world.tree(&draft, &files);
    let root = put(&draft, &root, "a/repodata/repomd.xml.asc", Entry::File(lost(100)));
    let found = all(world.judge(&draft, None, root, Mode::Apply));
    assert!(rules_of(&found).contains("signature-content"), "{found:#?}");

    // What a plan puts where a signature will be made is good in a plan, and only there.
    files.insert("a/repodata/repomd.xml.asc".into(), crate::signing::PLANNED.to_vec());
    let root = world.tree(&draft, &files);
    assert_eq!(all(world.judge(&draft, None, root, Mode::DryRun)), []);
    let found = all(world.judge(&draft, None, root, Mode::Apply));
    assert_found("planned", &found, &["signature-bad"], "a/repodata/repomd.xml.asc");
}
