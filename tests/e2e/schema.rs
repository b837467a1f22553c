//! Every JSON document that cairn writes, beside its schema in `docs/schema`.
//!
//! All tests check what they read ([`cairn_testkit::schema`]). This one runs every command there
//! is, as it is done, planned, refused and failing, and then asks for the keys that a schema
//! promises and no document has had.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cairn_testkit::schema::{self, Shown};
use cairn_testkit::{Keys, Run, Unavailable, World, available};
use serde_json::Value;

use crate::world;

const STAGING: &str = "staging/9.7-RC2";
const PRODUCTION: &str = "production/9.7";
const BASH: &str = "BaseOS/x86_64/os/Packages/b/bash-5.1.8-9.el9.x86_64.rpm";

/// Keys that only show where something is wrong, or under way, in a way that is not made here. What
/// the test of that name reads is checked against the schema all the same.
const ELSEWHERE: &[(&str, &str)] = &[
    ("common.json#/$defs/edited/properties/live", "edits"),
    ("common.json#/$defs/edited/properties/paths", "edits"),
    ("common.json#/$defs/view-report/properties/edited", "edits"),
    ("find.json#/$defs/unreadable/properties/message", "history"),
    ("find.json#/$defs/unreadable/properties/repo", "history"),
    ("find.json#/properties/unreadable", "history"),
    ("fsck.json#/$defs/outcome/oneOf/1/properties/reason", "fsck"),
    ("fsck.json#/$defs/outcome/oneOf/1/properties/state", "fsck"),
    ("fsck.json#/$defs/report/properties/resumed", "fsck"),
    ("fsck.json#/properties/resumed", "fsck"),
    ("report.json#/$defs/removed-link/properties/mount", "links"),
    ("report.json#/$defs/removed-link/properties/old", "links"),
    ("report.json#/$defs/removed-link/properties/path", "links"),
    ("report.json#/$defs/removed-link/properties/ref", "links"),
    ("report.json#/properties/removed_links", "links"),
    ("status.json#/$defs/held-lock/properties/command", "locks"),
    ("status.json#/$defs/held-lock/properties/host", "locks"),
    ("status.json#/$defs/held-lock/properties/pid", "locks"),
    ("status.json#/$defs/held-lock/properties/since", "locks"),
    ("status.json#/$defs/held-lock/properties/what", "locks"),
    ("trees.json#/$defs/tree-record/properties/drifted", "fsck"),
    ("verify-mirror.json#/$defs/list-check/properties/deviations", "mirror"),
    ("verify-mirror.json#/$defs/list-check/properties/file", "mirror"),
    ("verify-mirror.json#/$defs/list-check/properties/rows", "mirror"),
];

/// A world whose documents are looked at.
struct Reader {
    world: World,
    shown: Shown,
    /// What was looked at, a line each, with the name of its schema.
    lines: String,
    /// Where hooks and gates leave what they were told.
    told: tempfile::TempDir,
}

impl Reader {
    fn new() -> Self {
        let told = tempfile::tempdir().unwrap();
        let world = world();
        Self { world, shown: Shown::default(), lines: String::new(), told }
    }

    /// Runs a command, which must end with this code, and looks at its document.
    #[track_caller]
    fn json(&mut self, code: i32, args: &[&str]) -> Value {
        self.as_person("mara", code, args)
    }

    #[track_caller]
    fn as_person(&mut self, person: &str, code: i32, args: &[&str]) -> Value {
        let mut command = self.world.command();
        let run = Run::of(command.env("SUDO_USER", person).arg("--json").args(args)).exits(code);
        let document = run.json();
        self.look(&document);
        document
    }

    fn look(&mut self, document: &Value) {
        let schema = document["schema"].as_str().unwrap();
        let name = schema.strip_prefix("cairn.").unwrap().strip_suffix("/1").unwrap();
        self.show(name, document);
        for inner in document["commands"].as_array().into_iter().flatten() {
            if inner["report"].is_object() {
                self.look(&inner["report"].clone());
            }
        }
    }

    fn show(&mut self, name: &str, document: &Value) {
        self.shown.look(name, document);
        self.lines += &format!("{}\n", serde_json::json!([name, document]));
    }

