//! How fast a check reads, so that it can run beside those whom the disks are for.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use cairn_store::fs::{OpenFile, Stat};
use cairn_store::id::ObjectId;
use cairn_store::pool::hash_file;
use cairn_store::progress::Observer;
use cairn_store::{Error, Result};

/// For how long a reader sleeps before it asks again whether it shall stop.
const NAP: Duration = Duration::from_millis(100);

/// A number of bytes per second that all threads share.
pub(crate) struct Limit {
    per_second: Option<u64>,
    /// When the next byte may be read.
    next: Mutex<Instant>,
}

impl Limit {
    pub fn new(per_second: Option<u64>) -> Self {
        Self { per_second: per_second.filter(|rate| *rate > 0), next: Mutex::new(Instant::now()) }
    }

    /// Waits for as long as reading these bytes should have taken.
    fn wait(&self, bytes: u64, observer: &dyn Observer) -> Result<()> {
        if observer.interrupted() {
            return Err(Error::Interrupted);
        }
        let Some(rate) = self.per_second else { return Ok(()) };
        let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let turn = (*next).max(Instant::now());
            *next = turn + cost;
            turn
        };
        while let Some(rest) = turn.checked_duration_since(Instant::now())
            && !rest.is_zero()
        {
            if observer.interrupted() {
                return Err(Error::Interrupted);
            }
            std::thread::sleep(rest.min(NAP));
        }
        Ok(())
    }

    /// Hashes a file that is open at its beginning.
    pub fn hash(
        &self,
        file: &mut OpenFile,
        stat: &Stat,
        observer: &dyn Observer,
    ) -> Result<ObjectId> {
        if self.per_second.is_none() || stat.is_sparse() {
            self.wait(stat.blocks.saturating_mul(512).min(stat.size), observer)?;
            return hash_file(file, stat, observer);
        }
        ObjectId::of_stream(&mut |buffer| {
            let got = file.read(buffer)?;
            self.wait(got as u64, observer)?;
            Ok(got)
        })
    }
}
