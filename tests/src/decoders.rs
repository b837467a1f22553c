//! Everything that reads bytes of others (the crate `cairn-decoders`), and the first of each
//! one's corpus.

mod images;
mod seeds;

pub use cairn_decoders::*;
pub use seeds::{Seed, seeds};
