//! CloudEvents 1.0, structured (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>).

use serde::Serialize;

use super::Delivery;
use super::envelope::{Opened, infinitive, write_json};
use crate::event::{EntityKind, RecordKind, text};

/// The content type of one event, attributes and data together.
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// The attributes; those from `sequence` on are extensions, whose names may hold nothing but small letters
/// and digits.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
struct Attributes<'a> {
    specversion: &'static str,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    datacontenttype: &'static str,
    sequence: String,
    journal: &'a str,
    recordedtime: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fliptstatus: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracestate: Option<String>,
}

/// Appends one record as a CloudEvent: one JSON object.
///
/// `id` is the event's own, `source` is `/audit-relay/INSTANCE/SOURCE`; ids are unique by themselves, so the
/// two together are. `sequence` has twenty digits, since its order is that of text. `data` is what the
/// envelope has there: the event as Flipt wrote it, token for token.
pub fn cloud_event(delivery: &Delivery, out: &mut Vec<u8>) {
    let record = &delivery.record;
    let json = Opened::json(record);
    let opened = Opened::new(record, &json);
    let trace = record.trace.as_ref();
    let attributes = Attributes {
        specversion: "1.0",
        id: record.id.to_string(),
        source: format!("/audit-relay/{}/{}", segment(&record.instance), segment(&record.source)),
        kind: kind(&opened, record.kind),
        subject: subject(delivery, &opened),
        time: record.event_time.map(|time| time.to_string()),
        datacontenttype: "application/json",
        sequence: format!("{:020}", record.sequence),
        journal: &record.epoch,
        recordedtime: record.accepted_at.to_string(),
        environment: delivery.environment.as_deref(),
        fliptstatus: opened.event.as_ref().and_then(|event| said(&event.status)),
        traceparent: trace.and_then(|trace| said(&trace.traceparent)),
        tracestate: trace.and_then(|trace| said(trace.tracestate.as_deref()?)),
    };
    write_json(&attributes, out);
    out.pop();
    out.extend_from_slice(b",\"data\":");
    opened.write_data(out);
    out.push(b'}');
}

/// `io.flipt.audit.flag.updated`, `io.flipt.audit.flag.update_denied`, `io.audit_relay.gap`.
fn kind(opened: &Opened<'_>, kind: RecordKind) -> String {
    text::printable(&match &opened.event {
        Some(event) if event.is_denied() => {
            format!("io.flipt.audit.{}.{}_denied", event.noun, infinitive(&event.action))
        }
        Some(event) => format!("io.flipt.audit.{}.{}", event.noun, event.action),
        None if kind == RecordKind::Event => "io.audit_relay.unparsed".to_owned(),
        None => format!("io.audit_relay.{}", kind.as_str()),
    })
}

/// `NAMESPACE/KEY`; of a namespace its key, and of what has no namespace (tokens) its own.
fn subject(delivery: &Delivery, opened: &Opened<'_>) -> Option<String> {
    let entity = opened.entity()?;
    let own = entity.key.as_deref().unwrap_or(entity.id);
    let is_namespace = entity.kind == EntityKind::Namespace.as_str();
    let namespace = delivery.record.namespace.known().filter(|_| !is_namespace);
    said(&namespace.map_or_else(|| own.to_owned(), |namespace| format!("{namespace}/{own}")))
}

/// The value of an attribute that may be absent: never empty, without control characters.
fn said(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| text::printable(value))
}

/// One segment of a path (RFC 3986, 3.3): whatever is not unreserved is percent-encoded.
fn segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                segment.push(char::from(byte))
            }
            _ => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}
