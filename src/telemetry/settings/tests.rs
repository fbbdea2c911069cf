//! What the variables and the configuration together say, a table for each part of it.

use super::*;

mod signals;

type Pairs<'a> = &'a [(&'a str, &'a str)];

/// A configuration without a word about telemetry.
fn silent() -> TelemetryPlan {
    TelemetryPlan {
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
    }
}

/// One with an address.
fn planned(endpoint: &str) -> TelemetryPlan {
    TelemetryPlan { endpoint: Some(Secret::new(endpoint)), ..silent() }
}

fn resolve(plan: &TelemetryPlan, environment: Pairs<'_>) -> (Settings, Vec<String>) {
    let variable = |name: &str| {
        let found = environment.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, text)| (*text).to_owned())
    };
    let (settings, remarks) = Settings::resolve(plan, "relay-1", &variable);
    (settings, remarks.iter().map(ToString::to_string).collect())
}

/// With an address in the environment, and nothing to remark.
fn with(environment: Pairs<'_>) -> Settings {
    let (settings, remarks) = told_with(environment);
    assert_eq!(remarks, [""; 0], "{environment:?}");
    settings
}

fn told_with(environment: Pairs<'_>) -> (Settings, Vec<String>) {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
    resolve(&silent(), &[&[endpoint], environment].concat())
}

/// Where both signals go.
fn places(settings: &Settings) -> [Option<&str>; 2] {
    [&settings.traces, &settings.metrics].map(|signal| signal.as_ref().map(|signal| signal.endpoint.expose()))
}

#[test]
fn off_where_no_endpoint_is_set() {
    let (settings, remarks) = resolve(&silent(), &[]);
    assert_eq!((places(&settings), remarks), ([None, None], vec![]));
    // What is meant for others in the pod is not told of.
    let others =
        [("OTEL_TRACES_SAMPLER", "xray"), ("OTEL_PROPAGATORS", "b3"), ("OTEL_EXPORTER_OTLP_TIMEOUT", "?")];
    assert_eq!(resolve(&silent(), &others).1, [""; 0]);
    let (settings, remarks) = resolve(&silent(), &[("OTEL_TRACES_EXPORTER", "otlp")]);
    assert_eq!(places(&settings), [None, None]);
    assert_eq!(
        remarks,
        [
            "OTEL_TRACES_EXPORTER: `otlp` without an endpoint: nothing is sent (`OTEL_EXPORTER_OTLP_ENDPOINT` or `telemetry.endpoint` says where to)"
        ]
    );
    // Empty means not set.
    let empty = [("OTEL_EXPORTER_OTLP_ENDPOINT", ""), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", " ")];
    assert_eq!(places(&resolve(&planned("http://c"), &empty).0)[0], Some("http://c/v1/traces"));
}

#[test]
fn defaults() {
    let settings = with(&[]);
    let signal = Signal {
        protocol: OtlpProtocol::HttpProtobuf,
        endpoint: Secret::new("http://collector:4318/v1/traces"),
        headers: Vec::new(),
        timeout: Duration::from_secs(10),
        gzip: false,
        tls: TlsPlan::default(),
    };
    let metrics = Signal { endpoint: Secret::new("http://collector:4318/v1/metrics"), ..signal.clone() };
    let resource = [
        ("service.instance.id", "relay-1"),
        ("service.name", "audit-relay"),
        ("service.version", env!("CARGO_PKG_VERSION")),
    ];
    let expected = Settings {
        traces: Some(signal),
        metrics: Some(metrics),
        resource: resource.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec(),
        sampler: Sampler { is_parent_based: true, ratio: 1.0 },
        propagates: true,
        queue: Queue { max_spans: 2_048, max_batch: 512, delay: Duration::from_secs(5) },
        max_links: 1_024,
        metric_interval: Duration::from_secs(60),
        shutdown_timeout: Duration::from_secs(5),
    };
    assert_eq!(settings, expected);
}

#[test]
fn disabled_means_nothing_is_sent() {
    for (value, is_on, remark) in [
        ("true", false, ""),
        ("TRUE", false, ""),
        ("false", true, ""),
        ("", true, ""),
        ("1", true, "OTEL_SDK_DISABLED: neither `true` nor `false`; it is ignored"),
    ] {
        let (settings, remarks) = told_with(&[("OTEL_SDK_DISABLED", value)]);
        assert_eq!(settings.traces.is_some() && settings.metrics.is_some(), is_on, "{value}");
        assert_eq!(remarks.join("\n"), remark, "{value}");
    }
    let sampler = ("OTEL_TRACES_SAMPLER", "xray");
    assert_eq!(told_with(&[("OTEL_SDK_DISABLED", "true"), sampler]).1, [""; 0]);
}

#[test]
fn the_relay_as_a_resource() {
    let attributes = [("team", "flags"), ("service.name", "by-plan"), ("region", "eu")];
    let plan = TelemetryPlan {
        attributes: attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..planned("http://c")
    };
    let service = ("OTEL_SERVICE_NAME", "by-name");
    let written =
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=by%20attributes,region=us,a%2Cb=,service.version=9");
    let get = |settings: &Settings, key: &str| {
        settings
            .resource
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.clone())
            .unwrap_or_default()
    };
    for (environment, name) in [
        (&[][..], "by-plan"),
        (&[written], "by attributes"),
        (&[written, service], "by-name"),
        (&[service], "by-name"),
    ] {
        let (settings, remarks) = resolve(&plan, environment);
        assert_eq!((get(&settings, "service.name").as_str(), remarks), (name, vec![]), "{environment:?}");
        assert_eq!(get(&settings, "team"), "flags");
        assert_eq!(get(&settings, "service.instance.id"), "relay-1");
        let is_written = environment.contains(&written);
        assert_eq!(get(&settings, "region"), if is_written { "us" } else { "eu" });
        assert_eq!(get(&settings, "service.version") == "9", is_written);
        assert_eq!(settings.resource.iter().any(|(key, _)| key == "a,b"), is_written);
    }
    assert_eq!(get(&with(&[("HOSTNAME", "flipt-0")]), "host.name"), "flipt-0");
    for (text, remark) in [
        ("region=us,team", "an entry is not `name=value`"),
        ("region=us,=x", "an entry has no name"),
        ("region=us%,team=x", "an entry is not percent-encoded as it should be"),
    ] {
        let (settings, remarks) = resolve(&plan, &[("OTEL_RESOURCE_ATTRIBUTES", text)]);
        assert_eq!(remarks, [format!("OTEL_RESOURCE_ATTRIBUTES: {remark}; all of it is ignored")]);
        assert_eq!(get(&settings, "region"), "eu");
    }
}

