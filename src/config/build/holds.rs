//! Conditions that no record can ever fulfil.

use crate::event::{EntityKind, Namespace, RecordKind};
use crate::routing::{Conditions, Environments, EventPattern, Pattern, UNKNOWN};

/// The fields of each type whose change Flipt's events can show: those of its payloads that do not say which one
/// it is (`internal/server/audit/types.go` of Flipt).
const FIELDS: [(EntityKind, &[&str]); 9] = [
    (EntityKind::Constraint, &["operator", "property", "type", "value"]),
    (EntityKind::Distribution, &["rollout", "rule_id", "variant_id"]),
    (EntityKind::Flag, &["default_variant", "description", "enabled", "name"]),
    (EntityKind::Namespace, &["description", "name", "protected"]),
    (EntityKind::Rollout, &["description", "rank", "segment", "threshold"]),
    (EntityKind::Rule, &["distributions", "rank", "segment_key", "segment_operator"]),
    (EntityKind::Segment, &["constraints", "description", "match_type", "name"]),
    (EntityKind::Token, &["io.flipt.auth.token.description", "io.flipt.auth.token.namespace"]),
    (EntityKind::Variant, &["attachment", "description", "key", "name"]),
];

/// The names that `changed` may have, whatever the type.
pub(super) fn field_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = FIELDS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Why conditions can never hold; `None` where they can, as far as can be told.
pub(super) fn never(
    conditions: &Conditions,
    environments: &Environments,
    sources_fix_environment: bool,
) -> Option<String> {
    let takes_events = conditions.record.is_empty() || conditions.record.contains(&RecordKind::Event);
    let takes_others = conditions.record.iter().any(|kind| *kind != RecordKind::Event);
    let of_others = takes_others.then(|| of_no_event(conditions));
    match of_others {
        Some(None) => return None,
        Some(why) if !takes_events => return why,
        _ => {}
    }
    let asked = Asked::new(conditions, sources_fix_environment);
    if !conditions.events.is_empty() && !asked.some_event_fits() {
        return Some("no item of `events` fits `types` and `actions`".into());
    }
    if let Some(why) = asked.of_what_has_none().or_else(|| asked.of_kinds()).or_else(|| asked.of_fields()) {
        return Some(why);
    }
    if conditions.unknown_matches {
        return None;
    }
    asked.of_what_is_not_told().or_else(|| asked.of_environments(environments))
}

/// Of a gap, or a line that could not be read, hardly anything is known.
fn of_no_event(conditions: &Conditions) -> Option<String> {
    if conditions.unknown_matches {
        return None;
    }
    if conditions.asks_event_words() {
        return Some(
            "`record` leaves out events, and only events have a type, an action and a status".into(),
        );
    }
    let facts = [
        ("namespaces", &conditions.namespaces),
        ("keys", &conditions.keys),
        ("teams", &conditions.teams),
        ("actors", &conditions.actors),
        ("changed", &conditions.changed),
        ("kind", &conditions.kind),
        ("actor_kind", &conditions.actor_kind),
    ];
    let fact = facts.iter().find(|(_, list)| asks_known(list)).map(|(name, _)| *name);
    let fact = fact.or_else(|| conditions.live.map(|_| "live"))?;
    Some(format!("`record` leaves out events, and of other records `{fact}` is not known"))
}

/// Conditions, and what events they leave.
struct Asked<'a> {
    conditions: &'a Conditions,
    /// The types that they take.
    kinds: Vec<EntityKind>,
    only_denied: bool,
    /// Whether environments come from namespaces alone.
    environment_needs_namespace: bool,
}

impl<'a> Asked<'a> {
    fn new(conditions: &'a Conditions, sources_fix_environment: bool) -> Self {
        let named = |kind: &EntityKind| {
            conditions.events.is_empty()
                || conditions.events.iter().any(|event| event.noun == "*" || event.noun == kind.as_str())
        };
        Self {
            conditions,
            kinds: EntityKind::ALL
                .into_iter()
                .filter(|kind| takes(&conditions.types, kind.as_str()) && named(kind))
                .collect(),
            only_denied: !conditions.statuses.is_empty() && !takes(&conditions.statuses, "success"),
            environment_needs_namespace: asks_known(&conditions.environments) && !sources_fix_environment,
        }
    }

    fn some_event_fits(&self) -> bool {
        let fits = |event: &EventPattern| {
            (event.noun == "*" || self.kinds.iter().any(|kind| kind.as_str() == event.noun))
                && (event.verb == "*" || takes(&self.conditions.actions, &event.verb))
        };
        self.conditions.events.iter().any(fits)
    }

    /// Whether all types that are left are among these.
    fn only(&self, kinds: &[EntityKind]) -> bool {
        !self.kinds.is_empty() && self.kinds.iter().all(|kind| kinds.contains(kind))
    }

    fn takes_denied(&self) -> bool {
        takes(&self.conditions.statuses, "denied")
    }

    /// A denied event belongs to nothing that it tells, so that `unknown` may still take it.
    fn unknown_takes(&self, list: &[Pattern]) -> bool {
        self.takes_denied() && (self.conditions.unknown_matches || takes_unknown(list))
    }

