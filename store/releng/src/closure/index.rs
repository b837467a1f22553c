//! What packages provide, and whether that meets a requirement.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use cairn_repodata::primary::{Compare, Dependency};
use cairn_repodata::rpmvercmp;

use super::rich::Expr;
use super::{Class, Lack};

/// Provided by rpm itself.
const RPMLIB: &str = "rpmlib(";

/// Something that a package provides.
struct Provide {
    package: u32,
    class: Class,
    /// How its version compares, and which; nothing if it has none.
    version: Option<(Compare, u32)>,
}

/// An epoch, version and release; a missing epoch is 0, a missing release is any.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Version {
    epoch: u32,
    version: Box<str>,
    release: Option<Box<str>>,
}

/// The provides of all packages of one world, by name.
#[derive(Default)]
pub(super) struct Index {
    names: HashMap<Box<str>, Vec<Provide>>,
    versions: Vec<Version>,
    known: HashMap<Version, u32>,
}

impl Index {
    pub(super) fn add(&mut self, package: u32, class: Class, dependency: &Dependency) {
        let version = version_of(dependency).map(|(compare, version)| {
            let next = self.versions.len() as u32;
            let number = *self.known.entry(version.clone()).or_insert(next);
            if number == next {
                self.versions.push(version);
            }
            (compare, number)
        });
        self.push(&dependency.name, Provide { package, class, version });
    }

    pub(super) fn add_file(&mut self, package: u32, class: Class, path: &str) {
        self.push(path, Provide { package, class, version: None });
    }

    fn push(&mut self, name: &str, provide: Provide) {
        match self.names.get_mut(name) {
            Some(known) => known.push(provide),
            None => {
                self.names.insert(name.into(), vec![provide]);
            }
        }
    }

    /// Returns whether a package of the main repos provides something of this name.
    pub(super) fn is_in_main(&self, name: &str) -> bool {
        let provides = self.names.get(name).into_iter().flatten();
        provides.into_iter().any(|provide| provide.class == Class::Main)
    }

    /// Says what a requirement of a package of this class lacks.
    pub(super) fn lack(&self, expr: &Expr, class: Class) -> Lack {
        let all =
            |list: &[Expr]| list.iter().map(|expr| self.lack(expr, class)).collect::<Vec<_>>();
        match expr {
            Expr::One(dependency) => match self.providers(dependency, class).next() {
                Some(_) => Lack::Nothing,
                None if dependency.name.starts_with(RPMLIB) => Lack::Nothing,
                None => Lack::All,
            },
            Expr::And(list) => all(list).into_iter().max().unwrap_or(Lack::Nothing),
            Expr::Or(list) => all(list).into_iter().min().unwrap_or(Lack::Nothing),
            Expr::If(then, condition, otherwise) => {
                self.either(Some(then), condition, otherwise.as_deref(), class)
            }
            Expr::Unless(otherwise, condition, then) => {
                self.either(then.as_deref(), condition, Some(otherwise), class)
            }
            Expr::With(_) | Expr::Without(..) => match self.packages(expr, class).is_empty() {
                true => Lack::All,
                false => Lack::Nothing,
            },
        }
    }

    /// `then` where the condition is installed, `otherwise` where it is not; nothing asks nothing.
    fn either(
        &self,
        then: Option<&Expr>,
        condition: &Expr,
        otherwise: Option<&Expr>,
        class: Class,
    ) -> Lack {
        let lack = |expr: Option<&Expr>| expr.map_or(Lack::Nothing, |e| self.lack(e, class));
        let otherwise = lack(otherwise);
        if self.lack(condition, class) == Lack::All {
            // Nobody can have it installed.
            return otherwise;
        }
        match (lack(then), otherwise) {
            (Lack::Nothing, Lack::Nothing) => Lack::Nothing,
            (Lack::All, Lack::All) => Lack::All,
            _ => Lack::InOneCase,
        }
    }

    /// Returns the packages that meet an expression about one package.
    fn packages(&self, expr: &Expr, class: Class) -> HashSet<u32> {
        match expr {
            Expr::One(dependency) => {
                self.providers(dependency, class).map(|provide| provide.package).collect()
            }
            Expr::Or(list) => list.iter().flat_map(|expr| self.packages(expr, class)).collect(),
            Expr::With(list) => {
                let mut sets = list.iter().map(|expr| self.packages(expr, class));
                let first = sets.next().unwrap_or_default();
                sets.fold(first, |all, one| all.intersection(&one).copied().collect())
            }
            Expr::Without(a, b) => {
                let (a, b) = (self.packages(a, class), self.packages(b, class));
                a.difference(&b).copied().collect()
            }
            // The parser lets none of these in.
            Expr::And(_) | Expr::If(..) | Expr::Unless(..) => HashSet::new(),
        }
    }

    fn providers<'a>(
        &'a self,
        dependency: &'a Dependency,
        class: Class,
    ) -> impl Iterator<Item = &'a Provide> {
        let wanted = version_of(dependency);
        let provides = self.names.get(dependency.name.as_str()).map_or(&[][..], Vec::as_slice);
        provides.iter().filter(move |provide| {
            let seen = provide.class == Class::Main || provide.class == class;
            seen && match (&wanted, &provide.version) {
                // Whoever names no version means any.
                (None, _) | (_, None) => true,
                (Some(wanted), Some((compare, number))) => {
                    let given = &self.versions[*number as usize];
                    overlap((*compare, given), (wanted.0, &wanted.1))
                }
            }
        })
    }
}

