//! The gates that judge a tree by itself: a fault in each place, named by exactly its rule.

use super::*;

/// Rules with a test of their own below.
pub(super) const OTHERS: &[&str] = &["object-size"];

/// A fault in the files of the release, and the rules that must name it, with the path.
pub(super) type Case = (&'static [&'static str], &'static str, fn(&mut Files));

pub(super) const CASES: &[Case] = &[
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
pub(super) type TreeCase =
    (&'static [&'static str], &'static str, fn(&Draft<'_>, &DirEntry) -> DirEntry);

pub(super) const TREE_CASES: &[TreeCase] = &[
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
        ("no-rebuild", Verdict::Skipped),
        ("advisories-kept", Verdict::Skipped),
        ("streams-kept", Verdict::Skipped),
        ("comps-kept", Verdict::Skipped),
        ("deletions", Verdict::Skipped),
        ("closure", Verdict::Passed),
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
