//! Our own form of a record, the same for webhooks, files and the console. Its published form is
//! `docs/envelope.schema.json`; fields may be added to it, never taken away.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Delivery;
use super::telling::{Reading, Source, sentence_of};
use crate::event::{
    Closed, Deed, EntityKind, Known, Origin, OversizedDetail, RecordKind, SeenBy, Sequence, Several,
    StoredRecord, Timestamp, UnparsedDetail, Without,
};
use crate::flipt::{self, Actor, AuditEvent, ChangeKind, Compared, Difference, Payload, in_compact_form};

#[derive(Serialize)]
struct Head<'a> {
    spec: &'static str,
    id: String,
    #[serde(rename = "type")]
    kind: String,
    timestamp: Option<String>,
    received_at: String,
    sequence: u64,
    journal: &'a str,
    source: &'a str,
    instance: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'a Origin>,
    environment: Option<&'a str>,
    namespace: Option<&'a str>,
    entity: Option<EntityView<'a>>,
    actor: Option<&'a Actor<'a>>,
    change: Option<ChangeView<'a>>,
    summary: String,
    change_set: Option<&'a str>,
}

/// What an event changed. All of it is from what was known when it was accepted.
#[derive(Serialize)]
struct ChangeView<'a> {
    kind: Option<ChangeKind>,
    live: Option<bool>,
    changed: Option<Cow<'a, [String]>>,
    before: Option<Cow<'a, RawValue>>,
    after: Option<Cow<'a, RawValue>>,
    differences: Option<&'a [Difference]>,
    more_differences: bool,
    before_seen_at: Option<Timestamp>,
    before_sequence: Option<Sequence>,
    before_from: Option<SeenBy>,
    without_before: Option<Without>,
    late: Option<LateView<'a>>,
    closed: Option<&'a Several<Closed>>,
    moved: Option<Vec<MovedView<'a>>>,
}

/// What a late event met.
#[derive(Serialize)]
struct LateView<'a> {
    newest: Timestamp,
    current: Option<Cow<'a, RawValue>>,
    deleted: bool,
}

/// A rule or rollout with another place than before.
#[derive(Serialize)]
struct MovedView<'a> {
    id: &'a str,
    was: Option<u32>,
    now: u32,
}

#[derive(Serialize)]
pub(super) struct EntityView<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<Cow<'a, str>>,
}

/// `data` of what could not be read: the bytes as they came, and why.
#[derive(Serialize)]
struct Kept<'a> {
    reason: String,
    #[serde(flatten)]
    oversized: Option<OversizedDetail>,
    original: Cow<'a, str>,
    encoding: &'static str,
}

/// Appends the envelope of one record: one JSON object on one line, without a newline at its end.
///
/// `data` is the event as Flipt wrote it, token for token: numbers, unknown fields and the order of keys
/// are its own; only whitespace between tokens and the framing of standard output are left out.
pub fn envelope(delivery: &Delivery, out: &mut Vec<u8>) {
    let record = &delivery.record;
    let source = Source::open(delivery);
    let opened = source.opened();
    let read = Reading::of(&source, &opened);
    let compared = read.as_ref().and_then(compare);
    let mut reading = read;
    if let Some(reading) = &mut reading {
        reading.differences = compared.as_ref().and_then(|compared| compared.differences.as_ref());
    }
    let head = Head {
        change: compared.as_ref().map(|compared| change(compared, &source.known)),
        change_set: record.change_set.as_deref(),
        ..head(delivery, &opened, reading.as_ref())
    };
    write_json(&head, out);
    out.pop();
    out.extend_from_slice(b",\"data\":");
    opened.write_data(out);
    out.push(b'}');
}

/// What an envelope says before `data`, but for what an event changed.
fn head<'a>(delivery: &'a Delivery, opened: &Opened<'a>, reading: Option<&'a Reading<'a>>) -> Head<'a> {
    let record = &delivery.record;
    Head {
        spec: "1",
        id: record.id.to_string(),
        kind: opened.kind(),
        timestamp: record.event_time.map(|time| time.to_string()),
        received_at: record.accepted_at.to_string(),
        sequence: record.sequence,
        journal: &record.epoch,
        source: &record.source,
        instance: &record.instance,
        origin: record.origin.as_ref(),
        environment: delivery.environment.as_deref(),
        namespace: record.namespace.known(),
        entity: opened.entity_of(reading.map(|reading| &reading.payload)),
        actor: reading.map(|reading| &reading.actor).filter(|actor| !actor.is_empty()),
        change: None,
        summary: sentence_of(delivery, reading).to_string(),
        change_set: None,
    }
}

