//! Single fields of states, read and replaced without trees.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::flipt::fields::{said, truth};
use crate::flipt::tokens::{for_each_entry, key_name};

/// What stands for a value that is not known any more. Flipt's payloads never hold it.
pub(super) const UNKNOWN: &str = "null";

/// The last entry of a name, as written.
pub(super) fn field<'a>(state: &'a str, name: &str) -> Option<&'a RawValue> {
    let mut found = None;
    let _ = for_each_entry(state, |key, value| {
        if key_name(key) == name {
            found = Some(value);
        }
    });
    found
}

/// A string that says something.
pub(super) fn text<'a>(state: &'a str, name: &str) -> Option<Cow<'a, str>> {
    field(state, name).and_then(said)
}

/// A whole number.
pub(super) fn number(state: &str, name: &str) -> Option<u32> {
    field(state, name)?.get().parse().ok()
}

/// Whether a field is `true`; `None` where it is no boolean.
pub(super) fn boolean(state: &str, name: &str) -> Option<bool> {
    field(state, name).and_then(truth)
}

/// The state with another value of one field, which stays in its place (a new one comes last); `None` takes
/// it out.
pub(super) fn with(state: &str, name: &str, value: Option<&str>) -> Box<str> {
    let mut out = String::with_capacity(state.len() + 16);
    let mut put = |key: &str, value: &str| {
        out.push(if out.is_empty() { '{' } else { ',' });
        out.push_str(key);
        out.push(':');
        out.push_str(value);
    };
    let mut is_there = false;
    let _ = for_each_entry(state, |key, old| {
        if key_name(key) != name {
            put(key.get(), old.get());
        } else if let Some(value) = value {
            put(key.get(), value);
            is_there = true;
        }
    });
    if let Some(value) = value.filter(|_| !is_there) {
        put(&format!("\"{name}\""), value);
    }
    if out.is_empty() {
        out.push('{');
    }
    out.push('}');
    out.into()
}
