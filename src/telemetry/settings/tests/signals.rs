//! Where each signal goes, and how.

use super::*;

fn exposed(headers: &[(String, Secret)]) -> Vec<String> {
    headers.iter().map(|(name, value)| format!("{name}: {}", value.expose())).collect()
}

#[test]
fn exporters() {
    for (variable, value, traces, metrics, remark) in [
        ("OTEL_TRACES_EXPORTER", "otlp", true, true, ""),
        ("OTEL_TRACES_EXPORTER", "none", false, true, ""),
        ("OTEL_METRICS_EXPORTER", "None", true, false, ""),
        ("OTEL_METRICS_EXPORTER", "prometheus", true, false, ""),
        ("OTEL_METRICS_EXPORTER", "prometheus,otlp", true, true, ""),
        (
            "OTEL_TRACES_EXPORTER",
            "zipkin",
            true,
            true,
            "OTEL_TRACES_EXPORTER: `zipkin` is not one that there is here (`otlp`, `none`); it is ignored",
        ),
        (
            "OTEL_TRACES_EXPORTER",
            "console, otlp",
            true,
            true,
            "OTEL_TRACES_EXPORTER: `console` is not one that there is here (`otlp`, `none`); it is ignored",
        ),
        (
            "OTEL_TRACES_EXPORTER",
            "prometheus",
            true,
            true,
            "OTEL_TRACES_EXPORTER: `prometheus` is not one that there is here (`otlp`, `none`); it is ignored",
        ),
        (
            "OTEL_METRICS_EXPORTER",
            "otlp,none",
            true,
            true,
            "OTEL_METRICS_EXPORTER: `none` beside `otlp`: `none` is ignored",
        ),
        ("OTEL_LOGS_EXPORTER", "console", true, true, ""),
    ] {
        let (settings, remarks) = told_with(&[(variable, value)]);
        assert_eq!(
            (settings.traces.is_some(), settings.metrics.is_some()),
            (traces, metrics),
            "{variable}={value}"
        );
        assert_eq!(remarks.join("\n"), remark, "{variable}={value}");
    }
    // The variable goes before the configuration, in both directions.
    let plan = TelemetryPlan { traces: false, metrics: false, ..planned("http://c") };
    assert_eq!(places(&resolve(&plan, &[]).0), [None, None]);
    let on = [("OTEL_TRACES_EXPORTER", "otlp")];
    assert_eq!(places(&resolve(&plan, &on).0), [Some("http://c/v1/traces"), None]);
}

#[test]
fn endpoints_by_precedence() {
    let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:4318");
    let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://own:4318/in");
    for (plan, environment, traces, metrics) in [
        (planned("http://plan"), &[][..], Some("http://plan/v1/traces"), Some("http://plan/v1/metrics")),
        (
            planned("http://plan"),
            &[general],
            Some("http://general:4318/v1/traces"),
            Some("http://general:4318/v1/metrics"),
        ),
        (
            planned("http://plan"),
            &[general, own],
            Some("http://own:4318/in"),
            Some("http://general:4318/v1/metrics"),
        ),
        (planned("http://plan"), &[own], Some("http://own:4318/in"), Some("http://plan/v1/metrics")),
        (silent(), &[own], Some("http://own:4318/in"), None),
    ] {
        let (settings, remarks) = resolve(&plan, environment);
        assert_eq!((places(&settings), remarks), ([traces, metrics], vec![]), "{environment:?}");
    }
}

