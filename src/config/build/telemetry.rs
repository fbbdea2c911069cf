//! Traces and metrics by OTLP.

use url::Url;

use super::Judge;
use super::destinations::certificates;
use super::messages::is_in_the_clear;
use super::webhook::{self, UNFIT_HEADER, is_header_text};
use crate::config::plan::{OtlpProtocol, TelemetryPlan};
use crate::config::raw::{ProtocolWord, Raw, Telemetry};
use crate::config::secret::Secret;
use crate::config::walk::is_secret_header;
use crate::telemetry::settings::is_of_the_protocol;

/// What the configuration says. Where a key is not written the standard variables and their defaults hold, so
/// that it is `None` even where the schema shows a default.
pub(super) fn build(raw: &Raw, judge: &mut Judge<'_>) -> TelemetryPlan {
    let telemetry = &raw.telemetry;
    if let Some(tls) = &telemetry.tls {
        webhook::tls("telemetry", tls, judge);
    }
    let is_blocked = judge.context.telemetry_is_blocked;
    if is_blocked {
        let message = "its address, a header or a certificate cannot be read: nothing is sent, unless the standard \
                       variables say where to";
        judge.warn("telemetry", message);
    }
    address(telemetry, judge);
    let headers = headers(telemetry, judge);
    if telemetry.metric_interval.0.is_zero() {
        judge.problem("telemetry.metric_interval", "no time at all", Some("a duration such as `60s`"));
    }
    for key in telemetry.attributes.keys().filter(|key| key.trim().is_empty()) {
        let path = format!("telemetry.attributes.{key}");
        judge.problem(
            &path,
            "an attribute without a name",
            Some("a name such as `deployment.environment.name`"),
        );
    }
    TelemetryPlan {
        endpoint: telemetry.endpoint.as_ref().filter(|_| !is_blocked).map(|url| url.0.clone()),
        protocol: judge.is_written("telemetry.protocol").then(|| protocol(telemetry)),
        headers: if is_blocked { Vec::new() } else { headers },
        tls: telemetry.tls.as_ref().filter(|_| !is_blocked).map(certificates).unwrap_or_default(),
        traces: telemetry.traces,
        metrics: telemetry.metrics,
        sampling_millionths: judge
            .is_written("telemetry.sampling_ratio")
            .then(|| millionths(telemetry.sampling_ratio)),
        attributes: telemetry.attributes.clone(),
        metric_interval: judge.is_written("telemetry.metric_interval").then_some(telemetry.metric_interval.0),
        shutdown_timeout: telemetry.shutdown_timeout.0,
    }
}

fn protocol(telemetry: &Telemetry) -> OtlpProtocol {
    match telemetry.protocol {
        ProtocolWord::HttpProtobuf => OtlpProtocol::HttpProtobuf,
        ProtocolWord::Grpc => OtlpProtocol::Grpc,
    }
}

/// What is above zero does not become zero, which would mean that nothing is kept.
fn millionths(ratio: f64) -> u32 {
    // The schema keeps it within 0 and 1.
    let rounded = (ratio * 1e6).round() as u32;
    if ratio > 0.0 { rounded.max(1) } else { 0 }
}

/// The address is a base: of it gRPC knows no path, and HTTP adds its own.
fn address(telemetry: &Telemetry, judge: &mut Judge<'_>) {
    let Some(Ok(url)) = telemetry.endpoint.as_ref().map(|url| Url::parse(url.0.expose())) else { return };
    let key = "telemetry.endpoint";
    if protocol(telemetry) == OtlpProtocol::Grpc && (url.path() != "/" || url.query().is_some()) {
        let expected = "scheme, host and port, such as `http://127.0.0.1:4317`";
        judge.problem(key, "`protocol: grpc` has neither path nor query", Some(expected));
    } else if ["/v1/traces", "/v1/metrics"]
        .iter()
        .any(|path| url.path().trim_end_matches('/').ends_with(path))
    {
        let expected = "the address without it, such as `http://127.0.0.1:4318`";
        judge.problem(key, "the path of each signal is added to this address", Some(expected));
    }
    let is_secret = telemetry.headers.0.keys().any(|name| is_secret_header(name))
        || !url.username().is_empty()
        || url.password().is_some();
    if is_secret && is_in_the_clear(&url) {
        judge.warn(key, "`http`: what shows who sends crosses the network unencrypted");
    }
}

/// The headers as written, but for those that cannot be sent.
fn headers(telemetry: &Telemetry, judge: &mut Judge<'_>) -> Vec<(String, Secret)> {
    let mut headers: Vec<(String, Secret)> = Vec::new();
    for (written, value) in &telemetry.headers.0 {
        let (path, name) = (format!("telemetry.headers.{written}"), written.to_ascii_lowercase());
        if is_of_the_protocol(&name) {
            judge.problem(&path, "this header is set by the protocol", None);
        } else if headers.iter().any(|(taken, _)| *taken == name) {
            judge.problem(&path, &format!("a second `{name}` header"), Some("one of them"));
        } else if !is_header_text(value.0.expose()) {
            webhook::unfit(
                "telemetry",
                &format!("headers.{written}"),
                UNFIT_HEADER,
                "printable ASCII in one line",
                judge,
            );
        } else {
            headers.push((name, value.0.clone()));
        }
    }
    headers
}
