//! What installers are told: `.treeinfo` edited in its lines, and as it came in `.treeinfo-pristine`.
//!
//! An installer that is pointed at BaseOS finds AppStream by a section of this file, whose paths lead
//! from one tree to the other: `../../../AppStream/x86_64/os/`. So the `os` trees and the `kickstart`
//! trees differ in this file, and where there is nothing to tell they do not differ at all.

use std::io::Read as _;

use cairn_repodata::Checksum;
use cairn_repodata::treeinfo::Treeinfo;
use cairn_store::path::RelPath;
use cairn_store::transform::graft;
use cairn_store::tree::{DirEntry, Draft, Entry, FileEntry, Nodes as _, lookup};

use super::OS;
use crate::error::{Error, Result, told};
use crate::site::Site;

const TREEINFO: &[u8] = b".treeinfo";
const PRISTINE: &[u8] = b".treeinfo-pristine";
const REPOMD: &str = "repodata/repomd.xml";
/// The largest treeinfo, and the largest `repomd.xml` that one is told of, in bytes.
const MAX_SIZE: u64 = 4 << 20;

/// A tree that can be installed from.
pub(super) struct Installable<'a> {
    pub site: &'a Site,
    pub draft: &'a Draft<'a>,
    /// The release's tree.
    pub root: &'a DirEntry,
    /// Where the repo's `os` tree is in it.
    pub at: &'a RelPath,
    pub arch: &'a str,
}

impl Installable<'_> {
    /// Returns `dir`, an `os` tree, as the tree of this kind: with a treeinfo that leads to the
    /// trees of the same kind of other variants, as far as the release has them.
    pub fn telling(
        &self,
        pristine: &DirEntry,
        dir: &DirEntry,
        variants: &[String],
        kind: &str,
    ) -> Result<DirEntry> {
        let at = self.at.join(TREEINFO);
        let Some(Entry::File(file)) = self.draft.tree(&dir.tree)?.get(TREEINFO).cloned() else {
            return Ok(*dir);
        };
        let mut there = Vec::new();
        for variant in variants {
            let os = RelPath::new(format!("{variant}/{}/{OS}", self.arch));
            if let Ok(os) = os
                && lookup(self.draft, self.root, &os)?.is_some_and(|entry| entry.as_dir().is_some())
            {
                there.push(variant.as_str());
            }
        }
        if there.is_empty() {
            return Ok(*dir);
        }
        let wrong = |error: cairn_repodata::Error| Error::Repodata {
            path: at.clone(),
            reason: told(&error),
        };
        let bytes = self.read(&file, &at)?;
        let mut info = Treeinfo::read(&at.to_string(), &bytes).map_err(wrong)?;
        for variant in there {
            add_variant(&mut info, variant, self.arch, kind);
        }
        let repomd = RelPath::new(REPOMD).expect("a constant path");
        if let Some(Entry::File(repomd)) = lookup(self.draft, dir, &repomd)? {
            let sum = Checksum::sha256(&self.read(&repomd, &self.at.join(b"repodata"))?);
            let content = |named: &str| (named == REPOMD).then(|| sum.clone());
            info.refresh_checksums(content).map_err(wrong)?;
        }
        let edited = info.write();
        if edited == bytes {
            return Ok(*dir);
        }
        let entry = self.draft.put_file(edited, file.mode, file.mtime);
        let edited = graft(self.draft, dir, &name(TREEINFO), Some(Entry::File(entry)))?;
        // As the compose has it: what changed since was changed by us.
        let came = match lookup(self.draft, pristine, &at)? {
            Some(Entry::File(came)) => came,
            Some(Entry::Dir(_) | Entry::Symlink(_)) | None => file,
        };
        Ok(graft(self.draft, &edited, &name(PRISTINE), Some(Entry::File(came)))?)
    }

    fn read(&self, file: &FileEntry, path: &RelPath) -> Result<Vec<u8>> {
        if file.size > MAX_SIZE {
            let reason = format!("it has {} bytes, more than {MAX_SIZE}", file.size);
            return Err(Error::Repodata { path: path.clone(), reason });
        }
        let mut bytes = Vec::new();
        let mut content = self.site.open_draft(self.draft, file, path)?.take(MAX_SIZE);
        content.read_to_end(&mut bytes).map_err(|source| {
            let path = path.to_string().into();
            cairn_store::Error::Io { op: "read", path, source }
        })?;
        Ok(bytes)
    }
}

fn name(name: &[u8]) -> RelPath {
    RelPath::ROOT.join(name)
}

/// Says where another variant is, in the lines that say it already or in a section of its own.
fn add_variant(info: &mut Treeinfo, variant: &str, arch: &str, kind: &str) {
    for section in ["general", "tree"] {
        let Some(list) = info.get(section, "variants") else { continue };
        let mut variants: Vec<&str> = list.split(',').map(str::trim).collect();
        if !variants.contains(&variant) {
            variants.push(variant);
            // As productmd lists them.
            variants.sort_unstable();
            let list = variants.join(",");
            info.set(section, "variants", &list);
        }
    }
    let (section, place) =
        (format!("variant-{variant}"), format!("../../../{variant}/{arch}/{kind}/"));
    let packages = format!("{place}Packages");
    for (key, value) in [
        ("id", variant),
        ("name", variant),
        ("packages", &packages),
        ("repository", &place),
        ("type", "variant"),
        ("uid", variant),
    ] {
        if info.get(&section, key) != Some(value) {
            info.set(&section, key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAME: &str = "[general]\nvariant = BaseOS\nvariants=BaseOS\n\n[checksums]\n\
                        LiveOS/squashfs.img = sha256:00\n; a comment\n[tree]\narch = x86_64\n\
                        variants = BaseOS, CRB\n\n[variant-BaseOS]\nid = BaseOS\nrepository = .\n";

    #[test]
    fn a_variant_is_told_of_in_place_and_once() {
        let mut info = Treeinfo::read(".treeinfo", CAME.as_bytes()).unwrap();
        add_variant(&mut info, "AppStream", "x86_64", "os");
        let section = "\n[variant-AppStream]\nid = AppStream\nname = AppStream\n\
                       packages = ../../../AppStream/x86_64/os/Packages\n\
                       repository = ../../../AppStream/x86_64/os/\ntype = variant\nuid = AppStream\n";
        let want = CAME
            .replace("variants=BaseOS\n", "variants=AppStream,BaseOS\n")
            .replace("variants = BaseOS, CRB", "variants = AppStream,BaseOS,CRB");
        let told = String::from_utf8(info.write()).unwrap();
        assert_eq!(told, format!("{want}{section}"));

        // Again, and for the other kind of tree: the lines that are there change, and no other.
        let mut again = Treeinfo::read(".treeinfo", told.as_bytes()).unwrap();
        add_variant(&mut again, "AppStream", "x86_64", "os");
        assert_eq!(again.write(), told.as_bytes());
        add_variant(&mut again, "AppStream", "x86_64", "kickstart");
        let kickstart = told.replace("/x86_64/os/", "/x86_64/kickstart/");
        assert_eq!(String::from_utf8(again.write()).unwrap(), kickstart);
    }
}
