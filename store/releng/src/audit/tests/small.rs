//! Small repos, made to measure: compressions, hostile input, what is read at all.

use std::collections::BTreeMap;
use std::sync::Mutex;

use cairn_repodata::codec::Compression;
use cairn_repodata::header::Package;
use cairn_repodata::primary::{self, Relations};
use cairn_repodata::write::{FileNames, Options as Write, RepodataBuilder};
use cairn_repodata::{Checksum, Nevra};
use cairn_store::fs::Time;
use cairn_store::id::{ObjectId, TreeId};
use cairn_store::transform::graft;
use cairn_store::tree::{Entry, FileEntry, SymlinkEntry, Tree};

use super::*;
use crate::content::Content;

const MTIME: Time = Time { secs: 1_762_000_000, nanos: 0 };

/// What a tree holds, by path.
type Files = BTreeMap<String, Vec<u8>>;

struct NoNodes;

impl Nodes for NoNodes {
    fn tree(&self, id: &TreeId) -> cairn_store::Result<std::sync::Arc<Tree>> {
        Err(cairn_store::Error::corrupt(format!("tree {id}"), "is not here"))
    }
}

/// Trees in memory and contents in a directory.
struct World {
    temp: tempfile::TempDir,
    draft: Draft<'static>,
    opened: Mutex<Vec<String>>,
}

impl World {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        Self { temp, draft: Draft::new(&NoNodes), opened: Mutex::default() }
    }

    fn root(&self, files: &Files) -> DirEntry {
        let mut root = self.draft.empty(0o755, MTIME);
        for (name, bytes) in files {
            let object = ObjectId::of(bytes);
            std::fs::write(self.temp.path().join(object.to_string()), bytes).unwrap();
            let size = bytes.len() as u64;
            let file = FileEntry { object, size, mode: 0o644, mtime: MTIME };
            root = self.with(&root, name, Entry::File(file));
        }
        root
    }

    fn with(&self, root: &DirEntry, name: &str, entry: Entry) -> DirEntry {
        graft(&self.draft, root, &path(name), Some(entry)).unwrap()
    }

    fn open(&self, file: &FileEntry, path: &RelPath) -> crate::Result<Content> {
        self.opened.lock().unwrap().push(path.to_string());
        let dir = Dir::open(self.temp.path()).unwrap();
        Ok(Content::Stored(dir.open_file(file.object.to_string().as_bytes())?.into_file()))
    }

    fn packages(&self, old: &DirEntry, new: &DirEntry, broken: Broken) -> Result<PackagesDiff> {
        let options = Options { broken, ..Options::default() };
        let source = |file: &FileEntry, path: &RelPath| self.open(file, path);
        packages_with(&self.draft, &source, Some(old), Some(new), &options)
    }

    fn metadata(&self, old: &DirEntry, new: &DirEntry, broken: Broken) -> Result<MetadataDiff> {
        let options = Options { broken, ..Options::default() };
        let source = |file: &FileEntry, path: &RelPath| self.open(file, path);
        metadata(&self.draft, &source, Some(old), Some(new), &options)
    }
}

fn package(nevra: &str) -> Package {
    let full = Nevra::parse(nevra).unwrap();
    let primary = primary::Package {
        href: format!("Packages/{nevra}.rpm"),
        pkgid: Checksum::sha256(nevra.as_bytes()),
        summary: "A package".into(),
        description: "Of which nothing is known.".into(),
        packager: String::new(),
        url: String::new(),
        file_time: MTIME.secs,
        build_time: MTIME.secs,
        package_size: 1000,
        installed_size: 2000,
        archive_size: 2000,
        base: None,
        license: "MIT".into(),
        vendor: String::new(),
        group: String::new(),
        build_host: String::new(),
        source_rpm: format!("{}-{}-{}.src.rpm", full.name, full.evr.version, full.evr.release),
        header_start: 4504,
        header_end: 8192,
        relations: Relations::default(),
        files: Vec::new(),
        nevra: full,
    };
    Package { primary, files: Vec::new(), changelogs: Vec::new() }
}

