//! What Datadog refuses of an event: its specification, closed as its server is, and what the specification only
//! says in words.

use std::sync::LazyLock;
use std::time::Duration;

use audit_relay::event::Timestamp;
use jsonschema::Validator;
use serde_json::Value;

/// The version of the events API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

/// What is wrong, in Datadog's words as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(pub String);

/// "Limited to events no older than 18 hours" (both specifications).
const MAX_AGE: Duration = Duration::from_secs(18 * 3_600);
/// The model of an event says so, of version 1.
const MAX_AHEAD: Duration = Duration::from_secs(2 * 3_600);

static V1: LazyLock<Validator> = LazyLock::new(|| {
    validator(include_str!("../../../schemas/datadog/dd-v1-event-create-request.strict.schema.json"))
});
static V2: LazyLock<Validator> = LazyLock::new(|| {
    validator(include_str!("../../../schemas/datadog/dd-v2-event-create-request.strict.schema.json"))
});

fn validator(schema: &str) -> Validator {
    jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap()
}

/// What is wrong with an event that comes at `now`; without it, its age does not matter.
pub fn fault(version: Version, body: &Value, now: Option<Timestamp>) -> Option<Fault> {
    let said = match version {
        Version::V1 => shape(&V1, body).or_else(|| markdown(body)),
        Version::V2 => category(body).or_else(|| shape(&V2, body)).or_else(|| free_form(body)),
    };
    said.or_else(|| tags(version, body))
        .or_else(|| unreadable_time(version, body))
        .or_else(|| age(version, body, now?))
        .map(Fault)
}

/// The one that was recorded.
fn category(body: &Value) -> Option<String> {
    let category = body.pointer("/data/attributes/category")?;
    let is_known = category == "alert" || category == "change";
    (!is_known).then(|| {
        "JSON validation failed at $.data.attributes.category: value must be one of: [\"alert\", \"change\"]."
            .to_owned()
    })
}

fn shape(validator: &Validator, body: &Value) -> Option<String> {
    let error = validator.iter_errors(body).next()?;
    let place: String = error.instance_path().as_str().replace('/', ".");
    Some(format!("JSON validation failed at ${place}: {error}."))
}

/// Text that begins as markdown ends as markdown, and nothing within ends it before.
fn markdown(body: &Value) -> Option<String> {
    let text = body["text"].as_str()?;
    let marks = text.matches("%%%").count();
    let is_whole = text.starts_with("%%%") && text.ends_with("%%%") && marks == 2;
    (marks > 0 && !is_whole).then(|| "the text is not one block of markdown".to_owned())
}

/// "Supports up to 100 properties per object and a maximum nesting depth of 10 levels."
fn free_form(body: &Value) -> Option<String> {
    let attributes = &body["data"]["attributes"]["attributes"];
    ["change_metadata", "custom", "prev_value", "new_value"].into_iter().find_map(|name| {
        let value = attributes.get(name)?;
        let place = format!("JSON validation failed at $.data.attributes.attributes.{name}");
        if depth(value) > 10 {
            return Some(format!("{place}: nested deeper than 10 levels."));
        }
        (widest(value) > 100).then(|| format!("{place}: more than 100 properties."))
    })
}

/// Levels of objects and arrays.
fn depth(value: &Value) -> usize {
    let below = |deepest: Option<usize>| 1 + deepest.unwrap_or(0);
    match value {
        Value::Object(fields) => below(fields.values().map(depth).max()),
        Value::Array(items) => below(items.iter().map(depth).max()),
        _ => 0,
    }
}

fn widest(value: &Value) -> usize {
    match value {
        Value::Object(fields) => fields.len().max(fields.values().map(widest).max().unwrap_or(0)),
        Value::Array(items) => items.iter().map(widest).max().unwrap_or(0),
        _ => 0,
    }
}

/// Datadog would change such a tag in silence (getting_started/tagging); here it is refused, so that nobody looks
/// for a tag that is not there.
fn tags(version: Version, body: &Value) -> Option<String> {
    let tags = match version {
        Version::V1 => body.get("tags"),
        Version::V2 => body["data"]["attributes"].get("tags"),
    };
    let all = tags.and_then(Value::as_array)?;
    let wrong = all.iter().filter_map(Value::as_str).find(|tag| !is_tag(tag));
    wrong.map(|tag| format!("{tag:?} is no tag"))
}

fn is_tag(tag: &str) -> bool {
    let fits = |c: char| (c.is_alphanumeric() && c.to_lowercase().eq([c])) || "_-:./".contains(c);
    tag.starts_with(char::is_alphabetic)
        && !tag.ends_with(':')
        && tag.chars().count() <= 200
        && tag.chars().all(fits)
}

/// The event's own time.
pub(super) fn time(version: Version, body: &Value) -> Option<Timestamp> {
    match version {
        Version::V1 => {
            Some(Timestamp::from_unix_micros(body.get("date_happened")?.as_i64()?.checked_mul(1_000_000)?))
        }
        Version::V2 => Timestamp::parse_rfc3339(body["data"]["attributes"].get("timestamp")?.as_str()?),
    }
}

fn unreadable_time(version: Version, body: &Value) -> Option<String> {
    let is_there = version == Version::V2 && body["data"]["attributes"].get("timestamp").is_some();
    (is_there && time(version, body).is_none())
        .then(|| "JSON validation failed at $.data.attributes.timestamp: not ISO 8601.".to_owned())
}

fn age(version: Version, body: &Value, now: Timestamp) -> Option<String> {
    let time = time(version, body)?;
    if now.since(time) > MAX_AGE {
        return Some("Event too far in the past".to_owned());
    }
    (time.since(now) > MAX_AHEAD).then(|| "Event too far in the future".to_owned())
}

/// The strings under this name, in order of appearance.
pub(super) fn strings(value: &Value, name: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                match value {
                    Value::String(text) if field == name => found.push(text.clone()),
                    Value::Array(items) if field == name && items.iter().all(Value::is_string) => {
                        found.extend(items.iter().filter_map(Value::as_str).map(str::to_owned));
                    }
                    _ => strings(value, name, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, name, found)),
        _ => {}
    }
}
