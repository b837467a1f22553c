use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Every path below `dir`, sorted, relative.
fn paths(dir: &Path) -> Vec<PathBuf> {
    fn walk(dir: &Path, root: &Path, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            out.push(path.strip_prefix(root).unwrap().to_owned());
            if path.symlink_metadata().unwrap().is_dir() {
                walk(&path, root, out);
            }
        }
    }
    let mut out = Vec::new();
    walk(dir, dir, &mut out);
    out.sort();
    out
}

fn rpms(dir: &Path) -> Vec<PathBuf> {
    paths(dir).into_iter().filter(|path| path.extension().is_some_and(|e| e == "rpm")).collect()
}

/// Runs a tool; says so and returns nothing where it is missing.
#[expect(clippy::disallowed_macros, reason = "a test that cannot run must say so")]
fn run(tool: &str, args: &[&str]) -> Option<String> {
    let output = match Command::new(tool).args(args).env("LC_ALL", "C").output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("not checked: {tool} is not installed");
            return None;
        }
        Err(error) => panic!("{tool}: {error}"),
    };
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {args:?}\n{out}\n{err}");
    Some(out)
}

#[test]
fn sample_is_laid_out_like_a_compose() {
    let root = temp();
    let first = first(root.path()).unwrap();
    assert_eq!(first.id, "Rocky-9.7-20251101.0");
    assert_eq!(fs::read_link(&first.latest).unwrap(), Path::new("Rocky-9.7-20251101.0"));
    assert_eq!(fs::read_to_string(first.dir.join("STATUS")).unwrap(), "FINISHED\n");
    for path in [
        "COMPOSE_ID",
        "work/x86_64/comps/comps-BaseOS.x86_64.xml",
        "compose/metadata/composeinfo.json",
        "compose/metadata/rpms.json",
        "compose/metadata/images.json",
        "compose/BaseOS/x86_64/os/.treeinfo",
        "compose/BaseOS/x86_64/os/.discinfo",
        "compose/BaseOS/x86_64/os/media.repo",
        "compose/BaseOS/x86_64/os/images/pxeboot/vmlinuz",
        "compose/BaseOS/x86_64/os/Packages/b/bash-5.1.8-9.el9.x86_64.rpm",
        "compose/BaseOS/x86_64/os/Packages/g/glibc-2.34-231.el9.i686.rpm",
        "compose/BaseOS/aarch64/debug/tree/Packages/b/bash-debuginfo-5.1.8-9.el9.aarch64.rpm",
        "compose/BaseOS/source/tree/Packages/k/kernel-5.14.0-611.5.1.el9_7.src.rpm",
        "compose/AppStream/aarch64/os/.treeinfo",
        "compose/CRB/x86_64/os/Packages/z/zlib-static-1.2.11-40.el9.x86_64.rpm",
        "compose/BaseOS/x86_64/iso/Rocky-9.7-x86_64-boot.iso",
        "compose/Minimal/aarch64/iso/Rocky-9.7-aarch64-minimal.iso",
    ] {
        assert!(first.dir.join(path).is_file(), "{path} is missing");
    }
    assert!(root.path().join("9_metadata/x86_64/AppStream-modules.yaml").is_file());
    let info = fs::read_to_string(first.dir.join("compose/metadata/composeinfo.json")).unwrap();
    let info: serde_json::Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["payload"]["compose"]["id"], "Rocky-9.7-20251101.0");
    assert_eq!(
        info["payload"]["variants"]["BaseOS"]["paths"]["os_tree"]["aarch64"],
        "BaseOS/aarch64/os"
    );
}

#[test]
fn two_writes_of_the_sample_are_equal_in_bytes_modes_and_times() {
    let (one, two) = (temp(), temp());
    for root in [&one, &two] {
        first(root.path()).unwrap();
        second(root.path()).unwrap();
    }
    let all = paths(&one.path().join("9"));
    assert_eq!(all, paths(&two.path().join("9")));
    for path in all {
        let [a, b] = [&one, &two].map(|root| root.path().join("9").join(&path));
        let [x, y] = [&a, &b].map(|path| path.symlink_metadata().unwrap());
        assert_eq!(x.permissions().mode(), y.permissions().mode(), "mode of {path:?}");
        if x.is_symlink() {
            assert_eq!(fs::read_link(a).unwrap(), fs::read_link(b).unwrap());
            continue;
        }
        assert_eq!(x.mtime(), y.mtime(), "time of {path:?}");
        if x.is_file() {
            assert!(fs::read(a).unwrap() == fs::read(b).unwrap(), "content of {path:?}");
            assert_eq!(x.nlink(), y.nlink(), "links of {path:?}");
        }
    }
}

