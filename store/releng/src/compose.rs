//! Composes on disk: what a directory is, whether it is finished, where it came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cairn_store::fs::{Dir, canonical};
use cairn_store::path::{RelPath, display};

use crate::error::{Error, Result};

/// The largest STATUS, COMPOSE_ID or composeinfo that is read, in bytes.
const MAX_FACT: u64 = 16 << 20;

/// Whether a compose that says it is not finished may be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unfinished {
    /// It is refused.
    #[default]
    Refuse,
    /// The operator said that it may.
    Allow,
}

/// A compose: the tree that is published, and what is known of it.
#[derive(Debug)]
pub struct Compose {
    /// The compose's own directory, resolved: `…/Rocky-9-updates-20251101.0`.
    pub dir: PathBuf,
    /// The tree inside it: `compose/`, or the directory itself.
    pub tree: Dir,
    /// Facts for the snapshot's provenance.
    pub facts: BTreeMap<String, String>,
    /// What the operator should know.
    pub notes: Vec<String>,
}

impl Compose {
    /// Finds the compose behind a path: a `latest-*` link, a compose's directory, its `compose`
    /// directory, or any plain directory.
    ///
    /// # Errors
    /// A path that is no directory, a compose whose STATUS is not FINISHED, one without files.
    pub fn open(path: &Path, unfinished: Unfinished) -> Result<Self> {
        let real = canonical(path)?;
        let fail = |reason: String| Error::Compose { path: path.to_owned(), reason };
        let given = Dir::open(&real)?;
        let (dir, tree) = match given.try_stat(b"compose")? {
            Some(stat) if stat.kind == cairn_store::fs::Kind::Dir => {
                let tree = given.dir(b"compose")?;
                (given, tree)
            }
            _ => match (real.file_name(), real.parent()) {
                (Some(name), Some(parent)) if name == "compose" => (Dir::open(parent)?, given),
                _ => (given.try_clone()?, given),
            },
        };
        let mut notes = Vec::new();
        let mut facts = BTreeMap::new();
        facts.insert("path".to_owned(), display(path).to_string());
        facts.insert("directory".to_owned(), display(dir.path()).to_string());
        if let Some(name) = dir.path().file_name() {
            facts.insert("name".to_owned(), display(Path::new(name)).to_string());
        }
        if let Some(status) = fact(&dir, "STATUS")? {
            match status.as_str() {
                "FINISHED" => {}
                "FINISHED_INCOMPLETE" => notes.push(
                    "The compose is FINISHED_INCOMPLETE: something that may fail has failed."
                        .to_owned(),
                ),
                _ if unfinished == Unfinished::Allow => {
                    notes.push(format!("The compose's STATUS is {status:?}, taken all the same."));
                }
                _ => return Err(fail(format!("its STATUS is {status:?}, not FINISHED"))),
            }
            facts.insert("status".to_owned(), status);
        }
        let id = match fact(&dir, "COMPOSE_ID")? {
            Some(id) => Some(id),
            None => fact_below(&tree, "metadata", "COMPOSE_ID")?,
        };
        facts.extend(id.map(|id| ("compose_id".to_owned(), id)));
        if let Some(text) = fact_below(&tree, "metadata", "composeinfo.json")? {
            match compose_info(&text) {
                Ok(info) => facts.extend(info),
                Err(reason) => notes.push(format!("metadata/composeinfo.json: {reason}.")),
            }
        }
        if tree.names()?.is_empty() {
            return Err(fail("it is empty; is the file system mounted?".into()));
        }
        Ok(Self { dir: dir.path().to_owned(), tree, facts, notes })
    }
}

/// Reads a short text file, or nothing if it is not there.
fn fact(dir: &Dir, name: &str) -> Result<Option<String>> {
    let Some(stat) = dir.try_stat(name.as_bytes())? else { return Ok(None) };
    let path = dir.path_of(name.as_bytes());
    if stat.kind != cairn_store::fs::Kind::File || stat.size > MAX_FACT {
        return Err(Error::Compose { path, reason: "it is not a short text file".into() });
    }
    let text = String::from_utf8(dir.read(name.as_bytes())?)
        .map_err(|_| Error::Compose { path, reason: "it is not UTF-8".into() })?;
    Ok(Some(text.trim().to_owned()))
}

fn fact_below(dir: &Dir, below: &str, name: &str) -> Result<Option<String>> {
    match dir.dir_at(&RelPath::new(below).expect("a constant path")) {
        Ok(dir) => fact(&dir, name),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns release, date, type and respin of a productmd composeinfo (versions 1.0 to 1.2 agree
/// on these keys).
fn compose_info(text: &str) -> std::result::Result<BTreeMap<String, String>, String> {
    let info: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut facts = BTreeMap::new();
    let mut take = |key: &str, pointer: &str| match info.pointer(pointer) {
        Some(serde_json::Value::String(text)) => drop(facts.insert(key.to_owned(), text.clone())),
        Some(serde_json::Value::Number(n)) => drop(facts.insert(key.to_owned(), n.to_string())),
        _ => {}
    };
    take("compose_date", "/payload/compose/date");
    take("compose_type", "/payload/compose/type");
    take("compose_respin", "/payload/compose/respin");
    take("release_short", "/payload/release/short");
    take("release_version", "/payload/release/version");
    match facts.is_empty() {
        true => Err("it does not say what was composed".into()),
        false => Ok(facts),
    }
}
