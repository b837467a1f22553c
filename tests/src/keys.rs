//! Signing keys in a gpg home of their own, and scripts that sign with them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::run::Run;
use crate::unavailable::{self, Unavailable};

/// A gpg home, its agent, and a directory for keys and scripts; all of it ends with the value.
#[derive(Debug)]
pub struct Keys {
    dir: TempDir,
}

impl Keys {
    /// Makes a home with one ed25519 key for each name, without passphrase.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] where there is no gpg or no gpgv.
    #[track_caller]
    pub fn new(names: &[&str]) -> Result<Self, Unavailable> {
        unavailable::tool("gpg")?;
        unavailable::tool("gpgv")?;
        // An agent's socket has room for a hundred bytes of path.
        let dir = tempfile::Builder::new().prefix("cairn-keys-").tempdir_in("/tmp");
        let dir = dir.map_err(|error| Unavailable::Refused {
            what: "a home for gpg".to_owned(),
            reason: error.to_string(),
        })?;
        let keys = Self { dir };
        fs::create_dir(keys.home()).expect("the directory is new and ours");
        set_mode(&keys.home(), 0o700);
        for name in names {
            let user = user(name);
            let generate = ["--passphrase", "", "--quick-generate-key", &user];
            keys.gpg(&[&generate[..], &["ed25519", "sign", "never"]].concat());
        }
        Ok(keys)
    }

    /// Returns the gpg home, for `GNUPGHOME`.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("gnupg")
    }

    /// Returns a path beside the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs gpg in this home and returns its stdout.
    #[track_caller]
    pub fn gpg(&self, args: &[&str]) -> Vec<u8> {
        let mut gpg = Command::new("gpg");
        gpg.env("GNUPGHOME", self.home()).args(["--batch", "--quiet", "--yes"]).args(args);
        Run::of(&mut gpg).ok().stdout
    }

    /// Writes the public keys of these names, armoured, to a file of this name.
    #[track_caller]
    pub fn public(&self, file: &str, names: &[&str]) -> PathBuf {
        let users: Vec<String> = names.iter().map(|name| user(name)).collect();
        let mut args = vec!["--armor", "--export"];
        args.extend(users.iter().map(String::as_str));
        let path = self.path(file);
        write(&path, &self.gpg(&args));
        path
    }

    /// Writes an executable shell script; `$GPG` in it is gpg with this home.
    #[track_caller]
    pub fn script(&self, file: &str, body: &str) -> PathBuf {
        let path = self.path(file);
        let gpg = format!("gpg --homedir {} --batch --yes --armor", self.home().display());
        write(&path, format!("#!/bin/sh\nGPG='{gpg}'\n{body}\n").as_bytes());
        set_mode(&path, 0o755);
        path
    }

    /// Writes a script that signs its argument with a key, as a hook leaves `FILE.asc`.
    #[track_caller]
    pub fn sign_script(&self, file: &str, name: &str) -> PathBuf {
        self.script(file, &format!("exec $GPG --local-user '{}' --detach-sign \"$1\"", user(name)))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let mut kill = Command::new("gpgconf");
        // Without gpgconf the agent ends by itself when its home is gone.
        let _ = kill.env("GNUPGHOME", self.home()).args(["--kill", "all"]).output();
    }
}

/// The user id of a name's key.
fn user(name: &str) -> String {
    format!("{name} <{}@example.org>", name.to_lowercase())
}

#[track_caller]
fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

#[track_caller]
fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
