//! The JSON Schema of the configuration, generated from the types.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::raw::Raw;
use super::raw::destination::{KIND_BATCHES, KIND_DEFAULTS};
use super::scalars::{Name, Scalar};

/// The schema as the walk reads it: with `x-…` keywords, references to secrets left out.
pub(super) fn base() -> Value {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Raw>();
    let mut schema = Value::from(schema);
    strip_nulls(&mut schema);
    fill_kind_defaults(&mut schema);
    for (kind, max_events, timeout_ms) in KIND_BATCHES {
        fill_batch(&mut schema, kind, max_events, timeout_ms);
    }
    schema
}

/// The schema as people and editors read it (draft 2020-12), as kept in `config/audit-relay.schema.json`.
#[must_use]
pub fn published() -> Value {
    let mut schema = base();
    let definitions = schema.get("$defs").cloned().unwrap_or_default();
    publish(&mut schema, &definitions, false);
    if let Some(definitions) = schema.get_mut("$defs").and_then(Value::as_object_mut) {
        definitions.insert(
            "Reference".into(),
            json!({
                "description": "The value of an environment variable, or the content of a file (one newline at its end is dropped).",
                "type": "object",
                "oneOf": [
                    {"properties": {"env": {"type": "string", "minLength": 1}}, "required": ["env"], "additionalProperties": false},
                    {"properties": {"file": {"type": "string", "minLength": 1}}, "required": ["file"], "additionalProperties": false}
                ]
            }),
        );
    }
    schema
}

/// Follows a `$ref`.
pub(super) fn resolve<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
    name.and_then(|name| root.get("$defs")?.get(name)).unwrap_or(schema)
}

/// An absent key and a key without a value mean the same, so that no schema needs `null`.
fn strip_nulls(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.values_mut().for_each(strip_nulls);
            let says_nothing = |value: &Value| match value {
                Value::Null => true,
                Value::String(text) => text.is_empty(),
                Value::Array(items) => items.is_empty(),
                Value::Object(entries) => entries.is_empty(),
                _ => false,
            };
            if object.get("default").is_some_and(says_nothing) {
                object.remove("default");
            }
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(words)) = object.get_mut("enum") {
                words.retain(|word| !word.is_null());
            }
            if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
                choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    object.remove("anyOf");
                    object.insert("x-optional".into(), true.into());
                    for (key, value) in only {
                        object.entry(key).or_insert(value);
                    }
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

fn fill_kind_defaults(schema: &mut Value) {
    let Some(kinds) = schema.pointer_mut("/$defs/Destination/oneOf").and_then(Value::as_array_mut) else {
        return;
    };
    for kind in kinds {
        let name = kind.pointer("/properties/type/const").and_then(Value::as_str);
        let Some((_, expire_after, deliver_since)) =
            KIND_DEFAULTS.iter().find(|(kind, ..)| Some(*kind) == name)
        else {
            continue;
        };
        for (key, default) in [("expire_after", expire_after), ("deliver_since", deliver_since)] {
            if let Some(Value::Object(property)) = kind.pointer_mut(&format!("/properties/{key}")) {
                property.insert("default".into(), json!(default));
            }
        }
    }
}

/// Some kinds have larger groups than others where nothing is written.
fn fill_batch(schema: &mut Value, kind: &str, max_events: usize, timeout_ms: u64) {
    let Some(Value::Object(mut batch)) = schema.pointer("/$defs/Batch").cloned() else { return };
    for (key, default) in [("max_events", json!(max_events)), ("timeout", json!(format!("{timeout_ms}ms")))] {
        if let Some(Value::Object(property)) = batch.get_mut("properties").and_then(|all| all.get_mut(key)) {
            property.insert("default".into(), default);
        }
    }
    let kinds = schema.pointer_mut("/$defs/Destination/oneOf").and_then(Value::as_array_mut);
    let found = kinds
        .into_iter()
        .flatten()
        .find(|one| one.pointer("/properties/type/const").and_then(Value::as_str) == Some(kind));
    if let Some(property) = found.and_then(|one| one.pointer_mut("/properties/batch")) {
        *property = Value::Object(batch);
    }
}

/// Whether a schema is that of one value that can be written as `{env: …}` or `{file: …}` too.
fn is_scalar(schema: &Value, definitions: &Value) -> bool {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
    let schema = name.and_then(|name| definitions.get(name)).unwrap_or(schema);
    schema.get("type").and_then(Value::as_str).is_some_and(|name| !matches!(name, "object" | "array"))
        && schema.get("const").is_none()
}

/// Lets every scalar be a reference, and takes the `x-…` keywords out.
fn publish(schema: &mut Value, definitions: &Value, is_value: bool) {
    let scalar = is_value && is_scalar(schema, definitions);
    let Value::Object(object) = schema else { return };
    let many = object.get("x-many").is_some();
    let short = object.get("x-short").and_then(Value::as_str).map(str::to_owned);
    if object.contains_key("x-names") {
        let pattern = <Name as Scalar>::PATTERN;
        object.insert("propertyNames".into(), json!({ "pattern": pattern }));
    }
    object.retain(|key, _| !key.starts_with("x-"));
    for (key, part) in object.iter_mut() {
        match (key.as_str(), part) {
            ("properties" | "$defs", Value::Object(parts)) => {
                let values = key == "properties";
                parts.values_mut().for_each(|part| publish(part, definitions, values));
            }
            ("items" | "additionalProperties", part) => publish(part, definitions, true),
            ("anyOf" | "oneOf", Value::Array(parts)) => {
                parts.iter_mut().for_each(|part| publish(part, definitions, many));
            }
            _ => {}
        }
    }
    if let Some(key) = short {
        let value = object.get("properties").and_then(|properties| properties.get(&key)).cloned();
        let mut outer = Map::new();
        outer.extend(object.remove_entry("description"));
        outer.insert("anyOf".into(), json!([value, schema.take()]));
        *schema = Value::Object(outer);
        return;
    }
    if scalar {
        let mut outer = Map::new();
        for key in ["description", "default", "title"] {
            if let Some(value) = object.remove(key) {
                outer.insert(key.into(), value);
            }
        }
        outer.insert("anyOf".into(), json!([schema.take(), {"$ref": "#/$defs/Reference"}]));
        *schema = Value::Object(outer);
    }
}
