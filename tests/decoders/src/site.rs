//! What operators write and what mirrors, installation media and torrents say.

use std::io::Cursor;
use std::path::Path;

use cairn_releng::config::{Config, Origin};
use cairn_releng::media::iso9660::{Fault, paths};
use cairn_releng::mirror::list::Listed;
use cairn_releng::torrent::bencode as torrent;

use super::{Outcome, refused};

/// Reads a configuration; what `config show` prints of it is a configuration that prints the same.
pub fn config(bytes: &[u8]) -> Outcome {
    let text = std::str::from_utf8(bytes).map_err(refused)?;
    let origin = Path::new("cairn.toml");
    let config = Config::check(text, origin).map_err(|errors| {
        let first = errors.first().expect("a text that is refused has a problem");
        let text = refused(first);
        assert!(text.starts_with("cairn.toml:"), "{text}");
        text
    })?;
    let shown = config.show(Origin::Hidden);
    let again = Config::parse(&shown, origin);
    let again = again.unwrap_or_else(|error| panic!("{error}, in what is shown:\n{shown}"));
    assert_eq!(again.show(Origin::Hidden), shown);
    let _ = config.show(Origin::Shown);
    Ok(())
}

/// Bytes of an image's sector.
const SECTOR: usize = 2048;
/// The first sixteen sectors belong to boot loaders: nobody reads them.
const BOOT: usize = 16 * SECTOR;
/// Ends a sector of a short image.
const END: &[u8] = b"\xff~\xff~";

/// Returns an image as [`iso9660`] takes it: without the sectors before the first descriptor, and
/// with a mark instead of the zeros that each sector ends in. Of the 50 KB of a small image a few
/// hundred bytes are left, so that what a fuzzer changes is what is read.
///
/// # Panics
///
/// If the image ends within a sector or holds the mark.
pub fn short_image(image: &[u8]) -> Vec<u8> {
    let mut short = Vec::new();
    for sector in image.get(BOOT..).unwrap_or_default().chunks(SECTOR) {
        let used = sector.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        short.extend_from_slice(&sector[..used]);
        short.extend_from_slice(END);
    }
    assert!(long_image(&short) == image, "the image is one of whole sectors without the mark");
    short
}

/// Returns the image that a short one stands for. What comes after the last mark is cut short.
fn long_image(short: &[u8]) -> Vec<u8> {
    let mut image = vec![0; BOOT];
    let mut rest = short;
    while let Some(at) = rest.windows(END.len()).position(|some| some == END) {
        // A mark with nothing before it stands for a sector of zeros.
        let sectors = at.div_ceil(SECTOR).max(1);
        let end = image.len() + sectors * SECTOR;
        image.extend_from_slice(&rest[..at]);
        image.resize(end, 0);
        rest = &rest[at + END.len()..];
    }
    image.extend_from_slice(rest);
    image
}

/// Lists an ISO 9660 image, of which the bytes are the short form ([`short_image`]).
pub fn iso9660(bytes: &[u8]) -> Outcome {
    let image = long_image(bytes);
    let found = match paths(Cursor::new(&image), image.len() as u64) {
        Ok(found) => found,
        Err(Fault::Io(error)) => panic!("memory has no errors: {error}"),
        Err(Fault::Wrong(reason)) => {
            assert!(!reason.chars().any(char::is_control), "{reason:?}");
            return Err(refused(reason));
        }
    };
    assert!(found.is_sorted(), "paths are sorted");
    for path in &found {
        assert!(path.starts_with(b"/") && !path.iter().any(u8::is_ascii_control), "{path:?}");
        assert!(
            path[1..]
                .split(|byte| *byte == b'/')
                .all(|name| ![&b""[..], b".", b".."].contains(&name))
        );
    }
    Ok(())
}

/// Reads a mirror's own list, in pieces of several sizes: how it comes changes nothing.
pub fn mirror_list(bytes: &[u8]) -> Outcome {
    let feed = |piece: usize| {
        let mut listed = Listed::new(b"9.7".to_vec());
        bytes.chunks(piece).for_each(|piece| listed.feed(piece));
        listed
    };
    let whole = feed(bytes.len().max(1));
    for piece in [7, 4096] {
        let other = feed(piece);
        assert_eq!((other.rows(), other.end()), (whole.rows(), whole.end()));
        assert!(other.files().eq(whole.files()));
    }
    match whole.end() {
        true => Ok(()),
        false => Err("it has no end".to_owned()),
    }
}

/// Reads a torrent's encoding, which is canonical.
pub fn bencode(bytes: &[u8]) -> Outcome {
    let value = torrent::decode(bytes).map_err(refused)?;
    assert_eq!(value.encode(), bytes, "a value has one encoding");
    Ok(())
}
