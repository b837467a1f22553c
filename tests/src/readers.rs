//! Readers of a published tree, while it is being replaced.
//!
//! Two promises are checked, each in the way a client would come to feel it:
//!
//! * Whoever opens an absolute path finds a file there, of one generation or another.
//! * Whoever opens the root once, as an rsync daemon's session does, and everything else from
//!   there, sees one generation and nothing of another.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// How many examples of what went wrong are kept.
const KEPT: usize = 20;

/// A generation of a tree: what each of the files that are read holds.
#[derive(Clone, Debug)]
pub struct Generation {
    name: String,
    contents: BTreeMap<PathBuf, blake3::Hash>,
}

impl Generation {
    /// Reads a generation from a directory that holds it and nothing else.
    ///
    /// # Panics
    ///
    /// If a file cannot be read; the message names it.
    #[track_caller]
    pub fn read<P: AsRef<Path>>(
        name: impl Into<String>,
        root: &Path,
        files: impl IntoIterator<Item = P>,
    ) -> Self {
        let mut contents = BTreeMap::new();
        for file in files {
            let path = root.join(&file);
            let bytes = std::fs::read(&path);
            let bytes = bytes.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            contents.insert(file.as_ref().to_owned(), blake3::hash(&bytes));
        }
        Self { name: name.into(), contents }
    }
}

/// What a hammer saw.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How often it opened the root and read every file from there.
    pub sessions: u64,
    /// How many files it opened.
    pub opens: u64,
    /// How many opens of absolute paths, or of the root, found nothing.
    pub misses: u64,
    /// How many opens within a session found nothing.
    pub session_misses: u64,
    /// How many sessions saw files that no one generation has together.
    pub mixtures: u64,
    /// How many files were of no generation at all.
    pub strangers: u64,
    /// In how many sessions each generation was seen.
    pub generations: BTreeMap<String, u64>,
    /// The first few things that were wrong, in words.
    pub examples: Vec<String>,
}

impl Seen {
    /// Asserts that nothing was missing, mixed or strange.
    ///
    /// # Panics
    ///
    /// If something was, or if nothing was read at all.
    #[track_caller]
    pub fn clean(&self) -> &Self {
        let wrong = self.misses + self.session_misses + self.mixtures + self.strangers;
        assert!(wrong == 0 && self.sessions > 0, "{self:#?}");
        self
    }

    fn note(&mut self, example: String) {
        if self.examples.len() < KEPT {
            self.examples.push(example);
        }
    }
}

/// A thread that reads the same files of a tree over and over.
#[derive(Debug)]
pub struct Hammer {
    stop: Arc<AtomicBool>,
    sessions: Arc<AtomicU64>,
    thread: Option<JoinHandle<Seen>>,
}

impl Hammer {
    /// Starts to read below `root`, which one of the generations must be.
    ///
    /// The files read are those of the first generation.
    ///
    /// # Panics
    ///
    /// If no generation, or one without files, is given.
    #[track_caller]
    pub fn start(root: impl Into<PathBuf>, generations: Vec<Generation>) -> Self {
        let root = root.into();
        assert!(generations.first().is_some_and(|first| !first.contents.is_empty()));
        let stop = Arc::new(AtomicBool::new(false));
        let sessions = Arc::new(AtomicU64::new(0));
        let thread = {
            let (stop, sessions) = (Arc::clone(&stop), Arc::clone(&sessions));
            std::thread::spawn(move || {
                let mut seen = Seen::default();
                while !stop.load(Ordering::Relaxed) {
                    session(&root, &generations, &mut seen);
                    walk(&root, &generations, &mut seen);
                    sessions.store(seen.sessions, Ordering::Relaxed);
                }
                seen
            })
        };
        Self { stop, sessions, thread: Some(thread) }
    }

