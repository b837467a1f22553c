//! Repair: a plan made of what a check found, carried out, and checked again.
//!
//! Log, packs, index and objects are mended while no other command writes; views are published
//! again under their own locks, as any publication is. A step verifies what it puts in place, keeps
//! what it replaces in a quarantine, and may be killed and repeated at any point. What cannot be
//! put right is said, with what would.

mod bits;
mod sources;
mod truth;

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use cairn_store::fs::LockKind;
use cairn_store::id::{ObjectId, PackId};
use cairn_store::link::LinkSpec;
use cairn_store::lock::Lock;
use cairn_store::log::file_name;
use cairn_store::path::RelPath;
use cairn_store::pool::Copy;
use cairn_store::progress::Observer;
use cairn_store::publish::{Goal, Intent, ViewSpec};
use cairn_store::store::{Proposal, Session, Store};
use cairn_store::tree::{Draft, Entry, FileEntry, Nodes};
use cairn_store::{Error, Result};
use serde::Serialize;

use crate::check::{Facts, run};
use crate::index::reason;
use crate::links::Astray;
use crate::log::Superblock;
use crate::objects::{Bad, Uses};
use crate::{Code, Options, Report, Subject};

/// How often a repair that has laid open more is gone on with.
const ROUNDS: usize = 4;

/// Whether a repair acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It says what it would do.
    Plan,
    /// It does it.
    Apply,
}

/// One thing that a repair does, did, or cannot do.
#[derive(Clone, Debug, Serialize)]
pub struct Repair {
    /// What kind, as a stable kebab-case name.
    pub action: &'static str,
    /// The file, object or view.
    pub subject: String,
    /// What is done and with what, as a phrase.
    pub what: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a repair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state", content = "reason")]
pub enum Outcome {
    /// It is planned.
    Planned,
    /// It is done.
    Done,
    /// It failed; everything is as it was.
    Failed(String),
    /// Nothing can be done here; the phrase says what can be done elsewhere.
    Impossible,
}

/// What a repair found and did.
#[derive(Debug, Serialize)]
pub struct Repaired {
    /// What was found before.
    #[serde(flatten)]
    pub before: Report,
    /// What was done, or would be.
    pub repairs: Vec<Repair>,
    /// What a check found afterwards; nothing when nothing was done.
    pub after: Option<Report>,
}

enum Step {
    Superblock(String),
    /// A bit of an operation file is flipped back.
    Operation(u64, Vec<u8>),
    /// The torn last operation is moved away.
    Torn(u64),
    /// What the index remembers is logged again.
    Lost(usize),
    Pack(PackId, Vec<u8>),
    /// Packs that no operation mentions are mentioned by the operation that logs the repair.
    Mention(Vec<PackId>),
    Index,
    Mend {
        mount: String,
        copy: Copy,
        file: FileEntry,
        source: sources::Source,
    },
    Quarantine {
        mount: String,
        copy: Copy,
    },
    /// A pool gets back a directory for objects.
    Gap {
        mount: String,
        prefix: u8,
    },
    /// A link beside views is put where its ref says.
    Link {
        spec: LinkSpec,
        target: Vec<u8>,
    },
    /// A view is published, and these of its trees are set aside.
    View {
        view: ViewSpec,
        drifted: Vec<u64>,
        swap: bool,
    },
    Impossible,
}

impl Step {
    fn action(&self) -> &'static str {
        match self {
            Step::Superblock(_) => "write-superblock",
            Step::Operation(..) => "mend-operation",
            Step::Torn(_) => "set-operation-aside",
            Step::Lost(_) => "log-again",
            Step::Pack(..) => "mend-pack",
            Step::Mention(_) => "mention-packs",
            Step::Index => "rebuild-index",
            Step::Mend { .. } => "restore-object",
            Step::Quarantine { .. } => "quarantine-object",
            Step::Gap { .. } => "make-directory",
            Step::Link { .. } => "switch-link",
            Step::View { .. } => "publish-view",
            Step::Impossible => "none",
        }
    }
}

