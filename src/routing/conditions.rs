//! The conditions of `when` and `unless`: lists are alternatives, keys hold together.

use super::{EventFacts, EventPattern, Facts, Failed, Pattern};
use crate::event::{EntityKind, Namespace, RecordKind};
use crate::flipt::{ActorKind, ChangeKind};

/// Conditions that must hold together; an empty list asks for nothing.
///
/// What is not known fulfils no condition but the word `unknown` in its list, unless [`Self::unknown_matches`].
/// What is known not to be there (the namespace of a token) fulfils none at all.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conditions {
    /// Kinds of record.
    pub record: Vec<RecordKind>,
    /// Pairs of noun and verb.
    pub events: Vec<EventPattern>,
    /// Nouns.
    pub types: Vec<Pattern>,
    /// Verbs.
    pub actions: Vec<Pattern>,
    /// `success`, `denied`.
    pub statuses: Vec<Pattern>,
    /// Environments.
    pub environments: Vec<Pattern>,
    /// Namespace keys.
    pub namespaces: Vec<Pattern>,
    /// Keys of the flag or segment that it is, or belongs to.
    pub keys: Vec<Pattern>,
    /// Teams that own that flag, segment or namespace.
    pub teams: Vec<Pattern>,
    /// Names or e-mail addresses of who did it; addresses in any case of letters.
    pub actors: Vec<Pattern>,
    /// Names of sources.
    pub sources: Vec<Pattern>,
    /// Names of fields, of which any has to differ.
    pub changed: Vec<Pattern>,
    /// Whether what people get is concerned.
    pub live: Option<bool>,
    /// Kinds of change: `behaviour`, `text`, `access`.
    pub kind: Vec<Pattern>,
    /// Kinds of actor: `person`, `token`, `automation`.
    pub actor_kind: Vec<Pattern>,
    /// Whether a condition on a fact that is not known counts as holding (`unknown: match`).
    pub unknown_matches: bool,
}

