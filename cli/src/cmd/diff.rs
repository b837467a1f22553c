//! `cairn diff`.

use std::fmt::Write as _;

use cairn_releng::audit::{
    self, Audit, Broken, FilesDiff, Level, MetadataDiff, Options, PackageRow, PackagesDiff,
};
use cairn_store::id::SnapshotId;
use cairn_store::path::RelPath;
use serde::Serialize;

use super::report::changed;
use super::{Context, Exit};
use crate::args::{By, DiffArgs};
use crate::output::{Output, Table, count, size};

/// The exit code for differences, when it was asked for.
const DIFFERENT: u8 = 3;

#[derive(Serialize)]
struct Document {
    old: SnapshotId,
    new: SnapshotId,
    different: bool,
    #[serde(flatten)]
    audit: Audit,
}

/// Compares two snapshots.
pub fn run(context: &Context<'_>, args: &DiffArgs) -> Exit {
    let site = context.site(None)?;
    let (old, new) = (site.resolve(&args.old)?, site.resolve(&args.new)?);
    let (before, after) = (site.store.snapshot(&old)?.root(), site.store.snapshot(&new)?.root());
    let level = match args.by {
        By::Files => Level::Files,
        By::Packages => Level::Packages,
        By::Metadata => Level::Metadata,
    };
    let open = |file: &_, path: &_| site.open_content(file, path);
    let options = Options { broken: Broken::Report, ..Options::default() };
    let audit = audit::compare(&site.store, &open, Some(&before), Some(&after), level, &options)
        .map_err(cairn_releng::Error::from)?;
    let different = !audit.is_empty();
    let code = if different && args.exit_code { DIFFERENT } else { 0 };
    let output = context.output;
    output.notes(site.store.notes());
    if output.json {
        let document = Document { old, new, different, audit };
        return Ok(output.document("diff", &document).map(|()| code)?);
    }
    let text = match (&audit.packages, &audit.metadata) {
        _ if !different => "Nothing differs.\n".to_owned(),
        (Some(packages), _) => package_lines(output, packages, ""),
        (_, Some(metadata)) => metadata_lines(output, metadata),
        (None, None) => file_lines(output, &audit.files),
    };
    let text = match text.is_empty() {
        true => format!(
            "Nothing differs at this level; files: {}.\n",
            changed(output, &audit.files.totals)
        ),
        false => text,
    };
    Ok(output.text(&text).map(|()| code)?)
}

fn file_lines(output: &Output, files: &FilesDiff) -> String {
    let mut rows: Vec<(&RelPath, String)> = Vec::new();
    for row in &files.added {
        let size = row.new_size.map_or_else(String::new, size);
        rows.push((
            &row.path,
            format!("{} {}  {}", output.good("+"), row.path, output.faint(&size)),
        ));
    }
    for row in &files.removed {
        rows.push((&row.path, format!("{} {}", output.bad("-"), row.path)));
    }
    for row in &files.changed {
        let how = match (row.metadata_only, row.old_size, row.new_size) {
            (true, ..) => "mode or time".to_owned(),
            (false, Some(old), Some(new)) => format!("{} → {}", size(old), size(new)),
            (false, ..) => "another kind".to_owned(),
        };
        rows.push((
            &row.path,
            format!("{} {}  {}", output.warn("~"), row.path, output.faint(&how)),
        ));
    }
    rows.sort();
    let mut text: String = rows.into_iter().map(|(_, line)| line + "\n").collect();
    let mut table = Table::default();
    for row in &files.by_repo {
        let kind = format!("{:?}", row.kind).to_lowercase();
        table.row([row.repo.to_string(), kind, changed(output, &row.changed)]);
    }
    text += &table.render("");
    let _ = writeln!(text, "{}", changed(output, &files.totals));
    text
}

/// A way to colour a heading.
type Paint = fn(&Output, &str) -> String;

/// Renders what differs by package: a line a package, the sections that deserve a look first.
pub fn package_lines(output: &Output, packages: &PackagesDiff, indent: &str) -> String {
    let sections: [(&str, &[PackageRow], Paint); 5] = [
        ("downgraded", &packages.downgraded, Output::bad),
        ("removed", &packages.removed, Output::bad),
        ("rebuilt", &packages.rebuilt, Output::warn),
        ("upgraded", &packages.upgraded, Output::good),
        ("added", &packages.added, Output::good),
    ];
    let mut text = String::new();
    for (name, rows, paint) in sections {
        if rows.is_empty() {
            continue;
        }
        let head = format!("{} {name}", count(rows.len() as u64, "package"));
        let _ = writeln!(text, "{indent}{}", paint(output, &head));
        let mut table = Table::default();
        for row in rows {
            let versions = match (&row.old, &row.new) {
                (Some(old), Some(new)) if old == new => format!("{old}, other bytes"),
                (Some(old), Some(new)) => format!("{old} → {new}"),
                (Some(only), None) | (None, Some(only)) => only.clone(),
                (None, None) => String::new(),
            };
            table.row([
                format!("{}.{}", row.name, row.arch),
                versions,
                output.faint(&row.repo.to_string()),
            ]);
        }
        text += &table.render(&format!("{indent}  "));
    }
    for (name, repos) in
        [("new repo", &packages.repos_added), ("lost repo", &packages.repos_removed)]
    {
        for repo in repos {
            let _ = writeln!(text, "{indent}{}  {repo}", output.warn(name));
        }
    }
    for error in &packages.errors {
        let _ = writeln!(text, "{indent}{}  {error}", output.bad("not compared"));
    }
    text
}

fn metadata_lines(output: &Output, metadata: &MetadataDiff) -> String {
    let mut table = Table::default();
    for row in &metadata.records {
        let state = match (&row.old, &row.new) {
            (None, _) => output.good("added"),
            (_, None) => output.bad("removed"),
            _ if row.recompressed => "compressed anew".to_owned(),
            _ => output.warn("changed"),
        };
        table.row([row.repo.to_string(), row.kind.clone(), state]);
    }
    for row in &metadata.revisions {
        let name = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".into());
        let state = format!("{} → {}", name(&row.old), name(&row.new));
        table.row([row.repo.to_string(), "revision".to_owned(), state]);
    }
    for row in &metadata.files {
        let state = match (&row.old, &row.new) {
            (None, _) => output.good("added"),
            (_, None) => output.bad("removed"),
            _ => output.warn("changed"),
        };
        table.row([row.path.to_string(), "file".to_owned(), state]);
    }
    let mut text = table.render("");
    for error in &metadata.errors {
        let _ = writeln!(text, "{}  {error}", output.bad("not compared"));
    }
    text
}
