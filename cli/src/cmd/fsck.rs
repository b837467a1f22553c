//! `cairn fsck`.

use std::path::Path;

use cairn_fsck::{Level, Severity, Subject};
use cairn_store::path::{Escaped, RelPath};
use cairn_store::publish::ViewSpec;

use super::{Context, Exit};
use crate::args::FsckArgs;
use crate::output::{count, size};

/// How many affected paths people see without `-v`.
const AFFECTED: usize = 5;

/// Checks the store; exits with 3 for differences and 13 for damage.
pub fn run(context: &Context<'_>, args: &FsckArgs) -> Exit {
    let config = context.config()?;
    let mounts = cairn_releng::site::mount_specs(&config)?;
    let view = |name: &cairn_store::refs::RefName| {
        let view = cairn_releng::names::view_for_ref(&config, name.as_str())?;
        let path = RelPath::new(&view.path).ok()?;
        Some(ViewSpec { name: name.clone(), mount: view.mount, path })
    };
    let subject = Subject { store: Path::new(&config.store.path), mounts: &mounts, view: &view };
    let level = if args.full { Level::Full } else { Level::Quick };
    let report = cairn_fsck::check(&subject, level, &context.progress)?;
    context.progress.finish();
    let code = match report.worst() {
        None => 0,
        Some(Severity::Notice | Severity::Warning) => 3,
        Some(Severity::Damage) => 13,
    };
    let output = context.output;
    if output.json {
        return Ok(output.document("fsck", &report).map(|()| code)?);
    }
    let mut text = String::new();
    for finding in &report.findings {
        let name = finding.code.name();
        let name = match finding.severity {
            Severity::Notice => output.faint(name),
            Severity::Warning => output.warn(name),
            Severity::Damage => output.bad(name),
        };
        text += &format!("{name}  {}: {}\n", finding.subject, finding.message);
        let limit = if output.verbose > 0 { usize::MAX } else { AFFECTED };
        for affected in finding.affected.iter().take(limit) {
            text += &format!("    {}\n", Escaped(affected.as_bytes()));
        }
        if finding.affected.len() > limit {
            let more = (finding.affected.len() - limit) as u64;
            text += &format!("    and {} (-v lists all)\n", count(more, "more path"));
        }
    }
    text += &format!(
        "{}, {}, {}, {} checked; {} hashed: {}\n",
        count(report.operations, "operation"),
        count(report.packs, "pack"),
        count(report.objects, "object"),
        count(report.live_paths, "live path"),
        size(report.bytes_hashed),
        match report.findings.len() as u64 {
            0 => output.good("nothing is wrong."),
            found => output.bad(&format!("{}.", count(found, "finding"))),
        }
    );
    Ok(output.text(&text).map(|()| code)?)
}
