//! The crash matrix: every named point in every verb, killed, then the next command.
//!
//! A kill may leave the old state or the new one and nothing else, before anybody has repaired
//! anything. The next command, whichever it is, finishes or forgets what was begun.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use cairn_testkit::filesystem::{FsKind, Loop};
use cairn_testkit::sample::{Compose, Places};
use cairn_testkit::{CrashPoint, Ground, World, available, swaps, treecmp};
use serde_json::Value;

const STAGING: &str = "mirror/pub/rocky/9.7-RC2";
const PRODUCTION: &str = "mirror/pub/rocky/9.7";
/// How many files a round adds, so that points within loops are hit often.
const ADDED: u32 = 12;
/// Larger than what ingest reads whole, so that the other way into the pool is taken too.
const LARGE: u64 = (1 << 20) + 17;

/// A verb on a world that is prepared for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Ingest,
    Stage,
    Promote,
    /// To the snapshot before, whose tree is kept.
    Rollback,
    /// To one whose tree is gone.
    RollbackFar,
    /// A publish that finishes a promotion that was killed after it was logged.
    Recovery,
    /// A collection of garbage that has something of everything to do.
    Gc,
}

impl Verb {
    fn args(self) -> &'static [&'static str] {
        match self {
            Verb::Ingest => &["ingest"],
            Verb::Stage => &["stage", "9", "Rocky", "--delete"],
            Verb::Promote => &["promote", "9", "--delete"],
            Verb::Rollback => &["rollback", "production/9.7"],
            Verb::RollbackFar => &["rollback", "production/9.7", "--to", "production/9.7~3"],
            Verb::Recovery => &["publish"],
            Verb::Gc => &["gc", "--keep-last", "2", "--keep-within", "0s"],
        }
    }
}

/// What runs after the kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Publish,
    Again,
}

/// A hit in the middle of a loop, for the points that lie in one.
fn middle(point: CrashPoint) -> Option<u64> {
    match point {
        CrashPoint::ObjectWritten | CrashPoint::ObjectNamed | CrashPoint::StandbyChanged => Some(5),
        CrashPoint::ObjectTrashed | CrashPoint::TrashEmptied => Some(5),
        CrashPoint::MountPrepared | CrashPoint::ListReplaced => Some(2),
        _ => None,
    }
}

/// A world with a small compose that changes from round to round.
struct Rounds {
    world: World,
    compose: PathBuf,
    round: u32,
    /// What a view showed while its ref named this snapshot.
    known: HashMap<(&'static str, String), String>,
    label: String,
    _dir: Ground,
}

/// What is live at the two views; nothing where there is nothing yet.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Live {
    staging: Option<String>,
    production: Option<String>,
}

fn digest(path: &Path) -> Option<String> {
    // A view may be a symbolic link to its tree.
    Some(treecmp::digest(&path.canonicalize().ok()?))
}

impl Rounds {
    /// Uses another file system for production where one is given.
    fn new(production: Option<&Path>) -> Self {
        let dir = Ground::in_memory();
        let mut places = Places::below(dir.path());
        if let Some(production) = production {
            places.production = production.to_owned();
        }
        let world = World::at(env!("CARGO_BIN_EXE_cairn"), places);
        let written = small().write(&world.places().compose).unwrap();
        // What the rounds add is described nowhere, and what is looked at here is not the gates.
        let config = fs::read_to_string(world.config()).unwrap();
        let gates = "require = [\"repodata\", \"files-exist\", \"treeinfo\"]";
        assert!(config.contains(gates), "{config}");
        world.set_config(&config.replace(gates, "require = []"));
        // Trees are brought forward as soon as they are not live any more.
        for mount in ["mounts.staging", "mounts.production"] {
            world.configure(mount, "keep_trees = \"0s\"");
        }
        world.configure("mounts.production", "max_deletes = \"100%\"");
        let compose = written.dir.join("compose");
        let (known, label) = (HashMap::new(), String::new());
        Self { world, compose, round: 0, known, label, _dir: dir }
    }

    fn run(&self, args: &[&str]) {
        let run = self.world.cairn(args);
        assert_eq!(run.code(), Some(0), "{}\n{}", self.label, run.report());
    }

    fn verb(&self, verb: Verb) -> Vec<String> {
        let mut args: Vec<String> = verb.args().iter().map(|arg| (*arg).to_owned()).collect();
        if verb == Verb::Ingest {
            args.push(self.world.latest().display().to_string());
        }
        args
    }

