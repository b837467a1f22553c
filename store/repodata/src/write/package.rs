//! A package's elements in the three lists.
//!
//! Layout, order and quoting are createrepo_c's, so that what it wrote and what is written here
//! differ only where the packages do.

use std::fmt::Write as _;

use crate::header::{Changelog, Package};
use crate::primary::{self, Dependency, File, FileKind};
use crate::vercmp::Nevra;
use crate::xml::{attribute, element, escape_text};

/// Appends a package's element of `primary`.
pub(crate) fn primary(out: &mut String, package: &primary::Package) {
    let Nevra { name, evr, arch } = &package.nevra;
    out.push_str("<package type=\"rpm\">\n");
    line(out, 1, |out| element(out, "name", name));
    line(out, 1, |out| element(out, "arch", arch));
    line(out, 1, |out| version(out, package));
    let (kind, hex) = (package.pkgid.kind(), package.pkgid.hex());
    let _ = writeln!(out, "  <checksum type=\"{kind}\" pkgid=\"YES\">{hex}</checksum>");
    line(out, 1, |out| element(out, "summary", &package.summary));
    line(out, 1, |out| element(out, "description", &package.description));
    line(out, 1, |out| element(out, "packager", &package.packager));
    line(out, 1, |out| element(out, "url", &package.url));
    let (file, build) = (package.file_time, package.build_time);
    let _ = writeln!(out, "  <time file=\"{file}\" build=\"{build}\"/>");
    let (size, installed) = (package.package_size, package.installed_size);
    let archive = package.archive_size;
    let _ = writeln!(
        out,
        "  <size package=\"{size}\" installed=\"{installed}\" archive=\"{archive}\"/>"
    );
    line(out, 1, |out| {
        out.push_str("<location");
        if let Some(base) = &package.base {
            attribute(out, "xml:base", base);
        }
        attribute(out, "href", &package.href);
        out.push_str("/>");
    });
    debug_assert!(!evr.version.is_empty(), "readers refuse packages without a version");
    format(out, package);
    out.push_str("</package>\n");
}

fn format(out: &mut String, package: &primary::Package) {
    out.push_str("  <format>\n");
    line(out, 2, |out| element(out, "rpm:license", &package.license));
    line(out, 2, |out| element(out, "rpm:vendor", &package.vendor));
    line(out, 2, |out| element(out, "rpm:group", &package.group));
    line(out, 2, |out| element(out, "rpm:buildhost", &package.build_host));
    line(out, 2, |out| element(out, "rpm:sourcerpm", &package.source_rpm));
    let (start, end) = (package.header_start, package.header_end);
    let _ = writeln!(out, "    <rpm:header-range start=\"{start}\" end=\"{end}\"/>");
    for (name, list) in package.relations.lists() {
        if list.is_empty() {
            continue;
        }
        let _ = writeln!(out, "    <rpm:{name}>");
        for dependency in list {
            line(out, 3, |out| entry(out, dependency));
        }
        let _ = writeln!(out, "    </rpm:{name}>");
    }
    for file in &package.files {
        line(out, 2, |out| path(out, file));
    }
    out.push_str("  </format>\n");
}

fn entry(out: &mut String, dependency: &Dependency) {
    out.push_str("<rpm:entry");
    attribute(out, "name", &dependency.name);
    if let Some(compare) = dependency.compare {
        attribute(out, "flags", compare.name());
        for (name, value) in [
            ("epoch", &dependency.epoch),
            ("ver", &dependency.version),
            ("rel", &dependency.release),
        ] {
            if let Some(value) = value {
                attribute(out, name, value);
            }
        }
    }
    if dependency.pre {
        attribute(out, "pre", "1");
    }
    out.push_str("/>");
}

fn version(out: &mut String, package: &primary::Package) {
    let evr = &package.nevra.evr;
    let _ = write!(out, "<version epoch=\"{}\"", evr.epoch);
    attribute(out, "ver", &evr.version);
    attribute(out, "rel", &evr.release);
    out.push_str("/>");
}

fn path(out: &mut String, file: &File) {
    out.push_str(match file.kind {
        FileKind::File => "<file>",
        FileKind::Dir => "<file type=\"dir\">",
        FileKind::Ghost => "<file type=\"ghost\">",
    });
    escape_text(out, &file.path);
    out.push_str("</file>");
}

/// Appends a package's element of `filelists`.
pub(crate) fn filelists(out: &mut String, package: &Package) {
    head(out, &package.primary);
    for file in &package.files {
        line(out, 1, |out| path(out, file));
    }
    out.push_str("</package>\n");
}

/// Appends a package's element of `other`.
pub(crate) fn other(out: &mut String, package: &Package) {
    head(out, &package.primary);
    for Changelog { author, date, text } in &package.changelogs {
        line(out, 1, |out| {
            out.push_str("<changelog");
            attribute(out, "author", author);
            let _ = write!(out, " date=\"{date}\">");
            escape_text(out, text);
            out.push_str("</changelog>");
        });
    }
    out.push_str("</package>\n");
}

fn head(out: &mut String, package: &primary::Package) {
    out.push_str("<package");
    attribute(out, "pkgid", package.pkgid.hex());
    attribute(out, "name", &package.nevra.name);
    attribute(out, "arch", &package.nevra.arch);
    out.push_str(">\n");
    line(out, 1, |out| version(out, package));
}

fn line(out: &mut String, indent: usize, write: impl FnOnce(&mut String)) {
    out.extend(std::iter::repeat_n("  ", indent));
    write(out);
    out.push('\n');
}
