//! What a compose says about its content: product metadata, comps, advisories, modules.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::Error;
use super::compose::{Compose, Kind, Tree, arches};
use super::disk::Disk;
use super::layout::Image;
use super::package::Recipe;
use super::release::{Advisory, Module};

/// Writes `compose/metadata`.
pub(super) fn write(
    compose: &Compose,
    trees: &[Tree],
    media: &[Image],
    time: u64,
    disk: &mut Disk,
) -> Result<(), Error> {
    let mut put = |name: &str, content: &str| {
        disk.file(&format!("compose/metadata/{name}"), content.as_bytes(), time)
    };
    put("COMPOSE_ID", &compose.id())?;
    put("composeinfo.json", &pretty(&composeinfo(compose, trees)))?;
    put("rpms.json", &pretty(&rpms(compose, trees)))?;
    if !media.is_empty() {
        put("images.json", &pretty(&images(compose, media, time)))?;
    }
    Ok(())
}

/// JSON as productmd writes it: indented by four, keys sorted, no newline at the end.
pub(super) fn pretty(value: &Value) -> String {
    let mut out = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut to = serde_json::Serializer::with_formatter(&mut out, format);
    serde::Serialize::serialize(value, &mut to).expect("a JSON value goes into a Vec");
    String::from_utf8(out).expect("JSON is UTF-8")
}

fn document(kind: &str, compose: &Compose, name: &str, content: Value) -> Value {
    let mut payload = json!({ "compose": identity(compose) });
    payload[name] = content;
    json!({ "header": { "type": format!("productmd.{kind}"), "version": "1.2" }, "payload": payload })
}

fn identity(compose: &Compose) -> Value {
    let (date, respin) = compose.date.split_once('.').unwrap_or((&compose.date, "0"));
    json!({
        "date": date,
        "id": compose.id(),
        "respin": respin.parse::<u64>().unwrap_or(0),
        "type": "production",
    })
}

fn composeinfo(compose: &Compose, trees: &[Tree]) -> Value {
    let mut variants = BTreeMap::new();
    for tree in trees {
        let variant = &tree.variant;
        if variants.contains_key(variant) {
            continue;
        }
        let mut arches = arches(trees, variant);
        arches.sort_unstable();
        let paths = |of: &dyn Fn(&str) -> String| -> Value {
            arches.iter().map(|arch| (arch.clone(), Value::from(of(arch)))).collect()
        };
        let mut all = json!({
            "os_tree": paths(&|arch| format!("{variant}/{arch}/os")),
            "packages": paths(&|arch| format!("{variant}/{arch}/os/Packages")),
            "repository": paths(&|arch| format!("{variant}/{arch}/os")),
        });
        if trees.iter().any(|tree| tree.kind == Kind::Debug) {
            for (key, end) in [
                ("debug_packages", "debug/tree/Packages"),
                ("debug_repository", "debug/tree"),
                ("debug_tree", "debug/tree"),
            ] {
                all[key] = paths(&|arch| format!("{variant}/{arch}/{end}"));
            }
            for (key, end) in [
                ("source_packages", "tree/Packages"),
                ("source_repository", "tree"),
                ("source_tree", "tree"),
            ] {
                all[key] = paths(&|_| format!("{variant}/source/{end}"));
            }
        }
        let entry = json!({
            "arches": arches,
            "id": variant,
            "name": variant,
            "paths": all,
            "type": "variant",
            "uid": variant,
        });
        variants.insert(variant.clone(), entry);
    }
    let mut info = document("composeinfo", compose, "variants", json!(variants));
    info["payload"]["release"] = json!({
        "internal": false,
        "name": format!("{} Linux", compose.short),
        "short": compose.short,
        "type": "ga",
        "version": compose.version,
    });
    info
}

fn rpms(compose: &Compose, trees: &[Tree]) -> Value {
    let mut all = json!({});
    for tree in trees {
        // productmd lists a variant's source packages under each of its architectures.
        let (category, under) = match tree.kind {
            Kind::Os => ("binary", vec![tree.arch.clone()]),
            Kind::Debug => ("debug", vec![tree.arch.clone()]),
            Kind::Source => ("source", arches(trees, &tree.variant)),
        };
        for (arch, recipe) in
            under.iter().flat_map(|arch| tree.packages.iter().map(move |p| (arch, p)))
        {
            let source = recipe.source().nevra();
            all[&tree.variant][arch][source][recipe.nevra()] = json!({
                "category": category,
                "path": format!("{}/{}", tree.path(), recipe.href()),
                "sigkey": null,
            });
        }
    }
    document("rpms", compose, "rpms", all)
}

fn images(compose: &Compose, media: &[Image], time: u64) -> Value {
    let mut all: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let mut media: Vec<&Image> = media.iter().collect();
    media.sort_by(|a, b| a.path.cmp(&b.path));
    for image in media {
        let iso = image.kind != "qcow2";
        // productmd knows no type for it: it is a small DVD of another kind.
        let (kind, subvariant) =
            if image.kind == "minimal" { ("dvd", "Minimal") } else { (image.kind, "BaseOS") };
        let volume = format!("{}-{}-{}", compose.short, compose.version, image.arch);
        all.entry(&image.arch).or_default().push(json!({
            "arch": image.arch,
            "bootable": iso,
            "checksums": { "sha256": image.sha256 },
            "disc_count": 1,
            "disc_number": 1,
            "format": if iso { "iso" } else { "qcow2" },
            "implant_md5": null,
            "mtime": time,
            "path": image.path,
            "size": image.size,
            "subvariant": subvariant,
            "type": kind,
            "volume_id": if iso { Value::from(volume) } else { Value::Null },
        }));
    }
    document("images", compose, "images", json!({ "BaseOS": all }))
}

