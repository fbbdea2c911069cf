//! States of entities in words.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::words::{list, name, percent, without_ids};
use crate::event::RuleLabel;
use crate::flipt::Fields;

/// Segments, variants and constraints that are named; more are counted.
const MOST_NAMED: usize = 3;
/// Values of a constraint are shown up to here.
const VALUE_CHARACTERS: usize = 60;

/// Keys of variants by their ids.
pub(super) type Variants = BTreeMap<String, String>;

/// `segment beta`, `segments beta and staff`; and whether they are several.
pub(super) fn segments(keys: &str, operator: Option<&str>) -> (String, bool) {
    let keys: Vec<_> = keys.split(',').map(name).filter(|key| !key.is_empty()).collect();
    let joint = if operator == Some("AND_SEGMENT_OPERATOR") { "and" } else { "or" };
    match keys.as_slice() {
        // As Flipt before 1.58.2 tells several.
        [] => ("several segments".to_owned(), true),
        [one] => (format!("segment {one}"), false),
        several => (format!("segments {}", list(several, several.len(), joint, MOST_NAMED)), true),
    }
}

/// The segments of a rule.
pub(super) fn rule_segments(rule: &Fields<'_>) -> Option<String> {
    rule.raw("segment_key")?;
    let keys = rule.text("segment_key").unwrap_or_default();
    Some(segments(&keys, rule.text("segment_operator").as_deref()).0)
}

/// The segments of the rule that a distribution belongs to.
pub(super) fn label_segments(label: &RuleLabel) -> Option<String> {
    let keys = label.segment_key.as_deref()?;
    Some(segments(keys, label.segment_operator.as_deref()).0)
}

/// What a rollout does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Rollout {
    /// So many per cent of everyone get this value.
    Share(f64, Option<bool>),
    /// These segments (are they several?) get this value.
    Segments(String, bool, Option<bool>),
}

impl Rollout {
    pub(super) fn read(rollout: &Fields<'_>) -> Option<Self> {
        if let Some(threshold) = rollout.object("threshold") {
            return Some(Self::Share(threshold.number("percentage")?, threshold.truth("value")));
        }
        let segment = rollout.object("segment")?;
        let keys = segment.text("key").unwrap_or_default();
        let (names, are_several) = segments(&keys, segment.text("operator").as_deref());
        Some(Self::Segments(names, are_several, segment.truth("value")))
    }

    /// Whether anyone gets true by it.
    pub(super) fn gives_true(&self) -> bool {
        match self {
            Self::Share(share, value) => *share > 0.0 && *value == Some(true),
            Self::Segments(.., value) => *value == Some(true),
        }
    }

    /// `10 %` or `segment beta`, and ` of everyone gets true` or ` gets true`.
    pub(super) fn words(&self) -> (String, String) {
        let got = |value: &Option<bool>, verb: &str| {
            value.map(|value| format!(" {verb} {value}")).unwrap_or_default()
        };
        match self {
            Self::Share(share, value) => (percent(*share), format!(" of everyone{}", got(value, "gets"))),
            Self::Segments(names, true, value) => (names.clone(), got(value, "get")),
            Self::Segments(names, false, value) => (names.clone(), got(value, "gets")),
        }
    }

    /// `10 % of everyone gets true`.
    pub(super) fn said(&self) -> String {
        let (what, rest) = self.words();
        what + &rest
    }

    /// `10 % of everyone got true`.
    pub(super) fn was(&self) -> String {
        let (what, rest) = self.words();
        what + &rest.replace(" gets ", " got ").replace(" get ", " got ")
    }
}

/// The key of a distribution's variant, or `a variant`.
pub(super) fn variant(distribution: &Fields<'_>, variants: &Variants) -> String {
    let key = distribution.text("variant_id").and_then(|id| variants.get(&*id));
    key.map_or_else(|| "a variant".to_owned(), |key| name(key).into_owned())
}

/// `on 90 %, off 10 %`: the split of a rule, as far as it has one.
pub(super) fn split(rule: &Fields<'_>, variants: &Variants) -> Option<String> {
    let items = rule.items("distributions");
    let share = |item: &&RawValue| {
        let item = Fields::read(item);
        Some(format!("{} {}", variant(&item, variants), percent(item.number("rollout")?)))
    };
    let shares: Vec<String> = items.iter().take(MOST_NAMED + 1).filter_map(share).collect();
    match (shares.len(), items.len()) {
        (0, _) => None,
        (_, all) if all > MOST_NAMED => Some(format!(
            "{} and {} more",
            shares[..MOST_NAMED.min(shares.len())].join(", "),
            all - MOST_NAMED
        )),
        _ => Some(shares.join(", ")),
    }
}

