//! One record as a row of a table, for auditors.

use serde::{Deserialize, Serialize};

use crate::destination::{Delivery, telling};
use crate::event::{EventId, Known, OrderKey, Sequence, Timestamp};
use crate::flipt::{self, with_event};

/// A record in columns, each as it is; empty where there is nothing, or nothing is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRow {
    /// The event's own time, where it tells one.
    pub time: Option<Timestamp>,
    /// When it was accepted.
    pub received_at: Timestamp,
    /// The environment.
    pub environment: String,
    /// The namespace.
    pub namespace: String,
    /// `flag`, `segment`, …; of a record that is no event its kind: `gap`, `unparsed`, `oversized`, `act`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `created`, `updated`, `deleted`.
    pub action: String,
    /// `success` or `denied`.
    pub status: String,
    /// The key of the flag, segment, namespace or token that it belongs to.
    pub key: String,
    /// The actor's name.
    pub actor: String,
    /// The actor's e-mail address.
    pub actor_email: String,
    /// `person`, `token`, `automation` or `unknown`.
    pub actor_kind: String,
    /// What happened, in a sentence.
    pub summary: String,
    /// The fields that differ, with spaces between.
    pub changed: String,
    /// Its change set.
    pub change_set: String,
    /// Its id.
    pub id: EventId,
    /// Its place in the journal.
    pub sequence: Sequence,
    /// The name of the relay that first took it in, where that was another one.
    #[serde(default)]
    pub origin_relay: String,
    /// Its place in that relay's journal.
    #[serde(default)]
    pub origin_sequence: Option<Sequence>,
}

impl ChangeRow {
    /// The names of the columns.
    pub const HEADER: [&'static str; 18] = [
        "time",
        "received_at",
        "environment",
        "namespace",
        "type",
        "action",
        "status",
        "key",
        "actor",
        "actor_email",
        "actor_kind",
        "summary",
        "changed",
        "change_set",
        "id",
        "sequence",
        "origin_relay",
        "origin_sequence",
    ];

    /// The columns, in the order of [`ChangeRow::HEADER`].
    #[must_use]
    pub fn cells(&self) -> [String; 18] {
        let text = String::clone;
        [
            self.time.map(|time| time.to_string()).unwrap_or_default(),
            self.received_at.to_string(),
            text(&self.environment),
            text(&self.namespace),
            text(&self.kind),
            text(&self.action),
            text(&self.status),
            text(&self.key),
            text(&self.actor),
            text(&self.actor_email),
            text(&self.actor_kind),
            text(&self.summary),
            text(&self.changed),
            text(&self.change_set),
            self.id.to_string(),
            self.sequence.to_string(),
            text(&self.origin_relay),
            self.origin_sequence.map(|sequence| sequence.to_string()).unwrap_or_default(),
        ]
    }

    pub(super) fn size(&self) -> usize {
        self.cells().iter().map(String::len).sum()
    }

    pub(super) fn of(delivery: &Delivery) -> Self {
        let record = &delivery.record;
        let owner = record.order_key.as_ref().and_then(OrderKey::owner);
        let mut row = Self {
            time: record.event_time,
            received_at: record.accepted_at,
            environment: delivery.environment.as_deref().unwrap_or_default().to_owned(),
            namespace: record.namespace.known().unwrap_or_default().to_owned(),
            kind: record.kind.as_str().to_owned(),
            action: String::new(),
            status: String::new(),
            key: owner.map(|(_, key)| key).unwrap_or_default(),
            actor: String::new(),
            actor_email: String::new(),
            actor_kind: String::new(),
            summary: telling::sentence(delivery).to_string(),
            changed: String::new(),
            change_set: record.change_set.as_deref().unwrap_or_default().to_owned(),
            id: record.id,
            sequence: record.sequence,
            origin_relay: record.origin.as_ref().map(|origin| origin.relay.clone()).unwrap_or_default(),
            origin_sequence: record.origin.as_ref().map(|origin| origin.sequence),
        };
        with_event(record, |event| {
            let Some(event) = event else { return };
            let facts = flipt::facts(event, &Known::read(record.known.as_deref()));
            let actor = event.actor();
            row.kind = event.noun.clone().into_owned();
            row.action = event.action.clone().into_owned();
            row.status = event.status.clone().into_owned();
            row.actor = actor.name.unwrap_or_default().into_owned();
            row.actor_email = actor.email.unwrap_or_default().into_owned();
            row.actor_kind = facts.actor_kind.as_str().to_owned();
            row.changed = facts.changed.unwrap_or_default().join(" ");
        });
        row
    }
}
