//! The table: which step of cairn stands beside which step of which peer, and what is aimed at.

use std::collections::{BTreeMap, BTreeSet};

use crate::failure::Failure;
use crate::peers::Peer;

/// Something that is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    IngestEmpty,
    IngestSame,
    IngestNext,
    IngestLink,
    IngestNextLink,
    StageFirst,
    StageNext,
    PublishFirst,
    PublishSecond,
    PromoteNext,
    PromoteSame,
    Rollback,
    Lists,
    Diff,
    RsyncCopy,
    RsyncCopySynced,
    RsyncSame,
    RsyncNext,
    RsyncDelete,
    RsyncDeleteSame,
    RsyncBack,
    OstreeCommit,
    OstreeDiff,
    ResticSame,
    CpLinks,
    WalkedLists,
}

impl Step {
    /// Returns whose step it is; none for cairn's own.
    pub fn peer(self) -> Option<Peer> {
        match self {
            Self::IngestEmpty
            | Self::IngestSame
            | Self::IngestNext
            | Self::IngestLink
            | Self::IngestNextLink
            | Self::StageFirst
            | Self::StageNext
            | Self::PublishFirst
            | Self::PublishSecond
            | Self::PromoteNext
            | Self::PromoteSame
            | Self::Rollback
            | Self::Lists
            | Self::Diff => None,
            Self::RsyncCopy
            | Self::RsyncCopySynced
            | Self::RsyncSame
            | Self::RsyncNext
            | Self::RsyncDelete
            | Self::RsyncDeleteSame
            | Self::RsyncBack => Some(Peer::Rsync),
            Self::OstreeCommit | Self::OstreeDiff => Some(Peer::Ostree),
            Self::ResticSame => Some(Peer::Restic),
            Self::CpLinks => Some(Peer::Cp),
            Self::WalkedLists => Some(Peer::Python),
        }
    }

    /// Returns what the report calls a peer's step.
    pub fn label(self) -> &'static str {
        match self {
            Self::RsyncCopy => "rsync -rlptDSHog",
            Self::RsyncCopySynced => "rsync, then syncfs",
            Self::RsyncSame => "rsync, no-op",
            Self::RsyncNext => "rsync -rlptDSHog --delete",
            Self::RsyncDelete => "rsync -a --delete",
            Self::RsyncDeleteSame => "rsync -a --delete, no-op",
            Self::RsyncBack => "rsync -a --delete, back",
            Self::OstreeCommit => "ostree commit, bare",
            Self::OstreeDiff => "ostree diff",
            Self::ResticSame => "restic backup",
            Self::CpLinks => "cp -al",
            Self::WalkedLists => "find + create-filelist",
            Self::IngestEmpty => "ingest",
            Self::IngestSame => "ingest, unchanged",
            Self::IngestNext => "ingest, next",
            Self::IngestLink => "ingest --link",
            Self::IngestNextLink => "ingest --link, next",
            Self::StageFirst => "stage, first",
            Self::StageNext => "stage, next",
            Self::PublishFirst => "promote, first",
            Self::PublishSecond => "promote, second",
            Self::PromoteNext => "promote",
            Self::PromoteSame => "promote, unchanged",
            Self::Rollback => "rollback",
            Self::Lists => "lists",
            Self::Diff => "diff",
        }
    }
}

/// The ratio of cairn's time to the peer's that a row aims at.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// Shown for context.
    Open,
    /// The same at every size.
    AtMost(f64),
    /// From a number of files on; none below the first.
    From(&'static [(usize, f64)]),
}

impl Target {
    /// Returns the ratio aimed at for a size.
    pub fn at(self, files: usize) -> Option<f64> {
        match self {
            Self::Open => None,
            Self::AtMost(ratio) => Some(ratio),
            Self::From(steps) => {
                steps.iter().rev().find(|(from, _)| files >= *from).map(|(_, ratio)| *ratio)
            }
        }
    }
}

/// One line of the comparison.
#[derive(Debug)]
pub struct Row {
    /// What `--rows` matches.
    pub id: &'static str,
    pub work: &'static str,
    pub ours: Step,
    pub theirs: Step,
    pub target: Target,
}

const fn row(
    id: &'static str,
    work: &'static str,
    ours: Step,
    theirs: Step,
    target: Target,
) -> Row {
    Row { id, work, ours, theirs, target }
}

