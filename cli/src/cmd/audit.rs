//! `cairn audit`: evidence that the log is what it always was.

use std::fmt::Write as _;
use std::path::Path;

use cairn_releng::Site;
use cairn_releng::evidence::{self, Evidence, LIMIT, Signature};
use cairn_releng::signing::{Signer, Verifier};
use cairn_store::fs::{Dir, Kind};
use cairn_store::path::{Escaped, display};
use serde::Serialize;

use super::diff::write_whole;
use super::{Context, Exit};
use crate::args::{AuditCommand, AuditExportArgs, AuditVerifyArgs};
use crate::failure::{Failure, SIGNING};
use crate::output::{Output, count, size};

/// The exit code for what is not as it was written.
const CORRUPT: u8 = 13;

#[derive(Serialize)]
struct Document<'a> {
    action: &'static str,
    sound: bool,
    #[serde(flatten)]
    evidence: &'a Evidence,
    /// Where it was written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dry_run: Option<bool>,
}

/// `cairn audit`.
pub fn run(context: &Context<'_>, command: &AuditCommand) -> Exit {
    match command {
        AuditCommand::Verify(args) => verify(context, args),
        AuditCommand::Export(args) => export(context, args),
    }
}

fn verify(context: &Context<'_>, args: &AuditVerifyArgs) -> Exit {
    let evidence = match &args.file {
        None => {
            let site = context.site(None)?;
            context.output.notes(site.store.notes());
            evidence::verify(&site, &context.progress)?
        }
        Some(file) => {
            // A third party has the file and the keys, and no configuration.
            let keys = match args.keys.as_slice() {
                [] => None,
                paths => Some(Verifier::read_all(paths)?),
            };
            let bytes = read(file)?;
            let older = args.since.as_deref().map(read).transpose()?;
            evidence::check(&bytes, keys.as_ref(), older.as_deref(), &context.progress)?
        }
    };
    context.progress.finish();
    let document = Document {
        action: "verify",
        sound: evidence.is_sound(),
        evidence: &evidence,
        file: None,
        bytes: None,
        dry_run: None,
    };
    match context.output.json {
        true => context.output.document("audit", &document)?,
        false => context.output.text(&text(context.output, &evidence))?,
    }
    let wanted = !args.keys.is_empty();
    Ok(match &evidence.signature {
        _ if !evidence.is_sound() => CORRUPT,
        Some(Signature::NotGood { .. }) => SIGNING,
        Some(Signature::Unsigned) if wanted => SIGNING,
        Some(Signature::Good { .. } | Signature::NotChecked | Signature::Unsigned) | None => 0,
    })
}

fn text(output: &Output, evidence: &Evidence) -> String {
    let mut text = String::new();
    let head = evidence.head.map_or_else(|| "nothing".to_owned(), |id| id.to_string());
    let _ = writeln!(text, "store      {}", Escaped(evidence.store.as_bytes()));
    if let Some(time) = &evidence.time {
        let _ = writeln!(text, "written    {time}");
    }
    let _ = writeln!(
        text,
        "log        {}, the last is {head}",
        count(evidence.operations, "operation")
    );
    let _ = writeln!(
        text,
        "snapshots  {}; {} collected",
        count(evidence.snapshots as u64, "snapshot"),
        evidence.collected
    );
    if let (Some(packs), Some(trees)) = (evidence.packs, evidence.trees) {
        let _ = writeln!(
            text,
            "packs      {}, {}",
            count(packs as u64, "pack"),
            count(trees as u64, "tree")
        );
    }
    match &evidence.signature {
        None => {}
        Some(Signature::Good { key, owner }) => {
            let owner = Escaped(owner.as_bytes());
            let _ = writeln!(text, "signature  {}, by {owner}, key {key}", output.good("good"));
        }
        Some(Signature::NotGood { reason }) => {
            let reason = Escaped(reason.as_bytes());
            let _ = writeln!(text, "signature  {}: it {reason}", output.bad("not good"));
        }
        Some(Signature::NotChecked) => {
            let _ = writeln!(
                text,
                "signature  {}: name the keys with --keys",
                output.warn("not checked")
            );
        }
        Some(Signature::Unsigned) => {
            let _ = writeln!(
                text,
                "signature  {}: anybody could have written this",
                output.warn("none")
            );
        }
    }
    for finding in &evidence.findings {
        let [subject, message] =
            [&finding.subject, &finding.message].map(|part| Escaped(part.as_bytes()).to_string());
        let _ = writeln!(text, "{}  {message}", output.bad(&subject));
    }
    if evidence.omitted > 0 {
        let _ = writeln!(text, "and {}", count(evidence.omitted as u64, "more finding"));
    }
    if evidence.is_sound() {
        let _ = writeln!(text, "{}", output.good("Every link of the chain holds."));
    }
    text
}

