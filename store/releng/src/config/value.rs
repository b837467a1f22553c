//! The small languages inside the configuration: versions, durations, shares, owners, templates.
//!
//! Each is parsed once, at the border; what the rest of cairn sees is always valid. Nothing here
//! knows about TOML, so the command line reads its own arguments with the same functions.

use std::fmt;
use std::time::Duration;

/// Why a text is not a valid value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ValueError {
    /// What is wrong, with the text that was found.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
    /// Byte offset of the fault inside the text, where one place is to blame.
    pub offset: usize,
}

impl ValueError {
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> ValueError {
        ValueError { message: message.into(), hint: Some(hint.into()), offset: 0 }
    }

    fn at(mut self, offset: usize) -> ValueError {
        self.offset = offset;
        self
    }
}

/// Version of a point release, such as `9.7`; ordered as releases follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The major release, `9`.
    pub major: u32,
    /// The point release, `7`.
    pub minor: u32,
}

impl Version {
    /// Parses `MAJOR.MINOR`; only the form that `Display` writes is accepted, so that one version
    /// has one ref name.
    pub fn parse(text: &str) -> Result<Version, ValueError> {
        let parsed = text.split_once('.').and_then(|(major, minor)| {
            Some(Version { major: plain_number(major)?, minor: plain_number(minor)? })
        });
        parsed.ok_or_else(|| {
            ValueError::new(
                format!("{text:?} is not a version"),
                "a version is MAJOR.MINOR, such as \"9.7\"",
            )
        })
    }

    /// Returns the version with `_` for the dot, as the addresses of the release notes have it.
    pub fn underscored(&self) -> String {
        format!("{}_{}", self.major, self.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Parses a decimal number without sign, space or leading zero.
pub(crate) fn plain_number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    if digits && !padded { text.parse().ok() } else { None }
}

/// Units of a duration with their seconds, the largest first.
const UNITS: [(&str, u64); 5] =
    [("w", 7 * 24 * 3600), ("d", 24 * 3600), ("h", 3600), ("m", 60), ("s", 1)];

/// Parses a whole number with a unit: `0s`, `90s`, `15m`, `24h`, `7d`, `2w`.
pub fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    let parsed = UNITS.iter().find_map(|(unit, seconds)| {
        let count = u64::from(plain_number(text.strip_suffix(unit)?)?);
        Some(Duration::from_secs(count.checked_mul(*seconds)?))
    });
    parsed.ok_or_else(|| {
        ValueError::new(
            format!("{text:?} is not a duration"),
            "a duration is a whole number and a unit: \"90s\", \"15m\", \"24h\", \"7d\" or \"2w\"",
        )
    })
}

/// Renders a duration with the largest unit of s, m and h that holds it exactly.
///
/// Days and weeks are accepted but not written: `24h` is how operators speak of a grace.
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let unit = UNITS[2..].iter().find(|(_, size)| seconds > 0 && seconds.is_multiple_of(*size));
    match unit {
        Some((unit, size)) => format!("{}{unit}", seconds / size),
        None => format!("{seconds}s"),
    }
}

/// A share between 0 % and 100 %, exact to a hundredth of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent {
    hundredths: u16,
}

impl Percent {
    /// No share at all.
    pub const NONE: Percent = Percent { hundredths: 0 };

    /// Parses `10%` or `2.5%`, with at most two decimals.
    pub fn parse(text: &str) -> Result<Percent, ValueError> {
        let hint = "a share is a number and \"%\": \"10%\" or \"2.5%\"";
        let wrong = || ValueError::new(format!("{text:?} is not a percentage"), hint);
        let number = text.strip_suffix('%').ok_or_else(wrong)?;
        let (whole, decimals) = match number.split_once('.') {
            Some((_, "")) => return Err(wrong()),
            Some((whole, decimals)) => (whole, decimals),
            None => (number, ""),
        };
        if decimals.len() > 2 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let whole = u64::from(plain_number(whole).ok_or_else(wrong)?);
        let fraction: u64 = format!("{decimals:0<2}").parse().map_err(|_| wrong())?;
        match u16::try_from(whole * 100 + fraction) {
            Ok(hundredths) if hundredths <= 10_000 => Ok(Percent { hundredths }),
            _ => Err(ValueError::new(format!("{text:?} is more than 100%"), hint)),
        }
    }

    /// Returns the share in hundredths of a percent: `2.5%` is 250.
    pub fn hundredths(&self) -> u16 {
        self.hundredths
    }

