//! What a change of an entity means, in words.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::phrase::{Effect, Phrase, Weight};
use super::states::{self, Rollout, rule_segments};
use super::units::{Net, Unit, Units};
use super::words::{field, list, name, ordinal, row_text, short_quote, switch};
use crate::event::{EntityKind, RawText};
use crate::flipt::{Difference, Fields, text};

/// More values of an attachment are counted, not told.
const MOST_VALUES: usize = 2;

/// What became of one entity; distributions are told by their rules, see [`super::splits`].
pub(super) fn effects(unit: &Unit<'_>, units: &Units<'_>) -> Vec<Effect> {
    let mut effects = match unit.kind {
        EntityKind::Flag => flag(unit),
        EntityKind::Rollout => rollout(unit),
        EntityKind::Rule => rule(unit, units),
        EntityKind::Variant => variant(unit),
        EntityKind::Segment => segment(unit),
        EntityKind::Constraint => constraint(unit),
        EntityKind::Namespace => namespace(unit),
        EntityKind::Token | EntityKind::Distribution => Vec::new(),
    };
    if matches!(unit.net(), Net::Changed | Net::Back) {
        effects.extend(others(unit));
    }
    if unit.net() == Net::Changed && effects.is_empty() && unit.kind != EntityKind::Distribution {
        effects.push(unworded(unit));
    }
    effects
}

/// What differs without its words being others: ids that are only counted, shapes that no known Flipt sends.
fn unworded(unit: &Unit<'_>) -> Effect {
    let fields: Vec<String> = unit.differences().fields.iter().map(|name| field(name)).collect();
    let near = Phrase::words(format!("{} changed", list(&fields, fields.len(), "and", 3)));
    let far = near.after(&prefix(unit));
    Effect::new(Weight::Other, &capital(&thing(unit)), near, far)
}

/// `variant on `: what precedes a field of a part.
fn prefix(unit: &Unit<'_>) -> String {
    match thing(unit) {
        thing if thing.is_empty() => thing,
        thing => thing + " ",
    }
}

/// `variant on`, `rule for segment beta`: what a story calls a part of a flag. Empty for what has the name of
/// the story itself.
pub(super) fn thing(unit: &Unit<'_>) -> String {
    let state = unit.any();
    match unit.kind {
        EntityKind::Rollout => "rollout".to_owned(),
        EntityKind::Rule => match rule_segments(told_rule(unit)) {
            Some(segments) => format!("rule for {segments}"),
            None => "rule".to_owned(),
        },
        EntityKind::Variant => match state.text("key") {
            Some(key) => format!("variant {}", name(&key)),
            None => "variant".to_owned(),
        },
        EntityKind::Constraint => "constraint".to_owned(),
        EntityKind::Distribution => "split".to_owned(),
        _ => String::new(),
    }
}

/// A rule by the segments that it had, where they are known.
fn told_rule<'u, 'a>(unit: &'u Unit<'a>) -> &'u Fields<'a> {
    let before = unit.before().filter(|before| before.text("segment_key").is_some());
    before.unwrap_or_else(|| unit.any())
}

fn flag(unit: &Unit<'_>) -> Vec<Effect> {
    let enabled = |state: Option<&Fields<'_>>| state.map(|state| state.truth("enabled").unwrap_or(false));
    let (old, new) = (enabled(unit.before()), enabled(unit.after()));
    let row = |is_on: Option<bool>| is_on.map(|is_on| if is_on { "on" } else { "off" }.to_owned());
    let switched = |phrase: Phrase| {
        vec![Effect::new(Weight::Switch, "Enabled", phrase.clone(), phrase).with_row(row(old), row(new))]
    };
    let moved = unit.moved.iter().any(|field| field == "enabled");
    match (unit.net(), old, new) {
        // One that does not say so is not said to be OFF.
        (Net::Created | Net::Set, ..) if unit.any().raw("enabled").is_none() => Vec::new(),
        (Net::Created, _, Some(new)) => switched(Phrase::value("it is ", switch(new), "")),
        (Net::Set, _, Some(new)) => {
            let default = unit.any().text("default_variant");
            let tail = default.map(|key| format!(", default variant {}", name(&key))).unwrap_or_default();
            switched(Phrase::value("now ", switch(new), &tail))
        }
        (Net::Deleted, Some(old), _) => switched(Phrase::words(format!("was {}", switch(old)))),
        (Net::Changed | Net::Back, Some(old), Some(new)) if old != new => {
            switched(Phrase::arrow("", switch(old), switch(new), ""))
        }
        (Net::Changed | Net::Back, Some(old), Some(_)) if moved => {
            let there = format!("the flag turned {} and back {}", switch(!old), switch(old));
            let again = row(Some(old)).map(|old| format!("{old} again"));
            let effects = switched(Phrase::words(there)).into_iter();
            effects.map(|effect| effect.with_row(row(Some(old)), again.clone())).collect()
        }
        _ => Vec::new(),
    }
}

