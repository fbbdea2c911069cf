//! What is imported equals what an event of the same thing carries.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

fn api<T: DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).unwrap()
}

/// Kind, id, owner and state of each.
fn told(imported: &[Imported]) -> Vec<(&str, &str, String, &str)> {
    let owner = |one: &Imported| format!("{}/{}", one.owner.0.as_str(), one.owner.1);
    imported.iter().map(|one| (one.kind.as_str(), &*one.id, owner(one), &*one.state)).collect()
}

#[test]
fn a_namespace() {
    let one = api(
        r#"{"key":"team-a","name":"Team A","description":"","protected":true,"createdAt":"2026-11-22T08:00:00Z","updatedAt":"2026-11-22T08:00:00Z"}"#,
    );
    let imported = [namespace(&one).unwrap()];
    assert_eq!(
        told(&imported),
        [(
            "namespace",
            "team-a",
            "namespace/team-a".to_owned(),
            r#"{"description":"","key":"team-a","name":"Team A","protected":true}"#
        )]
    );
}

#[test]
fn a_flag_with_variants_and_a_default() {
    let one = api(r#"{
        "key": "checkout", "name": "Checkout <A&B>", "description": "new \"flow\"", "enabled": true,
        "createdAt": "2026-11-22T08:00:00.123456Z", "updatedAt": "2026-11-22T08:00:01Z",
        "variants": [{
            "id": "v1", "flagKey": "checkout", "key": "on", "name": "On", "description": "",
            "createdAt": "2026-11-22T08:00:00Z", "updatedAt": "2026-11-22T08:00:00Z",
            "attachment": "{\"color\": \"a  b\", \"n\": [1, 2]}", "namespaceKey": "default"
        }, {
            "id": "v2", "flagKey": "checkout", "key": "off", "name": "", "description": "",
            "createdAt": null, "updatedAt": null, "attachment": "", "namespaceKey": "default"
        }],
        "namespaceKey": "default", "type": "VARIANT_FLAG_TYPE",
        "defaultVariant": {"id": "v1", "key": "on"}, "metadata": {"owner": "payments"}
    }"#);
    let owner = || "flag/checkout".to_owned();
    assert_eq!(
        told(&flag("default", &one)),
        [
            (
                "flag",
                "checkout",
                owner(),
                r#"{"default_variant":"on","description":"new \"flow\"","enabled":true,"key":"checkout","name":"Checkout <A&B>","namespace_key":"default"}"#
            ),
            (
                "variant",
                "v1",
                owner(),
                r#"{"attachment":"{\"color\":\"a  b\",\"n\":[1,2]}","description":"","flag_key":"checkout","id":"v1","key":"on","name":"On","namespace_key":"default"}"#
            ),
            (
                "variant",
                "v2",
                owner(),
                r#"{"attachment":"","description":"","flag_key":"checkout","id":"v2","key":"off","name":"","namespace_key":"default"}"#
            ),
        ]
    );
}

