//! dnf 4: it reads what we write, in every compression.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cairn_repodata::write::Compression;

use crate::packages::build_rpms;
use crate::repo::write_metadata;
use crate::tools::{have, not_tested, run};

/// A client with one repository, which must be there.
struct Dnf {
    dir: tempfile::TempDir,
    repo: PathBuf,
}

impl Dnf {
    fn new(repo: &Path) -> Dnf {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("dnf.conf"), "[main]\nplugins=1\n").unwrap();
        Dnf { dir, repo: repo.to_owned() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let mut command = Command::new("dnf");
        command
            .args(["--quiet", "--releasever=9", "--forcearch=x86_64"])
            .arg(format!("--config={}", path("dnf.conf")))
            .arg(format!("--installroot={}", path("root")))
            .arg(format!("--setopt=cachedir={}", path("cache")))
            .arg("--setopt=reposdir=/dev/null")
            .arg("--setopt=skip_if_unavailable=0")
            .arg("--setopt=module_platform_id=platform:el9")
            .arg(format!("--repofrompath=ours,{}", self.repo.display()))
            .args(["--repo=ours", "--setopt=ours.skip_if_unavailable=0"])
            .args(["--setopt=ours.gpgcheck=0"])
            .args(arguments)
            .env("LC_ALL", "C.UTF-8");
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        run(&mut self.command(arguments))
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

/// Returns a directory of packages, if there is a dnf for it.
fn packages() -> Option<tempfile::TempDir> {
    if !have("dnf") || !have("rpmbuild") {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    build_rpms(dir.path());
    Some(dir)
}

#[test]
fn dnf_reads_what_we_write() {
    let Some(temporary) = packages() else { return };
    let repo = temporary.path();
    for compression in [
        Compression::Gzip,
        Compression::Xz,
        Compression::Zstd,
        Compression::Bzip2,
        Compression::None,
    ] {
        write_metadata(repo, compression);
        let dnf = Dnf::new(repo);
        let names = dnf.run(&["repoquery", "--qf", "%{name} %{evr} %{arch}"]);
        let mut names: Vec<_> = names.lines().collect();
        names.sort_unstable();
        let want = [
            "kitchen-sink 2:1.0~rc1^git5-3.el9 src",
            "kitchen-sink 2:1.0~rc1^git5-3.el9 x86_64",
            "kitchen-sink-empty 2:1.0~rc1^git5-3.el9 x86_64",
            "kitchen-sink-noarch-part 2:1.0~rc1^git5-3.el9 noarch",
            "latin-one 1-1 noarch",
            "latin-one 1-1 src",
            "no-source 20240101~^-0.1 noarch",
            "no-source 20240101~^-0.1 src",
            // The module takes the name, so its source, which is no artifact, is hidden.
            "plain 1.0-1 x86_64",
        ];
        assert_eq!(names, want, "{compression}");
        let group = dnf.run(&["group", "info", "kitchen"]);
        assert!(group.contains("kitchen-sink-empty"), "{compression}: {group}");
        let fixed = dnf.run(&["repoquery", "--advisory=EX-2024:1", "--qf", "%{name}"]);
        assert_eq!(fixed.trim(), "kitchen-sink-empty", "{compression}");
        if compression != Compression::Gzip {
            continue;
        }
        let module = dnf.run(&["module", "info", "cellar:10"]);
        assert!(module.contains("plain-0:1.0-1.x86_64"), "{module}");
        assert!(module.contains("[d]"), "the stream is the default: {module}");
        let list = dnf.run(&["repoquery", "-l", "kitchen-sink-noarch-part"]);
        assert!(list.contains("/usr/share/data/deep/x<y>"), "{list}");
        let changes = dnf.run(&["repoquery", "--changelogs", "latin-one.noarch"]);
        assert!(changes.contains("grüße"), "{changes}");
    }
}

#[test]
fn dnf_sees_every_relation_that_rpm_sees() {
    let Some(temporary) = packages() else { return };
    let repo = temporary.path();
    write_metadata(repo, Compression::Gzip);
    let dnf = Dnf::new(repo);
    let rpm = repo.join("kitchen-sink-1.0~rc1^git5-3.el9.x86_64.rpm");
    for kind in
        ["provides", "conflicts", "obsoletes", "recommends", "suggests", "supplements", "enhances"]
    {
        let lines = |text: String| {
            let mut lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
            lines.sort();
            lines.dedup();
            lines
        };
        let said = dnf.run(&["repoquery", &format!("--{kind}"), "kitchen-sink.x86_64"]);
        let mut rpm_query = Command::new("rpm");
        let wanted = run(rpm_query.args(["-qp", &format!("--{kind}")]).arg(&rpm));
        // dnf leaves the epoch out where it is 0.
        assert_eq!(lines(said), lines(wanted.replace(" 0:", " ")), "{kind}");
    }
    let requires = dnf.run(&["repoquery", "--requires", "kitchen-sink.x86_64"]);
    for need in [
        "versioned-release = 1:1.2-3",
        "(a or (b with c >= 2))",
        "needs-pre",
        "tilde >= 1~~2^3-4",
        "/usr/bin/env",
        "libc.so.6(GLIBC_2.17)(64bit)",
    ] {
        assert!(requires.lines().any(|line| line == need), "{need}: {requires}");
    }
    let pre = dnf.run(&["repoquery", "--requires-pre", "kitchen-sink.x86_64"]);
    let mut pre: Vec<&str> = pre.lines().collect();
    pre.sort_unstable();
    let want = [
        "/sbin/ldconfig",
        "needs-post",
        "needs-posttrans",
        "needs-pre",
        "needs-pretrans",
        "pre-and-plain",
    ];
    assert_eq!(pre, want);
}

#[test]
fn repoclosure_finds_what_is_missing_and_nothing_else() {
    let Some(temporary) = packages() else { return };
    let repo = temporary.path();
    write_metadata(repo, Compression::Gzip);
    let dnf = Dnf::new(repo);
    if !dnf.output(&["repoclosure", "--help"]).status.success() {
        return not_tested("dnf repoclosure is not installed");
    }
    let broken = dnf.output(&["repoclosure", "--arch=x86_64", "--arch=noarch", "--check=ours"]);
    let said = String::from_utf8_lossy(&broken.stdout).into_owned();
    assert!(!broken.status.success(), "{said}");
    let packages: Vec<&str> =
        said.lines().filter_map(|line| line.strip_prefix("package: ")).collect();
    assert_eq!(packages.len(), 2, "{said}");
    assert!(said.contains("versioned-release = 1:1.2-3") && said.contains("both"), "{said}");
    assert!(!said.contains("self-provided") && !said.contains("rpmlib("), "{said}");

    // Without the two that need what is not there, it is closed.
    for name in
        ["kitchen-sink-1.0~rc1^git5-3.el9.x86_64.rpm", "no-source-20240101~^-0.1.noarch.rpm"]
    {
        fs::remove_file(repo.join(name)).unwrap();
    }
    write_metadata(repo, Compression::Gzip);
    let dnf = Dnf::new(repo);
    let said = dnf.run(&["repoclosure", "--arch=x86_64", "--arch=noarch", "--check=ours"]);
    assert!(!said.contains("unresolved"), "{said}");
}
