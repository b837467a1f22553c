//! `signatures`, with keys of gpg's.

use super::*;

/// What is tested here.
pub(super) const RULES: &[&str] = &[
    "signature-missing",
    "signature-bad",
    "signature-content",
    "package-unsigned",
    "package-key-foreign",
    "package-signature-broken",
    "package-unreadable",
];

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

/// An RPM in its parts, so that a test can say what is signed and by whom.
struct Parts {
    lead: Vec<u8>,
    main: Vec<u8>,
    payload: Vec<u8>,
}

impl Parts {
    fn new(name: &str) -> Parts {
        let mut bytes = Vec::new();
        let package = ::rpm::PackageBuilder::new(name, "1", "MIT", "x86_64", "A package").build();
        package.unwrap().write(&mut bytes).unwrap();
        let headers = cairn_repodata::header::Headers::read("x", bytes.as_slice()).unwrap();
        let [start, end] = [headers.start as usize, headers.end as usize];
        Parts {
            lead: bytes[..96].to_vec(),
            main: bytes[start..end].to_vec(),
            payload: bytes[end..].to_vec(),
        }
    }

    /// Puts it together with signatures: each a tag, its type, its count, its data.
    fn with(&self, signatures: &[(u32, u32, u32, Vec<u8>)]) -> Vec<u8> {
        let size: usize = signatures.iter().map(|(.., data)| data.len()).sum();
        let mut section = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
        section.extend((signatures.len() as u32).to_be_bytes());
        section.extend((size as u32).to_be_bytes());
        let mut offset = 0u32;
        for (tag, kind, count, data) in signatures {
            for number in [tag, kind, &offset, count] {
                section.extend(number.to_be_bytes());
            }
            offset += data.len() as u32;
        }
        signatures.iter().for_each(|(.., data)| section.extend(data));
        section.resize(section.len().next_multiple_of(8), 0);
        [&self.lead, &section, &self.main, &self.payload].into_iter().flatten().copied().collect()
    }
}

/// The tags of a binary packet: RSA's, and the one for DSA and EdDSA.
const RSA: u32 = 268;
const DSA: u32 = 267;

fn packet(tag: u32, bytes: &[u8]) -> (u32, u32, u32, Vec<u8>) {
    (tag, 7, bytes.len() as u32, bytes.to_vec())
}

/// The list of RPM 6.
fn list(packets: &[&[u8]]) -> (u32, u32, u32, Vec<u8>) {
    use base64::Engine as _;
    let encode = |packet: &&[u8]| {
        let mut text = base64::engine::general_purpose::STANDARD.encode(packet).into_bytes();
        // Broken as armour is.
        text.insert(64.min(text.len()), b'\n');
        text.push(0);
        text
    };
    let data: Vec<u8> = packets.iter().flat_map(encode).collect();
    (278, 8, packets.len() as u32, data)
}

