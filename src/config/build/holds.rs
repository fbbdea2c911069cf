//! Conditions that no record can ever fulfil.

use crate::event::{EntityKind, Namespace, RecordKind};
use crate::routing::{Conditions, Environments, EventPattern, Pattern};

/// Why conditions can never hold; `None` where they can, as far as can be told.
pub(super) fn never(
    conditions: &Conditions,
    environments: &Environments,
    sources_fix_environment: bool,
) -> Option<String> {
    let asks_of_events = !conditions.events.is_empty()
        || !conditions.types.is_empty()
        || !conditions.actions.is_empty()
        || !conditions.statuses.is_empty();
    let takes_events = conditions.record.is_empty() || conditions.record.contains(&RecordKind::Event);
    if !takes_events && asks_of_events && !conditions.unknown_matches {
        return Some(
            "`record` leaves out events, and only events have a type, an action and a status".into(),
        );
    }
    if !takes_events {
        return None;
    }
    let nouns: Vec<&str> = EntityKind::ALL
        .map(EntityKind::as_str)
        .into_iter()
        .filter(|noun| takes(&conditions.types, noun))
        .collect();
    let fits = |event: &EventPattern| {
        (event.noun == "*" || nouns.contains(&event.noun.as_str()))
            && (event.verb == "*" || takes(&conditions.actions, &event.verb))
    };
    if !conditions.events.is_empty() && !conditions.events.iter().any(fits) {
        return Some("no item of `events` fits `types` and `actions`".into());
    }
    let only_tokens = !nouns.is_empty() && nouns.iter().all(|noun| *noun == "token")
        || !conditions.events.is_empty() && conditions.events.iter().all(|event| event.noun == "token");
    if only_tokens && !conditions.namespaces.is_empty() {
        return Some("tokens have no namespace".into());
    }
    if conditions.unknown_matches {
        return None;
    }
    let only_denied = !conditions.statuses.is_empty() && !takes(&conditions.statuses, "success");
    if only_denied && !conditions.namespaces.is_empty() && !asks_unknown(&conditions.namespaces) {
        return Some("a denied event does not tell its namespace (add `unknown` to `namespaces`)".into());
    }
    let environment_needs_namespace = !conditions.environments.is_empty()
        && !asks_unknown(&conditions.environments)
        && !sources_fix_environment;
    if only_denied && environment_needs_namespace {
        return Some("a denied event does not tell its namespace, nor so its environment (add `unknown` to `environments`)".into());
    }
    if only_tokens && environment_needs_namespace {
        return Some(
            "tokens have no namespace, nor so an environment (add `unknown` to `environments`)".into(),
        );
    }
    let literal = |pattern: &Pattern| !pattern.as_str().contains('*') && pattern.as_str() != "unknown";
    if environment_needs_namespace
        && !conditions.namespaces.is_empty()
        && conditions.namespaces.iter().all(literal)
        && !conditions.namespaces.iter().any(|namespace| {
            let namespace = Namespace::Known(namespace.as_str().to_owned());
            environments.of(&namespace).is_some_and(|name| takes(&conditions.environments, name))
        })
    {
        return Some("none of `namespaces` belongs to any of `environments`".into());
    }
    None
}

/// Whether an empty list, or one of its patterns, takes the word.
fn takes(patterns: &[Pattern], word: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(word))
}

fn asks_unknown(patterns: &[Pattern]) -> bool {
    patterns.iter().any(|pattern| pattern.as_str() == "unknown")
}
