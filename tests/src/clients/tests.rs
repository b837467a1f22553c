use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use cairn_releng::sample;

use super::*;
use crate::{available, treecmp};

/// A directory with the sample's release in it, and the compose in that.
fn release() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let written = sample::first(dir.path()).unwrap();
    (dir, written.dir.join("compose"))
}

#[test]
fn rpm_accepts_every_package_of_the_sample() {
    let (_dir, compose) = release();
    let Some(count) = available(rpm_check(&compose)) else { return };
    assert!(count > 80, "{count}");
}

#[test]
#[should_panic(expected = "exit code")]
fn rpm_finds_a_package_that_is_damaged() {
    let (_dir, compose) = release();
    let path = compose.join("CRB/x86_64/os/Packages/z/zlib-static-1.2.11-40.el9.x86_64.rpm");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() - 100;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let Some(_) = available(rpm_check(&path)) else { panic!("exit code unknown") };
}

#[test]
fn createrepo_lists_the_same_packages_as_the_sample() {
    let (dir, compose) = release();
    for tree in ["BaseOS/x86_64/os", "AppStream/aarch64/debug/tree", "BaseOS/source/tree"] {
        let ours = compose.join(tree);
        let theirs = dir.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        copy_packages(&ours, &theirs);
        let Some(_) = available(createrepo(&theirs, &["--no-database"])) else { return };
        let Some(dnf) = available(Dnf::new()) else { return };
        let ours = dnf.repo("ours", ours).nevras();
        let theirs_listed = Dnf::new().unwrap().repo("theirs", &theirs).nevras();
        assert!(!ours.is_empty(), "{tree}");
        assert_eq!(ours, theirs_listed, "{tree}");
        fs::remove_dir_all(&theirs).unwrap();
    }
}

fn copy_packages(from: &Path, to: &Path) {
    for letter in fs::read_dir(from.join("Packages")).unwrap() {
        for package in fs::read_dir(letter.unwrap().path()).unwrap() {
            let package = package.unwrap();
            fs::copy(package.path(), to.join(package.file_name())).unwrap();
        }
    }
}

#[test]
fn dnf_reads_groups_advisories_and_modules_of_the_sample() {
    let (_dir, compose) = release();
    let Some(dnf) = available(Dnf::new()) else { return };
    let dnf = dnf
        .repo("baseos", compose.join("BaseOS/x86_64/os"))
        .repo("appstream", compose.join("AppStream/x86_64/os"));
    let nevras = dnf.nevras();
    for nevra in ["openssl-1:3.5.1-4.el9.x86_64", "glibc-0:2.34-231.el9.i686"] {
        assert!(nevras.contains(nevra), "{nevra} in {nevras:#?}");
    }
    let groups = dnf.run(&["-q", "group", "list", "--ids"]).ok().out();
    assert!(groups.contains("(baseos-environment)"), "{groups}");
    let fixed = dnf.run(&["-q", "repoquery", "--advisory=RLSA-2025:19447"]).ok().out();
    let kernel = "5.14.0-611.5.1.el9_7.x86_64";
    assert_eq!(fixed, format!("kernel-0:{kernel}\nkernel-core-0:{kernel}\n"));
    let modules = dnf.run(&["-q", "module", "list"]).ok().out();
    assert!(modules.contains("nodejs") && modules.contains("22 [d]"), "{modules}");
}

