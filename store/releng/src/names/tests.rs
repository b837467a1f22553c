//! The scheme of names, both ways, for every release of the model configuration.

use std::path::Path;

use super::*;
use crate::config::SignBy;

const MODEL: &str = include_str!("../../../../docs/cairn.example.toml");

fn config(text: &str) -> Config {
    Config::parse(text, Path::new("c.toml")).unwrap()
}

#[test]
fn releases_have_their_names() {
    let config = config(MODEL);
    #[rustfmt::skip]
    let cases = [
        ("8", "8", "stable", "staging/8.10-RC2", "production/8.10", "compose/8/Rocky", "/mnt/compose/8/latest-Rocky-8"),
        ("8-beta", "8-beta", "beta", "staging/8.10-BETA", "", "compose/8-beta/Rocky", "/mnt/compose/8-BETA/latest-Rocky-8"),
        ("9", "9", "stable", "staging/9.7-RC2", "production/9.7", "compose/9/Rocky", "/mnt/compose/9/latest-Rocky-9"),
        ("9-stable", "9", "stable", "staging/9.7-RC2", "production/9.7", "compose/9/Rocky", "/mnt/compose/9/latest-Rocky-9"),
        ("9-beta", "9-beta", "beta", "staging/9.8-beta", "", "compose/9-beta/Rocky", "/mnt/compose/9-beta/latest-Rocky-9"),
        ("9-lookahead", "9-lookahead", "lookahead", "staging/9.8-LookAhead", "", "compose/9-lookahead/Rocky", "/mnt/compose/9-LookAhead/latest-Rocky-9"),
        ("9-lh", "9-lookahead", "lookahead", "staging/9.8-LookAhead", "", "compose/9-lookahead/Rocky", "/mnt/compose/9-LookAhead/latest-Rocky-9"),
        ("10", "10", "stable", "staging/10.1-RC1", "production/10.1", "compose/10/Rocky", "/mnt/compose/10/latest-Rocky-10"),
    ];
    for (text, name, channel, staging, production, compose, path) in cases {
        let release = config.release(text).unwrap();
        assert_eq!(release.name(), name);
        assert_eq!(release.channel().name, channel, "{text}");
        assert_eq!(release.staging_ref(), staging);
        assert_eq!(release.production_ref().unwrap_or_default(), production);
        assert_eq!(release.compose_ref("Rocky").unwrap(), compose);
        assert_eq!(release.compose_path("Rocky").unwrap(), path);
        assert_eq!(Release::parse(text, &config).unwrap().to_string(), name);
    }
}

#[test]
fn unknown_releases_are_refused_with_the_known_ones() {
    let config = config(MODEL);
    for text in ["", "7", "9-", "9-foo", "-beta", "09", "9.7", "9-BETA", "stable", "9-beta-x", "+9"]
    {
        let error = config.release(text).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "unknown release {text:?}; known: 8, 8-beta, 8-lookahead, 9, 9-beta, 9-lookahead, \
                 10, 10-beta, 10-lookahead"
            )
        );
    }
}

#[test]
fn beta_and_lookahead_never_get_to_production_or_vault() {
    let config = config(MODEL);
    for (text, channel) in [("9-beta", "beta"), ("9-lookahead", "lookahead")] {
        let release = config.release(text).unwrap();
        let refused = |environment| {
            let (release, channel) = (text.to_owned(), channel.to_owned());
            NameError::Refused { release, channel, environment }
        };
        assert_eq!(release.production_ref().unwrap_err(), refused(Environment::Production));
        assert_eq!(release.vault_ref().unwrap_err(), refused(Environment::Vault));
        let error = release.sig("kernel").unwrap_err().to_string();
        assert_eq!(error, format!("release {text}: channel {channel} has no sigs"));
        assert_eq!(release.sig_names(), [""; 0]);
    }
    let error = config.release("9-beta").unwrap().production_ref().unwrap_err().to_string();
    assert_eq!(error, "release 9-beta: channel beta never gets to production");
}

#[test]
fn versions_lead_to_the_production_channel() {
    let config = config(MODEL);
    for (text, name, version, vault) in [
        ("9", "9", "9.7", "vault/9.7"),
        ("9.6", "9", "9.6", "vault/9.6"),
        ("8.4", "8", "8.4", "vault/8.4"),
    ] {
        let (release, found) = config.release_at(text).unwrap();
        assert_eq!((release.name().as_str(), found.to_string().as_str()), (name, version));
        assert_eq!(release.vault_ref_of(found).unwrap(), vault);
    }
    assert!(matches!(config.release_at("7.9"), Err(NameError::UnknownRelease { .. })));
}

