use proptest::prelude::*;
use serde_json::{Value, json};

use super::{FILES, act, deliveries, fixture, gap, oversized, record, unparsed};
use crate::destination::Delivery;
use crate::destination::cloudevents::cloud_event;
use crate::event::{RecordKind, TraceContext};

/// The official schema of the JSON format.
fn validator() -> jsonschema::Validator {
    let schema = include_str!("../../../tests/fixtures/cloudevents/cloudevents.schema.json");
    let schema: Value = serde_json::from_str(schema).unwrap();
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

fn rendered(delivery: &Delivery) -> (String, Value) {
    let mut out = Vec::new();
    cloud_event(delivery, &mut out);
    let text = String::from_utf8(out).unwrap();
    let value = serde_json::from_str(&text).unwrap();
    (text, value)
}

/// What the schema does not say and the specification does.
fn valid(validator: &jsonschema::Validator, delivery: &Delivery) -> Value {
    let (text, value) = rendered(delivery);
    let problems: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(problems.is_empty(), "{text}\n{problems:?}");
    for (name, attribute) in value.as_object().unwrap() {
        assert!((1..=20).contains(&name.len()), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{name}");
        if name != "data" {
            let attribute = attribute.as_str().unwrap();
            assert!(
                !attribute.is_empty() && !attribute.chars().any(char::is_control),
                "{name}: {attribute:?}"
            );
        }
    }
    value
}

#[test]
fn every_captured_event_is_valid_and_keeps_its_tokens() {
    let validator = validator();
    for file in FILES {
        for delivery in deliveries(&fixture(file)) {
            valid(&validator, &delivery);
        }
    }
    let compact = fixture("v0.2_logfile_encoding-json.log");
    for (delivery, line) in deliveries(&compact).iter().zip(compact.lines()) {
        assert!(rendered(delivery).0.ends_with(&format!(",\"data\":{line}}}")));
    }
}

#[test]
fn attributes_say_what_the_event_says() {
    let all = deliveries(&fixture("v0.2_webhook_bodies.ndjson"));
    let validator = validator();
    let at = |index: usize| valid(&validator, &all[index]);
    let mut flag = at(5);
    let data = flag.as_object_mut().unwrap().remove("data").unwrap();
    assert_eq!(data["type"], "flag");
    assert_eq!(
        flag,
        json!({
            "specversion": "1.0",
            "id": all[5].record.id.to_string(),
            "source": "/audit-relay/flipt/flipt",
            "type": "io.flipt.audit.flag.updated",
            "subject": "default/checkout",
            "time": "2026-11-22T07:32:19Z",
            "datacontenttype": "application/json",
            "sequence": "00000000000000000006",
            "journal": "epoch",
            "recordedtime": "2026-11-22T07:40:10.25Z",
            "environment": "production",
            "fliptstatus": "success",
        })
    );
    assert_eq!(at(7)["subject"], "default/on", "a variant by its key");
    let denied = at(32);
    assert_eq!(
        (&denied["type"], &denied["fliptstatus"]),
        (&json!("io.flipt.audit.flag.update_denied"), &json!("denied"))
    );
    assert_eq!(denied.get("subject"), None);
    let namespace = all
        .iter()
        .find(|delivery| delivery.record.original.starts_with(br#"{"version":"0.2","type":"namespace""#));
    assert!(!valid(&validator, namespace.unwrap())["subject"].as_str().unwrap().contains('/'));
}

#[test]
fn records_that_are_no_event_are_valid_too() {
    let validator = validator();
    for (delivery, kind) in [
        (gap(), "io.audit_relay.gap"),
        (unparsed(b"{\xff}"), "io.audit_relay.unparsed"),
        (oversized(), "io.audit_relay.oversized"),
        (act(), "io.audit_relay.act"),
    ] {
        let value = valid(&validator, &delivery);
        assert_eq!((&value["type"], value.get("fliptstatus")), (&json!(kind), None));
        assert_eq!(value.get("time"), None);
    }
    assert_eq!(valid(&validator, &gap())["data"]["from"], 4096);
}

#[test]
fn names_and_traces_may_be_odd() {
    let mut delivery = deliveries(&fixture("v0.2_webhook_bodies.ndjson")).remove(0);
    delivery.record.instance = "eu/1 é".into();
    let trace =
        |state: &str| TraceContext { traceparent: "00-aa-bb-01".into(), tracestate: Some(state.into()) };
    delivery.record.trace = Some(trace("a=b"));
    let value = valid(&validator(), &delivery);
    assert_eq!(value["source"], "/audit-relay/eu%2F1%20%C3%A9/flipt");
    assert_eq!((&value["traceparent"], &value["tracestate"]), (&json!("00-aa-bb-01"), &json!("a=b")));
    delivery.record.trace = Some(trace(""));
    assert_eq!(valid(&validator(), &delivery).get("tracestate"), None);
}

proptest! {
    #[test]
    fn any_record_gives_an_object(original: Vec<u8>, detail: Option<String>, kind in 0_i64..5) {
        let kind = RecordKind::from_stored(kind).unwrap();
        let delivery = Delivery { record: record(kind, 0, original, detail), environment: None };
        prop_assert_eq!(&rendered(&delivery).1["specversion"], "1.0");
    }
}
