//! Receivers of OTLP log records.

use std::time::Duration;

use super::*;
use crate::config::plan::{DeliverSince, DestinationKind, DestinationPlan, OtlpCompression, OtlpPlan};

/// A destination `logs` with these keys.
fn with(keys: &str) -> String {
    format!(
        "name: pod-1\n{SOURCES}destinations: {{logs: {{type: otlp, {keys}}}}}\nroutes: {{r: {{to: logs}}}}\n"
    )
}

fn desk() -> Desk {
    Desk::new()
        .variable("T", "Basic cGxhbnRlZA==")
        .variable("U", "https://otlp.example.com/v1/logs?key=planted")
}

fn of(plan: &DestinationPlan) -> OtlpPlan {
    let Ok(DestinationKind::Otlp(otlp)) = plan.kind.clone() else { panic!("{:?}", plan.kind) };
    *otlp
}

fn told(yaml: &str) -> Vec<String> {
    let loaded = desk().load(yaml).unwrap();
    loaded.warnings.iter().map(|warning| format!("{}: {}", warning.key, warning.message)).collect()
}

#[test]
fn defaults() {
    let loaded = desk().load(&with("endpoint: 'http://otel-collector:4318'")).unwrap();
    assert_eq!((loaded.notes, loaded.warnings), (vec![], vec![]));
    let plan = &loaded.plan.destinations["logs"];
    let otlp = of(plan);
    assert_eq!((otlp.name.as_str(), otlp.url.expose()), ("pod-1", "http://otel-collector:4318/v1/logs"));
    assert_eq!((otlp.headers, otlp.compression), (vec![], OtlpCompression::Gzip));
    assert!(otlp.attributes.is_empty());
    assert_eq!((plan.batch.max_events, plan.batch.max_bytes), (100, 1 << 20));
    assert_eq!(plan.batch.timeout, Duration::from_millis(200));
    assert_eq!(plan.expire_after, Some(Duration::from_secs(7 * 86_400)));
    assert_eq!((plan.deliver_since, plan.type_word), (DeliverSince::Beginning, "otlp"));
    let shown = shown_defaults();
    let of_otlp = shown.split("an_otlp:").nth(1).or_else(|| shown.split("a_otlp:").nth(1)).unwrap();
    for default in ["max_events: 100", "timeout: 200ms", "expire_after: 7d", "compression: gzip"] {
        assert!(of_otlp.contains(default), "{default}: {of_otlp}");
    }
}

#[test]
fn every_key_arrives() {
    let keys = "endpoint: {env: U}, headers: {Authorization: {env: T}, X-Scope-OrgID: flags}, compression: none, \
                attributes: {deployment.environment.name: prod}, batch: {max_events: 7, timeout: 3s}, \
                tls: {ca: /ca.pem}, proxy: 'http://p.example.com', expire_after: never, deliver_since: now";
    let loaded = desk().load(&with(keys)).unwrap();
    let plan = &loaded.plan.destinations["logs"];
    let otlp = of(plan);
    assert_eq!(otlp.url.expose(), "https://otlp.example.com/v1/logs?key=planted");
    let headers: Vec<_> = otlp.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(headers, [("authorization", "Basic cGxhbnRlZA=="), ("x-scope-orgid", "flags")]);
    assert_eq!(otlp.compression, OtlpCompression::None);
    assert_eq!(otlp.attributes["deployment.environment.name"], "prod");
    assert_eq!((plan.batch.max_events, plan.batch.timeout), (7, Duration::from_secs(3)));
    assert_eq!(plan.tls.ca, Some("/ca.pem".into()));
    assert_eq!((plan.expire_after, plan.deliver_since), (None, DeliverSince::Now));
    assert!(plan.proxy.is_some());
    let shown = format!("{plan:?}");
    assert!(!shown.contains("cGxhbnRlZA") && !shown.contains("planted"), "{shown}");
    let other = desk().variable("T", "Basic b3RoZXI=").load(&with(&keys.replace("key=planted", "")));
    assert!(other.is_ok());
}

/// An answer of the former address or credentials says nothing of the new ones.
#[test]
fn a_fingerprint_tells_addresses_and_headers_apart() {
    let of = |keys: &str| desk().load(&with(keys)).unwrap().plan.destinations["logs"].fingerprint.clone();
    let first = of("endpoint: 'https://a.example.com', headers: {x-key: {env: T}}");
    assert_eq!(first, of("endpoint: 'https://a.example.com/', headers: {x-key: {env: T}}"));
    assert_ne!(first, of("endpoint: 'https://b.example.com', headers: {x-key: {env: T}}"));
    assert_ne!(first, of("endpoint: 'https://a.example.com', headers: {x-key: {env: U}}"));
    assert_ne!(first, of("endpoint: 'https://a.example.com', headers: {x-other: {env: T}}"));
}