/// The comparison, in the order of a release engineer's day.
pub const ROWS: [Row; 18] = [
    row(
        "ingest-copy",
        "ingest, empty store, copying",
        Step::IngestEmpty,
        Step::RsyncCopy,
        Target::AtMost(0.6),
    ),
    row(
        "ingest-copy-ostree",
        "ingest, empty store, copying",
        Step::IngestEmpty,
        Step::OstreeCommit,
        Target::AtMost(0.25),
    ),
    row(
        "ingest-copy-durable",
        "the same, both on disk at the end",
        Step::IngestEmpty,
        Step::RsyncCopySynced,
        Target::Open,
    ),
    row(
        "ingest-link",
        "ingest --link, empty store",
        Step::IngestLink,
        Step::RsyncCopy,
        Target::AtMost(0.25),
    ),
    row(
        "ingest-same",
        "ingest, unchanged",
        Step::IngestSame,
        Step::RsyncSame,
        Target::AtMost(0.45),
    ),
    row(
        "ingest-same-restic",
        "ingest, unchanged",
        Step::IngestSame,
        Step::ResticSame,
        Target::AtMost(0.1),
    ),
    row(
        "ingest-next",
        "ingest, 1 % new, rest hard links",
        Step::IngestNext,
        Step::RsyncNext,
        Target::AtMost(0.6),
    ),
    row(
        "ingest-next-link",
        "the same with --link",
        Step::IngestNextLink,
        Step::RsyncNext,
        Target::AtMost(0.6),
    ),
    row(
        "ingest-next-copy",
        "ingest, 1 % new, beside a whole copy",
        Step::IngestNext,
        Step::RsyncCopy,
        Target::Open,
    ),
    row(
        "publish-first-stage",
        "first publication (stage)",
        Step::StageFirst,
        Step::CpLinks,
        Target::AtMost(0.8),
    ),
    row(
        "publish-first",
        "first publication (promote and lists)",
        Step::PublishFirst,
        Step::CpLinks,
        Target::AtMost(0.8),
    ),
    row(
        "publish-second",
        "second publication (no standby tree yet)",
        Step::PublishSecond,
        Step::CpLinks,
        Target::Open,
    ),
    row(
        "stage-next",
        "stage --delete, 1 % changed",
        Step::StageNext,
        Step::RsyncDelete,
        Target::Open,
    ),
    row(
        "promote-next",
        "promote --delete, 1 % changed",
        Step::PromoteNext,
        Step::RsyncDelete,
        Target::From(&[(50_000, 0.12), (200_000, 0.05)]),
    ),
    row(
        "promote-same",
        "promote --delete, nothing changed",
        Step::PromoteSame,
        Step::RsyncDeleteSame,
        Target::AtMost(0.03),
    ),
    row(
        "rollback",
        "rollback to a kept tree",
        Step::Rollback,
        Step::RsyncBack,
        Target::AtMost(0.03),
    ),
    row("lists", "both lists of a root", Step::Lists, Step::WalkedLists, Target::AtMost(0.15)),
    row("diff", "diff --by files, 1 % apart", Step::Diff, Step::OstreeDiff, Target::AtMost(0.05)),
];

/// The lines of the table that shows what the cost follows: the change or the tree.
pub const SCALING: [Step; 6] = [
    Step::PromoteNext,
    Step::Lists,
    Step::Rollback,
    Step::Diff,
    Step::RsyncDelete,
    Step::RsyncBack,
];

const RSYNC: [Step; 7] = [
    Step::RsyncCopy,
    Step::RsyncCopySynced,
    Step::RsyncSame,
    Step::RsyncNext,
    Step::RsyncDelete,
    Step::RsyncDeleteSame,
    Step::RsyncBack,
];

/// What a run measures: the rows that a pattern chose, and the steps that they need.
#[derive(Debug)]
pub struct Selection {
    pattern: String,
    steps: BTreeSet<Step>,
}

impl Selection {
    /// The name by which `--rows` asks for the fixed change at each size.
    pub const SCALING: &str = "scaling";
    /// The name by which `--rows` asks for the peak memory.
    pub const MEMORY: &str = "memory";