struct Planned {
    step: Step,
    subject: String,
    what: String,
}

/// Repairs a store, or says how it would.
///
/// # Errors
/// What keeps it from looking, [`Error::Busy`] when another command writes, an interruption.
/// A step that fails is in the report, and the others go on.
pub fn repair(
    subject: &Subject<'_>,
    options: &Options,
    session: &Session,
    mode: Mode,
    observer: &dyn Observer,
) -> Result<Repaired> {
    if mode == Mode::Plan {
        let (before, facts) = run(subject, options, observer)?;
        let steps = plan(subject, &facts, observer)?;
        let repairs = steps.into_iter().map(|one| told(one, Outcome::Planned)).collect();
        return Ok(Repaired { before, repairs, after: None });
    }
    let (mut before, mut repairs, mut last) = (None, Vec::new(), None);
    for _ in 0..ROUNDS {
        let (report, done) = round(subject, options, session, observer)?;
        let progress = done.iter().any(|one| one.outcome == Outcome::Done);
        before.get_or_insert(report);
        // What is impossible is found impossible in each round.
        repairs.retain(|one: &Repair| one.outcome == Outcome::Done);
        repairs.extend(done);
        if !progress {
            break;
        }
        // One bad object may lay open another: so it is checked until nothing is left to do.
        let report = run(subject, options, observer)?.0;
        let clean = report.findings.is_empty();
        last = Some(report);
        if clean {
            break;
        }
    }
    let before = before.expect("there is at least one round");
    Ok(Repaired { before, repairs, after: last })
}

fn told(one: Planned, outcome: Outcome) -> Repair {
    let outcome = match one.step {
        Step::Impossible => Outcome::Impossible,
        _ => outcome,
    };
    Repair { action: one.step.action(), subject: one.subject, what: one.what, outcome }
}

/// Checks, plans and carries out.
fn round(
    subject: &Subject<'_>,
    options: &Options,
    session: &Session,
    observer: &dyn Observer,
) -> Result<(Report, Vec<Repair>)> {
    let root =
        cairn_store::fs::Dir::open(subject.store).map_err(|error| match error.is_not_found() {
            true => Error::NoStore(subject.store.to_owned()),
            false => error,
        })?;
    // The check takes no lock: a full one takes hours. What it found is looked at again below.
    let (report, facts) = run(subject, options, observer)?;
    let steps = plan(subject, &facts, observer)?;
    if steps.iter().all(|one| matches!(one.step, Step::Impossible)) {
        return Ok((report, steps.into_iter().map(|one| told(one, Outcome::Impossible)).collect()));
    }
    root.make_dir(b"locks", 0o750)?;
    let command = session.command.join(" ");
    // Nobody may write while what they stand on is replaced.
    let lock = Lock::take(
        &root.dir(b"locks")?,
        "store",
        "the store",
        LockKind::Exclusive,
        session.lock_wait,
        &command,
        observer,
    )?;
    let now = crate::log::last(&facts.log)?;
    if now != facts.truth.last {
        return Err(Error::Stale {
            name: "the log".into(),
            expected: file_name(facts.truth.last),
            found: file_name(now),
        });
    }
    let (views, steps): (Vec<_>, Vec<_>) = steps
        .into_iter()
        .partition(|one| matches!(one.step, Step::View { .. } | Step::Link { .. }));
    let (mut done, mut mention) = (Vec::new(), Vec::new());
    let gone: HashSet<ObjectId> = steps
        .iter()
        .filter_map(|one| match &one.step {
            Step::Quarantine { copy, .. } => Some(copy.id),
            _ => None,
        })
        .collect();
    for one in steps {
        if observer.interrupted() {
            return Err(Error::Interrupted);
        }
        lock.check()?;
        let result = apply(&facts, &one.step, session, &mut mention, observer);
        done.push(told(one, outcome(result)?));
    }
    drop(lock);
    let store = match Store::open(subject.store, subject.mounts, session.clone()) {
        Ok(store) => store,
        // What is damaged beyond repair has been named.
        Err(_) => return Ok((report, done)),
    };
    // A file of which the inode cache says that its content is here must be read again.
    if !gone.is_empty() {
        store.index().forget_objects(&|object| gone.contains(object))?;
    }
    for one in views {
        let result = publish(subject, &store, &one.step, observer);
        done.push(told(one, outcome(result)?));
    }
    if done.iter().any(|one| one.outcome == Outcome::Done) {
        log(&store, &done, mention)?;
    }
    Ok((report, done))
}

