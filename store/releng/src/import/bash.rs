//! The scripts' variables: bash is asked for them, and its answer is read.
//!
//! Only bash knows what a bash file says, so the file is run, by `bash --noprofile --norc` with an
//! empty environment, and `declare -p` prints what it has set. The answer is bounded in time and
//! size and read as text; what the file itself prints goes elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use cairn_store::path::display;
use cairn_store::progress::Observer;

use crate::error::{Error, Result};
use crate::program::{Failure, Program};

/// Files that only assign variables take milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The variables of one release are a few kilobytes.
const MOST: usize = 1 << 20;

/// What stands between the parts of the answer. `declare -p` prints no such line by itself.
const BETWEEN: &str = "--cairn--";

/// The name of a compose that no compose has, to find its place in a path.
pub(super) const SHORT: &str = "CAIRNSHORT";

/// The variables that are understood, or follow from others.
pub(super) const KNOWN: &[&str] = &[
    "COMPOSE_ROOT",
    "STAGING_ROOT",
    "PRODUCTION_ROOT",
    "CATEGORY_STUB",
    "VAULT_STUB",
    "SIG_CATEGORY_STUB",
    "SIG_VAULT_STUB",
    "VARIANTS",
    "NONREPO_DIRS",
    "REVISION",
    "PREREV",
    "APPEND_TO_DIR",
    "COMPOSE_APPEND",
    "MAJOR",
    "MINOR",
    "REV",
    "ARCHES",
    "ISO_TYPES",
    "IMAGE_TYPES",
    "RELEASE_DIR",
    "RELEASE_COMPOSE_ROOT",
    "NONMODS_REPOS",
    "MODS_REPOS",
    "ALL_REPOS",
    "NONSIG_COMPOSE",
    "SIG_COMPOSE",
    "MODS",
    "LINK_REPOS",
];

/// The function whose `--exclude`s are what an update of staging leaves out.
const UPDATE: &str = "rsync_no_delete_staging_pungi";

/// What a variable holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    List(Vec<String>),
    Map(BTreeMap<String, String>),
}

/// What a file has set for one release and channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sourced {
    /// The variables of [`KNOWN`] that it has set.
    pub values: BTreeMap<String, Value>,
    /// Names of all others.
    pub strangers: BTreeSet<String>,
    /// The text of [`UPDATE`]; empty if there is none.
    pub update: String,
    /// The text of all functions.
    pub functions: String,
    /// What was said, where the last command of the file failed; it may have meant nothing.
    pub complaint: Option<String>,
}

/// Runs `common` as the scripts do, for a release and a channel.
///
/// # Errors
/// A file that fails, hangs, or leaves something that is not understood is named with the reason.
pub(super) fn source(
    common: &Path,
    major: u32,
    channel: &str,
    observer: &dyn Observer,
) -> Result<Sourced> {
    let bad = |reason: String| Error::Input {
        path: common.to_owned(),
        reason: format!("with RLVER={major} RLREL={channel}: {reason}"),
    };
    let Some(path) = common.to_str() else { return Err(bad("its path is not UTF-8".into())) };
    let names = KNOWN.join(" ");
    // The file's own words go to stderr. Names of ours begin with cairn_.
    let script = format!(
        "SHORT={SHORT}\n\
         builtin compgen -v\n\
         builtin echo {BETWEEN}\n\
         builtin source \"$1\" >&2\n\
         cairn_status=$?\n\
         builtin compgen -v\n\
         builtin echo {BETWEEN}\n\
         for cairn_name in {names}; do builtin declare -p \"$cairn_name\" 2>/dev/null; done\n\
         builtin echo {BETWEEN}\n\
         builtin declare -f {UPDATE}\n\
         builtin echo {BETWEEN}\n\
         builtin declare -f\n\
         builtin echo {BETWEEN}\n\
         builtin echo \"$cairn_status\"\n\
         builtin exit 0\n"
    );
    let (version, release) = (format!("RLVER={major}"), format!("RLREL={channel}"));
    let command = ["/usr/bin/env", "-i", &version, &release, "bash", "--noprofile", "--norc", "-c"];
    let mut command: Vec<String> = command.map(str::to_owned).into();
    command.extend([script, "cairn".to_owned(), path.to_owned()]);
    let program = Program {
        command: &command,
        dir: Path::new("/"),
        name: path,
        input: b"",
        timeout: TIMEOUT,
        most: MOST,
    };
    let ended = match program.run(observer) {
        Ok(ended) => ended,
        Err(Failure::Start(error)) => return Err(bad(format!("bash cannot be run: {error}"))),
        Err(Failure::Interrupted) => return Err(cairn_store::Error::Interrupted.into()),
        Err(Failure::TimedOut(said)) => {
            let said = said.quoted().map(|said| format!("; it said: {said}")).unwrap_or_default();
            return Err(bad(format!("it did not end within {} s{said}", TIMEOUT.as_secs())));
        }
    };
    let said = ended.said.quoted().map(|said| format!("; it said: {said}")).unwrap_or_default();
    if let Some(failure) = ended.failure() {
        return Err(bad(format!("bash {failure}{said}")));
    }
    if ended.cut {
        return Err(bad(format!("it sets more than {MOST} bytes of variables")));
    }
    let text = String::from_utf8(ended.stdout).map_err(|_| bad("not all of it is UTF-8".into()))?;
    let parts: Vec<&str> = text.split(&format!("{BETWEEN}\n")).collect();
    let [before, after, declared, update, functions, status] = parts.as_slice() else {
        return Err(bad(format!("it ended before all was said{said}")));
    };
    let before: BTreeSet<&str> = before.lines().collect();
    let own = |name: &&str| {
        let ours = KNOWN.contains(name) || name.starts_with("cairn_");
        !ours && !before.contains(name) && !name.starts_with("BASH") && *name != "PIPESTATUS"
    };
    Ok(Sourced {
        values: parse(declared).map_err(|reason| bad(format!("declare -p: {reason}")))?,
        strangers: after.lines().filter(own).map(str::to_owned).collect(),
        update: (*update).to_owned(),
        functions: (*functions).to_owned(),
        complaint: (*status != "0\n")
            .then(|| format!("it ended with status {}{said}", status.trim_end())),
    })
}