#[test]
fn what_is_left_out_is_zero() {
    let bare = flag("default", &api(r#"{"key":"checkout","defaultVariant":null,"variants":null}"#));
    assert_eq!(
        &*bare[0].state,
        r#"{"description":"","enabled":false,"key":"checkout","name":"","namespace_key":"default"}"#
    );
    let bare = segment("default", &api(r#"{"key":"beta","constraints":[{"id":"c1"}]}"#));
    assert!(bare[0].state.contains(r#""match_type":"ALL_MATCH_TYPE""#), "{bare:?}");
    assert!(bare[1].state.contains(r#""type":"UNKNOWN_COMPARISON_TYPE""#), "{bare:?}");
    let bare = rollout("default", "checkout", &api(r#"{"id":"r1","rank":1,"threshold":{}}"#)).unwrap();
    assert!(bare.state.ends_with(r#""rank":1,"threshold":{"percentage":0,"value":false}}"#), "{bare:?}");
    assert_eq!(namespace(&api("{}")), None);
    assert_eq!(flag("default", &api(r#"{"variants":[{"id":"v1"}]}"#)), []);
}

#[test]
fn a_segment_with_constraints() {
    let one = api(
        r#"{"key":"beta","name":"Beta users","description":"","createdAt":"2026-11-22T08:00:00Z","updatedAt":"2026-11-22T08:00:00Z",
        "constraints":[{"id":"c1","segmentKey":"beta","type":"STRING_COMPARISON_TYPE","property":"country","operator":"eq","value":"CA","createdAt":"2026-11-22T08:00:00Z","updatedAt":"2026-11-22T08:00:00Z","description":"in Canada","namespaceKey":"default"}],
        "matchType":"ANY_MATCH_TYPE","namespaceKey":"default"}"#,
    );
    assert_eq!(
        told(&segment("default", &one)),
        [
            (
                "segment",
                "beta",
                "segment/beta".to_owned(),
                r#"{"description":"","key":"beta","match_type":"ANY_MATCH_TYPE","name":"Beta users","namespace_key":"default"}"#
            ),
            (
                "constraint",
                "c1",
                "segment/beta".to_owned(),
                r#"{"id":"c1","namespace_key":"default","operator":"eq","property":"country","segment_key":"beta","type":"STRING_COMPARISON_TYPE","value":"CA"}"#
            ),
        ]
    );
}

#[test]
fn a_rule_with_distributions() {
    let one = api(r#"{"id":"a1","flagKey":"checkout","segmentKey":"","distributions":[
        {"id":"d1","ruleId":"a1","variantId":"v1","rollout":33.33,"createdAt":"2026-11-22T08:00:00Z","updatedAt":"2026-11-22T08:00:00Z"},
        {"id":"d2","ruleId":"a1","variantId":"v2","rollout":50}],
        "rank":1,"createdAt":"2026-11-22T08:00:00Z","updatedAt":"2026-11-22T08:00:00Z","namespaceKey":"default",
        "segmentKeys":["beta","staff"],"segmentOperator":"AND_SEGMENT_OPERATOR"}"#);
    let owner = || "flag/checkout".to_owned();
    assert_eq!(
        told(&rule("default", "checkout", &one)),
        [
            (
                "rule",
                "a1",
                owner(),
                r#"{"flag_key":"checkout","id":"a1","namespace_key":"default","rank":1,"segment_key":"beta,staff","segment_operator":"AND_SEGMENT_OPERATOR"}"#
            ),
            (
                "distribution",
                "d1",
                owner(),
                r#"{"id":"d1","rollout":33.33,"rule_id":"a1","variant_id":"v1"}"#
            ),
            ("distribution", "d2", owner(), r#"{"id":"d2","rollout":50,"rule_id":"a1","variant_id":"v2"}"#),
        ]
    );
}

#[test]
fn one_segment_has_no_operator() {
    for keys in [r#""segmentKey":"beta","segmentKeys":[]"#, r#""segmentKey":"","segmentKeys":["beta"]"#] {
        let one = format!(r#"{{"id":"a1",{keys},"rank":2,"segmentOperator":"OR_SEGMENT_OPERATOR"}}"#);
        assert_eq!(
            &*rule("default", "checkout", &api(&one))[0].state,
            r#"{"flag_key":"checkout","id":"a1","namespace_key":"default","rank":2,"segment_key":"beta"}"#
        );
    }
}

#[test]
fn rollouts() {
    let state = |json: &str| rollout("default", "checkout", &api(json)).unwrap().state.to_string();
    assert_eq!(
        state(
            r#"{"id":"e1","namespaceKey":"default","flagKey":"checkout","type":"THRESHOLD_ROLLOUT_TYPE","rank":1,"description":"10%","createdAt":"2026-11-22T08:00:00Z","updatedAt":"2026-11-22T08:00:00Z","threshold":{"percentage":10,"value":true}}"#
        ),
        r#"{"description":"10%","flag_key":"checkout","id":"e1","namespace_key":"default","rank":1,"threshold":{"percentage":10,"value":true}}"#
    );
    assert_eq!(
        state(
            r#"{"id":"e2","type":"SEGMENT_ROLLOUT_TYPE","rank":2,"description":"","segment":{"segmentKey":"beta","value":true,"segmentKeys":[],"segmentOperator":"OR_SEGMENT_OPERATOR"}}"#
        ),
        r#"{"description":"","flag_key":"checkout","id":"e2","namespace_key":"default","rank":2,"segment":{"key":"beta","value":true}}"#
    );
    assert_eq!(
        state(
            r#"{"id":"e2","rank":2,"segment":{"segmentKey":"","value":false,"segmentKeys":["beta","staff"]}}"#
        ),
        r#"{"description":"","flag_key":"checkout","id":"e2","namespace_key":"default","rank":2,"segment":{"key":"beta,staff","operator":"OR_SEGMENT_OPERATOR","value":false}}"#
    );
}

/// Every thing that a real log tells of, given back as the API would, is imported as the event told it.
#[test]
fn what_real_events_tell_is_imported_alike() {
    let mut seen = std::collections::BTreeSet::new();
    for line in include_str!("../../../tests/fixtures/flipt/v0.2_logfile_encoding-json.log").lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let (noun, payload) = (event["type"].as_str().unwrap(), &event["payload"]);
        let is_new_state = event["action"] != "deleted" && payload.is_object();
        if !is_new_state
            || noun == "token"
            || payload.get("rule_ids").or(payload.get("rollout_ids")).is_some()
        {
            continue;
        }
        let said = |name: &str| payload[name].as_str().unwrap_or_default().to_owned();
        let (ns, flag_key) = (said("namespace_key"), said("flag_key"));
        let of_api = as_api(payload);
        let read = |json: &Value| json.to_string();
        let imported = match noun {
            "namespace" => namespace(&api(&read(&of_api))).into_iter().collect(),
            "flag" => flag(&ns, &api(&read(&of_api))),
            "variant" => flag(&ns, &api(&read(&json!({"key": flag_key, "variants": [of_api]})))).split_off(1),
            "segment" => segment(&ns, &api(&read(&of_api))),
            "constraint" => {
                segment(&ns, &api(&read(&json!({"key": said("segment_key"), "constraints": [of_api]}))))
                    .split_off(1)
            }
            "rule" => rule(&ns, &flag_key, &api(&read(&of_api))),
            "distribution" => rule(
                "default",
                "checkout",
                &api(&read(&json!({"id": said("rule_id"), "distributions": [of_api]}))),
            )
            .split_off(1),
            "rollout" => rollout(&ns, &flag_key, &api(&read(&of_api))).into_iter().collect(),
            other => panic!("{other}"),
        };
        let lists = ["distributions", "constraints"].map(|name| payload[name].as_array().cloned());
        let children = lists.into_iter().flatten().flatten();
        let mut own = payload.clone();
        own.as_object_mut().unwrap().retain(|name, _| name != "distributions" && name != "constraints");
        let expected: Vec<String> = std::iter::once(own).chain(children).map(|one| one.to_string()).collect();
        let states: Vec<String> = imported.iter().map(|one| one.state.to_string()).collect();
        assert_eq!(states, expected, "{line}");
        seen.insert(noun.to_owned());
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
}

/// The names and joined segments of a payload as the API writes them.
fn as_api(payload: &Value) -> Value {
    match payload {
        Value::Array(all) => all.iter().map(as_api).collect(),
        Value::Object(fields) => {
            let mut of_api = serde_json::Map::new();
            for (name, value) in fields {
                let segments = value.as_str().filter(|keys| keys.contains(','));
                let (name, value) = match (&**name, segments) {
                    ("segment_key" | "key", Some(keys)) => {
                        ("segmentKeys".to_owned(), keys.split(',').collect())
                    }
                    ("key", None) if fields.contains_key("value") => ("segmentKey".to_owned(), value.clone()),
                    ("operator", _) if !fields.contains_key("property") => {
                        ("segmentOperator".to_owned(), value.clone())
                    }
                    ("default_variant", _) => ("defaultVariant".to_owned(), json!({"key": value})),
                    (name, _) => (camel(name), as_api(value)),
                };
                of_api.insert(name, value);
            }
            Value::Object(of_api)
        }
        other => other.clone(),
    }
}

fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |name, part| name + &part[..1].to_uppercase() + &part[1..])
}

#[test]
fn an_attachment_that_is_no_json_stays() {
    assert_eq!(compacted("no { json"), "no { json");
    assert_eq!(compacted("  "), "  ");
    assert_eq!(compacted(" [ 1 ] "), "[1]");
}
