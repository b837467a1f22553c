//! A web server over a directory: just enough HTTP/1.1 for dnf, curl and reposync.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// No client of a test is quiet for this long.
const IDLE: Duration = Duration::from_secs(30);
/// Longest request line or header that is read.
const LINE: u64 = 16 * 1024;

/// A server of GET, HEAD and single ranges, until it is dropped.
///
/// Every request opens its file by path anew, as nginx does: what a client reads across a swap
/// is what it would read from a mirror.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    stop: AtomicBool,
    delay: Duration,
    log: Mutex<Vec<Request>>,
}

/// A request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What was asked for, still encoded: `/os/repodata/repomd.xml`.
    pub target: String,
    /// What was answered: 200, 206, 404…
    pub status: u16,
}

impl HttpServer {
    /// Serves a directory on a free loopback port.
    ///
    /// # Panics
    ///
    /// If no port can be had.
    #[track_caller]
    pub fn start(root: impl Into<PathBuf>) -> Self {
        Self::slow(root, Duration::ZERO)
    }

    /// Serves a directory, and takes some time before each answer: clients take longer then,
    /// and more happens while they run.
    ///
    /// # Panics
    ///
    /// If no port can be had.
    #[track_caller]
    pub fn slow(root: impl Into<PathBuf>, delay: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            root: root.into(),
            stop: AtomicBool::new(false),
            delay,
            log: Mutex::new(Vec::new()),
        });
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if shared.stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let Ok(stream) = stream else { continue };
                    let shared = Arc::clone(&shared);
                    // A client that goes away in the middle is its own affair.
                    std::thread::spawn(move || serve(stream, &shared).unwrap_or_default());
                }
            })
        };
        Self { address, shared, thread: Some(thread) }
    }

    /// Returns the URL of a path below the root.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{}", self.address, path.trim_start_matches('/'))
    }

    /// Returns every request that was answered up to now.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns what was asked for and not there.
    pub fn not_found(&self) -> Vec<String> {
        let requests = self.requests().into_iter();
        requests.filter(|request| request.status == 404).map(|request| request.target).collect()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Wakes accept().
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers the requests of one connection.
fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_nodelay(true)?;
    let mut input = BufReader::new(stream.try_clone()?);
    let mut output = stream;
    while !shared.stop.load(Ordering::Relaxed) {
        let first = line(&mut input)?;
        let mut words = first.split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(()) };
        let mut range = None;
        let mut close = words.next() == Some("HTTP/1.0");
        loop {
            let header = line(&mut input)?;
            if header.is_empty() {
                break;
            }
            let Some((name, value)) = header.split_once(':') else { continue };
            match name.to_ascii_lowercase().as_str() {
                "range" => range = Some(value.trim().to_owned()),
                "connection" => close |= value.trim().eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        std::thread::sleep(shared.delay);
        let status = answer(&mut output, shared, method, target, range.as_deref())?;
        let request = Request { target: target.to_owned(), status };
        shared.log.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        if close {
            break;
        }
    }
    Ok(())
}

fn line(input: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    input.take(LINE).read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Writes one response and returns its status.
fn answer(
    output: &mut TcpStream,
    shared: &Shared,
    method: &str,
    target: &str,
    range: Option<&str>,
) -> io::Result<u16> {
    if method != "GET" && method != "HEAD" {
        return refuse(output, 405, "Method Not Allowed");
    }
    let Some(path) = resolve(&shared.root, target) else {
        return refuse(output, 400, "Bad Request");
    };
    let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
    let (mut file, size) = match opened {
        Ok((metadata, file)) if metadata.is_file() => (file, metadata.len()),
        Ok(_) => return refuse(output, 404, "Not Found"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return refuse(output, 404, "Not Found");
        }
        Err(_) => return refuse(output, 403, "Forbidden"),
    };
    let whole = (0, size);
    let (status, (start, length)) = match range.map(|range| parse_range(range, size)) {
        None | Some(Range::Ignored) => ("200 OK", whole),
        Some(Range::Part(start, length)) => ("206 Partial Content", (start, length)),
        Some(Range::Beyond) => return refuse(output, 416, "Range Not Satisfiable"),
    };
    let mut head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nAccept-Ranges: bytes\r\n\
         Content-Type: application/octet-stream\r\n"
    );
    let part = status.starts_with("206");
    if part {
        head.push_str(&format!("Content-Range: bytes {start}-{}/{size}\r\n", start + length - 1));
    }
    head.push_str("\r\n");
    output.write_all(head.as_bytes())?;
    if method == "GET" {
        file.seek(SeekFrom::Start(start))?;
        let sent = io::copy(&mut file.take(length), output)?;
        if sent != length {
            // A client must notice; it does when the connection ends early.
            output.shutdown(std::net::Shutdown::Both)?;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(if part { 206 } else { 200 })
}

fn refuse(output: &mut TcpStream, status: u16, reason: &str) -> io::Result<u16> {
    write!(output, "HTTP/1.1 {status} {reason}\r\nContent-Length: 0\r\n\r\n")?;
    Ok(status)
}

/// The file that a request names; `None` for what does not read or climbs out.
fn resolve(root: &Path, target: &str) -> Option<PathBuf> {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (hex, after) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
        rest = after;
    }
    let parts = bytes.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let mut full = root.to_owned();
    for part in parts {
        if part == b".." || part.contains(&0) {
            return None;
        }
        full.push(std::ffi::OsStr::from_bytes(part));
    }
    Some(full)
}

enum Range {
    /// The start and the length of a part.
    Part(u64, u64),
    /// Nothing of the file.
    Beyond,
    /// Several ranges, or none that we know: the whole file is a right answer.
    Ignored,
}

fn parse_range(range: &str, size: u64) -> Range {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|r| r.split_once('-')) else {
        return Range::Ignored;
    };
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), _) if first >= size => Range::Beyond,
        (Ok(first), Ok(last)) if last >= first => {
            Range::Part(first, last.min(size - 1) + 1 - first)
        }
        (Ok(first), Err(_)) if last.is_empty() => Range::Part(first, size - first),
        (Err(_), Ok(0)) if first.is_empty() => Range::Beyond,
        (Err(_), Ok(last)) if first.is_empty() => {
            Range::Part(size - last.min(size), last.min(size))
        }
        _ => Range::Ignored,
    }
}
