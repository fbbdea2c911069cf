//! The same decisions, found the slow way.
use proptest::prelude::*;

use super::super::arbitrary::{Owned, conditions, facts};
use super::super::{Conditions, Facts, Pattern, Route, RouteDecision};
use crate::event::{EntityKind, Namespace, RecordKind};
use crate::flipt::{ActorKind, ChangeKind};

/// What a condition sees: nothing known, or all the words that it could be called by (perhaps none).
type Sight = Option<Vec<String>>;

fn glob(pattern: &str, text: &str) -> bool {
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = &pattern[1..];
            glob(rest, text) || text.chars().next().is_some_and(|c| glob(pattern, &text[c.len_utf8()..]))
        }
        Some(c) => text.starts_with(c) && glob(&pattern[c.len_utf8()..], &text[c.len_utf8()..]),
    }
}

fn one(word: impl Into<String>) -> Sight {
    Some(vec![word.into()])
}

/// Every condition by its key, in the order in which they are told, with what it asks for and what it sees.
fn all(conditions: &Conditions, seen: &Owned) -> Vec<(&'static str, Vec<String>, Sight)> {
    let words = |patterns: &[Pattern]| patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect();
    let event = |part: usize| {
        let (kind, verb, status) = seen.event?;
        one([kind.as_str(), verb, status][part])
    };
    let namespace = match (&seen.namespace, seen.record) {
        (Namespace::Known(key), _) => one(key),
        (Namespace::None, RecordKind::Event) => Some(vec![]),
        _ => None,
    };
    let key = seen.owner.as_ref().map(|(kind, key)| match kind {
        EntityKind::Flag | EntityKind::Segment => vec![key.clone()],
        _ => vec![],
    });
    let teams = seen.owner.as_ref().map(|(kind, key)| {
        let namespace = seen.namespace.known().unwrap_or("");
        let mut teams = vec![];
        // See the table of owners in `arbitrary`.
        if *kind == EntityKind::Flag && key == "checkout" && namespace == "prod" {
            teams.push("payments".to_owned());
        }
        if *kind == EntityKind::Flag || *kind == EntityKind::Segment && key == "beta" {
            teams.push("growth".to_owned());
        }
        if *kind != EntityKind::Token && namespace == "dev" {
            teams.push("payments".to_owned());
        }
        teams
    });
    let change = seen.change.as_ref();
    let live = change.and_then(|change| change.live).and_then(|live| one(live.to_string()));
    let is_deletion = seen.event.is_some_and(|(_, verb, _)| verb == "deleted");
    let is_other = |owner: &(EntityKind, String)| {
        owner.0 == EntityKind::Token || owner.0 == EntityKind::Namespace && !is_deletion
    };
    let concerns_none = seen.record != RecordKind::Event || seen.owner.as_ref().is_some_and(is_other);
    let live = live.or_else(|| concerns_none.then(Vec::new));
    let kind = change.and_then(|change| change.kind).and_then(|kind| match kind {
        ChangeKind::Behaviour => one("behaviour"),
        ChangeKind::Text => one("text"),
        ChangeKind::Access => one("access"),
    });
    let actor_kind = change.and_then(|change| match change.actor_kind {
        ActorKind::Person => one("person"),
        ActorKind::Token => one("token"),
        ActorKind::Automation => one("automation"),
        ActorKind::Unknown => None,
    });
    let actors = change.map(|change| change.actors.clone()).filter(|actors| !actors.is_empty());
    vec![
        (
            "record",
            conditions.record.iter().map(|kind| kind.as_str().to_owned()).collect(),
            one(seen.record.as_str()),
        ),
        (
            "events",
            conditions.events.iter().map(ToString::to_string).collect(),
            seen.event.and_then(|(kind, verb, _)| one(format!("{}:{verb}", kind.as_str()))),
        ),
        ("types", words(&conditions.types), event(0)),
        ("actions", words(&conditions.actions), event(1)),
        ("statuses", words(&conditions.statuses), event(2)),
        ("environments", words(&conditions.environments), seen.environment.and_then(one)),
        ("namespaces", words(&conditions.namespaces), namespace),
        ("keys", words(&conditions.keys), key),
        ("teams", words(&conditions.teams), teams),
        ("actors", words(&conditions.actors), actors),
        ("sources", words(&conditions.sources), one(seen.source)),
        ("changed", words(&conditions.changed), change.and_then(|change| change.changed.clone())),
        ("live", conditions.live.map(|live| live.to_string()).into_iter().collect(), live),
        ("kind", words(&conditions.kind), kind),
        ("actor_kind", words(&conditions.actor_kind), actor_kind),
    ]
}

/// The first condition that does not hold, and whether it saw anything.
fn first_failure(conditions: &Conditions, seen: &Owned) -> Option<(&'static str, bool)> {
    for (name, wants, sight) in all(conditions, seen) {
        let fits = |want: &String, word: &String| match name {
            "actors" if word.contains('@') => glob(&want.to_lowercase(), &word.to_lowercase()),
            _ => glob(want, word),
        };
        let holds = match &sight {
            _ if wants.is_empty() => true,
            None => conditions.unknown_matches || wants.iter().any(|want| want == "unknown"),
            Some(words) => wants.iter().any(|want| words.iter().any(|word| fits(want, word))),
        };
        if !holds {
            return Some((name, sight.is_some()));
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_failure_is_the_first_condition_that_does_not_hold(conditions in conditions(), seen in facts()) {
        let failure = conditions.failure(&seen.facts());
        let expected = first_failure(&conditions, &seen);
        prop_assert_eq!(failure.as_ref().map(|failed| (failed.condition, failed.saw.is_some())), expected);
        prop_assert_eq!(conditions.hold(&seen.facts()), expected.is_none());
    }

    #[test]
    fn a_route_says_what_it_does(when in conditions(), unless in proptest::option::of(conditions()), seen in facts()) {
        let route = Route { name: "r".into(), when, unless, to: vec!["d".into()] };
        let facts: Facts<'_> = seen.facts();
        let decision = route.decision(&facts);
        prop_assert_eq!(decision == RouteDecision::Takes, route.takes(&facts));
        let leaves_kind = route.when.record.is_empty() && seen.record != RecordKind::Event;
        let expected = match (first_failure(&route.when, &seen), &route.unless) {
            _ if leaves_kind => "record",
            (Some((name, _)), _) => name,
            (None, Some(unless)) if first_failure(unless, &seen).is_none() => "unless",
            (None, _) => "takes",
        };
        let told = match &decision {
            RouteDecision::Takes => "takes",
            RouteDecision::Unless => "unless",
            RouteDecision::When(failed) => failed.condition,
        };
        prop_assert_eq!(told, expected);
    }

    #[test]
    fn what_nobody_asks_for_decides_nothing(conditions in conditions(), seen in facts()) {
        let mut poorer = seen.clone();
        // Of a namespace, what was done decides whether it concerns flags.
        if !conditions.asks_event_words() && conditions.live.is_none() && seen.record == RecordKind::Event {
            poorer.event = None;
        }
        if !conditions.asks_event() {
            poorer.change = None;
        }
        prop_assert_eq!(conditions.hold(&poorer.facts()), conditions.hold(&seen.facts()));
    }

    #[test]
    fn patterns_match_as_the_slow_way(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
        prop_assert_eq!(Pattern::new(pattern.as_str()).matches(&text), glob(&pattern, &text));
    }
}
