//! Writes the seeds of the fuzz targets: `cargo run -p cairn-testkit --example corpus`.
//!
//! It adds `tests/fuzz/corpus/TARGET/seed-NAME` and removes older seeds; what fuzzing has found
//! (`min-…`, `crash-…`) stays.

use std::fs;
use std::path::Path;

use cairn_testkit::decoders;

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for decoder in decoders::ALL {
        let dir = corpus.join(decoder.name);
        fs::create_dir_all(&dir)?;
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("seed-") {
                fs::remove_file(entry.path())?;
            }
        }
    }
    for seed in decoders::seeds() {
        let path = corpus.join(seed.decoder).join(format!("seed-{}", seed.name));
        fs::write(path, seed.bytes)?;
    }
    Ok(())
}
