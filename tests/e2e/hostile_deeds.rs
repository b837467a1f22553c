//! Names that speak to terminals, in the deeds that hand them on: signatures, the vault, torrents,
//! exported logs, and what hooks read on stdin. What is said and written is plain, and what is done
//! is done to the right files.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cairn_releng::torrent::bencode::{Value as Bencode, decode};
use cairn_testkit::sample::{Compose, iso};
use cairn_testkit::{Keys, World, available, hostile};
use serde_json::Value;

use crate::hostile_names::{ESC, Names, plain, raw};
use crate::vault::next_version;
use crate::world;

const HOSTILE: &str = "BaseOS/x86_64/os/hostile";
const IMAGE: &str = "Rocky-9.7-x86_64-dvd.iso";

fn os(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

/// What a directory holds, names and contents; of a link where it leads.
#[track_caller]
fn held(dir: &Path) -> BTreeSet<(OsString, Vec<u8>)> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let held = entries.map(|entry| entry.unwrap()).map(|entry| {
        let kind = entry.file_type().unwrap();
        let content = match (kind.is_file(), kind.is_symlink()) {
            (true, _) => fs::read(entry.path()).unwrap(),
            (_, true) => fs::read_link(entry.path()).unwrap().into_os_string().into_vec(),
            (false, false) => Vec::new(),
        };
        (entry.file_name(), content)
    });
    held.collect()
}

fn script(path: &Path, body: &str) {
    fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Adds lines to a world's configuration.
fn add(world: &World, lines: &str) {
    let text = fs::read_to_string(world.config()).unwrap();
    world.set_config(&format!("{text}\n{lines}"));
}

/// The bytes that a path in a document means: text, or `{"b64": …}`.
#[track_caller]
fn meant(path: &Value) -> Vec<u8> {
    match path.as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => {
            let coded = path["b64"].as_str().unwrap_or_else(|| panic!("{path} is no path"));
            let run = std::process::Command::new("sh")
                .args(["-c", "printf %s \"$1\" | base64 -d", "sh", coded])
                .output()
                .unwrap();
            assert!(run.status.success(), "{coded}");
            run.stdout
        }
    }
}

/// A staged release that has a repo below each hostile name.
fn repos_of_hostile_names() -> (World, BTreeSet<Vec<u8>>) {
    let world = world();
    let compose = Compose::new("9", "Rocky", "9.7", "20251101.0")
        .repo("BaseOS", "x86_64")
        .package("bash", "5.1.8-9.el9");
    let written = compose.write(&world.places().compose).unwrap();
    let root = written.dir.join("compose");
    let repodata = root.join("BaseOS/x86_64/os/repodata");
    let own = ["BaseOS/x86_64/os", "BaseOS/x86_64/debug/tree", "BaseOS/source/tree"];
    let mut repos: BTreeSet<Vec<u8>> = own.map(|repo| repo.as_bytes().to_vec()).into();
    for name in hostile::NAMES.iter().chain([&ESC]) {
        let to = root.join(os(name)).join("repodata");
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(&repodata).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            fs::copy(entry.path(), to.join(&name)).unwrap();
        }
        // Each has metadata of its own, so that each is signed by itself.
        let repomd = fs::read(to.join("repomd.xml")).unwrap();
        let own = [&repomd[..], format!("<!-- {} -->\n", repos.len()).as_bytes()].concat();
        fs::write(to.join("repomd.xml"), own).unwrap();
        repos.insert(name.to_vec());
    }
    world.cairn(["init"]).ok();
    plain(&world.cairn([OsStr::new("ingest"), written.dir.as_os_str()]).ok(), "ingest");
    plain(&world.cairn(["stage", "9", "Rocky", "--delete"]).ok(), "stage");
    (world, repos)
}

