//! The files of a compose that are neither packages nor metadata about them.

use sha2::{Digest, Sha256};

use super::Error;
use super::compose::{Compose, Tree};
use super::disk::Disk;
use super::package::{hash, noise};

/// The time that a compose's date stands for, in seconds since 1970: an hour for each respin.
pub(super) fn epoch(date: &str) -> Result<u64, Error> {
    let wrong = || Error::Date { date: date.to_owned() };
    let (day, respin) = date.split_once('.').ok_or_else(wrong)?;
    let respin: u64 = respin.parse().map_err(|_| wrong())?;
    if day.len() != 8 || respin > 1000 {
        return Err(wrong());
    }
    let day = jiff::civil::Date::strptime("%Y%m%d", day).map_err(|_| wrong())?;
    let start = day.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?;
    let start = u64::try_from(start.timestamp().as_second()).map_err(|_| wrong())?;
    Ok(start + respin * 3600)
}

/// An installation image that was written, for the product metadata.
pub(super) struct Image {
    pub(super) arch: String,
    /// `boot`, `dvd`, `minimal`, or `qcow2` for a disk image.
    pub(super) kind: &'static str,
    /// Below `compose/`.
    pub(super) path: String,
    pub(super) size: u64,
    pub(super) sha256: String,
}

/// Writes the installation media and a cloud image of one architecture, where their builders leave
/// them: below the variant whose media they are.
pub(super) fn write_media(
    compose: &Compose,
    arch: &str,
    time: u64,
    disk: &mut Disk,
) -> Result<Vec<Image>, Error> {
    let Compose { major, short, version, date, .. } = compose;
    // Release 8 counts the discs of a set.
    let dvd = if major == "8" { "dvd1" } else { "dvd" };
    let mut images = Vec::new();
    for (variant, kind, name) in
        [("BaseOS", "boot", "boot"), ("Minimal", "minimal", "minimal"), ("BaseOS", "dvd", dvd)]
    {
        let path = format!("{variant}/{arch}/iso/{short}-{version}-{arch}-{name}.iso");
        let content = installer(compose, arch, kind, time);
        images.push(write_image(arch, kind, path, &content, time, disk)?);
    }
    let name = format!("{short}-{major}-GenericCloud-Base-{version}-{date}.{arch}.qcow2");
    let path = format!("images/{arch}/images/{name}");
    let content = noise(hash(&format!("{} {path}", compose.id())), 24 * 1024);
    images.push(write_image(arch, "qcow2", path, &content, time, disk)?);
    Ok(images)
}

/// An installation image; what it holds is another in each compose, as real ones are.
fn installer(compose: &Compose, arch: &str, kind: &str, time: u64) -> Vec<u8> {
    let Compose { short, version, .. } = compose;
    let id = compose.id();
    let bytes = |name: &str, size| noise(hash(&format!("{id} {arch} {kind} {name}")), size);
    let discinfo = format!("{time}.000000\n{short} Linux {version}\n{arch}\nALL\n");
    let (install, initrd, package) =
        (bytes("install", 8192), bytes("initrd", 4096), bytes("rpm", 3000));
    let mut files: Vec<(&str, &[u8])> = vec![
        (".discinfo", discinfo.as_bytes()),
        ("EFI/BOOT/grub.cfg", b"set timeout=60\n"),
        ("images/install.img", &install),
        ("images/pxeboot/initrd.img", &initrd),
        ("LICENSE", b"MIT OR Apache-2.0\n"),
    ];
    if kind != "boot" {
        files.push(("BaseOS/Packages/b/bash.rpm", &package));
    }
    super::iso(&format!("{short}-{version}-{arch}-{kind}").replace('.', "-"), &files, time)
}

fn write_image(
    arch: &str,
    kind: &'static str,
    path: String,
    content: &[u8],
    time: u64,
    disk: &mut Disk,
) -> Result<Image, Error> {
    disk.file(&format!("compose/{path}"), content, time)?;
    let (size, sha256) = (content.len() as u64, sha256(content));
    Ok(Image { arch: arch.to_owned(), kind, path, size, sha256 })
}

