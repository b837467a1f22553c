//! Verifying detached signatures with gpgv, against the keys that clients have.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cairn_store::fs::Dir;
use cairn_store::id::ObjectId;
use cairn_store::progress::Observer;

use super::keyring::{self, keyring};
use super::scratch::{Scratch, sweep};
use super::{SigningError, interrupted};
use crate::Result;
use crate::config::{Config, Version};
use crate::names::ReleaseView;
use crate::program::{Failure, Program};

/// The beginning of every armoured signature.
const ARMOUR: &[u8] = b"-----BEGIN PGP SIGNATURE-----";
/// The largest key file that is read: some thousand keys.
const MAX_KEYS: u64 = 4 << 20;
/// The largest signature that is looked at; one of RSA-4096 has a kilobyte.
pub(super) const MAX_SIGNATURE: usize = 256 << 10;
/// How long gpgv may take for a file of a few kilobytes on a machine that is busy.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How much of gpgv's status is read; a signature makes half a kilobyte.
const MAX_STATUS: usize = 1 << 20;
/// gpgv, as PATH finds it.
pub(super) const GPGV: &str = "gpgv";
/// Digests that clients no longer take: MD5, SHA-1 and RIPEMD-160 (RFC 9580, 9.5).
const WEAK: &[(&str, &str)] = &[("1", "MD5"), ("2", "SHA-1"), ("3", "RIPEMD-160")];

/// What gpgv thinks of a signature. Keys are named by fingerprint, or by key id where the
/// signature says no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was made over these bytes by a configured key that is in force.
    Good {
        /// The key that made it; of a key with subkeys, the subkey.
        key: String,
        /// Whose key it is.
        owner: String,
    },
    /// It was made over other bytes.
    Bad {
        /// The key that it names.
        key: String,
    },
    /// It was made by a key that is not among the configured ones.
    UnknownKey {
        /// The key that it names.
        key: String,
    },
    /// The key, or the signature itself, has expired.
    Expired {
        /// The key that made it.
        key: String,
    },
    /// The key was revoked.
    Revoked {
        /// The key that made it.
        key: String,
    },
    /// It is good, by a digest that clients refuse.
    Weak {
        /// The key that made it.
        key: String,
        /// The digest.
        digest: &'static str,
    },
    /// It is no armoured detached signature.
    NotASignature {
        /// What it is or lacks.
        reason: String,
    },
}

impl Verdict {
    /// Tells whether clients with the configured key will accept the signature.
    pub fn is_good(&self) -> bool {
        matches!(self, Verdict::Good { .. })
    }
}

impl fmt::Display for Verdict {
    /// Says it as the end of a sentence about the signature: `is good, by …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Good { key, owner } => write!(f, "is good, by key {key} ({owner})"),
            Verdict::Bad { key } => write!(f, "by key {key} was made over other bytes"),
            Verdict::UnknownKey { key } => {
                write!(f, "was made by key {key}, which is not a configured one")
            }
            Verdict::Expired { key } => write!(f, "by key {key} has expired, or its key has"),
            Verdict::Revoked { key } => write!(f, "was made by key {key}, which is revoked"),
            Verdict::Weak { key, digest } => {
                write!(f, "by key {key} uses {digest}, which clients refuse")
            }
            Verdict::NotASignature { reason } => write!(f, "is none: {reason}"),
        }
    }
}

/// The keys that a release's signatures must verify with.
#[derive(Clone, Debug)]
pub struct Verifier {
    path: PathBuf,
    keyring: Vec<u8>,
}

impl Verifier {
    /// Reads the keys of `sign.verify_key` for a release; none if nothing is signed.
    pub fn for_release(config: &Config, release: &ReleaseView<'_>) -> Result<Option<Self>> {
        Self::for_version(config, release, release.version())
    }

    /// Reads the keys for another version of the release, such as a vaulted one.
    pub fn for_version(
        config: &Config,
        release: &ReleaseView<'_>,
        version: Version,
    ) -> Result<Option<Self>> {
        let Some(sign) = &config.sign else { return Ok(None) };
        let version = version.to_string();
        let path = release.expand(&sign.verify_key, &[("version", &version)])?;
        sweep();
        Ok(Some(Self::read(Path::new(&path))?))
    }

