//! Compressed metadata: told apart by content, read within limits, written reproducibly.
//!
//! A file's name never decides how it is read. Decompression stops with an error when the output
//! passes a fixed size, or a ratio to the input that no honest metadata reaches, so a bomb costs
//! a bounded amount of time and memory. Output has fixed levels and no time stamps: the same
//! bytes compress to the same bytes.

use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// How metadata is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, the default: every client reads it.
    #[default]
    Gzip,
    /// xz.
    Xz,
    /// Zstandard. EL8 and older tools cannot read it.
    Zstd,
    /// bzip2. Read for old repositories.
    Bzip2,
}

// The levels are part of the output's identity: changing one changes every checksum.
pub(crate) const GZIP_LEVEL: u32 = 6;
const XZ_PRESET: u32 = 5;
const ZSTD_LEVEL: i32 = 10;
const BZIP2_LEVEL: u32 = 9;

/// Most memory that an xz decoder may take: `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 72 << 20;

/// Largest Zstandard window as a power of two: 64 MiB, `zstd --ultra -21`.
const ZSTD_WINDOW_LOG: u32 = 26;

impl Compression {
    /// Returns the compression that a file's first bytes announce. Six bytes decide.
    pub fn sniff(start: &[u8]) -> Compression {
        match start {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Compression::Bzip2,
            _ => Compression::None,
        }
    }

    /// Returns the file name suffix with its dot, empty for plain files.
    pub fn suffix(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Xz => ".xz",
            Compression::Zstd => ".zst",
            Compression::Bzip2 => ".bz2",
        }
    }

    /// Returns the compression that configuration calls `name`: `none`, `gz`, `xz`, `zstd`, `bz2`.
    pub fn parse(name: &str) -> Option<Compression> {
        Some(match name {
            "none" => Compression::None,
            "gz" | "gzip" => Compression::Gzip,
            "xz" => Compression::Xz,
            "zst" | "zstd" => Compression::Zstd,
            "bz2" | "bzip2" => Compression::Bzip2,
            _ => return None,
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "plain",
            Compression::Gzip => "gzip",
            Compression::Xz => "xz",
            Compression::Zstd => "zstd",
            Compression::Bzip2 => "bzip2",
        })
    }
}

/// How much a decoder may put out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes. A caller that knows `open-size` passes the smaller of both.
    pub output: u64,
    /// Most bytes of output for one byte of input, once the output passes `ratio_floor`.
    pub ratio: u64,
    /// Output up to here is never judged by its ratio: small files of blanks are honest.
    pub ratio_floor: u64,
}

impl Default for Limits {
    /// 4 GiB, 250 times, 16 MiB: ten times what the largest real repositories need.
    fn default() -> Limits {
        Limits { output: 4 << 30, ratio: 250, ratio_floor: 16 << 20 }
    }
}

impl Limits {
    /// Returns these limits with the output held to `size` as well.
    pub fn at_most(self, size: u64) -> Limits {
        Limits { output: self.output.min(size), ..self }
    }
}

/// A decompressing reader; made by [`decoder`].
///
/// Its I/O errors carry an [`Error`] inside, which the readers of this crate unpack.
pub struct Decoder<'a> {
    file: String,
    compression: Compression,
    inner: Box<dyn Read + Send + 'a>,
    limits: Limits,
    input: Arc<AtomicU64>,
    output: u64,
}

impl fmt::Debug for Decoder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("file", &self.file)
            .field("compression", &self.compression)
            .field("limits", &self.limits)
            .field("output", &self.output)
            .finish_non_exhaustive()
    }
}

/// Returns a buffered reader of `reader`'s decompressed content; `file` is for errors.
///
/// # Errors
///
/// The reader's own, and those of a decoder that cannot be set up. Damage and excess are found
/// while reading.
pub fn decoder<'a>(
    file: &str,
    mut reader: impl BufRead + Send + 'a,
    limits: Limits,
) -> Result<BufReader<Decoder<'a>>> {
    let io = |source| Error::from_io(file, source);
    let mut start = Vec::with_capacity(6);
    (&mut reader).take(6).read_to_end(&mut start).map_err(io)?;
    let compression = Compression::sniff(&start);
    let input = Arc::new(AtomicU64::new(0));
    let source = Counted { inner: Cursor::new(start).chain(reader), count: Arc::clone(&input) };
    let inner: Box<dyn Read + Send + 'a> = match compression {
        Compression::None => Box::new(source),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        Compression::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(
                XZ_MEMORY,
                liblzma::stream::CONCATENATED,
            )
            .map_err(|e| io(e.into()))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(source, stream))
        }
        Compression::Zstd => {
            let mut zstd = zstd::stream::read::Decoder::with_buffer(source).map_err(io)?;
            zstd.window_log_max(ZSTD_WINDOW_LOG).map_err(io)?;
            Box::new(zstd)
        }
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(source)),
    };
    let file = file.to_owned();
    let decoder = Decoder { file, compression, inner, limits, input, output: 0 };
    Ok(BufReader::with_capacity(64 << 10, decoder))
}

