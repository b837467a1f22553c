//! Media of a minor release: where images go, what leads to them, and what is said of them, with
//! xorriso, sha256sum and gpg as the other opinion.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cairn_testkit::sample::{Compose, Written, iso};
use cairn_testkit::{Keys, Run, World, available, tool, treecmp};
use serde_json::Value;

use crate::world;

/// What the procedure makes of one architecture's media: files and links by their path, and where a
/// link leads.
struct Case {
    major: &'static str,
    version: &'static str,
    staged: &'static str,
    /// Files of the compose beside the installation images that every sample has.
    given: &'static [&'static str],
    /// Images in the release.
    files: &'static [&'static str],
    /// Links in the release.
    links: &'static [(&'static str, &'static str)],
}

const CASES: [Case; 3] = [
    Case {
        major: "8",
        version: "8.10",
        staged: "8.10-RC2",
        given: &[
            "live/x86_64/iso/Rocky-8.10-KDE-x86_64-20251101.0.iso",
            "images/x86_64/images/Rocky-8-Vagrant-Vbox-8.10-20251101.0.x86_64.vagrant.virtualbox.box",
        ],
        files: &[
            "images/x86_64/Rocky-8-GenericCloud-Base-8.10-20251101.0.x86_64.qcow2",
            "images/x86_64/Rocky-8-Vagrant-Vbox-8.10-20251101.0.x86_64.box",
            "isos/x86_64/Rocky-8.10-x86_64-boot.iso",
            "isos/x86_64/Rocky-8.10-x86_64-dvd1.iso",
            "isos/x86_64/Rocky-8.10-x86_64-minimal.iso",
            "live/x86_64/Rocky-8.10-KDE-x86_64-20251101.0.iso",
        ],
        links: &[
            (
                "images/x86_64/Rocky-8-GenericCloud-Base.latest.x86_64.qcow2",
                "Rocky-8-GenericCloud-Base-8.10-20251101.0.x86_64.qcow2",
            ),
            (
                "images/x86_64/Rocky-8-Vagrant-Vbox.latest.x86_64.box",
                "Rocky-8-Vagrant-Vbox-8.10-20251101.0.x86_64.box",
            ),
            ("isos/x86_64/Rocky-8-latest-x86_64-boot.iso", "Rocky-8.10-x86_64-boot.iso"),
            ("isos/x86_64/Rocky-8-latest-x86_64-dvd.iso", "Rocky-8.10-x86_64-dvd1.iso"),
            ("isos/x86_64/Rocky-8-latest-x86_64-minimal.iso", "Rocky-8.10-x86_64-minimal.iso"),
            ("live/x86_64/Rocky-8-KDE-x86_64-latest.iso", "Rocky-8.10-KDE-x86_64-20251101.0.iso"),
        ],
    },
    Case {
        major: "9",
        version: "9.7",
        staged: "9.7-RC2",
        given: &[
            // Two builds of one kind: the newer one is the latest.
            "images/x86_64/images/Rocky-9-EC2-Base-9.7-20251101.9.x86_64.qcow2",
            "images/x86_64/images/Rocky-9-EC2-Base-9.7-20251101.10.x86_64.qcow2",
            "images/x86_64/README",
            // Sums and lists of the builders are made anew, or belong to nothing.
            "images/x86_64/images/CHECKSUM",
            "images/x86_64/CHECKSUM.asc",
            "BaseOS/x86_64/iso/CHECKSUM",
            "Minimal/x86_64/iso/CHECKSUM",
            "BaseOS/x86_64/iso/Rocky-9.7-x86_64-boot.iso.manifest",
            // A boot image again, of another variant.
            "Minimal/x86_64/iso/Rocky-9.7-20251101.0-x86_64-boot.iso",
        ],
        files: &[
            "images/x86_64/README",
            "images/x86_64/Rocky-9-EC2-Base-9.7-20251101.10.x86_64.qcow2",
            "images/x86_64/Rocky-9-EC2-Base-9.7-20251101.9.x86_64.qcow2",
            "images/x86_64/Rocky-9-GenericCloud-Base-9.7-20251101.0.x86_64.qcow2",
            "isos/x86_64/Rocky-9.7-x86_64-boot.iso",
            "isos/x86_64/Rocky-9.7-x86_64-dvd.iso",
            "isos/x86_64/Rocky-9.7-x86_64-minimal.iso",
        ],
        links: &[
            (
                "images/x86_64/Rocky-9-EC2-Base.latest.x86_64.qcow2",
                "Rocky-9-EC2-Base-9.7-20251101.10.x86_64.qcow2",
            ),
            (
                "images/x86_64/Rocky-9-GenericCloud-Base.latest.x86_64.qcow2",
                "Rocky-9-GenericCloud-Base-9.7-20251101.0.x86_64.qcow2",
            ),
            ("isos/x86_64/Rocky-9-latest-x86_64-boot.iso", "Rocky-9.7-x86_64-boot.iso"),
            ("isos/x86_64/Rocky-9-latest-x86_64-dvd.iso", "Rocky-9.7-x86_64-dvd.iso"),
            ("isos/x86_64/Rocky-9-latest-x86_64-minimal.iso", "Rocky-9.7-x86_64-minimal.iso"),
        ],
    },
    Case {
        major: "10",
        version: "10.1",
        staged: "10.1-RC1",
        given: &[
            "images/x86_64/images/Rocky-10-Container-Base-10.1-20251101.0.x86_64.oci.tar.xz",
            "live/x86_64/iso/Rocky-10.1-Workstation-Lite-x86_64-20251101.0.iso",
        ],
        files: &[
            "images/x86_64/Rocky-10-Container-Base-10.1-20251101.0.x86_64.oci.tar.xz",
            "images/x86_64/Rocky-10-GenericCloud-Base-10.1-20251101.0.x86_64.qcow2",
            "isos/x86_64/Rocky-10.1-x86_64-boot.iso",
            "isos/x86_64/Rocky-10.1-x86_64-dvd.iso",
            "isos/x86_64/Rocky-10.1-x86_64-minimal.iso",
            "live/x86_64/Rocky-10.1-Workstation-Lite-x86_64-20251101.0.iso",
        ],
        links: &[
            (
                "images/x86_64/Rocky-10-Container-Base.latest.x86_64.tar.xz",
                "Rocky-10-Container-Base-10.1-20251101.0.x86_64.oci.tar.xz",
            ),
            (
                "images/x86_64/Rocky-10-GenericCloud-Base.latest.x86_64.qcow2",
                "Rocky-10-GenericCloud-Base-10.1-20251101.0.x86_64.qcow2",
            ),
            ("isos/x86_64/Rocky-10-latest-x86_64-boot.iso", "Rocky-10.1-x86_64-boot.iso"),
            ("isos/x86_64/Rocky-10-latest-x86_64-dvd.iso", "Rocky-10.1-x86_64-dvd.iso"),
            ("isos/x86_64/Rocky-10-latest-x86_64-minimal.iso", "Rocky-10.1-x86_64-minimal.iso"),
            (
                "live/x86_64/Rocky-10-Workstation-Lite-x86_64-latest.iso",
                "Rocky-10.1-Workstation-Lite-x86_64-20251101.0.iso",
            ),
        ],
    },
];

