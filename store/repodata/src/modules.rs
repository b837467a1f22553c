//! `modules.yaml`: streams, defaults and obsoletes, each a document of its own.
//!
//! Documents are carried as bytes: YAML that is parsed and written again is other YAML. What is
//! read of them is only what decides which belong together and which packages they name.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::limits::MAX_RECORD;
use crate::vercmp::Nevra;

/// Most documents in one file.
const MAX_DOCUMENTS: usize = 100_000;

/// One document with its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The document from its `---` line to before the next, with a newline at its end: where the
    /// file left one of these out, they were added.
    pub bytes: Vec<u8>,
    /// What it says.
    pub content: Content,
}

/// What a document says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A stream of a module: `modulemd` or `modulemd-packager` with its packages.
    Stream(Stream),
    /// The default stream and profiles of a module.
    Defaults {
        /// The module.
        module: String,
    },
    /// The end of a stream's life.
    Obsoletes {
        /// The module.
        module: String,
        /// The stream.
        stream: String,
        /// The context, if it is for one only.
        context: Option<String>,
    },
    /// Anything else, by its kind.
    Other {
        /// What `document:` says.
        kind: String,
    },
}

/// One build of a module stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Its full name.
    pub nsvca: Nsvca,
    /// The packages that belong to it.
    pub artifacts: Vec<Nevra>,
}

/// A stream's full name: name, stream, version, context, architecture.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nsvca {
    /// The module's name.
    pub name: String,
    /// The stream's name.
    pub stream: String,
    /// The build's version.
    pub version: u64,
    /// What it was built against.
    pub context: String,
    /// The architecture.
    pub arch: String,
}

impl fmt::Display for Nsvca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Nsvca { name, stream, version, context, arch } = self;
        write!(f, "{name}:{stream}:{version}:{context}:{arch}")
    }
}

/// Reads all documents; `file` is for errors.
///
/// # Errors
///
/// Anything that is not YAML, streams without a name, and artifacts that are no package names.
pub fn read(file: &str, bytes: &[u8]) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    for bytes in split(bytes) {
        let number = documents.len() + 1;
        if bytes.len() > MAX_RECORD || number > MAX_DOCUMENTS {
            return Err(Error::record(file, format!("document {number}"), "too large"));
        }
        if let Some(content) = parse(file, number, bytes)? {
            let framed = framed(bytes);
            // What was added may make another document of it, or none: a `...` before the first
            // line, a text that goes on to the end. That can be so of a file's first and last only.
            if framed != bytes
                && parse(file, number, &framed).ok().flatten().as_ref() != Some(&content)
            {
                let reason = "means something else where a `---` line stands before it and a newline \
                    after it; write them, and see what it says";
                return Err(Error::record(file, format!("document {number}"), reason));
            }
            documents.push(Document { bytes: framed, content });
        }
    }
    Ok(documents)
}

/// Returns the documents as one file.
pub fn write(documents: &[Document]) -> Vec<u8> {
    documents.iter().flat_map(|document| &document.bytes).copied().collect()
}

/// Returns a document that can stand between others, and that is equal however it stood in its file.
fn framed(bytes: &[u8]) -> Vec<u8> {
    let start: &[u8] = if starts_document(bytes) { b"" } else { b"---\n" };
    let end: &[u8] = if bytes.ends_with(b"\n") { b"" } else { b"\n" };
    [start, bytes, end].concat()
}

/// Merges documents: those of `newer` replace those of `older` that say the same thing again.
/// Order is kept, new ones come last.
pub fn merge(older: Vec<Document>, newer: Vec<Document>) -> Vec<Document> {
    let mut at: BTreeMap<Key, usize> = BTreeMap::new();
    let mut merged: Vec<Document> = Vec::new();
    for document in older.into_iter().chain(newer) {
        match at.entry(document.key()) {
            Entry::Occupied(index) => merged[*index.get()] = document,
            Entry::Vacant(index) => {
                index.insert(merged.len());
                merged.push(document);
            }
        }
    }
    merged
}

/// What two documents share that replace each other. Not one text: a name may hold what separates it
/// from the next.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Stream(Nsvca),
    Defaults(String),
    Obsoletes(String, String, Option<String>),
    /// Only itself.
    Other(Vec<u8>),
}

