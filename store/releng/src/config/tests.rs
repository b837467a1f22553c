//! The model configuration, the defaults, and every error with its place.
//!
//! It is long because the errors are many: a few lines for each.

#![expect(clippy::disallowed_methods, reason = "tests write the files that they load")]

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const MODEL: &str = include_str!("../../../../docs/cairn.example.toml");

/// The least that is a configuration.
const LEAST: &str = "[store]\npath = \"/s\"\n[mounts.staging]\npath = \"/st\"\n\
                     [mounts.production]\npath = \"/pr\"\n";

fn parse(text: &str) -> Config {
    Config::parse(text, Path::new("/etc/cairn/cairn.toml")).unwrap()
}

fn error(text: &str) -> String {
    let shown = Config::parse(text, Path::new("c.toml")).unwrap_err().to_string();
    shown.strip_prefix("c.toml:").unwrap().to_owned()
}

#[test]
fn model_configuration_says_what_it_says() {
    let config = parse(MODEL);
    assert_eq!(
        config.store,
        StoreSection { path: "/var/lib/cairn".into(), home: "staging".into() }
    );
    let staging = &config.mounts["staging"];
    assert_eq!(staging.path, "/mnt/repos-staging");
    assert_eq!(staging.pool, "/mnt/repos-staging/.cairn");
    assert_eq!(staging.owner, Some(Owner { uid: 10004, gid: 10005 }));
    assert_eq!(staging.max_deletes, None);
    let production = &config.mounts["production"];
    assert_eq!(production.keep_trees, Duration::from_secs(86_400));
    assert_eq!(production.grace, Duration::ZERO);
    assert_eq!(production.max_deletes, Some(Percent::parse("10%").unwrap()));
    assert_eq!((production.link, production.swap), (LinkMode::Auto, SwapMode::Auto));
    assert_eq!(config.category["sig"].vault_path, "mirror/vault/sig");
    let sign = config.sign.unwrap();
    let SignBy::Command { command, mode } = sign.by else { panic!() };
    assert_eq!(command.len(), 2);
    assert_eq!((mode, sign.timeout), (SignMode::InPlace, Duration::from_secs(120)));
    assert_eq!(config.repodata.compression_comps, Compression::Xz);
    assert_eq!(config.torrent.format, TorrentFormat::V1);
    let day = Duration::from_secs(86_400);
    assert_eq!(config.keep.all, KeepRule { last: 10, within: 90 * day });
    assert_eq!((config.keep.grace, config.keep.trash), (day, 7 * day));
    assert!(config.keep.refs.is_empty());
    assert_eq!(config.releases.keys().copied().collect::<Vec<_>>(), [8, 9, 10]);
    let nine = &config.releases[&9];
    assert_eq!(nine.arches, ["x86_64", "aarch64", "ppc64le", "s390x"]);
    assert_eq!(nine.repos.modules, ["AppStream", "CRB"]);
    assert_eq!(nine.sigs["kmod"], SigCompose { sig: "kernel".into(), project: "kmod".into() });
    let beta = &nine.channels["beta"];
    assert_eq!(
        (beta.version.to_string().as_str(), beta.production, beta.vault),
        ("9.8", false, false)
    );
    assert_eq!(nine.channels["lookahead"].aliases, ["lh"]);
    assert_eq!(config.releases[&8].links["nfv"], "NFV");
    let rocky = &config.lists[1];
    assert_eq!((rocky.mount.as_str(), rocky.path.as_str()), ("production", "mirror/pub/rocky"));
    assert_eq!(rocky.files[0], ListFile { name: "fullfilelist".into(), kind: ListKind::Paths });
    assert_eq!(rocky.files[3].kind, ListKind::Times);
    let Gate::Require { environment, gates, approvals: 0, own_approval: false } =
        &config.gates["production"]
    else {
        panic!()
    };
    assert_eq!(*environment, Environment::Production);
    assert_eq!(gates.join(" "), "repodata signatures files-exist no-downgrade treeinfo");
}

