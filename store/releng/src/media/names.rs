//! What media are called, and what the names are that always lead to the newest.
//!
//! | file | link |
//! | --- | --- |
//! | `Rocky-9.7-x86_64-dvd1.iso` | `Rocky-9-latest-x86_64-dvd.iso` |
//! | `Rocky-9.7-Workstation-x86_64-20251118.0.iso` | `Rocky-9-Workstation-x86_64-latest.iso` |
//! | `Rocky-9-Container-Base-9.7-20251118.0.x86_64.oci.tar.xz` | `Rocky-9-Container-Base.latest.x86_64.tar.xz` |
//!
//! A version or a build stamp counts only as a whole: `8.1` is not found in `8.10`, nor in
//! `18.1` or `8.1.2`.

use crate::config::Version;

/// The file of joined checksums, and what the name of a file's own ends with.
pub(super) const CHECKSUM: &str = "CHECKSUM";

/// Returns the file name of an installation image.
pub(super) fn installer(short: &str, version: Version, arch: &str, variant: &str) -> String {
    format!("{short}-{version}-{arch}-{variant}.iso")
}

/// Returns the link to the newest installation image of a kind. The first disc of a set, `dvd1`,
/// stands for the set.
pub(super) fn installer_link(short: &str, version: Version, arch: &str, variant: &str) -> String {
    let major = version.major;
    let variant = variant.strip_suffix('1').unwrap_or(variant);
    format!("{short}-{major}-latest-{arch}-{variant}.iso")
}

/// Returns whether an image is the boot image that a build of one variant makes, with the build's
/// stamp in its name: `Rocky-9.8-20251101.0-x86_64-boot.iso`.
pub(super) fn is_stamped_boot(name: &str, short: &str, version: Version, arch: &str) -> bool {
    let rest = name.strip_prefix(&format!("{short}-{version}-20"));
    rest.is_some_and(|rest| rest.ends_with(&format!("{arch}-boot.iso")))
}

/// Returns the name that a cloud image is published under: Vagrant's own ending goes, as in
/// `….x86_64.vagrant.libvirt.box`.
pub(super) fn published(name: &str) -> String {
    match (name.find(".vagrant."), name.strip_suffix(".box")) {
        (Some(at), Some(_)) => format!("{}.box", &name[..at]),
        _ => name.to_owned(),
    }
}

/// A link to an image, and how new that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Latest {
    /// The link's name.
    pub name: String,
    /// The image's build stamp; of several with one link, the highest wins.
    pub stamp: (u64, u64),
}

/// Returns the link to the newest image of this kind; none for a name without version and stamp.
///
/// Live images are ISOs, and say `-latest`; others say `.latest`, and their link drops `.oci`.
pub(super) fn latest(name: &str, version: Version) -> Option<Latest> {
    if name.ends_with(".iso") { latest_live(name, version) } else { latest_cloud(name, version) }
}

fn latest_live(name: &str, version: Version) -> Option<Latest> {
    let dotted = version.to_string();
    let (mut link, mut stamp, mut versioned) = (String::new(), None, false);
    for part in parts(name) {
        match part {
            Part::Text(text) => link.push_str(text),
            Part::Pair(text, _) if text == dotted => {
                link.push_str(&version.major.to_string());
                versioned = true;
            }
            Part::Pair(_, numbers) => {
                link.push_str("latest");
                stamp = Some(numbers);
            }
        }
    }
    let stamp = stamp.filter(|_| versioned)?;
    Some(Latest { name: link, stamp })
}

fn latest_cloud(name: &str, version: Version) -> Option<Latest> {
    let dotted = version.to_string();
    let parts = parts(name);
    let mut at = 0;
    for four in parts.windows(4) {
        if let [
            Part::Text(before),
            Part::Pair(pair, _),
            Part::Text("-"),
            Part::Pair(stamp, numbers),
        ] = four
            && before.ends_with('-')
            && *pair == dotted
        {
            let start = at + before.len() - 1;
            let end = at + before.len() + pair.len() + 1 + stamp.len();
            let link = format!("{}.latest{}", &name[..start], &name[end..]).replace(".oci", "");
            return Some(Latest { name: link, stamp: *numbers });
        }
        at += four[0].text().len();
    }
    None
}

/// A piece of a name.
#[derive(Clone, Copy, Debug)]
enum Part<'a> {
    Text(&'a str),
    /// Two numbers with a dot between, which belong to no longer row of numbers.
    Pair(&'a str, (u64, u64)),
}

impl Part<'_> {
    fn text(&self) -> &str {
        match self {
            Part::Text(text) | Part::Pair(text, _) => text,
        }
    }
}

/// Splits a name into pairs of numbers and what is between them.
fn parts(name: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut text, mut at) = (0, 0);
    while at < name.len() {
        let rest = &name[at..];
        let row = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        // A dot after the row is the text's: `20251118.0.iso`.
        let row = rest[..row].trim_end_matches('.');
        if let Some(numbers) = pair(row) {
            if text < at {
                parts.push(Part::Text(&name[text..at]));
            }
            parts.push(Part::Pair(row, numbers));
            text = at + row.len();
        }
        at += row.len().max(rest.chars().next().map_or(1, char::len_utf8));
    }
    if text < name.len() {
        parts.push(Part::Text(&name[text..]));
    }
    parts
}

fn pair(row: &str) -> Option<(u64, u64)> {
    let (first, second) = row.split_once('.')?;
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok());
    Some((number(first)??, number(second)??))
}

