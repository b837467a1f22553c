//! What of a release an audit looks at: repos, architectures and names.

use cairn_repodata::Nevra;
use cairn_store::path::RelPath;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::{Error, Result};

/// Says which repos, architectures and names count. A list that is empty accepts everything.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    repos: Option<GlobSet>,
    arches: Vec<String>,
    names: Option<GlobSet>,
}

impl Filter {
    /// Makes a filter of patterns with `*`, `?`, `[…]` and `{…}`.
    ///
    /// A repo's pattern matches its whole path or some components of it in a row: `BaseOS` and
    /// `BaseOS/x86_64` accept `9.7/BaseOS/x86_64/os`. An architecture is a package's own or that
    /// of the tree it is in, so `x86_64` accepts the `noarch` packages of an `x86_64` repo. A name
    /// is a package's name; of other files it is the file name.
    ///
    /// # Errors
    /// [`Error::Pattern`].
    pub fn new(repos: &[String], arches: &[String], names: &[String]) -> Result<Self> {
        let rows = |pattern: &String| {
            let pattern = pattern.trim_matches('/');
            ["", "**/"].map(|before| ["", "/**"].map(|after| format!("{before}{pattern}{after}")))
        };
        let repos: Vec<String> = repos.iter().flat_map(rows).flatten().collect();
        Ok(Self { repos: globs(&repos)?, arches: arches.to_vec(), names: globs(names)? })
    }

    /// Returns whether everything is accepted.
    pub fn is_empty(&self) -> bool {
        self.repos.is_none() && self.arches.is_empty() && self.names.is_none()
    }

    /// Returns whether a repo or area counts; which of its packages do is another question.
    pub fn accepts_repo(&self, repo: &RelPath) -> bool {
        self.repos.as_ref().is_none_or(|repos| repos.is_match(repo.as_path()))
    }

    /// Returns whether the metadata of a repo counts. Names are of no matter to it.
    pub fn accepts_metadata(&self, repo: &RelPath) -> bool {
        self.accepts_repo(repo) && (self.arches.is_empty() || self.arch_in(repo))
    }

    /// Returns whether a package counts that is in an accepted repo.
    pub fn accepts_package(&self, repo: &RelPath, name: &str, arch: &str) -> bool {
        let arch = self.arches.is_empty()
            || self.arches.iter().any(|wanted| wanted == arch)
            || self.arch_in(repo);
        arch && self.accepts_name(name)
    }

    /// Returns whether a name counts: of a module, of a group, of anything that has no file.
    pub fn accepts_name(&self, name: &str) -> bool {
        self.names.as_ref().is_none_or(|names| names.is_match(name))
    }

    /// Returns whether a file counts, whose repo or area is `repo`.
    pub fn accepts_file(&self, repo: &RelPath, path: &RelPath) -> bool {
        if self.is_empty() {
            return true;
        }
        if !self.accepts_repo(repo) {
            return false;
        }
        let file_name = String::from_utf8_lossy(path.file_name());
        let package = match file_name.ends_with(".rpm") {
            true => Nevra::parse(&file_name),
            false => None,
        };
        let (name, arch) = match &package {
            Some(package) => (package.name.as_str(), Some(package.arch.as_str())),
            None => (&*file_name, None),
        };
        let arch = self.arches.is_empty()
            || self.arches.iter().any(|wanted| Some(wanted.as_str()) == arch)
            || self.arch_in(path);
        arch && self.accepts_name(name)
    }

    fn arch_in(&self, path: &RelPath) -> bool {
        path.names().any(|name| self.arches.iter().any(|arch| arch.as_bytes() == name))
    }
}

fn globs(patterns: &[String]) -> Result<Option<GlobSet>> {
    if patterns.is_empty() {
        return Ok(None);
    }
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let wrong = |source| Error::Pattern { pattern: pattern.clone(), source };
        set.add(GlobBuilder::new(pattern).literal_separator(true).build().map_err(wrong)?);
    }
    let wrong = |source| Error::Pattern { pattern: patterns.join(" "), source };
    set.build().map(Some).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    fn filter(repos: &[&str], arches: &[&str], names: &[&str]) -> Filter {
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Filter::new(&own(repos), &own(arches), &own(names)).unwrap()
    }

    #[test]
    fn a_repo_is_matched_by_components_in_a_row() {
        for (pattern, repo, accepted) in [
            ("BaseOS", "9.7/BaseOS/x86_64/os", true),
            ("BaseOS/x86_64", "9.7/BaseOS/x86_64/os", true),
            ("9.7/BaseOS/x86_64/os", "9.7/BaseOS/x86_64/os", true),
            ("*/x86_64", "BaseOS/x86_64/debug/tree", true),
            ("Base", "9.7/BaseOS/x86_64/os", false),
            ("Base*", "9.7/BaseOS/x86_64/os", true),
            ("BaseOS/os", "9.7/BaseOS/x86_64/os", false),
        ] {
            assert_eq!(
                filter(&[pattern], &[], &[]).accepts_repo(&path(repo)),
                accepted,
                "{pattern}"
            );
        }
    }

    #[test]
    fn architectures_and_names_are_those_of_packages_and_of_files() {
        let repo = path("BaseOS/x86_64/os");
        let os = |name: &str| path(&format!("BaseOS/x86_64/os/{name}"));
        let by_arch = filter(&[], &["i686"], &[]);
        assert!(by_arch.accepts_package(&repo, "glibc", "i686"));
        assert!(!by_arch.accepts_package(&repo, "glibc", "x86_64"));
        assert!(by_arch.accepts_file(&repo, &os("Packages/glibc-2.34-1.el9.i686.rpm")));
        assert!(!by_arch.accepts_file(&repo, &os("Packages/glibc-2.34-1.el9.x86_64.rpm")));
        assert!(!by_arch.accepts_metadata(&repo));
        let by_tree = filter(&[], &["x86_64"], &[]);
        assert!(by_tree.accepts_package(&repo, "tzdata", "noarch"));
        assert!(by_tree.accepts_file(&repo, &os(".treeinfo")));
        let by_name = filter(&[], &[], &["glibc*"]);
        assert!(by_name.accepts_package(&repo, "glibc-common", "x86_64"));
        assert!(!by_name.accepts_package(&repo, "bash", "x86_64"));
        assert!(by_name.accepts_file(&repo, &os("Packages/glibc-2.34-1.el9.i686.rpm")));
        assert!(!by_name.accepts_file(&repo, &os(".treeinfo")));
    }

    #[test]
    fn a_broken_pattern_is_named() {
        let error = Filter::new(&[], &[], &["a[".to_owned()]).unwrap_err().to_string();
        assert!(error.starts_with("\"a[\" is not a pattern: "), "{error}");
    }
}
