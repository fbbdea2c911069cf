//! A receiver of OTLP, from outside: the built program sends, and what comes is compared field by field with what the
//! captured lines say.

mod received;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use self::received::{Log, logs, partial_success, taken};
use crate::support::{Client, Line, Received, Receiver, Reply, Workplace, eventually, flag_line};

const QUICK: &str = "retry: {initial_backoff: 5ms, max_backoff: 20ms}";

/// The captured files that a `file` source can follow, and how many lines each has.
const FIXTURES: [(&str, usize); 7] = [
    ("v0.2_logfile_encoding-json.log", 34),
    ("v0.2_logfile_encoding-console_DEFAULT.log", 34),
    ("v0.2_stdout_json.txt", 34),
    ("v0.2_stdout_console.txt", 34),
    ("v0.1_logfile_flipt-v1.21.0.log", 4),
    ("v0.1_logfile_flipt-v1.30.0.log", 4),
    ("v0.1_logfile_flipt-v1.42.1.log", 4),
];

/// Sends to `logs`, and keeps envelopes in `archive.ndjson`: another form of the same records.
fn place(receiver: &Receiver, keys: &str, more: &str) -> Workplace {
    let place = Workplace::new();
    place.configure(&format!(
        "
name: relay-7
data_dir: DIR/data
environments: {{production: [default]}}
sources:
  flipt: {{type: file, path: DIR/audit.log}}
destinations:
  logs: {{type: otlp, endpoint: '{}', {QUICK}, {keys}}}
  archive: {{type: file, path: DIR/archive.ndjson}}
routes:
  all: {{when: {{record: [event, unparsed, oversized, gap, act]}}, to: [logs, archive]}}
{more}
",
        receiver.url("")
    ));
    place
}

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/flipt/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn envelopes(place: &Workplace) -> BTreeMap<String, Value> {
    let text = std::fs::read_to_string(place.path("archive.ndjson")).unwrap();
    let envelopes = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    envelopes.map(|envelope| (envelope["id"].as_str().unwrap().to_owned(), envelope)).collect()
}

fn settled(count: usize) -> Value {
    json!({"state": "running", "delivered": count, "dead": 0, "waiting": 0})
}

/// Nanoseconds since 1970 of an RFC 3339 time.
fn nanoseconds(text: &str) -> u64 {
    let format = &time::format_description::well_known::Rfc3339;
    u64::try_from(time::OffsetDateTime::parse(text, format).unwrap().unix_timestamp_nanos()).unwrap()
}

/// The event of a line in whatever framing.
fn event(line: &str) -> Value {
    serde_json::from_str(&line[line.find('{').unwrap()..]).unwrap()
}