fn outcome(result: Result<()>) -> Result<Outcome> {
    match result {
        Ok(()) => Ok(Outcome::Done),
        Err(Error::Interrupted) => Err(Error::Interrupted),
        Err(error) => Ok(Outcome::Failed(reason(&error))),
    }
}

/// Remembers in the log what was repaired; no ref moves.
fn log(store: &Store, done: &[Repair], packs: Vec<PackId>) -> Result<()> {
    let repairs = done.iter().filter(|one| one.outcome == Outcome::Done);
    let rows = repairs.map(
        |one| serde_json::json!({ "action": one.action, "subject": one.subject, "what": one.what }),
    );
    let packs = packs.into_iter().map(|pack| Ok((pack, store.packs().scan(&pack)?)));
    let proposal = Proposal {
        verb: "repair".into(),
        packs: packs.collect::<Result<_>>()?,
        details: serde_json::json!({ "repairs": rows.collect::<Vec<_>>() }),
        ..Proposal::default()
    };
    store.writer(&[])?.commit(&Draft::new(store), proposal).map(drop)
}

fn plan(subject: &Subject<'_>, facts: &Facts, observer: &dyn Observer) -> Result<Vec<Planned>> {
    let mut steps = Vec::new();
    if matches!(facts.superblock, Superblock::Foreign) {
        return Ok(steps);
    }
    plan_superblock(facts, &mut steps);
    let forgotten = plan_log(facts, &mut steps);
    plan_packs(facts, &mut steps);
    if facts.indexed.rebuild {
        let what =
            "it is built again from the log and the packs; the next ingest reads its compose again";
        push(&mut steps, Step::Index, "index.redb", what);
    }
    for (mount, prefix) in &facts.gaps {
        let what = format!("the directory is made in the pool of {mount}");
        let step = Step::Gap { mount: mount.clone(), prefix: *prefix };
        push(&mut steps, step, format!("objects/{prefix:02x}"), what);
    }
    let unhealed = plan_objects(subject, facts, &mut steps, observer)?;
    plan_views(facts, forgotten, &unhealed, &mut steps);
    plan_links(facts, forgotten, &mut steps);
    Ok(steps)
}

fn push(steps: &mut Vec<Planned>, step: Step, subject: impl ToString, what: impl Into<String>) {
    steps.push(Planned { step, subject: subject.to_string(), what: what.into() });
}

fn plan_superblock(facts: &Facts, steps: &mut Vec<Planned>) {
    if !matches!(facts.superblock, Superblock::Unreadable) {
        return;
    }
    match &facts.id {
        Some(id) => {
            let what = format!("it is written again with the id {id}, which the mounts have");
            push(steps, Step::Superblock(id.clone()), "format", what);
        }
        None => {
            let what = "no mount says, or they disagree, what its id was; restore it from a backup";
            push(steps, Step::Impossible, "format", what);
        }
    }
}

