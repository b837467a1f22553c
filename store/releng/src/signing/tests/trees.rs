//! Trees in memory, and what is signed for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use cairn_store::fs::Time;
use cairn_store::id::{ObjectId, TreeId};
use cairn_store::path::RelPath;
use cairn_store::transform::graft;
use cairn_store::tree::{DirEntry, Draft, Entry, FileEntry, Nodes, SymlinkEntry, Tree, lookup};

use super::*;
use crate::content::Content;
use crate::report::Mode;

const OLD: Time = Time { secs: 1_700_000_000, nanos: 7 };
const NOW: Time = Time { secs: 1_800_000_000, nanos: 0 };

struct NoNodes;

impl Nodes for NoNodes {
    fn tree(&self, id: &TreeId) -> cairn_store::Result<Arc<Tree>> {
        Err(cairn_store::Error::corrupt(format!("tree {id}"), "is not here"))
    }
}

/// Files that are stored, by object.
#[derive(Default)]
struct Files(Mutex<HashMap<ObjectId, Vec<u8>>>);

impl Files {
    fn add(&self, bytes: &[u8]) -> FileEntry {
        let object = ObjectId::of(bytes);
        self.0.lock().unwrap().insert(object, bytes.to_vec());
        FileEntry { object, size: bytes.len() as u64, mode: 0o644, mtime: OLD }
    }

    fn open(&self, draft: &Draft<'_>, file: &FileEntry) -> Content {
        let fresh = draft.content(&file.object);
        let stored = || self.0.lock().unwrap()[&file.object].clone().into();
        Content::from(fresh.unwrap_or_else(stored))
    }
}

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn tree(draft: &Draft<'_>, entries: &[(&str, Entry)]) -> DirEntry {
    let empty = draft.empty(0o755, OLD);
    entries.iter().fold(empty, |root, (at, entry)| {
        graft(draft, &root, &path(at), Some(entry.clone())).unwrap()
    })
}

fn signature(draft: &Draft<'_>, root: &DirEntry, repo: &str) -> Option<Entry> {
    lookup(draft, root, &path(&format!("{repo}/repodata/repomd.xml.asc"))).unwrap()
}