#[test]
fn a_key_of_gpgs_needs_no_command_and_is_shown_as_it_is_read() {
    let text = format!("{LEAST}[sign]\nkey = \"Release {{major}}\"\nverify_key = \"/k\"\n");
    let config = parse(&text);
    let sign = config.sign.as_ref().unwrap();
    let SignBy::Key(key) = &sign.by else { panic!("{sign:?}") };
    assert_eq!(key.as_str(), "Release {major}");
    assert_eq!(sign.verify_key.as_str(), "/k");
    let shown = config.show(Origin::Hidden);
    assert!(shown.contains("\n[sign]\nkey = \"Release {major}\"\n"), "{shown}");
    assert_eq!(parse(&shown).sign, config.sign);
}

#[test]
fn defaults_are_the_model_without_signatures() {
    let (model, least) = (parse(MODEL), parse(LEAST));
    assert_eq!(least.sign, None);
    assert_eq!(least.hooks.len(), 0);
    assert_eq!(least.releases, model.releases);
    assert_eq!(least.category, model.category);
    assert_eq!(least.defaults, model.defaults);
    assert_eq!(least.repodata, model.repodata);
    assert_eq!((&least.errata, &least.torrent), (&model.errata, &model.torrent));
    assert_eq!(least.lists, model.lists);
    assert_eq!(least.compose.path, model.compose.path);
    assert_eq!(least.mounts["production"].max_deletes, model.mounts["production"].max_deletes);
    let Gate::Require { gates, .. } = &least.gates["production"] else { panic!() };
    assert_eq!(gates.join(" "), "repodata files-exist no-downgrade treeinfo");
}

#[test]
fn home_and_lists_follow_the_mounts() {
    let config =
        parse("[store]\npath = \"/s\"\n[mounts.b]\npath = \"/b/\"\n[mounts.a]\npath = \"//a\"\n");
    assert_eq!(config.store.home, "a");
    assert_eq!((config.mounts["b"].path.as_str(), config.mounts["a"].path.as_str()), ("/b", "/a"));
    assert_eq!(config.lists, []);
    let config =
        parse(&LEAST.replace("[mounts.staging]", "home = \"production\"\n[mounts.staging]"));
    assert_eq!(config.store.home, "production");
}

#[test]
fn new_release_needs_only_its_channel() {
    let text = format!("{LEAST}[release.11]\nchannel.stable = {{ version = \"11.0\" }}\n");
    let config = parse(&text);
    assert_eq!(config.releases.len(), 1);
    let eleven = &config.releases[&11];
    assert_eq!(eleven.arches, parse(MODEL).releases[&10].arches);
    assert_eq!(eleven.channels.len(), 1);
    let stable = &eleven.channels["stable"];
    assert_eq!((stable.staging_suffix.as_str(), stable.production, stable.vault), ("", true, true));
    assert_eq!(stable.previous, None);
}

#[test]
fn channel_defaults_follow_its_name() {
    let text = format!(
        "{LEAST}[release.9]\nrepos = {{ comps = [\"BaseOS\"] }}\n\
         channel.beta = {{ version = \"9.8\" }}\n\
         channel.lookahead = {{ version = \"9.8\", staging_suffix = \"-LA\" }}\n"
    );
    let nine = &parse(&text).releases[&9];
    let beta = &nine.channels["beta"];
    assert_eq!((beta.staging_suffix.as_str(), beta.compose_suffix.as_str()), ("-beta", "-beta"));
    let ahead = &nine.channels["lookahead"];
    assert_eq!((ahead.aliases.join(" ").as_str(), ahead.compose_suffix.as_str()), ("lh", "-LA"));
    assert_eq!(nine.repos, Repos { comps: vec!["BaseOS".into()], ..Repos::default() });
}

#[test]
fn gates_and_hooks_of_ones_own_are_read() {
    let text = format!(
        "{LEAST}[gate.repoclosure]\ncommand = [\"closure\", \"{{path}}\"]\n\
         [gate.staging]\nrequire = [\"repoclosure\"]\n\
         [hook.tell]\non = \"promote\"\ncommand = [\"/bin/tell\", \"-v\", \"-v\"]\ntimeout = \"5s\"\n"
    );
    let config = parse(&text);
    let Gate::Command { command, timeout } = &config.gates["repoclosure"] else { panic!() };
    assert_eq!((command[1].as_str(), *timeout), ("{path}", Duration::from_secs(600)));
    assert_eq!(config.gates.len(), 3);
    let hook = &config.hooks["tell"];
    assert_eq!((hook.on.as_slice(), hook.command.len()), ([HookEvent::Promote].as_slice(), 3));
}

