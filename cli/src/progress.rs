//! Progress on stderr, and the operator's wish to stop.
//!
//! On a terminal it is one line that is drawn again and again by a thread of its own, so that it goes
//! on also while nothing is counted. It comes when a command has taken a second, is off while
//! anything else is written, and is gone when the command ends.

mod line;

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cairn_store::progress::Observer;

use crate::args::{Global, ProgressMode};
use crate::output::{size, stderr, thousands, width_of};

use line::Line;
pub use line::{clear, stop};

/// How long a command may take before anything is shown of it.
const SHOW_AFTER: Duration = Duration::from_secs(1);
/// How often the line on a terminal is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// How often a line is printed without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How often a JSON line is printed.
const JSON_EVERY: Duration = Duration::from_millis(500);
/// What is done while nothing has a name.
const WORKING: &str = "Working";

/// The signals that mean "stop", and the one that came; 0 for none.
static STOPPED_BY: OnceLock<Arc<AtomicUsize>> = OnceLock::new();

/// Returns the exit code that names the signal that stopped the command.
pub fn signal_exit_code() -> u8 {
    let signal = STOPPED_BY.get().map_or(0, |flag| flag.load(Ordering::Relaxed));
    u8::try_from(128 + signal).unwrap_or(1)
}

/// Returns whether a signal has asked this process to stop.
pub fn is_stopped() -> bool {
    STOPPED_BY.get().is_some_and(|flag| flag.load(Ordering::Relaxed) != 0)
}

/// Shows progress as the flags want it.
pub struct Progress {
    quiet: bool,
    stop: Arc<AtomicUsize>,
    shared: Arc<Shared>,
    painter: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Line,
    Lines,
    Json,
    Nothing,
}

/// What the command and the thread that draws know.
struct Shared {
    mode: Shown,
    /// When to show something.
    after: Duration,
    started: Instant,
    files: AtomicU64,
    bytes: AtomicU64,
    state: Mutex<State>,
    ended: Condvar,
}

struct State {
    stage: String,
    all_files: u64,
    all_bytes: u64,
    begun: Instant,
    printed: Instant,
    is_over: bool,
}

impl Progress {
    /// Starts to watch for signals, and to draw where there is a terminal.
    pub fn new(global: &Global) -> Self {
        let mode = match global.progress {
            _ if global.quiet => Shown::Nothing,
            ProgressMode::Auto if !global.json && is_for_lines() => Shown::Line,
            ProgressMode::Auto | ProgressMode::Never => Shown::Nothing,
            ProgressMode::Plain => Shown::Lines,
            ProgressMode::Json => Shown::Json,
        };
        let stop = STOPPED_BY.get_or_init(watch_signals).clone();
        let now = Instant::now();
        let shared = Arc::new(Shared {
            mode,
            after: show_after(),
            started: now,
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            state: Mutex::new(State {
                stage: WORKING.to_owned(),
                all_files: 0,
                all_bytes: 0,
                begun: now,
                printed: now,
                is_over: false,
            }),
            ended: Condvar::new(),
        });
        let painter = match mode {
            Shown::Line => {
                line::allow();
                let shared = shared.clone();
                // Without that thread there is no line, and nothing else is missing.
                std::thread::Builder::new().spawn(move || shared.paint()).ok()
            }
            Shown::Lines | Shown::Json | Shown::Nothing => None,
        };
        Self { quiet: global.quiet, stop, shared, painter }
    }

    /// Takes the line off the screen, until another stage begins.
    pub fn finish(&self) {
        if self.shared.mode == Shown::Line {
            line::stop();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(painter) = self.painter.take() {
            self.shared.state().is_over = true;
            self.shared.ended.notify_all();
            // It only draws; if that failed badly, there is nothing to draw any more.
            let _ = painter.join();
            line::stop();
        }
    }
}

/// Answers whether stderr is a terminal on which a line may be drawn again.
fn is_for_lines() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
    std::io::stderr().is_terminal() && !dumb && !is_set("NO_COLOR")
}

