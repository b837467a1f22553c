//! Reading TOML with spans: sections that know which keys were asked for.
//!
//! A section answers from the operator's file, else from the built-in defaults. Every key that
//! code asks for is thereby a known key; whatever else the file holds is reported. Problems are
//! gathered, not thrown, so that one run of `config check` names all of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::value::SigsBeside;
use super::value::{Checksum, Compression, HookEvent, LinkMode, Owner, Percent, SignMode};
use super::value::{SwapMode, Template, TorrentFormat, Version};
use super::value::{ValueError, format_duration, suggestion};

pub(super) type Value<'t> = Spanned<DeValue<'t>>;
type Span = Range<usize>;

/// Something wrong at a place of the text.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// Byte offset of the fault inside the string at `span`.
    pub(super) inside: usize,
}

/// One effective key: where it belongs, its value as TOML, the offset where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) section: Vec<String>,
    pub(super) key: String,
    /// None: not set and without a default.
    pub(super) value: Option<String>,
    /// None: a default.
    pub(super) offset: Option<usize>,
}

/// What one reading of a text gathers.
#[derive(Default)]
pub(super) struct Reader {
    problems: RefCell<Vec<Problem>>,
    shown: RefCell<Vec<Shown>>,
    places: RefCell<BTreeMap<Vec<String>, Span>>,
    text: String,
}

impl Reader {
    pub(super) fn new(text: &str) -> Reader {
        Reader { text: text.to_owned(), ..Reader::default() }
    }

    pub(super) fn report(&self, span: Span, message: impl Into<String>, hint: Option<String>) {
        let message = message.into();
        self.problems.borrow_mut().push(Problem { span, message, hint, inside: 0 });
    }

    /// Reports a contradiction at the key, or at the nearest thing around it that was written.
    pub(super) fn contradiction(&self, key: &[&str], message: String, hint: impl Into<String>) {
        let mut path: Vec<String> = key.iter().map(|part| (*part).to_owned()).collect();
        let places = self.places.borrow();
        let span = loop {
            match places.get(&path) {
                Some(span) => break span.clone(),
                None if path.is_empty() => break 0..0,
                None => {
                    path.pop();
                }
            }
        };
        self.report(span, message, Some(hint.into()));
    }

    /// Tells whether the operator's file has the key or table.
    pub(super) fn is_written(&self, key: &[&str]) -> bool {
        self.places.borrow().keys().any(|path| path.iter().eq(key.iter()))
    }

    pub(super) fn is_clean(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// Returns the problems in the order of the text, and what is effective.
    pub(super) fn into_parts(self) -> (Vec<Problem>, Vec<Shown>) {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.span.start);
        (problems, self.shown.into_inner())
    }

    fn problem(&self, key: &str, mut problem: Problem) {
        problem.message = format!("{key}: {}", problem.message);
        self.problems.borrow_mut().push(problem);
    }
}

/// One table of the configuration, the operator's laid over the built-in one.
pub(super) struct Section<'r> {
    reader: &'r Reader,
    path: Vec<String>,
    span: Span,
    /// It was written, but is no table: what it lacks is not worth a second report.
    broken: bool,
    user: Option<&'r DeTable<'r>>,
    fallback: Option<&'r DeTable<'r>>,
    asked: RefCell<Vec<String>>,
}