#[test]
fn composes_have_their_files() {
    let config = config(MODEL);
    let nine = config.release("9").unwrap();
    assert_eq!(
        nine.comps_path("Rocky", None, "x86_64", "BaseOS").unwrap(),
        "/mnt/compose/9/latest-Rocky-9/work/x86_64/comps/comps-BaseOS.x86_64.xml"
    );
    assert_eq!(
        nine.modules_path("Rocky", None, "aarch64", "CRB").unwrap(),
        "/mnt/compose/9_metadata/aarch64/CRB-modules.yaml"
    );
    assert_eq!(nine.compose_path("SIG-kernel").unwrap(), "/mnt/compose/9/latest-SIG-kernel-9");
    let comment = nine.expand(&config.torrent.comment, &[]).unwrap();
    assert_eq!(comment, "https://docs.rockylinux.org/release_notes/9_7/");
    let sign = config.sign.as_ref().unwrap();
    let SignBy::Command { command, .. } = &sign.by else { panic!() };
    let argument = nine.expand(&command[1], &[("file", "/t/repomd.xml")]).unwrap();
    assert_eq!(argument, "/t/repomd.xml");
    let error = nine.expand(&command[1], &[]).unwrap_err().to_string();
    assert_eq!(error, "template \"{file}\": no value for {file} here");
    for name in ["", "..", "a/b", "Rocky 9", "-x"] {
        assert_eq!(nine.compose_ref(name).unwrap_err(), NameError::BadName { name: name.into() });
    }
}

#[test]
fn sigs_are_found_by_compose_and_by_group() {
    let text = MODEL
        .replace("kmod = \"kernel/kmod\"", "gluster9 = \"storage/gluster/9\", cloud = \"cloud\"");
    let config = config(&text);
    let nine = config.release("9").unwrap();
    let kernel = nine.sig("kernel").unwrap();
    assert_eq!(kernel.sig, "kernel");
    assert_eq!(kernel.staging_ref, "staging/sig/9/kernel");
    assert_eq!(kernel.production_ref, "production/sig/9/kernel");
    assert_eq!(kernel.vault_ref, "vault/sig/9.7/kernel");
    assert_eq!(kernel.previous_vault_ref.as_deref(), Some("vault/sig/9.6/kernel"));
    assert_eq!(kernel.compose_ref(&nine, "kernel").unwrap(), "compose/9/SIG-kernel");
    let gluster = [("gluster9".to_owned(), "gluster/9".to_owned())];
    assert_eq!(nine.sig("gluster9").unwrap().composes, gluster);
    assert_eq!(nine.sig("storage").unwrap().composes, gluster);
    assert_eq!(nine.sig("storage").unwrap().staging_ref, "staging/sig/9/storage");
    assert_eq!(nine.sig("cloud").unwrap().composes, [("cloud".to_owned(), String::new())]);
    assert_eq!(nine.sig_names(), ["cloud", "kernel", "storage"]);
    assert_eq!(
        nine.sig("kernl").unwrap_err().to_string(),
        "release 9: unknown sig \"kernl\"; known: cloud, gluster9, kernel, storage"
    );
}

#[test]
fn refs_have_their_places() {
    let config = config(MODEL);
    let cases = [
        ("staging/9.7-RC2", "staging", "mirror/pub/rocky/9.7-RC2"),
        ("staging/9.6-RC1", "staging", "mirror/pub/rocky/9.6-RC1"),
        ("staging/9.8", "staging", "mirror/pub/rocky/9.8"),
        ("production/9.7", "production", "mirror/pub/rocky/9.7"),
        ("production/9.6", "production", "mirror/pub/rocky/9.6"),
        ("vault/9.6", "production", "mirror/vault/rocky/9.6"),
        ("staging/sig/9/kernel", "staging", "mirror/pub/sig/9/kernel"),
        ("production/sig/9/kernel", "production", "mirror/pub/sig/9/kernel"),
        ("production/sig/9/storage", "production", "mirror/pub/sig/9/storage"),
        ("vault/sig/9.6/kernel", "production", "mirror/vault/sig/9.6/kernel"),
    ];
    for (name, mount, path) in cases {
        let (ref_name, mount, path) = (name.to_owned(), mount.to_owned(), path.to_owned());
        assert_eq!(view_for_ref(&config, name), Some(ViewSpec { ref_name, mount, path }));
    }
    #[rustfmt::skip]
    let none = [
        "", "staging", "staging/", "production", "production/9", "production/9.7-RC2", "production/7.9",
        "production/9.7/x", "compose/9/Rocky", "vault/9", "staging/sig/9", "staging/sig/9.7/kernel",
        "vault/sig/9/kernel", "production/sig/7/kernel", "production/sig/9/..", "staging/9.7-RC2/..",
        "staging/9.7-a b", "testing/9.7", "production/09.7", "/production/9.7", "production//9.7",
    ];
    for name in none {
        assert_eq!(view_for_ref(&config, name), None, "{name}");
    }
}

