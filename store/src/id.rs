//! Names of things: 32-byte BLAKE3 hashes, one type per kind of thing.
//!
//! Objects and packs carry the plain hash of their bytes, so `b3sum` agrees. Trees, snapshots
//! and operations are hashed under a derive-key context each, so that no file content can ever
//! be mistaken for one of them. The contexts are part of the format (docs/format.md §1).

use std::fmt;

/// The context under which a tree's canonical bytes are hashed.
pub const TREE_CONTEXT: &str = "cairn 2026-11 tree v1";
/// The context under which a snapshot's canonical bytes are hashed.
pub const SNAPSHOT_CONTEXT: &str = "cairn 2026-11 snapshot v1";
/// The context under which an operation file's bytes are hashed.
pub const OPERATION_CONTEXT: &str = "cairn 2026-11 operation v1";

macro_rules! id {
    ($name:ident, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps 32 bytes that are known to be such an id.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Returns the 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Parses 64 lower-case hex digits.
            pub fn from_hex(text: &str) -> Option<Self> {
                parse_hex(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                Self::from_hex(&text).ok_or_else(|| {
                    serde::de::Error::custom(format_args!("{text:?} is not 64 hex digits"))
                })
            }
        }
    };
}

id!(ObjectId, "The name of a file's content: its plain BLAKE3.");
id!(TreeId, "The name of one directory's canonical bytes.");
id!(SnapshotId, "The name of a snapshot's canonical bytes.");
id!(OperationId, "The name of an operation file's bytes; the next operation carries it.");
id!(PackId, "The name of a pack file: the plain BLAKE3 of all its bytes.");

impl ObjectId {
    /// Hashes content that is in memory.
    pub fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }

    /// Hashes content that `read` puts into a buffer piece by piece, until it puts nothing.
    pub fn of_stream<E>(read: &mut dyn FnMut(&mut [u8]) -> Result<usize, E>) -> Result<Self, E> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match read(&mut buffer)? {
                0 => return Ok(Self(*hasher.finalize().as_bytes())),
                got => hasher.update(&buffer[..got]),
            };
        }
    }

    /// Returns whether this names the empty file, which is never stored or shared.
    pub fn is_empty_file(&self) -> bool {
        *self == Self::of(b"")
    }
}

/// Hashes content that is handed over piece by piece.
#[derive(Debug, Default)]
pub struct ObjectHasher(blake3::Hasher);

impl ObjectHasher {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the id of everything so far.
    pub fn finish(&self) -> ObjectId {
        ObjectId(*self.0.finalize().as_bytes())
    }
}

impl TreeId {
    /// Hashes a tree's canonical bytes.
    pub fn of(canonical: &[u8]) -> Self {
        Self(blake3::derive_key(TREE_CONTEXT, canonical))
    }
}

impl SnapshotId {
    /// Hashes a snapshot's canonical bytes.
    pub fn of(canonical: &[u8]) -> Self {
        Self(blake3::derive_key(SNAPSHOT_CONTEXT, canonical))
    }
}

impl OperationId {
    /// Hashes an operation file's bytes.
    pub fn of(file: &[u8]) -> Self {
        Self(blake3::derive_key(OPERATION_CONTEXT, file))
    }
}

impl PackId {
    /// Hashes a pack file's bytes.
    pub fn of(file: &[u8]) -> Self {
        Self(*blake3::hash(file).as_bytes())
    }
}

/// Formats bytes as lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_id_is_what_b3sum_prints() {
        // The first vector of BLAKE3's own test set: the empty input.
        assert_eq!(
            ObjectId::of(b"").to_string(),
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        );
        assert!(ObjectId::of(b"").is_empty_file());
    }

    #[test]
    fn hex_reads_back_and_refuses_everything_else() {
        let id = ObjectId::of(b"cairn");
        assert_eq!(ObjectId::from_hex(&id.to_string()), Some(id));
        assert_eq!(ObjectId::from_hex(&id.to_string().to_uppercase()), None);
        assert_eq!(ObjectId::from_hex(&id.to_string()[1..]), None);
        assert_eq!(ObjectId::from_hex(&format!("{:g<64}", "")), None);
    }

    #[test]
    fn kinds_of_id_never_collide() {
        let bytes = b"same bytes";
        assert_ne!(TreeId::of(bytes).as_bytes(), ObjectId::of(bytes).as_bytes());
        assert_ne!(TreeId::of(bytes).as_bytes(), SnapshotId::of(bytes).as_bytes());
    }
}