    fn do_verb(&self, verb: Verb) {
        let args = self.verb(verb);
        self.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// Adds files, changes one, and removes what the round before added.
    fn change(&mut self) {
        self.round += 1;
        let packages = self.compose.join("BaseOS/x86_64/os/Packages/r");
        let _ = fs::remove_dir_all(&packages);
        fs::create_dir(&packages).unwrap();
        let round = self.round;
        for number in 0..ADDED {
            let name = packages.join(format!("round-{round}-{number}.bin"));
            fs::write(name, format!("{} {round} {number}", self.world.config().display())).unwrap();
        }
        // Another size each time: of equal ones the time would be moved forward.
        // A hole costs no memory.
        let large = fs::File::create(packages.join("large.bin")).unwrap();
        large.set_len(LARGE + u64::from(round)).unwrap();
        let discinfo = "x".repeat(round as usize);
        fs::write(self.compose.join("BaseOS/x86_64/os/.discinfo"), discinfo).unwrap();
    }

    fn live(&self) -> Live {
        Live {
            staging: digest(&self.world.staging(STAGING)),
            production: digest(&self.world.production(PRODUCTION)),
        }
    }

    /// Returns what each ref names.
    fn refs(&self) -> HashMap<String, String> {
        let status = self.world.json(["status"]);
        let rows = status["refs"].as_array().unwrap();
        rows.iter().map(|row| (text(&row["name"]), text(&row["snapshot"]))).collect()
    }

    /// Brings the world to where the verb has something to do.
    fn prepare(&mut self, verb: Verb) {
        if verb == Verb::Gc {
            // What the first of these condemns, the second throws away, and the one that is
            // looked at empties the trash of it; what the second condemns it throws away.
            for _ in 0..2 {
                self.change();
                for verb in [Verb::Ingest, Verb::Stage, Verb::Promote, Verb::Gc] {
                    self.do_verb(verb);
                }
            }
        }
        self.change();
        let before: &[Verb] = match verb {
            Verb::Ingest => &[],
            Verb::Stage => &[Verb::Ingest],
            Verb::Promote | Verb::Recovery => &[Verb::Ingest, Verb::Stage],
            Verb::Rollback | Verb::RollbackFar | Verb::Gc => {
                &[Verb::Ingest, Verb::Stage, Verb::Promote]
            }
        };
        for verb in before {
            self.do_verb(*verb);
        }
        self.remember(None);
        if verb == Verb::Gc {
            throw_away_one(&self.world);
        }
        if verb == Verb::Recovery {
            let point = CrashPoint::OperationIndexed;
            self.world.crash_at(point, 1, self.verb(Verb::Promote)).killed();
        }
    }

    /// Remembers what the views show for what their refs name, and checks that a snapshot is
    /// always shown the same; `new` is what a snapshot that was not seen yet must show.
    fn remember(&mut self, new: Option<&Live>) {
        let (refs, live) = (self.refs(), self.live());
        for (name, shown, expected) in [
            ("staging/9.7-RC2", live.staging, new.map(|new| &new.staging)),
            ("production/9.7", live.production, new.map(|new| &new.production)),
        ] {
            let Some(snapshot) = refs.get(name) else {
                assert_eq!(shown, None, "{}: {name} is shown without a ref", self.label);
                continue;
            };
            let shown = shown.unwrap_or_else(|| panic!("{}: {name} is not shown", self.label));
            let known = self
                .known
                .entry((name, snapshot.clone()))
                .or_insert_with(|| expected.cloned().flatten().unwrap_or_else(|| shown.clone()));
            assert_eq!(*known, shown, "{}: {name} does not show {snapshot}", self.label);
        }
    }

    /// Returns what the views will show once the verb is done.
    fn after(&self, verb: Verb, before: &Live) -> Live {
        let mut after = before.clone();
        match verb {
            Verb::Ingest | Verb::Gc => {}
            Verb::Stage => after.staging = digest(&self.compose),
            Verb::Promote | Verb::Recovery => after.production = before.staging.clone(),
            Verb::Rollback | Verb::RollbackFar => {
                let rev =
                    if verb == Verb::Rollback { "production/9.7~1" } else { "production/9.7~3" };
                let shown = self.world.json(["show", rev]);
                let key = ("production/9.7", text(&shown["snapshot"]));
                after.production = Some(self.known[&key].clone());
            }
        }
        after
    }

    /// Kills the verb at the point; returns whether it came there.
    fn round(&mut self, verb: Verb, point: CrashPoint, nth: u64, next: Next) -> bool {
        self.label = format!("{verb:?} at {}:{nth}, then {next:?}", point.name());
        self.prepare(verb);
        let before = self.live();
        let after = self.after(verb, &before);
        let args = self.verb(verb);
        let run = self.world.crash_at(point, nth, &args);
        let killed = run.signal() == Some(9);
        assert!(killed || run.code() == Some(0), "{}\n{}", self.label, run.report());

        let found = self.live();
        if !killed {
            assert_eq!(found, after, "{}: it ended by itself", self.label);
            self.remember(Some(&after));
            return false;
        }
        assert!(found == before || found == after, "{}: a mixture\n{found:?}", self.label);
        match next {
            Next::Publish => self.run(&["publish"]),
            Next::Again => self.run(&args.iter().map(String::as_str).collect::<Vec<_>>()),
        }
        let found = self.live();
        // A rollback that happened has moved what `~1` means, so another goes elsewhere; below
        // it must show what its ref names all the same.
        let back = matches!(verb, Verb::Rollback | Verb::RollbackFar);
        match next {
            Next::Publish => {
                assert!(found == before || found == after, "{}: {found:?}", self.label);
            }
            Next::Again if back => assert_eq!(found.staging, before.staging, "{}", self.label),
            Next::Again => assert_eq!(found, after, "{}", self.label),
        }
        self.remember(Some(&after));
        if verb == Verb::Gc {
            // What the index knew is in the log, and what is needed is not in the trash.
            self.run(&["gc"]);
            fs::remove_file(self.world.places().store.join("index.redb")).unwrap();
            self.run(&["status"]);
            assert_eq!(self.live(), before, "{}", self.label);
        }
        self.sound();
        true
    }

    /// Nothing is wrong, nothing is left over, and the lists are what they should be.
    fn sound(&self) {
        self.run(&["fsck", "--full"]);
        no_leftovers(&self.world, &self.label);
        let root = self.world.production("mirror/pub/rocky");
        if self.world.production(PRODUCTION).exists() {
            for list in ["fullfilelist", "fullfiletimelist", "fullfiletimelist-rocky"] {
                assert!(root.join(list).is_file(), "{}: {list} is missing", self.label);
            }
            let listed = fs::read_to_string(root.join("fullfilelist")).unwrap();
            let large = "./9.7/BaseOS/x86_64/os/Packages/r/large.bin";
            assert!(listed.lines().any(|line| line == large), "{}\n{listed}", self.label);
        }
        let lists = self.world.json(["lists", "-n"]);
        for list in lists["lists"].as_array().unwrap() {
            assert_eq!(list["changed"], false, "{}: {list}", self.label);
        }
    }

    /// Runs the matrix's row for a verb; returns the points that it came to.
    fn row(&mut self, verb: Verb) -> BTreeSet<&'static str> {
        let mut hit = BTreeSet::new();
        for point in CrashPoint::ALL.iter().copied() {
            if !self.round(verb, point, 1, Next::Publish) {
                continue;
            }
            hit.insert(point.name());
            assert!(self.round(verb, point, 1, Next::Again), "{}: not reached", self.label);
            if let Some(nth) = middle(point) {
                assert!(self.round(verb, point, nth, Next::Again), "{}: not reached", self.label);
            }
        }
        hit
    }
}

