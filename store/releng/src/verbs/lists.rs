//! Lists: what mirrors poll, written for every root that the configuration names.

use std::collections::BTreeSet;
use std::time::Duration;

use cairn_store::progress::Observer;

use crate::config::ListRoot;
use crate::error::{Error, Result};
use crate::lists::{self, ListReport, ListedView};
use crate::report::{Mode, Report};
use crate::site::Site;

/// How long to wait for another command's lists at least: it has published, so it writes them in
/// a moment, and without ours a mirror would not hear of what we published.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes the mirror lists of these roots, or of all.
///
/// A root is named as the configuration names it: its path on the mount, `.` for the mount itself.
pub fn lists(site: &Site, roots: &[String], mode: Mode, observer: &dyn Observer) -> Result<Report> {
    let known = |root: &&String| site.config.lists.iter().any(|list| is_named(list, root));
    if let Some(unknown) = roots.iter().find(|root| !known(root)) {
        let all: Vec<_> = site.config.lists.iter().map(shown).collect();
        return Err(Error::Setting {
            key: "lists".into(),
            reason: format!("no list root is called {unknown:?}; known: {}", all.join(", ")),
        });
    }
    let mut report = Report {
        verb: "lists",
        dry_run: mode == Mode::DryRun,
        notes: site.store.notes().to_vec(),
        ..Report::default()
    };
    let wanted = |list: &ListRoot| roots.is_empty() || roots.iter().any(|r| is_named(list, r));
    report.lists = write_lists(site, &wanted, mode, observer)?;
    Ok(report)
}

/// Writes the lists of the roots that are wanted, without a report of their own.
pub(super) fn write_lists(
    site: &Site,
    wanted: &dyn Fn(&ListRoot) -> bool,
    mode: Mode,
    observer: &dyn Observer,
) -> Result<Vec<ListReport>> {
    let mounts: BTreeSet<&str> = site
        .config
        .lists
        .iter()
        .filter(|list| wanted(list))
        .map(|list| list.mount.as_str())
        .collect();
    let (mut reports, mut away) = (Vec::new(), None);
    for name in mounts {
        match write_lists_of(site, name, wanted, mode, observer) {
            Ok(of_mount) => reports.extend(of_mount),
            // The lists of the others do not wait for a mount that is away.
            Err(error @ Error::Store(cairn_store::Error::Mount { .. })) => {
                away.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    match away {
        Some(error) => Err(error),
        None => Ok(reports),
    }
}

fn write_lists_of(
    site: &Site,
    name: &str,
    wanted: &dyn Fn(&ListRoot) -> bool,
    mode: Mode,
    observer: &dyn Observer,
) -> Result<Vec<ListReport>> {
    let mount = site.store.mount(name)?;
    // Held while the views are looked at: of two promotions at once, the one that writes last must
    // have seen what both have swapped.
    let _lock = match mode {
        Mode::Apply => {
            let wait = site.store.session().lock_wait.max(PATIENCE);
            let what = format!("the lists of {name}");
            Some(site.store.lock(&format!("lists-{name}"), &what, wait)?)
        }
        Mode::DryRun => None,
    };
    let views = site.views()?;
    let mut listed = Vec::new();
    for (view, _) in views.iter().filter(|(view, _)| view.mount == name) {
        // What is live is listed, even where a swap is still pending.
        if let Some(snapshot) = site.store.live(view)?.snapshot {
            let (name, path) = (view.name.clone(), view.path.clone());
            listed.push(ListedView { name, path, snapshot });
        }
    }
    let lists = &site.config.lists;
    Ok(lists::write_selected(&site.store, &mount, lists, wanted, &listed, observer, mode)?)
}

fn is_named(list: &ListRoot, root: &str) -> bool {
    let root = root.trim_matches('/');
    list.path == root || list.path.is_empty() && root == "." || shown(list) == root
}

fn shown(list: &ListRoot) -> String {
    match list.path.as_str() {
        "" => list.mount.clone(),
        path => format!("{}/{path}", list.mount),
    }
}
