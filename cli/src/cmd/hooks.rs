//! Tells the configuration's hooks of what a command has done.

use cairn_releng::Site;
use cairn_releng::config::HookEvent;
use cairn_releng::hooks::{self, Event, HookNote};
use cairn_store::id::OperationId;
use serde::Serialize;

use super::Context;
use crate::output;

/// What a command has done.
pub struct Happened {
    /// The verb.
    pub verb: &'static str,
    /// The operation, if one was logged.
    pub operation: Option<OperationId>,
    /// Its number.
    pub number: Option<u64>,
    /// The refs that it is about.
    pub refs: Vec<String>,
}

/// Runs the hooks that want to hear of it, with the document that `--json` prints; says on stderr
/// what there is to say of them, and returns it for the document.
///
/// The site is taken because nothing of it may stay open: a hook may run cairn itself.
pub fn tell(
    context: &Context<'_>,
    site: Site,
    happened: Happened,
    report: &impl Serialize,
) -> Vec<String> {
    let Site { config, store, .. } = site;
    drop(store);
    // A verb that is no event is one that no hook can name.
    let Some(verb) = HookEvent::ALL.iter().copied().find(|one| one.as_str() == happened.verb)
    else {
        return Vec::new();
    };
    if !config.hooks.values().any(|hook| hook.on.contains(&verb)) {
        return Vec::new();
    }
    let Happened { operation, number, refs, .. } = happened;
    let event = Event { verb, operation, number, refs };
    let document = output::document(verb.as_str(), report);
    let notes = match document.and_then(|text| Ok(serde_json::from_str(&text)?)) {
        Ok(document) => hooks::run(&config, &event, &document, &context.progress),
        // What has happened has happened, whatever keeps others from hearing of it.
        Err(error) => {
            let text = format!("The hooks were not run: the report cannot be written: {error}.");
            vec![HookNote { text, failed: true }]
        }
    };
    context.progress.finish();
    let told = |note: HookNote| {
        // A failure is not only for those who read the document, or nothing at all.
        if note.failed || !(context.output.json || context.output.quiet) {
            let _ = output::stderr(&format!("{}\n", note.text));
        }
        note.text
    };
    notes.into_iter().map(told).collect()
}
