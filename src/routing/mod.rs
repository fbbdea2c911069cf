//! Which records go to which destinations, decided from facts alone.

#[cfg(test)]
pub(crate) mod arbitrary;
mod conditions;
mod environments;
mod lazy;
mod owners;
mod pattern;

use std::fmt;
use std::sync::Arc;

pub use conditions::Conditions;
pub(crate) use conditions::UNKNOWN;
pub use environments::{EnvironmentRule, Environments};
pub use lazy::Lazy;
pub use owners::{Owner, Owners};
pub use pattern::{EventPattern, Pattern};

use crate::event::text::one_line;
use crate::event::{EntityKind, Namespace, RecordKind};
use crate::flipt::{ActorKind, ChangeFacts, ChangeKind};

/// What a route may ask about one record. Borrowed: building it costs nothing, and what takes work is found out
/// when a condition first asks for it.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The kind of record.
    pub record: RecordKind,
    /// The name of its source.
    pub source: &'a str,
    /// Type, action and status, where the record is an event.
    pub event: Lazy<'a, EventFacts<'a>>,
    /// Its namespace.
    pub namespace: &'a Namespace,
    /// The environment that its namespace or its source maps to.
    pub environment: Option<&'a str>,
    /// The flag or segment (or namespace, or token) that it belongs to: kind and key.
    pub owner: Lazy<'a, (EntityKind, &'a str)>,
    /// Who did it, where the record is an event.
    pub actor: Lazy<'a, ActorFacts<'a>>,
    /// Whether what people get is concerned.
    pub live: Lazy<'a, bool>,
    /// What changed, where the record is an event: it takes before and after to tell.
    pub change: Lazy<'a, DifferenceFacts<'a>>,
    /// Who owns what.
    pub owners: &'a Owners,
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

/// Who did it.
#[derive(Debug, Clone, Copy)]
pub struct ActorFacts<'a> {
    /// What acted.
    pub kind: ActorKind,
    /// Name and e-mail address, as far as known.
    pub names: &'a [String],
}

impl<'a> From<&'a ChangeFacts> for ActorFacts<'a> {
    fn from(facts: &'a ChangeFacts) -> Self {
        Self { kind: facts.actor_kind, names: &facts.actors }
    }
}

/// What differs between before and after.
#[derive(Debug, Clone, Copy)]
pub struct DifferenceFacts<'a> {
    /// Names of the fields; `None`: not known.
    pub changed: Option<&'a [String]>,
    /// What kind of change; `None`: not known.
    pub kind: Option<ChangeKind>,
}

impl<'a> From<&'a ChangeFacts> for DifferenceFacts<'a> {
    fn from(facts: &'a ChangeFacts) -> Self {
        Self { changed: facts.changed.as_deref(), kind: facts.kind }
    }
}

/// Why conditions do not hold: the first one that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The key of the condition, as configuration spells it: `environments`, `live`, …
    pub condition: &'static str,
    /// What it asks for, as written.
    pub wants: String,
    /// What it saw; `None`: not known.
    pub saw: Option<String>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` asks for {}, ", self.condition, one_line(&self.wants, MAX_SHOWN))?;
        match &self.saw {
            Some(saw) => write!(f, "and this is {}", one_line(saw, MAX_SHOWN)),
            None => f.write_str("and that is not known"),
        }
    }
}

/// So many characters of a value are shown.
const MAX_SHOWN: usize = 200;

/// What one route made of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteDecision {
    /// It takes it.
    Takes,
    /// `when` does not hold.
    When(Failed),
    /// `unless` holds.
    Unless,
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
    /// What this route makes of a record with these facts.
    ///
    /// A route that does not ask for kinds of record takes events only.
    #[must_use]
    pub fn decision(&self, facts: &Facts<'_>) -> RouteDecision {
        if self.leaves_kind(facts) {
            let saw = Some(facts.record.as_str().to_owned());
            return RouteDecision::When(Failed { condition: "record", wants: "event".into(), saw });
        }
        match self.when.failure(facts) {
            Some(failed) => RouteDecision::When(failed),
            None if self.takes(facts) => RouteDecision::Takes,
            None => RouteDecision::Unless,
        }
    }

    /// Whether this route takes a record with these facts.
    #[must_use]
    pub fn takes(&self, facts: &Facts<'_>) -> bool {
        !self.leaves_kind(facts)
            && self.when.hold(facts)
            && !self.unless.as_ref().is_some_and(|unless| unless.hold(facts))
    }

    fn leaves_kind(&self, facts: &Facts<'_>) -> bool {
        self.when.record.is_empty() && facts.record != RecordKind::Event
    }

    fn goes_to(&self, destination: &str) -> bool {
        self.to.iter().any(|name| name == destination)
    }

    fn asks_event(&self) -> bool {
        self.when.asks_event() || self.unless.as_ref().is_some_and(Conditions::asks_event)
    }
}

/// All routes, what environment a namespace is, and who owns what.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RouteTable {
    /// Namespaces to environments.
    pub environments: Environments,
    /// Who owns what.
    pub owners: Arc<Owners>,
    /// The routes: every one that matches delivers, each record once per destination.
    pub routes: Vec<Route>,
}

impl RouteTable {
    /// Whether a route to `destination` asks for what only the event itself can tell, or what was known around
    /// it. Where none does, events need not be read to decide.
    #[must_use]
    pub fn asks_event(&self, destination: &str) -> bool {
        self.routes.iter().any(|route| route.goes_to(destination) && route.asks_event())
    }

    /// Whether any route takes the record to `destination`.
    #[must_use]
    pub fn goes_to(&self, destination: &str, facts: &Facts<'_>) -> bool {
        self.routes.iter().any(|route| route.goes_to(destination) && route.takes(facts))
    }

    /// As much of it as decides what goes to `destination`: two tables that are alike in this decide alike.
    #[must_use]
    pub fn for_destination(&self, destination: &str) -> Self {
        let routes = self.routes.iter().filter(|route| route.goes_to(destination));
        let routes = routes.map(|route| Route { to: vec![destination.to_owned()], ..route.clone() });
        Self { routes: routes.collect(), ..self.clone() }
    }

    /// What each route makes of the record, in the order of writing.
    #[must_use]
    pub fn decisions(&self, facts: &Facts<'_>) -> Vec<(&Route, RouteDecision)> {
        self.routes.iter().map(|route| (route, route.decision(facts))).collect()
    }
}

#[cfg(test)]
mod tests;