/// Returns whether an operation is forgotten that may have happened.
fn plan_log(facts: &Facts, steps: &mut Vec<Planned>) -> bool {
    let mut forgotten = false;
    let mut suspects: BTreeSet<u64> = facts.truth.broken.clone();
    // What does not continue the one before it may be right, and the one before it wrong.
    suspects.extend(facts.truth.broken.iter().filter_map(|number| number.checked_sub(1)));
    let mut mended = BTreeSet::new();
    for number in suspects.into_iter().filter(|number| *number > 0) {
        if let Some(bytes) = truth::operation(facts, number) {
            // A file that is as it was written needs nothing.
            let is = facts.truth.ids.get(&number);
            if is != Some(&cairn_store::id::OperationId::of(&bytes)) {
                let subject = format!("log/{}", file_name(number));
                push(steps, Step::Operation(number, bytes), subject, "a flipped bit is put back");
                mended.insert(number);
            }
        }
    }
    if !mended.is_empty() {
        // What else is wrong is seen when the chain is whole again.
        return false;
    }
    let torn = facts
        .truth
        .broken
        .iter()
        .copied()
        .find(|number| *number == facts.truth.last && !facts.truth.ids.contains_key(number));
    for number in facts.truth.broken.iter().filter(|number| Some(**number) != torn) {
        let what = "restore this file, or the one before it, from a backup of the store";
        push(steps, Step::Impossible, format!("log/{}", file_name(*number)), what);
    }
    if facts.truth.broken.iter().any(|number| Some(*number) != torn) {
        return true;
    }
    let known = !facts.indexed.lost.is_empty();
    if let Some(number) = torn {
        let what = match known {
            true => "the torn file is set aside",
            false => {
                forgotten = true;
                "the torn file is set aside; the index does not know the operation, so the refs \
                 stay as the operation before left them, and views are left as they are"
            }
        };
        push(steps, Step::Torn(number), format!("log/{}", file_name(number)), what);
    }
    for (at, lost) in facts.indexed.lost.iter().enumerate() {
        let refs: Vec<_> = lost.edits.iter().map(|(name, _)| name.to_string()).collect();
        let what = match refs.is_empty() {
            true => "an operation that moved no ref is logged in its place".to_owned(),
            false => format!("what the index knows of it is logged again: {}", refs.join(", ")),
        };
        push(steps, Step::Lost(at), format!("log/{}", file_name(lost.number)), what);
    }
    forgotten
}

fn plan_packs(facts: &Facts, steps: &mut Vec<Planned>) {
    for (id, salvage) in &facts.shelf.bad {
        let path = crate::packs::path(id);
        match salvage.as_ref().and_then(|salvage| truth::pack(&facts.shelf, id, salvage)) {
            Some(bytes) => {
                let what = "it is made whole by what other packs have and by flipping bits back";
                push(steps, Step::Pack(*id, bytes), path, what);
            }
            None => {
                let what =
                    "no other pack has what is missing; restore it from a backup of the store";
                push(steps, Step::Impossible, path, what);
            }
        }
    }
    let lost = facts.lost_nodes.iter().map(|id| cairn_store::pack::NodeId::Tree(*id));
    let snapshots = facts.truth.refs.values().map(|id| cairn_store::pack::NodeId::Snapshot(*id));
    let missing = lost.chain(snapshots.filter(|node| !facts.shelf.has(node)));
    let mut packs = Vec::new();
    for pack in missing.filter_map(|node| facts.shelf.spare(&node)) {
        if !packs.contains(&pack) {
            packs.push(pack);
        }
    }
    if !packs.is_empty() {
        let subject = crate::packs::path(&packs[0]);
        let what = "it has what refs need; the operation of this repair mentions it";
        push(steps, Step::Mention(packs), subject, what);
    }
}

