//! Progress on stderr, and the operator's wish to stop.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use cairn_store::progress::Observer;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::{Global, ProgressMode};
use crate::output::{size, stderr, thousands};

/// How often a line is printed without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How often a JSON line is printed.
const JSON_EVERY: Duration = Duration::from_millis(500);

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
    mode: Shown,
    quiet: bool,
    stop: Arc<AtomicUsize>,
    state: Mutex<State>,
    files: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Bar,
    Lines,
    Json,
    Nothing,
}

struct State {
    stage: String,
    all_files: u64,
    all_bytes: u64,
    bar: Option<ProgressBar>,
    printed: Instant,
}

impl Progress {
    /// Starts to watch for signals.
    pub fn new(global: &Global) -> Self {
        let mode = match global.progress {
            _ if global.quiet => Shown::Nothing,
            ProgressMode::Auto if std::io::stderr().is_terminal() => Shown::Bar,
            ProgressMode::Auto | ProgressMode::Never => Shown::Nothing,
            ProgressMode::Plain => Shown::Lines,
            ProgressMode::Json => Shown::Json,
        };
        let stop = STOPPED_BY.get_or_init(watch_signals).clone();
        let (stage, printed) = (String::new(), Instant::now());
        let state = State { stage, all_files: 0, all_bytes: 0, bar: None, printed };
        Self {
            mode,
            quiet: global.quiet,
            stop,
            state: Mutex::new(state),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes the bar off the screen.
    pub fn finish(&self) {
        if let Some(bar) = self.state().bar.take() {
            bar.finish_and_clear();
        }
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
            _ => format!(
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
        self.files.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        let mut state = self.state();
        state.stage = stage.to_owned();
        (state.all_files, state.all_bytes) = (files, bytes);
        if self.mode != Shown::Bar {
            return;
        }
        let bar = ProgressBar::with_draw_target(
            Some(if bytes > 0 { bytes } else { files }),
            ProgressDrawTarget::stderr_with_hz(10),
        );
        let template = match (bytes, files) {
            (0, 0) => "{msg} {spinner} {elapsed}",
            (0, _) => "{msg:12} [{bar:30}] {pos}/{len} files, {eta} left",
            _ => "{msg:12} [{bar:30}] {bytes}/{total_bytes} {prefix}, {bytes_per_sec}, {eta} left",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(stage.to_owned());
        if let Some(old) = state.bar.replace(bar) {
            old.finish_and_clear();
        }
    }

    fn advance(&self, files: u64, bytes: u64) {
        let files = self.files.fetch_add(files, Ordering::Relaxed) + files;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        match self.mode {
            Shown::Nothing => {}
            Shown::Lines => self.line(LINE_EVERY),
            Shown::Json => self.line(JSON_EVERY),
            Shown::Bar => {
                if let Ok(state) = self.state.try_lock()
                    && let Some(bar) = &state.bar
                {
                    bar.set_prefix(format!("{} files", thousands(files)));
                    bar.set_position(if state.all_bytes > 0 { bytes } else { files });
                }
            }
        }
    }

    fn note(&self, sentence: &str) {
        if self.quiet {
            return;
        }
        let state = self.state();
        match &state.bar {
            Some(bar) => bar.println(sentence),
            None => drop(stderr(&format!("{sentence}\n"))),
        }
    }

    fn interrupted(&self) -> bool {
        self.stop.load(Ordering::Relaxed) != 0
    }
}