/// The metadata of a repo with plain names.
fn repo(at: &str, compression: Compression, nevras: &[&str]) -> Files {
    let names = FileNames::Plain;
    let mut builder = RepodataBuilder::new(Write { compression, names, ..Write::default() });
    for nevra in nevras {
        builder.package(&package(nevra)).unwrap();
    }
    let files = builder.finish().unwrap().into_iter();
    files.map(|file| (format!("{at}/repodata/{}", file.name), file.bytes)).collect()
}

fn replace(files: &mut Files, name: &str, from: &str, to: &str) {
    let text = String::from_utf8(files[name].clone()).unwrap();
    assert!(text.contains(from), "{from:?} is not in {text}");
    files.insert(name.to_owned(), text.replace(from, to).into_bytes());
}

#[test]
fn every_compression_is_read() {
    let world = World::new();
    let old = world.root(&repo("r", Compression::None, &["bash-5.1-1.el9.x86_64"]));
    for compression in [
        Compression::None,
        Compression::Gzip,
        Compression::Xz,
        Compression::Zstd,
        Compression::Bzip2,
    ] {
        let new = ["bash-1:5.1-2.el9.x86_64", "zsh-5.8-1.el9.x86_64"];
        let new = world.root(&repo("r", compression, &new));
        let found = world.packages(&old, &new, Broken::Refuse).unwrap();
        assert_eq!(lines(&found.upgraded), ["r bash.x86_64 5.1-1.el9 -> 1:5.1-2.el9"]);
        assert_eq!(lines(&found.added), ["r zsh.x86_64 none -> 5.8-1.el9"], "{compression}");
        let mut back = found;
        (back.upgraded, back.added) = Default::default();
        assert_eq!(back, PackagesDiff { repos_compared: 1, ..PackagesDiff::default() });
    }
}

#[test]
fn repos_that_are_equal_are_not_read() {
    let world = World::new();
    let mut files = repo("a/os", Compression::Gzip, &["bash-5.1-1.el9.x86_64"]);
    files.insert("b/README".into(), b"one".to_vec());
    let old = world.root(&files);
    files.insert("b/README".into(), b"two".to_vec());
    // In the repo, but not in its metadata.
    files.insert("a/os/EULA".into(), b"new".to_vec());
    let mut new = world.root(&files);
    // The same metadata, written at another time.
    let repomd = path("a/os/repodata/repomd.xml");
    let entry = cairn_store::tree::lookup(&world.draft, &new, &repomd).unwrap();
    let Some(Entry::File(mut file)) = entry else { panic!("{entry:?}") };
    file.mtime.secs += 1;
    new = world.with(&new, "a/os/repodata/repomd.xml", Entry::File(file));
    let panics = |_: &FileEntry, path: &RelPath| panic!("{path} was opened");
    let options = Options::default();
    let audit = compare(&world.draft, &panics, Some(&old), Some(&new), Level::Everything, &options)
        .unwrap();
    assert!(audit.packages.unwrap().is_empty() && audit.metadata.unwrap().is_empty());
    assert_eq!((audit.files.added.len(), audit.files.changed.len()), (1, 2));
    assert!(audit.files.changed[0].metadata_only);
}

#[test]
fn a_primary_that_is_the_same_is_not_read() {
    let world = World::new();
    let mut files = repo("r", Compression::Gzip, &["bash-5.1-1.el9.x86_64"]);
    let old = world.root(&files);
    replace(&mut files, "r/repodata/repomd.xml", "<repomd ", "<!-- again --><repomd ");
    let new = world.root(&files);
    let found = world.packages(&old, &new, Broken::Refuse).unwrap();
    assert!(found.is_empty() && found.repos_compared == 1);
    assert_eq!(*world.opened.lock().unwrap(), ["r/repodata/repomd.xml"; 2]);
}

