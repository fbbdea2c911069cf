//! Which changes are meant.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::destination::Delivery;
use crate::event::{EntityKind, OrderKey, RecordKind, StoredRecord, Timestamp};
use crate::flipt::{AuditEvent, with_event};
use crate::journal::Act;
use crate::routing::Pattern;

/// The word for what is not known.
const UNKNOWN: &str = "unknown";

/// Which changes are meant. Of each list one must fit, and an empty one asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChangeSelection {
    /// What happened at or after this: by the event's own time, else by its acceptance.
    pub since: Option<Timestamp>,
    /// What happened before this.
    pub until: Option<Timestamp>,
    /// Environments, with `*`; `unknown` for what tells none.
    pub environments: Vec<String>,
    /// Keys of flags, with `*`: the flag and all that belongs to it.
    pub flags: Vec<String>,
    /// Keys of segments, likewise.
    pub segments: Vec<String>,
    /// Parts of the actor's name or e-mail address, in whatever case.
    pub actors: Vec<String>,
}

/// Whether a record is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::admin) enum Fit {
    Yes,
    /// It may be, and does not say.
    Unknown,
    No,
}

/// A selection, ready to be asked.
pub(in crate::admin) struct Filter {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    environments: Vec<Pattern>,
    /// One of these must own the record.
    owners: Vec<(EntityKind, Pattern)>,
    /// In lower case.
    actors: Vec<String>,
}

impl Filter {
    pub(in crate::admin) fn new(selection: &ChangeSelection) -> Self {
        let owned = |kind: EntityKind, globs: &[String]| -> Vec<(EntityKind, Pattern)> {
            globs.iter().map(|glob| (kind, Pattern::new(glob.as_str()))).collect()
        };
        let mut owners = owned(EntityKind::Flag, &selection.flags);
        owners.extend(owned(EntityKind::Segment, &selection.segments));
        Self {
            since: selection.since,
            until: selection.until,
            environments: selection.environments.iter().map(|glob| Pattern::new(glob.as_str())).collect(),
            owners,
            actors: selection.actors.iter().map(|actor| actor.to_lowercase()).collect(),
        }
    }

    pub(in crate::admin) fn is_in_time(&self, time: Timestamp) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }

    /// Whether a record of that time is meant.
    pub(in crate::admin) fn fits(&self, delivery: &Delivery) -> Fit {
        let asked = [self.environment(delivery), self.owner(delivery), self.actor(delivery)];
        asked.into_iter().max().unwrap_or(Fit::Yes)
    }

    fn environment(&self, delivery: &Delivery) -> Fit {
        if self.environments.is_empty() {
            return Fit::Yes;
        }
        match delivery.environment.as_deref() {
            Some(environment) => Fit::of(self.environments.iter().any(|glob| glob.matches(environment))),
            None if self.environments.iter().any(|glob| glob.as_str() == UNKNOWN) => Fit::Yes,
            None => Fit::Unknown,
        }
    }

    fn owner(&self, delivery: &Delivery) -> Fit {
        if self.owners.is_empty() {
            return Fit::Yes;
        }
        match delivery.record.order_key.as_ref().and_then(OrderKey::owner) {
            Some((kind, key)) => {
                Fit::of(self.owners.iter().any(|(wanted, glob)| *wanted == kind && glob.matches(&key)))
            }
            None => Fit::Unknown,
        }
    }

    fn actor(&self, delivery: &Delivery) -> Fit {
        if self.actors.is_empty() {
            return Fit::Yes;
        }
        let names = actors(&delivery.record);
        if names.is_empty() {
            return Fit::Unknown;
        }
        let is_meant = |name: &String| self.actors.iter().any(|actor| name.to_lowercase().contains(actor));
        Fit::of(names.iter().any(is_meant))
    }
}

impl Fit {
    fn of(fits: bool) -> Self {
        if fits { Self::Yes } else { Self::No }
    }
}

/// The names that a record tells of whoever did it.
fn actors(record: &StoredRecord) -> Vec<String> {
    match record.kind {
        RecordKind::Event => with_event(record, |event| {
            let actor = event.map(AuditEvent::actor).unwrap_or_default();
            actor.name.into_iter().chain(actor.email).map(Cow::into_owned).collect()
        }),
        RecordKind::Act => {
            serde_json::from_slice::<Act>(&record.original).map_or_else(|_| Vec::new(), |act| vec![act.by])
        }
        _ => Vec::new(),
    }
}
