//! `no-downgrade` and `no-loss`.

use super::*;

/// What is tested here.
pub(super) const RULES: &[&str] = &[
    "downgraded",
    "package-lost",
    "package-moved",
    "repo-lost",
    "not-compared",
    "old-not-compared",
];

#[test]
fn packages_may_not_go_back_or_vanish() {
    type Repos = &'static [(&'static str, &'static [&'static str])];
    type Case = (&'static str, Repos, Repos, &'static [(&'static str, &'static str)]);
    const ZSH_9: &str = "zsh-9.0-1.el9.x86_64";
    const CASES: &[Case] = &[
        ("nothing changes", &[("a", &[BASH])], &[("a", &[BASH])], &[]),
        ("a newer one", &[("a", &[ZSH])], &[("a", &[ZSH_9])], &[]),
        ("a newer one beside it", &[("a", &[ZSH])], &[("a", &[ZSH, ZSH_9])], &[]),
        ("an older one", &[("a", &[ZSH_9])], &[("a", &[ZSH])], &[("no-downgrade", "downgraded")]),
        (
            "the newer one withdrawn",
            &[("a", &[ZSH, ZSH_9])],
            &[("a", &[ZSH])],
            &[("no-downgrade", "downgraded")],
        ),
        ("an older one tidied away", &[("a", &[ZSH, ZSH_9])], &[("a", &[ZSH_9])], &[]),
        (
            "one that vanishes",
            &[("a", &[BASH, ZSH])],
            &[("a", &[BASH])],
            &[("no-loss", "package-lost")],
        ),
        (
            "in both its versions",
            &[("a", &[BASH, ZSH, ZSH_9])],
            &[("a", &[BASH])],
            &[("no-loss", "package-lost")],
        ),
        (
            "one that moves",
            &[("a", &[BASH, ZSH]), ("b", &[VIM])],
            &[("a", &[BASH]), ("b", &[VIM, ZSH])],
            &[("no-loss", "package-moved")],
        ),
        (
            "a repo that vanishes",
            &[("a", &[BASH]), ("b", &[VIM])],
            &[("a", &[BASH])],
            &[("no-loss", "repo-lost")],
        ),
    ];
    let world = World::new();
    let judge = |old: &Files, new: &Files| {
        let draft = Draft::new(&world.site.store);
        let [old, new] = [old, new].map(|files| world.tree(&draft, files));
        let mut found = all(world.judge(&draft, Some(old), new, Mode::Apply));
        found.retain(|finding| finding.gate.starts_with("no-"));
        found
    };
    for (label, old, new, expected) in CASES {
        let found = judge(&repos(old), &repos(new));
        let found: Vec<_> = found.iter().map(|finding| (finding.gate, finding.rule)).collect();
        assert_eq!(found, *expected, "{label}");
    }
    // What cannot be compared: a fault of the new side, not of the old one.
    let sound = repos(&[("a", &[BASH])]);
    let mut broken = sound.clone();
    broken.insert("a/repodata/primary.xml.gz".into(), b"x".to_vec());
    broken.insert("a/repodata/repomd.xml".into(), b"x".to_vec());
    for (old, new, rule) in
        [(&sound, &broken, "not-compared"), (&broken, &sound, "old-not-compared")]
    {
        let found = judge(old, new);
        let found: Vec<_> = found.iter().map(|finding| (finding.gate, finding.rule)).collect();
        assert_eq!(found, [("no-downgrade", rule), ("no-loss", rule), ("no-rebuild", rule)]);
    }
}
