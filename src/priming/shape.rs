//! From what Flipt's API says of a thing to what an audit event of the same thing would carry.
//!
//! The API writes protobuf's JSON (`rpc/flipt/flipt.proto` of Flipt: camelCase, enums by name, zero values
//! mostly written but not by every release), audit events a form of their own
//! (`internal/server/audit/types.go`): snake_case, keys in alphabetical order, several segments joined.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::event::{EntityKind, Imported};
use crate::flipt;

/// Whatever is absent or null is a zero value.
fn or_zero<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

macro_rules! api_object {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub(super) struct $name { $(#[serde(deserialize_with = "or_zero")] pub(super) $field: $type),* }
    };
}

api_object! {
    /// A namespace.
    Namespace { key: String, name: String, description: String, protected: bool }
}
api_object! {
    /// A flag with its variants.
    Flag {
        key: String, name: String, description: String, enabled: bool, default_variant: Option<Variant>,
        variants: Vec<Variant>,
    }
}
api_object! {
    /// A variant.
    Variant { id: String, key: String, name: String, description: String, attachment: String }
}
api_object! {
    /// A segment with its constraints.
    Segment {
        key: String, name: String, description: String, match_type: Option<String>,
        constraints: Vec<Constraint>,
    }
}
api_object! {
    /// A constraint.
    Constraint { id: String, r#type: Option<String>, property: String, operator: String, value: String }
}
api_object! {
    /// A rule with its distributions.
    Rule {
        id: String, rank: i64, segment_key: String, segment_keys: Vec<String>,
        segment_operator: Option<String>, distributions: Vec<Distribution>,
    }
}
api_object! {
    /// A distribution.
    Distribution { id: String, variant_id: String, rollout: f64 }
}
api_object! {
    /// A rollout.
    Rollout {
        id: String, rank: i64, description: String, threshold: Option<Threshold>,
        segment: Option<RolloutSegment>,
    }
}
api_object! {
    /// The share of a rollout.
    Threshold { percentage: f64, value: bool }
}
api_object! {
    /// The segments of a rollout.
    RolloutSegment {
        segment_key: String, segment_keys: Vec<String>, segment_operator: Option<String>, value: bool,
    }
}

/// The states as events carry them. Fields are declared in alphabetical order, as events have them.
mod state {
    use super::{RawValue, Serialize};

    #[derive(Serialize)]
    pub(super) struct Namespace<'a> {
        pub(super) description: &'a str,
        pub(super) key: &'a str,
        pub(super) name: &'a str,
        pub(super) protected: bool,
    }

    #[derive(Serialize)]
    pub(super) struct Flag<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(super) default_variant: Option<&'a str>,
        pub(super) description: &'a str,
        pub(super) enabled: bool,
        pub(super) key: &'a str,
        pub(super) name: &'a str,
        pub(super) namespace_key: &'a str,
    }

    #[derive(Serialize)]
    pub(super) struct Variant<'a> {
        pub(super) attachment: &'a str,
        pub(super) description: &'a str,
        pub(super) flag_key: &'a str,
        pub(super) id: &'a str,
        pub(super) key: &'a str,
        pub(super) name: &'a str,
        pub(super) namespace_key: &'a str,
    }

    #[derive(Serialize)]
    pub(super) struct Segment<'a> {
        pub(super) description: &'a str,
        pub(super) key: &'a str,
        pub(super) match_type: &'a str,
        pub(super) name: &'a str,
        pub(super) namespace_key: &'a str,
    }

    #[derive(Serialize)]
    pub(super) struct Constraint<'a> {
        pub(super) id: &'a str,
        pub(super) namespace_key: &'a str,
        pub(super) operator: &'a str,
        pub(super) property: &'a str,
        pub(super) segment_key: &'a str,
        pub(super) r#type: &'a str,
        pub(super) value: &'a str,
    }

    #[derive(Serialize)]
    pub(super) struct Rule<'a> {
        pub(super) flag_key: &'a str,
        pub(super) id: &'a str,
        pub(super) namespace_key: &'a str,
        pub(super) rank: i64,
        pub(super) segment_key: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(super) segment_operator: Option<&'a str>,
    }

    #[derive(Serialize)]
    pub(super) struct Distribution<'a> {
        pub(super) id: &'a str,
        pub(super) rollout: Box<RawValue>,
        pub(super) rule_id: &'a str,
        pub(super) variant_id: &'a str,
    }

    #[derive(Serialize)]
    pub(super) struct Rollout<'a> {
        pub(super) description: &'a str,
        pub(super) flag_key: &'a str,
        pub(super) id: &'a str,
        pub(super) namespace_key: &'a str,
        pub(super) rank: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(super) segment: Option<RolloutSegment<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(super) threshold: Option<Threshold>,
    }

    #[derive(Serialize)]
    pub(super) struct RolloutSegment<'a> {
        pub(super) key: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub(super) operator: Option<&'a str>,
        pub(super) value: bool,
    }

    #[derive(Serialize)]
    pub(super) struct Threshold {
        pub(super) percentage: Box<RawValue>,
        pub(super) value: bool,
    }
}

/// A namespace itself.
pub(super) fn namespace(namespace: &Namespace) -> Option<Imported> {
    let Namespace { key, name, description, protected } = namespace;
    let state = state::Namespace { description, key, name, protected: *protected };
    imported(EntityKind::Namespace, key, (EntityKind::Namespace, key), &state)
}

