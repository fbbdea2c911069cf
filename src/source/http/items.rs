//! What a body holds: pure functions from bytes to records.

use serde::Deserializer as _;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::envelope;
use crate::event::{Framing, NewRecord};
use crate::flipt::FramingError;
use crate::source::records::{self, MAX_EVENT_BYTES};

/// How many events one request may hold.
pub const MAX_ITEMS: usize = 10_000;

/// Why a body was not taken. The messages never repeat it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// There is nothing in it.
    #[error("the body is empty")]
    Empty,
    /// It is neither JSON nor a JSON value on each line.
    #[error("not JSON at line {line}, column {column}: {problem}")]
    NotJson {
        /// The line, counted from 1.
        line: usize,
        /// The byte of that line, counted from 1.
        column: usize,
        /// What the reader says.
        problem: String,
    },
    /// It holds more than [`MAX_ITEMS`].
    #[error("more than {MAX_ITEMS} events in one request")]
    TooMany,
}

/// The records that a body is: one JSON value, an array of such, or one on each line. An item that is no audit
/// event is one that could not be read; what is too long is kept as its head.
///
/// # Errors
/// When it is not JSON, or too much: nothing of it is taken then.
pub fn read(body: &[u8], instance: &str) -> Result<Vec<NewRecord>, BodyError> {
    Ok(split(body)?.into_iter().map(|item| record(item, instance)).collect())
}

/// The one place where an item becomes a record.
fn record(item: &str, instance: &str) -> NewRecord {
    let bytes = item.as_bytes();
    let unparsed = |reason: String| records::unparsed(None, 0, bytes, Framing::Auto, reason);
    match envelope::read(bytes) {
        Some(Ok(handed)) => return handed.into_record(instance),
        Some(Err(reason)) if bytes.len() <= MAX_EVENT_BYTES => return unparsed(reason),
        _ => {}
    }
    if bytes.len() > MAX_EVENT_BYTES {
        return records::oversized_whole(None, bytes, Framing::Auto);
    }
    if !item.starts_with('{') {
        return unparsed("no audit event: not a JSON object".to_owned());
    }
    let whole = records::whole(None, 0, bytes, Framing::Auto, instance);
    // What a file may hold between its events, nobody pushes by chance.
    whole.unwrap_or_else(|| unparsed(FramingError::NoAuditLine.to_string()))
}

/// The JSON values of a body, as they are written.
fn split(body: &[u8]) -> Result<Vec<&str>, BodyError> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let before = &body[..error.valid_up_to()];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        BodyError::NotJson { line, column: before.len() - line_start + 1, problem: "not UTF-8".to_owned() }
    })?;
    if text.trim_matches(WHITESPACE).is_empty() {
        return Err(BodyError::Empty);
    }
    if text.trim_start_matches(WHITESPACE).starts_with('[') {
        return array(text);
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let first = match values.next() {
        Some(Ok(first)) => first.get(),
        Some(Err(error)) => return Err(not_json(&error, 0)),
        None => return Err(BodyError::Empty),
    };
    let rest = &text[values.byte_offset()..];
    if rest.trim_matches(WHITESPACE).is_empty() {
        return Ok(vec![first]);
    }
    lines(text)
}

/// What JSON takes for white space.
const WHITESPACE: [char; 4] = [' ', '\t', '\n', '\r'];

fn lines(text: &str) -> Result<Vec<&str>, BodyError> {
    let mut items = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        if line.trim_matches(WHITESPACE).is_empty() {
            continue;
        }
        let item: &RawValue = serde_json::from_str(line).map_err(|error| not_json(&error, index))?;
        if items.len() == MAX_ITEMS {
            return Err(BodyError::TooMany);
        }
        items.push(item.get());
    }
    Ok(items)
}

fn array(text: &str) -> Result<Vec<&str>, BodyError> {
    struct Items;

    impl<'de> Visitor<'de> for Items {
        type Value = Vec<&'de str>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = array.next_element::<&RawValue>()? {
                if items.len() == MAX_ITEMS {
                    return Err(A::Error::custom(BodyError::TooMany));
                }
                items.push(item.get());
            }
            Ok(items)
        }
    }

    let mut reader = serde_json::Deserializer::from_str(text);
    let read = reader.deserialize_seq(Items).and_then(|items| reader.end().map(|()| items));
    read.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => BodyError::TooMany,
        _ => not_json(&error, 0),
    })
}

fn not_json(error: &serde_json::Error, lines_before: usize) -> BodyError {
    let problem = error.to_string();
    // serde_json ends its messages with the place, which is told already.
    let problem = problem.split(" at line ").next().unwrap_or_default().to_owned();
    BodyError::NotJson { line: lines_before + error.line(), column: error.column(), problem }
}

#[cfg(test)]
mod tests;
