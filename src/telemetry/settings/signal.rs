//! Where one signal goes, and how: <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use reqwest::header::HeaderName;
use url::Url;

use super::Signal;
use super::variables::{Variables, pairs, shown};
use crate::config::plan::{OtlpProtocol, TelemetryPlan, TlsPlan};
use crate::config::secret::Secret;

/// The longest time of one request where no variable says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time of one export, which here is one request, where no variable says otherwise.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(30);
/// The key of the configuration that says where to.
const ENDPOINT_KEY: &str = "telemetry.endpoint";

/// What tells the signals apart.
pub(super) struct Kind {
    /// In paths: `traces`.
    path: &'static str,
    /// In names of variables.
    word: &'static str,
    /// Another variable that limits a request.
    export_timeout: &'static str,
}

pub(super) const TRACES: Kind =
    Kind { path: "traces", word: "TRACES", export_timeout: "OTEL_BSP_EXPORT_TIMEOUT" };
pub(super) const METRICS: Kind =
    Kind { path: "metrics", word: "METRICS", export_timeout: "OTEL_METRIC_EXPORT_TIMEOUT" };

impl Kind {
    /// The variables that say one thing, the first of which goes before the other.
    fn names(&self, what: &str) -> [String; 2] {
        [format!("OTEL_EXPORTER_OTLP_{}_{what}", self.word), format!("OTEL_EXPORTER_OTLP_{what}")]
    }
}

/// An address, and who says it.
struct Found {
    /// The variable, or the key of the configuration.
    about: String,
    text: String,
    /// Whether the path of the signal is added to it.
    is_base: bool,
}

/// Where this signal goes; `None`: nowhere.
pub(super) fn resolve(
    kind: &Kind,
    plan: &TelemetryPlan,
    is_planned: bool,
    variables: &mut Variables<'_>,
) -> Option<Signal> {
    let is_wanted = wanted(kind, variables);
    if !is_wanted.unwrap_or(is_planned) {
        return None;
    }
    let Some(found) = find(kind, plan, variables) else {
        if is_wanted == Some(true) {
            let message = "`otlp` without an endpoint: nothing is sent (`OTEL_EXPORTER_OTLP_ENDPOINT` or `telemetry.endpoint` says where to)";
            variables.remark(&exporter(kind), message);
        }
        return None;
    };
    let protocol = variables.first(&kind.names("PROTOCOL"), protocol).or(plan.protocol);
    let protocol = protocol.unwrap_or(OtlpProtocol::HttpProtobuf);
    tell_json(kind, variables);
    let mut url = match address(kind, &found, protocol, variables) {
        Ok(url) => url,
        Err(why) => {
            variables.remark(&found.about, format!("{why}; {} are not sent", kind.path));
            return None;
        }
    };
    let mut headers = headers(kind, plan, &found, &url, variables);
    if let Some(authorization) = take_credentials(&mut url)
        && !headers.iter().any(|(name, _)| name == "authorization")
    {
        headers.push(("authorization".to_owned(), authorization));
    }
    let timeout = variables.milliseconds(&kind.names("TIMEOUT")).unwrap_or(TIMEOUT);
    let export_timeout = variables.milliseconds(&[kind.export_timeout.to_owned()]).unwrap_or(EXPORT_TIMEOUT);
    Some(Signal {
        protocol,
        endpoint: Secret::new(match protocol {
            OtlpProtocol::HttpProtobuf => url.as_str(),
            OtlpProtocol::Grpc => url.as_str().trim_end_matches('/'),
        }),
        headers,
        timeout: timeout.min(export_timeout),
        gzip: variables.first(&kind.names("COMPRESSION"), compression).unwrap_or(false),
        tls: tls(kind, plan, variables),
    })
}

fn exporter(kind: &Kind) -> String {
    format!("OTEL_{}_EXPORTER", kind.word)
}

