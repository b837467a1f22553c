//! What the operator hears while something does not answer, and how the process ends if it never does.

use std::io::IsTerminal;

use cairn_store::Error as StoreError;
use cairn_store::hang::Caller;

use crate::args::{Global, ProgressMode};
use crate::failure::Failure;
use crate::output::{Output, stderr};
use crate::progress::is_stopped;

/// The caller of this process.
struct Patient {
    output: Output,
    talks: bool,
}

/// Makes this process one that waits for nothing without a word, and for nothing without an end.
pub fn begin(global: &Global, output: &Output) {
    let talks = match global.progress {
        _ if global.quiet => false,
        ProgressMode::Auto => std::io::stderr().is_terminal(),
        ProgressMode::Plain => true,
        ProgressMode::Never | ProgressMode::Json => false,
    };
    cairn_store::hang::set_caller(Box::new(Patient { output: output.clone(), talks }));
}

impl Caller for Patient {
    fn waiting(&self, sentence: &str) {
        if self.talks {
            let _ = stderr(&format!("{sentence}\n"));
        }
    }

    fn interrupted(&self) -> bool {
        is_stopped()
    }

    fn give_up(&self, error: StoreError, logged: Option<u64>) {
        let failure = Failure::from(error).given_up(logged);
        let code = failure.code();
        failure.report(&self.output);
        // Nothing that hangs is waited for, and a thread that holds stdout may hang.
        signal_hook::low_level::exit(code.into());
    }
}
