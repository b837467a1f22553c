//! Hooks: commands of the configuration that hear of an operation when it has happened.
//!
//! A hook cannot stop or undo anything: what it is told of is logged, and published as far as that
//! went. So its failure is told and changes nothing. What may keep a release from going out is a
//! gate.

use cairn_store::id::OperationId;
use cairn_store::progress::Observer;
use serde_json::Value;

use crate::ask::{Answer, Ask};
use crate::config::{Config, Hook, HookEvent};
use crate::error::{Error, told};

/// What hooks are told of.
#[derive(Clone, Debug)]
pub struct Event {
    /// The verb.
    pub verb: HookEvent,
    /// The operation; nothing for a publication that needed none.
    pub operation: Option<OperationId>,
    /// Its number.
    pub number: Option<u64>,
    /// The refs that it is about.
    pub refs: Vec<String>,
}

/// What came of one hook, where there is something to say.
#[derive(Clone, Debug)]
pub struct HookNote {
    /// A sentence.
    pub text: String,
    /// Whether it did not do what it should.
    pub failed: bool,
}

/// Runs the hooks of an event one after the other, by name, each with the verb's document and its
/// own name in it on stdin.
///
/// The caller holds no lock and no index any more: a hook may run cairn itself.
pub fn run(
    config: &Config,
    event: &Event,
    document: &Value,
    observer: &dyn Observer,
) -> Vec<HookNote> {
    let mut notes = Vec::new();
    for (name, hook) in config.hooks.iter().filter(|(_, hook)| hook.on.contains(&event.verb)) {
        if observer.interrupted() {
            let text = format!("The hook {name} was not run: the command was interrupted.");
            notes.push(HookNote { text, failed: true });
            continue;
        }
        observer.begin(&format!("Running hook {name}"), 0, 0);
        let (text, failed) = match run_one(name, hook, event, document, observer) {
            Ok(Answer::Success(None)) => continue,
            Ok(Answer::Success(Some(said))) => (format!("The hook {name} ran; {said}."), false),
            Ok(Answer::Failed(how) | Answer::TimedOut(how) | Answer::NotStarted(how)) => {
                let text = format!("The hook {name} failed, and nothing is undone: {how}.");
                (text, true)
            }
            Err(Error::Store(cairn_store::Error::Interrupted)) => {
                (format!("The hook {name} was ended: the command was interrupted."), true)
            }
            Err(error) => (format!("The hook {name} was not run: {}.", told(&error)), true),
        };
        notes.push(HookNote { text, failed });
    }
    notes
}

fn run_one(
    name: &str,
    hook: &Hook,
    event: &Event,
    document: &Value,
    observer: &dyn Observer,
) -> crate::error::Result<Answer> {
    let operation = event.operation.map(|id| id.to_string()).unwrap_or_default();
    let number = event.number.map(|number| number.to_string()).unwrap_or_default();
    let refs = event.refs.join(" ");
    let values = [
        ("verb", event.verb.as_str()),
        ("operation", operation.as_str()),
        ("number", number.as_str()),
        ("refs", refs.as_str()),
    ];
    let expand = |part: &crate::config::Template| part.expand(&values);
    let command: Result<Vec<String>, _> = hook.command.iter().map(expand).collect();
    let command = command.map_err(crate::names::NameError::from)?;
    let mut document = document.clone();
    document["hook"] = name.into();
    Ask { name, command: &command, timeout: hook.timeout, document: &document }.run(observer)
}
