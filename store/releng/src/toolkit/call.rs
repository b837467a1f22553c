//! A line as it was typed: variables before the script, the script, its arguments.

use super::ToolkitError;

/// The variables of the environment that the scripts read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    /// `RLVER`: the major release.
    pub version: Option<String>,
    /// `RLREL`: the channel.
    pub channel: Option<String>,
}

/// A script with what it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// File name of the script.
    pub script: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// The major release.
    pub version: Option<String>,
    /// The channel.
    pub channel: Option<String>,
}

impl Call {
    /// Reads the words of a line: `RLVER=8 sync-to-prod.sh`, in any order of variables and script.
    ///
    /// `bash` may stand before the script, as it does in the procedure. A script may be named by
    /// its path. A variable that is given here and in the environment must say the same.
    pub fn read(words: &[String], environment: &Variables) -> Result<Call, ToolkitError> {
        let (mut version, mut channel) = (None, None);
        let mut rest: Vec<&str> = Vec::new();
        for word in words {
            match word.split_once('=') {
                Some(("RLVER", value)) => assign("RLVER", &mut version, value, LINE)?,
                Some(("RLREL", value)) => assign("RLREL", &mut channel, value, LINE)?,
                _ => rest.push(word),
            }
        }
        for (name, place, value) in [
            ("RLVER", &mut version, &environment.version),
            ("RLREL", &mut channel, &environment.channel),
        ] {
            if let Some(value) = value {
                assign(name, place, value, ENVIRONMENT)?;
            }
        }
        if let ["bash" | "sh", _, ..] = rest.as_slice() {
            rest.remove(0);
        }
        let Some((script, args)) = rest.split_first() else { return Err(ToolkitError::NoScript) };
        let name = script.rsplit('/').next().unwrap_or(script);
        if name.is_empty() {
            return Err(ToolkitError::NoScript);
        }
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Ok(Call { script: name.to_owned(), args, version, channel })
    }
}

const LINE: &str = "in the line";
const ENVIRONMENT: &str = "in the environment";

fn assign(
    variable: &'static str,
    place: &mut Option<String>,
    value: &str,
    by_second: &'static str,
) -> Result<(), ToolkitError> {
    if value.is_empty() {
        return Err(ToolkitError::Empty { variable });
    }
    match place {
        Some(first) if first != value => Err(ToolkitError::Twice {
            variable,
            first: first.clone(),
            by_first: LINE,
            second: value.to_owned(),
            by_second,
        }),
        _ => {
            *place = Some(value.to_owned());
            Ok(())
        }
    }
}