    /// Reads keys from a file, armoured or binary, one or several.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = read_keys(path)?;
        let keyring = keyring(&bytes).map_err(|reason| SigningError::Keys {
            path: path.to_owned(),
            reason,
            source: None,
        })?;
        Ok(Self { path: path.to_owned(), keyring })
    }

    /// Reads the keys of several files as one set, of which any may have signed.
    ///
    /// # Panics
    /// Without any file.
    pub fn read_all(paths: &[PathBuf]) -> Result<Self> {
        sweep();
        let mut all: Option<Self> = None;
        for path in paths {
            let one = Self::read(path)?;
            match &mut all {
                None => all = Some(one),
                Some(all) => all.add(one)?,
            }
        }
        Ok(all.expect("there is a file of keys"))
    }

    fn add(&mut self, other: Self) -> Result<()> {
        // gpg's own format cannot be laid end to end, as packets can.
        for one in [&*self, &other] {
            if keyring::is_keybox(&one.keyring) {
                return Err(SigningError::Keys {
                    path: one.path.clone(),
                    reason: "is a keybox, and there are other files of keys; export its keys \
                             with gpg --export"
                        .to_owned(),
                    source: None,
                }
                .into());
            }
        }
        self.keyring.extend_from_slice(&other.keyring);
        Ok(())
    }

    /// Returns the file that the keys are from; of several, the first.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a hash of the keys: other keys, another hash.
    pub fn fingerprint(&self) -> ObjectId {
        ObjectId::of(&self.keyring)
    }

    /// Judges a detached signature over `bytes`; `name` is what messages call them.
    ///
    /// Every signature in it must be good: of a file that was signed with two keys, both must be
    /// configured. Errors are for what kept gpgv from judging.
    pub fn verify(
        &self,
        name: &str,
        bytes: &[u8],
        signature: &[u8],
        observer: &dyn Observer,
    ) -> Result<Verdict> {
        if let Some(reason) = shape(signature) {
            return Ok(Verdict::NotASignature { reason });
        }
        self.ask(name, bytes, signature, observer)
    }

    /// Judges a signature that is an OpenPGP packet and not armoured, as in packages.
    pub fn verify_packet(
        &self,
        name: &str,
        bytes: &[u8],
        packet: &[u8],
        observer: &dyn Observer,
    ) -> Result<Verdict> {
        // Every packet begins with this bit; without it gpgv would look for armour.
        let reason = match packet.first() {
            Some(first) if first & 0x80 != 0 => None,
            Some(_) | None => Some("it is no OpenPGP packet".to_owned()),
        };
        let too_large = (packet.len() > MAX_SIGNATURE)
            .then(|| format!("it is larger than {MAX_SIGNATURE} bytes"));
        match reason.or(too_large) {
            Some(reason) => Ok(Verdict::NotASignature { reason }),
            None => self.ask(name, bytes, packet, observer),
        }
    }

    fn ask(
        &self,
        name: &str,
        bytes: &[u8],
        signature: &[u8],
        observer: &dyn Observer,
    ) -> Result<Verdict> {
        let place = |source| SigningError::Scratch { name: name.to_owned(), source };
        let scratch = Scratch::new().map_err(place)?;
        scratch.write("keyring", &self.keyring).map_err(place)?;
        scratch.write("signature", signature).map_err(place)?;
        let command = [
            GPGV,
            // Nothing but the keyring counts, whatever is in the user's home.
            "--homedir",
            ".",
            "--keyring",
            "./keyring",
            "--status-fd",
            "1",
            "--",
            "./signature",
            "-",
        ];
        let program = Program {
            command: &command.map(str::to_owned),
            dir: scratch.path(),
            name,
            input: bytes,
            timeout: TIMEOUT,
            most: MAX_STATUS,
        };
        let ended = program.run(observer).map_err(|failure| match failure {
            Failure::Interrupted => interrupted(),
            Failure::Start(source) => {
                SigningError::Start { name: name.to_owned(), program: GPGV.to_owned(), source }
                    .into()
            }
            Failure::TimedOut(said) => SigningError::TimedOut {
                name: name.to_owned(),
                program: GPGV.to_owned(),
                after: TIMEOUT,
                said: said.quoted(),
            }
            .into(),
        })?;
        let status = String::from_utf8_lossy(&ended.stdout);
        match judge(&status) {
            // Its exit code is asked last: it is 0 for a key that has expired.
            Some(verdict) if !verdict.is_good() || ended.failure().is_none() => Ok(verdict),
            Some(_) | None => match (ended.failure(), ended.status.code()) {
                // 2 is its answer to what it cannot read as a detached signature.
                (Some(_), Some(1 | 2)) => Ok(Verdict::NotASignature {
                    reason: ended.said.quoted().unwrap_or_else(|| "gpgv cannot read it".into()),
                }),
                (how, _) => Err(SigningError::Ended {
                    name: name.to_owned(),
                    program: GPGV.to_owned(),
                    how: how.unwrap_or_else(|| "ended without a verdict".into()),
                    said: ended.said.quoted(),
                }
                .into()),
            },
        }
    }
}

