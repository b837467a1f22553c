//! The corpus of the fuzz targets (docs/reliability.md), on stable Rust and each time.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use cairn_testkit::decoders;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz")
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_input_of_the_corpus_is_refused_or_read_as_its_decoder_promises() {
    for decoder in decoders::ALL {
        let dir = fuzz().join("corpus").join(decoder.name);
        let names = names(&dir);
        assert!(names.iter().any(|name| name.starts_with("seed-")), "{} has none", decoder.name);
        for name in names {
            let bytes = fs::read(dir.join(&name)).unwrap();
            // Its name comes first, for whoever sees a panic.
            println!("{}/{name}", decoder.name);
            let read = (decoder.read)(&bytes);
            if name.starts_with("seed-") {
                assert_eq!(read, Ok(()), "{}/{name} is sound", decoder.name);
            }
        }
    }
}

#[test]
fn the_example_of_a_configuration_is_read_and_shown_as_its_decoder_promises() {
    // Not in the corpus, because it changes with every key that is new.
    let example = include_str!("../../docs/cairn.example.toml");
    assert_eq!(decoders::config(example.as_bytes()), Ok(()));
}

#[test]
fn the_seeds_are_what_the_builders_make() {
    let mut made = BTreeSet::new();
    for seed in decoders::seeds() {
        let path = format!("{}/seed-{}", seed.decoder, seed.name);
        let kept = fs::read(fuzz().join("corpus").join(&path));
        let kept = kept.unwrap_or_else(|error| panic!("{path}: {error}"));
        let hint = "run cargo run -p cairn-testkit --example corpus";
        assert!(kept == seed.bytes, "{path} is of an older builder; {hint}");
        assert!(made.insert(path), "two seeds of one name");
    }
    for decoder in decoders::ALL {
        for name in names(&fuzz().join("corpus").join(decoder.name)) {
            let path = format!("{}/{name}", decoder.name);
            assert!(!name.starts_with("seed-") || made.contains(&path), "nobody makes {path}");
        }
    }
}

#[test]
fn every_decoder_has_a_fuzz_target_and_a_corpus_that_is_small() {
    let decoders: BTreeSet<String> =
        decoders::ALL.iter().map(|decoder| decoder.name.to_owned()).collect();
    let targets: BTreeSet<String> = names(&fuzz().join("targets"))
        .iter()
        .map(|name| name.strip_suffix(".rs").unwrap_or(name).to_owned())
        .collect();
    assert_eq!(targets, decoders);
    assert_eq!(names(&fuzz().join("corpus")), decoders);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in &decoders {
        let bin = format!("name = \"{name}\"\npath = \"targets/{name}.rs\"");
        assert!(manifest.contains(&bin), "{name} is no target of the manifest");
        let function = format!("cairn_decoders::{}(bytes)", name.replace('-', "_"));
        let target = fs::read_to_string(fuzz().join(format!("targets/{name}.rs"))).unwrap();
        assert!(target.contains(&function), "{target}");
    }
    let dirs = decoders.iter().map(|name| fuzz().join("corpus").join(name));
    let size: u64 = dirs
        .flat_map(|dir| names(&dir).into_iter().map(move |name| dir.join(name)))
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert!(size < 600 << 10, "{size} bytes: minimise it (cargo fuzz cmin)");
}
