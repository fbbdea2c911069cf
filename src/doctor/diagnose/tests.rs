//! Every known condition, and the words that people get.

use serde_json::{Value, json};

use super::*;
use crate::admin::findings_text;
use crate::config::{LoadOptions, References, load};

/// A relay that reads a file and tells of it on the console.
const FILE: &str = "
sources: {flipt: {type: file, path: /var/log/flipt/audit.log}}
destinations: {screen: {type: console}}
routes: {all: {to: screen}}";

/// One that takes signed pushes.
const PUSH: &str = "
sources: {pushed: {type: http, listen: '127.0.0.1:8787', signing: [{scheme: flipt, secrets: [{env: S}]}]}}
destinations: {screen: {type: console}}
routes: {all: {to: screen}}";

/// One that takes pushes with a token.
const BEARER: &str = "
sources: {pushed: {type: http, listen: '127.0.0.1:8787', bearer: {env: S}}}
destinations: {screen: {type: console}}
routes: {all: {to: screen}}";

/// One that reads both.
const BOTH: &str = "
sources:
  flipt: {type: file, path: /var/log/flipt/audit.log}
  pushed: {type: http, listen: '127.0.0.1:8787', signing: [{scheme: flipt, secrets: [{env: S}]}]}
destinations: {screen: {type: console}}
routes: {all: {to: screen}}";

fn plan(yaml: &str) -> Plan {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("relay.yaml");
    std::fs::write(&path, yaml).unwrap();
    let options = LoadOptions {
        config: Some(path),
        environment: vec![("S".to_owned(), "PLANTED".to_owned())],
        references: References::Resolve,
        allow_inline_secrets: false,
    };
    load(&options).unwrap().plan
}

fn info(version: &str) -> Value {
    json!({"version": version, "commit": "c", "updateAvailable": false, "isRelease": true,
        "authentication": {"required": true}, "storage": {"type": "database"}})
}

/// As `/meta/config` of a Flipt with its log sink on writes it, without what is of no interest.
fn config() -> Value {
    json!({"version": "1.0",
        "log": {"level": "INFO", "encoding": "console"},
        "audit": {
            "sinks": {
                "log": {"enabled": true, "file": "/var/log/flipt/audit.log"},
                "webhook": {"enabled": false},
                "kafka": {"encoding": "protobuf"}},
            "buffer": {"capacity": 2, "flushPeriod": 120_000_000_000_u64},
            "events": ["*:*"]},
        "authentication": {"required": true, "exclude": {}},
        "tracing": {"enabled": false, "exporter": "jaeger", "samplingRatio": 1},
        "storage": {"type": "database"}})
}

/// The configuration with other values at some paths.
fn with(changes: &[(&str, Value)]) -> Value {
    let mut config = config();
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        config.pointer_mut(parent).unwrap()[key] = value.clone();
    }
    config
}

const WEBHOOK: &str = "/audit/sinks/webhook";
const LOG: &str = "/audit/sinks/log";

fn webhook(url: &str) -> Value {
    json!({"enabled": true, "url": url, "maxBackoffDuration": 15_000_000_000_u64})
}

fn templates(headers: Value) -> Value {
    json!({"enabled": true, "templates": [
        {"url": "http://relay:8787/v1/events?key=PLANTED", "body": "{\"token\": \"PLANTED\"}", "headers": headers}]})
}

const INTAKE_URL: &str = "http://relay:8787/v1/events";

fn off() -> Value {
    json!({"enabled": false})
}

fn found(version: &str, config: Option<&Value>, relay: &str, refused: u64) -> Vec<Finding> {
    let plan = plan(relay);
    let facts = Facts::read(&info(version), config);
    diagnose(&facts, &Relayed::of(&plan, "flipt", |_| refused))
}

