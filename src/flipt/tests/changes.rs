//! What differs: tables of what Flipt sends, and properties over whatever it might.

use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::event::{Known, Late, Place, RawText, Seen, SeenBy, Timestamp, Without};
use crate::flipt::{ActorKind, AuditEvent, ChangeFacts, ChangeKind, Difference, apply, change, facts};

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

fn event(noun: &str, action: &str, payload: &Value) -> String {
    json!({"type": noun, "action": action, "payload": payload, "metadata": {"actor": {"authentication": "none"}}})
        .to_string()
}

fn before(state: &Value) -> Known {
    let at = Timestamp::parse_rfc3339("2026-11-22T10:00:00Z").unwrap();
    let seen = Some(Seen { at, sequence: Some(1), by: SeenBy::Event });
    Known { before: Some(raw(state)), seen, ..Known::default() }
}

fn told(noun: &str, action: &str, known: &Known, payload: &Value) -> Option<Vec<Difference>> {
    let json = event(noun, action, payload);
    change(&AuditEvent::parse(&json).unwrap(), known).differences
}

fn fact(noun: &str, action: &str, known: &Known, payload: &Value) -> ChangeFacts {
    facts(&AuditEvent::parse(&event(noun, action, payload)).unwrap(), known)
}

/// `/enabled: false -> true`, one a line.
fn shown(differences: &[Difference]) -> Vec<String> {
    let side =
        |side: &Option<RawText>| side.as_ref().map_or("nothing".into(), |text| text.0.get().to_owned());
    differences
        .iter()
        .map(|told| format!("{}: {} -> {}", told.pointer, side(&told.old), side(&told.new)))
        .collect()
}

fn updated(noun: &str, old: &Value, new: &Value) -> Vec<String> {
    shown(&told(noun, "updated", &before(old), new).unwrap())
}

fn attached(attachment: &str) -> Value {
    json!({"attachment": attachment, "id": "v", "key": "on", "flag_key": "f"})
}

#[test]
fn fields_that_differ_are_told_with_old_and_new() {
    let flag = |enabled: bool, name: &str| json!({"enabled": enabled, "name": name, "key": "f", "namespace_key": "d"});
    assert_eq!(
        updated("flag", &flag(false, "a"), &flag(true, "b")),
        ["/enabled: false -> true", "/name: \"a\" -> \"b\""]
    );
    assert!(updated("flag", &flag(true, "a"), &flag(true, "a")).is_empty());
    let threshold = |percentage: Value| json!({"threshold": {"percentage": percentage, "value": true}});
    assert_eq!(
        updated("rollout", &threshold(json!(10)), &threshold(json!(50))),
        ["/threshold/percentage: 10 -> 50"]
    );
    assert!(updated("rollout", &threshold(json!(50)), &threshold(json!(50.0))).is_empty());
    let segment = json!({"segment": {"key": "beta", "value": true}});
    assert_eq!(
        updated("rollout", &threshold(json!(10)), &segment),
        [
            "/segment: nothing -> {\"key\":\"beta\",\"value\":true}",
            "/threshold: {\"percentage\":10,\"value\":true} -> nothing"
        ]
    );
}

#[test]
fn nothing_and_an_empty_value_are_alike() {
    for empty in [json!(""), json!(false), json!([]), json!(null), json!({})] {
        assert!(
            updated("flag", &json!({"key": "f", "x": empty}), &json!({"key": "f"})).is_empty(),
            "{empty}"
        );
        assert!(
            updated("flag", &json!({"key": "f"}), &json!({"key": "f", "x": empty})).is_empty(),
            "{empty}"
        );
        assert!(updated("flag", &json!({"x": empty}), &json!({"x": null})).is_empty(), "{empty}");
    }
    assert_eq!(
        updated("flag", &json!({}), &json!({"default_variant": "on"})),
        ["/default_variant: nothing -> \"on\""]
    );
    // What a family cannot tell any more.
    assert!(updated("flag", &json!({"default_variant": null}), &json!({"default_variant": "on"})).is_empty());
    assert_eq!(updated("distribution", &json!({}), &json!({"rollout": 0})), ["/rollout: nothing -> 0"]);
}

