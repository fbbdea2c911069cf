//! Routes: names must exist, and conditions must be able to hold.

use std::collections::{BTreeMap, BTreeSet};

use super::{Judge, holds};
use crate::config::plan::DestinationPlan;
use crate::config::raw::Raw;
use crate::config::raw::route::{RecordWord, Route as RawRoute, UnknownWord, When};
use crate::config::scalars::Wildcard;
use crate::event::{EntityKind, RecordKind};
use crate::routing::{Conditions, Environments, EventPattern, Pattern, Route};

/// Flipt's verbs.
const VERBS: [&str; 3] = ["created", "updated", "deleted"];
/// Flipt's statuses.
const STATUSES: [&str; 2] = ["success", "denied"];
/// The word for what is not known.
const UNKNOWN: &str = "unknown";

pub(super) fn build(
    raw: &Raw,
    environments: &Environments,
    destinations: &BTreeMap<String, DestinationPlan>,
    judge: &mut Judge<'_>,
) -> Vec<Route> {
    let known = Known::new(raw, environments);
    let mut used = BTreeSet::new();
    let mut routes: Vec<Route> = Vec::new();
    for (name, written) in &raw.routes {
        let path = format!("routes.{name}");
        targets(&path, written, raw, destinations, judge);
        used.extend(written.to.0.iter().map(|target| target.0.as_str()));
        let mut judged = |key: &str, written: Option<&When>| {
            let written = written?;
            let path = format!("{path}.{key}");
            let before = judge.problems.len();
            if key == "unless" && is_empty(written) && !judge.context.origins.has_more_than(&path, "unknown")
            {
                judge.problem(&path, "no condition: this route would take nothing", None);
            }
            let conditions = conditions(&path, written, &known, judge);
            // Words that are wrong are told already; what they make of the whole is no news.
            if judge.problems.len() == before
                && let Some(why) = holds::never(&conditions, environments, known.sources_fix_environment)
            {
                judge.problem(&path, &format!("can never hold: {why}"), None);
            }
            Some(conditions)
        };
        let when = judged("when", written.when.as_ref());
        let unless = judged("unless", written.unless.as_ref());
        let to = written.to.0.iter().map(|target| target.0.clone()).collect();
        routes.push(Route { name: name.clone(), when: when.unwrap_or_default(), unless, to });
    }
    routes.sort_by_key(|route| judge.context.origins.position("routes", &route.name));
    for name in raw.destinations.keys().filter(|name| !used.contains(name.as_str())) {
        judge.warn(&format!("destinations.{name}"), "no route names this destination: nothing goes to it");
    }
    if raw.destinations.is_empty() {
        judge.warn("destinations", "no destination: events are kept, and go nowhere");
    }
    other_names(raw, judge);
    routes
}

/// The names that conditions may use.
struct Known<'a> {
    sources: Vec<&'a str>,
    environments: Vec<&'a str>,
    sources_fix_environment: bool,
}

