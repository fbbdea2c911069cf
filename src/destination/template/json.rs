//! Values in JSON templates: written as JSON, in quotes as what stands between quotes.
//!
//! A value that is printed goes out between two marks, as JSON. When all is rendered, the text is read once
//! from left to right: outside of a string literal the JSON stays as it is, inside of one it becomes part of
//! the string. So `{"by": {{ actor.name }}}` and `{"text": "by {{ actor.name }}"}` are both right, and no
//! value can end a string or begin anything.

use std::borrow::Cow;
use std::io;

use minijinja::value::Serde;
use minijinja::{Environment, Error, ErrorKind, Output, State, Value};
use serde::Serialize as _;
use serde::de::IgnoredAny;
use serde_json::ser::{Formatter, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};

use super::MAX_BODY_BYTES;

const OPEN: char = '\u{1}';
const CLOSE: char = '\u{2}';
/// What neither a template nor a value may hold; JSON never has them as they are.
pub(super) const MARKS: [char; 2] = [OPEN, CLOSE];

/// Makes an environment write JSON.
pub(super) fn prepare(environment: &mut Environment<'_>) {
    environment.set_formatter(write);
    environment.add_filter("tojson", |value: &Value| marked(value));
}

/// How many values an envelope may hold: each takes up to 200 bytes while a template is rendered, so that a line of
/// 4 MiB which is all `0,` would need half a gigabyte.
const MAX_VALUES: usize = 100_000;

/// The fields of an envelope, free of marks.
pub(super) fn fields(envelope: &[u8]) -> Result<Map<String, Json>, String> {
    if values(envelope) > MAX_VALUES {
        return Err("it holds more than 100,000 values".to_owned());
    }
    let mut fields: Json = serde_json::from_slice(envelope).map_err(|error| error.to_string())?;
    unmark(&mut fields);
    match fields {
        Json::Object(fields) => Ok(fields),
        _ => Err("it is no object".to_owned()),
    }
}

/// About how many values a JSON text holds, and no fewer.
fn values(json: &[u8]) -> usize {
    let (mut count, mut is_text, mut is_escaped) = (1, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b',' | b'[' | b'{' if !is_text => count += 1,
            _ => {}
        }
    }
    count
}

fn unmark(value: &mut Json) {
    let clean = |text: &str| text.replace(MARKS, "\u{FFFD}");
    match value {
        Json::String(text) if text.contains(MARKS) => *text = clean(text),
        Json::Array(items) => items.iter_mut().for_each(unmark),
        Json::Object(entries) => {
            if entries.keys().any(|key| key.contains(MARKS)) {
                *entries =
                    std::mem::take(entries).into_iter().map(|(key, value)| (clean(&key), value)).collect();
            }
            entries.values_mut().for_each(unmark);
        }
        _ => {}
    }
}

/// The variables of a template: the envelope's fields, `payload` for short, and `data_json`, which is `data`
/// token for token.
pub(super) fn context(fields: &Map<String, Json>, envelope: &[u8], is_json: bool) -> Value {
    let mut fields = fields.clone();
    let payload = fields.get("data").and_then(|data| data.get("payload")).cloned();
    fields.insert("payload".into(), payload.unwrap_or_default());
    let data = data_of(envelope).unwrap_or("null");
    let data = if is_json { format!("{OPEN}{data}{CLOSE}") } else { data.to_owned() };
    fields.insert("data_json".into(), data.into());
    Value::from(Serde(&fields))
}

fn data_of(envelope: &[u8]) -> Option<&str> {
    #[derive(serde::Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        data: &'a RawValue,
    }
    serde_json::from_slice::<Data<'_>>(envelope).ok().map(|Data { data }| data.get())
}

/// The formatter: every value that is printed goes through here.
fn write(out: &mut Output, _: &mut State, value: &Value) -> Result<(), Error> {
    out.write_str(&marked(value)?).map_err(Error::from)
}