#[test]
fn repos_of_hostile_names_are_signed_and_named_without_speaking_to_the_terminal() {
    let Some(keys) = available(Keys::new(&["Rocky"])) else { return };
    let (mut world, repos) = repos_of_hostile_names();
    world.env("GNUPGHOME", keys.home());
    let key = keys.public("RPM-GPG-KEY-9", &["Rocky"]);
    let before = fs::read_to_string(world.config()).unwrap();
    let by = |command: &Path| {
        let (command, key) = (command.display(), key.display());
        let lines = format!("command = [\"{command}\", \"{{file}}\"]\nverify_key = \"{key}\"");
        format!("{}\n[sign]\n{lines}\n", before.split("\n[sign]\n").next().unwrap())
    };
    // A signer that fails, and repeats in its own words what it was given.
    let failing = keys.script("failing", "printf '\\033[2J\\377%s\\n' \"$@\" >&2; exit 1");
    world.set_config(&by(&failing));
    for args in [&["sign", "9"][..], &["--json", "sign", "9"]] {
        plain(&world.cairn(args).exits(12), "a signer that fails");
    }

    world.set_config(&by(&keys.sign_script("sign", "Rocky")));
    plain(&world.cairn(["-v", "sign", "9", "-n"]).ok(), "the plan of sign");
    let run = world.cairn(["--json", "sign", "9"]).ok();
    plain(&run, "sign");
    let report: Value = serde_json::from_str(&run.out()).unwrap();
    let signed: BTreeSet<Vec<u8>> =
        report["signed"].as_array().unwrap().iter().map(meant).collect();
    let repomd = |repo: &Vec<u8>| [repo, &b"/repodata/repomd.xml"[..]].concat();
    assert_eq!(signed, repos.iter().map(repomd).collect());
    for repo in &repos {
        let dir = world.staging("mirror/pub/rocky/9.7-RC2").join(os(repo)).join("repodata");
        let (repomd, signature) = (dir.join("repomd.xml"), dir.join("repomd.xml.asc"));
        // By gpg, from a copy: what is asked is whose signature lies here.
        let copy = keys.path("repomd.xml");
        fs::copy(&repomd, &copy).unwrap();
        fs::copy(&signature, keys.path("repomd.xml.asc")).unwrap();
        let (copy, signature) = (copy.to_str().unwrap(), keys.path("repomd.xml.asc"));
        keys.gpg(&["--verify", signature.to_str().unwrap(), copy]);
    }
    plain(&world.cairn(["-v", "sign", "9"]).ok(), "sign again");
    plain(&world.cairn(["check", "staging/9.7-RC2"]), "what gates say of it");
}

#[test]
fn the_vault_of_hostile_names_holds_them_and_speaks_of_them_plainly() {
    let names = Names::new();
    let world = &names.world;
    let live = world.production("mirror/pub/rocky/9.7").join(HOSTILE);
    next_version(world);
    names.is_safe(&["vault", "9", "-n"]);
    names.is_safe(&["vault", "9"]);
    let vault = world.production("mirror/vault/rocky/9.7").join(HOSTILE);
    let (kept, expected) = (held(&vault), held(&live));
    assert!(hostile::NAMES.iter().all(|name| kept.iter().any(|(held, _)| held == os(name))));
    assert_eq!(kept, expected);
    names.is_safe(&["ls", "-R", "vault/9.7"]);
    names.is_safe(&["fsck", "--full"]);
}

/// A staged release whose image has hostile company.
fn image_of_hostile_company(company: &BTreeSet<Vec<u8>>) -> World {
    let world = world();
    let dir = "compose/isos/x86_64";
    let compose = Compose::new("9", "Rocky", "9.7", "20251101.0")
        .packages_only()
        .repo("BaseOS", "x86_64")
        .package("bash", "5.1.8-9.el9")
        .file(format!("{dir}/{IMAGE}"), iso("Rocky-9-7", &[("text", b"x")], 0));
    let written = compose.write(&world.places().compose).unwrap();
    for name in company {
        let path = written.dir.join(dir).join(os(name));
        fs::write(&path, name).unwrap();
    }
    world.cairn(["init"]).ok();
    plain(&world.cairn([OsStr::new("ingest"), written.dir.as_os_str()]).ok(), "ingest");
    plain(&world.cairn(["stage", "9", "Rocky", "--delete"]).ok(), "stage");
    world
}