#[test]
fn views_are_all_that_can_be_published() {
    let text = "[store]\npath = \"/s\"\n[mounts.staging]\npath = \"/st\"\n[mounts.production]\n\
                path = \"/pr\"\n[release.9]\nchannel.stable = { version = \"9.7\", previous = \"9.6\" }\n\
                channel.beta = { version = \"9.8\" }\n";
    let full = views(&config(text));
    let shown: Vec<String> =
        full.iter().map(|view| format!("{} {}:{}", view.ref_name, view.mount, view.path)).collect();
    assert_eq!(
        shown,
        [
            "production/9.7 production:mirror/pub/rocky/9.7",
            "production/sig/9/kernel production:mirror/pub/sig/9/kernel",
            "staging/9.7 staging:mirror/pub/rocky/9.7",
            "staging/9.8-beta staging:mirror/pub/rocky/9.8-beta",
            "staging/sig/9/kernel staging:mirror/pub/sig/9/kernel",
            "vault/9.6 production:mirror/vault/rocky/9.6",
            "vault/9.7 production:mirror/vault/rocky/9.7",
            "vault/sig/9.6/kernel production:mirror/vault/sig/9.6/kernel",
            "vault/sig/9.7/kernel production:mirror/vault/sig/9.7/kernel",
        ]
    );
    let config = config(&text.replace("[mounts.staging]\npath = \"/st\"\n", ""));
    assert!(views(&config).iter().all(|view| view.mount == "production"));
    assert_eq!(views(&config).len(), 6);
    for view in views(&config) {
        assert_eq!(view_for_ref(&config, &view.ref_name), Some(view));
    }
}

#[test]
fn composes_are_guessed_from_their_directory() {
    #[rustfmt::skip]
    let cases = [
        ("latest-Rocky-9", 9, None, None, "Rocky"),
        ("latest-Rocky-devel-10", 10, None, None, "Rocky-devel"),
        ("latest-SIG-kernel-9", 9, None, None, "SIG-kernel"),
        ("latest-SIG-gluster9-8", 8, None, None, "SIG-gluster9"),
        ("latest-SIG-kernel-6.1-9", 9, None, None, "SIG-kernel-6.1"),
        ("latest-Rocky-9-beta", 9, None, Some("beta"), "Rocky"),
        ("Rocky-9-updates-20251101.0", 9, None, None, "Rocky"),
        ("Rocky-9.7-20251120.1", 9, Some("9.7"), None, "Rocky"),
        ("Rocky-9.7-RC2-20251120.n.1", 9, Some("9.7"), None, "Rocky"),
        ("Rocky-devel-9-updates-20251101.0", 9, None, None, "Rocky-devel"),
        ("Extras-8-20251101", 8, None, None, "Extras"),
        ("SIG-kernel-9-20251101.0", 9, None, None, "SIG-kernel"),
        ("SIG-kernel-9-updates-20251101.t.12", 9, None, None, "SIG-kernel"),
        ("Rocky-9-beta-20251101.0", 9, None, Some("beta"), "Rocky"),
        ("Rocky-10.2-BETA-20251101.0", 10, Some("10.2"), Some("BETA"), "Rocky"),
        ("Rocky-9-LookAhead-updates-20251101.0", 9, None, Some("LookAhead"), "Rocky"),
    ];
    for (name, major, version, channel, short) in cases {
        let guess = ComposeGuess {
            major,
            version: version.map(|version| Version::parse(version).unwrap()),
            channel: channel.map(str::to_owned),
            short: short.to_owned(),
        };
        assert_eq!(guess_compose(name), Some(guess), "{name}");
    }
    for name in [
        "",
        "latest-",
        "latest-Rocky",
        "latest-9",
        "Rocky-9",
        "Rocky",
        "compose",
        "20251101.0",
        "9-20251101.0",
        "Rocky-9-wibble-20251101.0",
        "Rocky-9-beta-lh-20251101.0",
        "Rocky--9-20251101.0",
        "Rocky-9-20251101.x",
        "Rocky-9-2025110.0",
        "Rocky-0-20251101.0",
        "Rocky-99999-20251101.0",
        "../latest-Rocky-9",
        "Rocky-9-20251101.n.0.1",
        "Rocky-9-20251101.",
    ] {
        assert_eq!(guess_compose(name), None, "{name}");
    }
}