/// `country = CA or US`; `None` where it does not say.
pub(super) fn constraint(constraint: &Fields<'_>) -> Option<String> {
    let operator = constraint.text("operator")?;
    let kind = constraint.text("type").unwrap_or_default();
    let value = constraint.text("value").unwrap_or_default();
    if kind == "ENTITY_ID_COMPARISON_TYPE" {
        return Some(of_entities(&operator, &value));
    }
    let property = constraint.text("property").map(|property| without_ids(&name(&property)))?;
    let value = || short(&value);
    Some(match &*operator {
        "eq" => format!("{property} = {}", value()),
        "neq" => format!("{property} ≠ {}", value()),
        "lt" => format!("{property} < {}", value()),
        "lte" => format!("{property} ≤ {}", value()),
        "gt" => format!("{property} > {}", value()),
        "gte" => format!("{property} ≥ {}", value()),
        "empty" => format!("{property} is empty"),
        "notempty" => format!("{property} is not empty"),
        "true" => format!("{property} is true"),
        "false" => format!("{property} is false"),
        "present" => format!("{property} is present"),
        "notpresent" => format!("{property} is not present"),
        "prefix" => format!("{property} begins with {}", value()),
        "suffix" => format!("{property} ends with {}", value()),
        "contains" => format!("{property} contains {}", value()),
        "notcontains" => format!("{property} does not contain {}", value()),
        "isoneof" => format!("{property} = {}", values(&constraint.text("value").unwrap_or_default(), "or")),
        "isnotoneof" => {
            format!("{property} is none of {}", values(&constraint.text("value").unwrap_or_default(), "and"))
        }
        other => format!("{property} {} {}", name(other), value()).trim_end().to_owned(),
    })
}

/// Entities are those that flags are evaluated for: often people. Their ids are counted, not shown.
fn of_entities(operator: &str, value: &str) -> String {
    let count = many(value).map_or(1, |values| values.len());
    let ids = if count == 1 { "one given id".to_owned() } else { format!("one of {count} given ids") };
    match operator {
        "eq" | "isoneof" => format!("entity is {ids}"),
        "neq" | "isnotoneof" => format!("entity is not {ids}"),
        "empty" => "entity is empty".to_owned(),
        "notempty" => "entity is not empty".to_owned(),
        "prefix" => "entity begins with a given text".to_owned(),
        "suffix" => "entity ends with a given text".to_owned(),
        "contains" => "entity contains a given text".to_owned(),
        "notcontains" => "entity does not contain a given text".to_owned(),
        other => format!("entity {}", name(other)),
    }
}

fn short(value: &str) -> String {
    let line = without_ids(&crate::event::text::one_line(value, VALUE_CHARACTERS));
    if line.is_empty() { "“”".to_owned() } else { line }
}

/// The values of a list, which is JSON as text, as written.
fn many(list: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(list).ok()
}

fn values(text: &str, joint: &str) -> String {
    let Some(values) = many(text) else { return short(text) };
    let said = |item: &&RawValue| match serde_json::from_str::<String>(item.get()) {
        Ok(text) => short(&text),
        Err(_) => short(item.get()),
    };
    let shown: Vec<String> = values.iter().take(MOST_NAMED + 1).map(said).collect();
    match shown.is_empty() {
        true => "nothing".to_owned(),
        false => list(&shown, values.len(), joint, MOST_NAMED),
    }
}

/// `country = CA and plan = beta`, `5 constraints`, `no constraints`: who is in a segment.
pub(super) fn constraints(segment: &Fields<'_>) -> Option<String> {
    segment.raw("constraints")?;
    let items = segment.items("constraints");
    let joint = if segment.text("match_type").as_deref() == Some("ANY_MATCH_TYPE") { "or" } else { "and" };
    let said: Option<Vec<String>> = match items.len() {
        0 => return Some("no constraints".to_owned()),
        1..=MOST_NAMED => items.iter().map(|item| constraint(&Fields::read(item))).collect(),
        _ => None,
    };
    Some(match said {
        Some(said) => list(&said, said.len(), joint, MOST_NAMED),
        None => super::words::count(items.len() as u64, "constraint"),
    })
}
