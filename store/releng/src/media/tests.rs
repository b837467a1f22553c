//! Listing images, with xorriso and genisoimage as the other opinion, and with images that lie.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "the tests lay out trees for other tools, and say which of these are missing"
)]

use std::fs;
use std::io::Cursor;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::iso9660::{Fault, paths};
use crate::sample::iso;

const SECTOR: usize = 2048;

fn list(image: &[u8]) -> Result<Vec<String>, String> {
    let found = paths(Cursor::new(image), image.len() as u64);
    let text = |path: Vec<u8>| String::from_utf8_lossy(&path).into_owned();
    found.map(|paths| paths.into_iter().map(text).collect()).map_err(|fault| fault.to_string())
}

/// Runs a tool; nothing where it is not installed.
fn run(tool: &str, args: &[&str], dir: &Path) -> Option<Vec<u8>> {
    let output = match Command::new(tool).args(args).current_dir(dir).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("not tested: {tool} is not installed");
            return None;
        }
        Err(error) => panic!("{tool}: {error}"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {args:?}: {said}");
    Some(output.stdout)
}

/// What xorriso lists, made into lines as a manifest has them.
fn xorriso(image: &str, dir: &Path) -> Option<Vec<String>> {
    let out = run("xorriso", &["-indev", image, "-find", "/"], dir)?;
    let out = String::from_utf8_lossy(&out).into_owned();
    let line = |line: &str| line.trim_matches('\'').replace("'\"'\"'", "'");
    let mut lines: Vec<String> = out.lines().map(line).filter(|line| line != "/").collect();
    lines.sort();
    Some(lines)
}

/// A tree that is like an installation image's, with what is hard about one.
fn tree(root: &Path) {
    let put = |path: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "content\n").unwrap();
    };
    put(".discinfo");
    put("EFI/BOOT/grub.cfg");
    put("images/pxeboot/vmlinuz");
    put(&format!("Packages/l/{}", "long-name.".repeat(24)));
    put("it's a 'file' with blanks");
    put("deep/2/3/4/5/6/7/8/9/10/11/file");
    put("LiveOS/squashfs.img");
    put("ünïcode-ß");
    fs::write(root.join("empty"), "").unwrap();
    fs::create_dir(root.join("empty directory")).unwrap();
    symlink("EFI/BOOT", root.join("link")).unwrap();
    for number in 0..300 {
        put(&format!("many/package-{number}.rpm"));
    }
}

#[test]
fn a_listing_is_what_xorriso_lists() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    tree(&dir.join("tree"));
    let cases: &[(&str, &[&str])] = &[
        ("xorriso", &["-as", "mkisofs", "-quiet", "-r", "-J", "-V", "T", "-o"]),
        ("xorriso", &["-as", "mkisofs", "-quiet", "-r", "-iso-level", "3", "-o"]),
        // Deep directories lie elsewhere, and are found again by their child links.
        ("genisoimage", &["-quiet", "-r", "-J", "-joliet-long", "-hide-rr-moved", "-o"]),
        ("genisoimage", &["-quiet", "-r", "-T", "-o"]),
    ];
    for (number, (tool, args)) in cases.iter().enumerate() {
        let name = format!("{number}.iso");
        let mut args = args.to_vec();
        args.extend([name.as_str(), "tree"]);
        if run(tool, &args, dir).is_none() {
            continue;
        }
        let Some(expected) = xorriso(&name, dir) else { return };
        assert!(expected.len() > 300, "{tool} {args:?}: xorriso lists {}", expected.len());
        let found = list(&fs::read(dir.join(&name)).unwrap());
        assert_eq!(found, Ok(expected), "{tool} {args:?}");
    }
}