#[test]
fn several_segments_of_an_old_flipt_are_not_known() {
    let rule = |key: &str| json!({"segment_key": key, "rank": 1});
    let several = json!({"segment_key": "beta,staff", "segment_operator": "AND_SEGMENT_OPERATOR", "rank": 2});
    assert_eq!(updated("rule", &rule(""), &several), ["/rank: 1 -> 2"]);
    assert_eq!(updated("rule", &rule("beta"), &rule("")), ["/segment_key: \"beta\" -> \"\""]);
    let old = json!({"segment": {"key": "", "value": true}});
    let new = |value: bool| json!({"segment": {"key": "beta,staff", "operator": "OR_SEGMENT_OPERATOR", "value": value}});
    assert!(updated("rollout", &old, &new(true)).is_empty());
    assert_eq!(updated("rollout", &old, &new(false)), ["/segment/value: true -> false"]);
}

#[test]
fn items_are_matched_by_their_ids() {
    let item = |id: &str, rollout: f64| json!({"id": id, "rollout": rollout});
    let rule = |items: &[Value]| json!({"distributions": items});
    let (a, b, c) = (item("a", 10.0), item("b", 90.0), item("c", 5.0));
    assert_eq!(
        updated("rule", &rule(&[a.clone(), b.clone()]), &rule(&[c.clone(), item("b", 85.5)])),
        [
            "/distributions/1/rollout: 90.0 -> 85.5",
            "/distributions/0: {\"id\":\"a\",\"rollout\":10.0} -> nothing",
            "/distributions/0: nothing -> {\"id\":\"c\",\"rollout\":5.0}",
        ]
    );
    let turned = updated("rule", &rule(&[a.clone(), b.clone()]), &rule(&[b.clone(), a.clone()]));
    assert_eq!(turned.len(), 1, "{turned:?}");
    assert!(turned[0].starts_with("/distributions: [{"));
    let twice = updated("rule", &rule(std::slice::from_ref(&a)), &rule(&[a.clone(), a.clone()]));
    assert!(twice[0].starts_with("/distributions: "), "ids that are not unique match nothing: {twice:?}");
    assert_eq!(updated("rule", &json!({"x": [1, 2]}), &json!({"x": [1, 3]})), ["/x: [1,2] -> [1,3]"]);
}

