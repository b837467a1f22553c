//! The main job: ingest, stage, promote, roll back, diff, and what scripts read of it.

use cairn_testkit::treecmp;

use crate::world;

#[test]
fn a_release_goes_to_production_and_back_bit_for_bit() {
    let world = world();
    world.first();
    world.cairn(["init"]).ok();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.cairn(["promote", "9"]).ok();

    let production = world.production("mirror/pub/rocky/9.7");
    let compose = world.latest().join("compose");
    treecmp::assert_equal(&compose, &production);
    treecmp::assert_equal(&compose, &world.staging("mirror/pub/rocky/9.7-RC2"));
    let before = treecmp::digest(&production);

    world.second();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    assert_eq!(treecmp::digest(&production), before, "staging must not touch production");
    world.cairn(["promote", "9", "--delete", "--allow-deletes", "50%"]).ok();
    // Content that did not change keeps the time it had, so times are not the compose's.
    let options = treecmp::Options { mtime: treecmp::On::Nothing, ..Default::default() };
    let compose = world.latest().join("compose");
    assert_eq!(treecmp::compare_with(&compose, &production, &options), []);

    let report = world.json(["rollback", "production/9.7"]);
    assert_eq!(report["views"][0]["source"], "kept");
    assert_eq!(report["views"][0]["swapped"], true);
    assert_eq!(treecmp::digest(&production), before);
    world.cairn(["fsck", "--full"]).ok();
}
