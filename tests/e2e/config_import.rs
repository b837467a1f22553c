//! The scripts' common files become a configuration.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cairn_testkit::{Run, World};
use tempfile::TempDir;

use crate::world;

/// What is common to all releases, in the manner of the scripts.
const COMMON: &str = r#"#!/bin/bash
if [ -z "$RLVER" ]; then
  export RLVER=8
fi
COMPOSE_ROOT="/mnt/compose"
STAGING_ROOT="/mnt/repos-staging"
PRODUCTION_ROOT="/mnt/repos-production"
CATEGORY_STUB="mirror/pub/rocky"
VAULT_STUB="mirror/vault/rocky"
SIG_CATEGORY_STUB="mirror/pub/sig"
SIG_VAULT_STUB="mirror/vault/sig"
ARCHES=(x86_64 aarch64)
test -f "$(dirname "${BASH_SOURCE[0]}")/common_${RLVER}" && source "$(dirname "${BASH_SOURCE[0]}")/common_${RLVER}"
if [ "$?" -ne 0 ]; then
  echo "Could not source common_${RLVER}"
  exit 1
fi
REV="${REVISION}${APPEND_TO_DIR}"
VARIANTS=(boot minimal dvd1 dvd)
NONREPO_DIRS=(Minimal Cloud)
echo "some talk"
rsync_no_delete_staging_pungi() {
  local TARGET="${1}"
  rsync -v --chown=10004:10005 --exclude ppc --exclude images --exclude .treeinfo compose/ "${TARGET}"
}
sign_data() {
  test -f "/root/bin/sign-repo-${VER}.sh" && "/root/bin/sign-repo-${VER}.sh" "${1}"
}
"#;

/// A release, with everything that differs between them.
fn release(major: u32, stable: [&str; 3], ahead: [&str; 3], modules: &str) -> String {
    let [version, previous, suffix] = stable;
    let [next, current, next_suffix] = ahead;
    format!(
        r#"case "${{RLREL}}" in
  stable)
    REVISION={version}
    PREREV={previous}
    APPEND_TO_DIR="{suffix}"
    ;;
  beta)
    REVISION={next}
    PREREV={current}
    APPEND_TO_DIR="{next_suffix}"
    COMPOSE_APPEND="${{APPEND_TO_DIR}}"
    ;;
  lh)
    REVISION={next}
    PREREV={current}
    APPEND_TO_DIR="-LookAhead"
    COMPOSE_APPEND="${{APPEND_TO_DIR}}"
    ;;
  *) echo "not recognized" ;;
esac
MAJOR="${{REVISION%.*}}"
MINOR="${{REVISION#*.}}"
ISO_TYPES=(BaseOS Minimal)
IMAGE_TYPES=(images live)
RELEASE_DIR="${{CATEGORY_STUB}}/${{REVISION}}${{APPEND_TO_DIR}}"
RELEASE_COMPOSE_ROOT="${{COMPOSE_ROOT}}/${{MAJOR}}${{COMPOSE_APPEND}}/latest-${{SHORT}}-${{MAJOR}}"
NONMODS_REPOS=(extras devel plus)
declare -A LINK_REPOS
LINK_REPOS=([NFV]="nfv" [Devel]="devel")
MODS_REPOS=(BaseOS AppStream CRB NFV)
ALL_REPOS=("${{NONMODS_REPOS[@]}}" "${{MODS_REPOS[@]}}")
NONSIG_COMPOSE=(Rocky Extras Rocky-devel)
declare -A SIG_COMPOSE
SIG_COMPOSE=([kernel]="kernel/kernel" [kmod]="kernel/kmod")
{modules}
"#,
        version = version.replace("{major}", &major.to_string()),
    )
}

struct Scripts {
    world: World,
    dir: TempDir,
}

impl Scripts {
    fn new() -> Self {
        let scripts = Scripts { world: world(), dir: tempfile::tempdir().unwrap() };
        scripts.write("common", COMMON);
        scripts
    }

