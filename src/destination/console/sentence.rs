//! One line about one record, in plain words.

use crate::destination::Delivery;
use crate::destination::envelope::{infinitive, oversized, unparsed_reason};
use crate::destination::text::one_line;
use crate::event::{EntityKind, GapDetail, RecordKind, StoredRecord};
use crate::flipt::{self, AuditEvent, Payload};

/// Names and keys are shown up to here, …
const NAME_CHARACTERS: usize = 80;
/// … and reasons and messages up to here.
const MESSAGE_CHARACTERS: usize = 300;

/// The line, without its newline: time of day in UTC, and what happened.
pub(super) fn line(delivery: &Delivery) -> String {
    let record = &delivery.record;
    let time = record.event_time.unwrap_or(record.accepted_at).to_utc();
    let source = name(&record.source);
    let warning = |kind: &str, message: &str| {
        format!("⚠ {kind} (source {source}): {}", one_line(message, MESSAGE_CHARACTERS))
    };
    let what = match record.kind {
        RecordKind::Event => {
            event(delivery).unwrap_or_else(|| warning("unreadable", "this record was an audit event"))
        }
        RecordKind::Unparsed => warning("not readable as an audit event", &unparsed_reason(record)),
        RecordKind::Oversized => warning("too long for an audit event", &length(record)),
        RecordKind::Gap => warning("gap", &gap_message(record)),
        RecordKind::Act => {
            let act = String::from_utf8_lossy(&record.original);
            format!("an operator acted: {}", one_line(&act, MESSAGE_CHARACTERS))
        }
    };
    format!("{:02}:{:02}:{:02}  {what}", time.hour(), time.minute(), time.second())
}

fn event(delivery: &Delivery) -> Option<String> {
    let record = &delivery.record;
    let json = flipt::unwrap(&record.original, record.framing).ok()?;
    let event = AuditEvent::parse(std::str::from_utf8(&json).ok()?).ok()?;
    let who = who(&event);
    let place = place(delivery);
    let payload = event.payload.map(Payload::read).unwrap_or_default();
    let noun = name(&event.noun);
    let of = of_owner(&event.noun, &payload, record);
    if event.is_denied() {
        let tried = infinitive(&event.action);
        return Some(format!("{who} was refused: {} {}{of}{place}", name(tried), thing(&noun, &payload)));
    }
    if payload.is_order() {
        return Some(format!("{who} reordered the {noun}s{of}{place}"));
    }
    Some(format!("{who} {} {}{of}{place}", name(&event.action), thing(&noun, &payload)))
}

fn name(text: &str) -> String {
    one_line(text, NAME_CHARACTERS)
}

fn who(event: &AuditEvent<'_>) -> String {
    let actor = event.actor();
    match (actor.name.or(actor.email), actor.authentication.as_deref()) {
        (Some(said), _) => name(&said),
        (None, Some("token")) => "An API token".to_owned(),
        (None, _) => "Someone".to_owned(),
    }
}

/// `flag checkout`, `variant on`, `a rule`. Ids are never shown.
fn thing(noun: &str, payload: &Payload<'_>) -> String {
    let own = match EntityKind::parse(noun) {
        Some(EntityKind::Rule | EntityKind::Rollout | EntityKind::Distribution) => None,
        Some(EntityKind::Constraint) => payload.property.as_deref(),
        Some(EntityKind::Token) => payload.token_name.as_deref(),
        _ => payload.key.as_deref(),
    };
    match own {
        Some(own) => format!("{noun} {}", name(own)),
        None if noun.starts_with(['a', 'e', 'i', 'o', 'u']) => format!("an {noun}"),
        None => format!("a {noun}"),
    }
}

/// ` of flag checkout`: as the event says, else as found out at acceptance.
fn of_owner(noun: &str, payload: &Payload<'_>, record: &StoredRecord) -> String {
    let (owner, said) = match EntityKind::parse(noun) {
        Some(EntityKind::Constraint) => (EntityKind::Segment, payload.segment_key.as_deref()),
        Some(EntityKind::Variant | EntityKind::Rule | EntityKind::Rollout | EntityKind::Distribution) => {
            (EntityKind::Flag, payload.flag_key.as_deref())
        }
        _ => return String::new(),
    };
    let found = || record.order_key.as_ref()?.owner().filter(|(kind, _)| *kind == owner).map(|(_, key)| key);
    match said.map(str::to_owned).or_else(found) {
        Some(key) => format!(" of {} {}", owner.as_str(), name(&key)),
        None => String::new(),
    }
}

/// ` in production`, ` in production (payments)`, ` in namespace payments`.
fn place(delivery: &Delivery) -> String {
    let is_namespace =
        delivery.record.entity.as_ref().is_some_and(|entity| entity.kind == EntityKind::Namespace);
    let namespace = delivery.record.namespace.known().filter(|_| !is_namespace);
    match (delivery.environment.as_deref(), namespace) {
        (Some(environment), Some(namespace)) if environment != namespace => {
            format!(" in {} ({})", name(environment), name(namespace))
        }
        (Some(environment), _) => format!(" in {}", name(environment)),
        (None, Some(namespace)) => format!(" in namespace {}", name(namespace)),
        (None, None) => String::new(),
    }
}

fn length(record: &StoredRecord) -> String {
    match oversized(record) {
        Some(detail) => format!(
            "a line of {} bytes, of which the first {} are kept",
            detail.length_bytes, detail.kept_bytes
        ),
        None => "only its beginning is kept".to_owned(),
    }
}

fn gap_message(record: &StoredRecord) -> String {
    let detail = serde_json::from_slice::<GapDetail>(&record.original);
    detail.map_or_else(|_| "something is missing".to_owned(), |detail| detail.message)
}
