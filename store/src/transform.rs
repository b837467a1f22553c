//! Transforms: pure functions from trees to trees.
//!
//! They read and write nodes of a [`Draft`] and touch nothing else, which is why a dry run is
//! exact. Equal subtrees are passed on by their id without being read.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::fs::Time;
use crate::path::RelPath;
use crate::tree::{DirEntry, Draft, Entry, Nodes, Pair, TreeBuilder, merge};

/// Lays `top` over `base`: what both have is `top`'s, directories are merged.
///
/// A directory whose name `unit` accepts is one thing and never merged: `top`'s replaces
/// `base`'s whole. A merged directory has `top`'s mode and time.
pub fn overlay(
    draft: &Draft<'_>,
    base: &DirEntry,
    top: &DirEntry,
    unit: &dyn Fn(&[u8]) -> bool,
) -> Result<DirEntry> {
    if base.tree == top.tree {
        return Ok(*top);
    }
    let (base_tree, top_tree) = (draft.tree(&base.tree)?, draft.tree(&top.tree)?);
    if base_tree.is_empty() {
        return Ok(*top);
    }
    let count = base_tree.entries().len().max(top_tree.entries().len());
    let mut entries = TreeBuilder::with_capacity(count);
    for pair in merge(base_tree.entries(), top_tree.entries()) {
        let (name, entry) = match pair {
            Pair::Left(name, old) => (name, old.clone()),
            Pair::Right(name, new) => (name, new.clone()),
            Pair::Both(name, Entry::Dir(old), Entry::Dir(new)) if !unit(name) => {
                (name, Entry::Dir(overlay(draft, old, new, unit)?))
            }
            Pair::Both(name, _, new) => (name, new.clone()),
        };
        entries.push(name, entry);
    }
    Ok(draft.put(entries.finish(), top.mode, top.mtime))
}

/// Returns what `from` has at paths that `other` lacks, or nothing when it lacks none.
pub fn subtract(draft: &Draft<'_>, from: &DirEntry, other: &DirEntry) -> Result<Option<DirEntry>> {
    if from.tree == other.tree {
        return Ok(None);
    }
    let mut entries = TreeBuilder::default();
    for pair in draft.differences(&from.tree, &other.tree)?.iter() {
        match pair {
            Pair::Left(name, entry) => entries.push(name, entry.clone()),
            Pair::Both(name, Entry::Dir(a), Entry::Dir(b)) => {
                if let Some(rest) = subtract(draft, a, b)? {
                    entries.push(name, Entry::Dir(rest));
                }
            }
            Pair::Both(..) | Pair::Right(..) => {}
        }
    }
    let rest = entries.finish();
    if rest.is_empty() {
        return Ok(None);
    }
    Ok(Some(draft.put(rest, from.mode, from.mtime)))
}

/// Removes every path that `excluded` accepts, a directory with all that is below it.
pub fn exclude(
    draft: &Draft<'_>,
    dir: &DirEntry,
    excluded: &dyn Fn(&RelPath) -> bool,
) -> Result<DirEntry> {
    exclude_below(draft, dir, &RelPath::ROOT, excluded)
}

fn exclude_below(
    draft: &Draft<'_>,
    dir: &DirEntry,
    prefix: &RelPath,
    excluded: &dyn Fn(&RelPath) -> bool,
) -> Result<DirEntry> {
    let tree = draft.tree(&dir.tree)?;
    let mut entries = TreeBuilder::with_capacity(tree.entries().len());
    let mut changed = false;
    for (name, entry) in tree.entries() {
        let path = prefix.join(name);
        if excluded(&path) {
            changed = true;
            continue;
        }
        let kept = match entry {
            Entry::Dir(child) => {
                let kept = exclude_below(draft, child, &path, excluded)?;
                changed |= kept != *child;
                Entry::Dir(kept)
            }
            Entry::File(_) | Entry::Symlink(_) => entry.clone(),
        };
        entries.push(name, kept);
    }
    if !changed {
        return Ok(*dir);
    }
    Ok(draft.put(entries.finish(), dir.mode, dir.mtime))
}