fn rollout(unit: &Unit<'_>) -> Vec<Effect> {
    let read = |state: Option<&Fields<'_>>| state.and_then(Rollout::read);
    let effect = |near: Phrase, far: Phrase| Effect::new(Weight::Share, "Rollout", near, far);
    let mut effects = Vec::new();
    match (unit.net(), read(unit.before()), read(unit.after())) {
        (Net::Created, _, Some(new)) => {
            let phrase = Phrase::value("", new.said(), "");
            effects.push(effect(phrase.clone(), phrase.after("new rollout ")));
        }
        (Net::Set, _, Some(new)) => {
            let phrase = Phrase::value("now ", new.said(), "");
            effects.push(effect(phrase.clone(), phrase.after("rollout ")));
        }
        (Net::Deleted, Some(old), _) => {
            let far = Phrase::words(format!("rollout deleted: {}", old.was()));
            effects.push(effect(Phrase::words(old.was()), far).with_row(Some(old.said()), None));
        }
        (Net::Deleted, None, _) => {
            let far = Phrase::words("a rollout deleted");
            effects.push(effect(Phrase::default(), far));
        }
        (Net::Changed, Some(old), Some(new)) if old != new => {
            let (was, was_rest) = old.words();
            let (is, rest) = new.words();
            let phrase = match was_rest == rest {
                true => Phrase::arrow("", was, is, &rest),
                false => Phrase::arrow("", old.said(), new.said(), ""),
            };
            effects.push(effect(phrase.clone(), phrase.after("rollout ")));
        }
        _ => {}
    }
    effects.extend(place(unit));
    effects
}

/// `moved from 2nd to 1st place`.
fn place(unit: &Unit<'_>) -> Option<Effect> {
    if unit.net() != Net::Changed {
        return None;
    }
    let rank = |state: Option<&Fields<'_>>| state.and_then(|state| state.number("rank"));
    let (old, new) = (rank(unit.before())?, rank(unit.after())?);
    let place = |rank: f64| (1.0..1e9).contains(&rank).then_some(rank as u64);
    let (old, new) = (place(old)?, place(new)?);
    (old != new).then(|| {
        let near = Phrase::words(format!("moved from {} to {} place", ordinal(old), ordinal(new)));
        let far = near.after(&format!("{} ", thing(unit)));
        Effect::new(Weight::Targeting, "Place", near, far).with_row(Some(ordinal(old)), Some(ordinal(new)))
    })
}

fn rule(unit: &Unit<'_>, units: &Units<'_>) -> Vec<Effect> {
    let read = |state: Option<&Fields<'_>>| state.and_then(rule_segments);
    let (old, new) = (read(unit.before()), read(unit.after()));
    let split = states::split(unit.any(), &units.variants);
    let effect = |near: Phrase, far: Phrase| Effect::new(Weight::Targeting, "Rule", near, far);
    let mut effects = Vec::new();
    match unit.net() {
        Net::Created => {
            let near = split.map(|split| Phrase::value("split: ", split, "")).unwrap_or_default();
            let far = Phrase::words(format!("new {}", thing(unit)));
            effects.push(effect(near, far).with_row(None, new));
        }
        Net::Set => {
            let near = split.map(|split| Phrase::value("now split: ", split, "")).unwrap_or_default();
            let far = match near.new.is_some() {
                true => near.after(&format!("{} ", thing(unit))),
                false => Phrase::words(format!("{} saved", thing(unit))),
            };
            effects.push(effect(near, far).with_row(None, new));
        }
        Net::Deleted => {
            let near = split.map(|split| Phrase::words(format!("split was {split}"))).unwrap_or_default();
            let far = Phrase::words(format!("{} deleted", thing(unit)));
            effects.push(effect(near, far).with_row(old, None));
        }
        Net::Changed => {
            if let (Some(old), Some(new)) = (&old, &new)
                && old != new
            {
                let phrase = Phrase::arrow("", old.as_str(), new.as_str(), "");
                effects.push(effect(phrase.clone(), phrase.after("rule for ")));
            }
            effects.extend(place(unit));
        }
        _ => {}
    }
    effects
}