#[test]
fn a_tree_gets_exactly_the_signatures_that_it_lacks() {
    let keys = Keys::new();
    let count = "echo \"$CAIRN_NAME\" >> $HERE/signed";
    let config = keys.in_place(&keys.script("sign", &format!("{count}\n{SIGN}")));
    let release = config.release("9").unwrap();
    let signer = Signer::for_release(&config, &release).unwrap().unwrap();
    let (draft, files) = (Draft::new(&NoNodes), Files::default());
    let detached =
        |bytes: &[u8]| keys.signed(&["--armor", "--detach-sign", "--local-user", "A"], bytes);
    let good = |bytes: &[u8]| Entry::File(files.add(&detached(bytes)));
    let file = |bytes: &[u8]| Entry::File(files.add(bytes));
    let link = |target: &str| {
        Entry::Symlink(SymlinkEntry { target: target.as_bytes().into(), mtime: OLD })
    };
    let kept = good(b"same");
    let earlier = good(b"made again");
    let old = tree(
        &draft,
        &[
            ("again/repodata/repomd.xml", file(b"made again")),
            ("again/repodata/repomd.xml.asc", earlier.clone()),
            ("other/repodata/repomd.xml", file(b"before")),
            ("other/repodata/repomd.xml.asc", good(b"before")),
            ("worse/repodata/repomd.xml", file(b"worse")),
            ("worse/repodata/repomd.xml.asc", file(b"no signature")),
        ],
    );
    let new = tree(
        &draft,
        &[
            // Good, whatever the tree before had.
            ("same/repodata/repomd.xml", file(b"same")),
            ("same/repodata/repomd.xml.asc", kept.clone()),
            // The tree before has a good one for these bytes.
            ("again/repodata/repomd.xml", file(b"made again")),
            // That one is over other bytes, or none.
            ("other/repodata/repomd.xml", file(b"after")),
            ("worse/repodata/repomd.xml", file(b"worse")),
            // Stale, empty, not a file; and metadata that is equal, in a repo within a repo.
            ("stale/repodata/repomd.xml", file(b"twice")),
            ("stale/repodata/repomd.xml.asc", kept.clone()),
            ("stale/deep/er/repodata/repomd.xml", file(b"twice")),
            ("stale/deep/er/repodata/repomd.xml.asc", link("elsewhere")),
            ("a/repodata/repomd.xml", file(b"twice")),
            ("a/repodata/repomd.xml.asc", file(b"")),
            ("large/repodata/repomd.xml", file(b"large")),
            ("large/repodata/repomd.xml.asc", file(&vec![b'x'; MAX_SIGNATURE + 1])),
            // No repos.
            ("link/repodata/repomd.xml", link("elsewhere")),
            ("none/repodata/primary.xml", file(b"x")),
            ("repodata/inside/repodata/repomd.xml", file(b"x")),
        ],
    );
    let source = |file: &FileEntry, _: &RelPath| Ok(files.open(&draft, file));
    let source: &crate::content::Source<'_> = &source;
    let signed = |name: &str| format!("{name}/repodata/repomd.xml");
    let wanted = ["a", "large", "other", "stale", "stale/deep/er", "worse"].map(signed);

    let signing = |mode| TreeSigner { draft: &draft, source, signer: &signer, time: NOW, mode };
    let plan = signing(Mode::DryRun).sign(Some(&old), &new, &Silent).unwrap();
    assert!(!keys.path("signed").exists(), "a dry run signs nothing");
    let done = signing(Mode::Apply).sign(Some(&old), &new, &Silent).unwrap();
    let names = |signed: &Signed| -> Vec<String> {
        signed.signed.iter().map(ToString::to_string).collect()
    };
    assert_eq!(names(&done), wanted);
    assert_eq!(names(&plan), wanted);

    // Equal metadata went to the command once, in the order of the paths.
    let log = fs::read_to_string(keys.path("signed")).unwrap();
    let asked: Vec<&str> = log.lines().collect();
    assert_eq!(asked, ["a", "large", "other", "worse"].map(signed));
    assert_eq!(signature(&draft, &done.root, "same"), Some(kept));
    assert_eq!(signature(&draft, &done.root, "again"), Some(earlier.clone()));
    assert_eq!(signature(&draft, &plan.root, "again"), Some(earlier));
    let twice = signature(&draft, &done.root, "a");
    assert_eq!(signature(&draft, &done.root, "stale"), twice);
    assert_eq!(signature(&draft, &done.root, "stale/deep/er"), twice);
    let Some(Entry::File(twice)) = twice else { panic!("{twice:?}") };
    assert_eq!((twice.mode, twice.mtime), (0o644, NOW));
    assert_eq!(signature(&draft, &done.root, "none"), None);
    assert_eq!(signature(&draft, &done.root, "link"), None);

    let repos = examine(&draft, source, &done.root, signer.verifier(), &Silent).unwrap();
    assert_eq!(repos.len(), 8);
    assert!(repos.iter().all(RepoSignature::is_good), "{repos:?}");
    let repos = examine(&draft, source, &new, signer.verifier(), &Silent).unwrap();
    let good: Vec<_> = repos.iter().filter(|repo| repo.is_good()).collect();
    assert_eq!(good.len(), 1);
    assert_eq!(good[0].repo, path("same"));

    let again = signing(Mode::Apply).sign(Some(&new), &done.root, &Silent).unwrap();
    assert_eq!((again.root, again.signed), (done.root, Vec::new()));
}

#[test]
fn metadata_that_is_not_what_it_was_is_not_signed() {
    let keys = Keys::new();
    let config = keys.in_place(&keys.script("sign", SIGN));
    let release = config.release("9").unwrap();
    let signer = Signer::for_release(&config, &release).unwrap().unwrap();
    let (draft, files) = (Draft::new(&NoNodes), Files::default());
    let entry = files.add(b"repomd");
    let root = tree(&draft, &[("a/repodata/repomd.xml", Entry::File(entry))]);
    files.0.lock().unwrap().insert(entry.object, b"repomb".to_vec());
    let source = |file: &FileEntry, _: &RelPath| Ok(files.open(&draft, file));
    let transform = TreeSigner {
        draft: &draft,
        source: &source,
        signer: &signer,
        time: NOW,
        mode: Mode::Apply,
    };
    let error = transform.sign(None, &root, &Silent).unwrap_err();
    let mismatch = matches!(error, crate::Error::Store(cairn_store::Error::Mismatch { .. }));
    assert!(mismatch, "{error}");
    assert!(error.to_string().contains("a/repodata/repomd.xml"), "{error}");

    let huge = FileEntry { size: 5 << 20, ..entry };
    let root = tree(&draft, &[("a/repodata/repomd.xml", Entry::File(huge))]);
    let error = transform.sign(None, &root, &Silent).unwrap_err();
    assert!(error.to_string().contains("it has 5242880 bytes, more than"), "{error}");
}
