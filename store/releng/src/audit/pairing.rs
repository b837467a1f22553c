//! Which version of a package became which: the rule for one name and architecture in one repo.

use std::cmp::Ordering;

use cairn_repodata::{Checksum, Evr};

use super::repos::in_step;

/// A version of a package and the checksum of its RPM.
pub(super) trait Version {
    fn evr(&self) -> &Evr;
    fn pkgid(&self) -> &Checksum;
}

/// What became of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome<V> {
    /// New, with nothing to compare it with.
    Added(V),
    /// Gone, with nothing in its place.
    Removed(V),
    /// Old and new, which is higher.
    Upgraded(V, V),
    /// Old and new, which is lower.
    Downgraded(V, V),
    /// The same version to rpm, another checksum.
    Rebuilt(V, V),
}

/// Orders versions as rpm does; those that rpm finds equal but are written otherwise, and
/// packages of one version, have some order too.
pub(super) fn order<V: Version>(a: &V, b: &V) -> Ordering {
    order_as_written(a, b).then_with(|| a.pkgid().cmp(b.pkgid()))
}

/// Orders versions alone; only those that are written alike are equal.
pub(super) fn order_as_written<V: Version>(a: &V, b: &V) -> Ordering {
    Key(a.evr()).cmp(&Key(b.evr()))
}

/// Says what became of the versions of one package; both sides are sorted by [`order`].
///
/// With A the versions that are new and R those that are gone: the highest of A replaces the
/// highest of R. Where nothing is gone, the highest of A is an upgrade of the highest there was,
/// if it is higher. Where nothing is new, the highest of R is downgraded to the highest that is
/// left, if that is lower. Everything else was added or removed.
pub(super) fn pair<'a, V: Version>(
    old: &'a [V],
    new: &'a [V],
    visit: &mut impl FnMut(Outcome<&'a V>),
) {
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    for (_, old, new) in in_step(versions(old), versions(new)) {
        match (old, new) {
            (None, Some(new)) => added.push(&new[0]),
            (Some(old), None) => removed.push(&old[0]),
            (Some(old), Some(new)) => {
                let same = |(a, b): (&V, &V)| a.pkgid() == b.pkgid();
                if old.len() != new.len() || !old.iter().zip(new).all(same) {
                    visit(Outcome::Rebuilt(&old[0], &new[0]));
                }
            }
            (None, None) => {}
        }
    }
    let outcome = match (removed.last().copied(), added.last().copied()) {
        (Some(gone), Some(came)) => match came.evr().cmp(gone.evr()) {
            Ordering::Greater => Some(Outcome::Upgraded(gone, came)),
            Ordering::Less => Some(Outcome::Downgraded(gone, came)),
            // Written otherwise, but no client will see a difference.
            Ordering::Equal => Some(Outcome::Rebuilt(gone, came)),
        },
        (None, Some(came)) => {
            let before = old.last().filter(|before| came.evr() > before.evr());
            before.map(|before| Outcome::Upgraded(before, came))
        }
        (Some(gone), None) => {
            let left = new.last().filter(|left| gone.evr() > left.evr());
            left.map(|left| Outcome::Downgraded(gone, left))
        }
        (None, None) => None,
    };
    if let Some(outcome) = outcome {
        visit(outcome);
        // The highest of each side is what the outcome is about.
        added.pop();
        removed.pop();
    }
    added.into_iter().for_each(|came| visit(Outcome::Added(came)));
    removed.into_iter().for_each(|gone| visit(Outcome::Removed(gone)));
}

/// A version as a key in rpm's order: `1.0` and `1.00` are two, though rpm finds them equal.
#[derive(Clone, Copy)]
struct Key<'a>(&'a Evr);

impl Key<'_> {
    fn text(&self) -> (u32, &str, &str) {
        (self.0.epoch, &self.0.version, &self.0.release)
    }
}

impl Ord for Key<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(other.0).then_with(|| self.text().cmp(&other.text()))
    }
}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key<'_> {}

