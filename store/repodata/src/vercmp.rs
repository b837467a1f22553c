//! Versions and package names, compared as rpm compares them.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Compares two version or release strings as rpm does.
///
/// Segments of digits compare as numbers and those of letters as text, digits beat letters, and
/// anything else only separates. `~` sorts before everything, even the end (pre-releases); `^`
/// sorts after the end but before any further segment (snapshots).
///
/// ```
/// use cairn_repodata::rpmvercmp;
/// assert!(rpmvercmp("1.10", "1.9").is_gt());
/// assert!(rpmvercmp("1.0~rc1", "1.0").is_lt());
/// assert!(rpmvercmp("1.0^git1", "1.0").is_gt());
/// ```
pub fn rpmvercmp(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        a = skip_separators(a);
        b = skip_separators(b);
        match (a.first(), b.first()) {
            (Some(b'~'), Some(b'~')) => {}
            (Some(b'~'), _) => return Ordering::Less,
            (_, Some(b'~')) => return Ordering::Greater,
            (Some(b'^'), Some(b'^')) => {}
            // A caret beats the end of the other and loses to anything else.
            (Some(b'^'), None) => return Ordering::Greater,
            (None, Some(b'^')) => return Ordering::Less,
            (Some(b'^'), Some(_)) => return Ordering::Less,
            (Some(_), Some(b'^')) => return Ordering::Greater,
            (None, None) => return Ordering::Equal,
            (Some(_), None) => return Ordering::Greater,
            (None, Some(_)) => return Ordering::Less,
            (Some(first), Some(second)) => {
                let order = match (first.is_ascii_digit(), second.is_ascii_digit()) {
                    (true, false) => return Ordering::Greater,
                    (false, true) => return Ordering::Less,
                    (true, true) => {
                        let (x, y) =
                            (take(&mut a, u8::is_ascii_digit), take(&mut b, u8::is_ascii_digit));
                        let (x, y) = (without_zeros(x), without_zeros(y));
                        x.len().cmp(&y.len()).then_with(|| x.cmp(y))
                    }
                    (false, false) => take(&mut a, u8::is_ascii_alphabetic)
                        .cmp(take(&mut b, u8::is_ascii_alphabetic)),
                };
                if order.is_ne() {
                    return order;
                }
                continue;
            }
        }
        a = &a[1..];
        b = &b[1..];
    }
}

fn skip_separators(s: &[u8]) -> &[u8] {
    let meaning = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'~' | b'^');
    &s[s.iter().position(meaning).unwrap_or(s.len())..]
}

fn take<'a>(s: &mut &'a [u8], kind: fn(&u8) -> bool) -> &'a [u8] {
    let end = s.iter().position(|c| !kind(c)).unwrap_or(s.len());
    let (head, tail) = s.split_at(end);
    *s = tail;
    head
}

fn without_zeros(s: &[u8]) -> &[u8] {
    &s[s.iter().position(|c| *c != b'0').unwrap_or(s.len())..]
}

/// Epoch, version and release, ordered as rpm orders them.
///
/// Equality is rpm's too: `1.0-1` equals `1.00-1`. A missing epoch is 0.
#[derive(Debug, Clone, Default)]
pub struct Evr {
    /// The epoch; 0 when a package has none.
    pub epoch: u32,
    /// The upstream version.
    pub version: String,
    /// The release; empty in dependencies that name none.
    pub release: String,
}

impl Evr {
    /// Makes a value of its parts.
    pub fn new(epoch: u32, version: impl Into<String>, release: impl Into<String>) -> Evr {
        Evr { epoch, version: version.into(), release: release.into() }
    }

    /// Parses `[epoch:]version[-release]`.
    ///
    /// Returns nothing for an epoch that is no number, and for a second `:` or `-`: rpm builds no
    /// package and takes no dependency with one ("double separator"), and programs that read it all
    /// the same do not agree on what it says.
    pub fn parse(text: &str) -> Option<Evr> {
        let (epoch, rest) = match text.split_once(':') {
            Some(("", rest)) => (0, rest),
            Some((epoch, rest)) => (parse_epoch(epoch)?, rest),
            None => (0, text),
        };
        let (version, release) = rest.split_once('-').unwrap_or((rest, ""));
        let twice = rest.contains(':') || release.contains('-');
        (!twice).then(|| Evr::new(epoch, version, release))
    }