#[test]
fn without_rock_ridge_the_names_are_those_of_joliet_or_plain() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    fs::create_dir_all(dir.join("tree/Some Directory")).unwrap();
    fs::write(dir.join("tree/Some Directory/a long file name.txt"), "x").unwrap();
    fs::write(dir.join("tree/readme"), "x").unwrap();
    for (name, flags) in [("joliet.iso", &["-J"][..]), ("plain.iso", &[])] {
        let mut args = vec!["-quiet"];
        args.extend(flags);
        args.extend(["-o", name, "tree"]);
        if run("genisoimage", &args, dir).is_none() {
            return;
        }
        let found = list(&fs::read(dir.join(name)).unwrap()).unwrap();
        let Some(expected) = xorriso(name, dir) else { return };
        assert_eq!(found, expected, "{name}");
    }
}

fn sample() -> Vec<u8> {
    let files: &[(&str, &[u8])] = &[
        (".discinfo", b"1"),
        ("EFI/BOOT/grub.cfg", b"set timeout=60"),
        ("images/pxeboot/vmlinuz", &[7; 5000]),
        ("empty", b""),
    ];
    iso("Rocky-9-7-x86_64-dvd", files, 1_762_000_000)
}

#[test]
fn the_image_of_the_sample_is_one_to_xorriso_too() {
    let expected = [
        "/.discinfo",
        "/EFI",
        "/EFI/BOOT",
        "/EFI/BOOT/grub.cfg",
        "/empty",
        "/images",
        "/images/pxeboot",
        "/images/pxeboot/vmlinuz",
    ];
    let image = sample();
    assert_eq!(list(&image).unwrap(), expected);
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("sample.iso"), image).unwrap();
    let Some(found) = xorriso("sample.iso", temp.path()) else { return };
    assert_eq!(found, expected);
    let args = ["-osirrox", "on", "-indev", "sample.iso", "-extract", "/", "out"];
    run("xorriso", &args, temp.path()).unwrap();
    let vmlinuz = temp.path().join("out/images/pxeboot/vmlinuz");
    assert_eq!(fs::read(vmlinuz).unwrap(), [7; 5000]);
}

/// Where the records of the sample's root begin, and the record of a name in it.
fn root_record(image: &[u8], name: &str) -> usize {
    let root = u32::from_le_bytes(image[16 * SECTOR + 158..][..4].try_into().unwrap()) as usize;
    let found = |at: &usize| image[*at..].starts_with(name.as_bytes());
    let at = (root * SECTOR..(root + 1) * SECTOR).find(found).unwrap();
    // The name stands in an NM entry of 5 bytes before it, that in a record of 33 and a plain name.
    let mut start = root * SECTOR;
    while start + usize::from(image[start]) <= at {
        start += usize::from(image[start]);
    }
    start
}

