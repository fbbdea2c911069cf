//! What several sections share.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use crate::config::scalars::PathText;
use crate::config::secret::Secret;

/// A list that may be written as its only item. The walk hands on a list in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct Many<T>(pub(in crate::config) Vec<T>);

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for Many<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("Many{}", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<T>();
        json_schema!({
            "x-many": true,
            "anyOf": [item, {"type": "array", "items": item, "minItems": 1, "uniqueItems": true}]
        })
    }
}

/// A text that only its owner should see.
#[derive(Clone)]
pub(in crate::config) struct SecretText(pub(in crate::config) Secret);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}

impl JsonSchema for SecretText {
    fn schema_name() -> Cow<'static, str> {
        "SecretText".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1, "writeOnly": true, "x-secret": true})
    }
}

/// The text of a template: it may stand in place, and is not shown, since people write tokens into bodies.
#[derive(Clone)]
pub(in crate::config) struct TemplateText(pub(in crate::config) Secret);

impl<'de> Deserialize<'de> for TemplateText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}

impl JsonSchema for TemplateText {
    fn schema_name() -> Cow<'static, str> {
        "TemplateText".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1})
    }
}

/// An `http` or `https` address; secret where it has userinfo or a query.
#[derive(Clone)]
pub(in crate::config) struct UrlText(pub(in crate::config) Secret);

impl<'de> Deserialize<'de> for UrlText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Secret::new(text)))
    }
}

impl JsonSchema for UrlText {
    fn schema_name() -> Cow<'static, str> {
        "UrlText".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^[hH][tT][tT][pP][sS]?://.+", "x-scalar": "url"})
    }
}

/// Headers: names and values.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub(in crate::config) struct Headers(pub(in crate::config) BTreeMap<String, SecretText>);

impl JsonSchema for Headers {
    fn schema_name() -> Cow<'static, str> {
        "Headers".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "x-headers": true,
            "propertyNames": {"pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"},
            "additionalProperties": {"type": "string"}
        })
    }
}

/// How a request is signed, or how a signature is checked.
#[derive(Clone, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields, extend("required" = ["scheme", "secrets"]))]
pub(in crate::config) struct Signing {
    /// The scheme: `flipt` is that of Flipt's own webhook sink, `github` sends `X-Hub-Signature-256`.
    #[schemars(required)]
    pub(in crate::config) scheme: Option<Scheme>,
    /// The secrets, newest first: `standard_webhooks` signs with each of them, the others with the first; a
    /// signature is checked against all.
    #[serde(default)]
    pub(in crate::config) secrets: Many<SecretText>,
}

/// The signatures of which a request must carry one; the word `none` where nobody has to show anything.
#[derive(Clone, Default)]
pub(in crate::config) enum Demanded {
    /// Nothing is written.
    #[default]
    Unsaid,
    /// `none`.
    Nothing,
    /// One of these.
    AnyOf(Vec<Signing>),
}

impl Demanded {
    const NONE: &'static str = "none";
}

impl<'de> Deserialize<'de> for Demanded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Word(String),
            List(Vec<Signing>),
        }
        match Written::deserialize(deserializer)? {
            Written::Word(word) if word == Self::NONE => Ok(Self::Nothing),
            Written::Word(_) => Err(serde::de::Error::custom("not a word that is known here")),
            Written::List(list) => Ok(Self::AnyOf(list)),
        }
    }
}

impl JsonSchema for Demanded {
    fn schema_name() -> Cow<'static, str> {
        "Demanded".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let item = generator.subschema_for::<Signing>();
        json_schema!({
            "x-many": true,
            "anyOf": [item, {"type": "array", "items": item, "minItems": 1, "uniqueItems": true}, {"const": Self::NONE}]
        })
    }
}

/// A way to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(in crate::config) enum Scheme {
    Flipt,
    StandardWebhooks,
    Github,
}

/// User name and password.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields, extend("required" = ["username", "password"]))]
pub(in crate::config) struct Basic {
    /// The user name.
    pub(in crate::config) username: Option<String>,
    /// The password.
    pub(in crate::config) password: Option<SecretText>,
}

/// TLS with certificates of one's own.
#[derive(Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct Tls {
    /// The path of the PEM file of the authorities to trust, instead of the system's.
    pub(in crate::config) ca: Option<PathText>,
    /// The path of the PEM file of the own certificate.
    pub(in crate::config) cert: Option<PathText>,
    /// The path of the PEM file of its key.
    pub(in crate::config) key: Option<PathText>,
}
