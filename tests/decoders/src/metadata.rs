//! RPM metadata and packages: they come from build systems, mirrors and other distributions.

use std::cell::Cell;

use cairn_repodata::codec::{Compression, Limits, decompress};
use cairn_repodata::header::{FileFacts, Headers, Package};
#[cfg(feature = "store")]
use cairn_repodata::href::{check_href, resolve_href};
use cairn_repodata::write::{FileNames, Options, RepodataBuilder};
use cairn_repodata::{
    Checksum, Error, Nevra, comps as comps_xml, filelists as filelists_xml,
    modules as modules_yaml, other as other_xml, primary as primary_xml, repomd as repomd_xml,
    treeinfo as treeinfo_ini, updateinfo as updateinfo_xml,
};
#[cfg(feature = "store")]
use cairn_repodata::{Evr, rpmvercmp};

use super::{Outcome, refused};

/// What errors call the file.
const FILE: &str = "f";
/// Where the repository is in the tree.
const REPO: &str = "a/os";
/// More is not decompressed: a fuzzer shall look for many files and not for one large one.
const PLAIN: u64 = 1 << 20;

/// Returns a refusal's text, which begins with the file that is refused.
fn of_the_file(error: Error) -> String {
    let text = refused(error);
    assert!(text.starts_with(FILE), "{text}");
    text
}

/// Asserts that a resolved location is a plain path below the root. A name that is longer than any
/// file's is refused by whoever opens it.
fn assert_below(path: &str) {
    let names = path.split('/').all(|name| !["", ".", ".."].contains(&name));
    assert!(names && !path.contains('\0'), "{path:?} is no path below the root");
}

/// Reads `repomd.xml`, and what is written of it.
pub fn repomd(bytes: &[u8]) -> Outcome {
    let repomd = repomd_xml::read(FILE, bytes).map_err(of_the_file)?;
    for record in &repomd.records {
        if let Ok(path) = record.path(FILE, REPO) {
            assert_below(&path);
            assert!(path.starts_with("a/os/"), "{path:?} is no file of the repository");
        }
        let _ = record.verify(bytes);
        let _ = record.open(bytes, Limits::default().at_most(PLAIN));
    }
    let written = repomd_xml::write(&repomd);
    let again = repomd_xml::read(FILE, &written[..]);
    assert_eq!(again.expect("what is written is read"), repomd);
    Ok(())
}

/// Reads `primary.xml`.
pub fn primary(bytes: &[u8]) -> Outcome {
    let mut count = 0;
    let declared = primary_xml::read(FILE, bytes, &mut |package| {
        count += 1;
        if let Ok(path) = package.path(FILE, REPO) {
            assert_below(&path);
        }
        // What messages show of it.
        let _ = package.nevra.to_string();
        for (_, list) in package.relations.lists() {
            list.iter().for_each(|dependency| drop(dependency.to_string()));
        }
        Ok::<_, Error>(())
    });
    assert_eq!(declared.map_err(of_the_file)?, count);
    Ok(())
}

/// Reads `filelists.xml`.
pub fn filelists(bytes: &[u8]) -> Outcome {
    let count = Cell::new(0);
    let declared = filelists_xml::read(FILE, bytes, &mut |_| {
        count.set(count.get() + 1);
        Ok::<_, Error>(())
    });
    assert_eq!(declared.map_err(of_the_file)?, count.get());
    Ok(())
}

/// Reads `other.xml`.
pub fn other(bytes: &[u8]) -> Outcome {
    let count = Cell::new(0);
    let declared = other_xml::read(FILE, bytes, &mut |_| {
        count.set(count.get() + 1);
        Ok::<_, Error>(())
    });
    assert_eq!(declared.map_err(of_the_file)?, count.get());
    Ok(())
}

/// Reads `updateinfo.xml`, merges it with itself, and reads what is written of that.
pub fn updateinfo(bytes: &[u8]) -> Outcome {
    let list = updateinfo_xml::read(FILE, bytes).map_err(of_the_file)?;
    let written = updateinfo_xml::write(&list);
    let again = updateinfo_xml::read(FILE, &written[..]).expect("what is written is read");
    assert_eq!(again, list, "advisories are kept byte for byte");
    for advisory in &list {
        let _ = advisory.changed();
        assert_eq!(advisory.absent(|_| true), Vec::<&Nevra>::new());
    }
    let count = list.len();
    assert_eq!(updateinfo_xml::merge([list, again]).len(), count);
    Ok(())
}

/// Reads a comps file.
pub fn comps(bytes: &[u8]) -> Outcome {
    comps_xml::read(FILE, bytes).map(drop).map_err(of_the_file)
}

