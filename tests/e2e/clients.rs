//! What rpm, createrepo_c, dnf and rsync make of what is published, also across swaps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cairn_testkit::clients::{Dnf, HttpServer, RsyncDaemon, createrepo, rpm_check, rsync};
use cairn_testkit::filesystem::{FsKind, Loop};
use cairn_testkit::sample::{self, Places};
use cairn_testkit::treecmp::{self, On};
use cairn_testkit::{Run, Running, World, available, swaps};
use serde_json::Value;

use crate::filesystems::{
    Contents, Node, PRODUCTION, assert_same, contents, publish, real, release, update,
};
use crate::world;

/// Everything that rsync carries over.
fn everything() -> treecmp::Options {
    treecmp::Options { mode: On::Everything, mtime: On::Everything, ..Default::default() }
}

/// Returns the directories of a compose or a release that are repositories.
fn repos(root: &Path) -> Vec<PathBuf> {
    let paths = contents(root).into_keys();
    let repos = paths.filter(|path| path.ends_with("repodata/repomd.xml"));
    repos.map(|path| path.ancestors().nth(2).unwrap().to_owned()).collect()
}

#[test]
fn rpm_accepts_every_package_that_is_published() {
    let world = world();
    release(&world);
    let live = world.production(PRODUCTION);
    let Some(first) = available(rpm_check(&live)) else { return };
    update(&world);
    let second = available(rpm_check(&live)).unwrap();
    let packages = |tree: &Contents| {
        tree.keys().filter(|path| path.extension().is_some_and(|name| name == "rpm")).count()
    };
    assert!(first > 80 && second == packages(&contents(&live)), "{first}, {second}");
}

#[test]
fn createrepo_writes_the_metadata_and_diff_finds_the_same_packages() {
    let (ours, theirs) = (world(), world());
    let composes = [&ours, &theirs].map(|world| (world, [world.first(), world.second()]));
    for written in &composes[1].1 {
        let compose = written.dir.join("compose");
        // Every compression that createrepo_c can, one repo after the other.
        for (repo, kind) in repos(&compose).iter().zip(["gz", "xz", "bz2"].iter().cycle()) {
            fs::remove_dir_all(compose.join(repo).join("repodata")).unwrap();
            let kind = format!("--general-compress-type={kind}");
            let args = ["--no-database", kind.as_str()];
            let Some(_) = available(createrepo(&compose.join(repo), &args)) else { return };
        }
    }
    let mut found = Vec::new();
    for (world, [first, second]) in &composes {
        world.cairn(["init"]).ok();
        publish(world, first);
        treecmp::assert_equal(&first.dir.join("compose"), &world.production(PRODUCTION));
        world.cairn(["ingest", second.dir.to_str().unwrap()]).ok();
        world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
        let diff = ["diff", "production/9.7", "staging/9.7-RC2", "--by", "packages"];
        let document = world.json(diff);
        assert!(document["packages"]["errors"].as_array().is_none_or(Vec::is_empty), "{document}");
        found.push(document["packages"].clone());
    }
    for key in ["added", "removed", "upgraded", "downgraded", "rebuilt"] {
        assert_eq!(found[0][key], found[1][key], "{key}");
        assert!(!found[0][key].as_array().unwrap().is_empty(), "{key}");
    }
    let names = |key: &str| -> BTreeSet<&str> {
        let rows = found[1][key].as_array().unwrap();
        let names = rows.iter().map(|row| row["name"].as_str().unwrap());
        names.map(|name| name.trim_end_matches("-debuginfo")).collect()
    };
    for (key, wanted) in [
        ("added", sample::ADDED),
        ("removed", sample::REMOVED),
        ("upgraded", sample::UPGRADED),
        ("downgraded", sample::DOWNGRADED),
        ("rebuilt", sample::REBUILT),
    ] {
        assert_eq!(names(key), wanted.iter().copied().collect(), "{key}");
    }
    let [first, second] = &composes[1].1;
    agrees_with_rpm(&first.dir.join("compose"), &second.dir.join("compose"), &found[1]);
}

