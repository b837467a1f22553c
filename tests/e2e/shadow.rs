//! The scripts themselves as an oracle, where somebody has them.
//!
//! `CAIRN_TOOLKIT_SCRIPTS` names the directory of the original scripts. A copy of them, with other roots,
//! runs the same lines on the same composes as the shims do; then the trees are compared. The bugs that
//! docs/hazards.md lists are what may differ: metadata is compared by what it says.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_testkit::{Run, World, available, metadata, tool};

use crate::world;

/// The variable that leads to the scripts.
const SCRIPTS: &str = "CAIRN_TOOLKIT_SCRIPTS";

/// What stands in for programs of the scripts' machine: no password is asked for, and what is
/// merely another name or a faster loop may be missing here.
const STUBS: &[(&str, &str)] = &[
    ("sudo", "#!/bin/bash\n[ \"$1\" = -l ] && exit 0\nexec \"$@\"\n"),
    ("createrepo", "#!/bin/sh\nexec createrepo_c \"$@\"\n"),
    ("modifyrepo", "#!/bin/sh\nexec modifyrepo_c \"$@\"\n"),
    (
        "parallel",
        "#!/bin/bash\nwords=()\nwhile [ $# -gt 0 ]; do\n  case \"$1\" in\n    --will-cite) ;;\n    \
         -j) shift ;;\n    *) words+=(\"$1\") ;;\n  esac\n  shift\ndone\n\
         while read -r item; do \"${words[@]//\\{\\}/$item}\" < /dev/null; done\n",
    ),
];

/// Copies the scripts with other roots.
fn copy(from: &Path, to: &Path, roots: &[(&str, &Path)]) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !(name.starts_with("common") || name.ends_with(".sh")) || !path.is_file() {
            continue;
        }
        let mut text = fs::read_to_string(&path).unwrap();
        for (old, new) in roots {
            text = text.replace(old, new.to_str().unwrap());
        }
        fs::write(to.join(&name), text).unwrap();
        fs::set_permissions(to.join(&name), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[track_caller]
fn line(dir: &Path, stubs: &Path, text: &str) -> Run {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("bash");
    command.args(["--noprofile", "--norc", "-c", text]).current_dir(dir);
    for name in ["RLVER", "RLREL", "CAIRN_CONFIG"] {
        command.env_remove(name);
    }
    command.env("PATH", format!("{path}:{}", stubs.display())).env("LC_ALL", "C.UTF-8");
    Run::of(&mut command)
}

/// What a path is, but for its times: the scripts' and ours differ on purpose.
#[derive(Debug, PartialEq, Eq)]
enum What {
    Dir { mode: u32, owner: (u32, u32) },
    File { mode: u32, owner: (u32, u32), content: Vec<u8> },
    Link(PathBuf),
}

/// Lists a tree without metadata, which is compared by what it says.
fn tree(root: &Path) -> BTreeMap<PathBuf, What> {
    let mut found = BTreeMap::new();
    let mut rest = vec![root.to_owned()];
    while let Some(dir) = rest.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        {
            let path = entry.unwrap().path();
            let stat = path.symlink_metadata().unwrap();
            let (mode, owner) = (stat.mode() & 0o7777, (stat.uid(), stat.gid()));
            let name = path.strip_prefix(root).unwrap().to_owned();
            if stat.is_symlink() {
                found.insert(name, What::Link(fs::read_link(&path).unwrap()));
            } else if stat.is_dir() {
                // The scripts make some directories themselves, by their own umask and owner.
                if path.file_name().is_some_and(|name| name != "repodata") {
                    found.insert(name, What::Dir { mode, owner });
                    rest.push(path);
                }
            } else {
                found.insert(name, What::File { mode, owner, content: fs::read(&path).unwrap() });
            }
        }
    }
    found
}

/// What the metadata of a tree offers: packages and groups of each repo.
fn offered(root: &Path) -> BTreeMap<PathBuf, (Vec<String>, Vec<String>)> {
    let repos = metadata::repos(root).into_iter();
    let offer = |repo: &metadata::Repo| {
        (repo.packages().into_keys().collect(), repo.groups().into_iter().collect())
    };
    repos.map(|(path, repo)| (path, offer(&repo))).collect()
}

