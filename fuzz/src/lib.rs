//! What the targets share: records made of whatever bytes a fuzzer makes up, destinations to render them for, and
//! the account that each rendering owes.

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/support/datadog/limits.rs"]
pub mod datadog_limits;
#[path = "../../tests/it/support/slack/limits.rs"]
pub mod slack_limits;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use audit_relay::config::plan::{DestinationKind, Plan};
use audit_relay::config::{LoadOptions, References, load};
use audit_relay::destination::datadog::Datadog;
use audit_relay::destination::slack::Slack;
use audit_relay::destination::{Delivery, Destination, RenderContext, Request};
use audit_relay::event::{
    BatchId, EventId, Framing, Incarnation, Keys, Known, Namespace, OrderRef, RecordKind, Seen, SeenBy,
    StoredRecord, Timestamp, UnparsedDetail, Without,
};
use audit_relay::flipt::{AuditEvent, LineKind, read_line};
use serde_json::Value;

const NOW: Timestamp = Timestamp::from_unix_micros(1_795_332_443_000_000);

/// A plan in which all is used that changes a message.
static PLAN: LazyLock<Plan> = LazyLock::new(|| {
    let services: Vec<String> = (0..120).map(|number| format!("service-{number}")).collect();
    let text = include_str!("../../tests/it/bodies/relay.yaml").replace("SERVICES", &services.join(", "));
    let path = scratch("relay.yaml");
    std::fs::write(&path, text.replace("DIR", "/nonexistent")).expect("the configuration is written");
    load(&options(path)).unwrap_or_else(|problems| panic!("{problems}")).plan
});

/// Where this process may write a file.
pub fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("audit-relay-fuzz-{}-{name}", std::process::id()))
}

/// How configurations are read here: secrets may stand in them, and nothing is looked up elsewhere.
pub fn options(path: PathBuf) -> LoadOptions {
    LoadOptions {
        config: Some(path),
        environment: Vec::new(),
        references: References::Ignore,
        allow_inline_secrets: true,
    }
}

/// The Slack and Datadog destinations of that plan, by name.
///
/// # Panics
/// When it names none.
pub fn destination(name: &str) -> Box<dyn Destination + Send + Sync> {
    match PLAN.destinations[name].kind.clone() {
        Ok(DestinationKind::Slack(slack)) => Box::new(Slack::new(*slack)),
        Ok(DestinationKind::Datadog(datadog)) => Box::new(Datadog::new(*datadog)),
        _ => panic!("{name} is no such destination"),
    }
}

/// One record a line. What events of the same type told before is known of those that come after; events in a row
/// are a change set, which an empty line ends.
pub fn deliveries(bytes: &[u8]) -> Vec<Delivery> {
    let mut states = BTreeMap::new();
    let mut change_set: Option<Box<str>> = None;
    let mut all = Vec::new();
    for (line, place) in bytes.split(|byte| *byte == b'\n').zip(0..) {
        if line.is_empty() {
            change_set = None;
            continue;
        }
        let Some(mut record) = record(line, place, &mut states) else { continue };
        if record.kind == RecordKind::Event {
            let first = || format!("cs_{}", record.id.to_string().trim_start_matches("evt_")).into();
            record.change_set = Some(change_set.get_or_insert_with(first).clone());
        }
        let environment = PLAN.environment_of(&record.source, &record.namespace);
        all.push(Delivery { record, environment });
    }
    all
}