    fn two_releases() -> Self {
        let scripts = Self::new();
        let nine =
            release(9, ["9.7", "9.6", "-RC2"], ["9.8", "9.7", "-beta"], "MODS=(AppStream CRB)");
        let ten =
            release(10, ["10.1", "10.0", "-RC1"], ["10.2", "10.1", "-BETA"], "declare -A MODS=()");
        scripts.write("common_9", &nine);
        scripts.write("common_10", &ten);
        scripts
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }

    fn import(&self) -> Run {
        let mut command = self.world.command();
        // Nothing of the caller's environment may get in.
        command.env("RLVER", "8").env("REVISION", "1.1").env("BASH_ENV", "/no/such/file");
        Run::of(command.args(["config", "import"]).arg(self.dir.path()).arg("--run"))
    }

    /// Runs cairn with the configuration that was imported.
    fn with(&self, text: &str, args: &[&str]) -> Run {
        self.world.set_config(text);
        self.world.cairn(args)
    }
}

#[test]
fn what_the_scripts_say_is_what_the_configuration_says() {
    let scripts = Scripts::two_releases();
    let run = scripts.import().ok();
    let text = run.out();
    for line in [
        "root = \"/mnt/compose\"",
        "path = \"{root}/{major}{compose_suffix}/latest-{compose}-{major}\"",
        "[mounts.staging]\npath = \"/mnt/repos-staging\"\nowner = \"10004:10005\"",
        "[mounts.production]\npath = \"/mnt/repos-production\"\nowner = \"10004:10005\"",
        "rocky = { pub = \"mirror/pub/rocky\", vault = \"mirror/vault/rocky\" }",
        "sig = { pub = \"mirror/pub/sig\", vault = \"mirror/vault/sig\" }",
        "iso_variants = [\"boot\", \"minimal\", \"dvd1\", \"dvd\"]",
        "nonrepo_dirs = [\"Minimal\", \"Cloud\"]",
        "update_exclude = [\"ppc\", \"images\", \".treeinfo\"]",
        "# command = [\"/root/bin/sign-repo-{major}.sh\", \"{file}\"]",
        "[release.9]\narches = [\"x86_64\", \"aarch64\"]\ncomposes = [\"Rocky\", \"Extras\", \"Rocky-devel\"]",
        "modules = [\"AppStream\", \"CRB\"] }",
        "modules = [] }",
        "links = { devel = \"Devel\", nfv = \"NFV\" }",
        "sigs = { kernel = \"kernel/kernel\", kmod = \"kernel/kmod\" }",
        "channel.stable = { version = \"9.7\", previous = \"9.6\", staging_suffix = \"-RC2\", compose_suffix = \"\" }",
        "channel.beta = { version = \"10.2\", previous = \"10.1\", staging_suffix = \"-BETA\", compose_suffix = \"-BETA\" }",
        "channel.lookahead = { version = \"9.8\", previous = \"9.7\", staging_suffix = \"-LookAhead\", compose_suffix = \"-LookAhead\" }",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("some talk") && !text.contains("Not translated"), "{text}");
    assert_eq!(run.err(), "");
    // It is a configuration, of exactly these releases, in which names lead where they led.
    scripts.with(&text, &["config", "check"]).ok();
    let shown = scripts.with(&text, &["config", "show"]).ok().out();
    assert!(shown.contains("[release.9.channel.lookahead]") && !shown.contains("[release.8]"));
    let line = ["toolkit", "--print", "RLVER=10", "RLREL=lh", "sync-to-staging.sh", "Rocky"];
    let printed = scripts.with(&text, &line).ok().out();
    assert!(printed.contains(" ingest /mnt/compose/10-LookAhead/latest-Rocky-10 "), "{printed}");

    let run = Run::of(
        scripts
            .world
            .command()
            .args(["--json", "config", "import"])
            .arg(scripts.dir.path())
            .arg("--run"),
    );
    let document = run.ok().json();
    assert_eq!(document["schema"], "cairn.config-import/1");
    assert_eq!(
        (&document["toml"], document["problems"].as_array().unwrap().len()),
        (&text.into(), 0)
    );
}

