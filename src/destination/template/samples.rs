//! Records of every kind, to try templates on: what Flipt sends of each type and action, an attempt that it
//! refused, and records that are no event.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::destination::Delivery;
use crate::event::{
    EventId, Framing, GapDetail, GapReason, Incarnation, Keys, Known, Namespace, OrderKey, OrderRef,
    OversizedDetail, RecordKind, Seen, SeenBy, StoredRecord, Timestamp, UnparsedDetail, Without,
};
use crate::flipt::{AuditEvent, LineKind, read_line};

/// As Flipt v1.61 wrote them.
const EVENTS: &str = include_str!("samples.ndjson");

/// When the state before was seen.
const SEEN: Seen =
    Seen { at: Timestamp::from_unix_micros(1_795_332_000_000_000), sequence: Some(1), by: SeenBy::Event };

/// One record of each kind; its environment is known where its namespace is.
#[must_use]
pub fn samples() -> Vec<Delivery> {
    let mut before = BTreeMap::new();
    let mut all: Vec<Delivery> = EVENTS.lines().map(|line| event(line, &mut before)).collect();
    all.extend([gap(), unparsed(), oversized()]);
    for (place, delivery) in (1..).zip(&mut all) {
        delivery.record.sequence = place;
    }
    all
}

/// One event, with what its predecessors tell of the same type: each is about the same entity.
fn event(line: &str, before: &mut BTreeMap<String, (Box<RawValue>, Option<OrderKey>)>) -> Delivery {
    let (time, keys) = match read_line(line.as_bytes(), Framing::Auto, "flipt") {
        LineKind::Event { time, keys, .. } => (time, keys),
        _ => (None, Keys::barrier(Namespace::None)),
    };
    let parsed = AuditEvent::parse(line).ok();
    let noun = parsed.as_ref().map(|event| event.noun.to_string()).unwrap_or_default();
    let payload = parsed.as_ref().and_then(|event| event.payload);
    let former = before.get(&noun);
    let order_key = match &keys.order {
        OrderRef::Known(key) => Some(key.clone()),
        OrderRef::Through(_) => before.get("rule").and_then(|(_, key)| key.clone()),
        OrderRef::Barrier => None,
    };
    let known = match former {
        _ if payload.is_none() => None,
        Some((state, _)) => Some(Known { before: Some(state.clone()), seen: Some(SEEN), ..Known::default() }),
        None => Some(Known::nothing(Without::Created)),
    };
    if let Some(payload) = payload {
        before.insert(noun, (payload.to_owned(), order_key.clone()));
    }
    let environment = keys.namespace.known().map(|_| "production".into());
    let record = StoredRecord {
        known: known.and_then(|known| serde_json::to_string(&known).ok()).map(Into::into),
        change_set: payload.map(|_| "cs_00000000000000000000000000".into()),
        order_key,
        event_time: time,
        namespace: keys.namespace,
        entity: keys.entity,
        ..record(RecordKind::Event, line.as_bytes().to_vec(), None)
    };
    Delivery { record, environment }
}

fn gap() -> Delivery {
    let detail = GapDetail {
        reason: GapReason::Truncated,
        path: Some("/var/log/flipt/audit.log".into()),
        from: 4_096,
        to: None,
        message: "the file was emptied; what it held after byte 4096 was found nowhere".into(),
    };
    alone(RecordKind::Gap, serde_json::to_vec(&detail).unwrap_or_default(), None)
}

fn unparsed() -> Delivery {
    let detail = UnparsedDetail { reason: "the JSON ends too early, after 14 bytes".into() };
    alone(RecordKind::Unparsed, b"{\"type\":\"flag\"".to_vec(), serde_json::to_string(&detail).ok())
}

fn oversized() -> Delivery {
    let detail = OversizedDetail { length_bytes: 5_000_000, sha256: "00".repeat(32), kept_bytes: 14 };
    alone(RecordKind::Oversized, b"{\"type\":\"flag\"".to_vec(), serde_json::to_string(&detail).ok())
}

fn alone(kind: RecordKind, original: Vec<u8>, detail: Option<String>) -> Delivery {
    Delivery { record: record(kind, original, detail), environment: None }
}

fn record(kind: RecordKind, original: Vec<u8>, detail: Option<String>) -> StoredRecord {
    let incarnation = Incarnation::name("audit-relay", "flipt", b"sample", 0);
    StoredRecord {
        sequence: 1,
        id: EventId::of_line(incarnation, 0, &original),
        kind,
        source: "flipt".into(),
        instance: "flipt".into(),
        epoch: "sample".into(),
        accepted_at: Timestamp::from_unix_micros(1_795_332_443_000_000),
        event_time: None,
        namespace: Namespace::None,
        entity: None,
        order_key: None,
        framing: Framing::Auto,
        original,
        detail,
        trace: None,
        origin: None,
        known: None,
        change_set: None,
        running: Duration::ZERO,
    }
}