/// The least that is a compose: one repo with three packages.
pub(crate) fn small() -> Compose {
    Compose::new("9", "Rocky", "9.7", "20251101.0")
        .packages_only()
        .repo("BaseOS", "x86_64")
        .package("bash", "5.1.8-9.el9")
        .package("glibc", "2.34-231.el9")
        .package("zlib", "1.2.11-40.el9")
}

/// Its update: another bash, one package more, one less.
pub(crate) fn small_update() -> Compose {
    Compose::new("9", "Rocky", "9.7", "20251115.0")
        .packages_only()
        .repo("BaseOS", "x86_64")
        .package("bash", "5.1.8-10.el9")
        .package("glibc", "2.34-231.el9")
        .package("ripgrep", "14.1.1-1.el9")
}

/// Takes the compose that `latest-Rocky-9` names all the way to production.
#[track_caller]
pub(crate) fn publish(world: &World) {
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.cairn(["promote", "9", "--delete", "--allow-deletes", "100%"]).ok();
}

/// Makes a store and publishes the small compose with it.
#[track_caller]
pub(crate) fn published(world: &World) {
    small().write(&world.places().compose).unwrap();
    world.cairn(["init"]).ok();
    publish(world);
}

/// A world with two publications behind it.
#[track_caller]
pub(crate) fn twice_published() -> World {
    let world = crate::world();
    published(&world);
    small_update().write(&world.places().compose).unwrap();
    publish(&world);
    world
}

