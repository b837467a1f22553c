//! The schemas of `docs/schema`, and whether a document is what they say.
//!
//! What is published lets a reader ignore keys that it does not know. Here it is read more strictly:
//! a key that no schema names is a mistake, so that nothing is printed that is not written down.
//!
//! The schemas use a small part of JSON Schema, and this knows no more: a keyword that it does not
//! know is a mistake of the schema. A whole validator would bring sixty crates into every build of
//! the tests; where Python's is installed, a test asks it whether it agrees.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Map, Value};

/// How many mistakes of a document are told.
const TOLD: usize = 20;

/// What says nothing about a document.
const NOTES: &[&str] = &["$schema", "$defs", "title", "description", "contentEncoding"];

/// Returns where the schemas are.
pub fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema")
}

/// The schemas, as they are published.
pub fn published() -> &'static BTreeMap<String, Value> {
    static SCHEMAS: OnceLock<BTreeMap<String, Value>> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        let dir = dir();
        let mut schemas = BTreeMap::new();
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        {
            let path = entry.expect("a directory can be read").path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let schema = serde_json::from_slice(&text);
            let schema = schema.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let name = path.file_stem().expect("it has an extension").to_string_lossy();
            schemas.insert(name.into_owned(), schema);
        }
        schemas
    })
}

/// Tells what is wrong with a document, which names its schema itself: `cairn.status/1`. What runs
/// other commands has their documents in its own; they are looked at, too.
///
/// # Errors
///
/// The mistakes, one a line.
pub fn check(document: &Value) -> Result<(), String> {
    let schema = document["schema"].as_str().unwrap_or_default();
    let name = schema.strip_prefix("cairn.").and_then(|rest| rest.strip_suffix("/1"));
    let name = name.ok_or_else(|| format!("\"schema\": {} names no schema", document["schema"]))?;
    check_as(name, document)?;
    let inner = document["commands"].as_array().into_iter().flatten();
    inner.map(|one| &one["report"]).filter(|report| report.is_object()).try_for_each(check)
}

/// Tells what is wrong with a document of one of these schemas: `error`, `operation`.
///
/// # Errors
///
/// The mistakes, one a line.
pub fn check_as(name: &str, document: &Value) -> Result<(), String> {
    let Some(schema) = published().get(name) else {
        return Err(format!("there is no docs/schema/{name}.json"));
    };
    let mut mistakes = Vec::new();
    Place { file: name, schema }.check(document, "", &mut mistakes);
    match mistakes.is_empty() {
        true => Ok(()),
        false => {
            mistakes.truncate(TOLD);
            Err(format!("this is not what {name}.json says:\n  {}", mistakes.join("\n  ")))
        }
    }
}

/// A schema, and the file that it is in.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a str,
    schema: &'a Value,
}

impl<'a> Place<'a> {
    fn at(self, schema: &'a Value) -> Self {
        Self { schema, ..self }
    }

    /// Follows a reference: `common.json#/$defs/id`, `#/$defs/row`, `report.json`.
    fn follow(self, reference: &'a str) -> Option<Self> {
        let (other, pointer) = reference.split_once('#').unwrap_or((reference, ""));
        let file = if other.is_empty() { self.file } else { other.strip_suffix(".json")? };
        let schema = published().get(file)?.pointer(pointer)?;
        Some(Place { file, schema })
    }

    fn accepts(self, value: &Value) -> bool {
        let mut mistakes = Vec::new();
        self.check(value, "", &mut mistakes);
        mistakes.is_empty()
    }

    /// Adds what is wrong with a value that is at this path of its document.
    fn check(self, value: &Value, path: &str, mistakes: &mut Vec<String>) {
        let Some(keywords) = self.schema.as_object() else {
            mistakes.push(format!("{}.json: {} is no schema", self.file, self.schema));
            return;
        };
        for (keyword, says) in keywords {
            if let Some(why) = self.keyword(keyword, says, value, path, mistakes) {
                mistakes.push(format!("at {path:?}: {why}"));
            }
        }
        // What adds to another schema leaves the keys to that one.
        let is_closed = keywords.contains_key("properties")
            && !["$ref", "oneOf", "additionalProperties"].iter().any(|k| keywords.contains_key(*k));
        if is_closed && let (Some(object), Some(known)) = (value.as_object(), object(keywords)) {
            for key in object.keys().filter(|key| !known.contains_key(*key)) {
                mistakes.push(format!("at {path:?}: no schema names the key {key:?}"));
            }
        }
    }