#[test]
fn broken_repodata_is_named_by_its_path_and_does_not_hide_other_repos() {
    const REPOMD: &str = "r/repodata/repomd.xml";
    const PRIMARY: &str = "r/repodata/primary.xml.gz";
    type Case = (&'static str, fn(&mut Files), &'static str);
    const CASES: &[Case] = &[
        (
            "a location that leads out",
            |files| replace(files, REPOMD, "repodata/primary.xml.gz", "../../primary.xml.gz"),
            "r/repodata/repomd.xml: primary: href \"../../primary.xml.gz\" leads outside the \
             repository",
        ),
        (
            "a truncated primary",
            |files| files.get_mut(PRIMARY).unwrap().truncate(100),
            "r/repodata/primary.xml.gz: primary: expected ",
        ),
        (
            "a primary that was changed",
            |files| *files.get_mut(PRIMARY).unwrap().last_mut().unwrap() ^= 1,
            "r/repodata/primary.xml.gz: primary: expected sha256 ",
        ),
        (
            "a truncated primary that is declared so",
            |files| {
                let whole = files[PRIMARY].clone();
                files.get_mut(PRIMARY).unwrap().truncate(100);
                let [old, new] =
                    [&whole, &files[PRIMARY]].map(|bytes| Checksum::sha256(bytes).hex().to_owned());
                replace(files, REPOMD, &old, &new);
                let [old, new] = [whole.len(), 100].map(|size| format!("<size>{size}<"));
                replace(files, REPOMD, &old, &new);
            },
            "r/repodata/primary.xml.gz: truncated in its gzip data",
        ),
        (
            "a primary that is missing",
            |files| drop(files.remove(PRIMARY)),
            "r/repodata/primary.xml.gz: listed in repomd.xml as primary, but not in the tree",
        ),
        (
            "no primary at all",
            |files| replace(files, REPOMD, "type=\"primary\"", "type=\"primary_db\""),
            "r/repodata/repomd.xml: lists no primary",
        ),
        (
            "a directory in its place",
            |files| replace(files, REPOMD, "repodata/primary.xml.gz", "repodata/.//../repodata"),
            "r/repodata: a directory is not metadata",
        ),
        (
            "no repomd",
            |files| drop(files.insert(REPOMD.into(), b"<html>404</html>".to_vec())),
            "r/repodata/repomd.xml: root element is <html>, expected <repomd>",
        ),
        (
            "an empty repomd",
            |files| drop(files.insert(REPOMD.into(), Vec::new())),
            "r/repodata/repomd.xml: truncated in ",
        ),
        (
            "a repomd without end",
            |files| drop(files.insert(REPOMD.into(), vec![b' '; 5 << 20])),
            "r/repodata/repomd.xml: has 5242880 bytes, more than 4194304",
        ),
        (
            "a weak checksum",
            |files| replace(files, REPOMD, "type=\"sha256\"", "type=\"sha\""),
            "r/repodata/repomd.xml: ",
        ),
    ];
    for (label, break_it, expected) in CASES {
        let world = World::new();
        let both = |nevra: &str| {
            let mut files = repo("a", Compression::Xz, &["zsh-5.8-1.el9.x86_64"]);
            files.extend(repo("r", Compression::Gzip, &[nevra]));
            files
        };
        let (old, mut files) =
            (world.root(&both("bash-5.1-1.el9.x86_64")), both("bash-5.1-2.el9.x86_64"));
        files.extend(repo("a", Compression::Xz, &["zsh-5.9-1.el9.x86_64"]));
        break_it(&mut files);
        let new = world.root(&files);
        for (side, old, new) in [("new", old, new), ("old", new, old)] {
            let error = world.packages(&old, &new, Broken::Refuse).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with(&format!("{side} tree: {expected}")), "{label}: {text}");
            let outer = crate::Error::from(error).to_string();
            let stem = expected.trim_end_matches(' ');
            assert!(outer.starts_with(stem), "{label}: {outer}");
            assert!(outer.ends_with(&format!(" (in the {side} tree)")), "{label}: {outer}");

            let found = world.packages(&old, &new, Broken::Report).unwrap();
            assert_eq!(found.errors.len(), 1, "{label}");
            assert_eq!(found.errors[0].to_string(), text, "{label}");
            assert_eq!(found.errors[0].repo, path("r"), "{label}");
            assert_eq!(found.upgraded.len() + found.downgraded.len(), 1, "{label}");
            assert!(!files_differ(&world, &old, &new).is_empty(), "{label}");
        }
    }
}

