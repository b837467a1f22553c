//! Publish: views become what their refs say, without any ref moving.

use cairn_store::path::RelPath;
use cairn_store::progress::Observer;
use cairn_store::publish::{Goal, Intent};
use cairn_store::refs::{RefName, Rev};
use cairn_store::tree::Draft;

use super::lists::write_lists;
use super::stale::{StaleLinks, stale_links};
use crate::error::{Result, told};
use crate::report::{Mode, Report, ViewReport, edit_notes};
use crate::site::Site;

/// How views are published.
#[derive(Clone, Copy, Debug, Default)]
pub struct PublishOptions {
    /// What becomes of links that the configuration names no more, where all is published.
    pub stale_links: StaleLinks,
    /// Whether to act.
    pub mode: Mode,
}

/// Makes the views of these refs, or of all, show what the refs name; finishes what a crash left
/// and removes files whose grace is over.
pub fn publish(
    site: &Site,
    names: &[String],
    options: &PublishOptions,
    observer: &dyn Observer,
) -> Result<Report> {
    let mode = options.mode;
    let wanted = names.iter().map(RefName::new).collect::<std::result::Result<Vec<_>, _>>()?;
    for name in &wanted {
        site.store.resolve(&Rev::Ref(name.clone()))?;
    }
    let mut report = Report {
        verb: "publish",
        dry_run: mode == Mode::DryRun,
        notes: site.store.notes().to_vec(),
        ..Report::default()
    };
    if mode == Mode::Apply {
        site.store.recover()?;
        for name in site.store.mount_names() {
            if let Ok(mount) = site.store.mount(name) {
                mount.pool().recover()?;
            }
        }
    }
    for (view, snapshot) in site.recoverable_views()? {
        if !wanted.is_empty() && !wanted.contains(&view.name) {
            continue;
        }
        let _writer = site.writer(mode, std::slice::from_ref(&view.name))?;
        // Only under the lock is what the ref names what it goes on naming.
        let state = site.store.get_ref(&view.name)?;
        let Some(snapshot) = state.map(|state| state.snapshot).or(snapshot) else {
            // A first publication or an adoption that was begun and never logged.
            if mode == Mode::Apply {
                if site.store.finish_takeover(&view)? {
                    report.notes.push(format!("Closed the gap at the path of {}.", view.name));
                }
                site.store.tidy_view(&view, jiff::Timestamp::now())?;
            }
            continue;
        };
        let draft = Draft::new(&site.store);
        let (root, time) = (site.store.snapshot(&snapshot)?.root(), jiff::Timestamp::now());
        let goal = Goal { snapshot, root, time, intent: Intent::Forward };
        let never_link = |path: &RelPath| site.must_not_share(path);
        if mode == Mode::DryRun {
            let plan = site.store.plan_view(&draft, &view, &goal)?;
            report.notes.extend(edit_notes(view.name.as_str(), &plan.edited));
            report.views.push(ViewReport::new(&plan));
            continue;
        }
        let ready = site.store.prepare_view(&draft, &view, &goal, &never_link, observer);
        let mut row = match ready {
            Ok(ready) => {
                report.notes.extend(edit_notes(view.name.as_str(), &ready.plan.edited));
                let mut row = ViewReport { links: ready.links, ..ViewReport::new(&ready.plan) };
                match ready.swap(snapshot, time) {
                    Ok(swapped) => row.swapped = swapped,
                    Err(error) => row.pending = Some(told(&error)),
                }
                row
            }
            // One mount that is away must not keep the others from being finished.
            Err(error) => {
                report.notes.push(format!("{} is pending: {}.", view.name, told(&error)));
                report.pending.push(view.name.to_string());
                continue;
            }
        };
        if row.pending.is_none()
            && let Err(error) = site.store.tidy_view(&view, time)
        {
            report.notes.push(format!("Old trees of {} stay: {}.", view.name, told(&error)));
        }
        row.name = view.name.to_string();
        report.views.push(row);
    }
    links(site, &wanted, mode, &mut report)?;
    if wanted.is_empty() {
        stale_links(site, options.stale_links, mode, &mut report)?;
    }
    if mode == Mode::Apply {
        match write_lists(site, &|_| true, Mode::Apply, observer) {
            Ok(lists) => report.lists = lists,
            // The mount that is away has been named.
            Err(error) if report.is_partial() => {
                report.notes.push(format!("The mirror lists were not written: {}.", told(&error)));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(report)
}

/// Makes links lead to where their refs say, those that are wanted or all.
fn links(site: &Site, wanted: &[RefName], mode: Mode, report: &mut Report) -> Result<()> {
    if let (Mode::Apply, true) = (mode, wanted.is_empty()) {
        let writer = site.store.writer(&[])?;
        site.forget_prepared_links(&writer)?;
    }
    for (spec, snapshot) in site.links()? {
        if !wanted.is_empty() && !wanted.contains(&spec.name) {
            continue;
        }
        let found = match mode {
            Mode::DryRun => {
                let target = site.link_target(&spec, &snapshot)?;
                site.look_at_link(&spec, &target).map(Some)
            }
            Mode::Apply => site.finish_link(&spec, None, site.store.session().lock_wait),
        };
        match found {
            Ok(found) => report.links.extend(found),
            Err(error) => {
                report.notes.push(format!("{} is pending: {}.", spec.name, told(&error)));
                report.pending.push(spec.name.to_string());
            }
        }
    }
    Ok(())
}