/// Of a larger record another relay is told the bytes alone.
const LARGE_BYTES: usize = 1 << 20;

/// The same for another relay, which finds out anew what changed: without that, with `origin`, and where
/// `data` is not the record's very bytes without it, too, since those follow in what `tail` appends. It is told
/// whether they do stand in `data`.
pub(super) fn envelope_of_origin(
    delivery: &Delivery,
    origin: &Origin,
    out: &mut Vec<u8>,
    tail: impl FnOnce(bool, &mut Vec<u8>),
) {
    let mut source = Source::open(delivery);
    // What this relay saw before is no news to one that sees more.
    source.known = Known::nothing(Without::SharedWriters);
    let opened = source.opened();
    let reading = Reading::of(&source, &opened);
    let mut head = Head { origin: Some(origin), ..head(delivery, &opened, reading.as_ref()) };
    if delivery.record.original.len() > LARGE_BYTES {
        // Its words may be as large as itself, and the other relay takes only so much.
        (head.namespace, head.entity, head.actor) = (None, None, None);
    }
    write_json(&head, out);
    out.pop();
    out.extend_from_slice(b",\"data\":");
    let from = out.len();
    if delivery.record.kind != RecordKind::Unparsed && delivery.record.kind != RecordKind::Oversized {
        opened.write_data(out);
    }
    let is_whole = !delivery.record.original.is_empty() && out[from..] == delivery.record.original;
    if !is_whole {
        out.truncate(from);
        out.extend_from_slice(b"null");
    }
    tail(is_whole, out);
    out.push(b'}');
}

/// Denied attempts, and events that say nothing, changed nothing.
pub(super) fn compare<'a>(reading: &Reading<'a>) -> Option<Compared<'a>> {
    reading.event.payload.filter(|_| !reading.event.is_denied())?;
    Some(flipt::compared(reading.event, &reading.payload, reading.known))
}

fn change<'a>(compared: &'a Compared<'_>, known: &'a Known) -> ChangeView<'a> {
    let seen = known.seen.filter(|_| compared.before.is_some());
    let differences = compared.differences.as_ref();
    ChangeView {
        kind: compared.kind,
        live: compared.live,
        changed: compared.changed(),
        before: compared.before.as_deref().map(in_compact_form),
        after: compared.after.map(in_compact_form),
        differences: differences.map(|told| &*told.list),
        more_differences: differences.is_some_and(|told| told.more),
        before_seen_at: seen.map(|seen| seen.at),
        before_sequence: seen.and_then(|seen| seen.sequence),
        before_from: seen.map(|seen| seen.by),
        without_before: known.without.filter(|_| compared.before.is_none()),
        late: known.late.as_ref().map(|late| LateView {
            newest: late.newest,
            current: late.current.as_deref().map(in_compact_form),
            deleted: late.is_deleted,
        }),
        closed: known.closed.as_ref(),
        moved: (compared.deed == Deed::Reordered).then(|| moved(known)),
    }
}

fn moved(known: &Known) -> Vec<MovedView<'_>> {
    let places = (1..).zip(&known.order);
    let moved = places.filter(|(now, place)| place.was != Some(*now));
    moved.map(|(now, place)| MovedView { id: &place.id, was: place.was, now }).collect()
}

/// The `type` of a record, such as `flipt.flag.updated` or `audit_relay.gap`.
#[must_use]
pub fn record_type(delivery: &Delivery) -> String {
    Opened::new(&delivery.record, &Opened::json(&delivery.record)).kind()
}

pub(super) fn write_json(value: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("strings and numbers serialize, and a Vec takes all bytes");
}

/// A record with what its bytes say.
pub(super) struct Opened<'a> {
    record: &'a StoredRecord,
    json: &'a [u8],
    /// The event, where it is one.
    pub(super) event: Option<AuditEvent<'a>>,
}