#[test]
fn samplers() {
    let arg = "OTEL_TRACES_SAMPLER_ARG";
    let plan = TelemetryPlan { sampling_millionths: Some(250_000), ..planned("http://c") };
    for (sampler, argument, is_parent_based, ratio, remark) in [
        ("", "0.5", true, 0.25, ""),
        ("always_on", "", false, 1.0, ""),
        ("always_off", "", false, 0.0, ""),
        ("traceidratio", "0.1", false, 0.1, ""),
        ("traceidratio", "", false, 0.25, ""),
        ("parentbased_always_on", "0.1", true, 1.0, ""),
        ("parentbased_always_off", "", true, 0.0, ""),
        ("ParentBased_TraceIdRatio", "1e-3", true, 0.001, ""),
        (
            "parentbased_traceidratio",
            "1.5",
            true,
            0.25,
            "OTEL_TRACES_SAMPLER_ARG: not a number from 0 to 1; it is ignored",
        ),
        (
            "parentbased_traceidratio",
            "NaN",
            true,
            0.25,
            "OTEL_TRACES_SAMPLER_ARG: not a number from 0 to 1; it is ignored",
        ),
        (
            "jaeger_remote",
            "x=y",
            true,
            0.25,
            "OTEL_TRACES_SAMPLER: `jaeger_remote` is not a sampler that there is here; it is ignored",
        ),
        (
            "parentbased_jaeger_remote",
            "x=y",
            true,
            0.25,
            "OTEL_TRACES_SAMPLER: `parentbased_jaeger_remote` is not a sampler that there is here; it is ignored",
        ),
        (
            "two\nlines",
            "",
            true,
            0.25,
            "OTEL_TRACES_SAMPLER: what is written is not a sampler that there is here; it is ignored",
        ),
    ] {
        let (settings, remarks) = resolve(&plan, &[("OTEL_TRACES_SAMPLER", sampler), (arg, argument)]);
        assert_eq!(settings.sampler, Sampler { is_parent_based, ratio }, "{sampler} {argument}");
        assert_eq!(remarks.join("\n"), remark, "{sampler} {argument}");
    }
    assert_eq!(with(&[("OTEL_TRACES_SAMPLER", "traceidratio")]).sampler.ratio, 1.0);
}