/// What a line says, read here by the contract of Flipt alone; `rules`: the flags of the rules that came before.
fn attributes_by_hand(
    event: &Value,
    rules: &mut BTreeMap<String, (Value, Value)>,
) -> BTreeMap<String, Value> {
    let (noun, payload) = (event["type"].as_str().unwrap(), &event["payload"]);
    let actor = &event["metadata"]["actor"];
    let claim = |name: &str| {
        let old = actor.get(format!("io.flipt.auth.{}.{name}", actor["authentication"].as_str().unwrap()));
        actor.get(name).or(old).cloned().unwrap_or_default()
    };
    let is_denied = event["status"] == "denied";
    let by_rule = |rules: &BTreeMap<String, (Value, Value)>| {
        payload["rule_id"].as_str().and_then(|rule| rules.get(rule)).cloned().unwrap_or_default()
    };
    let known = |value: &Value, default: &str| match value {
        Value::Null => default.into(),
        value => value.clone(),
    };
    let (flag, namespace) = match noun {
        _ if is_denied => (Value::Null, Value::Null),
        "flag" => (payload["key"].clone(), known(&payload["namespace_key"], "default")),
        "distribution" if payload["flag_key"].is_null() => by_rule(rules),
        "variant" | "rule" | "rollout" | "distribution" => {
            (payload["flag_key"].clone(), known(&payload["namespace_key"], "default"))
        }
        "namespace" => (Value::Null, payload["key"].clone()),
        "segment" | "constraint" => (Value::Null, known(&payload["namespace_key"], "default")),
        _ => (Value::Null, Value::Null),
    };
    if noun == "rule"
        && let Some(id) = payload["id"].as_str()
    {
        rules.insert(id.to_owned(), (flag.clone(), namespace.clone()));
    }
    let segment = match noun {
        "segment" => payload["key"].clone(),
        "constraint" => payload["segment_key"].clone(),
        _ => Value::Null,
    };
    let is_order = payload.get("rule_ids").or(payload.get("rollout_ids")).is_some();
    let entity = match noun {
        _ if is_denied || is_order => Value::Null,
        "flag" | "segment" | "namespace" => payload["key"].clone(),
        "token" => payload["io.flipt.auth.token.name"].clone(),
        _ => payload["id"].clone(),
    };
    let environment = if namespace == "default" { "production".into() } else { Value::Null };
    let all = [
        ("feature_flag.provider.name", "flipt".into()),
        ("feature_flag.key", flag),
        ("feature_flag.set.id", namespace),
        ("flipt.audit.segment.key", segment),
        ("flipt.audit.type", noun.into()),
        ("flipt.audit.action", event["action"].clone()),
        ("flipt.audit.status", known(&event["status"], "success")),
        ("flipt.audit.version", event["version"].clone()),
        ("flipt.audit.entity.id", entity),
        ("flipt.audit.instance", "flipt".into()),
        ("flipt.audit.environment", environment),
        ("flipt.audit.actor.authentication", actor["authentication"].clone()),
        ("user.email", claim("email")),
        ("user.name", claim("name")),
        ("client.address", actor["ip"].clone()),
        ("audit_relay.record.kind", "event".into()),
        ("audit_relay.source.name", "flipt".into()),
    ];
    let told = all.into_iter().filter(|(_, value)| !value.is_null());
    told.map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What the envelope of the same record says of it, which no line does.
fn attributes_by_envelope(envelope: &Value) -> BTreeMap<String, Value> {
    let change = &envelope["change"];
    let text = |value: &Value| value.as_str().map(Value::from).unwrap_or_default();
    let side = |value: Option<&Value>| value.map(|value| Value::from(value.to_string()));
    let changes = change["differences"].as_array().filter(|all| !all.is_empty()).map(|all| {
        all.iter()
            .map(|one| {
                let sides = [("old", side(one.get("old"))), ("new", side(one.get("new")))];
                let sides = sides.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
                sides.chain([("pointer".to_owned(), one["pointer"].clone())]).collect::<Value>()
            })
            .collect::<Vec<_>>()
    });
    let all = [
        ("log.record.uid", envelope["id"].clone()),
        ("flipt.audit.summary", envelope["summary"].clone()),
        ("flipt.audit.change_set", text(&envelope["change_set"])),
        ("flipt.audit.kind", text(&change["kind"])),
        ("flipt.audit.live", change["live"].clone()),
        ("flipt.audit.changed_fields", change["changed"].clone()),
        ("flipt.audit.changes", changes.unwrap_or_default().into()),
        ("flipt.audit.late", if change["late"].is_object() { true.into() } else { Value::Null }),
        ("audit_relay.record.sequence", envelope["sequence"].clone()),
        ("audit_relay.journal", envelope["journal"].clone()),
    ];
    let is_told = |(key, value): &(&str, Value)| match *key {
        "flipt.audit.changes" => *value != json!([]),
        _ => !value.is_null(),
    };
    all.into_iter().filter(is_told).map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The sides of changes are JSON texts, of which one value has several.
fn normalised(mut attributes: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let changes = attributes.get_mut("flipt.audit.changes").and_then(Value::as_array_mut);
    for change in changes.into_iter().flatten() {
        for side in ["old", "new"] {
            if let Some(Value::String(text)) = change.get(side) {
                change[side] = serde_json::from_str(text).unwrap();
            }
        }
    }
    attributes
}

#[test]
fn every_captured_line_arrives_and_says_what_the_line_says() {
    for (name, count) in FIXTURES {
        let receiver = Receiver::start();
        let place = place(&receiver, "concurrency: 1", "");
        let content = fixture(name);
        let before = nanoseconds(&audit_relay::event::Timestamp::now().to_string());
        place.write("audit.log", &content);
        let relay = place.run();
        place.wait_for_standing("logs", &settled(count));
        place.wait_for_standing("archive", &settled(count));
        assert!(relay.stop().status.success());
        let (taken, envelopes) = (taken(&receiver.received()), envelopes(&place));
        assert_eq!((taken.len(), envelopes.len()), (count, count), "{name}");
        let mut rules = BTreeMap::new();
        for (log, line) in taken.iter().zip(content.lines()) {
            assert_eq!(log.body, line, "{name}: in order, as they came");
            let event = event(line);
            let expected = if event["status"] == "denied" { (13, "WARN") } else { (9, "INFO") };
            assert_eq!((log.severity.0, log.severity.1.as_str()), expected, "{line}");
            assert_eq!(log.event_name, "flipt.audit.event");
            assert_eq!(log.time_unix_nano, nanoseconds(event["timestamp"].as_str().unwrap()), "{line}");
            assert!(log.observed_time_unix_nano >= before);
            let envelope = &envelopes[log.id()];
            let received_at = envelope["received_at"].as_str().unwrap();
            assert_eq!(log.observed_time_unix_nano, nanoseconds(received_at), "{line}");
            let mut expected = attributes_by_hand(&event, &mut rules);
            expected.extend(attributes_by_envelope(envelope));
            assert_eq!(normalised(log.attributes.clone()), normalised(expected), "{name}: {line}");
            let resource = [("audit_relay.name", "relay-7"), ("service.name", "flipt")];
            let resource = resource.map(|(key, value)| (key.to_owned(), Value::from(value)));
            assert_eq!(log.resource, BTreeMap::from(resource));
            assert_eq!(log.scope, ("audit-relay".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
        }
        let ids: BTreeSet<&str> = taken.iter().map(Log::id).collect();
        assert_eq!(ids.len(), count, "{name}");
    }
}

#[test]
fn records_share_requests_packed_or_plain() {
    for (keys, encoding) in [("", Some("gzip")), ("compression: none", None)] {
        let receiver = Receiver::start();
        let place = place(&receiver, keys, "");
        place.write("audit.log", fixture("v0.2_logfile_encoding-json.log"));
        let relay = place.run();
        place.wait_for_standing("logs", &settled(34));
        assert!(relay.stop().status.success());
        let received = receiver.received();
        assert!(received.len() < 34, "{} requests for 34 records", received.len());
        assert!(received.iter().all(|request| request.header("content-encoding") == encoding));
        assert_eq!(taken(&received).len(), 34);
    }
}

#[test]
fn headers_and_attributes_are_those_of_the_configuration_and_no_secret_is_told() {
    let receiver = Receiver::scripted(|number, request| match number {
        0 => Reply::Answer(401, Vec::new(), format!("not you: {:?}", request.headers)),
        _ => Reply::status(200),
    });
    let keys = "headers: {authorization: {file: DIR/token}, x-scope-orgid: flags}, \
                attributes: {service.name: flags, deployment.environment.name: prod}";
    let place = place(&receiver, keys, "");
    place.write("token", "Bearer PLANTED-token");
    place.write("audit.log", flag_line("checkout", "one") + "\n");
    let all = [("AUDIT_RELAY__LOG__PAYLOADS", "true"), ("AUDIT_RELAY__LOG__LEVEL", "debug")];
    let relay = place.start(&all);
    let received = receiver.wait_for(2);
    place.wait_for_standing("logs", &settled(1));
    for request in &received {
        assert_eq!(request.header("authorization"), Some("Bearer PLANTED-token"));
        assert_eq!(request.header("x-scope-orgid"), Some("flags"));
    }
    let resource = &logs(&received[1])[0].resource;
    assert_eq!(
        (&resource["service.name"], &resource["deployment.environment.name"]),
        (&json!("flags"), &json!("prod"))
    );
    relay.wait_for_log("blocked");
    let said = relay.stop().log;
    assert!(said.contains("401") && said.contains("[redacted]") && !said.contains("PLANTED"), "{said}");
}

/// Which key a log record is about.
fn key(log: &Log) -> &str {
    log.attributes["feature_flag.key"].as_str().unwrap()
}

/// A receiver that takes none of these flags, and of a request everything else; as OTLP has it, it says how many.
fn picky(refused: &'static [&'static str]) -> Receiver {
    Receiver::scripted(move |_, request| {
        let wrong = logs(request).iter().filter(|log| refused.contains(&key(log))).count();
        match wrong {
            0 => Reply::status(200),
            wrong => partial_success(i64::try_from(wrong).unwrap(), "no such tenant"),
        }
    })
}

fn flags(count: usize) -> String {
    (0..count).map(|number| flag_line(&format!("flag-{number}"), "x") + "\n").collect()
}

#[test]
fn of_a_part_that_is_rejected_only_that_dies_and_all_else_arrives() {
    let receiver = picky(&["flag-3", "flag-11"]);
    let place = place(&receiver, "concurrency: 1, batch: {max_events: 16, timeout: 1s}", "");
    place.write("audit.log", flags(16));
    let relay = place.run();
    place.wait_for_standing("logs", &json!({"state": "running", "delivered": 14, "dead": 2, "waiting": 0}));
    let letters = place.dead_letters();
    for letter in &letters {
        assert_eq!(letter["code"], "partial_success", "{letter:#}");
        assert!(
            letter["message"].as_str().unwrap().contains("rejected 1 log record: no such tenant"),
            "{letter:#}"
        );
    }
    // What was in a request of which a part was rejected came again, under the same id.
    let received = receiver.received();
    let mut times: BTreeMap<String, (BTreeSet<String>, usize)> = BTreeMap::new();
    for log in taken(&received) {
        let (ids, count) = times.entry(key(&log).to_owned()).or_default();
        ids.insert(log.id().to_owned());
        *count += 1;
    }
    assert_eq!(times.len(), 16);
    assert!(times.values().all(|(ids, _)| ids.len() == 1), "{times:?}");
    // Whoever was rejected was asked with alone before it died.
    for flag in ["flag-3", "flag-11"] {
        let alone = |request: &&Received| matches!(&logs(request)[..], [only] if key(only) == flag);
        assert_eq!(received.iter().filter(alone).count(), 1, "{flag}");
    }
    assert!(relay.stop().status.success());
}

#[test]
fn one_alone_that_is_rejected_is_asked_with_once_and_nothing_comes_twice() {
    let receiver = picky(&["flag-1"]);
    let place = place(&receiver, "concurrency: 1, batch: {max_events: 1}", "");
    place.write("audit.log", flags(4));
    let relay = place.run();
    place.wait_for_standing("logs", &json!({"delivered": 3, "dead": 1, "waiting": 0}));
    let received = receiver.received();
    let keys: Vec<String> = taken(&received).iter().map(|log| key(log).to_owned()).collect();
    assert_eq!(keys, ["flag-0", "flag-1", "flag-2", "flag-3"]);
    assert!(relay.stop().status.success());
}

/// Whoever rejects everything is not asked with record after record.
#[test]
fn a_receiver_that_rejects_all_is_blocked_and_nothing_more_dies() {
    let receiver = Receiver::scripted(|_, request| {
        partial_success(i64::try_from(logs(request).len()).unwrap(), "no room")
    });
    let place = place(&receiver, "reject_limit: 3, batch: {max_events: 8, timeout: 1s}, concurrency: 1", "");
    place.write("audit.log", flags(40));
    let relay = place.run();
    let standing = place.wait_for_standing("logs", &json!({"state": "blocked"}));
    assert!(standing["dead"].as_u64().unwrap() < 3, "{standing:#}");
    assert!(standing["reason"].as_str().unwrap().contains("no room"), "{standing:#}");
    assert!(relay.stop().status.success());
}

#[test]
fn a_warning_that_rejects_nothing_is_delivered_and_told_once() {
    let receiver = Receiver::scripted(|_, _| partial_success(0, "please send less"));
    // What it says may repeat what it was sent: that is for those who ask for it.
    let place = place(&receiver, "batch: {max_events: 1}", "");
    place.write("audit.log", flags(5));
    let relay = place.start(&[("AUDIT_RELAY__LOG__PAYLOADS", "true")]);
    relay.wait_for_log("please send less");
    place.wait_for_standing("logs", &settled(5));
    let said = relay.stop().log;
    assert_eq!(said.matches("please send less").count(), 1, "{said}");
}

#[test]
fn what_fails_for_now_comes_again_as_it_was() {
    let receiver = Receiver::scripted(|number, _| match number {
        0 => {
            Reply::Answer(503, vec![("retry-after", "0".to_owned())], "\u{8}\u{e}\u{12}\u{4}busy".to_owned())
        }
        1 => Reply::status(500),
        _ => Reply::status(200),
    });
    let place = place(&receiver, "batch: {max_events: 8, timeout: 1s}", "");
    place.write("audit.log", flags(8));
    let relay = place.run();
    place.wait_for_standing("logs", &settled(8));
    let received = receiver.received();
    assert_eq!(received.len(), 3);
    assert!(received.iter().all(|request| request.body == received[0].body), "the very same request");
    relay.wait_for_log("the receiver answered 503: …");
    assert!(relay.stop().status.success());
}

#[test]
fn a_refusal_is_told_in_the_words_of_its_status() {
    let receiver = Receiver::scripted(|_, _| {
        Reply::Answer(400, Vec::new(), "\u{8}\u{3}\u{12}\u{14}entry too far behind".to_owned())
    });
    let place = place(&receiver, "", "");
    place.write("audit.log", flag_line("checkout", "one") + "\n");
    let relay = place.run();
    place.wait_for_standing("logs", &json!({"delivered": 0, "dead": 1, "waiting": 0}));
    let letters = place.dead_letters();
    assert_eq!(letters[0]["message"], "the receiver answered 400: entry too far behind");
    assert!(relay.stop().status.success());
}

#[test]
fn what_is_no_event_is_told_as_what_it_is() {
    let receiver = Receiver::start();
    let place = place(&receiver, "", "");
    place.write("audit.log", b"{\"type\":\"flag\",\"action\":\n\xff\xfe{\"type\":\n".as_slice());
    let relay = place.run();
    let told = eventually("both lines", || {
        let told = taken(&receiver.received());
        (told.len() == 2).then_some(told)
    });
    assert!(
        told.iter().all(|log| log.event_name == "audit_relay.unparsed" && log.severity.0 == 13),
        "{told:?}"
    );
    assert_eq!(told[0].body, "{\"type\":\"flag\",\"action\":");
    assert_eq!(told[1].body, json!({"bytes": b"\xff\xfe{\"type\":"}));
    assert!(told[0].attributes["audit_relay.reason"].as_str().unwrap().contains("ends too early"));
    assert!(told.iter().all(|log| !log.attributes.contains_key("feature_flag.provider.name")));
    // What a person asks for once more says so, and the asking comes as an act.
    place.ask(&["replay", "--destination", "logs", "--since", "1h"]);
    let replayed = taken(&receiver.received())
        .into_iter()
        .filter(|log| log.attributes.contains_key("audit_relay.replay"));
    let ids: Vec<String> = replayed.map(|log| log.id().to_owned()).collect();
    assert_eq!(ids, [told[0].id(), told[1].id()]);
    let act = eventually("the act", || {
        taken(&receiver.received()).into_iter().find(|log| log.event_name == "audit_relay.act")
    });
    assert_eq!((act.severity.0, &act.attributes["audit_relay.record.kind"]), (9, &json!("act")));
    assert!(relay.stop().status.success());
}

#[test]
fn a_push_keeps_its_trace() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let receiver = Receiver::start();
    let place = Workplace::new();
    place.configure(&format!(
        "
data_dir: DIR/data
sources:
  push: {{type: http, listen: '127.0.0.1:0', signing: none, instance: flipt_eu}}
destinations:
  logs: {{type: otlp, endpoint: '{}'}}
routes:
  all: {{to: [logs]}}
",
        receiver.url("/")
    ));
    let relay = place.run();
    let address = relay.listens("push");
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let line = Line::flag("created", "checkout", true, "").text();
    let answer = Client::push(address, &[("traceparent", &traceparent)], line.trim_end());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let log = logs(&receiver.wait_for(1)[0]).remove(0);
    assert_eq!((log.trace_id.as_str(), log.flags & 1), (TRACE, 1));
    assert!(log.span_id.len() == 16 && log.span_id != "0000000000000000");
    assert_eq!(log.resource["service.name"], "flipt_eu");
    assert!(relay.stop().status.success());
}

#[test]
fn explain_shows_the_request_in_json_and_send_test_sends_one() {
    let receiver = Receiver::start();
    let place = place(&receiver, "headers: {authorization: {file: DIR/token}}", "");
    place.write("token", "Bearer PLANTED-token");
    place.write("sample.log", flag_line("checkout", "one") + "\n");
    let shown: Value =
        serde_json::from_str(place.ask(&["explain", "sample.log", "--json"]).lines().next().unwrap())
            .unwrap();
    let destinations = shown["destinations"].as_array().unwrap();
    let of_logs = destinations.iter().find(|destination| destination["name"] == "logs").unwrap();
    let request = &of_logs["requests"][0];
    let headers: BTreeMap<&str, &str> = request["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()))
        .collect();
    assert_eq!((headers["authorization"], headers["content-encoding"]), ("[secret]", "gzip"));
    let body: Value = serde_json::from_str(request["body"]["text"].as_str().unwrap()).unwrap();
    let record = &body["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    assert_eq!(record["body"]["stringValue"], flag_line("checkout", "one"));
    assert_eq!(record["eventName"], "flipt.audit.event");
    assert!(receiver.received().is_empty());

    let said = place.ask(&["send-test", "logs"]);
    assert!(said.contains("delivered") && !said.contains("PLANTED"), "{said}");
    let received = receiver.received();
    let log = &logs(&received[0])[0];
    assert_eq!((log.attributes["audit_relay.test"].clone(), key(log)), (json!(true), "audit-relay-test"));
    assert_eq!(received[0].header("audit-relay-test"), Some("true"));
}

#[test]
fn a_problem_of_the_relay_is_a_log_record() {
    let receiver =
        Receiver::scripted(|_, request| Reply::status(if request.path == "/siem" { 401 } else { 200 }));
    let place = Workplace::new();
    place.configure(&format!(
        "
data_dir: DIR/data
sources: {{flipt: {{type: file, path: DIR/audit.log}}}}
destinations:
  siem: {{type: webhook, url: '{}', {QUICK}}}
  logs: {{type: otlp, endpoint: '{}'}}
routes: {{all: {{to: [siem]}}, none: {{when: {{types: [token]}}, to: [logs]}}}}
problems: {{to: [logs, siem], after: 1s}}
",
        receiver.url("/siem"),
        receiver.url("")
    ));
    place.write("audit.log", flag_line("checkout", "one") + "\n");
    let relay = place.run();
    let all = receiver.wait_until("the problem", |all| all.iter().any(|request| request.path == "/v1/logs"));
    let log = logs(all.iter().find(|request| request.path == "/v1/logs").unwrap()).remove(0);
    assert_eq!(
        (log.event_name.as_str(), &log.resource["service.name"]),
        ("audit_relay.problem", &json!("audit-relay"))
    );
    assert_eq!(log.attributes["audit_relay.problem.about"], "siem");
    assert!(log.body.as_str().unwrap().contains("siem"), "{log:?}");
    assert!(relay.stop().status.success());
}
