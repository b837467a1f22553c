//! RPM packages, made from a name and a version.
//!
//! The `rpm` crate builds the package; what it cannot say (the source package, source packages
//! themselves, the module label, a build time of our own) is put into its header afterwards,
//! and the digests are made again over the result. Every byte follows from the description.

use rpm::{
    BuildConfig, CompressionWithLevel, Dependency, FileOptions, Header, HeaderEntry, IndexData,
    IndexTag, PackageBuilder, PackageMetadata, SignatureHeaderBuilder,
};

use super::Error;

/// 2025-09-01, when the first of the sample's packages are said to be built.
const FIRST_BUILD: u64 = 1_756_684_800;
/// Builds are spread over this many days after `FIRST_BUILD`.
const BUILD_DAYS: u64 = 45;
const DAY: u64 = 86_400;

/// A package of a compose, described.
///
/// What is not said follows from the name: the source package, a summary, a program in
/// `/usr/bin` with some incompressible bytes, a readme, and the time of the build.
#[derive(Clone, Debug)]
pub struct Package {
    pub(super) name: String,
    evr: String,
    arch: Option<String>,
    source: Option<String>,
    module: Option<String>,
    requires: Vec<String>,
    provides: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
    size: Option<usize>,
    build: u32,
}

impl Package {
    /// Describes a package by its name and `[epoch:]version-release`.
    pub fn new(name: impl Into<String>, evr: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            evr: evr.into(),
            arch: None,
            source: None,
            module: None,
            requires: Vec::new(),
            provides: Vec::new(),
            files: Vec::new(),
            size: None,
            build: 0,
        }
    }

    /// Sets the architecture where it is not the repo's: `noarch`, or `i686` among `x86_64`.
    #[must_use]
    pub fn arch(mut self, arch: impl Into<String>) -> Self {
        self.arch = Some(arch.into());
        self
    }

    /// Names the source package that it was built from; its own name when not called.
    #[must_use]
    pub fn source(mut self, name: impl Into<String>) -> Self {
        self.source = Some(name.into());
        self
    }

    /// Makes it an artifact of a module, as `name:stream:version:context`.
    #[must_use]
    pub fn module(mut self, label: impl Into<String>) -> Self {
        self.module = Some(label.into());
        self
    }

    /// Adds a requirement: a name, or `name = 1.0-1`, `name >= 1.0`.
    #[must_use]
    pub fn requires(mut self, what: impl Into<String>) -> Self {
        self.requires.push(what.into());
        self
    }

    /// Adds a capability, written as a requirement is.
    #[must_use]
    pub fn provides(mut self, what: impl Into<String>) -> Self {
        self.provides.push(what.into());
        self
    }

    /// Adds a file to install.
    #[must_use]
    pub fn file(mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((path.into(), content.into()));
        self
    }

    /// Sets the size of its program, in bytes; from 1 to 16 KiB when not called.
    #[must_use]
    pub fn size(mut self, bytes: usize) -> Self {
        self.size = Some(bytes);
        self
    }

    /// Makes it the `n`-th build of the same name and version: other content, same NEVRA.
    #[must_use]
    pub fn rebuilt(mut self, n: u32) -> Self {
        self.build = n;
        self
    }

    /// Works out what is to be built for a repo of this architecture.
    pub(super) fn resolve(&self, repo_arch: &str) -> Result<Recipe, Error> {
        let wrong = || Error::Evr { name: self.name.clone(), evr: self.evr.clone() };
        let (epoch, rest) = match self.evr.split_once(':') {
            Some((epoch, rest)) => (Some(epoch.parse().map_err(|_| wrong())?), rest),
            None => (None, self.evr.as_str()),
        };
        let (version, release) = rest.rsplit_once('-').ok_or_else(wrong)?;
        if version.is_empty() || release.is_empty() {
            return Err(wrong());
        }
        let arch = self.arch.as_deref().unwrap_or(repo_arch);
        Ok(Recipe {
            kind: Kind::Binary,
            name: self.name.clone(),
            epoch,
            version: version.to_owned(),
            release: release.to_owned(),
            arch: arch.to_owned(),
            source: self.source.clone().unwrap_or_else(|| self.name.clone()),
            module: self.module.clone(),
            requires: self.requires.clone(),
            provides: self.provides.clone(),
            files: self.files.clone(),
            size: self.size,
            build: self.build,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Binary,
    Debug,
    Source,
}

/// One RPM file to be made.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    kind: Kind,
    pub(super) name: String,
    pub(super) epoch: Option<u32>,
    pub(super) version: String,
    pub(super) release: String,
    /// The architecture in the file's name; `src` for a source package.
    pub(super) arch: String,
    source: String,
    module: Option<String>,
    requires: Vec<String>,
    provides: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
    size: Option<usize>,
    build: u32,
}

impl Recipe {
    /// The package with this one's debug information; `None` where there is no machine code.
    pub(super) fn debug(&self) -> Option<Recipe> {
        if self.arch == "noarch" {
            return None;
        }
        Some(Recipe {
            kind: Kind::Debug,
            name: format!("{}-debuginfo", self.name),
            requires: Vec::new(),
            provides: Vec::new(),
            files: Vec::new(),
            ..self.clone()
        })
    }

    /// The source package that this one was built from.
    pub(super) fn source(&self) -> Recipe {
        Recipe {
            kind: Kind::Source,
            name: self.source.clone(),
            arch: "src".to_owned(),
            requires: vec!["gcc".to_owned(), "make".to_owned()],
            provides: Vec::new(),
            files: Vec::new(),
            size: None,
            ..self.clone()
        }
    }

    /// `name-version-release.arch.rpm`.
    pub(super) fn file_name(&self) -> String {
        format!("{}-{}-{}.{}.rpm", self.name, self.version, self.release, self.arch)
    }

    /// Where a repo keeps it: `Packages/b/bash-5.1.8-6.el9.x86_64.rpm`.
    pub(super) fn href(&self) -> String {
        let initial = self.name.chars().next().unwrap_or('_').to_ascii_lowercase();
        format!("Packages/{initial}/{}", self.file_name())
    }

    /// `name-epoch:version-release.arch`, with the epoch always written, as productmd does.
    pub(super) fn nevra(&self) -> String {
        let epoch = self.epoch.unwrap_or(0);
        format!("{}-{epoch}:{}-{}.{}", self.name, self.version, self.release, self.arch)
    }

    /// `[epoch:]version-release`.
    pub(super) fn evr(&self) -> String {
        match self.epoch {
            Some(epoch) => format!("{epoch}:{}-{}", self.version, self.release),
            None => format!("{}-{}", self.version, self.release),
        }
    }

    /// The module stream that it belongs to.
    pub(super) fn module_label(&self) -> Option<&str> {
        self.module.as_deref()
    }

    /// The name of the source package's file.
    pub(super) fn source_rpm(&self) -> String {
        format!("{}-{}-{}.src.rpm", self.source, self.version, self.release)
    }

    /// When it is said to have been built, in seconds since 1970.
    pub(super) fn build_time(&self) -> u64 {
        // By the source, so that one source's packages are of one build.
        let label = format!("{}-{}-{}", self.source, self.version, self.release);
        FIRST_BUILD + hash(&label) % (BUILD_DAYS * DAY) + u64::from(self.build) * DAY
    }

    /// Makes the RPM file.
    pub(super) fn build(&self) -> Result<Vec<u8>, Error> {
        self.try_build()
            .map_err(|source| Error::Rpm { nevra: self.nevra(), source: Box::new(source) })
    }

    fn try_build(&self) -> Result<Vec<u8>, rpm::Error> {
        // The crate wants a real architecture; a source package has that of its build host.
        let arch = if self.kind == Kind::Source { "x86_64" } else { self.arch.as_str() };
        let summary = match self.kind {
            Kind::Binary | Kind::Source => format!("The {} sample package", self.name),
            Kind::Debug => format!("Debug information for package {}", self.name),
        };
        let mut builder =
            PackageBuilder::new(&self.name, &self.version, "MIT", arch, summary.as_str());
        builder
            .using_config(
                BuildConfig::v4()
                    .compression(CompressionWithLevel::Gzip(6))
                    .source_date(self.build_time() as u32)
                    .reserved_space(None),
            )
            .release(self.release.as_str())
            .description(format!("{summary}.\nIt holds nothing that anybody needs."))
            .url(format!("https://example.org/{}", self.source))
            .vendor("cairn")
            .packager("cairn <cairn@example.org>")
            .group("Unspecified")
            .build_host("builder.example.org")
            .add_changelog_entry(
                format!("Sample Packager <sample@example.org> - {}", self.evr()),
                "- Build it",
                (FIRST_BUILD - FIRST_BUILD % DAY + DAY / 2) as u32,
            );
        if let Some(epoch) = self.epoch {
            builder.epoch(epoch);
        }
        for what in &self.requires {
            builder.requires(dependency(what));
        }
        for what in &self.provides {
            builder.provides(dependency(what));
        }
        for (path, mode, content) in self.payload() {
            builder.with_file_contents(content, FileOptions::new(path).permissions(mode))?;
        }
        self.finish(builder.build()?)
    }

    fn payload(&self) -> Vec<(String, u16, Vec<u8>)> {
        let Recipe { name, version, release, arch, .. } = self;
        let noise = |salt: &str, default: usize| {
            let seed = format!("{}#{}{salt}", self.nevra(), self.build);
            noise(hash(&seed), self.size.unwrap_or(default))
        };
        let small = 1024 + (hash(name) % (15 * 1024)) as usize;
        let readme = format!("{name} {version}-{release}, build {}\n", self.build).into_bytes();
        let mut files = match self.kind {
            Kind::Binary => vec![
                (format!("/usr/bin/{name}"), 0o755, noise("", small)),
                (format!("/usr/share/doc/{name}.{arch}/README"), 0o644, readme),
            ],
            Kind::Debug => {
                let path =
                    format!("/usr/lib/debug/usr/bin/{name}-{version}-{release}.{arch}.debug");
                vec![(path, 0o644, noise("debug", small))]
            }
            Kind::Source => vec![
                (format!("/{name}-{version}.tar.gz"), 0o644, noise("source", small)),
                (format!("/{name}.spec"), 0o644, readme),
            ],
        };
        files.extend(
            self.files.iter().map(|(path, content)| (path.clone(), 0o644, content.clone())),
        );
        files
    }

    /// Rewrites the header with what the builder has no words for, and signs it off anew.
    fn finish(&self, built: rpm::Package) -> Result<Vec<u8>, rpm::Error> {
        let source = self.kind == Kind::Source;
        let replaced = [
            IndexTag::RPMTAG_HEADERIMMUTABLE,
            IndexTag::RPMTAG_SOURCERPM,
            IndexTag::RPMTAG_BUILDTIME,
        ]
        .map(|tag| tag as u32);
        let mut entries: Vec<HeaderEntry> = Vec::new();
        for (tag, data) in built.metadata.header.get_all_entries()? {
            if replaced.contains(&tag) {
                continue;
            }
            let data = match data {
                // The files of a source package lie in no directory.
                IndexData::StringArray(_) if source && tag == IndexTag::RPMTAG_DIRNAMES as u32 => {
                    IndexData::StringArray(vec![String::new()])
                }
                data => data,
            };
            entries.push(HeaderEntry::new(tag, data));
        }
        let mut put = |tag: IndexTag, data| entries.push(HeaderEntry::new(tag as u32, data));
        put(IndexTag::RPMTAG_BUILDTIME, IndexData::Int32(vec![self.build_time() as u32]));
        match self.kind {
            Kind::Source => put(IndexTag::RPMTAG_SOURCEPACKAGE, IndexData::Int32(vec![1])),
            Kind::Binary | Kind::Debug => {
                put(IndexTag::RPMTAG_SOURCERPM, IndexData::StringTag(self.source_rpm()));
            }
        }
        if let Some(label) = &self.module {
            put(IndexTag::RPMTAG_MODULARITYLABEL, IndexData::StringTag(label.clone()));
        }

        let rpm::Package { metadata, payload } = built;
        let mut metadata = PackageMetadata {
            header: Header::from_entries(entries, IndexTag::RPMTAG_HEADERIMMUTABLE),
            ..metadata
        };
        let header = metadata.header_bytes()?;
        metadata.signature = SignatureHeaderBuilder::new()
            .reserved_space(None)
            .set_content_length((header.len() + payload.len()) as u64)
            .calculate_digests(&header)
            .build()?;
        let mut out = Vec::with_capacity(payload.len() + header.len() + 1024);
        rpm::Package { metadata, payload }.write(&mut out)?;
        if source {
            // The lead's type, which the crate fixes at "binary"; no digest covers the lead.
            out[LEAD_TYPE..LEAD_TYPE + 2].copy_from_slice(&1_u16.to_be_bytes());
        }
        Ok(out)
    }
}

/// Where an RPM's lead says whether it is binary (0) or source (1); 16 bits, big-endian.
const LEAD_TYPE: usize = 6;

fn dependency(what: &str) -> Dependency {
    let words: Vec<&str> = what.split_whitespace().collect();
    match words.as_slice() {
        [name, "=", version] => Dependency::eq(*name, *version),
        [name, ">=", version] => Dependency::greater_eq(*name, *version),
        [name, "<=", version] => Dependency::less_eq(*name, *version),
        [name, ">", version] => Dependency::greater(*name, *version),
        [name, "<", version] => Dependency::less(*name, *version),
        _ => Dependency::any(what),
    }
}

/// FNV-1a, which is the same on every machine and in every build.
pub(super) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Bytes that do not compress, from splitmix64.
pub(super) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}