#[test]
fn an_address_without_a_path_gets_one() {
    for (written, expected) in [
        ("http://collector.example.com:4318", "http://collector.example.com:4318/v1/logs"),
        ("https://collector.example.com/", "https://collector.example.com/v1/logs"),
        ("https://loki.example.com/otlp/v1/logs", "https://loki.example.com/otlp/v1/logs"),
        ("https://logs.example.com/insert", "https://logs.example.com/insert"),
    ] {
        let loaded = desk().load(&with(&format!("endpoint: '{written}'"))).unwrap();
        assert_eq!(loaded.warnings, vec![], "{written}");
        assert_eq!(of(&loaded.plan.destinations["logs"]).url.expose(), expected);
    }
}

#[test]
fn what_is_likely_not_meant_is_told() {
    let token = "headers: {authorization: {env: T}}";
    for (keys, expected) in [
        ("endpoint: 'http://collector:4317'".to_owned(), "4317 is where collectors speak gRPC"),
        ("endpoint: 'https://loki.example.com/otlp'".to_owned(), "`/v1/logs` is not added"),
        (format!("endpoint: 'http://collector:4318', {token}"), "crosses the network unencrypted"),
    ] {
        let told = told(&with(&keys));
        assert!(told.len() == 1 && told[0].starts_with("destinations.logs.endpoint: "), "{told:?}");
        assert!(told[0].contains(expected), "{told:?}");
    }
    for keys in [
        format!("endpoint: 'https://collector:4318', {token}"),
        format!("endpoint: 'http://127.0.0.1:4318', {token}"),
    ] {
        assert_eq!(told(&with(&keys)), Vec::<String>::new());
    }
}

#[test]
fn what_cannot_be_is_refused() {
    for (keys, place, expected) in [
        ("headers: {x: y}", "destinations.logs", "endpoint"),
        ("endpoint: 'ftp://a.example.com'", "destinations.logs.endpoint", "http"),
        (
            "endpoint: 'https://a.example.com', headers: {Content-Type: text/plain}",
            "headers.Content-Type",
            "the relay sets it",
        ),
        (
            "endpoint: 'https://a.example.com', headers: {content-encoding: br}",
            "headers.content-encoding",
            "the relay sets it",
        ),
        ("endpoint: 'https://a.example.com', headers: {host: b}", "headers.host", "set by the connection"),
        ("endpoint: 'https://a.example.com', compression: zstd", "destinations.logs.compression", "gzip"),
        ("endpoint: 'https://a.example.com', protocol: grpc", "destinations.logs.protocol", "unknown"),
        (
            "endpoint: 'https://a.example.com', attributes: {'': x}",
            "destinations.logs.attributes",
            "without a name",
        ),
        (
            "endpoint: 'https://a.example.com', headers: {authorization: 'Bearer planted'}",
            "headers.authorization",
            "in place",
        ),
        (
            "endpoint: 'https://a.example.com', group_wait: 1s",
            "destinations.logs.group_wait",
            "`batch.timeout`",
        ),
        (
            "endpoint: 'https://a.example.com', tls: {cert: /c.pem}",
            "destinations.logs.tls.cert",
            "no `key` beside it",
        ),
    ] {
        let problems = desk().problems(&with(keys));
        assert!(problems.contains(place) && problems.contains(expected), "{keys}: {problems}");
        assert!(!problems.contains("planted"));
    }
}

#[test]
fn a_header_that_cannot_be_sent_stops_its_destination_alone() {
    let loaded = desk()
        .variable("B", "two\nlines")
        .load(&with("endpoint: 'https://a.example.com', headers: {x-key: {env: B}}"));
    let loaded = loaded.unwrap();
    let why = "headers.x-key: a value that no header can carry";
    assert_eq!(loaded.plan.destinations["logs"].kind.as_ref().unwrap_err(), why);
}

/// It tells of problems, too, unlike another relay.
#[test]
fn problems_may_be_told_there() {
    let yaml = with("endpoint: 'https://a.example.com'") + "problems: {to: logs}\n";
    let told = told(&yaml);
    assert!(told.iter().all(|told| !told.contains("hands records on")), "{told:?}");
}