/// Returns the objects that stay damaged or missing.
fn plan_objects(
    subject: &Subject<'_>,
    facts: &Facts,
    steps: &mut Vec<Planned>,
    observer: &dyn Observer,
) -> Result<HashSet<ObjectId>> {
    let mut unhealed = HashSet::new();
    observer.begin("Looking for sound copies", facts.bad.len() as u64, 0);
    for Bad { mount, copy, code, ino, .. } in &facts.bad {
        observer.advance(1, 0);
        let there = ino.is_some();
        let whole = facts.pools.get(mount).and_then(|pool| pool.main.get(&copy.id));
        let file = sources::entry(facts, copy.id);
        let step = |mount: &str| Step::Quarantine { mount: mount.to_owned(), copy: *copy };
        if copy.sibling > 0 && whole.is_some_and(|held| held.sound) {
            push(
                steps,
                step(mount),
                copy.id,
                "a damaged sibling is set aside; the object is sound",
            );
            continue;
        }
        let Some(file) = file else {
            push(steps, step(mount), copy.id, "no snapshot needs it; it is set aside");
            continue;
        };
        let Some(source) = sources::find(subject, facts, &file, observer)? else {
            unhealed.insert(copy.id);
            let what = "no pool, no tree and no compose that is still there has its content; a \
                        backup of a pool, or cairn ingest --reread of a compose that has it, puts \
                        it back";
            match code {
                // A disk that answers again has it: a bad cable takes no object away.
                Code::ObjectUnreadable => {
                    let what = format!("it stays, because a disk may answer again: {what}");
                    push(steps, Step::Impossible, copy.id, what);
                }
                _ if there && *code != Code::ObjectMissing => {
                    push(steps, step(mount), copy.id, format!("it is set aside: {what}"));
                }
                _ => push(steps, Step::Impossible, copy.id, what),
            }
            continue;
        };
        // An object that no pool has goes where ingest would have put it.
        let home = || {
            let home = facts.mounts.values().find(|mount| mount.spec.home);
            home.or(facts.mounts.values().next()).map(|mount| mount.spec.name.clone())
        };
        let target = if mount.is_empty() { home() } else { Some(mount.clone()) };
        let Some(mount) = target else { continue };
        let what = format!("it is restored in the pool of {mount} from {source}");
        push(steps, Step::Mend { mount, copy: *copy, file, source }, copy.id, what);
    }
    Ok(unhealed)
}

fn plan_views(
    facts: &Facts,
    forgotten: bool,
    unhealed: &HashSet<ObjectId>,
    steps: &mut Vec<Planned>,
) {
    let mut views: Vec<&ViewSpec> = Vec::new();
    let drifted = facts.views.drifted.iter().map(|tree| &tree.view);
    for view in drifted.chain(&facts.views.pending) {
        if !views.contains(&view) {
            views.push(view);
        }
    }
    for view in views {
        let of_view = || facts.views.drifted.iter().filter(|tree| tree.view == *view);
        let drifted: Vec<u64> = of_view().map(|tree| tree.ino).collect();
        let is_live = of_view().any(|tree| tree.live);
        let pending = facts.views.pending.contains(view);
        let root = facts
            .truth
            .refs
            .get(&view.name)
            .and_then(|id| facts.shelf.snapshot(id).ok())
            .map(|snapshot| snapshot.root());
        let mut lacks = false;
        if let Some(root) = &root {
            let mut uses = Uses::new(&facts.shelf, unhealed);
            uses.below(root, &RelPath::ROOT, &mut |_, _| lacks = true);
        }
        let swap = is_live || pending;
        if swap && (lacks || root.is_none()) {
            let what = "it stays as it is, because objects that it needs cannot be restored";
            push(steps, Step::Impossible, &view.name, what);
            continue;
        }
        if swap && forgotten {
            let what = "it stays as it is until it is known what its ref names; then cairn publish";
            push(steps, Step::Impossible, &view.name, what);
            continue;
        }
        let what = match (is_live, pending, drifted.len()) {
            (true, _, _) => "it is published again; the tree that differs is set aside",
            (false, true, _) => "it is published",
            (false, false, _) => "the kept tree that differs is set aside",
        };
        push(steps, Step::View { view: view.clone(), drifted, swap }, &view.name, what);
    }
}

fn plan_links(facts: &Facts, forgotten: bool, steps: &mut Vec<Planned>) {
    for Astray { spec, target, blocked } in &facts.links {
        let to = String::from_utf8_lossy(target);
        match blocked {
            Some(what) => push(steps, Step::Impossible, &spec.name, what.clone()),
            None if forgotten => {
                let what =
                    "it stays as it is until it is known what its ref names; then cairn publish";
                push(steps, Step::Impossible, &spec.name, what);
            }
            None => {
                let step = Step::Link { spec: spec.clone(), target: target.clone() };
                push(steps, step, &spec.name, format!("it is made to lead to {to}"));
            }
        }
    }
}