/// Stages the update of the small compose.
#[track_caller]
pub(crate) fn stage_update(world: &World) {
    small_update().write(&world.places().compose).unwrap();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
}

/// A world with something published, and an update staged that is not promoted yet.
#[track_caller]
pub(crate) fn update_staged() -> World {
    let world = crate::world();
    published(&world);
    stage_update(&world);
    world
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Asserts that store and mounts hold nothing that belongs to no state.
pub(crate) fn no_leftovers(world: &World, label: &str) {
    let store = &world.places().store;
    let only = |dir: &Path, allowed: &dyn Fn(&str) -> bool| {
        let strange: Vec<_> = names(dir).into_iter().filter(|name| !allowed(name)).collect();
        assert!(strange.is_empty(), "{label}: in {}: {strange:?}", dir.display());
    };
    let known = ["condemned", "format", "fsck.last", "index.redb", "locks", "log", "packs"];
    only(store, &|name| known.contains(&name));
    only(&store.join("log"), &|name| {
        name.strip_suffix(".json").is_some_and(|number| number.parse::<u64>().is_ok())
    });
    only(&store.join("packs"), &|name| !name.starts_with('.') && name.ends_with(".pack"));
    for mount in [world.staging(".cairn"), world.production(".cairn")] {
        let known = ["links", "lists", "mount.json", "objects", "tmp", "views"];
        only(&mount, &|name| known.contains(&name));
        only(&mount.join("tmp"), &|_| false);
        for prefix in names(&mount.join("objects")) {
            let strange = |name: &str| name.starts_with('.') && !name.starts_with(".trash-");
            only(&mount.join("objects").join(prefix), &|name| !strange(name));
        }
        if mount.join("links").exists() {
            only(&mount.join("links"), &|_| false);
        }
        if mount.join("lists").exists() {
            only(&mount.join("lists"), &|name| !name.starts_with("tmp-") && !name.starts_with('.'));
        }
        for view in names(&mount.join("views")) {
            no_leftover_trees(&mount.join("views").join(view), label);
        }
    }
}

fn no_leftover_trees(view: &Path, label: &str) {
    use std::os::unix::fs::MetadataExt;
    if !view.join("trees.json").exists() {
        // Nothing was recorded, so nothing may be there.
        assert_eq!(names(view), [] as [&str; 0], "{label}: {}", view.display());
        return;
    }
    let trees = fs::read(view.join("trees.json")).unwrap();
    let trees: Value = serde_json::from_slice(&trees).unwrap();
    let trees = trees["trees"].as_array().unwrap();
    assert!(trees.iter().all(|tree| tree["building"] == false), "{label}: {trees:#?}");
    for name in names(view) {
        let path = view.join(&name);
        if let Some(tree) = name.strip_suffix(".link") {
            assert!(view.join(tree).is_dir(), "{label}: {} leads nowhere", path.display());
        } else if name != "trees.json" {
            let ino = path.symlink_metadata().unwrap().ino();
            let recorded = trees.iter().any(|tree| tree["ino"] == ino);
            assert!(recorded, "{label}: {} belongs to nobody", path.display());
        }
    }
}

/// How views are swapped where it is not by what a file system can do best.
const BY_LINKS: &str = "swap = \"symlink\"\n";

/// A world with a few publications behind it, and these lines in the section of each mount.
fn prepared(production: Option<&Path>, lines: &str) -> Rounds {
    let mut rounds = Rounds::new(production);
    for mount in ["mounts.staging", "mounts.production"] {
        rounds.world.configure(mount, lines);
    }
    rounds.run(&["init"]);
    for _ in 0..4 {
        rounds.change();
        for verb in [Verb::Ingest, Verb::Stage, Verb::Promote] {
            rounds.do_verb(verb);
        }
        rounds.remember(None);
    }
    rounds
}

/// Moves an object that is needed to the trash, as no command does.
fn throw_away_one(world: &World) {
    let listed = world.json(["ls", "staging/9.7-RC2:BaseOS/x86_64/os/Packages/r"]);
    let object = text(&listed["entries"][0]["object"]);
    let (prefix, rest) = object.split_at(2);
    let dir = world.staging(".cairn/objects").join(prefix);
    fs::rename(dir.join(rest), dir.join(format!(".trash-0000000001-{rest}"))).unwrap();
}

/// Every point of a collection, in a world where each has something to collect.
fn gc_row() -> BTreeSet<&'static str> {
    let mut rounds = prepared(None, "");
    let keep = "[keep]\nlast = 2\nwithin = \"0s\"\ngrace = \"0s\"\ntrash = \"0s\"\n";
    rounds.world.set_config(&(fs::read_to_string(rounds.world.config()).unwrap() + keep));
    rounds.row(Verb::Gc)
}