/// Returns the decompressed content of `bytes`; `file` is for errors.
///
/// # Errors
///
/// Damaged or truncated data, and output beyond `limits`.
pub fn decompress(file: &str, bytes: &[u8], limits: Limits) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    let mut decoder = decoder(file, bytes, limits)?;
    decoder.read_to_end(&mut plain).map_err(|source| Error::from_io(file, source))?;
    Ok(plain)
}

/// Returns `bytes` compressed; equal input gives equal output.
///
/// # Errors
///
/// Only those of an encoder that cannot be set up, such as for want of memory.
pub fn compress(bytes: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
    let mut encoder = Encoder::new(compression, bytes.len())?;
    encoder.write(bytes)?;
    encoder.finish()
}

/// Compresses what comes piece by piece; equal content gives equal output, however it is cut.
pub(crate) struct Encoder {
    format: Format,
    /// What an encoder makes of its input may depend on where a call ends: all calls but the last
    /// pass this many bytes.
    chunk: Vec<u8>,
}

const CHUNK: usize = 64 << 10;

enum Format {
    None(Vec<u8>),
    Gzip(Box<flate2::write::GzEncoder<Vec<u8>>>),
    Xz(Box<liblzma::write::XzEncoder<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
    Bzip2(Box<bzip2::write::BzEncoder<Vec<u8>>>),
}

impl Encoder {
    /// Starts an output for `size` bytes of input.
    pub(crate) fn new(compression: Compression, size: usize) -> io::Result<Encoder> {
        let room = match compression {
            Compression::None => Vec::with_capacity(size),
            _ => Vec::with_capacity(size / 12 + 64),
        };
        let format = match compression {
            Compression::None => Format::None(room),
            Compression::Gzip => {
                // A time of zero, no name, and "unknown" as system keep the header constant.
                let builder = flate2::GzBuilder::new().mtime(0).operating_system(255);
                Format::Gzip(Box::new(builder.write(room, flate2::Compression::new(GZIP_LEVEL))))
            }
            Compression::Xz => {
                Format::Xz(Box::new(liblzma::write::XzEncoder::new(room, XZ_PRESET)))
            }
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(room, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                encoder.set_pledged_src_size(Some(size as u64))?;
                Format::Zstd(Box::new(encoder))
            }
            Compression::Bzip2 => {
                let level = bzip2::Compression::new(BZIP2_LEVEL);
                Format::Bzip2(Box::new(bzip2::write::BzEncoder::new(room, level)))
            }
        };
        Ok(Encoder { format, chunk: Vec::new() })
    }

    /// Takes the next bytes.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        if let Format::None(out) = &mut self.format {
            out.extend_from_slice(bytes);
            return Ok(());
        }
        while self.chunk.len() + bytes.len() >= CHUNK {
            let (now, later) = bytes.split_at(CHUNK - self.chunk.len());
            match self.chunk.is_empty() {
                true => self.format.write(now)?,
                false => {
                    self.chunk.extend_from_slice(now);
                    self.format.write(&self.chunk)?;
                    self.chunk.clear();
                }
            }
            bytes = later;
        }
        self.chunk.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns the output.
    pub(crate) fn finish(mut self) -> io::Result<Vec<u8>> {
        self.format.write(&self.chunk)?;
        match self.format {
            Format::None(out) => Ok(out),
            Format::Gzip(encoder) => encoder.finish(),
            Format::Xz(encoder) => encoder.finish(),
            Format::Zstd(encoder) => encoder.finish(),
            Format::Bzip2(encoder) => encoder.finish(),
        }
    }
}

impl Format {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Format::None(out) => out.write_all(bytes),
            Format::Gzip(encoder) => encoder.write_all(bytes),
            Format::Xz(encoder) => encoder.write_all(bytes),
            Format::Zstd(encoder) => encoder.write_all(bytes),
            Format::Bzip2(encoder) => encoder.write_all(bytes),
        }
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = match self.inner.read(buf) {
            Ok(read) => read as u64,
            Err(source) if source.kind() == io::ErrorKind::Interrupted => return Err(source),
            Err(source) => return Err(io::Error::other(self.refusal(source))),
        };
        self.output += read;
        let Limits { output, ratio, ratio_floor } = self.limits;
        if self.output > output {
            return Err(io::Error::other(Error::TooLarge {
                file: self.file.clone(),
                limit: output,
            }));
        }
        let input = self.input.load(Ordering::Relaxed);
        if self.compression != Compression::None
            && self.output > ratio_floor
            && self.output > input.saturating_mul(ratio)
        {
            let (file, output) = (self.file.clone(), self.output);
            return Err(io::Error::other(Error::Bomb { file, ratio, output }));
        }
        Ok(read as usize)
    }
}

