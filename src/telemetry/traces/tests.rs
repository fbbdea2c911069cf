//! Spans as a processor gets them.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use opentelemetry::Context;
use opentelemetry::trace::{SpanId, SpanKind, Status, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};

use super::*;
use crate::config::secret::Secret;
use crate::event::{
    EntityKind, EventId, Framing, Incarnation, Keys, Namespace, NewRecord, OrderKey, Placed, RecordKind,
    TraceContext,
};
use crate::telemetry::settings::Sampler;

#[derive(Debug, Clone, Default)]
struct Seen(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Seen {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Seen {
    fn take(&self) -> Vec<SpanData> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn tracer(ratio: f64, propagates: bool) -> (Tracer, Seen) {
    let seen = Seen::default();
    let sampling = Sampling::new(Sampler { is_parent_based: true, ratio });
    let provider = SdkTracerProvider::builder()
        .with_id_generator(Ids::default())
        .with_sampler(sampling.clone())
        .with_span_processor(seen.clone())
        .build();
    let tracer = Tracer::default();
    tracer.switch(Some(Live { tracer: provider.tracer("audit-relay"), sampling, propagates }));
    (tracer, seen)
}

const ORIGINAL: &[u8] = br#"{"version":"0.2","type":"rule","action":"updated","status":"success","metadata":{"actor":{"authentication":"oidc","name":"ann@example.com"}},"payload":{"id":"r1","flag_key":"dark mode"},"timestamp":"2026-11-23T08:00:00Z"}"#;

fn record(trace: Option<&str>) -> NewRecord {
    NewRecord {
        id: Some(id()),
        kind: RecordKind::Event,
        offset: 0,
        framing: Framing::Auto,
        original: ORIGINAL.to_vec(),
        detail: None,
        event_time: None,
        keys: Keys::barrier(Namespace::Known("production".into())),
        news: None,
        trace: trace.map(|traceparent| TraceContext { traceparent: traceparent.into(), tracestate: None }),
        origin: None,
    }
}

fn id() -> EventId {
    EventId::of_line(Incarnation::name("relay", "flipt", ORIGINAL, 1), 0, ORIGINAL)
}

fn placed() -> Vec<Option<Placed>> {
    let order_key = OrderKey::new("flipt", "production", EntityKind::Flag, "dark mode");
    vec![Some(Placed {
        id: id(),
        sequence: Some(7),
        order_key: Some(order_key),
        change_set: Some("cs_1".into()),
    })]
}

/// Attributes as `key=value`, sorted; numbers of seconds without their value.
fn told(span: &SpanData) -> Vec<String> {
    let mut told: Vec<String> = span
        .attributes
        .iter()
        .map(|pair| match pair.key.as_str() {
            key if key.ends_with("_seconds") => key.to_owned(),
            key => format!("{key}={}", pair.value),
        })
        .collect();
    told.sort();
    told
}

#[test]
fn an_acceptance_is_one_span_whose_context_the_record_keeps() {
    let (tracer, seen) = tracer(1.0, true);
    let mut records = [record(None)];
    let accepting = tracer.accept("flipt", SystemTime::now(), &mut records);
    assert!(seen.take().is_empty(), "nothing is told before it is on disk");
    accepting.placed(&placed());
    let [span] = &seen.take()[..] else { panic!() };
    let context = &span.span_context;
    assert_eq!(
        records[0].trace.as_ref().unwrap().traceparent,
        format!("00-{}-{}-01", context.trace_id(), context.span_id())
    );
    assert_eq!((&*span.name, span.parent_span_id), ("accept flipt", SpanId::INVALID));
    assert_eq!((&span.span_kind, &span.status), (&SpanKind::Producer, &Status::Unset));
    assert_eq!(
        told(span),
        [
            "audit_relay.commit_seconds",
            "audit_relay.record.kind=event",
            "feature_flag.key=dark mode",
            "feature_flag.provider.name=flipt",
            "feature_flag.set.id=production",
            "flipt.audit.action=updated",
            "flipt.audit.change_set=cs_1",
            "flipt.audit.sequence=7",
            "flipt.audit.status=success",
            "flipt.audit.type=rule",
            "flipt.audit.version=0.2",
            "messaging.destination.name=flipt",
            &format!("messaging.message.body.size={}", ORIGINAL.len()),
            &format!("messaging.message.id={}", id()),
            "messaging.operation.name=accept",
            "messaging.operation.type=create",
            "messaging.system=flipt_audit",
        ]
    );
}

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn it_is_below_whatever_the_record_came_with() {
    let (tracer, seen) = tracer(0.0, true);
    let mut records = [record(Some(PARENT)), record(Some(&PARENT.replace("-01", "-00"))), record(None)];
    let came = records.clone().map(|record| record.trace);
    let accepting = tracer.accept("hub", SystemTime::now(), &mut records);
    accepting.placed(&[placed(), placed(), placed()].concat());
    // The first alone: its sender kept it, the second's did not, and of the rest nothing is kept.
    let [span] = &seen.take()[..] else { panic!() };
    assert_eq!(span.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(span.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert!(span.parent_span_is_remote && span.span_kind == SpanKind::Consumer);
    for (record, came) in records.iter().zip(came) {
        let (now, came) = (record.trace.as_ref().unwrap(), came.map(|came| came.traceparent));
        let part = |text: &str, n: usize| text.split('-').nth(n).unwrap().to_owned();
        match came {
            Some(came) => assert_eq!(part(&now.traceparent, 1), part(&came, 1)),
            None => assert_eq!(part(&now.traceparent, 3), "00"),
        }
    }
}

#[test]
fn without_propagation_nothing_that_came_counts() {
    let (tracer, seen) = tracer(1.0, false);
    let mut records = [record(Some(PARENT))];
    tracer.accept("flipt", SystemTime::now(), &mut records).placed(&placed());
    let [span] = &seen.take()[..] else { panic!() };
    assert_ne!(span.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(span.parent_span_id, SpanId::INVALID);
}

#[test]
fn what_is_not_accepted_is_not_told() {
    let (tracer, seen) = tracer(1.0, true);
    drop(tracer.accept("flipt", SystemTime::now(), &mut [record(None)]));
    assert!(seen.take().is_empty());
}

#[test]
fn while_it_is_off_records_stay_as_they_came() {
    let tracer = Tracer::default();
    let mut records = [record(Some(PARENT)), record(None)];
    tracer.accept("flipt", SystemTime::now(), &mut records).placed(&placed());
    assert_eq!(records[0].trace.as_ref().unwrap().traceparent, PARENT);
    assert_eq!(records[1].trace, None);
}

fn outgoing(carried: Carried, thread: Option<Thread>, attempt: u32) -> Outgoing {
    Outgoing {
        destination: "siem".into(),
        destination_type: "webhook",
        batch_id: "bat_1".into(),
        attempt,
        is_replay: false,
        carried,
        environment: None,
        begun: SystemTime::now(),
        rendering: Duration::from_millis(1),
        thread,
    }
}

#[test]
fn attempts_of_one_delivery_hang_together() {
    let (tracer, seen) = tracer(1.0, true);
    let url = Secret::new("https://user:s3cret@hooks.example.com:8443/s3cret/path?token=s3cret");
    let target = Target { method: "POST", url: &url, size_bytes: 12 };
    let first = tracer.send(outgoing(Carried::default(), None, 1));
    let attempt = first.attempt(&target);
    let header = first.header(&attempt).unwrap();
    attempt.answered(503);
    let thread = first.thread();
    first.ended("retry", Some("status_503"));
    let second = tracer.send(outgoing(Carried::default(), thread.clone(), 2));
    second.attempt(&target).failed("timeout");
    assert_eq!(second.thread(), thread);
    second.ended("delivered", None);

    let spans = seen.take();
    let [post, send, again, delivered] = &spans[..] else { panic!("{spans:#?}") };
    let trace = send.span_context.trace_id();
    assert!(spans.iter().all(|span| span.span_context.trace_id() == trace));
    assert_eq!(send.parent_span_id, SpanId::INVALID);
    assert_eq!(post.parent_span_id, send.span_context.span_id());
    assert_eq!(delivered.parent_span_id, send.span_context.span_id());
    assert_eq!(again.parent_span_id, delivered.span_context.span_id());
    assert_eq!(header.traceparent, format!("00-{trace}-{}-01", post.span_context.span_id()));
    assert_eq!(header.tracestate, None);
    assert_eq!((&*send.name, &*post.name), ("send siem", "POST"));
    assert!(matches!(send.status, Status::Error { .. }) && delivered.status == Status::Unset);
    assert_eq!(
        told(post),
        [
            "error.type=503",
            "http.request.body.size=12",
            "http.request.method=POST",
            "http.response.status_code=503",
            "network.protocol.name=http",
            "server.address=hooks.example.com",
            "server.port=8443",
            "url.full=https://hooks.example.com:8443/REDACTED",
            "url.scheme=https",
        ]
    );
    assert!(told(again).contains(&"http.request.resend_count=1".to_owned()));
    assert!(told(again).contains(&"error.type=timeout".to_owned()));
    assert!(!format!("{spans:?}").contains("s3cret"));
}

#[test]
fn a_delivery_is_linked_to_what_it_carries_and_kept_with_it() {
    let (tracer, seen) = tracer(0.0, true);
    for (flags, is_kept) in [("-01", true), ("-00", false)] {
        let mut records = [record(Some(&PARENT.replace("-01", flags))), record(None)];
        tracer.accept("flipt", SystemTime::now(), &mut records).placed(&[]);
        let accepted = seen.take();
        let contexts: Vec<TraceContext> = records.iter().filter_map(|record| record.trace.clone()).collect();
        let sending = tracer.send(outgoing(Carried::linked(&contexts), None, 1));
        sending.ended("delivered", None);
        let spans = seen.take();
        assert_eq!(spans.len(), usize::from(is_kept));
        for span in spans {
            let links: Vec<_> = span.links.iter().map(|link| link.span_context.span_id()).collect();
            assert_eq!(links.len(), 2);
            assert_eq!(links[0], accepted[0].span_context.span_id());
            assert!(span.links.iter().all(|link| link.span_context.is_remote()));
        }
    }
}