    /// Runs a command, which must fail with this code and kind, and looks at what it says.
    #[track_caller]
    fn error(&mut self, code: i32, kind: &str, args: &[&str]) {
        let run = self.world.cairn([&["--json"], args].concat()).exits(code);
        assert_eq!(run.out(), "", "{}", run.report());
        let error = run.error_json();
        assert_eq!((&error["kind"], &error["code"]), (&kind.into(), &code.into()), "{error:#}");
        self.show("error", &error);
    }

    /// Looks at a document that names no schema.
    #[track_caller]
    fn is(&mut self, name: &str, document: &Value) {
        let said = schema::check_as(name, document);
        said.unwrap_or_else(|mistakes| panic!("{mistakes}\n{document:#}"));
        self.show(name, document);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.told.path().join(name)
    }

    fn add(&self, lines: &str) {
        let text = fs::read_to_string(self.world.config()).unwrap();
        self.world.set_config(&format!("{text}\n{lines}\n"));
    }

    fn staged(&mut self) {
        let latest = self.world.latest().to_str().unwrap().to_owned();
        self.json(0, &["ingest", &latest]);
        self.json(0, &["stage", "9", "Rocky", "--delete"]);
    }
}

#[track_caller]
fn read(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn every_command_writes_what_its_schema_says() {
    let mut reader = Reader::new();
    the_beginning(&mut reader);
    a_release(&mut reader);
    an_update(&mut reader);
    the_way_back(&mut reader);
    history(&mut reader);
    upkeep(&mut reader);
    plain_files(&mut reader);
    the_store(&mut reader);
    a_minor_release(&mut reader);
    damage(&mut reader);
    an_odd_repo(&mut reader);
    a_mount_is_away(&mut reader);
    adoption(&mut reader);
    let signed = signatures(&mut reader);

    another_validator_agrees(&reader);
    let elsewhere: BTreeMap<&str, &str> = ELSEWHERE.iter().copied().collect();
    let missing = reader.shown.missing();
    let unknown: Vec<_> =
        missing.iter().filter(|key| !elsewhere.contains_key(key.as_str())).collect();
    if signed {
        assert!(unknown.is_empty(), "promised and never seen: {unknown:#?}");
    }
    let seen: Vec<_> = elsewhere.keys().filter(|key| reader.shown.has(key)).collect();
    assert!(seen.is_empty(), "these are shown here and need no excuse: {seen:#?}");
}

/// Asks Python's jsonschema, where it is installed, of the schemas as they are published.
fn another_validator_agrees(reader: &Reader) {
    let python = || std::process::Command::new("python3");
    let has = python().args(["-c", "import jsonschema, referencing"]).output();
    let has = match has.is_ok_and(|output| output.status.success()) {
        true => Ok(()),
        false => Err(Unavailable::NoTool { tool: "Python's jsonschema".to_owned() }),
    };
    if available(has).is_some() {
        let documents = reader.file("documents");
        fs::write(&documents, &reader.lines).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/scripts/validate-json.py");
        Run::of(python().arg(script).arg(schema::dir()).arg(&documents)).ok();
    }
}

fn the_beginning(reader: &mut Reader) {
    reader.error(10, "no-store", &["status"]);
    reader.error(2, "usage", &["frobnicate"]);
    reader.json(0, &["init", "-n"]);
    reader.json(0, &["init"]);
    reader.json(0, &["config", "show"]);
    reader.json(0, &["config", "check"]);
    let good = fs::read_to_string(reader.world.config()).unwrap();
    reader.world.set_config(&format!("{good}\n[no-such-section]\nkey = 1\n"));
    reader.json(2, &["config", "check"]);
    reader.error(2, "config", &["status"]);
    reader.world.set_config(&good);
    let scripts = reader.file("scripts");
    fs::create_dir(&scripts).unwrap();
    let common = "ARCHES=(x86_64)\nCOMPOSE_ROOT=/mnt/compose\nSTAGING_ROOT=/mnt/staging\n\
                  PRODUCTION_ROOT=/mnt/production\nCATEGORY_STUB=mirror/pub/rocky\n\
                  source \"$(dirname \"${BASH_SOURCE[0]}\")/common_${RLVER}\"\n";
    fs::write(scripts.join("common"), common).unwrap();
    let release = "REVISION=9.7\nPREREV=9.6\nMAJOR=9\nSHORT=Rocky\n";
    fs::write(scripts.join("common_9"), release).unwrap();
    reader.json(0, &["config", "import", scripts.to_str().unwrap(), "--run"]);
}

fn a_release(reader: &mut Reader) {
    reader.world.first();
    let told = reader.told.path().display().to_string();
    let tell = |name: &str| format!("[\"/bin/sh\", \"-c\", \"cat > {told}/{name}.json\"]");
    // A gate that answers, one that takes longer than progress is silent, and a hook.
    reader.add(&format!(
        "[gate.ask]\ncommand = {}\n[gate.slow]\ncommand = [\"sleep\", \"0.7\"]\n\
         [hook.tell]\non = [\"ingest\", \"stage\", \"promote\", \"rollback\", \"approve\", \
         \"hold\", \"gc\"]\ncommand = [\"/bin/sh\", \"-c\", \
         \"cat > {told}/hook-$0.json; echo heard; exit 1\", \"{{verb}}\"]",
        tell("gate")
    ));
    reader.world.configure("mounts.production", "grace = \"1h\"");
    let required = "[gate.production]\nrequire = [";
    let text = fs::read_to_string(reader.world.config()).unwrap();
    let text = text.replace(required, "[gate.production]\napprovals = 1\nrequire = [\"ask\", ");
    reader.world.set_config(&text);

    let latest = reader.world.latest().to_str().unwrap().to_owned();
    reader.error(1, "not-ingested", &["stage", "9", "Rocky"]);
    reader.json(0, &["ingest", &latest, "-n"]);
    reader.json(0, &["ingest", &latest]);
    reader.json(0, &["ingest", &latest]);
    reader.error(2, "unknown-name", &["stage", "7", "Rocky"]);
    reader.json(0, &["stage", "9", "Rocky", "--delete", "-n"]);
    reader.json(0, &["stage", "9", "Rocky", "--delete"]);
    // Nobody has approved it.
    reader.json(4, &["promote", "9", "-n"]);
    reader.error(4, "refused", &["promote", "9"]);
    reader.as_person("ida", 0, &["approve", STAGING, "-m", "tested", "-n"]);
    reader.as_person("ida", 0, &["approve", STAGING, "-m", "tested"]);
    reader.json(0, &["status"]);
    reader.json(0, &["check", STAGING]);
    reader.json(0, &["promote", "9", "-m", "Rocky Linux 9.7"]);
    reader.json(0, &["promote", "9"]);
    reader.json(0, &["publish"]);
    reader.json(0, &["lists"]);

    let gate = read(&reader.file("gate.json"));
    reader.is("gate", &gate);
    for verb in ["ingest", "stage", "approve", "promote"] {
        let mut told = read(&reader.file(&format!("hook-{verb}.json")));
        reader.show("hook", &told);
        assert_eq!(told.as_object_mut().unwrap().remove("hook"), Some("tell".into()));
        schema::check(&told).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    }
}

fn an_update(reader: &mut Reader) {
    reader.world.second();
    reader.staged();
    reader.json(3, &["diff", PRODUCTION, STAGING, "--exit-code"]);
    for by in ["packages", "metadata", "all"] {
        reader.json(0, &["diff", PRODUCTION, STAGING, "--by", by]);
    }
    let format = ["diff", PRODUCTION, STAGING, "--format", "json"];
    assert_eq!(reader.world.cairn(format).ok().json()["schema"], "cairn.diff/1");
    // Before anybody else asks: what is known already is not gone through.
    let run = reader.world.cairn(["--progress", "json", "check", STAGING, "slow", "closure"]);
    let lines = run.err();
    let lines: Vec<&str> = lines.lines().filter(|line| line.starts_with("{\"")).collect();
    assert!(!lines.is_empty(), "{}", run.report());
    lines.iter().for_each(|line| reader.is("progress", &serde_json::from_str(line).unwrap()));
    reader.json(3, &["check", STAGING, "no-downgrade", "no-loss", "no-rebuild", "closure", "ask"]);
    reader.as_person("ida", 0, &["approve", STAGING, "-m", "tested"]);
    reader.as_person("ida", 0, &["approve", STAGING, "--withdraw", "-m", "no"]);
    reader.as_person("ida", 0, &["approve", STAGING, "-m", "tested again"]);
    reader.json(0, &["show", STAGING]);
    // A gate that fails is told with what it found.
    let text = fs::read_to_string(reader.world.config()).unwrap();
    let strict = text.replace("require = [\"ask\", ", "require = [\"ask\", \"no-downgrade\", ");
    reader.world.set_config(&strict);
    let exact = ["promote", "9", "--delete", "--allow-deletes", "100%"];
    reader.error(4, "refused", &exact);
    reader.json(4, &["promote", "9", "--delete", "-n"]);
    let skip = ["--skip-gate", "no-downgrade", "-m", "httpd goes back"];
    reader.json(0, &[&exact[..], &["--embargo"], &skip].concat());
    reader.world.set_config(&text);
    reader.json(0, &["status"]);
    reader.json(0, &["open", PRODUCTION, "-n"]);
    reader.json(0, &["open", PRODUCTION]);
}

fn the_way_back(reader: &mut Reader) {
    // Before it was opened, and before it was promoted.
    let back = ["rollback", PRODUCTION, "--to", "production/9.7~2", "-m", "no boot"];
    reader.json(0, &[&back[..], &["-n"]].concat());
    reader.json(0, &back);
    reader.error(1, "unknown-ref", &["rollback", "production/9.6"]);
    reader.error(2, "bad-ref-name", &["rollback", "production//9.6"]);
}

fn history(reader: &mut Reader) {
    let log = reader.json(0, &["log"]);
    reader.json(0, &["log", PRODUCTION, "-N", "1"]);
    for operation in log["operations"].as_array().unwrap() {
        let number = operation["number"].to_string();
        reader.json(0, &["show", &number, "--by", "all"]);
    }
    reader.json(0, &["show", &format!("{PRODUCTION}~1")]);
    reader.json(0, &["blame", PRODUCTION, BASH]);
    reader.json(0, &["blame", PRODUCTION, "BaseOS/x86_64/os"]);
    let object = reader.json(0, &["ls", &format!("{PRODUCTION}:{BASH}")]);
    let object = object["entries"][0]["object"].as_str().unwrap().to_owned();
    for what in ["bash-*", "vim-minimal-8.2.2637-22.el9_6.x86_64", BASH, &object] {
        reader.json(0, &["find", what]);
    }
    reader.json(0, &["ls", PRODUCTION, "-R"]);
    reader.error(1, "no-such-path", &["ls", &format!("{PRODUCTION}:no/such")]);
    reader.error(1, "unknown-rev", &["show", "0123456789abcdef"]);
    let mirror = reader.file("mirror");
    let live = reader.world.production("mirror/pub/rocky/9.7").canonicalize().unwrap();
    Run::of(std::process::Command::new("cp").arg("-a").arg(&live).arg(&mirror)).ok();
    let place = mirror.to_str().unwrap();
    reader.json(0, &["verify-mirror", place, PRODUCTION]);
    fs::write(mirror.join(BASH), "somebody else's").unwrap();
    reader.json(3, &["verify-mirror", place, PRODUCTION, "--full"]);
    fs::remove_dir_all(&mirror).unwrap();
    fs::create_dir(&mirror).unwrap();
    reader.json(3, &["verify-mirror", place, PRODUCTION]);
}

fn upkeep(reader: &mut Reader) {
    reader.json(0, &["hold", PRODUCTION, "--as", "first", "-m", "the first", "-n"]);
    reader.json(0, &["hold", PRODUCTION, "--as", "first", "-m", "the first"]);
    reader.json(0, &["hold", "list"]);
    reader.json(0, &["hold", "release", "first", "-n"]);
    reader.json(0, &["hold", "release", "first"]);
    reader.json(0, &["du"]);
    let gc = ["gc", "--keep-last", "1", "--keep-within", "0s", "--grace", "0s", "--trash", "0s"];
    reader.json(0, &[&gc[..], &["-n"]].concat());
    reader.json(0, &gc);
    reader.json(0, &gc);
    reader.json(0, &["fsck", "--quick"]);
    reader.json(0, &["fsck", "--full"]);
    reader.json(0, &["status"]);
    reader.json(0, &["log"]);
}

fn plain_files(reader: &mut Reader) {
    let dir = reader.file("repo");
    let live = reader.world.production("mirror/pub/rocky/9.7/BaseOS/x86_64/os");
    let live = live.canonicalize().unwrap();
    Run::of(std::process::Command::new("cp").arg("-a").arg(&live).arg(&dir)).ok();
    fs::remove_dir_all(dir.join("repodata")).unwrap();
    reader.json(0, &["repodata", "build", dir.to_str().unwrap(), "-n"]);
    reader.json(0, &["repodata", "build", dir.to_str().unwrap()]);
    reader.json(0, &["toolkit", "--print", "RLVER=9", "sync-to-staging.sh", "Rocky"]);
    reader.json(0, &["toolkit", "-n", "RLVER=9", "sync-to-staging.sh", "Rocky"]);
    reader.error(2, "usage", &["toolkit", "RLVER=9", "no-such.sh"]);
    let shims = reader.file("shims");
    fs::create_dir(&shims).unwrap();
    reader.json(0, &["toolkit", "--install", shims.to_str().unwrap()]);
    reader.json(0, &["toolkit", "--install", shims.to_str().unwrap()]);
    let pages = reader.file("pages");
    reader.json(0, &["man", pages.to_str().unwrap()]);
    let demo = reader.file("demo");
    reader.json(0, &["demo", demo.to_str().unwrap(), "-n"]);
    let done = reader.json(0, &["demo", demo.to_str().unwrap()]);
    assert!(done["commands"].as_array().unwrap().len() > 10, "{done:#}");
    reader.error(2, "usage", &["demo", demo.to_str().unwrap()]);
}

/// What is in the store and in an exported log.
fn the_store(reader: &mut Reader) {
    let store = reader.world.places().store.clone();
    reader.is("superblock", &read(&store.join("format")));
    let operations = files(&store.join("log"));
    assert!(operations.len() > 10);
    operations.iter().for_each(|path| reader.is("operation", &read(path)));
    for pool in [reader.world.staging(".cairn"), reader.world.production(".cairn")] {
        reader.is("mount-marker", &read(&pool.join("mount.json")));
        for view in files(&pool.join("views")) {
            reader.is("trees", &read(&view.join("trees.json")));
        }
    }
    let file = reader.file("log.txt");
    let file = file.to_str().unwrap().to_owned();
    reader.json(0, &["audit", "verify"]);
    reader.json(0, &["audit", "export", &file, "--unsigned", "-n"]);
    reader.json(0, &["audit", "export", &file, "--unsigned"]);
    reader.json(0, &["audit", "verify", &file]);
    let exported = fs::read_to_string(&file).unwrap();
    let mut lines = exported.lines();
    let mut snapshots = 0;
    while let Some(line) = lines.next() {
        if line.starts_with("snapshot ") {
            reader.is("snapshot", &serde_json::from_str(lines.next().unwrap()).unwrap());
            snapshots += 1;
        }
    }
    assert!(snapshots > 2, "{exported}");
    fs::write(&file, exported.replace("operation 1 ", "operation 2 ")).unwrap();
    reader.json(13, &["audit", "verify", &file]);
}

fn a_minor_release(reader: &mut Reader) {
    reader.json(0, &["minor", "9", "-n"]);
    reader.json(0, &["minor", "9", "-m", "9.7 RC2"]);
    let from = reader.file("updateinfo.xml");
    let update = |id: &str, name: &str| {
        format!(
            "<update from=\"x\" status=\"final\" type=\"bugfix\" version=\"1\"><id>{id}</id>\
             <title>{id}</title><issued date=\"2026-01-01 00:00:00\"/><pkglist>\
             <collection short=\"x\"><name>x</name><package name=\"{name}\" version=\"9\" \
             release=\"9.el9\" epoch=\"0\" arch=\"x86_64\"><filename>{name}.rpm</filename>\
             </package></collection></pkglist></update>"
        )
    };
    let all = ["bash", "nowhere"].map(|name| update(&format!("RLBA-2026:{name}"), name)).concat();
    fs::write(&from, format!("<?xml version=\"1.0\"?>\n<updates>{all}</updates>\n")).unwrap();
    let apply = ["errata", "apply", "9", "--from", from.to_str().unwrap()];
    reader.json(0, &[&apply[..], &["-n"]].concat());
    reader.json(0, &apply);
    let torrents = reader.file("torrents");
    fs::create_dir(&torrents).unwrap();
    reader.json(0, &["torrents", "9", "--out", torrents.to_str().unwrap()]);
    reader.json(0, &["vault", "9.7", "-n"]);
    reader.json(0, &["vault", "9.7"]);
}

fn damage(reader: &mut Reader) {
    let repair = ["fsck", "--full", "--repair"];
    reader.json(0, &[&repair[..], &["-n"]].concat());
    let live = reader.world.production("mirror/pub/rocky/9.7/BaseOS").canonicalize().unwrap();
    fs::write(live.join("intruder"), "not published").unwrap();
    // An object that production needs and the pool of staging has, too.
    let object = reader.json(0, &["ls", &format!("{PRODUCTION}:{BASH}")]);
    let (dir, name) = object["entries"][0]["object"].as_str().unwrap().split_at(2);
    let object = reader.world.production(".cairn/objects").join(dir).join(name);
    fs::remove_file(&object).unwrap();
    reader.json(13, &["fsck", "--full"]);
    reader.json(13, &[&repair[..], &["-n"]].concat());
    reader.json(0, &repair);
}

/// A tree that is live already, in a store of its own.
fn adoption(reader: &mut Reader) {
    let world = world();
    let written = world.first();
    world.cairn(["init"]).ok();
    let live = world.production("mirror/pub/rocky/9.7");
    fs::create_dir_all(live.parent().unwrap()).unwrap();
    let from = written.dir.join("compose");
    Run::of(std::process::Command::new("cp").arg("-a").arg(&from).arg(&live)).ok();
    for plan in [&["-n"][..], &[]] {
        reader.look(&world.json(crate::adopt::adopt().iter().chain(plan)));
    }
}

/// A repo whose name is not UTF-8, whose dependencies are gone and which cannot be read at last.
fn an_odd_repo(reader: &mut Reader) {
    use std::os::unix::ffi::OsStrExt as _;
    const ODD: &str = "compose/9/Odd";
    let dir = reader.file("repo");
    let path = dir.to_str().unwrap().to_owned();
    let take = |reader: &mut Reader| reader.json(0, &["ingest", &path, "--as", ODD]);
    let compare =
        |reader: &mut Reader| reader.json(0, &["diff", "compose/9/Odd~1", ODD, "--by", "all"]);
    fs::write(dir.join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "not UTF-8").unwrap();
    take(reader);
    reader.json(0, &["ls", ODD, "-R"]);
    let modules = reader.file("modules.yaml");
    let defaults = "---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: nodejs\n  \
                    stream: \"22\"\n  profiles:\n    \"22\": [common]\n...\n";
    fs::write(&modules, defaults).unwrap();
    fs::remove_dir_all(dir.join("Packages/g")).unwrap();
    let modules = modules.to_str().unwrap().to_owned();
    reader.json(0, &["repodata", "build", &path, "--revision", "7", "--modules", &modules]);
    take(reader);
    let lost = compare(reader);
    assert_eq!(lost["dependencies"].as_array().map(Vec::len), Some(3), "{lost:#}");
    fs::write(dir.join("repodata/repomd.xml"), "<repomd>").unwrap();
    take(reader);
    let broken = compare(reader);
    assert!(!broken["packages"]["errors"].as_array().unwrap().is_empty(), "{broken:#}");
}

/// A mount is away: what can be done without it is, the rest waits.
fn a_mount_is_away(reader: &mut Reader) {
    let marker = reader.world.production(".cairn/mount.json");
    let away = marker.with_extension("away");
    fs::rename(&marker, &away).unwrap();
    reader.json(5, &["du"]);
    reader.json(5, &["publish"]);
    reader.json(0, &["status"]);
    fs::rename(&away, &marker).unwrap();
}

/// What is signed; answers whether there is a gpg to do it with.
fn signatures(reader: &mut Reader) -> bool {
    let Some(keys) = available(Keys::new(&["Rocky", "Other"])) else { return false };
    let public = keys.public("RPM-GPG-KEY-9", &["Rocky"]);
    let script = keys.sign_script("sign", "Rocky");
    reader.add(&format!(
        "[sign]\ncommand = [\"{}\", \"{{file}}\"]\nverify_key = \"{}\"",
        script.display(),
        public.display()
    ));
    reader.world.env("GNUPGHOME", keys.home());
    reader.json(0, &["sign", "9", "-n"]);
    reader.json(0, &["sign", "9"]);
    reader.error(2, "unknown-name", &["sign", "9", "--sig", "no-such"]);
    let file = reader.file("signed.txt");
    let file = file.to_str().unwrap().to_owned();
    reader.json(0, &["audit", "export", &file]);
    reader.json(0, &["audit", "verify", &file, "--keys", public.to_str().unwrap()]);
    let other = keys.public("other", &["Other"]);
    reader.json(12, &["audit", "verify", &file, "--keys", other.to_str().unwrap()]);
    true
}
