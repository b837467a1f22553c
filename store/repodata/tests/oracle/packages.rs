//! Real packages, made on the spot: by rpmbuild, by the `rpm` crate, and of bytes.

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use cairn_repodata::header::{FileFacts, Package};
use sha2::Digest;

use crate::raw;
use crate::tools::run;

/// Everything that metadata can say; the least; and what no ordinary package has.
const SPECS: &[(&str, &[u8])] = &[
    ("kitchen-sink", include_bytes!("specs/kitchen-sink.spec")),
    ("plain", include_bytes!("specs/plain.spec")),
    ("no-source", include_bytes!("specs/no-source.spec")),
    ("latin-one", LATIN1_SPEC),
];

const LATIN1_SPEC: &[u8] = b"
Name: latin-one
Version: 1
Release: 1
Summary: Caf\xe9 cr\xe8me
License: MIT
BuildArch: noarch
%description
J\xf6rg again
%files
%changelog
* Thu Apr 05 2012 J\xf6rg <j@example.org> - 1
- gr\xfc\xdfe
";

/// How many packages rpmbuild makes of the specs.
pub const BUILT: usize = 10;

/// Builds packages with rpmbuild, once for all tests.
fn built() -> &'static [(String, Vec<u8>)] {
    static BUILT: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    BUILT.get_or_init(|| {
        let top = tempfile::tempdir().unwrap();
        let sources = top.path().join("SOURCES");
        fs::create_dir(&sources).unwrap();
        fs::write(sources.join("elsewhere.tar.gz"), "nothing").unwrap();
        for (name, text) in SPECS {
            let path = top.path().join(format!("{name}.spec"));
            fs::write(&path, text).unwrap();
            run(Command::new("rpmbuild")
                .args(["-ba", "--quiet", "--define", &format!("_topdir {}", top.path().display())])
                .args(["--define", "_invalid_encoding_terminates_build 0"])
                .args(["--define", "_build_id_links none", "--nodeps"])
                .env("SOURCE_DATE_EPOCH", "1334000000")
                .env("LC_ALL", "C.UTF-8")
                .arg(&path));
        }
        let mut found = Vec::new();
        collect(top.path(), &mut found);
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        found.into_iter().map(|path| (name(&path), fs::read(&path).unwrap())).collect()
    })
}

/// Writes the packages that rpmbuild makes: binary, noarch, source, without source, empty, and
/// one in Latin-1.
pub fn build_rpms(into: &Path) {
    fs::create_dir_all(into).unwrap();
    for (name, bytes) in built() {
        fs::write(into.join(name), bytes).unwrap();
    }
}

/// Writes packages of every kind that we can make, in directories of their own; returns how many.
pub fn all_rpms(into: &Path) -> usize {
    build_rpms(&into.join("built"));
    let mut count = BUILT;
    for (dir, packages) in [("crate", of_the_crate()), ("raw", raw::all())] {
        fs::create_dir_all(into.join(dir)).unwrap();
        for (name, bytes) in packages {
            fs::write(into.join(dir).join(format!("{name}.rpm")), bytes).unwrap();
            count += 1;
        }
    }
    count
}

/// Returns packages of both formats that another builder makes.
fn of_the_crate() -> Vec<(&'static str, Vec<u8>)> {
    use rpm::{BuildConfig, CompressionType, Dependency};
    let formats = [
        ("crate-v4", BuildConfig::v4().compression(CompressionType::Gzip)),
        ("crate-v4-plain", BuildConfig::v4().compression(CompressionType::None)),
        ("crate-v6", BuildConfig::v6().compression(CompressionType::Gzip)),
    ];
    let package = |(name, config): (&'static str, BuildConfig)| {
        let mut builder = rpm::PackageBuilder::new(name, "1.0^1~rc", "MIT", "aarch64", "summary");
        builder.using_config(config.source_date(1_600_000_000)).release("1").epoch(0);
        builder.description("Text.").build_host("host");
        builder.requires(Dependency::greater_eq("needed", "1:2.0-3"));
        builder.requires(Dependency::script_pre("pre-needed"));
        builder.recommends(Dependency::any("wanted"));
        builder.suggests(Dependency::less("suggested", "3"));
        builder.supplements(Dependency::any("supplemented"));
        builder.enhances(Dependency::any("enhanced"));
        builder.add_changelog_entry("A - 1", "- second", 1_500_000_000u32);
        builder.add_changelog_entry("B - 1", "- first", 1_400_000_000u32);
        let file = rpm::FileOptions::new("/usr/bin/tool").permissions(0o755);
        builder.with_file_contents("#!", file).unwrap();
        builder.with_dir_entry(rpm::FileOptions::dir("/etc/tool")).unwrap();
        builder.with_ghost(rpm::FileOptions::ghost("/var/log/tool.log")).unwrap();
        let mut bytes = Vec::new();
        builder.build().unwrap().write(&mut bytes).unwrap();
        (name, bytes)
    };
    formats.map(package).into()
}

/// Adds the RPMs under a directory, sorted.
pub fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rpm") {
            found.push(path);
        }
    }
}

/// Returns what is known of the file of a package below `repo`.
pub fn facts_of(repo: &Path, rpm: &Path) -> FileFacts {
    let bytes = fs::read(rpm).unwrap();
    let modified = fs::metadata(rpm).unwrap().modified().unwrap();
    let mtime = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    FileFacts {
        href: rpm.strip_prefix(repo).unwrap().to_str().unwrap().to_owned(),
        size: bytes.len() as u64,
        mtime: mtime as i64,
        sha256: sha2::Sha256::digest(&bytes).into(),
    }
}

/// Reads a package below `repo` as a caller of the library would.
pub fn read_package(repo: &Path, rpm: &Path) -> Package {
    let file = BufReader::new(fs::File::open(rpm).unwrap());
    Package::read(file, facts_of(repo, rpm)).unwrap()
}
