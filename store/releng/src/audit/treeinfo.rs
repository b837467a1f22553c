//! What a `.treeinfo` says otherwise, key by key.

use std::collections::BTreeMap;

use serde::Serialize;

use cairn_repodata::treeinfo::Treeinfo;
use cairn_store::path::RelPath;

use super::State;
use super::repos::in_step;

/// A `.treeinfo` that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TreeinfoRow {
    /// Where it is.
    pub path: RelPath,
    /// Whether it is new, gone or changed.
    pub state: State,
    /// Keys that differ, in order; none of a file that is new or gone.
    pub keys: Vec<TreeinfoKey>,
}

/// A key with another value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TreeinfoKey {
    /// Its section.
    pub section: String,
    /// Its name.
    pub key: String,
    /// What it said.
    pub old: Option<String>,
    /// What it says.
    pub new: Option<String>,
}

/// Compares two files; nothing is a file that is not there.
pub(super) fn compare(path: &RelPath, old: Option<Treeinfo>, new: Option<Treeinfo>) -> TreeinfoRow {
    let state = State::of(&old, &new);
    let mut keys = Vec::new();
    if let (Some(old), Some(new)) = (&old, &new) {
        for ((section, key), old, new) in in_step(values(old).into_iter(), values(new).into_iter())
        {
            if old != new {
                let [section, key] = [section, key].map(str::to_owned);
                let [old, new] = [old, new].map(|value| value.map(str::to_owned));
                keys.push(TreeinfoKey { section, key, old, new });
            }
        }
    }
    TreeinfoRow { path: path.clone(), state, keys }
}

/// The values by section and key; of a key that is there twice the last, as installers read it.
fn values(treeinfo: &Treeinfo) -> BTreeMap<(&str, &str), &str> {
    let sections = treeinfo.sections().into_iter();
    let entries = sections.flat_map(|section| {
        treeinfo.section(section).into_iter().map(move |(key, value)| ((section, key), value))
    });
    entries.collect()
}