impl<'a> Opened<'a> {
    /// The bytes of a record without their framing.
    pub(super) fn json(record: &StoredRecord) -> Cow<'_, [u8]> {
        match record.kind {
            RecordKind::Event => flipt::unwrap(&record.original, record.framing).unwrap_or_default(),
            _ => Cow::Borrowed(&record.original[..]),
        }
    }

    /// Reads what [`Opened::json`] gave.
    pub(super) fn new(record: &'a StoredRecord, json: &'a [u8]) -> Self {
        let event = match record.kind {
            RecordKind::Event => std::str::from_utf8(json).ok().and_then(|json| AuditEvent::parse(json).ok()),
            _ => None,
        };
        Self { record, json, event }
    }

    fn kind(&self) -> String {
        match (self.record.kind, &self.event) {
            (RecordKind::Event, Some(event)) if event.is_denied() => {
                format!("flipt.{}.{}_denied", event.noun, infinitive(&event.action))
            }
            (RecordKind::Event, Some(event)) => format!("flipt.{}.{}", event.noun, event.action),
            // It was an event at acceptance; should it ever not be one any more, it is told as what it is.
            (RecordKind::Event, None) => "audit_relay.unparsed".to_owned(),
            (kind, _) => format!("audit_relay.{}", kind.as_str()),
        }
    }

    /// What it is about.
    pub(super) fn entity(&self) -> Option<EntityView<'a>> {
        self.entity_of(None)
    }

    /// The same, where its payload may be read already.
    fn entity_of(&self, payload: Option<&Payload<'a>>) -> Option<EntityView<'a>> {
        let entity = self.record.entity.as_ref()?;
        let key = match entity.kind {
            EntityKind::Flag | EntityKind::Segment | EntityKind::Namespace => {
                Some(Cow::Borrowed(&*entity.id))
            }
            EntityKind::Variant => match payload {
                Some(payload) => payload.key.clone(),
                None => self
                    .event
                    .as_ref()
                    .and_then(|event| event.payload)
                    .and_then(|payload| Payload::read(payload).key),
            },
            _ => None,
        };
        Some(EntityView { kind: entity.kind.as_str(), id: &entity.id, key })
    }

    /// The text of an event that is surely without the framing of standard output, which has such a word.
    fn bare_event(&self) -> Option<&'a str> {
        let json = self.event.as_ref().and_then(|_| std::str::from_utf8(self.json).ok());
        json.filter(|json| !json.contains("\"AUDIT\""))
    }

    /// Appends `data`.
    pub(super) fn write_data(&self, out: &mut Vec<u8>) {
        let is_whole = match (self.record.kind, self.bare_event()) {
            (RecordKind::Event, Some(json)) => {
                // It was read as an event, so that it is JSON.
                flipt::copy_compact(json, out);
                true
            }
            (RecordKind::Event, None) => flipt::event_data(self.json, out).is_ok(),
            (RecordKind::Gap | RecordKind::Act, _) => flipt::compact(self.json, out),
            (RecordKind::Unparsed | RecordKind::Oversized, _) => false,
        };
        if !is_whole {
            write_json(&kept(self.record), out);
        }
    }
}

/// What was tried, from what Flipt calls done.
pub(crate) fn infinitive(action: &str) -> &str {
    match action {
        "created" | "updated" | "deleted" => &action[..action.len() - 1],
        other => other,
    }
}

fn kept(record: &StoredRecord) -> Kept<'_> {
    let (original, encoding) = match std::str::from_utf8(&record.original) {
        Ok(text) => (Cow::Borrowed(text), "utf-8"),
        Err(_) => (Cow::Owned(STANDARD.encode(&record.original)), "base64"),
    };
    let oversized = (record.kind == RecordKind::Oversized).then(|| oversized(record)).flatten();
    let reason = match record.kind {
        RecordKind::Oversized => "longer than the limit: only the beginning is kept".to_owned(),
        _ => unparsed_reason(record),
    };
    Kept { reason, oversized, original, encoding }
}

/// What an `unparsed` record says about itself.
pub(crate) fn unparsed_reason(record: &StoredRecord) -> String {
    let detail =
        record.detail.as_deref().and_then(|detail| serde_json::from_str::<UnparsedDetail>(detail).ok());
    detail.map_or_else(|| "could not be read".to_owned(), |detail| detail.reason)
}

/// What an `oversized` record says about itself.
pub(crate) fn oversized(record: &StoredRecord) -> Option<OversizedDetail> {
    serde_json::from_str(record.detail.as_deref()?).ok()
}