fn apply(
    facts: &Facts,
    step: &Step,
    session: &Session,
    mention: &mut Vec<PackId>,
    observer: &dyn Observer,
) -> Result<()> {
    let root = &facts.root;
    match step {
        Step::Superblock(id) => truth::replace(root, root, "format", &truth::superblock(id), 0o444),
        Step::Operation(number, bytes) => {
            truth::replace(root, facts.log.dir(), &file_name(*number), bytes, 0o440)
        }
        Step::Torn(number) => truth::set_torn_aside(facts, *number),
        Step::Lost(at) => {
            let lost = &facts.indexed.lost[*at];
            truth::write_down(facts, &facts.log, lost, &session.command).map(drop)
        }
        Step::Pack(id, bytes) => {
            let name = cairn_store::pack::file_name(id);
            truth::replace(root, facts.shelf.packs().dir(), &name, bytes, 0o440)
        }
        Step::Mention(packs) => {
            mention.extend(packs);
            Ok(())
        }
        Step::Index => root.remove_if_there(b"index.redb").map(drop),
        Step::Mend { mount, copy, file, source } => {
            facts.mounts[mount].pool().mend(copy, file, source.open(facts)?, observer)
        }
        Step::Quarantine { mount, copy } => facts.mounts[mount].pool().quarantine(copy).map(drop),
        Step::Gap { mount, prefix } => facts.mounts[mount].pool().fill_gap(*prefix),
        Step::View { .. } | Step::Link { .. } | Step::Impossible => Ok(()),
    }
}

/// Puts a link where its ref says, as any command would that finds it elsewhere.
fn switch(store: &Store, spec: &LinkSpec, target: &[u8]) -> Result<()> {
    let wait = store.session().lock_wait.max(Duration::from_secs(1));
    let _writer = store.writer_within(std::slice::from_ref(&spec.name), wait)?;
    let ready = store.prepare_link(spec, target)?;
    // What its ref names may have moved since the check, and whoever moved it has switched it.
    let named = store.get_ref(&spec.name)?.map(|state| state.snapshot);
    let root = named.map(|id| store.snapshot(&id)).transpose()?.map(|snapshot| snapshot.root());
    let tree = root.map(|root| store.tree(&root.tree)).transpose()?;
    match tree.as_ref().and_then(|tree| tree.get(spec.path.file_name())) {
        Some(Entry::Symlink(link)) if *link.target == *target => ready.switch(),
        _ => {
            store.forget_link(&store.mount(&spec.mount)?, &spec.name)?;
            Err(Error::Stale {
                name: spec.name.to_string(),
                expected: String::from_utf8_lossy(target).into_owned(),
                found: "another target".into(),
            })
        }
    }
}

/// Publishes a view anew, as any command would that finds its tree unfinished.
fn publish(
    subject: &Subject<'_>,
    store: &Store,
    step: &Step,
    observer: &dyn Observer,
) -> Result<()> {
    let (view, drifted, swap) = match step {
        Step::View { view, drifted, swap } => (view, drifted, swap),
        Step::Link { spec, target } => return switch(store, spec, target),
        _ => return Ok(()),
    };
    let wait = store.session().lock_wait.max(Duration::from_secs(1));
    let writer = store.writer_within(std::slice::from_ref(&view.name), wait)?;
    let time = jiff::Timestamp::now();
    for ino in drifted {
        store.doubt_tree(&writer, view, *ino)?;
    }
    if *swap && let Some(state) = store.get_ref(&view.name)? {
        let (snapshot, root) = (state.snapshot, store.snapshot(&state.snapshot)?.root());
        let draft = Draft::new(store);
        let goal = Goal { snapshot, root, time, intent: Intent::Forward };
        let rule = |path: &RelPath| (subject.never_link)(path);
        let ready = store.prepare_view(&draft, view, &goal, &rule, observer)?;
        ready.swap(snapshot, time)?;
    }
    store.tidy_view(view, time).map(drop)
}
