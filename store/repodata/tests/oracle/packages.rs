//! What the tests against other tools share: RPMs made on the spot, and running those tools.

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_repodata::header::{FileFacts, Package};
use sha2::Digest;

/// Returns whether a tool can be started; says so if not.
pub fn have(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok();
    if !found {
        eprintln!("NOT TESTED: {tool} is not installed here");
    }
    found
}

/// Runs a tool and returns its output; it must succeed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().expect("the tool was found before");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).expect("tools speak UTF-8")
}

/// A spec that has everything metadata can say, in Latin-1 where a test wants that.
const SPEC: &str = r#"
Name:           kitchen-sink
Epoch:          2
Version:        1.0~rc1^git5
Release:        3.el9
Summary:        Everything & <more> "quoted"
License:        MIT and (GPLv2+ or Artistic)
Group:          System/Base
URL:            https://example.org/?a=1&b=2
Vendor:         Example Ltd
Packager:       Someone <someone@example.org>
Requires:       plain
Requires:       versioned >= 1.2
Requires:       versioned-release = 1:1.2-3
Requires:       versioned >= 1.2
Requires:       /usr/bin/env
Requires:       /etc/kitchen/sink.conf
Requires:       self-provided = 7
Requires:       libc.so.6(GLIBC_2.4)(64bit)
Requires:       libc.so.6()(64bit)
Requires:       libc.so.6(GLIBC_2.17)(64bit)
Requires:       libc.so.6(GLIBC_2.3.4)(64bit)
Requires:       (rich if other)
Requires:       (a or (b with c >= 2))
Requires(pre):  needs-pre
Requires(post): needs-post
Requires(preun): needs-preun
Requires(postun): needs-postun
Requires:       less < 2
Requires:       more > 3
Requires:       atmost <= 4
Provides:       self-provided = 7
Provides:       virtual
Provides:       versioned-virtual = 3:1-2
Provides:       config(extra) = 1
Conflicts:      enemy < 2
Obsoletes:      ancestor <= 1.9-9
Recommends:     weak-rec >= 1
Suggests:       weak-sug
Supplements:    (x and y)
Enhances:       weak-enh

%description
First line & second.

  Indented "line" with <tags>	and a tab.

%package noarch-part
Summary:        Only data
BuildArch:      noarch
%description noarch-part
Data.

%package empty
Summary:        Nothing
%description empty

%prep
%build
%install
mkdir -p %{buildroot}/etc/kitchen %{buildroot}/usr/bin %{buildroot}/usr/share/data/deep %{buildroot}/var/log
echo conf > %{buildroot}/etc/kitchen/sink.conf
echo run > %{buildroot}/usr/bin/sink
echo a > '%{buildroot}/usr/share/data/a & b'
echo a > '%{buildroot}/usr/share/data/deep/x<y>'
ln -s sink %{buildroot}/usr/bin/sink-link
touch %{buildroot}/var/log/ghost.log

%post -p /sbin/ldconfig

%files
%config /etc/kitchen/sink.conf
%dir /etc/kitchen
%attr(755,root,root) /usr/bin/sink
/usr/bin/sink-link
%ghost /var/log/ghost.log

%files noarch-part
/usr/share/data

%files empty

%changelog
* Thu Apr 05 2012 Third <c@example.org> - 3
- third & <last>
- with "two" lines

* Fri Apr 13 2012 Second B <b@example.org> - 2
- same day as the next

* Fri Apr 13 2012 Second A <a@example.org> - 2
- same day as the one before

* Fri Apr 13 2012 Second 0 <a@example.org> - 2
- same day again

* Thu Apr 12 2012 T <t@example.org> - 1.9
- nine

* Wed Apr 11 2012 T <t@example.org> - 1.8
- eight

* Tue Apr 10 2012 T <t@example.org> - 1.7
- seven

* Mon Apr 09 2012 T <t@example.org> - 1.6
- six

* Thu Apr 05 2012 T <t@example.org> - 1.5
- five

* Wed Apr 04 2012 T <t@example.org> - 1.4
- four

* Tue Apr 03 2012 T <t@example.org> - 1.3
- three

* Mon Apr 02 2012 T <t@example.org> - 1.2
- two
"#;

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

/// Builds real packages with rpmbuild: binary, noarch, source, empty, and one in Latin-1.
pub fn build_rpms(into: &Path) {
    let top = into.parent().expect("a directory inside a temporary one").join("rpmbuild");
    fs::create_dir_all(&top).unwrap();
    // rpmbuild wants the newest changes first.
    let spec = SPEC.replacen("Thu Apr 05 2012 Third", "Thu Apr 19 2012 Third", 1);
    for (name, text) in [("sink.spec", spec.as_bytes()), ("latin.spec", LATIN1_SPEC)] {
        let path = top.join(name);
        fs::write(&path, text).unwrap();
        run(Command::new("rpmbuild")
            .args(["-ba", "--quiet", "--define", &format!("_topdir {}", top.display())])
            .args(["--define", "_invalid_encoding_terminates_build 0"])
            .args(["--define", "_build_id_links none", "--nodeps"])
            .env("SOURCE_DATE_EPOCH", "1334000000")
            .env("LC_ALL", "C.UTF-8")
            .arg(&path));
    }
    fs::create_dir_all(into).unwrap();
    let mut found = Vec::new();
    collect(&top, &mut found);
    for path in found {
        fs::copy(&path, into.join(path.file_name().unwrap())).unwrap();
    }
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

/// Reads a package below `repo` as a caller of the library would.
pub fn read_package(repo: &Path, rpm: &Path) -> Package {
    let bytes = fs::read(rpm).unwrap();
    let modified = fs::metadata(rpm).unwrap().modified().unwrap();
    let mtime = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let facts = FileFacts {
        href: rpm.strip_prefix(repo).unwrap().to_str().unwrap().to_owned(),
        size: bytes.len() as u64,
        mtime: mtime as i64,
        sha256: sha2::Sha256::digest(&bytes).into(),
    };
    Package::read(BufReader::new(bytes.as_slice()), facts).unwrap()
}
