//! The few fields of a payload that say what it belongs to.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::event::EntityKind;

use super::tokens::{for_each_entry, for_each_item, key_name, text};

/// The fields by which payloads refer to things, whatever the type of the event
/// (`internal/server/audit/types.go` of Flipt, and its protobuf requests for deletions and orders).
///
/// Strings that are absent, empty or no strings are `None`.
#[derive(Debug, Clone, Default)]
pub struct Payload<'a> {
    /// The key of a flag, segment, namespace or variant.
    pub key: Option<Cow<'a, str>>,
    /// The id of a rule, rollout, variant, constraint or distribution.
    pub id: Option<Cow<'a, str>>,
    /// The namespace.
    pub namespace_key: Option<Cow<'a, str>>,
    /// The flag it belongs to.
    pub flag_key: Option<Cow<'a, str>>,
    /// The segment it belongs to (constraint), or the segments it uses (rule).
    pub segment_key: Option<Cow<'a, str>>,
    /// What a constraint looks at.
    pub property: Option<Cow<'a, str>>,
    /// The rule of a distribution.
    pub rule_id: Option<Cow<'a, str>>,
    /// The variant of a distribution.
    pub variant_id: Option<Cow<'a, str>>,
    /// The name of a token.
    pub token_name: Option<Cow<'a, str>>,
    pub(super) rule_ids: Option<&'a RawValue>,
    pub(super) rollout_ids: Option<&'a RawValue>,
    pub(super) distributions: Option<&'a RawValue>,
    pub(super) constraints: Option<&'a RawValue>,
}

impl<'a> Payload<'a> {
    /// Reads a payload; one that is no object has no fields.
    #[must_use]
    pub fn read(json: &'a RawValue) -> Self {
        let mut payload = Self::default();
        let said = |value: &'a RawValue| text(value).filter(|said| !said.is_empty());
        let _ = for_each_entry(json.get(), |key, value| match &*key_name(key) {
            "key" => payload.key = said(value),
            "id" => payload.id = said(value),
            "namespace_key" => payload.namespace_key = said(value),
            "flag_key" => payload.flag_key = said(value),
            "segment_key" => payload.segment_key = said(value),
            "property" => payload.property = said(value),
            "rule_id" => payload.rule_id = said(value),
            "variant_id" => payload.variant_id = said(value),
            "io.flipt.auth.token.name" => payload.token_name = said(value),
            "rule_ids" => payload.rule_ids = Some(value),
            "rollout_ids" => payload.rollout_ids = Some(value),
            "distributions" => payload.distributions = Some(value),
            "constraints" => payload.constraints = Some(value),
            _ => {}
        });
        payload
    }

    /// Whether it is the new order of a flag's rules or rollouts.
    #[must_use]
    pub fn is_order(&self) -> bool {
        self.id.is_none() && (self.rule_ids.is_some() || self.rollout_ids.is_some())
    }
}

/// The kind of what is told in a list with a thing of this kind, and the name of that list.
pub(crate) const fn child_list(kind: EntityKind) -> Option<(EntityKind, &'static str)> {
    match kind {
        EntityKind::Rule => Some((EntityKind::Distribution, "distributions")),
        EntityKind::Segment => Some((EntityKind::Constraint, "constraints")),
        _ => None,
    }
}

/// So many ids, rules, distributions or constraints of one event are looked at; none that people made comes
/// near.
pub(super) const MAX_LISTED: usize = 4096;

/// The strings of an array such as `rule_ids`, at most `limit`.
pub(super) fn strings<'a>(array: Option<&'a RawValue>, limit: usize) -> Vec<Cow<'a, str>> {
    let mut found = Vec::new();
    if let Some(array) = array {
        let _ = for_each_item(array.get(), |item| {
            if found.len() < limit {
                found.extend(text(item));
            }
        });
    }
    found
}

/// The `id` of each object of an array such as `distributions`, at most `limit`.
pub(super) fn nested_ids<'a>(array: Option<&'a RawValue>, limit: usize) -> Vec<Cow<'a, str>> {
    let mut found = Vec::new();
    if let Some(array) = array {
        let _ = for_each_item(array.get(), |item| {
            if found.len() < limit {
                found.extend(Payload::read(item).id);
            }
        });
    }
    found
}