fn variant(unit: &Unit<'_>) -> Vec<Effect> {
    let has_attachment = unit.any().text("attachment").is_some();
    let effect = |near: &str, far: String| {
        let key = unit.any().text("key").map(|key| name(&key).into_owned());
        let (old, new) = if unit.is.is_some() { (None, key) } else { (key, None) };
        vec![
            Effect::new(Weight::Other, "Variant", Phrase::words(near), Phrase::words(far)).with_row(old, new),
        ]
    };
    match unit.net() {
        Net::Created if has_attachment => effect("with an attachment", format!("new {}", thing(unit))),
        Net::Created => effect("", format!("new {}", thing(unit))),
        Net::Deleted => effect("", format!("{} deleted", thing(unit))),
        Net::Set => effect("", format!("{} saved", thing(unit))),
        Net::Changed => attachment(unit).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// `attachment color red → blue`, where it is short.
fn attachment(unit: &Unit<'_>) -> Option<Effect> {
    let differences = unit.differences();
    let inside: Vec<&Difference> =
        differences.list.iter().filter(|told| is_below(&told.pointer, "attachment")).collect();
    if inside.is_empty() {
        return None;
    }
    let short = |told: &&Difference| {
        let path = told
            .pointer
            .strip_prefix("/attachment/")?
            .replace('/', ".")
            .replace("~1", "/")
            .replace("~0", "~");
        let side =
            |side: &Option<RawText>| side.as_ref().map_or_else(|| Some("nothing".to_owned()), short_value);
        let path = super::words::without_ids(&name(&path));
        Some(format!("{path} {} → {}", side(&told.old)?, side(&told.new)?))
    };
    let told: Option<Vec<String>> = inside.iter().map(short).collect();
    let changed = || format!("attachment changed in {}", super::words::count(inside.len() as u64, "place"));
    let words = match (told, inside.as_slice()) {
        (_, [whole]) if whole.pointer == "/attachment" => "attachment changed".to_owned(),
        (_, _) if differences.more => "attachment changed in many places".to_owned(),
        (Some(told), few) if few.len() <= MOST_VALUES => format!("attachment {}", told.join(", ")),
        _ => changed(),
    };
    let label = format!("Attachment of {}", thing(unit));
    let far = Phrase::words(format!("{} {words}", thing(unit)));
    let read = |state: Option<&Fields<'_>>| state?.text("attachment").map(|text| row_text(&text));
    let rows = (read(unit.before()), read(unit.after()));
    let states = [unit.before(), unit.after()].into_iter().flatten();
    let is_raw = states.filter_map(|state| state.text("attachment")).any(|text| is_container(&text));
    let effect = Effect::new(Weight::Other, &label, Phrase::words(words), far);
    Some(effect.with_row(rows.0, rows.1).with_raw(is_raw))
}

fn is_below(pointer: &str, field: &str) -> bool {
    pointer
        .strip_prefix('/')
        .and_then(|rest| rest.strip_prefix(field))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn segment(unit: &Unit<'_>) -> Vec<Effect> {
    let said = states::constraints(unit.any());
    let effect = |near: Phrase| Effect::new(Weight::Targeting, "Constraints", near.clone(), near);
    match (unit.net(), said) {
        (Net::Created, Some(said)) if said != "no constraints" => {
            vec![effect(Phrase::value("with ", said, ""))]
        }
        (Net::Set, Some(said)) => vec![effect(Phrase::value("now with ", said, ""))],
        (Net::Deleted, Some(said)) => {
            vec![effect(Phrase::words(format!("it had {said}"))).with_row(Some(said), None)]
        }
        (Net::Changed, _) => matching(unit).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Whether all constraints of a segment must hold, or one is enough.
fn matching(unit: &Unit<'_>) -> Option<Effect> {
    let read = |state: Option<&Fields<'_>>| match state?.text("match_type").as_deref() {
        Some("ALL_MATCH_TYPE") => Some("all"),
        Some("ANY_MATCH_TYPE") => Some("any"),
        _ => None,
    };
    let (old, new) = (read(unit.before())?, read(unit.after())?);
    let phrase = Phrase::arrow("must match ", old, new, " of its constraints");
    (old != new).then(|| {
        let effect = Effect::new(Weight::Targeting, "Must match", phrase.clone(), phrase);
        effect.with_row(Some(format!("{old} constraints")), Some(format!("{new} of the constraints")))
    })
}

fn constraint(unit: &Unit<'_>) -> Vec<Effect> {
    let read = |state: Option<&Fields<'_>>| state.and_then(states::constraint);
    let (old, new) = (read(unit.before()), read(unit.after()));
    let a_constraint = || "a constraint".to_owned();
    let phrase = match unit.net() {
        Net::Created => Phrase::value("new constraint ", new.clone().unwrap_or_default(), ""),
        Net::Set => Phrase::value("now ", new.clone().unwrap_or_else(a_constraint), ""),
        Net::Deleted => Phrase::words(match &old {
            Some(old) => format!("no longer {old}"),
            None => "a constraint was removed".to_owned(),
        }),
        Net::Changed if old != new => Phrase::arrow(
            "",
            old.clone().unwrap_or_else(a_constraint),
            new.clone().unwrap_or_else(a_constraint),
            "",
        ),
        _ => return Vec::new(),
    };
    let effect = Effect::new(Weight::Targeting, "Constraint", phrase.clone(), phrase);
    vec![effect.with_row(old, new)]
}

fn namespace(unit: &Unit<'_>) -> Vec<Effect> {
    let is_protected = unit.any().truth("protected") == Some(true);
    let phrase = match unit.net() {
        Net::Created if is_protected => Phrase::words("it is protected"),
        Net::Set if is_protected => Phrase::words("now protected"),
        _ => return Vec::new(),
    };
    vec![
        Effect::new(Weight::Other, "Protected", phrase.clone(), phrase)
            .with_row(None, Some("yes".to_owned())),
    ]
}

/// Fields that need no words of their own.
fn others(unit: &Unit<'_>) -> Vec<Effect> {
    let differences = unit.differences();
    let is_told = |field: &str| match unit.kind {
        EntityKind::Flag => field == "enabled",
        EntityKind::Rollout => matches!(field, "threshold" | "segment" | "rank"),
        EntityKind::Rule => matches!(field, "segment_key" | "segment_operator" | "rank"),
        EntityKind::Variant => field == "attachment",
        EntityKind::Segment => field == "match_type",
        EntityKind::Constraint => matches!(field, "property" | "operator" | "value" | "type"),
        EntityKind::Distribution => field == "rollout",
        EntityKind::Namespace | EntityKind::Token => false,
    };
    let prefix = prefix(unit);
    let fields = differences.fields.iter().filter(|field| !is_told(field));
    let mut effects: Vec<Effect> = fields
        .map(|field| {
            let told: Vec<_> =
                differences.list.iter().filter(|told| is_below(&told.pointer, field)).collect();
            other(field, &told, &prefix)
        })
        .collect();
    let mut back: Vec<&String> = unit.moved.iter().collect();
    back.sort();
    back.dedup();
    let back = back.into_iter().filter(|field| !differences.fields.contains(field));
    let back = back.filter(|name| unit.kind != EntityKind::Flag || *name != "enabled");
    effects.extend(back.map(|name| {
        let near = Phrase::words(format!("{} changed and changed back", field(name)));
        let far = near.after(&prefix);
        Effect::new(Weight::Text, &capital(&field(name)), near, far)
    }));
    effects
}

fn other(field_name: &str, told: &[&Difference], prefix: &str) -> Effect {
    let words = field(field_name);
    let weight = match field_name {
        "name" => Weight::Name,
        "description" => Weight::Text,
        _ => Weight::Other,
    };
    let changed = Phrase::words(format!("{words} changed"));
    let near = match told {
        [told] if told.pointer.matches('/').count() == 1 => {
            let value = |value: &Option<RawText>| match value {
                Some(value) if weight != Weight::Other => match text(&value.0) {
                    Some(said) if said.is_empty() => Some("none".to_owned()),
                    Some(said) => short_quote(&said),
                    None => short_value(value),
                },
                Some(value) => short_value(value),
                None => Some("none".to_owned()),
            };
            match (value(&told.old), value(&told.new)) {
                (Some(old), Some(new)) => Phrase::arrow(&format!("{words} "), old, new, ""),
                _ => changed,
            }
        }
        _ => changed,
    };
    let row = |value: &Option<RawText>| value.as_ref().and_then(row_value);
    let rows = match told {
        [told] => (row(&told.old), row(&told.new)),
        _ => (None, None),
    };
    let far = near.after(prefix);
    let sides = told.iter().flat_map(|told| told.old.iter().chain(&told.new));
    let is_raw = sides.into_iter().any(|side| is_container(side.0.get()));
    let effect = Effect::new(weight, &capital(&format!("{prefix}{words}")), near, far);
    effect.with_row(rows.0, rows.1).with_raw(is_raw)
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// A value that is short enough for a line: `“old”`, `12.5`, `true`. Keys go without quotes.
fn short_value(value: &RawText) -> Option<String> {
    let raw: &RawValue = &value.0;
    match text(raw) {
        Some(said) if said.is_empty() => Some("none".to_owned()),
        Some(said) => {
            let is_word = said.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
            let quoted = short_quote(&said)?;
            Some(if is_word { quoted.trim_matches(['“', '”']).to_owned() } else { quoted })
        }
        None if is_container(raw.get()) => None,
        None => Some(name(raw.get()).into_owned()),
    }
}

/// Whether JSON is an object or a list.
fn is_container(json: &str) -> bool {
    json.trim_start().starts_with(['{', '['])
}

fn row_value(value: &RawText) -> Option<String> {
    let raw: &RawValue = &value.0;
    let said = text(raw).unwrap_or(Cow::Borrowed(raw.get()));
    (!said.is_empty()).then(|| row_text(&said))
}
