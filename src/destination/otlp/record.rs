//! One record as a log record.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};

use super::attributes::{Attributes, any};
use super::trace;
use crate::destination::Delivery;
use crate::destination::envelope::{compare, oversized, unparsed_reason};
use crate::destination::telling::{Reading, Source, is_test, sentence_of};
use crate::event::{EntityKind, GapDetail, RecordKind, StoredRecord, Timestamp};
use crate::flipt::{Compared, Difference};

/// The name of an audit event among log records.
const EVENT: &str = "flipt.audit.event";
/// Differences that are told, …
const MAX_CHANGES: usize = 32;
/// … bytes of a side of one, …
const MAX_SIDE_BYTES: usize = 512;
/// … names of fields that are, and bytes of one.
const MAX_FIELDS: usize = 128;
const MAX_FIELD_BYTES: usize = 256;

/// A record, whatever kind it is.
pub(super) fn log_record(delivery: &Delivery, is_replay: bool) -> LogRecord {
    let record = &delivery.record;
    let source = Source::open(delivery);
    let opened = source.opened();
    let mut reading = Reading::of(&source, &opened);
    let compared = reading.as_ref().and_then(compare);
    if let Some(reading) = &mut reading {
        reading.differences = compared.as_ref().and_then(|compared| compared.differences.as_ref());
    }
    let reading = reading.as_ref();

    let mut attributes = Attributes::default();
    attributes.text("log.record.uid", &record.id.to_string());
    match reading {
        Some(reading) => event(&mut attributes, reading, record),
        None => other(&mut attributes, record),
    }
    attributes.text("flipt.audit.summary", &sentence_of(delivery, reading).to_string());
    if let Some(compared) = &compared {
        changes(&mut attributes, compared);
    }
    attributes.text("flipt.audit.instance", &record.instance);
    attributes.said("flipt.audit.environment", delivery.environment.as_deref());
    attributes.said("flipt.audit.change_set", record.change_set.as_deref());
    of_the_relay(&mut attributes, delivery, is_replay);

    let severity = severity(record.kind, reading);
    let accepted = nanoseconds(record.accepted_at);
    let (trace_id, span_id, flags) = record.trace.as_ref().and_then(trace::ids).unwrap_or_default();
    LogRecord {
        time_unix_nano: record.event_time.and_then(nanoseconds).or(accepted).unwrap_or_default(),
        observed_time_unix_nano: accepted.unwrap_or_default(),
        severity_number: severity.into(),
        severity_text: severity_text(severity).to_owned(),
        body: Some(any(match std::str::from_utf8(&record.original) {
            Ok(text) => Value::StringValue(text.to_owned()),
            Err(_) => Value::BytesValue(record.original.clone()),
        })),
        attributes: attributes.into(),
        dropped_attributes_count: 0,
        flags,
        trace_id,
        span_id,
        event_name: event_name(record.kind, reading.is_some()).to_owned(),
    }
}

/// As envelopes call what is no event.
const fn event_name(kind: RecordKind, is_read: bool) -> &'static str {
    match kind {
        RecordKind::Event if is_read => EVENT,
        // It was an event at acceptance; should it ever not be one any more, it is told as what it is.
        RecordKind::Event | RecordKind::Unparsed => "audit_relay.unparsed",
        RecordKind::Oversized => "audit_relay.oversized",
        RecordKind::Gap => "audit_relay.gap",
        RecordKind::Act => "audit_relay.act",
    }
}

/// What needs somebody's eye is a warning, what may be lost an error.
fn severity(kind: RecordKind, reading: Option<&Reading<'_>>) -> SeverityNumber {
    match (kind, reading) {
        (RecordKind::Event, Some(reading)) if !reading.event.is_denied() => SeverityNumber::Info,
        (RecordKind::Event | RecordKind::Unparsed, _) => SeverityNumber::Warn,
        (RecordKind::Oversized | RecordKind::Gap, _) => SeverityNumber::Error,
        (RecordKind::Act, _) => SeverityNumber::Info,
    }
}

pub(super) const fn severity_text(severity: SeverityNumber) -> &'static str {
    match severity {
        SeverityNumber::Error => "ERROR",
        SeverityNumber::Warn => "WARN",
        _ => "INFO",
    }
}

/// Nanoseconds since 1970; `None` of what OTLP cannot write: before it, and after the year 2554.
pub(super) fn nanoseconds(at: Timestamp) -> Option<u64> {
    u64::try_from(at.unix_micros()).ok()?.checked_mul(1_000)
}

