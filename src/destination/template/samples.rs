//! Records of every kind, to try templates on: what Flipt sends of each type and action, an attempt that it
//! refused, and records that are no event.

use std::time::Duration;

use crate::destination::Delivery;
use crate::event::{
    EventId, Framing, GapDetail, GapReason, Incarnation, Keys, Namespace, OversizedDetail, RecordKind,
    StoredRecord, Timestamp, UnparsedDetail,
};
use crate::flipt::{LineKind, read_line};

/// As Flipt v1.61 wrote them.
const EVENTS: &str = include_str!("samples.ndjson");

/// One record of each kind; its environment is known where its namespace is.
#[must_use]
pub fn samples() -> Vec<Delivery> {
    let mut all: Vec<Delivery> = EVENTS.lines().map(event).collect();
    all.extend([gap(), unparsed(), oversized()]);
    for (place, delivery) in (1..).zip(&mut all) {
        delivery.record.sequence = place;
    }
    all
}

fn event(line: &str) -> Delivery {
    let (time, keys) = match read_line(line.as_bytes(), Framing::Auto, "flipt") {
        LineKind::Event { time, keys } => (time, keys),
        _ => (None, Keys::barrier(Namespace::None)),
    };
    let environment = keys.namespace.known().map(|_| "production".into());
    let record = StoredRecord {
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
        running: Duration::ZERO,
    }
}
