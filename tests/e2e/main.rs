//! End-to-end tests: the real binary on real composes, filesystems and clients.

mod adopt;
mod approval;
mod causes;
mod check;
mod clients;
mod completion;
mod concurrency;
mod config_import;
mod crashes;
mod decoders;
mod diff;
mod edits;
mod embargo;
mod faults;
mod filesystems;
mod fsck;
mod gates;
mod gc;
mod hazards;
mod history;
mod hooks;
mod hostile_deeds;
mod hostile_names;
mod html;
mod hung;
mod links;
mod lists;
mod locks;
mod main_job;
mod media;
mod metrics;
mod minor;
mod mirror;
mod operators;
mod output;
mod privilege;
mod racers;
mod records;
mod refusals;
mod repodata;
mod repodata_build;
mod schema;
mod shadow;
mod signing;
mod sigs;
mod staging;
mod swaps;
mod terminal;
mod toolkit;
mod torrents;
mod torture;
mod vault;

use cairn_testkit::World;

/// Returns a world that runs the binary that this test run built.
fn world() -> World {
    World::new(env!("CARGO_BIN_EXE_cairn"))
}
