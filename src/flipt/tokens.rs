//! JSON as slices of its own text: no trees, no numbers read, no recursion.
//!
//! `serde_json` skips a value it need not understand without recursion, so that nesting costs no stack.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

struct Entries<F>(F);

impl<'de, F: FnMut(&'de RawValue, &'de RawValue)> Visitor<'de> for Entries<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key()? {
            (self.0)(key, map.next_value()?);
        }
        Ok(())
    }
}

struct Items<F>(F);

impl<'de, F: FnMut(&'de RawValue)> Visitor<'de> for Items<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            (self.0)(item);
        }
        Ok(())
    }
}

/// Calls `visit` with key and value of each entry of a JSON object, both as written, in order; the whole
/// text is checked to be one JSON object and nothing else.
pub(super) fn for_each_entry<'a>(
    json: &'a str,
    visit: impl FnMut(&'a RawValue, &'a RawValue),
) -> serde_json::Result<()> {
    let mut reader = serde_json::Deserializer::from_str(json);
    reader.deserialize_map(Entries(visit))?;
    reader.end()
}

/// Calls `visit` with each item of a JSON array, as written, in order.
pub(super) fn for_each_item<'a>(json: &'a str, visit: impl FnMut(&'a RawValue)) -> serde_json::Result<()> {
    let mut reader = serde_json::Deserializer::from_str(json);
    reader.deserialize_seq(Items(visit))?;
    reader.end()
}

/// What a JSON string says; `None` if the value is no string, or one with a lone surrogate.
pub(crate) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    let inner = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(raw.get()).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// The name that a key spells; a key with a lone surrogate names nothing we know.
pub(super) fn key_name(raw: &RawValue) -> Cow<'_, str> {
    text(raw).unwrap_or(Cow::Borrowed(""))
}

/// How strings are copied.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Escaping {
    /// To the letter.
    Verbatim,
    /// As Go's `json.Marshal`, which makes them safe inside HTML and JavaScript:
    /// `<`, `>`, `&`, U+2028 and U+2029 escaped (<https://pkg.go.dev/encoding/json#Marshal>).
    Go,
}

/// Appends one JSON value token for token, without whitespace between tokens; `false`, and nothing is
/// appended, if `json` is none.
pub(crate) fn compact(json: &[u8], out: &mut Vec<u8>) -> bool {
    let value = std::str::from_utf8(json).ok().and_then(|json| serde_json::from_str::<&RawValue>(json).ok());
    if let Some(value) = value {
        copy_compact(value.get(), out);
    }
    value.is_some()
}

/// Appends what is known to be one valid JSON value, token for token, without whitespace between tokens.
pub(crate) fn copy_compact(json: &str, out: &mut Vec<u8>) {
    copy(json, Escaping::Verbatim, out);
}

/// One valid JSON value token for token, without whitespace between tokens.
pub(crate) fn compacted(json: &str) -> String {
    let mut out = Vec::with_capacity(json.len());
    copy_compact(json, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// Copies one valid JSON value token by token, without the whitespace between tokens.
pub(super) fn copy(json: &str, escaping: Escaping, out: &mut Vec<u8>) {
    let bytes = json.as_bytes();
    out.reserve(bytes.len());
    let mut copied = 0; // everything before is in `out`
    let mut inside = false;
    let mut at = 0;
    while at < bytes.len() {
        let (replacement, width): (&[u8], usize) = match bytes[at] {
            b'"' => {
                inside = !inside;
                at += 1;
                continue;
            }
            b'\\' => {
                at += 2; // an escape outside a string is not valid JSON
                continue;
            }
            b' ' | b'\t' | b'\n' | b'\r' if !inside => (b"", 1),
            b'<' if escaping == Escaping::Go => (b"\\u003c", 1),
            b'>' if escaping == Escaping::Go => (b"\\u003e", 1),
            b'&' if escaping == Escaping::Go => (b"\\u0026", 1),
            0xE2 if escaping == Escaping::Go && bytes[at..].starts_with(b"\xE2\x80\xA8") => (b"\\u2028", 3),
            0xE2 if escaping == Escaping::Go && bytes[at..].starts_with(b"\xE2\x80\xA9") => (b"\\u2029", 3),
            _ => {
                at += 1;
                continue;
            }
        };
        out.extend_from_slice(&bytes[copied..at]);
        out.extend_from_slice(replacement);
        at += width;
        copied = at;
    }
    out.extend_from_slice(&bytes[copied..]);
}