fn assert_equal(label: &str, theirs: &Path, ours: &Path) {
    let (mut their_tree, mut our_tree) = (tree(theirs), tree(ours));
    assert!(their_tree.len() > 10, "{label}: the scripts made {} paths", their_tree.len());
    our_tree.retain(|path, what| their_tree.get(path) != Some(what));
    let all = tree(ours);
    their_tree.retain(|path, what| all.get(path) != Some(what));
    let names = |tree: &BTreeMap<PathBuf, What>| tree.keys().cloned().collect::<Vec<_>>();
    assert!(
        their_tree.is_empty() && our_tree.is_empty(),
        "{label}: theirs {:?}, ours {:?}",
        names(&their_tree),
        names(&our_tree)
    );
    let (theirs, ours) = (offered(theirs), offered(ours));
    assert_eq!(theirs.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>(), "{label}");
    for (repo, offer) in &theirs {
        assert_eq!(*offer, ours[repo], "{label}: {}", repo.display());
    }
}

#[test]
fn the_scripts_themselves_give_the_same_trees() {
    let Some(scripts) = std::env::var_os(SCRIPTS).map(PathBuf::from) else {
        println!("not tested: {SCRIPTS} is not set");
        return;
    };
    for needed in ["rsync", "createrepo_c", "modifyrepo_c", "hardlink", "bash"] {
        if available(tool(needed)).is_none() {
            return;
        }
    }
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        println!("not tested: the scripts give files an owner, which needs root");
        return;
    }
    let world: World = world();
    let places = world.places();
    let at = |name: &str| places.compose.with_file_name(name);
    for name in ["their-staging", "their-production", "stubs"] {
        fs::create_dir(at(name)).unwrap();
    }
    for (name, text) in STUBS {
        fs::write(at("stubs").join(name), text).unwrap();
        fs::set_permissions(at("stubs").join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let roots = |staging: PathBuf, production: PathBuf| {
        [
            ("/mnt/compose", places.compose.clone()),
            ("/mnt/repos-staging", staging),
            ("/mnt/repos-production", production),
        ]
    };
    for (name, roots) in [
        ("theirs", roots(at("their-staging"), at("their-production"))),
        ("ours", roots(places.staging.clone(), places.production.clone())),
    ] {
        let roots: Vec<(&str, &Path)> =
            roots.iter().map(|(old, new)| (*old, new.as_path())).collect();
        copy(&scripts, &at(name), &roots);
    }
    // The same files say where ours go, so the import is tested too.
    let run = world.cairn(["config", "import", at("ours").to_str().unwrap(), "--run"]).ok();
    let text =
        run.out().replace("\"/var/lib/cairn\"", &format!("{:?}", places.store.to_str().unwrap()));
    world.set_config(&format!(
        "{text}\n[gate.production]\nrequire = [\"repodata\", \"files-exist\"]\n"
    ));
    world.cairn(["init"]).ok();
    let shims = at("shims");
    world.cairn(["toolkit", "--install", shims.to_str().unwrap()]).ok();
    let shown = world.cairn(["config", "show"]).ok().out();
    let stable = shown.split("[release.9.channel.stable]\n").nth(1).expect("release 9 is there");
    let value = |key: &str| {
        let line = stable.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")));
        line.unwrap_or_default().trim_end_matches('"').to_owned()
    };
    let (version, suffix) = (value("version"), value("staging_suffix"));
    let (staged, released) =
        (format!("mirror/pub/rocky/{version}{suffix}"), format!("mirror/pub/rocky/{version}"));

    for (label, write) in [("first", World::first as fn(&World) -> _), ("update", World::second)] {
        write(&world);
        for dir in [at("theirs"), shims.clone()] {
            line(&dir, &at("stubs"), "RLVER=9 bash sync-to-staging.sh Rocky").ok();
        }
        assert_equal(label, &at("their-staging").join(&staged), &world.staging(&staged));
        for dir in [at("theirs"), shims.clone()] {
            line(&dir, &at("stubs"), "RLVER=9 bash sync-to-prod.sh").ok();
        }
        // Loose files at the top may be missing in theirs (hazard 18); packages and metadata not.
        let rpms = |root: PathBuf| {
            let mut tree = tree(&root);
            tree.retain(|path, _| path.extension().is_some_and(|extension| extension == "rpm"));
            tree
        };
        let (theirs, ours) = (at("their-production").join(&released), world.production(&released));
        assert!(rpms(theirs.clone()) == rpms(ours.clone()), "{label}: packages in production");
        assert_eq!(offered(&theirs), offered(&ours), "{label}: metadata in production");
    }
}
