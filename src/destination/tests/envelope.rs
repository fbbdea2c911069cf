use proptest::prelude::*;
use serde_json::{Value, json};

use super::{FILES, act, deliveries, fixture, gap, oversized, record, unparsed};
use crate::destination::Delivery;
use crate::destination::envelope::envelope;
use crate::event::{Framing, RecordKind};

fn validator() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(include_str!("../../../docs/envelope.schema.json")).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap()
}

fn rendered(delivery: &Delivery) -> String {
    let mut out = Vec::new();
    envelope(delivery, &mut out);
    let text = String::from_utf8(out).unwrap();
    assert!(!text.contains('\n'));
    text
}

fn valid(validator: &jsonschema::Validator, delivery: &Delivery) -> Value {
    let text = rendered(delivery);
    let value: Value = serde_json::from_str(&text).unwrap();
    let problems: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(problems.is_empty(), "{text}\n{problems:?}");
    value
}

#[test]
fn every_captured_event_validates_and_keeps_its_tokens() {
    let validator = validator();
    for file in FILES {
        let text = fixture(file);
        for (delivery, line) in deliveries(&text).iter().zip(text.lines()) {
            let value = valid(&validator, delivery);
            let json = &line[line.find('{').unwrap()..];
            let mut original: Value = serde_json::from_str(json).unwrap();
            for framing in ["T", "M"] {
                original.as_object_mut().unwrap().remove(framing);
            }
            assert_eq!(value["data"], original, "{file}");
        }
    }
    let compact = fixture("v0.2_logfile_encoding-json.log");
    for (delivery, line) in deliveries(&compact).iter().zip(compact.lines()) {
        assert!(rendered(delivery).ends_with(&format!(",\"data\":{line}}}")));
    }
}

#[test]
fn records_that_are_no_event_validate_too() {
    let validator = validator();
    let value = valid(&validator, &gap());
    assert_eq!((&value["type"], &value["data"]["from"]), (&json!("audit_relay.gap"), &json!(4096)));
    let value = valid(&validator, &unparsed(b"{\"type\":\"flag\""));
    assert_eq!(
        value["data"],
        json!({"reason": "the JSON ends too early, after 14 bytes", "original": "{\"type\":\"flag\"", "encoding": "utf-8"})
    );
    let value = valid(&validator, &unparsed(b"{\xff}"));
    assert_eq!(
        value["data"],
        json!({"reason": "not valid UTF-8 at byte 2", "original": "e/99", "encoding": "base64"})
    );
    let value = valid(&validator, &oversized());
    assert_eq!(
        (&value["data"]["length_bytes"], &value["data"]["kept_bytes"]),
        (&json!(5_000_000), &json!(9))
    );
    let value = valid(&validator, &act());
    assert_eq!(value["data"]["act"], "replay");
    // What should not be: an event that no longer reads as one, a gap without its detail.
    for broken in [record(RecordKind::Event, 0, "{", None), record(RecordKind::Unparsed, 0, "", None)] {
        assert_eq!(
            valid(&validator, &Delivery { record: broken, environment: None })["type"],
            "audit_relay.unparsed"
        );
    }
}

#[test]
fn an_envelope_tells_what_the_event_tells() {
    let text = fixture("v0.2_webhook_bodies.ndjson");
    let all = deliveries(&text);
    let at = |index: usize| serde_json::from_str::<Value>(&rendered(&all[index])).unwrap();

    let flag = at(5);
    assert_eq!(flag["type"], "flipt.flag.updated");
    assert_eq!(flag["timestamp"], "2026-11-22T07:32:19Z");
    assert_eq!(flag["received_at"], "2026-11-22T07:40:10.25Z");
    assert_eq!(flag["sequence"], 6);
    assert_eq!(flag["environment"], "production");
    assert_eq!(flag["entity"], json!({"type": "flag", "id": "checkout", "key": "checkout"}));
    assert_eq!(flag["actor"], json!({"authentication": "none", "ip": "127.0.0.1"}));
    assert_eq!(flag["change"], Value::Null);

    assert_eq!(at(7)["entity"]["key"], "on");
    assert_eq!(at(9)["entity"].get("key"), None, "a deleted variant tells only its id");
    assert_eq!(at(21)["namespace"], "default", "a distribution's namespace is its rule's");

    let denied = at(32);
    assert_eq!(denied["type"], "flipt.flag.update_denied");
    assert_eq!((&denied["namespace"], &denied["entity"]), (&Value::Null, &Value::Null));
    assert_eq!(denied["actor"]["name"], "Ann");
    assert_eq!(denied["data"]["payload"], Value::Null);
}

#[test]
fn container_framing_is_no_part_of_the_data() {
    let raw = "2026-11-22T07:32:30.1Z stdout P {\"T\":\"t\",\"M\":\"AUDIT\",\"type\":\"fl\n2026-11-22T07:32:30.1Z stdout F ag\",\"action\":\"updated\",\"n\":1.50}";
    let mut delivery = Delivery { record: record(RecordKind::Event, 0, raw, None), environment: None };
    delivery.record.framing = Framing::Cri;
    assert!(rendered(&delivery).ends_with(r#","data":{"type":"flag","action":"updated","n":1.50}}"#));
}

proptest! {
    #[test]
    fn any_record_gives_one_line_of_json(original: Vec<u8>, detail: Option<String>, kind in 0_i64..5, cri: bool) {
        let kind = RecordKind::from_stored(kind).unwrap();
        let mut delivery = Delivery { record: record(kind, 0, original, detail), environment: None };
        if cri {
            delivery.record.framing = Framing::Cri;
        }
        let text = rendered(&delivery);
        prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
    }
}