/// `UPDATE_GOLDEN=1` writes the file anew; read it aloud before you commit it.
#[test]
fn every_known_condition_has_its_words() {
    let only_webhook = |url: &str| with(&[(LOG, off()), (WEBHOOK, webhook(url))]);
    let only_templates = |headers: Value| with(&[(LOG, off()), (WEBHOOK, templates(headers))]);
    let two_files = "
sources:
  one: {type: file, path: /logs/a/audit.log, single_writer: true}
  two: {type: file, path: /logs/b/audit.log, single_writer: true}
destinations: {screen: {type: console}}
routes: {all: {to: screen}}";
    let scenes: Vec<(&str, &str, Option<Value>, &str)> = vec![
        ("all is well", "v1.61.0", Some(config()), FILE),
        ("all is well with pushes", "v1.61.0", Some(only_webhook(INTAKE_URL)), PUSH),
        ("a build without a version", "dev", Some(config()), FILE),
        ("no audit events yet", "1.20.2", Some(json!({"version": "1.0"})), FILE),
        ("Flipt v2", "v2.3.0", None, FILE),
        ("1.61.1, tracing off", "v1.61.1", Some(config()), FILE),
        ("1.61.1, tracing on", "v1.61.1", Some(with(&[("/tracing/enabled", json!(true))])), FILE),
        ("1.61.1, configuration not told", "v1.61.1", None, FILE),
        ("1.55.0", "v1.55.0", Some(config()), FILE),
        ("panics with an URL, first", "v1.45.0", Some(only_webhook(INTAKE_URL)), PUSH),
        ("panics with an URL, no more", "v1.46.1", Some(only_webhook(INTAKE_URL)), PUSH),
        (
            "panics with templates, last",
            "v1.48.0",
            Some(only_templates(json!({"Authorization": "PLANTED"}))),
            BEARER,
        ),
        (
            "panics with templates, no more",
            "v1.48.1",
            Some(only_templates(json!({"authorization": "PLANTED"}))),
            BEARER,
        ),
        ("1.27.0", "v1.27.0", Some(only_webhook(INTAKE_URL)), PUSH),
        ("an early webhook sink", "v1.44.1", Some(only_webhook(INTAKE_URL)), PUSH),
        ("no sink", "v1.61.0", Some(with(&[(LOG, off())])), FILE),
        ("no sink, pushes wanted", "v1.61.0", Some(with(&[(LOG, off())])), PUSH),
        (
            "Kafka alone",
            "v1.61.0",
            Some(with(&[(LOG, off()), ("/audit/sinks/kafka", json!({"enabled": true}))])),
            FILE,
        ),
        (
            "the webhook sink, a file wanted",
            "v1.61.0",
            Some(only_webhook("https://x.example.com/PLANTED?PLANTED")),
            FILE,
        ),
        ("the log sink, pushes wanted", "v1.61.0", Some(config()), PUSH),
        ("both sinks, both read", "v1.61.0", Some(with(&[(WEBHOOK, webhook(INTAKE_URL))])), BOTH),
        (
            "both sinks, one read",
            "v1.61.0",
            Some(with(&[(WEBHOOK, webhook("https://x.example.com/"))])),
            FILE,
        ),
        ("standard output", "v1.61.0", Some(with(&[(LOG, json!({"enabled": true}))])), FILE),
        (
            "another file",
            "v1.61.0",
            Some(with(&[(LOG, json!({"enabled": true, "file": "/var/opt/flipt/events.ndjson"}))])),
            FILE,
        ),
        (
            "another directory",
            "v1.61.0",
            Some(with(&[(LOG, json!({"enabled": true, "file": "/var/opt/flipt/audit.log"}))])),
            FILE,
        ),
        ("templates, signatures wanted", "v1.61.0", Some(only_templates(json!({}))), PUSH),
        ("templates, a token wanted", "v1.61.0", Some(only_templates(json!({}))), BEARER),
        ("an URL, a token wanted", "v1.61.0", Some(only_webhook(INTAKE_URL)), BEARER),
        (
            "pushes go elsewhere",
            "v1.61.0",
            Some(only_webhook("https://user:PLANTED@x.example.com:8443/PLANTED")),
            PUSH,
        ),
        ("sampling", "v1.61.0", Some(with(&[("/tracing/samplingRatio", json!(0.25))])), FILE),
        (
            "a filter",
            "v1.61.0",
            Some(with(&[(
                "/audit/events",
                json!(["flag:*", "segment:created", "segment:updated", "*:deleted"]),
            )])),
            FILE,
        ),
        (
            "a filter of an early Flipt",
            "v1.23.0",
            Some(with(&[("/audit/events", json!(["flag:created", "flag:updated"]))])),
            FILE,
        ),
        (
            "nobody signs in to change",
            "v1.61.0",
            Some(with(&[("/authentication/exclude", json!({"management": true}))])),
            FILE,
        ),
        (
            "a long wait",
            "v1.61.0",
            Some(with(&[("/audit/buffer/flushPeriod", json!(300_000_000_000_u64))])),
            FILE,
        ),
        ("two sources that see all", "v1.61.0", Some(config()), two_files),
    ];
    let mut text = String::new();
    for (name, version, config, relay) in &scenes {
        let found = found(version, config.as_ref(), relay, 0);
        text.push_str(&format!("# {name}\n{}\n", findings_text(&found)));
    }
    text.push_str(&format!(
        "# every push refused\n{}\n",
        findings_text(&found("v1.61.0", Some(&only_webhook(INTAKE_URL)), PUSH, 12))
    ));
    let told = |info: Value, config: Value| {
        let plan = plan(FILE);
        findings_text(&diagnose(&Facts::read(&info, Some(&config)), &Relayed::of(&plan, "flipt", |_| 0)))
    };
    let mut nobody = info("v1.61.0");
    nobody["authentication"]["required"] = false.into();
    text.push_str(&format!("# nobody signs in\n{}\n", told(nobody, config())));
    for storage in [
        json!({"type": "git", "readOnly": true}),
        json!({"type": "local"}),
        json!({"type": "database", "readOnly": true}),
    ] {
        let mut info = info("v1.61.0");
        text.push_str(&format!("# storage {storage}\n"));
        info["storage"] = storage;
        text.push_str(&format!("{}\n", told(info, config())));
    }
    assert!(!text.contains("PLANTED"), "{text}");
    crate::destination::golden("doctor.txt", &text);
}