fn record(line: &[u8], place: u64, states: &mut BTreeMap<String, Box<str>>) -> Option<StoredRecord> {
    let incarnation = Incarnation::name("audit-relay", "flipt", b"fuzz", 0);
    let mut record = StoredRecord {
        sequence: place + 1,
        id: EventId::of_line(incarnation, place, line),
        kind: RecordKind::Event,
        source: "flipt".into(),
        instance: "flipt".into(),
        epoch: "fuzz".into(),
        accepted_at: NOW,
        event_time: None,
        namespace: Namespace::None,
        entity: None,
        order_key: None,
        framing: Framing::Auto,
        original: line.to_vec(),
        detail: None,
        trace: None,
        origin: None,
        known: None,
        change_set: None,
        running: Duration::from_secs(60),
    };
    match read_line(line, Framing::Auto, "flipt") {
        LineKind::Event { time, keys, .. } => {
            record.known = known(line, states);
            record.event_time = time;
            place_in_order(&mut record, keys);
        }
        LineKind::Unparsed { reason, .. } => {
            record.kind = RecordKind::Unparsed;
            let detail = UnparsedDetail { reason: reason.to_string() };
            record.detail = serde_json::to_string(&detail).ok();
        }
        _ => return None,
    }
    Some(record)
}

fn place_in_order(record: &mut StoredRecord, keys: Keys) {
    record.namespace = keys.namespace;
    record.entity = keys.entity;
    if let OrderRef::Known(key) = keys.order {
        record.order_key = Some(key);
    }
}

/// What was known before an event: the payload of the one before of its type.
fn known(line: &[u8], states: &mut BTreeMap<String, Box<str>>) -> Option<Box<str>> {
    let json = audit_relay::flipt::unwrap(line, Framing::Auto).ok()?;
    let event = AuditEvent::parse(std::str::from_utf8(&json).ok()?).ok()?;
    let payload = event.payload?;
    let seen = Seen { at: NOW, sequence: Some(1), by: SeenBy::Event };
    let before = states.insert(event.noun.to_string(), payload.get().into());
    let known = match before.and_then(|state| serde_json::value::RawValue::from_string(state.into()).ok()) {
        Some(state) => Known { before: Some(state), seen: Some(seen), ..Known::default() },
        None => Known::nothing(Without::Created),
    };
    serde_json::to_string(&known).ok().map(Into::into)
}

/// As many of them as this destination takes at once.
pub fn within(destination: &dyn Destination, mut group: Vec<Delivery>) -> Vec<Delivery> {
    let limits = destination.limits();
    let mut bytes = 0;
    let fits = |delivery: &&Delivery| {
        bytes += delivery.record.size_bytes();
        bytes <= limits.max_bytes
    };
    let count = group.iter().take(limits.max_events).take_while(fits).count().max(1);
    group.truncate(count);
    group
}

/// The bodies that a group becomes. Each record of it is told, left out, or a dead letter, and only one of these.
///
/// # Panics
/// When one is not, or a body is no JSON.
pub fn bodies(destination: &dyn Destination, group: Vec<Delivery>, is_late: bool) -> Vec<Value> {
    let group = within(destination, group);
    let ids: Vec<EventId> = group.iter().map(|delivery| delivery.record.id).collect();
    let last = group.iter().map(|delivery| delivery.record.event_time.unwrap_or(NOW)).max();
    let late = Duration::from_secs(if is_late { 20 * 3_600 } else { 30 });
    let context = RenderContext {
        now: last.unwrap_or(NOW).plus(late),
        attempt: 1,
        batch_id: BatchId::of("fuzz", &ids),
        replay: false,
    };
    let rendered = destination.render(&group, &context);
    let told = rendered.requests.iter().flat_map(|outbound| outbound.members.iter().copied());
    let dead = rendered.unrenderable.iter().map(|(id, _)| *id);
    let accounted: Vec<EventId> = told.chain(dead).chain(rendered.left_out.iter().copied()).collect();
    assert_eq!(accounted.len(), ids.len());
    assert_eq!(accounted.iter().collect::<HashSet<_>>(), ids.iter().collect::<HashSet<_>>());
    let body = |outbound: &audit_relay::destination::Outbound| {
        let Request::Http(request) = &outbound.request else { panic!("no request") };
        serde_json::from_slice(&request.body).expect("a body is JSON")
    };
    rendered.requests.iter().map(body).collect()
}
