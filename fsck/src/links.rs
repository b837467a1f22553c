//! Links beside views, against what their refs say.

use cairn_store::Result;
use cairn_store::link::{LinkSpec, Standing, standing};
use cairn_store::log::Log;
use cairn_store::mount::Mount;
use cairn_store::path::display;
use cairn_store::tree::{Entry, Nodes};

use crate::check::{Check, Facts};
use crate::log::Truth;
use crate::{Code, LinkOf};

/// A link that does not lead to where its ref says.
pub(crate) struct Astray {
    pub spec: LinkSpec,
    pub target: Vec<u8>,
    /// Why nobody may put the right one in its place; nothing where that may be done.
    pub blocked: Option<String>,
}

/// Compares every link that a ref names with what stands at its path.
pub(crate) fn check(check: &mut Check<'_>, facts: &Facts) -> Result<Vec<Astray>> {
    let mut astray = Vec::new();
    for (name, snapshot) in &facts.truth.refs {
        let Some(LinkOf { spec, wanted }) = (check.subject.link)(name) else { continue };
        let Some(mount) = facts.mounts.get(&spec.mount) else { continue };
        // A snapshot that cannot be read has been found already.
        let Ok(snapshot) = facts.shelf.snapshot(snapshot) else { continue };
        let Ok(root) = facts.shelf.tree(&snapshot.root().tree) else { continue };
        let Some(Entry::Symlink(link)) = root.get(spec.path.file_name()) else { continue };
        let target = link.target.to_vec();
        if let Some(one) = judge(check, mount, spec, target, wanted, &facts.truth, &facts.log)? {
            astray.push(one);
        }
    }
    Ok(astray)
}

fn judge(
    check: &mut Check<'_>,
    mount: &Mount,
    spec: LinkSpec,
    target: Vec<u8>,
    wanted: bool,
    truth: &Truth,
    log: &Log,
) -> Result<Option<Astray>> {
    let stands = standing(mount, &spec)?;
    let shown = |target: &[u8]| String::from_utf8_lossy(target).into_owned();
    let path = mount.spec.path.join(spec.path.as_path());
    let (code, message, blocked) = match &stands {
        // What was taken out of the configuration and away from its place is nobody's any more.
        Standing::Nothing if !wanted => return Ok(None),
        _ if !wanted => (
            Code::LinkUnconfigured,
            format!("{} stands there still, and no release has this link any more", display(&path)),
            Some(format!(
                "cairn publish --remove-links removes {}, or let production_links or staging_links \
                 name it again",
                display(&path)
            )),
        ),
        Standing::Link(found) if *found == target => return Ok(None),
        Standing::Nothing => (
            Code::LinkMissing,
            format!("{}: the link to {} is not there", display(&path), shown(&target)),
            None,
        ),
        Standing::Link(found) => {
            let ours = (check.subject.is_release)(&spec, &shown(found));
            let blocked = "it leads to no release beside it, so it is somebody's own; move it away";
            (
                Code::LinkElsewhere,
                format!(
                    "{}: it leads to {}, not to {}",
                    display(&path),
                    shown(found),
                    shown(&target)
                ),
                (!ours).then(|| blocked.to_owned()),
            )
        }
        Standing::Else(what) => (
            Code::LinkElsewhere,
            format!("{}: {what} stands where a link to {} should", display(&path), shown(&target)),
            Some(format!("move {} away; nothing but a link is ever replaced", display(&path))),
        ),
    };
    // A command that ran meanwhile has moved it, and will have finished when it ends.
    if truth.has_moved(log, &spec.name) {
        return Ok(None);
    }
    check.report.add(code, &spec.name, message, vec![]);
    Ok(Some(Astray { spec, target, blocked }))
}
