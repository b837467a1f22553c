//! `no-rebuild`, `advisories-kept`, `streams-kept`, `comps-kept` and `deletions`.

use super::*;

/// What is tested here.
pub(super) const RULES: &[&str] = &[
    "rebuilt",
    "advisory-lost",
    "advisory-shrunk",
    "stream-lost",
    "module-document-lost",
    "group-lost",
    "environment-lost",
    "category-lost",
    "members-lost",
    "too-many-deletions",
];

const COMPS: &str = "<comps>\
    <group><id>core</id><name>Core</name><packagelist>\
    <packagereq type=\"mandatory\">bash</packagereq>\
    <packagereq type=\"default\">zsh</packagereq></packagelist></group>\
    <environment><id>server</id><name>Server</name>\
    <grouplist><groupid>core</groupid></grouplist></environment>\
    <category><id>base</id><name>Base</name>\
    <grouplist><groupid>core</groupid></grouplist></category></comps>";
const MODULES: &str = "---\ndocument: modulemd\nversion: 2\ndata:\n  name: ruby\n  stream: 3.1\n  \
    version: 1\n  context: c\n  arch: x86_64\n  summary: s\n  description: d\n  license:\n    \
    module: [MIT]\n...\n\
    ---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: ruby\n  stream: '3.1'\n...\n\
    ---\ndocument: modulemd-obsoletes\nversion: 1\ndata:\n  module: ruby\n  stream: '3.1'\n  \
    modified: 2025-01-01T00:00Z\n  message: end\n...\n";
const UPDATES: &str = "<updates><update type=\"security\"><id>RLSA-2025:1</id><title>bash</title>\
    <severity>Important</severity><pkglist><collection><name>x</name>\
    <package name=\"bash\" version=\"5.1\" release=\"1.el9\" epoch=\"0\" arch=\"x86_64\" src=\"b\">\
    <filename>bash-5.1-1.el9.x86_64.rpm</filename></package>\
    <package name=\"zsh\" version=\"5.8\" release=\"1.el9\" epoch=\"0\" arch=\"x86_64\" src=\"z\">\
    <filename>zsh-5.8-1.el9.x86_64.rpm</filename></package>\
    </collection></pkglist></update></updates>";

/// A repo with all kinds of metadata.
fn described(comps: &str, updates: &str, modules: &str) -> Files {
    let mut files = repos(&[("a", &[BASH, ZSH])]);
    let hrefs = [BASH, ZSH].map(|nevra| format!("Packages/{nevra}.rpm"));
    let packages = [(BASH, hrefs[0].as_str()), (ZSH, hrefs[1].as_str())];
    let extras = [("group", comps), ("updateinfo", updates), ("modules", modules)];
    repodata(&mut files, "a", &packages, &extras);
    files
}

fn without(text: &str, from: &str, to: &str) -> String {
    let start = text.find(from).unwrap_or_else(|| panic!("{from:?} is not in {text}"));
    let end = text[start..].find(to).unwrap() + start + to.len();
    format!("{}{}", &text[..start], &text[end..])
}

/// Asks all gates that compare, and returns what they found.
fn compared(world: &World, old: &Files, new: &Files) -> Vec<Finding> {
    let draft = Draft::new(&world.site.store);
    let [old, new] = [old, new].map(|files| world.tree(&draft, files));
    all(world.judge(&draft, Some(old), new, Mode::Apply))
}

