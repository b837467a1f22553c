//! Comps: groups, environments and categories of packages.
//!
//! The file is carried as bytes (see [`crate::write::RepodataBuilder::extra`]); what is read here
//! is for checks and comparison.

use std::io::BufRead;

use crate::error::{Error, Result};
use crate::xml::{Document, Token};

/// The content of a comps file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comps {
    /// Groups of packages.
    pub groups: Vec<Group>,
    /// What can be chosen at installation: sets of groups.
    pub environments: Vec<GroupSet>,
    /// How groups are shown: sets of groups.
    pub categories: Vec<GroupSet>,
}

/// A group of packages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: String,
    /// Its untranslated name.
    pub name: String,
    /// Its packages.
    pub packages: Vec<GroupPackage>,
}

/// A package of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupPackage {
    /// The package's name.
    pub name: String,
    /// `mandatory`, `default`, `optional` or `conditional`, as written.
    pub kind: String,
    /// The package that a conditional one depends on.
    pub requires: Option<String>,
}

/// A set of groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupSet {
    /// Its id.
    pub id: String,
    /// Its untranslated name.
    pub name: String,
    /// The groups that belong to it.
    pub groups: Vec<String>,
    /// The groups that may be chosen with it.
    pub options: Vec<String>,
}

/// Reads a decompressed comps file; `file` is for errors.
///
/// # Errors
///
/// Anything malformed, groups without an id, and two groups with one id.
pub fn read(file: &str, reader: impl BufRead) -> Result<Comps> {
    let mut document = Document::new(file, reader).with_plain_doctype();
    document.root("comps")?;
    let mut comps = Comps::default();
    loop {
        match document.next()? {
            Token::Start(tag) => match tag.name() {
                "group" => {
                    let group = read_group(&mut document)?;
                    if comps.groups.iter().any(|other| other.id == group.id) {
                        return Err(Error::record(file, group.id, "two groups have this id"));
                    }
                    comps.groups.push(group);
                }
                "environment" => comps.environments.push(read_set(&mut document)?),
                "category" => comps.categories.push(read_set(&mut document)?),
                _ => document.skip()?,
            },
            Token::Text(_) => {}
            Token::End | Token::Eof => break,
        }
    }
    document.finish()?;
    Ok(comps)
}

fn read_group<R: BufRead>(document: &mut Document<R>) -> Result<Group> {
    let mut group = Group::default();
    loop {
        match document.next()? {
            Token::Start(tag) => match tag.name() {
                "id" => group.id = document.text()?,
                "name" => match tag.attribute("lang")? {
                    None => group.name = document.text()?,
                    Some(_) => document.skip()?,
                },
                "packagelist" => read_packages(document, &mut group)?,
                _ => document.skip()?,
            },
            Token::Text(_) => {}
            Token::End | Token::Eof if group.id.is_empty() => {
                return Err(Error::record(document.file(), "a group", "no id"));
            }
            Token::End | Token::Eof => return Ok(group),
        }
    }
}

fn read_packages<R: BufRead>(document: &mut Document<R>, group: &mut Group) -> Result<()> {
    loop {
        match document.next()? {
            Token::Start(tag) if tag.name() == "packagereq" => {
                let kind = tag.attribute("type")?.unwrap_or_else(|| "mandatory".to_owned());
                let requires = tag.attribute("requires")?;
                let name = document.text()?;
                group.packages.push(GroupPackage { name, kind, requires });
            }
            Token::Start(_) => document.skip()?,
            Token::Text(_) => {}
            Token::End | Token::Eof => return Ok(()),
        }
    }
}

fn read_set<R: BufRead>(document: &mut Document<R>) -> Result<GroupSet> {
    let mut set = GroupSet::default();
    loop {
        match document.next()? {
            Token::Start(tag) => match tag.name() {
                "id" => set.id = document.text()?,
                "name" => match tag.attribute("lang")? {
                    None => set.name = document.text()?,
                    Some(_) => document.skip()?,
                },
                "grouplist" => set.groups = read_ids(document)?,
                "optionlist" => set.options = read_ids(document)?,
                _ => document.skip()?,
            },
            Token::Text(_) => {}
            Token::End | Token::Eof if set.id.is_empty() => {
                return Err(Error::record(document.file(), "a set of groups", "no id"));
            }
            Token::End | Token::Eof => return Ok(set),
        }
    }
}

fn read_ids<R: BufRead>(document: &mut Document<R>) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    loop {
        match document.next()? {
            Token::Start(tag) if tag.name() == "groupid" => ids.push(document.text()?),
            Token::Start(_) => document.skip()?,
            Token::Text(_) => {}
            Token::End | Token::Eof => return Ok(ids),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE comps PUBLIC "-//Red Hat, Inc.//DTD Comps info//EN" "comps.dtd">
<comps>
  <group><id>core</id><name>Core</name><name xml:lang="de">Kern</name>
    <packagelist><packagereq type="mandatory">bash</packagereq>
      <packagereq type="conditional" requires="x">y</packagereq>
      <packagereq>z</packagereq></packagelist></group>
  <environment><id>minimal</id><name>Minimal</name>
    <grouplist><groupid>core</groupid></grouplist>
    <optionlist><groupid default="true">more</groupid></optionlist></environment>
  <category><id>base</id><name>Base</name><grouplist><groupid>core</groupid></grouplist></category>
  <langpacks><match install="a" name="b"/></langpacks>
</comps>"#;

    #[test]
    fn groups_and_sets_are_read() {
        let comps = read("comps.xml", COMPS.as_bytes()).unwrap();
        let [group] = comps.groups.as_slice() else { panic!() };
        assert_eq!((group.id.as_str(), group.name.as_str()), ("core", "Core"));
        let packages: Vec<_> =
            group.packages.iter().map(|p| (&*p.name, &*p.kind, p.requires.as_deref())).collect();
        let want = [
            ("bash", "mandatory", None),
            ("y", "conditional", Some("x")),
            ("z", "mandatory", None),
        ];
        assert_eq!(packages, want);
        assert_eq!(comps.environments[0].groups, ["core"]);
        assert_eq!(comps.environments[0].options, ["more"]);
        assert_eq!(comps.categories[0].name, "Base");
    }

    #[test]
    fn a_document_type_may_name_a_file_but_declare_nothing() {
        let attack = COMPS.replace("\"comps.dtd\">", "\"comps.dtd\" [<!ENTITY a 'b'>]>");
        let error = read("comps.xml", attack.as_bytes()).unwrap_err().to_string();
        assert!(error.ends_with("a document type declaration is refused"), "{error}");
        let twice = COMPS.replace("<langpacks>", "<group><id>core</id></group><langpacks>");
        let error = read("comps.xml", twice.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, "comps.xml: core: two groups have this id");
    }
}