    /// Says what is wrong by one keyword, or adds what is wrong below.
    fn keyword(
        self,
        keyword: &str,
        says: &'a Value,
        value: &Value,
        path: &str,
        mistakes: &mut Vec<String>,
    ) -> Option<String> {
        let text = value.as_str();
        match keyword {
            "$ref" => match says.as_str().and_then(|reference| self.follow(reference)) {
                Some(place) => place.check(value, path, mistakes),
                None => return Some(format!("{}.json: {says} leads nowhere", self.file)),
            },
            "type" => {
                let is = |name: &Value| is_of_type(value, name.as_str().unwrap_or_default());
                let one = says.as_array().map_or_else(|| is(says), |list| list.iter().any(is));
                return (!one).then(|| format!("{} is not of type {says}", short(value)));
            }
            "const" => return (value != says).then(|| format!("{} is not {says}", short(value))),
            "enum" => {
                let known = says.as_array().is_some_and(|list| list.contains(value));
                return (!known).then(|| format!("{} is none of {says}", short(value)));
            }
            "minimum" => {
                let low = value.as_f64().zip(says.as_f64()).is_some_and(|(value, min)| value < min);
                return low.then(|| format!("{value} is less than {says}"));
            }
            "maxItems" => {
                let length = value.as_array().map(|list| list.len() as u64);
                let many = length.zip(says.as_u64()).is_some_and(|(length, max)| length > max);
                return many.then(|| format!("more than {says} items"));
            }
            "pattern" => {
                let pattern = says.as_str().unwrap_or_default();
                return match text.map(|text| matches(pattern, text)) {
                    None | Some(Some(true)) => None,
                    Some(Some(false)) => Some(format!("{} does not match {says}", short(value))),
                    Some(None) => Some(format!("{}.json: {says} cannot be read", self.file)),
                };
            }
            "format" if says == "date-time" => {
                let is_time = |text: &str| text.parse::<jiff::Timestamp>().is_ok();
                let wrong = text.is_some_and(|text| !is_time(text));
                return wrong.then(|| format!("{} is no time", short(value)));
            }
            "required" => {
                let object = value.as_object()?;
                let names = says.as_array().into_iter().flatten().filter_map(Value::as_str);
                let missing: Vec<&str> = names.filter(|name| !object.contains_key(*name)).collect();
                return (!missing.is_empty()).then(|| format!("without {}", missing.join(", ")));
            }
            "properties" => {
                for (key, schema) in says.as_object().into_iter().flatten() {
                    if let Some(inner) = value.as_object().and_then(|object| object.get(key)) {
                        self.at(schema).check(inner, &format!("{path}/{key}"), mistakes);
                    }
                }
            }
            "additionalProperties" => {
                let empty = Map::new();
                let named = self.schema["properties"].as_object().unwrap_or(&empty);
                let all = value.as_object().into_iter().flatten();
                for (key, inner) in all.filter(|(key, _)| !named.contains_key(*key)) {
                    self.at(says).check(inner, &format!("{path}/{key}"), mistakes);
                }
            }
            "propertyNames" => {
                for key in value.as_object().into_iter().flat_map(Map::keys) {
                    self.at(says).check(&key.as_str().into(), path, mistakes);
                }
            }
            "items" => {
                for (index, inner) in value.as_array().into_iter().flatten().enumerate() {
                    self.at(says).check(inner, &format!("{path}/{index}"), mistakes);
                }
            }
            "anyOf" | "oneOf" => {
                let branches = says.as_array().map(Vec::as_slice).unwrap_or_default();
                let good = branches.iter().filter(|one| self.at(one).accepts(value)).count();
                match (good, keyword) {
                    (1, _) | (2.., "anyOf") => {}
                    (0, _) => self.explain(branches, value, path, mistakes),
                    _ => return Some(format!("{good} of the possibilities say yes")),
                }
            }
            _ if NOTES.contains(&keyword) => {}
            _ => return Some(format!("{}.json: {keyword:?} is not known here", self.file)),
        }
        None
    }

    /// Tells why nothing fits, by the possibility that comes nearest.
    fn explain(self, branches: &'a [Value], value: &Value, path: &str, mistakes: &mut Vec<String>) {
        let why = branches.iter().map(|branch| {
            let mut mistakes = Vec::new();
            self.at(branch).check(value, path, &mut mistakes);
            mistakes
        });
        match why.min_by_key(Vec::len) {
            Some(why) => mistakes.extend(why),
            None => mistakes.push(format!("{}.json: there are no possibilities", self.file)),
        }
    }
}