#[test]
fn second_links_what_did_not_change_and_only_that() {
    let root = temp();
    let first = first(root.path()).unwrap();
    let second = second(root.path()).unwrap();
    assert_eq!(fs::read_link(&second.latest).unwrap(), Path::new("Rocky-9.7-20251115.0"));
    let (old, new): (BTreeSet<_>, BTreeSet<_>) =
        (rpms(&first.dir).into_iter().collect(), rpms(&second.dir).into_iter().collect());
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let changed = |names: &[&[&str]], path: &PathBuf| {
        names.iter().any(|names| names.iter().any(|n| name(path).starts_with(&format!("{n}-"))))
    };
    let mut linked = 0;
    for path in old.intersection(&new) {
        let inode = |dir: &Path| fs::metadata(dir.join(path)).unwrap().ino();
        let same = inode(&first.dir) == inode(&second.dir);
        assert_eq!(same, !changed(&[REBUILT], path), "{path:?}");
        linked += u32::from(same);
    }
    assert!(linked > 40, "{linked} linked");
    for path in old.difference(&new) {
        assert!(changed(&[UPGRADED, DOWNGRADED, REMOVED], path), "{path:?} is gone");
    }
    for path in new.difference(&old) {
        assert!(changed(&[UPGRADED, DOWNGRADED, ADDED], path), "{path:?} is new");
    }
}

#[test]
fn a_noarch_package_is_one_file_in_all_its_repos() {
    let root = temp();
    let first = first(root.path()).unwrap();
    let inode = |arch: &str| {
        let path = format!("compose/BaseOS/{arch}/os/Packages/t/tzdata-2025b-2.el9.noarch.rpm");
        fs::metadata(first.dir.join(path)).unwrap().ino()
    };
    assert_eq!(inode("x86_64"), inode("aarch64"));
}

#[test]
fn a_description_that_does_not_do_is_refused_with_its_reason() {
    let root = temp();
    let compose = |date: &str| Compose::new("9", "Rocky", "9.7", date);
    let cases = [
        (compose("20251101.0").package("bash", "1-1"), "package bash: no repo was named before it"),
        (
            compose("20251101.0").repo("BaseOS", "x86_64").package("bash", "5.1.8"),
            "package bash: \"5.1.8\" is not [epoch:]version-release",
        ),
        (compose("20251301.0"), "compose date \"20251301.0\" is not YYYYMMDD.N"),
        (compose("today"), "compose date \"today\" is not YYYYMMDD.N"),
    ];
    for (compose, expected) in cases {
        assert_eq!(compose.write(root.path()).unwrap_err().to_string(), expected);
    }
    assert!(!root.path().join("9").exists(), "nothing was begun");

    first(root.path()).unwrap();
    let again = first(root.path()).unwrap_err().to_string();
    assert!(again.contains("9/Rocky-9.7-20251101.0: create: "), "{again}");
}

#[test]
fn an_unfinished_compose_says_so() {
    let root = temp();
    let compose = Compose::new("9", "Rocky", "9.8", "20260301.1")
        .suffix("-beta")
        .status(Status::Started)
        .packages_only()
        .repo("BaseOS", "x86_64")
        .package("bash", "5.1.8-9.el9")
        .file("compose/BaseOS/x86_64/os/extra", "more")
        .symlink("compose/base", "BaseOS");
    let written = compose.write(root.path()).unwrap();
    assert_eq!(written.dir, root.path().join("9-beta/Rocky-9.8-20260301.1"));
    assert_eq!(fs::read_to_string(written.dir.join("STATUS")).unwrap(), "STARTED\n");
    assert_eq!(
        fs::read_to_string(written.dir.join("compose/base/x86_64/os/extra")).unwrap(),
        "more"
    );
    assert_eq!(rpms(&written.dir).len(), 1);
}

