//! What receivers of OTLP are sent: every captured line and every kind of record, in golden files; within bounds
//! whatever an event holds.

mod answers;

use std::collections::BTreeMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs};
use proptest::prelude::*;
use prost::Message as _;
use serde_json::{Value, json};

use super::datadog::hostile;
use super::telling::{self, created, flag, seen, told};
use super::{FILES, act, batch, context, deliveries, fixture, gap, golden, oversized, time, unparsed};
use crate::config::plan::{OtlpCompression, OtlpPlan, RedactPlan, Redaction};
use crate::config::secret::Secret;
use crate::destination::otlp::{Otlp, readable};
use crate::destination::redact::Redacted;
use crate::destination::{Delivery, Destination, HttpRequest, RenderContext, Request};
use crate::event::{Origin, RecordKind, Timestamp, TraceContext};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn plan() -> OtlpPlan {
    OtlpPlan {
        name: "flipt-0".to_owned(),
        url: Arc::new(Secret::new("https://collector.example.com/v1/logs")),
        headers: vec![("x-tenant".to_owned(), Secret::new("PLANTED"))],
        compression: OtlpCompression::None,
        attributes: BTreeMap::from([("deployment.environment.name".to_owned(), "prod".to_owned())]),
    }
}

fn requested(plan: OtlpPlan, all: &[Delivery], context: &RenderContext) -> HttpRequest {
    let mut rendered = Otlp::new(plan, batch(100)).render(all, context);
    assert!(rendered.unrenderable.is_empty() && rendered.left_out.is_empty());
    let outbound = rendered.requests.remove(0);
    assert!(rendered.requests.is_empty());
    assert!(outbound.members.iter().eq(all.iter().map(|delivery| &delivery.record.id)));
    let Request::Http(request) = outbound.request else { panic!("{:?}", outbound.request) };
    request
}

fn resource_logs(all: &[Delivery]) -> Vec<ResourceLogs> {
    let body = requested(plan(), all, &context(all)).body;
    ExportLogsServiceRequest::decode(&*body).unwrap().resource_logs
}

fn log_records(all: &[Delivery]) -> Vec<LogRecord> {
    let logs = resource_logs(all).into_iter().flat_map(|logs| logs.scope_logs);
    logs.flat_map(|logs| logs.log_records).collect()
}

fn log_record(delivery: &Delivery) -> LogRecord {
    let mut all = log_records(std::slice::from_ref(delivery));
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a Any> {
    attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()
}

fn text<'a>(record: &'a LogRecord, key: &str) -> Option<&'a str> {
    match attribute(&record.attributes, key)? {
        Any::StringValue(text) => Some(text),
        other => panic!("{key}: {other:?}"),
    }
}

