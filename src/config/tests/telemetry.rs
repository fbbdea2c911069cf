//! Telemetry: what is meant, what cannot be, and what the standard variables have to do with it.
use super::*;
use crate::config::plan::{OtlpProtocol, Plan, TelemetryPlan, TlsPlan};

/// A configuration with these keys of the section.
fn with(keys: &str) -> String {
    format!(
        "{SOURCES}destinations: {{d: {{type: console}}}}\nroutes: {{r: {{to: d}}}}\ntelemetry: {{{keys}}}\n"
    )
}

fn planned(desk: &Desk, keys: &str) -> TelemetryPlan {
    let loaded = desk.load(&with(keys)).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((loaded.notes, loaded.warnings), (vec![], vec![]), "{keys}");
    loaded.plan.telemetry
}

fn warned(desk: &Desk, keys: &str) -> Vec<String> {
    let loaded = desk.load(&with(keys)).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.notes, []);
    let text =
        |warning: &Problem| warning.to_string().replace(&format!("{}/", desk.directory.path().display()), "");
    let is_ours = |warning: &&Problem| !warning.key.starts_with("sources.");
    loaded.warnings.iter().filter(is_ours).map(text).collect()
}

#[test]
fn what_is_not_written_is_left_to_the_variables() {
    let silent = TelemetryPlan {
        endpoint: None,
        protocol: None,
        headers: Vec::new(),
        tls: TlsPlan::default(),
        traces: true,
        metrics: true,
        sampling_millionths: None,
        attributes: BTreeMap::new(),
        metric_interval: None,
        shutdown_timeout: Duration::from_secs(5),
    };
    assert_eq!(planned(&Desk::new(), ""), silent);
    // Variables may say where to.
    let keys = "traces: false, headers: {x-a: b}";
    let expected = TelemetryPlan {
        traces: false,
        headers: vec![("x-a".to_owned(), secret::Secret::new("b"))],
        ..silent
    };
    assert_eq!(planned(&Desk::new(), keys), expected);
}