#[test]
fn endpoints_by_protocol() {
    let protocol = |grpc: bool| ("OTEL_EXPORTER_OTLP_PROTOCOL", if grpc { "grpc" } else { "http/protobuf" });
    for (name, text, is_grpc, expected, remark) in [
        ("", "http://c:4318/", false, Some("http://c:4318/v1/traces"), ""),
        ("", "https://c/otlp/?key=s3cret", false, Some("https://c/otlp/v1/traces?key=s3cret"), ""),
        ("TRACES_", "https://c/x/", false, Some("https://c/x/"), ""),
        (
            "TRACES_",
            "https://c",
            false,
            Some("https://c/"),
            "used as it is, without a path: most collectors want `/v1/traces`",
        ),
        ("", "http://c:4317", true, Some("http://c:4317"), ""),
        ("TRACES_", "https://c:4317/", true, Some("https://c:4317"), ""),
        ("", "c:4317", true, Some("https://c:4317"), ""),
        ("", "[::1]:4317", true, Some("https://[::1]:4317"), ""),
        (
            "",
            "http://c:4317/v1/traces?key=s3cret",
            true,
            Some("http://c:4317"),
            "gRPC has neither path nor query: scheme, host and port are used",
        ),
        (
            "",
            "http://c:4317",
            false,
            Some("http://c:4317/v1/traces"),
            "port 4317 is mostly that of gRPC, and `http/protobuf` is spoken (`OTEL_EXPORTER_OTLP_PROTOCOL` or `telemetry.protocol` changes that)",
        ),
        (
            "",
            "http://c:4318",
            true,
            Some("http://c:4318"),
            "port 4318 is mostly that of `http/protobuf`, and gRPC is spoken (`OTEL_EXPORTER_OTLP_PROTOCOL` or `telemetry.protocol` changes that)",
        ),
        (
            "",
            "http://c/v1/traces",
            false,
            Some("http://c/v1/traces/v1/traces"),
            "the path of each signal is added to this address, which has one already",
        ),
        ("", "s3cret:4318", false, None, "not an http or https address; traces are not sent"),
        ("", "unix:///s3cret", true, None, "not an http or https address; traces are not sent"),
        ("TRACES_", "http://s3cret:none", false, None, "not an address; traces are not sent"),
    ] {
        let variable = format!("OTEL_EXPORTER_OTLP_{name}ENDPOINT");
        // What cannot be used is no reason to send to another place.
        let environment = [(variable.as_str(), text), protocol(is_grpc), ("OTEL_METRICS_EXPORTER", "none")];
        let (settings, remarks) = resolve(&planned("http://elsewhere"), &environment);
        assert_eq!(places(&settings)[0], expected, "{text}");
        let remark = if remark.is_empty() { String::new() } else { format!("{variable}: {remark}") };
        assert_eq!(remarks.join("\n"), remark, "{text}");
        assert!(!remarks.join("\n").contains("s3cret"));
    }
}

#[test]
fn insecure_is_for_grpc_without_a_scheme() {
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    for (endpoint, variable, value, traces, metrics) in [
        ("c:4317", "OTEL_EXPORTER_OTLP_INSECURE", "true", "http://c:4317", "http://c:4317"),
        ("c:4317", "OTEL_EXPORTER_OTLP_TRACES_INSECURE", "true", "http://c:4317", "https://c:4317"),
        ("c:4317", "OTEL_EXPORTER_OTLP_INSECURE", "false", "https://c:4317", "https://c:4317"),
        ("https://c:4317", "OTEL_EXPORTER_OTLP_INSECURE", "true", "https://c:4317", "https://c:4317"),
    ] {
        let environment = [grpc, ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), (variable, value)];
        assert_eq!(
            places(&resolve(&silent(), &environment).0),
            [Some(traces), Some(metrics)],
            "{variable}={value}"
        );
    }
}

#[test]
fn protocols() {
    let (http, grpc) = (OtlpProtocol::HttpProtobuf, OtlpProtocol::Grpc);
    let (own, general) = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL");
    let unknown =
        "OTEL_EXPORTER_OTLP_PROTOCOL: `thrift` is not a protocol (`http/protobuf`, `grpc`); it is ignored";
    let json = "OTEL_EXPORTER_OTLP_PROTOCOL: `http/json` is not supported; `http/protobuf` is spoken";
    for (written, environment, traces, metrics, remark) in [
        (None, &[][..], http, http, ""),
        (Some(grpc), &[], grpc, grpc, ""),
        (Some(grpc), &[(general, "http/protobuf")], http, http, ""),
        (None, &[(general, "GRPC")], grpc, grpc, ""),
        (None, &[(general, "grpc"), (own, "http/protobuf")], http, grpc, ""),
        (Some(grpc), &[(general, "http/json")], http, http, json),
        (Some(grpc), &[(general, "thrift")], grpc, grpc, unknown),
    ] {
        let plan = TelemetryPlan { protocol: written, ..planned("http://c") };
        let (settings, remarks) = resolve(&plan, environment);
        let spoken = (settings.traces.unwrap().protocol, settings.metrics.unwrap().protocol);
        assert_eq!(spoken, (traces, metrics), "{environment:?}");
        assert_eq!(remarks.join("\n"), remark, "{environment:?}");
    }
}

