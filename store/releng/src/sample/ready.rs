//! Two composes that are ready: a release, and its first update.

use std::path::Path;

use super::compose::{Compose, Written};
use super::error::Error;
use super::package::Package;
use super::release::{Advisory, Module};

const FIRST: &str = "20251101.0";
const SECOND: &str = "20251115.0";

/// Names of the packages whose version is higher in [`second`] than in [`first`].
pub const UPGRADED: &[&str] = &["bash", "firefox", "kernel", "kernel-core", "nodejs"];
/// Names of the packages that only [`second`] has.
pub const ADDED: &[&str] = &["ripgrep"];
/// Names of the packages that only [`first`] has.
pub const REMOVED: &[&str] = &["vim-minimal"];
/// Names of the packages whose version is lower in [`second`] than in [`first`].
pub const DOWNGRADED: &[&str] = &["httpd"];
/// Names of the packages that were built again: the same NEVRA, another checksum.
pub const REBUILT: &[&str] = &["tzdata"];

/// Writes a release: `<root>/9/Rocky-9.7-20251101.0`, and `latest-Rocky-9` that names it.
///
/// # Errors
///
/// [`Error`] names the path; a compose that exists already is one.
pub fn first(root: &Path) -> Result<Written, Error> {
    compose(Edition::First).write(root)
}

/// Writes its first update: `<root>/9/Rocky-9.7-20251115.0`, and moves `latest-Rocky-9` to it.
///
/// Packages that did not change are hard links to those of [`first`], where that is there.
/// Advisories and module streams changed with the packages.
///
/// # Errors
///
/// [`Error`] names the path; a compose that exists already is one.
pub fn second(root: &Path) -> Result<Written, Error> {
    let previous = root.join("9").join(compose(Edition::First).id());
    compose(Edition::Second).linked_to(previous).write(root)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Edition {
    First,
    Second,
}

impl Edition {
    fn pick<T>(self, first: T, second: T) -> T {
        match self {
            Edition::First => first,
            Edition::Second => second,
        }
    }
}

fn compose(edition: Edition) -> Compose {
    let mut compose = Compose::new("9", "Rocky", "9.7", edition.pick(FIRST, SECOND));
    for arch in ["x86_64", "aarch64"] {
        compose = base_os(compose.repo("BaseOS", arch), arch, edition);
        compose = app_stream(compose.repo("AppStream", arch), edition);
        compose = crb(compose.repo("CRB", arch));
    }
    compose
}

fn base_os(compose: Compose, arch: &str, edition: Edition) -> Compose {
    let glibc = Package::new("glibc", "2.34-231.el9");
    let kernel = edition.pick("5.14.0-611.5.1.el9_7", "5.14.0-611.9.1.el9_7");
    let bash = edition.pick("5.1.8-9.el9", "5.1.8-10.el9");
    let os_release = "NAME=\"Rocky Linux\"\nVERSION=\"9.7 (Blue Onyx)\"\nID=\"rocky\"\n\
                      ID_LIKE=\"rhel centos fedora\"\nVERSION_ID=\"9.7\"\n\
                      PLATFORM_ID=\"platform:el9\"\n";
    let mut compose = compose
        .with(glibc.clone())
        .with(Package::new("bash", bash).provides("/bin/sh").requires("glibc"))
        .with(Package::new("kernel", kernel).requires(format!("kernel-core = {kernel}")).size(512))
        .with(
            Package::new("kernel-core", kernel)
                .source("kernel")
                .provides(format!("kernel-uname-r = {kernel}.{arch}"))
                .requires("linux-firmware")
                .size(48 * 1024),
        )
        .with(Package::new("linux-firmware", "20251016-156.el9").arch("noarch").size(96 * 1024))
        .with(Package::new("openssl", "1:3.5.1-4.el9").requires("openssl-libs = 1:3.5.1-4.el9"))
        .with(Package::new("openssl-libs", "1:3.5.1-4.el9").source("openssl").requires("glibc"))
        .with(
            Package::new("rocky-release", "9.7-1.2.el9")
                .arch("noarch")
                .file("/etc/os-release", os_release)
                .provides("system-release = 9.7-1.2.el9"),
        )
        .with(Package::new("tzdata", "2025b-2.el9").arch("noarch").rebuilt(edition.pick(0, 1)))
        .with(Package::new("zlib", "1.2.11-40.el9").requires("glibc"));
    if arch == "x86_64" {
        compose = compose.with(glibc.arch("i686"));
    }
    match edition {
        Edition::First => compose
            .package("vim-minimal", "2:8.2.2637-22.el9_6")
            .advisory(
                Advisory::new("RLSA-2025:19447", "Important: kernel security update")
                    .security("Important")
                    .cve("CVE-2025-38351")
                    .updates("kernel")
                    .updates("kernel-core"),
            )
            .advisory(Advisory::new("RLBA-2025:20145", "tzdata bug fix update").updates("tzdata")),
        Edition::Second => compose
            .package("ripgrep", "14.1.1-1.el9")
            .advisory(
                Advisory::new("RLSA-2025:21112", "Important: kernel security & bug fix update")
                    .security("Important")
                    .cve("CVE-2025-38556")
                    .cve("CVE-2025-39757")
                    .updates("kernel")
                    .updates("kernel-core")
                    .issued("2025-11-12 08:00:00"),
            )
            .advisory(Advisory::new("RLBA-2025:20145", "tzdata bug fix update").updates("tzdata"))
            .advisory(
                Advisory::new("RLBA-2025:21301", "bash bug fix update")
                    .updates("bash")
                    .issued("2025-11-13 08:00:00"),
            ),
    }
}

fn app_stream(compose: Compose, edition: Edition) -> Compose {
    let node = Module::new("nodejs", "22", edition.pick(9070020251001, 9070020251110), "rhel9");
    let older = Module::new("nodejs", "20", 9060020250901, "rhel9");
    let label = node.label();
    let version = edition.pick(
        "1:22.19.0-2.module+el9.7.0+40001+c5a6f5cb",
        "1:22.20.0-1.module+el9.7.0+40022+1f2ab0de",
    );
    let firefox = edition.pick("140.4.0-3.el9_7", "140.5.0-2.el9_7");
    let compose = compose
        .with(Package::new("firefox", firefox).requires("glibc").size(64 * 1024))
        .with(
            Package::new("httpd", edition.pick("2.4.62-7.el9", "2.4.57-11.el9"))
                .requires("/bin/sh")
                .requires("openssl-libs"),
        )
        .with(Package::new("python3.12", "3.12.11-2.el9").requires("zlib"))
        .with(Package::new("nodejs", version).module(label).requires("openssl-libs"))
        .with(
            Package::new("nodejs", "1:20.19.5-1.module+el9.6.0+39001+a4b5c6d7")
                .module(older.label())
                .requires("openssl-libs"),
        )
        .module(node)
        .module(older);
    match edition {
        Edition::First => compose,
        Edition::Second => compose.advisory(
            Advisory::new("RLSA-2025:21280", "Moderate: firefox security update")
                .security("Moderate")
                .cve("CVE-2025-13012")
                .updates("firefox")
                .issued("2025-11-13 08:00:00"),
        ),
    }
}

fn crb(compose: Compose) -> Compose {
    compose
        .with(Package::new("glibc-static", "2.34-231.el9").source("glibc").requires("glibc"))
        .with(Package::new("zlib-static", "1.2.11-40.el9").source("zlib").requires("zlib"))
}
