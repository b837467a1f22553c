//! Real RPMs, small ones and many: what `repodata build` and createrepo_c are measured on.
//!
//! Their payload is next to nothing, their headers are those of a distribution: paths below a few
//! directories of their own, relations, a description, ten entries of history.

use std::fs::{self, File, FileTimes};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rayon::prelude::*;
use rpm::{BuildConfig, CompressionWithLevel, Dependency, FileOptions, PackageBuilder};

use crate::failure::{Failure, Result};
use crate::noise::Rng;

/// Files of a package on average, as in a distribution's.
const FILES: f64 = 47.0;
/// How unequal they are: most packages have a few files, some have hundreds.
const FILES_SIGMA: f64 = 1.0;
const CHANGES: usize = 10;
/// 2025-09-01: when the first of them was built. Long ago, as packages are.
const BUILT: u32 = 1_756_684_800;
const WORDS: [&str; 24] = [
    "library",
    "server",
    "client",
    "tools",
    "fixes",
    "upstream",
    "security",
    "memory",
    "handling",
    "of",
    "the",
    "protocol",
    "with",
    "support",
    "for",
    "rebuild",
    "parser",
    "update",
    "resolves",
    "crash",
    "in",
    "configuration",
    "default",
    "service",
];

/// Returns the path of the package of this number below its repository.
pub fn href(number: usize) -> PathBuf {
    let (name, version) = (name(number), version(number));
    format!("Packages/{}/{name}-{version}-1.el9.x86_64.rpm", &name[..1]).into()
}

/// Writes the packages of these numbers below `dir`.
pub fn write(dir: &Path, numbers: std::ops::Range<usize>) -> Result<()> {
    for letter in b'a'..=b'z' {
        let letter = dir.join("Packages").join(char::from(letter).to_string());
        fs::create_dir_all(&letter).map_err(Failure::io("create", &letter))?;
    }
    numbers.into_par_iter().try_for_each(|number| {
        let path = dir.join(href(number));
        let file = File::create(&path).map_err(Failure::io("create", &path))?;
        let built = |error: rpm::Error| Failure::wrong(format!("{}: {error}", path.display()));
        let mut writer = BufWriter::new(file);
        build(number).and_then(|package| package.write(&mut writer)).map_err(built)?;
        let file =
            writer.into_inner().map_err(|error| Failure::io("write", &path)(error.into_error()))?;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::from(time(number)));
        file.set_times(FileTimes::new().set_modified(time)).map_err(Failure::io("date", &path))
    })
}

fn name(number: usize) -> String {
    let mut rng = Rng::new(number as u64);
    let letter = char::from(b'a' + rng.below(26) as u8);
    format!("{letter}{}-{}-{number}", WORDS[rng.below(24)], WORDS[rng.below(24)])
}

fn version(number: usize) -> String {
    format!("{}.{}.{}", number % 7, number % 23, number % 5)
}

fn time(number: usize) -> u32 {
    BUILT + (number % 4_000_000) as u32
}

fn text(rng: &mut Rng, words: usize) -> String {
    (0..words).map(|_| WORDS[rng.below(WORDS.len())]).collect::<Vec<_>>().join(" ")
}

fn build(number: usize) -> std::result::Result<rpm::Package, rpm::Error> {
    let mut rng = Rng::new(!(number as u64));
    let (name, version) = (name(number), version(number));
    let mut builder = PackageBuilder::new(&name, &version, "MIT", "x86_64", &text(&mut rng, 6));
    builder
        .using_config(
            BuildConfig::v4()
                .compression(CompressionWithLevel::None)
                .source_date(time(number))
                .reserved_space(None),
        )
        .release("1.el9")
        .description(text(&mut rng, 60))
        .url(format!("https://example.org/{name}"))
        .vendor("Example")
        .packager("Release Engineering <releng@example.org>")
        .group("Unspecified")
        .build_host("builder.example.org");
    // The newest first, as a spec file has them.
    for change in 0..CHANGES {
        builder.add_changelog_entry(
            format!("Somebody <somebody@example.org> - {version}-{}", CHANGES - change),
            format!("- {}\n- {}", text(&mut rng, 9), text(&mut rng, 7)),
            BUILT - (change as u32 + 1) * 40 * 86_400,
        );
    }
    for _ in 0..2 + rng.below(8) {
        let other = rng.below(10_000);
        builder.provides(Dependency::eq(format!("lib{}.so.{}", other, other % 9), &version));
    }
    for _ in 0..4 + rng.below(16) {
        let other = rng.below(10_000);
        builder.requires(Dependency::greater_eq(format!("lib{}.so.{}", other, other % 9), "1"));
    }
    // The mean of a lognormal number with median 1.
    let mean = (FILES_SIGMA * FILES_SIGMA / 2.0_f64).exp();
    let files = (rng.lognormal(FILES_SIGMA) / mean * FILES).round().max(1.0) as usize;
    builder.with_file_contents(b"#!".to_vec(), FileOptions::new(format!("/usr/bin/{name}")))?;
    for file in 1..files {
        let dir = match file % 4 {
            0 => format!("/usr/share/doc/{name}"),
            1 => format!("/usr/lib64/{name}/{}", WORDS[file / 8 % 24]),
            2 => format!("/usr/include/{name}"),
            _ => format!("/usr/share/{name}/{}", WORDS[file / 16 % 24]),
        };
        let word = WORDS[rng.below(24)];
        let path = format!("{dir}/{word}-{}{file}.h", WORDS[rng.below(24)]);
        builder.with_file_contents(Vec::new(), FileOptions::new(path))?;
    }
    builder.build()
}
