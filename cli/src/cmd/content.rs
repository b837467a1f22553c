//! `cairn ls` and `cairn cat`.

use std::io::{BufWriter, Read, Write};

use cairn_releng::Site;
use cairn_store::id::SnapshotId;
use cairn_store::path::{Escaped, RelPath};
use cairn_store::tree::{Entry, Nodes, walk};
use serde::Serialize;

use super::{Context, Exit};
use crate::args::{CatArgs, LsArgs};
use crate::failure::Failure;

#[derive(Serialize)]
struct Document {
    snapshot: SnapshotId,
    entries: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    path: RelPath,
    kind: &'static str,
    mode: String,
    size: u64,
    time: Option<jiff::Timestamp>,
    object: Option<String>,
    target: Option<RelPathOrBytes>,
}

/// A link's target in JSON, like a path.
#[derive(Serialize)]
#[serde(untagged)]
enum RelPathOrBytes {
    Text(String),
    Bytes { b64: String },
}

fn split(what: &str) -> Result<(&str, RelPath), Failure> {
    let (rev, path) = what.split_once(':').unwrap_or((what, ""));
    let path = RelPath::new(path).map_err(|reason| {
        Failure::usage(
            format!("{path:?} is not a path in a tree: {reason}"),
            "such as BaseOS/x86_64/os",
        )
    })?;
    Ok((rev, path))
}

fn find(site: &Site, what: &str) -> Result<(SnapshotId, RelPath, Entry), Failure> {
    let (rev, path) = split(what)?;
    let id = site.resolve(rev)?;
    let entry = site.store.entry(&id, &path)?;
    Ok((id, path, entry))
}

/// `cairn ls`.
pub fn ls(context: &Context<'_>, args: &LsArgs) -> Exit {
    let site = context.site(None)?;
    context.output.notes(site.store.notes());
    let (snapshot, path, entry) = find(&site, &args.what)?;
    let mut rows = Vec::new();
    match &entry {
        Entry::Dir(dir) if args.recursive => {
            walk(&site.store, dir, &path, &mut |path, entry| {
                rows.push(row(path, entry));
                Ok(true)
            })?;
        }
        Entry::Dir(dir) => {
            let tree = site.store.tree(&dir.tree)?;
            rows.extend(tree.entries().iter().map(|(name, entry)| row(&path.join(name), entry)));
        }
        Entry::File(_) | Entry::Symlink(_) => rows.push(row(&path, &entry)),
    }
    if context.output.json {
        let document = Document { snapshot, entries: rows };
        return Ok(context.output.document("ls", &document).map(|()| 0)?);
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    for row in &rows {
        let time = row.time.map_or("-".to_owned(), |time| format!("{time:.0}"));
        write!(out, "{} {:>13} {:20} {}", row.mode, row.size, time, row.path)?;
        match &row.target {
            Some(RelPathOrBytes::Text(target)) => {
                writeln!(out, " -> {}", Escaped(target.as_bytes()))?;
            }
            Some(RelPathOrBytes::Bytes { b64 }) => writeln!(out, " -> b64:{b64}")?,
            None => writeln!(out)?,
        }
    }
    out.flush()?;
    Ok(0)
}

fn row(path: &RelPath, entry: &Entry) -> Row {
    let mtime = entry.mtime();
    let time = jiff::Timestamp::new(mtime.secs, mtime.nanos as i32).ok();
    let path = path.clone();
    match entry {
        Entry::File(file) => Row {
            path,
            kind: "file",
            mode: format!("-{:04o}", file.mode),
            size: file.size,
            time,
            object: Some(file.object.to_string()),
            target: None,
        },
        Entry::Dir(dir) => Row {
            path,
            kind: "directory",
            mode: format!("d{:04o}", dir.mode),
            size: dir.bytes,
            time,
            object: Some(dir.tree.to_string()),
            target: None,
        },
        Entry::Symlink(link) => Row {
            path,
            kind: "symlink",
            mode: "l0777".to_owned(),
            size: link.target.len() as u64,
            time,
            object: None,
            target: Some(match std::str::from_utf8(&link.target) {
                Ok(text) => RelPathOrBytes::Text(text.to_owned()),
                Err(_) => RelPathOrBytes::Bytes { b64: cairn_store::path::base64(&link.target) },
            }),
        },
    }
}

/// `cairn cat`.
pub fn cat(context: &Context<'_>, args: &CatArgs) -> Exit {
    let site = context.site(None)?;
    context.output.notes(site.store.notes());
    let (_, path, entry) = find(&site, &args.what)?;
    match entry {
        Entry::File(file) => {
            let mut object = site.open_content(&file, &path)?;
            let mut buffer = vec![0; 1 << 16];
            loop {
                let got = object.read(&mut buffer).map_err(|source| cairn_store::Error::Io {
                    op: "read",
                    path: path.to_string().into(),
                    source,
                })?;
                match got {
                    0 => return Ok(0),
                    got => context.output.write(&buffer[..got])?,
                }
            }
        }
        Entry::Symlink(link) => {
            context.output.write(&link.target)?;
            context.output.write(b"\n")?;
            Ok(0)
        }
        Entry::Dir(_) => Err(Failure::usage(
            format!("{path} is a directory"),
            format!("list it: cairn ls {}", args.what),
        )),
    }
}
