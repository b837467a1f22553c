//! `cairn repodata`: metadata of plain directories.

use std::fmt::Write as _;

use cairn_releng::config::parse_duration;
use cairn_releng::repos::{BuildOptions, BuildReport, Compression, DistroTag, Reading, build};

use super::{Context, Exit};
use crate::args::{RepodataBuildArgs, RepodataCommand, RepodataCompression};
use crate::failure::Failure;
use crate::output::{Output, count, size};

/// `cairn repodata …`.
pub fn run(context: &Context<'_>, command: &RepodataCommand) -> Exit {
    match command {
        RepodataCommand::Build(args) => build_dir(context, args),
    }
}

fn build_dir(context: &Context<'_>, args: &RepodataBuildArgs) -> Exit {
    let keep_old = parse_duration(&args.keep_old).map_err(|error| {
        Failure::usage(format!("--keep-old: {error}"), "a time is written 0s, 90m or 24h")
    })?;
    let options = BuildOptions {
        reading: if args.reread { Reading::Everything } else { Reading::Unknown },
        comps: args.comps.clone(),
        modules: args.modules.clone(),
        updateinfo: args.updateinfo.clone(),
        compression: args.compression.map(|compression| match compression {
            RepodataCompression::Gz => Compression::Gzip,
            RepodataCompression::Xz => Compression::Xz,
            RepodataCompression::Zstd => Compression::Zstd,
            RepodataCompression::Bz2 => Compression::Bzip2,
            RepodataCompression::None => Compression::None,
        }),
        revision: args.revision.clone(),
        distro: args.distro.iter().map(|text| DistroTag::parse(text)).collect(),
        keep_old,
        mode: context.mode(),
        lock_wait: context.session(None)?.lock_wait,
        command: context.command.join(" "),
    };
    let report = build(&args.dir, &options, &context.progress)?;
    context.progress.finish();
    if context.output.json {
        context.output.document("repodata-build", &report)?;
        return Ok(0);
    }
    context.output.notes(&report.notes);
    context.output.text(&text(context.output, &report))?;
    Ok(0)
}

fn text(output: &Output, report: &BuildReport) -> String {
    let mut text = String::new();
    let what = match (report.changed, report.dry_run) {
        (false, _) => "nothing to do",
        (true, true) => "would be written anew",
        (true, false) => "written anew",
    };
    let _ = writeln!(text, "{}: {what}", output.strong(&report.path));
    let mut parts =
        vec![format!("{} described as before", count(report.carried as u64, "package"))];
    if report.fresh > 0 {
        parts.push(output.good(&format!("{} anew", report.fresh)));
    }
    if report.removed > 0 {
        parts.push(output.bad(&format!("{} gone", report.removed)));
    }
    let _ = writeln!(text, "  {}; {} read", parts.join(", "), count(report.read as u64, "file"));
    let _ = writeln!(text, "  {}: {}", size(report.bytes), report.records.join(", "));
    text
}
