//! What changed, as flat and short as Datadog's side panel shows it.

use serde_json::{Map, Number, Value};

use super::cut::cut;
use crate::destination::telling::Row;

/// Values that are told; the message tells more.
const MOST_VALUES: usize = 20;
/// Characters of a key.
const MAX_KEY: usize = 60;
/// Characters of a value.
const MAX_VALUE: usize = 200;

/// Before, or after: `{"enabled": false, "rollout_percentage": 10}`.
pub(super) type Side = Map<String, Value>;

/// Both sides; what is not known is not there.
pub(super) fn values(rows: &[Row]) -> (Side, Side) {
    let (mut before, mut after) = (Side::new(), Side::new());
    for row in rows.iter().take(MOST_VALUES) {
        let (old, new) = (row.old.as_deref(), row.new.as_deref());
        let (key, read) = reader(&row.label, old, new);
        // What came back to where it was is in the message.
        if old.is_some() && old.map(read) == new.map(read) {
            continue;
        }
        let key = unused(&key, &before, &after);
        old.into_iter().for_each(|old| _ = before.insert(key.clone(), read(old)));
        new.into_iter().for_each(|new| _ = after.insert(key.clone(), read(new)));
    }
    (before, after)
}

/// The key of a row, and how its sides are read: what is a truth or a number of Flipt's is one here.
fn reader(label: &str, old: Option<&str>, new: Option<&str>) -> (String, fn(&str) -> Value) {
    let all =
        |read: fn(&str) -> Option<Value>| [old, new].into_iter().flatten().all(|side| read(side).is_some());
    match label {
        "Enabled" if all(switch) => ("enabled".to_owned(), |text| switch(text).unwrap_or_default()),
        "Protected" if all(truth) => ("protected".to_owned(), |text| truth(text).unwrap_or_default()),
        "Rollout" if all(percentage) => {
            ("rollout_percentage".to_owned(), |text| percentage(text).unwrap_or_default())
        }
        label => (snake(label), |text| Value::from(cut(text, MAX_VALUE))),
    }
}

/// `on`, `off again`.
fn switch(text: &str) -> Option<Value> {
    match text.strip_suffix(" again").unwrap_or(text) {
        "on" => Some(true.into()),
        "off" => Some(false.into()),
        _ => None,
    }
}

fn truth(text: &str) -> Option<Value> {
    match text {
        "yes" | "true" => Some(true.into()),
        "no" | "false" => Some(false.into()),
        _ => None,
    }
}

/// `50 % of everyone gets true`, `50 %`.
fn percentage(text: &str) -> Option<Value> {
    let text = text.strip_suffix(" of everyone gets true").unwrap_or(text);
    let number: f64 = text.strip_suffix(" %")?.parse().ok()?;
    let is_whole = number.fract() == 0.0 && number.abs() < 1e9;
    let number = if is_whole { Some(Number::from(number as i64)) } else { Number::from_f64(number) };
    number.map(Value::from)
}

/// `Order of rules` as `order_of_rules`.
fn snake(label: &str) -> String {
    let mut key = String::new();
    for character in label.chars().flat_map(char::to_lowercase).take(MAX_KEY) {
        match character {
            letter if letter.is_alphanumeric() => key.push(letter),
            _ if !key.ends_with('_') => key.push('_'),
            _ => {}
        }
    }
    match key.trim_matches('_') {
        "" => "value".to_owned(),
        key => key.to_owned(),
    }
}

/// The key, or `key_2` and so on where there is one already.
fn unused(key: &str, before: &Side, after: &Side) -> String {
    let is_free = |key: &str| !before.contains_key(key) && !after.contains_key(key);
    if is_free(key) {
        return key.to_owned();
    }
    let numbered = (2..=MOST_VALUES + 1).map(|number| format!("{key}_{number}"));
    numbered.into_iter().find(|key| is_free(key)).unwrap_or_else(|| key.to_owned())
}