fn object(keywords: &Map<String, Value>) -> Option<&Map<String, Value>> {
    keywords.get("properties").and_then(Value::as_object)
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

/// Quotes a value, if it is long only its beginning.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Answers whether a text matches a pattern of `^`, `$`, characters, classes, and how often these
/// come: `+` or `{64}`. Nothing if the pattern has something else.
fn matches(pattern: &str, text: &str) -> Option<bool> {
    let (anchored, pattern) = match pattern.strip_prefix('^') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let (to_end, pattern) = match pattern.strip_suffix('$') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let mut parts: Vec<(Vec<char>, usize, bool)> = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        let class = match c {
            '\\' => vec![chars.next()?],
            '[' => {
                let mut class = Vec::new();
                loop {
                    match (chars.next()?, chars.peek()) {
                        (']', _) => break,
                        (first, Some('-')) if !class.is_empty() || first != '-' => {
                            chars.next();
                            class.extend(first..=chars.next()?);
                        }
                        (one, _) => class.push(one),
                    }
                }
                class
            }
            '.' | '*' | '?' | '+' | '(' | ')' | '|' | '{' | '}' => return None,
            c => vec![c],
        };
        let (least, more) = match chars.peek() {
            Some('+') => {
                chars.next();
                (1, true)
            }
            Some('{') => {
                let number: String = chars.by_ref().skip(1).take_while(|c| *c != '}').collect();
                (number.parse().ok()?, false)
            }
            _ => (1, false),
        };
        parts.push((class, least, more));
    }
    let letters: Vec<char> = text.chars().collect();
    let starts = if anchored { 0..=0 } else { 0..=letters.len() };
    let fits = |start: usize| {
        let mut at = start;
        for (class, least, more) in &parts {
            let run = letters[at..].iter().take_while(|c| class.contains(c));
            let run = if *more { run.count() } else { run.take(*least).count() };
            if run < *least {
                return false;
            }
            at += run;
        }
        !to_end || at == letters.len()
    };
    Some(starts.into_iter().any(fits))
}

/// Finds which keys of the schemas documents have shown.
#[derive(Debug, Default)]
pub struct Shown(BTreeSet<String>);

impl Shown {
    /// Looks at a document, which must be one of this schema.
    pub fn look(&mut self, name: &str, document: &Value) {
        if let Some(schema) = published().get(name) {
            self.visit(name, "", schema, document);
        }
    }

    /// Answers whether a document had this key.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains(key)
    }

    /// Returns the keys that no document had: `status.json#/properties/refs`.
    pub fn missing(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (name, schema) in published() {
            keys(&format!("{name}.json#"), schema, &mut all);
        }
        all.retain(|key| !self.0.contains(key));
        all
    }

    fn visit(&mut self, file: &str, at: &str, schema: &Value, value: &Value) {
        if let Some(reference) = schema["$ref"].as_str()
            && let Some(place) = (Place { file, schema }).follow(reference)
        {
            let pointer = reference.split_once('#').map_or("", |(_, pointer)| pointer);
            self.visit(place.file, pointer, place.schema, value);
        }
        for key in ["anyOf", "oneOf"] {
            for (index, branch) in schema[key].as_array().into_iter().flatten().enumerate() {
                if fits(branch, value) {
                    self.visit(file, &format!("{at}/{key}/{index}"), branch, value);
                }
            }
        }
        match value {
            Value::Object(object) => {
                let empty = Map::new();
                let properties = schema["properties"].as_object().unwrap_or(&empty);
                for (key, value) in object {
                    if let Some(inner) = properties.get(key) {
                        let at = format!("{at}/properties/{key}");
                        self.0.insert(format!("{file}.json#{at}"));
                        self.visit(file, &at, inner, value);
                    } else if schema["additionalProperties"].is_object() {
                        let at = format!("{at}/additionalProperties");
                        self.visit(file, &at, &schema["additionalProperties"], value);
                    }
                }
            }
            Value::Array(items) => {
                let at = format!("{at}/items");
                items.iter().for_each(|item| self.visit(file, &at, &schema["items"], item));
            }
            _ => {}
        }
    }
}

/// Answers whether a branch speaks of this value: whether it is an object with its keys.
fn fits(branch: &Value, value: &Value) -> bool {
    let Some(object) = value.as_object() else { return !branch["properties"].is_object() };
    let Some(properties) = branch["properties"].as_object() else { return true };
    object.iter().all(|(key, value)| match properties.get(key) {
        None => false,
        Some(inner) => inner.get("const").is_none_or(|expected| expected == value),
    })
}

