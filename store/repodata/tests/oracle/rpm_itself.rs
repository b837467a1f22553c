//! rpm: it says the same of a package as its metadata.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use cairn_repodata::primary::{Compare, Dependency, FileKind};

use crate::packages::{all_rpms, collect, read_package};
use crate::tools::have;

/// Asks rpm for rows of fields; a field is text in UTF-8 or, failing that, in Latin-1.
fn query(rpm: &Path, fields: &[&str], array: bool) -> Vec<Vec<String>> {
    // Paths and changes hold line feeds and tabs: these two characters they do not hold.
    let row = fields.iter().map(|field| format!("%{{{field}}}\\v")).collect::<String>() + "\\f";
    let format = if array { format!("[{row}]") } else { row };
    let output = Command::new("rpm")
        .args(["-qp", "--nosignature", "--nodigest", "--qf", &format])
        .arg(rpm)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {said}", rpm.display());
    let text = |bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    };
    let rows = output.stdout.split(|byte| *byte == b'\x0c').filter(|row| !row.is_empty());
    rows.map(|row| {
        let mut fields: Vec<String> = row.split(|byte| *byte == b'\x0b').map(text).collect();
        fields.pop();
        fields
    })
    .filter(|row| row.iter().any(|field| field != "(none)"))
    .collect()
}

/// A dependency as rpm has it: name, comparison and version, and what kind of need it is.
fn dependencies(rpm: &Path, kind: &str) -> Vec<([String; 3], String)> {
    let fields =
        ["NAME", "FLAGS:depflags", "VERSION", "FLAGS:deptype"].map(|f| format!("{kind}{f}"));
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let plain = |text: &str| if text == "(none)" { String::new() } else { text.to_owned() };
    let rows = query(rpm, &fields, true);
    rows.into_iter()
        .map(|row| {
            // An epoch of 0, written or not, and a dash with nothing behind it say nothing; nor
            // does a comparison that everything passes, or a version that is not compared.
            let version = plain(&row[2]);
            let version = version.strip_prefix("0:").unwrap_or(&version);
            let version = version.trim_start_matches(':').trim_end_matches('-').to_owned();
            let compare = plain(row[1].trim());
            let compare = if compare == "<>=" { String::new() } else { compare };
            let version = if compare.is_empty() { String::new() } else { version };
            ([row[0].clone(), compare, version], row[3].clone())
        })
        .collect()
}

/// A dependency of ours in the same form.
fn ours(dependency: &Dependency) -> [String; 3] {
    let compare = match dependency.compare {
        Some(Compare::Lt) => "<",
        Some(Compare::Le) => "<=",
        Some(Compare::Eq) => "=",
        Some(Compare::Ge) => ">=",
        Some(Compare::Gt) => ">",
        None => "",
    };
    let epoch = dependency.epoch.as_deref().filter(|epoch| *epoch != "0");
    let mut version = epoch.map_or(String::new(), |epoch| format!("{epoch}:"));
    version.push_str(dependency.version.as_deref().unwrap_or_default());
    if let Some(release) = &dependency.release {
        version.push_str(&format!("-{release}"));
    }
    [dependency.name.clone(), compare.to_owned(), version]
}