impl Document {
    fn key(&self) -> Key {
        match &self.content {
            Content::Stream(stream) => Key::Stream(stream.nsvca.clone()),
            Content::Defaults { module } => Key::Defaults(module.clone()),
            Content::Obsoletes { module, stream, context } => {
                Key::Obsoletes(module.clone(), stream.clone(), context.clone())
            }
            Content::Other { .. } => Key::Other(self.bytes.clone()),
        }
    }
}

/// Returns whether a line starts a document; such a line is never content.
fn starts_document(line: &[u8]) -> bool {
    let rest = line.strip_prefix(b"---");
    rest.is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

/// Splits at the lines that start documents.
fn split(bytes: &[u8]) -> Vec<&[u8]> {
    let mut starts = vec![0];
    let mut at = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if at > 0 && starts_document(line) {
            starts.push(at);
        }
        at += line.len();
    }
    starts.push(bytes.len());
    starts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

#[derive(Deserialize)]
struct Head {
    document: String,
    data: Option<Body>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    name: Option<String>,
    stream: Option<String>,
    version: Option<u64>,
    context: Option<String>,
    arch: Option<String>,
    module: Option<String>,
    artifacts: Option<Artifacts>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Artifacts {
    rpms: Option<Vec<String>>,
}

fn parse(file: &str, number: usize, bytes: &[u8]) -> Result<Option<Content>> {
    let wrong = |reason: String| Error::record(file, format!("document {number}"), reason);
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("not UTF-8".to_owned()))?;
    let blank = |line: &str| matches!(line.trim_end(), "" | "---" | "...") || line.starts_with('#');
    if text.lines().all(blank) {
        return Ok(None);
    }
    // Snippets would repeat pages of the file in an error.
    let options = serde_saphyr::options! { with_snippet: false };
    let head: Head = serde_saphyr::from_str_with_options(text, options)
        .map_err(|source| wrong(source.to_string()))?;
    let body = head.data.unwrap_or_default();
    let need = |value: Option<String>, what: &str| {
        value.filter(|text| !text.is_empty()).ok_or_else(|| wrong(format!("no {what}")))
    };
    Ok(Some(match head.document.as_str() {
        "modulemd" => {
            let nsvca = Nsvca {
                name: need(body.name, "name")?,
                stream: need(body.stream, "stream")?,
                version: body.version.unwrap_or(0),
                context: body.context.unwrap_or_default(),
                arch: body.arch.unwrap_or_default(),
            };
            let mut artifacts = Vec::new();
            for rpm in body.artifacts.and_then(|artifacts| artifacts.rpms).unwrap_or_default() {
                let nevra = Nevra::parse(&rpm);
                let reason = || wrong(format!("{nsvca}: artifact {rpm:?} is no package name"));
                artifacts.push(nevra.ok_or_else(reason)?);
            }
            Content::Stream(Stream { nsvca, artifacts })
        }
        "modulemd-defaults" => Content::Defaults { module: need(body.module, "module")? },
        "modulemd-obsoletes" => Content::Obsoletes {
            module: need(body.module, "module")?,
            stream: need(body.stream, "stream")?,
            context: body.context,
        },
        kind => Content::Other { kind: kind.to_owned() },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULES: &str = "---
document: modulemd
version: 2
data:
  name: nodejs
  stream: 1.10
  version: 8020019020421022
  context: '00000000'
  arch: x86_64
  summary: >-
    text
    --- not a marker
  artifacts:
    rpms:
    - nodejs-1:18.1.0-1.module+el8+1.x86_64
    - npm-1:8.1-1.x86_64
...
---
document: modulemd-defaults
version: 1
data:
  module: nodejs
  stream: '18'
  profiles:
    18: [common]
---
document: modulemd-obsoletes
version: 1
data:
  module: nodejs
  stream: \"10\"
  modified: 2021-01-01T00:00Z
  message: gone
---
document: modulemd-translations
version: 1
data:
  module: nodejs
";

    #[test]
    fn documents_are_indexed_and_written_byte_for_byte() {
        let documents = read("modules.yaml", MODULES.as_bytes()).unwrap();
        assert_eq!(documents.len(), 4);
        let Content::Stream(stream) = &documents[0].content else { panic!() };
        assert_eq!(stream.nsvca.to_string(), "nodejs:1.10:8020019020421022:00000000:x86_64");
        let names: Vec<_> = stream.artifacts.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["nodejs-1:18.1.0-1.module+el8+1.x86_64", "npm-1:8.1-1.x86_64"]);
        assert_eq!(documents[1].content, Content::Defaults { module: "nodejs".to_owned() });
        let kind = "modulemd-translations".to_owned();
        assert_eq!(documents[3].content, Content::Other { kind });
        assert_eq!(String::from_utf8(write(&documents)).unwrap(), MODULES);
    }

    #[test]
    fn newer_documents_replace_older_ones_in_place() {
        let older = read("a", MODULES.as_bytes()).unwrap();
        let newer = MODULES.replace("text", "new text").replace("'18'", "'20'");
        let newer = read("b", newer.replace("name: nodejs", "name: other").as_bytes()).unwrap();
        let merged = merge(older.clone(), newer.clone());
        assert_eq!(merged.len(), 5);
        assert_eq!(merged[0], older[0]);
        assert_eq!(merged[1], newer[1]);
        assert_eq!(merged[4], newer[0]);
        assert_eq!(merge(older.clone(), older.clone()), older);
    }

    #[test]
    fn a_document_is_the_same_whatever_its_file_left_out() {
        // Found by fuzzing: the last without its newline was kept beside itself.
        let bare = read("f", b"document: other\ndata: {}").unwrap();
        assert_eq!(bare[0].bytes, b"---\ndocument: other\ndata: {}\n");
        let written = read("f", &write(&bare)).unwrap();
        assert_eq!(merge(bare.clone(), written), bare);
        // A key may begin like a marker, and must not end up in the document before it.
        let odd = read("f", b"---a: b\ndocument: other\n").unwrap();
        let both = [bare, odd].concat();
        assert_eq!(read("f", &write(&both)).unwrap(), both);
    }

    #[test]
    fn a_document_that_would_be_another_between_others_is_refused() {
        // Found by trying long rows of every marker: what was written of it could not be read.
        for yaml in [
            "...\ndocument: other\n",
            "# text\n\n... # more\ndocument: other\n",
            "\r...\rdocument: other\n",
            "document: modulemd-defaults\ndata:\n  module: |\n    a",
        ] {
            match read("f", yaml.as_bytes()) {
                Ok(documents) => {
                    assert_eq!(read("f", &write(&documents)).unwrap(), documents, "{yaml:?}")
                }
                Err(error) => assert!(error.to_string().starts_with("f: document 1: "), "{error}"),
            }
        }
        let error = read("f", b"...\ndocument: other\n").unwrap_err().to_string();
        assert!(error.contains("means something else"), "{error}");
        let kept = read("f", b"...\n---\ndocument: other\n...\n").unwrap();
        assert_eq!(kept[0].bytes, b"---\ndocument: other\n...\n");
    }

    #[test]
    fn documents_of_names_with_separators_do_not_replace_each_other() {
        let stream = |name: &str, stream: &str| {
            format!("---\ndocument: modulemd\ndata: {{name: \"{name}\", stream: \"{stream}\"}}\n")
        };
        let obsoletes = |context: &str| {
            format!("---\ndocument: modulemd-obsoletes\ndata: {{module: a, stream: b{context}}}\n")
        };
        let text = stream("a:b", "c") + &stream("a", "b:c");
        let text = text + &obsoletes("") + &obsoletes(", context: \"*\"");
        let documents = read("f", text.as_bytes()).unwrap();
        assert_eq!(documents.len(), 4);
        assert_eq!(merge(documents.clone(), vec![]), documents);
    }

    #[test]
    fn wrong_documents_are_named() {
        for (yaml, want) in [
            ("document: modulemd\ndata: {name: a}\n", "f: document 1: no stream"),
            ("---\n...\n---\n{", "f: document 1: "),
            (
                "document: modulemd\ndata: {name: a, stream: b, artifacts: {rpms: [x]}}\n",
                "f: document 1: a:b:0::: artifact \"x\" is no package name",
            ),
            ("document: [\n", "f: document 1: "),
        ] {
            let error = read("f", yaml.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(want), "{error}");
        }
        assert_eq!(read("f", b"").unwrap(), []);
        let laughs = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
             c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n\
             e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n\
             g: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n";
        assert!(read("f", laughs.as_bytes()).is_err());
    }
}
