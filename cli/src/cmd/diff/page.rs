//! What a report shows, section by section; the forms only say how.
//!
//! Everything from outside, a name, a path, a title, is a [`Cell`] of its own and never part of a
//! sentence, so that a form has one place where it is escaped for it.

use cairn_releng::audit::{
    Amount, Fate, FileCategory, FileRow, MetadataDiff, PackagesDiff, SourceRow, State,
};
use cairn_store::path::{Escaped, RelPath};

use super::Review;
use crate::output::{count, thousands};

/// A word's meaning, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Seldom meant.
    Bad,
    /// Deserves a look.
    Warn,
    /// As it should be.
    Good,
    /// Neither.
    Plain,
}

/// A cell of a table. Strings are from outside; they are escaped for a reader's eye, not for a
/// form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// A name or a path.
    Name(String),
    /// A text for people, such as a title.
    Text(String),
    /// Names, of which a form may fold most.
    Names(Vec<String>),
    /// A word of ours.
    Word(Tone, &'static str),
    /// What was and what is.
    Versions(Option<String>, Option<String>),
    /// Bytes.
    Size(u64),
    /// Bytes that came or went.
    Delta(i128),
    /// A number of things.
    Number(u64),
}

impl Cell {
    fn name(text: &str) -> Self {
        Cell::Name(clean(text))
    }

    fn path(path: &RelPath) -> Self {
        Cell::Name(shown(path))
    }

    fn text(text: &str) -> Self {
        Cell::Text(clean(text))
    }

    fn names(list: &[String]) -> Self {
        Cell::Names(list.iter().map(|name| clean(name)).collect())
    }

    fn repos(list: &[RelPath]) -> Self {
        Cell::Names(list.iter().map(shown).collect())
    }

    fn state(state: State) -> Self {
        match state {
            State::Removed => Cell::Word(Tone::Bad, "removed"),
            State::Added => Cell::Word(Tone::Good, "added"),
            State::Changed => Cell::Word(Tone::Warn, "changed"),
        }
    }
}

/// A table; every row has a cell for each column.
#[derive(Clone, Debug)]
pub struct Table {
    /// The columns' names.
    pub columns: &'static [&'static str],
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
}

/// A section of a report.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its headline.
    pub title: &'static str,
    /// What there is, in a few words of ours.
    pub lead: String,
    /// The rows.
    pub table: Table,
}

/// Text from outside, with what would confuse the eye escaped.
pub fn clean(text: &str) -> String {
    Escaped(text.as_bytes()).to_string()
}

fn shown(path: &RelPath) -> String {
    if path.is_root() { ".".to_owned() } else { path.to_string() }
}

/// Returns the sections of a report; those of a level that was not asked for are not there, and
/// those in which nothing differs have no rows.
pub fn sections(review: &Review) -> Vec<Section> {
    let audit = &review.audit;
    let mut sections = Vec::new();
    if let (Some(packages), Some(sources)) = (&audit.packages, &audit.sources) {
        sections.push(package_section(packages, sources));
        if !(packages.repos_added.is_empty() && packages.repos_removed.is_empty()) {
            sections.push(repo_section(packages));
        }
    }
    sections.extend(advisory_section(review));
    sections.extend(module_section(review));
    sections.extend(comps_section(review));
    sections.extend(treeinfo_section(review));
    if audit.metadata.is_some() {
        sections.push(image_section(review));
    }
    sections.extend(size_section(review));
    sections.extend(audit.metadata.as_ref().map(record_section));
    sections
}

fn package_section(packages: &PackagesDiff, sources: &[SourceRow]) -> Section {
    let counts = Fate::ALL.into_iter().map(|fate| (fate.rows(packages).len(), fate.as_str()));
    let lead = match counted(counts.map(|(number, word)| (number as u64, word))) {
        none if none.is_empty() => "no package differs".to_owned(),
        lead => format!("{lead}, counted in each architecture and repo"),
    };
    let rows = sources.iter().map(|row| {
        let tone = match row.fate {
            Fate::Downgraded => Tone::Bad,
            Fate::Removed if row.lost => Tone::Bad,
            Fate::Removed | Fate::Rebuilt => Tone::Warn,
            Fate::Upgraded | Fate::Added => Tone::Good,
        };
        vec![
            Cell::Word(tone, row.fate.as_str()),
            Cell::name(&row.source),
            versions(row.fate, &row.old, &row.new),
            Cell::Delta(i128::from(row.new_size) - i128::from(row.old_size)),
            Cell::names(&row.packages),
            Cell::names(&row.arches),
            Cell::repos(&row.repos),
        ]
    });
    const COLUMNS: &[&str] =
        &["Change", "Source", "Version", "Size", "Packages", "Architectures", "Repos"];
    let table = Table { columns: COLUMNS, rows: rows.collect() };
    Section { title: "Packages", lead, table }
}