/// What `OTEL_…_EXPORTER` says; `None`: nothing that is understood.
fn wanted(kind: &Kind, variables: &mut Variables<'_>) -> Option<bool> {
    let name = exporter(kind);
    let words = variables.words(&name)?;
    for word in &words {
        // Metrics for Prometheus are there in any case: that somebody asks for them there is understood.
        if !matches!(word.as_str(), "otlp" | "none") && !is_pulled(kind, word) {
            variables.remark(
                &name,
                format!("{} is not one that there is here (`otlp`, `none`); it is ignored", shown(word)),
            );
        }
    }
    let has = |wanted: &str| words.iter().any(|word| word == wanted);
    let is_known = has("none") || words.iter().any(|word| is_pulled(kind, word));
    match has("otlp") {
        true if has("none") => {
            variables.remark(&name, "`none` beside `otlp`: `none` is ignored");
            Some(true)
        }
        true => Some(true),
        false => is_known.then_some(false),
    }
}

fn is_pulled(kind: &Kind, word: &str) -> bool {
    kind.path == METRICS.path && word == "prometheus"
}

fn find(kind: &Kind, plan: &TelemetryPlan, variables: &Variables<'_>) -> Option<Found> {
    let [own, general] = kind.names("ENDPOINT");
    let read =
        |about: String, is_base: bool| variables.text(&about).map(|text| Found { about, text, is_base });
    let planned = || {
        let text = plan.endpoint.as_ref()?.expose().to_owned();
        Some(Found { about: ENDPOINT_KEY.to_owned(), text, is_base: true })
    };
    read(own, false).or_else(|| read(general, true)).or_else(planned)
}

fn protocol(text: &str) -> Result<OtlpProtocol, String> {
    match text.to_ascii_lowercase().as_str() {
        "http/protobuf" | "http/json" => Ok(OtlpProtocol::HttpProtobuf),
        "grpc" => Ok(OtlpProtocol::Grpc),
        other => Err(format!("{} is not a protocol (`http/protobuf`, `grpc`)", shown(other))),
    }
}

/// Tells that JSON was asked for, where it was: it goes the same way, and every collector that takes it takes protobuf.
fn tell_json(kind: &Kind, variables: &mut Variables<'_>) {
    let names = kind.names("PROTOCOL");
    let Some((name, text)) = names.iter().find_map(|name| Some((name, variables.text(name)?))) else {
        return;
    };
    if text.eq_ignore_ascii_case("http/json") {
        variables.remark(name, "`http/json` is not supported; `http/protobuf` is spoken");
    }
}

fn compression(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "gzip" => Ok(true),
        "none" => Ok(false),
        other => Err(format!("{} is not supported (`gzip`, `none`)", shown(other))),
    }
}

/// The whole URL, or for gRPC scheme, host and port; credentials still in it.
fn address(
    kind: &Kind,
    found: &Found,
    protocol: OtlpProtocol,
    variables: &mut Variables<'_>,
) -> Result<Url, &'static str> {
    let is_grpc = protocol == OtlpProtocol::Grpc;
    let text = match found.text.contains("://") {
        true => found.text.clone(),
        false if is_grpc => {
            let is_insecure = variables.is_true(&kind.names("INSECURE"));
            format!("{}://{}", if is_insecure { "http" } else { "https" }, found.text)
        }
        false => return Err("not an http or https address"),
    };
    let mut url = Url::parse(&text).map_err(|_| "not an address")?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err("not an http or https address");
    }
    url.set_fragment(None);
    let about = &found.about;
    match (is_grpc, url.port()) {
        (false, Some(4317)) => {
            variables.remark(about, "port 4317 is mostly that of gRPC, and `http/protobuf` is spoken (`OTEL_EXPORTER_OTLP_PROTOCOL` or `telemetry.protocol` changes that)");
        }
        (true, Some(4318)) => {
            variables.remark(about, "port 4318 is mostly that of `http/protobuf`, and gRPC is spoken (`OTEL_EXPORTER_OTLP_PROTOCOL` or `telemetry.protocol` changes that)");
        }
        _ => {}
    }
    if is_grpc {
        if url.path() != "/" || url.query().is_some() {
            variables.remark(about, "gRPC has neither path nor query: scheme, host and port are used");
        }
        url.set_path("");
        url.set_query(None);
        return Ok(url);
    }
    let own_path = format!("/v1/{}", kind.path);
    let path = url.path().trim_end_matches('/').to_owned();
    if found.is_base {
        if path.ends_with("/v1/traces") || path.ends_with("/v1/metrics") {
            variables
                .remark(about, "the path of each signal is added to this address, which has one already");
        }
        url.set_path(&format!("{path}{own_path}"));
    } else if path.is_empty() {
        variables.remark(about, format!("used as it is, without a path: most collectors want `{own_path}`"));
    }
    Ok(url)
}