#[test]
fn what_is_shown_is_the_same_configuration() {
    // The last has one compose only, and so fewer parts than the defaults know.
    let sample = crate::sample::Places::below(Path::new("/srv")).config();
    for text in [MODEL, LEAST, &sample] {
        let config = parse(text);
        let shown = config.show(Origin::Hidden);
        let again = parse(&shown);
        assert_eq!(again.show(Origin::Hidden), shown);
        assert_eq!(again.releases, config.releases);
        assert_eq!(again.mounts, config.mounts);
        assert_eq!(again.lists, config.lists);
        parse(&config.show(Origin::Shown));
    }
}

#[test]
fn show_names_the_origin_of_each_key() {
    let shown = parse(LEAST).show(Origin::Shown);
    for line in [
        "path = \"/st\"  # /etc/cairn/cairn.toml:4",
        "pool = \"/st/.cairn\"  # default",
        "# owner is not set  # default",
        "\"production/mirror/pub/sig\" = [\"fullfilelist\", \"fullfiletimelist-sig\", \"fullfiletimelist\"]  # default",
        "[release.9.channel.stable]",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
}

/// Text after [`LEAST`] (whose last line is 6), and the error.
const ADDED: &[(&str, &str)] = &[
    ("ownr = \"1:1\"", "7:1: unknown key \"ownr\"; did you mean \"owner\"?"),
    (
        "  zzzzzz = 1",
        "7:3: unknown key \"zzzzzz\"; known keys: path, pool, owner, link, swap, answer_within, keep_trees, grace, max_deletes",
    ),
    ("[mount.x]", "7:2: unknown key \"mount\"; did you mean \"mounts\"?"),
    ("owner = 3", "7:9: owner: expected a string, found an integer"),
    (
        "owner = \"root\"",
        "7:9: owner: \"root\" is not an owner; an owner is \"UID:GID\" in numbers, such as \"10004:10005\"",
    ),
    (
        "owner = \"4294967295:0\"",
        "7:9: owner: \"4294967295:0\" is not an owner; an owner is \"UID:GID\" in numbers, such as \"10004:10005\"",
    ),
    (
        "grace = \"1y\"",
        "7:9: grace: \"1y\" is not a duration; a duration is a whole number and a unit: \"90s\", \"15m\", \"24h\", \"7d\" or \"2w\"",
    ),
    (
        "answer_within = \"0s\"",
        "7:17: answer_within: nothing answers in no time; write at least \"1s\"; the default is \"60s\"",
    ),
    (
        "max_deletes = \"101%\"",
        "7:15: max_deletes: \"101%\" is more than 100%; a share is a number and \"%\": \"10%\" or \"2.5%\"",
    ),
    (
        "max_deletes = \"10\"",
        "7:15: max_deletes: \"10\" is not a percentage; a share is a number and \"%\": \"10%\" or \"2.5%\"",
    ),
    ("link = \"hardlnk\"", "7:8: link: unknown value \"hardlnk\"; did you mean \"hardlink\"?"),
    (
        "swap = \"magic\"",
        "7:8: swap: unknown value \"magic\"; expected one of: auto, exchange, symlink, in-place",
    ),
    (
        "pool = \"pool\"",
        "7:8: pool: \"pool\" is not an absolute path; write it from the root: \"/…\"",
    ),
    (
        "pool = \"/a/../b\"",
        "7:8: pool: \"/a/../b\" is not a plain path; write the path without \".\", \"..\" and control characters",
    ),
    (
        "pool = \"/st/.cairn/x\"",
        "7:8: the pools of mounts \"staging\" and \"production\" overlap: /st/.cairn and /st/.cairn/x; each mount has a pool of its own, on its own filesystem",
    ),
    (
        "pool = \"/pr\"",
        "7:8: the pool of mount \"production\" is the mount itself: /pr; the default is a directory in it, .cairn",
    ),
    (
        "pool = \"/pr/mirror/pub/rocky/9.7/x\"",
        "7:8: /pr/mirror/pub/rocky/9.7/x is inside the view of production/9.7: /pr/mirror/pub/rocky/9.7; mirrors would carry it; move it out",
    ),
    ("[mounts.x]", "7:9: missing key \"path\" in [mounts.x]"),
    (
        "[mounts.x]\npath = \"/st/\"",
        "8:8: mount \"x\" has the path of mount \"staging\": /st; each mount has a directory of its own",
    ),
    (
        "[mounts.\"a b\"]\npath = \"/ab\"",
        "7:9: mount \"a b\" is not a name; a name is made of letters, digits and . _ + -, and does not begin with . or -",
    ),
    (
        "[compose]\nroot = \"mnt\"",
        "8:8: root: \"mnt\" is not an absolute path; write it from the root: \"/…\"",
    ),
    (
        "[compose]\npath = \"/c/{majr}\"",
        "8:12: path: unknown placeholder \"{majr}\"; did you mean \"{major}\"?",
    ),
    (
        "[compose]\npath = \"/c/{arch}\"",
        "8:12: path: unknown placeholder \"{arch}\"; known here: {root}, {major}, {version}, {channel}, {compose}, {compose_suffix}",
    ),
    (
        "[compose]\npath = \"/c/{major\"",
        "8:12: path: a \"{\" without its \"}\"; a brace itself is written \"{{\"",
    ),
    (
        "[compose]\npath = \"/c/}\"",
        "8:12: path: a \"}\" without its \"{\"; a brace itself is written \"}}\"",
    ),
    (
        "[compose]\ncomps = \"{arch}/x\"",
        "8:9: comps: \"{arch}/x\" is not an absolute path; write it from the root: \"/…\"",
    ),
    ("[compose]\nimmutable = \"yes\"", "8:13: immutable: expected true or false, found a string"),
    (
        "[category]\nrocky = { pub = \"/pub\" }",
        "8:17: pub: \"/pub\" is an absolute path; it is relative to its mount: write it without the first \"/\"",
    ),
    ("[category]\nalma = { pub = \"alma\" }", "8:1: missing key \"vault\" in [category.alma]"),
    (
        "[defaults]\nnever_link = [\"[\"]",
        "8:15: never_link: pattern \"[\": unclosed character class; missing ']'; patterns are globs: *, **, ?, [ab], {a,b}",
    ),
    (
        "[defaults]\nnonrepo_dirs = [\"a\", \"b\", \"a\"]",
        "8:27: nonrepo_dirs: \"a\" is listed twice",
    ),
    (
        "[repodata]\nchecksum = \"sha1\"",
        "8:12: checksum: unknown value \"sha1\"; expected one of: sha256",
    ),
    (
        "repodata = 3",
        "7:1: unknown key \"repodata\"; known keys: path, pool, owner, link, swap, answer_within, keep_trees, grace, max_deletes",
    ),
    ("[sign]", "7:2: missing key \"command\" in [sign]"),
    ("[keep]\nlast = 0", "8:8: last: 0 is not a number from 1 on"),
    ("[keep]\nlast = \"3\"", "8:8: last: expected a number, found a string"),
    (
        "[keep]\nwithin = \"long\"",
        "8:10: within: \"long\" is not a duration; a duration is a whole number and a unit: \"90s\", \"15m\", \"24h\", \"7d\" or \"2w\"",
    ),
    (
        "[keep.ref.\"a[\"]\nlast = 3",
        "7:11: pattern \"a[\": unclosed character class; missing ']'; patterns are globs: *, **, ?, [ab], {a,b}",
    ),
    ("[keep.ref.a]\ngrace = \"1h\"", "8:1: unknown key \"grace\"; known keys: last, within"),
    (
        "[sign]\ncommand = [\"s\", \"{file}\"]",
        "7:2: missing key \"verify_key\" in [sign]; name the file of the public keys that clients have: only a signature that verifies with them is taken",
    ),
    (
        "[sign]\nverify_key = \"keys/k\"\nkey = \"A\"",
        "8:14: verify_key: \"keys/k\" is not an absolute path; write it from the root: \"/…\"",
    ),
    (
        "[sign]\nverify_key = \"/k\"\nkey = \" \"",
        "9:7: key: \" \" names no key; name it by its fingerprint, as gpg --list-secret-keys shows it",
    ),
    (
        "[sign]\nverify_key = \"/k\"\nkey = \"A\"\ncommand = [\"s\", \"{file}\"]",
        "7:2: key and command both say who signs; write key = \"…\" alone to sign with gpg, or command and mode without it",
    ),
    (
        "[sign]\nverify_key = \"/k\"\nkey = \"A\"\nmode = \"stdio\"",
        "7:2: mode says how a command signs, and there is none; key = \"…\" alone signs with gpg",
    ),
    (
        "[sign]\ncommand = []\nverify_key = \"/k\"",
        "8:11: command: names no program; the first item is the program to run",
    ),
    (
        "[sign]\ncommand = [\"bin/s\", \"{file}\"]\nverify_key = \"/k\"",
        "8:12: command: program \"bin/s\" is a relative path; write an absolute path, or a bare name to search PATH",
    ),
    (
        "[sign]\ncommand = [\"s\", \"{fil}\"]\nverify_key = \"/k\"",
        "8:17: command: unknown placeholder \"{fil}\"; did you mean \"{file}\"?",
    ),
    (
        "[sign]\ncommand = [\"s\"]\nverify_key = \"/k\"",
        "8:11: the signing command never gets the file; add the argument \"{file}\"",
    ),
    (
        "[sign]\ncommand = [\"s\", \"{file}\"]\nmode = \"stdio\"\nverify_key = \"/k\"",
        "8:11: {file} has no value when data goes through stdin; or set mode = \"in-place\"",
    ),
    (
        "[sign]\ncommand = [\"s\", \"{file}\"]\ntimeout = \"0s\"\nverify_key = \"/k\"",
        "9:11: timeout: a timeout of 0s; the least is \"1s\"",
    ),
    (
        "[errata]\napi = \"apollo\"",
        "8:7: api: \"apollo\" is not an address; it begins with one of https://, http://",
    ),
    ("[torrent]\nformat = \"v2\"", "8:10: format: unknown value \"v2\"; did you mean \"v1\"?"),
    (
        "[lists]\nprod = [\"fullfilelist\"]",
        "8:8: lists of \"prod\": \"prod\" is not a mount; a root begins with a mount: production, staging",
    ),
    (
        "[lists]\nproduction = [\"list\"]",
        "8:15: production: \"list\" is not a list; lists are named fullfilelist… or fullfiletimelist…; \"-old\" is ours",
    ),
    ("[lists]\nproduction = []", "8:14: production: needs at least one item"),
    (
        "[lists]\n\"/pr\" = [\"fullfilelist\"]",
        "7:2: \"/pr\": \"/pr\" is an absolute path; it is relative to its mount: write it without the first \"/\"",
    ),
    (
        "[lists]\n\"production/x\" = [\"fullfilelist\"]\n\"production/x/\" = [\"fullfilelist\"]",
        "8:18: lists of \"production/x\" are configured twice; join the two entries",
    ),
    (
        "[gate.production]\nrequire = [\"repodat\"]",
        "8:11: gate \"repodat\" is not known; did you mean \"repodata\"?",
    ),
    (
        "[gate.prod]\nrequire = [\"repodata\"]",
        "7:7: \"prod\" is not an environment; environments: staging, production, vault",
    ),
    ("[gate.staging]\napprovals = 1", "8:1: unknown key \"approvals\"; known keys: require"),
    (
        "[gate.production]\nown_approval = 1",
        "8:16: own_approval: expected true or false, found an integer",
    ),
    (
        "[gate.approvals]\ncommand = [\"x\"]",
        "7:7: \"approvals\" is what --skip-gate calls people's approval; give the command another name",
    ),
    ("[gate.x]", "7:7: missing key \"command\" in [gate.x]"),
    (
        "[gate.signatures]\npackage_keys = [\"key\"]",
        "8:17: package_keys: \"key\" is not an absolute path; write it from the root: \"/…\"",
    ),
    (
        "[gate.signatures]\nkeys = [\"/k\"]",
        "7:7: missing key \"package_keys\" in [gate.signatures]",
    ),
    (
        "[gate.closure]\nsigs_beside = \"vault\"",
        "8:15: sigs_beside: unknown value \"vault\"; expected one of: production, staging",
    ),
    (
        "[gate.treeinfo]\ncommand = [\"x\"]",
        "7:7: gate \"treeinfo\" is built in; give the command a name of its own",
    ),
    (
        "[hook.x]\non = \"promot\"\ncommand = [\"x\"]",
        "8:6: on: unknown value \"promot\"; did you mean \"promote\"?",
    ),
    ("[hook.x]\non = []\ncommand = [\"x\"]", "8:6: on: needs at least one item"),
    (
        "[release.nine]",
        "7:10: \"nine\" is not a major release; a release section is named after its major, such as [release.9]",
    ),
    (
        "[release.09]",
        "7:10: \"09\" is not a major release; a release section is named after its major, such as [release.9]",
    ),
    ("[release.9]", "7:10: release 9 has no channel; add channel.stable = { version = \"9.0\" }"),
    ("x = [", "7:6: unclosed array, expected `]`"),
];

#[test]
fn added_text_is_refused_at_its_place() {
    for (text, expected) in ADDED {
        assert_eq!(error(&format!("{LEAST}{text}\n")), *expected, "{text}");
    }
}

/// Replacements in the model configuration, and the error with the column only: lines move.
const CHANGED: &[(&str, &str, &str)] = &[
    (
        "category = \"rocky\"",
        "category = \"roky\"",
        ":12: category \"roky\" is not configured; did you mean \"rocky\"?",
    ),
    (
        "\"-BETA\", compose",
        "\"-RC2\", compose",
        ":71: staging/8.10-RC2 is the name of two different views; give the channels different versions or suffixes",
    ),
    (
        "\"-BETA\", compose",
        "\"RC2\", compose",
        ":71: staging_suffix: \"RC2\" is not a staging suffix; it is empty or begins with \"-\", where production cuts the name: \"-RC2\"",
    ),
    (
        "\"-BETA\", compose",
        "\"\", compose",
        ":71: channel \"beta\" would stage 8.10 under the name of the final release; give it a suffix such as \"-BETA\"",
    ),
    (
        "vault = false",
        "vault = true",
        ":114: channel \"beta\" is vaulted, but never in production; set vault = false, or production = true",
    ),
    (
        "vault = false",
        "production = true, vault = false",
        ":28: production/8.10 is the name of two different views; give the channels different versions or suffixes",
    ),
    (
        "\"8.10\", previous = \"8.9\"",
        "\"8.x\", previous = \"8.9\"",
        ":30: version: \"8.x\" is not a version; a version is MAJOR.MINOR, such as \"9.7\"",
    ),
    (
        "\"8.10\", previous = \"8.9\"",
        "\"9.1\", previous = \"8.9\"",
        ":30: version 9.1 is not of release 8; a version of release 8 is 8.MINOR",
    ),
    (
        "\"8.10\", previous = \"8.9\"",
        "\"8.10\", previous = \"7.9\"",
        ":49: version 7.9 is not of release 8; a version of release 8 is 8.MINOR",
    ),
    (
        "\"8.10\", previous = \"8.9\"",
        "\"8.10\", previous = \"8.10\"",
        ":49: previous version 8.10 is not before 8.10; previous is what production had before version",
    ),
    (
        "aliases = [\"lh\"]",
        "aliases = [\"beta\"]",
        ":33: 8-beta already means channel \"beta\"; choose another alias",
    ),
    (
        "channel.beta",
        "channel.BETA",
        ":9: channel \"BETA\" is not a channel's name; it is typed as N-NAME: lower-case letters and digits, such as \"beta\"",
    ),
    (
        "plain = [\"extras\"",
        "plain = [\"BaseOS\"",
        ":56: repo \"BaseOS\" is listed with and without comps; name it in plain or in comps",
    ),
    (
        "modules = [\"AppStream\", \"PowerTools\"]",
        "modules = [\"AppStreem\"]",
        ":158: repo \"AppStreem\" has modules, but is not a repo of release 8; did you mean \"AppStream\"?",
    ),
    (
        "production_links = [\"{major}\", \"latest-{major}\"]",
        "production_links = [\"10.1\"]",
        ":99: the link mirror/pub/rocky/10.1 takes the place of production/10.1; choose another name",
    ),
    (
        "production_links = [\"{major}\", \"latest-{major}\"]",
        "production_links = [\"now\", \"x+y\"]",
        ":99: \"x+y\" is not a name; write a plain name",
    ),
    (
        "production_links = [\"{major}\", \"latest-{major}\"]",
        "production_links = [\"{arch}\"]",
        ":100: production_links: unknown placeholder \"{arch}\"; known here: {major}, {version}, {channel}",
    ),
    (
        "Rocky-devel = [\"devel\"] }",
        "Rocky-dev = [\"devel\"] }",
        ":128: parts of \"Rocky-dev\", which is not a compose of release 9; did you mean \"Rocky-devel\"?",
    ),
    ("nfv = \"NFV\"", "NFV = \"NFV\"", ":9: link \"NFV\" points to itself; write link = target"),
    (
        "\"mirror/pub/sig\", vault",
        "\"mirror/pub/rocky/10.1\", vault",
        ":8: the views of production/sig/10/kernel and production/10.1 overlap: ",
    ),
    (
        "pub = \"mirror/pub/rocky\"",
        "pub = \"mirror/vault/rocky\"",
        ":30: the views of vault/8.10 and production/8.10 overlap: /mnt/repos-production/mirror/vault/rocky/8.10 and /mnt/repos-production/mirror/vault/rocky/8.10; change the category or the mount",
    ),
    (
        "# home = \"staging\"",
        "home = \"stagin\"",
        ":8: home \"stagin\" is not a mount; did you mean \"staging\"?",
    ),
    (
        "path = \"/var/lib/cairn\"",
        "path = \"/mnt/repos-production/mirror/pub/rocky/9.7/store\"",
        ":8: /mnt/repos-production/mirror/pub/rocky/9.7/store is inside the view of production/9.7: /mnt/repos-production/mirror/pub/rocky/9.7; mirrors would carry it; move it out",
    ),
];

#[test]
fn changed_models_are_refused_at_their_place() {
    for (from, to, expected) in CHANGED {
        assert!(MODEL.contains(from), "{from}");
        let found = error(&MODEL.replacen(from, to, 1));
        let (line, rest) = found.split_once(':').unwrap();
        assert!(line.parse::<usize>().is_ok(), "{found}");
        assert!(format!(":{rest}").starts_with(expected), "{from} → {to}\n{found}");
    }
}

#[test]
fn whole_sections_that_lack_are_named() {
    let cases = [
        (
            "",
            "1:1: no mount is configured; add [mounts.staging] and [mounts.production], each with its path",
        ),
        (
            "[mounts.a]\npath = \"/a\"",
            "1:1: missing section [store]; add [store] with path = \"/var/lib/cairn\"",
        ),
        (
            "[store]\npath = \"/s\"\n[mounts]",
            "3:2: no mount is configured; add [mounts.staging] and [mounts.production], each with its path",
        ),
        ("store = 3\n[mounts.a]\npath = \"/a\"", "1:9: store: expected a table, found an integer"),
        ("mounts = 3\n[store]\npath = \"/a\"", "1:10: mounts: expected a table, found an integer"),
        ("[store]\npath = \"/s\"\n[mounts]\na = true", "4:5: a: expected a table, found a boolean"),
    ];
    for (text, expected) in cases {
        assert_eq!(error(text), expected, "{text}");
    }
}

#[test]
fn check_names_all_problems_in_order() {
    let text =
        LEAST.replace("\"/st\"", "\"st\"").replace("\"/s\"", "3") + "x = 1\nlink = \"é\"\nß = 1";
    let errors = Config::check(&text, Path::new("c")).unwrap_err();
    let places: Vec<_> = errors.iter().map(|error| (error.line, error.column)).collect();
    assert_eq!(places.len(), 1, "{errors:?}"); // ß is no bare key, and syntax comes first
    let errors = Config::check(&text.replace('ß', "ss"), Path::new("c")).unwrap_err();
    let places: Vec<_> = errors.iter().map(|error| (error.line, error.column)).collect();
    assert_eq!(places, [(2, 8), (4, 8), (7, 1), (8, 8), (9, 1)]);
}

#[test]
fn columns_count_characters() {
    assert_eq!(
        error(&format!("{LEAST}pool = \"/é\"\nowner = \"é\" #")).split(' ').next(),
        Some("8:9:")
    );
    let text =
        format!("{LEAST}[hook.x]\non = [\"rollback\", \"é\"]\ncommand = [\"é\", \"é{{x}}\"]");
    let errors = Config::check(&text, Path::new("c")).unwrap_err();
    let places: Vec<_> = errors.iter().map(|error| (error.line, error.column)).collect();
    assert_eq!(places, [(8, 19), (9, 19)]);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cairn.toml");
    let missing = Config::load(&path).unwrap_err();
    assert_eq!(
        missing.to_string(),
        format!("{}: No such file or directory (os error 2)", path.display())
    );
    assert!(missing.source.is_some());
    std::fs::write(&path, b"ab\xff").unwrap();
    assert!(Config::load(&path).unwrap_err().to_string().ends_with(": byte 2 is not UTF-8"));
    std::fs::write(&path, vec![b'\n'; MAX_SIZE as usize + 1]).unwrap();
    assert!(Config::load(&path).unwrap_err().to_string().ends_with(": larger than 4194304 bytes"));
    std::fs::write(&path, LEAST).unwrap();
    assert_eq!(Config::load(&path).unwrap().path, path);
    assert_eq!(Config::check_file(dir.path()).unwrap_err().len(), 1);
}

#[test]
fn durations_are_read_and_written() {
    let cases = [("0s", 0, "0s"), ("90s", 90, "90s"), ("15m", 900, "15m"), ("24h", 86_400, "24h")];
    let more = [("7d", 604_800, "168h"), ("2w", 1_209_600, "336h"), ("120s", 120, "2m")];
    for (text, seconds, shown) in cases.into_iter().chain(more) {
        let duration = parse_duration(text).unwrap();
        assert_eq!(duration, Duration::from_secs(seconds), "{text}");
        assert_eq!(format_duration(duration), shown);
    }
    for text in ["", "s", "1", "-1s", "+1s", "1.5h", "1 h", "01s", "1H", "99999999999w", "1hm"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

#[test]
fn percentages_are_exact() {
    for (text, hundredths, shown) in [
        ("10%", 1000, "10%"),
        ("2.5%", 250, "2.5%"),
        ("0.05%", 5, "0.05%"),
        ("100%", 10_000, "100%"),
    ] {
        let percent = Percent::parse(text).unwrap();
        assert_eq!((percent.hundredths(), percent.to_string().as_str()), (hundredths, shown));
    }
    for text in ["", "%", "10", ".5%", "5.%", "1.234%", "100.01%", "-1%", "1e1%", "4294967295%"] {
        assert!(Percent::parse(text).is_err(), "{text}");
    }
    let tenth = Percent::parse("10%").unwrap();
    let judged = [(10, 100), (11, 100), (0, 0), (1, 0), (u64::MAX, u64::MAX)];
    assert_eq!(
        judged.map(|(part, all)| tenth.is_exceeded(part, all)),
        [false, true, false, true, true]
    );
}

#[test]
fn templates_expand_or_say_what_they_lack() {
    let template = Template::parse("{{a}}/{x}-{x}", &["x", "y"]).unwrap();
    assert_eq!(template.expand(&[("x", "1")]).unwrap(), "{a}/1-1");
    assert!(template.mentions("x") && !template.mentions("y"));
    let error = template.expand(&[("y", "1")]).unwrap_err().to_string();
    assert_eq!(error, "template \"{{a}}/{x}-{x}\": no value for {x} here");
    assert_eq!(Template::parse("aé{z}", &["x"]).unwrap_err().offset, 3);
}

#[test]
fn versions_have_one_spelling_and_an_order() {
    for text in ["9", "9.", ".7", "9.07", "9.7.1", "9.7-RC1", "v9.7", "9. 7", "4294967296.1"] {
        assert!(Version::parse(text).is_err(), "{text}");
    }
    assert!(Version::parse("8.10").unwrap() > Version::parse("8.9").unwrap());
    assert_eq!(Version::parse("10.1").unwrap().underscored(), "10_1");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn damaged_models_never_panic(at in 0..MODEL.len(), len in 0usize..40, new in "\\PC{0,6}") {
        let mut bytes = MODEL.as_bytes().to_vec();
        bytes.splice(at..(at + len).min(MODEL.len()), new.bytes());
        if let Err(errors) = Config::check(&String::from_utf8_lossy(&bytes), Path::new("c")) {
            prop_assert!(!errors.is_empty());
        }
    }
}