/// Reads `modules.yaml`, merges it with itself, and reads what is written of it.
pub fn modules(bytes: &[u8]) -> Outcome {
    let documents = modules_yaml::read(FILE, bytes).map_err(of_the_file)?;
    let written = modules_yaml::write(&documents);
    let again = modules_yaml::read(FILE, &written).expect("what is written is read");
    let contents = |list: &[modules_yaml::Document]| {
        list.iter().map(|document| document.content.clone()).collect::<Vec<_>>()
    };
    assert_eq!(contents(&again), contents(&documents));
    let count = documents.len();
    assert!(modules_yaml::merge(documents, again).len() <= count);
    Ok(())
}

/// Reads a `.treeinfo`, edits it as a release does, and reads that.
pub fn treeinfo(bytes: &[u8]) -> Outcome {
    let mut read = treeinfo_ini::Treeinfo::read(FILE, bytes).map_err(of_the_file)?;
    assert_eq!(read.write(), bytes, "what is not edited stays");
    for section in read.sections() {
        let _ = (read.section(section), read.get(section, "version"));
    }
    if let Ok(checksums) = read.checksums() {
        let sum = Checksum::sha256(bytes);
        let changed = read.refresh_checksums(|_| Some(sum.clone())).expect("they were read");
        assert!(changed.len() <= checksums.len());
    }
    read.set("general", "version", "9.7");
    assert_eq!(read.get("general", "version"), Some("9.7"));
    let again = treeinfo_ini::Treeinfo::read(FILE, &read.write()).expect("what is written is read");
    assert_eq!(again, read);
    assert!(read.remove("general", "version"));
    Ok(())
}

/// Reads the start of an RPM; what comes of it as metadata is read as equal.
pub fn rpm_header(bytes: &[u8]) -> Outcome {
    let headers = Headers::read(FILE, bytes).map_err(of_the_file)?;
    assert!(headers.start <= headers.end && headers.end <= bytes.len() as u64);
    let _ = headers.signatures(FILE);
    let facts =
        FileFacts { href: FILE.to_owned(), size: bytes.len() as u64, mtime: 1, sha256: [7; 32] };
    let package = Package::from_headers(&headers, facts).map_err(of_the_file)?;
    let mut builder = RepodataBuilder::new(Options {
        compression: Compression::None,
        names: FileNames::Plain,
        ..Options::default()
    });
    builder.package(&package).expect("it is the only one");
    let files = builder.finish().expect("one package is a repository");
    let file = |name: &str| {
        let found = files.iter().find(|file| file.name == name);
        found.unwrap_or_else(|| panic!("there is no {name}")).bytes.as_slice()
    };
    let (mut listed, mut paths, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    let fine = |read: Result<u64, Error>| assert_eq!(read.expect("what is written is read"), 1);
    fine(primary_xml::read(FILE, file("primary.xml"), &mut |package| {
        listed.push(package);
        Ok(())
    }));
    fine(filelists_xml::read(FILE, file("filelists.xml"), &mut |package| {
        paths.extend(package.files);
        Ok(())
    }));
    fine(other_xml::read(FILE, file("other.xml"), &mut |package| {
        changes.extend(package.changelogs);
        Ok(())
    }));
    assert_eq!(listed, [package.primary]);
    assert_eq!(paths, package.files);
    assert_eq!(changes, package.changelogs);
    Ok(())
}

/// Decompresses whatever it is, within limits.
pub fn codec(bytes: &[u8]) -> Outcome {
    let plain = decompress(FILE, bytes, Limits::default().at_most(PLAIN)).map_err(of_the_file)?;
    assert!(plain.len() as u64 <= PLAIN);
    if Compression::sniff(bytes) == Compression::None {
        assert_eq!(plain, bytes);
    }
    Ok(())
}

/// Reads names of packages, versions and locations.
#[cfg(feature = "store")]
pub(super) fn package_names(text: &str) {
    if check_href(text).is_ok()
        && let Ok(path) = resolve_href(REPO, text)
    {
        assert_below(&path);
    }
    if let Some(nevra) = Nevra::parse(text) {
        let shown = nevra.to_string();
        assert_eq!(Nevra::parse(&shown).expect("what is shown is read"), nevra);
    }
    if let Some(evr) = Evr::parse(text) {
        let again = Evr::parse(&evr.to_string()).expect("what is shown is read");
        // Not by rpm's order, to which more is equal.
        assert_eq!((again.epoch, again.version), (evr.epoch, evr.version));
        assert_eq!(again.release, evr.release);
    }
    // Order has laws, whatever is compared: the halves of the text, and the text itself.
    let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
    let (a, b) = text.split_at(middle);
    assert_eq!(rpmvercmp(a, b), rpmvercmp(b, a).reverse());
    assert!(rpmvercmp(text, text).is_eq());
}