#[test]
fn an_eleventh_release_and_a_sig_are_text_and_nothing_else() {
    let scripts = Scripts::two_releases();
    let text = scripts.import().ok().out();
    let more = format!(
        "{text}\n[release.11]\narches = [\"x86_64\"]\nsigs = {{ cloud = \"cloud/images\" }}\n\
         channel.stable = {{ version = \"11.0\" }}\nchannel.canary = {{ version = \"11.1\" }}\n"
    );
    scripts.with(&more, &["config", "check"]).ok();
    for (line, command) in [
        (&["RLVER=11", "sync-to-prod.sh"][..], "promote 11\n"),
        (&["RLVER=11", "RLREL=canary", "sign-repos-only.sh"], "sign 11-canary\n"),
        (&["RLVER=11", "sync-to-staging-sig.sh", "cloud"], "stage 11 --sig cloud\n"),
    ] {
        let args = [&["toolkit", "--print"], line].concat();
        let printed = scripts.with(&more, &args).ok().out();
        assert!(printed.ends_with(command), "{printed}");
    }
    let shown = scripts.with(&more, &["config", "show", "--origin"]).ok().out();
    let origin = |line: &&str| line.starts_with("arches = [\"x86_64\"]  # ");
    assert!(shown.lines().any(|line| origin(&line) && line.contains("cairn.toml:")), "{shown}");
    assert!(shown.contains("accumulate = false  # default"), "{shown}");
}

#[test]
fn what_cannot_be_said_is_told() {
    let scripts = Scripts::two_releases();
    let nine =
        release(9, ["9.7", "9.6", "-RC2"], ["9.8", "9.7", "-beta"], "MODS=(AppStream Nowhere)");
    scripts.write(
        "common_9",
        &format!("{nine}\nSIGNER=\"a$'b\"\nALL_REPOS=(one)\nSTAGING_ROOT=/mnt/other\n"),
    );
    scripts.write("common", &format!("{COMMON}\nfalse\n"));
    let run = scripts.import().exits(3);
    for line in [
        "unknown: SIGNER",
        "ALL_REPOS is not",
        "STAGING_ROOT of channel stable",
        "ended with status 1",
        "to be mended: cairn.toml:",
        "repo \"Nowhere\" has modules, but is not a repo of release 9",
    ] {
        let said = run.err().contains(line) || run.out().contains(line);
        assert!(said, "{line}\n{}", run.report());
    }
    assert!(run.out().contains("# Not translated:\n# * "), "{}", run.report());

    // The scripts as they were when betas had no directory of their own.
    let scripts = Scripts::two_releases();
    let old = |text: String| {
        text.replace(
            "${MAJOR}${COMPOSE_APPEND}/latest-${SHORT}-${MAJOR}",
            "${MAJOR}/latest-${SHORT}-${MAJOR}${COMPOSE_APPEND}",
        )
    };
    for name in ["common_9", "common_10"] {
        let path = scripts.dir.path().join(name);
        let text = old(fs::read_to_string(&path).unwrap());
        scripts.write(name, &text);
    }
    let text = scripts.import().ok().out();
    assert!(
        text.contains("path = \"{root}/{major}/latest-{compose}-{major}{compose_suffix}\""),
        "{text}"
    );

    // A release with one channel: the others say the same, or fail.
    let scripts = Scripts::new();
    let one = "[ \"$RLREL\" = lh ] && exit 1\nREVISION=8.10\nMAJOR=8\nAPPEND_TO_DIR=-RC1\nARCHES=(x86_64)\n";
    scripts.write("common_8", one);
    let text = scripts.import().ok().out();
    assert!(text.contains("channel beta is the same as stable"), "{text}");
    assert!(text.contains("no channel lookahead"), "{text}");
    assert!(!text.contains("channel.beta"), "{text}");
    scripts.with(&text, &["config", "check"]).ok();
}