/// Returns whether a file of an image directory holds checksums, or signs them.
pub(super) fn is_checksum(name: &str) -> bool {
    let bare = [".asc", ".sig", ".gpg"].iter().find_map(|end| name.strip_suffix(end));
    let bare = bare.unwrap_or(name);
    bare == CHECKSUM || bare.ends_with(".CHECKSUM") || bare.ends_with("-CHECKSUM")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn links_to_the_newest_are_right_for_one_and_two_digits() {
        let cases = [
            (
                "9.7",
                "Rocky-9.7-Workstation-x86_64-20251118.0.iso",
                "Rocky-9-Workstation-x86_64-latest.iso",
            ),
            ("8.10", "Rocky-8.10-KDE-x86_64-20240528.0.iso", "Rocky-8-KDE-x86_64-latest.iso"),
            (
                "10.1",
                "Rocky-10.1-Cinnamon-aarch64-20251126.12.iso",
                "Rocky-10-Cinnamon-aarch64-latest.iso",
            ),
            (
                "9.0",
                "Rocky-Workstation-9.0-x86_64-20220712.0.iso",
                "Rocky-Workstation-9-x86_64-latest.iso",
            ),
            (
                "9.7",
                "Rocky-9-GenericCloud-Base-9.7-20251123.2.x86_64.qcow2",
                "Rocky-9-GenericCloud-Base.latest.x86_64.qcow2",
            ),
            (
                "8.10",
                "Rocky-8-Vagrant-Libvirt-8.10-20240528.0.x86_64.box",
                "Rocky-8-Vagrant-Libvirt.latest.x86_64.box",
            ),
            (
                "10.1",
                "Rocky-10-Container-Base-10.1-20251126.0.x86_64.oci.tar.xz",
                "Rocky-10-Container-Base.latest.x86_64.tar.xz",
            ),
        ];
        for (at, name, link) in cases {
            let found = latest(name, version(at)).map(|latest| latest.name);
            assert_eq!(found.as_deref(), Some(link), "{name}");
        }
    }

    #[test]
    fn a_version_is_not_found_in_a_longer_one() {
        let none = [
            ("8.1", "Rocky-8.10-KDE-x86_64-20240528.0.iso"),
            ("8.1", "Rocky-8-GenericCloud-Base-8.10-20240528.0.x86_64.qcow2"),
            ("9.7", "Rocky-9-GenericCloud-Base-9.7.1-20240528.0.x86_64.qcow2"),
            ("9.7", "Rocky-9-GenericCloud-Base.x86_64.qcow2"),
            ("9.7", "Rocky-9.7-Workstation-x86_64.iso"),
            ("9.7", "README"),
            ("9.7", ""),
            ("9.7", "9.7-20251118.0.iso.."),
            ("9.7", "é9.7é.iso"),
        ];
        for (at, name) in none {
            assert_eq!(latest(name, version(at)), None, "{name}");
        }
    }

    #[test]
    fn the_stamp_says_which_of_two_builds_is_newer() {
        let stamp = |name| latest(name, version("9.7")).unwrap().stamp;
        let older = stamp("Rocky-9-EC2-Base-9.7-20251118.9.x86_64.qcow2");
        assert!(older < stamp("Rocky-9-EC2-Base-9.7-20251118.10.x86_64.qcow2"));
        assert!(older < stamp("Rocky-9-EC2-Base-9.7-20251119.0.x86_64.qcow2"));
    }

    #[test]
    fn installers_and_their_links_are_named_by_version_and_major() {
        let at = version("8.10");
        assert_eq!(installer("Rocky", at, "x86_64", "dvd1"), "Rocky-8.10-x86_64-dvd1.iso");
        assert_eq!(installer_link("Rocky", at, "x86_64", "dvd1"), "Rocky-8-latest-x86_64-dvd.iso");
        assert_eq!(installer_link("Rocky", at, "x86_64", "boot"), "Rocky-8-latest-x86_64-boot.iso");
    }

    #[test]
    fn a_boot_image_made_again_has_the_stamp_of_its_build() {
        let is = |name| is_stamped_boot(name, "Rocky", version("9.8"), "x86_64");
        assert!(is("Rocky-9.8-20251101.0-x86_64-boot.iso"));
        assert!(!is("Rocky-9.8-x86_64-boot.iso"));
        assert!(!is("Rocky-9.8-20251101.0-x86_64-minimal.iso"));
        assert!(!is("Rocky-9.8-20251101.0-aarch64-boot.iso"));
    }

    #[test]
    fn vagrant_endings_go_and_nothing_else() {
        let cases = [
            ("A-10.1-2.0.x86_64.vagrant.libvirt.box", "A-10.1-2.0.x86_64.box"),
            ("A-10.1-2.0.x86_64.vagrant.virtualbox.x.box", "A-10.1-2.0.x86_64.box"),
            ("Rocky-9-Vagrant-Vbox-9.7-1.0.x86_64.box", "Rocky-9-Vagrant-Vbox-9.7-1.0.x86_64.box"),
            ("a.vagrant.qcow2", "a.vagrant.qcow2"),
        ];
        for (name, published_as) in cases {
            assert_eq!(published(name), published_as);
        }
    }

    #[test]
    fn checksum_files_are_known_by_their_names() {
        for name in ["CHECKSUM", "a.iso.CHECKSUM", "CHECKSUM.asc", "a.CHECKSUM.sig", "R-9-CHECKSUM"]
        {
            assert!(is_checksum(name), "{name}");
        }
        for name in ["a.iso", "CHECKSUMS", "a.iso.manifest", "key.asc"] {
            assert!(!is_checksum(name), "{name}");
        }
    }
}
