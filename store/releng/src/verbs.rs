//! The release verbs: ingest, stage, errata, sign, check, promote, open, vault, rollback,
//! publish.
//!
//! Each computes the tree that a ref shall name, and hands the moves to one procedure that plans
//! or carries them out: prepare every view, append the operation, swap, write the lists. That
//! order is what makes a promotion all or nothing.

mod adopt;
mod approve;
mod check;
mod embargo;
mod errata;
mod forecast;
mod gc;
mod hold;
mod ingest;
mod judge;
mod lists;
mod minor;
mod moves;
mod promote;
mod publish;
mod rollback;
mod sig;
mod sign;
mod stage;
mod stale;
mod targets;
mod torrents;
mod turn;
mod vault;

pub use adopt::{AdoptOptions, Gap, adopt};
pub use approve::{
    Approval, ApproveReport, RefApprovals, approvals, approve, required as required_approvals,
};
pub use check::{Checked, check};
pub use embargo::{Embargo, is_under_embargo, open};
pub use errata::{ErrataOptions, ErrataReport, errata};
pub use forecast::{Forecast, Mirrors};
pub use gc::{GcOptions, GcReport, du, gc};
pub use hold::{Held, Hold, HoldReport, hold, holds, release};
pub use ingest::{IngestOptions, ingest};
pub use lists::lists;
pub use minor::{MinorOptions, minor};
pub use promote::{PromoteOptions, promote};
pub use publish::{PublishOptions, publish};
pub use rollback::rollback;
pub use sig::stage_sig;
pub use sign::{SignOptions, sign};
pub use stage::{StageOptions, stage};
pub use stale::{RemovedLink, StaleLinks};
pub use targets::Sigs;
pub use torrents::{TorrentOptions, TorrentReport, TorrentState, torrents};
pub use vault::{VaultOptions, VaultRepodata, vault};

/// Whether what the new side lacks stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Merge {
    /// What the new side lacks stays, and repodata is made that describes both.
    #[default]
    Keep,
    /// The result is exactly the new side.
    Exact,
}
