//! The schema that editors use.
use serde_json::{Value, json};

use super::*;

pub(super) fn yaml_as_json(text: &str) -> Value {
    fn convert(node: &yaml::Node) -> Value {
        match &node.content {
            yaml::Content::Null => Value::Null,
            yaml::Content::Bool(value) => json!(value),
            yaml::Content::Integer(value) => json!(value),
            yaml::Content::Float(value) => json!(value),
            yaml::Content::Text(text) => json!(text),
            yaml::Content::List(items) => items.iter().map(convert).collect(),
            yaml::Content::Map(entries) => {
                entries.iter().map(|(key, node)| (key.clone(), convert(node))).collect()
            }
        }
    }
    let mut problems = Vec::new();
    let node = yaml::parse(text, 0, &mut problems).unwrap();
    assert_eq!(problems, []);
    convert(&node)
}

#[test]
fn the_file_in_the_repository_is_current() {
    let path = repository("config/audit-relay.schema.json");
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == crate::cli::schema::text(),
        "regenerate it: cargo run -- schema > config/audit-relay.schema.json"
    );
}

#[test]
fn it_is_valid_and_takes_what_the_loader_takes() {
    let schema = json_schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    jsonschema::meta::validate(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for file in ["config/quickstart.yaml", "config/example.yaml"] {
        let value = yaml_as_json(&std::fs::read_to_string(repository(file)).unwrap());
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{file}");
    }
    let sources = yaml_as_json(SOURCES);
    assert!(validator.is_valid(&sources));
    for wrong in [
        "{}",
        "sources: {flipt: {type: file}}",
        "sources: {flipt: {type: files, path: /a}}",
        "sources: {flipt: {type: file, path: /a, pth: /b}}",
        "sources: {Flipt: {type: file, path: /a}}",
        "sources: {flipt: {type: file, path: /a, framing: cri2}}",
        "sources: {flipt: {type: file, path: []}}",
    ] {
        assert!(!validator.is_valid(&yaml_as_json(wrong)), "{wrong}");
    }
    let reference = "sources: {flipt: {type: file, path: [{env: A}, /b], read_from: {file: /c}}}";
    assert!(validator.is_valid(&yaml_as_json(reference)));
    let template = |written: &str| {
        let yaml = format!(
            "{SOURCES}destinations: {{d: {{type: webhook, url: https://a.example.com, template: {written}}}}}"
        );
        validator.is_valid(&yaml_as_json(&yaml))
    };
    assert!(template("text") && template("{file: /a}") && template("{body: {file: /a}, headers: {x-a: b}}"));
    assert!(!template("7") && !template("{headers: {x-a: b}}") && !template("{bdy: a}"));
}

#[test]
fn every_key_is_described() {
    fn look(schema: &Value, path: &str, missing: &mut Vec<String>) {
        for (key, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            let is_tag = property.get("const").is_some();
            if !is_tag && property.get("description").is_none() {
                missing.push(path.clone());
            }
            look(property, &path, missing);
        }
        for key in ["$defs", "oneOf", "anyOf"] {
            match &schema[key] {
                Value::Object(parts) => parts.iter().for_each(|(name, part)| look(part, name, missing)),
                Value::Array(parts) => parts.iter().for_each(|part| look(part, path, missing)),
                _ => {}
            }
        }
        for key in ["items", "additionalProperties"] {
            if schema[key].is_object() {
                look(&schema[key], path, missing);
            }
        }
    }
    let mut missing = Vec::new();
    look(&json_schema(), "", &mut missing);
    missing.retain(|path| !path.starts_with("Reference"));
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn defaults_show_every_key_and_are_yaml() {
    fn keys(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(object) => {
                if let Some(properties) = object.get("properties").and_then(Value::as_object) {
                    found.extend(properties.keys().cloned());
                }
                object.values().for_each(|part| keys(part, found));
            }
            Value::Array(items) => items.iter().for_each(|part| keys(part, found)),
            _ => {}
        }
    }
    let shown = shown_defaults();
    let mut all = Vec::new();
    keys(&super::super::schema::base(), &mut all);
    for key in all {
        assert!(shown.contains(&format!("{key}:")), "{key} is not shown");
    }
    let value = yaml_as_json(&shown);
    assert_eq!(value["journal"], json!({"keep": "400d", "max_size": "1GiB", "changes": true}));
    assert_eq!(value["health"]["listen"], ":9464");
    assert_eq!(value["destinations"]["a_slack"]["expire_after"], "24h");
    assert_eq!(value["destinations"]["a_webhook"]["retry"]["max_backoff"], "5m");
    // All that is shown as a default is right, once what is required stands beside it.
    let mut value = value;
    value["sources"]["a_file"]["path"] = json!("/a");
    value["sources"].as_object_mut().unwrap().remove("a_http");
    value["destinations"] = json!({"screen": {"type": "console"}});
    value["routes"] = json!({"all": {"to": "screen"}});
    let validator = jsonschema::validator_for(&json_schema()).unwrap();
    let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
    let plan = Desk::new().load(&value.to_string()).unwrap().plan;
    let bare = Desk::new()
        .load(&format!(
            "{SOURCES}destinations: {{screen: {{type: console}}}}\nroutes: {{all: {{to: screen}}}}"
        ))
        .unwrap()
        .plan;
    assert_eq!(plan.journal, bare.journal);
    assert_eq!(plan.log, bare.log);
    assert_eq!((plan.health, plan.admin), (bare.health, bare.admin));
    assert_eq!((plan.name, plan.data_dir), (bare.name, bare.data_dir));
}
