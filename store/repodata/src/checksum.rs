//! Checksums as repository metadata writes them: a type name and hexadecimal digits.

use std::fmt;

use sha2::Digest;

use crate::error::{Error, Result};

/// The kind of a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChecksumType {
    /// Broken; known so that it can be refused by name.
    Md5,
    /// Broken; written `sha` or `sha1`.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256, what everything uses.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl ChecksumType {
    /// Returns the type that metadata calls `name`.
    pub fn parse(name: &str) -> Option<ChecksumType> {
        Some(match name {
            "md5" => ChecksumType::Md5,
            "sha" | "sha1" => ChecksumType::Sha1,
            "sha224" => ChecksumType::Sha224,
            "sha256" => ChecksumType::Sha256,
            "sha384" => ChecksumType::Sha384,
            "sha512" => ChecksumType::Sha512,
            _ => return None,
        })
    }

    /// Returns the name that metadata uses.
    pub fn name(self) -> &'static str {
        match self {
            ChecksumType::Md5 => "md5",
            ChecksumType::Sha1 => "sha1",
            ChecksumType::Sha224 => "sha224",
            ChecksumType::Sha256 => "sha256",
            ChecksumType::Sha384 => "sha384",
            ChecksumType::Sha512 => "sha512",
        }
    }

    /// Returns whether collisions can be made, so that a match proves nothing.
    pub fn is_weak(self) -> bool {
        matches!(self, ChecksumType::Md5 | ChecksumType::Sha1)
    }

    fn digits(self) -> usize {
        match self {
            ChecksumType::Md5 => 32,
            ChecksumType::Sha1 => 40,
            ChecksumType::Sha224 => 56,
            ChecksumType::Sha256 => 64,
            ChecksumType::Sha384 => 96,
            ChecksumType::Sha512 => 128,
        }
    }
}

impl fmt::Display for ChecksumType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A checksum: its type and value in lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checksum {
    kind: ChecksumType,
    hex: String,
}

impl Checksum {
    /// Makes a checksum of a type's name and digits, as `record` of `file` writes them.
    ///
    /// # Errors
    ///
    /// Unknown and weak types, and values that are not exactly as many hexadecimal digits as the
    /// type has.
    pub fn parse(file: &str, record: &str, kind: &str, value: &str) -> Result<Checksum> {
        let known = ChecksumType::parse(kind).ok_or_else(|| {
            Error::record(file, record, format!("unknown checksum type {kind:?}"))
        })?;
        if known.is_weak() {
            let (file, record) = (file.to_owned(), record.to_owned());
            return Err(Error::WeakChecksum { file, record, kind: known });
        }
        let value = value.trim();
        if value.len() != known.digits() || !value.bytes().all(|b| b.is_ascii_hexdigit()) {
            let reason = format!("{value:?} is not a {known} checksum");
            return Err(Error::record(file, record, reason));
        }
        Ok(Checksum { kind: known, hex: value.to_ascii_lowercase() })
    }

    /// Makes a checksum of digits alone, as `pkgid` attributes have them: the length tells the type.
    ///
    /// # Errors
    ///
    /// Those of [`Checksum::parse`].
    pub fn parse_pkgid(file: &str, record: &str, value: &str) -> Result<Checksum> {
        let kind = match value.trim().len() {
            32 => "md5",
            40 => "sha1",
            56 => "sha224",
            96 => "sha384",
            128 => "sha512",
            _ => "sha256",
        };
        Checksum::parse(file, record, kind, value)
    }

    /// Makes the checksum of an SHA-256 digest.
    pub fn from_sha256(digest: [u8; 32]) -> Checksum {
        Checksum { kind: ChecksumType::Sha256, hex: to_hex(&digest) }
    }

    /// Returns the SHA-256 of `bytes`.
    pub fn sha256(bytes: &[u8]) -> Checksum {
        Checksum { kind: ChecksumType::Sha256, hex: to_hex(&sha2::Sha256::digest(bytes)) }
    }

    /// Returns the digest of an SHA-256 checksum; nothing for other types.
    pub fn sha256_bytes(&self) -> Option<[u8; 32]> {
        if self.kind != ChecksumType::Sha256 {
            return None;
        }
        let mut digest = [0; 32];
        for (byte, digits) in digest.iter_mut().zip(self.hex.as_bytes().chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            *byte = (digit(digits[0])? << 4 | digit(digits[1])?) as u8;
        }
        Some(digest)
    }

    /// Returns the checksum's type.
    pub fn kind(&self) -> ChecksumType {
        self.kind
    }

    /// Returns the value in lower-case hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// Checks that `bytes` have this checksum; `file` and `record` are for the error.
    ///
    /// # Errors
    ///
    /// [`Error::ChecksumMismatch`], and [`Error::WeakChecksum`] for MD5 and SHA-1.
    pub fn verify(&self, file: &str, record: &str, bytes: &[u8]) -> Result<()> {
        let found = match self.kind {
            ChecksumType::Md5 | ChecksumType::Sha1 => {
                let (file, record) = (file.to_owned(), record.to_owned());
                return Err(Error::WeakChecksum { file, record, kind: self.kind });
            }
            ChecksumType::Sha224 => to_hex(&sha2::Sha224::digest(bytes)),
            ChecksumType::Sha256 => to_hex(&sha2::Sha256::digest(bytes)),
            ChecksumType::Sha384 => to_hex(&sha2::Sha384::digest(bytes)),
            ChecksumType::Sha512 => to_hex(&sha2::Sha512::digest(bytes)),
        };
        if found == self.hex {
            return Ok(());
        }
        Err(Error::ChecksumMismatch {
            file: file.to_owned(),
            record: record.to_owned(),
            kind: self.kind,
            expected: self.hex.clone(),
            found,
        })
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.hex)
    }
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
        hex.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_verify_and_others_are_named() {
        let abc = Checksum::sha256(b"abc");
        assert_eq!(abc.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        abc.verify("f", "r", b"abc").unwrap();
        let error = abc.verify("primary.xml", "bash", b"abd").unwrap_err().to_string();
        assert!(error.starts_with("primary.xml: bash: expected sha256 ba7816bf"), "{error}");
    }

    #[test]
    fn weak_and_malformed_values_are_refused() {
        for (kind, value, want) in [
            ("md5", "d41d8cd98f00b204e9800998ecf8427e", "f: r: md5 is too weak"),
            ("sha", "da39a3ee5e6b4b0d3255bfef95601890afd80709", "f: r: sha1 is too weak"),
            ("sha256", "abc", "f: r: \"abc\" is not a sha256 checksum"),
            ("sha256", &"g".repeat(64), "f: r: \"ggg"),
            ("crc32", "00000000", "f: r: unknown checksum type \"crc32\""),
        ] {
            let error = Checksum::parse("f", "r", kind, value).unwrap_err().to_string();
            assert!(error.starts_with(want), "{error}");
        }
        let upper = Checksum::parse("f", "r", "sha256", &"AB".repeat(32)).unwrap();
        assert_eq!(upper.hex(), "ab".repeat(32));
    }
}
