//! Bencode, the encoding of torrents (BEP 3): bytes, whole numbers, lists, and dictionaries sorted
//! by key.
//!
//! Few lines, and ours: the crates that have it are old or bring much else. What is read is a file of
//! a directory that others write to, so depth and size are bounded, and only canonical encodings
//! are accepted.

use std::collections::BTreeMap;

/// Deeper nesting is refused; a torrent has five levels.
const MAX_DEPTH: usize = 32;

/// A value. Numbers below zero have no use in a torrent, and are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A whole number.
    Integer(u64),
    /// Bytes, which may be text.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Value>),
    /// A dictionary.
    Dict(BTreeMap<Vec<u8>, Value>),
}

impl Value {
    /// Returns text as a value.
    pub fn text(text: &str) -> Self {
        Value::Bytes(text.into())
    }

    /// Returns a dictionary of these keys.
    pub fn dict<const N: usize>(entries: [(&str, Value); N]) -> Self {
        Value::Dict(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// Returns the bytes that stand for it: one value has one encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::Integer(number) => out.extend(format!("i{number}e").bytes()),
            Value::Bytes(bytes) => write_bytes(bytes, out),
            Value::List(values) => {
                out.push(b'l');
                values.iter().for_each(|value| value.write(out));
                out.push(b'e');
            }
            Value::Dict(entries) => {
                out.push(b'd');
                for (key, value) in entries {
                    write_bytes(key, out);
                    value.write(out);
                }
                out.push(b'e');
            }
        }
    }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(format!("{}:", bytes.len()).bytes());
    out.extend_from_slice(bytes);
}

/// Returns the value that bytes stand for.
///
/// # Errors
/// What is not the canonical encoding of one value, as the end of a sentence.
pub fn decode(bytes: &[u8]) -> Result<Value, &'static str> {
    let mut rest = bytes;
    let value = value(&mut rest, 0)?;
    match rest {
        [] => Ok(value),
        _ => Err("goes on after its end"),
    }
}

fn value(rest: &mut &[u8], depth: usize) -> Result<Value, &'static str> {
    if depth > MAX_DEPTH {
        return Err("is nested too deeply");
    }
    match *rest {
        [b'i', after @ ..] => {
            *rest = after;
            Ok(Value::Integer(number(rest, b'e')?))
        }
        [b'l', after @ ..] => {
            *rest = after;
            let mut values = Vec::new();
            while !ends(rest) {
                values.push(value(rest, depth + 1)?);
            }
            Ok(Value::List(values))
        }
        [b'd', after @ ..] => {
            *rest = after;
            let mut entries = BTreeMap::new();
            while !ends(rest) {
                let key = string(rest)?;
                if entries.last_key_value().is_some_and(|(last, _)| *last >= key) {
                    return Err("has keys that are not sorted");
                }
                entries.insert(key, value(rest, depth + 1)?);
            }
            Ok(Value::Dict(entries))
        }
        [b'0'..=b'9', ..] => string(rest).map(Value::Bytes),
        [] => Err("is cut short"),
        _ => Err("has something that is no value"),
    }
}

/// Takes the end of a list or dictionary, if it is next.
fn ends(rest: &mut &[u8]) -> bool {
    match *rest {
        [b'e', after @ ..] => {
            *rest = after;
            true
        }
        _ => false,
    }
}

fn string(rest: &mut &[u8]) -> Result<Vec<u8>, &'static str> {
    let length = number(rest, b':')?;
    let length = usize::try_from(length).map_err(|_| "is cut short")?;
    let (bytes, after) = rest.split_at_checked(length).ok_or("is cut short")?;
    *rest = after;
    Ok(bytes.to_vec())
}

fn number(rest: &mut &[u8], end: u8) -> Result<u64, &'static str> {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (text, after) = rest.split_at(digits);
    if after.first() != Some(&end) || (text.len() > 1 && text[0] == b'0') {
        return Err("has a broken number");
    }
    *rest = &after[1..];
    let text = std::str::from_utf8(text).map_err(|_| "has a broken number")?;
    text.parse().map_err(|_| "has a broken number")
}
