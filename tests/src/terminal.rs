//! A terminal: programs that run in one, and what a person sees there.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Longer than anything a test waits for, on a machine that is busy with other tests.
const DEADLINE: Duration = Duration::from_secs(300);
/// How often we look whether something has come.
const POLL: Duration = Duration::from_millis(5);

/// A program in a terminal of its own; killed when dropped.
#[derive(Debug)]
pub struct Terminal {
    command: String,
    child: Child,
    master: File,
    seen: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

/// What came of a program in a terminal.
#[derive(Clone, Debug)]
pub struct Seen {
    /// How it ended.
    pub status: ExitStatus,
    /// Everything that it wrote.
    pub bytes: Vec<u8>,
}

impl Terminal {
    /// Starts a command with a terminal of this size as its three streams.
    ///
    /// # Panics
    ///
    /// If there is no terminal to be had, or the command cannot be started.
    #[track_caller]
    pub fn start(mut command: Command, columns: u16, rows: u16) -> Self {
        let text = format!("{command:?}");
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("the system has pseudo terminals");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("the terminal is ours");
        let name = ptsname(&master, Vec::new()).expect("the terminal has a name");
        let no_ctty = i32::try_from(rustix::fs::OFlags::NOCTTY.bits()).expect("a flag is small");
        let slave = File::options()
            .read(true)
            .write(true)
            .custom_flags(no_ctty)
            .open(std::ffi::OsStr::from_bytes(name.as_bytes()))
            .expect("the terminal can be opened");
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size).expect("the terminal has a size");
        let stream = || slave.try_clone().expect("there are descriptors left");
        command.stdin(stream()).stdout(stream()).stderr(stream());
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => panic!("{text}: cannot be started: {error}"),
        };
        // Only the program may hold its end: then reading ends when it does.
        drop((command, slave));
        let master = File::from(master);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut from = master.try_clone().expect("there are descriptors left");
        let to = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal whose program has ended answers with an error.
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                let mut seen = to.lock().unwrap_or_else(PoisonError::into_inner);
                seen.extend_from_slice(&buffer[..count]);
            }
        });
        Self { command: text, child, master, seen, reader: Some(reader) }
    }

    /// Types something.
    ///
    /// # Panics
    ///
    /// If the terminal takes nothing any more.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("the terminal takes what is typed");
    }

    /// Gives the terminal another size; the program gets no signal, it is not its session's.
    ///
    /// # Panics
    ///
    /// If the terminal is gone.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).expect("the terminal is there");
    }

    /// Sends the program a signal.
    ///
    /// # Panics
    ///
    /// If the system refuses.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("our own child takes signals");
    }

    /// Returns everything that was written so far.
    pub fn so_far(&self) -> Vec<u8> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `wanted` finds what it looks for in what was written so far.
    ///
    /// # Panics
    ///
    /// If that takes more than five minutes, or the program ends before.
    #[track_caller]
    pub fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(&str) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            let ended = !matches!(self.child.try_wait(), Ok(None));
            if ended && let Some(reader) = self.reader.take() {
                let _ = reader.join();
            }
            let seen = String::from_utf8_lossy(&self.so_far()).into_owned();
            if let Some(found) = wanted(&seen) {
                return found;
            }
            let late = started.elapsed() > DEADLINE;
            assert!(!ended && !late, "{}: no {what} in {seen:?}", self.command);
            std::thread::sleep(POLL);
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// If that takes more than five minutes.
    #[track_caller]
    pub fn wait(mut self) -> Seen {
        let started = Instant::now();
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if started.elapsed() < DEADLINE => std::thread::sleep(POLL),
                Ok(None) => panic!("{}: still running: {:?}", self.command, self.so_far()),
                Err(error) => panic!("{}: wait: {error}", self.command),
            }
        };
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        Seen { status, bytes: self.so_far() }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What stands on a terminal after some bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Screen {
    /// Its lines, without blanks at their ends; those that scrolled away too.
    pub lines: Vec<String>,
    /// The lines that were longer than the terminal is wide, as far as they fitted.
    pub wrapped: Vec<String>,
}

