//! The one line on the terminal that says how far a command is.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crate::output::{size, thousands};

/// From when on an estimate is worth something.
const ESTIMATE_AFTER: Duration = Duration::from_secs(2);
/// How wide a bar may be, the widest first.
const BARS: [usize; 3] = [30, 20, 10];
/// Takes the line off: the cursor goes back, and the rest of the line is blank.
const CLEAR: &str = "\r\x1b[K";

/// How far a stage of the work is.
#[derive(Clone, Debug, Default)]
pub struct Line<'a> {
    /// What is being done.
    pub stage: &'a str,
    /// What is done of it.
    pub files: u64,
    pub bytes: u64,
    /// What there is to do, 0 where nobody knows.
    pub all_files: u64,
    pub all_bytes: u64,
    /// Since it began.
    pub elapsed: Duration,
}

impl Line<'_> {
    /// Returns the line, no longer than `width`: the less there is room for, the less is said.
    pub fn render(&self, width: usize) -> String {
        let stage: String =
            self.stage.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        let (counts, time) = (self.counts(), self.time());
        let join = |parts: &[&str]| -> String {
            let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
            parts.join("  ")
        };
        let mut forms = Vec::new();
        if let Some(done) = self.done() {
            let percent = format!("{:.0} %", done * 100.0);
            let rate = self.rate();
            for bar in BARS.map(|width| bar(done, width)) {
                forms.push(join(&[&stage, &bar, &counts, &rate, &time]));
            }
            forms.push(join(&[&stage, &bar(done, BARS[2]), &counts, &time]));
            forms.push(join(&[&stage, &counts, &time]));
            forms.push(join(&[&stage, &percent, &time]));
            forms.push(join(&[&stage, &percent]));
        } else {
            forms.push(join(&[&stage, &counts, &time]));
            forms.push(join(&[&stage, &time]));
        }
        let fits = |form: &String| form.chars().count() <= width;
        if let Some(form) = forms.into_iter().find(fits) {
            return form;
        }
        let mut short: String = stage.chars().take(width.saturating_sub(1)).collect();
        if width > 0 {
            short.push('…');
        }
        short
    }

    /// Returns how much is done, from 0 to 1, where it is known how much there is.
    fn done(&self) -> Option<f64> {
        let (done, all) = match (self.all_bytes, self.all_files) {
            (0, 0) => return None,
            (0, all) => (self.files, all),
            (all, _) => (self.bytes, all),
        };
        Some((done as f64 / all as f64).min(1.0))
    }

    fn counts(&self) -> String {
        let of = |done: u64, all: u64| match all {
            0 => thousands(done),
            all => format!("{} of {}", thousands(done.min(all)), thousands(all)),
        };
        let mut text = String::new();
        if self.all_bytes > 0 {
            let done = self.bytes.min(self.all_bytes);
            let _ = write!(text, "{} of {}", size(done), size(self.all_bytes));
        } else if self.bytes > 0 {
            text += &size(self.bytes);
        }
        if self.all_files > 0 || self.files > 0 {
            // Without bytes it is not always files that are counted.
            let (gap, noun) = if text.is_empty() { ("", "") } else { (", ", " files") };
            let _ = write!(text, "{gap}{}{noun}", of(self.files, self.all_files));
        }
        text
    }

    fn rate(&self) -> String {
        let seconds = self.elapsed.as_secs_f64();
        match self.bytes {
            0 => String::new(),
            _ if seconds < 0.5 => String::new(),
            bytes => format!("{}/s", size((bytes as f64 / seconds) as u64)),
        }
    }

    /// What is left, where that can be told, else for how long it has been going on.
    fn time(&self) -> String {
        match self.done() {
            Some(done) if done > 0.0 && self.elapsed >= ESTIMATE_AFTER => {
                let left = self.elapsed.as_secs_f64() * (1.0 - done) / done;
                format!("{} left", duration(left as u64))
            }
            Some(_) | None => duration(self.elapsed.as_secs()),
        }
    }
}

