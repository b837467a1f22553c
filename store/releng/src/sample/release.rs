//! Advisories and module streams.

/// An advisory, for `updateinfo`.
#[derive(Clone, Debug)]
pub struct Advisory {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) kind: &'static str,
    pub(super) severity: String,
    pub(super) cves: Vec<String>,
    pub(super) packages: Vec<String>,
    pub(super) issued: String,
}

impl Advisory {
    /// Describes an advisory, of kind `bugfix`: `RLBA-2025:1234`, `tzdata bug fix update`.
    pub fn new(id: impl Into<String>, title: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            title: title.into(),
            kind: "bugfix",
            severity: "None".to_owned(),
            cves: Vec::new(),
            packages: Vec::new(),
            issued: "2025-10-28 12:00:00".to_owned(),
        }
    }

    /// Makes it a security advisory: `Low`, `Moderate`, `Important` or `Critical`.
    #[must_use]
    pub fn security(mut self, severity: impl Into<String>) -> Self {
        self.kind = "security";
        self.severity = severity.into();
        self
    }

    /// Adds a vulnerability that it fixes.
    #[must_use]
    pub fn cve(mut self, id: impl Into<String>) -> Self {
        self.cves.push(id.into());
        self
    }

    /// Adds the repo's packages of this name to its list.
    #[must_use]
    pub fn updates(mut self, package: impl Into<String>) -> Self {
        self.packages.push(package.into());
        self
    }

    /// Sets when it was issued: `2025-11-12 08:00:00`.
    #[must_use]
    pub fn issued(mut self, time: impl Into<String>) -> Self {
        self.issued = time.into();
        self
    }
}

/// A stream of a module, for `modules.yaml`.
///
/// Its artifacts are the repo's packages that carry its [`label`](Module::label).
#[derive(Clone, Debug)]
pub struct Module {
    pub(super) name: String,
    pub(super) stream: String,
    pub(super) version: u64,
    pub(super) context: String,
}

impl Module {
    /// Describes a stream by name, stream, version and context.
    pub fn new(
        name: impl Into<String>,
        stream: impl Into<String>,
        version: u64,
        context: impl Into<String>,
    ) -> Self {
        Self { name: name.into(), stream: stream.into(), version, context: context.into() }
    }

    /// What its packages' headers say: `nodejs:18:9070020251001:rhel9`.
    pub fn label(&self) -> String {
        let Self { name, stream, version, context } = self;
        format!("{name}:{stream}:{version}:{context}")
    }
}