fn init_row() -> BTreeSet<&'static str> {
    let mut hit = BTreeSet::new();
    for point in CrashPoint::ALL.iter().copied() {
        for nth in [Some(1), middle(point)].into_iter().flatten() {
            let mut rounds = Rounds::new(None);
            rounds.label = format!("init at {}:{nth}", point.name());
            let run = rounds.world.crash_at(point, nth, ["init"]);
            if run.signal() != Some(9) {
                assert_eq!(run.code(), Some(0), "{}\n{}", rounds.label, run.report());
                assert_eq!(nth, 1, "{}: not reached", rounds.label);
                break;
            }
            hit.insert(point.name());
            rounds.run(&["init"]);
            no_leftovers(&rounds.world, &rounds.label);
            for verb in [Verb::Ingest, Verb::Stage, Verb::Promote] {
                rounds.prepare(Verb::Ingest);
                rounds.do_verb(Verb::Ingest);
                rounds.do_verb(verb);
            }
            rounds.sound();
        }
    }
    hit
}

/// The first publication of a view: before it there is nothing at its path.
fn first_publication_row(swap: &str) -> BTreeSet<&'static str> {
    let mut hit = BTreeSet::new();
    let points = [
        CrashPoint::PackWritten,
        CrashPoint::ViewBegun,
        CrashPoint::StandbyMarked,
        CrashPoint::StandbyChanged,
        CrashPoint::StandbySynced,
        CrashPoint::StandbyRecorded,
        CrashPoint::OperationLinked,
        CrashPoint::OperationIndexed,
        CrashPoint::ViewSwapped,
        CrashPoint::ViewSwapSynced,
        CrashPoint::ViewRecorded,
        CrashPoint::ListsWritten,
        CrashPoint::ListReplaced,
    ];
    for point in points {
        let mut rounds = Rounds::new(None);
        for mount in ["mounts.staging", "mounts.production"] {
            rounds.world.configure(mount, &format!("swap = \"{swap}\""));
        }
        rounds.run(&["init"]);
        for next in [Next::Publish, Next::Again] {
            if rounds.round(Verb::Promote, point, 1, next) {
                hit.insert(point.name());
            }
        }
    }
    hit
}

/// The points that only a repair comes to.
const OF_REPAIRS: [CrashPoint; 7] = [
    CrashPoint::RecordKept,
    CrashPoint::RecordMended,
    CrashPoint::MendWritten,
    CrashPoint::MendQuarantined,
    CrashPoint::ObjectMended,
    CrashPoint::TreeDoubted,
    CrashPoint::TreeSetAside,
];

/// The points that only a build in a plain directory comes to, in `repodata_build.rs`.
const OF_BUILDS: [CrashPoint; 2] = [CrashPoint::RepodataWritten, CrashPoint::RepodataReplaced];

#[test]
fn a_repair_that_is_killed_anywhere_loses_nothing_and_can_be_repeated() {
    let swaps = ["", BY_LINKS];
    let rows = swaps.map(|swap| std::thread::spawn(move || repair_row(swap)));
    let hits = rows.map(|row| row.join().unwrap());
    for point in OF_REPAIRS {
        assert!(hits.iter().all(|hit| hit.contains(point.name())), "not reached: {point:?}");
    }
}