/// Returns the comparison and version of a dependency, if it has both.
fn version_of(dependency: &Dependency) -> Option<(Compare, Version)> {
    let (compare, version) = (dependency.compare?, dependency.version.as_deref()?);
    let epoch = dependency.epoch.as_deref().and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
    let release = dependency.release.as_deref().filter(|release| !release.is_empty());
    Some((compare, Version { epoch, version: version.into(), release: release.map(Into::into) }))
}

/// Returns whether two ranges of versions have one in common, as rpm sees it: releases count only
/// where both are named.
fn overlap(a: (Compare, &Version), b: (Compare, &Version)) -> bool {
    let order = (a.1.epoch.cmp(&b.1.epoch))
        .then_with(|| rpmvercmp(&a.1.version, &b.1.version))
        .then_with(|| match (&a.1.release, &b.1.release) {
            (Some(a), Some(b)) => rpmvercmp(a, b),
            (Some(_) | None, _) => Ordering::Equal,
        });
    let less = |compare| matches!(compare, Compare::Lt | Compare::Le);
    let greater = |compare| matches!(compare, Compare::Gt | Compare::Ge);
    let equal = |compare| matches!(compare, Compare::Le | Compare::Eq | Compare::Ge);
    match order {
        Ordering::Less => greater(a.0) || less(b.0),
        Ordering::Greater => less(a.0) || greater(b.0),
        Ordering::Equal => {
            (equal(a.0) && equal(b.0)) || (less(a.0) && less(b.0)) || (greater(a.0) && greater(b.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dependency(text: &str) -> Dependency {
        // The parser of rich ones reads names with versions.
        let rich = Dependency { name: format!("({text})"), ..Dependency::default() };
        let Ok(Expr::One(found)) = Expr::of(&rich) else { panic!("{text}") };
        found
    }

    fn lack(provides: &[&[&str]], requirement: &str) -> Lack {
        let mut index = Index::default();
        for (package, provides) in provides.iter().enumerate() {
            for provide in *provides {
                index.add(package as u32, Class::Main, &dependency(provide));
            }
        }
        let rich = Dependency { name: format!("({requirement})"), ..Dependency::default() };
        index.lack(&Expr::of(&rich).unwrap(), Class::Main)
    }

    #[test]
    fn versions_overlap_as_in_rpm() {
        const CASES: &[(&str, &str, bool)] = &[
            ("a", "a", true),
            ("a", "b", false),
            ("a", "a = 7", true),
            ("a = 7", "a", true),
            ("a = 1.0-3", "a = 1.0", true),
            ("a = 1.0-3", "a = 1.0-3", true),
            ("a = 1.0-3", "a = 1.0-4", false),
            ("a = 1.0-3", "a >= 1.0-4", false),
            ("a = 1.0-3", "a >= 1.0", true),
            ("a = 1.0-3", "a > 1.0", false),
            ("a = 1.0-3", "a < 1.0", false),
            ("a = 1.0-3", "a <= 1.0", true),
            ("a = 1.0-3", "a < 1.0.1", true),
            ("a = 1:1.0-3", "a < 2.0", false),
            ("a = 1:1.0-3", "a >= 2.0", true),
            ("a = 0:1.0-3", "a = 1.0", true),
            ("a = 2.0~rc1-1", "a >= 2.0", false),
            ("a = 1.10-1", "a >= 1.9", true),
            ("a >= 3", "a >= 5", true),
            ("a >= 3", "a < 3", false),
            ("a <= 3", "a >= 3", true),
            ("a < 3", "a > 3", false),
        ];
        for (provide, requirement, met) in CASES {
            let expected = if *met { Lack::Nothing } else { Lack::All };
            assert_eq!(lack(&[&[provide]], requirement), expected, "{provide} for {requirement}");
        }
    }

    #[test]
    fn expressions_are_met_or_not_or_in_one_case() {
        use Lack::{All, InOneCase, Nothing};
        let provides: &[&[&str]] = &[&["a = 1", "both"], &["b = 2", "both"], &["a = 3", "x"]];
        let cases = [
            ("a and b", Nothing),
            ("a and z", All),
            ("z or b", Nothing),
            ("y or z", All),
            ("a if b", Nothing),
            // Whoever has b cannot install it, whoever has not can.
            ("z if b", InOneCase),
            ("z if b else a", InOneCase),
            ("z if b else y", All),
            // Nobody can have y.
            ("z if y", Nothing),
            ("z if y else a", Nothing),
            ("a if y else z", All),
            ("a unless b", Nothing),
            ("z unless b", InOneCase),
            ("z unless y", All),
            ("a unless b else z", InOneCase),
            ("z unless b else y", All),
            ("a with both", Nothing),
            ("a = 3 with both", All),
            ("(a = 3 or b) with both", Nothing),
            ("a without both", Nothing),
            ("b without both", All),
            ("a with both with x", All),
            ("rpmlib(CompressedFileNames) <= 3.0.4-1", Nothing),
            ("a and (z if b)", InOneCase),
            ("x or (z if b)", Nothing),
        ];
        for (requirement, expected) in cases {
            assert_eq!(lack(provides, requirement), expected, "{requirement}");
        }
    }

    #[test]
    fn what_a_side_tree_has_is_for_the_side_tree() {
        let mut index = Index::default();
        index.add(0, Class::Main, &dependency("a"));
        index.add(1, Class::Kickstart, &dependency("k"));
        let lack = |name: &str, class| index.lack(&Expr::One(dependency(name)), class);
        assert_eq!(lack("a", Class::Kickstart), Lack::Nothing);
        assert_eq!(lack("k", Class::Kickstart), Lack::Nothing);
        assert_eq!(lack("k", Class::Main), Lack::All);
        assert_eq!(lack("k", Class::Debug), Lack::All);
    }
}
