mod account;
mod cloudevents;
mod console;
mod datadog;
mod envelope;
mod file;
mod otlp;
mod redact;
mod relay;
mod slack;
mod telling;
mod template;
mod webhook;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Delivery, RenderContext};
use crate::config::plan::BatchPlan;
use crate::event::{
    BatchId, EventId, Framing, GapDetail, GapReason, Incarnation, Keys, Namespace, OrderRef, OversizedDetail,
    RecordKind, StoredRecord, Timestamp, UnparsedDetail,
};
use crate::flipt::{LineKind, read_line};

pub(super) const FILES: [&str; 8] = [
    "v0.1_logfile_flipt-v1.21.0.log",
    "v0.1_logfile_flipt-v1.30.0.log",
    "v0.1_logfile_flipt-v1.42.1.log",
    "v0.2_logfile_encoding-console_DEFAULT.log",
    "v0.2_logfile_encoding-json.log",
    "v0.2_stdout_console.txt",
    "v0.2_stdout_json.txt",
    "v0.2_webhook_bodies.ndjson",
];

/// Compares with a file of `tests/golden`; `UPDATE_GOLDEN=1` writes it anew.
pub(crate) fn golden(name: &str, text: &str) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (line, golden)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(line, golden, "line {} of {path}", number + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "{path}");
}

pub(super) fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/flipt/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(super) fn time(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

pub(super) fn record(
    kind: RecordKind,
    place: u64,
    original: impl Into<Vec<u8>>,
    detail: Option<String>,
) -> StoredRecord {
    let original = original.into();
    let incarnation = Incarnation::name("audit-relay", "flipt", b"first line", 0);
    StoredRecord {
        sequence: place + 1,
        id: EventId::of_line(incarnation, place, &original),
        kind,
        source: "flipt".into(),
        instance: "flipt".into(),
        epoch: "epoch".into(),
        accepted_at: time("2026-11-22T07:40:10.25Z"),
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
        running: std::time::Duration::ZERO,
    }
}

/// The lines of a file as the journal would give them back.
pub(super) fn deliveries(lines: &str) -> Vec<Delivery> {
    let mut taught = HashMap::new();
    let accept = |(place, line): (usize, &str)| {
        let LineKind::Event { time, keys, .. } = read_line(line.as_bytes(), Framing::Auto, "flipt") else {
            panic!("no event: {line}");
        };
        let Keys { mut namespace, entity, order, teaches } = keys;
        let order_key = match order {
            OrderRef::Known(key) => Some(key),
            OrderRef::Through(connected) => connected.iter().find_map(|entity| taught.get(entity)).map(
                |(known, key): &(String, crate::event::OrderKey)| {
                    namespace = Namespace::Known(known.clone());
                    key.clone()
                },
            ),
            OrderRef::Barrier => None,
        };
        taught
            .extend(teaches.into_iter().map(|lesson| (lesson.entity, (lesson.namespace, lesson.order_key))));
        let environment = (namespace.known() == Some("default")).then(|| Arc::from("production"));
        let mut record = record(RecordKind::Event, place as u64, line, None);
        (record.event_time, record.namespace, record.entity, record.order_key) =
            (time, namespace, entity, order_key);
        Delivery { record, environment }
    };
    lines.lines().enumerate().map(accept).collect()
}

pub(super) fn gap() -> Delivery {
    let detail = GapDetail {
        reason: GapReason::Truncated,
        path: Some("/var/log/flipt/audit.log".into()),
        from: 4096,
        to: None,
        message: "the file was emptied; what it held after byte 4096 was found nowhere".into(),
    };
    let record = record(RecordKind::Gap, 1, serde_json::to_vec_pretty(&detail).unwrap(), None);
    Delivery { record, environment: None }
}

pub(super) fn unparsed(original: &[u8]) -> Delivery {
    let LineKind::Unparsed { reason } = read_line(original, Framing::Auto, "flipt") else {
        panic!("can be read")
    };
    let detail = serde_json::to_string(&UnparsedDetail { reason }).unwrap();
    Delivery { record: record(RecordKind::Unparsed, 2, original, Some(detail)), environment: None }
}

pub(super) fn oversized() -> Delivery {
    let detail = OversizedDetail { length_bytes: 5_000_000, sha256: "ab".repeat(32), kept_bytes: 9 };
    let detail = serde_json::to_string(&detail).unwrap();
    Delivery { record: record(RecordKind::Oversized, 3, "{\"type\":\"", Some(detail)), environment: None }
}

pub(super) fn act() -> Delivery {
    Delivery {
        record: record(
            RecordKind::Act,
            4,
            r#"{"act":"replay","destination":"siem","by":"ann (uid 1000)","records":40,"detail":{}}"#,
            None,
        ),
        environment: Some("production".into()),
    }
}

pub(super) fn batch(max_events: usize) -> BatchPlan {
    BatchPlan { max_events, max_bytes: 1 << 20, timeout: Duration::from_secs(1) }
}

pub(super) fn context(deliveries: &[Delivery]) -> RenderContext {
    let members: Vec<_> = deliveries.iter().map(|delivery| delivery.record.id).collect();
    RenderContext {
        now: time("2026-11-22T08:00:00Z"),
        attempt: 1,
        batch_id: BatchId::of("siem", &members),
        replay: false,
    }
}