    /// Tells whether `part` of `whole` is more than this share; a part of nothing always is.
    pub fn is_exceeded(&self, part: u64, whole: u64) -> bool {
        u128::from(part) * 10_000 > u128::from(whole) * u128::from(self.hundredths)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.hundredths / 100, self.hundredths % 100);
        match fraction {
            0 => write!(f, "{whole}%"),
            tenths if tenths % 10 == 0 => write!(f, "{whole}.{}%", tenths / 10),
            _ => write!(f, "{whole}.{fraction:02}%"),
        }
    }
}

/// Numeric owner of published files, `10004:10005`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Owner {
    /// Parses `UID:GID`; names are refused, because the hosts that share a mount may map them
    /// differently.
    pub fn parse(text: &str) -> Result<Owner, ValueError> {
        let parsed = text
            .split_once(':')
            .and_then(|(uid, gid)| Some((plain_number(uid)?, plain_number(gid)?)))
            // chown(2) reads -1 as "leave it alone".
            .filter(|(uid, gid)| *uid != u32::MAX && *gid != u32::MAX);
        match parsed {
            Some((uid, gid)) => Ok(Owner { uid, gid }),
            None => Err(ValueError::new(
                format!("{text:?} is not an owner"),
                "an owner is \"UID:GID\" in numbers, such as \"10004:10005\"",
            )),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// A text with `{placeholders}`, all of them known where it was written; `{{` and `}}` are braces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    Literal(String),
    Placeholder(String),
}

/// A template names a placeholder for which no value was given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template {template:?}: no value for {{{placeholder}}} here")]
pub struct TemplateError {
    /// The template as written.
    pub template: String,
    /// The placeholder without its braces.
    pub placeholder: String,
}

impl Template {
    /// Returns the template of the empty text.
    pub(crate) fn empty() -> Template {
        Template { text: String::new(), parts: Vec::new() }
    }

    /// Parses a text whose placeholders must all be among `allowed`.
    pub fn parse(text: &str, allowed: &[&str]) -> Result<Template, ValueError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, tail) = rest.split_at(at);
            literal.push_str(before);
            let offset = text.len() - tail.len();
            if let Some(tail) = tail.strip_prefix("{{") {
                literal.push('{');
                rest = tail;
            } else if let Some(tail) = tail.strip_prefix("}}") {
                literal.push('}');
                rest = tail;
            } else {
                let (name, tail) = placeholder(tail).map_err(|error| error.at(offset))?;
                known_placeholder(name, allowed).map_err(|error| error.at(offset))?;
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(Part::Placeholder(name.to_owned()));
                rest = tail;
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Template { text: text.to_owned(), parts })
    }

    /// Returns the template as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Tells whether the placeholder occurs.
    pub fn mentions(&self, name: &str) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Placeholder(own) if own == name))
    }

    /// Fills in the placeholders; one without a value is an error, never an empty text.
    pub fn expand(&self, values: &[(&str, &str)]) -> Result<String, TemplateError> {
        let mut out = String::with_capacity(self.text.len());
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Placeholder(name) => {
                    let value = values.iter().find(|(key, _)| key == name);
                    out.push_str(value.map(|(_, value)| *value).ok_or_else(|| TemplateError {
                        template: self.text.clone(),
                        placeholder: name.clone(),
                    })?);
                }
            }
        }
        Ok(out)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Splits `{name}rest`; the text begins with a brace.
fn placeholder(text: &str) -> Result<(&str, &str), ValueError> {
    let body = text.strip_prefix('{').ok_or_else(|| {
        ValueError::new("a \"}\" without its \"{\"", "a brace itself is written \"}}\"")
    })?;
    body.split_once('}').ok_or_else(|| {
        ValueError::new("a \"{\" without its \"}\"", "a brace itself is written \"{{\"")
    })
}

fn known_placeholder(name: &str, allowed: &[&str]) -> Result<(), ValueError> {
    if allowed.contains(&name) {
        return Ok(());
    }
    let hint = match nearest(name, allowed.iter().copied()) {
        Some(near) => format!("did you mean \"{{{near}}}\"?"),
        None => format!("known here: {{{}}}", allowed.join("}, {")),
    };
    Err(ValueError::new(format!("unknown placeholder \"{{{name}}}\""), hint))
}

