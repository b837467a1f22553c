//! dnf, with a root, a cache and repositories of its own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::run::{Run, Running};
use crate::unavailable::{self, Unavailable};

/// A machine that installs from our repositories, with nothing installed yet.
///
/// It knows nothing of the host: no configuration, no repositories, no keys, no plugins but
/// those of the subcommands. A repository that does not answer is an error.
#[derive(Debug)]
pub struct Dnf {
    root: TempDir,
    arch: String,
    repos: Vec<(String, String)>,
    key: Option<PathBuf>,
}

impl Dnf {
    /// Makes an empty machine of architecture `x86_64`.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] where there is no dnf.
    pub fn new() -> Result<Self, Unavailable> {
        unavailable::tool("dnf")?;
        let root = tempfile::Builder::new().prefix("cairn-dnf-").tempdir();
        let root = root.map_err(|error| Unavailable::Refused {
            what: "a root for dnf".to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self { root, arch: "x86_64".to_owned(), repos: Vec::new(), key: None })
    }

    /// Makes it a machine of another architecture.
    #[must_use]
    pub fn arch(mut self, arch: &str) -> Self {
        arch.clone_into(&mut self.arch);
        self
    }

    /// Adds a repository by its URL, or by the path of its directory.
    #[must_use]
    pub fn repo(mut self, id: &str, url: impl AsRef<Path>) -> Self {
        let url = url.as_ref().to_str().expect("a repository's URL is text");
        let url = if url.starts_with('/') { format!("file://{url}") } else { url.to_owned() };
        self.repos.push((id.to_owned(), url));
        self
    }

    /// Demands that every repository's metadata is signed with a key of this file.
    #[must_use]
    pub fn key(mut self, path: &Path) -> Self {
        self.key = Some(path.to_owned());
        self
    }

    /// Returns where its root directory is.
    pub fn root(&self) -> PathBuf {
        self.root.path().join("root")
    }

    /// Returns the command `dnf …` up to the subcommand.
    ///
    /// # Panics
    ///
    /// If its configuration cannot be written.
    #[track_caller]
    pub fn command(&self) -> Command {
        let config = self.root.path().join("dnf.conf");
        if let Err(error) = std::fs::write(&config, self.config()) {
            panic!("{}: {error}", config.display());
        }
        let mut command = Command::new("dnf");
        command
            .env("LC_ALL", "C")
            .arg(format!("--config={}", config.display()))
            .arg(format!("--installroot={}", self.root().display()))
            .arg(format!("--forcearch={}", self.arch))
            .args(["--releasever=9", "--assumeyes"]);
        command
    }

    fn config(&self) -> String {
        let temp = self.root.path().display();
        let mut text = format!(
            "[main]\ncachedir={temp}/cache\nlogdir={temp}/log\nreposdir=/dev/null\n\
             module_platform_id=platform:el9\ngpgcheck=0\nretries=1\nzchunk=0\n"
        );
        for (id, url) in &self.repos {
            // By default an unreachable repository is as good as an empty one.
            text.push_str(&format!(
                "[{id}]\nname={id}\nbaseurl={url}\nskip_if_unavailable=0\nmetadata_expire=0\n"
            ));
            if let Some(key) = &self.key {
                text.push_str(&format!("repo_gpgcheck=1\ngpgkey=file://{}\n", key.display()));
            }
        }
        text
    }

    /// Runs dnf with a subcommand.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Run {
        Run::of(self.command().args(args))
    }

    /// Starts dnf with a subcommand.
    #[track_caller]
    pub fn start(&self, args: &[&str]) -> Running {
        Running::start(self.command().args(args))
    }

    /// Lists what the repositories offer, as `name-epoch:version-release.arch`.
    ///
    /// # Panics
    ///
    /// If dnf fails.
    #[track_caller]
    pub fn nevras(&self) -> BTreeSet<String> {
        let format = "%{name}-%{epoch}:%{version}-%{release}.%{arch}";
        // Modular packages hide each other otherwise.
        let disable = "--disable-modular-filtering";
        let run = self.run(&["-q", "repoquery", disable, "--qf", format]).ok();
        run.out().lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// Downloads packages with what they need; to `to`, where they are found by name.
    #[track_caller]
    pub fn download(&self, to: &Path, packages: &[&str]) -> Run {
        let to = format!("--destdir={}", to.display());
        self.run(&[&["-q", "download", "--resolve", to.as_str()], packages].concat())
    }

    /// Installs packages into its root.
    #[track_caller]
    pub fn install(&self, packages: &[&str]) -> Run {
        self.run(&[&["install"], packages].concat())
    }

    /// Forgets what it knows of the repositories.
    pub fn forget(&self) {
        let _ = std::fs::remove_dir_all(self.root.path().join("cache"));
    }
}

/// Downloads packages from one repository on an empty machine, into `to`.
///
/// # Errors
///
/// [`Unavailable`] where there is no dnf.
#[track_caller]
pub fn dnf_download(
    repo: impl AsRef<Path>,
    to: &Path,
    packages: &[&str],
) -> Result<Run, Unavailable> {
    Ok(Dnf::new()?.repo("sample", repo).download(to, packages))
}
