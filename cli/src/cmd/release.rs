//! The commands that move refs: ingest, stage, sign, promote, open, rollback; and publish and lists.

use cairn_releng::compose::Unfinished;
use cairn_releng::config::Percent;
use cairn_releng::verbs::{
    self, AdoptOptions, Embargo, ErrataOptions, Gap, IngestOptions, Merge, MinorOptions,
    PromoteOptions, PublishOptions, SignOptions, Sigs, StageOptions, StaleLinks, VaultOptions,
    VaultRepodata,
};
use cairn_store::ingest::{How, Placement, Recognise};

use super::report::render;
use super::{Context, Exit};
use crate::args::{
    AdoptArgs, ErrataArgs, IngestArgs, ListsArgs, MinorArgs, OpenArgs, PromoteArgs, PublishArgs,
    RollbackArgs, SignArgs, SigsArgs, StageArgs, VaultArgs,
};
use crate::failure::Failure;

fn merge(delete: bool) -> Merge {
    if delete { Merge::Exact } else { Merge::Keep }
}

/// `cairn ingest`.
pub fn ingest(context: &Context<'_>, args: &IngestArgs) -> Exit {
    let options = IngestOptions {
        name: args.name.clone(),
        how: How {
            placement: if args.link { Placement::Link } else { Placement::Copy },
            recognise: if args.reread { Recognise::Never } else { Recognise::BySample },
        },
        unfinished: if args.allow_unfinished { Unfinished::Allow } else { Unfinished::Refuse },
        mode: context.mode(),
    };
    let site = context.site(Some(&args.reason))?;
    render(context, verbs::ingest(&site, &args.dir, &options, &context.progress)?, site)
}

/// `cairn adopt`.
pub fn adopt(context: &Context<'_>, args: &AdoptArgs) -> Exit {
    let gap = if args.allow_gap { Gap::Allow } else { Gap::Refuse };
    let options = AdoptOptions { gap, mode: context.mode() };
    let site = context.site(Some(&args.reason))?;
    let path = args.path.as_deref();
    render(context, verbs::adopt(&site, &args.name, path, &options, &context.progress)?, site)
}

/// `cairn stage`.
pub fn stage(context: &Context<'_>, args: &StageArgs) -> Exit {
    let options = StageOptions {
        merge: merge(args.delete),
        skip_gates: args.gates.skip_gates.clone(),
        mode: context.mode(),
    };
    let site = context.site(Some(&args.reason))?;
    let (release, composes, progress) = (&args.release, &args.composes, &context.progress);
    let report = match &args.sig {
        Some(sig) => verbs::stage_sig(&site, release, sig, composes, &options, progress)?,
        None => verbs::stage(&site, release, composes, &options, progress)?,
    };
    render(context, report, site)
}

/// `cairn minor`.
pub fn minor(context: &Context<'_>, args: &MinorArgs) -> Exit {
    let site = context.site(Some(&args.reason))?;
    let skip_gates = args.gates.skip_gates.clone();
    let options = MinorOptions { skip_gates, mode: context.mode() };
    render(context, verbs::minor(&site, &args.release, &options, &context.progress)?, site)
}

/// `cairn sign`.
pub fn sign(context: &Context<'_>, args: &SignArgs) -> Exit {
    let site = context.site(Some(&args.reason))?;
    let (sig, skip_gates) = (args.sig.clone(), args.gates.skip_gates.clone());
    let options = SignOptions { sig, skip_gates, mode: context.mode() };
    render(context, verbs::sign(&site, &args.release, &options, &context.progress)?, site)
}

/// `cairn errata apply`.
pub fn errata(context: &Context<'_>, args: &ErrataArgs) -> Exit {
    let site = context.site(Some(&args.reason))?;
    let (sig, skip_gates) = (args.sig.clone(), args.gates.skip_gates.clone());
    let options = ErrataOptions { sig, skip_gates, mode: context.mode() };
    let report = verbs::errata(&site, &args.release, &args.from, &options, &context.progress)?;
    render(context, report, site)
}

/// `cairn promote`.
pub fn promote(context: &Context<'_>, args: &PromoteArgs) -> Exit {
    let options = PromoteOptions {
        merge: merge(args.delete),
        allow_deletes: share(args.allow_deletes.as_deref())?,
        skip_gates: args.skip_gates.clone(),
        sigs: sigs(&args.sigs),
        embargo: if args.embargo { Embargo::Impose } else { Embargo::AsItWas },
        mode: context.mode(),
    };
    let site = context.site(Some(&args.reason))?;
    render(context, verbs::promote(&site, &args.releases, &options, &context.progress)?, site)
}

fn sigs(args: &SigsArgs) -> Sigs {
    match (args.all_sigs, args.sigs.as_slice()) {
        (true, _) => Sigs::All,
        (false, []) => Sigs::None,
        (false, names) => Sigs::Named(names.to_vec()),
    }
}

/// Reads `--allow-deletes`.
fn share(text: Option<&str>) -> Result<Option<Percent>, Failure> {
    let parse = |text| {
        Percent::parse(text).map_err(|error| {
            Failure::usage(format!("--allow-deletes: {error}"), "a share is written 25%")
        })
    };
    text.map(parse).transpose()
}

/// `cairn vault`.
pub fn vault(context: &Context<'_>, args: &VaultArgs) -> Exit {
    let options = VaultOptions {
        sigs: sigs(&args.sigs),
        repodata: match args.no_repodata {
            true => VaultRepodata::Anew,
            false => VaultRepodata::Taken,
        },
        allow_deletes: share(args.allow_deletes.as_deref())?,
        mode: context.mode(),
    };
    let site = context.site(Some(&args.reason))?;
    render(context, verbs::vault(&site, &args.release, &options, &context.progress)?, site)
}

/// `cairn open`.
pub fn open(context: &Context<'_>, args: &OpenArgs) -> Exit {
    let site = context.site(Some(&args.reason))?;
    render(context, verbs::open(&site, &args.names, context.mode(), &context.progress)?, site)
}

/// `cairn rollback`.
pub fn rollback(context: &Context<'_>, args: &RollbackArgs) -> Exit {
    let site = context.site(Some(&args.reason))?;
    let to = args.to.as_deref();
    let report = verbs::rollback(&site, &args.name, to, context.mode(), &context.progress)?;
    render(context, report, site)
}

/// `cairn publish`.
pub fn publish(context: &Context<'_>, args: &PublishArgs) -> Exit {
    let site = context.site(Some(&args.reason))?;
    let stale_links = if args.remove_links { StaleLinks::Remove } else { StaleLinks::Keep };
    let options = PublishOptions { stale_links, mode: context.mode() };
    let report = verbs::publish(&site, &args.names, &options, &context.progress)?;
    render(context, report, site)
}

/// `cairn lists`.
pub fn lists(context: &Context<'_>, args: &ListsArgs) -> Exit {
    let site = context.site(Some(&args.reason))?;
    render(context, verbs::lists(&site, &args.roots, context.mode(), &context.progress)?, site)
}
