//! The acceptance of records: one span for each, from the moment it was met until it is on disk.
//!
//! Names and attributes are those of <https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/> and
//! <https://opentelemetry.io/docs/specs/semconv/feature-flags/>; what is Flipt's own is under `flipt.audit`.

use std::time::SystemTime;

use opentelemetry::trace::{
    SpanContext, SpanKind, TraceContextExt as _, TraceFlags, TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue, trace::Span as _};
use opentelemetry_sdk::trace::IdGenerator as _;

use super::ids::{Ids, with_ids_of};
use super::{Live, SYSTEM, Tracer, context};
use crate::event::{EntityKind, NewRecord, OrderKey, Placed, RecordKind};
use crate::flipt::{AuditEvent, unwrap};

/// Records on their way into the journal, whose contexts are fixed.
#[derive(Debug, Default)]
pub struct Accepting {
    live: Option<Live>,
    begun: Option<SystemTime>,
    handed_over: Option<SystemTime>,
    source: String,
    records: Vec<Pending>,
}

#[derive(Debug)]
struct Pending {
    parent: Option<SpanContext>,
    context: SpanContext,
    /// Of one that is kept.
    attributes: Option<Vec<KeyValue>>,
}

impl Tracer {
    /// Gives each of `records`, which `source` has met at `begun`, a context of its own: part of the trace that it
    /// came with, or of a new one. Nothing is told before [`Accepting::placed`].
    #[must_use]
    pub fn accept(&self, source: &str, begun: SystemTime, records: &mut [NewRecord]) -> Accepting {
        let Some(live) = self.live().filter(|_| !records.is_empty()) else { return Accepting::default() };
        let pending = records.iter_mut().map(|record| {
            let came = record.trace.as_ref().filter(|_| live.propagates).and_then(context::read);
            let (parent, context) = next(&live, came);
            record.trace = Some(context::write(&context));
            let attributes = context.is_sampled().then(|| describe(source, record, parent.is_some()));
            Pending { parent, context, attributes }
        });
        let records = pending.collect();
        Accepting {
            records,
            live: Some(live),
            begun: Some(begun),
            handed_over: Some(SystemTime::now()),
            source: source.to_owned(),
        }
    }
}

/// The context of a span below `parent`.
fn next(live: &Live, parent: Option<SpanContext>) -> (Option<SpanContext>, SpanContext) {
    let ids = Ids::default();
    let trace_id = parent.as_ref().map_or_else(|| ids.new_trace_id(), SpanContext::trace_id);
    let is_kept = live.sampling.keeps(parent.as_ref(), trace_id, &[]);
    let state = parent.as_ref().map_or(TraceState::NONE, |parent| parent.trace_state().clone());
    let flags = TraceFlags::default().with_sampled(is_kept);
    let context = SpanContext::new(trace_id, ids.new_span_id(), flags, false, state);
    (parent, context)
}

/// What can be said before the journal has it.
fn describe(source: &str, record: &NewRecord, has_sender: bool) -> Vec<KeyValue> {
    let mut told = Vec::with_capacity(20);
    told.extend([
        KeyValue::new("messaging.system", SYSTEM),
        KeyValue::new("messaging.operation.name", "accept"),
        KeyValue::new("messaging.operation.type", if has_sender { "process" } else { "create" }),
        KeyValue::new("messaging.destination.name", source.to_owned()),
        KeyValue::new(
            "messaging.message.body.size",
            i64::try_from(record.original.len()).unwrap_or(i64::MAX),
        ),
        KeyValue::new("audit_relay.record.kind", record.kind.as_str()),
    ]);
    if let Some(namespace) = record.keys.namespace.known() {
        told.push(KeyValue::new("feature_flag.set.id", namespace.to_owned()));
    }
    if let Some(origin) = &record.origin {
        told.push(KeyValue::new("audit_relay.origin.relay", origin.relay.clone()));
    }
    if record.kind != RecordKind::Event {
        return told;
    }
    told.push(KeyValue::new("feature_flag.provider.name", "flipt"));
    let json = unwrap(&record.original, record.framing).ok();
    if let Some(event) = json.as_deref().and_then(AuditEvent::read) {
        told.extend([
            KeyValue::new("flipt.audit.type", event.noun.into_owned()),
            KeyValue::new("flipt.audit.action", event.action.into_owned()),
            KeyValue::new("flipt.audit.status", event.status.into_owned()),
            KeyValue::new("flipt.audit.version", event.version.into_owned()),
        ]);
    }
    told
}

impl Accepting {
    /// The journal holds the records, on disk, since this moment; `placed` tells what became of each, `None` where
    /// one was only counted.
    pub fn placed(self, placed: &[Option<Placed>]) {
        let Self { live: Some(live), begun: Some(begun), handed_over: Some(handed_over), source, records } =
            self
        else {
            return;
        };
        let now = SystemTime::now();
        let seconds = |from: SystemTime| now.duration_since(from).unwrap_or_default().as_secs_f64();
        let commit_seconds = seconds(handed_over);
        let name = format!("accept {source}");
        let placed = placed.iter().map(Option::as_ref).chain(std::iter::repeat(None));
        for (pending, placed) in records.into_iter().zip(placed) {
            let Pending { parent, context, attributes: Some(mut attributes) } = pending else { continue };
            attributes.push(KeyValue::new("audit_relay.commit_seconds", commit_seconds));
            attributes.extend(placed.into_iter().flat_map(placement));
            let kind = if parent.is_some() { SpanKind::Consumer } else { SpanKind::Producer };
            let builder = live
                .tracer
                .span_builder(name.clone())
                .with_kind(kind)
                .with_start_time(begun)
                .with_attributes(attributes);
            let above =
                parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent));
            let mut span = with_ids_of(&context, || live.tracer.build_with_context(builder, &above));
            span.end_with_timestamp(now);
        }
    }
}

/// What the journal knows of it.
fn placement(placed: &Placed) -> Vec<KeyValue> {
    let mut told = vec![KeyValue::new("messaging.message.id", placed.id.to_string())];
    match placed.sequence {
        Some(sequence) => {
            told.push(KeyValue::new("flipt.audit.sequence", i64::try_from(sequence).unwrap_or(i64::MAX)));
        }
        None => told.push(KeyValue::new("audit_relay.duplicate", true)),
    }
    if let Some((EntityKind::Flag, key)) = placed.order_key.as_ref().and_then(OrderKey::owner) {
        told.push(KeyValue::new("feature_flag.key", key));
    }
    if let Some(change_set) = &placed.change_set {
        told.push(KeyValue::new("flipt.audit.change_set", change_set.to_string()));
    }
    told
}