/// Reads what `declare -p` prints: `declare -a NAME=([0]="a" [1]="b")`, one after the other.
pub(super) fn parse(text: &str) -> std::result::Result<BTreeMap<String, Value>, String> {
    let mut rest = Rest { text, at: 0 };
    let mut values = BTreeMap::new();
    loop {
        rest.skip_white();
        if rest.peek().is_none() {
            return Ok(values);
        }
        if !rest.take("declare -") {
            return Err(format!("expected a declaration, found {:?}", rest.shown()));
        }
        let flags = rest.until(|c| c == ' ');
        rest.take(" ");
        let name = rest.until(|c| c == '=' || c == '\n').to_owned();
        if name.is_empty() {
            return Err(format!("a declaration without a name: {:?}", rest.shown()));
        }
        let (array, map) = (flags.contains('a'), flags.contains('A'));
        if !rest.take("=") {
            // Declared and not set: an array is empty, a text is not there.
            if array || map {
                values.insert(name, Value::List(Vec::new()));
            }
            continue;
        }
        let value = match (array, map) {
            (false, false) => Value::Text(rest.word()?),
            (_, map) => {
                let pairs = rest.pairs()?;
                match map {
                    true => Value::Map(pairs.into_iter().collect()),
                    false => Value::List(pairs.into_iter().map(|(_, value)| value).collect()),
                }
            }
        };
        values.insert(name, value);
    }
}

