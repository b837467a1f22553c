//! The configuration file: what releases exist, where they live, how they are published.
//!
//! Owns the language of `cairn.toml` and its built-in defaults (`config/defaults.toml`). A
//! [`Config`] that exists is complete and free of contradictions: every key is known, every value
//! in range, every template names only placeholders that it will get, and no two refs or views
//! share a name or a place. Whatever is wrong is a [`ConfigError`] with line, column and hint.
//! It is read once per command and never written; there is no state on disk.

mod contradictions;
mod model;
mod read;
mod sections;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use model::{
    Category, Channel, ComposeSection, Defaults, ErrataSection, Gate, GateSettings, Hook, KeepRule,
    KeepSection, ListFile, ListKind, ListRoot, Mount, ReleaseSection, RepodataSection, Repos,
    SigCompose, SignBy, SignSection, StoreSection, TorrentSection,
};
pub use sections::BUILT_IN_GATES;
pub(crate) use sections::{APPROVALS, is_component};
pub use value::{
    Checksum, Compression, Environment, HookEvent, LinkMode, Owner, Percent, SignMode, SigsBeside,
    SwapMode, Template, TemplateError, TorrentFormat, ValueError, Version, format_duration,
    parse_duration,
};
pub(crate) use value::{nearest, plain_number};

use read::{Reader, Section, Shown, bare};

/// The defaults, in the language of the file itself.
const DEFAULTS: &str = include_str!("config/defaults.toml");

/// The largest file that is read; the model configuration has 6 KiB.
const MAX_SIZE: u64 = 4 << 20;

/// A checked configuration with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// File that it was read from.
    pub path: PathBuf,
    /// `[store]`.
    pub store: StoreSection,
    /// `[compose]`.
    pub compose: ComposeSection,
    /// `[mounts.NAME]`; at least one.
    pub mounts: BTreeMap<String, Mount>,
    /// `[category]`; `rocky` and `sig` always exist.
    pub category: BTreeMap<String, Category>,
    /// `[defaults]`.
    pub defaults: Defaults,
    /// `[repodata]`.
    pub repodata: RepodataSection,
    /// `[sign]`; none signs nothing.
    pub sign: Option<SignSection>,
    /// `[keep]`.
    pub keep: KeepSection,
    /// `[errata]`.
    pub errata: ErrataSection,
    /// `[torrent]`.
    pub torrent: TorrentSection,
    /// `[lists]`.
    pub lists: Vec<ListRoot>,
    /// `[release.N]` by major.
    pub releases: BTreeMap<u32, ReleaseSection>,
    /// `[gate.NAME]`.
    pub gates: BTreeMap<String, Gate>,
    /// `[gate.NAME]` of gates that are built in.
    pub gate_settings: GateSettings,
    /// `[hook.NAME]`.
    pub hooks: BTreeMap<String, Hook>,
    shown: Vec<(Option<usize>, Shown)>,
}