fn versions(fate: Fate, old: &Option<String>, new: &Option<String>) -> Cell {
    let [old, new] = [old, new].map(|evr| evr.as_deref().map(clean));
    match fate {
        Fate::Rebuilt if old == new => Cell::Versions(None, new),
        _ => Cell::Versions(old, new),
    }
}

fn repo_section(packages: &PackagesDiff) -> Section {
    let lost = packages.repos_removed.iter();
    let lost = lost.map(|repo| vec![Cell::Word(Tone::Bad, "removed"), Cell::path(repo)]);
    let new = packages.repos_added.iter();
    let new = new.map(|repo| vec![Cell::Word(Tone::Good, "added"), Cell::path(repo)]);
    let lead = counted([
        (packages.repos_removed.len() as u64, "removed"),
        (packages.repos_added.len() as u64, "added"),
    ]);
    let table = Table { columns: &["Change", "Repo"], rows: lost.chain(new).collect() };
    Section { title: "Repos", lead, table }
}

fn states<'a>(states: impl Iterator<Item = &'a State>) -> String {
    let [mut removed, mut added, mut changed] = [0; 3];
    for state in states {
        match state {
            State::Removed => removed += 1,
            State::Added => added += 1,
            State::Changed => changed += 1,
        }
    }
    match counted([(removed, "removed"), (added, "added"), (changed, "changed")]) {
        none if none.is_empty() => "nothing differs".to_owned(),
        counts => counts,
    }
}

fn counted<'a>(counts: impl IntoIterator<Item = (u64, &'a str)>) -> String {
    let counts = counts.into_iter().filter(|(number, _)| *number > 0);
    let words = counts.map(|(number, word)| format!("{} {word}", thousands(number)));
    words.collect::<Vec<_>>().join(", ")
}

fn advisory_section(review: &Review) -> Option<Section> {
    let advisories = review.audit.advisories.as_ref()?;
    let rows = advisories.iter().map(|row| {
        let kind = match row.weight() {
            0 => Cell::text(&row.kind),
            _ => Cell::text(&row.severity),
        };
        vec![
            Cell::state(row.state),
            Cell::name(&row.id),
            kind,
            Cell::text(&row.title),
            Cell::names(&row.packages),
            Cell::repos(&row.repos),
        ]
    });
    let new = advisories.iter().filter(|row| row.state == State::Added);
    let of = |weight| new.clone().filter(|row| row.weight() == weight).count() as u64;
    let severities = counted([
        (of(4), "critical"),
        (of(3), "important"),
        (of(2), "moderate"),
        (of(1), "low"),
        (of(0), "other"),
    ]);
    let mut lead = states(advisories.iter().map(|row| &row.state));
    if !severities.is_empty() {
        lead += &format!("; of the new ones {severities}");
    }
    const COLUMNS: &[&str] = &["Change", "Advisory", "Severity", "Title", "Packages", "Repos"];
    let table = Table { columns: COLUMNS, rows: rows.collect() };
    Some(Section { title: "Advisories", lead, table })
}

fn module_section(review: &Review) -> Option<Section> {
    let modules = review.audit.modules.as_ref()?;
    let streams = modules.streams.iter().map(|row| {
        let builds = |list: &[String]| Some(clean(&list.join(" "))).filter(|text| !text.is_empty());
        let gone = row.packages_removed.iter().map(|name| format!("− {}", clean(name)));
        let came = row.packages_added.iter().map(|name| format!("+ {}", clean(name)));
        vec![
            Cell::state(row.state),
            Cell::name(&format!("{}:{}", row.module, row.stream)),
            Cell::Versions(builds(&row.old), builds(&row.new)),
            Cell::Names(gone.chain(came).collect()),
            Cell::repos(&row.repos),
        ]
    });
    let documents = modules.documents.iter().map(|row| {
        vec![
            Cell::state(row.state),
            Cell::name(&row.subject),
            Cell::Text(row.document.to_string()),
            Cell::Names(Vec::new()),
            Cell::repos(&row.repos),
        ]
    });
    let all = modules.streams.iter().map(|row| &row.state);
    let lead = states(all.chain(modules.documents.iter().map(|row| &row.state)));
    const COLUMNS: &[&str] = &["Change", "Stream", "Builds", "Packages", "Repos"];
    let table = Table { columns: COLUMNS, rows: streams.chain(documents).collect() };
    Some(Section { title: "Module streams", lead, table })
}