#[test]
fn propagators() {
    for (text, propagates, remark) in [
        ("tracecontext,baggage", true, ""),
        ("tracecontext", true, ""),
        ("baggage", false, ""),
        ("none", false, ""),
        (
            "b3, tracecontext",
            true,
            "OTEL_PROPAGATORS: `b3` is not supported (`tracecontext`, `none`); it is ignored",
        ),
        ("none,b3", false, "OTEL_PROPAGATORS: `b3` is not supported (`tracecontext`, `none`); it is ignored"),
        ("xray", true, "OTEL_PROPAGATORS: `xray` is not supported (`tracecontext`, `none`); it is ignored"),
        (",", true, ""),
    ] {
        let (settings, remarks) = told_with(&[("OTEL_PROPAGATORS", text)]);
        assert_eq!((settings.propagates, remarks.join("\n").as_str()), (propagates, remark), "{text}");
    }
}

#[test]
fn queues_limits_and_intervals() {
    let (size, batch) = ("OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE");
    for (environment, max_spans, max_batch, remark) in [
        (&[(size, "100")][..], 100, 100, ""),
        (&[(size, "4096"), (batch, "4096")], 4_096, 4_096, ""),
        (
            &[(batch, "4096")],
            2_048,
            2_048,
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE: more than may wait; 2048 holds (`OTEL_BSP_MAX_QUEUE_SIZE`)",
        ),
        (
            &[(size, "0")],
            2_048,
            512,
            "OTEL_BSP_MAX_QUEUE_SIZE: not a whole number from 1 to 65536; it is ignored",
        ),
        (
            &[(size, "1000000")],
            2_048,
            512,
            "OTEL_BSP_MAX_QUEUE_SIZE: not a whole number from 1 to 65536; it is ignored",
        ),
    ] {
        let (settings, remarks) = told_with(environment);
        assert_eq!(
            (settings.queue.max_spans, settings.queue.max_batch),
            (max_spans, max_batch),
            "{environment:?}"
        );
        assert_eq!(remarks.join("\n"), remark, "{environment:?}");
    }
    let settings = with(&[("OTEL_BSP_SCHEDULE_DELAY", "200"), ("OTEL_SPAN_LINK_COUNT_LIMIT", "0")]);
    assert_eq!((settings.queue.delay, settings.max_links), (Duration::from_millis(200), 0));

    let plan = TelemetryPlan { metric_interval: Some(Duration::from_secs(7)), ..planned("http://c") };
    assert_eq!(resolve(&plan, &[]).0.metric_interval, Duration::from_secs(7));
    let interval = [("OTEL_METRIC_EXPORT_INTERVAL", "1500")];
    assert_eq!(resolve(&plan, &interval).0.metric_interval, Duration::from_millis(1_500));
}

#[test]
fn what_has_no_effect_is_told_where_it_would_have_one() {
    for (name, text, remark) in [
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Cumulative", ""),
        (
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            "delta",
            "`delta` is not supported (`cumulative`); it is ignored",
        ),
        (
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
            "base2_exponential_bucket_histogram",
            "`base2_exponential_bucket_histogram` is not supported (`explicit_bucket_histogram`); it is ignored",
        ),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "100", "not supported; it is ignored"),
        ("OTEL_CONFIG_FILE", "/etc/otel.yaml", "not supported; it is ignored"),
        ("OTEL_LOG_LEVEL", "debug", ""),
    ] {
        let remark = if remark.is_empty() { String::new() } else { format!("{name}: {remark}") };
        assert_eq!(told_with(&[(name, text)]).1.join("\n"), remark);
    }
    let delta = ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta");
    assert_eq!(told_with(&[delta, ("OTEL_METRICS_EXPORTER", "none")]).1, [""; 0]);
}