/// Something wrong with a configuration, and where.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// Line from 1; 0 if the file as a whole is to blame.
    pub line: usize,
    /// Column from 1, in characters; 0 like `line`.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
    /// What the system said, where the file could not be read.
    #[source]
    pub source: Option<std::io::Error>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.path.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl Config {
    /// Reads and checks a file; the first problem in it is the error.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        Config::parse(&read_file(path)?, path)
    }

    /// Parses and checks a text; `origin` is the file named in errors.
    pub fn parse(text: &str, origin: &Path) -> Result<Config, ConfigError> {
        Config::check(text, origin).map_err(|errors| {
            let first = errors.into_iter().next();
            first.expect("a text without a configuration has a problem")
        })
    }

    /// Reads and checks a file, and names everything that is wrong with it.
    pub fn check_file(path: &Path) -> Result<Config, Vec<ConfigError>> {
        Config::check(&read_file(path).map_err(|error| vec![error])?, path)
    }

    /// Parses and checks a text, and names everything that is wrong with it in its order.
    ///
    /// Contradictions are looked for only in a text whose keys and values are right.
    pub fn check(text: &str, origin: &Path) -> Result<Config, Vec<ConfigError>> {
        let places = Places::new(text, origin);
        let (user, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let syntax = |error: &toml::de::Error| {
                let start = error.span().map_or(0, |span| span.start);
                places.error(start, error.message().to_owned(), None)
            };
            return Err(errors.iter().map(syntax).collect());
        }
        let defaults = DeTable::parse(DEFAULTS).expect("the built-in defaults are TOML");
        let reader = Reader::new(text);
        let sections = sections::read(Section::root(&reader, user.get_ref(), defaults.get_ref()));
        let mut config = Config::assemble(sections, origin);
        if reader.is_clean() {
            contradictions::find(&config, &reader);
        }
        let (problems, shown) = reader.into_parts();
        if problems.is_empty() {
            let line = |shown: &Shown| shown.offset.map(|offset| places.line_column(offset).0);
            config.shown = shown.into_iter().map(|key| (line(&key), key)).collect();
            return Ok(config);
        }
        let error = |problem: read::Problem| {
            places.error(problem.span.start, problem.message, problem.hint)
        };
        Err(problems.into_iter().map(error).collect())
    }

    /// Renders what is in effect as TOML; with `origin`, each key says where it comes from.
    ///
    /// The result is itself a configuration, equal to this one; what is not set and has no
    /// default is a comment.
    pub fn show(&self, origin: Origin) -> String {
        let mut sections: Vec<(&[String], Vec<String>)> = Vec::new();
        for (line, shown) in &self.shown {
            let key = bare(&shown.key);
            let mut text = match &shown.value {
                Some(value) => format!("{key} = {value}"),
                None => format!("# {key} is not set"),
            };
            if origin == Origin::Shown {
                text.push_str("  # ");
                match line {
                    Some(line) => text.push_str(&format!("{}:{line}", self.path.display())),
                    None => text.push_str("default"),
                }
            }
            match sections.iter_mut().find(|(section, _)| *section == shown.section) {
                Some((_, lines)) => lines.push(text),
                None => sections.push((&shown.section, vec![text])),
            }
        }
        let mut out = String::new();
        for (section, lines) in sections {
            let name: Vec<String> = section.iter().map(|part| bare(part)).collect();
            let gap = if out.is_empty() { "" } else { "\n" };
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{gap}[{}]\n{}", name.join("."), lines.join("\n"));
        }
        out
    }

    fn assemble(sections: sections::Sections, origin: &Path) -> Config {
        Config {
            path: origin.to_owned(),
            store: sections.store,
            compose: sections.compose,
            mounts: sections.mounts,
            category: sections.category,
            defaults: sections.defaults,
            repodata: sections.repodata,
            sign: sections.sign,
            keep: sections.keep,
            errata: sections.errata,
            torrent: sections.torrent,
            lists: sections.lists,
            releases: sections.releases,
            gates: sections.gates,
            gate_settings: sections.gate_settings,
            hooks: sections.hooks,
            shown: Vec::new(),
        }
    }
}

/// Whether [`Config::show`] says where each key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Values only.
    Hidden,
    /// A comment per key: `default`, or the file and line.
    Shown,
}

#[expect(clippy::disallowed_methods, reason = "the configuration is not the store's")]
fn read_file(path: &Path) -> Result<String, ConfigError> {
    use std::io::Read as _;
    let whole = |message: String, source| ConfigError {
        path: path.to_owned(),
        line: 0,
        column: 0,
        message,
        hint: None,
        source,
    };
    let unreadable = |error: std::io::Error| whole(error.to_string(), Some(error));
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(whole(format!("larger than {MAX_SIZE} bytes"), None));
    }
    String::from_utf8(bytes).map_err(|error| {
        whole(format!("byte {} is not UTF-8", error.utf8_error().valid_up_to()), None)
    })
}

/// Turns byte offsets into lines and columns.
struct Places<'t> {
    text: &'t str,
    path: &'t Path,
}

impl<'t> Places<'t> {
    fn new(text: &'t str, path: &'t Path) -> Places<'t> {
        Places { text, path }
    }

    fn line_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
        (line, column)
    }

    fn error(&self, offset: usize, message: String, hint: Option<String>) -> ConfigError {
        let (line, column) = self.line_column(offset);
        ConfigError { path: self.path.to_owned(), line, column, message, hint, source: None }
    }
}
