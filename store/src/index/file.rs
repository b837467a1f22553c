//! The index's file, whose locks are asked for again and again and never waited for.
//!
//! Processes that use one index exclude each other by locks on parts of its file, of which redb waits
//! for three. A local kernel lets it wait. A server of NFS takes those who wait for owners of ordinary
//! record locks and looks for circles among them. Its clients ask, are told to wait and ask anew, so
//! what it knows of them is old, and it sees circles where there are none: a command was told that it
//! would wait for ever (EDEADLK), or got an EIO. Who does not wait is in no circle.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::time::Duration;

use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

/// How long to sleep after a lock was refused for the first time, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(10));

/// A file of redb whose locks are polled for.
#[derive(Debug)]
pub struct Polled<B = FileBackend>(B);

impl Polled {
    /// Takes a file that nobody else has a duplicate of.
    pub fn new(file: File) -> Result<Self, DatabaseError> {
        FileBackend::new(file).map(Self)
    }
}

/// Asks until the answer is yes or an error.
fn poll(mut ask: impl FnMut() -> Result<bool, BackendError>) -> Result<(), BackendError> {
    let (mut pause, longest) = PAUSES;
    while !ask()? {
        std::thread::sleep(pause);
        pause = (pause * 2).min(longest);
    }
    Ok(())
}

type Edge = Bound<u64>;

impl<B: StorageBackend> StorageBackend for Polled<B> {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Edge, end: Edge) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Edge, end: Edge) -> Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Edge, end: Edge) -> Result<(), BackendError> {
        poll(|| self.0.try_lock_range(start, end))
    }

    fn lock_shared_range(&self, start: Edge, end: Edge) -> Result<(), BackendError> {
        poll(|| self.0.try_lock_shared_range(start, end))
    }

    fn unlock_range(&self, start: Edge, end: Edge) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Edge, end: Edge) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use redb::backends::InMemoryBackend;
    use redb::{ConcurrencyMode, Database, ReadableDatabase, ReadableTable, TableDefinition};

    use super::*;
    use crate::fs::create_database;

    const TABLE: TableDefinition<'_, u64, u64> = TableDefinition::new("table");

    /// Locks as a busy server of NFS gives them: who waits is told that it would be for ever, and
    /// who asks is refused twice.
    #[derive(Debug, Default)]
    struct Server {
        memory: InMemoryBackend,
        asked: AtomicU32,
    }

    impl Server {
        fn answer(&self) -> Result<bool, BackendError> {
            Ok(self.asked.fetch_add(1, Ordering::Relaxed) % 3 == 2)
        }

        fn deadlock() -> BackendError {
            io::Error::from(rustix::io::Errno::DEADLK).into()
        }
    }

    impl StorageBackend for Server {
        fn len(&self) -> io::Result<u64> {
            self.memory.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.memory.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.memory.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.memory.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.memory.write(offset, data)
        }

        fn try_lock_range(&self, _: Edge, _: Edge) -> Result<bool, BackendError> {
            self.answer()
        }

        fn try_lock_shared_range(&self, _: Edge, _: Edge) -> Result<bool, BackendError> {
            self.answer()
        }

        fn lock_range(&self, _: Edge, _: Edge) -> Result<(), BackendError> {
            Err(Self::deadlock())
        }

        fn lock_shared_range(&self, _: Edge, _: Edge) -> Result<(), BackendError> {
            Err(Self::deadlock())
        }

        fn unlock_range(&self, _: Edge, _: Edge) -> Result<(), BackendError> {
            Ok(())
        }

        fn query_lock_range(&self, _: Edge, _: Edge) -> Result<bool, BackendError> {
            Ok(false)
        }
    }

    #[test]
    fn a_server_that_sees_a_circle_where_there_is_none_is_asked_again() {
        let edges = (Bound::Included(0), Bound::Excluded(1));
        let server = Polled(Server::default());
        assert!(server.0.lock_range(edges.0, edges.1).is_err());
        server.lock_range(edges.0, edges.1).unwrap();
        server.lock_shared_range(edges.0, edges.1).unwrap();
        assert_eq!(server.0.asked.load(Ordering::Relaxed), 6);
    }

    #[test]
    fn writers_with_a_file_each_take_turns_and_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index");
        let open = || -> Database {
            let file = create_database(&path);
            let mut builder = redb::Builder::new();
            builder.set_concurrency_mode(ConcurrencyMode::MultiWriter);
            builder.create_with_backend(Polled::new(file.unwrap()).unwrap()).unwrap()
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let database = open();
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
        let database = open();
        let read = database.begin_read().unwrap();
        let count = read.open_table(TABLE).unwrap().get(0).unwrap().map(|found| found.value());
        assert_eq!(count, Some(80));
    }
}