    /// Chooses the rows whose id holds one of the comma-separated patterns; no pattern is all.
    pub fn new(pattern: Option<&str>) -> Result<Self, Failure> {
        let mut selection =
            Self { pattern: pattern.unwrap_or("").to_owned(), steps: BTreeSet::new() };
        let chosen = ROWS.iter().filter(|row| selection.has(row.id));
        let mut steps: BTreeSet<Step> = chosen.flat_map(|row| [row.ours, row.theirs]).collect();
        if selection.scaling() {
            steps.extend(SCALING);
        }
        // Each rsync leaves its tree as the next one expects it, and cp links that tree.
        if steps.iter().any(|step| matches!(step.peer(), Some(Peer::Rsync | Peer::Cp))) {
            steps.extend(RSYNC);
        }
        selection.steps = steps;
        if selection.steps.is_empty() && !selection.memory() {
            let ids: Vec<&str> = ROWS.iter().map(|row| row.id).collect();
            return Err(Failure::Usage {
                what: format!(
                    "--rows {}: no such row; there are {}, {}, {}",
                    selection.pattern,
                    ids.join(", "),
                    Self::SCALING,
                    Self::MEMORY,
                ),
            });
        }
        Ok(selection)
    }

    /// Says whether a row, or one of the two names above, was asked for.
    pub fn has(&self, id: &str) -> bool {
        self.pattern.split(',').any(|part| id.contains(part.trim()))
    }

    /// Says whether the fixed change is measured.
    pub fn scaling(&self) -> bool {
        self.has(Self::SCALING)
    }

    /// Says whether the peak memory is reported.
    pub fn memory(&self) -> bool {
        self.has(Self::MEMORY)
    }

    /// Says whether a step is in one of the rows.
    pub fn wants(&self, step: Step) -> bool {
        self.steps.contains(&step)
    }

    /// Says whether one of the steps is in one of the rows.
    pub fn wants_any(&self, steps: &[Step]) -> bool {
        steps.iter().any(|step| self.wants(*step))
    }
}

/// The times of one step.
#[derive(Debug, Default, Clone)]
pub struct Sample {
    pub seconds: Vec<f64>,
    /// Why there are no more of them.
    pub failed: Option<String>,
}

impl Sample {
    /// Returns the median of the times that there are.
    pub fn median(&self) -> Option<f64> {
        (!self.seconds.is_empty()).then(|| median(&self.seconds))
    }
}

/// Returns the median of some numbers; of an even number, the mean of the two in the middle.
///
/// # Panics
/// If there are none.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The times of every step at one size.
#[derive(Debug, Default)]
pub struct Samples(BTreeMap<Step, Sample>);

impl Samples {
    /// Adds a time.
    pub fn add(&mut self, step: Step, seconds: f64) {
        self.0.entry(step).or_default().seconds.push(seconds);
    }

    /// Notes that a step cannot be measured; the first reason stays.
    pub fn fail(&mut self, step: Step, reason: String) {
        self.0.entry(step).or_default().failed.get_or_insert(reason);
    }

    /// Returns a step's times.
    pub fn get(&self, step: Step) -> Option<&Sample> {
        self.0.get(&step)
    }

    /// Returns the median of a step that never failed.
    pub fn median(&self, step: Step) -> Option<f64> {
        self.get(step).filter(|sample| sample.failed.is_none()).and_then(Sample::median)
    }

    /// Returns every step that failed, with its reason.
    pub fn failures(&self) -> impl Iterator<Item = (Step, &str)> {
        self.0.iter().filter_map(|(step, sample)| Some((*step, sample.failed.as_deref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_starts_at_its_size() {
        let target = Target::From(&[(50_000, 0.12), (200_000, 0.05)]);
        let cases =
            [(5_000, None), (50_000, Some(0.12)), (60_000, Some(0.12)), (200_000, Some(0.05))];
        for (files, ratio) in cases {
            assert_eq!(target.at(files), ratio, "{files}");
        }
    }

    #[test]
    fn a_pattern_chooses_rows_and_the_steps_of_both_sides() {
        let selection = Selection::new(Some("lists, diff")).unwrap();
        assert!(selection.wants(Step::WalkedLists) && selection.wants(Step::OstreeDiff));
        assert!(!selection.wants(Step::RsyncCopy) && !selection.scaling());
        let selection = Selection::new(Some("rollback")).unwrap();
        assert!(selection.wants(Step::RsyncCopy), "each rsync needs the tree of the one before");
        assert!(Selection::new(Some("nothing-like-it")).is_err());
        assert!(Selection::new(None).unwrap().memory());
    }

    #[test]
    fn the_median_ignores_one_slow_run() {
        let sample = |seconds: &[f64]| Sample { seconds: seconds.to_vec(), failed: None };
        assert_eq!(sample(&[1.0, 9.0, 2.0]).median(), Some(2.0));
        assert_eq!(sample(&[1.0, 2.0]).median(), Some(1.5));
        assert_eq!(sample(&[]).median(), None);
    }
}
