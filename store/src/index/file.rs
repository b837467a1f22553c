//! The index's file: what redb does with a file of its own, but for the locks.
//!
//! Processes that use one index exclude each other by open-file-description locks on bytes far behind
//! its end. redb's own backend also takes a flock(2) of the whole file, for versions of redb that
//! knew nothing else, and gives it back where it finds that the two kinds of locks are one. On NFS they
//! are, but one owner has both there, and redb does not find it. So two processes held the whole file
//! shared, and each waited for a byte of its own: for ever, or until the server said EDEADLK.
//!
//! Locks are asked for again and again and never waited for. A server of NFS looks for circles among
//! all who wait, and takes the threads of a process for one; who does not wait is in no circle.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use redb::{BackendError, StorageBackend};

/// How long to sleep after a lock was refused for the first time, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(10));

/// The file. Its locks are its opening's: nobody else may have a duplicate of it.
#[derive(Debug)]
pub struct IndexFile(pub File);

type Edge = Bound<u64>;

/// A kind of lock, and the bytes that it is of.
fn lock(kind: libc::c_int, start: Edge, end: Edge) -> io::Result<libc::flock> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let next = |at: u64| at.checked_add(1).ok_or_else(invalid);
    let start = match start {
        Bound::Unbounded => 0,
        Bound::Included(at) => at,
        Bound::Excluded(at) => next(at)?,
    };
    let len = match end {
        // No length is all of it, however long it becomes.
        Bound::Unbounded => 0,
        Bound::Included(at) => next(at)?.checked_sub(start).ok_or_else(invalid)?,
        Bound::Excluded(at) => at.checked_sub(start).filter(|len| *len > 0).ok_or_else(invalid)?,
    };
    Ok(libc::flock {
        l_type: kind.try_into().map_err(|_| invalid())?,
        l_whence: libc::SEEK_SET.try_into().map_err(|_| invalid())?,
        l_start: start.try_into().map_err(|_| invalid())?,
        l_len: len.try_into().map_err(|_| invalid())?,
        l_pid: 0,
    })
}