#[test]
fn headers_by_precedence_and_to_their_own_place() {
    let (own, general) = ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS");
    let plan = TelemetryPlan {
        headers: vec![("x-key".to_owned(), Secret::new("plan"))],
        ..planned("https://c.example.com")
    };
    for (environment, traces, metrics) in [
        (&[][..], "x-key: plan", "x-key: plan"),
        (&[(general, "x-key=general")], "x-key: general", "x-key: general"),
        (&[(general, "a=b"), (own, "c=d")], "a: b", "c: d"),
        // The same place by another path.
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c.example.com:443/x")], "x-key: plan", "x-key: plan"),
    ] {
        let (settings, remarks) = resolve(&plan, environment);
        let sent =
            [settings.traces, settings.metrics].map(|signal| exposed(&signal.unwrap().headers).join(", "));
        assert_eq!((sent, remarks), ([traces.to_owned(), metrics.to_owned()], vec![]), "{environment:?}");
    }
    // What may be a credential of one collector is not for another.
    let (settings, remarks) =
        resolve(&plan, &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://other.example.com/x")]);
    assert_eq!(exposed(&settings.traces.unwrap().headers), [""; 0]);
    assert_eq!(exposed(&settings.metrics.unwrap().headers), ["x-key: plan"]);
    assert_eq!(
        remarks,
        [
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: another place than `telemetry.endpoint`: `telemetry.headers` are not sent there"
        ]
    );
    // Without an address beside them they are for whatever place a variable names.
    let plan = TelemetryPlan { endpoint: None, ..plan };
    let (settings, _) = resolve(&plan, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://other.example.com")]);
    assert_eq!(exposed(&settings.traces.unwrap().headers), ["x-key: plan"]);
}

#[test]
fn headers_are_read_and_never_told() {
    for (text, expected, remark) in [
        ("A=b%20c, x-Key = v=w ,", &["a: b c", "x-key: v=w"][..], ""),
        ("a=1,A=2", &["a: 2"], ""),
        ("a=", &["a: "], ""),
        ("s3cret", &[], "an entry is not `name=value`; it is left out"),
        ("=s3cret,a=b", &["a: b"], "an entry has no name; it is left out"),
        ("a=s3cret%", &[], "an entry is not percent-encoded as it should be; it is left out"),
        ("a=s3cret%f", &[], "an entry is not percent-encoded as it should be; it is left out"),
        ("a=s3cret%ff", &[], "an entry is not percent-encoded as it should be; it is left out"),
        ("a b=s3cret", &[], "an entry has a name that no header can have; it is left out"),
        ("a=s3cret%0a", &[], "an entry has a value that no header can carry; it is left out"),
        ("a=s3cretä", &[], "an entry has a value that no header can carry; it is left out"),
        ("Host=s3cret,b=c", &["b: c"], "an entry names a header that the protocol sets; it is left out"),
        ("grpc-timeout=1S", &[], "an entry names a header that the protocol sets; it is left out"),
    ] {
        let (settings, remarks) = told_with(&[("OTEL_EXPORTER_OTLP_HEADERS", text)]);
        assert_eq!(exposed(&settings.traces.unwrap().headers), expected, "{text}");
        let remark =
            if remark.is_empty() { String::new() } else { format!("OTEL_EXPORTER_OTLP_HEADERS: {remark}") };
        // Once, though both signals read it.
        assert_eq!(remarks.join("\n"), remark, "{text}");
    }
}

#[test]
fn credentials_of_an_address_become_a_header() {
    let endpoint = |text| [("OTEL_EXPORTER_OTLP_ENDPOINT", text)];
    let (settings, remarks) = resolve(&silent(), &endpoint("https://us%40er:p%3Aw@c:4318"));
    assert_eq!((places(&settings)[0], remarks), (Some("https://c:4318/v1/traces"), vec![]));
    // base64 of `us@er:p:w`
    assert_eq!(exposed(&settings.traces.unwrap().headers), ["authorization: Basic dXNAZXI6cDp3"]);
    let both = [endpoint("https://user:pw@c")[0], ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20t")];
    assert_eq!(exposed(&resolve(&silent(), &both).0.traces.unwrap().headers), ["authorization: Bearer t"]);
    assert!(!format!("{:?}", resolve(&silent(), &both).0).contains("Bearer"));
}

#[test]
fn timeouts_and_compression() {
    let bad =
        "OTEL_EXPORTER_OTLP_TIMEOUT: not a whole number of milliseconds from 1 to 86400000; it is ignored";
    for (environment, traces_ms, metrics_ms, remark) in [
        (&[("OTEL_EXPORTER_OTLP_TIMEOUT", "2500")][..], 2_500, 2_500, ""),
        (&[("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"), ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1")], 1, 2_500, ""),
        (&[("OTEL_BSP_EXPORT_TIMEOUT", "400"), ("OTEL_METRIC_EXPORT_TIMEOUT", "300")], 400, 300, ""),
        (&[("OTEL_EXPORTER_OTLP_TIMEOUT", "60000")], 30_000, 30_000, ""),
        (
            &[("OTEL_EXPORTER_OTLP_TIMEOUT", "60000"), ("OTEL_BSP_EXPORT_TIMEOUT", "50000")],
            50_000,
            30_000,
            "",
        ),
        (&[("OTEL_EXPORTER_OTLP_TIMEOUT", "0")], 10_000, 10_000, bad),
        (&[("OTEL_EXPORTER_OTLP_TIMEOUT", "-1")], 10_000, 10_000, bad),
        (&[("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")], 10_000, 10_000, bad),
        (&[("OTEL_EXPORTER_OTLP_TIMEOUT", "18446744073709551615")], 10_000, 10_000, bad),
    ] {
        let (settings, remarks) = told_with(environment);
        let waits = [settings.traces, settings.metrics].map(|signal| signal.unwrap().timeout.as_millis());
        assert_eq!(
            (waits, remarks.join("\n")),
            ([traces_ms, metrics_ms], remark.to_owned()),
            "{environment:?}"
        );
    }
    for (environment, traces, metrics) in [
        (&[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")][..], true, true),
        (
            &[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"), ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "none")],
            true,
            false,
        ),
    ] {
        let settings = with(environment);
        let gzip = (settings.traces.unwrap().gzip, settings.metrics.unwrap().gzip);
        assert_eq!(gzip, (traces, metrics), "{environment:?}");
    }
    let (settings, remarks) = told_with(&[("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd")]);
    assert!(!settings.traces.unwrap().gzip);
    assert_eq!(
        remarks,
        ["OTEL_EXPORTER_OTLP_COMPRESSION: `zstd` is not supported (`gzip`, `none`); it is ignored"]
    );
}

#[test]
fn certificates() {
    let general = [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/cert"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key"),
    ];
    let identity = |cert: &str, key: &str| Some((cert.into(), key.into()));
    let tls = with(&general).traces.unwrap().tls;
    assert_eq!(tls, TlsPlan { ca: Some("/ca".into()), identity: identity("/cert", "/key") });
    let own = ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "/own");
    let settings = with(&[&general[..], &[own]].concat());
    assert_eq!(settings.traces.unwrap().tls.ca, Some("/ca".into()));
    assert_eq!(settings.metrics.unwrap().tls.ca, Some("/own".into()));
    // Each goes before its own key of the configuration.
    let tls = TlsPlan { ca: Some("/plan-ca".into()), identity: identity("/plan-cert", "/plan-key") };
    let plan = TelemetryPlan { tls, ..planned("https://c") };
    let (settings, remarks) = resolve(&plan, &general[1..2]);
    let expected = TlsPlan { ca: Some("/plan-ca".into()), identity: identity("/cert", "/plan-key") };
    assert_eq!((settings.traces.unwrap().tls, remarks), (expected, vec![]));
    for (given, other) in [(general[1], "CLIENT_KEY"), (general[2], "CLIENT_CERTIFICATE")] {
        let (settings, remarks) = told_with(&[given]);
        assert_eq!(settings.traces.unwrap().tls, TlsPlan::default());
        let remark = format!(
            "{}: no `OTEL_EXPORTER_OTLP_{other}` beside it; it is not shown to the collector",
            given.0
        );
        assert_eq!(remarks, [remark]);
    }
}