fn files_differ(world: &World, old: &DirEntry, new: &DirEntry) -> FilesDiff {
    files(&world.draft, Some(old), Some(new), &Filter::default()).unwrap()
}

#[test]
fn both_sides_of_a_broken_repo_are_found() {
    let world = World::new();
    let [old, new] = ["<a/>", "<b/>"]
        .map(|text| world.root(&[("r/repodata/repomd.xml".to_owned(), text.into())].into()));
    let expected = [
        "old tree: r/repodata/repomd.xml: root element is <a>, expected <repomd>",
        "new tree: r/repodata/repomd.xml: root element is <b>, expected <repomd>",
    ];
    let found = world.packages(&old, &new, Broken::Report).unwrap().errors;
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    let found = world.metadata(&old, &new, Broken::Report).unwrap().errors;
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    let error = world.metadata(&old, &new, Broken::Refuse).unwrap_err();
    assert_eq!(error.to_string(), expected[0]);
}

#[test]
fn a_repomd_that_is_a_link_or_not_the_object_is_refused() {
    let world = World::new();
    let files = repo("r", Compression::Gzip, &["bash-5.1-1.el9.x86_64"]);
    let new = world.root(&files);
    let old = world.draft.empty(0o755, MTIME);
    let link = SymlinkEntry { target: b"/etc/passwd".as_slice().into(), mtime: MTIME };
    let linked = world.with(&new, "r/repodata/repomd.xml", Entry::Symlink(link));
    let error = world.packages(&old, &linked, Broken::Refuse).unwrap_err().to_string();
    assert_eq!(error, "new tree: r/repodata/repomd.xml: a symbolic link is not metadata");

    let object = ObjectId::of(&files["r/repodata/repomd.xml"]).to_string();
    std::fs::write(world.temp.path().join(&object), "<repomd/>").unwrap();
    let error = world.packages(&old, &new, Broken::Refuse).unwrap_err().to_string();
    let expected = format!("new tree: r/repodata/repomd.xml: object {object}: expected ");
    assert!(error.starts_with(&expected), "{error}");
    std::fs::remove_file(world.temp.path().join(&object)).unwrap();
    let error = world.packages(&old, &new, Broken::Refuse).unwrap_err().to_string();
    assert!(error.starts_with("new tree: r/repodata/repomd.xml: "), "{error}");
}

#[test]
fn rows_are_in_the_order_of_rpm_and_repos_may_lie_in_repos() {
    let world = World::new();
    let kernels = ["kernel-5.9-1.x86_64", "kernel-5.10-1.x86_64", "kernel-5.10~rc1-1.x86_64"];
    let mut files = repo("r", Compression::Gzip, &kernels);
    files.extend(repo("r/addons", Compression::Gzip, &["a-1-1.noarch"]));
    let (empty, new) = (world.draft.empty(0o755, MTIME), world.root(&files));
    let found = world.packages(&empty, &new, Broken::Refuse).unwrap();
    let versions: Vec<_> = found.added.iter().filter_map(|row| row.new.as_deref()).collect();
    assert_eq!(versions, ["5.9-1", "5.10~rc1-1", "5.10-1", "1-1"]);
    assert_eq!(found.repos_added, [path("r"), path("r/addons")]);

    files.extend(repo("r", Compression::Gzip, &[&kernels[..], &["kernel-5.11-1.x86_64"]].concat()));
    let newer = world.root(&files);
    let found = world.packages(&new, &newer, Broken::Refuse).unwrap();
    assert_eq!(lines(&found.upgraded), ["r kernel.x86_64 5.10-1 -> 5.11-1"]);
    assert!(found.upgraded[0].kept && found.added.is_empty());
}