impl<'a> Known<'a> {
    fn new(raw: &'a Raw, environments: &'a Environments) -> Self {
        use crate::config::raw::source::Source;
        let fixed: Vec<&str> = raw
            .sources
            .values()
            .filter_map(|source| match source {
                Source::File(source) => source.common.environment.as_ref(),
                Source::Http(source) => source.common.environment.as_ref(),
            })
            .map(|name| name.0.as_str())
            .collect();
        let mut names: Vec<&str> = environments.rules.iter().map(|rule| &*rule.name).collect();
        for name in environments.fallback.iter().map(|name| &**name).chain(fixed.iter().copied()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.push(UNKNOWN);
        Self {
            sources: raw.sources.keys().map(String::as_str).collect(),
            environments: names,
            sources_fix_environment: !fixed.is_empty(),
        }
    }
}

fn targets(
    path: &str,
    route: &RawRoute,
    raw: &Raw,
    destinations: &BTreeMap<String, DestinationPlan>,
    judge: &mut Judge<'_>,
) {
    let names: Vec<&str> = raw.destinations.keys().map(String::as_str).collect();
    for (index, target) in route.to.0.iter().enumerate() {
        let at = format!("{path}.to[{index}]");
        match destinations.get(&target.0) {
            // A destination that is written wrongly is told of where it stands.
            None if judge.is_written(&format!("destinations.{}", target.0)) => {}
            None => judge.unknown(&at, "there is no such destination", &target.0, &names),
            Some(plan) if plan.kind.is_err() => {
                judge.warn(&at, &format!("`{}` is not started: nothing goes to it by this route", target.0));
            }
            Some(_) => {}
        }
    }
}

/// Names of destinations outside of routes.
fn other_names(raw: &Raw, judge: &mut Judge<'_>) {
    let names: Vec<&str> = raw.destinations.keys().map(String::as_str).collect();
    let mut lists = vec![("problems.to".to_owned(), &raw.problems.to)];
    lists.extend(raw.tests.iter().enumerate().map(|(index, test)| (format!("tests[{index}].to"), &test.to)));
    for (path, list) in lists {
        for (index, name) in list.0.iter().enumerate().filter(|(_, name)| !names.contains(&name.0.as_str())) {
            if !judge.is_written(&format!("destinations.{}", name.0)) {
                judge.unknown(&format!("{path}[{index}]"), "there is no such destination", &name.0, &names);
            }
        }
    }
}

fn is_empty(when: &When) -> bool {
    let asks = !when.events.0.is_empty()
        || [&when.types, &when.actions, &when.statuses, &when.namespaces, &when.environments, &when.sources]
            .iter()
            .any(|list| !list.0.is_empty())
        || !when.record.0.is_empty()
        || asks_unknown_facts(when);
    !asks
}

fn asks_unknown_facts(when: &When) -> bool {
    [&when.keys, &when.teams, &when.actors, &when.changed, &when.kind].iter().any(|list| !list.0.is_empty())
        || !when.actor_kind.0.is_empty()
        || when.live.is_some()
}

fn conditions(path: &str, when: &When, known: &Known<'_>, judge: &mut Judge<'_>) -> Conditions {
    let nouns = EntityKind::ALL.map(EntityKind::as_str);
    for (index, event) in when.events.0.iter().enumerate() {
        let at = format!("{path}.events[{index}]");
        if event.0 != "*" && !nouns.contains(&event.0.as_str()) {
            judge.unknown(&at, "Flipt has no such noun", &event.0, &nouns);
        }
        if event.1 != "*" && !VERBS.contains(&event.1.as_str()) {
            judge.unknown(&at, "Flipt has no such verb", &event.1, &VERBS);
        }
    }
    let mut list = |key: &str, written: &[Wildcard], what: &str, names: Option<&[&str]>| {
        for (index, pattern) in written.iter().enumerate() {
            let Some(names) = names else { break };
            let fits = Pattern::new(pattern.0.clone());
            // A source that is written wrongly is told of where it stands.
            let misspelt = key == "sources" && judge.is_written(&format!("sources.{}", pattern.0));
            if !misspelt && !names.iter().any(|name| fits.matches(name)) {
                judge.unknown(&format!("{path}.{key}[{index}]"), what, &pattern.0, names);
            }
        }
        written.iter().map(|pattern| Pattern::new(pattern.0.clone())).collect()
    };
    Conditions {
        types: list("types", &when.types.0, "Flipt has no such type", Some(&nouns)),
        actions: list("actions", &when.actions.0, "Flipt has no such action", Some(&VERBS)),
        statuses: list("statuses", &when.statuses.0, "Flipt has no such status", Some(&STATUSES)),
        namespaces: list("namespaces", &when.namespaces.0, "", None),
        environments: list(
            "environments",
            &when.environments.0,
            "there is no such environment",
            Some(&known.environments),
        ),
        sources: list("sources", &when.sources.0, "there is no such source", Some(&known.sources)),
        events: when
            .events
            .0
            .iter()
            .map(|event| EventPattern { noun: event.0.clone(), verb: event.1.clone() })
            .collect(),
        record: when.record.0.iter().map(|word| record(*word)).collect(),
        asks_unknown_facts: asks_unknown_facts(when),
        unknown_matches: when.unknown == UnknownWord::Match,
    }
}

fn record(word: RecordWord) -> RecordKind {
    match word {
        RecordWord::Event => RecordKind::Event,
        RecordWord::Unparsed => RecordKind::Unparsed,
        RecordWord::Oversized => RecordKind::Oversized,
        RecordWord::Gap => RecordKind::Gap,
        RecordWord::Act => RecordKind::Act,
    }
}