#[test]
fn rpm_says_the_same_of_every_package() {
    if !have("rpm") || !have("rpmbuild") {
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let repo = temporary.path().join("repo");
    let count = all_rpms(&repo);
    let mut rpms = Vec::new();
    collect(&repo, &mut rpms);
    assert_eq!(rpms.len(), count);
    for rpm in &rpms {
        let package = read_package(&repo, rpm);
        let primary = &package.primary;
        let name = &*primary.nevra.name;

        let evr = &primary.nevra.evr;
        let is_source = primary.nevra.arch == "src";
        let archive_size = match name {
            // Format 6 has the size elsewhere, which this rpm does not know.
            "crate-v6" => "0".to_owned(),
            _ => primary.archive_size.to_string(),
        };
        let mut wanted = vec![
            ("NAME", primary.nevra.name.clone()),
            ("EPOCHNUM", evr.epoch.to_string()),
            ("VERSION", evr.version.clone()),
            ("RELEASE", evr.release.clone()),
            ("SUMMARY", primary.summary.clone()),
            ("DESCRIPTION", primary.description.clone()),
            ("URL", primary.url.clone()),
            ("LICENSE", primary.license.clone()),
            ("VENDOR", primary.vendor.clone()),
            ("PACKAGER", primary.packager.clone()),
            ("GROUP", primary.group.clone()),
            ("BUILDHOST", primary.build_host.clone()),
            ("BUILDTIME", primary.build_time.to_string()),
            ("LONGSIZE", primary.installed_size.to_string()),
            ("LONGARCHIVESIZE", archive_size),
            ("SOURCERPM", primary.source_rpm.clone()),
        ];
        // To rpm, a source package has the architecture that it was built on.
        if !is_source {
            wanted.push(("ARCH", primary.nevra.arch.clone()));
        }
        let fields: Vec<&str> = wanted.iter().map(|(field, _)| *field).collect();
        let row = query(rpm, &fields, false).pop().unwrap();
        for ((field, want), said) in wanted.iter().zip(&row) {
            let none = if want == "0" { "0" } else { "" };
            let said = if said.is_empty() || said == "(none)" { none } else { said };
            assert_eq!(said, want, "{name}: {field}");
        }

        for (kind, list) in [
            ("PROVIDE", &primary.relations.provides),
            ("CONFLICT", &primary.relations.conflicts),
            ("OBSOLETE", &primary.relations.obsoletes),
            ("RECOMMEND", &primary.relations.recommends),
            ("SUGGEST", &primary.relations.suggests),
            ("SUPPLEMENT", &primary.relations.supplements),
            ("ENHANCE", &primary.relations.enhances),
        ] {
            let rows = dependencies(rpm, kind);
            let said: Vec<_> = rows.into_iter().map(|(dependency, _)| dependency).collect();
            assert_eq!(list.iter().map(ours).collect::<Vec<_>>(), said, "{name}: {kind}");
        }
        requires_are_rpms(rpm, name, &package);
        files_are_rpms(rpm, name, &package);

        let rows = query(rpm, &["CHANGELOGTIME", "CHANGELOGNAME", "CHANGELOGTEXT"], true);
        assert_eq!(package.changelogs.len(), rows.len().min(10), "{name}");
        for (change, row) in package.changelogs.iter().rev().zip(&rows) {
            assert_eq!([&change.author, &change.text], [&row[1], &row[2]], "{name}");
            let later = change.date - row[0].parse::<i64>().unwrap();
            assert!((0..10).contains(&later), "{name}: {later}");
        }
    }
}

/// Ours are rpm's in rpm's order, without those that nobody else can or must satisfy.
fn requires_are_rpms(rpm: &Path, name: &str, package: &cairn_repodata::header::Package) {
    let provided: HashSet<_> =
        dependencies(rpm, "PROVIDE").into_iter().map(|(dependency, _)| dependency).collect();
    let own: HashSet<&str> = package.primary.files.iter().map(|file| &*file.path).collect();
    let mut found = package.primary.relations.requires.iter().peekable();
    let mut seen = HashSet::new();
    let mut libc = Vec::new();
    for (dependency, kinds) in dependencies(rpm, "REQUIRE") {
        let need = &*dependency[0];
        let kinds: Vec<&str> = kinds.split(',').collect();
        let pre = ["pre", "post", "pretrans", "posttrans"].iter().any(|kind| kinds.contains(kind));
        if need.starts_with("libc.so.6") && !need.contains("GLIBC_ABI") {
            libc.push(dependency);
            continue;
        }
        if found.next_if(|ours_| ours(ours_) == dependency && ours_.pre == pre).is_some() {
            seen.insert(dependency);
            continue;
        }
        let needless = need.starts_with("rpmlib(")
            || provided.contains(&dependency)
            || (need.starts_with('/') && own.contains(need))
            || seen.contains(&dependency);
        assert!(needless, "{name} lacks {dependency:?}, pre {pre}");
    }
    let rest: Vec<_> = found.map(ours).collect();
    assert_eq!(rest.len(), usize::from(!libc.is_empty()), "{name}: {rest:?}");
    assert!(rest.iter().all(|dependency| libc.contains(dependency)), "{name}: {rest:?}");
}

fn files_are_rpms(rpm: &Path, name: &str, package: &cairn_repodata::header::Package) {
    let rows = query(rpm, &["FILENAMES", "FILEMODES:octal", "FILEFLAGS:fflags"], true);
    let mut wanted = Vec::new();
    for row in &rows {
        let mode = u32::from_str_radix(&row[1], 8).unwrap();
        let kind = match (mode & 0o170_000 == 0o040_000, row[2].contains('g')) {
            (true, _) => FileKind::Dir,
            (false, true) => FileKind::Ghost,
            (false, false) => FileKind::File,
        };
        wanted.push((row[0].clone(), kind));
    }
    let found: Vec<_> = package.files.iter().map(|f| (f.path.clone(), f.kind)).collect();
    assert_eq!(found, wanted, "{name}");
    wanted.retain(|(path, _)| {
        path.starts_with("/etc/") || path.contains("bin/") || path == "/usr/lib/sendmail"
    });
    let listed: Vec<_> = package.primary.files.iter().map(|f| (f.path.clone(), f.kind)).collect();
    assert_eq!(listed, wanted, "{name}");
}