/// Writes what lies beside `Packages` and `repodata` in an installable tree.
pub(super) fn write_os_files(
    compose: &Compose,
    tree: &Tree,
    boot: bool,
    time: u64,
    disk: &mut Disk,
) -> Result<(), Error> {
    let path = format!("compose/{}", tree.path());
    let mut images = Vec::new();
    if boot {
        for &name in boot_images(&tree.arch) {
            let seed = hash(&format!("{} {} {name}", compose.id(), tree.arch));
            let content = noise(seed, 8 * 1024);
            disk.file(&format!("{path}/{name}"), &content, time)?;
            images.push((name, sha256(&content)));
        }
    }
    let mut listed = Vec::new();
    for (name, text) in [
        ("COMMUNITY-CHARTER", "Everybody is welcome.\n"),
        ("EULA", "This sample comes with no warranty.\n"),
        ("LICENSE", "MIT OR Apache-2.0\n"),
    ] {
        disk.file(&format!("{path}/{name}"), text.as_bytes(), time)?;
        listed.push(serde_json::json!({
            "file": name,
            "size": text.len(),
            "checksums": { "sha256": sha256(text.as_bytes()) },
        }));
    }
    let listed = serde_json::json!({ "header": { "version": "1.0" }, "data": listed });
    let listed = super::metadata::pretty(&listed);
    disk.file(&format!("{path}/extra_files.json"), listed.as_bytes(), time)?;

    let Compose { short, version, .. } = compose;
    let arch = &tree.arch;
    let discinfo = format!("{time}.000000\n{short} Linux {version}\n{arch}\nALL\n");
    disk.file(&format!("{path}/.discinfo"), discinfo.as_bytes(), time)?;
    let media = format!(
        "[InstallMedia]\nname={short} Linux {version}\nmediaid={time}.000000\n\
         metadata_expire=-1\ngpgcheck=0\ncost=500\n"
    );
    disk.file(&format!("{path}/media.repo"), media.as_bytes(), time)?;
    disk.file(&format!("{path}/.treeinfo"), treeinfo(compose, tree, &images, time).as_bytes(), time)
}

fn boot_images(arch: &str) -> &'static [&'static str] {
    match arch {
        "x86_64" => &[
            "EFI/BOOT/BOOTX64.EFI",
            "EFI/BOOT/grub.cfg",
            "images/boot.iso",
            "images/efiboot.img",
            "images/install.img",
            "images/pxeboot/initrd.img",
            "images/pxeboot/vmlinuz",
            "isolinux/isolinux.bin",
        ],
        "aarch64" => &[
            "EFI/BOOT/BOOTAA64.EFI",
            "EFI/BOOT/grub.cfg",
            "images/boot.iso",
            "images/efiboot.img",
            "images/install.img",
            "images/pxeboot/initrd.img",
            "images/pxeboot/vmlinuz",
        ],
        _ => &[
            "images/boot.iso",
            "images/install.img",
            "images/pxeboot/initrd.img",
            "images/pxeboot/vmlinuz",
        ],
    }
}

/// A `.treeinfo` as productmd 1.2 writes it: sections and keys sorted, keys in their own case.
fn treeinfo(compose: &Compose, tree: &Tree, images: &[(&str, String)], time: u64) -> String {
    let Compose { short, version, .. } = compose;
    let Tree { variant, arch, .. } = tree;
    let mut text = String::new();
    if !images.is_empty() {
        text.push_str("[checksums]\n");
        for (name, sum) in images.iter().filter(|(name, _)| name.starts_with("images/")) {
            text.push_str(&format!("{name} = sha256:{sum}\n"));
        }
        text.push('\n');
    }
    text.push_str(&format!(
        "[general]\n\
         ; WARNING.0 = This section provides compatibility with pre-productmd treeinfos.\n\
         ; WARNING.1 = Read productmd documentation for details about new format.\n\
         arch = {arch}\nfamily = {short} Linux\nname = {short} Linux {version}\n\
         packagedir = Packages\nplatforms = {arch},xen\nrepository = .\ntimestamp = {time}\n\
         variant = {variant}\nvariants = {variant}\nversion = {version}\n\n\
         [header]\ntype = productmd.treeinfo\nversion = 1.2\n\n"
    ));
    let has = |name: &str| images.iter().any(|(image, _)| *image == name);
    if !images.is_empty() {
        text.push_str(&format!("[images-{arch}]\n"));
        for (key, path) in [
            ("boot.iso", "images/boot.iso"),
            ("efiboot.img", "images/efiboot.img"),
            ("initrd", "images/pxeboot/initrd.img"),
            ("kernel", "images/pxeboot/vmlinuz"),
        ] {
            if has(path) {
                text.push_str(&format!("{key} = {path}\n"));
            }
        }
        text.push_str(
            "\n[images-xen]\ninitrd = images/pxeboot/initrd.img\n\
             kernel = images/pxeboot/vmlinuz\n\n",
        );
    }
    text.push_str(&format!(
        "[release]\nname = {short} Linux\nshort = {short}\nversion = {version}\n\n"
    ));
    if has("images/install.img") {
        text.push_str("[stage2]\nmainimage = images/install.img\n\n");
    }
    text.push_str(&format!(
        "[tree]\narch = {arch}\nbuild_timestamp = {time}\nplatforms = {arch},xen\n\
         variants = {variant}\n\n\
         [variant-{variant}]\nid = {variant}\nname = {variant}\npackages = Packages\n\
         repository = .\ntype = variant\nuid = {variant}\n\n"
    ));
    text
}

pub(super) fn sha256(content: &[u8]) -> String {
    Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}