#[test]
fn json_has_the_keys_of_the_command_contract() {
    let world = World::new();
    let mut files = repo("r", Compression::Gzip, &["bash-5.1-1.el9.x86_64"]);
    files.insert("old".into(), b"x".to_vec());
    let old = world.root(&files);
    files.remove("old");
    files.extend(repo("r", Compression::Gzip, &["bash-5.2-1.el9.x86_64"]));
    files.insert("r/Packages/bash-5.2-1.el9.x86_64.rpm".into(), b"rpm".to_vec());
    let new = world.root(&files);
    let source = |file: &FileEntry, path: &RelPath| world.open(file, path);
    let (level, options) = (Level::Everything, Options::default());
    let audit =
        super::compare(&world.draft, &source, Some(&old), Some(&new), level, &options).unwrap();
    let json = serde_json::to_value(&audit).unwrap();
    assert_eq!(json["files"]["added"], serde_json::json!(["r/Packages/bash-5.2-1.el9.x86_64.rpm"]));
    assert_eq!(json["files"]["removed"], serde_json::json!(["old"]));
    assert_eq!(json["files"]["changed"].as_array().unwrap().len(), 4);
    assert_eq!(json["files"]["by_repo"][0]["repo"], "");
    assert_eq!(json["files"]["by_repo"][1]["kind"], "package");
    assert_eq!(json["files"]["by_repo"][1]["files_added"], 1);
    let expected = serde_json::json!([{
        "repo": "r", "name": "bash", "arch": "x86_64", "old": "5.1-1.el9", "new": "5.2-1.el9",
        "kept": false, "alone": false, "source": "bash", "source_old": "5.1-1.el9",
        "source_new": "5.2-1.el9", "old_size": 1000, "new_size": 1000,
    }]);
    assert_eq!(json["packages"]["upgraded"], expected);
    for list in ["added", "removed", "downgraded", "rebuilt", "errors"] {
        assert_eq!(json["packages"][list], serde_json::json!([]), "{list}");
    }
    let kinds: Vec<_> =
        json["metadata"]["records"].as_array().unwrap().iter().map(|row| &row["type"]).collect();
    assert_eq!(kinds, ["filelists", "other", "primary"]);
    assert!(json["metadata"]["records"][0]["old"]["checksum"].as_str().unwrap().len() == 71);
    let files = Audit { packages: None, metadata: None, ..audit };
    assert!(serde_json::to_value(&files).unwrap().get("packages").is_none());
}

#[test]
fn metadata_that_is_only_compressed_otherwise_is_said_to_be() {
    let world = World::new();
    let files = repo("r", Compression::Gzip, &["bash-5.1-1.el9.x86_64"]);
    let (old, mut files) = (world.root(&files), files);
    files.retain(|name, _| name.ends_with("repomd.xml"));
    files.extend(repo("r", Compression::Zstd, &["bash-5.1-1.el9.x86_64"]));
    for (name, text) in [
        ("r/.treeinfo", "[general]"),
        ("r/.discinfo", "1762000000"),
        ("r/repodata/repomd.xml.asc", "signed"),
        ("RPM-GPG-KEY-Rocky-9", "key"),
        ("isos/CHECKSUM", "sums"),
        ("work/comps-BaseOS.x86_64.xml", "<comps/>"),
        ("work/x86_64/AppStream-modules.yaml", "---"),
    ] {
        files.insert(name.into(), text.into());
    }
    let new = world.root(&files);
    let found = world.metadata(&old, &new, Broken::Refuse).unwrap();
    let records: Vec<_> = found.records.iter().map(|row| (&*row.kind, row.recompressed)).collect();
    assert_eq!(records, [("filelists", true), ("other", true), ("primary", true)]);
    let kinds: Vec<_> = found.files.iter().map(|file| file.kind).collect();
    use MetadataFileKind::{Checksums, Comps, Discinfo, Key, Modules, Signature, Treeinfo};
    assert_eq!(kinds, [Key, Checksums, Discinfo, Treeinfo, Signature, Comps, Modules]);
    assert_eq!(world.packages(&old, &new, Broken::Refuse).unwrap().repos_compared, 1);
}

