//! What a check finds: codes that never change, with a subject and a sentence each.

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Something differs that the next command puts right.
    Notice,
    /// A tree on a mount is not what its snapshot says.
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
    /// The store is of a version that this program must not touch.
    StoreUnopenable = "store-unopenable", Damage;
    /// An operation file is missing before the last one.
    LogGap = "log-gap", Damage;
    /// An operation file before the last one cannot be read.
    LogUnreadable = "log-unreadable", Damage;
    /// The last operation file cannot be read.
    LogTorn = "log-torn", Damage;
    /// An operation does not continue the one before it.
    LogChainBroken = "log-chain-broken", Damage;
    /// An operation moves a ref from where it was not.
    LogRefMismatch = "log-ref-mismatch", Damage;
    /// The index knows operations that the log has lost at its end.
    LogLost = "log-lost", Damage;
    /// The last operation is not the one that the index has seen.
    LogHeadDiffers = "log-head-differs", Damage;
    /// A pack that the log mentions is missing.
    PackMissing = "pack-missing", Damage;
    /// A pack does not hash to its name or cannot be read.
    PackDamaged = "pack-damaged", Damage;
    /// A tree or a snapshot that a ref needs is in no pack.
    NodeMissing = "node-missing", Damage;
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
    /// The disk does not give an object's content.
    ObjectUnreadable = "object-unreadable", Damage;
    /// A pool lacks a directory for objects, with what was in it.
    PoolIncomplete = "pool-incomplete", Warning;
    /// A link beside views is not there.
    LinkMissing = "link-missing", Warning;
    /// A link beside views leads elsewhere, or something else stands at its path.
    LinkElsewhere = "link-elsewhere", Warning;
    /// A link stands that the configuration does not name any more.
    LinkUnconfigured = "link-unconfigured", Notice;
    /// A view does not show what its ref names.
    ViewPending = "view-pending", Notice;
    /// A live path differs from its snapshot.
    ViewDrift = "view-drift", Warning;
    /// A path of a tree that is kept beside the live one differs from its snapshot.
    KeptTreeDrift = "kept-tree-drift", Warning;
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
pub(crate) const MAX_AFFECTED: usize = 100;

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
    /// Paths of live and kept trees that were compared.
    pub live_paths: u64,
    /// When the interrupted check began that this one went on with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed: Option<jiff::Timestamp>,
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

    pub(crate) fn sort(&mut self) {
        self.findings.sort_by(|a, b| {
            (a.severity, a.code, &a.subject).cmp(&(b.severity, b.code, &b.subject))
        });
    }
}