const NINE: &Case = &CASES[1];

impl Case {
    /// The release's one compose, without what the case adds.
    fn bare(&self) -> Compose {
        Compose::new(self.major, "Rocky", self.version, "20251101.0")
            .repo("BaseOS", "x86_64")
            .package("bash", format!("5.1.8-9.el{}", self.major))
    }

    fn compose(&self) -> Compose {
        let content = |path: &&str| format!("the content of {path}\n");
        let add = |compose: Compose, path: &&'static str| {
            compose.file(format!("compose/{path}"), content(path))
        };
        self.given.iter().fold(self.bare(), add)
    }

    fn view(&self, world: &World) -> PathBuf {
        world.staging("mirror/pub/rocky").join(self.staged)
    }

    /// Ingests a compose and stages it.
    #[track_caller]
    fn minor(&self, world: &World, compose: &Compose) -> (Written, Value) {
        let written = self.ingest(world, compose);
        (written, world.json(["minor", self.major]))
    }

    #[track_caller]
    fn ingest(&self, world: &World, compose: &Compose) -> Written {
        let written = compose.write(&world.places().compose).unwrap();
        world.cairn(["ingest", written.dir.to_str().unwrap()]).ok();
        written
    }
}

/// A world with releases 8, 9 and 10, each made of one compose.
fn releases() -> World {
    let world = world();
    let text = fs::read_to_string(world.config()).unwrap();
    let (before, _) = text.split_once("[release.9]").unwrap();
    let of = |case: &Case| {
        let Case { major, version, staged, .. } = case;
        let suffix = staged.strip_prefix(version).unwrap();
        format!(
            "[release.{major}]\narches = [\"x86_64\", \"aarch64\"]\ncomposes = [\"Rocky\"]\n\
             image_types = [\"images\", \"live\"]\n\
             channel.stable = {{ version = \"{version}\", staging_suffix = \"{suffix}\" }}\n"
        )
    };
    world.set_config(&format!("{before}{}", CASES.iter().map(of).collect::<String>()));
    world.cairn(["init"]).ok();
    world
}