/// The names of the files of a torrent.
fn files_of(torrent: &[u8]) -> BTreeSet<Vec<u8>> {
    let get = |value: &Bencode, key: &str| match value {
        Bencode::Dict(entries) => entries[key.as_bytes()].clone(),
        other => panic!("{other:?} has no {key}"),
    };
    let info = get(&decode(torrent).unwrap(), "info");
    let Bencode::List(files) = get(&info, "files") else { panic!("files are a list") };
    let name = |file: &Bencode| match get(file, "path") {
        Bencode::List(path) => match &path[..] {
            [Bencode::Bytes(name)] => name.clone(),
            other => panic!("{other:?} is no name"),
        },
        other => panic!("{other:?} is no path"),
    };
    files.iter().map(name).collect()
}

#[test]
fn a_torrent_has_its_files_whatever_they_are_called_and_says_so_plainly() {
    let company: BTreeSet<Vec<u8>> = hostile::NAMES
        .iter()
        .chain([&ESC])
        .flat_map(|name| [[IMAGE.as_bytes(), name].concat(), [b"CHECKSUM", *name].concat()])
        .chain([[&b"CHECKSUM"[..], &[b'l'; 247]].concat()])
        .collect();
    let world = image_of_hostile_company(&company);
    let temp = tempfile::tempdir().unwrap();
    // The directories have names of that kind too.
    let [out, seed] = ["out", "seed"].map(|kind| {
        let dir = temp.path().join(os(&[ESC, kind.as_bytes()].concat()));
        fs::create_dir(&dir).unwrap();
        dir
    });
    let args: Vec<&OsStr> = ["torrents", "9", "--out"].map(OsStr::new).to_vec();
    let args = [&args[..], &[out.as_os_str(), OsStr::new("--seed"), seed.as_os_str()]].concat();
    for more in [&["-n", "-v"][..], &["--json"], &["-v"]] {
        let more = more.iter().map(OsStr::new);
        let run = world.cairn(more.chain(args.iter().copied())).ok();
        plain(&run, "torrents");
        let odd = "isos/x86_64/CHECKSUMnot utf-8 \\\\xff\\\\xfe is in no torrent";
        let said = format!("{}{}", run.out(), run.err()).replace("\\\\", "\\");
        assert!(said.contains(&odd.replace("\\\\", "\\")), "{}", run.report());
        assert!(said.contains("isos/x86_64 has 2 more whose names are not UTF-8"), "{said}");
    }
    let expected: BTreeSet<Vec<u8>> = company
        .into_iter()
        .filter(|name| std::str::from_utf8(name).is_ok())
        .chain([IMAGE.as_bytes().to_vec()])
        .collect();
    let name = IMAGE.trim_end_matches(".iso");
    let torrent = fs::read(out.join(format!("{name}.torrent"))).unwrap();
    assert_eq!(files_of(&torrent), expected);
    // Each link leads to the file of its name.
    let data = seed.join(name);
    let linked: BTreeSet<Vec<u8>> =
        held(&data).into_iter().map(|(name, _)| name.into_vec()).collect();
    assert_eq!(linked, expected);
    for name in expected.iter().filter(|name| name.as_slice() != IMAGE.as_bytes()) {
        assert_eq!(&fs::read(data.join(os(name))).unwrap(), name);
    }
}

#[test]
fn whoever_holds_a_lock_with_hostile_words_is_named_plainly() {
    let names = Names::new();
    let world = &names.world;
    let reason = "x\u{1b}]0;title\u{7}\u{9b}2J\u{202e}";
    names.says("rollback", ["production/9.7", "-m", reason]);
    // The next who holds it has not said yet who it is: what stands there is of the last one.
    let lock = world.places().store.join("locks/ref-production+9.7");
    let lock = fs::File::options().write(true).open(lock).unwrap();
    lock.lock().unwrap();
    for more in [&[][..], &["--json"], &["--progress", "plain"], &["--progress", "json"]] {
        let args = ["--lock-wait", "1s", "rollback", "production/9.7"];
        let run = world.cairn(more.iter().chain(&args)).exits(11);
        plain(&run, &format!("{more:?} of a ref that is busy"));
        let said = run.err().replace("\\\\", "\\");
        assert!(said.contains(r"-m x\u{1b}]0;title\u{7}\u{9b}2J\u{202e}"), "{said}");
    }
    names.is_safe(&["status"]);
}

