//! The store's own formats (docs/format.md): they come from a disk, which may have rotted.

use cairn_store::id::{OperationId, PackId, SnapshotId};
use cairn_store::log::Log;
use cairn_store::pack::{self, Salvage};
use cairn_store::path::{Escaped, RelPath};
use cairn_store::publish::rewrite_trees;
use cairn_store::refs::{RefName, Rev};
use cairn_store::snapshot::Snapshot;
use cairn_store::tree::Tree;

use super::{Outcome, refused};

/// Reads a tree: it is the tree that its bytes say, to the last bit.
pub fn tree(bytes: &[u8]) -> Outcome {
    let tree = Tree::decode(bytes).map_err(refused)?;
    assert_eq!(tree.encode(), bytes, "a tree has one encoding");
    let mut before: Option<&[u8]> = None;
    for (name, entry) in tree.entries().iter() {
        assert!(before.is_none_or(|before| before < name), "entries are sorted");
        assert!(RelPath::new(name).is_ok_and(|path| path.names().count() == 1), "a name is one");
        assert_eq!(tree.get(name), Some(entry));
        before = Some(name);
    }
    Ok(())
}

/// Reads a snapshot under its own name, so that what is asked is not the hash.
pub fn snapshot(bytes: &[u8]) -> Outcome {
    let id = SnapshotId::of(bytes);
    let snapshot = Snapshot::decode(&id, bytes).map_err(refused)?;
    let (id, canonical) = snapshot.encode();
    assert_eq!(Snapshot::decode(&id, &canonical).expect("what is written is read"), snapshot);
    Ok(())
}

/// Reads a pack, under the name of its bytes and, as salvage does, under another.
pub fn pack(bytes: &[u8]) -> Outcome {
    let name = PackId::of(bytes);
    let other = PackId::from_bytes([9; 32]);
    assert!(pack::list(&other, bytes).is_err(), "it is not what its name says");
    for (name, whole) in [(name, true), (other, false)] {
        let salvage = Salvage::of(&name, bytes.to_vec());
        assert_eq!((salvage.is_sound, &*salvage.bytes), (whole, bytes));
        for (id, place) in salvage.places.iter().chain(&salvage.damaged) {
            let node = &bytes[place.offset as usize..][..place.len as usize];
            assert!(whole || id.names(node) == salvage.places.contains(&(*id, *place)));
        }
        if let Ok(listing) = pack::list(&name, bytes) {
            assert_eq!(salvage.places, listing, "what is sound is salvaged whole");
        }
    }
    pack::list(&name, bytes).map(drop).map_err(refused)
}

/// Reads an operation of the log.
pub fn operation(bytes: &[u8]) -> Outcome {
    let (id, operation) = Log::decode(1, bytes).map_err(|error| {
        let text = refused(error);
        assert!(text.contains("log/0000000001.json"), "{text}");
        text
    })?;
    assert_eq!((id, operation.number), (OperationId::of(bytes), 1));
    let written = operation.encode();
    let (_, again) = Log::decode(1, &written).expect("what is written is read");
    assert_eq!(again.encode(), written);
    Ok(())
}

/// Reads a view's record of its trees.
pub fn trees_json(bytes: &[u8]) -> Outcome {
    let written = rewrite_trees(bytes).map_err(refused)?;
    assert_eq!(rewrite_trees(&written).expect("what is written is read"), written);
    Ok(())
}

/// Reads names and paths: of files, refs, revisions, packages and locations.
pub fn names(bytes: &[u8]) -> Outcome {
    let escaped = Escaped(bytes).to_string();
    assert!(!escaped.chars().any(char::is_control), "{escaped:?}");
    let path = RelPath::new(bytes);
    if let Ok(path) = &path {
        let names: Vec<&[u8]> = path.names().collect();
        assert!(names.iter().all(|name| ![&b""[..], b".", b".."].contains(name)));
        assert_eq!(&RelPath::new(path.as_bytes()).expect("a path is one"), path);
    }
    if let Some(name) = RefName::from_file_name(bytes) {
        assert_eq!(name.file_name().as_bytes(), bytes);
    }
    let text = String::from_utf8_lossy(bytes);
    if let Ok(name) = RefName::new(text.as_ref()) {
        let file = name.file_name();
        assert!(!file.contains('/') && RelPath::new(&file).is_ok());
        assert_eq!(RefName::from_file_name(file.as_bytes()), Some(name));
    }
    let _ = Rev::parse(&text);
    super::metadata::package_names(&text);
    path.map(drop).map_err(refused)
}