/// Checks a diff against what rpm reads in the packages themselves.
#[track_caller]
fn agrees_with_rpm(old: &Path, new: &Path, diff: &Value) {
    let (old, new) = (headers(old), headers(new));
    let of = |keys: &[&str], side: &str| -> BTreeSet<(String, String, String)> {
        let rows = keys.iter().flat_map(|key| diff[key].as_array().unwrap());
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        rows.map(|row| (text(row, "repo"), text(row, "name"), text(row, side))).collect()
    };
    let lost: BTreeSet<_> = old.difference(&new).cloned().collect();
    let gained: BTreeSet<_> = new.difference(&old).cloned().collect();
    assert_eq!(of(&["removed", "upgraded", "downgraded"], "old"), lost);
    assert_eq!(of(&["added", "upgraded", "downgraded"], "new"), gained);
}

/// Repo, name and EVR of every package below a directory, without the epoch 0.
fn headers(root: &Path) -> BTreeSet<(String, String, String)> {
    let root = real(root);
    let mut found = BTreeSet::new();
    for repo in repos(&root) {
        let packages = contents(&root.join(&repo)).into_keys();
        let packages = packages.filter(|path| path.extension().is_some_and(|name| name == "rpm"));
        let mut rpm = Command::new("rpm");
        rpm.current_dir(root.join(&repo)).args(["-qp", "--nosignature", "--qf"]);
        let format = "%{name} %|epoch?{%{epoch}:}:{}|%{version}-%{release}\\n";
        let out = Run::of(rpm.arg(format).args(packages)).ok().out();
        for line in out.lines() {
            let (name, evr) = line.split_once(' ').unwrap();
            let evr = evr.strip_prefix("0:").unwrap_or(evr);
            found.insert((repo.to_str().unwrap().into(), name.into(), evr.into()));
        }
    }
    found
}

/// A client of the repositories that a release has for x86_64.
fn machine(server: &HttpServer) -> Option<Dnf> {
    let url = |repo: &str| server.url(&format!("{PRODUCTION}/{repo}/x86_64/os"));
    let dnf = available(Dnf::new())?;
    Some(dnf.repo("baseos", url("BaseOS")).repo("appstream", url("AppStream")))
}

#[test]
fn dnf_installs_before_and_after_a_swap() {
    let world = world();
    release(&world);
    let server = HttpServer::start(&world.places().production);
    let before = ["bash-0:5.1.8-9.el9.x86_64", "httpd-0:2.4.62-7.el9.x86_64"];
    let after = ["bash-0:5.1.8-10.el9.x86_64", "httpd-0:2.4.57-11.el9.x86_64"];
    let to = tempfile::tempdir().unwrap();
    let mut expected = before;
    for turn in 0..3 {
        let Some(dnf) = machine(&server) else { return };
        let nevras = dnf.nevras();
        assert!(expected.iter().all(|nevra| nevras.contains(*nevra)), "{turn}: {nevras:#?}");
        dnf.download(&to.path().join(turn.to_string()), &["firefox", "kernel"]).ok();
        dnf.install(&["rocky-release", "httpd", "nodejs"]).ok();
        assert!(dnf.root().join("etc/os-release").is_file());
        match turn {
            0 => drop(update(&world)),
            _ => drop(world.cairn(["rollback", "production/9.7"]).ok()),
        }
        expected = if expected == before { after } else { before };
    }
    assert_eq!(server.not_found(), [] as [&str; 0]);
}

/// Raises a flag when it goes, also where a test fails: whoever waits for it would wait for ever.
struct Raised<'a>(&'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn dnf_never_fails_while_promotions_alternate_when_there_is_grace() {
    let world = world();
    world.configure("mounts.production", "grace = \"1h\"");
    release(&world);
    let live = world.production(PRODUCTION);
    let slow = HttpServer::slow(&world.places().production, Duration::from_millis(60));
    let Some(_) = machine(&slow) else { return };
    // There and back once, so that swaps are quick from now on.
    update(&world);
    let first = contents(&live);
    assert!(first.keys().any(|path| path.ends_with("v/vim-minimal-8.2.2637-22.el9_6.x86_64.rpm")));

    // As many downloads and as many promotions beside them, whichever the machine is slower at.
    const WANTED: usize = 8;
    let (swaps, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                world.cairn(["rollback", "staging/9.7-RC2"]).ok();
                let allow = ["--delete", "--allow-deletes", "100%"];
                let report = world.json([&["promote", "9"][..], &allow].concat());
                assert_eq!(report["views"][0]["swapped"], true, "{report}");
                swaps.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(150));
            }
        });
        let _last = Raised(&stop);
        let to = tempfile::tempdir().unwrap();
        let mut turn = 0;
        while turn < WANTED || swaps.load(Ordering::Relaxed) < WANTED {
            // It ends before it is told to only where it failed, and then the scope says why.
            assert!(!swapping.is_finished(), "{turn}: the promotions have ended");
            let dnf = machine(&slow).unwrap();
            let to = to.path().join(turn.to_string());
            dnf.download(&to, &["firefox", "kernel", "bash"]).ok();
            let checked = available(rpm_check(&to)).unwrap_or(9);
            assert!(checked >= 4, "{turn}: {checked} packages");
            fs::remove_dir_all(&to).unwrap();
            turn += 1;
        }
    });
    assert_eq!(slow.not_found(), [] as [&str; 0]);
}