#[test]
fn images_that_lie_are_refused_with_the_reason() {
    let good = sample();
    let with = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut image = good.clone();
        edit(&mut image);
        list(&image).unwrap_err()
    };
    let pvd = 16 * SECTOR;
    let loops = with(&|image| {
        let root = image[pvd + 158..pvd + 162].to_vec();
        let at = root_record(image, "EFI");
        image[at + 2..at + 6].copy_from_slice(&root);
    });
    assert!(loops.contains("names a directory twice"), "{loops}");
    let huge = with(&|image| {
        let at = root_record(image, "images");
        image[at + 10..at + 14].copy_from_slice(&u32::MAX.to_le_bytes());
    });
    assert!(huge.contains("is cut short: images in the root directory"), "{huge}");
    let far = with(&|image| {
        let at = root_record(image, ".discinfo");
        image[at + 2..at + 6].copy_from_slice(&u32::MAX.to_le_bytes());
    });
    assert!(far.contains("is cut short: .discinfo in"), "{far}");
    let line = with(&|image| {
        let at = root_record(image, "empty");
        let name = image[at..].windows(5).position(|five| five == b"empty").unwrap();
        image[at + name + 2] = b'\n';
    });
    assert!(line.contains("control character") && line.contains("em\\nty"), "{line}");
    let slash = with(&|image| {
        let at = root_record(image, "empty");
        let name = image[at..].windows(5).position(|five| five == b"empty").unwrap();
        image[at + name + 2] = b'/';
    });
    assert!(slash.contains("has a slash"), "{slash}");
    let above = list(&iso("T", &[("..", b"")], 0)).unwrap_err();
    assert!(above.contains("is not one"), "{above}");
    let blocks = with(&|image| image[pvd + 128] = 1);
    assert!(blocks.contains("blocks of 2049 bytes"), "{blocks}");
    let none = with(&|image| image[pvd + 1] = b'X');
    assert!(none.contains("no volume descriptor"), "{none}");
    let endless = with(&|image| {
        // One continuation area that names itself.
        let at = root_record(image, ".discinfo");
        let length = usize::from(image[at]);
        let area = at + 33 + usize::from(image[at + 32]) + usize::from(image[at + 32] % 2 == 0);
        let mut entry = b"CE\x1c\x01".to_vec();
        for number in [(area / SECTOR) as u32, (area % SECTOR) as u32, 28] {
            entry.extend(number.to_le_bytes());
            entry.extend(number.to_be_bytes());
        }
        assert!(area + 28 <= at + length, "there is room in the record");
        image[area..area + 28].copy_from_slice(&entry);
    });
    assert!(endless.contains("without an end"), "{endless}");
    for size in [0, 1, 2048, 16 * SECTOR + 100] {
        let small = list(&good[..size]).unwrap_err();
        assert!(small.contains("too small"), "{size}: {small}");
    }
    assert!(matches!(paths(Cursor::new(&good[..]), 0), Err(Fault::Wrong(_))));
}

#[test]
fn continuation_areas_that_many_records_share_end_somewhere() {
    // 12,000 files whose records all go on in the same 32 KiB, for as often as is allowed.
    let names: Vec<String> = (0..12_000).map(|number| format!("{number:060}")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    let mut image = iso("T", &files, 0);
    let shared = image.len();
    image.resize(shared + (32 << 10), 0);
    let continued = |entry: &mut [u8]| {
        entry[..4].copy_from_slice(b"CE\x1c\x01");
        for (at, number) in [(4, shared / SECTOR), (12, 0), (20, 32 << 10)] {
            entry[at..at + 4].copy_from_slice(&(number as u32).to_le_bytes());
            entry[at + 4..at + 8].copy_from_slice(&(number as u32).to_be_bytes());
        }
    };
    let mut edited = 0;
    for at in 0..shared {
        // The mode of a file, which nobody needs for its name.
        if image[at..].starts_with(b"PX\x24\x01") {
            continued(&mut image[at..at + 28]);
            // What is left of it is an entry of 8 bytes that means nothing.
            image[at + 28..at + 32].copy_from_slice(b"XX\x08\x01");
            edited += 1;
        }
    }
    assert!(edited > 12_000);
    let refused = list(&image).unwrap_err();
    assert!(refused.contains("bytes of continuation areas"), "{refused}");
}

#[test]
fn an_image_that_is_cut_anywhere_is_refused() {
    let good = sample();
    for sectors in 17..good.len() / SECTOR {
        let cut = list(&good[..sectors * SECTOR]).unwrap_err();
        assert!(cut.contains("is cut short"), "{sectors} sectors: {cut}");
    }
}

proptest! {
    // An image of which some bytes are others is listed or refused, and nothing else happens.
    #[test]
    fn damaged_images_never_panic(edits in prop::collection::vec((0usize..0x3000, any::<u8>()), 1..20)) {
        let mut image = sample();
        for (at, byte) in edits {
            let at = (16 * SECTOR + at).min(image.len() - 1);
            image[at] = byte;
        }
        if let Ok(found) = list(&image) {
            prop_assert!(found.iter().all(|path| path.starts_with('/') && !path.contains('\n')));
        }
    }
}