    /// What is not there fulfils nothing, not even `unknown`.
    fn of_what_has_none(&self) -> Option<String> {
        let asks = |list: &[Pattern]| !list.is_empty() && !self.unknown_takes(list);
        let Conditions { namespaces, keys, teams, .. } = self.conditions;
        if self.only(&[EntityKind::Token]) {
            let lists = [("namespace", namespaces), ("flag or segment", keys), ("team", teams)];
            let (what, _) = lists.into_iter().find(|(_, list)| asks(list))?;
            return Some(format!("tokens have no {what}"));
        }
        if self.only(&[EntityKind::Token, EntityKind::Namespace]) && asks(keys) {
            return Some("a namespace has no flag or segment".into());
        }
        None
    }

    /// Which kinds of change there are of which types.
    fn of_kinds(&self) -> Option<String> {
        let wants = |word: &str| takes(&self.conditions.kind, word) || takes_unknown(&self.conditions.kind);
        if self.conditions.kind.is_empty() {
            return None;
        }
        if self.only_denied && !wants("access") {
            return Some("a denied event is of kind `access`".into());
        }
        if self.only(&[EntityKind::Token]) && !wants("access") {
            return Some("what happens to tokens is of kind `access`".into());
        }
        let has_access = |kind: &EntityKind| matches!(kind, EntityKind::Token | EntityKind::Namespace);
        let only_access = !wants("behaviour") && !wants("text");
        if only_access && !self.takes_denied() && !self.kinds.iter().any(has_access) {
            return Some("only tokens, namespaces and denied events are of kind `access`".into());
        }
        let matches_unknown = self.conditions.unknown_matches;
        if only_access
            && !takes_unknown(&self.conditions.kind)
            && self.conditions.live.is_some()
            && !matches_unknown
        {
            return Some("`live` is not known of what is of kind `access`".into());
        }
        None
    }

    /// Whether a type that is left has a field that is asked for.
    fn of_fields(&self) -> Option<String> {
        let changed = &self.conditions.changed;
        let takes_unknown = self.conditions.unknown_matches || takes_unknown(changed);
        let has = |kind: &EntityKind| {
            let mut fields = FIELDS.iter().filter(|(of, _)| of == kind).flat_map(|(_, fields)| fields.iter());
            fields.any(|field| takes(changed, field))
        };
        let fits = changed.is_empty() || takes_unknown || self.kinds.iter().any(has);
        (!fits).then(|| "no type that is left has any field of `changed`".into())
    }

    /// What Flipt leaves out of some events.
    fn of_what_is_not_told(&self) -> Option<String> {
        let Conditions { namespaces, keys, teams, changed, live, .. } = self.conditions;
        let add = |key: &str| format!("(add `unknown` to `{key}`)");
        if self.only_denied {
            if asks_known(namespaces) {
                return Some(format!("a denied event does not tell its namespace {}", add("namespaces")));
            }
            for (key, what, list) in [
                ("keys", "flag or segment", keys),
                ("teams", "flag or segment, nor so its team", teams),
                ("changed", "change", changed),
            ] {
                if asks_known(list) {
                    return Some(format!("a denied event does not tell its {what} {}", add(key)));
                }
            }
            if live.is_some() {
                return Some("a denied event changes nothing, so `live` is not known".into());
            }
        }
        if self.only(&[EntityKind::Token, EntityKind::Namespace]) && live.is_some() {
            return Some("`live` is known of what belongs to flags and segments alone".into());
        }
        if self.only_denied && self.environment_needs_namespace {
            let add = add("environments");
            return Some(format!("a denied event does not tell its namespace, nor so its environment {add}"));
        }
        if self.only(&[EntityKind::Token]) && self.environment_needs_namespace {
            return Some(format!("tokens have no namespace, nor so an environment {}", add("environments")));
        }
        None
    }

    fn of_environments(&self, environments: &Environments) -> Option<String> {
        let Conditions { namespaces, environments: wanted, .. } = self.conditions;
        let literal = |pattern: &Pattern| !pattern.as_str().contains('*') && pattern.as_str() != UNKNOWN;
        let belongs = |namespace: &Pattern| {
            let namespace = Namespace::Known(namespace.as_str().to_owned());
            environments.of(&namespace).is_some_and(|name| takes(wanted, name))
        };
        let is_never = self.environment_needs_namespace
            && !namespaces.is_empty()
            && namespaces.iter().all(literal)
            && !namespaces.iter().any(belongs);
        is_never.then(|| "none of `namespaces` belongs to any of `environments`".into())
    }
}

/// Whether an empty list, or one of its patterns, takes the word.
fn takes(patterns: &[Pattern], word: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(word))
}

fn takes_unknown(patterns: &[Pattern]) -> bool {
    patterns.iter().any(|pattern| pattern.as_str() == UNKNOWN)
}

/// Whether a list asks for something, and not for what is not known.
fn asks_known(patterns: &[Pattern]) -> bool {
    !patterns.is_empty() && !takes_unknown(patterns)
}

#[cfg(test)]
mod tests;