impl Screen {
    /// Shows bytes on a terminal of this width, as far as our programs use it: text, line ends,
    /// moves up and down and within the line, and what erases.
    pub fn of(bytes: &[u8], columns: usize) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let mut cells: Vec<Vec<char>> = vec![Vec::new()];
        let (mut row, mut column) = (0_usize, 0_usize);
        let mut wrapped = Vec::new();
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\r' => column = 0,
                '\n' => row += 1,
                '\x08' => column = column.saturating_sub(1),
                '\x1b' if chars.peek() == Some(&'[') => {
                    chars.next();
                    let mut words = String::new();
                    let end = loop {
                        match chars.next() {
                            Some(c @ ('\x40'..='\x7e')) => break c,
                            Some(c) => words.push(c),
                            None => break 'm',
                        }
                    };
                    let number: Option<usize> = words.parse().ok();
                    let line = &mut cells[row];
                    match (end, number) {
                        ('A', count) => row = row.saturating_sub(count.unwrap_or(1)),
                        ('B', count) => row += count.unwrap_or(1),
                        ('C', count) => column += count.unwrap_or(1),
                        ('D', count) => column = column.saturating_sub(count.unwrap_or(1)),
                        ('G', to) => column = to.unwrap_or(1).saturating_sub(1),
                        ('H', _) if words.is_empty() => (row, column) = (0, 0),
                        ('K', None | Some(0)) => line.truncate(column),
                        ('K', Some(2)) => line.clear(),
                        ('J', None | Some(0)) => {
                            line.truncate(column);
                            cells.truncate(row + 1);
                        }
                        ('J', Some(2)) => cells.iter_mut().for_each(Vec::clear),
                        _ => {}
                    }
                }
                c if c.is_control() => {}
                c => {
                    if column >= columns {
                        wrapped.push(cells[row].iter().collect());
                        (row, column) = (row + 1, 0);
                        cells.resize(cells.len().max(row + 1), Vec::new());
                    }
                    let line = &mut cells[row];
                    line.resize(line.len().max(column + 1), ' ');
                    line[column] = c;
                    column += 1;
                }
            }
            cells.resize(cells.len().max(row + 1), Vec::new());
        }
        let shown = |line: Vec<char>| line.into_iter().collect::<String>().trim_end().to_owned();
        let mut lines: Vec<String> = cells.into_iter().map(shown).collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        Self { lines, wrapped }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_shows_what_is_left() {
        for (bytes, columns, lines) in [
            ("one\r\ntwo\r\n", 80, &["one", "two"][..]),
            ("bar 10%\rbar 20%", 80, &["bar 20%"]),
            ("a long bar\r\x1b[Kdone\r\n", 80, &["done"]),
            ("a\r\nb\r\n\x1b[2A\x1b[Jc\r\n", 80, &["c"]),
            ("\x1b[1mbold\x1b[0m", 80, &["bold"]),
            ("12345", 3, &["123", "45"]),
            ("123\r\n4", 3, &["123", "4"]),
            ("x\x1b[2J\x1b[Hy", 80, &["y"]),
        ] {
            let screen = Screen::of(bytes.as_bytes(), columns);
            assert_eq!(screen.lines, lines, "{bytes:?}");
            assert_eq!(screen.wrapped.is_empty(), bytes != "12345", "{bytes:?}");
        }
    }

    #[test]
    fn a_program_has_a_terminal_of_the_size_that_it_is_told() {
        let mut command = Command::new("sh");
        command.args(["-c", "test -t 0 && test -t 2 && stty size && read line && echo got $line"]);
        let mut terminal = Terminal::start(command, 40, 10);
        terminal.until("size", |seen| seen.contains("10 40").then_some(()));
        terminal.send("this\n");
        let seen = terminal.wait();
        assert!(seen.status.success());
        let screen = Screen::of(&seen.bytes, 40);
        assert_eq!(screen.lines, ["10 40", "this", "got this"]);
    }
}