impl IndexFile {
    /// Asks for a lock, or gives one back.
    fn set(&self, kind: libc::c_int, start: Edge, end: Edge) -> io::Result<bool> {
        let lock = lock(kind, start, end)?;
        loop {
            match fcntl(&self.0, FcntlArg::F_OFD_SETLK(&lock)) {
                Ok(_) => return Ok(true),
                Err(Errno::EAGAIN | Errno::EACCES) => return Ok(false),
                // A server's answer takes its time, and a signal may come before it.
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Asks until the lock is there.
    fn poll(&self, kind: libc::c_int, start: Edge, end: Edge) -> io::Result<()> {
        let (mut pause, longest) = PAUSES;
        while !self.set(kind, start, end)? {
            std::thread::sleep(pause);
            pause = (pause * 2).min(longest);
        }
        Ok(())
    }
}

impl StorageBackend for IndexFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }

    fn close(&self) -> io::Result<()> {
        self.set(libc::F_UNLCK, Bound::Unbounded, Bound::Unbounded).map(drop)
    }

    fn try_lock_range(&self, start: Edge, end: Edge) -> Result<bool, BackendError> {
        Ok(self.set(libc::F_WRLCK, start, end)?)
    }

    fn try_lock_shared_range(&self, start: Edge, end: Edge) -> Result<bool, BackendError> {
        Ok(self.set(libc::F_RDLCK, start, end)?)
    }

    fn lock_range(&self, start: Edge, end: Edge) -> Result<(), BackendError> {
        Ok(self.poll(libc::F_WRLCK, start, end)?)
    }

    fn lock_shared_range(&self, start: Edge, end: Edge) -> Result<(), BackendError> {
        Ok(self.poll(libc::F_RDLCK, start, end)?)
    }

    fn unlock_range(&self, start: Edge, end: Edge) -> Result<(), BackendError> {
        Ok(self.set(libc::F_UNLCK, start, end).map(drop)?)
    }

    fn query_lock_range(&self, start: Edge, end: Edge) -> Result<bool, BackendError> {
        let mut found = lock(libc::F_WRLCK, start, end)?;
        fcntl(&self.0, FcntlArg::F_OFD_GETLK(&mut found)).map_err(io::Error::from)?;
        Ok(libc::c_int::from(found.l_type) != libc::F_UNLCK)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use redb::{ConcurrencyMode, Database, ReadableDatabase, ReadableTable, TableDefinition};

    use super::*;
    use crate::fs::create_database;

    const TABLE: TableDefinition<'_, u64, u64> = TableDefinition::new("table");

    fn open(path: &Path) -> Database {
        let mut builder = redb::Builder::new();
        builder.set_concurrency_mode(ConcurrencyMode::MultiWriter);
        builder.create_with_backend(IndexFile(create_database(path).unwrap())).unwrap()
    }

    #[test]
    fn the_whole_file_is_never_locked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let database = open(&path);
        // On NFS a lock of the whole file would be in the way of everybody's locks of bytes.
        let other = create_database(&path).unwrap();
        other.try_lock().unwrap();
        other.unlock().unwrap();
        let txn = database.begin_write().unwrap();
        let reading = database.begin_read().unwrap();
        other.try_lock().unwrap();
        other.unlock().unwrap();
        drop(reading);
        txn.commit().unwrap();
    }

    #[test]
    fn bytes_are_locked_shared_or_alone_until_they_are_given_back_or_all_is_closed() {
        use Bound::{Excluded, Included, Unbounded};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let [a, b] = [(), ()].map(|()| IndexFile(create_database(&path).unwrap()));
        let byte = |at| (Included(at), Excluded(at + 1));
        let (one, two) = (byte(1 << 62), byte((1 << 62) + 1));
        assert!(a.try_lock_shared_range(one.0, one.1).unwrap());
        assert!(b.try_lock_shared_range(one.0, one.1).unwrap());
        assert!(!b.try_lock_range(one.0, one.1).unwrap());
        assert!(b.try_lock_range(two.0, two.1).unwrap());
        assert!(a.query_lock_range(two.0, two.1).unwrap());
        assert!(!a.query_lock_range(Included(0), Included(1)).unwrap());
        assert!(!a.try_lock_range(two.0, Unbounded).unwrap());
        b.unlock_range(two.0, two.1).unwrap();
        assert!(a.try_lock_range(two.0, Unbounded).unwrap());
        a.close().unwrap();
        assert!(b.try_lock_range(Unbounded, Unbounded).unwrap());
        for (start, end) in [(Included(2), Excluded(2)), (Included(2), Included(0))] {
            assert!(a.try_lock_range(start, end).is_err());
        }
        assert!(a.try_lock_range(Included(u64::MAX), Unbounded).is_err());
        assert!(a.try_lock_range(Excluded(u64::MAX), Unbounded).is_err());
    }

    #[test]
    fn who_wants_a_lock_gets_it_when_it_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let [a, b] = [(), ()].map(|()| IndexFile(create_database(&path).unwrap()));
        let (start, end) = (Bound::Included(7), Bound::Excluded(8));
        let given_back = AtomicBool::new(false);
        a.lock_range(start, end).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                b.lock_shared_range(start, end).unwrap();
                assert!(given_back.load(Ordering::SeqCst));
            });
            std::thread::sleep(PAUSES.1);
            given_back.store(true, Ordering::SeqCst);
            a.unlock_range(start, end).unwrap();
            waiting.join().unwrap();
        });
    }

    #[test]
    fn writers_with_a_file_each_take_turns_and_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let database = open(&path);
                        let txn = database.begin_write().unwrap();
                        {
                            let mut table = txn.open_table(TABLE).unwrap();
                            let count = table.get(0).unwrap().map_or(0, |found| found.value());
                            table.insert(0, count + 1).unwrap();
                        }
                        txn.commit().unwrap();
                    }
                });
            }
        });
        let database = open(&path);
        let read = database.begin_read().unwrap();
        let count = read.open_table(TABLE).unwrap().get(0).unwrap().map(|found| found.value());
        assert_eq!(count, Some(80));
    }
}