/// One of each kind, one in a trace, and one that came through another relay.
fn one_of_each() -> Vec<Delivery> {
    let on = json!({"description": "PAY-481", "enabled": true, "key": "checkout", "name": "Checkout", "namespace_key": "production"});
    let mut changed = told("flag", "updated", &on, &seen(1, &flag(false)));
    changed.record.trace = Some(TraceContext {
        traceparent: format!("00-{TRACE}-00f067aa0ba902b7-01"),
        tracestate: Some("rojo=1".into()),
    });
    changed.record.change_set = Some("cs_00000000000000000000000000".into());
    let mut denied = deliveries(&fixture("v0.2_logfile_encoding-json.log"));
    denied.retain(|delivery| {
        String::from_utf8_lossy(&delivery.record.original).contains(r#""status":"denied""#)
    });
    let mut passed_on = told("flag", "created", &flag(false), &created());
    passed_on.record.origin = Some(Origin {
        relay: "edge-7".into(),
        epoch: "first".into(),
        sequence: 3,
        accepted_at: time("2026-11-22T07:39:00.000001Z"),
    });
    let late = told("flag", "updated", &flag(true), &telling::late(Some(&flag(false))));
    vec![
        changed,
        denied.remove(0),
        passed_on,
        late,
        gap(),
        unparsed(b"{\"a\""),
        unparsed(b"{\xff}"),
        oversized(),
        act(),
    ]
}

/// `UPDATE_GOLDEN=1` writes the file anew; read it before you commit it.
#[test]
fn every_kind_of_record_reads_as_it_was_read() {
    let all = one_of_each();
    let body = requested(plan(), &all, &context(&all)).body;
    let shown = readable(&body).unwrap().replace(env!("CARGO_PKG_VERSION"), "VERSION") + "\n";
    assert!(!shown.contains("PLANTED"));
    golden("otlp.json", &shown);
}

fn line(any: &AnyValue) -> Value {
    match any.value.as_ref().unwrap() {
        Any::StringValue(text) => json!(text),
        Any::BoolValue(truth) => json!(truth),
        Any::IntValue(number) => json!(number),
        Any::ArrayValue(array) => array.values.iter().map(line).collect::<Vec<_>>().into(),
        Any::KvlistValue(list) => {
            list.values.iter().map(|entry| (entry.key.clone(), line(entry.value.as_ref().unwrap()))).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// A log record but for its body, on some lines.
fn told_plainly(record: &LogRecord) -> String {
    let at = |nanoseconds: u64| Timestamp::from_unix_micros(i64::try_from(nanoseconds / 1_000).unwrap());
    let mut text = format!(
        "{} {} {} ({}), seen {}\n",
        record.severity_number,
        record.severity_text,
        record.event_name,
        at(record.time_unix_nano),
        at(record.observed_time_unix_nano)
    );
    for attribute in &record.attributes {
        text.push_str(&format!("  {} = {}\n", attribute.key, line(attribute.value.as_ref().unwrap())));
    }
    text
}

/// Without what tells files apart.
fn told_alike(record: &LogRecord) -> String {
    let own = ["log.record.uid", "flipt.audit.version"];
    let mut record = LogRecord { time_unix_nano: 0, ..record.clone() };
    record.attributes.retain(|attribute| !own.contains(&attribute.key.as_str()));
    told_plainly(&record)
}

/// Bodies are the lines themselves; the same events in other framings and from pushes are told alike.
#[test]
fn every_captured_line_is_a_log_record() {
    let mut text = String::new();
    let mut first: Option<Vec<String>> = None;
    for file in FILES {
        let content = fixture(file);
        let records = log_records(&deliveries(&content));
        assert_eq!(records.len(), content.lines().count(), "{file}");
        for (record, line) in records.iter().zip(content.lines()) {
            let body = record.body.as_ref().and_then(|body| body.value.as_ref());
            assert_eq!(body, Some(&Any::StringValue(line.to_owned())), "{file}");
            assert_eq!((record.flags, record.trace_id.len(), record.span_id.len()), (0, 0, 0));
        }
        let alike: Vec<String> = records.iter().map(told_alike).collect();
        match &first {
            Some(first) if file.starts_with("v0.2") => assert_eq!(alike, *first, "{file}"),
            _ => {
                text.push_str(&format!("# {file}\n"));
                records.iter().for_each(|record| text.push_str(&told_plainly(record)));
                text.push('\n');
            }
        }
        first = first.or_else(|| file.starts_with("v0.2").then_some(alike));
    }
    golden("otlp.txt", &text);
}

#[test]
fn a_request_says_what_it_is_and_carries_the_headers_of_the_plan() {
    let all = one_of_each();
    let said = |plan: OtlpPlan, context: &RenderContext| -> (BTreeMap<String, String>, Vec<u8>) {
        let request = requested(plan, &all, context);
        assert_eq!((request.method, request.url.expose()), ("POST", "https://collector.example.com/v1/logs"));
        let headers = request.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()));
        let count = request.headers.len();
        let headers: BTreeMap<_, _> = headers.collect();
        assert_eq!(headers.len(), count, "a header twice");
        (headers, request.body)
    };
    let (headers, plain) = said(plan(), &context(&all));
    let agent = concat!("audit-relay/", env!("CARGO_PKG_VERSION"));
    let expected =
        [("content-type", "application/x-protobuf"), ("user-agent", agent), ("x-tenant", "PLANTED")];
    assert!(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected), "{headers:?}");

    let own = ("user-agent".to_owned(), Secret::new("ours"));
    let gzip = OtlpPlan { compression: OtlpCompression::Gzip, headers: vec![own], ..plan() };
    let (headers, packed) = said(gzip, &RenderContext { replay: true, ..context(&all) });
    let expected = [
        ("audit-relay-replay", "true"),
        ("content-encoding", "gzip"),
        ("content-type", "application/x-protobuf"),
        ("user-agent", "ours"),
    ];
    assert!(headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(expected), "{headers:?}");
    assert!(packed.len() * 2 < plain.len(), "{} of {}", packed.len(), plain.len());
    let marks = |body: &[u8]| readable(body).unwrap().matches("audit_relay.replay").count();
    assert_eq!((marks(&plain), marks(&packed)), (0, all.len()));
    assert_eq!(readable(b"{\"a\": 1}"), None);
}

#[test]
fn each_instance_is_a_service_of_its_own_and_keeps_its_order() {
    let mut all = deliveries(&fixture("v0.2_logfile_encoding-json.log"));
    for delivery in all.iter_mut().step_by(3) {
        delivery.record.instance = "flipt_us".into();
    }
    let logs = resource_logs(&all);
    let service = |logs: &ResourceLogs| {
        let attributes = &logs.resource.as_ref().unwrap().attributes;
        assert_eq!(attribute(attributes, "audit_relay.name"), Some(&Any::StringValue("flipt-0".into())));
        assert_eq!(
            attribute(attributes, "deployment.environment.name"),
            Some(&Any::StringValue("prod".into()))
        );
        match attribute(attributes, "service.name") {
            Some(Any::StringValue(name)) => name.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(logs.iter().map(service).collect::<Vec<_>>(), ["flipt_us", "flipt"]);
    for (logs, instance) in logs.iter().zip(["flipt_us", "flipt"]) {
        let [scope_logs] = &logs.scope_logs[..] else { panic!() };
        let scope = scope_logs.scope.as_ref().unwrap();
        assert_eq!((&*scope.name, &*scope.version), ("audit-relay", env!("CARGO_PKG_VERSION")));
        let ids =
            scope_logs.log_records.iter().map(|record| text(record, "log.record.uid").unwrap().to_owned());
        let of_instance = all.iter().filter(|delivery| &*delivery.record.instance == instance);
        assert!(ids.eq(of_instance.map(|delivery| delivery.record.id.to_string())));
    }
}

/// Who writes `service.name` means it.
#[test]
fn attributes_of_the_plan_stand_in_the_place_of_those_of_the_relay() {
    let all = deliveries(&fixture("v0.2_logfile_encoding-json.log"));
    let attributes = BTreeMap::from([("service.name".to_owned(), "flags".to_owned())]);
    let body = requested(OtlpPlan { attributes, ..plan() }, &all, &context(&all)).body;
    let request = ExportLogsServiceRequest::decode(&*body).unwrap();
    let attributes = &request.resource_logs[0].resource.as_ref().unwrap().attributes;
    let names: Vec<&str> = attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    assert_eq!(names, ["audit_relay.name", "service.name"]);
    assert_eq!(attribute(attributes, "service.name"), Some(&Any::StringValue("flags".into())));
}

#[test]
fn a_record_is_part_of_the_trace_that_came_with_it() {
    let record = log_record(&one_of_each()[0]);
    assert_eq!(hex::encode(&record.trace_id), TRACE);
    assert_eq!((hex::encode(&record.span_id).as_str(), record.flags), ("00f067aa0ba902b7", 1));
}

#[test]
fn times_that_otlp_cannot_write_are_those_of_acceptance() {
    let mut delivery = deliveries(&fixture("v0.2_logfile_encoding-json.log")).remove(0);
    let accepted = 1_795_333_210_250_000_000;
    for (event_time, expected) in [
        (Some(time("2026-11-22T07:32:19Z")), 1_795_332_739_000_000_000),
        (Some(time("1969-12-31T23:59:59Z")), accepted),
        (Some(time("9999-12-31T23:59:59Z")), accepted),
        (None, accepted),
    ] {
        delivery.record.event_time = event_time;
        let record = log_record(&delivery);
        assert_eq!(
            (record.time_unix_nano, record.observed_time_unix_nano),
            (expected, accepted),
            "{event_time:?}"
        );
    }
}

#[test]
fn what_is_no_text_is_bytes() {
    let record = log_record(&unparsed(b"{\xff}"));
    let body = record.body.and_then(|body| body.value);
    assert_eq!(body, Some(Any::BytesValue(b"{\xff}".to_vec())));
}

#[test]
fn long_texts_are_cut_in_attributes_and_whole_in_the_body() {
    let key = "é".repeat(40_000);
    let payload = json!({"key": key, "description": key, "namespace_key": "default"});
    let delivery = told(
        "flag",
        "updated",
        &payload,
        &seen(1, &json!({"key": key, "description": "", "namespace_key": "default"})),
    );
    let record = log_record(&delivery);
    let told = text(&record, "feature_flag.key").unwrap();
    assert!(told.len() <= 4_096 && told.len() > 4_090 && told.ends_with("é…"), "{}", told.len());
    let Some(Any::ArrayValue(changes)) = attribute(&record.attributes, "flipt.audit.changes") else {
        panic!()
    };
    let Some(Any::KvlistValue(change)) = &changes.values[0].value else { panic!() };
    let Some(Any::StringValue(new)) = attribute(&change.values, "new") else { panic!() };
    assert!(new.len() <= 512 && new.ends_with('…'));
    let rest: usize = record.attributes.iter().map(prost::Message::encoded_len).sum();
    assert!(rest < 16_384, "{rest}");
    let Some(Any::StringValue(body)) = record.body.and_then(|body| body.value) else { panic!() };
    assert_eq!(body.as_bytes(), delivery.record.original);
}

#[test]
fn what_is_redacted_is_nowhere() {
    let redact = RedactPlan {
        email: Some(Redaction::Mask),
        ip: Some(Redaction::Drop),
        name: Some(Redaction::Drop),
        fields: BTreeMap::from([("description".to_owned(), Redaction::Mask)]),
    };
    let all = one_of_each();
    let redacted = Redacted::new(Arc::new(Otlp::new(plan(), batch(100))), redact);
    let mut rendered = redacted.render(&all, &context(&all));
    let Request::Http(request) = rendered.requests.remove(0).request else { panic!() };
    let shown = readable(&request.body).unwrap();
    for secret in ["ann@example.com", "Ann", "10.1.2.3", "PAY-481", "{\\\"a\\\""] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(shown.contains("[redacted]"));
}

proptest! {
    /// Whatever an event holds, it is one log record that a receiver can read, within bounds.
    #[test]
    fn any_event_is_a_log_record_within_bounds(
        events in proptest::collection::vec(hostile::event(), 1..4),
        bytes: Vec<u8>,
        traceparent in ".{0,80}",
        micros: i64,
        kind in 0_i64..5,
    ) {
        let mut all = events;
        if let Some(last) = all.last_mut() {
            last.record.kind = RecordKind::from_stored(kind).unwrap();
            last.record.original = bytes;
            last.record.event_time = Some(Timestamp::from_unix_micros(micros));
            last.record.trace = Some(TraceContext { traceparent, tracestate: None });
        }
        let records = log_records(&all);
        prop_assert_eq!(records.len(), all.len());
        for (record, delivery) in records.iter().zip(&all) {
            let body = match record.body.as_ref().and_then(|body| body.value.as_ref()) {
                Some(Any::StringValue(text)) => text.as_bytes(),
                Some(Any::BytesValue(bytes)) => bytes,
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(body, &*delivery.record.original);
            prop_assert!(matches!(record.trace_id.len(), 0 | 16));
            prop_assert!(record.time_unix_nano > 0 && record.observed_time_unix_nano > 0);
            prop_assert!(!record.event_name.is_empty() && matches!(record.severity_number, 9 | 13 | 17));
            let mut keys: Vec<&str> = record.attributes.iter().map(|it| it.key.as_str()).collect();
            let size: usize = record.attributes.iter().map(prost::Message::encoded_len).sum();
            prop_assert!(size < 200_000, "{}", size);
            keys.sort_unstable();
            let count = keys.len();
            keys.dedup();
            prop_assert_eq!(keys.len(), count, "an attribute twice");
        }
        let body = requested(plan(), &all, &context(&all)).body;
        let shown: Value = serde_json::from_str(&readable(&body).unwrap()).unwrap();
        prop_assert!(shown["resourceLogs"][0]["scopeLogs"][0]["logRecords"].is_array());
    }
}
