//! Which records go to which destinations, decided from facts alone.

mod conditions;
mod environments;

pub use conditions::{Conditions, EventPattern, Pattern, Verdict};
pub use environments::{EnvironmentRule, Environments};

use crate::event::{Namespace, RecordKind};

/// What a route may ask about one record. Borrowed: building it costs nothing.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The kind of record.
    pub record: RecordKind,
    /// The name of its source.
    pub source: &'a str,
    /// Type, action and status, where the record is an event.
    pub event: Option<EventFacts<'a>>,
    /// Its namespace.
    pub namespace: &'a Namespace,
    /// The environment that its namespace or its source maps to.
    pub environment: Option<&'a str>,
}

/// The three words every Flipt event has.
#[derive(Debug, Clone, Copy)]
pub struct EventFacts<'a> {
    /// `flag`, `segment`, …
    pub noun: &'a str,
    /// `created`, `updated`, `deleted`.
    pub verb: &'a str,
    /// `success` or `denied`.
    pub status: &'a str,
}

/// One route: what it takes and where that goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Its name in the configuration.
    pub name: String,
    /// What it takes.
    pub when: Conditions,
    /// What it leaves nevertheless; absent: nothing.
    pub unless: Option<Conditions>,
    /// Names of destinations.
    pub to: Vec<String>,
}

impl Route {
    /// Whether this route takes a record with these facts.
    ///
    /// A route that does not ask for kinds of record takes events only.
    #[must_use]
    pub fn takes(&self, facts: &Facts<'_>) -> bool {
        let asks_for_record = !self.when.record.is_empty();
        (asks_for_record || facts.record == RecordKind::Event)
            && self.when.verdict(facts) == Verdict::Match
            && !self.unless.as_ref().is_some_and(|unless| unless.verdict(facts) == Verdict::Match)
    }
}

/// All routes, and what environment a namespace is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RouteTable {
    /// Namespaces to environments.
    pub environments: Environments,
    /// The routes: every one that matches delivers, each record once per destination.
    pub routes: Vec<Route>,
}

impl RouteTable {
    /// Whether any route to `destination` asks for type, action or status. Where none does, events need not
    /// be read to decide.
    #[must_use]
    pub fn asks_event_words(&self, destination: &str) -> bool {
        self.routes.iter().filter(|route| route.to.iter().any(|name| name == destination)).any(|route| {
            route.when.asks_event_words() || route.unless.as_ref().is_some_and(Conditions::asks_event_words)
        })
    }

    /// Whether any route takes the record to `destination`.
    #[must_use]
    pub fn goes_to(&self, destination: &str, facts: &Facts<'_>) -> bool {
        self.routes.iter().any(|route| route.to.iter().any(|name| name == destination) && route.takes(facts))
    }
}

#[cfg(test)]
mod tests;
