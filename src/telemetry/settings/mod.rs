//! What the configuration and the standard `OTEL_…` variables together say
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>). Pure: the variables are
//! handed in.
//!
//! A variable of one signal goes before the general one, that before the configuration, that before the default.
//! Nothing is sent where none of them says where to, unlike the specification, whose default is `localhost`: most
//! relays stand beside a Flipt without a collector.

mod signal;
#[cfg(test)]
mod tests;
mod variables;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::plan::{OtlpProtocol, TelemetryPlan, TlsPlan};
use crate::config::secret::Secret;
use variables::{Variables, pairs, shown};

pub use signal::is_of_the_protocol;
pub use variables::Remark;

/// Everything that is needed to send traces and metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where traces go; `None`: nowhere.
    pub traces: Option<Signal>,
    /// Where metrics go; `None`: nowhere.
    pub metrics: Option<Signal>,
    /// Attributes of the relay as a resource, `service.name` among them.
    pub resource: Vec<(String, String)>,
    /// Which traces are kept.
    pub sampler: Sampler,
    /// Whether `traceparent` and `tracestate` are read and written (`OTEL_PROPAGATORS`).
    pub propagates: bool,
    /// How spans wait for being sent.
    pub queue: Queue,
    /// Links of one span, at most (`OTEL_SPAN_LINK_COUNT_LIMIT`). 1,024 where nothing is said, more than the 128 of
    /// the specification: a delivery is linked to each record that it carries.
    pub max_links: u32,
    /// How often metrics are sent (`OTEL_METRIC_EXPORT_INTERVAL`).
    pub metric_interval: Duration,
    /// How long a shutdown waits for what is still to be sent.
    pub shutdown_timeout: Duration,
}

/// Where one signal goes, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// How to speak to the collector.
    pub protocol: OtlpProtocol,
    /// The whole URL for `http/protobuf` (with `/v1/traces`), scheme, host and port for `grpc`. It may hold a
    /// secret in its query; user and password are among the headers.
    pub endpoint: Secret,
    /// Further headers, or metadata of gRPC; names in lower case.
    pub headers: Vec<(String, Secret)>,
    /// How long one request may take, repetitions included (`OTEL_EXPORTER_OTLP_TIMEOUT`, or the timeout of one export
    /// of this signal where that is shorter).
    pub timeout: Duration,
    /// Whether bodies are compressed by gzip.
    pub gzip: bool,
    /// Certificates: whom to trust, and what to show.
    pub tls: TlsPlan,
}

/// Which traces are kept (`OTEL_TRACES_SAMPLER`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Whether the decision of a parent holds (and, for a delivery, that of what it carries): `parentbased_…`.
    pub is_parent_based: bool,
    /// The part that is kept where nobody else has decided: from 0 to 1.
    pub ratio: f64,
}

/// How spans wait for being sent (`OTEL_BSP_…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Spans that wait, at most; what comes beyond is lost and counted.
    pub max_spans: usize,
    /// Spans in one request, at most.
    pub max_batch: usize,
    /// How long a span waits for company.
    pub delay: Duration,
}

