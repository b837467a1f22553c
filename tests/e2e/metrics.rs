//! `cairn status --metrics FILE`: a file for Prometheus' textfile collector.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::{Command, Stdio};

use cairn_testkit::World;

use crate::world;

/// A sample: its metric, its labels and its value.
type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

/// Reads the text format, version 0.0.4, and is stricter than the format: every metric has one HELP
/// and one TYPE, in this order, directly followed by its samples, and no sample comes twice.
fn parse(text: &str) -> Result<Samples, String> {
    let mut samples = Samples::new();
    let mut known = Vec::new();
    let mut current: Option<String> = None;
    let mut help: Option<String> = None;
    if !text.ends_with('\n') {
        return Err("the last line has no end".into());
    }
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        let fail = |why: &str| Err(format!("{why}: {line:?}"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let Some((name, said)) = rest.split_once(' ') else { return fail("no help") };
            if help.is_some() || said.is_empty() || known.contains(&name.to_owned()) {
                return fail("a second help");
            }
            help = Some(name.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let Some((name, "gauge")) = rest.split_once(' ') else { return fail("no gauge") };
            if help.take().as_deref() != Some(name) {
                return fail("a type without its help");
            }
            known.push(name.to_owned());
            current = Some(name.to_owned());
        } else {
            let end = line.find(['{', ' ']).ok_or_else(|| format!("no sample: {line:?}"))?;
            let (name, rest) = line.split_at(end);
            if !is_name(name, true) || current.as_deref() != Some(name) {
                return fail("a sample outside its metric");
            }
            let (labels, rest) = match rest.strip_prefix('{') {
                Some(rest) => labels(rest).map_err(|why| format!("{why}: {line:?}"))?,
                None => (BTreeMap::new(), rest),
            };
            let value = rest.strip_prefix(' ').and_then(|value| value.parse::<f64>().ok());
            let Some(value) = value.filter(|value| value.is_finite()) else {
                return fail("no value");
            };
            if samples.insert((name.to_owned(), labels), value).is_some() {
                return fail("a sample comes twice");
            }
        }
    }
    match help {
        Some(name) => Err(format!("{name} has a help and nothing else")),
        None => Ok(samples),
    }
}

fn is_name(name: &str, colon: bool) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || (colon && c == ':');
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// Reads labels up to the closing brace, and returns what comes after it.
fn labels(mut text: &str) -> Result<(BTreeMap<String, String>, &str), String> {
    let mut labels = BTreeMap::new();
    loop {
        let (name, rest) = text.split_once("=\"").ok_or("no label")?;
        if !is_name(name, false) {
            return Err(format!("{name:?} is no label"));
        }
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next().ok_or("a label without end")? {
                (at, '"') => break at,
                (_, '\\') => match chars.next().ok_or("a label without end")?.1 {
                    'n' => value.push('\n'),
                    c @ ('\\' | '"') => value.push(c),
                    c => return Err(format!("\\{c} is no escape")),
                },
                (_, c) => value.push(c),
            }
        };
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("{name} comes twice"));
        }
        text = &rest[end + 1..];
        match text.split_at_checked(1) {
            Some((",", rest)) => text = rest,
            Some(("}", rest)) => return Ok((labels, rest)),
            _ => return Err("labels without end".into()),
        }
    }
}

#[test]
fn the_parser_is_strict() {
    let head = "# HELP m Help.\n# TYPE m gauge\n";
    let good = parse(&format!("{head}m{{a=\"x\\\\\\\"\\n\"}} 1\nm 2.5\n")).unwrap();
    let labels = BTreeMap::from([("a".to_owned(), "x\\\"\n".to_owned())]);
    assert_eq!(good[&("m".to_owned(), labels)], 1.0);
    for bad in [
        "m 1",
        "n 1\n",
        "m one\n",
        "m NaN\n",
        "m 1\nm 1\n",
        "m{a=\"x} 1\n",
        "m{a=\"\\x\"} 1\n",
        "m{1=\"\"} 1\n",
        "m{a=\"\"}1\n",
        "m{a=\"\",a=\"\"} 1\n",
        "\n",
        "# TYPE m gauge\n",
        "# HELP m Help.\n",
    ] {
        assert!(parse(&format!("{head}{bad}")).is_err(), "{bad:?}");
    }
}

