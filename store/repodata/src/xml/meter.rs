//! A reader under the XML parser, which by itself would buffer a token of any length.

use std::io::{self, BufRead, Read};

/// Counts bytes and ends a token that grows too long.
pub(super) struct Metered<R> {
    pub(super) inner: R,
    /// How many bytes were taken.
    pub(super) position: u64,
    /// How many more the current token may take.
    pub(super) allowance: usize,
    /// Whether a token wanted more than it may take.
    pub(super) exceeded: bool,
}

impl<R> Metered<R> {
    pub(super) fn new(inner: R, allowance: usize) -> Metered<R> {
        Metered { inner, position: 0, allowance, exceeded: false }
    }
}

impl<R: BufRead> Read for Metered<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let read = available.len().min(buf.len());
        buf[..read].copy_from_slice(&available[..read]);
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Metered<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.allowance == 0 {
            self.exceeded = true;
            return Err(io::ErrorKind::InvalidData.into());
        }
        let available = self.inner.fill_buf()?;
        Ok(&available[..available.len().min(self.allowance)])
    }

    fn consume(&mut self, amount: usize) {
        self.position += amount as u64;
        self.allowance = self.allowance.saturating_sub(amount);
        self.inner.consume(amount);
    }
}
