//! Our own walk over the merged values, guided by the schema: it finds every problem at once, resolves
//! references, and leaves out what is wrong, so that the rest can still be read and judged.

use std::collections::BTreeMap;
use std::path::PathBuf;

use figment::value::{Dict, Value};
use serde_json::{Map, Value as Json};

use super::layers::{Merged, Origin, Variable};
use super::problem::{Place, Problem, nearest};
use super::scalars::{Name, Scalar, is_name};
use super::schema;
use super::secrets::References;
use super::yaml::{Node, shown};

/// What the walk needs to know.
pub(super) struct Inputs<'a> {
    pub(super) schema: &'a Json,
    pub(super) merged: &'a Merged,
    pub(super) variables: &'a [Variable],
    pub(super) environment: &'a [(String, String)],
    pub(super) references: References,
    pub(super) allow_inline_secrets: bool,
}

/// What the walk found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) problems: Vec<Problem>,
    /// Destinations that lack the value of a reference, and why.
    pub(super) blocked: BTreeMap<String, String>,
    /// Sources that lack what they check pushes by, and why.
    pub(super) blocked_sources: BTreeMap<String, String>,
    /// That the address or the token of Flipt lacks the value of a reference.
    pub(super) flipt_is_blocked: bool,
    /// That the address or a header of what telemetry is sent to lacks the value of a reference.
    pub(super) telemetry_is_blocked: bool,
    /// The same as problems.
    pub(super) missing: Vec<Problem>,
    /// The files that references name.
    pub(super) secret_files: Vec<PathBuf>,
}

/// A value on the walk: what it is, where it is written, what it is called.
#[derive(Clone, Copy)]
pub(super) struct Spot<'v> {
    pub(super) value: &'v Value,
    pub(super) node: Option<&'v Node>,
    pub(super) path: &'v str,
}

/// Walks over everything and returns what is right of it.
pub(super) fn walk(inputs: &Inputs<'_>, file: &Node) -> (Json, Found) {
    let mut walk = Walk { inputs, found: Found::default() };
    let spot = Spot { value: &inputs.merged.value, node: Some(file), path: "" };
    let value = walk.value(inputs.schema, spot).unwrap_or_else(|| Json::Object(Map::new()));
    (value, walk.found)
}

pub(super) struct Walk<'a> {
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) found: Found,
}

impl<'a> Walk<'a> {
    pub(super) fn value(&mut self, schema: &'a Json, spot: Spot<'_>) -> Option<Json> {
        let schema = schema::resolve(self.inputs.schema, schema);
        if let Some(kinds) = schema.get("oneOf").and_then(Json::as_array) {
            return self.kind(kinds, spot);
        }
        if schema.get("x-many").is_some() {
            return self.many(schema, spot);
        }
        match schema.get("type").and_then(Json::as_str) {
            Some("object") if self.is_short_form(schema, spot) => self.short_form(schema, spot),
            Some("object") => match spot.value {
                Value::Dict(_, dict) if schema.get("properties").is_some() => self.object(schema, dict, spot),
                Value::Dict(_, dict) => self.map(schema, dict, spot),
                _ => self.wrong_type(schema, spot),
            },
            Some("array") => match spot.value {
                Value::Array(_, items) => Some(self.list(schema, items, spot)),
                _ => self.wrong_type(schema, spot),
            },
            Some(_) => self.leaf(schema, spot),
            None => Some(any(spot.value)),
        }
    }

    /// Whether a map that may be written as the value of one of its keys (`x-short`) is written so.
    fn is_short_form(&self, schema: &Json, spot: Spot<'_>) -> bool {
        let is_map = spot.value.as_dict().is_some_and(|dict| !is_reference(dict));
        schema.get("x-short").is_some() && (!is_map || self.is_odd_variable(spot))
    }

    fn short_form(&mut self, schema: &'a Json, spot: Spot<'_>) -> Option<Json> {
        let key = schema.get("x-short").and_then(Json::as_str)?;
        let value = self.value(schema.get("properties")?.get(key)?, spot)?;
        Some(Json::Object(Map::from_iter([(key.to_owned(), value)])))
    }

    /// One of several kinds, told apart by `type`.
    fn kind(&mut self, kinds: &'a [Json], spot: Spot<'_>) -> Option<Json> {
        let names: Vec<&str> = kinds.iter().filter_map(kind_name).collect();
        let expected = words(&names);
        let Value::Dict(_, dict) = spot.value else {
            self.problem(spot, describe(spot.value), Some("a map with a `type`"), None);
            return None;
        };
        let Some(written) = dict.get("type") else {
            self.problem_at_key(spot, "`type` is missing", Some(&expected), None);
            return None;
        };
        let path = join(spot.path, "type");
        let at = Spot { value: written, node: self.node_of(spot, "type"), path: &path };
        let Some(chosen) =
            written.as_str().and_then(|text| kinds.iter().find(|kind| kind_name(kind) == Some(text)))
        else {
            let near = written.as_str().and_then(|text| nearest(text, names.iter().copied()));
            self.problem(at, "not a type that there is", Some(&expected), near);
            return None;
        };
        self.object(chosen, dict, spot)
    }