/// What a record shows of one thing that conditions ask for.
enum Seen<'a> {
    /// It is not known.
    Unknown,
    /// It is known that there is none.
    Nothing(&'static str),
    One(&'a str),
    Any(Vec<&'a str>),
}

impl<'a> Seen<'a> {
    fn or_unknown(value: Option<&'a str>) -> Self {
        value.map_or(Self::Unknown, Self::One)
    }
}

/// The first condition that does not hold, before anybody wants to read it.
struct Failing<'c, 'f> {
    condition: &'static str,
    wants: Wanted<'c>,
    saw: Seen<'f>,
}

enum Wanted<'c> {
    Records(&'c [RecordKind]),
    Events(&'c [EventPattern]),
    Patterns(&'c [Pattern]),
    Live(bool),
}

/// One condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Condition {
    Record,
    Events,
    Types,
    Actions,
    Statuses,
    Environments,
    Namespaces,
    Keys,
    Teams,
    Actors,
    Sources,
    Changed,
    Live,
    Kind,
    ActorKind,
}

/// The order in which conditions are told: that of the table in `docs/routing.md`.
const AS_TOLD: [Condition; 15] = {
    use Condition::*;
    [
        Record,
        Events,
        Types,
        Actions,
        Statuses,
        Environments,
        Namespaces,
        Keys,
        Teams,
        Actors,
        Sources,
        Changed,
        Live,
        Kind,
        ActorKind,
    ]
};

/// The order in which they are decided: first what every record says, then what its order key says, then what
/// only the event says, last what takes before and after.
const AS_DECIDED: [Condition; 15] = {
    use Condition::*;
    [
        Record,
        Sources,
        Environments,
        Namespaces,
        Keys,
        Teams,
        Events,
        Types,
        Actions,
        Statuses,
        Actors,
        ActorKind,
        Live,
        Changed,
        Kind,
    ]
};

/// The word by which a list takes what is not known.
pub(crate) const UNKNOWN: &str = "unknown";

impl Conditions {
    /// Whether all conditions hold for a record with these facts.
    #[must_use]
    pub fn hold(&self, facts: &Facts<'_>) -> bool {
        AS_DECIDED.iter().all(|condition| self.failing(*condition, facts).is_none())
    }

    /// The first condition that does not hold for a record with these facts; `None`: all hold.
    #[must_use]
    pub fn failure(&self, facts: &Facts<'_>) -> Option<Failed> {
        AS_TOLD.iter().find_map(|condition| self.failing(*condition, facts)).map(Failing::told)
    }

    /// Whether it asks for type, action or status: what only the event itself can tell.
    #[must_use]
    pub fn asks_event_words(&self) -> bool {
        !(self.events.is_empty()
            && self.types.is_empty()
            && self.actions.is_empty()
            && self.statuses.is_empty())
    }

    /// Whether it asks for what only the event itself can tell, or what was known around it.
    #[must_use]
    pub fn asks_event(&self) -> bool {
        self.asks_event_words()
            || self.live.is_some()
            || [&self.actors, &self.changed, &self.kind, &self.actor_kind].iter().any(|list| !list.is_empty())
    }

    /// One condition on a record with these facts; `None`: it holds.
    fn failing<'c, 'f>(&'c self, condition: Condition, facts: &Facts<'f>) -> Option<Failing<'c, 'f>> {
        let word = |word: fn(EventFacts<'f>) -> &'f str| Seen::or_unknown(facts.event.get().map(word));
        match condition {
            Condition::Record => self.record(facts),
            Condition::Events => self.events(facts),
            Condition::Types => self.list("types", &self.types, || word(|event| event.noun)),
            Condition::Actions => self.list("actions", &self.actions, || word(|event| event.verb)),
            Condition::Statuses => self.list("statuses", &self.statuses, || word(|event| event.status)),
            Condition::Environments => {
                self.list("environments", &self.environments, || Seen::or_unknown(facts.environment))
            }
            Condition::Namespaces => self.list("namespaces", &self.namespaces, || namespace(facts)),
            Condition::Keys => self.list("keys", &self.keys, || key(facts)),
            Condition::Teams => self.list("teams", &self.teams, || teams(facts)),
            Condition::Actors => self.list("actors", &self.actors, || actors(facts)),
            Condition::Sources => self.list("sources", &self.sources, || Seen::One(facts.source)),
            Condition::Changed => self.list("changed", &self.changed, || changed(facts)),
            Condition::Live => self.live(facts),
            Condition::Kind => self.list("kind", &self.kind, || kind(facts)),
            Condition::ActorKind => self.list("actor_kind", &self.actor_kind, || actor_kind(facts)),
        }
    }

    fn record<'c, 'f>(&'c self, facts: &Facts<'f>) -> Option<Failing<'c, 'f>> {
        if self.record.is_empty() || self.record.contains(&facts.record) {
            return None;
        }
        let saw = Seen::One(facts.record.as_str());
        Some(Failing { condition: "record", wants: Wanted::Records(&self.record), saw })
    }

    fn events<'c, 'f>(&'c self, facts: &Facts<'f>) -> Option<Failing<'c, 'f>> {
        if self.events.is_empty() {
            return None;
        }
        let saw = match facts.event.get() {
            None if self.unknown_matches => return None,
            None => Seen::Unknown,
            Some(event) if self.events.iter().any(|pattern| pattern.matches(event.noun, event.verb)) => {
                return None;
            }
            Some(event) => Seen::Any(vec![event.noun, event.verb]),
        };
        Some(Failing { condition: "events", wants: Wanted::Events(&self.events), saw })
    }

    /// Holds where the list is empty, or one of its patterns takes one of what is seen.
    fn list<'c, 'f>(
        &self,
        condition: &'static str,
        patterns: &'c [Pattern],
        look: impl FnOnce() -> Seen<'f>,
    ) -> Option<Failing<'c, 'f>> {
        if patterns.is_empty() {
            return None;
        }
        let any = |test: &dyn Fn(&Pattern) -> bool| patterns.iter().any(test);
        let takes = |value: &str| match condition {
            "actors" if value.contains('@') => {
                let value = value.to_lowercase();
                any(&|pattern| pattern.matches_lower_case(&value))
            }
            _ => any(&|pattern| pattern.matches(value)),
        };
        let saw = look();
        let holds = match &saw {
            Seen::Unknown => self.unknown_matches || any(&|pattern| pattern.as_str() == UNKNOWN),
            Seen::Nothing(_) => false,
            Seen::One(value) => takes(value),
            Seen::Any(values) => values.iter().any(|value| takes(value)),
        };
        (!holds).then_some(Failing { condition, wants: Wanted::Patterns(patterns), saw })
    }

    fn live<'c, 'f>(&self, facts: &Facts<'f>) -> Option<Failing<'c, 'f>> {
        let wanted = self.live?;
        let saw = match facts.live.get() {
            None if concerns_no_flag(facts) => Seen::Nothing("no flag or segment"),
            None if self.unknown_matches => return None,
            None => Seen::Unknown,
            Some(live) if live == wanted => return None,
            Some(live) => Seen::One(if live { "true" } else { "false" }),
        };
        Some(Failing { condition: "live", wants: Wanted::Live(wanted), saw })
    }
}

/// Whether it is known to be about neither a flag nor a segment.
fn concerns_no_flag(facts: &Facts<'_>) -> bool {
    // With a namespace go its flags.
    let is_deletion = || facts.event.get().is_some_and(|event| event.verb == "deleted");
    facts.record != RecordKind::Event
        || facts.owner.get().is_some_and(|(kind, _)| match kind {
            EntityKind::Token => true,
            EntityKind::Namespace => !is_deletion(),
            _ => false,
        })
}

fn namespace<'f>(facts: &Facts<'f>) -> Seen<'f> {
    match facts.namespace {
        Namespace::Known(key) => Seen::One(key),
        // It has none: a list of namespaces asks for something that is not there.
        Namespace::None if facts.record == RecordKind::Event => Seen::Nothing("no namespace"),
        Namespace::Unknown | Namespace::None => Seen::Unknown,
    }
}

fn key<'f>(facts: &Facts<'f>) -> Seen<'f> {
    match facts.owner.get() {
        Some((EntityKind::Flag | EntityKind::Segment, key)) => Seen::One(key),
        Some(_) => Seen::Nothing("no flag or segment"),
        None => Seen::Unknown,
    }
}

