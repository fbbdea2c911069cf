//! An event written anew without some of what it says, token by token.

use serde_json::value::RawValue;

use super::tokens::{compacted, for_each_entry, key_name, text};

/// What becomes of one entry of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It stays, and what is inside of it is looked at.
    Keep,
    /// Key and value go.
    Drop,
    /// The key stays, with this JSON text for a value.
    Mask(String),
}

/// A value that is found when it is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ahead<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Ahead<'a> {
    /// Its text.
    pub(crate) fn text(self) -> &'a str {
        &self.json[self.at..end_of_value(self.json.as_bytes(), self.at)]
    }
}

/// Writes the event `json` anew: `actor` decides on the entries of its actor, `payload` on those of all objects
/// in its payload, however deep, by key and value. `None` if it is no JSON object.
pub(crate) fn rewrite_event(
    json: &str,
    mut actor: impl FnMut(&str, Ahead<'_>) -> Fate,
    mut payload: impl FnMut(&str, Ahead<'_>) -> Fate,
) -> Option<String> {
    entries(json, |key, value| {
        Some(match key {
            "metadata" => {
                // What is no object hides no actor that anybody reads.
                let metadata = entries(value, |key, value| match key {
                    "actor" => Some(rewrite_actor(value, &mut actor)),
                    _ => Some(compacted(value)),
                });
                metadata.unwrap_or_else(|| "null".to_owned())
            }
            "payload" => rewrite_fields(value, &mut payload),
            _ => compacted(value),
        })
    })
}

fn rewrite_actor(json: &str, fate: &mut impl FnMut(&str, Ahead<'_>) -> Fate) -> String {
    let actor = entries(json, |key, value| match fate(key, Ahead { json: value, at: 0 }) {
        Fate::Keep => Some(compacted(value)),
        Fate::Drop => None,
        Fate::Mask(mask) => Some(mask),
    });
    actor.unwrap_or_else(|| "null".to_owned())
}

/// Writes an object with other values; an entry without one goes. `None` if it is no object.
fn entries(json: &str, mut value_of: impl FnMut(&str, &str) -> Option<String>) -> Option<String> {
    let mut out = String::with_capacity(json.len());
    let write = |key: &RawValue, value: &RawValue| {
        if let Some(value) = value_of(&key_name(key), value.get()) {
            out.push(if out.is_empty() { '{' } else { ',' });
            out.push_str(key.get());
            out.push(':');
            out.push_str(&value);
        }
    };
    for_each_entry(json, write).ok()?;
    if out.is_empty() {
        out.push('{');
    }
    out.push('}');
    Some(out)
}

/// Writes one valid JSON value anew: `fate` decides on the entries of all objects in it, however deep. What stays
/// is copied token for token, without the whitespace between tokens.
pub(crate) fn rewrite_fields(json: &str, fate: &mut impl FnMut(&str, Ahead<'_>) -> Fate) -> String {
    let mut writer = Writer { json, at: 0, open: Vec::new(), out: String::with_capacity(json.len()) };
    while let Some(byte) = writer.next_token() {
        match byte {
            b',' => writer.at += 1,
            b'}' | b']' => writer.close(byte),
            _ if writer.is_in_object() => writer.entry(fate),
            _ => {
                writer.separate();
                writer.value();
            }
        }
    }
    writer.out
}

struct Level {
    is_object: bool,
    /// Whether something was written in it.
    written: bool,
}

struct Writer<'a> {
    json: &'a str,
    at: usize,
    /// The objects and arrays around `at`.
    open: Vec<Level>,
    out: String,
}

impl<'a> Writer<'a> {
    /// The first byte of the next token.
    fn next_token(&mut self) -> Option<u8> {
        let rest = &self.json.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.json.as_bytes().get(self.at).copied()
    }

    fn is_in_object(&self) -> bool {
        self.open.last().is_some_and(|level| level.is_object)
    }

    fn close(&mut self, byte: u8) {
        self.open.pop();
        self.out.push(char::from(byte));
        self.at += 1;
    }

    /// Writes the comma that belongs before what comes next.
    fn separate(&mut self) {
        if let Some(level) = self.open.last_mut()
            && std::mem::replace(&mut level.written, true)
        {
            self.out.push(',');
        }
    }

    /// Key and value, where the value stays: as far as its beginning, if it is an object or an array.
    fn entry(&mut self, fate: &mut impl FnMut(&str, Ahead<'_>) -> Fate) {
        let key = self.take_token();
        if self.next_token() == Some(b':') {
            self.at += 1;
        }
        self.next_token();
        match fate(&name_of(key), Ahead { json: self.json, at: self.at }) {
            Fate::Drop => self.at = end_of_value(self.json.as_bytes(), self.at),
            Fate::Mask(mask) => {
                self.key(key);
                self.out.push_str(&mask);
                self.at = end_of_value(self.json.as_bytes(), self.at);
            }
            Fate::Keep => {
                self.key(key);
                self.value();
            }
        }
    }

    fn key(&mut self, key: &str) {
        self.separate();
        self.out.push_str(key);
        self.out.push(':');
    }

    /// A value as far as nothing in it is to be decided on.
    fn value(&mut self) {
        match self.json.as_bytes().get(self.at) {
            Some(byte @ (b'{' | b'[')) => {
                self.open.push(Level { is_object: *byte == b'{', written: false });
                self.out.push(char::from(*byte));
                self.at += 1;
            }
            _ => {
                let token = self.take_token();
                self.out.push_str(token);
            }
        }
    }

    fn take_token(&mut self) -> &'a str {
        let begin = self.at;
        self.at = end_of_scalar(self.json.as_bytes(), begin);
        &self.json[begin..self.at]
    }
}

fn name_of(key: &str) -> String {
    let raw: Option<&RawValue> = serde_json::from_str(key).ok();
    raw.and_then(text).unwrap_or_default().into_owned()
}

/// Where the value that begins at `at` ends.
fn end_of_value(json: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(byte) = json.get(at) {
        at = match byte {
            b'{' | b'[' => {
                depth += 1;
                at + 1
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at + 1
            }
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => at + 1,
            _ => end_of_scalar(json, at),
        };
        if depth == 0 {
            break;
        }
    }
    at
}

/// Where the string, number or word that begins at `at` ends; always further on, unless the text ends.
fn end_of_scalar(json: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    if json.get(at) == Some(&b'"') {
        while let Some(byte) = json.get(end) {
            match byte {
                b'\\' => end += 2,
                b'"' => return end + 1,
                _ => end += 1,
            }
        }
    } else {
        let ends = |byte: &u8| {
            matches!(byte, b',' | b':' | b'}' | b']' | b'{' | b'[' | b'"') || byte.is_ascii_whitespace()
        };
        while json.get(end).is_some_and(|byte| !ends(byte)) {
            end += 1;
        }
    }
    end.min(json.len())
}