#[test]
fn dnf_that_read_the_metadata_before_a_swap_gets_its_packages_after_it() {
    let world = world();
    world.configure("mounts.production", "grace = \"1h\"");
    release(&world);
    let second = world.second();
    world.cairn(["ingest", second.dir.to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    let server = HttpServer::slow(&world.places().production, Duration::from_millis(150));
    let to = tempfile::tempdir().unwrap();
    for turn in 0..4 {
        let Some(dnf) = machine(&server) else { return };
        let asked = server.requests().len();
        let wanted = format!("--destdir={}", to.path().join(turn.to_string()).display());
        let running: Running =
            dnf.start(&["-q", "download", "--resolve", &wanted, "firefox", "kernel", "httpd"]);
        let started = Instant::now();
        let begun = |server: &HttpServer| {
            let requests = server.requests();
            let new = requests[asked..].iter();
            new.filter(|request| request.target.ends_with("repomd.xml")).count()
        };
        while begun(&server) < 1 + turn % 2 {
            assert!(started.elapsed() < Duration::from_secs(60), "dnf asks for nothing");
            std::thread::sleep(Duration::from_millis(2));
        }
        world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%"]).ok();
        running.wait().ok();
        world.cairn(["rollback", "staging/9.7-RC2"]).ok();
    }
    assert_eq!(server.not_found(), [] as [&str; 0]);
}

/// Fetches a path over HTTP: status and body.
fn get(server: &HttpServer, path: &Path) -> (u16, Vec<u8>) {
    let mut encoded = String::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => encoded.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => encoded.push(char::from(*byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    let url = server.url(&encoded);
    let (address, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
    let status = String::from_utf8_lossy(&bytes[9..12]).parse().unwrap();
    (status, bytes.split_off(end))
}

/// The files of a tree with their content.
fn files(tree: &Contents) -> BTreeMap<&PathBuf, &Vec<u8>> {
    let files = tree.iter().filter_map(|(path, node)| match node {
        Node::File(bytes, ..) => Some((path, bytes)),
        Node::Dir(_) | Node::Symlink(_) => None,
    });
    files.collect()
}

#[test]
fn removed_files_stay_reachable_for_their_grace_and_nobody_names_them() {
    for &swap in swaps() {
        let world = world();
        let lines = format!("swap = \"{swap}\"\ngrace = \"1h\"\nkeep_trees = \"0s\"");
        world.configure("mounts.production", &lines);
        let first = release(&world);
        let live = world.production(PRODUCTION);
        let old = contents(&live);
        let server = HttpServer::start(&world.places().production);
        let second = update(&world);
        let new = contents(&world.staging("mirror/pub/rocky/9.7-RC2"));

        // Whatever the old metadata or the new names is there.
        let (old_files, new_files) = (files(&old), files(&new));
        for (path, bytes) in old_files.iter().chain(&new_files) {
            let (status, body) = get(&server, &Path::new(PRODUCTION).join(path));
            let wanted = new_files.get(path).unwrap_or(bytes);
            assert_eq!(status, 200, "{swap}: {}", path.display());
            assert!(body == **wanted, "{swap}: {}", path.display());
        }
        let gone: Vec<&PathBuf> =
            old_files.keys().filter(|path| !new_files.contains_key(*path)).copied().collect();
        assert!(gone.len() > 20, "{} files are gone", gone.len());
        assert_same(&with_leftovers(&old, &new), &contents(&live));

        // And nobody names what is gone.
        let listing = world.cairn(["ls", "production/9.7", "-R"]).ok().out();
        let list = fs::read_to_string(world.production("mirror/pub/rocky/fullfilelist")).unwrap();
        let times =
            fs::read_to_string(world.production("mirror/pub/rocky/fullfiletimelist")).unwrap();
        for path in &gone {
            let path = path.to_str().unwrap();
            for (text, what) in [(&listing, "ls"), (&list, "the list"), (&times, "the time list")] {
                assert!(!text.contains(path), "{swap}: {what} names {path}");
            }
        }
        for path in new_files.keys() {
            assert!(list.contains(&format!("./9.7/{}\n", path.display())), "{}", path.display());
        }
        world.cairn(["diff", "staging/9.7-RC2", "production/9.7", "--exit-code"]).ok();
        world.cairn(["fsck", "--full"]).ok();
        let status = world.json(["status"]).to_string();
        assert!(!status.contains("\"pending\""), "{status}");

        // Nothing goes before its time, whatever else is published.
        world.cairn(["publish"]).ok();
        assert_same(&with_leftovers(&old, &new), &contents(&live));
        // The way there and the way back: everything of both, the last one on top.
        publish(&world, &first);
        let back = contents(&world.staging("mirror/pub/rocky/9.7-RC2"));
        assert_same(&with_leftovers(&new, &back), &contents(&live));
        // Content that replaces other content of its size never gets an older time again.
        publish(&world, &second);
        let again = contents(&world.staging("mirror/pub/rocky/9.7-RC2"));
        assert_same(&with_leftovers(&back, &again), &contents(&live));
        // A rollback needs nothing, so it takes no more than is there.
        world.cairn(["rollback", "production/9.7"]).ok();
        world.cairn(["fsck", "--full"]).ok();
    }
}

/// What a list says, without the sizes of directories where their names make them.
fn listed(world: &World, list: &[u8]) -> Vec<String> {
    let dir = world.production(".cairn/tmp");
    let empty = fs::metadata(&dir).unwrap().len();
    fs::write(dir.join("name"), "").unwrap();
    let grows = fs::metadata(&dir).unwrap().len() != empty;
    fs::remove_file(dir.join("name")).unwrap();
    let text = String::from_utf8_lossy(list).into_owned();
    let row = |line: &str| match line.split('\t').collect::<Vec<_>>()[..] {
        [time, "d", _, path] if grows => format!("{time}\td\t\t{path}"),
        _ => line.to_owned(),
    };
    text.lines().map(row).collect()
}

/// The naive model of a published tree with grace: what is, over what was.
fn with_leftovers(old: &Contents, new: &Contents) -> Contents {
    let mut both = old.clone();
    both.extend(new.iter().map(|(path, node)| (path.clone(), node.clone())));
    both
}

#[test]
fn what_is_removed_goes_when_its_grace_is_over() {
    for &swap in swaps() {
        let world = world();
        let lines = format!("swap = \"{swap}\"\ngrace = \"2s\"\nkeep_trees = \"0s\"");
        world.configure("mounts.production", &lines);
        release(&world);
        let live = world.production(PRODUCTION);
        let old = contents(&live);
        let started = Instant::now();
        update(&world);
        let new = contents(&world.staging("mirror/pub/rocky/9.7-RC2"));
        let found = contents(&live);
        let lists = fs::read(world.production("mirror/pub/rocky/fullfiletimelist")).unwrap();
        assert_same(&with_leftovers(&old, &new), &found);

        std::thread::sleep(Duration::from_millis(2300).saturating_sub(started.elapsed()));
        let plan = world.json(["publish", "-n"]);
        assert!(plan["views"].to_string().contains("production/9.7"), "{plan}");
        assert_same(&found, &contents(&live));
        std::thread::sleep(Duration::from_secs(2));
        world.cairn(["publish"]).ok();
        assert_same(&new, &contents(&live));
        // Clients see the same release, so mirrors have nothing to do.
        let after = fs::read(world.production("mirror/pub/rocky/fullfiletimelist")).unwrap();
        let (lists, after) = (listed(&world, &lists), listed(&world, &after));
        assert!(lists == after, "{swap}: the list is another");
        let report = world.json(["publish"]);
        let views = report["views"].as_array().unwrap();
        assert!(views.iter().all(|view| view["source"] == "live"), "{report}");
        world.cairn(["fsck", "--full"]).ok();
    }
}

#[test]
fn rsync_takes_an_equal_tree_from_what_is_published() {
    let world = world();
    release(&world);
    let live = world.production(PRODUCTION);
    let to = tempfile::tempdir().unwrap();
    let copy = to.path().join("9.7");
    let source = format!("{}/", live.display());
    let args = ["-aH", "--delete", "-i", &source, copy.to_str().unwrap()];
    let Some(run) = available(rsync(args)) else { return };
    run.ok();
    assert_eq!(treecmp::compare_with(&live, &copy, &everything()), []);
    // On top of the old one, with size and time as rsync's only hints of what is new.
    for _ in 0..2 {
        update_or_back(&world);
        rsync(args).unwrap().ok();
        assert_eq!(treecmp::compare_with(&live, &copy, &everything()), []);
        let again = rsync(args).unwrap().ok();
        assert_eq!(again.out(), "", "nothing is left to do");
    }
    // And over the whole mount, as mirrors take it: the pool is no part of it for a reader.
    let mirror = to.path().join("mirror");
    let source = format!("{}/mirror/", world.places().production.display());
    rsync(["-aH", "--delete", &source, mirror.to_str().unwrap()]).unwrap().ok();
    let published = world.production("mirror");
    // Lists of equal content are links of one file, and rsync makes links after it has dated the
    // directory: the times of directories are its own here.
    let options = treecmp::Options { mtime: treecmp::On::Files, ..everything() };
    assert_eq!(treecmp::compare_with(&published, &mirror, &options), []);
}

fn update_or_back(world: &World) {
    match world.places().compose.join("9/Rocky-9.7-20251115.0").exists() {
        true => drop(world.cairn(["rollback", "production/9.7"]).ok()),
        false => drop(update(world)),
    }
}

#[test]
fn an_rsync_session_that_began_before_swaps_finishes_whole() {
    let world = world();
    began_before(&world);
    let Some(fs) = available(Loop::new(FsKind::Bindfs, 0)) else { return };
    let rest = tempfile::tempdir().unwrap();
    let places = Places { production: fs.path().to_owned(), ..Places::below(rest.path()) };
    began_before(&World::at(env!("CARGO_BIN_EXE_cairn"), places));
}

/// The module is the release: the session stays in the directory that it went to.
fn began_before(world: &World) {
    release(world);
    let live = world.production(PRODUCTION);
    let before = contents(&live);
    let swaps = || {
        update(world);
        for _ in 0..2 {
            world.cairn(["rollback", "production/9.7"]).ok();
        }
    };
    if let Some(copy) = slow_session(&live, "", &swaps) {
        assert_same(&before, &copy);
    }
}

/// The module lies above the release: rsync goes by names, from the module's root, file by file.
/// No swap can keep such a session in its tree; grace keeps it from losing files.
#[test]
fn an_rsync_session_from_a_module_above_loses_nothing_when_there_is_grace() {
    let world = world();
    world.configure("mounts.production", "grace = \"1h\"");
    release(&world);
    let live = world.production(PRODUCTION);
    let before = contents(&live);
    let swaps = || drop(update(&world));
    let Some(copy) = slow_session(&world.places().production, PRODUCTION, &swaps) else { return };
    let after = contents(&live);
    for (path, node) in &before {
        let found = copy.get(path).unwrap_or_else(|| panic!("{} is lost", path.display()));
        let is_known = |tree: &Contents| match (tree.get(path), found) {
            (Some(Node::File(a, ..)), Node::File(b, ..)) => a == b,
            (other, found) => other == Some(found),
        };
        assert!(is_known(&before) || is_known(&after), "{}", path.display());
        assert!(matches!(node, Node::Dir(_)) == matches!(found, Node::Dir(_)));
    }
}

/// Copies from a daemon for some ten seconds, in which the swaps happen; returns the copy.
#[track_caller]
fn slow_session(module: &Path, path: &str, swaps: &dyn Fn()) -> Option<Contents> {
    let daemon = available(RsyncDaemon::start(module))?;
    let to = tempfile::tempdir().unwrap();
    let copy = to.path().join("copy");
    let source = match path {
        "" => daemon.url(),
        path => format!("{}{path}/", daemon.url()),
    };
    let mut client = Command::new("rsync");
    client.args(["-aH", "--bwlimit=200", &source]).arg(&copy);
    let mut session = Running::start(&mut client);
    let started = Instant::now();
    while !copy.exists() || contents(&copy).len() < 40 {
        assert!(started.elapsed() < Duration::from_secs(30), "the session does not begin");
        assert!(session.is_running(), "{path:?}: {}", session.wait().report());
        std::thread::sleep(Duration::from_millis(5));
    }
    swaps();
    assert!(session.is_running(), "{path:?}: the session was too quick");
    session.wait().ok();
    Some(contents(&copy))
}
