#![expect(clippy::disallowed_methods, reason = "tests make pools on disk")]

use std::path::Path;

use cairn_store::fs::Dir;
use cairn_store::ingest::How;
use cairn_store::mount::MountSpec;
use cairn_store::pool::LinkMode;
use cairn_store::progress::Silent;
use cairn_store::store::{Session, Store};
use cairn_store::tree::Draft;

use super::*;
use crate::content::from_pools;
use crate::sample;

mod review;
mod small;

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

/// A store with one mount in a directory.
fn store(root: &Path) -> Store {
    let mount = root.join("mount");
    std::fs::create_dir(&mount).unwrap();
    let spec = MountSpec {
        name: "staging".into(),
        pool: mount.join(".cairn"),
        path: mount,
        owner: None,
        link: LinkMode::Auto,
        swap: None,
        keep_trees: Default::default(),
        answer_within: Default::default(),
        grace: Default::default(),
        home: true,
    };
    Store::init(&root.join("store"), &[spec], Session::default()).unwrap()
}

/// Ingests the sample's two composes and hands them on.
fn with_samples(check: impl FnOnce(&Draft<'_>, &Source<'_>, DirEntry, DirEntry)) {
    with_composes([&sample::first, &sample::second], check);
}

/// Writes a compose below a root.
type Write<'a> = &'a dyn Fn(&Path) -> std::result::Result<sample::Written, sample::Error>;