/// User and password of an address, which belong into a header.
fn take_credentials(url: &mut Url) -> Option<Secret> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    // Neither can fail for an address that has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some(Secret::new(format!("Basic {}", BASE64_STANDARD.encode(pair))))
}

/// The headers that the variables say, else those of the configuration, as long as they are for this address: they
/// may be credentials.
fn headers(
    kind: &Kind,
    plan: &TelemetryPlan,
    found: &Found,
    url: &Url,
    variables: &mut Variables<'_>,
) -> Vec<(String, Secret)> {
    let names = kind.names("HEADERS");
    if let Some((name, text)) = names.iter().find_map(|name| Some((name, variables.text(name)?))) {
        return written_headers(name, &text, variables);
    }
    let is_elsewhere = plan.endpoint.as_ref().is_some_and(|planned| {
        found.about != ENDPOINT_KEY
            && Url::parse(planned.expose()).map_or(true, |planned| planned.origin() != url.origin())
    });
    if is_elsewhere && !plan.headers.is_empty() {
        variables.remark(
            &found.about,
            "another place than `telemetry.endpoint`: `telemetry.headers` are not sent there",
        );
        return Vec::new();
    }
    plan.headers.clone()
}

fn written_headers(name: &str, text: &str, variables: &mut Variables<'_>) -> Vec<(String, Secret)> {
    let mut headers: Vec<(String, Secret)> = Vec::new();
    for pair in pairs(text) {
        let read = pair.and_then(|(header, value)| {
            let header = header.to_ascii_lowercase();
            if HeaderName::from_bytes(header.as_bytes()).is_err() {
                return Err("an entry has a name that no header can have");
            }
            if is_of_the_protocol(&header) {
                return Err("an entry names a header that the protocol sets");
            }
            let is_text = value.bytes().all(|byte| byte == b'\t' || (0x20..0x7f).contains(&byte));
            if is_text { Ok((header, value)) } else { Err("an entry has a value that no header can carry") }
        });
        match read {
            Ok((header, value)) => {
                headers.retain(|(earlier, _)| *earlier != header);
                headers.push((header, Secret::new(value)));
            }
            Err(why) => variables.remark(name, format!("{why}; it is left out")),
        }
    }
    headers
}

/// What the connection, the body, OTLP or gRPC (<https://grpc.io/docs/guides/metadata/>) says by headers of its own.
const OWN_HEADERS: [&str; 8] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Whether a header, its name in lower case, is not for people to set: the protocol sets it, or gives it another
/// form.
#[must_use]
pub fn is_of_the_protocol(name: &str) -> bool {
    OWN_HEADERS.contains(&name) || name.starts_with("grpc-") || name.ends_with("-bin")
}

fn tls(kind: &Kind, plan: &TelemetryPlan, variables: &mut Variables<'_>) -> TlsPlan {
    let path = |what: &str| {
        let names = kind.names(what);
        names.iter().find_map(|name| Some((name.clone(), PathBuf::from(variables.text(name)?))))
    };
    let (ca, cert, key) = (path("CERTIFICATE"), path("CLIENT_CERTIFICATE"), path("CLIENT_KEY"));
    let (planned_cert, planned_key) = plan.tls.identity.clone().unzip();
    let lonely = match (&cert, &key) {
        (Some((name, _)), None) if planned_key.is_none() => Some((name.clone(), "CLIENT_KEY")),
        (None, Some((name, _))) if planned_cert.is_none() => Some((name.clone(), "CLIENT_CERTIFICATE")),
        _ => None,
    };
    if let Some((name, other)) = lonely {
        variables.remark(
            &name,
            format!("no `OTEL_EXPORTER_OTLP_{other}` beside it; it is not shown to the collector"),
        );
    }
    let second = |found: Option<(String, PathBuf)>| found.map(|(_, path)| path);
    TlsPlan {
        ca: second(ca).or_else(|| plan.tls.ca.clone()),
        identity: second(cert).or(planned_cert).zip(second(key).or(planned_key)),
    }
}
