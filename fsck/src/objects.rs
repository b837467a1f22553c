//! The objects that refs need, in the pools that must have them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;

use cairn_store::id::ObjectId;
use cairn_store::mount::Mount;
use cairn_store::path::RelPath;
use cairn_store::pool::hash_file;
use cairn_store::progress::Observer;
use cairn_store::tree::{Entry, walk};
use cairn_store::{Error, Result, Store};
use rayon::prelude::*;

use crate::{Code, Level, MAX_AFFECTED, Report, Subject};

/// An object that something needs.
#[derive(Default)]
pub(crate) struct Wanted {
    size: u64,
    /// The mounts whose views show it; empty when any pool will do.
    mounts: HashSet<String>,
    /// Where it is used.
    affected: Vec<String>,
}

/// Returns every object that a ref reaches.
pub(crate) fn wanted(
    store: &Store,
    subject: &Subject<'_>,
    report: &mut Report,
) -> Result<BTreeMap<ObjectId, Wanted>> {
    let mut wanted: BTreeMap<ObjectId, Wanted> = BTreeMap::new();
    for state in store.refs()? {
        let mount = (subject.view)(&state.name).map(|view| view.mount);
        let result = store.snapshot(&state.snapshot).and_then(|snapshot| {
            walk(store, &snapshot.root(), &RelPath::ROOT, &mut |path, entry| {
                if let Entry::File(file) = entry
                    && !file.object.is_empty_file()
                {
                    let row = wanted.entry(file.object).or_default();
                    row.size = file.size;
                    row.mounts.extend(mount.clone());
                    if row.affected.len() < MAX_AFFECTED {
                        row.affected.push(format!("{}:{path}", state.name));
                    }
                }
                Ok(true)
            })
        });
        if let Err(error) = result {
            report.add(Code::NodeMissing, &state.name, error, vec![state.name.to_string()]);
        }
    }
    Ok(wanted)
}

/// Looks at every wanted object in every pool that must have it.
pub(crate) fn check(
    wanted: &BTreeMap<ObjectId, Wanted>,
    mounts: &BTreeMap<String, Mount>,
    level: Level,
    report: &mut Report,
    observer: &dyn Observer,
) -> Result<()> {
    let bytes = wanted.values().map(|row| row.size).sum();
    observer.begin("Checking objects", wanted.len() as u64, bytes);
    let found = Mutex::new(Vec::new());
    let totals = wanted
        .par_iter()
        .map(|(id, row)| {
            if observer.interrupted() {
                return Err(Error::Interrupted);
            }
            let mut counts = (0, 0);
            let mut present = false;
            for (name, mount) in mounts {
                match look(id, row, mount, level, &mut counts, observer)? {
                    Looked::Good => present = true,
                    Looked::Absent if !row.mounts.contains(name) => {}
                    Looked::Absent => {
                        let message = format!("it is not in the pool of {name}");
                        push(&found, Code::ObjectMissing, id, message, row);
                        present = true;
                    }
                    Looked::Bad(code, message) => {
                        push(&found, code, id, format!("in the pool of {name}: {message}"), row);
                        present = true;
                    }
                }
            }
            if !present {
                push(&found, Code::ObjectMissing, id, "it is in no pool".to_owned(), row);
            }
            observer.advance(1, row.size);
            Ok(counts)
        })
        .try_reduce(|| (0, 0), |a, b| Ok((a.0 + b.0, a.1 + b.1)))?;
    report.objects += totals.0;
    report.bytes_hashed += totals.1;
    let mut found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    found.sort_by(|a, b| a.1.cmp(&b.1));
    for (code, id, message, affected) in found {
        report.add(code, id, message, affected);
    }
    Ok(())
}

type Rows = Mutex<Vec<(Code, String, String, Vec<String>)>>;

fn push(found: &Rows, code: Code, id: &ObjectId, message: String, row: &Wanted) {
    let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    found.push((code, id.to_string(), message, row.affected.clone()));
}

enum Looked {
    Good,
    Absent,
    Bad(Code, String),
}

fn look(
    id: &ObjectId,
    row: &Wanted,
    mount: &Mount,
    level: Level,
    counts: &mut (u64, u64),
    observer: &dyn Observer,
) -> Result<Looked> {
    let Some(stat) = mount.pool().stat(id)? else { return Ok(Looked::Absent) };
    counts.0 += 1;
    if stat.size != row.size {
        let message = format!("it has {} bytes, not {}", stat.size, row.size);
        return Ok(Looked::Bad(Code::ObjectSize, message));
    }
    if level == Level::Full {
        let mut file = match mount.pool().open_object(id) {
            Ok(file) => file,
            Err(error) => return Ok(Looked::Bad(Code::ObjectDamaged, error.to_string())),
        };
        counts.1 += stat.size;
        match hash_file(&mut file, &stat, observer) {
            Ok(found) if found == *id => {}
            Ok(found) => {
                let message = format!("its content hashes to {found}");
                return Ok(Looked::Bad(Code::ObjectDamaged, message));
            }
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) => return Ok(Looked::Bad(Code::ObjectDamaged, error.to_string())),
        }
    }
    Ok(Looked::Good)
}