#[test]
fn rpm_accepts_every_package() {
    let root = temp();
    first(root.path()).unwrap();
    let second = second(root.path()).unwrap();
    let all: Vec<String> = rpms(root.path())
        .iter()
        .map(|path| root.path().join(path).to_str().unwrap().to_owned())
        .collect();
    let mut args = vec!["-K", "--nosignature"];
    args.extend(all.iter().map(String::as_str));
    let Some(out) = run("rpm", &args) else { return };
    assert_eq!(out.lines().count(), all.len());
    for line in out.lines() {
        assert!(line.ends_with(": digests OK"), "{line}");
    }

    let os = second.dir.join("compose/BaseOS/x86_64/os/Packages");
    let tags = "%{SOURCERPM} %{BUILDTIME} %{EPOCHNUM} %{SOURCEPACKAGE}";
    let kernel = os.join("k/kernel-core-5.14.0-611.9.1.el9_7.x86_64.rpm");
    let out =
        run("rpm", &["-qp", "--nosignature", "--qf", tags, kernel.to_str().unwrap()]).unwrap();
    let words: Vec<&str> = out.split(' ').collect();
    assert_eq!(words[0], "kernel-5.14.0-611.9.1.el9_7.src.rpm");
    let time = fs::metadata(&kernel).unwrap().mtime();
    assert_eq!(words[1], time.to_string(), "the build time is the file's time");
    assert_eq!(words[2..], ["0", "(none)"]);

    let source = second.dir.join("compose/BaseOS/source/tree/Packages/b/bash-5.1.8-10.el9.src.rpm");
    let out =
        run("rpm", &["-qp", "--nosignature", "--qf", tags, source.to_str().unwrap()]).unwrap();
    assert!(out.starts_with("(none) ") && out.ends_with(" 0 1"), "{out}");
    let out = run("rpm", &["-qpl", "--nosignature", source.to_str().unwrap()]).unwrap();
    assert_eq!(out, "bash-5.1.8.tar.gz\nbash.spec\n");
}

#[test]
fn the_sample_configuration_is_toml_that_names_its_places() {
    let text = config(Path::new("/tmp/a \"b\""));
    let table: toml::Table = toml::from_str(&text).unwrap();
    assert_eq!(table["store"]["path"].as_str(), Some("/tmp/a \"b\"/store"));
    assert_eq!(table["mounts"]["staging"]["path"].as_str(), Some("/tmp/a \"b\"/staging"));
    assert_eq!(table["compose"]["root"].as_str(), Some("/tmp/a \"b\"/compose"));
    assert_eq!(table["release"]["9"]["channel"]["stable"]["version"].as_str(), Some("9.7"));

    let config = crate::config::Config::parse(&text, Path::new("cairn.toml"));
    config.unwrap_or_else(|error| panic!("{error}"));
}

/// Every directory below `dir` that is an RPM repository.
fn repos(dir: &Path) -> Vec<PathBuf> {
    let is_repo = |path: &PathBuf| path.ends_with("repodata");
    let repos = paths(dir).into_iter().filter(is_repo);
    repos.map(|path| dir.join(path.parent().unwrap())).collect()
}

#[test]
fn repodata_of_the_sample_reads_back_and_names_what_is_there() {
    let root = temp();
    let second = second(root.path()).unwrap();
    let repos = repos(&second.dir);
    // Three variants, each with two architectures' os and debug, and one source.
    assert_eq!(repos.len(), 15);
    for repo in repos {
        let (repomd, packages) = read_repo(&repo);
        let mut hrefs: Vec<_> = packages.iter().map(|package| package.href.clone()).collect();
        hrefs.sort();
        let files: Vec<String> =
            rpms(&repo).iter().map(|path| path.to_str().unwrap().to_owned()).collect();
        assert_eq!(hrefs, files, "{repo:?}");
        assert_eq!(repomd.revision.as_deref(), Some("9"));
        let group = repomd.record("group").is_some();
        assert_eq!(group, repo.ends_with("os"), "comps of {repo:?}");
        let modules = repomd.record("modules").is_some();
        assert_eq!(modules, group && repo.components().any(|c| c.as_os_str() == "AppStream"));
    }
}

fn read_repo(
    repo: &Path,
) -> (cairn_repodata::repomd::Repomd, Vec<cairn_repodata::primary::Package>) {
    let bytes = fs::read(repo.join("repodata/repomd.xml")).unwrap();
    let repomd = cairn_repodata::repomd::read("repomd.xml", bytes.as_slice()).unwrap();
    let mut packages = Vec::new();
    for record in &repomd.records {
        let packed = fs::read(repo.join(&record.href)).unwrap();
        let open = record.open(&packed, cairn_repodata::codec::Limits::default()).unwrap();
        if record.kind == "primary" {
            let mut keep = |package| {
                packages.push(package);
                Ok::<_, cairn_repodata::Error>(())
            };
            cairn_repodata::primary::read("primary", open.as_slice(), &mut keep).unwrap();
        }
    }
    (repomd, packages)
}
