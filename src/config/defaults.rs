//! Every key with its default, as YAML with comments, written from the schema.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::schema;

/// The order of sections: as people think of them.
const ORDER: [&str; 21] = [
    "name",
    "data_dir",
    "include",
    "flipt",
    "environments",
    "environment",
    "sources",
    "destinations",
    "routes",
    "owners",
    "tests",
    "journal",
    "dead_letters",
    "health",
    "admin",
    "log",
    "telemetry",
    "problems",
    "shutdown_timeout",
    "shutdown_keep_reading",
    "",
];

/// What `check --show-defaults` prints.
#[must_use]
pub fn shown_defaults() -> String {
    let schema = schema::base();
    let mut text = String::from(
        "# Every key with its default. Keys without a default stand in comments, with what they expect.\n",
    );
    let place = |key: &str| ORDER.iter().position(|name| *name == key).unwrap_or(ORDER.len());
    let mut keys: Vec<(&String, &Json)> =
        schema.get("properties").and_then(Json::as_object).into_iter().flatten().collect();
    keys.sort_by_key(|(key, _)| place(key));
    let required = required(&schema);
    for (key, property) in keys {
        text.push('\n');
        Writer { root: &schema, text: &mut text }.property(
            key,
            property,
            required.contains(&key.as_str()),
            0,
        );
    }
    text
}

struct Writer<'a> {
    root: &'a Json,
    text: &'a mut String,
}

fn required(schema: &Json) -> Vec<&str> {
    schema.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect()
}

impl Writer<'_> {
    fn line(&mut self, depth: usize, line: &str) {
        let _ = writeln!(self.text, "{:indent$}{line}", "", indent = depth * 2);
    }

    fn property(&mut self, key: &str, property: &Json, required: bool, depth: usize) {
        let root = self.root;
        let resolved = schema::resolve(root, property);
        let described = property.get("description").or_else(|| resolved.get("description"));
        if let Some(described) = described.and_then(Json::as_str) {
            self.line(depth, &format!("# {}", described.replace('\n', " ")));
        }
        if resolved.get("properties").is_some() {
            let mut inner = String::new();
            Writer { root, text: &mut inner }.object(resolved, depth + 1);
            let has_defaults = inner.lines().any(|line| !line.trim_start().starts_with('#'));
            if has_defaults && property.get("x-optional").is_none() {
                self.line(depth, &format!("{key}:"));
                self.text.push_str(&inner);
            } else {
                self.line(depth, &format!("# {key}:"));
                self.commented(resolved, depth + 1);
            }
        } else if let Some(item) = resolved.get("additionalProperties").filter(|item| item.is_object()) {
            self.entries(key, schema::resolve(root, item), depth);
        } else if let Some(items) = resolved.get("items").map(|items| schema::resolve(root, items)) {
            self.line(depth, &format!("# {key}: a list of"));
            self.commented(items, depth + 1);
        } else if let Some(value) = property.get("default").filter(|value| !value.is_array()) {
            self.line(depth, &format!("{key}: {}", plain(value)));
        } else {
            let required = if required { " (required)" } else { "" };
            self.line(
                depth,
                &format!("# {key}: {}{required}", super::leaf::expected(root, property).unwrap_or_default()),
            );
            let items = resolved.pointer("/anyOf/0").map(|items| schema::resolve(root, items));
            if let Some(items) = items.filter(|items| items.get("properties").is_some()) {
                self.commented(items, depth + 1);
            }
        }
    }

    fn object(&mut self, schema: &Json, depth: usize) {
        let needed = required(schema);
        for (key, property) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
            match property.get("const").and_then(Json::as_str) {
                Some(_) => {}
                None => self.property(key, property, needed.contains(&key.as_str()), depth),
            }
        }
    }

    /// A map by names: one entry for each kind that there is.
    fn entries(&mut self, key: &str, item: &Json, depth: usize) {
        if let Some(kinds) = item.get("oneOf").and_then(Json::as_array) {
            self.line(depth, &format!("{key}:"));
            for kind in kinds {
                let name = kind.pointer("/properties/type/const").and_then(Json::as_str).unwrap_or_default();
                self.line(depth + 1, &format!("a_{name}:"));
                self.line(depth + 2, &format!("type: {name}"));
                self.object(kind, depth + 2);
            }
        } else if item.get("properties").is_some() {
            self.line(depth, &format!("{key}:"));
            self.line(depth + 1, "a_name:");
            self.object(item, depth + 2);
        } else {
            let expected = super::leaf::expected(self.root, item).unwrap_or_default();
            self.line(depth, &format!("# {key}: {{a_name: {expected}}}"));
        }
    }

    /// The keys of items of a list, all in comments.
    fn commented(&mut self, item: &Json, depth: usize) {
        let mut text = String::new();
        Writer { root: self.root, text: &mut text }.object(item, 0);
        for line in text.lines() {
            self.line(depth, &format!("# {}", line.trim_start_matches("# ")));
        }
    }
}

fn plain(value: &Json) -> String {
    match value {
        Json::String(text) if text.starts_with(':') => format!("\"{text}\""),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}