#[test]
fn what_is_well_is_not_found_fault_with() {
    for version in ["v1.61.0", "v1.61.2", "1.62.0", "v1.60.0", "dev"] {
        assert_eq!(found(version, Some(&config()), FILE, 0), []);
        // What is not told is not guessed.
        assert_eq!(found(version, None, FILE, 0), []);
        assert_eq!(
            found(
                version,
                Some(&json!({"audit": {"sinks": {"log": {"enabled": true, "file": "/x/audit.log"}}}})),
                FILE,
                0
            ),
            []
        );
    }
}

#[test]
fn panics_are_told_for_exactly_their_releases() {
    let has = |version: &str, sink: Value| {
        let config = with(&[(LOG, off()), (WEBHOOK, sink)]);
        found(version, Some(&config), PUSH, 0).iter().any(|finding| finding.code == "flipt_webhook_panics")
    };
    for (version, with_url, with_templates) in [
        ("1.44.1", false, false),
        ("1.45.0", true, true),
        ("1.46.0", true, true),
        ("1.46.1", false, true),
        ("1.48.0", false, true),
        ("1.48.1", false, false),
        ("1.61.0", false, false),
    ] {
        assert_eq!(has(version, webhook(INTAKE_URL)), with_url, "{version} with an URL");
        assert_eq!(has(version, templates(json!({}))), with_templates, "{version} with templates");
    }
}

#[test]
fn answers_of_other_spelling_and_odd_kinds_are_read_or_passed_over() {
    let config = json!({"audit": {"sinks": {"Log": {"ENABLED": true, "file": "/var/log/flipt/audit.log"},
        "webhook": null}, "buffer": {"flush_period": 240_000_000_000_u64}, "events": "*:*"},
        "tracing": {"sampling_ratio": 0.5}});
    let codes: Vec<String> =
        found("v1.61.0", Some(&config), FILE, 0).into_iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["flipt_sampling", "flipt_flush_period"]);
    for odd in [json!({}), json!({"audit": 7}), json!({"audit": {"sinks": []}, "tracing": "on"})] {
        let facts = Facts::read(&json!({"version": 7, "storage": []}), Some(&odd));
        let plan = plan(FILE);
        // Nothing is on: that alone is said.
        let found = diagnose(&facts, &Relayed::of(&plan, "flipt", |_| 0));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].code, "flipt_no_sink");
    }
    assert!(Facts::read(&json!({"build": {"version": "v2.1.0"}}), None).is_v2);
    assert!(Facts::read(&json!({}), Some(&json!({"version": "2.0"}))).is_v2);
}