/// A comps file with one group of everything in the tree, and an environment around it.
pub(super) fn comps(tree: &Tree) -> String {
    let id = tree.variant.to_lowercase();
    let mut names: Vec<&str> = tree.packages.iter().map(|package| package.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE comps PUBLIC \"-//Red Hat, Inc.//DTD Comps info//EN\" \"comps.dtd\">\n\
         <comps>\n  <group>\n    <id>{id}-sample</id>\n    <name>{variant} sample</name>\n    \
         <name xml:lang=\"de\">{variant} zum Ausprobieren</name>\n    \
         <description>Everything in {variant}</description>\n    <default>true</default>\n    \
         <uservisible>true</uservisible>\n    <packagelist>\n",
        variant = tree.variant,
    );
    for name in names {
        let _ = writeln!(text, "      <packagereq type=\"mandatory\">{name}</packagereq>");
    }
    let _ = write!(
        text,
        "    </packagelist>\n  </group>\n  <environment>\n    <id>{id}-environment</id>\n    \
         <name>{variant} environment</name>\n    <description>The sample</description>\n    \
         <display_order>1</display_order>\n    <grouplist>\n      \
         <groupid>{id}-sample</groupid>\n    </grouplist>\n    <optionlist/>\n  \
         </environment>\n</comps>\n",
        variant = tree.variant,
    );
    text
}

/// An `updateinfo.xml` over a tree's packages.
pub(super) fn updateinfo(advisories: &[Advisory], tree: &Tree, major: &str) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<updates>\n");
    for advisory in advisories {
        let Advisory { id, title, kind, severity, issued, .. } = advisory;
        let _ = write!(
            text,
            "  <update from=\"releng@example.org\" status=\"final\" type=\"{kind}\" \
             version=\"2\">\n    <id>{id}</id>\n    <title>{title}</title>\n    \
             <issued date=\"{issued}\"/>\n    <updated date=\"{issued}\"/>\n    \
             <rights>Copyright the cairn sample</rights>\n    <release>Sample {major}</release>\n    \
             <pushcount>1</pushcount>\n    <severity>{severity}</severity>\n    \
             <summary>{title}</summary>\n    <description>{title}</description>\n    \
             <references>\n",
            title = xml(title),
        );
        for cve in &advisory.cves {
            let _ = writeln!(
                text,
                "      <reference href=\"https://www.cve.org/CVERecord?id={cve}\" id=\"{cve}\" \
                 type=\"cve\" title=\"{cve}\"/>"
            );
        }
        let collection = format!("{}-{major}-{}", tree.variant.to_lowercase(), tree.arch);
        let _ = write!(
            text,
            "    </references>\n    <pkglist>\n      <collection short=\"{collection}\">\n        \
             <name>{collection}</name>\n"
        );
        for package in tree.packages.iter().filter(|p| advisory.packages.contains(&p.name)) {
            let Recipe { name, epoch, version, release, arch, .. } = package;
            let _ = write!(
                text,
                "        <package name=\"{name}\" version=\"{version}\" release=\"{release}\" \
                 epoch=\"{epoch}\" arch=\"{arch}\" src=\"{source}\">\n          \
                 <filename>{file}</filename>\n        </package>\n",
                epoch = epoch.unwrap_or(0),
                source = package.source_rpm(),
                file = package.file_name(),
            );
        }
        text.push_str("      </collection>\n    </pkglist>\n  </update>\n");
    }
    text.push_str("</updates>\n");
    text
}

/// A `modules.yaml`: each stream, and the first stream of each module as its default.
pub(super) fn modules(modules: &[Module], packages: &[Recipe], arch: &str) -> String {
    let mut text = String::new();
    let mut defaults = BTreeMap::new();
    for module in modules {
        let Module { name, stream, version, context } = module;
        defaults.entry(name).or_insert(stream);
        let _ = write!(
            text,
            "---\ndocument: modulemd\nversion: 2\ndata:\n  name: {name}\n  stream: \"{stream}\"\n  \
             version: {version}\n  context: {context}\n  arch: {arch}\n  \
             summary: The {name} sample module\n  description: >-\n    Stream {stream} of {name}.\n  \
             license:\n    module:\n    - MIT\n  dependencies:\n  - buildrequires:\n      \
             platform: [el9]\n    requires:\n      platform: [el9]\n  profiles:\n    common:\n      \
             rpms:\n      - {name}\n"
        );
        let label = module.label();
        let artifacts = packages.iter().filter(|p| p.module_label() == Some(label.as_str()));
        for (n, package) in artifacts.enumerate() {
            // An empty list would read as null, which libmodulemd refuses.
            text.push_str(if n == 0 { "  artifacts:\n    rpms:\n" } else { "" });
            let _ = writeln!(text, "    - {}", package.nevra());
        }
        text.push_str("...\n");
    }
    for (name, stream) in defaults {
        let _ = write!(
            text,
            "---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: {name}\n  \
             stream: \"{stream}\"\n  profiles:\n    \"{stream}\": [common]\n...\n"
        );
    }
    text
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
