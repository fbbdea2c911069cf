//! Whether a record goes to one destination, and which environment it belongs to.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::event::{Framing, Known, Namespace, OrderKey, RecordKind, StoredRecord, Timestamp};
use crate::flipt::{self, AuditEvent, ChangeFacts};
use crate::journal::{Outline, ReplaySelection};
use crate::routing::{
    ActorFacts, DifferenceFacts, EventFacts, EventPattern, Facts, Lazy, Owners, Route, RouteDecision,
    RouteTable,
};

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
    /// Whether the routes ask for what only the event can tell.
    asks_event: bool,
}

/// What a decision is made from.
struct Subject<'a> {
    kind: RecordKind,
    source: &'a str,
    time: Timestamp,
    namespace: &'a Namespace,
    detail: Option<&'a str>,
    original: Option<(Framing, &'a [u8])>,
    order_key: Option<&'a OrderKey>,
    known: Option<&'a str>,
}

impl<'a> Subject<'a> {
    fn of(record: &'a StoredRecord) -> Self {
        Self {
            kind: record.kind,
            source: &record.source,
            time: record.event_time.unwrap_or(record.accepted_at),
            namespace: &record.namespace,
            detail: record.detail.as_deref(),
            original: Some((record.framing, &record.original)),
            order_key: record.order_key.as_ref(),
            known: record.known.as_deref(),
        }
    }

    /// Hands on what can be found out; it is found out when it is asked for.
    fn with_facts<T>(
        &self,
        environment: Option<&str>,
        owners: &Owners,
        use_them: impl FnOnce(&Facts<'_>) -> T,
    ) -> T {
        let (json, event, owner) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let (actor, live, change) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        let json = || json.get_or_init(|| self.json()).as_deref();
        let event = || event.get_or_init(|| json().and_then(AuditEvent::read)).as_ref();
        let actor = || actor.get_or_init(|| event().map(|event| surface(event, None))).as_ref();
        let live = || {
            *live.get_or_init(|| {
                let live = Known::read_live(self.known)?;
                surface(event()?, Some(live)).live
            })
        };
        let change = || {
            change.get_or_init(|| event().map(|event| flipt::facts(event, &Known::read(self.known)))).as_ref()
        };
        let owner = || owner.get_or_init(|| self.order_key.and_then(OrderKey::owner)).as_ref();
        use_them(&Facts {
            record: self.kind,
            source: self.source,
            event: Lazy::Ask(&|| event().map(words)),
            namespace: self.namespace,
            environment,
            owner: Lazy::Ask(&|| owner().map(|(kind, key)| (*kind, key.as_str()))),
            actor: Lazy::Ask(&|| actor().map(ActorFacts::from)),
            live: Lazy::Ask(&live),
            change: Lazy::Ask(&|| change().map(DifferenceFacts::from)),
            owners,
        })
    }

    fn json(&self) -> Option<Cow<'a, [u8]>> {
        let (framing, original) = self.original.filter(|_| self.kind == RecordKind::Event)?;
        flipt::unwrap(original, framing).ok()
    }
}

/// Finds out what routes may ask of a record, when they ask.
pub fn with_facts<T>(
    record: &StoredRecord,
    environment: Option<&str>,
    owners: &Owners,
    use_them: impl FnOnce(&Facts<'_>) -> T,
) -> T {
    Subject::of(record).with_facts(environment, owners, use_them)
}

/// What each route makes of a record of `environment`, and why.
#[must_use]
pub fn decisions<'r>(
    routes: &'r RouteTable,
    record: &StoredRecord,
    environment: Option<&str>,
) -> Vec<(&'r Route, RouteDecision)> {
    with_facts(record, environment, &routes.owners, |facts| routes.decisions(facts))
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
        let asks_event = routes.as_ref().is_some_and(|routes| routes.asks_event(destination));
        Self { destination: destination.to_owned(), routes, source_environments, since, asks_event }
    }

    /// Whether an outline must bring the original along.
    pub(super) fn asks_original(&self) -> bool {
        self.asks_event
    }

    /// Whether a route takes a record there, however old it is.
    fn is_routed(&self, record: &StoredRecord) -> bool {
        matches!(self.decide(record), Decision::Mine(_) | Decision::BeforeSince)
    }

    pub(super) fn decide(&self, record: &StoredRecord) -> Decision {
        self.decide_on(&Subject::of(record))
    }

    pub(super) fn decide_outline(&self, outline: &Outline) -> Decision {
        self.decide_on(&Subject {
            kind: outline.kind,
            source: &outline.source,
            time: outline.event_time.unwrap_or(outline.accepted_at),
            namespace: &outline.namespace,
            detail: outline.detail.as_deref(),
            original: outline.original.as_ref().map(|(framing, original)| (*framing, original.as_slice())),
            order_key: outline.order_key.as_ref(),
            known: outline.known.as_deref(),
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
        let goes = |facts: &Facts<'_>| routes.goes_to(&self.destination, facts);
        if !subject.with_facts(environment.as_deref(), &routes.owners, goes) {
            return Decision::NotRouted;
        }
        // Flipt tells whole seconds: an event of the second in which counting began is not too old.
        match self.since {
            Some(since) if subject.time.unix_seconds() < since.unix_seconds() => Decision::BeforeSince,
            _ => Decision::Mine(environment),
        }
    }
}

/// What an event tells of itself, whatever it changed: nothing is compared.
fn surface(event: &AuditEvent<'_>, live: Option<bool>) -> ChangeFacts {
    let event = AuditEvent { payload: None, ..event.clone() };
    flipt::facts(&event, &Known { live, ..Known::default() })
}

fn words<'a>(event: &'a AuditEvent<'_>) -> EventFacts<'a> {
    EventFacts { noun: &event.noun, verb: &event.action, status: &event.status }
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
    flipt::with_event(record, |event| {
        event.is_some_and(|event| patterns.iter().any(|pattern| pattern.matches(&event.noun, &event.action)))
    })
}

/// Whether a record was imported for the journal alone.
pub(crate) fn is_journal_only(detail: Option<&str>) -> bool {
    #[derive(Deserialize, Default)]
    struct Detail {
        #[serde(default)]
        journal_only: bool,
    }
    detail.is_some_and(|detail| serde_json::from_str::<Detail>(detail).unwrap_or_default().journal_only)
}
