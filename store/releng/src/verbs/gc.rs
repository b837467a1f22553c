//! Collecting garbage, and what refs cost.

use std::time::Duration;

use cairn_store::gc::{Keep, Policy, Report, Space};
use cairn_store::progress::Observer;
use cairn_store::refs::RefName;
use globset::{Glob, GlobMatcher};
use serde::Serialize;

use super::hold;
use crate::config::{KeepRule, KeepSection};
use crate::error::{Error, Result};
use crate::report::Mode;
use crate::site::Site;

/// How garbage is collected; what is not given is as configured.
#[derive(Clone, Copy, Debug, Default)]
pub struct GcOptions {
    /// How many publications of each ref stay, instead of all that is configured.
    pub keep_last: Option<u32>,
    /// For how long back, likewise.
    pub keep_within: Option<Duration>,
    /// How long nothing must have needed something before it goes.
    pub grace: Option<Duration>,
    /// How long it stays in the trash.
    pub trash: Option<Duration>,
    /// Whether to act.
    pub mode: Mode,
}

/// What a collection will do or did.
#[derive(Debug, Serialize)]
pub struct GcReport {
    /// Whether nothing was written.
    pub dry_run: bool,
    /// What the store says.
    #[serde(flatten)]
    pub report: Report,
}

/// Collects what nothing needs any more.
pub fn gc(site: &Site, options: &GcOptions, observer: &dyn Observer) -> Result<GcReport> {
    let rules = Rules::new(&site.config.keep, options)?;
    let keep = |name: &RefName| rules.of(name);
    let now = jiff::Timestamp::now();
    let grace = options.grace.unwrap_or(site.config.keep.grace);
    let trash = options.trash.unwrap_or(site.config.keep.trash);
    let policy = Policy { keep: &keep, grace, trash, now };
    let mut report = match options.mode {
        Mode::DryRun => site.store.plan_gc(&policy, observer)?.report,
        Mode::Apply => {
            // What a killed command left is garbage that needs no grace.
            site.store.recover()?;
            for name in site.store.mount_names() {
                // One that is away is reported below.
                if let Ok(mount) = site.store.mount(name) {
                    mount.pool().recover()?;
                }
            }
            let plan = site.store.begin_gc(&policy, observer)?;
            site.store.apply_gc(plan, observer)?
        }
    };
    report.notes.splice(0..0, site.store.notes().iter().cloned());
    Ok(GcReport { dry_run: options.mode == Mode::DryRun, report })
}

/// Adds up what refs cost: of these refs, or of all.
pub fn du(site: &Site, names: &[String], observer: &dyn Observer) -> Result<Space> {
    let rules = Rules::new(&site.config.keep, &GcOptions::default())?;
    let keep = |name: &RefName| rules.of(name);
    let now = jiff::Timestamp::now();
    let (grace, trash) = (site.config.keep.grace, site.config.keep.trash);
    let policy = Policy { keep: &keep, grace, trash, now };
    let mut space = site.store.space(&policy, observer)?;
    for name in names {
        let name = RefName::new(name.as_str())?;
        if space.refs.iter().all(|row| row.name != name.as_str()) {
            return Err(cairn_store::Error::UnknownRef(name.to_string()).into());
        }
    }
    space.refs.retain(|row| names.is_empty() || names.contains(&row.name));
    Ok(space)
}

/// What stays of which ref.
struct Rules {
    all: Keep,
    /// The longest pattern first.
    refs: Vec<(GlobMatcher, Keep)>,
}

impl Rules {
    fn new(section: &KeepSection, options: &GcOptions) -> Result<Self> {
        let keep = |rule: &KeepRule| Keep {
            last: options.keep_last.unwrap_or(rule.last) as usize,
            within: options.keep_within.unwrap_or(rule.within),
        };
        let mut patterns: Vec<_> = section.refs.iter().collect();
        patterns.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.len()));
        let mut refs = Vec::with_capacity(patterns.len());
        for (pattern, rule) in patterns {
            let glob = Glob::new(pattern).map_err(|error| Error::Setting {
                key: format!("keep.ref.{pattern:?}"),
                reason: error.to_string(),
            })?;
            refs.push((glob.compile_matcher(), keep(rule)));
        }
        Ok(Self { all: keep(&section.all), refs })
    }

    fn of(&self, name: &RefName) -> Keep {
        // A hold that is released holds nothing.
        if hold::is_hold(name) {
            return Keep { last: 1, within: Duration::ZERO };
        }
        let found = self.refs.iter().find(|(glob, _)| glob.is_match(name.as_str()));
        found.map_or(self.all, |(_, keep)| *keep)
    }
}