    /// A list that may be written as its only item.
    fn many(&mut self, schema: &'a Json, spot: Spot<'_>) -> Option<Json> {
        let list = schema.pointer("/anyOf/1")?;
        if let (Some(word), Some(text)) = (lone_word(schema), spot.value.as_str()) {
            return if text == word { Some(word.into()) } else { self.wrong_type(schema, spot) };
        }
        if let Value::Array(_, items) = spot.value {
            return Some(self.list(list, items, spot));
        }
        let item = self.value(list.get("items")?, spot)?;
        Some(Json::Array(vec![item]))
    }

    fn list(&mut self, schema: &'a Json, items: &[Value], spot: Spot<'_>) -> Json {
        let item_schema = schema.get("items").unwrap_or(&Json::Null);
        if items.is_empty() && schema.get("minItems").is_some() {
            self.problem(spot, "an empty list", Some("at least one item"), None);
        }
        let unique = schema.get("uniqueItems").is_some();
        let from_file = self.inputs.merged.origin(spot.value) == Origin::File;
        let mut list: Vec<Json> = Vec::with_capacity(items.len());
        for (index, value) in items.iter().enumerate() {
            let path = format!("{}[{index}]", spot.path);
            let node = spot.node.filter(|_| from_file).and_then(|node| node.item(index));
            let at = Spot { value, node, path: &path };
            let Some(item) = self.value(item_schema, at) else { continue };
            if unique && list.contains(&item) {
                self.problem(at, "listed twice", Some("each item once"), None);
            } else {
                list.push(item);
            }
        }
        Json::Array(list)
    }

    /// A map of keys that the schema names.
    fn object(&mut self, schema: &'a Json, dict: &Dict, spot: Spot<'_>) -> Option<Json> {
        let properties = schema.get("properties").and_then(Json::as_object)?;
        for required in schema.get("required").and_then(Json::as_array).into_iter().flatten() {
            let Some(key) = required.as_str().filter(|key| !dict.contains_key(*key)) else { continue };
            let expected = properties.get(key).and_then(|property| self.expected(property));
            self.problem_at_key(spot, &format!("`{key}` is missing"), expected.as_deref(), None);
        }
        let mut object = Map::new();
        for (key, value) in dict {
            let path = join(spot.path, key);
            let at = Spot { value, node: self.node_of(spot, key), path: &path };
            let Some(property) = properties.get(key) else {
                self.unknown_key(properties, key, at);
                continue;
            };
            if property.get("const").is_some() {
                object.insert(key.clone(), any(value));
                continue;
            }
            if let Some(value) = self.value(property, at) {
                object.insert(key.clone(), value);
            }
        }
        // A key without a value is as good as absent, and yet it must be right.
        for (key, node) in spot.node.map(Node::entries).unwrap_or_default() {
            if node.is_null() && !dict.contains_key(key) && !properties.contains_key(key) {
                let path = join(spot.path, key);
                let at = Spot { value: spot.value, node: Some(node), path: &path };
                self.unknown_key(properties, key, at);
            }
        }
        Some(Json::Object(object))
    }

    fn unknown_key(&mut self, properties: &'a Map<String, Json>, key: &str, at: Spot<'_>) {
        // A right key in the wrong place is the likeliest mistake after a slip of the pen.
        let inside = properties.iter().find_map(|(name, property)| {
            let inner = schema::resolve(self.inputs.schema, property).get("properties")?;
            inner.get(key).map(|_| format!("{name}.{key}"))
        });
        let near = inside.or_else(|| nearest(key, properties.keys().map(String::as_str)).map(str::to_owned));
        let path =
            at.path.strip_suffix(key).map_or_else(|| shown(key), |start| format!("{start}{}", shown(key)));
        self.problem_at_key(Spot { path: &path, ..at }, "unknown key", None, near.as_deref());
    }