/// A flag, and its variants behind it.
pub(super) fn flag(namespace_key: &str, flag: &Flag) -> Vec<Imported> {
    let Flag { key: flag_key, name, description, enabled, default_variant, variants } = flag;
    let default_variant = default_variant.as_ref().map(|variant| &*variant.key).filter(|key| !key.is_empty());
    let state =
        state::Flag { default_variant, description, enabled: *enabled, key: flag_key, name, namespace_key };
    let owner = (EntityKind::Flag, &**flag_key);
    let variants = variants.iter().filter_map(|variant| {
        let Variant { id, key, name, description, attachment } = variant;
        let attachment = &compacted(attachment);
        let state = state::Variant { attachment, description, flag_key, id, key, name, namespace_key };
        imported(EntityKind::Variant, id, owner, &state)
    });
    imported(EntityKind::Flag, flag_key, owner, &state).into_iter().chain(variants).collect()
}

/// A segment, and its constraints behind it.
pub(super) fn segment(namespace_key: &str, segment: &Segment) -> Vec<Imported> {
    let Segment { key: segment_key, name, description, match_type, constraints } = segment;
    let match_type = match_type.as_deref().unwrap_or("ALL_MATCH_TYPE");
    let state = state::Segment { description, key: segment_key, match_type, name, namespace_key };
    let owner = (EntityKind::Segment, &**segment_key);
    let constraints = constraints.iter().filter_map(|constraint| {
        let Constraint { id, r#type, property, operator, value } = constraint;
        let r#type = r#type.as_deref().unwrap_or("UNKNOWN_COMPARISON_TYPE");
        let state = state::Constraint { id, namespace_key, operator, property, segment_key, r#type, value };
        imported(EntityKind::Constraint, id, owner, &state)
    });
    imported(EntityKind::Segment, segment_key, owner, &state).into_iter().chain(constraints).collect()
}

/// A rule of a flag, and its distributions behind it.
pub(super) fn rule(namespace_key: &str, flag_key: &str, rule: &Rule) -> Vec<Imported> {
    let (segment_key, segment_operator) =
        joined(&rule.segment_key, &rule.segment_keys, rule.segment_operator.as_deref());
    let (rule_id, rank) = (&*rule.id, rule.rank);
    let segment_key = &segment_key;
    let state = state::Rule { flag_key, id: rule_id, namespace_key, rank, segment_key, segment_operator };
    let owner = (EntityKind::Flag, flag_key);
    let distributions = rule.distributions.iter().filter_map(|distribution| {
        let Distribution { id, variant_id, rollout } = distribution;
        let state = state::Distribution { id, rollout: number(*rollout)?, rule_id, variant_id };
        imported(EntityKind::Distribution, id, owner, &state)
    });
    imported(EntityKind::Rule, rule_id, owner, &state).into_iter().chain(distributions).collect()
}

/// A rollout of a flag.
pub(super) fn rollout(namespace_key: &str, flag_key: &str, rollout: &Rollout) -> Option<Imported> {
    let Rollout { id, rank, description, threshold, segment } = rollout;
    let threshold = match threshold {
        Some(Threshold { percentage, value }) => {
            Some(state::Threshold { percentage: number(*percentage)?, value: *value })
        }
        None => None,
    };
    let named = segment.as_ref().map(|segment| {
        let operator = segment.segment_operator.as_deref();
        (joined(&segment.segment_key, &segment.segment_keys, operator), segment.value)
    });
    let segment = named.as_ref().map(|((key, operator), value)| state::RolloutSegment {
        key,
        operator: *operator,
        value: *value,
    });
    let state = state::Rollout { description, flag_key, id, namespace_key, rank: *rank, segment, threshold };
    imported(EntityKind::Rollout, id, (EntityKind::Flag, flag_key), &state)
}

/// Several segments as events write them: joined, and only then with an operator.
fn joined<'a>(one: &str, several: &[String], operator: Option<&'a str>) -> (String, Option<&'a str>) {
    match several {
        [] => (one.to_owned(), None),
        [single] => (single.clone(), None),
        several => (several.join(","), Some(operator.unwrap_or("OR_SEGMENT_OPERATOR"))),
    }
}

/// The API gives an attachment as the database holds it; events carry it without whitespace.
fn compacted(attachment: &str) -> String {
    match serde_json::from_str::<&RawValue>(attachment) {
        Ok(json) => flipt::compacted(json.get()),
        Err(_) => attachment.to_owned(),
    }
}

/// A number as Go writes it: `50`, `33.33`, never with an exponent in the range of per cents.
fn number(number: f64) -> Option<Box<RawValue>> {
    number.is_finite().then(|| RawValue::from_string(number.to_string()).ok()).flatten()
}

/// `None` for what has no name to be known by.
fn imported(
    kind: EntityKind,
    id: &str,
    owner: (EntityKind, &str),
    state: &impl Serialize,
) -> Option<Imported> {
    if id.is_empty() || owner.1.is_empty() {
        return None;
    }
    let state = serde_json::to_string(state).ok()?.into_boxed_str();
    Some(Imported { kind, id: id.to_owned(), owner: (owner.0, owner.1.to_owned()), state })
}

#[cfg(test)]
mod tests;