/// What is left to read.
struct Rest<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Rest<'t> {
    fn left(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.left().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn take(&mut self, text: &str) -> bool {
        let taken = self.left().starts_with(text);
        self.at += if taken { text.len() } else { 0 };
        taken
    }

    fn until(&mut self, end: impl Fn(char) -> bool) -> &'t str {
        let left = self.left();
        let length = left.find(end).unwrap_or(left.len());
        self.at += length;
        &left[..length]
    }

    fn skip_white(&mut self) {
        self.until(|c| !c.is_ascii_whitespace());
    }

    fn shown(&self) -> String {
        self.left().chars().take(40).collect()
    }

    /// Reads `([KEY]=VALUE [KEY]=VALUE )`.
    fn pairs(&mut self) -> std::result::Result<Vec<(String, String)>, String> {
        if !self.take("(") {
            return Err(format!("expected an array, found {:?}", self.shown()));
        }
        let mut pairs = Vec::new();
        loop {
            self.skip_white();
            if self.take(")") {
                return Ok(pairs);
            }
            if !self.take("[") {
                return Err(format!("expected an element, found {:?}", self.shown()));
            }
            let key = self.word_until(&[']'])?;
            if !self.take("]=") {
                return Err(format!("expected a value, found {:?}", self.shown()));
            }
            pairs.push((key, self.word_until(&[' ', ')', '\n'])?));
        }
    }

    fn word(&mut self) -> std::result::Result<String, String> {
        self.word_until(&['\n'])
    }

    /// Reads a word with its quotes, up to a character that is not quoted.
    fn word_until(&mut self, end: &[char]) -> std::result::Result<String, String> {
        let mut bytes: Vec<u8> = Vec::new();
        let open = || "a quote is not closed".to_owned();
        let push = |bytes: &mut Vec<u8>, c: char| {
            bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
        };
        while let Some(c) = self.peek() {
            if end.contains(&c) {
                break;
            }
            if self.take("$'") {
                self.ansi(&mut bytes)?;
            } else if self.take("'") {
                bytes.extend(self.until(|c| c == '\'').as_bytes());
                self.next().ok_or_else(open)?;
            } else if self.take("\"") {
                loop {
                    match self.next().ok_or_else(open)? {
                        '"' => break,
                        '\\' => match self.next().ok_or_else(open)? {
                            c @ ('"' | '\\' | '$' | '`') => push(&mut bytes, c),
                            c => {
                                bytes.push(b'\\');
                                push(&mut bytes, c);
                            }
                        },
                        c => push(&mut bytes, c),
                    }
                }
            } else if self.take("\\") {
                push(&mut bytes, self.next().ok_or_else(open)?);
            } else {
                self.next();
                push(&mut bytes, c);
            }
        }
        String::from_utf8(bytes).map_err(|_| "a value is not UTF-8".to_owned())
    }

    /// Reads the rest of `$'…'`.
    fn ansi(&mut self, bytes: &mut Vec<u8>) -> std::result::Result<(), String> {
        loop {
            match self.next() {
                None => return Err("a quote is not closed".to_owned()),
                Some('\'') => return Ok(()),
                Some('\\') => {
                    let c = self.next().ok_or("a quote is not closed")?;
                    let plain = match c {
                        'a' => 7,
                        'b' => 8,
                        't' => b'\t',
                        'n' => b'\n',
                        'v' => 11,
                        'f' => 12,
                        'r' => b'\r',
                        'e' | 'E' => 27,
                        '\\' | '\'' | '"' | '?' => c as u8,
                        '0'..='7' => {
                            self.at -= 1;
                            self.digits(8, 3)?
                        }
                        'x' => self.digits(16, 2)?,
                        other => return Err(format!("unknown escape \\{other}")),
                    };
                    bytes.push(plain);
                }
                Some(c) => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    fn digits(&mut self, radix: u32, most: usize) -> std::result::Result<u8, String> {
        let left = self.left();
        let length = left.chars().take(most).take_while(|c| c.is_digit(radix)).count();
        let value = left.get(..length).and_then(|digits| u8::from_str_radix(digits, radix).ok());
        self.at += length;
        value.ok_or_else(|| "an escape that is no byte".to_owned())
    }
}

/// Names the files of a directory that are run, the release ones by their major.
pub(super) fn files(dir: &cairn_store::fs::Dir) -> Result<BTreeMap<u32, String>> {
    let mut majors = BTreeMap::new();
    for name in dir.names()? {
        let name = String::from_utf8_lossy(&name).into_owned();
        let major = name.strip_prefix("common_").and_then(crate::config::plain_number);
        if let Some(major) = major {
            majors.insert(major, name);
        }
    }
    let check = |name: &str| -> Result<()> {
        let path = dir.path_of(name.as_bytes());
        let bad = |reason: &str| Err(Error::Input { path: path.clone(), reason: reason.into() });
        match dir.try_stat(name.as_bytes())? {
            None => bad("there is no such file; DIR is where the scripts lie"),
            Some(stat) if stat.kind != cairn_store::fs::Kind::File => bad("it is not a file"),
            // Bit 2 of others: whoever can write to it chooses what is run here.
            Some(stat) if stat.mode & 0o002 != 0 => {
                bad("everybody can write to it, so it is not run; chmod o-w")
            }
            Some(_) => Ok(()),
        }
    };
    if dir.stat_self()?.mode & 0o002 != 0 {
        let reason = "everybody can write to this directory, so nothing of it is run; chmod o-w";
        return Err(Error::Input { path: dir.path().to_owned(), reason: reason.into() });
    }
    check("common")?;
    for name in majors.values() {
        check(name)?;
    }
    if majors.is_empty() {
        let reason = format!("it has no common_8, common_9, …: {}", display(dir.path()));
        return Err(Error::Input { path: dir.path_of(b"common"), reason });
    }
    Ok(majors)
}