/// What an audit event says.
fn event(attributes: &mut Attributes, reading: &Reading<'_>, record: &StoredRecord) {
    let event = reading.event;
    attributes.text("feature_flag.provider.name", "flipt");
    let owner = if event.is_denied() { None } else { Some(reading.owner()) };
    match &owner {
        Some((EntityKind::Flag, key)) => attributes.said("feature_flag.key", key.as_deref()),
        Some((EntityKind::Segment, key)) => attributes.said("flipt.audit.segment.key", key.as_deref()),
        _ => {}
    }
    attributes.said("feature_flag.set.id", record.namespace.known());
    attributes.text("flipt.audit.type", &event.noun);
    attributes.text("flipt.audit.action", &event.action);
    attributes.text("flipt.audit.status", &event.status);
    attributes.text("flipt.audit.version", &event.version);
    attributes.said("flipt.audit.entity.id", record.entity.as_ref().map(|entity| entity.id.as_str()));
    let actor = &reading.actor;
    attributes.said("user.email", actor.email.as_deref());
    attributes.said("user.name", actor.name.as_deref());
    attributes.said("client.address", actor.ip.as_deref());
    attributes.said("flipt.audit.actor.authentication", actor.authentication.as_deref());
    attributes.mark("flipt.audit.late", reading.known.late.is_some());
}

/// What an event changed, as far as that is known.
fn changes(attributes: &mut Attributes, compared: &Compared<'_>) {
    attributes.said("flipt.audit.kind", compared.kind.map(|kind| kind.as_str()));
    if let Some(live) = compared.live {
        attributes.truth("flipt.audit.live", live);
    }
    if let Some(changed) = compared.changed() {
        let fields = changed.iter().take(MAX_FIELDS).map(String::as_str);
        attributes.texts("flipt.audit.changed_fields", fields, MAX_FIELD_BYTES);
    }
    let Some(differences) = compared.differences.as_ref().filter(|differences| !differences.list.is_empty())
    else {
        return;
    };
    let told = differences.list.iter().take(MAX_CHANGES).map(sides);
    attributes.maps("flipt.audit.changes", told, MAX_SIDE_BYTES);
    attributes.mark("flipt.audit.more_changes", differences.more || differences.list.len() > MAX_CHANGES);
}

/// Where, what was there and what is, as JSON; a side that is nothing is left out.
fn sides(difference: &Difference) -> impl Iterator<Item = (&str, &str)> {
    let old = difference.old.as_ref().map(|old| ("old", old.0.get()));
    let new = difference.new.as_ref().map(|new| ("new", new.0.get()));
    [Some(("pointer", difference.pointer.as_str())), old, new].into_iter().flatten()
}

/// What is said of a record that is no event.
fn other(attributes: &mut Attributes, record: &StoredRecord) {
    match record.kind {
        RecordKind::Event | RecordKind::Unparsed => {
            attributes.text("audit_relay.reason", &unparsed_reason(record));
        }
        RecordKind::Oversized => {
            if let Some(detail) = oversized(record) {
                attributes.number("audit_relay.oversized.length_bytes", detail.length_bytes);
                attributes.number("audit_relay.oversized.kept_bytes", detail.kept_bytes);
                attributes.text("audit_relay.oversized.sha256", &detail.sha256);
            }
        }
        RecordKind::Gap => {
            if let Ok(detail) = serde_json::from_slice::<GapDetail>(&record.original) {
                attributes.text("audit_relay.reason", &detail.message);
            }
        }
        // Its body says it all.
        RecordKind::Act => {}
    }
}

/// Where the record is kept, and how it came here.
fn of_the_relay(attributes: &mut Attributes, delivery: &Delivery, is_replay: bool) {
    let record = &delivery.record;
    attributes.text("audit_relay.record.kind", record.kind.as_str());
    attributes.number("audit_relay.record.sequence", record.sequence);
    attributes.text("audit_relay.journal", &record.epoch);
    attributes.text("audit_relay.source.name", &record.source);
    if let Some(origin) = &record.origin {
        attributes.text("audit_relay.origin.name", &origin.relay);
        attributes.text("audit_relay.origin.journal", &origin.epoch);
        attributes.number("audit_relay.origin.sequence", origin.sequence);
        attributes.text("audit_relay.origin.received_at", &origin.accepted_at.to_string());
    }
    attributes.mark("audit_relay.replay", is_replay);
    attributes.mark("audit_relay.test", is_test(delivery));
}