#[test]
fn every_key_arrives() {
    let keys = "endpoint: {env: E}, protocol: http/protobuf, headers: {X-Key: {env: KEY}, x-team: flags}, \
                tls: {ca: /ca.pem, cert: /c.pem, key: /k.pem}, traces: false, metrics: false, sampling_ratio: 0.1, \
                attributes: {deployment.environment.name: prod, host.name: {env: HOST}}, metric_interval: 250ms, \
                shutdown_timeout: 0s";
    let desk = Desk::new()
        .variable("E", "https://c.example.com/otlp?key=s3cret")
        .variable("KEY", "k3y")
        .variable("HOST", "flipt-0");
    let plan = planned(&desk, keys);
    assert_eq!(plan.endpoint.as_ref().unwrap().expose(), "https://c.example.com/otlp?key=s3cret");
    assert_eq!(plan.protocol, Some(OtlpProtocol::HttpProtobuf));
    let headers: Vec<_> = plan.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(headers, [("x-key", "k3y"), ("x-team", "flags")]);
    let identity = Some(("/c.pem".into(), "/k.pem".into()));
    assert_eq!(plan.tls, TlsPlan { ca: Some("/ca.pem".into()), identity });
    assert_eq!((plan.traces, plan.metrics, plan.sampling_millionths), (false, false, Some(100_000)));
    let attributes = [("deployment.environment.name", "prod"), ("host.name", "flipt-0")];
    assert_eq!(plan.attributes, attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    assert_eq!(
        (plan.metric_interval, plan.shutdown_timeout),
        (Some(Duration::from_millis(250)), Duration::ZERO)
    );
    let shown = format!("{plan:?}");
    assert!(!shown.contains("k3y") && !shown.contains("s3cret"), "{shown}");

    let protocol = |keys: &str| planned(&Desk::new(), keys).protocol;
    assert_eq!(protocol("protocol: grpc, endpoint: 'http://127.0.0.1:4317'"), Some(OtlpProtocol::Grpc));
    let ratio = |keys: &str| planned(&Desk::new(), keys).sampling_millionths;
    assert_eq!(ratio("sampling_ratio: 0"), Some(0));
    assert_eq!(ratio("sampling_ratio: 1"), Some(1_000_000));
    // A little is not nothing.
    assert_eq!(ratio("sampling_ratio: 0.0000001"), Some(1));
    let by_variable = Desk::new().variable("AUDIT_RELAY__TELEMETRY__PROTOCOL", "grpc");
    assert_eq!(planned(&by_variable, "").protocol, Some(OtlpProtocol::Grpc));
}

#[test]
fn what_cannot_be_is_told() {
    let line = "audit-relay.yaml:4:";
    for (keys, wanted) in [
        ("endpoint: 'grpc://c:4317'", "telemetry.endpoint: not an http or https address"),
        ("endpoint: 'c:4317'", "telemetry.endpoint: not an http or https address"),
        ("endpoint: 'https://user:s3cret@c'", "telemetry.endpoint: a secret is written in place"),
        ("endpoint: 'https://c/?key=s3cret'", "telemetry.endpoint: a secret is written in place"),
        (
            "endpoint: 'http://c/v1/traces/'",
            "telemetry.endpoint: the path of each signal is added to this address",
        ),
        (
            "endpoint: 'http://c:4317/x', protocol: grpc",
            "telemetry.endpoint: `protocol: grpc` has neither path nor query; expected scheme, host and port",
        ),
        (
            "protocol: http/json",
            "telemetry.protocol: not a word that is known here; expected `http/protobuf` or `grpc`",
        ),
        ("protocol: http_protobuf", "did you mean `http/protobuf`?"),
        ("protocol: http", "did you mean `http/protobuf`?"),
        ("protocol: gprc", "did you mean `grpc`?"),
        ("headers: {'x y': a}", "telemetry.headers.x y: not the name of a header"),
        ("headers: {Host: a}", "telemetry.headers.Host: this header is set by the protocol"),
        ("headers: {Content-Type: a}", "telemetry.headers.Content-Type: this header is set by the protocol"),
        ("headers: {grpc-timeout: 1S}", "telemetry.headers.grpc-timeout: this header is set by the protocol"),
        ("headers: {x-a: a, X-A: b}", "telemetry.headers.x-a: a second `x-a` header; expected one of them"),
        ("headers: {Authorization: s3cret}", "telemetry.headers.Authorization: a secret is written in place"),
        ("tls: {cert: /c}", "telemetry.tls.cert: no `key` beside it; expected both, or none"),
        ("tls: {key: /c}", "telemetry.tls.key: no `cert` beside it; expected both, or none"),
        ("sampling_ratio: 1.5", "telemetry.sampling_ratio: out of bounds; expected a number from 0 to 1"),
        ("sampling_ratio: -0.1", "telemetry.sampling_ratio: out of bounds; expected a number from 0 to 1"),
        ("sampling_ratio: .nan", "telemetry.sampling_ratio: "),
        (
            "metric_interval: 0s",
            "telemetry.metric_interval: no time at all; expected a duration such as `60s`",
        ),
        ("attributes: {'': x}", "telemetry.attributes.: an attribute without a name"),
        ("attributes: {' ': x}", "telemetry.attributes. : an attribute without a name"),
        ("attributes: {team: 7}", "telemetry.attributes.team: this is a number; expected text, in quotes"),
        ("sampling_rate: 1", "telemetry.sampling_rate: unknown key; did you mean `sampling_ratio`?"),
    ] {
        let problems = Desk::new().problems(&with(keys));
        assert!(problems.contains(wanted) && problems.starts_with(line), "{keys}: {problems}");
        assert!(!problems.contains('\n') && !problems.contains("s3cret"), "{keys}: {problems}");
    }
}

#[test]
fn a_missing_secret_stops_telemetry_alone_and_is_a_problem_for_check() {
    let keys = "endpoint: 'https://c.example.com', headers: {authorization: {env: MISSING}, x-a: b}, \
                tls: {ca: /ca}, attributes: {team: flags, host: {env: MISSING}}";
    let mut desk = Desk::new();
    let loaded = desk.load(&with(keys)).unwrap();
    let telemetry = &loaded.plan.telemetry;
    // Neither is half of it sent, nor to another place.
    assert_eq!((&telemetry.endpoint, telemetry.headers.len()), (&None, 0));
    assert_eq!(telemetry.tls, TlsPlan::default());
    assert_eq!(telemetry.attributes.keys().collect::<Vec<_>>(), ["team"]);
    let told: Vec<String> =
        loaded.warnings.iter().map(|warning| format!("{}: {}", warning.key, warning.message)).collect();
    assert_eq!(
        told,
        [
            "telemetry: its address, a header or a certificate cannot be read: nothing is sent, unless the standard variables say where to",
            "telemetry.headers.authorization: the environment variable `MISSING` is not set",
            "telemetry.attributes.host: the environment variable `MISSING` is not set",
        ]
    );
    // What only describes does not stop it.
    let described =
        desk.load(&with("endpoint: 'https://c.example.com', attributes: {host: {env: MISSING}}")).unwrap();
    assert!(described.plan.telemetry.endpoint.is_some());
    assert_eq!(described.warnings.len(), 1);
    for references in [References::Require, References::Ignore] {
        desk.references = references;
        assert_eq!(desk.load(&with(keys)).is_err(), references == References::Require);
    }
    // A value that no header can carry, likewise.
    let keys = "headers: {x-key: {env: KEY}}";
    let mut desk = Desk::new().variable("KEY", "s3cret\nx");
    assert_eq!(planned_headers(&desk, keys), 0);
    desk.references = References::Require;
    let problems = desk.problems(&with(keys));
    assert!(problems.contains("telemetry.headers.x-key: a value that no header can carry"), "{problems}");
    assert!(!problems.contains("s3cret"));
}

fn planned_headers(desk: &Desk, keys: &str) -> usize {
    desk.load(&with(keys)).unwrap().plan.telemetry.headers.len()
}

#[test]
fn credentials_in_the_clear_are_warned_of() {
    let desk = || Desk::new().variable("T", "Bearer t").variable("U", "http://user:pw@c.example.com");
    let warning = |column: usize| {
        format!(
            "audit-relay.yaml:4:{column}: telemetry.endpoint: `http`: what shows who sends crosses the network unencrypted"
        )
    };
    let header = "headers: {authorization: {env: T}}";
    assert_eq!(warned(&desk(), &format!("endpoint: 'http://c.example.com', {header}")), [warning(13)]);
    assert_eq!(warned(&desk(), "endpoint: {env: U}"), [warning(13)]);
    for keys in [
        format!("endpoint: 'https://c.example.com', {header}"),
        format!("endpoint: 'http://127.0.0.1:4318', {header}"),
        "endpoint: 'http://c.example.com', headers: {x-team: flags}".to_owned(),
    ] {
        assert_eq!(warned(&desk(), &keys), [""; 0], "{keys}");
    }
}

#[test]
fn variables_that_are_not_understood_are_warned_of() {
    let mut desk = Desk::new()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", "https://s3cret@c.example.com")
        .variable("OTEL_EXPORTER_OTLP_HEADERS", "s3cret")
        .variable("OTEL_TRACES_SAMPLER", "xray");
    let told = [
        "environment variable OTEL_EXPORTER_OTLP_HEADERS: an entry is not `name=value`; it is left out",
        "environment variable OTEL_TRACES_SAMPLER: `xray` is not a sampler that there is here; it is ignored",
    ];
    assert_eq!(warned(&desk, ""), told);
    // For `check` they are no more than that.
    desk.references = References::Require;
    assert_eq!(warned(&desk, ""), told);
    desk.references = References::Ignore;
    assert_eq!(warned(&desk, ""), [""; 0]);
    // What is about the configuration says where it is written.
    assert_eq!(
        warned(&Desk::new(), "endpoint: 'http://c.example.com:4317'"),
        [
            "audit-relay.yaml:4:13: telemetry.endpoint: port 4317 is mostly that of gRPC, and `http/protobuf` is spoken (`OTEL_EXPORTER_OTLP_PROTOCOL` or `telemetry.protocol` changes that)"
        ]
    );
    let grpc = Desk::new().variable("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    assert_eq!(warned(&grpc, "endpoint: 'http://c.example.com:4317'"), [""; 0]);
}

#[test]
fn a_change_of_it_is_seen() {
    let desk = Desk::new().variable("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c");
    let desk = desk.variable("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "/by-variable.pem");
    let plan = |keys: &str| desk.load(&with(keys)).unwrap().plan;
    let sections = |old: &Plan, new: &Plan| Difference::between(old, new).sections;
    assert_eq!(sections(&plan(""), &plan("")), [""; 0]);
    assert_eq!(sections(&plan(""), &plan("sampling_ratio: 0.5")), ["telemetry"]);
    let told = Difference::between(&plan(""), &plan("headers: {x-a: b}")).to_string();
    assert_eq!(told, "changed: telemetry");

    let loaded = desk.load(&with("tls: {ca: /ca.pem, cert: /c.pem, key: /k.pem}")).unwrap();
    for file in ["/ca.pem", "/c.pem", "/k.pem", "/by-variable.pem"] {
        assert!(loaded.watched.files.contains(Path::new(file)), "{file}");
    }
}