/// Ingests two composes and hands them on.
fn with_composes(
    composes: [Write<'_>; 2],
    check: impl FnOnce(&Draft<'_>, &Source<'_>, DirEntry, DirEntry),
) {
    let temp = tempfile::tempdir().unwrap();
    let store = store(temp.path());
    let mount = store.mount("staging").unwrap();
    let draft = Draft::new(&store);
    let compose = temp.path().join("compose");
    let [first, second] = composes.map(|write| {
        let dir = Dir::open(&write(&compose).unwrap().dir.join("compose")).unwrap();
        store.ingest(&draft, &dir, mount.pool(), How::default(), &Silent).unwrap().root
    });
    check(&draft, &from_pools(&[mount.pool()]), first, second);
}

fn lines(rows: &[PackageRow]) -> Vec<String> {
    let or_none = |evr: &Option<String>| evr.clone().unwrap_or_else(|| "none".into());
    rows.iter()
        .map(|row| {
            let PackageRow { repo, name, arch, old, new, .. } = row;
            format!("{repo} {name}.{arch} {} -> {}", or_none(old), or_none(new))
        })
        .collect()
}

/// The lines of a package in all trees of a variant: debug and source where it has them.
fn everywhere(variant: &str, name: &str, arch: &str, versions: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for tree in ["aarch64", "x86_64"] {
        let of = if arch.is_empty() { tree } else { arch };
        if arch.is_empty() {
            let debug = format!("{name}-debuginfo.{of}");
            lines.push(format!("{variant}/{tree}/debug/tree {debug} {versions}"));
        }
        lines.push(format!("{variant}/{tree}/os {name}.{of} {versions}"));
    }
    if name != "kernel-core" {
        lines.push(format!("{variant}/source/tree {name}.src {versions}"));
    }
    lines
}

fn sorted(lists: &[Vec<String>]) -> Vec<String> {
    let mut lines = lists.concat();
    lines.sort();
    lines
}

#[test]
fn samples_differ_in_exactly_the_packages_of_the_update() {
    with_samples(|draft, source, first, second| {
        let options = Options::default();
        let found = packages_with(draft, source, Some(&first), Some(&second), &options).unwrap();
        let base = |name, versions| everywhere("BaseOS", name, "", versions);
        let apps = |name, versions| everywhere("AppStream", name, "", versions);
        let same = |lines: &[PackageRow], expected: &[Vec<String>], list: &str| {
            // The order of rows is asserted elsewhere; here it is which there are.
            let mut lines = self::lines(lines);
            lines.sort();
            assert_eq!(lines, sorted(expected), "{list}");
        };
        same(&found.added, &[base("ripgrep", "none -> 14.1.1-1.el9")], "added");
        same(&found.removed, &[base("vim-minimal", "2:8.2.2637-22.el9_6 -> none")], "removed");
        let kernel = "5.14.0-611.5.1.el9_7 -> 5.14.0-611.9.1.el9_7";
        // The older stream of nodejs stays as it is.
        let nodejs = "1:22.19.0-2.module+el9.7.0+40001+c5a6f5cb -> \
                      1:22.20.0-1.module+el9.7.0+40022+1f2ab0de";
        let upgraded = [
            apps("firefox", "140.4.0-3.el9_7 -> 140.5.0-2.el9_7"),
            apps("nodejs", nodejs),
            base("bash", "5.1.8-9.el9 -> 5.1.8-10.el9"),
            base("kernel", kernel),
            base("kernel-core", kernel),
        ];
        same(&found.upgraded, &upgraded, "upgraded");
        let httpd = apps("httpd", "2.4.62-7.el9 -> 2.4.57-11.el9");
        same(&found.downgraded, &[httpd], "downgraded");
        let tzdata = everywhere("BaseOS", "tzdata", "noarch", "2025b-2.el9 -> 2025b-2.el9");
        same(&found.rebuilt, &[tzdata], "rebuilt");
        assert_eq!((found.repos_added, found.repos_removed), (vec![], vec![]));
        assert_eq!(found.errors, []);
        // Those of CRB too: their packages are the same, but repomd.xml has other times.
        assert_eq!(found.repos_compared, 15);

        let core = found.upgraded.iter().find(|row| row.name == "kernel-core").unwrap();
        assert_eq!((&*core.source, core.kept), ("kernel", false));
        assert!(core.old_size > Some(40_000) && core.new_size > Some(40_000), "{core:?}");
        let tzdata = found.rebuilt.iter().find(|row| row.arch == "src").unwrap();
        assert_eq!(tzdata.source, "tzdata");

        let filter = |repo: &str, name: &str| {
            let filter = Filter::new(&[repo.into()], &["x86_64".into()], &[name.into()]);
            Options { filter: filter.unwrap(), ..Options::default() }
        };
        let options = filter("BaseOS/*/os", "kernel*");
        let found = packages_with(draft, source, Some(&first), Some(&second), &options).unwrap();
        let expected = ["kernel", "kernel-core"]
            .map(|name| format!("BaseOS/x86_64/os {name}.x86_64 {kernel}"));
        assert_eq!(lines(&found.upgraded), expected);
        assert!(found.added.is_empty() && found.removed.is_empty() && found.rebuilt.is_empty());
    });
}

#[test]
fn an_object_that_no_pool_has_is_named_with_its_path() {
    with_samples(|draft, source, first, _| {
        let repomd = path("CRB/x86_64/os/repodata/repomd.xml");
        let found = cairn_store::tree::lookup(draft, &first, &repomd).unwrap().unwrap();
        let cairn_store::tree::Entry::File(mut file) = found else { panic!("{found:?}") };
        assert!(source(&file, &repomd).is_ok());
        file.object = cairn_store::id::ObjectId::of(b"never ingested");
        let error = source(&file, &repomd).unwrap_err().to_string();
        assert!(error.contains(&format!("object {} is not in the pool", file.object)), "{error}");
        assert!(error.contains("CRB/x86_64/os/repodata/repomd.xml"), "{error}");
    });
}

#[test]
fn the_way_back_is_the_mirror_image() {
    with_samples(|draft, source, first, second| {
        let [there, back] = [(&first, &second), (&second, &first)]
            .map(|(old, new)| packages(draft, source, Some(old), Some(new)).unwrap());
        let turned = |rows: &[PackageRow]| -> Vec<_> {
            let turn = |row: &PackageRow| PackageRow {
                old: row.new.clone(),
                new: row.old.clone(),
                source_old: row.source_new.clone(),
                source_new: row.source_old.clone(),
                old_size: row.new_size,
                new_size: row.old_size,
                ..row.clone()
            };
            rows.iter().map(turn).collect()
        };
        assert_eq!(turned(&there.added), back.removed);
        assert_eq!(turned(&there.removed), back.added);
        assert_eq!(turned(&there.upgraded), back.downgraded);
        assert_eq!(turned(&there.downgraded), back.upgraded);
        assert_eq!(turned(&there.rebuilt), back.rebuilt);
        let same = packages(draft, source, Some(&second), Some(&second)).unwrap();
        assert!(same.is_empty());
    });
}

#[test]
fn a_release_that_is_new_has_all_its_repos_and_packages_added() {
    with_samples(|draft, source, first, _| {
        let found = packages(draft, source, None, Some(&first)).unwrap();
        let repos: Vec<_> = found.repos_added.iter().map(ToString::to_string).collect();
        assert_eq!(repos.len(), 15, "{repos:?}");
        assert_eq!(repos[0], "AppStream/aarch64/debug/tree");
        assert!(repos.is_sorted());
        assert!(found.added.iter().any(|row| row.arch == "i686" && row.name == "glibc"));
        let order = |row: &PackageRow| (row.repo.clone(), row.name.clone(), row.arch.clone());
        assert!(found.added.is_sorted_by_key(order));
        let gone = packages(draft, source, Some(&first), None).unwrap();
        assert_eq!(gone.repos_removed, found.repos_added);
        assert_eq!(gone.removed.len(), found.added.len());
    });
}

#[test]
fn the_files_of_the_samples_are_summed_by_repo_and_kind() {
    with_samples(|draft, _, first, second| {
        let found = files(draft, Some(&first), Some(&second), &Filter::default()).unwrap();
        let names = |rows: &[FileRow], of: &str| -> Vec<String> {
            let below = rows.iter().filter(|row| row.repo == path(of));
            let packages = below.filter(|row| row.kind == FileCategory::Package);
            packages.map(|row| String::from_utf8_lossy(row.path.file_name()).into()).collect()
        };
        let os = "BaseOS/x86_64/os";
        let new = [
            "bash-5.1.8-10.el9.x86_64.rpm",
            "kernel-5.14.0-611.9.1.el9_7.x86_64.rpm",
            "kernel-core-5.14.0-611.9.1.el9_7.x86_64.rpm",
            "ripgrep-14.1.1-1.el9.x86_64.rpm",
        ];
        assert_eq!(names(&found.added, os), new);
        let gone = [
            "bash-5.1.8-9.el9.x86_64.rpm",
            "kernel-5.14.0-611.5.1.el9_7.x86_64.rpm",
            "kernel-core-5.14.0-611.5.1.el9_7.x86_64.rpm",
            "vim-minimal-8.2.2637-22.el9_6.x86_64.rpm",
        ];
        assert_eq!(names(&found.removed, os), gone);
        let touched = found.changed.iter().filter(|row| row.metadata_only).count();
        assert!(names(&found.changed, os).contains(&"tzdata-2025b-2.el9.noarch.rpm".to_owned()));
        assert!(touched < found.changed.len());

        let sum = |repo: &str, kind| {
            let of = |row: &&RepoFiles| row.repo == path(repo) && row.kind == kind;
            found.by_repo.iter().find(of).unwrap().changed
        };
        let packages = sum(os, FileCategory::Package);
        assert_eq!((packages.files_added, packages.files_removed), (4, 4));
        assert!(sum(os, FileCategory::Repodata).bytes_added > 0);
        assert!(sum("BaseOS/x86_64", FileCategory::Image).bytes_added > 0);
        let mut total = cairn_store::diff::Changed::default();
        found.by_repo.iter().for_each(|row| total.add(&row.changed));
        assert_eq!(total, found.totals);
        let whole = cairn_store::diff::Changed::between(draft, Some(&first), Some(&second));
        assert_eq!(total, whole.unwrap());
    });
}

#[test]
fn the_metadata_of_the_samples_differs_by_record() {
    with_samples(|draft, source, first, second| {
        let options = Options::default();
        let found = metadata(draft, source, Some(&first), Some(&second), &options).unwrap();
        let of = |repo: &str| -> Vec<_> {
            let rows = found.records.iter().filter(|row| row.repo == path(repo));
            rows.map(|row| &*row.kind).collect()
        };
        let packages = ["filelists", "other", "primary", "updateinfo"];
        assert_eq!(of("BaseOS/x86_64/os")[..1], packages[..1]);
        for kind in packages {
            assert!(of("BaseOS/x86_64/os").contains(&kind), "{kind}");
        }
        assert!(of("AppStream/x86_64/os").contains(&"modules"));
        assert!(!of("CRB/x86_64/os").contains(&"primary"));
        let kinds: Vec<_> = found.files.iter().map(|file| file.kind).collect();
        assert!(kinds.contains(&MetadataFileKind::Treeinfo), "{kinds:?}");
        assert!(found.errors.is_empty() && !found.is_empty());
    });
}
