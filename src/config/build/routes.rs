//! Routes: names must exist, and conditions must be able to hold.

use std::collections::{BTreeMap, BTreeSet};

use super::{Judge, holds, relay};
use crate::config::plan::DestinationPlan;
use crate::config::raw::Raw;
use crate::config::raw::route::{ActorWord, KindWord, RecordWord, Route as RawRoute, UnknownWord, When};
use crate::config::scalars::Wildcard;
use crate::event::{EntityKind, RecordKind};
use crate::routing::{Conditions, Environments, EventPattern, Owners, Pattern, Route, UNKNOWN};

/// Flipt's verbs.
pub(super) const VERBS: [&str; 3] = ["created", "updated", "deleted"];
/// Flipt's statuses.
pub(super) const STATUSES: [&str; 2] = ["success", "denied"];

pub(super) fn build(
    raw: &Raw,
    environments: &Environments,
    owners: &Owners,
    destinations: &BTreeMap<String, DestinationPlan>,
    judge: &mut Judge<'_>,
) -> Vec<Route> {
    let known = Known::new(raw, environments, owners);
    let mut used = BTreeSet::new();
    let mut routes: Vec<Route> = Vec::new();
    for (name, written) in &raw.routes {
        let path = format!("routes.{name}");
        targets(&path, written, raw, destinations, judge);
        used.extend(written.to.0.iter().map(|target| target.0.as_str()));
        let mut judged = |key: &str, written: Option<&When>, records: &[RecordKind]| {
            let written = written?;
            let path = format!("{path}.{key}");
            let before = judge.problems.len();
            if key == "unless" && is_empty(written) && !judge.context.origins.has_more_than(&path, "unknown")
            {
                judge.problem(&path, "no condition: this route would take nothing", None);
            }
            let conditions = conditions(&path, written, &known, judge);
            // Words that are wrong are told already; what they make of the whole is no news.
            let mut asked = conditions.clone();
            if asked.record.is_empty() {
                asked.record = records.to_vec();
            }
            if judge.problems.len() == before
                && let Some(why) = holds::never(&asked, environments, known.sources_fix_environment)
            {
                judge.problem(&path, &format!("can never hold: {why}"), None);
            }
            Some(conditions)
        };
        let when = judged("when", written.when.as_ref(), &[]).unwrap_or_default();
        // It is asked only of records of the kinds that `when` takes.
        let unless = judged("unless", written.unless.as_ref(), &when.record);
        let to = written.to.0.iter().map(|target| target.0.clone()).collect();
        routes.push(Route { name: name.clone(), when, unless, to });
    }
    routes.sort_by_key(|route| judge.context.origins.position("routes", &route.name));
    routes.extend(relay::further_routes(raw, &used));
    let tells = |name: &str| raw.problems.to.0.iter().any(|other| other.0 == name);
    for name in raw.destinations.keys().filter(|name| !used.contains(name.as_str()) && !tells(name)) {
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
    teams: Vec<&'a str>,
    fields: Vec<&'a str>,
    sources_fix_environment: bool,
}

impl<'a> Known<'a> {
    fn new(raw: &'a Raw, environments: &'a Environments, owners: &'a Owners) -> Self {
        let fixed: Vec<&str> = raw
            .sources
            .values()
            .filter_map(|source| source.common().environment.as_ref())
            .map(|name| name.0.as_str())
            .collect();
        let mut names: Vec<&str> = environments.rules.iter().map(|rule| &*rule.name).collect();
        for name in environments.fallback.iter().map(|name| &**name).chain(fixed.iter().copied()) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names.push(UNKNOWN);
        let mut teams: Vec<&str> = owners.0.iter().map(|owner| &*owner.team).collect();
        teams.sort_unstable();
        teams.dedup();
        teams.push(UNKNOWN);
        Self {
            teams,
            fields: holds::field_names().into_iter().chain([UNKNOWN]).collect(),
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
    for (index, test) in raw.tests.iter().enumerate() {
        lists.push((format!("tests[{index}].to"), &test.to));
        lists.push((format!("tests[{index}].not_to"), &test.not_to));
    }
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
        || [&when.keys, &when.teams, &when.actors, &when.changed].iter().any(|list| !list.0.is_empty())
        || !when.kind.0.is_empty()
        || !when.actor_kind.0.is_empty()
        || when.live.is_some();
    !asks
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
        keys: list("keys", &when.keys.0, "", None),
        teams: list("teams", &when.teams.0, "no entry of `owners` names this team", Some(&known.teams)),
        actors: list("actors", &when.actors.0, "", None),
        changed: list("changed", &when.changed.0, "no event shows such a field", Some(&known.fields)),
        live: when.live,
        kind: when.kind.0.iter().map(|word| Pattern::new(kind_word(*word))).collect(),
        actor_kind: when.actor_kind.0.iter().map(|word| Pattern::new(actor_word(*word))).collect(),
        unknown_matches: when.unknown == UnknownWord::Match,
    }
}

fn kind_word(word: KindWord) -> &'static str {
    match word {
        KindWord::Behaviour => "behaviour",
        KindWord::Text => "text",
        KindWord::Access => "access",
        KindWord::Unknown => UNKNOWN,
    }
}

fn actor_word(word: ActorWord) -> &'static str {
    match word {
        ActorWord::Person => "person",
        ActorWord::Token => "token",
        ActorWord::Automation => "automation",
        ActorWord::Unknown => UNKNOWN,
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