#[test]
fn nothing_is_run_unless_it_is_asked_for_and_safe() {
    let scripts = Scripts::two_releases();
    let proof = scripts.dir.path().join("was-run");
    let trap = format!("{COMMON}\ntouch '{}'\n", proof.display());
    scripts.write("common", &trap);
    let dir = scripts.dir.path().to_str().unwrap();
    let run = scripts.world.cairn(["config", "import", dir]).exits(2);
    assert!(run.err().contains("--run") && run.err().contains("are programs"), "{}", run.report());
    assert!(!proof.exists());
    // Whoever can write to it decides what is run.
    for (path, mode, safe) in
        [("common_9", 0o666, 0o644), ("common", 0o646, 0o644), ("", 0o777, 0o755)]
    {
        let path = scripts.dir.path().join(path);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let run = scripts.import().exits(1);
        assert!(
            run.err().contains("everybody can write") && run.err().contains("chmod o-w"),
            "{}",
            run.report()
        );
        assert!(!proof.exists(), "{}", path.display());
        fs::set_permissions(&path, fs::Permissions::from_mode(safe)).unwrap();
    }
    scripts.import().ok();
    assert!(proof.exists());
}

#[test]
fn files_that_fail_hang_or_never_stop_are_named() {
    let refused = |scripts: &Scripts, said: &[&str]| {
        let run = scripts.import().exits(1);
        assert_eq!(run.out(), "", "{}", run.report());
        for part in said {
            assert!(run.err().contains(part), "{part}\n{}", run.report());
        }
        assert!(!run.err().contains("panicked"), "{}", run.report());
    };
    let scripts = Scripts::new();
    refused(&scripts, &["common_8, common_9"]);
    let nowhere = scripts.world.cairn(["config", "import", "/no/such/dir", "--run"]).exits(1);
    assert!(nowhere.err().contains("/no/such/dir"), "{}", nowhere.report());

    scripts.write("common_9", "exit 3\n");
    refused(&scripts, &["RLVER=9 RLREL=stable", "exit code 3"]);
    scripts.write("common_9", "REVISION=\n");
    refused(&scripts, &["none of the releases"]);
    scripts.write("common_9", "REVISION=(\n");
    refused(&scripts, &["Could not source common_9"]);
    scripts.write("common_9", "kill -9 $$\n");
    refused(&scripts, &["killed by signal 9"]);
    scripts.write("common_9", "exec 1>&-\n");
    scripts.import().exits(1);
    // A value of a few megabytes, and a file that asks a question.
    scripts.write("common_9", "REVISION=$(printf '%3000000s' x)\n");
    refused(&scripts, &["more than 1048576 bytes"]);
    scripts.write("common_9", "read -r REVISION\nMAJOR=9\n");
    refused(&scripts, &["none of the releases"]);
    fs::remove_file(scripts.dir.path().join("common")).unwrap();
    refused(&scripts, &["common: there is no such file"]);
    fs::create_dir(scripts.dir.path().join("common")).unwrap();
    refused(&scripts, &["common: it is not a file"]);
}

#[test]
fn a_file_that_hangs_is_ended_with_all_that_it_started() {
    let scripts = Scripts::new();
    let pid = scripts.dir.path().join("pid");
    scripts.write("common_9", &format!("sleep 600 & echo $! > '{}'\nwait\n", pid.display()));
    let run = scripts.import().exits(1);
    assert!(run.err().contains("did not end within 10 s"), "{}", run.report());
    let stat = Path::new("/proc").join(fs::read_to_string(pid).unwrap().trim()).join("stat");
    // Killed it is at once; when it is reaped is its new parent's affair.
    let gone = || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
    let deadline = Instant::now() + Duration::from_secs(30);
    while !gone() {
        assert!(Instant::now() < deadline, "the sleep was left");
        std::thread::sleep(Duration::from_millis(10));
    }
}