fn bar(done: f64, width: usize) -> String {
    let full = (done * width as f64) as usize;
    let head = if full < width { ">" } else { "" };
    let blank = width.saturating_sub(full + head.len());
    format!("[{}{head}{}]", "=".repeat(full), " ".repeat(blank))
}

fn duration(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// Whether our line stands on the terminal, and whether it may.
struct Standing {
    drawn: bool,
    allowed: bool,
}

/// There is one terminal, whatever the number of commands that this process runs in a row.
static STANDING: Mutex<Standing> = Mutex::new(Standing { drawn: false, allowed: false });

fn standing() -> MutexGuard<'static, Standing> {
    loop {
        match STANDING.try_lock() {
            Ok(standing) => return standing,
            Err(TryLockError::Poisoned(poisoned)) => return PoisonError::into_inner(poisoned),
            // Whoever draws is done in a moment, and never waits for anything meanwhile.
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
}

/// Allows the line to be drawn again.
pub fn allow() {
    standing().allowed = true;
}

/// Draws a line in the place of the one that stands there.
pub fn draw(text: &str) {
    let mut standing = standing();
    if standing.allowed {
        standing.drawn = true;
        write(&format!("\r{text}\x1b[K"));
    }
}

/// Takes the line off, for something else to be written; it comes back by itself.
pub fn clear() {
    let mut standing = standing();
    if std::mem::take(&mut standing.drawn) {
        write(CLEAR);
    }
}

/// Takes the line off until it is allowed again: what is written now may be half a line.
pub fn stop() {
    let mut standing = standing();
    standing.allowed = false;
    if std::mem::take(&mut standing.drawn) {
        write(CLEAR);
    }
}

/// A terminal that is gone is nobody's problem.
fn write(text: &str) {
    use std::io::Write as _;
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    const READING: Line<'static> = Line {
        stage: "Reading",
        files: 1_234,
        bytes: 2_500_000_000,
        all_files: 5_678,
        all_bytes: 10_000_000_000,
        elapsed: Duration::from_secs(10),
    };

    #[test]
    fn a_line_says_as_much_as_there_is_room_for() {
        for (width, line) in [
            (
                120,
                "Reading  [=======>                      ]  2.5 GB of 10 GB, 1,234 of 5,678 files  250 MB/s  30 s left",
            ),
            (80, "Reading  [==>       ]  2.5 GB of 10 GB, 1,234 of 5,678 files  30 s left"),
            (60, "Reading  2.5 GB of 10 GB, 1,234 of 5,678 files  30 s left"),
            (39, "Reading  25 %  30 s left"),
            (14, "Reading  25 %"),
            (6, "Readi…"),
            (1, "…"),
            (0, ""),
        ] {
            assert_eq!(READING.render(width), line);
        }
    }

    #[test]
    fn no_line_is_ever_longer_than_the_terminal_is_wide() {
        let waiting = Line { stage: "Running hook \x1b[31mü", ..Line::default() };
        let packs = Line { stage: "Packs", files: 3, all_files: 7, ..Line::default() };
        let over = Line { files: 9, all_files: 7, bytes: 9, all_bytes: 7, ..READING };
        for line in [&READING, &waiting, &packs, &over, &Line::default()] {
            for width in 0..150 {
                let text = line.render(width);
                assert!(text.chars().count() <= width, "{width}: {text:?}");
                assert!(!text.contains('\x1b'), "{text:?}");
            }
        }
        assert_eq!(packs.render(40), "Packs  [====>     ]  3 of 7  0 s");
        assert!(over.render(150).contains("7 B of 7 B, 7 of 7 files"), "{}", over.render(150));
    }

    #[test]
    fn what_has_no_end_in_sight_is_counted() {
        let mut line = Line { stage: "Scanning", files: 12_000, ..Line::default() };
        line.elapsed = Duration::from_secs(3_723);
        assert_eq!(line.render(80), "Scanning  12,000  1:02:03");
        line = Line { stage: "Working", elapsed: Duration::from_secs(61), ..Line::default() };
        assert_eq!(line.render(80), "Working  1:01");
    }
}