#[test]
fn paths_are_put_into_their_repo_or_area_and_kind() {
    use FileCategory::{Image, Other, Package, Repodata};
    let world = World::new();
    let mut files = repo("9.7/BaseOS/x86_64/os", Compression::Gzip, &[]);
    let empty = world.draft.empty(0o755, MTIME);
    const CASES: &[(&str, &str, FileCategory)] = &[
        ("9.7/BaseOS/x86_64/os/Packages/b/bash-5.1-1.x86_64.rpm", "9.7/BaseOS/x86_64/os", Package),
        ("9.7/BaseOS/x86_64/os/repodata/repomd.xml.asc", "9.7/BaseOS/x86_64/os", Repodata),
        ("9.7/BaseOS/x86_64/os/images/pxeboot/vmlinuz", "9.7/BaseOS/x86_64/os", Image),
        ("9.7/BaseOS/x86_64/os/.treeinfo", "9.7/BaseOS/x86_64/os", Other),
        ("9.7/isos/x86_64/Rocky-9.7-x86_64-boot.iso", "9.7/isos", Image),
        ("9.7/isos/x86_64/CHECKSUM", "9.7/isos", Other),
        ("9.7/images/x86_64/Rocky-9-GenericCloud.raw.xz", "9.7/images", Image),
        ("9.7/images/x86_64/Rocky-9-Container.tar.xz", "9.7/images", Image),
        ("9.7/doc.tar.xz", "9.7", Other),
        ("fullfilelist", "", Other),
    ];
    files.extend(CASES.iter().map(|(name, ..)| ((*name).to_owned(), b"x".to_vec())));
    let new = world.root(&files);
    let found = files_differ(&world, &empty, &new);
    for (name, repo, kind) in CASES {
        let row = found.added.iter().find(|row| row.path == path(name)).unwrap();
        assert_eq!((&row.repo, row.kind), (&path(repo), *kind), "{name}");
    }
    assert!(found.directories.added > 5 && found.removed.is_empty());
    let only = Filter::new(&["isos".into()], &[], &["*.iso".into()]).unwrap();
    let found = super::files(&world.draft, Some(&empty), Some(&new), &only).unwrap();
    assert_eq!(found.added.len(), 1);
    assert_eq!((found.totals.files_added, found.directories.added), (1, 0));
}

#[test]
fn a_file_that_becomes_a_directory_is_removed_and_what_is_in_it_added() {
    let world = World::new();
    let [old, new] = [["a", "b"], ["a/x", "b"]]
        .map(|names| world.root(&names.map(|name| (name.to_owned(), b"x".to_vec())).into()));
    let link = SymlinkEntry { target: b"a".as_slice().into(), mtime: MTIME };
    let new = world.with(&new, "b", Entry::Symlink(link));
    let found = files_differ(&world, &old, &new);
    let names = |rows: &[FileRow]| rows.iter().map(|row| row.path.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&found.removed), ["a"]);
    assert_eq!(names(&found.added), ["a/x"]);
    assert_eq!(names(&found.changed), ["b"]);
    assert_eq!((found.changed[0].old_size, found.changed[0].new_size), (Some(1), Some(0)));
}