impl<'r> Section<'r> {
    pub(super) fn root(
        reader: &'r Reader,
        user: &'r DeTable<'r>,
        fallback: &'r DeTable<'r>,
    ) -> Section<'r> {
        Section {
            reader,
            path: Vec::new(),
            span: 0..0,
            broken: false,
            user: Some(user),
            fallback: Some(fallback),
            asked: RefCell::default(),
        }
    }

    /// Tells whether the operator's file has this table.
    pub(super) fn is_written(&self) -> bool {
        self.user.is_some()
    }

    /// Tells whether the operator's file has this key.
    pub(super) fn has(&self, key: &str) -> bool {
        find(self.user, key).is_some()
    }

    /// Returns the section without its built-in defaults.
    pub(super) fn own(mut self) -> Section<'r> {
        self.fallback = None;
        self
    }

    /// Returns the value of the file, else the default, else none.
    pub(super) fn optional<T: Field>(
        &self,
        key: &str,
        read: impl Fn(&Value<'_>) -> Result<T, Problem>,
    ) -> Option<T> {
        let value = self.written(key, &read).unwrap_or_else(|| self.built_in(key, &read));
        self.show(key, value.as_ref());
        value
    }

    /// Returns the value of the file, else the built-in default, else the one given here.
    pub(super) fn or<T: Field>(
        &self,
        key: &str,
        read: impl Fn(&Value<'_>) -> Result<T, Problem>,
        default: T,
    ) -> T {
        let value = self.written(key, &read).unwrap_or_else(|| self.built_in(key, &read));
        let value = value.unwrap_or(default);
        self.show(key, Some(&value));
        value
    }

    /// Returns the value of the file, else the built-in default; a key that has neither is missed.
    pub(super) fn get<T: Field>(
        &self,
        key: &str,
        read: impl Fn(&Value<'_>) -> Result<T, Problem>,
    ) -> T {
        let value = match self.written(key, &read) {
            Some(value) => value,
            None => self.built_in(key, &read).or_else(|| {
                if !self.broken {
                    let table = self.path.join(".");
                    self.report(format!("missing key {key:?} in [{table}]"), None);
                }
                None
            }),
        };
        self.show(key, value.as_ref());
        value.unwrap_or_else(T::blank)
    }

    /// Returns a sub-table; absent, it reads as all defaults.
    pub(super) fn table(&self, key: &str) -> Section<'r> {
        self.asked.borrow_mut().push(key.to_owned());
        let written = find(self.user, key);
        self.child(key, written, find(self.fallback, key).map(|(_, value)| value))
    }

    /// Returns the sub-tables that the file names, each with the default that `fallback` picks.
    pub(super) fn tables(&self, fallback: impl Fn(&str) -> Option<&'r str>) -> Vec<Section<'r>> {
        let keys: Vec<_> = self.user.into_iter().flat_map(|table| table.iter()).collect();
        keys.into_iter()
            .map(|(key, value)| {
                let name = key.get_ref().as_ref();
                self.asked.borrow_mut().push(name.to_owned());
                let built_in = fallback(name).and_then(|key| find(self.fallback, key));
                self.child(name, Some((key, value)), built_in.map(|(_, value)| value))
            })
            .collect()
    }

    /// Returns the sub-tables of the built-in defaults that the file does not name.
    pub(super) fn built_in_tables(&self) -> Vec<Section<'r>> {
        let keys: Vec<_> = self.fallback.into_iter().flat_map(|table| table.iter()).collect();
        keys.into_iter()
            .map(|(key, _)| key.get_ref().as_ref())
            .filter(|key| !self.has(key))
            .map(|key| self.child(key, None, find(self.fallback, key).map(|(_, value)| value)))
            .collect()
    }

    /// Returns the built-in value, whatever the file says; the key is not shown.
    pub(super) fn default<T>(
        &self,
        key: &str,
        read: impl Fn(&Value<'_>) -> Result<T, Problem>,
    ) -> Option<T> {
        self.built_in(key, &read)
    }

    /// Returns the keys of the file, in their order.
    pub(super) fn keys(&self) -> Vec<&'r str> {
        let table = self.user.into_iter().flat_map(|table| table.iter());
        table.map(|(key, _)| key.get_ref().as_ref()).collect()
    }

    /// Returns the built-in keys, in their order.
    pub(super) fn built_in_keys(&self) -> Vec<&'r str> {
        let table = self.fallback.into_iter().flat_map(|table| table.iter());
        table.map(|(key, _)| key.get_ref().as_ref()).collect()
    }

    /// Returns the last part of the section's name.
    pub(super) fn name(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    /// Reports a problem with the section as a whole.
    pub(super) fn report(&self, message: impl Into<String>, hint: Option<String>) {
        self.reader.report(self.span.clone(), message, hint);
    }

    /// Reports every key of the file that nobody asked for.
    pub(super) fn finish(self) {
        let asked = self.asked.into_inner();
        for (key, _) in self.user.into_iter().flat_map(|table| table.iter()) {
            let name = key.get_ref().as_ref();
            if !asked.iter().any(|known| known == name) {
                let hint = suggestion(name, asked.iter().map(String::as_str), "known keys");
                self.reader.report(key.span(), format!("unknown key {name:?}"), Some(hint));
            }
        }
    }

    fn child(
        &self,
        name: &str,
        written: Option<(&'r Spanned<DeString<'r>>, &'r Value<'r>)>,
        fallback: Option<&'r Value<'r>>,
    ) -> Section<'r> {
        let mut path = self.path.clone();
        path.push(name.to_owned());
        let span = written.map_or_else(|| self.span.clone(), |(key, _)| key.span());
        if let Some((key, value)) = written {
            self.reader.places.borrow_mut().insert(path.clone(), key.span());
            if value.get_ref().as_table().is_none() {
                self.reader.problem(name, expected("a table", value));
            }
        }
        Section {
            reader: self.reader,
            path,
            span,
            broken: written.is_some_and(|(_, value)| value.get_ref().as_table().is_none()),
            user: written.and_then(|(_, value)| value.get_ref().as_table()),
            fallback: fallback.and_then(|value| value.get_ref().as_table()),
            asked: RefCell::default(),
        }
    }

    /// Reads the file's value: none if the key is absent, `Some(None)` if it is wrong.
    fn written<T>(
        &self,
        key: &str,
        read: &impl Fn(&Value<'_>) -> Result<T, Problem>,
    ) -> Option<Option<T>> {
        self.asked.borrow_mut().push(key.to_owned());
        let (_, value) = find(self.user, key)?;
        self.reader.places.borrow_mut().insert(self.path_of(key), value.span());
        match read(value) {
            Ok(value) => Some(Some(value)),
            Err(mut problem) => {
                self.sharpen(&mut problem);
                self.reader.problem(key, problem);
                Some(None)
            }
        }
    }

    fn built_in<T>(
        &self,
        key: &str,
        read: &impl Fn(&Value<'_>) -> Result<T, Problem>,
    ) -> Option<T> {
        let (_, value) = find(self.fallback, key)?;
        Some(read(value).expect("the built-in defaults are valid"))
    }

    /// Moves a problem to its character inside a string; escapes would make that a guess.
    fn sharpen(&self, problem: &mut Problem) {
        let source = self.reader.text.get(problem.span.clone()).unwrap_or_default();
        let triple = source.starts_with("\"\"\"") || source.starts_with("'''");
        if problem.inside > 0 && !triple && !source.contains('\\') {
            problem.span.start += 1 + problem.inside;
        }
    }

    fn path_of(&self, key: &str) -> Vec<String> {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        path
    }

    fn show<T: Field>(&self, key: &str, value: Option<&T>) {
        let offset = find(self.user, key).map(|(name, _)| name.span().start);
        self.reader.shown.borrow_mut().push(Shown {
            section: self.path.clone(),
            key: key.to_owned(),
            value: value.map(Field::toml),
            offset,
        });
    }
}

fn find<'r>(
    table: Option<&'r DeTable<'r>>,
    key: &str,
) -> Option<(&'r Spanned<DeString<'r>>, &'r Value<'r>)> {
    table?.iter().find(|(name, _)| name.get_ref().as_ref() == key)
}

/// A type that a key may have.
pub(super) trait Field {
    /// Renders the value as TOML.
    fn toml(&self) -> String;
    /// Stands in for a value that was reported as wrong; never leaves the reader.
    fn blank() -> Self;
}

impl Field for String {
    fn toml(&self) -> String {
        toml::Value::String(self.clone()).to_string()
    }

    fn blank() -> String {
        String::new()
    }
}

impl Field for bool {
    fn toml(&self) -> String {
        self.to_string()
    }

    fn blank() -> bool {
        false
    }
}

impl Field for u32 {
    fn toml(&self) -> String {
        self.to_string()
    }

    fn blank() -> u32 {
        1
    }
}

impl Field for Duration {
    fn toml(&self) -> String {
        format!("\"{}\"", format_duration(*self))
    }

    fn blank() -> Duration {
        Duration::ZERO
    }
}

impl<T: Field> Field for Vec<T> {
    fn toml(&self) -> String {
        let items: Vec<String> = self.iter().map(Field::toml).collect();
        format!("[{}]", items.join(", "))
    }

    fn blank() -> Vec<T> {
        Vec::new()
    }
}

impl<T: Field> Field for BTreeMap<String, T> {
    fn toml(&self) -> String {
        if self.is_empty() {
            return "{}".to_owned();
        }
        let pairs = self.iter().map(|(key, value)| format!("{} = {}", bare(key), value.toml()));
        format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
    }

    fn blank() -> BTreeMap<String, T> {
        BTreeMap::new()
    }
}

/// Fields that are written as the text of their `Display`.
macro_rules! quoted_fields {
    ($($type:ty => $blank:expr,)+) => {
        $(impl Field for $type {
            fn toml(&self) -> String {
                self.to_string().toml()
            }

            fn blank() -> $type {
                $blank
            }
        })+
    };
}

quoted_fields! {
    Version => Version { major: 0, minor: 0 },
    Percent => Percent::NONE,
    Owner => Owner { uid: 0, gid: 0 },
    Template => Template::empty(),
    LinkMode => LinkMode::Auto,
    SwapMode => SwapMode::Auto,
    SignMode => SignMode::InPlace,
    SigsBeside => SigsBeside::Production,
    Checksum => Checksum::Sha256,
    Compression => Compression::None,
    TorrentFormat => TorrentFormat::V1,
    HookEvent => HookEvent::Publish,
}

/// Renders a key, quoted where TOML asks for it.
pub(super) fn bare(key: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !key.is_empty() && key.bytes().all(plain) { key.to_owned() } else { key.to_owned().toml() }
}

/// Reads a string through a parser of its own.
pub(super) fn text<T>(
    parse: impl Fn(&str) -> Result<T, ValueError>,
) -> impl Fn(&Value<'_>) -> Result<T, Problem> {
    move |value| {
        let text = value.get_ref().as_str().ok_or_else(|| expected("a string", value))?;
        parse(text).map_err(|error| Problem {
            span: value.span(),
            message: error.message,
            hint: error.hint,
            inside: error.offset,
        })
    }
}

/// Reads a boolean.
pub(super) fn boolean(value: &Value<'_>) -> Result<bool, Problem> {
    value.get_ref().as_bool().ok_or_else(|| expected("true or false", value))
}

/// Reads a whole number that is not less than `least`.
pub(super) fn number(least: u32) -> impl Fn(&Value<'_>) -> Result<u32, Problem> {
    move |value| {
        let integer = value.get_ref().as_integer().ok_or_else(|| expected("a number", value))?;
        let read = u32::from_str_radix(integer.as_str(), integer.radix()).ok();
        read.filter(|number| *number >= least).ok_or_else(|| Problem {
            span: value.span(),
            message: format!("{integer} is not a number from {least} on"),
            hint: None,
            inside: 0,
        })
    }
}

/// Reads an array whose items are all different.
pub(super) fn list<T: PartialEq + Field>(
    item: impl Fn(&Value<'_>) -> Result<T, Problem>,
) -> impl Fn(&Value<'_>) -> Result<Vec<T>, Problem> {
    move |value| {
        let array = value.get_ref().as_array().ok_or_else(|| expected("an array", value))?;
        let mut items: Vec<T> = Vec::new();
        for value in array.iter() {
            let read = item(value)?;
            if items.contains(&read) {
                return Err(Problem {
                    span: value.span(),
                    message: format!("{} is listed twice", read.toml()),
                    hint: None,
                    inside: 0,
                });
            }
            items.push(read);
        }
        Ok(items)
    }
}

/// Reads an array that has at least one item.
pub(super) fn some<T: PartialEq + Field>(
    item: impl Fn(&Value<'_>) -> Result<T, Problem>,
) -> impl Fn(&Value<'_>) -> Result<Vec<T>, Problem> {
    let list = list(item);
    move |value| {
        let items = list(value)?;
        if items.is_empty() {
            let message = "needs at least one item".to_owned();
            return Err(Problem { span: value.span(), message, hint: None, inside: 0 });
        }
        Ok(items)
    }
}

/// Reads a command: a program and its arguments, where an argument may well occur twice.
pub(super) fn command(
    argument: impl Fn(&str) -> Result<Template, ValueError>,
) -> impl Fn(&Value<'_>) -> Result<Vec<Template>, Problem> {
    let argument = text(argument);
    move |value| {
        let array = value.get_ref().as_array().ok_or_else(|| expected("an array", value))?;
        let command = array.iter().map(&argument).collect::<Result<Vec<_>, _>>()?;
        let wrong = |message: &str, hint: &str| Problem {
            span: array.iter().next().map_or(value.span(), Spanned::span),
            message: message.to_owned(),
            hint: Some(hint.to_owned()),
            inside: 0,
        };
        let program = command.first().map_or("", Template::as_str);
        if program.is_empty() {
            return Err(wrong("names no program", "the first item is the program to run"));
        }
        if program.contains('/') && !program.starts_with('/') {
            let message = format!("program {program:?} is a relative path");
            return Err(wrong(&message, "write an absolute path, or a bare name to search PATH"));
        }
        Ok(command)
    }
}

/// Reads a table of any keys; `key` judges each.
pub(super) fn map<T>(
    key: impl Fn(&str) -> Result<String, ValueError>,
    item: impl Fn(&Value<'_>) -> Result<T, Problem>,
) -> impl Fn(&Value<'_>) -> Result<BTreeMap<String, T>, Problem> {
    move |value| {
        let table = value.get_ref().as_table().ok_or_else(|| expected("a table", value))?;
        let mut pairs = BTreeMap::new();
        for (name, value) in table.iter() {
            let name = key(name.get_ref()).map_err(|error| Problem {
                span: name.span(),
                message: error.message,
                hint: error.hint,
                inside: 0,
            })?;
            pairs.insert(name, item(value)?);
        }
        Ok(pairs)
    }
}

fn expected(what: &str, value: &Value<'_>) -> Problem {
    let found = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    let message = format!("expected {what}, found {found}");
    Problem { span: value.span(), message, hint: None, inside: 0 }
}
