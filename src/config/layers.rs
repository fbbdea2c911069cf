//! Defaults < file < environment, laid over each other by figment.

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde_json::Value as Json;

use super::schema;
use super::yaml::{Content, Node};

/// Variables that begin so are ours; any other `AUDIT_RELAY_…` is somebody else's, such as the service
/// variables that Kubernetes makes of a Service called `audit-relay`.
pub(super) const PREFIX: &str = "AUDIT_RELAY__";

/// The names by which layers are told apart.
const DEFAULTS: &str = "defaults";
const FILE: &str = "file";

/// One override from the environment.
pub(super) struct Variable {
    pub(super) name: String,
    /// `log.level`.
    pub(super) path: String,
    pub(super) text: String,
}

/// The overrides among all variables, in the order of their names.
pub(super) fn variables(environment: &[(String, String)]) -> Vec<Variable> {
    let mut found: Vec<_> = environment
        .iter()
        .filter_map(|(name, text)| {
            let path = name.strip_prefix(PREFIX)?.to_lowercase().replace("__", ".");
            Some(Variable { name: name.clone(), path, text: text.clone() })
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// The layers, merged, and which of them each value came from.
pub(super) struct Merged {
    pub(super) value: Value,
    figment: Figment,
}

/// Who wrote a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    File,
    Variable(String),
}

impl Merged {
    pub(super) fn origin(&self, value: &Value) -> Origin {
        match self.figment.get_metadata(value.tag()).map(|metadata| metadata.name.as_ref()) {
            Some(DEFAULTS) | None => Origin::Default,
            Some(FILE) => Origin::File,
            Some(name) => Origin::Variable(name.to_owned()),
        }
    }
}

/// Lays the layers over each other.
pub(super) fn merge(schema: &Json, file: &Node, variables: &[Variable]) -> Merged {
    let mut figment = Figment::from(Layer { name: DEFAULTS.into(), dict: defaults(schema, schema) });
    let written = dict_of(file);
    figment = figment.merge(Layer { name: FILE.into(), dict: written });
    for variable in variables {
        let Ok(value) = variable.text.parse::<Value>();
        let dict = figment::util::nest(&variable.path, value).into_dict().unwrap_or_default();
        figment = figment.merge(Layer { name: variable.name.clone(), dict });
    }
    let value = figment.find_value("").unwrap_or_else(|_| Dict::new().into());
    Merged { value, figment }
}

struct Layer {
    name: String,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

/// The defaults of the sections that are there in any case.
fn defaults(root: &Json, schema: &Json) -> Dict {
    let mut dict = Dict::new();
    for (key, property) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        let resolved = schema::resolve(root, property);
        if resolved.get("properties").is_some() {
            dict.insert(key.clone(), defaults(root, resolved).into());
        } else if let Some(value) = property.get("default").and_then(scalar) {
            dict.insert(key.clone(), value);
        }
    }
    dict
}

fn scalar(value: &Json) -> Option<Value> {
    match value {
        Json::Bool(value) => Some((*value).into()),
        Json::Number(value) => value.as_i64().map(Value::from).or_else(|| value.as_f64().map(Value::from)),
        Json::String(text) => Some(text.as_str().into()),
        _ => None,
    }
}

fn dict_of(node: &Node) -> Dict {
    // A key without a value is a key that is not written: the layer below shows through.
    let written = node.entries().iter().filter(|(_, node)| !node.is_null());
    written.map(|(key, node)| (key.clone(), value_of(node))).collect()
}

fn value_of(node: &Node) -> Value {
    match &node.content {
        Content::Null => Value::Empty(figment::value::Tag::Default, figment::value::Empty::Unit),
        Content::Bool(value) => (*value).into(),
        Content::Integer(value) => (*value).into(),
        Content::Float(value) => (*value).into(),
        Content::Text(text) => text.as_str().into(),
        Content::List(items) => items.iter().map(value_of).collect::<Vec<_>>().into(),
        Content::Map(_) => dict_of(node).into(),
    }
}
