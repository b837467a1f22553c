//! `closure`.

use cairn_repodata::primary::{Compare, Dependency, File, FileKind};
use cairn_store::log::RefEdit;
use cairn_store::refs::RefName;
use cairn_store::snapshot::{Origin, Snapshot};
use cairn_store::store::Proposal;

use super::*;

/// What is tested here.
pub(super) const RULES: &[&str] = &[
    "unresolved",
    "unresolved-before",
    "unresolved-allowed",
    "unresolved-outdated",
    "unresolved-in-one-case",
    "weak-unresolved",
    "dependency-malformed",
    "closure-not-read",
];

/// A package: its NEVRA, and lines such as `requires bash >= 5`.
type Described = (&'static str, &'static [&'static str]);

fn dependency(text: &str) -> Dependency {
    let mut words = text.split(' ');
    match (text.starts_with('('), words.next(), words.next(), words.next()) {
        (false, Some(name), Some(sign), Some(version)) => {
            let evr = cairn_repodata::Evr::parse(version).unwrap();
            Dependency {
                name: name.into(),
                compare: Some(match sign {
                    "<" => Compare::Lt,
                    "<=" => Compare::Le,
                    "=" => Compare::Eq,
                    ">=" => Compare::Ge,
                    _ => Compare::Gt,
                }),
                epoch: Some(evr.epoch.to_string()),
                version: Some(evr.version),
                release: Some(evr.release).filter(|release| !release.is_empty()),
                pre: false,
            }
        }
        _ => Dependency { name: text.into(), ..Dependency::default() },
    }
}

/// Adds a repo of such packages.
fn repo(files: &mut Files, at: &str, packages: &[Described]) {
    let options =
        Write { compression: Compression::Gzip, names: FileNames::Plain, ..Write::default() };
    let mut builder = RepodataBuilder::new(options);
    for (nevra, lines) in packages {
        let href = format!("Packages/{nevra}.rpm");
        let mut made = package(nevra, &href);
        let own = format!("{} = {}", made.primary.nevra.name, made.primary.nevra.evr);
        let relations = &mut made.primary.relations;
        relations.provides.push(dependency(&own));
        for line in *lines {
            let (kind, what) = line.split_once(' ').unwrap();
            match kind {
                "provides" => relations.provides.push(dependency(what)),
                "requires" => relations.requires.push(dependency(what)),
                "recommends" => relations.recommends.push(dependency(what)),
                "suggests" => relations.suggests.push(dependency(what)),
                "supplements" => relations.supplements.push(dependency(what)),
                _ => {
                    let file = File { path: what.into(), kind: FileKind::File };
                    // Of the files, primary has programs alone.
                    if what.contains("bin/") {
                        made.primary.files.push(file.clone());
                    }
                    made.files.push(file);
                }
            }
        }
        builder.package(&made).unwrap();
        files.insert(format!("{at}/{href}"), rpm(nevra));
    }
    for file in builder.finish().unwrap() {
        files.insert(format!("{at}/repodata/{}", file.name), file.bytes);
    }
}

fn tree(repos: &[(&str, &[Described])]) -> Files {
    let mut files = Files::new();
    for (at, packages) in repos {
        repo(&mut files, at, packages);
    }
    files
}

fn judge(world: &World, old: Option<&Files>, new: &Files) -> Vec<Finding> {
    let draft = Draft::new(&world.site.store);
    let old = old.map(|files| world.tree(&draft, files));
    let root = world.tree(&draft, new);
    let subject = world.subject(&draft, old, root, Mode::Apply);
    run(&subject, &["closure".to_owned()]).unwrap().remove(0).findings
}

const BASE: Described = (
    BASH,
    &["provides /bin/sh", "provides lib.so.1()(64bit)", "file /usr/bin/bash", "file /etc/bashrc"],
);

#[test]
fn what_is_required_is_there_or_named() {
    let world = World::new();
    /// What it is, a package, and the rule and words that name it.
    type Case = (&'static str, Described, Option<(&'static str, &'static str)>);
    let cases: &[Case] = &[
        ("nothing", (ZSH, &[]), None),
        ("a name", (ZSH, &["requires bash"]), None),
        ("a version", (ZSH, &["requires bash >= 5.1"]), None),
        ("a program", (ZSH, &["requires /usr/bin/bash"]), None),
        ("a provided path", (ZSH, &["requires /bin/sh"]), None),
        // Not in primary.
        ("another file", (ZSH, &["requires /etc/bashrc"]), None),
        ("a library", (ZSH, &["requires lib.so.1()(64bit)"]), None),
        ("rpm's own", (ZSH, &["requires rpmlib(PayloadIsZstd) <= 5.4.18-1"]), None),
        ("itself", (ZSH, &["requires zsh = 5.8-1.el9"]), None),
        ("what would supplement", (ZSH, &["supplements nowhere"]), None),
        ("a rich one", (ZSH, &["requires (bash >= 5 and (nowhere or /bin/sh))"]), None),
        (
            "a name that is nowhere",
            (ZSH, &["requires nowhere"]),
            Some(("unresolved", "zsh-5.8-1.el9.x86_64 requires nowhere, which no repo of x86_64")),
        ),
        (
            "a later version",
            (ZSH, &["requires bash >= 1:5.1"]),
            Some(("unresolved", "requires bash >= 1:5.1, which no repo")),
        ),
        ("a file", (ZSH, &["requires /etc/zshrc"]), Some(("unresolved", "requires /etc/zshrc,"))),
        (
            "one of two",
            (ZSH, &["requires (bash and nowhere)"]),
            Some(("unresolved", "requires (bash and nowhere), which")),
        ),
        (
            "one package",
            (ZSH, &["requires (bash with zsh)"]),
            Some(("unresolved", "requires (bash with zsh), which")),
        ),
        (
            "a case",
            (ZSH, &["requires (nowhere if bash)"]),
            Some(("unresolved-in-one-case", "in one of its cases no repo of x86_64")),
        ),
        (
            "no dependency",
            (ZSH, &["requires (bash xor zsh)"]),
            Some(("dependency-malformed", "is no dependency: \"xor\" is no operator")),
        ),
        (
            "a wish",
            (ZSH, &["recommends nowhere"]),
            Some(("weak-unresolved", "zsh-5.8-1.el9.x86_64 recommends nowhere, which")),
        ),
        (
            "a hint",
            (ZSH, &["suggests nowhere"]),
            Some(("weak-unresolved", "zsh-5.8-1.el9.x86_64 suggests nowhere, which")),
        ),
    ];
    for (label, package, expected) in cases {
        let files = tree(&[("AppStream/x86_64/os", &[*package]), (OS, &[BASE])]);
        // The second time from what is remembered.
        for _ in 0..2 {
            let found = judge(&world, None, &files);
            let Some((rule, said)) = expected else {
                assert_eq!(found, [], "{label}");
                continue;
            };
            assert_found(label, &found, &[rule], "AppStream/x86_64/os");
            assert_eq!(found.len(), 1, "{label}: {found:#?}");
            assert!(found[0].message.contains(said), "{label}: {}", found[0].message);
        }
    }
}

#[test]
fn a_world_is_one_architecture_and_its_side_trees_use_the_main_repos() {
    let world = World::new();
    let wants: Described = (ZSH, &["requires bash"]);
    let place = |at: &'static str| tree(&[(at, &[wants]), (OS, &[BASE])]);
    for (at, resolved) in [
        ("AppStream/x86_64/os", true),
        ("AppStream/x86_64/kickstart", true),
        ("AppStream/x86_64/debug/tree", true),
        ("AppStream/aarch64/os", false),
        ("extras", false),
        // Build requirements are not for whoever installs.
        ("AppStream/source/tree", true),
    ] {
        assert_eq!(judge(&world, None, &place(at)).is_empty(), resolved, "{at}");
    }
    let side = tree(&[(OS, &[wants]), ("BaseOS/x86_64/kickstart", &[BASE])]);
    assert_eq!(rules_of(&judge(&world, None, &side)), ["unresolved"].into());
    let source: Described = ("zsh-5.8-1.el9.src", &["requires gcc"]);
    assert_eq!(judge(&world, None, &tree(&[(OS, &[source])])), []);
}

#[test]
fn what_was_so_before_is_outdated_or_allowed_does_not_fail() {
    let world = World::with("[gate.closure]\nallow = [\"zs*\"]\n");
    let plain = World::new();
    let missing: Described = (VIM, &["requires nowhere"]);
    let before = tree(&[(OS, &[BASE, ("vim-8.0-1.el9.x86_64", &["requires nowhere"])])]);
    let new = tree(&[(OS, &[BASE, missing])]);
    assert_eq!(rules_of(&judge(&plain, None, &new)), ["unresolved"].into());
    assert_eq!(rules_of(&judge(&plain, Some(&before), &new)), ["unresolved-before"].into());
    // Another requirement than before.
    let other = tree(&[(OS, &[BASE, (VIM, &["requires elsewhere"])])]);
    assert_eq!(rules_of(&judge(&plain, Some(&before), &other)), ["unresolved"].into());
    // What goes leaves somebody behind.
    let whole = tree(&[(OS, &[BASE, (VIM, &["requires bash"])])]);
    let broken = tree(&[(OS, &[(VIM, &["requires bash"])])]);
    assert_eq!(judge(&plain, None, &whole), []);
    assert_eq!(rules_of(&judge(&plain, Some(&whole), &broken)), ["unresolved"].into());

    let outdated = tree(&[(OS, &[BASE, ("vim-9.1-1.el9.x86_64", &[]), missing])]);
    assert_eq!(rules_of(&judge(&plain, None, &outdated)), ["unresolved-outdated"].into());
    // The lower version is another stream's.
    let module: Described = ("vim-9.0-1.module_el9.x86_64", &["requires nowhere"]);
    let streams = tree(&[(OS, &[BASE, ("vim-9.1-1.module_el9.x86_64", &[]), module])]);
    assert_eq!(rules_of(&judge(&plain, None, &streams)), ["unresolved"].into());

    let allowed = tree(&[(OS, &[BASE, missing, (ZSH, &["requires nowhere"])])]);
    let found = judge(&world, None, &allowed);
    assert_eq!(rules_of(&found), ["unresolved", "unresolved-allowed"].into());
    let message = &found.iter().find(|f| f.rule == "unresolved-allowed").unwrap().message;
    assert!(message.starts_with("zsh-"), "{message}");
}

/// Makes a ref name a tree of such files, which are nowhere but in the draft.
fn refer(world: &World, draft: &Draft<'_>, name: &str, files: &Files) {
    let name = RefName::new(name).unwrap();
    let writer = world.site.store.writer(std::slice::from_ref(&name)).unwrap();
    let snapshot = Snapshot {
        version: Snapshot::VERSION,
        root: world.tree(draft, files).into(),
        time: jiff::Timestamp::now(),
        origin: Origin::default(),
        parents: Vec::new(),
    };
    let edits = vec![RefEdit { name, old: None, new: Some(snapshot.encode().0) }];
    let (verb, snapshots) = ("test".to_owned(), vec![snapshot]);
    writer.commit(draft, Proposal { verb, edits, snapshots, ..Proposal::default() }).unwrap();
}

#[test]
fn a_sig_has_what_the_main_repos_of_its_release_provide() {
    let world = World::new();
    let draft = Draft::new(&world.site.store);
    // What the release itself lacks is not the SIG's.
    let release = tree(&[
        (OS, &[BASE, (VIM, &["requires nowhere"])]),
        ("BaseOS/x86_64/debug/tree", &[("gdb-1-1.el9.x86_64", &["provides debugger"])]),
        ("BaseOS/aarch64/os", &[("arm-1-1.el9.aarch64", &["provides arm"])]),
    ]);
    let sig = |wants: &'static [&'static str]| {
        world.tree(&draft, &tree(&[("kernel/x86_64/os", &[(ZSH, wants)])]))
    };
    let judge = |name: &str, root: DirEntry| {
        let subject = world.subject(&draft, None, root, Mode::Apply);
        let subject = Subject { name: Some(name.to_owned()), ..subject };
        let report = run(&subject, &["closure".to_owned()]).unwrap().remove(0);
        (report.findings, report.reason)
    };
    let sound = sig(&["requires bash >= 5", "requires /etc/bashrc"]);
    let (found, reason) = judge("staging/sig/9/kernel", sound);
    assert_eq!(rules_of(&found), ["unresolved"].into());
    let alone = "judged alone: production/9.7 or staging/9.7-RC2 is not there";
    assert_eq!(reason.as_deref(), Some(alone));

    refer(&world, &draft, "staging/9.7-RC2", &release);
    refer(&world, &draft, "vault/9.6", &release);
    let staging = Some("judged beside staging/9.7-RC2".to_owned());
    for (name, beside) in [
        ("staging/sig/9/kernel", staging.clone()),
        ("production/sig/9/kernel", staging.clone()),
        ("compose/9/SIG-kernel", staging.clone()),
        ("vault/sig/9.6/kernel", Some("judged beside vault/9.6".to_owned())),
    ] {
        // Twice: the second time by what is remembered.
        for _ in 0..2 {
            assert_eq!(judge(name, sound), (vec![], beside.clone()), "{name}");
        }
    }
    for wants in [&["requires debugger"], &["requires arm"], &["requires nowhere"]] {
        let (found, _) = judge("staging/sig/9/kernel", sig(wants));
        assert_eq!(rules_of(&found), ["unresolved"].into(), "{wants:?}");
        assert_eq!(found[0].repo, Some(path("kernel/x86_64/os")));
    }
    // A release is all that its clients have.
    let (found, reason) = judge("staging/9.7-RC2", sound);
    assert_eq!((rules_of(&found), reason), (["unresolved"].into(), None));

    // Production comes first where it is there. Another release is another question.
    refer(&world, &draft, "production/9.7", &tree(&[(OS, &[(VIM, &[])])]));
    let (found, reason) = judge("staging/sig/9/kernel", sound);
    assert_eq!(rules_of(&found), ["unresolved"].into());
    assert_eq!(reason.as_deref(), Some("judged beside production/9.7"));
    let staged = World::with("\n[gate.closure]\nsigs_beside = \"staging\"\n");
    let draft = Draft::new(&staged.site.store);
    refer(&staged, &draft, "staging/9.7-RC2", &release);
    refer(&staged, &draft, "production/9.7", &tree(&[(OS, &[(VIM, &[])])]));
    let root = staged.tree(&draft, &tree(&[("k/x86_64/os", &[(ZSH, &["requires bash"])])]));
    let subject = staged.subject(&draft, None, root, Mode::Apply);
    let subject = Subject { name: Some("staging/sig/9/kernel".into()), ..subject };
    let report = run(&subject, &["closure".to_owned()]).unwrap().remove(0);
    assert_eq!((report.findings, report.reason), (vec![], staging));
}

#[test]
fn a_release_that_cannot_be_read_is_named_with_its_ref() {
    let world = World::new();
    let draft = Draft::new(&world.site.store);
    let mut release = tree(&[(OS, &[BASE])]);
    release.insert(PRIMARY.into(), b"x".to_vec());
    refer(&world, &draft, "production/9.7", &release);
    let root = world.tree(&draft, &tree(&[("k/x86_64/os", &[(ZSH, &["requires bash"])])]));
    let subject = world.subject(&draft, None, root, Mode::Apply);
    let subject = Subject { name: Some("staging/sig/9/kernel".into()), ..subject };
    let found = run(&subject, &["closure".to_owned()]).unwrap().remove(0).findings;
    assert_found("release", &found, &["closure-not-read"], PRIMARY);
    assert!(found[0].message.starts_with("of production/9.7: "), "{}", found[0].message);
}

#[test]
fn a_world_that_cannot_be_read_is_not_judged() {
    let world = World::new();
    let mut files =
        tree(&[("AppStream/x86_64/os", &[(ZSH, &["requires nowhere"])]), (OS, &[BASE])]);
    files.insert(PRIMARY.into(), b"x".to_vec());
    let found = judge(&world, None, &files);
    assert_found("broken", &found, &["closure-not-read"], PRIMARY);
    // File lists are asked only for paths that no primary has.
    let lists = "BaseOS/x86_64/os/repodata/filelists.xml.gz";
    let mut files = tree(&[("AppStream/x86_64/os", &[(ZSH, &["requires bash"])]), (OS, &[BASE])]);
    files.insert(lists.into(), b"x".to_vec());
    assert_eq!(judge(&world, None, &files), []);
    let mut files = tree(&[(OS, &[(ZSH, &["requires /etc/bashrc"]), BASE])]);
    files.insert(lists.into(), b"x".to_vec());
    assert_found("lists", &judge(&world, None, &files), &["closure-not-read"], lists);
}

#[test]
fn very_many_are_counted() {
    let world = World::new();
    let mut files = Files::new();
    let options =
        Write { compression: Compression::Gzip, names: FileNames::Plain, ..Write::default() };
    let mut builder = RepodataBuilder::new(options);
    let mut made = package(ZSH, "Packages/zsh.rpm");
    made.primary.relations.requires =
        (0..20_100).map(|n| dependency(&format!("nowhere{n}"))).collect();
    builder.package(&made).unwrap();
    for file in builder.finish().unwrap() {
        files.insert(format!("{OS}/repodata/{}", file.name), file.bytes);
    }
    let draft = Draft::new(&world.site.store);
    let root = world.tree(&draft, &files);
    let subject = world.subject(&draft, None, root, Mode::DryRun);
    let report = run(&subject, &["closure".to_owned()]).unwrap().remove(0);
    assert_eq!((report.failures, report.findings.len(), report.omitted), (20_100, 100, 20_000));
}

#[test]
fn what_metadata_says_is_quoted_safely() {
    let world = World::new();
    let files = tree(&[(OS, &[(ZSH, &["requires \u{202e}erehwon"])])]);
    let found = judge(&world, None, &files);
    assert!(found[0].message.contains("requires \\u{202e}erehwon,"), "{}", found[0].message);
}

#[test]
fn an_audit_names_what_became_unresolved() {
    use crate::audit::{Filter, Level, Options, compare};
    let world = World::new();
    let draft = Draft::new(&world.site.store);
    let standing: Described = ("tcsh-6-1.el9.x86_64", &["requires nowhere"]);
    let zsh: Described = (ZSH, &["requires bash", "recommends nowhere"]);
    let app = "AppStream/x86_64/os";
    let other = ("BaseOS/aarch64/os", &[(VIM, &["requires nowhere"] as &'static [_])][..]);
    let old = world.tree(&draft, &tree(&[(OS, &[BASE]), (app, &[standing, zsh]), other]));
    let new = world.tree(&draft, &tree(&[(OS, &[(VIM, &[])]), (app, &[standing, zsh]), other]));
    let open = |file: &_, path: &RelPath| world.site.open_draft(&draft, file, path);
    let audit = |old, new, names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let filter = Filter::new(&[], &[], &names).unwrap();
        let options = Options { filter, ..Options::default() };
        compare(&draft, &open, Some(old), Some(new), Level::Everything, &options).unwrap()
    };
    let found = audit(&old, &new, &[]);
    let rows = found.dependencies.unwrap();
    let rows: Vec<_> = rows.iter().map(|row| (&*row.package, &*row.requires)).collect();
    assert_eq!(rows, [(ZSH, "bash")]);
    let point =
        found.attention.iter().find(|point| point.rule == crate::audit::Rule::DependencyUnresolved);
    let subjects = [format!("{ZSH} requires bash: {app}")];
    assert_eq!(point.unwrap().subjects, subjects);
    // The way back mends it; a filter looks elsewhere.
    assert_eq!(audit(&new, &old, &[]).dependencies, Some(vec![]));
    assert_eq!(audit(&old, &new, &["bash"]).dependencies, Some(vec![]));
}
