//! What another relay is sent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{act, batch, context, deliveries, fixture, gap, golden, oversized, record, time, unparsed};
use crate::config::plan::{BatchEncoding, RelayPlan, SigningPlan, SigningScheme, WebhookFormat, WebhookPlan};
use crate::config::secret::Secret;
use crate::destination::relay::Relay;
use crate::destination::{Delivery, Destination, HttpRequest, Outcome, Request, Response};
use crate::event::{Framing, Origin, RecordKind, TraceContext};

fn relay() -> Relay {
    let secrets = vec![Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")];
    let plan = RelayPlan {
        name: "flipt-0".to_owned(),
        webhook: WebhookPlan {
            url: Arc::new(Secret::new("https://hub.example.com/v1/events")),
            format: WebhookFormat::Envelope,
            encoding: BatchEncoding::Ndjson,
            headers: vec![("authorization".into(), Secret::new("Bearer hunter2-and-more"))],
            signing: vec![SigningPlan { scheme: SigningScheme::StandardWebhooks, secrets }],
        },
    };
    Relay::new(plan, batch(200))
}

/// One of each kind, and one that has come from yet another relay.
fn one_of_each() -> Vec<Delivery> {
    let line = |file: &str, index: usize| deliveries(&fixture(file)).remove(index);
    let mut framed = line("v0.2_stdout_console.txt", 5);
    framed.record.trace = Some(TraceContext {
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
        tracestate: Some("rojo=1".into()),
    });
    let mut wrapped = line("v0.2_logfile_encoding-json.log", 7);
    let text = String::from_utf8(wrapped.record.original).unwrap();
    wrapped.record.original = format!("2026-11-22T07:32:30.123456789Z stdout F {text}").into_bytes();
    wrapped.record.framing = Framing::Cri;
    let mut passed_on = line("v0.2_logfile_encoding-json.log", 9);
    passed_on.record.origin = Some(Origin {
        relay: "edge-7".into(),
        epoch: "first".into(),
        sequence: 3,
        accepted_at: time("2026-11-22T07:39:00.000001Z"),
    });
    let mut changed = line("v0.2_logfile_encoding-json.log", 5);
    changed.record.known = Some(
        r#"{"before":{"key":"checkout","enabled":true},"seen":{"at":"2026-11-22T07:00:00Z","by":"event"},"live":true}"#
            .into(),
    );
    changed.record.change_set = Some("cs_x".into());
    vec![
        changed,
        framed,
        wrapped,
        passed_on,
        gap(),
        unparsed(b"{\xff}"),
        unparsed(b"{\"a\""),
        oversized(),
        act(),
    ]
}

fn only_request(all: &[Delivery]) -> HttpRequest {
    let mut rendered = relay().render(all, &context(all));
    assert!(rendered.unrenderable.is_empty() && rendered.left_out.is_empty());
    let outbound = rendered.requests.remove(0);
    assert!(rendered.requests.is_empty());
    assert!(outbound.members.iter().eq(all.iter().map(|delivery| &delivery.record.id)));
    let Request::Http(request) = outbound.request else { panic!("{:?}", outbound.request) };
    request
}

#[test]
fn records_of_all_kinds_share_one_signed_request() {
    let all = one_of_each();
    let request = only_request(&all);
    let headers: BTreeMap<&str, &str> =
        request.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(headers["content-type"], "application/x-ndjson");
    assert_eq!(headers["webhook-id"], context(&all).batch_id.as_str());
    assert_eq!(headers["authorization"], "Bearer hunter2-and-more");
    assert!(headers["webhook-signature"].starts_with("v1,"));
    assert_eq!(headers["webhook-timestamp"], "1795334400");
    assert_eq!(headers.len(), 6, "no traceparent: {headers:?}");
    assert_eq!((request.method, request.url.expose()), ("POST", "https://hub.example.com/v1/events"));
    golden("relay.ndjson", std::str::from_utf8(&request.body).unwrap());
}

#[test]
fn what_goes_out_is_an_envelope() {
    let validator = super::envelope::validator();
    let request = only_request(&one_of_each());
    for line in std::str::from_utf8(&request.body).unwrap().lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        let problems: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{line}\n{problems:?}");
        assert_eq!((&value["change"], &value["change_set"]), (&Value::Null, &Value::Null));
    }
}

/// Without `record`, an event has its `data`.
#[test]
fn a_receiver_of_envelopes_never_sees_empty_data() {
    let validator = super::envelope::validator();
    let request = only_request(&one_of_each());
    let mut without = 0;
    for line in std::str::from_utf8(&request.body).unwrap().lines() {
        let mut value: Value = serde_json::from_str(line).unwrap();
        if value["data"].is_null() {
            value.as_object_mut().unwrap().remove("record");
            assert!(!validator.is_valid(&value), "{line}");
            without += 1;
        }
    }
    assert!(without >= 5, "{without}");
}

#[test]
fn limits_are_the_plans_and_answers_mean_what_they_mean_to_webhooks() {
    let relay = relay();
    assert_eq!((relay.limits().max_events, relay.limits().wait), (200, Duration::from_secs(1)));
    let of = |status, retry_after: Option<&str>| {
        let response = Response::Http {
            status,
            retry_after: retry_after.map(str::to_owned),
            rate_limit_reset: None,
            body: br#"{"error":"not hunter2-and-more"}"#.to_vec(),
        };
        relay.classify(&response, time("2026-11-22T08:00:00Z"))
    };
    assert_eq!(of(200, None), Outcome::Delivered);
    for status in [401, 403, 404] {
        let Outcome::Blocked { gone: false, reason } = of(status, None) else { panic!("{status}") };
        assert!(reason.message.contains("[redacted]"), "{}", reason.message);
    }
    let Outcome::Retry { not_before, .. } = of(503, Some("1")) else { panic!() };
    assert_eq!(not_before, Some(Duration::from_secs(1)));
    for status in [400, 413] {
        assert!(matches!(of(status, None), Outcome::Rejected(_)), "{status}");
    }
}

#[test]
fn an_envelope_tells_its_origin_wherever_it_goes() {
    let mut delivery = one_of_each().remove(3);
    let mut out = Vec::new();
    crate::destination::envelope::envelope(&delivery, &mut out);
    let told: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(
        told["origin"],
        serde_json::json!({"relay": "edge-7", "journal": "first", "sequence": 3, "received_at": "2026-11-22T07:39:00.000001Z"})
    );
    delivery.record = record(RecordKind::Act, 4, "{}", None);
    out.clear();
    crate::destination::envelope::envelope(&delivery, &mut out);
    assert_eq!(serde_json::from_slice::<Value>(&out).unwrap().get("origin"), None);
}
