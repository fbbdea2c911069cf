//! Attributes of a log record, within bounds.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};

/// Bytes of the text of one attribute, at most: collectors and stores have limits of their own, and the body has
/// all of it.
const MAX_TEXT_BYTES: usize = 4_096;
/// What stands where the rest was cut off.
const MARK: &str = "…";

/// Attributes, in order of adding.
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<KeyValue>);

impl Attributes {
    /// A text; nothing where it is empty.
    pub(super) fn text(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.add(key, text(value, MAX_TEXT_BYTES));
        }
    }

    /// A text, where there is one.
    pub(super) fn said(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    /// A number; one that OTLP cannot write is its greatest.
    pub(super) fn number(&mut self, key: &str, value: u64) {
        self.add(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    pub(super) fn truth(&mut self, key: &str, value: bool) {
        self.add(key, Value::BoolValue(value));
    }

    /// Only where it holds.
    pub(super) fn mark(&mut self, key: &str, holds: bool) {
        if holds {
            self.truth(key, true);
        }
    }

    /// Texts of at most `max_bytes` each.
    pub(super) fn texts<'t>(&mut self, key: &str, values: impl Iterator<Item = &'t str>, max_bytes: usize) {
        let values = values.map(|value| any(text(value, max_bytes))).collect();
        self.add(key, Value::ArrayValue(ArrayValue { values }));
    }

    /// A list of maps of texts of at most `max_bytes` each.
    pub(super) fn maps<'t, M>(&mut self, key: &str, maps: impl Iterator<Item = M>, max_bytes: usize)
    where
        M: IntoIterator<Item = (&'t str, &'t str)>,
    {
        let map = |entries: M| {
            let entries = entries.into_iter().map(|(key, value)| key_value(key, text(value, max_bytes)));
            any(Value::KvlistValue(KeyValueList { values: entries.collect() }))
        };
        self.add(key, Value::ArrayValue(ArrayValue { values: maps.map(map).collect() }));
    }

    fn add(&mut self, key: &str, value: Value) {
        self.0.push(key_value(key, value));
    }
}

impl From<Attributes> for Vec<KeyValue> {
    fn from(attributes: Attributes) -> Self {
        attributes.0
    }
}

pub(super) const fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}

fn key_value(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any(value)), ..KeyValue::default() }
}

/// At most `max_bytes` of a text, which end between two characters.
fn text(text: &str, max_bytes: usize) -> Value {
    Value::StringValue(match text.len() > max_bytes {
        false => text.to_owned(),
        true => {
            let room = max_bytes - MARK.len();
            let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
            format!("{}{MARK}", &text[..end])
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_empty_is_not_told_and_numbers_stay_in_bounds() {
        let mut attributes = Attributes::default();
        attributes.text("a", "");
        attributes.said("b", None);
        attributes.mark("c", false);
        attributes.number("d", u64::MAX);
        let all: Vec<KeyValue> = attributes.into();
        assert_eq!(all, [key_value("d", Value::IntValue(i64::MAX))]);
    }

    proptest! {
        #[test]
        fn texts_are_cut_between_characters(written in ".{0,40}", max_bytes in 3_usize..20) {
            let Value::StringValue(told) = text(&written, max_bytes) else { panic!() };
            prop_assert!(told.len() <= max_bytes);
            match told.strip_suffix(MARK) {
                Some(kept) if told != written => prop_assert!(written.starts_with(kept)),
                _ => prop_assert_eq!(told, written),
            }
        }
    }
}
