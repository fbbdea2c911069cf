//! Sentences and stories: a golden file of all there is to say, to be read aloud; and what no sentence may do.

use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{act, deliveries, gap, oversized, record, unparsed};
use crate::destination::Delivery;
use crate::destination::telling::{Role, Tone, sentence, story};
use crate::event::{
    Closed, Known, Late, Place, RawText, RecordKind, RuleLabel, Seen, SeenBy, Several, Timestamp, Without,
};

const ON: &str = "7f4f8a1c-2d3e-4b5a-9c6d-0e1f2a3b4c5d";
const OFF: &str = "8a4f8a1c-2d3e-4b5a-9c6d-0e1f2a3b4c5e";
const RULE: &str = "a1b2c3d4-0000-4000-8000-00000000000a";
const ROLLOUT: &str = "e1e2e3e4-0000-4000-8000-00000000000e";
const CONSTRAINT: &str = "c0c0c0c0-0000-4000-8000-000000000001";

fn raw(value: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

pub(super) fn told(noun: &str, action: &str, payload: &Value, known: &Known) -> Delivery {
    let event = json!({"type": noun, "action": action, "payload": payload, "timestamp": "2026-11-22T14:14:02Z",
        "metadata": {"actor": {"authentication": "oidc", "name": "Ann", "email": "ann@example.com", "ip": "10.1.2.3"}}});
    let mut delivery = deliveries(&event.to_string()).remove(0);
    delivery.environment = Some("production".into());
    delivery.record.known = Some(serde_json::to_string(known).unwrap().into());
    delivery
}

/// A state that an event told so many hours before.
pub(super) fn seen(hours: i64, state: &Value) -> Known {
    let at = Timestamp::from_unix_micros(1_795_356_842_000_000 - hours * 3_600_000_000);
    let seen = Some(Seen { at, sequence: Some(7), by: SeenBy::Event });
    Known { before: Some(raw(state)), seen, variants: variants(), ..Known::default() }
}

fn variants() -> std::collections::BTreeMap<String, String> {
    [(ON.to_owned(), "on".to_owned()), (OFF.to_owned(), "off".to_owned())].into()
}

fn with(payload: &Value, changes: Value) -> Value {
    let mut payload = payload.clone();
    payload.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    payload
}

pub(super) fn flag(enabled: bool) -> Value {
    json!({"description": "", "enabled": enabled, "key": "checkout", "name": "Checkout", "namespace_key": "production"})
}

fn variant() -> Value {
    json!({"attachment": "{\"color\":\"red\",\"size\":3}", "description": "", "flag_key": "checkout", "id": ON,
        "key": "on", "name": "On", "namespace_key": "production"})
}

fn segment() -> Value {
    json!({"constraints": [constraint()], "description": "", "key": "beta", "match_type": "ALL_MATCH_TYPE",
        "name": "Beta", "namespace_key": "production"})
}

fn constraint() -> Value {
    json!({"id": CONSTRAINT, "namespace_key": "production", "operator": "eq", "property": "country",
        "segment_key": "beta", "type": "STRING_COMPARISON_TYPE", "value": "CA"})
}

fn distribution(variant: &str, rollout: f64) -> Value {
    json!({"id": format!("d{}", &variant[1..]), "rollout": rollout, "rule_id": RULE, "variant_id": variant})
}

fn rule() -> Value {
    json!({"distributions": [distribution(ON, 90.0), distribution(OFF, 10.0)], "flag_key": "checkout", "id": RULE,
        "namespace_key": "production", "rank": 1, "segment_key": "beta"})
}

pub(super) fn share(percentage: f64) -> Value {
    json!({"description": "", "flag_key": "checkout", "id": ROLLOUT, "namespace_key": "production", "rank": 1,
        "threshold": {"percentage": percentage, "value": true}})
}

fn to_segment(key: &str, operator: Option<&str>) -> Value {
    json!({"description": "", "flag_key": "checkout", "id": ROLLOUT, "namespace_key": "production", "rank": 1,
        "segment": {"key": key, "operator": operator, "value": true}})
}

fn namespace() -> Value {
    json!({"description": "", "key": "payments", "name": "Payments", "protected": false})
}

/// A distribution's event says nothing of its flag: that is found out at acceptance.
fn split(action: &str, payload: &Value, mut known: Known) -> Delivery {
    let rule = RuleLabel { rank: Some(1), segment_key: Some("beta".into()), segment_operator: None };
    known.rule = Some(rule);
    known.variants = variants();
    let mut delivery = told("distribution", action, payload, &known);
    delivery.record.order_key = told("rule", "created", &self::rule(), &Known::default()).record.order_key;
    delivery.record.namespace = crate::event::Namespace::Known("production".into());
    delivery
}

pub(super) fn order(places: &[(&str, Option<u32>)], noun: &str) -> Delivery {
    let place = |(id, was): &(&str, Option<u32>)| {
        let state = match noun {
            "rule" => json!({"segment_key": id, "id": id}),
            _ => to_segment(id, None),
        };
        Place { id: (*id).to_owned(), was: *was, state: Some(Box::new(RawText(raw(&state)))) }
    };
    let known = Known { order: places.iter().map(place).collect(), ..Known::default() };
    let ids: Vec<&str> = places.iter().map(|(id, _)| *id).collect();
    let payload = json!({"flag_key": "checkout", "namespace_key": "production", format!("{noun}_ids"): ids});
    told(noun, "updated", &payload, &known)
}

/// Flag `checkout` is turned on, …
pub(super) fn on() -> Delivery {
    told("flag", "updated", &flag(true), &seen(1, &flag(false)))
}

/// … off, …
pub(super) fn off() -> Delivery {
    told("flag", "updated", &flag(false), &seen(1, &flag(true)))
}

/// … and half of everyone gets true.
pub(super) fn half() -> Delivery {
    told("rollout", "updated", &share(50.0), &seen(1, &share(10.0)))
}

pub(super) fn created() -> Known {
    Known::nothing(Without::Created)
}

fn first() -> Known {
    Known { variants: variants(), ..Known::nothing(Without::FirstSeen) }
}

pub(super) fn late(current: Option<&Value>) -> Known {
    let late = Late {
        newest: Timestamp::from_unix_micros(1_795_356_942_000_000),
        is_deleted: current.is_none(),
        current: current.map(raw),
    };
    Known { late: Some(late), variants: variants(), ..Known::nothing(Without::Late) }
}

fn closed(kinds: &[&str], count: u32) -> Option<Several<Closed>> {
    let closed = |kind: &&str| Closed { kind: (*kind).to_owned(), name: None };
    Some(Several { count, first: kinds.iter().map(closed).collect() })
}

fn used(flags: &[&str], count: u32) -> Option<Several<String>> {
    Some(Several { count, first: flags.iter().map(|flag| (*flag).to_owned()).collect() })
}

fn flags() -> Vec<Delivery> {
    let on = with(&flag(true), json!({"default_variant": "on"}));
    let renamed = with(&flag(true), json!({"name": "New checkout"}));
    let described = with(&flag(true), json!({"description": "PAY-481"}));
    let long = with(&flag(true), json!({"description": "A long story. ".repeat(20)}));
    let ids = json!({"key": "checkout", "namespace_key": "production"});
    let gone =
        Known { closed: closed(&["variant", "variant", "rule", "distribution"], 4), ..seen(1, &flag(true)) };
    let much = Known { closed: closed(&["variant"; 16], 40), ..seen(1, &flag(false)) };
    let lost = Known::nothing(Without::Deleted);
    let shared = Known::nothing(Without::SharedWriters);
    vec![
        told("flag", "created", &flag(false), &created()),
        told("flag", "created", &flag(true), &first()),
        told("flag", "updated", &flag(true), &seen(1, &flag(false))),
        told("flag", "updated", &flag(false), &seen(1, &on)),
        told("flag", "updated", &on, &seen(1, &flag(false))),
        told("flag", "updated", &on, &seen(1, &flag(true))),
        told("flag", "updated", &renamed, &seen(1, &flag(true))),
        told("flag", "updated", &described, &seen(1, &flag(true))),
        told("flag", "updated", &flag(true), &seen(1, &described)),
        told("flag", "updated", &long, &seen(1, &described)),
        told("flag", "updated", &with(&described, json!({"name": "N"})), &seen(1, &flag(true))),
        told("flag", "updated", &with(&on, json!({"metadata": {"a": 1}})), &seen(1, &on)),
        told("flag", "updated", &flag(true), &seen(1, &flag(true))),
        told("flag", "updated", &flag(true), &seen(80, &flag(true))),
        told("flag", "updated", &flag(true), &seen(80, &flag(false))),
        told("flag", "updated", &on, &seen(30, &flag(true))),
        told("flag", "updated", &with(&on, json!({"name": "N"})), &seen(30, &flag(true))),
        told("flag", "updated", &on, &first()),
        told("flag", "updated", &flag(false), &lost),
        told("flag", "updated", &flag(false), &shared),
        told("flag", "deleted", &ids, &gone),
        told("flag", "deleted", &ids, &much),
        told("flag", "deleted", &ids, &seen(80, &flag(true))),
        told("flag", "deleted", &ids, &first()),
        told("flag", "created", &flag(false), &late(Some(&flag(true)))),
        told("flag", "updated", &flag(true), &late(Some(&flag(false)))),
        told("flag", "updated", &flag(true), &late(None)),
        told("flag", "deleted", &ids, &late(Some(&flag(false)))),
        told("flag", "deleted", &ids, &late(None)),
    ]
}

fn variant_events() -> Vec<Delivery> {
    let blue = with(&variant(), json!({"attachment": "{\"color\":\"blue\",\"size\":3}"}));
    let more = with(&variant(), json!({"attachment": "{\"a\":1,\"b\":{\"c\":2}}"}));
    let none = with(&variant(), json!({"attachment": ""}));
    let ids = json!({"flag_key": "checkout", "id": ON, "namespace_key": "production"});
    let other = json!({"flag_key": "checkout", "id": "x", "namespace_key": "production"});
    vec![
        told("variant", "created", &variant(), &created()),
        told("variant", "created", &none, &created()),
        told("variant", "updated", &blue, &seen(1, &variant())),
        told("variant", "updated", &more, &seen(1, &variant())),
        told("variant", "updated", &none, &seen(1, &variant())),
        told("variant", "updated", &with(&variant(), json!({"key": "yes"})), &seen(1, &variant())),
        told("variant", "updated", &with(&variant(), json!({"name": "Yes"})), &seen(1, &variant())),
        told("variant", "updated", &variant(), &seen(1, &variant())),
        told("variant", "updated", &variant(), &first()),
        told("variant", "deleted", &ids, &seen(1, &variant())),
        told("variant", "deleted", &ids, &first()),
        told("variant", "deleted", &other, &first()),
        told("variant", "updated", &variant(), &late(Some(&blue))),
    ]
}

fn segments() -> Vec<Delivery> {
    let flags = |known: Known| Known { used_by: used(&["checkout", "search"], 5), ..known };
    let any = with(&segment(), json!({"match_type": "ANY_MATCH_TYPE"}));
    let us = with(&constraint(), json!({"value": "US"}));
    let several =
        with(&constraint(), json!({"operator": "isoneof", "value": "[\"CA\",\"US\",\"MX\",\"BR\"]"}));
    let none = with(&constraint(), json!({"operator": "isnotoneof", "value": "[\"CA\",\"US\"]"}));
    let person = with(
        &constraint(),
        json!({"type": "ENTITY_ID_COMPARISON_TYPE", "property": "entityId", "operator": "isoneof",
        "value": format!("[\"{ON}\",\"{OFF}\"]")}),
    );
    let plan =
        with(&constraint(), json!({"id": "p", "operator": "prefix", "property": "plan", "value": "pro"}));
    let wider = with(&segment(), json!({"constraints": [constraint(), plan]}));
    let ids = json!({"key": "beta", "namespace_key": "production"});
    let part = json!({"id": CONSTRAINT, "segment_key": "beta", "namespace_key": "production"});
    vec![
        told("segment", "created", &with(&segment(), json!({"constraints": []})), &created()),
        told("segment", "updated", &any, &flags(seen(1, &segment()))),
        told("segment", "updated", &with(&segment(), json!({"name": "Beta users"})), &seen(1, &segment())),
        told("segment", "updated", &wider, &seen(1, &segment())),
        told("segment", "updated", &segment(), &seen(1, &segment())),
        told("segment", "updated", &wider, &first()),
        told(
            "segment",
            "deleted",
            &ids,
            &Known { closed: closed(&["constraint"], 1), ..seen(1, &segment()) },
        ),
        told("segment", "deleted", &ids, &flags(first())),
        told("segment", "updated", &segment(), &late(Some(&wider))),
        told("constraint", "created", &constraint(), &flags(created())),
        told("constraint", "updated", &several, &flags(seen(1, &constraint()))),
        told(
            "constraint",
            "updated",
            &us,
            &Known { used_by: used(&["checkout"], 1), ..seen(80, &constraint()) },
        ),
        told("constraint", "updated", &none, &seen(1, &several)),
        told("constraint", "updated", &person, &seen(1, &constraint())),
        told(
            "constraint",
            "updated",
            &person.clone(),
            &seen(1, &with(&person, json!({"value": format!("[\"{ON}\",\"x\"]")}))),
        ),
        told("constraint", "updated", &us, &first()),
        told("constraint", "updated", &us, &seen(1, &us)),
        told("constraint", "deleted", &part, &flags(seen(1, &us))),
        told("constraint", "deleted", &part, &first()),
        told("constraint", "updated", &us, &late(Some(&constraint()))),
    ]
}

fn rules() -> Vec<Delivery> {
    let several =
        with(&rule(), json!({"segment_key": "beta,staff", "segment_operator": "AND_SEGMENT_OPERATOR"}));
    let old = with(&rule(), json!({"segment_key": ""}));
    let halves = with(&rule(), json!({"distributions": [distribution(ON, 50.0), distribution(OFF, 50.0)]}));
    let third = with(&rule(), json!({"rank": 3}));
    let ids = json!({"flag_key": "checkout", "id": RULE, "namespace_key": "production"});
    let told_by_flipt = Known {
        seen: Some(Seen { at: Timestamp::from_unix_micros(0), sequence: None, by: SeenBy::Flipt }),
        ..seen(0, &rule())
    };
    let gone = json!({"flag_key": "checkout", "id": "x", "namespace_key": "production", "rule_id": RULE, "variant_id": OFF});
    let unknown = with(&distribution(ON, 50.0), json!({"variant_id": "x"}));
    vec![
        told("rule", "created", &with(&rule(), json!({"distributions": []})), &created()),
        told("rule", "updated", &several, &seen(1, &rule())),
        told("rule", "updated", &several, &seen(1, &old)),
        told("rule", "updated", &halves, &seen(1, &rule())),
        told("rule", "updated", &third, &seen(1, &rule())),
        told("rule", "updated", &rule(), &seen(1, &rule())),
        told("rule", "updated", &several, &first()),
        told("rule", "updated", &old, &first()),
        told("rule", "deleted", &rule(), &told_by_flipt),
        told("rule", "deleted", &ids, &seen(72, &rule())),
        told("rule", "deleted", &ids, &first()),
        told("rule", "updated", &rule(), &late(Some(&several))),
        order(&[("beta", Some(2)), ("staff", Some(1))], "rule"),
        order(&[("staff", Some(1)), ("beta", Some(3)), ("eu", Some(4)), ("us", Some(2))], "rule"),
        order(&[("eu", Some(4)), ("us", Some(2)), ("beta", Some(3)), ("staff", Some(1))], "rule"),
        order(&[("beta", Some(1)), ("staff", Some(2))], "rule"),
        order(&[("beta", None), ("staff", Some(1))], "rule"),
        order(&[("beta", Some(3)), ("staff", Some(1)), ("eu", Some(2))], "rollout"),
        split("created", &distribution(ON, 33.33), created()),
        split("updated", &distribution(ON, 50.0), seen(1, &distribution(ON, 90.0))),
        split("updated", &unknown, seen(1, &with(&distribution(ON, 90.0), json!({"variant_id": "x"})))),
        split("updated", &distribution(ON, 50.0), seen(72, &distribution(ON, 90.0))),
        split("updated", &distribution(ON, 50.0), seen(1, &distribution(ON, 50.0))),
        split("updated", &distribution(ON, 50.0), first()),
        split("deleted", &gone, seen(1, &distribution(OFF, 10.0))),
        split("deleted", &gone, first()),
        split("updated", &distribution(ON, 50.0), late(Some(&distribution(ON, 20.0)))),
    ]
}

fn rollouts() -> Vec<Delivery> {
    let off = with(&share(50.0), json!({"threshold": {"percentage": 50, "value": false}}));
    let both = to_segment("beta,staff", Some("AND_SEGMENT_OPERATOR"));
    let ids = json!({"flag_key": "checkout", "id": ROLLOUT, "namespace_key": "production"});
    vec![
        told("rollout", "created", &share(10.0), &created()),
        told("rollout", "created", &to_segment("beta", None), &created()),
        told("rollout", "updated", &share(50.0), &seen(1, &share(10.0))),
        told("rollout", "updated", &share(33.333), &seen(75, &share(10.0))),
        told("rollout", "updated", &off, &seen(1, &share(50.0))),
        told("rollout", "updated", &both, &seen(1, &to_segment("beta", None))),
        told("rollout", "updated", &both, &seen(1, &share(10.0))),
        told(
            "rollout",
            "updated",
            &with(&share(50.0), json!({"description": "half", "rank": 2})),
            &seen(1, &share(10.0)),
        ),
        told(
            "rollout",
            "updated",
            &with(&share(10.0), json!({"description": "First tenth"})),
            &seen(1, &share(10.0)),
        ),
        told("rollout", "updated", &share(10.0), &seen(1, &share(10.0))),
        told("rollout", "updated", &to_segment("beta,staff", Some("OR_SEGMENT_OPERATOR")), &first()),
        told("rollout", "deleted", &ids, &seen(1, &share(10.0))),
        told("rollout", "deleted", &ids, &seen(80, &both)),
        told("rollout", "deleted", &ids, &first()),
        told("rollout", "updated", &share(10.0), &late(Some(&share(50.0)))),
        told("rollout", "created", &share(10.0), &late(None)),
    ]
}

pub(super) fn rest() -> Vec<Delivery> {
    let protected = with(&namespace(), json!({"protected": true}));
    let token = json!({"io.flipt.auth.token.name": "ci", "io.flipt.auth.token.description": "CI"});
    let ids = json!({"key": "payments"});
    let mut denied = told("flag", "updated", &Value::Null, &Known::default());
    denied.record.original = String::from_utf8(denied.record.original)
        .unwrap()
        .replace("\"payload\":null", "\"payload\":null,\"status\":\"denied\"")
        .into();
    denied.environment = None;
    let mut elsewhere = told("flag", "updated", &flag(true), &seen(1, &flag(false)));
    elsewhere.environment = None;
    let mut own = told("namespace", "created", &with(&namespace(), json!({"key": "production"})), &created());
    own.environment = Some("production".into());
    let mut mapped = told(
        "flag",
        "updated",
        &with(&flag(true), json!({"namespace_key": "prod-eu"})),
        &seen(1, &flag(false)),
    );
    mapped.environment = Some("production".into());
    vec![
        told("namespace", "created", &namespace(), &created()),
        told("namespace", "created", &protected, &created()),
        own,
        told("namespace", "updated", &with(&namespace(), json!({"name": "Pay"})), &seen(1, &namespace())),
        told("namespace", "updated", &protected, &seen(1, &namespace())),
        told("namespace", "updated", &namespace(), &seen(1, &protected)),
        told("namespace", "updated", &namespace(), &seen(1, &namespace())),
        told(
            "namespace",
            "deleted",
            &ids,
            &Known { closed: closed(&["flag", "flag", "segment"], 3), ..seen(1, &namespace()) },
        ),
        told("namespace", "deleted", &with(&ids, json!({"force": true})), &seen(1, &namespace())),
        told("token", "created", &token, &created()),
        told("token", "deleted", &token, &first()),
        denied,
        elsewhere,
        mapped,
        told("authentication", "deleted", &json!({"id": ON}), &Known::default()),
        gap(),
        unparsed(b"{\"type\":\"flag\""),
        oversized(),
        act(),
        acted(
            r#"{"act":"pause","destination":"slack","by":"ann (uid 1000)","reason":"maintenance","detail":{"until":"2026-11-22T15:00:00Z"}}"#,
        ),
        acted(r#"{"act":"resume","destination":"slack","by":"audit-relay","reason":"the pause has ended"}"#),
        acted(r#"{"act":"purge","destination":"siem","by":"uid 0","records":1}"#),
        acted(
            r#"{"act":"release","destination":"siem","by":"audit-relay","reason":"seven days without configuration","records":12}"#,
        ),
        acted(
            r#"{"act":"rename","destination":"siem","by":"audit-relay","detail":{"renamed_from":"splunk"}}"#,
        ),
        acted(r#"{"act":"something new"}"#),
    ]
}

fn acted(act: &str) -> Delivery {
    Delivery { record: record(RecordKind::Act, 4, act, None), environment: None }
}

pub(super) fn stories() -> Vec<(&'static str, Vec<Delivery>)> {
    let on = || told("flag", "updated", &flag(true), &seen(1, &flag(false)));
    let off = || told("flag", "updated", &flag(false), &seen(0, &flag(true)));
    let half = || told("rollout", "updated", &share(50.0), &seen(1, &share(10.0)));
    let some = || told("rollout", "updated", &share(30.0), &seen(1, &share(10.0)));
    let more = || told("rollout", "updated", &share(50.0), &seen(0, &share(30.0)));
    let back = || told("rollout", "updated", &share(10.0), &seen(0, &share(50.0)));
    let a = |old: f64, new: f64| split("updated", &distribution(ON, new), seen(1, &distribution(ON, old)));
    let b = |old: f64, new: f64| split("updated", &distribution(OFF, new), seen(1, &distribution(OFF, old)));
    let no = json!({"attachment": "", "flag_key": "checkout", "id": OFF, "key": "off", "namespace_key": "production"});
    let empty = with(&rule(), json!({"distributions": []}));
    let ids = json!({"key": "checkout", "namespace_key": "production"});
    let plan =
        with(&constraint(), json!({"id": "p", "operator": "prefix", "property": "plan", "value": "pro"}));
    let us = with(&constraint(), json!({"operator": "isoneof", "value": "[\"CA\",\"US\"]"}));
    vec![
        ("on, and half of everyone", vec![on(), half()]),
        ("the other way round, in steps", vec![some(), on(), more()]),
        ("one rollout in steps", vec![some(), more()]),
        ("and back", vec![half(), back()]),
        ("on and off", vec![on(), off()]),
        ("on and off, and half of everyone", vec![on(), half(), off()]),
        ("a split", vec![a(90.0, 50.0), b(10.0, 50.0)]),
        ("a split in steps", vec![a(90.0, 70.0), b(10.0, 30.0), a(70.0, 50.0), b(30.0, 50.0)]),
        (
            "a split by its rule, and one distribution",
            vec![
                told(
                    "rule",
                    "updated",
                    &with(
                        &rule(),
                        json!({"distributions": [distribution(ON, 50.0), distribution(OFF, 10.0)]}),
                    ),
                    &seen(1, &rule()),
                ),
                b(10.0, 50.0),
            ],
        ),
        ("a split back", vec![a(90.0, 50.0), a(50.0, 90.0)]),
        (
            "a new flag",
            vec![
                told("flag", "created", &flag(false), &created()),
                told("variant", "created", &variant(), &created()),
                told("variant", "created", &no, &created()),
                told("rule", "created", &empty, &created()),
                split("created", &distribution(ON, 50.0), created()),
                split("created", &distribution(OFF, 50.0), created()),
            ],
        ),
        (
            "a new rule",
            vec![
                told("rule", "created", &empty, &created()),
                split("created", &distribution(ON, 50.0), created()),
                split("created", &distribution(OFF, 50.0), created()),
            ],
        ),
        (
            "made and gone",
            vec![
                told("flag", "created", &flag(false), &created()),
                told("flag", "deleted", &ids, &seen(0, &flag(false))),
            ],
        ),
        ("turned off and deleted", vec![off(), told("flag", "deleted", &ids, &seen(0, &flag(false)))]),
        (
            "two constraints",
            vec![
                told(
                    "constraint",
                    "updated",
                    &us,
                    &Known { used_by: used(&["checkout"], 1), ..seen(1, &constraint()) },
                ),
                told("constraint", "created", &plan, &Known { used_by: used(&["checkout"], 1), ..created() }),
            ],
        ),
        (
            "all sorts",
            vec![
                told(
                    "flag",
                    "updated",
                    &with(&flag(true), json!({"description": "PAY-481"})),
                    &seen(1, &flag(true)),
                ),
                told(
                    "variant",
                    "updated",
                    &with(&variant(), json!({"attachment": "{\"color\":\"blue\",\"size\":3}"})),
                    &seen(1, &variant()),
                ),
                half(),
                a(90.0, 50.0),
                order(&[("beta", Some(2)), ("staff", Some(1))], "rule"),
            ],
        ),
        (
            "first sight",
            vec![
                told("flag", "updated", &flag(true), &first()),
                told("rollout", "updated", &share(50.0), &first()),
            ],
        ),
        (
            "saved twice",
            vec![
                told("flag", "updated", &flag(true), &seen(1, &flag(true))),
                told("flag", "updated", &flag(true), &seen(0, &flag(true))),
            ],
        ),
        ("one of them late", vec![on(), told("rollout", "updated", &share(10.0), &late(Some(&share(50.0))))]),
        (
            "two orders",
            vec![
                order(&[("beta", Some(2)), ("staff", Some(1)), ("eu", Some(3))], "rule"),
                order(&[("beta", Some(1)), ("eu", Some(3)), ("staff", Some(2))], "rule"),
            ],
        ),
    ]
}

pub(super) fn all() -> Vec<Delivery> {
    [flags(), variant_events(), segments(), rules(), rollouts(), rest()].concat()
}

/// `UPDATE_GOLDEN=1` writes the file anew; read it aloud before you commit it.
#[test]
fn every_sentence_and_story_is_as_it_was_read() {
    let mut text = String::new();
    let groups: [(&str, Vec<Delivery>); 6] = [
        ("flags", flags()),
        ("variants", variant_events()),
        ("segments and constraints", segments()),
        ("rules, their order and their splits", rules()),
        ("rollouts", rollouts()),
        ("the rest", rest()),
    ];
    for (title, group) in groups {
        text += &format!("# {title}\n");
        for delivery in group {
            let sentence = sentence(&delivery);
            text += &format!("{:<8}{sentence}\n", format!("{:?}", sentence.tone));
        }
    }
    for (title, deliveries) in stories() {
        let story = story(&deliveries);
        text += &format!("# {title}\n{:<8}{}\n", format!("{:?}", story.headline.tone), story.headline);
        for row in story.rows {
            let side = |side: Option<String>| side.unwrap_or_else(|| "–".to_owned());
            text += &format!("          {} | {} | {}\n", row.label, side(row.old), side(row.new));
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/sentences.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    for (number, (line, golden)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(line, golden, "line {} of {path}", number + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "{path}");
}

fn pieces(delivery: &Delivery) -> Vec<(Role, String)> {
    sentence(delivery).pieces.into_iter().filter(|(role, _)| *role != Role::Plain).collect()
}

#[test]
fn pieces_have_roles() {
    let piece = |role: Role, text: &str| (role, text.to_owned());
    assert_eq!(
        pieces(&told("flag", "updated", &flag(true), &seen(1, &flag(false)))),
        [
            piece(Role::Actor, "Ann"),
            piece(Role::Subject, "checkout"),
            piece(Role::Value, "ON"),
            piece(Role::Environment, "production")
        ]
    );
    assert_eq!(
        pieces(&told("rollout", "updated", &share(50.0), &seen(1, &share(10.0)))),
        [
            piece(Role::Actor, "Ann"),
            piece(Role::Subject, "checkout"),
            piece(Role::Environment, "production"),
            piece(Role::Value, "50 %")
        ]
    );
}

#[test]
fn one_record_alone_is_told_by_its_sentence() {
    for delivery in all() {
        assert_eq!(story(std::slice::from_ref(&delivery)).headline, sentence(&delivery));
    }
    let one = story(&[told("rollout", "updated", &share(50.0), &seen(1, &share(10.0)))]);
    assert_eq!((one.rows[0].label.as_str(), one.rows[0].old.as_deref()), ("Rollout", Some("10 %")));
    assert_eq!(one.rows[0].new.as_deref(), Some("50 % of everyone gets true"));
    let nothing = story(&[]);
    assert!(nothing.headline.pieces.is_empty() && nothing.rows.is_empty());
}

#[test]
fn actors_are_called_by_what_is_known() {
    for (actor, who) in [
        (json!({"authentication": "oidc", "name": "Ann", "email": "ann@example.com"}), "Ann"),
        (json!({"authentication": "oidc", "email": "ann@example.com"}), "ann@example.com"),
        (json!({"authentication": "token"}), "An API token"),
        (json!({"authentication": "token", "io.flipt.auth.token.name": "ci"}), "API token ci"),
        (json!({"authentication": "kubernetes"}), "A Kubernetes service account"),
        (json!({"authentication": "jwt"}), "Someone"),
        (json!({"authentication": "none", "ip": "10.1.2.3"}), "Someone"),
        (json!({}), "Someone"),
    ] {
        let event = json!({"type": "flag", "action": "created", "payload": {"key": "a"}, "metadata": {"actor": actor}});
        let said = sentence(&deliveries(&event.to_string())[0]).to_string();
        assert!(said.starts_with(&format!("{who} created flag a")), "{said}");
    }
}

#[test]
fn a_line_holds_no_more_than_it_may() {
    let long = |fill: &str| fill.repeat(5_000);
    let mut many = seen(1, &with(&flag(true), json!({"name": long("a")})));
    many.used_by = used(&["x"], 9);
    let flag = json!({"key": long("k"), "namespace_key": long("n"), "name": long("é"), "enabled": true});
    let said = sentence(&told("flag", "updated", &flag, &many)).to_string();
    assert!(said.chars().count() <= 500, "{said}");
    let parts = (0..50).map(|field| (format!("field_{field}"), json!(long("x"))));
    let flag = with(&flag, Value::Object(parts.collect()));
    let said = sentence(&told("flag", "updated", &flag, &many));
    assert!(said.to_string().ends_with(" · field 11 changed · and 47 more changes"), "{said}");
    assert_eq!(said.tone, Tone::Other);
}

fn word() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[a-z]{1,8}".prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!("")),
        Just(json!({"percentage": 3, "value": true, "key": "a,b"})),
        Just(json!(["x", {"id": "y", "rollout": 1}])),
    ]
}

/// Payloads as no Flipt sends them, whose ids are all one id.
fn payload(id: &'static str) -> impl Strategy<Value = Value> {
    let names = proptest::sample::subsequence(
        vec![
            "key",
            "name",
            "description",
            "enabled",
            "attachment",
            "rank",
            "threshold",
            "segment",
            "segment_key",
            "operator",
            "property",
            "value",
            "type",
            "match_type",
            "rollout",
            "protected",
            "default_variant",
            "namespace_key",
            "flag_key",
            "constraints",
            "distributions",
            "rule_ids",
            "segment_operator",
        ],
        0..23,
    );
    names.prop_flat_map(move |names| {
        proptest::collection::vec(word(), names.len()).prop_map(move |values| {
            let mut payload: serde_json::Map<String, Value> =
                names.iter().map(|name| (*name).to_owned()).zip(values).collect();
            for name in ["id", "rule_id", "variant_id"] {
                payload.insert(name.to_owned(), id.into());
            }
            Value::Object(payload)
        })
    })
}

const NOUNS: [&str; 10] = [
    "constraint",
    "distribution",
    "flag",
    "namespace",
    "rollout",
    "rule",
    "segment",
    "token",
    "variant",
    "x\n\u{202e}y",
];

proptest! {
    #[test]
    fn no_payload_breaks_a_sentence(
        noun in proptest::sample::select(NOUNS.to_vec()),
        action in proptest::sample::select(vec!["created", "updated", "deleted", "read"]),
        (before, payload, current) in (payload(ON), payload(ON), proptest::option::of(payload(OFF))),
        (has_before, is_late, name) in (any::<bool>(), any::<bool>(), any::<String>()),
    ) {
        let known = match (has_before, is_late) {
            (_, true) => late(current.as_ref()),
            (true, _) => Known { variants: Default::default(), ..seen(50, &before) },
            _ => created(),
        };
        let mut delivery = told(noun, action, &payload, &known);
        let original = String::from_utf8(delivery.record.original).unwrap();
        delivery.record.original = original.replace("\"Ann\"", &json!(name).to_string()).into();
        let other = told(noun, "deleted", &before, &seen(1, &payload));
        for said in [sentence(&delivery), story(&[delivery.clone(), other]).headline] {
            let text = said.to_string();
            prop_assert!(!text.is_empty() && text.chars().count() <= 500);
            prop_assert!(!text.chars().any(char::is_control), "{:?}", text);
            prop_assert!(!text.contains(ON) && !text.contains(OFF) && !text.contains("10.1.2.3"), "{}", text);
        }
    }

    #[test]
    fn no_record_breaks_a_sentence(original: Vec<u8>, detail: Option<String>, known: Option<String>, kind in 0_i64..5) {
        let kind = RecordKind::from_stored(kind).unwrap();
        let mut delivery = Delivery { record: record(kind, 0, original, detail), environment: None };
        delivery.record.known = known.map(Into::into);
        let text = sentence(&delivery).to_string();
        prop_assert!(!text.is_empty() && text.chars().count() <= 500 && !text.chars().any(char::is_control));
    }

    /// Whatever was in between, only the first and the last are told.
    #[test]
    fn a_story_tells_from_first_to_last(shares in proptest::collection::vec(1_u8..100, 2..8)) {
        let pairs = shares.windows(2).map(|pair| (f64::from(pair[0]), f64::from(pair[1])));
        let events: Vec<Delivery> =
            pairs.map(|(old, new)| told("rollout", "updated", &share(new), &seen(1, &share(old)))).collect();
        let (first, last) = (shares[0], shares[shares.len() - 1]);
        let said = story(&events).headline.to_string();
        let start = "Ann changed the rollout of checkout in production";
        let expected = match (first == last, shares.iter().all(|share| *share == first)) {
            (_, true) => "Ann saved a rollout of checkout in production · nothing changed".to_owned(),
            (true, _) => format!("{start} and back"),
            _ => format!("{start} · {first} % → {last} % of everyone gets true"),
        };
        prop_assert_eq!(said, expected);
    }
}
