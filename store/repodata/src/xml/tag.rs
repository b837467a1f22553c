//! Start tags: names and attributes.

use std::borrow::Cow;

use quick_xml::XmlVersion;
use quick_xml::events::BytesStart;

use crate::error::{Error, Result};
use crate::limits::{MAX_ATTRIBUTE, MAX_ATTRIBUTES};

/// A start tag.
pub(crate) struct Tag<'a> {
    pub(super) start: BytesStart<'a>,
    pub(super) file: &'a str,
    pub(super) offset: u64,
}

impl Tag<'_> {
    /// Returns the name without its prefix.
    pub(crate) fn name(&self) -> &str {
        local(self.full_name())
    }

    /// Returns the name as written.
    pub(crate) fn full_name(&self) -> &str {
        let content: &str = &self.start;
        let end = content.find(|c: char| c.is_ascii_whitespace()).unwrap_or(content.len());
        &content[..end]
    }

    /// Calls `visit` with the local name and value of each attribute.
    pub(crate) fn each(&self, mut visit: impl FnMut(&str, Cow<'_, str>)) -> Result<()> {
        self.each_full(|name, value| visit(local(name), value))
    }

    /// Calls `visit` with the full name and value of each attribute.
    pub(crate) fn each_full(&self, mut visit: impl FnMut(&str, Cow<'_, str>)) -> Result<()> {
        let ill = |source: Box<dyn std::error::Error + Send + Sync>| Error::Xml {
            file: self.file.to_owned(),
            offset: self.offset,
            source,
        };
        let long = |part, limit| Error::Long {
            file: self.file.to_owned(),
            offset: self.offset,
            part,
            limit,
        };
        for (count, attribute) in self.start.attributes().enumerate() {
            let attribute = attribute.map_err(|e| ill(e.into()))?;
            if count >= MAX_ATTRIBUTES {
                return Err(long("the number of attributes", MAX_ATTRIBUTES));
            }
            if attribute.value.len() > MAX_ATTRIBUTE {
                return Err(long("an attribute", MAX_ATTRIBUTE));
            }
            if attribute.value.contains('<') {
                return Err(ill("an attribute holds <".into()));
            }
            let value =
                attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|e| ill(e.into()))?;
            visit(attribute.key.0, value);
        }
        Ok(())
    }

    /// Returns all attributes.
    pub(crate) fn attributes(&self) -> Result<Attributes> {
        let mut list = Vec::new();
        self.each_full(|name, value| list.push((name.to_owned(), value.into_owned())))?;
        Ok(Attributes(list))
    }

    /// Returns the value of the attribute with this local name.
    pub(crate) fn attribute(&self, name: &str) -> Result<Option<String>> {
        let mut found = None;
        self.each(|key, value| {
            if key == name {
                found = Some(value.into_owned());
            }
        })?;
        Ok(found)
    }
}

/// A start tag's attributes, by full name and in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes(pub(crate) Vec<(String, String)>);

impl Attributes {
    /// Returns the value of the attribute with this local name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| local(key) == name).map(|(_, value)| value.as_str())
    }
}

fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// Returns whether a name is plain and has no prefix but these.
pub(super) fn is_name(name: &str, prefixes: &[&str]) -> bool {
    let (prefix, local) = name.split_once(':').unwrap_or(("", name));
    (prefix.is_empty() || prefixes.contains(&prefix))
        && local.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && local.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}