impl Decoder<'_> {
    fn refusal(&self, source: io::Error) -> Error {
        let file = self.file.clone();
        match (source.kind(), self.compression) {
            (_, Compression::None) => Error::from_io(&file, source),
            (io::ErrorKind::UnexpectedEof, compression) => {
                Error::Truncated { file, within: format!("its {compression} data") }
            }
            (_, compression) => Error::Corrupt { file, compression, source },
        }
    }
}

/// Counts what a decoder takes from its source.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buf)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.count.fetch_add(amount as u64, Ordering::Relaxed);
        self.inner.consume(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Compression; 5] = [
        Compression::None,
        Compression::Gzip,
        Compression::Xz,
        Compression::Zstd,
        Compression::Bzip2,
    ];
    const PACKED: [Compression; 4] =
        [Compression::Gzip, Compression::Xz, Compression::Zstd, Compression::Bzip2];

    fn sample() -> Vec<u8> {
        (0..5000u32).flat_map(|n| format!("<file>/usr/share/{n}</file>\n").into_bytes()).collect()
    }

    #[test]
    fn every_compression_round_trips_and_is_told_by_content() {
        for compression in ALL {
            for plain in [sample(), Vec::new(), b"x".to_vec()] {
                let packed = compress(&plain, compression).unwrap();
                assert_eq!(Compression::sniff(&packed), compression);
                assert_eq!(packed, compress(&plain, compression).unwrap(), "{compression}");
                let unpacked = decompress("f", &packed, Limits::default()).unwrap();
                assert_eq!(unpacked, plain, "{compression}");
            }
        }
    }

    #[test]
    fn output_does_not_depend_on_how_the_input_is_cut() {
        let plain: Vec<u8> =
            (0..20_000u32).flat_map(|n| (n * n).to_string().into_bytes()).collect();
        for compression in ALL {
            let whole = compress(&plain, compression).unwrap();
            for size in [1, 7, 4096, CHUNK - 1, CHUNK, CHUNK + 1, 100_000] {
                let mut encoder = Encoder::new(compression, plain.len()).unwrap();
                plain.chunks(size).for_each(|piece| encoder.write(piece).unwrap());
                assert!(encoder.finish().unwrap() == whole, "{compression}, pieces of {size}");
            }
        }
    }

    #[test]
    fn gzip_carries_no_time() {
        let packed = compress(b"x", Compression::Gzip).unwrap();
        assert_eq!(packed[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    }

    #[test]
    fn members_in_a_row_are_one_file() {
        for compression in PACKED {
            let mut packed = compress(b"one ", compression).unwrap();
            packed.extend(compress(b"two", compression).unwrap());
            let unpacked = decompress("f", &packed, Limits::default()).unwrap();
            assert_eq!(unpacked, b"one two", "{compression}");
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        let plain = &sample()[..3000];
        for compression in PACKED {
            let packed = compress(plain, compression).unwrap();
            for keep in 6..packed.len() {
                let error = decompress("primary.xml.gz", &packed[..keep], Limits::default());
                let error = error.expect_err("a truncated file was accepted").to_string();
                assert!(error.starts_with("primary.xml.gz: "), "{error}");
            }
        }
    }

    #[test]
    fn output_beyond_the_limit_is_an_error() {
        let plain = sample();
        for compression in ALL {
            let packed = compress(&plain, compression).unwrap();
            let limit = plain.len() as u64;
            let exact = Limits::default().at_most(limit);
            assert_eq!(decompress("f", &packed, exact).unwrap().len() as u64, limit);
            let error = decompress("f", &packed, exact.at_most(limit - 1)).unwrap_err();
            assert!(matches!(error, Error::TooLarge { limit: l, .. } if l == limit - 1));
        }
    }

    #[test]
    fn bombs_are_stopped_early() {
        let plain = vec![0; 64 << 20];
        for compression in PACKED {
            let packed = compress(&plain, compression).unwrap();
            let error = decompress("bomb", &packed, Limits::default()).unwrap_err();
            let Error::Bomb { output, .. } = error else { panic!("{compression}: {error}") };
            assert!(output < 40 << 20, "{compression}: {output}");
        }
    }

    #[test]
    fn flipped_bits_never_panic_and_rarely_pass() {
        let plain = &sample()[..2000];
        for compression in PACKED {
            let packed = compress(plain, compression).unwrap();
            for at in 0..packed.len() {
                let mut broken = packed.clone();
                broken[at] ^= 0x10;
                // A header's spare bits may change without changing the content.
                if let Ok(unpacked) = decompress("f", &broken, Limits::default())
                    && Compression::sniff(&broken) == compression
                {
                    assert_eq!(unpacked, plain, "{compression} at {at}");
                }
            }
        }
    }
}
