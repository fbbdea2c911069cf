//! The part of the walk that reads single values.

use figment::value::{Dict, Value};
use serde_json::Value as Json;

use super::layers::Origin;
use super::problem::nearest;
use super::scalars::{Scalar, Size, form, is_secret_address};
use super::schema;
use super::secrets::{Reference, References};
use super::walk::{Spot, Walk, describe, lone_word, words};

/// What people are told to write instead of a secret.
const REFERENCE: &str = "`{env: NAME}` or `{file: PATH}`";

/// A single value as far as it is known.
enum Given {
    /// Text whose quotes, if any, do not matter: from the environment or a file.
    Loose(String),
    /// Written in the configuration file.
    Written,
}

impl Walk<'_> {
    pub(super) fn leaf(&mut self, schema: &Json, spot: Spot<'_>) -> Option<Json> {
        let mut from = String::new();
        let given = match spot.value {
            // figment reads `[x]` in a variable as a list; where one value is wanted it is text.
            Value::Array(..) | Value::Dict(..) if self.is_odd_variable(spot) => {
                Given::Loose(self.variable_text(spot))
            }
            Value::Dict(_, dict) => {
                let reference = self.reference(schema, dict, spot)?;
                if self.inputs.references == References::Ignore {
                    return None;
                }
                match reference.value(self.inputs.environment) {
                    Ok(text) => {
                        from = match &reference {
                            Reference::Env(name) => format!(", in the environment variable `{name}`"),
                            Reference::File(path) => format!(", in the file `{}`", path.display()),
                        };
                        Given::Loose(text)
                    }
                    Err(why) => {
                        self.refuse(spot, true, &why, None, None);
                        return None;
                    }
                }
            }
            Value::Array(..) | Value::Empty(..) => return self.wrong_type(schema, spot),
            value => match self.inputs.merged.origin(value) {
                Origin::Variable(_) => Given::Loose(self.variable_text(spot)),
                _ => Given::Written,
            },
        };
        let referenced = !from.is_empty();
        if !referenced && schema.get("x-secret").is_some() && self.is_inline_secret(spot) {
            return None;
        }
        match self.read(schema, spot, &given) {
            Ok(value) => Some(value),
            Err(wrong) => {
                let expected = wrong.expected.or_else(|| self.expected(schema));
                let message = format!("{}{from}", wrong.message);
                self.refuse(spot, referenced, &message, expected.as_deref(), wrong.near.as_deref());
                None
            }
        }
    }

    /// A problem; where a destination, the check of pushes, what asks Flipt, or telemetry lacks the value of a
    /// reference, one that stops it alone.
    fn refuse(
        &mut self,
        spot: Spot<'_>,
        referenced: bool,
        message: &str,
        expected: Option<&str>,
        near: Option<&str>,
    ) {
        let problem = self.place(spot, false, message, expected, near);
        match spot.path.strip_prefix("destinations.").and_then(|rest| rest.split(['.', '[']).next()) {
            Some(destination) if referenced => {
                let key = spot.path.strip_prefix("destinations.").unwrap_or_default();
                let reason = format!("{}: {message}", key.split_once('.').map_or(key, |(_, key)| key));
                self.found.blocked.entry(destination.to_owned()).or_insert(reason);
                self.found.missing.push(problem);
            }
            None if referenced && pushes_need(spot.path).is_some() => {
                let (source, key) = pushes_need(spot.path).unwrap_or_default();
                let reason = format!("{key}: {message}");
                self.found.blocked_sources.entry(source.to_owned()).or_insert(reason);
                self.found.missing.push(problem);
            }
            None if referenced && matches!(spot.path, "flipt.url" | "flipt.token") => {
                self.found.flipt_is_blocked = true;
                self.found.missing.push(problem);
            }
            None if referenced && spot.path.starts_with("telemetry.") => {
                let where_to = ["telemetry.endpoint", "telemetry.headers.", "telemetry.tls."];
                self.found.telemetry_is_blocked |= where_to.iter().any(|key| spot.path.starts_with(key));
                self.found.missing.push(problem);
            }
            _ => self.found.problems.push(problem),
        }
    }

    /// `{env: NAME}` or `{file: PATH}`.
    fn reference(&mut self, schema: &Json, dict: &Dict, spot: Spot<'_>) -> Option<Reference> {
        if !dict.contains_key("env") && !dict.contains_key("file") {
            return self.wrong_type(schema, spot).and(None);
        }
        let text = |key: &str| dict.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let reference = match (dict.len(), text("env"), text("file")) {
            (1, Some(name), None) => Reference::Env(name.to_owned()),
            (1, None, Some(path)) => Reference::File(path.into()),
            _ => {
                self.problem(spot, "not a reference", Some(REFERENCE), None);
                return None;
            }
        };
        if let Reference::File(path) = &reference {
            self.found.secret_files.push(path.clone());
        }
        Some(reference)
    }

    /// Whether a variable overrides this very key with text that only looks like a list or a map.
    pub(super) fn is_odd_variable(&self, spot: Spot<'_>) -> bool {
        let is_reference =
            spot.value.as_dict().is_some_and(|dict| dict.contains_key("env") || dict.contains_key("file"));
        !is_reference
            && matches!(self.inputs.merged.origin(spot.value), Origin::Variable(_))
            && self.inputs.variables.iter().any(|variable| variable.path == spot.path)
    }

    /// The text of a variable as it is, where it overrides this very key.
    fn variable_text(&self, spot: Spot<'_>) -> String {
        if let Some(variable) = self.inputs.variables.iter().rev().find(|variable| variable.path == spot.path)
        {
            return variable.text.clone();
        }
        match spot.value {
            Value::String(_, text) => text.clone(),
            Value::Char(_, text) => text.to_string(),
            Value::Bool(_, value) => value.to_string(),
            Value::Num(_, number) => spot.value.to_i128().map_or_else(
                || number.to_f64().map_or_else(String::new, |n| n.to_string()),
                |n| n.to_string(),
            ),
            _ => String::new(),
        }
    }

    /// Tells of a secret that stands in a file in place.
    pub(super) fn is_inline_secret(&mut self, spot: Spot<'_>) -> bool {
        let inline = !matches!(spot.value, Value::Dict(..) | Value::Array(..) | Value::Empty(..))
            && self.inputs.merged.origin(spot.value) == Origin::File
            && !self.inputs.allow_inline_secrets;
        if inline {
            self.problem(spot, "a secret is written in place", Some(REFERENCE), None);
        }
        inline
    }

    fn read(&mut self, schema: &Json, spot: Spot<'_>, given: &Given) -> Result<Json, Wrong> {
        let wrong_type = || Wrong::from(describe(spot.value));
        match schema.get("type").and_then(Json::as_str) {
            Some("boolean") => match (given, spot.value) {
                (Given::Loose(text), _) => {
                    text.trim().parse().map(Json::Bool).map_err(|_| "not a boolean".into())
                }
                (_, Value::Bool(_, value)) => Ok(Json::Bool(*value)),
                _ => Err(wrong_type()),
            },
            Some(kind @ ("integer" | "number")) => {
                let number = match (given, spot.value) {
                    (Given::Loose(text), _) => {
                        text.trim().parse::<f64>().map_err(|_| Wrong::from("not a number"))?
                    }
                    (_, Value::Num(_, number)) => spot
                        .value
                        .to_i128()
                        .map(|number| number as f64)
                        .or_else(|| number.to_f64())
                        .ok_or_else(wrong_type)?,
                    _ => return Err(wrong_type()),
                };
                number_within(schema, kind == "integer", number)
            }
            _ => match (given, spot.value) {
                (Given::Loose(text), _) => {
                    self.text(schema, spot, text, matches!(spot.value, Value::Dict(..)))
                }
                (_, Value::String(_, text)) => self.text(schema, spot, text, false),
                _ => {
                    let plain = schema.get("x-scalar").is_none() && schema.get("enum").is_none();
                    Err(Wrong { expected: plain.then(|| "text, in quotes".into()), ..wrong_type() })
                }
            },
        }
    }

    fn text(&mut self, schema: &Json, spot: Spot<'_>, text: &str, referenced: bool) -> Result<Json, Wrong> {
        if let Some(allowed) = schema.get("enum").and_then(Json::as_array) {
            let allowed: Vec<&str> = allowed.iter().filter_map(Json::as_str).collect();
            if !allowed.contains(&text) {
                let called = schema.get("x-near").and_then(|near| near.get(text.to_lowercase())?.as_str());
                let near = called.or_else(|| nearest(text, allowed.iter().copied())).map(str::to_owned);
                return Err(Wrong { near, ..Wrong::from("not a word that is known here") });
            }
        }
        if schema.get("minLength").is_some() && text.is_empty() {
            return Err("empty".into());
        }
        let most = schema.get("maxLength").and_then(Json::as_u64).and_then(|most| usize::try_from(most).ok());
        if most.is_some_and(|most| text.chars().count() > most) {
            return Err(Wrong {
                expected: most.map(|most| format!("at most {most} characters")),
                ..Wrong::from("too long")
            });
        }
        let Some(name) = schema.get("x-scalar").and_then(Json::as_str) else { return Ok(text.into()) };
        if name == "url" && !referenced && is_secret_address(text) && self.is_inline_secret(spot) {
            // Told already: the address itself is not judged.
            return Ok(Json::Null);
        }
        if let Some((_, check)) = form(name) {
            check(text)?;
        }
        for (bound, least) in [("x-minimum-size", true), ("x-maximum-size", false)] {
            let Some(limit) = schema.get(bound).and_then(Json::as_str) else { continue };
            let (size, border) = (Size::read(text)?.0, Size::read(limit)?.0);
            if (least && size < border) || (!least && (size > border || size == 0)) {
                let word = if least { "at least" } else { "at most" };
                return Err(Wrong {
                    expected: Some(format!("{word} `{limit}`")),
                    ..Wrong::from("out of bounds")
                });
            }
        }
        Ok(text.into())
    }

    /// What a schema expects, in words.
    pub(super) fn expected(&self, schema: &Json) -> Option<String> {
        expected(self.inputs.schema, schema)
    }
}

