//! `cairn sign`: signed by commands and by gpg, believed by dnf, refused as a whole, never in parts.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cairn_testkit::clients::{Dnf, HttpServer};
use cairn_testkit::{CrashPoint, Keys, Run, Running, Signal, World, available};
use serde_json::Value;

use crate::filesystems::{Node, PRODUCTION, STAGING, assert_same, contents, real};
use crate::world;

/// A release that is staged and not signed, and the keys to do it with.
struct Signing {
    world: World,
    keys: Keys,
    temp: PathBuf,
}

impl Signing {
    /// Stages the sample's release; nothing where there is no gpg.
    #[track_caller]
    fn new() -> Option<Self> {
        let keys = available(Keys::new(&["Rocky", "Other"]))?;
        let mut world = world();
        let written = world.first();
        world.cairn(["init"]).ok();
        world.cairn(["ingest", written.dir.to_str().unwrap()]).ok();
        world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
        keys.public("RPM-GPG-KEY-9", &["Rocky"]);
        // A directory of its own, so that what is left behind is seen.
        let temp = keys.path("tmp");
        fs::create_dir(&temp).unwrap();
        world.env("TMPDIR", &temp);
        world.env("GNUPGHOME", keys.home());
        Some(Self { world, keys, temp })
    }

    /// Says in the configuration who signs.
    #[track_caller]
    fn configure(&self, lines: &str) {
        let text = fs::read_to_string(self.world.config()).unwrap();
        let before = text.split("\n[sign]\n").next().unwrap();
        self.world.set_config(&format!("{before}\n[sign]\n{lines}\n"));
    }

    /// Lets a script sign, in place.
    #[track_caller]
    fn command(&self, script: &Path, more: &str) {
        let key = self.keys.path("RPM-GPG-KEY-{major}");
        self.configure(&format!(
            "command = [\"{}\", \"{{file}}\"]\nverify_key = \"{}\"\n{more}",
            script.display(),
            key.display()
        ));
    }

    fn staging(&self) -> PathBuf {
        self.world.staging(STAGING)
    }

    /// The repos of the staged tree whose signature gpgv accepts with a file of keys.
    fn signed_with(&self, key: &Path) -> BTreeSet<PathBuf> {
        let root = real(&self.staging());
        let repos =
            contents(&root).into_keys().filter(|path| path.ends_with("repodata/repomd.xml"));
        let good = |repomd: &PathBuf| {
            let repomd = root.join(repomd);
            let mut asc = repomd.clone().into_os_string();
            asc.push(".asc");
            // gpg and not gpgv, so that cairn's own way of asking is checked too.
            let home = tempfile::tempdir_in("/tmp").unwrap();
            let gpg = || {
                let mut gpg = Command::new("gpg");
                gpg.args(["--batch", "--quiet", "--no-autostart", "--homedir"]).arg(home.path());
                gpg
            };
            Run::of(gpg().arg("--import").arg(key)).ok();
            Run::of(gpg().arg("--verify").arg(asc).arg(repomd)).code() == Some(0)
        };
        repos.filter(good).collect()
    }

    /// Checks that a temporary directory for signing is left nowhere.
    #[track_caller]
    fn leaves_nothing(&self) {
        let left: Vec<_> = fs::read_dir(&self.temp).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(left, [] as [PathBuf; 0]);
    }

    fn operations(&self) -> Value {
        self.world.json(["log"])["operations"].clone()
    }
}

fn bytes(node: &Node) -> &[u8] {
    match node {
        Node::File(bytes, ..) => bytes,
        Node::Dir(_) | Node::Symlink(_) => &[],
    }
}

fn paths(document: &Value) -> BTreeSet<&str> {
    document
        .as_array()
        .map(|rows| rows.iter().map(|row| row.as_str().unwrap()).collect())
        .unwrap_or_default()
}

/// Asks dnf, as a client that demands signed metadata, what production offers.
fn offered(server: &HttpServer, key: &Path) -> Option<Run> {
    let url = |repo: &str| server.url(&format!("{PRODUCTION}/{repo}/x86_64/os"));
    let dnf = available(Dnf::new())?;
    let dnf = dnf.repo("baseos", url("BaseOS")).repo("appstream", url("AppStream")).key(key);
    Some(dnf.run(&["-q", "repoquery", "--qf", "%{name}"]))
}