/// Everything in the directories of media: where a link leads, or nothing for a file.
fn media(view: &Path) -> BTreeMap<String, Option<String>> {
    let mut found = BTreeMap::new();
    for kind in ["isos", "images", "live"] {
        for arch in fs::read_dir(view.join(kind)).into_iter().flatten() {
            for entry in fs::read_dir(arch.unwrap().path()).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(view).unwrap().to_str().unwrap().to_owned();
                let target = fs::read_link(&path).ok();
                found.insert(name, target.map(|target| target.to_str().unwrap().to_owned()));
            }
        }
    }
    found
}

#[test]
fn images_are_sorted_linked_listed_and_summed_as_the_procedure_says() {
    let world = releases();
    for case in &CASES {
        let (written, report) = case.minor(&world, &case.compose());
        let before = treecmp::digest(&written.dir);
        let view = case.view(&world);

        let mut expected: BTreeMap<String, Option<String>> =
            case.files.iter().map(|path| ((*path).to_owned(), None)).collect();
        let link = |(path, target): &(&str, &str)| ((*path).to_owned(), Some((*target).to_owned()));
        expected.extend(case.links.iter().map(link));
        let images: Vec<String> = expected.keys().cloned().collect();
        for image in &images {
            expected.insert(format!("{image}.CHECKSUM"), None);
            if image.starts_with("isos/") {
                expected.insert(format!("{image}.manifest"), None);
            }
            let dir = Path::new(image).parent().unwrap();
            expected.insert(dir.join("CHECKSUM").to_str().unwrap().to_owned(), None);
        }
        assert_eq!(media(&view), expected, "{}", case.version);
        for gone in ["BaseOS/x86_64/iso", "Minimal", "images/x86_64/images", "live/x86_64/iso"] {
            assert!(!view.join(gone).exists(), "{gone}");
        }
        assert_sums(&view, &images);
        assert_manifests(&view, &images);

        let told = |key: &str| -> BTreeSet<String> {
            let rows = report["media"][key].as_array().unwrap().iter();
            rows.map(|row| row.as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(told("images"), case.files.iter().map(|path| (*path).to_owned()).collect());
        assert_eq!(report["media"]["links"].as_array().unwrap().len(), case.links.len());

        // The compose stays, and again nothing happens.
        assert_eq!(treecmp::digest(&written.dir), before);
        let again = world.json(["minor", case.major]);
        assert_eq!(again["operation"], Value::Null, "{}", case.version);
        assert_eq!(again["refs"][0]["old"], again["refs"][0]["new"]);
    }
    world.cairn(["fsck", "--full"]).ok();
}

/// Checks every file of checksums by its form, and by sha256sum.
#[track_caller]
fn assert_sums(view: &Path, images: &[String]) {
    let mut joined: BTreeMap<PathBuf, String> = BTreeMap::new();
    for image in images {
        let path = view.join(image);
        let (dir, name) = (path.parent().unwrap(), path.file_name().unwrap().to_str().unwrap());
        let text = fs::read_to_string(dir.join(format!("{name}.CHECKSUM"))).unwrap();
        let sum = Run::of(Command::new("sha256sum").args(["--tag", name]).current_dir(dir)).ok();
        let size = fs::metadata(&path).unwrap().len();
        assert_eq!(text, format!("# {name}: {size} bytes\n{}", sum.out()));
        joined.entry(dir.join("CHECKSUM")).or_default().push_str(&text);
    }
    for (path, text) in joined {
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        let dir = path.parent().unwrap();
        let check = ["-c", "--strict", "--quiet", "CHECKSUM"];
        Run::of(Command::new("sha256sum").args(check).current_dir(dir)).ok();
    }
}

/// Checks every list of an image's content against xorriso's.
#[track_caller]
fn assert_manifests(view: &Path, images: &[String]) {
    if available(tool("xorriso")).is_none() {
        return;
    }
    for image in images.iter().filter(|image| image.starts_with("isos/")) {
        let path = view.join(image);
        let listed =
            Run::of(Command::new("xorriso").arg("-dev").arg(&path).arg("--find")).ok().out();
        // As './a/b'; the first line is the root.
        let line = |line: &str| line.trim_matches('\'').strip_prefix('.').unwrap().to_owned();
        let mut lines: Vec<String> = listed.lines().skip(1).map(line).collect();
        lines.sort();
        assert!(lines.contains(&"/images/pxeboot/initrd.img".to_owned()), "{lines:?}");
        let manifest = fs::read_to_string(view.join(format!("{image}.manifest"))).unwrap();
        assert_eq!(manifest.lines().collect::<Vec<_>>(), lines, "{image}");
        assert!(manifest.ends_with('\n'));
    }
}

#[test]
fn an_image_that_xorriso_made_is_listed_as_xorriso_lists_it() {
    if available(tool("xorriso")).is_none() {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let tree = temp.path().join("tree");
    for path in [
        "EFI/BOOT/BOOTX64.EFI",
        "BaseOS/Packages/l/linux-firmware-20251016-156.el9.noarch.rpm",
        "BaseOS/repodata/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef-primary.xml.gz",
        "isolinux/isolinux.bin",
        ".treeinfo",
        "it's here",
    ] {
        let path = tree.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "content of a bootable image\n".repeat(100)).unwrap();
    }
    let image = temp.path().join("image.iso");
    let mut command = Command::new("xorriso");
    command.args(["-as", "mkisofs", "-quiet", "-V", "Rocky-9-7-x86_64-dvd", "-R", "-J"]);
    command.args(["-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat"]);
    command.args(["-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]);
    Run::of(command.arg("-o").arg(&image).arg(&tree)).ok();

    let world = releases();
    let compose = NINE
        .bare()
        .packages_only()
        .file("compose/BaseOS/x86_64/iso/Rocky-9.7-x86_64-dvd.iso", fs::read(&image).unwrap());
    NINE.minor(&world, &compose);
    let manifest = NINE.view(&world).join("isos/x86_64/Rocky-9.7-x86_64-dvd.iso.manifest");
    let expected = "/.treeinfo\n/BaseOS\n/BaseOS/Packages\n/BaseOS/Packages/l\n\
        /BaseOS/Packages/l/linux-firmware-20251016-156.el9.noarch.rpm\n/BaseOS/repodata\n\
        /BaseOS/repodata/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef-primary.xml.gz\n\
        /EFI\n/EFI/BOOT\n/EFI/BOOT/BOOTX64.EFI\n/isolinux\n/isolinux/boot.cat\n\
        /isolinux/isolinux.bin\n/it's here\n";
    assert_eq!(fs::read_to_string(manifest).unwrap(), expected);
}

#[test]
fn checksums_are_signed_where_the_configuration_says_so_and_the_signature_stays() {
    let Some(keys) = available(Keys::new(&["Rocky"])) else { return };
    let mut world = releases();
    world.env("GNUPGHOME", keys.home());
    keys.public("RPM-GPG-KEY-9", &["Rocky"]);
    let before = fs::read_to_string(world.config()).unwrap();
    let sign = |more: &str| {
        let key = keys.path("RPM-GPG-KEY-{major}");
        let key = key.display();
        world.set_config(&format!(
            "{before}\n[sign]\nkey = \"Rocky\"\nverify_key = \"{key}\"\n{more}\n"
        ));
    };
    let signature = || fs::read(NINE.view(&world).join("isos/x86_64/CHECKSUM.asc")).ok();
    sign("");
    NINE.minor(&world, &NINE.bare());
    assert_eq!(signature(), None, "nobody asked for it");

    sign("checksums = true");
    let planned = world.json(["minor", "9", "-n"]);
    let signed = ["images/x86_64/CHECKSUM", "isos/x86_64/CHECKSUM"];
    assert_eq!(planned["media"]["signed"], serde_json::json!(signed));
    assert_eq!(signature(), None, "a plan writes nothing");
    let report = world.json(["minor", "9"]);
    assert_eq!(report["media"]["signed"], serde_json::json!(signed));
    let first = signature().unwrap();
    let dir = NINE.view(&world).join("isos/x86_64");
    let mut gpg = Command::new("gpg");
    gpg.env("GNUPGHOME", keys.home()).args(["--batch", "--verify", "CHECKSUM.asc", "CHECKSUM"]);
    Run::of(gpg.current_dir(&dir)).ok();

    // gpg would make another; what is good stays, and again nothing happens.
    assert_eq!(world.json(["minor", "9"])["operation"], Value::Null);
    // Another image in one directory: only that directory is signed anew.
    let compose = Compose::new("9", "Rocky", "9.7", "20251102.0")
        .repo("BaseOS", "x86_64")
        .package("bash", "5.1.8-9.el9")
        .packages_only()
        .file(
            "compose/BaseOS/x86_64/iso/Rocky-9.7-x86_64-boot.iso",
            iso("another", &[("file", b"content")], 0),
        )
        .file(
            "compose/images/x86_64/Rocky-9-GenericCloud-Base-9.7-20251101.0.x86_64.qcow2",
            fs::read(
                NINE.view(&world)
                    .join("images/x86_64/Rocky-9-GenericCloud-Base-9.7-20251101.0.x86_64.qcow2"),
            )
            .unwrap(),
        );
    let cloud = fs::read(NINE.view(&world).join("images/x86_64/CHECKSUM.asc")).unwrap();
    let (_, report) = NINE.minor(&world, &compose);
    assert_eq!(report["media"]["signed"], serde_json::json!(["isos/x86_64/CHECKSUM"]));
    assert_ne!(signature().unwrap(), first);
    let again = fs::read(NINE.view(&world).join("images/x86_64/CHECKSUM.asc")).unwrap();
    assert_eq!(again, cloud);
}

/// Files of a compose.
type Files<'a> = &'a [(&'a str, &'a [u8])];

#[test]
fn media_that_cannot_be_published_are_refused_by_name_and_nothing_changes() {
    let good = iso("good", &[("EFI/BOOT/grub.cfg", b"set"), ("big", &[1; 9000])], 0);
    let other = iso("other", &[("file", b"content")], 0);
    let line = iso("line", &[("a\nb", b"")], 0);
    let boot = "BaseOS/x86_64/iso/Rocky-9.7-x86_64-boot.iso";
    let again = "Minimal/x86_64/iso/Rocky-9.7-x86_64-boot.iso";
    let cases: &[(Files<'_>, &[&str])] = &[
        (&[(boot, b"not an image")], &[boot, "is no ISO 9660 image"]),
        (&[(boot, &[0; 40_000])], &[boot, "is no ISO 9660 image"]),
        (&[(boot, &good[..good.len() - 2048])], &[boot, "is cut short"]),
        (&[(boot, &line)], &[boot, "control character", "a\\nb"]),
        (&[(boot, &good), (again, &other)], &[boot, again, "another file of the same name"]),
        (
            &[(boot, &good), ("isos/x86_64/Rocky-9-latest-x86_64-boot.iso", &other)],
            &["isos/x86_64/Rocky-9-latest-x86_64-boot.iso", "name of the link"],
        ),
        (
            &[("images/x86_64/images/a\nb.qcow2", b"x")],
            &["images/x86_64/images/a\\nb.qcow2", "control character"],
        ),
        (&[("images/x86_64/a\\b.qcow2", b"x")], &["images/x86_64/a", "backslash"]),
        (&[("isos/x86_64", b"x")], &["isos/x86_64", "not a directory"]),
        (
            &[
                ("images/x86_64/A-9.7-1.0.x86_64.vagrant.libvirt.box", b"one"),
                ("images/x86_64/A-9.7-1.0.x86_64.vagrant.virtualbox.box", b"two"),
            ],
            &["vagrant.libvirt.box", "vagrant.virtualbox.box", "same name"],
        ),
    ];
    let world = releases();
    for (number, (files, said)) in cases.iter().enumerate() {
        let mut compose = Compose::new("9", "Rocky", "9.7", format!("20251101.{number}"))
            .packages_only()
            .repo("BaseOS", "x86_64")
            .package("bash", "5.1.8-9.el9");
        for (path, content) in *files {
            compose = compose.file(format!("compose/{path}"), *content);
        }
        NINE.ingest(&world, &compose);
        for args in [&["minor", "9", "-n"][..], &["minor", "9"]] {
            let run = world.cairn(args).exits(1);
            for text in *said {
                assert!(run.err().contains(text), "no {text:?} in {}", run.err());
            }
        }
    }
    assert!(!NINE.view(&world).exists());
}

#[test]
fn the_same_image_in_two_places_is_one_and_the_newest_links_win() {
    let world = releases();
    let good = iso("good", &[("file", b"content")], 0);
    // As a compose is that the scripts have been at: sorted, with links of the version before.
    let compose = NINE
        .bare()
        .packages_only()
        .file("compose/BaseOS/x86_64/iso/Rocky-9.7-x86_64-boot.iso", good.clone())
        .file("compose/isos/x86_64/Rocky-9.7-x86_64-boot.iso", good.clone())
        .file("compose/isos/x86_64/Rocky-9.7-x86_64-dvd1.iso", good.clone())
        .file("compose/isos/x86_64/Rocky-9.7-x86_64-dvd.iso", good.clone())
        .symlink("compose/isos/x86_64/Rocky-9-latest-x86_64-boot.iso", "Rocky-9.6-x86_64-boot.iso")
        .symlink("compose/isos/x86_64/Rocky-x86_64-boot.iso", "Rocky-9.7-x86_64-boot.iso")
        .symlink("compose/isos/x86_64/round.iso", "round.iso")
        .symlink("compose/isos/x86_64/away.iso", "../../elsewhere.iso");
    NINE.minor(&world, &compose);
    let view = NINE.view(&world);
    let found = media(&view);
    let target = |name: &str| found[&format!("isos/x86_64/{name}")].clone().unwrap();
    assert_eq!(target("Rocky-9-latest-x86_64-boot.iso"), "Rocky-9.7-x86_64-boot.iso");
    assert_eq!(target("Rocky-9-latest-x86_64-dvd.iso"), "Rocky-9.7-x86_64-dvd.iso");
    assert_eq!(target("Rocky-x86_64-boot.iso"), "Rocky-9.7-x86_64-boot.iso");
    let sums = fs::read_to_string(view.join("isos/x86_64/CHECKSUM")).unwrap();
    let named = |name: &str| sums.contains(&format!("SHA256 ({name}) = "));
    assert!(named("Rocky-x86_64-boot.iso") && named("Rocky-9-latest-x86_64-dvd.iso"));
    assert!(!named("round.iso") && !named("away.iso"), "{sums}");
    assert!(!found.contains_key("isos/x86_64/round.iso.CHECKSUM"));
}