fn teams<'f>(facts: &Facts<'f>) -> Seen<'f> {
    let Some((kind, key)) = facts.owner.get() else { return Seen::Unknown };
    some(facts.owners.teams_of(kind, key, facts.namespace), "no team")
}

fn actors<'f>(facts: &Facts<'f>) -> Seen<'f> {
    match facts.actor.get() {
        Some(actor) if !actor.names.is_empty() => Seen::Any(actor.names.iter().map(String::as_str).collect()),
        _ => Seen::Unknown,
    }
}

fn changed<'f>(facts: &Facts<'f>) -> Seen<'f> {
    match facts.change.get().and_then(|change| change.changed) {
        Some(fields) => some(fields.iter().map(String::as_str).collect(), "nothing"),
        None => Seen::Unknown,
    }
}

fn kind<'f>(facts: &Facts<'f>) -> Seen<'f> {
    Seen::or_unknown(facts.change.get().and_then(|change| change.kind).map(ChangeKind::as_str))
}

fn actor_kind<'f>(facts: &Facts<'f>) -> Seen<'f> {
    let kind = facts.actor.get().map(|actor| actor.kind);
    Seen::or_unknown(kind.filter(|kind| *kind != ActorKind::Unknown).map(ActorKind::as_str))
}

fn some<'f>(values: Vec<&'f str>, none: &'static str) -> Seen<'f> {
    if values.is_empty() { Seen::Nothing(none) } else { Seen::Any(values) }
}

impl Failing<'_, '_> {
    fn told(self) -> Failed {
        let separator = if self.condition == "events" { ":" } else { ", " };
        Failed {
            condition: self.condition,
            wants: match self.wants {
                Wanted::Records(kinds) => joined(kinds.iter().map(|kind| kind.as_str().to_owned())),
                Wanted::Events(events) => joined(events.iter().map(ToString::to_string)),
                Wanted::Patterns(patterns) => joined(patterns.iter().map(ToString::to_string)),
                Wanted::Live(live) => live.to_string(),
            },
            saw: match self.saw {
                Seen::Unknown => None,
                Seen::Nothing(word) => Some(word.to_owned()),
                Seen::One(value) => Some(value.to_owned()),
                Seen::Any(values) => Some(values.join(separator)),
            },
        }
    }
}

fn joined(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_is_decided_and_told() {
        let (mut decided, mut told) = (AS_DECIDED, AS_TOLD);
        decided.sort_unstable();
        told.sort_unstable();
        assert_eq!(decided, told);
        assert!(told.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
