//! Places that do not answer: a server that is down behind a hard mount, a FUSE process that stands
//! still.
//!
//! A system call on such a place does not return, and nobody can call back the thread that made it.
//! So the first call to a place, and what must not keep other places waiting, is made by a thread of
//! its own, for which there is a deadline: [`reach`] and [`apart`]. A place that misses it counts as
//! away for as long as the process lives.
//!
//! What hangs in the middle of other work cannot be left that way. While no system call of the store
//! comes back, one more thread asks each place that has answered before. When one is silent until its
//! deadline, the whole process is given up: the next command goes on from there, as it does after a
//! kill.
//!
//! All of it is about the process and not about a store, which is why this module has state.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock};
use std::time::{Duration, Instant};

use crate::error::{Error, MountFault, Result};
use crate::fs;

/// How long a place may take before the operator is told who is waited for.
pub const SAY_AFTER: Duration = Duration::from_secs(2);
/// How long a place may take that has no limit of its own: longer than a server takes to restart
/// its service, shorter than an operator waits without a doubt.
pub const LIMIT: Duration = Duration::from_secs(60);
/// How often a wait looks up.
const TICK: Duration = Duration::from_millis(50);
/// How often it is looked whether the process still moves.
const WATCH: Duration = Duration::from_millis(250);

/// Who runs the process and hears of waiting.
pub trait Caller: Send + Sync {
    /// Something is waited for, as a sentence.
    fn waiting(&self, sentence: &str);
    /// Whether the operator wants to stop.
    fn interrupted(&self) -> bool;
    /// Ends the process. `logged` is the number of the operation that it has logged, if it has.
    fn give_up(&self, error: Error, logged: Option<u64>);
}

/// Something outside that may not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The mount's name; nothing for what is no mount.
    pub mount: Option<String>,
    /// Where it is.
    pub path: PathBuf,
    /// How long it may take to answer.
    pub limit: Duration,
}

impl Place {
    /// Returns the error that says that it has not answered.
    pub fn silent(&self) -> Error {
        match &self.mount {
            Some(name) => Error::Mount {
                name: name.clone(),
                path: self.path.clone(),
                fault: MountFault::Silent(self.limit),
            },
            None => Error::Io {
                op: "reach",
                path: self.path.clone(),
                source: io::ErrorKind::TimedOut.into(),
            },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = crate::path::display(&self.path);
        match &self.mount {
            Some(name) => write!(f, "the mount {name} at {path}"),
            None => write!(f, "{path}"),
        }
    }
}

/// What is known of a place.
struct Known {
    place: Place,
    state: AtomicU8,
}

const UNASKED: u8 = 0;
const ANSWERS: u8 = 1;
const SILENT: u8 = 2;

static CALLER: OnceLock<Box<dyn Caller>> = OnceLock::new();
static PLACES: Mutex<BTreeMap<PathBuf, Arc<Known>>> = Mutex::new(BTreeMap::new());
static BEATS: AtomicU64 = AtomicU64::new(0);
static LOGGED: AtomicU64 = AtomicU64::new(0);

/// Names the caller of this process; the first one stays.
pub fn set_caller(caller: Box<dyn Caller>) {
    let _ = CALLER.set(caller);
}

/// Says that a system call has come back.
pub(crate) fn beat() {
    BEATS.fetch_add(1, Ordering::Relaxed);
}

/// Says that an operation has its number: what is given up after it is not as it was before.
pub(crate) fn logged(number: u64) {
    LOGGED.store(number, Ordering::Relaxed);
}

fn interrupted() -> bool {
    CALLER.get().is_some_and(|caller| caller.interrupted())
}

fn places() -> MutexGuard<'static, BTreeMap<PathBuf, Arc<Known>>> {
    PLACES.lock().expect("no thread panics while it holds the list of places")
}

fn known(place: &Place) -> Arc<Known> {
    let new = || Arc::new(Known { place: place.clone(), state: AtomicU8::new(UNASKED) });
    places().entry(place.path.clone()).or_insert_with(new).clone()
}

/// Does what may be the first call to a place, within the place's limit. A place that has answered
/// once is trusted, and the work is done right here.
///
/// # Errors
/// [`Place::silent`], [`Error::Interrupted`] when the operator does not want to wait for it, and what
/// the work says.
pub fn reach<T: Send + 'static>(
    place: &Place,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match known(place).state.load(Ordering::Relaxed) {
        ANSWERS => work(),
        _ => match within(place, work)? {
            Some(result) => result,
            None if interrupted() => Err(Error::Interrupted),
            None => Err(place.silent()),
        },
    }
}

/// Does something that happens as a whole or not at all, within the place's limit, so that others
/// need not wait for it. When the limit is over nobody knows yet which of the two it will be.
///
/// # Errors
/// [`Place::silent`], and what the work says.
pub fn apart<T: Send + 'static>(
    place: &Place,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match within(place, work)? {
        Some(result) => result,
        None => Err(place.silent()),
    }
}

