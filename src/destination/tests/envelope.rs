use proptest::prelude::*;
use serde_json::{Value, json};

use super::telling::{all, flag, late, order, seen, told};
use super::{FILES, act, deliveries, fixture, gap, oversized, record, unparsed};
use crate::destination::Delivery;
use crate::destination::envelope::envelope;
use crate::destination::telling::sentence;
use crate::event::{Framing, Known, RecordKind};

pub(super) fn validator() -> jsonschema::Validator {
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
    assert_eq!((&flag["change"]["before"], &flag["change"]["differences"]), (&Value::Null, &Value::Null));
    assert_eq!(flag["change"]["without_before"], "not_kept");
    assert_eq!(flag["change"]["after"], flag["data"]["payload"]);
    assert_eq!(
        flag["summary"],
        "Someone saved checkout in production (default) · now ON, default variant on · earlier state not known"
    );
    assert_eq!(flag["change_set"], Value::Null);

    assert_eq!(at(7)["entity"]["key"], "on");
    assert_eq!(at(9)["entity"].get("key"), None, "a deleted variant tells only its id");
    assert_eq!(at(21)["namespace"], "default", "a distribution's namespace is its rule's");

    let denied = at(32);
    assert_eq!(denied["type"], "flipt.flag.update_denied");
    assert_eq!((&denied["namespace"], &denied["entity"]), (&Value::Null, &Value::Null));
    assert_eq!(denied["actor"]["name"], "Ann");
    assert_eq!((&denied["data"]["payload"], &denied["change"]), (&Value::Null, &Value::Null));
}

#[test]
fn an_envelope_tells_what_changed() {
    let validator = validator();
    let mut delivery =
        told("flag", "updated", &flag(true), &Known { live: Some(true), ..seen(1, &flag(false)) });
    delivery.record.change_set = Some("cs_0c6v9n2k1r00000g3x8d5t2m4p".into());
    let value = valid(&validator, &delivery);
    assert_eq!(
        value["change"],
        json!({
            "kind": "behaviour", "live": true, "changed": ["enabled"], "before": flag(false), "after": flag(true),
            "differences": [{"pointer": "/enabled", "old": false, "new": true}], "more_differences": false,
            "before_seen_at": "2026-11-22T13:14:02Z", "before_sequence": 7, "before_from": "event",
            "without_before": null, "late": null, "closed": null, "moved": null,
        })
    );
    assert_eq!(value["summary"], "Ann turned checkout ON in production");
    assert_eq!(value["change_set"], "cs_0c6v9n2k1r00000g3x8d5t2m4p");

    let value = valid(&validator, &told("flag", "updated", &flag(true), &late(Some(&flag(false)))));
    assert_eq!(
        value["change"]["late"],
        json!({"newest": "2026-11-22T14:15:42Z", "deleted": false, "current": flag(false)})
    );
    assert_eq!(
        (&value["change"]["without_before"], &value["change"]["before"]),
        (&json!("late"), &Value::Null)
    );

    let value = valid(&validator, &order(&[("b", Some(2)), ("a", Some(1)), ("c", Some(3))], "rule"));
    assert_eq!(
        value["change"]["moved"],
        json!([{"id": "b", "was": 2, "now": 1}, {"id": "a", "was": 1, "now": 2}])
    );
    assert_eq!(value["change"]["before"]["rule_ids"], json!(["a", "b", "c"]));
    assert_eq!(value["change"]["changed"], json!(["rank"]));
}

#[test]
fn whatever_can_be_told_validates_and_is_told_alike_again() {
    let validator = validator();
    for delivery in all() {
        let value = valid(&validator, &delivery);
        assert_eq!(value["summary"], sentence(&delivery).to_string());
        assert_eq!(rendered(&delivery), rendered(&delivery.clone()));
        let change = &value["change"];
        if let (Some(before), Some(differences)) =
            (change["before"].as_object(), change["differences"].as_array())
        {
            assert_eq!(differences.is_empty(), change["changed"] == json!([]), "{before:?}");
        }
    }
}

#[test]
fn a_state_over_several_lines_stays_on_one() {
    let mut delivery = told("flag", "updated", &flag(true), &Known::default());
    delivery.record.known = Some("{\"before\":{\n\"enabled\": false\n}}".into());
    assert!(rendered(&delivery).contains("\"before\":{\"enabled\":false}"));
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