#[test]
fn dnf_installs_from_the_sample_over_http() {
    let (_dir, compose) = release();
    let server = HttpServer::start(&compose);
    let Some(dnf) = available(Dnf::new()) else { return };
    let dnf = dnf
        .repo("baseos", server.url("BaseOS/x86_64/os"))
        .repo("appstream", server.url("AppStream/x86_64/os"));
    if let Some(()) = available(crate::unavailable::root("installing packages")) {
        dnf.install(&["rocky-release", "httpd", "nodejs", "kernel"]).ok();
        let release = fs::read_to_string(dnf.root().join("etc/os-release")).unwrap();
        assert!(release.contains("PLATFORM_ID=\"platform:el9\""));
        assert!(dnf.root().join("usr/bin/bash").is_file(), "/bin/sh drew bash in");
    }
    let to = tempfile::tempdir().unwrap();
    dnf.download(to.path(), &["firefox"]).ok();
    assert!(to.path().join("firefox-140.4.0-3.el9_7.x86_64.rpm").is_file());
    assert_eq!(server.not_found(), [] as [&str; 0]);
    let asked: BTreeSet<u16> = server.requests().iter().map(|request| request.status).collect();
    assert!(asked.contains(&200), "{asked:?}");
}

#[test]
fn dnf_fails_where_a_repository_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let Some(run) = available(dnf_download(dir.path(), dir.path(), &["bash"])) else { return };
    assert_eq!(run.code(), Some(1), "{}", run.report());
    assert!(run.err().contains("repodata/repomd.xml"), "{}", run.report());
}

#[test]
fn rsync_copies_the_sample_from_the_daemon() {
    let (dir, compose) = release();
    let Some(daemon) = available(RsyncDaemon::start(&compose)) else { return };
    let copy = dir.path().join("copy");
    let to = copy.to_str().unwrap().to_owned();
    rsync(["-aH".to_owned(), daemon.url(), to]).unwrap().ok();
    treecmp::assert_equal(&compose, &copy);
    let options = treecmp::Options {
        mtime: treecmp::On::Everything,
        mode: treecmp::On::Everything,
        hardlinks: true,
        owner: crate::unavailable::root("").is_ok(),
    };
    assert_eq!(treecmp::compare_with(&compose, &copy, &options), []);

    let push = rsync([compose.to_str().unwrap(), &daemon.url()]).unwrap();
    assert_ne!(push.code(), Some(0), "the module is read-only");
}

#[test]
fn the_web_server_answers_whole_parts_and_refusals() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a b"), "0123456789").unwrap();
    let server = HttpServer::start(dir.path());
    let url = server.url("");
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let ask = |request: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{request}\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let get = "GET /a%20b HTTP/1.1";
    let cases = [
        (get.to_owned(), "HTTP/1.1 200 OK", "0123456789"),
        ("HEAD /a%20b HTTP/1.1".to_owned(), "HTTP/1.1 200 OK", ""),
        (format!("{get}\r\nRange: bytes=2-4"), "HTTP/1.1 206 Partial Content", "234"),
        (format!("{get}\r\nRange: bytes=7-"), "HTTP/1.1 206 Partial Content", "789"),
        (format!("{get}\r\nRange: bytes=-3"), "HTTP/1.1 206 Partial Content", "789"),
        (format!("{get}\r\nRange: bytes=1-99"), "HTTP/1.1 206 Partial Content", "123456789"),
        (format!("{get}\r\nRange: bytes=10-"), "HTTP/1.1 416 Range Not Satisfiable", ""),
        (format!("{get}\r\nRange: bytes=0-0,2-3"), "HTTP/1.1 200 OK", "0123456789"),
        ("GET /none HTTP/1.1".to_owned(), "HTTP/1.1 404 Not Found", ""),
        ("GET / HTTP/1.1".to_owned(), "HTTP/1.1 404 Not Found", ""),
        ("GET /%2e%2e/etc/passwd HTTP/1.1".to_owned(), "HTTP/1.1 400 Bad Request", ""),
        ("PUT /a HTTP/1.1".to_owned(), "HTTP/1.1 405 Method Not Allowed", ""),
    ];
    for (request, status, body) in cases {
        let response = ask(&request);
        assert!(response.starts_with(status), "{request}\n{response}");
        assert_eq!(response.split_once("\r\n\r\n").unwrap().1, body, "{request}");
    }
    assert_eq!(server.not_found(), ["/none", "/"]);
}
