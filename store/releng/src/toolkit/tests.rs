//! Every script and every line of the procedure, by the commands that they become.

use std::path::Path;

use super::*;

const MODEL: &str = include_str!("../../../../docs/cairn.example.toml");

fn model() -> Config {
    let text = MODEL.replacen(
        "sigs = { kernel = \"kernel/kernel\", kmod = \"kernel/kmod\" }",
        "sigs = { kernel = \"kernel/kernel\", kmod = \"kernel/kmod\", gluster9 = \"storage/gluster9\" }",
        1,
    );
    Config::parse(&text, Path::new("c.toml")).unwrap()
}

/// Reads a line as a shell would: assignments before the command are its environment.
fn call(line: &str) -> Result<Call, ToolkitError> {
    let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let mut environment = Variables::default();
    while let Some((name, value)) = words.first().and_then(|word| word.split_once('=')) {
        match name {
            "RLVER" => environment.version = Some(value.to_owned()),
            "RLREL" => environment.channel = Some(value.to_owned()),
            _ => panic!("{line}"),
        }
        words.remove(0);
    }
    Call::read(&words, &environment)
}

fn job(line: &str) -> Result<Job, ToolkitError> {
    translate(&model(), &call(line)?)
}

#[track_caller]
fn becomes(line: &str, commands: &[&str]) {
    let job = job(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let shown: Vec<String> = job.commands.iter().map(|command| shown(command)).collect();
    assert_eq!(shown, commands, "{line}");
}

/// Each printed line of both pages, and each script, with what it becomes.
#[rustfmt::skip]
const LINES: &[(&str, &[&str])] = &[
    ("RLVER=8 bash sync-to-staging.sh Rocky", &[
        "cairn ingest /mnt/compose/8/latest-Rocky-8 --as compose/8/Rocky", "cairn stage 8 Rocky"]),
    ("RLVER=8 bash sync-to-staging.sh Rocky-devel", &[
        "cairn ingest /mnt/compose/8/latest-Rocky-devel-8 --as compose/8/Rocky-devel", "cairn stage 8 Rocky-devel"]),
    ("RLVER=8 bash sync-to-staging.sh Extras", &[
        "cairn ingest /mnt/compose/8/latest-Extras-8 --as compose/8/Extras", "cairn stage 8 Extras"]),
    ("RLVER=8 bash sync-to-staging.sh NFV", &[
        "cairn ingest /mnt/compose/8/latest-NFV-8 --as compose/8/NFV", "cairn stage 8 NFV"]),
    ("RLVER=8 bash sync-to-staging.sh Plus", &[
        "cairn ingest /mnt/compose/8/latest-Plus-8 --as compose/8/Plus", "cairn stage 8 Plus"]),
    ("RLVER=8 bash sync-to-staging.sh gluster9 storage", &[
        "cairn ingest /mnt/compose/8/latest-SIG-gluster9-8 --as compose/8/SIG-gluster9", "cairn stage 8 --sig gluster9"]),
    ("bash prep-staging-8.sh", &["cairn sign 8", "cairn check staging/8.10-RC2 repodata"]),
    ("bash RLVER=8 sync-to-prod.sh", &["cairn promote 8"]),
    ("RLVER=9 bash sync-to-prod.delete.sh", &["cairn promote 9 --delete"]),
    ("RLVER=9 bash sync-to-staging.delete.sh Rocky", &[
        "cairn ingest /mnt/compose/9/latest-Rocky-9 --as compose/9/Rocky", "cairn stage 9 Rocky --delete"]),
    ("RLVER=9 RLREL=beta bash sync-to-staging.sh Rocky", &[
        "cairn ingest /mnt/compose/9-beta/latest-Rocky-9 --as compose/9-beta/Rocky", "cairn stage 9-beta Rocky"]),
    ("RLVER=10 RLREL=lookahead bash sync-to-staging.delete.sh Rocky", &[
        "cairn ingest /mnt/compose/10-LookAhead/latest-Rocky-10 --as compose/10-lookahead/Rocky",
        "cairn stage 10-lookahead Rocky --delete"]),
    ("RLVER=10 RLREL=lh bash sync-to-staging.delete.sh Rocky", &[
        "cairn ingest /mnt/compose/10-LookAhead/latest-Rocky-10 --as compose/10-lookahead/Rocky",
        "cairn stage 10-lookahead Rocky --delete"]),
    ("RLVER=9 bash sync-to-staging-sig.sh kmod kernel", &[
        "cairn ingest /mnt/compose/9/latest-SIG-kmod-9 --as compose/9/SIG-kmod", "cairn stage 9 --sig kmod"]),
    ("RLVER=9 bash sync-to-staging-sig.sh kmod", &[
        "cairn ingest /mnt/compose/9/latest-SIG-kmod-9 --as compose/9/SIG-kmod", "cairn stage 9 --sig kmod"]),
    ("bash prep-staging-9.sh", &["cairn sign 9", "cairn check staging/9.7-RC2 repodata"]),
    ("RLREL=beta bash prep-staging-10.sh", &["cairn sign 10-beta", "cairn check staging/10.2-BETA repodata"]),
    ("RLVER=9 bash prep-staging-9.sh", &["cairn sign 9", "cairn check staging/9.7-RC2 repodata"]),
    ("RLVER=8 bash sign-repos-only.sh", &["cairn sign 8"]),
    ("RLVER=9 bash minor-release-sync-to-staging.sh", &[
        "cairn ingest /mnt/compose/9/latest-Rocky-9 --as compose/9/Rocky",
        "cairn ingest /mnt/compose/9/latest-Extras-9 --as compose/9/Extras",
        "cairn ingest /mnt/compose/9/latest-Rocky-devel-9 --as compose/9/Rocky-devel",
        "cairn minor 9"]),
    ("RLVER=9 bash beta-release-sync-to-staging.sh", &[
        "cairn ingest /mnt/compose/9-beta/latest-Rocky-9 --as compose/9-beta/Rocky",
        "cairn ingest /mnt/compose/9-beta/latest-Extras-9 --as compose/9-beta/Extras",
        "cairn ingest /mnt/compose/9-beta/latest-Rocky-devel-9 --as compose/9-beta/Rocky-devel",
        "cairn minor 9-beta"]),
    ("RLVER=8 RLREL=lh bash lh-release-sync-to-staging.sh", &[
        "cairn ingest /mnt/compose/8-LookAhead/latest-Rocky-8 --as compose/8-lookahead/Rocky",
        "cairn ingest /mnt/compose/8-LookAhead/latest-Extras-8 --as compose/8-lookahead/Extras",
        "cairn ingest /mnt/compose/8-LookAhead/latest-Rocky-devel-8 --as compose/8-lookahead/Rocky-devel",
        "cairn minor 8-lookahead"]),
    ("RLVER=9 bash gen-torrents.sh", &["cairn torrents 9"]),
    ("RLVER=9 bash sync-to-prod.sh", &["cairn promote 9"]),
    ("RLVER=9 bash sync-to-prod-dry.sh", &["cairn promote 9 --dry-run"]),
    ("bash sync-to-prod-all.sh", &["cairn promote 8 9 10"]),
    ("RLVER=9 bash sync-to-prod-sig.sh", &["cairn promote 9 --all-sigs"]),
    ("RLVER=8 bash sync-to-prod-sig.sh", &["cairn promote 8 --all-sigs"]),
    ("RLVER=8 bash sync-to-prod-sig.sh gluster9 storage", &["cairn promote 8 --sig gluster9"]),
    ("RLVER=9 bash vault-release.sh", &["cairn vault 9.7"]),
    ("RLVER=9 bash vault-release-no-repodata.sh", &["cairn vault 9.7 --no-repodata"]),
    ("RLVER=9 bash vault-sig.sh", &["cairn vault 9.6 --all-sigs"]),
    // What is refused, the verbs refuse.
    ("RLVER=9 RLREL=lookahead bash sync-to-prod.sh", &["cairn promote 9-lookahead"]),
    ("RLVER=9 RLREL=beta bash vault-release.sh", &["cairn vault 9-beta"]),
    ("RLVER=9 RLREL=beta bash vault-sig.sh", &["cairn vault 9-beta"]),
    ("bash sync-file-list-parallel.sh", &["cairn lists"]),
    ("bash sync-full-file-list.sh", &["cairn lists"]),
    ("bash sync-root-file-list.sh", &["cairn lists production"]),
    ("bash sync-sig-file-list.sh", &["cairn lists production/mirror/pub/sig"]),
    ("bash sync-file-list-vault.sh", &["cairn lists production/mirror/vault"]),
];

#[test]
fn every_line_of_the_procedure_becomes_its_commands() {
    for (line, commands) in LINES {
        becomes(line, commands);
    }
}

#[test]
fn every_script_has_a_line_here_and_a_shim() {
    let shims = shims(&model());
    for script in SCRIPTS {
        let name = script.name.replacen("-N.", "-9.", 1);
        assert!(LINES.iter().any(|(line, _)| line.contains(&format!(" {name}"))), "{name}");
        assert!(shims.contains(&name), "{name}");
    }
    for name in ["prep-staging-8.sh", "prep-staging-10.sh", "RLVER=8", "RLVER=10", "RLREL=lh"] {
        assert!(shims.iter().any(|shim| shim == name), "{name}");
    }
    for name in ["RLREL=beta", "RLREL=lookahead", "RLREL=stable"] {
        assert!(shims.iter().any(|shim| shim == name), "{name}");
    }
    assert!(!shims.iter().any(|shim| shim.contains("-N.")), "{shims:?}");
}

#[test]
fn variables_may_stand_anywhere_and_must_agree() {
    for line in [
        "RLVER=9 sync-to-prod.sh",
        "bash RLVER=9 sync-to-prod.sh",
        "bash RLVER=9 RLREL=stable sync-to-prod.sh",
        "RLVER=9 bash RLVER=9 sync-to-prod.sh",
        "bash sync-to-prod.sh RLVER=9",
        "RLVER=9 bash /root/toolkit/sync/sync-to-prod.sh",
    ] {
        becomes(line, &["cairn promote 9"]);
    }
    let error = job("RLVER=9 bash RLVER=8 sync-to-prod.sh").unwrap_err();
    assert_eq!(error.to_string(), "RLVER is \"8\" in the line and \"9\" in the environment");
    let error = job("RLVER=9 bash prep-staging-8.sh").unwrap_err();
    assert_eq!(error.to_string(), "RLVER is \"9\" where it is set and \"8\" in the script's name");
    let error = job("RLVER=9 RLREL=lh bash beta-release-sync-to-staging.sh").unwrap_err();
    assert_eq!(
        error.to_string(),
        "RLREL is \"lh\" where it is set and \"beta\" in the script's name"
    );
}

#[test]
fn what_means_nothing_is_an_error_that_says_what_would() {
    #[rustfmt::skip]
    let cases = [
        ("bash sync-to-prod.sh", "RLVER is not set", "RLVER=8 bash sync-to-prod.sh; configured: 8, 9, 10"),
        ("RLVER= bash sync-to-prod.sh", "RLVER is set and empty", "give RLVER a value"),
        ("RLVER=9 RLREL= bash sync-to-prod.sh", "RLREL is set and empty", "unset it"),
        ("RLVER=7 bash sync-to-prod.sh", "unknown release \"7\"; known: 8, ", "cairn config show"),
        ("RLVER=9-beta bash sync-to-prod.sh", "unknown release \"9-beta-\"", "cairn config show"),
        ("RLVER=9.7 bash sync-to-prod.sh", "unknown release \"9.7\"", ""),
        ("RLVER=9 RLREL=lookahed bash sync-to-prod.sh", "unknown release \"9-lookahed\"", ""),
        ("RLVER=9 RLREL=Beta bash sync-to-prod.sh", "unknown release \"9-Beta\"", ""),
        ("RLREL=gamma bash sync-to-prod-all.sh", "unknown release \"8-gamma\"", ""),
        ("RLVER=9 bash sync-to-pord.sh", "unknown script \"sync-to-pord.sh\"", "did you mean sync-to-prod.sh?"),
        ("RLVER=9 bash prep-staging-7.sh", "unknown script \"prep-staging-7.sh\"", "did you mean prep-staging-8.sh?"),
        ("RLVER=9 bash prep-staging-N.sh", "unknown script \"prep-staging-N.sh\"", "did you mean"),
        ("RLVER=9 bash symlink-images-and-checksum.sh", "unknown script", "cairn minor RELEASE makes"),
        ("RLVER=9 bash sync-to-staging.sh", "0 arguments were given", "sync-to-staging.sh COMPOSE [SIG]"),
        ("RLVER=9 bash sync-to-prod.sh Rocky", "1 argument was given", "it is called as: sync-to-prod.sh"),
        ("RLVER=9 bash sync-to-staging.delete.sh a b", "2 arguments", "COMPOSE"),
        ("RLVER=9 bash sync-to-staging.sh ../../etc", "\"../../etc\" is not a name", ""),
        ("RLVER=9 bash sync-to-staging.sh gluster9 storage", "unknown sig \"gluster9\"; known: kernel, kmod", "sigs = { gluster9 = \"SIG/PROJECT\" }"),
        ("RLVER=9 bash sync-to-staging.sh kmod storage", "is of the SIG \"kernel\", not \"storage\"", "write kernel"),
        ("RLVER=8 bash sync-to-staging-sig.sh storage", "unknown sig \"storage\"; known: gluster9", ""),
        ("RLVER=9 RLREL=beta bash sync-to-prod-sig.sh kernel", "channel beta has no sigs", ""),
        ("RLVER=8 bash sync-to-staging.delete.sh Rocky", "keeps every build of a point release", "cairn stage 8 Rocky --delete"),
        ("RLVER=9", "no script is named", "sync-to-prod.sh"),
        ("RLVER=9 bash /", "no script is named", ""),
    ];
    for (line, message, hint) in cases {
        let error = job(line).err().unwrap_or_else(|| panic!("{line}"));
        assert!(error.to_string().contains(message), "{line}: {error}");
        assert!(error.hint().contains(hint), "{line}: {}", error.hint());
    }
}

#[test]
fn a_new_release_and_a_new_sig_are_configuration_and_nothing_else() {
    let eleven = "[release.11]\nsigs = { cloud = \"cloud/images\" }\n\
                  channel.stable = { version = \"11.0\" }\nchannel.canary = { version = \"11.1\" }\n";
    let config = Config::parse(&format!("{MODEL}\n{eleven}"), Path::new("c.toml")).unwrap();
    let shown = |line: &str| {
        let job = translate(&config, &call(line).unwrap()).unwrap();
        job.commands.iter().map(|command| super::shown(command)).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(
        shown("RLVER=11 RLREL=canary bash sync-to-staging.sh Rocky"),
        "cairn ingest /mnt/compose/11-canary/latest-Rocky-11 --as compose/11-canary/Rocky; \
         cairn stage 11-canary Rocky"
    );
    assert_eq!(
        shown("RLVER=11 bash sync-to-staging-sig.sh cloud"),
        "cairn ingest /mnt/compose/11/latest-SIG-cloud-11 --as compose/11/SIG-cloud; \
         cairn stage 11 --sig cloud"
    );
    assert_eq!(shown("bash sync-to-prod-all.sh"), "cairn promote 8 9 10 11");
    let shims = shims(&config);
    for name in ["prep-staging-11.sh", "RLVER=11", "RLREL=canary"] {
        assert!(shims.iter().any(|shim| shim == name), "{name}");
    }
}

#[test]
fn notes_say_what_does_not_matter() {
    assert!(job("RLVER=9 bash sync-to-prod-all.sh").unwrap().notes[0].contains("all releases"));
    assert!(job("RLVER=9 bash sync-file-list-parallel.sh").unwrap().notes[0].contains("RLVER"));
    let none =
        MODEL.replace("sigs = { kernel = \"kernel/kernel\", kmod = \"kernel/kmod\" }", "sigs = {}");
    let config = Config::parse(&none, Path::new("c.toml")).unwrap();
    let job = translate(&config, &call("RLVER=9 bash sync-to-prod-sig.sh").unwrap()).unwrap();
    assert_eq!(
        (job.commands.len(), job.notes[0].as_str()),
        (0, "Release 9 has no SIGs, so there is nothing to do.")
    );
}

#[test]
fn without_signatures_preparing_is_checking() {
    let start = MODEL.find("\n[sign]\n").unwrap();
    let end = MODEL.find("\n[keep]\n").unwrap();
    let unsigned = format!("{}{}", &MODEL[..start], &MODEL[end..]).replace("\"signatures\", ", "");
    let config = Config::parse(&unsigned, Path::new("c.toml")).unwrap();
    let job = translate(&config, &call("bash prep-staging-8.sh").unwrap()).unwrap();
    assert_eq!(job.commands, [words(["check", "staging/8.10-RC2", "repodata"])]);
}

#[test]
fn a_shim_has_three_lines_and_quotes_its_paths() {
    let text = shim(Path::new("/opt/it's/cairn"), Path::new("/etc/cairn/cairn.toml"), "RLVER=8");
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "#!/bin/sh\n# cairn toolkit: RLVER=8\n\
         exec '/opt/it'\\''s/cairn' --config /etc/cairn/cairn.toml toolkit RLVER=8 \"$@\"\n"
    );
    assert_eq!(
        shown(&words(["promote", "9", "-m", "a 'reason'", ""])),
        "cairn promote 9 -m 'a '\\''reason'\\''' ''"
    );
}
