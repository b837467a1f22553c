//! Repodata of a generated repo: well-formed, with right checksums and sizes, but small.
//!
//! The gzip members hold stored blocks. A package takes about as many bytes as in real compressed
//! metadata of the three kinds together, and generating costs no time.

use std::fmt::Write as _;

use crate::digest::{crc32, sha256};
use crate::noise::Rng;
use crate::release::Package;

/// Returns the files of `repodata/` as names and contents, repomd.xml last.
pub fn write(packages: &[&Package], time: i64) -> Vec<(String, Vec<u8>)> {
    let kinds = [("primary", primary(packages)), ("filelists", filelists(packages))];
    let mut files = Vec::new();
    let mut repomd = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <repomd xmlns=\"http://linux.duke.edu/metadata/repo\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n  <revision>9</revision>\n",
    );
    for (kind, xml) in kinds {
        let packed = gzip_stored(xml.as_bytes());
        let checksum = sha256(&packed);
        let name = format!("{checksum}-{kind}.xml.gz");
        append(
            &mut repomd,
            format_args!(
                "  <data type=\"{kind}\">\n    <checksum type=\"sha256\">{checksum}</checksum>\n    \
                 <open-checksum type=\"sha256\">{}</open-checksum>\n    \
                 <location href=\"repodata/{name}\"/>\n    <timestamp>{time}</timestamp>\n    \
                 <size>{}</size>\n    <open-size>{}</open-size>\n  </data>\n",
                sha256(xml.as_bytes()),
                packed.len(),
                xml.len(),
            ),
        );
        files.push((name, packed));
    }
    repomd.push_str("</repomd>\n");
    files.push(("repomd.xml".to_owned(), repomd.into_bytes()));
    files
}

fn primary(packages: &[&Package]) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"{}\">\n",
        packages.len()
    );
    for package in packages {
        let Package { name, version, release, arch, size, mtime, .. } = package;
        append(
            &mut xml,
            format_args!(
                "<package type=\"rpm\"><name>{name}</name><arch>{arch}</arch>\
                 <version epoch=\"0\" ver=\"{version}\" rel=\"{release}\"/>\
                 <checksum type=\"sha256\" pkgid=\"YES\">{}</checksum>\
                 <summary>{name}</summary><description>{name}</description><packager/><url/>\
                 <time file=\"{mtime}\" build=\"{mtime}\"/>\
                 <size package=\"{size}\" installed=\"{size}\" archive=\"{size}\"/>\
                 <location href=\"{}\"/><format><rpm:license>MIT</rpm:license><rpm:vendor/>\
                 <rpm:group>Unspecified</rpm:group><rpm:buildhost/><rpm:sourcerpm/>\
                 <rpm:header-range start=\"4504\" end=\"8192\"/></format></package>\n",
                pkgid(package),
                package.href(),
            ),
        );
    }
    xml.push_str("</metadata>\n");
    xml
}

fn filelists(packages: &[&Package]) -> String {
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <filelists xmlns=\"http://linux.duke.edu/metadata/filelists\" packages=\"{}\">\n",
        packages.len()
    );
    for package in packages {
        let Package { name, version, release, arch, .. } = package;
        append(
            &mut xml,
            format_args!(
                "<package pkgid=\"{}\" name=\"{name}\" arch=\"{arch}\">\
                 <version epoch=\"0\" ver=\"{version}\" rel=\"{release}\"/>\
                 <file>/usr/bin/{name}</file></package>\n",
                pkgid(package),
            ),
        );
    }
    xml.push_str("</filelists>\n");
    xml
}

/// Returns 64 hex digits that follow the content. It is not the content's SHA-256: the packages
/// are noise, and hashing gigabytes here would buy nothing that is measured.
fn pkgid(package: &Package) -> String {
    let mut rng = Rng::new(package.seed);
    (0..4).map(|_| format!("{:016x}", rng.bits())).collect()
}

fn append(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String cannot fail");
}

/// Wraps bytes as a gzip member of stored blocks (RFC 1951 3.2.4, RFC 1952).
fn gzip_stored(bytes: &[u8]) -> Vec<u8> {
    const STORED_MAX: usize = 65_535; // a stored block's length is 16 bits
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut blocks = bytes.chunks(STORED_MAX).peekable();
    while let Some(block) = blocks.next() {
        let length = block.len() as u16;
        member.push(u8::from(blocks.peek().is_none()));
        member.extend(length.to_le_bytes());
        member.extend((!length).to_le_bytes());
        member.extend(block);
    }
    member.extend(crc32(bytes).to_le_bytes());
    member.extend((bytes.len() as u32).to_le_bytes());
    member
}
