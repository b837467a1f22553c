//! Promote: what is staged becomes production, for one release or SIG or several at once.

use std::collections::BTreeMap;

use cairn_store::progress::Observer;
use cairn_store::refs::RefName;
use cairn_store::transform::overlay;

use super::Merge;
use super::approve;
use super::embargo::{self, Embargo, embargoed, is_embargoed};
use super::judge::{Asked, Candidate, max_deletes};
use super::moves::Move;
use super::stage::{is_repodata, merge_name};
use super::targets::{Sigs, Target};
use super::turn::Turn;
use crate::config::{Environment, Percent};
use crate::error::Result;
use crate::links::LinkGoal;
use crate::report::{Mode, Report};
use crate::repos::Inputs;
use crate::site::Site;

/// How releases are promoted.
#[derive(Clone, Debug, Default)]
pub struct PromoteOptions {
    /// Whether production keeps what staging lacks.
    pub merge: Merge,
    /// The share of deletions that the operator allows, instead of the configured one.
    pub allow_deletes: Option<Percent>,
    /// Gates that the operator does not want asked; the session must say why.
    pub skip_gates: Vec<String>,
    /// The SIGs of the releases that are promoted instead of the releases, by name, or by the
    /// short name of one compose for its project only.
    pub sigs: Sigs,
    /// Whether what is promoted is for the public.
    pub embargo: Embargo,
    /// Whether to act.
    pub mode: Mode,
}

/// Promotes releases in one operation, then writes the lists.
pub fn promote(
    site: &Site,
    releases: &[String],
    options: &PromoteOptions,
    observer: &dyn Observer,
) -> Result<Report> {
    // Every name is checked before anything happens: beta and lookahead are refused here.
    let mut notes = Vec::new();
    let targets = Target::all(site, releases, &options.sigs, &mut notes)?;
    let asked = Asked::of(site, Environment::Production, &options.skip_gates)?;
    let mut names: Vec<RefName> = targets.iter().map(|target| target.name.clone()).collect();
    for target in &targets {
        names.extend(site.links_to(&target.name)?.into_iter().map(|link| link.spec.name));
    }
    let mut turn = Turn::begin(site, "promote", options.mode, &names, observer)?;
    turn.report.notes.extend(notes);
    let (mut moves, mut links) = (Vec::new(), Vec::new());
    for target in targets {
        moves.push(promoted(&mut turn, &target, options, &asked, &mut links)?);
    }
    moves.extend(turn.link_moves(&links)?);
    turn.conclude(&asked)?;
    turn.finish(moves)
}

/// Makes the tree that one target leads to and judges it; adds the links that lead to its ref.
fn promoted(
    turn: &mut Turn<'_>,
    target: &Target<'_>,
    options: &PromoteOptions,
    asked: &Asked<'_>,
    links: &mut Vec<LinkGoal>,
) -> Result<Move> {
    let site = turn.site;
    let Target { release, staging, name, .. } = target;
    let (source, staged) = site.existing(staging)?;
    let moving = target.moving(&turn.draft, &staged)?;
    let old = site.current(name)?;
    let root = match (old, options.merge) {
        (Some((_, old)), Merge::Keep) => overlay(&turn.draft, &old, &moving, &is_repodata)?,
        (Some((_, old)), Merge::Exact) => target.exact(&turn.draft, &old, &staged)?,
        (None, _) => moving,
    };
    let old_root = old.map(|(_, root)| root);
    let mut root = embargoed(&root, old_root.as_ref(), options.embargo);
    turn.report.notes.extend(embargo::note(name, old_root.as_ref(), &root));
    if let Some(old) = &old_root {
        root = turn.settled(Some(old), root)?;
        if options.merge == Merge::Keep {
            let (trees, composes, advisories) = (vec![moving], Vec::new(), BTreeMap::new());
            let inputs = Inputs { release, trees, composes, advisories };
            // What does not move is neither described nor signed anew.
            let before = target.moving(&turn.draft, old)?;
            let part = target.moving(&turn.draft, &root)?;
            let made = turn.described(Some(&before), &part, &inputs)?;
            root = target.exact(&turn.draft, &root, &made)?;
        }
        turn.check_deletes(name, old, &root, options.allow_deletes)?;
    }
    if old_root != Some(root) {
        let skipped = options.skip_gates.iter().any(|gate| gate == approve::RULE);
        if let Some((standing, refusal)) = approve::standing(site, name, source, skipped)? {
            turn.report.approvals.push(standing);
            refusal.map_or(Ok(()), |refusal| turn.refuse(refusal))?;
        }
        let candidate = Candidate {
            name,
            root,
            before: old_root,
            published: old_root,
            release: *release,
            version: None,
            max_deletes: options.allow_deletes.or(max_deletes(site, name)?),
        };
        turn.judge(asked, &candidate)?;
    }
    // Under embargo a name that everybody goes by must not lead here yet.
    if !is_embargoed(&root) {
        links.extend(site.links_to(name)?);
    }
    let mut facts = BTreeMap::from([
        (staging.to_string(), source.to_string()),
        ("merge".into(), merge_name(options.merge).into()),
    ]);
    facts.extend(target.shown_projects().map(|projects| ("projects".to_owned(), projects)));
    Ok(turn.to_tree(name.clone(), old, root, facts, [source]))
}