fn comps_section(review: &Review) -> Option<Section> {
    let comps = review.audit.comps.as_ref()?;
    let rows = comps.iter().map(|row| {
        let gone = row.removed.iter().map(|name| format!("− {}", clean(name)));
        let came = row.added.iter().map(|name| format!("+ {}", clean(name)));
        let other = row.changed.iter().map(|name| clean(name));
        vec![
            Cell::state(row.state),
            Cell::Text(row.kind.to_string()),
            Cell::name(&row.id),
            Cell::text(&row.name),
            Cell::Names(gone.chain(came).chain(other).collect()),
            Cell::repos(&row.repos),
        ]
    });
    let lead = states(comps.iter().map(|row| &row.state));
    const COLUMNS: &[&str] = &["Change", "Kind", "Id", "Name", "Members", "Repos"];
    let table = Table { columns: COLUMNS, rows: rows.collect() };
    Some(Section { title: "Groups and environments", lead, table })
}

fn treeinfo_section(review: &Review) -> Option<Section> {
    let treeinfo = review.audit.treeinfo.as_ref()?;
    let mut rows = Vec::new();
    for row in treeinfo {
        let mut add = |key: Cell, old: &Option<String>, new: &Option<String>| {
            let [old, new] = [old, new].map(|value| value.as_deref().map(clean));
            let values = Cell::Versions(old, new);
            rows.push(vec![Cell::state(row.state), Cell::path(&row.path), key, values]);
        };
        if row.keys.is_empty() {
            add(Cell::Text(String::new()), &None, &None);
        }
        for key in &row.keys {
            let name = Cell::name(&format!("[{}] {}", key.section, key.key));
            add(name, &key.old, &key.new);
        }
    }
    let lead = match treeinfo.len() {
        0 => "nothing differs".to_owned(),
        files => format!("{} that installers read", count(files as u64, "file")),
    };
    let table = Table { columns: &["Change", "File", "Key", "Value"], rows };
    Some(Section { title: "Installation trees", lead, table })
}

fn image_section(review: &Review) -> Section {
    let images = &review.audit.images;
    let state = |old: Option<u64>, new: Option<u64>| match (old, new) {
        (None, _) => State::Added,
        (_, None) => State::Removed,
        (Some(_), Some(_)) => State::Changed,
    };
    let rows = images.iter().map(|row| {
        vec![
            Cell::state(state(row.old_size, row.new_size)),
            Cell::path(&row.path),
            Cell::Size(row.new_size.or(row.old_size).unwrap_or(0)),
            Cell::Delta(
                i128::from(row.new_size.unwrap_or(0)) - i128::from(row.old_size.unwrap_or(0)),
            ),
        ]
    });
    let all: Vec<_> = images.iter().map(|row| state(row.old_size, row.new_size)).collect();
    let lead = states(all.iter());
    let columns = &["Change", "Image", "Size", "Difference"];
    let table = Table { columns, rows: rows.collect() };
    Section { title: "ISOs and images", lead, table }
}

fn size_section(review: &Review) -> Option<Section> {
    let sizes = review.audit.sizes.as_ref()?;
    let rows = sizes.iter().map(|row| {
        let repo = match (row.is_repo, row.repo.is_root()) {
            (true, _) => Cell::path(&row.repo),
            (false, true) => Cell::Text("files at the top".to_owned()),
            (false, false) => Cell::Text(format!("{}, outside of repos", row.repo)),
        };
        vec![
            repo,
            Cell::Number(row.old.files),
            Cell::Number(row.new.files),
            Cell::Size(row.old.bytes),
            Cell::Size(row.new.bytes),
            Cell::Delta(i128::from(row.new.bytes) - i128::from(row.old.bytes)),
        ]
    });
    let differ = |old: Amount, new: Amount| old != new;
    let changed = sizes.iter().filter(|row| differ(row.old, row.new)).count() as u64;
    let lead = format!("{} of {} differ", thousands(changed), thousands(sizes.len() as u64));
    const COLUMNS: &[&str] =
        &["Repo", "Files before", "Files after", "Size before", "Size after", "Difference"];
    let table = Table { columns: COLUMNS, rows: rows.collect() };
    Some(Section { title: "Sizes", lead, table })
}

