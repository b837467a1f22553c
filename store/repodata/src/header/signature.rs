//! Signatures over a package's main section.
//!
//! RPM 4 keeps an OpenPGP packet for the section as it is in the file: one tag for RSA, another for
//! DSA and EdDSA. RPM 6 keeps any number of them in base64, in a list of its own. The signatures of
//! RPM 3, over section and payload together, are not among them: clients do not need them any more.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Headers;
use crate::error::{Error, Result};

/// Tags of the signature section.
const DSA: u32 = 267;
const RSA: u32 = 268;
const OPENPGP: u32 = 278;

/// Most signatures that are looked at; real packages have one or two.
const MAX_SIGNATURES: usize = 16;

impl Headers {
    /// Returns the OpenPGP packets that sign [`Headers::main`], none if it is not signed; `file`
    /// is for errors.
    ///
    /// # Errors
    ///
    /// Tags of another type, and what is not base64 where it should be; more signatures than
    /// anybody makes.
    pub fn signatures(&self, file: &str) -> Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        for tag in [RSA, DSA] {
            found.extend(self.signature.binary(file, tag)?.map(<[u8]>::to_vec));
        }
        for text in self.signature.strings(file, OPENPGP)? {
            if found.len() == MAX_SIGNATURES {
                let reason = format!("it has more than {MAX_SIGNATURES} signatures");
                return Err(Error::header(file, reason));
            }
            // rpm breaks the lines as armour does.
            let plain: Vec<u8> =
                text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            let packet = STANDARD
                .decode(plain)
                .map_err(|error| Error::header(file, format!("its signature: {error}")))?;
            found.push(packet);
        }
        // A tag without a packet signs nothing.
        found.retain(|packet| !packet.is_empty());
        Ok(found)
    }
}