/// Asks promtool too, where it is installed.
fn promtool(text: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        eprintln!("promtool is not installed");
        return;
    };
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

struct Watched {
    world: World,
    dir: tempfile::TempDir,
}

impl Watched {
    fn file(&self) -> std::path::PathBuf {
        self.dir.path().join("cairn.prom")
    }

    /// Has the file written, and reads it.
    #[track_caller]
    fn metrics(&self) -> Samples {
        let file = self.file();
        self.world.cairn(["status", "--metrics", file.to_str().unwrap()]).ok();
        let text = fs::read_to_string(&file).unwrap();
        promtool(&text);
        parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }
}

/// Finds the one sample of a metric that has these labels among its own.
#[track_caller]
fn value(samples: &Samples, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let fits = |found: &BTreeMap<String, String>| {
        labels.iter().all(|(label, value)| found.get(*label).is_some_and(|found| found == value))
    };
    let found: Vec<f64> = samples
        .iter()
        .filter(|((metric, found), _)| metric == name && fits(found))
        .map(|(_, value)| *value)
        .collect();
    assert!(found.len() < 2, "{name} {labels:?}: {found:?}");
    found.first().copied()
}

#[test]
fn the_file_says_what_status_says() {
    let watched = Watched { world: world(), dir: tempfile::tempdir().unwrap() };
    let (world, file) = (&watched.world, watched.file());
    world.first();
    world.cairn(["init"]).ok();
    // An empty store is a store.
    let empty = watched.metrics();
    assert_eq!(value(&empty, "cairn_store_operations", &[]), Some(0.0));
    assert_eq!(value(&empty, "cairn_store_last_operation_timestamp_seconds", &[]), None);
    assert_eq!(value(&empty, "cairn_fsck_timestamp_seconds", &[]), None);

    let before = jiff::Timestamp::now().as_millisecond() as f64 / 1000.0 - 1.0;
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    world.cairn(["promote", "9", "--delete"]).ok();
    world.cairn(["fsck", "-n"]).ok();
    let now = watched.metrics();
    assert_eq!(value(&now, "cairn_fsck_timestamp_seconds", &[]), None, "-n writes nothing");
    world.cairn(["fsck", "--full"]).ok();
    let now = watched.metrics();
    let status = world.json(["status"]);
    assert_eq!(value(&now, "cairn_store_operations", &[]), status["operations"].as_f64());
    let last = value(&now, "cairn_store_last_operation_timestamp_seconds", &[]).unwrap();
    assert!(last > before, "{last}");
    let refs = status["refs"].as_array().unwrap();
    assert!(refs.len() >= 3);
    for row in refs {
        let of = [("ref", row["name"].as_str().unwrap())];
        assert_eq!(value(&now, "cairn_ref_files", &of), row["files"].as_f64());
        assert_eq!(value(&now, "cairn_ref_bytes", &of), row["bytes"].as_f64());
        assert_eq!(value(&now, "cairn_ref_embargoed", &of), Some(0.0));
        assert!(value(&now, "cairn_ref_snapshot_timestamp_seconds", &of).unwrap() > before);
        let view = &row["view"];
        let is_live = view["mount"].is_string().then_some(1.0);
        assert_eq!(value(&now, "cairn_view_live", &of), is_live);
    }
    let live =
        [("ref", "production/9.7"), ("mount", "production"), ("path", "mirror/pub/rocky/9.7")];
    assert_eq!(value(&now, "cairn_view_pending", &live), Some(0.0));
    assert_eq!(value(&now, "cairn_view_unfinished_trees", &live), Some(0.0));
    let published = value(&now, "cairn_view_published_timestamp_seconds", &live).unwrap();
    let age = value(&now, "cairn_view_age_seconds", &live).unwrap();
    assert!(published > before && age >= 0.0 && published + age > last, "{published} {age}");
    for mount in ["production", "staging"] {
        assert_eq!(value(&now, "cairn_mount_up", &[("mount", mount)]), Some(1.0));
        assert!(value(&now, "cairn_mount_free_bytes", &[("mount", mount)]).unwrap() > 0.0);
    }
    let full = [("level", "full")];
    assert!(value(&now, "cairn_fsck_timestamp_seconds", &full).unwrap() >= last);
    for severity in ["notice", "warning", "damage"] {
        let labels = [full[0], ("severity", severity)];
        assert_eq!(value(&now, "cairn_fsck_findings", &labels), Some(0.0));
    }
    assert!(status["fsck"]["full"]["time"].is_string() && status["fsck"]["quick"].is_null());
    assert!(world.cairn(["status"]).ok().out().contains("\nLast full fsck "));

    // What is pending and what is damaged shows.
    world.second();
    world.cairn(["ingest", world.latest().to_str().unwrap()]).ok();
    world.cairn(["stage", "9", "Rocky", "--delete"]).ok();
    let promote = ["promote", "9", "--delete", "--allow-deletes", "100%"];
    let point = cairn_store::fault::CrashPoint::OperationIndexed;
    world.crash_at(point, 1, promote).killed();
    world.cairn(["fsck"]).exits(3);
    let pending = watched.metrics();
    assert_eq!(value(&pending, "cairn_view_pending", &live), Some(1.0));
    assert_eq!(value(&pending, "cairn_view_live", &live), Some(0.0));
    let notices = [("level", "quick"), ("severity", "notice")];
    assert_eq!(value(&pending, "cairn_fsck_findings", &notices), Some(1.0));
    assert_eq!(
        value(&pending, "cairn_view_published_timestamp_seconds", &live),
        Some(published),
        "the old tree is live still"
    );

    // It is replaced and readable to all, whatever it was; a plan leaves it alone.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let (inode, text) = (fs::metadata(&file).unwrap().ino(), fs::read(&file).unwrap());
    let run = world.cairn(["status", "-n", "--metrics", file.to_str().unwrap()]).ok();
    assert!(run.err().contains("Would write "), "{}", run.report());
    assert_eq!((fs::metadata(&file).unwrap().ino(), fs::read(&file).unwrap()), (inode, text));
    watched.metrics();
    let stat = fs::metadata(&file).unwrap();
    assert_ne!(stat.ino(), inode);
    assert_eq!(stat.mode() & 0o7777, 0o644);
    let names: Vec<_> = fs::read_dir(watched.dir.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing else is left there: {names:?}");

    // A mount that is away is down; the record of a check that is damaged is said, not believed.
    fs::rename(world.production(""), world.production("").with_extension("away")).unwrap();
    fs::write(world.places().store.join("fsck.last"), "{\"version\": 1").unwrap();
    let run = world.cairn(["status", "--metrics", file.to_str().unwrap()]).ok();
    assert!(run.err().contains("It is not known when the store was checked"), "{}", run.report());
    let away = parse(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(value(&away, "cairn_mount_up", &[("mount", "production")]), Some(0.0));
    assert_eq!(value(&away, "cairn_view_live", &live), Some(0.0));
    assert_eq!(value(&away, "cairn_view_pending", &live), Some(0.0));
    assert_eq!(value(&away, "cairn_fsck_timestamp_seconds", &[]), None);
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_that_names_it() {
    let world = world();
    world.cairn(["init"]).ok();
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("no/cairn.prom");
    let run = world.cairn(["status", "--metrics", missing.to_str().unwrap()]).exits(1);
    assert!(run.err().contains(missing.parent().unwrap().to_str().unwrap()), "{}", run.report());
    let run = world.cairn(["status", "--metrics", dir.path().to_str().unwrap()]).exits(2);
    assert!(run.err().contains("it is there and is no regular file"), "{}", run.report());
}
