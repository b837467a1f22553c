//! gzip in segments: one member, whose data is cut where the content says.
//!
//! Each segment is compressed by itself and ends at a whole byte, with the empty stored block of a
//! flush (RFC 1951 3.2.4). To any reader the result is an ordinary gzip member. To us it is a list
//! of parts: those that did not change since the last time are taken over as they are, and neither
//! compressed again nor by anything but their own content, so they are what they would be anyway.

use std::io::{self, BufRead, Read};
use std::sync::{Arc, Mutex, PoisonError};

use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress};

use crate::codec::{GZIP_LEVEL, Limits};

/// No name, no time, "unknown" as system: as [`crate::codec`] writes it.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// The end of a flush.
const MARKER: [u8; 4] = [0, 0, 0xff, 0xff];
/// The empty last block.
const END: [u8; 2] = [3, 0];
/// Checksum and size.
const TRAILER: usize = 8;

/// Writes a member segment by segment.
pub(crate) struct Writer {
    out: Vec<u8>,
    crc: Crc,
    deflate: Compress,
}

impl Writer {
    /// Starts a member of about `size` bytes of content.
    pub(crate) fn new(size: usize) -> Writer {
        let mut out = Vec::with_capacity(size / 8 + 64);
        out.extend_from_slice(&HEADER);
        let deflate = Compress::new(Compression::new(GZIP_LEVEL), false);
        Writer { out, crc: Crc::new(), deflate }
    }

    /// Adds a segment.
    pub(crate) fn segment(&mut self, plain: &[u8]) -> io::Result<()> {
        if plain.is_empty() {
            return Ok(());
        }
        self.crc.update(plain);
        self.deflate.reset();
        let mut rest = plain;
        loop {
            self.out.reserve(rest.len() / 4 + 4096);
            let before = self.deflate.total_in();
            let flush = FlushCompress::Sync;
            self.deflate.compress_vec(rest, &mut self.out, flush).map_err(io::Error::other)?;
            rest = &rest[(self.deflate.total_in() - before) as usize..];
            // Room that is left says that the flush is complete.
            if rest.is_empty() && self.out.len() < self.out.capacity() {
                return Ok(());
            }
        }
    }

    /// Adds a segment that was compressed before.
    pub(crate) fn again(&mut self, packed: &[u8], plain: &[u8]) {
        self.crc.update(plain);
        self.out.extend_from_slice(packed);
    }

    /// Returns the whole member.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.out.extend_from_slice(&END);
        self.out.extend_from_slice(&self.crc.sum().to_le_bytes());
        self.out.extend_from_slice(&self.crc.amount().to_le_bytes());
        self.out
    }
}

/// A member that looks as if a [`Writer`] had made it.
pub(crate) struct Segmented<'a> {
    /// What each is compressed to.
    pub(crate) segments: Vec<&'a [u8]>,
    sum: u32,
    amount: u32,
}

/// Takes a file apart; nothing if it is not a member in segments.
pub(crate) fn cut(bytes: &[u8]) -> Option<Segmented<'_>> {
    let (body, trailer) = bytes.strip_prefix(&HEADER)?.split_last_chunk::<TRAILER>()?;
    let body = body.strip_suffix(&END)?;
    let mut segments = Vec::new();
    let mut start = 0;
    for at in memchr::memmem::find_iter(body, &MARKER) {
        let end = at + MARKER.len();
        segments.push(&body[start..end]);
        start = end;
    }
    if start != body.len() || segments.len() < 2 {
        return None;
    }
    let [a, b, c, d, e, f, g, h] = *trailer;
    let (sum, amount) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    Some(Segmented { segments, sum, amount })
}

/// Returns the content of one segment.
///
/// # Errors
///
/// Data that is not a whole segment, or has more than `limit` bytes.
pub(crate) fn inflate(
    inflater: &mut Decompress,
    packed: &[u8],
    limit: u64,
    plain: &mut Vec<u8>,
) -> io::Result<()> {
    inflater.reset(false);
    plain.clear();
    let mut rest = packed;
    loop {
        if plain.len() == plain.capacity() {
            plain.reserve((rest.len() * 8).max(4096));
        }
        let before = inflater.total_in();
        let flush = FlushDecompress::Sync;
        inflater.decompress_vec(rest, plain, flush).map_err(io::Error::other)?;
        let read = (inflater.total_in() - before) as usize;
        rest = &rest[read..];
        if plain.len() as u64 > limit {
            return Err(io::Error::other("a segment that is too long"));
        }
        if plain.len() < plain.capacity() {
            match rest.is_empty() {
                true => return Ok(()),
                false if read == 0 => return Err(io::Error::other("a segment that ends early")),
                false => {}
            }
        }
    }
}

/// Where the segments of a member begin in its content, as far as they were read.
pub(crate) type Starts = Arc<Mutex<Vec<u64>>>;