/// A value as JSON between marks. What is marked already stays; a text that a block captured, with marked
/// values in it, is one text. What an `if` without `else` leaves undefined is nothing between the marks.
fn marked(value: &Value) -> Result<String, Error> {
    if value.is_undefined() {
        return Ok(format!("{OPEN}{CLOSE}"));
    }
    let json = match value.as_str() {
        Some(text) if is_one_mark(text) => return Ok(text.to_owned()),
        Some(text) => serde_json::to_string(&plain(text)),
        None => written(value),
    };
    let json = json.map_err(|error| {
        let why =
            if error.is_io() { error.to_string() } else { "no JSON can be made of this value".to_owned() };
        Error::new(ErrorKind::BadSerialization, why)
    })?;
    // Texts deep inside of lists may be marked too; in JSON their marks are escapes.
    Ok(format!("{OPEN}{json}{CLOSE}"))
}

/// How deep a value may nest that is written; those of events nest no deeper than 128 levels.
const MAX_DEPTH: usize = 150;

/// A value as JSON that is neither longer than a body may be nor deeper than the stack is.
fn written(value: &Value) -> serde_json::Result<String> {
    let mut json = Serializer::with_formatter(Bounded::default(), Depth::default());
    value.serialize(&mut json)?;
    String::from_utf8(json.into_inner().0).map_err(serde::ser::Error::custom)
}

/// Takes as many bytes as a body may have.
#[derive(Default)]
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_BODY_BYTES {
            return Err(io::Error::other("it has more than 1 MiB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts how many lists and maps are open.
#[derive(Default)]
struct Depth(usize);

impl Depth {
    fn open<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.0 += 1;
        if self.0 > MAX_DEPTH {
            return Err(io::Error::other("it nests too deeply"));
        }
        writer.write_all(bracket)
    }

    fn close<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.0 -= 1;
        writer.write_all(bracket)
    }
}

impl Formatter for Depth {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"]")
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"}")
    }
}

fn is_one_mark(text: &str) -> bool {
    text.strip_prefix(OPEN)
        .and_then(|text| text.strip_suffix(CLOSE))
        .is_some_and(|inner| !inner.contains(MARKS))
}

/// A captured text with its values as text.
fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(MARKS) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    for_each_part(text, |part| match part {
        Part::Text(text) => plain.push_str(text),
        Part::Value(json) => match serde_json::from_str::<String>(json) {
            Ok(text) => plain.push_str(&text),
            Err(_) => plain.push_str(json),
        },
    });
    Cow::Owned(plain)
}

enum Part<'a> {
    Text(&'a str),
    Value(&'a str),
}

fn for_each_part<'a>(mut text: &'a str, mut take: impl FnMut(Part<'a>)) {
    while let Some((before, rest)) = text.split_once(OPEN) {
        take(Part::Text(before));
        let (json, after) = rest.split_once(CLOSE).unwrap_or((rest, ""));
        take(Part::Value(json));
        text = after;
    }
    take(Part::Text(text));
}

/// What was rendered, with each marked value as its place wants it.
pub(super) fn resolved(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for_each_part(text, |part| match part {
        Part::Text(text) => {
            for byte in text.bytes() {
                (in_string, escaped) = match (byte, escaped) {
                    (b'"', false) => (!in_string, false),
                    (b'\\', false) => (in_string, in_string),
                    _ => (in_string, false),
                };
            }
            whole.push_str(text);
        }
        Part::Value("") => whole.push_str(if in_string { "" } else { "null" }),
        Part::Value(json) if in_string => match inside(json) {
            Some(inner) => whole.push_str(inner),
            None => whole.push_str(inside(&Json::from(json).to_string()).unwrap_or_default()),
        },
        Part::Value(json) => whole.push_str(json),
    });
    whole
}

/// What stands between the quotes of a JSON string.
fn inside(json: &str) -> Option<&str> {
    json.strip_prefix('"')?.strip_suffix('"')
}

/// Whether a text is JSON: one value, or any number of them.
pub(super) fn check(text: &str, one: bool) -> Result<(), String> {
    if one {
        return serde_json::from_str::<IgnoredAny>(text).map(|_| ()).map_err(|error| error.to_string());
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.try_for_each(|value| value.map(|_| ())).map_err(|error| error.to_string())
}