impl Settings {
    /// Reads them. `variable` gives a variable of the environment, `relay` is the relay's own name. The second part
    /// tells what was not understood, or has no effect; the loader of a configuration has told it already
    /// ([`crate::config::Loaded::warnings`]).
    #[must_use]
    pub fn resolve(
        plan: &TelemetryPlan,
        relay: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> (Self, Vec<Remark>) {
        let mut variables = Variables::new(variable);
        let is_disabled = variables.is_true(&["OTEL_SDK_DISABLED".to_owned()]);
        let (mut traces, mut metrics) = (None, None);
        if !is_disabled {
            if variables.text("OTEL_CONFIG_FILE").is_some() {
                variables.remark("OTEL_CONFIG_FILE", "not supported; it is ignored");
            }
            traces = signal::resolve(&signal::TRACES, plan, plan.traces, &mut variables);
            metrics = signal::resolve(&signal::METRICS, plan, plan.metrics, &mut variables);
        }
        let why_off = variables.remarks.len();
        let settings = Self {
            resource: resource(plan, relay, &mut variables),
            sampler: sampler(plan, &mut variables),
            propagates: propagates(&mut variables),
            queue: queue(&mut variables),
            max_links: variables
                .number("OTEL_SPAN_LINK_COUNT_LIMIT", 0..=MOST_LINKS)
                .and_then(|links| u32::try_from(links).ok())
                .unwrap_or(MAX_LINKS),
            metric_interval: variables
                .milliseconds(&["OTEL_METRIC_EXPORT_INTERVAL".to_owned()])
                .or(plan.metric_interval)
                .unwrap_or(METRIC_INTERVAL),
            shutdown_timeout: plan.shutdown_timeout,
            traces,
            metrics,
        };
        without_effect(&settings, &mut variables);
        if settings.traces.is_none() && settings.metrics.is_none() {
            // Many share the environment of a pod: what is meant for others is no concern of a relay that is silent.
            variables.remarks.truncate(why_off);
        }
        (settings, variables.remarks)
    }
}

/// Links of one span where nothing is said.
const MAX_LINKS: u32 = 1_024;
/// And at most.
const MOST_LINKS: u64 = 65_536;
/// How often metrics are sent where nothing is said.
const METRIC_INTERVAL: Duration = Duration::from_secs(60);
/// Spans that wait, at most, whatever is said: room for each is set aside at the start.
const MOST_WAITING: u64 = 65_536;

/// `service.name` has its own variable, which goes before all; the others are those of `OTEL_RESOURCE_ATTRIBUTES`, of
/// the configuration, and what the relay knows of itself, in this order.
fn resource(plan: &TelemetryPlan, relay: &str, variables: &mut Variables<'_>) -> Vec<(String, String)> {
    let mut attributes = BTreeMap::from([
        ("service.name".to_owned(), "audit-relay".to_owned()),
        ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id".to_owned(), relay.to_owned()),
    ]);
    attributes.extend(variables.text("HOSTNAME").map(|host| ("host.name".to_owned(), host)));
    attributes.extend(plan.attributes.clone());
    let name = "OTEL_RESOURCE_ATTRIBUTES";
    match pairs(&variables.text(name).unwrap_or_default()).collect::<Result<Vec<_>, _>>() {
        Ok(pairs) => attributes.extend(pairs),
        Err(why) => variables.remark(name, format!("{why}; all of it is ignored")),
    }
    attributes
        .extend(variables.text("OTEL_SERVICE_NAME").map(|service| ("service.name".to_owned(), service)));
    attributes.into_iter().collect()
}

fn sampler(plan: &TelemetryPlan, variables: &mut Variables<'_>) -> Sampler {
    let planned = plan.sampling_millionths.map_or(1.0, |millionths| f64::from(millionths) / 1e6);
    let name = "OTEL_TRACES_SAMPLER";
    let Some(written) = variables.text(name) else {
        return Sampler { is_parent_based: true, ratio: planned };
    };
    let written = written.to_ascii_lowercase();
    let (is_parent_based, root) = match written.strip_prefix("parentbased_") {
        Some(root) => (true, root),
        None => (false, written.as_str()),
    };
    let ratio = match root {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => {
            let argument = variables.first(&["OTEL_TRACES_SAMPLER_ARG".to_owned()], |text| {
                let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
                ratio.ok_or_else(|| "not a number from 0 to 1".to_owned())
            });
            argument.unwrap_or(planned)
        }
        _ => {
            variables.remark(
                name,
                format!("{} is not a sampler that there is here; it is ignored", shown(&written)),
            );
            return Sampler { is_parent_based: true, ratio: planned };
        }
    };
    Sampler { is_parent_based, ratio }
}

/// Baggage is never sent on: it is for those inside, and a delivery leaves. That somebody names it is no mistake, since
/// it is a part of the default.
fn propagates(variables: &mut Variables<'_>) -> bool {
    let name = "OTEL_PROPAGATORS";
    let Some(words) = variables.words(name) else { return true };
    let (known, unknown): (Vec<&str>, Vec<&str>) = words
        .iter()
        .map(String::as_str)
        .partition(|word| matches!(*word, "tracecontext" | "baggage" | "none"));
    for word in unknown {
        variables.remark(
            name,
            format!("{} is not supported (`tracecontext`, `none`); it is ignored", shown(word)),
        );
    }
    known.is_empty() || known.contains(&"tracecontext")
}

fn queue(variables: &mut Variables<'_>) -> Queue {
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let max_spans = variables.number("OTEL_BSP_MAX_QUEUE_SIZE", 1..=MOST_WAITING).map_or(2_048, size);
    let name = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";
    let max_batch = variables.number(name, 1..=MOST_WAITING).map(size);
    if max_batch.is_some_and(|batch| batch > max_spans) {
        variables.remark(name, format!("more than may wait; {max_spans} holds (`OTEL_BSP_MAX_QUEUE_SIZE`)"));
    }
    Queue {
        max_spans,
        max_batch: max_batch.unwrap_or(512).min(max_spans),
        delay: variables
            .milliseconds(&["OTEL_BSP_SCHEDULE_DELAY".to_owned()])
            .unwrap_or(Duration::from_secs(5)),
    }
}

/// What the specification has and the relay has not.
fn without_effect(settings: &Settings, variables: &mut Variables<'_>) {
    for (name, only) in [
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative"),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram"),
    ] {
        let other = variables.text(name).filter(|text| !text.eq_ignore_ascii_case(only));
        if let Some(other) = other.filter(|_| settings.metrics.is_some()) {
            variables.remark(name, format!("{} is not supported (`{only}`); it is ignored", shown(&other)));
        }
    }
    for name in [
        "OTEL_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    ] {
        if variables.text(name).is_some() && settings.traces.is_some() {
            variables.remark(name, "not supported; it is ignored");
        }
    }
}