#[test]
fn attachments_are_compared_inside() {
    let differ = |old: &str, new: &str| updated("variant", &attached(old), &attached(new));
    assert_eq!(
        differ(r#"{"color":"red","a/b":[1]}"#, r#"{"a/b":[1],"color":"blue","x~y":null}"#),
        ["/attachment/color: \"red\" -> \"blue\"", "/attachment/x~0y: nothing -> null"]
    );
    assert!(differ(r#"{"a":1,"b":{"c":[]}}"#, r#" {"b": {"c": [ ]}, "a": 1.0} "#).is_empty());
    assert_eq!(differ(r#"{"a":1}"#, "[1]"), [r#"/attachment: "{\"a\":1}" -> "[1]""#]);
    assert_eq!(differ("", r#"{"a":1}"#), [r#"/attachment: "" -> "{\"a\":1}""#]);
    assert_eq!(differ(r#"{"a":false}"#, r#"{"a":null}"#), ["/attachment/a: false -> null"]);
    assert!(differ("1", "1.0").is_empty());
    assert_eq!(differ("{", "}"), [r#"/attachment: "{" -> "}""#]);
}

#[test]
fn created_and_deleted_tell_all_that_was_set() {
    let rule = json!({"distributions": [], "flag_key": "f", "id": "r", "namespace_key": "d", "rank": 1, "segment_key": "beta"});
    let created = told("rule", "created", &Known::nothing(Without::Created), &rule).unwrap();
    assert_eq!(shown(&created), ["/rank: nothing -> 1", "/segment_key: nothing -> \"beta\""]);
    let ids = json!({"flag_key": "f", "id": "r", "namespace_key": "d"});
    let deleted = told("rule", "deleted", &before(&rule), &ids).unwrap();
    assert_eq!(shown(&deleted), ["/rank: 1 -> nothing", "/segment_key: \"beta\" -> nothing"]);
    let constraint = json!({"id": "c", "segment_key": "beta", "property": "country", "value": "CA"});
    let created = told("constraint", "created", &Known::nothing(Without::Created), &constraint).unwrap();
    assert_eq!(shown(&created), ["/property: nothing -> \"country\"", "/value: nothing -> \"CA\""]);
    for without in [Without::FirstSeen, Without::Late, Without::SharedWriters, Without::NotKept] {
        assert_eq!(told("rule", "updated", &Known::nothing(without), &rule), None);
        assert_eq!(told("rule", "created", &Known::nothing(without), &rule), None);
        assert_eq!(told("rule", "deleted", &Known::nothing(without), &ids), None);
    }
}

#[test]
fn what_is_late_is_compared_with_nothing() {
    let flag = json!({"key": "f", "enabled": true});
    let late = Late { newest: Timestamp::from_unix_micros(1), current: Some(raw(&flag)), is_deleted: false };
    let known = Known { late: Some(late), ..before(&json!({"key": "f"})) };
    let json = event("flag", "updated", &flag);
    let change = change(&AuditEvent::parse(&json).unwrap(), &known);
    assert!(change.before.is_none() && change.differences.is_none());
    let created = Known { without: Some(Without::Created), before: None, ..known };
    assert_eq!(told("flag", "created", &created, &flag), None);
}

fn order(places: &[(&str, Option<u32>)]) -> (Known, Value) {
    let place = |(id, was): &(&str, Option<u32>)| Place { id: (*id).to_owned(), was: *was, state: None };
    let ids: Vec<&str> = places.iter().map(|(id, _)| *id).collect();
    let known = Known { order: places.iter().map(place).collect(), ..Known::default() };
    (known, json!({"flag_key": "f", "namespace_key": "d", "rule_ids": ids}))
}

#[test]
fn a_new_order_differs_in_its_order() {
    let (known, payload) = order(&[("b", Some(2)), ("a", Some(1))]);
    assert_eq!(
        shown(&told("rule", "updated", &known, &payload).unwrap()),
        [r#"/rule_ids: ["a","b"] -> ["b","a"]"#]
    );
    let fact = fact("rule", "updated", &known, &payload);
    assert_eq!((fact.changed, fact.kind), (Some(vec!["rank".into()]), Some(ChangeKind::Behaviour)));
    let (known, payload) = order(&[("a", Some(1)), ("b", Some(2))]);
    assert_eq!(told("rule", "updated", &known, &payload), Some(vec![]));
    for unknown in
        [order(&[("a", Some(2)), ("b", None)]), order(&[("a", Some(1)), ("b", Some(1))]), order(&[])]
    {
        assert_eq!(told("rule", "updated", &unknown.0, &unknown.1), None);
    }
}

#[test]
fn what_is_told_is_bounded() {
    let many = |count: usize| json!({"constraints": (0..count).map(|id| json!({"id": id.to_string()})).collect::<Vec<_>>(), "name": count.to_string()});
    let json = event("segment", "updated", &many(1_000));
    let known = before(&many(0));
    let change = change(&AuditEvent::parse(&json).unwrap(), &known);
    assert_eq!((change.differences.unwrap().len(), change.more), (256, true));
    let changed = fact("segment", "updated", &known, &many(1_000)).changed.unwrap();
    assert_eq!(changed, ["constraints", "name"], "the names of fields are all there");
}

#[test]
fn depth_costs_no_stack() {
    let nested = |inner: &str| format!("{}{inner}{}", "[".repeat(100_000), "]".repeat(100_000));
    let objects = |inner: &str| format!("{}{inner}{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    for (old, new) in [(nested("1"), nested("2")), (objects("1"), objects("2")), (nested("1"), "1".into())] {
        let of = |deep: &str| format!(r#"{{"key":"f","deep":{deep}}}"#);
        let known = Known { before: Some(RawValue::from_string(of(&old)).unwrap()), ..Known::default() };
        let line = format!(r#"{{"type":"flag","action":"updated","payload":{}}}"#, of(&new));
        let event = AuditEvent::parse(&line).unwrap();
        let told = change(&event, &known).differences.unwrap();
        assert_eq!(told.len(), 1);
        assert!(told[0].pointer.starts_with("/deep"));
        assert_eq!(facts(&event, &known).changed.unwrap(), ["deep"]);
        // In a text, so deep a value stays a text.
        let told = told_attachments(&old, &new);
        assert_eq!(told, ["/attachment"]);
    }
}

fn told_attachments(old: &str, new: &str) -> Vec<String> {
    let told = told("variant", "updated", &before(&attached(old)), &attached(new)).unwrap();
    told.into_iter().map(|difference| difference.pointer).collect()
}

#[test]
fn kinds_follow_what_changed() {
    use ChangeKind::{Access, Behaviour, Text};
    let changed = |noun: &str, old: Value, new: Value| fact(noun, "updated", &before(&old), &new).kind;
    assert_eq!(changed("flag", json!({"enabled": true}), json!({})), Some(Behaviour));
    assert_eq!(changed("flag", json!({"name": "a"}), json!({"name": "b", "description": "c"})), Some(Text));
    assert_eq!(changed("flag", json!({}), json!({})), Some(Text));
    assert_eq!(changed("variant", attached("{}"), attached("[]")), Some(Behaviour));
    assert_eq!(changed("segment", json!({"match_type": "A"}), json!({"match_type": "B"})), Some(Behaviour));
    assert_eq!(changed("namespace", json!({"name": "a"}), json!({"name": "b"})), Some(Text));
    assert_eq!(changed("namespace", json!({"protected": true}), json!({"protected": false})), Some(Access));
    let first = |noun: &str, action: &str| {
        fact(noun, action, &Known::nothing(Without::FirstSeen), &json!({"key": "x"})).kind
    };
    for (noun, updated, created) in [
        ("flag", None, Some(Behaviour)),
        ("variant", None, Some(Behaviour)),
        ("segment", None, Some(Behaviour)),
        ("rollout", None, Some(Behaviour)),
        ("rule", Some(Behaviour), Some(Behaviour)),
        ("constraint", Some(Behaviour), Some(Behaviour)),
        ("distribution", Some(Behaviour), Some(Behaviour)),
        ("namespace", None, Some(Text)),
        ("token", Some(Access), Some(Access)),
        ("authentication", None, None),
    ] {
        assert_eq!((first(noun, "updated"), first(noun, "created")), (updated, created), "{noun}");
    }
    assert_eq!(first("namespace", "deleted"), Some(Behaviour));
    assert_eq!(
        fact("namespace", "created", &Known::default(), &json!({"protected": true})).kind,
        Some(Access)
    );
    let denied = r#"{"type":"flag","action":"updated","status":"denied","payload":null}"#;
    let known = Known { live: Some(true), ..Known::default() };
    let fact = facts(&AuditEvent::parse(denied).unwrap(), &known);
    assert_eq!((fact.kind, fact.live, fact.changed), (Some(Access), None, None));
}

#[test]
fn actors_are_of_a_kind() {
    for (actor, kind, names) in [
        (
            r#"{"authentication":"oidc","name":"Ann","email":"ann@example.com"}"#,
            ActorKind::Person,
            vec!["Ann", "ann@example.com"],
        ),
        (r#"{"authentication":"github"}"#, ActorKind::Person, vec![]),
        (r#"{"authentication":"jwt","email":"ann@example.com"}"#, ActorKind::Person, vec!["ann@example.com"]),
        (r#"{"authentication":"jwt"}"#, ActorKind::Automation, vec![]),
        (r#"{"authentication":"kubernetes"}"#, ActorKind::Automation, vec![]),
        (r#"{"authentication":"token","io.flipt.auth.token.name":"ci"}"#, ActorKind::Token, vec!["ci"]),
        (r#"{"authentication":"cloud"}"#, ActorKind::Unknown, vec![]),
        (r#"{"authentication":"none","ip":"127.0.0.1"}"#, ActorKind::Unknown, vec![]),
        ("{}", ActorKind::Unknown, vec![]),
    ] {
        let json = format!(r#"{{"type":"flag","action":"updated","metadata":{{"actor":{actor}}}}}"#);
        let fact = facts(&AuditEvent::parse(&json).unwrap(), &Known::default());
        assert_eq!(fact.actor_kind, kind, "{actor}");
        assert_eq!(fact.actors, names, "{actor}");
    }
}

/// Whether two states mean the same: inside of attachments to the letter, elsewhere but for what is empty.
fn mean_the_same(one: &Value, other: &Value) -> bool {
    fn plain(value: &Value, strict: bool) -> Value {
        match value {
            Value::Object(entries) => {
                let entry = |(name, value): (&String, &Value)| {
                    let inner = value.as_str().filter(|_| name == "attachment" && !strict);
                    let inner = inner.and_then(|text| serde_json::from_str(text).ok());
                    let value = inner.map_or_else(|| plain(value, strict), |inner| plain(&inner, true));
                    let is_empty = !strict && name != "attachment" && says_nothing(&value);
                    (!is_empty).then(|| (name.clone(), value))
                };
                Value::Object(entries.iter().filter_map(entry).collect())
            }
            Value::Array(items) => {
                let items = items.iter().map(|item| plain(item, strict));
                items.map(|item| if !strict && says_nothing(&item) { Value::Null } else { item }).collect()
            }
            Value::Number(number) => json!(number.as_f64()),
            other => other.clone(),
        }
    }
    fn says_nothing(value: &Value) -> bool {
        *value == json!("")
            || *value == json!(false)
            || *value == json!([])
            || *value == json!({})
            || value.is_null()
    }
    let gone = |value: Value| match value {
        // An empty attachment and none are alike.
        Value::Object(mut entries) => {
            if entries.get("attachment").is_some_and(says_nothing) {
                entries.remove("attachment");
            }
            Value::Object(entries)
        }
        other => other,
    };
    gone(plain(one, false)) == gone(plain(other, false))
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i32..3).prop_map(Value::from),
        (0_u8..8).prop_map(|n| json!(f64::from(n) / 2.0)),
        "[a-c/~ é]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-c/~]{0,2}", inner.clone(), 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
            proptest::collection::vec(("[a-e]", inner), 0..4).prop_map(|items| items
                .into_iter()
                .map(|(id, value)| json!({"id": id, "value": value}))
                .collect()),
        ]
    })
}

fn any_items() -> impl Strategy<Value = Value> {
    proptest::sample::subsequence(vec!["a", "b", "c", "d", "e"], 0..5).prop_shuffle().prop_flat_map(|ids| {
        proptest::collection::vec(any_json(), ids.len()).prop_map(move |values| {
            ids.iter()
                .zip(values)
                .map(|(id, value)| json!({"id": id, "rollout": value, "rule_id": "r"}))
                .collect()
        })
    })
}

/// Payloads with every field of every type: more than Flipt ever sends at once.
fn any_state() -> impl Strategy<Value = Value> {
    let attachment = prop_oneof![
        any_json().prop_map(|inner| Value::from(inner.to_string())),
        Just(json!("")),
        "[a-c{\"]{0,4}".prop_map(Value::from),
    ];
    let text = "[a-c,]{1,4}";
    let fields =
        proptest::collection::btree_map("(enabled|name|threshold|match_type|extra|rank)", any_json(), 0..5);
    (
        fields,
        proptest::option::of(any_items()),
        proptest::option::of(any_items()),
        attachment,
        text,
        any::<bool>(),
    )
        .prop_map(|(fields, distributions, constraints, attachment, segment, has_attachment)| {
            let mut state: Map<String, Value> = fields.into_iter().collect();
            state.extend(distributions.map(|items| ("distributions".to_owned(), items)));
            state.extend(constraints.map(|items| ("constraints".to_owned(), items)));
            if has_attachment {
                state.insert("attachment".into(), attachment);
            }
            state.insert("segment_key".into(), segment.into());
            state.insert("key".into(), "k".into());
            // That of a former state means: not known.
            state.retain(|name, value| !(name == "rank" && value.is_null()));
            Value::Object(state)
        })
}

/// Whether a pointer leads somewhere, in the state where it should.
fn resolves(pointer: &str, state: &Value) -> bool {
    if state.pointer(pointer).is_some() {
        return true;
    }
    let Some(inner) = pointer.strip_prefix("/attachment/") else { return false };
    let attachment = state["attachment"].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    attachment.is_some_and(|attachment| attachment.pointer(&format!("/{inner}")).is_some())
}

proptest! {
    #[test]
    fn a_change_leads_from_before_to_after(old in any_state(), new in any_state()) {
        let differences = told("flag", "updated", &before(&old), &new).unwrap();
        prop_assert!(differences.len() <= 256);
        let applied = apply(&old, &differences);
        prop_assert!(mean_the_same(&applied, &new), "{:?}\n{}\n{}", shown(&differences), applied, new);
        for told in &differences {
            prop_assert!(told.old.is_none() || resolves(&told.pointer, &old), "{}", told.pointer);
            // What is new inside of an item goes by the place that the item had.
            let parent = told.pointer.rsplit_once('/').unwrap().0;
            let is_found = resolves(&told.pointer, &new) || !parent.is_empty() && resolves(parent, &old);
            prop_assert!(told.old.is_some() || is_found, "{}", told.pointer);
            prop_assert!(told.old != told.new);
        }
        let names: std::collections::BTreeSet<_> =
            differences.iter().map(|told| told.pointer.split('/').nth(1).unwrap().to_owned()).collect();
        let changed = fact("flag", "updated", &before(&old), &new).changed.unwrap();
        prop_assert_eq!(names.into_iter().collect::<Vec<_>>(), changed);
    }

    #[test]
    fn the_same_state_differs_nowhere_however_it_is_written(state in any_state()) {
        let spaced = serde_json::to_string_pretty(&state).unwrap();
        let known = Known { before: Some(RawValue::from_string(spaced).unwrap()), ..Known::default() };
        prop_assert_eq!(told("flag", "updated", &known, &state), Some(vec![]));
    }

    #[test]
    fn from_nothing_and_back(state in any_state()) {
        let created = told("flag", "created", &Known::nothing(Without::Created), &state).unwrap();
        let mut made = apply(&json!({}), &created);
        made["key"] = "k".into();
        prop_assert!(mean_the_same(&made, &state), "{}\n{}", made, state);
        let deleted = told("flag", "deleted", &before(&state), &json!({"key": "k"})).unwrap();
        let mut rest = apply(&state, &deleted);
        rest.as_object_mut().unwrap().remove("key");
        prop_assert!(mean_the_same(&rest, &json!({})), "{}", rest);
    }

    #[test]
    fn nothing_breaks_it(payload: String, state in any_json(), text: String, noun: String, action: String) {
        for payload in [serde_json::to_string(&payload).unwrap(), state.to_string(), json!({"key": state}).to_string()] {
            let known = Known { before: Some(raw(&json!({"key": text}))), ..Known::default() };
            let json = format!("{{\"type\":{},\"action\":{},\"payload\":{payload}}}", json!(noun), json!(action));
            let event = AuditEvent::parse(&json).unwrap();
            let _ = (change(&event, &known), facts(&event, &known));
        }
    }
}