/// Lists the keys that a schema names.
fn keys(at: &str, schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(object) => {
            for (key, inner) in object {
                if key == "properties" {
                    for (name, inner) in inner.as_object().into_iter().flatten() {
                        let at = format!("{at}/properties/{name}");
                        keys(&at, inner, found);
                        found.push(at);
                    }
                } else {
                    keys(&format!("{at}/{key}"), inner, found);
                }
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                keys(&format!("{at}/{index}"), inner, found);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Visits every schema that is in a schema.
    fn each(schema: &Value, visit: &mut impl FnMut(&Value)) {
        visit(schema);
        for (keyword, says) in schema.as_object().into_iter().flatten() {
            match keyword.as_str() {
                "properties" | "$defs" => {
                    says.as_object().unwrap().values().for_each(|one| each(one, visit));
                }
                "anyOf" | "oneOf" => says.as_array().unwrap().iter().for_each(|s| each(s, visit)),
                "items" | "additionalProperties" | "propertyNames" => each(says, visit),
                _ => {}
            }
        }
    }

    #[test]
    fn what_is_published_can_be_read_whole() {
        const KNOWN: &[&str] = &[
            "$ref",
            "type",
            "const",
            "enum",
            "minimum",
            "maxItems",
            "pattern",
            "format",
            "required",
            "properties",
            "additionalProperties",
            "propertyNames",
            "items",
            "anyOf",
            "oneOf",
        ];
        assert!(published().len() > 40);
        for (file, root) in published() {
            assert_eq!(root["$schema"], "https://json-schema.org/draft/2020-12/schema", "{file}");
            each(root, &mut |schema| {
                for (keyword, says) in schema.as_object().unwrap() {
                    let known = KNOWN.contains(&keyword.as_str());
                    assert!(known || NOTES.contains(&keyword.as_str()), "{file}: {keyword}");
                    match (keyword.as_str(), says.as_str()) {
                        ("$ref", Some(reference)) => {
                            let place = Place { file, schema }.follow(reference);
                            assert!(place.is_some(), "{file}: {reference} leads nowhere");
                        }
                        ("pattern", Some(pattern)) => {
                            assert!(matches(pattern, "").is_some(), "{file}: {pattern}");
                        }
                        ("format", Some(format)) => assert_eq!(format, "date-time", "{file}"),
                        _ => {}
                    }
                }
                let names = schema["required"].as_array().into_iter().flatten();
                for name in names.map(|name| name.as_str().unwrap()) {
                    assert!(schema["properties"][name].is_object(), "{file}: {name} is required");
                }
            });
        }
    }

    #[test]
    fn patterns_match_what_they_say() {
        for (pattern, text, expected) in [
            ("^[0-9a-f]{4}$", "09af", Some(true)),
            ("^[0-9a-f]{4}$", "09aF", Some(false)),
            ("^[0-9a-f]{4}$", "09af0", Some(false)),
            ("^[0-9a-f]{4}$", "09a", Some(false)),
            ("Z$", "2026-01-01T00:00:00Z", Some(true)),
            ("Z$", "2026-01-01T00:00:00+01:00", Some(false)),
            ("^[-dl][0-7]{4}$", "d0755", Some(true)),
            ("^[-dl][0-7]{4}$", "-0644", Some(true)),
            ("^[-dl][0-7]{4}$", "x0755", Some(false)),
            ("^cairn\\.[a-z]+/1$", "cairn.stage/1", Some(true)),
            ("^cairn\\.[a-z]+/1$", "cairnxstage/1", Some(false)),
            ("^cairn\\.[a-z]+/1$", "cairn./1", Some(false)),
            ("^a.*$", "ab", None),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    /// Each keyword, by a document that keeps it and one that does not.
    #[test]
    fn every_keyword_is_heeded() {
        for (schema, good, bad) in [
            (json!({ "type": "integer" }), json!(1), json!("1")),
            (json!({ "type": ["string", "null"] }), json!(null), json!(1)),
            (json!({ "const": 1 }), json!(1), json!(2)),
            (json!({ "enum": ["a", null] }), json!(null), json!("b")),
            (json!({ "minimum": 0 }), json!(0), json!(-1)),
            (json!({ "maxItems": 1 }), json!([1]), json!([1, 2])),
            (json!({ "pattern": "^a$" }), json!("a"), json!("b")),
            (json!({ "format": "date-time" }), json!("2026-01-01T00:00:00Z"), json!("now")),
            (json!({ "required": ["a"] }), json!({ "a": 1 }), json!({})),
            (
                json!({ "properties": { "a": { "const": 1 } } }),
                json!({ "a": 1 }),
                json!({ "a": 2 }),
            ),
            (json!({ "properties": {} }), json!({}), json!({ "more": 1 })),
            (
                json!({ "additionalProperties": { "const": 1 } }),
                json!({ "a": 1 }),
                json!({ "a": 2 }),
            ),
            (json!({ "propertyNames": { "const": "a" } }), json!({ "a": 1 }), json!({ "b": 1 })),
            (json!({ "items": { "const": 1 } }), json!([1]), json!([1, 2])),
            (json!({ "anyOf": [{ "const": 1 }, { "type": "integer" }] }), json!(1), json!("1")),
            (json!({ "oneOf": [{ "const": 1 }, { "const": 2 }] }), json!(2), json!(3)),
            (json!({ "oneOf": [{ "minimum": 1 }, { "minimum": 2 }] }), json!(1), json!(2)),
            (
                json!({ "$ref": "common.json#/$defs/time" }),
                json!("2026-01-01T00:00:00Z"),
                json!(""),
            ),
            (json!({ "title": "a" }), json!(1), json!(null)),
        ] {
            let accepts = |value| Place { file: "common", schema: &schema }.accepts(value);
            assert!(accepts(&good), "{schema} {good}");
            assert!(!accepts(&bad) || schema["title"].is_string(), "{schema} {bad}");
        }
        let unknown = json!({ "minLength": 1 });
        assert!(!Place { file: "common", schema: &unknown }.accepts(&json!("a")));
    }

    #[test]
    fn a_key_without_a_schema_is_a_mistake() {
        let good = json!({ "schema": "cairn.config-show/1", "path": "/x", "toml": "" });
        assert_eq!(check(&good), Ok(()));
        for (change, why) in [
            (json!({ "more": 1 }), "more"),
            (json!({ "path": 1 }), "/path"),
            (json!({ "schema": "cairn.no-such/1" }), "no-such.json"),
            (json!({ "schema": "cairn.config-show/2" }), "names no schema"),
        ] {
            let mut document = good.clone();
            for (key, value) in change.as_object().unwrap() {
                document[key] = value.clone();
            }
            let told = check(&document).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
        let mut less = good.clone();
        less.as_object_mut().unwrap().remove("toml");
        assert!(check(&less).unwrap_err().contains("toml"));
    }

    #[test]
    fn keys_below_a_reference_are_known_too() {
        let amount = json!({ "objects": 1, "bytes": 2 });
        let row =
            json!({ "mount": "production", "needed": amount, "unneeded": amount, "trash": amount });
        let mut space = json!({ "schema": "cairn.du/1", "refs": [], "total": amount,
            "shared": amount, "mounts": [row], "skipped": [] });
        assert_eq!(check(&space), Ok(()));
        space["mounts"][0]["trash"]["more"] = json!(1);
        assert!(check(&space).unwrap_err().contains("/mounts/0/trash"));
        // A verb's document is the report of all verbs, and is closed as that one is.
        let changed = json!({ "files_added": 0, "files_changed": 0, "files_removed": 0,
            "bytes_added": 0, "bytes_removed": 0 });
        let mut report = json!({ "schema": "cairn.lists/1", "verb": "lists", "dry_run": false,
            "operation": null, "number": null, "refs": [], "changed": changed, "views": [],
            "lists": [], "times_moved": [], "notes": [] });
        assert_eq!(check(&report), Ok(()));
        report["more"] = json!(1);
        assert!(check(&report).unwrap_err().contains("more"));
        report.as_object_mut().unwrap().remove("more");
        report["verb"] = json!("stage");
        assert!(check(&report).unwrap_err().contains("/verb"));
    }

    #[test]
    fn what_was_shown_is_known_and_the_rest_is_missing() {
        let mut shown = Shown::default();
        let everything = shown.missing();
        assert!(everything.contains(&"config-show.json#/properties/toml".to_owned()));
        shown.look("config-show", &json!({ "schema": "cairn.config-show/1", "toml": "" }));
        let missing = shown.missing();
        assert!(missing.contains(&"config-show.json#/properties/path".to_owned()));
        assert!(!missing.contains(&"config-show.json#/properties/toml".to_owned()));
        assert_eq!(missing.len() + 2, everything.len());
    }
}
