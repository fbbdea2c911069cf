//! The fake itself: it refuses what Datadog refuses, in its words.

use audit_relay::event::Timestamp;
use serde_json::{Value, json};

use crate::support::datadog::{Version, fault};

/// A change event with one thing otherwise.
fn change(pointer: &str, value: Value) -> Value {
    let mut body = json!({"data": {"type": "event", "attributes": {"category": "change", "title": "t",
        "message": "m", "tags": ["env:production"], "host": "h", "aggregation_key": "k",
        "timestamp": "2026-11-22T14:14:02.000Z",
        "attributes": {"changed_resource": {"type": "feature_flag", "name": "checkout"},
            "author": {"type": "user", "name": "Ann"}, "impacted_resources": [{"type": "service", "name": "s"}],
            "prev_value": {}, "new_value": {"enabled": true}, "change_metadata": {}}}}});
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(&format!("/data/attributes{parent}")).unwrap()[name] = value;
    body
}

fn deep(levels: usize) -> Value {
    (1..levels).fold(json!({}), |inner, _| json!({ "a": inner }))
}

fn wide(properties: usize) -> Value {
    (0..properties).map(|number| (format!("p{number}"), json!(1))).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn every_limit_of_version_2_is_known() {
    let long = |length: usize| json!("x".repeat(length));
    let tags = |count: usize| json!(vec!["a:b"; count]);
    let name = "/attributes/changed_resource/name";
    for (body, fits) in [
        (change("/title", long(500)), true),
        (change("/title", long(501)), false),
        (change("/title", long(0)), false),
        (change("/message", long(4_000)), true),
        (change("/message", long(4_001)), false),
        (change("/message", long(0)), false),
        (change("/tags", tags(100)), true),
        (change("/tags", tags(101)), false),
        (change("/tags", tags(0)), false),
        (change("/tags", json!(["x".repeat(200)])), true),
        (change("/tags", json!(["x".repeat(201)])), false),
        (change("/tags", json!(["Env:production"])), false),
        (change("/tags", json!(["1env:production"])), false),
        (change("/tags", json!(["env:"])), false),
        (change("/tags", json!(["env:a b"])), false),
        (change("/tags", json!(["env:größe_1-2./x"])), true),
        (change("/host", long(255)), true),
        (change("/host", long(256)), false),
        (change("/aggregation_key", long(100)), true),
        (change("/aggregation_key", long(101)), false),
        (change("/category", json!("deployment")), false),
        (change("/category", json!("alert")), false),
        (change("/integration_id", json!("custom-events")), true),
        (change("/integration_id", json!("flipt")), false),
        (change("/priority", json!("normal")), false),
        (change("/timestamp", json!("yesterday")), false),
        (change(name, long(128)), true),
        (change(name, long(129)), false),
        (change(name, json!(" ")), false),
        (change("/attributes/changed_resource/type", json!("segment")), false),
        (change("/attributes/author/type", json!("robot")), false),
        (change("/attributes/author", json!({"type": "user"})), false),
        (change("/attributes/prev_value", json!(null)), false),
        (change("/attributes/prev_value", json!([])), false),
        (change("/attributes/other", json!({})), false),
        (
            change(
                "/attributes/impacted_resources",
                json!(vec![json!({"type": "service", "name": "s"}); 101]),
            ),
            false,
        ),
        (change("/attributes/change_metadata", deep(10)), true),
        (change("/attributes/change_metadata", deep(11)), false),
        (change("/attributes/change_metadata", wide(100)), true),
        (change("/attributes/change_metadata", wide(101)), false),
    ] {
        let said = fault(Version::V2, &body, None);
        assert_eq!(said.is_none(), fits, "{body:.300}: {said:?}");
    }
    // The one that was recorded.
    let said = fault(Version::V2, &change("/category", json!("invalid")), None).unwrap().0;
    let recorded =
        r#"JSON validation failed at $.data.attributes.category: value must be one of: ["alert", "change"]."#;
    assert_eq!(said, recorded);
}

#[test]
fn every_limit_of_version_1_is_known() {
    let body = |more: Value| {
        let mut body = json!({"title": "t", "text": "x"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (body, fits) in [
        (body(json!({})), true),
        (json!({"title": "t"}), false),
        (body(json!({"text": "x".repeat(4_000)})), true),
        (body(json!({"text": "x".repeat(4_001)})), false),
        (body(json!({"aggregation_key": "x".repeat(101)})), false),
        (body(json!({"priority": "high"})), false),
        (body(json!({"alert_type": "user_update"})), true),
        (body(json!({"date_happened": "1"})), false),
        (body(json!({"message": "m"})), false),
        (body(json!({"tags": ["env:production"]})), true),
        (body(json!({"tags": ["env: production"]})), false),
        (body(json!({"text": "%%% \na\n %%%"})), true),
        (body(json!({"text": "%%% \na %%% b\n %%%"})), false),
        (body(json!({"text": "%%% \na"})), false),
    ] {
        let said = fault(Version::V1, &body, None);
        assert_eq!(said.is_none(), fits, "{body:.300}: {said:?}");
    }
}

#[test]
fn age_is_judged_by_the_clock() {
    let now = Timestamp::parse_rfc3339("2026-11-22T14:00:00Z").unwrap();
    for (time, said) in [
        ("2026-11-21T20:00:00Z", None),
        ("2026-11-21T19:59:59Z", Some("Event too far in the past")),
        ("2026-11-22T16:00:00Z", None),
        ("2026-11-22T16:00:01Z", Some("Event too far in the future")),
    ] {
        let seconds = Timestamp::parse_rfc3339(time).unwrap().unix_seconds();
        let old = json!({"title": "t", "text": "x", "date_happened": seconds});
        for (version, body) in [(Version::V1, old), (Version::V2, change("/timestamp", time.into()))] {
            assert_eq!(fault(version, &body, Some(now)).map(|fault| fault.0).as_deref(), said, "{time}");
        }
    }
}
