//! Signing with real keys of gpg's, and with every kind of command that can go wrong.

#![expect(clippy::disallowed_methods, reason = "tests make keys and scripts on the real disk")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use cairn_store::fs::Dir;
use cairn_store::progress::Silent;

use super::scratch::sweep_within;
use super::*;

mod trees;

const NAME: &str = "staging/9.7-RC2:BaseOS/x86_64/os/repodata/repomd.xml";
const BYTES: &[u8] = b"<repomd/>\n";

/// A gpg home with keys, and room for scripts; its agent ends with it.
pub(crate) struct Keys {
    dir: tempfile::TempDir,
}

impl Drop for Keys {
    fn drop(&mut self) {
        let mut kill = Command::new("gpgconf");
        let _ = kill.env("GNUPGHOME", self.home()).args(["--kill", "all"]).output();
    }
}

impl Keys {
    /// Makes a home in which `A` can sign.
    pub(crate) fn new() -> Keys {
        // Sockets have short paths: the test's own directory may be deep.
        let keys = Keys { dir: tempfile::tempdir_in("/tmp").unwrap() };
        fs::create_dir(keys.home()).unwrap();
        fs::set_permissions(keys.home(), fs::Permissions::from_mode(0o700)).unwrap();
        keys.generate("A", &[]);
        keys
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("gnupg")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs gpg and returns its stdout.
    fn gpg(&self, arguments: &[&str]) -> Vec<u8> {
        let mut gpg = Command::new("gpg");
        gpg.env("GNUPGHOME", self.home()).args(["--batch", "--quiet", "--yes"]).args(arguments);
        let output = gpg.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "gpg {arguments:?}: {said}");
        output.stdout
    }

    fn generate(&self, name: &str, options: &[&str]) {
        let user = format!("{name} <{name}@example.org>");
        let mut arguments = options.to_vec();
        let expires = if options.is_empty() { "never" } else { "1d" };
        arguments.extend(["--passphrase", "", "--quick-generate-key", &user, "ed25519", "sign"]);
        arguments.push(expires);
        self.gpg(&arguments);
    }

    /// Makes another key that can sign.
    pub(crate) fn another(&self, name: &str) {
        self.generate(name, &[]);
    }

    fn fingerprint(&self, name: &str) -> String {
        let listing = self.gpg(&["--with-colons", "--list-keys", &format!("{name}@example.org")]);
        let listing = String::from_utf8(listing).unwrap();
        let line = listing.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap();
        line.trim_matches(':').to_owned()
    }

    /// Exports public keys, armoured, and returns the file.
    pub(crate) fn public(&self, file: &str, names: &[&str]) -> PathBuf {
        let users: Vec<String> = names.iter().map(|name| format!("{name}@example.org")).collect();
        let mut arguments = vec!["--armor", "--export"];
        arguments.extend(users.iter().map(String::as_str));
        let path = self.path(file);
        fs::write(&path, self.gpg(&arguments)).unwrap();
        path
    }

    /// Signs a file's bytes and returns the signature.
    pub(crate) fn signed(&self, options: &[&str], bytes: &[u8]) -> Vec<u8> {
        let data = self.path("data");
        fs::write(&data, bytes).unwrap();
        let data = data.to_str().unwrap();
        let mut arguments = options.to_vec();
        arguments.extend(["--output", "-", data]);
        self.gpg(&arguments)
    }

    /// Writes a shell script; `$GPG` in it signs with the home's keys.
    fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.path(name);
        let home = self.home();
        let gpg = format!("GPG='gpg --homedir {} --batch --yes --armor'", home.display());
        fs::write(
            &path,
            format!("#!/bin/sh\n{gpg}\nHERE='{}'\n{body}\n", self.dir.path().display()),
        )
        .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn in_place(&self, script: &Path) -> Config {
        let command = format!("command = [\"{}\", \"{{file}}\"]", script.display());
        self.config(&command, "2m")
    }

    fn stdio(&self, script: &Path) -> Config {
        let command = format!("command = [\"{}\"]\nmode = \"stdio\"", script.display());
        self.config(&command, "2m")
    }

    /// A configuration whose verify key is `A`'s.
    fn config(&self, by: &str, timeout: &str) -> Config {
        let key = self.public("A.asc", &["A"]);
        let text = format!(
            "[store]\npath = \"/store\"\n[mounts.staging]\npath = \"/staging\"\n[sign]\n{by}\n\
             verify_key = \"{}\"\ntimeout = \"{timeout}\"\n",
            key.display()
        );
        Config::parse(&text, Path::new("cairn.toml")).unwrap()
    }
}