    /// Returns how many sessions it has had up to now.
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Waits until it has had some more sessions, so that it surely read in between.
    ///
    /// # Panics
    ///
    /// If that takes more than a minute.
    #[track_caller]
    pub fn wait_for(&self, more: u64) {
        let (from, started) = (self.sessions(), Instant::now());
        while self.sessions() < from + more {
            assert!(started.elapsed() < crate::patience(60), "the hammer stands still");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Stops it and returns what it saw.
    ///
    /// # Panics
    ///
    /// If the reading thread did.
    pub fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("only stop takes it");
        thread.join().expect("the hammer does not panic")
    }
}

impl Drop for Hammer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Opens the root once and everything from there: all of it must be of one generation.
fn session(root: &Path, generations: &[Generation], seen: &mut Seen) {
    seen.sessions += 1;
    seen.opens += 1;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = match rustix::fs::open(root, flags, Mode::empty()) {
        Ok(dir) => dir,
        Err(error) => {
            seen.misses += 1;
            return seen.note(format!("{}: {error}", root.display()));
        }
    };
    let mut possible: BTreeSet<usize> = (0..generations.len()).collect();
    let mut story = Vec::new();
    for path in generations[0].contents.keys() {
        seen.opens += 1;
        match read(&dir, path) {
            Ok(hash) => {
                let of = owners(generations, path, hash);
                if of.is_empty() {
                    seen.strangers += 1;
                    seen.note(format!("{}: of no generation", path.display()));
                }
                story.push(format!("{} of {}", path.display(), names(generations, &of)));
                possible.retain(|index| of.contains(index));
            }
            Err(error) => {
                seen.session_misses += 1;
                seen.note(format!("in a session, {}: {error}", path.display()));
                possible.clear();
                story.clear();
                break;
            }
        }
    }
    match possible.first() {
        Some(index) => {
            *seen.generations.entry(generations[*index].name.clone()).or_default() += 1;
        }
        None if story.is_empty() => {}
        None => {
            seen.mixtures += 1;
            seen.note(format!("a mixture: {}", story.join(", ")));
        }
    }
}

/// Opens each file by its absolute path: each must be there, of some generation.
fn walk(root: &Path, generations: &[Generation], seen: &mut Seen) {
    for path in generations[0].contents.keys() {
        seen.opens += 1;
        match read(CWD, &root.join(path)) {
            Ok(hash) if owners(generations, path, hash).is_empty() => {
                seen.strangers += 1;
                seen.note(format!("{}: of no generation", path.display()));
            }
            Ok(_) => {}
            Err(error) => {
                seen.misses += 1;
                seen.note(format!("{}: {error}", path.display()));
            }
        }
    }
}

fn read(dir: impl std::os::fd::AsFd, path: &Path) -> Result<blake3::Hash, Errno> {
    let file = rustix::fs::openat(dir, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut bytes = Vec::new();
    let read = File::from(file).read_to_end(&mut bytes);
    read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(blake3::hash(&bytes))
}

fn owners(generations: &[Generation], path: &Path, hash: blake3::Hash) -> BTreeSet<usize> {
    let of = |generation: &Generation| generation.contents.get(path) == Some(&hash);
    (0..generations.len()).filter(|index| of(&generations[*index])).collect()
}

fn names(generations: &[Generation], of: &BTreeSet<usize>) -> String {
    let names: Vec<&str> = of.iter().map(|index| generations[*index].name.as_str()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(" and ") }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{RenameFlags, renameat_with};

    use super::*;

    const FILES: [&str; 3] = [".discinfo", "repodata/repomd.xml", "same"];

    fn trees() -> (tempfile::TempDir, Vec<Generation>) {
        let dir = tempfile::tempdir().unwrap();
        let mut generations = Vec::new();
        for name in ["a", "b"] {
            let root = dir.path().join(name);
            fs::create_dir_all(root.join("repodata")).unwrap();
            fs::write(root.join(".discinfo"), name).unwrap();
            fs::write(root.join("repodata/repomd.xml"), format!("<repomd>{name}")).unwrap();
            fs::write(root.join("same"), "in both").unwrap();
            generations.push(Generation::read(name, &root, FILES));
        }
        (dir, generations)
    }

    #[test]
    fn exchanges_of_directories_are_seen_whole() {
        let (dir, generations) = trees();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let hammer = Hammer::start(&a, generations);
        for _ in 0..200 {
            renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
            hammer.wait_for(1);
        }
        let seen = hammer.stop();
        seen.clean();
        assert!(seen.sessions >= 200 && seen.generations.len() == 2, "{seen:?}");
        assert!(seen.generations.values().all(|count| *count > 10), "{seen:?}");
    }

    #[test]
    fn pairs_of_renames_are_caught_as_misses() {
        let (dir, generations) = trees();
        let (a, b, old) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("old"));
        let hammer = Hammer::start(&a, generations);
        for _ in 0..100 {
            fs::rename(&a, &old).unwrap();
            std::thread::sleep(Duration::from_micros(300));
            fs::rename(&b, &a).unwrap();
            fs::rename(&old, &b).unwrap();
            hammer.wait_for(1);
        }
        let seen = hammer.stop();
        assert!(seen.misses > 0, "{seen:?}");
        assert_eq!(seen.mixtures, 0, "{seen:?}");
    }

    #[test]
    fn a_tree_that_is_part_one_part_other_is_caught_as_a_mixture() {
        let (dir, generations) = trees();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let hammer = Hammer::start(&a, generations);
        hammer.wait_for(3);
        fs::copy(b.join("repodata/repomd.xml"), dir.path().join("next")).unwrap();
        fs::rename(dir.path().join("next"), a.join("repodata/repomd.xml")).unwrap();
        hammer.wait_for(3);
        let seen = hammer.stop();
        assert!(seen.mixtures > 0 && seen.misses == 0 && seen.strangers == 0, "{seen:?}");
        let example = "a mixture: .discinfo of a, repodata/repomd.xml of b, same of a and b";
        assert!(seen.examples.iter().any(|text| text == example), "{seen:?}");
    }

    #[test]
    fn a_missing_and_a_strange_file_are_counted_apart() {
        let (dir, generations) = trees();
        fs::remove_file(dir.path().join("a/same")).unwrap();
        let hammer = Hammer::start(dir.path().join("a"), generations.clone());
        hammer.wait_for(2);
        let seen = hammer.stop();
        assert!(seen.misses > 0 && seen.session_misses > 0 && seen.mixtures == 0, "{seen:?}");

        fs::write(dir.path().join("b/same"), "neither").unwrap();
        let hammer = Hammer::start(dir.path().join("b"), generations);
        hammer.wait_for(2);
        let seen = hammer.stop();
        assert!(seen.strangers > 0 && seen.misses == 0, "{seen:?}");
    }
}