fn record_section(metadata: &MetadataDiff) -> Section {
    let mut rows = Vec::new();
    for row in &metadata.records {
        let change = match (&row.old, &row.new) {
            (None, _) => Cell::state(State::Added),
            (_, None) => Cell::state(State::Removed),
            _ if row.recompressed => Cell::Word(Tone::Plain, "compressed anew"),
            _ => Cell::state(State::Changed),
        };
        let size = |state: &Option<cairn_releng::audit::RecordState>| {
            state.as_ref().and_then(|state| state.size).unwrap_or(0)
        };
        let delta = i128::from(size(&row.new)) - i128::from(size(&row.old));
        rows.push(vec![change, Cell::path(&row.repo), Cell::name(&row.kind), Cell::Delta(delta)]);
    }
    for row in &metadata.files {
        let change = match (&row.old, &row.new) {
            (None, _) => State::Added,
            (_, None) => State::Removed,
            _ => State::Changed,
        };
        let kind = Cell::Text("file".to_owned());
        rows.push(vec![Cell::state(change), Cell::path(&row.path), kind, Cell::Delta(0)]);
    }
    let lead = format!(
        "{} in repos, {} beside them",
        count(metadata.records.len() as u64, "record"),
        count(metadata.files.len() as u64, "file")
    );
    let table = Table { columns: &["Change", "Repo or file", "Record", "Size"], rows };
    Section { title: "Metadata", lead, table }
}

/// Files by repo and kind: always whole, however many files there are.
pub fn file_sums(review: &Review) -> Section {
    let files = &review.audit.files;
    let rows = files.by_repo.iter().map(|row| {
        let changed = &row.changed;
        vec![
            Cell::path(&row.repo),
            Cell::Word(Tone::Plain, category(row.kind)),
            Cell::Number(changed.files_added),
            Cell::Number(changed.files_changed),
            Cell::Number(changed.files_removed),
            Cell::Size(changed.bytes_added),
            Cell::Size(changed.bytes_removed),
        ]
    });
    let totals = &files.totals;
    let lead = match counted([
        (totals.files_added, "added"),
        (totals.files_changed, "changed"),
        (totals.files_removed, "removed"),
    ]) {
        none if none.is_empty() => "no file differs".to_owned(),
        lead => lead,
    };
    const COLUMNS: &[&str] =
        &["Repo", "Kind", "Added", "Changed", "Removed", "Bytes new", "Bytes gone"];
    let table = Table { columns: COLUMNS, rows: rows.collect() };
    Section { title: "Files by repo", lead, table }
}

/// The files that differ, by path, at most `limit`; and how many more there are.
pub fn file_list(review: &Review, limit: usize) -> (Section, usize) {
    let files = &review.audit.files;
    let mut rows: Vec<(Tone, &'static str, &FileRow)> = Vec::new();
    rows.extend(files.added.iter().map(|row| (Tone::Good, "added", row)));
    rows.extend(files.removed.iter().map(|row| (Tone::Bad, "removed", row)));
    rows.extend(files.changed.iter().map(|row| match row.metadata_only {
        true => (Tone::Plain, "mode or time", row),
        false => (Tone::Warn, "changed", row),
    }));
    rows.sort_by(|a, b| a.2.path.cmp(&b.2.path));
    let omitted = rows.len().saturating_sub(limit);
    let rows = rows.into_iter().take(limit).map(|(tone, word, row)| {
        let [old, new] = [row.old_size, row.new_size].map(|size| size.unwrap_or(0));
        vec![
            Cell::Word(tone, word),
            Cell::path(&row.path),
            Cell::Word(Tone::Plain, category(row.kind)),
            Cell::Size(if row.new_size.is_some() { new } else { old }),
            Cell::Delta(i128::from(new) - i128::from(old)),
        ]
    });
    let columns = &["Change", "Path", "Kind", "Size", "Difference"];
    let table = Table { columns, rows: rows.collect() };
    let lead = "every path whose content, mode or time differs".to_owned();
    (Section { title: "Files", lead, table }, omitted)
}

fn category(kind: FileCategory) -> &'static str {
    match kind {
        FileCategory::Package => "package",
        FileCategory::Repodata => "repodata",
        FileCategory::Image => "image",
        FileCategory::Other => "other",
    }
}