/// Iterates over the versions of a sorted side; packages with one version come together.
fn versions<V: Version>(side: &[V]) -> impl Iterator<Item = (Key<'_>, &[V])> {
    side.chunk_by(|a, b| Key(a.evr()) == Key(b.evr())).map(|same| (Key(same[0].evr()), same))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Built(Evr, Checksum);

    impl Version for Built {
        fn evr(&self) -> &Evr {
            &self.0
        }

        fn pkgid(&self) -> &Checksum {
            &self.1
        }
    }

    /// `1.0-1` is a version; `1.0-1#2` the same one built a second time.
    fn side(text: &str) -> Vec<Built> {
        let mut side: Vec<_> = text
            .split_whitespace()
            .map(|word| {
                let (evr, build) = word.split_once('#').unwrap_or((word, ""));
                Built(Evr::parse(evr).unwrap(), Checksum::sha256(build.as_bytes()))
            })
            .collect();
        side.sort_by(order);
        side
    }

    fn outcomes(old: &str, new: &str) -> Vec<String> {
        let (old, new) = (side(old), side(new));
        let mut found = Vec::new();
        pair(&old, &new, &mut |outcome| {
            found.push(match outcome {
                Outcome::Added(v) => format!("+{}", v.0),
                Outcome::Removed(v) => format!("-{}", v.0),
                Outcome::Upgraded(a, b) => format!("{}<{}", a.0, b.0),
                Outcome::Downgraded(a, b) => format!("{}>{}", a.0, b.0),
                Outcome::Rebuilt(a, b) => format!("{}={}", a.0, b.0),
            });
        });
        found
    }

    #[test]
    fn versions_are_paired_by_the_rule() {
        const CASES: &[(&str, &str, &str, &[&str])] = &[
            ("nothing", "", "", &[]),
            ("the same", "1-1", "1-1", &[]),
            ("a new package", "", "1-1 2-1", &["+1-1", "+2-1"]),
            ("a package that is gone", "1-1 2-1", "", &["-1-1", "-2-1"]),
            ("replaced by a higher one", "1-1", "2-1", &["1-1<2-1"]),
            ("replaced by a lower one", "2-1", "1-1", &["2-1>1-1"]),
            ("numbers are numbers", "1-9", "1-10", &["1-9<1-10"]),
            (
                "the highest of both, the rest apart",
                "1-1 2-1",
                "3-1 4-1",
                &["2-1<4-1", "+3-1", "-1-1"],
            ),
            ("with one that stays", "1-1 5-1", "2-1 5-1", &["1-1<2-1"]),
            ("the older one is kept", "1-1", "1-1 2-1", &["1-1<2-1"]),
            ("two on top", "1-1", "1-1 2-1 3-1", &["1-1<3-1", "+2-1"]),
            ("an older one beside it", "2-1", "1-1 2-1", &["+1-1"]),
            ("the newer one withdrawn", "1-1 2-1", "1-1", &["2-1>1-1"]),
            ("two withdrawn", "1-1 2-1 3-1", "1-1", &["3-1>1-1", "-2-1"]),
            ("an older one tidied away", "1-1 2-1", "2-1", &["-1-1"]),
            ("an epoch beats any version", "9-1", "1:1-1", &["9-1<1:1-1"]),
            ("an epoch lost", "1:1-1", "9-1", &["1:1-1>9-1"]),
            ("epoch 0 is none", "0:1-1", "1-1", &[]),
            ("a release after its candidate", "1.0~rc1-1", "1.0-1", &["1.0~rc1-1<1.0-1"]),
            ("a candidate after its release", "1.0-1", "1.0~rc1-1", &["1.0-1>1.0~rc1-1"]),
            ("a snapshot after its release", "1.0-1", "1.0^git1-1", &["1.0-1<1.0^git1-1"]),
            (
                "a release after a snapshot of the last",
                "1.0^git1-1",
                "1.0.1-1",
                &["1.0^git1-1<1.0.1-1"],
            ),
            ("built again", "1-1", "1-1#2", &["1-1=1-1"]),
            ("built again, with a new one", "1-1", "1-1#2 2-1", &["1-1=1-1", "1-1<2-1"]),
            ("one version twice, alike", "1-1 1-1#2", "1-1#2 1-1", &[]),
            ("one version twice, one gone", "1-1 1-1#2", "1-1", &["1-1=1-1"]),
            ("equal to rpm, written otherwise", "1.0-1", "1.00-1", &["1.0-1=1.00-1"]),
            ("equal to rpm, beside the other", "1.0-1", "1.0-1 1.00-1", &["+1.00-1"]),
        ];
        for (label, old, new, expected) in CASES {
            assert_eq!(outcomes(old, new), *expected, "{label}: {old:?} to {new:?}");
        }
    }
}
