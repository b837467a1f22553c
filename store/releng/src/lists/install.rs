//! From rows to files: compared while they are rendered, written aside, renamed into place.
//!
//! Nothing is written until a byte differs from the list that is there; then what agreed so far
//! is copied and the rest follows. Temporary files are in `<pool>/lists`, out of everybody's
//! sight, so that a directory that is served sees two renames and nothing else. One flock on
//! `<pool>/lists/lock` guards all of it, so that what a killed process left is known to be dead.

use std::sync::atomic::{AtomicU64, Ordering};

use cairn_store::fault::{self, CrashPoint};
use cairn_store::fs::{Dir, Kind, LockKind, OpenFile, Replace, hex_random};
use cairn_store::lock::Lock;
use cairn_store::mount::Mount;
use cairn_store::{Error, Result, Store};

/// How many bytes are compared or copied at once.
const PIECE: usize = 1 << 16;
const TEMP: &[u8] = b"tmp-";

/// A mount's `lists` directory, held by one process.
pub(super) struct Workshop {
    dir: Dir,
    /// Opened before the first write, so that it hears of every write-back error.
    sync: Dir,
    owner: Option<(u32, u32)>,
    token: String,
    count: AtomicU64,
    lock: Lock,
}

/// A finished file that waits for its name.
pub(super) struct Finished {
    pub temp: Vec<u8>,
    pub name: Vec<u8>,
}

impl Workshop {
    /// Opens the directory, waiting for another process that writes lists.
    pub fn open(store: &Store, mount: &Mount, dir: Dir) -> Result<Self> {
        let session = store.session();
        let (what, command) =
            (format!("the lists of {}", mount.spec.name), session.command.join(" "));
        let kind = LockKind::Exclusive;
        let (wait, watcher) = (session.lock_wait, &session.watcher);
        let lock = Lock::take(&dir, "lock", &what, kind, wait, &command, watcher)?;
        for name in dir.names()? {
            if name.starts_with(TEMP) {
                dir.remove_if_there(&name)?;
            }
        }
        let (sync, token) = (dir.try_clone_open()?, hex_random()?);
        let (owner, count) = (mount.spec.owner, AtomicU64::new(0));
        Ok(Self { dir, sync, owner, token, count, lock })
    }

    /// Returns the directory.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    fn temp_name(&self) -> Vec<u8> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        [TEMP, format!("{}-{number}", self.token).as_bytes()].concat()
    }

    /// Writes a state file aside.
    pub fn state(&self, name: Vec<u8>, bytes: &[u8]) -> Result<Finished> {
        let temp = self.temp_name();
        self.dir.create(&temp)?.write_all(bytes)?;
        Ok(Finished { temp, name })
    }

    /// Gives state files their names.
    pub fn keep(&self, states: Vec<Finished>) -> Result<()> {
        self.lock.check()?;
        for state in states {
            self.dir.rename(&state.temp, &self.dir, &state.name, Replace::Yes)?;
        }
        Ok(())
    }

    /// Puts what was written on disk.
    pub fn sync(&self) -> Result<()> {
        self.sync.sync_filesystem()
    }

    /// Gives lists their names. With `Keep::Before` the list before stays as `NAME-old`.
    pub fn install(&self, root: &Dir, list: &Finished, keep: Keep) -> Result<()> {
        if keep == Keep::Before && root.try_stat(&list.name)?.is_some_and(|s| s.kind == Kind::File)
        {
            let (temp, old) = (self.temp_name(), [&list.name, &b"-old"[..]].concat());
            // Never a moment without NAME: the list gets a second name, and then loses the first.
            if root.link(&list.name, &self.dir, &temp).is_err() {
                let mut from = root.open_file(&list.name)?;
                let stat = from.stat()?;
                let mut to = self.create(&temp)?;
                copy(&mut from, &mut to, stat.size)?;
                to.set_mtime(stat.mtime)?;
            }
            self.dir.rename(&temp, root, &old, Replace::Yes)?;
            // A rename between two names of one file does nothing: a crash left `-old` done.
            self.dir.remove_if_there(&temp)?;
        }
        self.lock.check()?;
        self.dir.rename(&list.temp, root, &list.name, Replace::Yes)?;
        fault::hit(CrashPoint::ListReplaced);
        Ok(())
    }

    fn create(&self, temp: &[u8]) -> Result<OpenFile> {
        let file = self.dir.create(temp)?;
        file.set_mode(0o644)?;
        if let Some(owner) = self.owner {
            file.set_owner(owner)?;
        }
        Ok(file)
    }

    /// Gives a finished file a second name, or makes a second file where that cannot be.
    fn twin(&self, temp: &[u8]) -> Result<Vec<u8>> {
        let twin = self.temp_name();
        if self.dir.link(temp, &self.dir, &twin).is_err() {
            let mut from = self.dir.open_file(temp)?;
            let size = from.stat()?.size;
            copy(&mut from, &mut self.create(&twin)?, size)?;
        }
        Ok(twin)
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // After an error; what cannot be removed now is removed by the next process.
        for name in self.dir.names().unwrap_or_default() {
            if name.starts_with(TEMP) {
                let _ = self.dir.remove_if_there(&name);
            }
        }
    }
}