/// An object, the trees that link it, and an operation are damaged; the repair of it is killed.
fn repair_row(swap: &str) -> BTreeSet<&'static str> {
    // The damage is to come through a link, also where there are reflinks.
    let mut rounds = prepared(None, &format!("{swap}link = \"hardlink\""));
    let mut hit = BTreeSet::new();
    for point in CrashPoint::ALL.iter().copied() {
        for nth in [Some(1), middle(point)].into_iter().flatten() {
            rounds.label = format!("repair by {swap:?} at {}:{nth}", point.name());
            let before = rounds.live();
            let package = "BaseOS/x86_64/os/Packages/b/bash-5.1.8-9.el9.x86_64.rpm";
            let package = rounds.world.production(PRODUCTION).join(package);
            // Through the link: the object and every tree that shares its inode change with it.
            let file = fs::OpenOptions::new().write(true).open(package).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, b"edited", 200).unwrap();
            // What is open is kept by NFS under another name, and its directory with it.
            drop(file);
            let operation = rounds.world.places().store.join("log/0000000002.json");
            let mut bytes = fs::read(&operation).unwrap();
            bytes[30] ^= 4;
            fs::remove_file(&operation).unwrap();
            fs::write(&operation, bytes).unwrap();

            let repair = ["fsck", "--full", "--repair"];
            let run = rounds.world.crash_at(point, nth, repair);
            if run.signal() == Some(9) {
                hit.insert(point.name());
                for view in [rounds.world.staging(STAGING), rounds.world.production(PRODUCTION)] {
                    assert!(view.join("BaseOS").is_dir(), "{}: nothing is live", rounds.label);
                }
                rounds.run(&repair);
            } else {
                assert_eq!(run.code(), Some(0), "{}\n{}", rounds.label, run.report());
            }
            assert_eq!(rounds.live(), before, "{}", rounds.label);
            // As any command does first: what died with temporary files, and with a tree that it
            // had replaced and not yet set aside.
            rounds.run(&["publish"]);
            let kept = rounds.world.production(".cairn/quarantine");
            assert!(names(&kept).len() >= 2, "{}: the tree and the object", rounds.label);
            fs::remove_dir_all(kept).unwrap();
            // Only where the pools share inodes.
            let _ = fs::remove_dir_all(rounds.world.staging(".cairn/quarantine"));
            fs::remove_dir_all(rounds.world.places().store.join("quarantine")).unwrap();
            rounds.sound();
        }
    }
    hit
}

#[test]
fn a_kill_at_any_point_leaves_old_or_new_and_the_next_command_finishes_or_forgets_it() {
    use Verb::{Ingest, Promote, Recovery, Rollback, RollbackFar, Stage};
    type Row = Box<dyn FnOnce() -> BTreeSet<&'static str> + Send>;
    let mut rows: Vec<(String, Row)> = vec![("init".into(), Box::new(init_row))];
    for verb in [Ingest, Stage, Promote, Rollback, RollbackFar, Recovery] {
        let row = move || prepared(None, "").row(verb);
        rows.push((format!("{verb:?}"), Box::new(row)));
    }
    for verb in [Stage, Promote, Rollback, RollbackFar] {
        let row = move || prepared(None, BY_LINKS).row(verb);
        rows.push((format!("{verb:?} by symlink"), Box::new(row)));
    }
    rows.push(("Gc".into(), Box::new(gc_row)));
    for &swap in swaps() {
        let row = move || first_publication_row(swap);
        rows.push((format!("first publication by {swap}"), Box::new(row)));
    }
    // Where links do not lead from mount to mount, a promotion copies, and has more to lose.
    if let Some(other) = available(Loop::new(FsKind::Tmpfs, 256 << 20)) {
        let row = move || prepared(Some(other.path()), "").row(Promote);
        rows.push(("Promote to another file system".into(), Box::new(row)));
    }

    let work = std::sync::Mutex::new(rows);
    let results = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let next = work.lock().unwrap().pop();
                    let Some((name, row)) = next else { break };
                    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(row));
                    results.lock().unwrap().push((name, result));
                }
            });
        }
    });
    let mut hit = BTreeSet::new();
    let mut failed = Vec::new();
    for (name, result) in results.into_inner().unwrap() {
        match result {
            Ok(points) => {
                assert!(!points.is_empty(), "{name} comes to no point");
                hit.extend(points);
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                failed.push(format!("{name}: {text}"));
            }
        }
    }
    assert!(failed.is_empty(), "{} rows failed\n{}", failed.len(), failed.join("\n\n"));
    let all: BTreeSet<_> = CrashPoint::ALL.iter().map(|point| point.name()).collect();
    // Those have tests of their own.
    let others = OF_REPAIRS.iter().chain(&OF_BUILDS).chain(&crate::adopt::POINTS);
    let others = others.chain(&crate::embargo::POINTS);
    let others = others.chain(&crate::links::POINTS);
    hit.extend(others.map(|point| point.name()));
    let never: Vec<_> = all.difference(&hit).collect();
    assert!(never.is_empty(), "no verb comes to {never:?}");
}
