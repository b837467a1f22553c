//! Evidence for others: the log as a file, and what a mirror carries.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_testkit::clients::HttpServer;
use cairn_testkit::sample::Written;
use cairn_testkit::{Keys, Run, Unavailable, World, available};
use serde_json::Value;

use crate::world;

const ZLIB: &str = "BaseOS/x86_64/os/Packages/z/zlib-1.2.11-40.el9.x86_64.rpm";

fn release(world: &World, written: &Written) {
    world.cairn(["ingest", written.latest.to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%", "-m", "a release"]).ok();
}

fn published() -> World {
    let world = world();
    let lists = "[lists]\n\"production/mirror/pub/rocky\" = [\"fullfilelist\", \"fullfiletimelist-rocky\"]\n";
    let config = fs::read_to_string(world.config()).unwrap();
    world.set_config(&config.replacen("[release.9]", &format!("{lists}\n[release.9]"), 1));
    world.cairn(["init"]).ok();
    release(&world, &world.first());
    world
}

/// Copies what is live to where a mirror would have it.
fn mirror(world: &World, dir: &Path) -> PathBuf {
    let from = world.production("mirror/pub/rocky");
    let mut copy = Command::new("cp");
    Run::of(copy.arg("-a").arg(&from).arg(dir)).ok();
    let place = dir.join("rocky/9.7");
    if place.is_symlink() {
        // A mirror gets what the link leads to.
        fs::remove_file(&place).unwrap();
        let live = from.join("9.7").canonicalize().unwrap();
        Run::of(Command::new("cp").arg("-a").args([&live, &place])).ok();
    }
    place
}

fn verify(world: &World, place: &str, args: &[&str]) -> Value {
    let run = world.cairn([&["--json", "verify-mirror", place], args].concat());
    assert!(matches!(run.code(), Some(0 | 3)), "{}", run.report());
    let json = run.json();
    let good = json["counts"].as_object().unwrap().is_empty() && !json["snapshot"].is_null();
    assert_eq!(run.code(), Some(if good { 0 } else { 3 }), "{json:#}");
    json
}

fn curl() -> Result<(), Unavailable> {
    let found = Command::new("curl").arg("--version").output();
    found.map(drop).map_err(|_| Unavailable::NoTool { tool: "curl".to_owned() })
}

fn deviations(json: &Value) -> Vec<(String, String)> {
    let rows = json["deviations"].as_array().unwrap().iter();
    rows.map(|row| {
        (row["path"].as_str().unwrap().to_owned(), row["wrong"].as_str().unwrap().to_owned())
    })
    .collect()
}

#[test]
fn a_directory_is_known_by_its_metadata_and_compared_path_by_path() {
    let world = published();
    let dir = tempfile::tempdir().unwrap();
    let place = mirror(&world, dir.path());
    let at = place.to_str().unwrap().to_owned();
    let good = verify(&world, &at, &["--full"]);
    assert_eq!(good["schema"], "cairn.verify-mirror/1");
    assert_eq!((&good["ref"], &good["behind"]), (&"production/9.7".into(), &0.into()));
    assert_eq!(good["operation"]["number"], 3);
    assert_eq!((&good["agree"], &good["files_read"]), (&good["markers"], &good["files"]));
    assert_eq!(good["list"]["file"], "fullfiletimelist-rocky");
    assert_eq!(good["list"]["deviations"], 0, "{good:#}");
    assert_eq!(good["snapshot"], world.json(["show", "production/9.7"])["snapshot"]);

    // Another publication, which the mirror does not have yet.
    release(&world, &world.second());
    let behind = verify(&world, &at, &["--full"]);
    assert_eq!((&behind["behind"], &behind["snapshot"]), (&1.into(), &good["snapshot"]));
    let text = world.cairn(["verify-mirror", &at]).ok().out();
    assert!(text.contains("1 publication behind"), "{text}");

    // Every kind of deviation, each at its path.
    let path = |name: &str| place.join(name);
    let zlib = path(ZLIB);
    let mut bytes = fs::read(&zlib).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::remove_file(&zlib).unwrap();
    fs::write(&zlib, &bytes).unwrap();
    let bash = "BaseOS/x86_64/os/Packages/b/bash-5.1.8-9.el9.x86_64.rpm";
    fs::remove_file(path(bash)).unwrap();
    fs::write(path(bash), "short").unwrap();
    let gone = "CRB/x86_64/os/.treeinfo";
    fs::remove_file(path(gone)).unwrap();
    let kind = "CRB/aarch64/os/.treeinfo";
    fs::remove_file(path(kind)).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", path(kind)).unwrap();
    fs::write(path("evil\u{1b}[2J"), "x").unwrap();
    fs::create_dir(path("extra")).unwrap();
    fs::write(path("extra/below"), "x").unwrap();
    let bad = verify(&world, &at, &["--full"]);
    let mut expected = [
        (ZLIB, "content"),
        (bash, "size"),
        (gone, "missing"),
        (kind, "kind"),
        ("evil\u{1b}[2J", "extra"),
        ("extra", "extra"),
    ]
    .map(|(path, wrong)| (path.to_owned(), wrong.to_owned()));
    expected.sort();
    let mut found = deviations(&bad);
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(bad["counts"]["extra"], 2);
    let text = world.cairn(["verify-mirror", &at]).exits(3).out();
    assert!(text.contains("evil\\u{1b}[2J") && !text.contains('\u{1b}'), "{text}");

    // A mirror at work: some of it is of the next publication already.
    let dir = tempfile::tempdir().unwrap();
    let place = mirror(&world, dir.path());
    let repomd = "BaseOS/x86_64/os/repodata/repomd.xml";
    let before = world.cairn(["cat", &format!("production/9.7~1:{repomd}")]).ok().stdout;
    assert_ne!(before, fs::read(place.join(repomd)).unwrap());
    fs::remove_file(place.join(repomd)).unwrap();
    fs::write(place.join(repomd), before).unwrap();
    let mixed = verify(&world, place.to_str().unwrap(), &["--full"]);
    assert_eq!(mixed["behind"], 0);
    assert_eq!(mixed["agree"].as_u64().map(|agree| agree + 1), mixed["markers"].as_u64());
    let paths: Vec<_> = deviations(&mixed).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, [repomd], "{mixed:#}");

    // Nothing of it is ours.
    let empty = tempfile::tempdir().unwrap();
    let run =
        world.cairn(["verify-mirror", empty.path().to_str().unwrap(), "production/9.7"]).exits(3);
    assert!(run.out().contains("carries no snapshot that is known"), "{}", run.out());
    let unnamed = world.cairn(["verify-mirror", empty.path().to_str().unwrap()]).exits(2);
    assert!(unnamed.err().contains("name the ref"), "{}", unnamed.err());
}

#[test]
fn an_address_is_judged_by_its_list_and_a_sample() {
    if available(curl()).is_none() {
        return;
    }
    let world = published();
    let dir = tempfile::tempdir().unwrap();
    let place = mirror(&world, dir.path());
    let server = HttpServer::start(dir.path());
    let url = server.url("/rocky/9.7");
    let good = verify(&world, &url, &["--full"]);
    assert_eq!((&good["agree"], &good["files_read"]), (&good["markers"], &good["files"]));
    assert_eq!((&good["walked"], &good["list"]["deviations"]), (&false.into(), &0.into()));
    let sampled = verify(&world, &url, &["--sample", "7"]);
    assert_eq!(sampled["files_read"], 7);

    // A file that the list names and that is another one is found by reading it.
    let zlib = place.join(ZLIB);
    let length = fs::metadata(&zlib).unwrap().len();
    fs::remove_file(&zlib).unwrap();
    fs::write(&zlib, vec![b'x'; length as usize]).unwrap();
    // A file without end is not read to its end.
    let bash = "BaseOS/x86_64/os/Packages/b/bash-5.1.8-9.el9.x86_64.rpm";
    fs::remove_file(place.join(bash)).unwrap();
    fs::File::create(place.join(bash)).unwrap().set_len(8 << 30).unwrap();
    fs::remove_file(place.join("CRB/x86_64/os/.treeinfo")).unwrap();
    // The mirror's list is of its own making, and hostile.
    let list = dir.path().join("rocky/fullfiletimelist-rocky");
    let text = fs::read_to_string(&list).unwrap();
    let row = "1\tf\t5\t9.7/not-there\n1\tf\t5\t9.7/../../etc/passwd\n\t\t\n";
    let text = text.replacen("[Files]\n", &format!("[Files]\n{row}"), 1);
    fs::remove_file(&list).unwrap();
    fs::write(&list, text).unwrap();
    let bad = verify(&world, &url, &["--full"]);
    let mut found = deviations(&bad);
    found.sort();
    let mut expected = [
        (ZLIB, "content"),
        (bash, "size"),
        ("CRB/x86_64/os/.treeinfo", "missing"),
        ("not-there", "extra"),
    ]
    .map(|(path, wrong)| (path.to_owned(), wrong.to_owned()));
    expected.sort();
    assert_eq!(found, expected);
    drop(server);

    // Nobody answers: that is said of each file, and of the mirror as a whole.
    let run = world.cairn(["verify-mirror", &url]).exits(3);
    assert!(run.out().contains("carries no snapshot that is known"), "{}", run.out());
    assert!(run.out().contains("curl ended with exit code 7"), "{}", run.out());
    for bad in ["http://", "http://127.0.0.1/9.7?x", "https:///9.7"] {
        world.cairn(["verify-mirror", bad, "production/9.7"]).exits(2);
    }
}

#[test]
fn the_log_is_verified_and_tampering_is_named() {
    let world = published();
    let good = world.json(["audit", "verify"]);
    assert_eq!((&good["schema"], &good["sound"]), (&"cairn.audit/1".into(), &true.into()));
    assert_eq!((&good["operations"], &good["snapshots"]), (&3.into(), &3.into()));
    assert!(good["packs"].as_u64() > Some(0) && good["trees"].as_u64() > Some(10), "{good:#}");
    let text = world.cairn(["audit", "verify"]).ok().out();
    assert!(text.contains("Every link of the chain holds."), "{text}");

    let log = world.places().store.join("log/0000000002.json");
    let text = fs::read_to_string(&log).unwrap();
    fs::remove_file(&log).unwrap();
    fs::write(&log, text.replacen("stage", "stagf", 1)).unwrap();
    let run = world.cairn(["--json", "audit", "verify"]).exits(13);
    let json = run.json();
    assert_eq!(json["sound"], false);
    assert_eq!(json["findings"][0]["subject"], "operation 3");
    fs::remove_file(&log).unwrap();
    fs::write(&log, &text).unwrap();
    world.cairn(["audit", "verify"]).ok();

    let packs = world.places().store.join("packs");
    let pack = fs::read_dir(&packs).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, bytes).unwrap();
    let run = world.cairn(["audit", "verify"]).exits(13);
    assert!(run.out().contains("pack "), "{}", run.out());
}

