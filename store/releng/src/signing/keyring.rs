//! Public keys as a release ships them, made into the binary keyring that gpgv reads.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN PGP ";
const PUBLIC: &str = "PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// Turns a file of public keys, armoured or binary, one key or several, into a keyring.
///
/// The error says what is wrong with the file, as the end of a sentence that begins with its name.
pub(super) fn keyring(bytes: &[u8]) -> Result<Vec<u8>, String> {
    if bytes.trim_ascii().is_empty() {
        return Err("is empty".to_owned());
    }
    if is_keybox(bytes) {
        return Ok(bytes.to_vec());
    }
    let keys = match std::str::from_utf8(bytes) {
        Ok(text) if text.contains(BEGIN) => dearmour(text)?,
        _ => bytes.to_vec(),
    };
    match packet_tag(&keys) {
        Some(6) => Ok(keys),
        Some(5) => Err("holds a private key; export the public one".to_owned()),
        _ => Err("holds no OpenPGP public key".to_owned()),
    }
}

/// Returns whether this is gpg's own format of keyrings.
pub(super) fn is_keybox(bytes: &[u8]) -> bool {
    bytes.get(8..12) == Some(b"KBXf")
}

/// Returns the kind of the first OpenPGP packet (RFC 9580, 4.2).
fn packet_tag(bytes: &[u8]) -> Option<u8> {
    match bytes.first()? {
        first if first & 0xc0 == 0xc0 => Some(first & 0x3f),
        first if first & 0xc0 == 0x80 => Some((first >> 2) & 0x0f),
        _ => None,
    }
}

/// Joins the armoured blocks of a text; what stands around them is for people (RFC 9580, 6.2).
fn dearmour(text: &str) -> Result<Vec<u8>, String> {
    let mut keys = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix(BEGIN) else { continue };
        if kind.contains("PRIVATE KEY") {
            return Err("holds a private key; export the public one".to_owned());
        }
        if kind != PUBLIC {
            return Err(format!("holds a PGP {}", kind.trim_end_matches('-').to_lowercase()));
        }
        // Headers end with an empty line.
        let body = lines.by_ref().skip_while(|line| line.contains(": ")).map(str::to_owned);
        let mut encoded = String::new();
        let mut ended = false;
        for line in body {
            if line == END {
                ended = true;
                break;
            }
            // The checksum line; gpgv checks what matters, the keys' own signatures.
            if !line.starts_with('=') {
                encoded.push_str(&line);
            }
        }
        if !ended {
            return Err("ends within a key".to_owned());
        }
        let decoded = STANDARD.decode(&encoded);
        keys.extend(decoded.map_err(|error| format!("is not armoured well: {error}"))?);
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_holds_no_public_key_is_refused_with_the_reason() {
        const CASES: &[(&[u8], &str)] = &[
            (b"", "is empty"),
            (b" \n", "is empty"),
            (b"hello\n", "holds no OpenPGP public key"),
            (b"\x94\x01", "holds a private key; export the public one"),
            (
                b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n",
                "holds a private key; export the public one",
            ),
            (b"-----BEGIN PGP SIGNATURE-----\n", "holds a PGP signature"),
            (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDME\n", "ends within a key"),
            (
                b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n-----END PGP PUBLIC KEY BLOCK-----\n",
                "holds no OpenPGP public key",
            ),
        ];
        for (bytes, reason) in CASES {
            assert_eq!(keyring(bytes).unwrap_err(), *reason, "{}", bytes.escape_ascii());
        }
        let odd =
            b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!!!\n-----END PGP PUBLIC KEY BLOCK-----\n";
        assert!(keyring(odd).unwrap_err().starts_with("is not armoured well"));
    }

    #[test]
    fn blocks_are_joined_and_the_text_around_them_is_left_out() {
        let block = |body: &str| {
            format!(
                "-----BEGIN PGP PUBLIC KEY BLOCK-----\r\nVersion: GnuPG v2\r\nComment: a\r\n\r\n\
                 {body}\r\n=abcd\r\n-----END PGP PUBLIC KEY BLOCK-----\r\n"
            )
        };
        let text = format!("Our keys:\n{}between\n{}", block("mDMEAQ\r\n=="), block("mDMC"));
        // The padding line above begins with "=" and is not data: without it the block is wrong.
        assert!(keyring(text.as_bytes()).is_err());
        let text = format!("Our keys:\n{}between\n{}", block("mDME\r\nAQID"), block("mDMC"));
        let joined = [0x98, 0x33, 0x04, 1, 2, 3, 0x98, 0x33, 0x02];
        assert_eq!(keyring(text.as_bytes()).unwrap(), joined);
    }
}