/// Says what keeps bytes from being one armoured signature, without asking gpgv.
fn shape(signature: &[u8]) -> Option<String> {
    if signature.trim_ascii().is_empty() {
        Some("it is empty".to_owned())
    } else if signature.len() > MAX_SIGNATURE {
        Some(format!("it is larger than {MAX_SIGNATURE} bytes"))
    } else if !signature.starts_with(ARMOUR) {
        Some(format!("it does not begin with {}", String::from_utf8_lossy(ARMOUR)))
    } else {
        None
    }
}

/// Reads gpgv's status lines; nothing if they hold no signature. Of several signatures the first
/// that is not good decides.
fn judge(status: &str) -> Option<Verdict> {
    let mut good = None;
    let mut owner = String::new();
    for line in status.lines() {
        let Some(line) = line.strip_prefix("[GNUPG:] ") else { continue };
        let mut words = line.split(' ');
        let keyword = words.next().unwrap_or_default();
        let words: Vec<&str> = words.collect();
        let key = || words.first().copied().unwrap_or("?").to_owned();
        match keyword {
            "GOODSIG" => owner = words.get(1..).unwrap_or_default().join(" "),
            "VALIDSIG" => {
                let digest = words.get(7).copied().unwrap_or_default();
                if let Some((_, digest)) = WEAK.iter().find(|(number, _)| *number == digest) {
                    return Some(Verdict::Weak { key: key(), digest });
                }
                let owner = cairn_store::path::Escaped(owner.as_bytes()).to_string();
                good.get_or_insert(Verdict::Good { key: key(), owner });
            }
            "BADSIG" => return Some(Verdict::Bad { key: key() }),
            "EXPSIG" | "EXPKEYSIG" => return Some(Verdict::Expired { key: key() }),
            "REVKEYSIG" => return Some(Verdict::Revoked { key: key() }),
            "ERRSIG" => {
                // keyid, algorithm, digest, class, time, reason, fingerprint; 9 is a missing key.
                let named = words.get(6).filter(|text| text.len() >= 16);
                let key = named.map_or_else(key, |text| (*text).to_owned());
                return Some(match words.get(5) {
                    Some(&"9") => Verdict::UnknownKey { key },
                    _ => Verdict::NotASignature {
                        reason: format!("gpgv cannot check the algorithms of key {key}"),
                    },
                });
            }
            _ => {}
        }
    }
    good
}

fn read_keys(path: &Path) -> Result<Vec<u8>> {
    let unusable = |reason: &str, source| SigningError::Keys {
        path: path.to_owned(),
        reason: reason.to_owned(),
        source,
    };
    // The path is followed through links: keys are often linked to where a package put them.
    let real = cairn_store::fs::canonical(path)
        .map_err(|error| unusable("cannot be read", Some(error)))?;
    let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
        return Err(unusable("is a directory", None).into());
    };
    let open = || {
        use std::os::unix::ffi::OsStrExt as _;
        let dir = Dir::open(parent)?;
        let file = dir.open_file(name.as_bytes())?;
        Ok((file.stat()?.kind, file))
    };
    let (kind, file) =
        open().map_err(|error: cairn_store::Error| unusable("cannot be read", Some(error)))?;
    if kind != cairn_store::fs::Kind::File {
        return Err(unusable("is not a file", None).into());
    }
    let mut bytes = Vec::new();
    let read = file.into_file().take(MAX_KEYS + 1).read_to_end(&mut bytes);
    read.map_err(|source| {
        let source = cairn_store::Error::Io { op: "read", path: path.to_owned(), source };
        unusable("cannot be read", Some(source))
    })?;
    if bytes.len() as u64 > MAX_KEYS {
        return Err(unusable(&format!("is larger than {MAX_KEYS} bytes"), None).into());
    }
    Ok(bytes)
}