#[test]
fn a_third_party_checks_an_exported_log_with_the_file_and_the_keys_alone() {
    let Some(keys) = available(Keys::new(&["Rocky", "Other"])) else { return };
    let mut world = published();
    world.env("GNUPGHOME", keys.home());
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();

    // Without [sign] it is written, and said to prove little.
    let unsigned = path("unsigned");
    let plan = world.cairn(["audit", "export", &unsigned, "-n"]).ok();
    assert!(plan.out().starts_with("Would write 3 operations"), "{}", plan.out());
    assert!(!Path::new(&unsigned).exists());
    let run = world.cairn(["audit", "export", &unsigned]).ok();
    assert!(run.err().contains("It is not signed"), "{}", run.err());

    let public = keys.public("rocky.asc", &["Rocky"]);
    let config = fs::read_to_string(world.config()).unwrap();
    let sign = format!("\n[sign]\nkey = \"rocky@example.org\"\nverify_key = {public:?}\n");
    world.set_config(&(config + &sign));
    let old = path("old");
    let done = world.json(["audit", "export", &old]);
    assert_eq!((&done["action"], &done["signature"]["state"]), (&"export".into(), &"good".into()));
    release(&world, &world.second());
    let new = path("new");
    world.cairn(["audit", "export", &new]).ok();

    // Elsewhere: no store, no configuration.
    let rocky = public.to_str().unwrap();
    let other = keys.public("other.asc", &["Other"]);
    let check = |args: &[&str]| {
        let mut cairn = Command::new(env!("CARGO_BIN_EXE_cairn"));
        cairn.args(["--json", "audit", "verify"]).args(args);
        Run::of(cairn.env("CAIRN_CONFIG", "/nonexistent").env("GNUPGHOME", keys.home()))
    };
    let good = check(&[&new, "--keys", rocky, "--since", &old]).ok().json();
    assert_eq!((&good["operations"], &good["signature"]["state"]), (&6.into(), &"good".into()));
    assert_eq!(good["refs"].as_object().unwrap().len(), 3);
    assert_eq!(check(&[&new]).ok().json()["signature"]["state"], "not-checked");
    assert_eq!(check(&[&unsigned]).ok().json()["signature"]["state"], "unsigned");
    check(&[&unsigned, "--keys", rocky]).exits(12);
    check(&[&new, "--keys", other.to_str().unwrap()]).exits(12);
    check(&[&new, "--keys", other.to_str().unwrap(), "--keys", rocky]).ok();
    check(&[&old, "--since", &new]).exits(13);
    // And with nothing of ours: gpgv on what stands before the signature.
    let bytes = fs::read(&new).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let (body, signature) = text.split_at(text.find("-----BEGIN PGP SIGNATURE-----").unwrap());
    fs::write(path("body"), body).unwrap();
    fs::write(path("body.asc"), signature).unwrap();
    keys.gpg(&["--verify", &path("body.asc"), &path("body")]);

    // Tampering: with a reason, with all hashes made anew, with the signature.
    let tampered = path("tampered");
    fs::write(&tampered, text.replacen("a release", "a disaster", 1)).unwrap();
    let run = check(&[&tampered, "--keys", rocky]).exits(13);
    assert!(!run.json()["findings"].as_array().unwrap().is_empty());
    fs::write(&tampered, [body, "-----BEGIN PGP SIGNATURE-----\n\nnonsense\n"].concat()).unwrap();
    check(&[&tampered, "--keys", rocky]).exits(12);
    fs::write(&tampered, [body, "nonsense"].concat()).unwrap();
    check(&[&tampered]).exits(13);
    for hostile in ["", "cairn-audit 1\n", "\0\0\0\0"] {
        fs::write(&tampered, hostile).unwrap();
        check(&[&tampered]).exits(13);
    }
    check(&[&path("nowhere")]).exits(1);
    check(&[dir.path().to_str().unwrap()]).exits(2);
}