fn export(context: &Context<'_>, args: &AuditExportArgs) -> Exit {
    let site = context.site(None)?;
    context.output.notes(site.store.notes());
    let signer = match args.unsigned {
        true => None,
        false => signer(&site, args.release.as_deref())?,
    };
    let dry_run = context.global.dry_run;
    let now = jiff::Timestamp::now();
    // A plan runs no command, so it signs nothing.
    let used = signer.as_ref().filter(|_| !dry_run);
    let bytes = evidence::export(&site, used, now, &context.progress)?;
    let keys = used.map(Signer::verifier);
    let evidence = evidence::check(&bytes, keys, None, &context.progress)?;
    if !dry_run {
        write_whole("audit export", &args.file, &bytes, None)?;
    }
    context.progress.finish();
    if !args.unsigned && signer.is_none() {
        let note =
            "It is not signed: the configuration has no [sign]. Anybody could have written it.";
        context.output.notes(&[note.to_owned()]);
    }
    let document = Document {
        action: "export",
        sound: evidence.is_sound(),
        evidence: &evidence,
        file: Some(args.file.to_string_lossy().into_owned()),
        bytes: Some(bytes.len() as u64),
        dry_run: Some(dry_run),
    };
    if context.output.json {
        context.output.document("audit", &document)?;
    } else {
        let verb = if dry_run { "Would write" } else { "Wrote" };
        let (file, bytes) = (display(&args.file), size(bytes.len() as u64));
        let operations = count(evidence.operations, "operation");
        let signed = match (&signer, &evidence.signature) {
            (_, Some(Signature::Good { key, .. })) => format!("signed by key {key}"),
            (Some(_), _) => "to be signed".to_owned(),
            (None, _) => "not signed".to_owned(),
        };
        context.output.text(&format!("{verb} {operations}, {bytes}, {signed}: {file}\n"))?;
    }
    Ok(if evidence.is_sound() { 0 } else { CORRUPT })
}

/// Returns who signs: as for a release, the newest if none is named.
fn signer<'s>(site: &'s Site, release: Option<&str>) -> Result<Option<Signer<'s>>, Failure> {
    let view = match release {
        Some(name) => Some(site.config.release(name).map_err(cairn_releng::Error::from)?),
        None => {
            let views = site.config.release_views().into_iter();
            views.filter(|view| view.channel().production).max_by_key(|view| view.major())
        }
    };
    match view {
        Some(view) => Ok(Signer::for_release(&site.config, &view)?),
        None => Ok(None),
    }
}

/// Reads a file whole, if it is one and not too large.
fn read(file: impl AsRef<Path>) -> Result<Vec<u8>, Failure> {
    use std::os::unix::ffi::OsStrExt;
    let file = file.as_ref();
    let wrong = |reason: String| {
        Failure::usage(
            format!("{}: {reason}", display(file)),
            "cairn audit export writes such a file",
        )
    };
    let name = file.file_name().ok_or_else(|| wrong("this names a directory".to_owned()))?;
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let dir = Dir::open(parent.unwrap_or(Path::new(".")))?;
    let mut open = dir.open_file(name.as_bytes())?;
    let stat = open.stat()?;
    if stat.kind != Kind::File {
        return Err(wrong("it is no regular file".to_owned()));
    }
    if stat.size > LIMIT {
        return Err(wrong(format!("it has {} bytes, more than {LIMIT}", stat.size)));
    }
    let mut bytes = vec![0; stat.size as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match open.read(&mut bytes[filled..])? {
            0 => break,
            got => filled += got,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