    fn has_colon(&self) -> bool {
        self.version.contains(':') || self.release.contains(':')
    }

    /// Writes the text, with an epoch of 0 only where it has to be seen.
    fn write(&self, f: &mut fmt::Formatter<'_>, colon: bool) -> fmt::Result {
        // Metadata can claim a version `2:3`. Shown as it is, it would be read as epoch 2; behind an
        // epoch it is refused, or at least not taken for another.
        if self.epoch != 0 || colon {
            write!(f, "{}:", self.epoch)?;
        }
        f.write_str(&self.version)?;
        if !self.release.is_empty() {
            write!(f, "-{}", self.release)?;
        }
        Ok(())
    }
}

fn parse_epoch(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl Ord for Evr {
    fn cmp(&self, other: &Evr) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| rpmvercmp(&self.version, &other.version))
            .then_with(|| rpmvercmp(&self.release, &other.release))
    }
}

impl PartialOrd for Evr {
    fn partial_cmp(&self, other: &Evr) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Evr {
    fn eq(&self, other: &Evr) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Evr {}

impl fmt::Display for Evr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, self.has_colon())
    }
}

/// A package's full name: name, epoch, version, release, architecture.
///
/// Two are equal when every part is written alike, so that it can be a key; the order is by name,
/// then rpm's order of versions, then architecture.
#[derive(Debug, Clone, Default)]
pub struct Nevra {
    /// The package's name.
    pub name: String,
    /// Its epoch, version and release.
    pub evr: Evr,
    /// Its architecture; `src` or `nosrc` for source packages.
    pub arch: String,
}

impl Nevra {
    /// Makes a value of its parts.
    pub fn new(name: impl Into<String>, evr: Evr, arch: impl Into<String>) -> Nevra {
        Nevra { name: name.into(), evr, arch: arch.into() }
    }

    /// Parses `name-[epoch:]version-release.arch`, with or without `.rpm` at the end, and also
    /// `epoch:name-version-release.arch`, which module metadata of old tools uses.
    ///
    /// Returns nothing for what rpm gives no package: a colon beside that of the epoch, an
    /// architecture with a `-`, or one called `rpm`.
    pub fn parse(text: &str) -> Option<Nevra> {
        let text = text.strip_suffix(".rpm").unwrap_or(text);
        let (rest, arch) = text.rsplit_once('.')?;
        let (rest, release) = rest.rsplit_once('-')?;
        let (name, version) = rest.rsplit_once('-')?;
        let (name, epoch, version) = match (version.split_once(':'), name.split_once(':')) {
            (Some((epoch, version)), None) => (name, parse_epoch(epoch)?, version),
            (None, Some((epoch, name))) => (name, parse_epoch(epoch)?, version),
            (None, None) => (name, 0, version),
            (Some(_), Some(_)) => return None,
        };
        let wrong = |part: &&str| part.is_empty() || part.contains(':');
        if [name, version, release, arch].iter().any(wrong) || arch.contains('-') || arch == "rpm" {
            return None;
        }
        Some(Nevra::new(name, Evr::new(epoch, version, release), arch))
    }

    fn key(&self) -> (&str, &str, u32, &str, &str) {
        (&self.name, &self.arch, self.evr.epoch, &self.evr.version, &self.evr.release)
    }
}