/// The source and the key, where a path leads to what pushes are checked by.
fn pushes_need(path: &str) -> Option<(&str, &str)> {
    let (source, key) = path.strip_prefix("sources.")?.split_once('.')?;
    (key == "bearer" || key.starts_with("signing")).then_some((source, key))
}

/// What a schema expects, in words.
pub(super) fn expected(root: &Json, schema: &Json) -> Option<String> {
    let schema = schema::resolve(root, schema);
    if schema.get("x-many").is_some() {
        let one = expected(root, schema.pointer("/anyOf/0")?)?;
        let word = lone_word(schema).map(|word| format!(", or `{word}`")).unwrap_or_default();
        return Some(format!("{one}, or a list of such{word}"));
    }
    if schema.get("oneOf").is_some() {
        return Some("a map with a `type`".into());
    }
    if let Some(allowed) = schema.get("enum").and_then(Json::as_array) {
        return Some(words(&allowed.iter().filter_map(Json::as_str).collect::<Vec<_>>()));
    }
    if schema.get("x-secret").is_some() {
        return Some(REFERENCE.into());
    }
    if let Some((expected, _)) = schema.get("x-scalar").and_then(Json::as_str).and_then(form) {
        return Some(expected.into());
    }
    let limit = |bound| schema.get(bound).and_then(Json::as_f64);
    Some(match schema.get("type").and_then(Json::as_str)? {
        "boolean" => "`true` or `false`".into(),
        "object" => "a map".into(),
        "array" => "a list".into(),
        kind @ ("integer" | "number") => {
            let what = if kind == "integer" { "a whole number" } else { "a number" };
            match (limit("minimum"), limit("maximum")) {
                (Some(least), Some(most)) => format!("{what} from {least} to {most}"),
                _ => what.into(),
            }
        }
        _ => "text".into(),
    })
}

fn number_within(schema: &Json, whole: bool, number: f64) -> Result<Json, Wrong> {
    let least = schema.get("minimum").and_then(Json::as_f64).unwrap_or(f64::MIN);
    let most = schema.get("maximum").and_then(Json::as_f64).unwrap_or(f64::MAX);
    if whole && number.fract() != 0.0 {
        return Err("not a whole number".into());
    }
    if !(least..=most).contains(&number) {
        return Err("out of bounds".into());
    }
    // Bounds keep whole numbers far below where f64 loses them.
    Ok(if whole { (number as i64).into() } else { number.into() })
}

/// What is wrong with a single value; never holds the value.
struct Wrong {
    message: &'static str,
    expected: Option<String>,
    near: Option<String>,
}

impl From<&'static str> for Wrong {
    fn from(message: &'static str) -> Self {
        Self { message, expected: None, near: None }
    }
}
