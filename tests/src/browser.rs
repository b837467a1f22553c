//! A real browser without a screen, driven by its own protocol.
//!
//! Chromium speaks the DevTools protocol over two pipes: a JSON message ends with a NUL. So no port
//! is opened, and no crate is needed.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::unavailable::{Unavailable, tool};

/// Longer than a page takes to load on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);
/// What it is called, the first that there is.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// What a page is looked at with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Its width in CSS pixels.
    pub width: u32,
    /// Its height.
    pub height: u32,
    /// Whether its owner likes it dark.
    pub dark: bool,
}

/// What a picture is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shot {
    /// The whole page, however long it is.
    Page,
    /// What is on the screen.
    Screen,
}

/// Chromium with one page.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<Value>,
    /// What came while something else was waited for.
    events: Vec<Value>,
    session: Option<String>,
    next: u64,
    _home: tempfile::TempDir,
}

impl Browser {
    /// Starts a browser that reaches no network.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] where no Chromium is installed, or it does not start.
    pub fn start() -> Result<Self, Unavailable> {
        let found = NAMES.into_iter().find(|name| tool(name).is_ok());
        let name = found.ok_or_else(|| Unavailable::NoTool { tool: NAMES[0].to_owned() })?;
        let refused = |reason: String| Unavailable::Refused {
            what: format!("{name} without a screen"),
            reason,
        };
        let home = tempfile::tempdir().map_err(|error| refused(error.to_string()))?;
        let mut command = Command::new("sh");
        // The protocol's pipes are descriptors 3 and 4; nothing else shall write to them.
        command.args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", name]);
        command.args([
            "--headless=new",
            "--remote-debugging-pipe",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--hide-scrollbars",
        ]);
        command.arg(format!("--user-data-dir={}", home.path().display())).arg("about:blank");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // It starts a dozen others, which end with it.
        command.process_group(0);
        let mut child = command.spawn().map_err(|error| refused(error.to_string()))?;
        let orders = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(stdout).split(0) {
                let Ok(Ok(message)) = message.map(|bytes| serde_json::from_slice(&bytes)) else {
                    break;
                };
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let (events, session) = (Vec::new(), None);
        let mut browser = Self { child, orders, answers, events, session, next: 0, _home: home };
        let mut begin = || {
            let target =
                browser.try_call("Target.createTarget", json!({ "url": "about:blank" }))?;
            let attach = json!({ "targetId": target["targetId"], "flatten": true });
            let attached = browser.try_call("Target.attachToTarget", attach)?;
            browser.session = attached["sessionId"].as_str().map(str::to_owned);
            for domain in ["Page.enable", "Runtime.enable", "Network.enable", "Log.enable"] {
                browser.try_call(domain, json!({}))?;
            }
            Ok(())
        };
        match begin() {
            Ok(()) => Ok(browser),
            Err(reason) => Err(refused(reason)),
        }
    }

    /// Opens a file and waits until it is loaded.
    ///
    /// # Panics
    ///
    /// If it cannot be.
    #[track_caller]
    pub fn open(&mut self, file: &Path) {
        let url = format!("file://{}", file.display());
        let answer = self.call("Page.navigate", json!({ "url": url }));
        assert!(answer.get("errorText").is_none(), "{url}: {answer}");
        self.wait_for("Page.loadEventFired");
    }

    /// Looks with another screen.
    #[track_caller]
    pub fn look_with(&mut self, screen: Screen) {
        let Screen { width, height, dark } = screen;
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700
        });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let value = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.call("Emulation.setEmulatedMedia", features);
    }

    /// Returns the value of a JavaScript expression on the page.
    ///
    /// # Panics
    ///
    /// If it throws.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        let order = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true
        });
        let answer = self.call("Runtime.evaluate", order);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Clicks with the mouse in the middle of what a selector finds first.
    ///
    /// # Panics
    ///
    /// If there is no such thing to be seen.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        let quoted = Value::from(selector);
        let place = self.value(&format!(
            "(() => {{ const e = document.querySelector({quoted}); if (!e) return null; \
             e.scrollIntoView({{ block: 'center' }}); const b = e.getBoundingClientRect(); \
             return [b.x + b.width / 2, b.y + b.height / 2]; }})()"
        ));
        let (Some(x), Some(y)) = (place[0].as_f64(), place[1].as_f64()) else {
            panic!("{selector}: nothing to click on");
        };
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1
            });
            self.call("Input.dispatchMouseEvent", event);
        }
    }

    /// Types text where the cursor is.
    #[track_caller]
    pub fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({ "text": text }));
    }

    /// Takes a picture of the whole page, or of what is on the screen.
    ///
    /// # Panics
    ///
    /// If the file cannot be written.
    #[track_caller]
    pub fn screenshot(&mut self, file: &Path, what: Shot) {
        let whole = what == Shot::Page;
        let order = json!({ "format": "png", "captureBeyondViewport": whole });
        let answer = self.call("Page.captureScreenshot", order);
        let data = answer["data"].as_str().unwrap_or_default();
        let bytes = base64::engine::general_purpose::STANDARD.decode(data).expect("it is base64");
        assert!(bytes.starts_with(b"\x89PNG"), "no picture: {answer}");
        std::fs::write(file, bytes).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// Prints the page and returns the PDF.
    #[track_caller]
    pub fn print(&mut self) -> Vec<u8> {
        let answer = self.call("Page.printToPDF", json!({}));
        let data = answer["data"].as_str().unwrap_or_default();
        base64::engine::general_purpose::STANDARD.decode(data).expect("it is base64")
    }

    /// Returns the addresses that were asked for since the start.
    pub fn requests(&mut self) -> Vec<String> {
        self.happened("Network.requestWillBeSent")
            .iter()
            .filter_map(|event| event["request"]["url"].as_str().map(str::to_owned))
            .collect()
    }

    /// Returns what the page complained of: exceptions, and what its policy forbade.
    pub fn complaints(&mut self) -> Vec<String> {
        let mut all = self.happened("Runtime.exceptionThrown");
        all.extend(self.happened("Log.entryAdded"));
        all.iter().map(Value::to_string).collect()
    }

    fn happened(&mut self, method: &str) -> Vec<Value> {
        while let Ok(message) = self.answers.try_recv() {
            self.events.push(message);
        }
        let events = self.events.iter().filter(|event| event["method"] == method);
        events.map(|event| event["params"].clone()).collect()
    }

    #[track_caller]
    fn wait_for(&mut self, method: &str) {
        let since = Instant::now();
        while self.happened(method).is_empty() {
            assert!(since.elapsed() < PATIENCE, "{method}: not within {PATIENCE:?}");
            if let Ok(message) = self.answers.recv_timeout(Duration::from_millis(100)) {
                self.events.push(message);
            }
        }
        self.events.retain(|event| event["method"] != method);
    }

    #[track_caller]
    fn call(&mut self, method: &str, params: Value) -> Value {
        match self.try_call(method, params) {
            Ok(answer) => answer,
            Err(reason) => panic!("{method}: {reason}"),
        }
    }

    fn try_call(&mut self, method: &str, params: Value) -> Result<Value, String> {
        self.next += 1;
        let mut order = json!({ "id": self.next, "method": method, "params": params });
        if let Some(session) = &self.session {
            order["sessionId"] = session.as_str().into();
        }
        let mut bytes = order.to_string().into_bytes();
        bytes.push(0);
        self.orders.write_all(&bytes).map_err(|error| error.to_string())?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.answers.recv_timeout(left) {
                Ok(message) if message["id"] == self.next => {
                    return match message.get("error") {
                        Some(error) => Err(error.to_string()),
                        None => Ok(message["result"].clone()),
                    };
                }
                Ok(event) => self.events.push(event),
                Err(RecvTimeoutError::Timeout) => return Err("no answer".to_owned()),
                Err(RecvTimeoutError::Disconnected) => return Err("the browser ended".to_owned()),
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.child.wait();
    }
}
