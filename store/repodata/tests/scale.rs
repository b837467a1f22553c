//! Bounded memory at the size of a whole distribution (10,000 packages with 470,000 files), and the
//! time that merging takes.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a test: it asks for its memory and prints what it took"
)]

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::time::Instant;

use cairn_repodata::codec::{self, Limits};
use cairn_repodata::header::FileFacts;
use cairn_repodata::merge::{Lists, Merge};
use cairn_repodata::write::{Options, RepodataBuilder, RepodataFile};
use cairn_repodata::{Error, filelists, primary, repomd};

const PACKAGES: u32 = 10_000;
const FILES: u32 = 47;

fn id(n: u32) -> [u8; 32] {
    let mut id = [0x5a; 32];
    id[..4].copy_from_slice(&n.to_be_bytes());
    id
}

fn hex(n: u32) -> String {
    id(n).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compresses a list piece by piece, so that making it takes no memory to speak of.
fn list(root: &str, namespaces: &str, element: impl Fn(u32) -> String) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writeln!(gzip, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>").unwrap();
    writeln!(gzip, "<{root} {namespaces} packages=\"{PACKAGES}\">").unwrap();
    for n in 0..PACKAGES {
        gzip.write_all(element(n).as_bytes()).unwrap();
    }
    write!(gzip, "</{root}>").unwrap();
    gzip.finish().unwrap()
}

fn primary_list() -> Vec<u8> {
    let namespaces = "xmlns=\"http://linux.duke.edu/metadata/common\" \
                      xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\"";
    list("metadata", namespaces, |n| {
        let entries: String = (0..12)
            .map(|d| format!("      <rpm:entry name=\"lib{d}-{n}.so()(64bit)\" flags=\"GE\" epoch=\"0\" ver=\"1.{d}\" rel=\"{n}\"/>\n"))
            .collect();
        format!(
            "<package type=\"rpm\">\n  <name>package-{n}</name>\n  <arch>x86_64</arch>\n  \
             <version epoch=\"0\" ver=\"1.{n}\" rel=\"1.el9\"/>\n  \
             <checksum type=\"sha256\" pkgid=\"YES\">{id}</checksum>\n  \
             <summary>Package {n}</summary>\n  <description>Text about {n}, a line.</description>\n  \
             <packager/>\n  <url>https://example.org/{n}</url>\n  <time file=\"1\" build=\"2\"/>\n  \
             <size package=\"{n}\" installed=\"4\" archive=\"5\"/>\n  \
             <location href=\"Packages/p/package-{n}.rpm\"/>\n  <format>\n    \
             <rpm:license>MIT</rpm:license>\n    <rpm:requires>\n{entries}    </rpm:requires>\n    \
             <file>/usr/bin/{n}</file>\n  </format>\n</package>\n",
            id = hex(n),
        )
    })
}

fn filelists_list() -> Vec<u8> {
    list("filelists", "xmlns=\"http://linux.duke.edu/metadata/filelists\"", |n| {
        let files: String = (0..FILES)
            .map(|f| {
                format!("  <file>/usr/share/package-{n}/directory-{}/file-{f}.html</file>\n", f / 8)
            })
            .collect();
        format!(
            "<package pkgid=\"{}\" name=\"package-{n}\" arch=\"x86_64\">\n  \
             <version epoch=\"0\" ver=\"1.{n}\" rel=\"1.el9\"/>\n{files}</package>\n",
            hex(n)
        )
    })
}

fn other_list() -> Vec<u8> {
    list("otherdata", "xmlns=\"http://linux.duke.edu/metadata/other\"", |n| {
        let changes: String = (0..5)
            .map(|c| format!("  <changelog author=\"A &lt;a@e.org&gt; - 1\" date=\"{c}\">- change {c} of {n}</changelog>\n"))
            .collect();
        format!(
            "<package pkgid=\"{}\" name=\"package-{n}\" arch=\"x86_64\">\n  \
             <version epoch=\"0\" ver=\"1.{n}\" rel=\"1.el9\"/>\n{changes}</package>\n",
            hex(n)
        )
    })
}

/// Returns a number of bytes that the system knows of this process.
fn memory(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// Returns what `work` returns and how much more memory than before the process had at most,
/// none if this system does not tell.
fn growth<T>(work: impl FnOnce() -> T) -> (T, Option<u64>) {
    // The peak starts again from what is in use now.
    let reset = std::fs::write("/proc/self/clear_refs", "5").is_ok();
    let before = memory("VmRSS:").filter(|_| reset);
    let result = work();
    let grown = before.and_then(|before| Some(memory("VmHWM:")?.saturating_sub(before)));
    if grown.is_none() {
        let _ = writeln!(std::io::stderr(), "not tested (scale): this system tells no peak memory");
    }
    (result, grown)
}

/// The memory is that of the process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

const MIB: u64 = 1 << 20;

#[test]
fn a_whole_distribution_is_read_in_bounded_memory() {
    let _alone = ALONE.lock();
    let (primary_gz, filelists_gz) = (primary_list(), filelists_list());
    let ((), grown) = growth(|| {
        let reader = codec::decoder("primary", primary_gz.as_slice(), Limits::default()).unwrap();
        let mut names = 0;
        primary::read("primary", reader, &mut |package| {
            names += package.nevra.name.len();
            Ok::<_, Error>(())
        })
        .unwrap();
        let reader =
            codec::decoder("filelists", filelists_gz.as_slice(), Limits::default()).unwrap();
        let mut files = 0;
        let packages = filelists::read("filelists", reader, &mut |package| {
            files += package.files.len();
            Ok::<_, Error>(())
        });
        assert_eq!((packages.unwrap(), files), (u64::from(PACKAGES), (PACKAGES * FILES) as usize));
        assert!(names > 0);
    });
    assert!(grown.is_none_or(|grown| grown < 16 * MIB), "{grown:?} bytes");
}

/// Merges ten thousand known packages; returns the new files.
fn merge(lists: &[Vec<u8>; 3]) -> Vec<RepodataFile> {
    let set = (0..PACKAGES).map(|n| FileFacts {
        href: format!("Packages/p/package-{n}.rpm"),
        size: u64::from(n),
        mtime: 1,
        sha256: id(n),
    });
    let mut merge = Merge::new(set).unwrap();
    let open = |bytes| codec::decoder("list", bytes, Limits::default()).unwrap();
    let [primary, filelists, other] = lists;
    merge
        .load(Lists {
            primary: ("primary", open(primary.as_slice())),
            filelists: ("filelists", open(filelists.as_slice())),
            other: ("other", open(other.as_slice())),
        })
        .unwrap();
    let mut builder = RepodataBuilder::new(Options::default());
    assert_eq!(merge.finish(&mut builder).unwrap().carried, PACKAGES as usize);
    builder.finish().unwrap()
}

#[test]
fn a_whole_distribution_is_merged_in_bounded_memory() {
    let _alone = ALONE.lock();
    let lists = [primary_list(), filelists_list(), other_list()];
    let (files, grown) = growth(|| merge(&lists));
    let repomd = files.last().unwrap();
    let repomd = repomd::read("repomd.xml", repomd.bytes.as_slice()).unwrap();
    let plain: u64 = repomd.records.iter().filter_map(|record| record.open_size).sum();
    let packed: u64 = repomd.records.iter().filter_map(|record| record.size).sum();
    assert!(plain > 50 * MIB && packed < 8 * MIB, "{plain}, {packed}");
    // The lists as text alone are more: they are never in memory as a whole.
    assert!(grown.is_none_or(|grown| grown < packed + 48 * MIB), "{grown:?} bytes");
}

#[test]
#[ignore = "measures: run with --release -- --ignored --nocapture"]
fn merging_ten_thousand_known_packages() {
    let _alone = ALONE.lock();
    let lists = [primary_list(), filelists_list(), other_list()];
    let start = Instant::now();
    let files = merge(&lists);
    eprintln!("merged after {:?}, memory {:?}", start.elapsed(), memory("VmHWM:"));
    let sizes: BTreeMap<_, _> = files.iter().map(|f| (f.name.len(), f.bytes.len())).collect();
    eprintln!("{sizes:?}");
}
