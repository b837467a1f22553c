//! The golden file of docs/format.md §14, and what becomes of it under every hand.

use cairn_store::log::RefEdit;
use cairn_store::snapshot::Origin;
use cairn_store::tree::DirEntry;

use super::*;

struct Quiet;

impl Observer for Quiet {}

fn snapshot() -> (SnapshotId, Vec<u8>) {
    let tree = TreeId::of(&Tree::default().encode());
    let mtime = cairn_store::fs::Time { secs: 1_762_000_000, nanos: 0 };
    let root = DirEntry { tree, mode: 0o755, mtime, files: 0, bytes: 0 };
    let facts = [("path".to_owned(), "/mnt/compose".to_owned())].into();
    let snapshot = Snapshot {
        version: Snapshot::VERSION,
        root: root.into(),
        time: jiff::Timestamp::from_second(1_762_000_000).unwrap(),
        origin: Origin { verb: "ingest".into(), facts },
        parents: vec![],
    };
    snapshot.encode()
}

fn operation(number: u64, parent: Option<OperationId>, reason: &str) -> Vec<u8> {
    let new = Some(snapshot().0);
    let edit = RefEdit {
        name: RefName::new("compose/9/Rocky").unwrap(),
        old: new.filter(|_| number > 1),
        new,
    };
    let operation = Operation {
        version: Log::VERSION,
        number,
        parent,
        time: jiff::Timestamp::from_second(1_762_000_000).unwrap(),
        host: "build".into(),
        user: "mara".into(),
        verb: "ingest".into(),
        command: vec!["cairn".into(), "ingest".into()],
        reason: Some(reason.into()),
        edits: vec![edit],
        packs: vec![],
        collected: None,
        details: serde_json::Value::Null,
    };
    let mut bytes = serde_json::to_vec_pretty(&operation).unwrap();
    bytes.push(b'\n');
    bytes
}

/// A file of so many operations, of which the last has this reason.
fn file(count: u64, reason: &str) -> Vec<u8> {
    let mut operations: Vec<Vec<u8>> = Vec::new();
    for number in 1..=count {
        let parent = operations.last().map(|bytes| OperationId::of(bytes));
        operations.push(operation(number, parent, if number == count { reason } else { "why" }));
    }
    let head = operations.last().map(|bytes| Head { number: count, id: OperationId::of(bytes) });
    let time = jiff::Timestamp::from_second(1_762_000_000).unwrap();
    let mut writer = Writer::new("88828cac615b1f04a73417c31e660d95", time, head);
    for (number, bytes) in (1..).zip(&operations) {
        writer.operation(number, bytes);
    }
    let (id, bytes) = snapshot();
    writer.snapshot(&id, &bytes);
    writer.finish()
}

fn found(bytes: &[u8], older: Option<&[u8]>) -> Evidence {
    check(bytes, None, older, &Quiet).unwrap()
}

#[test]
fn golden_file_of_the_format_document() {
    // docs/format.md §14 prints these; a change here is a new first line.
    let bytes = file(1, "why");
    let text = String::from_utf8(bytes.clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..3],
        ["cairn-audit 1", "store 88828cac615b1f04a73417c31e660d95", "time 2025-11-01T12:26:40Z",]
    );
    let golden = (GOLDEN_HEAD, "operation 1 385", GOLDEN_END);
    assert_eq!((lines[3], lines[4], *lines.last().unwrap()), golden);
    let evidence = found(&bytes, None);
    assert!(evidence.is_sound(), "{:?}", evidence.findings);
    assert_eq!((evidence.operations, evidence.snapshots, evidence.collected), (1, 1, 0));
    assert_eq!(evidence.signature, Some(Signature::Unsigned));
    assert_eq!(evidence.refs.len(), 1);
}

const GOLDEN_HEAD: &str = "head 1 54255b13b7a09afbc3b2591a01ff27fa1bc6efaaf90644fdff28919f7eb567a7";
const GOLDEN_END: &str = "end 4bc2f8f46268e5f8fe45cfe475a36641148b5bfb8122636d82040196bdc40a8a";

#[test]
fn no_byte_can_be_changed_removed_or_added_unnoticed() {
    let bytes = file(2, "why");
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(!found(&changed, None).is_sound(), "byte {at} changed");
        assert!(!found(&bytes[..at], None).is_sound(), "cut at {at}");
        let mut longer = bytes.clone();
        longer.insert(at, b' ');
        assert!(!found(&longer, None).is_sound(), "a byte more at {at}");
    }
}

#[test]
fn who_writes_the_hash_anew_must_still_keep_the_chain() {
    let time = jiff::Timestamp::from_second(1_762_000_000).unwrap();
    let first = operation(1, None, "why");
    let broken = operation(2, Some(OperationId::of(b"another")), "why");
    let head = Some(Head { number: 2, id: OperationId::of(&broken) });
    let mut writer = Writer::new("88828cac615b1f04a73417c31e660d95", time, head);
    writer.operation(1, &first);
    writer.operation(2, &broken);
    let evidence = found(&writer.finish(), None);
    let said: Vec<_> = evidence.findings.iter().map(|finding| finding.message.as_str()).collect();
    assert_eq!(
        said,
        [
            "it does not continue the operation before it",
            "an operation names it, and it is not there",
        ]
    );
}

#[test]
fn a_newer_file_continues_an_older_one_or_says_where_it_does_not() {
    let (old, new) = (file(2, "why"), file(4, "later"));
    assert!(found(&new, Some(&old)).is_sound());
    assert!(found(&old, Some(&old)).is_sound());
    // A log that was rewritten is whole in itself.
    let rewritten = file(2, "another reason");
    assert!(found(&rewritten, None).is_sound());
    let evidence = found(&rewritten, Some(&old));
    assert_eq!(evidence.findings[0].message, "the log was rewritten: operation 2 is another now");
    // One that was cut off, too.
    let evidence = found(&old, Some(&new));
    assert_eq!(evidence.findings[0].message, "the log was rewritten: operation 3 is another now");
    assert!(!found(&new, Some(b"nothing")).is_sound());
}

#[test]
fn hostile_lengths_and_lines_are_findings() {
    for text in [
        "",
        "cairn-audit 1",
        "cairn-audit 2\n",
        "cairn-audit 1\nstore x\n",
        "cairn-audit 1\nstore 88828cac615b1f04a73417c31e660d95\ntime now\n",
        "cairn-audit 1\nstore 88828cac615b1f04a73417c31e660d95\ntime 2025-11-01T12:26:40Z\nhead 1 x\n",
        "cairn-audit 1\nstore 88828cac615b1f04a73417c31e660d95\ntime 2025-11-01T12:26:40Z\nhead 0\noperation 1 18446744073709551615\n{}\n",
        "cairn-audit 1\nstore 88828cac615b1f04a73417c31e660d95\ntime 2025-11-01T12:26:40Z\nhead 0\noperation 18446744073709551615 2\n{}\n",
        "cairn-audit 1\nstore 88828cac615b1f04a73417c31e660d95\ntime 2025-11-01T12:26:40Z\nhead 0\noperation 1 2\n{}\n",
    ] {
        assert!(!found(text.as_bytes(), None).is_sound(), "{text:?}");
    }
    let long = [b"cairn-audit 1\nstore ".as_slice(), &[b'a'; 5000]].concat();
    assert!(!found(&long, None).is_sound());
}