#[test]
fn what_is_known_by_name_stays_known() {
    let world = World::new();
    let old = described(COMPS, UPDATES, MODULES);
    assert_eq!(compared(&world, &old, &old), []);
    let stream = without(MODULES, "---\ndocument: modulemd\n", "...\n");
    let defaults = without(MODULES, "---\ndocument: modulemd-defaults", "...\n");
    let end_of_life = without(MODULES, "---\ndocument: modulemd-obsoletes", "...\n");
    let group = without(COMPS, "<group>", "</group>");
    let environment = without(COMPS, "<environment>", "</environment>");
    let category = without(COMPS, "<category>", "</category>");
    let member = without(COMPS, "<packagereq type=\"default\">", "</packagereq>");
    let shrunk = without(UPDATES, "<package name=\"zsh\"", "</package>");
    let cases = [
        (COMPS, "<updates/>", MODULES, "advisories-kept", "advisory-lost", "which fixed bash-5.1"),
        (COMPS, &shrunk, MODULES, "advisories-kept", "advisory-shrunk", "no longer names zsh-5.8"),
        (COMPS, UPDATES, &stream, "streams-kept", "stream-lost", "module stream ruby:3.1 is gone"),
        (COMPS, UPDATES, &defaults, "streams-kept", "module-document-lost", "defaults of module"),
        (COMPS, UPDATES, &end_of_life, "streams-kept", "module-document-lost", "end of life of"),
        (&group, UPDATES, MODULES, "comps-kept", "group-lost", "the group core (Core) is gone"),
        (&environment, UPDATES, MODULES, "comps-kept", "environment-lost", "server (Server)"),
        (&category, UPDATES, MODULES, "comps-kept", "category-lost", "base (Base) is gone"),
        (&member, UPDATES, MODULES, "comps-kept", "members-lost", "(Core) has lost zsh"),
    ];
    for (comps, updates, modules, gate, rule, said) in cases {
        let found = compared(&world, &old, &described(comps, updates, modules));
        assert_found(rule, &found, &[rule], "a");
        assert_eq!(found[0].gate, gate, "{rule}");
        assert!(found[0].message.contains(said), "{rule}: {}", found[0].message);
    }
    // Whole records that vanish take all that is in them along.
    let bare = repos(&[("a", &[BASH, ZSH])]);
    let found = compared(&world, &old, &bare);
    let expected = [
        "advisory-lost",
        "category-lost",
        "environment-lost",
        "group-lost",
        "module-document-lost",
        "stream-lost",
    ];
    assert_eq!(rules_of(&found), expected.into());
    // What comes is nothing to complain of, and a broken old side cannot be helped.
    assert_eq!(compared(&world, &bare, &old), []);
    let mut broken = described(&member, UPDATES, MODULES);
    broken.insert("a/repodata/updateinfo.xml.gz".into(), b"x".to_vec());
    let found = compared(&world, &broken, &old);
    let gates: Vec<_> = found.iter().map(|finding| (finding.gate, finding.rule)).collect();
    let of = |gate| (gate, "old-not-compared");
    assert_eq!(gates, [of("advisories-kept"), of("streams-kept"), of("comps-kept")]);
}

#[test]
fn a_package_that_is_built_again_needs_another_release() {
    let world = World::new();
    let old = repos(&[("a", &[BASH, ZSH])]);
    // The same name and version, other bytes, and metadata that says so.
    let mut new = Files::new();
    let href = format!("Packages/{BASH}.rpm");
    let options =
        Write { compression: Compression::Gzip, names: FileNames::Plain, ..Write::default() };
    let mut builder = RepodataBuilder::new(options);
    let mut again = package(BASH, &href);
    again.primary.pkgid = Checksum::sha256(b"built again");
    again.primary.package_size = b"built again".len() as u64;
    builder.package(&again).unwrap();
    let zsh = format!("Packages/{ZSH}.rpm");
    builder.package(&package(ZSH, &zsh)).unwrap();
    for file in builder.finish().unwrap() {
        new.insert(format!("a/repodata/{}", file.name), file.bytes);
    }
    new.insert(format!("a/{href}"), b"built again".to_vec());
    new.insert(format!("a/{zsh}"), rpm(ZSH));
    let found = compared(&world, &old, &new);
    assert_found("rebuilt", &found, &["rebuilt"], "a");
    assert_eq!(found[0].message, format!("{BASH} has other bytes than before"));
}

#[test]
fn no_more_may_go_than_the_mount_allows() {
    let world = World::new();
    let file = |n: usize| (format!("doc/{n}"), n.to_string().into_bytes());
    let old: Files = (0..40).map(file).collect();
    let few: Files = (4..40).map(file).collect();
    let many: Files = (5..40).map(file).collect();
    assert_eq!(compared(&world, &old, &few), []);
    let found = compared(&world, &old, &many);
    assert_eq!(rules_of(&found), ["too-many-deletions"].into());
    let message = "5 of 40 files would be deleted, more than the 10% that are allowed";
    assert_eq!(found[0].message, message);
    // Without a limit there is nothing to judge.
    let draft = Draft::new(&world.site.store);
    let [old, many] = [&old, &many].map(|files| world.tree(&draft, files));
    let subject = world.subject(&draft, Some(old), many, Mode::Apply);
    let subject = Subject { max_deletes: None, ..subject };
    let report = run(&subject, &["deletions".to_owned()]).unwrap().remove(0);
    assert_eq!(report.verdict, Verdict::Skipped);
}
