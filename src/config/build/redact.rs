//! What a destination is not to see.

use std::collections::BTreeMap;

use super::Judge;
use crate::config::plan::{RedactPlan, Redaction};
use crate::config::raw::destination::Redact;

/// The parts of an actor that can be kept back.
const ACTOR: [&str; 3] = ["actor.email", "actor.ip", "actor.name"];

/// The fields of Flipt's payloads that can be kept back.
const FIELDS: [&str; 7] = [
    "attachment",
    "description",
    "io.flipt.auth.token.description",
    "io.flipt.auth.token.namespace",
    "name",
    "property",
    "value",
];

/// What a change consists of: without it, sentences and `change` would say what is not so.
const SUBSTANCE: [&str; 14] = [
    "constraints",
    "default_variant",
    "distributions",
    "enabled",
    "match_type",
    "operator",
    "percentage",
    "protected",
    "rank",
    "rollout",
    "segment",
    "segment_operator",
    "threshold",
    "type",
];

/// Fields that say which one it is. The same stands in ids, keys and subjects, so that leaving them out of the
/// payload would hide nothing.
const IDENTITY: [&str; 10] = [
    "flag_key",
    "id",
    "io.flipt.auth.token.name",
    "key",
    "namespace_key",
    "rollout_ids",
    "rule_id",
    "rule_ids",
    "segment_key",
    "variant_id",
];

/// `None` where nothing is to be kept back.
pub(super) fn build(path: &str, written: &Redact, judge: &mut Judge<'_>) -> Option<RedactPlan> {
    let mut plan = RedactPlan { email: None, ip: None, name: None, fields: BTreeMap::new() };
    let lists = [("drop", &written.drop, Redaction::Drop), ("mask", &written.mask, Redaction::Mask)];
    for (key, list, how) in lists {
        for (index, name) in list.0.iter().enumerate() {
            let at = format!("{path}.redact.{key}[{index}]");
            if how == Redaction::Mask && written.drop.0.iter().any(|dropped| dropped.0 == name.0) {
                judge.problem(&at, "dropped already", Some("either `drop` or `mask`"));
            }
            match name.0.as_str() {
                "actor.email" => plan.email = Some(how),
                "actor.ip" => plan.ip = Some(how),
                "actor.name" => plan.name = Some(how),
                name => {
                    judge_name(&at, name, judge);
                    plan.fields.insert(name.to_owned(), how);
                }
            }
        }
    }
    let is_empty = written.drop.0.is_empty() && written.mask.0.is_empty();
    (!is_empty).then_some(plan)
}

fn judge_name(at: &str, name: &str, judge: &mut Judge<'_>) {
    let known: Vec<&str> = ACTOR.into_iter().chain(FIELDS).collect();
    if name.contains('*') {
        judge.problem(at, "no pattern here", Some("the name of a field"));
    } else if IDENTITY.contains(&name) {
        let message = "it says which one it is, and would still stand in ids, keys and subjects";
        judge.problem(at, message, Some("another field"));
    } else if SUBSTANCE.contains(&name) {
        let message = "it is what a change consists of: without it, what is told would not be so";
        judge.problem(at, message, Some("another field, or a route that leaves such events"));
    } else if known.contains(&name) {
    } else if name.starts_with("actor.")
        || crate::config::problem::nearest(name, known.iter().copied()).is_some()
    {
        judge.unknown(at, "no event has such a field", name, &known);
    } else {
        judge.warn(at, "no event that Flipt is known to write has such a field");
    }
}