/// Waits for work in a thread of its own; returns nothing when it takes too long.
fn within<T: Send + 'static>(
    place: &Place,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Option<T>> {
    let known = known(place);
    if known.state.load(Ordering::Relaxed) == SILENT {
        return Ok(None);
    }
    let (sender, receiver) = channel();
    let started = std::thread::Builder::new().spawn(move || {
        // Nobody listens any more when it took too long.
        let _ = sender.send(work());
    });
    let thread = started.map_err(|source| Error::Io {
        op: "start a thread for",
        path: place.path.clone(),
        source,
    })?;
    let (since, mut said) = (Instant::now(), false);
    loop {
        match receiver.recv_timeout(TICK) {
            Ok(done) => {
                known.state.store(ANSWERS, Ordering::Relaxed);
                watch();
                return Ok(Some(done));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => match thread.join() {
                Err(panic) => std::panic::resume_unwind(panic),
                Ok(()) => unreachable!("a thread that ends without a panic has sent"),
            },
        }
        // Waiting here is no standing still: it has an end.
        beat();
        let waited = since.elapsed();
        if waited >= SAY_AFTER && !said {
            say(place);
            said = true;
        }
        if waited >= place.limit {
            known.state.store(SILENT, Ordering::Relaxed);
            return Ok(None);
        }
        if waited >= SAY_AFTER.min(place.limit) && interrupted() {
            known.state.store(SILENT, Ordering::Relaxed);
            return Ok(None);
        }
    }
}

fn say(place: &Place) {
    if let Some(caller) = CALLER.get() {
        caller.waiting(&format!(
            "Waiting for {place}, which does not answer; giving up after {} s.",
            place.limit.as_secs_f32()
        ));
    }
}

/// Begins to watch whether the process moves. Without a caller nobody could end it.
fn watch() {
    static STARTED: Once = Once::new();
    if let Some(caller) = CALLER.get() {
        STARTED.call_once(|| {
            // Without this thread a hang lasts until somebody kills us, as it would anyway.
            let _ = std::thread::Builder::new().spawn(|| watch_for(caller.as_ref()));
        });
    }
}

/// A question to a place that is under way.
struct Probe {
    since: Instant,
    answered: Arc<AtomicBool>,
    said: bool,
}

impl Probe {
    fn start(path: &Path) -> Self {
        let answered = Arc::new(AtomicBool::new(false));
        let (path, told) = (path.to_owned(), answered.clone());
        let started = std::thread::Builder::new().spawn(move || {
            fs::reach(&path);
            told.store(true, Ordering::Relaxed);
        });
        if started.is_err() {
            // Who cannot ask has no reason to blame.
            answered.store(true, Ordering::Relaxed);
        }
        Self { since: Instant::now(), answered, said: false }
    }
}

fn watch_for(caller: &dyn Caller) {
    let mut beats = BEATS.load(Ordering::Relaxed);
    let mut moved = Instant::now();
    // At most one question to each place: what does not come back must not pile up.
    let mut probes: BTreeMap<PathBuf, Probe> = BTreeMap::new();
    loop {
        std::thread::sleep(WATCH);
        probes.retain(|_, probe| !probe.answered.load(Ordering::Relaxed));
        let now = BEATS.load(Ordering::Relaxed);
        if now != beats {
            (beats, moved) = (now, Instant::now());
            continue;
        }
        let still = moved.elapsed();
        if still < SAY_AFTER {
            continue;
        }
        let asked: Vec<_> = places().values().cloned().collect();
        for known in asked.iter().filter(|known| known.state.load(Ordering::Relaxed) == ANSWERS) {
            let place = &known.place;
            let start = || Probe::start(&place.path);
            let probe = probes.entry(place.path.clone()).or_insert_with(start);
            let waited = probe.since.elapsed().min(still);
            if waited >= SAY_AFTER && !probe.said {
                say(place);
                probe.said = true;
            }
            let error = match waited {
                _ if waited >= SAY_AFTER && caller.interrupted() => Error::Interrupted,
                _ if waited >= place.limit => place.silent(),
                _ => continue,
            };
            let logged = LOGGED.load(Ordering::Relaxed);
            caller.give_up(error, (logged > 0).then_some(logged));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str, limit: Duration) -> Place {
        Place { mount: Some("m".into()), path: path.into(), limit }
    }

    #[test]
    fn work_that_is_done_in_time_is_returned_with_its_error() {
        let place = place("/in/time", LIMIT);
        assert_eq!(reach(&place, || Ok(7)).unwrap(), 7);
        let fail = || -> Result<()> { Err(Error::UnknownRef("x".into())) };
        assert!(matches!(reach(&place, fail), Err(Error::UnknownRef(_))));
        assert!(matches!(apart(&place, fail), Err(Error::UnknownRef(_))));
    }

    #[test]
    fn a_place_that_is_late_is_named_and_never_asked_again() {
        let place = place("/late", Duration::from_millis(10));
        let (go, wait) = channel::<()>();
        let late = move || {
            let _ = wait.recv();
            Ok(())
        };
        let error = reach(&place, late).unwrap_err().to_string();
        assert_eq!(error, "mount m at /late: it has not answered for 0.01 s");
        let again = reach(&place, || -> Result<()> { panic!("it was asked again") });
        assert!(matches!(again, Err(Error::Mount { .. })));
        assert!(apart(&place, || Ok(())).is_err());
        drop(go);
    }

    #[test]
    fn a_panic_in_the_work_is_the_callers() {
        let caught = std::panic::catch_unwind(|| {
            let place = place("/panics", LIMIT);
            let _ = apart(&place, || -> Result<()> { panic!("on purpose") });
        });
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"on purpose"));
    }
}
