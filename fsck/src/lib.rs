//! Checks of a store and of what it published.
//!
//! It stands beside the store and not behind its door: the log and the packs are read here first,
//! so that a store that refuses to open is still told what is wrong with it. Findings are data: a
//! kebab-case code that never changes, a severity, a subject and a sentence. Nothing is changed.

mod live;
mod log;
mod objects;

use std::collections::BTreeMap;
use std::path::Path;

use cairn_store::mount::MountSpec;
use cairn_store::progress::Observer;
use cairn_store::publish::ViewSpec;
use cairn_store::store::{Session, Store};
use serde::Serialize;

/// How much is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// The log, the packs, and of every object and every live path its size, mode and time.
    #[default]
    Quick,
    /// Also the content of every object and of every live path that has an inode of its own.
    Full,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Something differs that the next command puts right.
    Notice,
    /// A live view is not what its snapshot says.
    Warning,
    /// Something is lost or damaged.
    Damage,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $severity:ident;)*) => {
        /// What kind of thing was found. The names are stable for ever.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// Every code, for the test that provokes each.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// Returns the stable name.
            pub const fn name(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }

            /// Returns how bad it is.
            pub const fn severity(self) -> Severity {
                match self { $(Code::$variant => Severity::$severity,)* }
            }
        }
    };
}

codes! {
    /// The superblock cannot be read.
    SuperblockUnreadable = "superblock-unreadable", Damage;
    /// An operation file is missing before the last one.
    LogGap = "log-gap", Damage;
    /// An operation file cannot be read.
    LogUnreadable = "log-unreadable", Damage;
    /// An operation does not continue the one before it.
    LogChainBroken = "log-chain-broken", Damage;
    /// An operation moves a ref from where it was not.
    LogRefMismatch = "log-ref-mismatch", Damage;
    /// A pack that the log mentions is missing.
    PackMissing = "pack-missing", Damage;
    /// A pack does not hash to its name or cannot be read.
    PackDamaged = "pack-damaged", Damage;
    /// A tree or a snapshot that a ref needs is in no pack.
    NodeMissing = "node-missing", Damage;
    /// The store cannot be opened.
    StoreUnopenable = "store-unopenable", Damage;
    /// The index says something else than the log.
    IndexDiffers = "index-differs", Notice;
    /// A mount is away or not this store's.
    MountUnavailable = "mount-unavailable", Warning;
    /// An object is in no pool, or not in that of the mount that shows it.
    ObjectMissing = "object-missing", Damage;
    /// An object has another size than its name says.
    ObjectSize = "object-size", Damage;
    /// An object's content does not hash to its name.
    ObjectDamaged = "object-damaged", Damage;
    /// A view does not show what its ref names.
    ViewPending = "view-pending", Notice;
    /// A live path differs from its snapshot.
    ViewDrift = "view-drift", Warning;
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Something that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What kind.
    pub code: Code,
    /// How bad.
    pub severity: Severity,
    /// The file, object, ref or path.
    pub subject: String,
    /// What is wrong with it, as a phrase.
    pub message: String,
    /// Refs and paths that are affected, at most a hundred.
    pub affected: Vec<String>,
}

/// How many affected paths a finding lists.
const MAX_AFFECTED: usize = 100;

/// What a check found, and how much it looked at.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// What was found, worst kind last.
    pub findings: Vec<Finding>,
    /// Operations that were read.
    pub operations: u64,
    /// Packs that were read.
    pub packs: u64,
    /// Objects that were looked at, in all pools.
    pub objects: u64,
    /// Bytes that were hashed.
    pub bytes_hashed: u64,
    /// Live paths that were compared.
    pub live_paths: u64,
}

impl Report {
    pub(crate) fn add(
        &mut self,
        code: Code,
        subject: impl ToString,
        message: impl ToString,
        affected: Vec<String>,
    ) {
        let (subject, message) = (subject.to_string(), message.to_string());
        self.findings.push(Finding { code, severity: code.severity(), subject, message, affected });
    }

    /// Returns the worst severity, if anything was found.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

/// What shall be checked.
pub struct Subject<'a> {
    /// The store's directory.
    pub store: &'a Path,
    /// The configured mounts.
    pub mounts: &'a [MountSpec],
    /// Translates a ref to where it is published.
    pub view: &'a dyn Fn(&cairn_store::refs::RefName) -> Option<ViewSpec>,
}

/// Checks a store.
///
/// # Errors
/// Only what keeps it from looking at all: no such directory, no permission. Damage is a finding.
pub fn check(
    subject: &Subject<'_>,
    level: Level,
    observer: &dyn Observer,
) -> cairn_store::Result<Report> {
    let mut report = Report::default();
    let truth = log::check(subject, &mut report, observer)?;
    if report.worst() == Some(Severity::Damage) {
        // The store would refuse; what hangs on it cannot be judged.
        report.findings.sort_by_key(|finding| (finding.severity, finding.code));
        return Ok(report);
    }
    let store = match Store::open(subject.store, subject.mounts, Session::default()) {
        Ok(store) => store,
        Err(error) => {
            report.add(Code::StoreUnopenable, subject.store.display(), error, vec![]);
            return Ok(report);
        }
    };
    log::compare_index(&store, &truth, &mut report)?;
    let mut mounts = BTreeMap::new();
    for spec in subject.mounts {
        match store.mount(&spec.name) {
            Ok(mount) => drop(mounts.insert(spec.name.clone(), mount)),
            Err(error) => report.add(Code::MountUnavailable, &spec.name, error, vec![]),
        }
    }
    let wanted = objects::wanted(&store, subject, &mut report)?;
    objects::check(&wanted, &mounts, level, &mut report, observer)?;
    for (name, snapshot) in &truth.refs {
        let Some(view) = (subject.view)(name) else { continue };
        if mounts.contains_key(&view.mount) {
            live::check(&store, &view, *snapshot, level, &mut report, observer)?;
        }
    }
    report.findings.sort_by_key(|finding| (finding.severity, finding.code));
    Ok(report)
}
