//! What a reviewer reads: packages by source, advisories, streams, groups, trees, sizes, and what
//! to look at first.

use super::*;
use crate::sample::{Advisory, Compose, Module, Package};

/// Everything that differs between the sample's two composes.
fn of_samples(check: impl FnOnce(Audit)) {
    with_samples(|draft, source, first, second| {
        let (level, options) = (Level::Everything, Options::default());
        check(compare(draft, source, Some(&first), Some(&second), level, &options).unwrap());
    });
}

/// Everything that differs between two small composes, within a filter.
fn of_composes(old: &Compose, new: &Compose, filter: Filter, check: impl FnOnce(Audit)) {
    let composes: [Write<'_>; 2] = [&|root| old.write(root), &|root| new.write(root)];
    with_composes(composes, |draft, source, old, new| {
        let options = Options { filter, ..Options::default() };
        let level = Level::Everything;
        check(compare(draft, source, Some(&old), Some(&new), level, &options).unwrap());
    });
}

/// A small compose of the first or the second day.
fn small(day: u32) -> Compose {
    let date = format!("2025110{day}.0");
    Compose::new("9", "Rocky", "9.7", date).packages_only().repo("AppStream", "x86_64")
}

fn points(audit: &Audit) -> Vec<(&'static str, usize)> {
    audit.attention.iter().map(|point| (point.rule.as_str(), point.count)).collect()
}

fn words(list: &[impl ToString]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn a_kernel_update_is_one_line_with_its_packages_in_it() {
    of_samples(|audit| {
        let sources = audit.sources.unwrap();
        let lines: Vec<_> = sources.iter().map(|row| (row.fate.as_str(), &*row.source)).collect();
        let expected = [
            ("downgraded", "httpd"),
            ("removed", "vim-minimal"),
            ("rebuilt", "tzdata"),
            ("upgraded", "bash"),
            ("upgraded", "firefox"),
            ("upgraded", "kernel"),
            ("upgraded", "nodejs"),
            ("added", "ripgrep"),
        ];
        assert_eq!(lines, expected);
        let kernel = &sources[5];
        let debug = ["kernel-core-debuginfo", "kernel-debuginfo"];
        assert_eq!(kernel.packages, ["kernel", "kernel-core", debug[0], debug[1]]);
        assert_eq!(kernel.arches, ["aarch64", "src", "x86_64"]);
        assert_eq!(kernel.old.as_deref(), Some("5.14.0-611.5.1.el9_7"));
        assert_eq!(kernel.new.as_deref(), Some("5.14.0-611.9.1.el9_7"));
        assert_eq!(kernel.repos.len(), 5);
        // An epoch is in no file name; the package says it.
        assert_eq!(sources[1].old.as_deref(), Some("2:8.2.2637-22.el9_6"));
        assert!(sources[1].lost && !kernel.lost);
        // Nothing is in two lines, and nothing in none.
        let packages = audit.packages.unwrap();
        for fate in Fate::ALL {
            let rows = sources.iter().filter(|row| row.fate == fate);
            assert_eq!(rows.map(|row| row.count).sum::<usize>(), fate.rows(&packages).len());
        }
        let sizes: u64 = packages.upgraded.iter().filter_map(|row| row.new_size).sum();
        let folded = sources.iter().filter(|row| row.fate == Fate::Upgraded);
        assert_eq!(folded.map(|row| row.new_size).sum::<u64>(), sizes);
    });
}

#[test]
fn builds_of_one_source_are_lines_of_their_own() {
    let package = |name: &str, evr: &str| Package::new(name, evr).source("perl");
    let old = small(1).with(package("perl", "5.32-1.el9")).with(package("perl-Old", "5.30-9.el9"));
    let new = small(2).with(package("perl", "5.32-2.el9")).with(package("perl-Old", "5.30-10.el9"));
    of_composes(&old, &new, Filter::default(), |audit| {
        let lines: Vec<_> = audit.sources.iter().flatten().collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        // Nothing is called perl in this build, so its versions are those of the source package.
        assert_eq!(lines[0].packages, ["perl-Old"]);
        assert_eq!(lines[0].new.as_deref(), Some("5.30-10.el9"));
        assert_eq!(lines[1].new.as_deref(), Some("5.32-2.el9"));
    });
}

#[test]
fn what_is_seldom_meant_comes_first() {
    of_samples(|audit| {
        let expected =
            [("rebuilt", 3), ("downgraded", 5), ("package-lost", 5), ("advisory-lost", 1)];
        assert_eq!(points(&audit), expected);
        let subjects = |index: usize| &audit.attention[index].subjects;
        assert!(subjects(0)[0].starts_with("tzdata 2025b-2.el9: BaseOS/"), "{:?}", subjects(0));
        let httpd = "httpd 2.4.62-7.el9 → 2.4.57-11.el9 (httpd, httpd-debuginfo): AppStream/";
        assert!(subjects(1)[0].starts_with(httpd), "{:?}", subjects(1));
        assert!(subjects(2)[0].starts_with("vim-minimal: BaseOS/"), "{:?}", subjects(2));
        let lost = "RLSA-2025:19447 (Important: kernel security update): \
                    BaseOS/aarch64/os, BaseOS/x86_64/os";
        assert_eq!(*subjects(3), [lost]);
        assert_eq!(audit.attention[3].message, "1 advisory is lost");
    });
}

#[test]
fn advisories_are_new_dropped_or_changed_with_the_packages_that_they_fix() {
    of_samples(|audit| {
        let advisories = audit.advisories.unwrap();
        let lines: Vec<_> =
            advisories.iter().map(|row| (row.state, &*row.id, &*row.severity)).collect();
        // The advisory of the package that was rebuilt is the same in both.
        let expected = [
            (State::Removed, "RLSA-2025:19447", "Important"),
            (State::Added, "RLSA-2025:21112", "Important"),
            (State::Added, "RLSA-2025:21280", "Moderate"),
            (State::Added, "RLBA-2025:21301", "None"),
        ];
        assert_eq!(lines, expected);
        let firefox = ["aarch64", "x86_64"].map(|arch| format!("firefox-140.5.0-2.el9_7.{arch}"));
        assert_eq!(advisories[2].packages, firefox);
        assert_eq!(words(&advisories[2].repos), ["AppStream/aarch64/os", "AppStream/x86_64/os"]);
        assert_eq!(advisories[1].title, "Important: kernel security & bug fix update");
    });
}

#[test]
fn an_advisory_that_names_fewer_packages_stands_out() {
    let advisory = || Advisory::new("RLSA-1", "Low: fixes").security("Low").updates("bash");
    let packages = |day| small(day).package("bash", "5-1").package("zsh", "5-1");
    let old = packages(1).advisory(advisory().updates("zsh"));
    let new = packages(2).advisory(advisory());
    of_composes(&old, &new, Filter::default(), |audit| {
        let advisories = audit.advisories.as_ref().unwrap();
        assert_eq!(advisories[0].state, State::Changed);
        assert_eq!(advisories[0].packages, ["bash-5-1.x86_64"]);
        assert_eq!(advisories[0].packages_dropped, ["zsh-5-1.x86_64"]);
        assert_eq!(points(&audit), [("advisory-shrunk", 1)]);
        assert_eq!(audit.attention[0].subjects, ["RLSA-1: without zsh-5-1.x86_64"]);
    });
}

#[test]
fn module_streams_come_go_and_get_other_builds() {
    let module = |stream: &str, version| Module::new("nodejs", stream, version, "rhel9");
    let build = |evr: &str, of: &Module| Package::new("nodejs", evr).module(of.label());
    let [gone, before, after, new] =
        [module("18", 1), module("20", 2), module("20", 3), module("22", 4)];
    let old = small(1).with(build("18-1", &gone)).with(build("20-1", &before));
    let old = old.module(gone).module(before);
    let now = small(2).with(build("20-2", &after)).with(build("22-1", &new));
    let now = now.module(after).module(new);
    of_composes(&old, &now, Filter::default(), |audit| {
        let modules = audit.modules.as_ref().unwrap();
        let lines: Vec<_> = modules
            .streams
            .iter()
            .map(|row| (row.state, &*row.stream, row.old.join(" "), row.new.join(" ")))
            .collect();
        let text = str::to_owned;
        let expected = [
            (State::Removed, "18", text("1:rhel9"), text("")),
            (State::Added, "22", text(""), text("4:rhel9")),
            (State::Changed, "20", text("2:rhel9"), text("3:rhel9")),
        ];
        assert_eq!(lines, expected);
        assert_eq!(modules.streams[2].packages_added, ["nodejs-20-2.x86_64"]);
        assert_eq!(modules.streams[2].packages_removed, ["nodejs-20-1.x86_64"]);
        // The default was the first stream, which is gone.
        let documents: Vec<_> =
            modules.documents.iter().map(|row| (row.document, &*row.subject, row.state)).collect();
        assert_eq!(documents, [(ModuleDocument::Defaults, "nodejs", State::Changed)]);
        assert!(points(&audit).contains(&("stream-lost", 1)), "{:?}", points(&audit));
    });
}

#[test]
fn groups_and_environments_are_compared_by_member() {
    of_samples(|audit| {
        let comps = audit.comps.unwrap();
        let [group] = comps.as_slice() else { panic!("{comps:?}") };
        assert_eq!((group.kind, &*group.id), (CompsKind::Group, "baseos-sample"));
        assert_eq!((group.state, &*group.name), (State::Changed, "BaseOS sample"));
        assert_eq!(
            (&*group.added, &*group.removed),
            (&["ripgrep".to_owned()][..], &["vim-minimal".to_owned()][..])
        );
        assert_eq!(words(&group.repos), ["BaseOS/aarch64/os", "BaseOS/x86_64/os"]);
    });
    // A repo that is gone takes its groups along.
    let both = small(1).package("a", "1-1").repo("CRB", "x86_64").package("b", "1-1");
    of_composes(&both, &small(2).package("a", "1-1"), Filter::default(), |audit| {
        let comps: Vec<_> = audit.comps.iter().flatten().collect();
        let lines: Vec<_> = comps.iter().map(|row| (row.state, row.kind, &*row.id)).collect();
        let expected = [
            (State::Removed, CompsKind::Group, "crb-sample"),
            (State::Removed, CompsKind::Environment, "crb-environment"),
        ];
        assert_eq!(lines, expected);
        // Its package went with it, and is not lost a second time.
        assert_eq!(points(&audit), [("repo-lost", 1), ("group-lost", 2)]);
    });
}

#[test]
fn treeinfo_is_compared_by_key() {
    of_samples(|audit| {
        let treeinfo = audit.treeinfo.unwrap();
        let of = |path: &str| treeinfo.iter().find(|row| row.path == super::path(path)).unwrap();
        let boot = of("BaseOS/x86_64/os/.treeinfo");
        let keys: Vec<_> =
            boot.keys.iter().map(|key| format!("{} {}", key.section, key.key)).collect();
        assert!(keys.contains(&"checksums images/boot.iso".to_owned()), "{keys:?}");
        let time = boot.keys.iter().find(|key| key.key == "timestamp").unwrap();
        assert_eq!(time.old.as_deref(), Some("1761955200"));
        assert_eq!(time.new.as_deref(), Some("1763164800"));
        assert_eq!(boot.state, State::Changed);
    });
}

#[test]
fn a_treeinfo_that_cannot_be_read_is_named_and_hides_nothing() {
    let with = |day: u32, text: &str| {
        small(day).package("bash", format!("5-{day}")).file("compose/extra/.treeinfo", text)
    };
    let [old, new] = [with(1, "[general]\na = 1\n"), with(2, "no section at all")];
    let composes: [Write<'_>; 2] = [&|root| old.write(root), &|root| new.write(root)];
    with_composes(composes, |draft, source, old, new| {
        let options = Options { broken: Broken::Report, ..Options::default() };
        let level = Level::Everything;
        let audit = compare(draft, source, Some(&old), Some(&new), level, &options).unwrap();
        let said = "new tree: extra/.treeinfo: line 1: neither a section nor an entry of one";
        assert_eq!(audit.errors(), [said]);
        assert_eq!(points(&audit), [("not-compared", 1)]);
        assert_eq!(audit.packages.unwrap().upgraded.len(), 1);
        let options = Options::default();
        let error = compare(draft, source, Some(&old), Some(&new), level, &options).unwrap_err();
        assert_eq!(error.to_string(), said);
    });
}

#[test]
fn sizes_are_those_of_repos_and_of_what_is_beside_them() {
    with_samples(|draft, source, first, second| {
        let (level, options) = (Level::Everything, Options::default());
        let audit = compare(draft, source, Some(&first), Some(&second), level, &options).unwrap();
        let sizes = audit.sizes.unwrap();
        assert_eq!(sizes.iter().filter(|row| row.is_repo).count(), 15);
        for (side, root) in [(0, first), (1, second)] {
            let amounts = sizes.iter().map(|row| [row.old, row.new][side]);
            let sum = amounts.fold((0, 0), |(f, b), a| (f + a.files, b + a.bytes));
            assert_eq!(sum, (root.files, root.bytes));
        }
        for (beside, images) in [("BaseOS", 4), ("Minimal", 2), ("images", 2)] {
            let row = sizes.iter().find(|row| row.repo == path(beside)).unwrap();
            assert!(!row.is_repo && row.old.files == images && row.old.bytes > 0, "{beside}");
        }
    });
}

#[test]
fn an_image_with_another_date_is_not_lost() {
    let image = |compose: Compose, name: &str| compose.file(format!("compose/images/{name}"), "x");
    let old = image(image(small(1), "Cloud-9.7-20251101.0.qcow2"), "Cloud-9.7-20251101.0.vmdk");
    let new = image(small(2), "Cloud-9.7-20251115.1.qcow2");
    of_composes(&old, &new, Filter::default(), |audit| {
        assert_eq!(audit.images.len(), 3);
        assert_eq!(points(&audit), [("image-lost", 1)]);
        assert_eq!(audit.attention[0].subjects, ["images/Cloud-9.7-20251101.0.vmdk"]);
    });
}

#[test]
fn a_filter_holds_at_every_level() {
    let advisory = |id: &str, name: &str| Advisory::new(id, "an update").updates(name);
    let compose = |day: u32| {
        let version = format!("1-{day}");
        let app = small(day).package("bash", &version).package("zsh", &version);
        let app = app.advisory(advisory(&format!("A-{day}"), "bash"));
        let app = app.advisory(advisory(&format!("B-{day}"), "zsh"));
        let base = app.repo("BaseOS", "x86_64").package("bash", &version);
        base.advisory(advisory(&format!("C-{day}"), "bash"))
    };
    let filter = Filter::new(&["AppStream".into()], &["x86_64".into()], &["ba*".into()]).unwrap();
    of_composes(&compose(1), &compose(2), filter, |audit| {
        let advisories = audit.advisories.unwrap();
        let ids: Vec<_> = advisories.iter().map(|row| &*row.id).collect();
        assert_eq!(ids, ["A-1", "A-2"]);
        let sources = audit.sources.unwrap();
        assert_eq!(sources.len(), 1);
        assert_eq!(words(&sources[0].repos), ["AppStream/x86_64/os"]);
        let sizes = audit.sizes.unwrap();
        assert_eq!(
            sizes.iter().map(|row| row.repo.to_string()).collect::<Vec<_>>(),
            ["AppStream/x86_64/os"]
        );
        assert_eq!(audit.files.totals.files_added, 1);
    });
}

#[test]
fn a_reader_meets_names_escaped_and_many_of_them_counted() {
    let names: Vec<_> = (0..60).map(|n| format!("package-{n:02}")).collect();
    let add = |compose: Compose, release: &str| {
        names.iter().fold(compose, |c, name| c.package(name, format!("1-{release}")))
    };
    of_composes(&add(small(1), "2"), &add(small(2), "1"), Filter::default(), |audit| {
        let [point] = audit.attention.as_slice() else { panic!("{:?}", audit.attention) };
        assert_eq!((point.count, point.subjects.len(), point.omitted), (60, 50, 10));
        assert_eq!(point.message, "60 packages go back to a lower version");
        assert_eq!(point.subjects[0], "package-00 1-2 → 1-1: AppStream/x86_64/os");
    });
    let advisory = Advisory::new("RLSA-1", "a\u{202e}b \\ c").updates("bash");
    let old = small(1).package("bash", "1-1").advisory(advisory);
    of_composes(&old, &small(2).package("bash", "1-1"), Filter::default(), |audit| {
        let said = "RLSA-1 (a\\u{202e}b \\\\ c): AppStream/x86_64/os";
        assert_eq!(audit.attention[0].subjects, [said]);
    });
}