/// Reads the content of a member, and says where its segments begin.
///
/// What it refuses may be sound to others: whoever gets an error reads the file the common way,
/// which tells what is wrong with it.
pub(crate) struct Reader<'a> {
    member: &'a Segmented<'a>,
    next: usize,
    inflater: Decompress,
    plain: Vec<u8>,
    position: usize,
    starts: Starts,
    crc: Crc,
    limits: Limits,
    read: (u64, u64),
}

impl<'a> Reader<'a> {
    pub(crate) fn new(member: &'a Segmented<'a>, limits: Limits) -> (Reader<'a>, Starts) {
        let starts = Starts::default();
        let reader = Reader {
            member,
            next: 0,
            inflater: Decompress::new(false),
            plain: Vec::new(),
            position: 0,
            starts: Arc::clone(&starts),
            crc: Crc::new(),
            limits,
            read: (0, 0),
        };
        (reader, starts)
    }

    /// Goes to the next segment; at the end, makes sure that the content is what was written.
    fn advance(&mut self) -> io::Result<()> {
        self.position = 0;
        self.plain.clear();
        let Some(packed) = self.member.segments.get(self.next) else {
            let whole =
                self.crc.sum() == self.member.sum && self.crc.amount() == self.member.amount;
            return whole.then_some(()).ok_or_else(|| io::ErrorKind::InvalidData.into());
        };
        self.next += 1;
        let (input, output) = &mut self.read;
        inflate(&mut self.inflater, packed, self.limits.output - *output, &mut self.plain)?;
        self.starts.lock().unwrap_or_else(PoisonError::into_inner).push(*output);
        self.crc.update(&self.plain);
        *input += packed.len() as u64;
        *output += self.plain.len() as u64;
        if *output > self.limits.ratio_floor && *output > *input * self.limits.ratio {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let read = available.len().min(buffer.len());
        buffer[..read].copy_from_slice(&available[..read]);
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Reader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.position == self.plain.len() {
            self.advance()?;
        }
        Ok(&self.plain[self.position..])
    }

    fn consume(&mut self, amount: usize) {
        self.position += amount;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    fn texts() -> Vec<Vec<u8>> {
        (0..16u32)
            .map(|n| (0..n * 61).flat_map(|i| (i * n).to_string().into_bytes()).collect())
            .collect()
    }

    fn member(texts: &[Vec<u8>]) -> Vec<u8> {
        let mut writer = Writer::new(1000);
        texts.iter().for_each(|text| writer.segment(text).unwrap());
        writer.finish()
    }

    #[test]
    fn to_others_it_is_a_plain_gzip_member() {
        let packed = member(&texts());
        let plain = texts().concat();
        assert_eq!(codec::decompress("f", &packed, Limits::default()).unwrap(), plain);
        // A reader that knows of one member only.
        let mut single = Vec::new();
        flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut single).unwrap();
        assert_eq!(single, plain);
    }

    #[test]
    fn segments_come_back_and_depend_on_their_own_content_only() {
        let texts = texts();
        let (packed, reversed) = (member(&texts), texts.iter().rev().cloned().collect::<Vec<_>>());
        let other = member(&reversed);
        let (here, there) = (cut(&packed).unwrap(), cut(&other).unwrap());
        assert_eq!(here.segments.len(), texts.iter().filter(|text| !text.is_empty()).count());
        let backwards: Vec<_> = there.segments.iter().rev().copied().collect();
        assert_eq!(here.segments, backwards);

        let (mut reader, starts) = Reader::new(&here, Limits::default());
        let mut plain = Vec::new();
        reader.read_to_end(&mut plain).unwrap();
        assert_eq!(plain, texts.concat());
        assert_eq!(starts.lock().unwrap().len(), here.segments.len());

        let mut writer = Writer::new(0);
        for (segment, text) in here.segments.iter().zip(texts.iter().filter(|t| !t.is_empty())) {
            writer.again(segment, text);
        }
        assert_eq!(writer.finish(), packed);
    }

    #[test]
    fn what_is_no_such_member_is_left_to_others() {
        let packed = member(&texts());
        assert!(
            cut(&codec::compress(&texts().concat(), codec::Compression::Gzip).unwrap()).is_none()
        );
        assert!(cut(b"").is_none() && cut(&packed[..packed.len() - 1]).is_none());
        // Damage to the content is noticed, if only by the checksum.
        for at in (10..packed.len()).step_by(3) {
            let mut broken = packed.clone();
            broken[at] ^= 0x40;
            let Some(member) = cut(&broken) else { continue };
            let (mut reader, _) = Reader::new(&member, Limits::default());
            let mut found = Vec::new();
            // A few bits stand for nothing.
            if reader.read_to_end(&mut found).is_ok() {
                assert_eq!(found, texts().concat(), "{at}");
            }
        }
        let member = cut(&packed).unwrap();
        let (mut reader, _) = Reader::new(&member, Limits::default().at_most(1000));
        assert!(reader.read_to_end(&mut Vec::new()).is_err());
    }
}