    /// A map whose keys people choose.
    fn map(&mut self, schema: &'a Json, dict: &Dict, spot: Spot<'_>) -> Option<Json> {
        let item_schema = schema.get("additionalProperties")?;
        let (names, headers) = (schema.get("x-names").is_some(), schema.get("x-headers").is_some());
        if dict.is_empty() && schema.get("minProperties").is_some() {
            self.problem_at_key(spot, "an empty map", Some("at least one entry"), None);
        }
        let mut map = Map::new();
        for (key, value) in dict {
            let path = join(spot.path, &shown(key));
            let at = Spot { value, node: self.node_of(spot, key), path: &path };
            if names && !is_name(key) {
                self.problem_at_key(at, "not a name", Some(Name::EXPECTED), None);
            } else if headers && !is_header_name(key) {
                self.problem_at_key(at, "not the name of a header", None, None);
            } else if headers && is_secret_header(key) && self.is_inline_secret(at) {
                continue;
            }
            if let Some(value) = self.value(item_schema, at) {
                map.insert(key.clone(), value);
            }
        }
        for (key, node) in spot.node.map(Node::entries).unwrap_or_default() {
            if node.is_null() && !dict.contains_key(key) {
                let path = join(spot.path, &shown(key));
                let expected = self.expected(item_schema);
                let at = Spot { value: spot.value, node: Some(node), path: &path };
                self.problem_at_key(at, "nothing is written here", expected.as_deref(), None);
            }
        }
        Some(Json::Object(map))
    }

    /// The node of a key, unless the whole map stands in the environment.
    fn node_of<'v>(&self, spot: Spot<'v>, key: &str) -> Option<&'v Node> {
        spot.node.and_then(|node| node.child(key))
    }

    pub(super) fn wrong_type(&mut self, schema: &Json, spot: Spot<'_>) -> Option<Json> {
        let expected = self.expected(schema);
        self.problem(spot, describe(spot.value), expected.as_deref(), None);
        None
    }

    pub(super) fn problem(
        &mut self,
        spot: Spot<'_>,
        message: &str,
        expected: Option<&str>,
        near: Option<&str>,
    ) {
        let problem = self.place(spot, false, message, expected, near);
        self.found.problems.push(problem);
    }

    fn problem_at_key(&mut self, spot: Spot<'_>, message: &str, expected: Option<&str>, near: Option<&str>) {
        let problem = self.place(spot, true, message, expected, near);
        self.found.problems.push(problem);
    }

    /// A problem with its place: the variable that overrides, else where the file says it.
    pub(super) fn place(
        &self,
        spot: Spot<'_>,
        at_key: bool,
        message: &str,
        expected: Option<&str>,
        near: Option<&str>,
    ) -> Problem {
        let mut problem = Problem::whole(spot.path, message, expected);
        problem.nearest = near.map(|name| format!("`{name}`"));
        let shared = matches!(spot.value, Value::Dict(..)) && spot.node.is_some();
        match (self.inputs.merged.origin(spot.value), spot.node) {
            (Origin::Variable(name), _) if !shared => problem.place = Place::Variable(name),
            (_, Some(node)) => problem.mark = Some(if at_key { node.key_mark() } else { node.mark }),
            _ => {}
        }
        problem
    }
}

/// The name of a kind.
fn kind_name(kind: &Json) -> Option<&str> {
    kind.pointer("/properties/type/const").and_then(Json::as_str)
}

/// The word that may stand in place of a list.
pub(super) fn lone_word(schema: &Json) -> Option<&str> {
    schema.pointer("/anyOf/2/const").and_then(Json::as_str)
}

/// A path and one more key.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// `a`, `b` or `c`.
pub(super) fn words(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => format!("`{only}`"),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(|word| format!("`{word}`")).collect();
            format!("{} or `{last}`", first.join(", "))
        }
    }
}

/// Whether a map is `{env: NAME}` or `{file: PATH}`.
fn is_reference(dict: &Dict) -> bool {
    dict.len() == 1 && (dict.contains_key("env") || dict.contains_key("file"))
}

/// What a value is, without a word of what it says.
pub(super) fn describe(value: &Value) -> &'static str {
    match value {
        Value::String(..) | Value::Char(..) => "this is text",
        Value::Bool(..) => "this is a boolean",
        Value::Num(..) => "this is a number",
        Value::Empty(..) => "nothing is written here",
        Value::Dict(..) => "this is a map",
        Value::Array(..) => "this is a list",
    }
}

/// Values of which the schema says nothing.
fn any(value: &Value) -> Json {
    match value {
        Value::String(_, text) => Json::String(text.clone()),
        Value::Char(_, text) => Json::String(text.to_string()),
        Value::Bool(_, value) => Json::Bool(*value),
        Value::Num(_, number) => match value.to_i128().and_then(|value| i64::try_from(value).ok()) {
            Some(value) => value.into(),
            None => number.to_f64().into(),
        },
        Value::Empty(..) => Json::Null,
        Value::Dict(_, dict) => dict.iter().map(|(key, value)| (key.clone(), any(value))).collect(),
        Value::Array(_, items) => items.iter().map(any).collect(),
    }
}

/// Whether a header may have this name (a token of RFC 9110).
pub(crate) fn is_header_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+.^_`|~-".contains(c);
    !text.is_empty() && text.chars().all(allowed)
}

/// Headers whose values are secrets by their names.
pub(super) fn is_secret_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["authorization", "cookie", "token", "secret", "password", "api-key", "apikey"]
        .iter()
        .any(|word| name.contains(word))
}
