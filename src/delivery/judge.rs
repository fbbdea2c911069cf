//! Whether a record goes to one destination, and which environment it belongs to.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::event::{Framing, Namespace, RecordKind, StoredRecord, Timestamp};
use crate::flipt;
use crate::journal::{Outline, ReplaySelection};
use crate::routing::{EventFacts, EventPattern, Facts, RouteTable};

/// What was decided on a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// It goes there; with its environment.
    Mine(Option<Arc<str>>),
    /// No route takes it there.
    NotRouted,
    /// It happened before the destination's `deliver_since`.
    BeforeSince,
}

/// Decides which records go to one destination.
#[derive(Debug)]
pub struct Judge {
    destination: String,
    /// `None`: nobody knows any more, and all is kept.
    routes: Option<Arc<RouteTable>>,
    source_environments: Arc<BTreeMap<String, Arc<str>>>,
    /// Events older than this are not for it.
    since: Option<Timestamp>,
    /// Whether the routes ask for what only the event itself tells.
    asks_event_words: bool,
}

/// What a decision is made from.
struct Subject<'a> {
    kind: RecordKind,
    source: &'a str,
    time: Timestamp,
    namespace: &'a Namespace,
    detail: Option<&'a str>,
    original: Option<(Framing, &'a [u8])>,
}

impl Judge {
    /// Decides for `destination`, which takes nothing that happened before `since`; without `routes`
    /// everything is for it. `source_environments`: the environments that sources fix, by their names.
    #[must_use]
    pub fn new(
        destination: &str,
        routes: Option<Arc<RouteTable>>,
        source_environments: Arc<BTreeMap<String, Arc<str>>>,
        since: Option<Timestamp>,
    ) -> Self {
        let asks_event_words = routes.as_ref().is_some_and(|routes| routes.asks_event_words(destination));
        Self { destination: destination.to_owned(), routes, source_environments, since, asks_event_words }
    }

    /// Whether an outline must bring the original along.
    pub(super) fn asks_original(&self) -> bool {
        self.asks_event_words
    }

    /// Whether a route takes a record there, however old it is.
    fn is_routed(&self, record: &StoredRecord) -> bool {
        matches!(self.decide(record), Decision::Mine(_) | Decision::BeforeSince)
    }

    pub(super) fn decide(&self, record: &StoredRecord) -> Decision {
        self.decide_on(&Subject {
            kind: record.kind,
            source: &record.source,
            time: record.event_time.unwrap_or(record.accepted_at),
            namespace: &record.namespace,
            detail: record.detail.as_deref(),
            original: Some((record.framing, &record.original)),
        })
    }

    pub(super) fn decide_outline(&self, outline: &Outline) -> Decision {
        self.decide_on(&Subject {
            kind: outline.kind,
            source: &outline.source,
            time: outline.event_time.unwrap_or(outline.accepted_at),
            namespace: &outline.namespace,
            detail: outline.detail.as_deref(),
            original: outline.original.as_ref().map(|(framing, original)| (*framing, original.as_slice())),
        })
    }

    /// The environment of a record, wherever it goes.
    pub(super) fn environment(&self, source: &str, namespace: &Namespace) -> Option<Arc<str>> {
        let routes = self.routes.as_ref();
        self.source_environments
            .get(source)
            .or_else(|| routes.and_then(|routes| routes.environments.of(namespace)))
            .cloned()
    }

    fn decide_on(&self, subject: &Subject<'_>) -> Decision {
        let environment = self.environment(subject.source, subject.namespace);
        let Some(routes) = &self.routes else { return Decision::Mine(environment) };
        if is_journal_only(subject.detail) {
            return Decision::NotRouted;
        }
        let original =
            subject.original.filter(|_| self.asks_event_words && subject.kind == RecordKind::Event);
        let decide = |event: Option<EventFacts<'_>>| {
            let facts = Facts {
                record: subject.kind,
                source: subject.source,
                event,
                namespace: subject.namespace,
                environment: environment.as_deref(),
            };
            routes.goes_to(&self.destination, &facts)
        };
        if !with_words(original, decide) {
            return Decision::NotRouted;
        }
        // Flipt tells whole seconds: an event of the second in which counting began is not too old.
        match self.since {
            Some(since) if subject.time.unix_seconds() < since.unix_seconds() => Decision::BeforeSince,
            _ => Decision::Mine(environment),
        }
    }
}

/// Reads the words of an event, where it is one, and hands them on.
fn with_words<T>(
    original: Option<(Framing, &[u8])>,
    use_them: impl FnOnce(Option<EventFacts<'_>>) -> T,
) -> T {
    let json = original.and_then(|(framing, original)| flipt::unwrap(original, framing).ok());
    let text = json.as_deref().and_then(|json| std::str::from_utf8(json).ok());
    let event = text.and_then(|text| flipt::AuditEvent::parse(text).ok());
    use_them(event.as_ref().map(|event| EventFacts {
        noun: &event.noun,
        verb: &event.action,
        status: &event.status,
    }))
}

/// Which records of the journal a replay means, beside those it names.
#[derive(Debug)]
pub struct ReplayFilter {
    /// Of a range: the patterns of events; none at all fit everything that is routed.
    range: Option<Vec<EventPattern>>,
}

impl ReplayFilter {
    /// The filter of a selection. Records that are named, and dead letters, are meant whatever they are.
    #[must_use]
    pub fn of(selection: &ReplaySelection) -> Self {
        let ReplaySelection::Range { events, .. } = selection else { return Self { range: None } };
        let words = events.iter().filter_map(|event| event.split_once(':'));
        let pattern =
            |(noun, verb): (&str, &str)| EventPattern { noun: noun.to_owned(), verb: verb.to_owned() };
        Self { range: Some(words.map(pattern).collect()) }
    }

    /// Whether a record is meant: of a range, what a route takes there now and a pattern fits.
    #[must_use]
    pub fn takes(&self, judge: &Judge, record: &StoredRecord) -> bool {
        let Some(patterns) = &self.range else { return true };
        judge.is_routed(record) && fits(patterns, record)
    }
}

fn fits(patterns: &[EventPattern], record: &StoredRecord) -> bool {
    if patterns.is_empty() {
        return true;
    }
    let original = (record.kind == RecordKind::Event).then_some((record.framing, record.original.as_slice()));
    with_words(original, |event| {
        let takes = |pattern: &str, word: &str| pattern == "*" || pattern == word;
        event.is_some_and(|event| {
            patterns
                .iter()
                .any(|pattern| takes(&pattern.noun, event.noun) && takes(&pattern.verb, event.verb))
        })
    })
}

/// Whether a record was imported for the journal alone.
fn is_journal_only(detail: Option<&str>) -> bool {
    #[derive(Deserialize, Default)]
    struct Detail {
        #[serde(default)]
        journal_only: bool,
    }
    detail.is_some_and(|detail| serde_json::from_str::<Detail>(detail).unwrap_or_default().journal_only)
}