#[test]
fn a_signed_release_is_what_dnf_demands_and_signing_again_changes_nothing() {
    let Some(signing) = Signing::new() else { return };
    let (world, keys) = (&signing.world, &signing.keys);
    signing.command(&keys.sign_script("sign", "Rocky"), "");
    let key = keys.path("RPM-GPG-KEY-9");
    let before = contents(&signing.staging());
    let repos: BTreeSet<&str> = before
        .keys()
        .filter(|path| path.ends_with("repodata/repomd.xml"))
        .map(|path| path.to_str().unwrap())
        .collect();
    assert!(repos.len() >= 6, "{repos:?}");

    let plan = world.json(["sign", "9", "-n"]);
    assert_eq!(paths(&plan["signed"]), repos);
    let added = paths(&plan["plan"][0]["files"]["added"]);
    let signatures: BTreeSet<String> = repos.iter().map(|repo| format!("{repo}.asc")).collect();
    assert_eq!(added, signatures.iter().map(String::as_str).collect());
    assert_eq!(plan["operation"], Value::Null);
    assert_same(&before, &contents(&signing.staging()));
    let text = world.cairn(["sign", "9", "-n", "-v"]).ok().out();
    assert!(text.contains(&format!("{} repos  to be signed", repos.len())), "{text}");

    let done = world.json(["sign", "9", "-m", "first signatures"]);
    assert_eq!(paths(&done["signed"]), repos);
    assert_eq!(done["refs"][0]["name"], "staging/9.7-RC2");
    assert_eq!(done["changed"]["files_added"], repos.len());
    assert_eq!(
        (&done["changed"]["files_changed"], &done["changed"]["files_removed"]),
        (&0.into(), &0.into())
    );
    let operation = &signing.operations()[0];
    assert_eq!(
        (&operation["verb"], &operation["reason"]),
        (&"sign".into(), &"first signatures".into())
    );
    assert_eq!(signing.signed_with(&key).len(), repos.len());

    // Nothing is to be done now, and nothing is: no operation, no new file.
    let (log, signed) = (signing.operations(), contents(&signing.staging()));
    let again = world.json(["sign", "9"]);
    assert_eq!((&again["operation"], &again["signed"]), (&Value::Null, &Value::Null));
    assert_eq!(signing.operations(), log);
    assert_same(&signed, &contents(&signing.staging()));

    world.cairn(["promote", "9", "--delete"]).ok();
    let server = HttpServer::start(&world.places().production);
    if let Some(run) = offered(&server, &key) {
        let names = run.ok().out();
        assert!(names.lines().any(|name| name == "bash"), "{names}");
        // The same client with another key takes nothing: it does look.
        let run = offered(&server, &keys.public("other", &["Other"])).unwrap();
        assert_ne!(run.code(), Some(0), "{}", run.report());
    }
    world.cairn(["fsck", "--full"]).ok();
    signing.leaves_nothing();
}