/// Tests look at commands that take no second: with debug assertions the wait can be left out.
fn show_after() -> Duration {
    match cfg!(debug_assertions) && std::env::var_os("CAIRN_PROGRESS_AT_ONCE").is_some() {
        true => Duration::ZERO,
        false => SHOW_AFTER,
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws the line until the command is over.
    fn paint(&self) {
        let mut state = self.state();
        while !state.is_over {
            let waited = self.ended.wait_timeout(state, DRAW_EVERY);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if !state.is_over {
                self.draw(&state);
            }
        }
    }

    fn draw(&self, state: &State) {
        if self.started.elapsed() < self.after {
            return;
        }
        let line = Line {
            stage: &state.stage,
            files: self.files.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            all_files: state.all_files,
            all_bytes: state.all_bytes,
            elapsed: state.begun.elapsed(),
        };
        // The last column stays free: a terminal may go to the next line when it is full.
        let width = width_of(&std::io::stderr()).unwrap_or(80).saturating_sub(1);
        line::draw(&line.render(width));
    }

    fn line(&self, every: Duration) {
        // Whoever holds the lock prints; the others go on working.
        let Ok(mut state) = self.state.try_lock() else { return };
        if state.printed.elapsed() < every {
            return;
        }
        state.printed = Instant::now();
        let (files, bytes) =
            (self.files.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        let text = match self.mode {
            Shown::Json => serde_json::json!({
                "type": "progress", "stage": state.stage, "files": files, "bytes": bytes,
                "files_total": state.all_files, "bytes_total": state.all_bytes,
            })
            .to_string(),
            Shown::Line | Shown::Lines | Shown::Nothing => format!(
                "{}: {} of {} files, {} of {}",
                state.stage,
                thousands(files),
                thousands(state.all_files),
                size(bytes),
                size(state.all_bytes)
            ),
        };
        let _ = stderr(&(text + "\n"));
    }
}

fn watch_signals() -> Arc<AtomicUsize> {
    use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
    let stop = Arc::new(AtomicUsize::new(0));
    // Who ignores SIGCHLD hands that on to us, and then the system forgets how our programs ended.
    // Any handler will do. So it will for SIGXFSZ: a limit of file sizes is then an error with a
    // path, and no death.
    for signal in [SIGCHLD, SIGXFSZ] {
        if let Err(error) = signal_hook::flag::register(signal, Arc::default()) {
            let _ = stderr(&format!("Signal {signal} cannot be watched: {error}.\n"));
        }
    }
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let again = Arc::new(AtomicBool::new(false));
        // The second signal of a kind ends the process at once; a crash is safe at any point.
        let code = 128 + signal;
        let registered =
            signal_hook::flag::register_conditional_shutdown(signal, code, again.clone())
                .and_then(|_| signal_hook::flag::register(signal, again))
                .and_then(|_| {
                    signal_hook::flag::register_usize(signal, stop.clone(), signal as usize)
                });
        if let Err(error) = registered {
            let _ = stderr(&format!("Signal {signal} cannot be watched: {error}.\n"));
        }
    }
    stop
}

impl Observer for Progress {
    fn begin(&self, stage: &str, files: u64, bytes: u64) {
        let shared = &self.shared;
        shared.files.store(0, Ordering::Relaxed);
        shared.bytes.store(0, Ordering::Relaxed);
        let mut state = shared.state();
        state.stage = stage.to_owned();
        state.begun = Instant::now();
        (state.all_files, state.all_bytes) = (files, bytes);
        if shared.mode == Shown::Line {
            line::allow();
            shared.draw(&state);
        }
    }

    fn advance(&self, files: u64, bytes: u64) {
        self.shared.files.fetch_add(files, Ordering::Relaxed);
        self.shared.bytes.fetch_add(bytes, Ordering::Relaxed);
        match self.shared.mode {
            Shown::Nothing | Shown::Line => {}
            Shown::Lines => self.shared.line(LINE_EVERY),
            Shown::Json => self.shared.line(JSON_EVERY),
        }
    }

    fn note(&self, sentence: &str) {
        if !self.quiet {
            let _ = stderr(&format!("{sentence}\n"));
        }
    }

    fn interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed) != 0
    }
}