/// Whether the list that is there stays as `NAME-old`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// It does.
    Before,
    /// This run wrote it itself, a moment ago.
    Nothing,
}

fn copy(from: &mut OpenFile, to: &mut OpenFile, mut len: u64) -> Result<()> {
    let mut buffer = vec![0; PIECE];
    from.seek(0)?;
    while len > 0 {
        let want = PIECE.min(usize::try_from(len).unwrap_or(PIECE));
        let got = from.read(&mut buffer[..want])?;
        if got == 0 {
            return Err(Error::Changed { path: from.path().to_owned(), what: "size" });
        }
        to.write_all(&buffer[..got])?;
        len -= got as u64;
    }
    Ok(())
}

/// One content that is on its way to one or more names.
pub(super) struct Sink<'a> {
    /// None in a dry run, which only compares.
    shop: Option<&'a Workshop>,
    names: Vec<Compared>,
    /// The next list, from the first byte on that differs from one that is there.
    next: Option<(Vec<u8>, OpenFile)>,
    len: u64,
    buffer: Vec<u8>,
}

struct Compared {
    name: String,
    /// The list that is there.
    old: Option<OpenFile>,
    /// Whether it agrees so far.
    agrees: bool,
}

/// What became of one name.
pub(super) struct Outcome {
    pub name: String,
    pub bytes: u64,
    pub changed: bool,
    /// The file to install; none in a dry run and where nothing changed.
    pub file: Option<Finished>,
}

impl<'a> Sink<'a> {
    pub fn new(shop: Option<&'a Workshop>, root: &Dir, names: &[&str]) -> Result<Self> {
        let mut compared = Vec::with_capacity(names.len());
        for name in names {
            let old = match root.try_stat(name.as_bytes())? {
                Some(stat) if stat.kind == Kind::File => Some(root.open_file(name.as_bytes())?),
                Some(_) | None => None,
            };
            compared.push(Compared { name: (*name).to_owned(), agrees: old.is_some(), old });
        }
        Ok(Self { shop, names: compared, next: None, len: 0, buffer: vec![0; PIECE] })
    }

    /// Takes the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(PIECE) {
            for name in &mut self.names {
                if name.agrees
                    && let Some(old) = &mut name.old
                {
                    name.agrees = agrees(old, piece, &mut self.buffer)?;
                }
            }
            if self.names.iter().any(|name| !name.agrees) {
                self.begin()?;
            }
            if let Some((_, file)) = &mut self.next {
                file.write_all(piece)?;
            }
            self.len += piece.len() as u64;
        }
        Ok(())
    }

    /// Begins the next list with what agreed so far.
    fn begin(&mut self) -> Result<()> {
        let (Some(shop), None) = (self.shop, &self.next) else { return Ok(()) };
        let temp = shop.temp_name();
        let mut file = shop.create(&temp)?;
        // Until now every name agreed, so the one that ceased to has every byte; its offset does
        // not matter any more. A list that is missing disagrees before there is a byte.
        let donor = self.names.iter_mut().find(|name| !name.agrees && name.old.is_some());
        if let Some(old) = donor.and_then(|name| name.old.as_mut()) {
            copy(old, &mut file, self.len)?;
        }
        self.next = Some((temp, file));
        Ok(())
    }

    /// Ends the content and says which names need it.
    pub fn finish(mut self) -> Result<Vec<Outcome>> {
        for name in &mut self.names {
            if name.agrees
                && let Some(old) = &name.old
            {
                name.agrees = old.stat()?.size == self.len;
            }
        }
        if self.names.iter().any(|name| !name.agrees) {
            self.begin()?;
        }
        let mut temp = self.next.take().map(|(temp, _)| temp);
        let mut outcomes = Vec::with_capacity(self.names.len());
        let last = self.names.iter().rposition(|name| !name.agrees);
        for (index, compared) in self.names.into_iter().enumerate() {
            let (changed, name) = (!compared.agrees, compared.name);
            let own = match (changed, self.shop, &temp) {
                (true, Some(shop), Some(first)) if Some(index) != last => Some(shop.twin(first)?),
                (true, Some(_), Some(_)) => temp.take(),
                _ => None,
            };
            let file = own.map(|temp| Finished { temp, name: name.clone().into_bytes() });
            outcomes.push(Outcome { name, bytes: self.len, changed, file });
        }
        Ok(outcomes)
    }
}

/// Returns whether the next bytes of a file are these.
fn agrees(file: &mut OpenFile, bytes: &[u8], buffer: &mut [u8]) -> Result<bool> {
    let mut done = 0;
    while done < bytes.len() {
        let want = bytes.len() - done;
        let got = file.read(&mut buffer[..want])?;
        if got == 0 || buffer[..got] != bytes[done..done + got] {
            return Ok(false);
        }
        done += got;
    }
    Ok(true)
}