/// Puts `entry` at `path` below `dir`, creating the directories that are missing; with no entry
/// the path is removed.
pub fn graft(
    draft: &Draft<'_>,
    dir: &DirEntry,
    path: &RelPath,
    entry: Option<Entry>,
) -> Result<DirEntry> {
    let names: Vec<&[u8]> = path.names().collect();
    match (&names[..], entry) {
        ([], Some(Entry::Dir(root))) => Ok(root),
        ([], _) => Err(Error::corrupt(path.to_string(), "a root can only be a directory")),
        (names, entry) => graft_names(draft, dir, names, entry),
    }
}

fn graft_names(
    draft: &Draft<'_>,
    dir: &DirEntry,
    names: &[&[u8]],
    entry: Option<Entry>,
) -> Result<DirEntry> {
    let (name, rest) = names.split_first().expect("graft passes at least one name");
    let tree = draft.tree(&dir.tree)?;
    let mut new = if rest.is_empty() {
        entry
    } else {
        let below = match tree.get(name) {
            Some(Entry::Dir(child)) => *child,
            // Nothing is there to remove.
            _ if entry.is_none() => return Ok(*dir),
            _ => draft.empty(0o755, dir.mtime),
        };
        Some(Entry::Dir(graft_names(draft, &below, rest, entry)?))
    };
    let mut entries = TreeBuilder::with_capacity(tree.entries().len() + 1);
    for (other, entry) in tree.entries() {
        if other >= *name
            && let Some(entry) = new.take()
        {
            entries.push(name, entry);
        }
        if other != *name {
            entries.push(other, entry.clone());
        }
    }
    if let Some(entry) = new {
        entries.push(name, entry);
    }
    Ok(draft.put(entries.finish(), dir.mode, dir.mtime))
}

/// What [`settle_times`] did.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The tree with its times settled.
    pub root: DirEntry,
    /// Files whose content changed with size and time equal, and whose time was moved forward.
    pub moved: Vec<RelPath>,
}

/// Gives every path of `new` the time that readers must see after `old`.
///
/// A path whose content did not change keeps the time that it had, so that the same bytes are the
/// same tree. A file whose content changed while its size stayed equal gets a later time than it
/// had, because rsync compares nothing else: an equal time it would never send, and an older one
/// might be what a mirror had that missed the content between.
pub fn settle_times(draft: &Draft<'_>, old: &DirEntry, new: &DirEntry) -> Result<Settled> {
    let mut moved = Vec::new();
    let root = settle_dir(draft, old, new, &RelPath::ROOT, &mut moved)?;
    Ok(Settled { root, moved })
}