#[test]
fn packages_are_signed_by_a_key_of_the_release() {
    use crate::signing::tests::Keys;
    let keys = Keys::new();
    keys.another("B");
    let [a, b] = ["A", "B"].map(|name| keys.public(&format!("{name}.asc"), &[name]));
    let section = |files: &[&Path]| {
        let files: Vec<String> = files.iter().map(|file| format!("{:?}", file.display())).collect();
        format!("[gate.signatures]\npackage_keys = [{}]\n", files.join(", ").replace("\\", ""))
    };
    let package = Parts::new("bash");
    let sign = |user: &str, more: &[&str], bytes: &[u8]| {
        let mut options = vec!["--local-user", user, "--detach-sign"];
        options.extend(more);
        keys.signed(&options, bytes)
    };
    let by_a = sign("A", &[], &package.main);
    let by_b = sign("B", &[], &package.main);
    let weak = sign("A", &["--digest-algo", "SHA1"], &package.main);
    let other = sign("A", &[], b"another header");
    let mut changed = Parts::new("bash");
    *changed.main.last_mut().unwrap() ^= 1;
    type Case<'a> = (&'a str, Vec<u8>, &'a [&'a str], &'a str);
    let cases: &[Case<'_>] = &[
        ("for EdDSA", package.with(&[packet(DSA, &by_a)]), &[], ""),
        // Clients ask the packet which algorithm it is, not the tag.
        ("for RSA", package.with(&[packet(RSA, &by_a)]), &[], ""),
        ("of RPM 6", package.with(&[list(&[&by_a])]), &[], ""),
        ("one of two", package.with(&[list(&[&by_b, &by_a])]), &[], ""),
        ("none", package.with(&[]), &["package-unsigned"], "carries no signature"),
        // Over header and payload, as RPM 3 did.
        ("old", package.with(&[packet(1002, &by_a)]), &["package-unsigned"], "no signature"),
        ("empty", package.with(&[packet(RSA, b"")]), &["package-unsigned"], "no signature"),
        (
            "foreign",
            package.with(&[packet(RSA, &by_b)]),
            &["package-key-foreign"],
            "which is not a configured one",
        ),
        (
            "other bytes",
            package.with(&[packet(RSA, &other)]),
            &["package-signature-broken"],
            "was made over other bytes",
        ),
        (
            "header changed",
            changed.with(&[packet(RSA, &by_a)]),
            &["package-signature-broken"],
            "was made over other bytes",
        ),
        (
            "one good and one bad",
            package.with(&[list(&[&by_a, &other])]),
            &["package-signature-broken"],
            "was made over other bytes",
        ),
        (
            "weak",
            package.with(&[packet(RSA, &weak)]),
            &["package-signature-broken"],
            "uses SHA-1, which clients refuse",
        ),
        (
            "noise",
            package.with(&[packet(RSA, b"signed, the director")]),
            &["package-signature-broken"],
            "it is no OpenPGP packet",
        ),
        (
            "binary noise",
            package.with(&[packet(RSA, &[0xff; 40])]),
            &["package-signature-broken"],
            "is none: ",
        ),
        (
            "another type",
            package.with(&[(RSA, 4, 1, vec![0; 4])]),
            &["package-unreadable"],
            "tag 268 of its signature has type 4",
        ),
        (
            "too many",
            package.with(&[list(&[by_a.as_slice(); 17])]),
            &["package-unreadable"],
            "more than 16 signatures",
        ),
        ("no RPM", b"this is bash".to_vec(), &["package-unreadable"], "truncated"),
    ];
    let judge = |world: &World, rpm: &[u8], mode| {
        let draft = Draft::new(&world.site.store);
        let files = Files::from([
            ("Packages/bash.rpm".to_owned(), rpm.to_vec()),
            ("kickstart/Packages/bash.rpm".to_owned(), rpm.to_vec()),
        ]);
        let root = world.tree(&draft, &files);
        let mut reports = world.judge(&draft, None, root, mode);
        reports.retain(|report| report.gate == "signatures");
        reports.remove(0)
    };
    let world = World::with(&section(&[&a]));
    for (label, rpm, rules, said) in cases {
        for _ in 0..2 {
            let report = judge(&world, rpm, Mode::Apply);
            assert_eq!(report.reason, None, "{label}");
            if rules.is_empty() {
                assert_eq!(report.findings, [], "{label}");
                continue;
            }
            // One package, in two places.
            assert_eq!(report.findings.len(), 1, "{label}: {:#?}", report.findings);
            assert_found(label, &report.findings, rules, "Packages/bash.rpm");
            let message = &report.findings[0].message;
            assert!(message.contains(said), "{label}: {message}");
        }
    }
    // Another set of keys is another verdict: what was foreign is not, and what was good is.
    let world = World::with(&section(&[&a, &b]));
    assert_eq!(judge(&world, &cases[7].1, Mode::Apply).findings, []);
    let world = World::with(&section(&[&b]));
    let found = judge(&world, &cases[0].1, Mode::Apply).findings;
    assert_found("only B's", &found, &["package-key-foreign"], "Packages/bash.rpm");

    // A key that is not there keeps everything from being judged.
    let world = World::with(&section(&[Path::new("/nowhere/key")]));
    let draft = Draft::new(&world.site.store);
    let subject = world.subject(&draft, None, draft.empty(0o755, MTIME), Mode::Apply);
    let error = run(&subject, &["signatures".to_owned()]).unwrap_err();
    assert!(error.to_string().contains("/nowhere/key"), "{error}");
}

#[test]
fn packages_are_judged_once_and_a_dry_run_remembers_nothing() {
    use crate::signing::tests::Keys;
    let keys = Keys::new();
    let a = keys.public("A.asc", &["A"]);
    let world = World::with(&format!("[gate.signatures]\npackage_keys = [\"{}\"]\n", a.display()));
    let package = Parts::new("bash");
    let signature = keys.signed(&["--local-user", "A", "--detach-sign"], &package.main);
    let unsigned = Parts::new("zsh").with(&[]);
    let files = Files::from([
        ("a/bash.rpm".to_owned(), package.with(&[packet(DSA, &signature)])),
        ("b/zsh.rpm".to_owned(), unsigned),
    ]);
    let asked = |mode| {
        let draft = Draft::new(&world.site.store);
        let root = world.tree(&draft, &files);
        let watch = verdicts::Watch::default();
        let subject = Subject { observer: &watch, ..world.subject(&draft, None, root, mode) };
        let report = run(&subject, &["signatures".to_owned()]).unwrap().remove(0);
        assert_eq!((report.verdict, report.failures), (Verdict::Failed, 1));
        watch.stages()
    };
    let verifying = |packages| vec![("Verifying packages".to_owned(), packages)];
    assert_eq!(asked(Mode::DryRun), verifying(2));
    assert_eq!(asked(Mode::Apply), verifying(2), "nothing was remembered");
    assert_eq!(asked(Mode::Apply), verifying(1), "what fails is asked again");
}