#[test]
fn compose_refs_are_guessed_from_paths() {
    let config = config(MODEL);
    let cases = [
        ("/mnt/compose/9/latest-Rocky-9", Some("compose/9/Rocky")),
        ("/mnt/compose/9/latest-Rocky-9/compose/", Some("compose/9/Rocky")),
        ("latest-SIG-kernel-9", Some("compose/9/SIG-kernel")),
        ("/mnt/compose/9-beta/latest-Rocky-9", Some("compose/9-beta/Rocky")),
        ("/mnt/compose/9-BETA/Rocky-9.8-20251101.0", Some("compose/9-beta/Rocky")),
        ("/mnt/compose/9-LookAhead/latest-Extras-9", Some("compose/9-lookahead/Extras")),
        ("/x/Rocky-9-lh-20251101.0", Some("compose/9-lookahead/Rocky")),
        ("/mnt/compose/9-beta/Rocky-9-lh-20251101.0", None),
        ("/mnt/compose/9-gamma/latest-Rocky-9", None),
        ("/mnt/compose/7/latest-Rocky-7", None),
        ("/mnt/compose/9/Rocky", None),
        ("compose", None),
        ("", None),
    ];
    for (path, expected) in cases {
        assert_eq!(guess_compose_ref(&config, path).as_deref(), expected, "{path}");
    }
}

#[test]
fn links_lead_to_the_tree_beside_them() {
    let config = config(MODEL);
    let of = |release: &str, environment| {
        let links = super::links(&config.release(release).unwrap(), environment).unwrap();
        links.into_iter().map(|link| (link.ref_name, link.target)).collect::<Vec<_>>()
    };
    let link = |name: &str, target: &str| {
        (format!("link/staging/mirror/pub/rocky/{name}"), target.to_owned())
    };
    use crate::config::Environment::{Production, Staging, Vault};
    assert_eq!(of("9", Staging), [link("latest-9", "9.7-RC2"), link("9.7", "9.7-RC2")]);
    assert_eq!(of("9-beta", Staging), [link("9-BETA", "9.8-beta")]);
    assert_eq!(of("10-lh", Staging), [link("10-LookAhead", "10.2-LookAhead")]);
    let link = |name: &str, target: &str| {
        (format!("link/production/mirror/pub/rocky/{name}"), target.to_owned())
    };
    assert_eq!(of("10", Production), [link("10", "10.1"), link("latest-10", "10.1")]);
    assert_eq!(of("9-beta", Production), []);
    assert_eq!(of("9", Vault), []);

    let place = "link/staging/mirror/pub/rocky/9.7";
    assert_eq!(link_of_ref(&config, place), Some(("staging", "mirror/pub/rocky/9.7")));
    for other in ["link/elsewhere/9", "link/staging", "linked/staging/9", "production/9.7"] {
        assert_eq!(link_of_ref(&config, other), None, "{other}");
    }
    let ours = |target| leads_to_a_release(&config, "production", "mirror/pub/rocky/9", target);
    assert!(ours("9.6") && ours("9.7"));
    for other in ["..", "/srv/9.6", "../rocky/9.6", "keep", "9", "99.1", "9.6/", ""] {
        assert!(!ours(other), "{other}");
    }
    let deep = |target| leads_to_a_release(&config, "production", "elsewhere/9", target);
    assert!(!deep("9.6"));
}

#[test]
fn a_release_that_is_called_by_its_version_has_no_link_to_itself() {
    let text = MODEL.replace(
        "version = \"9.7\", previous = \"9.6\", staging_suffix = \"-RC2\"",
        "version = \"9.7\", previous = \"9.6\"",
    );
    let config = config(&text);
    let links = super::links(&config.release("9").unwrap(), crate::config::Environment::Staging);
    let names: Vec<_> = links.unwrap().into_iter().map(|link| link.path).collect();
    assert_eq!(names, ["mirror/pub/rocky/latest-9"]);
}