fn settle_dir(
    draft: &Draft<'_>,
    old: &DirEntry,
    new: &DirEntry,
    path: &RelPath,
    moved: &mut Vec<RelPath>,
) -> Result<DirEntry> {
    if old.tree == new.tree {
        let mtime = if old.mode == new.mode { old.mtime } else { new.mtime };
        return Ok(DirEntry { mtime, ..*new });
    }
    let differences = draft.differences(&old.tree, &new.tree)?;
    // What is below comes first, in parallel; then this directory, in the order of its names.
    let dirs: Vec<_> = differences
        .iter()
        .filter_map(|pair| match pair {
            Pair::Both(name, Entry::Dir(a), Entry::Dir(b)) => Some((name, a, b)),
            Pair::Left(..) | Pair::Right(..) | Pair::Both(..) => None,
        })
        .collect();
    let below = dirs.into_par_iter().map(|(name, a, b)| {
        let mut moved = Vec::new();
        let dir = settle_dir(draft, a, b, &path.join(name), &mut moved)?;
        Ok((dir, moved))
    });
    let mut below = below.collect::<Result<Vec<_>>>()?.into_iter();
    // Most directories hold nothing whose time must change, and are what they are already.
    let mut changes: Vec<(&[u8], Entry)> = Vec::new();
    for pair in differences.iter() {
        let (name, settled) = match pair {
            Pair::Left(..) | Pair::Right(..) => continue,
            Pair::Both(name, Entry::Dir(_), Entry::Dir(b)) => {
                let (dir, inside) = below.next().expect("what both have was settled above");
                moved.extend(inside);
                (name, (dir != *b).then_some(Entry::Dir(dir)))
            }
            Pair::Both(name, Entry::File(a), Entry::File(b)) => {
                let mut file = *b;
                if a.object == b.object && a.mode == b.mode {
                    file.mtime = a.mtime;
                } else if a.object != b.object && a.size == b.size && b.mtime.secs <= a.mtime.secs {
                    file.mtime = Time { secs: a.mtime.secs + 1, nanos: 0 };
                    moved.push(path.join(name));
                }
                (name, (file != *b).then_some(Entry::File(file)))
            }
            Pair::Both(name, Entry::Symlink(a), Entry::Symlink(b)) => {
                (name, (a.target == b.target && a != b).then(|| Entry::Symlink(a.clone())))
            }
            Pair::Both(..) => continue,
        };
        changes.extend(settled.map(|entry| (name, entry)));
    }
    let settled = if changes.is_empty() {
        *new
    } else {
        let new_tree = draft.tree(&new.tree)?;
        let mut changes = changes.into_iter().peekable();
        let mut entries = TreeBuilder::with_capacity(new_tree.entries().len());
        for (name, entry) in new_tree.entries() {
            let change = changes.next_if(|(at, _)| *at == name);
            entries.push(name, change.map_or_else(|| entry.clone(), |(_, entry)| entry));
        }
        draft.put(entries.finish(), new.mode, new.mtime)
    };
    // Only times differed: this is the directory that was there.
    let same = settled.tree == old.tree && settled.mode == old.mode;
    Ok(if same { *old } else { settled })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::diff::{Change, diff};
    use crate::id::ObjectId;
    use crate::tree::tests::NoNodes;
    use crate::tree::{FileEntry, walk};

    const T: Time = Time { secs: 1_762_000_000, nanos: 0 };
    const EMPTY_UNIT: &dyn Fn(&[u8]) -> bool = &|_| false;

    /// What a tree holds, as a map of file paths to content and time; the model.
    type Model = BTreeMap<String, (u8, i64)>;

    fn file(content: u8, secs: i64) -> Entry {
        Entry::File(FileEntry {
            object: ObjectId::of(&[content]),
            size: 1,
            mode: 0o644,
            mtime: Time { secs, nanos: 0 },
        })
    }

    fn build(draft: &Draft<'_>, model: &Model) -> DirEntry {
        let mut root = draft.empty(0o755, T);
        for (path, (content, secs)) in model {
            let path = RelPath::new(path).unwrap();
            root = graft(draft, &root, &path, Some(file(*content, *secs))).unwrap();
        }
        root
    }

    fn read(draft: &Draft<'_>, root: &DirEntry) -> Model {
        let mut model = Model::new();
        walk(draft, root, &RelPath::ROOT, &mut |path, entry| {
            if let Entry::File(found) = entry {
                let content = (0..=255).find(|byte| ObjectId::of(&[*byte]) == found.object);
                model.insert(path.to_string(), (content.unwrap(), found.mtime.secs));
            }
            Ok(true)
        })
        .unwrap();
        model
    }

    /// Paths of two fixed levels, so that no file stands where another model has a directory.
    fn model() -> impl Strategy<Value = Model> {
        let path = ("[abr]", "[xyz]").prop_map(|(dir, name)| format!("{dir}/{name}"));
        prop::collection::btree_map(path, (0u8..4, 0i64..3), 0..10)
    }

    proptest! {
        #[test]
        fn applying_a_diff_to_the_old_tree_gives_the_new(a in model(), b in model()) {
            let draft = Draft::new(&NoNodes);
            let (old, new) = (build(&draft, &a), build(&draft, &b));
            let mut result = old;
            diff(&draft, Some(&old), Some(&new), &mut |Change { path, old, new }| {
                let is_dir = |entry: &Option<Entry>| matches!(entry, Some(Entry::Dir(_)));
                if !is_dir(&old) && !is_dir(&new) {
                    result = graft(&draft, &result, &path, new)?;
                }
                Ok(())
            }).unwrap();
            prop_assert_eq!(read(&draft, &result), b);
        }

        #[test]
        fn an_overlay_is_the_union_where_the_top_wins(a in model(), b in model()) {
            let draft = Draft::new(&NoNodes);
            let (base, top) = (build(&draft, &a), build(&draft, &b));
            let both = overlay(&draft, &base, &top, EMPTY_UNIT).unwrap();
            let mut expected = a.clone();
            expected.extend(b.clone());
            prop_assert_eq!(read(&draft, &both), expected);
            // Laws: laying a tree over itself, and twice, changes nothing.
            prop_assert_eq!(overlay(&draft, &base, &base, EMPTY_UNIT).unwrap(), base);
            let again = overlay(&draft, &both, &top, EMPTY_UNIT).unwrap();
            prop_assert_eq!(read(&draft, &again), read(&draft, &both));
        }

        #[test]
        fn overlays_are_associative(a in model(), b in model(), c in model()) {
            let draft = Draft::new(&NoNodes);
            let (a, b, c) = (build(&draft, &a), build(&draft, &b), build(&draft, &c));
            let over = |x: &DirEntry, y: &DirEntry| overlay(&draft, x, y, EMPTY_UNIT).unwrap();
            prop_assert_eq!(
                read(&draft, &over(&over(&a, &b), &c)),
                read(&draft, &over(&a, &over(&b, &c)))
            );
        }

        #[test]
        fn what_is_subtracted_laid_below_gives_the_union(a in model(), b in model()) {
            let draft = Draft::new(&NoNodes);
            let (from, other) = (build(&draft, &a), build(&draft, &b));
            let rest = subtract(&draft, &from, &other).unwrap();
            let rest_model = rest.map(|rest| read(&draft, &rest)).unwrap_or_default();
            let expected: Model =
                a.iter().filter(|(path, _)| !b.contains_key(*path)).map(|(p, v)| (p.clone(), *v)).collect();
            prop_assert_eq!(rest_model, expected);
        }

        #[test]
        fn settled_times_are_what_readers_must_see(a in model(), b in model()) {
            let draft = Draft::new(&NoNodes);
            let (old, new) = (build(&draft, &a), build(&draft, &b));
            let settled = settle_times(&draft, &old, &new).unwrap();
            let found = read(&draft, &settled.root);
            for (path, (content, secs)) in &b {
                let expected = match a.get(path) {
                    Some((before, time)) if before == content => *time,
                    Some((_, time)) if secs <= time => time + 1,
                    _ => *secs,
                };
                prop_assert_eq!(found[path], (*content, expected), "{}", path);
            }
            let again = settle_times(&draft, &settled.root, &new).unwrap();
            prop_assert_eq!(again.root.tree, settled.root.tree, "settling twice is settling once");
            prop_assert!(again.moved.is_empty());
        }
    }

    #[test]
    fn the_same_content_with_new_times_is_the_same_tree() {
        let draft = Draft::new(&NoNodes);
        let old = build(&draft, &[("a/x".to_owned(), (1, 5)), ("b/y".to_owned(), (2, 5))].into());
        let new = build(&draft, &[("a/x".to_owned(), (1, 9)), ("b/y".to_owned(), (2, 9))].into());
        assert_eq!(settle_times(&draft, &old, &new).unwrap().root, old);
    }

    #[test]
    fn removing_what_is_not_there_changes_nothing() {
        let draft = Draft::new(&NoNodes);
        let root = build(&draft, &[("a/x".to_owned(), (1, 1))].into());
        for path in ["b/c/d", "a/y", "a/x/z"] {
            let path = RelPath::new(path).unwrap();
            assert_eq!(graft(&draft, &root, &path, None).unwrap(), root, "{path}");
        }
    }

    #[test]
    fn a_unit_is_taken_whole_from_the_top() {
        let draft = Draft::new(&NoNodes);
        let base: Model =
            [("os/repodata/old".to_owned(), (1, 1)), ("os/bash".to_owned(), (1, 1))].into();
        let top: Model = [("os/repodata/new".to_owned(), (2, 1))].into();
        let (base, top) = (build(&draft, &base), build(&draft, &top));
        let both = overlay(&draft, &base, &top, &|name| name == b"repodata").unwrap();
        let names: Vec<String> = read(&draft, &both).into_keys().collect();
        assert_eq!(names, ["os/bash", "os/repodata/new"]);
    }

    #[test]
    fn an_excluded_directory_goes_with_all_below_it() {
        let draft = Draft::new(&NoNodes);
        let model: Model = [
            ("os/images/boot.iso".to_owned(), (1, 1)),
            ("os/bash".to_owned(), (1, 1)),
            ("media.repo".to_owned(), (1, 1)),
        ]
        .into();
        let root = build(&draft, &model);
        let kept = exclude(&draft, &root, &|path| path.file_name() == b"images").unwrap();
        let names: Vec<String> = read(&draft, &kept).into_keys().collect();
        assert_eq!(names, ["media.repo", "os/bash"]);
        assert_eq!(exclude(&draft, &root, &|_| false).unwrap(), root);
    }
}