const SIGN: &str = "$GPG --local-user A --detach-sign \"$1\"";
const SIGN_STDIO: &str = "exec $GPG --local-user A --detach-sign";

fn sign(config: &Config, bytes: &[u8], observer: &dyn Observer) -> crate::Result<Vec<u8>> {
    let release = config.release("9").unwrap();
    Signer::for_release(config, &release)?.unwrap().sign(NAME, bytes, observer)
}

/// Signs and returns the error with its causes.
fn refused(config: &Config) -> String {
    match sign(config, BYTES, &Silent) {
        Ok(_) => panic!("it was signed"),
        Err(error) => {
            assert!(matches!(error, crate::Error::Signing(_)), "{error:?}");
            crate::error::told(&error)
        }
    }
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    // Whoever adopted an orphan may take its time to reap it.
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
}

/// Tells whether a process that was killed goes: a signal is answered soon, not at once.
fn ends(pid: &str) -> bool {
    for _ in 0..600 {
        if !is_alive(pid) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

#[test]
fn each_way_of_signing_gives_a_signature_that_verifies() {
    let keys = Keys::new();
    let in_place = keys.in_place(&keys.script("in-place", SIGN));
    let stdio = keys.stdio(&keys.script("stdio", SIGN_STDIO));
    for config in [in_place, stdio] {
        let release = config.release("9").unwrap();
        let signer = Signer::for_release(&config, &release).unwrap().unwrap();
        let signature = signer.sign(NAME, BYTES, &Silent).unwrap();
        assert!(signature.starts_with(b"-----BEGIN PGP SIGNATURE-----"));
        let verdict = signer.verifier().verify(NAME, BYTES, &signature, &Silent).unwrap();
        let owner = "A <A@example.org>".to_owned();
        assert_eq!(verdict, Verdict::Good { key: keys.fingerprint("A"), owner });
    }
}

#[test]
fn nothing_is_signed_without_the_section() {
    let text = "[store]\npath = \"/store\"\n[mounts.staging]\npath = \"/staging\"\n";
    let config = Config::parse(text, Path::new("cairn.toml")).unwrap();
    let release = config.release("9").unwrap();
    assert!(Signer::for_release(&config, &release).unwrap().is_none());
    assert!(Verifier::for_release(&config, &release).unwrap().is_none());
}

#[test]
fn placeholders_of_command_and_key_file_are_filled_in() {
    let keys = Keys::new();
    let script = keys.script("sign-9", &format!("echo \"$@\" > \"$HERE/got\"\n{SIGN}"));
    keys.public("key-9-9.7-stable", &["A"]);
    let text = format!(
        "[store]\npath = \"/store\"\n[mounts.staging]\npath = \"/staging\"\n[sign]\n\
         command = [\"{0}/sign-{{major}}\", \"{{file}}\", \"{{version}}\", \"{{channel}}\"]\n\
         verify_key = \"{0}/key-{{major}}-{{version}}-{{channel}}\"\n",
        keys.dir.path().display()
    );
    assert!(script.exists());
    let config = Config::parse(&text, Path::new("cairn.toml")).unwrap();
    sign(&config, BYTES, &Silent).unwrap();
    let got = fs::read_to_string(keys.path("got")).unwrap();
    let words: Vec<&str> = got.split_whitespace().collect();
    assert!(words[0].ends_with("/work/repomd.xml"), "{got}");
    assert_eq!(words[1..], ["9.7", "stable"]);
}

#[test]
fn a_command_that_leaves_no_good_signature_is_refused_with_the_reason() {
    const OLD: &[&str] = &["--faked-system-time", "20200101T000000"];
    let keys = Keys::new();
    keys.generate("B", &[]);
    keys.generate("Old", OLD);
    keys.generate("Gone", &[]);
    let detached = ["--armor", "--detach-sign", "--local-user"];
    let by = |name: &str, more: &[&str], bytes: &[u8]| {
        let options: Vec<&str> = more.iter().chain(&detached).copied().chain([name]).collect();
        keys.signed(&options, bytes)
    };
    fs::write(keys.path("old"), by("Old", OLD, BYTES)).unwrap();
    fs::write(keys.path("gone"), by("Gone", &[], BYTES)).unwrap();
    fs::write(keys.path("sha1"), by("A", &["--digest-algo", "SHA1"], BYTES)).unwrap();
    let binary = keys.signed(&["--detach-sign", "--local-user", "A"], BYTES);
    fs::write(keys.path("binary"), binary).unwrap();
    let inline = keys.signed(&["--armor", "--sign", "--local-user", "A"], BYTES);
    let inline = String::from_utf8(inline).unwrap().replace("MESSAGE", "SIGNATURE");
    fs::write(keys.path("inline"), inline).unwrap();
    // gpg prepares the revocation with each key, and a colon in front lest it happen by accident.
    let revocation = keys.home().join("openpgp-revocs.d");
    let revocation = revocation.join(format!("{}.rev", keys.fingerprint("Gone")));
    let armour = fs::read_to_string(revocation).unwrap().replace(":-----", "-----");
    fs::write(keys.path("revocation"), armour).unwrap();
    keys.gpg(&["--import", keys.path("revocation").to_str().unwrap()]);

    let cases: &[(&str, &str)] = &[
        ("echo 'no token' >&2; exit 3", "ended with exit code 3; it said: no token"),
        ("kill -9 $$", "was killed by signal 9"),
        ("true", "left no repomd.xml.asc beside the file"),
        (": > $1.asc", "left an empty repomd.xml.asc"),
        ("mkdir $1.asc", "left a repomd.xml.asc that is a directory and not a file"),
        ("ln -s /etc/passwd $1.asc", "left a repomd.xml.asc that is a symbolic link"),
        ("mkfifo $1.asc", "left a repomd.xml.asc that is a fifo and not a file"),
        ("head -c 1000000 /dev/zero > $1.asc", "is none: it is larger than 262144 bytes"),
        ("echo hello > $1.asc", "is none: it does not begin with -----BEGIN PGP SIGNATURE-----"),
        ("echo '-----BEGIN PGP SIGNATURE-----' > $1.asc", "is none: gpgv: "),
        ("cp $HERE/binary $1.asc", "is none: it does not begin with"),
        ("cp $HERE/inline $1.asc", "is none: gpgv: "),
        ("echo more >> $1; $GPG -u A --detach-sign $1", "was made over other bytes"),
        ("$GPG -u B --detach-sign $1", ", which is not a configured one"),
        ("cp $HERE/old $1.asc", "has expired, or its key has"),
        ("cp $HERE/gone $1.asc", ", which is revoked"),
        ("cp $HERE/sha1 $1.asc", "uses SHA-1, which clients refuse"),
        ("$GPG -u A -u B --detach-sign $1", ", which is not a configured one"),
    ];
    let mut seen = Vec::new();
    for (at, (body, reason)) in cases.iter().enumerate() {
        let config = keys.in_place(&keys.script(&format!("script{at}"), body));
        // The clients' keys, with those that are out of force.
        let names: &[&str] = &["A", "Old", "Gone"];
        keys.public("A.asc", names);
        let message = refused(&config);
        assert!(message.contains(reason), "{body}: {message}");
        assert!(message.contains(NAME) && message.contains(&format!("script{at}")), "{message}");
        seen.push(message);
    }
    // With both keys configured, a file that both signed is good.
    let config = keys.in_place(&keys.script("both", "$GPG -u A -u B --detach-sign $1"));
    keys.public("A.asc", &["A", "B"]);
    sign(&config, BYTES, &Silent).unwrap();
}

#[test]
fn a_command_that_cannot_be_started_is_refused_with_the_reason() {
    let keys = Keys::new();
    let plain = keys.script("plain", SIGN);
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).unwrap();
    let odd = keys.path("odd");
    fs::write(&odd, "#!/there/is/none\n").unwrap();
    fs::set_permissions(&odd, fs::Permissions::from_mode(0o755)).unwrap();
    for (script, reason) in [
        (keys.path("missing"), "No such file"),
        (plain, "Permission denied"),
        (keys.home(), "Permission denied"),
        (odd, "No such file"),
    ] {
        let message = refused(&keys.in_place(&script));
        let start = format!("{NAME}: {} cannot be started: {reason}", script.display());
        assert!(message.starts_with(&start), "{message}");
    }
}

#[test]
fn a_command_through_pipes_must_write_a_signature_of_sane_size() {
    let keys = Keys::new();
    for (body, reason) in [
        ("cat > /dev/null", "wrote nothing to stdout"),
        ("echo", "wrote nothing to stdout"),
        ("exec <&-; echo no >&2; exit 1", "ended with exit code 1; it said: no"),
        ("head -c 1000000 /dev/zero", "wrote more than 262144 bytes to stdout"),
        ("echo hello", "is none: it does not begin with"),
    ] {
        let message = refused(&keys.stdio(&keys.script("script", body)));
        assert!(message.contains(reason), "{body}: {message}");
    }
}

#[test]
fn a_command_may_treat_its_pipes_as_it_likes() {
    let keys = Keys::new();
    let large = vec![b'x'; 8 << 20];
    for (body, good) in [
        // Megabytes on stderr before it reads anything.
        ("head -c 4000000 /dev/zero | tr '\\0' x >&2\nexec $GPG -u A --detach-sign", true),
        // A child that holds all three pipes after the end.
        ("sleep 1000 & echo $! > $HERE/child\n$GPG -u A --detach-sign", true),
        // Ends without reading any of the megabytes that it is offered.
        ("exit 0", false),
        // Closes what it was given, and works on for a moment.
        ("exec 0<&- 1>&- 2>&-; sleep 0.1", false),
    ] {
        let config = keys.stdio(&keys.script("script", body));
        assert_eq!(sign(&config, &large, &Silent).is_ok(), good, "{body}");
    }
    let child = fs::read_to_string(keys.path("child")).unwrap();
    assert!(ends(&child), "what it left running in its group is killed");
}

#[test]
fn a_daemon_in_a_session_of_its_own_lives_on_and_is_not_waited_for() {
    let keys = Keys::new();
    let body = format!(
        "setsid sh -c 'echo $$ > {0}/daemon.new; mv {0}/daemon.new {0}/daemon; exec sleep 1000' &\n\
         while ! test -e {0}/daemon; do sleep 0.05; done\n{SIGN_STDIO}",
        keys.dir.path().display()
    );
    sign(&keys.stdio(&keys.script("script", &body)), BYTES, &Silent).unwrap();
    let daemon = fs::read_to_string(keys.path("daemon")).unwrap();
    assert!(is_alive(&daemon));
    let pid = rustix::process::Pid::from_raw(daemon.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_command_that_takes_too_long_is_killed_with_its_children() {
    let keys = Keys::new();
    // One ends when it is asked to, the other has to be killed.
    for trap in ["", "trap '' TERM\n"] {
        let body = format!(
            "{trap}echo waiting for a PIN >&2\nsleep 1000 & echo $! > $HERE/child\n\
             echo $$ > $HERE/own\nwhile :; do sleep 1000; done"
        );
        let command =
            format!("command = [\"{}\", \"{{file}}\"]", keys.script("slow", &body).display());
        let message = refused(&keys.config(&command, "1s"));
        let expected = "slow had not ended after 1s, and was killed; it said: waiting for a PIN";
        assert!(message.contains(expected), "{message}");
        for file in ["child", "own"] {
            assert!(ends(&fs::read_to_string(keys.path(file)).unwrap()), "{file}");
        }
    }
}

#[test]
fn a_command_is_stopped_with_the_operator_and_may_clean_up() {
    /// Wants to stop as soon as a file is there.
    struct StopAt(PathBuf, AtomicBool);
    impl Observer for StopAt {
        fn interrupted(&self) -> bool {
            if self.0.exists() {
                self.1.store(true, Ordering::Relaxed);
            }
            self.1.load(Ordering::Relaxed)
        }
    }
    let keys = Keys::new();
    let body = "trap 'echo yes > $HERE/cleaned; exit 1' TERM\necho $$ > $HERE/own\n\
                sleep 1000 & wait";
    let config = keys.in_place(&keys.script("slow", body));
    let observer = StopAt(keys.path("own"), AtomicBool::new(false));
    let error = sign(&config, BYTES, &observer).unwrap_err();
    assert!(matches!(error, crate::Error::Store(cairn_store::Error::Interrupted)), "{error}");
    assert!(ends(&fs::read_to_string(keys.path("own")).unwrap()));
    assert_eq!(fs::read_to_string(keys.path("cleaned")).unwrap(), "yes\n");
}

#[test]
fn a_command_gets_a_private_directory_and_a_clean_environment() {
    let keys = Keys::new();
    let body = "env > $HERE/env; pwd > $HERE/pwd; stat -c '%a %n' . $1 > $HERE/modes\n\
                touch left-behind; mkdir -p deep/er; : > deep/er/file\n";
    sign(&keys.in_place(&keys.script("script", &format!("{body}{SIGN}"))), BYTES, &Silent).unwrap();
    let pwd = fs::read_to_string(keys.path("pwd")).unwrap().trim().to_owned();
    let environment = fs::read_to_string(keys.path("env")).unwrap();
    for line in environment.lines() {
        let (name, value) = line.split_once('=').unwrap();
        match name {
            "TMPDIR" => assert_eq!(value, pwd),
            "LC_ALL" => assert_eq!(value, "C.UTF-8"),
            "CAIRN_NAME" => assert_eq!(value, NAME),
            // The shell's own.
            "PWD" | "OLDPWD" | "SHLVL" | "_" => {}
            other => assert!(crate::program::KEPT.contains(&other), "{line}"),
        }
    }
    let modes = fs::read_to_string(keys.path("modes")).unwrap();
    assert_eq!(modes, format!("700 .\n600 {pwd}/repomd.xml\n"));
    assert!(!Path::new(&pwd).parent().unwrap().exists(), "{pwd} was left behind");
}

#[test]
fn keys_are_read_armoured_or_binary_one_or_several() {
    let keys = Keys::new();
    keys.generate("B", &[]);
    let signature = keys.signed(&["--armor", "--detach-sign", "--local-user", "A"], BYTES);
    let one = |name: &str| fs::read(keys.public("one", &[name])).unwrap();
    let binary = |name: &str| keys.gpg(&["--export", &format!("{name}@example.org")]);
    let both = fs::read(keys.public("both", &["B", "A"])).unwrap();
    let files: &[(&str, Vec<u8>, bool)] = &[
        ("armoured", one("A"), true),
        ("binary", binary("A"), true),
        ("two in one block", both, true),
        ("two blocks", [one("B"), b"and\n".to_vec(), one("A")].concat(), true),
        ("two binary", [binary("B"), binary("A")].concat(), true),
        ("another", one("B"), false),
    ];
    for (label, bytes, good) in files {
        let path = keys.path("keys");
        fs::write(&path, bytes).unwrap();
        let verifier = Verifier::read(&path).unwrap();
        let verdict = verifier.verify(NAME, BYTES, &signature, &Silent).unwrap();
        assert_eq!(verdict.is_good(), *good, "{label}: {verdict}");
        if !good {
            assert_eq!(verdict, Verdict::UnknownKey { key: keys.fingerprint("A") });
        }
        let verdict = verifier.verify(NAME, b"other", &signature, &Silent).unwrap();
        assert!(!verdict.is_good(), "{label}: {verdict}");
    }
}

#[test]
fn keys_that_cannot_be_used_are_refused_with_the_file() {
    let keys = Keys::new();
    let secret = keys.gpg(&["--armor", "--export-secret-keys", "A@example.org"]);
    fs::write(keys.path("secret"), secret).unwrap();
    fs::write(keys.path("empty"), "").unwrap();
    std::os::unix::fs::symlink("nowhere", keys.path("dangling")).unwrap();
    std::os::unix::fs::symlink("A", keys.path("link")).unwrap();
    for (file, reason) in [
        ("none", "cannot be read: "),
        ("dangling", "cannot be read: "),
        ("gnupg", "is not a file"),
        ("secret", "holds a private key; export the public one"),
        ("empty", "is empty"),
    ] {
        let path = keys.path(file);
        let message = crate::error::told(&Verifier::read(&path).unwrap_err());
        assert!(message.starts_with(&format!("{}: {reason}", path.display())), "{message}");
    }
    fs::rename(keys.public("A.asc", &["A"]), keys.path("A")).unwrap();
    Verifier::read(&keys.path("link")).unwrap();
}

#[test]
fn what_a_killed_command_left_is_swept_and_what_is_in_use_stays() {
    let dir = tempfile::tempdir().unwrap();
    let parent = Dir::open(dir.path()).unwrap();
    let used = Scratch::within(&parent).unwrap();
    used.write("file", b"x").unwrap();
    let dead = dir.path().join("cairn-sign-0123");
    fs::create_dir_all(dead.join("work/deep")).unwrap();
    fs::write(dead.join("lock"), "").unwrap();
    let new = dir.path().join("cairn-sign-4567");
    fs::create_dir(&new).unwrap();
    fs::write(dir.path().join("cairn-sign-file"), "").unwrap();
    fs::create_dir(dir.path().join("other")).unwrap();
    std::os::unix::fs::symlink("other", dir.path().join("cairn-sign-link")).unwrap();
    sweep_within(&parent);
    assert!(!dead.exists());
    assert!(new.exists() && used.path().join("file").exists());
    let own = used.path().parent().unwrap().to_owned();
    drop(used);
    assert!(!own.exists());
    let mut left: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["cairn-sign-4567", "cairn-sign-file", "cairn-sign-link", "other"]);
}

#[test]
fn a_copy_is_named_as_its_file_only_where_that_is_plain() {
    for (name, file) in [
        (NAME, "repomd.xml"),
        ("9:repomd.xml", "repomd.xml"),
        ("a/b/", "data"),
        ("", "data"),
        ("a/-rf", "data"),
        ("a/..", "data"),
        ("a/b c", "data"),
        ("a/\u{1b}[2J", "data"),
    ] {
        assert_eq!(file_name(name), file, "{name:?}");
    }
}