#[test]
fn an_exported_log_of_hostile_words_is_plain_and_sound() {
    let mut names = Names::new();
    names.world.env("SUDO_USER", OsString::from_vec(ESC.to_vec()));
    let odd = names.world.places().compose.join(os(ESC));
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join("file"), "x").unwrap();
    let args = [OsStr::new("--as"), OsStr::new("compose/9/X"), odd.as_os_str()];
    names.says("ingest", args);
    // Text that Unicode allows and a terminal obeys, beside what any parser escapes.
    let reason = "x\u{1b}[2J\u{7f}\u{9b}31m\u{202e}\u{61c}\u{e0041}\nline";
    names.says("hold", ["production/9.7", "--as", "x", "-m", reason]);
    names.is_safe(&["log"]);
    names.is_safe(&["audit", "verify"]);
    let file = names.left("").join(os(&[b"audit", ESC].concat()));
    let args = [OsStr::new("export"), file.as_os_str(), OsStr::new("--unsigned")];
    let run = names.says("audit", args);
    assert_eq!(run.code(), Some(0), "{}", run.report());
    let exported = fs::read(&file).unwrap();
    assert_eq!(raw(&exported), None, "the exported log");
    // What was meant is still what it says.
    let exported = String::from_utf8(exported).unwrap();
    let coded = r"x\u001b[2J\u007f\u009b31m\u202e\u061c\udb40\udc41\nline";
    assert!(exported.contains(coded), "{exported}");
    names.is_safe(&[OsStr::new("audit"), OsStr::new("verify"), file.as_os_str()]);
    let said = names.world.json([OsStr::new("audit"), OsStr::new("verify"), file.as_os_str()]);
    assert_eq!(said["findings"], Value::Array(vec![]), "{said:#}");
}

#[test]
fn a_hook_is_told_of_hostile_words_as_plainly_as_a_person() {
    let names = Names::new();
    let world = &names.world;
    let told = names.left("told.json");
    let hook = names.left("hook.sh");
    script(&hook, &format!("cat > '{}'; cat '{0}'; cat '{0}' >&2", told.display()));
    let on = "[\"ingest\", \"stage\", \"promote\", \"rollback\", \"hold\", \"vault\", \"gc\"]";
    add(world, &format!("[hook.tell]\non = {on}\ncommand = [\"{}\"]\n", hook.display()));
    let reason = "x\u{1b}[2J\u{7f}\u{9b}31m\u{202e}\u{61c}\nline";
    let odd: PathBuf = world.places().compose.join(os(ESC));
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join(os(ESC)), "x").unwrap();
    let odd = odd.as_os_str();
    for args in [
        ["ingest", "-m", reason, "--as", "compose/9/X"]
            .map(OsStr::new)
            .iter()
            .copied()
            .chain([odd])
            .collect(),
        ["hold", "production/9.7", "--as", "x", "-m", reason].map(OsStr::new).to_vec(),
        ["rollback", "production/9.7", "-m", reason].map(OsStr::new).to_vec(),
        ["promote", "9", "--delete", "--allow-deletes", "100%", "-m", reason]
            .map(OsStr::new)
            .to_vec(),
    ] {
        let run = world.cairn([OsStr::new("--json")].iter().chain(&args)).ok();
        plain(&run, &format!("{args:?}"));
        let document = fs::read(&told).unwrap();
        fs::remove_file(&told).unwrap();
        assert_eq!(raw(&document), None, "stdin of a hook after {args:?}");
        let mut document: Value = serde_json::from_slice(&document).unwrap();
        let mut said: Value = serde_json::from_str(&run.out()).unwrap();
        // It is what the command says, but for what the hook itself said and who it is.
        assert_eq!(document["hook"], "tell");
        for one in [&mut document, &mut said] {
            let one = one.as_object_mut().unwrap();
            one.remove("hook");
            one.remove("notes");
        }
        assert_eq!(document, said, "{args:?}");
    }
}