#[test]
fn only_what_changed_is_signed_and_the_rest_keeps_what_mirrors_have() {
    let Some(signing) = Signing::new() else { return };
    let (world, keys) = (&signing.world, &signing.keys);
    signing.command(&keys.sign_script("sign", "Rocky"), "");
    world.cairn(["sign", "9"]).ok();
    world.cairn(["promote", "9", "--delete"]).ok();
    let live = contents(&world.production(PRODUCTION));
    // The same compose again has no signatures, and one of its repos has other metadata now.
    let first = world.latest().canonicalize().unwrap();
    let repomd = "BaseOS/x86_64/os/repodata/repomd.xml";
    let mut text = fs::read(first.join("compose").join(repomd)).unwrap();
    text.push(b'\n');
    fs::write(first.join("compose").join(repomd), text).unwrap();
    world.cairn(["ingest", first.to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    let staged = contents(&signing.staging());
    assert!(!staged.keys().any(|path| path.ends_with("repodata/repomd.xml.asc")));
    let plan = world.json(["sign", "9", "-n"]);
    let report = world.json(["sign", "9"]);
    let signed = paths(&report["signed"]);
    assert_eq!((&signed, paths(&plan["signed"])), (&BTreeSet::from([repomd]), signed.clone()));
    let now = contents(&signing.staging());
    let mut kept = 0;
    for (path, node) in staged.iter().filter(|(path, _)| path.ends_with("repodata/repomd.xml")) {
        let asc = PathBuf::from(format!("{}.asc", path.display()));
        let same = live.get(path).is_some_and(|old| bytes(old) == bytes(node));
        assert_eq!(!same, signed.contains(path.to_str().unwrap()), "{}", path.display());
        if same {
            kept += 1;
            assert!(now[&asc] == live[&asc], "{}", asc.display());
        }
    }
    assert!(kept > 5, "{kept} kept");
    assert_eq!(signing.signed_with(&keys.path("RPM-GPG-KEY-9")).len(), kept + 1);
    signing.leaves_nothing();
}

#[test]
fn gpg_signs_with_a_key_and_another_key_signs_all_again() {
    let Some(signing) = Signing::new() else { return };
    let (world, keys) = (&signing.world, &signing.keys);
    let configure = |key: &str, file: &Path| {
        signing.configure(&format!("key = \"{key}\"\nverify_key = \"{}\"", file.display()));
    };
    let (rocky, other) = (keys.path("RPM-GPG-KEY-9"), keys.public("other", &["Other"]));
    configure("Rocky", &rocky);
    let first = world.json(["sign", "9"]);
    let repos = paths(&first["signed"]).len();
    assert_eq!(signing.signed_with(&rocky).len(), repos);
    // While both keys count, what the old one signed is good.
    configure("Other", &keys.public("both", &["Rocky", "Other"]));
    assert_eq!(world.json(["sign", "9"])["operation"], Value::Null);
    configure("Other", &other);
    let second = world.json(["sign", "9"]);
    assert_eq!(paths(&second["signed"]).len(), repos);
    assert_eq!(signing.signed_with(&other).len(), repos);
    assert_eq!(signing.signed_with(&rocky).len(), 0);
    // A signature has the size of the one before: rsync must see that it is another.
    assert_eq!(second["changed"]["files_changed"], repos);
    let old = world.cairn(["ls", "staging/9.7-RC2~1", "-R", "--json"]).ok().json();
    let new = world.cairn(["ls", "staging/9.7-RC2", "-R", "--json"]).ok().json();
    let times = |listing: &Value| -> Vec<(String, String)> {
        let rows = listing["entries"].as_array().unwrap().iter();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        rows.filter(|row| text(row, "path").ends_with(".asc"))
            .map(|row| (text(row, "path"), text(row, "time")))
            .collect()
    };
    for ((path, old), (_, new)) in times(&old).iter().zip(times(&new)) {
        assert!(*old < new, "{path}: {old}, {new}");
    }
    signing.leaves_nothing();
}

#[test]
fn what_cannot_be_signed_and_verified_is_exit_code_12_and_nothing_is_published() {
    let Some(mut signing) = Signing::new() else { return };
    let (before, log) = (contents(&signing.staging()), signing.operations());
    let cases: &[(&str, &str, &str)] = &[
        ("exit 3", "ended with exit code 3", "mend what it complains of"),
        ("true", "left no repomd.xml.asc", "must leave FILE.asc"),
        (": > $1.asc", "left an empty repomd.xml.asc", "must leave FILE.asc"),
        ("echo yes > $1.asc", "is none: it does not begin with", "--detach-sign --armor"),
        ("exec $GPG -u Other --detach-sign $1", "is not a configured one", "sign.verify_key"),
        ("echo more >> $1; $GPG -u Rocky --detach-sign $1", "over other bytes", "change none"),
        ("exec sleep 1000", "had not ended after 1s", "raise sign.timeout"),
        ("kill -9 $$", "was killed by signal 9", "mend what it complains of"),
        // All but the last one are signed well.
        (
            "test -e $TMPDIR/../../../count || : > $TMPDIR/../../../count\n\
             echo >> $TMPDIR/../../../count; test $(wc -l < $TMPDIR/../../../count) -lt 4 || exit 5\n\
             exec $GPG -u Rocky --detach-sign $1",
            "ended with exit code 5",
            "mend what it complains of",
        ),
    ];
    let fails = |signing: &Signing, label: &str, reason: &str, hint: &str| {
        let run = signing.world.cairn(["sign", "9", "--json"]).exits(12);
        let error = run.error_json();
        let message = format!("{} {}", error["message"], error["causes"]);
        assert_eq!((&error["kind"], &error["code"]), (&"signing".into(), &12.into()), "{error}");
        assert!(message.contains(reason), "{label}: {error}");
        assert!(error["hint"].as_str().unwrap().contains(hint), "{label}: {error}");
        assert_same(&before, &contents(&signing.staging()));
        assert_eq!(signing.operations(), log, "{label}");
        let _ = fs::remove_file(signing.keys.path("count"));
        signing.leaves_nothing();
    };
    for (body, reason, hint) in cases {
        let script = signing.keys.script("sign", body);
        signing.command(&script, if body.contains("sleep") { "timeout = \"1s\"" } else { "" });
        fails(&signing, body, reason, hint);
    }
    let missing = signing.keys.path("missing");
    signing.command(&missing, "");
    fails(&signing, "missing", "missing cannot be started", "executable");
    let good = signing.keys.sign_script("good", "Rocky");
    signing.configure(&format!(
        "command = [\"{}\", \"{{file}}\"]\nverify_key = \"/nowhere/key\"",
        good.display()
    ));
    fails(&signing, "key file", "/nowhere/key: cannot be read", "gpg --armor --export");

    // A PATH without gpgv, and one without gpg.
    let bin = signing.keys.path("bin");
    fs::create_dir(&bin).unwrap();
    let link = |tool: &str| {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|dir| dir.join(tool))
            .find(|path| path.exists())
            .unwrap();
        symlink(found, bin.join(tool)).unwrap();
    };
    link("sh");
    link("gpg");
    signing.world.env("PATH", &bin);
    signing.command(&good, "");
    fails(&signing, "no gpgv", "gpgv cannot be started", "install gpgv");
    fs::remove_file(bin.join("gpg")).unwrap();
    link("gpgv");
    let key = signing.keys.path("RPM-GPG-KEY-9");
    signing.configure(&format!("key = \"Rocky\"\nverify_key = \"{}\"", key.display()));
    fails(&signing, "no gpg", "gpg cannot be started", "install gnupg2");
    link("gpg");
    signing.world.env("TMPDIR", "/nowhere");
    let run = signing.world.cairn(["sign", "9", "--json"]).exits(12);
    assert!(run.error_json()["hint"].as_str().unwrap().contains("TMPDIR"), "{}", run.report());
    // One in which anybody could put other bytes in the place of ours.
    let open = signing.keys.path("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    signing.world.env("TMPDIR", &open);
    let run = signing.world.cairn(["sign", "9", "--json"]).exits(12);
    assert!(run.err().contains("sticky"), "{}", run.report());
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    signing.world.cairn(["sign", "9"]).ok();
    assert_eq!(fs::read_dir(&open).unwrap().count(), 0);
}

#[test]
fn a_parent_that_ignores_the_end_of_its_children_does_not_keep_us_from_asking() {
    let Some(signing) = Signing::new() else { return };
    signing.command(&signing.keys.sign_script("sign", "Rocky"), "");
    let cairn = signing.world.command();
    let mut shell = Command::new("bash");
    shell.args(["-c", "trap '' CHLD; exec \"$@\"", "bash"]).arg(cairn.get_program());
    shell.args(cairn.get_args()).args(["sign", "9"]);
    for (name, value) in cairn.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let run = Run::of(&mut shell).ok();
    assert!(run.out().contains("signed"), "{}", run.report());
}

#[test]
fn signing_needs_a_section_and_something_staged() {
    let Some(signing) = Signing::new() else { return };
    let run = signing.world.cairn(["sign", "9", "--json"]).exits(2);
    let error = run.error_json();
    assert_eq!(error["kind"], "config");
    assert!(error["message"].as_str().unwrap().contains("add a section [sign]"), "{error}");
    signing.command(&signing.keys.sign_script("sign", "Rocky"), "");
    let run = signing.world.cairn(["sign", "9-beta", "--json"]).exits(1);
    assert_eq!(run.error_json()["kind"], "unknown-ref", "{}", run.report());
    signing.world.cairn(["sign", "11", "--json"]).exits(2);
    signing.configure("command = [\"/bin/true\", \"{file}\"]");
    let run = signing.world.cairn(["sign", "9", "--json"]).exits(2);
    assert!(run.err().contains("missing key"), "{}", run.report());
}

#[test]
fn a_kill_at_any_point_leaves_all_signed_or_none() {
    let Some(signing) = Signing::new() else { return };
    let world = &signing.world;
    signing.command(&signing.keys.sign_script("sign", "Rocky"), "");
    let unsigned = contents(&signing.staging());
    let repos = unsigned.keys().filter(|path| path.ends_with("repodata/repomd.xml")).count();
    let is_signature = |path: &&PathBuf| path.ends_with("repodata/repomd.xml.asc");
    let mut killed = 0;
    for point in CrashPoint::ALL {
        let run = world.crash_at(*point, 1, ["sign", "9"]);
        if run.signal().is_none() {
            run.ok();
        } else {
            killed += 1;
            let now = contents(&signing.staging());
            match now.keys().filter(is_signature).count() {
                0 => assert_same(&unsigned, &now),
                all => assert_eq!(all, repos, "{}", point.name()),
            }
        }
        world.cairn(["sign", "9"]).ok();
        let now = contents(&signing.staging());
        assert_eq!(now.keys().filter(is_signature).count(), repos, "{}", point.name());
        assert_eq!(world.json(["sign", "9", "-n"])["signed"], Value::Null, "{}", point.name());
        world.cairn(["fsck", "--full"]).ok();
        world.cairn(["rollback", "staging/9.7-RC2"]).ok();
        assert_same(&unsigned, &contents(&signing.staging()));
        signing.leaves_nothing();
    }
    assert!(killed >= 8, "{killed} points were hit");
}

/// Starts signing with a script that waits, and returns when the script runs.
fn started(signing: &Signing) -> (Running, u32) {
    let body = "echo $$ > $HOME/pid.new; mv $HOME/pid.new $HOME/pid; sleep 1000 & wait";
    signing.command(&signing.keys.script("slow", body), "");
    let pid = signing.keys.path("pid");
    let _ = fs::remove_file(&pid);
    let mut command = signing.world.command();
    let running = Running::start(command.env("HOME", pid.parent().unwrap()).args(["sign", "9"]));
    while !pid.exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let script = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    (running, script)
}

#[test]
fn an_interrupted_signing_ends_its_command_and_leaves_nothing() {
    let Some(signing) = Signing::new() else { return };
    let (before, log) = (contents(&signing.staging()), signing.operations());
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (mut running, script) = started(&signing);
        running.signal(signal);
        running.wait().exits(code);
        assert!(!Path::new(&format!("/proc/{script}")).exists());
        assert_same(&before, &contents(&signing.staging()));
        assert_eq!(signing.operations(), log);
        signing.leaves_nothing();
    }
    // After a kill, the next command removes what is left.
    let (mut running, script) = started(&signing);
    running.signal(Signal::KILL);
    running.wait().killed();
    assert_eq!(fs::read_dir(&signing.temp).unwrap().count(), 1);
    // Nobody ended the script; its process group has its number.
    Run::of(Command::new("sh").args(["-c", &format!("kill -9 -{script}")])).ok();
    signing.command(&signing.keys.sign_script("sign", "Rocky"), "");
    signing.world.cairn(["sign", "9"]).ok();
    signing.leaves_nothing();
}

#[test]
fn an_additive_stage_signs_what_it_makes_or_does_nothing() {
    let Some(signing) = Signing::new() else { return };
    let (world, keys) = (&signing.world, &signing.keys);
    let good = keys.sign_script("sign", "Rocky");
    let key = keys.path("RPM-GPG-KEY-9");
    let second = world.second();
    world.cairn(["ingest", second.dir.to_str().unwrap()]).ok();
    let (before, log) = (contents(&signing.staging()), signing.operations());

    // A script that is not there, that fails, and that signs with another key.
    for script in [
        keys.path("missing"),
        keys.script("failing", "echo 'the token is locked' >&2; exit 3"),
        keys.sign_script("other", "Other"),
    ] {
        signing.command(&script, "");
        let run = world.cairn(["stage", "9", "Rocky"]).exits(12);
        assert!(run.err().contains(script.to_str().unwrap()), "{}", run.report());
        assert_same(&before, &contents(&signing.staging()));
        assert_eq!(signing.operations(), log);
        signing.leaves_nothing();
    }

    // A plan says what would be signed and asks nobody.
    let plan = world.json(["stage", "9", "Rocky", "-n"]);
    signing.command(&good, "");
    let report = world.json(["stage", "9", "Rocky"]);
    assert_eq!(plan["signed"], report["signed"]);
    let repos = signing.signed_with(&key);
    assert_eq!(repos.len(), paths(&report["signed"]).len());
    let staged = contents(&signing.staging());
    let all = staged.keys().filter(|path| path.ends_with("repodata/repomd.xml"));
    assert_eq!(all.cloned().collect::<BTreeSet<_>>(), repos);

    // The same again signs nothing, and a promotion takes the signatures along.
    let again = world.json(["stage", "9", "Rocky"]);
    assert!(again["operation"].is_null() && again["signed"].is_null(), "{again}");
    world.cairn(["promote", "9"]).ok();
    let server = HttpServer::start(&world.places().production);
    if let Some(run) = offered(&server, &key) {
        let names = run.ok().out();
        assert!(names.lines().any(|name| name == "ripgrep"), "{names}");
    }
}