/// Declares an enum whose variants are words of the configuration.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every variant, in the order of the documentation.
            pub const ALL: &[$name] = &[$($name::$variant),+];

            /// Returns the word as the configuration writes it.
            pub fn as_str(&self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }

            /// Parses the word; an unknown one is an error that names the known ones.
            pub fn parse(text: &str) -> Result<$name, ValueError> {
                $name::ALL.iter().copied().find(|word| word.as_str() == text).ok_or_else(|| {
                    unknown_word(text, $name::ALL.iter().map(|word| word.as_str()))
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// How a view shares content with its pool.
    LinkMode {
        /// The cheapest that the filesystem offers: reflink, hardlink, copy.
        Auto = "auto",
        /// Clones of extents; an own inode each.
        Reflink = "reflink",
        /// Hard links to the pool's files.
        Hardlink = "hardlink",
        /// Full copies.
        Copy = "copy",
    }
}

words! {
    /// How a view changes from one tree to the next.
    SwapMode {
        /// What the probe of `cairn init` found to work.
        Auto = "auto",
        /// One exchange of two directories.
        Exchange = "exchange",
        /// One rename over a symlink.
        Symlink = "symlink",
        /// Additions, then repomd.xml, then deletions.
        InPlace = "in-place",
    }
}

words! {
    /// How the signing command hands over its signature.
    SignMode {
        /// It leaves `FILE.asc` beside the file that it is given.
        InPlace = "in-place",
        /// It reads the data on stdin and writes the armoured signature to stdout.
        Stdio = "stdio",
    }
}

words! {
    /// Checksum of records and packages in repodata.
    Checksum {
        /// SHA-256, which every client reads and by which packages are known.
        Sha256 = "sha256",
    }
}

words! {
    /// Whose repos the packages of a SIG are used with.
    #[derive(Default)]
    SigsBeside {
        /// The release's in production; those that are staged where it is not there yet.
        #[default]
        Production = "production",
        /// The release's that are staged; those in production where nothing is.
        Staging = "staging",
    }
}

words! {
    /// Compression of a repodata record.
    Compression {
        /// Not compressed.
        None = "none",
        /// gzip, which every client reads.
        Gz = "gz",
        /// bzip2.
        Bz2 = "bz2",
        /// xz.
        Xz = "xz",
        /// Zstandard; dnf of release 8 cannot read it.
        Zstd = "zstd",
    }
}

words! {
    /// Kind of torrent.
    TorrentFormat {
        /// BitTorrent v1, which every client reads.
        V1 = "v1",
        /// v1 and v2 in one file; transmission 3 cannot parse it.
        Hybrid = "hybrid",
    }
}

words! {
    /// Where a ref stands on its way to users.
    Environment {
        /// Release candidates.
        Staging = "staging",
        /// What mirrors carry.
        Production = "production",
        /// Releases of the past.
        Vault = "vault",
    }
}

words! {
    /// What a hook hears of: a verb that has done something.
    HookEvent {
        /// A compose was ingested.
        Ingest = "ingest",
        /// A tree that was live already was taken over.
        Adopt = "adopt",
        /// A staging ref moved.
        Stage = "stage",
        /// A minor release was staged.
        Minor = "minor",
        /// Advisories were added to what is staged.
        Errata = "errata",
        /// What is staged was signed.
        Sign = "sign",
        /// Somebody approved a snapshot, or took that back.
        Approve = "approve",
        /// What was staged is production.
        Promote = "promote",
        /// An embargo ended.
        Open = "open",
        /// A release was copied to the vault.
        Vault = "vault",
        /// A ref returned to an earlier snapshot.
        Rollback = "rollback",
        /// A view was swapped without an operation of its own.
        Publish = "publish",
        /// A snapshot is held, or is not any more.
        Hold = "hold",
        /// Garbage was collected.
        Gc = "gc",
    }
}

fn unknown_word(text: &str, known: impl Iterator<Item = &'static str> + Clone) -> ValueError {
    let hint = suggestion(text, known, "expected one of");
    ValueError::new(format!("unknown value {text:?}"), hint)
}

/// Returns a question that names the nearest known word, or the list of all.
pub(crate) fn suggestion<'a>(
    text: &str,
    known: impl Iterator<Item = &'a str> + Clone,
    otherwise: &str,
) -> String {
    match nearest(text, known.clone()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("{otherwise}: {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// Returns the known word that is near enough to be what was meant.
pub(crate) fn nearest<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let text: Vec<char> = text.to_lowercase().chars().take(64).collect();
    let limit = (text.len() / 3).max(1);
    known
        .map(|word| (distance(&text, &word.to_lowercase().chars().collect::<Vec<_>>()), word))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, word)| word)
}

/// Counts insertions, deletions, substitutions and swaps of neighbours between two words.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}