impl PartialEq for Nevra {
    fn eq(&self, other: &Nevra) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Nevra {}

impl Hash for Nevra {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl Ord for Nevra {
    fn cmp(&self, other: &Nevra) -> Ordering {
        self.name
            .cmp(&other.name)
            .then_with(|| self.evr.cmp(&other.evr))
            .then_with(|| self.arch.cmp(&other.arch))
            // `1.0` and `1.00` are the same to rpm, but not one key.
            .then_with(|| self.key().cmp(&other.key()))
    }
}

impl PartialOrd for Nevra {
    fn partial_cmp(&self, other: &Nevra) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Nevra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-", self.name)?;
        self.evr.write(f, self.evr.has_colon() || self.name.contains(':'))?;
        write!(f, ".{}", self.arch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_versions_compare_as_rpm_compares_them() {
        const CASES: &[(&str, Ordering, &str)] = {
            use Ordering::{Equal, Greater, Less};
            &[
                ("1.0", Equal, "1.0"),
                ("1.0", Less, "2.0"),
                ("2.0.1", Greater, "2.0"),
                ("2.0.1a", Greater, "2.0.1"),
                ("5.5p1", Less, "5.5p2"),
                ("5.5p10", Greater, "5.5p1"),
                ("5.5p1", Less, "5.5p10"),
                ("10xyz", Less, "10.1xyz"),
                ("xyz10", Less, "xyz10.1"),
                ("xyz.4", Equal, "xyz.4"),
                ("xyz.4", Less, "8"),
                ("8", Greater, "xyz.4"),
                ("xyz.4", Less, "2"),
                ("5.5p2", Less, "5.6p1"),
                ("5.6p1", Less, "6.5p1"),
                ("6.0.rc1", Greater, "6.0"),
                ("10b2", Greater, "10a1"),
                ("10a2", Less, "10b2"),
                ("1.0aa", Greater, "1.0a"),
                ("10.0001", Equal, "10.1"),
                ("10.0001", Equal, "10.0001"),
                ("10.0001", Less, "10.0039"),
                ("4.999.9", Less, "5.0"),
                ("20101121", Less, "20101122"),
                ("2_0", Equal, "2_0"),
                ("2.0", Equal, "2_0"),
                ("a", Equal, "a"),
                ("a+", Equal, "a_"),
                ("a+", Equal, "a"),
                ("+", Equal, "_"),
                ("_+", Equal, ""),
                ("1.0~rc1", Equal, "1.0~rc1"),
                ("1.0~rc1", Less, "1.0"),
                ("1.0", Greater, "1.0~rc1"),
                ("1.0~rc1", Less, "1.0~rc2"),
                ("1.0~rc1~git123", Less, "1.0~rc1"),
                ("1.0~rc1", Less, "1.0arc1"),
                ("1.0^", Greater, "1.0"),
                ("1.0^git1", Equal, "1.0^git1"),
                ("1.0^git1", Greater, "1.0"),
                ("1.0^git1", Less, "1.0^git2"),
                ("1.0^git1", Less, "1.01"),
                ("1.0^20160101", Less, "1.0.1"),
                ("1.0^20160102", Greater, "1.0^20160101^git1"),
                ("1.0~rc1^git1", Greater, "1.0~rc1"),
                ("1.0^git1~pre", Less, "1.0^git1"),
                ("1.0^git1", Greater, "1.0^git1~pre"),
                ("1.900", Less, "1.8000"),
                ("FC5", Less, "fc4"),
                ("2a", Less, "2.0"),
                ("1.0", Greater, "1.fc4"),
                ("0:1", Equal, "0.1"),
                ("1b.fc17", Equal, "1b.fc17"),
                ("1b.fc17", Less, "1.fc17"),
                ("1g.fc17", Greater, "1.fc17"),
                ("1.1.α", Equal, "1.1.β"),
                ("", Equal, ""),
                ("", Less, "0"),
                ("~", Less, ""),
                ("99999999999999999999", Less, "100000000000000000000"),
            ]
        };
        for (a, order, b) in CASES {
            assert_eq!(rpmvercmp(a, b), *order, "{a} {b}");
            assert_eq!(rpmvercmp(b, a), order.reverse(), "{b} {a}");
        }
    }

    #[test]
    fn epochs_come_first_and_default_to_zero() {
        assert!(Evr::parse("1:1.0-1") > Evr::parse("2.0-1"));
        assert_eq!(Evr::parse("0:1.0-1"), Evr::parse("1.00-1"));
        assert_eq!(Evr::parse("x:1-1"), None);
        assert_eq!(Evr::parse("2:1.0").unwrap().to_string(), "2:1.0");
        assert_eq!(Evr::parse(":1.0-1").unwrap().to_string(), "1.0-1");
    }

    #[test]
    fn names_display_and_parse() {
        let bash = Nevra::new("bash", Evr::new(0, "5.1.8", "6.el9"), "x86_64");
        assert_eq!(bash.to_string(), "bash-5.1.8-6.el9.x86_64");
        let bind = Nevra::new("bind-utils", Evr::new(32, "9.16", "1.el9_2"), "aarch64");
        assert_eq!(bind.to_string(), "bind-utils-32:9.16-1.el9_2.aarch64");
        for nevra in [bash, bind.clone()] {
            assert_eq!(Nevra::parse(&nevra.to_string()), Some(nevra));
        }
        assert_eq!(Nevra::parse("32:bind-utils-9.16-1.el9_2.aarch64.rpm"), Some(bind));
        for wrong in ["", "bash", "bash-5.1.8", "a-b-.x", "-1-1.x", "a-x:1-1.x", "2:a-1:1-1.x"] {
            assert_eq!(Nevra::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_separator_that_is_there_twice_is_refused_as_rpm_refuses_it() {
        for wrong in ["1:2:3", "1:2:3-1", "1:2-3:4", "2-3:4", ":1:2", "1-2-3", "1:1-2-", "::"] {
            assert_eq!(Evr::parse(wrong), None, "{wrong}");
        }
        for wrong in [
            "a-1:2:3-1.x",
            "a-1:2-3:4.x",
            "1:a:b-1-1.x",
            "a-1-1:1.x",
            "a-1-1.x:y",
            "a-b-c-1.2-1",
            "a-1-1.rpm.rpm",
        ] {
            assert_eq!(Nevra::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_version_with_a_colon_is_not_shown_as_another_epoch() {
        for (evr, shown) in [
            (Evr::new(0, "2:3", "1"), "0:2:3-1"),
            (Evr::new(0, "3", "1:2"), "0:3-1:2"),
            (Evr::new(1, "2:3", ""), "1:2:3"),
        ] {
            assert_eq!(evr.to_string(), shown);
            assert_eq!(Evr::parse(shown), None);
            let nevra = Nevra::new("a", evr, "x").to_string();
            assert!(nevra.starts_with("a-0:") || nevra.starts_with("a-1:"), "{nevra}");
            assert_eq!(Nevra::parse(&nevra), None, "{nevra}");
        }
        let named = Nevra::new("2:a", Evr::new(0, "1", "1"), "x");
        assert_eq!(named.to_string(), "2:a-0:1-1.x");
        assert_eq!(Nevra::parse("2:a-0:1-1.x"), None);
    }

    proptest! {
        #[test]
        fn what_is_parsed_is_shown_as_what_it_is(text in "[ab1:.-]{0,12}(\\.rpm){0,2}") {
            let parts = |evr: &Evr| (evr.epoch, evr.version.clone(), evr.release.clone());
            if let Some(evr) = Evr::parse(&text) {
                let again = Evr::parse(&evr.to_string());
                prop_assert_eq!(again.as_ref().map(parts), Some(parts(&evr)));
            }
            if let Some(nevra) = Nevra::parse(&text) {
                prop_assert_eq!(Nevra::parse(&nevra.to_string()), Some(nevra));
            }
        }

        #[test]
        fn order_is_reflexive_and_antisymmetric(a in "[0-9a-c.~^_-]{0,9}", b in "[0-9a-c.~^_-]{0,9}") {
            prop_assert_eq!(rpmvercmp(&a, &a), Ordering::Equal);
            prop_assert_eq!(rpmvercmp(&a, &b), rpmvercmp(&b, &a).reverse());
        }

        #[test]
        fn order_is_transitive(mut v in proptest::collection::vec("[0-1ab.~^]{0,5}", 3)) {
            v.sort_by(|a, b| rpmvercmp(a, b));
            prop_assert!(rpmvercmp(&v[0], &v[2]).is_le());
            if rpmvercmp(&v[0], &v[1]).is_eq() && rpmvercmp(&v[1], &v[2]).is_eq() {
                prop_assert!(rpmvercmp(&v[0], &v[2]).is_eq());
            }
        }

        #[test]
        fn anything_compares(a in ".*", b in ".*") {
            prop_assert_eq!(rpmvercmp(&a, &b), rpmvercmp(&b, &a).reverse());
        }

        #[test]
        fn equal_names_hash_alike(a in "[01.]{1,4}", b in "[01.]{1,4}") {
            let nevra = |v: &str| Nevra::new("n", Evr::new(0, v, "1"), "noarch");
            prop_assert_eq!(nevra(&a) == nevra(&b), a == b);
            prop_assert_eq!(nevra(&a).cmp(&nevra(&b)).is_eq(), a == b);
        }
    }
}
